//! `cld reproduce`: experiments, plans, findings.

use cld_sgm::internal::files::Limits;
use cld_sgm::internal::reproduce::experiment::{Experiment, Side};
use cld_sgm::internal::reproduce::findings::Findings;
use cld_sgm::internal::reproduce::page;
use cld_sgm::internal::reproduce::plan::{Options, Plan};
use cld_sgm::internal::reproduce::record::{Figure, Measured, PLAN, PlanRecord, Store};
use cld_sgm::internal::reproduce::verdict::Verdict;
use cld_sgm::internal::reproduce::work::{Doing, Shop};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Two arms and the exact score on a toy, small enough for a test.
const TINY: &str = r#"
number = 9
id = "tiny"
title = "Tiny"
question = "Is it small?"
seeds = 3

[train]
steps = 12
batch = 16
log_every = 6
data = { name = "mixture" }
model = { kind = "mlp", width = 16, depth = 1 }
loss = { objective = "hsm", parametrisation = "mixed" }

[[on]]
name = "mixture"
minutes = 1.0
measuring = 1.0

[[arm]]
name = "paper"
train = { process = { kind = "cld" } }

[[arm]]
name = "vp"
train = { process = { kind = "vp" }, loss = { objective = "dsm", parametrisation = "eps" } }

[[arm]]
name = "exact"
exact = true

[[measure]]
arms = ["paper", "vp"]
bits = { n = 20, tolerance = 1e-2, draws = 2, probes = 0 }

[[measure]]
distance = { samplers = ["em", "sscs"], nfe = [5, 20], n = 400 }

[[measure]]
arms = ["paper"]
gradient = { at = [0.5, 1.0], batches = 4 }

[[claim]]
id = "less-{}"
text = "the exact score is nearer at {}"
source = "a test"
a = "exact:distance.em.quadratic.{}"
b = "paper:distance.em.quadratic.{}"
each = ["5", "20"]

[[claim]]
id = "same"
text = "the same bits"
source = "a test"
a = "paper:bits"
b = "vp:bits"
within = 0.5
"#;

fn tiny() -> Experiment {
    Experiment::parse(TINY, "tiny.toml").unwrap()
}

fn refused(text: &str) -> String {
    Experiment::parse(text, "tiny.toml")
        .unwrap_err()
        .to_string()
}

fn shop<'a>(store: &'a Store, limits: &'a Limits) -> Shop<'a> {
    Shop {
        store,
        threads: 2,
        limits,
        version: "test",
        cpu: "test",
    }
}

fn begun(folder: &Path) -> Store {
    let store = Store::new(folder);
    let plan = PlanRecord {
        schema: PLAN.into(),
        experiments: vec![],
        seeds: None,
        budget: None,
    };
    store.begin(&plan).unwrap();
    store
}

/// Catches a file of the crate that cannot be read, an experiment that is missing, and a claim
/// about a figure that nothing measures (parsing looks every figure up).
#[test]
fn the_experiments_of_the_crate_can_be_read() {
    let all = Experiment::all().unwrap();
    let numbers: Vec<u32> = all.iter().map(|e| e.number).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    for e in &all {
        assert!(!e.claims.is_empty(), "{}", e.id);
        assert!(e.seeds >= 3, "{}", e.id);
        for c in &e.claims {
            assert!(!c.text.contains("{}") && !c.source.is_empty(), "{}", c.id);
            assert!(
                matches!((&c.a, &c.b), (Side::Figure { .. }, _)),
                "{}: a figure first",
                c.id
            );
        }
    }
    // the whole in one night on two cores
    let plan = Plan::of(all, &Options::default()).unwrap();
    let hours: f64 = plan.jobs.iter().map(|j| j.minutes()).sum::<f64>() / 60.0;
    assert!(hours < 8.0, "{hours} h");
}

