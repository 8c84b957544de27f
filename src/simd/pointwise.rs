//! Loops over flat slices and over pixels: SiLU, sums of channels, additions, nearest-neighbour upsampling, Adam.

use super::conv::{BLOCK, Images};
use super::real::{blocks, load, sigmoid, store};
use super::{Lane, Real, Set, Task, wide_on};

/// Defines a loop over slices of one length, vector by vector, what is left over one by one: its struct, whose fields are slices to read,
/// slices to write and single values, and what is done at a place with lanes `L`.
macro_rules! each {
    ($task:ident { read $($read:ident)*; write $($write:ident)*; with $($field:ident: $ty:ty),* } |$at:ident, $l:ident| $body:block) => {
        struct $task<'a, T> {
            $($read: &'a [T],)*
            $($write: &'a mut [T],)*
            $($field: $ty,)*
        }
        impl<T: Real> $task<'_, T> {
            #[inline(always)]
            fn at<$l: Lane<Item = T>>(&mut self, $at: usize) {
                let $task { $($read,)* $($write,)* $($field,)* } = self;
                $body
            }
        }
        impl<T: Real> Task for $task<'_, T> {
            type Out = ();
            #[inline(always)]
            fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
                let lengths = [$(self.$read.len(),)* $(self.$write.len()),*];
                let (n, width) = (lengths[0], <T::Of<D, S> as Lane>::WIDTH);
                assert!(lengths.iter().all(|l| *l == n), "slices of one length");
                for at in (0..n / width * width).step_by(width) {
                    self.at::<T::Of<D, S>>(at);
                }
                for at in n / width * width..n {
                    self.at::<T::Of<f64, f32>>(at);
                }
            }
        }
    };
}

each!(Silu { read x; write y; with } |at, L| {
    let z = L::load(&x[at..]);
    (z * sigmoid(z)).store(&mut y[at..]);
});

/// `y = x sigmoid(x)`. Panics on slices of different lengths.
pub fn silu<T: Real>(set: Set, x: &[T], y: &mut [T]) {
    wide_on(set, Silu { x, y });
}

each!(SiluBack { read x dy; write dx; with } |at, L| {
    let (z, one) = (L::load(&x[at..]), L::splat(T::of(1.0)));
    let g = sigmoid(z);
    let d = &mut dx[at..];
    (L::load(d) + L::load(&dy[at..]) * g * z.mul_add(one - g, one)).store(d);
});

/// `dx += dy silu'(x)`. Panics on slices of different lengths.
pub fn silu_back<T: Real>(set: Set, x: &[T], dy: &[T], dx: &mut [T]) {
    wide_on(set, SiluBack { x, dy, dx });
}

each!(AddScaled { read x; write y; with factor: T } |at, L| {
    let d = &mut y[at..];
    L::load(&x[at..]).mul_add(L::splat(*factor), L::load(d)).store(d);
});

/// `y += factor x`. Panics on slices of different lengths.
pub fn add_scaled<T: Real>(set: Set, x: &[T], factor: T, y: &mut [T]) {
    wide_on(set, AddScaled { x, y, factor });
}

each!(Scale { read; write y; with factor: T } |at, L| {
    let d = &mut y[at..];
    (L::load(d) * L::splat(*factor)).store(d);
});

/// `y = factor y`.
pub fn scale<T: Real>(set: Set, factor: T, y: &mut [T]) {
    wide_on(set, Scale { y, factor });
}

/// What [`adam`] needs besides slices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep<T> {
    /// The gradient is multiplied by this: clipping.
    pub clip: T,
    /// Decay of the first moment.
    pub beta1: T,
    /// Decay of the second moment.
    pub beta2: T,
    /// Learning rate over `1 - beta1^step`.
    pub rate: T,
    /// `1 / (1 - beta2^step)`.
    pub unbias2: T,
    /// Added to the root of the second moment.
    pub eps: T,
    /// Weights are multiplied by this before the step: `1 - rate decay`.
    pub keep: T,
    /// What an average of weights moves: `1 - decay of the average`.
    pub average: T,
}

