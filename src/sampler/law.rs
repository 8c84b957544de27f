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
use ndarray::Array2;
use std::ops::Range;

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

/// A step of an affine run as matrices: `z' = A z + c + C xi`, where z is the state followed by
/// what the sampler keeps from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLaw {
    /// c.
    pub constant: Vec<f64>,
    /// A.
    pub state: Array2<f64>,
    /// C: one column per draw.
    pub noise: Array2<f64>,
}

/// A batch on which an affine map shows its matrix: its first row is the origin, the others are the
/// unit vectors of the inputs, one after the other.
struct Probe {
    rows: usize,
}

impl Probe {
    fn new(inputs: usize) -> Probe {
        Probe { rows: 1 + inputs }
    }

    /// Channels whose i-th is the input `first + i`.
    fn inputs(&self, first: usize, number: usize) -> Vec<Vec<f64>> {
        let mut all = vec![vec![0.0; self.rows]; number];
        for (i, slice) in all.iter_mut().enumerate() {
            slice[1 + first + i] = 1.0;
        }
        all
    }

    /// By how much the output moves with an input.
    fn gain(output: &[f64], input: usize) -> f64 {
        output[1 + input] - output[0]
    }

    /// Calls step `i`, whose draws are the inputs from `first` on.
    fn step(
        &self,
        (stepper, i): (&dyn Stepper, usize),
        u: &mut [Vec<f64>],
        first: usize,
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let noise = self.inputs(first, stepper.draws());
        // rubbish in the scratch, so that a step that reads it unwritten is seen
        memory.scratch.iter_mut().for_each(|s| s.fill(f64::NAN));
        let slices: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
        let mut channels: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
        stepper.step(i, &mut channels, &slices, score, memory)
    }
}

/// Step `i` of a sampler as matrices. `score` must be affine and act on each coordinate alone.
///
/// # Errors
/// Those of the score.
pub fn step_law(
    stepper: &dyn Stepper,
    i: usize,
    channels: usize,
    score: &dyn Score,
) -> Result<StepLaw> {
    let (size, draws) = (channels + stepper.kept(), stepper.draws());
    let probe = Probe::new(size + draws);
    let mut u = probe.inputs(0, channels);
    let mut memory = Memory::new(stepper, probe.rows);
    memory.kept = probe.inputs(channels, stepper.kept());
    probe.step((stepper, i), &mut u, size, score, &mut memory)?;
    let z: Vec<&Vec<f64>> = u.iter().chain(&memory.kept).collect();
    Ok(StepLaw {
        constant: z.iter().map(|c| c[0]).collect(),
        state: Array2::from_shape_fn((size, size), |(r, l)| Probe::gain(z[r], l)),
        noise: Array2::from_shape_fn((size, draws), |(r, l)| Probe::gain(z[r], size + l)),
    })
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
    let probe = Probe::new(channels + draws);
    let mut u = probe.inputs(0, channels);
    let mut next = channels;
    for (stepper, steps) in runs {
        let mut memory = Memory::new(*stepper, probe.rows);
        for i in 0..*steps {
            probe.step((*stepper, i), &mut u, next, score, &mut memory)?;
            next += stepper.draws();
        }
    }
    let gains = |c: &[f64], inputs: Range<usize>| inputs.map(|l| Probe::gain(c, l)).collect();
    Ok(RunLaw {
        constant: u.iter().map(|c| c[0]).collect(),
        state: Square::build(channels, |i, j| Probe::gain(&u[i], j)),
        noise: u.iter().map(|c| gains(c, channels..next)).collect(),
    })
}
