//! What follows from what. Quantities are made from others (a factor from a covariance, a noised
//! state from a factor): where both are off, a quantity whose numbers are those that *their own*
//! part gives is a consequence, and stands under the part's cause.
//!
//! The test puts their mean matrices, covariances or factors into the truth's model, row by row,
//! and asks whether the rule holds with these as the inputs:
//! `|y - y'| <= 16 u (|y'| + sum |x_i dy'/dx_i|)`, the x_i being their numbers. Where it cannot be
//! made (no common times, a part that the model does not hold) a quantity that nothing explains,
//! off where its part is off, is said to be *perhaps* a consequence.

use super::answers::Entry;
use super::compare::{UNITS, Unit, distance, some_rows};
use crate::dd::Dd;
use crate::error::shown;
use crate::files::Precision;
use crate::small::{Square, places};
use crate::truth::predict::{Cell, Given, Inputs, Model, digits, made_from, pair, predict};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Outputs that are off because those of the cause are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Follows {
    /// `quantity.output`.
    pub output: String,
    /// Number of such outputs.
    pub count: usize,
    /// The quantity that it is made from.
    pub from: &'static str,
    /// Whether the numbers are those that their own `from` gives; else they are off at the same
    /// times, and no more is known.
    pub tested: bool,
}

/// A row with all that belongs to it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// `quantity.output`.
    pub output: String,
    /// The entry's id.
    pub entry: String,
    /// Row of the input arrays.
    pub row: usize,
    /// Column of the output.
    pub column: usize,
    /// The value given.
    #[serde(serialize_with = "super::compare::number_or_word")]
    pub got: f64,
    /// The value that is right.
    #[serde(serialize_with = "super::compare::number_or_word")]
    pub truth: f64,
    /// The difference in units of the array's type.
    #[serde(serialize_with = "super::compare::number_or_word")]
    pub units: f64,
    /// That type.
    pub precision: &'static str,
    /// The row's inputs; arrays of more than [`MOST`] numbers are left out.
    pub inputs: BTreeMap<String, Vec<f64>>,
    /// Process, parameters and schedule in words.
    pub config: String,
    /// The command that prints what is right.
    pub see: String,
}

/// Numbers of an input that are shown.
pub const MOST: usize = 8;

/// The worst of some outputs' values, and its row. `file` is the manifest.
pub(super) fn worst(units: &[Unit<'_>], of: &[usize], file: &str) -> Option<Shown> {
    // a number that is off says most, then what is no number; what is right says nothing
    let what = |u: &Unit<'_>, i: usize| match (u.got.data[i].is_finite(), u.units[i] <= UNITS) {
        (true, false) => 2,
        (false, _) => 1,
        (true, true) => 0,
    };
    let all = of
        .iter()
        .flat_map(|&u| (0..units[u].units.len()).map(move |i| (u, i)));
    let rank = |(u, i): &(usize, usize)| (what(&units[*u], *i), units[*u].units[*i]);
    let (u, i) = all.max_by(|a, b| {
        rank(a)
            .0
            .cmp(&rank(b).0)
            .then(rank(a).1.total_cmp(&rank(b).1))
    })?;
    let u = &units[u];
    let r = i / u.columns;
    let row = u.entry.own_row(some_rows(&u.entry, &[r]));
    let inputs = row
        .into_iter()
        .filter(|(_, a)| a.data.len() <= MOST)
        .map(|(name, a)| (name, a.data))
        .collect();
    Some(Shown {
        output: u.name(),
        entry: u.entry.id.clone(),
        row: u.rows[r],
        column: u.entry.own_column(u.output, i % u.columns, u.columns),
        got: u.got.data[i],
        truth: u.cells[i].truth.to_f64(),
        units: u.units[i],
        precision: u.got.precision.name(),
        inputs,
        config: u.entry.config.describe(),
        see: format!(
            "cld eval {} --entry {} --row {}",
            quoted(file),
            quoted(&u.entry.id),
            u.rows[r]
        ),
    })
}

