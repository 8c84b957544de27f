//! Test vectors: inputs and expected outputs for every quantity, over the whole range of time and
//! parameters.
//!
//! Expected values come from the generic route in double words, rounded once; not from the closed
//! forms.

use crate::error::{Error, Result};
use crate::files::arrays::stage_npz;
use crate::files::write::{Staged, stage, sweep};
use crate::files::{Array, Limits, Lock, read_text};
use crate::process::{REGISTRY, Rate, Under};
use crate::truth::config::{Config, example};
use crate::truth::kernel;
use crate::truth::predict::{Inputs, Model, QUANTITIES, fits, predict};
use crate::truth::quantity::{self, Draw, LawOf, Quantity, Times};
use crate::truth::reader::{InVectors, RUN, SETTINGS, setting_key};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// Groups of quantities that can be asked for: name and quantities. `transition` is the kernel over
/// `[s, t]`, s > 0.
pub static SUITES: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
    let of = |suite: &str| {
        QUANTITIES
            .iter()
            .filter(|q| q.suites.contains(&suite))
            .map(|q| q.name)
            .collect()
    };
    quantity::SUITES.iter().map(|s| (*s, of(s))).collect()
});

/// The mistakes that corner cases are there to catch: flag, bug, effect.
pub const NOTES: &[(&str, &str, &str)] = &[
    (
        "PaperDefault",
        "-",
        "the paper's own setting; the first to pass",
    ),
    (
        "TimeDependentBeta",
        "the rate at t taken for its integral, or the integral off by a factor",
        "invisible, or a mere factor of time, while beta is constant",
    ),
    (
        "MassNotOne",
        "M and 1/M swapped, gamma for gamma M",
        "invisible at M = 1",
    ),
    (
        "ExtremeMass",
        "overflow, underflow, a lost low word of tau / sqrt(M)",
        "wrong digits or NaN long before t = 1",
    ),
    (
        "GammaZero",
        "division by gamma",
        "HSM with gamma = 0 is DSM",
    ),
    (
        "GammaAboveTwo",
        "a sign assumed for the xv covariance",
        "for gamma > 2 it is negative from some time on",
    ),
    (
        "Underdamped",
        "formulas of critical damping, or a square root of a negative number",
        "oscillating mean and covariance",
    ),
    (
        "Overdamped",
        "formulas of critical damping",
        "two real rates; sinh overflows",
    ),
    (
        "NearCritical",
        "division by Gamma^2 - 4 M",
        "loses all digits near critical damping",
    ),
    (
        "PositionNoise",
        "noise in v only",
        "variance of x of order t instead of t^3",
    ),
    ("HigherOrder", "a 2 x 2 formula", "three or four channels"),
    (
        "ReversedPart",
        "the forward sign of the coupling",
        "SSCS's analytic step has the opposite one",
    ),
    (
        "SmallTime",
        "cancellation, or a constant added to hide it",
        "rows down to t = 1e-12: the variance of x is 1e-36",
    ),
    (
        "CloseTimes",
        "B(0,t) - B(0,s) computed by subtraction",
        "rows with t - s down to 1e-12",
    ),
];

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Only this process.
    pub process: Option<String>,
    /// Only these suites; empty: all.
    pub suites: Vec<String>,
    /// Only quantities whose name has one of these in it; empty: all.
    pub only: Vec<String>,
    /// Seed of the random inputs.
    pub seed: u64,
}

impl Request {
    /// Whether a quantity is asked for, by its name.
    pub(super) fn selects(&self, quantity: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|p| quantity.contains(p.as_str()))
    }

    /// Refuses a process, a suite or a pattern that does not exist.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(name) = &self.process {
            crate::process::entry(name)?;
        }
        for suite in &self.suites {
            if !quantity::SUITES.contains(&suite.as_str()) {
                return Err(Error::parameter(
                    "suite",
                    format!("`{suite}`"),
                    quantity::SUITES.join(", "),
                ));
            }
        }
        if !QUANTITIES.iter().any(|q| self.selects(q.name)) {
            let all: Vec<&str> = QUANTITIES.iter().map(|q| q.name).collect();
            return Err(Error::parameter(
                "only",
                self.only.join(", "),
                format!("a part of one of the names {}", all.join(", ")),
            ));
        }
        Ok(())
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Number of entries.
    pub entries: usize,
    /// Number of expected values.
    pub values: usize,
}

