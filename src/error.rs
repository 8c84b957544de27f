//! The one error type of the crate: each variant names the field, the value and what is allowed.

use std::borrow::Cow;
use std::fmt;

/// Everything that can go wrong. Constructors and file readers return it; arithmetic after them does not fail.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A parameter outside its range.
    Parameter {
        /// Name of the parameter, as the caller spelled it.
        name: Cow<'static, str>,
        /// The value that was given.
        value: String,
        /// What would have been allowed.
        allowed: Cow<'static, str>,
    },
    /// An array of the wrong shape.
    Shape {
        /// Name of the array.
        name: Cow<'static, str>,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that was needed.
        allowed: String,
    },
    /// A time, or a pair of times, outside what the operation is defined for.
    Time {
        /// Name of the time.
        name: Cow<'static, str>,
        /// The value that was given.
        value: f64,
        /// What would have been allowed.
        allowed: Cow<'static, str>,
    },
    /// A file that does not say what it should.
    Format {
        /// The file, or the part of the input.
        file: String,
        /// Where in it.
        place: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The covariance has no inverse in f64 (it underflows), so the object that needs it cannot be built.
    Degenerate {
        /// What was to be built.
        what: Cow<'static, str>,
        /// The reason, with figures.
        why: String,
    },
    /// A computation reached a value that is not finite.
    NonFinite {
        /// Step of the run.
        step: usize,
        /// Time of the step.
        t: f64,
    },
    /// A computation that would take longer than is allowed, given up.
    Unfinished {
        /// What was computed.
        what: Cow<'static, str>,
        /// The time that it had reached.
        t: f64,
        /// The reason, with figures.
        why: String,
    },
    /// The operating system refused a file operation.
    Io {
        /// The path.
        path: String,
        /// What was attempted, and the system's own words.
        problem: String,
    },
}

/// Short for `std::result::Result<T, cld_sgm::Error>`.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    #[cold]
    /// A parameter that is refused: its name, its value, and what is allowed.
    pub fn parameter(name: impl Into<Cow<'static, str>>, value: impl fmt::Display, allowed: impl Into<Cow<'static, str>>) -> Self {
        Error::Parameter { name: name.into(), value: value.to_string(), allowed: allowed.into() }
    }

    #[cold]
    pub(crate) fn time(name: impl Into<Cow<'static, str>>, value: f64, allowed: impl Into<Cow<'static, str>>) -> Self {
        Error::Time { name: name.into(), value, allowed: allowed.into() }
    }

    #[cold]
    pub(crate) fn shape(name: impl Into<Cow<'static, str>>, found: &[usize], allowed: impl Into<String>) -> Self {
        Error::Shape { name: name.into(), found: found.to_vec(), allowed: allowed.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Parameter { name, value, allowed } => write!(f, "parameter `{name}` is {value}; allowed: {allowed}"),
            Error::Shape { name, found, allowed } => write!(f, "array `{name}` has shape {found:?}; allowed: {allowed}"),
            Error::Time { name, value, allowed } => write!(f, "time `{name}` is {value}; allowed: {allowed}"),
            Error::Format { file, place, problem } if place.is_empty() => write!(f, "{file}: {problem}"),
            Error::Format { file, place, problem } => write!(f, "{file}: {place}: {problem}"),
            Error::Degenerate { what, why } => write!(f, "{what} does not exist in f64: {why}"),
            Error::NonFinite { step, t } => write!(f, "a value that is not finite at step {step}, time {t}"),
            Error::Unfinished { what, t, why } => write!(f, "{what} is given up at t = {t:e}: {why}"),
            Error::Io { path, problem } => write!(f, "{path}: {problem}"),
        }
    }
}

impl std::error::Error for Error {}

/// Checks that `value` is finite and satisfies `ok`; else an [`Error::Parameter`] that names it.
pub(crate) fn check(name: &'static str, value: f64, ok: bool, allowed: &'static str) -> Result<f64> {
    if value.is_finite() && ok { Ok(value) } else { Err(Error::parameter(name, value, allowed)) }
}