/// As a shell reads it.
fn quoted(s: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=,".contains(c);
    if !s.is_empty() && s.chars().all(plain) {
        s.to_string()
    } else {
        format!("'{}'", shown(s).replace('\'', "'\\''"))
    }
}

/// Where an off output comes from: an output that it is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link {
    /// The other output's place.
    pub of: usize,
    pub tested: bool,
}

/// What stands for the truth's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Factor,
    Cov,
    Mean,
}

impl Part {
    const ALL: [Part; 3] = [Part::Factor, Part::Cov, Part::Mean];

    fn quantity(self) -> &'static str {
        match self {
            Part::Factor => "kernel.factor",
            Part::Cov => "kernel.cov",
            Part::Mean => "kernel.mean",
        }
    }

    fn of(quantity: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|p| p.quantity() == quantity)
    }
}

/// Everything that a quantity is made from, the nearest first.
fn ancestors(quantity: &str) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = made_from(quantity).to_vec();
    let mut at = 0;
    while at < all.len() {
        for q in made_from(all[at]) {
            if !all.contains(q) {
                all.push(q);
            }
        }
        at += 1;
    }
    all
}

/// s and t of a row, as bits.
type Clock = (u64, u64);

/// The parts of one configuration, as they were answered: matrices by the bits of s and t.
#[derive(Default)]
struct Theirs {
    matrices: HashMap<(Part, Clock), Vec<Option<f64>>>,
    /// Where they are off.
    off: HashSet<(Part, Clock)>,
    /// Unit roundoff of the arrays they are stored in, the largest.
    unit: f64,
}

fn clock(e: &Entry, row: usize) -> Option<Clock> {
    // for data with a variance a kernel is another law
    if e.quantity.starts_with("kernel.") && e.inputs.contains_key("data") {
        return None;
    }
    let t = *e.inputs.get("t")?.data.get(row)?;
    let s = e
        .inputs
        .get("s")
        .map_or(Some(0.0), |a| a.data.get(row).copied())?;
    Some((s.to_bits(), t.to_bits()))
}

fn channels(u: &Unit<'_>) -> usize {
    u.entry.config.process().map_or(0, |p| p.channels())
}

impl Theirs {
    fn add(&mut self, u: &Unit<'_>, part: Part, k: usize) {
        let (whole, index) = match part {
            Part::Cov => ("cov", pair(u.output, k)),
            Part::Mean => ("matrix", pair(u.output, k)),
            Part::Factor => ("factor", digits(u.output, k)),
        };
        if u.output != whole && index.is_none() || u.output == whole && u.columns != k * k {
            return;
        }
        self.unit = self.unit.max(u.got.precision.unit());
        for r in 0..u.rows.len() {
            let Some(key) = clock(&u.entry, r) else {
                continue;
            };
            if u.is_off(r) {
                self.off.insert((part, key));
            }
            let m = self
                .matrices
                .entry((part, key))
                .or_insert_with(|| vec![None; k * k]);
            match index {
                None => (0..k * k).for_each(|n| m[n] = Some(u.got.data[r * k * k + n])),
                Some(n) => m[n] = Some(u.got.data[r]),
            }
            // covariances are answered once for both places
            if part == Part::Cov {
                for n in 0..k * k {
                    m[n] = m[n].or(m[n % k * k + n / k]);
                }
            }
        }
    }

    /// Mean and covariance with their own `part`, `None` where it was not answered whole.
    fn given(&self, part: Part, key: Clock, k: usize) -> Option<Given> {
        let whole = |part: Part| {
            self.matrices
                .get(&(part, key))?
                .iter()
                .map(|x| x.map(Dd::from))
                .collect::<Option<Vec<Dd>>>()
                .and_then(|m| Square::from_slice(&m))
        };
        let mean = whole(Part::Mean);
        let cov = match part {
            Part::Mean => {
                return mean.map(|mean| Given {
                    cov: None,
                    mean: Some(mean),
                });
            }
            Part::Cov => whole(Part::Cov)?,
            Part::Factor => {
                // entries that were not asked for are those that vanish
                let entries = self.matrices.get(&(part, key))?;
                let r = Square::build(k, |i, j| Dd::from(entries[i * k + j].unwrap_or(0.0)));
                r.matmul(&r.transpose())
            }
        };
        Some(Given {
            cov: Some(cov),
            mean,
        })
    }
}

