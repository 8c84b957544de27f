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

use super::answers::{Answer, Answers, Entry};
use super::consequence::{self, Follows, Shown};
use super::diagnose::{Diagnosis, diagnose};
use super::words::time;
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
use std::sync::atomic::{AtomicUsize, Ordering};
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

fn numbers_or_words<S: serde::Serializer>(
    x: &BTreeMap<i32, f64>,
    s: S,
) -> std::result::Result<S::Ok, S::Error> {
    struct Number(f64);
    impl Serialize for Number {
        fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
            number_or_word(&self.0, s)
        }
    }
    s.collect_map(x.iter().map(|(k, v)| (k, Number(*v))))
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

/// A line of the table: one output of one quantity of one process, for the entries of one verdict.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// Quantity.
    pub quantity: String,
    /// Output.
    pub output: String,
    /// Process.
    pub process: String,
    /// Verdict.
    pub class: Class,
    /// Whether that verdict is accepted.
    pub accepted: bool,
    /// Number of entries.
    pub entries: usize,
    /// Number of values compared.
    pub values: usize,
    /// The largest error against the truth (without any epsilon), among the values that are finite
    /// where there are such.
    pub worst: Worst,
    /// Number of values that are not finite, where the truth is.
    pub not_finite: usize,
    /// The first of them.
    pub not_finite_at: Option<Place>,
    /// Exponent p of the error's growth `t^p` as t -> 0, from the entry with the largest error;
    /// `None` where there is no trend (errors within the class's tolerance, or no power law).
    pub trend: Option<f64>,
    /// Which times are off.
    pub off_at: String,
    /// The first time from which on all is right, where earlier ones are off.
    pub right_from: Option<f64>,
    /// The largest error in the rule's units by decade of t: the exponent of its lower end, and
    /// infinite for 0.
    #[serde(serialize_with = "numbers_or_words")]
    pub decades: BTreeMap<i32, f64>,
}

/// Outputs that are off, that no known mistake explains, and that nothing else explains either.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Unexplained {
    /// Outputs, by `quantity.output`, with their number.
    pub outputs: BTreeMap<String, usize>,
    /// The entries.
    pub entries: Vec<String>,
    /// What is off because it is made from these.
    pub follows: Vec<Follows>,
    /// The worst row among them.
    pub shown: Option<Shown>,
}

/// An answer that is an error message.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Raised {
    /// Quantity.
    pub quantity: String,
    /// The words.
    pub message: String,
    /// The entries.
    pub entries: Vec<String>,
}

