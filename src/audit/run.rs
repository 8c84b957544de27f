//! Runs the audit: whole, or one shard of its simulation.

use super::cases::{Case, cases};
use super::check::{Check, Part};
use super::claim::{Evidence, Method, Plant};
use super::simulation::{Group, Sums};
use super::stats::{p_kolmogorov, uniform_distance};
use super::{claims, noise_free, orders};
use crate::error::{Error, Result};
use crate::simulate::Scheme;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Portions into which each group's paths are cut: what shards and threads share out. Sums are merged in their order.
pub const PORTIONS: u64 = 16;

/// What to audit, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Paths of each group.
    pub paths: u64,
    /// Every scheme on every case; else Euler-Maruyama and the exact one, and splitting and SRA1 by turns.
    pub full: bool,
    /// Seed.
    pub seed: u64,
    /// Only claims whose id contains this.
    pub only: Option<String>,
    /// An error planted on purpose.
    pub plant: Option<Plant>,
}

impl Options {
    /// The default: 2^21 paths, enough to catch an error of 1% in any covariance entry.
    pub fn quick() -> Options {
        Options { paths: 1 << 21, full: false, seed: 0, only: None, plant: None }
    }

    /// Every scheme on every case, with four times as many paths.
    pub fn full() -> Options {
        Options { paths: 1 << 23, full: true, ..Options::quick() }
    }
}

/// The result: evidence for every claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Schema of the file.
    pub schema: String,
    /// Version of the crate.
    pub version: String,
    /// What was asked for.
    pub options: Options,
    /// Tests that share the false-alarm probability: those of the whole registry, whatever was asked for.
    pub tests: usize,
    /// The evidence.
    pub evidence: Vec<Evidence>,
    /// Kolmogorov's test of all p-values against the uniform law: its p-value, if there are any.
    pub uniform: Option<f64>,
    /// Whether every claim holds.
    pub holds: bool,
}

/// Part of the simulation, for merging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Schema of the file.
    pub schema: String,
    /// Version of the crate.
    pub version: String,
    /// What was asked for.
    pub options: Options,
    /// Which shard, from 1.
    pub shard: u64,
    /// Of how many.
    pub of: u64,
    /// Sums by group, portion and record.
    pub sums: BTreeMap<String, BTreeMap<u64, Vec<Sums>>>,
}

/// Schema of audits.
pub const AUDIT_SCHEMA: &str = "cld-audit/1";
/// Schema of shards.
pub const SHARD_SCHEMA: &str = "cld-audit-shard/1";

/// Every group of the audit.
fn groups(cases: &[Case], o: &Options) -> Result<Vec<Group>> {
    let mut all = vec![];
    for (i, case) in cases.iter().enumerate() {
        let by_turns = if i % 2 == 0 { Scheme::Splitting } else { Scheme::Sra1 };
        for scheme in [Scheme::Exact, Scheme::EulerMaruyama, Scheme::Splitting, Scheme::Sra1] {
            let always = matches!(scheme, Scheme::Exact | Scheme::EulerMaruyama);
            if o.full || always || scheme == by_turns {
                all.extend(Group::new(case, scheme, o.seed)?);
            }
        }
    }
    Ok(all)
}

fn wanted(o: &Options, id: &str) -> bool {
    o.only.as_ref().is_none_or(|p| id.contains(p.as_str()))
}

/// Whether a group has a claim that is asked for. Its ids are `case/.../simulation.scheme`.
fn group_wanted(o: &Options, g: &Group) -> bool {
    g.evidence(&[], 1, None).iter().any(|e| wanted(o, &e.claim.id))
}

/// The path numbers of a portion.
fn portion(paths: u64, p: u64) -> (u64, u64) {
    (paths * p / PORTIONS, paths * (p + 1) / PORTIONS)
}

