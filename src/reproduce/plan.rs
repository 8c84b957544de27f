//! Jobs: which arms on which data with which seeds, at which size, in which order.
//!
//! Seeds are outermost: after the first pass there is one figure of everything, and every further
//! pass adds a seed. Jobs that are trained in the same way share the training, across experiments.

use super::experiment::{Arm, Experiment, On};
use super::measure::{Kind, Measure};
use crate::data::files::sources;
use crate::error::{Error, Result};
use crate::files::{Limits, read_text};
use crate::train::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Share of a budget that is planned for: the rest is for what takes longer than thought.
const PLANNED: f64 = 0.8;

/// Smallest size of training and samples.
const SMALLEST: f64 = 0.005;

/// Fewest steps of training that is shortened.
const FEWEST: u64 = 20;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of experiments, or files; all that come with the crate if empty.
    pub experiments: Vec<String>,
    /// Seeds; the experiments' own if absent.
    pub seeds: Option<usize>,
    /// Minutes that it may take on two cores: training and samples are shortened to fit.
    pub budget: Option<f64>,
}

/// One arm on one set of data with one seed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The experiment.
    pub experiment: String,
    /// The set of data.
    pub on: String,
    /// The arm.
    pub arm: Arm,
    /// The seed.
    pub seed: u64,
    /// How it is trained.
    pub config: Config,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// Minutes of training that no earlier job does.
    pub training: f64,
    /// Minutes of measuring.
    pub measuring: f64,
    /// Where the data are to be had, if they are not here.
    pub needs: Option<String>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its experiments.
    pub experiments: Vec<Experiment>,
    /// Its jobs, in order.
    pub jobs: Vec<Job>,
    /// Size of training and samples; 1: full.
    pub scale: f64,
}

impl Job {
    /// Name of the folder of the training: the same for jobs that are trained in the same way.
    ///
    /// # Errors
    /// A configuration that no TOML can say.
    pub fn training_name(&self) -> Result<String> {
        let mut crc = flate2::Crc::new();
        crc.update(self.config.to_toml()?.as_bytes());
        // training that stops to measure its gradient is not shared with other training
        for m in &self.measures {
            if let Kind::Gradient(g) = &m.kind {
                crc.update(format!("{g:?}").as_bytes());
            }
        }
        let kind = self.config.process.get("kind").and_then(|k| k.as_str());
        Ok(format!(
            "{}-{}-{}-{:08x}",
            self.on,
            kind.unwrap_or_default(),
            self.seed,
            crc.sum()
        ))
    }

    /// A line about it.
    pub fn about(&self) -> String {
        let Job { experiment, on, .. } = self;
        format!("{experiment} {on} {} seed {}", self.arm.name, self.seed)
    }

    /// Minutes on two cores.
    pub fn minutes(&self) -> f64 {
        self.training + self.measuring
    }

    /// The same with shorter training and fewer samples.
    fn shortened(&self, scale: f64) -> Job {
        let mut job = self.clone();
        shorten(&mut job.config, scale);
        job.measures = self.measures.iter().map(|m| m.shortened(scale)).collect();
        let pairs = job.measures.iter().zip(&self.measures);
        let shares: f64 = pairs.map(|(short, full)| short.share_of(full)).sum();
        job.training *= scale;
        job.measuring *= shares / self.measures.len().max(1) as f64;
        job
    }
}

/// Shorter training of the same shape.
fn shorten(c: &mut Config, scale: f64) {
    let less = |n: u64| (n as f64 * scale).ceil() as u64;
    c.steps = less(c.steps).clamp(FEWEST.min(c.steps), c.steps);
    c.adam.warm_up = less(c.adam.warm_up).min(c.steps);
    c.adam.cool_down = less(c.adam.cool_down).min(c.steps);
    c.log_every = c.log_every.min(c.steps);
}

impl Plan {
    /// Everything that is to be done. A name that ends in `.toml` is a file's.
    ///
    /// # Errors
    /// An experiment that is unknown; a file that cannot be read, or has the name of another
    /// experiment; seeds or a budget out of range.
    pub fn new(options: &Options, limits: &Limits) -> Result<Plan> {
        let mut all = Experiment::all()?;
        let mut options = options.clone();
        for name in &mut options.experiments {
            if !name.ends_with(".toml") {
                continue;
            }
            let e = Experiment::parse(&read_text(Path::new(name), limits)?, name)?;
            if all.iter().any(|a| a.id == e.id) {
                return Err(Error::parameter(
                    "EXPERIMENT",
                    format!("`{name}` called {}", e.id),
                    "a file whose id is its own",
                ));
            }
            name.clone_from(&e.id);
            all.push(e);
        }
        Plan::of(all, &options)
    }

