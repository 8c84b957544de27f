//! Convolutions and linear layers.

use super::graph::{Buffers, Gradients, Id, Layer};
use crate::simd::Real;
use crate::simd::loops::conv::{Conv as Loop, Finish, Images, spread};
use crate::simd::loops::pointwise::{add_images, channel_sums, set_images};
use crate::simd::loops::winograd::Winograd;
use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::Range;

/// `y = bias + w * x`, perhaps with a row per image added, perhaps `(y + residual) / sqrt 2`.
/// Formula: nn.conv.
pub(super) struct Conv {
    pub name: String,
    pub x: Id,
    pub y: Id,
    pub size: usize,
    pub stride: usize,
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub per_image: Option<Id>,
    pub residual: Option<Id>,
    /// Whether x is the network's input, whose gradient is seldom wanted.
    pub first: bool,
}

impl Conv {
    /// Channels of the input, those that fill blocks included.
    fn input_channels(&self) -> usize {
        self.weight.len() / (self.bias.len() * self.size * self.size)
    }

    fn conv<T: Real>(&self, b: &Buffers<T>) -> Loop {
        Loop::between(b.images(self.x), b.images(self.y), self.size, self.stride)
            .expect("shapes are checked when the network is built")
    }

    /// The loop of the input's gradient.
    fn back<T: Real>(&self, b: &Buffers<T>) -> Loop {
        let from = if self.stride == 2 {
            self.wide(b)
        } else {
            b.images(self.y)
        };
        Loop::between(from, b.images(self.x), self.size, 1)
            .expect("shapes are checked when the network is built")
    }

    /// The output's gradient with zeros between the pixels, as large as the input.
    fn wide<T: Real>(&self, b: &Buffers<T>) -> Images {
        let (x, y) = (b.images(self.x), b.images(self.y));
        Images::new(x.n, y.channels, x.height, x.width)
    }
}

impl<T: Real> Layer<T> for Conv {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn inputs(&self) -> Vec<Id> {
        self.residual
            .iter()
            .chain(&self.per_image)
            .copied()
            .chain([self.x])
            .collect()
    }

    fn output(&self) -> Id {
        self.y
    }

    /// The biases 0 of the input's gradient; for stride 2 the spread gradient.
    fn own(&self, b: &Buffers<T>) -> Vec<usize> {
        let wide = match self.stride {
            2 => self.wide(b).len(),
            _ => 0,
        };
        vec![b.images(self.x).channels, wide]
    }

    fn scratch(&self, b: &Buffers<T>) -> usize {
        [self.conv(b), self.back(b)]
            .into_iter()
            .filter_map(Winograd::new)
            .map(|w| w.scratch())
            .max()
            .unwrap_or(0)
    }

    fn turns(&self) -> Option<(Range<usize>, usize, usize, usize)> {
        Some((
            self.weight.clone(),
            self.input_channels(),
            self.bias.len(),
            self.size,
        ))
    }

    fn flop(&self, b: &Buffers<T>) -> f64 {
        self.conv(b).flop() / b.n as f64
    }

    fn forward(&self, p: &[T], b: &mut Buffers<T>, _: &mut [Vec<T>]) {
        let conv = self.conv(b);
        let fast = Winograd::new(conv).filter(|_| !b.direct);
        let mut scratch = std::mem::take(&mut b.scratch);
        b.with_value(self.y, |b, y| {
            let per_image = self.per_image.map(|id| (b.value(id), b.images(id)));
            let finish = match self.residual {
                Some(id) => Finish::Residual(b.value(id), b.images(id), T::of(FRAC_1_SQRT_2)),
                None => Finish::Write,
            };
            let (w, bias) = (&p[self.weight.clone()], &p[self.bias.clone()]);
            match fast {
                Some(f) => f.forward_on(
                    b.set,
                    b.value(self.x),
                    w,
                    bias,
                    per_image,
                    finish,
                    y,
                    &mut scratch,
                ),
                None => conv.forward_on(b.set, b.value(self.x), w, bias, per_image, finish, y),
            }
        });
        b.scratch = scratch;
    }

    fn backward(
        &self,
        _: &[T],
        turned: &[T],
        b: &mut Buffers<T>,
        own: &mut [Vec<T>],
        first: &[bool],
        g: &mut Gradients<T>,
    ) {
        let conv = self.conv(b);
        let (ys, set) = (b.images(self.y), b.set);
        let mut first = first.iter();
        b.with_gradient(self.y, |b, dy| {
            if let Some(id) = self.residual {
                let part = T::of(FRAC_1_SQRT_2);
                for n in 0..ys.n {
                    crate::simd::loops::pointwise::scale(
                        set,
                        part,
                        &mut dy[n * ys.stride..][..ys.image()],
                    );
                }
                let (s, write) = (b.images(id), first.next() == Some(&true));
                b.with_gradient(id, |_, d| {
                    if write {
                        set_images(set, T::of(1.0), dy, ys, d, s)
                    } else {
                        add_images(set, T::of(1.0), dy, ys, d, s)
                    }
                });
            }
            let dbias = g.of(self.bias.clone());
            match self.per_image {
                Some(id) => {
                    assert_eq!(
                        first.next(),
                        Some(&true),
                        "what is added per image is read by one layer alone"
                    );
                    let flat = b.images(id);
                    b.with_gradient(id, |_, d| channel_sums(set, dy, ys, Some((d, flat)), dbias));
                }
                None => channel_sums(set, dy, ys, None, dbias),
            }
            let add = g.add;
            let mut scratch = std::mem::take(&mut b.scratch);
            let (x, dw) = (b.value(self.x), g.raw(self.weight.clone()));
            match Winograd::new(conv).filter(|_| !b.direct) {
                Some(f) => f.weight_gradient_on(set, x, dy, dw, add, &mut scratch),
                None => conv.weight_gradient_on(set, x, dy, dw, add),
            }
            b.scratch = scratch;
            if self.first && !b.want_input {
                return;
            }
            let [zeros, wide] = own else {
                unreachable!("two buffers, as `own` says")
            };
            let back = self.back(b);
            let dy: &[T] = if self.stride == 2 {
                spread(ys, dy, back.input, wide);
                wide
            } else {
                dy
            };
            let fast = Winograd::new(back).filter(|_| !b.direct);
            let mut scratch = std::mem::take(&mut b.scratch);
            let finish = if first.next() == Some(&true) {
                Finish::Write
            } else {
                Finish::Add
            };
            let w = &turned[self.weight.clone()];
            b.with_gradient(self.x, |_, dx| match fast {
                Some(f) => f.forward_on(set, dy, w, zeros, None, finish, dx, &mut scratch),
                None => back.forward_on(set, dy, w, zeros, None, finish, dx),
            });
            b.scratch = scratch;
        });
    }
}
