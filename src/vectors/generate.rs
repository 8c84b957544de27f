//! Test vectors: inputs and expected outputs for every quantity, over the whole range of time and parameters.
//!
//! Expected values come from the generic route in double words, rounded once; not from the closed forms.

use crate::error::{Error, Result};
use crate::files::arrays::stage_npz;
use crate::files::write::{Staged, stage, sweep};
use crate::files::{Array, Limits, Lock, read_text};
use crate::truth::config::Config;
use crate::truth::predict::{Inputs, Model, QUANTITIES, outputs, predict};
use crate::truth::reverse;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Groups of quantities that can be asked for: name and quantities. `transition` is the kernel over `[s, t]`, s > 0.
pub const SUITES: &[(&str, &[&str])] = &[
    ("schedule", &["schedule.rate", "schedule.integral"]),
    ("process", &["process.drift_diffusion", "prior.log_density", "prior.sample"]),
    (
        "kernel",
        &[
            "kernel.mean",
            "kernel.cov",
            "kernel.factor",
            "kernel.inverse_transpose_factor",
            "kernel.inverse",
            "kernel.det",
            "kernel.logdet",
            "kernel.ell",
            "kernel.snr",
            "kernel.snr_joint",
            "kernel.std",
            "kernel.sigma",
            "kernel.logsnr",
        ],
    ),
    ("transition", &["schedule.integral", "kernel.mean", "kernel.cov", "kernel.factor"]),
    ("perturb", &["kernel.perturb"]),
    ("density", &["kernel.log_density", "kernel.score"]),
    ("conversion", &["kernel.score_from_eps", "kernel.eps_from_score", "kernel.x0_from_eps"]),
    ("score", &["score.score_from_eps", "score.eps_from_score", "score.mixed", "score.net_from_score", "score.x0_from_eps"]),
    ("loss", &["loss.weight.likelihood", "loss.per_sample"]),
    (
        "step",
        &["sampler.reverse_drift", "sampler.step.em", "sampler.step.denoise", "sampler.step.sscs", "sampler.step.sscs-first-half-twice"],
    ),
    ("run", &["sampler.run.em", "sampler.run.sscs"]),
    ("likelihood", &["likelihood.mixture"]),
];

/// The mistakes that corner cases are there to catch: flag, bug, effect.
pub const NOTES: &[(&str, &str, &str)] = &[
    ("PaperDefault", "-", "the paper's own setting; the first to pass"),
    (
        "TimeDependentBeta",
        "the rate at t taken for its integral, or the integral off by a factor",
        "invisible, or a mere factor of time, while beta is constant",
    ),
    ("MassNotOne", "M and 1/M swapped, gamma for gamma M", "invisible at M = 1"),
    ("ExtremeMass", "overflow, underflow, a lost low word of tau / sqrt(M)", "wrong digits or NaN long before t = 1"),
    ("GammaZero", "division by gamma", "HSM with gamma = 0 is DSM"),
    ("GammaAboveTwo", "a sign assumed for the xv covariance", "for gamma > 2 it is negative from some time on"),
    ("Underdamped", "formulas of critical damping, or a square root of a negative number", "oscillating mean and covariance"),
    ("Overdamped", "formulas of critical damping", "two real rates; sinh overflows"),
    ("NearCritical", "division by Gamma^2 - 4 M", "loses all digits near critical damping"),
    ("PositionNoise", "noise in v only", "variance of x of order t instead of t^3"),
    ("HigherOrder", "a 2 x 2 formula", "three or four channels"),
    ("ReversedPart", "the forward sign of the coupling", "SSCS's analytic step has the opposite one"),
    ("SmallTime", "cancellation, or a constant added to hide it", "rows down to t = 1e-12: the variance of x is 1e-36"),
    ("CloseTimes", "B(0,t) - B(0,s) computed by subtraction", "rows with t - s down to 1e-12"),
];

