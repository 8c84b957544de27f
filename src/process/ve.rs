//! Variance-exploding diffusion.

use super::{LinearSde, Moments};
use crate::schedule::Span;
use crate::small::Mat;

/// VE: `dx = sqrt(b) dW` with `b = d sigma^2 / dt` (the geometric schedule); its clock is the variance itself.
///
/// Formula: ve.mean = 1, ve.cov = tau = sigma^2(t) - sigma^2(s). Source: Song et al. 2021, App. B.
/// The variance is counted from t = 0; there is no stationary law, and the prior is `N(0, B(0,1))`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ve;

impl LinearSde<1> for Ve {
    fn name(&self) -> &'static str {
        "ve"
    }

    fn drift(&self) -> Mat<1> {
        Mat([[0.0]])
    }

    fn noise(&self) -> Mat<1> {
        Mat([[1.0]])
    }

    fn stationary(&self) -> Option<Mat<1>> {
        None
    }

    fn moments(&self, on: Span, _gamma: f64) -> Moments<1> {
        let q = on.tau.hi;
        Moments { mean: Mat([[1.0]]), cov: Mat([[q]]), det: q, factors: None }
    }
}
