//! Perturbation kernels: the law of `u_t` given the data, for denoising (DSM) and hybrid (HSM)
//! score matching, with everything that is read off it: Cholesky factors, `ell_t`, log-density,
//! score.
//!
//! # Example
//! ```
//! use cld_sgm::{Cld, Kernel, Objective, Schedule};
//!
//! let (cld, schedule) = (Cld::new(0.25)?, Schedule::constant(4.0)?);
//! let kernel = Kernel::new(&cld, &schedule, Objective::hsm(0.04)?, 0.5)?;
//!
//! // a state noised with eps, and the score that a network should have learnt there
//! let eps = [0.3, -1.2];
//! let (phi, l) = (kernel.mean(), kernel.lower());
//! let u: [f64; 2] =
//!     std::array::from_fn(|i| phi[(i, 0)] * 0.7 + l[(i, 0)] * eps[0] + l[(i, 1)] * eps[1]);
//! let score = kernel.score(u, [0.7, 0.0]);
//! assert!((score[1] + kernel.ell() * eps[1]).abs() < 1e-12 * kernel.ell());
//! # Ok::<(), cld_sgm::Error>(())
//! ```

mod any;
mod batch;
mod density;
mod perturb;

pub use any::{KernelValues, kernel_values};
pub use batch::{AnyKernelBatch, KernelBatch};
pub use perturb::{Real, perturb_batch};

use crate::error::{Error, Result, check};
use crate::process::{Fast, LinearSde, Moments, near_one};
use crate::schedule::{Schedule, Span};
use crate::simd::{self, Lane, Task};
use crate::small::Mat;

/// What the kernel conditions on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    gamma: Option<f64>,
}

impl Objective {
    /// Denoising score matching: given `u_0` in full. Initial covariance 0.
    pub const DSM: Objective = Objective { gamma: None };

    /// Hybrid score matching: given `x_0`, with `v_0 ~ N(0, gamma M)` integrated out. The mean is
    /// that of v_0 = 0, the initial covariance diag(0, gamma M). Source: CLD sec. 3.2.
    ///
    /// # Errors
    /// Unless `0 <= gamma <= 1e6`.
    pub fn hsm(gamma: f64) -> Result<Objective> {
        check(
            "gamma",
            gamma,
            (0.0..=1e6).contains(&gamma),
            "0 <= gamma <= 1e6",
        )?;
        Ok(Objective { gamma: Some(gamma) })
    }

    /// HSM's gamma; 0 for DSM.
    #[inline(always)]
    pub fn gamma(&self) -> f64 {
        self.gamma.unwrap_or(0.0)
    }

    /// `"dsm"` or `"hsm"`.
    pub fn name(&self) -> &'static str {
        if self.gamma.is_some() { "hsm" } else { "dsm" }
    }
}

/// A perturbation kernel `N(mean u0, cov)` at one time t > 0, per data coordinate.
///
/// Built once, then total: no method fails or returns a value that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel<const K: usize> {
    moments: Moments<K>,
    lower: Mat<K>,
    ell: f64,
    /// Where `det` is near 1, and its logarithm has lost digits.
    log_det: Option<f64>,
}

/// Whether determinant and inverse are normal numbers; the inverse's largest entries are near
/// `last / det`.
#[inline(always)]
fn regular(last: f64, det: f64) -> bool {
    det >= 1e-290 && last <= 1e290 * det
}

/// The work of [`Kernel::new`] after its checks.
struct At<'a, P, const K: usize> {
    process: &'a P,
    schedule: &'a Schedule,
    gamma: f64,
    t: f64,
}

impl<P: LinearSde<K>, const K: usize> Task for At<'_, P, K> {
    type Out = Result<Kernel<K>>;
    #[inline(always)]
    fn run<D: Lane<Item = f64>, S: Lane<Item = f32, Word = u32>>(self) -> Self::Out {
        let kernel =
            Kernel::from_moments(
                self.process
                    .moments_at(self.schedule, self.gamma, self.t, Fast),
            )?;
        if !near_one(kernel.moments.det) {
            return Ok(kernel);
        }
        let on = Span::to(self.schedule, self.t);
        Ok(Kernel {
            log_det: Some(self.process.log_det(on, self.gamma, &kernel.moments)),
            ..kernel
        })
    }
}

