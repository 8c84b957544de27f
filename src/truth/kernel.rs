//! The perturbation kernel: mean, covariance and what follows from them at one time, or over an
//! interval `[s, t]`.

use super::cell::{Cell, add, product};
use super::model::Model;
use super::quantity::{ANY, At, Draws, Found, LawOf, Outputs, Quantity, Times, Truth};
use super::reader::{CHANNELS, digits, pair};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::places;

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["t"],
    optional: &["s"],
    settings: &[],
    leads: "t",
    outputs: Outputs::Named(&[]),
    shape: "(n,)",
    suites: &["kernel"],
    catches: "",
    made_from: &["kernel.cov"],
    processes: ANY,
    law: LawOf::Objective,
    draws: Draws {
        times: Times::Decades,
        mean_above: 0.0,
        arrays: &[],
    },
    truth: Truth::Kernel(mean),
};

/// Times without a mean to speak of say nothing about a ratio to it; this is what float32 holds of
/// it.
const WITH_MEAN: Draws = Draws {
    times: Times::Decades,
    mean_above: 1e-30,
    arrays: &[],
};

/// Data [mean, std]: the law of u_t for x_0 of these, and not for one x_0.
const WITH_DATA: &[&str] = &["s", "data"];

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "kernel.mean",
        about: "mean matrix Phi, and Phi u0",
        optional: &["s", "u0", "data"],
        outputs: Outputs::Named(&["matrix", "mean"]),
        shape: "matrix (n, K, K), or its entries xx, xv, vx, vv (n,); mean (n, K d)",
        suites: &["kernel", "transition"],
        catches: "M and 1/M swapped; the sign of the coupling; Gamma not critical; beta's integral off by a factor",
        made_from: &["schedule.integral"],
        ..BASE
    },
    Quantity {
        name: "kernel.cov",
        about: "covariance",
        optional: WITH_DATA,
        outputs: Outputs::Pairs,
        shape: "(n,) each; the whole (n, K, K) as cov",
        suites: &["kernel", "transition"],
        catches: "a constant added to the variances; cancellation; DSM for HSM; gamma for gamma M",
        made_from: &["schedule.integral"],
        truth: Truth::Kernel(cov),
        ..BASE
    },
    Quantity {
        name: "kernel.factor",
        about: "Cholesky factor, lower or upper",
        optional: WITH_DATA,
        outputs: Outputs::Named(&["factor"]),
        shape: "(n, K, K), or its entries l11, l21, l22 (n,)",
        suites: &["kernel", "transition"],
        catches: "upper for lower; the covariance itself for its factor",
        truth: Truth::Kernel(factor),
        ..BASE
    },
    Quantity {
        name: "kernel.inverse_transpose_factor",
        about: "inverse transpose of the factor",
        optional: WITH_DATA,
        outputs: Outputs::Named(&["factor"]),
        shape: "(n, K, K), or its entries l11, l12, l22 (n,)",
        catches: "the inverse for its transpose; upper for lower",
        made_from: &["kernel.factor"],
        truth: Truth::Kernel(inverse_transpose_factor),
        ..BASE
    },
    Quantity {
        name: "kernel.inverse",
        about: "inverse covariance",
        optional: WITH_DATA,
        outputs: Outputs::Pairs,
        shape: "(n,) each; the whole (n, K, K) as inverse",
        catches: "a determinant that cancels",
        truth: Truth::Kernel(inverse),
        ..BASE
    },
    Quantity {
        name: "kernel.det",
        about: "determinant",
        optional: WITH_DATA,
        outputs: Outputs::Named(&["det"]),
        catches: "S_xx S_vv - S_xv^2 by subtraction",
        truth: Truth::Kernel(det),
        ..BASE
    },
    Quantity {
        name: "kernel.logdet",
        about: "log-determinant",
        optional: WITH_DATA,
        outputs: Outputs::Named(&["logdet"]),
        catches: "the logarithm of a determinant that cancels; one half of it",
        truth: Truth::Kernel(logdet),
        ..BASE
    },
    Quantity {
        name: "kernel.ell",
        about: "ell_t, inverse standard deviation of v given x",
        optional: WITH_DATA,
        outputs: Outputs::Named(&["ell"]),
        shape: "(n,); also as minus_ell",
        catches: "1/sqrt(S_vv) for sqrt(S_xx / det); a constant added to the variances",
        truth: Truth::Kernel(ell),
        ..BASE
    },
    Quantity {
        name: "kernel.snr",
        about: "signal-to-noise ratio of x",
        outputs: Outputs::Named(&["snr"]),
        catches: "variance for standard deviation",
        made_from: &["kernel.mean", "kernel.cov"],
        truth: Truth::Kernel(snr),
        ..BASE
    },
    Quantity {
        name: "kernel.snr_joint",
        about: "signal-to-noise ratio of all channels",
        outputs: Outputs::Named(&["snr_joint"]),
        catches: "velocities left out",
        made_from: &["kernel.mean", "kernel.cov"],
        truth: Truth::Kernel(snr_joint),
        ..BASE
    },
    Quantity {
        name: "kernel.std",
        about: "standard deviation of each channel",
        optional: WITH_DATA,
        outputs: Outputs::Channels,
        shape: "(n,) each; with one channel also as std",
        catches: "variances; a constant added before the root",
        truth: Truth::Kernel(std),
        ..BASE
    },
    Quantity {
        name: "kernel.sigma",
        about: "noise level of x: its standard deviation over the mean's factor",
        outputs: Outputs::Named(&["sigma"]),
        catches: "the standard deviation without the mean's factor",
        made_from: &["kernel.mean", "kernel.cov"],
        draws: WITH_MEAN,
        truth: Truth::Kernel(sigma),
        ..BASE
    },
    Quantity {
        name: "kernel.logsnr",
        about: "logarithm of the signal-to-noise ratio of x",
        outputs: Outputs::Named(&["logsnr"]),
        catches: "half of it; the opposite sign",
        made_from: &["kernel.mean", "kernel.cov"],
        draws: WITH_MEAN,
        truth: Truth::Kernel(logsnr),
        ..BASE
    },
    Quantity {
        name: "kernel.perturb",
        about: "Phi u0 + L noise",
        inputs: &["t", "u0", "noise"],
        outputs: Outputs::Named(&["u_t"]),
        shape: "(n, K d)",
        suites: &["perturb"],
        catches: "variances for standard deviations; upper for lower factor; the mean without Phi_vx",
        made_from: &["kernel.mean", "kernel.factor"],
        truth: Truth::Kernel(perturb),
        ..BASE
    },
    Quantity {
        name: "kernel.log_density",
        about: "log-density of u given u0",
        inputs: &["t", "u", "u0"],
        outputs: Outputs::Named(&["log_density"]),
        suites: &["density"],
        catches: "a missing factor d, or half of the log-determinant",
        made_from: &["kernel.mean", "kernel.inverse", "kernel.logdet"],
        truth: Truth::Kernel(log_density),
        ..BASE
    },
    Quantity {
        name: "kernel.score",
        about: "gradient of the log-density",
        inputs: &["t", "u", "u0"],
        outputs: Outputs::Named(&["score"]),
        shape: "(n, K d)",
        suites: &["density"],
        catches: "the sign; the inverse of the factor for that of the covariance",
        made_from: &["kernel.mean", "kernel.inverse"],
        truth: Truth::Kernel(score),
        ..BASE
    },
    Quantity {
        name: "kernel.score_from_eps",
        about: "-L^-T eps",
        inputs: &["t", "eps"],
        outputs: Outputs::Named(&["score"]),
        shape: "(n, K d)",
        suites: &["conversion"],
        catches: "L^-1 for L^-T; -ell for its inverse",
        made_from: &["kernel.inverse_transpose_factor"],
        truth: Truth::Kernel(score_from_eps),
        ..BASE
    },
    Quantity {
        name: "kernel.eps_from_score",
        about: "-L^T score",
        inputs: &["t", "score"],
        outputs: Outputs::Named(&["eps"]),
        shape: "(n, K d)",
        suites: &["conversion"],
        catches: "L for L^T",
        made_from: &["kernel.factor"],
        truth: Truth::Kernel(eps_from_score),
        ..BASE
    },
    Quantity {
        name: "kernel.x0_from_eps",
        about: "(x - L_xx eps_x) / Phi_xx",
        inputs: &["t", "u", "eps"],
        outputs: Outputs::Named(&["x0"]),
        shape: "(n, d)",
        suites: &["conversion"],
        catches: "the variance for the standard deviation",
        made_from: &["kernel.mean", "kernel.factor"],
        // with Phi_xx far below 1, nothing but overflow is left to check
        draws: Draws {
            times: Times::Decades,
            mean_above: 1e-290,
            arrays: &[],
        },
        truth: Truth::Kernel(x0_from_eps),
        ..BASE
    },
];

