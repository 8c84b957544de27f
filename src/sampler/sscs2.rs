//! SSCS with its kick at the middle of the step: of order 1 if that is all, of order 2 with a
//! predicted velocity.

use super::kick::{Kick, Kicks, Predictor};
use super::sscs::{Exact, exact, stationary_precision};
use super::{Grid, Memory, Stepper};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::score::Score;
use crate::small::Square;

/// Half an exact step of A, the kick S over the whole step with the score at the middle's time,
/// half an exact step of A; the rate enters by its integrals alone. A and S are those of `sscs`.
///
/// S is an ODE in the noised channels: `sscs-centred` takes Euler's step for it, `sscs2` a midpoint
/// predicted with the last step's kick (one evaluation), `sscs2-midpoint` the explicit midpoint
/// rule (two).
///
/// Draws: one per channel for each half. Formula: sampler.sscs_centred, sampler.sscs2,
/// sampler.sscs2_midpoint. Source: CLD, part on SSCS, for the splitting; the kicks are ours.
struct Centred {
    kicks: Kicks,
    steps: Vec<(Exact, Kick, Exact)>,
}

fn plan(
    diffusion: &Diffusion,
    grid: &Grid,
    predictor: Predictor,
    normal: Option<f64>,
) -> Result<Box<dyn Stepper>> {
    let k = diffusion.channels();
    let kicks = Kicks::new(
        diffusion,
        predictor,
        Square::zero(k),
        stationary_precision(diffusion).unwrap_or(Square::zero(k)),
        normal,
    );
    let mut steps = vec![];
    for (t, s) in grid.intervals() {
        let middle = 0.5 * (t + s);
        // refuses a process without a stationary law
        let first = exact(&diffusion.reversed(middle, t)?);
        steps.push((
            first,
            kicks.kick(diffusion, t, s, middle, 1.0)?,
            exact(&diffusion.reversed(s, middle)?),
        ));
    }
    Ok(Box::new(Centred { kicks, steps }))
}

pub(super) fn build_centred(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, Predictor::Start, None)
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, Predictor::Lagged, None)
}

pub(super) fn build_midpoint(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, Predictor::Midpoint, None)
}

/// `sscs2` with the slope that the score has for normal data of `deviation` solved exactly in the
/// kick, channel by channel:
///
/// ```text
/// s_i = -(C_t^-1)_ii u_i + rest,  C_t = deviation^2 phi phi^T + S_t     u_i <- e^-z u_i + tau (1 - e^-z)/z (rest at the middle)
/// ```
///
/// of order 2 for any deviation, since the rest is what the score leaves. A deviation near the
/// data's finest scale keeps long steps stable near the data, where the plain kick is not; 0 (data
/// in points) is the stiffest. One evaluation. Draws: one per channel for each half. Formula:
/// sampler.sscs2_exponential. Source: ours.
///
/// # Errors
/// A process without a stationary law, or whose noise is not constant in its clock; a deviation
/// that is negative or not finite.
pub fn exponential(diffusion: &Diffusion, grid: &Grid, deviation: f64) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, Predictor::Lagged, Some(deviation))
}

pub(super) fn build_exponential(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    exponential(diffusion, grid, 0.1)
}

impl Stepper for Centred {
    fn draws(&self) -> usize {
        2 * self.kicks.channels
    }

    fn kept(&self) -> usize {
        self.kicks.kept()
    }

    fn scratch(&self) -> usize {
        self.kicks.scratch()
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (first, kick, second) = &self.steps[i];
        let (early, late) = noise.split_at(self.kicks.channels);
        first.apply(u, early);
        self.kicks.apply(kick, i == 0, u, score, memory)?;
        second.apply(u, late);
        Ok(())
    }
}
