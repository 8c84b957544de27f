//! Layers without parameters: SiLU, features of the time, upsampling, dropout.

use super::graph::{Buffers, Gradients, Id, Layer};
use crate::simd::Real;
use crate::simd::loops::conv::{BLOCK, Images};
use crate::simd::loops::pointwise::{add_images, silu, silu_back, upsample, upsample_back};
use crate::simd::normal::threefry;

pub(super) struct Silu {
    pub x: Id,
    pub y: Id,
}

impl<T: Real> Layer<T> for Silu {
    fn name(&self) -> String {
        "silu".into()
    }

    fn inputs(&self) -> Vec<Id> {
        vec![self.x]
    }

    fn output(&self) -> Id {
        self.y
    }

    fn forward(&self, _: &[T], b: &mut Buffers<T>, _: &mut [Vec<T>]) {
        let len = b.images(self.x).len();
        b.with_value(self.y, |b, y| {
            silu(b.set, &b.value(self.x)[..len], &mut y[..len])
        });
    }

    fn backward(
        &self,
        _: &[T],
        _: &[T],
        b: &mut Buffers<T>,
        _: &mut [Vec<T>],
        first: &[bool],
        _: &mut Gradients<T>,
    ) {
        let (len, set) = (b.images(self.x).len(), b.set);
        b.with_gradient(self.x, |b, dx| {
            if first[0] {
                dx[..len].fill(T::default());
            }
            silu_back(
                set,
                &b.value(self.x)[..len],
                &b.gradient(self.y)[..len],
                &mut dx[..len],
            );
        });
    }
}

/// Frequencies of the time's features.
pub(super) const FREQUENCIES: usize = 32;

/// `sin(f_k ln t)`, then `cos(f_k ln t)`, `f_k = 1000^(k/31)`; the angles in f64. Formula:
/// nn.fourier.
pub(super) struct Fourier {
    pub y: Id,
}

impl<T: Real> Layer<T> for Fourier {
    fn name(&self) -> String {
        "fourier".into()
    }

    fn inputs(&self) -> Vec<Id> {
        vec![]
    }

    fn output(&self) -> Id {
        self.y
    }

    fn forward(&self, _: &[T], b: &mut Buffers<T>, _: &mut [Vec<T>]) {
        let s = b.images(self.y);
        b.with_value(self.y, |b, y| {
            for (n, t) in b.times.iter().enumerate() {
                for k in 0..FREQUENCIES {
                    let angle = t.ln() * 1000f64.powf(k as f64 / (FREQUENCIES - 1) as f64);
                    let (sin, cos) = angle.sin_cos();
                    y[s.at(0, k, 0, n)] = T::of(sin);
                    y[s.at(0, FREQUENCIES + k, 0, n)] = T::of(cos);
                }
            }
        });
    }

    fn backward(
        &self,
        _: &[T],
        _: &[T],
        _: &mut Buffers<T>,
        _: &mut [Vec<T>],
        _: &[bool],
        _: &mut Gradients<T>,
    ) {
    }
}

/// How a tensor of another size is made.
pub(super) enum Size {
    /// Every pixel as two by two.
    Double,
    /// The upper left part.
    Crop,
}

pub(super) struct Resized {
    pub x: Id,
    pub y: Id,
    pub to: Size,
}

impl<T: Real> Layer<T> for Resized {
    fn name(&self) -> String {
        match self.to {
            Size::Double => "upsample".into(),
            Size::Crop => "crop".into(),
        }
    }

    fn inputs(&self) -> Vec<Id> {
        vec![self.x]
    }

    fn output(&self) -> Id {
        self.y
    }

    fn forward(&self, _: &[T], b: &mut Buffers<T>, _: &mut [Vec<T>]) {
        let (xs, ys) = (b.images(self.x), b.images(self.y));
        let places = |n, c, row| (xs.at(n, c, row, 0), ys.at(n, c, row, 0));
        b.with_value(self.y, |b, y| match self.to {
            Size::Double => upsample(b.set, b.value(self.x), xs, y, ys),
            Size::Crop => rows(ys, places, b.value(self.x), y),
        });
    }