/// A schedule as manifests have it: a constant rate is a linear one.
fn schedule(rate: Rate) -> Json {
    match rate {
        Rate::Constant(b) => json!({"kind": "linear", "b0": b, "b1": 0.0}),
        Rate::Linear(b0, b1) => json!({"kind": "linear", "b0": b0, "b1": b1}),
        Rate::Cosine(s0, t_max) => json!({"kind": "cosine", "s0": s0, "t_max": t_max}),
        Rate::Geometric(min, max) => {
            json!({"kind": "geometric-sigma", "sigma_min": min, "sigma_max": max})
        }
    }
}

/// The configurations: process object (as in `cld-answers/1`) and flags. The paper's own come
/// first, then those under both objectives, then those under one.
pub(super) fn configurations() -> Vec<(Json, &'static [&'static str])> {
    let all = || {
        REGISTRY
            .iter()
            .flat_map(|e| e.vectors.iter().map(move |v| (e, v)))
    };
    let under = |objective: &'static str, which: fn(Under) -> bool| {
        all()
            .filter(move |(_, v)| which(v.under))
            .map(move |(e, v)| {
                let mut o = example(e.name, v.params);
                o.insert("schedule".into(), schedule(v.rate));
                let objective = if let Under::Only(one) = v.under {
                    one
                } else {
                    objective
                };
                o.insert("objective".into(), objective.into());
                (Json::Object(o), v.flags)
            })
    };
    let (first, both, one) = (
        |u| u == Under::First,
        |u| u == Under::Both,
        |u| matches!(u, Under::Only(_)),
    );
    under("hsm", first)
        .chain(under("dsm", first))
        .chain(under("hsm", both))
        .chain(under("dsm", both))
        .chain(under("", one))
        .collect()
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
        t.extend(
            [1.0, 3.0].map(|m: f64| format!("{m}e{decade}").parse::<f64>().expect("a number")),
        );
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
    // neighbours among float32's numbers are as close as one can ask for: 2^-24 at 1, 2^-39 at
    // 2^-16
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
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Coordinates per channel in vector inputs.
const DIM: usize = 2;

/// Whether there is an entry of this quantity for a configuration.
fn wanted(q: &Quantity, config: &Config, model: &Model) -> bool {
    let given_x0 = matches!(q.law, LawOf::GivenX0 | LawOf::GivenX0AndGamma);
    // the mixed score has S_vv of HSM: without gamma there is none
    let gamma = config.gamma.is_some()
        || !matches!(q.law, LawOf::GivenX0AndGamma | LawOf::ObjectiveAndGamma);
    gamma
        && fits(q, model).is_ok()
        && (!given_x0 || model.channels() == 1 || config.objective.name() == "hsm")
}

/// Steps: long and short, late and early, the last one down to 0.
const STEPS: &[(f64, f64)] = &[
    (1.0, 0.9),
    (1.0, 0.999),
    (0.6, 0.5),
    (0.3, 0.2),
    (0.1, 0.09),
    (1e-2, 1e-3),
    (1e-3, 1e-5),
    (1e-5, 0.0),
];

/// Steps of a discrete chain: the rate, 20 at most, times their length is below 1.
const SHORT_STEPS: &[(f64, f64)] = &[
    (1.0, 0.96875),
    (0.6, 0.5625),
    (0.3, 0.28),
    (0.1, 0.09),
    (1e-2, 1e-3),
    (1e-3, 1e-5),
    (1e-4, 1e-5),
    (1e-5, 0.0),
];

