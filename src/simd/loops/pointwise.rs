//! Loops over flat slices and over pixels: SiLU, sums of channels, additions, nearest-neighbour
//! upsampling, Adam.

use super::conv::{BLOCK, Images};
use super::float::{Float, blocks, compiled, each, load, sigmoid, store};
use crate::simd::{Lane, Set, Task};

compiled!(Pointwise, pointwise, Float, {
    silu: Silu<'a, T>,
    silu_back: SiluBack<'a, T>,
    add_scaled: AddScaled<'a, T>,
    scale: Scale<'a, T>,
    adam: Adam<'a, T>,
    squares: Squares<'a, T> => f64,
    channel_sums: ChannelSums<'a, T>,
    add: Rows<'a, T, ADD>,
    set: Rows<'a, T, SET>,
    up: Rows<'a, T, UP>,
    down: Rows<'a, T, DOWN>,
});

/// Defines a loop over slices of one length, vector by vector, what is left over one by one: its
/// struct, whose fields are slices to read, slices to write and single values, and what is done at
/// a place with lanes `L`.
macro_rules! each {
    ($task:ident { read $($read:ident)*; write $($write:ident)*; with $($field:ident: $ty:ty),* } |$at:ident, $l:ident| $body:block) => {
        pub(super) struct $task<'a, T> {
            $($read: &'a [T],)*
            $($write: &'a mut [T],)*
            $($field: $ty,)*
        }
        impl<T: Float> $task<'_, T> {
            #[inline(always)]
            fn at<$l: Lane<Item = T>>(&mut self, $at: usize) {
                let $task { $($read,)* $($write,)* $($field,)* } = self;
                $body
            }
        }
        impl<T: Float> Task for $task<'_, T> {
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
pub fn silu<T: Pointwise>(set: Set, x: &[T], y: &mut [T]) {
    (T::pointwise().silu)(set, Silu { x, y });
}

each!(SiluBack { read x dy; write dx; with } |at, L| {
    let (z, one) = (L::load(&x[at..]), L::splat(T::of(1.0)));
    let g = sigmoid(z);
    let d = &mut dx[at..];
    (L::load(d) + L::load(&dy[at..]) * g * z.mul_add(one - g, one)).store(d);
});

/// `dx += dy silu'(x)`. Panics on slices of different lengths.
pub fn silu_back<T: Pointwise>(set: Set, x: &[T], dy: &[T], dx: &mut [T]) {
    (T::pointwise().silu_back)(set, SiluBack { x, dy, dx });
}

each!(AddScaled { read x; write y; with factor: T } |at, L| {
    let d = &mut y[at..];
    L::load(&x[at..]).mul_add(L::splat(*factor), L::load(d)).store(d);
});

/// `y += factor x`. Panics on slices of different lengths.
pub fn add_scaled<T: Pointwise>(set: Set, x: &[T], factor: T, y: &mut [T]) {
    (T::pointwise().add_scaled)(set, AddScaled { x, y, factor });
}

each!(Scale { read; write y; with factor: T } |at, L| {
    let d = &mut y[at..];
    (L::load(d) * L::splat(*factor)).store(d);
});

/// `y = factor y`.
pub fn scale<T: Pointwise>(set: Set, factor: T, y: &mut [T]) {
    (T::pointwise().scale)(set, Scale { y, factor });
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

/// One step of Adam with decoupled weight decay, and of an exponential average of the weights.
/// Panics on slices of different lengths.
pub fn adam<T: Pointwise>(
    set: Set,
    step: AdamStep<T>,
    g: &[T],
    p: &mut [T],
    m: &mut [T],
    v: &mut [T],
    ema: &mut [T],
) {
    (T::pointwise().adam)(
        set,
        Adam {
            step,
            g,
            p,
            m,
            v,
            ema,
        },
    );
}

pub(super) struct Squares<'a, T>(&'a [T]);

impl<T: Float> Task for Squares<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) -> f64 {
        blocks!(T::Of<D, S>, squares(self.0))
    }
}

