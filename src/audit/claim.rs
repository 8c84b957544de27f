//! A claim: what is said, where it comes from, how it is checked, and what the check found.

use serde::{Deserialize, Serialize};

/// How a claim is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Against doubling in double words, from drift and noise alone.
    Doubling,
    /// Against an adaptive integration of the moment equations.
    Moments,
    /// Convergence order of a scheme, from its exact law.
    Order,
    /// Against simulated paths.
    Simulation,
    /// Laws of samplers, read off the steps that run.
    Law,
    /// Two ways to one number.
    Identity,
    /// Samples against their exact law.
    Sampled,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 7] =
        [Method::Doubling, Method::Moments, Method::Order, Method::Simulation, Method::Law, Method::Identity, Method::Sampled];

    /// Whether claims of this method are judged by standard errors.
    pub fn is_sampled(self) -> bool {
        matches!(self, Method::Simulation | Method::Sampled)
    }

    /// The last part of a claim's id (simulation adds the scheme).
    pub fn name(self) -> &'static str {
        match self {
            Method::Doubling => "doubling",
            Method::Moments => "moments",
            Method::Order => "order",
            Method::Simulation => "simulation",
            Method::Law => "law",
            Method::Identity => "identity",
            Method::Sampled => "sampled",
        }
    }

    /// What it is, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Method::Doubling => "the closed form against Taylor series and doubling in 106-bit arithmetic, from drift and noise alone",
            Method::Moments => {
                "the closed form against an adaptive Runge-Kutta integration (Dormand-Prince 8(5,3)) of the moment equations"
            }
            Method::Order => {
                "the exact law of a scheme, read off its own step, against the closed form: the order at which the difference vanishes"
            }
            Method::Simulation => {
                "simulated paths against the law they should have; nothing is left but sampling noise, whose law is known"
            }
            Method::Law => "the exact law of a sampler on Gaussian data, read off its own steps, against another way to the same law",
            Method::Identity => "two ways to one number, without noise",
            Method::Sampled => "what runs, on samples, against the exact law it should have",
        }
    }
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// `case/entry/method`, such as `cld.hsm.linear/cov.xv/simulation.em`.
    pub id: String,
    /// The formula's id in `docs/formulas.md`.
    pub formula: String,
    /// What is claimed.
    pub statement: String,
    /// How it is checked.
    pub method: Method,
    /// The tolerance, and where it comes from.
    pub tolerance: String,
}

/// One comparison: at a time, or for an order at a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Time (for an order: the number of steps).
    pub at: f64,
    /// What was found.
    pub found: f64,
    /// What it should be.
    pub expected: f64,
    /// The deviation in units of the tolerance (noise-free: error over tolerance; simulation: standard errors).
    pub deviation: f64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The claim.
    pub claim: Claim,
    /// The comparisons.
    pub figures: Vec<Figure>,
    /// p-values of the comparisons, for simulation; else none.
    pub p: Vec<f64>,
    /// The largest deviation, in units of the tolerance (at most 1 if the claim holds).
    pub worst: f64,
    /// The smallest planted relative error that is caught with probability 0.999 at every audited time (noise-free: with
    /// certainty).
    pub power: f64,
    /// Whether the claim holds.
    pub holds: bool,
}

/// An error planted on purpose: the claim's own quantity times `1 + size`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plant {
    /// Id of the claim.
    pub id: String,
    /// Relative size.
    pub size: f64,
}

impl Plant {
    /// `value` with the error, if it is planted in the claim `id`. `unit` is what the size is relative to: the value itself,
    /// or for entries that may vanish the size of their terms.
    pub(super) fn apply(plant: Option<&Plant>, id: &str, value: f64, unit: f64) -> f64 {
        match plant {
            Some(p) if p.id == id => value + p.size * unit,
            _ => value,
        }
    }
}
