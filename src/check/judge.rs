//! The verdict on a file of answers: every output's, and the causes of those that are off.

use super::answers::{Answer, Answers, Entry};
use super::compare::{
    Bench, Class, Judged, Place, UNITS, Unit, Unjudged, Worst, as_rows, by_config, judge_output,
    names, not_empty, number_or_word, same_rows, within,
};
use super::consequence::{self, Follows, Shown};
use super::diagnose::{Diagnosis, diagnose};
use super::numbers::time;
use crate::error::{Error, Result};
use crate::truth::predict::{Inputs, rows};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// What is not judged of an entry, or of one of its outputs, all rows being the same.
fn as_a_whole(entry: &str, output: &str, why: String) -> Unjudged {
    Unjudged {
        entry: entry.into(),
        output: output.into(),
        rows: vec![],
        t: None,
        why,
    }
}

/// Every entry's judged outputs, and what of it cannot be judged: configurations side by side, as
/// what is computed for one is of use to no other.
fn judged_entries<'a>(
    entries: &'a [Entry],
    t_min: f64,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Vec<Judged<'a>> {
    let (done, shown) = (AtomicUsize::new(0), Mutex::new(progress));
    let one = |i: usize, bench: &Bench| -> Judged<'a> {
        if let Ok(mut show) = shown.try_lock() {
            show(done.load(Ordering::Relaxed), entries.len());
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
                let output = judge_output(e, (bench, t_min), (name, got), n, &mut refused)?;
                units.extend(output);
            }
            Ok(())
        });
        if let Err(error) = judged {
            refused.push(as_a_whole(&e.id, &e.quantity, error.to_string()));
        }
        (units, refused)
    };
    let groups = by_config(entries.iter().map(|e| &e.config));
    let of_group = |group: &Vec<usize>| {
        let bench = Bench::new(&entries[group[0]].config);
        let each = group.iter().map(|i| (*i, one(*i, &bench)));
        each.collect::<Vec<_>>()
    };
    let mut found: Vec<(usize, Judged<'_>)> = groups.par_iter().flat_map_iter(of_group).collect();
    found.sort_by_key(|(i, _)| *i);
    found.into_iter().map(|(_, judged)| judged).collect()
}

/// The report's lines: outputs of one quantity, process and verdict together, in the order of the
/// quantities.
fn lines_of(units: &[Unit<'_>], accept: &[Class]) -> Vec<Line> {
    let accepted = |u: &Unit<'_>| {
        u.class == Class::of(u.got.precision)
            || (u.class != Class::Off && accept.contains(&u.class))
    };
    let mut groups: BTreeMap<(usize, &str, &str, Class, bool), Vec<&Unit<'_>>> = BTreeMap::new();
    for u in units {
        let order = crate::truth::predict::QUANTITIES
            .iter()
            .position(|q| q.name == u.entry.quantity)
            .unwrap_or(usize::MAX);
        let process = u.entry.config.entry.name;
        let group = (order, u.output, process, u.class, accepted(u));
        groups.entry(group).or_default().push(u);
    }
    groups
        .into_iter()
        .map(|((_, output, process, class, ok), list)| line(output, process, class, ok, &list))
        .collect()
}

/// The ids of the unanswered entries of suites that are begun, and how many there are of each suite
/// that is not.
fn by_suite(entries: &[Entry]) -> (Vec<String>, BTreeMap<String, usize>) {
    let suite = |e: &Entry| {
        let family = e.quantity.split('.').next().unwrap_or("");
        format!("{} {family}", e.config.entry.name)
    };
    let (unanswered, answered): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|e| e.answer == Answer::Missing);
    let begun: BTreeSet<String> = answered.into_iter().map(suite).collect();
    let (open, missing): (Vec<&Entry>, Vec<&Entry>) = unanswered
        .into_iter()
        .partition(|e| begun.contains(&suite(e)));
    let mut not_begun = BTreeMap::new();
    for e in missing {
        *not_begun.entry(suite(e)).or_insert(0) += 1;
    }
    (open.into_iter().map(|e| e.id.clone()).collect(), not_begun)
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
    let raised = raised_of(&entries);
    let mut unjudged: Vec<Unjudged> = answers
        .unusable
        .iter()
        .map(|u| as_a_whole(&u.entry, &u.quantity, u.why.clone()))
        .collect();
    let (mut units, mut judged) = (Vec::new(), 0);
    for (of_one, refused) in judged_entries(&entries, t_min, progress) {
        judged += usize::from(!of_one.is_empty());
        units.extend(of_one);
        unjudged.extend(refused);
    }
    if judged == 0 && raised.is_empty() {
        not_all_unjudged(&unjudged, &file)?;
    }
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
    let lines = lines_of(&units, accept);
    let (unanswered, not_begun) = by_suite(&entries);
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
        unanswered,
        not_begun,
        t_min: (t_min > 0.0).then_some(t_min),
        not_yet: answers.not_yet.clone(),
    })
}

