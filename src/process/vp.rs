//! Variance-preserving diffusion.

use super::any::erase;
use super::entry::{Accuracy, Audited, Bound, Chain, ProcessEntry, Rate, Under, Vectors};
use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::small::{Mat, Scalar};
use crate::special::one_minus_exp_neg;

/// VP: `dx = -x/2 b dt + sqrt(b) dW`.
///
/// Formula: vp.mean = e^(-tau/2), vp.cov = 1 - e^(-tau). Source: Song et al. 2021, App. B.
/// Accuracy: 2 ulp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vp;

impl LinearSde<1> for Vp {
    fn name(&self) -> &'static str {
        ENTRY.name
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

    #[inline(always)]
    fn closed(&self, tau: Dd, _gamma: f64, _: Fast) -> Option<Moments<1>> {
        let q = one_minus_exp_neg(tau);
        let half = tau.scale(0.5);
        Some(Moments {
            mean: Mat([[decayed((-half.hi).exp(), half.lo)]]),
            cov: Mat([[q]]),
            det: q,
            factors: None,
        })
    }
}

/// `e^-x` from `e^-hi` and the low word of x. Generic for the certificate.
#[inline(always)]
pub(super) fn decayed<T: Scalar + Copy>(e: T, low: T) -> T {
    e - e * low
}

/// VP in the registry.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "vp",
    about: "variance preserving (Song et al. 2021)",
    rate: Rate::Linear(0.1, 19.9),
    accuracy: &[Accuracy {
        family: "vp",
        bound: Bound::Ulp(8.0),
        of: |_| true,
    }],
    vectors: &[Vectors {
        params: &[],
        rate: Rate::Linear(0.1, 19.9),
        under: Under::Only("dsm"),
        flags: &["TimeDependentBeta"],
    }],
    audit: &[Audited {
        samplers: true,
        likelihood: true,
        drawn: true,
        ..Audited::kernels("vp", &[])
    }],
    chain: Some(Chain::Ddpm),
    build: |_| erase(Vp),
    ..ProcessEntry::BASE
};
