//! A claim with its evidence at hand: what most families of claims are made of.
//!
//! What is costly is computed once; judging is arithmetic, with or without a planted error, so that an error can be planted
//! in every claim in turn. A family is a file in [`claims`](super::claims) and a line in its list.

use super::claim::{Claim, Evidence, Figure, Method, Plant};
use super::orders::{self, Measured};
use super::stats::{level, p_normal, shift_caught, z_chi_squared, z_of};
use crate::error::Result;

/// A number held against another without noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Time, or what else tells the points of a claim apart.
    pub at: f64,
    /// What was found.
    pub found: f64,
    /// What it should be.
    pub expected: f64,
    /// The largest difference that is allowed.
    pub tolerance: f64,
    /// What a planted error is relative to: the size of the number's terms.
    pub unit: f64,
}

/// The law of a statistic under the claim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// `found` is normal about `expected` with this standard error.
    Normal(f64),
    /// `n found / expected` is chi-squared with n degrees of freedom.
    ChiSquared(f64),
}

/// A number found by sampling, held against its expectation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// As in [`Near`].
    pub at: f64,
    /// What was found.
    pub found: f64,
    /// What it should be.
    pub expected: f64,
    /// The law of what was found.
    pub law: Law,
    /// As in [`Near`].
    pub unit: f64,
}

/// What a claim is judged by.
#[derive(Clone, Debug)]
pub enum Points {
    /// Without noise.
    Near(Vec<Near>),
    /// By sampling: two-sided tests that share the run's false-alarm probability.
    Sampled(Vec<Sampled>),
    /// An order of convergence.
    Order(Measured),
}

/// A claim and its points.
#[derive(Clone, Debug)]
pub struct Check {
    id: String,
    formula: &'static str,
    statement: String,
    method: Method,
    reason: String,
    points: Points,
}

impl Check {
    /// A claim without noise; `name` is `case/entry`.
    pub fn near(name: &str, formula: &'static str, method: Method, statement: String, reason: &str, points: Vec<Near>) -> Check {
        let id = format!("{name}/{}", method.name());
        Check { id, formula, statement, method, reason: reason.into(), points: Points::Near(points) }
    }

    /// A claim by sampling; `name` is `case/entry`.
    pub fn sampled(name: &str, formula: &'static str, statement: String, points: Vec<Sampled>) -> Check {
        let method = Method::Sampled;
        let id = format!("{name}/{}", method.name());
        Check { id, formula, statement, method, reason: String::new(), points: Points::Sampled(points) }
    }

    /// An order of convergence.
    pub fn order(m: Measured) -> Check {
        let reason = String::new();
        Check { id: m.id(), formula: m.formula, statement: String::new(), method: Method::Order, reason, points: Points::Order(m) }
    }

    /// Id of the claim.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Tests by sampling that the claim makes.
    pub fn tests(&self) -> usize {
        if let Points::Sampled(p) = &self.points { p.len() } else { 0 }
    }

    /// The claim, judged with or without a planted error; `tests` is the number of tests of the whole audit.
    pub fn evidence(&self, tests: usize, plant: Option<&Plant>) -> Evidence {
        let near = match &self.points {
            Points::Order(m) => return orders::evidence(m, plant),
            Points::Near(p) => Some(p),
            Points::Sampled(_) => None,
        };
        let mut e = Evidence {
            claim: Claim {
                id: self.id.clone(),
                formula: self.formula.into(),
                statement: self.statement.clone(),
                method: self.method,
                tolerance: self.reason.clone(),
            },
            figures: vec![],
            p: vec![],
            worst: 0.0,
            power: 0.0,
            holds: true,
        };
        // NaN must not hide
        let add = |e: &mut Evidence, at: f64, found: f64, expected: f64, deviation: f64, size: f64| {
            e.figures.push(Figure { at, found, expected, deviation });
            e.worst = if size.is_nan() { f64::INFINITY } else { e.worst.max(size) };
        };
        if let Some(points) = near {
            for p in points {
                let found = Plant::apply(plant, &self.id, p.found, p.unit);
                let error = (found - p.expected).abs();
                let deviation = if error == 0.0 { 0.0 } else { error / p.tolerance };
                add(&mut e, p.at, found, p.expected, deviation, deviation);
                e.power = e.power.max((p.tolerance + (p.found - p.expected).abs()) / p.unit);
            }
        } else if let Points::Sampled(points) = &self.points {
            let alpha = level(tests);
            let (critical, caught) = (z_of(alpha), shift_caught(alpha));
            e.claim.tolerance =
                format!("{critical:.2} standard errors: probability {alpha:.1e} of a false alarm, 1e-6 for all {tests} tests together");
            for p in points {
                let expected = Plant::apply(plant, &self.id, p.expected, p.unit);
                let (z, shift) = match p.law {
                    Law::Normal(se) => ((p.found - expected) / se, p.unit / se),
                    Law::ChiSquared(n) => (z_chi_squared(n * p.found / expected, n), (0.5 * n).sqrt() * p.unit / p.expected),
                };
                add(&mut e, p.at, p.found, expected, z, z.abs() / critical);
                e.p.push(p_normal(z));
                e.power = e.power.max(caught / shift.abs());
            }
        }
        e.holds = e.worst <= 1.0;
        e
    }
}

