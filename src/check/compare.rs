//! Judging answers: every output of every entry against the truth.
//!
//! **The rule.** An answer y is right if it is the exact answer, up to a few units of its type, for
//! inputs and parameters changed by a few units of that type:
//!
//! ```text
//! |y - y*| <= C u (|y*| + sum_i |x_i dy*/dx_i|),   C = 16
//! ```
//!
//! u is the unit roundoff of the type that the array is stored in (2^-53, 2^-24, 2^-11, 2^-8), the
//! x_i are the inputs and the parameters (mass, beta, gamma, ...), the derivatives those of the
//! truth. `docs/guide/cross-check.md` derives C.
//!
//! **Three outcomes per value**: judged by the rule; an infinite truth, which that infinity alone
//! answers; no truth (not defined there, or beyond what double words hold): the row cannot be
//! judged, is named, and the verdict is not "all within tolerance".
//!
//! | class | an output has it if |
//! |---|---|
//! | `f64`, `f32`, `f16`, `bf16` | it is right by the rule in its own type (an f64 array that is right in f32 only: `f32`) |
//! | `eps` | it is right with the *declared* `epsilon_added` on every variance, plus what cancellation in the printed formulas does (64 times 2^-53 of the stationary size): "as published with eps" |
//! | `off` | it is none of these |

use super::answers::{Answer, Entry};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::files::{Array, Precision};
use crate::truth::config::Config;
use crate::truth::predict::{
    Cell, Inputs, Model, SETTINGS, Setting, leading, predict, rows, setting_key,
};
use crate::truth::reverse::whole_array;
use rayon::prelude::*;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// The rule's C: how many units of its type an answer may be off, for inputs that are off by as
/// many.
pub const UNITS: f64 = 16.0;
/// Relative distance, in f64, within which a mistake's numbers are recognised: looser than
/// [`UNITS`], since it is the cause that is asked for and not the verdict.
pub const F64_TOLERANCE: f64 = 1e-12;
/// The same in f32.
pub const F32_TOLERANCE: f64 = 1e-5;
/// Allowance for cancellation, in units of 2^-53 of the stationary size. The printed formulas sum
/// some ten rounded terms of that size; the worst of the recorded implementations needs 4.
pub const CANCELLATION: f64 = 64.0;

/// How good an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Class {
    /// Right in double precision.
    F64,
    /// Right once the declared constant is added to the variances, as published code does.
    Eps,
    /// Right in single precision.
    F32,
    /// Right in half precision.
    F16,
    /// Right in bfloat16.
    BF16,
    /// None of these.
    Off,
}

impl Class {
    /// The class of what is right in its own type.
    pub fn of(p: Precision) -> Class {
        match p {
            Precision::F64 => Class::F64,
            Precision::F32 => Class::F32,
            Precision::F16 => Class::F16,
            Precision::BF16 => Class::BF16,
        }
    }

    /// As files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Class::F64 => "f64",
            Class::Eps => "eps",
            Class::F32 => "f32",
            Class::F16 => "f16",
            Class::BF16 => "bf16",
            Class::Off => "off",
        }
    }
}

/// One output of one entry: the rows that can be judged.
pub(super) struct Unit<'a> {
    /// The entry, with these rows alone.
    pub entry: Cow<'a, Entry>,
    pub output: &'a str,
    pub got: Cow<'a, Array>,
    /// Where the rows stand in the file.
    pub rows: Vec<usize>,
    pub cells: Vec<Cell>,
    pub columns: usize,
    pub class: Class,
    /// Errors relative to the value's size, one per value; infinite where the answer is not finite
    /// but the truth is, or the other way.
    pub errors: Vec<f64>,
    /// Errors in the rule's units, C of which are allowed.
    pub units: Vec<f64>,
    /// Condition: `sum_i |x_i dy/dx_i|`, one per value.
    pub condition: Vec<f64>,
}

impl Unit<'_> {
    /// `quantity.output`.
    pub fn name(&self) -> String {
        format!(
            "{}.{}",
            self.entry.quantity,
            self.entry.own_output(self.output)
        )
    }

    /// Whether a row is off.
    pub fn is_off(&self, row: usize) -> bool {
        !self.units[row * self.columns..(row + 1) * self.columns]
            .iter()
            .all(|x| *x <= UNITS)
    }
}

/// Where the largest error is.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Worst {
    /// Error relative to the true value (or to an eighth of its largest terms where these cancel).
    #[serde(serialize_with = "number_or_word")]
    pub relative: f64,
    /// Error in units of the array's type, by the rule: at most 16 are right.
    #[serde(serialize_with = "number_or_word")]
    pub units: f64,
    /// The type that the units are of.
    pub precision: &'static str,
    /// The entry's id.
    pub entry: String,
    /// Row of the input arrays.
    pub row: usize,
    /// Column of the output.
    pub column: usize,
    /// Time, where the quantity has one.
    pub t: Option<f64>,
    /// The value given.
    #[serde(serialize_with = "number_or_word")]
    pub got: f64,
    /// The value that is right.
    #[serde(serialize_with = "number_or_word")]
    pub truth: f64,
    /// Process, parameters and schedule.
    pub config: String,
}

