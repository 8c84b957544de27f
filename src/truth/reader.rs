//! What an entry gives: arrays by name, and settings.

use super::cell::{Cell, exact};
use super::model::Model;
use crate::error::{Error, Result};
use crate::files::Array;
use std::collections::BTreeMap;

pub use super::cell::CHANNELS;

/// A setting of an entry: not an array, but a number or a word beside the inputs.
pub struct Setting {
    /// The field.
    pub name: &'static str,
    /// The words it may have (`true`, `false`: a truth value); none: a number.
    pub words: &'static [&'static str],
    /// A whole number that counts something: no answer is conditioned by it.
    pub counts: bool,
    /// The value in our vectors, where it has one there; those with words go through them from one
    /// configuration to the next.
    pub written: InVectors,
}

/// The value of a setting in our vectors.
#[derive(Clone, Copy)]
pub enum InVectors {
    /// It is absent.
    No,
    /// Always this.
    Always(f64),
    /// The words by turns.
    ByTurns,
    /// These numbers by turns.
    Turns(&'static [f64]),
}

const fn row(name: &'static str, words: &'static [&'static str], written: InVectors) -> Setting {
    Setting {
        name,
        words,
        counts: false,
        written,
    }
}

const fn count(name: &'static str, written: InVectors) -> Setting {
    Setting {
        name,
        words: &[],
        counts: true,
        written,
    }
}

impl Setting {
    /// Whether its values lie apart: a word, or a whole number. Every other setting is a number
    /// that an answer is conditioned by.
    pub fn is_discrete(&self) -> bool {
        self.counts || !self.words.is_empty()
    }
}

/// Steps of a run in vectors.
pub const RUN: usize = 5;

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    row("clock", &[], InVectors::No),
    row("t", &[], InVectors::No),
    row("dt", &[], InVectors::No),
    count("n_steps", InVectors::Always(RUN as f64)),
    row("eps", &[], InVectors::Always(0.0009765625)),
    row("striding", &["linear", "quadratic"], InVectors::ByTurns),
    row("denoise", &["false", "true"], InVectors::Always(0.0)),
    row("probability_flow", &["false", "true"], InVectors::ByTurns),
    row("variance", &["small", "large"], InVectors::ByTurns),
    row("eta", &[], InVectors::Turns(&[0.5, 0.0, 1.0])),
    row("power", &[], InVectors::Always(3.0)),
    row("rho", &[], InVectors::Always(7.0)),
    row("sigma_min", &[], InVectors::Always(0.001953125)),
    row("sigma_max", &[], InVectors::Always(80.0)),
    count("dim", InVectors::Always(3072.0)),
    count("levels", InVectors::Always(256.0)),
    row(
        "weighting",
        &["likelihood", "reweightedv1", "reweightedv2"],
        InVectors::ByTurns,
    ),
];

/// The name under which a setting travels among the inputs; a word is its index.
pub fn setting_key(field: &str) -> String {
    format!("option.{field}")
}

/// Inputs that have no row per sample.
pub fn whole_array(name: &str) -> bool {
    name.starts_with("option.")
        || matches!(
            name,
            "score_v_matrix" | "net_W" | "data" | "weights" | "means" | "stds"
        )
}

/// The arrays a quantity reads.
pub type Inputs<'a> = BTreeMap<String, &'a Array>;

pub(super) struct Reader<'a> {
    pub inputs: &'a Inputs<'a>,
    pub n: usize,
}