/// Times and ends of the steps that a quantity is asked at.
fn steps_of(q: &Quantity, model: &Model) -> Result<(Vec<f64>, Vec<f64>)> {
    let of = |steps: &[(f64, f64)]| -> (Vec<f64>, Vec<f64>) {
        steps.iter().map(|(t, s)| (single(*t), single(*s))).unzip()
    };
    let (t, s) = match q.draws.times {
        Times::ShortSteps => of(SHORT_STEPS),
        Times::LaterSteps => {
            let (t, s) = of(STEPS);
            t.into_iter().zip(s).filter(|(_, s)| *s > 0.0).unzip()
        }
        Times::ToZero => of(&[1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.6, 1.0].map(|t| (t, 0.0))),
        _ => of(STEPS),
    };
    if q.draws.mean_above > 0.0 {
        // a step goes with its start
        let kept = with_mean(t.clone(), model, q.draws.mean_above)?;
        let steps = t.into_iter().zip(s);
        return Ok(steps.filter(|(t, _)| kept.contains(t)).unzip());
    }
    Ok((t, s))
}

/// The inputs of steps, scores, losses and likelihoods. Settings are among them, under
/// [`setting_key`]; those with a few words go through them from one configuration (the `i`th) to
/// the next.
fn drawn(
    q: &Quantity,
    config: &Config,
    model: &Model,
    seed: u64,
    (i, id): (usize, &str),
) -> Result<BTreeMap<String, Array>> {
    let (k, m) = (model.channels(), model.noised().len());
    let mut rng = StdRng::seed_from_u64(seed ^ hash(id));
    let mut map = BTreeMap::new();
    let mut put = |name: &str, shape: Vec<usize>, data: Vec<f64>| {
        Array::new(shape, data).map(|a| map.insert(name.to_string(), a))
    };
    let mut normals = |n: usize| (0..n).map(|_| draw(&mut rng)).collect::<Vec<f64>>();
    let (t, s) = steps_of(q, model)?;
    let n = t.len();
    if matches!(
        q.draws.times,
        Times::Steps | Times::LaterSteps | Times::ShortSteps | Times::ToZero
    ) {
        put("s", vec![n], s)?;
    }
    if q.draws.times != Times::None {
        put("t", vec![n], t)?;
    }
    for (name, draw) in q.draws.arrays {
        match *draw {
            Draw::Channels => put(name, vec![n, k * DIM], normals(n * k * DIM))?,
            Draw::Noised => put(name, vec![n, m * DIM], normals(n * m * DIM))?,
            Draw::OneUnderDsm if config.objective.name() != "dsm" => None,
            Draw::One | Draw::OneUnderDsm => put(name, vec![n, DIM], normals(n * DIM))?,
            Draw::TwoRuns => put(name, vec![2, k * DIM], normals(2 * k * DIM))?,
            Draw::RunNoise(draws) => put(
                name,
                vec![draws * RUN, 2, k * DIM],
                normals(draws * RUN * 2 * k * DIM),
            )?,
            Draw::Fixed(shape, data) => put(name, shape.to_vec(), data.to_vec())?,
        };
    }
    for setting in SETTINGS.iter().filter(|s| q.settings.contains(&s.name)) {
        let value = match setting.written {
            InVectors::No => continue,
            InVectors::Always(x) => x,
            InVectors::Turns(list) => list[i % list.len()],
            InVectors::ByTurns => (i % setting.words.len()) as f64,
        };
        put(&setting_key(setting.name), vec![1], vec![value])?;
    }
    Ok(map)
}

/// The times at which the mean of x is above `bound`: below it nothing but overflow is left to
/// check.
fn with_mean(t: Vec<f64>, model: &Model, bound: f64) -> Result<Vec<f64>> {
    let mean = kernel::mean_of_x(model, &t)?;
    Ok(t.into_iter()
        .zip(mean)
        .filter(|(_, m)| m.abs() > bound)
        .map(|(t, _)| t)
        .collect())
}

