//! Claims and what they are judged by: what most families of claims are made of.
//!
//! What a family claims is data, there before anything is computed; what is costly is computed
//! once, and only if it is asked for; judging is arithmetic, with or without a planted error, so
//! that an error can be planted in every claim in turn. A family is a file in
//! [`claims`](super::claims) and a line in its list.

use super::claim::{Claim, Compared, Evidence, Figure, Plant, share};
use super::slopes::{self, Measured};
use super::stats::{level, p_normal, shift_caught, z_chi_squared, z_of};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::worst::worse;

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

impl Near {
    /// A number that may be off by `share` of `unit`.
    pub fn relative(at: f64, found: f64, expected: f64, share: f64, unit: f64) -> Self {
        Self {
            at,
            found,
            expected,
            tolerance: share * unit,
            unit,
        }
    }
}

/// A number that only has to keep between two bounds: an inequality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// As in [`Near`].
    pub at: f64,
    /// What was found.
    pub found: f64,
    /// What it must not be below.
    pub low: f64,
    /// What it must not be above.
    pub high: f64,
    /// As in [`Near`].
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

/// A number held against a truth of more digits than f64 has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Time.
    pub at: f64,
    /// The crate's value.
    pub found: f64,
    /// The truth, in double words where the method has that many digits.
    pub truth: Dd,
    /// The size of the terms: the truth's own, or that of its largest terms where they cancel.
    pub scale: f64,
}

/// What a claim is judged by.
#[derive(Clone, Debug)]
pub enum Points {
    /// Without noise.
    Near(Vec<Near>),
    /// Without noise, inequalities.
    Bounds(Vec<Bound>),
    /// Without noise, against double words: the pairs and the relative tolerance.
    Pairs(Vec<Pair>, f64),
    /// By sampling: two-sided tests that share the run's false-alarm probability.
    Sampled(Vec<Sampled>),
    /// An order of convergence.
    Order(Measured),
}

/// A claim and its points.
#[derive(Clone, Debug)]
pub struct Check {
    claim: Claim,
    points: Points,
}

impl Check {
    /// Claims with their points, in the same order.
    ///
    /// # Errors
    /// More of the one than of the other.
    pub fn all(claims: Vec<Claim>, points: Vec<Points>) -> Result<Vec<Check>> {
        if claims.len() != points.len() {
            let name = claims
                .first()
                .map_or(String::new(), |c| format!(", {} and further", c.id));
            let why = format!(
                "{} claims{name}, but evidence for {}",
                claims.len(),
                points.len()
            );
            return Err(Error::Degenerate {
                what: "evidence for every claim".into(),
                why,
            });
        }
        Ok(claims
            .into_iter()
            .zip(points)
            .map(|(claim, points)| Check { claim, points })
            .collect())
    }

    /// Id of the claim.
    pub fn id(&self) -> &str {
        &self.claim.id
    }

    /// The claim.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The claim, for what it is about to be said.
    pub(super) fn claim_mut(&mut self) -> &mut Claim {
        &mut self.claim
    }

    /// Tests by sampling that the claim makes.
    pub fn tests(&self) -> usize {
        if let Points::Sampled(p) = &self.points {
            p.len()
        } else {
            0
        }
    }

    /// The claim, judged with or without a planted error; `tests` is the number of tests of the
    /// whole audit.
    ///
    /// # Errors
    /// A claim without points.
    pub fn evidence(&self, tests: usize, plant: Option<&Plant>) -> Result<Evidence> {
        let mut claim = self.claim.clone();
        let id = &self.claim.id;
        let compared = match &self.points {
            Points::Order(m) => return slopes::evidence(claim, m, plant),
            Points::Near(points) => points.iter().map(|p| p.judged(id, plant)).collect(),
            Points::Bounds(points) => points.iter().map(|p| p.judged(id, plant)).collect(),
            Points::Pairs(pairs, tolerance) => pairs
                .iter()
                .map(|p| p.judged(*tolerance, id, plant))
                .collect(),
            Points::Sampled(points) => {
                claim.tolerance = super::stats::in_words(tests);
                let alpha = level(tests);
                let (critical, caught) = (z_of(alpha), shift_caught(alpha));
                points
                    .iter()
                    .map(|p| p.judged(critical, caught, id, plant))
                    .collect()
            }
        };
        Evidence::new(claim, compared)
    }
}

