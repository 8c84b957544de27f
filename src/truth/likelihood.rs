//! Likelihoods.

use super::cell::Cell;
use super::flow;
use super::linear;
use super::model::{Model, Row};
use super::prior::prior_cov;
use super::quantity::{ANY, Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, finite, plain, setting};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::{Square, places};

/// A mixture of two.
pub(super) const MIXTURE: &[(&str, Draw)] = &[
    ("u", Draw::Channels),
    ("weights", Draw::Fixed(&[2], &[0.25, 0.75])),
    ("means", Draw::Fixed(&[2, 2], &[1.0, -0.5, -1.0, 0.25])),
    ("stds", Draw::Fixed(&[2], &[0.5, 0.125])),
];

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["t", "u", "weights", "means", "stds"],
    optional: &[],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&["log_density"]),
    shape: "(n,)",
    suites: &["likelihood"],
    catches: "",
    made_from: &["kernel.mean", "kernel.cov"],
    processes: Processes {
        words: "a process of one or two channels",
        fit: |m| m.channels() <= 2,
    },
    law: LawOf::GivenX0,
    draws: Draws {
        times: Times::StartsOfSteps,
        mean_above: 0.0,
        arrays: MIXTURE,
    },
    truth: Truth::All(mixture),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "likelihood.mixture",
        about: "log-density of a mixture of normals at t",
        catches: "a missing factor d; components pushed with the mean but not the variance; weights after the logarithm",
        ..BASE
    },
    Quantity {
        name: "likelihood.hutchinson",
        about: "e^T J e for a given probe e: J is the Jacobian of the probability flow b (F u - G G^T s / 2), forward in time, s an affine score",
        inputs: &["t", "probe"],
        optional: &["data", "score_v_matrix"],
        leads: "probe",
        outputs: Outputs::Named(&["divergence"]),
        catches: "the sign of the reverse clock; the score's part without its half; a mean over coordinates for their sum",
        made_from: &["sampler.reverse_drift"],
        processes: ANY,
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("probe", Draw::Channels), DATA],
        },
        truth: Truth::All(hutchinson),
        ..BASE
    },
    Quantity {
        name: "likelihood.flow",
        about: "log-density at t by the probability flow from t to the last time, for the exact score of normal data: log prior(u_T) + the divergence's integral",
        inputs: &["t", "u", "data"],
        catches: "the sign of the divergence; a prior of another variance; the flow's half",
        made_from: &["kernel.mean", "kernel.cov", "prior.log_density"],
        processes: Processes {
            words: "a process of one or two channels",
            fit: |m| m.channels() <= 2 && !m.without_prior,
        },
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("u", Draw::Channels), DATA],
        },
        truth: Truth::All(flow),
        ..BASE
    },
    Quantity {
        name: "likelihood.bits",
        about: "bits per dimension of integer data scaled to [-1, 1): -log p / (dim ln 2) + log2(levels) - 1",
        inputs: &["log_density"],
        settings: &["dim", "levels"],
        leads: "log_density",
        outputs: Outputs::Named(&["bits"]),
        catches: "8 bits for 7 (the width of a level is 2/256); nats for bits; the sign",
        made_from: &[],
        processes: ANY,
        law: LawOf::Nothing,
        draws: Draws {
            times: Times::None,
            mean_above: 0.0,
            arrays: &[(
                "log_density",
                Draw::Fixed(&[4], &[-7000.0, -250.5, 0.25, 8192.0]),
            )],
        },
        truth: Truth::All(bits),
        ..BASE
    },
    Quantity {
        name: "likelihood.dequantise",
        about: "integers with given noise on [-1, 1): 2 (values + uniform) / levels - 1",
        inputs: &["values", "uniform"],
        settings: &["levels"],
        leads: "values",
        outputs: Outputs::Named(&["x"]),
        shape: "(n, d)",
        catches: "levels - 1 for levels; noise of another width than a level",
        made_from: &[],
        processes: ANY,
        law: LawOf::Nothing,
        draws: Draws {
            times: Times::None,
            mean_above: 0.0,
            arrays: &[
                (
                    "values",
                    Draw::Fixed(&[3, 2], &[0.0, 255.0, 127.0, 128.0, 1.0, 200.0]),
                ),
                (
                    "uniform",
                    Draw::Fixed(&[3, 2], &[0.0, 0.75, 0.5, 0.125, 0.25, 0.9375]),
                ),
            ],
        },
        truth: Truth::All(dequantise),
        ..BASE
    },
];

