//! Small matrices in double words: inverse, determinant and factors of a covariance.

use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{AnyFactors, AnyMoments};
use crate::small::Square;

/// Inverse of a symmetric positive definite matrix by elimination, and its determinant.
pub(crate) fn inverse(cov: &Square<Dd>) -> Result<(Square<Dd>, Dd)> {
    let k = cov.k();
    let (mut a, mut b) = (*cov, Square::<Dd>::identity(k));
    let mut det = Dd::from(1.0);
    for p in 0..k {
        let pivot = a[(p, p)];
        if !(pivot.hi > 0.0) {
            return Err(Error::Degenerate {
                what: "the score".into(),
                why: "the covariance is singular".into(),
            });
        }
        det = det * pivot;
        for j in 0..k {
            a[(p, j)] = a[(p, j)] / pivot;
            b[(p, j)] = b[(p, j)] / pivot;
        }
        for i in (0..k).filter(|i| *i != p) {
            let c = a[(i, p)];
            for j in 0..k {
                a[(i, j)] = a[(i, j)] - c * a[(p, j)];
                b[(i, j)] = b[(i, j)] - c * b[(p, j)];
            }
        }
    }
    Ok((b, det))
}

/// Lower Cholesky factor of a symmetric positive definite matrix.
pub(super) fn cholesky(cov: &Square<Dd>) -> Square<Dd> {
    let k = cov.k();
    let mut l = Square::zero(k);
    for j in 0..k {
        for i in j..k {
            let rest = (0..j).fold(cov[(i, j)], |s, n| s - l[(i, n)] * l[(j, n)]);
            l[(i, j)] = if i == j {
                rest.sqrt()
            } else {
                rest / l[(j, j)]
            };
        }
    }
    l
}

/// Determinant and factors of a covariance; the mean is left 0.
pub(super) fn moments(cov: &Square<Dd>) -> AnyMoments {
    let k = cov.k();
    let (mean, rounded) = (Square::zero(k), cov.map(Dd::to_f64));
    let Ok((inv, det)) = inverse(cov) else {
        return AnyMoments {
            mean,
            cov: rounded,
            det: 0.0,
            factors: None,
            log_det: f64::NEG_INFINITY,
        };
    };
    let back = |m: &Square<Dd>| Square::build(k, |i, j| m[(k - 1 - i, k - 1 - j)]);
    let l = cholesky(cov);
    let u = back(&cholesky(&back(cov)));
    // L^-T = S^-1 L
    let transposed = |l: &Square<Dd>| inv.matmul(l).map(Dd::to_f64);
    let log_det = det.ln().to_f64();
    let factors = AnyFactors {
        lower: l.map(Dd::to_f64),
        upper: u.map(Dd::to_f64),
        inverse: inv.map(Dd::to_f64),
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