impl At<'_> {
    fn cell(&self, truth: Dd, scale: f64, cancellation: f64) -> Cell {
        Cell {
            truth,
            scale: scale.abs().max(truth.hi.abs()),
            cancellation,
            t: self.t,
        }
    }

    /// A whole matrix.
    fn whole(&self, f: &dyn Fn(usize, usize) -> Cell) -> Found {
        let cells = places(self.k).map(|(i, j)| f(i, j)).collect();
        Ok(Some((cells, self.k * self.k)))
    }

    /// A matrix under the name `whole`, or the entry at `index`.
    fn matrix(
        &self,
        output: &str,
        whole: &str,
        index: Option<usize>,
        f: &dyn Fn(usize, usize) -> Cell,
    ) -> Found {
        if output == whole {
            self.whole(f)
        } else {
            Ok(index.map(|n| (vec![f(n / self.k, n % self.k)], 1)))
        }
    }

    /// One number, if `output` is its name.
    fn single(&self, output: &str, name: &str, f: &dyn Fn() -> Result<Cell>) -> Found {
        if output == name {
            Ok(Some((vec![f()?], 1)))
        } else {
            Ok(None)
        }
    }

    fn phi(&self, i: usize, j: usize) -> Cell {
        let cell = self.row.phi((i, j), self.t);
        self.cell(cell.truth, cell.scale, 0.0)
    }

    fn lower(&self) -> Result<Vec<Cell>> {
        self.row.factor(self.model, self.t)
    }

    fn det_moves(&self) -> f64 {
        self.row.det_moves(self.k)
    }

    fn diag_moves(&self, i: usize) -> f64 {
        self.row.rounding[(i, i)] / self.row.law.cov[(i, i)].hi
    }
}

