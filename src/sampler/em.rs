//! Euler-Maruyama for the reverse SDE.

use super::combine::{View, update};
use super::{Grid, Memory, Stepper, evaluate};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::score::Score;
use crate::small::Square;

struct Step {
    t: f64,
    /// `1 - h b F`.
    state: Square,
    /// Coefficients of `[scores.., noise..]`, row by row.
    inputs: Vec<f64>,
}

/// `u + h b(t) (-F u + G G^T s) + sqrt(h b(t)) G xi`, score and rate at the step's start; one draw
/// per noised channel. Formula: sampler.em. Source: CLD app. on samplers.
struct EulerMaruyama {
    noised: usize,
    steps: Vec<Step>,
}

/// Coefficients of `-F u`, `G G^T s` and `G xi` for a step of `tau` in the process's clock that
/// starts at `t`: the matrices of [`update`] with inputs `[scores.., noise..]`. `flow` is 1, or 1/2
/// for the probability flow; `noise` scales the draws.
pub(super) fn euler(
    diffusion: &Diffusion,
    t: f64,
    tau: f64,
    flow: f64,
    noise: f64,
) -> (Square, Vec<f64>) {
    let (k, noised) = (diffusion.channels(), diffusion.noised());
    let (f, g) = (diffusion.drift(), diffusion.noise(t));
    let state = Square::build(k, |i, j| if i == j { 1.0 } else { 0.0 } - tau * f[(i, j)]);
    let m = noised.len();
    let mut inputs = vec![0.0; k * 2 * m];
    for (j, &i) in noised.iter().enumerate() {
        let variance = tau * g[(i, i)];
        inputs[i * 2 * m + j] = flow * variance;
        inputs[i * 2 * m + m + j] = noise * variance.sqrt();
    }
    (state, inputs)
}

/// `[scores.., noise..]`, of at most four channels, without allocation.
pub(super) fn inputs<'a>(scores: &'a [Vec<f64>], noise: &[&'a [f64]]) -> [&'a [f64]; 8] {
    let mut all: [&[f64]; 8] = [&[]; 8];
    for (slot, slice) in all.iter_mut().zip(
        scores
            .iter()
            .map(Vec::as_slice)
            .chain(noise.iter().copied()),
    ) {
        *slot = slice;
    }
    all
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    let steps = grid
        .intervals()
        .map(|(t, s)| {
            let (state, inputs) = euler(diffusion, t, (t - s) * diffusion.rate(t), 1.0, 1.0);
            Step { t, state, inputs }
        })
        .collect();
    Ok(Box::new(EulerMaruyama {
        noised: diffusion.noised().len(),
        steps,
    }))
}

impl Stepper for EulerMaruyama {
    fn draws(&self) -> usize {
        self.noised
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
        evaluate(score, at.t, &View::of(u), &mut memory.scratch)?;
        update(
            u,
            &at.state,
            &inputs(&memory.scratch, noise)[..2 * self.noised],
            &at.inputs,
        );
        Ok(())
    }
}
