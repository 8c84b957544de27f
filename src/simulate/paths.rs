//! Batches of paths of a linear SDE, on all cores: the same bits for any number of threads.
//!
//! A step of any scheme on a linear SDE is `u' = A u + C xi` with matrices that all paths share
//! ([`affine_step`] reads them off the scheme's own step), so one loop runs every scheme: it is
//! [`simd::affine_paths`], which keeps a group of paths in registers from record to record. Paths
//! are worked off in blocks of [`BLOCK`]; each block's moments are merged in the order of the
//! blocks, whoever computed them.

use super::law::affine_step;
use super::moments::Moments;
use super::schemes::{Scheme, Sde};
use super::streams::Stream;
use crate::error::{Error, Result};
use crate::simd::normal::normal_pair;
use crate::simd::{self, Steps};
use rayon::prelude::*;

/// Paths of a block: what one thread works on at a time. Its state (K times 16 kB) stays in the
/// first-level cache.
pub const BLOCK: u64 = 2048;

/// A simulation, planned: everything that all paths share.
#[derive(Clone, Debug)]
pub struct Plan<const K: usize> {
    /// The steps between one record and the next.
    segments: Vec<Steps<K>>,
    mean: [f64; K],
    deviation: [f64; K],
    stream: Stream,
}

impl<const K: usize> Plan<K> {
    /// Paths of `sde` by `scheme` over `grid`, whose moments are recorded at the grid's points
    /// `records` (increasing, not 0). They start from independent normals with the given mean and
    /// standard deviation per channel.
    ///
    /// # Errors
    /// A scheme that is not defined for the SDE; a grid that does not increase within [0, 1];
    /// records that are not increasing indices of the grid.
    pub fn new(
        scheme: Scheme,
        sde: &impl Sde<K>,
        grid: &[f64],
        records: &[usize],
        (mean, deviation): ([f64; K], [f64; K]),
        stream: Stream,
    ) -> Result<Self> {
        check(scheme, sde, grid, records)?;
        let mut from = 0;
        let mut draws = K;
        let mut segments = vec![];
        for &to in records {
            let steps = (from..to).map(|n| affine_step(scheme, sde, grid[n], grid[n + 1]));
            let segment = Steps::new(steps.map(|s| (s.state.0, s.noise.map(|m| m.0))), draws);
            draws += segment.draws();
            segments.push(segment);
            from = to;
        }
        Ok(Plan {
            segments,
            mean,
            deviation,
            stream,
        })
    }

    /// Steps of one path.
    pub fn steps(&self) -> usize {
        self.segments.iter().map(Steps::len).sum()
    }

    /// Normal draws of one path, the initial ones included.
    pub fn draws(&self) -> usize {
        K + self.segments.iter().map(Steps::draws).sum::<usize>()
    }

    /// Runs paths `first ..` of number `u[0].len()` and hands the states over at each record.
    pub fn run(
        &self,
        first: u64,
        u: &mut [Vec<f64>; K],
        mut at: impl FnMut(usize, &[Vec<f64>; K]),
    ) {
        let key = self.stream.key();
        simd::initial_paths(
            self.mean,
            self.deviation,
            key,
            first,
            u.each_mut().map(Vec::as_mut_slice),
        );
        for (r, steps) in self.segments.iter().enumerate() {
            simd::affine_paths(steps, key, first, u.each_mut().map(Vec::as_mut_slice));
            at(r, u);
        }
    }

    /// [`run`](Self::run) in single precision, with noise of its own: twice as many paths per
    /// vector. The steps' matrices are rounded to f32, so the law is that of the rounded matrices,
    /// 1e-7 relative from the exact one.
    pub fn run_f32(
        &self,
        first: u64,
        u: &mut [Vec<f32>; K],
        mut at: impl FnMut(usize, &[Vec<f32>; K]),
    ) {
        let key = self.stream.key_f32();
        simd::initial_paths_f32(
            self.mean,
            self.deviation,
            key,
            first,
            u.each_mut().map(Vec::as_mut_slice),
        );
        for (r, steps) in self.segments.iter().enumerate() {
            simd::affine_paths_f32(steps, key, first, u.each_mut().map(Vec::as_mut_slice));
            at(r, u);
        }
    }

    /// Moments at each record of paths `from .. to`, by blocks in order. One thread.
    pub fn moments(&self, from: u64, to: u64) -> Vec<Moments<K>> {
        self.by_blocks(from, to, |first, n, sums| {
            let mut u: [Vec<f64>; K] = std::array::from_fn(|_| vec![0.0; n]);
            self.run(first, &mut u, |r, u| {
                sums[r] = sums[r].merge(&Moments::of(u.each_ref().map(Vec::as_slice)))
            });
        })
    }

