//! Energy distance and maximum mean discrepancy: one statistic for two functions of a pair of
//! points.
//!
//! ```text
//! D(k) = E k(X, X') + E k(Y, Y') - 2 E k(X, Y)      energy: k = -|x - y|      MMD^2: k = exp(-|x - y|^2 / (2 h^2))
//! ```

use super::{Estimate, rows, variance};
use crate::error::{Error, Result, check};
use crate::worst::worse;

/// The most points (of both samples together) for which all pairs are taken: 2e8 pairs.
pub const MOST: usize = 20_000;

/// A function of pairs of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pairwise {
    /// `-|x - y|`: D is the energy distance, `2 E|X - Y| - E|X - X'| - E|Y - Y'|`.
    /// Formula: metric.energy. Source: Szekely and Rizzo 2013.
    Energy,
    /// `exp(-|x - y|^2 / (2 h^2))`: D is MMD^2. Formula: metric.mmd. Source: Gretton et al. 2012,
    /// lemma 6.
    Mmd {
        /// The bandwidth h.
        bandwidth: f64,
    },
}

/// Means and spreads of a table of values of k.
struct Table {
    mean: f64,
    /// Means of its rows, and of its columns.
    by_row: Vec<f64>,
    by_column: Vec<f64>,
    /// Mean square of what is left of k without its row and column means.
    rest: f64,
}

impl Pairwise {
    fn at(self, x: &[f64], y: &[f64]) -> f64 {
        let square: f64 = x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum();
        match self {
            Pairwise::Energy => -square.sqrt(),
            Pairwise::Mmd { bandwidth } => (-0.5 * square / (bandwidth * bandwidth)).exp(),
        }
    }

    fn checked(self) -> Result<Self> {
        if let Pairwise::Mmd { bandwidth } = self {
            check(
                "bandwidth",
                bandwidth,
                bandwidth > 0.0,
                "a finite number > 0",
            )?;
        }
        Ok(self)
    }

    /// Of a sample with itself, without the diagonal.
    fn own(self, a: &[f64], dim: usize) -> Table {
        let n = a.len() / dim;
        let point = |i: usize| &a[i * dim..][..dim];
        let (mut sums, mut squares) = (vec![0.0; n], 0.0);
        for i in 0..n {
            for j in 0..i {
                let k = self.at(point(i), point(j));
                sums[i] += k;
                sums[j] += k;
                squares += 2.0 * k * k;
            }
        }
        let others = n as f64 - 1.0;
        let pairs = n as f64 * others;
        let mean = sums.iter().sum::<f64>() / pairs;
        let by_row: Vec<f64> = sums.iter().map(|s| s / others).collect();
        // var k = 2 (variance of row means) + rest, and a row's mean has rest/(n - 1) of its own
        let rest = (squares / pairs - mean * mean - 2.0 * variance(&by_row))
            / (1.0 - 2.0 / others).max(0.1);
        Table {
            mean,
            by_column: by_row.clone(),
            by_row,
            rest: worse(rest, 0.0),
        }
    }

    fn cross(self, a: &[f64], b: &[f64], dim: usize) -> Table {
        let (n, m) = (a.len() / dim, b.len() / dim);
        let (mut by_row, mut by_column, mut squares) = (vec![0.0; n], vec![0.0; m], 0.0);
        for (x, row) in a.chunks_exact(dim).zip(&mut by_row) {
            for (y, column) in b.chunks_exact(dim).zip(&mut by_column) {
                let k = self.at(x, y);
                *row += k;
                *column += k;
                squares += k * k;
            }
        }
        let (n, m) = (n as f64, m as f64);
        by_row.iter_mut().for_each(|s| *s /= m);
        by_column.iter_mut().for_each(|s| *s /= n);
        let mean = by_row.iter().sum::<f64>() / n;
        let rest = (squares / (n * m) - mean * mean - variance(&by_row) - variance(&by_column))
            / (1.0 - 1.0 / n - 1.0 / m).max(0.1);
        Table {
            mean,
            by_row,
            by_column,
            rest: worse(rest, 0.0),
        }
    }