/// Sixteen chains, each of at most 64 terms before it goes on in f64.
#[inline(always)]
fn squares<T: Float, L: Lane<Item = T>, const V: usize>(x: &[T]) -> f64 {
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
        sum += chains.iter().map(|c| c.f64()).sum::<f64>()
            + last.iter().map(|x| x.f64().powi(2)).sum::<f64>();
    }
    sum
}

/// Sum of squares, within 64 roundoffs of T and `n / 1024 + 34` of f64.
pub fn sum_of_squares<T: Pointwise>(set: Set, x: &[T]) -> f64 {
    (T::pointwise().squares)(set, Squares(x))
}

pub(super) struct ChannelSums<'a, T> {
    x: &'a [T],
    images: Images,
    each: Option<(&'a mut [T], Images)>,
    total: &'a mut [T],
}

impl<T: Float> Task for ChannelSums<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, channel_sums_in(self));
    }
}

#[inline(always)]
fn channel_sums_in<T: Float, L: Lane<Item = T>, const V: usize>(mut f: ChannelSums<T>) {
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
            let sum: [L; V] = each(|v| (acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v]));
            if let Some((each, flat)) = &mut f.each {
                store(sum, &mut each[flat.at(0, b * BLOCK, 0, n)..]);
            }
            let total = &mut f.total[b * BLOCK..];
            let before = load::<L, V>(total);
            store::<L, V>(each(|v| before[v] + sum[v]), total);
        }
    }
}

/// Sums over pixels: written to row n of the flat tensor `each` for image n, and added to `total`.
/// Panics on slices that the shapes do not fit.
pub fn channel_sums<T: Pointwise>(
    set: Set,
    x: &[T],
    images: Images,
    each: Option<(&mut [T], Images)>,
    total: &mut [T],
) {
    assert!(
        images.fits(x.len()) && total.len() == images.channels,
        "shapes of sums of channels"
    );
    if let Some((each, flat)) = &each {
        assert!(
            flat.channels == images.channels && flat.width >= images.n,
            "shapes of sums of channels"
        );
        assert!(
            (flat.n, flat.height) == (1, 1) && flat.fits(each.len()),
            "shapes of sums of channels"
        );
    }
    (T::pointwise().channel_sums)(
        set,
        ChannelSums {
            x,
            images,
            each,
            total,
        },
    );
}

pub(super) struct Rows<'a, T, const M: usize> {
    x: &'a [T],
    xs: Images,
    y: &'a mut [T],
    ys: Images,
    factor: T,
}

/// What [`Rows`] does.
pub(super) const ADD: usize = 0;
pub(super) const SET: usize = 1;
pub(super) const UP: usize = 2;
pub(super) const DOWN: usize = 3;

impl<T: Float, const M: usize> Task for Rows<'_, T, M> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        match <T::Of<D, S> as Lane>::WIDTH {
            16 => self.go::<T::Of<D, S>, 1>(),
            8 => self.go::<T::Of<D, S>, 2>(),
            4 => self.go::<T::Of<D, S>, 4>(),
            2 => self.go::<T::Of<D, S>, 8>(),
            _ => self.go::<T::Of<D, S>, 16>(),
        }
    }
}

impl<T: Float, const M: usize> Rows<'_, T, M> {
    #[inline(always)]
    fn go<L: Lane<Item = T>, const V: usize>(self) {
        let Rows {
            x,
            xs,
            y,
            ys,
            factor,
        } = self;
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
                                let [a, b] = [
                                    load::<L, V>(&above[2 * px * BLOCK..]),
                                    load::<L, V>(&above[(2 * px + 1) * BLOCK..]),
                                ];
                                let [c, d] = [
                                    load::<L, V>(&below[2 * px * BLOCK..]),
                                    load::<L, V>(&below[(2 * px + 1) * BLOCK..]),
                                ];
                                each(|v| (a[v] + b[v]) + (c[v] + d[v]))
                            }
                        };
                        let to = &mut to[px * BLOCK..][..BLOCK];
                        let before: [L; V] = load(to);
                        match M {
                            SET | UP => store::<L, V>(each(|v| values[v] * factor), to),
                            _ => store::<L, V>(each(|v| values[v].mul_add(factor, before[v])), to),
                        }
                    }
                }
            }
        }
    }
}