/// Entries that raised an error, together where quantity and message are the same.
fn raised_of(entries: &[Entry]) -> Vec<Raised> {
    let mut all = BTreeMap::<(&str, &str), Vec<String>>::new();
    for e in entries {
        if let Answer::Raised(words) = &e.answer {
            let group = all.entry((&e.quantity, words)).or_default();
            group.push(e.id.clone());
        }
    }
    all.into_iter()
        .map(|((quantity, message), entries)| Raised {
            quantity: quantity.into(),
            message: message.into(),
            entries,
        })
        .collect()
}

/// # Errors
/// Something that cannot be judged: the first of it.
fn not_all_unjudged(unjudged: &[Unjudged], file: &str) -> Result<()> {
    let Some(first) = unjudged.first() else {
        return Ok(());
    };
    let more = if unjudged.len() > 1 {
        format!(" (and {} more)", unjudged.len() - 1)
    } else {
        String::new()
    };
    Err(Error::Format {
        file: file.into(),
        place: format!("entry {}", first.entry),
        problem: format!("cannot be judged: {}{more}", first.why),
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
    let left = left.into_iter().filter(|u| !links.contains_key(u));
    by_quantity(units, left).into_iter().map(group).collect()
}

/// Outputs of one quantity together, in the order of their first.
fn by_quantity(units: &[Unit<'_>], list: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for u in list {
        match groups
            .iter_mut()
            .find(|g| units[g[0]].entry.quantity == units[u].entry.quantity)
        {
            Some(g) => g.push(u),
            None => groups.push(vec![u]),
        }
    }
    groups
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dd::Dd;
    use crate::files::{Array, Precision};
    use crate::truth::config::Config;
    use crate::truth::predict::{Cell, QUANTITIES};
    use std::borrow::Cow;

    /// Answers at times t with errors, relative and in units.
    fn unit(class: Class, rows: &[(f64, f64, f64)]) -> Unit<'static> {
        let config = Config::from_answers(&serde_json::json!({
            "kind": "vp", "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}
        }))
        .unwrap();
        let n = rows.len();
        let got = Array {
            shape: vec![n],
            data: vec![1.0; n],
            precision: Precision::F64,
        };
        Unit {
            entry: Cow::Owned(Entry {
                id: "0".into(),
                quantity: QUANTITIES[0].name.into(),
                config,
                inputs: BTreeMap::new(),
                answer: Answer::Missing,
            }),
            output: "xx",
            got: Cow::Owned(got),
            rows: (0..n).collect(),
            cells: rows
                .iter()
                .map(|(t, _, _)| Cell {
                    truth: Dd::from(1.0),
                    scale: 1.0,
                    cancellation: 0.0,
                    t: *t,
                })
                .collect(),
            columns: 1,
            class,
            errors: rows.iter().map(|r| r.1).collect(),
            units: rows.iter().map(|r| r.2).collect(),
            condition: vec![0.0; n],
        }
    }

    /// Catches a verdict that is accepted though nobody accepts it: an output in another precision
    /// than its own array's is accepted by name alone, and one that is off never.
    #[test]
    fn what_is_off_is_never_accepted() {
        let rows = [(0.1, 0.0, 0.0)];
        let classes = [
            Class::F64,
            Class::Eps,
            Class::F32,
            Class::F16,
            Class::BF16,
            Class::Off,
        ];
        for accept in [
            vec![],
            vec![Class::Eps],
            vec![Class::F32, Class::Off],
            classes.to_vec(),
        ] {
            let units: Vec<Unit<'_>> = classes.iter().map(|c| unit(*c, &rows)).collect();
            let lines = lines_of(&units, &accept);
            assert_eq!(lines.len(), classes.len());
            for line in lines {
                let wanted = match line.class {
                    Class::F64 => true,
                    Class::Off => false,
                    other => accept.contains(&other),
                };
                assert_eq!(line.accepted, wanted, "{:?} {accept:?}", line.class);
                assert_eq!((line.entries, line.values), (1, 1));
            }
        }
    }

    /// Catches a row that is off because another is, or is right though one of its columns is not:
    /// two columns, 16 units.
    #[test]
    fn a_row_is_off_by_any_of_its_columns() {
        let all = [0.0, 16.0, 17.0, 0.0, 0.0, f64::NAN, 1.0, 2.0];
        let rows: Vec<_> = all.iter().map(|u| (0.1, 0.0, *u)).collect();
        let mut two = unit(Class::Off, &rows);
        two.columns = 2;
        let found: Vec<bool> = (0..4).map(|row| two.is_off(row)).collect();
        assert_eq!(found, [false, true, true, false]);
    }

    /// Catches a growth of errors that is not there or of the wrong power: what is fitted are the
    /// times up to 1e-3 whose errors are above 16 units, four at least, and a power law.
    #[test]
    fn trends_are_powers_of_time() {
        let of = |f: &dyn Fn(f64) -> f64, from: i32, to: i32| {
            let rows: Vec<_> = (from..=to)
                .map(|k| 10f64.powf(f64::from(k) / 2.0))
                .map(|t| (t, f(t), f(t) / 2f64.powi(-53)))
                .collect();
            trend(&unit(Class::Off, &rows))
        };
        let near = |found: Option<f64>, want: f64| {
            assert!((found.unwrap() - want).abs() < 1e-9, "{found:?} {want}");
        };
        near(of(&|t| 1e-13 / t, -12, -6), -1.0);
        near(of(&|t| 1e-13 * t.powf(-2.5), -12, 0), -2.5); // later times play no part
        near(of(&|_| 1e-3, -12, -6), 0.0);
        near(
            of(&|t| if t > 2e-3 { 1.0 } else { 1e-13 / t }, -12, 0),
            -1.0,
        );
        assert_eq!(of(&|t| 1e-13 / t, -8, -6), None); // three times
        near(of(&|t| 1e-13 / t, -9, -6), -1.0); // four
        assert_eq!(of(&|_| 1e-15, -12, -6), None); // below 16 units
        let wild = |t: f64| {
            if (2.0 * t.log10()).round() as i32 % 2 == 0 {
                1e-2
            } else {
                1e-6 * t
            }
        };
        assert_eq!(of(&wild, -12, -6), None);
    }

    /// Catches the worst of a decade that is another's, a time from which on all is right that is
    /// not, and times that are said to be off and are not: 16 units are right.
    #[test]
    fn times_and_decades_of_errors() {
        let off = |rows: &[(f64, f64)]| {
            let rows: Vec<_> = rows.iter().map(|(t, u)| (*t, 0.0, *u)).collect();
            unit(Class::Off, &rows)
        };
        let early = off(&[(0.002, 400.0), (0.003, 17.0), (0.05, 16.0), (0.2, 1.0)]);
        assert_eq!(
            decades(&[&early]),
            BTreeMap::from([(-3, 400.0), (-2, 16.0), (-1, 1.0)])
        );
        assert_eq!(
            (right_from(&[&early]), off_at(&[&early])),
            (Some(0.05), "t <= 3e-3".into())
        );
        let late = off(&[(0.002, 16.0), (0.05, 3.0), (0.2, f64::NAN)]);
        assert_eq!(decades(&[&late])[&-1], f64::INFINITY);
        assert_eq!(
            (right_from(&[&late]), off_at(&[&late])),
            (None, "t >= 0.2".into())
        );
        let both = off_at(&[&off(&[(0.1, 17.0), (0.2, 0.0), (0.3, 17.0), (0.4, 0.0)])]);
        assert_eq!(both, "2 of 4 times, t <= 0.3");
        assert_eq!(off_at(&[&off(&[(0.1, 17.0), (0.2, 17.0)])]), "all t");
        assert_eq!(off_at(&[&off(&[(0.1, 16.0), (0.2, 0.0)])]), "");
        assert_eq!(right_from(&[&off(&[(0.1, 16.0), (0.2, 0.0)])]), None);
        // what is right in its own type is off nowhere
        let right = unit(Class::F64, &[(0.1, 0.0, 17.0)]);
        assert_eq!(off_at(&[&right]), "");
        // the largest error of a time counts
        let twice = unit(
            Class::Off,
            &[(0.1, 2.0, 0.0), (0.1, 3.0, 0.0), (0.2, 1.0, 0.0)],
        );
        let found: Vec<f64> = by_time(&twice).into_values().collect();
        assert_eq!(found, [3.0, 1.0]);
    }

    /// Catches an array of another shape that is judged: too short, too long, or transposed.
    #[test]
    fn arrays_of_another_shape_are_refused() {
        let times = [0.25, 0.5, 0.75];
        let array = |shape: &[usize]| Array {
            shape: shape.to_vec(),
            data: vec![0.5; shape.iter().product()],
            precision: Precision::F64,
        };
        let refused = |shape: &[usize]| {
            let mut entry = unit(Class::Off, &[]).entry.into_owned();
            entry.quantity = "kernel.cov".into();
            let t = Array {
                shape: vec![3],
                data: times.to_vec(),
                precision: Precision::F64,
            };
            entry.inputs = BTreeMap::from([("t".to_string(), t)]);
            entry.answer = Answer::Given(BTreeMap::from([("xx".to_string(), array(shape))]));
            let answers = Answers {
                file: "file".into(),
                implementation: String::new(),
                entries: vec![entry],
                unusable: vec![],
                ignored: vec![],
                not_yet: BTreeMap::new(),
            };
            let r = judge(&answers, &[], &mut |_, _| ()).unwrap();
            assert!(!r.ok, "{shape:?}");
            format!("{:?}", r.unjudged)
        };
        for shape in [&[2][..], &[4], &[3, 2], &[1, 3]] {
            let why = refused(shape);
            assert!(
                why.contains("outputs.xx") && why.contains("(3,)"),
                "{shape:?}: {why}"
            );
        }
        assert_eq!(refused(&[3]), "[]");
    }
}
