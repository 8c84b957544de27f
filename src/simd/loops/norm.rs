//! Group normalisation, with SiLU after it, forward and backward.
//!
//! ```text
//! z = weight (x - mean) rstd + bias      mean, rstd = 1 / sqrt(variance + eps) over a group's channels and pixels
//! y = z  or  z sigmoid(z)
//! ```
//! Formula: nn.group_norm. Source: Wu and He 2018; SiLU: Elfwing, Uchibe, Doya 2018.
//!
//! Sums run over pixels, four by four, channel by channel; channels are added to groups in f64, so
//! groups need not be whole blocks and all instruction sets give the same bits. The variance is
//! that of `x - mean`, in a second pass: nothing cancels. A sum's chain has at most
//! `height width / 4 + 4` roundings.

use super::conv::{BLOCK, Images};
use super::float::{Float, blocks, compiled, each, load, sigmoid, store};
use crate::simd::{Lane, Set, Task};
use std::ops::Range;

compiled!(Norms, norm, Float, {
    forward: Forward<'a, T>,
    backward: Backward<'a, T>,
});

/// Added to the variance of a group, as is usual.
pub const EPS: f64 = 1e-5;

/// A group norm: shapes, groups, whether SiLU follows.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// What goes in.
    pub input: Images,
    /// What comes out: the same pixels and channels, perhaps with another image stride.
    pub output: Images,
    /// Groups of channels.
    pub groups: usize,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Norm {
    /// `None` unless the shapes agree and have pixels, the groups divide the channels, and these
    /// are at most [`MOST`].
    pub fn new(input: Images, output: Images, groups: usize, silu: bool) -> Option<Norm> {
        let same = Images { stride: 0, ..input }
            == Images {
                stride: 0,
                ..output
            };
        let most = isize::MAX as usize; // what overflows fits in nothing
        (same
            && groups > 0
            && input.channels <= MOST
            && input.channels.is_multiple_of(groups)
            && input.fits(most)
            && output.fits(most))
        .then_some(Norm {
            input,
            output,
            groups,
            silu,
        })
    }

    /// Numbers that the forward pass saves for the backward one: mean and rstd of every channel of
    /// every image.
    pub fn saved(&self) -> usize {
        2 * self.input.n * self.input.channels
    }

    /// Writes `y` and what the backward pass needs. Panics on slices that the shapes do not fit.
    pub fn forward<T: Norms>(
        &self,
        x: &[T],
        weight: &[T],
        bias: &[T],
        saved: &mut [T],
        y: &mut [T],
    ) {
        self.forward_on(Set::current(), x, weight, bias, saved, y);
    }

    /// [`forward`](Self::forward) on a given set.
    pub fn forward_on<T: Norms>(
        &self,
        set: Set,
        x: &[T],
        weight: &[T],
        bias: &[T],
        saved: &mut [T],
        y: &mut [T],
    ) {
        self.check(x.len(), y.len(), weight.len(), bias.len(), saved.len());
        (T::norm().forward)(
            set,
            Forward {
                norm: *self,
                x,
                weight,
                bias,
                saved,
                y,
            },
        );
    }

    /// From `dy`, which it overwrites, the gradients: writes `dx` or adds to it; adds to those of
    /// weight and bias. Panics likewise.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<T: Norms>(
        &self,
        x: &[T],
        weight: &[T],
        bias: &[T],
        saved: &[T],
        dy: &mut [T],
        dx: &mut [T],
        add: bool,
        gradients: [&mut [T]; 2],
    ) {
        self.backward_on(
            Set::current(),
            x,
            weight,
            bias,
            saved,
            dy,
            dx,
            add,
            gradients,
        );
    }

    /// [`backward`](Self::backward) on a given set.
    #[allow(clippy::too_many_arguments)]
    pub fn backward_on<T: Norms>(
        &self,
        set: Set,
        x: &[T],
        weight: &[T],
        bias: &[T],
        saved: &[T],
        dy: &mut [T],
        dx: &mut [T],
        add: bool,
        gradients: [&mut [T]; 2],
    ) {
        self.check(
            x.len().min(dx.len()),
            dy.len(),
            weight.len(),
            bias.len(),
            saved.len(),
        );
        assert!(
            gradients.iter().all(|g| g.len() == weight.len()),
            "gradients of a norm"
        );
        (T::norm().backward)(
            set,
            Backward {
                norm: *self,
                x,
                weight,
                bias,
                saved,
                dy,
                dx,
                add,
                gradients,
            },
        );
    }

    fn check(&self, x: usize, y: usize, weight: usize, bias: usize, saved: usize) {
        let c = self.input.channels;
        assert!(
            Norm::new(self.input, self.output, self.groups, self.silu).is_some(),
            "shapes of a norm"
        );
        assert!(
            self.input.fits(x)
                && self.output.fits(y)
                && weight == c
                && bias == c
                && saved == self.saved(),
            "shapes of a norm"
        );
    }

    /// The channels of each group.
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = Range<usize>> {
        let size = self.input.channels / self.groups;
        (0..self.groups).map(move |g| g * size..(g + 1) * size)
    }
}

