//! Which mistake explains the answers: each row of [`super::mistakes`] is computed from the truth
//! side and held against them.
//!
//! An output is *explained* by a hypothesis if every value agrees with what that mistake would
//! give: tightly (to the tolerance of the array's type), or with the declared `epsilon_added` and
//! the cancellation of the printed formulas on top.
//! - A value that is found (the constant added, the factor of beta, the friction) is fitted to one
//!   number and must then reproduce at least eight others that tell it from the truth; one that
//!   explains a single output must be a round number, too.
//! - A hypothesis that explains one entry of a matrix and contradicts its neighbour in the same
//!   entry explains neither.
//! - The answer is a short list: the hypothesis that explains most outputs first, then the one that
//!   explains most of the rest; between equals the one that contradicts fewer right outputs. Tight
//!   explanations come before loose ones.
//! - What nothing explains is listed as such.

use super::compare::{
    CANCELLATION, Class, UNITS, Unit, by_config, distance, names, size, some_rows, tolerance,
};
use super::consequence::{Follows, Shown};
use super::mistakes::{Arithmetic, Arrangement, EPSILON, Kind, MISTAKES, Mistake, Pattern, fill};
use crate::dd::Dd;
use crate::files::Precision;
use crate::truth::config::Config;
use crate::truth::predict::{Cell, Inputs, Laws, Model, predict};
use crate::truth::reverse::covers;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A likely mistake, and what it explains.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Short name, stable across versions; `cld check --list-mistakes` lists them.
    pub id: &'static str,
    /// In words.
    pub text: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The fitted or declared value, where the mistake has one.
    pub value: Option<f64>,
    /// Number of outputs explained.
    pub explains: usize,
    /// Outputs explained, by `quantity.output`, with their number.
    pub outputs: BTreeMap<String, usize>,
    /// The entries.
    pub entries: Vec<String>,
    /// Whether some of them agree only after allowing for cancellation.
    pub cancellation: bool,
    /// What is off because it is made from these outputs.
    pub follows: Vec<Follows>,
    /// The worst row among them.
    pub shown: Option<Shown>,
    /// Their places among the judged outputs.
    #[serde(skip)]
    pub(super) units: Vec<usize>,
}

impl Diagnosis {
    /// Whether it is a mistake in the formulas or in the arrangement, and not in the arithmetic,
    /// nor a mere pattern of errors.
    pub(super) fn is_formula(&self) -> bool {
        MISTAKES
            .iter()
            .any(|m| m.id == self.id && !matches!(m.kind, Kind::Arithmetic(_) | Kind::Pattern(_)))
    }
}

/// A row of the table, one of its variants, and the value that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hypothesis {
    row: usize,
    variant: usize,
    value: Option<f64>,
}

impl Hypothesis {
    fn mistake(self) -> &'static Mistake {
        &MISTAKES[self.row]
    }

    fn is(self, id: &str) -> bool {
        self.mistake().id == id
    }

    fn arithmetic(self) -> Option<Arithmetic> {
        if let Kind::Arithmetic(a) = &self.mistake().kind {
            Some(*a)
        } else {
            None
        }
    }

    fn arrangement(self) -> Option<Arrangement> {
        if let Kind::Arranged(list) = &self.mistake().kind {
            Some(list[self.variant].0)
        } else {
            None
        }
    }

    /// Whether it is about the formulas, not about arithmetic or arrangement.
    fn changes_the_model(self) -> bool {
        matches!(self.mistake().kind, Kind::Reading(_) | Kind::Fitted { .. })
    }

    fn value(self) -> Option<f64> {
        match &self.mistake().kind {
            Kind::Reading(list) => list[self.variant].value,
            _ => self.value,
        }
    }

    fn text(self, c: &Config) -> String {
        let words = match &self.mistake().kind {
            Kind::Reading(list) => list[self.variant].words,
            Kind::Fitted { words, .. } => words,
            Kind::Arranged(list) => list[self.variant].1,
            _ => "",
        };
        fill(
            if words.is_empty() {
                self.mistake().sentence
            } else {
                words
            },
            c,
            self.value(),
        )
    }

    /// The model with this mistake; `None` where it cannot be made.
    fn model(self, c: &Config, epsilon: f64, laws: &Arc<Laws>) -> Option<Model> {
        let mut m = Model::new(c).ok()?.sharing(laws);
        m.reading.epsilon = epsilon;
        match &self.mistake().kind {
            Kind::Reading(list) => (list[self.variant].change)(&mut m, c)?,
            Kind::Fitted { change, .. } => change(&mut m, c, self.value?)?,
            _ => {}
        }
        Some(m)
    }
}

/// Every hypothesis without a value to be found, in the order of the table; patterns come later.
fn fixed() -> Vec<Hypothesis> {
    let variants = |m: &Mistake| match &m.kind {
        Kind::Reading(list) => list.len(),
        Kind::Arranged(list) => list.len(),
        Kind::Arithmetic(_) => 1,
        Kind::Fitted { .. } | Kind::Pattern(_) => 0,
    };
    let of = |(row, m)| {
        (0..variants(m)).map(move |variant| Hypothesis {
            row,
            variant,
            value: None,
        })
    };
    MISTAKES.iter().enumerate().flat_map(of).collect()
}

/// An added constant, as a hypothesis.
fn epsilon(value: f64) -> Hypothesis {
    let row = MISTAKES.iter().position(|m| m.id == EPSILON).unwrap_or(0);
    Hypothesis {
        row,
        variant: 0,
        value: Some(value),
    }
}

/// How well a hypothesis explains an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    Loose,
    Tight,
}

/// What the hypotheses of the pool make of one output, and the row that says so.
type Row = Vec<(Match, usize)>;

/// Row and variant of a hypothesis, its value's bits, and the constant's bits.
type Key = (usize, usize, u64, u64);

/// The models of one configuration, shared between its outputs: their rows are computed once.
#[derive(Default)]
struct Models {
    models: HashMap<Key, Option<Arc<Model>>>,
    laws: Arc<Laws>,
}

impl Models {
    fn get(&mut self, h: Hypothesis, c: &Config, epsilon: f64) -> Option<Arc<Model>> {
        // what does not change the model shares the right one
        let (row, variant) = if h.changes_the_model() {
            (h.row, h.variant)
        } else {
            (usize::MAX, 0)
        };
        let key = (
            row,
            variant,
            h.value.map_or(0, f64::to_bits),
            epsilon.to_bits(),
        );
        let laws = &self.laws;
        self.models
            .entry(key)
            .or_insert_with(|| h.model(c, epsilon, laws).map(Arc::new))
            .clone()
    }

    fn right(&mut self, c: &Config, e: f64) -> Option<Arc<Model>> {
        self.get(epsilon(e), c, e)
    }
}

fn row_count(u: &Unit<'_>) -> usize {
    u.cells.len() / u.columns
}

/// The rows at which a hypothesis can be tested: all, or all with a positive time for `1 - t`. A
/// mistake in the formulas may stand beside digits that are lost, which end in no number at all:
/// where at least half of the rows are numbers, these tell.
fn usable(u: &Unit<'_>, h: Hypothesis) -> Vec<usize> {
    let all: Vec<usize> = (0..row_count(u))
        .filter(|r| !h.is("one-minus-t") || u.cells[r * u.columns].t < 1.0)
        .collect();
    let finite = |r: &usize| {
        u.got.data[r * u.columns..(r + 1) * u.columns]
            .iter()
            .all(|x| x.is_finite())
    };
    let numbers: Vec<usize> = all.iter().copied().filter(finite).collect();
    if h.changes_the_model() && 2 * numbers.len() >= all.len() && numbers.len() >= 4 {
        numbers
    } else {
        all
    }
}

/// At most `most` of `rows`, spread evenly, the last one among them.
fn spread(rows: &[usize], most: usize) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    (0..most)
        .map(|i| rows[i * (rows.len() - 1) / (most - 1)])
        .collect()
}

