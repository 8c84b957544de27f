//! One job: trains, or takes up where an earlier run stopped; measures; keeps what it found after
//! every measure.

use super::measure::{self, Bits, Distance, Gradient, HARDNESS, Hardness, Kind, Measure, VARIANCE};
use super::plan::Job;
use super::record::{Figure, Measured, RECORD, Record, Store};
use crate::data::Mixture;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::evaluate::bits;
use crate::evaluate::data::Data;
use crate::evaluate::draw::{Budget, Task};
use crate::evaluate::hardness::hardness;
use crate::evaluate::trained::Trained;
use crate::files::Limits;
use crate::metrics::Estimate;
use crate::sampler;
use crate::score::{MixtureScore, Score};
use crate::train::TrainingRun;
use crate::train::checkpoint;
use crate::train::model::Probes;
use crate::train::run::{CHECKPOINT, End};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doing<'a> {
    /// Training: steps done and in all.
    Training(u64, u64),
    /// Taking a measure: the share of it that is done.
    Measuring(&'a str, f64),
}

/// What is told what a job is doing, from any thread.
pub type Tell<'a> = &'a (dyn Fn(Doing<'_>) + Sync);

/// What all jobs of a run share.
#[derive(Clone, Copy)]
pub struct Shop<'a> {
    /// The folder.
    pub store: &'a Store,
    /// Threads of training.
    pub threads: usize,
    /// Limits of what is read.
    pub limits: &'a Limits,
    /// Version of the program.
    pub version: &'a str,
    /// Name of the processor.
    pub cpu: &'a str,
}

/// What is measured.
enum Subject {
    /// A network.
    Trained(Box<Trained>),
    /// The exact score of a toy.
    Exact(Box<Exact>),
}

struct Exact {
    diffusion: Diffusion,
    score: MixtureScore,
    mixture: Mixture,
}

impl Subject {
    fn score(&self) -> &dyn Score {
        match self {
            Subject::Trained(t) => &t.model,
            Subject::Exact(e) => &e.score,
        }
    }

    fn diffusion(&self) -> &Diffusion {
        match self {
            Subject::Trained(t) => t.diffusion(),
            Subject::Exact(e) => &e.diffusion,
        }
    }

    fn data(&self) -> Result<Data> {
        match self {
            Subject::Trained(t) => t.data(None),
            Subject::Exact(e) => Ok(Data::Toy(e.mixture.clone())),
        }
    }
}

fn plain(row: impl Into<String>, column: impl Into<String>, value: f64) -> Figure {
    Figure {
        row: row.into(),
        column: column.into(),
        // what is no number has no place in JSON, and is no figure
        value: value.is_finite().then_some(value),
        error: None,
        problem: (!value.is_finite()).then(|| format!("{value}")),
    }
}

fn estimated(row: &str, column: &str, e: &Estimate) -> Figure {
    Figure {
        error: e.error.is_finite().then_some(e.error),
        ..plain(row, column, e.value)
    }
}

impl Shop<'_> {
    /// Does what is left of a job; `false` if it was asked to stop.
    ///
    /// # Errors
    /// Training that fails, samples that cannot be drawn, a folder that cannot be written to.
    pub fn work(&self, job: &Job, stop: &AtomicBool, tell: Tell<'_>) -> Result<bool> {
        let mut record = self.record(job)?;
        if left(job, &record).is_empty() {
            return Ok(true);
        }
        let subject = if job.arm.exact {
            self.exact(job)?
        } else {
            match self.trained(job, &mut record, stop, tell)? {
                Some(trained) => Subject::Trained(Box::new(trained)),
                None => return Ok(false),
            }
        };
        for m in left(job, &record) {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let start = Instant::now();
            let tell = |share: f64| tell(Doing::Measuring(&m.name, share));
            tell(0.0);
            let figures = match &m.kind {
                Kind::Bits(b) => match bits_of(&subject, b, job.seed, stop, &tell)? {
                    Some(figures) => figures,
                    None => return Ok(false),
                },
                Kind::Distance(d) => match distances(&subject, d, job.seed, stop, &tell)? {
                    Some(figures) => figures,
                    None => return Ok(false),
                },
                Kind::Hardness(h) => hardness_of(&subject, h, job.seed)?,
                Kind::Gradient(_) => continue, // along the training
            };
            record.measures.push(Measured {
                name: m.name.clone(),
                kind: m.kind.clone(),
                figures,
                seconds: start.elapsed().as_secs_f64(),
            });
            self.keep(&mut record)?;
        }
        Ok(true)
    }

    /// Whether nothing is left of a job.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn done(&self, job: &Job) -> Result<bool> {
        Ok(left(job, &self.record(job)?).is_empty())
    }

    /// The job's record so far, without what is of another configuration or other measures.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn record(&self, job: &Job) -> Result<Record> {
        let config = job.config.to_toml()?;
        let names = [&job.experiment, &job.on, &job.arm.name].map(String::as_str);
        let fresh = Record {
            schema: RECORD.into(),
            experiment: job.experiment.clone(),
            on: job.on.clone(),
            arm: job.arm.name.clone(),
            seed: job.seed,
            config: config.clone(),
            steps: 0,
            training: 0.0,
            measures: vec![],
            version: self.version.into(),
            cpu: self.cpu.into(),
        };
        Ok(match self.store.record(names, job.seed, self.limits)? {
            Some(mut old) if old.config == config => {
                let wanted = |m: &Measured| {
                    job.measures
                        .iter()
                        .any(|w| w.name == m.name && w.kind == m.kind)
                };
                old.measures.retain(wanted);
                old
            }
            _ => fresh,
        })
    }

    /// Writes a record that this program has added to.
    fn keep(&self, record: &mut Record) -> Result<()> {
        (record.version, record.cpu) = (self.version.into(), self.cpu.into());
        self.store.keep(record)
    }

    fn exact(&self, job: &Job) -> Result<Subject> {
        let diffusion = job.config.diffusion()?;
        let d = &job.config.data;
        match Data::load(&d.name, d.held_out, job.seed)? {
            Data::Toy(mixture) => Ok(Subject::Exact(Box::new(Exact {
                score: MixtureScore::new(diffusion.clone(), mixture.clone()),
                diffusion,
                mixture,
            }))),
            Data::Images { .. } => Err(Error::parameter(
                "arm.exact",
                &d.name,
                "a toy: images have no known score",
            )),
        }
    }

    /// Trains, or what is left of it; `None` if it was asked to stop.
    fn trained(
        &self,
        job: &Job,
        record: &mut Record,
        stop: &AtomicBool,
        tell: Tell<'_>,
    ) -> Result<Option<Trained>> {
        let folder = self.store.runs().join(job.training_name()?);
        let gradient = job.measures.iter().find_map(|m| match &m.kind {
            Kind::Gradient(g) => Some((m, g)),
            _ => None,
        });
        let mut run = match self.taken_up(job, &folder)? {
            // a gradient that was not measured on the way is measured on the way
            Taken::Done if gradient.is_none_or(|(m, _)| record.has(m)) => {
                return Trained::read(&folder, false).map(Some);
            }
            Taken::Done => {
                record
                    .measures
                    .retain(|m| !matches!(m.kind, Kind::Gradient(_)));
                TrainingRun::start(job.config.clone(), &folder, self.threads, true)?
            }
            Taken::Fresh => TrainingRun::start(job.config.clone(), &folder, self.threads, true)?,
            Taken::Going(run) => *run,
        };
        let steps = run.config().steps;
        loop {
            let here = run.state().step;
            if let Some((m, g)) = gradient {
                self.gradient(&mut run, m, g, record)?;
            }
            let next = gradient
                .iter()
                .flat_map(|(_, g)| &g.at)
                .map(|share| step_of(*share, steps))
                .filter(|s| *s > here)
                .min()
                .unwrap_or(steps);
            if here >= steps {
                break;
            }
            let halt = AtomicBool::new(stop.load(Ordering::Relaxed) && here > 0);
            let end = run.go(&halt, &mut |report, _| {
                tell(Doing::Training(report.step, steps));
                if stop.load(Ordering::Relaxed) || report.step >= next {
                    halt.store(true, Ordering::Relaxed);
                }
            })?;
            if end == End::Stopped && stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        record.steps = run.state().step;
        record.training = run.lines().last().map_or(0.0, |l| l.seconds);
        self.keep(record)?;
        drop(run);
        Trained::read(&folder, false).map(Some)
    }

    /// What is in a run's folder.
    fn taken_up(&self, job: &Job, folder: &Path) -> Result<Taken> {
        let file = folder.join(CHECKPOINT);
        if file.symlink_metadata().is_err() {
            return Ok(Taken::Fresh);
        }
        let found = checkpoint::read(&file)?;
        let wanted = job.config.clone().filled(&job.config.load()?)?;
        if found.config.to_toml()? != wanted.to_toml()? {
            return Err(Error::Format {
                file: file.display().to_string(),
                place: "config".into(),
                problem: "is not the experiment's: another version's, or other data".into(),
            });
        }
        if found.state.step >= found.config.steps {
            return Ok(Taken::Done);
        }
        let run = TrainingRun::resume(folder, |_| (), self.threads, None, false, self.limits)?;
        Ok(Taken::Going(Box::new(run)))
    }

    /// Measures the gradient if this step is one of those where it is, and it is not there yet.
    fn gradient(
        &self,
        run: &mut TrainingRun,
        m: &Measure,
        g: &Gradient,
        record: &mut Record,
    ) -> Result<()> {
        let (here, steps) = (run.state().step, run.config().steps);
        for share in g.at.iter().filter(|s| step_of(**s, steps) == here) {
            let column = share.to_string();
            let start = Instant::now();
            let at = record.measures.iter().position(|r| r.name == m.name);
            let at = at.unwrap_or_else(|| {
                record.measures.push(Measured {
                    name: m.name.clone(),
                    kind: m.kind.clone(),
                    figures: vec![],
                    seconds: 0.0,
                });
                record.measures.len() - 1
            });
            let measured = &mut record.measures[at];
            if measured.figures.iter().any(|f| f.column == column) {
                continue;
            }
            let noise = run.gradient_noise(g.batches)?;
            let (variance, norm) = (noise.variance, noise.squared_norm.value);
            measured
                .figures
                .push(estimated(VARIANCE, &column, &variance));
            // the unbiased squared norm of a mean that is lost in the noise may be negative
            let ratio = if norm > 0.0 {
                variance.value / norm
            } else {
                f64::NAN
            };
            measured.figures.push(plain("noise", column, ratio));
            measured.seconds += start.elapsed().as_secs_f64();
            self.keep(record)?;
        }
        Ok(())
    }
}

