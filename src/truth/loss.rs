//! Losses: denoising score matching per sample, and its weights.

use super::cell::{Cell, add, apply, exact, number, plus, times};
use super::model::{Model, Row};
use super::quantity::{Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, plain, row_of, setting};
use super::score::{ell, gaussian_part};
use crate::dd::Dd;
use crate::error::{Error, Result};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "loss.weight.likelihood",
        about: "weight of the likelihood weighting, (G G^T)_vv b / 2",
        inputs: &["t"],
        optional: &[],
        settings: &[],
        leads: "t",
        outputs: Outputs::Named(&["weight"]),
        shape: "(n,)",
        suites: &["loss"],
        catches: "a missing half; variance for standard deviation in the noise; the rate left out",
        made_from: &["schedule.rate"],
        processes: Processes {
            words: "a process with noise in one channel",
            fit: |m| m.noised().len() == 1,
        },
        law: LawOf::None,
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[],
        },
        truth: Truth::All(weight),
    },
    Quantity {
        name: "loss.per_sample",
        about: "denoising score matching of one sample with the mixed score",
        inputs: &["x0", "noise"],
        optional: &["t", "uniform", "v_noise", "net_output", "net_W"],
        settings: &["weighting"],
        leads: "x0",
        outputs: Outputs::Named(&["loss"]),
        shape: "(n,)",
        suites: &["loss"],
        catches: "ell for its square; a mean over coordinates for their sum; DSM's ell under HSM",
        made_from: &[
            "kernel.perturb",
            "kernel.ell",
            "score.mixed",
            "loss.weight.likelihood",
        ],
        processes: Processes {
            words: "a process of x and v with noise in v alone",
            fit: |m| m.channels() == 2 && m.noised().len() == 1,
        },
        law: LawOf::ObjectiveAndGamma,
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[
                ("x0", Draw::One),
                ("noise", Draw::Channels),
                ("v_noise", Draw::OneUnderDsm),
                ("net_output", Draw::One),
            ],
        },
        truth: Truth::All(per_sample),
    },
];

/// `g b / 2`, g = (G G^T) of the noised channel.
fn weight(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "weight" {
        return Ok(None);
    }
    let noised = model.noised();
    let cells = read.times("t")?.into_iter().map(|t| {
        model.check_time(t)?;
        let span = model.span(0.0, t)?;
        let g = model.process().noise_at((span.start + span.tau).to_f64());
        let half = 0.5 * model.reading.weight;
        Ok(number(
            model.rate(t) * Dd::from(half * g[(noised[0], noised[0])]),
            t,
        ))
    });
    Ok(Some((cells.collect::<Result<_>>()?, 1)))
}

/// Denoising score matching per sample, of `u_t = Phi u_0 + L z` and the mixed score: with D = s +
/// ell z_v, summed over coordinates, `likelihood` g b/2 D^2, `reweightedv1` g b/2 (D/ell)^2,
/// `reweightedv2` (D/ell)^2; g = (G G^T)_vv.
fn per_sample(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "loss" {
        return Ok(None);
    }
    let k = model.channels();
    let given = Sample::new(model, read)?;
    let t = if read.inputs.contains_key("uniform") {
        read.times("uniform")?
            .iter()
            .map(|u| u * (1.0 - 1e-5) + 1e-5)
            .collect()
    } else {
        read.times("t")?
    };
    let weighting = setting(read, "weighting").ok_or_else(|| {
        Error::parameter(
            "weighting",
            "missing",
            "likelihood, reweightedv1, reweightedv2",
        )
    })?;
    let mut cells = Vec::new();
    for (r, &t) in t.iter().enumerate() {
        model.check_time(t)?;
        let row = model.row(0.0, t)?;
        let l = ell(model, &row, t)?;
        let (u, z) = given.state(model, &row, (r, t))?;
        let sum = given.squares(model, (r, t), l, (&u, &z))?;
        let span = model.span(0.0, t)?;
        let g = model.process().noise_at((span.start + span.tau).to_f64())[(k - 1, k - 1)];
        let rate = model.rate(t) * Dd::from(0.5 * g * model.reading.weight);
        let weight = match model.reading.weighting.unwrap_or(weighting as usize) {
            0 => times(number(rate, t), times(l, l)),
            1 => number(rate, t),
            _ => exact(1.0, t),
        };
        cells.push(times(times(weight, exact(model.reading.loss, t)), sum));
    }
    Ok(Some((cells, 1)))
}

