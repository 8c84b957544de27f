//! The exact score for Gaussian data: affine in the state, so that a sampler's law is Gaussian and can be computed.

use super::Score;
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result, check};
use crate::small::Mat;

/// Data `x_0 ~ N(mean, deviation^2)`, each coordinate alone; velocities as the diffusion has them.
#[derive(Clone)]
pub struct Gaussian {
    diffusion: Diffusion,
    mean: f64,
    deviation: f64,
}

/// Inverse of a covariance of up to four channels, row-major, in double words; `None` where it is singular.
pub(crate) fn precision(cov: &[f64]) -> Option<Vec<f64>> {
    fn of<const K: usize>(cov: &[f64]) -> Option<Vec<f64>> {
        let c = Mat::<K, Dd>::build(|i, j| Dd::from(cov[i * K + j]));
        let l = c.cholesky()?.lower_inverse();
        Some(l.transpose().matmul(&l).round().0.concat())
    }
    match cov.len() {
        1 => of::<1>(cov),
        4 => of::<2>(cov),
        9 => of::<3>(cov),
        _ => of::<4>(cov),
    }
}

impl Gaussian {
    /// Under `diffusion`.
    ///
    /// # Errors
    /// Unless mean and deviation are finite and the deviation is not negative.
    pub fn new(diffusion: Diffusion, mean: f64, deviation: f64) -> Result<Gaussian> {
        check("mean", mean, true, "a finite number")?;
        check("deviation", deviation, deviation >= 0.0, "a finite number >= 0")?;
        Ok(Gaussian { diffusion, mean, deviation })
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }

    /// Mean and covariance of `u_t` (row-major). Formula: score.gaussian.
    ///
    /// # Errors
    /// As [`Diffusion::kernel`].
    pub fn law(&self, t: f64) -> Result<(Vec<f64>, Vec<f64>)> {
        let (kernel, k) = (self.diffusion.kernel(t)?, self.diffusion.channels());
        let v = self.deviation * self.deviation;
        let phi: Vec<f64> = (0..k).map(|i| kernel.mean[i * k]).collect();
        let cov = (0..k * k).map(|n| kernel.cov[n] + v * phi[n / k] * phi[n % k]).collect();
        Ok((phi.iter().map(|p| p * self.mean).collect(), cov))
    }
}

impl Score for Gaussian {
    /// `-C_t^-1 (u - m_t)`, `C_t = deviation^2 phi phi^T + S_t`. Formula: score.gaussian.
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (mean, cov) = self.law(t)?;
        let k = mean.len();
        let precision = precision(&cov)
            .ok_or_else(|| Error::Degenerate { what: "the score".into(), why: format!("the covariance at t = {t:e} is singular") })?;
        for (&i, out) in self.diffusion.noised().iter().zip(out) {
            let row = &precision[i * k..][..k];
            let constant: f64 = row.iter().zip(&mean).map(|(p, m)| p * m).sum();
            for (r, o) in out.iter_mut().enumerate() {
                *o = constant - row.iter().zip(u).map(|(p, c)| p * c[r]).sum::<f64>();
            }
        }
        Ok(())
    }
}
