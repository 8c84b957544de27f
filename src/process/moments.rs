//! What is known of a Gaussian transition: mean, covariance, determinant, factors.

use crate::small::{Mat, Scalar, Square};

/// A transition `u_t | u_s ~ N(mean u_s, cov)`, or a perturbation kernel where `cov` includes the
/// initial variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments<const K: usize> {
    /// Mean matrix Phi.
    pub mean: Mat<K>,
    /// Covariance `Phi Sigma0 Phi^T + Q`.
    pub cov: Mat<K>,
    /// Determinant of the covariance, from a form that does not cancel; 0 where there is none.
    pub det: f64,
    /// Cholesky factors and inverse, where the route computes them in double words (the generic one
    /// does). Closed forms with one or two channels leave them out: there they follow from `cov`
    /// and `det` without loss.
    pub factors: Option<Box<Factors<K>>>,
}

impl<const K: usize> Moments<K> {
    /// Lower Cholesky factor L and `ell = 1 / L_KK`; meaningless where the determinant is 0 (or K >
    /// 2 and there are no factors).
    #[inline(always)]
    pub(crate) fn lower(&self) -> (Mat<K>, f64) {
        let c = &self.cov;
        if let Some(f) = &self.factors {
            return (f.lower, 1.0 / f.lower[(K - 1, K - 1)]);
        }
        let mut lower = Mat::<K>::ZERO;
        let l = c[(0, 0)].sqrt();
        lower[(0, 0)] = l;
        if K != 2 {
            return (lower, 1.0 / l);
        }
        let [_, vx, vv, ell] = factors(c[(K - 1, 0)], l, self.det.sqrt());
        lower[(K - 1, 0)] = vx;
        lower[(K - 1, K - 1)] = vv;
        (lower, ell)
    }

    /// The same law after the channels' signs are flipped by `p` (entries +1 or -1).
    pub(super) fn flip_signs(self, p: [f64; K]) -> Self {
        let flip = |a: &Mat<K>| Mat::build(|i, j| a[(i, j)] * (p[i] * p[j]));
        Moments {
            mean: flip(&self.mean),
            cov: flip(&self.cov),
            det: self.det,
            factors: self.factors.map(|f| Box::new(f.map(flip))),
        }
    }
}

/// `[L_xx, L_vx, L_vv, ell]` from `S_xv` and the roots of `S_xx` and the determinant.
#[inline(always)]
pub(super) fn factors<T: Scalar + Copy>(xv: T, l: T, root: T) -> [T; 4] {
    [l, xv / l, root / l, l / root] // ell has one rounding less than 1 / L_vv
}

/// One row of [`LinearSde::columns_at`].
pub(crate) fn write_column<const K: usize>(m: &Moments<K>, r: usize, columns: &mut [&mut [f64]]) {
    let (l, ell) = m.lower();
    let mut columns = columns.iter_mut();
    let mut put = |x: f64| {
        if let Some(c) = columns.next() {
            c[r] = x;
        }
    };
    m.mean.0.iter().flatten().for_each(|&x| put(x));
    for a in [&m.cov, &l] {
        for i in 0..K {
            (0..=i).for_each(|j| put(a[(i, j)]));
        }
    }
    put(m.det);
    put(ell);
}

/// Whether a determinant is so near 1 that its logarithm has lost digits.
pub(crate) fn near_one(det: f64) -> bool {
    (det - 1.0).abs() < 1.0 / 64.0
}

/// What is read off a covariance, rounded to f64: as matrices whose size is known at run time, or
/// as others ([`Factors`]).
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // as the methods of `Kernel`
#[non_exhaustive]
pub struct AnyFactors<M = Square> {
    pub lower: M,
    pub upper: M,
    pub inverse: M,
    pub inverse_transpose_lower: M,
    pub inverse_transpose_upper: M,
    pub log_det: f64,
}

/// The same with the number of channels known to the compiler.
pub type Factors<const K: usize> = AnyFactors<Mat<K>>;

impl<M> AnyFactors<M> {
    /// The upper factor, or the lower one.
    pub fn triangle(&self, upper: bool) -> &M {
        if upper { &self.upper } else { &self.lower }
    }

    /// The inverse transpose of the upper factor, or of the lower one.
    pub fn inverse_transpose(&self, upper: bool) -> &M {
        if upper {
            &self.inverse_transpose_upper
        } else {
            &self.inverse_transpose_lower
        }
    }

    /// Each matrix by itself; the log-determinant stays.
    pub fn map<N>(&self, f: impl Fn(&M) -> N) -> AnyFactors<N> {
        AnyFactors {
            lower: f(&self.lower),
            upper: f(&self.upper),
            inverse: f(&self.inverse),
            inverse_transpose_lower: f(&self.inverse_transpose_lower),
            inverse_transpose_upper: f(&self.inverse_transpose_upper),
            log_det: self.log_det,
        }
    }
}