impl Reader<'_> {
    pub fn get(&self, name: &'static str) -> Result<&Array> {
        self.inputs.get(name).copied().ok_or_else(|| {
            Error::parameter(name, "missing", "an input array; this quantity needs it")
        })
    }

    pub fn times(&self, name: &'static str) -> Result<Vec<f64>> {
        let a = self.get(name)?;
        if a.data.len() != self.n {
            return Err(Error::shape(name, &a.shape, format!("({},)", self.n)));
        }
        Ok(a.data.clone())
    }

    /// The times `t`, and `s` or 0, all of them on the model's clock.
    pub fn interval(&self, model: &Model) -> Result<(Vec<f64>, Vec<f64>)> {
        let t = self.times("t")?;
        let s = if self.inputs.contains_key("s") {
            self.times("s")?
        } else {
            vec![0.0; self.n]
        };
        for (name, list) in [("t", &t), ("s", &s)] {
            if let Some(bad) = list
                .iter()
                .find(|x| !(0.0..=model.schedule().horizon()).contains(*x))
            {
                return Err(Error::time(name, *bad, model.schedule().allowed()));
            }
        }
        Ok((t, s))
    }

    /// Mean and standard deviation of the data, where they are given.
    pub fn data(&self) -> Result<Option<[f64; 2]>> {
        let Some(a) = self.inputs.get("data") else {
            return Ok(None);
        };
        match a.data[..] {
            [mean, std] if mean.is_finite() && std >= 0.0 && std.is_finite() => {
                Ok(Some([mean, std]))
            }
            [_, _] => Err(Error::parameter(
                "data",
                format!("{:?}", a.data),
                "a finite mean and a standard deviation >= 0",
            )),
            _ => Err(Error::shape(
                "data",
                &a.shape,
                "(2,): mean and standard deviation",
            )),
        }
    }

    /// A (n, K d) array, all finite, and d.
    pub fn block(&self, name: &'static str, k: usize) -> Result<(&[f64], usize)> {
        let a = self.get(name)?;
        if a.shape.len() != 2 || a.shape[0] != self.n || a.shape[1] == 0 || a.shape[1] % k != 0 {
            return Err(Error::shape(
                name,
                &a.shape,
                format!(
                    "({}, {k} d): the d coordinates of each of the {k} channels",
                    self.n
                ),
            ));
        }
        finite(name, &a.data)?;
        Ok((&a.data, a.shape[1] / k))
    }
}

pub(super) fn finite(name: &str, data: &[f64]) -> Result<()> {
    match data.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::parameter(
            name.to_string(),
            data[i],
            format!("finite inputs (at flat index {i})"),
        )),
        None => Ok(()),
    }
}

/// A pair of channel letters as a flat index.
pub(crate) fn pair(name: &str, k: usize) -> Option<usize> {
    let find = |c: &str| CHANNELS[..k].iter().position(|x| *x == c);
    if name.len() != 2 || !name.is_ascii() {
        return None;
    }
    Some(find(&name[..1])? * k + find(&name[1..])?)
}

/// `l21` and the like as a flat index.
pub(crate) fn digits(name: &str, k: usize) -> Option<usize> {
    let b = name.strip_prefix('l')?.as_bytes();
    if b.len() != 2 {
        return None;
    }
    let (i, j) = (
        (b[0] as usize).wrapping_sub(b'1' as usize),
        (b[1] as usize).wrapping_sub(b'1' as usize),
    );
    (i < k && j < k).then_some(i * k + j)
}

/// Row `r` of a block, as cells.
pub(super) fn row_of(a: &[f64], r: usize, width: usize, t: f64) -> Vec<Cell> {
    a[r * width..(r + 1) * width]
        .iter()
        .map(|x| exact(*x, t))
        .collect()
}

pub(super) fn setting(read: &Reader<'_>, field: &str) -> Option<f64> {
    read.inputs.get(&setting_key(field)).map(|a| a.data[0])
}

/// A block of (n, width) numbers.
pub(super) fn plain<'a>(
    read: &'a Reader<'_>,
    name: &'static str,
    width: usize,
) -> Result<&'a [f64]> {
    let a = read.get(name)?;
    if a.shape != [read.n, width] {
        return Err(Error::shape(
            name,
            &a.shape,
            format!("({}, {width})", read.n),
        ));
    }
    finite(name, &a.data)?;
    Ok(&a.data)
}
