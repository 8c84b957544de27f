//! Wasserstein distances: exact in one dimension, where the best coupling is the sorted one; sliced
//! in more.

use super::{Estimate, rows};
use crate::error::{Error, Result};
use crate::simd::normal::normals;

/// `integral over q in [0, 1] of |A^-1(q) - B^-1(q)|^p` for sorted samples of any sizes.
fn sorted(a: &[f64], b: &[f64], p: u32) -> f64 {
    let cost = |x: f64, y: f64| {
        if p == 1 {
            (x - y).abs()
        } else {
            (x - y) * (x - y)
        }
    };
    let (n, m) = (a.len(), b.len());
    if n == m {
        return a.iter().zip(b).map(|(&x, &y)| cost(x, y)).sum::<f64>() / n as f64;
    }
    // quantiles in units of 1/(n m): the i-th of a ends at (i + 1) m, the j-th of b at (j + 1) n;
    // integers, so no end is missed
    let (mut i, mut j, mut at, mut sum) = (0, 0, 0u128, 0.0);
    while i < n && j < m {
        let (end_a, end_b) = ((i as u128 + 1) * m as u128, (j as u128 + 1) * n as u128);
        let end = end_a.min(end_b);
        sum += cost(a[i], b[j]) * (end - at) as f64;
        at = end;
        i += usize::from(end_a == end);
        j += usize::from(end_b == end);
    }
    sum / (n as f64 * m as f64)
}

fn one_dimension(a: &[f64], b: &[f64], p: u32) -> Result<f64> {
    rows("a", a, 1, 1)?;
    rows("b", b, 1, 1)?;
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_unstable_by(f64::total_cmp);
    b.sort_unstable_by(f64::total_cmp);
    Ok(sorted(&a, &b, p))
}

/// W1 between two samples of numbers, of any sizes: `integral of |A^-1(q) - B^-1(q)| dq`. Exact;
/// O(n log n). Formula: metric.w1. Source: Santambrogio 2015, prop. 2.17.
///
/// # Errors
/// An empty sample; a value that is not finite.
pub fn w1(a: &[f64], b: &[f64]) -> Result<f64> {
    one_dimension(a, b, 1)
}

/// W2 between two samples of numbers, of any sizes: the square root of
/// `integral of (A^-1(q) - B^-1(q))^2 dq`. Exact; O(n log n). Formula: metric.w2. Source:
/// Santambrogio 2015, prop. 2.17.
///
/// # Errors
/// An empty sample; a value that is not finite.
pub fn w2(a: &[f64], b: &[f64]) -> Result<f64> {
    Ok(one_dimension(a, b, 2)?.sqrt())
}

/// Random directions, row after row.
fn unit_vectors(seed: u64, count: usize, dim: usize) -> Vec<f64> {
    let mut normal = vec![0.0; count * dim];
    let mut unused = vec![0.0; count * dim];
    normals(
        [seed, u64::from_be_bytes(*b"sliced..")],
        0,
        0,
        [&mut normal, &mut unused],
    );
    for direction in normal.chunks_exact_mut(dim) {
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|x| *x /= length);
    }
    normal
}

