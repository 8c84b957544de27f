//! Floors without cycles, file by file.

use super::sources::{Uses, room};
use super::{read, root, rows, sources};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The floors, from the ground up, with what each is: the table at the head of `src/lib.rs`.
fn floors() -> Vec<(String, String)> {
    let text: String = read("src/lib.rs")
        .lines()
        .filter_map(|l| l.strip_prefix("//! "))
        .map(|l| format!("{l}\n"))
        .collect();
    let table = text.split("# Floors").nth(1).expect("a table of floors");
    rows(table)
        .into_iter()
        .skip(1)
        .map(|r| (r[0].trim_matches(['[', ']', '`']).to_string(), r[1].clone()))
        .collect()
}

/// Catches an import from a later floor, and a file that is on no floor.
#[test]
fn a_file_uses_only_floors_above_its_own_line() {
    let floors = floors();
    let floor = |name: &str| floors.iter().position(|(f, _)| f == name);
    let uses = Uses::read();
    assert!(uses.0.len() > 150, "{}", uses.0.len());
    for (file, used) in &uses.0 {
        let own = floor(room(file)).unwrap_or_else(|| panic!("{file} is on no floor"));
        for other in used {
            let below = floor(room(other)).is_some_and(|o| o <= own);
            assert!(
                below,
                "{file} may not use {other}, which is on a later floor"
            );
        }
    }
    for (file, text) in sources("src/bin") {
        assert!(
            !text.contains("use crate::"),
            "{file}: the command uses the library by its name"
        );
    }
}

/// Catches a reader of the sources that sees no imports: what these files say at their heads.
#[test]
fn the_reader_of_sources_sees_imports() {
    let uses = Uses::read();
    for (file, used) in [
        ("process/cld.rs", "special/mod.rs"),
        ("kernel/mod.rs", "process/linear.rs"), // by way of a re-export
        ("sampler/registry.rs", "sampler/em.rs"), // by a path in a table
        ("simd/loops/winograd.rs", "simd/loops/conv.rs"),
    ] {
        assert!(uses.0[file].contains(used), "{file}: {:?}", uses.0[file]);
    }
    assert!(
        !uses.0["error.rs"].iter().any(|f| f != "error.rs"),
        "{:?}",
        uses.0["error.rs"]
    );
}

/// Catches a page of floors that is not the code's. `CLD_WRITE_DOCS=1` writes it anew.
#[test]
fn the_page_of_floors_is_the_codes() {
    let uses = Uses::read();
    let mut page = String::from(
        "# Floors\n\nDrawn from the sources by `tests/trace` (`CLD_WRITE_DOCS=1 cargo test --test trace floors` writes it anew). \
         A file uses only what\nstands above it: floors of earlier rows, and files of its own room further left. There are no circles.\n\n\
         | floor | what | its files, those first that use none of the others | uses |\n|---|---|---|---|\n",
    );
    for (floor, what) in floors() {
        let files = uses.order(&floor);
        let all = uses.0.keys().filter(|f| room(f) == floor).count();
        assert!(
            all > 0 && files.len() == all,
            "{floor}: {files:?} of {all} files"
        );
        let used: BTreeSet<&str> = files
            .iter()
            .flat_map(|f| &uses.0[*f])
            .map(|f| room(f))
            .filter(|r| *r != floor)
            .collect();
        let name = |f: &&str| {
            f.trim_start_matches(&format!("{floor}/"))
                .trim_end_matches(".rs")
                .to_string()
        };
        let files: Vec<String> = files.iter().map(name).collect();
        let used: Vec<&str> = used.into_iter().collect();
        let _ = writeln!(
            page,
            "| `{floor}` | {what} | {} | {} |",
            files.join(", "),
            used.join(", ")
        );
    }
    let file = root().join("docs/reference/floors.md");
    if std::env::var_os("CLD_WRITE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(
        read(&file) == page,
        "{} is not the code's: {page}",
        file.display()
    );
}

/// Catches two files that use each other, directly or around several corners.
#[test]
fn no_file_is_in_a_circle() {
    let uses = Uses::read();
    let mut words = String::new();
    for circle in uses.circles() {
        for file in &circle {
            let inside: BTreeSet<_> = uses.0[file].intersection(&circle).collect();
            words += &format!("  {file} uses {inside:?}\n");
        }
        words += "\n";
    }
    assert!(words.is_empty(), "circles:\n{words}");
}
