//! Judging answers: every output of every entry against the truth, with a verdict by tolerance class.
//!
//! | class | a value passes if its error is at most | why |
//! |---|---|---|
//! | `f64` | 1e-12 | careful f64 code: an integral of beta up to 700, wrong by some ulp, moves `e^-y` by 1e-13 |
//! | `f32` | 1e-5 | the same in f32: 84 ulp of f32 |
//! | `eps` | 1e-12 from the truth with the *declared* `epsilon_added` on every variance, plus what cancellation in the printed formulas does (64 times 2^-53 of the stationary size) | "as published with eps" |
//! | `off` | - | anything else |
//!
//! The error is relative to the true value, or to an eighth of its largest terms where these cancel: an entry that
//! crosses zero has no relative error worth the name. Below the smallest normal number, errors do not count; where the
//! true value is beyond f64, nothing does.

use super::answers::{Answer, Answers, Entry};
use super::diagnose::{Diagnosis, diagnose};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::files::{Array, Precision};
use crate::truth::predict::{Cell, Model, predict};
use crate::truth::reverse::whole_array;
use serde::Serialize;
use std::collections::BTreeMap;

/// Relative error allowed in f64.
pub const F64_TOLERANCE: f64 = 1e-12;
/// Relative error allowed in f32.
pub const F32_TOLERANCE: f64 = 1e-5;
/// Allowance for cancellation, in units of 2^-53 of the stationary size. The printed formulas sum some ten rounded
/// terms of that size; the worst of the recorded implementations needs 4.
pub const CANCELLATION: f64 = 64.0;

/// How good an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Right in double precision.
    F64,
    /// Right once the declared constant is added to the variances, as published code does.
    Eps,
    /// Right in single precision.
    F32,
    /// None of these.
    Off,
}

impl Class {
    /// As files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Class::F64 => "f64",
            Class::Eps => "eps",
            Class::F32 => "f32",
            Class::Off => "off",
        }
    }
}

/// One output of one entry.
pub(super) struct Unit<'a> {
    pub entry: &'a Entry,
    pub output: &'a str,
    pub got: &'a Array,
    pub cells: Vec<Cell>,
    pub columns: usize,
    pub class: Class,
    /// Errors, one per value.
    pub errors: Vec<f64>,
}

/// Where the largest error is.
#[derive(Clone, Debug, Serialize)]
pub struct Worst {
    /// Relative error; infinite (`null` in JSON) for a value that is not finite.
    pub relative: f64,
    /// The same in units in the last place of the array's type.
    pub ulp: f64,
    /// The entry's id.
    pub entry: String,
    /// Row of the input arrays.
    pub row: usize,
    /// Column of the output.
    pub column: usize,
    /// Time, where the quantity has one.
    pub t: Option<f64>,
    /// The value given.
    pub got: f64,
    /// The value that is right.
    pub truth: f64,
    /// Process, parameters and schedule.
    pub config: String,
}

/// A line of the table: one output of one quantity of one process, for the entries of one verdict.
#[derive(Clone, Debug, Serialize)]
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
    /// The largest error against the truth (without any epsilon).
    pub worst: Worst,
    /// Exponent p of the error's growth `t^p` as t -> 0, from the entry with the largest error; `None` where there is
    /// no trend (errors within the class's tolerance, or no power law).
    pub trend: Option<f64>,
    /// Which times are off.
    pub off_at: String,
}

/// An answer that is an error message.
#[derive(Clone, Debug, Serialize)]
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
    /// True if every answer is within an accepted class and none raised.
    pub ok: bool,
    /// Number of entries judged.
    pub judged: usize,
    /// The classes accepted besides the array's own precision.
    pub accept: Vec<Class>,
    /// The table.
    pub lines: Vec<Line>,
    /// The likely mistakes, the one that explains most first.
    pub diagnoses: Vec<Diagnosis>,
    /// Outputs (`entry output`) that are off and that no known mistake explains.
    pub unexplained: Vec<String>,
    /// Entries whose code raised an error.
    pub raised: Vec<Raised>,
    /// Entries of the vectors without an answer.
    pub unanswered: Vec<String>,
    /// Quantities not yet covered, with the number of entries.
    pub not_yet: BTreeMap<String, usize>,
}

