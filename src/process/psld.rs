//! Phase-space Langevin diffusion: noise in position and momentum, critically damped.

use super::any::erase;
use super::custom::Custom;
use super::entry::Given::Number;
use super::entry::{Accuracy, Audited, Bound, Example, ProcessEntry, Rate, Under, Vectors};
use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::error::{Error, Result, check};
use crate::small::{Mat, Scalar};
use crate::special::{exp_neg, p3_g, scaled_exp_neg};

/// PSLD (Pandey and Mandt 2023):
///
/// ```text
/// dx = (b/2) (v/M - Gamma x) dt + sqrt(b Gamma) dW1
/// dv = (b/2) (-x - nu v) dt     + sqrt(b M nu) dW2,     1/M = (Gamma - nu)^2 / 4
/// ```
///
/// With `kappa = (Gamma + nu)/4`, `y = 2 kappa tau`, `c = (nu - Gamma)/2`, `w = c tau / 2` (so that
/// `c^2 M = 1`):
///
/// ```text
/// Phi  = e^(-y/2) [[1 + w, c w], [-tau/2, 1 - w]]
/// S_xx = P3(y) + Gamma e^-y tau (1 + nu tau/2) + gamma e^-y w^2
/// S_xv = e^-y (tau/2) (gamma + (2 - gamma) w)
/// S_vv = M (P3(y) + nu e^-y tau (1 + Gamma tau/2) + gamma e^-y (1 - w)^2)
/// ```
///
/// The determinant has a form with positive terms only (module code), proved in `process::proof`.
/// Gamma = 0 is CLD with mass 4/nu^2 at half speed.
///
/// Formula: psld.kernel. Source: Pandey and Mandt 2023 (critical damping); the forms are ours.
/// Accuracy: 1e-13 relative, entry by entry (measured: a few ulp).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Psld {
    gamma_x: f64,
    nu: f64,
    /// c = (nu - Gamma)/2
    c: Dd,
    /// kappa = (nu + Gamma)/4
    kappa: Dd,
    /// M = 1 / c^2
    mass: Dd,
}

impl Psld {
    /// PSLD with position friction `Gamma` and momentum friction `nu`; the mass follows from
    /// critical damping.
    ///
    /// # Errors
    /// Unless both are in [0, 1e6] and `|nu - Gamma| >= 1e-6`.
    pub fn new(friction_x: f64, nu: f64) -> Result<Psld> {
        check(
            "Gamma",
            friction_x,
            (0.0..=1e6).contains(&friction_x),
            "0 <= Gamma <= 1e6",
        )?;
        check("nu", nu, (0.0..=1e6).contains(&nu), "0 <= nu <= 1e6")?;
        let c = Dd::diff(nu, friction_x).scale(0.5);
        if c.hi.abs() < 5e-7 {
            return Err(Error::parameter(
                "nu - Gamma",
                nu - friction_x,
                "at least 1e-6 in size (the mass is 4/(nu - Gamma)^2)",
            ));
        }
        let kappa = Dd::new(nu, friction_x).scale(0.25);
        Ok(Psld {
            gamma_x: friction_x,
            nu,
            c,
            kappa,
            mass: (c * c).recip(),
        })
    }
}

/// The algebra of the closed form: `[S_xx, S_xv, S_vv / M, det / M]`; generic for the proof in
/// `process::proof`. `w = c tau / 2`, `z = kappa tau`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn covariance<T: Scalar + Copy>(
    tau: T,
    z: T,
    w: T,
    gx: T,
    nu: T,
    e2: T,
    p3: T,
    g: T,
    gamma: T,
) -> [T; 4] {
    let (one, half) = (T::of(1.0), T::of(0.5));
    let u = one - w;
    let ax = e2 * tau * (one + half * (nu * tau)); // x-noise: times Gamma
    let av = e2 * tau * (one + half * (gx * tau)); // v-noise: times nu
    let (w2, u2) = (w * w, u * u);
    let gn = gx * nu;
    let t2 = tau * tau;
    let qxx = p3 + gx * ax;
    [
        qxx + gamma * (e2 * w2),
        half * (e2 * tau) * (gamma + (T::of(2.0) - gamma) * w),
        p3 + nu * av + gamma * (e2 * u2),
        p3 * p3
            + p3 * (gn * (e2 * t2))
            + T::of(2.0) * (z * e2) * g
            + gn * (ax * av + T::of(0.125) * ((gx * gx + nu * nu) * (e2 * e2) * (t2 * t2)))
            + gamma * e2 * (qxx * (w2 + u2) + T::of(4.0) * (e2 * (w2 * w2))),
    ]
}

impl LinearSde<2> for Psld {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn drift(&self) -> Mat<2> {
        self.drift_dd().round()
    }

    fn noise(&self) -> Mat<2> {
        self.noise_dd().round()
    }

    fn stationary(&self) -> Option<Mat<2>> {
        Some(Mat::diagonal([1.0, self.mass.hi]))
    }