/// Sliced Wasserstein distance of order `p` (1 or 2):
/// `(mean over directions of W_p^p of the projections)^(1/p)`. The standard error is that of the
/// random directions alone, not of the samples; one dimension has a single direction and error 0.
/// Formula: metric.sliced. Source: Bonneel et al. 2015.
///
/// # Errors
/// Shapes; values that are not finite; `p` other than 1 or 2; no direction, or more than 2^28
/// numbers of them.
pub fn sliced(
    a: &[f64],
    b: &[f64],
    dim: usize,
    p: u32,
    directions: usize,
    seed: u64,
) -> Result<Estimate> {
    rows("a", a, dim, 1)?;
    rows("b", b, dim, 1)?;
    if p != 1 && p != 2 {
        return Err(Error::parameter("p", p, "1 or 2"));
    }
    if directions == 0 {
        return Err(Error::parameter("directions", directions, "at least 1"));
    }
    let count = if dim == 1 { 1 } else { directions };
    if count.checked_mul(dim).is_none_or(|n| n > 1 << 28) {
        return Err(Error::parameter(
            "directions",
            directions,
            format!("at most {}, 2^28 numbers", (1 << 28) / dim),
        ));
    }
    let mut costs = Vec::with_capacity(count);
    let project = |s: &[f64], direction: &[f64], out: &mut Vec<f64>| {
        out.clear();
        out.extend(
            s.chunks_exact(dim)
                .map(|r| r.iter().zip(direction).map(|(x, w)| x * w).sum::<f64>()),
        );
        out.sort_unstable_by(f64::total_cmp);
    };
    let (mut left, mut right) = (vec![], vec![]);
    for direction in unit_vectors(seed, count, dim).chunks_exact(dim) {
        project(a, direction, &mut left);
        project(b, direction, &mut right);
        costs.push(sorted(&left, &right, p));
    }
    let mean = Estimate::of(&costs);
    if p == 1 {
        return Ok(mean);
    }
    // d sqrt(m) = dm / (2 sqrt(m))
    let value = mean.value.sqrt();
    Ok(Estimate {
        value,
        error: if value > 0.0 {
            mean.error / (2.0 * value)
        } else {
            0.0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Least mean cost over all couplings of equal weights, by trying every permutation of copies
    /// (lcm of the sizes).
    fn brute(a: &[f64], b: &[f64], p: i32) -> f64 {
        fn best(a: &[f64], b: &mut Vec<f64>, p: i32) -> f64 {
            let Some((x, rest)) = a.split_first() else {
                return 0.0;
            };
            let mut least = f64::INFINITY;
            for j in 0..b.len() {
                let y = b.remove(j);
                least = least.min((x - y).abs().powi(p) + best(rest, b, p));
                b.insert(j, y);
            }
            least
        }
        let n = (1..)
            .find(|n| n % a.len() == 0 && n % b.len() == 0)
            .unwrap();
        let copies = |s: &[f64]| {
            s.iter()
                .flat_map(|x| vec![*x; n / s.len()])
                .collect::<Vec<_>>()
        };
        best(&copies(a), &mut copies(b), p) / n as f64
    }

    /// Catches a missing sort, a quantile interval of the wrong length for unequal sizes, a missing
    /// root: every coupling of tiny sets, tried out. Tolerance: a handful of roundings of numbers
    /// below 10.
    #[test]
    fn is_the_least_cost_of_all_couplings() {
        let a = [0.3, -1.0, 2.5, 0.3, 4.0, -0.7];
        let b = [1.0, 0.0, -2.0, 3.0, 0.5, 0.25];
        for (n, m) in [
            (1, 1),
            (3, 3),
            (6, 6),
            (2, 3),
            (3, 2),
            (6, 4),
            (1, 5),
            (2, 6),
        ] {
            // 12 copies take too long: 6 and 4 alone
            let (a, b) = (&a[..n], &b[..if (n, m) == (6, 4) { 3 } else { m }]);
            assert!(
                (w1(a, b).unwrap() - brute(a, b, 1)).abs() < 1e-14,
                "{n} {m}"
            );
            assert!(
                (w2(a, b).unwrap().powi(2) - brute(a, b, 2)).abs() < 1e-14,
                "{n} {m}"
            );
        }
    }

    /// Catches a projection that is not of unit length, a missing mean or root: shifted samples,
    /// for which W_p of a projection is
    /// |w . shift|, with means over the sphere 1/2 |shift| (W1, three dimensions) and |shift|/sqrt(3) (W2).
    /// Five standard errors: one seed in 1.7 million.
    #[test]
    fn slices_of_a_shift() {
        let a: Vec<f64> = (0..30).map(|i| f64::from(i * i % 17) / 3.0 - 1.0).collect();
        let shift = [2.0, -1.0, 2.0];
        let b: Vec<f64> = a
            .iter()
            .enumerate()
            .map(|(i, x)| x + shift[i % 3])
            .collect();
        for (p, exact) in [(1, 1.5), (2, 3f64.sqrt())] {
            let got = sliced(&a, &b, 3, p, 2000, 7).unwrap();
            assert!(
                (got.value - exact).abs() < 5.0 * got.error && got.error < 0.03,
                "{got:?}"
            );
        }
        assert_eq!(
            sliced(&a, &b, 3, 2, 10, 7).unwrap(),
            sliced(&a, &b, 3, 2, 10, 7).unwrap()
        );
        assert_ne!(
            sliced(&a, &b, 3, 2, 10, 7).unwrap(),
            sliced(&a, &b, 3, 2, 10, 8).unwrap()
        );
        let one = sliced(&a, &b, 1, 2, 50, 7).unwrap();
        assert!((one.value - w2(&a, &b).unwrap()).abs() < 1e-15 && one.error == 0.0);
    }

    /// Catches bad input that goes through: wrong shapes, empty samples, NaN, another order.
    #[test]
    fn refusals() {
        assert!(w1(&[], &[1.0]).is_err());
        assert!(w2(&[f64::NAN], &[1.0]).is_err());
        assert!(sliced(&[1.0, 2.0, 3.0], &[1.0, 2.0], 2, 1, 5, 0).is_err());
        assert!(sliced(&[1.0, 2.0], &[1.0, 2.0], 2, 3, 5, 0).is_err());
        assert!(sliced(&[1.0, 2.0], &[1.0, 2.0], 2, 1, 0, 0).is_err());
        assert!(sliced(&[1.0, 2.0], &[1.0, 2.0], 0, 1, 5, 0).is_err());
        for directions in [usize::MAX, usize::MAX / 2 + 1, 1 << 40] {
            assert!(
                sliced(&[1.0, 2.0], &[1.0, 2.0], 2, 1, directions, 0)
                    .unwrap_err()
                    .to_string()
                    .contains("`directions`")
            );
        }
        assert!(
            sliced(&[1e300, 2.0], &[1.0, -1e300], 2, 2, 5, 0).is_ok_and(|e| !e.value.is_nan())
                && sliced(&[], &[], usize::MAX, 1, 5, 0).is_err()
        );
    }
}