/// Progress: how much is done of how much.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Sums of the portions that `mine` chooses, of every group that is asked for.
fn simulate(
    groups: &[Group],
    o: &Options,
    mine: impl Fn(u64) -> bool,
    progress: Progress<'_>,
) -> BTreeMap<String, BTreeMap<u64, Vec<Sums>>> {
    let tasks: Vec<(&Group, u64)> =
        groups.iter().filter(|g| group_wanted(o, g)).flat_map(|g| (0..PORTIONS).map(move |p| (g, p))).filter(|(_, p)| mine(*p)).collect();
    let (total, done) = (tasks.iter().map(|(g, _)| g.steps).sum::<usize>(), AtomicUsize::new(0));
    let parts: Vec<(String, u64, Vec<Sums>)> = tasks
        .into_par_iter()
        .map(|(g, p)| {
            let (from, to) = portion(o.paths, p);
            let sums = g.sums(from, to);
            progress(done.fetch_add(g.steps, Ordering::Relaxed) + g.steps, total);
            (g.name.clone(), p, sums)
        })
        .collect();
    let mut all: BTreeMap<String, BTreeMap<u64, Vec<Sums>>> = BTreeMap::new();
    for (name, p, sums) in parts {
        all.entry(name).or_default().insert(p, sums);
    }
    all
}

/// Simulated sums of a whole audit: they do not depend on what is planted.
pub struct Simulated {
    groups: Vec<Group>,
    free: Vec<Free>,
    checks: Vec<(String, Vec<Check>)>,
    sums: BTreeMap<String, Vec<Sums>>,
    tests: usize,
}

/// What was computed for a case without noise.
struct Free {
    case: String,
    prepared: Vec<noise_free::Prepared>,
    orders: Vec<orders::Measured>,
}

/// Whether the pattern can fit a claim of method `m`: one that names a method, as ids do, needs no other.
fn asked(o: &Options, m: Method) -> bool {
    let names = |p: &str, x: Method| p == x.name() || p.contains(&format!("/{}", x.name()));
    // `order` is also the beginning of a process's name
    let named = |p: &str| Method::ALL.iter().any(|x| names(p, *x)) && p != Method::Order.name();
    o.only.as_ref().is_none_or(|p| names(p, m) || !named(p))
}

/// What stands before a pattern's first slash: it must end a case's name.
fn before(o: &Options) -> &str {
    o.only.as_deref().and_then(|p| p.split_once('/')).map_or("", |(case, _)| case)
}

/// Computes the parts that are asked for, on all threads.
fn compute_parts(parts: &[Part], o: &Options) -> Result<Vec<(String, Vec<Check>)>> {
    if !Method::ALL[2..].iter().any(|m| *m != Method::Simulation && asked(o, *m)) {
        return Ok(vec![]);
    }
    let chosen: Vec<&Part> = parts.iter().filter(|p| p.case.ends_with(before(o))).collect();
    chosen.into_par_iter().map(|p| Ok((p.case.clone(), (p.run)(o.seed)?))).collect()
}

/// Computes what is asked for without noise, on all threads.
fn compute(cases: &[Case], o: &Options) -> Result<Vec<Free>> {
    let asked = |m: Method| asked(o, m);
    let one = |case: &Case| -> Result<Free> {
        let mut prepared = vec![];
        if asked(Method::Doubling) {
            prepared.push(noise_free::doubling(case)?);
        }
        if asked(Method::Moments) {
            prepared.push(noise_free::moments(case)?);
        }
        let orders = if asked(Method::Order) { orders::orders(case)? } else { vec![] };
        Ok(Free { case: case.name.clone(), prepared, orders })
    };
    cases.par_iter().filter(|c| c.name.ends_with(before(o))).map(one).collect()
}

impl Simulated {
    /// Simulates.
    ///
    /// # Errors
    /// Fewer than 16000 paths.
    pub fn new(o: &Options, progress: Progress<'_>) -> Result<Simulated> {
        let Work { cases, groups, parts, tests } = prepare(o)?;
        let sums = merged(&simulate(&groups, o, |_| true, progress));
        Ok(Simulated { groups, free: compute(&cases, o)?, checks: compute_parts(&parts, o)?, sums, tests })
    }