/// Normal data: mean and standard deviation.
const DATA: (&str, Draw) = ("data", Draw::Fixed(&[2], &[0.5, 0.75]));

/// A mixture's arrays: weights (J), means (J, d), stds (J).
pub(super) struct Mixture<'a> {
    weights: &'a [f64],
    means: &'a [f64],
    stds: &'a [f64],
}

/// One component at one state.
pub(super) struct Component {
    /// Log of weight times density, and the size of its terms.
    pub log: Dd,
    pub size: f64,
    /// Gradient of the log-density, every channel and coordinate, and the size of its terms.
    pub gradient: Vec<(Dd, f64)>,
}

impl Mixture<'_> {
    /// The mixture for data of `d` coordinates.
    ///
    /// # Errors
    /// Shapes that do not belong together; weights or deviations that are not finite or below 0, or
    /// no weight at all.
    pub fn new<'a>(read: &'a Reader<'_>, d: usize) -> Result<Mixture<'a>> {
        let (w, m, s) = (read.get("weights")?, read.get("means")?, read.get("stds")?);
        let j = w.data.len();
        if j == 0 || m.shape != [j, d] || s.data.len() != j {
            return Err(Error::shape(
                "means",
                &m.shape,
                format!("({j}, {d}), with {j} weights and stds"),
            ));
        }
        if let Some(bad) = w.data.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
            return Err(Error::parameter(
                "weights",
                bad,
                "finite numbers >= 0, not all of them 0",
            ));
        }
        if w.data.iter().all(|w| *w == 0.0) {
            return Err(Error::parameter(
                "weights",
                "all 0",
                "finite numbers >= 0, not all of them 0",
            ));
        }
        if let Some(bad) = s.data.iter().find(|s| !(**s >= 0.0 && s.is_finite())) {
            return Err(Error::parameter("stds", bad, "finite numbers >= 0"));
        }
        finite("means", &m.data)?;
        Ok(Mixture {
            weights: &w.data,
            means: &m.data,
            stds: &s.data,
        })
    }

    /// Every component of positive weight, pushed through the process, at the state `u` of K
    /// channels.
    ///
    /// # Errors
    /// A component whose covariance is singular.
    pub fn components(&self, model: &Model, row: &Row, u: &[f64]) -> Result<Vec<Component>> {
        let k = model.channels();
        let d = u.len() / k;
        let mut list = Vec::new();
        // a component of weight 0 is not there: log 0 = -infinity adds nothing
        for i in (0..self.weights.len()).filter(|i| self.weights[*i] > 0.0) {
            let (_, inv, det) = row.marginal(self.stds[i])?;
            let ln_tau = Dd::from(if model.reading.density_tau {
                std::f64::consts::TAU.ln()
            } else {
                0.0
            });
            let det = if model.reading.density_det {
                det
            } else {
                Dd::ONE
            };
            let mut log = Dd::from(self.weights[i]).ln()
                - (det.ln() + ln_tau * Dd::from(k as f64)).scale(0.5) * Dd::from(d as f64);
            let mut size = log.hi.abs() + d as f64;
            let mut gradient = vec![(Dd::ZERO, 0.0); k * d];
            for c in 0..d {
                let e: Vec<Dd> = (0..k)
                    .map(|a| {
                        Dd::from(u[a * d + c])
                            - row.law.mean[(a, 0)] * Dd::from(self.means[i * d + c])
                    })
                    .collect();
                for (a, b) in places(k) {
                    let term = (e[a] * inv[(a, b)] * e[b]).scale(0.5);
                    log = log - term;
                    size += term.hi.abs();
                    let pull = inv[(a, b)] * e[b];
                    let (sum, terms) = &mut gradient[a * d + c];
                    let given = u[b * d + c].abs()
                        + (row.law.mean[(b, 0)].hi * self.means[i * d + c]).abs();
                    (*sum, *terms) = (*sum - pull, *terms + inv[(a, b)].hi.abs() * given);
                }
            }
            list.push(Component {
                log,
                size,
                gradient,
            });
        }
        Ok(list)
    }
}

