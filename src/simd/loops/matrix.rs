//! A matrix product for attention's small matrices, and softmax over columns.

use super::conv::BLOCK;
use super::float::{Float, blocks, compiled, each, load, store};
use crate::simd::{Lane, Set, Task};

compiled!(Products, matrix, Float, {
    product: Product<'a, T>,
    softmax: Softmax<'a, T>,
    softmax_back: SoftmaxBack<'a, T>,
});

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

pub(super) struct Product<'a, T> {
    a: Matrix<'a, T>,
    b: &'a [T],
    c: &'a mut [T],
    shape: [usize; 3],
}

impl<T: Float> Task for Product<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, product_in(self));
    }
}

#[inline(always)]
fn product_in<T: Float, L: Lane<Item = T>, const V: usize>(mut p: Product<T>) {
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
fn rows<T: Float, L: Lane<Item = T>, const V: usize, const R: usize>(p: &mut Product<T>, i: usize) {
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
        for (r, acc) in acc.iter().enumerate() {
            store(*acc, &mut p.c[(i + r) * width + j..][..BLOCK]);
        }
    }
}

/// `c = a b`: a is `shape[0]` by `shape[1]`, b `shape[1]` by `shape[2]` and c `shape[0]` by
/// `shape[2]`, both row by row; `shape[2]` a multiple of 16. One chain of multiply-adds per
/// element. Panics on slices that the shape does not fit.
pub fn product<T: Products>(set: Set, shape: [usize; 3], a: Matrix<T>, b: &[T], c: &mut [T]) {
    let [rows, inner, width] = shape;
    assert!(
        rows > 0 && inner > 0 && width.is_multiple_of(BLOCK),
        "shapes of a product"
    );
    assert!(
        a.data.len() > (rows - 1) * a.row + (inner - 1) * a.column
            && b.len() >= inner * width
            && c.len() >= rows * width,
        "shapes of a product"
    );
    (T::matrix().product)(set, Product { a, b, c, shape });
}

pub(super) struct Softmax<'a, T> {
    s: &'a mut [T],
    rows: usize,
    width: usize,
}

impl<T: Float> Task for Softmax<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, softmax_in(self));
    }
}

#[inline(always)]
fn softmax_in<T: Float, L: Lane<Item = T>, const V: usize>(f: Softmax<T>) {
    let Softmax { s, rows, width } = f;
    for j in (0..width).step_by(BLOCK) {
        let mut most: [L; V] = load(&s[j..]);
        for i in 1..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            most = each(|v| L::select(most[v].lt(x[v]), x[v], most[v]));
        }
        let mut sum = [L::splat(T::default()); V];
        for i in 0..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            let e: [L; V] = each(|v| T::exp(x[v] - most[v]));
            sum = each(|v| sum[v] + e[v]);
            store(e, &mut s[i * width + j..]);
        }
        let one = L::splat(T::of(1.0));
        let over: [L; V] = each(|v| one / sum[v]);
        for i in 0..rows {
            let x: [L; V] = load(&s[i * width + j..]);
            store::<L, V>(each(|v| x[v] * over[v]), &mut s[i * width + j..]);
        }
    }
}

/// `e^s / sum over rows of e^s`, column by column, in place; `width` a multiple of 16. Panics on a
/// slice of another length.
pub fn softmax<T: Products>(set: Set, s: &mut [T], rows: usize, width: usize) {
    assert!(
        rows > 0 && width.is_multiple_of(BLOCK) && s.len() == rows * width,
        "shape of a softmax"
    );
    (T::matrix().softmax)(set, Softmax { s, rows, width });
}

pub(super) struct SoftmaxBack<'a, T> {
    a: &'a [T],
    d: &'a mut [T],
    rows: usize,
    width: usize,
}

impl<T: Float> Task for SoftmaxBack<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, softmax_back_in(self));
    }
}

#[inline(always)]
fn softmax_back_in<T: Float, L: Lane<Item = T>, const V: usize>(f: SoftmaxBack<T>) {
    let SoftmaxBack { a, d, rows, width } = f;
    for j in (0..width).step_by(BLOCK) {
        let mut sum = [L::splat(T::default()); V];
        for i in 0..rows {
            let (a, d): ([L; V], [L; V]) = (load(&a[i * width + j..]), load(&d[i * width + j..]));
            sum = each(|v| a[v].mul_add(d[v], sum[v]));
        }
        for i in 0..rows {
            let (a, d0): ([L; V], [L; V]) = (load(&a[i * width + j..]), load(&d[i * width + j..]));
            store::<L, V>(each(|v| a[v] * (d0[v] - sum[v])), &mut d[i * width + j..]);
        }
    }
}

