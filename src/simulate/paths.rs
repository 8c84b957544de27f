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
use std::borrow::Cow;

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

    /// Runs paths `first ..` of number `u[0].len()` and hands the states over at each record. In
    /// single precision the noise is its own and the steps' matrices are rounded, so the law is that
    /// of the rounded matrices, 1e-7 relative from the exact one; twice as many paths fit a vector.
    pub fn run<T: PathFloat>(
        &self,
        first: u64,
        u: &mut [Vec<T>; K],
        mut at: impl FnMut(usize, &[Vec<T>; K]),
    ) {
        let key = T::key(&self.stream);
        let law = (self.mean, self.deviation);
        T::initial(law, key, first, u.each_mut().map(Vec::as_mut_slice));
        for (r, steps) in self.segments.iter().enumerate() {
            T::steps(steps, key, first, u.each_mut().map(Vec::as_mut_slice));
            at(r, u);
        }
    }

    /// Moments at each record of paths `from .. to` in double precision, by blocks in order. One
    /// thread.
    pub fn moments(&self, from: u64, to: u64) -> Vec<Moments<K>> {
        self.moments_in::<f64>(from, to)
    }

    /// The same in the precision of T; the sums are in f64.
    fn moments_in<T: PathFloat>(&self, from: u64, to: u64) -> Vec<Moments<K>> {
        let mut sums = vec![Moments::EMPTY; self.segments.len()];
        for first in (from..to).step_by(BLOCK as usize) {
            let n = BLOCK.min(to - first) as usize;
            let mut u: [Vec<T>; K] = std::array::from_fn(|_| vec![T::default(); n]);
            self.run(first, &mut u, |r, u| {
                let wide = u.each_ref().map(|c| T::wide(c));
                let columns = wide.each_ref().map(AsRef::as_ref);
                sums[r] = sums[r].merge(&Moments::of(columns));
            });
        }
        sums
    }

    /// Moments at each record of `paths` paths, on all threads of the current pool. The work is cut
    /// into portions of fixed size, whose sums are merged in order; memory does not grow with
    /// `paths`.
    pub fn simulate(&self, paths: u64) -> Vec<Moments<K>> {
        self.simulate_in::<f64>(paths)
    }

    /// [`simulate`](Self::simulate) in single precision.
    pub fn simulate_f32(&self, paths: u64) -> Vec<Moments<K>> {
        self.simulate_in::<f32>(paths)
    }

    fn simulate_in<T: PathFloat>(&self, paths: u64) -> Vec<Moments<K>> {
        const PORTION: u64 = 16 * BLOCK;
        merged(
            self.segments.len(),
            (paths.div_ceil(PORTION), 64),
            &|p: u64| self.moments_in::<T>(p * PORTION, paths.min((p + 1) * PORTION)),
        )
    }
}

/// The moments at each of `records`, over parts of a simulation: `wave` of them at a time on all
/// threads, merged in their order.
fn merged<const K: usize>(
    records: usize,
    (parts, wave): (u64, u64),
    part: &(impl Fn(u64) -> Vec<Moments<K>> + Sync),
) -> Vec<Moments<K>> {
    let mut total = vec![Moments::EMPTY; records];
    for first in (0..parts).step_by(wave as usize) {
        let done: Vec<Vec<Moments<K>>> = (first..parts.min(first + wave))
            .into_par_iter()
            .map(part)
            .collect();
        for part in done {
            let both = total.iter_mut().zip(&part);
            both.for_each(|(t, p)| *t = t.merge(p));
        }
    }
    total
}

/// A float that paths are run in.
pub trait PathFloat: Copy + Default + Sized {
    /// Key of its normals.
    type Key: Copy;
    /// The stream's key.
    fn key(stream: &Stream) -> Self::Key;
    /// Paths `first ..` at the start, which has this mean and deviation.
    fn initial<const K: usize>(
        law: ([f64; K], [f64; K]),
        key: Self::Key,
        first: u64,
        u: [&mut [Self]; K],
    );
    /// Their steps to the next record.
    fn steps<const K: usize>(steps: &Steps<K>, key: Self::Key, first: u64, u: [&mut [Self]; K]);
    /// In double precision.
    fn wide(column: &[Self]) -> Cow<'_, [f64]>;
}

impl PathFloat for f64 {
    type Key = [u64; 2];
    fn key(stream: &Stream) -> [u64; 2] {
        stream.key()
    }
    fn initial<const K: usize>(
        (mean, deviation): ([f64; K], [f64; K]),
        key: [u64; 2],
        first: u64,
        u: [&mut [f64]; K],
    ) {
        simd::initial_paths(mean, deviation, key, first, u);
    }
    fn steps<const K: usize>(steps: &Steps<K>, key: [u64; 2], first: u64, u: [&mut [f64]; K]) {
        simd::affine_paths(steps, key, first, u);
    }
    fn wide(column: &[f64]) -> Cow<'_, [f64]> {
        column.into()
    }
}

impl PathFloat for f32 {
    type Key = [u32; 4];
    fn key(stream: &Stream) -> [u32; 4] {
        stream.key_f32()
    }
    fn initial<const K: usize>(
        (mean, deviation): ([f64; K], [f64; K]),
        key: [u32; 4],
        first: u64,
        u: [&mut [f32]; K],
    ) {
        simd::initial_paths_f32(mean, deviation, key, first, u);
    }
    fn steps<const K: usize>(steps: &Steps<K>, key: [u32; 4], first: u64, u: [&mut [f32]; K]) {
        simd::affine_paths_f32(steps, key, first, u);
    }
    fn wide(column: &[f32]) -> Cow<'_, [f64]> {
        column.iter().map(|x| f64::from(*x)).collect()
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
    Ok(merged(records.len(), (paths.div_ceil(BLOCK), 256), &block))
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
