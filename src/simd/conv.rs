//! Convolutions, direct: 3x3 and 1x1, stride 1 and 2; forward, gradient of the input, gradient of the weights.
//!
//! Images are stored in blocks of 16 channels, each with a border of zeros one pixel wide:
//! `(image, channel / 16, y + 1, x + 1, channel % 16)`, in the words of the field nChw16c with padding. Weights are
//! `(out / 16, in / 16, ky, kx, in % 16, out % 16)`. Channels beyond the true number are zeros in both.
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
//! the 32 registers of AVX-512, and 14 divides the usual widths. The block size makes the distance of two pixels a constant, so
//! every broadcast is an operand of its multiply-add. AVX2 has 16 registers: P = 6 and one block, two vectors each.
//!
//! Each output is one chain of fused multiply-adds in the same order on every instruction set: all give the same bits. Against exact
//! arithmetic the error is at most `n u / (1 - n u)` times the sum of the absolute terms, n their number and u = 2^-24.
//!
//! The gradient of the input is the forward loop with the weights turned by 180 degrees and transposed ([`turned`]). The gradient of the
//! weights runs over pixels with 8 x 2 accumulators: broadcast one input channel, multiply by the outputs' gradients.

use super::{Lane, Set, Task};

/// Channels of a block.
pub const BLOCK: usize = 16;

/// A batch of images: number, channels (a multiple of [`BLOCK`]), height, width.
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
}

impl Images {
    /// Blocks of channels.
    pub fn blocks(&self) -> usize {
        self.channels / BLOCK
    }

    /// Floats of a row, border included.
    pub fn row(&self) -> usize {
        (self.width + 2) * BLOCK
    }

    /// Floats of a block of an image, border included.
    pub fn plane(&self) -> usize {
        (self.height + 2) * self.row()
    }

    /// Floats of an image.
    pub fn image(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Floats of the batch.
    pub fn len(&self) -> usize {
        self.n * self.image()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where channel `c` of the pixel (y, x) of image `n` is.
    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        n * self.image() + (c / BLOCK) * self.plane() + (y + 1) * self.row() + (x + 1) * BLOCK + c % BLOCK
    }
}

/// Floats of the weights of a convolution with kernels of `size` x `size`; channels are multiples of 16.
pub fn weights_len(input: usize, output: usize, size: usize) -> usize {
    input * output * size * size
}

/// Where the weight from channel `i` to channel `o` at (ky, kx) is, among `input` channels and kernels of `size`.
pub fn weight_at(input: usize, size: usize, o: usize, i: usize, ky: usize, kx: usize) -> usize {
    ((((o / BLOCK) * (input / BLOCK) + i / BLOCK) * size + ky) * size + kx) * BLOCK * BLOCK + (i % BLOCK) * BLOCK + o % BLOCK
}

/// The weights of the gradient of the input: output and input exchanged, kernels turned by 180 degrees.
pub fn turned(w: &[f32], input: usize, output: usize, size: usize, out: &mut [f32]) {
    for o in 0..output {
        for i in 0..input {
            for ky in 0..size {
                for kx in 0..size {
                    out[weight_at(output, size, i, o, size - 1 - ky, size - 1 - kx)] = w[weight_at(input, size, o, i, ky, kx)];
                }
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

impl Conv {
    /// From input, output channels, kernel size and stride; `None` unless channels are multiples of 16, the size is 1 or 3 and the stride
    /// 1 or 2.
    pub fn new(input: Images, channels: usize, size: usize, stride: usize) -> Option<Conv> {
        let whole = |c: usize| c > 0 && c.is_multiple_of(BLOCK);
        let output = Images { channels, height: input.height.div_ceil(stride.max(1)), width: input.width.div_ceil(stride.max(1)), ..input };
        (whole(input.channels) && whole(channels) && matches!(size, 1 | 3) && matches!(stride, 1 | 2)).then_some(Conv {
            size,
            stride,
            input,
            output,
        })
    }

    /// Floats of the weights.
    pub fn weights(&self) -> usize {
        weights_len(self.input.channels, self.output.channels, self.size)
    }

    /// Floating-point operations of the forward pass.
    pub fn flop(&self) -> f64 {
        2.0 * (self.output.n * self.output.height * self.output.width) as f64 * self.weights() as f64
    }

    fn check(&self, x: usize, w: usize, y: usize) {
        assert!(x == self.input.len() && y == self.output.len() && w == self.weights(), "shapes of a convolution");
    }

    /// `y = bias + sum of w x`. The border of `y` is left as it is. Panics on slices of other lengths than the shapes say.
    pub fn forward(&self, x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32]) {
        self.forward_on(Set::current(), x, w, bias, y);
    }

    /// [`forward`](Self::forward) on a given set.
    pub fn forward_on(&self, set: Set, x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32]) {
        self.check(x.len(), w.len(), y.len());
        assert_eq!(bias.len(), self.output.channels, "biases of a convolution");
        super::wide_on(set, Forward { conv: *self, x, w, bias, y });
    }

    /// `dw += sum over images and pixels of x dy`. Panics on slices of other lengths than the shapes say.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        self.weight_gradient_on(Set::current(), x, dy, dw);
    }

    /// [`weight_gradient`](Self::weight_gradient) on a given set.
    pub fn weight_gradient_on(&self, set: Set, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        self.check(x.len(), dw.len(), dy.len());
        super::wide_on(set, Weights { conv: *self, x, dy, dw });
    }
}

struct Forward<'a> {
    conv: Conv,
    x: &'a [f32],
    w: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        match (S::WIDTH, self.conv.output.blocks().is_multiple_of(2)) {
            (16, true) => self.all::<S, 1, 14, 2>(),
            (16, false) => self.all::<S, 1, 14, 1>(),
            (8, _) => self.all::<S, 2, 6, 1>(),
            _ => self.all::<S, 16, 1, 1>(),
        }
    }
}

