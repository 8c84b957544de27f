//! Runs of training as a user has them: the same bits however they are run, stopped or killed;
//! files that outlive all of it; refusals.

use super::run::text;
use cld_sgm::internal::files::Limits;
use cld_sgm::train::checkpoint::{self, Checkpoint};
use cld_sgm::train::run::{CHECKPOINT, CONFIG, CURVE, End, METRICS};
use cld_sgm::train::{Config, TrainingRun};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A small network on a toy: thousands of steps a second.
const TOY: &str = "
steps = 37
batch = 10
save_every = 1000
log_every = 5
[data]
name = 'swissroll'
[model]
kind = 'resmlp'
width = 16
depth = 1
";

/// A small network on the digits, with dropout, convolutions, attention, and a batch that no number
/// of threads divides.
const DIGITS: &str = "
steps = 5
batch = 9
save_every = 3
log_every = 2
[model]
kind = 'unet'
base = 16
mult = [1, 2]
blocks = 1
embedding = 16
groups = 4
dropout = 0.1
";

fn config(text: &str) -> Config {
    Config::from_toml(text, "").unwrap()
}

fn go(mut run: TrainingRun) -> TrainingRun {
    assert_eq!(
        run.go(&AtomicBool::new(false), &mut |_, _| ()).unwrap(),
        End::Done
    );
    run
}

fn load(folder: &Path) -> Checkpoint {
    checkpoint::read(&folder.join(CHECKPOINT)).unwrap()
}

/// The metrics without what a clock says.
fn metrics(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(METRICS)).unwrap();
    text.lines()
        .map(|l| l.split(",\"seconds\"").next().unwrap().to_string())
        .collect()
}

fn cld() -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_cld"));
    c.arg("train").stdin(Stdio::null());
    c
}

fn fine(out: &Output) {
    assert!(out.status.success(), "{}", text(&out.stderr));
}

/// Catches anything that a checkpoint lacks: random numbers, averages, the sums of an unfinished
/// line of the metrics. A run that is stopped after every step, even ones that end in the midst of
/// a line, is bit for bit the run that was not, its file included.
#[test]
fn stopped_is_as_never_stopped() {
    for toml in [TOY, DIGITS] {
        let dir = tempfile::tempdir().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        go(TrainingRun::start(config(toml), &whole, 1, false).unwrap());
        let mut run = TrainingRun::start(config(toml), &parts, 2, false).unwrap();
        for stops in 1.. {
            let stop = AtomicBool::new(false);
            // after 1, 3, 6, ... steps
            let mut left = stops;
            let each = &mut |_: &_, _: Option<&_>| {
                left -= 1;
                stop.store(left == 0, Ordering::Relaxed);
            };
            if run.go(&stop, each).unwrap() == End::Done {
                break;
            }
            // what was written after the checkpoint is written again
            let mut text = std::fs::read_to_string(parts.join(METRICS)).unwrap();
            text += "{\"step\":1000,\"loss\":1.0,\"gradient\":1.0,\"rate\":1.0,\"seconds\":1.0,\"per_second\":1.0}\n{\"step\":3";
            std::fs::write(parts.join(METRICS), text).unwrap();
            // one run at a time in a folder
            drop(run);
            run = TrainingRun::resume(
                &parts,
                |_| (),
                1 + stops as usize % 3,
                None,
                false,
                &Limits::default(),
            )
            .unwrap();
        }
        drop(run);
        assert_eq!(metrics(&whole), metrics(&parts));
        for file in [CHECKPOINT, CONFIG] {
            assert!(
                std::fs::read(whole.join(file)).unwrap()
                    == std::fs::read(parts.join(file)).unwrap(),
                "{file}"
            );
        }
        let c = load(&whole);
        assert_eq!(c.state.step, c.config.steps);
        assert!(c.state.p != c.state.ema && c.state.m.iter().any(|x| *x != 0.0));
        // more steps than were planned: as if they had been planned
        let more = c.config.steps + 3;
        go(TrainingRun::resume(
            &parts,
            |c| c.steps = more,
            1,
            None,
            false,
            &Limits::default(),
        )
        .unwrap());
        let longer = dir.path().join("longer");
        go(TrainingRun::start(
            Config {
                steps: more,
                ..config(toml)
            },
            &longer,
            1,
            false,
        )
        .unwrap());
        assert_eq!(load(&parts).state, load(&longer).state);
        assert_eq!(metrics(&parts), metrics(&longer));
        // and from another folder, which stays as it is
        let (old, elsewhere) = (
            std::fs::read(whole.join(CHECKPOINT)).unwrap(),
            dir.path().join("elsewhere"),
        );
        go(TrainingRun::resume(
            &whole,
            |c| c.steps = more,
            3,
            Some(&elsewhere),
            false,
            &Limits::default(),
        )
        .unwrap());
        assert_eq!(load(&elsewhere).state, load(&longer).state);
        assert_eq!(metrics(&elsewhere), metrics(&longer));
        assert!(old == std::fs::read(whole.join(CHECKPOINT)).unwrap());
    }
}

