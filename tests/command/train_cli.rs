//! `cld sample`, `nll` and `eval` with a checkpoint, as a user runs them.

use super::run::{path, refused, said};
use cld_sgm::train::checkpoint::{SoFar, write};
use cld_sgm::train::config::{Config, process};
use cld_sgm::train::{State, Trainer};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkpoint of a short run: the smallest network, a batch of 16.
fn trained(file: &Path, kind: &str, data: &str, steps: u64) {
    let mut config = Config {
        process: process(kind),
        batch: 16,
        steps,
        ..Config::default()
    };
    config.data.name = data.into();
    if data == "digits" {
        (
            config.model.base,
            config.model.embedding,
            config.model.mult,
            config.model.blocks,
        ) = (Some(16), Some(32), Some(vec![1, 1]), Some(1));
    } else {
        (config.model.kind, config.model.width, config.model.depth) =
            (Some("resmlp".into()), Some(32), Some(1));
        (config.batch, config.adam.warm_up, config.adam.rate) = (128, 10, 5e-3);
    }
    let loaded = config.load().unwrap();
    let config = config.filled(&loaded).unwrap();
    let plan = config.plan(loaded.source).unwrap();
    let graph = Arc::clone(&plan.graph);
    let mut trainer = Trainer::new(plan, State::new(&graph, 1), 2).unwrap();
    for _ in 0..steps {
        trainer.step().unwrap();
    }
    write(file, &config, &graph, trainer.state(), SoFar::default()).unwrap();
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trained(&self, kind: &str, data: &str, steps: u64) -> PathBuf {
        let file = self.file(&format!("{kind}-{data}.safetensors"));
        trained(&file, kind, data, steps);
        file
    }
}

