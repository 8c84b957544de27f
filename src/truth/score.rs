//! The parametrisations of a score: s_v = -ell eps_v; s_v = -v/S_vv - ell net; x_0 from the score
//! of the noised channel.

use super::cell::{Cell, exact, plus, times};
use super::likelihood::{Component, MIXTURE, Mixture, shares};
use super::model::{Model, Row};
use super::quantity::{Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, plain, row_of};
use crate::dd::Dd;
use crate::error::{Error, Result};

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["t", "eps"],
    optional: &[],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&["score"]),
    shape: "(n, d)",
    suites: &["score"],
    catches: "",
    made_from: &["kernel.ell"],
    processes: Processes {
        words: "a process with noise in one channel",
        fit: |m| m.noised().len() == 1,
    },
    law: LawOf::GivenX0,
    draws: Draws {
        times: Times::StartsOfSteps,
        mean_above: 0.0,
        arrays: &[("eps", Draw::One)],
    },
    truth: Truth::All(score_from_eps),
};

const MIXED: Quantity = Quantity {
    made_from: &["kernel.cov", "kernel.ell"],
    processes: Processes {
        words: "a process with velocity, and noise in its last channel alone",
        fit: |m| m.channels() >= 2 && m.noised().len() == 1,
    },
    law: LawOf::GivenX0AndGamma,
    ..BASE
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "score.score_from_eps",
        about: "score of the noised channel from its eps: -ell eps",
        catches: "the sign; 1/ell for ell",
        ..BASE
    },
    Quantity {
        name: "score.eps_from_score",
        about: "its inverse: -score / ell",
        inputs: &["t", "score"],
        outputs: Outputs::Named(&["eps"]),
        catches: "the sign; ell for 1/ell",
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("score", Draw::One)],
        },
        truth: Truth::All(eps_from_score),
        ..BASE
    },
    Quantity {
        name: "score.mixed",
        about: "-v / S_vv - ell net, S_vv of HSM",
        inputs: &["t", "u", "net_output"],
        catches: "S_vv of DSM for that of HSM; M for S_vv; ell left out",
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("u", Draw::Channels), ("net_output", Draw::One)],
        },
        truth: Truth::All(mixed),
        ..MIXED
    },
    Quantity {
        name: "score.net_from_score",
        about: "its inverse: -(score + v / S_vv) / ell",
        inputs: &["t", "u", "score"],
        outputs: Outputs::Named(&["net_output"]),
        catches: "the sign of v / S_vv; ell for 1/ell",
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("u", Draw::Channels), ("score", Draw::Noised)],
        },
        truth: Truth::All(net_from_score),
        ..MIXED
    },
    Quantity {
        name: "score.x0_from_eps",
        about: "x_0 from the state and the score of the noised channel, by way of its eps",
        inputs: &["t", "u", "score"],
        outputs: Outputs::Named(&["x0"]),
        catches: "the variance for the standard deviation; the position's channel taken alone",
        made_from: &["kernel.mean", "kernel.cov", "kernel.ell"],
        processes: Processes {
            words: "a process of one or two channels with noise in the last one alone",
            fit: |m| m.channels() <= 2 && m.noised().len() == 1,
        },
        // once the mean is gone, nothing but overflow is left to check
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 1e-100,
            arrays: &[("u", Draw::Channels), ("score", Draw::Noised)],
        },
        truth: Truth::All(x0_from_eps),
        ..BASE
    },
    Quantity {
        name: "score.mixture",
        about: "score of a mixture of normals at t: the gradient of its log-density, every channel",
        inputs: &["t", "u", "weights", "means", "stds"],
        shape: "(n, K d)",
        catches: "a component's share without its determinant; components pushed with the mean but not the variance; the sign",
        made_from: &["likelihood.mixture"],
        processes: Processes {
            words: "a process of one or two channels",
            fit: |m| m.channels() <= 2,
        },
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: MIXTURE,
        },
        truth: Truth::All(mixture),
        ..BASE
    },
];

