//! W2 between Gaussians, without the cancellation of the printed formula.

use super::rows;
use crate::error::{Error, Result};
use crate::worst::{largest, worse};

/// Eigenvalues and eigenvectors (columns of the second, row-major) of a symmetric matrix, by cyclic
/// Jacobi rotations.
fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut v: Vec<f64> = (0..n * n)
        .map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 })
        .collect();
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
                if apq.abs() <= 1e-17 * (app * aqq).abs().sqrt() || apq == 0.0 {
                    continue;
                }
                turned = true;
                let theta = (aqq - app) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                }
                (a[p * n + q], a[q * n + p]) = (0.0, 0.0);
                for k in 0..n {
                    let (x, y) = (v[k * n + p], v[k * n + q]);
                    (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
        if !turned {
            break;
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// L with `L L^T = cov`, for a semidefinite covariance too; columns are scaled eigenvectors.
fn factor(name: &'static str, cov: &[f64], n: usize) -> Result<Vec<f64>> {
    let size = largest(cov);
    let skew = (0..n * n).any(|e| (cov[e] - cov[e % n * n + e / n]).abs() > 1e-12 * size);
    if skew || !size.is_finite() {
        return Err(Error::parameter(
            name,
            format!("{cov:?}"),
            "a symmetric matrix of finite numbers",
        ));
    }
    let (values, vectors) = eigen(cov, n);
    if let Some(low) = values.iter().find(|l| **l < -1e-12 * size) {
        return Err(Error::parameter(
            name,
            format!("a matrix with eigenvalue {low:e}"),
            "no negative eigenvalue",
        ));
    }
    Ok((0..n * n)
        .map(|e| vectors[e] * worse(values[e % n], 0.0).sqrt())
        .collect())
}

/// The orthogonal factor `U V^T` of `A = U S V^T`, by one-sided Jacobi rotations; completed where A
/// is singular.
fn polar(a: &[f64], n: usize) -> Vec<f64> {
    // columns of A, and of V, as rows
    let mut u: Vec<Vec<f64>> = (0..n)
        .map(|j| (0..n).map(|i| a[i * n + j]).collect())
        .collect();
    let mut v: Vec<Vec<f64>> = (0..n)
        .map(|j| (0..n).map(|i| if i == j { 1.0 } else { 0.0 }).collect())
        .collect();
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let (pp, qq, pq) = (dot(&u[p], &u[p]), dot(&u[q], &u[q]), dot(&u[p], &u[q]));
                if pq.abs() <= 1e-16 * (pp * qq).sqrt() || pq == 0.0 {
                    continue;
                }
                turned = true;
                let theta = (qq - pp) / (2.0 * pq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for m in [&mut u, &mut v] {
                    for k in 0..n {
                        let (x, y) = (m[p][k], m[q][k]);
                        (m[p][k], m[q][k]) = (c * x - s * y, s * x + c * y);
                    }
                }
            }
        }
        if !turned {
            break;
        }
    }
    let largest = u.iter().map(|c| dot(c, c).sqrt()).fold(0.0, worse);
    let mut done: Vec<usize> = vec![];
    for j in 0..n {
        let length = dot(&u[j], &u[j]).sqrt();
        if length > 1e-14 * largest {
            u[j].iter_mut().for_each(|x| *x /= length);
            done.push(j);
        }
    }
    complete(&mut u, done);
    (0..n * n)
        .map(|e| (0..n).map(|k| u[k][e / n] * v[k][e % n]).sum())
        .collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// Makes orthonormal columns of those that are not `done`: any completion is as good, so unit
/// vectors, made orthogonal twice.
fn complete(u: &mut [Vec<f64>], mut done: Vec<usize>) {
    let n = u.len();
    for j in (0..n).filter(|j| !done.contains(j)).collect::<Vec<_>>() {
        for e in 0..n {
            let mut w: Vec<f64> = (0..n).map(|i| if i == e { 1.0 } else { 0.0 }).collect();
            for d in done.iter().chain(&done) {
                let along = dot(&w, &u[*d]);
                w.iter_mut().zip(&u[*d]).for_each(|(w, u)| *w -= along * u);
            }
            let length = dot(&w, &w).sqrt();
            if length > 0.5 / (n as f64).sqrt() {
                u[j] = w.iter().map(|x| x / length).collect();
                break;
            }
        }
        done.push(j);
    }
}

/// W2 between `N(mean_a, cov_a)` and `N(mean_b, cov_b)`, covariances row-major and perhaps
/// singular: `W2^2 = |m_a - m_b|^2 + |A - B Q|^2`, `A A^T = cov_a`, `B B^T = cov_b`, Q the
/// orthogonal factor of `B^T A`. The same as `tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)`, but a
/// sum of squares: W2 is right to 1e-15 of the deviations, not to 1e-8. Formula: metric.bures.
/// Source: Dowson and Landau 1982; Bhatia, Jain, Lim 2019 (the second form).
///
/// # Errors
/// Shapes; a covariance that is not symmetric, not finite, or has a negative eigenvalue.
pub fn bures(mean_a: &[f64], cov_a: &[f64], mean_b: &[f64], cov_b: &[f64]) -> Result<f64> {
    let n = mean_a.len();
    let shapes = [
        ("mean_a", mean_a, n),
        ("cov_a", cov_a, n * n),
        ("mean_b", mean_b, n),
        ("cov_b", cov_b, n * n),
    ];
    for (name, array, length) in shapes {
        if array.len() != length || n == 0 {
            return Err(Error::shape(
                name,
                &[array.len()],
                format!("{length} numbers, at least 1 (mean_a has {n})"),
            ));
        }
        if let Some(x) = array.iter().find(|x| !x.is_finite()) {
            return Err(Error::parameter(name, x, "finite values"));
        }
    }
    let (a, b) = (factor("cov_a", cov_a, n)?, factor("cov_b", cov_b, n)?);
    let product: Vec<f64> = (0..n * n)
        .map(|e| (0..n).map(|k| b[k * n + e / n] * a[k * n + e % n]).sum())
        .collect();
    let q = polar(&product, n);
    let means: f64 = mean_a
        .iter()
        .zip(mean_b)
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    let spread: f64 = (0..n * n)
        .map(|e| {
            let turned: f64 = (0..n).map(|k| b[e / n * n + k] * q[k * n + e % n]).sum();
            (a[e] - turned) * (a[e] - turned)
        })
        .sum();
    Ok((means + spread).sqrt())
}

/// Mean and covariance (unbiased, row-major) of a sample (n, dim).
///
/// # Errors
/// Shape, at least two rows; a value that is not finite.
pub fn moments(a: &[f64], dim: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = rows("a", a, dim, 2)? as f64;
    let mean: Vec<f64> = (0..dim)
        .map(|i| a.iter().skip(i).step_by(dim).sum::<f64>() / n)
        .collect();
    let mut cov = vec![0.0; dim * dim];
    for row in a.chunks_exact(dim) {
        for i in 0..dim {
            for j in 0..=i {
                cov[i * dim + j] += (row[i] - mean[i]) * (row[j] - mean[j]) / (n - 1.0);
            }
        }
    }
    for i in 0..dim {
        for j in i + 1..dim {
            cov[i * dim + j] = cov[j * dim + i];
        }
    }
    Ok((mean, cov))
}

/// [`bures`] between the Gaussians with the moments of two samples: the Frechet distance (its
/// square is the "FID" of features).
///
/// # Errors
/// As [`moments`].
pub fn frechet(a: &[f64], b: &[f64], dim: usize) -> Result<f64> {
    let ((ma, ca), (mb, cb)) = (moments(a, dim)?, moments(b, dim)?);
    bures(&ma, &ca, &mb, &cb)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a missing factor 2 or root, or a wrong orthogonal factor: one dimension, commuting
    /// covariances, a 2 by 2 pair by the closed form `tr sqrt(C) = sqrt(tr C + 2 sqrt(det C))`, a
    /// point mass, and covariances so close that the printed formula has no correct digit.
    /// Tolerance: 1e-14, a few roundings of numbers below 10.
    #[test]
    fn closed_forms() {
        let close = |got: f64, exact: f64| assert!((got - exact).abs() < 1e-14, "{got} {exact}");
        close(
            bures(&[1.0], &[4.0], &[-2.0], &[0.25]).unwrap(),
            (9.0f64 + 2.25).sqrt(),
        );
        // commuting: deviations turned by the same angle
        let (c, s) = (0.3f64.cos(), 0.3f64.sin());
        let turned = |p: f64, q: f64| {
            [
                c * c * p + s * s * q,
                c * s * (p - q),
                c * s * (p - q),
                s * s * p + c * c * q,
            ]
        };
        close(
            bures(&[0.0; 2], &turned(4.0, 1.0), &[0.0; 2], &turned(1.0, 9.0)).unwrap(),
            5f64.sqrt(),
        );
        let (a, b) = ([2.0, 0.5, 0.5, 1.0], [1.0, -0.3, -0.3, 3.0]);
        // trace of A B is 2 - 0.15 - 0.15 + 3, its determinant (2 - 0.25)(3 - 0.09)
        let root = (4.7 + 2.0 * (1.75f64 * 2.91).sqrt()).sqrt();
        close(
            bures(&[0.0, 1.0], &a, &[2.0, 1.0], &b).unwrap(),
            (4.0 + 3.0 + 4.0 - 2.0 * root).sqrt(),
        );
        // from a point: the root of the trace; two singular ones along different axes
        close(
            bures(&[0.0; 2], &[0.0; 4], &[0.0; 2], &a).unwrap(),
            3f64.sqrt(),
        );
        close(
            bures(
                &[0.0; 2],
                &[1.0, 0.0, 0.0, 0.0],
                &[0.0; 2],
                &[0.0, 0.0, 0.0, 4.0],
            )
            .unwrap(),
            5f64.sqrt(),
        );
        let near = bures(
            &[0.0; 2],
            &turned(4.0, 1.0),
            &[0.0; 2],
            &turned((2.0f64 + 1e-9).powi(2), 1.0),
        )
        .unwrap();
        assert!((near - 1e-9).abs() < 4e-15, "{near:e}"); // deviations near 2 are rounded to 4e-16
    }

    /// Catches rotations that stop after one sweep, which is enough for two channels and for no
    /// more: four, two covariances of common eigenvectors (a reflection's), whose distance is that
    /// of their deviations. At all sizes, for a distance of lengths has no size of its own:
    /// covariances from 1e-60 to 1e60. 1e-13: some ten rotations of numbers below 5.
    #[test]
    fn more_channels_at_any_size() {
        // 1 - 2 n n^T, n = (1, 2, 3, 4)/sqrt 30
        let n = [1.0, 2.0, 3.0, 4.0];
        let q = |i: usize, k: usize| f64::from(i == k) - n[i] * n[k] / 15.0;
        let of = |deviations: [f64; 4], size: f64| -> Vec<f64> {
            (0..16)
                .map(|e| {
                    let part = |k: usize| q(e / 4, k) * q(e % 4, k) * deviations[k].powi(2);
                    // symmetric to the bit
                    size * (0..4).map(part).sum::<f64>()
                })
                .collect()
        };
        for power in [0, -200, -140, -60, 60, 200] {
            let size = 2f64.powi(power);
            let (a, b) = (
                of([1.0, 2.0, 0.5, 3.0], size),
                of([2.0, 1.5, 0.5, 5.0], size),
            );
            let got = bures(&[0.0; 4], &a, &[0.0; 4], &b).unwrap();
            let want = 5.25f64.sqrt() * size.sqrt();
            assert!(
                (got / want - 1.0).abs() < 1e-13,
                "{power}: {got:e} {want:e}"
            );
            // an eigenvalue of -1e-6 of the size is refused, one of a rounding is not
            let flat = |low: f64| [size, 0.0, 0.0, low * size];
            let to_zero = |low: f64| bures(&[0.0; 2], &flat(low), &[0.0; 2], &[0.0; 4]);
            assert!(to_zero(-1e-6).is_err(), "{power}");
            assert!((to_zero(-1e-15).unwrap() / size.sqrt() - 1.0).abs() < 1e-14);
        }
    }

    /// Catches moments with the wrong divisor or order, and a distance of a sample to itself that
    /// is not 0.
    #[test]
    fn moments_of_samples() {
        let a = [0.0, 1.0, 2.0, 5.0, 4.0, 0.0];
        let (mean, cov) = moments(&a, 2).unwrap();
        assert_eq!((mean, cov), (vec![2.0, 2.0], vec![4.0, -1.0, -1.0, 7.0]));
        assert!(frechet(&a, &a, 2).unwrap() < 1e-14);
        let b: Vec<f64> = a.iter().map(|x| x + 3.0).collect();
        assert!((frechet(&a, &b, 2).unwrap() - 18f64.sqrt()).abs() < 1e-14);
    }

    /// Catches bad input that goes through.
    #[test]
    fn refusals() {
        assert!(bures(&[0.0], &[1.0, 2.0], &[0.0], &[1.0]).is_err());
        assert!(
            bures(
                &[0.0; 2],
                &[1.0, 0.5, 0.0, 1.0],
                &[0.0; 2],
                &[1.0, 0.0, 0.0, 1.0]
            )
            .is_err()
        );
        assert!(
            bures(
                &[0.0; 2],
                &[1.0, 2.0, 2.0, 1.0],
                &[0.0; 2],
                &[1.0, 0.0, 0.0, 1.0]
            )
            .is_err()
        );
        assert!(bures(&[0.0], &[f64::INFINITY], &[0.0], &[1.0]).is_err());
        assert!(bures(&[], &[], &[], &[]).is_err());
        assert!(moments(&[1.0, 2.0], 2).is_err());
    }
}
