//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 36 multiplications for 16 outputs of a
//! channel, where the direct loop makes 144.
//!
//! ```text
//! y = A^T [ (G g G^T) . (B^T d B) ] A        d: 6x6 pixels, g: 3x3 weights, y: 4x4 outputs, . element by element
//! dg = G^T [ sum (B^T d B) . (A dy A^T) ] G   the gradient of the weights, over all tiles
//! ```
//! The polynomials meet at the points 0, ±5/8, ±3/2 and infinity. Among points +-a, +-b of few bits
//! these lose least: the usual 0, ±1, ±2 more than twice as much. a^2, b^2, their sum and product
//! are exact in f32.
//!
//! Each of the 36 elements is a matrix product over channels (`strip`). A strip of
//! tiles goes through all three parts while it is in the cache. All instruction sets give the same bits. Against the
//! direct loop's, over the shapes of the tests, the root of the mean square of the error is 1.7
//! times as large, in the gradient of the weights 1.4 times. Formula: nn.winograd. Source: Winograd
//! 1980; Lavin and Gray 2016.

use super::conv::{BLOCK, Conv, Finish, Images, PerImage};
use super::float::{Float, blocks, compiled, each, load};
use super::strip::{
    APART, Correlations, ELEMENTS, GROUP, Products, SQUARE, Strip, Strips, correlations, products,
    weights,
};
use crate::simd::{Lane, Set, Task};

compiled!(Winograds, winograd, Strips, {
    weights: Weights<'a, T>,
    inward: Inward<'a, T>,
    outward: Outward<'a, T>,
    backward: Backward<'a, T>,
    sums: Sums<'a, T>,
});

/// Rows and columns of a tile's outputs.
const OUT: usize = 4;

/// Rows and columns of what they depend on, and of a tile's elements.
const IN: usize = OUT + 2;
const _: () = assert!(IN * IN == ELEMENTS);

/// The points, but for signs: a, b, and what the transforms have of them.
const A: f64 = 5.0 / 8.0;
const B: f64 = 3.0 / 2.0;
const A2: f64 = A * A;
const B2: f64 = B * B;

/// Numbers of a strip's transformed tiles, going in and coming out: they stay in the second-level
/// cache.
const STRIP: usize = 6 << 15;

/// Tiles of images: how many stand above each other and side by side, the last ones perhaps half
/// outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tiles {
    images: Images,
    tall: usize,
    wide: usize,
}

/// One of them: its image, its first row and column of outputs.
#[derive(Clone, Copy)]
struct Tile {
    n: usize,
    y: usize,
    x: usize,
}

impl Tiles {
    fn of(images: Images) -> Tiles {
        Tiles {
            images,
            tall: images.height.div_ceil(OUT),
            wide: images.width.div_ceil(OUT),
        }
    }

    fn len(&self) -> usize {
        self.images.n * self.tall * self.wide
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Tile {
        let row = i / self.wide;
        Tile {
            n: row / self.tall,
            y: OUT * (row % self.tall),
            x: OUT * (i % self.wide),
        }
    }
}

/// A convolution that can be done this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winograd {
    conv: Conv,
    /// Tiles of a strip.
    strip: usize,
}

impl Winograd {
    /// `None` unless it is 3x3 of stride 1 and the products become fewer by a third at least: the
    /// transforms cost something, and the direct loop leaves out rows of the kernel that are in the
    /// border, and columns where images have four at most.
    pub fn new(conv: Conv) -> Option<Winograd> {
        let (input, output) = (conv.input, conv.output);
        // the public fields of a `Conv` need not have come from its constructor
        Conv::between(input, output, conv.size, conv.stride)
            .filter(|_| conv.size == 3 && conv.stride == 1 && input.n > 0)?;
        let tiles = Tiles::of(output);
        let columns = match output.width {
            w @ 0..=4 => 3 * w - 2,
            w => 3 * w,
        };
        let direct = (3 * output.height - 2) * columns;
        if 3 * ELEMENTS * tiles.tall * tiles.wide > 2 * direct {
            return None;
        }
        let strip = STRIP / (ELEMENTS * (input.channels + output.channels));
        Some(Winograd {
            conv,
            strip: (strip / GROUP * GROUP).max(GROUP).min(tiles.len()),
        })
    }

