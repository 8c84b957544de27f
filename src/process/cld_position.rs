//! CLD with noise in the position as well.

use super::any::erase;
use super::entry::Given::Number;
use super::entry::{Accuracy, Audited, Bound, Example, ProcessEntry, Rate, Under, Vectors};
use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::error::{Result, check};
use crate::small::{Mat, Scalar};
use crate::special::{exp_neg, p3_g, scaled_exp_neg};

/// Critically damped Langevin diffusion with position noise (Strasman et al. 2025):
///
/// ```text
/// dx = a^2 v b dt + epsilon sqrt(b) dW1
/// dv = (-x - 2 a v) b dt + sigma sqrt(b) dW2
/// ```
///
/// With `y = 2 a tau`, `A = epsilon^2 + a^2 sigma^2`, `P2 = P3 + e^-y y^2/2`, and initial velocity
/// variance `gamma` (the mass of this process is 1: HSM's `gamma` is the variance itself):
///
/// ```text
/// Phi  = e^(-a tau) [[1 + a tau, a^2 tau], [-tau, 1 - a tau]]
/// Q_xx = ((4 epsilon^2 + A) P3 + 2 epsilon^2 e^-y y (1 + y)) / (4a)
/// Q_xv = (a^2 sigma^2 e^-y y^2/2 - epsilon^2 (P2 + P3)) / (4a^2)
/// Q_vv = sigma^2 e^-y y / (2a) + A P3 / (4 a^3)
/// ```
///
/// The stationary law, here also the prior, is the limit P2 = P3 = 1, e^-y = 0; x and v are
/// correlated in it. The determinant is that of Q (its products in double words; it loses at most a
/// factor 5) plus the quadratic form `gamma phi^T adj(Q) phi`, phi the second column of Phi.
/// epsilon = 0, a = 1/sqrt(M), sigma^2 = 4 sqrt(M) is CLD.
///
/// Formula: cld_position.kernel. Source: Strasman et al. 2025 (the SDE); the forms are ours.
/// Accuracy: 1e-13 relative, entry by entry; S_xv, which crosses zero, against its largest term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CldPosition {
    a: f64,
    epsilon: f64,
    sigma: f64,
}

impl CldPosition {
    /// Rate `a`, position noise `epsilon`, velocity noise `sigma`.
    ///
    /// # Errors
    /// Unless `1e-6 <= a <= 1e6`, `epsilon` and `sigma` in [0, 1e6] and not both below 1e-12.
    pub fn new(a: f64, epsilon: f64, sigma: f64) -> Result<CldPosition> {
        check("a", a, (1e-6..=1e6).contains(&a), "1e-6 <= a <= 1e6")?;
        check(
            "epsilon",
            epsilon,
            (0.0..=1e6).contains(&epsilon),
            "0 <= epsilon <= 1e6",
        )?;
        check(
            "sigma",
            sigma,
            (0.0..=1e6).contains(&sigma),
            "0 <= sigma <= 1e6",
        )?;
        check(
            "epsilon + sigma",
            epsilon + sigma,
            epsilon + sigma >= 1e-12,
            "at least 1e-12 (some noise is needed)",
        )?;
        Ok(CldPosition { a, epsilon, sigma })
    }
}

/// `[Q_xx 4a, Q_xv 4a^2, Q_vv 4a^3]` and the largest term of Q_xv; generic for the proof in
/// `process::proof`. `z = a tau`, `x2 = epsilon^2`, `s2 = a^2 sigma^2`.
#[inline(always)]
pub(super) fn covariance<T: Scalar + Copy>(z: T, x2: T, s2: T, e2: T, p3: T) -> [T; 3] {
    let two = T::of(2.0);
    let (y, total) = (two * z, x2 + s2);
    let ey = e2 * y;
    let ey2 = two * (e2 * (z * z)); // e^-y y^2 / 2
    [
        (T::of(4.0) * x2 + total) * p3 + two * (x2 * (ey * (T::of(1.0) + y))),
        s2 * ey2 - x2 * (two * p3 + ey2),
        two * (s2 * ey) + total * p3,
    ]
}

