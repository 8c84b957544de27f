//! A matrix product for attention's small matrices, and softmax over columns.

use super::conv::BLOCK;
use super::real::{blocks, load, store};
use super::{Lane, Real, Set, Task, wide_on};

/// A matrix in a slice: element (i, j) at `i row + j column`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    /// The numbers.
    pub data: &'a [T],
    /// Distance of two rows.
    pub row: usize,
    /// Distance of two columns.
    pub column: usize,
}

struct Product<'a, T> {
    a: Matrix<'a, T>,
    b: &'a [T],
    c: &'a mut [T],
    shape: [usize; 3],
}

impl<T: Real> Task for Product<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, product_in(self));
    }
}

#[inline(always)]
fn product_in<T: Real, L: Lane<Item = T>, const V: usize>(mut p: Product<T>) {
    let mut i = 0;
    while i + 8 <= p.shape[0] {
        rows::<T, L, V, 8>(&mut p, i);
        i += 8;
    }
    while i < p.shape[0] {
        rows::<T, L, V, 1>(&mut p, i);
        i += 1;
    }
}

/// R rows from `i` on.
#[inline(always)]
fn rows<T: Real, L: Lane<Item = T>, const V: usize, const R: usize>(p: &mut Product<T>, i: usize) {
    let [_, inner, width] = p.shape;
    for j in (0..width).step_by(BLOCK) {
        let mut acc = [[L::splat(T::default()); V]; R];
        for k in 0..inner {
            let b: [L; V] = load(&p.b[k * width + j..][..BLOCK]);
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = L::splat(p.a.data[(i + r) * p.a.row + k * p.a.column]);
                for v in 0..V {
                    acc[v] = a.mul_add(b[v], acc[v]);
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate() {
            store(acc, &mut p.c[(i + r) * width + j..][..BLOCK]);
        }
    }
}

/// `c = a b`: a is `shape[0]` by `shape[1]`, b `shape[1]` by `shape[2]` and c `shape[0]` by `shape[2]`, both row by row; `shape[2]` a
/// multiple of 16. One chain of multiply-adds per element. Panics on slices that the shape does not fit.
pub fn product<T: Real>(set: Set, shape: [usize; 3], a: Matrix<T>, b: &[T], c: &mut [T]) {
    let [rows, inner, width] = shape;
    assert!(rows > 0 && inner > 0 && width.is_multiple_of(BLOCK), "shapes of a product");
    assert!(
        a.data.len() > (rows - 1) * a.row + (inner - 1) * a.column && b.len() >= inner * width && c.len() >= rows * width,
        "shapes of a product"
    );
    wide_on(set, Product { a, b, c, shape });
}

struct Softmax<'a, T> {
    s: &'a mut [T],
    rows: usize,
    width: usize,
}

impl<T: Real> Task for Softmax<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, softmax_in(self));
    }
}

#[inline(always)]
fn softmax_in<T: Real, L: Lane<Item = T>, const V: usize>(f: Softmax<T>) {
    let Softmax { s, rows, width } = f;
    for j in (0..width).step_by(BLOCK) {
        let mut most: [L; V] = load(&s[j..]);
        for i in 1..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            most = std::array::from_fn(|v| L::select(most[v].lt(x[v]), x[v], most[v]));
        }
        let mut sum = [L::splat(T::default()); V];
        for i in 0..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            let e: [L; V] = std::array::from_fn(|v| T::exp(x[v] - most[v]));
            sum = std::array::from_fn(|v| sum[v] + e[v]);
            store(e, &mut s[i * width + j..]);
        }
        let one = L::splat(T::of(1.0));
        let over: [L; V] = std::array::from_fn(|v| one / sum[v]);
        for i in 0..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            store::<L, V>(std::array::from_fn(|v| x[v] * over[v]), &mut s[i * width + j..]);
        }
    }
}

/// `e^s / sum over rows of e^s`, column by column, in place; `width` a multiple of 16. Panics on a slice of another length.
pub fn softmax<T: Real>(set: Set, s: &mut [T], rows: usize, width: usize) {
    assert!(rows > 0 && width.is_multiple_of(BLOCK) && s.len() == rows * width, "shape of a softmax");
    wide_on(set, Softmax { s, rows, width });
}

struct SoftmaxBack<'a, T> {
    a: &'a [T],
    d: &'a mut [T],
    rows: usize,
    width: usize,
}

impl<T: Real> Task for SoftmaxBack<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, softmax_back_in(self));
    }
}

#[inline(always)]
fn softmax_back_in<T: Real, L: Lane<Item = T>, const V: usize>(f: SoftmaxBack<T>) {
    let SoftmaxBack { a, d, rows, width } = f;
    for j in (0..width).step_by(BLOCK) {
        let mut sum = [L::splat(T::default()); V];
        for i in 0..rows {
            let (a, d): ([L; V], [L; V]) = (load(&a[i * width + j..]), load(&d[i * width + j..]));
            sum = std::array::from_fn(|v| a[v].mul_add(d[v], sum[v]));
        }
        for i in 0..rows {
            let (a, d0): ([L; V], [L; V]) = (load(&a[i * width + j..]), load(&d[i * width + j..]));
            store::<L, V>(std::array::from_fn(|v| a[v] * (d0[v] - sum[v])), &mut d[i * width + j..]);
        }
    }
}

/// The gradient through [`softmax`], in place: `a (d - sum over rows of a d)`, a its output. Panics on slices of other lengths.
pub fn softmax_back<T: Real>(set: Set, a: &[T], d: &mut [T], rows: usize, width: usize) {
    assert!(rows > 0 && width.is_multiple_of(BLOCK) && a.len() == rows * width && d.len() == a.len(), "shape of a softmax");
    wide_on(set, SoftmaxBack { a, d, rows, width });
}
