//! Convolutions, direct: 3x3 and 1x1, stride 1 and 2; forward, gradient of the input, gradient of the weights.
//!
//! Images are stored in blocks of 16 channels, each with a border of zeros one pixel wide:
//! `(image, channel / 16, y + 1, x + 1, channel % 16)`, in the words of the field nChw16c with padding. Weights are
//! `(out / 16, in / 16, ky, kx, in % 16, out % 16)`. Channels beyond the true number are zeros in both. A linear layer is a 1x1
//! convolution of one image whose pixels are the batch.
//!
//! # The loop
//! ```text
//! for each image, pair of output blocks, row, tile of P pixels:
//!     acc[p][o] = bias[o]                        P x 2 vectors of 16 outputs, all in registers
//!     for each input block, ky:
//!         for j in 0 .. 48:                      (kx, in % 16): contiguous in image *and* weights
//!             acc[p][..] += image[p * 16 + j] * weights[j][..]     a broadcast from memory, a fused multiply-add
//! ```
//! A step of j costs 2 loads of weights and P broadcasts for 2 P multiply-adds; with P = 14 the 28 accumulators and 2 weights fill
//! the 32 registers of AVX-512, and 14 divides the usual widths. Narrow images fill a tile with pixels of several rows and images. The
//! block size makes the distance of two pixels a constant, so every broadcast is an operand of its multiply-add. AVX2 has 16 registers:
//! P = 6 and one block, two vectors each.
//!
//! Each output is one chain of fused multiply-adds in the same order on every instruction set: all give the same bits. Against exact
//! arithmetic the error is at most `n u / (1 - n u)` times the sum of the absolute terms, n their number and u the unit roundoff.
//!
//! The gradient of the input is the forward loop with the weights turned by 180 degrees and transposed ([`turned`]), for stride 2 after
//! zeros were put between the pixels ([`spread`]). The gradient of the weights runs over pixels with 8 x 2 accumulators: broadcast one
//! input channel, multiply by the outputs' gradients.

use super::{Lane, Real, Set, Task};

/// Channels of a block.
pub const BLOCK: usize = 16;

/// A batch of images: number, channels (a multiple of [`BLOCK`]), height, width, and how far one image is from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Images.
    pub n: usize,
    /// Channels, a multiple of 16.
    pub channels: usize,
    /// Height without the border.
    pub height: usize,
    /// Width without the border.
    pub width: usize,
    /// Numbers from the start of one image to that of the next: more than [`image`](Self::image) for channels of a larger tensor.
    pub stride: usize,
}

impl Images {
    /// Images one after the other.
    pub fn new(n: usize, channels: usize, height: usize, width: usize) -> Images {
        let mut images = Images { n, channels, height, width, stride: 0 };
        images.stride = images.image();
        images
    }

    /// Blocks of channels.
    pub fn blocks(&self) -> usize {
        self.channels / BLOCK
    }

    /// Numbers of a row, border included.
    pub fn row(&self) -> usize {
        (self.width + 2) * BLOCK
    }

    /// Numbers of a block of an image, border included.
    pub fn plane(&self) -> usize {
        (self.height + 2) * self.row()
    }