/// A place in the answers.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The entry's id.
    pub entry: String,
    /// Row of the input arrays.
    pub row: usize,
    /// Time, where the quantity has one.
    pub t: Option<f64>,
}

/// JSON has no NaN and no infinity: they are written as words, never as null.
pub(super) fn number_or_word<S: serde::Serializer>(
    x: &f64,
    s: S,
) -> std::result::Result<S::Ok, S::Error> {
    if x.is_finite() {
        s.serialize_f64(*x)
    } else {
        s.serialize_str(if x.is_nan() {
            "NaN"
        } else if *x > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        })
    }
}

/// Rows (or whole outputs) that cannot be judged.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Unjudged {
    /// The entry's id.
    pub entry: String,
    /// `quantity.output`.
    pub output: String,
    /// The rows' numbers; empty where it is all of them.
    pub rows: Vec<usize>,
    /// Time of the first of them, where there is one.
    #[serde(serialize_with = "maybe_number")]
    pub t: Option<f64>,
    /// Why, in a sentence.
    pub why: String,
}

fn maybe_number<S: serde::Serializer>(
    x: &Option<f64>,
    s: S,
) -> std::result::Result<S::Ok, S::Error> {
    match x {
        Some(x) => number_or_word(x, s),
        None => s.serialize_none(),
    }
}

/// The denominator of the relative error.
pub(super) fn size(c: &Cell) -> f64 {
    c.truth.hi.abs().max(c.scale / 8.0)
}

/// Distance of `got` from `truth`; 0 where it is below what the type can hold, infinite where one
/// of the two is not finite and the other is not that, or is NaN. A truth beyond the type's largest
/// number is infinite in that type.
pub(super) fn distance(got: f64, truth: Dd, precision: Precision) -> f64 {
    let t = truth.to_f64();
    if t.is_nan() || got.is_nan() {
        return f64::INFINITY;
    }
    let largest = precision.largest();
    if t.is_infinite() {
        return if got == t { 0.0 } else { f64::INFINITY };
    }
    if t.abs() > largest && got.abs() >= largest && got.signum() == t.signum() {
        return 0.0;
    }
    if !got.is_finite() {
        return f64::INFINITY;
    }
    let d = (Dd::from(got) - truth).to_f64().abs();
    // f64 and f32 are flushed to zero by some machines and flags; in half precision the numbers
    // below the smallest normal one are used
    let floor = match precision {
        Precision::F64 | Precision::F32 => precision.smallest(),
        Precision::F16 | Precision::BF16 => UNITS * precision.unit() * precision.smallest(),
    };
    if d <= floor { 0.0 } else { d }
}

/// Relative distance within which a mistake's numbers are recognised.
pub(super) fn tolerance(p: Precision) -> f64 {
    match p {
        Precision::F64 => F64_TOLERANCE,
        Precision::F32 => F32_TOLERANCE,
        Precision::F16 | Precision::BF16 => UNITS * p.unit(),
    }
}

/// `d / size`, never NaN: nothing is off by nothing, all else by infinitely much where the size is
/// 0 or not a number.
fn relative(d: f64, size: f64) -> f64 {
    if d == 0.0 {
        0.0
    } else if size > 0.0 && size.is_finite() {
        d / size
    } else {
        f64::INFINITY
    }
}

/// The same inputs for some of the rows only.
pub(super) fn some_rows(e: &Entry, rows: &[usize]) -> BTreeMap<String, Array> {
    let leads = leading(&e.quantity);
    let pick = |name: &str, a: &Array| {
        if whole_array(name) {
            return a.clone();
        }
        if name != leads
            && e.quantity.starts_with("sampler.run.")
            && let [draws, n, width] = a.shape[..]
        {
            // the noise of a run: one slice per draw, rows inside
            let at = |d: usize, r: usize| a.data[(d * n + r) * width..][..width].iter().copied();
            let data = (0..draws)
                .flat_map(|d| rows.iter().flat_map(move |r| at(d, *r)))
                .collect();
            return Array {
                shape: vec![draws, rows.len(), width],
                data,
                precision: a.precision,
            };
        }
        a.rows(rows)
    };
    e.inputs
        .iter()
        .map(|(k, a)| (k.clone(), pick(k, a)))
        .collect()
}

/// Adds to an error the entry in which it occurred.
pub(super) fn within(e: &Entry, file: &str) -> impl Fn(Error) -> Error {
    let (file, place) = (file.to_string(), format!("entry {}", e.id));
    move |error| Error::Format {
        file: file.clone(),
        place: place.clone(),
        problem: error.to_string(),
    }
}

/// Whether an array is the noise of a run: one slice per draw, rows inside.
fn is_run_noise(quantity: &str, name: &str) -> bool {
    quantity.starts_with("sampler.run.") && name == "noise"
}

