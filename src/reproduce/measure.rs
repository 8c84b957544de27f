//! What is measured of a trained network, or of an exact score.
//!
//! A measure gives figures, named `MEASURE.ROW.COLUMN` (parts that are empty are left out):
//!
//! | measure | figures |
//! |---|---|
//! | `bits` | `bits`, the flow's or its bound; `bits.weighted`, with a velocity; `bits.excess` over the data's own law, of toys; `bits.nfe`. Bits per dimension of images, nats per point of toys |
//! | `distance` | `distance.SAMPLER.SPACING.NFE`; `distance.best.NFE`, the least of all samplers and spacings; `distance.floor`, data to data. Frechet distance of images, sliced W2 of toys |
//! | `gradient` | `gradient.variance.SHARE`: trace of the covariance of a batch's gradient, when so much of the training is done; `gradient.noise.SHARE`: that over the squared norm of its mean |
//! | `hardness` | by [`mod@crate::evaluate::hardness`], at time T: `hardness.output.T`, mean norm of the Jacobian of the network's output; `hardness.noise.T`, of the whole score as noise; `hardness.difference.T`, mean squared distance to the prior's score |

use crate::error::{Error, Result};
use crate::sampler;
use serde::{Deserialize, Serialize};

/// A measure, as a file has it: exactly one of the last four.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    name: Option<String>,
    /// Arms; all if empty.
    #[serde(default)]
    pub(super) arms: Vec<String>,
    /// Sets of data; all if empty.
    #[serde(default)]
    pub(super) on: Vec<String>,
    bits: Option<Bits>,
    distance: Option<Distance>,
    gradient: Option<Gradient>,
    hardness: Option<Hardness>,
}

/// Likelihoods: [`crate::evaluate::bits`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bits {
    /// Rows.
    pub n: usize,
    /// Of a step of the flow.
    pub tolerance: f64,
    /// Of the velocity, for each row.
    pub draws: usize,
    /// Of the divergence; 0: exact.
    pub probes: usize,
}

impl Default for Bits {
    fn default() -> Bits {
        Bits {
            n: 100,
            tolerance: 1e-3,
            draws: 4,
            probes: 1,
        }
    }
}

/// Distances of samples to the data: [`crate::evaluate::judge`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distance {
    /// Those that fit the process are run.
    pub samplers: Vec<String>,
    /// Evaluations of the score, that of the denoising step included.
    pub nfe: Vec<usize>,
    /// Of the times.
    #[serde(default = "quadratic")]
    pub spacings: Vec<String>,
    /// Samples.
    pub n: usize,
    /// Last time; from there a denoising step leads to 0.
    #[serde(default = "last")]
    pub eps: f64,
}

fn quadratic() -> Vec<String> {
    vec!["quadratic".into()]
}

fn last() -> f64 {
    1e-3
}

/// Noise of the gradient along the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradient {
    /// Shares of the training that are done.
    pub at: Vec<f64>,
    /// Batches.
    pub batches: usize,
}

/// How hard the score is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardness {
    /// Times.
    pub times: Vec<f64>,
    /// Rows.
    pub n: usize,
    /// Of the Jacobian; beyond 8 outputs.
    pub probes: usize,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Likelihoods.
    Bits(Bits),
    /// Distances.
    Distance(Distance),
    /// Noise of the gradient.
    Gradient(Gradient),
    /// How hard the score is.
    Hardness(Hardness),
}

/// A measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// First part of its figures' names.
    pub name: String,
    /// What it measures.
    pub kind: Kind,
    arms: Vec<String>,
    on: Vec<String>,
}

/// Values in a range, at least one, each once.
fn within<T: Copy + PartialOrd + std::fmt::Display>(
    field: &'static str,
    values: &[T],
    low: T,
    high: T,
) -> Result<()> {
    if values.is_empty() {
        return Err(Error::parameter(field, "none", "at least one"));
    }
    if let Some(x) = values.iter().find(|x| !(**x >= low && **x <= high)) {
        return Err(Error::parameter(field, x, format!("{low} to {high}")));
    }
    once(field, values)
}

/// A figure that is given twice would be one figure.
fn once<T: PartialEq + std::fmt::Display>(field: &'static str, values: &[T]) -> Result<()> {
    let twice = values
        .iter()
        .enumerate()
        .find(|(i, x)| values[..*i].contains(x));
    match twice {
        Some((_, x)) => Err(Error::parameter(field, format!("{x} twice"), "each once")),
        None => Ok(()),
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Bits(_) => "bits",
            Kind::Distance(_) => "distance",
            Kind::Gradient(_) => "gradient",
            Kind::Hardness(_) => "hardness",
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Kind::Bits(b) => {
                within("bits.n", &[b.n], 1, 1_000_000)?;
                within("bits.draws", &[b.draws], 2, 10_000)?;
                within("bits.probes", &[b.probes], 0, 65_536)?;
                within("bits.tolerance", &[b.tolerance], 1e-6, 1.0)
            }
            Kind::Distance(d) => {
                for s in &d.samplers {
                    sampler::entry(s)?;
                }
                for s in &d.spacings {
                    sampler::grid::Spacing::parse(s)?;
                }
                once("distance.samplers", &d.samplers)?;
                once("distance.spacings", &d.spacings)?;
                within("distance.samplers", &[d.samplers.len()], 1, 100)?;
                within("distance.spacings", &[d.spacings.len()], 1, 10)?;
                within("distance.n", &[d.n], 2, 1_000_000)?;
                within("distance.eps", &[d.eps], 1e-9, 0.1)?;
                within("distance.nfe", &d.nfe, 2, 100_000)
            }
            Kind::Gradient(g) => {
                within("gradient.batches", &[g.batches], 3, 4096)?;
                within("gradient.at", &g.at, 1e-3, 1.0)
            }
            Kind::Hardness(h) => {
                within("hardness.n", &[h.n], 2, 1_000_000)?;
                within("hardness.probes", &[h.probes], 2, 65_536)?;
                within("hardness.times", &h.times, 1e-9, 1.0)
            }
        }
    }
}