    /// Evidence for the claims of the cases that `choose` chooses.
    fn evidence(&self, choose: impl Fn(&str) -> bool, plant: Option<&Plant>) -> Vec<Evidence> {
        let mut all = vec![];
        for f in self.free.iter().filter(|f| choose(&f.case)) {
            all.extend(f.prepared.iter().flat_map(|p| p.evidence(plant)));
            all.extend(f.orders.iter().map(|m| orders::evidence(m, plant)));
        }
        for (_, checks) in self.checks.iter().filter(|(case, _)| choose(case)) {
            all.extend(checks.iter().map(|c| c.evidence(self.tests, plant)));
        }
        for g in self.groups.iter().filter(|g| choose(g.case())) {
            if let Some(sums) = self.sums.get(&g.name) {
                all.extend(g.evidence(sums, self.tests, plant));
            }
        }
        all
    }

    /// Ids of the claims that do not hold with this error planted, among those of the same case: the planted claim, and
    /// nothing else, if all is as it should be.
    pub fn blamed(&self, plant: &Plant) -> Vec<String> {
        let case = plant.id.split('/').next().unwrap_or("");
        self.evidence(|c| c == case, Some(plant)).into_iter().filter(|e| !e.holds).map(|e| e.claim.id).collect()
    }

    /// Judges, with or without a planted error.
    ///
    /// # Errors
    /// A plant whose id is no claim's.
    pub fn judge(&self, o: &Options) -> Result<Audit> {
        let plant = o.plant.as_ref();
        let mut evidence = self.evidence(|_| true, plant);
        evidence.retain(|e| wanted(o, &e.claim.id));
        evidence.sort_by(|a, b| a.claim.id.cmp(&b.claim.id));
        if let Some(p) = plant
            && !evidence.iter().any(|e| e.claim.id == p.id)
        {
            return Err(Error::parameter("plant", format!("`{}`", p.id), "the id of a claim that is run (`cld audit --list` prints them)"));
        }
        if evidence.is_empty() {
            let only = o.only.clone().unwrap_or_default();
            return Err(Error::parameter("only", format!("`{only}`"), "a part of a claim's id (`cld audit --list` prints them)"));
        }
        let p: Vec<f64> = evidence.iter().flat_map(|e| e.p.iter().copied()).collect();
        let uniform = (!p.is_empty()).then(|| p_kolmogorov(uniform_distance(&p), p.len()));
        let holds = evidence.iter().all(|e| e.holds);
        Ok(Audit {
            schema: AUDIT_SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            options: o.clone(),
            tests: self.tests,
            evidence,
            uniform,
            holds,
        })
    }
}

/// What there is to audit, before anything runs.
struct Work {
    cases: Vec<Case>,
    groups: Vec<Group>,
    parts: Vec<Part>,
    tests: usize,
}

fn prepare(o: &Options) -> Result<Work> {
    if !(16_000..=1 << 40).contains(&o.paths) {
        return Err(Error::parameter("paths", o.paths, "16000 to 2^40 (the laws of the statistics need some)"));
    }
    let cases = cases()?;
    let groups = groups(&cases, o)?;
    let parts = claims::parts()?;
    let tests = groups.iter().map(Group::tests).sum::<usize>() + parts.iter().map(|p| p.tests).sum::<usize>();
    Ok(Work { cases, groups, parts, tests })
}

/// Sums of all portions, merged in their order.
fn merged(parts: &BTreeMap<String, BTreeMap<u64, Vec<Sums>>>) -> BTreeMap<String, Vec<Sums>> {
    let merge = |portions: &BTreeMap<u64, Vec<Sums>>| {
        let mut all = portions.values();
        let mut total = all.next().cloned().unwrap_or_default();
        for part in all {
            total.iter_mut().zip(part).for_each(|(t, p)| *t = t.merge(p));
        }
        total
    };
    parts.iter().map(|(name, portions)| (name.clone(), merge(portions))).collect()
}

