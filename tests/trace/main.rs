//! The thread from paper to test, and the floors: what the documents say is what the sources hold.

mod floors;
mod lengths;
mod names;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every `.rs` file under `folder`, with its path from there; but for packages of their own
/// (`src/python`).
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let mut todo = vec![root().join(folder)];
    while let Some(dir) = todo.pop() {
        for e in std::fs::read_dir(&dir).unwrap() {
            let path = e.unwrap().path();
            if path.join("Cargo.toml").exists() {
                continue;
            } else if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|x| x == "rs") {
                let name = path
                    .strip_prefix(root().join(folder))
                    .unwrap()
                    .display()
                    .to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found
}

/// Comments of a file, each paragraph in one line.
fn paragraphs(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines().map(str::trim_start) {
        let words = ["///", "//!", "//"]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
            .map_or("", str::trim);
        match all.last_mut() {
            Some(last) if !words.is_empty() => {
                *last += " ";
                *last += words;
            }
            _ => all.push(String::new()),
        }
    }
    all
}

/// Ids such as `kernel.cov` after `Formula:` in doc comments: dotted words, several to a sentence.
fn tags() -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (file, text) in sources("src") {
        for paragraph in paragraphs(&text) {
            for after in paragraph.split("Formula: ").skip(1) {
                let end = [" Source", " Accuracy", " Formula", ". "].iter();
                let end = end
                    .filter_map(|e| after.find(e))
                    .min()
                    .unwrap_or(after.len());
                // `id, id` or `id = right-hand side, id = right-hand side`
                for part in after[..end].split(", ") {
                    let id = part
                        .split_whitespace()
                        .next()
                        .unwrap_or("")
                        .trim_end_matches('.');
                    if is_id(id) {
                        tags.insert(id.to_string(), file.clone());
                    }
                }
            }
        }
    }
    tags
}

fn is_id(word: &str) -> bool {
    let dotted = word
        .split_once('.')
        .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    dotted
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.')
}

/// Rows of the tables in a document: their cells.
fn rows(doc: &str) -> Vec<Vec<String>> {
    let cells = |l: &str| {
        l.trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_string())
            .collect::<Vec<_>>()
    };
    doc.lines()
        .filter(|l| l.starts_with('|') && !l.starts_with("|--"))
        .map(cells)
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn formula_rows() -> Vec<(String, Vec<String>)> {
    rows(&read("docs/reference/formulas.md"))
        .into_iter()
        .filter(|r| r[0].starts_with('`'))
        .map(|r| (r[0].trim_matches('`').to_string(), r))
        .collect()
}

/// Catches a formula that is in the code but not in the document, or the other way round, or there
/// twice.
#[test]
fn formulas_are_those_of_the_sources() {
    let mut ids = BTreeSet::new();
    for (id, row) in formula_rows() {
        assert!(is_id(&id), "`{id}` is not an id");
        assert!(ids.insert(id.clone()), "{id} has two rows");
        assert!(
            row.len() == 5 && row.iter().all(|c| !c.is_empty()),
            "{id}: a cell is empty"
        );
    }
    let tags: BTreeSet<String> = tags().into_keys().collect();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
        a.difference(b).cloned().collect()
    };
    let (documented, tagged) = (only(&ids, &tags), only(&tags, &ids));
    assert!(
        documented.is_empty() && tagged.is_empty(),
        "in docs/reference/formulas.md alone: {documented:?}; in src/ alone: {tagged:?}"
    );
}

/// Names of the test functions, as `file::name`, where the file is a test or a module's last part.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, text) in sources("src").into_iter().chain(sources("tests")) {
        let stem = Path::new(&file);
        let last = stem.file_stem().unwrap().to_str().unwrap();
        let module = if last == "mod" {
            stem.parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
        } else {
            last
        };
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" {
                marked = true;
            } else if let Some(name) = line.strip_prefix("fn ").filter(|_| marked) {
                names.insert(format!("{module}::{}", name.split('(').next().unwrap()));
                marked = false;
            }
        }
    }
    names
}