/// The gradient through [`softmax`], in place: `a (d - sum over rows of a d)`, a its output. Panics
/// on slices of other lengths.
pub fn softmax_back<T: Products>(set: Set, a: &[T], d: &mut [T], rows: usize, width: usize) {
    assert!(
        rows > 0 && width.is_multiple_of(BLOCK) && a.len() == rows * width && d.len() == a.len(),
        "shape of a softmax"
    );
    (T::matrix().softmax_back)(set, SoftmaxBack { a, d, rows, width });
}

#[cfg(test)]
mod tests {
    use super::super::tensors::*;
    use super::*;

    /// Runs on all sets, which must give the same bits, and returns what came out.
    fn on_all<T: Products>(run: impl Fn(Set) -> Vec<T>) -> Vec<T> {
        let scalar = run(Set::Scalar);
        for set in sets() {
            assert!(bits(&run(set)) == bits(&scalar), "{}", set.name());
        }
        scalar
    }

    /// A chain of `inner` multiply-adds, and the definition's.
    fn products<T: Products>() {
        for rows in if cfg!(miri) {
            vec![1, 9]
        } else {
            vec![1, 2, 7, 8, 9, 17]
        } {
            for inner in if cfg!(miri) {
                vec![1, 3]
            } else {
                vec![1, 3, 16, 40]
            } {
                for width in [16, 32, 48] {
                    let (a, b) = (
                        numbers::<T>(2 * rows * inner, 1),
                        numbers::<T>(inner * width, 2),
                    );
                    // row by row, transposed, and every second column of a larger matrix
                    for (row, column) in [(inner, 1), (1, rows), (2 * inner, 2)] {
                        let c = on_all(|set| {
                            let mut c = vec![T::of(KEPT); rows * width + 3];
                            product(
                                set,
                                [rows, inner, width],
                                Matrix {
                                    data: &a,
                                    row,
                                    column,
                                },
                                &b,
                                &mut c,
                            );
                            c
                        });
                        for (i, j) in (0..rows).flat_map(|i| (0..width).map(move |j| (i, j))) {
                            let term =
                                |k: usize| a[i * row + k * column].f64() * b[k * width + j].f64();
                            let (sum, size): (f64, f64) = (
                                (0..inner).map(term).sum(),
                                (0..inner).map(|k| term(k).abs()).sum(),
                            );
                            let bound = 1.01
                                * (inner as f64 * T::ROUNDOFF + (inner + 1) as f64 * U64)
                                * size;
                            assert!(
                                (c[i * width + j].f64() - sum).abs() <= bound,
                                "{rows} {inner} {width} {i} {j}"
                            );
                        }
                        assert!(c[rows * width..].iter().all(|c| c.f64() == KEPT));
                    }
                }
            }
        }
    }

    /// Catches a wrong stride of either matrix, rows beyond the eights, blocks beyond the first,
    /// and numbers written beyond the end.
    #[test]
    fn products_are_the_definition() {
        products::<f32>();
        products::<f64>();
    }

    const SHAPES: [(usize, usize); 8] = [
        (1, 16),
        (2, 16),
        (3, 32),
        (7, 48),
        (8, 16),
        (16, 32),
        (49, 48),
        (64, 64),
    ];

    /// Softmax and its gradient. Bounds, first order, a hundredth for the rest: `x - most` errs by
    /// `u |x - most|`, which becomes relative in the exponential, itself within 4 u; the sum of
    /// positive terms by a rounding for each; quotient and product by one each. Below e^-87 (f32)
    /// and e^-708 the exponential is that, less than 2e-38 and 4e-308, per row.
    fn softmaxes<T: Products>(factor: f64) {
        let (u, least) = (
            1.01 * (T::ROUNDOFF + U64),
            if T::ROUNDOFF > 1e-10 { 2e-38 } else { 4e-308 },
        );
        for (rows, width) in SHAPES
            .into_iter()
            .filter(|(rows, _)| *rows < 10 || !cfg!(miri))
        {
            let s: Vec<T> = numbers::<T>(rows * width, 1)
                .iter()
                .map(|x| T::of(x.f64() * factor))
                .collect();
            let d = numbers::<T>(rows * width, 2);
            let a = on_all(|set| {
                let mut a = s.clone();
                softmax(set, &mut a, rows, width);
                a
            });
            let back = on_all(|set| {
                let mut d = d.clone();
                softmax_back(set, &a, &mut d, rows, width);
                d
            });
            for j in 0..width {
                let column = |of: &[T]| {
                    (0..rows)
                        .map(|i| of[i * width + j].f64())
                        .collect::<Vec<f64>>()
                };
                let (s, a, d, back) = (column(&s), column(&a), column(&d), column(&back));
                let most = s.iter().fold(f64::NEG_INFINITY, |m, s| m.max(*s));
                let e: Vec<f64> = s.iter().map(|s| (s - most).exp()).collect();
                let sum: f64 = e.iter().sum();
                let relative = |i: usize| u * ((s[i] - most).abs() + 4.0);
                let of_sum: f64 = (0..rows).map(|k| relative(k) * e[k] / sum).sum::<f64>()
                    + u * (rows as f64 + 2.0);
                for i in 0..rows {
                    let want = e[i] / sum;
                    let bound = want * (relative(i) + of_sum) + (rows + 1) as f64 * least;
                    assert!(
                        (a[i] - want).abs() <= bound,
                        "{rows} {width} {i} {j}: {} for {want}",
                        a[i]
                    );
                }
                // the gradient, from the very a
                let dot: f64 = (0..rows).map(|k| a[k] * d[k]).sum();
                let size: f64 = (0..rows).map(|k| (a[k] * d[k]).abs()).sum();
                for i in 0..rows {
                    let want = a[i] * (d[i] - dot);
                    let bound = u * (a[i] * (rows as f64 + 1.0) * size + 2.0 * want.abs());
                    assert!(
                        (back[i] - want).abs() <= bound + least,
                        "{rows} {width} {i} {j}: {} for {want}",
                        back[i]
                    );
                }
            }
        }
    }