/// The whole audit.
///
/// # Errors
/// Options out of range, an id or pattern that fits no claim.
pub fn audit(o: &Options, progress: Progress<'_>) -> Result<Audit> {
    Simulated::new(o, progress)?.judge(o)
}

/// Ids of all claims that `o` asks for, without simulating paths.
///
/// # Errors
/// As [`audit`].
pub fn list(o: &Options) -> Result<Vec<String>> {
    let Work { cases, groups, parts, .. } = prepare(o)?;
    let mut ids: Vec<String> = groups.iter().flat_map(|g| g.evidence(&[], 1, None)).map(|e| e.claim.id).collect();
    for f in compute(&cases, o)? {
        ids.extend(f.prepared.iter().flat_map(|p| p.evidence(None)).map(|e| e.claim.id));
        ids.extend(f.orders.iter().map(|m| orders::evidence(m, None).claim.id));
    }
    ids.extend(compute_parts(&parts, o)?.iter().flat_map(|(_, c)| c).map(|c| c.id().to_string()));
    ids.retain(|id| wanted(o, id));
    ids.sort();
    Ok(ids)
}

/// Shard `shard` (from 1) of `of`: its portions of the simulation.
///
/// # Errors
/// A shard that is not in 1..=of, or more shards than portions.
pub fn shard(o: &Options, shard: u64, of: u64, progress: Progress<'_>) -> Result<Shard> {
    if !(1..=PORTIONS).contains(&of) || !(1..=of).contains(&shard) {
        return Err(Error::parameter("shard", format!("{shard}/{of}"), format!("I/N with 1 <= I <= N <= {PORTIONS}")));
    }
    let groups = prepare(o)?.groups;
    let sums = simulate(&groups, o, |p| p % of == shard - 1, progress);
    Ok(Shard { schema: SHARD_SCHEMA.into(), version: env!("CARGO_PKG_VERSION").into(), options: o.clone(), shard, of, sums })
}

/// The audit that the shards make together: bit for bit that of [`audit`] with the same options.
///
/// # Errors
/// Shards of different runs, a shard twice, or one missing.
pub fn merge(shards: &[Shard]) -> Result<Audit> {
    let bad = |found: String, allowed: &'static str| Err(Error::parameter("shards", found, allowed));
    let Some(first) = shards.first() else { return bad("none".into(), "at least one file") };
    let mut parts: BTreeMap<String, BTreeMap<u64, Vec<Sums>>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for s in shards {
        if s.schema != SHARD_SCHEMA || s.version != first.version || s.options != first.options || s.of != first.of {
            return bad(
                format!("shard {}/{} of another run", s.shard, s.of),
                "shards of one run: the same version, options and number of shards",
            );
        }
        if !seen.insert(s.shard) {
            return bad(format!("shard {}/{} twice", s.shard, s.of), "each shard once");
        }
        for (name, portions) in &s.sums {
            parts.entry(name.clone()).or_default().extend(portions.iter().map(|(p, v)| (*p, v.clone())));
        }
    }
    if let Some(missing) = (1..=first.of).find(|i| !seen.contains(i)) {
        return bad(format!("shard {missing}/{} is missing", first.of), "all shards of the run");
    }
    let o = &first.options;
    let Work { cases, groups, parts: rest, tests } = prepare(o)?;
    for g in groups.iter().filter(|g| group_wanted(o, g)) {
        let complete = parts.get(&g.name).is_some_and(|p| (0..PORTIONS).all(|i| p.contains_key(&i)));
        if !complete {
            return bad(format!("{} is incomplete", g.name), "shards whose sums are whole");
        }
    }
    Simulated { groups, free: compute(&cases, o)?, checks: compute_parts(&rest, o)?, sums: merged(&parts), tests }.judge(o)
}
