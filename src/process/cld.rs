//! Critically damped Langevin diffusion: the closed form that the paper is about, without
//! cancellation.

use super::linear::{Fast, LinearSde};
use super::moments::{Moments, factors, write_column};
use crate::dd::Dd;
use crate::error::{Result, check};
use crate::schedule::{Schedule, Span, linear_integral};
use crate::simd::{self, Lane, Task};
use crate::small::{Mat, Scalar};
use crate::special::{exp_neg, p3_g, scaled_exp_neg};

/// The name of CLD, at any damping.
pub(super) const NAME: &str = "cld";

/// Beyond this z, `e^-2z` is no normal number, or soon none.
const FAR: f64 = 350.0;

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
/// `gamma = 0` is DSM (and the transition), `gamma > 0` HSM. All terms are positive for gamma <= 2,
/// so nothing cancels, the determinant included. See [`p3_g`] for P3 and G.
///
/// Formula: cld.kernel. Source: CLD sec. 3 and App. B.1 (there in a form that subtracts nearly
/// equal numbers). Accuracy: 8 ulp for every entry, its Cholesky factors, determinant, inverse and
/// `ell`, for t in [1e-12, 1] and M in [1e-4, 1e4]; entries that cross zero are measured against
/// their largest term.
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
        check(
            "mass",
            mass,
            (1e-12..=1e12).contains(&mass),
            "1e-12 <= mass <= 1e12",
        )?;
        let sqrt_mass = Dd::from(mass).sqrt();
        Ok(Cld {
            mass,
            sqrt_mass,
            inv_sqrt_mass: sqrt_mass.recip(),
        })
    }

    /// The friction `Gamma = 2 sqrt(M)`.
    pub fn friction(&self) -> f64 {
        2.0 * self.sqrt_mass.hi
    }

    /// `z` as a sum of two doubles, the second some ulp of the first, from such a `tau`.
    #[inline(always)]
    fn z<L: Lane<Item = f64>>(&self, hi: L, lo: L) -> (L, L) {
        let (s, sl) = (
            L::splat(self.inv_sqrt_mass.hi),
            L::splat(self.inv_sqrt_mass.lo),
        );
        let p = hi * s;
        (p, hi.mul_add(sl, lo.mul_add(s, hi.mul_add(s, -p))))
    }

    /// The closed form for z <= 350: mean (4), S_xx, S_xv, S_vv, det.
    #[inline(always)]
    fn closed<L: Lane<Item = f64>>(&self, tau: L, (p, q): (L, L), gamma: f64) -> [L; 8] {
        let c = L::splat;
        let (e, e2) = exp_neg(p, q); // does not wait for the sum p + q
        let [zh, zl, one_minus_z] = reduce(p, q);
        let (p3, g) = p3_g([zh, zl], e2);
        let e2 = e2[0] + e2[1];
        let [xx, xv, vv, det] = covariance(zh, one_minus_z, e2, p3, g, c(gamma));
        let [mxx, mxv, mvx, mvv] = mean(zh, one_minus_z, tau, e, c(self.inv_sqrt_mass.hi));
        let mass = c(self.mass);
        [
            mxx,
            mxv,
            mvx,
            mvv,
            xx,
            xv * c(self.sqrt_mass.hi),
            vv * mass,
            det * mass,
        ]
    }

    /// Moments at one tau.
    #[inline(always)]
    fn moments_of(&self, tau: Dd, gamma: f64) -> Moments<2> {
        let z = self.z(tau.hi, tau.lo);
        // Plain numbers from both branches: as `Moments` they would meet in memory and stall the
        // loads that follow.
        let m = if z.0 > FAR {
            self.far(tau, z, gamma)
        } else {
            self.closed(tau.to_f64(), z, gamma)
        };
        let [mxx, mxv, mvx, mvv, xx, xv, vv, det] = m;
        Moments {
            mean: Mat([[mxx, mxv], [mvx, mvv]]),
            cov: Mat([[xx, xv], [xv, vv]]),
            det,
            factors: None,
        }
    }

    /// As `closed`, where `e^-y` has underflowed, or is about to: z > 350.
    #[cold]
    #[inline(never)]
    fn far(&self, tau: Dd, z: (f64, f64), gamma: f64) -> [f64; 8] {
        let z = Dd::new(z.0, z.1);
        let [xx, xv, vx, vv, cov_xv] = far_factors(
            z.hi,
            tau.to_f64(),
            gamma,
            self.sqrt_mass.hi,
            self.inv_sqrt_mass.hi,
        );
        let e = |c: f64| scaled_exp_neg(c, z);
        let xv_fading = scaled_exp_neg(cov_xv, z.scale(2.0));
        [
            e(xx),
            e(xv),
            -e(vx),
            e(vv),
            1.0,
            xv_fading,
            self.mass,
            self.mass,
        ]
    }
}

/// What multiplies `e^-z` in the mean (in `mean vx` with the other sign) and `e^-2z` in S_xv.
/// Generic for the certificate.
#[inline(always)]
pub(super) fn far_factors<T: Scalar + Copy>(
    z: T,
    tau: T,
    gamma: T,
    sqrt_mass: T,
    inv_sqrt_mass: T,
) -> [T; 5] {
    [
        T::of(1.0) + z,
        z * inv_sqrt_mass,
        tau,
        T::of(1.0) - z,
        z * (gamma + (T::of(2.0) - gamma) * z) * sqrt_mass,
    ]
}

/// `p + q` as a rounded sum and what is left over, and one minus it.
#[inline(always)]
pub(super) fn reduce<T: Scalar + Copy>(p: T, q: T) -> [T; 3] {
    let zh = p + q;
    let zl = q - (zh - p);
    [zh, zl, (T::of(1.0) - zh) - zl]
}