fn rows<T: Float, const M: usize>(
    loops: fn(Set, Rows<T, M>),
    set: Set,
    x: &[T],
    xs: Images,
    y: &mut [T],
    ys: Images,
    factor: T,
) {
    assert!(
        xs.fits(x.len()) && ys.fits(y.len()),
        "shapes of two tensors"
    );
    let (h, w) = match M {
        UP => (2 * xs.height, 2 * xs.width),
        DOWN => (xs.height / 2, xs.width / 2),
        _ => (xs.height, xs.width),
    };
    assert!(
        (xs.n, xs.channels, h, w) == (ys.n, ys.channels, ys.height, ys.width),
        "shapes of two tensors"
    );
    assert!(
        M != DOWN || (xs.height, xs.width) == (2 * h, 2 * w),
        "shapes of two tensors"
    );
    loops(
        set,
        Rows::<T, M> {
            x,
            xs,
            y,
            ys,
            factor,
        },
    );
}

/// `y += factor x`, pixels only; strides may differ. Panics on slices that the shapes do not fit,
/// as do the next three.
pub fn add_images<T: Pointwise>(set: Set, factor: T, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows(T::pointwise().add, set, x, xs, y, ys, factor);
}

/// `y = factor x`, pixels only.
pub fn set_images<T: Pointwise>(set: Set, factor: T, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows(T::pointwise().set, set, x, xs, y, ys, factor);
}

/// Every pixel four times: the nearest neighbour at twice the size.
pub fn upsample<T: Pointwise>(set: Set, x: &[T], xs: Images, y: &mut [T], ys: Images) {
    rows(T::pointwise().up, set, x, xs, y, ys, T::of(1.0));
}

/// `dx += ` the sums over the four pixels that each became: the gradient of [`upsample`].
pub fn upsample_back<T: Pointwise>(set: Set, dy: &[T], ys: Images, dx: &mut [T], xs: Images) {
    rows(T::pointwise().down, set, dy, ys, dx, xs, T::of(1.0));
}

#[cfg(test)]
mod tests {
    use super::super::tensors::*;
    use super::*;

    /// Lengths about the widths of vectors, blocks, and the parts of a sum.
    const LENGTHS: [usize; 12] = [0, 1, 3, 4, 7, 8, 15, 16, 17, 33, 1023, 3100];

    /// Runs on all sets, which must give the same bits, and returns what came out.
    fn on_all<T: Pointwise>(run: impl Fn(Set) -> Vec<T>) -> Vec<T> {
        let scalar = run(Set::Scalar);
        for set in sets() {
            assert!(bits(&run(set)) == bits(&scalar), "{}", set.name());
        }
        scalar
    }

    /// `factor` times reproducible numbers.
    fn scaled<T: Pointwise>(n: usize, seed: u64, factor: f64) -> Vec<T> {
        numbers::<T>(n, seed)
            .iter()
            .map(|x| T::of(x.f64() * factor))
            .collect()
    }

    fn slope(z: f64) -> f64 {
        let g = 1.0 / (1.0 + (-z).exp());
        g * (1.0 + z * (1.0 - g))
    }