/// The number after `name` in a table.
fn figure(said: &str, name: &str) -> f64 {
    let line = said
        .lines()
        .find(|l| l.starts_with(name))
        .unwrap_or_else(|| panic!("`{name}` is not in {said}"));
    line[name.len()..]
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// Images from a checkpoint: the picture, the arrays and the figures. Catches samples that depend
/// on the number of threads, averaged weights where the raw ones were asked for, figures that are
/// missing, a process that is not the checkpoint's.
#[test]
fn sample_draws_images_from_a_checkpoint() {
    let dir = Folder::new();
    let file = dir.trained("cld", "digits", 3);
    let (one, two, png) = (dir.file("1.npz"), dir.file("2.npz"), dir.file("a.png"));
    let small = [
        "sample",
        path(&file),
        "--sampler",
        "sscs",
        "--steps",
        "6",
        "--n",
        "30",
        "--denoise",
        "--seed",
        "3",
    ];
    let first = said(
        &[
            &small[..],
            &["--threads", "1", "--out", path(&one), "--grid", path(&png)],
        ]
        .concat(),
    );
    for words in [
        "cld hsm [",
        "mass=0.25",
        "constant(b0=4",
        "averaged weights of step 3",
        "hsm mixed on digits",
        "samples/s",
    ] {
        assert!(first.contains(words), "`{words}` is not in {first}");
    }
    assert_eq!(
        figure(&first, "evaluations per sample"),
        7.0,
        "six steps and the last one"
    );
    assert!(
        figure(&first, "Frechet distance to data") > 0.0 && first.contains("30 images each"),
        "{first}"
    );
    said(&[&small[..], &["--threads", "2", "--out", path(&two)]].concat());
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    let averaged = cld_sgm::internal::files::read_npz(&one).unwrap();
    assert_eq!(
        (&averaged["x"].shape, &averaged["v"].shape),
        (&vec![30, 64], &vec![30, 64])
    );
    said(&[&small[..], &["--raw", "--out", path(&two)]].concat());
    assert_ne!(
        averaged["x"].data,
        cld_sgm::internal::files::read_npz(&two).unwrap()["x"].data
    );
    // ten images of 8 x 48/8 pixels in a row, lines of two between and around
    let (shape, _) = cld_sgm::data::files::png("a.png", &std::fs::read(&png).unwrap()).unwrap();
    assert_eq!(shape[1..], [3 * 50 + 2, 10 * 50 + 2]);

    // what was drawn, held against the data
    let judged = said(&["eval", path(&one), "--data", "digits"]);
    assert!(
        judged.contains("Frechet distance") && judged.contains("30 samples of"),
        "{judged}"
    );
}

/// Likelihoods and a table of distances for a process without velocity on images. Catches a bound
/// that is called one for VP, rows that are missing, figures that depend on the threads.
#[test]
fn nll_and_eval_of_images() {
    let dir = Folder::new();
    let file = dir.trained("vp", "digits", 3);
    let nll = |more: &[&str]| {
        said(
            &[
                &["nll", path(&file), "--n", "4", "--tolerance", "1e-2"],
                more,
            ]
            .concat(),
        )
    };
    let first = nll(&["--threads", "1"]);
    assert!(
        first.contains("held-out of digits, 4 samples of 64 dimensions")
            && !first.contains("Jensen"),
        "{first}"
    );
    // a network that has learnt nothing: more bits than log2(17) of a uniform law, less than what
    // no density would have
    let bits = figure(&first, "bits per dimension");
    assert!((3.0..12.0).contains(&bits), "{first}");
    let time = |s: &str| {
        s.lines()
            .filter(|l| !l.starts_with("seconds"))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(time(&first), time(&nll(&["--threads", "2"])));
    assert_ne!(
        bits,
        figure(&nll(&["--data", "train"]), "bits per dimension")
    );
    // more probes: another estimate of the same figure
    let two = figure(&nll(&["--probes", "2"]), "bits per dimension");
    assert!(two != bits && (two - bits).abs() < 1.0, "{two} {bits}");

    let json = dir.file("a.json");
    let table = said(&[
        "eval",
        path(&file),
        "--steps",
        "4,8",
        "--n",
        "50",
        "--denoise",
        "--out",
        path(&json),
    ]);
    assert!(
        table.contains("Frechet distance") && table.contains("data to data, 50 rows each"),
        "{table}"
    );
    let v: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = v["rows"].as_array().unwrap();
    let of = |name: &str| {
        rows.iter()
            .filter(|r| r["sampler"] == name)
            .map(|r| r["nfe"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (of("sscs"), of("em")),
        (vec![5.0, 9.0], vec![5.0, 9.0]),
        "{table}"
    );
    assert!(
        rows.iter()
            .all(|r| r["distance"].as_f64().unwrap() > v["data_to_data"].as_f64().unwrap())
    );
}

/// Points: a network that has seen some of its data is better than one that has not, in every
/// figure. Catches likelihoods of the wrong sign, a weighted bound below the plain one, a density
/// above the data's own.
#[test]
fn points_of_a_checkpoint() {
    let dir = Folder::new();
    let file = dir.trained("cld", "mixture", 600);
    let raw = dir.file("start.safetensors");
    trained(&raw, "cld", "mixture", 1);
    let figures = |file: &Path| {
        let nll = said(&[
            "nll",
            path(file),
            "--n",
            "32",
            "--draws",
            "4",
            "--eps",
            "1e-3",
        ]);
        assert!(
            nll.contains("exact divergence") && nll.contains("Jensen over 4 velocities"),
            "{nll}"
        );
        let [plain, weighted, own] = [
            "nats per point",
            "nats per point, weighted",
            "nats per point, of the data's own law",
        ]
        .map(|n| figure(&nll, n));
        println!("{nll}");
        // the same points: the data's own law is the best there is but for their scatter, 0.15
        assert!(weighted <= plain && own < weighted + 0.5, "{nll}");
        let table = said(&[
            "eval",
            path(file),
            "--samplers",
            "sscs",
            "--steps",
            "30",
            "--n",
            "2000",
        ]);
        assert!(table.contains("energy distance"), "{table}");
        println!("{table}");
        let svg = dir.file("a.svg");
        let s = said(&[
            "sample",
            path(file),
            "--sampler",
            "sscs",
            "--steps",
            "30",
            "--n",
            "2000",
            "--plot",
            path(&svg),
        ]);
        assert!(
            std::fs::read_to_string(&svg)
                .unwrap()
                .contains("sscs, quadratic, 30 evaluations")
        );
        [weighted, figure(&s, "sliced W2 to data")]
    };
    let (after, before) = (figures(&file), figures(&raw));
    assert!(
        after[0] + 0.1 < before[0] && 1.2 * after[1] < before[1],
        "{after:?} {before:?}"
    );
}

/// Unusable input: one sentence, exit code 2, nothing written.
#[test]
fn checkpoints_are_refused() {
    let dir = Folder::new();
    let (digits, points) = (
        dir.trained("cld", "digits", 1),
        dir.trained("vp", "mixture", 1),
    );
    let before = std::fs::read_dir(dir.0.path()).unwrap().count();
    let (out, png) = (dir.file("a.npz"), dir.file("a.png"));
    let sample = |file: &Path, more: &[&str], words: &[&str]| {
        let base = [
            "sample",
            path(file),
            "--sampler",
            "sscs",
            "--out",
            path(&out),
        ];
        let steps: &[&str] = if more.contains(&"--steps") {
            &[]
        } else {
            &["--steps", "3"]
        };
        refused(&[&base[..], steps, more].concat(), words);
    };
    sample(
        &dir.file("none.safetensors"),
        &[],
        &["none.safetensors", "cannot be"],
    );
    sample(&digits, &["--steps", "0"], &["`steps` is 0"]);
    sample(&digits, &["--process", "vp"], &["`process`", "checkpoint"]);
    sample(&digits, &["--beta", "4"], &["`beta`", "checkpoint"]);
    sample(&digits, &["--plot", path(&png)], &["`plot`", "--grid"]);
    sample(
        &digits,
        &["--grid", "/no/such/folder/a.png"],
        &["/no/such/folder/a.png", "cannot be written"],
    );
    sample(
        &digits,
        &["--grid", "quadratic"],
        &["`grid`", "`quadratic`", ".png"],
    );
    sample(&points, &["--grid", path(&png)], &["`grid`", "--plot"]);
    let whole = std::fs::read(&digits).unwrap();
    let cut = dir.file("cut.safetensors");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for args in [["nll", path(&cut)], ["eval", path(&cut)]] {
        refused(&args, &["cut.safetensors", "bytes of data"]);
    }
    for (more, words) in [
        (["--tolerance", "1e-9"], ["`tolerance`", "1e-6"]),
        (["--eps", "0"], ["eps", "0 < eps < 1"]),
        (["--draws", "1"], ["`draws` is 1", "2"]),
        (["--n", "0"], ["`n` is 0", "1"]),
        (["--n", "181"], ["`n` is 181", "180"]),
        (["--data", "mixture"], ["`data`", "[1, 8, 8]"]),
        (["--data", "moons"], ["`data`", "moons"]),
        (["--probes", "few"], ["`probes`", "exact"]),
        (["--probes", "0"], ["`probes` is 0", "1"]),
        (["--threads", "0"], ["`threads` is 0", "1"]),
    ] {
        refused(&[&["nll", path(&digits)], &more[..]].concat(), &words);
    }
    for (more, words) in [
        (["--samplers", "magic"], ["`sampler`", "magic"]),
        (["--steps", "0"], ["`steps` is 0", "1"]),
        (["--spacing", "cubic"], ["`spacing`", "cubic"]),
        (["--data", "idx:/nowhere"], ["/nowhere", "IDX"]),
        (
            ["--out", "/no/such/folder/a.json"],
            ["/no/such/folder/a.json", "cannot be written"],
        ),
        (["--mass", "2"], ["`mass`", "checkpoint"]),
    ] {
        let words = if more[1].starts_with("idx") {
            ["/nowhere", "no such file"]
        } else {
            words
        };
        refused(&[&["eval", path(&digits)], &more[..]].concat(), &words);
    }
    // a request has no samplers, and samples have no steps
    let request = dir.file("request.json");
    std::fs::write(&request, "{}").unwrap();
    refused(
        &["eval", path(&request), "--steps", "3"],
        &["`steps`", "checkpoint"],
    );
    std::fs::write(&out, b"PK\x03\x04 and no more").unwrap();
    refused(
        &["eval", path(&out), "--steps", "3", "--data", "digits"],
        &["`steps`", "checkpoint"],
    );
    refused(&["eval", path(&out)], &["`data`", "missing"]);
    refused(&["eval", path(&out), "--data", "digits"], &["a.npz"]);
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), before + 3);
}

/// Catches a checkpoint that is written over because it was named by the folder of its run, and
/// likelihoods that take a data file's place.
#[test]
fn a_run_named_by_its_folder_is_an_input() {
    let dir = Folder::new();
    let run = dir.file("run");
    std::fs::create_dir(&run).unwrap();
    let file = run.join("checkpoint.safetensors");
    trained(&file, "vp", "mixture", 1);
    let before = std::fs::read(&file).unwrap();
    let small = [
        "sample",
        path(&run),
        "--sampler",
        "em",
        "--steps",
        "2",
        "--n",
        "10",
    ];
    said(&small);
    refused(
        &[&small[..], &["--json", path(&file)]].concat(),
        &["json", "checkpoint"],
    );
    refused(
        &["nll", path(&run), "--n", "2", "--json", path(&file)],
        &["json", "checkpoint"],
    );
    refused(
        &[
            "eval",
            path(&run),
            "--steps",
            "2",
            "--n",
            "10",
            "--out",
            path(&file),
        ],
        &["out", "FILE"],
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