/// What is not measured yet.
fn left<'j>(job: &'j Job, record: &Record) -> Vec<&'j Measure> {
    job.measures.iter().filter(|m| !record.has(m)).collect()
}

/// The step at which so much of the training is done.
fn step_of(share: f64, steps: u64) -> u64 {
    ((share * steps as f64).round() as u64).clamp(1, steps)
}

enum Taken {
    Fresh,
    Going(Box<TrainingRun>),
    Done,
}

fn probes(n: usize) -> Probes {
    if n == 0 {
        Probes::Exact
    } else {
        Probes::Signs(n)
    }
}

/// So many held-out rows, or as many as there are.
fn at_most(trained: &Trained, n: usize) -> Result<usize> {
    Ok(match trained.data(None)? {
        Data::Images { held_out, .. } => n.min(held_out.len()),
        Data::Toy(_) => n,
    })
}

fn bits_of(
    subject: &Subject,
    b: &Bits,
    seed: u64,
    stop: &AtomicBool,
    tell: &dyn Fn(f64),
) -> Result<Option<Vec<Figure>>> {
    let Subject::Trained(trained) = subject else {
        return Err(Error::parameter("bits", "an exact score", "a network"));
    };
    let task = bits::Task {
        part: bits::Part::HeldOut,
        n: Some(at_most(trained, b.n)?),
        tolerance: b.tolerance,
        eps: 1e-5,
        draws: b.draws,
        probes: probes(b.probes),
        seed,
    };
    let job = bits::Job::new(trained, task)?;
    let found = job.run_while(&mut |done, total| {
        tell(done as f64 / total.max(1) as f64);
        done == total || !stop.load(Ordering::Relaxed)
    })?;
    let Some(found) = found else {
        return Ok(None);
    };
    let mut figures = vec![estimated("", "", &found.plain), plain("nfe", "", found.nfe)];
    if let Some(w) = &found.weighted {
        figures.push(estimated("weighted", "", w));
    }
    if let Some(own) = &found.own {
        figures.push(plain("excess", "", found.plain.value - own.value));
    }
    Ok(Some(figures))
}

