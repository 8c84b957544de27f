//! Denoising (DSM) and hybrid (HSM) score matching: values and gradients with respect to a
//! network's output.
//!
//! At a time t a state is noised with the kernel of the objective, `u_t = Phi u_0 + L eps`; its
//! score on the noised channels is `-W eps`, W the noised rows of `L^-T` (CLD: `-ell_t eps_v`). The
//! loss of one value is a quadratic form in what the output misses:
//!
//! ```text
//! score form   d = s + W eps        eps form   d = e - eps    (s = -W e)        loss = d^T Q(t) d,   gradient 2 Q(t) d
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`weighting`] | what Q(t) is: likelihood, eps-MSE and others |
//! | [`time`] | random times: uniform, by importance, stratified |
//! | [`exact`], [`estimator`] | moments of losses and of their estimators on Gaussian data |
//!
//! # Example
//! ```
//! use cld_sgm::loss::{Form, Loss, Weighting};
//! use cld_sgm::{Diffusion, Objective};
//!
//! let loss = Loss::new(&Diffusion::paper()?, Objective::hsm(0.04)?, Form::Eps, Weighting::Eps)?;
//! let at = loss.at(0.3)?;
//!
//! // noise the data, ask the network (here: one that guessed the noise but for 0.5), score it
//! let (x0, eps) = ([0.7, -0.2], [[0.3, 1.1], [-1.2, 0.4]]);
//! let (mut x, mut v) = ([0.0; 2], [0.0; 2]);
//! at.perturb(&[&x0], &[&eps[0], &eps[1]], &mut [&mut x, &mut v])?;
//! let guess = [eps[1][0] + 0.5, eps[1][1]];
//! let mut gradient = [0.0; 2];
//! let value = at.value(&[&eps[0], &eps[1]], &[&guess], &mut [&mut gradient])?;
//! assert!((value - 0.25).abs() < 1e-15 && (gradient[0] - 1.0).abs() < 1e-15);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod estimator;
pub mod exact;
pub mod time;
pub mod weighting;

pub use time::Times;
pub use weighting::Weighting;

use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::{KernelValues, Objective, kernel_values};
use crate::small::{MOST, Square};

/// What a network's output stands for; one slice per noised channel in either form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// The score itself.
    Score,
    /// The noise: score = `-W eps`; CLD: `-ell_t eps_v`.
    Eps,
}

/// An objective of training, before a time is chosen.
#[derive(Clone)]
pub struct Loss {
    diffusion: Diffusion,
    objective: Objective,
    form: Form,
    weighting: Weighting,
}

impl Loss {
    /// From its parts. DSM starts from all channels of `u_0`, HSM from x_0.
    ///
    /// # Errors
    /// HSM without a velocity, or with another gamma than the diffusion's; eps form or a weighting
    /// of eps where the noised channels are not the last ones (their score then needs the noise of
    /// channels that the output has not).
    pub fn new(
        diffusion: &Diffusion,
        objective: Objective,
        form: Form,
        weighting: Weighting,
    ) -> Result<Loss> {
        let (k, noised) = (diffusion.channels(), diffusion.noised());
        if objective.name() == "hsm" {
            if k == 1 {
                let found = format!("hsm for process `{}`", diffusion.process().name());
                return Err(Error::parameter(
                    "objective",
                    found,
                    "dsm (this process has no velocity to integrate out)",
                ));
            }
            if objective.gamma() != diffusion.gamma() {
                let allowed = format!("{}, as the diffusion has it", diffusion.gamma());
                return Err(Error::parameter(
                    "objective's gamma",
                    objective.gamma(),
                    allowed,
                ));
            }
        }
        if noised.is_empty() {
            return Err(Error::parameter(
                "diffusion",
                format!("`{}`", diffusion.process().name()),
                "a process with noise",
            ));
        }
        let last = noised.iter().zip(k - noised.len()..).all(|(&i, j)| i == j);
        if !last && (form == Form::Eps || weighting.of_eps()) {
            let found = format!("channels {noised:?} of {k}");
            return Err(Error::parameter(
                "noised channels",
                found,
                "the last ones, or score form with a weighting of the score",
            ));
        }
        Ok(Loss {
            diffusion: diffusion.clone(),
            objective,
            form,
            weighting,
        })
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }

    /// DSM or HSM.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Deviations of the channels of the `u_0` that a state is noised from, given the data: those
    /// of [`Diffusion::initial`] under DSM; none under HSM, whose kernel has the velocities
    /// integrated out.
    pub fn deviations(&self) -> Vec<f64> {
        match self.objective.name() {
            "dsm" => self.diffusion.initial().iter().map(|v| v.sqrt()).collect(),
            _ => vec![0.0; self.diffusion.channels()],
        }
    }

    /// Score or eps.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The weighting.
    pub fn weighting(&self) -> Weighting {
        self.weighting
    }

    /// The loss at time `t`.
    ///
    /// # Errors
    /// `t` outside (0, 1]; a covariance that is not a normal f64.
    pub fn at(&self, t: f64) -> Result<LossAt> {
        let kernel = kernel_values(
            self.diffusion.process(),
            self.diffusion.schedule(),
            self.objective,
            0.0,
            t,
        )?;
        self.with_kernel(t, &kernel)
    }

    /// The loss at time `t` with a kernel of the caller's: its mean, lower factor and inverse
    /// transpose of it are used.
    ///
    /// # Errors
    /// A kernel of another number of channels.
    pub fn with_kernel(&self, t: f64, kernel: &KernelValues) -> Result<LossAt> {
        let (k, noised) = (self.diffusion.channels(), self.diffusion.noised());
        if kernel.k != k {
            return Err(Error::shape(
                "kernel",
                &[kernel.k],
                format!("[{k}] channels"),
            ));
        }
        let m = noised.len();
        let w = kernel.inverse_transpose_lower;
        // square block of the noised channels and its inverse: where they are the last ones, blocks
        // of L^-T and L^T
        let block = |i: usize, j: usize| w[(noised[i], noised[j])];
        let back = |i: usize, j: usize| kernel.chol_lower[(noised[j], noised[i])];
        let d = self.weighting.diagonal(&self.diffusion, t);
        let through = |a: &dyn Fn(usize, usize) -> f64, i: usize, j: usize| {
            (0..m).map(|n| a(n, i) * d[n] * a(n, j)).sum::<f64>()
        };
        let quadratic = Square::build(m, |i, j| match (self.form, self.weighting.of_eps()) {
            (Form::Score, true) => through(&back, i, j),
            (Form::Eps, false) => through(&block, i, j),
            _ if i == j => d[i],
            _ => 0.0,
        });
        Ok(LossAt {
            t,
            k,
            noised: noised.to_vec(),
            mean: kernel.mean,
            lower: kernel.chol_lower,
            w,
            form: self.form,
            quadratic,
        })
    }

    /// The loss for a batch whose row i has time `times[i]`.
    ///
    /// # Errors
    /// As [`at`](Self::at); no times.
    pub fn plan(&self, times: &[f64]) -> Result<Plan> {
        if times.is_empty() {
            return Err(Error::shape("times", &[0], "at least one"));
        }
        Ok(Plan {
            rows: times.iter().map(|&t| self.at(t)).collect::<Result<_>>()?,
        })
    }
}

/// The loss at one time. Slices are one per channel, all of one length (batch times dim); noise has
/// K of them, outputs one per noised channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LossAt {
    t: f64,
    k: usize,
    noised: Vec<usize>,
    mean: Square,
    lower: Square,
    /// `L^-T`, of which the noised rows count.
    w: Square,
    form: Form,
    quadratic: Square,
}

