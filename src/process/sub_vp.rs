//! Sub-variance-preserving diffusion.

use super::any::erase;
use super::doubling::Law;
use super::entry::{Accuracy, Audited, Bound, ProcessEntry, Rate, Under, Vectors};
use super::linear::LinearSde;
use super::moments::Moments;
use super::vp::decayed;
use crate::dd::Dd;
use crate::schedule::Span;
use crate::small::Mat;
use crate::special::one_minus_exp_neg;

/// Sub-VP: `dx = -x/2 b dt + sqrt(b (1 - e^(-2 B(0,t)))) dW`.
///
/// The one diffusion here whose noise depends on time beyond `b`; its transition still has a closed
/// form in `B(0,s)`, `B(0,t)` and their difference `tau`:
///
/// Formula: sub_vp.mean = e^(-tau/2), sub_vp.cov = (1 - e^(-tau)) (1 - e^(-(B(0,s) + B(0,t)))).
/// Source: Song et al. 2021, App. B for s = 0, where it is (1 - e^(-tau))^2; the general interval
/// is ours. Accuracy: 4 ulp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SubVp;

/// `log (1 - e^-x)`, by whichever of two forms does not cancel.
fn log_one_minus_exp_neg(x: Dd) -> f64 {
    if x.hi < 0.7 {
        one_minus_exp_neg(x).ln()
    } else {
        (-(-x.hi).exp() * (1.0 - x.lo)).ln_1p()
    }
}

impl LinearSde<1> for SubVp {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn drift(&self) -> Mat<1> {
        Mat([[-0.5]])
    }

    /// Its limit for large time; see [`noise_at`](LinearSde::noise_at).
    fn noise(&self) -> Mat<1> {
        Mat([[1.0]])
    }

    fn noise_at(&self, start: f64) -> Mat<1> {
        Mat([[-(-2.0 * start).exp_m1()]])
    }

    fn stationary(&self) -> Option<Mat<1>> {
        Some(Mat([[1.0]]))
    }

    fn moments(&self, on: Span, _gamma: f64) -> Moments<1> {
        let q = one_minus_exp_neg(on.tau) * one_minus_exp_neg(on.start + on.start + on.tau);
        let half = on.tau.scale(0.5);
        Moments {
            mean: Mat([[decayed((-half.hi).exp(), half.lo)]]),
            cov: Mat([[q]]),
            det: q,
            factors: None,
        }
    }

    fn log_det(&self, on: Span, _gamma: f64, _m: &Moments<1>) -> f64 {
        [on.tau, on.start + on.start + on.tau]
            .map(log_one_minus_exp_neg)
            .iter()
            .sum()
    }

    /// The closed form in double words: the noise is not constant in the clock, so doubling does
    /// not apply.
    fn law(&self, on: Span, _gamma: f64) -> Law<1> {
        let one_minus_exp = |x: Dd| {
            let m1 = x.exp_m1();
            m1 / (m1 + Dd::ONE)
        };
        let cov = one_minus_exp(on.tau) * one_minus_exp(on.start + on.start + on.tau);
        let zero = Mat([[Dd::ZERO]]);
        Law {
            mean: Mat([[(-on.tau.scale(0.5)).exp()]]),
            cov: Mat([[cov]]),
            noise_factor: Mat([[cov.sqrt()]]),
            initial_factor: zero,
            added: Dd::ZERO,
            log_det: Some(
                [on.tau, on.start + on.start + on.tau]
                    .map(log_one_minus_exp_neg)
                    .iter()
                    .sum(),
            ),
        }
    }
}

/// Sub-VP in the registry.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "sub-vp",
    about: "sub-variance preserving (Song et al. 2021)",
    rate: Rate::Linear(0.1, 19.9),
    accuracy: &[Accuracy {
        family: "sub-vp",
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
        ..Audited::kernels("sub-vp", &[])
    }],
    build: |_| erase(SubVp),
    ..ProcessEntry::BASE
};