fn mean(at: &At<'_>, output: &str) -> Found {
    if let ("mean", Some([centre, _])) = (output, at.read.data()?) {
        return Ok(Some((
            product(&|i, j| at.phi(i, j), &start(centre, at.k), 0, at.k, 1),
            at.k,
        )));
    }
    if output == "mean" {
        let (u0, d) = at.read.block("u0", at.k)?;
        let mean = product(&|i, j| at.phi(i, j), u0, at.r, at.k, d);
        return Ok(Some((mean, at.k * d)));
    }
    at.matrix(output, "matrix", pair(output, at.k), &|i, j| at.phi(i, j))
}

/// x_0 in the first of k channels.
fn start(x: f64, k: usize) -> Vec<f64> {
    (0..k).map(|i| if i == 0 { x } else { 0.0 }).collect()
}

fn cov(at: &At<'_>, output: &str) -> Found {
    let (row, k) = (at.row, at.k);
    let cov = &row.law.cov;
    at.matrix(output, "cov", pair(output, k), &|i, j| {
        let (scale, rounding) = (row.cov_scale[(i, j)], row.rounding[(i, j)]);
        if at.model.reading.deviation_for_variance && i == j {
            let root = cov[(i, j)].sqrt();
            return at.cell(root, 0.5 * scale / root.hi, rounding / root.hi);
        }
        at.cell(cov[(i, j)], scale, rounding)
    })
}

fn factor(at: &At<'_>, output: &str) -> Found {
    let cells = at.lower()?;
    at.matrix(output, "factor", digits(output, at.k), &|i, j| {
        cells[i * at.k + j]
    })
}

fn inverse_transpose_factor(at: &At<'_>, output: &str) -> Found {
    let (row, k) = (at.row, at.k);
    let (f, upper) = (row.factors()?, at.model.reading.upper);
    let (l, it) = (f.triangle(upper), f.inverse_transpose(upper));
    at.matrix(output, "factor", digits(output, k), &|a, b| {
        let entry = it[(a, b)];
        let scale = if a != b && entry != 0.0 {
            row.cov_scale[(b, a)] / (l[(a, a)].powi(2) * l[(b, b)])
        } else {
            entry
        };
        let moves = entry.abs() * (at.det_moves() + at.diag_moves(0));
        at.cell(Dd::from(entry), scale, moves)
    })
}

