//! The audit itself: every claim holds, every planted error is caught and nothing else blamed,
//! p-values are uniform, threads and shards do not change a bit.
//!
//! False alarms: the Monte Carlo claims of one run have 1e-6 together, whatever the seed; these
//! tests make three such runs.

use cld_sgm::internal::audit::Options;
use cld_sgm::internal::audit::cases::cases;
use cld_sgm::internal::audit::run::{Audit, Simulated, audit, list, merge, shard};
use cld_sgm::internal::audit::shards::Shard;
use cld_sgm::internal::audit::simulation::{Group, Sums};
use cld_sgm::internal::audit::stats::{p_kolmogorov, uniform_distance};
use cld_sgm::internal::audit::{Method, Plant, formulas, report};
use cld_sgm::internal::simulate::Scheme;
use cld_sgm::internal::worst::largest;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use serde_json::{Value as Json, json};
use std::sync::OnceLock;

fn quick(paths: u64) -> Options {
    Options {
        paths,
        ..Options::quick()
    }
}

/// One simulation for several tests: 2^16 paths of every group.
fn simulated() -> &'static Simulated {
    static ONCE: OnceLock<Simulated> = OnceLock::new();
    ONCE.get_or_init(|| Simulated::new(&quick(1 << 16), &|_, _| {}).unwrap())
}

fn judged() -> &'static Audit {
    static ONCE: OnceLock<Audit> = OnceLock::new();
    ONCE.get_or_init(|| simulated().judge(&quick(1 << 16)).unwrap())
}

/// Every claim of the registry, by every method: closed forms, orders, simulated paths.
#[test]
fn every_claim_holds() {
    let a = judged();
    for e in &a.evidence {
        assert!(
            e.holds(),
            "{}: {} times its tolerance; {}",
            e.claim.id,
            e.worst(),
            e.claim.statement
        );
    }
    for m in [
        Method::Doubling,
        Method::Moments,
        Method::Order,
        Method::Simulation,
    ] {
        let n = a.evidence.iter().filter(|e| e.claim.method == m).count();
        assert!(n > 150, "{}: only {n} claims", m.name());
    }
    assert!(a.holds && a.evidence.len() > 3000);
}

/// For every claim: an error of 3 times the stated power limit, planted in its quantity, is caught,
/// with either sign, and no other claim of the case is blamed. (Claims of other cases share nothing
/// with it but the tests' number.) Catches a check that cannot fail, and a power that is not what
/// it says.
#[test]
fn every_planted_error_is_caught_and_nothing_else_blamed() {
    let (s, a) = (simulated(), judged());
    a.evidence.par_iter().for_each(|e| {
        assert!(
            e.power().is_finite() && e.power() > 0.0,
            "{}: power {}",
            e.claim.id,
            e.power()
        );
        for sign in [1.0, -1.0] {
            let plant = Plant {
                id: e.claim.id.clone(),
                size: sign * 3.0 * e.power(),
            };
            assert_eq!(
                s.blamed(&plant).unwrap(),
                [e.claim.id.as_str()],
                "{plant:?}"
            );
        }
    });
}

/// At the default number of paths every covariance entry is tested to 1% by simulation alone, and
/// to 1e-10 without noise. The power of a simulation depends on the number of paths and of tests
/// only, so it is computed, not simulated.
#[test]
fn power_is_what_is_promised() {
    let (few, quick) = (judged(), Options::quick());
    let grow = (few.options.paths as f64 / quick.paths as f64).sqrt();
    for e in few.evidence.iter().filter(|e| e.claim.id.contains("/cov.")) {
        match e.claim.method {
            Method::Simulation => assert!(
                e.power() * grow <= 0.01,
                "{}: {}",
                e.claim.id,
                e.power() * grow
            ),
            Method::Doubling => assert!(e.power() <= 1e-10, "{}: {}", e.claim.id, e.power()),
            _ => {}
        }
    }
}

