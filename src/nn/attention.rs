//! Attention: one head over all pixels of an image.

use super::graph::{Buffers, Gradients, Id, Layer};
use crate::simd::loops::conv::{BLOCK, Images};
use crate::simd::loops::matrix::{Matrix, product, softmax, softmax_back};
use crate::simd::{Real, Set};

/// With queries, keys and values of c channels at N pixels: `y_p = sum_j a_jp v_j`,
/// `a_jp = softmax over j of k_j . q_p / sqrt c`. Formula: nn.attention. Source: Vaswani et
/// al. 2017.
///
/// Queries stand in columns, N of them rounded up to 16: what fills up is 0, and so are its
/// gradients.
pub(super) struct Attention {
    pub qkv: Id,
    pub y: Id,
}

/// Sizes: channels, pixels, and these rounded up.
#[derive(Clone, Copy)]
struct Size {
    c: usize,
    n: usize,
    wide: usize,
}

/// A tensor's channels `first ..` of image `n` as a matrix (pixel, channel).
fn pixels<T: Real>(x: &[T], s: Images, image: usize, first: usize, z: Size, out: &mut [T]) {
    for p in 0..z.n {
        for c in (0..z.c).step_by(BLOCK) {
            let at = s.at(image, first + c, p / s.width, p % s.width);
            out[p * z.c + c..][..BLOCK].copy_from_slice(&x[at..at + BLOCK]);
        }
    }
}

fn transpose<T: Real>(
    x: &[T],
    rows: usize,
    columns: usize,
    wide: usize,
    factor: f64,
    out: &mut [T],
) {
    for r in 0..rows {
        for c in 0..columns {
            out[c * wide + r] = T::of(factor * x[r * columns + c].f64());
        }
    }
}

/// Buffers of one layer.
const Q: usize = 1;
const K: usize = 2;
const V: usize = 3;

impl Attention {
    fn size<T: Real>(&self, b: &Buffers<T>) -> Size {
        let s = b.images(self.y);
        let n = s.height * s.width;
        Size {
            c: s.channels,
            n,
            wide: n.next_multiple_of(BLOCK),
        }
    }
}

impl<T: Real> Layer<T> for Attention {
    fn name(&self) -> String {
        "attention".into()
    }

    fn inputs(&self) -> Vec<Id> {
        vec![self.qkv]
    }

    fn output(&self) -> Id {
        self.y
    }

    fn own(&self, b: &Buffers<T>) -> Vec<usize> {
        let z = self.size(b);
        let (matrix, square) = (z.wide * z.c, z.n * z.wide);
        vec![
            b.n * square,
            matrix,
            matrix,
            matrix,
            matrix,
            matrix,
            square,
            matrix,
        ]
    }

    fn flop(&self, b: &Buffers<T>) -> f64 {
        let z = self.size(b);
        4.0 * (z.n * z.n * z.c) as f64
    }

    fn forward(&self, _: &[T], b: &mut Buffers<T>, own: &mut [Vec<T>]) {
        let (z, xs, ys, set) = (self.size(b), b.images(self.qkv), b.images(self.y), b.set);
        let square = z.n * z.wide;
        b.with_value(self.y, |b, y| {
            let x = b.value(self.qkv);
            for n in 0..ys.n {
                load(x, xs, n, z, own);
                transposed_queries(z, own);
                let [a, _, k, v, t1, t2, ..] = own else {
                    unreachable!("eight buffers, as `own` says")
                };
                let a = &mut a[n * square..][..square];
                product(
                    set,
                    [z.n, z.c, z.wide],
                    Matrix {
                        data: k,
                        row: z.c,
                        column: 1,
                    },
                    t1,
                    a,
                );
                softmax(set, a, z.n, z.wide);
                // (channel, pixel), and back into blocks
                product(
                    set,
                    [z.c, z.n, z.wide],
                    Matrix {
                        data: v,
                        row: 1,
                        column: z.c,
                    },
                    a,
                    t2,
                );
                for p in 0..z.n {
                    for c in 0..z.c {
                        y[ys.at(n, c, p / ys.width, p % ys.width)] = t2[c * z.wide + p];
                    }
                }
            }
        });
    }

