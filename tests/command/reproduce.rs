//! `cld reproduce`, as a user runs it, on an experiment that takes seconds.

use super::run::{cld, path, refused, said, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Two processes and the exact score on a toy.
const TINY: &str = r#"
number = 9
id = "tiny"
title = "Tiny"
question = "Which of two small nets is nearer?"
seeds = 2

[train]
steps = 40
batch = 16
log_every = 10
save_every = 10
data = { name = "mixture" }
model = { kind = "mlp", width = 16, depth = 1 }

[[on]]
name = "mixture"
minutes = 0.5
measuring = 0.5

[[arm]]
name = "paper"
train = { process = { kind = "cld" }, loss = { objective = "hsm", parametrisation = "mixed" } }

[[arm]]
name = "vp"
train = { process = { kind = "vp" }, loss = { objective = "dsm", parametrisation = "eps" } }

[[measure]]
distance = { samplers = ["em", "sscs"], nfe = [5, 20], n = 400 }

[[claim]]
id = "near"
text = "CLD is | nearer"
source = "a test"
a = "paper:distance.best.20"
b = "vp:distance.best.20"
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let p = Place(tempfile::tempdir().unwrap());
        std::fs::write(p.at("tiny.toml"), TINY).unwrap();
        p
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs it here; the exit code is 0 or 1, as the claim holds or not.
    fn reproduce(&self, args: &[&str]) -> String {
        let mut all = vec!["reproduce"];
        all.extend(args);
        let out = Command::new(env!("CARGO_BIN_EXE_cld"))
            .args(&all)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let code = out.status.code();
        assert!(
            matches!(code, Some(0 | 1)),
            "{all:?}: {}",
            text(&out.stderr)
        );
        text(&out.stdout)
    }

    /// A page of Markdown without what a clock says.
    fn page(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.at(name)).unwrap();
        let timed = |l: &&str| l.contains("of training,");
        text.lines()
            .filter(|l| !timed(l))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Catches shards that are another run than the whole, a page that lacks the claim, a plot or the
/// figures, and a bar in a text that breaks its table.
#[test]
fn shards_merge_to_the_whole() {
    let p = Place::new();
    let said = p.reproduce(&[
        "tiny.toml",
        "--out",
        "whole",
        "--markdown",
        "a.md",
        "--threads",
        "2",
    ]);
    assert!(
        said.contains("tiny.near") && said.contains("4 of 4 jobs done"),
        "{said}"
    );
    for i in ["1/2", "2/2"] {
        let out = format!("b{}", &i[..1]);
        let said = p.reproduce(&["tiny.toml", "--shard", i, "--out", &out, "--threads", "1"]);
        assert!(said.contains("2 of 2 jobs of this shard"), "{said}");
    }
    // b2 is no folder of shard 1: both are needed
    p.reproduce(&["merge", "b1", "b2", "--markdown", "b.md"]);
    let page = p.page("a.md");
    assert_eq!(page, p.page("b.md").replace("(b/", "(a/"));
    assert!(page.contains("CLD is \\| nearer"), "{page}");
    assert!(
        page.contains("tiny-mixture-distance.svg") && page.contains("±"),
        "{page}"
    );
    for folder in ["a", "b"] {
        let svg = p.at(folder).join("tiny-mixture-distance.svg");
        assert!(std::fs::read_to_string(svg).unwrap().contains("<svg"));
    }
    let html = std::fs::read_to_string(p.at("whole/reproduction.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("tiny.near"));
    // one shard alone: nothing is told, and it says so
    let said = p.reproduce(&["merge", "b1"]);
    assert!(said.contains("2 of 4 jobs done"), "{said}");
}

/// Catches a run that is begun over another one, an unknown name, values out of range, and a page
/// over the experiment's own file; nothing may be written.
#[test]
fn refusals() {
    let p = Place::new();
    let tiny = p.at("tiny.toml");
    let out = p.at("out");
    let (tiny, out) = (path(&tiny), path(&out));
    refused(
        &["reproduce", "toyz", "--list"],
        &["toyz", "did you mean `toys`"],
    );
    refused(
        &["reproduce", "toys", "--seeds", "0", "--list"],
        &["seeds", "1 to 1000"],
    );
    refused(
        &["reproduce", tiny, "--budget", "nan", "--out", out],
        &["budget"],
    );
    refused(
        &["reproduce", tiny, "--shard", "3/2", "--out", out],
        &["shard", "3/2"],
    );
    refused(
        &["reproduce", tiny, "--shard", "3", "--out", out],
        &["shard", "I/N"],
    );
    refused(&["reproduce", "merge", out], &["has no run"]);
    refused(
        &["reproduce", tiny, "--out", out, "--html", tiny],
        &["tiny.toml"],
    );
    refused(&["reproduce", "missing.toml", "--list"], &["missing.toml"]);
    let (page, plots) = (p.at("page.md"), p.at("page"));
    std::fs::write(&plots, "mine").unwrap();
    refused(
        &["reproduce", tiny, "--out", out, "--markdown", path(&page)],
        &["is no folder"],
    );
    refused(
        &["reproduce", tiny, "--out", out, "--markdown", path(&plots)],
        &["markdown", ".md"],
    );
    assert!(!Path::new(out).exists());
    // a page in the place of a record or of the plan
    p.reproduce(&["tiny.toml", "--seeds", "1", "--out", "done"]);
    let record = p.at("done/records/tiny.mixture.vp.0.json");
    let before = std::fs::read(&record).unwrap();
    let done = p.at("done");
    for file in [&record, &p.at("done/plan.json")] {
        for args in [
            &["reproduce", "merge", path(&done), "--html", path(file)][..],
            &[
                "reproduce",
                tiny,
                "--resume",
                "--out",
                path(&done),
                "--html",
                path(file),
            ],
        ] {
            refused(args, &["html"]);
        }
    }
    assert_eq!(std::fs::read(&record).unwrap(), before);
    assert_eq!(std::fs::read_to_string(tiny).unwrap(), TINY);
    std::fs::create_dir(out).unwrap();
    std::fs::write(Path::new(out).join("plan.json"), "{}").unwrap();
    refused(&["reproduce", tiny, "--out", out], &["plan.json"]);
}

/// Catches work that Ctrl-C loses, another exit code than 130, a resumed run with other figures,
/// and one that is resumed without being asked to be.
#[test]
fn stopped_and_taken_up() {
    let p = Place::new();
    // long enough to be stopped within the first training
    let text = TINY
        .replace("steps = 40", "steps = 2000")
        .replace("save_every = 10", "save_every = 1000");
    std::fs::write(p.at("tiny.toml"), text).unwrap();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_cld"))
            .args([
                "reproduce",
                "tiny.toml",
                "--seeds",
                "1",
                "--resume",
                "--out",
                "a",
            ])
            .args(["--markdown", "page.md", "--threads", "1"])
            .current_dir(p.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut child = start();
    let runs = p.at("a/runs");
    let begun = || {
        let all = std::fs::read_dir(&runs).into_iter().flatten().flatten();
        all.into_iter()
            .any(|r| r.path().join("metrics.jsonl").exists())
    };
    for _ in 0..1500 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let id = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let again = cld(&[
        "reproduce",
        path(&p.at("tiny.toml")),
        "--out",
        path(&p.at("a")),
    ]);
    assert_eq!(again.status.code(), Some(2));
    assert!(super::run::text(&again.stderr).contains("--resume"));
    assert!(matches!(start().wait().unwrap().code(), Some(0 | 1)));
    let resumed = p.page("page.md");
    p.reproduce(&[
        "tiny.toml",
        "--seeds",
        "1",
        "--out",
        "b",
        "--markdown",
        "page.md",
    ]);
    assert_eq!(resumed, p.page("page.md"));
}

/// Catches a list that trains, or lacks a claim.
#[test]
fn the_list_has_every_experiment() {
    let list = said(&["reproduce", "--list"]);
    for word in [
        "processes",
        "objectives",
        "parameters",
        "samplers",
        "hardness",
        "toys",
        "overdamped",
        "likelihood",
    ] {
        assert!(list.contains(&format!(" {word}: ")), "{word}");
    }
    assert!(list.contains("72 claims"), "{list}");
}
