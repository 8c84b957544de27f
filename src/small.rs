//! Small matrices on the stack: product, Cholesky, triangular solve. No heap, no `ndarray`.

use crate::dd::Dd;
use crate::simd::Lane;
use std::fmt::Debug;
use std::ops::{Add, Div, Index, IndexMut, Mul, Neg, Sub};

/// What the formulas need from a number: a field with an embedding of f64. Sealed by being private to the crate;
/// f64, the double words of `dd`, and (in tests) exact polynomials have it.
pub trait Scalar:
    Clone + Debug + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The number `x`.
    fn of(x: f64) -> Self;
    /// `self * a + b`; lanes of floats round it once.
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        self * a + b
    }
}

impl<L: Lane<Item = f64>> Scalar for L {
    #[inline(always)]
    fn of(x: f64) -> L {
        L::splat(x)
    }
    #[inline(always)]
    fn fma(self, a: L, b: L) -> L {
        self.mul_add(a, b)
    }
}

impl Scalar for Dd {
    fn of(x: f64) -> Dd {
        Dd::from(x)
    }
}

/// A K x K matrix, row-major.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mat<const K: usize, T = f64>(pub [[T; K]; K]);

impl<const K: usize, T> Index<(usize, usize)> for Mat<K, T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, (i, j): (usize, usize)) -> &T {
        &self.0[i][j]
    }
}

impl<const K: usize, T> IndexMut<(usize, usize)> for Mat<K, T> {
    #[inline(always)]
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut T {
        &mut self.0[i][j]
    }
}

impl<const K: usize> Mat<K> {
    /// All zeros.
    pub const ZERO: Self = Mat([[0.0; K]; K]);

    /// The identity.
    #[inline]
    pub fn identity() -> Self {
        Self::diagonal([1.0; K])
    }

    /// A diagonal matrix.
    #[inline]
    pub fn diagonal(d: [f64; K]) -> Self {
        let mut m = Self::ZERO;
        for (i, x) in d.into_iter().enumerate() {
            m[(i, i)] = x;
        }
        m
    }

    /// Each entry as a double word.
    #[inline]
    pub(crate) fn to_dd(self) -> Mat<K, Dd> {
        Mat(self.0.map(|r| r.map(Dd::from)))
    }
}

impl<const K: usize, T: Scalar + Copy> Mat<K, T> {
    /// From a function of row and column.
    #[inline(always)]
    pub fn build(mut f: impl FnMut(usize, usize) -> T) -> Self {
        // loops: `std::array::from_fn` passes through functions that are not always inlined
        let mut m = Mat([[T::of(0.0); K]; K]);
        for i in 0..K {
            for j in 0..K {
                m.0[i][j] = f(i, j);
            }
        }
        m
    }

    /// The transpose.
    #[inline]
    pub fn transpose(&self) -> Self {
        Self::build(|i, j| self[(j, i)])
    }

    /// Matrix product.
    #[inline]
    pub fn matmul(&self, o: &Self) -> Self {
        Self::build(|i, j| {
            let mut s = self[(i, 0)] * o[(0, j)];
            for k in 1..K {
                s = s + self[(i, k)] * o[(k, j)];
            }
            s
        })
    }

    /// Sum.
    #[inline]
    pub fn plus(&self, o: &Self) -> Self {
        Self::build(|i, j| self[(i, j)] + o[(i, j)])
    }

    /// Difference.
    #[inline]
    pub fn minus(&self, o: &Self) -> Self {
        Self::build(|i, j| self[(i, j)] - o[(i, j)])
    }

    /// Multiple.
    #[inline]
    pub fn times(&self, c: T) -> Self {
        Self::build(|i, j| self[(i, j)] * c)
    }