    fn backward(
        &self,
        _: &[T],
        _: &[T],
        b: &mut Buffers<T>,
        _: &mut [Vec<T>],
        first: &[bool],
        _: &mut Gradients<T>,
    ) {
        let (xs, ys, set) = (b.images(self.x), b.images(self.y), b.set);
        let places = |n, c, row| (ys.at(n, c, row, 0), xs.at(n, c, row, 0));
        b.with_gradient(self.x, |b, dx| {
            if first[0] {
                (0..xs.n).for_each(|n| dx[n * xs.stride..][..xs.image()].fill(T::default()));
            }
            match self.to {
                Size::Double => upsample_back(set, b.gradient(self.y), ys, dx, xs),
                Size::Crop => {
                    assert!(first[0], "what is cut is read by nothing else");
                    rows(ys, places, b.gradient(self.y), dx);
                }
            }
        });
    }
}

/// Copies the rows of the smaller tensor `s`: `places` gives from and to.
fn rows<T: Real>(
    s: Images,
    places: impl Fn(usize, usize, usize) -> (usize, usize),
    from: &[T],
    to: &mut [T],
) {
    for n in 0..s.n {
        for c in (0..s.channels).step_by(BLOCK) {
            for row in 0..s.height {
                let (a, b) = places(n, c, row);
                to[b..b + s.width * BLOCK].copy_from_slice(&from[a..a + s.width * BLOCK]);
            }
        }
    }
}

/// Formula: nn.dropout. The multipliers 0 and `1/(1 - rate)` come from (key, layer and row, place):
/// the same for any batch and number of threads. `rate` is rounded to 2^-16.
pub(super) struct Dropout {
    pub x: Id,
    pub y: Id,
    pub rate: f64,
    pub number: u64,
}

impl<T: Real> Layer<T> for Dropout {
    fn name(&self) -> String {
        "dropout".into()
    }

    fn inputs(&self) -> Vec<Id> {
        vec![self.x]
    }

    fn output(&self) -> Id {
        self.y
    }

    /// The multipliers.
    fn own(&self, b: &Buffers<T>) -> Vec<usize> {
        let s = b.images(self.x);
        vec![s.with_channels(s.channels).len()]
    }

    fn forward(&self, _: &[T], b: &mut Buffers<T>, own: &mut [Vec<T>]) {
        let (xs, ys) = (b.images(self.x), b.images(self.y));
        let (s, factors) = (xs.with_channels(xs.channels), &mut own[0]);
        let dropped = (self.rate * 65536.0).round() as u64;
        let kept = T::of(1.0 / (1.0 - dropped as f64 / 65536.0));
        match b.dropout {
            None => factors.fill(T::of(1.0)),
            Some((key, row)) => {
                let key = [
                    key[0],
                    key[1] ^ self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                ];
                for (n, image) in factors.chunks_exact_mut(s.image()).enumerate() {
                    for (i, block) in image.chunks_exact_mut(BLOCK).enumerate() {
                        for (half, part) in block.chunks_exact_mut(8).enumerate() {
                            let words = threefry([row + n as u64, 2 * i as u64 + half as u64], key);
                            for (j, f) in part.iter_mut().enumerate() {
                                let u = words[j / 4] >> (16 * (j % 4)) & 0xFFFF;
                                *f = if u < dropped { T::default() } else { kept };
                            }
                        }
                    }
                }
            }
        }
        b.with_value(self.y, |b, y| multiply(b.value(self.x), xs, factors, y, ys));
    }

    fn backward(
        &self,
        _: &[T],
        _: &[T],
        b: &mut Buffers<T>,
        own: &mut [Vec<T>],
        first: &[bool],
        _: &mut Gradients<T>,
    ) {
        let (xs, ys, set) = (b.images(self.x), b.images(self.y), b.set);
        let (s, factors) = (xs.with_channels(xs.channels), &own[0]);
        b.with_gradient(self.y, |b, dy| {
            b.with_gradient(self.x, |_, dx| {
                if first[0] {
                    multiply(dy, ys, factors, dx, xs);
                } else {
                    for n in 0..s.n {
                        for (d, f) in dy[n * ys.stride..][..s.image()]
                            .iter_mut()
                            .zip(&factors[n * s.image()..])
                        {
                            *d = T::of(d.f64() * f.f64());
                        }
                    }
                    add_images(set, T::of(1.0), dy, ys, dx, xs);
                }
            });
        });
    }
}

/// `y = x f`, image by image; borders are zeros and stay so.
fn multiply<T: Real>(x: &[T], xs: Images, f: &[T], y: &mut [T], ys: Images) {
    let image = xs.image();
    for n in 0..xs.n {
        let (x, f, y) = (
            &x[n * xs.stride..][..image],
            &f[n * image..][..image],
            &mut y[n * ys.stride..][..image],
        );
        for i in 0..image {
            y[i] = T::of(x[i].f64() * f[i].f64());
        }
    }
}