/// The claims of one case: what is computed together, and shared out among the threads.
pub struct Part {
    /// The case: what stands before the first slash of its claims' ids.
    pub case: String,
    /// Tests by sampling that its claims make: known before they run, so that the level of each does not depend on which
    /// are asked for.
    pub tests: usize,
    /// Computes the claims; the argument is the run's seed.
    pub run: Compute,
}

/// What a [`Part`] runs.
pub type Compute = Box<dyn Fn(u64) -> Result<Vec<Check>> + Send + Sync>;

/// Names and points for the moments of samples: `n` values of each channel against a Gaussian law, as in
/// [`stats`](super::stats): means and covariances are normal, variances chi-squared.
pub fn moments(at: f64, samples: &[Vec<f64>], mean: &[f64], cov: &[f64], names: &[&str]) -> Vec<(String, Sampled)> {
    let (k, n) = (mean.len(), samples.first().map_or(0, Vec::len) as f64);
    let average = |f: &dyn Fn(usize) -> f64| (0..n as usize).map(f).sum::<f64>() / n;
    let about = |i: usize, j: usize| average(&|r| (samples[i][r] - mean[i]) * (samples[j][r] - mean[j]));
    let mut all = vec![];
    for i in 0..k {
        let sd = cov[i * k + i].sqrt();
        let found = average(&|r| samples[i][r]);
        let law = Law::Normal(sd / n.sqrt());
        all.push((format!("mean.{}", names[i]), Sampled { at, found, expected: mean[i], law, unit: mean[i].abs().max(sd) }));
    }
    for i in 0..k {
        let (vi, found) = (cov[i * k + i], about(i, i));
        all.push((format!("cov.{0}{0}", names[i]), Sampled { at, found, expected: vi, law: Law::ChiSquared(n), unit: vi }));
        for j in i + 1..k {
            let (c, vj) = (cov[i * k + j], cov[j * k + j]);
            // the slope on channel i times its variance: given channel i exactly normal
            let rest = (vj - c * c / vi).max(1e-12 * vj);
            let law = Law::Normal((rest / (n * found)).sqrt() * vi);
            let expected = c;
            let p = Sampled { at, found: about(i, j) / found * vi, expected, law, unit: (vi * vj).sqrt() };
            all.push((format!("cov.{}{}", names[i], names[j]), p));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a NaN that holds, a planted error that is missed, a power that is not what it says.
    #[test]
    fn judged_as_said() {
        let near = |found: f64| {
            let p = Near { at: 0.5, found, expected: 2.0, tolerance: 0.5, unit: 2.0 };
            Check::near("case/entry", "kernel.mean", Method::Law, String::new(), "", vec![p])
        };
        assert!(near(2.4).evidence(1, None).holds && !near(2.6).evidence(1, None).holds && !near(f64::NAN).evidence(1, None).holds);
        let (c, plant) = (near(2.25), |size: f64| Plant { id: "case/entry/law".into(), size });
        let e = c.evidence(1, None);
        assert_eq!((e.worst, e.power), (0.5, 0.375)); // 0.25 of 0.5 used; 0.5 + 0.25 relative to 2
        assert!(!c.evidence(1, Some(&plant(0.376))).holds && !c.evidence(1, Some(&plant(-0.376))).holds);
        let p = Sampled { at: 0.0, found: 1.0, expected: 1.1, law: Law::Normal(0.05), unit: 1.0 };
        let e = Check::sampled("case/entry", "kernel.mean", String::new(), vec![p]).evidence(1, None);
        assert!(e.holds && (e.figures[0].deviation + 2.0).abs() < 1e-12); // -0.1 of 0.05; rounding
        assert!((e.p[0] - 0.0455).abs() < 1e-4); // two-sided, two standard errors: any table
    }
}