/// What a hypothesis gives for some rows of an output, and what was answered.
fn values(u: &Unit<'_>, model: &Model, rows: &[usize]) -> Option<(Vec<Cell>, Vec<f64>)> {
    let subset = if rows.len() == row_count(u) {
        None
    } else {
        Some(some_rows(&u.entry, rows))
    };
    let inputs: Inputs<'_> = subset
        .as_ref()
        .unwrap_or(&u.entry.inputs)
        .iter()
        .map(|(k, v)| (k.clone(), v))
        .collect();
    let (cells, _) = predict(&u.entry.quantity, model, &inputs, u.output).ok()?;
    let got: Vec<f64> = rows
        .iter()
        .flat_map(|r| {
            u.got.data[r * u.columns..(r + 1) * u.columns]
                .iter()
                .copied()
        })
        .collect();
    (cells.len() == got.len()).then_some((cells, got))
}

/// The precision to which an output's causes are held: what is computed from arrays in f32 is held
/// to f32 here. The verdict is about the numbers, this about their cause.
fn precision(u: &Unit<'_>) -> Precision {
    let single = u
        .entry
        .inputs
        .values()
        .any(|a| a.precision != Precision::F64);
    if single && u.got.precision == Precision::F64 {
        Precision::F32
    } else {
        u.got.precision
    }
}

/// What is allowed where a value was fitted: the fit's own rounding comes on top of the answers'.
const FIT: f64 = 4e-12;

/// By how much a value may differ from a hypothesis's: `condition` is that of the right value.
fn allowed(c: &Cell, p: Precision, condition: f64) -> f64 {
    (tolerance(p).max(FIT) * size(c)).max(UNITS * p.unit() * (c.truth.hi.abs() + condition))
}

/// The conditions of some rows' values.
fn conditions(u: &Unit<'_>, rows: &[usize]) -> Vec<f64> {
    rows.iter()
        .flat_map(|r| {
            u.condition[r * u.columns..(r + 1) * u.columns]
                .iter()
                .copied()
        })
        .collect()
}

/// f64 rounding, in units of which f32's is this large.
const SINGLE: f64 = 536_870_912.0; // 2^29

/// What values of some rows are held to.
struct Allowance<'a> {
    /// The rows' conditions.
    conditions: &'a [f64],
    p: Precision,
    /// So many times what cancellation does, on top.
    cancellation: f64,
}

impl Allowance<'_> {
    /// Whether all values agree.
    fn agree(&self, cells: &[Cell], got: &[f64]) -> bool {
        let fits = |((c, g), s): ((&Cell, &f64), &f64)| {
            distance(*g, c.truth, self.p)
                <= allowed(c, self.p, *s) + self.cancellation * c.cancellation
        };
        cells.iter().zip(got).zip(self.conditions).all(fits)
    }

    /// How many numbers of a hypothesis tell it from the truth.
    fn telling(&self, cells: &[Cell], right: &[Cell]) -> usize {
        let differs = |((a, b), s): &((&Cell, &Cell), &f64)| {
            let d = (a.truth - b.truth).to_f64().abs();
            let most = 4.0 * allowed(b, self.p, **s).max(allowed(a, self.p, **s));
            d.is_nan() && a.truth.hi != b.truth.hi || d > most + self.cancellation * b.cancellation
        };
        let pairs = cells.iter().zip(right).zip(self.conditions);
        pairs.filter(differs).count()
    }
}

/// How a model's values agree with an output's rows, and these values: with the worst row first,
/// which most hypotheses fail at. Loosely with so many allowances for cancellation, or where a
/// constant was added (not `exact`).
fn agreement(
    u: &Unit<'_>,
    model: &Model,
    all: &[usize],
    exact: bool,
    loose: f64,
) -> Option<(Match, Vec<Cell>)> {
    let errors = row_errors(u);
    let first = all
        .iter()
        .copied()
        .max_by(|a, b| errors[*a].total_cmp(&errors[*b]))?;
    let mut last = None;
    for rows in [vec![first], spread(all, 4), all.to_vec()] {
        let (cells, got) = values(u, model, &rows)?;
        let conditions = conditions(u, &rows);
        let agree = |cancellation: f64| {
            let allowance = Allowance {
                conditions: &conditions,
                p: precision(u),
                cancellation,
            };
            allowance.agree(&cells, &got)
        };
        let found = if exact && agree(0.0) {
            Match::Tight
        } else if agree(loose) {
            Match::Loose
        } else {
            return None;
        };
        last = Some((found, cells));
    }
    last
}

/// Tests a hypothesis: on a few rows first, then on all. With the number of values that tell it
/// from the truth.
fn test(u: &Unit<'_>, h: Hypothesis, models: &mut Models) -> (Match, usize) {
    let all = usable(u, h);
    if all.is_empty() {
        return (Match::No, 0);
    }
    if let Some(a) = h.arithmetic() {
        return (arithmetic(u, a, models), 0);
    }
    if let Some(a) = h.arrangement() {
        return (arranged(u, a, models), 0);
    }
    let p = precision(u);
    if h.is("time-on-grid") || h.is("dt-in-single-precision") {
        // the tables of public code are float32
        let found = by_the_rule(u, h, p, models);
        let tables = found.0 == Match::No && p == Precision::F64 && h.is("time-on-grid");
        return if tables {
            by_the_rule(u, h, Precision::F32, models)
        } else {
            found
        };
    }
    let declared = u.entry.config.epsilon_added;
    let mut best = (Match::No, 0);
    // a mistake in float32 stands in arithmetic that cancels in float32
    let loose = CANCELLATION
        * if p == Precision::F32 && matches!(h.mistake().kind, Kind::Reading(_)) {
            SINGLE
        } else {
            1.0
        };
    let epsilons: &[f64] = if declared > 0.0 && !h.is(EPSILON) {
        &[0.0, declared]
    } else {
        &[0.0]
    };
    for &epsilon in epsilons {
        let Some(model) = models.get(h, &u.entry.config, epsilon) else {
            continue;
        };
        let Some((found, cells)) = agreement(u, &model, &all, epsilon == 0.0, loose) else {
            continue;
        };
        // A mistake that leaves this output as it should be explains nothing about it.
        let right = models.right(&u.entry.config, if h.is(EPSILON) { 0.0 } else { epsilon });
        let Some((right, _)) = right.and_then(|m| values(u, &m, &all)) else {
            continue;
        };
        let allowance = Allowance {
            conditions: &conditions(u, &all),
            p,
            cancellation: if found == Match::Loose { loose } else { 0.0 },
        };
        let count = allowance.telling(&cells, &right);
        if count > 0 && found > best.0 {
            best = (found, count);
        }
    }
    if best.0 == Match::No && h.is("integral-by-midpoints") {
        by_the_rule(u, h, p, models)
    } else {
        best
    }
}

/// Tests a hypothesis by the rule's own tolerance: for mistakes that move an answer by little.
fn by_the_rule(u: &Unit<'_>, h: Hypothesis, p: Precision, models: &mut Models) -> (Match, usize) {
    let all: Vec<usize> = (0..row_count(u)).collect();
    let of = |m: Option<Arc<Model>>| m.and_then(|m| values(u, &m, &all)).map(|(cells, _)| cells);
    let (Some(with), Some(right)) = (
        of(models.get(h, &u.entry.config, 0.0)),
        of(models.right(&u.entry.config, 0.0)),
    ) else {
        return (Match::No, 0);
    };
    let most = |i: usize| UNITS * p.unit() * (right[i].truth.hi.abs() + u.condition[i]);
    let fits = (0..with.len()).all(|i| distance(u.got.data[i], with[i].truth, p) <= most(i));
    let differs = |i: &usize| (with[*i].truth - right[*i].truth).to_f64().abs() > most(*i);
    let telling = (0..with.len()).filter(differs).count();
    if fits && telling > 0 {
        (Match::Tight, telling)
    } else {
        (Match::No, 0)
    }
}

/// Whether a hypothesis would change an output that it does not explain.
fn affects(u: &Unit<'_>, h: Hypothesis, models: &mut Models) -> bool {
    let rows = spread(&usable(u, h), 4);
    let of = |m: Option<Arc<Model>>| m.and_then(|m| values(u, &m, &rows)).map(|(cells, _)| cells);
    let (Some(with), Some(right)) = (
        of(models.get(h, &u.entry.config, 0.0)),
        of(models.right(&u.entry.config, 0.0)),
    ) else {
        return false;
    };
    let conditions = conditions(u, &rows);
    // what stands in float32 tables contradicts no answer that it gives to float32
    let got = rows
        .iter()
        .flat_map(|r| &u.got.data[r * u.columns..(r + 1) * u.columns]);
    let most = |i: usize| UNITS * Precision::F32.unit() * (with[i].truth.hi.abs() + conditions[i]);
    if h.is("time-on-grid")
        && got
            .enumerate()
            .all(|(i, g)| distance(*g, with[i].truth, Precision::F32) <= most(i))
    {
        return false;
    }
    let allowance = Allowance {
        conditions: &conditions,
        p: precision(u),
        cancellation: 0.0,
    };
    allowance.telling(&with, &right) > 0
}