    fn backward(
        &self,
        _: &[T],
        _: &[T],
        b: &mut Buffers<T>,
        own: &mut [Vec<T>],
        first: &[bool],
        _: &mut Gradients<T>,
    ) {
        let (z, xs, ys, set) = (self.size(b), b.images(self.qkv), b.images(self.y), b.set);
        b.with_gradient(self.qkv, |b, dx| {
            let (x, dy) = (b.value(self.qkv), b.gradient(self.y));
            for n in 0..ys.n {
                load(x, xs, n, z, own);
                self.image(set, dy, ys, n, z, own);
                let mut give = |part: usize, m: &[T]| {
                    for p in 0..z.n {
                        for c in 0..z.c {
                            let d = &mut dx[xs.at(n, part * z.c + c, p / xs.width, p % xs.width)];
                            *d = if first[0] {
                                m[p * z.c + c]
                            } else {
                                T::of(d.f64() + m[p * z.c + c].f64())
                            };
                        }
                    }
                };
                give(0, &own[Q]);
                give(1, &own[K]);
                give(2, &own[V]);
            }
        });
    }
}

/// Queries, keys and values of an image.
fn load<T: Real>(x: &[T], xs: Images, n: usize, z: Size, own: &mut [Vec<T>]) {
    for (i, part) in [Q, K, V].into_iter().enumerate() {
        pixels(x, xs, n, i * z.c, z, &mut own[part]);
    }
}

/// `q^T / sqrt c`, into T1.
fn transposed_queries<T: Real>(z: Size, own: &mut [Vec<T>]) {
    let [_, q, _, _, t1, ..] = own else {
        unreachable!("eight buffers, as `own` says")
    };
    t1.fill(T::default());
    transpose(q, z.n, z.c, z.wide, 1.0 / (z.c as f64).sqrt(), t1);
}

impl Attention {
    /// Gradients of queries, keys and values of image `n`, in place of these.
    fn image<T: Real>(
        &self,
        set: Set,
        dy: &[T],
        ys: Images,
        n: usize,
        z: Size,
        own: &mut [Vec<T>],
    ) {
        let square = z.n * z.wide;
        let scale = 1.0 / (z.c as f64).sqrt();
        let [a, q, k, v, t1, t2, s, d] = own else {
            unreachable!("eight buffers, as `own` says")
        };
        let a = &a[n * square..][..square];
        // dy as (pixel, channel) and as (channel, pixel)
        pixels(dy, ys, n, 0, z, d);
        t1.fill(T::default());
        transpose(d, z.n, z.c, z.wide, 1.0, t1);
        // ds = a (da - sum a da), da_jp = v_j . dy_p
        product(
            set,
            [z.n, z.c, z.wide],
            Matrix {
                data: v,
                row: z.c,
                column: 1,
            },
            t1,
            s,
        );
        softmax_back(set, a, s, z.n, z.wide);
        // dv_j = sum_p a_jp dy_p
        product(
            set,
            [z.n, z.n, z.c],
            Matrix {
                data: a,
                row: z.wide,
                column: 1,
            },
            d,
            v,
        );
        // dk_j = sum_p ds_jp q_p / sqrt c, dq_p = sum_j ds_jp k_j / sqrt c
        product(
            set,
            [z.n, z.n, z.c],
            Matrix {
                data: s,
                row: z.wide,
                column: 1,
            },
            q,
            t2,
        );
        product(
            set,
            [z.n, z.n, z.c],
            Matrix {
                data: s,
                row: 1,
                column: z.wide,
            },
            k,
            d,
        );
        for (to, from) in [(k, t2), (q, d)] {
            to.iter_mut()
                .zip(&*from)
                .for_each(|(t, f)| *t = T::of(scale * f.f64()));
        }
    }
}
