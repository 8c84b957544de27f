//! What all records of a run say: figures over seeds, and the verdict on each claim.

use super::experiment::{Claim, Side};
use super::measure::figure;
use super::plan::Plan;
use super::record::Record;
use super::verdict::{Judged, Verdict, judge};
use super::work::Shop;
use crate::error::Result;
use crate::metrics::Estimate;
use std::collections::{BTreeMap, BTreeSet};

/// A figure of an arm over seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// By seed; `None` where there is no number.
    pub by_seed: BTreeMap<u64, Option<f64>>,
    /// Why there is none.
    pub problem: Option<String>,
}

impl Values {
    /// Mean over seeds and its standard error (NaN of one seed); none if a seed has no number, or
    /// there is no seed.
    pub fn mean(&self) -> Option<Estimate> {
        let all: Option<Vec<f64>> = self.by_seed.values().copied().collect();
        let all = all.filter(|a| !a.is_empty())?;
        Some(Estimate {
            error: if all.len() > 1 {
                Estimate::of(&all).error
            } else {
                f64::NAN
            },
            ..Estimate::of(&all)
        })
    }
}

/// Name of what figures are of: experiment, data, arm.
pub type Place = [String; 3];

/// A claim with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The claim.
    pub claim: Claim,
    /// Means of the two sides.
    pub sides: [Option<Estimate>; 2],
    /// The verdict on the differences.
    pub judged: Judged,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The run.
    pub plan: Plan,
    /// Figures by place and name.
    pub values: BTreeMap<Place, BTreeMap<String, Values>>,
    /// Rows and columns of a measure at a place, in the order in which they were found.
    pub layout: BTreeMap<(Place, String), (Vec<String>, Vec<String>)>,
    /// Claims, in order.
    pub found: Vec<Found>,
    /// Jobs that are done.
    pub done: usize,
    /// Seconds of training and of measuring.
    pub seconds: (f64, f64),
    /// Processors.
    pub cpus: BTreeSet<String>,
    /// Versions of the program.
    pub versions: BTreeSet<String>,
}

/// Puts a word at the end, unless it is there.
pub(super) fn push_new(list: &mut Vec<String>, word: &str) {
    if !list.iter().any(|l| l == word) {
        list.push(word.into());
    }
}

impl Findings {
    /// Reads the records of a plan from one or several folders: of a job that several have, the
    /// one with most measures counts.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn of(plan: Plan, shops: &[Shop<'_>]) -> Result<Findings> {
        let mut f = Findings {
            plan,
            values: BTreeMap::new(),
            layout: BTreeMap::new(),
            found: vec![],
            done: 0,
            seconds: (0.0, 0.0),
            cpus: BTreeSet::new(),
            versions: BTreeSet::new(),
        };
        let jobs = f.plan.jobs.clone();
        let mut trained = BTreeSet::new();
        for job in &jobs {
            let mut best: Option<Record> = None;
            for shop in shops {
                let record = shop.record(job)?;
                if best
                    .as_ref()
                    .is_none_or(|b| b.measures.len() < record.measures.len())
                {
                    best = Some(record);
                }
            }
            let Some(record) = best.filter(|r| !r.measures.is_empty()) else {
                continue;
            };
            if trained.insert(job.training_name()?) {
                f.seconds.0 += record.training;
            }
            f.cpus.insert(record.cpu.clone());
            f.versions.insert(record.version.clone());
            f.done += usize::from(job.measures.iter().all(|m| record.has(m)));
            f.add(&record);
        }
        let claims = f.plan.claims();
        for e in &f.plan.experiments {
            for claim in &e.claims {
                f.found.push(f.judged(&e.id, claim, claims));
            }
        }
        Ok(f)
    }

    fn add(&mut self, record: &Record) {
        let place = [
            record.experiment.clone(),
            record.on.clone(),
            record.arm.clone(),
        ];
        for m in &record.measures {
            self.seconds.1 += m.seconds;
            let (rows, columns) = self
                .layout
                .entry((place.clone(), m.name.clone()))
                .or_default();
            for g in &m.figures {
                push_new(rows, &g.row);
                push_new(columns, &g.column);
                let values = self.values.entry(place.clone()).or_default();
                let v = values
                    .entry(figure(&m.name, &g.row, &g.column))
                    .or_default();
                v.by_seed.insert(record.seed, g.value);
                if v.problem.is_none() {
                    v.problem.clone_from(&g.problem);
                }
            }
        }
    }

    /// A figure over seeds.
    pub fn get(&self, experiment: &str, on: &str, arm: &str, figure: &str) -> Option<&Values> {
        let place = [experiment, on, arm].map(String::from);
        self.values.get(&place)?.get(figure)
    }

    fn judged(&self, experiment: &str, claim: &Claim, claims: usize) -> Found {
        let values = |side: &Side| match side {
            Side::Figure { arm, figure } => self.get(experiment, &claim.on, arm, figure).cloned(),
            Side::Number(_) => None,
        };
        let (a, b) = (values(&claim.a), values(&claim.b));
        let number = |side: &Side, v: &Option<Values>, seed: u64| match side {
            Side::Number(x) => Some(Some(*x)),
            Side::Figure { .. } => v.as_ref()?.by_seed.get(&seed).copied(),
        };
        let scale = |x: Option<f64>| {
            let x = x.unwrap_or(f64::NAN);
            if claim.ratio { x.ln() } else { x }
        };
        let seeds: BTreeSet<u64> = [&a, &b]
            .into_iter()
            .flatten()
            .flat_map(|v| v.by_seed.keys().copied())
            .collect();
        // seeds that only one side has so far are left out; one without a number is not
        let differences: Vec<f64> = seeds
            .iter()
            .filter_map(|s| Some((number(&claim.a, &a, *s)?, number(&claim.b, &b, *s)?)))
            .map(|(a, b)| scale(a) - scale(b))
            .collect();
        let mut judged = judge(&differences, claim.relation, claims);
        if self.plan.scale < 1.0 && judged.verdict != Verdict::Missing {
            // other nets than the claim is about
            judged.verdict = Verdict::Open { seeds: None };
        }
        Found {
            claim: claim.clone(),
            sides: [a.and_then(|v| v.mean()), b.and_then(|v| v.mean())],
            judged,
        }
    }
}