fn inverse(at: &At<'_>, output: &str) -> Found {
    let (row, k) = (at.row, at.k);
    let f = row.factors()?;
    at.matrix(output, "inverse", pair(output, k), &|i, j| {
        let entry = f.inverse[(i, j)];
        let scale = if k == 2 && i != j {
            row.cov_scale[(i, j)] / row.law.moments.det
        } else {
            entry
        };
        at.cell(Dd::from(entry), scale, entry.abs() * at.det_moves())
    })
}

fn det(at: &At<'_>, output: &str) -> Found {
    at.single(output, "det", &|| {
        if let Some(limit) = at.row.limit(0.0, at.t) {
            return Ok(limit);
        }
        at.row.factors()?;
        let det = at.row.law.moments.det;
        Ok(at.cell(Dd::from(det), det, det * at.det_moves()))
    })
}

fn logdet(at: &At<'_>, output: &str) -> Found {
    at.single(output, "logdet", &|| {
        if let Some(limit) = at.row.limit(f64::NEG_INFINITY, at.t) {
            return Ok(limit);
        }
        let l = at.row.factors()?.log_det;
        Ok(at.cell(Dd::from(l), l.abs().max(1.0), at.det_moves()))
    })
}

fn ell(at: &At<'_>, output: &str) -> Found {
    let reading = &at.model.reading;
    let last = at.k - 1;
    let value = || -> Result<Cell> {
        if let Some(limit) = at.row.limit(f64::INFINITY, at.t) {
            return Ok(limit);
        }
        let f = at.row.factors()?;
        let mut ell = if reading.upper != at.model.reversed_channels {
            1.0 / f.upper[(0, 0)]
        } else {
            1.0 / f.lower[(last, last)]
        };
        if reading.ell_from_cov && at.k == 2 {
            ell = at
                .row
                .ell_from_cov(reading.upper != at.model.reversed_channels);
        }
        if reading.ell_marginal {
            ell = 1.0 / at.row.law.cov[(last, last)].sqrt().to_f64();
        }
        if reading.variance_for_factor {
            ell *= ell;
        }
        Ok(at.cell(
            Dd::from(ell),
            ell,
            ell * (at.det_moves() + at.diag_moves(0)),
        ))
    };
    if output == "minus_ell" {
        return at.single(output, output, &|| {
            value().map(|c| Cell {
                truth: -c.truth,
                ..c
            })
        });
    }
    at.single(output, "ell", &value)
}

fn snr(at: &At<'_>, output: &str) -> Found {
    let (mean, cov) = (at.row.law.mean[(0, 0)], at.row.law.cov[(0, 0)]);
    at.single(output, "snr", &|| {
        let v = mean * mean / cov;
        Ok(at.cell(
            v,
            v.hi + 2.0 * at.row.mean_scale[(0, 0)] * mean.hi.abs() / cov.hi,
            v.hi * at.diag_moves(0),
        ))
    })
}

fn snr_joint(at: &At<'_>, output: &str) -> Found {
    let (k, mean) = (at.k, &at.row.law.mean);
    at.single(output, "snr_joint", &|| {
        if let Some(limit) = at.row.limit(f64::INFINITY, at.t) {
            return Ok(limit);
        }
        let f = at.row.factors()?;
        let pairs =
            places(k).map(|(i, j)| mean[(i, 0)] * mean[(j, 0)] * Dd::from(f.inverse[(i, j)]));
        let (v, scale) = pairs.fold((Dd::ZERO, 0.0), |(a, m), x| (a + x, m + x.hi.abs()));
        Ok(at.cell(v, scale, scale * at.det_moves()))
    })
}

fn std(at: &At<'_>, output: &str) -> Found {
    let (k, row) = (at.k, at.row);
    let channel = CHANNELS[..k]
        .iter()
        .position(|c| *c == output)
        .or((k == 1 && output == "std").then_some(0));
    Ok(channel.map(|i| {
        let root = row.law.cov[(i, i)].sqrt();
        let part = |x: f64| {
            if root.hi == 0.0 {
                0.0
            } else {
                0.5 * x / root.hi
            }
        };
        let (scale, rounding) = (row.cov_scale[(i, i)], row.rounding[(i, i)]);
        (vec![at.cell(root, part(scale), part(rounding))], 1)
    }))
}

