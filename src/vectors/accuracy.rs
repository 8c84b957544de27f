//! How accurate the crate is: its kernels and schedules against high-precision tables (schema
//! `cld-truth/1`).
//!
//! An error is measured in units in the last place (ulp) of the true value, fractional, and
//! relative to it. The tables hold 36 digits, read as double words, so that the measure itself is
//! good to about 1e-14 ulp.
//!
//! **Entries that cross zero** are measured against their largest term ([`largest_terms`]): near
//! the zero even the best f64 code has no relative accuracy, as one rounding of `z` moves `1 - z`
//! by an ulp of 1.
//!
//! | entry | its terms |
//! |---|---|
//! | mean, one rate `l` (critical damping, order n) | of `e^(F tau) = e^(-l tau) sum of N^k tau^k / k!`, N = F + l: for CLD's vv entry `e^-z` and `z e^-z` |
//! | mean, two rates | the smaller of: `cosh` and `sinh` terms (`cos`, `sin`); the two modes `e^(-r tau)` |
//! | covariance, off the diagonal | the smaller of: what each channel's noise and each initial variance adds (by terms of the mean); the entries of S and the terms of `Phi S Phi^T` in `S - Phi S Phi^T`, S stationary |
//! | off-diagonal factor, inverse | that of the covariance entry, divided by what the entry is divided by |
//! | log-determinant | `max(1, |log det|)`: it crosses zero where det = 1 |
//!
//! An entry that is a sum of terms of one sign is no smaller than its largest term: there the rule
//! changes nothing.
//!
//! **Left out** is what f64 cannot hold: true values below the smallest normal number, or beyond
//! the largest. There the crate's value must still be finite, and no larger than twice the smallest
//! normal number.

use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::files::{decimal, parse_json};
use crate::kernel::{KernelValues, kernel_values};
pub use crate::process::Bound;
use crate::process::{AnyProcess, REGISTRY, doubling};
use crate::small::{Mat, Square, by_channels, places};
use crate::truth::config::{self, Config};
use crate::worst::{within, worse};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use std::fmt::Write;

/// The families that are told apart, and what is promised of each: every diffusion's, those in ulp
/// first, and the schedules'.
pub fn families() -> Vec<(&'static str, Bound)> {
    let stated = || {
        REGISTRY
            .iter()
            .flat_map(|e| e.accuracy)
            .map(|a| (a.family, a.bound))
    };
    let in_ulp = |b: &Bound| matches!(b, Bound::Ulp(_));
    let schedules = [("schedule", Bound::Ulp(8.0))];
    stated()
        .filter(|f| in_ulp(&f.1))
        .chain(stated().filter(|f| !in_ulp(&f.1)))
        .chain(schedules)
        .collect()
}

fn written<S: Serializer>(b: &Bound, s: S) -> std::result::Result<S::Ok, S::Error> {
    let (name, x) = match b {
        Bound::Ulp(x) => ("ulp", x),
        Bound::Relative(x) => ("relative", x),
    };
    let mut map = s.serialize_map(Some(1))?;
    map.serialize_entry(name, x)?;
    map.end()
}

/// Names of the measured quantities, in the order of the table.
pub const MEASURED: &[&str] = &[
    "mean",
    "cov",
    "chol_lower",
    "chol_upper",
    "inv",
    "det",
    "logdet",
    "ell",
    "rate",
    "integral",
];

/// One quantity of one family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// One of [`families`].
    pub family: &'static str,
    /// One of [`MEASURED`].
    pub quantity: &'static str,
    /// What is promised.
    #[serde(serialize_with = "written")]
    pub bound: Bound,
    /// Number of values compared.
    pub values: usize,
    /// Number of values that f64 cannot hold, not compared.
    pub left_out: usize,
    /// Largest error, in ulp.
    pub ulp: f64,
    /// Largest relative error.
    pub relative: f64,
    /// Largest error relative to the value itself, whatever its terms (true zeros left out).
    pub own: f64,
    /// Where the largest error in ulp is.
    pub at: String,
}

