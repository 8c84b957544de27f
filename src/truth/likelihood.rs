//! Likelihoods.

use super::cell::Cell;
use super::model::Model;
use super::quantity::{Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, finite};
use crate::dd::Dd;
use crate::error::Error;

/// A mixture of two.
const MIXTURE: &[(&str, Draw)] = &[
    ("u", Draw::Channels),
    ("weights", Draw::Fixed(&[2], &[0.25, 0.75])),
    ("means", Draw::Fixed(&[2, 2], &[1.0, -0.5, -1.0, 0.25])),
    ("stds", Draw::Fixed(&[2], &[0.5, 0.125])),
];

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[Quantity {
    name: "likelihood.mixture",
    about: "log-density of a mixture of normals at t",
    inputs: &["t", "u", "weights", "means", "stds"],
    optional: &[],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&["log_density"]),
    shape: "(n,)",
    suites: &["likelihood"],
    catches: "a missing factor d; components pushed with the mean but not the variance; weights after the logarithm",
    made_from: &["kernel.mean", "kernel.cov"],
    processes: Processes { words: "a process of one or two channels", fit: |m| m.channels() <= 2 },
    law: LawOf::GivenX0,
    draws: Draws { times: Times::StartsOfSteps, mean_above: 0.0, arrays: MIXTURE },
    truth: Truth::All(mixture),
}];

/// Log-density of a mixture of isotropic normals, each pushed through the process: weights (J), means (J, d), stds (J).
fn mixture(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "log_density" {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let (w, m, s) = (read.get("weights")?, read.get("means")?, read.get("stds")?);
    let j = w.data.len();
    if j == 0 || m.shape != [j, d] || s.data.len() != j {
        return Err(Error::shape("means", &m.shape, format!("({j}, {d}), with {j} weights and stds")));
    }
    if let Some(bad) = w.data.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
        return Err(Error::parameter("weights", bad, "finite numbers >= 0, not all of them 0"));
    }
    if w.data.iter().all(|w| *w == 0.0) {
        return Err(Error::parameter("weights", "all 0", "finite numbers >= 0, not all of them 0"));
    }
    if let Some(bad) = s.data.iter().find(|s| !(**s >= 0.0 && s.is_finite())) {
        return Err(Error::parameter("stds", bad, "finite numbers >= 0"));
    }
    finite("means", &m.data)?;
    let mut cells = Vec::new();
    for (r, &t) in read.times("t")?.iter().enumerate() {
        model.check_time(t)?;
        let row = model.row(0.0, t)?;
        let mut logs = Vec::new();
        let mut scale = 0.0f64;
        // a component of weight 0 is not there: log 0 = -infinity adds nothing
        for i in (0..j).filter(|i| w.data[*i] > 0.0) {
            let (_, inv, det) = row.marginal(k, s.data[i])?;
            let ln_tau = Dd::from(if model.reading.density_tau { std::f64::consts::TAU.ln() } else { 0.0 });
            let det = if model.reading.density_det { det } else { Dd::ONE };
            let mut log = Dd::from(w.data[i]).ln() - (det.ln() + ln_tau * Dd::from(k as f64)).scale(0.5) * Dd::from(d as f64);
            let mut size = log.hi.abs() + d as f64;
            for c in 0..d {
                let e: Vec<Dd> =
                    (0..k).map(|a| Dd::from(u[r * k * d + a * d + c]) - row.law.mean[a * k] * Dd::from(m.data[i * d + c])).collect();
                for n in 0..k * k {
                    let term = (e[n / k] * inv[n] * e[n % k]).scale(0.5);
                    log = log - term;
                    size += term.hi.abs();
                }
            }
            logs.push((log, size));
        }
        let top = logs.iter().copied().max_by(|a, b| a.0.hi.total_cmp(&b.0.hi)).map_or(Dd::ZERO, |x| x.0);
        let (mut sum, mut moves) = (Dd::ZERO, 0.0);
        for (log, size) in &logs {
            let weight = (*log - top).exp();
            sum = sum + weight;
            moves += weight.hi * size;
        }
        scale = scale.max(moves / sum.hi);
        cells.push(Cell { truth: top + sum.ln(), scale, cancellation: 0.0, t });
    }
    Ok(Some((cells, 1)))
}
