//! Coverage of modes: which of the data's modes a sampler reaches, and how often.

use super::rows;
use crate::error::{Error, Result, check};

/// Modes: centres with weights and one deviation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Modes {
    centres: Vec<f64>,
    dim: usize,
    weights: Vec<f64>,
    deviation: f64,
}

/// What [`Modes::cover`] finds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coverage {
    /// Samples within the radius of each mode (the nearest one).
    pub counts: Vec<usize>,
    /// Share of modes with at least one sample.
    pub hit: f64,
    /// Share of samples within the radius of a mode.
    pub within: f64,
    /// `sum (count - N w)^2/(N w)`, N the samples within.
    pub chi_square: f64,
    /// Its degrees of freedom: modes less one.
    pub degrees: usize,
}

impl Coverage {
    /// The chi-square as a standard normal (Wilson and Hilferty 1931): above 4 the counts are not
    /// those of the weights. 0 for a single mode.
    pub fn excess(&self) -> f64 {
        let part = 2.0 / (9.0 * self.degrees as f64);
        if self.degrees == 0 {
            0.0
        } else {
            ((self.chi_square / self.degrees as f64).cbrt() - 1.0 + part) / part.sqrt()
        }
    }
}

impl Modes {
    /// From centres (modes, dim), weights (made to sum to 1), and the deviation of each mode.
    ///
    /// # Errors
    /// Shapes; values that are not finite; weights and deviation not above 0.
    pub fn new(centres: &[f64], dim: usize, weights: &[f64], deviation: f64) -> Result<Modes> {
        let k = rows("centres", centres, dim, 1)?;
        if weights.len() != k {
            return Err(Error::shape(
                "weights",
                &[weights.len()],
                format!("{k}, one per centre"),
            ));
        }
        for w in weights {
            check("weights", *w, *w > 0.0, "finite numbers > 0")?;
        }
        check(
            "deviation",
            deviation,
            deviation > 0.0,
            "a finite number > 0",
        )?;
        let sum: f64 = weights.iter().sum();
        Ok(Modes {
            centres: centres.to_vec(),
            dim,
            weights: weights.iter().map(|w| w / sum).collect(),
            deviation,
        })
    }

