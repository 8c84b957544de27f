//! Claims about the ends: small times, heavy friction, a constant added to the variances; and the
//! identity that makes the objective a divergence. All without noise.

use crate::audit::check::{Check, Near, Part, Points};
use crate::audit::claim::{Claim, Method};
use crate::audit::slopes::{self, Measured};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::kernel::{Kernel, Objective};
use crate::loss::{Form, Loss, Weighting};
use crate::process::{Cld, CldDamped, LinearSde, Vp};
use crate::schedule::{Schedule, Span};
use crate::score::Gaussian;
use crate::small::{Square, places};

/// Masses and gammas of the claims about small times; critical damping, beta = 1.
const SMALL: [(f64, f64); 4] = [(0.25, 0.04), (0.25, 1.0), (1.0, 0.25), (0.0625, 0.04)];

/// Small times.
const TIMES: [f64; 4] = [1e-10, 1e-8, 1e-7, 1e-6];

fn ell_claim(mass: f64, gamma: f64) -> Claim {
    Claim::new(
        &format!("limits.cld/ell.small.mass={mass}.gamma={gamma}"),
        "kernel.ell",
        Method::Identity,
        format!(
            "ell^2 of CLD by HSM grows as 3/(2 Gamma tau), whatever gamma is, with \
             (1 + r/3)/(1 + r/4) for r = 2 Gamma tau/(gamma M): mass {mass}, gamma {gamma}"
        ),
        "2 Gamma tau/M + 1e-14: friction and restoring force act over tau; rounding",
    )
}

/// Without friction the velocity is a Brownian motion started from `N(0, gamma M)`, the position
/// its integral: the variance of the one given the other is `(2 Gamma tau/3)(1 + r/4)/(1 + r/3)`.
fn ell_points(mass: f64, gamma: f64) -> Result<Points> {
    let (process, schedule) = (Cld::new(mass)?, Schedule::constant(1.0)?);
    let friction = 2.0 * mass.sqrt();
    let point = |tau: f64| -> Result<Near> {
        let kernel = Kernel::new(&process, &schedule, Objective::hsm(gamma)?, tau)?;
        let r = 2.0 * friction * tau / (gamma * mass);
        let expected = (1.0 + r / 3.0) / (1.0 + r / 4.0);
        Ok(Near {
            at: tau,
            found: kernel.ell().powi(2) * 2.0 * friction * tau / 3.0,
            expected,
            tolerance: 2.0 * friction * tau / mass + 1e-14,
            unit: expected,
        })
    };
    Ok(Points::Near(
        TIMES.into_iter().map(point).collect::<Result<_>>()?,
    ))
}

fn epsilon_claim() -> Claim {
    Claim::new(
        "limits.cld/epsilon.takes_over",
        "kernel.cov",
        Method::Identity,
        "a constant eps added to the variance of x is as large as it at tau^3 = 3 eps M^2/(2 Gamma) \
         (DSM, from M = 1/16 to 1, eps from 1e-12 to 1e-6)"
            .into(),
        "2 Gamma tau/M: friction acts over tau (the next term of the expansion)",
    )
}

fn epsilon_points() -> Result<Points> {
    let mut all = vec![];
    for mass in [0.0625, 0.25, 1.0] {
        let (process, friction) = (Cld::new(mass)?, 2.0 * f64::sqrt(mass));
        for eps in [1e-12, 1e-9, 1e-6] {
            let tau = (1.5 * eps * mass * mass / friction).cbrt();
            let variance = process.moments(Span::from_zero(tau)?, 0.0).cov[(0, 0)];
            all.push(Near {
                at: tau,
                found: variance / eps,
                expected: 1.0,
                tolerance: 2.0 * friction * tau / mass,
                unit: 1.0,
            });
        }
    }
    Ok(Points::Near(all))
}

/// Frictions, in units of critical damping, of the way to VP.
const FRICTIONS: [usize; 4] = [16, 32, 64, 128];

/// What of x tends to VP's, and how it is named.
const OVERDAMPED: [(&str, &str, &str); 2] = [
    ("mean", "mean_xx", "kernel.mean"),
    ("variance", "S_xx", "kernel.cov"),
];

fn overdamped_claims() -> Vec<Claim> {
    let claim = |(name, what, formula)| {
        slopes::claim(
            &format!("limits.cld-damped/vp.{name}"),
            formula,
            &format!(
                "order in 1/Gamma at which {what} tends to that of VP with the rate 2 beta/Gamma"
            ),
            "CLD, M = 1/4, Gamma from 16 to 128 times critical, after half a unit of VP's clock",
            2.0,
        )
    };
    OVERDAMPED.into_iter().map(claim).collect()
}

fn overdamped_points() -> Result<Vec<Points>> {
    let mut errors = [vec![], vec![]];
    let unit = 0.5f64; // of tau/Gamma: VP's mean is e^-unit, its variance 1 - e^(-2 unit)
    for times in FRICTIONS {
        let friction = times as f64; // critical is 1 at M = 1/4
        let m = CldDamped::new(0.25, friction)?.moments(Span::from_zero(unit * friction)?, 0.0);
        errors[0].push(m.mean[(0, 0)] - (-unit).exp());
        errors[1].push(m.cov[(0, 0)] + (-2.0 * unit).exp_m1());
    }
    Ok(OVERDAMPED
        .into_iter()
        .zip(errors)
        .map(|((name, ..), errors)| {
            Points::Order(Measured {
                name: format!("limits.cld-damped/vp.{name}"),
                steps: FRICTIONS.to_vec(),
                errors,
                size: 1.0,
                rounding: 1e-13,
                theory: 2.0,
                entry: String::new(),
            })
        })
        .collect())
}

