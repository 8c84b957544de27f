//! The process: drift and diffusion.

use super::cell::{Cell, number};
use super::model::Model;
use super::quantity::{ANY, Draws, Found, LawOf, Outputs, Quantity, Times, Truth};
use super::reader::Reader;
use crate::dd::Dd;

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[Quantity {
    name: "process.drift_diffusion",
    about: "drift b F u and diffusion sqrt(b G G^T), diagonal",
    inputs: &["t", "u"],
    optional: &[],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&["drift", "diffusion"]),
    shape: "(n, K d) each",
    suites: &["process"],
    catches: "M and 1/M swapped; a missing factor beta; the sign of the coupling; variance for standard deviation in the noise",
    made_from: &["schedule.rate"],
    processes: ANY,
    law: LawOf::None,
    draws: Draws {
        times: Times::Decades,
        mean_above: 0.0,
        arrays: &[],
    },
    truth: Truth::All(drift_diffusion),
}];

fn drift_diffusion(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let k = model.channels();
    let (t, _) = read.interval(model)?;
    let (u, d) = read.block("u", k)?;
    let f = model.drift();
    let mut cells = Vec::with_capacity(u.len());
    for (r, &t) in t.iter().enumerate() {
        let b = model.rate(t).to_f64();
        let start = model.span(0.0, t)?.start.to_f64() + model.span(0.0, t)?.tau.to_f64();
        let g = model.process().noise_at(start);
        for i in 0..k {
            for c in 0..d {
                let terms =
                    (0..k).map(|j| Dd::prod(f[(i, j)], u[r * k * d + j * d + c]) * Dd::from(b));
                let (sum, scale) = terms.fold((Dd::ZERO, 0.0), |(a, m), x| (a + x, m + x.hi.abs()));
                cells.push(match output {
                    "drift" => Cell {
                        truth: sum,
                        scale,
                        cancellation: 0.0,
                        t,
                    },
                    "diffusion" => diffusion(model, start, g[(i, i)], Dd::from(b), t),
                    _ => return Ok(None),
                });
            }
        }
    }
    Ok(Some((cells, k * d)))
}

/// `sqrt(b g)`. Where G depends on the clock (sub-VP), g = 1 - e^(-2 B) may have been computed by
/// subtraction.
pub(super) fn diffusion(model: &Model, clock: f64, g: f64, rate: Dd, t: f64) -> Cell {
    let moves = if model.noise_changes() && clock < 1.0 {
        0.5 * 2f64.powi(-53) / g
    } else {
        0.0
    };
    let root = (rate * Dd::from(g)).sqrt();
    Cell {
        cancellation: if g > 0.0 { root.hi * moves } else { 0.0 },
        ..number(root, t)
    }
}
