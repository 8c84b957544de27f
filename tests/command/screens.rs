//! What the command says of itself, and how its parts fit together at the prompt.

use super::run::{cld, command, path, refused, said, text};
use cld_sgm::{Kernel, Objective, Schedule, Vp};
use serde_json::{Value, json};

/// Catches a version that says nothing of compiler and machine, and one that drags a line end into
/// `-V`.
#[test]
fn the_version_names_compiler_and_instruction_set() {
    let long = said(&["--version"]);
    for words in [
        env!("CARGO_PKG_VERSION"),
        "rustc 1.",
        "instruction set",
        "core(s)",
    ] {
        assert!(long.contains(words), "`{words}` is not in {long}");
    }
    assert_eq!(
        said(&["-V"]),
        format!("cld {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// Catches completions and manual pages that lack a command or a flag: they are made from the
/// flags, whole.
#[test]
fn completions_and_manual_pages_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for words in ["check", "vectors", "audit", "--t-min", "--samplers"] {
            // fish writes its long options without the dashes
            let words = if shell == "fish" {
                words.trim_start_matches('-')
            } else {
                words
            };
            assert!(script.contains(words), "{shell}: `{words}`");
        }
    }
    assert_eq!(cld(&["completions", "magic"]).status.code(), Some(2));
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man");
    said(&["man", path(&folder)]);
    let page = std::fs::read_to_string(folder.join("cld-check.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("t\\-min"), "{page}");
    let commands = std::fs::read_dir(&folder).unwrap().count();
    assert!(commands >= 12, "{commands} pages");
    assert!(said(&["man"]).contains(".TH"));
}

/// Catches a suggestion that is missing, far-fetched, or the very name that was refused.
#[test]
fn a_name_nearly_right_is_suggested() {
    for (args, name) in [
        (
            vec![
                "sample",
                "--data",
                "mixture",
                "--sampler",
                "ssc2",
                "--steps",
                "3",
            ],
            "sscs2",
        ),
        (
            vec![
                "sample",
                "--data",
                "mixtur",
                "--sampler",
                "em",
                "--steps",
                "3",
            ],
            "mixture",
        ),
        (vec!["eval", "--process", "psdl", "--t", "1"], "psld"),
        (vec!["compare", "--data", "gausian"], "gaussian"),
        (vec!["compare", "--spacings", "quadradic"], "quadratic"),
        (
            vec!["vectors", "no-such-folder", "--suite", "kernl"],
            "kernel",
        ),
        (vec!["train", "--weighting", "likelyhood"], "likelihood"),
    ] {
        refused(&args, &[&format!("did you mean `{name}`?")]);
    }
    for far in ["magic", "zzz"] {
        let err = refused(&["eval", "--process", far, "--t", "1"], &[far]);
        assert!(!err.contains("did you mean"), "{err}");
    }
}

/// Catches evaluations counted wrongly (a denoising step is one of them), and samplers that get
/// each other's steps.
#[test]
fn several_samplers_share_a_budget() {
    let both = said(&[
        "sample",
        "--data",
        "mixture",
        "--samplers",
        "em,sscs2-midpoint",
        "--nfe",
        "21",
        "--n",
        "500",
        "--denoise",
    ]);
    let nfe = |name: &str| {
        let line = both
            .lines()
            .find(|l| l.split_whitespace().next() == Some(name))
            .unwrap_or_else(|| panic!("{name} is not in {both}"));
        line.split_whitespace().nth(2).unwrap().to_string()
    };
    assert_eq!([nfe("em"), nfe("sscs2-midpoint")], ["21", "21"], "{both}");
    let twice = [
        "--sampler",
        "em",
        "--sampler",
        "sscs2-midpoint",
        "--spacing",
        "linear",
        "--spacing",
        "quadratic",
    ];
    let four = said(
        &[
            &["sample", "--data", "mixture", "--nfe", "20", "--n", "500"],
            &twice[..],
        ]
        .concat(),
    );
    assert_eq!(
        four.lines()
            .filter(|l| l.starts_with("em ") || l.starts_with("sscs2-midpoint "))
            .count(),
        4,
        "{four}"
    );
    let base = ["sample", "--data", "mixture", "--n", "100"];
    refused(
        &[
            &base[..],
            &["--samplers", "em,sscs", "--steps", "5", "--out", "x.npz"],
        ]
        .concat(),
        &["`out`", "several"],
    );
    refused(
        &[&base[..], &["--sampler", "sscs2-midpoint", "--nfe", "1"]].concat(),
        &["`nfe`", "at least 2"],
    );
    refused(
        &[&base[..], &["--sampler", "gotta-go-fast", "--nfe", "10"]].concat(),
        &["chooses its"],
    );
}

/// Catches a strip whose panels are not states of the run itself: a run's first half has the noise
/// of the whole one, so its last panel and the plot's are the same numbers; and pictures that are
/// refused too late.
#[test]
fn a_strip_shows_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (strip, plot) = (dir.path().join("strip.svg"), dir.path().join("plot.png"));
    let base = [
        "sample",
        "--data",
        "swissroll",
        "--sampler",
        "sscs",
        "--n",
        "300",
    ];
    said(
        &[
            &base[..],
            &[
                "--steps",
                "12",
                "--strip",
                path(&strip),
                "--plot",
                path(&plot),
            ],
        ]
        .concat(),
    );
    let svg = std::fs::read_to_string(&strip).unwrap();
    assert_eq!(svg.matches("t = ").count(), 6, "{svg}");
    assert!(std::fs::metadata(&plot).unwrap().len() > 1000);
    refused(
        &[&base[..], &["--steps", "5", "--strip", "x.svg"]].concat(),
        &["`strip`", "6 steps"],
    );
    refused(
        &[&base[..], &["--steps", "12", "--strip", "x.jpg"]].concat(),
        &["`strip`", ".svg"],
    );
}

/// Catches `-q` that lets a note through, and `-v` that says nothing.
#[test]
fn quiet_and_verbose_are_heard() {
    let args = [
        "sample",
        "--data",
        "mixture",
        "--sampler",
        "em",
        "--steps",
        "5",
        "--n",
        "10",
        "--process",
        "vp",
        "--beta",
        "1",
    ];
    let note = |more: &[&str]| {
        let out = cld(&[&args[..], more].concat());
        assert_eq!(out.status.code(), Some(0));
        text(&out.stderr)
    };
    assert!(note(&[]).contains("prior is not met"));
    assert_eq!(note(&["-q"]), "");
    let said = note(&["-v"]);
    assert!(
        said.contains("instruction set") && said.trim_end().ends_with(" s"),
        "{said}"
    );
}

/// Catches a benchmark whose record cannot be read again, one without its machine, and a comparison
/// that invents a difference.
#[test]
fn a_benchmark_is_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    let small = [
        "bench",
        "--size",
        "8",
        "--batch",
        "2",
        "--base",
        "16",
        "--rounds",
        "1",
        "--threads",
        "1",
    ];
    let shown = said(&[&small[..], &["--json", path(&file)]].concat());
    assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(record["schema"], "cld-bench/1");
    assert!(!record["machine"]["cpu"].as_str().unwrap().is_empty());
    let train = &record["steps"][0]["train"];
    assert!(
        train["low"].as_f64() <= train["median"].as_f64()
            && train["median"].as_f64() <= train["high"].as_f64(),
        "{train}"
    );
    let same = said(&["bench", "--compare", path(&file), path(&file)]);
    assert!(same.contains("1.00 (quartiles overlap)"), "{same}");
    std::fs::write(dir.path().join("b.json"), "{}").unwrap();
    refused(
        &[
            "bench",
            "--compare",
            path(&file),
            path(&dir.path().join("b.json")),
        ],
        &["b.json", "no record"],
    );
}

/// Catches a line that is off and shows a size within the rule: that of its finite values, where
/// another is no number.
#[test]
fn what_is_no_number_has_no_size() {
    let dir = tempfile::tempdir().unwrap();
    let right = |t: f64| {
        Kernel::new(&Vp, &Schedule::constant(4.0).unwrap(), Objective::DSM, t)
            .unwrap()
            .cov()[(0, 0)]
    };
    let times = [1e-3, 0.1, 0.5, 1.0];
    for bad in ["NaN", "Infinity"] {
        let mut answers: Vec<Value> = times.iter().map(|t| right(*t).into()).collect();
        answers[2] = bad.into();
        let entry = json!({
            "id": "a", "quantity": "kernel.cov", "process": {"kind": "vp", "schedule": {"kind": "constant", "b": 4.0}},
            "inputs": {"t": times}, "outputs": {"xx": answers},
        });
        let file = dir.path().join("m.json");
        std::fs::write(
            &file,
            json!({"schema": "cld-answers/1", "implementation": "me", "entries": [entry]})
                .to_string(),
        )
        .unwrap();
        for columns in ["80", "130"] {
            let out = command(&["check", path(&file)])
                .env("COLUMNS", columns)
                .output()
                .unwrap();
            let said = text(&out.stdout);
            assert_eq!(out.status.code(), Some(1), "{said}");
            let line = said
                .lines()
                .find(|l| l.starts_with("kernel.cov.xx"))
                .unwrap_or_else(|| panic!("{said}"));
            assert!(line.contains("no number") && line.contains("OFF"), "{line}");
        }
    }
}
