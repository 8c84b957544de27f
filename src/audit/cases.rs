//! What is audited: every process, schedule, damping and objective.

use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::process::{AnyProcess, Chain, LinearSde, Moments, ProcessEntry, REGISTRY};
use crate::schedule::Span;
use crate::small::Mat;
use crate::truth::config::{Config, example};
use serde_json::{Value as Json, json};

/// A process with parameters, schedule and objective, under a short name.
#[derive(Clone)]
pub struct Case {
    /// Name, such as `cld.hsm.linear`: the first part of the ids of its claims.
    pub name: String,
    /// The parts.
    pub config: Config,
}

fn schedules() -> Vec<(&'static str, Json)> {
    vec![
        ("constant", json!({"kind": "constant", "b": 4.0})),
        ("linear", json!({"kind": "linear", "b0": 0.1, "b1": 19.9})),
        (
            "cosine",
            json!({"kind": "cosine", "s0": 0.008, "t_max": 0.9946}),
        ),
        (
            "geometric",
            json!({"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}),
        ),
    ]
}

/// A process without a stationary law (VE): it is under the geometric schedule alone, which is its
/// own.
fn explodes(e: &ProcessEntry) -> bool {
    e.chain == Some(Chain::Smld)
}

/// Every case: each process under each schedule and objective that it has (VE under the geometric
/// schedule alone, which is its own; the others under the other three).
///
/// # Errors
/// Passed on from the builders; the list is fixed, and a test builds all of it.
pub fn cases() -> Result<Vec<Case>> {
    let mut all = vec![];
    for (e, a) in REGISTRY
        .iter()
        .flat_map(|e| e.audit.iter().filter(|a| a.kernels).map(move |a| (e, a)))
    {
        for (schedule, rate) in schedules() {
            if explodes(e) != (schedule == "geometric") {
                continue;
            }
            for objective in if e.gamma.is_some() {
                &["dsm", "hsm"][..]
            } else {
                &["dsm"]
            } {
                let mut o = example(e.name, a.params);
                o.insert("schedule".into(), rate.clone());
                o.insert("objective".into(), (*objective).into());
                let name = if e.gamma.is_some() {
                    format!("{}.{objective}.{schedule}", a.name)
                } else {
                    format!("{}.{schedule}", a.name)
                };
                all.push(Case {
                    name,
                    config: Config::from_answers(&Json::Object(o))?,
                });
            }
        }
    }
    Ok(all)
}

/// A case of claims about samplers, likelihoods, losses and scores: a process with a rate that
/// changes with time.
pub(super) struct Rated {
    /// Its name in the registry.
    pub name: &'static str,
    /// It in words.
    pub about: String,
    /// Under a linear rate, or VE's own.
    pub diffusion: Diffusion,
    /// Whether likelihoods are claimed of it.
    pub likelihood: bool,
}

/// Every kind of process: each with one channel or more, with noise on one channel or on all.
pub(super) fn rated() -> Result<Vec<Rated>> {
    let all = REGISTRY
        .iter()
        .flat_map(|e| e.audit.iter().filter(|a| a.samplers).map(move |a| (e, a)));
    all.map(|(e, a)| {
        let mut o = example(e.name, a.params);
        let rate = if explodes(e) {
            json!({"kind": "geometric-sigma", "sigma_min": 0.1, "sigma_max": 5.0})
        } else {
            json!({"kind": "linear", "b0": 0.5, "b1": 3.0})
        };
        o.insert("schedule".into(), rate);
        o.insert(
            "objective".into(),
            if e.gamma.is_some() { "hsm" } else { "dsm" }.into(),
        );
        let c = Config::from_answers(&Json::Object(o))?;
        let diffusion = Diffusion::new(c.process()?, c.schedule, c.objective.gamma())?;
        Ok(Rated {
            name: a.name,
            about: c.describe(),
            diffusion,
            likelihood: a.likelihood,
        })
    })
    .collect()
}

/// A process known at run time, with its number of channels known again: what the generic schemes
/// need.
pub struct Typed<'a, const K: usize>(pub &'a dyn AnyProcess);

impl<const K: usize> LinearSde<K> for Typed<'_, K> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn drift(&self) -> Mat<K> {
        self.0.drift().fixed()
    }
    fn noise(&self) -> Mat<K> {
        // late in its clock, where sub-VP's noise has its limit
        self.0.noise_at(1e6).fixed()
    }
    fn stationary(&self) -> Option<Mat<K>> {
        self.0.stationary().map(|m| m.fixed())
    }
    fn mass(&self) -> f64 {
        self.0.mass()
    }
    fn log_det(&self, on: Span, gamma: f64, _: &Moments<K>) -> f64 {
        self.0.moments(on, gamma).log_det
    }
    fn noise_at(&self, start: f64) -> Mat<K> {
        self.0.noise_at(start).fixed()
    }
    fn moments(&self, on: Span, gamma: f64) -> Moments<K> {
        self.0.moments(on, gamma).fixed()
    }
}
