//! Networks put together, layer by layer.

use super::graph::{Graph, Id, Layer, Tensor};
use super::params::{Layout, Start, padded};
use super::{attention, conv, embed, norm};
use crate::simd::Real;
use crate::simd::loops::conv::BLOCK;

/// Builds a graph, layer by layer. Names of parameters are the layer's and `.weight` or `.bias`.
pub struct Builder<T> {
    tensors: Vec<Tensor>,
    buffers: usize,
    layers: Vec<Box<dyn Layer<T>>>,
    layout: Layout,
    inputs: [usize; 3],
}

/// What a convolution does besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// Kernel 3 x 3, else 1 x 1.
    pub three: bool,
    /// Every second pixel.
    pub half: bool,
    /// Adds this flat tensor's row to every pixel of an image.
    pub per_image: Option<Id>,
    /// `(sum + tensor) / sqrt 2`.
    pub residual: Option<Id>,
    /// Starts at zero.
    pub zero: bool,
}

impl<T: Real> Builder<T> {
    /// For rows of `inputs`: channels, height, width. Flat: the rows are numbers without place
    /// (height and width 1).
    pub fn new(inputs: [usize; 3], flat: bool) -> (Builder<T>, Id) {
        let mut b = Builder {
            tensors: vec![],
            buffers: 0,
            layers: vec![],
            layout: Layout::default(),
            inputs,
        };
        let id = b.tensor(padded(inputs[0]), (!flat).then_some((inputs[1], inputs[2])));
        (b, id)
    }

    fn tensor(&mut self, channels: usize, pixels: Option<(usize, usize)>) -> Id {
        self.tensors.push(Tensor {
            channels,
            pixels,
            buffer: self.buffers,
            among: channels,
            first: 0,
        });
        self.buffers += 1;
        Id(self.tensors.len() - 1)
    }

    /// Channels of a tensor.
    pub fn channels(&self, id: Id) -> usize {
        self.tensors[id.0].channels
    }

    fn pixels(&self, id: Id) -> Option<(usize, usize)> {
        self.tensors[id.0].pixels
    }

    /// A convolution, or for a flat tensor a linear layer, from `input` true channels (the tensor
    /// may have more, zeros).
    pub fn conv(&mut self, name: &str, x: Id, input: usize, output: usize, with: With) -> Id {
        let (size, stride) = (
            if with.three { 3 } else { 1 },
            if with.half { 2 } else { 1 },
        );
        assert!(
            with.three || !with.half,
            "{name}: a kernel of 1 has stride 1"
        );
        assert!(
            padded(input) == self.channels(x),
            "{name}: {input} channels of {}",
            self.channels(x)
        );
        let pixels = self
            .pixels(x)
            .map(|(h, w)| (h.div_ceil(stride), w.div_ceil(stride)));
        let y = self.tensor(padded(output), pixels);
        assert!(
            with.per_image
                .is_none_or(|t| self.channels(t) == padded(output) && self.pixels(t).is_none()),
            "{name}: what is added"
        );
        assert!(
            with.residual
                .is_none_or(|t| self.channels(t) == padded(output) && self.pixels(t) == pixels),
            "{name}: residual"
        );
        let start = if with.zero {
            Start::Value(0.0)
        } else {
            Start::Uniform(1.0 / ((input * size * size) as f64).sqrt())
        };
        let shape = if pixels.is_some() {
            vec![output, input, size, size]
        } else {
            vec![output, input]
        };
        let weight = self.layout.add(format!("{name}.weight"), shape, start);
        let bias = self.layout.add(format!("{name}.bias"), vec![output], start);
        let first = x.0 == 0;
        self.layers.push(Box::new(conv::Conv {
            name: name.into(),
            x,
            y,
            size,
            stride,
            weight,
            bias,
            per_image: with.per_image,
            residual: with.residual,
            first,
        }));
        y
    }

    /// Group norm, SiLU after it if wanted.
    pub fn norm(&mut self, name: &str, x: Id, groups: usize, silu: bool) -> Id {
        let c = self.channels(x);
        let y = self.tensor(c, self.pixels(x));
        let weight = self
            .layout
            .add(format!("{name}.weight"), vec![c], Start::Value(1.0));
        let bias = self
            .layout
            .add(format!("{name}.bias"), vec![c], Start::Value(0.0));
        self.layers.push(Box::new(norm::Norm {
            name: name.into(),
            x,
            y,
            groups,
            silu,
            weight,
            bias,
        }));
        y
    }

    /// SiLU of a flat tensor.
    pub fn silu(&mut self, x: Id) -> Id {
        let y = self.tensor(self.channels(x), self.pixels(x));
        self.layers.push(Box::new(embed::Silu { x, y }));
        y
    }

