//! Group normalisation, with SiLU after it, forward and backward.
//!
//! ```text
//! z = weight (x - mean) rstd + bias      mean, rstd = 1 / sqrt(variance + eps) over a group's channels and pixels
//! y = z  or  z sigmoid(z)
//! ```
//! Sums run over pixels, four by four, channel by channel; channels are added to groups in f64, so groups need not be whole blocks and
//! all instruction sets give the same bits. The variance is that of `x - mean`, in a second pass: nothing cancels. A sum's chain
//! has at most `height width / 4 + 4` roundings.

use super::conv::{BLOCK, Images};
use super::real::{blocks, load, sigmoid, store};
use super::{Lane, Real, Set, Task};

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
    /// `None` unless the shapes agree, the groups divide the channels, and these are at most [`MOST`].
    pub fn new(input: Images, output: Images, groups: usize, silu: bool) -> Option<Norm> {
        let same = Images { stride: 0, ..input } == Images { stride: 0, ..output };
        (same
            && groups > 0
            && (1..=MOST).contains(&input.channels)
            && input.channels.is_multiple_of(groups)
            && input.channels.is_multiple_of(BLOCK))
        .then_some(Norm { input, output, groups, silu })
    }

    /// Numbers that the forward pass saves for the backward one: mean and rstd of every channel of every image.
    pub fn saved(&self) -> usize {
        2 * self.input.n * self.input.channels
    }

    /// Writes `y` and what the backward pass needs. Panics on slices that the shapes do not fit.
    pub fn forward<T: Real>(&self, x: &[T], weight: &[T], bias: &[T], saved: &mut [T], y: &mut [T]) {
        self.forward_on(Set::current(), x, weight, bias, saved, y);
    }

    /// [`forward`](Self::forward) on a given set.
    pub fn forward_on<T: Real>(&self, set: Set, x: &[T], weight: &[T], bias: &[T], saved: &mut [T], y: &mut [T]) {
        self.check(x.len(), y.len(), weight.len(), bias.len(), saved.len());
        super::wide_on(set, Forward { norm: *self, x, weight, bias, saved, y });
    }

    /// From `dy`, which it overwrites, the gradients: writes `dx` or adds to it; adds to those of weight and bias. Panics likewise.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<T: Real>(
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
        self.backward_on(Set::current(), x, weight, bias, saved, dy, dx, add, gradients);
    }

    /// [`backward`](Self::backward) on a given set.
    #[allow(clippy::too_many_arguments)]
    pub fn backward_on<T: Real>(
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
        self.check(x.len().min(dx.len()), dy.len(), weight.len(), bias.len(), saved.len());
        assert!(gradients.iter().all(|g| g.len() == weight.len()), "gradients of a norm");
        super::wide_on(set, Backward { norm: *self, x, weight, bias, saved, dy, dx, add, gradients });
    }

    fn check(&self, x: usize, y: usize, weight: usize, bias: usize, saved: usize) {
        let c = self.input.channels;
        assert!(x >= self.input.len() && y >= self.output.len() && weight == c && bias == c && saved == self.saved(), "shapes of a norm");
    }

    /// Sums over a group's channels, in f64.
    #[inline(always)]
    fn group(&self, of: impl Fn(usize) -> f64, mut to: impl FnMut(usize, f64)) {
        let size = self.input.channels / self.groups;
        for g in 0..self.groups {
            let sum: f64 = (g * size..(g + 1) * size).map(&of).sum();
            (g * size..(g + 1) * size).for_each(|c| to(c, sum));
        }
    }
}

/// Most channels that the loops' own sums have room for: they are on the stack.
pub const MOST: usize = 1024;

/// Sums over the pixels of a block of `f(place of the pixel's vector v, v)`, four chains at a time.
#[inline(always)]
fn sums<L: Lane, const V: usize, const N: usize>(s: &Images, at: usize, zero: L, mut f: impl FnMut(usize, usize) -> [L; N]) -> [[L; V]; N] {
    let mut acc = [[[zero; V]; N]; 4];
    for y in 0..s.height {
        let row = at + (y + 1) * s.row() + BLOCK;
        for x in 0..s.width {
            for v in 0..V {
                let values = f(row + x * BLOCK + v * L::WIDTH, v);
                for i in 0..N {
                    acc[x % 4][i][v] = acc[x % 4][i][v] + values[i];
                }
            }
        }
    }
    std::array::from_fn(|i| std::array::from_fn(|v| (acc[0][i][v] + acc[1][i][v]) + (acc[2][i][v] + acc[3][i][v])))
}

struct Forward<'a, T> {
    norm: Norm,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    saved: &'a mut [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, forward(self));
    }
}