/// Catches sums whose order depends on the threads: one run by 1, 2 and 3 of them; and a seed
/// without effect.
#[test]
fn the_same_bits_for_any_threads() {
    let dir = tempfile::tempdir().unwrap();
    for toml in [TOY, DIGITS] {
        let state = |threads: usize| {
            let folder = dir.path().join(format!("{threads}"));
            let state = go(TrainingRun::start(config(toml), &folder, threads, true).unwrap())
                .state()
                .clone();
            assert_eq!(state, load(&folder).state);
            state
        };
        let one = state(1);
        for threads in [2, 3] {
            assert!(state(threads) == one, "{threads} threads");
        }
        let other = Config {
            seed: 1,
            ..config(toml)
        };
        let other = go(TrainingRun::start(other, &dir.path().join("seed"), 1, true).unwrap())
            .state()
            .clone();
        assert!(other.p != one.p, "the seed does nothing");
    }
}

/// Catches loops whose instruction sets sum in different orders or round differently: the same
/// weights with each one that the machine has.
#[test]
fn the_same_bits_for_any_instruction_set() {
    let dir = tempfile::tempdir().unwrap();
    let toml = dir.path().join("a.toml");
    std::fs::write(&toml, DIGITS).unwrap();
    let sets = ["avx2", "avx512"].into_iter().filter(|s| {
        cld_sgm::internal::simd::Set::ALL
            .iter()
            .any(|t| t.name() == *s && t.available())
    });
    let states: Vec<_> = sets
        .map(|set| {
            let folder = dir.path().join(set);
            fine(
                &cld()
                    .arg(&toml)
                    .arg("--out")
                    .arg(&folder)
                    .env("CLD_SIMD", set)
                    .output()
                    .unwrap(),
            );
            load(&folder).state
        })
        .collect();
    assert!(states.windows(2).all(|s| s[0] == s[1]));
}

/// Catches a checkpoint that is not whole at some moment, and a run that cannot go on from one: a
/// process is killed without warning, at a moment of chance after its first checkpoint, again and
/// again; the weights are those of a run that was left alone.
#[test]
#[cfg(unix)]
fn killed_is_as_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (toml, folder) = (dir.path().join("a.toml"), dir.path().join("killed"));
    // a checkpoint every other step, so that most kills hit one that is being written
    std::fs::write(
        &toml,
        TOY.replace("steps = 37", "steps = 80")
            .replace("save_every = 1000", "save_every = 2"),
    )
    .unwrap();
    let (mut kills, mut before) = (0, None);
    for n in 0.. {
        let mut c = cld();
        match before {
            None => c.arg(&toml).arg("--out").arg(&folder),
            Some(_) => c.arg("--resume").arg(&folder),
        };
        let mut child = c
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            let now = checkpoint::read(&folder.join(CHECKPOINT))
                .ok()
                .map(|c| c.state.step);
            if kills < 6 && now > before && start.elapsed() > Duration::from_millis(7 * n % 20) {
                child.kill().unwrap();
                kills += 1;
            }
            assert!(start.elapsed() < Duration::from_secs(60));
        }
        // whole at all times
        before = Some(load(&folder).state.step);
        if before == Some(80) {
            break;
        }
    }
    assert!(kills > 0, "no kill came in time");
    let whole = dir.path().join("whole");
    fine(&cld().arg(&toml).arg("--out").arg(&whole).output().unwrap());
    assert!(load(&whole).state == load(&folder).state);
    assert_eq!(metrics(&whole), metrics(&folder));
    assert!(
        std::fs::read(whole.join(CHECKPOINT)).unwrap()
            == std::fs::read(folder.join(CHECKPOINT)).unwrap()
    );
}

/// Catches a Ctrl-C that loses work, does not say how to go on, or has the exit code of success.
#[test]
#[cfg(unix)]
fn interrupts_keep_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let (toml, folder) = (dir.path().join("a.toml"), dir.path().join("run"));
    std::fs::write(
        &toml,
        TOY.replace("steps = 37", "steps = 100000000")
            .replace("save_every = 1000", "save_every = 100000000"),
    )
    .unwrap();
    for signal in ["-INT", "-TERM"] {
        let _ = std::fs::remove_dir_all(&folder);
        let child = cld()
            .arg(&toml)
            .arg("--out")
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while std::fs::metadata(folder.join(METRICS)).map_or(true, |m| m.len() == 0) {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        // the shell's own: the standard library knows only kill -9
        fine(
            &Command::new("sh")
                .arg("-c")
                .arg(format!("kill {signal} {}", child.id()))
                .output()
                .unwrap(),
        );
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(130), "{}", text(&out.stderr));
        assert!(
            text(&out.stdout).contains(&format!("cld train --resume {}", folder.display())),
            "{}",
            text(&out.stdout)
        );
        let c = load(&folder);
        assert!(c.state.step > 0 && c.state.step < 100_000_000);
        assert!(folder.join(CURVE).exists());
    }
}