    /// The same of these experiments.
    ///
    /// # Errors
    /// As `new`.
    pub fn of(all: Vec<Experiment>, options: &Options) -> Result<Plan> {
        let names: Vec<&str> = all.iter().map(|e| e.id.as_str()).collect();
        let mut asked = BTreeSet::new();
        for id in &options.experiments {
            if !names.contains(&id.as_str()) {
                return Err(Error::parameter(
                    "EXPERIMENT",
                    format!("`{id}`"),
                    names.join(", "),
                ));
            }
            asked.insert(id.clone());
        }
        if let Some(n) = options.seeds.filter(|n| !(1..=1000).contains(n)) {
            return Err(Error::parameter("seeds", n, "1 to 1000"));
        }
        if let Some(b) = options.budget.filter(|b| !(*b >= 1.0 && *b <= 1e5)) {
            return Err(Error::parameter("budget", b, "1 to 100000 minutes"));
        }
        let experiments: Vec<Experiment> = all
            .into_iter()
            .filter(|e| asked.is_empty() || asked.contains(&e.id))
            .collect();
        let mut plan = Plan {
            jobs: jobs(&experiments, options.seeds)?,
            experiments,
            scale: 1.0,
        };
        if let Some(budget) = options.budget {
            plan.shorten(PLANNED * budget);
        }
        Ok(plan)
    }

    /// Shortens training and samples to the largest size that fits into so many minutes, or to the
    /// smallest there is where none does.
    fn shorten(&mut self, minutes: f64) {
        if self.minutes() <= minutes {
            return;
        }
        let at = |scale: f64| Plan {
            jobs: self.jobs.iter().map(|j| j.shortened(scale)).collect(),
            experiments: self.experiments.clone(),
            scale,
        };
        let (mut low, mut high) = (SMALLEST, 1.0);
        for _ in 0..8 {
            let middle = f64::sqrt(low * high);
            if at(middle).minutes() > minutes {
                high = middle;
            } else {
                low = middle;
            }
        }
        *self = at(low);
    }

    /// Minutes on two cores.
    pub fn minutes(&self) -> f64 {
        let here = self.jobs.iter().filter(|j| j.needs.is_none());
        here.map(Job::minutes).sum()
    }

    /// Claims of all experiments, which share the error rate.
    pub fn claims(&self) -> usize {
        self.experiments.iter().map(|e| e.claims.len()).sum()
    }

    /// The jobs of shard `i` of `n` (from 1 on). Jobs that share their training are in one shard.
    ///
    /// # Errors
    /// `i` not of 1 to `n`.
    pub fn shard(&mut self, i: usize, n: usize) -> Result<()> {
        if !(1..=10_000).contains(&n) || !(1..=n).contains(&i) {
            return Err(Error::parameter(
                "shard",
                format!("{i}/{n}"),
                "I/N with 1 <= I <= N <= 10000",
            ));
        }
        let mut seen: Vec<String> = vec![];
        let mut kept = vec![];
        for job in std::mem::take(&mut self.jobs) {
            let name = job.training_name()?;
            let place = seen.iter().position(|s| *s == name).unwrap_or_else(|| {
                seen.push(name);
                seen.len() - 1
            });
            if place % n == i - 1 {
                kept.push(job);
            }
        }
        self.jobs = kept;
        Ok(())
    }
}

/// Every job at its full size.
fn jobs(experiments: &[Experiment], seeds: Option<usize>) -> Result<Vec<Job>> {
    let of = |e: &Experiment, on: &On| seeds.or(on.seeds).unwrap_or(e.seeds);
    let most = experiments
        .iter()
        .flat_map(|e| e.on.iter().map(move |on| of(e, on)))
        .max()
        .unwrap_or(0);
    let mut jobs: Vec<Job> = vec![];
    let mut trained = BTreeSet::new();
    // whether data are missing, looked up once
    let mut missing: BTreeMap<String, bool> = BTreeMap::new();
    for seed in 0..most {
        for e in experiments {
            for (arm, on) in e.pairs() {
                if seed >= of(e, on) {
                    continue;
                }
                let config = e.config(arm, on, seed as u64)?;
                let files = &config.data.name;
                let gone = *missing
                    .entry(files.clone())
                    .or_insert_with(|| files.contains(':') && sources(files).is_empty());
                let measures = e.measures.iter();
                let measures = measures.filter(|m| m.of(&arm.name, arm.exact, &on.name));
                let mut job = Job {
                    experiment: e.id.clone(),
                    on: on.name.clone(),
                    arm: arm.clone(),
                    seed: seed as u64,
                    config,
                    measures: measures.cloned().collect(),
                    training: 0.0,
                    measuring: on.measuring,
                    needs: gone.then(|| on.needs.clone().unwrap_or_default()),
                };
                if !arm.exact && trained.insert(job.training_name()?) {
                    job.training = on.minutes;
                }
                jobs.push(job);
            }
        }
    }
    Ok(jobs)
}