    /// Coverage by samples (n, dim), those within `radius` deviations of their nearest mode
    /// counted. For modes of equal deviation more than two radii apart the counts of exact samples
    /// are multinomial with the weights, and the chi-square tells. Formula: metric.modes. Source:
    /// Pearson 1900 (the chi-square).
    ///
    /// # Errors
    /// Shape; values that are not finite; a radius not above 0.
    pub fn cover(&self, samples: &[f64], radius: f64) -> Result<Coverage> {
        let n = rows("samples", samples, self.dim, 1)?;
        check("radius", radius, radius > 0.0, "a finite number > 0")?;
        let reach = (radius * self.deviation).powi(2);
        let mut counts = vec![0usize; self.weights.len()];
        for row in samples.chunks_exact(self.dim) {
            let square = |c: &[f64]| {
                c.iter()
                    .zip(row)
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum::<f64>()
            };
            let all = self.centres.chunks_exact(self.dim).map(square).enumerate();
            if let Some((mode, distance)) = all.min_by(|a, b| a.1.total_cmp(&b.1))
                && distance <= reach
            {
                counts[mode] += 1;
            }
        }
        let total = counts.iter().sum::<usize>() as f64;
        // of no counts 0 / 0, NaN: that is no agreement
        let part = |(&c, w): (&usize, &f64)| (c as f64 - total * w).powi(2) / (total * w);
        Ok(Coverage {
            hit: counts.iter().filter(|c| **c > 0).count() as f64 / counts.len() as f64,
            within: total / n as f64,
            chi_square: counts.iter().zip(&self.weights).map(part).sum(),
            degrees: counts.len() - 1,
            counts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::normal::normals;

    /// Catches counts at the wrong mode, a radius not in deviations, shares of the wrong total,
    /// weights not made to sum to 1: by hand.
    #[test]
    fn by_hand() {
        let modes = Modes::new(&[0.0, 0.0, 4.0, 0.0, 0.0, 4.0], 2, &[2.0, 1.0, 1.0], 0.5).unwrap();
        let samples = [
            0.0, 0.9, 0.1, 0.1, -0.9, 0.0, 4.0, 0.9, 2.0, 2.0, 1.5, 0.0, 4.0, 0.0, 0.0, 0.0,
        ];
        let c = modes.cover(&samples, 2.0).unwrap();
        assert_eq!((c.counts.as_slice(), c.degrees), (&[4, 2, 0][..], 2));
        assert_eq!((c.hit, c.within), (2.0 / 3.0, 0.75));
        // expected 3, 1.5, 1.5: 1/3 + 0.25/1.5 + 1.5
        assert!((c.chi_square - 2.0).abs() < 1e-15);
        // the 0.95 quantile of chi-square with 10 degrees is 18.307, of the normal 1.645
        let c = Coverage {
            chi_square: 18.307,
            degrees: 10,
            ..c
        };
        assert!((c.excess() - 1.645).abs() < 0.01, "{}", c.excess());
    }

    /// Catches a chi-square that passes wrong weights or alarms at right ones: normals around nine
    /// modes of equal weight, judged with the right weights and with one of them doubled. Share
    /// within 3 deviations of the plane: 1 - e^-4.5, to 4 errors.
    #[test]
    fn exact_samples_pass_and_others_do_not() {
        let centres: Vec<f64> = (0..18)
            .map(|i| f64::from(if i % 2 == 0 { i / 2 % 3 } else { i / 2 / 3 }) * 10.0)
            .collect();
        let n = 18_000;
        let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
        normals([11, 2], 0, 0, [&mut x, &mut y]);
        // the mode of each sample drawn by its sample's own bits
        let mode =
            |i: usize| (crate::simd::normal::threefry([i as u64, 0], [12, 3])[0] % 9) as usize;
        let samples: Vec<f64> = (0..n)
            .flat_map(|i| {
                [
                    centres[2 * mode(i)] + 0.5 * x[i],
                    centres[2 * mode(i) + 1] + 0.5 * y[i],
                ]
            })
            .collect();
        let fair = Modes::new(&centres, 2, &[1.0; 9], 0.5)
            .unwrap()
            .cover(&samples, 3.0)
            .unwrap();
        assert_eq!(fair.hit, 1.0);
        let share = 1.0 - (-4.5f64).exp();
        assert!(
            (fair.within - share).abs() < 4.0 * (share * (1.0 - share) / n as f64).sqrt(),
            "{}",
            fair.within
        );
        assert!(fair.excess() < 4.0, "{}", fair.excess());
        let wrong = [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert!(
            Modes::new(&centres, 2, &wrong, 0.5)
                .unwrap()
                .cover(&samples, 3.0)
                .unwrap()
                .excess()
                > 10.0
        );
    }

    /// Catches bad input that goes through.
    #[test]
    fn refusals() {
        assert!(Modes::new(&[0.0, 1.0, 2.0], 2, &[1.0], 1.0).is_err());
        assert!(Modes::new(&[0.0, 1.0], 2, &[1.0, 1.0], 1.0).is_err());
        assert!(Modes::new(&[0.0, 1.0], 2, &[0.0], 1.0).is_err());
        assert!(Modes::new(&[0.0, 1.0], 2, &[1.0], 0.0).is_err());
        assert!(Modes::new(&[0.0, 1.0], 2, &[1.0], -1.0).is_err());
        let modes = Modes::new(&[0.0, 1.0], 2, &[1.0], 1.0).unwrap();
        assert!(modes.cover(&[0.0], 1.0).is_err());
        assert!(modes.cover(&[0.0, f64::NAN], 1.0).is_err());
        assert!(modes.cover(&[0.0, 0.0], f64::NAN).is_err());
        assert!(modes.cover(&[0.0, 0.0], 0.0).is_err());
        assert!(modes.cover(&[0.0, 0.0], -1.0).is_err());
    }
}
