//! CLD at any damping: under, critical, over, smooth through the critical point.

use super::any::{AnyProcess, erase};
use super::cld::{Cld, NAME};
use super::entry::Given::Number;
use super::entry::{Accuracy, Audited, Bound, Given, Params, ProcessEntry, Rate, Under, Vectors};
use super::linear::{Fast, LinearSde};
use super::moments::Moments;
use crate::dd::Dd;
use crate::error::{Error, Result, check};
use crate::small::{Mat, Scalar};
use crate::special::{exp_neg, one_minus_exp_neg, scaled_exp_neg};

/// Langevin diffusion with any friction `Gamma > 0`:
///
/// ```text
/// dx = v/M b dt,   dv = (-x - Gamma/M v) b dt + sqrt(2 Gamma b) dW
/// ```
///
/// With `a = Gamma/(2M)`, `delta = a^2 - 1/M`, `C = cosh(sqrt(delta) tau)`,
/// `S = sinh(sqrt(delta) tau)/sqrt(delta)` (cosine and sine for delta < 0, 1 and tau at delta = 0),
/// both times `e^(-a tau)`:
///
/// ```text
/// Phi  = [[C + a S, S/M], [-S, C - a S]]
/// Q_xx = X,   Q_xv = 2 a S^2,   Q_vv = M (X + 4 a C S)
/// X    = (4a/M) integral of S^2 over [0, tau] = 1 - e^(-2 a tau) - 2 a S (C + a S)
/// ```
///
/// X is the one quantity that could cancel; it is computed by three routes, each where it does not:
/// 1. `2 (a + |sqrt(delta)|) tau < 2`: the Taylor series of `e^(2 a tau) X`, positive for delta >=
///    0;
/// 2. overdamped with slow mode: the integral as a second difference of `(1 - e^-q)/q`;
/// 3. else the closed form above.
///
/// Formula: cld_damped.kernel. Source: CLD App. A (damping regimes); the forms are ours.
/// Accuracy: 1e-13 relative, entry by entry; entries that cross zero against their largest term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CldDamped {
    mass: f64,
    friction: f64,
    /// a = Gamma / (2 M)
    a: Dd,
    /// a^2 - 1/M
    delta: Dd,
    /// sqrt |delta|
    d: Dd,
    /// a - d for delta > 0, from (1/M) / (a + d); else a
    slow: Dd,
}

impl CldDamped {
    /// Langevin diffusion with mass `M` and friction `Gamma`.
    ///
    /// # Errors
    /// Unless `1e-12 <= mass <= 1e12` and `1e-12 <= Gamma <= 1e12`.
    pub fn new(mass: f64, friction: f64) -> Result<CldDamped> {
        check(
            "mass",
            mass,
            (1e-12..=1e12).contains(&mass),
            "1e-12 <= mass <= 1e12",
        )?;
        check(
            "Gamma",
            friction,
            (1e-12..=1e12).contains(&friction),
            "1e-12 <= Gamma <= 1e12",
        )?;
        let m = Dd::from(mass);
        let a = Dd::from(friction) / m.scale(2.0);
        // (Gamma^2 - 4 M) / (4 M^2): the numerator is exact up to one rounding of double words
        let delta = (Dd::prod(friction, friction) - m.scale(4.0)) / (m * m).scale(4.0);
        let d = delta.abs().sqrt();
        let slow = if delta.hi > 0.0 {
            m.recip() / (a + d)
        } else {
            a
        };
        Ok(CldDamped {
            mass,
            friction,
            a,
            delta,
            d,
            slow,
        })
    }

    /// The friction Gamma.
    pub fn friction(&self) -> f64 {
        self.friction
    }

