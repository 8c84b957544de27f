//! Kernels of a process chosen at run time: what files and the command line speak.

use super::{Kernel, Objective};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyMoments, AnyProcess};
use crate::schedule::{Schedule, Span};
use crate::small::{Square, by_channels};

/// Everything a kernel has; `k` channels.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each field is the method of the same name of `Kernel`
#[non_exhaustive]
pub struct KernelValues {
    /// Number of channels.
    pub k: usize,
    /// Mean matrix.
    pub mean: Square,
    /// Covariance.
    pub cov: Square,
    pub chol_lower: Square,
    pub chol_upper: Square,
    pub inv: Square,
    pub inverse_transpose_lower: Square,
    pub inverse_transpose_upper: Square,
    pub det: f64,
    pub logdet: f64,
    pub ell: f64,
    pub snr: f64,
    pub snr_joint: f64,
    pub std: Vec<f64>,
    pub sigma: f64,
    pub log_snr: f64,
}

fn values<const K: usize>(m: &AnyMoments) -> Result<KernelValues> {
    let kernel = Kernel::<K>::from_moments(m.fixed())?;
    Ok(KernelValues {
        k: K,
        mean: (*kernel.mean()).into(),
        cov: (*kernel.cov()).into(),
        chol_lower: (*kernel.lower()).into(),
        chol_upper: kernel.upper().into(),
        inv: kernel.inverse().into(),
        inverse_transpose_lower: kernel.inverse_transpose_lower().into(),
        inverse_transpose_upper: kernel.inverse_transpose_upper().into(),
        det: kernel.det(),
        logdet: m.factors.as_ref().map_or(m.log_det, |f| f.log_det),
        ell: kernel.ell(),
        snr: kernel.snr(),
        snr_joint: kernel.snr_joint(),
        std: (0..K).map(|i| kernel.std(i)).collect(),
        sigma: kernel.sigma(),
        log_snr: kernel.log_snr(),
    })
}

/// The kernel of `process` at `t`, or its transition over `[s, t]` where `s` is given.
///
/// # Errors
/// As [`Kernel::new`].
pub fn kernel_values(
    process: &dyn AnyProcess,
    schedule: &Schedule,
    objective: Objective,
    s: f64,
    t: f64,
) -> Result<KernelValues> {
    if !(t > 0.0 && t <= 1.0) {
        return Err(Error::time(
            "t",
            t,
            "0 < t <= 1 (at t = 0 the kernel is a point)",
        ));
    }
    if process.channels() == 1 && objective.name() == "hsm" {
        return Err(super::no_velocity(process.name()));
    }
    let on = if s == 0.0 {
        Span {
            start: Dd::ZERO,
            tau: schedule.integral_from_zero(t),
        }
    } else {
        schedule.span(s, t)?
    };
    let m = process.moments(on, objective.gamma());
    by_channels!(process.channels(), up to 6, K => values::<K>(&m), else {
        Err(Error::parameter("channels", process.channels(), "1 to 6"))
    })
}
