//! Convolutions, direct: 3x3 of stride 1 and 2, 1x1; forward, gradient of the input, gradient of
//! the weights.
//!
//! Images are stored in blocks of 16 channels, each with a border of zeros one pixel wide:
//! `(image, channel / 16, y + 1, x + 1, channel % 16)`, in the words of the field nChw16c with
//! padding. Weights are `(out / 16, in / 16, ky, kx, in % 16, out % 16)`. Channels beyond the true
//! number are zeros in both. A linear layer is a 1x1 convolution of one image whose pixels are the
//! batch.
//!
//! # The loop
//! ```text
//! for each image, pair of output blocks, row, tile of P pixels:
//!     acc[p][o] = bias[o]                        P x 2 vectors of 16 outputs, all in registers
//!     for each input block, ky:
//!         for j in 0 .. 48:                      (kx, in % 16): contiguous in image *and* weights
//!             acc[p][..] += image[p * 16 + j] * weights[j][..]     a broadcast from memory, a fused multiply-add
//! ```
//! A step of j costs 2 loads of weights and P broadcasts for 2 P multiply-adds; with P = 14 the 28
//! accumulators and 2 weights fill the 32 registers of AVX-512, and 14 divides the usual widths.
//! Narrow images fill a tile with the same row of several images. A row of the kernel that is in
//! the border for the whole tile is left out, and so is, for images of 4 columns and fewer, a
//! column of it. The block size makes the distance of two pixels a constant, so every broadcast is
//! an operand of its multiply-add. AVX2 has 16 registers: P = 6 and one block, two vectors each;
//! NEON has 32 of half the width: P = 6, four vectors each.
//!
//! Each output is one chain of fused multiply-adds in the same order on every instruction set: all
//! give the same bits. Against exact arithmetic the error is at most `n u / (1 - n u)` times the
//! sum of the absolute terms, n their number and u the unit roundoff.
//!
//! The gradient of the input is the forward loop with the weights turned by 180 degrees and
//! transposed ([`turned`]), for stride 2 after zeros were put between the pixels ([`spread`]). The
//! gradient of the weights runs over pixels with 8 x 2 accumulators: broadcast one input channel,
//! multiply by the outputs' gradients.

use super::float::{Float, compiled};
use crate::simd::{Lane, Set, Task};

compiled!(Convolutions, conv, Float, {
    three: three::Kind<'a, T>,
    half: half::Kind<'a, T>,
    one: one::Kind<'a, T>,
    weights: Weights<'a, T>,
});
/// Channels of a block.
pub const BLOCK: usize = 16;

/// A batch of images: number, channels (a multiple of [`BLOCK`]), height, width, and how far one
/// image is from the next.
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
    /// Numbers from the start of one image to that of the next: more than [`image`](Self::image)
    /// for channels of a larger tensor.
    pub stride: usize,
}

impl Images {
    /// Images one after the other.
    #[inline]
    pub fn new(n: usize, channels: usize, height: usize, width: usize) -> Images {
        let mut images = Images {
            n,
            channels,
            height,
            width,
            stride: 0,
        };
        images.stride = images.image();
        images
    }

    /// Blocks of channels.
    #[inline]
    pub fn blocks(&self) -> usize {
        self.channels / BLOCK
    }

    /// Numbers of a row, border included.
    #[inline]
    pub fn row(&self) -> usize {
        (self.width + 2) * BLOCK
    }

    /// Numbers of a block of an image, border included.
    #[inline]
    pub fn plane(&self) -> usize {
        (self.height + 2) * self.row()
    }

