//! How hard a score is to learn, over t: the paper's two measures, for any diffusion.
//!
//! ```text
//! xi(t) = E |s(u) - n(u)|^2        n the score of a normal in the same channels, u from the marginal at t
//! J(t)  = E |d (s - n) / du|_F     Frobenius norm of the Jacobian with respect to all channels
//! ```
//!
//! `s - n` is what a network has to represent beside the normal. The paper's text names "the Normal
//! distribution"; which variance is meant makes a difference at early times, so both readings are
//! here, as [`Normal`]. Source: CLD main text, complexity of the score.

use super::{Gaussian, MixtureScore};
use crate::data::Mixture;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::process::{Cld, Vp};
use crate::schedule::Schedule;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// The normal that scores are held against; its score is `-u_c / variance` in each noised channel
/// c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Normal {
    /// That of the prior: CLD `N(0, M)`, VP `N(0, 1)`.
    Prior,
    /// That of the time: a velocity's variance from x_0 = 0, as the mixed score has it; for a
    /// channel x, the variance that data of variance 1 have at t (VP: 1).
    Marginal,
}

impl Normal {
    /// Variance in each noised channel.
    fn variances(self, diffusion: &Diffusion, t: f64) -> Result<Vec<f64>> {
        let kernel = diffusion.kernel(t)?;
        let prior = diffusion.prior();
        let variance = |&c: &usize| match self {
            Normal::Prior => prior[(c, c)],
            Normal::Marginal if c == 0 => {
                kernel.cov[(0, 0)] + kernel.mean[(0, 0)] * kernel.mean[(0, 0)]
            }
            Normal::Marginal => kernel.cov[(c, c)],
        };
        Ok(diffusion.noised().iter().map(variance).collect())
    }
}

/// The two measures at a time, per point (all coordinates together), with the standard errors of a
/// Monte Carlo estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Complexity {
    /// xi(t).
    pub difference: f64,
    /// Its standard error; 0 where it is exact.
    pub difference_error: f64,
    /// J(t).
    pub jacobian: f64,
    /// Its standard error; 0 where it is exact.
    pub jacobian_error: f64,
}

impl Gaussian {
    /// Both measures, exactly, for one coordinate. With `u ~ N(m_t, C_t)` the residual of channel c
    /// is `a . u + b`, `a = -(C_t^-1)_c + e_c / variance`, so
    /// `xi = sum a C_t a^T + (m_tc / variance)^2` and `J^2 = sum |a|^2`. Formula:
    /// complexity.gaussian.
    ///
    /// # Errors
    /// As [`law`](Gaussian::law); a covariance that is singular.
    pub fn complexity(&self, normal: Normal, t: f64) -> Result<Complexity> {
        let (mean, cov) = self.law(t)?;
        let k = mean.len();
        let precision = super::gaussian::precision(&cov).ok_or_else(|| Error::Degenerate {
            what: "the complexity".into(),
            why: format!("the covariance at t = {t:e} is singular"),
        })?;
        let (mut difference, mut square) = (0.0, 0.0);
        for (&c, variance) in self
            .diffusion()
            .noised()
            .iter()
            .zip(normal.variances(self.diffusion(), t)?)
        {
            let a: Vec<f64> = (0..k)
                .map(|j| f64::from(j == c) / variance - precision[(c, j)])
                .collect();
            difference += (0..k * k)
                .map(|n| a[n / k] * cov[(n / k, n % k)] * a[n % k])
                .sum::<f64>()
                + (mean[c] / variance).powi(2);
            square += a.iter().map(|x| x * x).sum::<f64>();
        }
        Ok(Complexity {
            difference,
            difference_error: 0.0,
            jacobian: square.sqrt(),
            jacobian_error: 0.0,
        })
    }
}

