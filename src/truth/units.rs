//! A process whose velocities stand for its momenta: v = p / M in every channel but the first.

use super::linear;
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyFactors, AnyLaw, AnyMoments, AnyProcess};
use crate::schedule::Span;
use crate::small::Square;

/// The same process in velocities: drift `D F D^-1`, noise `D G G^T D`, D = diag(1, 1/M, ..). A velocity's stationary variance is 1/M
/// and its initial one gamma/M, so that 1/M stands where the mass did.
pub(super) struct Velocity(pub Box<dyn AnyProcess>);

impl Velocity {
    /// D's entry for channel `i`.
    fn unit(&self, i: usize) -> Dd {
        if i == 0 { Dd::ONE } else { Dd::from(self.0.mass()).recip() }
    }

    /// A matrix with entry (i, j) multiplied by `D_i^a D_j^b`, a and b being 1 or -1.
    fn scaled(&self, m: &Square, a: i32, b: i32) -> Square {
        self.scaled_dd(&m.map(Dd::from), a, b).map(Dd::to_f64)
    }

    fn scaled_dd(&self, m: &Square<Dd>, a: i32, b: i32) -> Square<Dd> {
        let power = |i: usize, p: i32| if p == 1 { self.unit(i) } else { self.unit(i).recip() };
        // the same unit on both sides of a mean cancels exactly
        let factor = |i: usize, j: usize| if a + b == 0 && (i == 0) == (j == 0) { Dd::ONE } else { power(i, a) * power(j, b) };
        Square::build(m.k(), |i, j| m[(i, j)] * factor(i, j))
    }

    /// A factor L: its rows are multiplied by `D^a`.
    fn rows(&self, m: &Square, a: i32) -> Square {
        let power = |i: usize| if a == 1 { self.unit(i) } else { self.unit(i).recip() };
        Square::build(m.k(), |i, j| (power(i) * Dd::from(m[(i, j)])).to_f64())
    }

    fn turned(&self, m: AnyMoments) -> AnyMoments {
        let (k, unit) = (self.0.channels(), self.unit(1));
        let more = unit.ln().scale(2.0).to_f64() * (k - 1) as f64;
        let det = (1..k).fold(Dd::from(m.det), |d, _| d * unit * unit).to_f64();
        let factors = m.factors.map(|f| {
            Box::new(AnyFactors {
                lower: self.rows(&f.lower, 1),
                upper: self.rows(&f.upper, 1),
                inverse: self.scaled(&f.inverse, -1, -1),
                inverse_transpose_lower: self.rows(&f.inverse_transpose_lower, -1),
                inverse_transpose_upper: self.rows(&f.inverse_transpose_upper, -1),
                log_det: f.log_det + more,
            })
        });
        AnyMoments { mean: self.scaled(&m.mean, 1, -1), cov: self.scaled(&m.cov, 1, 1), det, factors, log_det: m.log_det + more }
    }
}

impl AnyProcess for Velocity {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn channels(&self) -> usize {
        self.0.channels()
    }
    fn drift(&self) -> Square {
        self.scaled(&self.0.drift(), 1, -1)
    }
    fn noise_at(&self, start: f64) -> Square {
        self.scaled(&self.0.noise_at(start), 1, 1)
    }
    fn stationary(&self) -> Option<Square> {
        self.0.stationary().map(|s| self.scaled(&s, 1, 1))
    }
    fn prior(&self, horizon: f64) -> Square {
        self.scaled(&self.0.prior(horizon), 1, 1)
    }
    fn mass(&self) -> f64 {
        1.0 / self.0.mass()
    }
    fn initial(&self, gamma: f64) -> Vec<f64> {
        let unit = |i: usize| self.unit(i) * self.unit(i);
        self.0.initial(gamma).iter().enumerate().map(|(i, x)| (unit(i) * Dd::from(*x)).to_f64()).collect()
    }
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments {
        self.turned(self.0.moments(on, gamma))
    }
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        let law = self.0.law(on, gamma, 0.0);
        let k = self.0.channels();
        let (mean, mut cov) = (self.scaled_dd(&law.mean, 1, -1), self.scaled_dd(&law.cov, 1, 1));
        if epsilon == 0.0 {
            return AnyLaw { mean, cov, moments: self.turned(law.moments) };
        }
        (0..k).for_each(|i| cov[(i, i)] = cov[(i, i)] + Dd::from(epsilon));
        let moments = linear::moments(&cov);
        AnyLaw { mean, cov, moments }
    }
    fn reversed_moments(&self, _: Span) -> Result<AnyMoments> {
        Err(Error::parameter("v", "velocity", "momentum, for the closed form of the reversed part"))
    }
}