/// Largest error of each row, relative.
fn row_errors(u: &Unit<'_>) -> Vec<f64> {
    let worst = |e: &[f64]| {
        e.iter().fold(
            0.0f64,
            |a, b| if b.is_nan() { f64::INFINITY } else { a.max(*b) },
        )
    };
    u.errors.chunks(u.columns).map(worst).collect()
}

/// The rows that are off.
fn off_rows(u: &Unit<'_>) -> Vec<bool> {
    (0..row_count(u)).map(|r| u.is_off(r)).collect()
}

/// Whether a number has at most `bits` bits (its exponent aside).
fn has_bits(x: f64, bits: u32) -> bool {
    x.to_bits().trailing_zeros() >= 53 - bits || x == 0.0
}

/// Whether arithmetic that loses digits explains an output; in single precision also on top of the
/// declared constant.
fn arithmetic(u: &Unit<'_>, a: Arithmetic, models: &mut Models) -> Match {
    let plain = lost_digits(u, a, &u.cells, models);
    let declared = u.entry.config.epsilon_added;
    let single = matches!(
        a,
        Arithmetic::Single | Arithmetic::SingleCancellation | Arithmetic::SinglePart
    );
    if plain != Match::No || declared == 0.0 || !single {
        return plain;
    }
    let all: Vec<usize> = (0..row_count(u)).collect();
    let with = models
        .right(&u.entry.config, declared)
        .and_then(|m| values(u, &m, &all));
    with.map_or(Match::No, |(cells, _)| lost_digits(u, a, &cells, models))
}

/// Whether all rows that are off are late ones, with right ones before.
fn only_late(u: &Unit<'_>) -> bool {
    let off = off_rows(u);
    let time = |r: usize| u.cells[r * u.columns].t;
    let first = (0..off.len())
        .filter(|r| off[*r])
        .map(time)
        .fold(f64::INFINITY, f64::min);
    let before = (0..off.len()).filter(|r| time(*r) < first).count();
    // the last one among them: a single row in between is damaged, not late
    let last = (0..off.len()).max_by(|a, b| time(*a).total_cmp(&time(*b)));
    (0.05..=1e9).contains(&first) && 2 * before >= off.len() && last.is_some_and(|r| off[r])
}

/// The same against these cells.
fn lost_digits(u: &Unit<'_>, a: Arithmetic, cells: &[Cell], models: &mut Models) -> Match {
    let p = precision(u);
    let got = &u.got.data;
    let own = |i: usize| allowed(&cells[i], p, u.condition[i]);
    // what the rule allows, so that nothing is put down to cancellation but what cancels
    let rule =
        |i: usize, p: Precision| UNITS * p.unit() * (cells[i].truth.hi.abs() + u.condition[i]);
    // at least half of what the rule does not allow is what cancellation does
    let cancels = |p: Precision, scale: f64| {
        let d = |i: &usize| distance(got[*i], cells[*i].truth, p);
        let beyond: Vec<usize> = (0..cells.len())
            .filter(|i| !(d(i) <= rule(*i, p)))
            .collect();
        let explained = beyond
            .iter()
            .filter(|i| d(i) <= rule(**i, p) + CANCELLATION * scale * cells[**i].cancellation)
            .count();
        explained > 0 && 2 * explained >= beyond.len()
    };
    let found = |yes: bool, m: Match| if yes { m } else { Match::No };
    let within = |limit: &dyn Fn(usize, &Cell) -> f64| {
        (0..cells.len()).all(|i| distance(got[i], cells[i].truth, p) <= limit(i, &cells[i]))
    };
    let in_single = |i: usize, c: &Cell| allowed(c, Precision::F32, u.condition[i]);
    let f32_like = |x: &f64| *x == f64::from(*x as f32);
    match a {
        Arithmetic::Half => {
            let of = |bits: u32| {
                let u = 2f64.powi(-(bits as i32));
                got.iter().all(|x| has_bits(*x, bits))
                    && within(&|i, c| 1.01 * u * c.truth.hi.abs() + own(i))
            };
            let telling = got.iter().filter(|x| **x != 0.0).count() >= 4;
            found(
                matches!(p, Precision::F64 | Precision::F32) && telling && (of(8) || of(11)),
                Match::Tight,
            )
        }
        Arithmetic::Single => {
            let ok =
                p == Precision::F64 && got.iter().all(f32_like) && within(&|i, c| in_single(i, c));
            found(ok, Match::Tight)
        }
        Arithmetic::Cancellation => {
            let ok = within(&|i, c| own(i) + CANCELLATION * c.cancellation) && cancels(p, 1.0);
            found(ok && !only_late(u) && early(u, models), Match::Loose)
        }
        Arithmetic::SingleCancellation => {
            let stored = p != Precision::F64 || got.iter().all(f32_like);
            let ok = stored
                && within(&|i, c| in_single(i, c) + CANCELLATION * SINGLE * c.cancellation)
                && cancels(Precision::F32, SINGLE);
            found(ok && !only_late(u) && early(u, models), Match::Loose)
        }
        Arithmetic::SinglePart => {
            let ok = p == Precision::F64
                && all_in_single(u, cells)
                && within(&|i, c| in_single(i, c) + CANCELLATION * c.cancellation);
            found(ok, Match::Loose)
        }
        Arithmetic::Underflow => found(underflow(u, models).is_some(), Match::Loose),
        Arithmetic::Late => found(late(u, models) == Some(false), Match::Loose),
        Arithmetic::BothEnds => found(late(u, models) == Some(true), Match::Loose),
        Arithmetic::AnotherFactor => found(another_factor(u, models).is_some(), Match::Tight),
    }
}

/// Whether errors are rounding of f32 all over, not of single values: at half of the rows at least
/// where cancellation hides nothing.
fn all_in_single(u: &Unit<'_>, cells: &[Cell]) -> bool {
    let errors = row_errors(u);
    let plain = |r: usize| {
        cells[r * u.columns..(r + 1) * u.columns]
            .iter()
            .all(|c| CANCELLATION * c.cancellation <= 1e-8 * size(c))
    };
    let clear: Vec<usize> = (0..errors.len()).filter(|r| plain(*r)).collect();
    let seen = clear
        .iter()
        .filter(|r| errors[**r] > UNITS * Precision::F64.unit())
        .count();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    2 * seen >= clear.len() && (seen > 0 || covers(&u.entry.quantity)) && worst > 1e-10
}

/// Another quantity at the same rows.
fn beside(
    u: &Unit<'_>,
    quantity: &str,
    output: &str,
    models: &mut Models,
) -> Option<(Vec<Cell>, usize)> {
    let inputs: Inputs<'_> = u.entry.inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    if !u.entry.inputs.contains_key("t")
        || !u.entry.quantity.starts_with("kernel.") && !u.entry.quantity.starts_with("score.")
    {
        return None;
    }
    let model = models.right(&u.entry.config, 0.0)?;
    predict(quantity, &model, &inputs, output).ok()
}

/// Off where, and only where, the determinant or a product of variances leaves the normal range of
/// the type.
fn underflow(u: &Unit<'_>, models: &mut Models) -> Option<()> {
    let smallest = u.got.precision.smallest();
    let (cov, width) = beside(u, "kernel.cov", "cov", models)?;
    let k = (width as f64).sqrt() as usize;
    let off = off_rows(u);
    for (r, off) in off.iter().enumerate() {
        let s = &cov[r * width..(r + 1) * width];
        // the determinant is at least a product's rounding: what is formed on the way is its
        // smallest factor squared, or it
        let diagonal = (0..k).map(|i| s[i * (k + 1)].truth.to_f64());
        let smallest_variance = diagonal.clone().fold(f64::INFINITY, f64::min);
        let product = diagonal.product::<f64>();
        let formed = product.min(smallest_variance * smallest_variance);
        if *off && formed >= 64.0 * smallest {
            return None;
        }
    }
    off.contains(&true).then_some(())
}

