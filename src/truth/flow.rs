//! The probability flow of a Gaussian law, and gDDIM, whose root of the covariance is carried along
//! by it.
//!
//! With C(tau) = L L^T the covariance, the flow's linear part (F + G G^T C^-1 / 2) carries `u - m`
//! from t_0 to t_1 by `A = L_1 O L_0^-1` with O orthogonal: for one channel 1, for two a rotation
//! by the angle
//!
//! ```text
//! theta = int_t0^t1 F_xv L_vv / L_xx + ((G G^T)_xv - (G G^T)_xx L_vx / L_xx) / (2 L_xx L_vv) dtau
//! ```
//!
//! the part above the diagonal of `L^-1 (F + G G^T C^-1 / 2) L - L^-1 L'`, which is antisymmetric.
//! Nothing here is from the samplers. Formula: sampler.gddim_coefficients.

use super::cell::Cell;
use super::linear::cholesky;
use super::model::Model;
use super::quantity::{Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, setting};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::{Mat, Square, places};
use std::sync::LazyLock;

/// Processes for which the flow's map is known.
pub(super) const TURNS: Processes = Processes {
    words: "a process of one or two channels",
    fit: |m| m.channels() <= 2,
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[Quantity {
    name: "sampler.gddim_coefficients",
    about: "gDDIM's one-step coefficients: u_s = psi u_t + eps_coef eps, psi = e^(-F B(s,t)), eps_coef = R_s - psi R_t, score = -R_t^-T eps",
    inputs: &["t", "s"],
    optional: &[],
    settings: &["eps"],
    leads: "t",
    outputs: Outputs::Named(&["psi", "r", "eps_coef", "score_coef"]),
    shape: "(n, K, K) each; r is R_t, and score_coef = (psi - R_s R_t^-1) S_t",
    suites: &["step"],
    catches: "the Cholesky factor for R, which turns; a Riemann sum over the step; the sign of psi's exponent",
    made_from: &["kernel.mean", "kernel.factor"],
    processes: TURNS,
    law: LawOf::Objective,
    draws: Draws {
        times: Times::LaterSteps,
        mean_above: 0.0,
        arrays: &[],
    },
    truth: Truth::All(gddim),
}];

/// Points of the rule on each panel. The integrand is analytic but at 0: on [a, 3a/2] the error is
/// below 10^-27.
const POINTS: usize = 14;

/// Gauss-Legendre nodes and weights on [0, 1] in double words, by Newton's method from their
/// asymptotic places.
static RULE: LazyLock<Vec<(Dd, Dd)>> = LazyLock::new(|| {
    let n = POINTS as f64;
    let legendre = |x: Dd| {
        let (mut a, mut b) = (Dd::ONE, x);
        for j in 2..=POINTS {
            let j = j as f64;
            let next = (x * b * Dd::from(2.0 * j - 1.0) - a * Dd::from(j - 1.0)) / Dd::from(j);
            (a, b) = (b, next);
        }
        (b, (x * b - a) * Dd::from(n) / (x * x - Dd::ONE))
    };
    let node = |i: usize| {
        let mut x = Dd::from((std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos());
        for _ in 0..6 {
            let (p, slope) = legendre(x);
            x = x - p / slope;
        }
        let slope = legendre(x).1;
        (
            (x + Dd::ONE).scale(0.5),
            Dd::ONE / ((Dd::ONE - x * x) * slope * slope),
        )
    };
    (0..POINTS).map(node).collect()
});

/// Panels at most: what is longer takes too long to integrate.
const PANELS: usize = 4096;

/// Where panels end between a and b: a fixed grid, so that rows of a file share the laws there.
///
/// # Errors
/// More than [`PANELS`].
fn panels(a: Dd, b: Dd, width: &dyn Fn(f64) -> f64) -> Result<Vec<Dd>> {
    let mut ends = vec![a];
    let mut at = a.hi;
    while ends.len() <= PANELS {
        let width = width(at);
        let next = if at < 2.0 * width {
            // powers of 3/2
            let power = (at.ln() / 1.5f64.ln()).floor() as i32;
            (1..3)
                .map(|i| 1.5f64.powi(power + i))
                .find(|x| *x > at * (1.0 + 1e-9))
                .unwrap_or(1.5 * at)
        } else {
            ((at / width * (1.0 + 1e-9)).floor() + 1.0) * width
        };
        if next >= b.hi {
            ends.push(b);
            return Ok(ends);
        }
        ends.push(Dd::from(next));
        at = next;
    }
    let why = format!(
        "from {:e} to {:e} on the process's clock is too long for it",
        a.hi, b.hi
    );
    Err(Error::Degenerate {
        what: "the flow".into(),
        why,
    })
}

/// A law on the process's clock: its Cholesky factor and mean matrix.
pub(super) struct At {
    tau: Dd,
    pub l: Square<Dd>,
    pub mean: Square<Dd>,
}

/// The law at `t`, which errors call `name`, from data of deviation `std`.
pub(super) fn at(model: &Model, (name, t): (&'static str, f64), std: f64) -> Result<At> {
    if !(0.0..=model.schedule().horizon()).contains(&t) {
        return Err(Error::time(name, t, model.schedule().allowed()));
    }
    let on = model.span(0.0, t)?;
    let tau = on.start + on.tau;
    if !(tau.hi > 0.0) {
        return Err(Error::time(
            name,
            t,
            "a time after 0, at which the flow begins",
        ));
    }
    let law = model.law_at(tau, std)?;
    Ok(At {
        tau,
        l: cholesky(&law.cov),
        mean: law.mean,
    })
}

/// How long a panel may be at a time of the clock: half of the time scale of the fastest mode of F
/// that has not decayed to nothing (e^-40, which enters squared). Once none is left, the integrand
/// is constant.
fn widths(f: &Square) -> impl Fn(f64) -> f64 + use<> {
    let (half, det) = (
        0.5 * (f[(0, 0)] + f[(1, 1)]).abs(),
        f[(0, 0)] * f[(1, 1)] - f[(0, 1)] * f[(1, 0)],
    );
    let square = half * half - det;
    // rates of change and of decay
    let modes = if square >= 0.0 {
        let fast = half + square.sqrt();
        let slow = if fast > 0.0 { det.abs() / fast } else { 0.0 };
        [(fast, fast), (slow, slow)]
    } else {
        [(det.sqrt(), half); 2]
    };
    move |at: f64| {
        let left = modes
            .iter()
            .filter(|(_, decay)| at * decay < 40.0)
            .map(|m| m.0)
            .fold(0.0, f64::max);
        if left > 0.0 {
            2f64.powi(-1 - left.log2().ceil() as i32)
        } else {
            f64::INFINITY
        }
    }
}

/// The angle from a to b.
fn angle(model: &Model, std: f64, a: Dd, b: Dd) -> Result<Dd> {
    if b.hi < a.hi {
        return Ok(-angle(model, std, b, a)?);
    }
    let (f, g) = (model.process().drift(), model.process().noise_at(0.0));
    let width = widths(&f);
    let mut sum = Dd::ZERO;
    for ends in panels(a, b, &width)?.windows(2) {
        let length = ends[1] - ends[0];
        for (x, w) in RULE.iter() {
            let l = cholesky(&model.law_at(ends[0] + length * *x, std)?.cov);
            let (lxx, lvx, lvv) = (l[(0, 0)], l[(1, 0)], l[(1, 1)]);
            let noise = (Dd::from(g[(0, 1)]) - Dd::from(g[(0, 0)]) * lvx / lxx) / (lxx * lvv);
            sum = sum + length * *w * (Dd::from(f[(0, 1)]) * lvv / lxx + noise.scale(0.5));
        }
    }
    if sum.hi.is_finite() {
        Ok(sum)
    } else {
        Err(Error::Degenerate {
            what: "the flow".into(),
            why: "the covariance is singular".into(),
        })
    }
}

/// Sine and cosine of any angle: a light mass turns often.
fn sin_cos(x: Dd) -> (Dd, Dd) {
    let quarter = Dd {
        hi: std::f64::consts::FRAC_PI_2,
        lo: 6.123_233_995_736_766e-17,
    };
    let turns = (x / quarter).to_f64().round();
    let (sin, cos) = (x - quarter * Dd::from(turns)).sin_cos();
    match turns.rem_euclid(4.0) as u8 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The inverse of a matrix of one or two rows.
fn inverse(m: &Square<Dd>) -> Square<Dd> {
    if m.k() == 1 {
        return m.map(Dd::recip);
    }
    let det = m[(0, 0)] * m[(1, 1)] - m[(0, 1)] * m[(1, 0)];
    Square::build(2, |i, j| {
        if i == j {
            m[(1 - i, 1 - j)] / det
        } else {
            -m[(i, j)] / det
        }
    })
}

/// `L O`: the root that the factor at `from` becomes at `to`.
fn root(model: &Model, std: f64, from: &At, to: &At) -> Result<Square<Dd>> {
    if model.channels() == 1 {
        return Ok(to.l);
    }
    let (sin, cos) = sin_cos(angle(model, std, from.tau, to.tau)?);
    Ok(to.l.matmul(&Mat([[cos, sin], [-sin, cos]]).into()))
}

/// What the flow's linear part makes of `u - m` from one time to another.
pub(super) fn map(model: &Model, std: f64, from: &At, to: &At) -> Result<Square<Dd>> {
    Ok(root(model, std, from, to)?.matmul(&inverse(&from.l)))
}

fn gddim(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "psi" | "r" | "eps_coef" | "score_coef") {
        return Ok(None);
    }
    let k = model.channels();
    let start = setting(read, "eps").ok_or_else(|| {
        Error::parameter(
            "eps",
            "missing",
            "the time at which R is the Cholesky factor",
        )
    })?;
    let start = at(model, ("eps", start), 0.0)?;
    let (t, s) = read.interval(model)?;
    let mut cells = Vec::new();
    for (t, s) in t.into_iter().zip(s) {
        let row = model.transition(s, t)?;
        let psi = inverse(&row.law.mean);
        let psi_scale = |i: usize, j: usize| {
            psi[(i, j)].hi.abs()
                * (1.0
                    + row.mean_scale[(i, j)].abs()
                        / row.law.mean[(i, j)].hi.abs().max(f64::MIN_POSITIVE))
        };
        let cell = |truth: Dd, scale: f64| Cell {
            truth,
            scale: scale.max(truth.hi.abs()),
            cancellation: 0.0,
            t,
        };
        if output == "psi" {
            cells.extend(places(k).map(|at| cell(psi[at], psi[at].hi.abs())));
            continue;
        }
        let (now, next) = (at(model, ("t", t), 0.0)?, at(model, ("s", s), 0.0)?);
        let r = root(model, 0.0, &start, &now)?;
        match output {
            "r" => {
                // an entry is a sum over L's row, whatever the angle leaves of it
                let size = |i: usize| now.l.row(i).iter().map(|l| l.hi.abs()).sum();
                cells.extend(places(k).map(|(i, j)| cell(r[(i, j)], size(i))));
            }
            "eps_coef" => {
                let (end, moved) = (root(model, 0.0, &start, &next)?, psi.matmul(&r));
                let size = |i: usize, j: usize| {
                    let term = |l: usize| (psi[(i, l)] * r[(l, j)]).hi.abs();
                    end[(i, j)].hi.abs() + (0..k).map(term).sum::<f64>()
                };
                let truth = |at| end[at] - moved[at];
                cells.extend(places(k).map(|(i, j)| cell(truth((i, j)), size(i, j))));
            }
            _ => {
                let flow = map(model, 0.0, &now, &next)?;
                let difference = Square::build(k, |i, j| psi[(i, j)] - flow[(i, j)]);
                let cov = model.row(0.0, t)?.law.cov;
                let size = |i: usize, j: usize| {
                    let part = |l: usize| psi_scale(i, l) + flow[(i, l)].hi.abs();
                    (0..k).map(|l| part(l) * cov[(l, j)].hi.abs()).sum()
                };
                let truth = difference.matmul(&cov);
                cells.extend(places(k).map(|(i, j)| cell(truth[(i, j)], size(i, j))));
            }
        }
    }
    Ok(Some((cells, k * k)))
}
