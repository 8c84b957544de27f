//! The object-safe face of a process, and the registry: one line per diffusion.

use super::{Cld, CldDamped, CldPosition, Factors, Langevin, Law, LinearSde, Moments, Psld, Reversed, SubVp, Ve, Vp, write_column};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::schedule::{Schedule, Span};
use crate::small::Mat;
use std::collections::BTreeMap;

/// Moments with the number of channels known at run time; matrices row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // as in `Moments`
pub struct AnyMoments {
    pub mean: Vec<f64>,
    pub cov: Vec<f64>,
    pub det: f64,
    /// `[lower, upper, inverse, inverse transpose of lower, of upper]` and log-determinant, as in `Factors`.
    pub factors: Option<([Vec<f64>; 5], f64)>,
    /// Log-determinant, also where `det` rounds to 1.
    pub log_det: f64,
}

impl AnyMoments {
    /// With K known again. `K * K` must be the length of the vectors.
    pub fn fixed<const K: usize>(&self) -> Moments<K> {
        let m = |v: &[f64]| Mat::build(|i, j| v[i * K + j]);
        let factors = self.factors.as_ref().map(|(f, log_det)| {
            let [lower, upper, inverse, inverse_transpose_lower, inverse_transpose_upper] = f.each_ref().map(|v| m(v));
            Box::new(Factors { lower, upper, inverse, inverse_transpose_lower, inverse_transpose_upper, log_det: *log_det })
        });
        Moments { mean: m(&self.mean), cov: m(&self.cov), det: self.det, factors }
    }
}

impl AnyMoments {
    /// Of moments and the log-determinant of their covariance.
    fn of<const K: usize>(m: Moments<K>, log_det: f64) -> Self {
        let factors = m.factors.map(|f| {
            let all = [f.lower, f.upper, f.inverse, f.inverse_transpose_lower, f.inverse_transpose_upper];
            (all.map(|a| a.0.concat()), f.log_det)
        });
        AnyMoments { mean: m.mean.0.concat(), cov: m.cov.0.concat(), det: m.det, factors, log_det }
    }
}

/// Mean and covariance in double words, row-major, by the generic route.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyLaw {
    /// Mean matrix.
    pub mean: Vec<Dd>,
    /// Covariance.
    pub cov: Vec<Dd>,
    /// Rounded, with factors.
    pub moments: AnyMoments,
}

/// A process chosen at run time. Methods as in [`LinearSde`], matrices row-major.
#[allow(missing_docs)]
pub trait AnyProcess: Send + Sync {
    fn name(&self) -> &'static str;
    /// K, the number of channels: 1 to 4, of a process given by its matrices to 6.
    fn channels(&self) -> usize;
    fn drift(&self) -> Vec<f64>;
    fn noise_at(&self, start: f64) -> Vec<f64>;
    fn stationary(&self) -> Option<Vec<f64>>;
    fn prior(&self, horizon: f64) -> Vec<f64>;
    fn mass(&self) -> f64;
    fn initial(&self, gamma: f64) -> Vec<f64>;
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments;
    /// The kernels at many times, into columns in the order of [`LinearSde::columns_at`].
    fn columns_at(&self, schedule: &Schedule, gamma: f64, t: &[f64], columns: &mut [&mut [f64]]) {
        for (r, &t) in t.iter().enumerate() {
            let m = self.moments(Span::to(schedule, t), gamma);
            match self.channels() {
                1 => write_column::<1>(&m.fixed(), r, columns),
                2 => write_column::<2>(&m.fixed(), r, columns),
                3 => write_column::<3>(&m.fixed(), r, columns),
                _ => write_column::<4>(&m.fixed(), r, columns),
            }
        }
    }
    /// By the generic route, with `epsilon` added to every variance: what published code does against cancellation.
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw;
    /// The transition of the process's [`Reversed`]; refused where that is.
    fn reversed_moments(&self, on: Span) -> Result<AnyMoments>;
}