/// How much the inverse of the mean must have grown for a time to be late.
const GROWN: f64 = 2.0;

/// Whether rows are off at times when nothing has grown yet: where cancellation as t -> 0 is seen.
fn early(u: &Unit<'_>, models: &mut Models) -> bool {
    let Some((mean, width)) = beside(u, "kernel.mean", "matrix", models) else {
        return true;
    };
    let off = off_rows(u);
    off.iter().all(|off| !off)
        || (0..off.len()).any(|r| off[r] && inverse_size(&mean[r * width..(r + 1) * width]) < GROWN)
}

/// Off at late times, where the inverse of the mean has grown so large that rounding of it is seen.
/// Says whether early times are off, too, by early cancellation.
fn late(u: &Unit<'_>, models: &mut Models) -> Option<bool> {
    let p = precision(u);
    let stored = p != Precision::F64 || u.got.data.iter().all(|x| *x == f64::from(*x as f32));
    let unit = if stored {
        2f64.powi(-24)
    } else {
        2f64.powi(-53)
    };
    let early = CANCELLATION * if stored { SINGLE } else { 1.0 };
    let (mean, width) = beside(u, "kernel.mean", "matrix", models)?;
    let rows = row_count(u);
    let (errors, off) = (row_errors(u), off_rows(u));
    // the same relative error everywhere is none that grows
    if pattern_of(u, Pattern::Noise).is_some() {
        return None;
    }
    let mut seen: Vec<(f64, f64)> = Vec::new();
    // times of the rows that are off before anything has grown, and after; and of those that are
    // right
    let (mut early_off, mut late_off, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for r in 0..rows {
        let growth = inverse_size(&mean[r * width..(r + 1) * width]).max(1.0);
        let cells = &u.cells[r * u.columns..(r + 1) * u.columns];
        let got = &u.got.data[r * u.columns..(r + 1) * u.columns];
        let mut beyond = false;
        for (i, (c, g)) in cells.iter().zip(got).enumerate() {
            let d = distance(*g, c.truth, p);
            if d <= allowed(c, p, u.condition[r * u.columns + i]) + early * c.cancellation {
                continue;
            }
            // relative to the size, once for the growing exponential and once for its square
            if !(d <= CANCELLATION * unit * growth * growth * size(c).max(c.truth.hi.abs())) {
                return None;
            }
            beyond = true;
        }
        if beyond {
            seen.push((cells[0].t, errors[r]));
        }
        match (off[r], growth < GROWN) {
            (false, _) => right.push(cells[0].t),
            (true, true) => early_off.push(cells[0].t),
            (true, false) => late_off.push(cells[0].t),
        }
    }
    let small = errors.iter().all(|e| *e <= tolerance(p));
    if seen.is_empty() && (only_late(u) || early_off.is_empty() && late_off.len() > 1 && !small) {
        return Some(false);
    }
    if seen.is_empty() {
        return two_ends(&early_off, &late_off, &right).then_some(true);
    }
    worse_the_later(u, &seen).then_some(!early_off.is_empty())
}

/// Whether times that are off lie at two ends, with right ones between.
fn two_ends(early: &[f64], late: &[f64], right: &[f64]) -> bool {
    let first = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = |times: &[f64]| times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let between = last(early)..first(late);
    last(early).is_finite() && last(late) > last(right) && right.iter().any(|t| between.contains(t))
}

/// Whether errors, by their times, are seen at late times only, and are worse the later.
fn worse_the_later(u: &Unit<'_>, seen: &[(f64, f64)]) -> bool {
    let first = seen.iter().map(|(t, _)| *t).fold(f64::INFINITY, f64::min);
    let before = u.cells.chunks(u.columns).filter(|c| c[0].t < first).count();
    let last = seen
        .iter()
        .copied()
        .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
    let at_first = seen.iter().find(|s| s.0 == first).map_or(0.0, |s| s.1);
    let end = u.cells.iter().map(|c| c.t).fold(0.0, f64::max);
    first >= 0.05 && 2 * before >= row_count(u) && last.0 == end && last.1 >= at_first
}

/// The size of the inverse of a matrix of one or two channels; of more, that of its largest
/// entry's.
fn inverse_size(m: &[Cell]) -> f64 {
    let largest = m.iter().map(|c| c.truth.to_f64().abs()).fold(0.0, f64::max);
    match m {
        [a, b, c, d] => largest / (a.truth * d.truth - b.truth * c.truth).to_f64().abs(),
        _ => 1.0 / largest,
    }
}

/// A matrix R with R R^T = cov (or, for inverse transposes, R R^T = its inverse) that is not the
/// Cholesky factor.
fn another_factor(u: &Unit<'_>, models: &mut Models) -> Option<()> {
    let quantity = match (u.entry.quantity.as_str(), u.output) {
        ("kernel.factor", "factor") => ("kernel.cov", "cov"),
        ("kernel.inverse_transpose_factor", "factor") => ("kernel.inverse", "inverse"),
        _ => return None,
    };
    let (cov, width) = beside(u, quantity.0, quantity.1, models)?;
    let k = (width as f64).sqrt() as usize;
    let p = precision(u);
    if k < 2 || u.columns != width {
        return None;
    }
    // a Cholesky factor that has lost digits is not another one
    let other = |r: usize| {
        let truth = &u.cells[r * width..(r + 1) * width];
        let size = truth
            .iter()
            .map(|c| c.truth.to_f64().abs())
            .fold(0.0, f64::max);
        (0..width).any(|n| {
            (u.got.data[r * width + n].abs() - truth[n].truth.to_f64().abs()).abs() > 1e-3 * size
        })
    };
    if !(0..row_count(u)).any(other) {
        return None;
    }
    for r in 0..row_count(u) {
        let f = &u.got.data[r * width..(r + 1) * width];
        let norm = |i: usize| {
            (0..k)
                .map(|l| f[i * k + l] * f[i * k + l])
                .sum::<f64>()
                .sqrt()
        };
        for n in 0..width {
            let (i, j) = (n / k, n % k);
            let product = (0..k).fold(Dd::ZERO, |s, l| s + Dd::prod(f[i * k + l], f[j * k + l]));
            let d = (product - cov[r * width + n].truth).to_f64().abs();
            // to what rounding of R's entries does to the product
            if !(d <= 4.0 * tolerance(p).max(FIT) * norm(i) * norm(j)) {
                return None;
            }
        }
    }
    Some(())
}

/// Outputs that hold K channels of d coordinates.
fn is_block(quantity: &str, output: &str) -> bool {
    let of_all = ["kernel.", "process.", "sampler.", "prior."]
        .iter()
        .any(|p| quantity.starts_with(p));
    of_all
        && matches!(
            output,
            "mean" | "u_t" | "score" | "eps" | "drift" | "diffusion" | "u_next" | "u_mean" | "u"
        )
}

fn is_matrix(u: &Unit<'_>) -> bool {
    matches!(u.output, "matrix" | "cov" | "factor" | "inverse")
}

/// Where a block of K channels has coordinate `c` in another order.
fn place(a: Arrangement, c: usize, k: usize, d: usize) -> usize {
    match a {
        Arrangement::Reversed { .. } => (k - 1 - c / d) * d + c % d,
        Arrangement::Interleaved { .. } => c % d * k + c / d,
        _ => c,
    }
}

/// What code gives that reads its inputs in another order: blocks of `k` channels, of `d`
/// coordinates where that is known (not 0). `None` where no input has an order.
fn with_inputs_moved(
    u: &Unit<'_>,
    a: Arrangement,
    model: &Model,
    (k, d): (usize, usize),
) -> Option<Vec<Cell>> {
    let n = row_count(u);
    let mut changed = false;
    let mut inputs = u.entry.inputs.clone();
    for name in ["u", "u0", "noise", "noise_1", "noise_2", "eps", "score"] {
        let Some(array) = inputs.get_mut(name) else {
            continue;
        };
        let w = array.data.len() / n.max(1);
        if array.shape.len() != 2 || !w.is_multiple_of(k) || (d > 0 && w != k * d) {
            continue;
        }
        changed = true;
        // the numbers, as code reads them that expects the other order
        let old = array.data.clone();
        for r in 0..n {
            (0..w).for_each(|c| array.data[r * w + c] = old[r * w + place(a, c, k, w / k)]);
        }
    }
    let refs: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    let (cells, _) = predict(&u.entry.quantity, model, &refs, u.output).ok()?;
    changed.then_some(cells)
}

/// An output as an arrangement reads it.
struct Arranged<'a> {
    u: &'a Unit<'a>,
    a: Arrangement,
    /// Channels.
    k: usize,
    /// Coordinates of a channel, where the output is a block of channels.
    d: Option<usize>,
}