impl Line {
    /// Whether the promise is kept: of at least one value.
    pub fn kept(&self) -> bool {
        match self.bound {
            _ if self.values == 0 => false,
            Bound::Ulp(b) => within(self.ulp, b),
            Bound::Relative(b) => within(self.relative, b),
        }
    }
}

/// The measured accuracy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// One line per family and quantity.
    pub lines: Vec<Line>,
    /// Rows of the tables for which the kernel was refused (its determinant or inverse is not a
    /// normal f64).
    pub refused: usize,
    /// Rows read.
    pub rows: usize,
}

fn missing<'a>(v: &'a Json, key: &str, place: &str) -> Result<&'a Json> {
    v.get(key)
        .ok_or_else(|| Error::parameter(format!("{place}.{key}"), "missing", "schema cld-truth/1"))
}

fn word<'a>(v: &'a Json, key: &str, place: &str) -> Result<&'a str> {
    missing(v, key, place)?
        .as_str()
        .ok_or_else(|| Error::parameter(format!("{place}.{key}"), "not a string", "a string"))
}

fn time(v: &Json, key: &str, place: &str) -> Result<f64> {
    missing(v, key, place)?
        .as_f64()
        .ok_or_else(|| Error::parameter(format!("{place}.{key}"), "not a number", "a number"))
}

fn list<'a>(v: &'a Json, key: &str, place: &str) -> Result<&'a Vec<Json>> {
    let name = || format!("{place}.{key}");
    let list = missing(v, key, place)?
        .as_array()
        .ok_or_else(|| Error::parameter(name(), "not a list", "a list"))?;
    if list.is_empty() {
        Err(Error::parameter(name(), "empty", "at least one"))
    } else {
        Ok(list)
    }
}

/// Refuses a field that would be read by nobody.
fn known(v: &Json, place: &str, names: &[&str]) -> Result<()> {
    let fields = v
        .as_object()
        .ok_or_else(|| Error::parameter(place.to_string(), "not an object", "an object"))?;
    match fields.keys().find(|k| !names.contains(&k.as_str())) {
        Some(k) => Err(Error::parameter(
            format!("{place}.{k}"),
            "unknown",
            names.join(", "),
        )),
        None => Ok(()),
    }
}

/// The decimal strings of a number or a nested list, row-major.
fn flat<'a>(v: &'a Json, place: &str, out: &mut Vec<&'a str>) -> Result<()> {
    match v {
        Json::Array(a) => a.iter().try_for_each(|x| flat(x, place, out)),
        Json::String(s) => {
            out.push(s);
            Ok(())
        }
        other => Err(Error::parameter(
            place.to_string(),
            other,
            "decimal strings",
        )),
    }
}

fn strings<'a>(v: &'a Json, place: &str) -> Result<Vec<&'a str>> {
    let mut out = Vec::new();
    flat(v, place, &mut out)?;
    Ok(out)
}

/// A decimal string as a double word.
fn read(text: &str, place: &str) -> Result<Dd> {
    decimal::parse(text).ok_or_else(|| {
        Error::parameter(
            place.to_string(),
            format!("`{text}`"),
            "a decimal number below 1e400",
        )
    })
}

/// One unit in the last place of `x`, also between powers of two.
fn ulp(x: f64) -> f64 {
    let x = x.abs();
    (x.next_up() - x).max(f64::MIN_POSITIVE * f64::EPSILON)
}