/// Catches a full disk or a folder that may not be written to that takes the last good checkpoint
/// with it, leaves parts of files behind, or ends without saying what happened: files are limited
/// to a size that the metrics, but no checkpoint, fit into.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (toml, folder) = (dir.path().join("a.toml"), dir.path().join("run"));
    std::fs::write(&toml, TOY).unwrap();
    fine(&cld().arg(&toml).arg("--out").arg(&folder).output().unwrap());
    let before = std::fs::read(folder.join(CHECKPOINT)).unwrap();
    let limited = |args: &str| {
        // 8 blocks of 512 or 1024 bytes; without the signal the write itself fails, as on a full
        // disk
        let script = format!(
            "trap '' XFSZ; ulimit -f 8; exec {} train {args}",
            env!("CARGO_BIN_EXE_cld")
        );
        let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
        let err = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{err}");
        (
            err.trim_end().lines().last().unwrap().to_string(),
            std::fs::read_dir(&folder).unwrap().count(),
        )
    };
    let (err, files) = limited(&format!("--resume {} --steps 60", folder.display()));
    for words in [
        "checkpoint.safetensors",
        "cannot be written",
        "after step 38",
        "checkpoint of step 37 is whole",
    ] {
        assert!(err.contains(words), "`{words}` is not in {err}");
    }
    assert_eq!(files, 4, "a temporary file is left");
    assert!(before == std::fs::read(folder.join(CHECKPOINT)).unwrap());
    let fresh = dir.path().join("fresh");
    let (err, _) = limited(&format!("{} --out {}", toml.display(), fresh.display()));
    assert!(
        err.contains("there is no checkpoint yet") && !fresh.join(CHECKPOINT).exists(),
        "{err}"
    );
    // the disk has room again
    fine(
        &cld()
            .arg("--resume")
            .arg(&folder)
            .args(["--steps", "60"])
            .output()
            .unwrap(),
    );
    assert_eq!(load(&folder).state.step, 60);

    // a folder that cannot be made, and one that is a file; root may write anywhere, so it is not
    // by permissions
    for bad in ["/proc/cld-train".into(), format!("{}/run", toml.display())] {
        let out = cld().arg(&toml).arg("--out").arg(&bad).output().unwrap();
        let err = text(&out.stderr);
        assert!(
            out.status.code() == Some(2) && err.contains(&bad) && err.contains("cannot be created"),
            "{err}"
        );
    }
}

/// Catches a loss that is not finite and goes on, or is saved.
#[test]
fn a_loss_that_is_not_finite_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(TOY);
    // weights of 1e19 after a step: their squares leave f32
    (c.adam.rate, c.adam.eps, c.adam.warm_up, c.save_every) = (1.0, 1e-30, 0, 1);
    c.steps = 100_000;
    let mut run = TrainingRun::start(c, dir.path(), 1, false).unwrap();
    let stop = AtomicBool::new(false);
    stop.store(true, Ordering::Relaxed);
    // a checkpoint of the first step, then weights that are too large by hand
    assert_eq!(run.go(&stop, &mut |_, _| ()).unwrap(), End::Stopped);
    drop(run);
    let mut c = load(dir.path());
    c.state.p.iter_mut().for_each(|x| *x *= 1e19);
    // what fills blocks stays 0; the output's weights start there, and must not
    let at = c
        .graph
        .layout()
        .entries()
        .iter()
        .position(|e| e.name == "out.weight")
        .unwrap();
    let n = c.graph.layout().entries()[at].count();
    c.graph
        .layout()
        .write(&mut c.state.p, at, &vec![1e30; n])
        .unwrap();
    checkpoint::write(
        &dir.path().join(CHECKPOINT),
        &c.config,
        &c.graph,
        &c.state,
        c.so_far,
    )
    .unwrap();
    let before = std::fs::read(dir.path().join(CHECKPOINT)).unwrap();
    let e = TrainingRun::resume(dir.path(), |_| (), 1, None, false, &Limits::default())
        .unwrap()
        .go(&AtomicBool::new(false), &mut |_, _| ())
        .unwrap_err()
        .to_string();
    for words in ["step 2", "not finite", "checkpoint of step 1 is whole"] {
        assert!(e.contains(words), "`{words}` is not in {e}");
    }
    assert!(before == std::fs::read(dir.path().join(CHECKPOINT)).unwrap());
}

