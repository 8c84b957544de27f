//! Time grids themselves: the point of each `index`, with r = (N - index)/N from 1 to 0, T the last
//! time of the clock (1), eps where the run ends.
//!
//! | grid | point |
//! |---|---|
//! | linear | eps + (T - eps) r |
//! | quadratic | eps + (T - eps) r^2 |
//! | power p | (eps^(1/p) + (T^(1/p) - eps^(1/p)) r)^p |
//! | log-SNR | the time at which log(Phi_xx^2/S_xx) is (1 - r) of the way from T to eps |
//! | Karras | sigma_i = (sigma_max^(1/rho) + i/(N - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, i = 0 .. N - 1 |
//!
//! Formula: grid.karras.

use super::cell::{Cell, number};
use super::model::Model;
use super::quantity::{ANY, Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, setting};
use crate::dd::Dd;
use crate::error::{Error, Result};

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["index"],
    optional: &[],
    settings: &["n_steps", "eps"],
    leads: "index",
    outputs: Outputs::Named(&["t"]),
    shape: "(n,)",
    suites: &["grid"],
    catches: "",
    made_from: &[],
    processes: ANY,
    law: LawOf::Nothing,
    draws: Draws {
        times: Times::None,
        mean_above: 0.0,
        arrays: &[("index", Draw::Fixed(&[6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))],
    },
    truth: Truth::All(linear),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "grid.linear",
        about: "times at equal steps from T to eps",
        catches: "a grid that ends at 0, or one step early; the data's end first",
        ..BASE
    },
    Quantity {
        name: "grid.quadratic",
        about: "times eps + (T - eps) r^2: small steps near the data",
        catches: "the square of the linear times, which ends at eps^2; the root for the square",
        truth: Truth::All(quadratic),
        ..BASE
    },
    Quantity {
        name: "grid.power",
        about: "powers of equal steps of the root of time",
        settings: &["n_steps", "eps", "power"],
        catches: "eps + (T - eps) r^p, which ends at the same times; p for 1/p",
        truth: Truth::All(power),
        ..BASE
    },
    Quantity {
        name: "grid.logsnr",
        about: "times at equal steps of the log signal-to-noise ratio of x",
        catches: "half of the log-SNR is the same; equal steps of sigma, or of log t, are not",
        made_from: &["kernel.logsnr"],
        processes: Processes {
            words: "a process of one channel, whose signal-to-noise ratio falls with time",
            fit: |m| m.channels() == 1 && m.process().name() != "custom",
        },
        law: LawOf::None,
        truth: Truth::All(log_snr),
        ..BASE
    },
    Quantity {
        name: "grid.karras",
        about: "noise levels by Karras et al. 2022, eq. 5, without the last one, 0",
        settings: &["n_steps", "sigma_min", "sigma_max", "rho"],
        outputs: Outputs::Named(&["sigma"]),
        catches: "N for N - 1; rho for 1/rho; sigma_min and sigma_max exchanged",
        draws: Draws {
            times: Times::None,
            mean_above: 0.0,
            arrays: &[("index", Draw::Fixed(&[5], &[0.0, 1.0, 2.0, 3.0, 4.0]))],
        },
        truth: Truth::All(karras),
        ..BASE
    },
];

