//! 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3): 16 multiplications for four outputs of a
//! channel, where the direct loop makes 36.
//!
//! ```text
//! y = A^T [ (G g G^T) . (B^T d B) ] A        d: 4x4 pixels, g: 3x3 weights, y: 2x2 outputs, . element by element
//! dg = G^T [ sum (B^T d B) . (A dy A^T) ] G   the gradient of the weights, over all tiles
//! ```
//! Each of the 16 elements is a matrix product over channels: a 1x1 convolution of an image that
//! has a pixel for every tile of 2x2, by [`conv`](super::conv)'s own loop. A strip of tiles goes
//! through all three parts while it is in the cache. All instruction sets give the same bits.
//! Differences are rounded before they are multiplied, but chains are a ninth as long: the root of
//! the mean square of the error is 0.6 of the direct loop's over the shapes of the tests, and 1.4
//! times it for the gradient of the weights. Formula: nn.winograd. Source: Winograd 1980; Lavin and
//! Gray 2016.

use super::conv::{BLOCK, Conv, Convolutions, Finish, Images, PerImage};
use super::float::{Float, blocks, compiled, each, load};
use crate::simd::{Lane, Set, Task};

compiled!(Winograds, winograd, Convolutions, {
    weights: Weights<'a, T>,
    inward: Inward<'a, T>,
    outward: Outward<'a, T>,
    backward: Backward<'a, T>,
    sums: Sums<'a, T>,
});

/// Images of fewer columns are faster by the direct loop.
pub const NARROWEST: usize = 8;

/// Elements of a transformed tile.
const ELEMENTS: usize = 16;

/// Numbers of a strip's transformed tiles, going in and coming out: they stay in the second-level
/// cache.
const STRIP: usize = 3 << 15;

/// Distance of two elements' images: a line more than their length, or all of them might share a
/// few sets of the cache.
#[inline]
fn apart(strip: Images) -> usize {
    strip.len() + BLOCK
}

/// A convolution that can be done this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winograd {
    conv: Conv,
    /// Rows of tiles of a strip.
    rows: usize,
}

impl Winograd {
    /// `None` unless it is 3x3 of stride 1 on images of even height and width, at least
    /// [`NARROWEST`] columns.
    pub fn new(conv: Conv) -> Option<Winograd> {
        let (input, output) = (conv.input, conv.output);
        let fits = conv.size == 3
            && conv.stride == 1
            && input.height.is_multiple_of(2)
            && input.width.is_multiple_of(2)
            && input.width >= NARROWEST
            && input.n > 0;
        // the public fields of a `Conv` need not have come from its constructor
        Conv::between(input, output, conv.size, conv.stride).filter(|_| fits)?;
        let row = ELEMENTS * (input.channels + output.channels) * (input.width / 2);
        let rows = STRIP / row;
        // whole fours, so that a strip of narrow images fills the registers of the product's loop
        let rows = if rows > 4 { rows / 4 * 4 } else { rows };
        Some(Winograd {
            conv,
            rows: rows.clamp(1, input.n * input.height / 2),
        })
    }

    /// Numbers of the transformed weights.
    pub fn weights(&self) -> usize {
        ELEMENTS * self.conv.input.channels * self.conv.output.channels
    }

    /// A strip of `rows` rows of tiles, as images of one row that has a pixel for every tile: in
    /// and out.
    fn strip(&self, rows: usize) -> [Images; 2] {
        [self.conv.input.channels, self.conv.output.channels]
            .map(|c| Images::new(1, c, 1, rows * (self.conv.input.width / 2)))
    }

    /// Numbers of a strip's transformed tiles: in and out.
    fn tiles(&self) -> [usize; 2] {
        self.strip(self.rows).map(|s| ELEMENTS * apart(s))
    }

    /// Every strip: its first row of tiles, and its images.
    fn strips(&self) -> impl Iterator<Item = (usize, [Images; 2])> {
        let all = self.conv.input.n * self.conv.input.height / 2;
        (0..all)
            .step_by(self.rows)
            .map(move |first| (first, self.strip(self.rows.min(all - first))))
    }