/// Where the divergence is counted from.
const FROM: f64 = 1e-3;

fn divergence_claim(name: &str) -> Claim {
    Claim::new(
        &format!("limits.{name}.divergence/kl"),
        "loss.weight",
        Method::Identity,
        format!(
            "for Gaussian data the objective with likelihood weighting is a divergence: \
             KL(p, q) at t = {FROM} less that at 1 is the integral over time of \
             E_p (s_q - s_p)^T Q (s_q - s_p), {name}"
        ),
        "1e-8: Simpson's rule over 4000 steps of ln t, whose error is some 1e-11",
    )
}

/// The inverse of a symmetric positive matrix of one or two channels, and its determinant.
pub(super) fn inverse(c: &Square) -> (Square, f64) {
    if c.k() == 1 {
        return (Square::build(1, |_, _| 1.0 / c[(0, 0)]), c[(0, 0)]);
    }
    let det = c.fixed::<2>().det();
    let inverse = Square::build(2, |i, j| {
        if i == j {
            c[(1 - i, 1 - i)] / det
        } else {
            -c[(i, j)] / det
        }
    });
    (inverse, det)
}

/// `KL(N(m, c), N(n, d))`.
fn divergence((m, c): &(Vec<f64>, Square), (n, d): &(Vec<f64>, Square)) -> f64 {
    let k = c.k();
    let ((_, of_c), (inverse, of_d)) = (inverse(c), inverse(d));
    let mut all = (of_d / of_c).ln() - k as f64;
    for i in 0..k {
        for j in 0..k {
            all += inverse[(i, j)] * (c[(j, i)] + (m[i] - n[i]) * (m[j] - n[j]));
        }
    }
    0.5 * all
}

/// What the likelihood weighting counts of the difference of two exact scores, over the law of the
/// first: `E[(s_q - s_p)^T weight (s_q - s_p)]`.
fn missed(p: &Gaussian, q: &Gaussian, loss: &Loss, t: f64) -> Result<f64> {
    let ((m, c), (n, d)) = (p.law(t)?, q.law(t)?);
    let ((of_p, _), (of_q, _)) = (inverse(&c), inverse(&d));
    let weight = *loss.at(t)?.quadratic();
    let noised = p.diffusion().noised();
    // s_q - s_p = D (u - m) + e, rows of the noised channels
    let k = c.k();
    let slope = |i: usize, j: usize| of_p[(i, j)] - of_q[(i, j)];
    let e = |i: usize| (0..k).map(|j| of_q[(i, j)] * (n[j] - m[j])).sum::<f64>();
    let second = |a: usize, b: usize| {
        let mut s = e(a) * e(b);
        for (i, j) in places(k) {
            s += slope(a, i) * c[(i, j)] * slope(b, j);
        }
        s
    };
    let mut all = 0.0;
    for (a, &i) in noised.iter().enumerate() {
        for (b, &j) in noised.iter().enumerate() {
            all += weight[(a, b)] * second(i, j);
        }
    }
    Ok(all)
}

fn divergence_points(diffusion: &Diffusion) -> Result<Points> {
    let (p, q) = (
        Gaussian::new(diffusion.clone(), 0.5, 0.3)?,
        Gaussian::new(diffusion.clone(), -0.2, 0.6)?,
    );
    let objective = match diffusion.gamma() {
        g if g > 0.0 => Objective::hsm(g)?,
        _ => Objective::DSM,
    };
    let loss = Loss::new(diffusion, objective, Form::Score, Weighting::Likelihood)?;
    let steps = 4000;
    let h = -FROM.ln() / steps as f64;
    let mut integral = 0.0;
    for i in 0..=steps {
        let t = if i == steps {
            1.0
        } else {
            FROM * (h * i as f64).exp()
        };
        let weight = match i {
            0 => 1.0,
            _ if i == steps => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        // dt = t d ln t
        integral += weight * h / 3.0 * (missed(&p, &q, &loss, t)? * t);
    }
    let at = |t: f64| -> Result<f64> { Ok(divergence(&p.law(t)?, &q.law(t)?)) };
    let expected = at(FROM)? - at(1.0)?;
    let near = Near::relative(FROM, integral, expected, 1e-8, expected);
    Ok(Points::Near(vec![near]))
}

/// The diffusions of the identity, by name.
fn diffusions() -> Result<Vec<(&'static str, Diffusion)>> {
    let vp = Diffusion::of(Vp, Schedule::linear(0.1, 19.9)?, 0.0)?;
    Ok([Diffusion::paper()?, vp]
        .map(|d| (d.process().name(), d))
        .into())
}

/// Every limit.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut small: Vec<Claim> = SMALL.iter().map(|&(m, g)| ell_claim(m, g)).collect();
    small.push(epsilon_claim());
    let claims = small.clone();
    let mut all = vec![
        Part {
            case: "limits.cld".into(),
            claims: small,
            tests: 0,
            run: Box::new(move |_| {
                let ell = SMALL.iter().map(|&(m, g)| ell_points(m, g));
                let points = ell.chain([epsilon_points()]).collect::<Result<_>>()?;
                Check::all(claims.clone(), points)
            }),
        },
        Part {
            case: "limits.cld-damped".into(),
            claims: overdamped_claims(),
            tests: 0,
            run: Box::new(|_| Check::all(overdamped_claims(), overdamped_points()?)),
        },
    ];
    for (name, d) in diffusions()? {
        all.push(Part {
            case: format!("limits.{name}.divergence"),
            claims: vec![divergence_claim(name)],
            tests: 0,
            run: Box::new(move |_| {
                Check::all(vec![divergence_claim(name)], vec![divergence_points(&d)?])
            }),
        });
    }
    Ok(all)
}