/// The largest terms of the mean of two channels, N the drift without its mean rate:
/// `N^2 = delta`, so that `e^(N tau) = cosh(d tau) + N sinh(d tau) / d`, d = sqrt(delta).
fn largest_of_two<const K: usize>(drift: &Mat<K, Dd>, n: &Mat<K, Dd>, rate: Dd, tau: Dd) -> Mat<K> {
    let t = tau.hi;
    let delta = n[(0, 0)] * n[(0, 0)] + n[(0, 1)] * n[(1, 0)];
    let d = delta.abs().sqrt();
    let x = (d * tau).hi;
    let over = delta.hi > 0.0;
    let slow = if over {
        ((drift[(0, 0)] * drift[(1, 1)] - drift[(0, 1)] * drift[(1, 0)]) / (rate + d)).hi
    } else {
        rate.hi
    };
    let (cosh, sinh) = if over {
        (0.5 + 0.5 * (-2.0 * x).exp(), -0.5 * (-2.0 * x).exp_m1())
    } else {
        (x.cos(), x.sin())
    };
    let (e, sinh) = ((-slow * t).exp(), if x < 1e-8 { t } else { sinh / d.hi });
    Mat::<K>::build(|i, j| {
        let unit = if i == j { Dd::ONE } else { Dd::ZERO };
        let parts = e * (cosh * unit.hi).abs().max((sinh * n[(i, j)].hi).abs());
        if !over {
            return parts;
        }
        let mode = |sign: f64| ((d * unit + n[(i, j)].scale(sign)) / d.scale(2.0)).hi.abs();
        parts.min(e * mode(1.0).max(mode(-1.0) * (-2.0 * x).exp()))
    })
}

/// The sizes of the largest terms of mean and covariance: see the module's table. `drift`, `g` and
/// `initial` are F, G G^T and the initial covariance, `stationary` S; G G^T and the initial
/// covariance must be diagonal.
pub fn largest_terms<const K: usize>(
    [drift, g, initial]: &[Mat<K, Dd>; 3],
    stationary: Option<&Mat<K>>,
    tau: Dd,
) -> (Mat<K>, Mat<K>) {
    let zero = Mat::<K>::ZERO.to_dd();
    let rate = -(0..K).fold(Dd::ZERO, |s, i| s + drift[(i, i)]) / Dd::from(K as f64);
    let n = Mat::<K, Dd>::build(|i, j| {
        if i == j {
            drift[(i, j)] + rate
        } else {
            drift[(i, j)]
        }
    });
    let mean = if K == 2 {
        largest_of_two(drift, &n, rate, tau)
    } else {
        let mut power = Mat::<K>::identity().to_dd();
        let mut most = Mat::<K>::identity();
        for k in 1..K {
            power = power.matmul(&n).times(tau / Dd::from(k as f64));
            most = Mat::build(|i, j| worse(most[(i, j)], power[(i, j)].hi.abs()));
        }
        most.times((-rate.hi * tau.hi).exp())
    };
    let start = Mat::<K>::build(|i, j| {
        (0..K)
            .map(|k| initial[(k, k)].hi * mean[(i, k)] * mean[(j, k)])
            .fold(0.0, worse)
    });
    let mut by_source = start;
    for k in (0..K).filter(|k| g[(*k, *k)].hi != 0.0) {
        let mut one = zero;
        one[(k, k)] = g[(k, k)];
        let q = doubling(drift, &one, tau).cov;
        by_source = Mat::build(|i, j| worse(by_source[(i, j)], q[(i, j)].hi.abs()));
    }
    let cov = match stationary {
        None => by_source,
        Some(s) => Mat::build(|i, j| {
            let back = places(K)
                .map(|(a, b)| s[(a, b)].abs() * mean[(i, a)] * mean[(j, b)])
                .fold(start[(i, j)], worse);
            by_source[(i, j)].min(worse(back, s[(i, j)].abs()))
        }),
    };
    (mean, cov)
}

/// A kernel, or `None` where its determinant or inverse is no normal f64; anything else is a row
/// that cannot be one, and this is what is allowed.
fn defined(values: &Result<KernelValues>) -> std::result::Result<Option<&KernelValues>, String> {
    match values {
        Ok(v) => Ok(Some(v)),
        Err(Error::Degenerate { .. }) => Ok(None),
        Err(e) => Err(format!("a time of the process ({e})")),
    }
}