/// Rows that are tested at most.
const ROWS: usize = 8;
/// Relative change of their numbers for the derivatives: double words resolve the difference.
const CHANGE: f64 = 1.0 / ((1u64 << 30) as f64);

/// The times of the rows that are off.
fn off_clocks(u: &Unit<'_>) -> HashSet<Clock> {
    (0..u.rows.len())
        .filter(|r| u.is_off(*r))
        .filter_map(|r| clock(&u.entry, r))
        .collect()
}

/// Rows to test: such as are off where the part is off, too, and that have all of it. None where
/// these are less than half of the rows that are off, a few by chance being no evidence; or not all
/// of them where there is another cause already (`all`).
fn telling_rows(u: &Unit<'_>, part: Part, theirs: &Theirs, k: usize, all: bool) -> Vec<usize> {
    let off: Vec<usize> = (0..u.rows.len()).filter(|r| u.is_off(*r)).collect();
    let has = |r: usize| {
        clock(&u.entry, r).is_some_and(|key| {
            theirs.off.contains(&(part, key)) && theirs.given(part, key, k).is_some()
        })
    };
    let known: Vec<usize> = off.iter().copied().filter(|r| has(*r)).collect();
    let enough = if all {
        off.len()
    } else {
        off.len().div_ceil(2)
    };
    if known.len() < enough {
        return vec![];
    }
    let n = known.len().min(ROWS);
    (0..n).map(|i| known[i * known.len() / n]).collect()
}

/// One row of an output as it follows from a given part.
fn follows_from(u: &Unit<'_>, inputs: &Inputs<'_>, key: Clock, given: Given) -> Option<Vec<Cell>> {
    let model = Model::new(&u.entry.config)
        .ok()?
        .with_given(HashMap::from([(key, given)]));
    let (cells, columns) = predict(&u.entry.quantity, &model, inputs, u.output).ok()?;
    (columns == u.columns && cells.iter().all(|c| c.truth.to_f64().is_finite())).then_some(cells)
}

/// The part with one entry changed by a little, for every entry of the covariance on and above the
/// diagonal, then every entry of the mean.
fn changed(given: &Given) -> impl Iterator<Item = Given> {
    let change = Dd::from(1.0 - CHANGE);
    let covs = given.cov.iter().flat_map(|c| places(c.k()));
    let covs = covs.filter(|(i, j)| i <= j).map(move |(i, j)| {
        let mut other = given.clone();
        if let Some(c) = &mut other.cov {
            c[(i, j)] = c[(i, j)] * change;
            c[(j, i)] = c[(i, j)];
        }
        other
    });
    let means = given.mean.iter().flat_map(|m| places(m.k()));
    let means = means.map(move |at| {
        let mut other = given.clone();
        if let Some(m) = &mut other.mean {
            m[at] = m[at] * change;
        }
        other
    });
    covs.chain(means)
}