fn distances(
    subject: &Subject,
    d: &Distance,
    seed: u64,
    stop: &AtomicBool,
    tell: &(dyn Fn(f64) + Sync),
) -> Result<Option<Vec<Figure>>> {
    let data = subject.data()?;
    let task = |spacing| Task {
        diffusion: subject.diffusion(),
        score: subject.score(),
        spacing,
        eps: d.eps,
        denoise: true,
        n: d.n,
        dim: data.shape().iter().product(),
        seed,
    };
    // samplers that do not fit the process, and too few evaluations for a step, have no figure
    let mut jobs = vec![];
    for (sampler, spacing) in measure::rows(d) {
        let own = sampler::entry(sampler)?.evaluations == 0;
        for nfe in if own { &[0][..] } else { &d.nfe[..] } {
            let budget = if own {
                Budget::Steps(10)
            } else {
                Budget::Evaluations(*nfe)
            };
            if let Ok(job) = task(spacing).by(sampler, Some(budget), None) {
                let column = if own {
                    measure::OWN.into()
                } else {
                    nfe.to_string()
                };
                jobs.push((format!("{sampler}.{spacing}"), column, *nfe, job));
            }
        }
    }
    let total: usize = jobs.iter().map(|j| j.2.max(100)).sum();
    let (mut figures, mut done, mut floor): (Vec<Figure>, usize, _) = (vec![], 0, None);
    for (row, column, nfe, job) in jobs {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match job.run(&|_, _| ()) {
            Ok(drawn) => {
                let distance = data.distance(&drawn.samples[0], seed)?;
                floor = Some(distance.floor);
                figures.push(plain(row, column, distance.value));
            }
            // the steps are too long for the sampler: that is a finding, not a failure
            Err(e @ (Error::NonFinite { .. } | Error::Unfinished { .. })) => figures.push(Figure {
                problem: Some(e.to_string()),
                ..plain(row, column, f64::NAN)
            }),
            Err(e) => return Err(e),
        }
        done += nfe.max(100);
        tell(done as f64 / total.max(1) as f64);
    }
    for nfe in &d.nfe {
        let best = figures
            .iter()
            .filter(|f| f.column == nfe.to_string())
            .filter_map(|f| f.value)
            .min_by(f64::total_cmp);
        if let Some(best) = best {
            figures.push(plain("best", nfe.to_string(), best));
        }
    }
    figures.extend(floor.map(|f| plain("floor", "", f)));
    Ok(Some(figures))
}

fn hardness_of(subject: &Subject, h: &Hardness, seed: u64) -> Result<Vec<Figure>> {
    let Subject::Trained(trained) = subject else {
        return Err(Error::parameter("hardness", "an exact score", "a network"));
    };
    let n = at_most(trained, h.n)?;
    let found = hardness(trained, n, &h.times, h.probes, seed)?;
    Ok(h.times
        .iter()
        .zip(found)
        .flat_map(|(t, f)| {
            let rows = [f.output, f.noise, f.difference];
            let figure = |(row, e): (&&str, Estimate)| estimated(row, &t.to_string(), &e);
            HARDNESS.iter().zip(rows).map(figure).collect::<Vec<_>>()
        })
        .collect())
}