/// `ell = sqrt(S_xx/det)` and its like: the inverse deviation of the last channel given the others.
pub(super) fn ell(model: &Model, row: &Row, t: f64) -> Result<Cell> {
    let k = model.channels();
    let f = row.factors()?;
    let l = if model.reading.ell_marginal {
        row.law.cov[(k - 1, k - 1)].sqrt().recip().to_f64()
    } else if model.reading.ell_from_cov && k == 2 {
        row.ell_from_cov(false)
    } else {
        1.0 / f.lower[(k - 1, k - 1)]
    };
    let l = if model.reading.variance_for_factor {
        l * l
    } else {
        l
    };
    Ok(Cell {
        truth: Dd::from(l),
        scale: l,
        cancellation: l * row.det_moves(k),
        t,
    })
}

/// The mixed score's Gaussian part: `1 / S_vv` of HSM's kernel.
pub(super) fn gaussian_part(model: &Model, t: f64) -> Result<Cell> {
    let k = model.channels();
    let gamma = model.declared_gamma.ok_or_else(|| {
        Error::parameter(
            "gamma",
            "missing",
            "a number >= 0: the mixed score has HSM's S_vv",
        )
    })?;
    let row = model.row_of(0.0, t, gamma)?;
    let c = row.law.cov[(k - 1, k - 1)];
    let inv = c.recip();
    Ok(Cell {
        truth: inv,
        scale: inv.hi,
        cancellation: row.rounding[(k - 1, k - 1)] * inv.hi * inv.hi,
        t,
    })
}

fn minus(c: Cell) -> Cell {
    Cell {
        truth: -c.truth,
        ..c
    }
}

fn inverse_of(c: Cell) -> Cell {
    Cell {
        truth: c.truth.recip(),
        scale: 1.0 / c.truth.hi.abs(),
        cancellation: c.cancellation / (c.truth.hi * c.truth.hi),
        t: c.t,
    }
}

/// What a parametrisation turns into what, at one row: the time, the law there, ell, the given
/// numbers, and the state's last channel (0 where the quantity reads no state).
struct Given<'a> {
    t: f64,
    row: &'a Row,
    ell: Cell,
    given: Vec<Cell>,
    /// All channels of the state, d numbers each.
    u: &'a [f64],
    d: usize,
}

impl Given<'_> {
    /// Coordinate `c` of the last channel.
    fn last(&self, c: usize) -> Cell {
        exact(self.u[self.u.len() - self.d + c], self.t)
    }
}