    /// Over all pairs, unbiased (it can be negative). The standard error has both parts of the
    /// variance of a U-statistic, by Hoeffding's decomposition. For different laws it is right; for
    /// equal ones, where the part of first order is 0 and its estimate is cut there, it is up to
    /// 1.4 times too large (1.34 measured). O((n + m)^2 dim). Source: Gretton et al. 2012, lemma 6;
    /// van der Vaart 1998, ch. 12.
    ///
    /// # Errors
    /// Shapes, at least four points each; values that are not finite; more than [`MOST`] points; a
    /// bandwidth not above 0.
    pub fn all_pairs(self, a: &[f64], b: &[f64], dim: usize) -> Result<Estimate> {
        let (n, m) = (rows("a", a, dim, 4)?, rows("b", b, dim, 4)?);
        if n + m > MOST {
            return Err(Error::parameter(
                "points",
                n + m,
                format!("at most {MOST} for all pairs; take blocks"),
            ));
        }
        self.checked()?;
        let (aa, bb, ab) = (self.own(a, dim), self.own(b, dim), self.cross(a, b, dim));
        let value = aa.mean + bb.mean - 2.0 * ab.mean;
        let (n, m) = (n as f64, m as f64);
        // the statistic's derivative with respect to a point's weight, less the noise of its own
        // estimate
        let first = |own: &Table, cross: &[f64], n: f64, m: f64| {
            let g: Vec<f64> = own.by_row.iter().zip(cross).map(|(k, c)| k - c).collect();
            worse(variance(&g) - own.rest / (n - 1.0) - ab.rest / m, 0.0)
        };
        let linear = 4.0 * (first(&aa, &ab.by_row, n, m) / n + first(&bb, &ab.by_column, m, n) / m);
        let quadratic = 2.0 * aa.rest / (n * (n - 1.0))
            + 2.0 * bb.rest / (m * (m - 1.0))
            + 4.0 * ab.rest / (n * m);
        Ok(Estimate {
            value,
            error: (linear + quadratic).sqrt(),
        })
    }

    /// The mean over blocks of `block` points of each sample, unbiased, with the standard error of
    /// the blocks' mean: O(n block dim). Blocks of 2 take linear time. Points left over are not
    /// used; points must be in random order. Formula: metric.blocks. Source: Zaremba, Gretton,
    /// Blaschko 2013; blocks of 2: Gretton et al. 2012, lemma 14.
    ///
    /// # Errors
    /// Shapes, at least two blocks; samples of different sizes; values that are not finite; a
    /// bandwidth not above 0.
    pub fn blocks(self, a: &[f64], b: &[f64], dim: usize, block: usize) -> Result<Estimate> {
        if block < 2 {
            return Err(Error::parameter("block", block, "at least 2"));
        }
        let (n, m) = (rows("a", a, dim, 2 * block)?, rows("b", b, dim, 2 * block)?);
        if n != m {
            return Err(Error::shape(
                "b",
                &[m, dim],
                format!("({n}, {dim}): blocks need samples of one size"),
            ));
        }
        self.checked()?;
        let mean = |a: &[f64], b: &[f64], own: bool| {
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (i, x) in a.chunks_exact(dim).enumerate() {
                for y in b.chunks_exact(dim).take(if own { i } else { block }) {
                    sum += self.at(x, y);
                    pairs += 1.0;
                }
            }
            sum / pairs
        };
        let values: Vec<f64> = a
            .chunks_exact(block * dim)
            .zip(b.chunks_exact(block * dim))
            .map(|(a, b)| mean(a, a, true) + mean(b, b, true) - 2.0 * mean(a, b, false))
            .collect();
        Ok(Estimate::of(&values))
    }
}

