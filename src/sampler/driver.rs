//! Runs of a sampler: batches cut into blocks of fixed size, shared out among the threads; the same
//! bits for any number of them.

use super::adaptive::{Counter, Counts, Tolerance};
use super::{AdaptiveEntry, Denoise, Grid, Memory, Stepper};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::score::Score;
use crate::simd::normal::normals;
use crate::simulate::schemes::root;
use crate::simulate::streams::Stream;
use crate::small::{Square, by_channels};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows of a block: its state and scratch stay in the second-level cache.
pub const BLOCK: usize = 2048;

/// A run: what to sample and how.
pub struct Run<'a> {
    /// The diffusion.
    pub diffusion: &'a Diffusion,
    /// The sampler, planned for `diffusion` and `grid`.
    pub stepper: &'a dyn Stepper,
    /// The grid.
    pub grid: &'a Grid,
    /// Ends with a noise-free Euler step from the grid's last time to 0.
    pub denoise: bool,
    /// The score.
    pub score: &'a dyn Score,
    /// Samples.
    pub n: usize,
    /// Coordinates of a sample.
    pub dim: usize,
    /// Seed of all noise, the prior's included.
    pub seed: u64,
}

/// Fills `slices` with the standard normals number `first ..` of the values from `value` on.
fn draw(key: [u64; 2], value: u64, first: u64, slices: &mut [Vec<f64>]) {
    // draws come in pairs; an odd number of slices leaves the last pair's second unused
    for (pair, two) in (first..).zip(slices.chunks_mut(2)) {
        if let [a, b] = two {
            normals(key, value, pair, [a, b]);
        } else if let [a] = two {
            let mut unused = vec![0.0; a.len()];
            normals(key, value, pair, [a, &mut unused]);
        }
    }
}

/// Rows `from .. to` at the prior.
fn prior(diffusion: &Diffusion, seed: u64, dim: usize, from: usize, to: usize) -> Vec<Vec<f64>> {
    let (k, n) = (diffusion.channels(), (to - from) * dim);
    let mut xi = vec![vec![0.0; n]; k];
    draw(
        Stream::named(seed, "prior").key(),
        (from * dim) as u64,
        0,
        &mut xi,
    );
    let prior = diffusion.prior();
    let l: Square = by_channels!(k, up to 6, K => root(&prior.fixed::<K>()).into(), else prior);
    let inputs: Vec<&[f64]> = xi.iter().map(Vec::as_slice).collect();
    let mut u = vec![vec![0.0; n]; k];
    let mut channels: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
    super::combine::update(&mut channels, &Square::zero(k), &inputs, l.as_slice());
    u
}

/// The state of every channel, row-major (n, dim).
type Channels = Vec<Vec<f64>>;

/// Runs `block` for rows `from .. to` of each block of these of `n` rows, on all threads, and puts
/// the blocks' channels one after the other, with what else each block gives.
///
/// # Errors
/// No samples or coordinates; those of a block.
fn by_blocks<T: Send>(
    (n, dim): (usize, usize),
    rows: Range<usize>,
    channels: usize,
    block: impl Fn(usize, usize) -> Result<(Channels, T)> + Sync,
) -> Result<(Channels, Vec<T>)> {
    if n == 0 || dim == 0 {
        return Err(Error::parameter(
            "n, dim",
            format!("{n}, {dim}"),
            "at least 1 each",
        ));
    }
    if rows.start > rows.end || rows.end > n {
        return Err(Error::parameter(
            "rows",
            format!("{rows:?}"),
            format!("within 0..{n}"),
        ));
    }
    let parts = (0..rows.len().div_ceil(BLOCK))
        .into_par_iter()
        .map(|b| rows.start + b * BLOCK)
        .map(|from| block(from, rows.end.min(from + BLOCK)))
        .collect::<Result<Vec<_>>>()?;
    let mut all = vec![Vec::with_capacity(rows.len() * dim); channels];
    let mut others = vec![];
    for (part, other) in parts {
        all.iter_mut().zip(part).for_each(|(a, p)| a.extend(p));
        others.push(other);
    }
    Ok((all, others))
}

/// One step: step `i` of `stepper`, with this noise.
fn step(
    (stepper, i): (&dyn Stepper, usize),
    u: &mut [Vec<f64>],
    noise: &[Vec<f64>],
    score: &dyn Score,
    memory: &mut Memory,
) -> Result<()> {
    let slices: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
    let mut channels: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
    stepper.step(i, &mut channels, &slices, score, memory)
}