each!(Adam { read g; write p m v ema; with step: AdamStep<T> } |at, L| {
    let s = |x: T| L::splat(x);
    let g = L::load(&g[at..]) * s(step.clip);
    let (p, m, v, ema) = (&mut p[at..], &mut m[at..], &mut v[at..], &mut ema[at..]);
    let one = s(T::of(1.0));
    let first = L::load(m) * s(step.beta1) + g * (one - s(step.beta1));
    let second = L::load(v) * s(step.beta2) + g * g * (one - s(step.beta2));
    first.store(m);
    second.store(v);
    let root = (second * s(step.unbias2)).sqrt() + s(step.eps);
    let moved = L::load(p) * s(step.keep) - s(step.rate) * first / root;
    moved.store(p);
    let mean = L::load(ema);
    (moved - mean).mul_add(s(step.average), mean).store(ema);
});

/// One step of Adam with decoupled weight decay, and of an exponential average of the weights. Panics on slices of different lengths.
pub fn adam<T: Real>(set: Set, step: AdamStep<T>, g: &[T], p: &mut [T], m: &mut [T], v: &mut [T], ema: &mut [T]) {
    wide_on(set, Adam { step, g, p, m, v, ema });
}

struct Squares<'a, T>(&'a [T]);

impl<T: Real> Task for Squares<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) -> f64 {
        blocks!(T::Of<D, S>, squares(self.0))
    }
}

/// Sixteen chains, each of at most 64 terms before it goes on in f64.
#[inline(always)]
fn squares<T: Real, L: Lane<Item = T>, const V: usize>(x: &[T]) -> f64 {
    let mut sum = 0.0;
    let (parts, rest) = x.as_chunks::<{ 64 * BLOCK }>();
    for part in parts.iter().map(|p| &p[..]).chain([rest]) {
        let (whole, last) = part.as_chunks::<BLOCK>();
        let mut acc = [L::splat(T::default()); V];
        for block in whole {
            let values = load::<L, V>(block);
            for v in 0..V {
                acc[v] = values[v].mul_add(values[v], acc[v]);
            }
        }
        let mut chains = [T::default(); BLOCK];
        store(acc, &mut chains);
        sum += chains.iter().map(|c| c.f64()).sum::<f64>() + last.iter().map(|x| x.f64().powi(2)).sum::<f64>();
    }
    sum
}

/// Sum of squares, within 70 roundoffs of itself.
pub fn sum_of_squares<T: Real>(set: Set, x: &[T]) -> f64 {
    wide_on(set, Squares(x))
}

struct ChannelSums<'a, T> {
    x: &'a [T],
    images: Images,
    each: Option<(&'a mut [T], Images)>,
    total: &'a mut [T],
}

impl<T: Real> Task for ChannelSums<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, channel_sums_in(self));
    }
}

#[inline(always)]
fn channel_sums_in<T: Real, L: Lane<Item = T>, const V: usize>(mut f: ChannelSums<T>) {
    let s = f.images;
    for n in 0..s.n {
        for b in 0..s.blocks() {
            let mut acc = [[L::splat(T::default()); V]; 4];
            for y in 0..s.height {
                let row = &f.x[s.at(n, b * BLOCK, y, 0)..][..s.width * BLOCK];
                for x in 0..s.width {
                    let values = load::<L, V>(&row[x * BLOCK..]);
                    for v in 0..V {
                        acc[x % 4][v] = acc[x % 4][v] + values[v];
                    }
                }
            }
            let sum: [L; V] = std::array::from_fn(|v| (acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v]));
            if let Some((each, flat)) = &mut f.each {
                store(sum, &mut each[flat.at(0, b * BLOCK, 0, n)..]);
            }
            let total = &mut f.total[b * BLOCK..];
            let before = load::<L, V>(total);
            store::<L, V>(std::array::from_fn(|v| before[v] + sum[v]), total);
        }
    }
}

/// Sums over pixels: written to row n of the flat tensor `each` for image n, and added to `total`. Panics on slices that the shapes do
/// not fit.
pub fn channel_sums<T: Real>(set: Set, x: &[T], images: Images, each: Option<(&mut [T], Images)>, total: &mut [T]) {
    assert!(x.len() >= images.len() && total.len() == images.channels, "shapes of sums of channels");
    if let Some((each, flat)) = &each {
        assert!(
            each.len() >= flat.len() && flat.channels == images.channels && flat.n == 1 && flat.width >= images.n,
            "shapes of sums of channels"
        );
    }
    wide_on(set, ChannelSums { x, images, each, total });
}

