//! Samplers: steps with noise as an argument and a score that may be a Python function, and the
//! exact laws of whole runs.

use crate::process::{Process, columns};
use crate::{refused, without_lock};
use cld_sgm::sampler::law::run_law;
use cld_sgm::sampler::{Denoise, Grid, Memory, REGISTRY, Stepper, entry};
use cld_sgm::score::{Gaussian, Score};
use cld_sgm::{Diffusion, Error, Result};
use numpy::{PyArray2, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Mutex;

impl Process {
    /// As samplers see it.
    pub fn diffusion(&self) -> PyResult<Diffusion> {
        let gamma = self.config.gamma.unwrap_or(0.0);
        let process = self.config.process().map_err(refused)?;
        Diffusion::new(process, self.config.schedule, gamma).map_err(refused)
    }
}

/// Name, about, weak and strong order, evaluations of the score per step, whether it chooses its
/// own steps.
type Sampler = (&'static str, &'static str, f64, Option<f64>, usize, bool);

/// The samplers.
#[pyfunction]
pub fn samplers() -> Vec<Sampler> {
    REGISTRY
        .iter()
        .map(|e| {
            (
                e.name,
                e.about,
                e.order.weak,
                e.order.strong,
                e.evaluations,
                e.adaptive,
            )
        })
        .collect()
}

fn plan(diffusion: &Diffusion, sampler: &str, times: &[f64]) -> Result<(Box<dyn Stepper>, usize)> {
    let grid = Grid::new(times.to_vec())?;
    Ok((entry(sampler)?.build(diffusion, &grid)?, grid.steps()))
}

/// Slices of normals that a step takes.
#[pyfunction]
pub fn draws(process: &Process, sampler: &str, times: Vec<f64>) -> PyResult<usize> {
    plan(&process.diffusion()?, sampler, &times)
        .map(|(stepper, _)| stepper.draws())
        .map_err(refused)
}

/// c, A and C of a run on data N(mean, deviation^2): `u_end = A u + c + C noise`; with `denoise`
/// the last step goes on to 0.
type Law<'py> = (Vec<f64>, Vec<f64>, Bound<'py, PyArray2<f64>>);

#[pyfunction]
pub fn law<'py>(
    py: Python<'py>,
    process: &Process,
    sampler: &str,
    times: Vec<f64>,
    data: (f64, f64),
    denoise: bool,
) -> PyResult<Law<'py>> {
    let diffusion = process.diffusion()?;
    let k = diffusion.channels();
    let law = without_lock(py, || {
        let score = Gaussian::new(diffusion.clone(), data.0, data.1).map_err(refused)?;
        let (stepper, steps) = plan(&diffusion, sampler, &times).map_err(refused)?;
        let last = if denoise {
            Some(Denoise::new(&diffusion, times[steps]).map_err(refused)?)
        } else {
            None
        };
        let mut runs: Vec<(&dyn Stepper, usize)> = vec![(&*stepper, steps)];
        runs.extend(last.as_ref().map(|d| (d as &dyn Stepper, 1)));
        run_law(&runs, k, &score).map_err(refused)
    })?;
    Ok((
        law.constant,
        law.state.to_vec(),
        columns(py, law.noise.concat(), k)?,
    ))
}

/// A Python function of (t, (K, n) array) that returns the score of the noised channels, (m, n).
pub struct Callback {
    function: Py<PyAny>,
    /// What it raised: the crate's errors cannot carry it.
    raised: Mutex<Option<PyErr>>,
}

impl Callback {
    pub fn new(function: Py<PyAny>) -> Callback {
        Callback {
            function,
            raised: Mutex::new(None),
        }
    }

    /// What it raised, once.
    pub fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(|e| e.into_inner()).take()
    }

    fn call(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> PyResult<()> {
        Python::attach(|py| {
            py.check_signals()?;
            let given = columns(py, u.concat(), u.len())?;
            let result = self.function.bind(py).call1((t, given))?;
            let result: PyReadonlyArray2<'_, f64> = result.extract().map_err(|_| {
                PyValueError::new_err("the score is no array of float64 of two axes")
            })?;
            let (m, n) = (out.len(), out.first().map_or(0, |c| c.len()));
            if result.shape() != [m, n] {
                return Err(PyValueError::new_err(format!(
                    "the score has shape {:?}; allowed: ({m}, {n})",
                    result.shape()
                )));
            }
            out.iter_mut()
                .zip(result.as_slice()?.chunks(n.max(1)))
                .for_each(|(out, row)| out.copy_from_slice(row));
            Ok(())
        })
    }
}

impl Score for Callback {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.call(t, u, out).map_err(|e| {
            *self.raised.lock().unwrap_or_else(|e| e.into_inner()) = Some(e);
            Error::parameter("score", "an error", "a function that returns an array")
        })
    }
}

/// A run of `sampler` over `times` from `u`, (K, n), with `noise`, (draws, n) for all steps one
/// after the other.
#[pyfunction]
pub fn run<'py>(
    py: Python<'py>,
    process: &Process,
    sampler: &str,
    times: Vec<f64>,
    start: (PyReadonlyArray2<'py, f64>, PyReadonlyArray2<'py, f64>),
    score: Py<PyAny>,
    denoise: bool,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let diffusion = process.diffusion()?;
    let (u, noise) = start;
    let (k, n) = (u.shape()[0], u.shape()[1]);
    let (mut state, noise) = (u.as_slice()?.to_vec(), noise.as_slice()?);
    let score = Callback::new(score);
    let outcome = without_lock(py, || {
        let mut work = || -> Result<()> {
            let (stepper, steps) = plan(&diffusion, sampler, &times)?;
            let wanted = stepper.draws() * steps;
            if noise.len() != wanted * n {
                return Err(Error::parameter(
                    "noise",
                    format!("{} rows", noise.len() / n.max(1)),
                    format!("{wanted}"),
                ));
            }
            let mut memory = Memory::new(&*stepper, n);
            let mut channels: Vec<&mut [f64]> = state.chunks_mut(n.max(1)).collect();
            for i in 0..steps {
                let slices: Vec<&[f64]> = noise
                    .chunks(n.max(1))
                    .skip(i * stepper.draws())
                    .take(stepper.draws())
                    .collect();
                stepper.step(i, &mut channels, &slices, &score, &mut memory)?;
            }
            if denoise {
                let last = Denoise::new(&diffusion, times[steps])?;
                last.step(0, &mut channels, &[], &score, &mut Memory::new(&last, n))?;
            }
            Ok(())
        };
        Ok(work())
    })?;
    if let Some(raised) = score.raised() {
        return Err(raised);
    }
    outcome.map_err(refused)?;
    columns(py, state, k)
}
