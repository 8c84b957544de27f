//! Forward simulation: one step from s on to t. Formula: simulate.step.

use super::cell::{Cell, add, apply, number, plus, times};
use super::model::Model;
use super::quantity::{Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, plain, row_of};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::places;

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["s", "t", "u", "noise"],
    optional: &[],
    settings: &[],
    leads: "u",
    outputs: Outputs::Named(&["u_next"]),
    shape: "(n, K d)",
    suites: &["simulate"],
    catches: "",
    made_from: &["kernel.mean", "kernel.factor"],
    processes: Processes {
        words: "a process whose noise is independent from channel to channel",
        fit: |m| {
            let (k, g) = (m.channels(), m.process().noise_at(f64::MAX));
            (0..k * k).all(|n| n / k == n % k || g[(n / k, n % k)] == 0.0)
        },
    },
    law: LawOf::None,
    draws: Draws {
        times: Times::Steps,
        mean_above: 0.0,
        arrays: &[("u", Draw::Channels), ("noise", Draw::Channels)],
    },
    truth: Truth::All(exact_step),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "simulate.step.em",
        about: "one Euler-Maruyama step of the forward SDE from s to t: u + b(s) h F u + sqrt(b(s) h) G noise, h = t - s",
        outputs: Outputs::Named(&["u_next", "u_mean"]),
        shape: "(n, K d) each",
        catches: "the rate at the step's end; dt for sqrt(dt); the sign of the coupling; x moved with the new v",
        made_from: &["process.drift_diffusion"],
        truth: Truth::All(euler),
        ..BASE
    },
    Quantity {
        name: "simulate.step.exact",
        about: "one exact step of the forward SDE from s to t: Phi u + L noise of the transition over [s, t]",
        catches: "the transition from 0 for that from s; the initial velocity's variance in a step; upper for lower factor",
        ..BASE
    },
];

/// The intervals, in order.
fn intervals(model: &Model, read: &Reader<'_>) -> Result<Vec<(f64, f64)>> {
    let (t, s) = read.interval(model)?;
    match s.iter().zip(&t).find(|(s, t)| s >= t) {
        Some((s, t)) => Err(Error::parameter(
            "s",
            s,
            format!("0 <= s < t = {t}: a step goes from s on to t"),
        )),
        None => Ok(s.into_iter().zip(t).collect()),
    }
}

fn euler(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "u_mean") {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let noise = plain(read, "noise", k * d)?;
    let f = model.drift();
    let mut cells = Vec::with_capacity(u.len());
    for (r, (s, t)) in intervals(model, read)?.into_iter().enumerate() {
        let u = row_of(u, r, k * d, t);
        let step = model.rate(s) * Dd::diff(t, s);
        let clock = model.span(0.0, s)?;
        let g = model.process().noise_at((clock.start + clock.tau).to_f64());
        let entries = f.as_slice().iter();
        let drift: Vec<Cell> = entries.map(|f| number(Dd::from(*f) * step, t)).collect();
        let mut next = add(apply(&drift, &u, d), &u);
        if output == "u_next" {
            for n in 0..k * d {
                let size = number((Dd::from(g[(n / d, n / d)]) * step).sqrt(), t);
                next[n] = plus(
                    next[n],
                    times(size, number(Dd::from(noise[r * k * d + n]), t)),
                );
            }
        }
        cells.extend(next);
    }
    Ok(Some((cells, k * d)))
}

fn exact_step(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "u_next" {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let noise = plain(read, "noise", k * d)?;
    let mut cells = Vec::with_capacity(u.len());
    for (r, (s, t)) in intervals(model, read)?.into_iter().enumerate() {
        let row = model.transition(s, t)?;
        let phi: Vec<Cell> = places(k).map(|at| row.phi(at, t)).collect();
        let l = row.factor(model, t)?;
        cells.extend(add(
            apply(&phi, &row_of(u, r, k * d, t), d),
            &apply(&l, &row_of(noise, r, k * d, t), d),
        ));
    }
    Ok(Some((cells, k * d)))
}
