//! Kernels of a process chosen at run time, as plain vectors: what files and the command line speak.

use super::{Kernel, Objective};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyMoments, AnyProcess};
use crate::schedule::{Schedule, Span};
use crate::small::Mat;

/// Everything a kernel has, row-major; `k` channels.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each field is the method of the same name of `Kernel`
pub struct KernelValues {
    /// Number of channels.
    pub k: usize,
    /// Mean matrix.
    pub mean: Vec<f64>,
    /// Covariance.
    pub cov: Vec<f64>,
    pub chol_lower: Vec<f64>,
    pub chol_upper: Vec<f64>,
    pub inv: Vec<f64>,
    pub inverse_transpose_lower: Vec<f64>,
    pub inverse_transpose_upper: Vec<f64>,
    pub det: f64,
    pub logdet: f64,
    pub ell: f64,
    pub snr: f64,
    pub snr_joint: f64,
    pub std: Vec<f64>,
    pub sigma: f64,
    pub log_snr: f64,
}

fn flat<const K: usize>(m: &Mat<K>) -> Vec<f64> {
    m.0.concat()
}

fn values<const K: usize>(m: &AnyMoments) -> Result<KernelValues> {
    let kernel = Kernel::<K>::from_moments(m.fixed())?;
    Ok(KernelValues {
        k: K,
        mean: flat(kernel.mean()),
        cov: flat(kernel.cov()),
        chol_lower: flat(kernel.lower()),
        chol_upper: flat(&kernel.upper()),
        inv: flat(&kernel.inverse()),
        inverse_transpose_lower: flat(&kernel.inverse_transpose_lower()),
        inverse_transpose_upper: flat(&kernel.inverse_transpose_upper()),
        det: kernel.det(),
        logdet: m.factors.as_ref().map_or(m.log_det, |(_, l)| *l),
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
pub fn kernel_values(process: &dyn AnyProcess, schedule: &Schedule, objective: Objective, s: f64, t: f64) -> Result<KernelValues> {
    if !(t > 0.0 && t <= 1.0) {
        return Err(Error::time("t", t, "0 < t <= 1 (at t = 0 the kernel is a point)"));
    }
    if process.channels() == 1 && objective.name() == "hsm" {
        return Err(super::no_velocity(process.name()));
    }
    let on = if s == 0.0 { Span { start: Dd::ZERO, tau: schedule.integral_from_zero(t) } } else { schedule.span(s, t)? };
    let m = process.moments(on, objective.gamma());
    match process.channels() {
        1 => values::<1>(&m),
        2 => values::<2>(&m),
        3 => values::<3>(&m),
        _ => values::<4>(&m),
    }
}