/// Arrays as the formulas have them: a single number becomes an array of one row, and an image's
/// axes (n, c, h, w) are flattened to (n, c h w), which for channels one after the other is the
/// order that the formulas expect.
pub(super) fn as_rows(e: &Entry) -> Entry {
    let mut e = e.clone();
    let (quantity, lead) = (e.quantity.clone(), leading(&e.quantity));
    let n = e
        .inputs
        .get(lead)
        .and_then(|a| a.shape.first().copied())
        .unwrap_or(1);
    for (name, a) in e.inputs.iter_mut().filter(|(name, _)| !whole_array(name)) {
        if a.shape.is_empty() {
            a.shape = vec![1];
        } else if is_run_noise(&quantity, name) {
            if a.shape.len() > 3 {
                a.shape = vec![a.shape[0], a.shape[1], a.shape[2..].iter().product()];
            }
        } else if a.shape.len() > 2 {
            a.shape = vec![a.shape[0], a.shape[1..].iter().product()];
        }
        // times of shape (n, 1) are times
        if a.shape == [n, 1] && matches!(name.as_str(), "t" | "s" | "clock" | "uniform") {
            a.shape = vec![n];
        }
    }
    e
}

/// Refuses what has no rows: an empty array answers nothing, and must not pass for an answer.
pub(super) fn not_empty(e: &Entry) -> Result<()> {
    let outputs = if let Answer::Given(outputs) = &e.answer {
        Some(outputs)
    } else {
        None
    };
    let named = |kind: &'static str| move |(name, a)| (kind, name, a);
    let all = e
        .inputs
        .iter()
        .map(named("inputs"))
        .chain(outputs.into_iter().flatten().map(named("outputs")));
    match all
        .into_iter()
        .find(|(_, _, a): &(&str, &String, &Array)| a.data.is_empty())
    {
        Some((kind, name, a)) => Err(Error::shape(
            format!("{kind}.{name}"),
            &a.shape,
            "at least one row: an empty array cannot be judged",
        )),
        None => Ok(()),
    }
}

/// Whether all inputs have `n` rows.
pub(super) fn same_rows(e: &Entry, n: usize) -> Result<()> {
    for (name, a) in e.inputs.iter().filter(|(name, _)| !whole_array(name)) {
        let found = if is_run_noise(&e.quantity, name) {
            a.shape.get(1)
        } else {
            a.shape.first()
        };
        if found != Some(&n) {
            return Err(Error::shape(
                format!("inputs.{name}"),
                &a.shape,
                format!("{n} rows, as `{}` has", leading(&e.quantity)),
            ));
        }
    }
    Ok(())
}

/// An entry with some of its rows.
fn restricted(e: &Entry, rows: &[usize]) -> Entry {
    Entry {
        inputs: some_rows(e, rows),
        ..e.clone()
    }
}

/// Rows tried one by one at most, where none of them has a truth.
const SINGLY: usize = 200;

/// What a quantity's output should be, row by row: the columns, the cells of the rows that have a
/// truth, and for the others why not.
type ByRow = (usize, Vec<(usize, Vec<Cell>)>, Vec<(usize, String)>);

/// Rows of which a model remembers what it computed; more of them are worked on in parts, by all
/// cores.
const PART: usize = 4096;

fn by_row(e: &Entry, model: &Model, output: &str, n: usize) -> ByRow {
    if n <= PART {
        return part_by_row(e, model, output, 0..n, n);
    }
    let reading = model.reading;
    let part = |first: usize| -> ByRow {
        let rows = first..n.min(first + PART);
        match Model::new(&e.config) {
            Ok(mut model) => {
                model.reading = reading;
                part_by_row(e, &model, output, rows, n)
            }
            Err(error) => (1, vec![], rows.map(|r| (r, error.to_string())).collect()),
        }
    };
    let parts: Vec<ByRow> = (0..n.div_ceil(PART))
        .into_par_iter()
        .map(|i| part(i * PART))
        .collect();
    let mut found: ByRow = (1, Vec::with_capacity(n), Vec::new());
    for (columns, judged, refused) in parts {
        if !judged.is_empty() {
            found.0 = columns;
        }
        found.1.extend(judged);
        found.2.extend(refused);
    }
    found
}

fn part_by_row(
    e: &Entry,
    model: &Model,
    output: &str,
    rows: std::ops::Range<usize>,
    n: usize,
) -> ByRow {
    let mut found: ByRow = (1, Vec::new(), Vec::new());
    let mut todo = vec![rows.collect::<Vec<usize>>()];
    while let Some(part) = todo.pop() {
        let inputs = if part.len() == n {
            e.inputs.clone()
        } else {
            some_rows(e, &part)
        };
        let given: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
        match predict(&e.quantity, model, &given, output) {
            Ok((cells, columns)) => {
                found.0 = columns;
                for (row, cells) in part.iter().zip(cells.chunks(columns)) {
                    if cells.iter().any(|c| c.truth.to_f64().is_nan()) {
                        found.2.push((
                            *row,
                            "the true value is not defined there, or beyond what double words hold"
                                .into(),
                        ));
                    } else {
                        found.1.push((*row, cells.to_vec()));
                    }
                }
            }
            Err(error) if part.len() == 1 => found.2.push((part[0], error.to_string())),
            Err(error) if found.1.is_empty() && found.2.len() >= SINGLY => {
                found.2.extend(part.iter().map(|r| (*r, error.to_string())));
            }
            Err(_) => {
                let (a, b) = part.split_at(part.len() / 2);
                todo.extend([b.to_vec(), a.to_vec()]);
            }
        }
    }
    found.1.sort_by_key(|(row, _)| *row);
    found.2.sort_by_key(|(row, _)| *row);
    found
}