/// Column of samplers that choose their own number of evaluations.
pub const OWN: &str = "own";

/// Rows of how hard the score is.
pub const HARDNESS: [&str; 3] = ["output", "noise", "difference"];

/// Row of the gradient's variance: one figure for each time at which it is measured.
pub const VARIANCE: &str = "variance";

/// The least rows of a measure that is shortened.
const LEAST: usize = 16;

impl Spec {
    /// The measure that it says.
    ///
    /// # Errors
    /// None or several of the four; values out of range.
    pub fn measure(self) -> Result<Measure> {
        let given = [
            self.bits.map(Kind::Bits),
            self.distance.map(Kind::Distance),
            self.gradient.map(Kind::Gradient),
            self.hardness.map(Kind::Hardness),
        ];
        let mut given: Vec<Kind> = given.into_iter().flatten().collect();
        let (Some(kind), true) = (given.pop(), given.is_empty()) else {
            return Err(Error::parameter(
                "measure",
                "not one",
                "exactly one of bits, distance, gradient, hardness",
            ));
        };
        kind.check()?;
        Ok(Measure {
            name: self.name.unwrap_or_else(|| kind.name().into()),
            kind,
            arms: self.arms,
            on: self.on,
        })
    }
}

impl Measure {
    /// Whether it is taken of this arm on this set of data. Of an exact score, distances
    /// alone are.
    pub fn of(&self, arm: &str, exact: bool, on: &str) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|l| l == name);
        let fits = !exact || matches!(self.kind, Kind::Distance(_));
        fits && named(&self.arms, arm) && named(&self.on, on)
    }

    /// The same with fewer rows.
    pub fn shortened(&self, scale: f64) -> Measure {
        let mut m = self.clone();
        let less = |n: &mut usize| {
            let fewer = (*n as f64 * scale).ceil() as usize;
            *n = fewer.clamp(LEAST.min(*n), *n);
        };
        match &mut m.kind {
            Kind::Bits(b) => less(&mut b.n),
            Kind::Distance(d) => less(&mut d.n),
            Kind::Hardness(h) => less(&mut h.n),
            Kind::Gradient(_) => (),
        }
        m
    }

    /// The share of the full measure's work that this one is, if it is a shorter one of it.
    pub fn share_of(&self, full: &Measure) -> f64 {
        let rows = |m: &Measure| match &m.kind {
            Kind::Bits(b) => b.n,
            Kind::Distance(d) => d.n,
            Kind::Hardness(h) => h.n,
            Kind::Gradient(g) => g.batches,
        };
        rows(self) as f64 / rows(full) as f64
    }

    /// Names of the figures that it may give; which of them depends on the process and the data.
    pub fn figures(&self) -> Vec<String> {
        let name = |row: &str, column: &str| figure(&self.name, row, column);
        match &self.kind {
            Kind::Bits(_) => ["", "weighted", "excess", "nfe"]
                .map(|r| name(r, ""))
                .to_vec(),
            Kind::Distance(d) => {
                let columns: Vec<String> = d.nfe.iter().map(usize::to_string).collect();
                let mut all = vec![name("floor", "")];
                all.extend(columns.iter().map(|c| name("best", c)));
                for (sampler, spacing) in rows(d) {
                    let row = format!("{sampler}.{spacing}");
                    if sampler::entry(sampler).is_ok_and(|e| e.evaluations == 0) {
                        all.push(name(&row, OWN));
                    } else {
                        all.extend(columns.iter().map(|c| name(&row, c)));
                    }
                }
                all
            }
            Kind::Gradient(g) => [VARIANCE, "noise"]
                .iter()
                .flat_map(|r| g.at.iter().map(|t| name(r, &t.to_string())))
                .collect(),
            Kind::Hardness(h) => HARDNESS
                .iter()
                .flat_map(|r| h.times.iter().map(|t| name(r, &t.to_string())))
                .collect(),
        }
    }
}

/// Samplers with spacings.
pub fn rows(d: &Distance) -> Vec<(&str, &str)> {
    d.samplers
        .iter()
        .flat_map(|s| d.spacings.iter().map(move |g| (s.as_str(), g.as_str())))
        .collect()
}

/// A figure's name.
pub fn figure(measure: &str, row: &str, column: &str) -> String {
    let parts = [measure, row, column];
    let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(".")
}