/// The kernels of one case of a table.
struct Kernels {
    config: Config,
    process: Box<dyn AnyProcess>,
    family: &'static str,
    /// F, G G^T and the initial covariance, where the table has them.
    matrices: Option<[Square<Dd>; 3]>,
}

impl Kernels {
    fn new(case: &Json, place: &str) -> Result<Kernels> {
        let empty = serde_json::Map::new();
        let params = case.get("params").and_then(Json::as_object);
        let config = Config::new(
            word(case, "process", place)?,
            params.unwrap_or(&empty),
            missing(case, "schedule", place)?,
            word(case, "objective", place)?,
        )?;
        let process = config.process()?;
        let stated = config.entry.accuracy.iter();
        let Some(accuracy) = stated.into_iter().find(|a| (a.of)(&config.params)) else {
            return Err(Error::parameter(
                place.to_string(),
                config.entry.name,
                "a process of stated accuracy",
            ));
        };
        let k = process.channels();
        let matrix = |key: &str| -> Result<Option<Square<Dd>>> {
            let Some(v) = case.get(key) else {
                return Ok(None);
            };
            let m = strings(v, place)?
                .into_iter()
                .map(|s| read(s, place))
                .collect::<Result<Vec<_>>>()?;
            if m.len() != k * k {
                return Err(Error::shape(
                    format!("{place}.{key}"),
                    &[m.len()],
                    format!("{}", k * k),
                ));
            }
            Ok(Square::from_slice(&m))
        };
        let matrices = match (matrix("F")?, matrix("GGt")?, matrix("initial_cov")?) {
            (Some(f), Some(g), Some(i)) => Some([f, g, i]),
            _ => None,
        };
        Ok(Kernels {
            family: accuracy.family,
            config,
            process,
            matrices,
        })
    }

    /// The sizes of the largest terms of mean and covariance after `tau`; 0 where an entry is its
    /// only term, or the table does not say.
    fn sizes(&self, tau: Dd) -> (Square, Square) {
        let k = self.process.channels();
        let none = (Square::zero(k), Square::zero(k));
        match &self.matrices {
            Some(matrices) if k > 1 => by_channels!(k, K => {
                let stationary = self.process.stationary().map(|s| s.fixed::<K>());
                let matrices = matrices.map(|m| m.fixed::<K>());
                let (mean, cov) = largest_terms(&matrices, stationary.as_ref(), tau);
                (mean.into(), cov.into())
            }, else none),
            _ => none,
        }
    }
}

/// What a kernel gives for a quantity; nothing for one that is no kernel's.
fn numbers(v: &KernelValues, quantity: &str) -> Vec<f64> {
    match quantity {
        "mean" => v.mean.to_vec(),
        "cov" => v.cov.to_vec(),
        "chol_lower" => v.chol_lower.to_vec(),
        "chol_upper" => v.chol_upper.to_vec(),
        "inv" => v.inv.to_vec(),
        "det" => vec![v.det],
        "logdet" => vec![v.logdet],
        "ell" => vec![v.ell],
        _ => vec![],
    }
}

/// The size of the largest term of a quantity's entry `(i, j)`; 0 where it is the entry itself.
fn term(
    quantity: &str,
    (i, j): (usize, usize),
    (mean, cov): &(Square, Square),
    truth: Dd,
    kernel: Option<&KernelValues>,
) -> f64 {
    let off = i != j;
    // what the off-diagonal entries of factors and inverse are divided by
    let divisor = || match (quantity, kernel) {
        ("chol_lower", Some(v)) => v.chol_lower[(j, j)],
        ("chol_upper", Some(v)) => v.chol_upper[(j, j)],
        ("inv", Some(v)) if cov.k() == 2 => v.det,
        _ => f64::INFINITY,
    };
    match quantity {
        "mean" => mean[(i, j)],
        "cov" if off => cov[(i, j)],
        "chol_lower" | "chol_upper" | "inv" if off && truth.hi != 0.0 => cov[(i, j)] / divisor(),
        "logdet" => 1.0,
        _ => 0.0,
    }
}