    /// Numbers of an image.
    pub fn image(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Numbers from the start of the first image to the end of the last.
    pub fn len(&self) -> usize {
        if self.n == 0 { 0 } else { (self.n - 1) * self.stride + self.image() }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where channel `c` of the pixel (y, x) of image `n` is.
    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        n * self.stride + (c / BLOCK) * self.plane() + (y + 1) * self.row() + (x + 1) * BLOCK + c % BLOCK
    }

    /// As many pixels of another number of channels, one image after the other.
    pub fn with_channels(&self, channels: usize) -> Images {
        Images::new(self.n, channels, self.height, self.width)
    }
}

/// Numbers of the weights of a convolution with kernels of `size` x `size`; channels are multiples of 16.
pub fn weights_len(input: usize, output: usize, size: usize) -> usize {
    input * output * size * size
}

/// Where the weight from channel `i` to channel `o` at (ky, kx) is, among `input` channels and kernels of `size`.
pub fn weight_at(input: usize, size: usize, o: usize, i: usize, ky: usize, kx: usize) -> usize {
    ((((o / BLOCK) * (input / BLOCK) + i / BLOCK) * size + ky) * size + kx) * BLOCK * BLOCK + (i % BLOCK) * BLOCK + o % BLOCK
}

/// The weights of the gradient of the input: output and input exchanged, kernels turned by 180 degrees.
pub fn turned<T: Real>(w: &[T], input: usize, output: usize, size: usize, out: &mut [T]) {
    let taps = size * size;
    for ob in 0..output / BLOCK {
        for ib in 0..input / BLOCK {
            for k in 0..taps {
                let from = &w[((ob * (input / BLOCK) + ib) * taps + k) * BLOCK * BLOCK..][..BLOCK * BLOCK];
                let to = &mut out[((ib * (output / BLOCK) + ob) * taps + taps - 1 - k) * BLOCK * BLOCK..][..BLOCK * BLOCK];
                for i in 0..BLOCK {
                    for o in 0..BLOCK {
                        to[o * BLOCK + i] = from[i * BLOCK + o];
                    }
                }
            }
        }
    }
}

/// Zeros between the pixels: pixel (y, x) of `x` goes to (2 y, 2 x) of `y`, whose other pixels must be zeros already.
pub fn spread<T: Real>(input: Images, x: &[T], output: Images, y: &mut [T]) {
    assert!(input.n == output.n && input.channels == output.channels, "shapes of a spread");
    assert!(input.height == output.height.div_ceil(2) && input.width == output.width.div_ceil(2), "shapes of a spread");
    for n in 0..input.n {
        for c in (0..input.channels).step_by(BLOCK) {
            for (py, px) in (0..input.height).flat_map(|y| (0..input.width).map(move |x| (y, x))) {
                let (from, to) = (input.at(n, c, py, px), output.at(n, c, 2 * py, 2 * px));
                y[to..to + BLOCK].copy_from_slice(&x[from..from + BLOCK]);
            }
        }
    }
}

/// A convolution: kernel 3 or 1, stride 1 or 2, and the images that go in and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// 3 (with a border of zeros) or 1.
    pub size: usize,
    /// 1 or 2.
    pub stride: usize,
    /// What goes in.
    pub input: Images,
    /// What comes out: as high and wide as the input, or half as much, rounded up.
    pub output: Images,
}

/// What becomes of a sum.
#[derive(Clone, Copy, Debug)]
pub enum Finish<'a, T> {
    /// `y = sum`.
    Write,
    /// `y = y + sum`.
    Add,
    /// `y = (sum + r) scale`: r and its shape.
    Residual(&'a [T], Images, T),
}

/// What is added to the bias: row n of a flat tensor to image n. Its numbers and its shape (one image, one row, as wide as images).
pub type PerImage<'a, T> = Option<(&'a [T], Images)>;

impl Conv {
    /// From input, output channels, kernel size and stride; `None` unless channels are multiples of 16, the size is 1 or 3 and the stride
    /// 1 or 2.
    pub fn new(input: Images, channels: usize, size: usize, stride: usize) -> Option<Conv> {
        let output = Images::new(input.n, channels, input.height.div_ceil(stride.max(1)), input.width.div_ceil(stride.max(1)));
        Conv::between(input, output, size, stride)
    }

    /// The same with an output of its own image stride; `None` also where its shape does not fit.
    pub fn between(input: Images, output: Images, size: usize, stride: usize) -> Option<Conv> {
        let whole = |c: usize| c > 0 && c.is_multiple_of(BLOCK);
        (whole(input.channels)
            && whole(output.channels)
            && matches!(size, 1 | 3)
            && matches!(stride, 1 | 2)
            && input.n == output.n
            && output.height == input.height.div_ceil(stride)
            && output.width == input.width.div_ceil(stride)
            && input.stride >= input.image()
            && output.stride >= output.image())
        .then_some(Conv { size, stride, input, output })
    }