    /// Numbers of the transformed weights.
    fn weights(&self) -> usize {
        weights(self.conv.input.channels, self.conv.output.channels)
    }

    /// A strip of so many tiles: in and out.
    fn strip(&self, tiles: usize) -> [Strip; 2] {
        [self.conv.input.channels, self.conv.output.channels]
            .map(|channels| Strip { tiles, channels })
    }

    /// Numbers of a strip's transformed tiles: in and out.
    fn tiles(&self) -> [usize; 2] {
        // the last strip may have fewer tiles and need more room than them, but not more than this
        self.strip(self.strip.next_multiple_of(GROUP))
            .map(Strip::len)
    }

    /// Every strip: its first tile, and its shapes.
    fn strips(&self) -> impl Iterator<Item = (usize, [Strip; 2])> {
        let all = Tiles::of(self.conv.output).len();
        (0..all)
            .step_by(self.strip)
            .map(move |first| (first, self.strip(self.strip.min(all - first))))
    }

    /// Numbers of the memory it works in, in either pass. What is there before does not matter.
    pub fn scratch(&self) -> usize {
        self.tiles().iter().sum::<usize>() + self.weights()
    }

    /// As [`Conv::fused`]. The weights are transformed anew in every call: four times as many
    /// numbers, which would be longer on their way from memory than they take to make. Panics on
    /// slices that the shapes do not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_on<T: Winograds>(
        &self,
        set: Set,
        x: &[T],
        w: &[T],
        bias: &[T],
        per_image: PerImage<T>,
        finish: Finish<T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (input, output) = (self.conv.input, self.conv.output);
        assert!(
            x.len() >= input.len() && y.len() >= output.len() && w.len() == self.conv.weights(),
            "shapes of a convolution"
        );
        assert!(scratch.len() >= self.scratch(), "memory of a convolution");
        self.conv.check_added(bias, per_image, finish);
        let (u, scratch) = scratch[..self.scratch()].split_at_mut(self.weights());
        (T::winograd().weights)(set, Weights { w, u });
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
            products(
                set,
                Products {
                    from,
                    to,
                    x: ins,
                    u,
                    y: outs,
                },
            );
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

    /// As [`Conv::weight_gradient`]: `dg = G^T [sum over tiles of (B^T d B) . (A dy A^T)] G`, the
    /// sums by `strip`'s own loop. Panics on slices that the shapes do not fit.
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
        assert!(scratch.len() >= self.scratch(), "memory of a convolution");
        let (sums, scratch) = scratch[..self.scratch()].split_at_mut(self.weights());
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
            correlations(
                set,
                Correlations {
                    from,
                    to,
                    x: ins,
                    y: outs,
                    sums,
                    add: first > 0,
                },
            );
        }
        (T::winograd().sums)(set, Sums { sums, dw, add });
    }
}

/// A transform of M numbers into N. A trait and not a closure: what is not inlined is compiled
/// without the set's instructions, and only functions can be told to be.
trait Transform<L, const M: usize, const N: usize>: Copy {
    fn of(self, d: [L; M]) -> [L; N];
}

/// A transform of columns, then of rows.
#[inline(always)]
fn separable<L: Lane, const M: usize, const N: usize>(
    d: [[L; M]; M],
    f: impl Transform<L, M, N>,
) -> [[L; N]; N] {
    let mut columns = [[d[0][0]; M]; N];
    for j in 0..M {
        let mut one = [d[0][j]; M];
        for i in 1..M {
            one[i] = d[i][j];
        }
        let column = f.of(one);
        for i in 0..N {
            columns[i][j] = column[i];
        }
    }
    let mut rows = [[d[0][0]; N]; N];
    for i in 0..N {
        rows[i] = f.of(columns[i]);
    }
    rows
}

