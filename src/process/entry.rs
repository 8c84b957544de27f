//! What a diffusion says of itself: its entry in the registry, and parameters as files and flags
//! give them.

use super::any::AnyProcess;
use crate::error::{Error, Result};
use crate::schedule::Schedule;
use std::collections::BTreeMap;

/// A parameter's value as a file or a flag gives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A number.
    Number(f64),
    /// A word, such as `critical`.
    Word(String),
    /// A square matrix, row by row.
    Matrix(Vec<Vec<f64>>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Number(x) => write!(f, "{x}"),
            Value::Word(w) => write!(f, "{w}"),
            Value::Matrix(m) => write!(f, "{m:?}"),
        }
    }
}

/// Parameters by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(pub BTreeMap<String, Value>);

impl Params {
    /// With one more number.
    pub fn with(self, name: &str, value: f64) -> Params {
        self.with_value(name, Value::Number(value))
    }

    /// With one more value.
    pub fn with_value(mut self, name: &str, value: Value) -> Params {
        self.0.insert(name.to_string(), value);
        self
    }

    /// The number called `name`.
    ///
    /// # Errors
    /// Missing, or a word.
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.0.get(name) {
            Some(Value::Number(x)) => Ok(*x),
            Some(other) => Err(Error::parameter(
                name.to_string(),
                format!("`{other}`"),
                "a number",
            )),
            None => Err(Error::parameter(
                name.to_string(),
                "missing",
                "a number; this process needs it",
            )),
        }
    }

    /// The word called `name`, if there is one.
    pub(super) fn word(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            Some(Value::Word(w)) => Ok(Some(w)),
            Some(other) => Err(Error::parameter(name.to_string(), other, "a word")),
            None => Ok(None),
        }
    }
}

/// A parameter's value in a table: [`Value`] without memory of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Given {
    /// A number.
    Number(f64),
    /// A word.
    Word(&'static str),
}

impl From<Given> for Value {
    fn from(g: Given) -> Value {
        match g {
            Given::Number(x) => Value::Number(x),
            Given::Word(w) => Value::Word(w.to_string()),
        }
    }
}

/// Parameters of an example, in the order in which files have them.
pub type Example = &'static [(&'static str, Given)];

/// What a closed form keeps of f64's digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// So many units in the last place.
    Ulp(f64),
    /// So much relative error.
    Relative(f64),
}

/// The accuracy that is stated of a diffusion, or of some of its parameters.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Accuracy {
    /// Its name in tables.
    pub family: &'static str,
    /// What is promised.
    pub bound: Bound,
    /// Whether it is of these parameters.
    pub of: fn(&Params) -> bool,
}

/// A schedule in a table.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rate {
    /// `b(t) = b`.
    Constant(f64),
    /// `b(t) = b0 + b1 t`.
    Linear(f64, f64),
    /// The cosine schedule of offset `s0`, cut at `t_max`.
    Cosine(f64, f64),
    /// `sigma(t)` from `sigma_min` to `sigma_max` in proportion.
    Geometric(f64, f64),
}

impl Rate {
    /// The schedule itself.
    ///
    /// # Errors
    /// As the schedules' constructors.
    pub fn schedule(self) -> Result<Schedule> {
        match self {
            Rate::Constant(b) => Schedule::constant(b),
            Rate::Linear(b0, b1) => Schedule::linear(b0, b1),
            Rate::Cosine(s0, t_max) => Schedule::cosine(s0, t_max),
            Rate::Geometric(min, max) => Schedule::geometric(min, max),
        }
    }
}

/// Under which objectives test vectors ask for an example, and where among the others they come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Under {
    /// Both, before all others: the paper's own.
    First,
    /// Both: all of these under HSM, then all under DSM.
    Both,
    /// One (`dsm` or `hsm`), after the others.
    Only(&'static str),
}

/// What test vectors ask of a diffusion.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Vectors {
    /// The parameters.
    pub params: Example,
    /// The schedule.
    pub rate: Rate,
    /// The objectives.
    pub under: Under,
    /// Flags, as the manifest explains them.
    pub flags: &'static [&'static str],
}