    /// `(C, S, C - a S)`, each times `e^(-d tau)` for delta > 0: what is left to multiply is
    /// `e^(-slow tau)`.
    #[inline(always)]
    fn cosh_sinh(&self, tau: Dd) -> (f64, f64, f64) {
        let (d, x) = (self.d.hi, self.d * tau);
        if self.delta.hi > 0.0 {
            // C = (1 + q)/2, S = (1 - q)/(2d) with q = e^(-2 d tau)
            let m = one_minus_exp_neg(x.scale(2.0));
            let (c, s) = (1.0 - 0.5 * m, 0.5 * m / d);
            if d < 0.5 * self.a.hi {
                return (c, s, c - self.a.hi * s);
            }
            // C - a S = (e^(-2 d tau) (a + d) - (a - d)) e^(-(a - d) tau) / 2d keeps the slow
            // mode's digits; the exponential must be its own, not 1 - m, as a - d may be as small
            // as 1e-16 (a + d)
            let fast = if x.hi < 350.0 {
                exp_neg(2.0 * x.hi, 2.0 * x.lo).0
            } else {
                0.0
            };
            (c, s, (fast * (self.a.hi + d) - self.slow.hi) / (2.0 * d))
        } else {
            let (sin, cos) = x.hi.sin_cos();
            let s = if x.hi < 1e-8 {
                tau.hi
            } else {
                (sin + x.lo * cos) / d
            }; // sin x / x = 1 - x^2/6 there
            let c = cos - x.lo * sin;
            (c, s, c - self.a.hi * s)
        }
    }

    /// X, the x-variance of the transition.
    #[inline(always)]
    fn variance_x(&self, tau: Dd, c: f64, s: f64) -> f64 {
        let (a, d, t) = (self.a.hi, self.d.hi, tau.hi);
        if 2.0 * (a + d) * t < 2.0 {
            let y = (self.a * tau).scale(2.0);
            return early(a, t, self.delta.hi, exp_neg(y.hi, y.lo).0, self.mass);
        }
        // not d t >= 1/2: (a + d) t >= 1 holds a little below that, and the last form loses 1/(M
        // a^2) there
        if self.delta.hi > 0.0 && d * t >= 0.4 && d >= 0.5 * a {
            // integral of S^2 = (E(p) + E(q) - 2 E(r)) / (4 delta), E(x) = (1 - e^(-x tau))/x; then
            // times 4a/M, with slow * (a + d) = 1/M in the first term
            let e = |rate: Dd| one_minus_exp_neg(rate * tau) / rate.hi;
            let (p, q, r) = (
                self.slow.scale(2.0),
                (self.a + self.d).scale(2.0),
                self.a.scale(2.0),
            );
            return (e(p) + (e(q) - 2.0 * e(r))) * (a / (self.delta.hi * self.mass));
        }
        one_minus_exp_neg((self.a * tau).scale(2.0)) - 2.0 * a * s * (c + a * s)
    }
}

/// `sum over n >= 3 of c_n tau^(n-3) / n!`, `c_3 = 2`, `c_(n+1) = 2 a c_n + [n even] (4
/// delta)^(n/2) / (2 delta)`, from `a2 = 2 a tau` and `d4 = 4 delta tau^2`, |d4| < 4: what is left of
/// `e^(2 a tau) X` without `4 a tau^3 / M`. Generic for the certificate.
#[inline(always)]
fn series<T: Scalar + Copy>(a2: T, d4: T) -> T {
    let mut coefficient = T::of(2.0);
    let mut power = T::of(2.0); // (4 delta tau^2)^(k-1) * 2 at k = 1
    let mut factorial = 6.0;
    let mut sum = coefficient / T::of(factorial);
    for n in 3..32 {
        coefficient = coefficient * a2;
        if n % 2 == 0 {
            power = power * d4;
            coefficient = coefficient + power;
        }
        factorial *= f64::from(n + 1);
        sum = sum + coefficient / T::of(factorial);
    }
    sum
}

/// X by its series, with `e2 = e^(-2 a tau)`. Generic for the certificate.
#[inline(always)]
pub(super) fn early<T: Scalar + Copy>(a: T, t: T, delta: T, e2: T, m: T) -> T {
    let (two, four) = (T::of(2.0), T::of(4.0));
    let sum = series(two * a * t, four * delta * t * t);
    e2 * sum * (four * a * t) * (t * t / m)
}

