//! A claim: what is said, where it comes from, how it is checked, and what the check found.

use crate::error::{Error, Result};
use crate::worst::{Worst, within};
use serde::{Deserialize, Serialize, Serializer};

/// How a claim is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    pub const ALL: [Method; 7] = [
        Method::Doubling,
        Method::Moments,
        Method::Order,
        Method::Simulation,
        Method::Law,
        Method::Identity,
        Method::Sampled,
    ];

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
            Method::Doubling => {
                "the closed form against Taylor series and doubling in 106-bit arithmetic, from drift and noise alone"
            }
            Method::Moments => {
                "the closed form against an adaptive Runge-Kutta integration (Dormand-Prince 8(5,3)) of the moment equations"
            }
            Method::Order => {
                "the exact law of a scheme, read off its own step, against the closed form: the order at which the difference vanishes"
            }
            Method::Simulation => {
                "simulated paths against the law they should have; nothing is left but sampling noise, whose law is known"
            }
            Method::Law => {
                "the exact law of a sampler on Gaussian data, read off its own steps, against another way to the same law"
            }
            Method::Identity => "two ways to one number, without noise",
            Method::Sampled => "what runs, on samples, against the exact law it should have",
        }
    }
}

/// A claim: data, known before anything is computed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// `case/entry/method`, such as `cld.hsm.linear/cov.xv/simulation.em`.
    pub id: String,
    /// The formula's id in `docs/reference/formulas.md`.
    pub formula: String,
    /// What is claimed.
    pub statement: String,
    /// How it is checked.
    pub method: Method,
    /// The tolerance, and where it comes from.
    pub tolerance: String,
}

impl Claim {
    /// A claim; `name` is `case/entry`. For claims by sampling the tolerance follows from the
    /// number of tests of the run, and is put in there.
    pub fn new(
        name: &str,
        formula: &str,
        method: Method,
        statement: String,
        tolerance: &str,
    ) -> Claim {
        Claim {
            id: format!("{name}/{}", method.name()),
            formula: formula.into(),
            statement,
            method,
            tolerance: tolerance.into(),
        }
    }

    /// The last part of its id: the method, with the scheme of simulations.
    pub fn column(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or("")
    }
}

/// The process that a claim is about, by its id.
pub(super) fn process(id: &str) -> &str {
    id.split(['.', '/']).next().unwrap_or("")
}

/// A number in JSON: as a string where it is not finite, which JSON's own numbers cannot be.
fn number<S: Serializer>(x: &f64, s: S) -> std::result::Result<S::Ok, S::Error> {
    if x.is_finite() {
        s.serialize_f64(*x)
    } else {
        s.collect_str(x)
    }
}

fn numbers<S: Serializer>(all: &[f64], s: S) -> std::result::Result<S::Ok, S::Error> {
    struct Number(f64);
    impl Serialize for Number {
        fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
            number(&self.0, s)
        }
    }
    s.collect_seq(all.iter().map(|x| Number(*x)))
}

/// One comparison: at a time, or for an order at a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Time (for an order: the number of steps).
    #[serde(serialize_with = "number")]
    pub at: f64,
    /// What was found.
    #[serde(serialize_with = "number")]
    pub found: f64,
    /// What it should be.
    #[serde(serialize_with = "number")]
    pub expected: f64,
    /// The deviation in units of the tolerance (noise-free: error over tolerance; simulation:
    /// standard errors; a bound: from the middle, over half the width).
    #[serde(serialize_with = "number")]
    pub deviation: f64,
    /// Of an inequality: between what the number has to keep. `expected` is their middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<[f64; 2]>,
}

/// A comparison and what it weighs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    pub figure: Figure,
    /// The deviation in units of the tolerance, of no sign.
    pub share: f64,
    /// The smallest planted relative error that is caught here; `None` where the number is about to
    /// cross zero.
    pub power: Option<f64>,
    /// The p-value, by sampling.
    pub p: Option<f64>,
}

/// An error in units of its tolerance. What cannot be judged is infinitely far: truth, error or
/// tolerance not finite.
pub(super) fn share(error: f64, expected: f64, tolerance: f64) -> f64 {
    match error.abs() {
        e if !(e.is_finite() && expected.is_finite() && within(0.0, tolerance)) => f64::INFINITY,
        0.0 => 0.0,
        e => e / tolerance,
    }
}

/// What a check found: there is no evidence of nothing, and no claim that holds by it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The claim.
    pub claim: Claim,
    figures: Vec<Figure>,
    #[serde(serialize_with = "numbers")]
    p: Vec<f64>,
    #[serde(serialize_with = "number")]
    worst: f64,
    #[serde(serialize_with = "number")]
    power: f64,
    holds: bool,
}

impl Evidence {
    /// Judges a claim by its comparisons.
    ///
    /// # Errors
    /// No comparisons, or some without a p-value in a claim by sampling.
    pub(super) fn new(claim: Claim, compared: Vec<Compared>) -> Result<Evidence> {
        let lacking = |why: &str| Error::Degenerate {
            what: format!("evidence for the claim {}", claim.id).into(),
            why: why.into(),
        };
        if compared.is_empty() {
            return Err(lacking("nothing was compared"));
        }
        let p: Vec<f64> = compared.iter().filter_map(|c| c.p).collect();
        if p.len()
            != if claim.method.is_sampled() {
                compared.len()
            } else {
                0
            }
        {
            return Err(lacking(
                "p-values belong to claims by sampling, one for each comparison",
            ));
        }
        let worst = compared
            .iter()
            .map(|c| {
                if c.share.is_nan() {
                    f64::INFINITY
                } else {
                    c.share
                }
            })
            .collect::<Worst>();
        let power = compared
            .iter()
            .filter_map(|c| c.power)
            .collect::<Worst>()
            .value();
        let holds = worst.within(1.0) && power > 0.0 && power.is_finite();
        let figures = compared.iter().map(|c| c.figure).collect();
        Ok(Evidence {
            claim,
            figures,
            p,
            worst: worst.value(),
            power,
            holds,
        })
    }

    /// The comparisons: at least one.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// p-values of the comparisons, for claims by sampling; else none.
    pub fn p(&self) -> &[f64] {
        &self.p
    }

    /// The largest deviation, in units of the tolerance: at most 1 if the claim holds, infinite for
    /// what cannot be judged.
    pub fn worst(&self) -> f64 {
        self.worst
    }

    /// The smallest planted relative error that is caught with probability 0.999 at every audited
    /// time (noise-free: with certainty).
    pub fn power(&self) -> f64 {
        self.power
    }

    /// Whether the claim holds: within its tolerance, and an error could have broken it.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Whether it is within its tolerance only because no planted error could break it.
    pub fn is_blind(&self) -> bool {
        !self.holds && self.worst <= 1.0
    }
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
    /// `value` with the error, if it is planted in the claim `id`. `unit` is what the size is
    /// relative to: the value itself, or for entries that may vanish the size of their terms.
    pub(super) fn apply(plant: Option<&Plant>, id: &str, value: f64, unit: f64) -> f64 {
        match plant {
            Some(p) if p.id == id => value + p.size * unit,
            _ => value,
        }
    }
}