fn same_length<'a>(
    n: usize,
    name: &'static str,
    count: usize,
    lengths: impl ExactSizeIterator<Item = usize> + 'a,
) -> Result<()> {
    if lengths.len() != count {
        return Err(Error::shape(
            name,
            &[lengths.len()],
            format!("{count} slices"),
        ));
    }
    for found in lengths {
        if found != n {
            return Err(Error::shape(
                name,
                &[found],
                format!("[{n}], as long as the others"),
            ));
        }
    }
    Ok(())
}

impl LossAt {
    /// The time.
    pub fn t(&self) -> f64 {
        self.t
    }

    /// Q(t), over the noised channels: the loss of a value is `d^T Q d`, d what the output misses
    /// in its own form.
    pub fn quadratic(&self) -> &Square {
        &self.quadratic
    }

    fn noised_at(&self, u0: &[&[f64]], noise: &[&[f64]], i: usize, r: usize) -> f64 {
        let mean: f64 = u0
            .iter()
            .enumerate()
            .map(|(j, c)| self.mean[(i, j)] * c[r])
            .sum();
        mean + (0..=i)
            .map(|j| self.lower[(i, j)] * noise[j][r])
            .sum::<f64>()
    }

    fn target_at(&self, noise: &[&[f64]], i: usize, r: usize) -> f64 {
        match self.form {
            Form::Score => -(0..self.k)
                .map(|j| self.w[(self.noised[i], j)] * noise[j][r])
                .sum::<f64>(),
            Form::Eps => noise[self.noised[i]][r],
        }
    }

    /// `u_t = Phi u_0 + L eps`; `u0` has x_0 alone (other channels 0: HSM) or all K channels (DSM).
    /// Formula: kernel.perturb.
    ///
    /// # Errors
    /// Slices of a wrong number or length.
    pub fn perturb(&self, u0: &[&[f64]], noise: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let n = u0.first().map_or(0, |c| c.len());
        same_length(
            n,
            "u0",
            if u0.len() == 1 { 1 } else { self.k },
            u0.iter().map(|c| c.len()),
        )?;
        same_length(n, "noise", self.k, noise.iter().map(|c| c.len()))?;
        same_length(n, "out", self.k, out.iter().map(|c| c.len()))?;
        for (i, out) in out.iter_mut().enumerate() {
            out.iter_mut()
                .enumerate()
                .for_each(|(r, o)| *o = self.noised_at(u0, noise, i, r));
        }
        Ok(())
    }

    /// What the output should be for this noise: `-W eps`, or the noised channels of eps. Formula:
    /// loss.target.
    ///
    /// # Errors
    /// Slices of a wrong number or length.
    pub fn target(&self, noise: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let n = noise.first().map_or(0, |c| c.len());
        same_length(n, "noise", self.k, noise.iter().map(|c| c.len()))?;
        same_length(n, "out", self.noised.len(), out.iter().map(|c| c.len()))?;
        for (i, out) in out.iter_mut().enumerate() {
            out.iter_mut()
                .enumerate()
                .for_each(|(r, o)| *o = self.target_at(noise, i, r));
        }
        Ok(())
    }

    /// The loss, summed over the values; writes its gradient with respect to each output into
    /// `gradient`, which may have no slices. Formula: loss.value.
    /// Formula: loss.gradient.
    ///
    /// # Errors
    /// Slices of a wrong number or length.
    pub fn value(
        &self,
        noise: &[&[f64]],
        output: &[&[f64]],
        gradient: &mut [&mut [f64]],
    ) -> Result<f64> {
        let n = noise.first().map_or(0, |c| c.len());
        self.check(n, noise, output, gradient)?;
        Ok(self.sum(0..n, 1.0, noise, output, gradient))
    }

    fn check(
        &self,
        n: usize,
        noise: &[&[f64]],
        output: &[&[f64]],
        gradient: &[&mut [f64]],
    ) -> Result<()> {
        same_length(n, "noise", self.k, noise.iter().map(|c| c.len()))?;
        same_length(
            n,
            "output",
            self.noised.len(),
            output.iter().map(|c| c.len()),
        )?;
        let slices = if gradient.is_empty() {
            0
        } else {
            self.noised.len()
        };
        same_length(n, "gradient", slices, gradient.iter().map(|c| c.len()))
    }

