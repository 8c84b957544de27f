//! Variance-preserving diffusion.

use super::{LinearSde, Moments};
use crate::schedule::Span;
use crate::small::Mat;
use crate::special::one_minus_exp_neg;

/// VP: `dx = -x/2 b dt + sqrt(b) dW`.
///
/// Formula: vp.mean = e^(-tau/2), vp.cov = 1 - e^(-tau). Source: Song et al. 2021, App. B. Accuracy: 2 ulp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vp;

impl LinearSde<1> for Vp {
    fn name(&self) -> &'static str {
        "vp"
    }

    fn drift(&self) -> Mat<1> {
        Mat([[-0.5]])
    }

    fn noise(&self) -> Mat<1> {
        Mat([[1.0]])
    }

    fn stationary(&self) -> Option<Mat<1>> {
        Some(Mat([[1.0]]))
    }

    fn parity(&self) -> Option<[f64; 1]> {
        Some([1.0])
    }

    fn moments(&self, on: Span, _gamma: f64) -> Moments<1> {
        let q = one_minus_exp_neg(on.tau);
        let half = on.tau.scale(0.5);
        let m = (-half.hi).exp();
        let mean = m - m * half.lo;
        Moments { mean: Mat([[mean]]), cov: Mat([[q]]), det: q, factors: None }
    }
}