/// Catches a wrong name or number that is let through, to fail hours later or never.
#[test]
fn what_is_wrong_in_a_file_is_refused() {
    for (old, new, said) in [
        ("steps = 12", "stepz = 12", "stepz"),
        ("seeds = 3", "seeds = 0", "1 to 1000"),
        ("\"sscs\"]", "\"ssss\"]", "ssss"),
        ("nfe = [5, 20]", "nfe = []", "at least one"),
        ("exact:distance.em", "exakt:distance.em", "exakt"),
        ("\"paper:bits\"", "\"paper:bitz\"", "bitz"),
        ("\"paper:bits\"", "\"exact:bits\"", "exact:bits"),
        ("within = 0.5", "within = nan", "above 0"),
        ("name = \"vp\"", "name = \"v p\"", "letters"),
        ("name = \"vp\"", "name = \"paper\"", "each once"),
        ("minutes = 1.0", "minutes = 0.0", "above 0"),
        ("kind = \"vp\"", "kind = \"vpp\"", "vpp"),
        (
            "probes = 0 }",
            "probes = 0 }\ngradient = { at = [1.0], batches = 4 }",
            "exactly one",
        ),
        ("at = [0.5, 1.0]", "at = [0.5, 2.0]", "to 1"),
        (
            "arms = [\"paper\", \"vp\"]",
            "arms = [\"paper\", \"vq\"]",
            "vq",
        ),
        ("id = \"same\"", "id = \"less-5\"", "each once"),
        ("at = [0.5, 1.0]", "at = [0.5, 0.5]", "0.5 twice"),
        ("at = [0.5, 1.0]", "at = [nan]", "to 1"),
        ("nfe = [5, 20]", "nfe = [5, 20, 5]", "5 twice"),
        ("\"em\", \"sscs\"", "\"em\", \"em\"", "em twice"),
    ] {
        assert!(TINY.contains(old), "{old}");
        let text = refused(&TINY.replacen(old, new, 1));
        assert!(
            text.contains(said) && text.contains("tiny.toml"),
            "{new}: {text}"
        );
    }
}

/// Catches a process that keeps the parameters of another one, and defaults that are not the
/// command's.
#[test]
fn a_process_of_another_kind_is_another_process() {
    let e = tiny();
    let on = &e.on[0];
    let of = |i: usize| e.config(&e.arms[i], on, 7).unwrap();
    assert_eq!(of(0).process["mass"], 0.25);
    assert!(!of(1).process.contains_key("mass"));
    assert_eq!(of(1).seed, 7);
    assert_eq!(of(1).loss.objective.as_deref(), Some("dsm"));
}

/// Catches a seed that is not outermost, shards that miss a job or share one, arms trained alike
/// that end up in two shards, and a budget that changes nothing.
#[test]
fn plans() {
    let plan = Plan::of(vec![tiny()], &Options::default()).unwrap();
    let seeds: Vec<u64> = plan.jobs.iter().map(|j| j.seed).collect();
    assert_eq!(seeds, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    let about = |p: &Plan| p.jobs.iter().map(|j| j.about()).collect::<Vec<_>>();
    let mut together = vec![];
    for i in 1..=4 {
        let mut part = plan.clone();
        part.shard(i, 4).unwrap();
        together.extend(about(&part));
    }
    together.sort();
    let mut all = about(&plan);
    all.sort();
    assert_eq!(together, all);
    for (i, n) in [(0, 4), (5, 4), (1, 0)] {
        assert!(plan.clone().shard(i, n).is_err());
    }
    let budget = |b| Options {
        budget: Some(b),
        ..Options::default()
    };
    let short = Plan::of(vec![tiny()], &budget(5.0)).unwrap();
    assert!(short.scale < 1.0 && short.minutes() <= 4.0 + 1e-9);
    assert!(Plan::of(vec![tiny()], &budget(f64::NAN)).is_err());
    let unknown = Options {
        experiments: vec!["tny".into()],
        ..Options::default()
    };
    assert!(Plan::of(vec![tiny()], &unknown).is_err());
}

/// Catches work that is lost or done twice by a stop, a figure that depends on where it was
/// stopped, and a gradient that is measured at other steps than asked for.
#[test]
fn a_job_that_is_stopped_goes_on() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (whole, parts) = (begun(a.path()), begun(b.path()));
    let limits = Limits::default();
    let plan = Plan::of(vec![tiny()], &Options::default()).unwrap();
    let job = &plan.jobs[0];
    let never = AtomicBool::new(false);
    assert!(shop(&whole, &limits).work(job, &never, &|_| ()).unwrap());
    // a stop after every step of training and before every measure
    let mut rounds = 0;
    loop {
        let stop = AtomicBool::new(false);
        let tell = |doing: Doing<'_>| {
            if matches!(doing, Doing::Training(..)) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        };
        rounds += 1;
        assert!(rounds < 40);
        if shop(&parts, &limits).work(job, &stop, &tell).unwrap() {
            break;
        }
    }
    assert!(rounds > 6, "{rounds}");
    let figures = |store: &Store| {
        let record = shop(store, &limits).record(job).unwrap();
        assert_eq!(record.steps, 12);
        let of = |m: &Measured| (m.name.clone(), m.figures.clone());
        let mut all: Vec<_> = record.measures.iter().map(of).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(figures(&whole), figures(&parts));
    let names: Vec<String> = figures(&whole).into_iter().map(|f| f.0).collect();
    assert_eq!(names, ["bits", "distance", "gradient"]);
    assert!(shop(&whole, &limits).done(job).unwrap());
}

