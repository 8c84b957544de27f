//! The analytic part of SSCS: the reversed Hamiltonian and Ornstein-Uhlenbeck flow.

use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::schedule::{Schedule, Span};
use crate::small::Mat;

/// The name of every reversed process.
pub(super) const NAME: &str = "sscs-analytic";

/// The time reversal of a process in its stationary law: the part of the reverse SDE that needs no
/// network.
///
/// The reverse drift is `-F u + G G^T s(u)`. Writing the score as that of the stationary law S plus
/// a rest, `s = -S^-1 u + (s + S^-1 u)`, the linear part is
///
/// ```text
/// F' = -F - G G^T S^-1 = S F^T S^-1
/// ```
///
/// with the same noise: a linear SDE again, so its transition is exact. For CLD it is the forward
/// one with the sign of the coupling flipped. Formula: sscs.analytic. Source: CLD, part and
/// appendix on SSCS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reversed<P, const K: usize> {
    forward: P,
    drift: Mat<K, Dd>,
}

impl<P: LinearSde<K>, const K: usize> Reversed<P, K> {
    /// The reversal of `forward`.
    ///
    /// # Errors
    /// For a process without a stationary law (VE), or whose noise is not constant in its clock
    /// (sub-VP).
    pub fn new(forward: P) -> Result<Self> {
        let refuse = || {
            Error::parameter(
                "process",
                forward.name(),
                "one with a stationary law and noise constant in its clock",
            )
        };
        let s = forward.stationary().ok_or_else(refuse)?.to_dd();
        if forward.noise_at(0.0) != forward.noise() {
            return Err(refuse());
        }
        let l = s.cholesky().ok_or_else(refuse)?.lower_inverse();
        let drift = match forward.parity() {
            Some(p) => {
                let f = forward.drift_dd();
                Mat::build(|i, j| f[(i, j)].scale(p[i] * p[j]))
            }
            None => s
                .matmul(&forward.drift_dd().transpose())
                .matmul(&l.transpose().matmul(&l)),
        };
        Ok(Reversed { forward, drift })
    }
}

impl<P: LinearSde<K>, const K: usize> LinearSde<K> for Reversed<P, K> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn drift(&self) -> Mat<K> {
        self.drift.round()
    }

    fn noise(&self) -> Mat<K> {
        self.forward.noise()
    }

    fn stationary(&self) -> Option<Mat<K>> {
        self.forward.stationary()
    }

    fn stationary_dd(&self) -> Option<Mat<K, Dd>> {
        self.forward.stationary_dd()
    }

    fn mass(&self) -> f64 {
        self.forward.mass()
    }

    fn drift_dd(&self) -> Mat<K, Dd> {
        self.drift
    }

    fn noise_dd(&self) -> Mat<K, Dd> {
        self.forward.noise_dd()
    }

    fn mass_dd(&self) -> Dd {
        self.forward.mass_dd()
    }

    #[inline(always)]
    fn moments_at(&self, schedule: &Schedule, gamma: f64, t: f64, _: Fast) -> Moments<K> {
        match self.forward.parity() {
            Some(p) => self
                .forward
                .moments_at(schedule, gamma, t, Fast)
                .flip_signs(p),
            None => self.law(Span::to(schedule, t), gamma).moments(),
        }
    }

    fn moments(&self, on: Span, gamma: f64) -> Moments<K> {
        let Some(p) = self.forward.parity() else {
            return self.law(on, gamma).moments();
        };
        self.forward.moments(on, gamma).flip_signs(p)
    }
}
