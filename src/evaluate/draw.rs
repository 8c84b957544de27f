//! Samples by any sampler, everything checked before the first step.

use crate::check::words::short;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::sampler::adaptive::{Counts, Tolerance};
use crate::sampler::driver::{AdaptiveRun, BLOCK, Run};
use crate::sampler::grid::Spacing;
use crate::sampler::{ADAPTIVE, AdaptiveEntry, Grid, REGISTRY, SamplerEntry, Stepper, entry};
use crate::score::{Counted, Score};
use crate::team::{Team, agreed, place, share};
use std::ops::Range;
use std::time::Instant;

/// The names of all samplers, those that choose their own steps last.
pub fn samplers() -> String {
    REGISTRY
        .iter()
        .map(|e| e.name)
        .chain(ADAPTIVE.iter().map(|e| e.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A sampler on a grid; a refusal names those without one, too.
fn on_grid(name: &str) -> Result<&'static SamplerEntry> {
    entry(name).map_err(|_| Error::parameter("sampler", format!("`{name}`"), samplers()))
}

/// What is the same for all samplers.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The process.
    pub diffusion: &'a Diffusion,
    /// Its score.
    pub score: &'a dyn Score,
    /// Spacing of the times, as [`Spacing::parse`] reads it.
    pub spacing: &'a str,
    /// Last time.
    pub eps: f64,
    /// Whether a noise-free Euler step leads from `eps` to 0.
    pub denoise: bool,
    /// Samples.
    pub n: usize,
    /// Coordinates of each.
    pub dim: usize,
    /// Seed.
    pub seed: u64,
}

/// How long a run on a grid may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Steps of the grid.
    Steps(usize),
    /// Evaluations of the score, a denoising step included: as many steps as they allow.
    Evaluations(usize),
}

impl Budget {
    /// Steps of a sampler.
    fn steps(self, sampler: &SamplerEntry, denoise: bool) -> Result<usize> {
        match (self, sampler.evaluations) {
            (Budget::Steps(n), _) => Ok(n),
            (Budget::Evaluations(_), 0) => Err(Error::parameter(
                "nfe",
                "given",
                "absent: this sampler chooses its evaluations",
            )),
            (Budget::Evaluations(n), per_step) => match sampler.steps_within(n, denoise) {
                0 => Err(Error::parameter(
                    "nfe",
                    n,
                    format!("at least {}, one step", per_step + usize::from(denoise)),
                )),
                steps => Ok(steps),
            },
        }
    }
}

/// What came of it.
pub struct Drawn {
    /// One array (n, dim) per channel.
    pub samples: Vec<Vec<f64>>,
    /// The sampler.
    pub sampler: &'static str,
    /// What the sampler is.
    pub about: &'static str,
    /// A line about the times.
    pub times: String,
    /// Evaluations of the score per sample.
    pub nfe: f64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A task for one sampler, everything checked.
pub struct Job<'a> {
    task: Task<'a>,
    how: How,
}

enum How {
    OnGrid(&'static SamplerEntry, Box<dyn Stepper>, Grid),
    Adaptive(&'static AdaptiveEntry, Tolerance),
}

impl<'a> Task<'a> {
    /// Refuses what cannot be done, before it takes time.
    ///
    /// # Errors
    /// A sampler that is unknown or does not fit the process; steps where it chooses its own, or
    /// none where it needs them; a spacing, tolerance, last time or number of samples out of range.
    pub fn by(
        self,
        sampler: &str,
        budget: Option<Budget>,
        tolerance: Option<f64>,
    ) -> Result<Job<'a>> {
        let how = match ADAPTIVE.iter().find(|e| e.name == sampler) {
            Some(_) if budget.is_some() => {
                return Err(Error::parameter(
                    "steps",
                    "given",
                    "absent: this sampler chooses its steps",
                ));
            }
            Some(sampler) => {
                let relative = tolerance.unwrap_or(0.01);
                How::Adaptive(sampler, Tolerance::new(relative, 0.1 * relative)?)
            }
            None => {
                let sampler = on_grid(sampler)?;
                if let Some(t) = tolerance {
                    return Err(Error::parameter(
                        "tolerance",
                        t,
                        "absent, but for gotta-go-fast",
                    ));
                }
                let missing =
                    || Error::parameter("steps", "missing", "1 to 10000000; this sampler needs it");
                let steps = budget.ok_or_else(missing)?.steps(sampler, self.denoise)?;
                let grid = Grid::spaced(
                    Spacing::parse(self.spacing)?,
                    self.diffusion,
                    steps,
                    self.eps,
                )?;
                How::OnGrid(sampler, sampler.build(self.diffusion, &grid)?, grid)
            }
        };
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return Err(Error::parameter("eps", self.eps, "0 < eps < 1"));
        }
        if !(1..=100_000_000).contains(&self.n) {
            return Err(Error::parameter("n", self.n, "1 to 100000000"));
        }
        Ok(Job { task: self, how })
    }
}