impl Arranged<'_> {
    /// Where the answer has the number of row `r` and column `c`; `None` where it has none.
    fn place_of(&self, r: usize, c: usize) -> Option<usize> {
        let (u, n, width) = (self.u, row_count(self.u), self.u.columns);
        match self.a {
            Arrangement::Reversed { .. } if is_matrix(u) => Some(r * width + width - 1 - c),
            Arrangement::Interleaved { .. } if is_matrix(u) => Some(r * width + c),
            Arrangement::Reversed { .. } | Arrangement::Interleaved { .. } => {
                let c = self.d.map_or(c, |d| place(self.a, c, self.k, d));
                Some(r * width + c)
            }
            Arrangement::Transposed => {
                is_matrix(u).then(|| r * width + c % self.k * self.k + c / self.k)
            }
            Arrangement::Columnwise => (width > 1 && n > 1).then(|| c * n + r),
            // row r of the truth is found at r - shift
            Arrangement::Shifted(by) => r
                .checked_add_signed(-by as isize)
                .filter(|r| *r < n)
                .map(|r| r * width + c),
        }
    }

    /// Whether the answer has these numbers where it would have them.
    fn agrees(&self, cells: &[Cell]) -> Match {
        let (u, p) = (self.u, precision(self.u));
        let (mut seen, mut telling, mut result) = (0, 0, Match::Tight);
        for (i, cell) in cells.iter().enumerate() {
            let Some(place) = self.place_of(i / u.columns, i % u.columns) else {
                continue;
            };
            let d = distance(u.got.data[place], cell.truth, p);
            let most = allowed(cell, p, u.condition[i].max(u.condition[place]));
            if !(d <= most) {
                if !(d <= most + CANCELLATION * cell.cancellation) {
                    return Match::No;
                }
                result = Match::Loose;
            }
            seen += 1;
            let own = &u.cells[place];
            telling += usize::from((own.truth - cell.truth).to_f64().abs() > 4.0 * most);
        }
        let shifted = matches!(self.a, Arrangement::Shifted(_));
        if seen == 0 || telling == 0 || (shifted && (row_count(u) < 3 || telling < 2)) {
            Match::No
        } else {
            result
        }
    }
}

/// Whether the answer is right but for the order of its numbers.
fn arranged(u: &Unit<'_>, a: Arrangement, models: &mut Models) -> Match {
    let Some(model) = models.right(&u.entry.config, 0.0) else {
        return Match::No;
    };
    let k = model.channels();
    let with_inputs = matches!(
        a,
        Arrangement::Reversed { inputs: true } | Arrangement::Interleaved { inputs: true }
    );
    let blocks = is_block(&u.entry.quantity, u.output) && u.columns.is_multiple_of(k);
    let d = blocks.then_some(u.columns / k);
    let permutes = matches!(
        a,
        Arrangement::Reversed { .. } | Arrangement::Interleaved { .. }
    );
    if permutes && k < 2 || (permutes && !with_inputs && !blocks && !is_matrix(u)) {
        return Match::No;
    }
    let arranged = Arranged { u, a, k, d };
    if with_inputs {
        with_inputs_moved(u, a, &model, (k, d.unwrap_or(0)))
            .map_or(Match::No, |cells| arranged.agrees(&cells))
    } else {
        arranged.agrees(&u.cells)
    }
}

/// Values close to which a fitted factor is taken to be meant.
const NICE: &[f64] = &[
    0.5,
    2.0,
    0.25,
    4.0,
    0.125,
    8.0,
    1.0 / 3.0,
    3.0,
    0.1,
    10.0,
    1.5,
    std::f64::consts::FRAC_1_SQRT_2,
    std::f64::consts::SQRT_2,
];

/// Fits a mistake's free value to one answered number at a time; keeps those that then reproduce
/// the rest.
fn fit(u: &Unit<'_>, row: usize, models: &mut Models) -> Vec<Hypothesis> {
    let config = &u.entry.config;
    let Kind::Fitted { range, change, .. } = &MISTAKES[row].kind else {
        return vec![];
    };
    let Some(range) = range(&u.entry.quantity, config) else {
        return vec![];
    };
    let make = |x: f64| Hypothesis {
        row,
        variant: 0,
        value: Some(x),
    };
    let is_epsilon = MISTAKES[row].id == EPSILON;
    let p = precision(u);
    let rows = usable(u, make(range.0));
    // One number fits any one-parameter family: ask for more than that.
    let numbers = u.got.data.iter().filter(|x| x.is_finite() && **x != 0.0);
    let distinct: BTreeSet<u64> = numbers.map(|x| x.to_bits()).collect();
    if distinct.len() < 3 || rows.len() < 2 {
        return vec![];
    }
    let base = if is_epsilon {
        0.0
    } else {
        config.epsilon_added
    };
    let laws = models.laws.clone();
    for at_row in rows_to_fit(u, &rows) {
        let error = |c: usize| u.errors[at_row * u.columns + c];
        let column = (0..u.columns)
            .max_by(|a, b| error(*a).total_cmp(&error(*b)))
            .unwrap_or(0);
        let got = u.got.data[at_row * u.columns + column];
        if !got.is_finite() {
            continue;
        }
        let miss = |x: f64| -> Option<f64> {
            let mut model = Model::new(config).ok()?.sharing(&laws);
            model.reading.epsilon = base;
            change(&mut model, config, x)?;
            let (cells, _) = values(u, &model, &[at_row])?;
            let d = (cells[column].truth - Dd::from(got)).to_f64();
            d.is_finite().then_some(d)
        };
        let mut found: Vec<Hypothesis> = Vec::new();
        roots(&miss, range, &mut |x| {
            for x in [nice(x, is_epsilon || range.0 < 1e-6, p), x] {
                let h = make(x);
                if !found.contains(&h) && test(u, h, models).0 != Match::No {
                    found.push(h);
                    break;
                }
            }
        });
        if !found.is_empty() {
            return found;
        }
    }
    vec![]
}