/// Over 200 seeds the p-values of every kind of statistic are uniform (Kolmogorov's test, 9 kinds,
/// each at 1e-5). Catches a wrong law: a variance's degrees of freedom, a covariance's standard
/// error, draws used twice.
#[test]
fn p_values_are_uniform() {
    let all = cases().unwrap();
    for (case, scheme) in [
        ("cld.hsm.linear", Scheme::Exact),
        ("order-3.dsm.cosine", Scheme::EulerMaruyama),
    ] {
        let case = all.iter().find(|c| c.name == case).unwrap();
        let mut by_claim: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
        for seed in 0..200 {
            let g = Group::new(case, scheme, 1000 + seed).unwrap().unwrap();
            for e in g.evidence(&g.sums(0, 4096), 1, None).unwrap() {
                // one time of each: the times of one path are not independent
                by_claim
                    .entry(e.claim.id.clone())
                    .or_default()
                    .push(e.p()[3]);
            }
        }
        for (id, p) in by_claim {
            let k = p_kolmogorov(uniform_distance(&p), p.len());
            assert!(k > 1e-5, "{id}: Kolmogorov's p-value {k}");
        }
    }
}

/// The table of docs/guide/audit.md: 1000 seeds, all statistics of four groups. Not part of the
/// suite: half a minute.
#[test]
#[ignore = "prints the table of docs/guide/audit.md"]
fn calibration() {
    let all = cases().unwrap();
    println!(
        "| statistic | Kolmogorov p | below 0.1 (100) | below 0.01 (10) | below 0.001 (1) |\n|---|---|---|---|---|"
    );
    let groups = [
        ("cld.hsm.linear", Scheme::Exact),
        ("cld.dsm.cosine", Scheme::EulerMaruyama),
        ("psld.hsm.linear", Scheme::Splitting),
        ("order-3.hsm.constant", Scheme::Sra1),
    ];
    for (case, scheme) in groups {
        let case = all.iter().find(|c| c.name == case).unwrap();
        let runs: Vec<_> = (0..1000u64)
            .into_par_iter()
            .map(|seed| {
                let g = Group::new(case, scheme, seed).unwrap().unwrap();
                g.evidence(&g.sums(0, 16_384), 1, None).unwrap()
            })
            .collect();
        for (i, claim) in runs[0].iter().map(|e| &e.claim.id).enumerate() {
            let p: Vec<f64> = runs.iter().map(|r| r[i].p()[3]).collect();
            let below = |level: f64| p.iter().filter(|x| **x < level).count();
            let k = p_kolmogorov(uniform_distance(&p), p.len());
            println!(
                "| `{claim}` | {k:.3} | {} | {} | {} |",
                below(0.1),
                below(0.01),
                below(0.001)
            );
        }
    }
}

/// Bit for bit the same evidence for 1 and 2 threads, and for shards that are merged in any order.
#[test]
fn threads_and_shards_do_not_change_a_bit() {
    let o = Options {
        only: Some("psld.hsm.linear/".into()),
        ..quick(50_001)
    };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        serde_json::to_string(&pool.install(|| audit(&o, &|_, _| {})).unwrap()).unwrap()
    };
    let whole = on(1);
    assert_eq!(on(2), whole);
    let mut shards: Vec<_> = (1..=3)
        .map(|i| shard(&o, i, 3, &|_, _| {}).unwrap())
        .collect();
    shards.rotate_left(1);
    // through the file format, as users do
    let text: Vec<String> = shards
        .iter()
        .map(|s| serde_json::to_string(s).unwrap())
        .collect();
    let read: Vec<Shard> = text
        .iter()
        .enumerate()
        .map(|(i, t)| Shard::parse(t, &format!("f{i}")).unwrap())
        .collect();
    assert_eq!(
        serde_json::to_string(&merged(&read).unwrap()).unwrap(),
        whole
    );
    // what cannot be merged says so
    assert!(merged(&[]).unwrap_err().contains("at least one"));
    assert!(merged(&read[..2]).unwrap_err().contains("missing"));
    assert!(
        merged(&[read[0].clone(), read[0].clone()])
            .unwrap_err()
            .contains("twice")
    );
    let other = shard(
        &Options {
            seed: 5,
            ..o.clone()
        },
        3,
        3,
        &|_, _| {},
    )
    .unwrap();
    assert!(
        merged(&[read[0].clone(), other, read[2].clone()])
            .unwrap_err()
            .contains("options.seed")
    );
    // with an error planted it is the planted claim that is off, as in the whole run
    let plant = Plant {
        id: "psld.hsm.linear/cov.xx/simulation.exact".into(),
        size: 0.5,
    };
    let planted: Vec<Shard> = (1..=3)
        .map(|i| {
            shard(
                &Options {
                    plant: Some(plant.clone()),
                    ..o.clone()
                },
                i,
                3,
                &|_, _| {},
            )
            .unwrap()
        })
        .collect();
    let off: Vec<_> = merged(&planted)
        .unwrap()
        .evidence
        .into_iter()
        .filter(|e| !e.holds())
        .map(|e| e.claim.id)
        .collect();
    assert_eq!(off, [plant.id]);
}

