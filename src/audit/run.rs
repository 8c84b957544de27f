//! Runs the audit: what there is to do is data; then tasks on all threads; then verdicts.

use super::cases::cases;
use super::check::{Check, Part, complete};
use super::claim::{Claim, Evidence, Plant, process};
use super::made::Made;
use super::options::{Options, PORTIONS, Portions, portion};
use super::plants::{Planted, Plants, check_size};
use super::shards::{Shard, Whole};
use super::simulation::{Group, Planned, Sums};
use super::stats::{in_words, p_kolmogorov, uniform_distance};
use super::{claims, noise_free, orders};
use crate::error::{Error, Result, shown};
use crate::simulate::Scheme;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The result: evidence for every claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Schema of the file.
    pub schema: String,
    /// Version of the crate.
    pub version: String,
    /// What was asked for.
    pub options: Options,
    /// Tests that share the false-alarm probability: those of the whole registry, whatever was
    /// asked for.
    pub tests: usize,
    /// The evidence.
    pub evidence: Vec<Evidence>,
    /// Kolmogorov's test of all p-values against the uniform law: its p-value, if there are any.
    pub uniform: Option<f64>,
    /// Whether every claim holds.
    pub holds: bool,
    /// What became of an error planted in every claim, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planted: Option<Plants>,
    /// How it was made: the only part that another run with the same seed has otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// Schema of audits.
pub const AUDIT_SCHEMA: &str = "cld-audit/1";

/// Progress: how much is done of how much.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What there is to audit, before anything runs: claims as data. Groups and parts are those that
/// are asked for.
pub(super) struct Work {
    pub planned: Vec<Planned>,
    parts: Vec<Part>,
    /// Tests of the whole registry, whatever is asked for.
    tests: usize,
}

fn wanted(o: &Options, claims: &[Claim]) -> bool {
    claims.iter().any(|c| asked(o, c))
}

/// Whether a claim is asked for: by a part of its id that begins a word of it or by its formula's
/// id; after `formula=` by the latter alone (some ids of formulas are parts of other claims' ids);
/// after `case=` by the first word of its id.
fn asked(o: &Options, c: &Claim) -> bool {
    o.only.as_ref().is_none_or(
        |p| match (p.strip_prefix("formula="), p.strip_prefix("case=")) {
            (Some(formula), _) => c.formula == formula,
            (_, Some(case)) => process(&c.id) == case,
            _ => c.formula == *p || has_word(&c.id, p),
        },
    )
}

/// Whether `part` is in `id` and begins where a word does: so `vp.` is not in `sub-vp.linear`.
fn has_word(id: &str, part: &str) -> bool {
    let begins = |at: usize| at == 0 || id[..at].ends_with(['.', '/']);
    // a part that begins with the separator stands wherever it is
    id.match_indices(part)
        .any(|(at, _)| begins(at) || part.starts_with(['.', '/', '-']))
}

impl Work {
    /// What is simulated, its noise from `seed`.
    fn groups(&self, seed: u64) -> Result<Vec<Group>> {
        self.planned.iter().map(|p| p.group(seed)).collect()
    }

    /// The work that `o` asks for.
    ///
    /// # Errors
    /// Options out of range, a pattern or an id that fits no claim.
    pub fn new(o: &Options) -> Result<Work> {
        if !(16_000..=1 << 40).contains(&o.paths) {
            return Err(Error::parameter(
                "paths",
                o.paths,
                "16000 to 2^40 (the laws of the statistics need some)",
            ));
        }
        let cases = cases()?;
        let (mut planned, mut parts) = (vec![], vec![]);
        for (i, case) in cases.iter().enumerate() {
            parts.push(noise_free::doubling(case)?);
            parts.push(noise_free::moments(case)?);
            parts.extend(orders::orders(case)?);
            let by_turns = if i % 2 == 0 {
                Scheme::Splitting
            } else {
                Scheme::Sra1
            };
            for scheme in [
                Scheme::Exact,
                Scheme::EulerMaruyama,
                Scheme::Splitting,
                Scheme::Sra1,
            ] {
                let always = matches!(scheme, Scheme::Exact | Scheme::EulerMaruyama);
                if o.full || always || scheme == by_turns {
                    planned.extend(Planned::new(case, scheme)?);
                }
            }
        }
        parts.extend(claims::parts()?);
        let tests = planned.iter().map(Planned::tests).sum::<usize>()
            + parts.iter().map(|p| p.tests).sum::<usize>();
        planned.retain(|p| wanted(o, &p.claims));
        parts.retain(|p| wanted(o, &p.claims));
        let work = Work {
            planned,
            parts,
            tests,
        };
        if o.only.as_ref().is_some_and(String::is_empty) || work.claims().next().is_none() {
            let only = shown(o.only.as_deref().unwrap_or_default());
            return Err(Error::parameter(
                "only",
                format!("`{only}`"),
                "a part of a claim's id (`cld audit --list` prints them), or a formula's id",
            ));
        }
        work.knows(o)?;
        Ok(work)
    }