fn sigma(at: &At<'_>, output: &str) -> Found {
    let mean = if at.model.reading.sigma_without_mean {
        Dd::ONE
    } else {
        at.row.law.mean[(0, 0)]
    };
    at.single(output, "sigma", &|| {
        let v = at.row.law.cov[(0, 0)].sqrt() / mean;
        let size = v.hi.abs() * (1.0 + at.row.mean_scale[(0, 0)] / mean.hi.abs());
        Ok(at.cell(v, size, 0.5 * v.hi.abs() * at.diag_moves(0)))
    })
}

fn logsnr(at: &At<'_>, output: &str) -> Found {
    let (mean, cov) = (at.row.law.mean[(0, 0)], at.row.law.cov[(0, 0)]);
    at.single(output, "logsnr", &|| {
        let v = (mean * mean / cov).ln();
        Ok(at.cell(
            v,
            v.hi.abs() + 1.0 + 2.0 * at.row.mean_scale[(0, 0)] / mean.hi.abs(),
            at.diag_moves(0),
        ))
    })
}

/// `Phi u0 + L noise` of row `at.r`.
fn perturb(at: &At<'_>, output: &str) -> Found {
    if output != "u_t" {
        return Ok(None);
    }
    let (k, r) = (at.k, at.r);
    let (u0, d) = at.read.block("u0", k)?;
    let (noise, e) = at.read.block("noise", k)?;
    if e != d {
        return Err(Error::shape(
            "noise",
            &[at.read.n, k * e],
            format!("({}, {}), as u0", at.read.n, k * d),
        ));
    }
    let l = at.lower()?;
    let shared = at.model.reading.one_noise.filter(|i| *i < k).map(|i| {
        let copy = |n: usize| noise[r * k * d + i * d + n % d];
        let all = (0..noise.len()).map(|n| {
            if n / (k * d) == r {
                copy(n % (k * d))
            } else {
                noise[n]
            }
        });
        all.collect::<Vec<f64>>()
    });
    let noise = shared.as_deref().unwrap_or(noise);
    let drawn = product(&|i, j| l[i * k + j], noise, r, k, d);
    let mean = product(&|i, j| at.phi(i, j), u0, r, k, d);
    Ok(Some((add(mean, &drawn), k * d)))
}

fn score_from_eps(at: &At<'_>, output: &str) -> Found {
    if output != "score" {
        return Ok(None);
    }
    let f = at.row.factors()?;
    let (eps, d) = at.read.block("eps", at.k)?;
    let it = f.inverse_transpose(at.model.reading.upper);
    let minus = |i: usize, j: usize| {
        let x = it[(i, j)];
        at.cell(Dd::from(-x), x, x.abs() * at.det_moves())
    };
    Ok(Some((product(&minus, eps, at.r, at.k, d), at.k * d)))
}

fn eps_from_score(at: &At<'_>, output: &str) -> Found {
    if output != "eps" {
        return Ok(None);
    }
    let f = at.row.factors()?;
    let (score, d) = at.read.block("score", at.k)?;
    let l = f.triangle(at.model.reading.upper);
    let minus = |i: usize, j: usize| {
        let x = l[(j, i)];
        at.cell(Dd::from(-x), x, x.abs() * at.det_moves())
    };
    Ok(Some((product(&minus, score, at.r, at.k, d), at.k * d)))
}

fn x0_from_eps(at: &At<'_>, output: &str) -> Found {
    if output != "x0" {
        return Ok(None);
    }
    let (k, r, mean) = (at.k, at.r, at.row.law.mean[(0, 0)]);
    let (u, d) = at.read.block("u", k)?;
    let (eps, _) = at.read.block("eps", k)?;
    let l = at.row.factors()?.lower[(0, 0)];
    let cells = (0..d).map(|c| {
        let (x, e) = (u[r * k * d + c], eps[r * k * d + c]);
        let rest = Dd::from(x) - Dd::prod(l, e);
        // at late times Phi_xx underflows, and x0 is beyond f64: infinite, which is judged by
        // nothing
        let x0 = rest / mean;
        let x0 = if x0.to_f64().is_finite() {
            x0
        } else {
            Dd::from(f64::INFINITY.copysign(rest.hi))
        };
        at.cell(
            x0,
            (x.abs() + l * e.abs()) / mean.hi.abs(),
            l * at.diag_moves(0) * e.abs(),
        )
    });
    Ok(Some((cells.collect(), d)))
}