    /// [`moments`](Self::moments) of paths in single precision; the sums are in f64.
    pub fn moments_f32(&self, from: u64, to: u64) -> Vec<Moments<K>> {
        self.by_blocks(from, to, |first, n, sums| {
            let mut u: [Vec<f32>; K] = std::array::from_fn(|_| vec![0.0; n]);
            self.run_f32(first, &mut u, |r, u| {
                let wide = u
                    .each_ref()
                    .map(|c| c.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
                sums[r] = sums[r].merge(&Moments::of(wide.each_ref().map(Vec::as_slice)));
            });
        })
    }

    /// `block` adds its `n` paths from `first` on to the sums, block after block.
    fn by_blocks(
        &self,
        from: u64,
        to: u64,
        block: impl Fn(u64, usize, &mut [Moments<K>]),
    ) -> Vec<Moments<K>> {
        let mut sums = vec![Moments::EMPTY; self.segments.len()];
        for first in (from..to).step_by(BLOCK as usize) {
            block(first, BLOCK.min(to - first) as usize, &mut sums);
        }
        sums
    }

    /// Moments at each record of `paths` paths, on all threads of the current pool. The work is cut
    /// into portions of fixed size, whose sums are merged in order; memory does not grow with
    /// `paths`.
    pub fn simulate(&self, paths: u64) -> Vec<Moments<K>> {
        self.simulate_by(paths, |from, to| self.moments(from, to))
    }

    /// [`simulate`](Self::simulate) in single precision.
    pub fn simulate_f32(&self, paths: u64) -> Vec<Moments<K>> {
        self.simulate_by(paths, |from, to| self.moments_f32(from, to))
    }

    fn simulate_by(
        &self,
        paths: u64,
        moments: impl Fn(u64, u64) -> Vec<Moments<K>> + Sync,
    ) -> Vec<Moments<K>> {
        const PORTION: u64 = 16 * BLOCK;
        const WAVE: u64 = 64;
        let portions = paths.div_ceil(PORTION);
        let mut total = vec![Moments::EMPTY; self.segments.len()];
        for wave in (0..portions).step_by(WAVE as usize) {
            let parts: Vec<Vec<Moments<K>>> = (wave..portions.min(wave + WAVE))
                .into_par_iter()
                .map(|p| moments(p * PORTION, paths.min((p + 1) * PORTION)))
                .collect();
            for part in parts {
                total
                    .iter_mut()
                    .zip(&part)
                    .for_each(|(t, p)| *t = t.merge(p));
            }
        }
        total
    }
}

/// Moments at each record of `paths` paths of any SDE, linear or not, by `scheme` over `grid`, on
/// all threads: path by path, with the same draws for any number of threads. A linear SDE runs a
/// hundred times faster as a [`Plan`].
///
/// # Errors
/// As [`Plan::new`]; no paths.
pub fn simulate_any<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    grid: &[f64],
    records: &[usize],
    (mean, deviation): ([f64; K], [f64; K]),
    stream: Stream,
    paths: u64,
) -> Result<Vec<Moments<K>>> {
    check(scheme, sde, grid, records)?;
    if paths == 0 {
        return Err(Error::parameter("paths", paths, "at least 1"));
    }
    let one = |path: u64, sink: &mut dyn FnMut(usize, [f64; K])| {
        let (mut pair, mut spare) = (0, None);
        let mut draw = || {
            spare.take().unwrap_or_else(|| {
                let [a, b] = normal_pair(stream.bits(path, pair));
                pair += 1;
                spare = Some(b);
                a
            })
        };
        let mut u: [f64; K] = std::array::from_fn(|i| mean[i] + deviation[i] * draw());
        for n in 1..grid.len() {
            let mut noise = [[0.0; K]; 2];
            noise
                .iter_mut()
                .take(scheme.draws())
                .flatten()
                .for_each(|x| *x = draw());
            u = scheme.step(sde, grid[n - 1], grid[n], u, noise);
            if let Ok(r) = records.binary_search(&n) {
                sink(r, u);
            }
        }
    };
    let block = |b: u64| -> Vec<Moments<K>> {
        let numbers = b * BLOCK..paths.min((b + 1) * BLOCK);
        let mut columns: Vec<[Vec<f64>; K]> = records
            .iter()
            .map(|_| std::array::from_fn(|_| vec![]))
            .collect();
        for path in numbers {
            one(path, &mut |r, u| {
                columns[r].iter_mut().zip(u).for_each(|(c, x)| c.push(x))
            });
        }
        columns
            .iter()
            .map(|c| Moments::of(std::array::from_fn(|i| c[i].as_slice())))
            .collect()
    };
    let mut total = vec![Moments::EMPTY; records.len()];
    let blocks = paths.div_ceil(BLOCK);
    for wave in (0..blocks).step_by(256) {
        let parts: Vec<Vec<Moments<K>>> = (wave..blocks.min(wave + 256))
            .into_par_iter()
            .map(block)
            .collect();
        parts.iter().for_each(|part| {
            total
                .iter_mut()
                .zip(part)
                .for_each(|(t, p)| *t = t.merge(p))
        });
    }
    Ok(total)
}

/// What [`Plan::new`] refuses.
fn check<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    grid: &[f64],
    records: &[usize],
) -> Result<()> {
    scheme.check(sde)?;
    if grid.len() < 2
        || grid.windows(2).any(|w| !(w[0] < w[1]))
        || !(grid[0] >= 0.0 && grid[grid.len() - 1] <= 1.0)
    {
        return Err(Error::parameter(
            "grid",
            format!("{} points", grid.len()),
            "at least two, increasing, within [0, 1]",
        ));
    }
    let ordered =
        records.windows(2).all(|w| w[0] < w[1]) && records.iter().all(|&r| r > 0 && r < grid.len());
    if records.is_empty() || !ordered {
        return Err(Error::parameter(
            "records",
            format!("{records:?}"),
            format!("increasing indices from 1 to {}", grid.len() - 1),
        ));
    }
    Ok(())
}