impl Forward<'_> {
    /// V vectors make a block; tiles of P pixels and B blocks of outputs.
    #[inline(always)]
    fn all<L: Lane<Item = f32>, const V: usize, const P: usize, const B: usize>(&mut self) {
        match (self.conv.size, self.conv.stride) {
            (3, 1) => self.rows::<L, V, P, B, 3, 1>(),
            (3, _) => self.rows::<L, V, P, B, 3, 2>(),
            (_, 1) => self.rows::<L, V, P, B, 1, 1>(),
            _ => self.rows::<L, V, P, B, 1, 2>(),
        }
    }

    #[inline(always)]
    fn rows<L: Lane<Item = f32>, const V: usize, const P: usize, const B: usize, const K: usize, const T: usize>(&mut self) {
        let (input, output) = (self.conv.input, self.conv.output);
        for n in 0..output.n {
            for o in (0..output.blocks()).step_by(B) {
                for y in 0..output.height {
                    // a kernel of 3 begins one pixel up and to the left: in the border, for the first row and column
                    let back = K / 2;
                    let x_row = n * input.image() + (y * T + 1 - back) * input.row() + (1 - back) * BLOCK;
                    let y_row = n * output.image() + o * output.plane() + (y + 1) * output.row() + BLOCK;
                    let mut at = 0;
                    while at + P <= output.width {
                        self.tile::<L, V, P, B, K, T>(x_row + at * T * BLOCK, y_row + at * BLOCK, o);
                        at += P;
                    }
                    while at + 4 <= output.width {
                        self.tile::<L, V, 4, B, K, T>(x_row + at * T * BLOCK, y_row + at * BLOCK, o);
                        at += 4;
                    }
                    while at < output.width {
                        self.tile::<L, V, 1, B, K, T>(x_row + at * T * BLOCK, y_row + at * BLOCK, o);
                        at += 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn tile<L: Lane<Item = f32>, const V: usize, const P: usize, const B: usize, const K: usize, const T: usize>(
        &mut self,
        x_at: usize,
        y_at: usize,
        o: usize,
    ) {
        let (input, output) = (self.conv.input, self.conv.output);
        let per_block = input.blocks() * K * K * BLOCK * BLOCK;
        let mut acc = [[[L::splat(0.0); V]; B]; P];
        for b in 0..B {
            for v in 0..V {
                let start = L::load(&self.bias[(o + b) * BLOCK + v * L::WIDTH..]);
                for a in &mut acc {
                    a[b][v] = start;
                }
            }
        }
        for i in 0..input.blocks() {
            for ky in 0..K {
                let (x0, w0) = (x_at + i * input.plane() + ky * input.row(), o * per_block + (i * K + ky) * K * BLOCK * BLOCK);
                // the last element each pointer reaches below
                assert!(x0 + ((P - 1) * T + K) * BLOCK <= self.x.len() && w0 + (B - 1) * per_block + K * BLOCK * BLOCK <= self.w.len());
                let (x, w) = (&self.x[x0..], &self.w[w0..]);
                for j in 0..K * BLOCK {
                    let mut weights = [[L::splat(0.0); V]; B];
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
                        // SAFETY: p T BLOCK + j < ((P-1) T + K) BLOCK, checked above.
                        let e = L::splat(unsafe { *x.get_unchecked(p * T * BLOCK + j) });
                        for b in 0..B {
                            for v in 0..V {
                                acc[p][b][v] = e.mul_add(weights[b][v], acc[p][b][v]);
                            }
                        }
                    }
                }
            }
        }
        for p in 0..P {
            for b in 0..B {
                for v in 0..V {
                    acc[p][b][v].store(&mut self.y[y_at + b * output.plane() + p * BLOCK + v * L::WIDTH..]);
                }
            }
        }
    }
}

struct Weights<'a> {
    conv: Conv,
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl Task for Weights<'_> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        match (S::WIDTH, self.conv.output.blocks().is_multiple_of(2)) {
            (16, true) => self.all::<S, 1, 8, 2>(),
            (16, false) => self.all::<S, 1, 16, 1>(),
            (8, _) => self.all::<S, 2, 4, 1>(),
            _ => self.all::<S, 16, 1, 1>(),
        }
    }
}