impl Near {
    fn judged(&self, id: &str, plant: Option<&Plant>) -> Compared {
        let found = Plant::apply(plant, id, self.found, self.unit);
        let share = share(found - self.expected, self.expected, self.tolerance);
        Compared {
            figure: Figure {
                at: self.at,
                found,
                expected: self.expected,
                deviation: share,
                bounds: None,
            },
            share,
            power: Some((self.tolerance + (self.found - self.expected).abs()) / self.unit),
            p: None,
        }
    }
}

impl Bound {
    /// As a number near the middle, as far off as the bounds allow.
    fn judged(&self, id: &str, plant: Option<&Plant>) -> Compared {
        let half = 0.5 * (self.high - self.low);
        let near = Near {
            at: self.at,
            found: self.found,
            expected: self.low + half,
            tolerance: half,
            unit: self.unit,
        };
        let mut compared = near.judged(id, plant);
        compared.figure.bounds = Some([self.low, self.high]);
        compared
    }
}

impl Pair {
    fn judged(&self, tolerance: f64, id: &str, plant: Option<&Plant>) -> Compared {
        let found = Plant::apply(plant, id, self.found, self.found);
        let allowed = tolerance * self.scale;
        let share = share(
            (Dd::from(found) - self.truth).to_f64(),
            self.truth.hi,
            allowed,
        );
        let own = (Dd::from(self.found) - self.truth).abs().hi;
        Compared {
            figure: Figure {
                at: self.at,
                found,
                expected: self.truth.hi,
                deviation: share,
                bounds: None,
            },
            share,
            // an error of this size moves the value beyond the tolerance wherever the entry is not
            // about to cross zero
            power: (self.found.abs() > 1e-3 * self.scale)
                .then(|| (allowed + own) / self.found.abs()),
            p: None,
        }
    }
}

impl Sampled {
    fn judged(&self, critical: f64, caught: f64, id: &str, plant: Option<&Plant>) -> Compared {
        let expected = Plant::apply(plant, id, self.expected, self.unit);
        let (z, shift) = match self.law {
            Law::Normal(se) => ((self.found - expected) / se, self.unit / se),
            Law::ChiSquared(n) => (
                z_chi_squared(n * self.found / expected, n),
                (0.5 * n).sqrt() * self.unit / self.expected,
            ),
        };
        // a spread that is none makes every deviation small
        let lawful = match self.law {
            Law::Normal(se) => se > 0.0 && se.is_finite(),
            Law::ChiSquared(n) => n > 0.0 && n.is_finite() && self.expected > 0.0,
        };
        Compared {
            figure: Figure {
                at: self.at,
                found: self.found,
                expected,
                deviation: z,
                bounds: None,
            },
            share: if lawful {
                share(z, expected, critical)
            } else {
                f64::INFINITY
            },
            power: Some(caught / shift.abs()),
            p: Some(p_normal(z)),
        }
    }
}

/// The claims of one case by one method or family: computed together, and shared out among the
/// threads.
pub struct Part {
    /// The case: what stands before the first slash of its claims' ids.
    pub case: String,
    /// What is claimed.
    pub claims: Vec<Claim>,
    /// Tests by sampling that its claims make: known before they run, so that the level of each
    /// does not depend on which are asked for.
    pub tests: usize,
    /// Computes what the claims are judged by; the argument is the run's seed.
    pub run: Compute,
}

/// What a [`Part`] runs.
pub type Compute = Box<dyn Fn(u64) -> Result<Vec<Check>> + Send + Sync>;