impl<'a> Job<'a> {
    /// The first `steps` steps of it alone, without a denoising step; the noise is the same. `None`
    /// of a sampler that chooses its steps, and of more or fewer steps than there are.
    ///
    /// # Errors
    /// A sampler that does not fit the shorter grid.
    pub fn first(&self, steps: usize) -> Result<Option<Job<'a>>> {
        match &self.how {
            How::OnGrid(sampler, _, grid) if (1..=grid.steps()).contains(&steps) => {
                let grid = Grid::new(grid.times()[..=steps].to_vec())?;
                let stepper = sampler.build(self.task.diffusion, &grid)?;
                let eps = grid.times()[steps];
                Ok(Some(Job {
                    task: Task {
                        denoise: false,
                        eps,
                        ..self.task
                    },
                    how: How::OnGrid(sampler, stepper, grid),
                }))
            }
            _ => Ok(None),
        }
    }

    /// Steps of its grid, if it has one.
    pub fn steps(&self) -> Option<usize> {
        match &self.how {
            How::OnGrid(_, _, grid) => Some(grid.steps()),
            How::Adaptive(..) => None,
        }
    }

    /// The time at which it ends.
    pub fn end(&self) -> f64 {
        if self.task.denoise {
            0.0
        } else {
            self.task.eps
        }
    }

    /// Draws them; `progress` is told blocks done and in all, from any thread.
    ///
    /// # Errors
    /// A score that fails, or samples that are not finite.
    pub fn run(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Drawn> {
        let start = Instant::now();
        let own = self.rows(0..self.task.n, progress)?;
        Ok(self.drawn(own, start))
    }

    /// The same by several processes, each of which draws a stretch of the rows: the same bits, to
    /// rank 0; nothing to the others.
    ///
    /// # Errors
    /// As [`run`](Self::run), of any of them.
    pub fn run_by(
        &self,
        team: Option<&dyn Team>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Option<Drawn>> {
        let Some(team) = team else {
            return self.run(progress).map(Some);
        };
        let start = Instant::now();
        // an adaptive sampler's steps are its block's
        let block = match &self.how {
            How::OnGrid(..) => 1,
            How::Adaptive(..) => BLOCK,
        };
        let rows = share(place(Some(team)), self.task.n, block);
        let own = match rows.is_empty() {
            true => Ok(Rows::none(self.task.diffusion.channels())),
            false => self.rows(rows, progress),
        };
        let own = agreed(team, own)?;
        let all = team.collect(&own.bytes())?;
        if team.rank() > 0 {
            return Ok(None);
        }
        let mut whole = Rows::none(self.task.diffusion.channels());
        for bytes in all {
            whole.append(&bytes);
        }
        Ok(Some(self.drawn(whole, start)))
    }

    /// These rows of it.
    fn rows(&self, rows: Range<usize>, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Rows> {
        let Task {
            diffusion,
            score,
            eps,
            denoise,
            n,
            dim,
            seed,
            ..
        } = self.task;
        let score = Counted::new(score);
        let (samples, counts) = match &self.how {
            How::OnGrid(_, stepper, grid) => {
                let run = Run {
                    diffusion,
                    stepper: &**stepper,
                    grid,
                    denoise,
                    score: &score,
                    n,
                    dim,
                    seed,
                };
                (run.rows(rows, progress)?, vec![])
            }
            How::Adaptive(sampler, tolerance) => {
                let run = AdaptiveRun {
                    diffusion,
                    sampler,
                    tolerance: *tolerance,
                    eps,
                    denoise,
                    score: &score,
                    n,
                    dim,
                    seed,
                };
                run.rows(rows, progress)?
            }
        };
        Ok(Rows {
            samples,
            evaluated: score.values(),
            counts,
        })
    }

    /// What came of all rows.
    fn drawn(&self, all: Rows, start: Instant) -> Drawn {
        let Task {
            spacing,
            eps,
            n,
            dim,
            ..
        } = self.task;
        let (sampler, about, times) = match &self.how {
            How::OnGrid(sampler, _, grid) => {
                let times = format!("{spacing}, {} steps from 1 to {eps:e}", grid.steps());
                (sampler.name, sampler.about, times)
            }
            How::Adaptive(sampler, _) => {
                let times = format!("{}, from 1 to {eps:e}", per_block(&all.counts));
                (sampler.name, sampler.about, times)
            }
        };
        Drawn {
            samples: all.samples,
            sampler,
            about,
            times,
            nfe: all.evaluated as f64 / (n * dim) as f64,
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

/// Some rows: an array for each channel, values of the score that they took, and what each block of
/// an adaptive sampler took.
struct Rows {
    samples: Vec<Vec<f64>>,
    evaluated: u64,
    counts: Vec<Counts>,
}

impl Rows {
    fn none(channels: usize) -> Rows {
        Rows {
            samples: vec![vec![]; channels],
            evaluated: 0,
            counts: vec![],
        }
    }

    /// As words of eight bytes: values, blocks, the blocks' counts, the channels.
    fn bytes(&self) -> Vec<u8> {
        let head = [self.evaluated, self.counts.len() as u64];
        let counts = self.counts.iter();
        let counts = counts.flat_map(|c| [c.accepted, c.rejected, c.evaluations].map(|n| n as u64));
        let values = self.samples.iter().flatten().map(|x| x.to_bits());
        let words = head.into_iter().chain(counts).chain(values);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Appends what another process has.
    fn append(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
        let [evaluated, blocks, rest @ ..] = &words[..] else {
            return;
        };
        self.evaluated += evaluated;
        let (counts, values) = rest.split_at(3 * *blocks as usize);
        let counts = counts.chunks_exact(3).map(|c| Counts {
            accepted: c[0] as usize,
            rejected: c[1] as usize,
            evaluations: c[2] as usize,
        });
        self.counts.extend(counts);
        let each = values.len() / self.samples.len();
        for (to, from) in self.samples.iter_mut().zip(values.chunks(each.max(1))) {
            to.extend(from.iter().map(|x| f64::from_bits(*x)));
        }
    }
}

/// The mean of what adaptive runs took, in words.
fn per_block(counts: &[Counts]) -> String {
    let (accepted, rejected) = counts
        .iter()
        .fold((0, 0), |a, c| (a.0 + c.accepted, a.1 + c.rejected));
    let mean = |n: usize| short(n as f64 / counts.len() as f64);
    format!(
        "{} steps taken and {} rejected per block",
        mean(accepted),
        mean(rejected)
    )
}