impl MixtureScore {
    /// Both measures by `samples` draws of `u_t` from a seed, score and Jacobian exact at each.
    /// Formula: complexity.mixture.
    ///
    /// # Errors
    /// Those of [`Diffusion::kernel`]; fewer than 2 samples.
    pub fn complexity(
        &self,
        normal: Normal,
        t: f64,
        seed: u64,
        samples: usize,
    ) -> Result<Complexity> {
        if samples < 2 {
            return Err(Error::parameter(
                "samples",
                samples,
                "at least 2, for the standard error",
            ));
        }
        let (diffusion, d) = (self.diffusion(), self.dim());
        let u = self.drawn(t, seed, samples)?;
        let u: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
        let mut score: Vec<Vec<f64>> = u.iter().map(|c| vec![0.0; c.len()]).collect();
        self.joint_score(t, &u, &mut views_mut(&mut score))?;
        let (mut difference, mut square) = (vec![0.0; samples], vec![0.0; samples]);
        for (&c, variance) in diffusion
            .noised()
            .iter()
            .zip(normal.variances(diffusion, t)?)
        {
            for (r, s) in score[c].iter().enumerate() {
                difference[r / d] += (s + u[c][r] / variance).powi(2);
            }
            for i in 0..d {
                self.add_row_of_jacobian((c, i), t, &u, variance, &mut square)?;
            }
        }
        let estimate = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / samples as f64;
            let variance =
                values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (samples - 1) as f64;
            (mean, (variance / samples as f64).sqrt())
        };
        square.iter_mut().for_each(|s| *s = s.sqrt());
        let ((difference, difference_error), (jacobian, jacobian_error)) =
            (estimate(&difference), estimate(&square));
        Ok(Complexity {
            difference,
            difference_error,
            jacobian,
            jacobian_error,
        })
    }

    /// Samples of `u_t`, one vector per channel.
    fn drawn(&self, t: f64, seed: u64, samples: usize) -> Result<Vec<Vec<f64>>> {
        let (kernel, k) = (self.diffusion().kernel(t)?, self.diffusion().channels());
        let x = self.mixture().sample(seed, samples)?;
        let n = x.len();
        let mut rng = StdRng::seed_from_u64(!seed); // another stream than the data's
        let noise: Vec<Vec<f64>> = (0..k)
            .map(|_| (0..n).map(|_| rng.sample(StandardNormal)).collect())
            .collect();
        let state = |i: usize, r: usize| {
            kernel.mean[(i, 0)] * x[r]
                + (0..=i)
                    .map(|j| kernel.chol_lower[(i, j)] * noise[j][r])
                    .sum::<f64>()
        };
        Ok((0..k)
            .map(|i| (0..n).map(|r| state(i, r)).collect())
            .collect())
    }

    /// Adds the squares of one row of the residual's Jacobian, that of coordinate `i` of channel
    /// `c`, to each sample's sum.
    fn add_row_of_jacobian(
        &self,
        (c, i): (usize, usize),
        t: f64,
        u: &[&[f64]],
        variance: f64,
        square: &mut [f64],
    ) -> Result<()> {
        let d = self.dim();
        // the Hessian is symmetric: its product with a unit vector is the score's row
        let mut row: Vec<Vec<f64>> = u.iter().map(|c| vec![0.0; c.len()]).collect();
        let mut unit = row.clone();
        unit[c].iter_mut().skip(i).step_by(d).for_each(|e| *e = 1.0);
        let unit: Vec<&[f64]> = unit.iter().map(Vec::as_slice).collect();
        self.hessian_vector(t, u, &unit, &mut views_mut(&mut row))?;
        for (a, row) in row.iter().enumerate() {
            for (r, h) in row.iter().enumerate() {
                let normal = if a == c && r % d == i {
                    1.0 / variance
                } else {
                    0.0
                };
                square[r / d] += (h + normal).powi(2);
            }
        }
        Ok(())
    }
}

fn views_mut(channels: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    channels.iter_mut().map(Vec::as_mut_slice).collect()
}

