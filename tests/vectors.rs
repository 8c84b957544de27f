//! The test vectors: our own closed forms answer them, the published schemas and the code agree, and every quantity,
//! process and flag is there.
#![cfg(feature = "cli")]

use cld_sgm::kernel::{KernelValues, kernel_values};
use cld_sgm::process::REGISTRY;
use cld_sgm::vectors::answers::{Answer, read_answers};
use cld_sgm::vectors::arrays::{Array, read_npz, write_npz};
use cld_sgm::vectors::compare::judge;
use cld_sgm::vectors::generate::{NOTES, Request, SUITES, WITHOUT_VECTORS, generate};

use cld_sgm::vectors::predict::{CHANNELS, NOT_YET, QUANTITIES};
use cld_sgm::vectors::reverse::OPTIONS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn schema(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()).unwrap()
}

fn words(v: &Value) -> BTreeSet<String> {
    v.as_array().unwrap().iter().map(|x| x.as_str().unwrap().to_string()).collect()
}

/// What the closed forms give for one output, row-major.
fn closed(v: &[KernelValues], quantity: &str, output: &str) -> Option<Vec<f64>> {
    let k = v[0].k;
    let entry = |m: &dyn Fn(&KernelValues) -> Vec<f64>| {
        let at = |c: char| CHANNELS.iter().position(|x| x.chars().eq([c]));
        let mut letters = output.chars();
        let (i, j) = (at(letters.next()?)?, at(letters.next()?)?);
        Some(v.iter().map(|x| m(x)[i * k + j]).collect())
    };
    let all = |m: &dyn Fn(&KernelValues) -> Vec<f64>| Some(v.iter().flat_map(m).collect());
    match (quantity, output) {
        ("kernel.mean", "matrix") => all(&|x| x.mean.clone()),
        ("kernel.cov", _) => entry(&|x| x.cov.clone()),
        ("kernel.inverse", _) => entry(&|x| x.inv.clone()),
        ("kernel.factor", _) => all(&|x| x.chol_lower.clone()),
        ("kernel.inverse_transpose_factor", _) => all(&|x| x.inverse_transpose_lower.clone()),
        ("kernel.det", _) => all(&|x| vec![x.det]),
        ("kernel.logdet", _) => all(&|x| vec![x.logdet]),
        ("kernel.ell", _) => all(&|x| vec![x.ell]),
        ("kernel.snr", _) => all(&|x| vec![x.snr]),
        ("kernel.snr_joint", _) => all(&|x| vec![x.snr_joint]),
        _ => None,
    }
}

