//! What is audited: every process, schedule, damping and objective.

use crate::error::Result;
use crate::process::{AnyProcess, LinearSde, Moments};
use crate::schedule::Span;
use crate::small::Mat;
use crate::truth::config::Config;
use serde_json::{Value as Json, json};

/// A process with parameters, schedule and objective, under a short name.
#[derive(Clone)]
pub struct Case {
    /// Name, such as `cld.hsm.linear`: the first part of the ids of its claims.
    pub name: String,
    /// The parts.
    pub config: Config,
}

/// Names and parameters of the processes. Parameters are chosen away from coincidences (M = 1, Gamma = nu, ...).
fn processes() -> Vec<(&'static str, Json)> {
    vec![
        ("cld", json!({"kind": "cld", "mass": 0.25, "gamma": 0.04})),
        ("cld-heavy", json!({"kind": "cld", "mass": 3.0, "gamma": 0.5})),
        ("cld-under", json!({"kind": "cld", "mass": 0.25, "Gamma": 0.5, "gamma": 0.04})),
        ("cld-over", json!({"kind": "cld", "mass": 0.25, "Gamma": 1.7, "gamma": 0.04})),
        ("sscs", json!({"kind": "sscs-analytic", "mass": 0.25, "gamma": 0.04})),
        ("psld", json!({"kind": "psld", "Gamma": 0.3, "nu": 4.3, "gamma": 0.04})),
        ("position-noise", json!({"kind": "cld-position-noise", "a": 2.0, "epsilon": 0.5, "sigma": 1.4, "v0_var": 0.01})),
        ("order-3", json!({"kind": "langevin-order-n", "order": 3, "velocity_var": 0.04})),
        ("order-4", json!({"kind": "langevin-order-n", "order": 4, "velocity_var": 0.04})),
        ("vp", json!({"kind": "vp"})),
        ("sub-vp", json!({"kind": "sub-vp"})),
        ("ve", json!({"kind": "ve"})),
    ]
}

fn schedules() -> Vec<(&'static str, Json)> {
    vec![
        ("constant", json!({"kind": "constant", "b": 4.0})),
        ("linear", json!({"kind": "linear", "b0": 0.1, "b1": 19.9})),
        ("cosine", json!({"kind": "cosine", "s0": 0.008, "t_max": 0.9946})),
        ("geometric", json!({"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0})),
    ]
}

/// Every case: each process under each schedule and objective that it has (VE under the geometric schedule alone, which is
/// its own; the others under the other three).
///
/// # Errors
/// None in practice: the list is fixed and a test builds it.
pub fn cases() -> Result<Vec<Case>> {
    let mut all = vec![];
    for (process, parameters) in processes() {
        for (schedule, rate) in schedules() {
            if (process == "ve") != (schedule == "geometric") {
                continue;
            }
            for objective in ["dsm", "hsm"] {
                let mut o = parameters.clone();
                o["schedule"] = rate.clone();
                o["objective"] = objective.into();
                let single = matches!(process, "vp" | "ve" | "sub-vp");
                if single && objective == "hsm" {
                    continue;
                }
                let name = if single { format!("{process}.{schedule}") } else { format!("{process}.{objective}.{schedule}") };
                all.push(Case { name, config: Config::from_answers(&o)? });
            }
        }
    }
    Ok(all)
}

/// A process known at run time, with its number of channels known again: what the generic schemes need.
pub struct Typed<'a, const K: usize>(pub &'a dyn AnyProcess);

impl<const K: usize> LinearSde<K> for Typed<'_, K> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn drift(&self) -> Mat<K> {
        matrix(&self.0.drift())
    }
    fn noise(&self) -> Mat<K> {
        // late in its clock, where sub-VP's noise has its limit
        matrix(&self.0.noise_at(1e6))
    }
    fn stationary(&self) -> Option<Mat<K>> {
        self.0.stationary().map(|m| matrix(&m))
    }
    fn mass(&self) -> f64 {
        self.0.mass()
    }
    fn log_det(&self, on: Span, gamma: f64, _: &Moments<K>) -> f64 {
        self.0.moments(on, gamma).log_det
    }
    fn noise_at(&self, start: f64) -> Mat<K> {
        matrix(&self.0.noise_at(start))
    }
    fn moments(&self, on: Span, gamma: f64) -> Moments<K> {
        self.0.moments(on, gamma).fixed()
    }
}

/// A row-major vector as a matrix.
pub(super) fn matrix<const K: usize>(v: &[f64]) -> Mat<K> {
    Mat::build(|i, j| v[i * K + j])
}