/// Catches a formula without a test, and a test that is named in a document but does not exist (any
/// more).
#[test]
fn tests_named_in_the_documents_exist() {
    let tests = tests();
    for (id, row) in formula_rows() {
        let named = quoted(&row[4]);
        assert!(!named.is_empty(), "{id} names no test");
        for name in named {
            assert!(tests.contains(name), "{id}: there is no test {name}");
        }
    }
}

/// Catches a quantity that `cld check` judges but the document does not trace, and one the
/// cross-check page forgets.
#[test]
#[cfg(feature = "cli")]
fn quantities_are_documented() {
    let formulas = read("docs/reference/formulas.md");
    let page = read("docs/guide/cross-check.md");
    for q in cld_sgm::internal::truth::predict::QUANTITIES {
        let name = format!("`{}`", q.name);
        assert!(
            formulas.contains(&name),
            "{name} is not in docs/reference/formulas.md"
        );
        assert!(
            page.contains(&name),
            "{name} is not in docs/guide/cross-check.md"
        );
    }
}

/// Catches a mistake without a row on the page, and a row for one that is gone: the table is the
/// one that `cld check --list-mistakes` prints.
#[test]
#[cfg(feature = "cli")]
fn diagnoses_are_documented() {
    let table = cld_sgm::check::mistakes::table();
    assert!(table.lines().count() >= 40, "{table}");
    assert!(
        read("docs/guide/cross-check.md").contains(&table),
        "put this table into docs/guide/cross-check.md:\n{table}"
    );
}

/// Catches a page whose script is no longer the one that CI runs.
#[test]
fn the_page_has_the_script_that_is_run() {
    assert!(read("docs/guide/cross-check.md").contains(&format!(
        "```python\n{}```",
        read("docs/guide/cross_check.py")
    )));
}

/// Catches mathematics that reaches for files, networks or the command line's crates.
#[test]
fn the_light_library_uses_no_heavy_crates() {
    for (file, text) in sources("src") {
        if [
            "bin",
            "files",
            "plot",
            "truth",
            "check",
            "vectors",
            "train",
            "evaluate",
            "audit",
            "reproduce",
            "lib.rs",
            "data/files.rs",
            "process/certificate", // tests alone
        ]
        .iter()
        .any(|f| file.starts_with(f))
        {
            continue;
        }
        for heavy in [
            "std::fs",
            "std::net",
            "serde",
            "zip::",
            "clap",
            "indicatif",
            "std::thread",
            "unsafe ",
        ] {
            let simd = file.starts_with("simd") && heavy == "unsafe ";
            let prose = |l: &&str| !l.trim_start().starts_with("//");
            assert!(
                simd || !text.lines().filter(prose).any(|l| l.contains(heavy)),
                "{file} uses {heavy}"
            );
        }
    }
}

/// Catches a link in a document to a page that has moved or never was.
#[test]
fn links_lead_somewhere() {
    let mut todo = vec![root()];
    let mut links = 0;
    while let Some(dir) = todo.pop() {
        for e in std::fs::read_dir(&dir).unwrap() {
            let path = e.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                todo.push(path);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (_, after) in text
                    .match_indices("](")
                    .map(|(i, m)| text.split_at(i + m.len()))
                {
                    let link = after.split([')', '#', ' ']).next().unwrap();
                    if link.is_empty() || link.contains("://") {
                        continue;
                    }
                    links += 1;
                    assert!(
                        path.parent().unwrap().join(link).exists(),
                        "{}: {link}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(links > 50, "{links}");
}

/// Catches code in a page that is no longer in the source it is said to be from: a block that
/// begins with `// src/...` is, line by line, a part of that file.
#[test]
fn excerpts_are_the_sources() {
    let page = read("docs/guide/extending.md");
    let trimmed = |t: &str| t.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut excerpts = 0;
    for block in page.split("```rust,ignore\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (head, code) = block.split_once('\n').unwrap();
        let file = head
            .strip_prefix("// ")
            .expect("a block says where it is from");
        assert!(!code.trim().is_empty(), "{file}");
        assert!(
            trimmed(&read(file)).contains(trimmed(code).trim()),
            "{file} has no longer\n{code}"
        );
        excerpts += 1;
    }
    assert!(excerpts >= 7, "{excerpts}");
}