    /// Determinant, by the first row's minors.
    pub fn det(&self) -> T {
        fn minor<const K: usize, T: Scalar + Copy>(m: &Mat<K, T>, row: usize, columns: &[usize]) -> T {
            let mut sum = T::of(if columns.is_empty() { 1.0 } else { 0.0 });
            for (p, &c) in columns.iter().enumerate() {
                let others: Vec<usize> = columns.iter().copied().filter(|o| *o != c).collect();
                let term = m[(row, c)] * minor(m, row + 1, &others);
                sum = if p % 2 == 0 { sum + term } else { sum - term };
            }
            sum
        }
        match K {
            1 => self[(0, 0)],
            2 => self[(0, 0)] * self[(K - 1, K - 1)] - self[(0, K - 1)] * self[(K - 1, 0)],
            _ => minor(self, 0, &(0..K).collect::<Vec<_>>()),
        }
    }

    /// `A S A^T`, symmetric by construction (the upper triangle is computed, the lower copied).
    #[inline]
    pub fn sandwich(&self, s: &Self) -> Self {
        let a = self.matmul(s);
        let mut out = *s;
        for i in 0..K {
            for j in i..K {
                let mut v = a[(i, 0)] * self[(j, 0)];
                for k in 1..K {
                    v = v + a[(i, k)] * self[(j, k)];
                }
                out[(i, j)] = v;
                out[(j, i)] = v;
            }
        }
        out
    }
}

impl<const K: usize> Mat<K, Dd> {
    /// Rounded to f64.
    #[inline]
    pub(crate) fn round(&self) -> Mat<K> {
        Mat(self.0.map(|r| r.map(Dd::to_f64)))
    }

    /// Lower Cholesky factor `L` with `L L^T = self`; `None` unless positive definite.
    #[inline]
    pub(crate) fn cholesky(&self) -> Option<Self> {
        let mut l = Mat([[Dd::ZERO; K]; K]);
        for i in 0..K {
            for j in 0..=i {
                let mut s = self[(i, j)];
                for k in 0..j {
                    s = s - l[(i, k)] * l[(j, k)];
                }
                if i == j {
                    if s.hi <= 0.0 || !s.hi.is_finite() {
                        return None;
                    }
                    l[(i, i)] = s.sqrt();
                } else {
                    l[(i, j)] = s / l[(j, j)];
                }
            }
        }
        Some(l)
    }

    /// Inverse of a lower triangular matrix with non-zero diagonal.
    #[inline]
    pub(crate) fn lower_inverse(&self) -> Self {
        let mut x = Mat([[Dd::ZERO; K]; K]);
        for j in 0..K {
            x[(j, j)] = self[(j, j)].recip();
            for i in j + 1..K {
                let mut s = Dd::ZERO;
                for k in j..i {
                    s = s + self[(i, k)] * x[(k, j)];
                }
                x[(i, j)] = -(s / self[(i, i)]);
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong index in factorisation or inverse: a Hilbert matrix, whose inverse is known to be integer.
    #[test]
    fn hilbert_matrix_factors_and_inverts() {
        let h = Mat::<4, Dd>::build(|i, j| Dd::ONE / Dd::from((i + j + 1) as f64));
        let l = h.cholesky().expect("positive definite");
        let back = l.matmul(&l.transpose());
        let li = l.lower_inverse();
        let inv = li.transpose().matmul(&li).round();
        // The inverse of the 4 x 4 Hilbert matrix (any textbook).
        let known = [
            [16.0, -120.0, 240.0, -140.0],
            [-120.0, 1200.0, -2700.0, 1680.0],
            [240.0, -2700.0, 6480.0, -4200.0],
            [-140.0, 1680.0, -4200.0, 2800.0],
        ];
        for i in 0..4 {
            for j in 0..4 {
                assert!((back[(i, j)] - h[(i, j)]).abs().hi < 1e-31);
                // condition number 1.5e4 times double-word rounding 1e-32: exact after rounding to f64
                assert_eq!(inv[(i, j)], known[i][j], "entry {i},{j}");
            }
        }
        assert!(h.times(-Dd::ONE).cholesky().is_none());
    }
}