/// What an entry of a quantity is there to catch.
fn catches(quantity: &str) -> &'static str {
    match quantity {
        "schedule.rate" => "beta/2 conventions; 1 - t for t",
        "schedule.integral" => "the rate at t taken for its integral; subtraction of nearly equal integrals",
        "process.drift_diffusion" => {
            "M and 1/M swapped; a missing factor beta; the sign of the coupling; variance for standard deviation in the noise"
        }
        "prior.log_density" => "a prior with variance 1 in v (it is M); a missing normalising constant",
        "kernel.mean" => "M and 1/M swapped; the sign of the coupling; Gamma not critical; beta's integral off by a factor",
        "kernel.cov" => "a constant added to the variances; cancellation; DSM for HSM; gamma for gamma M",
        "kernel.factor" => "upper for lower; the covariance itself for its factor",
        "kernel.inverse_transpose_factor" => "the inverse for its transpose; upper for lower",
        "kernel.inverse" => "a determinant that cancels",
        "kernel.det" => "S_xx S_vv - S_xv^2 by subtraction",
        "kernel.logdet" => "the logarithm of a determinant that cancels; one half of it",
        "kernel.ell" => "1/sqrt(S_vv) for sqrt(S_xx / det); a constant added to the variances",
        "kernel.snr" => "variance for standard deviation",
        "kernel.snr_joint" => "velocities left out",
        "kernel.std" => "variances; a constant added before the root",
        "kernel.sigma" => "the standard deviation without the mean's factor",
        "kernel.logsnr" => "half of it; the opposite sign",
        "prior.sample" => "a prior with variance 1 in v (it is M); variance for standard deviation",
        "kernel.perturb" => "variances for standard deviations; upper for lower factor; the mean without Phi_vx",
        "kernel.log_density" => "a missing factor d, or half of the log-determinant",
        "kernel.score" => "the sign; the inverse of the factor for that of the covariance",
        "kernel.score_from_eps" => "L^-1 for L^-T; -ell for its inverse",
        "kernel.eps_from_score" => "L for L^T",
        "kernel.x0_from_eps" => "the variance for the standard deviation",
        "score.score_from_eps" => "the sign; 1/ell for ell",
        "score.eps_from_score" => "the sign; ell for 1/ell",
        "score.mixed" => "S_vv of DSM for that of HSM; M for S_vv; ell left out",
        "score.net_from_score" => "the sign of v / S_vv; ell for 1/ell",
        "score.x0_from_eps" => "the variance for the standard deviation; the position's channel taken alone",
        "loss.weight.likelihood" => "a missing half; variance for standard deviation in the noise; the rate left out",
        "loss.per_sample" => "ell for its square; a mean over coordinates for their sum; DSM's ell under HSM",
        "sampler.reverse_drift" => "the forward sign; half of the score, or all of it in the probability flow",
        "sampler.step.em" => "half of the kick; dt for sqrt(dt); score or rate at the step's end",
        "sampler.step.denoise" => "noise in the last step; a step of another length than t",
        "sampler.step.sscs" => {
            "the forward sign of the coupling; score at the step's end; the first half's interval twice; a prior of variance 1"
        }
        "sampler.step.sscs-first-half-twice" => "the second half's own interval; the forward sign of the coupling",
        "sampler.run.em" | "sampler.run.sscs" => "a step too many or too few; the striding; draws in another order",
        "likelihood.mixture" => "a missing factor d; components pushed with the mean but not the variance; weights after the logarithm",
        _ => "",
    }
}

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Only this process.
    pub process: Option<String>,
    /// Only these suites; empty: all.
    pub suites: Vec<String>,
    /// Seed of the random inputs.
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Number of entries.
    pub entries: usize,
    /// Number of expected values.
    pub values: usize,
}