/// The inputs of what is of one time: the kernel, the process, the prior, the schedule.
fn inputs_of(
    q: &Quantity,
    suite: &str,
    config: &Config,
    model: &Model,
    seed: u64,
    id: &str,
) -> Result<BTreeMap<String, Array>> {
    let k = model.channels();
    let mut rng = StdRng::seed_from_u64(seed ^ hash(id));
    let needs = q.inputs;
    let mut map = BTreeMap::new();
    let (s, mut t) = if suite == "transition" {
        spans()
    } else {
        (vec![], times())
    };
    if q.draws.mean_above > 0.0 {
        t = with_mean(t, model, q.draws.mean_above)?;
    }
    let n = t.len();
    if suite == "transition" {
        map.insert("s".to_string(), Array::new(vec![n], s)?);
    }
    if needs.contains(&"t") {
        map.insert("t".to_string(), Array::new(vec![n], t)?);
    }
    let mut normals = || {
        (0..n * k * DIM)
            .map(|_| draw(&mut rng))
            .collect::<Vec<f64>>()
    };
    let mut block = |name: &str, data: Vec<f64>| {
        map.insert(
            name.to_string(),
            Array {
                shape: vec![n, k * DIM],
                data,
                precision: crate::files::Precision::F64,
            },
        )
    };
    let mut u0 = normals();
    let mut set_to_0 = |which: &dyn Fn(usize) -> bool| {
        let all = u0.iter_mut().enumerate();
        all.filter(|(i, _)| which(*i)).for_each(|(_, x)| *x = 0.0);
    };
    if config.objective.name() == "hsm" {
        // HSM conditions on x_0 alone: the kernel's mean is that of v_0 = 0
        set_to_0(&|i| i % (k * DIM) >= DIM);
    }
    if needs.contains(&"u") && needs.contains(&"u0") {
        // every other row starts at 0: there u keeps its digits in f32, however small the noise
        set_to_0(&|i| i / (k * DIM) % 2 == 1);
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
    if q.optional.contains(&"u0") {
        block("u0", u0.clone());
    }
    if needs.contains(&"u") {
        if needs.contains(&"u0") {
            // a sample of the kernel itself: other points have densities that say little
            let u = kernel::perturbed(model, &times(), &u0, &noise)?;
            block("u", u.into_iter().map(single).collect());
        } else {
            block("u", normals());
        }
    }
    Ok(map)
}

/// The inputs of one entry.
fn asked(
    q: &Quantity,
    suite: &str,
    config: &Config,
    model: &Model,
    seed: u64,
    (i, id): (usize, &str),
) -> Result<BTreeMap<String, Array>> {
    if q.draws.times == Times::Decades {
        inputs_of(q, suite, config, model, seed, id)
    } else {
        drawn(q, config, model, seed, (i, id))
    }
}

/// What is asked about one quantity of one configuration.
pub struct Question {
    /// Its id: quantity and the configuration's number.
    pub id: String,
    /// The suite that it belongs to.
    pub suite: &'static str,
    /// The quantity.
    pub quantity: &'static str,
    /// The inputs; settings are among them, under [`setting_key`].
    pub inputs: BTreeMap<String, Array>,
}

/// Everything that can be asked about a configuration; `suites` as in [`Request`]. Settings with a
/// few words (weightings, the probability flow) go through them with `number`.
///
/// # Errors
/// A process whose truth cannot be computed.
pub fn questions(
    config: &Config,
    suites: &[String],
    seed: u64,
    number: usize,
) -> Result<Vec<Question>> {
    let model = Model::new(config)?;
    let mut list = Vec::new();
    for &suite in quantity::SUITES
        .iter()
        .filter(|name| suites.is_empty() || suites.iter().any(|s| s == *name))
    {
        // intervals start without initial variance
        if suite == "transition" && config.objective.name() == "hsm" {
            continue;
        }
        for q in QUANTITIES
            .iter()
            .filter(|q| q.suites.contains(&suite) && wanted(q, config, &model))
        {
            let id = format!(
                "{}{}/{number:02}",
                q.name,
                if suite == "transition" {
                    ".interval"
                } else {
                    ""
                }
            );
            let inputs = asked(q, suite, config, &model, seed, (number, &id))?;
            list.push(Question {
                id,
                suite,
                quantity: q.name,
                inputs,
            });
        }
    }
    Ok(list)
}

/// A configuration under a suite: its number, process object, flags and model.
struct Setup<'a> {
    number: usize,
    object: &'a Json,
    flags: &'a [&'static str],
    config: &'a Config,
    model: &'a Model,
    suite: &'static str,
}