/// Whether a row is what their own part gives; `None` where the part says nothing of it.
fn row_is_made(u: &Unit<'_>, r: usize, key: Clock, given: &Given, unit: f64) -> Option<bool> {
    let inputs = some_rows(&u.entry, &[r]);
    let inputs: Inputs<'_> = inputs.iter().map(|(name, a)| (name.clone(), a)).collect();
    // their part has no factor, or the change of a unit takes it away: anything may come of it
    let cells = follows_from(u, &inputs, key, given.clone())?;
    let mut sum: Vec<f64> = cells.iter().map(|c| c.truth.hi.abs() + c.scale).collect();
    for other in changed(given) {
        let changed = follows_from(u, &inputs, key, other)?;
        for ((s, a), b) in sum.iter_mut().zip(&changed).zip(&cells) {
            *s += (a.truth - b.truth).to_f64().abs() / CHANGE;
        }
    }
    // as much as a value itself: nothing is left to tell (what vanishes by construction is no such
    // value)
    let vague = |(s, c): (&f64, &Cell)| c.truth.hi != 0.0 && UNITS * unit * s >= c.truth.hi.abs();
    if sum.iter().zip(&cells).any(vague) {
        return None;
    }
    let got = &u.got.data[r * u.columns..(r + 1) * u.columns];
    let fits = cells
        .iter()
        .zip(got)
        .zip(&sum)
        .all(|((c, g), s)| distance(*g, c.truth, u.got.precision) <= UNITS * unit * s);
    Some(fits)
}

/// Whether an output is what their own part gives: `None` where that cannot be told, or where the
/// part is right at most of the rows that are off, and so no cause.
fn made(u: &Unit<'_>, part: Part, theirs: &Theirs, k: usize, all: bool) -> Option<bool> {
    let unit = u.got.precision.unit().max(theirs.unit);
    let mut telling = 0;
    for r in telling_rows(u, part, theirs, k, all) {
        let key = clock(&u.entry, r)?;
        let given = theirs.given(part, key, k)?;
        match row_is_made(u, r, key, &given, unit) {
            Some(true) => telling += 1,
            Some(false) => return Some(false),
            None => {}
        }
    }
    (telling > 0).then_some(true)
}

/// The times at which an output is off: the first, the last.
fn off_times(u: &Unit<'_>) -> Option<(f64, f64)> {
    let times = u
        .cells
        .iter()
        .zip(&u.units)
        .filter(|(c, x)| c.t.is_finite() && !(**x <= UNITS))
        .map(|(c, _)| c.t);
    times.fold(None, |range, t| {
        Some(range.map_or((t, t), |(a, b): (f64, f64)| (a.min(t), b.max(t))))
    })
}

/// An output's configuration, as a key.
fn config_of(u: &Unit<'_>) -> String {
    let c = &u.entry.config;
    format!("{} {}", c.to_answers(), c.epsilon_added)
}

/// What the answers say of the parts, by configuration and type of numbers.
type OfTypes = BTreeMap<(String, &'static str), Theirs>;

/// The outputs of one configuration that are off, and what their causes are sought among.
struct Family<'a> {
    units: &'a [Unit<'a>],
    key: &'a str,
    off: &'a [usize],
    theirs: &'a OfTypes,
    explained: &'a [bool],
    vague: &'a [bool],
}

