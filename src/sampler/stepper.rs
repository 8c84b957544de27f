//! What a stepper is.

use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::score::Score;
use crate::small::MOST;

/// Orders of convergence in the step size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// Weak: the error of an expectation is O(h^weak).
    pub weak: f64,
    /// Strong, against the same Brownian path: the root mean square error is O(h^strong); `None`
    /// where the stepper's noise is not made of increments of a Brownian path.
    pub strong: Option<f64>,
}

/// A sampler planned for one diffusion and one grid: all coefficients are computed when it is
/// built.
///
/// `step(i, ..)` goes from `grid.times()[i]` to `grid.times()[i + 1]`. Noise is an argument, never
/// drawn inside: a step can be replayed, probed and coupled. No step allocates, but for the score's
/// own needs.
pub trait Stepper: Send + Sync {
    /// Slices of standard normals that each step takes, each as long as a channel. Their order is
    /// said by each stepper.
    fn draws(&self) -> usize;

    /// Slices that live from step to step (multistep methods), each as long as a channel.
    fn kept(&self) -> usize {
        0
    }

    /// Slices of scratch, each as long as a channel; they may hold rubbish before each step.
    fn scratch(&self) -> usize;

    /// Step `i` of the plan. `u` has one slice per channel, `noise` has [`draws`](Self::draws)
    /// slices, `memory` is one made by [`Memory::new`] and handed from step to step.
    ///
    /// # Errors
    /// Those of the score.
    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()>;
}

/// What a stepper keeps between steps, and its scratch.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Kept from step to step.
    pub kept: Vec<Vec<f64>>,
    /// Free for each step.
    pub scratch: Vec<Vec<f64>>,
}

impl Memory {
    /// For batches of `n` values (batch times dim).
    pub fn new(stepper: &dyn Stepper, n: usize) -> Memory {
        Memory {
            kept: vec![vec![0.0; n]; stepper.kept()],
            scratch: vec![vec![0.0; n]; stepper.scratch()],
        }
    }
}

/// The score into one vector per noised channel, without allocation.
pub(crate) fn evaluate(
    score: &dyn Score,
    t: f64,
    u: &[&[f64]],
    out: &mut [Vec<f64>],
) -> Result<()> {
    let n = out.len();
    let mut slices: [&mut [f64]; MOST] = Default::default();
    slices.iter_mut().zip(out).for_each(|(s, o)| *s = o);
    score.score(t, u, &mut slices[..n])
}

/// The refusal of a diffusion by a sampler.
pub(crate) fn unfit(sampler: &str, diffusion: &Diffusion, needs: &str) -> Error {
    Error::parameter(
        "sampler",
        format!("`{sampler}` for process `{}`", diffusion.process().name()),
        format!("a process {needs}"),
    )
}