/// Writes the elements of every tile of a strip: M x M pixels of `x`, the first of them `back`
/// pixels up and to the left of the tile's first output, transformed.
#[inline(always)]
fn each_tile<L: Lane, const V: usize, const M: usize>(
    (x, s): (&[L::Item], Images),
    back: usize,
    (first, strip): (usize, Strip),
    v: &mut [L::Item],
    (zero, f): (L, impl Transform<L, M, IN>),
) {
    let tiles = Tiles::of(s);
    for g in strip.groups() {
        for b in 0..s.blocks() {
            let v = &mut v[strip.at(g, b)..][..ELEMENTS * g.room * BLOCK];
            for p in 0..g.tiles {
                let t = tiles.get(first + g.first + p);
                // up to the border on the other side, where there is one at all
                let inside = [
                    (s.height - t.y + 2 * back).min(M),
                    (s.width - t.x + 2 * back).min(M),
                ];
                let from = s.at(t.n, b * BLOCK, t.y, t.x) - back * (s.row() + BLOCK);
                for part in 0..V {
                    let at = part * L::WIDTH;
                    let d = if inside == [M; 2] {
                        square::<L, M>(x, from + at, s.row())
                    } else {
                        part_of_square::<L, M>(x, from + at, s.row(), inside, zero)
                    };
                    let elements = separable(d, f);
                    for i in 0..IN {
                        for j in 0..IN {
                            let to = ((IN * i + j) * g.room + p) * BLOCK + at;
                            // SAFETY: p < room and at + WIDTH <= BLOCK: ends at or before ELEMENTS
                            // room BLOCK, the slice's length.
                            elements[i][j].store(unsafe { v.get_unchecked_mut(to..to + L::WIDTH) });
                        }
                    }
                }
            }
        }
    }
}

/// An M x M square of vectors from `start` on, one pixel after the other and a row apart.
#[inline(always)]
fn square<L: Lane, const M: usize>(x: &[L::Item], start: usize, row: usize) -> [[L; M]; M] {
    let x = &x[start..][..(M - 1) * (row + BLOCK) + L::WIDTH];
    let mut d = [[L::load(x); M]; M];
    for i in 0..M {
        for j in 0..M {
            let at = i * row + j * BLOCK;
            // SAFETY: i, j < M: ends at or before the slice's end.
            d[i][j] = L::load(unsafe { x.get_unchecked(at..at + L::WIDTH) });
        }
    }
    d
}

/// The same of which only the first `rows` rows and `columns` columns are there: zeros elsewhere.
#[inline(always)]
fn part_of_square<L: Lane, const M: usize>(
    x: &[L::Item],
    start: usize,
    row: usize,
    [rows, columns]: [usize; 2],
    zero: L,
) -> [[L; M]; M] {
    let mut d = [[zero; M]; M];
    for i in 0..M {
        for j in 0..M {
            if i < rows && j < columns {
                d[i][j] = L::load(&x[start + i * row + j * BLOCK..]);
            }
        }
    }
    d
}

/// The numbers of the transforms, in every element of a vector.
#[derive(Clone, Copy)]
struct Points<L> {
    a: L,
    b: L,
    a2: L,
    b2: L,
}

impl<L: Lane> Points<L> {
    #[inline(always)]
    fn new<T: Float>() -> Self
    where
        L: Lane<Item = T>,
    {
        Points {
            a: L::splat(T::of(A)),
            b: L::splat(T::of(B)),
            a2: L::splat(T::of(A2)),
            b2: L::splat(T::of(B2)),
        }
    }
}

pub(super) struct Backward<'a, T> {
    dy: &'a [T],
    images: Images,
    first: usize,
    strip: Strip,
    v: &'a mut [T],
}

impl<T: Float> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, backward(self));
    }
}

/// `A d` for one column: d's polynomial at every point, `d_0`, `d_0 ± a d_1 + a^2 d_2 ± a^3 d_3`,
/// the same with b, `d_3`.
#[derive(Clone, Copy)]
struct Values<L>(Points<L>);