impl Part {
    /// Runs, and sees that there is evidence for what is claimed, and for nothing else.
    ///
    /// # Errors
    /// Those of the run; a claim without evidence, evidence without a claim, another number of
    /// tests than was said.
    pub fn checks(&self, seed: u64) -> Result<Vec<Check>> {
        let checks = (self.run)(seed)?;
        let amiss = |what: &str, why: String| Error::Degenerate {
            what: format!("{what} of {}", self.case).into(),
            why,
        };
        complete(&self.claims, checks.iter().map(Check::id))
            .map_err(|why| amiss("evidence", why))?;
        let tests: usize = checks.iter().map(Check::tests).sum();
        if tests != self.tests {
            return Err(amiss(
                "the number of tests",
                format!("{tests} were made, {} announced", self.tests),
            ));
        }
        Ok(checks)
    }
}

/// Whether `found` are the ids of the claims, each once; else what is wrong.
pub(super) fn complete<'a>(
    claims: &[Claim],
    found: impl Iterator<Item = &'a str>,
) -> std::result::Result<(), String> {
    let mut claimed: Vec<&str> = claims.iter().map(|c| c.id.as_str()).collect();
    let mut found: Vec<&str> = found.collect();
    claimed.sort_unstable();
    found.sort_unstable();
    if let Some(twice) = found.windows(2).find(|w| w[0] == w[1]) {
        return Err(format!(
            "there is evidence twice for the claim {}",
            twice[0]
        ));
    }
    if let Some(id) = claimed.iter().find(|id| found.binary_search(id).is_err()) {
        return Err(format!("there is none for the claim {id}"));
    }
    match found.iter().find(|id| claimed.binary_search(id).is_err()) {
        Some(id) => Err(format!("there is some for {id}, which is not claimed")),
        None => Ok(()),
    }
}

