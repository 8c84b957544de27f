//! The exact score for Gaussian data: affine in the state, so that a sampler's law is Gaussian and
//! can be computed.

use super::Score;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result, check};
use crate::small::{Mat, Square, by_channels};

/// Data `x_0 ~ N(mean, deviation^2)`, each coordinate alone; velocities as the diffusion has them.
#[derive(Clone)]
pub struct Gaussian {
    diffusion: Diffusion,
    mean: f64,
    deviation: f64,
}

/// Inverse of a covariance, in double words; `None` where it is singular.
pub(crate) fn precision(cov: &Square) -> Option<Square> {
    fn of<const K: usize>(cov: Mat<K>) -> Option<Square> {
        let l = cov.to_dd().cholesky()?.lower_inverse();
        Some(l.transpose().matmul(&l).round().into())
    }
    by_channels!(cov.k(), up to 6, K => of::<K>(cov.fixed()), else None)
}

impl Gaussian {
    /// Under `diffusion`.
    ///
    /// # Errors
    /// Unless mean and deviation are finite and the deviation is not negative.
    pub fn new(diffusion: Diffusion, mean: f64, deviation: f64) -> Result<Gaussian> {
        check("mean", mean, true, "a finite number")?;
        check(
            "deviation",
            deviation,
            deviation >= 0.0,
            "a finite number >= 0",
        )?;
        Ok(Gaussian {
            diffusion,
            mean,
            deviation,
        })
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }

    /// Mean and covariance of `u_t`. Formula: score.gaussian.
    ///
    /// # Errors
    /// As [`Diffusion::kernel`].
    pub fn law(&self, t: f64) -> Result<(Vec<f64>, Square)> {
        let (kernel, k) = (self.diffusion.kernel(t)?, self.diffusion.channels());
        let v = self.deviation * self.deviation;
        let phi = kernel.mean.column(0);
        let cov = Square::build(k, |i, j| kernel.cov[(i, j)] + v * phi[i] * phi[j]);
        Ok((phi.iter().map(|p| p * self.mean).collect(), cov))
    }
}

impl Score for Gaussian {
    /// `-C_t^-1 (u - m_t)`, `C_t = deviation^2 phi phi^T + S_t`. Formula: score.gaussian.
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (mean, cov) = self.law(t)?;
        let precision = precision(&cov).ok_or_else(|| Error::Degenerate {
            what: "the score".into(),
            why: format!("the covariance at t = {t:e} is singular"),
        })?;
        for (&i, out) in self.diffusion.noised().iter().zip(out) {
            let row = precision.row(i);
            let constant: f64 = row.iter().zip(&mean).map(|(p, m)| p * m).sum();
            for (r, o) in out.iter_mut().enumerate() {
                *o = constant - row.iter().zip(u).map(|(p, c)| p * c[r]).sum::<f64>();
            }
        }
        Ok(())
    }
}