/// The vectors' expected values come from the generic route; the crate's closed forms answer them and pass in f64. Catches
/// an error in either, and a suite that leaves a quantity, a process or a flag out.
#[test]
fn closed_forms_pass_the_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let written = generate(dir.path(), &Request::default(), &mut |_, _| {}).unwrap();
    assert!(written.entries > 600 && written.values > 50_000, "{written:?}");
    std::fs::copy(dir.path().join("expected.npz"), dir.path().join("answers.npz")).unwrap();
    let mut answers = read_answers(dir.path(), None).unwrap();
    let (mut replaced, mut seen, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for e in &mut answers.entries {
        seen.insert(e.quantity.clone());
        kinds.insert(e.config.entry.name.to_string());
        let Answer::Given(outputs) = &mut e.answer else { panic!("{} has no answer", e.id) };
        let Some(t) = e.inputs.get("t") else { continue };
        let zero = Array::new(t.shape.clone(), vec![0.0; t.data.len()]).unwrap();
        let s = e.inputs.get("s").unwrap_or(&zero);
        let process = e.config.process().unwrap();
        let values: Vec<KernelValues> = s
            .data
            .iter()
            .zip(&t.data)
            .map(|(s, t)| kernel_values(&*process, &e.config.schedule, e.config.objective, *s, *t).unwrap())
            .collect();
        for (name, array) in outputs.iter_mut() {
            if let Some(data) = closed(&values, &e.quantity, name) {
                assert_eq!(data.len(), array.data.len());
                array.data = data;
                replaced.insert(e.quantity.clone());
            }
        }
    }
    assert_eq!(replaced.len(), 10, "the kernel suite: {replaced:?}");
    let written = QUANTITIES.iter().map(|q| q.name).filter(|q| !WITHOUT_VECTORS.contains(q));
    assert_eq!(seen, written.map(String::from).collect(), "every quantity has entries");
    assert_eq!(kinds, REGISTRY.iter().map(|e| e.name.to_string()).collect(), "every process has entries");
    let report = judge(&answers, &[], &mut |_, _| {}).unwrap();
    let worst: Vec<String> = report
        .lines
        .iter()
        .filter(|l| !l.accepted)
        .map(|l| format!("{}.{} {} {:e} at {:?}", l.quantity, l.output, l.process, l.worst.relative, l.worst))
        .collect();
    assert!(report.ok, "{worst:#?}");
    // 1e-13: the bound for everything but critical CLD, whose own (8 ulp) is in tests/truth.rs; ten times better than f64's class
    for l in &report.lines {
        assert!(l.worst.relative < 1e-13, "{}.{} {}: {:e}", l.quantity, l.output, l.process, l.worst.relative);
    }
    let manifest: Value = serde_json::from_slice(&std::fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
    let flags: BTreeSet<String> = manifest["entries"].as_array().unwrap().iter().flat_map(|e| words(&e["flags"])).collect();
    assert_eq!(flags, NOTES.iter().map(|n| n.0.to_string()).collect(), "every flag is used and explained");
    assert!(manifest["entries"].as_array().unwrap().iter().all(|e| !e["catches"].as_str().unwrap().is_empty()));
    // no language has to read or write a NaN or an infinity
    let mut expected = read_npz(&dir.path().join("expected.npz")).unwrap();
    assert!(expected.values().all(|a| a.data.iter().all(|x| x.is_finite())));
    // some expected values are subnormal; a language that flushes them to 0 still passes
    let mut flushed = 0;
    for x in expected.values_mut().flat_map(|a| a.data.iter_mut()).filter(|x| x.is_subnormal()) {
        *x = 0.0;
        flushed += 1;
    }
    assert!(flushed > 0);
    write_npz(&dir.path().join("answers.npz"), &expected).unwrap();
    assert!(judge(&read_answers(dir.path(), None).unwrap(), &[], &mut |_, _| {}).unwrap().ok);
}

/// The inputs of an entry depend on seed and entry alone: a subset has the same numbers. Catches vectors that change when a
/// suite is left out.
#[test]
fn subsets_agree() {
    let (all, some) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = |process: Option<&str>, suites: &[&str]| Request {
        process: process.map(String::from),
        suites: suites.iter().map(|s| (*s).to_string()).collect(),
        seed: 7,
    };
    generate(all.path(), &request(None, &[]), &mut |_, _| {}).unwrap();
    generate(some.path(), &request(Some("psld"), &["perturb", "density"]), &mut |_, _| {}).unwrap();
    for file in ["inputs.npz", "expected.npz"] {
        let (all, some) = (read_npz(&all.path().join(file)).unwrap(), read_npz(&some.path().join(file)).unwrap());
        assert!(!some.is_empty() && some.iter().all(|(k, v)| all[k] == *v));
    }
}

/// The published schemas list exactly what the code accepts. Catches a quantity, process, schedule or suite that is in one
/// only.
#[test]
fn schemas_agree_with_the_code() {
    for name in ["cld-answers-1.schema.json", "cld-vectors-1.schema.json"] {
        let defs = &schema(name)["$defs"];
        assert_eq!(words(&defs["covered"]["enum"]), QUANTITIES.iter().map(|q| q.name.to_string()).collect());
        assert_eq!(words(&defs["process"]["properties"]["kind"]["enum"]), REGISTRY.iter().map(|e| e.name.to_string()).collect());
        for s in defs["schedule"]["oneOf"].as_array().unwrap() {
            let mut example = serde_json::Map::new();
            for (key, p) in s["properties"].as_object().unwrap() {
                let value = if key == "kind" {
                    p["const"].clone()
                } else {
                    // values that are in range for every schedule: sigma_min < sigma_max, s0 and t_max below 1
                    serde_json::json!(match key.as_str() {
                        "sigma_max" => 50.0,
                        "s0" => 0.01,
                        _ => 0.5,
                    })
                };
                example.insert(key.clone(), value);
            }
            assert!(cld_sgm::vectors::config::schedule(&Value::Object(example.clone())).is_ok(), "{example:?}");
        }
    }
    let pattern =
        schema("cld-answers-1.schema.json")["$defs"]["entry"]["else"]["properties"]["quantity"]["pattern"].as_str().unwrap().to_string();
    for prefix in NOT_YET {
        assert!(pattern.contains(prefix.trim_end_matches('.')), "{prefix} is not in {pattern}");
    }
    let listed: BTreeSet<&str> = SUITES.iter().flat_map(|(_, q)| q.iter().copied()).chain(WITHOUT_VECTORS.iter().copied()).collect();
    assert_eq!(listed, QUANTITIES.iter().map(|q| q.name).collect(), "every quantity is in a suite, or listed");
    let properties = schema("cld-answers-1.schema.json")["$defs"]["entry"]["then"]["properties"].clone();
    for (field, _) in OPTIONS {
        assert!(!properties[field].is_null(), "{field} is not in the schema");
    }
}