impl Weights<'_> {
    /// V vectors make a block; C input channels and B blocks of outputs at a time.
    #[inline(always)]
    fn all<L: Lane<Item = f32>, const V: usize, const C: usize, const B: usize>(&mut self) {
        match self.conv.stride {
            1 => self.pixels::<L, V, C, B, 1>(),
            _ => self.pixels::<L, V, C, B, 2>(),
        }
    }

    #[inline(always)]
    fn pixels<L: Lane<Item = f32>, const V: usize, const C: usize, const B: usize, const T: usize>(&mut self) {
        let (input, output, k) = (self.conv.input, self.conv.output, self.conv.size);
        let per_block = input.blocks() * k * k * BLOCK * BLOCK;
        for n in 0..output.n {
            for o in (0..output.blocks()).step_by(B) {
                for i in 0..input.blocks() {
                    for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                        for c in (0..BLOCK).step_by(C) {
                            let w0 = o * per_block + ((i * k + ky) * k + kx) * BLOCK * BLOCK + c * BLOCK;
                            let mut acc = [[[L::splat(0.0); V]; B]; C];
                            for y in 0..output.height {
                                let x0 = n * input.image()
                                    + i * input.plane()
                                    + (y * T + 1 + ky - k / 2) * input.row()
                                    + (1 + kx - k / 2) * BLOCK
                                    + c;
                                let y0 = n * output.image() + o * output.plane() + (y + 1) * output.row() + BLOCK;
                                let width = output.width;
                                assert!(x0 + (width - 1) * T * BLOCK + C <= self.x.len());
                                assert!(y0 + (B - 1) * output.plane() + width * BLOCK <= self.dy.len());
                                let (x, dy) = (&self.x[x0..], &self.dy[y0..]);
                                for p in 0..width {
                                    let mut g = [[L::splat(0.0); V]; B];
                                    for b in 0..B {
                                        for v in 0..V {
                                            let at = b * output.plane() + p * BLOCK + v * L::WIDTH;
                                            // SAFETY: p < width: ends at or before (B-1) plane + width BLOCK, checked above.
                                            g[b][v] = L::load(unsafe { dy.get_unchecked(at..at + L::WIDTH) });
                                        }
                                    }
                                    for e in 0..C {
                                        // SAFETY: p T BLOCK + e < (width-1) T BLOCK + C, checked above.
                                        let s = L::splat(unsafe { *x.get_unchecked(p * T * BLOCK + e) });
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

    /// Every shape at and around the tiles' edges: widths 1 to 29, one to three blocks, both sizes and strides.
    fn shapes() -> Vec<Conv> {
        let mut all = vec![];
        for (h, w) in [(1, 1), (2, 3), (3, 4), (5, 6), (4, 7), (2, 13), (3, 14), (2, 15), (1, 29)] {
            for (i, o) in [(16, 16), (16, 32), (48, 16), (32, 48)] {
                for (size, stride) in [(3, 1), (3, 2), (1, 1), (1, 2)] {
                    all.extend(Conv::new(Images { n: 2, channels: i, height: h, width: w }, o, size, stride));
                }
            }
        }
        assert_eq!(all.len(), 9 * 4 * 4);
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
                c.forward_on(set, &x, &w, &bias, &mut y);
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