/// Relative change of one input or parameter, for the derivatives: 2^-8 units of f64's roundoff fit
/// into it, so that a truth known to f64 gives the derivative to half a per cent, and it is so
/// small that close times do not change places.
const CHANGE: f64 = 1.0 / ((1u64 << 45) as f64);

/// The same for settings.
const SETTING: f64 = 1.0 / ((1u64 << 28) as f64);

/// Arrays that the truth is conditioned by as by a parameter, each as a whole.
const TIMES: &[&str] = &["t", "s", "clock", "uniform", "stds", "data"];

/// Whether the truth is conditioned by an input as by a parameter: times, and every setting that is
/// a number and can be another one.
fn conditions(name: &str) -> bool {
    let setting = |s: &&Setting| setting_key(s.name) == name;
    TIMES.contains(&name)
        || SETTINGS
            .iter()
            .find(setting)
            .is_some_and(|s| !s.is_discrete())
}

/// What an entry's answers are, and what could not be judged of them.
pub(super) type Judged<'a> = (Vec<Unit<'a>>, Vec<Unjudged>);

/// The truth with a parameter made smaller, and larger where that cannot be.
type Changed = [Option<Model>; 2];

/// What entries of one configuration share: the models of the truth, and those of the parameters
/// changed, for the derivatives. They remember what they computed.
pub(super) struct Bench {
    config: Config,
    /// By the bits of the constant that is added.
    models: Mutex<HashMap<u64, Arc<Model>>>,
    changed: Mutex<HashMap<u64, Arc<Vec<Changed>>>>,
}

impl Bench {
    pub(super) fn new(config: &Config) -> Bench {
        Bench {
            config: config.clone(),
            models: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    fn with(config: &Config, epsilon: f64) -> Option<Model> {
        let mut model = Model::new(config).ok()?;
        model.reading.epsilon = epsilon;
        Some(model)
    }

    fn model(&self, epsilon: f64) -> Result<Arc<Model>> {
        let mut models = self
            .models
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(model) = models.get(&epsilon.to_bits()) {
            return Ok(model.clone());
        }
        let mut model = Model::new(&self.config)?;
        model.reading.epsilon = epsilon;
        let model = Arc::new(model);
        models.insert(epsilon.to_bits(), model.clone());
        Ok(model)
    }

    /// The models with one parameter changed: down, and up for where that cannot be.
    fn changed(&self, epsilon: f64) -> Arc<Vec<[Option<Model>; 2]>> {
        let mut changed = self
            .changed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let make = || {
            let (down, up) = (
                self.config.perturbed(1.0 - CHANGE),
                self.config.perturbed(1.0 + CHANGE),
            );
            let up = up.into_iter().map(Some).chain(std::iter::repeat(None));
            let both = |(a, b): (Config, Option<Config>)| {
                [
                    Bench::with(&a, epsilon),
                    b.and_then(|b| Bench::with(&b, epsilon)),
                ]
            };
            Arc::new(down.into_iter().zip(up).map(both).collect())
        };
        changed
            .entry(epsilon.to_bits())
            .or_insert_with(make)
            .clone()
    }
}

/// Columns of an array up to which its own derivatives are taken one by one.
const COLUMNS: usize = 32;

/// Whether a truth has no terms but what its parameters and times make it of: a matrix, or what is
/// made from one.
fn of_parameters(e: &Entry) -> bool {
    e.quantity.starts_with("kernel.") && e.inputs.keys().all(|name| TIMES.contains(&name.as_str()))
}

/// The sizes of the terms that a truth is made of, without those that are derivatives already.
fn terms(e: &Entry, c: &Cell) -> f64 {
    if of_parameters(e) {
        (c.scale - c.truth.hi.abs()).max(0.0)
    } else {
        c.scale
    }
}

/// The sum of `|x_i dy/dx_i|` for every value of an output, as it grows.
struct Sensitivity<'a> {
    e: &'a Entry,
    output: &'a str,
    cells: &'a [Cell],
    sum: Vec<f64>,
}

impl Sensitivity<'_> {
    /// Adds the difference that a relative change makes, over the change. Says whether the truth is
    /// defined with it.
    fn add(&mut self, model: &Model, inputs: &BTreeMap<String, Array>, change: f64) -> bool {
        let given: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
        let Ok((changed, _)) = predict(&self.e.quantity, model, &given, self.output) else {
            return false;
        };
        if changed.len() != self.cells.len() {
            return false;
        }
        for ((s, a), b) in self.sum.iter_mut().zip(&changed).zip(self.cells) {
            let d = (a.truth - b.truth).to_f64().abs() / change;
            if d.is_finite() {
                *s += d;
            }
        }
        true
    }

    /// Times and settings.
    fn add_inputs(&mut self, model: &Model) {
        let e = self.e;
        for name in e.inputs.keys().filter(|n| conditions(n)) {
            // down first: t = 1 is the last time there is; up where that would put t before s
            let changed = |factor: f64| {
                let mut inputs = e.inputs.clone();
                inputs
                    .entry(name.clone())
                    .and_modify(|a| a.data.iter_mut().for_each(|x| *x *= factor));
                inputs
            };
            // of one number, none is close to another: and the start of a step is a difference,
            // rounded
            let step = if name.starts_with("option.") {
                SETTING
            } else {
                CHANGE
            };
            let _ = self.add(model, &changed(1.0 - step), step)
                || self.add(model, &changed(1.0 + step), step);
        }
    }

