//! Predictor-corrector: Euler-Maruyama, then a step of Langevin dynamics at the new time.

use super::combine::{View, add_to, update};
use super::em::euler;
use super::plan::score_scale;
use super::{Grid, Memory, Stepper};
use crate::diffusion::Diffusion;
use crate::error::{Result, check};
use crate::score::Score;
use crate::small::Square;

struct Step {
    t: f64,
    end: f64,
    state: Square,
    inputs: Vec<f64>,
    /// `delta` of each noised channel; unused where it is scaled by norms.
    delta: Vec<f64>,
}

/// An Euler-Maruyama step from t to s, then for each noised channel a Langevin step under the law
/// at s:
///
/// ```text
/// u_i + delta s_i(u, s) + sqrt(2 delta) z
/// ```
///
/// Which channels may be corrected: Langevin dynamics of the channels whose score is known, given
/// the others, has their conditional law as its stationary one, and so leaves the joint law as it
/// is, for any positive delta (in the limit of small steps). For CLD that is v given x, and the
/// score of v is all it needs. A corrector of x would need the score of x, which a [`Score`] does
/// not give; so x is corrected only where it is noised (VP, VE, PSLD).
///
/// The size of the step:
///
/// ```text
/// ratio        delta_i = 1 / (2 / (ratio tau (G G^T)_ii) + (S_s^-1)_ii)         tau = B(s,t), S the kernel's covariance
/// norm-scaled  delta_i = 2 (r |z| / |s|)^2                                      norms over a row, the coordinates of a sample
/// ```
///
/// The first follows the predictor's noise, so that the corrector's own error vanishes with the
/// grid and weak order 1 remains; near the data it stops short of the kernel's variance, where an
/// explicit step is unstable. It does not look at the state, so the step is affine: this is `pc` in
/// the registry, with ratio 1. The second is the published one
/// ([`norm_scaled`](Self::norm_scaled)); Song et al. average the norms over the batch, which would
/// make samples depend on each other: here each row has its own. Its delta does not vanish with the
/// step, nor does its bias (for a Gaussian the variance is too large by about r^2, relatively): it
/// has no order.
///
/// Draws: the predictor's, then the corrector's, one each per noised channel. Formula: sampler.pc.
/// Source: Song et al. 2021, sec. on predictor-corrector; the ratio rule is ours.
pub struct PredictorCorrector {
    noised: Vec<usize>,
    steps: Vec<Step>,
    /// r and the coordinates of a row.
    norm_scaled: Option<(f64, usize)>,
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    Ok(Box::new(PredictorCorrector::new(diffusion, grid, 1.0)?))
}

impl PredictorCorrector {
    /// With steps of a fixed ratio to the predictor's noise; 0 turns the corrector off.
    ///
    /// # Errors
    /// Unless `0 <= ratio <= 100`; those of the kernel at the grid's times (its last must be above
    /// 0).
    pub fn new(diffusion: &Diffusion, grid: &Grid, ratio: f64) -> Result<Self> {
        check(
            "ratio",
            ratio,
            (0.0..=100.0).contains(&ratio),
            "0 <= ratio <= 100",
        )?;
        let noised = diffusion.noised().to_vec();
        let mut steps = vec![];
        for (t, end) in grid.intervals() {
            let (state, inputs) = euler(diffusion, t, (t - end) * diffusion.rate(t), 1.0, 1.0);
            let (tau, g, d) = (
                diffusion.schedule().integral(end, t)?,
                diffusion.noise(end),
                score_scale(diffusion, end)?,
            );
            let delta = noised
                .iter()
                .zip(d)
                .map(|(i, d)| 1.0 / (2.0 / (ratio * tau * g[(*i, *i)]) + d * d))
                .collect();
            steps.push(Step {
                t,
                end,
                state,
                inputs,
                delta,
            });
        }
        Ok(PredictorCorrector {
            noised,
            steps,
            norm_scaled: None,
        })
    }

    /// The published rule with signal-to-noise ratio `r` (0.16 in the paper), for samples of `dim`
    /// coordinates.
    ///
    /// # Errors
    /// As [`new`](Self::new); unless `0 < r <= 1` and `dim` is positive.
    pub fn norm_scaled(diffusion: &Diffusion, grid: &Grid, r: f64, dim: usize) -> Result<Self> {
        check("r", r, r > 0.0 && r <= 1.0, "0 < r <= 1")?;
        check("dim", dim as f64, dim > 0, "at least 1")?;
        Ok(PredictorCorrector {
            norm_scaled: Some((r, dim)),
            ..Self::new(diffusion, grid, 1.0)?
        })
    }
}

