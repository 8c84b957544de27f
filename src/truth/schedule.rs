//! The schedule: rate and integral.

use super::cell::{Cell, number};
use super::model::Model;
use super::quantity::{ANY, Draws, Found, LawOf, Outputs, Quantity, Times, Truth};
use super::reader::Reader;
use crate::error::Result;

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["t"],
    optional: &[],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&[]),
    shape: "(n,)",
    suites: &["schedule"],
    catches: "",
    made_from: &[],
    processes: ANY,
    law: LawOf::None,
    draws: Draws {
        times: Times::Decades,
        mean_above: 0.0,
        arrays: &[],
    },
    truth: Truth::All(rate),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "schedule.rate",
        about: "rate b(t)",
        outputs: Outputs::Named(&["rate"]),
        catches: "beta/2 conventions; 1 - t for t",
        ..BASE
    },
    Quantity {
        name: "schedule.integral",
        about: "integral of b over [0,t], or [s,t]",
        optional: &["s"],
        outputs: Outputs::Named(&["integral"]),
        suites: &["schedule", "transition"],
        catches: "the rate at t taken for its integral; subtraction of nearly equal integrals",
        truth: Truth::All(integral),
        ..BASE
    },
];

fn rate(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let (t, _) = read.interval(model)?;
    Ok((output == "rate").then(|| (t.iter().map(|t| number(model.rate(*t), *t)).collect(), 1)))
}

fn integral(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let (t, s) = read.interval(model)?;
    let cells = t
        .iter()
        .zip(&s)
        .map(|(t, s)| Ok(number(model.span(*s, *t)?.tau, *t)))
        .collect::<Result<Vec<Cell>>>()?;
    Ok((output == "integral").then_some((cells, 1)))
}