    /// Numbers of the memory it works in. What is there before does not matter.
    pub fn scratch(&self) -> usize {
        self.tiles().iter().sum::<usize>() + self.conv.output.channels
    }

    /// `G g G^T` of every pair of channels. Panics on slices of other lengths.
    pub fn transform<T: Winograds>(&self, set: Set, w: &[T], u: &mut [T]) {
        assert!(
            w.len() == self.conv.weights() && u.len() == self.weights(),
            "weights of a convolution"
        );
        (T::winograd().weights)(set, Weights { w, u });
    }

    /// As [`Conv::fused`], with transformed weights. Panics on slices that the shapes do not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_on<T: Winograds>(
        &self,
        set: Set,
        x: &[T],
        u: &[T],
        bias: &[T],
        per_image: PerImage<T>,
        finish: Finish<T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (input, output) = (self.conv.input, self.conv.output);
        assert!(
            x.len() >= input.len() && y.len() >= output.len() && u.len() == self.weights(),
            "shapes of a convolution"
        );
        assert!(scratch.len() >= self.scratch(), "memory of a convolution");
        self.conv.check_added(bias, per_image, finish);
        let (zeros, scratch) = scratch[..self.scratch()].split_at_mut(output.channels);
        zeros.fill(T::default());
        let (ins, outs) = scratch.split_at_mut(self.tiles()[0]);
        for (first, [from, to]) in self.strips() {
            (T::winograd().inward)(
                set,
                Inward {
                    x,
                    images: input,
                    first,
                    strip: from,
                    v: ins,
                },
            );
            let each = Conv::between(from, to, 1, 1).expect("channels of a convolution");
            let weights = u.chunks_exact(each.weights());
            for ((v, u), m) in ins
                .chunks_exact(apart(from))
                .zip(weights)
                .zip(outs.chunks_exact_mut(apart(to)))
            {
                each.forward_on(set, v, u, zeros, None, Finish::Write, m);
            }
            (T::winograd().outward)(
                set,
                Outward {
                    m: outs,
                    strip: to,
                    first,
                    images: output,
                    bias,
                    per_image,
                    finish,
                    y,
                },
            );
        }
    }

    /// Numbers of the memory of [`weight_gradient_on`](Self::weight_gradient_on).
    pub fn weight_scratch(&self) -> usize {
        self.tiles().iter().sum::<usize>() + self.weights()
    }

    /// As [`Conv::weight_gradient`]: `dg = G^T [sum over tiles of (B^T d B) . (A dy A^T)] G`, the
    /// sums again 1x1 convolutions' own. Panics on slices that the shapes do not fit.
    pub fn weight_gradient_on<T: Winograds>(
        &self,
        set: Set,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        add: bool,
        scratch: &mut [T],
    ) {
        let (input, output) = (self.conv.input, self.conv.output);
        assert!(
            x.len() >= input.len() && dy.len() >= output.len() && dw.len() == self.conv.weights(),
            "shapes of a convolution"
        );
        assert!(
            scratch.len() >= self.weight_scratch(),
            "memory of a convolution"
        );
        let (sums, scratch) = scratch[..self.weight_scratch()].split_at_mut(self.weights());
        let (ins, outs) = scratch.split_at_mut(self.tiles()[0]);
        for (first, [from, to]) in self.strips() {
            (T::winograd().inward)(
                set,
                Inward {
                    x,
                    images: input,
                    first,
                    strip: from,
                    v: ins,
                },
            );
            (T::winograd().backward)(
                set,
                Backward {
                    dy,
                    images: output,
                    first,
                    strip: to,
                    v: outs,
                },
            );
            let each = Conv::between(from, to, 1, 1).expect("channels of a convolution");
            let sums = sums.chunks_exact_mut(each.weights());
            for ((v, m), sum) in ins
                .chunks_exact(apart(from))
                .zip(outs.chunks_exact(apart(to)))
                .zip(sums)
            {
                each.weight_gradient_on(set, v, m, sum, first > 0);
            }
        }
        (T::winograd().sums)(set, Sums { sums, dw, add });
    }
}