    /// SiLU and its gradient. Bounds, first order, with a hundredth for the rest: exp within 4 u;
    /// 1 + e and the quotient 2 u more, so 6 u for a sigmoid g and 7 u for z g; 1 - g within 7 u
    /// absolutely, so the slope within 7 u g |z| + 8 u |slope|, and 2 u for product and sum.
    fn silus<T: Pointwise>() {
        let u = 1.01 * (T::ROUNDOFF + U64);
        for n in LENGTHS {
            let (x, dy, before) = (
                scaled::<T>(n, 1, 30.0),
                numbers::<T>(n, 2),
                numbers::<T>(n, 3),
            );
            let y = on_all(|set| {
                let mut y = vec![T::default(); n];
                silu(set, &x, &mut y);
                y
            });
            let dx = on_all(|set| {
                let mut dx = before.clone();
                silu_back(set, &x, &dy, &mut dx);
                dx
            });
            for i in 0..n {
                let (z, d, before) = (x[i].f64(), dy[i].f64(), before[i].f64());
                let g = 1.0 / (1.0 + (-z).exp());
                assert!((y[i].f64() - z * g).abs() <= 7.0 * u * (z * g).abs(), "{z}");
                let (added, sum) = (d * slope(z), before + d * slope(z));
                let bound = d.abs() * 7.0 * u * g * z.abs() + 9.0 * u * added.abs() + u * sum.abs();
                assert!((dx[i].f64() - sum).abs() <= bound, "{z}");
            }
        }
        // beyond the range of exp: 0 and x themselves, within what e^-87 and x e^-88 are
        let x: Vec<T> = [-1e6, -100.0, 100.0, 1e6, 0.0].map(T::of).to_vec();
        let mut y = vec![T::default(); 5];
        silu(Set::current(), &x, &mut y);
        for (x, y) in x.iter().zip(&y) {
            assert!(
                (y.f64() - x.f64().max(0.0)).abs() <= 1e-30 * x.f64().abs(),
                "{x:?} {y:?}"
            );
        }
    }

    /// Catches a wrong branch or end of a loop, a gradient written where it should be added.
    #[test]
    fn silu_is_its_definition() {
        silus::<f32>();
        silus::<f64>();
    }

    /// Catches a slope that is not SiLU's: central differences of the loop in f64; h = 1e-5 leaves
    /// h^2/6 of a third derivative below 1 and 1e-16 |y| / h, together 1e-10 for |x| <= 8; 1e-7 of
    /// the largest slope is asked.
    #[test]
    fn slopes_are_central_differences() {
        let (x, h) = (scaled::<f64>(1000, 1, 8.0), 1e-5);
        let at = |by: f64| {
            let mut y = vec![0.0; x.len()];
            silu(
                Set::current(),
                &x.iter().map(|x| x + by).collect::<Vec<_>>(),
                &mut y,
            );
            y
        };
        let (above, below, mut dx) = (at(h), at(-h), vec![0.0; x.len()]);
        silu_back(Set::current(), &x, &vec![1.0; x.len()], &mut dx);
        for i in 0..x.len() {
            assert!(
                ((above[i] - below[i]) / (2.0 * h) - dx[i]).abs() <= 1e-7,
                "{}",
                x[i]
            );
        }
    }

    fn sums<T: Pointwise>() {
        for n in LENGTHS {
            let (x, y) = (numbers::<T>(n, 1), numbers::<T>(n, 2));
            let factor = T::of(-0.3);
            // one rounding, of the very numbers: the definition in the type itself is exact
            let got = on_all(|set| {
                let mut y = y.clone();
                add_scaled(set, &x, factor, &mut y);
                y
            });
            let one = |x: T, f: T, y: T| T::of(x.f64().mul_add(f.f64(), y.f64()));
            let u = 2.0 * T::ROUNDOFF; // f32 rounds twice here: once in f64
            for i in 0..n {
                let want = one(x[i], factor, y[i]).f64();
                assert!((got[i].f64() - want).abs() <= u * want.abs());
            }
            let got = on_all(|set| {
                let mut y = y.clone();
                scale(set, factor, &mut y);
                y
            });
            assert!((0..n).all(|i| got[i] == T::of(y[i].f64() * factor.f64()))); // a product of two f32 is exact in f64
            // sixteen chains of at most 64 multiply-adds, then their sums in f64, and those of the
            // definition
            let want: f64 = x.iter().map(|x| x.f64().powi(2)).sum();
            let got: Vec<f64> = sets().map(|set| sum_of_squares(set, &x)).collect();
            let bound = (64.0 * T::ROUNDOFF + (34 + n / 1024 + n) as f64 * U64) * want;
            assert!(
                (got[0] - want).abs() <= bound && got.iter().all(|g| *g == got[0]),
                "{n}: {got:?} for {want}"
            );
        }
    }

