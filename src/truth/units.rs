//! A process in other units, channel by channel: velocities for momenta, or another stationary
//! variance.

use super::linear;
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyFactors, AnyLaw, AnyMoments, AnyProcess};
use crate::schedule::Span;
use crate::small::Square;

/// The same process in other units: u' = D u with D diagonal, drift `D F D^-1`, noise `D G G^T D`.
/// The initial velocity's variance is in units of its stationary one, so that `D_v^2 M` stands
/// where the mass did.
pub(super) struct Units {
    process: Box<dyn AnyProcess>,
    /// D's diagonal.
    units: Vec<Dd>,
}

impl Units {
    /// Velocities for momenta: v = p / M in every channel but the first.
    pub fn velocity(process: Box<dyn AnyProcess>) -> Units {
        let unit = Dd::from(process.mass()).recip();
        let units = (0..process.channels())
            .map(|i| if i == 0 { Dd::ONE } else { unit })
            .collect();
        Units { process, units }
    }

    /// With these variances of the stationary law; a single one is that of x, and the others keep
    /// their ratio to it.
    ///
    /// # Errors
    /// A process without a stationary law; another number of variances.
    pub fn stationary(process: Box<dyn AnyProcess>, variances: &[f64]) -> Result<Units> {
        const NAME: &str = "stationary_variance";
        let k = process.channels();
        let Some(own) = process.stationary() else {
            return Err(Error::parameter(
                NAME,
                format!("{variances:?}"),
                format!("absent: {} has no stationary law", process.name()),
            ));
        };
        let unit = |i: usize, variance: f64| (Dd::from(variance) / Dd::from(own[(i, i)])).sqrt();
        let units = match variances {
            [one] => vec![unit(0, *one); k],
            all if all.len() == k => all.iter().enumerate().map(|(i, v)| unit(i, *v)).collect(),
            _ => {
                let allowed = format!("one number, or one for each of the {k} channels");
                return Err(Error::parameter(NAME, format!("{variances:?}"), allowed));
            }
        };
        Ok(Units { process, units })
    }

    /// D's entry for channel `i`.
    fn unit(&self, i: usize) -> Dd {
        self.units[i]
    }

    /// A matrix with entry (i, j) multiplied by `D_i^a D_j^b`, a and b being 1 or -1.
    fn scaled(&self, m: &Square, a: i32, b: i32) -> Square {
        self.scaled_dd(&m.map(Dd::from), a, b).map(Dd::to_f64)
    }

    fn scaled_dd(&self, m: &Square<Dd>, a: i32, b: i32) -> Square<Dd> {
        let power = |i: usize, p: i32| {
            if p == 1 {
                self.unit(i)
            } else {
                self.unit(i).recip()
            }
        };
        // the same unit on both sides of a mean cancels exactly
        let factor = |i: usize, j: usize| {
            if a + b == 0 && self.unit(i) == self.unit(j) {
                Dd::ONE
            } else {
                power(i, a) * power(j, b)
            }
        };
        Square::build(m.k(), |i, j| m[(i, j)] * factor(i, j))
    }

    /// A factor L: its rows are multiplied by `D^a`.
    fn rows(&self, m: &Square, a: i32) -> Square {
        let power = |i: usize| {
            if a == 1 {
                self.unit(i)
            } else {
                self.unit(i).recip()
            }
        };
        Square::build(m.k(), |i, j| (power(i) * Dd::from(m[(i, j)])).to_f64())
    }

    fn turned(&self, m: AnyMoments) -> AnyMoments {
        let more = self
            .units
            .iter()
            .fold(Dd::ZERO, |s, u| s + u.ln().scale(2.0))
            .to_f64();
        let det = self
            .units
            .iter()
            .fold(Dd::from(m.det), |d, u| d * *u * *u)
            .to_f64();
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
        AnyMoments {
            mean: self.scaled(&m.mean, 1, -1),
            cov: self.scaled(&m.cov, 1, 1),
            det,
            factors,
            log_det: m.log_det + more,
        }
    }
}

impl AnyProcess for Units {
    fn name(&self) -> &'static str {
        self.process.name()
    }
    fn channels(&self) -> usize {
        self.process.channels()
    }
    fn drift(&self) -> Square {
        self.scaled(&self.process.drift(), 1, -1)
    }
    fn noise_at(&self, start: f64) -> Square {
        self.scaled(&self.process.noise_at(start), 1, 1)
    }
    fn stationary(&self) -> Option<Square> {
        self.process.stationary().map(|s| self.scaled(&s, 1, 1))
    }
    fn prior(&self, horizon: f64) -> Square {
        self.scaled(&self.process.prior(horizon), 1, 1)
    }
    fn mass(&self) -> f64 {
        match self.units.get(1) {
            Some(unit) => (*unit * *unit * Dd::from(self.process.mass())).to_f64(),
            None => self.process.mass(),
        }
    }
    fn initial(&self, gamma: f64) -> Vec<f64> {
        let unit = |i: usize| self.unit(i) * self.unit(i);
        self.process
            .initial(gamma)
            .iter()
            .enumerate()
            .map(|(i, x)| (unit(i) * Dd::from(*x)).to_f64())
            .collect()
    }
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments {
        self.turned(self.process.moments(on, gamma))
    }
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        let law = self.process.law(on, gamma, 0.0);
        let k = self.process.channels();
        let (mean, mut cov) = (
            self.scaled_dd(&law.mean, 1, -1),
            self.scaled_dd(&law.cov, 1, 1),
        );
        if epsilon == 0.0 {
            return AnyLaw {
                mean,
                cov,
                moments: self.turned(law.moments),
            };
        }
        (0..k).for_each(|i| cov[(i, i)] = cov[(i, i)] + Dd::from(epsilon));
        let moments = linear::moments(&cov);
        AnyLaw { mean, cov, moments }
    }
    fn reversed_moments(&self, _: Span) -> Result<AnyMoments> {
        Err(Error::parameter(
            "process",
            self.name(),
            "one in its own units, for the closed form of the reversed part",
        ))
    }
}