/// `w = L^-1 (u - Phi u0)` of row `at.r`, each with the size of its terms, and d.
fn whitened(at: &At<'_>) -> Result<(Vec<(Dd, f64)>, usize)> {
    let (k, r) = (at.k, at.r);
    let (u, d) = at.read.block("u", k)?;
    let (u0, _) = at.read.block("u0", k)?;
    let it = &at.row.factors()?.inverse_transpose_lower;
    let centre = product(&|i, j| at.phi(i, j), u0, r, k, d);
    let residual: Vec<(Dd, f64)> = (0..k * d)
        .map(|c| {
            (
                Dd::from(u[r * k * d + c]) - centre[c].truth,
                u[r * k * d + c].abs() + centre[c].scale,
            )
        })
        .collect();
    let w = (0..k * d).map(|n| {
        let (i, c) = (n / d, n % d);
        (0..=i).fold((Dd::ZERO, 0.0), |(s, m), j| {
            let (a, (x, size)) = (it[(j, i)], residual[j * d + c]);
            (s + Dd::from(a) * x, m + a.abs() * size)
        })
    });
    Ok((w.collect(), d))
}

fn log_density(at: &At<'_>, output: &str) -> Found {
    let (w, d) = whitened(at)?;
    at.single(output, "log_density", &|| {
        let logdet = at.row.factors()?.log_det;
        let (tau, det) = (at.model.reading.density_tau, at.model.reading.density_det);
        let ln_tau = if tau {
            at.k as f64 * std::f64::consts::TAU.ln()
        } else {
            0.0
        };
        let constant = Dd::from(-0.5 * d as f64)
            * (Dd::from(ln_tau) + Dd::from(if det { logdet } else { 0.0 }));
        let (sum, scale) = w
            .iter()
            .fold((constant, constant.hi.abs()), |(s, m), (x, size)| {
                (s - (*x * *x).scale(0.5), m + x.hi.abs() * size)
            });
        Ok(at.cell(sum, scale, scale * at.det_moves()))
    })
}

fn score(at: &At<'_>, output: &str) -> Found {
    let (w, d) = whitened(at)?;
    if output != "score" {
        return Ok(None);
    }
    let k = at.k;
    let it = &at.row.factors()?.inverse_transpose_lower;
    let cells = (0..k * d).map(|n| {
        let (i, c) = (n / d, n % d);
        let (s, m) = (i..k).fold((Dd::ZERO, 0.0), |(s, m), j| {
            let (a, (x, size)) = (it[(i, j)], w[j * d + c]);
            (s - Dd::from(a) * x, m + a.abs() * size)
        });
        at.cell(s, m, m * at.det_moves())
    });
    Ok(Some((cells.collect(), k * d)))
}

/// States of the kernel itself, for vectors: `Phi u0 + L noise`, row by row at the times `t`.
///
/// # Errors
/// As the kernel.
pub(crate) fn perturbed(model: &Model, t: &[f64], u0: &[f64], noise: &[f64]) -> Result<Vec<f64>> {
    let k = model.channels();
    let width = u0.len() / t.len();
    let mut out = Vec::with_capacity(u0.len());
    for (r, &t) in t.iter().enumerate() {
        let row = model.row(0.0, t)?;
        let l = row.factor(model, t)?;
        let mean = product(&|i, j| row.phi((i, j), t), u0, r, k, width / k);
        let drawn = product(&|i, j| l[i * k + j], noise, r, k, width / k);
        let cells = mean.iter().zip(&drawn);
        out.extend(cells.map(|(a, b)| (a.truth + b.truth).to_f64()));
    }
    Ok(out)
}

/// The mean's factor of x at each time.
///
/// # Errors
/// A time outside the clock.
pub(crate) fn mean_of_x(model: &Model, t: &[f64]) -> Result<Vec<f64>> {
    t.iter()
        .map(|t| Ok(model.row(0.0, *t)?.law.mean[(0, 0)].hi))
        .collect()
}
