//! Small matrices in double words: inverse, determinant and factors of a covariance.

use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyFactors, AnyMoments};
use crate::small::Square;

/// Inverse of a symmetric positive definite matrix, row-major, by elimination, and its determinant.
pub(super) fn inverse(cov: &[Dd], k: usize) -> Result<(Vec<Dd>, Dd)> {
    let (mut a, mut b) = (
        cov.to_vec(),
        (0..k * k)
            .map(|n| Dd::from(f64::from(u8::from(n % (k + 1) == 0))))
            .collect::<Vec<_>>(),
    );
    let mut det = Dd::from(1.0);
    for p in 0..k {
        let pivot = a[p * k + p];
        if !(pivot.hi > 0.0) {
            return Err(Error::Degenerate {
                what: "the score".into(),
                why: "the covariance is singular".into(),
            });
        }
        det = det * pivot;
        for j in 0..k {
            a[p * k + j] = a[p * k + j] / pivot;
            b[p * k + j] = b[p * k + j] / pivot;
        }
        for i in (0..k).filter(|i| *i != p) {
            let c = a[i * k + p];
            for j in 0..k {
                a[i * k + j] = a[i * k + j] - c * a[p * k + j];
                b[i * k + j] = b[i * k + j] - c * b[p * k + j];
            }
        }
    }
    Ok((b, det))
}

/// Lower Cholesky factor of a symmetric positive definite matrix, row-major.
pub(super) fn cholesky(cov: &[Dd], k: usize) -> Vec<Dd> {
    let mut l = vec![Dd::ZERO; k * k];
    for j in 0..k {
        for i in j..k {
            let rest = (0..j).fold(cov[i * k + j], |s, n| s - l[i * k + n] * l[j * k + n]);
            l[i * k + j] = if i == j {
                rest.sqrt()
            } else {
                rest / l[j * k + j]
            };
        }
    }
    l
}

/// Determinant and factors of a covariance; the mean is left 0.
pub(super) fn moments(cov: &Square<Dd>) -> AnyMoments {
    let k = cov.k();
    let round = |v: &[Dd]| Square::build(k, |i, j| v[i * k + j].to_f64());
    let (mean, rounded) = (Square::zero(k), cov.map(Dd::to_f64));
    let Ok((inv, det)) = inverse(cov.as_slice(), k) else {
        return AnyMoments {
            mean,
            cov: rounded,
            det: 0.0,
            factors: None,
            log_det: f64::NEG_INFINITY,
        };
    };
    let back = |v: &[Dd]| -> Vec<Dd> { (0..k * k).map(|n| v[k * k - 1 - n]).collect() };
    let l = cholesky(cov.as_slice(), k);
    let u = back(&cholesky(&back(cov.as_slice()), k));
    // L^-T = S^-1 L
    let transposed = |l: &[Dd]| {
        Square::build(k, |i, j| {
            (0..k)
                .fold(Dd::ZERO, |s, m| s + inv[i * k + m] * l[m * k + j])
                .to_f64()
        })
    };
    let log_det = det.ln().to_f64();
    let factors = AnyFactors {
        lower: round(&l),
        upper: round(&u),
        inverse: round(&inv),
        inverse_transpose_lower: transposed(&l),
        inverse_transpose_upper: transposed(&u),
        log_det,
    };
    AnyMoments {
        mean,
        cov: rounded,
        det: det.to_f64(),
        factors: Some(Box::new(factors)),
        log_det,
    }
}
