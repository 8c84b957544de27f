//! The crate's sources as a parser sees them: which file uses which.

use super::sources;
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// A path as it stands in a file: `["crate", "small", "Mat"]`.
type Segments = Vec<String>;

/// What one file says, leaving out what only its tests need.
#[derive(Default)]
struct Said {
    /// Names that stand anywhere but in an import, and the paths they begin.
    paths: Vec<Segments>,
    /// Imports: the full path, the name it gets here, whether others can see it.
    imports: Vec<(Segments, String, bool)>,
    /// Depth of modules within the file: there `super` is the file itself.
    depth: usize,
}

pub(super) fn only_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("cfg")
            && a.parse_args::<syn::Ident>()
                .is_ok_and(|what| what == "test")
    })
}

impl Said {
    /// A path as it would stand outside of the modules within the file.
    fn outside(&self, mut path: Segments) -> Segments {
        for _ in 0..self.depth {
            if path.first().is_some_and(|s| s == "super") {
                path[0] = "self".into();
                if path.get(1).is_some_and(|s| s == "super") {
                    path.remove(0);
                }
            }
        }
        path
    }

    fn import(&mut self, tree: &syn::UseTree, before: &mut Segments, public: bool) {
        match tree {
            syn::UseTree::Path(p) => {
                before.push(p.ident.to_string());
                self.import(&p.tree, before, public);
                before.pop();
            }
            syn::UseTree::Group(g) => {
                for t in &g.items {
                    self.import(t, before, public);
                }
            }
            syn::UseTree::Name(n) => {
                let mut all = before.clone();
                if n.ident != "self" {
                    all.push(n.ident.to_string());
                }
                let name = all.last().cloned().unwrap_or_default();
                self.imports.push((self.outside(all), name, public));
            }
            syn::UseTree::Rename(r) => {
                let mut all = before.clone();
                all.push(r.ident.to_string());
                self.imports
                    .push((self.outside(all), r.rename.to_string(), public));
            }
            syn::UseTree::Glob(_) => {
                self.imports
                    .push((self.outside(before.clone()), String::new(), public));
            }
        }
    }

    /// What stands in a macro's brackets is no syntax: its words are read as paths.
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Segments = vec![];
        let mut colons = 0;
        for t in tokens {
            match t {
                proc_macro2::TokenTree::Ident(i) if colons == 2 && !path.is_empty() => {
                    path.push(i.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Ident(i) => {
                    self.paths
                        .push(std::mem::replace(&mut path, vec![i.to_string()]));
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(p) if p.as_char() == ':' => colons += 1,
                other => {
                    self.paths.push(std::mem::take(&mut path));
                    colons = 0;
                    if let proc_macro2::TokenTree::Group(g) = other {
                        self.tokens(g.stream());
                    }
                }
            }
        }
        self.paths.push(path);
        let alone = |p: &Segments| p.len() == 1 && matches!(p[0].as_str(), "super" | "crate");
        self.paths.retain(|p| !p.is_empty() && !alone(p));
    }
}

impl<'a> Visit<'a> for Said {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let attributes = match item {
            syn::Item::Mod(i) => &i.attrs,
            syn::Item::Fn(i) => &i.attrs,
            syn::Item::Use(i) => &i.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Const(i) => &i.attrs,
            syn::Item::Struct(i) => &i.attrs,
            syn::Item::Macro(i) => &i.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !only_tests(attributes) {
            let inner = usize::from(matches!(item, syn::Item::Mod(m) if m.content.is_some()));
            self.depth += inner;
            visit::visit_item(self, item);
            self.depth -= inner;
        }
    }
    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if !only_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &mut vec![], public);
    }
    /// `pub(super)` names no file.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
    fn visit_path(&mut self, path: &'a syn::Path) {
        let all = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.paths.push(self.outside(all));
        visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, m: &'a syn::Macro) {
        visit::visit_macro(self, m);
        self.tokens(m.tokens.clone());
    }
}

/// Which files of the library each file uses, tests aside.
pub struct Uses(pub BTreeMap<String, BTreeSet<String>>);

/// The room of a file: its first folder, or its own name.
pub fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

