//! The object-safe face of a process.

use super::doubling::Law;
use super::linear::{Fast, LinearSde};
use super::moments::{AnyFactors, Moments, write_column};
use super::reversed::Reversed;
use crate::dd::Dd;
use crate::error::Result;
use crate::schedule::{Schedule, Span};
use crate::small::{Square, by_channels};

/// [`Moments`] with the number of channels known at run time.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // as in `Moments`
pub struct AnyMoments {
    pub mean: Square,
    pub cov: Square,
    pub det: f64,
    pub factors: Option<Box<AnyFactors>>,
    /// Log-determinant, also where `det` rounds to 1.
    pub log_det: f64,
}

impl AnyMoments {
    /// With K known again, which must be the number of channels.
    pub fn fixed<const K: usize>(&self) -> Moments<K> {
        let factors = self
            .factors
            .as_ref()
            .map(|f| Box::new(f.map(Square::fixed)));
        Moments {
            mean: self.mean.fixed(),
            cov: self.cov.fixed(),
            det: self.det,
            factors,
        }
    }

    /// Of moments and the log-determinant of their covariance.
    fn of<const K: usize>(m: Moments<K>, log_det: f64) -> Self {
        let factors = m.factors.map(|f| Box::new(f.map(|m| (*m).into())));
        AnyMoments {
            mean: m.mean.into(),
            cov: m.cov.into(),
            det: m.det,
            factors,
            log_det,
        }
    }
}

/// Mean and covariance in double words, by the generic route.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AnyLaw {
    /// Mean matrix.
    pub mean: Square<Dd>,
    /// Covariance.
    pub cov: Square<Dd>,
    /// Rounded, with factors.
    pub moments: AnyMoments,
}

/// A process chosen at run time. Methods as in [`LinearSde`].
#[allow(missing_docs)]
pub trait AnyProcess: Send + Sync {
    fn name(&self) -> &'static str;
    /// K, the number of channels: 1 to 4, of a process given by its matrices to 6.
    fn channels(&self) -> usize;
    fn drift(&self) -> Square;
    fn noise_at(&self, start: f64) -> Square;
    fn stationary(&self) -> Option<Square>;
    fn prior(&self, horizon: f64) -> Square;
    fn mass(&self) -> f64;
    fn initial(&self, gamma: f64) -> Vec<f64>;
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments;
    /// The kernels at many times, into columns in the order of [`LinearSde::columns_at`].
    fn columns_at(&self, schedule: &Schedule, gamma: f64, t: &[f64], columns: &mut [&mut [f64]]) {
        for (r, &t) in t.iter().enumerate() {
            let m = self.moments(Span::to(schedule, t), gamma);
            by_channels!(self.channels(), up to 6, K => write_column::<K>(&m.fixed(), r, columns), else ());
        }
    }
    /// By the generic route, with `epsilon` added to every variance: what published code does
    /// against cancellation.
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
    fn drift(&self) -> Square {
        self.0.drift().into()
    }
    fn noise_at(&self, start: f64) -> Square {
        self.0.noise_at(start).into()
    }
    fn stationary(&self) -> Option<Square> {
        self.0.stationary().map(Square::from)
    }
    fn prior(&self, horizon: f64) -> Square {
        self.0.prior(horizon).into()
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
        self.0.columns_at(schedule, gamma, t, columns, Fast);
    }
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        let l = self.0.law(on, gamma).with_variance_added(epsilon);
        AnyLaw {
            mean: l.mean.into(),
            cov: l.cov.into(),
            moments: moments_of_law(&l),
        }
    }
    fn reversed_moments(&self, on: Span) -> Result<AnyMoments> {
        Ok(moments(&Reversed::new(self.0.clone())?, on, 0.0))
    }
}

/// Any process behind the object-safe face.
///
/// # Errors
/// None; the type is that of the registry's builders.
pub fn erase<const K: usize>(
    p: impl LinearSde<K> + Clone + Send + Sync + 'static,
) -> Result<Box<dyn AnyProcess>> {
    Ok(Box::new(Erased::<_, K>(p)))
}
