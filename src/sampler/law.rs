//! The exact Gaussian law of a run, read off the steps that run: what is proved is the code itself.
//!
//! With an affine score (Gaussian data) the end of a run is affine in its start and its draws,
//! `u_N = A u_0 + c + C xi`. The run is made once for a batch whose rows are the origin, the unit
//! vectors of the start, and the unit vectors of every draw: what comes out are c, A and C. No
//! stepper is written twice, and multistep memory is probed with the rest.

use super::{Memory, Stepper};
use crate::error::Result;
use crate::score::Score;
use crate::small::Square;

/// The law at the end of a run, for one coordinate.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLaw {
    /// c.
    pub constant: Vec<f64>,
    /// A.
    pub state: Square,
    /// C: one column per draw, step by step; `channels` rows.
    pub noise: Vec<Vec<f64>>,
}

impl RunLaw {
    /// Mean and covariance of the end, for a start `N(mean, cov)`. Formula: sampler.law.
    pub fn moments(&self, mean: &[f64], cov: &Square) -> (Vec<f64>, Square) {
        let k = mean.len();
        let a = &self.state;
        let m = (0..k)
            .map(|i| self.constant[i] + (0..k).map(|j| a[(i, j)] * mean[j]).sum::<f64>())
            .collect();
        let c = Square::build(k, |i, j| {
            let start: f64 = (0..k * k)
                .map(|e| a[(i, e / k)] * cov[(e / k, e % k)] * a[(j, e % k)])
                .sum();
            start
                + self.noise[i]
                    .iter()
                    .zip(&self.noise[j])
                    .map(|(x, y)| x * y)
                    .sum::<f64>()
        });
        (m, c)
    }
}

/// The law of the given runs one after the other (a sampler's steps, then perhaps the denoising
/// step): each a stepper and its number of steps. `score` must be affine and act on each coordinate
/// alone.
///
/// # Errors
/// Those of the score.
pub fn run_law(
    runs: &[(&dyn Stepper, usize)],
    channels: usize,
    score: &dyn Score,
) -> Result<RunLaw> {
    let draws: usize = runs.iter().map(|(s, n)| s.draws() * n).sum();
    let rows = 1 + channels + draws;
    let mut u = vec![vec![0.0; rows]; channels];
    for (i, c) in u.iter_mut().enumerate() {
        c[1 + i] = 1.0;
    }
    let mut next = 1 + channels;
    for (stepper, steps) in runs {
        let mut memory = Memory::new(*stepper, rows);
        let mut noise = vec![vec![0.0; rows]; stepper.draws()];
        for i in 0..*steps {
            for (d, slice) in noise.iter_mut().enumerate() {
                slice[next + d] = 1.0;
            }
            // rubbish in the scratch, so that a step that reads it unwritten is seen
            memory.scratch.iter_mut().for_each(|s| s.fill(f64::NAN));
            let slices: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
            let mut channels: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
            stepper.step(i, &mut channels, &slices, score, &mut memory)?;
            for (d, slice) in noise.iter_mut().enumerate() {
                slice[next + d] = 0.0;
            }
            next += stepper.draws();
        }
    }
    let constant: Vec<f64> = u.iter().map(|c| c[0]).collect();
    let state = Square::build(channels, |i, j| u[i][1 + j] - constant[i]);
    let noise = u
        .iter()
        .zip(&constant)
        .map(|(c, o)| c[1 + channels..].iter().map(|x| x - o).collect())
        .collect();
    Ok(RunLaw {
        constant,
        state,
        noise,
    })
}
