//! `cld_sgm._native`: the crate's numbers as arrays. What a user sees is made of these in Python
//! (`cld_sgm/*.py`); nothing is computed here.
//!
//! Long calls release the interpreter's lock. An [`Error`] becomes a `ValueError` with its
//! sentence; a panic, which would be a bug of ours, a `RuntimeError` that says so.

/// The command `cld`, the same sources; its `main` is not used here.
#[allow(dead_code)]
#[path = "../../bin/cld/main.rs"]
mod command;
mod judge;
mod model;
mod process;
mod sampler;

use cld_sgm::Error;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The crate's sentence as a `ValueError`.
fn refused(e: Error) -> PyErr {
    PyValueError::new_err(e.to_string())
}

/// What Ctrl-C raised, on its way through code of the crate that knows of no reason to stop:
/// [`without_lock`] takes it up.
struct Stopped(PyErr);

/// Ends the work of [`without_lock`] that this is called from, if Ctrl-C was pressed (or another
/// signal's handler raised).
fn look_for_signals() {
    if let Err(raised) = Python::attach(|py| py.check_signals()) {
        resume_unwind(Box::new(Stopped(raised)));
    }
}

/// `work` without the interpreter's lock, its error as a Python error.
fn without_lock<T: Send>(py: Python<'_>, work: impl FnOnce() -> PyResult<T> + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .unwrap_or_else(|panic| match panic.downcast::<Stopped>() {
            Ok(stopped) => Err(stopped.0),
            Err(panic) => {
                let words = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                Err(PyRuntimeError::new_err(format!(
                    "a bug in cld_sgm, please report it: {}",
                    words.unwrap_or("a panic")
                )))
            }
        })
}

/// The crate's version, and the commit where it is known.
#[pyfunction]
fn version() -> (&'static str, &'static str) {
    (env!("CARGO_PKG_VERSION"), env!("CLD_COMMIT"))
}

/// The command `cld` with these arguments, the first of which is its name; returns its exit code.
#[pyfunction]
fn cld(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> PyResult<u8> {
    without_lock(py, || Ok(command::run(arguments)))
}

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<process::Process>()?;
    m.add_class::<model::Mixture>()?;
    m.add_class::<judge::Report>()?;
    m.add_function(wrap_pyfunction!(version, m)?)?;
    m.add_function(wrap_pyfunction!(cld, m)?)?;
    m.add_function(wrap_pyfunction!(sampler::samplers, m)?)?;
    m.add_function(wrap_pyfunction!(sampler::draws, m)?)?;
    m.add_function(wrap_pyfunction!(sampler::law, m)?)?;
    m.add_function(wrap_pyfunction!(sampler::run, m)?)?;
    m.add_function(wrap_pyfunction!(model::loss, m)?)?;
    m.add_function(wrap_pyfunction!(model::likelihood, m)?)?;
    m.add_function(wrap_pyfunction!(model::bits, m)?)?;
    m.add_function(wrap_pyfunction!(judge::questions, m)?)?;
    m.add_function(wrap_pyfunction!(judge::judge, m)?)?;
    m.add_function(wrap_pyfunction!(judge::mistakes, m)?)
}