    /// Catches a maximum, sum or quotient of another column, an exponential that overflows.
    #[test]
    fn softmax_is_its_definition() {
        for factor in [1.0, 20.0, 1e4, 1e30] {
            softmaxes::<f32>(factor);
            softmaxes::<f64>(factor);
        }
    }

    /// Catches a gradient that is not that of the loop: central differences in f64 of <d,
    /// softmax(s)>. h = 1e-5 leaves about h^2 = 1e-10 and 1e-16 / h = 1e-11 of the largest
    /// gradient.
    #[test]
    fn gradients_are_central_differences() {
        let (rows, width, h) = (5, 16, 1e-5);
        let (s, d) = (
            numbers::<f64>(rows * width, 1),
            numbers::<f64>(rows * width, 2),
        );
        let through = |s: Vec<f64>| {
            let mut a = s;
            softmax(Set::current(), &mut a, rows, width);
            a
        };
        let loss = |at: usize, by: f64| {
            let mut s = s.clone();
            s[at] += by;
            through(s).iter().zip(&d).map(|(a, d)| a * d).sum::<f64>()
        };
        let mut gradient = d.clone();
        softmax_back(
            Set::current(),
            &through(s.clone()),
            &mut gradient,
            rows,
            width,
        );
        let most = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
        for at in 0..rows * width {
            assert!(
                ((loss(at, h) - loss(at, -h)) / (2.0 * h) - gradient[at]).abs() <= 1e-7 * most,
                "{at}"
            );
        }
    }

    /// Catches a slice or a shape that does not fit and is taken nevertheless.
    #[test]
    fn what_does_not_fit_is_refused() {
        let (set, z) = (Set::current(), vec![0f32; 256]);
        let run = |shape: [usize; 3], a: usize, row: usize, column: usize, b: usize, c: usize| {
            product(
                set,
                shape,
                Matrix {
                    data: &z[..a],
                    row,
                    column,
                },
                &z[..b],
                &mut vec![0f32; c],
            );
        };
        run([3, 2, 16], 6, 2, 1, 32, 48);
        let huge = 1 << 63;
        refused(vec![
            ("short a", Box::new(|| run([3, 2, 16], 5, 2, 1, 32, 48))),
            ("short b", Box::new(|| run([3, 2, 16], 6, 2, 1, 31, 48))),
            ("short c", Box::new(|| run([3, 2, 16], 6, 2, 1, 32, 47))),
            ("no rows", Box::new(|| run([0, 2, 16], 6, 2, 1, 32, 48))),
            (
                "nothing to sum",
                Box::new(|| run([3, 0, 16], 6, 2, 1, 32, 48)),
            ),
            ("half a block", Box::new(|| run([3, 2, 8], 6, 2, 1, 32, 48))),
            (
                "rows that overflow",
                Box::new(|| run([3, 2, 16], 6, huge, 1, 32, 48)),
            ),
            (
                "columns that overflow",
                Box::new(|| run([3, 3, 16], 6, 2, huge, 48, 48)),
            ),
            (
                "width that overflows",
                Box::new(|| run([2, 2, huge], 6, 2, 1, 32, 48)),
            ),
            (
                "short softmax",
                Box::new(|| softmax(set, &mut [0f32; 31], 2, 16)),
            ),
            (
                "softmax of no rows",
                Box::new(|| softmax(set, &mut [0f32; 0], 0, 16)),
            ),
            (
                "softmax of half a block",
                Box::new(|| softmax(set, &mut [0f32; 16], 2, 8)),
            ),
            (
                "softmax that overflows",
                Box::new(|| softmax(set, &mut [0f32; 0], 16, 1 << 60)),
            ),
            (
                "short gradient",
                Box::new(|| softmax_back(set, &z[..32], &mut [0f32; 31], 2, 16)),
            ),
            (
                "short softmax of a gradient",
                Box::new(|| softmax_back(set, &z[..31], &mut [0f32; 32], 2, 16)),
            ),
        ]);
    }
}
