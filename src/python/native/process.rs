//! A process with its schedule and objective: columns of its kernels at many times.

use crate::{refused, without_lock};
use cld_sgm::Error;
use cld_sgm::internal::truth::config::Config;
use cld_sgm::kernel::{AnyKernelBatch, kernel_values};
use cld_sgm::process::AnyProcess;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

/// Times that are worked on at once: their columns stay in the second cache.
const BLOCK: usize = 4096;
/// Blocks between two looks for Ctrl-C.
const LOOK: usize = 64;

#[pyclass(frozen, module = "cld_sgm._native")]
pub struct Process {
    pub config: Config,
    process: Box<dyn AnyProcess>,
}

/// `out` as an array of (columns, n), without a copy.
pub fn columns<'py>(
    py: Python<'py>,
    out: Vec<f64>,
    columns: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let n = out.len() / columns.max(1);
    PyArray1::from_vec(py, out).reshape([columns, n])
}

impl Process {
    /// One column per value of `count`, filled by `fill` for a block of times at a time.
    fn by_blocks<'py>(
        py: Python<'py>,
        t: &PyReadonlyArray1<'py, f64>,
        count: usize,
        mut fill: impl FnMut(&[f64], &mut [&mut [f64]]) -> Result<(), Error> + Send,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let t = t.as_slice()?;
        let out = without_lock(py, || {
            let mut out = vec![0.0; count * t.len()];
            for (i, block) in t.chunks(BLOCK).enumerate() {
                if i % LOOK == LOOK - 1 {
                    Python::attach(|py| py.check_signals())?;
                }
                let mut columns: Vec<&mut [f64]> = out
                    .chunks_mut(t.len())
                    .map(|c| &mut c[i * BLOCK..i * BLOCK + block.len()])
                    .collect();
                fill(block, &mut columns).map_err(refused)?;
            }
            Ok(out)
        })?;
        columns(py, out, count)
    }
}

#[pymethods]
impl Process {
    #[new]
    fn new(json: &str) -> PyResult<Self> {
        let json = serde_json::from_str(json)
            .map_err(|e| pyo3::exceptions::PyValueError::new_err(e.to_string()))?;
        let config = Config::from_answers(&json).map_err(refused)?;
        let process = config.process().map_err(refused)?;
        Ok(Process { config, process })
    }

    fn json(&self) -> String {
        self.config.to_answers().to_string()
    }

    fn describe(&self) -> String {
        self.config.describe()
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.config.entry.name
    }

    #[getter]
    fn channels(&self) -> usize {
        self.process.channels()
    }

    #[getter]
    fn objective(&self) -> &'static str {
        self.config.objective.name()
    }

    /// The diagonal of the initial covariance: 0 for x, gamma M for v and further channels under
    /// HSM.
    fn initial(&self) -> Vec<f64> {
        self.process.initial(self.config.objective.gamma())
    }

    /// F, row-major.
    fn drift(&self) -> Vec<f64> {
        self.process.drift().to_vec()
    }

    /// Covariance of the prior, row-major.
    fn prior(&self) -> PyResult<Vec<f64>> {
        let horizon = self
            .config
            .schedule
            .integral(0.0, self.config.schedule.horizon())
            .map_err(refused)?;
        Ok(self.process.prior(horizon).to_vec())
    }

    /// Columns of `what` at the times `t`: (columns, n).
    fn kernel<'py>(
        &self,
        py: Python<'py>,
        t: PyReadonlyArray1<'py, f64>,
        what: &str,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let k = self.process.channels();
        let config = &self.config;
        let mut batch = AnyKernelBatch::default();
        let count = if matches!(what, "det" | "ell") {
            1
        } else {
            k * k
        };
        let what = match what {
            "mean" | "cov" | "cholesky" | "det" | "ell" => what.to_string(),
            other => {
                return Err(refused(Error::parameter(
                    "what",
                    format!("`{other}`"),
                    "mean, cov, cholesky, det, ell",
                )));
            }
        };
        Self::by_blocks(py, &t, count, |t, out| {
            batch.fill(&*self.process, &config.schedule, config.objective, t)?;
            for (n, out) in out.iter_mut().enumerate() {
                let (i, j) = (n / k, n % k);
                match what.as_str() {
                    "mean" => out.copy_from_slice(batch.mean(i, j)),
                    "cov" => out.copy_from_slice(batch.cov(i, j)),
                    "cholesky" if j <= i => out.copy_from_slice(batch.lower(i, j)),
                    "cholesky" => {}
                    "det" => out.copy_from_slice(batch.det()),
                    _ => out.copy_from_slice(batch.ell()),
                }
            }
            Ok(())
        })
    }

    /// One of the further values of the kernel, time by time: inverse (K K columns), log_det, snr,
    /// snr_joint, sigma, log_snr.
    fn value<'py>(
        &self,
        py: Python<'py>,
        t: PyReadonlyArray1<'py, f64>,
        what: &str,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let config = &self.config;
        let count = if what == "inverse" {
            self.process.channels().pow(2)
        } else {
            1
        };
        let what = match what {
            "inverse" | "log_det" | "snr" | "snr_joint" | "sigma" | "log_snr" => what.to_string(),
            other => {
                return Err(refused(Error::parameter(
                    "what",
                    format!("`{other}`"),
                    "inverse, log_det, snr, snr_joint, sigma, log_snr",
                )));
            }
        };
        Self::by_blocks(py, &t, count, |t, out| {
            for (r, t) in t.iter().enumerate() {
                let values =
                    kernel_values(&*self.process, &config.schedule, config.objective, 0.0, *t)?;
                match what.as_str() {
                    "inverse" => out
                        .iter_mut()
                        .zip(values.inv.as_slice())
                        .for_each(|(out, x)| out[r] = *x),
                    "log_det" => out[0][r] = values.logdet,
                    "snr" => out[0][r] = values.snr,
                    "snr_joint" => out[0][r] = values.snr_joint,
                    "sigma" => out[0][r] = values.sigma,
                    _ => out[0][r] = values.log_snr,
                }
            }
            Ok(())
        })
    }

    /// b(t) and its integral from 0: two columns.
    fn schedule<'py>(
        &self,
        py: Python<'py>,
        t: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let schedule = &self.config.schedule;
        Self::by_blocks(py, &t, 2, |t, out| {
            for (r, &t) in t.iter().enumerate() {
                out[1][r] = schedule.integral(0.0, t)?;
                out[0][r] = schedule.rate(t);
            }
            Ok(())
        })
    }

    /// `G G^T` at each time: (K K, n).
    fn noise<'py>(
        &self,
        py: Python<'py>,
        t: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let count = self.process.channels().pow(2);
        Self::by_blocks(py, &t, count, |t, out| {
            for (r, &t) in t.iter().enumerate() {
                let noise = self
                    .process
                    .noise_at(self.config.schedule.integral(0.0, t)?);
                out.iter_mut()
                    .zip(noise.as_slice())
                    .for_each(|(out, x)| out[r] = *x);
            }
            Ok(())
        })
    }
}
