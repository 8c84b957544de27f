//! Multilevel Monte Carlo (Giles 2008): most paths on coarse grids, few on fine ones, coupled by
//! the same Brownian path.
//!
//! ```text
//! E[f(u_L)] = E[f(u_0)] + sum over l = 1..L of E[f(u_l) - f(u_(l-1))],   level l has 2^l times the steps of level 0
//! ```
//!
//! Differences of coupled paths have small variance, so few of them are needed. Works for any
//! [`Sde`], linear or not.

use super::schemes::{Scheme, Sde};
use super::streams::Stream;
use crate::error::{Error, Result};
use crate::simd::normal::normal_pair;
use rayon::prelude::*;

/// What is to be estimated: `E[f(u_to)]` for paths from `start` at time `from`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task<const K: usize> {
    /// Initial state.
    pub start: [f64; K],
    /// Initial time.
    pub from: f64,
    /// Final time.
    pub to: f64,
    /// Steps of the coarsest level.
    pub steps: usize,
    /// Number of levels.
    pub levels: usize,
    /// The standard error aimed at.
    pub standard_error: f64,
    /// At most this many paths on a level.
    pub most_paths: u64,
}

/// One level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Steps of its fine paths.
    pub steps: usize,
    /// Paths.
    pub paths: u64,
    /// Mean of `f(fine) - f(coarse)` (level 0: of f).
    pub mean: f64,
    /// Variance of the same, of one path.
    pub variance: f64,
}

/// The estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// `E[f(u_to)]` on the finest grid: no bias but that grid's own.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The levels.
    pub levels: Vec<Level>,
}

/// Number, mean, and sum of squared deviations.
type Sums = (u64, f64, f64);

fn merge(a: Sums, b: Sums) -> Sums {
    if a.0 == 0 || b.0 == 0 {
        return if a.0 == 0 { b } else { a };
    }
    let n = a.0 + b.0;
    let (d, w) = (b.1 - a.1, b.0 as f64 / n as f64);
    (n, a.1 + w * d, a.2 + b.2 + a.0 as f64 * w * d * d)
}

/// Refuses what cannot be estimated, or not within bounds.
fn check<const K: usize>(scheme: Scheme, sde: &impl Sde<K>, task: &Task<K>) -> Result<()> {
    scheme.check(sde)?;
    if !matches!(scheme, Scheme::EulerMaruyama | Scheme::Sra1) {
        return Err(Error::parameter(
            "scheme",
            scheme.name(),
            "em or sra1 (levels must share their Brownian increments)",
        ));
    }
    if !(0.0 <= task.from && task.from < task.to && task.to <= 1.0) {
        return Err(Error::parameter(
            "from, to",
            format!("{}, {}", task.from, task.to),
            "0 <= from < to <= 1",
        ));
    }
    if !(1..=1 << 20).contains(&task.steps) || !(1..=12).contains(&task.levels) {
        return Err(Error::parameter(
            "steps, levels",
            format!("{}, {}", task.steps, task.levels),
            "1 to 2^20 steps, 1 to 12 levels",
        ));
    }
    if !(task.standard_error > 0.0) || task.most_paths < 1000 {
        return Err(Error::parameter(
            "standard_error",
            task.standard_error,
            "more than 0, with most_paths at least 1000",
        ));
    }
    Ok(())
}

/// The estimate for `f`, by `scheme`. The same seed gives the same bits for any number of threads.
///
/// # Errors
/// A scheme that is not defined for the SDE, or does not couple exactly (splitting and exact: their
/// Gaussians are not increments of the Brownian path); times, steps, levels or a standard error out
/// of range.
pub fn multilevel<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    task: &Task<K>,
    seed: u64,
    f: impl Fn([f64; K]) -> f64 + Sync,
) -> Result<Estimate> {
    check(scheme, sde, task)?;
    let run = |level: usize, from: u64, to: u64| -> Sums {
        const BLOCK: u64 = 1000;
        let blocks: Vec<Sums> = (from / BLOCK..to.div_ceil(BLOCK))
            .into_par_iter()
            .map(|b| {
                let (first, last) = ((b * BLOCK).max(from), ((b + 1) * BLOCK).min(to));
                let values: Vec<f64> = (first..last)
                    .map(|p| difference(scheme, sde, task, seed, level, p, &f))
                    .collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                (
                    values.len() as u64,
                    mean,
                    values.iter().map(|v| (v - mean) * (v - mean)).sum(),
                )
            })
            .collect();
        blocks.into_iter().fold((0, 0.0, 0.0), merge)
    };
    // a first look at each level's variance, then as many paths as the optimum asks for, in a
    // second round
    let mut sums: Vec<Sums> = (0..task.levels).map(|l| run(l, 0, 1000)).collect();
    let cost = |l: usize| (task.steps << l) as f64;
    let variance = |s: &Sums| s.2 / (s.0 - 1) as f64;
    let total: f64 = sums
        .iter()
        .enumerate()
        .map(|(l, s)| (variance(s) * cost(l)).sqrt())
        .sum();
    for (l, s) in sums.iter_mut().enumerate() {
        let best =
            (variance(s) / cost(l)).sqrt() * total / (task.standard_error * task.standard_error);
        let paths = (best.ceil() as u64).clamp(1000, task.most_paths);
        *s = merge(*s, run(l, 1000, paths));
    }
    let level = |(l, s): (usize, &Sums)| Level {
        steps: task.steps << l,
        paths: s.0,
        mean: s.1,
        variance: variance(s),
    };
    let levels: Vec<Level> = sums.iter().enumerate().map(level).collect();
    let error = levels.iter().map(|l| l.variance / l.paths as f64);
    Ok(Estimate {
        value: levels.iter().map(|l| l.mean).sum(),
        standard_error: error.sum::<f64>().sqrt(),
        levels,
    })
}

/// `f(fine) - f(coarse)` for one path of a level; its noise is that of its own stream.
fn difference<const K: usize>(
    scheme: Scheme,
    sde: &impl Sde<K>,
    task: &Task<K>,
    seed: u64,
    level: usize,
    path: u64,
    f: &impl Fn([f64; K]) -> f64,
) -> f64 {
    let stream = Stream::new(seed, level as u64);
    let n = task.steps << level;
    let time = |i: usize| task.from + (task.to - task.from) * (i as f64 / n as f64);
    let mut next = 0u64;
    let mut spare = None;
    let mut draw = || {
        spare.take().unwrap_or_else(|| {
            let [a, b] = normal_pair(stream.bits(path, next));
            next += 1;
            spare = Some(b);
            a
        })
    };
    let mut noise = || {
        let mut all = [[0.0; K]; 2];
        all.iter_mut()
            .take(scheme.draws())
            .flatten()
            .for_each(|x| *x = draw());
        all
    };
    let (mut fine, mut coarse) = (task.start, task.start);
    if level == 0 {
        for i in 0..n {
            fine = scheme.step(sde, time(i), time(i + 1), fine, noise());
        }
        return f(fine);
    }
    for i in (0..n).step_by(2) {
        let (a, b) = (noise(), noise());
        fine = scheme.step(sde, time(i), time(i + 1), fine, a);
        fine = scheme.step(sde, time(i + 1), time(i + 2), fine, b);
        coarse = scheme.step(sde, time(i), time(i + 2), coarse, scheme.combine(a, b));
    }
    f(fine) - f(coarse)
}