/// The log of the sum of components, each one's share of it, and how much the log moves with the
/// components' terms.
pub(super) fn shares(list: &[Component]) -> (Dd, Vec<Dd>, f64) {
    let top = list
        .iter()
        .map(|c| c.log)
        .max_by(|a, b| a.hi.total_cmp(&b.hi))
        .unwrap_or(Dd::ZERO);
    let weights: Vec<Dd> = list.iter().map(|c| (c.log - top).exp()).collect();
    let (mut sum, mut moves) = (Dd::ZERO, 0.0);
    for (weight, c) in weights.iter().zip(list) {
        sum = sum + *weight;
        moves += weight.hi * c.size;
    }
    (
        top + sum.ln(),
        weights.into_iter().map(|w| w / sum).collect(),
        moves / sum.hi,
    )
}

/// Log-density of a mixture of isotropic normals, each pushed through the process.
fn mixture(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "log_density" {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let mixture = Mixture::new(read, d)?;
    let cells = read.times("t")?.into_iter().enumerate().map(|(r, t)| {
        model.check_time(t)?;
        let list =
            mixture.components(model, &*model.row(0.0, t)?, &u[r * k * d..(r + 1) * k * d])?;
        let (log, _, scale) = shares(&list);
        Ok(Cell {
            truth: log,
            scale,
            cancellation: 0.0,
            t,
        })
    });
    Ok(Some((cells.collect::<Result<_>>()?, 1)))
}

/// `F - G G^T A / 2` for the score's slopes A, and the sizes of its terms: near the stationary law
/// drift and score take each other away, and what an entry is made of counts, not what is left of
/// it.
fn flow_jacobian(model: &Model, t: f64, a: &Square<Dd>) -> Result<(Square<Dd>, Square)> {
    let span = model.span(0.0, t)?;
    let g = model.process().noise_at((span.start + span.tau).to_f64());
    let f = model.process().drift();
    let (mut jacobian, mut size) = (f.map(Dd::from), f.map(f64::abs));
    for i in model.noised() {
        for j in 0..model.channels() {
            let part = Dd::from(0.5 * g[(i, i)]) * a[(i, j)];
            jacobian[(i, j)] = jacobian[(i, j)] - part;
            size[(i, j)] += part.hi.abs();
        }
    }
    Ok((jacobian, size))
}

/// The Jacobian's part of one coordinate: `b e^T (F - G G^T A / 2) e`, A that of the score.
fn hutchinson(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "divergence" {
        return Ok(None);
    }
    let k = model.channels();
    let (e, d) = read.block("probe", k)?;
    let matrix = read.inputs.get("score_v_matrix");
    if let Some(a) = matrix.filter(|a| a.data.len() != k || model.noised().len() != 1) {
        return Err(Error::shape(
            "score_v_matrix",
            &a.shape,
            format!("({k},), for a process with noise in one channel"),
        ));
    }
    let std = match (matrix, read.data()?) {
        (None, Some([_, std])) => std,
        (Some(_), _) => 0.0,
        (None, None) => {
            return Err(Error::parameter(
                "data",
                "missing",
                "data [mean, std], or score_v_matrix [a, b]",
            ));
        }
    };
    let cells = read.times("t")?.into_iter().enumerate().map(|(r, t)| {
        model.check_time(t)?;
        let slopes = match matrix {
            Some(a) => Square::build(k, |_, j| Dd::from(a.data[j])),
            None => model.row(0.0, t)?.marginal(std)?.1.map(|x| -x),
        };
        let (jacobian, size) = flow_jacobian(model, t, &slopes)?;
        let (mut sum, mut scale) = (Dd::ZERO, 0.0);
        for (a, b) in places(k) {
            for c in 0..d {
                let probes = Dd::prod(e[r * k * d + a * d + c], e[r * k * d + b * d + c]);
                sum = sum + jacobian[(a, b)] * probes;
                scale += size[(a, b)] * probes.hi.abs();
            }
        }
        let b = model.rate(t);
        Ok(Cell {
            truth: b * sum,
            scale: b.hi * scale,
            cancellation: 0.0,
            t,
        })
    });
    Ok(Some((cells.collect::<Result<_>>()?, 1)))
}

/// For normal data the flow is affine: `u_T = m_T + A (u - m_t)`, and
/// `log p = log N(u_T; 0, S) + d log det A`, S the prior's covariance, det A^2 = det C_T / det C_t
/// with C the marginal covariances. Of two channels, that is the joint density of x and v.
fn flow(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "log_density" {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let [mean, std] = read
        .data()?
        .ok_or_else(|| Error::parameter("data", "missing", "[mean, std]"))?;
    let last = flow::at(model, ("t", model.schedule().horizon()), std)?;
    let (precision, det) = linear::inverse(&prior_cov(model).map(Dd::from))?;
    let dim = Dd::from(d as f64);
    let ln_tau = Dd::from(if model.reading.density_tau {
        std::f64::consts::TAU.ln()
    } else {
        0.0
    });
    let constant = (det.ln() + ln_tau * Dd::from(k as f64)).scale(-0.5) * dim;
    let cells = read.times("t")?.into_iter().enumerate().map(|(r, t)| {
        let own = flow::at(model, ("t", t), std)?;
        let map = flow::map(model, std, &own, &last)?;
        let grown = (0..k).fold(Dd::ZERO, |s, i| s + (last.l[(i, i)] / own.l[(i, i)]).ln()) * dim;
        let (mut sum, mut scale) = (
            constant + grown,
            constant.hi.abs() + grown.hi.abs() + d as f64,
        );
        for c in 0..d {
            let given = |i: usize| u[r * k * d + i * d + c];
            let centre = |law: &flow::At, i: usize| law.mean[(i, 0)] * Dd::from(mean);
            let moved = |i: usize| {
                (0..k).fold(centre(&last, i), |s, j| {
                    s + map[(i, j)] * (Dd::from(given(j)) - centre(&own, j))
                })
            };
            let size = |i: usize| {
                let terms =
                    |j: usize| map[(i, j)].hi.abs() * (given(j).abs() + centre(&own, j).hi.abs());
                centre(&last, i).hi.abs() + (0..k).map(terms).sum::<f64>()
            };
            for (i, j) in places(k) {
                let (a, b) = (moved(i), moved(j));
                sum = sum - (a * precision[(i, j)] * b).scale(0.5);
                scale += 0.5
                    * precision[(i, j)].hi.abs()
                    * (a.hi.abs() * size(j) + b.hi.abs() * size(i));
            }
        }
        Ok(Cell {
            truth: sum,
            scale,
            cancellation: 0.0,
            t,
        })
    });
    Ok(Some((cells.collect::<Result<_>>()?, 1)))
}

/// A setting that is a whole number of at least `least`.
fn whole(read: &Reader<'_>, name: &'static str, allowed: &'static str, least: f64) -> Result<f64> {
    match setting(read, name) {
        Some(x) if x.fract() == 0.0 && x >= least && x <= 1e9 => Ok(x),
        Some(x) => Err(Error::parameter(name, x, allowed)),
        None => Err(Error::parameter(name, "missing", allowed)),
    }
}

fn levels(read: &Reader<'_>) -> Result<f64> {
    whole(read, "levels", "a whole number, 2 to 1000000000", 2.0)
}

fn bits(_: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "bits" {
        return Ok(None);
    }
    let (dim, levels) = (
        whole(read, "dim", "a whole number, 1 to 1000000000", 1.0)?,
        levels(read)?,
    );
    let ln2 = Dd::from(2.0).ln();
    let more = Dd::from(levels).ln() / ln2 - Dd::ONE;
    let log = read.times("log_density")?;
    finite("log_density", &log)?;
    let cell = |log: &f64| {
        let own = -(Dd::from(*log) / (Dd::from(dim) * ln2));
        Cell {
            truth: own + more,
            scale: own.hi.abs() + more.hi.abs() + 1.0,
            cancellation: 0.0,
            t: f64::NAN,
        }
    };
    Ok(Some((log.iter().map(cell).collect(), 1)))
}

fn dequantise(_: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "x" {
        return Ok(None);
    }
    let levels = levels(read)?;
    let (values, d) = read.block("values", 1)?;
    let noise = plain(read, "uniform", d)?;
    if let Some(bad) = values
        .iter()
        .find(|v| !(v.fract() == 0.0 && **v >= 0.0 && **v < levels))
    {
        return Err(Error::parameter(
            "values",
            bad,
            format!("whole numbers from 0 to {}", levels - 1.0),
        ));
    }
    let cells = values.iter().zip(noise).map(|(v, u)| {
        let part = (Dd::from(*v) + Dd::from(*u)) / Dd::from(0.5 * levels);
        Cell {
            truth: part - Dd::ONE,
            scale: part.hi.abs() + 1.0,
            cancellation: 0.0,
            t: f64::NAN,
        }
    });
    Ok(Some((cells.collect(), d)))
}