    /// Column by column of the states, by a relative change that is not small.
    fn add_states(&mut self, model: &Model, change: f64) {
        for name in ["u", "u0"] {
            let Some(a) = self.e.inputs.get(name) else {
                continue;
            };
            let width = a.data.len() / a.shape.first().copied().unwrap_or(1).max(1);
            for c in 0..if width <= COLUMNS { width } else { 0 } {
                let mut inputs = self.e.inputs.clone();
                inputs.entry(name.into()).and_modify(|a| {
                    let column = a.data.iter_mut().skip(c).step_by(width);
                    column.for_each(|x| *x *= 1.0 + change);
                });
                self.add(model, &inputs, change);
            }
        }
    }
}

/// `sum_i |x_i dy/dx_i|` for every value of an output: over times and parameters by differences,
/// over the arrays that the truth is made of by the sizes of its terms (`Cell::scale`).
fn condition(
    e: &Entry,
    bench: &Bench,
    epsilon: f64,
    (output, p): (&str, Precision),
    cells: &[Cell],
) -> Vec<f64> {
    let own = |c: &Cell| if of_parameters(e) { 0.0 } else { c.scale };
    let mut sum = Sensitivity {
        e,
        output,
        cells,
        sum: cells.iter().map(own).collect(),
    };
    if let Ok(model) = bench.model(epsilon) {
        sum.add_inputs(&model);
        // a residual enters a density squared: where it is of the size of rounding, the change
        // itself counts, not its derivative
        if output == "log_density" {
            sum.add_states(&model, UNITS * p.unit());
        }
    }
    for [down, up] in bench.changed(epsilon).iter() {
        let done = down.as_ref().is_some_and(|m| sum.add(m, &e.inputs, CHANGE));
        if !done && let Some(model) = up {
            sum.add(model, &e.inputs, CHANGE);
        }
    }
    // an exact score is rounded before it is used, and may then be taken away by what stands beside
    // it
    if e.inputs.contains_key("data")
        && e.quantity.starts_with("sampler.")
        && let Ok(mut model) = Model::new(&e.config)
    {
        model.reading.epsilon = epsilon;
        model.reading.score_sign = 1.0 - CHANGE;
        sum.add(&model, &e.inputs, CHANGE);
    }
    // where the coefficients are not among the parameters, they are what code holds in its own type
    if e.config.entry.own_coefficients
        && (e.quantity.starts_with("kernel.") || e.quantity.starts_with("process."))
    {
        for mut model in Model::coefficients_changed(&e.config, 1.0 - CHANGE) {
            model.reading.epsilon = epsilon;
            sum.add(&model, &e.inputs, CHANGE);
        }
    }
    sum.sum
}

/// What an output should be, for vectors that carry their tolerances along.
pub(crate) struct Right {
    /// Columns of a row.
    pub columns: usize,
    /// The rows that have a truth.
    pub rows: Vec<usize>,
    /// The values of these rows.
    pub values: Vec<f64>,
    /// What the rule adds to their sizes: an answer is right within [`UNITS`] units of its type
    /// times `|value| + condition`.
    pub condition: Vec<f64>,
}

/// The right values of an entry's output, with their conditions for answers of type `p`.
pub(crate) fn right(e: &Entry, output: &str, p: Precision) -> Result<Right> {
    let e = &as_rows(e);
    let given: Inputs<'_> = e.inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    let bench = Bench::new(&e.config);
    let (columns, found, _) = by_row(e, &*bench.model(0.0)?, output, rows(&e.quantity, &given));
    let kept: Vec<usize> = found.iter().map(|(row, _)| *row).collect();
    let cells: Vec<Cell> = found.into_iter().flat_map(|(_, cells)| cells).collect();
    let condition = condition(&restricted(e, &kept), &bench, 0.0, (output, p), &cells);
    Ok(Right {
        columns,
        rows: kept,
        values: cells.iter().map(|c| c.truth.to_f64()).collect(),
        condition,
    })
}

/// An error in the rule's units. Where the exact answer for inputs changed by as much as is allowed
/// may leave the type's range, an infinity is as good as any number.
fn in_unit(c: &Cell, got: f64, p: Precision, condition: f64) -> f64 {
    let size = c.truth.hi.abs();
    let unit = p.unit() * (size + condition);
    if got.is_infinite() && size.is_finite() && size + UNITS * unit > p.largest() {
        return 0.0;
    }
    relative(distance(got, c.truth, p), unit)
}

/// Errors in the rule's units.
fn in_units(cells: &[Cell], got: &[f64], p: Precision, condition: &[f64]) -> Vec<f64> {
    cells
        .iter()
        .zip(got)
        .zip(condition)
        .map(|((c, g), s)| in_unit(c, *g, p, *s))
        .collect()
}

/// Whether every one of some errors is within `bound`: NaN is not, and no errors at all are not.
fn all_within(units: &[f64], bound: f64) -> bool {
    !units.is_empty() && units.iter().all(|u| *u <= bound)
}