/// Median distance between the first thousand points of a sample: a common bandwidth for MMD.
///
/// # Errors
/// Shape, at least two points; values that are not finite.
pub fn median_distance(a: &[f64], dim: usize) -> Result<f64> {
    let n = rows("a", a, dim, 2)?.min(1000);
    let point = |i: usize| &a[i * dim..][..dim];
    let mut all: Vec<f64> = (0..n)
        .flat_map(|i| (0..i).map(move |j| -Pairwise::Energy.at(point(i), point(j))))
        .collect();
    let middle = all.len() / 2;
    Ok(*all.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::normal::normals;

    fn sample(n: usize, seed: u64) -> Vec<f64> {
        let (mut a, mut b) = (vec![0.0; n], vec![0.0; n]);
        normals([seed, 1], 0, 0, [&mut a, &mut b]);
        a
    }

    /// Catches a diagonal that is counted, a wrong divisor or sign: four points a side, by hand;
    /// and blocks of 2 by hand.
    #[test]
    fn by_hand() {
        let (a, b) = ([0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 3.0, 3.0]);
        // distances: a 1+2+4+1+3+2 over 6 pairs; b 4 times 3 over 6; between 6 + 6 + 6 + 10 over 16
        let exact = 2.0 * 28.0 / 16.0 - 13.0 / 6.0 - 2.0;
        assert!((Pairwise::Energy.all_pairs(&a, &b, 1).unwrap().value - exact).abs() < 1e-15);
        // blocks {0, 1}, {0, 0}: 2 * 2/4 - 1 - 0 = 0; {2, 4}, {3, 3}: 2 * 4/4 - 2 - 0 = 0
        assert_eq!(
            Pairwise::Energy.blocks(&a, &b, 1, 2).unwrap(),
            Estimate {
                value: 0.0,
                error: 0.0
            }
        );
        let k = |d: f64| (-d * d / 8.0).exp();
        let own_a = (2.0 * k(1.0) + 2.0 * k(2.0) + k(3.0) + k(4.0)) / 6.0;
        let own_b = (2.0 + 4.0 * k(3.0)) / 6.0;
        let cross = (2.0 * (1.0 + k(3.0))
            + 2.0 * (k(1.0) + k(2.0))
            + 2.0 * (k(2.0) + k(1.0))
            + 2.0 * (k(4.0) + k(1.0)))
            / 16.0;
        let got = Pairwise::Mmd { bandwidth: 2.0 }
            .all_pairs(&a, &b, 1)
            .unwrap()
            .value;
        assert!((got - (own_a + own_b - 2.0 * cross)).abs() < 1e-15);
        assert_eq!(median_distance(&a, 1).unwrap(), 2.0);
    }

    /// Catches a bandwidth that is not squared: h = 3, a quarter of the pairs at each distance.
    #[test]
    fn bandwidths_are_squared() {
        let gaussian = Pairwise::Mmd { bandwidth: 3.0 };
        for d in [0.0f64, 1.0, 3.0, 10.0] {
            let want = (-d * d / 18.0).exp();
            let got = gaussian.at(&[0.5, 1.0], &[0.5 + 0.6 * d, 1.0 - 0.8 * d]);
            assert!((got - want).abs() < 1e-15, "{d}: {got} {want}");
        }
    }

    /// Catches a wrong factor, divisor or sign in any part of the standard error: the decomposition
    /// written out as matrices, the row and column means taken off entry by entry where the code
    /// goes by sums of squares. Samples of 5 and 7, in two dimensions.
    #[test]
    fn standard_errors_are_those_of_the_decomposition() {
        let wave = |n: usize, scale: f64, shift: f64, pace: f64| -> Vec<f64> {
            (0..2 * n)
                .map(|i| {
                    let j = (i % 2) as f64;
                    scale * (pace * i as f64 + j).sin() + shift * (1.0 - j)
                })
                .collect()
        };
        let (a, b) = (wave(5, 2.0, 0.0, 2.3), wave(7, 2.6, 1.5, 1.3));
        let matrix = |s: Pairwise, a: &[f64], b: &[f64]| -> Vec<Vec<f64>> {
            a.chunks(2)
                .map(|x| b.chunks(2).map(|y| s.at(x, y)).collect())
                .collect()
        };
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        // unbiased, of all pairs
        let spread = |x: &[f64]| {
            let all = x
                .iter()
                .flat_map(|p| x.iter().map(move |q| (p - q) * (p - q)));
            all.sum::<f64>() / (2 * x.len() * (x.len() - 1)) as f64
        };
        for s in [Pairwise::Energy, Pairwise::Mmd { bandwidth: 2.0 }] {
            // row means without the diagonal, and what is left of the variance of k
            let own = |a: &[f64]| {
                let k = matrix(s, a, a);
                let n = k.len();
                let off: Vec<f64> = (0..n * n)
                    .filter(|e| e / n != e % n)
                    .map(|e| k[e / n][e % n])
                    .collect();
                let rows: Vec<f64> = off.chunks(n - 1).map(mean).collect();
                let middle = mean(&off);
                let squares: Vec<f64> = off.iter().map(|x| (x - middle) * (x - middle)).collect();
                let rest = (mean(&squares) - 2.0 * spread(&rows)) / (1.0 - 2.0 / (n as f64 - 1.0));
                (middle, rows, rest.max(0.0))
            };
            let ((ma, ra, rest_a), (mb, rb, rest_b)) = (own(&a), own(&b));
            let k = matrix(s, &a, &b);
            let (n, m) = (5.0, 7.0);
            let by_row: Vec<f64> = k.iter().map(|row| mean(row)).collect();
            let by_column: Vec<f64> = (0..7)
                .map(|j| mean(&k.iter().map(|row| row[j]).collect::<Vec<_>>()))
                .collect();
            let middle = mean(&by_row);
            let all: Vec<f64> = k.iter().flatten().map(|x| (x - middle).powi(2)).collect();
            let rest =
                (mean(&all) - spread(&by_row) - spread(&by_column)) / (1.0 - 1.0 / n - 1.0 / m);
            let rest = rest.max(0.0);
            let first = |own: &[f64], cross: &[f64], own_rest: f64, n: f64, m: f64| {
                let g: Vec<f64> = own.iter().zip(cross).map(|(k, c)| k - c).collect();
                (spread(&g) - own_rest / (n - 1.0) - rest / m).max(0.0)
            };
            let parts = [
                4.0 * first(&ra, &by_row, rest_a, n, m) / n,
                4.0 * first(&rb, &by_column, rest_b, m, n) / m,
                2.0 * rest_a / (n * (n - 1.0)),
                2.0 * rest_b / (m * (m - 1.0)),
                4.0 * rest / (n * m),
            ];
            // none is cut, none is so small that a mistake in it would be lost
            let total: f64 = parts.iter().sum();
            assert!(parts.iter().all(|p| *p > 0.05 * total), "{s:?} {parts:?}");
            let got = s.all_pairs(&a, &b, 2).unwrap();
            let value = ma + mb - 2.0 * middle;
            assert!((got.value - value).abs() < 1e-14, "{got:?} {value}");
            assert!(
                (got.error / total.sqrt() - 1.0).abs() < 1e-12,
                "{got:?} {total}"
            );
        }
    }

    /// Catches a wrong constant in either statistic: N(0, 1) against N(1, 1), two dimensions of
    /// which one differs (MMD), closed forms, within 4 standard errors of all pairs and of blocks
    /// (four checks: one seed in 4000), errors small enough to tell.
    #[test]
    fn gaussians_have_closed_forms() {
        let n = 1500;
        let a = sample(2 * n, 3);
        let b: Vec<f64> = sample(2 * n, 4)
            .iter()
            .enumerate()
            .map(|(i, x)| x + if i % 2 == 0 { 1.0 } else { 0.0 })
            .collect();
        // one dimension: E|N(1, 2)| by its density's integral, 2 (E|N(1,2)| - E|N(0,2)|)
        let first = |s: &[f64]| s.iter().step_by(2).copied().collect::<Vec<_>>();
        let absolute = |mean: f64| {
            let h = 1e-3;
            let term = |i: i32| {
                let z = f64::from(i) * h;
                (mean + 2f64.sqrt() * z).abs() * (-0.5 * z * z).exp() * h
                    / (2.0 * std::f64::consts::PI).sqrt()
            };
            (-9000..=9000).map(term).sum::<f64>()
        };
        let energy = 2.0 * (absolute(1.0) - absolute(0.0));
        // k's mean over X - Y ~ N(d, 2): h/sqrt(h^2 + 2) exp(-d^2/(2 (h^2 + 2))) per dimension; h =
        // 1.5
        let h2 = 2.25;
        let scale = h2 / (h2 + 2.0);
        let mmd = 2.0 * scale * (1.0 - (-0.5 / (h2 + 2.0f64)).exp());
        let gaussian = Pairwise::Mmd { bandwidth: 1.5 };
        for (got, exact) in [
            (
                Pairwise::Energy
                    .all_pairs(&first(&a), &first(&b), 1)
                    .unwrap(),
                energy,
            ),
            (
                Pairwise::Energy
                    .blocks(&first(&a), &first(&b), 1, 20)
                    .unwrap(),
                energy,
            ),
            (gaussian.all_pairs(&a, &b, 2).unwrap(), mmd),
            (gaussian.blocks(&a, &b, 2, 20).unwrap(), mmd),
        ] {
            assert!(
                (got.value - exact).abs() < 4.0 * got.error && got.error < 0.2 * exact,
                "{got:?} {exact}"
            );
        }
    }

    /// Catches a standard error without its part of second order (it would be near 0 for equal
    /// laws), or a wrong factor: over 1500 pairs of samples the mean stated variance against the
    /// statistic's spread. For shifted laws they agree; the spread's own error is 2 percent. For
    /// equal laws the cut at 0 may add up to 2 E(z^2 - 1)+ = 0.97 of the variance, z normal: a
    /// factor of 1.40; the spread's own error is 5 percent there, as the statistic's law has the
    /// tails of a chi-square. Three of each.
    #[test]
    fn standard_errors_are_true() {
        for statistic in [Pairwise::Energy, Pairwise::Mmd { bandwidth: 1.0 }] {
            for shift in [0.0, 0.7] {
                let (n, m, times) = (40, 60, 1500);
                let all: Vec<Estimate> = (0..times)
                    .map(|r| {
                        let b: Vec<f64> = sample(m, 2 * r + 1).iter().map(|x| x + shift).collect();
                        statistic.all_pairs(&sample(n, 2 * r), &b, 1).unwrap()
                    })
                    .collect();
                let spread = variance(&all.iter().map(|e| e.value).collect::<Vec<_>>());
                let stated = all.iter().map(|e| e.error * e.error).sum::<f64>() / all.len() as f64;
                let ratio = (stated / spread).sqrt();
                let allowed = if shift == 0.0 { 0.85..1.62 } else { 0.94..1.06 };
                assert!(allowed.contains(&ratio), "{statistic:?} {shift}: {ratio}");
            }
        }
    }

    /// Catches bad input that goes through.
    #[test]
    fn refusals() {
        let a = sample(20, 1);
        assert!(
            Pairwise::Mmd { bandwidth: 0.0 }
                .all_pairs(&a, &a, 1)
                .is_err()
        );
        assert!(
            Pairwise::Mmd {
                bandwidth: f64::NAN
            }
            .blocks(&a, &a, 1, 2)
            .is_err()
        );
        assert!(Pairwise::Energy.all_pairs(&a[..3], &a, 1).is_err());
        assert!(Pairwise::Energy.all_pairs(&a, &a, 3).is_err());
        assert!(Pairwise::Energy.blocks(&a, &a[..19], 1, 2).is_err());
        assert!(Pairwise::Energy.blocks(&a, &a, 1, 1).is_err());
        assert!(Pairwise::Energy.blocks(&a, &a, 1, 11).is_err());
        assert!(
            Pairwise::Energy
                .all_pairs(&vec![0.0; MOST], &a, 1)
                .unwrap_err()
                .to_string()
                .contains("blocks")
        );
        assert!(
            Pairwise::Energy
                .all_pairs(&[0.0, f64::INFINITY, 1.0, 2.0], &a, 1)
                .is_err()
        );
    }
}