    /// Refuses an error that is planted where nothing would meet it.
    fn knows(&self, o: &Options) -> Result<()> {
        match &o.plant {
            Some(p) if !self.claims().any(|c| c.id == p.id && asked(o, c)) => {
                let allowed = "the id of a claim that is run (`cld audit --list` prints them)";
                Err(Error::parameter(
                    "plant",
                    format!("`{}`", shown(&p.id)),
                    allowed,
                ))
            }
            Some(p) if !p.size.is_finite() => {
                Err(Error::parameter("plant", p.size, "a finite relative size"))
            }
            _ => Ok(()),
        }
    }

    /// The claims of what is asked for, and those that are computed with them.
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.planned
            .iter()
            .flat_map(|p| &p.claims)
            .chain(self.parts.iter().flat_map(|p| &p.claims))
    }
}

/// The claims that `o` asks for, by id; nothing is computed.
///
/// # Errors
/// As [`audit`].
pub fn list(o: &Options) -> Result<Vec<Claim>> {
    let work = Work::new(o)?;
    let mut all: Vec<Claim> = work.claims().filter(|c| asked(o, c)).cloned().collect();
    all.iter_mut()
        .filter(|c| c.method.is_sampled())
        .for_each(|c| c.tolerance = in_words(work.tests));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// Something to compute, on one thread.
enum Task<'a> {
    Paths(&'a Group, u64),
    Part(&'a Part),
}

enum Done {
    Paths(String, u64, Vec<Sums>),
    Part(String, Vec<Check>),
}

/// Work of a part without paths, in steps of paths: half a second; it only serves the display of
/// progress.
const PART: u64 = 100_000_000;

impl Task<'_> {
    fn work(&self, o: &Options) -> u64 {
        match self {
            Task::Paths(g, _) => g.steps as u64 * (o.paths / PORTIONS),
            Task::Part(_) => PART,
        }
    }

    fn run(&self, o: &Options) -> Result<Done> {
        match self {
            Task::Paths(g, p) => {
                let (from, to) = portion(o.paths, *p);
                Ok(Done::Paths(g.name.clone(), *p, g.sums(from, to)))
            }
            Task::Part(p) => Ok(Done::Part(p.case.clone(), p.checks(o.seed)?)),
        }
    }
}

/// Checks by case.
type Checks = Vec<(String, Vec<Check>)>;

/// Does the tasks on all threads; what comes out does not depend on how they are shared out.
fn work_off(
    tasks: Vec<Task<'_>>,
    o: &Options,
    progress: Progress<'_>,
) -> Result<(Portions, Checks)> {
    let total = tasks.iter().map(|t| t.work(o)).sum();
    let done = AtomicU64::new(0);
    progress(0, total);
    let one = |task: Task<'_>| {
        let found = task.run(o)?;
        let work = task.work(o);
        progress(done.fetch_add(work, Ordering::Relaxed) + work, total);
        Ok(found)
    };
    let all = tasks
        .into_par_iter()
        .map(one)
        .collect::<Result<Vec<Done>>>()?;
    let (mut sums, mut checks) = (Portions::new(), Checks::new());
    for found in all {
        match found {
            Done::Paths(name, p, s) => {
                sums.entry(name).or_default().insert(p, s);
            }
            Done::Part(case, c) => checks.push((case, c)),
        }
    }
    Ok((sums, checks))
}

