//! Mean and covariance of samples, stable and mergeable.

use crate::small::Mat;

/// Number, mean and co-moments about the mean of K-channel samples.
///
/// Blocks are summed about their own mean and merged by the pairwise update of Chan, Golub and
/// LeVeque (1983), so the rounding error grows with the logarithm of the number of samples. Merging
/// in a fixed order gives fixed bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments<const K: usize> {
    /// Number of samples.
    pub n: u64,
    /// Sample mean.
    pub mean: [f64; K],
    /// Sum of `(u - mean)(u - mean)^T`.
    pub sum: Mat<K>,
}

impl<const K: usize> Moments<K> {
    /// Of no samples.
    pub const EMPTY: Self = Moments {
        n: 0,
        mean: [0.0; K],
        sum: Mat([[0.0; K]; K]),
    };

    /// Of a block: one slice per channel.
    ///
    /// # Panics
    /// Slices of different lengths.
    pub fn of(u: [&[f64]; K]) -> Self {
        let n = u.first().map_or(0, |s| s.len());
        assert!(u.iter().all(|s| s.len() == n), "channels of one length");
        if n == 0 {
            return Self::EMPTY;
        }
        let mean: [f64; K] = std::array::from_fn(|i| lanes(n, |r| u[i][r]) / n as f64);
        let mut sum = Mat::ZERO;
        for i in 0..K {
            for j in i..K {
                let (a, b, ma, mb) = (&u[i][..n], &u[j][..n], mean[i], mean[j]);
                let s = lanes(n, |r| (a[r] - ma) * (b[r] - mb));
                sum[(i, j)] = s;
                sum[(j, i)] = s;
            }
        }
        Moments {
            n: n as u64,
            mean,
            sum,
        }
    }

    /// Of both sets of samples.
    pub fn merge(&self, o: &Self) -> Self {
        if self.n == 0 || o.n == 0 {
            return if self.n == 0 { *o } else { *self };
        }
        let n = self.n + o.n;
        let w = o.n as f64 / n as f64;
        let d: [f64; K] = std::array::from_fn(|i| o.mean[i] - self.mean[i]);
        let c = self.n as f64 * w;
        Moments {
            n,
            mean: std::array::from_fn(|i| self.mean[i] + w * d[i]),
            sum: Mat::build(|i, j| (self.sum[(i, j)] + o.sum[(i, j)]) + c * (d[i] * d[j])),
        }
    }

    /// Sum of `(u - center)(u - center)^T`.
    pub fn about(&self, center: [f64; K]) -> Mat<K> {
        let d: [f64; K] = std::array::from_fn(|i| self.mean[i] - center[i]);
        Mat::build(|i, j| self.sum[(i, j)] + self.n as f64 * (d[i] * d[j]))
    }

    /// Unbiased covariance; 0 for fewer than two samples.
    pub fn covariance(&self) -> Mat<K> {
        if self.n < 2 {
            Mat::ZERO
        } else {
            self.sum.times(1.0 / (self.n - 1) as f64)
        }
    }
}

/// A sum in eight interleaved partial sums: what the compiler can vectorise, in a fixed order.
fn lanes(n: usize, f: impl Fn(usize) -> f64) -> f64 {
    let mut s = [0.0; 8];
    let whole = n / 8 * 8;
    for r in (0..whole).step_by(8) {
        for (k, s) in s.iter_mut().enumerate() {
            *s += f(r + k);
        }
    }
    for r in whole..n {
        s[r - whole] += f(r);
    }
    ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches the textbook formula (sum of squares minus square of sum), which loses all digits
    /// here, and a wrong merge: integers far from 0, whose moments are known exactly.
    #[test]
    fn exact_on_shifted_integers() {
        let shift = 1e9;
        let x: Vec<f64> = (0..1000).map(|i| shift + f64::from(i)).collect();
        let y: Vec<f64> = (0..1000).map(|i| 3.0 - 2.0 * f64::from(i)).collect();
        let whole = Moments::of([&x, &y]);
        let parts = [0..137, 137..600, 600..600, 600..1000]
            .into_iter()
            .map(|r| Moments::of([&x[r.clone()], &y[r]]))
            .fold(Moments::EMPTY, |a, b| a.merge(&b));
        let square = 1000.0 * (1000.0 * 1000.0 - 1.0) / 12.0; // sum of (i - 499.5)^2
        for m in [whole, parts] {
            assert_eq!(m.n, 1000);
            assert_eq!(m.mean, [shift + 499.5, 3.0 - 999.0]);
            for ((i, j), want) in [
                ((0, 0), square),
                ((0, 1), -2.0 * square),
                ((1, 1), 4.0 * square),
            ] {
                // ulp(1e9) = 1e-7 enters each deviation from the mean once, against deviations of
                // 250
                assert!(
                    (m.sum[(i, j)] / want - 1.0).abs() < 1e-9,
                    "{i}{j}: {}",
                    m.sum[(i, j)]
                );
            }
        }
        let about = whole.about([shift, 0.0]);
        assert!((about[(0, 0)] / (999.0 * 1000.0 * 1999.0 / 6.0) - 1.0).abs() < 1e-9);
    }
}