/// The noise-free Euler step from `t` to 0.
fn denoise(diffusion: &Diffusion, t: f64, u: &mut [Vec<f64>], score: &dyn Score) -> Result<()> {
    let last = Denoise::new(diffusion, t)?;
    let mut memory = Memory::new(&last, u[0].len());
    step((&last, 0), u, &[], score, &mut memory)
}

/// A run of an adaptive sampler, from the prior to time `eps`. Each block of [`BLOCK`] rows has its
/// own steps and its own normals, so that the result does not depend on the threads; it does depend
/// on the size of the blocks, which is fixed.
pub struct AdaptiveRun<'a> {
    /// The diffusion.
    pub diffusion: &'a Diffusion,
    /// The sampler.
    pub sampler: &'a AdaptiveEntry,
    /// How exact.
    pub tolerance: Tolerance,
    /// The last time, in (0, 1).
    pub eps: f64,
    /// Ends with a noise-free Euler step from `eps` to 0.
    pub denoise: bool,
    /// The score.
    pub score: &'a dyn Score,
    /// Samples.
    pub n: usize,
    /// Coordinates of a sample.
    pub dim: usize,
    /// Seed of all noise, the prior's included.
    pub seed: u64,
}

impl AdaptiveRun<'_> {
    /// Runs: one vector per channel, row-major (n, dim), and the counts of each block (the
    /// denoising step not among them). `progress` is told the blocks done and their number.
    ///
    /// # Errors
    /// As the sampler; no samples or coordinates.
    pub fn sample(
        &self,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Vec<Vec<f64>>, Vec<Counts>)> {
        self.rows(0..self.n, progress)
    }

    /// These rows of it, which begin with a block.
    ///
    /// # Errors
    /// As [`sample`](Self::sample); rows that there are not, or that begin within a block.
    pub fn rows(
        &self,
        rows: Range<usize>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Vec<Vec<f64>>, Vec<Counts>)> {
        if !rows.is_empty() && !rows.start.is_multiple_of(BLOCK) {
            let allowed = format!("from a multiple of {BLOCK} on");
            return Err(Error::parameter("rows", format!("{rows:?}"), allowed));
        }
        let (blocks, done) = (rows.len().div_ceil(BLOCK), AtomicUsize::new(0));
        let key = Stream::named(self.seed, "adaptive").key();
        let channels = self.diffusion.channels();
        by_blocks((self.n, self.dim), rows, channels, |from, to| {
            let mut u = prior(self.diffusion, self.seed, self.dim, from, to);
            let mut channels: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
            let mut noise = Counter::new(key, (from * self.dim) as u64);
            let counts = (self.sampler.run)(
                self.diffusion,
                self.score,
                &mut channels,
                (1.0, self.eps),
                &self.tolerance,
                &mut noise,
            )?;
            if self.denoise {
                denoise(self.diffusion, self.eps, &mut u, self.score)?;
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, blocks);
            Ok((u, counts))
        })
    }
}