/// Everything that is computed for an audit: it does not depend on what is planted.
pub struct Simulated {
    work: Work,
    groups: Vec<Group>,
    checks: Checks,
    sums: BTreeMap<String, Vec<Sums>>,
}

impl Simulated {
    /// Computes.
    ///
    /// # Errors
    /// As [`audit`].
    pub fn new(o: &Options, progress: Progress<'_>) -> Result<Simulated> {
        progress(0, 1);
        let work = Work::new(o)?;
        let groups = work.groups(o.seed)?;
        let mut tasks: Vec<Task<'_>> = work.parts.iter().map(Task::Part).collect();
        tasks.extend(
            groups
                .iter()
                .flat_map(|g| (0..PORTIONS).map(move |p| Task::Paths(g, p))),
        );
        let (sums, checks) = work_off(tasks, o, progress)?;
        let sums = merged(&Whole::new(sums, &groups, o)?)?;
        Ok(Simulated {
            work,
            groups,
            checks,
            sums,
        })
    }

    /// Evidence for the claims of the cases that `choose` chooses.
    fn evidence(
        &self,
        choose: impl Fn(&str) -> bool,
        plant: Option<&Plant>,
    ) -> Result<Vec<Evidence>> {
        let mut all = vec![];
        for (_, checks) in self.checks.iter().filter(|(case, _)| choose(case)) {
            for check in checks {
                all.push(check.evidence(self.work.tests, plant)?);
            }
        }
        for g in self.groups.iter().filter(|g| choose(g.case())) {
            let none = || Error::Degenerate {
                what: format!("evidence for {}", g.name).into(),
                why: "its paths were not simulated".into(),
            };
            all.extend(g.evidence(
                self.sums.get(&g.name).ok_or_else(none)?,
                self.work.tests,
                plant,
            )?);
        }
        Ok(all)
    }

    /// Ids of the claims that do not hold with this error planted, among those of the same case:
    /// the planted claim, and nothing else, if all is as it should be.
    ///
    /// # Errors
    /// A claim without evidence.
    pub fn blamed(&self, plant: &Plant) -> Result<Vec<String>> {
        let case = plant.id.split('/').next().unwrap_or("");
        let all = self.evidence(|c| c == case, Some(plant))?;
        Ok(all
            .into_iter()
            .filter(|e| !e.holds())
            .map(|e| e.claim.id)
            .collect())
    }

    /// Judges, with or without a planted error.
    ///
    /// # Errors
    /// A plant whose id is no claim's; a claim without evidence, evidence without a claim.
    pub fn judge(&self, o: &Options) -> Result<Audit> {
        self.work.knows(o)?;
        let mut evidence = self.evidence(|_| true, o.plant.as_ref())?;
        let all: Vec<Claim> = self.work.claims().cloned().collect();
        let amiss = |why| Error::Degenerate {
            what: "evidence for every claim".into(),
            why,
        };
        complete(&all, evidence.iter().map(|e| e.claim.id.as_str())).map_err(amiss)?;
        evidence.retain(|e| asked(o, &e.claim));
        evidence.sort_by(|a, b| a.claim.id.cmp(&b.claim.id));
        if evidence.is_empty() {
            return Err(amiss("nothing is asked for".into()));
        }
        let p: Vec<f64> = evidence
            .iter()
            .flat_map(|e| e.p().iter().copied())
            .collect();
        let uniform = (!p.is_empty()).then(|| p_kolmogorov(uniform_distance(&p), p.len()));
        let holds = evidence.iter().all(Evidence::holds);
        Ok(Audit {
            schema: AUDIT_SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            options: o.clone(),
            tests: self.work.tests,
            evidence,
            uniform,
            holds,
            planted: None,
            made: None,
        })
    }
}