/// The mean row by row, S_xx, S_xv, S_vv and the determinant, from C, S and `w = C - a S`, each times
/// `e^(-a tau)`, and X. Generic for the certificate and for `process::proof`.
#[inline(always)]
pub(super) fn entries<T: Scalar + Copy>(a: T, [c, s, w]: [T; 3], x: T, m: T, gamma: T) -> [T; 8] {
    let (two, four) = (T::of(2.0), T::of(4.0));
    // second column of Phi over sqrt(M): f = S/sqrt(M) (first entry times sqrt M), w = C - a S
    let f2 = s * s / m;
    let vv = x + four * a * c * s;
    let cov_vv = vv + gamma * (w * w);
    // det / M of the transition, then what the initial velocity adds: gamma phi^T adj(Q) phi
    let base = x * vv - four * a * a * s * s * f2;
    let det = base + gamma * (vv * f2 - four * a * s * f2 * w + x * (w * w));
    [
        c + a * s,
        s / m,
        -s,
        w,
        x + gamma * f2,
        s * (two * a * s + gamma * w),
        cov_vv * m,
        det * m,
    ]
}

impl LinearSde<2> for CldDamped {
    fn name(&self) -> &'static str {
        NAME
    }

    fn drift(&self) -> Mat<2> {
        self.drift_dd().round()
    }

    fn noise(&self) -> Mat<2> {
        Mat::diagonal([0.0, 2.0 * self.friction])
    }

    fn stationary(&self) -> Option<Mat<2>> {
        Some(Mat::diagonal([1.0, self.mass]))
    }

    fn mass(&self) -> f64 {
        self.mass
    }

    fn drift_dd(&self) -> Mat<2, Dd> {
        Mat([
            [Dd::ZERO, Dd::from(self.mass).recip()],
            [-Dd::ONE, -self.a.scale(2.0)],
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

impl CldDamped {
    #[inline(always)]
    fn moments_of(&self, tau: Dd, gamma: f64) -> Moments<2> {
        let (m, a) = (self.mass, self.a.hi);
        let (c, s, w) = self.cosh_sinh(tau);
        let decay = self.slow * tau;
        if decay.hi > 350.0 {
            // the stationary law, but for the entries that vanish
            let e = |v: f64| scaled_exp_neg(v, decay);
            let xv = scaled_exp_neg(s * (2.0 * a * s + gamma * w), decay.scale(2.0));
            return Moments {
                mean: Mat([[e(c + a * s), e(s / m)], [-e(s), e(w)]]),
                cov: Mat([[1.0, xv], [xv, m]]),
                det: m,
                factors: None,
            };
        }
        let e = exp_neg(decay.hi, decay.lo).0;
        let (c, s, w) = (e * c, e * s, e * w);
        let x = self.variance_x(tau, c, s);
        let [mxx, mxv, mvx, mvv, xx, xv, vv, det] = entries(a, [c, s, w], x, m, gamma);
        Moments {
            mean: Mat([[mxx, mxv], [mvx, mvv]]),
            cov: Mat([[xx, xv], [xv, vv]]),
            det,
            factors: None,
        }
    }
}

/// The friction of CLD in `p`, or `None` for the critical one: `Gamma` where it is given or where
/// `damping` is `general`.
pub(super) fn friction(p: &Params) -> Result<Option<f64>> {
    let general = match p.word("damping")? {
        None => p.0.contains_key("Gamma"),
        Some("critical") => false,
        Some("general") => true,
        Some(w) => {
            return Err(Error::parameter(
                "damping",
                format!("`{w}`"),
                "critical or general",
            ));
        }
    };
    if general {
        return p.number("Gamma").map(Some);
    }
    if p.0.contains_key("Gamma") {
        return Err(Error::parameter(
            "Gamma",
            p.number("Gamma")?,
            "absent with critical damping (it is 2 sqrt(mass))",
        ));
    }
    Ok(None)
}

fn build(p: &Params) -> Result<Box<dyn AnyProcess>> {
    let mass = p.number("mass")?;
    match friction(p)? {
        Some(g) => erase(CldDamped::new(mass, g)?),
        None => erase(Cld::new(mass)?),
    }
}

/// `p` with 1/M for M, and the friction recomputed from it or, at critical damping, kept.
pub(super) fn mass_inverted(p: &Params, mass: f64, friction_kept: bool) -> Params {
    let mut swapped = p.clone().with("mass", 1.0 / mass);
    if !friction_kept || p.number("Gamma").is_ok() {
        return swapped;
    }
    swapped.0.remove("damping");
    swapped.with("Gamma", 2.0 * mass.sqrt())
}

/// Whether parameters ask for another than the critical damping.
pub(super) fn damped(p: &Params) -> bool {
    p.0.contains_key("Gamma")
}

/// What test vectors ask: the paper's parameters, other masses, every damping, and what is at an
/// edge.
#[rustfmt::skip]
const VECTORS: &[Vectors] = &[
    Vectors { params: &[("mass", Number(0.25)), CRITICAL, ("gamma", Number(0.04))], rate: Rate::Constant(4.0), under: Under::First, flags: &["PaperDefault", "MassNotOne"] },
    Vectors { params: &[("mass", Number(0.25)), CRITICAL, ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["TimeDependentBeta", "MassNotOne"] },
    Vectors { params: &[("mass", Number(4.0)), CRITICAL, ("gamma", Number(0.5))], rate: Rate::Constant(4.0), under: Under::Both, flags: &["MassNotOne"] },
    Vectors { params: &[("mass", Number(1e-4)), CRITICAL, ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["ExtremeMass", "TimeDependentBeta"] },
    Vectors { params: &[("mass", Number(1e4)), CRITICAL, ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["ExtremeMass", "TimeDependentBeta"] },
    Vectors { params: &[("mass", Number(0.25)), ("Gamma", Number(0.5)), ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["Underdamped", "TimeDependentBeta"] },
    Vectors { params: &[("mass", Number(0.25)), ("Gamma", Number(2.0)), ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["Overdamped", "TimeDependentBeta"] },
    Vectors { params: &[("mass", Number(0.25)), ("Gamma", Number(1.0 + f32::EPSILON as f64)), ("gamma", Number(0.04))], rate: LINEAR, under: Under::Both, flags: &["NearCritical", "TimeDependentBeta"] },
    Vectors { params: &[("mass", Number(0.25)), CRITICAL, ("gamma", Number(0.0))], rate: Rate::Constant(4.0), under: Under::Only("hsm"), flags: &["GammaZero"] },
    Vectors { params: &[("mass", Number(0.25)), CRITICAL, ("gamma", Number(3.0))], rate: Rate::Constant(4.0), under: Under::Only("hsm"), flags: &["GammaAboveTwo", "MassNotOne"] },
    Vectors { params: &[("mass", Number(0.25)), CRITICAL, ("gamma", Number(0.04))], rate: Rate::Cosine(0.008, 0.999), under: Under::Only("hsm"), flags: &["TimeDependentBeta", "MassNotOne"] },
];

const CRITICAL: (&str, Given) = ("damping", Given::Word("critical"));
const LINEAR: Rate = Rate::Linear(0.1, 19.9);

const AUDIT: &[Audited] = &[
    Audited {
        samplers: true,
        likelihood: true,
        drawn: true,
        ..Audited::kernels(NAME, &[("mass", Number(0.25)), ("gamma", Number(0.04))])
    },
    Audited::kernels(
        "cld-heavy",
        &[("mass", Number(3.0)), ("gamma", Number(0.5))],
    ),
    Audited {
        samplers: true,
        ..Audited::kernels(
            "cld-under",
            &[
                ("mass", Number(0.25)),
                ("Gamma", Number(0.5)),
                ("gamma", Number(0.04)),
            ],
        )
    },
    Audited {
        drawn: true,
        ..Audited::kernels(
            "cld-over",
            &[
                ("mass", Number(0.25)),
                ("Gamma", Number(1.7)),
                ("gamma", Number(0.04)),
            ],
        )
    },
];

/// CLD at any damping.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: NAME,
    about: "critically damped Langevin (Dockhorn et al. 2022); any damping with Gamma",
    params: &["mass", "Gamma", "damping", "gamma"],
    gamma: Some("gamma"),
    defaults: &[("mass", 0.25), ("gamma", 0.04)],
    rate: Rate::Constant(4.0),
    parametrisation: "mixed",
    accuracy: &[
        Accuracy {
            family: "cld, critical",
            bound: Bound::Ulp(8.0),
            of: |p| !damped(p),
        },
        Accuracy {
            family: "cld, any damping",
            bound: Bound::Relative(1e-13),
            of: damped,
        },
    ],
    vectors: VECTORS,
    audit: AUDIT,
    mass_inverted: |p, process, kept| ENTRY.build(&mass_inverted(p, process.mass(), kept)).ok(),
    build,
    ..ProcessEntry::BASE
};