impl Setup<'_> {
    /// What a quantity that does not depend on the objective or gamma is written once for.
    fn once(&self, q: &Quantity) -> Option<String> {
        let (c, suite) = (self.config, self.suite);
        if !matches!(q.law, LawOf::None | LawOf::Nothing) && suite != "transition" {
            return None;
        }
        Some(match q.law {
            LawOf::Nothing => q.name.to_string(),
            _ => format!(
                "{suite} {} {} {:?} {:?}",
                q.name, c.entry.name, c.params, c.schedule
            ),
        })
    }

    /// The flags of an entry.
    fn flags(&self, q: &Quantity) -> Vec<&'static str> {
        let transition = self.suite == "transition";
        let mut flags = self.flags.to_vec();
        flags.push(if transition {
            "CloseTimes"
        } else {
            "SmallTime"
        });
        if !q.name.starts_with("kernel.") && !transition {
            let without = matches!(q.law, LawOf::None | LawOf::Nothing);
            let of_gamma = |f: &str| matches!(f, "GammaZero" | "GammaAboveTwo");
            flags.retain(|f| *f != "SmallTime" && !(without && of_gamma(f)));
        }
        flags
    }
}

/// What is written: the arrays of both files, and the entries.
#[derive(Default)]
struct Vectors {
    inputs: BTreeMap<String, Array>,
    expected: BTreeMap<String, Array>,
    entries: Vec<Json>,
    values: usize,
}

