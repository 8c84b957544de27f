//! docs/guide/screens.md: what ten common commands print at 80 columns, made here and compared.
//! `CLD_SCREENS=write cargo test --test command guide` writes it anew.

use super::run::{command, text};
use std::fmt::Write as _;
use std::path::Path;

/// A command of the page: its arguments, its exit code, and at most so many lines of what it
/// prints.
type Screen = (&'static str, i32, usize);

/// Run in the repository.
const HERE: &[Screen] = &[
    ("--help", 0, 60),
    ("check fixtures/peers/cld-sgm", 1, 60),
    (
        "eval --process cld --mass 0.25 --objective hsm --gamma 0.04 --t 1e-5",
        0,
        60,
    ),
    (
        "eval fixtures/peers/cld-sgm.json --entry kernel.cov/183 --row 0",
        0,
        60,
    ),
    (
        "audit --only cld.hsm.linear/cov --html /dev/null --list",
        0,
        12,
    ),
];

/// Run in an empty folder, one after the other.
const AWAY: &[Screen] = &[
    ("vectors my-vectors --process cld --suite kernel", 0, 60),
    (
        "sample --data mixture --samplers em,sscs,sscs2 --nfe 50 --n 4000",
        0,
        60,
    ),
    (
        "compare --data gaussian --samplers em,sscs,sscs2,gddim2 --nfe 10,50,200",
        0,
        60,
    ),
    (
        "train --data swissroll --steps 20 --width 16 --depth 1 --out roll",
        0,
        60,
    ),
    ("nll roll --n 40", 0, 60),
    ("eval roll --steps 20 --n 1000", 0, 60),
];

/// Columns that are never the same twice: seconds, and speeds.
fn masked(said: &str) -> String {
    let mut out = String::new();
    let mut column: Option<(usize, usize)> = None;
    for line in said.lines() {
        let chars: Vec<char> = line.chars().collect();
        if let Some(start) = line
            .find("  seconds  ")
            .map(|i| line[..i].chars().count() + 2)
        {
            let next = chars[start..].iter().collect::<String>();
            let gap = next.find("  ").unwrap_or(next.len());
            let end = start + gap + next[gap..].chars().take_while(|c| *c == ' ').count();
            column = Some((start, end));
            out += line;
        } else if line.trim().is_empty() {
            column = None;
        } else if line.starts_with("seconds") {
            out += &line[..line.find(char::is_numeric).unwrap_or(line.len())];
            out += "...";
        } else if let Some((start, end)) = column.filter(|(_, end)| chars.len() > *end) {
            out.extend(&chars[..start]);
            write!(out, "{:1$}", "...", end - start).unwrap();
            out.extend(&chars[end..]);
        } else {
            out += line;
        }
        out.push('\n');
    }
    out
}

fn screens(list: &[Screen], folder: &Path, page: &mut String) {
    for (args, code, lines) in list {
        let mut c = command(&args.split(' ').collect::<Vec<_>>());
        let out = c
            .current_dir(folder)
            .env("COLUMNS", "80")
            .args(["-q"])
            .output()
            .unwrap();
        assert_eq!(
            out.status.code(),
            Some(*code),
            "cld {args}: {}",
            text(&out.stderr)
        );
        let said = masked(&text(&out.stdout));
        let wide = said.lines().find(|l| l.chars().count() > 80);
        assert!(
            wide.is_none(),
            "cld {args}: wider than 80 columns: {}",
            wide.unwrap_or_default()
        );
        write!(page, "## cld {args}\n\n```text\n").unwrap();
        for (n, line) in said.lines().enumerate() {
            if n == *lines {
                writeln!(page, "...").unwrap();
                break;
            }
            writeln!(page, "{}", line.trim_end()).unwrap();
        }
        write!(page, "```\n\n").unwrap();
    }
}

/// Catches a page of the guide that shows what the command no longer prints, and a line wider than
/// a terminal of 80 columns. Seconds are masked; what is drawn is the same for any threads and
/// instruction set.
#[test]
fn the_page_of_screens_is_what_is_printed() {
    let mut page = String::from(
        "# Screens\n\nWhat common commands print at 80 columns, made by a test (`tests/command/guide.rs`) and compared in CI; seconds are left out.\n\n",
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    screens(HERE, root, &mut page);
    let dir = tempfile::tempdir().unwrap();
    screens(AWAY, dir.path(), &mut page);
    let page = page.trim_end().to_string() + "\n";
    let file = root.join("docs/guide/screens.md");
    if std::env::var_os("CLD_SCREENS").is_some_and(|v| v == "write") {
        std::fs::write(&file, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    for (a, b) in page.lines().zip(kept.lines()) {
        assert_eq!(
            a, b,
            "printed (left), docs/guide/screens.md (right); CLD_SCREENS=write makes it anew"
        );
    }
    assert_eq!(page.lines().count(), kept.lines().count());
}

/// Catches a mask that hides more than seconds, or less.
#[test]
fn seconds_alone_are_masked() {
    let table = "sampler  nfe  seconds  sliced W2\n-------\nem       50   0.123    0.5\n\nseconds   1.2 (30 samples/s)\nloss      2.5\n";
    let want = "sampler  nfe  seconds  sliced W2\n-------\nem       50   ...      0.5\n\nseconds   ...\nloss      2.5\n";
    assert_eq!(masked(table), want);
}