    /// Catches a lost end of a slice, a sum that is not in one order on all sets.
    #[test]
    fn flat_sums_are_their_definition() {
        sums::<f32>();
        sums::<f64>();
    }

    /// Adam as in the paper by Kingma and Ba (Algorithm 1), decay decoupled as in Loshchilov and
    /// Hutter, in f64. Every step starts from the loop's own state of the last, so that the bound
    /// is that of one step: u times
    /// - m: 2 |beta1 m| + 4 |(1 - beta1) g|: clip, difference, product; product; sum
    /// - v: 6 v, all being positive: g twice, squared, difference, product, sum
    /// - p: 2 |keep p|, the moment's error, and 9 of the move: the root is within (6 + 1)/2 + 1,
    ///   eps, product, quotient and difference 1 each
    /// - ema: the move's error, and 1 for the difference and 1 for the sum
    fn adams<T: Pointwise>() {
        let u = 1.01 * (T::ROUNDOFF + 4.0 * U64); // the definition has its own products, e.g. with the rate
        for n in LENGTHS.into_iter().filter(|n| *n < 1000) {
            let [clip, beta1, beta2, lr, eps, decay, average] =
                [0.7, 0.9, 0.999, 0.01, 1e-8, 0.1, 0.05]
                    .map(T::of)
                    .map(T::f64);
            let [mut p, mut m, mut v, mut ema] = [
                numbers::<T>(n, 1),
                vec![T::default(); n],
                vec![T::default(); n],
                numbers::<T>(n, 2),
            ];
            for t in 1..=5 {
                let g = scaled::<T>(n, 10 + t as u64, 3.0);
                let step = AdamStep {
                    clip: T::of(clip),
                    beta1: T::of(beta1),
                    beta2: T::of(beta2),
                    rate: T::of(lr / (1.0 - beta1.powi(t))),
                    unbias2: T::of(1.0 / (1.0 - beta2.powi(t))),
                    eps: T::of(eps),
                    keep: T::of(1.0 - lr * decay),
                    average: T::of(average),
                };
                let all = on_all(|set| {
                    let (mut p, mut m, mut v, mut ema) =
                        (p.clone(), m.clone(), v.clone(), ema.clone());
                    adam(set, step, &g, &mut p, &mut m, &mut v, &mut ema);
                    [p, m, v, ema].concat()
                });
                let close = |what: &str, got: T, want: f64, bound: f64| {
                    assert!(
                        (got.f64() - want).abs() <= u * bound,
                        "{what} at step {t}: {got:?} for {want}"
                    );
                };
                for i in 0..n {
                    let g = clip * g[i].f64();
                    let (old_m, old_p) = (beta1 * m[i].f64(), p[i].f64());
                    let new_m = old_m + (1.0 - beta1) * g;
                    let new_v = beta2 * v[i].f64() + (1.0 - beta2) * g * g;
                    let (m_hat, v_hat) =
                        (new_m / (1.0 - beta1.powi(t)), new_v / (1.0 - beta2.powi(t)));
                    let moved = lr * m_hat / (v_hat.sqrt() + eps);
                    let new_p = old_p - lr * decay * old_p - moved;
                    let e_m = 2.0 * old_m.abs() + 4.0 * ((1.0 - beta1) * g).abs();
                    // rate, keep and unbias2 are rounded to T: one more for each
                    let e_p = 3.0 * old_p.abs()
                        + moved.abs() * (9.0 + 1.5 + e_m / new_m.abs())
                        + new_p.abs();
                    let (old_ema, kept) = (ema[i].f64(), all[i].f64());
                    close("m", all[n + i], new_m, e_m);
                    close("v", all[2 * n + i], new_v, 6.0 * new_v);
                    close("p", all[i], new_p, e_p);
                    let new_ema = old_ema + average * (kept - old_ema);
                    close(
                        "ema",
                        all[3 * n + i],
                        new_ema,
                        average * (kept - old_ema).abs() + new_ema.abs(),
                    );
                }
                let mut parts = all.chunks(n.max(1)).map(<[T]>::to_vec);
                let mut next = || parts.next().unwrap_or_default();
                (p, m, v, ema) = (next(), next(), next(), next());
            }
        }
    }

