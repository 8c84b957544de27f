//! Small matrices on the stack: [`Mat`] where the number of channels is known to the compiler,
//! [`Square`] where it is known at run time. No heap, no `ndarray`.

use crate::dd::Dd;
use crate::simd::Lane;
use std::fmt::Debug;
use std::ops::{Add, Div, Index, IndexMut, Mul, Neg, Sub};

/// What the formulas need from a number: a field with an embedding of f64. Sealed by being private
/// to the crate; f64, the double words of `dd`, and (in tests) exact polynomials have it.
pub trait Scalar:
    Clone
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
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
    pub const IDENTITY: Self = {
        let mut m = Self::ZERO;
        let mut i = 0;
        while i < K {
            m.0[i][i] = 1.0;
            i += 1;
        }
        m
    };

    /// The identity.
    #[inline]
    pub fn identity() -> Self {
        Self::IDENTITY
    }

    /// Of a linear map: what it makes of the unit vectors are the columns.
    pub fn of_map(f: impl Fn([f64; K]) -> [f64; K]) -> Self {
        Mat(Self::IDENTITY.0.map(f)).transpose()
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
        fn minor<const K: usize, T: Scalar + Copy>(
            m: &Mat<K, T>,
            row: usize,
            columns: &[usize],
        ) -> T {
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

/// Most channels of a process: what [`Square`] holds.
pub const MOST: usize = 6;

/// A square matrix whose size is known at run time, at most [`MOST`], on the stack; indexed by row
/// and column.
#[derive(Clone, Copy)]
pub struct Square<T = f64> {
    k: usize,
    /// Row by row, the first `k * k` places; the others are never read.
    entries: [T; MOST * MOST],
}

impl<T> Square<T> {
    /// Number of rows.
    #[inline(always)]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The entries row by row, as files have them.
    #[inline(always)]
    pub fn as_slice(&self) -> &[T] {
        &self.entries[..self.k * self.k]
    }

    /// The same as a vector.
    pub fn to_vec(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.as_slice().to_vec()
    }

    /// A row.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &[T] {
        &self.as_slice()[i * self.k..][..self.k]
    }

    /// The rows, from the first one on.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        // a matrix without rows has no chunks of any length
        self.as_slice().chunks_exact(self.k.max(1))
    }
}

impl<T: Scalar + Copy> Square<T> {
    /// From a function of row and column.
    ///
    /// # Panics
    /// For k above [`MOST`].
    #[inline]
    pub fn build(k: usize, mut f: impl FnMut(usize, usize) -> T) -> Self {
        let mut m = Square {
            k,
            entries: [T::of(0.0); MOST * MOST],
        };
        for i in 0..k {
            for j in 0..k {
                m.entries[i * k + j] = f(i, j);
            }
        }
        m
    }

    /// All zeros. Panics as [`build`](Self::build).
    pub fn zero(k: usize) -> Self {
        assert!(k <= MOST, "{k} channels");
        Square {
            k,
            entries: [T::of(0.0); MOST * MOST],
        }
    }

    /// The identity.
    pub fn identity(k: usize) -> Self {
        Self::build(k, |i, j| T::of(if i == j { 1.0 } else { 0.0 }))
    }

    /// A diagonal matrix.
    pub fn diagonal(d: &[T]) -> Self {
        Self::build(d.len(), |i, j| if i == j { d[i] } else { T::of(0.0) })
    }

    /// From entries row by row; `None` unless there are k^2 of them, k at most [`MOST`].
    pub fn from_slice(entries: &[T]) -> Option<Self> {
        let k = (0..=MOST).find(|k| k * k == entries.len())?;
        Some(Self::build(k, |i, j| entries[i * k + j]))
    }

    /// With the size known again, which must be K.
    #[inline]
    pub fn fixed<const K: usize>(&self) -> Mat<K, T> {
        assert!(self.k == K, "a {0} x {0} matrix is not {K} x {K}", self.k);
        Mat::build(|i, j| self[(i, j)])
    }

    /// Each entry by itself.
    #[inline]
    pub fn map<U: Scalar + Copy>(&self, f: impl Fn(T) -> U) -> Square<U> {
        Square::build(self.k, |i, j| f(self[(i, j)]))
    }

