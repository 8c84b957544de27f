//! What is one thing stands in one place: a new one is a file (or a row), and one line.

use super::{read, sources};

/// The code of a file: no comments, no tests.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    text.lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The files of the library and the command whose code has these words.
#[cfg(feature = "cli")]
fn with(words: &str) -> Vec<String> {
    sources("src")
        .into_iter()
        .filter(|(_, t)| code(t).contains(words))
        .map(|(f, _)| f)
        .collect()
}

/// Catches a quantity that is spread over several places again: its name stands in its own row, in
/// the rows of what is made from it, and (but for hypotheses about it in `check`, Python's own
/// calls, and the audit's claims of the same formula) nowhere else in the sources.
#[test]
#[cfg(feature = "cli")]
fn a_quantity_is_one_row() {
    let files = sources("src");
    for q in cld_sgm::internal::truth::predict::QUANTITIES {
        let (row, quoted) = (format!("name: \"{}\"", q.name), format!("\"{}\"", q.name));
        let with = |text: &str| {
            files
                .iter()
                .filter(|(_, t)| t.contains(text))
                .map(|(f, _)| f.clone())
                .collect::<Vec<_>>()
        };
        let rows = with(&row);
        assert!(
            rows.len() == 1 && rows[0].starts_with("truth/"),
            "{}: rows in {rows:?}",
            q.name
        );
        for file in with(&quoted).iter().filter(|f| {
            ![
                "audit/",
                "check/mistakes",
                "check/diagnose",
                "check/consequence",
                "python/",
            ]
            .iter()
            .any(|p| f.starts_with(p))
        }) {
            let text = &files.iter().find(|(f, _)| f == file).unwrap().1;
            // a file's own tests name quantities as its users do
            let text = text.split("#[cfg(test)]").next().unwrap();
            for (at, _) in text.match_indices(&quoted) {
                // what a row says of its parts stands in the brackets of `made_from`
                let before = &text[..at];
                let of_parts = before
                    .rfind("made_from: &[")
                    .is_some_and(|start| !before[start..].contains(']'));
                assert!(
                    of_parts || before.ends_with("name: "),
                    "{file} has {quoted} outside of a row"
                );
            }
        }
    }
}

/// Catches a diffusion that is spread over several files again: its name, in quotes, stands in its
/// own file alone (but for Python's own functions, the proof about critical CLD, the table of formulas, whose rows say
/// whose they are, and the command, which is called `cld` itself).
/// A test's code may name it.
#[test]
fn a_diffusion_is_named_in_its_own_file() {
    let files = sources("src");
    for e in cld_sgm::process::REGISTRY {
        let quoted = format!("\"{}\"", e.name);
        let with: Vec<_> = files
            .iter()
            .filter(|(f, t)| {
                ![
                    "python/",
                    "process/certificate/",
                    "check/diagnose/tests.rs",
                    "audit/formulas/",
                    "bin/cld/main.rs",
                    "bin/cld/manual.rs",
                ]
                .iter()
                .any(|p| f.starts_with(p))
                    && code(t).contains(&quoted)
            })
            .map(|(f, _)| f)
            .collect();
        assert!(
            with.len() == 1 && with[0].starts_with("process/"),
            "{quoted} is in {with:?}"
        );
    }
}

/// Catches a sampler that is spread over several files: its name, in quotes, stands in the registry
/// and in its own room, and beside them only where the audit writes out what is printed for it, and
/// in entries of diffusions (`sscs` is one, too) and forward schemes (`em`).
#[test]
#[cfg(feature = "cli")]
fn a_sampler_is_one_file_and_one_line() {
    let allowed = ["sampler/", "process/", "audit/", "simulate/schemes.rs"];
    for e in cld_sgm::sampler::REGISTRY {
        let files = with(&format!("\"{}\"", e.name));
        let lines = code(&read("src/sampler/registry.rs"));
        assert_eq!(
            lines.matches(&format!("name: \"{}\"", e.name)).count(),
            1,
            "{}",
            e.name
        );
        for f in files {
            assert!(
                allowed.iter().any(|a| f.starts_with(a)),
                "{} is in {f}",
                e.name
            );
        }
    }
}

/// Mistakes whose search needs care of its own, in `check/diagnose.rs`.
#[cfg(feature = "cli")]
const SEARCHED_WITH_CARE: &[&str] = &[
    "dt-in-single-precision",
    "friction",
    "integral-by-midpoints",
    "one-minus-t",
    "time-on-grid",
];

/// Catches a mistake that is spread over several files: its id stands in its row, and beside it only
/// where the list above says so. (Some ids are words of other kinds, too: of those, what asks for
/// the mistake counts.)
#[test]
#[cfg(feature = "cli")]
fn a_mistake_is_one_row() {
    let rows = code(&read("src/check/mistakes.rs"));
    let mut cared_for = vec![];
    for m in cld_sgm::check::mistakes::MISTAKES {
        // the row of the declared epsilon is called by its constant
        let own = cld_sgm::check::mistakes::MISTAKES
            .iter()
            .filter(|o| o.id == m.id)
            .count();
        assert_eq!(
            rows.matches(&format!("\"{}\"", m.id)).count(),
            own,
            "{}",
            m.id
        );
        for asked in ["is(\"{}\")", "id == \"{}\"", "id != \"{}\""] {
            for file in with(&asked.replace("{}", m.id)) {
                if file == "check/diagnose.rs" {
                    cared_for.push(m.id);
                } else {
                    assert_eq!((file.as_str(), m.id), ("check/words.rs", "cancellation"));
                }
            }
        }
    }
    cared_for.sort_unstable();
    cared_for.dedup();
    assert_eq!(cared_for, SEARCHED_WITH_CARE);
}