/// A transform of columns, then of rows.
#[inline(always)]
fn separable<L: Lane, const A: usize, const B: usize>(
    d: [[L; A]; A],
    f: impl Fn([L; A]) -> [L; B],
) -> [[L; B]; B] {
    let mut columns = [[d[0][0]; A]; B];
    for j in 0..A {
        let mut one = [d[0][j]; A];
        for i in 1..A {
            one[i] = d[i][j];
        }
        let column = f(one);
        for i in 0..B {
            columns[i][j] = column[i];
        }
    }
    let mut rows = [[d[0][0]; B]; B];
    for i in 0..B {
        rows[i] = f(columns[i]);
    }
    rows
}

/// Writes the elements of every tile of a strip: `tile` gives them, from the place of a vector of
/// the tile's first output.
#[inline(always)]
fn each_tile<L: Lane, const V: usize>(
    s: Images,
    first: usize,
    strip: Images,
    v: &mut [L::Item],
    tile: impl Fn(usize) -> [[L; 4]; 4],
) {
    let (len, tiles) = (apart(strip), s.width / 2);
    for b in 0..s.blocks() {
        for r in 0..strip.width / tiles {
            let (n, ty) = ((first + r) / (s.height / 2), (first + r) % (s.height / 2));
            for tx in 0..tiles {
                let (from, to) = (
                    s.at(n, b * BLOCK, 2 * ty, 2 * tx),
                    strip.at(0, b * BLOCK, 0, r * tiles + tx),
                );
                for at in (0..V).map(|part| part * L::WIDTH) {
                    let elements = tile(from + at);
                    for i in 0..4 {
                        for j in 0..4 {
                            elements[i][j].store(&mut v[(4 * i + j) * len + to + at..]);
                        }
                    }
                }
            }
        }
    }
}

pub(super) struct Backward<'a, T> {
    dy: &'a [T],
    images: Images,
    first: usize,
    strip: Images,
    v: &'a mut [T],
}

impl<T: Float> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, backward(self));
    }
}

/// `A d` for one column: `d_0, d_0 + d_1, d_0 - d_1, -d_1`.
#[inline(always)]
fn scatter<L: Lane>(d: [L; 2]) -> [L; 4] {
    [d[0], d[0] + d[1], d[0] - d[1], -d[1]]
}

#[inline(always)]
fn backward<T: Float, L: Lane<Item = T>, const V: usize>(
    Backward {
        dy,
        images: s,
        first,
        strip,
        v,
    }: Backward<T>,
) {
    each_tile::<L, V>(s, first, strip, v, |from| {
        let mut d = [[L::splat(T::default()); 2]; 2];
        for i in 0..2 {
            for j in 0..2 {
                d[i][j] = L::load(&dy[from + i * s.row() + j * BLOCK..]);
            }
        }
        separable(d, scatter)
    });
}

pub(super) struct Sums<'a, T> {
    sums: &'a [T],
    dw: &'a mut [T],
    add: bool,
}

impl<T: Float> Task for Sums<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, weights_out(self));
    }
}

/// `G^T m` for one column: `m_0 + (m_1 + m_2)/2, (m_1 - m_2)/2, (m_1 + m_2)/2 + m_3`.
#[inline(always)]
fn narrow<T: Float, L: Lane<Item = T>>(m: [L; 4]) -> [L; 3] {
    let half = L::splat(T::of(0.5));
    let (sum, difference) = ((m[1] + m[2]) * half, (m[1] - m[2]) * half);
    [m[0] + sum, difference, sum + m[3]]
}