    /// Numbers of an image.
    #[inline]
    pub fn image(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Numbers from the start of the first image to the end of the last.
    #[inline]
    pub fn len(&self) -> usize {
        if self.n == 0 {
            0
        } else {
            (self.n - 1) * self.stride + self.image()
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where channel `c` of the pixel (y, x) of image `n` is.
    #[inline]
    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        n * self.stride
            + (c / BLOCK) * self.plane()
            + (y + 1) * self.row()
            + (x + 1) * BLOCK
            + c % BLOCK
    }

    /// Whether this is the shape of something (whole blocks, pixels, images that do not overlap)
    /// that a slice of `len` numbers holds. Counts without overflow: the fields are public, and
    /// loops leave out the checks of indices below these lengths.
    pub(super) fn fits(&self, len: usize) -> bool {
        let numbers = || {
            let plane = self
                .height
                .checked_add(2)?
                .checked_mul(self.width.checked_add(2)?)?
                .checked_mul(BLOCK)?;
            let image = plane.checked_mul(self.blocks())?;
            (self.stride >= image).then_some(())?;
            self.n
                .saturating_sub(1)
                .checked_mul(self.stride)?
                .checked_add(image)
        };
        let some = self.channels > 0
            && self.channels.is_multiple_of(BLOCK)
            && self.height > 0
            && self.width > 0;
        some && numbers().is_some_and(|l| self.n == 0 || l <= len)
    }

    /// As many pixels of another number of channels, one image after the other.
    #[inline]
    pub fn with_channels(&self, channels: usize) -> Images {
        Images::new(self.n, channels, self.height, self.width)
    }
}

/// Numbers of the weights of a convolution with kernels of `size` x `size`; channels are multiples
/// of 16.
#[inline]
pub fn weights_len(input: usize, output: usize, size: usize) -> usize {
    input * output * size * size
}

/// Where the weight from channel `i` to channel `o` at (ky, kx) is, among `input` channels and
/// kernels of `size`.
#[inline]
pub fn weight_at(input: usize, size: usize, o: usize, i: usize, ky: usize, kx: usize) -> usize {
    ((((o / BLOCK) * (input / BLOCK) + i / BLOCK) * size + ky) * size + kx) * BLOCK * BLOCK
        + (i % BLOCK) * BLOCK
        + o % BLOCK
}

/// The weights of the gradient of the input: output and input exchanged, kernels turned by 180
/// degrees. Panics on slices of other lengths.
pub fn turned<T: Float>(w: &[T], input: usize, output: usize, size: usize, out: &mut [T]) {
    assert!(
        input.is_multiple_of(BLOCK) && output.is_multiple_of(BLOCK),
        "shapes of turned weights"
    );
    assert!(
        w.len() == weights_len(input, output, size) && out.len() == w.len(),
        "shapes of turned weights"
    );
    let taps = size * size;
    for ob in 0..output / BLOCK {
        for ib in 0..input / BLOCK {
            for k in 0..taps {
                let from =
                    &w[((ob * (input / BLOCK) + ib) * taps + k) * BLOCK * BLOCK..][..BLOCK * BLOCK];
                let to = &mut out
                    [((ib * (output / BLOCK) + ob) * taps + taps - 1 - k) * BLOCK * BLOCK..]
                    [..BLOCK * BLOCK];
                for i in 0..BLOCK {
                    for o in 0..BLOCK {
                        to[o * BLOCK + i] = from[i * BLOCK + o];
                    }
                }
            }
        }
    }
}

/// Zeros between the pixels: pixel (y, x) of `x` goes to (2 y, 2 x) of `y`, whose other pixels must
/// be zeros already. Panics on slices that the shapes do not fit.
pub fn spread<T: Float>(input: Images, x: &[T], output: Images, y: &mut [T]) {
    assert!(
        input.n == output.n && input.channels == output.channels,
        "shapes of a spread"
    );
    assert!(
        input.fits(x.len()) && output.fits(y.len()),
        "shapes of a spread"
    );
    assert!(
        input.height == output.height.div_ceil(2) && input.width == output.width.div_ceil(2),
        "shapes of a spread"
    );
    for n in 0..input.n {
        for c in (0..input.channels).step_by(BLOCK) {
            for (py, px) in (0..input.height).flat_map(|y| (0..input.width).map(move |x| (y, x))) {
                let (from, to) = (input.at(n, c, py, px), output.at(n, c, 2 * py, 2 * px));
                y[to..to + BLOCK].copy_from_slice(&x[from..from + BLOCK]);
            }
        }
    }
}

/// A convolution: kernel 3 and stride 1 or 2, or kernel 1, and the images that go in and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// 3 (with a border of zeros) or 1.
    pub size: usize,
    /// 1, or 2 for a kernel of 3.
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

/// What is added to the bias: row n of a flat tensor to image n. Its numbers and its shape (one
/// image, one row, as wide as images).
pub type PerImage<'a, T> = Option<(&'a [T], Images)>;

impl Conv {
    /// From input, output channels, kernel size and stride; `None` unless channels are multiples of
    /// 16, the size is 3 and the stride 1 or 2, or both 1, there are pixels, and all lengths can be
    /// counted.
    pub fn new(input: Images, channels: usize, size: usize, stride: usize) -> Option<Conv> {
        let output = Images::new(
            input.n,
            channels,
            input.height.div_ceil(stride.max(1)),
            input.width.div_ceil(stride.max(1)),
        );
        Conv::between(input, output, size, stride)
    }

    /// The same with an output of its own image stride; `None` also where its shape does not fit.
    pub fn between(input: Images, output: Images, size: usize, stride: usize) -> Option<Conv> {
        // lengths that no slice can have are those that overflow
        let most = isize::MAX as usize;
        let weights = || {
            input
                .channels
                .checked_mul(output.channels)?
                .checked_mul(size * size)
        };
        (input.fits(most)
            && output.fits(most)
            && weights().is_some_and(|n| n <= most)
            && matches!((size, stride), (3, 1 | 2) | (1, 1))
            && input.n == output.n
            && output.height == input.height.div_ceil(stride)
            && output.width == input.width.div_ceil(stride))
        .then_some(Conv {
            size,
            stride,
            input,
            output,
        })
    }

    /// Numbers of the weights.
    pub fn weights(&self) -> usize {
        weights_len(self.input.channels, self.output.channels, self.size)
    }

    /// Floating-point operations of the forward pass.
    pub fn flop(&self) -> f64 {
        2.0 * (self.output.n * self.output.height * self.output.width) as f64
            * self.weights() as f64
    }

    /// Panics unless the shapes fit each other (the fields are public: `between` need not have made
    /// this) and the slices. The bounds that the loops assert before they leave out the checks of
    /// indices are sums of parts of these lengths, so they cannot overflow.
    fn check(&self, x: usize, w: usize, y: usize) {
        assert!(
            Conv::between(self.input, self.output, self.size, self.stride).is_some(),
            "shapes of a convolution"
        );
        assert!(
            self.input.fits(x) && self.output.fits(y) && w == self.weights(),
            "shapes of a convolution"
        );
    }

    /// Panics unless biases, what is added per image, and a residual fit the output.
    pub(super) fn check_added<T: Float>(
        &self,
        bias: &[T],
        per_image: PerImage<T>,
        finish: Finish<T>,
    ) {
        let same = |s: Images| {
            (s.n, s.channels, s.height, s.width)
                == (
                    self.output.n,
                    self.output.channels,
                    self.output.height,
                    self.output.width,
                )
        };
        assert_eq!(bias.len(), self.output.channels, "biases of a convolution");
        if let Some((more, s)) = per_image {
            assert!(
                s.channels == bias.len() && s.width >= self.output.n,
                "shapes of what is added"
            );
            assert!(
                (s.n, s.height) == (1, 1) && s.fits(more.len()),
                "shapes of what is added"
            );
        }
        if let Finish::Residual(r, s, _) = finish {
            assert!(same(s) && s.fits(r.len()), "shapes of a residual");
        }
    }

    /// `y = bias + sum of w x`. The border of `y` is left as it is. Panics on slices that the
    /// shapes do not fit.
    pub fn forward<T: Convolutions>(&self, x: &[T], w: &[T], bias: &[T], y: &mut [T]) {
        self.forward_on(Set::current(), x, w, bias, None, Finish::Write, y);
    }

