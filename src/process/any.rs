//! The object-safe face of a process.

use super::doubling::Law;
use super::linear::LinearSde;
use super::moments::{Factors, Moments, write_column};
use super::reversed::Reversed;
use crate::dd::Dd;
use crate::error::Result;
use crate::schedule::{Schedule, Span};
use crate::small::Mat;

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
