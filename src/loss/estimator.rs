//! Mean and variance of the estimator that training uses, on Gaussian data: by quadrature over time,
//! without sampling.

use super::exact::moments;
use super::{Loss, Times};
use crate::error::Result;

/// Nodes in (-1, 1) and weights of Gauss-Legendre quadrature with `n` nodes, by Newton's method.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..12 {
                let (mut p, mut last) = (x, 1.0);
                for j in 2..=n {
                    let j = j as f64;
                    (p, last) = (((2.0 * j - 1.0) * x * p - (j - 1.0) * last) / j, p);
                }
                slope = n as f64 * (x * p - last) / (x * x - 1.0);
                x -= p / slope;
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// Mean and variance of the estimator of the loss's integral over `[eps, 1]` from one value and one
/// time: the mean of n of them in n strata has that mean and n-th of that variance (`strata` = 1:
/// independent times). Data and `deviation` as in [`moments`]. By Gauss-Legendre quadrature in ln
/// t. Formula: loss.time.variance.
///
/// # Errors
/// As [`Loss::at`].
pub fn estimator(
    loss: &Loss,
    deviation: Option<f64>,
    times: &Times,
    strata: usize,
) -> Result<(f64, f64)> {
    let nodes = gauss_legendre(8);
    let (mut mean, mut variance) = (0.0, 0.0);
    let n = strata.max(1) as f64;
    for i in 0..strata.max(1) {
        let (low, high) = (
            times.draw(i as f64 / n).0.ln(),
            times.draw((i + 1) as f64 / n).0.ln(),
        );
        let pieces = ((high - low) / 0.05).ceil().max(1.0);
        let half = 0.5 * (high - low) / pieces;
        let (mut first, mut second) = (0.0, 0.0);
        for piece in 0..pieces as usize {
            for (x, w) in &nodes {
                let t = (low + half * (2.0 * piece as f64 + 1.0 + x)).exp().min(1.0);
                let (f, v) = moments(loss, deviation, t)?;
                let dt = w * half * t;
                first += f * dt;
                second += (f * f + v) / times.density(t) * dt;
            }
        }
        mean += first;
        variance += second - n * first * first;
    }
    Ok((mean, variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches nodes found twice or a wrong weight: n nodes are exact for powers below 2 n.
    #[test]
    fn gauss_legendre_is_exact_for_polynomials() {
        for n in [1, 2, 5, 8, 20] {
            let nodes = gauss_legendre(n);
            assert!(nodes.windows(2).all(|w| w[1].0 < w[0].0), "{nodes:?}");
            for power in 0..2 * n as i32 {
                let exact = if power % 2 == 0 {
                    2.0 / f64::from(power + 1)
                } else {
                    0.0
                };
                let sum: f64 = nodes.iter().map(|(x, w)| w * x.powi(power)).sum();
                assert!((sum - exact).abs() < 1e-13, "{n} {power}: {sum}");
            }
        }
    }
}