/// A value in hand: what it is, what it should be, and the size of its largest term.
struct Found<'a> {
    family: &'static str,
    quantity: &'static str,
    got: f64,
    text: &'a str,
    truth: Dd,
    term: f64,
}

impl Table {
    /// Adds what the crate makes of every row of a table.
    ///
    /// # Errors
    /// A text that is no table of schema `cld-truth/1`, has no rows, or describes a process that
    /// does not exist.
    pub fn add(&mut self, text: &str, file: &str) -> Result<()> {
        let json = parse_json(text, file)?;
        let schema = word(&json, "schema", file)?;
        if schema != "cld-truth/1" {
            return Err(Error::parameter(
                format!("{file}: schema"),
                schema,
                "cld-truth/1",
            ));
        }
        let schedules = json.get("kind").and_then(Json::as_str) == Some("schedules");
        for case in list(&json, "cases", file)? {
            let id = word(case, "id", file)?;
            let place = format!("{file}: {id}");
            if schedules {
                self.add_schedule(case, &place)?;
            } else {
                self.add_kernels(case, &place)?;
            }
        }
        let families = families();
        let order = |l: &Line| {
            (
                families.iter().position(|f| f.0 == l.family),
                MEASURED.iter().position(|q| *q == l.quantity),
            )
        };
        self.lines.sort_by_key(order);
        Ok(())
    }

    fn add_schedule(&mut self, case: &Json, place: &str) -> Result<()> {
        let schedule = config::schedule(missing(case, "schedule", place)?)?;
        for row in list(case, "rows", place)? {
            known(row, place, &["s", "t", "rate_t", "integral"])?;
            let (s, t) = (time(row, "s", place)?, time(row, "t", place)?);
            self.rows += 1;
            for (quantity, key, got) in [
                ("rate", "rate_t", schedule.rate(t)),
                ("integral", "integral", schedule.integral(s, t)?),
            ] {
                let text = word(row, key, place)?;
                let truth = read(text, place)?;
                self.record(
                    &Found {
                        family: "schedule",
                        quantity,
                        got,
                        text,
                        truth,
                        term: 0.0,
                    },
                    &|| format!("{} s={s:.3e} t={t:.3e}", schedule.name()),
                );
            }
        }
        Ok(())
    }

    fn add_kernels(&mut self, case: &Json, place: &str) -> Result<()> {
        let kernels = Kernels::new(case, place)?;
        let measured = MEASURED.iter().copied();
        let own = measured.filter(|q| !["rate", "integral"].contains(q));
        let fields: Vec<&str> = ["s", "t", "B"].into_iter().chain(own).collect();
        for row in list(case, "rows", place)? {
            known(row, place, &fields)?;
            self.add_kernel(&kernels, row, place)?;
        }
        Ok(())
    }

