//! Likelihoods of a trained network: bits per dimension of images, nats per point of toys.

use super::data::Data;
use super::trained::Trained;
use crate::data::images::Dither;
use crate::error::{Error, Result};
use crate::likelihood::{Divergence, Likelihood, Terminal, Trace, bits_per_dimension};
use crate::metrics::Estimate;
use crate::score::Score;
use crate::train::model::{Probed, Probes};
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of the flow at once, which share its steps: few, so that progress is seen.
const ROWS: usize = 128;

/// Counts evaluations of rows.
struct Tally<'a> {
    inner: &'a Probed<'a>,
    calls: AtomicU64,
}

impl Score for Tally<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.score(t, u, out)
    }
}

impl Divergence for Tally<'_> {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.inner.divergence(t, u, out)
    }
}

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Those that training does not see (of a toy: fresh points).
    HeldOut,
    /// Those that it sees.
    Train,
    /// Other data, by its name.
    Other(&'a str),
}

/// What to compute.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Which rows.
    pub part: Part<'a>,
    /// How many, the first ones; 100 images or as many as there are, 1000 points, if absent.
    pub n: Option<usize>,
    /// Relative and absolute error of a step of the flow.
    pub tolerance: f64,
    /// Time where the flow starts.
    pub eps: f64,
    /// Draws of the velocity for each row.
    pub draws: usize,
    /// Probes of the divergence.
    pub probes: Probes,
    /// Seed of noise within levels, velocities and probes.
    pub seed: u64,
}

/// A task, everything checked, and the rows at hand.
pub struct Job<'a> {
    trained: &'a Trained,
    likelihood: Likelihood<'a>,
    task: Task<'a>,
    velocity: bool,
    rows: Vec<f64>,
    own: Option<Vec<f64>>,
}

/// Bits per dimension of images, nats per point of toys.
pub struct Bits {
    /// Rows.
    pub n: usize,
    /// The flow's; with a velocity the mean over its draws (Jensen), an upper bound.
    pub plain: Estimate,
    /// With a velocity: the importance-weighted mean, a tighter one.
    pub weighted: Option<Estimate>,
    /// Of the data's own law, where that is known.
    pub own: Option<Estimate>,
    /// Evaluations of the network for each row and draw.
    pub nfe: f64,
}

/// The rows of a task, and their log-densities where the data's law is known.
fn rows_of(trained: &Trained, task: &Task<'_>) -> Result<(Vec<f64>, Option<Vec<f64>>)> {
    let other = match task.part {
        Part::Other(name) => Some(name),
        _ => None,
    };
    match trained.data(other)? {
        Data::Images { train, held_out } => {
            let set = if task.part == Part::HeldOut {
                held_out
            } else {
                train
            };
            let n = task.n.unwrap_or(100.min(set.len()));
            if !(1..=set.len()).contains(&n) {
                return Err(Error::parameter(
                    "n",
                    n,
                    format!("1 to {}, the images there are", set.len()),
                ));
            }
            let (first, dither) = ((0..n).collect::<Vec<_>>(), Dither::new(task.seed, false));
            Ok((set.rows(&first, 0, &dither)?, None))
        }
        Data::Toy(mixture) => {
            let n = task.n.unwrap_or(1000);
            if !(1..=1_000_000).contains(&n) {
                return Err(Error::parameter("n", n, "1 to 1000000"));
            }
            let x = mixture.sample(task.seed.wrapping_add(3 << 32), n)?;
            let own = x
                .chunks(trained.model.dim())
                .map(|x| mixture.log_density(x))
                .collect::<Result<Vec<f64>>>()?;
            Ok((x, Some(own)))
        }
    }
}

impl<'a> Job<'a> {
    /// Refuses what cannot be done, before it takes time.
    ///
    /// # Errors
    /// A tolerance below 1e-6 (the network is in f32), a number of draws, rows or probes out of
    /// range, data that do not fit.
    pub fn new(trained: &'a Trained, task: Task<'a>) -> Result<Job<'a>> {
        if !(1e-6..=1.0).contains(&task.tolerance) {
            return Err(Error::parameter(
                "tolerance",
                task.tolerance,
                "1e-6 to 1 (the network is in f32)",
            ));
        }
        let dim = trained.model.dim();
        Probed::new(&trained.model, 0, task.probes)?;
        let likelihood = Likelihood::new(
            trained.diffusion(),
            dim,
            task.eps,
            task.tolerance,
            Terminal::Prior,
        )?;
        let velocity = trained.velocity()?;
        if velocity && !(2..=10_000).contains(&task.draws) {
            return Err(Error::parameter("draws", task.draws, "2 to 10000"));
        }
        let (rows, own) = rows_of(trained, &task)?;
        Ok(Job {
            trained,
            likelihood,
            task,
            velocity,
            rows,
            own,
        })
    }

    /// Whether there is a velocity, and the figures are bounds.
    pub fn velocity(&self) -> bool {
        self.velocity
    }

    /// Computes; `progress` is told blocks done and in all.
    ///
    /// # Errors
    /// A network whose output is not finite.
    pub fn run(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<Bits> {
        let goes_on = &mut |done, total| {
            progress(done, total);
            true
        };
        match self.run_while(goes_on)? {
            Some(bits) => Ok(bits),
            None => unreachable!("it was never told to stop"),
        }
    }

    /// The same; none if `progress` says `false`, between two blocks.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn run_while(
        &self,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Bits>> {
        let Task {
            draws,
            seed,
            probes,
            ..
        } = self.task;
        let dim = self.trained.model.dim();
        let per = if self.velocity {
            (ROWS / draws).max(1)
        } else {
            ROWS
        };
        let (mut plain, mut weighted, mut calls) = (vec![], vec![], 0);
        let blocks: Vec<&[f64]> = self.rows.chunks(per * dim).collect();
        for (i, block) in blocks.iter().enumerate() {
            // each block of rows has probes of its own
            let seed = seed.wrapping_add((i as u64) << 32);
            let probed = Probed::new(&self.trained.model, seed, probes)?;
            let tally = Tally {
                inner: &probed,
                calls: AtomicU64::new(0),
            };
            if self.velocity {
                let bounds =
                    self.likelihood
                        .velocity_bound(&Trace::Exact(&tally), block, draws, seed)?;
                plain.extend(bounds.iter().map(|b| b.plain.value));
                weighted.extend(bounds.iter().map(|b| b.weighted.value));
            } else {
                let joint = self.likelihood.log_joint(&Trace::Exact(&tally), &[block])?;
                plain.extend(joint.values.iter().map(|e| e.value));
            }
            calls += tally.calls.into_inner() as usize * block.len();
            if !progress(i + 1, blocks.len()) {
                return Ok(None);
            }
        }
        Ok(Some(Bits {
            n: plain.len(),
            plain: self.figure(&plain)?,
            weighted: if self.velocity {
                Some(self.figure(&weighted)?)
            } else {
                None
            },
            own: self
                .own
                .as_deref()
                .map(|own| self.figure(own))
                .transpose()?,
            nfe: calls as f64 / self.rows.len() as f64,
        }))
    }

    /// Of log-densities, in the unit.
    fn figure(&self, logs: &[f64]) -> Result<Estimate> {
        let dim = self.trained.model.dim();
        let each = |l: &f64| match self.trained.levels {
            0 => Ok(-l),
            levels => bits_per_dimension(*l, dim, levels),
        };
        Ok(Estimate::of(
            &logs.iter().map(each).collect::<Result<Vec<_>>>()?,
        ))
    }
}