impl Vectors {
    /// Adds the entry of a quantity.
    fn add(&mut self, q: &Quantity, setup: &Setup<'_>, seed: u64) -> Result<()> {
        let (quantity, suite, model) = (q.name, setup.suite, setup.model);
        let interval = if suite == "transition" {
            ".interval"
        } else {
            ""
        };
        let id = format!("{quantity}{interval}/{:02}", setup.number);
        let arrays = asked(q, suite, setup.config, model, seed, (setup.number, &id))?;
        let given: Inputs<'_> = arrays.iter().map(|(k, v)| (k.clone(), v)).collect();
        let mut outs = serde_json::Map::new();
        for output in q.outputs.names(model.channels()) {
            let (cells, columns) = predict(quantity, model, &given, &output)?;
            let (n, k) = (cells.len() / columns, model.channels());
            let shape = match (output.as_str(), columns) {
                (_, 1) => vec![n],
                ("matrix" | "factor", _) => vec![n, k, k],
                _ => vec![n, columns],
            };
            self.values += cells.len();
            let name = format!("{id}.{output}");
            let truth = cells.iter().map(|c| c.truth.to_f64()).collect();
            self.expected
                .insert(name.clone(), Array::new(shape, truth)?);
            outs.insert(output, name.into());
        }
        let setting = |name: &str| SETTINGS.iter().find(|s| setting_key(s.name) == name);
        let (mut ins, mut settings) = (serde_json::Map::new(), vec![]);
        for (name, a) in arrays {
            match setting(&name) {
                Some(s) => settings.push((s, a.data[0])),
                None => {
                    let key = format!("{id}.{name}");
                    ins.insert(name, key.clone().into());
                    self.inputs.insert(key, a);
                }
            }
        }
        let mut entry = json!({
            "id": id, "quantity": quantity, "process": setup.object, "inputs": ins, "outputs": outs,
            "flags": setup.flags(q), "catches": q.catches,
        });
        for (s, value) in settings {
            entry[s.name] = match s.words {
                [] if value.fract() == 0.0 => json!(value as i64),
                [] => json!(value),
                ["false", "true"] => json!(value == 1.0),
                words => json!(words[value as usize]),
            };
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// Every entry that a request selects.
fn vectors(request: &Request, progress: &mut dyn FnMut(usize, usize)) -> Result<Vectors> {
    let mut all = Vectors::default();
    let mut written_once = std::collections::BTreeSet::new();
    let list = configurations();
    let total = list.len();
    for (number, (object, flags)) in list.into_iter().enumerate() {
        progress(number, total);
        let config = Config::from_answers(&object)?;
        let process = request.process.as_deref();
        if process.is_some_and(|p| p != config.entry.name) {
            continue;
        }
        let model = Model::new(&config)?;
        let hsm = config.objective.name() == "hsm";
        for suite in quantity::SUITES {
            // intervals start without initial variance
            if !request.suites.is_empty() && !request.suites.iter().any(|s| s == suite)
                || *suite == "transition" && hsm
            {
                continue;
            }
            let setup = Setup {
                number,
                object: &object,
                flags,
                config: &config,
                model: &model,
                suite,
            };
            let fits = |q: &&Quantity| {
                q.suites.contains(suite) && request.selects(q.name) && wanted(q, &config, &model)
            };
            for q in QUANTITIES.iter().filter(fits) {
                if setup.once(q).is_none_or(|key| written_once.insert(key)) {
                    all.add(q, &setup, request.seed)?;
                }
            }
        }
    }
    progress(total, total);
    Ok(all)
}

fn manifest_of(request: &Request, entries: Vec<Json>) -> Json {
    let notes: serde_json::Map<String, Json> = NOTES
        .iter()
        .map(|(f, bug, effect)| ((*f).to_string(), json!({"bug": bug, "effect": effect})))
        .collect();
    json!({
        "schema": "cld-vectors/1",
        "version": env!("CARGO_PKG_VERSION"),
        "seed": request.seed,
        "about": "Write answers.npz with the arrays that `outputs` names, then: cld check FOLDER. Arrays (n, K d) hold the d coordinates of x first, then those of v, and so on; (n, K, K) are matrices. expected.npz has the right values.",
        "arrays": {"inputs": "inputs.npz", "expected": "expected.npz", "answers": "answers.npz"},
        "notes": notes,
        "entries": entries,
    })
}

/// Writes `manifest.json`, `inputs.npz` and `expected.npz` into `folder`, which is made if it is
/// not there.
///
/// # Errors
/// A process or suite that does not exist; a folder that holds someone else's files of these names,
/// or cannot be written to. Then nothing is written.
pub fn generate(
    folder: &Path,
    request: &Request,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Written> {
    request.check()?;
    let io = |problem: String| Error::Io {
        path: folder.display().to_string(),
        problem,
    };
    let manifest_file = folder.join("manifest.json");
    let ours = read_text(&manifest_file, &Limits::default())
        .is_ok_and(|t| t.contains("\"cld-vectors/1\""));
    if let Some(taken) = ["manifest.json", "inputs.npz", "expected.npz"]
        .iter()
        .find(|f| !ours && folder.join(f).exists())
    {
        return Err(io(format!(
            "holds another {taken}; allowed: a new folder, or one that `cld vectors` wrote"
        )));
    }
    let Vectors {
        inputs,
        expected,
        entries,
        values,
    } = vectors(request, progress)?;
    let count = entries.len();
    if count == 0 {
        return Err(Error::parameter(
            "process and suite",
            "no entries",
            "a combination that exists",
        ));
    }
    let manifest = manifest_of(request, entries);
    let mut text = serde_json::to_string_pretty(&manifest).map_err(|e| io(e.to_string()))?;
    text.push('\n');
    std::fs::create_dir_all(folder).map_err(|e| io(format!("cannot be made: {e}")))?;
    let _lock = Lock::new(folder)?;
    sweep(folder);
    let arrays = [
        stage_npz(&folder.join("inputs.npz"), &inputs)?,
        stage_npz(&folder.join("expected.npz"), &expected)?,
    ];
    let manifest = stage(&manifest_file, |f| f.write_all(text.as_bytes()))?;
    arrays.into_iter().try_for_each(Staged::commit)?;
    // last: a folder with a manifest is whole
    manifest.commit()?;
    Ok(Written {
        entries: count,
        values,
    })
}