    /// [`forward`](Self::forward) with all that can be done on the way: something of each image's
    /// own added to the bias, a sum with what is there, a residual. Panics likewise.
    pub fn fused<T: Convolutions>(
        &self,
        x: &[T],
        w: &[T],
        bias: &[T],
        per_image: PerImage<T>,
        finish: Finish<T>,
        y: &mut [T],
    ) {
        self.forward_on(Set::current(), x, w, bias, per_image, finish, y);
    }

    /// [`fused`](Self::fused) on a given set.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_on<T: Convolutions>(
        &self,
        set: Set,
        x: &[T],
        w: &[T],
        bias: &[T],
        per_image: PerImage<T>,
        finish: Finish<T>,
        y: &mut [T],
    ) {
        self.check(x.len(), w.len(), y.len());
        self.check_added(bias, per_image, finish);
        let task = Forward {
            conv: *self,
            x,
            w,
            bias,
            per_image,
            finish,
            y,
        };
        match (self.size, self.stride) {
            (3, 1) => (T::conv().three)(set, three::Kind(task)),
            (3, _) => (T::conv().half)(set, half::Kind(task)),
            _ => (T::conv().one)(set, one::Kind(task)),
        }
    }

    /// `dw = sum over images and pixels of x dy`, added to what is there if `add`. Panics on slices
    /// that the shapes do not fit.
    pub fn weight_gradient<T: Convolutions>(&self, x: &[T], dy: &[T], dw: &mut [T], add: bool) {
        self.weight_gradient_on(Set::current(), x, dy, dw, add);
    }

    /// [`weight_gradient`](Self::weight_gradient) on a given set.
    pub fn weight_gradient_on<T: Convolutions>(
        &self,
        set: Set,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        add: bool,
    ) {
        self.check(x.len(), dw.len(), dy.len());
        if self.output.n == 0 && !add {
            dw.fill(T::default());
        }
        (T::conv().weights)(
            set,
            Weights {
                conv: *self,
                x,
                dy,
                dw,
                add,
            },
        );
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

/// The forward loop for one kind of kernel, in a module of its own: what a module has is compiled
/// by one core.
macro_rules! kind {
    ($module:ident, $size:literal, $stride:literal) => {
        pub(super) mod $module {
            use super::{Float, Forward, Lane, Task};

            pub(in crate::simd) struct Kind<'a, T>(pub(super) Forward<'a, T>);

            impl<T: Float> Task for Kind<'_, T> {
                type Out = ();
                #[inline(always)]
                fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
                    let even = self.0.conv.output.blocks().is_multiple_of(2);
                    match (<T::Of<D, S> as Lane>::WIDTH, even) {
                        (16, true) => self.0.blocks::<T::Of<D, S>, 1, 2, $size, $stride>(),
                        (16, false) => self.0.blocks::<T::Of<D, S>, 1, 1, $size, $stride>(),
                        (8, _) => self.0.blocks::<T::Of<D, S>, 2, 1, $size, $stride>(),
                        (4, _) => self.0.blocks::<T::Of<D, S>, 4, 1, $size, $stride>(),
                        (2, _) => self.0.blocks::<T::Of<D, S>, 8, 1, $size, $stride>(),
                        _ => self.0.blocks::<T::Of<D, S>, 16, 1, $size, $stride>(),
                    }
                }
            }
        }
    };
}

kind!(three, 3, 1);
kind!(half, 3, 2);
kind!(one, 1, 1);

