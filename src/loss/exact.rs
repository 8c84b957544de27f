//! Moments of losses on Gaussian data, in closed form: no sampling.
//!
//! With S the covariance of the objective's kernel and C that of `u_t`, the missing score of the
//! exact score has the second moment `S^-1 - C^-1` on the noised channels, that of a score 0 has
//! `S^-1`. So for any score s (Source: Vincent 2011; CLD sec. 3.2)
//!
//! ```text
//! E loss(s) = E (s - score)^T Q (s - score) + tr Q (S^-1 - C^-1)
//! ```

use super::{Form, Loss};
use crate::error::Result;
use crate::kernel::{Objective, kernel_values};
use crate::small::Square;

/// `A^-1 - (A + v phi phi^T)^-1` from `A^-1`, without subtracting (Sherman and Morrison).
fn lost(inverse: &Square, phi: &[f64], v: f64) -> Square {
    let psi: Vec<f64> = inverse
        .rows()
        .map(|row| row.iter().zip(phi).map(|(a, p)| a * p).sum())
        .collect();
    let factor = v / (1.0 + v * psi.iter().zip(phi).map(|(a, p)| a * p).sum::<f64>());
    Square::build(phi.len(), |i, j| factor * psi[i] * psi[j])
}

/// Difference of the inverse covariances of DSM's and HSM's kernels, `S_D^-1 - S_H^-1`, all
/// channels. It does not depend on the data. Formula: loss.gap.
///
/// # Errors
/// As [`Loss::at`].
pub fn gap(loss: &Loss, t: f64) -> Result<Square> {
    let d = loss.diffusion();
    let kernel = kernel_values(d.process(), d.schedule(), Objective::DSM, 0.0, t)?;
    let (mut inverse, mut total) = (kernel.inv, Square::zero(kernel.k));
    for (j, variance) in d.initial().into_iter().enumerate().skip(1) {
        let part = lost(&inverse, &kernel.mean.column(j), variance);
        inverse = Square::build(kernel.k, |a, b| inverse[(a, b)] - part[(a, b)]);
        total = Square::build(kernel.k, |a, b| total[(a, b)] + part[(a, b)]);
    }
    Ok(total)
}

/// Second moment `E d d^T` of what an output misses, in the loss's own form, over the noised
/// channels: of the exact score for data `N(mean, deviation^2)` where `deviation` is given, else of
/// an output 0 (any data). Formula: loss.missing.
///
/// # Errors
/// As [`Loss::at`].
pub fn missing(loss: &Loss, deviation: Option<f64>, t: f64) -> Result<Square> {
    let (d, noised) = (loss.diffusion(), loss.diffusion().noised());
    let (k, m) = (d.channels(), noised.len());
    let kernel = kernel_values(d.process(), d.schedule(), loss.objective(), 0.0, t)?;
    let all = match deviation {
        None => kernel.inv,
        Some(deviation) => {
            let marginal = d.kernel(t)?;
            let all = lost(
                &marginal.inv,
                &marginal.mean.column(0),
                deviation * deviation,
            );
            if k > 1 && loss.objective() == Objective::DSM {
                let gap = gap(loss, t)?;
                Square::build(k, |i, j| all[(i, j)] + gap[(i, j)])
            } else {
                all
            }
        }
    };
    let score = Square::build(m, |i, j| all[(noised[i], noised[j])]);
    Ok(match loss.form() {
        Form::Score => score,
        // e = -L^T r on the noised channels, which are the last ones
        Form::Eps => Square::build(m, |i, j| {
            let back = |i: usize, j: usize| kernel.chol_lower[(noised[j], noised[i])];
            (0..m * m)
                .map(|p| back(i, p / m) * score[(p / m, p % m)] * back(j, p % m))
                .sum()
        }),
    })
}

/// Mean and variance of the loss of one value, data and noise random; as [`missing`]. What is
/// missed is Gaussian, so the mean is `tr Q C` and the variance `2 tr (Q C)^2`, C its second
/// moment. For `deviation` given, the mean is the constant by which the objective exceeds explicit
/// score matching. Formula: loss.constant.
///
/// For an output 0 the variance holds for any data; for the exact score, for data
/// `N(mean, deviation^2)`.
///
/// # Errors
/// As [`Loss::at`].
pub fn moments(loss: &Loss, deviation: Option<f64>, t: f64) -> Result<(f64, f64)> {
    let qc = loss.at(t)?.quadratic.matmul(&missing(loss, deviation, t)?);
    let m = qc.k();
    let mean = (0..m).map(|i| qc[(i, i)]).sum();
    let square: f64 = (0..m * m)
        .map(|n| qc[(n / m, n % m)] * qc[(n % m, n / m)])
        .sum();
    Ok((mean, 2.0 * square))
}