/// `[Q_xx, Q_xv, Q_vv]` from [`covariance`].
#[inline(always)]
pub(super) fn unscaled<T: Scalar + Copy>([xx, xv, vv]: [T; 3], a: T) -> [T; 3] {
    let four_a = T::of(4.0) * a;
    [xx / four_a, xv / (four_a * a), vv / (four_a * a * a)]
}

/// The mean matrix, row by row, given `e = e^-z`.
#[inline(always)]
pub(super) fn mean<T: Scalar + Copy>(z: T, one_minus_z: T, a: T, tau: T, e: T) -> [T; 4] {
    [e * (T::of(1.0) + z), e * (a * z), -e * tau, e * one_minus_z]
}

/// What an initial velocity of variance 1 adds to the determinant: `phi^T adj(Q) phi`, a positive
/// quadratic form of Phi's second column `(f, g)`.
#[inline(always)]
pub(super) fn added<T: Scalar + Copy>([xx, xv, vv]: [T; 3], f: T, g: T) -> T {
    (vv * f * f - T::of(2.0) * (xv * f * g)) + xx * g * g
}

/// `[S_xx, S_xv, S_vv, det]` from Q, its determinant and what [`added`] gives.
#[inline(always)]
pub(super) fn started<T: Scalar + Copy>(
    [xx, xv, vv]: [T; 3],
    base: T,
    added: T,
    f: T,
    g: T,
    gamma: T,
) -> [T; 4] {
    [
        xx + gamma * (f * f),
        xv + gamma * (f * g),
        vv + gamma * (g * g),
        base + gamma * added,
    ]
}

impl LinearSde<2> for CldPosition {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn drift(&self) -> Mat<2> {
        Mat([[0.0, self.a * self.a], [-1.0, -2.0 * self.a]])
    }

    fn noise(&self) -> Mat<2> {
        self.noise_dd().round()
    }

    fn stationary(&self) -> Option<Mat<2>> {
        self.stationary_dd().map(|s| s.round())
    }

    fn stationary_dd(&self) -> Option<Mat<2, Dd>> {
        let a = Dd::from(self.a);
        let x2 = Dd::prod(self.epsilon, self.epsilon);
        let s2 = Dd::prod(self.a, self.sigma) * Dd::prod(self.a, self.sigma);
        let xv = -x2 / (a * a).scale(2.0);
        let xx = (x2 * Dd::from(5.0) + s2) / a.scale(4.0);
        Some(Mat([[xx, xv], [xv, (x2 + s2) / (a * a * a).scale(4.0)]]))
    }

    fn drift_dd(&self) -> Mat<2, Dd> {
        let a = self.a;
        Mat([[Dd::ZERO, Dd::prod(a, a)], [-Dd::ONE, Dd::from(-2.0 * a)]])
    }

    fn noise_dd(&self) -> Mat<2, Dd> {
        Mat([
            [Dd::prod(self.epsilon, self.epsilon), Dd::ZERO],
            [Dd::ZERO, Dd::prod(self.sigma, self.sigma)],
        ])
    }

    #[inline(always)]
    fn closed(&self, tau: Dd, gamma: f64, _: Fast) -> Option<Moments<2>> {
        Some(self.moments_of(tau, gamma))
    }
}