impl<const K: usize> Kernel<K> {
    /// The kernel of `process` under `schedule` at time `t`.
    ///
    /// # Errors
    /// `t` outside (0, 1]; HSM for a process without velocity; a covariance whose determinant or
    /// inverse is not a normal f64 (rates below about 1e-60).
    #[inline]
    pub fn new(
        process: &impl LinearSde<K>,
        schedule: &Schedule,
        objective: Objective,
        t: f64,
    ) -> Result<Self> {
        if !(t > 0.0 && t <= 1.0) {
            return Err(Error::time(
                "t",
                t,
                "0 < t <= 1 (at t = 0 the kernel is a point)",
            ));
        }
        if K == 1 && objective.gamma.is_some() {
            return Err(no_velocity(process.name()));
        }
        simd::single(At {
            process,
            schedule,
            gamma: objective.gamma(),
            t,
        })
    }

    /// From mean, covariance and determinant; adds the Cholesky factor.
    ///
    /// # Errors
    /// [`Error::Degenerate`] where determinant or inverse is not a normal f64.
    #[inline(always)]
    pub fn from_moments(moments: Moments<K>) -> Result<Self> {
        let (lower, ell) = moments.lower();
        if !regular(moments.cov[(K - 1, K - 1)], moments.det)
            || (K > 2 && moments.factors.is_none())
        {
            return Err(degenerate(moments.det));
        }
        Ok(Kernel {
            moments,
            lower,
            ell,
            log_det: None,
        })
    }

    /// Mean matrix Phi: the mean of `u_t` is `Phi u_0` (HSM: the first column times x_0). Formula:
    /// kernel.mean.
    pub fn mean(&self) -> &Mat<K> {
        &self.moments.mean
    }

    /// Covariance. Formula: kernel.cov.
    pub fn cov(&self) -> &Mat<K> {
        &self.moments.cov
    }

    /// Lower Cholesky factor, `L L^T = cov`. Formula: kernel.chol_lower. Source: CLD App. B.1.
    pub fn lower(&self) -> &Mat<K> {
        &self.lower
    }

    /// Upper Cholesky factor, `U U^T = cov`. Formula: kernel.chol_upper.
    pub fn upper(&self) -> Mat<K> {
        let m = &self.moments;
        if let Some(f) = &m.factors {
            return f.upper;
        }
        let mut u = Mat::<K>::ZERO;
        let last = m.cov[(K - 1, K - 1)].sqrt();
        u[(K - 1, K - 1)] = last;
        if K == 2 {
            u[(0, K - 1)] = m.cov[(0, K - 1)] / last;
            u[(0, 0)] = m.det.sqrt() / last;
        }
        u
    }

    /// Inverse covariance. Formula: kernel.inverse.
    pub fn inverse(&self) -> Mat<K> {
        let m = &self.moments;
        if let Some(f) = &m.factors {
            return f.inverse;
        }
        let (l, d) = (K - 1, m.det);
        Mat::build(|i, j| match (K, i == j) {
            (1, _) => 1.0 / d,
            (_, true) => m.cov[(l - i, l - i)] / d,
            (_, false) => -m.cov[(0, l)] / d,
        })
    }

    /// Inverse transpose of the lower factor: the kernel's score is `-L^-T eps`. Formula:
    /// kernel.inverse_transpose.
    pub fn inverse_transpose_lower(&self) -> Mat<K> {
        match &self.moments.factors {
            Some(f) => f.inverse_transpose_lower,
            None => transpose_inverse_2(&self.lower, 0),
        }
    }

    /// Inverse transpose of the upper factor: where the noise was multiplied by U, the score is
    /// `-U^-T eps`.
    pub fn inverse_transpose_upper(&self) -> Mat<K> {
        match &self.moments.factors {
            Some(f) => f.inverse_transpose_upper,
            None => transpose_inverse_2(&self.upper(), 1),
        }
    }