fn merged(shards: &[Shard]) -> Result<Audit, String> {
    merge(shards, &|_, _| {}).map_err(|e| e.to_string())
}

/// Parses and merges: the audit as text, or what is wrong.
fn through_files(texts: &[String]) -> Result<String, String> {
    let parse =
        |(i, t): (usize, &String)| Shard::parse(t, &format!("file-{i}")).map_err(|e| e.to_string());
    let shards = texts
        .iter()
        .enumerate()
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::to_string(&merged(&shards)?).unwrap())
}

/// Two shards of a small run, by schema 2.
fn two_shards() -> &'static [String; 2] {
    static ONCE: OnceLock<[String; 2]> = OnceLock::new();
    ONCE.get_or_init(|| {
        let o = Options {
            only: Some("cld-heavy.dsm.constant/cov.vv/simulation.exact".into()),
            ..quick(16_000)
        };
        [1, 2].map(|i| serde_json::to_string(&shard(&o, i, 2, &|_, _| {}).unwrap()).unwrap())
    })
}

/// Every value of a JSON text, by its path.
fn paths(v: &Json) -> Vec<String> {
    let mut all = vec![String::new()];
    let children: Vec<(String, &Json)> = match v {
        Json::Object(o) => o
            .iter()
            .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
            .collect(),
        Json::Array(a) => a
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => vec![],
    };
    for (key, child) in children {
        all.extend(paths(child).into_iter().map(|p| format!("/{key}{p}")));
    }
    all
}

