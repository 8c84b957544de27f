//! Variance-exploding diffusion.

use super::any::erase;
use super::entry::{Accuracy, Audited, Bound, Chain, ProcessEntry, Rate, Under, Vectors};
use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::small::Mat;

/// VE: `dx = sqrt(b) dW` with `b = d sigma^2 / dt` (the geometric schedule); its clock is the
/// variance itself.
///
/// Formula: ve.mean = 1, ve.cov = tau = sigma^2(t) - sigma^2(s). Source: Song et al. 2021, App. B.
/// The variance is counted from t = 0; there is no stationary law, and the prior is `N(0, B(0,1))`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ve;

impl LinearSde<1> for Ve {
    fn name(&self) -> &'static str {
        ENTRY.name
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

    #[inline(always)]
    fn closed(&self, tau: Dd, _gamma: f64, _: Fast) -> Option<Moments<1>> {
        let q = tau.hi;
        Some(Moments {
            mean: Mat([[1.0]]),
            cov: Mat([[q]]),
            det: q,
            factors: None,
        })
    }
}

/// VE in the registry.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "ve",
    about: "variance exploding (Song et al. 2021)",
    rate: Rate::Geometric(0.01, 50.0),
    accuracy: &[Accuracy {
        family: "ve",
        bound: Bound::Ulp(8.0),
        of: |_| true,
    }],
    vectors: &[Vectors {
        params: &[],
        rate: Rate::Geometric(0.01, 50.0),
        under: Under::Only("dsm"),
        flags: &["TimeDependentBeta"],
    }],
    audit: &[Audited {
        samplers: true,
        ..Audited::kernels("ve", &[])
    }],
    chain: Some(Chain::Smld),
    build: |_| erase(Ve),
    ..ProcessEntry::BASE
};