    fn stationary_dd(&self) -> Option<Mat<2, Dd>> {
        Some(Mat([[Dd::ONE, Dd::ZERO], [Dd::ZERO, self.mass]]))
    }

    fn mass(&self) -> f64 {
        self.mass.hi
    }

    fn mass_dd(&self) -> Dd {
        self.mass
    }

    fn drift_dd(&self) -> Mat<2, Dd> {
        let half = |x: f64| Dd::from(0.5 * x);
        Mat([
            [-half(self.gamma_x), (self.c * self.c).scale(0.5)],
            [half(-1.0), -half(self.nu)],
        ])
    }

    fn noise_dd(&self) -> Mat<2, Dd> {
        Mat([
            [Dd::from(self.gamma_x), Dd::ZERO],
            [Dd::ZERO, self.mass * Dd::from(self.nu)],
        ])
    }

    fn parity(&self) -> Option<[f64; 2]> {
        Some([1.0, -1.0])
    }

    #[inline(always)]
    fn closed(&self, tau: Dd, gamma: f64, _: Fast) -> Option<Moments<2>> {
        Some(self.moments_of(tau, gamma))
    }
}

impl Psld {
    #[inline(always)]
    fn moments_of(&self, tau: Dd, gamma: f64) -> Moments<2> {
        let z = self.kappa * tau;
        let w = (self.c * tau).scale(0.5);
        if z.hi > 350.0 {
            // e^-y is about to underflow: the stationary law, but for the entries that vanish
            let e = |c: f64| scaled_exp_neg(c, z);
            let mean = Mat([
                [e(1.0 + w.hi), e(self.c.hi * w.hi)],
                [-e(0.5 * tau.hi), e(1.0 - w.hi)],
            ]);
            let xv = scaled_exp_neg(0.5 * tau.hi * (gamma + (2.0 - gamma) * w.hi), z.scale(2.0));
            return Moments {
                mean,
                cov: Mat([[1.0, xv], [xv, self.mass.hi]]),
                det: self.mass.hi,
                factors: None,
            };
        }
        let (e, e2) = exp_neg(z.hi, z.lo);
        let (p3, g) = p3_g([z.hi, z.lo], e2);
        let e2 = e2[0] + e2[1];
        let [xx, xv, vv, det] =
            covariance(tau.hi, z.hi, w.hi, self.gamma_x, self.nu, e2, p3, g, gamma);
        let m = self.mass.hi;
        Moments {
            mean: Mat([
                [e * (1.0 + w.hi), e * (self.c.hi * w.hi)],
                [-e * 0.5 * tau.hi, e * ((1.0 - w.hi) - w.lo)],
            ]),
            cov: Mat([[xx, xv], [xv, vv * m]]),
            det: det * m,
            factors: None,
        }
    }
}

const fn vectors(params: Example, flags: &'static [&'static str]) -> Vectors {
    Vectors {
        params,
        rate: Rate::Constant(8.0),
        under: Under::Both,
        flags,
    }
}

/// PSLD in the registry.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "psld",
    about: "phase-space Langevin (Pandey and Mandt 2023)",
    params: &["Gamma", "nu", "gamma"],
    gamma: Some("gamma"),
    defaults: &[("Gamma", 0.01), ("nu", 4.01), ("gamma", 0.04)],
    rate: Rate::Constant(8.0),
    accuracy: &[Accuracy {
        family: "psld",
        bound: Bound::Relative(1e-13),
        of: |_| true,
    }],
    vectors: &[
        vectors(
            &[
                ("Gamma", Number(0.0)),
                ("nu", Number(4.0)),
                ("gamma", Number(0.04)),
            ],
            &["MassNotOne"],
        ),
        vectors(
            &[
                ("Gamma", Number(0.01)),
                ("nu", Number(4.01)),
                ("gamma", Number(0.04)),
            ],
            &["PositionNoise", "MassNotOne"],
        ),
        vectors(
            &[
                ("Gamma", Number(0.25)),
                ("nu", Number(4.25)),
                ("gamma", Number(0.04)),
            ],
            &["PositionNoise", "MassNotOne"],
        ),
    ],
    audit: &[Audited {
        samplers: true,
        likelihood: true,
        drawn: true,
        ..Audited::kernels(
            "psld",
            &[
                ("Gamma", Number(0.3)),
                ("nu", Number(4.3)),
                ("gamma", Number(0.04)),
            ],
        )
    }],
    mass_inverted: |_, p, friction_kept| {
        let (f, g, mass) = (p.drift(), p.noise_at(0.0), p.mass());
        let noise = if friction_kept {
            g[(1, 1)]
        } else {
            g[(1, 1)] / (mass * mass)
        };
        let drift = Mat([[f[(0, 0)], f[(0, 1)] * mass * mass], [f[(1, 0)], f[(1, 1)]]]);
        let noise = Mat([[g[(0, 0)], 0.0], [0.0, noise]]);
        erase(Custom::new(drift, noise, 1.0 / mass).ok()?).ok()
    },
    build: |p| erase(Psld::new(p.number("Gamma")?, p.number("nu")?)?),
    ..ProcessEntry::BASE
};