impl Run<'_> {
    /// Pairs of draws in a step.
    fn pairs(&self) -> u64 {
        self.stepper.draws().div_ceil(2) as u64
    }

    /// One block, step by step; `see` gets the state after each step (0: the start).
    fn block(
        &self,
        from: usize,
        to: usize,
        see: &mut dyn FnMut(usize, &[Vec<f64>]),
    ) -> Result<Vec<Vec<f64>>> {
        let mut u = prior(self.diffusion, self.seed, self.dim, from, to);
        see(0, &u);
        let n = u[0].len();
        let key = Stream::named(self.seed, "steps").key();
        let mut noise = vec![vec![0.0; n]; self.stepper.draws()];
        let mut memory = Memory::new(self.stepper, n);
        let steps = self.grid.steps();
        for i in 0..steps {
            draw(
                key,
                (from * self.dim) as u64,
                i as u64 * self.pairs(),
                &mut noise,
            );
            step((self.stepper, i), &mut u, &noise, self.score, &mut memory)?;
            self.finite(i, &u)?;
            see(i + 1, &u);
        }
        if self.denoise {
            denoise(self.diffusion, self.grid.times()[steps], &mut u, self.score)?;
            self.finite(steps, &u)?;
            see(steps + 1, &u);
        }
        Ok(u)
    }

    /// Refuses a state that is not finite, after step `number` of the run.
    fn finite(&self, number: usize, u: &[Vec<f64>]) -> Result<()> {
        // 0 x is 0 unless x is infinite or NaN, and then it is NaN: one sum finds all
        let zero: f64 = u
            .iter()
            .map(|c| c.iter().map(|x| 0.0 * x).sum::<f64>())
            .sum();
        if zero == 0.0 {
            Ok(())
        } else {
            Err(Error::NonFinite {
                step: number,
                t: self.grid.times()[number],
            })
        }
    }

    /// Runs. The result has one vector per channel, row-major (n, dim). `progress` is told the
    /// steps done and their number, over all blocks.
    ///
    /// # Errors
    /// The score's own; a value that is not finite, with step and time.
    pub fn sample(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Vec<Vec<f64>>> {
        self.rows(0..self.n, progress)
    }

    /// These rows of it, the same bits as among all.
    ///
    /// # Errors
    /// As [`sample`](Self::sample); rows that there are not.
    pub fn rows(
        &self,
        rows: Range<usize>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Vec<f64>>> {
        let steps = self.grid.steps();
        let (total, done) = (rows.len().div_ceil(BLOCK) * steps, AtomicUsize::new(0));
        let channels = self.diffusion.channels();
        let (all, _) = by_blocks((self.n, self.dim), rows, channels, |from, to| {
            let mut tell = |i: usize, _: &[Vec<f64>]| {
                if i > 0 && i <= steps {
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                }
            };
            Ok((self.block(from, to, &mut tell)?, ()))
        })?;
        Ok(all)
    }

    /// The whole trajectory of the first `n` samples (at most one block): the state at the start
    /// and after each step.
    ///
    /// # Errors
    /// As [`sample`](Self::sample); more samples than a block.
    pub fn trajectories(&self) -> Result<Vec<Vec<Vec<f64>>>> {
        if !(1..=BLOCK).contains(&self.n) {
            return Err(Error::parameter(
                "n",
                self.n,
                format!("1 to {BLOCK} for trajectories"),
            ));
        }
        let mut all = vec![];
        self.block(0, self.n, &mut |_, u| all.push(u.to_vec()))?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ADAPTIVE;
    use super::*;
    use crate::sampler::entry;
    use crate::sampler::grid::Spacing;
    use crate::score::Gaussian;

    struct Breaks;

    impl Score for Breaks {
        fn score(&self, t: f64, _: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
            out.iter_mut().for_each(|o| o.fill(0.0));
            if t < 0.5 {
                out[0][0] = f64::NAN;
            }
            Ok(())
        }
    }

    /// Catches a run that goes on with NaN, or names another step than the one that made it: on a
    /// linear grid of ten steps the first time below 1/2 is 0.4006, the start of step 6.
    #[test]
    fn a_score_that_is_not_finite_stops_the_run() {
        let d = Diffusion::paper().unwrap();
        let grid = Grid::spaced(Spacing::Linear, &d, 10, 1e-3).unwrap();
        for name in ["em", "sscs"] {
            let stepper = entry(name).unwrap().build(&d, &grid).unwrap();
            let run = Run {
                diffusion: &d,
                stepper: &*stepper,
                grid: &grid,
                denoise: false,
                score: &Breaks,
                n: 3,
                dim: 2,
                seed: 1,
            };
            let refused = run.sample(&|_, _| ()).unwrap_err();
            assert_eq!(
                refused,
                Error::NonFinite {
                    step: 6,
                    t: grid.times()[6]
                },
                "{name}"
            );
            assert!((grid.times()[6] - 0.4006).abs() < 1e-12);
            assert!(
                refused.to_string().contains("step 6, time 0.400"),
                "{refused}"
            );
        }
    }

    /// Catches steps that are not told or told twice, a trajectory that is not the run's own or
    /// lacks its start or its end, and a run of nothing that is made: two blocks of three steps.
    #[test]
    fn runs_tell_their_steps_and_keep_their_way() {
        let d = Diffusion::paper().unwrap();
        let score = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
        let grid = Grid::new(vec![1.0, 0.6, 0.3, 0.1]).unwrap();
        let stepper = entry("em").unwrap().build(&d, &grid).unwrap();
        let run = |n: usize, dim: usize, denoise: bool| Run {
            diffusion: &d,
            stepper: &*stepper,
            grid: &grid,
            denoise,
            score: &score,
            n,
            dim,
            seed: 3,
        };
        let adaptive = |n: usize, dim: usize| AdaptiveRun {
            diffusion: &d,
            sampler: &ADAPTIVE[0],
            tolerance: Tolerance::new(0.1, 0.1).unwrap(),
            eps: 0.1,
            denoise: false,
            score: &score,
            n,
            dim,
            seed: 3,
        };
        let told = std::sync::Mutex::new(vec![]);
        let tell = |done: usize, of: usize| told.lock().unwrap().push((done, of));
        let heard = || {
            let mut all = std::mem::take(&mut *told.lock().unwrap());
            all.sort_unstable();
            all
        };
        for denoise in [false, true] {
            let all = run(BLOCK + 5, 1, denoise).sample(&tell).unwrap();
            assert_eq!(heard(), (1..=6).map(|i| (i, 6)).collect::<Vec<_>>());
            assert_eq!((all.len(), all[0].len()), (2, BLOCK + 5));
            let way = run(4, 2, denoise).trajectories().unwrap();
            assert_eq!(way.len(), if denoise { 5 } else { 4 });
            let four = run(4, 2, denoise).sample(&|_, _| ()).unwrap();
            assert_eq!(way.last(), Some(&four));
            assert_eq!(way[0], prior(&d, 3, 2, 0, 4));
            // rows are the same in any company
            assert_eq!(four[0][..], all[0][..8]);
            let some = run(BLOCK + 5, 1, denoise)
                .rows(7..BLOCK + 2, &tell)
                .unwrap();
            assert_eq!(heard().len(), 3);
            assert_eq!(some[1][..], all[1][7..BLOCK + 2]);
            assert_ne!(way[0], way[1]);
        }
        adaptive(BLOCK + 5, 1).sample(&tell).unwrap();
        assert_eq!(heard(), [(1, 2), (2, 2)]);
        for (n, dim) in [(0, 1), (1, 0)] {
            let e = run(n, dim, false).sample(&|_, _| ()).unwrap_err();
            assert!(e.to_string().contains("at least 1 each"), "{e}");
            assert!(adaptive(n, dim).sample(&|_, _| ()).is_err());
        }
        for rows in [3..BLOCK + 6, Range { start: 2, end: 1 }] {
            let e = run(BLOCK + 5, 1, false).rows(rows, &|_, _| ()).unwrap_err();
            assert!(e.to_string().contains("within 0..2053"), "{e}");
        }
        let whole = adaptive(BLOCK + 5, 1).sample(&|_, _| ()).unwrap();
        let part = adaptive(BLOCK + 5, 1)
            .rows(BLOCK..BLOCK + 5, &|_, _| ())
            .unwrap();
        assert_eq!(
            (&part.0[0][..], &part.1[..]),
            (&whole.0[0][BLOCK..], &whole.1[1..])
        );
        assert!(adaptive(BLOCK + 5, 1).rows(1..5, &|_, _| ()).is_err());
        for n in [0, BLOCK + 1] {
            assert!(run(n, 1, false).trajectories().is_err());
        }
        assert!(run(BLOCK, 1, false).trajectories().is_ok());
    }

    /// Catches noise that a block shares with another or takes from its thread, and a denoising
    /// step with the wrong time: the same bits on one thread and three, blocks that differ, and the
    /// variance of the data (z-scores at 4.5, false alarm 7e-6; fixed seed).
    #[test]
    fn adaptive_runs_do_not_depend_on_threads() {
        let d = Diffusion::paper().unwrap();
        let score = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
        let (tolerance, n) = (Tolerance::new(1e-2, 1e-2).unwrap(), 2 * BLOCK + 100);
        let run = AdaptiveRun {
            diffusion: &d,
            sampler: &ADAPTIVE[0],
            tolerance,
            eps: 1e-3,
            denoise: true,
            score: &score,
            n,
            dim: 2,
            seed: 5,
        };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| run.sample(&|_, _| {}).unwrap())
        };
        let (a, counts) = on(1);
        assert_eq!((&a, &counts), (&on(3).0, &on(3).1));
        assert_eq!((a.len(), a[0].len(), counts.len()), (2, 2 * n, 3));
        assert!(a[0][0] != a[0][2 * BLOCK] && a[1].iter().all(|x| x.is_finite()));
        let values = a[0].len() as f64;
        let variance = a[0].iter().map(|x| (x - 0.7).powi(2)).sum::<f64>() / values;
        let z = (variance / 0.25 - 1.0) / (2.0 / values).sqrt();
        println!("{counts:?} {z}");
        assert!(z.abs() < 4.5, "{z}");
    }
}