/// Catches a file, a flag or a folder that is bad and is taken, a run that is overwritten unasked,
/// and a refusal in more than one sentence or without the name of what is wrong.
#[test]
fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let run = dir.path().join("run");
    let run = run.to_str().unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        let out = cld().args(args).current_dir(dir.path()).output().unwrap();
        let err = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {err}");
        assert!(
            out.stdout.is_empty() && err.trim_end().lines().count() == 1,
            "{args:?}: one sentence, not {err}"
        );
        words
            .iter()
            .for_each(|w| assert!(err.contains(w), "{args:?}: `{w}` is not in {err}"));
    };
    refused(
        &[&file("a.toml", "[model]\nbase = 'wide'")],
        &["a.toml", "line 2"],
    );
    refused(
        &[&file("b.toml", "stepz = 1")],
        &["b.toml", "line 1", "stepz"],
    );
    refused(&[&file("c.toml", "steps = ")], &["c.toml", "line 1"]);
    refused(&["nowhere.toml"], &["nowhere.toml"]);
    refused(
        &["--data", "moons"],
        &["data.name", "`moons`", "swissroll", "idx:DIR"],
    );
    refused(&["--data", "png:nowhere"], &["nowhere"]);
    refused(&["--process", "brown"], &["process", "brown"]);
    refused(&["--process", "vp", "--objective", "hsm"], &["objective"]);
    refused(&["--process", "vp", "--gamma", "0.1"], &["gamma"]);
    refused(&["--process", "cld", "--mass=-1"], &["mass"]);
    refused(&["--schedule", "{"], &["--schedule"]);
    refused(&["--objective", "ism"], &["loss.objective", "ism"]);
    refused(&["--model", "cnn"], &["model.kind", "cnn"]);
    refused(&["--model", "mlp"], &["model.kind"]);
    refused(&["--steps", "0"], &["`steps`"]);
    refused(&["--batch", "0"], &["`batch`"]);
    refused(&["--rate", "0"], &["`rate`"]);
    refused(&["--rate", "nan"], &["`rate`"]);
    refused(&["--threads", "0"], &["`threads`"]);
    refused(&["--resume", "nowhere"], &["nowhere"]);
    assert!(
        !dir.path().join("cld-train").exists(),
        "a refusal left a folder"
    );

    fine(
        &cld()
            .arg(file("toy.toml", TOY))
            .args(["--out", run])
            .output()
            .unwrap(),
    );
    let toy = dir.path().join("toy.toml");
    let toy = toy.to_str().unwrap();
    refused(
        &[toy, "--out", run],
        &["has a run in it", "--resume", "--force"],
    );
    refused(&["--resume", run], &["`steps`", "37"]);
    refused(
        &["--resume", run, "--steps", "40", "--rate", "0.1"],
        &["`rate`", "--resume"],
    );
    refused(
        &["--resume", run, "--steps", "40", "--beta", "1"],
        &["process", "--resume"],
    );
    refused(
        &["--resume", run, "--steps", "40", "--out", run],
        &["has a run in it"],
    );
    let copy = dir.path().join("run").join("copy.safetensors");
    std::fs::copy(dir.path().join("run").join(CHECKPOINT), &copy).unwrap();
    refused(
        &["--resume", copy.to_str().unwrap(), "--steps", "40"],
        &["copy.safetensors", "--out"],
    );
    refused(&["--resume", toy], &["toy.toml", "header"]);
    fine(
        &cld()
            .args([toy, "--out", run, "--force", "--steps", "7", "--seed", "3"])
            .output()
            .unwrap(),
    );
    let c = load(Path::new(run));
    assert_eq!(
        (c.state.step, c.config.seed, c.config.batch),
        (7, 3, 10),
        "flags are over the file, and the file over the defaults"
    );
}

/// Catches a page whose file is not the default run, field by field, and one that leaves a field
/// out.
#[test]
fn the_page_has_the_default_file() {
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/guide/training.md"
    ))
    .unwrap();
    let file = page
        .split("```toml")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let filled = |c: Config| {
        let data = c.load().unwrap();
        c.filled(&data).unwrap()
    };
    let full = filled(Config::default());
    assert_eq!(filled(config(file)), full);
    for field in full
        .to_toml()
        .unwrap()
        .lines()
        .filter_map(|l| l.split_once(" = "))
        .map(|(name, _)| name)
    {
        // shape, levels and checksum are the data's own; the schedule is a table in the page's file
        assert!(
            ["shape", "levels", "crc32", "kind", "b"].contains(&field)
                || file.contains(&format!("\n{field} = ")),
            "{field}"
        );
    }
}
