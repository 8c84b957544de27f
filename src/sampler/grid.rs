//! Time grids: decreasing times from the prior (t = 1) to a small `eps` at the data.

use crate::diffusion::Diffusion;
use crate::error::{Error, Result};

/// Times of a run, strictly decreasing.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    times: Vec<f64>,
}

/// How the times of a grid are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Spacing {
    /// Equal steps.
    Linear,
    /// `t = eps + (1 - eps) r^2`, r in equal steps from 1 to 0: small steps near the data. Source:
    /// CLD app. on samplers.
    Quadratic,
    /// `t = (eps^(1/p) + (1 - eps^(1/p)) r)^p`. Source: Karras et al. 2022, sec. 3.
    Power(f64),
    /// Equal steps of the logarithm of x's signal-to-noise ratio.
    LogSnr,
}

impl Spacing {
    /// What [`Spacing::parse`] reads.
    pub const NAMES: &str = "linear, quadratic, power:P (0.1 <= P <= 100), log-snr";

    /// A spacing by its name: one of [`Spacing::NAMES`].
    ///
    /// # Errors
    /// Another name. A power out of range is refused by [`Grid::spaced`].
    pub fn parse(text: &str) -> Result<Spacing> {
        match text {
            "linear" => Ok(Spacing::Linear),
            "quadratic" => Ok(Spacing::Quadratic),
            "log-snr" => Ok(Spacing::LogSnr),
            _ => match text.strip_prefix("power:").map(str::parse) {
                Some(Ok(p)) => Ok(Spacing::Power(p)),
                _ => Err(Error::parameter(
                    "spacing",
                    format!("`{text}`"),
                    Spacing::NAMES,
                )),
            },
        }
    }
}

impl Grid {
    /// From its times.
    ///
    /// # Errors
    /// Fewer than two times, times that do not decrease strictly, or that leave [0, 1].
    pub fn new(times: Vec<f64>) -> Result<Grid> {
        if times.len() < 2 {
            return Err(Error::parameter(
                "grid",
                format!("{} times", times.len()),
                "at least 2 times, one step",
            ));
        }
        for w in times.windows(2) {
            if !(w[1] < w[0]) {
                return Err(Error::parameter(
                    "grid",
                    format!("{} after {}", w[1], w[0]),
                    "times that decrease strictly",
                ));
            }
        }
        for &t in [&times[0], &times[times.len() - 1]] {
            if !(0.0..=1.0).contains(&t) {
                return Err(Error::time("grid", t, "0 <= t <= 1"));
            }
        }
        Ok(Grid { times })
    }

    /// `steps` steps from 1 to `eps`. Formula: grid.spacing.
    ///
    /// # Errors
    /// No steps, `eps` outside (0, 1), a power outside [0.1, 100].
    pub fn spaced(spacing: Spacing, diffusion: &Diffusion, steps: usize, eps: f64) -> Result<Grid> {
        if !(1..=10_000_000).contains(&steps) {
            return Err(Error::parameter("steps", steps, "1 to 10000000"));
        }
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::parameter("eps", eps, "0 < eps < 1"));
        }
        let r = |i: usize| (steps - i) as f64 / steps as f64;
        let mut times: Vec<f64> = match spacing {
            Spacing::Linear => (0..=steps).map(|i| eps + (1.0 - eps) * r(i)).collect(),
            Spacing::Quadratic => (0..=steps)
                .map(|i| eps + (1.0 - eps) * r(i) * r(i))
                .collect(),
            Spacing::Power(p) => {
                if !(0.1..=100.0).contains(&p) {
                    return Err(Error::parameter("power", p, "0.1 to 100"));
                }
                let low = eps.powf(1.0 / p);
                (0..=steps)
                    .map(|i| (low + (1.0 - low) * r(i)).powf(p))
                    .collect()
            }
            Spacing::LogSnr => log_snr(diffusion, steps, eps)?,
        };
        times[0] = 1.0;
        times[steps] = eps;
        Grid::new(times)
    }

    /// The times.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.times.len() - 1
    }

    /// Start and end of each step, `(t, s)` with s < t.
    pub fn intervals(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.times.windows(2).map(|w| (w[0], w[1]))
    }
}

/// Times at equal steps of log SNR, by bisection: SNR decreases with t. For an oscillating process
/// (underdamped) whose ratio is not monotone the times may fail to decrease, and [`Grid::new`] says
/// so.
fn log_snr(diffusion: &Diffusion, steps: usize, eps: f64) -> Result<Vec<f64>> {
    let at = |t: f64| {
        diffusion
            .kernel(t)
            .map(|k| k.snr.max(f64::MIN_POSITIVE).ln())
    };
    let (top, bottom) = (at(eps)?, at(1.0)?);
    (0..=steps)
        .map(|i| {
            let aim = bottom + (top - bottom) * i as f64 / steps as f64;
            let (mut low, mut high) = (eps, 1.0);
            for _ in 0..80 {
                let middle = (low * high).sqrt();
                if at(middle)? > aim {
                    low = middle
                } else {
                    high = middle
                }
            }
            Ok(high)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a grid that runs the wrong way, misses its ends, or takes another power.
    #[test]
    fn ends_and_middles() {
        let d = Diffusion::paper().unwrap();
        let eps: f64 = 1e-3;
        for (spacing, middle) in [
            (Spacing::Linear, 0.5005),
            (Spacing::Quadratic, eps + 0.25 * (1.0 - eps)),
            (
                Spacing::Power(7.0),
                (0.5 * (eps.powf(1.0 / 7.0) + 1.0)).powi(7),
            ),
        ] {
            let g = Grid::spaced(spacing, &d, 10, eps).unwrap();
            assert_eq!((g.steps(), g.times()[0], g.times()[10]), (10, 1.0, eps));
            assert!(
                (g.times()[5] - middle).abs() < 1e-15 * 4.0,
                "{spacing:?}: {}",
                g.times()[5]
            ); // a few roundings
        }
        let g = Grid::spaced(Spacing::LogSnr, &d, 4, eps).unwrap();
        let snr: Vec<f64> = g
            .times()
            .iter()
            .map(|t| d.kernel(*t).unwrap().snr.ln())
            .collect();
        let steps: Vec<f64> = snr.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(
            steps.iter().all(|s| (s / steps[0] - 1.0).abs() < 1e-9),
            "{steps:?}"
        ); // bisection to an ulp of t
    }

    /// Catches rubbish that is let in.
    #[test]
    fn refusals_name_the_field() {
        let d = Diffusion::paper().unwrap();
        for (r, word) in [
            (Grid::new(vec![1.0]), "at least 2"),
            (Grid::new(vec![1.0, 0.5, 0.5]), "decrease"),
            (Grid::new(vec![0.1, 1.0]), "decrease"),
            (Grid::new(vec![1.0, f64::NAN, 0.1]), "decrease"),
            (Grid::new(vec![1.5, 0.1]), "0 <= t <= 1"),
            (Grid::spaced(Spacing::Linear, &d, 0, 1e-3), "`steps` is 0"),
            (Grid::spaced(Spacing::Linear, &d, 10, 0.0), "`eps` is 0"),
            (
                Grid::spaced(Spacing::Power(0.0), &d, 10, 1e-3),
                "`power` is 0",
            ),
        ] {
            let e = r.unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    }
}