#[inline(always)]
fn forward<T: Real, L: Lane<Item = T>, const V: usize>(f: Forward<T>) {
    let Forward { norm, x, weight, bias, saved, y } = f;
    let (s, zero) = (norm.input, L::splat(T::default()));
    let count = (s.height * s.width * s.channels / norm.groups) as f64;
    for n in 0..s.n {
        let (mean, rstd) = saved[2 * n * s.channels..][..2 * s.channels].split_at_mut(s.channels);
        let block = |b: usize| n * s.stride + b * s.plane();
        for b in 0..s.blocks() {
            let [sum] = sums::<L, V, 1>(&s, block(b), zero, |at, _| [L::load(&x[at..])]);
            store(sum, &mut rstd[b * BLOCK..]);
        }
        norm.group(|c| rstd[c].f64(), |c, sum| mean[c] = T::of(sum / count));
        for b in 0..s.blocks() {
            let m = load::<L, V>(&mean[b * BLOCK..]);
            let [sum] = sums::<L, V, 1>(&s, block(b), zero, |at, v| {
                let d = L::load(&x[at..]) - m[v];
                [d * d]
            });
            store(sum, &mut rstd[b * BLOCK..]);
        }
        let mut variance = [0.0; MOST];
        norm.group(|c| rstd[c].f64(), |c, sum| variance[c] = sum / count);
        rstd.iter_mut().zip(variance).for_each(|(r, v)| *r = T::of(1.0 / (v + EPS).sqrt()));
        for b in 0..s.blocks() {
            let (m, w, r) = (load::<L, V>(&mean[b * BLOCK..]), load::<L, V>(&weight[b * BLOCK..]), load::<L, V>(&rstd[b * BLOCK..]));
            let (a, shift) = (std::array::from_fn::<L, V, _>(|v| w[v] * r[v]), load::<L, V>(&bias[b * BLOCK..]));
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

struct Backward<'a, T> {
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

impl<T: Real> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, backward(self));
    }
}

/// With `dz = dy silu'(z)`, `h = (x - mean) rstd` and N numbers in a group:
/// `dx = rstd (weight dz - (sum weight dz)/N - h (sum weight dz h)/N)`, the sums over the group.
#[inline(always)]
fn backward<T: Real, L: Lane<Item = T>, const V: usize>(f: Backward<T>) {
    let Backward { norm, x, weight, bias, saved, dy, dx, add, gradients: [dweight, dbias] } = f;
    let (s, out, zero, one) = (norm.input, norm.output, L::splat(T::default()), L::splat(T::of(1.0)));
    let count = (s.height * s.width * s.channels / norm.groups) as f64;
    for n in 0..s.n {
        let (mean, rstd) = saved[2 * n * s.channels..][..2 * s.channels].split_at(s.channels);
        // sums of dz and of dz (x - mean), per channel
        let (mut first, mut second) = ([T::default(); MOST], [T::default(); MOST]);
        for b in 0..s.blocks() {
            let (m, w, r) = (load::<L, V>(&mean[b * BLOCK..]), load::<L, V>(&weight[b * BLOCK..]), load::<L, V>(&rstd[b * BLOCK..]));
            let (a, shift) = (std::array::from_fn::<L, V, _>(|v| w[v] * r[v]), load::<L, V>(&bias[b * BLOCK..]));
            let (from, to) = (n * s.stride + b * s.plane(), n * out.stride + b * out.plane());
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
        for c in 0..s.channels {
            dbias[c] = T::of(dbias[c].f64() + first[c].f64());
            dweight[c] = T::of(dweight[c].f64() + second[c].f64() * rstd[c].f64());
        }
        // dx = dz (weight rstd) - p - (x - mean) q
        let (mut p, mut q) = ([T::default(); MOST], [T::default(); MOST]);
        norm.group(|c| weight[c].f64() * first[c].f64(), |c, sum| p[c] = T::of(rstd[c].f64() * sum / count));
        norm.group(|c| weight[c].f64() * second[c].f64(), |c, sum| q[c] = T::of(rstd[c].f64().powi(3) * sum / count));
        for b in 0..s.blocks() {
            let (m, w, r) = (load::<L, V>(&mean[b * BLOCK..]), load::<L, V>(&weight[b * BLOCK..]), load::<L, V>(&rstd[b * BLOCK..]));
            let (p, q) = (load::<L, V>(&p[b * BLOCK..]), load::<L, V>(&q[b * BLOCK..]));
            let a = std::array::from_fn::<L, V, _>(|v| w[v] * r[v]);
            for py in 0..s.height {
                let at = s.at(n, b * BLOCK, py, 0);
                let (x, dz) = (&x[at..][..s.width * BLOCK], &dy[out.at(n, b * BLOCK, py, 0)..][..s.width * BLOCK]);
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