/// Most channels that the loops' own sums have room for: they are on the stack.
pub const MOST: usize = 1024;

/// Sums over the pixels of a block of `f(place of the pixel's vector v, v)`, four chains at a time.
#[inline(always)]
fn sums<L: Lane, const V: usize, const N: usize>(
    s: &Images,
    at: usize,
    zero: L,
    mut f: impl FnMut(usize, usize) -> [L; N],
) -> [[L; V]; N] {
    let mut acc = [[[zero; V]; N]; 4];
    for y in 0..s.height {
        let row = at + (y + 1) * s.row() + BLOCK;
        // the chain's number must be known to the compiler, or the sums would be in memory: the
        // inner loop is unrolled
        for x in (0..s.width).step_by(4) {
            for chain in 0..4 {
                if x + chain >= s.width {
                    break;
                }
                for v in 0..V {
                    let values = f(row + (x + chain) * BLOCK + v * L::WIDTH, v);
                    for i in 0..N {
                        acc[chain][i][v] = acc[chain][i][v] + values[i];
                    }
                }
            }
        }
    }
    each(|i| each(|v| (acc[0][i][v] + acc[1][i][v]) + (acc[2][i][v] + acc[3][i][v])))
}

pub(super) struct Forward<'a, T> {
    norm: Norm,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    saved: &'a mut [T],
    y: &'a mut [T],
}

impl<T: Float> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, forward(self));
    }
}

#[inline(always)]
fn forward<T: Float, L: Lane<Item = T>, const V: usize>(f: Forward<T>) {
    let Forward {
        norm,
        x,
        weight,
        bias,
        saved,
        y,
    } = f;
    let (s, zero) = (norm.input, L::splat(T::default()));
    let count = (s.height * s.width * s.channels / norm.groups) as f64;
    for n in 0..s.n {
        let (mean, rstd) = saved[2 * n * s.channels..][..2 * s.channels].split_at_mut(s.channels);
        let block = |b: usize| n * s.stride + b * s.plane();
        for b in 0..s.blocks() {
            let [sum] = sums::<L, V, 1>(&s, block(b), zero, |at, _| [L::load(&x[at..])]);
            store(sum, &mut rstd[b * BLOCK..]);
        }
        for c in norm.each() {
            let sum: f64 = rstd[c.clone()].iter().map(|x| x.f64()).sum();
            mean[c].fill(T::of(sum / count));
        }
        for b in 0..s.blocks() {
            let m = load::<L, V>(&mean[b * BLOCK..]);
            let [sum] = sums::<L, V, 1>(&s, block(b), zero, |at, v| {
                let d = L::load(&x[at..]) - m[v];
                [d * d]
            });
            store(sum, &mut rstd[b * BLOCK..]);
        }
        for c in norm.each() {
            let sum: f64 = rstd[c.clone()].iter().map(|x| x.f64()).sum();
            rstd[c].fill(T::of(1.0 / (sum / count + EPS).sqrt()));
        }
        for b in 0..s.blocks() {
            let (m, w, r) = (
                load::<L, V>(&mean[b * BLOCK..]),
                load::<L, V>(&weight[b * BLOCK..]),
                load::<L, V>(&rstd[b * BLOCK..]),
            );
            let (a, shift) = (
                each::<L, V>(|v| w[v] * r[v]),
                load::<L, V>(&bias[b * BLOCK..]),
            );
            for py in 0..s.height {
                let from = &x[s.at(n, b * BLOCK, py, 0)..][..s.width * BLOCK];
                let to = &mut y[norm.output.at(n, b * BLOCK, py, 0)..][..s.width * BLOCK];
                for p in 0..s.width {
                    for v in 0..V {
                        let at = p * BLOCK + v * L::WIDTH;
                        let z = (L::load(&from[at..]) - m[v]).mul_add(a[v], shift[v]);
                        let out = if norm.silu { z * sigmoid(z) } else { z };
                        out.store(&mut to[at..]);
                    }
                }
            }
        }
    }
}