impl Stepper for PredictorCorrector {
    fn draws(&self) -> usize {
        2 * self.noised.len()
    }

    fn scratch(&self) -> usize {
        self.noised.len()
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (at, m) = (&self.steps[i], self.noised.len());
        let mut all: Vec<&mut [f64]> = memory.scratch.iter_mut().map(Vec::as_mut_slice).collect();
        score.score(at.t, &View::of(u), &mut all)?;
        let inputs: Vec<&[f64]> = all
            .iter()
            .map(|s| &**s)
            .chain(noise[..m].iter().copied())
            .collect();
        update(u, &at.state, &inputs, &at.inputs);
        score.score(at.end, &View::of(u), &mut all)?;
        for (l, &c) in self.noised.iter().enumerate() {
            let (s, z) = (&*all[l], noise[m + l]);
            let Some((r, dim)) = self.norm_scaled else {
                add_to(u[c], at.delta[l], s);
                add_to(u[c], (2.0 * at.delta[l]).sqrt(), z);
                continue;
            };
            for ((u, s), z) in u[c].chunks_mut(dim).zip(s.chunks(dim)).zip(z.chunks(dim)) {
                let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
                // a score of 0 (all of a row at the mode) gives no scale: no step
                let delta = if square(s) > 0.0 {
                    2.0 * r * r * square(z) / square(s)
                } else {
                    0.0
                };
                add_to(u, delta, s);
                add_to(u, (2.0 * delta).sqrt(), z);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{cld, grid, others, weak_error, weak_order};
    use super::*;

    /// Catches a corrector at the wrong time, a missing factor 2 in its noise, a sign: weak order
    /// 1, and a corrector many times as strong as the predictor (ratio 100) changes the error by a
    /// factor, not the target. Slope to 0.15 at finite steps.
    #[test]
    fn order_and_target() {
        for d in others().iter().chain([&cld()]) {
            let order = weak_order("pc", d, 128);
            assert!(
                (order - 1.0).abs() < 0.15,
                "{}: {order}",
                d.process().name()
            );
            let grid = grid(512);
            let strong = weak_error(&PredictorCorrector::new(d, &grid, 100.0).unwrap(), d, &grid);
            let none = weak_error(&PredictorCorrector::new(d, &grid, 0.0).unwrap(), d, &grid);
            println!("ratio 100: {strong:e}, none: {none:e}");
            assert!(strong < 0.05, "{}: {strong}", d.process().name());
        }
    }

    /// Catches norms over the wrong axis or a wrong factor: one step by hand, two rows of two
    /// coordinates, no predictor (its coefficients taken out by its own result).
    #[test]
    fn norm_scaled_step() {
        struct Minus;
        impl Score for Minus {
            fn score(&self, _: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
                out[0].iter_mut().zip(u[1]).for_each(|(o, v)| *o = -v);
                Ok(())
            }
        }
        let (d, grid) = (cld(), grid(10));
        let run = |p: PredictorCorrector| {
            let (mut x, mut v) = (vec![0.1, 0.2, 0.3, 0.4], vec![0.5, -1.0, 2.0, 0.25]);
            let (a, z) = ([0.0; 4], [1.0, -2.0, 0.5, 3.0]);
            let mut memory = Memory::new(&p, 4);
            p.step(0, &mut [&mut x, &mut v], &[&a, &z], &Minus, &mut memory)
                .unwrap();
            (x, v, z)
        };
        let (x0, v0, z) = run(PredictorCorrector::new(&d, &grid, 0.0).unwrap());
        let (x, v, _) = run(PredictorCorrector::norm_scaled(&d, &grid, 0.16, 2).unwrap());
        assert_eq!(x, x0);
        for row in [0, 2] {
            let (zz, ss) = (
                z[row].powi(2) + z[row + 1].powi(2),
                v0[row].powi(2) + v0[row + 1].powi(2),
            );
            let delta = 2.0 * 0.16 * 0.16 * zz / ss;
            for i in row..row + 2 {
                let hand = v0[i] - delta * v0[i] + (2.0 * delta).sqrt() * z[i];
                assert!((v[i] - hand).abs() < 1e-14, "{i}: {} {hand}", v[i]); // a few roundings
            }
        }
        for (r, word) in [
            (PredictorCorrector::new(&d, &grid, -1.0), "ratio"),
            (PredictorCorrector::norm_scaled(&d, &grid, 0.0, 2), "`r`"),
        ] {
            assert!(r.err().unwrap().to_string().contains(word));
        }
    }
}