impl Family<'_> {
    fn precision(&self, u: usize) -> Precision {
        self.units[u].got.precision
    }

    fn quantity(&self, u: usize) -> &str {
        &self.units[u].entry.quantity
    }

    /// Whether `u` is what the answers' own part gives, by the first type of numbers that can tell.
    fn made(&self, u: usize, part: Part) -> Option<bool> {
        let name = self.precision(u).name();
        let own = self.theirs.get(&(self.key.to_string(), name));
        let others = self
            .theirs
            .iter()
            .filter(|((k, p), _)| k == self.key && *p != name)
            .map(|(_, theirs)| theirs);
        let unit = &self.units[u];
        own.into_iter()
            .chain(others)
            .find_map(|theirs| made(unit, part, theirs, channels(unit), self.vague[u]))
    }

    /// Outputs of a quantity that are off.
    fn of_quantity(&self, q: &str) -> impl Iterator<Item = usize> {
        let all = self.off.iter().copied();
        all.filter(move |w| self.quantity(*w) == q)
    }

    /// The part whose own numbers give this output.
    fn tested(&self, u: usize) -> Option<Link> {
        let from = ancestors(self.quantity(u));
        let related = |part: &Part| {
            let is = |w: &usize| Part::of(self.quantity(*w)) == Some(*part);
            from.contains(&part.quantity()) && self.off.iter().any(is)
        };
        let part = Part::ALL
            .into_iter()
            .filter(related)
            .find(|part| self.made(u, *part) == Some(true))?;
        // that of the same type which is off where this is, and of these that which has a cause of
        // its own, if one has
        let mine = off_clocks(&self.units[u]);
        let same = |w: usize| self.precision(w) == self.precision(u);
        let shared = |w: usize| off_clocks(&self.units[w]).intersection(&mine).count();
        let of = self
            .of_quantity(part.quantity())
            .max_by_key(|w| (same(*w), shared(*w), self.explained[*w], !self.vague[*w]))?;
        Some(Link { of, tested: true })
    }

    /// The nearest of what this output is made from that is off at the same times; a part that was
    /// tested and is not it is no part to blame.
    fn perhaps(&self, u: usize) -> Option<Link> {
        let meet = |w: &usize| match (off_times(&self.units[u]), off_times(&self.units[*w])) {
            (Some((a, b)), Some((c, d))) => a <= d && c <= b,
            _ => true,
        };
        let from = ancestors(self.quantity(u));
        let of = from.iter().find_map(|q| self.of_quantity(q).find(meet))?;
        let refuted =
            Part::of(self.quantity(of)).is_some_and(|part| self.made(u, part) == Some(false));
        (!refuted).then_some(Link { of, tested: false })
    }
}

/// For outputs that are off, what they come from. `explained` says whether a mistake in the
/// formulas gives an output's numbers: such an output has its cause. `vague` are those whose cause
/// is only a kind of arithmetic: a test may give them a better one.
pub(super) fn links(
    units: &[Unit<'_>],
    off: &[usize],
    explained: &[bool],
    vague: &[bool],
) -> BTreeMap<usize, Link> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for u in off {
        groups.entry(config_of(&units[*u])).or_default().push(*u);
    }
    let mut all = BTreeMap::new();
    if groups.is_empty() {
        return all;
    }
    // numbers of one type do not judge those of another, where there are both
    let mut theirs = OfTypes::new();
    for u in units {
        if let Some(part) = Part::of(&u.entry.quantity)
            && let key = config_of(u)
            && groups.contains_key(&key)
        {
            theirs
                .entry((key, u.got.precision.name()))
                .or_default()
                .add(u, part, channels(u));
        }
    }
    for (key, off) in &groups {
        let family = Family {
            units,
            key,
            off,
            theirs: &theirs,
            explained,
            vague,
        };
        for &u in off.iter().filter(|u| !explained[**u]) {
            let link = family.tested(u);
            let link = link.or_else(|| if vague[u] { None } else { family.perhaps(u) });
            if let Some(link) = link {
                all.insert(u, link);
            }
        }
    }
    all
}

/// The first output of a chain of links. Links lead from a quantity to one that it is made from, so
/// that no chain comes back.
pub(super) fn root(links: &BTreeMap<usize, Link>, mut u: usize) -> usize {
    while let Some(link) = links.get(&u) {
        u = link.of;
    }
    u
}

/// What follows, counted by output.
pub(super) fn follows(units: &[Unit<'_>], list: &[(usize, Link)]) -> Vec<Follows> {
    let mut all: Vec<Follows> = Vec::new();
    for (u, link) in list {
        let output = units[*u].name();
        let from = quantity_name(&units[link.of].entry.quantity);
        match all
            .iter_mut()
            .find(|f| f.output == output && f.tested == link.tested && f.from == from)
        {
            Some(f) => f.count += 1,
            None => all.push(Follows {
                output,
                count: 1,
                from,
                tested: link.tested,
            }),
        }
    }
    all
}

fn quantity_name(name: &str) -> &'static str {
    crate::truth::predict::quantity(name).map_or("", |q| q.name)
}
