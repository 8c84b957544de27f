//! Functions that can be read at once: how long they are, and how deep their blocks lie.

use super::sources;
use super::sources::only_tests;
use syn::visit::{self, Visit};

/// Lines of a function, from its first word to its last brace.
const LINES: usize = 100;
/// Blocks around a line, the function's own not counted: as the code is indented.
const NESTING: usize = 5;

/// Functions that are longer or deeper, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    // vector loops: a loop for every axis of images, and registers that are held across all of them
    (
        "simd/loops/conv.rs tile",
        "one tile in registers; a part of its own would spill them",
    ),
    (
        "simd/loops/conv.rs pixels",
        "a loop per axis of input, taps and output around one multiply-add",
    ),
    ("simd/loops/norm.rs forward", "a loop per axis of images"),
    ("simd/loops/norm.rs backward", "a loop per axis of images"),
    (
        "simd/loops/pointwise.rs go",
        "a loop per axis of images around one match at compile time",
    ),
    (
        "simd/loops/strip.rs all",
        "a loop per element, block, group and tile around one multiply-add",
    ),
    (
        "simd/loops/winograd.rs each_tile",
        "a loop per axis of strips and tiles",
    ),
    (
        "simd/loops/winograd.rs outward",
        "a loop per axis of strips and tiles",
    ),
    ("nn/attention.rs backward", "a loop per axis of images"),
    (
        "nn/embed.rs forward",
        "random bits: rows, blocks, halves and words of a counter",
    ),
    (
        "train/model.rs divergence",
        "probes through a network, within the closures of its session",
    ),
    (
        "train/step.rs rows",
        "one step's buffers, filled and read in the order of the loss",
    ),
    (
        "reproduce/page.rs html",
        "a match over the blocks of a page, with the cells of tables",
    ),
];

/// A function as it stands in a file.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    first_line: usize,
    lines: usize,
    nesting: usize,
}

/// Finds the functions of a file, those of its tests left out. What a macro makes is not seen.
#[derive(Default)]
struct Measure {
    found: Vec<Function>,
    /// Of the function at hand: blocks around this place, and the most so far.
    depth: usize,
    deepest: usize,
}

impl Measure {
    fn of(text: &str) -> Vec<Function> {
        let mut measure = Measure::default();
        measure.visit_file(&syn::parse_file(text).unwrap());
        measure.found
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let outer = (self.depth, self.deepest);
        (self.depth, self.deepest) = (0, 0);
        visit::visit_block(self, block);
        let first_line = signature.fn_token.span.start().line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            first_line,
            lines: block.brace_token.span.close().end().line - first_line + 1,
            nesting: self.deepest,
        });
        (self.depth, self.deepest) = outer;
    }

    fn within(&mut self, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        visit(self);
        self.depth -= 1;
    }
}

impl<'a> Visit<'a> for Measure {
    fn visit_item_mod(&mut self, i: &'a syn::ItemMod) {
        if !only_tests(&i.attrs) {
            visit::visit_item_mod(self, i);
        }
    }
    fn visit_item_impl(&mut self, i: &'a syn::ItemImpl) {
        if !only_tests(&i.attrs) {
            visit::visit_item_impl(self, i);
        }
    }
    fn visit_item_fn(&mut self, i: &'a syn::ItemFn) {
        if !only_tests(&i.attrs) {
            self.function(&i.sig, &i.block);
        }
    }
    fn visit_impl_item_fn(&mut self, i: &'a syn::ImplItemFn) {
        if !only_tests(&i.attrs) {
            self.function(&i.sig, &i.block);
        }
    }
    fn visit_trait_item_fn(&mut self, i: &'a syn::TraitItemFn) {
        if let Some(block) = &i.default {
            self.function(&i.sig, block);
        }
    }
    fn visit_block(&mut self, b: &'a syn::Block) {
        self.within(|m| visit::visit_block(m, b));
    }
    fn visit_expr_match(&mut self, e: &'a syn::ExprMatch) {
        self.visit_expr(&e.expr);
        self.within(|m| e.arms.iter().for_each(|arm| m.visit_arm(arm)));
    }
}

/// The functions beyond the bounds, as `file function`, with what is too much.
fn beyond(file: &str, text: &str) -> Vec<(String, String)> {
    let too_much = |f: Function| {
        (f.lines > LINES || f.nesting > NESTING).then(|| {
            let what = format!(
                "{} lines, {} blocks deep, at line {}",
                f.lines, f.nesting, f.first_line
            );
            (format!("{file} {}", f.name), what)
        })
    };
    Measure::of(text).into_iter().filter_map(too_much).collect()
}

/// Catches a function that has grown too long or too deep to be read at once, and an exception that
/// is no longer needed.
#[test]
fn functions_are_short_and_flat() {
    let found: Vec<(String, String)> = sources("src")
        .iter()
        .filter(|(file, _)| !file.ends_with("/tests.rs"))
        .flat_map(|(file, text)| beyond(file, text))
        .collect();
    for (name, what) in &found {
        assert!(
            EXCEPTIONS.iter().any(|(e, _)| e == name),
            "{name}: {what}; allowed: {LINES} lines, {NESTING} blocks"
        );
    }
    for (name, _) in EXCEPTIONS {
        assert!(
            found.iter().any(|(f, _)| f == name),
            "{name} needs no exception any more"
        );
    }
}

/// Catches a measure that sees no long function, or no deep one: both planted, one line or one
/// block below the bound and above it, in an `impl` and beside tests that may be as they like.
#[test]
fn long_and_deep_functions_are_seen() {
    let long = |name: &str, lines: usize| {
        let body = "    let _ = 0;\n".repeat(lines - 2);
        format!("fn {name}() {{\n{body}}}\n")
    };
    let deep = |name: &str, blocks: usize| {
        let (open, close) = ("if true {\n".repeat(blocks), "}\n".repeat(blocks));
        format!("fn {name}() {{\n{open}{close}}}\n")
    };
    let text = [
        long("fits", LINES),
        format!("impl X {{\n{}}}\n", long("long", LINES + 1)),
        deep("flat", NESTING),
        deep("deep", NESTING + 1),
        // a match is a block, and so is an arm with one
        format!(
            "fn arms() {{ match 0 {{ _ => {{ {} }} }} }}",
            "loop {".repeat(NESTING - 1) + &"}".repeat(NESTING - 1)
        ),
        // else if is no deeper than if
        "fn chain() { if a { } else if b { } else if c { } else if d { } else if e { } else { f() } }"
            .into(),
        format!("#[cfg(test)]\nmod tests {{\n{}}}\n", long("any", 2 * LINES)),
    ]
    .concat();
    let found: Vec<String> = beyond("x.rs", &text).into_iter().map(|f| f.0).collect();
    assert_eq!(found, ["x.rs long", "x.rs deep", "x.rs arms"]);
}
