//! The exact law of a scheme on a linear SDE, read off the scheme's own step: what is proved is the
//! code that runs.
//!
//! On a linear SDE a step is affine in state and noise, `u' = A u + C xi`. The matrices are found
//! by calling the step on zero and unit vectors; mean and covariance then follow the recursion
//! `mean' = A mean`, `cov' = A cov A^T + C C^T`, without noise. So discretisation error (this law
//! against the closed form) and sampling error (simulated paths against this law) are separated.

use super::schemes::{Scheme, Sde};
use crate::small::Mat;

/// One step `u' = A u + C xi`; `noise[d]` is the part of C that multiplies the d-th draw of every
/// channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineStep<const K: usize> {
    /// A.
    pub state: Mat<K>,
    /// C, one matrix per draw.
    pub noise: [Mat<K>; 2],
}

/// The step of `scheme` over `[s, t]` as matrices. Formula: scheme.law.
pub fn affine_step<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    s: f64,
    t: f64,
) -> AffineStep<K> {
    let zero = [0.0; K];
    let step = |u: [f64; K], noise: [[f64; K]; 2]| scheme.step(sde, s, t, u, noise);
    debug_assert!(
        step(zero, [zero; 2]) == zero,
        "a linear step keeps the origin"
    );
    AffineStep {
        state: Mat::of_map(|e| step(e, [zero; 2])),
        noise: [
            Mat::of_map(|e| step(zero, [e, zero])),
            Mat::of_map(|e| step(zero, [zero, e])),
        ],
    }
}

/// The law of `u_n` after steps over a grid: `u_n = mean u_0 + noise`, noise with covariance `cov`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchemeLaw<const K: usize> {
    /// Product of the steps' A.
    pub mean: Mat<K>,
    /// Covariance of the noise.
    pub cov: Mat<K>,
}

impl<const K: usize> SchemeLaw<K> {
    /// No step yet.
    pub const START: Self = SchemeLaw {
        mean: Mat::IDENTITY,
        cov: Mat::ZERO,
    };

    /// After one more step.
    pub fn after(&self, s: &AffineStep<K>) -> Self {
        let mut cov = s.state.sandwich(&self.cov);
        for c in &s.noise {
            cov = cov.plus(&c.matmul(&c.transpose()));
        }
        SchemeLaw {
            mean: s.state.matmul(&self.mean),
            cov,
        }
    }

    /// Covariance of `u_n` when `u_0` has the diagonal covariance `initial`, independent of the
    /// noise.
    pub fn started_from(&self, initial: [f64; K]) -> Mat<K> {
        self.mean.sandwich(&Mat::diagonal(initial)).plus(&self.cov)
    }
}

/// The law at every time of `grid` (increasing, from its first time on).
pub fn scheme_law<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    grid: &[f64],
) -> Vec<SchemeLaw<K>> {
    let mut law = SchemeLaw::START;
    let mut all = vec![law];
    for w in grid.windows(2) {
        law = law.after(&affine_step(scheme, sde, w[0], w[1]));
        all.push(law);
    }
    all
}