    /// `sin(f_k ln t), cos(f_k ln t)` of the rows' times, `f_k` from 1 to 1000 in equal ratios: 64
    /// numbers.
    pub fn fourier(&mut self) -> Id {
        let y = self.tensor(2 * embed::FREQUENCIES, None);
        self.layers.push(Box::new(embed::Fourier { y }));
        y
    }

    /// Every pixel four times.
    pub fn up(&mut self, x: Id) -> Id {
        let y = self.tensor(
            self.channels(x),
            self.pixels(x).map(|(h, w)| (2 * h, 2 * w)),
        );
        self.layers.push(Box::new(embed::Resized {
            x,
            y,
            to: embed::Size::Double,
        }));
        y
    }

    /// The upper left part, as large as `like`; itself if it is that already.
    pub fn crop(&mut self, x: Id, like: Id) -> Id {
        let (from, to) = (self.pixels(x), self.pixels(like));
        if from == to {
            return x;
        }
        assert!(
            from.zip(to).is_some_and(|(f, t)| f.0 >= t.0 && f.1 >= t.1),
            "the part is the smaller one"
        );
        let y = self.tensor(self.channels(x), to);
        self.layers.push(Box::new(embed::Resized {
            x,
            y,
            to: embed::Size::Crop,
        }));
        y
    }

    /// Each number is 0 with probability `rate`, else divided by `1 - rate`: in training.
    pub fn dropout(&mut self, x: Id, rate: f64) -> Id {
        let y = self.tensor(self.channels(x), self.pixels(x));
        self.layers.push(Box::new(embed::Dropout {
            x,
            y,
            rate,
            number: self.layers.len() as u64,
        }));
        y
    }

    /// One head of attention over all pixels; `qkv` holds queries, keys and values.
    pub fn attention(&mut self, qkv: Id) -> Id {
        let y = self.tensor(self.channels(qkv) / 3, self.pixels(qkv));
        self.layers.push(Box::new(attention::Attention { qkv, y }));
        y
    }

    /// Two tensors side by side: nothing is copied, from now on both lie in one buffer.
    pub fn cat(&mut self, a: Id, b: Id) -> Id {
        let (ca, cb) = (self.channels(a), self.channels(b));
        assert!(
            self.pixels(a) == self.pixels(b) && self.pixels(a).is_some() && a != b,
            "tensors side by side"
        );
        let y = self.tensor(ca + cb, self.pixels(a));
        let buffer = self.tensors[y.0].buffer;
        for (id, first) in [(a, 0), (b, ca)] {
            let t = &mut self.tensors[id.0];
            assert!(
                t.among == t.channels && id.0 != 0,
                "a tensor can stand beside one other only"
            );
            *t = Tensor {
                buffer,
                among: ca + cb,
                first,
                ..*t
            };
        }
        y
    }

    /// The graph, whose output is `channels` of `output`.
    pub fn finish(mut self, output: Id, channels: usize) -> Graph<T> {
        // buffers that became part of others are left out
        let mut used: Vec<usize> = self.tensors.iter().map(|t| t.buffer).collect();
        used.sort_unstable();
        used.dedup();
        for t in &mut self.tensors {
            t.buffer = used.partition_point(|u| *u < t.buffer);
        }
        // which blocks have a gradient already, from the end on
        let mut written: Vec<Vec<bool>> = vec![vec![]; used.len()];
        for t in &self.tensors {
            written[t.buffer].resize(t.among / BLOCK, false);
        }
        let mut first = vec![];
        let blocks = |t: &Tensor| t.first / BLOCK..(t.first + t.channels) / BLOCK;
        written[self.tensors[output.0].buffer].fill(true);
        for layer in self.layers.iter().rev() {
            let y = &self.tensors[layer.output().0];
            assert!(
                written[y.buffer][blocks(y)].iter().all(|w| *w),
                "{}: nothing reads its output",
                layer.name()
            );
            let mut flags = vec![];
            for id in layer.inputs() {
                let t = &self.tensors[id.0];
                assert!(
                    t.buffer != y.buffer,
                    "{}: reads where it writes",
                    layer.name()
                );
                let part = &mut written[t.buffer][blocks(t)];
                assert!(
                    part.iter().all(|w| *w) || part.iter().all(|w| !w),
                    "{}: gradients in part",
                    layer.name()
                );
                flags.push(!part[0]);
                part.fill(true);
            }
            first.push(flags);
        }
        first.reverse();
        let pixels = self.tensors[output.0].pixels.unwrap_or((1, 1));
        Graph {
            layers: self.layers,
            first,
            tensors: self.tensors.into(),
            layout: self.layout,
            input: Id(0),
            output,
            inputs: self.inputs,
            outputs: [channels, pixels.0, pixels.1],
        }
    }
}