impl<T: Float> Forward<'_, T> {
    /// Some images at a time that stay in the cache; for each, all blocks of outputs, B at a time.
    /// V vectors make a block.
    #[inline(always)]
    fn blocks<L: Lane<Item = T>, const V: usize, const B: usize, const K: usize, const S: usize>(
        &mut self,
    ) {
        let (input, output) = (self.conv.input, self.conv.output);
        let some = (CACHED / input.image()).max(1);
        for first in (0..output.n).step_by(some) {
            let images = first..output.n.min(first + some);
            for o in (0..output.blocks()).step_by(B) {
                // columns by columns: as many at once as fill the registers, with rows enough where
                // they are few
                let mut at = 0;
                while at < output.width {
                    let left = output.width - at;
                    at += match V {
                        1 if left.is_multiple_of(14) || (left > 14 && !left.is_multiple_of(8)) => {
                            self.column::<L, V, B, K, S, 1, 14, 14>(images.clone(), at, o)
                        }
                        1 if left >= 8 => {
                            self.column::<L, V, B, K, S, 1, 8, 8>(images.clone(), at, o)
                        }
                        1 if left == 7 => {
                            self.column::<L, V, B, K, S, 2, 7, 14>(images.clone(), at, o)
                        }
                        1 if left >= 4 => {
                            self.column::<L, V, B, K, S, 2, 4, 8>(images.clone(), at, o)
                        }
                        1 if left >= 2 => {
                            self.column::<L, V, B, K, S, 4, 2, 8>(images.clone(), at, o)
                        }
                        1 => self.column::<L, V, B, K, S, 8, 1, 8>(images.clone(), at, o),
                        2 if left >= 6 => {
                            self.column::<L, V, B, K, S, 1, 6, 6>(images.clone(), at, o)
                        }
                        2 if left >= 4 => {
                            self.column::<L, V, B, K, S, 1, 4, 4>(images.clone(), at, o)
                        }
                        2 if left >= 2 => {
                            self.column::<L, V, B, K, S, 3, 2, 6>(images.clone(), at, o)
                        }
                        2 => self.column::<L, V, B, K, S, 6, 1, 6>(images.clone(), at, o),
                        // NEON has 32 registers; AVX2 with f64 has 16
                        4 if left >= 6 && cfg!(target_arch = "aarch64") => {
                            self.column::<L, V, B, K, S, 1, 6, 6>(images.clone(), at, o)
                        }
                        4 if left >= 3 => {
                            self.column::<L, V, B, K, S, 1, 3, 3>(images.clone(), at, o)
                        }
                        _ => self.column::<L, V, B, K, S, 1, 1, 1>(images.clone(), at, o),
                    };
                }
            }
        }
    }

    /// Where row number `row` is, R of them being worked on at a time, among those of `len` images
    /// from `first` on; `at` and `o` are the column and the block of outputs.
    #[inline(always)]
    fn place<const K: usize, const S: usize, const R: usize>(
        &self,
        [first, len, at, o]: [usize; 4],
        row: usize,
    ) -> Row {
        let (input, output) = (self.conv.input, self.conv.output);
        // several rows at a time: the same row of several images, so that all of them meet the
        // border together
        let (n, y) = if R == 1 {
            (first + row / output.height, row % output.height)
        } else {
            (first + row % len, row / len)
        };
        // a kernel of 3 begins one pixel up and to the left: in the border, for the first row and
        // column
        let back = K / 2;
        Row {
            n,
            y,
            x_at: n * input.stride + (y * S + 1 - back) * input.row() + (at * S + 1 - back) * BLOCK,
            y_at: n * output.stride
                + o * output.plane()
                + (y + 1) * output.row()
                + (at + 1) * BLOCK,
        }
    }

    /// C columns from `at` on, for these images, R rows at a time, P = R C pixels. Returns C.
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
        images: std::ops::Range<usize>,
        at: usize,
        o: usize,
    ) -> usize {
        let (input, output) = (self.conv.input, self.conv.output);
        let place = [images.start, images.len(), at, o];
        let (mut row, end) = (0, images.len() * output.height);
        // a whole narrow row, where a block is one vector: the kernel's outer columns are in the
        // border at its ends
        let whole = V == 1
            && K == 3
            && C <= 4
            && at == 0
            && C == output.width
            && (S == 1 || input.width == 2 * C);
        while row + R <= end {
            let mut rows = [self.place::<K, S, R>(place, row); R];
            for r in 1..R {
                rows[r] = self.place::<K, S, R>(place, row + r);
            }
            if whole {
                self.tile::<L, V, B, K, S, R, C, P, true>(rows, at, o);
            } else {
                self.tile::<L, V, B, K, S, R, C, P, false>(rows, at, o);
            }
            row += R;
        }
        while row < end {
            self.tile::<L, V, B, K, S, 1, C, C, false>([self.place::<K, S, R>(place, row)], at, o);
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
        const WHOLE: bool,
    >(
        &mut self,
        rows: [Row; R],
        at: usize,
        o: usize,
    ) {
        const { assert!(P == R * C) };
        let (input, output) = (self.conv.input, self.conv.output);
        let per_block = input.blocks() * K * K * BLOCK * BLOCK;
        // The accumulators must live in registers: whatever is done with them stands in loops so
        // small that the compiler unrolls them. What is not, goes through memory before and after.
        let mut start = [[[L::splat(T::default()); V]; B]; R];
        for (r, row) in rows.iter().enumerate() {
            for b in 0..B {
                for v in 0..V {
                    let bias = L::load(&self.bias[(o + b) * BLOCK + v * L::WIDTH..]);
                    start[r][b][v] = match self.per_image {
                        Some((more, s)) => {
                            bias + L::load(
                                &more[s.at(0, (o + b) * BLOCK, 0, row.n) + v * L::WIDTH..],
                            )
                        }
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
                // a kernel's row that is in the border for all rows adds nothing
                if K == 3
                    && rows
                        .iter()
                        .all(|r| r.y * S + ky < 1 || r.y * S + ky > input.height)
                {
                    continue;
                }
                let (x0, w0) = (
                    i * input.plane() + ky * input.row(),
                    o * per_block + (i * K + ky) * K * BLOCK * BLOCK,
                );
                // the last element each pointer reaches below
                assert!(w0 + (B - 1) * per_block + K * BLOCK * BLOCK <= self.w.len());
                let w = &self.w[w0..];
                let mut x: [&[T]; R] = [&[]; R];
                for r in 0..R {
                    x[r] = &self.x[rows[r].x_at + x0..];
                    assert!(((C - 1) * S + K) * BLOCK <= x[r].len());
                }
                // steps j of the kernel's row, for the pixels of the columns from FROM to TO
                macro_rules! steps {
                    ($j:expr, $from:expr, $to:expr) => {
                        for j in $j {
                            let mut weights = [[L::splat(T::default()); V]; B];
                            for b in 0..B {
                                for v in 0..V {
                                    let at = b * per_block + j * BLOCK + v * L::WIDTH;
                                    // SAFETY: j < K BLOCK, so the vector ends at or before (B-1)
                                    // per_block + K BLOCK^2, checked above.
                                    let from = unsafe { w.get_unchecked(at..at + L::WIDTH) };
                                    weights[b][v] = L::load(from);
                                }
                            }
                            for p in 0..P {
                                if !($from..$to).contains(&(p % C)) {
                                    continue;
                                }
                                // SAFETY: p / C < R; (p % C) S BLOCK + j < ((C-1) S + K) BLOCK,
                                // checked above.
                                let e = L::splat(unsafe {
                                    *x.get_unchecked(p / C).get_unchecked(p % C * S * BLOCK + j)
                                });
                                for b in 0..B {
                                    for v in 0..V {
                                        acc[p][b][v] = e.mul_add(weights[b][v], acc[p][b][v]);
                                    }
                                }
                            }
                        }
                    };
                }
                if WHOLE {
                    steps!(0..BLOCK, 1, C);
                    steps!(BLOCK..2 * BLOCK, 0, C);
                    steps!(2 * BLOCK..3 * BLOCK, 0, if S == 1 { C - 1 } else { C });
                } else {
                    steps!(0..K * BLOCK, 0, C);
                }
            }
        }
        if let Finish::Write = self.finish {
            for r in 0..R {
                for b in 0..B {
                    let y = &mut self.y[rows[r].y_at + b * output.plane()..][..C * BLOCK];
                    for c in 0..C {
                        for v in 0..V {
                            acc[r * C + c][b][v].store(&mut y[c * BLOCK + v * L::WIDTH..]);
                        }
                    }
                }
            }
            return;
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
                                let more = &more
                                    [s.at(row.n, (o + b) * BLOCK, row.y, at + c) + v * L::WIDTH..];
                                ((L::load(more) + sum) * L::splat(scale)).store(to);
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) struct Weights<'a, T> {
    conv: Conv,
    x: &'a [T],
    dy: &'a [T],
    dw: &'a mut [T],
    add: bool,
}

impl<T: Float> Task for Weights<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let even = self.conv.output.blocks().is_multiple_of(2);
        match (<T::Of<D, S> as Lane>::WIDTH, even) {
            (16, true) => self.all::<T::Of<D, S>, 1, 8, 2>(),
            (16, false) => self.all::<T::Of<D, S>, 1, 16, 1>(),
            (8, _) => self.all::<T::Of<D, S>, 2, 4, 1>(),
            (4, _) => self.all::<T::Of<D, S>, 4, 2, 1>(),
            (2, _) => self.all::<T::Of<D, S>, 8, 1, 1>(),
            _ => self.all::<T::Of<D, S>, 16, 1, 1>(),
        }
    }
}

impl<T: Float> Weights<'_, T> {
    /// V vectors make a block; C input channels and B blocks of outputs at a time.
    #[inline(always)]
    fn all<L: Lane<Item = T>, const V: usize, const C: usize, const B: usize>(&mut self) {
        match self.conv.stride {
            1 => self.pixels::<L, V, C, B, 1>(),
            _ => self.pixels::<L, V, C, B, 2>(),
        }
    }

    #[inline(always)]
    fn pixels<L: Lane<Item = T>, const V: usize, const C: usize, const B: usize, const S: usize>(
        &mut self,
    ) {
        let (input, output, k) = (self.conv.input, self.conv.output, self.conv.size);
        let per_block = input.blocks() * k * k * BLOCK * BLOCK;
        let (height, width) = (output.height, output.width);
        // the outputs, of `most`, of which tap number `tap` is on one of `len` pixels and not in
        // the border
        let inside = |most: usize, len: usize, tap: usize| {
            let from = (k / 2).saturating_sub(tap).div_ceil(S);
            from..most.min((len + k / 2 - tap).div_ceil(S)).max(from)
        };
        // the planes of as many images as stay in the cache; the same number for every B, so that
        // all sets add in one order
        let some = (CACHED / (input.plane() + 2 * output.plane())).max(1);
        for first in (0..output.n).step_by(some) {
            let last = output.n.min(first + some);
            for o in (0..output.blocks()).step_by(B) {
                for i in 0..input.blocks() {
                    for tap in 0..k * k {
                        let (ky, kx) = (tap / k, tap % k);
                        for c in (0..BLOCK).step_by(C) {
                            let w0 =
                                o * per_block + ((i * k + ky) * k + kx) * BLOCK * BLOCK + c * BLOCK;
                            let mut acc = [[[L::splat(T::default()); V]; B]; C];
                            let xs = inside(width, input.width, kx);
                            let (ys, pixels) = (
                                if xs.is_empty() {
                                    0..0
                                } else {
                                    inside(height, input.height, ky)
                                },
                                xs.len(),
                            );
                            for n in first..last {
                                for y in ys.clone() {
                                    let x0 = n * input.stride
                                        + i * input.plane()
                                        + (y * S + 1 + ky - k / 2) * input.row()
                                        + (xs.start * S + 1 + kx - k / 2) * BLOCK
                                        + c;
                                    let y0 = n * output.stride
                                        + o * output.plane()
                                        + (y + 1) * output.row()
                                        + (xs.start + 1) * BLOCK;
                                    assert!(x0 + (pixels - 1) * S * BLOCK + C <= self.x.len());
                                    assert!(
                                        y0 + (B - 1) * output.plane() + pixels * BLOCK
                                            <= self.dy.len()
                                    );
                                    let (x, dy) = (&self.x[x0..], &self.dy[y0..]);
                                    for p in 0..pixels {
                                        let mut g = [[L::splat(T::default()); V]; B];
                                        for b in 0..B {
                                            for v in 0..V {
                                                let at =
                                                    b * output.plane() + p * BLOCK + v * L::WIDTH;
                                                // SAFETY: p < pixels: ends at or before (B-1)
                                                // plane + pixels BLOCK, checked above.
                                                g[b][v] = L::load(unsafe {
                                                    dy.get_unchecked(at..at + L::WIDTH)
                                                });
                                            }
                                        }
                                        for e in 0..C {
                                            // SAFETY: p S BLOCK + e < (pixels-1) S BLOCK + C,
                                            // checked above.
                                            let s = L::splat(unsafe {
                                                *x.get_unchecked(p * S * BLOCK + e)
                                            });
                                            for b in 0..B {
                                                for v in 0..V {
                                                    acc[e][b][v] = s.mul_add(g[b][v], acc[e][b][v]);
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                            for (e, of) in acc.iter().enumerate() {
                                for (b, of) in of.iter().enumerate() {
                                    for (v, a) in of.iter().enumerate() {
                                        let dw = &mut self.dw
                                            [w0 + b * per_block + e * BLOCK + v * L::WIDTH..];
                                        let sum = if self.add || first > 0 {
                                            L::load(dw) + *a
                                        } else {
                                            *a
                                        };
                                        sum.store(dw);
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
    use super::super::tensors::*;
    use super::*;
    use proptest::prelude::*;

    /// Every shape at and around the tiles' edges: widths 1 to 32, one to three blocks, all kinds
    /// of kernels. Every second one has images that are further apart than they are long.
    fn shapes() -> Vec<Conv> {
        let mut all = vec![];
        for (h, w) in [
            (1, 1),
            (2, 3),
            (3, 4),
            (5, 6),
            (4, 7),
            (5, 7),
            (2, 8),
            (2, 13),
            (3, 14),
            (2, 15),
            (1, 29),
            (1, 32),
        ] {
            for (i, o) in [(16, 16), (16, 32), (48, 16), (32, 48)] {
                for (size, stride) in [(3, 1), (3, 2), (1, 1)] {
                    let mut c = Conv::new(Images::new(3, i, h, w), o, size, stride).unwrap();
                    if all.len() % 2 == 1 {
                        c = Conv::between(apart(c.input, 16), apart(c.output, 5), size, stride)
                            .unwrap();
                    }
                    all.push(c);
                }
            }
        }
        all
    }

    /// The input pixel under (ky, kx) of an output pixel, or none in the border.
    fn under(c: &Conv, y: usize, x: usize, ky: usize, kx: usize) -> Option<(usize, usize)> {
        let (y, x) = (
            (y * c.stride + ky).checked_sub(c.size / 2)?,
            (x * c.stride + kx).checked_sub(c.size / 2)?,
        );
        (y < c.input.height && x < c.input.width).then_some((y, x))
    }

    /// The border of what goes in: zeros, which the kernels of 3 read; those of 1 must not read it.
    fn border(c: &Conv) -> f64 {
        if c.size == 3 { 0.0 } else { f64::NAN }
    }

    /// Forward in all its forms and the gradient of the weights, on all sets, against the
    /// definition in f64.
    ///
    /// Bounds: a chain of n roundings, each at most u times a partial sum, which the sum of
    /// absolute terms bounds; as many with the definition's own u. A hundredth for the terms of
    /// second order. All sets must agree to the bit: the chains have one order.
    fn definition<T: Convolutions>(c: &Conv) {
        let (x, w, bias) = (
            tensor::<T>(c.input, 1, border(c), f64::NAN),
            numbers::<T>(c.weights(), 2),
            numbers::<T>(c.output.channels, 3),
        );
        let dy = tensor::<T>(c.output, 4, f64::NAN, f64::NAN);
        let (flat, rs) = (
            Images::new(1, c.output.channels, 1, c.output.n + 1),
            apart(c.output, 32),
        );
        let (more, r, scale) = (
            tensor::<T>(flat, 5, f64::NAN, f64::NAN),
            tensor::<T>(rs, 6, f64::NAN, f64::NAN),
            T::of(0.7),
        );
        let (y0, dw0) = (
            tensor::<T>(c.output, 7, KEPT, KEPT),
            numbers::<T>(c.weights(), 8),
        );
        let (mut y, mut dw) = (<[Vec<T>; 3]>::default(), vec![]);
        for set in sets() {
            let run = |per_image: PerImage<T>, finish: Finish<T>| {
                let mut y = y0.clone();
                c.forward_on(set, &x, &w, &bias, per_image, finish, &mut y);
                only_pixels(c.output, &y0, &y);
                y
            };
            let ys = [
                run(None, Finish::Write),
                run(Some((&more, flat)), Finish::Add),
                run(Some((&more, flat)), Finish::Residual(&r, rs, scale)),
            ];
            let mut dws = dw0.clone();
            c.weight_gradient_on(set, &x, &dy, &mut dws, true);
            let (mut written, mut added) = (dw0.clone(), vec![T::default(); dw0.len()]);
            c.weight_gradient_on(set, &x, &dy, &mut written, false);
            c.weight_gradient_on(set, &x, &dy, &mut added, true);
            assert!(written == added, "{c:?}: written over, not added to");
            if set != Set::Scalar {
                assert!(
                    bits(&ys.concat()) == bits(&y.concat()),
                    "{c:?} on {}",
                    set.name()
                );
                assert!(bits(&dws) == bits(&dw), "{c:?} on {}", set.name());
            }
            (y, dw) = (ys, dws);
        }

        let u = 1.01 * (T::ROUNDOFF + U64);
        let taps = || (0..c.size * c.size).map(|k| (k / c.size, k % c.size));
        let terms = (c.input.channels * c.size * c.size) as f64;
        for p @ [n, o, py, px] in places(c.output) {
            let (mut sum, mut size) = (bias[o].f64(), bias[o].f64().abs());
            for i in 0..c.input.channels {
                for (ky, kx) in taps() {
                    if let Some((qy, qx)) = under(c, py, px, ky, kx) {
                        let t = x[c.input.at(n, i, qy, qx)].f64()
                            * w[weight_at(c.input.channels, c.size, o, i, ky, kx)].f64();
                        sum += t;
                        size += t.abs();
                    }
                }
            }
            let (here, m, r) = (
                at(c.output, p),
                more[flat.at(0, o, 0, n)].f64(),
                r[at(rs, p)].f64(),
            );
            let (before, scale) = (y0[here].f64(), scale.f64());
            // bias + m, the sum with what is there or r, and the product with scale are a rounding
            // more each
            let close = |y: T, exact: f64, bound: f64| {
                assert!(
                    (y.f64() - exact).abs() <= bound,
                    "{c:?} {p:?}: {y:?} for {exact}"
                )
            };
            close(y[0][here], sum, terms * u * size);
            close(
                y[1][here],
                before + (sum + m),
                (terms + 2.0) * u * (size + m.abs() + before.abs()),
            );
            close(
                y[2][here],
                (r + sum + m) * scale,
                (terms + 3.0) * u * (size + m.abs() + r.abs()) * scale,
            );
        }
        // dw0 and the gradient of sum(dy * y) with respect to each weight: a rounding for each
        // pixel and for each group of images
        let count = (c.output.n * (c.output.height * c.output.width + 1)) as f64;
        for o in [0, c.output.channels - 1] {
            for i in 0..c.input.channels {
                for (ky, kx) in taps() {
                    let here = weight_at(c.input.channels, c.size, o, i, ky, kx);
                    let (mut sum, mut size) = (dw0[here].f64(), dw0[here].f64().abs());
                    for (n, p) in (0..c.output.n)
                        .flat_map(|n| (0..c.output.height * c.output.width).map(move |p| (n, p)))
                    {
                        let (py, px) = (p / c.output.width, p % c.output.width);
                        if let Some((qy, qx)) = under(c, py, px, ky, kx) {
                            let t = x[c.input.at(n, i, qy, qx)].f64()
                                * dy[c.output.at(n, o, py, px)].f64();
                            sum += t;
                            size += f64::abs(t);
                        }
                    }
                    assert!(
                        (dw[here].f64() - sum).abs() <= count * u * size,
                        "{c:?} weight {o} {i} {ky} {kx}"
                    );
                }
            }
        }
    }

    /// Catches a wrong offset, tile edge, border, block, or stride of images in any set's loop, a
    /// bias, sum or residual of another pixel, and whatever is read or written outside the pixels.
    #[test]
    #[cfg_attr(miri, ignore)] // `random_shapes` does it there
    fn convolutions_are_the_definition() {
        for c in shapes() {
            definition::<f32>(&c);
        }
        for c in shapes().iter().filter(|c| c.input.width <= 8) {
            definition::<f64>(c);
        }
        // images that the cache does not hold together
        let large = Conv::new(Images::new(2, 16, 45, 45), 16, 3, 1).unwrap();
        assert!(large.input.image() > CACHED);
        definition::<f32>(&large);
        println!("{} of {} instruction sets", sets().count(), Set::ALL.len());
    }

    proptest! {
        #![proptest_config(cases())]
        /// Catches what the chosen shapes miss: any shape, any distance of the images.
        #[test]
        fn random_shapes(
            (n, i, o) in (0..4usize, 1..4usize, 1..4usize), (h, w) in (1..6usize, 1..34usize),
            (size, stride) in prop::sample::select(vec![(3usize, 1usize), (3, 2), (1, 1)]), gaps in (0..50usize, 0..50usize), double: bool,
        ) {
            let (n, i, o, h, w) = if cfg!(miri) { (n.min(2), i.min(2), 1, h.min(2), w.min(5)) } else { (n, i, o, h, w) };
            let c = Conv::new(Images::new(n, 16 * i, h, w), 16 * o, size, stride).unwrap();
            let c = Conv::between(apart(c.input, gaps.0), apart(c.output, gaps.1), size, stride).unwrap();
            if double { definition::<f64>(&c) } else { definition::<f32>(&c) }
        }
    }

    /// Catches a turned kernel that is not the adjoint, a wrong place of a spread pixel: <dy, conv
    /// x> = <conv' spread dy, x>, nothing being spread at stride 1. Bound: that of `definition` for
    /// the terms of both sides, by Cauchy's inequality, with the norms instead of sums of absolute
    /// values.
    fn adjoint<T: Convolutions>(c: &Conv) {
        let (x, w, dy) = (
            tensor::<T>(c.input, 5, 0.0, 0.0),
            numbers::<T>(c.weights(), 6),
            tensor::<T>(c.output, 7, 0.0, 0.0),
        );
        let mut back = vec![T::default(); w.len()];
        turned(&w, c.input.channels, c.output.channels, c.size, &mut back);
        let wide = apart(c.input.with_channels(c.output.channels), 7);
        let mut zeros = vec![T::default(); wide.len()];
        if c.stride == 1 {
            places(wide).for_each(|p| zeros[at(wide, p)] = dy[at(c.output, p)]);
        } else {
            spread(c.output, &dy, wide, &mut zeros);
        }
        let back_conv = Conv::between(wide, c.input, c.size, 1).unwrap();
        let (mut y, mut dx) = (
            vec![T::default(); c.output.len()],
            vec![T::default(); c.input.len()],
        );
        c.forward(&x, &w, &vec![T::default(); c.output.channels], &mut y);
        back_conv.forward(
            &zeros,
            &back,
            &vec![T::default(); c.input.channels],
            &mut dx,
        );
        let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.f64() * b.f64()).sum::<f64>();
        let size = (dot(&y, &y) * dot(&dy, &dy))
            .sqrt()
            .max((dot(&x, &x) * dot(&dx, &dx)).sqrt());
        let terms = (c.input.channels.max(c.output.channels) * 9) as f64;
        assert!(
            (dot(&dy, &y) - dot(&dx, &x)).abs() <= terms * T::ROUNDOFF * size,
            "{c:?}"
        );
    }

    /// Catches what is said at `adjoint`.
    #[test]
    #[cfg_attr(miri, ignore)]
    fn turned_weights_are_the_adjoint() {
        for c in shapes() {
            adjoint::<f32>(&c);
            adjoint::<f64>(&c);
        }
    }

    /// Catches a transposition that is none, or in the wrong block, for every weight.
    #[test]
    fn turned_weights_are_where_they_belong() {
        for size in [1, 3] {
            let (i, o) = (48, 32);
            let w = numbers::<f32>(weights_len(i, o, size), 9);
            let mut back = vec![0.0; w.len()];
            turned(&w, i, o, size, &mut back);
            for (a, b) in (0..o).flat_map(|a| (0..i).map(move |b| (a, b))) {
                for (ky, kx) in (0..size * size).map(|k| (k / size, k % size)) {
                    let turned = back[weight_at(o, size, b, a, size - 1 - ky, size - 1 - kx)];
                    assert_eq!(
                        w[weight_at(i, size, a, b, ky, kx)],
                        turned,
                        "{a} {b} {ky} {kx}"
                    );
                }
            }
        }
    }

    /// Catches a slice, or a shape put together by hand, that would let a loop leave its slices:
    /// the loops do not check all their indices, so each of these must be refused before. Among
    /// them lengths that overflow to small ones.
    #[test]
    fn what_does_not_fit_is_refused() {
        let c = Conv::new(Images::new(2, 16, 3, 5), 32, 3, 1).unwrap();
        let run = |c: Conv, x: usize, w: usize, bias: usize, y: usize| {
            let (x, w, bias, mut y) = (
                vec![0f32; x],
                vec![0f32; w],
                vec![0f32; bias],
                vec![0f32; y],
            );
            c.forward(&x, &w, &bias, &mut y);
        };
        let back = |c: Conv, x: usize, w: usize, y: usize| {
            c.weight_gradient(&vec![0f64; x], &vec![0f64; y], &mut vec![0f64; w], false);
        };
        let fused = |per_image: PerImage<f32>, finish: Finish<f32>| {
            let (x, w, mut y) = (
                vec![0f32; c.input.len()],
                vec![0f32; c.weights()],
                vec![0f32; c.output.len()],
            );
            c.fused(&x, &w, &[0f32; 32], per_image, finish, &mut y);
        };
        let (x, w, y) = (c.input.len(), c.weights(), c.output.len());
        run(c, x, w, 32, y);
        back(c, x, w, y);
        let (flat, zeros) = (Images::new(1, 32, 1, 2), vec![0f32; y]);
        fused(
            Some((&zeros, flat)),
            Finish::Residual(&zeros, c.output, 1.0),
        );
        let mut calls: Calls = vec![
            ("short x", Box::new(|| run(c, x - 1, w, 32, y))),
            ("short w", Box::new(|| run(c, x, w - 1, 32, y))),
            ("long w", Box::new(|| run(c, x, w + 1, 32, y))),
            ("short bias", Box::new(|| run(c, x, w, 31, y))),
            ("long bias", Box::new(|| run(c, x, w, 48, y))),
            ("short y", Box::new(|| run(c, x, w, 32, y - 1))),
            ("short x of weights", Box::new(|| back(c, x - 1, w, y))),
            ("short dw", Box::new(|| back(c, x, w - 1, y))),
            ("short dy", Box::new(|| back(c, x, w, y - 1))),
            (
                "short addition",
                Box::new(|| fused(Some((&zeros[..flat.len() - 1], flat)), Finish::Write)),
            ),
            (
                "too few additions",
                Box::new(|| fused(Some((&zeros, Images::new(1, 32, 1, 1))), Finish::Write)),
            ),
            (
                "additions of other channels",
                Box::new(|| fused(Some((&zeros, Images::new(1, 16, 1, 2))), Finish::Write)),
            ),
            (
                "additions of several rows",
                Box::new(|| fused(Some((&zeros, Images::new(1, 32, 2, 2))), Finish::Write)),
            ),
            (
                "short residual",
                Box::new(|| fused(None, Finish::Residual(&zeros[1..], c.output, 1.0))),
            ),
            (
                "residual of another shape",
                Box::new(|| fused(None, Finish::Residual(&zeros, c.input, 1.0))),
            ),
            (
                "short turned",
                Box::new(|| turned(&zeros[..256], 16, 16, 1, &mut [0f32; 255])),
            ),
            (
                "turned of no blocks",
                Box::new(|| turned(&zeros[..64], 8, 8, 1, &mut [0f32; 64])),
            ),
            (
                "short spread",
                Box::new(|| spread(c.input, &zeros[..x], c.input, &mut vec![0f32; x])),
            ),
        ];
        let (i, o, huge) = (c.input, c.output, 1 << 60);
        let wrong = [
            Conv { size: 2, ..c },
            Conv { size: 5, ..c },
            Conv {
                size: 1,
                stride: 2,
                input: i,
                output: Images::new(2, 32, 2, 3),
            },
            Conv { stride: 0, ..c },
            Conv { stride: 2, ..c },
            Conv { stride: 3, ..c },
            Conv {
                input: Images { n: 1, ..i },
                ..c
            },
            Conv {
                input: Images { channels: 0, ..i },
                ..c
            },
            Conv {
                input: Images { channels: 24, ..i },
                ..c
            },
            Conv {
                input: Images { height: 2, ..i },
                ..c
            },
            Conv {
                input: Images { width: 0, ..i },
                output: Images { width: 0, ..o },
                ..c
            },
            Conv {
                input: Images {
                    stride: i.stride - 1,
                    ..i
                },
                ..c
            },
            Conv {
                input: Images {
                    channels: huge,
                    ..i
                },
                ..c
            },
            Conv {
                output: Images {
                    channels: huge,
                    ..o
                },
                ..c
            },
            Conv {
                input: Images {
                    channels: huge,
                    ..i
                },
                output: Images {
                    channels: huge,
                    ..o
                },
                ..c
            },
            Conv {
                input: Images {
                    width: huge - 2,
                    ..i
                },
                output: Images {
                    width: huge - 2,
                    ..o
                },
                ..c
            },
            Conv {
                input: Images {
                    n: huge,
                    stride: huge,
                    ..i
                },
                output: Images {
                    n: huge,
                    stride: huge,
                    ..o
                },
                ..c
            },
            Conv {
                input: Images {
                    height: usize::MAX,
                    ..i
                },
                output: Images {
                    height: usize::MAX,
                    ..o
                },
                ..c
            },
        ];
        for wrong in wrong {
            calls.push((
                "a shape by hand",
                Box::new(move || run(wrong, 4 * x, w, 32, 4 * y)),
            ));
            calls.push((
                "a shape by hand without weights",
                Box::new(move || run(wrong, 4 * x, 0, wrong.output.channels.min(64), 4 * y)),
            ));
            calls.push((
                "a shape by hand, gradient",
                Box::new(move || back(wrong, 4 * x, w, 4 * y)),
            ));
            calls.push((
                "a shape by hand, gradient without weights",
                Box::new(move || back(wrong, 4 * x, 0, 4 * y)),
            ));
            assert!(
                std::panic::catch_unwind(|| Conv::between(
                    wrong.input,
                    wrong.output,
                    wrong.size,
                    wrong.stride
                ))
                .unwrap_or(None)
                .is_none()
            );
        }
        refused(calls);
    }
}