/// The algebra of the closed form in units of M: `[S_xx, S_xv / sqrt(M), S_vv / M, det / M]` from
/// `z`, `1 - z`, `e2 = e^-2z`, P3, G and gamma. Generic so that the proof (`process::proof`) runs
/// this very code on polynomials.
#[inline(always)]
pub(super) fn covariance<T: Scalar + Copy>(
    z: T,
    one_minus_z: T,
    e2: T,
    p3: T,
    g: T,
    gamma: T,
) -> [T; 4] {
    let a = e2 * z;
    let w2 = one_minus_z * one_minus_z;
    let z2 = z * z;
    let ge = gamma * e2;
    // e2 gamma (1 - shrink), with z^2 + (1-z)^2 = 1 - shrink: at small z two roundings less than by
    // the sum; the difference is at least half of what it is taken from
    let shrink = T::of(2.0) * (z * one_minus_z);
    let initial = (-ge).fma(shrink, ge);
    let rest = ge * (T::of(4.0) * e2 * (z2 * z2));
    [
        ge.fma(z2, p3),
        a * (T::of(2.0) - gamma).fma(z, gamma),
        ge.fma(w2, T::of(4.0).fma(a, p3)),
        p3.fma(p3 + initial, (a + a).fma(g, rest)), // P3 and G come late: few steps after them
    ]
}

/// The algebra of the mean matrix, given `e = e^-z` and `1/sqrt(M)`.
#[inline(always)]
pub(super) fn mean<T: Scalar + Copy>(
    z: T,
    one_minus_z: T,
    tau: T,
    e: T,
    inv_sqrt_mass: T,
) -> [T; 4] {
    [
        e * (T::of(1.0) + z),
        e * z * inv_sqrt_mass,
        -(e * tau),
        e * one_minus_z,
    ]
}

/// The kernels at many times under a linear rate.
struct Batch<'a, 'b> {
    cld: Cld,
    schedule: &'a Schedule,
    b: (f64, f64),
    gamma: f64,
    t: &'a [f64],
    columns: &'a mut [&'b mut [f64]; 12],
}

impl Batch<'_, '_> {
    /// The columns at one vector of times, and whether any of them is far.
    #[inline(always)]
    fn rows<L: Lane<Item = f64>>(&self, t: L) -> ([L; 12], bool) {
        let (hi, lo) = linear_integral(self.b.0, self.b.1, t);
        let z = self.cld.z(hi, lo);
        let [mxx, mxv, mvx, mvv, xx, xv, vv, det] = self.cld.closed(hi + lo, z, self.gamma);
        let [l, l_vx, l_vv, ell] = factors(xv, xx.sqrt(), det.sqrt());
        (
            [mxx, mxv, mvx, mvv, xx, xv, vv, l, l_vx, l_vv, det, ell],
            L::any(L::splat(FAR).lt(z.0)),
        )
    }

    /// Writes rows `at ..` again where they are far.
    #[cold]
    fn mend(&mut self, at: usize, n: usize) {
        for r in at..at + n {
            let m = self
                .cld
                .moments(Span::to(self.schedule, self.t[r]), self.gamma);
            write_column(&m, r, self.columns.as_mut_slice());
        }
    }
}

impl Task for Batch<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let n = self.t.len();
        let mut at = 0;
        while at + D::WIDTH <= n {
            let (rows, far) = self.rows(D::load(&self.t[at..]));
            for (c, x) in self.columns.iter_mut().zip(rows) {
                x.store(&mut c[at..]);
            }
            if far {
                self.mend(at, D::WIDTH);
            }
            at += D::WIDTH;
        }
        while at < n {
            let (rows, far) = self.rows(self.t[at]);
            for (c, x) in self.columns.iter_mut().zip(rows) {
                c[at] = x;
            }
            if far {
                self.mend(at, 1);
            }
            at += 1;
        }
    }
}

impl LinearSde<2> for Cld {
    fn name(&self) -> &'static str {
        NAME
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
        Mat([
            [Dd::ZERO, inv_mass],
            [-Dd::ONE, -self.inv_sqrt_mass.scale(2.0)],
        ])
    }

    fn noise_dd(&self) -> Mat<2, Dd> {
        Mat([[Dd::ZERO, Dd::ZERO], [Dd::ZERO, self.sqrt_mass.scale(4.0)]])
    }

    fn parity(&self) -> Option<[f64; 2]> {
        Some([1.0, -1.0])
    }

    fn moments(&self, on: Span, gamma: f64) -> Moments<2> {
        simd::single_call(|| self.moments_of(on.tau, gamma))
    }

    #[inline(always)]
    fn moments_at(&self, schedule: &Schedule, gamma: f64, t: f64, _: Fast) -> Moments<2> {
        self.moments_of(schedule.integral_unnormalised(t), gamma)
    }

    fn columns_at(
        &self,
        schedule: &Schedule,
        gamma: f64,
        t: &[f64],
        columns: &mut [&mut [f64]],
        _: Fast,
    ) {
        match (
            schedule.as_linear(),
            <&mut [&mut [f64]; 12]>::try_from(&mut *columns),
        ) {
            (Some(b), Ok(columns)) => simd::wide(Batch {
                cld: *self,
                schedule,
                b,
                gamma,
                t,
                columns,
            }),
            _ => t.iter().enumerate().for_each(|(r, &t)| {
                write_column(&self.moments(Span::to(schedule, t), gamma), r, columns)
            }),
        }
    }
}