    /// Numbers of the weights.
    pub fn weights(&self) -> usize {
        weights_len(self.input.channels, self.output.channels, self.size)
    }

    /// Floating-point operations of the forward pass.
    pub fn flop(&self) -> f64 {
        2.0 * (self.output.n * self.output.height * self.output.width) as f64 * self.weights() as f64
    }

    fn check(&self, x: usize, w: usize, y: usize) {
        assert!(x >= self.input.len() && y >= self.output.len() && w == self.weights(), "shapes of a convolution");
    }

    /// `y = bias + sum of w x`. The border of `y` is left as it is. Panics on slices that the shapes do not fit.
    pub fn forward<T: Real>(&self, x: &[T], w: &[T], bias: &[T], y: &mut [T]) {
        self.forward_on(Set::current(), x, w, bias, None, Finish::Write, y);
    }

    /// [`forward`](Self::forward) with all that can be done on the way: something of each image's own added to the bias, a sum with what is
    /// there, a residual. Panics likewise.
    pub fn fused<T: Real>(&self, x: &[T], w: &[T], bias: &[T], per_image: PerImage<T>, finish: Finish<T>, y: &mut [T]) {
        self.forward_on(Set::current(), x, w, bias, per_image, finish, y);
    }

    /// [`fused`](Self::fused) on a given set.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_on<T: Real>(&self, set: Set, x: &[T], w: &[T], bias: &[T], per_image: PerImage<T>, finish: Finish<T>, y: &mut [T]) {
        self.check(x.len(), w.len(), y.len());
        let same = |s: Images| {
            (s.n, s.channels, s.height, s.width) == (self.output.n, self.output.channels, self.output.height, self.output.width)
        };
        assert_eq!(bias.len(), self.output.channels, "biases of a convolution");
        if let Some((more, s)) = per_image {
            assert!(s.channels == bias.len() && s.width >= self.output.n && s.n == 1 && more.len() >= s.len(), "shapes of what is added");
        }
        if let Finish::Residual(r, s, _) = finish {
            assert!(same(s) && r.len() >= s.len(), "shapes of a residual");
        }
        super::wide_on(set, Forward { conv: *self, x, w, bias, per_image, finish, y });
    }

    /// `dw += sum over images and pixels of x dy`. Panics on slices that the shapes do not fit.
    pub fn weight_gradient<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        self.weight_gradient_on(Set::current(), x, dy, dw);
    }

    /// [`weight_gradient`](Self::weight_gradient) on a given set.
    pub fn weight_gradient_on<T: Real>(&self, set: Set, x: &[T], dy: &[T], dw: &mut [T]) {
        self.check(x.len(), dw.len(), dy.len());
        super::wide_on(set, Weights { conv: *self, x, dy, dw });
    }
}

/// Numbers that the loops keep in the second-level cache: 2^17 bytes of f32.
const CACHED: usize = 1 << 15;

struct Forward<'a, T> {
    conv: Conv,
    x: &'a [T],
    w: &'a [T],
    bias: &'a [T],
    per_image: PerImage<'a, T>,
    finish: Finish<'a, T>,
    y: &'a mut [T],
}

/// One row of an image: number, row, and where its pixels begin in `x` and `y`.
#[derive(Clone, Copy)]
struct Row {
    n: usize,
    y: usize,
    x_at: usize,
    y_at: usize,
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let even = self.conv.output.blocks().is_multiple_of(2);
        match (<T::Of<D, S> as Lane>::WIDTH, even) {
            (16, true) => self.all::<T::Of<D, S>, 1, 2>(),
            (16, false) => self.all::<T::Of<D, S>, 1, 1>(),
            (8, _) => self.all::<T::Of<D, S>, 2, 1>(),
            (4, _) => self.all::<T::Of<D, S>, 4, 1>(),
            _ => self.all::<T::Of<D, S>, 16, 1>(),
        }
    }
}