/// Catches a family of the audit's claims that is not run, or that others know of: a family is a
/// file in `audit/claims`, and there its two lines, `pub mod` and the one in `FAMILIES`.
#[test]
#[cfg(feature = "cli")]
fn a_family_of_claims_is_one_file_and_one_line() {
    let list = code(&read("src/audit/claims/mod.rs"));
    let mut families = 0;
    for (file, text) in sources("src/audit/claims") {
        let name = file.trim_end_matches(".rs");
        if name == "mod" || !code(&text).contains("pub fn parts()") {
            continue;
        }
        families += 1;
        assert_eq!(list.matches(&format!("{name}::parts")).count(), 1, "{name}");
        let elsewhere = with(&format!("claims::{name}"));
        assert!(elsewhere.is_empty(), "{name} is named in {elsewhere:?}");
    }
    assert!(families >= 5, "{families}");
}

/// Catches a loop of the network that is not compiled for every instruction set, or that others
/// dispatch themselves: a loop is a row of its file's `compiled!`, and the file one word in `Real`.
#[test]
#[cfg(feature = "cli")]
fn a_loop_is_one_row() {
    let real = code(&read("src/simd/loops/mod.rs"));
    let mut loops = 0;
    for (file, text) in sources("src/simd/loops") {
        let text = code(&text);
        let Some((_, table)) = text.split_once("\ncompiled!(") else {
            assert!(
                !text.contains("impl<T: Float> Task"),
                "{file} has loops and no table"
            );
            continue;
        };
        let table = table.split("});").next().unwrap();
        let mut head = table.split('{').next().unwrap().split(',').map(str::trim);
        let (class, function) = (head.next().unwrap(), head.next().unwrap());
        assert_eq!(real.matches(&format!("::{class}")).count(), 1, "{class}");
        for row in table.lines().filter(|l| l.contains("<'a, T")) {
            let name = row.trim().split(':').next().unwrap();
            loops += 1;
            let called = format!("T::{function}().{name}");
            let squeezed: String = text.split_whitespace().collect();
            assert!(squeezed.contains(&called), "{file}: nothing calls {name}");
            assert!(
                !sources("src")
                    .iter()
                    .any(|(f, t)| !f.ends_with(&file) && t.contains(&called)),
                "{name} is called outside of {file}"
            );
        }
    }
    assert!(loops >= 20, "{loops}");
}

/// Catches a subcommand that another one imports, or that is wired in more than one place: it is a
/// file, and three lines of `main.rs` (its module, its arguments, its call).
#[test]
fn a_subcommand_is_one_file_and_three_lines() {
    let main = code(&read("src/bin/cld/main.rs"));
    let list = main.split("enum Command {").nth(1).unwrap();
    let mut commands = vec![];
    for line in list
        .split('}')
        .next()
        .unwrap()
        .lines()
        .filter(|l| l.contains("::"))
    {
        let inner = line.trim().split(['(', ':']).nth(1).unwrap();
        commands.push(inner.trim_start_matches("Box<").to_string());
    }
    commands.dedup();
    assert!(commands.len() >= 11, "{commands:?}");
    for c in &commands {
        assert_eq!(main.matches(&format!("mod {c};")).count(), 1, "{c}");
        if c != "manual" {
            assert_eq!(main.matches(&format!("{c}::")).count(), 2, "{c}");
        }
        for (file, text) in sources("src/bin/cld") {
            let said = code(&text);
            let imported =
                said.contains(&format!("super::{c}")) || said.contains(&format!("use {c}::"));
            assert!(
                file == "main.rs" || !imported,
                "{file} imports the subcommand {c}"
            );
        }
    }
}

/// Catches two public types of one name: `Step`, `Entry` or `Line` must say whose. Counted over the
/// modules that are promised, not over the hidden one.
#[test]
fn public_types_have_names_of_their_own() {
    let hidden: Vec<String> = read("src/internal.rs")
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod "))
        .map(|m| m.trim_end_matches(';').to_string())
        .collect();
    assert!(hidden.len() >= 10, "{hidden:?}");
    let mut seen = std::collections::BTreeMap::new();
    for (file, text) in sources("src") {
        let top = file.split(['/', '.']).next().unwrap().to_string();
        if top == "bin" || hidden.contains(&top) {
            continue;
        }
        for line in code(&text).lines() {
            let found = ["pub struct ", "pub enum ", "pub trait "]
                .iter()
                .find_map(|k| line.strip_prefix(k));
            let Some(after) = found else { continue };
            let name: String = after.chars().take_while(|c| c.is_alphanumeric()).collect();
            if let Some(other) = seen.insert(name.clone(), file.clone()) {
                panic!("{name} is in {other} and in {file}");
            }
        }
    }
    assert!(seen.len() > 80, "{}", seen.len());
}