impl Simulated {
    /// Plants an error in every claim that `o` asks for, one after the other, and judges it: of
    /// relative size `size`, or of the size that the claim says it catches. Nothing is planted in a
    /// claim that is off already; it is named.
    ///
    /// # Errors
    /// A size that is not finite and above 0; no claim that is not off already.
    pub fn plant_all(
        &self,
        o: &Options,
        size: Option<f64>,
        progress: Progress<'_>,
    ) -> Result<Plants> {
        check_size(size)?;
        let tests = self.work.tests;
        let checks: Vec<&Check> = self
            .checks
            .iter()
            .flat_map(|(_, c)| c)
            .filter(|c| asked(o, c.claim()))
            .collect();
        let claims = self
            .groups
            .iter()
            .flat_map(|g| g.claims().map(move |c| (g, c)));
        let simulated: Vec<_> = claims.filter(|(_, c)| asked(o, c)).collect();
        let (done, total) = (AtomicU64::new(0), (checks.len() + simulated.len()) as u64);
        let one = |claim: &Claim, judge: &(dyn Fn(Option<&Plant>) -> Result<Evidence> + Sync)| {
            let found = Planted::new(claim, size, |s| judge(Plant::of(claim, s).as_ref()))?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(found.ok_or_else(|| claim.id.clone()))
        };
        type Tried = std::result::Result<Planted, String>;
        let mut all: Vec<Tried> = checks
            .par_iter()
            .map(|c| one(c.claim(), &|p| c.evidence(tests, p)))
            .collect::<Result<_>>()?;
        let of_group = |(g, claim): &(&Group, &Claim)| {
            let sums = self.sums.get(&g.name).map_or(&[][..], Vec::as_slice);
            one(claim, &|p| g.one(&claim.id, sums, tests, p))
        };
        all.extend(
            simulated
                .par_iter()
                .map(of_group)
                .collect::<Result<Vec<_>>>()?,
        );
        let (mut claims, mut off) = (vec![], vec![]);
        for tried in all {
            match tried {
                Ok(p) => claims.push(p),
                Err(id) => off.push(id),
            }
        }
        Plants::new(size, claims, off)
    }
}

/// The whole audit, and an error planted in every claim that is not off already.
///
/// # Errors
/// As [`audit`]; a planted error beside these, a size that is not finite and above 0.
pub fn audit_and_plant(o: &Options, size: Option<f64>, progress: Progress<'_>) -> Result<Audit> {
    check_size(size)?;
    if let Some(p) = &o.plant {
        return Err(Error::parameter(
            "plant",
            format!("`{}`", shown(&p.id)),
            "none where an error is planted in every claim",
        ));
    }
    // judging is shown as the last tenth of all
    let computed = AtomicU64::new(1);
    let simulated = Simulated::new(o, &|done, total| {
        computed.store(total, Ordering::Relaxed);
        progress(done, total + total / 9);
    })?;
    let mut found = simulated.judge(o)?;
    if found.evidence.iter().any(|e| e.holds() || e.is_blind()) {
        let work = computed.into_inner();
        let rest = work / 9;
        let judging = |done: u64, total: u64| {
            progress(
                work + (rest as f64 * done as f64 / total as f64) as u64,
                work + rest,
            )
        };
        found.planted = Some(simulated.plant_all(o, size, &judging)?);
    }
    Ok(found)
}

/// Sums of all portions, merged in their order.
fn merged(whole: &Whole) -> Result<BTreeMap<String, Vec<Sums>>> {
    let merge = |portions: &[Vec<Sums>]| {
        let mut total = portions[0].clone();
        for part in &portions[1..] {
            total = total
                .iter()
                .zip(part)
                .map(|(t, p)| t.merge(p))
                .collect::<Result<_>>()?;
        }
        Ok(total)
    };
    whole
        .groups()
        .iter()
        .map(|(name, portions)| Ok((name.clone(), merge(portions)?)))
        .collect()
}

/// The whole audit.
///
/// # Errors
/// Options out of range, an id or pattern that fits no claim; a claim without evidence.
pub fn audit(o: &Options, progress: Progress<'_>) -> Result<Audit> {
    Simulated::new(o, progress)?.judge(o)
}