/// What a network puts out: as given, or `tanh(u W)`.
enum Net<'a> {
    Output(&'a [f64]),
    Weights(&'a [f64]),
}

/// What a loss per sample is made of: every row's data and draws, and the network.
struct Sample<'a> {
    x0: &'a [f64],
    noise: &'a [f64],
    /// Of the initial velocity; none under HSM.
    v_noise: &'a [f64],
    net: Net<'a>,
    d: usize,
}

impl<'a> Sample<'a> {
    fn new(model: &Model, read: &'a Reader<'_>) -> Result<Self> {
        let k = model.channels();
        let x0 = read.get("x0")?;
        let d = if x0.shape.len() == 2 { x0.shape[1] } else { 0 };
        let x0 = plain(read, "x0", d.max(1))?;
        let noise = plain(read, "noise", k * d)?;
        let v_noise = if model.hsm {
            &[][..]
        } else {
            plain(read, "v_noise", d)?
        };
        let net = if read.inputs.contains_key("net_output") {
            Net::Output(plain(read, "net_output", d)?)
        } else {
            let w = read.get("net_W")?;
            if w.shape != [k * d, d] {
                return Err(Error::shape("net_W", &w.shape, format!("({}, {d})", k * d)));
            }
            Net::Weights(&w.data)
        };
        Ok(Sample {
            x0,
            noise,
            v_noise,
            net,
            d,
        })
    }

    /// The state `Phi u_0 + L z` of row `r` at time t, and z.
    fn state(
        &self,
        model: &Model,
        row: &Row,
        (r, t): (usize, f64),
    ) -> Result<(Vec<Cell>, Vec<Cell>)> {
        let (k, d) = (model.channels(), self.d);
        let z = row_of(self.noise, r, k * d, t);
        let shared = model.reading.one_noise.filter(|i| *i < k);
        let z: Vec<Cell> = (0..k * d)
            .map(|n| z[shared.map_or(n, |i| i * d + n % d)])
            .collect();
        let gamma = Dd::from(model.declared_gamma.unwrap_or(0.0));
        let deviation = (gamma * Dd::from(model.process().mass())).sqrt();
        let u0 = |n: usize| {
            if n < d {
                Dd::from(self.x0[r * d + n])
            } else if model.hsm {
                Dd::ZERO
            } else {
                deviation * Dd::from(self.v_noise[r * d + n - d])
            }
        };
        let u0: Vec<Cell> = (0..k * d).map(|n| number(u0(n), t)).collect();
        let mean = row.law.mean.as_slice().iter();
        let mean: Vec<Cell> = mean.map(|m| number(*m, t)).collect();
        let lower = row.factors()?.lower;
        let lower: Vec<Cell> = lower.as_slice().iter().map(|m| exact(*m, t)).collect();
        Ok((add(apply(&mean, &u0, d), &apply(&lower, &z, d)), z))
    }

    /// The network's output at the state u.
    fn output(&self, k: usize, (r, t): (usize, f64), u: &[Cell]) -> Vec<Cell> {
        let d = self.d;
        match self.net {
            Net::Output(net) => row_of(net, r, d, t),
            Net::Weights(w) => {
                let inner = |c: usize| {
                    (0..k * d).fold(Dd::ZERO, |s, n| s + u[n].truth * Dd::from(w[n * d + c]))
                };
                (0..d).map(|c| number(tanh(inner(c)), t)).collect()
            }
        }
    }

    /// The sum over coordinates of `(z - net - v/(S_vv ell))^2`, which is `(D/ell)^2`.
    fn squares(
        &self,
        model: &Model,
        (r, t): (usize, f64),
        l: Cell,
        (u, z): (&[Cell], &[Cell]),
    ) -> Result<Cell> {
        let d = self.d;
        let net = self.output(model.channels(), (r, t), u);
        let part = gaussian_part(model, t)?;
        Ok((0..d).fold(number(Dd::ZERO, t), |sum, c| {
            let pull = part.truth * u[d + c].truth / l.truth;
            let e = z[d + c].truth - net[c].truth - pull;
            let size = z[d + c].scale + net[c].scale + pull.hi.abs();
            let moves = pull.hi.abs() * (part.cancellation / part.scale + l.cancellation / l.scale);
            let square = Cell {
                truth: e * e,
                scale: e.hi.abs() * size,
                cancellation: 2.0 * e.hi.abs() * moves,
                t,
            };
            plus(sum, square)
        }))
    }
}

fn tanh(x: Dd) -> Dd {
    let e = x.abs().scale(2.0).exp_m1();
    let t = e / (e + Dd::from(2.0));
    if x.hi < 0.0 { -t } else { t }
}