/// Removes the value at a path.
fn remove(v: &mut Json, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match v.pointer_mut(parent).unwrap() {
        Json::Object(o) => drop(o.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Json::Array(a) => drop(a.remove(key.parse().unwrap())),
        _ => unreachable!(),
    }
}

/// One change of a shard's text that a damaged disk, a hasty hand or a hostile one might make.
fn mutate(text: &str, rng: &mut impl RngExt) -> String {
    let mut v: Json = serde_json::from_str(text).unwrap();
    let all = paths(&v);
    let mut any = || all[1..][rng.random_range(0..all.len() - 1)].clone();
    let (path, other) = (any(), any());
    let odd = [
        json!(null),
        json!(true),
        json!(""),
        json!("NaN"),
        json!("\u{1b}[31m\u{0}"),
        json!([]),
        json!({}),
        json!(-1),
        json!(0),
        json!(1),
        json!(1.5),
        json!(1e308),
        json!(-1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e-320),
        json!([[[]]]),
        json!(1000),
        json!(16),
    ];
    match rng.random_range(0..10) {
        0 => remove(&mut v, &path),
        1 => *v.pointer_mut(&path).unwrap() = odd[rng.random_range(0..odd.len())].clone(),
        2 => {
            let value = v.pointer(&other).unwrap().clone();
            *v.pointer_mut(&path).unwrap() = value;
        }
        3 => {
            let (a, b) = (
                v.pointer(&path).unwrap().clone(),
                v.pointer(&other).unwrap().clone(),
            );
            if !path.starts_with(&other) && !other.starts_with(&path) {
                *v.pointer_mut(&path).unwrap() = b;
                *v.pointer_mut(&other).unwrap() = a;
            }
        }
        4 => {
            // another number of the same size
            if let Some(x) = v.pointer(&path).unwrap().as_f64() {
                *v.pointer_mut(&path).unwrap() = json!(x * (1.0 + 1e-3));
            }
        }
        5 => {
            // something twice, or one more
            match v.pointer_mut(&path).unwrap() {
                Json::Array(a) if !a.is_empty() => a.push(a[0].clone()),
                Json::Object(o) => {
                    drop(o.insert("7".into(), o.values().next().cloned().unwrap_or(json!(0))))
                }
                _ => {}
            }
        }
        6 => {
            // shorter
            match v.pointer_mut(&path).unwrap() {
                Json::Array(a) => a.truncate(a.len() / 2),
                Json::String(s) => drop(s.pop()),
                other => *other = json!([]),
            }
        }
        n => {
            // bytes, not values
            let mut bytes = text.as_bytes().to_vec();
            let at = rng.random_range(0..bytes.len());
            match n {
                7 => bytes.truncate(at),
                8 => {
                    let some = b"0123456789.,:[]{}\"eE+-naNfi \\u\n";
                    bytes[at] = some[rng.random_range(0..some.len())];
                }
                _ => {
                    let (words, end) = (
                        ["NaN", "Infinity", "1e999", "-1e999", "null", "\"n\": 7,"],
                        (at + 3).min(bytes.len()),
                    );
                    bytes.splice(at..end, words[rng.random_range(0..words.len())].bytes());
                }
            }
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    v.to_string()
}

/// Catches a merge that passes, or panics, with evidence that is missing, torn, retyped, swapped,
/// doubled, absurd or another's: 400 shards with 1 to 3 changes are refused in one sentence that
/// names the file (or the shards), or make the very bytes of the whole run.
#[test]
fn mutated_shards_are_refused_or_change_nothing() {
    let good = two_shards();
    let whole = through_files(good).unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(12);
    let (mut refused, mut same) = (0, 0);
    for run in 0..400 {
        let which = run % 2;
        let mut texts = good.clone();
        for _ in 0..1 + run % 3 {
            if serde_json::from_str::<Json>(&texts[which])
                .is_ok_and(|v| v.as_object().is_some_and(|o| !o.is_empty()))
            {
                texts[which] = mutate(&texts[which], &mut rng);
            }
        }
        match through_files(&texts) {
            Ok(text) => {
                assert!(
                    text == whole,
                    "run {run}: another verdict from {}",
                    texts[which]
                );
                same += 1;
            }
            Err(e) => {
                assert!(
                    e.contains("file-") || e.contains("parameter `"),
                    "run {run}: {e}"
                );
                assert!(
                    !e.chars().any(char::is_control) && e.len() < 400,
                    "run {run}: {e:?}"
                );
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {same} the same");
    assert!(refused > 250 && same > 0, "{refused} {same}");
}

/// Each field of a shard that is not what it must be is named with file and group. Without a digest
/// (schema 1), so that only what it means can give it away.
#[test]
fn shards_are_validated_whole() {
    let bare = |text: &String| {
        let mut v: Json = serde_json::from_str(text).unwrap();
        v["schema"] = json!("cld-audit-shard/1");
        remove(&mut v, "/digest");
        v
    };
    let good = two_shards();
    let (one, two) = (bare(&good[0]), good[1].clone());
    let whole = through_files(good).unwrap();
    assert_eq!(through_files(&[one.to_string(), two.clone()]), Ok(whole));
    let group = "/sums/cld-heavy.dsm.constant~1exact";
    let first = format!("{group}/0/0");
    let with = |path: &str, value: Json| {
        let mut v = one.clone();
        *v.pointer_mut(path).unwrap() = value;
        v.to_string()
    };
    let without = |path: &str| {
        let mut v = one.clone();
        remove(&mut v, path);
        v.to_string()
    };
    let more = |path: &str, key: &str, value: Json| {
        let mut v = one.clone();
        v.pointer_mut(path)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .insert(key.into(), value);
        v.to_string()
    };
    let text = one.to_string();
    let at = |field: &str| format!("{first}/{field}");
    let known = ["group `cld-heavy.dsm.constant/exact`", "portion 0"];
    let record = [
        "group `cld-heavy.dsm.constant/exact`",
        "portion 0",
        "record 0",
    ];
    let sum = |i: usize, x: f64| with(&format!("{first}/sum/{i}"), json!(x));
    let cases: Vec<(String, &[&str], &str)> = vec![
        (with(&format!("{group}/0"), json!([])), &known, "incomplete"),
        (without(&format!("{group}/0/3")), &known, "incomplete"),
        (without(&format!("{group}/0")), &known, "incomplete"),
        (
            without(group),
            &["group `cld-heavy.dsm.constant/exact`"],
            "incomplete",
        ),
        (with(&at("mean"), json!([])), &record, "mean"),
        (with(&at("mean"), json!([1.0, 2.0, 3.0])), &record, "mean"),
        (with(&at("sum"), json!([1.0])), &record, "sum"),
        (with(&at("sum"), json!("1.0")), &record, "sum"),
        (with(&at("n"), json!(0)), &record, "n: is 0; allowed: 1000"),
        (
            with(&at("n"), json!(999)),
            &record,
            "n: is 999; allowed: 1000",
        ),
        (with(&at("n"), json!(1000.5)), &record, "n: is 1000.5"),
        (with(&at("mean/0"), json!(null)), &record, "mean[0]"),
        (with(&at("mean/0"), json!("NaN")), &record, "mean[0]"),
        (sum(0, -1.0), &record, "sum"),
        (sum(1, 3.0), &record, "symmetric"),
        (
            text.replacen("\"mean\":[", "\"mean\":[1e999,", 1),
            &[],
            "line",
        ),
        (
            text.replacen("\"n\":1000", "\"n\":1000,\"n\":1000", 1),
            &[],
            "twice",
        ),
        (
            text.replacen("\"2\":[", "\"0\":[],\"2\":[", 1),
            &[],
            "twice",
        ),
        (without(&at("n")), &record, "n"),
        (more(&first, "variance", json!(1)), &record, "variance"),
        (
            more(group, "1", json!([])),
            &["group `cld-heavy.dsm.constant/exact`"],
            "portion `1`",
        ),
        (
            more(group, "00", json!([])),
            &["group `cld-heavy.dsm.constant/exact`"],
            "portion `00`",
        ),
        (
            more(group, "16", json!([])),
            &["group `cld-heavy.dsm.constant/exact`"],
            "portion `16`",
        ),
        (
            more("/sums", "\u{1b}[2J", json!({})),
            &["`\\u{1b}[2J`"],
            "sums",
        ),
        (more("", "extra", json!(1)), &["extra"], "unknown"),
        (
            with("/schema", json!("cld-audit-shard/3")),
            &["schema"],
            "cld-audit-shard/2",
        ),
        (without("/schema"), &["schema"], "missing"),
        (with("/version", json!("0.0.9")), &["version"], "0.0.9"),
        (with("/shard", json!(0)), &["shard"], "1 to 2"),
        (with("/shard", json!(3)), &["shard"], "1 to 2"),
        (with("/of", json!(17)), &["of"], "1 to 16"),
        (with("/of", json!(0)), &["of"], "1 to 16"),
        (with("/options/seed", json!(1)), &[], "options.seed"),
        (with("/options/paths", json!(16_016)), &[], "options.paths"),
        (with("/options/full", json!(true)), &[], "options.full"),
        (with("/options/only", json!("cld")), &[], "options.only"),
        (
            with("/options/only", json!(["cld"])),
            &["options.only"],
            "a list of 1",
        ),
        (
            with("/options/plant", json!({"id": "x", "size": "NaN"})),
            &["options.plant.size"],
            "NaN",
        ),
        ("{}".into(), &["schema"], "missing"),
        ("[]".into(), &["schema"], "missing"),
        (String::new(), &[], "line 1"),
    ];
    for (text, words, field) in cases {
        let said = through_files(&[text.clone(), two.clone()]).expect_err(field);
        assert!(said.contains("file-"), "{said}");
        for word in words.iter().chain([&field]) {
            assert!(said.contains(word), "no {word:?} in {said:?}");
        }
    }
    // what is well formed and wrong is judged: every mean off by 1000
    let mut off = [one.clone(), bare(&good[1])];
    for v in &mut off {
        for portion in v
            .pointer_mut(group)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .values_mut()
        {
            for record in portion.as_array_mut().unwrap() {
                record["mean"][1] = json!(record["mean"][1].as_f64().unwrap() + 1000.0);
            }
        }
    }
    let audit: Json =
        serde_json::from_str(&through_files(&off.map(|v| v.to_string())).unwrap()).unwrap();
    assert_eq!(audit["holds"], false);
}

/// Catches a list that has what is not run, or lacks what is: for families of every kind the list
/// is the run's ids, with words and tolerances; and all of it without computing anything.
#[test]
fn the_list_is_what_runs() {
    let started = std::time::Instant::now();
    let all = list(&Options::quick()).unwrap();
    let took = started.elapsed().as_secs_f64();
    println!("{} claims in {took:.3} s", all.len());
    // far above what it takes beside other tests (0.1 s), far below what computing takes (half a
    // minute)
    assert!(
        all.len() > 3000 && took < 10.0,
        "{} claims in {took} s",
        all.len()
    );
    assert!(
        all.iter()
            .all(|c| !c.statement.is_empty() && !c.tolerance.is_empty() && !c.formula.is_empty())
    );
    let run: Vec<&str> = judged()
        .evidence
        .iter()
        .map(|e| e.claim.id.as_str())
        .collect();
    assert_eq!(all.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), run);
    for (c, e) in all.iter().zip(&judged().evidence) {
        assert_eq!((&c.formula, c.method), (&e.claim.formula, e.claim.method));
        // an order's words have the figure added
        assert!(
            e.claim.statement.starts_with(&c.statement),
            "{} {}",
            c.statement,
            e.claim.statement
        );
    }
    for c in &all {
        assert!(
            formulas::of(&c.formula).is_some(),
            "{}: {} is not in src/audit/formulas",
            c.id,
            c.formula
        );
    }
}

/// Catches a document that says other than the table that the audit's page is made from.
/// `CLD_FORMULAS=write` makes it anew.
#[test]
fn formulas_md_is_made_from_the_table() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/formulas.md");
    let kept = std::fs::read_to_string(&file).unwrap();
    let made = formulas::document(&kept).expect("docs/reference/formulas.md has its marks");
    if std::env::var_os("CLD_FORMULAS").is_some_and(|v| v == "write") {
        std::fs::write(&file, &made).unwrap();
        return;
    }
    for (a, b) in made.lines().zip(kept.lines()) {
        assert_eq!(
            a, b,
            "table (left), docs/reference/formulas.md (right); CLD_FORMULAS=write makes it anew"
        );
    }
    assert_eq!(made.lines().count(), kept.lines().count());
    assert!(formulas::document("no marks").is_none());
}

/// A seed changes the noise, and nothing else; the number of tests does not depend on what is asked
/// for.
#[test]
fn seeds_change_the_noise() {
    let o = |seed| Options {
        seed,
        only: Some("vp.linear/cov.xx/simulation".into()),
        ..quick(16_000)
    };
    let run = |seed| audit(&o(seed), &|_, _| {}).unwrap();
    let (a, b) = (run(1), run(2));
    assert_ne!(a.evidence[0].figures(), b.evidence[0].figures());
    assert_eq!(
        (a.tests, a.evidence.len()),
        (judged().tests, b.evidence.len())
    );
}

/// What is planted is named in the list of claims; what is not there is refused by name.
#[test]
fn unknown_ids_are_refused() {
    let mut o = Options {
        only: Some("ve.geometric/".into()),
        ..quick(16_000)
    };
    let ids: Vec<String> = list(&o).unwrap().into_iter().map(|c| c.id).collect();
    let found: Vec<String> = audit(&o, &|_, _| {})
        .unwrap()
        .evidence
        .into_iter()
        .map(|e| e.claim.id)
        .collect();
    assert_eq!(ids, found);
    for size in [f64::NAN, f64::INFINITY] {
        o.plant = Some(Plant {
            id: ids[0].clone(),
            size,
        });
        assert!(
            audit(&o, &|_, _| {})
                .unwrap_err()
                .to_string()
                .contains("`plant`")
        );
    }
    o.plant = Some(Plant {
        id: "no/such/claim".into(),
        size: 0.1,
    });
    assert!(
        audit(&o, &|_, _| {})
            .unwrap_err()
            .to_string()
            .contains("no/such/claim")
    );
    o.plant = None;
    for only in ["nonsense", "", "\u{7}"] {
        o.only = Some(only.into());
        let shown = format!("`{}`", only.escape_debug());
        assert!(
            audit(&o, &|_, _| {})
                .unwrap_err()
                .to_string()
                .contains(&shown)
        );
        assert!(list(&o).unwrap_err().to_string().contains(&shown));
        assert!(
            shard(&o, 1, 2, &|_, _| {})
                .unwrap_err()
                .to_string()
                .contains(&shown)
        );
    }
    // a shard without a path to simulate
    o.only = Some("ve.geometric/cov.xx/doubling".into());
    assert!(
        shard(&o, 1, 2, &|_, _| {})
            .unwrap_err()
            .to_string()
            .contains("doubling")
    );
    assert!(
        audit(&quick(10), &|_, _| {})
            .unwrap_err()
            .to_string()
            .contains("paths")
    );
}

/// The page is whole: a row for every claim, every plot, nothing from the network, and a planted
/// error in plain sight.
#[test]
fn the_page_has_everything() {
    let a = judged();
    let page = report::html(a);
    assert_eq!(page.matches("<figure><svg").count(), 5);
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        let inside = page
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://www.w3.org/1998/Math/MathML", "");
        assert!(!inside.contains(outside), "{outside}");
    }
    assert_eq!(
        page.matches("<td class=good>holds").count(),
        a.evidence.len() + report::families(a).len()
    );
    // it opens at once
    let megabytes = page.len() as f64 / 1e6;
    println!("{megabytes:.2} MB");
    assert!(megabytes < 3.0, "{megabytes} MB");
    let id = "cld.hsm.linear/cov.xx/doubling";
    let planted = Options {
        plant: Some(Plant {
            id: id.into(),
            size: 1e-6,
        }),
        ..quick(1 << 16)
    };
    let off = report::html(&simulated().judge(&planted).unwrap());
    assert!(off.contains(&format!("1 of {} claims do not hold", a.evidence.len())));
    assert!(off.contains("planted on purpose") && off.contains(id));
    // what is off comes first
    let mut cards = off.split("<article id=").skip(1);
    let is_off: Vec<bool> = cards
        .by_ref()
        .map(|c| c.split("</article>").next().unwrap().contains("1 off"))
        .collect();
    assert!(
        is_off[0] && is_off.is_sorted_by(|a, b| a >= b),
        "{is_off:?}"
    );
    assert!(articles(&off)["kernel.cov"].contains("1 off"));
    assert_eq!(articles(&off).len(), articles(&page).len());
}

/// The page's cards by the ids of their formulas.
fn articles(page: &str) -> std::collections::BTreeMap<&str, &str> {
    let all: Vec<&str> = page.split("<article id=\"").skip(1).collect();
    let by: std::collections::BTreeMap<_, _> = all
        .iter()
        .map(|c| {
            (
                c.split('"').next().unwrap(),
                c.split("</article>").next().unwrap(),
            )
        })
        .collect();
    assert_eq!(by.len(), all.len(), "a card twice");
    by
}

/// Catches a claim whose formula has no card, a card without an equation, one without evidence that
/// does not say so, a command that would make other claims, and a function that is not at the line
/// that is linked.
#[test]
fn every_formula_has_a_card() {
    let a = judged();
    let page = report::html(a);
    let cards = articles(&page);
    let ids: Vec<&str> = cards.keys().copied().collect();
    let mut known: Vec<&str> = formulas::all().map(|f| f.id).collect();
    known.sort_unstable();
    assert_eq!(ids, known);
    let mut counted = 0;
    for f in formulas::all() {
        let card = cards[f.id];
        assert!(card.contains("<math"), "{}", f.id);
        let own: Vec<_> = a
            .evidence
            .iter()
            .filter(|e| e.claim.formula == f.id)
            .collect();
        counted += own.len();
        for e in &own {
            assert!(card.contains(&format!("<code>{}</code>", e.claim.id)));
        }
        // evidence, or that there is none; that of one process is listed elsewhere
        let bare = card.contains("No claim of this audit is about it");
        let by_process = card.contains(", listed at <a");
        assert!(
            [bare, by_process, !own.is_empty()]
                .map(usize::from)
                .iter()
                .sum::<usize>()
                == 1,
            "{}",
            f.id
        );
        let command = format!(
            "<code>cld audit --paths 65536 --only formula={} --seed 0</code>",
            f.id
        );
        assert_eq!(card.contains(&command), !own.is_empty(), "{}", f.id);
        if !own.is_empty() {
            let only = Options {
                only: Some(format!("formula={}", f.id)),
                ..quick(1 << 16)
            };
            let listed: Vec<String> = list(&only).unwrap().into_iter().map(|c| c.id).collect();
            let own: Vec<&str> = own.iter().map(|e| e.claim.id.as_str()).collect();
            assert_eq!(listed, own, "{}", f.id);
        }
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(f.file());
        let source = std::fs::read_to_string(source).unwrap();
        let line = source.lines().nth(f.line() as usize - 1).unwrap();
        let name = f.function().rsplit("::").next().unwrap();
        assert!(line.contains(name), "{}: {line}", f.at);
        assert!(card.contains(&format!("href=\"{}#L{}\"", f.file(), f.line())));
    }
    assert_eq!(counted, a.evidence.len());
    // the paper's own formula has the evidence about its process, and the command makes it
    let of_process = |e: &&cld_sgm::internal::audit::Evidence| {
        e.claim.id.starts_with("cld.") && e.claim.formula == "kernel.cov"
    };
    let n = a.evidence.iter().filter(of_process).count();
    let card = cards["cld.kernel"];
    assert!(n > 50 && card.contains(&format!("{n} claims about <code>cld</code>")));
    assert!(
        card.contains("--only case=cld --seed 0") && card.contains("variance of the velocity v")
    );
    // a run of some claims has their cards alone, and says so
    let some = report::html(
        &audit(
            &Options {
                only: Some("kernel.logdet".into()),
                ..quick(16_000)
            },
            &|_, _| {},
        )
        .unwrap(),
    );
    // those of whole processes point to it
    for (id, card) in articles(&some) {
        assert!(
            id == "kernel.logdet" || card.contains("listed at <a href=\"#kernel.logdet\""),
            "{id}"
        );
    }
    assert!(articles(&some).contains_key("kernel.logdet") && articles(&some).len() < 5);
    assert!(some.contains("This run was of claims about"));
}

/// Catches a formula whose function is in another file than its docs (`Formula: id`), or another
/// part of the crate.
#[test]
fn formulas_are_where_their_tags_are() {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for f in formulas::all() {
        let part = f.at.split(['/', ':']).next().unwrap();
        let mut todo = vec![if src.join(part).is_dir() {
            src.join(part)
        } else {
            src.join(f.at.split("::").next().unwrap())
        }];
        let mut found = false;
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let prose: String = text
                .lines()
                .map(|l| l.trim_start().trim_start_matches(['/', '!']).trim())
                .collect::<Vec<_>>()
                .join(" ");
            let after = |i: usize| prose[i..].split(". ").next().unwrap();
            found |= prose.match_indices("Formula: ").any(|(i, tag)| {
                after(i + tag.len())
                    .split([' ', ','])
                    .any(|w| w.trim_end_matches('.') == f.id)
            });
        }
        assert!(found, "{} is not tagged beside {}", f.id, f.at);
    }
}

/// Catches evidence by sums that cannot be: none, too few records, no paths, other channels, NaN,
/// infinities; each planted alone.
#[test]
fn sums_that_cannot_be_are_no_evidence() {
    let all = cases().unwrap();
    let case = all.iter().find(|c| c.name == "cld.hsm.linear").unwrap();
    let g = Group::new(case, Scheme::Exact, 1).unwrap().unwrap();
    let good = g.sums(0, 2000);
    assert!(
        g.evidence(&good, 1, None)
            .unwrap()
            .iter()
            .all(|e| e.holds())
    );
    assert!(g.evidence(&[], 1, None).is_err() && g.evidence(&good[..5], 1, None).is_err());
    for r in 0..good.len() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for i in 0..2 {
                let mut bad = good.clone();
                bad[r].mean[i] = x;
                assert!(g.evidence(&bad, 1, None).is_err());
            }
            for i in 0..4 {
                let mut bad = good.clone();
                bad[r].sum[i] = x;
                assert!(g.evidence(&bad, 1, None).is_err());
            }
        }
        let changed = |f: &dyn Fn(&mut Sums)| {
            let mut bad = good.clone();
            f(&mut bad[r]);
            g.evidence(&bad, 1, None).is_err()
        };
        assert!(changed(&|s| s.n = 0) && changed(&|s| s.n = 1999));
        assert!(
            changed(&|s| s.mean.truncate(1))
                && changed(&|s| s.sum.push(0.0))
                && changed(&|s| s.mean.clear())
        );
        assert!(changed(&|s| s.sum[0] = -1.0) && changed(&|s| s.sum[1] += 1.0));
        let off = good.iter().cloned().enumerate().map(|(i, mut s)| {
            s.mean[0] += if i == r { 1e300 } else { 0.0 };
            s
        });
        let off: Vec<Sums> = off.collect();
        assert!(
            g.evidence(&off, 1, None)
                .unwrap()
                .iter()
                .any(|e| !e.holds())
        );
    }
    assert!(
        good[0]
            .merge(&Sums {
                n: 1,
                mean: vec![0.0],
                sum: vec![0.0]
            })
            .is_err()
    );
    assert!(
        Sums {
            n: 1,
            mean: vec![],
            sum: vec![]
        }
        .merge(&Sums {
            n: 1,
            mean: vec![],
            sum: vec![]
        })
        .is_err()
    );
}

/// Merged sums are those of the whole, to rounding. Catches a merge that forgets the distance of
/// the means.
#[test]
fn sums_merge() {
    let all = cases().unwrap();
    let case = all.iter().find(|c| c.name == "order-4.hsm.linear").unwrap();
    let g = Group::new(case, Scheme::Sra1, 1).unwrap().unwrap();
    let (whole, first, rest) = (g.sums(0, 5000), g.sums(0, 1234), g.sums(1234, 5000));
    for ((w, a), b) in whole.iter().zip(&first).zip(&rest) {
        let m: Sums = a.merge(b).unwrap();
        assert_eq!(m.n, w.n);
        for (x, y) in m.sum.iter().zip(&w.sum) {
            // cancellation in off-diagonal entries: relative to the largest entry
            let size = largest(&w.sum);
            assert!((x - y).abs() < 1e-12 * size, "{x} {y}");
        }
    }
}