/// The denominator of the relative error.
pub(super) fn size(c: &Cell) -> f64 {
    c.truth.hi.abs().max(c.scale / 8.0)
}

/// Distance of `got` from `truth`, 0 where it is below the smallest normal number of its type, or where the true value
/// is beyond f64 (no answer is right or wrong there).
pub(super) fn distance(got: f64, truth: Dd, precision: Precision) -> f64 {
    if truth.hi.is_infinite() {
        return 0.0;
    }
    if !got.is_finite() {
        return f64::INFINITY;
    }
    let d = (Dd::from(got) - truth).to_f64().abs();
    let smallest = if precision == Precision::F64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
    if d <= smallest { 0.0 } else { d }
}

pub(super) fn tolerance(p: Precision) -> f64 {
    if p == Precision::F64 { F64_TOLERANCE } else { F32_TOLERANCE }
}

fn ulp(x: f64, p: Precision) -> f64 {
    match p {
        Precision::F64 => (x.abs().next_up() - x.abs()).max(f64::MIN_POSITIVE),
        _ => f64::from(((x.abs() as f32).next_up() - x.abs() as f32).max(f32::MIN_POSITIVE)),
    }
}

fn relative(d: f64, size: f64) -> f64 {
    if d == 0.0 { 0.0 } else { d / size }
}

/// The same inputs for some of the rows only.
pub(super) fn some_rows(e: &Entry, rows: &[usize]) -> BTreeMap<String, Array> {
    let pick = |name: &str, a: &Array| {
        if whole_array(name) {
            return a.clone();
        }
        if let [draws, n, width] = a.shape[..] {
            // the noise of a run: one slice per draw, rows inside
            let at = |d: usize, r: usize| a.data[(d * n + r) * width..][..width].iter().copied();
            let data = (0..draws).flat_map(|d| rows.iter().flat_map(move |r| at(d, *r))).collect();
            return Array { shape: vec![draws, rows.len(), width], data, precision: a.precision };
        }
        let width = a.data.len() / a.shape[0];
        let mut shape = a.shape.clone();
        shape[0] = rows.len();
        Array {
            shape,
            data: rows.iter().flat_map(|r| a.data[r * width..(r + 1) * width].iter().copied()).collect(),
            precision: a.precision,
        }
    };
    e.inputs.iter().map(|(k, a)| (k.clone(), pick(k, a))).collect()
}

/// Adds to an error the entry in which it occurred.
fn within(e: &Entry, file: &str) -> impl Fn(Error) -> Error {
    let (file, place) = (file.to_string(), format!("entry {}", e.id));
    move |error| Error::Format { file: file.clone(), place: place.clone(), problem: error.to_string() }
}

/// A single number in place of an array of one row.
fn as_rows(e: &Entry) -> Entry {
    let mut e = e.clone();
    e.inputs.values_mut().filter(|a| a.shape.is_empty()).for_each(|a| a.shape = vec![1]);
    e
}