/// An output that is judged.
struct Judging<'a, 'b> {
    entry: &'a Entry,
    bench: &'b Bench,
    name: &'a str,
    got: &'a Array,
    /// Rows of the entry.
    n: usize,
    columns: usize,
}

/// How an output agrees with a model.
struct Agreement {
    /// Within the rule of its own precision.
    own: bool,
    /// An f64 array within that of f32.
    single: bool,
    /// How much each value moves with the inputs.
    condition: Vec<f64>,
}

impl<'a> Judging<'a, '_> {
    /// The answers of some rows.
    fn values(&self, rows: &[usize]) -> Vec<f64> {
        let row = |r: &usize| &self.got.data[r * self.columns..(r + 1) * self.columns];
        rows.iter().flat_map(row).copied().collect()
    }

    /// The entry with these rows alone.
    fn part(&self, rows: &[usize]) -> Cow<'a, Entry> {
        if rows.len() == self.n {
            Cow::Borrowed(self.entry)
        } else {
            Cow::Owned(restricted(self.entry, rows))
        }
    }

    /// Rows judged, with their verdict.
    fn unit(
        &self,
        rows: Vec<usize>,
        cells: Vec<Cell>,
        class: Class,
        condition: Vec<f64>,
    ) -> Unit<'a> {
        let data = self.values(&rows);
        let p = self.got.precision;
        let errors = cells
            .iter()
            .zip(&data)
            .map(|(c, g)| relative(distance(*g, c.truth, p), size(c)))
            .collect();
        let units = in_units(&cells, &data, p, &condition);
        let got = if rows.len() == self.n {
            Cow::Borrowed(self.got)
        } else {
            Cow::Owned(Array {
                shape: vec![rows.len(), self.columns],
                data,
                precision: p,
            })
        };
        Unit {
            entry: self.part(&rows),
            output: self.name,
            got,
            rows,
            cells,
            columns: self.columns,
            class,
            errors,
            units,
            condition,
        }
    }

    /// Whether rows agree with the model that has `epsilon`; `slack` times the cancellation is
    /// allowed beside the rule.
    fn agreement(&self, epsilon: f64, rows: &[usize], cells: &[Cell], slack: f64) -> Agreement {
        let data = self.values(rows);
        let p = self.got.precision;
        // a bound that needs no derivatives comes first: the sizes of the terms are part of the
        // condition
        let quick: Vec<f64> = cells.iter().map(|c| terms(self.entry, c)).collect();
        if slack == 0.0 && all_within(&in_units(cells, &data, p, &quick), UNITS) {
            return Agreement {
                own: true,
                single: false,
                condition: quick,
            };
        }
        let part = self.part(rows);
        let full = condition(&part, self.bench, epsilon, (self.name, p), cells);
        let fits = |p: Precision| {
            !cells.is_empty()
                && cells.iter().zip(&data).zip(&full).all(|((c, g), s)| {
                    in_unit(c, *g, p, *s) <= UNITS
                        || distance(*g, c.truth, p)
                            <= UNITS * p.unit() * (c.truth.hi.abs() + s) + slack * c.cancellation
                })
        };
        Agreement {
            own: fits(p),
            single: p == Precision::F64 && fits(Precision::F32),
            condition: full,
        }
    }

    /// The verdict without any added constant.
    fn plainly(&self, rows: Vec<usize>, cells: Vec<Cell>) -> Option<Unit<'a>> {
        if rows.is_empty() {
            return None;
        }
        let found = self.agreement(0.0, &rows, &cells, 0.0);
        let class = match (found.own, found.single) {
            (true, _) => Class::of(self.got.precision),
            (_, true) => Class::F32,
            _ => Class::Off,
        };
        Some(self.unit(rows, cells, class, found.condition))
    }

    /// The verdict with the declared constant, where there is none to pass without it; and whether
    /// it is that.
    fn with_constant(
        &self,
        declared: f64,
        with: &[(usize, Vec<Cell>)],
        judged: Option<Unit<'a>>,
    ) -> (Option<Unit<'a>>, bool) {
        let natural = Class::of(self.got.precision);
        if judged.as_ref().is_some_and(|u| u.class == natural) {
            return (judged, false);
        }
        let (rows, cells) = split(with);
        let found = self.agreement(declared, &rows, &cells, CANCELLATION);
        if !found.own || !self.reached(judged.as_ref(), &rows, &cells) {
            return (judged, false);
        }
        let unit = match judged {
            // errors are shown against the truth without any epsilon, where there is one for every
            // row
            Some(u) if u.rows.len() == rows.len() => Unit {
                class: Class::Eps,
                ..u
            },
            _ => self.unit(rows, cells, Class::Eps, found.condition),
        };
        (Some(unit), true)
    }

    /// Whether the declared constant changes any of these rows from what was judged without it: an
    /// output that it does not reach is not excused by it.
    fn reached(&self, judged: Option<&Unit<'_>>, rows: &[usize], cells: &[Cell]) -> bool {
        judged.is_none_or(|u| {
            let plain = u.rows.iter().copied().zip(u.cells.chunks(self.columns));
            let plain: BTreeMap<usize, &[Cell]> = plain.collect();
            let differs = |(a, b): (&Cell, &Cell)| {
                (a.truth - b.truth).to_f64().abs() > F64_TOLERANCE * size(a)
            };
            rows.iter()
                .zip(cells.chunks(self.columns))
                .any(|(r, with)| plain.get(r).is_none_or(|c| c.iter().zip(with).any(differs)))
        })
    }
}

