//! The generic route from `(F, G G^T)` to the transition: a short Taylor series, then doubling.
//!
//! ```text
//! Phi(2h) = Phi(h)^2,   Q(2h) = Q(h) + Phi(h) Q(h) Phi(h)^T
//! ```
//!
//! The covariance only ever gains positive semidefinite terms. What is doubled is `Psi = Phi - I`
//! (`Psi(2h) = 2 Psi + Psi^2`), so that small times keep their relative accuracy. Everything runs in double words:
//! the relative error of each entry stays near `1e-31 * |F| tau`, which after rounding is none at all.

use super::Moments;
use crate::dd::Dd;
use crate::small::Mat;

/// Mean matrix and covariance in double words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law<const K: usize> {
    /// Mean matrix Phi.
    pub mean: Mat<K, Dd>,
    /// Covariance.
    pub cov: Mat<K, Dd>,
}

impl<const K: usize> Law<K> {
    /// The law of `u_t` when `u_s` has covariance `initial`: `Phi initial Phi^T + Q`.
    pub fn started_from(&self, initial: &Mat<K, Dd>) -> Law<K> {
        Law { mean: self.mean, cov: self.cov.plus(&self.mean.sandwich(initial)) }
    }

    /// Rounded, with the determinant (0 where the covariance is not positive definite).
    pub fn moments(&self) -> Moments<K> {
        let cov = self.cov.round();
        let det = match self.cov.cholesky() {
            Some(l) => (0..K).fold(Dd::ONE, |d, i| d * (l[(i, i)] * l[(i, i)])).to_f64(),
            None => 0.0,
        };
        let cov_lo = Mat::build(|i, j| (self.cov[(i, j)] - Dd::from(cov[(i, j)])).to_f64());
        Moments { mean: self.mean.round(), cov, cov_lo, det }
    }
}

/// The transition over a stretch `tau` of the process's own clock, from its drift and noise alone.
///
/// Formula: transition.mean = exp(F tau), transition.cov = integral of exp(F s) G G^T exp(F s)^T over [0, tau].
/// Accuracy: each entry within 1 ulp of f64 after rounding, for |F| tau up to 1e8.
pub fn doubling<const K: usize>(drift: &Mat<K, Dd>, noise: &Mat<K, Dd>, tau: Dd) -> Law<K> {
    let zero = Mat::<K>::ZERO.to_dd();
    let size = (0..K).map(|i| (0..K).map(|j| drift[(i, j)].hi.abs()).sum::<f64>()).fold(0.0, f64::max) * tau.hi;
    // |F| h <= 1/4: then 30 terms of either series are below 1e-33 of the first that is not zero.
    let steps = if size > 0.25 { (size * 4.0).log2().ceil() as i32 } else { 0 };
    let h = tau.scale(2f64.powi(-steps));

    let mut psi = zero;
    let mut term = drift.times(h);
    for n in 2..32 {
        psi = psi.plus(&term);
        term = term.matmul(drift).times(h / Dd::from(n as f64));
    }
    // Q = sum over n >= 1 of h^n/n! L^(n-1)(G G^T), L(D) = F D + D F^T
    let mut q = zero;
    let mut term = noise.times(h);
    for n in 2..38 {
        q = q.plus(&term);
        let fd = drift.matmul(&term);
        term = fd.plus(&fd.transpose()).times(h / Dd::from(n as f64));
    }
    let identity = Mat::<K>::identity().to_dd();
    for _ in 0..steps {
        q = q.plus(&identity.plus(&psi).sandwich(&q));
        psi = psi.plus(&psi).plus(&psi.matmul(&psi));
    }
    Law { mean: identity.plus(&psi), cov: q }
}