/// Shard `shard` (from 1) of `of`: its portions of the simulation.
///
/// # Errors
/// A shard that is not in 1..=of, or more shards than portions; a pattern that fits no simulation.
pub fn shard(o: &Options, shard: u64, of: u64, progress: Progress<'_>) -> Result<Shard> {
    if !(1..=PORTIONS).contains(&of) || !(1..=of).contains(&shard) {
        return Err(Error::parameter(
            "shard",
            format!("{shard}/{of}"),
            format!("I/N with 1 <= I <= N <= {PORTIONS}"),
        ));
    }
    let groups = Work::new(o)?
        .planned
        .iter()
        .map(|p| p.group(o.seed))
        .collect::<Result<Vec<_>>>()?;
    if groups.is_empty() {
        let only = shown(o.only.as_deref().unwrap_or_default());
        let allowed = "with --shard a part of the id of a claim by simulation: the others are computed by `cld audit merge`";
        return Err(Error::parameter("only", format!("`{only}`"), allowed));
    }
    let mine = (0..PORTIONS).filter(|p| p % of == shard - 1);
    let tasks = mine
        .flat_map(|p| groups.iter().map(move |g| Task::Paths(g, p)))
        .collect();
    let (sums, _) = work_off(tasks, o, progress)?;
    Shard::new(o.clone(), shard, of, sums)
}

/// The audit that the shards make together: bit for bit that of [`audit`] with the same options.
///
/// # Errors
/// Shards of different runs, a shard twice, or one missing; one whose sums are not those of its
/// portions.
pub fn merge(shards: &[Shard], progress: Progress<'_>) -> Result<Audit> {
    progress(0, 1);
    let o = Shard::options_of_all(shards)?;
    let work = Work::new(o)?;
    let groups = work.groups(o.seed)?;
    let sums = merged(&Whole::of_shards(shards, &groups)?)?;
    let (_, checks) = work_off(work.parts.iter().map(Task::Part).collect(), o, progress)?;
    Simulated {
        work,
        groups,
        checks,
        sums,
    }
    .judge(o)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::claim::Method;

    /// Catches a pattern that takes another process's claims whose name ends alike, and one that
    /// must stand at the start.
    #[test]
    fn patterns_begin_words() {
        for (part, yes, no) in [
            (
                "vp.",
                "vp.linear/mean.x/doubling",
                "sub-vp.linear/mean.x/doubling",
            ),
            (
                "cld.hsm",
                "cld.hsm.linear/ell/moments",
                "cld.dsm.linear/ell/moments",
            ),
            (
                "mean.x/",
                "vp.linear/mean.x/doubling",
                "vp.linear/cov.xx/doubling",
            ),
            (
                "em",
                "cld.dsm.linear/cov/simulation.em",
                "cld.dsm.linear/mem/x",
            ),
            (
                "/law",
                "sampler.em.cld/run.mean.x/law",
                "sampler.em.cld/run.x/order",
            ),
        ] {
            assert!(has_word(yes, part) && !has_word(no, part), "{part}");
        }
        assert!(!has_word("", "x"));
        let claim = |id: &str| Claim::new(id, "kernel.mean", Method::Law, String::new(), "");
        let takes = |only: &str, id: &str| {
            let o = Options {
                only: Some(only.into()),
                ..Options::quick()
            };
            asked(&o, &claim(id))
        };
        assert!(takes("case=vp", "vp.linear/mean.x") && takes("formula=kernel.mean", "x/y"));
        assert!(!takes("case=vp", "limits.vp/mean.x") && !takes("case=vp", "sub-vp.linear/mean.x"));
        assert!(!takes("formula=mean", "x/mean") && takes("kernel.mean", "x/y"));
    }

    /// Catches work that nobody asked for, a pattern of nothing that is run, and progress that is
    /// not of the work: every path's steps count.
    #[test]
    fn work_is_what_is_asked_for() {
        let mut o = Options {
            paths: 16_000,
            only: Some("cld-heavy.dsm.constant/cov.vv/simulation.exact".into()),
            ..Options::quick()
        };
        let work = Work::new(&o).unwrap();
        assert_eq!((work.planned.len(), work.parts.len()), (1, 0));
        let steps = work.groups(0).unwrap()[0].steps as u64;
        let seen = std::sync::Mutex::new(vec![]);
        audit(&o, &|done, total| seen.lock().unwrap().push((done, total))).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        let total = steps * 16_000;
        assert_eq!(seen.last(), Some(&(total, total)));
        assert_eq!(seen.iter().filter(|s| s.1 == total).count(), 17);
        o.only = Some("nonsense".into());
        assert!(
            Work::new(&o)
                .err()
                .unwrap()
                .to_string()
                .contains("`nonsense`")
        );
        o.paths = 15_999;
        assert!(Work::new(&o).err().unwrap().to_string().contains("paths"));
    }
}
