//! Scores: gradients of log-densities, as samplers, losses and likelihoods see them.
//!
//! | file | what |
//! |---|---|
//! | [`Score`], [`Counted`] | the one thing a sampler sees; a wrapper that counts evaluations |
//! | [`gaussian`] | the exact score for Gaussian data: affine |
//! | [`mixture`] | exact scores, log-densities and second derivatives of Gaussian mixtures |
//! | [`complexity`] | how hard a score is over t: difference to a normal's, Jacobian |
//! | [`param`] | what networks put out instead: eps, mixed scores, x0; conversions |
//!
//! # Example
//! ```
//! use cld_sgm::score::{Counted, Gaussian, Score};
//! use cld_sgm::Diffusion;
//!
//! // exact for data N(0.5, 0.1^2); any type with this one method is a score to the samplers
//! let score = Counted::new(Gaussian::new(Diffusion::paper()?, 0.5, 0.1)?);
//! let (x, v) = ([0.5, 0.6, -1.0], [0.0, 0.1, 0.2]); // three coordinates, a slice per channel
//! let mut of_v = [0.0; 3];
//! score.score(0.5, &[&x, &v], &mut [&mut of_v])?;
//! assert!(of_v.iter().all(|s| s.is_finite()));
//! assert_eq!(score.values(), 3);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod complexity;
pub mod gaussian;
pub mod mixture;
pub mod param;

pub use gaussian::Gaussian;
pub use mixture::MixtureScore;
pub use param::{Conversion, Network, Parametrisation, Parametrised};

use crate::error::Result;
use std::sync::atomic::{AtomicU64, Ordering};

/// The score of the noised channels at a time: what samplers need of a model.
///
/// A batch has one slice per channel, row-major (batch, dim). `out` has one slice per *noised*
/// channel of the diffusion, in order (CLD: v alone; PSLD: x and v; VP: x). All slices are of one
/// length.
pub trait Score: Sync {
    /// Writes the score at time `t` for the batch `u`.
    ///
    /// # Errors
    /// Of the model's own; a score that is not finite is found by the sampler's driver.
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()>;
}

impl<S: Score + ?Sized> Score for &S {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        (**self).score(t, u, out)
    }
}

/// Counts evaluations of values: `nfe` of a run over n values is [`values`](Self::values) divided
/// by n.
pub struct Counted<S> {
    inner: S,
    values: AtomicU64,
}

impl<S: Score> Counted<S> {
    /// Around `inner`, from 0.
    pub fn new(inner: S) -> Self {
        Counted {
            inner,
            values: AtomicU64::new(0),
        }
    }

    /// Number of values (batch times dim) evaluated so far.
    pub fn values(&self) -> u64 {
        self.values.load(Ordering::Relaxed)
    }
}

impl<S: Score> Score for Counted<S> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.values
            .fetch_add(u.first().map_or(0, |c| c.len() as u64), Ordering::Relaxed);
        self.inner.score(t, u, out)
    }
}