fn moments<const K: usize>(p: &impl LinearSde<K>, on: Span, gamma: f64) -> AnyMoments {
    let m = p.moments(on, gamma);
    let log_det = p.log_det(on, gamma, &m);
    AnyMoments::of(m, log_det)
}

fn moments_of_law<const K: usize>(law: &Law<K>) -> AnyMoments {
    let m = law.moments();
    let log_det = m.factors.as_ref().map_or(f64::NEG_INFINITY, |f| f.log_det);
    AnyMoments::of(m, log_det)
}

struct Erased<P, const K: usize>(P);

impl<P: LinearSde<K> + Clone + Send + Sync, const K: usize> AnyProcess for Erased<P, K> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn channels(&self) -> usize {
        K
    }
    fn drift(&self) -> Vec<f64> {
        self.0.drift().0.concat()
    }
    fn noise_at(&self, start: f64) -> Vec<f64> {
        self.0.noise_at(start).0.concat()
    }
    fn stationary(&self) -> Option<Vec<f64>> {
        self.0.stationary().map(|m| m.0.concat())
    }
    fn prior(&self, horizon: f64) -> Vec<f64> {
        self.0.prior(horizon).0.concat()
    }
    fn mass(&self) -> f64 {
        self.0.mass()
    }
    fn initial(&self, gamma: f64) -> Vec<f64> {
        self.0.initial(gamma).iter().map(|v| v.to_f64()).collect()
    }
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments {
        moments(&self.0, on, gamma)
    }
    fn columns_at(&self, schedule: &Schedule, gamma: f64, t: &[f64], columns: &mut [&mut [f64]]) {
        self.0.columns_at(schedule, gamma, t, columns);
    }
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        let l = self.0.law(on, gamma).with_variance_added(epsilon);
        AnyLaw { mean: l.mean.0.concat(), cov: l.cov.0.concat(), moments: moments_of_law(&l) }
    }
    fn reversed_moments(&self, on: Span) -> Result<AnyMoments> {
        Ok(moments(&Reversed::new(self.0.clone())?, on, 0.0))
    }
}

/// Any process behind the object-safe face.
///
/// # Errors
/// None; the type is that of the registry's builders.
pub fn erase<const K: usize>(p: impl LinearSde<K> + Clone + Send + Sync + 'static) -> Result<Box<dyn AnyProcess>> {
    Ok(Box::new(Erased::<_, K>(p)))
}

/// A parameter's value as a file or a flag gives it.
#[derive(Clone, Debug, PartialEq)]
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
            Some(other) => Err(Error::parameter(name.to_string(), format!("`{other}`"), "a number")),
            None => Err(Error::parameter(name.to_string(), "missing", "a number; this process needs it")),
        }
    }

    /// The word called `name`, if there is one.
    fn word(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            Some(Value::Word(w)) => Ok(Some(w)),
            Some(other) => Err(Error::parameter(name.to_string(), other, "a word")),
            None => Ok(None),
        }
    }
}

/// A diffusion in the registry.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// One line about it, with its source.
    pub about: &'static str,
    /// The parameters it reads.
    pub params: &'static [&'static str],
    /// The parameter that is HSM's `gamma` (in units of the process's mass), if it has a velocity.
    pub gamma: Option<&'static str>,
    /// The parameters that every command takes where none are given: the paper's, where there are some. What is not here must be given.
    pub defaults: &'static [(&'static str, f64)],
    /// The schedule that every command takes where none is given: with `defaults` the prior is met at t = 1.
    ///
    /// # Errors
    /// None; the type is that of the schedules' constructors.
    pub schedule: fn() -> Result<Schedule>,
    build: fn(&Params) -> Result<Box<dyn AnyProcess>>,
}