/// Every row of a parametrisation.
fn each(
    model: &Model,
    read: &Reader<'_>,
    input: &'static str,
    reads_u: bool,
    turn: impl Fn(&Given<'_>) -> Result<Vec<Cell>>,
) -> Found {
    let k = model.channels();
    let times = read.times("t")?;
    times.iter().try_for_each(|t| model.check_time(*t))?;
    let d = read
        .inputs
        .get(input)
        .map_or(1, |a| a.data.len() / read.n.max(1));
    let given = plain(read, input, d)?;
    let u = if reads_u {
        plain(read, "u", k * d)?
    } else {
        &[]
    };
    let mut cells = Vec::new();
    for (r, &t) in times.iter().enumerate() {
        let row = model.row(0.0, t)?;
        let u = if reads_u {
            &u[r * k * d..(r + 1) * k * d]
        } else {
            u
        };
        cells.extend(turn(&Given {
            t,
            row: &row,
            ell: ell(model, &row, t)?,
            given: row_of(given, r, d, t),
            u,
            d,
        })?);
    }
    Ok(Some((cells, d)))
}

fn score_from_eps(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "score" {
        return Ok(None);
    }
    each(model, read, "eps", false, |at| {
        Ok(at.given.iter().map(|e| minus(times(at.ell, *e))).collect())
    })
}

fn eps_from_score(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "eps" {
        return Ok(None);
    }
    each(model, read, "score", false, |at| {
        Ok(at
            .given
            .iter()
            .map(|s| minus(times(inverse_of(at.ell), *s)))
            .collect())
    })
}

fn mixed(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "score" {
        return Ok(None);
    }
    each(model, read, "net_output", true, |at| {
        let part = gaussian_part(model, at.t)?;
        Ok((0..at.d)
            .map(|c| minus(plus(times(part, at.last(c)), times(at.ell, at.given[c]))))
            .collect())
    })
}

fn net_from_score(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "net_output" {
        return Ok(None);
    }
    each(model, read, "score", true, |at| {
        let part = gaussian_part(model, at.t)?;
        Ok((0..at.d)
            .map(|c| {
                minus(times(
                    inverse_of(at.ell),
                    plus(at.given[c], times(part, at.last(c))),
                ))
            })
            .collect())
    })
}

fn x0_from_eps(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "x0" {
        return Ok(None);
    }
    let k = model.channels();
    each(model, read, "score", true, |at| {
        let (row, d, t) = (at.row, at.d, at.t);
        let (m, q) = (&row.law.mean, &row.law.cov);
        // the variance of the noised channel given the others, by which the score is multiplied
        let deviation = Dd::from(row.factors()?.lower[(k - 1, k - 1)]);
        let mut variance = deviation * deviation;
        if model.reading.variance_for_factor {
            variance = variance * deviation;
        }
        let value = |c: usize| {
            let (x, v, s) = (at.u[c], at.u[(k - 1) * d + c], at.given[c].truth);
            // one channel: (x + S s)/Phi; two: x and v + L22^2 s are what mean and the noise of x
            // alone leave
            let (terms, over) = if k == 1 {
                ([Dd::from(x), variance * s, Dd::ZERO], m[(0, 0)])
            } else {
                (
                    [
                        q[(0, 1)] * Dd::from(x),
                        -(q[(0, 0)] * Dd::from(v)),
                        -(q[(0, 0)] * variance * s),
                    ],
                    q[(0, 1)] * m[(0, 0)] - q[(0, 0)] * m[(1, 0)],
                )
            };
            let sum = terms[0] + terms[1] + terms[2];
            let size: f64 = terms.iter().map(|x| x.hi.abs()).sum();
            let value = sum / over;
            // with the mean gone at late times, x_0 is beyond f64: infinite, which is judged by
            // nothing
            let value = if value.to_f64().is_finite() {
                value
            } else {
                Dd::from(f64::INFINITY.copysign(sum.hi))
            };
            let moves = row.det_moves(k) * terms[if k == 1 { 1 } else { 2 }].hi.abs()
                + if k == 2 {
                    row.rounding[(0, 1)] * x.abs() + row.rounding[(0, 0)] * v.abs()
                } else {
                    0.0
                };
            let over_moves = if k == 2 {
                (row.rounding[(0, 1)] * m[(0, 0)].hi.abs()
                    + row.rounding[(0, 0)] * m[(1, 0)].hi.abs())
                    / over.hi.abs()
            } else {
                0.0
            };
            Cell {
                truth: value,
                scale: size / over.hi.abs(),
                cancellation: moves / over.hi.abs() + over_moves * size / over.hi.abs(),
                t,
            }
        };
        Ok((0..d).map(value).collect())
    })
}

/// `sum of share g` over the components, g each one's gradient.
fn mixture(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "score" {
        return Ok(None);
    }
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let mixture = Mixture::new(read, d)?;
    let mut cells = Vec::with_capacity(u.len());
    for (r, t) in read.times("t")?.into_iter().enumerate() {
        model.check_time(t)?;
        let list =
            mixture.components(model, &*model.row(0.0, t)?, &u[r * k * d..(r + 1) * k * d])?;
        let (_, share, _) = shares(&list);
        for n in 0..k * d {
            let truth = list
                .iter()
                .zip(&share)
                .fold(Dd::ZERO, |s, (c, w)| s + *w * c.gradient[n].0);
            // a share moves with the terms of its logarithm, and then the sum by how far that
            // gradient is from it
            let moves =
                |c: &Component| c.gradient[n].1 + (c.gradient[n].0 - truth).hi.abs() * c.size;
            let scale = list.iter().zip(&share).map(|(c, w)| w.hi * moves(c)).sum();
            cells.push(Cell {
                truth,
                scale,
                cancellation: 0.0,
                t,
            });
        }
    }
    Ok(Some((cells, k * d)))
}
