//! The laws behind the verdicts: exact or asymptotic p-values, Bonferroni's bound, and the power of
//! each test.
//!
//! Every simulated state is Gaussian with a known law under the claim, so each statistic has a
//! known law, too:
//!
//! | entry | statistic | law under the claim |
//! |---|---|---|
//! | mean of channel i | `sqrt(n) (mean_i - m_i)/sd_i` | N(0, 1), exact |
//! | variance S_ii | `sum (u_i - m_i)^2 / S_ii` | chi-squared with n degrees of freedom, exact; by Wilson and Hilferty's cube root, off by less than 1/n |
//! | covariance S_ij | `sum d_i (d_j - beta d_i) / sqrt(sum d_i^2 s)`, `beta = S_ij/S_ii`, `s = S_jj - S_ij^2/S_ii`, `d = u - m` | N(0, 1), exact (given d_i it is a sum of independent Gaussians) |
//! | `ell` | `ell^2 sum of squared residuals of the last channel given the others` | chi-squared with n - K + 1 degrees of freedom, exact |

use crate::worst::{Worst, worse};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erfc;

/// All Monte Carlo claims of a run together raise a false alarm with at most this probability.
pub const FALSE_ALARM: f64 = 1e-6;
/// An error of the size of the power limit is caught with this probability.
pub const POWER: f64 = 0.999;

/// Two-sided p-value of a standard normal.
pub fn p_normal(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The standard normal deviate that stands for a chi-squared value:
/// `((x/n)^(1/3) - (1 - 2/(9n))) / sqrt(2/(9n))` (Wilson and Hilferty 1931).
pub fn z_chi_squared(x: f64, n: f64) -> f64 {
    let v = 2.0 / (9.0 * n);
    ((x / n).cbrt() - (1.0 - v)) / v.sqrt()
}

/// The deviate that a two-sided test must exceed to be significant at `p`.
pub fn z_of(p: f64) -> f64 {
    let normal = Normal::standard();
    // in the upper tail 1 - p/2 rounds: use symmetry
    -normal.inverse_cdf(0.5 * p)
}

/// The level of one test among `tests`, so that all together keep [`FALSE_ALARM`] (Bonferroni: no
/// assumption on how the tests depend on each other).
pub fn level(tests: usize) -> f64 {
    FALSE_ALARM / tests.max(1) as f64
}

/// The shift, in standard errors, that a test at `level` catches with probability [`POWER`].
pub fn shift_caught(level: f64) -> f64 {
    z_of(level) + z_of(2.0 * (1.0 - POWER))
}

/// The tolerance of one test among `tests`, in words.
pub fn in_words(tests: usize) -> String {
    let alpha = level(tests);
    let critical = z_of(alpha);
    format!(
        "{critical:.2} standard errors: probability {alpha:.1e} of a false alarm, 1e-6 for all {tests} tests together"
    )
}

/// Kolmogorov's p-value for the largest distance `d` of `n` sorted values from the uniform law
/// (asymptotic, with Stephens's correction; for n >= 100 good to some percent).
pub fn p_kolmogorov(d: f64, n: usize) -> f64 {
    let root = (n as f64).sqrt();
    let x = d * (root + 0.12 + 0.11 / root);
    let sum: f64 = (1..=100)
        .map(|k| if k % 2 == 1 { 2.0 } else { -2.0 } * (-2.0 * (k * k) as f64 * x * x).exp())
        .sum();
    sum.clamp(0.0, 1.0)
}

/// Largest distance of the empirical law of `values` from the uniform one on [0, 1]; NaN if one is
/// NaN, or there is none.
pub fn uniform_distance(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    let n = v.len() as f64;
    v.iter()
        .enumerate()
        .map(|(i, x)| worse((x - i as f64 / n).abs(), ((i + 1) as f64 / n - x).abs()))
        .collect::<Worst>()
        .value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ChiSquared, ContinuousCDF};

    /// Catches a wrong constant in the cube root: against the incomplete gamma function of
    /// `statrs`, out to 6 sigma.
    #[test]
    fn wilson_hilferty_is_the_chi_squared_law() {
        for n in [2000.0, 2e5] {
            let exact = ChiSquared::new(n).unwrap();
            for z in [-6.0, -3.0, -1.0, 0.0, 0.5, 2.0, 4.0, 6.0] {
                let x = n + z * (2.0 * n).sqrt();
                let (tail, w) = if z > 0.0 {
                    (exact.sf(x), z_chi_squared(x, n))
                } else {
                    (exact.cdf(x), -z_chi_squared(x, n))
                };
                let ratio = 0.5 * erfc(w / std::f64::consts::SQRT_2) / tail;
                // the approximation's error in z is below 0.3/n^0.5 * 0.1 there: a few percent in
                // the tail's probability at n = 2000
                assert!(
                    (ratio - 1.0).abs() < if n < 1e4 { 0.1 } else { 0.02 },
                    "n {n} z {z}: ratio {ratio}"
                );
            }
        }
    }

    /// Catches a one-sided quantile where two sides are meant.
    #[test]
    fn quantiles() {
        for p in [0.05, 1e-3, 1e-9] {
            assert!((p_normal(z_of(p)) / p - 1.0).abs() < 1e-6, "{p}");
        }
        assert!((z_of(0.05) - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((shift_caught(0.05) - (1.959_963_98 + 3.090_232_31)).abs() < 1e-7);
    }

    /// Catches a level that does not keep the promise for the whole run: divided by the root of the
    /// number of tests, or by none, it is another power of ten; and one that is not a level for an
    /// empty run. Independent tests at it raise an alarm with probability 1 - (1 - level)^n, which
    /// must be the promised one to its own square.
    #[test]
    fn all_tests_together_keep_the_promise() {
        for tests in [1usize, 2, 10, 1000, 5933, 1_000_000] {
            let run = -f64::exp_m1(tests as f64 * f64::ln_1p(-level(tests)));
            assert!(
                (run / FALSE_ALARM - 1.0).abs() < 2.0 * FALSE_ALARM,
                "{tests} tests: {run}"
            );
        }
        assert_eq!(level(0), FALSE_ALARM);
        // the words are of the same level
        assert!(
            in_words(1000).contains("probability 1.0e-9 of")
                && in_words(1000).contains("all 1000 tests"),
            "{}",
            in_words(1000)
        );
        assert!(
            in_words(1000).starts_with("6.11 standard errors"),
            "{}",
            in_words(1000)
        );
    }

    /// Catches a p-value of the wrong law: the classical 5% point of Kolmogorov's statistic is
    /// 1.358.
    #[test]
    fn kolmogorov_quantile() {
        let n = 10_000;
        assert!((p_kolmogorov(1.358 / (n as f64).sqrt(), n) - 0.05).abs() < 1e-3);
        // Stephens's correction, and further terms of the series: by his formula, worked out
        // elsewhere
        for (d, n, p) in [
            (0.1, 100, 0.256_221_185_070),
            (0.05, 100, 0.959_600_445_863),
            (0.25, 16, 0.232_549_296_822),
        ] {
            assert!((p_kolmogorov(d, n) - p).abs() < 1e-9, "{d} {n}");
        }
        assert!((uniform_distance(&[0.5, 0.1, 0.9]) - 0.233_333_333).abs() < 1e-8);
        assert!((uniform_distance(&[0.1, 0.3, 0.2]) - 0.7).abs() < 1e-15);
        assert!((uniform_distance(&[0.9, 0.7, 0.8]) - 0.7).abs() < 1e-15);
        assert!(uniform_distance(&[0.5, f64::NAN, 0.9]).is_nan() && uniform_distance(&[]).is_nan());
    }
}