    /// One row: a kernel at one time.
    fn add_kernel(&mut self, of: &Kernels, row: &Json, place: &str) -> Result<()> {
        let t = time(row, "t", place)?;
        let s = if row.get("s").is_some() {
            time(row, "s", place)?
        } else {
            0.0
        };
        self.rows += 1;
        let (config, k) = (&of.config, of.process.channels());
        let values = kernel_values(&*of.process, &config.schedule, config.objective, s, t);
        let integral = config.schedule.integral(s, t)?;
        let kernel = defined(&values).map_err(|e| Error::parameter(format!("{place}: t"), t, e))?;
        self.refused += usize::from(kernel.is_none());
        let sizes = of.sizes(read(word(row, "B", place)?, place)?);
        let from = if s > 0.0 {
            format!("s={s:.3e} ")
        } else {
            String::new()
        };
        for quantity in MEASURED {
            let key = if *quantity == "integral" {
                "B"
            } else {
                quantity
            };
            let Some(stated) = row.get(key) else {
                continue;
            };
            let stated = strings(stated, place)?;
            let got = match (*quantity, kernel) {
                ("integral", _) => vec![integral],
                (_, None) => {
                    self.line(of.family, quantity).left_out += stated.len();
                    continue;
                }
                (_, Some(v)) => numbers(v, quantity),
            };
            if got.is_empty() {
                continue;
            }
            if got.len() != stated.len() {
                return Err(Error::shape(
                    format!("{place}: {quantity}"),
                    &[stated.len()],
                    format!("{}", got.len()),
                ));
            }
            for (i, (&got, &text)) in got.iter().zip(&stated).enumerate() {
                let (truth, at) = (read(text, place)?, (i / k, i % k));
                let found = Found {
                    family: of.family,
                    quantity,
                    got,
                    text,
                    truth,
                    term: term(quantity, at, &sizes, truth, kernel),
                };
                let entry = if stated.len() > 1 {
                    format!("[{}][{}] ", at.0, at.1)
                } else {
                    String::new()
                };
                self.record(&found, &|| {
                    format!("{entry}{from}t={t:.3e} {}", config.describe())
                });
            }
        }
        Ok(())
    }

    fn line(&mut self, family: &'static str, quantity: &'static str) -> &mut Line {
        let at = self
            .lines
            .iter()
            .position(|l| l.family == family && l.quantity == quantity)
            .unwrap_or_else(|| {
                let bound = families()
                    .iter()
                    .find(|f| f.0 == family)
                    .map_or(Bound::Ulp(8.0), |f| f.1);
                let (values, left_out, ulp, relative, own) = (0, 0, 0.0, 0.0, 0.0);
                self.lines.push(Line {
                    family,
                    quantity,
                    bound,
                    values,
                    left_out,
                    ulp,
                    relative,
                    own,
                    at: String::new(),
                });
                self.lines.len() - 1
            });
        &mut self.lines[at]
    }

    fn record(&mut self, v: &Found<'_>, place: &dyn Fn() -> String) {
        let line = self.line(v.family, v.quantity);
        let size = v.truth.hi.abs();
        let is_zero = v.truth.hi == 0.0
            && !v
                .text
                .split(['e', 'E'])
                .next()
                .unwrap_or("")
                .bytes()
                .any(|b| (b'1'..=b'9').contains(&b));
        let mut error = (Dd::from(v.got) - v.truth).to_f64().abs();
        if !is_zero && !(f64::MIN_POSITIVE..=f64::MAX).contains(&size) {
            line.left_out += 1;
            if v.got.abs() <= 2.0 * f64::MIN_POSITIVE || (size > 1.0 && v.got.is_finite()) {
                return;
            }
            error = f64::INFINITY;
        } else {
            line.values += 1;
        }
        // NaN too; and a scale that is none makes every error small
        if !error.is_finite() || !within(0.0, v.term) {
            error = f64::INFINITY;
        }
        let against = if v.term.is_finite() {
            size.max(v.term)
        } else {
            size
        };
        let (ulps, relative) = if error == 0.0 {
            (0.0, 0.0)
        } else {
            (error / ulp(against), error / against)
        };
        if size > 0.0 && error > 0.0 {
            line.own = worse(line.own, error / size);
        }
        line.relative = worse(line.relative, relative);
        if ulps > line.ulp {
            line.ulp = ulps;
            line.at = place();
        }
    }

    /// Whether there are promises and every one is kept.
    pub fn kept(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(Line::kept)
    }

    /// Number of values compared.
    pub fn values(&self) -> usize {
        self.lines.iter().map(|l| l.values).sum()
    }

