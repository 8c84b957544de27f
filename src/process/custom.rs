//! A process given by its matrices alone.

use super::any::{AnyProcess, erase};
use super::entry::{Params, ProcessEntry, Value};
use super::linear::LinearSde;
use crate::error::{Error, Result};
use crate::small::{MOST, Mat, Square, by_channels};

/// Any linear SDE `du = F u b dt + G sqrt(b) dW` on K <= 6 channels, by its matrices F and `G G^T`.
/// Its transition comes from [`doubling`](super::doubling); it has no stationary law that the crate
/// knows of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Custom<const K: usize> {
    drift: Mat<K>,
    noise: Mat<K>,
    mass: f64,
}

impl<const K: usize> Custom<K> {
    /// From drift F, noise `G G^T` and mass M (HSM's initial velocity variance is `gamma M`).
    ///
    /// # Errors
    /// K above 6; entries that are not finite or above 1e9 in size; a noise matrix that is not
    /// symmetric and positive semidefinite; a mass outside (0, 1e9].
    pub fn new(drift: Mat<K>, noise: Mat<K>, mass: f64) -> Result<Self> {
        if K == 0 || K > 6 {
            return Err(Error::parameter("channels", K, "1 to 6"));
        }
        for (name, m) in [("drift", &drift), ("noise", &noise)] {
            if let Some(x) = m.0.iter().flatten().find(|x| !(x.abs() <= 1e9)) {
                return Err(Error::parameter(name, *x, "finite entries of at most 1e9"));
            }
        }
        if !semidefinite(&noise) {
            return Err(Error::parameter(
                "noise",
                format!("{:?}", noise.0),
                "a symmetric, positive semidefinite matrix",
            ));
        }
        if !(mass > 0.0 && mass <= 1e9) {
            return Err(Error::parameter("mass", mass, "0 < mass <= 1e9"));
        }
        Ok(Custom { drift, noise, mass })
    }
}

impl<const K: usize> LinearSde<K> for Custom<K> {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn drift(&self) -> Mat<K> {
        self.drift
    }

    fn noise(&self) -> Mat<K> {
        self.noise
    }

    fn stationary(&self) -> Option<Mat<K>> {
        None
    }

    fn mass(&self) -> f64 {
        self.mass
    }
}

/// Symmetric elimination: every pivot is positive, or zero (to rounding) with nothing beside it.
fn semidefinite<const K: usize>(m: &Mat<K>) -> bool {
    let mut a = *m;
    let rounding = |i: usize| 1e-14 * m[(i, i)].abs();
    for i in 0..K {
        if (0..K).any(|j| m[(i, j)] != m[(j, i)]) || a[(i, i)] < -rounding(i) {
            return false;
        }
        for j in i + 1..K {
            if a[(i, i)] <= rounding(i) {
                if a[(i, j)].abs() > 1e-14 * (m[(i, i)] * m[(j, j)]).sqrt() {
                    return false;
                }
                continue;
            }
            let f = a[(i, j)] / a[(i, i)];
            for l in j..K {
                let x = a[(j, l)] - f * a[(i, l)];
                a[(j, l)] = x;
                a[(l, j)] = x;
            }
        }
    }
    true
}

/// The matrix called `name`.
fn matrix(p: &Params, name: &str) -> Result<Square> {
    let allowed = "a square matrix, row by row, of 1 to 6 channels";
    match p.0.get(name) {
        Some(Value::Matrix(m))
            if (1..=MOST).contains(&m.len()) && m.iter().all(|r| r.len() == m.len()) =>
        {
            Ok(Square::build(m.len(), |i, j| m[i][j]))
        }
        Some(other) => Err(Error::parameter(name.to_string(), other, allowed)),
        None => Err(Error::parameter(name.to_string(), "missing", allowed)),
    }
}

/// A process from its matrices F and `G G^T`, and its mass.
///
/// # Errors
/// Matrices of different sizes; as [`Custom::new`].
pub fn custom(f: &Square, g: &Square, mass: f64) -> Result<Box<dyn AnyProcess>> {
    let (k, l) = (f.k(), g.k());
    if k != l {
        return Err(Error::parameter(
            "GGt",
            format!("{l} x {l}"),
            format!("{k} x {k}, as F"),
        ));
    }
    by_channels!(k, up to 6, K => erase(Custom::<K>::new(f.fixed(), g.fixed(), mass)?), else {
        Err(Error::parameter("F", format!("{k} x {k}"), "a square matrix of 1 to 6 channels"))
    })
}

/// Any linear SDE by its matrices: not a diffusion of the crate, but one that answers can be about.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "custom",
    about: "any linear SDE du = F u b dt + G sqrt(b) dW, by its matrices F and GGt",
    params: &["F", "GGt", "mass", "gamma"],
    gamma: Some("gamma"),
    build: |p| {
        let mass = if p.0.contains_key("mass") {
            p.number("mass")?
        } else {
            1.0
        };
        custom(&matrix(p, "F")?, &matrix(p, "GGt")?, mass)
    },
    ..ProcessEntry::BASE
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a noise matrix that no G has, and the refusal of a singular one that is fine.
    #[test]
    fn refuses_what_is_not_a_covariance() {
        let drift = Mat([[-1.0, 0.5, 0.0], [0.2, -2.0, 0.1], [0.0, 0.3, -1.5]]);
        let outer = |v: [f64; 3]| Mat::build(|i, j| v[i] * v[j]);
        assert!(Custom::new(drift, outer([1.0, 2.0, -3.0]), 1.0).is_ok());
        assert!(Custom::new(drift, outer([0.0, 2.0, -3.0]), 1.0).is_ok());
        // all 2 x 2 minors are fine, the determinant is -0.25
        let bad = Mat([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]]);
        for noise in [
            bad,
            Mat::diagonal([1.0, -1.0, 1.0]),
            Mat([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0; 3]]),
            Mat([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0; 3]]),
        ] {
            let e = Custom::new(drift, noise, 1.0).unwrap_err().to_string();
            assert!(e.contains("noise") && e.contains("semidefinite"), "{e}");
        }
        assert!(Custom::new(Mat([[f64::NAN]]), Mat([[1.0]]), 1.0).is_err());
        assert!(Custom::new(Mat([[-1.0]]), Mat([[1.0]]), 0.0).is_err());
    }
}
