//! The kick that splitting samplers share: the part of the reverse process that needs the score,
//! over one step.
//!
//! ```text
//! du/dtau = C u + w G G^T r(u, t),   r = s + S^-1 u   (the score beyond the stationary law's; 0 at the prior)
//! ```
//!
//! with `tau` the process's clock, run backward, and w = 1 (SDE) or 1/2 (flow). r depends on the
//! channels that the kick moves, so that Euler's step for it is of order 1 only, whatever the rest
//! of the splitting does.

use super::combine::{View, add_to, combine};
use super::{Memory, evaluate};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::score::gaussian::precision;
use crate::score::{Gaussian, Score};
use crate::small::Square;

/// Where in the kick r is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Predictor {
    /// At its start (Euler): order 1.
    Start,
    /// At its middle, as predicted with the r of the step before (0 in the first): one evaluation.
    /// That r is old by a step and its noise, which costs `O(h^2.5)` in a step and leaves order 2
    /// in law; see `docs/reference/samplers.md`.
    Lagged,
    /// At its middle, as predicted with r at its start: two evaluations (explicit midpoint).
    Midpoint,
}

impl Predictor {
    fn kept(self, noised: usize) -> usize {
        if self == Predictor::Lagged { noised } else { 0 }
    }

    /// Scores, r where it is not kept, the predicted state.
    fn scratch(self, noised: usize, channels: usize) -> usize {
        match self {
            Predictor::Start => 2 * noised + channels,
            Predictor::Lagged => noised + channels,
            Predictor::Midpoint => 2 * noised + channels,
        }
    }
}

/// What every kick of a plan has in common.
pub(super) struct Kicks {
    pub predictor: Predictor,
    pub channels: usize,
    pub noised: Vec<usize>,
    /// Deviation of the normal data whose score's slope is solved exactly, if any.
    normal: Option<f64>,
    /// C, row-major.
    linear: Square,
    /// `S^-1`, row-major.
    precision: Square,
}

/// One kick: the score's time, the step in the clock, and of each noised channel the gain
/// `w (G G^T)_ii` and the slope q of its score that is solved exactly: `r = rho - q u_i`, with rho
/// the part that is evaluated.
pub(super) struct Kick {
    t: f64,
    tau: f64,
    gain: Vec<f64>,
    slope: Vec<f64>,
}

impl Kick {
    /// `e^-z` and `tau (1 - e^-z) / z` for noised channel `l` over `tau`, `z = gain q tau`.
    fn decay(&self, l: usize, tau: f64) -> (f64, f64) {
        let z = self.gain[l] * self.slope[l] * tau;
        if z == 0.0 {
            (1.0, tau)
        } else {
            ((-z).exp(), -tau * (-z).exp_m1() / z)
        }
    }
}

impl Kicks {
    /// `linear` is C, `precision` is `S^-1`.
    pub fn new(
        diffusion: &Diffusion,
        predictor: Predictor,
        linear: Square,
        precision: Square,
        normal: Option<f64>,
    ) -> Kicks {
        Kicks {
            predictor,
            channels: diffusion.channels(),
            noised: diffusion.noised().to_vec(),
            normal,
            linear,
            precision,
        }
    }

    /// The kick of the step from `t` to `s` with the score at time `at`; `weight` is w.
    pub fn kick(
        &self,
        diffusion: &Diffusion,
        t: f64,
        s: f64,
        at: f64,
        weight: f64,
    ) -> Result<Kick> {
        let g = diffusion.noise(at);
        let gain = self.noised.iter().map(|i| weight * g[(*i, *i)]).collect();
        let slope = match self.normal {
            None => vec![0.0; self.noised.len()],
            Some(deviation) => {
                let (_, cov) = Gaussian::new(diffusion.clone(), 0.0, deviation)?.law(at)?;
                let inverse = precision(&cov).ok_or_else(|| Error::Degenerate {
                    what: "the kick's slope".into(),
                    why: format!("the covariance at t = {at:e} is singular"),
                })?;
                self.noised
                    .iter()
                    .map(|i| inverse[(*i, *i)] - self.precision[(*i, *i)])
                    .collect()
            }
        };
        Ok(Kick {
            t: at,
            tau: diffusion.schedule().integral(s, t)?,
            gain,
            slope,
        })
    }

    /// Slices of [`Memory`] that live from step to step.
    pub fn kept(&self) -> usize {
        self.predictor.kept(self.noised.len())
    }

    /// Slices of [`Memory`]'s scratch.
    pub fn scratch(&self) -> usize {
        self.predictor.scratch(self.noised.len(), self.channels)
    }

    /// Kicks `u`; `first` in the first step of a run. The memory is this kick's alone.
    pub fn apply(
        &self,
        kick: &Kick,
        first: bool,
        u: &mut [&mut [f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (k, m) = (self.channels, self.noised.len());
        let (scores, rest) = memory.scratch.split_at_mut(m);
        let (r, state) = if self.predictor == Predictor::Lagged {
            (&mut memory.kept[..], rest)
        } else {
            rest.split_at_mut(m)
        };
        let half = match self.predictor {
            Predictor::Start => 0.0,
            Predictor::Lagged => {
                if first {
                    r.iter_mut().for_each(|r| r.fill(0.0));
                }
                0.5 * kick.tau
            }
            Predictor::Midpoint => {
                self.rest(kick, &View::of(u), score, scores, r)?;
                0.5 * kick.tau
            }
        };
        for i in 0..k {
            let noised = self.noised.iter().position(|n| *n == i);
            let (decay, tau) = noised.map_or((1.0, half), |l| kick.decay(l, half));
            let mut terms: [(f64, &[f64]); 5] = [(0.0, &[]); 5];
            for j in 0..k {
                terms[j] = (
                    if i == j { decay } else { 0.0 } + tau * self.linear[(i, j)],
                    &*u[j],
                );
            }
            match noised {
                Some(l) if half != 0.0 => {
                    terms[k] = (tau * kick.gain[l], &r[l]);
                    combine(&mut state[i], &terms[..=k]);
                }
                _ => combine(&mut state[i], &terms[..k]),
            }
        }
        self.rest(kick, &View::of_vecs(state), score, scores, r)?;
        for (i, u) in u.iter_mut().enumerate() {
            let noised = self.noised.iter().position(|n| *n == i);
            let (decay, tau) = noised.map_or((1.0, kick.tau), |l| kick.decay(l, kick.tau));
            if decay != 1.0 {
                u.iter_mut().for_each(|u| *u *= decay);
            }
            for (j, state) in state.iter().enumerate() {
                add_to(u, tau * self.linear[(i, j)], state);
            }
            if let Some(l) = noised {
                add_to(u, tau * kick.gain[l], &r[l]);
            }
        }
        Ok(())
    }

    /// rho at `u`.
    fn rest(
        &self,
        kick: &Kick,
        u: &[&[f64]],
        score: &dyn Score,
        scores: &mut [Vec<f64>],
        r: &mut [Vec<f64>],
    ) -> Result<()> {
        evaluate(score, kick.t, u, scores)?;
        let k = self.channels;
        for (l, &i) in self.noised.iter().enumerate() {
            let mut terms: [(f64, &[f64]); 5] = [(1.0, &scores[l]); 5];
            for (j, u) in u.iter().enumerate() {
                terms[1 + j] = (
                    self.precision[(i, j)] + if i == j { kick.slope[l] } else { 0.0 },
                    u,
                );
            }
            combine(&mut r[l], &terms[..=k]);
        }
        Ok(())
    }
}