impl<L: Lane> Transform<L, OUT, IN> for Values<L> {
    #[inline(always)]
    fn of(self, d: [L; OUT]) -> [L; IN] {
        let c = self.0;
        let (even_a, odd_a) = (d[2].mul_add(c.a2, d[0]), d[3].mul_add(c.a2, d[1]));
        let (even_b, odd_b) = (d[2].mul_add(c.b2, d[0]), d[3].mul_add(c.b2, d[1]));
        [
            d[0],
            odd_a.mul_add(c.a, even_a),
            odd_a.mul_add(-c.a, even_a),
            odd_b.mul_add(c.b, even_b),
            odd_b.mul_add(-c.b, even_b),
            d[3],
        ]
    }
}

#[inline(always)]
fn backward<T: Float, L: Lane<Item = T>, const V: usize>(f: Backward<T>) {
    let with = (L::splat(T::default()), Values(Points::new()));
    each_tile::<L, V, OUT>((f.dy, f.images), 0, (f.first, f.strip), f.v, with);
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

/// What the weights are multiplied by at 0, ±a and ±b: one over the product of the differences to
/// the other points, `1/(a^2 b^2)`, `1/(2 a^2 (a^2 - b^2))`, `1/(2 b^2 (b^2 - a^2))`.
#[derive(Clone, Copy)]
struct Factors<L> {
    points: Points<L>,
    zero: L,
    a: L,
    b: L,
}

impl<L: Lane> Factors<L> {
    #[inline(always)]
    fn new<T: Float>() -> Self
    where
        L: Lane<Item = T>,
    {
        Factors {
            points: Points::new(),
            zero: L::splat(T::of(1.0 / (A2 * B2))),
            a: L::splat(T::of(0.5 / (A2 * (A2 - B2)))),
            b: L::splat(T::of(0.5 / (B2 * (B2 - A2)))),
        }
    }
}

/// `G^T m` for one column.
impl<L: Lane> Transform<L, IN, 3> for Factors<L> {
    #[inline(always)]
    fn of(self, m: [L; IN]) -> [L; 3] {
        let c = self.points;
        let (a, b) = ((m[1] + m[2]) * self.a, (m[3] + m[4]) * self.b);
        let (odd_a, odd_b) = ((m[1] - m[2]) * self.a, (m[3] - m[4]) * self.b);
        [
            m[0].mul_add(self.zero, a + b),
            odd_a.mul_add(c.a, odd_b * c.b),
            a.mul_add(c.a2, b.mul_add(c.b2, m[5])),
        ]
    }
}

/// `G g` for one column: g's polynomial at every point, times its factor; at infinity `g_2`.
impl<L: Lane> Transform<L, 3, IN> for Factors<L> {
    #[inline(always)]
    fn of(self, g: [L; 3]) -> [L; IN] {
        let c = self.points;
        let even_a = g[2].mul_add(c.a2, g[0]) * self.a;
        let even_b = g[2].mul_add(c.b2, g[0]) * self.b;
        let (odd_a, odd_b) = (g[1] * c.a * self.a, g[1] * c.b * self.b);
        [
            g[0] * self.zero,
            even_a + odd_a,
            even_a - odd_a,
            even_b + odd_b,
            even_b - odd_b,
            g[2],
        ]
    }
}

#[inline(always)]
fn weights_out<T: Float, L: Lane<Item = T>, const V: usize>(Sums { sums, dw, add }: Sums<T>) {
    let f = Factors::<L>::new();
    let pairs = sums.chunks_exact(ELEMENTS * APART);
    for (dw, sums) in dw.chunks_exact_mut(9 * SQUARE).zip(pairs) {
        for at in (0..SQUARE).step_by(L::WIDTH) {
            let mut m = [[f.zero; IN]; IN];
            for i in 0..IN {
                for j in 0..IN {
                    m[i][j] = L::load(&sums[(IN * i + j) * APART + at..]);
                }
            }
            let taps: [[L; 3]; 3] = separable(m, f);
            for ky in 0..3 {
                for kx in 0..3 {
                    let to = &mut dw[(3 * ky + kx) * SQUARE + at..];
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

#[inline(always)]
fn weights_in<T: Float, L: Lane<Item = T>, const V: usize>(Weights { w, u }: Weights<T>) {
    let f = Factors::<L>::new();
    // the kernel's nine taps of a pair of blocks stand one after the other
    let pairs = w.chunks_exact(9 * SQUARE);
    for (u, w) in u.chunks_exact_mut(ELEMENTS * APART).zip(pairs) {
        for at in (0..SQUARE).step_by(L::WIDTH) {
            let g: [[L; 3]; 3] = each(|ky| each(|kx| L::load(&w[(3 * ky + kx) * SQUARE + at..])));
            let elements: [[L; IN]; IN] = separable(g, f);
            for i in 0..IN {
                for j in 0..IN {
                    elements[i][j].store(&mut u[(IN * i + j) * APART + at..]);
                }
            }
        }
    }
}

pub(super) struct Inward<'a, T> {
    x: &'a [T],
    images: Images,
    first: usize,
    strip: Strip,
    v: &'a mut [T],
}

impl<T: Float> Task for Inward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        blocks!(T::Of<D, S>, inward(self));
    }
}

/// `B^T d` for one column: d's product with the polynomial that vanishes at all other points, for
/// each. At 0 `a^2 b^2 d_0 - (a^2 + b^2) d_2 + d_4`, at infinity the same of d_1, d_3, d_5, at ±a
/// `d_4 - b^2 d_2 ± a (d_3 - b^2 d_1)`, at ±b likewise.
#[derive(Clone, Copy)]
struct Differences<L> {
    points: Points<L>,
    /// `-(a^2 + b^2)` and `a^2 b^2`.
    sum: L,
    product: L,
}

impl<L: Lane> Transform<L, IN, IN> for Differences<L> {
    #[inline(always)]
    fn of(self, d: [L; IN]) -> [L; IN] {
        let c = self.points;
        let (even_a, odd_a) = (d[2].mul_add(-c.b2, d[4]), d[1].mul_add(-c.b2, d[3]));
        let (even_b, odd_b) = (d[2].mul_add(-c.a2, d[4]), d[1].mul_add(-c.a2, d[3]));
        [
            d[0].mul_add(self.product, d[2].mul_add(self.sum, d[4])),
            odd_a.mul_add(c.a, even_a),
            odd_a.mul_add(-c.a, even_a),
            odd_b.mul_add(c.b, even_b),
            odd_b.mul_add(-c.b, even_b),
            d[1].mul_add(self.product, d[3].mul_add(self.sum, d[5])),
        ]
    }
}

#[inline(always)]
fn inward<T: Float, L: Lane<Item = T>, const V: usize>(f: Inward<T>) {
    let transform = Differences {
        points: Points::<L>::new(),
        sum: L::splat(T::of(-(A2 + B2))),
        product: L::splat(T::of(A2 * B2)),
    };
    let with = (L::splat(T::default()), transform);
    each_tile::<L, V, IN>((f.x, f.images), 1, (f.first, f.strip), f.v, with);
}

pub(super) struct Outward<'a, T> {
    m: &'a [T],
    strip: Strip,
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

/// `A^T m` for one column: sums over the points of m times powers of the point.
impl<L: Lane> Transform<L, IN, OUT> for Points<L> {
    #[inline(always)]
    fn of(self, m: [L; IN]) -> [L; OUT] {
        let (even_a, odd_a) = (m[1] + m[2], (m[1] - m[2]) * self.a);
        let (even_b, odd_b) = (m[3] + m[4], (m[3] - m[4]) * self.b);
        [
            m[0] + (even_a + even_b),
            odd_a + odd_b,
            even_a.mul_add(self.a2, even_b * self.b2),
            odd_a.mul_add(self.a2, odd_b.mul_add(self.b2, m[5])),
        ]
    }
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
    let (tiles, c) = (Tiles::of(s), Points::<L>::new());
    for g in strip.groups() {
        for b in 0..s.blocks() {
            let m = &m[strip.at(g, b)..][..ELEMENTS * g.room * BLOCK];
            let bias: [L; V] = load(&bias[b * BLOCK..]);
            for p in 0..g.tiles {
                let t = tiles.get(first + g.first + p);
                let (rows, columns) = ((s.height - t.y).min(OUT), (s.width - t.x).min(OUT));
                let mut start = bias;
                if let Some((more, flat)) = per_image {
                    let more: [L; V] = load(&more[flat.at(0, b * BLOCK, 0, t.n)..]);
                    start = each(|v| start[v] + more[v]);
                }
                for (v, &start) in start.iter().enumerate() {
                    let at = v * L::WIDTH;
                    let mut e = [[start; IN]; IN];
                    for i in 0..IN {
                        for j in 0..IN {
                            let at = ((IN * i + j) * g.room + p) * BLOCK + at;
                            // SAFETY: p < room and at + WIDTH <= BLOCK: ends at or before ELEMENTS
                            // room BLOCK, the slice's length.
                            e[i][j] = L::load(unsafe { m.get_unchecked(at..at + L::WIDTH) });
                        }
                    }
                    let sums: [[L; OUT]; OUT] = separable(e, c);
                    for i in 0..rows {
                        let y = &mut y[s.at(t.n, b * BLOCK, t.y + i, t.x) + at..];
                        for j in 0..columns {
                            let to = &mut y[j * BLOCK..];
                            let sum = sums[i][j] + start;
                            match finish {
                                Finish::Write => sum.store(to),
                                Finish::Add => (L::load(to) + sum).store(to),
                                Finish::Residual(more, rs, scale) => {
                                    let at = rs.at(t.n, b * BLOCK, t.y + i, t.x + j) + at;
                                    let more = L::load(&more[at..]);
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
        let mut scratch = vec![T::of(f64::NAN); fast.scratch()];
        let (mut a, mut b, mut exact) = (vec![], vec![], vec![]);
        for finish in 0..3 {
            let of = |r| match finish {
                0 => Finish::Write,
                1 => Finish::Add,
                _ => Finish::Residual(r, c.output, T::of(0.75)),
            };
            let (rt, mt, xt) = (narrow(&r), narrow(&more), narrow(&x));
            let (wt, bt) = (narrow(&w), narrow(&bias));
            let per_image = (finish > 0).then_some((&mt[..], flat));
            let mut y = narrow(&y0);
            fast.forward_on(set, &xt, &wt, &bt, per_image, of(&rt), &mut y, &mut scratch);
            a.extend(y);
            let mut y = narrow(&y0);
            c.forward_on(set, &xt, &wt, &bt, per_image, of(&rt), &mut y);
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
        // whole tiles and parts of them, one and several, strips that end inside an image
        for (n, h, w) in [
            (1, 4, 4),
            (5, 4, 8),
            (3, 8, 8),
            (3, 7, 7),
            (2, 4, 11),
            (1, 3, 28),
            (3, 6, 16),
            (2, 5, 22),
            (2, 8, 18),
            (1, 14, 14),
            (2, 6, 28),
            (2, 16, 28),
        ] {
            for (i, o) in [(16, 16), (32, 48), (64, 64)] {
                all.extend(Conv::new(Images::new(n, i, h, w), o, 3, 1));
            }
        }
        assert_eq!(all.len(), 36);
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
        // other kernels, and images whose tiles are mostly empty, are not for it
        for (size, stride, h, w) in [
            (3, 2, 4, 14),
            (1, 1, 4, 14),
            (3, 1, 3, 3),
            (3, 1, 5, 5),
            (3, 1, 2, 28),
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
        let mut scratch = vec![T::of(f64::NAN); fast.scratch()];
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