/// Rows that a value is fitted to, one after the other: the largest error says most; a row in the
/// middle is a second chance where that one saturates.
fn rows_to_fit(u: &Unit<'_>, rows: &[usize]) -> Vec<usize> {
    let errors = row_errors(u);
    let worst = rows
        .iter()
        .copied()
        .filter(|r| errors[*r].is_finite())
        .max_by(|a, b| errors[*a].total_cmp(&errors[*b]));
    [
        worst,
        Some(rows[rows.len() / 2]),
        Some(rows[rows.len() - 1 - rows.len() / 8]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where `miss` crosses zero between the points of a grid over the range, each told to `seen`;
/// nowhere where the value moves nothing.
fn roots(miss: &dyn Fn(f64) -> Option<f64>, range: (f64, f64), seen: &mut dyn FnMut(f64)) {
    // what this value does not move, it cannot be fitted to
    let (low, high) = (miss(range.0), miss(range.1));
    if low.is_some() && low == high && low == miss((range.0 * range.1).sqrt()) {
        return;
    }
    let grid = 24;
    let at = |i: usize| range.0 * (range.1 / range.0).powf(i as f64 / grid as f64);
    let mut before: Option<(f64, f64)> = None;
    for x in (0..=grid).map(at) {
        let here = miss(x).map(|y| (x, y));
        if let (Some(a), Some(b)) = (before, here)
            && (a.1 <= 0.0) != (b.1 <= 0.0)
        {
            seen(root_between(miss, a, b));
        }
        before = here;
    }
}

/// Where `f` crosses zero between two points on either side of it: false position, where the weight
/// of an end that stays is halved (Illinois), until f64 resolves no more.
fn root_between(
    f: &dyn Fn(f64) -> Option<f64>,
    (mut a, mut ya): (f64, f64),
    (mut b, mut yb): (f64, f64),
) -> f64 {
    let (mut at, mut stayed) = (0.5 * (a + b), 0);
    for _ in 0..60 {
        let secant = b - yb * (b - a) / (yb - ya);
        let mid = if secant.is_finite() && a < secant && secant < b {
            secant
        } else {
            (a * b).sqrt()
        };
        let Some(y) = f(mid) else { break };
        let moved = (mid - at).abs();
        at = mid;
        if y == 0.0 || moved <= 2.0 * f64::EPSILON * mid {
            break;
        }
        // +1: the upper end stayed once more, -1: the lower one
        if (y <= 0.0) == (ya <= 0.0) {
            (a, ya) = (mid, y);
            stayed = if stayed > 0 { stayed + 1 } else { 1 };
            yb *= if stayed > 1 { 0.5 } else { 1.0 };
        } else {
            (b, yb) = (mid, y);
            stayed = if stayed < 0 { stayed - 1 } else { -1 };
            ya *= if stayed < -1 { 0.5 } else { 1.0 };
        }
        if b - a <= 4.0 * f64::EPSILON * b {
            break;
        }
    }
    at
}

/// `x` with so many digits.
fn rounded(x: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits - 1 - x.log10().floor() as i32);
    let round = (x * scale).round() / scale;
    format!("{round:.2e}").parse().unwrap_or(round)
}

/// The nearest round value, if it is so near that it must be meant.
fn nice(x: f64, small: bool, p: Precision) -> f64 {
    let double = p == Precision::F64;
    if small {
        // cancellation on top of the constant leaves it known to some 1e-16 absolute
        let near = if double { 1e-14 + 1e-9 * x } else { 1e-3 * x };
        return (1..=if double { 3 } else { 2 })
            .map(|d| rounded(x, d))
            .find(|r| (r - x).abs() <= near)
            .unwrap_or(x);
    }
    let near = if double { 1e-10 } else { 3e-5 };
    let digits = (1..=3).map(|d| rounded(x, d));
    NICE.iter()
        .copied()
        .chain((1..=400).map(|i| f64::from(i) / 20.0))
        .chain(digits)
        .find(|n| (x / n - 1.0).abs() < near)
        .unwrap_or(x)
}

/// Whether a value has at most three digits: one that somebody would write.
fn is_round(x: f64) -> bool {
    rounded(x, 3) == x || NICE.contains(&x)
}

/// The outputs that are off and those that are right, configurations side by side, each with its
/// models.
struct Search<'a> {
    off: Vec<&'a Unit<'a>>,
    right: Vec<&'a Unit<'a>>,
    /// By configuration: outputs that are off by their number, then those that are right.
    groups: Vec<Vec<usize>>,
    /// The group of each output.
    bench: Vec<usize>,
    /// The models of each group.
    models: Vec<Mutex<Models>>,
}

/// What a mutex holds, whatever became of another thread.
fn unlocked<T>(of: Mutex<T>) -> T {
    of.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer without a test: what is right with the constant that the file declares.
fn settled(u: &Unit<'_>, h: Hypothesis) -> Option<Match> {
    (u.class == Class::Eps).then(|| {
        if h == epsilon(u.entry.config.epsilon_added) {
            Match::Tight
        } else {
            Match::No
        }
    })
}

/// How each hypothesis of the pool fits an output.
fn row_of(u: &Unit<'_>, pool: &[Hypothesis], models: &mut Models) -> Row {
    pool.iter()
        .map(|h| settled(u, *h).map_or_else(|| test(u, *h, models), |m| (m, 0)))
        .collect()
}

/// Whether an output is explained well enough: a tight explanation needs no fit; neither does a
/// loose one of a value that is known.
fn is_known(u: &Unit<'_>, row: &Row, pool: &[Hypothesis]) -> bool {
    row.iter().zip(pool).any(|((m, _), h)| match m {
        Match::Tight => true,
        Match::Loose => {
            h.value().is_some()
                // with a declared constant nothing is tight: a mistake on top of it is known, too
                || (h.changes_the_model() && u.entry.config.epsilon_added > 0.0)
                || matches!(
                    h.arithmetic(),
                    Some(Arithmetic::Cancellation | Arithmetic::SinglePart)
                )
        }
        Match::No => false,
    })
}

impl<'a> Search<'a> {
    fn new(off: Vec<&'a Unit<'a>>, right: Vec<&'a Unit<'a>>) -> Self {
        let groups = by_config(off.iter().chain(&right).map(|u| &u.entry.config));
        let mut bench = vec![0; off.len() + right.len()];
        for (g, list) in groups.iter().enumerate() {
            list.iter().for_each(|i| bench[*i] = g);
        }
        let models = groups.iter().map(|_| Mutex::default()).collect();
        Self {
            off,
            right,
            groups,
            bench,
            models,
        }
    }

    /// The models of an output.
    fn on(&self, i: usize) -> MutexGuard<'_, Models> {
        locked(&self.models[self.bench[i]])
    }

    /// Something for each output that is off.
    fn each<T: Default + Send>(&self, work: impl Fn(usize, &mut Models) -> T + Sync) -> Vec<T> {
        let found: Vec<Mutex<T>> = self.off.iter().map(|_| Mutex::default()).collect();
        self.groups.par_iter().for_each(|list| {
            let own = list.iter().copied().filter(|i| *i < self.off.len());
            let own: Vec<usize> = own.collect();
            let Some(first) = own.first() else { return };
            let mut models = self.on(*first);
            for i in own {
                *locked(&found[i]) = work(i, &mut models);
            }
        });
        found.into_iter().map(unlocked).collect()
    }

    /// How each hypothesis of the pool fits each output; values that are found join the pool.
    fn table(
        &self,
        pool: &mut Vec<Hypothesis>,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Vec<Row> {
        let (done, shown) = (AtomicUsize::new(0), Mutex::new(progress));
        let first = self.each(|i, models| {
            if let Ok(mut show) = shown.try_lock() {
                show(done.load(Ordering::Relaxed), self.off.len());
            }
            done.fetch_add(1, Ordering::Relaxed);
            let u = self.off[i];
            let row = row_of(u, pool, models);
            let fits: Vec<Hypothesis> =
                if !is_known(u, &row, pool) && row_errors(u).iter().any(|e| e.is_finite()) {
                    (0..MISTAKES.len())
                        .flat_map(|fitted| fit(u, fitted, models))
                        .collect()
                } else {
                    vec![]
                };
            (row, fits)
        });
        let fixed = pool.len();
        let mut table: Vec<Row> = Vec::with_capacity(first.len());
        for (row, fits) in first {
            table.push(row);
            for h in fits {
                if !pool.contains(&h) {
                    pool.push(h);
                }
            }
        }
        // what was found at one output has not met the others yet
        let later = self.each(|i, models| row_of(self.off[i], &pool[fixed..], models));
        for (row, more) in table.iter_mut().zip(later) {
            row.extend(more);
        }
        table
    }

    /// How many right outputs each hypothesis contradicts, of the configurations that it explains
    /// something of.
    fn contradicted(&self, pool: &[Hypothesis], table: &[Row]) -> Vec<usize> {
        let count = |h: usize| {
            let at: BTreeSet<usize> = (0..self.off.len())
                .filter(|i| table[*i][h].0 != Match::No)
                .map(|i| self.bench[i])
                .collect();
            if at.is_empty() || !pool[h].changes_the_model() {
                return 0;
            }
            let contradicts = |(i, u): &(usize, &&Unit<'_>)| {
                let place = self.off.len() + i;
                at.contains(&self.bench[place]) && affects(u, pool[h], &mut self.on(place))
            };
            self.right.iter().enumerate().filter(contradicts).count()
        };
        (0..pool.len()).into_par_iter().map(count).collect()
    }
}

/// The mistakes that explain `units` that are `suspects`, and those that none explains.
pub(super) fn diagnose(
    units: &[Unit<'_>],
    suspects: &[bool],
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> (Vec<Diagnosis>, Vec<usize>) {
    let (places, right): (Vec<usize>, Vec<usize>) = (0..units.len()).partition(|i| suspects[*i]);
    let of = |list: &[usize]| list.iter().map(|i| &units[*i]).collect();
    let search = Search::new(of(&places), of(&right));
    let off = &search.off;
    let mut pool: Vec<Hypothesis> = Vec::new();
    for u in off {
        let declared = epsilon(u.entry.config.epsilon_added);
        if u.entry.config.epsilon_added > 0.0 && !pool.contains(&declared) {
            pool.push(declared);
        }
    }
    let declared = pool.len();
    pool.extend(fixed());
    let mut table = search.table(&mut pool, progress);
    reproduces(off, &pool, declared, &mut table);
    table.iter_mut().for_each(|row| rule_out(row, &pool));
    one_part(&pool, &mut table);
    late_beside(&search, &pool, &mut table);
    contradictions(&search, &pool, &mut table);
    reproduces(off, &pool, declared, &mut table);
    let contradicted = search.contradicted(&pool, &table);
    let (mut diagnoses, unexplained) = cover(off, &pool, &table, &contradicted);
    diagnoses
        .iter_mut()
        .flat_map(|d| &mut d.units)
        .for_each(|u| *u = places[*u]);
    (
        diagnoses,
        unexplained.into_iter().map(|u| places[u]).collect(),
    )
}

/// Drops values that were found and do not reproduce numbers that they were not fitted to.
fn reproduces(off: &[&Unit<'_>], pool: &[Hypothesis], declared: usize, table: &mut [Row]) {
    for (h, hypothesis) in pool.iter().enumerate().skip(declared) {
        if !matches!(hypothesis.mistake().kind, Kind::Fitted { .. }) {
            continue;
        }
        let explained: Vec<usize> = (0..off.len())
            .filter(|u| table[*u][h].0 != Match::No)
            .collect();
        let numbers: usize = explained.iter().map(|u| table[*u][h].1).sum();
        let single = explained.len() == 1 && !hypothesis.value.is_some_and(is_round);
        if numbers < 9 || single {
            table.iter_mut().for_each(|row| row[h] = (Match::No, 0));
        }
    }
}

/// What need not be said of an output where something plainer will do.
fn rule_out(row: &mut [(Match, usize)], pool: &[Hypothesis]) {
    let matched = |row: &[(Match, usize)], which: &dyn Fn(&Hypothesis) -> bool| {
        row.iter()
            .zip(pool)
            .any(|((m, _), h)| *m != Match::No && which(h))
    };
    let drop = |row: &mut [(Match, usize)], which: &dyn Fn(&Hypothesis, Match) -> bool| {
        row.iter_mut()
            .zip(pool)
            .filter(|(r, h)| which(h, r.0))
            .for_each(|(r, _)| *r = (Match::No, 0));
    };
    let is = |a: Arithmetic| move |h: &Hypothesis| h.arithmetic() == Some(a);
    if matched(row, &is(Arithmetic::BothEnds)) {
        let one = |h: &Hypothesis| {
            matches!(
                h.arithmetic(),
                Some(
                    Arithmetic::Cancellation
                        | Arithmetic::SingleCancellation
                        | Arithmetic::SinglePart
                )
            )
        };
        drop(row, &|h, _| one(h));
    }
    // Where a constant or cancellation alone will do, nothing needs to be loose about a mistake on
    // top of them.
    let plain = |h: &Hypothesis| {
        h.is(EPSILON)
            || matches!(
                h.arithmetic(),
                Some(Arithmetic::Cancellation | Arithmetic::SingleCancellation)
            )
    };
    if matched(row, &plain) {
        drop(row, &|h, m| m == Match::Loose && !plain(h));
    }
    // underflow is not cancellation; nor is a loss at late times one that early cancellation
    // explains
    if matched(row, &is(Arithmetic::Underflow)) {
        drop(row, &|h, _| {
            matches!(
                h.arithmetic(),
                Some(Arithmetic::SingleCancellation | Arithmetic::Late)
            )
        });
    }
    if matched(row, &|h| {
        matches!(
            h.arithmetic(),
            Some(Arithmetic::Cancellation | Arithmetic::SingleCancellation)
        )
    }) {
        drop(row, &|h, _| h.arithmetic() == Some(Arithmetic::Late));
    }
    if matched(row, &is(Arithmetic::Late)) {
        drop(row, &|h, _| h.arithmetic() == Some(Arithmetic::SinglePart));
    }
}

/// A late row or two that are a few units off, beside an entry of the same matrix that growing
/// exponentials have spoilt: the same cause.
fn late_beside(search: &Search<'_>, pool: &[Hypothesis], table: &mut [Row]) {
    let off = &search.off;
    let Some(late) = pool
        .iter()
        .position(|h| h.arithmetic() == Some(Arithmetic::Late))
    else {
        return;
    };
    let spoilt: Vec<&str> = off
        .iter()
        .zip(table.iter())
        .filter(|(_, row)| row[late].0 != Match::No)
        .map(|(u, _)| &*u.entry.id)
        .collect();
    for (i, (u, row)) in off.iter().zip(table.iter_mut()).enumerate() {
        let small = row_errors(u)
            .iter()
            .all(|e| *e <= tolerance(u.got.precision));
        if small
            && row.iter().all(|(m, _)| *m == Match::No)
            && spoilt.contains(&&*u.entry.id)
            && !early(u, &mut search.on(i))
        {
            row[late] = (Match::Loose, 0);
        }
    }
}

/// A rate in float32 is itself one, and makes all else right to float32 only: that is one cause.
fn one_part(pool: &[Hypothesis], table: &mut [Row]) {
    let at = |a: Arithmetic| pool.iter().position(|h| h.arithmetic() == Some(a));
    let (Some(whole), Some(part)) = (at(Arithmetic::Single), at(Arithmetic::SinglePart)) else {
        return;
    };
    let all = |row: &Row| row[whole].0 == Match::No || row[part].0 != Match::No;
    if table.iter().all(all)
        && table
            .iter()
            .any(|row| row[whole].0 == Match::No && row[part].0 != Match::No)
    {
        table.iter_mut().for_each(|row| row[whole] = (Match::No, 0));
    }
}

/// Drops what explains one entry of a matrix and contradicts its neighbour in the same entry.
fn contradictions(search: &Search<'_>, pool: &[Hypothesis], table: &mut [Row]) {
    let (off, right) = (&search.off, &search.right);
    for (h, hypothesis) in pool.iter().enumerate() {
        if !hypothesis.changes_the_model() {
            continue;
        }
        let mut dropped = Vec::new();
        for (i, u) in off
            .iter()
            .enumerate()
            .filter(|(i, _)| table[*i][h].0 != Match::No)
        {
            let same = |w: &Unit<'_>| w.entry.id == u.entry.id && w.output != u.output;
            let others = (0..off.len())
                .filter(|j| same(off[*j]) && table[*j][h].0 == Match::No)
                .map(|j| off[j]);
            // of one entry, and so of one configuration
            if others
                .chain(right.iter().copied().filter(|w| same(w)))
                .any(|w| affects(w, *hypothesis, &mut search.on(i)))
            {
                dropped.push(i);
            }
        }
        dropped
            .into_iter()
            .for_each(|i| table[i][h] = (Match::No, 0));
    }
}

/// A hypothesis, its words where it is a pattern, and the outputs that it explains.
struct Cause {
    h: Hypothesis,
    words: Option<String>,
    explained: Vec<usize>,
    /// Whether some of these agree only after allowing for cancellation.
    cancellation: bool,
}

/// The hypothesis that explains most of what is left, again and again; tight explanations before
/// loose ones. That which explains most comes first.
fn greedy(
    pool: &[Hypothesis],
    table: &[Row],
    contradicted: &[usize],
    left: &mut Vec<usize>,
) -> Vec<Cause> {
    let mut explained: Vec<Vec<usize>> = vec![Vec::new(); pool.len()];
    let mut order: Vec<usize> = Vec::new();
    for least in [Match::Tight, Match::Loose] {
        loop {
            let count = |h: usize| left.iter().filter(|u| table[**u][h].0 >= least).count();
            let rank = |h: &usize| {
                (
                    count(*h),
                    -(contradicted[*h] as isize),
                    -(pool[*h].row as isize),
                    -(*h as isize),
                )
            };
            let Some(best) = (0..pool.len()).max_by_key(rank).filter(|h| count(*h) > 0) else {
                break;
            };
            let (taken, rest): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|u| table[**u][best].0 >= least);
            *left = rest;
            explained[best].extend(taken);
            if !order.contains(&best) {
                order.push(best);
            }
        }
    }
    order.sort_by_key(|h| std::cmp::Reverse(explained[*h].len()));
    let cause = |h: usize| Cause {
        h: pool[h],
        words: None,
        cancellation: explained[h].iter().any(|u| table[*u][h].0 == Match::Loose),
        explained: std::mem::take(&mut explained[h]),
    };
    order.into_iter().map(cause).collect()
}

/// What the errors of the rest look like.
fn patterns(units: &[&Unit<'_>], left: &mut Vec<usize>) -> Vec<Cause> {
    let mut all = vec![];
    for (row, m) in MISTAKES.iter().enumerate() {
        let Kind::Pattern(pattern) = m.kind else {
            continue;
        };
        let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        left.retain(|u| {
            let text = pattern_of(units[*u], pattern);
            text.map(|t| seen.entry(t).or_default().push(*u)).is_none()
        });
        all.extend(seen.into_iter().map(|(text, explained)| Cause {
            h: Hypothesis {
                row,
                variant: 0,
                value: None,
            },
            words: Some(text),
            explained,
            cancellation: false,
        }));
    }
    all
}

/// The causes of what is off, and what has none.
fn cover(
    units: &[&Unit<'_>],
    pool: &[Hypothesis],
    table: &[Row],
    contradicted: &[usize],
) -> (Vec<Diagnosis>, Vec<usize>) {
    let mut left: Vec<usize> = (0..units.len()).collect();
    let mut causes = greedy(pool, table, contradicted, &mut left);
    causes.extend(patterns(units, &mut left));
    let mut diagnoses: Vec<Diagnosis> = Vec::new();
    for c in causes {
        let (outputs, entries) = names(c.explained.iter().map(|u| units[*u]));
        let config = &units[c.explained[0]].entry.config;
        let text = c.words.unwrap_or_else(|| c.h.text(config));
        // a friction that is off critical is one finding, whatever the masses
        if let Some(one) = diagnoses
            .iter_mut()
            .find(|d| d.id == "friction" && c.h.is("friction"))
        {
            one.text += &format!("; {text}");
            one.explains += c.explained.len();
            outputs
                .into_iter()
                .for_each(|(k, n)| *one.outputs.entry(k).or_insert(0) += n);
            one.entries.extend(entries);
            one.units.extend(c.explained);
            one.cancellation |= c.cancellation;
            continue;
        }
        diagnoses.push(Diagnosis {
            id: c.h.mistake().id,
            text,
            remedy: c.h.mistake().remedy,
            value: c.h.value(),
            explains: c.explained.len(),
            outputs,
            entries,
            cancellation: c.cancellation,
            follows: vec![],
            shown: None,
            units: c.explained,
        });
    }
    (diagnoses, left)
}

/// What code with a mistake would answer: the tests plant every row of the table. `None` where the
/// mistake cannot be made.
#[doc(hidden)]
pub fn plant(
    row: usize,
    variant: usize,
    value: Option<f64>,
    e: &super::answers::Entry,
    output: &str,
) -> Option<Vec<f64>> {
    let h = Hypothesis {
        row,
        variant,
        value,
    };
    let inputs: Inputs<'_> = e.inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    let model = h.model(&e.config, 0.0, &Arc::default())?;
    let (cells, width) = predict(&e.quantity, &model, &inputs, output).ok()?;
    let values: Vec<f64> = cells.iter().map(|c| c.truth.to_f64()).collect();
    let k = model.channels();
    let Some(a) = h.arrangement() else {
        return Some(values);
    };
    let d = width / k;
    match a {
        Arrangement::Reversed { inputs: false } | Arrangement::Interleaved { inputs: false }
            if is_block(&e.quantity, output) && k > 1 && d > 1 =>
        {
            let mut out = values.clone();
            (0..values.len())
                .for_each(|i| out[i / width * width + place(a, i % width, k, d)] = values[i]);
            Some(out)
        }
        Arrangement::Shifted(by) => {
            let from = |i: usize| {
                (i as i64 + i64::from(by) * width as i64).rem_euclid(values.len() as i64) as usize
            };
            Some((0..values.len()).map(|i| values[from(i)]).collect())
        }
        _ => None,
    }
}

/// Variants of a row that [`plant`] knows, and the value to plant where there is one to be found.
#[doc(hidden)]
pub fn plants(row: usize) -> Vec<(usize, Option<f64>)> {
    match &MISTAKES[row].kind {
        Kind::Reading(list) => (0..list.len()).map(|v| (v, None)).collect(),
        Kind::Arranged(list) => (0..list.len()).map(|v| (v, None)).collect(),
        Kind::Fitted { planted, .. } => vec![(0, Some(*planted))],
        _ => vec![],
    }
}

/// What the errors of an output look like, where no mistake gives its numbers.
fn pattern_of(u: &Unit<'_>, pattern: Pattern) -> Option<String> {
    match pattern {
        Pattern::DamagedRows => damaged_rows(u),
        Pattern::Rounding => rounding(u),
        Pattern::Noise => noise(u),
    }
}

/// A few rows that are off between others that are right.
fn damaged_rows(u: &Unit<'_>) -> Option<String> {
    let (errors, off) = (row_errors(u), off_rows(u));
    let n = off.len();
    let bad: Vec<usize> = (0..n).filter(|r| off[*r]).collect();
    if n < 5 || bad.is_empty() || bad.len() > 4 || 5 * bad.len() > n {
        return None;
    }
    // a few units beyond the rule are no damage
    if !bad.iter().all(|r| errors[*r] > tolerance(u.got.precision)) {
        return None;
    }
    let time = |r: usize| u.cells[r * u.columns].t;
    // between rows that are right, in time where there is one: digits lost at an end are something
    // else
    let key = |r: usize| {
        if time(r).is_finite() {
            time(r)
        } else {
            r as f64
        }
    };
    let good = |which: &dyn Fn(f64) -> bool| (0..n).any(|o| !off[o] && which(key(o)));
    let between = |r: &usize| good(&|t| t < key(*r)) && good(&|t| t > key(*r));
    let timed = bad.iter().all(|r| time(*r).is_finite());
    if timed && !bad.iter().all(between) {
        return None;
    }
    let name = |r: &usize| {
        let cells = &u.got.data[r * u.columns..(r + 1) * u.columns];
        let mut of = Vec::new();
        if time(*r).is_finite() {
            of.push(format!("t = {}", super::numbers::time(time(*r))));
        }
        if cells.iter().any(|x| !x.is_finite()) {
            of.push("not a finite number".into());
        }
        let of = if of.is_empty() {
            String::new()
        } else {
            format!(" ({})", of.join(", "))
        };
        format!("row {}{of}", u.rows[*r])
    };
    let names: Vec<String> = bad.iter().map(name).collect();
    let verb = if bad.len() == 1 { "is" } else { "are" };
    Some(format!(
        "{} {verb} off, the others are right: damaged values, not a formula",
        names.join(", ")
    ))
}

/// Within the tolerance for causes, and not to the last units.
fn rounding(u: &Unit<'_>) -> Option<String> {
    let worst = row_errors(u).into_iter().fold(0.0, f64::max);
    // one digit, upward
    let power = 10f64.powi(worst.log10().floor() as i32);
    let about = power * (worst / power).ceil();
    (worst <= tolerance(u.got.precision))
        .then(|| format!("right to about {about:.0e}, but not to the last units of its type: rounding errors that add up, or grow"))
}

/// Errors of either sign, at half of the rows at least, none much larger than the others.
fn noise(u: &Unit<'_>) -> Option<String> {
    let (errors, off) = (row_errors(u), off_rows(u));
    let bad = off.iter().filter(|off| **off).count();
    let mut sizes: Vec<f64> = errors.into_iter().filter(|e| *e > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    let (worst, median) = (*sizes.last()?, sizes[sizes.len() / 2]);
    let signs: Vec<bool> = u
        .cells
        .iter()
        .zip(&u.got.data)
        .zip(&u.errors)
        .filter(|(_, e)| **e > 16.0 * precision(u).unit())
        .map(|((c, g), _)| Dd::from(*g) > c.truth)
        .collect();
    let up = signs.iter().filter(|s| **s).count();
    let mixed = signs.len() >= 8 && 5 * up.min(signs.len() - up) >= signs.len();
    let flat = 2 * bad >= off.len() && worst <= 1e-2 && worst <= 300.0 * median;
    let worst = 10f64.powi(worst.log10().ceil() as i32);
    (mixed && flat).then(|| {
        format!("right to about {worst:.0e}, with errors like noise: an integrator, a table, or lower precision somewhere")
    })
}

#[cfg(test)]
mod tests;