impl Uses {
    /// Reads `src`, but for the command.
    pub fn read() -> Uses {
        let files: Vec<(String, String)> = sources("src")
            .into_iter()
            .filter(|(f, _)| !f.starts_with("bin") && f != "lib.rs" && f != "internal.rs")
            .collect();
        let module = |file: &str| -> Segments {
            let stem = file.trim_end_matches(".rs");
            stem.trim_end_matches("/mod")
                .split('/')
                .map(String::from)
                .collect()
        };
        let by_module: BTreeMap<Segments, String> =
            files.iter().map(|(f, _)| (module(f), f.clone())).collect();
        let said: BTreeMap<String, Said> = files
            .iter()
            .map(|(f, text)| {
                let mut s = Said::default();
                s.visit_file(&syn::parse_file(text).unwrap_or_else(|e| panic!("{f}: {e}")));
                (f.clone(), s)
            })
            .collect();

        // a path from the crate's root, or None where it leads out of it
        let absolute = |from: &Segments, path: &Segments| -> Option<Segments> {
            let mut at = match path.first()?.as_str() {
                "crate" | "$crate" => return Some(path[1..].to_vec()),
                "self" => from.clone(),
                "super" => from[..from.len() - 1].to_vec(),
                first => {
                    let mut child = from.clone();
                    child.push(first.into());
                    return by_module.contains_key(&child).then(|| {
                        child.extend_from_slice(&path[1..]);
                        child
                    });
                }
            };
            for (i, s) in path[1..].iter().enumerate() {
                if s == "super" {
                    at.pop();
                } else {
                    at.extend_from_slice(&path[1 + i..]);
                    break;
                }
            }
            Some(at)
        };
        // the file that holds what a path names; re-exports are followed to where it is written
        let find = |start: &Segments| -> Option<String> {
            let mut path = start.clone();
            for _ in 0..8 {
                let depth = (1..=path.len())
                    .rev()
                    .find(|n| by_module.contains_key(&path[..*n]))?;
                let file = &by_module[&path[..depth].to_vec()];
                let Some(name) = path.get(depth) else {
                    return Some(file.clone());
                };
                let own = module(file);
                let through = said[file]
                    .imports
                    .iter()
                    .find(|(_, n, public)| *public && n == name)
                    .and_then(|(p, _, _)| absolute(&own, p));
                match through {
                    Some(mut next) => {
                        next.extend_from_slice(&path[depth + 1..]);
                        path = next;
                    }
                    None => return Some(file.clone()),
                }
            }
            None
        };

        let mut uses = BTreeMap::new();
        for (file, s) in &said {
            let own = module(file);
            let written: BTreeSet<&str> = s
                .paths
                .iter()
                .filter_map(|p| p.first())
                .map(String::as_str)
                .collect();
            let mut all = BTreeSet::new();
            // a re-export alone is no use; an import, or a re-export whose name is used, is
            let imported = s
                .imports
                .iter()
                .filter(|(_, name, public)| !public || written.contains(name.as_str()))
                .map(|(p, _, _)| p);
            for path in imported.chain(&s.paths) {
                if path.first().is_some_and(|c| c == "crate") && path.len() > 1 {
                    assert!(
                        by_module.keys().any(|m| m[0] == path[1]),
                        "{file}: {} is imported from the root, not from its floor",
                        path.join("::")
                    );
                }
                let Some(path) = absolute(&own, path) else {
                    continue;
                };
                if let Some(found) = find(&path).filter(|f| f != file) {
                    all.insert(found);
                }
            }
            uses.insert(file.clone(), all);
        }
        Uses(uses)
    }

    /// The files of a room, those first that use no other of it, then those that use only what came
    /// before, by name where that leaves a choice. None are left out unless there is a circle.
    pub fn order(&self, of: &str) -> Vec<&str> {
        let own: Vec<&String> = self.0.keys().filter(|f| room(f) == of).collect();
        let mut done: Vec<&str> = vec![];
        loop {
            let free = |f: &&&String| {
                let ready = |used: &String| {
                    room(used) != of || used == **f || done.contains(&used.as_str())
                };
                !done.contains(&f.as_str()) && self.0[**f].iter().all(ready)
            };
            let next: Vec<&str> = own.iter().filter(free).map(|f| f.as_str()).collect();
            if next.is_empty() {
                return done;
            }
            done.extend(next);
        }
    }

    /// Sets of files that use each other, directly or by way of others.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        let reach = |from: &str| -> BTreeSet<String> {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![from.to_string()]);
            while let Some(f) = todo.pop() {
                for next in &self.0[&f] {
                    if seen.insert(next.clone()) {
                        todo.push(next.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&String, BTreeSet<String>> =
            self.0.keys().map(|f| (f, reach(f))).collect();
        let mut found: BTreeSet<BTreeSet<String>> = BTreeSet::new();
        for (f, to) in &reached {
            if to.contains(*f) {
                found.insert(
                    to.iter()
                        .filter(|g| reached[*g].contains(*f))
                        .cloned()
                        .collect(),
                );
            }
        }
        found.into_iter().collect()
    }
}