/// A record of the exact arm or the paper's with this distance at both numbers of evaluations.
fn planted(store: &Store, limits: &Limits, plan: &Plan, arm: &str, seed: u64, value: Option<f64>) {
    let job = plan
        .jobs
        .iter()
        .find(|j| j.arm.name == arm && j.seed == seed)
        .unwrap();
    let mut record = shop(store, limits).record(job).unwrap();
    let m = job.measures.iter().find(|m| m.name == "distance").unwrap();
    let figures = ["5", "20"].map(|c| Figure {
        row: "em.quadratic".into(),
        column: c.into(),
        value,
        error: None,
        problem: None,
    });
    record.measures.push(Measured {
        name: m.name.clone(),
        kind: m.kind.clone(),
        figures: figures.to_vec(),
        seconds: 1.0,
    });
    store.keep(&record).unwrap();
}

fn verdict(distances: &[(Option<f64>, Option<f64>)], scale: f64) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let store = begun(folder.path());
    let limits = Limits::default();
    let mut plan = Plan::of(vec![tiny()], &Options::default()).unwrap();
    for (seed, (exact, paper)) in distances.iter().enumerate() {
        planted(&store, &limits, &plan, "exact", seed as u64, *exact);
        planted(&store, &limits, &plan, "paper", seed as u64, *paper);
    }
    plan.scale = scale;
    let found = Findings::of(plan, &[shop(&store, &limits)]).unwrap();
    assert_eq!(found.found.len(), 3);
    // of the bits there is no record
    assert_eq!(found.found[2].judged.verdict, Verdict::Missing);
    let (text, _) = page::markdown(&found, "plots").unwrap();
    assert!(text.contains("tiny.less-5") && text.contains("not measured"));
    assert!(page::html(&found).unwrap().contains("tiny.less-20"));
    found.found[0].judged.verdict
}

/// Catches differences that are not paired by seed, a side taken for the other, a diverged sample
/// that counts as none, and a verdict on networks of another size.
#[test]
fn verdicts_come_from_records() {
    let pairs = |by: [f64; 3]| {
        // over seeds the figures scatter by 100; the differences by 0.02
        let base = [1.0, 100.0, 200.0];
        [0, 1, 2].map(|i| (Some(base[i]), Some(base[i] + by[i])))
    };
    assert_eq!(verdict(&pairs([5.0, 5.01, 5.02]), 1.0), Verdict::Holds);
    assert_eq!(verdict(&pairs([-5.0, -5.01, -5.02]), 1.0), Verdict::Fails);
    assert!(matches!(
        verdict(&pairs([5.0, -5.01, 5.02]), 1.0),
        Verdict::Open { .. }
    ));
    let mut diverged = pairs([5.0, 5.01, 5.02]);
    diverged[1].1 = None;
    assert_eq!(verdict(&diverged, 1.0), Verdict::Missing);
    assert_eq!(
        verdict(&pairs([5.0, 5.01, 5.02]), 0.5),
        Verdict::Open { seeds: None }
    );
    assert_eq!(verdict(&[], 1.0), Verdict::Missing);
}

/// Catches a record that is believed though it is of another configuration, and one of another
/// job under this one's name.
#[test]
fn a_record_counts_only_for_what_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = begun(folder.path());
    let limits = Limits::default();
    let plan = Plan::of(vec![tiny()], &Options::default()).unwrap();
    planted(&store, &limits, &plan, "exact", 0, Some(1.0));
    let other = Experiment::parse(&TINY.replace("batch = 16", "batch = 17"), "tiny.toml").unwrap();
    let other = Plan::of(vec![other], &Options::default()).unwrap();
    let measures = |p: &Plan| {
        let job = p.jobs.iter().find(|j| j.arm.name == "exact").unwrap();
        shop(&store, &limits).record(job).unwrap().measures.len()
    };
    assert_eq!((measures(&plan), measures(&other)), (1, 0));
    let records = folder.path().join("records");
    std::fs::rename(
        records.join("tiny.mixture.exact.0.json"),
        records.join("tiny.mixture.vp.0.json"),
    )
    .unwrap();
    let job = plan.jobs.iter().find(|j| j.arm.name == "vp").unwrap();
    assert!(shop(&store, &limits).record(job).is_err());
}
