//! Orders of convergence as claims: the slope of errors over step sizes.

use super::claim::{Claim, Compared, Evidence, Figure, Method, Plant, share};
use crate::error::{Error, Result};
use crate::worst::worse;

/// How far a measured order may be from the theoretical one.
pub(super) const TOLERANCE: f64 = 0.1;

/// The interval over which orders are measured: away from 0, so that every entry of the law is of
/// the size of 1, and away from the stationary law, so that none has forgotten its past.
pub(super) const FROM: f64 = 0.05;

/// What an order is read off: errors by number of steps.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The claim's name, `case/entry`.
    pub name: String,
    /// Numbers of steps, each twice the one before.
    pub steps: Vec<usize>,
    /// Errors, one for each number of steps; at least two.
    pub errors: Vec<f64>,
    /// Size of the quantity whose error it is.
    pub size: f64,
    /// Errors up to this share of the size are rounding: where the finest is, there is no order,
    /// and exactness is the claim.
    pub rounding: f64,
    /// The order that theory gives.
    pub theory: f64,
    /// The entry whose error it is, if it is of one.
    pub entry: String,
}

/// A claim of an order.
pub fn claim(name: &str, formula: &str, what: &str, about: &str, theory: f64) -> Claim {
    let tolerance =
        format!("{TOLERANCE}: the next term of the expansion, h^(order + 1), at the finest steps");
    Claim::new(
        name,
        formula,
        Method::Order,
        format!("{what} for {about} is {theory}"),
        &tolerance,
    )
}

/// The smallest shift of the limit, as a share of the last error, that moves the slope out of the
/// tolerance: by bisection from 0 to 1.
fn smallest(breaks: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if breaks(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    high
}

/// The claim, judged with or without a planted error.
///
/// # Errors
/// Fewer than two errors, or another number of them than of steps.
pub fn evidence(mut claim: Claim, m: &Measured, plant: Option<&Plant>) -> Result<Evidence> {
    if m.errors.len() < 2 || m.errors.len() != m.steps.len() {
        let why = format!(
            "{} errors for {} numbers of steps; two at least",
            m.errors.len(),
            m.steps.len()
        );
        return Err(Error::Degenerate {
            what: format!("evidence for the claim {}", claim.id).into(),
            why,
        });
    }
    // a plant is an error of the limit (the closed form): it does not shrink with the step
    let planted = plant
        .filter(|p| p.id == claim.id)
        .map_or(0.0, |p| p.size * m.size);
    let entry = if m.entry.is_empty() {
        String::new()
    } else {
        format!(", at entry {}", m.entry)
    };
    let last = m.errors[m.errors.len() - 1];
    let (deviation, power);
    if last.abs() <= m.rounding * m.size {
        let tolerance = m.rounding * m.size;
        claim.statement += &format!(": there is no error{entry}, theory {}", m.theory);
        claim.tolerance = format!("{:e} of the largest entry: rounding", m.rounding);
        deviation = share(last + planted, m.theory, tolerance);
        power = (tolerance + last.abs()) / m.size;
    } else {
        let slope = |shift: f64| {
            let e: Vec<f64> = m.errors.iter().map(|e| (e + shift).abs()).collect();
            (e[e.len() - 2] / e[e.len() - 1]).log2()
        };
        let order = slope(planted);
        claim.statement += &format!(": order {order:.3}{entry}, theory {}", m.theory);
        // an order above the theoretical one is no defect of a scheme, but here the theory says
        // exactly which it is
        deviation = share(order - m.theory, m.theory, TOLERANCE);
        let breaks = |shift: f64| (slope(shift) - m.theory).abs() > TOLERANCE;
        let limit = |sign: f64| {
            let share = smallest(|share| breaks(sign * share * last.abs()));
            share * last.abs() / m.size
        };
        power = worse(limit(1.0), limit(-1.0));
    }
    // an error that is no number at coarser steps is no smaller a fault
    let finite = m.size.is_finite() && m.errors.iter().all(|e| e.is_finite());
    let share = if finite { deviation } else { f64::INFINITY };
    let compared = m.steps.iter().zip(&m.errors).map(|(&n, e)| Compared {
        figure: Figure {
            at: n as f64,
            found: (e + planted).abs() / m.size,
            expected: 0.0,
            deviation,
            bounds: None,
        },
        share,
        power: Some(power),
        p: None,
    });
    Evidence::new(claim, compared.collect())
}
