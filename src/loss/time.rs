//! Random times for training: uniforms in, times and their exact densities out.

use super::Loss;
use super::exact::missing;
use crate::error::{Error, Result};

/// Cells of an importance table.
const CELLS: usize = 1024;

/// A law of times on `[eps, 1]`. The estimator of the integral of a loss over time is the mean of
/// loss / density.
#[derive(Clone, Debug)]
pub struct Times {
    eps: f64,
    /// By importance: density per unit of ln t at equidistant knots of ln t, linear between them,
    /// and its integral up to each knot.
    table: Option<(Vec<f64>, Vec<f64>)>,
}

fn checked(eps: f64) -> Result<f64> {
    if eps > 0.0 && eps < 1.0 {
        Ok(eps)
    } else {
        Err(Error::parameter("eps", eps, "0 < eps < 1"))
    }
}

impl Times {
    /// Uniform: `t = eps + (1 - eps) u`, density `1/(1 - eps)`. Formula: loss.time.uniform.
    ///
    /// # Errors
    /// Unless `0 < eps < 1`.
    pub fn uniform(eps: f64) -> Result<Times> {
        Ok(Times {
            eps: checked(eps)?,
            table: None,
        })
    }

    /// By importance: density in proportion to the expected loss of an output 0,
    /// `tr(Q(t) E d d^T)`. Under the likelihood weighting of CLD that is `Gamma beta ell_t^2`, so
    /// that what is left to average is eps-MSE of weight 1. Formula: loss.time.importance.
    ///
    /// The weight is taken at 1025 knots and joined by straight lines in ln t; the times have
    /// exactly the density that is returned (its integral is a quadratic, inverted in closed form),
    /// so nothing is biased, and the weight's own shape is met to 1e-4.
    ///
    /// # Errors
    /// Unless `0 < eps < 1`; a weight that is 0 on all of a stretch between two knots; the kernel's
    /// at `eps`.
    pub fn importance(loss: &Loss, eps: f64) -> Result<Times> {
        checked(eps)?;
        let mut density = Vec::with_capacity(CELLS + 1);
        for i in 0..=CELLS {
            let t = knot(eps, i);
            let at = loss.at(t)?;
            let second = missing(loss, None, t)?;
            density.push(
                t * at
                    .quadratic()
                    .as_slice()
                    .iter()
                    .zip(second.as_slice())
                    .map(|(q, c)| q * c)
                    .sum::<f64>(),
            );
        }
        let h = -eps.ln() / CELLS as f64;
        let mut mass = vec![0.0; CELLS + 1];
        for i in 0..CELLS {
            let cell = 0.5 * h * (density[i] + density[i + 1]);
            if !(cell > 0.0 && cell.is_finite()) {
                let what = format!(
                    "{cell:e} between t = {:e} and {:e}",
                    knot(eps, i),
                    knot(eps, i + 1)
                );
                return Err(Error::parameter("weight", what, "a finite number > 0"));
            }
            mass[i + 1] = mass[i] + cell;
        }
        let total = mass[CELLS];
        density
            .iter_mut()
            .chain(&mut mass)
            .for_each(|x| *x /= total);
        Ok(Times {
            eps,
            table: Some((density, mass)),
        })
    }

    /// The smallest time.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Density at `t` in `[eps, 1]`.
    pub fn density(&self, t: f64) -> f64 {
        let Some((density, _)) = &self.table else {
            return 1.0 / (1.0 - self.eps);
        };
        let place = (1.0 - t.ln() / self.eps.ln()) * CELLS as f64;
        let i = (place.max(0.0) as usize).min(CELLS - 1);
        let part = (place - i as f64).clamp(0.0, 1.0);
        (density[i] + (density[i + 1] - density[i]) * part) / t
    }

    /// The time whose distribution function is `u`, and its density. `u` is taken into [0, 1].
    pub fn draw(&self, u: f64) -> (f64, f64) {
        let u = u.clamp(0.0, 1.0);
        let Some((density, mass)) = &self.table else {
            return (self.eps + (1.0 - self.eps) * u, 1.0 / (1.0 - self.eps));
        };
        let i = mass.partition_point(|m| *m <= u).clamp(1, CELLS) - 1;
        let h = -self.eps.ln() / CELLS as f64;
        let (a, slope, rest) = (density[i], (density[i + 1] - density[i]) / h, u - mass[i]);
        // a s + slope s^2/2 = rest; this root loses nothing for either sign of the slope
        let s = (2.0 * rest / (a + (a * a + 2.0 * slope * rest).max(0.0).sqrt())).min(h);
        let s = if s.is_finite() { s } else { 0.0 };
        let t = (self.eps.ln() * (1.0 - i as f64 / CELLS as f64) + s)
            .exp()
            .clamp(self.eps, 1.0);
        (t, (a + slope * s) / t)
    }

    /// Times and `1/density` for a batch of uniforms.
    ///
    /// # Errors
    /// Slices of different lengths; a uniform outside [0, 1].
    pub fn fill(&self, uniforms: &[f64], times: &mut [f64], scale: &mut [f64]) -> Result<()> {
        for (name, found) in [("times", times.len()), ("scale", scale.len())] {
            if found != uniforms.len() {
                return Err(Error::shape(
                    name,
                    &[found],
                    format!("[{}], one per uniform", uniforms.len()),
                ));
            }
        }
        for ((u, t), s) in uniforms.iter().zip(times).zip(scale) {
            if !(0.0..=1.0).contains(u) {
                return Err(Error::parameter("uniform", u, "0 <= uniform <= 1"));
            }
            let (time, density) = self.draw(*u);
            (*t, *s) = (time, 1.0 / density);
        }
        Ok(())
    }
}

fn knot(eps: f64, i: usize) -> f64 {
    if i == CELLS {
        1.0
    } else {
        (eps.ln() * (1.0 - i as f64 / CELLS as f64)).exp()
    }
}

/// Stratifies uniforms in place: `u_i <- (i + u_i)/n`, one in each n-th of [0, 1]. Their mean over
/// any function is unbiased, and what varies between the strata no longer counts. Formula:
/// loss.time.stratified.
pub fn stratify(uniforms: &mut [f64]) {
    let n = uniforms.len() as f64;
    uniforms
        .iter_mut()
        .enumerate()
        .for_each(|(i, u)| *u = (i as f64 + *u) / n);
}