/// The friction of CLD in `p`, or `None` for the critical one: `Gamma` where it is given or where `damping` is `general`.
fn friction(p: &Params) -> Result<Option<f64>> {
    let general = match p.word("damping")? {
        None => p.0.contains_key("Gamma"),
        Some("critical") => false,
        Some("general") => true,
        Some(w) => return Err(Error::parameter("damping", format!("`{w}`"), "critical or general")),
    };
    if general {
        return p.number("Gamma").map(Some);
    }
    if p.0.contains_key("Gamma") {
        return Err(Error::parameter("Gamma", p.number("Gamma")?, "absent with critical damping (it is 2 sqrt(mass))"));
    }
    Ok(None)
}

fn cld(p: &Params) -> Result<Box<dyn AnyProcess>> {
    let mass = p.number("mass")?;
    match friction(p)? {
        Some(g) => erase(CldDamped::new(mass, g)?),
        None => erase(Cld::new(mass)?),
    }
}

fn sscs(p: &Params) -> Result<Box<dyn AnyProcess>> {
    let mass = p.number("mass")?;
    match friction(p)? {
        Some(g) => erase(Reversed::new(CldDamped::new(mass, g)?)?),
        None => erase(Reversed::new(Cld::new(mass)?)?),
    }
}

fn langevin(p: &Params) -> Result<Box<dyn AnyProcess>> {
    if let Some(w) = p.word("damping")?.filter(|&w| w != "critical") {
        return Err(Error::parameter("damping", format!("`{w}`"), "critical"));
    }
    match p.number("order")? {
        2.0 => erase(Langevin::<2>::critical()?),
        3.0 => erase(Langevin::<3>::critical()?),
        4.0 => erase(Langevin::<4>::critical()?),
        n => Err(Error::parameter("order", n, "2, 3 or 4")),
    }
}

/// The matrix called `name`, row-major, and its size.
fn matrix(p: &Params, name: &str) -> Result<(Vec<f64>, usize)> {
    let allowed = "a square matrix, row by row, of 1 to 6 channels";
    match p.0.get(name) {
        Some(Value::Matrix(m)) if (1..=6).contains(&m.len()) && m.iter().all(|r| r.len() == m.len()) => Ok((m.concat(), m.len())),
        Some(other) => Err(Error::parameter(name.to_string(), other, allowed)),
        None => Err(Error::parameter(name.to_string(), "missing", allowed)),
    }
}

/// A process from its matrices F and `G G^T`, row-major, of k channels, and its mass.
///
/// # Errors
/// As [`Custom::new`](super::Custom::new).
pub fn custom(f: &[f64], g: &[f64], k: usize, mass: f64) -> Result<Box<dyn AnyProcess>> {
    fn sized<const K: usize>(f: &[f64], g: &[f64], mass: f64) -> Result<Box<dyn AnyProcess>> {
        let of = |v: &[f64]| Mat::<K>::build(|i, j| v[i * K + j]);
        erase(super::Custom::new(of(f), of(g), mass)?)
    }
    match k {
        1 => sized::<1>(f, g, mass),
        2 => sized::<2>(f, g, mass),
        3 => sized::<3>(f, g, mass),
        4 => sized::<4>(f, g, mass),
        5 => sized::<5>(f, g, mass),
        6 => sized::<6>(f, g, mass),
        _ => Err(Error::parameter("F", format!("{k} x {k}"), "a square matrix of 1 to 6 channels")),
    }
}

/// Any linear SDE by its matrices: not a diffusion of the crate, but one that answers can be about.
pub const CUSTOM: Entry = Entry {
    name: "custom",
    about: "any linear SDE du = F u b dt + G sqrt(b) dW, by its matrices F and GGt",
    params: &["F", "GGt", "mass", "gamma"],
    gamma: Some("gamma"),
    defaults: &[],
    schedule: || Schedule::constant(1.0),
    build: |p| {
        let ((f, k), (g, l)) = (matrix(p, "F")?, matrix(p, "GGt")?);
        if k != l {
            return Err(Error::parameter("GGt", format!("{l} x {l}"), format!("{k} x {k}, as F")));
        }
        custom(&f, &g, k, if p.0.contains_key("mass") { p.number("mass")? } else { 1.0 })
    },
};