/// Names and points for the moments of samples: `n` values of each channel against a Gaussian law,
/// as in [`stats`](super::stats): means and covariances are normal, variances chi-squared.
pub fn moments(
    at: f64,
    samples: &[Vec<f64>],
    mean: &[f64],
    cov: &[f64],
    names: &[&str],
) -> Vec<(String, Sampled)> {
    let k = mean.len();
    assert!(
        samples.len() == k
            && names.len() >= k
            && samples.iter().all(|s| s.len() == samples[0].len()),
        "samples of {k} channels"
    );
    let n = samples[0].len() as f64;
    let average = |f: &dyn Fn(usize) -> f64| (0..n as usize).map(f).sum::<f64>() / n;
    let about =
        |i: usize, j: usize| average(&|r| (samples[i][r] - mean[i]) * (samples[j][r] - mean[j]));
    let mut all = vec![];
    for i in 0..k {
        let sd = cov[i * k + i].sqrt();
        let found = average(&|r| samples[i][r]);
        let law = Law::Normal(sd / n.sqrt());
        all.push((
            format!("mean.{}", names[i]),
            Sampled {
                at,
                found,
                expected: mean[i],
                law,
                unit: worse(mean[i].abs(), sd),
            },
        ));
    }
    for i in 0..k {
        let (vi, found) = (cov[i * k + i], about(i, i));
        all.push((
            format!("cov.{0}{0}", names[i]),
            Sampled {
                at,
                found,
                expected: vi,
                law: Law::ChiSquared(n),
                unit: vi,
            },
        ));
        for j in i + 1..k {
            let (c, vj) = (cov[i * k + j], cov[j * k + j]);
            // the slope on channel i times its variance: given channel i exactly normal
            let rest = worse(vj - c * c / vi, 1e-12 * vj);
            let law = Law::Normal((rest / (n * found)).sqrt() * vi);
            let expected = c;
            let p = Sampled {
                at,
                found: about(i, j) / found * vi,
                expected,
                law,
                unit: (vi * vj).sqrt(),
            };
            all.push((format!("cov.{}{}", names[i], names[j]), p));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::claim::Method;

    fn check(method: Method, points: Points) -> Check {
        let claim = Claim::new("case/entry", "kernel.mean", method, String::new(), "");
        Check::all(vec![claim], vec![points]).unwrap().remove(0)
    }

    fn near(points: Vec<Near>) -> Check {
        check(Method::Law, Points::Near(points))
    }

    const NEAR: Near = Near {
        at: 0.5,
        found: 2.25,
        expected: 2.0,
        tolerance: 0.5,
        unit: 2.0,
    };

    const SAMPLED: Sampled = Sampled {
        at: 0.0,
        found: 1.0,
        expected: 1.1,
        law: Law::Normal(0.05),
        unit: 1.0,
    };

    /// Catches a planted error that is missed, a power that is not what it says.
    #[test]
    fn judged_as_said() {
        let holds = |found: f64| {
            near(vec![Near { found, ..NEAR }])
                .evidence(1, None)
                .unwrap()
                .holds()
        };
        assert!(holds(2.4) && !holds(2.6));
        let (c, plant) = (near(vec![NEAR]), |size: f64| Plant {
            id: "case/entry/law".into(),
            size,
        });
        let e = c.evidence(1, None).unwrap();
        assert_eq!((e.worst(), e.power()), (0.5, 0.375)); // 0.25 of 0.5 used; 0.5 + 0.25 relative to 2
        for size in [0.376, -0.376, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                !c.evidence(1, Some(&plant(size))).unwrap().holds(),
                "planted {size}"
            );
        }
        let e = check(Method::Sampled, Points::Sampled(vec![SAMPLED]))
            .evidence(1, None)
            .unwrap();
        assert!(e.holds() && (e.figures()[0].deviation + 2.0).abs() < 1e-12); // -0.1 of 0.05; rounding
        assert!((e.p()[0] - 0.0455).abs() < 1e-4); // two-sided, two standard errors: any table
    }

    /// Catches a tolerance that is not the stated one, to the last bit: an error of exactly its
    /// size holds, the next number does not, on either side.
    #[test]
    fn tolerances_are_met_to_the_bit() {
        let near_holds = |found: f64| {
            let e = near(vec![Near { found, ..NEAR }]).evidence(1, None);
            e.unwrap().holds()
        };
        let pair_holds = |found: f64| {
            let pair = Pair {
                at: 0.5,
                found,
                truth: Dd::from(2.0),
                scale: 4.0,
            };
            let points = Points::Pairs(vec![pair], 2f64.powi(-40));
            let e = check(Method::Doubling, points).evidence(1, None);
            e.unwrap().holds()
        };
        assert!(near_holds(2.5) && near_holds(1.5));
        assert!(!near_holds(2.5f64.next_up()) && !near_holds(1.5f64.next_down()));
        let allowed = 2f64.powi(-38);
        let (low, high) = (2.0 - allowed, 2.0 + allowed);
        assert!(pair_holds(high) && pair_holds(low));
        assert!(!pair_holds(high.next_up()) && !pair_holds(low.next_down()));
        let half = Near::relative(0.5, 2.25, 1.0, 0.25, 6.0);
        assert_eq!((half.tolerance, half.unit), (1.5, 6.0));
        let bound_holds = |found: f64| {
            let bound = Bound {
                at: 0.5,
                found,
                low: -1.0,
                high: 3.0,
                unit: 2.0,
            };
            let e = check(Method::Identity, Points::Bounds(vec![bound]));
            e.evidence(1, None).unwrap().holds()
        };
        assert!(bound_holds(-1.0) && bound_holds(3.0) && bound_holds(2.9));
        // the middle rounds
        assert!(!bound_holds(3.0 + 1e-15 * 4.0) && !bound_holds(-1.0 - 1e-15 * 4.0));
    }

    /// Catches a power of pairs that forgets the error there is, or that counts an entry that is
    /// about to cross zero; a plant that is planted in every claim; tests that are not counted.
    #[test]
    fn powers_plants_and_tests_are_the_claims_own() {
        let pair = |found: f64, scale: f64| Pair {
            at: 0.5,
            found,
            truth: Dd::from(found) - Dd::from(0.25),
            scale,
        };
        let pairs = vec![pair(2.0, 4.0), pair(1.0, 1000.0)];
        let c = check(Method::Doubling, Points::Pairs(pairs, 0.125));
        assert_eq!(c.evidence(1, None).unwrap().power(), 0.375);
        let other = Plant {
            id: "case/another/doubling".into(),
            size: 1e6,
        };
        assert_eq!(c.evidence(1, Some(&other)), c.evidence(1, None));
        assert_eq!(c.tests(), 0);
        assert_eq!(
            check(Method::Sampled, Points::Sampled(vec![SAMPLED; 3])).tests(),
            3
        );
    }

    /// Catches a level that does not depend on the number of tests, or on a root of it, where the
    /// verdict is made; one side alone; a statistic, degrees of freedom or a power other than said.
    /// Two-sided deviates of 1e-6 and 1e-9: 4.8916 and 6.1094 (any table).
    #[test]
    fn tests_by_sampling_share_the_level() {
        let judged = |found: f64, expected: f64, law: Law, tests: usize| {
            let p = Sampled {
                at: 0.5,
                found,
                expected,
                law,
                unit: 4.0,
            };
            check(Method::Sampled, Points::Sampled(vec![p]))
                .evidence(tests, None)
                .unwrap()
        };
        let n = 50.0;
        // Wilson and Hilferty: the cube root is normal with variance 2/(9 n)
        let spread = 2.0 / (9.0 * n);
        let chi = |z: f64| 2.0 * (1.0 - spread + z * f64::sqrt(spread)).powi(3);
        for (tests, critical) in [(1, 4.8916), (1000, 6.1094)] {
            for sign in [1.0, -1.0] {
                for (z, holds) in [(critical - 2e-4, true), (critical + 2e-4, false)] {
                    let z = sign * z;
                    let e = judged(0.5 + 0.25 * z, 0.5, Law::Normal(0.25), tests);
                    assert_eq!(e.holds(), holds, "{tests} {z}");
                    assert!((e.figures()[0].deviation - z).abs() < 1e-9);
                    let e = judged(chi(z), 2.0, Law::ChiSquared(n), tests);
                    assert_eq!(e.holds(), holds, "chi-squared {tests} {z}");
                    assert!((e.figures()[0].deviation - z).abs() < 1e-9);
                }
            }
            // power: caught with probability 0.999, 3.0902 beyond the edge
            let normal = judged(0.5, 0.5, Law::Normal(0.25), tests).power();
            assert!((normal - (critical + 3.0902) * 0.25 / 4.0).abs() < 1e-4);
            let squared = judged(2.0, 2.0, Law::ChiSquared(n), tests).power();
            assert!((squared - (critical + 3.0902) / (5.0 * 2.0)).abs() < 1e-4);
        }
    }

    /// Catches moments over another number or about another centre, a covariance that is not given
    /// the first channel, a wrong standard error or unit: four values of two channels by hand.
    #[test]
    fn moments_by_hand() {
        let samples = [vec![1.0, -1.0, 3.0, 1.0], vec![2.0, 0.0, 4.0, -2.0]];
        let all = moments(
            0.5,
            &samples,
            &[0.5, 1.0],
            &[4.0, 2.0, 2.0, 9.0],
            &["x", "v"],
        );
        let names: Vec<&str> = all.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["mean.x", "mean.v", "cov.xx", "cov.xv", "cov.vv"]);
        // deviations: x 0.5, -1.5, 2.5, 0.5; v 1, -1, 3, -3; squares 9 and 20, product 8 of four
        let rest = 9.0 - 1.0; // of v given x
        let error = |n: f64| match all[n as usize].1.law {
            Law::Normal(se) => se,
            Law::ChiSquared(n) => n,
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} {b}");
        for (i, found, expected, law, unit) in [
            (0, 1.0, 0.5, 1.0, 2.0),
            (1, 1.0, 1.0, 1.5, 3.0),
            (2, 2.25, 4.0, 4.0, 4.0),
            (3, 2.0 / 2.25 * 4.0, 2.0, f64::sqrt(rest / 9.0) * 4.0, 6.0),
            (4, 5.0, 9.0, 4.0, 9.0),
        ] {
            let p = all[i].1;
            near(p.found, found);
            near(p.expected, expected);
            near(error(i as f64), law);
            near(p.unit, unit);
            assert_eq!(p.at, 0.5);
        }
        // the last two of three are a pair like any other
        let three = [samples[0].clone(), samples[0].clone(), samples[1].clone()];
        let cov = [4.0, 0.5, 0.1, 0.5, 4.0, 2.0, 0.1, 2.0, 9.0];
        let last = moments(0.5, &three, &[0.5, 0.5, 1.0], &cov, &["a", "x", "v"]);
        let of_three = last.iter().find(|(name, _)| name == "cov.xv").unwrap();
        assert_eq!(of_three, &all[3]);
        // v is 3/2 of x: rounding is left
        let all = moments(
            0.5,
            &samples,
            &[0.5, 1.0],
            &[4.0, 6.0, 6.0, 9.0],
            &["x", "v"],
        );
        assert_eq!(all[3].1.law, Law::Normal((9e-12 / 9.0f64).sqrt() * 4.0));
    }

    /// Catches NaN, infinities, an absurd tolerance or a claim without points that hold: each
    /// alone, beside points that are right, in either place. "A judge is code, too."
    #[test]
    fn what_cannot_be_judged_does_not_hold() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let off = |c: &Check| c.evidence(7, None).map(|e| e.holds());
        let mut near_ones = vec![];
        let mut pairs = vec![];
        let mut sampled = vec![];
        let pair = Pair {
            at: 0.5,
            found: 2.0,
            truth: Dd::from(2.0),
            scale: 2.0,
        };
        for x in bad {
            near_ones.push(Near { found: x, ..NEAR });
            near_ones.push(Near {
                expected: x,
                ..NEAR
            });
            near_ones.push(Near {
                found: x,
                expected: x,
                ..NEAR
            });
            near_ones.push(Near {
                tolerance: x,
                ..NEAR
            });
            near_ones.push(Near {
                found: 2.0,
                tolerance: x,
                ..NEAR
            });
            pairs.push(Pair { found: x, ..pair });
            pairs.push(Pair {
                truth: Dd::from(x),
                ..pair
            });
            pairs.push(Pair {
                found: x,
                truth: Dd::from(x),
                ..pair
            });
            pairs.push(Pair { scale: x, ..pair });
            sampled.push(Sampled {
                found: x,
                ..SAMPLED
            });
            sampled.push(Sampled {
                expected: x,
                ..SAMPLED
            });
            sampled.push(Sampled {
                found: x,
                expected: x,
                ..SAMPLED
            });
            sampled.push(Sampled {
                law: Law::Normal(x),
                ..SAMPLED
            });
            sampled.push(Sampled {
                law: Law::ChiSquared(x),
                ..SAMPLED
            });
        }
        near_ones.push(Near {
            found: 2.0,
            tolerance: -1.0,
            ..NEAR
        });
        sampled.push(Sampled {
            law: Law::Normal(0.0),
            ..SAMPLED
        });
        sampled.push(Sampled {
            found: 1.1,
            law: Law::Normal(-0.05),
            ..SAMPLED
        });
        sampled.push(Sampled {
            expected: 0.0,
            law: Law::ChiSquared(100.0),
            ..SAMPLED
        });
        let both = |n: usize| if n == 0 { [true, false] } else { [false, true] };
        for order in 0..2 {
            let place = both(order);
            for x in &near_ones {
                let points = place.map(|bad| if bad { *x } else { NEAR }).to_vec();
                assert_ne!(off(&near(points)), Ok(true), "{x:?}");
            }
            for x in &pairs {
                let points = place.map(|bad| if bad { *x } else { pair }).to_vec();
                assert_ne!(
                    off(&check(Method::Doubling, Points::Pairs(points, 1e-13))),
                    Ok(true),
                    "{x:?}"
                );
            }
            for x in &sampled {
                let points = place.map(|bad| if bad { *x } else { SAMPLED }).to_vec();
                assert_ne!(
                    off(&check(Method::Sampled, Points::Sampled(points))),
                    Ok(true),
                    "{x:?}"
                );
            }
        }
        for empty in [Points::Near(vec![]), Points::Pairs(vec![], 1e-13)] {
            assert!(off(&check(Method::Law, empty)).is_err());
        }
        assert!(off(&check(Method::Sampled, Points::Sampled(vec![]))).is_err());
        // the right ones do hold
        assert_eq!(off(&near(vec![NEAR])), Ok(true));
        assert_eq!(
            off(&check(Method::Doubling, Points::Pairs(vec![pair], 1e-13))),
            Ok(true)
        );
        assert_eq!(
            off(&check(Method::Sampled, Points::Sampled(vec![SAMPLED]))),
            Ok(true)
        );
    }

    /// Catches an inequality whose bounds are exclusive, or that has only one of them, one that holds
    /// by NaN or by bounds in the wrong order, and a figure that does not say what it is.
    #[test]
    fn bounds_bound() {
        let bound = Bound {
            at: 0.5,
            found: 0.25,
            low: 0.0,
            high: 1.0,
            unit: 2.0,
        };
        let judged = |b: Bound| {
            check(Method::Identity, Points::Bounds(vec![b]))
                .evidence(1, None)
                .unwrap()
        };
        for (found, holds) in [
            (0.0, true),
            (1.0, true),
            (0.25, true),
            (-1e-12, false),
            (1.0 + 1e-12, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(judged(Bound { found, ..bound }).holds(), holds, "{found}");
        }
        for (low, high) in [
            (1.0, 0.0),
            (f64::NAN, 1.0),
            (0.0, f64::NAN),
            (0.0, f64::INFINITY),
            (0.25, 0.25),
        ] {
            let b = judged(Bound { low, high, ..bound });
            assert!(!b.holds(), "{low} {high}");
        }
        let e = judged(bound);
        // the farther bound is 3/4 away, in units of 2
        assert_eq!(
            (e.figures()[0].bounds, e.power()),
            (Some([0.0, 1.0]), 0.375)
        );
        assert_eq!(
            near(vec![NEAR]).evidence(1, None).unwrap().figures()[0].bounds,
            None
        );
        assert!(
            check(Method::Identity, Points::Bounds(vec![]))
                .evidence(1, None)
                .is_err()
        );
        for size in [0.376, -0.626] {
            let plant = Plant {
                id: "case/entry/identity".into(),
                size,
            };
            let e = check(Method::Identity, Points::Bounds(vec![bound])).evidence(1, Some(&plant));
            assert!(!e.unwrap().holds(), "{size}");
        }
    }

    /// Catches an order that holds by NaN, by nothing, or by a single number of steps.
    #[test]
    fn orders_need_errors() {
        let measured = |errors: &[f64]| Measured {
            name: "case/entry".into(),
            steps: (0..errors.len()).map(|i| 32 << i).collect(),
            errors: errors.to_vec(),
            size: 1.0,
            rounding: 1e-10,
            theory: 1.0,
            entry: "xx".into(),
        };
        let holds = |m: Measured| {
            check(Method::Order, Points::Order(m))
                .evidence(1, None)
                .map(|e| e.holds())
        };
        assert_eq!(holds(measured(&[4e-3, 2e-3, 1e-3])), Ok(true));
        assert_eq!(holds(measured(&[2e-3, 1e-3])), Ok(true));
        // the finest two tell
        assert_eq!(holds(measured(&[1.0, 0.9, 0.5, 2e-3, 1e-3])), Ok(true));
        assert_eq!(holds(measured(&[4e-3, 2e-3, 0.5e-3])), Ok(false));
        // no error to measure: exact, and said so
        assert_eq!(holds(measured(&[1e-14, 0.0, 1e-15])), Ok(true));
        for x in [f64::NAN, f64::INFINITY] {
            for at in 0..3 {
                let mut errors = [4e-3, 2e-3, 1e-3];
                errors[at] = x;
                assert_ne!(holds(measured(&errors)), Ok(true), "{errors:?}");
            }
            assert_ne!(
                holds(Measured {
                    size: x,
                    ..measured(&[1e-14, 0.0, 1e-15])
                }),
                Ok(true)
            );
        }
        assert!(holds(measured(&[])).is_err() && holds(measured(&[1e-3])).is_err());
        assert!(
            holds(Measured {
                steps: vec![32],
                ..measured(&[2e-3, 1e-3])
            })
            .is_err()
        );
    }

    /// Catches a tolerance of orders on one side only or of another size, and a power that is not
    /// the smallest error of the limit that breaks the claim: 1 % more than it breaks it, on one
    /// side at least, 1 % less does not; where there is no error, rounding is the tolerance.
    #[test]
    fn orders_are_judged_as_said() {
        let judged = |last: f64, plant: Option<f64>| {
            let m = Measured {
                name: "case/entry".into(),
                steps: vec![32, 64, 128],
                errors: vec![4.0 * last, 1e-3, last],
                size: 2.0,
                rounding: 1e-10,
                theory: 1.0,
                entry: "xx".into(),
            };
            let plant = plant.map(|size| Plant {
                id: "case/entry/order".into(),
                size,
            });
            check(Method::Order, Points::Order(m))
                .evidence(1, plant.as_ref())
                .unwrap()
        };
        // the order is log2(1e-3/last)
        for (order, holds) in [
            (1.0, true),
            (1.0999, true),
            (0.9001, true),
            (1.1001, false),
            (0.8999, false),
        ] {
            let e = judged(1e-3 * f64::exp2(-order), None);
            assert_eq!(e.holds(), holds, "{order}");
            assert_eq!(e.figures().len(), 3);
        }
        let power = judged(0.5e-3, None).power();
        // (1e-3 + s)/(0.5e-3 + s) = 2^0.9, s of size 2: the side on which more is needed
        let s = (1e-3 - 0.5e-3 * f64::exp2(0.9)) / (f64::exp2(0.9) - 1.0);
        assert!((power / (s / 2.0) - 1.0).abs() < 1e-9, "{power} {s}");
        assert!(!judged(0.5e-3, Some(1.01 * power)).holds());
        assert!(judged(0.5e-3, Some(0.99 * power)).holds());
        assert!(!judged(0.5e-3, Some(-1.01 * power)).holds());
        assert_eq!(judged(0.5e-3, None).figures()[1].found, 0.5e-3);
        // an order below the theory's has more room above: the other side is needed more
        let last = 1e-3 * f64::exp2(-0.95);
        let s = (1e-3 - last * f64::exp2(1.1)) / (f64::exp2(1.1) - 1.0);
        let power = judged(last, None).power();
        assert!((power / (-s / 2.0) - 1.0).abs() < 1e-9, "{power} {s}");
        // exact: 1e-10 of 2, of which half is used
        let exact = judged(1e-10, None);
        assert!(exact.holds() && (exact.power() / 1.5e-10 - 1.0).abs() < 1e-12);
        assert!(!judged(1e-10, Some(0.51e-10)).holds());
        assert!(judged(1e-10, Some(0.49e-10)).holds());
    }

    /// Catches a claim that goes without evidence, and evidence that is not announced.
    #[test]
    fn evidence_is_complete() {
        let claim = |name: &str| Claim::new(name, "kernel.mean", Method::Law, String::new(), "");
        let part = |claims: Vec<Claim>, found: Vec<Claim>, tests: usize| {
            let run = move |_: u64| {
                Check::all(
                    found.clone(),
                    found.iter().map(|_| Points::Near(vec![NEAR])).collect(),
                )
            };
            Part {
                case: "case".into(),
                claims,
                tests,
                run: Box::new(run),
            }
            .checks(0)
            .map(|c| c.len())
            .map_err(|e| e.to_string())
        };
        let (a, b) = (claim("case/a"), claim("case/b"));
        assert_eq!(
            part(vec![a.clone(), b.clone()], vec![b.clone(), a.clone()], 0),
            Ok(2)
        );
        assert!(
            part(vec![a.clone(), b.clone()], vec![a.clone()], 0)
                .unwrap_err()
                .contains("case/b")
        );
        assert!(
            part(vec![a.clone()], vec![a.clone(), b.clone()], 0)
                .unwrap_err()
                .contains("case/b")
        );
        assert!(
            part(vec![a.clone()], vec![a.clone(), a.clone()], 0)
                .unwrap_err()
                .contains("twice")
        );
        assert!(
            part(vec![a.clone()], vec![a.clone()], 1)
                .unwrap_err()
                .contains("tests")
        );
        assert!(Check::all(vec![a], vec![]).is_err());
    }
}