#[inline(always)]
fn weights_out<T: Float, L: Lane<Item = T>, const V: usize>(Sums { sums, dw, add }: Sums<T>) {
    let square = BLOCK * BLOCK;
    let part = sums.len() / ELEMENTS;
    for (pair, dw) in dw.chunks_exact_mut(9 * square).enumerate() {
        for at in (0..square).step_by(L::WIDTH) {
            let mut m = [[L::splat(T::default()); 4]; 4];
            for i in 0..4 {
                for j in 0..4 {
                    m[i][j] = L::load(&sums[(4 * i + j) * part + pair * square + at..]);
                }
            }
            let taps = separable(m, narrow);
            for ky in 0..3 {
                for kx in 0..3 {
                    let to = &mut dw[(3 * ky + kx) * square + at..];
                    let sum = if add {
                        L::load(to) + taps[ky][kx]
                    } else {
                        taps[ky][kx]
                    };
                    sum.store(to);
                }
            }
        }
    }
}

pub(super) struct Weights<'a, T> {
    w: &'a [T],
    u: &'a mut [T],
}

impl<T: Float> Task for Weights<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, weights_in(self));
    }
}

/// `G g` for one column: `g_0, (g_0 + g_1 + g_2)/2, (g_0 - g_1 + g_2)/2, g_2`.
#[inline(always)]
fn spread<T: Float, L: Lane<Item = T>>(g: [L; 3]) -> [L; 4] {
    let half = L::splat(T::of(0.5));
    let (outer, inner) = ((g[0] + g[2]) * half, g[1] * half);
    [g[0], outer + inner, outer - inner, g[2]]
}

#[inline(always)]
fn weights_in<T: Float, L: Lane<Item = T>, const V: usize>(Weights { w, u }: Weights<T>) {
    let square = BLOCK * BLOCK;
    let part = u.len() / ELEMENTS;
    // the kernel's nine taps of a pair of blocks stand one after the other
    for (pair, w) in w.chunks_exact(9 * square).enumerate() {
        for at in (0..square).step_by(L::WIDTH) {
            let g: [[L; 3]; 3] = each(|ky| each(|kx| L::load(&w[(3 * ky + kx) * square + at..])));
            let elements = separable(g, spread);
            for i in 0..4 {
                for j in 0..4 {
                    elements[i][j].store(&mut u[(4 * i + j) * part + pair * square + at..]);
                }
            }
        }
    }
}

pub(super) struct Inward<'a, T> {
    x: &'a [T],
    images: Images,
    first: usize,
    strip: Images,
    v: &'a mut [T],
}

impl<T: Float> Task for Inward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, inward(self));
    }
}

/// `B^T d` for one column: `d_0 - d_2, d_1 + d_2, d_2 - d_1, d_1 - d_3`.
#[inline(always)]
fn difference<L: Lane>(d: [L; 4]) -> [L; 4] {
    [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]
}

#[inline(always)]
fn inward<T: Float, L: Lane<Item = T>, const V: usize>(
    Inward {
        x,
        images: s,
        first,
        strip,
        v,
    }: Inward<T>,
) {
    each_tile::<L, V>(s, first, strip, v, |from| {
        // a tile begins one pixel up and to the left of its outputs: in the border, for the first
        // ones
        let start = from - s.row() - BLOCK;
        let mut d = [[L::splat(T::default()); 4]; 4];
        for i in 0..4 {
            let row = &x[start + i * s.row()..];
            for j in 0..4 {
                d[i][j] = L::load(&row[j * BLOCK..]);
            }
        }
        separable(d, difference)
    });
}

pub(super) struct Outward<'a, T> {
    m: &'a [T],
    strip: Images,
    first: usize,
    images: Images,
    bias: &'a [T],
    per_image: PerImage<'a, T>,
    finish: Finish<'a, T>,
    y: &'a mut [T],
}

impl<T: Float> Task for Outward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, outward(self));
    }
}