    /// The page `docs/reference/accuracy.md`: what is measured, how, and the table.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from(INTRODUCTION);
        let _ = write!(
            out,
            "Read: {} rows. Compared: {} values. Kernels refused: {}.\n\n\
             | family | quantity | promised | values | left out | worst, ulp | worst, relative | against the value itself | where |\n\
             |---|---|---|---:|---:|---:|---:|---:|---|\n",
            self.rows,
            self.values(),
            self.refused,
        );
        for l in &self.lines {
            let bound = match l.bound {
                Bound::Ulp(b) => format!("{b} ulp"),
                Bound::Relative(b) => format!("{b:e}"),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {bound} | {} | {} | {:.2} | {:.1e} | {:.1e} | {} |",
                l.family, l.quantity, l.values, l.left_out, l.ulp, l.relative, l.own, l.at
            );
        }
        out
    }
}

/// What stands above the table in `docs/reference/accuracy.md`.
const INTRODUCTION: &str = "# Accuracy

This page is the output of `cld accuracy --markdown`, run in the repository: every kernel of the high-precision tables in
`fixtures/truth/` (36 digits; their README says how they were made), computed by the crate in f64 and compared entry by
entry. Times from 1e-12 to 1, masses from 1e-4 to 1e4, both objectives, several schedules. A test holds page and command
together. The last digits of the figures depend on the system's `exp`, `sin` and `ln`.

- An ulp is the unit in the last place of the true value; errors are fractional.
- Entries that cross zero are measured against their largest term: $`1 - z`$ in CLD's mean against $`\\max(1, z)`$; an
  off-diagonal covariance, and factor and inverse with it, against the largest of what each noise and each initial variance
  adds; the log-determinant, zero where the determinant is one, against $`\\max(1, \\lvert\\log\\det\\Sigma\\rvert)`$. The exact rule for every
  process is in the documentation of `vectors::accuracy`. The column *against the value itself* is the worst relative
  error without this rule. In one place it is 1: position noise at $`a\\tau = 1`$, where the table has 2e-92 for a mean of exactly 0.
  Log-determinants near zero keep their digits where the stationary determinant is 1, and so do the covariances of chains of order 3
  and 4 started with random velocities, which at t = 1e-20 are next to nothing beside the terms they are left of.
- Left out: true values that are no normal f64 (entries that vanish exponentially at M = 1e-4). The crate gives a finite
  number there too, below twice the smallest normal one.
- `integral` is the integral of the rate under each process's own schedules; `inv` the inverse covariance; `ell` the inverse
  standard deviation of v given x.

**What is proved, and not only measured.** Rounding errors are bounded by machine at *every* point of a domain, not at the tables' points
alone: [certificate.md](certificate.md) has the bounds, entry by entry, and the tests prove them again. For critical CLD, every z from
1e-12 and $`\\gamma`$ in [0, 2]: mean, $`\\Sigma_{xx}, \\Sigma_{vv}, L_{xx}, L_{vv}, \\ell, U_{vv}`$ and the log-determinant are within 8 ulp for every
mass, $`\\Sigma_{xv}`$ where the mass is a power of 4 (the paper's 1/4 is one) and z at most 350; for the other entries what can be proved in this
way is between 8.2 and 17.2 ulp: a bound adds up all roundings at their worst, which no measurement comes near; 8 ulp is measured there,
not proved. VP and sub-VP are within 8 ulp, but for snr (9.7) and sub-VP's inverse (8.1). PSLD and position noise keep the promised 1e-13, z up
to 350, and so does CLD at any damping at short times, while $`(a + \\lvert\\delta\\rvert^{1/2}) \\tau < 1`$.

**What the proof assumes.** IEEE arithmetic rounded to nearest, a correctly rounded fused multiply-add and square root, results that
are normal numbers, and an integral of the rate whose sum of two doubles is right to 2 ulp of its low word. The exponential's
reduction, table and polynomial and the series are part of the proof; the system's functions are not, and are assumed within 1 ulp: the
logarithm, and for VP, sub-VP and damped CLD `exp`, `expm1`, `sin` and `cos`. Not covered are damped CLD at longer times, the
integrals of the rate and the other processes: those are measured below.

";