    /// Catches a moment without its decay, a missing correction of bias, a clip, decay or average
    /// at the wrong place.
    #[test]
    fn adam_is_its_definition() {
        adams::<f32>();
        adams::<f64>();
    }

    /// Pairs of shapes (apart differently) at the edges.
    fn shapes() -> Vec<[Images; 2]> {
        let mut all = vec![];
        for (n, h, w) in [
            (1, 1, 1),
            (3, 1, 2),
            (2, 2, 3),
            (1, 3, 4),
            (2, 2, 5),
            (1, 1, 6),
            (2, 4, 7),
            (3, 2, 8),
            (1, 2, 9),
            (0, 2, 2),
        ] {
            for channels in [16, 32, 48] {
                let s = Images::new(n, channels, h, w);
                all.push([apart(s, 16), s]);
                all.push([s, apart(s, 5)]);
            }
        }
        all.truncate(if cfg!(miri) { 8 } else { all.len() });
        all
    }

    /// Sums of channels: a chain of `height * (width + 3)/4` additions and 2 more; the total one
    /// for each image.
    fn channels<T: Pointwise>() {
        let (u, none) = (1.01 * (T::ROUNDOFF + U64), f64::NAN);
        for [s, _] in shapes() {
            let (x, start) = (tensor::<T>(s, 1, none, none), numbers::<T>(s.channels, 2));
            let flat = Images::new(1, s.channels, 1, s.n + 2);
            let before = tensor::<T>(flat, 3, KEPT, KEPT);
            let all = on_all(|set| {
                let (mut each, mut total, mut alone) =
                    (before.clone(), start.clone(), start.clone());
                channel_sums(set, &x, s, Some((&mut each, flat)), &mut total);
                channel_sums(set, &x, s, None, &mut alone);
                assert!(bits(&total) == bits(&alone));
                [each, total].concat()
            });
            let (each, total) = all.split_at(before.len());
            let chain = (s.height * (s.width.div_ceil(4) + s.width) + 2) as f64; // the definition's is longer
            for c in 0..s.channels {
                let (mut sum, mut size) = (start[c].f64(), start[c].f64().abs());
                for n in 0..s.n {
                    let of = |f: &dyn Fn(f64) -> f64| {
                        places(s)
                            .filter(|p| p[0] == n && p[1] == c)
                            .map(|p| f(x[at(s, p)].f64()))
                            .sum::<f64>()
                    };
                    let (one, all) = (of(&|x| x), of(&f64::abs));
                    assert!(
                        (each[flat.at(0, c, 0, n)].f64() - one).abs() <= chain * u * all,
                        "{s:?} {n} {c}"
                    );
                    sum += one;
                    size += all;
                }
                assert!(
                    (total[c].f64() - sum).abs() <= (chain + s.n as f64) * u * size,
                    "{s:?} {c}"
                );
            }
            // the rows beyond the images, and all around
            let mut expected = before.clone();
            (0..s.n)
                .flat_map(|n| (0..s.channels).map(move |c| flat.at(0, c, 0, n)))
                .for_each(|at| expected[at] = each[at]);
            assert!(bits(&expected) == bits(each), "{s:?}");
        }
    }