impl<T: Real> Forward<'_, T> {
    /// V vectors make a block; B blocks of outputs at a time.
    #[inline(always)]
    fn all<L: Lane<Item = T>, const V: usize, const B: usize>(&mut self) {
        match (self.conv.size, self.conv.stride) {
            (3, 1) => self.blocks::<L, V, B, 3, 1>(),
            (3, _) => self.blocks::<L, V, B, 3, 2>(),
            (_, 1) => self.blocks::<L, V, B, 1, 1>(),
            _ => self.blocks::<L, V, B, 1, 2>(),
        }
    }

    /// Some images at a time that stay in the cache; for each, all blocks of outputs.
    #[inline(always)]
    fn blocks<L: Lane<Item = T>, const V: usize, const B: usize, const K: usize, const S: usize>(&mut self) {
        let (input, output) = (self.conv.input, self.conv.output);
        let some = (CACHED / input.image()).max(1);
        for first in (0..output.n).step_by(some) {
            let rows = first * output.height..output.n.min(first + some) * output.height;
            for o in (0..output.blocks()).step_by(B) {
                // columns by columns: as many at once as fill the registers, with rows enough where they are few
                let mut at = 0;
                while at < output.width {
                    let left = output.width - at;
                    at += match V {
                        1 if left.is_multiple_of(14) || (left > 14 && !left.is_multiple_of(8)) => {
                            self.column::<L, V, B, K, S, 1, 14, 14>(rows.clone(), at, o)
                        }
                        1 if left >= 8 => self.column::<L, V, B, K, S, 1, 8, 8>(rows.clone(), at, o),
                        1 if left == 7 => self.column::<L, V, B, K, S, 2, 7, 14>(rows.clone(), at, o),
                        1 if left >= 4 => self.column::<L, V, B, K, S, 3, 4, 12>(rows.clone(), at, o),
                        1 if left >= 2 => self.column::<L, V, B, K, S, 6, 2, 12>(rows.clone(), at, o),
                        1 => self.column::<L, V, B, K, S, 6, 1, 6>(rows.clone(), at, o),
                        2 if left >= 6 => self.column::<L, V, B, K, S, 1, 6, 6>(rows.clone(), at, o),
                        2 if left >= 4 => self.column::<L, V, B, K, S, 1, 4, 4>(rows.clone(), at, o),
                        2 if left >= 2 => self.column::<L, V, B, K, S, 3, 2, 6>(rows.clone(), at, o),
                        2 => self.column::<L, V, B, K, S, 6, 1, 6>(rows.clone(), at, o),
                        4 if left >= 3 => self.column::<L, V, B, K, S, 1, 3, 3>(rows.clone(), at, o),
                        _ => self.column::<L, V, B, K, S, 1, 1, 1>(rows.clone(), at, o),
                    };
                }
            }
        }
    }

    /// C columns from `at` on, for these rows (counted through the images), R rows at a time, P = R C pixels. Returns C.
    #[inline(always)]
    fn column<
        L: Lane<Item = T>,
        const V: usize,
        const B: usize,
        const K: usize,
        const S: usize,
        const R: usize,
        const C: usize,
        const P: usize,
    >(
        &mut self,
        rows: std::ops::Range<usize>,
        at: usize,
        o: usize,
    ) -> usize {
        let (input, output) = (self.conv.input, self.conv.output);
        let place = |row: usize| {
            let (n, y) = (row / output.height, row % output.height);
            // a kernel of 3 begins one pixel up and to the left: in the border, for the first row and column
            let back = K / 2;
            Row {
                n,
                y,
                x_at: n * input.stride + (y * S + 1 - back) * input.row() + (at * S + 1 - back) * BLOCK,
                y_at: n * output.stride + o * output.plane() + (y + 1) * output.row() + (at + 1) * BLOCK,
            }
        };
        let mut row = rows.start;
        while row + R <= rows.end {
            self.tile::<L, V, B, K, S, R, C, P>(std::array::from_fn(|r| place(row + r)), at, o);
            row += R;
        }
        while row < rows.end {
            self.tile::<L, V, B, K, S, 1, C, C>([place(row)], at, o);
            row += 1;
        }
        C
    }

    #[inline(always)]
    fn tile<
        L: Lane<Item = T>,
        const V: usize,
        const B: usize,
        const K: usize,
        const S: usize,
        const R: usize,
        const C: usize,
        const P: usize,
    >(
        &mut self,
        rows: [Row; R],
        at: usize,
        o: usize,
    ) {
        const { assert!(P == R * C) };
        let (input, output) = (self.conv.input, self.conv.output);
        let per_block = input.blocks() * K * K * BLOCK * BLOCK;
        // The accumulators must live in registers: whatever is done with them stands in loops so small that the compiler unrolls them. What
        // is not, goes through memory before and after.
        let mut start = [[[L::splat(T::default()); V]; B]; R];
        for (r, row) in rows.iter().enumerate() {
            for b in 0..B {
                for v in 0..V {
                    let bias = L::load(&self.bias[(o + b) * BLOCK + v * L::WIDTH..]);
                    start[r][b][v] = match self.per_image {
                        Some((more, s)) => bias + L::load(&more[s.at(0, (o + b) * BLOCK, 0, row.n) + v * L::WIDTH..]),
                        None => bias,
                    };
                }
            }
        }
        let mut acc = [[[L::splat(T::default()); V]; B]; P];
        for p in 0..P {
            acc[p] = start[p / C];
        }
        for i in 0..input.blocks() {
            for ky in 0..K {
                let (x0, w0) = (i * input.plane() + ky * input.row(), o * per_block + (i * K + ky) * K * BLOCK * BLOCK);
                // the last element each pointer reaches below
                assert!(w0 + (B - 1) * per_block + K * BLOCK * BLOCK <= self.w.len());
                let w = &self.w[w0..];
                let mut x: [&[T]; R] = [&[]; R];
                for r in 0..R {
                    x[r] = &self.x[rows[r].x_at + x0..];
                    assert!(((C - 1) * S + K) * BLOCK <= x[r].len());
                }
                for j in 0..K * BLOCK {
                    let mut weights = [[L::splat(T::default()); V]; B];
                    for b in 0..B {
                        for v in 0..V {
                            // SAFETY: j < K BLOCK, so the vector ends at or before (B-1) per_block + K BLOCK^2, checked above.
                            let s = unsafe {
                                w.get_unchecked(b * per_block + j * BLOCK + v * L::WIDTH..b * per_block + j * BLOCK + (v + 1) * L::WIDTH)
                            };
                            weights[b][v] = L::load(s);
                        }
                    }
                    for p in 0..P {
                        // SAFETY: p / C < R; (p % C) S BLOCK + j < ((C-1) S + K) BLOCK, checked above.
                        let e = L::splat(unsafe { *x.get_unchecked(p / C).get_unchecked(p % C * S * BLOCK + j) });
                        for b in 0..B {
                            for v in 0..V {
                                acc[p][b][v] = e.mul_add(weights[b][v], acc[p][b][v]);
                            }
                        }
                    }
                }
            }
        }
        let mut sums = [[[T::default(); BLOCK]; B]; P];
        for p in 0..P {
            for b in 0..B {
                for v in 0..V {
                    acc[p][b][v].store(&mut sums[p][b][v * L::WIDTH..]);
                }
            }
        }
        for (r, row) in rows.iter().enumerate() {
            for b in 0..B {
                let y = &mut self.y[row.y_at + b * output.plane()..][..C * BLOCK];
                for c in 0..C {
                    for v in 0..V {
                        let sum = L::load(&sums[r * C + c][b][v * L::WIDTH..]);
                        let to = &mut y[c * BLOCK + v * L::WIDTH..];
                        match self.finish {
                            Finish::Write => sum.store(to),
                            Finish::Add => (L::load(to) + sum).store(to),
                            Finish::Residual(more, s, scale) => {
                                let more = &more[s.at(row.n, (o + b) * BLOCK, row.y, at + c) + v * L::WIDTH..];
                                ((L::load(more) + sum) * L::splat(scale)).store(to);
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Weights<'a, T> {
    conv: Conv,
    x: &'a [T],
    dy: &'a [T],
    dw: &'a mut [T],
}

impl<T: Real> Task for Weights<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let even = self.conv.output.blocks().is_multiple_of(2);
        match (<T::Of<D, S> as Lane>::WIDTH, even) {
            (16, true) => self.all::<T::Of<D, S>, 1, 8, 2>(),
            (16, false) => self.all::<T::Of<D, S>, 1, 16, 1>(),
            (8, _) => self.all::<T::Of<D, S>, 2, 4, 1>(),
            (4, _) => self.all::<T::Of<D, S>, 4, 2, 1>(),
            _ => self.all::<T::Of<D, S>, 16, 1, 1>(),
        }
    }
}

impl<T: Real> Weights<'_, T> {
    /// V vectors make a block; C input channels and B blocks of outputs at a time.
    #[inline(always)]
    fn all<L: Lane<Item = T>, const V: usize, const C: usize, const B: usize>(&mut self) {
        match self.conv.stride {
            1 => self.pixels::<L, V, C, B, 1>(),
            _ => self.pixels::<L, V, C, B, 2>(),
        }
    }

    #[inline(always)]
    fn pixels<L: Lane<Item = T>, const V: usize, const C: usize, const B: usize, const S: usize>(&mut self) {
        let (input, output, k) = (self.conv.input, self.conv.output, self.conv.size);
        let per_block = input.blocks() * k * k * BLOCK * BLOCK;
        let (height, width) = (output.height, output.width);
        // the planes of as many images as stay in the cache; the same number for every B, so that all sets add in one order
        let some = (CACHED / (input.plane() + 2 * output.plane())).max(1);
        for first in (0..output.n).step_by(some) {
            let last = output.n.min(first + some);
            for o in (0..output.blocks()).step_by(B) {
                for i in 0..input.blocks() {
                    for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                        for c in (0..BLOCK).step_by(C) {
                            let w0 = o * per_block + ((i * k + ky) * k + kx) * BLOCK * BLOCK + c * BLOCK;
                            let mut acc = [[[L::splat(T::default()); V]; B]; C];
                            for (n, y) in (first..last).flat_map(|n| (0..height).map(move |y| (n, y))) {
                                let x0 = n * input.stride
                                    + i * input.plane()
                                    + (y * S + 1 + ky - k / 2) * input.row()
                                    + (1 + kx - k / 2) * BLOCK
                                    + c;
                                let y0 = n * output.stride + o * output.plane() + (y + 1) * output.row() + BLOCK;
                                assert!(x0 + (width - 1) * S * BLOCK + C <= self.x.len());
                                assert!(y0 + (B - 1) * output.plane() + width * BLOCK <= self.dy.len());
                                let (x, dy) = (&self.x[x0..], &self.dy[y0..]);
                                for p in 0..width {
                                    let mut g = [[L::splat(T::default()); V]; B];
                                    for b in 0..B {
                                        for v in 0..V {
                                            let at = b * output.plane() + p * BLOCK + v * L::WIDTH;
                                            // SAFETY: p < width: ends at or before (B-1) plane + width BLOCK, checked above.
                                            g[b][v] = L::load(unsafe { dy.get_unchecked(at..at + L::WIDTH) });
                                        }
                                    }
                                    for e in 0..C {
                                        // SAFETY: p S BLOCK + e < (width-1) S BLOCK + C, checked above.
                                        let s = L::splat(unsafe { *x.get_unchecked(p * S * BLOCK + e) });
                                        for b in 0..B {
                                            for v in 0..V {
                                                acc[e][b][v] = s.mul_add(g[b][v], acc[e][b][v]);
                                            }
                                        }
                                    }
                                }
                            }
                            for (e, of) in acc.iter().enumerate() {
                                for (b, of) in of.iter().enumerate() {
                                    for (v, a) in of.iter().enumerate() {
                                        let dw = &mut self.dw[w0 + b * per_block + e * BLOCK + v * L::WIDTH..];
                                        (L::load(dw) + *a).store(dw);
                                    }
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

    /// Small reproducible numbers in (-1, 1), by a linear congruence.
    fn numbers(n: usize, mut seed: u64) -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// A batch with numbers in its pixels and zeros in its border.
    fn batch(s: Images, seed: u64) -> Vec<f32> {
        let pixels = numbers(s.n * s.channels * s.height * s.width, seed);
        let mut x = vec![0.0; s.len()];
        let mut pixels = pixels.into_iter();
        for n in 0..s.n {
            for c in 0..s.channels {
                for y in 0..s.height {
                    for z in 0..s.width {
                        x[s.at(n, c, y, z)] = pixels.next().unwrap_or(0.0);
                    }
                }
            }
        }
        x
    }

    /// Every shape at and around the tiles' edges: widths 1 to 32, one to three blocks, both sizes and strides.
    fn shapes() -> Vec<Conv> {
        let mut all = vec![];
        for (h, w) in [(1, 1), (2, 3), (3, 4), (5, 6), (4, 7), (5, 7), (2, 8), (2, 13), (3, 14), (2, 15), (1, 29), (1, 32)] {
            for (i, o) in [(16, 16), (16, 32), (48, 16), (32, 48)] {
                for (size, stride) in [(3, 1), (3, 2), (1, 1), (1, 2)] {
                    all.extend(Conv::new(Images::new(3, i, h, w), o, size, stride));
                }
            }
        }
        assert_eq!(all.len(), 12 * 4 * 4);
        all
    }

    /// The input pixel under (ky, kx) of an output pixel, or none in the border.
    fn under(c: &Conv, y: usize, x: usize, ky: usize, kx: usize) -> Option<(usize, usize)> {
        let (y, x) = ((y * c.stride + ky).checked_sub(c.size / 2)?, (x * c.stride + kx).checked_sub(c.size / 2)?);
        (y < c.input.height && x < c.input.width).then_some((y, x))
    }

    fn each_output(s: Images, mut f: impl FnMut(usize, usize, usize, usize)) {
        for n in 0..s.n {
            for c in 0..s.channels {
                for y in 0..s.height {
                    for x in 0..s.width {
                        f(n, c, y, x);
                    }
                }
            }
        }
    }

    /// Catches a wrong offset, tile edge, border, or block in any set's loop: against the definition in f64. The bound is that of a
    /// chain of n fused multiply-adds, n 2^-24 times the sum of absolute terms (and once more for the terms of second order).
    /// All sets must agree to the bit: the chains have one order.
    #[test]
    fn convolutions_are_the_definition() {
        let mut sets = 0;
        for c in shapes() {
            let (x, w, bias) = (batch(c.input, 1), numbers(c.weights(), 2), numbers(c.output.channels, 3));
            let dy = batch(c.output, 4);
            let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
            sets = 0;
            for set in Set::ALL.into_iter().filter(|s| s.available()) {
                sets += 1;
                let (mut y, mut dw) = (vec![0.0; c.output.len()], vec![0.0; c.weights()]);
                c.forward_on(set, &x, &w, &bias, None, Finish::Write, &mut y);
                c.weight_gradient_on(set, &x, &dy, &mut dw);
                match &first {
                    None => first = Some((y, dw)),
                    Some(f) => assert!(*f == (y, dw), "{c:?} on {}", set.name()),
                }
            }
            let (y, dw) = first.unwrap();
            let terms = c.input.channels * c.size * c.size + 1;
            each_output(c.output, |n, o, py, px| {
                let (mut sum, mut size) = (f64::from(bias[o]), f64::from(bias[o].abs()));
                for i in 0..c.input.channels {
                    for (ky, kx) in (0..c.size * c.size).map(|k| (k / c.size, k % c.size)) {
                        if let Some((qy, qx)) = under(&c, py, px, ky, kx) {
                            let t =
                                f64::from(x[c.input.at(n, i, qy, qx)]) * f64::from(w[weight_at(c.input.channels, c.size, o, i, ky, kx)]);
                            sum += t;
                            size += t.abs();
                        }
                    }
                }
                let error = (f64::from(y[c.output.at(n, o, py, px)]) - sum).abs();
                assert!(error <= 1.01 * terms as f64 * 2f64.powi(-24) * size, "{c:?} {n} {o} {py} {px}: {error:e}");
            });
            // the gradient of sum(dy * y) with respect to each weight
            let count = c.output.n * c.output.height * c.output.width + 1;
            for o in [0, c.output.channels - 1] {
                for i in 0..c.input.channels {
                    for (ky, kx) in (0..c.size * c.size).map(|k| (k / c.size, k % c.size)) {
                        let (mut sum, mut size) = (0.0, 0.0);
                        for (n, p) in (0..c.output.n).flat_map(|n| (0..c.output.height * c.output.width).map(move |p| (n, p))) {
                            let (py, px) = (p / c.output.width, p % c.output.width);
                            if let Some((qy, qx)) = under(&c, py, px, ky, kx) {
                                let t = f64::from(x[c.input.at(n, i, qy, qx)]) * f64::from(dy[c.output.at(n, o, py, px)]);
                                sum += t;
                                size += f64::abs(t);
                            }
                        }
                        let error = (f64::from(dw[weight_at(c.input.channels, c.size, o, i, ky, kx)]) - sum).abs();
                        assert!(error <= 1.01 * count as f64 * 2f64.powi(-24) * size, "{c:?} weight {o} {i} {ky} {kx}: {error:e}");
                    }
                }
            }
        }
        println!("{sets} of {} instruction sets", Set::ALL.len());
    }

    /// Catches a turned kernel that is not the adjoint: <dy, conv x> = <conv' dy, x> for stride 1, where both sides are computed by the
    /// same loop with different weights. Bound: as above, for the sums of both sides.
    #[test]
    fn turned_weights_are_the_adjoint() {
        for c in shapes().into_iter().filter(|c| c.stride == 1) {
            let (x, w, dy) = (batch(c.input, 5), numbers(c.weights(), 6), batch(c.output, 7));
            let mut back = vec![0.0; w.len()];
            turned(&w, c.input.channels, c.output.channels, c.size, &mut back);
            let adjoint = Conv::new(c.output, c.input.channels, c.size, 1).unwrap();
            let (mut y, mut dx) = (vec![0.0; c.output.len()], vec![0.0; c.input.len()]);
            c.forward(&x, &w, &vec![0.0; c.output.channels], &mut y);
            adjoint.forward(&dy, &back, &vec![0.0; c.input.channels], &mut dx);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let size = (dot(&y, &y) * dot(&dy, &dy)).sqrt().max((dot(&x, &x) * dot(&dx, &dx)).sqrt());
            let terms = (c.input.channels.max(c.output.channels) * 9) as f64;
            assert!((dot(&dy, &y) - dot(&dx, &x)).abs() <= terms * 2f64.powi(-24) * size, "{c:?}");
        }
    }
}