/// Both measures of a mixture over some times, as a table in Markdown: VP beside the paper's CLD
/// under the same constant rate 4. In brackets the standard error.
///
/// # Errors
/// As [`MixtureScore::complexity`].
pub fn table(mixture: &Mixture, times: &[f64], seed: u64, samples: usize) -> Result<String> {
    let rate = || Schedule::constant(4.0);
    let vp = MixtureScore::new(Diffusion::of(Vp, rate()?, 0.0)?, mixture.clone());
    let cld = MixtureScore::new(
        Diffusion::of(Cld::new(0.25)?, rate()?, 0.04)?,
        mixture.clone(),
    );
    let mut text = String::from(
        "| t | VP xi | VP J | CLD xi, marginal normal | CLD J, marginal normal | CLD xi, prior | CLD J, prior |\n|---|---|---|---|---|---|---|\n",
    );
    for &t in times {
        text += &format!("| {t} ");
        for (score, normal) in [
            (&vp, Normal::Prior),
            (&cld, Normal::Marginal),
            (&cld, Normal::Prior),
        ] {
            let c = score.complexity(normal, t, seed, samples)?;
            for (x, error) in [
                (c.difference, c.difference_error),
                (c.jacobian, c.jacobian_error),
            ] {
                text += &format!("| {x:.2e} ({:.0}%) ", 100.0 * error / x);
            }
        }
        text += "|\n";
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Component, entry};

    fn both() -> [Diffusion; 2] {
        [
            Diffusion::paper().unwrap(),
            Diffusion::of(Vp, Schedule::constant(4.0).unwrap(), 0.0).unwrap(),
        ]
    }

    /// Catches a wrong residual, a Jacobian of the score alone or without the position's column, a
    /// variance for a deviation: VP in closed form, and CLD at the stationary law, where both
    /// measures vanish.
    #[test]
    fn closed_forms_of_vp_and_of_the_stationary_law() {
        let [cld, vp] = both();
        for t in [0.01, 0.2, 0.9] {
            for normal in [Normal::Prior, Normal::Marginal] {
                let c = Gaussian::new(vp.clone(), 0.6, 0.5)
                    .unwrap()
                    .complexity(normal, t)
                    .unwrap();
                let phi2 = (-4.0f64 * t).exp();
                let v = 0.25 * phi2 + 1.0 - phi2;
                // residual x - (x - phi m)/v, x ~ N(phi m, v)
                let want = [
                    (1.0 - 1.0 / v).powi(2) * v + phi2 * 0.36,
                    (1.0 - 1.0 / v).abs(),
                ];
                // the marginal variance of data of variance 1 is 1 for VP: the same normal; 1 - 1/v
                // loses three digits at late times
                assert!(
                    (c.difference - want[0]).abs() < 1e-12 && (c.jacobian - want[1]).abs() < 1e-12,
                    "{t}: {c:?} {want:?}"
                );
            }
        }
        // data N(0, 1) with velocities of variance M: stationary
        let stationary = Diffusion::of(
            Cld::new(0.25).unwrap(),
            Schedule::constant(4.0).unwrap(),
            1.0,
        )
        .unwrap();
        let c = Gaussian::new(stationary, 0.0, 1.0)
            .unwrap()
            .complexity(Normal::Prior, 0.3)
            .unwrap();
        assert!(c.difference.abs() < 1e-14 && c.jacobian < 1e-13, "{c:?}");
        // CLD as t -> 0: v is N(0, gamma M) whatever the data, so against the prior xi = (1 -
        // gamma)^2 / (gamma M) = 92.16
        let c = Gaussian::new(cld, 0.6, 0.5)
            .unwrap()
            .complexity(Normal::Prior, 1e-9)
            .unwrap();
        assert!((c.difference - 92.16).abs() < 1e-4, "{c:?}");
    }

    /// Catches sampling from another law than the marginal, a Hessian row of the wrong channel, a
    /// wrong standard error: one Gaussian as a mixture against the exact form, xi within five
    /// standard errors, J (constant here) to 1e-10; and two coordinates give twice xi and sqrt(2)
    /// J.
    #[test]
    fn sampling_agrees_with_the_exact_form() {
        for d in both() {
            for t in [0.05, 0.5] {
                for normal in [Normal::Prior, Normal::Marginal] {
                    let exact = Gaussian::new(d.clone(), 0.6, 0.5)
                        .unwrap()
                        .complexity(normal, t)
                        .unwrap();
                    let m = Mixture::new(vec![Component::round(1.0, vec![0.6, 0.6], 0.5)]).unwrap();
                    let c = MixtureScore::new(d.clone(), m)
                        .complexity(normal, t, 5, 4000)
                        .unwrap();
                    let off = (c.difference - 2.0 * exact.difference).abs();
                    assert!(
                        off < 5.0 * c.difference_error,
                        "{t} {normal:?}: {c:?} {exact:?}"
                    );
                    assert!(
                        c.difference_error < 0.1 * c.difference
                            && c.jacobian_error < 1e-10 * c.jacobian.max(1.0),
                        "{c:?}"
                    );
                    assert!(
                        (c.jacobian - 2f64.sqrt() * exact.jacobian).abs()
                            < 1e-10 * exact.jacobian.max(1.0),
                        "{c:?} {exact:?}"
                    );
                }
            }
        }
        assert!(
            MixtureScore::new(
                both()[0].clone(),
                (entry("diamond").unwrap().build)().unwrap()
            )
            .complexity(Normal::Prior, 0.5, 1, 1)
            .is_err()
        );
    }

    /// Catches a page that no longer says what the code computes; prints the table for the page.
    #[test]
    fn page_has_the_table() {
        let text = table(
            &(entry("diamond").unwrap().build)().unwrap(),
            &[0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0],
            1,
            2000,
        )
        .unwrap();
        println!("{text}");
        assert!(
            include_str!("../../docs/reference/score.md").contains(&text),
            "{text}"
        );
    }
}