/// The configurations: process object (as in `cld-answers/1`) and flags.
fn configurations() -> Vec<(Json, Vec<&'static str>)> {
    let constant = json!({"kind": "linear", "b0": 4.0, "b1": 0.0});
    let linear = json!({"kind": "linear", "b0": 0.1, "b1": 19.9});
    let cosine = json!({"kind": "cosine", "s0": 0.008, "t_max": 0.999});
    let mut list = Vec::new();
    let mut add = |mut o: Json, schedule: &Json, objective: &str, flags: &[&'static str]| {
        o["schedule"] = schedule.clone();
        o["objective"] = objective.into();
        list.push((o, flags.to_vec()));
    };
    let cld = |mass: f64, gamma: f64| json!({"kind": "cld", "mass": mass, "damping": "critical", "gamma": gamma});
    add(cld(0.25, 0.04), &constant, "hsm", &["PaperDefault", "MassNotOne"]);
    add(cld(0.25, 0.04), &constant, "dsm", &["PaperDefault", "MassNotOne"]);
    for objective in ["hsm", "dsm"] {
        add(cld(0.25, 0.04), &linear, objective, &["TimeDependentBeta", "MassNotOne"]);
        add(cld(4.0, 0.5), &constant, objective, &["MassNotOne"]);
        add(cld(1e-4, 0.04), &linear, objective, &["ExtremeMass", "TimeDependentBeta"]);
        add(cld(1e4, 0.04), &linear, objective, &["ExtremeMass", "TimeDependentBeta"]);
        for (gamma, flag) in [(0.5, "Underdamped"), (2.0, "Overdamped"), (1.0 + 2f64.powi(-23), "NearCritical")] {
            add(json!({"kind": "cld", "mass": 0.25, "Gamma": gamma, "gamma": 0.04}), &linear, objective, &[flag, "TimeDependentBeta"]);
        }
        for (g, nu) in [(0.0, 4.0), (0.01, 4.01), (0.25, 4.25)] {
            let flags: &[&'static str] = if g > 0.0 { &["PositionNoise", "MassNotOne"] } else { &["MassNotOne"] };
            add(
                json!({"kind": "psld", "Gamma": g, "nu": nu, "gamma": 0.04}),
                &json!({"kind": "linear", "b0": 8.0, "b1": 0.0}),
                objective,
                flags,
            );
        }
        for (a, e) in [(2.0, 0.0), (2.0, 0.5), (1.0, 1.0)] {
            let flags: &[&'static str] = if e > 0.0 { &["PositionNoise", "TimeDependentBeta"] } else { &["TimeDependentBeta"] };
            add(json!({"kind": "cld-position-noise", "a": a, "epsilon": e, "sigma": 2.0, "v0_var": 0.01}), &linear, objective, flags);
        }
        for order in [3.0, 4.0] {
            add(
                json!({"kind": "langevin-order-n", "order": order, "damping": "critical", "velocity_var": 0.04}),
                &linear,
                objective,
                &["HigherOrder", "TimeDependentBeta"],
            );
        }
    }
    add(cld(0.25, 0.0), &constant, "hsm", &["GammaZero"]);
    add(cld(0.25, 3.0), &constant, "hsm", &["GammaAboveTwo", "MassNotOne"]);
    add(cld(0.25, 0.04), &cosine, "hsm", &["TimeDependentBeta", "MassNotOne"]);
    add(json!({"kind": "sscs-analytic", "mass": 0.25, "damping": "critical"}), &linear, "dsm", &["ReversedPart", "TimeDependentBeta"]);
    for kind in ["vp", "sub-vp"] {
        add(json!({"kind": kind}), &linear, "dsm", &["TimeDependentBeta"]);
    }
    add(json!({"kind": "ve"}), &json!({"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}), "dsm", &["TimeDependentBeta"]);
    list
}

/// The nearest number that float32 holds: what a user's code in f32 reads is then what was meant.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// A normal draw on a grid of 1/256, which float16 holds exactly up to 8.
fn draw(rng: &mut StdRng) -> f64 {
    (rng.sample::<f64, _>(StandardNormal).clamp(-7.5, 7.5) * 256.0).round() / 256.0
}

/// Times from 1e-12 to 1: half decades, the paper's 1e-5 and 1e-3 among them, and tenths.
fn times() -> Vec<f64> {
    let mut t: Vec<f64> = Vec::new();
    for decade in -12..0 {
        t.extend([1.0, 3.0].map(|m: f64| format!("{m}e{decade}").parse::<f64>().expect("a number")));
    }
    t.extend((2..10).map(|i| f64::from(i) / 10.0).filter(|x| *x != 0.3));
    t.extend([0.99, 1.0]);
    t.iter_mut().for_each(|t| *t = single(*t));
    t.sort_by(f64::total_cmp);
    t
}

/// Pairs s < t: far apart, close, and early.
fn spans() -> (Vec<f64>, Vec<f64>) {
    let two = |n: i32| 2f64.powi(n);
    // neighbours among float32's numbers are as close as one can ask for: 2^-24 at 1, 2^-39 at 2^-16
    let pairs = [
        (0.125, 0.875),
        (0.25, 0.75),
        (0.5, 1.0),
        (1.0 - two(-10), 1.0),
        (1.0 - two(-24), 1.0),
        (two(-10), two(-9)),
        (two(-20), two(-17)),
        (two(-30), 1.5 * two(-30)),
        (two(-40), 1.0),
        (0.5, 0.5 + two(-13)),
        (0.5, 0.5 + two(-23)),
        (0.75, 0.75 + two(-24)),
        (two(-10), two(-10) + two(-33)),
        (two(-16), two(-16) + two(-39)),
        (0.3125, 0.3125 + two(-10)),
        (0.90625, 0.9140625),
    ];
    pairs.into_iter().unzip()
}

/// FNV-1a: the seed of an entry's inputs does not depend on which other entries are written.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Coordinates per channel in vector inputs.
const DIM: usize = 2;

/// Whether a quantity depends on DSM or HSM, and on gamma.
fn of_objective(quantity: &str) -> bool {
    quantity.starts_with("kernel.") || quantity == "loss.per_sample" || given_x0(quantity)
}

/// Whether a quantity is of the law given x_0 alone: HSM's wherever there is a velocity.
fn given_x0(quantity: &str) -> bool {
    quantity.starts_with("score.") || quantity == "likelihood.mixture"
}

/// Whether there is an entry of this quantity for a configuration.
fn wanted(quantity: &str, config: &Config, model: &Model) -> bool {
    if !reverse::covers(quantity) {
        return true;
    }
    // the mixed score has S_vv of HSM: without gamma there is none
    let gamma = config.gamma.is_some() || !matches!(quantity, "score.mixed" | "score.net_from_score" | "loss.per_sample");
    gamma && reverse::fits(quantity, model).is_ok() && (!given_x0(quantity) || model.channels() == 1 || config.objective.name() == "hsm")
}

/// Steps: long and short, late and early, the last one down to 0.
const STEPS: &[(f64, f64)] = &[(1.0, 0.9), (1.0, 0.999), (0.6, 0.5), (0.3, 0.2), (0.1, 0.09), (1e-2, 1e-3), (1e-3, 1e-5), (1e-5, 0.0)];

/// Steps of a run.
const RUN: usize = 5;

/// The inputs of steps, scores, losses and likelihoods. Settings are among them, under [`reverse::option_key`]; those with a few
/// words go through them from one configuration to the next.
fn reverse_inputs(quantity: &str, config: &Config, model: &Model, seed: u64, (i, id): (usize, &str)) -> Result<BTreeMap<String, Array>> {
    let (k, m) = (model.channels(), reverse::noised(model).len());
    let mut rng = StdRng::seed_from_u64(seed ^ hash(id));
    let mut map = BTreeMap::new();
    let mut put = |name: &str, shape: Vec<usize>, data: Vec<f64>| Array::new(shape, data).map(|a| map.insert(name.to_string(), a));
    let mut normals = |n: usize| (0..n).map(|_| draw(&mut rng)).collect::<Vec<f64>>();
    let (mut t, s): (Vec<f64>, Vec<f64>) = STEPS.iter().map(|(t, s)| (single(*t), single(*s))).unzip();
    if quantity == "score.x0_from_eps" {
        // once the mean is gone, nothing but overflow is left to check
        let all = Array::new(vec![t.len()], t.clone())?;
        let given: Inputs<'_> = [("t".to_string(), &all)].into();
        let (weight, _) = predict("kernel.mean", model, &given, "xx")?;
        t = t.into_iter().zip(weight).filter(|(_, w)| w.truth.hi.abs() > 1e-100).map(|(t, _)| t).collect();
    }
    let n = t.len();
    let block = vec![n, k * DIM];
    let one = vec![n, DIM];
    if quantity.starts_with("sampler.run.") {
        put("u", vec![2, k * DIM], normals(2 * k * DIM))?;
        let draws = if quantity == "sampler.run.em" { RUN } else { 2 * RUN };
        put("noise", vec![draws, 2, k * DIM], normals(draws * 2 * k * DIM))?;
        put("data", vec![2], vec![0.5, 0.75])?;
        for (field, value) in [("n_steps", RUN as f64), ("eps", 2f64.powi(-10)), ("striding", (i % 2) as f64), ("denoise", 0.0)] {
            put(&reverse::option_key(field), vec![1], vec![value])?;
        }
        return Ok(map);
    }
    if quantity == "sampler.step.denoise" {
        t = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.6, 1.0].map(single).to_vec();
        put("s", vec![n], vec![0.0; n])?;
    } else if quantity.starts_with("sampler.step.") {
        put("s", vec![n], s)?;
    }
    put("t", vec![n], t)?;
    match quantity {
        "loss.weight.likelihood" => {}
        "loss.per_sample" => {
            put("x0", one.clone(), normals(n * DIM))?;
            put("noise", block, normals(n * k * DIM))?;
            if config.objective.name() == "dsm" {
                put("v_noise", one.clone(), normals(n * DIM))?;
            }
            put("net_output", one, normals(n * DIM))?;
            put(&reverse::option_key("weighting"), vec![1], vec![(i % 3) as f64])?;
        }
        "likelihood.mixture" => {
            put("u", block, normals(n * k * DIM))?;
            put("weights", vec![2], vec![0.25, 0.75])?;
            put("means", vec![2, DIM], [1.0, -0.5, -1.0, 0.25].to_vec())?;
            put("stds", vec![2], vec![0.5, 0.125])?;
        }
        "score.score_from_eps" => drop(put("eps", one, normals(n * DIM))?),
        "score.eps_from_score" => drop(put("score", one, normals(n * DIM))?),
        _ => {
            put("u", block.clone(), normals(n * k * DIM))?;
            if quantity == "score.mixed" {
                put("net_output", one, normals(n * DIM))?;
            } else {
                put("score", vec![n, m * DIM], normals(n * m * DIM))?;
            }
            if quantity == "sampler.reverse_drift" {
                put(&reverse::option_key("probability_flow"), vec![1], vec![(i % 2) as f64])?;
            } else if quantity.starts_with("sampler.step.sscs") {
                put("noise_1", block.clone(), normals(n * k * DIM))?;
                put("noise_2", block, normals(n * k * DIM))?;
            } else if quantity.starts_with("sampler.step.") {
                put("noise", block, normals(n * k * DIM))?;
            }
        }
    }
    Ok(map)
}

/// The inputs of one entry, and its flags.
fn inputs_of(quantity: &str, suite: &str, config: &Config, model: &Model, seed: u64, id: &str) -> Result<BTreeMap<String, Array>> {
    let k = model.channels();
    let mut rng = StdRng::seed_from_u64(seed ^ hash(id));
    let needs = QUANTITIES.iter().find(|q| q.name == quantity).map_or(&[][..], |q| q.inputs);
    let mut map = BTreeMap::new();
    let (s, mut t) = if suite == "transition" { spans() } else { (vec![], times()) };
    if quantity == "kernel.x0_from_eps" {
        // x0 = (x - L_xx eps_x) / Phi_xx: with Phi_xx far below 1, nothing but overflow is left to check
        let all = Array::new(vec![t.len()], t.clone())?;
        let (weight, _) = predict("kernel.mean", model, &[("t".to_string(), &all)].into(), "xx")?;
        t = t.into_iter().zip(weight).filter(|(_, w)| w.truth.hi.abs() > 1e-290).map(|(t, _)| t).collect();
    }
    if matches!(quantity, "kernel.sigma" | "kernel.logsnr") {
        // once the mean is gone, or below what float32 holds, nothing but underflow is left to check
        let all = Array::new(vec![t.len()], t.clone())?;
        let (weight, _) = predict("kernel.mean", model, &[("t".to_string(), &all)].into(), "xx")?;
        t = t.into_iter().zip(weight).filter(|(_, w)| w.truth.hi.abs() > 1e-30).map(|(t, _)| t).collect();
    }
    let n = t.len();
    if suite == "transition" {
        map.insert("s".to_string(), Array::new(vec![n], s)?);
    }
    if needs.contains(&"t") {
        map.insert("t".to_string(), Array::new(vec![n], t)?);
    }
    let mut normals = || (0..n * k * DIM).map(|_| draw(&mut rng)).collect::<Vec<f64>>();
    let mut block = |name: &str, data: Vec<f64>| {
        map.insert(name.to_string(), Array { shape: vec![n, k * DIM], data, precision: crate::files::Precision::F64 })
    };
    let mut u0 = normals();
    if config.objective.name() == "hsm" {
        // HSM conditions on x_0 alone: the kernel's mean is that of v_0 = 0
        u0.iter_mut().enumerate().filter(|(i, _)| i % (k * DIM) >= DIM).for_each(|(_, x)| *x = 0.0);
    }
    if needs.contains(&"u") && needs.contains(&"u0") {
        // every other row starts at 0: there u keeps its digits in f32, however small the noise
        u0.iter_mut().enumerate().filter(|(i, _)| i / (k * DIM) % 2 == 1).for_each(|(_, x)| *x = 0.0);
    }
    let noise = normals();
    for name in needs {
        match *name {
            "u0" => block("u0", u0.clone()),
            "noise" => block("noise", noise.clone()),
            "eps" => block("eps", normals()),
            "score" => block("score", normals()),
            _ => None,
        };
    }
    if quantity == "kernel.mean" {
        block("u0", u0.clone());
    }
    if needs.contains(&"u") {
        if needs.contains(&"u0") {
            // a sample of the kernel itself: other points have densities that say little
            let t = Array::new(vec![n], times())?;
            let at = |data: &Vec<f64>| Array { shape: vec![n, k * DIM], data: data.clone(), precision: crate::files::Precision::F64 };
            let (u0, noise) = (at(&u0), at(&noise));
            let given: Inputs<'_> = [("t", &t), ("u0", &u0), ("noise", &noise)].into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            let (cells, _) = predict("kernel.perturb", model, &given, "u_t")?;
            block("u", cells.iter().map(|c| single(c.truth.to_f64())).collect());
        } else {
            block("u", normals());
        }
    }
    Ok(map)
}

/// Writes `manifest.json`, `inputs.npz` and `expected.npz` into `folder`, which is made if it is not there.
///
/// # Errors
/// A process or suite that does not exist; a folder that holds someone else's files of these names, or cannot be
/// written to. Then nothing is written.
pub fn generate(folder: &Path, request: &Request, progress: &mut dyn FnMut(usize, usize)) -> Result<Written> {
    if let Some(name) = &request.process {
        crate::process::entry(name)?;
    }
    for suite in &request.suites {
        if !SUITES.iter().any(|(name, _)| name == suite) {
            let all: Vec<_> = SUITES.iter().map(|(n, _)| *n).collect();
            return Err(Error::parameter("suite", format!("`{suite}`"), all.join(", ")));
        }
    }
    let io = |problem: String| Error::Io { path: folder.display().to_string(), problem };
    let manifest_file = folder.join("manifest.json");
    let ours = read_text(&manifest_file, &Limits::default()).is_ok_and(|t| t.contains("\"cld-vectors/1\""));
    if let Some(taken) = ["manifest.json", "inputs.npz", "expected.npz"].iter().find(|f| !ours && folder.join(f).exists()) {
        return Err(io(format!("holds another {taken}; allowed: a new folder, or one that `cld vectors` wrote")));
    }
    let (mut inputs, mut expected, mut entries) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut values = 0;
    let mut written_once = std::collections::BTreeSet::new();
    let list = configurations();
    let total = list.len();
    for (i, (object, flags)) in list.into_iter().enumerate() {
        progress(i, total);
        let config = Config::from_answers(&object)?;
        if request.process.as_deref().is_some_and(|p| p != config.entry.name) {
            continue;
        }
        let model = Model::new(&config)?;
        let hsm = config.objective.name() == "hsm";
        for (suite, quantities) in SUITES {
            if !request.suites.is_empty() && !request.suites.iter().any(|s| s == suite) {
                continue;
            }
            for quantity in *quantities {
                // what does not depend on the objective or gamma is written once; intervals start without initial variance
                if *suite == "transition" && hsm {
                    continue;
                }
                if !wanted(quantity, &config, &model) {
                    continue;
                }
                if !of_objective(quantity) || *suite == "transition" {
                    let key = format!("{suite} {quantity} {} {:?} {:?}", config.entry.name, config.params, config.schedule);
                    if !written_once.insert(key) {
                        continue;
                    }
                }
                let id = format!("{quantity}{}/{i:02}", if *suite == "transition" { ".interval" } else { "" });
                let arrays = if reverse::covers(quantity) {
                    reverse_inputs(quantity, &config, &model, request.seed, (i, &id))?
                } else {
                    inputs_of(quantity, suite, &config, &model, request.seed, &id)?
                };
                let given: Inputs<'_> = arrays.iter().map(|(k, v)| (k.clone(), v)).collect();
                let mut flags: Vec<&str> = flags.clone();
                flags.push(if *suite == "transition" { "CloseTimes" } else { "SmallTime" });
                if !quantity.starts_with("kernel.") && *suite != "transition" {
                    flags.retain(|f| *f != "SmallTime" && (of_objective(quantity) || !matches!(*f, "GammaZero" | "GammaAboveTwo")));
                }
                let mut outs = serde_json::Map::new();
                for output in outputs(quantity, model.channels()) {
                    let (cells, columns) = predict(quantity, &model, &given, &output)?;
                    let n = cells.len() / columns;
                    let k = model.channels();
                    let shape = match (output.as_str(), columns) {
                        (_, 1) => vec![n],
                        ("matrix" | "factor", _) => vec![n, k, k],
                        _ => vec![n, columns],
                    };
                    values += cells.len();
                    let name = format!("{id}.{output}");
                    expected.insert(name.clone(), Array::new(shape, cells.iter().map(|c| c.truth.to_f64()).collect())?);
                    outs.insert(output, name.into());
                }
                let setting = |name: &str| reverse::OPTIONS.iter().find(|(field, _)| reverse::option_key(field) == name);
                let arrays_only = || arrays.iter().filter(|(k, _)| setting(k).is_none());
                let ins: serde_json::Map<String, Json> = arrays_only().map(|(k, _)| (k.clone(), format!("{id}.{k}").into())).collect();
                let mut entry = json!({
                    "id": id, "quantity": quantity, "process": object, "inputs": ins, "outputs": outs,
                    "flags": flags, "catches": catches(quantity),
                });
                for (name, a) in &arrays {
                    if let Some((field, words)) = setting(name) {
                        let value = a.data[0];
                        entry[*field] = match words {
                            [] if value.fract() == 0.0 => json!(value as i64),
                            [] => json!(value),
                            ["false", "true"] => json!(value == 1.0),
                            words => json!(words[value as usize]),
                        };
                    }
                }
                entries.push(entry);
                inputs.extend(arrays_only().map(|(k, v)| (format!("{id}.{k}"), v.clone())));
            }
        }
    }
    progress(total, total);
    let notes: serde_json::Map<String, Json> =
        NOTES.iter().map(|(f, bug, effect)| ((*f).to_string(), json!({"bug": bug, "effect": effect}))).collect();
    let manifest = json!({
        "schema": "cld-vectors/1",
        "version": env!("CARGO_PKG_VERSION"),
        "seed": request.seed,
        "about": "Write answers.npz with the arrays that `outputs` names, then: cld check FOLDER. Arrays (n, K d) hold the d coordinates of x first, then those of v, and so on; (n, K, K) are matrices. expected.npz has the right values.",
        "arrays": {"inputs": "inputs.npz", "expected": "expected.npz", "answers": "answers.npz"},
        "notes": notes,
        "entries": entries,
    });
    let count = manifest["entries"].as_array().map_or(0, Vec::len);
    if count == 0 {
        return Err(Error::parameter("process and suite", "no entries", "a combination that exists"));
    }
    let mut text = serde_json::to_string_pretty(&manifest).map_err(|e| io(e.to_string()))?;
    text.push('\n');
    std::fs::create_dir_all(folder).map_err(|e| io(format!("cannot be made: {e}")))?;
    let _lock = Lock::new(folder)?;
    sweep(folder);
    let arrays = [stage_npz(&folder.join("inputs.npz"), &inputs)?, stage_npz(&folder.join("expected.npz"), &expected)?];
    let manifest = stage(&manifest_file, |f| f.write_all(text.as_bytes()))?;
    arrays.into_iter().try_for_each(Staged::commit)?;
    // last: a folder with a manifest is whole
    manifest.commit()?;
    Ok(Written { entries: count, values })
}
