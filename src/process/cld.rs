//! Critically damped Langevin diffusion: the closed form that the paper is about, without cancellation.

use super::{LinearSde, Moments};
use crate::dd::{Dd, two_prod};
use crate::error::{Result, check};
use crate::schedule::Span;
use crate::small::{Mat, Scalar};
use crate::special::{exp_neg, p3_g, scaled_exp_neg};

/// CLD at critical damping, `Gamma = 2 sqrt(M)`:
///
/// ```text
/// dx = v/M b dt
/// dv = (-x - Gamma/M v) b dt + sqrt(2 Gamma b) dW,      prior x ~ N(0, 1), v ~ N(0, M)
/// ```
///
/// With `z = tau / sqrt(M)` and `y = 2 z`, over an interval with `tau = integral of b`:
///
/// ```text
/// Phi = e^-z [[1 + z, tau/M], [-tau, 1 - z]]
/// S_xx = P3(y) + gamma e^-y z^2
/// S_xv = sqrt(M) e^-y z (gamma + (2 - gamma) z)
/// S_vv = M (P3(y) + 4 z e^-y + gamma e^-y (1 - z)^2)
/// det  = M (P3^2 + y e^-y G(y) + gamma e^-y (P3 (z^2 + (1-z)^2) + 4 z^4 e^-y))
/// ```
///
/// `gamma = 0` is DSM (and the transition), `gamma > 0` HSM. All terms are positive for gamma <= 2, so nothing
/// cancels, the determinant included. See [`p3_g`] for P3 and G.
///
/// Formula: cld.kernel. Source: CLD sec. 3 and App. B.1 (there in a form that subtracts nearly equal numbers).
/// Accuracy: 8 ulp for every entry, its Cholesky factors, determinant, inverse and `ell`, for t in [1e-12, 1] and M
/// in [1e-4, 1e4]; entries that cross zero are measured against their largest term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cld {
    mass: f64,
    sqrt_mass: Dd,
    inv_sqrt_mass: Dd,
}

impl Cld {
    /// CLD with mass `M` and critical friction.
    ///
    /// # Errors
    /// Unless `1e-12 <= mass <= 1e12`.
    pub fn new(mass: f64) -> Result<Cld> {
        check("mass", mass, (1e-12..=1e12).contains(&mass), "1e-12 <= mass <= 1e12")?;
        let sqrt_mass = Dd::from(mass).sqrt();
        Ok(Cld { mass, sqrt_mass, inv_sqrt_mass: sqrt_mass.recip() })
    }

    /// The friction `Gamma = 2 sqrt(M)`.
    pub fn friction(&self) -> f64 {
        2.0 * self.sqrt_mass.hi
    }

    /// Moments where `e^-y` has underflowed, or is about to: z > 350.
    #[cold]
    fn far(&self, tau: Dd, z: Dd, gamma: f64) -> Moments<2> {
        let e = |c: f64| scaled_exp_neg(c, z);
        let xv = scaled_exp_neg(z.hi * (gamma + (2.0 - gamma) * z.hi) * self.sqrt_mass.hi, z.scale(2.0));
        Moments {
            mean: Mat([[e(1.0 + z.hi), e(z.hi * self.inv_sqrt_mass.hi)], [-e(tau.hi), e(1.0 - z.hi)]]),
            cov: Mat([[1.0, xv], [xv, self.mass]]),
            det: self.mass,
            factors: None,
        }
    }
}

/// The algebra of the closed form in units of M: `[S_xx, S_xv / sqrt(M), S_vv / M, det / M]` from `z`, `1 - z`,
/// `e2 = e^-2z`, `z e2` and `z^2 e2`, P3, G and gamma. Generic so that the proof (`process::proof`) runs this very code on polynomials.
#[inline(always)]
pub(super) fn covariance<T: Scalar + Copy>(z: T, one_minus_z: T, e2: T, [a, az]: [T; 2], p3: T, g: T, gamma: T) -> [T; 4] {
    let w2 = one_minus_z * one_minus_z;
    let z2 = z * z;
    // 1 - z^2 - (1-z)^2: at small z two roundings less in det than by the sum; at most 1/2, so little is lost
    let shrink = T::of(2.0) * (z * one_minus_z);
    [
        p3 + gamma * az,
        a * (gamma + (T::of(2.0) - gamma) * z),
        p3 + T::of(4.0) * a + gamma * (e2 * w2),
        p3 * p3 + T::of(2.0) * a * g + gamma * (e2 * ((p3 - p3 * shrink) + T::of(4.0) * (e2 * (z2 * z2)))),
    ]
}

/// The algebra of the mean matrix, given `e = e^-z` and `1/sqrt(M)`.
#[inline(always)]
pub(super) fn mean<T: Scalar + Copy>(z: T, one_minus_z: T, tau: T, e: T, inv_sqrt_mass: T) -> [T; 4] {
    [e * (T::of(1.0) + z), e * z * inv_sqrt_mass, -(e * tau), e * one_minus_z]
}

impl LinearSde<2> for Cld {
    fn name(&self) -> &'static str {
        "cld"
    }

    fn drift(&self) -> Mat<2> {
        self.drift_dd().round()
    }

    fn noise(&self) -> Mat<2> {
        self.noise_dd().round()
    }

    fn stationary(&self) -> Option<Mat<2>> {
        Some(Mat::diagonal([1.0, self.mass]))
    }

    fn mass(&self) -> f64 {
        self.mass
    }

    fn drift_dd(&self) -> Mat<2, Dd> {
        let inv_mass = Dd::from(self.mass).recip();
        Mat([[Dd::ZERO, inv_mass], [-Dd::ONE, -self.inv_sqrt_mass.scale(2.0)]])
    }

    fn noise_dd(&self) -> Mat<2, Dd> {
        Mat([[Dd::ZERO, Dd::ZERO], [Dd::ZERO, self.sqrt_mass.scale(4.0)]])
    }

    fn parity(&self) -> Option<[f64; 2]> {
        Some([1.0, -1.0])
    }

    #[inline(always)]
    fn moments(&self, on: Span, gamma: f64) -> Moments<2> {
        let tau = on.tau;
        let z = tau * self.inv_sqrt_mass;
        if z.hi > 350.0 {
            return self.far(tau, z, gamma);
        }
        let e = exp_neg(z);
        let e2 = e * e;
        let (p3, g) = p3_g(z, e2);
        let one_minus_z = (1.0 - z.hi) - z.lo;
        // with the low words: det is of second order in them
        let a = e2.hi * z.hi + (e2.lo * z.hi + e2.hi * z.lo);
        let (sq, err) = two_prod(z.hi, z.hi);
        let az = e2.hi * sq + (e2.lo * sq + e2.hi * (err + 2.0 * (z.hi * z.lo)));
        let [xx, xv, vv, det] = covariance(z.hi, one_minus_z, e2.hi, [a, az], p3, g, gamma);
        let [mxx, mxv, mvx, mvv] = mean(z.hi, one_minus_z, tau.hi, e.hi, self.inv_sqrt_mass.hi);
        let xv = xv * self.sqrt_mass.hi;
        Moments { mean: Mat([[mxx, mxv], [mvx, mvv]]), cov: Mat([[xx, xv], [xv, vv * self.mass]]), det: det * self.mass, factors: None }
    }
}