/// Judges `answers`. Classes in `accept` pass besides the precision that each array is stored in.
///
/// `progress` is called with (done, total).
///
/// # Errors
/// Inputs or outputs of the wrong shape, inputs that are not finite, times outside `[0, 1]`, unknown outputs.
/// Outputs that are not finite are answers, and get the verdict `off`.
pub fn judge(answers: &Answers, accept: &[Class], progress: &mut dyn FnMut(usize, usize)) -> Result<Report> {
    let file = answers.file.display().to_string();
    let entries: Vec<Entry> = answers.entries.iter().map(as_rows).collect();
    let total = entries.len();
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut units = Vec::new();
    let (mut raised, mut unanswered) = (BTreeMap::<(String, String), Vec<String>>::new(), Vec::new());
    let mut judged = 0;
    for (i, e) in entries.iter().enumerate() {
        progress(i, total);
        let outputs = match &e.answer {
            Answer::Given(outputs) => outputs,
            Answer::Raised(words) => {
                raised.entry((e.quantity.clone(), words.clone())).or_default().push(e.id.clone());
                continue;
            }
            Answer::Missing => {
                unanswered.push(e.id.clone());
                continue;
            }
        };
        judged += 1;
        let inputs = e.inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
        for epsilon in if e.config.epsilon_added > 0.0 { vec![0.0, e.config.epsilon_added] } else { vec![0.0] } {
            let key = format!("{} {epsilon}", e.config.to_answers());
            if let std::collections::btree_map::Entry::Vacant(place) = models.entry(key) {
                let mut model = Model::new(&e.config).map_err(within(e, &file))?;
                model.reading.epsilon = epsilon;
                place.insert(model);
            }
        }
        for (name, got) in outputs {
            let model = &models[&format!("{} 0", e.config.to_answers())];
            let (cells, columns) = predict(&e.quantity, model, &inputs, name).map_err(within(e, &file))?;
            let n = cells.len() / columns;
            let fits = got.data.len() == cells.len() && (got.shape.first() == Some(&n) || n == 1);
            if !fits {
                let wanted = if columns == 1 { format!("({n},)") } else { format!("({n}, {columns})") };
                return Err(within(e, &file)(Error::shape(format!("outputs.{name}"), &got.shape, wanted)));
            }
            let errors: Vec<f64> =
                cells.iter().zip(&got.data).map(|(c, g)| relative(distance(*g, c.truth, got.precision), size(c))).collect();
            let worst = errors.iter().copied().fold(0.0, f64::max);
            let mut class = if worst <= F64_TOLERANCE { Class::F64 } else { Class::Off };
            if class == Class::Off && e.config.epsilon_added > 0.0 {
                let model = &models[&format!("{} {}", e.config.to_answers(), e.config.epsilon_added)];
                let (with, _) = predict(&e.quantity, model, &inputs, name).map_err(within(e, &file))?;
                let fits = |(c, g): (&Cell, &f64)| {
                    distance(*g, c.truth, got.precision) <= tolerance(got.precision) * size(c) + CANCELLATION * c.cancellation
                };
                // an output that the constant does not reach is not excused by it
                let reaches = cells.iter().zip(&with).any(|(a, b)| (a.truth - b.truth).to_f64().abs() > F64_TOLERANCE * size(a));
                if reaches && with.iter().zip(&got.data).all(fits) {
                    class = Class::Eps;
                }
            }
            if class == Class::Off && worst <= F32_TOLERANCE {
                class = Class::F32;
            }
            units.push(Unit { entry: e, output: name, got, cells, columns, class, errors });
        }
    }
    let accepted = |u: &Unit<'_>| match u.class {
        Class::F64 => true,
        Class::F32 => u.got.precision != Precision::F64 || accept.contains(&Class::F32),
        Class::Eps => accept.contains(&Class::Eps),
        Class::Off => false,
    };
    // Within an array's own precision there is nothing to explain, even where it is accepted for another reason.
    let natural = |u: &Unit<'_>| u.class == Class::F64 || (u.class == Class::F32 && u.got.precision != Precision::F64);
    let suspects: Vec<bool> = units.iter().map(|u| !natural(u)).collect();
    let (diagnoses, unexplained) = diagnose(&units, &suspects, &mut |done, all| progress(total * done / all.max(1), total));
    let mut groups: BTreeMap<(usize, &str, &str, Class, bool), Vec<&Unit<'_>>> = BTreeMap::new();
    for u in &units {
        let order = crate::truth::predict::QUANTITIES.iter().position(|q| q.name == u.entry.quantity).unwrap_or(usize::MAX);
        groups.entry((order, u.output, u.entry.config.entry.name, u.class, accepted(u))).or_default().push(u);
    }
    let lines: Vec<Line> =
        groups.into_iter().map(|((_, output, process, class, ok), list)| line(output, process, class, ok, &list)).collect();
    let raised: Vec<Raised> = raised.into_iter().map(|((quantity, message), entries)| Raised { quantity, message, entries }).collect();
    progress(total, total);
    Ok(Report {
        schema: "cld-report/1",
        file,
        implementation: answers.implementation.clone(),
        ok: lines.iter().all(|l| l.accepted) && raised.is_empty(),
        judged,
        accept: accept.to_vec(),
        lines,
        diagnoses,
        unexplained,
        raised,
        unanswered,
        not_yet: answers.not_yet.clone(),
    })
}