impl CldPosition {
    #[inline(always)]
    fn moments_of(&self, tau: Dd, gamma: f64) -> Moments<2> {
        let z = Dd::from(self.a) * tau;
        let a = self.a;
        let (x2, s2) = (
            self.epsilon * self.epsilon,
            (a * self.sigma) * (a * self.sigma),
        );
        if z.hi > 350.0 {
            // e^-y is about to underflow: the stationary law, but for the entries that vanish (S_xv
            // too, where epsilon is 0)
            let e = |c: f64| scaled_exp_neg(c, z);
            let mean = Mat([[e(1.0 + z.hi), e(a * z.hi)], [-e(tau.hi), e(1.0 - z.hi)]]);
            let fading =
                (s2 - x2) * (z.hi * z.hi) / (2.0 * a * a) + gamma * (a * z.hi) * (1.0 - z.hi);
            let xv = scaled_exp_neg(fading, z.scale(2.0)) - x2 / (2.0 * a * a);
            let (xx, vv) = ((5.0 * x2 + s2) / (4.0 * a), (x2 + s2) / (4.0 * a * a * a));
            let det = (Dd::prod(xx, vv) - Dd::prod(xv, xv)).to_f64();
            return Moments {
                mean,
                cov: Mat([[xx, xv], [xv, vv]]),
                det,
                factors: None,
            };
        }
        let (e, e2) = exp_neg(z.hi, z.lo);
        let p3 = p3_g([z.hi, z.lo], e2).0;
        let e2 = e2[0] + e2[1];
        let q = unscaled(covariance(z.hi, x2, s2, e2, p3), a);
        let mean = mean(z.hi, (1.0 - z.hi) - z.lo, a, tau.hi, e);
        let (f, g) = (mean[1], mean[3]);
        let base = (Dd::prod(q[0], q[2]) - Dd::prod(q[1], q[1])).to_f64();
        let [xx, xv, vv, det] = started(q, base, added(q, f, g), f, g, gamma);
        Moments {
            mean: Mat([[mean[0], mean[1]], [mean[2], mean[3]]]),
            cov: Mat([[xx, xv], [xv, vv]]),
            det,
            factors: None,
        }
    }
}

const fn vectors(params: Example, flags: &'static [&'static str]) -> Vectors {
    Vectors {
        params,
        rate: Rate::Linear(0.1, 19.9),
        under: Under::Both,
        flags,
    }
}

const NOISY: &[&str] = &["PositionNoise", "TimeDependentBeta"];

/// CLD with position noise in the registry.
#[rustfmt::skip]
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "cld-position-noise",
    about: "CLD with position noise (Strasman et al. 2025)",
    params: &["a", "epsilon", "sigma", "v0_var"],
    gamma: Some("v0_var"),
    defaults: &[("v0_var", 0.04)],
    rate: Rate::Constant(4.0),
    accuracy: &[Accuracy { family: "cld-position-noise", bound: Bound::Relative(1e-13), of: |_| true }],
    vectors: &[
        vectors(&[("a", Number(2.0)), ("epsilon", Number(0.0)), ("sigma", Number(2.0)), ("v0_var", Number(0.01))], &["TimeDependentBeta"]),
        vectors(&[("a", Number(2.0)), ("epsilon", Number(0.5)), ("sigma", Number(2.0)), ("v0_var", Number(0.01))], NOISY),
        vectors(&[("a", Number(1.0)), ("epsilon", Number(1.0)), ("sigma", Number(2.0)), ("v0_var", Number(0.01))], NOISY),
    ],
    audit: &[
        Audited { drawn: true, ..Audited::kernels("position-noise", &[("a", Number(2.0)), ("epsilon", Number(0.5)), ("sigma", Number(1.4)), ("v0_var", Number(0.01))]) },
        Audited { kernels: false, samplers: true, ..Audited::kernels("position-noise", &[("a", Number(2.0)), ("epsilon", Number(0.5)), ("sigma", Number(1.4)), ("v0_var", Number(0.04))]) },
    ],
    mass_inverted: |p, _, friction_kept| {
        if friction_kept { None } else { ENTRY.build(&p.clone().with("a", 1.0 / p.number("a").ok()?)).ok() }
    },
    build: |p| erase(CldPosition::new(p.number("a")?, p.number("epsilon")?, p.number("sigma")?)?),
    ..ProcessEntry::BASE
};