    /// Catches a sum over another channel, row or image, a total that is written instead of added
    /// to.
    #[test]
    fn sums_of_channels_are_their_definition() {
        channels::<f32>();
        channels::<f64>();
    }

    /// What goes in is multiples of 1/8 below 2, so that all sums and products by 1/2 are exact:
    /// equality.
    fn between_tensors<T: Pointwise>() {
        let eighths = |s: Images, seed: u64, around: f64| {
            let mut x = tensor::<T>(s, seed, around, around);
            places(s).for_each(|p| x[at(s, p)] = T::of((x[at(s, p)].f64() * 8.0).round() / 8.0));
            x
        };
        let half = T::of(0.5);
        for [xs, ys] in shapes() {
            let large = Images {
                height: 2 * xs.height,
                width: 2 * xs.width,
                ..ys
            };
            let large = apart(
                Images::new(large.n, large.channels, large.height, large.width),
                xs.channels - 16,
            );
            let (x, y0, up0) = (
                eighths(xs, 1, f64::NAN),
                eighths(ys, 2, KEPT),
                eighths(large, 3, KEPT),
            );
            let run = |to: Images, start: &[T], f: &dyn Fn(Set, &mut [T])| {
                let y = on_all(|set| {
                    let mut y = start.to_vec();
                    f(set, &mut y);
                    y
                });
                only_pixels(to, start, &y);
                y
            };
            let added = run(ys, &y0, &|set, y| add_images(set, half, &x, xs, y, ys));
            let written = run(ys, &y0, &|set, y| set_images(set, half, &x, xs, y, ys));
            for p in places(xs) {
                let (x, y) = (x[at(xs, p)].f64(), y0[at(ys, p)].f64());
                assert_eq!(added[at(ys, p)].f64(), y + 0.5 * x, "{xs:?} {p:?}");
                assert_eq!(written[at(ys, p)].f64(), 0.5 * x, "{xs:?} {p:?}");
            }
            let up = run(large, &up0, &|set, y| upsample(set, &x, xs, y, large));
            let dy = eighths(large, 4, f64::NAN);
            let down = run(ys, &y0, &|set, dx| upsample_back(set, &dy, large, dx, ys));
            let mut sums = vec![0.0; y0.len()];
            for p @ [n, c, y, x_at] in places(large) {
                let small = [n, c, y / 2, x_at / 2];
                assert_eq!(up[at(large, p)], x[at(xs, small)], "{xs:?} {p:?}");
                sums[at(ys, small)] += dy[at(large, p)].f64();
            }
            for p in places(ys) {
                assert_eq!(
                    down[at(ys, p)].f64(),
                    y0[at(ys, p)].f64() + sums[at(ys, p)],
                    "{ys:?} {p:?}"
                );
            }
        }
    }

    /// Catches a pixel that goes to a wrong place, a gradient of upsampling that is not the sum
    /// over its four pixels (with it the derivative: upsampling is linear), and whatever is read or
    /// written outside the pixels.
    #[test]
    fn tensors_are_added_written_and_sampled() {
        between_tensors::<f32>();
        between_tensors::<f64>();
    }