pub(super) struct Backward<'a, T> {
    norm: Norm,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    saved: &'a [T],
    dy: &'a mut [T],
    dx: &'a mut [T],
    add: bool,
    gradients: [&'a mut [T]; 2],
}

impl<T: Float> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, backward(self));
    }
}

/// With `dz = dy silu'(z)`, `h = (x - mean) rstd` and N numbers in a group:
/// `dx = rstd (weight dz - (sum weight dz)/N - h (sum weight dz h)/N)`, the sums over the group.
#[inline(always)]
fn backward<T: Float, L: Lane<Item = T>, const V: usize>(f: Backward<T>) {
    let Backward {
        norm,
        x,
        weight,
        bias,
        saved,
        dy,
        dx,
        add,
        gradients: [dweight, dbias],
    } = f;
    let (s, out, zero, one) = (
        norm.input,
        norm.output,
        L::splat(T::default()),
        L::splat(T::of(1.0)),
    );
    let count = (s.height * s.width * s.channels / norm.groups) as f64;
    let (mut first, mut second) = ([T::default(); MOST], [T::default(); MOST]);
    for n in 0..s.n {
        let (mean, rstd) = saved[2 * n * s.channels..][..2 * s.channels].split_at(s.channels);
        // sums of dz and of dz (x - mean), per channel
        for b in 0..s.blocks() {
            let (m, w, r) = (
                load::<L, V>(&mean[b * BLOCK..]),
                load::<L, V>(&weight[b * BLOCK..]),
                load::<L, V>(&rstd[b * BLOCK..]),
            );
            let (a, shift) = (
                each::<L, V>(|v| w[v] * r[v]),
                load::<L, V>(&bias[b * BLOCK..]),
            );
            let (from, to) = (
                n * s.stride + b * s.plane(),
                n * out.stride + b * out.plane(),
            );
            let [sum, product] = sums::<L, V, 2>(&s, from, zero, |at, v| {
                let d = L::load(&x[at..]) - m[v];
                let dy = &mut dy[at - from + to..];
                let mut dz = L::load(dy);
                if norm.silu {
                    let z = d.mul_add(a[v], shift[v]);
                    let g = sigmoid(z);
                    dz = dz * g * z.mul_add(one - g, one);
                    dz.store(dy);
                }
                [dz, dz * d]
            });
            store(sum, &mut first[b * BLOCK..]);
            store(product, &mut second[b * BLOCK..]);
        }
        // dx = dz (weight rstd) - p - (x - mean) q; p and q take the places of the sums
        for group in norm.each() {
            let (r, mut p, mut q) = (rstd[group.start].f64(), 0.0, 0.0);
            for c in group.clone() {
                let [w, a, b] = [weight[c], first[c], second[c]].map(T::f64);
                dbias[c] = T::of(dbias[c].f64() + a);
                dweight[c] = T::of(dweight[c].f64() + b * r);
                p += w * a;
                q += w * b;
            }
            first[group.clone()].fill(T::of(r * p / count));
            second[group].fill(T::of(r.powi(3) * q / count));
        }
        for b in 0..s.blocks() {
            let (m, w, r) = (
                load::<L, V>(&mean[b * BLOCK..]),
                load::<L, V>(&weight[b * BLOCK..]),
                load::<L, V>(&rstd[b * BLOCK..]),
            );
            let (p, q) = (
                load::<L, V>(&first[b * BLOCK..]),
                load::<L, V>(&second[b * BLOCK..]),
            );
            let a = each::<L, V>(|v| w[v] * r[v]);
            for py in 0..s.height {
                let at = s.at(n, b * BLOCK, py, 0);
                let (x, dz) = (
                    &x[at..][..s.width * BLOCK],
                    &dy[out.at(n, b * BLOCK, py, 0)..][..s.width * BLOCK],
                );
                let dx = &mut dx[at..][..s.width * BLOCK];
                for i in 0..s.width {
                    for v in 0..V {
                        let at = i * BLOCK + v * L::WIDTH;
                        let d = L::load(&x[at..]) - m[v];
                        let mut g = (-d).mul_add(q[v], L::load(&dz[at..]).mul_add(a[v], -p[v]));
                        if add {
                            g = g + L::load(&dx[at..]);
                        }
                        g.store(&mut dx[at..]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tensors::*;
    use super::*;
    use proptest::prelude::*;

    /// Shapes at every edge: one pixel, widths about the four chains, one to three blocks, groups
    /// of one channel, of whole blocks, and of 6, 12 and 24 channels, which cross blocks.
    fn shapes() -> Vec<Norm> {
        let mut all = vec![];
        for (n, h, w) in [
            (1, 1, 1),
            (2, 1, 2),
            (3, 2, 3),
            (1, 3, 4),
            (2, 2, 5),
            (1, 1, 6),
            (1, 4, 7),
            (2, 3, 8),
            (1, 5, 9),
        ] {
            for (channels, groups) in [
                (16, 1),
                (16, 4),
                (16, 16),
                (32, 2),
                (32, 8),
                (48, 8),
                (48, 4),
                (48, 2),
            ] {
                let (s, k) = (Images::new(n, channels, h, w), all.len());
                let (input, output) = (apart(s, [0, 32, 5][k % 3]), apart(s, [0, 7][k % 2]));
                all.push(Norm::new(input, output, groups, k % 4 < 2).unwrap());
                all.push(Norm::new(output, input, groups, k % 4 >= 2).unwrap());
            }
        }
        all
    }

    fn sigmoid(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    /// `z sigmoid(z)` and its derivative.
    fn silu(z: f64) -> [f64; 2] {
        let g = sigmoid(z);
        [z * g, g * (1.0 + z * (1.0 - g))]
    }

    /// Sum of values and a bound of its error, that of each term being given: a chain of additions,
    /// `chain` times the absolute sum.
    #[derive(Clone, Copy, Default)]
    struct Sum {
        value: f64,
        size: f64,
        error: f64,
    }

    impl Sum {
        fn add(&mut self, value: f64, error: f64) {
            *self = Sum {
                value: self.value + value,
                size: self.size + value.abs(),
                error: self.error + error,
            };
        }
        fn error(&self, chain: f64) -> f64 {
            self.error + chain * self.size
        }
    }

    /// What a group of an image gives: mean, 1/sqrt(variance + eps), and bounds of their errors
    /// (that of rstd relative).
    struct Group {
        mean: f64,
        rstd: f64,
        e_mean: f64,
        e_rstd: f64,
    }

    /// Forward and backward (writing and adding), on all sets, against the definition in f64.
    ///
    /// With u the roundoff of the loop and of the definition together, `sum` the relative error of
    /// a sum of absolute terms (the loop's chains, then its sums over channels in f64, then the
    /// definition's plain ones), first order only, a twentieth being added for the others:
    /// - mean: (sum + 2 u) mean |x|, as quotient and conversion round
    /// - x - mean: e_mean + u |x - mean|
    /// - variance: its terms err by 3 u and sum, relative; a shift of the mean adds its square.
    ///   rstd: half of that, and 3 u
    /// - z: |w| rstd (e_mean + |x - mean| (e_rstd + 2 u)) + u |z|
    /// - sigmoid: exp errs by 4 u, sum and quotient by 2 u more: 6 u; y: 1.1 e_z + 7 u |y|, 1.1
    ///   being the greatest slope of SiLU
    /// - dz: |dy| (e_z / 2 + 7 u sigmoid |z| + 9 u |slope|), 1/2 being its greatest curvature, 7 u
    ///   sigmoid the error of 1 - sigmoid
    fn definition<T: Norms>(norm: Norm, seed: u64) {
        let (s, out) = (norm.input, norm.output);
        let x = tensor::<T>(s, seed, f64::NAN, f64::NAN);
        let [weight, bias, dw0, db0] = [1, 2, 3, 4].map(|k| numbers::<T>(s.channels, seed + k));
        let (y0, dy0) = (
            tensor::<T>(out, seed + 5, KEPT, KEPT),
            tensor::<T>(out, seed + 6, KEPT, KEPT),
        );
        let dx0 = tensor::<T>(s, seed + 7, KEPT, KEPT);
        let mut first: Option<[Vec<T>; 6]> = None;
        for set in sets() {
            let (mut y, mut saved) = (y0.clone(), vec![T::default(); norm.saved()]);
            norm.forward_on(set, &x, &weight, &bias, &mut saved, &mut y);
            only_pixels(out, &y0, &y);
            let [(dx, dw, db), (more, _, _)] = [false, true].map(|add| {
                let (mut dy, mut dx, mut dw, mut db) =
                    (dy0.clone(), dx0.clone(), dw0.clone(), db0.clone());
                norm.backward_on(
                    set,
                    &x,
                    &weight,
                    &bias,
                    &saved,
                    &mut dy,
                    &mut dx,
                    add,
                    [&mut dw, &mut db],
                );
                only_pixels(out, &dy0, &dy);
                only_pixels(s, &dx0, &dx);
                (dx, dw, db)
            });
            let all = [y, saved, dx, more, dw, db];
            if let Some(first) = &first {
                assert!(
                    bits(&first.concat()) == bits(&all.concat()),
                    "{norm:?} on {}",
                    set.name()
                );
            }
            first = Some(all);
        }
        let Some([y, saved, dx, more, dw, db]) = first else {
            return;
        };

        let size = s.channels / norm.groups;
        let count = (size * s.height * s.width) as f64;
        let (u, more_than_first) = (T::ROUNDOFF + U64, 1.05);
        let chain = (s.height * s.width.div_ceil(4) + 2) as f64 * T::ROUNDOFF + count * U64;
        let sum = chain + size as f64 * U64;
        let pixels = || (0..s.height).flat_map(|y| (0..s.width).map(move |x| (y, x)));
        let close = |what: &str, place: [usize; 2], got: T, exact: f64, bound: f64| {
            let error = (got.f64() - exact).abs();
            assert!(
                error <= more_than_first * bound,
                "{what} {place:?}: {error:e} over {bound:e}, {norm:?}"
            );
        };
        let (mut dweight, mut dbias) = (
            vec![Sum::default(); s.channels],
            vec![Sum::default(); s.channels],
        );
        for c in 0..s.channels {
            dweight[c].add(dw0[c].f64(), 0.0);
            dbias[c].add(db0[c].f64(), 0.0);
        }
        for (n, first) in (0..s.n).flat_map(|n| (0..s.channels).step_by(size).map(move |c| (n, c)))
        {
            let channels = || first..first + size;
            let value = |c: usize, (py, px): (usize, usize)| x[s.at(n, c, py, px)].f64();
            let over = |f: &dyn Fn(f64) -> f64| {
                channels()
                    .map(|c| pixels().map(|p| f(value(c, p))).sum::<f64>())
                    .sum::<f64>()
                    / count
            };
            let mean = over(&|x| x);
            let variance = over(&|x| (x - mean).powi(2));
            let e_mean = (sum + 2.0 * u) * over(&f64::abs);
            let g = Group {
                mean,
                rstd: 1.0 / (variance + EPS).sqrt(),
                e_mean,
                e_rstd: 0.5 * (sum + 3.0 * u + e_mean.powi(2) / (variance + EPS)) + 3.0 * u,
            };
            // of a number: x - mean and its error, y and its error, dz and its error
            let number = |c: usize, p: (usize, usize)| {
                let (d, w, dy) = (
                    value(c, p) - g.mean,
                    weight[c].f64(),
                    dy0[out.at(n, c, p.0, p.1)].f64(),
                );
                let z = w * d * g.rstd + bias[c].f64();
                let e_z =
                    w.abs() * g.rstd * (g.e_mean + d.abs() * (g.e_rstd + 2.0 * u)) + u * z.abs();
                let e_d = g.e_mean + u * d.abs();
                if !norm.silu {
                    return [d, e_d, z, e_z, dy, 0.0];
                }
                let [y, slope] = silu(z);
                let e_slope = 0.5 * e_z + 7.0 * u * sigmoid(z) * z.abs() + 9.0 * u * slope.abs();
                [
                    d,
                    e_d,
                    y,
                    1.1 * e_z + 7.0 * u * y.abs(),
                    dy * slope,
                    dy.abs() * e_slope,
                ]
            };
            // sums over the group of weight dz and of weight dz (x - mean), with the errors of
            // theirs per channel
            let (mut by_bias, mut by_weight) = (Sum::default(), Sum::default());
            for c in channels() {
                let kept = &saved[2 * n * s.channels..][..2 * s.channels];
                close("mean", [n, c], kept[c], g.mean, g.e_mean);
                close(
                    "rstd",
                    [n, c],
                    kept[s.channels + c],
                    g.rstd,
                    g.rstd * g.e_rstd,
                );
                let (mut of_bias, mut of_weight) = (Sum::default(), Sum::default());
                for p in pixels() {
                    let [d, e_d, value, e_value, dz, e_dz] = number(c, p);
                    close("y", [n, c], y[out.at(n, c, p.0, p.1)], value, e_value);
                    of_bias.add(dz, e_dz);
                    of_weight.add(dz * d, e_dz * d.abs() + dz.abs() * e_d + u * (dz * d).abs());
                }
                let (e_bias, e_weight) = (of_bias.error(chain), of_weight.error(chain));
                dbias[c].add(of_bias.value, e_bias);
                dweight[c].add(
                    of_weight.value * g.rstd,
                    (e_weight + of_weight.value.abs() * g.e_rstd) * g.rstd,
                );
                let w = weight[c].f64();
                by_bias.add(w * of_bias.value, w.abs() * e_bias);
                by_weight.add(w * of_weight.value, w.abs() * e_weight);
            }
            // dx = dz (weight rstd) - p - (x - mean) q, each rounded once, the sums over channels
            // in f64
            let in_f64 = size as f64 * 2.0 * U64;
            let (p, q) = (
                g.rstd * by_bias.value / count,
                g.rstd.powi(3) * by_weight.value / count,
            );
            let e_p = g.rstd / count * by_bias.error(in_f64) + p.abs() * (g.e_rstd + u);
            let e_q =
                g.rstd.powi(3) / count * by_weight.error(in_f64) + q.abs() * (3.0 * g.e_rstd + u);
            for c in channels() {
                let a = weight[c].f64() * g.rstd;
                for place in pixels() {
                    let [d, e_d, _, _, dz, e_dz] = number(c, place);
                    let exact = dz * a - p - d * q;
                    let bound = e_dz * a.abs()
                        + (dz * a).abs() * (g.e_rstd + u)
                        + u * (dz * a - p).abs()
                        + e_p
                        + d.abs() * e_q;
                    let bound = bound + q.abs() * e_d + u * exact.abs();
                    let here = s.at(n, c, place.0, place.1);
                    let before = dx0[here].f64();
                    close("dx", [n, c], dx[here], exact, bound);
                    close(
                        "dx added",
                        [n, c],
                        more[here],
                        before + exact,
                        bound + u * (before + exact).abs(),
                    );
                }
            }
        }
        // over images: a sum in f64 and a rounding each
        let images = s.n as f64 * (u + 2.0 * U64);
        for c in 0..s.channels {
            close(
                "bias",
                [0, c],
                db[c],
                dbias[c].value,
                dbias[c].error(images),
            );
            close(
                "weight",
                [0, c],
                dw[c],
                dweight[c].value,
                dweight[c].error(images),
            );
        }
    }

    /// Catches a wrong group, chain, offset or sign, a gradient without one of its terms, a set
    /// whose bits differ, and whatever is read or written outside the pixels.
    #[test]
    #[cfg_attr(miri, ignore)] // `random_shapes` does it there
    fn norms_are_the_definition() {
        for (k, norm) in shapes().into_iter().enumerate() {
            definition::<f32>(norm, 10 * k as u64);
            definition::<f64>(norm, 10 * k as u64);
        }
    }

    proptest! {
        #![proptest_config(cases())]
        /// Catches what the chosen shapes miss: any shape, any distance of the images.
        #[test]
        fn random_shapes(
            n in 0..4usize, (h, w) in (1..6usize, 1..20usize), (channels, groups) in (1..5usize, 0..5usize), gaps in (0..50usize, 0..50usize),
            silu: bool, double: bool,
        ) {
            let (n, channels, h, w) = if cfg!(miri) { (n.min(2), channels.min(2), h.min(2), w.min(5)) } else { (n, channels, h, w) };
            let s = Images::new(n, 16 * channels, h, w);
            let groups = [1, 2, 4, 8, 16][groups] * if channels == 3 && groups < 3 { 3 } else { 1 };
            let norm = Norm::new(apart(s, gaps.0), apart(s, gaps.1), groups, silu).unwrap();
            if double { definition::<f64>(norm, 1) } else { definition::<f32>(norm, 1) }
        }
    }

    /// Catches a gradient that is not the forward pass's (both wrong in the same way in the
    /// definition above): central differences of the loop itself in f64, for every pixel, weight
    /// and bias. With steps of h = 1e-5 the third derivative adds about h^2 = 1e-10 and rounding
    /// about 1e-16 / h = 1e-11, both relative to the largest gradient: 1e-7 leaves room for the
    /// large third derivatives of small groups.
    #[test]
    #[cfg_attr(miri, ignore)]
    fn gradients_are_central_differences() {
        for (channels, groups, silu) in
            [(16, 4, false), (16, 1, true), (48, 8, true), (32, 8, true)]
        {
            let s = apart(Images::new(2, channels, 2, 3), 9);
            let norm = Norm::new(s, s, groups, silu).unwrap();
            let (x, dy) = (tensor::<f64>(s, 1, 0.0, 0.0), tensor::<f64>(s, 2, 0.0, 0.0));
            let (weight, bias) = (numbers::<f64>(channels, 3), numbers::<f64>(channels, 4));
            let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
                let (mut y, mut saved) = (vec![0.0; s.len()], vec![0.0; norm.saved()]);
                norm.forward(x, weight, bias, &mut saved, &mut y);
                y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
            };
            let (mut y, mut saved, mut d) =
                (vec![0.0; s.len()], vec![0.0; norm.saved()], dy.clone());
            norm.forward(&x, &weight, &bias, &mut saved, &mut y);
            let (mut dx, mut dw, mut db) =
                (vec![0.0; s.len()], vec![0.0; channels], vec![0.0; channels]);
            norm.backward(
                &x,
                &weight,
                &bias,
                &saved,
                &mut d,
                &mut dx,
                false,
                [&mut dw, &mut db],
            );
            let check = |gradient: &[f64], places: Vec<usize>, of: &dyn Fn(usize, f64) -> f64| {
                let most = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
                for at in places {
                    let (h, g) = (1e-5, gradient[at]);
                    let difference = (of(at, h) - of(at, -h)) / (2.0 * h);
                    assert!(
                        (difference - g).abs() <= 1e-7 * most,
                        "{norm:?} {at}: {difference} for {g}"
                    );
                }
            };
            let moved = |of: &[f64], at: usize, by: f64| {
                let mut of = of.to_vec();
                of[at] += by;
                of
            };
            check(&dx, places(s).map(|p| at(s, p)).collect(), &|at, h| {
                loss(&moved(&x, at, h), &weight, &bias)
            });
            check(&dw, (0..channels).collect(), &|at, h| {
                loss(&x, &moved(&weight, at, h), &bias)
            });
            check(&db, (0..channels).collect(), &|at, h| {
                loss(&x, &weight, &moved(&bias, at, h))
            });
        }
    }

    /// Catches a mean or variance that loses its digits far from zero: at 1e4 + numbers of size 1
    /// the loop must stay within the bound of `definition`, which does not grow with the square of
    /// the mean.
    #[test]
    fn variance_does_not_cancel() {
        let s = Images::new(1, 16, 4, 8);
        let norm = Norm::new(s, s, 2, false).unwrap();
        let x: Vec<f32> = tensor::<f32>(s, 1, 0.0, 0.0)
            .iter()
            .map(|x| x + 1e4)
            .collect();
        let (mut y, mut saved) = (vec![0.0; s.len()], vec![0.0; norm.saved()]);
        norm.forward(&x, &[1.0; 16], &[0.0; 16], &mut saved, &mut y);
        for c in 0..16 {
            let of = |f: &dyn Fn(f64) -> f64| {
                let group = c / 8 * 8..c / 8 * 8 + 8;
                places(s)
                    .filter(|p| group.contains(&p[1]))
                    .map(|p| f(f64::from(x[at(s, p)])))
                    .sum::<f64>()
                    / 256.0
            };
            let mean = of(&|x| x);
            let rstd = 1.0 / (of(&|x| (x - mean).powi(2)) + EPS).sqrt();
            // 12 roundings of a sum of squares, and (1e4 * 12 u)^2 = 5e-5 of a variance of 1/3 from
            // the mean's error
            let bound = 0.5 * (12.0 * f32::ROUNDOFF + 3.0 * 5.2e-5);
            assert!(
                (f64::from(saved[16 + c]) / rstd - 1.0).abs() <= bound,
                "{c}: {} for {rstd}",
                saved[16 + c]
            );
        }
    }

    /// Catches a slice or a shape that does not fit and is taken nevertheless.
    #[test]
    fn what_does_not_fit_is_refused() {
        let s = Images::new(2, 32, 2, 3);
        let norm = Norm::new(s, s, 8, true).unwrap();
        let run = |norm: Norm, x: usize, weight: usize, saved: usize, y: usize| {
            let (x, w, mut saved, mut y) = (
                vec![0f32; x],
                vec![0f32; weight],
                vec![0f32; saved],
                vec![0f32; y],
            );
            norm.forward(&x, &w, &w, &mut saved, &mut y);
        };
        let back = |dx: usize, dw: usize, db: usize| {
            let (x, w, saved, mut dy, mut dx) = (
                vec![0f32; s.len()],
                [0f32; 32],
                [0f32; 128],
                vec![0f32; s.len()],
                vec![0f32; dx],
            );
            norm.backward(
                &x,
                &w,
                &w,
                &saved,
                &mut dy,
                &mut dx,
                false,
                [&mut vec![0f32; dw], &mut vec![0f32; db]],
            );
        };
        let len = s.len();
        run(norm, len, 32, 128, len);
        back(len, 32, 32);
        let mut calls: Calls = vec![
            ("short x", Box::new(|| run(norm, len - 1, 32, 128, len))),
            ("short weight", Box::new(|| run(norm, len, 31, 128, len))),
            ("short saved", Box::new(|| run(norm, len, 32, 127, len))),
            ("short y", Box::new(|| run(norm, len, 32, 128, len - 1))),
            ("short dx", Box::new(|| back(len - 1, 32, 32))),
            ("short gradient of weight", Box::new(|| back(len, 31, 32))),
            ("short gradient of bias", Box::new(|| back(len, 32, 31))),
        ];
        let wrong = [
            Norm { groups: 0, ..norm },
            Norm { groups: 5, ..norm },
            Norm {
                input: Images { height: 3, ..s },
                ..norm
            },
            Norm {
                output: Images { channels: 16, ..s },
                ..norm
            },
            Norm {
                input: Images { stride: 1, ..s },
                ..norm
            },
            Norm {
                input: Images { width: 0, ..s },
                output: Images { width: 0, ..s },
                ..norm
            },
            Norm {
                input: Images::new(2, 24, 2, 3),
                output: Images::new(2, 24, 2, 3),
                groups: 2,
                silu: true,
            },
            Norm {
                input: Images::new(2, 1040, 2, 3),
                output: Images::new(2, 1040, 2, 3),
                groups: 1,
                silu: true,
            },
        ];
        for wrong in wrong {
            let c = wrong.input.channels;
            calls.push((
                "a shape by hand",
                Box::new(move || run(wrong, 1 << 18, c, wrong.saved(), 1 << 18)),
            ));
            assert!(
                Norm::new(wrong.input, wrong.output, wrong.groups, true).is_none(),
                "{wrong:?}"
            );
        }
        refused(calls);
    }
}
