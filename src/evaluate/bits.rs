//! Likelihoods of a trained network: bits per dimension of images, nats per point of toys.

use super::data::Data;
use super::trained::Trained;
use crate::data::images::Dither;
use crate::error::{Error, Result};
use crate::likelihood::{Divergence, Likelihood, Terminal, Trace, bits_per_dimension};
use crate::metrics::Estimate;
use crate::score::Score;
use crate::team::{Team, agreed, place};
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

/// Log-densities of rows, and evaluations of numbers that they took.
#[derive(Default)]
struct Logs {
    plain: Vec<f64>,
    weighted: Vec<f64>,
    calls: usize,
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
        let blocks = self.blocks();
        let mut all = Logs::default();
        for (i, block) in blocks.iter().enumerate() {
            let logs = self.block(i, block)?;
            all.plain.extend(logs.plain);
            all.weighted.extend(logs.weighted);
            all.calls += logs.calls;
            if !progress(i + 1, blocks.len()) {
                return Ok(None);
            }
        }
        self.bits(&all).map(Some)
    }

    /// The same as [`run`](Self::run) by several processes, each of which has every n-th block: the
    /// same bits, to all.
    ///
    /// # Errors
    /// As [`run`](Self::run), of any of them.
    pub fn run_by(
        &self,
        team: Option<&dyn Team>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Bits> {
        let Some(team) = team else {
            return self.run(progress);
        };
        let ((rank, size), blocks) = (place(Some(team)), self.blocks());
        let (n, rows) = (
            self.rows.len() / self.trained.model.dim(),
            self.rows_of_a_block(),
        );
        // of all rows; those of others stay 0
        let mut own = vec![0.0; 2 * n + 1];
        let mut work = || {
            let total = blocks.len().saturating_sub(rank).div_ceil(size);
            for (done, (i, block)) in blocks
                .iter()
                .enumerate()
                .skip(rank)
                .step_by(size)
                .enumerate()
            {
                let logs = self.block(i, block)?;
                own[i * rows..][..logs.plain.len()].copy_from_slice(&logs.plain);
                own[n + i * rows..][..logs.weighted.len()].copy_from_slice(&logs.weighted);
                own[2 * n] += logs.calls as f64;
                progress(done + 1, total);
            }
            Ok(())
        };
        let worked = work();
        agreed(team, worked)?;
        let each = team.gather(&own)?;
        let of = |from: usize| (0..n).map(|r| each[r / rows % size][from + r]).collect();
        self.bits(&Logs {
            plain: of(0),
            weighted: if self.velocity { of(n) } else { vec![] },
            calls: each.iter().map(|e| e[2 * n] as usize).sum(),
        })
    }

    /// Rows that share the flow's steps.
    fn rows_of_a_block(&self) -> usize {
        if self.velocity {
            (ROWS / self.task.draws).max(1)
        } else {
            ROWS
        }
    }

    fn blocks(&self) -> Vec<&[f64]> {
        let numbers = self.rows_of_a_block() * self.trained.model.dim();
        self.rows.chunks(numbers).collect()
    }

    /// The log-densities of block number `i`.
    fn block(&self, i: usize, block: &[f64]) -> Result<Logs> {
        let Task {
            draws,
            seed,
            probes,
            ..
        } = self.task;
        // each block of rows has probes of its own
        let seed = seed.wrapping_add((i as u64) << 32);
        let probed = Probed::new(&self.trained.model, seed, probes)?;
        let tally = Tally {
            inner: &probed,
            calls: AtomicU64::new(0),
        };
        let trace = Trace::Exact(&tally);
        let (mut plain, mut weighted) = (vec![], vec![]);
        if self.velocity {
            let bounds = self.likelihood.velocity_bound(&trace, block, draws, seed)?;
            plain.extend(bounds.iter().map(|b| b.plain.value));
            weighted.extend(bounds.iter().map(|b| b.weighted.value));
        } else {
            let joint = self.likelihood.log_joint(&trace, &[block])?;
            plain.extend(joint.values.iter().map(|e| e.value));
        }
        Ok(Logs {
            plain,
            weighted,
            calls: tally.calls.into_inner() as usize * block.len(),
        })
    }

    /// The figures.
    fn bits(&self, all: &Logs) -> Result<Bits> {
        Ok(Bits {
            n: all.plain.len(),
            plain: self.figure(&all.plain)?,
            weighted: if self.velocity {
                Some(self.figure(&all.weighted)?)
            } else {
                None
            },
            own: self
                .own
                .as_deref()
                .map(|own| self.figure(own))
                .transpose()?,
            nfe: all.calls as f64 / self.rows.len() as f64,
        })
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