/// The verdict on a file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Schema of the report itself.
    pub schema: &'static str,
    /// The manifest.
    pub file: String,
    /// What made the numbers.
    pub implementation: String,
    /// True if every answer was judged and is within an accepted class, and none raised.
    pub ok: bool,
    /// Number of entries judged.
    pub judged: usize,
    /// The classes accepted besides the array's own precision.
    pub accept: Vec<Class>,
    /// The table.
    pub lines: Vec<Line>,
    /// The likely mistakes, the one that explains most first.
    pub diagnoses: Vec<Diagnosis>,
    /// Outputs (`entry output`) that are off, that no known mistake explains, and that do not
    /// follow from others.
    pub unexplained: Vec<String>,
    /// The same by quantity, with the worst row of each and what follows from it.
    pub open: Vec<Unexplained>,
    /// Entries whose code raised an error.
    pub raised: Vec<Raised>,
    /// What cannot be judged: entries, outputs or rows.
    pub unjudged: Vec<Unjudged>,
    /// What was given and is not used.
    pub ignored: Vec<String>,
    /// Entries of the vectors without an answer, of processes and suites that were begun.
    pub unanswered: Vec<String>,
    /// Processes and suites of the vectors without a single answer (`process suite`), with the
    /// number of entries.
    pub not_begun: BTreeMap<String, usize>,
    /// Rows at earlier times were not judged, as asked for.
    pub t_min: Option<f64>,
    /// Quantities not yet covered, with the number of entries.
    pub not_yet: BTreeMap<String, usize>,
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
fn within(e: &Entry, file: &str) -> impl Fn(Error) -> Error {
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
fn not_empty(e: &Entry) -> Result<()> {
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
fn same_rows(e: &Entry, n: usize) -> Result<()> {
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
type Judged<'a> = (Vec<Unit<'a>>, Vec<Unjudged>);

/// The truth with a parameter made smaller, and larger where that cannot be.
type Changed = [Option<Model>; 2];

/// What entries of one configuration share: the models of the truth, and those of the parameters
/// changed, for the derivatives. They remember what they computed.
struct Bench {
    config: Config,
    /// By the bits of the constant that is added.
    models: Mutex<HashMap<u64, Arc<Model>>>,
    changed: Mutex<HashMap<u64, Arc<Vec<Changed>>>>,
}

impl Bench {
    fn new(config: &Config) -> Bench {
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

/// `sum_i |x_i dy/dx_i|` for every value of an output: over times and parameters by differences,
/// over the arrays that the truth is made of by the sizes of its terms (`Cell::scale`).
fn condition(
    e: &Entry,
    bench: &Bench,
    epsilon: f64,
    (output, p): (&str, Precision),
    cells: &[Cell],
) -> Vec<f64> {
    let mut sum: Vec<f64> = cells
        .iter()
        .map(|c| if of_parameters(e) { 0.0 } else { c.scale })
        .collect();
    let mut add = |model: &Model, inputs: &BTreeMap<String, Array>, change: f64| -> bool {
        let given: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
        let Ok((changed, _)) = predict(&e.quantity, model, &given, output) else {
            return false;
        };
        if changed.len() != cells.len() {
            return false;
        }
        for ((s, a), b) in sum.iter_mut().zip(&changed).zip(cells) {
            let d = (a.truth - b.truth).to_f64().abs() / change;
            if d.is_finite() {
                *s += d;
            }
        }
        true
    };
    if let Ok(model) = bench.model(epsilon) {
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
            let _ =
                add(&model, &changed(1.0 - step), step) || add(&model, &changed(1.0 + step), step);
        }
        // a residual enters a density squared: where it is of the size of rounding, the change
        // itself counts, not its derivative
        if output == "log_density" {
            let change = UNITS * p.unit();
            for name in ["u", "u0"] {
                let Some(a) = e.inputs.get(name) else {
                    continue;
                };
                let width = a.data.len() / a.shape.first().copied().unwrap_or(1).max(1);
                for c in 0..if width <= COLUMNS { width } else { 0 } {
                    let mut inputs = e.inputs.clone();
                    inputs.entry(name.into()).and_modify(|a| {
                        a.data
                            .iter_mut()
                            .skip(c)
                            .step_by(width)
                            .for_each(|x| *x *= 1.0 + change)
                    });
                    add(&model, &inputs, change);
                }
            }
        }
    }
    for [down, up] in bench.changed(epsilon).iter() {
        let done = down.as_ref().is_some_and(|m| add(m, &e.inputs, CHANGE));
        if !done && let Some(model) = up {
            add(model, &e.inputs, CHANGE);
        }
    }
    let with_score = |model: &mut Model| {
        model.reading.epsilon = epsilon;
        model.reading.score_sign = 1.0 - CHANGE;
    };
    // an exact score is rounded before it is used, and may then be taken away by what stands beside
    // it
    if e.inputs.contains_key("data")
        && e.quantity.starts_with("sampler.")
        && let Ok(mut model) = Model::new(&e.config)
    {
        with_score(&mut model);
        add(&model, &e.inputs, CHANGE);
    }
    // where the coefficients are not among the parameters, they are what code holds in its own type
    if e.config.entry.own_coefficients
        && (e.quantity.starts_with("kernel.") || e.quantity.starts_with("process."))
    {
        for mut model in Model::coefficients_changed(&e.config, 1.0 - CHANGE) {
            model.reading.epsilon = epsilon;
            add(&model, &e.inputs, CHANGE);
        }
    }
    sum
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

/// Judges one output of an entry of `n` rows, and says which rows it cannot judge. Rows at times
/// before `t_min` are left out.
fn judge_output<'a>(
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
    let (columns, plain, refused) = asked(by_row(e, &*bench.model(0.0)?, name, n));
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
    let values = |rows: &[usize]| -> Vec<f64> {
        rows.iter()
            .flat_map(|r| got.data[r * columns..(r + 1) * columns].iter().copied())
            .collect()
    };
    let unit = |rows: Vec<usize>, cells: Vec<Cell>, class: Class, condition: Vec<f64>| {
        let data = values(&rows);
        let p = got.precision;
        let errors = cells
            .iter()
            .zip(&data)
            .map(|(c, g)| relative(distance(*g, c.truth, p), size(c)))
            .collect();
        let units = in_units(&cells, &data, p, &condition);
        let whole = rows.len() == n;
        let entry = if whole {
            Cow::Borrowed(e)
        } else {
            Cow::Owned(restricted(e, &rows))
        };
        let shape = vec![rows.len(), columns];
        let got = if whole {
            Cow::Borrowed(got)
        } else {
            Cow::Owned(Array {
                shape,
                data,
                precision: p,
            })
        };
        Unit {
            entry,
            output: name,
            got,
            rows,
            cells,
            columns,
            class,
            errors,
            units,
            condition,
        }
    };
    let split = |found: &ByRow| -> (Vec<usize>, Vec<Cell>) {
        (
            found.1.iter().map(|(r, _)| *r).collect(),
            found
                .1
                .iter()
                .flat_map(|(_, c)| c.iter().copied())
                .collect(),
        )
    };
    let right =
        |epsilon: f64, rows: &[usize], cells: &[Cell], slack: f64| -> (bool, bool, Vec<f64>) {
            let data = values(rows);
            let p = got.precision;
            // a bound that needs no derivatives comes first: the sizes of the terms are part of the
            // condition
            let quick: Vec<f64> = cells.iter().map(|c| terms(e, c)).collect();
            if slack == 0.0 && all_within(&in_units(cells, &data, p, &quick), UNITS) {
                return (true, false, quick);
            }
            let part = if rows.len() == n {
                Cow::Borrowed(e)
            } else {
                Cow::Owned(restricted(e, rows))
            };
            let full = condition(&part, bench, epsilon, (name, p), cells);
            let fits = |p: Precision| {
                !cells.is_empty()
                    && cells.iter().zip(&data).zip(&full).all(|((c, g), s)| {
                        in_unit(c, *g, p, *s) <= UNITS
                            || distance(*g, c.truth, p)
                                <= UNITS * p.unit() * (c.truth.hi.abs() + s)
                                    + slack * c.cancellation
                    })
            };
            (fits(p), p == Precision::F64 && fits(Precision::F32), full)
        };
    let mut refusals = refused;
    let (rows, cells) = split(&(columns, plain, vec![]));
    let mut judged = (!rows.is_empty()).then(|| {
        let (own, single, condition) = right(0.0, &rows, &cells, 0.0);
        let class = match (own, single) {
            (true, _) => Class::of(got.precision),
            (_, true) => Class::F32,
            _ => Class::Off,
        };
        unit(rows, cells, class, condition)
    });
    let natural = judged
        .as_ref()
        .is_some_and(|u| u.class == Class::of(got.precision));
    if let Some(with) = with.filter(|w| !natural && !w.1.is_empty()) {
        let (rows, cells) = split(&with);
        let (own, _, with_condition) = right(declared, &rows, &cells, CANCELLATION);
        // an output that the constant does not reach is not excused by it
        let reaches = judged.as_ref().is_none_or(|u| {
            let right: BTreeMap<usize, &[Cell]> = u
                .rows
                .iter()
                .copied()
                .zip(u.cells.chunks(columns))
                .collect();
            let differs = |(a, b): (&Cell, &Cell)| {
                (a.truth - b.truth).to_f64().abs() > F64_TOLERANCE * size(a)
            };
            rows.iter()
                .zip(cells.chunks(columns))
                .any(|(r, with)| right.get(r).is_none_or(|c| c.iter().zip(with).any(differs)))
        });
        if own && reaches {
            refusals = with.2;
            judged = match judged {
                // errors are shown against the truth without any epsilon, where there is one for
                // every row
                Some(u) if u.rows.len() == rows.len() => Some(Unit {
                    class: Class::Eps,
                    ..u
                }),
                _ => Some(unit(rows, cells, Class::Eps, with_condition)),
            };
        }
    }
    let mut reasons: Vec<(String, Vec<usize>)> = Vec::new();
    for (row, why) in refusals {
        match reasons.iter_mut().find(|(w, _)| *w == why) {
            Some((_, rows)) => rows.push(row),
            None => reasons.push((why, vec![row])),
        }
    }
    reasons
        .into_iter()
        .for_each(|(why, rows)| refuse(rows, why));
    Ok(judged)
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

/// Judges `answers`. Classes in `accept` pass besides the precision that each array is stored in.
///
/// `progress` is called with (done, total).
///
/// # Errors
/// An array without rows; nothing at all that can be judged. What cannot be judged beside other
/// things that can (inputs of the wrong shape, times outside the clock, unknown outputs) is listed
/// under `unjudged`. Outputs that are not finite are answers, and get the verdict `off`.
pub fn judge(
    answers: &Answers,
    accept: &[Class],
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Report> {
    judge_from(answers, accept, 0.0, progress)
}

/// [`judge`] for the rows whose time is `t_min` at least, and those that have no time.
///
/// # Errors
/// As [`judge`]; a `t_min` that is no time.
pub fn judge_from(
    answers: &Answers,
    accept: &[Class],
    t_min: f64,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Report> {
    if !(t_min >= 0.0 && t_min.is_finite()) {
        return Err(Error::parameter("t_min", t_min, "a time, 0 or more"));
    }
    let file = answers.file.display().to_string();
    answers
        .entries
        .iter()
        .try_for_each(|e| not_empty(e).map_err(within(e, &file)))?;
    let entries: Vec<Entry> = answers.entries.iter().map(as_rows).collect();
    let total = entries.len();
    let (mut raised, mut unanswered) =
        (BTreeMap::<(String, String), Vec<String>>::new(), Vec::new());
    let whole = |entry: &str, output: &str, why: String| Unjudged {
        entry: entry.into(),
        output: output.into(),
        rows: vec![],
        t: None,
        why,
    };
    let mut unjudged: Vec<Unjudged> = answers
        .unusable
        .iter()
        .map(|u| whole(&u.entry, &u.quantity, u.why.clone()))
        .collect();
    for e in &entries {
        match &e.answer {
            Answer::Given(_) => {}
            Answer::Raised(words) => raised
                .entry((e.quantity.clone(), words.clone()))
                .or_default()
                .push(e.id.clone()),
            Answer::Missing => unanswered.push(e),
        }
    }
    // configurations side by side: what is computed for one is of use to no other
    let (done, shown) = (AtomicUsize::new(0), Mutex::new(&mut *progress));
    let one = |i: usize, bench: &Bench| -> (Vec<Unit<'_>>, Vec<Unjudged>) {
        if let Ok(mut show) = shown.try_lock() {
            show(done.load(Ordering::Relaxed), total);
        }
        done.fetch_add(1, Ordering::Relaxed);
        let e = &entries[i];
        let (mut units, mut refused) = (Vec::new(), Vec::new());
        let Answer::Given(outputs) = &e.answer else {
            return (units, refused);
        };
        let given: Inputs<'_> = e.inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
        let n = rows(&e.quantity, &given);
        let judged = same_rows(e, n).and_then(|()| {
            for (name, got) in outputs {
                units.extend(judge_output(
                    e,
                    (bench, t_min),
                    (name, got),
                    n,
                    &mut refused,
                )?);
            }
            Ok(())
        });
        if let Err(error) = judged {
            refused.push(whole(&e.id, &e.quantity, error.to_string()));
        }
        (units, refused)
    };
    let groups = by_config(entries.iter().map(|e| &e.config));
    let mut found: Vec<(usize, Judged<'_>)> = groups
        .par_iter()
        .flat_map_iter(|group| {
            let bench = Bench::new(&entries[group[0]].config);
            group
                .iter()
                .map(|i| (*i, one(*i, &bench)))
                .collect::<Vec<_>>()
        })
        .collect();
    found.sort_by_key(|(i, _)| *i);
    let (mut units, mut judged) = (Vec::new(), 0);
    for (_, (of_one, refused)) in found {
        judged += usize::from(!of_one.is_empty());
        units.extend(of_one);
        unjudged.extend(refused);
    }
    if let (0, true, Some(first)) = (judged, raised.is_empty(), unjudged.first()) {
        let more = if unjudged.len() > 1 {
            format!(" (and {} more)", unjudged.len() - 1)
        } else {
            String::new()
        };
        return Err(Error::Format {
            file,
            place: format!("entry {}", first.entry),
            problem: format!("cannot be judged: {}{more}", first.why),
        });
    }
    let accepted = |u: &Unit<'_>| {
        u.class == Class::of(u.got.precision)
            || (u.class != Class::Off && accept.contains(&u.class))
    };
    // Within an array's own precision there is nothing to explain, even where it is accepted for
    // another reason.
    let suspects: Vec<bool> = units
        .iter()
        .map(|u| u.class != Class::of(u.got.precision))
        .collect();
    let (mut diagnoses, left) = diagnose(&units, &suspects, &mut |done, all| {
        progress(total * done / all.max(1), total)
    });
    let open = causes(&units, &suspects, &mut diagnoses, left, &file);
    let unexplained = open
        .iter()
        .flat_map(|(_, list)| list)
        .map(|u| format!("{} {}", units[*u].entry.id, units[*u].output))
        .collect();
    let open = open.into_iter().map(|(open, _)| open).collect();
    let mut groups: BTreeMap<(usize, &str, &str, Class, bool), Vec<&Unit<'_>>> = BTreeMap::new();
    for u in &units {
        let order = crate::truth::predict::QUANTITIES
            .iter()
            .position(|q| q.name == u.entry.quantity)
            .unwrap_or(usize::MAX);
        groups
            .entry((
                order,
                u.output,
                u.entry.config.entry.name,
                u.class,
                accepted(u),
            ))
            .or_default()
            .push(u);
    }
    let lines: Vec<Line> = groups
        .into_iter()
        .map(|((_, output, process, class, ok), list)| line(output, process, class, ok, &list))
        .collect();
    let suite = |e: &Entry| {
        format!(
            "{} {}",
            e.config.entry.name,
            e.quantity.split('.').next().unwrap_or("")
        )
    };
    let begun: std::collections::BTreeSet<String> = entries
        .iter()
        .filter(|e| e.answer != Answer::Missing)
        .map(suite)
        .collect();
    let (unanswered, missing): (Vec<&Entry>, Vec<&Entry>) = unanswered
        .into_iter()
        .partition(|e| begun.contains(&suite(e)));
    let mut not_begun = BTreeMap::new();
    missing
        .into_iter()
        .for_each(|e| *not_begun.entry(suite(e)).or_insert(0) += 1);
    let raised: Vec<Raised> = raised
        .into_iter()
        .map(|((quantity, message), entries)| Raised {
            quantity,
            message,
            entries,
        })
        .collect();
    progress(total, total);
    Ok(Report {
        schema: "cld-report/3",
        file,
        implementation: answers.implementation.clone(),
        ok: !lines.is_empty()
            && lines.iter().all(|l| l.accepted)
            && raised.is_empty()
            && unjudged.is_empty(),
        judged,
        accept: accept.to_vec(),
        lines,
        diagnoses,
        unexplained,
        open,
        raised,
        unjudged,
        ignored: answers.ignored.clone(),
        unanswered: unanswered.into_iter().map(|e| e.id.clone()).collect(),
        not_begun,
        t_min: (t_min > 0.0).then_some(t_min),
        not_yet: answers.not_yet.clone(),
    })
}

/// Puts what follows from other outputs under the cause of these, and shows the worst row of each
/// cause. Returns the outputs that have none.
fn causes(
    units: &[Unit<'_>],
    suspects: &[bool],
    diagnoses: &mut Vec<Diagnosis>,
    left: Vec<usize>,
    file: &str,
) -> Vec<(Unexplained, Vec<usize>)> {
    let off: Vec<usize> = (0..units.len()).filter(|u| suspects[*u]).collect();
    let (mut explained, mut vague) = (vec![false; units.len()], vec![false; units.len()]);
    for d in diagnoses.iter() {
        d.units.iter().for_each(|u| {
            if d.is_formula() {
                explained[*u] = true
            } else {
                vague[*u] = true
            }
        });
    }
    let mut links = consequence::links(units, &off, &explained, &vague);
    let cause =
        |u: usize, diagnoses: &[Diagnosis]| diagnoses.iter().position(|d| d.units.contains(&u));
    // what has the cause of its part already needs no other
    let same: Vec<usize> = links
        .keys()
        .copied()
        .filter(|u| {
            cause(*u, diagnoses)
                .is_some_and(|d| Some(d) == cause(consequence::root(&links, *u), diagnoses))
        })
        .collect();
    same.iter().for_each(|u| {
        links.remove(u);
    });
    let roots: BTreeMap<usize, usize> = links
        .keys()
        .map(|u| (*u, consequence::root(&links, *u)))
        .collect();
    for d in diagnoses.iter_mut() {
        if d.units.iter().any(|u| links.contains_key(u)) {
            d.units.retain(|u| !links.contains_key(u));
            d.explains = d.units.len();
            (d.outputs, d.entries) = names(d.units.iter().map(|u| &units[*u]));
        }
    }
    let under = |list: &[usize]| -> Vec<Follows> {
        let mine: Vec<_> = links
            .iter()
            .filter(|(u, _)| list.contains(&roots[u]))
            .map(|(u, link)| (*u, *link))
            .collect();
        consequence::follows(units, &mine)
    };
    for d in diagnoses.iter_mut() {
        d.follows = under(&d.units);
        d.shown = consequence::worst(units, &d.units, file);
    }
    diagnoses.retain(|d| d.explains > 0);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for u in left.into_iter().filter(|u| !links.contains_key(u)) {
        match groups
            .iter_mut()
            .find(|g| units[g[0]].entry.quantity == units[u].entry.quantity)
        {
            Some(g) => g.push(u),
            None => groups.push(vec![u]),
        }
    }
    let group = |list: Vec<usize>| {
        let (outputs, entries) = names(list.iter().map(|u| &units[*u]));
        (
            Unexplained {
                outputs,
                entries,
                follows: under(&list),
                shown: consequence::worst(units, &list, file),
            },
            list,
        )
    };
    groups.into_iter().map(group).collect()
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

fn line(output: &str, process: &str, class: Class, accepted: bool, units: &[&Unit<'_>]) -> Line {
    // the worst value among those that are finite; where there is none, the first
    let finite = |u: &Unit<'_>, i: usize| {
        u.got.data[i].is_finite() || u.cells[i].truth.to_f64().is_infinite()
    };
    let all = || {
        units
            .iter()
            .flat_map(|u| (0..u.units.len()).map(move |i| (*u, i)))
    };
    let larger =
        |a: &(&Unit<'_>, usize), b: &(&Unit<'_>, usize)| a.0.units[a.1].total_cmp(&b.0.units[b.1]);
    let found = all()
        .filter(|(u, i)| finite(u, *i))
        .max_by(larger)
        .or_else(|| all().next());
    let (worst_unit, at) = found.expect("a group has units, and these have values");
    let (cell, got) = (&worst_unit.cells[at], worst_unit.got.data[at]);
    let worst = Worst {
        relative: worst_unit.errors[at],
        units: worst_unit.units[at],
        precision: worst_unit.got.precision.name(),
        entry: worst_unit.entry.id.clone(),
        row: worst_unit.rows[at / worst_unit.columns],
        column: worst_unit.entry.own_column(
            worst_unit.output,
            at % worst_unit.columns,
            worst_unit.columns,
        ),
        t: cell.t.is_finite().then_some(cell.t),
        got,
        truth: cell.truth.to_f64(),
        config: worst_unit.entry.config.describe(),
    };
    Line {
        quantity: worst_unit.entry.quantity.clone(),
        output: worst_unit.entry.own_output(output),
        process: process.to_string(),
        class,
        accepted,
        entries: units.len(),
        values: units.iter().map(|u| u.errors.len()).sum(),
        worst,
        not_finite: all().filter(|(u, i)| !finite(u, *i)).count(),
        not_finite_at: all().find(|(u, i)| !finite(u, *i)).map(|(u, i)| Place {
            entry: u.entry.id.clone(),
            row: u.rows[i / u.columns],
            t: Some(u.cells[i].t).filter(|t| t.is_finite()),
        }),
        trend: trend(worst_unit),
        off_at: off_at(units),
        right_from: right_from(units),
        decades: decades(units),
    }
}

/// The largest error at each time.
fn by_time(u: &Unit<'_>) -> BTreeMap<u64, f64> {
    let mut map = BTreeMap::new();
    for (c, e) in u
        .cells
        .iter()
        .zip(&u.errors)
        .filter(|(c, _)| c.t.is_finite())
    {
        let worst = map.entry(c.t.to_bits()).or_insert(0.0f64); // non-negative floats sort as their bits
        *worst = worst.max(*e);
    }
    map
}

/// Slope of log(error) against log(t) for t <= 1e-3, if the errors are above tolerance there and
/// follow a power law (coefficient of determination above 0.95, or a slope below a tenth: flat).
fn trend(u: &Unit<'_>) -> Option<f64> {
    let tolerance = UNITS * u.got.precision.unit();
    let points: Vec<(f64, f64)> = by_time(u)
        .into_iter()
        .map(|(t, e)| (f64::from_bits(t), e))
        .filter(|(t, e)| *t > 0.0 && *t <= 1e-3 && *e > tolerance && e.is_finite())
        .map(|(t, e)| (t.ln(), e.ln()))
        .collect();
    if points.len() < 4 {
        return None;
    }
    let n = points.len() as f64;
    let (mx, my) = points
        .iter()
        .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in &points {
        xx += (x - mx) * (x - mx);
        xy += (x - mx) * (y - my);
        yy += (y - my) * (y - my);
    }
    let slope = xy / xx;
    (slope.abs() < 0.1 || xy * xy > 0.95 * xx * yy).then_some(slope)
}

/// The largest error in the rule's units by decade of t. An error that is not a number is infinite.
fn decades(units: &[&Unit<'_>]) -> BTreeMap<i32, f64> {
    let mut all = BTreeMap::new();
    for (c, x) in units
        .iter()
        .flat_map(|u| u.cells.iter().zip(&u.units))
        .filter(|(c, _)| c.t.is_finite() && c.t > 0.0)
    {
        let worst = all.entry(c.t.log10().floor() as i32).or_insert(0.0f64);
        *worst = if x.is_nan() {
            f64::INFINITY
        } else {
            worst.max(*x)
        };
    }
    all
}

/// The first time from which on all values of a group are right, where earlier ones are off.
fn right_from(units: &[&Unit<'_>]) -> Option<f64> {
    let all = || {
        units
            .iter()
            .flat_map(|u| u.cells.iter().zip(&u.units))
            .filter(|(c, _)| c.t.is_finite())
    };
    let last = all()
        .filter(|(_, x)| !(**x <= UNITS))
        .map(|(c, _)| c.t)
        .reduce(f64::max)?;
    all()
        .map(|(c, _)| c.t)
        .filter(|t| *t > last)
        .reduce(f64::min)
}

/// At which of a group's times values are off, in words.
fn off_at(units: &[&Unit<'_>]) -> String {
    let mut times: BTreeMap<u64, bool> = BTreeMap::new();
    for u in units {
        for (i, c) in u.cells.iter().enumerate().filter(|(_, c)| c.t.is_finite()) {
            *times.entry(c.t.to_bits()).or_insert(false) |=
                u.class != Class::of(u.got.precision) && !(u.units[i] <= UNITS);
        }
    }
    let list: Vec<(f64, bool)> = times
        .into_iter()
        .map(|(t, off)| (f64::from_bits(t), off))
        .collect();
    let count = list.iter().filter(|(_, off)| *off).count();
    if count == 0 {
        return String::new();
    }
    if count == list.len() {
        return "all t".into();
    }
    let last = list
        .iter()
        .rev()
        .find(|(_, off)| *off)
        .map_or(0.0, |(t, _)| *t);
    let first = list.iter().find(|(_, off)| *off).map_or(0.0, |(t, _)| *t);
    if list.iter().all(|(t, off)| *off == (*t <= last)) {
        return format!("t <= {}", time(last));
    }
    if list.iter().all(|(t, off)| *off == (*t >= first)) {
        return format!("t >= {}", time(first));
    }
    format!("{count} of {} times, t <= {}", list.len(), time(last))
}