    /// With the other sign where row and column together are odd.
    pub fn with_odd_signs_flipped(&self) -> Self {
        Self::build(self.k, |i, j| {
            if (i + j) % 2 == 1 {
                -self[(i, j)]
            } else {
                self[(i, j)]
            }
        })
    }

    /// The transpose.
    pub fn transpose(&self) -> Self {
        Self::build(self.k, |i, j| self[(j, i)])
    }

    /// Matrix product; sums go from the first term on.
    pub fn matmul(&self, o: &Self) -> Self {
        Self::build(self.k, |i, j| {
            (1..self.k).fold(self[(i, 0)] * o[(0, j)], |s, l| {
                s + self[(i, l)] * o[(l, j)]
            })
        })
    }

    /// Sum.
    pub fn plus(&self, o: &Self) -> Self {
        Self::build(self.k, |i, j| self[(i, j)] + o[(i, j)])
    }

    /// Product with a vector; sums go from the first term on.
    pub fn apply(&self, v: &[T]) -> Vec<T> {
        let row = |i: usize| (1..self.k).fold(self[(i, 0)] * v[0], |s, l| s + self[(i, l)] * v[l]);
        (0..self.k).map(row).collect()
    }

    /// Column `j`.
    pub fn column(&self, j: usize) -> Vec<T> {
        (0..self.k).map(|i| self[(i, j)]).collect()
    }
}

/// Row and column of every entry of a k x k matrix, row by row.
pub fn places(k: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..k).flat_map(move |i| (0..k).map(move |j| (i, j)))
}

impl<T> Index<(usize, usize)> for Square<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, (i, j): (usize, usize)) -> &T {
        assert!(
            i < self.k && j < self.k,
            "entry ({i}, {j}) of a {0} x {0} matrix",
            self.k
        );
        &self.entries[i * self.k + j]
    }
}

impl<T> IndexMut<(usize, usize)> for Square<T> {
    #[inline(always)]
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut T {
        assert!(
            i < self.k && j < self.k,
            "entry ({i}, {j}) of a {0} x {0} matrix",
            self.k
        );
        &mut self.entries[i * self.k + j]
    }
}

impl<T> AsRef<[T]> for Square<T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: PartialEq> PartialEq for Square<T> {
    fn eq(&self, o: &Self) -> bool {
        self.as_slice() == o.as_slice()
    }
}

impl<T: Debug> Debug for Square<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rows()).finish()
    }
}

impl<const K: usize, T: Scalar + Copy> From<Mat<K, T>> for Square<T> {
    #[inline]
    fn from(m: Mat<K, T>) -> Self {
        const { assert!(K <= MOST) };
        Square::build(K, |i, j| m[(i, j)])
    }
}

/// `$body` with the constant `$K` for the number of channels `$k` known at run time: the one place
/// where the crate goes from the one to the other. Up to 4 channels, which all diffusions have, or
/// up to 6, which processes by their matrices may have; `$other` beyond.
macro_rules! by_channels {
    ($k:expr, $K:ident => $body:expr, else $other:expr) => {
        $crate::small::by_channels!(@ $k, $K, $body, $other, 1 2 3 4)
    };
    ($k:expr, up to 6, $K:ident => $body:expr, else $other:expr) => {
        $crate::small::by_channels!(@ $k, $K, $body, $other, 1 2 3 4 5 6)
    };
    (@ $k:expr, $K:ident, $body:expr, $other:expr, $($n:literal)*) => {
        match $k {
            $($n => {
                const $K: usize = $n;
                $body
            })*
            _ => $other,
        }
    };
}
pub(crate) use by_channels;

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong index in factorisation or inverse: a Hilbert matrix, whose inverse is known
    /// to be integer.
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
                // condition number 1.5e4 times double-word rounding 1e-32: exact after rounding to
                // f64
                assert_eq!(inv[(i, j)], known[i][j], "entry {i},{j}");
            }
        }
        assert!(h.times(-Dd::ONE).cholesky().is_none());
    }
}