/// A case of the audit.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Audited {
    /// Its name: the first part of its claims' ids.
    pub name: &'static str,
    /// Parameters, away from coincidences (M = 1, Gamma = nu, ...).
    pub params: Example,
    /// Whether its kernels are simulated.
    pub kernels: bool,
    /// Whether every sampler that it is defined for is claimed of it.
    pub samplers: bool,
    /// Whether likelihoods are.
    pub likelihood: bool,
    /// Whether the page draws its errors.
    pub drawn: bool,
}

impl Audited {
    /// A case of the kernels alone.
    pub const fn kernels(name: &'static str, params: Example) -> Audited {
        Audited {
            name,
            params,
            kernels: true,
            samplers: false,
            likelihood: false,
            drawn: false,
        }
    }
}

/// The discrete chain of which a diffusion is the limit. Source: Song et al. 2021, App. B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chain {
    /// DDPM.
    Ddpm,
    /// SMLD, in the variance `sigma^2(t)`.
    Smld,
}

/// From parameters, their process, and whether the friction is kept.
pub type MassInverted = fn(&Params, &dyn AnyProcess, bool) -> Option<Box<dyn AnyProcess>>;

/// A diffusion in the registry: all that others need to know of it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ProcessEntry {
    /// Its name.
    pub name: &'static str,
    /// One line about it, with its source.
    pub about: &'static str,
    /// The parameters it reads.
    pub params: &'static [&'static str],
    /// The parameter that is HSM's `gamma` (in units of the process's mass), if it has a velocity.
    pub gamma: Option<&'static str>,
    /// The parameters that every command takes where none are given: the paper's, where there are
    /// some. What is not here must be given.
    pub defaults: &'static [(&'static str, f64)],
    /// The schedule that every command takes where none is given: with `defaults` the prior is met
    /// at t = 1.
    pub rate: Rate,
    /// The parametrisation that networks are trained in, with `defaults`.
    pub parametrisation: &'static str,
    /// Stated accuracies; the first one whose parameters these are.
    pub accuracy: &'static [Accuracy],
    /// What test vectors ask.
    pub vectors: &'static [Vectors],
    /// The audit's cases.
    pub audit: &'static [Audited],
    /// The chain of which it is the limit.
    pub chain: Option<Chain>,
    /// Whether its coefficients are no parameters, so that code holds them rounded to its own type.
    pub own_coefficients: bool,
    /// The process of one who takes 1/M for M: with the friction left right (`true`) or wrong with
    /// it. `None` where there is no such.
    pub mass_inverted: MassInverted,
    pub(super) build: fn(&Params) -> Result<Box<dyn AnyProcess>>,
}

impl ProcessEntry {
    /// What most say; name, words and builder are each one's own.
    pub(super) const BASE: ProcessEntry = ProcessEntry {
        name: "",
        about: "",
        params: &[],
        gamma: None,
        defaults: &[],
        rate: Rate::Constant(1.0),
        parametrisation: "eps",
        accuracy: &[],
        vectors: &[],
        audit: &[],
        chain: None,
        own_coefficients: false,
        mass_inverted: |_, _, _| None,
        build: |_| {
            Err(Error::Degenerate {
                what: "the process".into(),
                why: "its entry has no builder".into(),
            })
        },
    };

    /// The default schedule.
    ///
    /// # Errors
    /// None: a test builds each.
    pub fn schedule(&self) -> Result<Schedule> {
        self.rate.schedule()
    }

    /// The default parameters, but for `gamma`.
    pub fn defaults(&self) -> Params {
        let numbers = self
            .defaults
            .iter()
            .filter(|(name, _)| Some(*name) != self.gamma);
        numbers.fold(Params::default(), |p, (name, x)| p.with(name, *x))
    }

    /// Builds the process.
    ///
    /// # Errors
    /// A parameter missing, unknown or out of range.
    pub fn build(&self, params: &Params) -> Result<Box<dyn AnyProcess>> {
        for name in params.0.keys() {
            if !self.params.contains(&name.as_str()) {
                let allowed = if self.params.is_empty() {
                    "none".to_string()
                } else {
                    self.params.join(", ")
                };
                return Err(Error::parameter(
                    name.clone(),
                    "unknown",
                    format!("parameters of {}: {allowed}", self.name),
                ));
            }
        }
        (self.build)(params)
    }
}
