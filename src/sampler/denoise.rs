//! The optional last step: Euler without noise from `eps` to 0.

use super::combine::{View, update};
use super::em::{euler, inputs};
use super::{Memory, Stepper, evaluate};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::score::Score;
use crate::small::Square;

/// `u + eps b(eps) (-F u + G G^T s(u, eps))`, no noise. A stepper of one step. Formula:
/// sampler.denoise. Source: CLD app. on samplers.
pub struct Denoise {
    noised: usize,
    eps: f64,
    state: Square,
    inputs: Vec<f64>,
}

impl Denoise {
    /// The step from `eps` to 0.
    ///
    /// # Errors
    /// Unless `0 < eps <= 1`.
    pub fn new(diffusion: &Diffusion, eps: f64) -> Result<Denoise> {
        if !(eps > 0.0 && eps <= 1.0) {
            return Err(Error::time("eps", eps, "0 < eps <= 1"));
        }
        let (state, inputs) = euler(diffusion, eps, eps * diffusion.rate(eps), 1.0, 0.0);
        Ok(Denoise {
            noised: diffusion.noised().len(),
            eps,
            state,
            inputs,
        })
    }
}

impl Stepper for Denoise {
    fn draws(&self) -> usize {
        0
    }

    fn scratch(&self) -> usize {
        self.noised
    }

    fn step(
        &self,
        _: usize,
        u: &mut [&mut [f64]],
        _: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        evaluate(score, self.eps, &View::of(u), &mut memory.scratch)?;
        // the noise's coefficients are 0: the scores stand in for it
        let scores = View::of_vecs(&memory.scratch);
        update(
            u,
            &self.state,
            &inputs(&memory.scratch, &scores)[..2 * self.noised],
            &self.inputs,
        );
        Ok(())
    }
}