fn line(output: &str, process: &str, class: Class, accepted: bool, units: &[&Unit<'_>]) -> Line {
    let worst_of = |u: &Unit<'_>| u.errors.iter().copied().fold(0.0, f64::max);
    let worst_unit = units.iter().copied().max_by(|a, b| worst_of(a).total_cmp(&worst_of(b))).expect("a group has units");
    let at = (0..worst_unit.errors.len()).max_by(|a, b| worst_unit.errors[*a].total_cmp(&worst_unit.errors[*b])).unwrap_or(0);
    let (cell, got) = (&worst_unit.cells[at], worst_unit.got.data[at]);
    let p = worst_unit.got.precision;
    let worst = Worst {
        relative: worst_unit.errors[at],
        ulp: relative(distance(got, cell.truth, p), ulp(size(cell), p)),
        entry: worst_unit.entry.id.clone(),
        row: at / worst_unit.columns,
        column: at % worst_unit.columns,
        t: cell.t.is_finite().then_some(cell.t),
        got,
        truth: cell.truth.to_f64(),
        config: worst_unit.entry.config.describe(),
    };
    Line {
        quantity: worst_unit.entry.quantity.clone(),
        output: output.to_string(),
        process: process.to_string(),
        class,
        accepted,
        entries: units.len(),
        values: units.iter().map(|u| u.errors.len()).sum(),
        worst,
        trend: trend(worst_unit),
        off_at: off_at(units),
    }
}

/// The largest error at each time.
fn by_time(u: &Unit<'_>) -> BTreeMap<u64, f64> {
    let mut map = BTreeMap::new();
    for (c, e) in u.cells.iter().zip(&u.errors).filter(|(c, _)| c.t.is_finite()) {
        let worst = map.entry(c.t.to_bits()).or_insert(0.0f64); // non-negative floats sort as their bits
        *worst = worst.max(*e);
    }
    map
}

/// Slope of log(error) against log(t) for t <= 1e-3, if the errors are above tolerance there and follow a power law
/// (coefficient of determination above 0.95, or a slope below a tenth: flat).
fn trend(u: &Unit<'_>) -> Option<f64> {
    let tolerance = tolerance(u.got.precision);
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
    let (mx, my) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in &points {
        xx += (x - mx) * (x - mx);
        xy += (x - mx) * (y - my);
        yy += (y - my) * (y - my);
    }
    let slope = xy / xx;
    (slope.abs() < 0.1 || xy * xy > 0.95 * xx * yy).then_some(slope)
}

/// At which of a group's times values are off, in words.
fn off_at(units: &[&Unit<'_>]) -> String {
    let mut times: BTreeMap<u64, bool> = BTreeMap::new();
    for u in units {
        let tolerance = tolerance(u.got.precision);
        for (t, e) in by_time(u) {
            *times.entry(t).or_insert(false) |= e > tolerance;
        }
    }
    let list: Vec<(f64, bool)> = times.into_iter().map(|(t, off)| (f64::from_bits(t), off)).collect();
    let count = list.iter().filter(|(_, off)| *off).count();
    if count == 0 {
        return String::new();
    }
    if count == list.len() {
        return "all t".into();
    }
    let last = list.iter().rev().find(|(_, off)| *off).map_or(0.0, |(t, _)| *t);
    let first = list.iter().find(|(_, off)| *off).map_or(0.0, |(t, _)| *t);
    if list.iter().all(|(t, off)| *off == (*t <= last)) {
        return format!("t <= {}", time(last));
    }
    if list.iter().all(|(t, off)| *off == (*t >= first)) {
        return format!("t >= {}", time(first));
    }
    format!("{count} of {} times, t <= {}", list.len(), time(last))
}

/// A time in few characters: as it is if that is short, else with four digits.
pub fn time(t: f64) -> String {
    let (plain, exponent) = (format!("{t}"), format!("{t:e}"));
    let shorter = if plain.len() <= exponent.len() { plain } else { exponent };
    if shorter.len() <= 7 { shorter } else { format!("{t:.3e}") }
}