struct Rows<'a, T, const M: usize> {
    x: &'a [T],
    xs: Images,
    y: &'a mut [T],
    ys: Images,
    factor: T,
}

/// What [`Rows`] does.
const ADD: usize = 0;
const SET: usize = 1;
const UP: usize = 2;
const DOWN: usize = 3;

impl<T: Real, const M: usize> Task for Rows<'_, T, M> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        match <T::Of<D, S> as Lane>::WIDTH {
            16 => self.go::<T::Of<D, S>, 1>(),
            8 => self.go::<T::Of<D, S>, 2>(),
            4 => self.go::<T::Of<D, S>, 4>(),
            _ => self.go::<T::Of<D, S>, 16>(),
        }
    }
}

impl<T: Real, const M: usize> Rows<'_, T, M> {
    #[inline(always)]
    fn go<L: Lane<Item = T>, const V: usize>(self) {
        let Rows { x, xs, y, ys, factor } = self;
        let factor = L::splat(factor);
        for n in 0..ys.n {
            for c in (0..ys.channels).step_by(BLOCK) {
                for py in 0..ys.height {
                    let to = &mut y[ys.at(n, c, py, 0)..][..ys.width * BLOCK];
                    let row = |py: usize| &x[xs.at(n, c, py, 0)..][..xs.width * BLOCK];
                    for px in 0..ys.width {
                        let values: [L; V] = match M {
                            ADD | SET => load(&row(py)[px * BLOCK..]),
                            UP => load(&row(py / 2)[px / 2 * BLOCK..]),
                            _ => {
                                let (above, below) = (row(2 * py), row(2 * py + 1));
                                let [a, b] = [load::<L, V>(&above[2 * px * BLOCK..]), load::<L, V>(&above[(2 * px + 1) * BLOCK..])];
                                let [c, d] = [load::<L, V>(&below[2 * px * BLOCK..]), load::<L, V>(&below[(2 * px + 1) * BLOCK..])];
                                std::array::from_fn(|v| (a[v] + b[v]) + (c[v] + d[v]))
                            }
                        };
                        let to = &mut to[px * BLOCK..][..BLOCK];
                        let before: [L; V] = load(to);
                        match M {
                            SET | UP => store::<L, V>(std::array::from_fn(|v| values[v] * factor), to),
                            _ => store::<L, V>(std::array::from_fn(|v| values[v].mul_add(factor, before[v])), to),
                        }
                    }
                }
            }
        }
    }
}

fn rows<T: Real, const M: usize>(set: Set, x: &[T], xs: Images, y: &mut [T], ys: Images, factor: T) {
    let (h, w) = match M {
        UP => (2 * xs.height, 2 * xs.width),
        DOWN => (xs.height / 2, xs.width / 2),
        _ => (xs.height, xs.width),
    };
    assert!((xs.n, xs.channels, h, w) == (ys.n, ys.channels, ys.height, ys.width), "shapes of two tensors");
    assert!(M != DOWN || (xs.height, xs.width) == (2 * h, 2 * w), "shapes of two tensors");
    assert!(x.len() >= xs.len() && y.len() >= ys.len(), "shapes of two tensors");
    wide_on(set, Rows::<T, M> { x, xs, y, ys, factor });
}

/// `y += factor x`, pixels only; strides may differ. Panics on slices that the shapes do not fit, as do the next three.
pub fn add_images<T: Real>(set: Set, factor: T, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows::<T, ADD>(set, x, xs, y, ys, factor);
}

/// `y = factor x`, pixels only.
pub fn set_images<T: Real>(set: Set, factor: T, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows::<T, SET>(set, x, xs, y, ys, factor);
}

/// Every pixel four times: the nearest neighbour at twice the size.
pub fn upsample<T: Real>(set: Set, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows::<T, UP>(set, x, xs, y, ys, T::of(1.0));
}

/// `dx += ` the sums over the four pixels that each became: the gradient of [`upsample`].
pub fn upsample_back<T: Real>(set: Set, dy: &[T], ys: Images, dx: &mut [T], xs: Images) {
    rows::<T, DOWN>(set, dy, ys, dx, xs, T::of(1.0));
}
