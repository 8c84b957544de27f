//! The symmetric splitting CLD sampler (SSCS), as published.

use super::combine::{View, update};
use super::{Grid, Memory, Stepper, evaluate};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::process::AnyMoments;
use crate::score::Score;
use crate::small::{Square, by_channels};

/// One exact transition: mean matrix and a lower factor of the covariance.
pub(super) struct Exact {
    pub mean: Square,
    pub lower: Square,
}

impl Exact {
    /// `u <- Phi u + L xi`, with one draw per channel.
    pub fn apply(&self, u: &mut [&mut [f64]], noise: &[&[f64]]) {
        update(u, &self.mean, noise, self.lower.as_slice());
    }
}

/// A lower triangular root of the covariance of `m`, which may be singular.
pub(super) fn exact(m: &AnyMoments) -> Exact {
    let k = m.mean.k();
    // the determinant of the closed forms does not cancel; where it underflows, so does the noise
    let root =
        || by_channels!(k, up to 6, K => m.fixed::<K>().lower().0.into(), else Square::zero(k));
    Exact {
        mean: m.mean,
        lower: if m.det > 0.0 { root() } else { Square::zero(k) },
    }
}

/// The inverse of the stationary covariance, which is diagonal or small: solved in double words.
pub(super) fn stationary_precision(diffusion: &Diffusion) -> Option<Square> {
    crate::score::gaussian::precision(&diffusion.process().stationary()?)
}

struct Step {
    t: f64,
    first: Exact,
    /// The kick `u + h b(t) G G^T (s + S^-1 u)` as matrices of state and scores.
    kick: Square,
    kick_scores: Vec<f64>,
    second: Exact,
}

/// Half an exact step of the reversed linear part A, an Euler step of the rest of the score, half a
/// step of A:
///
/// ```text
/// A: the reverse SDE with the stationary law's score -S^-1 u      (exact: `sscs.analytic`)
/// S: u + h b(t) G G^T (s(u, t) + S^-1 u)                           score and rate at the step's start
/// ```
///
/// Draws: one per channel for each half. Formula: sampler.sscs. Source: CLD, part and appendix on
/// SSCS.
struct Sscs {
    channels: usize,
    noised: usize,
    steps: Vec<Step>,
}

fn plan(diffusion: &Diffusion, grid: &Grid, first_half_twice: bool) -> Result<Box<dyn Stepper>> {
    let (k, noised) = (diffusion.channels(), diffusion.noised().len());
    let precision = stationary_precision(diffusion).unwrap_or(Square::zero(k));
    let mut steps = vec![];
    for (t, s) in grid.intervals() {
        let middle = 0.5 * (t + s);
        let first = exact(&diffusion.reversed(middle, t)?);
        let second = if first_half_twice {
            exact(&diffusion.reversed(middle, t)?)
        } else {
            exact(&diffusion.reversed(s, middle)?)
        };
        let (g, tau) = (diffusion.noise(t), (t - s) * diffusion.rate(t));
        let mut kick = Square::identity(k);
        let mut kick_scores = vec![0.0; k * noised];
        for (l, &i) in diffusion.noised().iter().enumerate() {
            let gain = tau * g[(i, i)];
            (0..k).for_each(|j| kick[(i, j)] += gain * precision[(i, j)]);
            kick_scores[i * noised + l] = gain;
        }
        steps.push(Step {
            t,
            first,
            kick,
            kick_scores,
            second,
        });
    }
    Ok(Box::new(Sscs {
        channels: k,
        noised,
        steps,
    }))
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, false)
}

/// The variant whose second half step covers the first half's interval again: the same only where
/// beta is constant. Formula: sampler.sscs_first_half_twice.
pub(super) fn build_first_half_twice(
    diffusion: &Diffusion,
    grid: &Grid,
) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, true)
}

impl Stepper for Sscs {
    fn draws(&self) -> usize {
        2 * self.channels
    }

    fn scratch(&self) -> usize {
        self.noised
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let at = &self.steps[i];
        at.first.apply(u, &noise[..self.channels]);
        evaluate(score, at.t, &View::of(u), &mut memory.scratch)?;
        update(
            u,
            &at.kick,
            &View::of_vecs(&memory.scratch),
            &at.kick_scores,
        );
        at.second.apply(u, &noise[self.channels..]);
        Ok(())
    }
}