/// Rows and cells of what can be judged.
fn split(judged: &[(usize, Vec<Cell>)]) -> (Vec<usize>, Vec<Cell>) {
    let cells = judged.iter().flat_map(|(_, c)| c.iter().copied());
    (judged.iter().map(|(r, _)| *r).collect(), cells.collect())
}

/// Judges one output of an entry of `n` rows, and says which rows it cannot judge. Rows at times
/// before `t_min` are left out.
pub(super) fn judge_output<'a>(
    e: &'a Entry,
    (bench, t_min): (&Bench, f64),
    (name, got): (&'a str, &'a Array),
    n: usize,
    unjudged: &mut Vec<Unjudged>,
) -> Result<Option<Unit<'a>>> {
    let declared = e.config.epsilon_added;
    let time = |row: usize| e.inputs.get("t").and_then(|a| a.data.get(row)).copied();
    let mut refuse = |rows: Vec<usize>, why: String| {
        let t = rows.first().and_then(|r| time(*r));
        let rows = if rows.len() == n { vec![] } else { rows };
        unjudged.push(Unjudged {
            entry: e.id.clone(),
            output: format!("{}.{}", e.quantity, e.own_output(name)),
            rows,
            t,
            why,
        });
    };
    let asked = |(columns, mut judged, mut refused): ByRow| -> ByRow {
        if t_min > 0.0 {
            let late = |row: usize| !time(row).is_some_and(|t| t < t_min);
            judged.retain(|(row, _)| late(*row));
            refused.retain(|(row, _)| late(*row));
        }
        (columns, judged, refused)
    };
    let (columns, plain, mut refused) = asked(by_row(e, &*bench.model(0.0)?, name, n));
    // the declared constant has a model of its own, also where the covariance without it is
    // singular
    let with: Option<ByRow> = if declared > 0.0 {
        Some(asked(by_row(e, &*bench.model(declared)?, name, n)))
    } else {
        None
    };
    let columns = if plain.is_empty() {
        with.as_ref().map_or(columns, |w| w.0)
    } else {
        columns
    };
    let wanted = if columns == 1 {
        format!("({n},)")
    } else {
        format!("({n}, {columns})")
    };
    let usable = !plain.is_empty() || with.as_ref().is_some_and(|w| !w.1.is_empty());
    if usable && (got.data.len() != n * columns || (got.shape.first() != Some(&n) && n != 1)) {
        refuse(
            (0..n).collect(),
            Error::shape(format!("outputs.{name}"), &got.shape, wanted).to_string(),
        );
        return Ok(None);
    }
    let output = Judging {
        entry: e,
        bench,
        name,
        got,
        n,
        columns,
    };
    let (rows, cells) = split(&plain);
    let mut judged = output.plainly(rows, cells);
    if let Some((_, with, refused_with)) = with.filter(|w| !w.1.is_empty()) {
        let excused;
        (judged, excused) = output.with_constant(declared, &with, judged);
        if excused {
            refused = refused_with;
        }
    }
    by_reason(refused)
        .into_iter()
        .for_each(|(why, rows)| refuse(rows, why));
    Ok(judged)
}

/// Rows that are refused for the same reason together, in the order of their first.
fn by_reason(refused: Vec<(usize, String)>) -> Vec<(String, Vec<usize>)> {
    let mut reasons: Vec<(String, Vec<usize>)> = Vec::new();
    for (row, why) in refused {
        match reasons.iter_mut().find(|(w, _)| *w == why) {
            Some((_, rows)) => rows.push(row),
            None => reasons.push((why, vec![row])),
        }
    }
    reasons
}

/// What tells configurations apart.
pub(super) fn key(c: &Config) -> String {
    format!("{} {}", c.to_answers(), c.epsilon_added)
}

/// Entry numbers by configuration, in the order in which these first occur.
pub(super) fn by_config<'a>(configs: impl Iterator<Item = &'a Config>) -> Vec<Vec<usize>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, c) in configs.enumerate() {
        let next = groups.len();
        let place = *places.entry(key(c)).or_insert(next);
        if place == next {
            groups.push(vec![]);
        }
        groups[place].push(i);
    }
    groups
}

