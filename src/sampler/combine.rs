//! The one loop that steppers are made of: linear combinations of slices, in one pass over memory.

use crate::simd;
use crate::small::{MOST, Square};
use std::ops::Deref;

/// Values per tile: what is read and written again stays in the first-level cache.
const TILE: usize = 256;

/// The channels of a state as shared slices, without allocation.
pub struct View<'a> {
    slices: [&'a [f64]; MOST],
    k: usize,
}

impl<'a> View<'a> {
    /// Of the channels `u`, at most six.
    pub fn of(u: &'a [&mut [f64]]) -> View<'a> {
        let mut slices: [&[f64]; MOST] = [&[]; MOST];
        for (s, c) in slices.iter_mut().zip(u) {
            *s = c;
        }
        View {
            slices,
            k: u.len().min(MOST),
        }
    }

    /// Of vectors, at most six.
    pub fn of_vecs(u: &'a [Vec<f64>]) -> View<'a> {
        let mut slices: [&[f64]; MOST] = [&[]; MOST];
        for (s, c) in slices.iter_mut().zip(u) {
            *s = c;
        }
        View {
            slices,
            k: u.len().min(MOST),
        }
    }
}

impl<'a> Deref for View<'a> {
    type Target = [&'a [f64]];
    fn deref(&self) -> &[&'a [f64]] {
        &self.slices[..self.k]
    }
}

/// `u_i <- sum_j a_ij u_j + sum_m c[i m_max + m] inputs[m]` for all K channels at once. Terms with
/// coefficient 0 are skipped, so that an input may hold rubbish there.
///
/// Panics on slices shorter than the first channel.
pub fn update(u: &mut [&mut [f64]], a: &Square, inputs: &[&[f64]], c: &[f64]) {
    let (k, m) = (u.len().min(MOST), inputs.len());
    let n = u.first().map_or(0, |s| s.len());
    simd::single_call(
        #[inline(always)]
        || {
            let mut new = [[0.0; TILE]; MOST];
            for start in (0..n).step_by(TILE) {
                let end = n.min(start + TILE);
                let len = end - start;
                for i in 0..k {
                    let acc = &mut new[i][..len];
                    acc.fill(0.0);
                    for j in 0..k {
                        add(acc, a[(i, j)], &u[j][start..end]);
                    }
                    for l in 0..m {
                        add(acc, c[i * m + l], &inputs[l][start..end]);
                    }
                }
                for (channel, new) in u.iter_mut().zip(&new) {
                    channel[start..end].copy_from_slice(&new[..len]);
                }
            }
        },
    );
}

/// `out <- sum of coefficient times slice`; `out` is overwritten. Terms with coefficient 0 are
/// skipped.
///
/// Panics on slices shorter than `out`.
pub fn combine(out: &mut [f64], terms: &[(f64, &[f64])]) {
    simd::single_call(
        #[inline(always)]
        || {
            for start in (0..out.len()).step_by(TILE) {
                let end = out.len().min(start + TILE);
                let acc = &mut out[start..end];
                acc.fill(0.0);
                for (c, s) in terms {
                    add(acc, *c, &s[start..end]);
                }
            }
        },
    );
}

/// `out <- out + c s`. Panics on `s` shorter than `out`.
pub fn add_to(out: &mut [f64], c: f64, s: &[f64]) {
    simd::single_call(
        #[inline(always)]
        || add(out, c, &s[..out.len()]),
    );
}

#[inline(always)]
fn add(acc: &mut [f64], c: f64, s: &[f64]) {
    if c != 0.0 {
        for (o, x) in acc.iter_mut().zip(s) {
            *o += c * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::Mat;

    /// Catches a transposed matrix, a channel updated before another has read it, and a tile's
    /// edge: integers, so exact.
    #[test]
    fn updates_are_simultaneous() {
        for n in [0, 1, TILE - 1, TILE, TILE + 1, 3 * TILE + 7] {
            let mut x: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let mut v: Vec<f64> = (0..n).map(|i| 2.0 - i as f64).collect();
            let e: Vec<f64> = (0..n).map(|i| (i % 5) as f64).collect();
            let rubbish = vec![f64::NAN; n];
            update(
                &mut [&mut x, &mut v],
                &Mat([[2.0, 3.0], [-1.0, 5.0]]).into(),
                &[&e, &rubbish],
                &[7.0, 0.0, 11.0, 0.0],
            );
            for i in 0..n {
                let (a, b, c) = (i as f64, 2.0 - i as f64, (i % 5) as f64);
                assert_eq!(
                    (x[i], v[i]),
                    (2.0 * a + 3.0 * b + 7.0 * c, -a + 5.0 * b + 11.0 * c)
                );
            }
            combine(&mut x, &[(2.0, &v), (0.0, &rubbish), (-1.0, &e)]);
            assert!((0..n).all(|i| x[i] == 2.0 * v[i] - e[i]));
        }
    }
}
