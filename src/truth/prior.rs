//! The prior: density and draws.

use super::cell::{Cell, number, product};
use super::linear;
use super::model::Model;
use super::quantity::{Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{CHANNELS, Reader};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::{Square, places};

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["u"],
    optional: &[],
    settings: &[],
    leads: "u",
    outputs: Outputs::Named(&[]),
    shape: "",
    suites: &["process"],
    catches: "",
    made_from: &[],
    processes: Processes {
        words: "one whose prior is known",
        fit: |m| !m.without_prior,
    },
    law: LawOf::None,
    draws: Draws {
        times: Times::Decades,
        mean_above: 0.0,
        arrays: &[],
    },
    truth: Truth::All(log_density),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "prior.log_density",
        about: "log-density of the prior, per channel and in all",
        outputs: Outputs::Named(&["log_density"]),
        shape: "(n,); also of one channel, as log_density_x",
        catches: "a prior with variance 1 in v (it is M); a missing normalising constant",
        ..BASE
    },
    Quantity {
        name: "prior.sample",
        about: "a draw from the prior: its Cholesky factor times the noise",
        inputs: &["noise"],
        leads: "noise",
        outputs: Outputs::Named(&["u"]),
        shape: "(n, K d)",
        catches: "a prior with variance 1 in v (it is M); variance for standard deviation",
        truth: Truth::All(sample),
        ..BASE
    },
];

fn log_density(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let (u, d) = read.block("u", model.channels())?;
    log_density_of(model, u, read.n, d, output)
        .transpose()
        .map(|cells| cells.map(|c| (c, 1)))
}

fn sample(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let k = model.channels();
    let (z, d) = read.block("noise", k)?;
    if output != "u" {
        return Ok(None);
    }
    Ok(Some((prior_sample(model, z, read.n, d)?, k * d)))
}

/// The prior's covariance, row-major.
pub(super) fn prior_cov(model: &Model) -> Square {
    let k = model.channels();
    let horizon = model
        .span(0.0, model.schedule().horizon())
        .map(|s| s.tau.to_f64())
        .unwrap_or(1.0);
    let mut cov = model.process().prior(horizon);
    if model.reading.prior_one {
        (1..k).for_each(|i| cov[(i, i)] = 1.0);
    }
    (0..k).for_each(|i| cov[(i, i)] += model.reading.start_variance);
    cov
}

/// `L z`, with `L L^T` the prior's covariance.
fn prior_sample(model: &Model, z: &[f64], n: usize, d: usize) -> Result<Vec<Cell>> {
    let k = model.channels();
    let l = linear::cholesky(&prior_cov(model).map(Dd::from));
    let lower = |i: usize, j: usize| number(l[(i, j)], f64::NAN);
    Ok((0..n).flat_map(|r| product(&lower, z, r, k, d)).collect())
}

/// Log-density of the prior, per channel (`log_density_x`) or in all; `None` for an unknown output.
fn log_density_of(
    model: &Model,
    u: &[f64],
    n: usize,
    d: usize,
    output: &str,
) -> Option<Result<Vec<Cell>>> {
    let k = model.channels();
    let cov = prior_cov(model);
    let (with_det, with_tau) = (
        f64::from(u8::from(model.reading.density_det)),
        f64::from(u8::from(model.reading.density_tau)),
    );
    let diagonal = places(k).all(|(i, j)| i == j || cov[(i, j)] == 0.0);
    let channel = match output {
        "log_density" => None,
        name => Some(
            CHANNELS[..k]
                .iter()
                .position(|c| name.strip_prefix("log_density_") == Some(c))?,
        ),
    };
    let half_log_tau = 0.5 * std::f64::consts::TAU.ln();
    let cells = (0..n).map(|r| {
        let at = |i: usize, c: usize| u[r * k * d + i * d + c];
        let (mut sum, mut scale) = (Dd::ZERO, 0.0);
        let mut add = |x: Dd| {
            sum = sum + x;
            scale += x.hi.abs();
        };
        if diagonal {
            for i in (0..k).filter(|i| channel.is_none_or(|c| c == *i)) {
                let var = Dd::from(cov[(i, i)]);
                add(
                    (var.ln().scale(-0.5 * with_det) - Dd::from(half_log_tau * with_tau))
                        * Dd::from(d as f64),
                );
                (0..d).for_each(|c| add((Dd::prod(at(i, c), at(i, c)) / var).scale(-0.5)));
            }
        } else if channel.is_none() && k == 2 {
            let (xx, xv, vv) = (cov[(0, 0)], cov[(0, 1)], cov[(1, 1)]);
            let det = Dd::prod(xx, vv) - Dd::prod(xv, xv);
            add(
                (det.ln().scale(-0.5 * with_det) - Dd::from(2.0 * half_log_tau * with_tau))
                    * Dd::from(d as f64),
            );
            for c in 0..d {
                let (x, v) = (at(0, c), at(1, c));
                let square = Dd::from(vv) * Dd::prod(x, x) - Dd::from(2.0 * xv) * Dd::prod(x, v)
                    + Dd::from(xx) * Dd::prod(v, v);
                add((square / det).scale(-0.5));
            }
        } else {
            return Err(Error::parameter(
                format!("outputs.{output}"),
                "undefined",
                "log_density (the prior's channels are correlated)",
            ));
        }
        Ok(Cell {
            truth: sum,
            scale,
            cancellation: 0.0,
            t: f64::NAN,
        })
    });
    Some(cells.collect())
}