/// Every diffusion of the crate.
#[rustfmt::skip]
pub const REGISTRY: &[Entry] = &[
    Entry { name: "cld", about: "critically damped Langevin (Dockhorn et al. 2022); any damping with Gamma", params: &["mass", "Gamma", "damping", "gamma"], gamma: Some("gamma"), defaults: &[("mass", 0.25), ("gamma", 0.04)], schedule: || Schedule::constant(4.0), build: cld },
    Entry { name: "sscs-analytic", about: "reversed analytic part of SSCS (Dockhorn et al. 2022)", params: &["mass", "Gamma", "damping", "gamma"], gamma: Some("gamma"), defaults: &[("gamma", 0.04)], schedule: || Schedule::constant(4.0), build: sscs },
    Entry { name: "psld", about: "phase-space Langevin (Pandey and Mandt 2023)", params: &["Gamma", "nu", "gamma"], gamma: Some("gamma"), defaults: &[("Gamma", 0.01), ("nu", 4.01), ("gamma", 0.04)], schedule: || Schedule::constant(8.0), build: |p| erase(Psld::new(p.number("Gamma")?, p.number("nu")?)?) },
    Entry { name: "cld-position-noise", about: "CLD with position noise (Strasman et al. 2025)", params: &["a", "epsilon", "sigma", "v0_var"], gamma: Some("v0_var"), defaults: &[("v0_var", 0.04)], schedule: || Schedule::constant(4.0), build: |p| erase(CldPosition::new(p.number("a")?, p.number("epsilon")?, p.number("sigma")?)?) },
    Entry { name: "langevin-order-n", about: "Langevin chain of order 2, 3 or 4, critically damped", params: &["order", "damping", "velocity_var"], gamma: Some("velocity_var"), defaults: &[("order", 3.0), ("velocity_var", 0.04)], schedule: || Schedule::constant(8.0), build: langevin },
    Entry { name: "vp", about: "variance preserving (Song et al. 2021)", params: &[], gamma: None, defaults: &[], schedule: || Schedule::linear(0.1, 19.9), build: |_| erase(Vp) },
    Entry { name: "ve", about: "variance exploding (Song et al. 2021)", params: &[], gamma: None, defaults: &[], schedule: || Schedule::geometric(0.01, 50.0), build: |_| erase(Ve) },
    Entry { name: "sub-vp", about: "sub-variance preserving (Song et al. 2021)", params: &[], gamma: None, defaults: &[], schedule: || Schedule::linear(0.1, 19.9), build: |_| erase(SubVp) },
];

/// The registry's entry called `name`.
///
/// # Errors
/// No such process; the message lists those there are.
pub fn entry(name: &str) -> Result<&'static Entry> {
    static OTHER: Entry = CUSTOM;
    REGISTRY.iter().chain([&OTHER]).find(|e| e.name == name).ok_or_else(|| {
        let all: Vec<_> = REGISTRY.iter().chain([&OTHER]).map(|e| e.name).collect();
        Error::parameter("process", format!("`{name}`"), all.join(", "))
    })
}

impl Entry {
    /// Builds the process.
    ///
    /// # Errors
    /// A parameter missing, unknown or out of range.
    pub fn build(&self, params: &Params) -> Result<Box<dyn AnyProcess>> {
        for name in params.0.keys() {
            if !self.params.contains(&name.as_str()) {
                let allowed = if self.params.is_empty() { "none".to_string() } else { self.params.join(", ") };
                return Err(Error::parameter(name.clone(), "unknown", format!("parameters of {}: {allowed}", self.name)));
            }
        }
        (self.build)(params)
    }
}