    /// Catches a slice or a shape that does not fit and is taken nevertheless.
    #[test]
    fn what_does_not_fit_is_refused() {
        let set = Set::current();
        let (s, z) = (Images::new(2, 32, 2, 4), vec![0f32; 4096]);
        let (half, flat) = (Images::new(2, 32, 1, 2), Images::new(1, 32, 1, 2));
        let len = s.len();
        let w = |n: usize| vec![0f32; n];
        let step = AdamStep {
            clip: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            rate: 0.1,
            unbias2: 1.0,
            eps: 1e-8,
            keep: 1.0,
            average: 0.1,
        };
        let add = |x: usize, xs: Images, y: usize, ys: Images| {
            add_images(set, 1.0, &z[..x], xs, &mut w(y), ys)
        };
        let sum = |x: usize, xs: Images, each: usize, flat: Images, total: usize| {
            channel_sums(set, &z[..x], xs, Some((&mut w(each), flat)), &mut w(total));
        };
        add(len, s, len, s);
        sum(len, s, flat.len(), flat, 32);
        adam(
            set,
            step,
            &z[..9],
            &mut w(9),
            &mut w(9),
            &mut w(9),
            &mut w(9),
        );
        let tall = Images { height: 3, ..s };
        let odd = Images::new(2, 32, 3, 5);
        refused(vec![
            (
                "short y of silu",
                Box::new(|| silu(set, &z[..9], &mut w(8))),
            ),
            (
                "long y of silu",
                Box::new(|| silu(set, &z[..9], &mut w(10))),
            ),
            (
                "short dy",
                Box::new(|| silu_back(set, &z[..9], &z[..8], &mut w(9))),
            ),
            (
                "short dx",
                Box::new(|| silu_back(set, &z[..9], &z[..9], &mut w(8))),
            ),
            (
                "short y to add to",
                Box::new(|| add_scaled(set, &z[..9], 1.0, &mut w(8))),
            ),
            (
                "short weights",
                Box::new(|| {
                    adam(
                        set,
                        step,
                        &z[..9],
                        &mut w(8),
                        &mut w(9),
                        &mut w(9),
                        &mut w(9),
                    )
                }),
            ),
            (
                "short first moment",
                Box::new(|| {
                    adam(
                        set,
                        step,
                        &z[..9],
                        &mut w(9),
                        &mut w(8),
                        &mut w(9),
                        &mut w(9),
                    )
                }),
            ),
            (
                "short second moment",
                Box::new(|| {
                    adam(
                        set,
                        step,
                        &z[..9],
                        &mut w(9),
                        &mut w(9),
                        &mut w(8),
                        &mut w(9),
                    )
                }),
            ),
            (
                "short average",
                Box::new(|| {
                    adam(
                        set,
                        step,
                        &z[..9],
                        &mut w(9),
                        &mut w(9),
                        &mut w(9),
                        &mut w(8),
                    )
                }),
            ),
            ("short x", Box::new(|| add(len - 1, s, len, s))),
            ("short y", Box::new(|| add(len, s, len - 1, s))),
            ("other height", Box::new(|| add(len, s, 2 * len, tall))),
            (
                "no whole block",
                Box::new(|| {
                    add(
                        len,
                        Images { channels: 24, ..s },
                        len,
                        Images { channels: 24, ..s },
                    )
                }),
            ),
            (
                "images that overlap",
                Box::new(|| add(len, s, len, Images { stride: 1, ..s })),
            ),
            (
                "endless",
                Box::new(|| {
                    add(
                        len,
                        Images { n: 1 << 60, ..s },
                        len,
                        Images { n: 1 << 60, ..s },
                    )
                }),
            ),
            (
                "upsampling to another size",
                Box::new(|| upsample(set, &z[..len], s, &mut w(4 * len), tall)),
            ),
            (
                "gradient of upsampling from odd",
                Box::new(|| upsample_back(set, &z[..odd.len()], odd, &mut w(len), half)),
            ),
            (
                "short x of sums",
                Box::new(|| sum(len - 1, s, flat.len(), flat, 32)),
            ),
            (
                "short each of sums",
                Box::new(|| sum(len, s, flat.len() - 1, flat, 32)),
            ),
            (
                "short total of sums",
                Box::new(|| sum(len, s, flat.len(), flat, 31)),
            ),
            (
                "too few rows of sums",
                Box::new(|| sum(len, s, flat.len(), Images::new(1, 32, 1, 1), 32)),
            ),
            (
                "flat tensor of two rows",
                Box::new(|| sum(len, s, 1024, Images::new(1, 32, 2, 2), 32)),
            ),
        ]);
    }
}