    /// Loss of the values of `range`; the gradient is multiplied by `scale`.
    fn sum(
        &self,
        range: std::ops::Range<usize>,
        scale: f64,
        noise: &[&[f64]],
        output: &[&[f64]],
        gradient: &mut [&mut [f64]],
    ) -> f64 {
        let m = self.noised.len();
        let (mut total, mut missed) = (0.0, [0.0; MOST]);
        for r in range {
            for i in 0..m {
                missed[i] = output[i][r] - self.target_at(noise, i, r);
            }
            for i in 0..m {
                let q: f64 = self
                    .quadratic
                    .row(i)
                    .iter()
                    .zip(&missed)
                    .map(|(q, d)| q * d)
                    .sum();
                total += missed[i] * q;
                if let Some(g) = gradient.get_mut(i) {
                    g[r] = scale * 2.0 * q;
                }
            }
        }
        total
    }
}

/// The loss of a batch with a time for each row. Slices are row-major (rows, dim), one per channel.
#[derive(Clone, Debug)]
pub struct Plan {
    rows: Vec<LossAt>,
}

impl Plan {
    /// The rows' losses.
    pub fn rows(&self) -> &[LossAt] {
        &self.rows
    }

    fn dim(&self, name: &'static str, n: usize) -> Result<usize> {
        if n == 0 || !n.is_multiple_of(self.rows.len()) {
            return Err(Error::shape(
                name,
                &[n],
                format!("{} rows of at least one value", self.rows.len()),
            ));
        }
        Ok(n / self.rows.len())
    }

    /// Noises the batch, each row at its time; as [`LossAt::perturb`].
    ///
    /// # Errors
    /// Slices of a wrong number or length.
    pub fn perturb(&self, u0: &[&[f64]], noise: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (n, k) = (u0.first().map_or(0, |c| c.len()), self.rows[0].k);
        let dim = self.dim("u0", n)?;
        same_length(
            n,
            "u0",
            if u0.len() == 1 { 1 } else { k },
            u0.iter().map(|c| c.len()),
        )?;
        same_length(n, "noise", k, noise.iter().map(|c| c.len()))?;
        same_length(n, "out", k, out.iter().map(|c| c.len()))?;
        for (i, out) in out.iter_mut().enumerate() {
            out.iter_mut()
                .enumerate()
                .for_each(|(r, o)| *o = self.rows[r / dim].noised_at(u0, noise, i, r));
        }
        Ok(())
    }

    /// `(1/rows) sum_i scale_i loss_i`, loss_i the sum over a row's values: with `scale_i` =
    /// 1/density of the row's time an unbiased estimate of the integral of the loss over time.
    /// Writes `scale_i loss_i` into `per_sample`, and the gradient of the value with respect to
    /// each output into `gradient`, which may have no slices. Formula: loss.batch.
    ///
    /// # Errors
    /// Slices of a wrong number or length.
    pub fn value(
        &self,
        scale: &[f64],
        noise: &[&[f64]],
        output: &[&[f64]],
        per_sample: &mut [f64],
        gradient: &mut [&mut [f64]],
    ) -> Result<f64> {
        let (rows, n) = (self.rows.len(), noise.first().map_or(0, |c| c.len()));
        let dim = self.dim("noise", n)?;
        self.rows[0].check(n, noise, output, gradient)?;
        for (name, found) in [("scale", scale.len()), ("per_sample", per_sample.len())] {
            if found != rows {
                return Err(Error::shape(
                    name,
                    &[found],
                    format!("[{rows}], one per row"),
                ));
            }
        }
        for (i, row) in self.rows.iter().enumerate() {
            let range = i * dim..(i + 1) * dim;
            per_sample[i] =
                scale[i] * row.sum(range, scale[i] / rows as f64, noise, output, gradient);
        }
        Ok(per_sample.iter().sum::<f64>() / rows as f64)
    }
}