    /// `ell_t = 1 / L_KK`: the inverse standard deviation of the last channel given the others; for
    /// CLD `sqrt(S_xx / det)`, and the score of v is `-ell_t eps_v`. Formula: kernel.ell. Source:
    /// CLD sec. 3.2.
    #[inline(always)]
    pub fn ell(&self) -> f64 {
        self.ell
    }

    /// Determinant of the covariance. Formula: kernel.det.
    pub fn det(&self) -> f64 {
        self.moments.det
    }

    /// Logarithm of the determinant, within 8 ulp of `max(1, |log det|)`; near the stationary law
    /// of a process whose own determinant is 1, of its largest term, however small
    /// ([`LinearSde::log_det`]). Formula: kernel.logdet.
    pub fn log_det(&self) -> f64 {
        match (&self.moments.factors, self.log_det) {
            (Some(f), _) => f.log_det,
            (None, Some(l)) => l,
            (None, None) => self.moments.det.ln(),
        }
    }

    /// Signal-to-noise ratio of x alone, for data of variance 1: `Phi_xx^2 / S_xx`. Formula:
    /// kernel.snr.
    pub fn snr(&self) -> f64 {
        let m = self.moments.mean[(0, 0)];
        m * m / self.moments.cov[(0, 0)]
    }

    /// Signal-to-noise ratio of all channels together: `phi^T S^-1 phi`, phi the first column of
    /// Phi; the Fisher information on x_0 in u_t. Formula: kernel.snr_joint.
    pub fn snr_joint(&self) -> f64 {
        let w = self.whiten(std::array::from_fn(|i| self.moments.mean[(i, 0)]));
        w.iter().map(|x| x * x).sum()
    }

    /// Standard deviation of channel `i`, `sqrt(S_ii)`. Formula: kernel.std.
    pub fn std(&self, i: usize) -> f64 {
        self.moments.cov[(i, i)].sqrt()
    }

    /// Noise level of x over its mean's factor, `sqrt(S_xx) / Phi_xx`: EDM's sigma (Karras et al.
    /// 2022). Infinite once the mean is gone. Formula: kernel.sigma.
    pub fn sigma(&self) -> f64 {
        self.std(0) / self.moments.mean[(0, 0)]
    }

    /// `ln(Phi_xx^2 / S_xx)`, the log-SNR of variational diffusion (Kingma et al. 2021), from
    /// logarithms: the ratio may leave f64. Formula: kernel.logsnr.
    pub fn log_snr(&self) -> f64 {
        2.0 * self.moments.mean[(0, 0)].abs().ln() - self.moments.cov[(0, 0)].ln()
    }

    /// `L^-1 r`, by forward substitution.
    #[inline(always)]
    pub(crate) fn whiten(&self, r: [f64; K]) -> [f64; K] {
        let mut w = [0.0; K];
        for i in 0..K {
            let mut s = r[i];
            for j in 0..i {
                s -= self.lower[(i, j)] * w[j];
            }
            w[i] = s / self.lower[(i, i)];
        }
        w
    }
}

/// Inverse transpose of a triangular matrix with K <= 2, whose off-diagonal entry is at (1 - i, i).
fn transpose_inverse_2<const K: usize>(l: &Mat<K>, i: usize) -> Mat<K> {
    Mat::build(|r, c| {
        if r == c {
            1.0 / l[(r, r)]
        } else if r == i {
            -l[(1 - i, i)] / (l[(0, 0)] * l[(K - 1, K - 1)])
        } else {
            0.0
        }
    })
}

#[cold]
fn degenerate(det: f64) -> Error {
    Error::Degenerate {
        what: "the perturbation kernel".into(),
        why: format!(
            "the covariance's determinant {det:e} or its inverse is not a normal f64; the time or the rate is too small"
        ),
    }
}

#[cold]
fn no_velocity(name: &str) -> Error {
    Error::parameter(
        "objective",
        format!("hsm for process `{name}`"),
        "dsm (HSM integrates out a velocity, which this process has not)",
    )
}