/// `A^T m` for one column: `m_0 + m_1 + m_2, m_1 - m_2 - m_3`.
#[inline(always)]
fn gather<L: Lane>(m: [L; 4]) -> [L; 2] {
    [(m[0] + m[1]) + m[2], (m[1] - m[2]) - m[3]]
}

#[inline(always)]
fn outward<T: Float, L: Lane<Item = T>, const V: usize>(f: Outward<T>) {
    let Outward {
        m,
        strip,
        first,
        images: s,
        bias,
        per_image,
        finish,
        y,
    } = f;
    let (len, tiles) = (apart(strip), s.width / 2);
    for b in 0..s.blocks() {
        for r in 0..strip.width / tiles {
            let (n, ty) = ((first + r) / (s.height / 2), (first + r) % (s.height / 2));
            let mut start: [L; V] = load(&bias[b * BLOCK..]);
            if let Some((more, flat)) = per_image {
                let more: [L; V] = load(&more[flat.at(0, b * BLOCK, 0, n)..]);
                start = each(|v| start[v] + more[v]);
            }
            for tx in 0..tiles {
                let from = strip.at(0, b * BLOCK, 0, r * tiles + tx);
                for (v, start) in start.iter().enumerate() {
                    let at = v * L::WIDTH;
                    let mut e = [[*start; 4]; 4];
                    for i in 0..4 {
                        for j in 0..4 {
                            e[i][j] = L::load(&m[(4 * i + j) * len + from + at..]);
                        }
                    }
                    for (i, row) in separable(e, gather).iter().enumerate() {
                        for (j, &sum) in row.iter().enumerate() {
                            let (py, px) = (2 * ty + i, 2 * tx + j);
                            let to = &mut y[s.at(n, b * BLOCK, py, px) + at..];
                            let sum = sum + *start;
                            match finish {
                                Finish::Write => sum.store(to),
                                Finish::Add => (L::load(to) + sum).store(to),
                                Finish::Residual(more, rs, scale) => {
                                    let more = L::load(&more[rs.at(n, b * BLOCK, py, px) + at..]);
                                    ((more + sum) * L::splat(scale)).store(to);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two ways of one convolution on one set, and the same in f64 directly.
    fn both<T: Winograds>(c: Conv, set: Set) -> (Vec<T>, Vec<T>, Vec<f64>) {
        let narrow = |x: &[f64]| {
            x.iter()
                .map(|x| T::of(f64::from(*x as f32)))
                .collect::<Vec<T>>()
        };
        let wide = |x: &[f64]| x.iter().map(|x| f64::from(*x as f32)).collect::<Vec<f64>>();
        let mut x = vec![0.0; c.input.len()];
        let mut numbers = (0..).map(|i: usize| ((i * 7919 + 13) % 2017) as f64 / 1008.5 - 1.0);
        for n in 0..c.input.n {
            for ch in 0..c.input.channels {
                for p in 0..c.input.height * c.input.width {
                    x[c.input.at(n, ch, p / c.input.width, p % c.input.width)] =
                        numbers.next().unwrap();
                }
            }
        }
        let mut some = |n: usize| numbers.by_ref().take(n).collect::<Vec<f64>>();
        let (w, bias, y0) = (
            some(c.weights()),
            some(c.output.channels),
            some(c.output.len()),
        );
        let flat = Images::new(1, c.output.channels, 1, c.input.n);
        let (more, r) = (some(flat.len()), some(c.output.len()));
        let fast = Winograd::new(c).unwrap();
        let (mut u, mut scratch) = (
            vec![T::default(); fast.weights()],
            vec![T::of(f64::NAN); fast.scratch()],
        );
        fast.transform(set, &narrow(&w), &mut u);
        let (mut a, mut b, mut exact) = (vec![], vec![], vec![]);
        for finish in 0..3 {
            let of = |r| match finish {
                0 => Finish::Write,
                1 => Finish::Add,
                _ => Finish::Residual(r, c.output, T::of(0.75)),
            };
            let (rt, mt, xt, bt) = (narrow(&r), narrow(&more), narrow(&x), narrow(&bias));
            let per_image = (finish > 0).then_some((&mt[..], flat));
            let mut y = narrow(&y0);
            fast.forward_on(set, &xt, &u, &bt, per_image, of(&rt), &mut y, &mut scratch);
            a.extend(y);
            let mut y = narrow(&y0);
            c.forward_on(set, &xt, &narrow(&w), &bt, per_image, of(&rt), &mut y);
            b.extend(y);
            let (r64, m64) = (wide(&r), wide(&more));
            let finish64 = match finish {
                0 => Finish::Write,
                1 => Finish::Add,
                _ => Finish::Residual(&r64, c.output, 0.75),
            };
            let mut y = wide(&y0);
            c.forward_on(
                set,
                &wide(&x),
                &wide(&w),
                &wide(&bias),
                (finish > 0).then_some((&m64[..], flat)),
                finish64,
                &mut y,
            );
            exact.extend(y);
        }
        (a, b, exact)
    }

    fn shapes() -> Vec<Conv> {
        let mut all = vec![];
        for (n, h, w) in [
            (1, 2, 8),
            (5, 4, 8),
            (3, 8, 8),
            (2, 4, 10),
            (1, 2, 14),
            (3, 2, 16),
            (2, 4, 22),
            (2, 8, 18),
            (1, 14, 14),
            (2, 6, 28),
        ] {
            for (i, o) in [(16, 16), (32, 48), (64, 64)] {
                all.extend(Conv::new(Images::new(n, i, h, w), o, 3, 1));
            }
        }
        assert_eq!(all.len(), 30);
        if cfg!(miri) {
            all.truncate(1); // the others would take hours there
        }
        all
    }

    /// Catches a wrong sign, tile, border, strip or finish: in f64 the two ways agree to 1e-14 of
    /// the largest output (16 terms of each tile, chains of 576 roundings at the most), the border
    /// and what else is not a pixel stays as it was, and all sets give the same bits.
    #[test]
    fn is_the_direct_convolution() {
        for c in shapes() {
            let mut first: Option<Vec<f64>> = None;
            for set in Set::ALL.into_iter().filter(|s| s.available()) {
                let (fast, direct, _) = both::<f64>(c, set);
                let size = direct.iter().fold(0f64, |m, x| m.max(x.abs()));
                for (i, (f, d)) in fast.iter().zip(&direct).enumerate() {
                    assert!(
                        (f - d).abs() <= 1e-13 * size,
                        "{c:?} on {}: [{i}] {f} {d}",
                        set.name()
                    );
                }
                assert!(
                    first.as_ref().is_none_or(|f| *f == fast),
                    "{c:?} on {}",
                    set.name()
                );
                first = Some(fast);
            }
        }
        // odd sizes, narrow images and other kernels are not for it
        for (size, stride, h, w) in [
            (3, 2, 4, 14),
            (1, 1, 4, 14),
            (3, 1, 5, 14),
            (3, 1, 4, 15),
            (3, 1, 4, 6),
        ] {
            let c = Conv::new(Images::new(1, 16, h, w), 16, size, stride).unwrap();
            assert!(Winograd::new(c).is_none());
        }
    }

    /// The gradient of the weights in the two ways, and the same in f64 directly.
    fn gradients<T: Winograds>(c: Conv, set: Set) -> (Vec<T>, Vec<T>, Vec<f64>) {
        let of = |len: usize, seed: usize| -> Vec<f64> {
            (0..len)
                .map(|i| f64::from((((i + seed) * 7919) % 2017) as f32 / 1008.5 - 1.0))
                .collect()
        };
        let (mut x, dy, dw) = (
            vec![0.0; c.input.len()],
            of(c.output.len(), 5),
            of(c.weights(), 11),
        );
        let mut numbers = of(c.input.len(), 0).into_iter();
        for (n, ch) in (0..c.input.n).flat_map(|n| (0..c.input.channels).map(move |ch| (n, ch))) {
            for p in 0..c.input.height * c.input.width {
                x[c.input.at(n, ch, p / c.input.width, p % c.input.width)] =
                    numbers.next().unwrap();
            }
        }
        let narrow = |x: &[f64]| x.iter().map(|x| T::of(*x)).collect::<Vec<T>>();
        let fast = Winograd::new(c).unwrap();
        let mut scratch = vec![T::of(f64::NAN); fast.weight_scratch()];
        let (mut a, mut b, mut exact) = (vec![], vec![], vec![]);
        for add in [false, true] {
            let mut g = narrow(&dw);
            fast.weight_gradient_on(set, &narrow(&x), &narrow(&dy), &mut g, add, &mut scratch);
            a.extend(g);
            let mut g = narrow(&dw);
            c.weight_gradient_on(set, &narrow(&x), &narrow(&dy), &mut g, add);
            b.extend(g);
            let mut g = dw.clone();
            c.weight_gradient_on(set, &x, &dy, &mut g, add);
            exact.extend(g);
        }
        (a, b, exact)
    }

    /// Catches a wrong sign, tile, strip or place of the gradient of the weights: in f64 the two
    /// ways agree to 1e-13 of the largest one (sums of at most 392 pixels), written and added, and
    /// all sets give the same bits. In f32 the root of the mean square of the error is at most 4
    /// times the direct one.
    #[test]
    fn weight_gradients_are_the_direct_ones() {
        let (mut fast, mut direct) = (0.0, 0.0);
        for c in shapes() {
            let mut first: Option<Vec<f64>> = None;
            for set in Set::ALL.into_iter().filter(|s| s.available()) {
                let (a, b, _) = gradients::<f64>(c, set);
                let size = b.iter().fold(0f64, |m, x| m.max(x.abs()));
                for (i, (f, d)) in a.iter().zip(&b).enumerate() {
                    assert!(
                        (f - d).abs() <= 1e-13 * size,
                        "{c:?} on {}: [{i}] {f} {d}",
                        set.name()
                    );
                }
                assert!(
                    first.as_ref().is_none_or(|f| *f == a),
                    "{c:?} on {}",
                    set.name()
                );
                first = Some(a);
            }
            let (a, b, exact) = gradients::<f32>(c, Set::current());
            let of = |y: &[f32]| {
                (y.iter()
                    .zip(&exact)
                    .map(|(y, e)| (f64::from(*y) - e).powi(2))
                    .sum::<f64>()
                    / exact.len() as f64)
                    .sqrt()
            };
            (fast, direct) = (fast + of(&a), direct + of(&b));
        }
        assert!(fast <= 4.0 * direct, "{} times", fast / direct);
        println!("{:.2} times the direct loop's", fast / direct);
    }

    /// Catches a transform that loses more than it must: over all shapes the root of the mean
    /// square of the error in f32 is at most 4 times that of the direct loop, which is the
    /// condition for its use.
    #[test]
    fn errors_are_within_four_times_the_direct_ones() {
        let (mut fast, mut direct) = (0.0, 0.0);
        for c in shapes() {
            let (a, b, exact) = both::<f32>(c, Set::current());
            let of = |y: &[f32]| {
                (y.iter()
                    .zip(&exact)
                    .map(|(y, e)| (f64::from(*y) - e).powi(2))
                    .sum::<f64>()
                    / exact.len() as f64)
                    .sqrt()
            };
            println!(
                "{} to {} channels, {} x {}: {:.1e}, direct {:.1e}",
                c.input.channels,
                c.output.channels,
                c.input.height,
                c.input.width,
                of(&a),
                of(&b)
            );
            (fast, direct) = (fast + of(&a), direct + of(&b));
        }
        assert!(fast <= 4.0 * direct, "{} times", fast / direct);
        println!("{:.2} times the direct loop's", fast / direct);
    }
}