/// Outputs by `quantity.output` with their number, and the entries.
pub(super) fn names<'a>(
    units: impl Iterator<Item = &'a Unit<'a>>,
) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut outputs, mut entries) = (BTreeMap::new(), Vec::new());
    for u in units {
        *outputs.entry(u.name()).or_insert(0) += 1;
        if !entries.contains(&u.entry.id) {
            entries.push(u.entry.id.clone());
        }
    }
    (outputs, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Precision; 4] = [
        Precision::F64,
        Precision::F32,
        Precision::F16,
        Precision::BF16,
    ];

    fn cell(truth: f64) -> Cell {
        Cell {
            truth: Dd::from(truth),
            scale: truth.abs(),
            cancellation: 0.0,
            t: 0.5,
        }
    }

    /// Catches an infinity or a NaN that is near to a number, a difference that is lost in a type's
    /// subnormal numbers or beyond its largest one, and one that is not there: by hand.
    #[test]
    fn distances_by_hand() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for p in ALL {
            let d = |got: f64, truth: f64| distance(got, Dd::from(truth), p);
            assert_eq!(d(3.5, 2.0), 1.5);
            assert_eq!(d(-3.5, 2.0), 5.5);
            for (got, truth) in [
                (nan, 1.0),
                (1.0, nan),
                (nan, nan),
                (inf, 1.0),
                (-inf, 1.0),
                (1.0, inf),
                (-inf, inf),
                (nan, inf),
            ] {
                assert_eq!(d(got, truth), inf, "{got} {truth}");
            }
            assert_eq!((d(inf, inf), d(-inf, -inf)), (0.0, 0.0));
            // a truth beyond the type's numbers is infinite there, of its own sign
            if p != Precision::F64 {
                let (most, truth) = (p.largest(), 2.0 * p.largest());
                assert_eq!((d(inf, truth), d(most, truth)), (0.0, 0.0));
                assert_eq!((d(-inf, -truth), d(-most, -truth)), (0.0, 0.0));
                assert_eq!((d(-inf, truth), d(-most, truth)), (inf, 3.0 * most));
                assert_eq!(d(0.5 * most, truth), 1.5 * most);
                assert_eq!(d(inf, most), inf);
            }
            let floor = match p {
                Precision::F64 | Precision::F32 => p.smallest(),
                _ => 16.0 * p.unit() * p.smallest(),
            };
            assert_eq!((d(0.0, floor), d(-floor, 0.0)), (0.0, 0.0));
            let more = 1.5 * floor;
            assert_eq!((d(0.0, more), d(more, 0.0)), (more, more));
        }
        // in double words: half an ulp of the truth is seen
        let truth = Dd::new(1.0, 2f64.powi(-54));
        assert_eq!(distance(1.0, truth, Precision::F64), 2f64.powi(-54));
    }

    /// Catches a unit that is not the type's, a condition that is not added, and 16 units that are
    /// not the last that are right: `|y - y*| <= 16 u (|y*| + condition)`, to the bit.
    #[test]
    fn sixteen_units_are_the_last_that_are_right() {
        for p in ALL {
            for (truth, condition) in [(1.0, 0.0), (-2.0, 0.0), (1.0, 3.0), (0.5, 0.5), (0.0, 1.0)]
            {
                let c = cell(truth);
                let unit = p.unit() * (truth.abs() + condition);
                // of one unit f64 may have no number
                for units in [0.0, 2.0, 8.0, 16.0, 18.0] {
                    for sign in [1.0, -1.0] {
                        let got = truth + sign * units * unit;
                        assert_eq!(in_unit(&c, got, p, condition), units, "{truth} {p:?}");
                    }
                }
            }
        }
        let found = in_units(
            &[cell(1.0), cell(1.0)],
            &[1.0, 1.5],
            Precision::F32,
            &[0.0, 1.0],
        );
        assert_eq!(found, [0.0, 2f64.powi(22)]);
        assert!(all_within(&[0.0, 16.0], UNITS));
        assert!(!all_within(&[0.0, 16f64.next_up()], UNITS));
        assert!(!all_within(&[f64::NAN, 0.0], UNITS) && !all_within(&[0.0, f64::NAN], UNITS));
        assert!(!all_within(&[], UNITS) && !all_within(&[f64::INFINITY], UNITS));
    }

    /// Catches an infinity that passes for a number within the type's range, and one that is
    /// refused where 16 units reach beyond it.
    #[test]
    fn infinities_are_right_at_the_end_of_the_range() {
        for p in [Precision::F32, Precision::F16, Precision::BF16] {
            let most = p.largest();
            let near = cell(most * (1.0 - 8.0 * p.unit()));
            assert_eq!(in_unit(&near, f64::INFINITY, p, 0.0), 0.0);
            for far in [most * (1.0 - 20.0 * p.unit()), 1.0] {
                assert_eq!(in_unit(&cell(far), f64::INFINITY, p, 0.0), f64::INFINITY);
            }
            assert_eq!(in_unit(&near, f64::NAN, p, 0.0), f64::INFINITY);
        }
    }

    /// Catches an error that is nothing because its size is: nothing is off by nothing, anything
    /// else by infinitely much of 0, of NaN and of an infinite size.
    #[test]
    fn relative_to_nothing_is_infinite() {
        assert_eq!((relative(3.0, 2.0), relative(0.0, 2.0)), (1.5, 0.0));
        for size in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                (relative(0.0, size), relative(1e-300, size)),
                (0.0, f64::INFINITY)
            );
        }
        let mut c = cell(1.0);
        assert_eq!(size(&c), 1.0);
        c.scale = 16.0;
        assert_eq!(size(&c), 2.0);
        for (p, want) in ALL
            .into_iter()
            .zip([1e-12, 1e-5, 2f64.powi(-7), 2f64.powi(-4)])
        {
            assert_eq!(tolerance(p), want);
        }
    }
}