fn need(
    read: &Reader<'_>,
    name: &'static str,
    allowed: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64> {
    match setting(read, name) {
        Some(x) if fits(x) => Ok(x),
        Some(x) => Err(Error::parameter(name, x, allowed)),
        None => Err(Error::parameter(name, "missing", allowed)),
    }
}

/// The indices, each from 0 to `last`, and the number of steps.
fn indices(read: &Reader<'_>, to_the_last: bool) -> Result<(Vec<f64>, f64)> {
    let least = if to_the_last { 1.0 } else { 2.0 };
    let n = need(
        read,
        "n_steps",
        "a whole number, 1 (Karras: 2) to 10000000",
        |n| n.fract() == 0.0 && (least..=1e7).contains(&n),
    )?;
    let index = read.times("index")?;
    let last = if to_the_last { n } else { n - 1.0 };
    match index
        .iter()
        .find(|i| !(i.fract() == 0.0 && (0.0..=last).contains(*i)))
    {
        Some(bad) => Err(Error::parameter(
            "index",
            bad,
            format!("whole numbers from 0 to {last}"),
        )),
        None => Ok((index, n)),
    }
}

/// Where the run ends, and the last time.
fn ends(model: &Model, read: &Reader<'_>) -> Result<(f64, f64)> {
    let last = model.schedule().horizon();
    Ok((
        need(read, "eps", "0 < eps < the last time", |e| {
            e > 0.0 && e < last
        })?,
        last,
    ))
}

/// `x^p`, with the size that rounding of x or p gives it.
fn power_of(x: Dd, p: Dd, size: f64) -> Cell {
    let (log, y) = (x.ln(), (x.ln() * p).exp());
    // x may be off by `size` of itself, p by 1
    Cell {
        truth: y,
        scale: y.hi * (1.0 + p.hi * size + (p.hi * log.hi).abs()),
        cancellation: 0.0,
        t: f64::NAN,
    }
}

/// Every point of a grid of times, from r = (N - i)/N; the ends exact.
fn times(
    model: &Model,
    read: &Reader<'_>,
    output: &str,
    at: impl Fn(Dd, f64, f64) -> Result<Cell>,
) -> Found {
    if output != "t" {
        return Ok(None);
    }
    let (index, n) = indices(read, true)?;
    let (eps, last) = ends(model, read)?;
    let point = |i: &f64| match *i {
        0.0 => Ok(number(Dd::from(last), f64::NAN)),
        i if i == n => Ok(number(Dd::from(eps), f64::NAN)),
        i => at(Dd::from(n - i) / Dd::from(n), eps, last),
    };
    Ok(Some((index.iter().map(point).collect::<Result<_>>()?, 1)))
}

fn linear(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    times(model, read, output, |r, eps, last| {
        Ok(number(Dd::from(eps) + Dd::diff(last, eps) * r, f64::NAN))
    })
}

fn quadratic(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    times(model, read, output, |r, eps, last| {
        Ok(number(
            Dd::from(eps) + Dd::diff(last, eps) * r * r,
            f64::NAN,
        ))
    })
}

fn power(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let p = need(read, "power", "0.1 to 100", |p| (0.1..=100.0).contains(&p))?;
    times(model, read, output, |r, eps, last| {
        let root = |x: f64| power_of(Dd::from(x), Dd::from(p).recip(), 0.0);
        let (low, high) = (root(eps), root(last));
        let base = low.truth + (high.truth - low.truth) * r;
        Ok(power_of(
            base,
            Dd::from(p),
            (low.scale + high.scale) / base.hi,
        ))
    })
}

fn karras(_: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "sigma" {
        return Ok(None);
    }
    let (index, n) = indices(read, false)?;
    let rho = need(read, "rho", "0.1 to 100", |p| (0.1..=100.0).contains(&p))?;
    let max = need(read, "sigma_max", "a number above 0", |s| {
        s > 0.0 && s.is_finite()
    })?;
    let min = need(read, "sigma_min", "0 < sigma_min < sigma_max", |s| {
        s > 0.0 && s < max
    })?;
    let root = |x: f64| power_of(Dd::from(x), Dd::from(rho).recip(), 0.0);
    let (low, high) = (root(min), root(max));
    let point = |i: &f64| {
        let base = high.truth + (low.truth - high.truth) * (Dd::from(*i) / Dd::from(n - 1.0));
        power_of(base, Dd::from(rho), (low.scale + high.scale) / base.hi)
    };
    Ok(Some((index.iter().map(point).collect(), 1)))
}

/// By bisection down to neighbouring numbers, and between these on the secant.
fn log_snr(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let ratio = |t: f64| -> Result<Dd> {
        let row = model.row(0.0, t)?;
        Ok((row.law.mean[(0, 0)] * row.law.mean[(0, 0)] / row.law.cov[(0, 0)]).ln())
    };
    times(model, read, output, |r, eps, last| {
        let (bottom, top) = (ratio(last)?, ratio(eps)?);
        let aim = bottom + (top - bottom) * (Dd::ONE - r);
        let (mut low, mut high) = (eps, last);
        loop {
            let middle = if high > 2.0 * low {
                (low * high).sqrt()
            } else {
                0.5 * (low + high)
            };
            if !(middle > low && middle < high) {
                break;
            }
            if ratio(middle)? > aim {
                low = middle
            } else {
                high = middle
            }
        }
        let (a, b) = (ratio(low)?, ratio(high)?);
        let t = Dd::from(low) + Dd::diff(high, low) * ((a - aim) / (a - b));
        // how far t moves with the ratios
        let near = 0.999999 * high;
        let slope = ((ratio(high)? - ratio(near)?).to_f64() / (high - near)).abs();
        let size = bottom.hi.abs() + top.hi.abs() + 1.0;
        Ok(Cell {
            truth: t,
            scale: t.hi + size / slope,
            cancellation: 0.0,
            t: f64::NAN,
        })
    })
}
