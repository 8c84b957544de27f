//! Networks as fixed lists of layers over tensors, and the buffers of a run.

use super::params::{Layout, Start, padded};
use super::{attention, conv, embed, norm};
use crate::error::{Error, Result};
use crate::simd::conv::{BLOCK, Images, turned};
use crate::simd::{Real, Set};
use std::ops::Range;
use std::sync::Arc;

/// A tensor of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

/// What the graph knows of a tensor.
#[derive(Clone, Copy, Debug)]
struct Tensor {
    channels: usize,
    /// Height and width; none for one row of numbers per row of the batch.
    pixels: Option<(usize, usize)>,
    /// The buffer it is in, that buffer's channels, and the first one of this tensor.
    buffer: usize,
    among: usize,
    first: usize,
}

impl Tensor {
    fn images(&self, n: usize) -> Images {
        match self.pixels {
            Some((h, w)) => Images {
                stride: Images::new(1, self.among, h, w).image(),
                ..Images::new(n, self.channels, h, w)
            },
            None => Images::new(1, self.channels, 1, n),
        }
    }

    fn offset(&self, n: usize) -> usize {
        self.first / BLOCK * self.images(n).plane()
    }
}

/// A layer: reads tensors, writes one.
pub(super) trait Layer<T: Real>: Send + Sync {
    /// Its parameters' common name, or what it does.
    fn name(&self) -> String;
    /// The tensors whose gradients its backward pass gives, in that order.
    fn inputs(&self) -> Vec<Id>;
    /// The tensor it writes.
    fn output(&self) -> Id;
    /// Lengths of the buffers of its own that it needs for n rows.
    fn own(&self, _: &Buffers<T>) -> Vec<usize> {
        vec![]
    }
    /// Gets ready for weights that will be used for a while: [`Session::prepare`].
    fn prepare(&self, _: &[T], _: Option<&[T]>, _: &mut Buffers<T>, _: &mut [Vec<T>]) {}
    /// The weights that its backward pass wants turned: place, input and output channels, size.
    fn turns(&self) -> Option<(Range<usize>, usize, usize, usize)> {
        None
    }
    /// Multiply-adds count two; for one row of the batch.
    fn flop(&self, _: &Buffers<T>) -> f64 {
        0.0
    }
    /// Writes the output.
    fn forward(&self, p: &[T], b: &mut Buffers<T>, own: &mut [Vec<T>]);
    /// From the output's gradient, which it may spoil: those of the inputs (written where `first`,
    /// else added to), and of the parameters (in `g`). `first` is in the order of
    /// [`inputs`](Self::inputs).
    fn backward(
        &self,
        p: &[T],
        turned: &[T],
        b: &mut Buffers<T>,
        own: &mut [Vec<T>],
        first: &[bool],
        g: &mut Gradients<T>,
    );
}

/// Where gradients of parameters go.
pub(super) struct Gradients<'a, T> {
    all: &'a mut [T],
    /// Whether they are added to what is there.
    pub add: bool,
}

impl<T: Real> Gradients<'_, T> {
    /// Those of one parameter, as they are: a loop that heeds `add` itself.
    pub fn raw(&mut self, at: Range<usize>) -> &mut [T] {
        &mut self.all[at]
    }

    /// Those of one parameter, 0 unless they are added to.
    pub fn of(&mut self, at: Range<usize>) -> &mut [T] {
        let part = &mut self.all[at];
        if !self.add {
            part.fill(T::default());
        }
        part
    }
}

/// The buffers of a run: values and gradients of every tensor.
pub(super) struct Buffers<T> {
    pub n: usize,
    pub set: Set,
    /// Times of the rows.
    pub times: Vec<f64>,
    /// Key and number of the first row of dropout; none: no dropout.
    pub dropout: Option<([u64; 2], u64)>,
    /// Whether the gradient of the input is wanted.
    pub want_input: bool,
    /// Whether layers are prepared for the weights, and for these turned.
    pub prepared: [bool; 2],
    /// Memory that a loop works in: any layer's, for the time of a call.
    pub scratch: Vec<T>,
    tensors: Arc<[Tensor]>,
    values: Vec<Vec<T>>,
    gradients: Vec<Vec<T>>,
}

impl<T: Real> Buffers<T> {
    fn new(tensors: Arc<[Tensor]>, n: usize) -> Self {
        let mut values: Vec<Vec<T>> = vec![];
        for t in tensors.iter() {
            let len = Tensor {
                channels: t.among,
                first: 0,
                ..*t
            }
            .images(n)
            .len();
            if values.len() <= t.buffer {
                values.resize(t.buffer + 1, vec![]);
            }
            if values[t.buffer].is_empty() {
                values[t.buffer] = vec![T::default(); len];
            }
        }
        let gradients = vec![vec![]; values.len()];
        Buffers {
            n,
            set: Set::current(),
            times: vec![1.0; n],
            dropout: None,
            want_input: false,
            prepared: [false; 2],
            scratch: vec![],
            tensors,
            values,
            gradients,
        }
    }

    /// The shape of a tensor.
    pub fn images(&self, id: Id) -> Images {
        self.tensors[id.0].images(self.n)
    }

    /// Whether it is a row of numbers per row of the batch.
    fn flat(&self, id: Id) -> bool {
        self.tensors[id.0].pixels.is_none()
    }

    /// The numbers of a tensor, from its first one on.
    pub fn value(&self, id: Id) -> &[T] {
        let t = &self.tensors[id.0];
        &self.values[t.buffer][t.offset(self.n)..]
    }

    /// Those of its gradient.
    pub fn gradient(&self, id: Id) -> &[T] {
        let t = &self.tensors[id.0];
        &self.gradients[t.buffer][t.offset(self.n)..]
    }

    /// Lends a tensor's numbers for writing while the other tensors' can be read.
    pub fn with_value(&mut self, id: Id, f: impl FnOnce(&Self, &mut [T])) {
        let t = self.tensors[id.0];
        let mut own = std::mem::take(&mut self.values[t.buffer]);
        f(self, &mut own[t.offset(self.n)..]);
        self.values[t.buffer] = own;
    }

    /// The same for its gradient.
    pub fn with_gradient(&mut self, id: Id, f: impl FnOnce(&mut Self, &mut [T])) {
        let t = self.tensors[id.0];
        let mut own = std::mem::take(&mut self.gradients[t.buffer]);
        f(self, &mut own[t.offset(self.n)..]);
        self.gradients[t.buffer] = own;
    }
}

/// A network: its layers in order, its tensors and parameters.
pub struct Graph<T> {
    layers: Vec<Box<dyn Layer<T>>>,
    /// For each layer, which of its inputs' gradients it is the first to write.
    first: Vec<Vec<bool>>,
    tensors: Arc<[Tensor]>,
    layout: Layout,
    input: Id,
    output: Id,
    inputs: [usize; 3],
    outputs: [usize; 3],
}

impl<T: Real> Graph<T> {
    /// The parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Channels, height and width of a row that goes in.
    pub fn inputs(&self) -> [usize; 3] {
        self.inputs
    }

    /// Channels, height and width of a row that comes out.
    pub fn outputs(&self) -> [usize; 3] {
        self.outputs
    }

    /// The weights that the backward pass wants turned ([`turned`]), in order: their place,
    /// channels in and out, size.
    pub fn turns(&self) -> Vec<(Range<usize>, usize, usize, usize)> {
        let mut all: Vec<_> = self.layers.iter().filter_map(|l| l.turns()).collect();
        all.sort_by_key(|t| t.0.start);
        all
    }

    /// All of them, into a slice as long as the parameters: once after every change.
    pub fn turn(&self, p: &[T], out: &mut [T]) {
        assert!(
            p.len() == self.layout.len() && out.len() == p.len(),
            "parameters of the network"
        );
        for (at, input, output, size) in self.turns() {
            turned(&p[at.clone()], input, output, size, &mut out[at]);
        }
    }

    /// Names of the layers, in order, and their floating-point operations per row in the forward
    /// pass.
    pub fn layers(&self) -> Vec<(String, f64)> {
        let b = Buffers::new(self.tensors.clone(), 1);
        self.layers.iter().map(|l| (l.name(), l.flop(&b))).collect()
    }
}

/// Runs a network over at most a fixed number of rows at a time, on one thread. All its memory is
/// its own and is there from the start (that of gradients: from the first backward pass).
pub struct Session<T> {
    graph: Arc<Graph<T>>,
    buffers: Buffers<T>,
    own: Vec<Vec<Vec<T>>>,
}

impl<T: Real> Session<T> {
    /// For at most `rows` rows at a time.
    ///
    /// # Errors
    /// No rows.
    pub fn new(graph: Arc<Graph<T>>, rows: usize) -> Result<Session<T>> {
        if rows == 0 {
            return Err(Error::parameter("rows", rows, "at least 1"));
        }
        let buffers = Buffers::new(graph.tensors.clone(), rows);
        let own = graph
            .layers
            .iter()
            .map(|l| {
                l.own(&buffers)
                    .into_iter()
                    .map(|n| vec![T::default(); n])
                    .collect()
            })
            .collect();
        Ok(Session {
            graph,
            buffers,
            own,
        })
    }

    /// The network.
    pub fn graph(&self) -> &Arc<Graph<T>> {
        &self.graph
    }

    /// Most rows.
    pub fn rows(&self) -> usize {
        self.buffers.n
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        let b = &self.buffers;
        let numbers: usize = b
            .values
            .iter()
            .chain(&b.gradients)
            .chain(self.own.iter().flatten())
            .map(Vec::len)
            .sum();
        numbers * size_of::<T>()
    }

    /// Gets ready for these weights, and for these turned: 3x3 convolutions of wide images are done
    /// by Winograd's way from now on ([`winograd`](crate::simd::winograd)): faster, with other
    /// roundings. Must be called again after every change of the weights; `p` none: back to the
    /// direct loops, as at the start.
    pub fn prepare(&mut self, p: Option<&[T]>, turned: Option<&[T]>) {
        self.buffers.prepared = [p.is_some(), p.is_some() && turned.is_some()];
        if let Some(p) = p {
            for (layer, own) in self.graph.layers.iter().zip(&mut self.own) {
                layer.prepare(p, turned, &mut self.buffers, own);
            }
        }
    }

    /// Dropout in the following forward passes: its key, and the number of the first row. None, as
    /// at the start: no dropout.
    pub fn dropout(&mut self, key: Option<([u64; 2], u64)>) {
        self.buffers.dropout = key;
    }

    fn check(&self, p: usize, rows: usize, x: usize, y: usize) {
        let [from, to] =
            [self.graph.inputs, self.graph.outputs].map(|s| s.iter().product::<usize>());
        assert!(p == self.graph.layout.len(), "parameters of the network");
        assert!(
            rows <= self.buffers.n && x == rows * from && y == rows * to,
            "rows of the network"
        );
    }

    /// Network outputs for the rows of `x` (row, channel, y, x), one time each, into `y`, shaped
    /// likewise. Panics on slices of other lengths.
    pub fn forward(&mut self, p: &[T], x: &[T], times: &[f64], y: &mut [T]) {
        self.forward_with(p, x, times, y, &mut |_| ());
    }

    /// [`forward`](Self::forward), and `after` is told the number of each layer when it is done:
    /// for profiles.
    pub fn forward_with(
        &mut self,
        p: &[T],
        x: &[T],
        times: &[f64],
        y: &mut [T],
        after: &mut dyn FnMut(usize),
    ) {
        self.check(p.len(), times.len(), x.len(), y.len());
        let (b, graph) = (&mut self.buffers, &self.graph);
        b.times[..times.len()].copy_from_slice(times);
        b.times[times.len()..].fill(1.0);
        let (images, flat) = (b.images(graph.input), b.flat(graph.input));
        b.with_value(graph.input, |_, to| {
            scatter(x, graph.inputs, images, flat, to)
        });
        for (i, (layer, own)) in graph.layers.iter().zip(&mut self.own).enumerate() {
            layer.forward(p, b, own);
            after(i);
        }
        gather(
            b.value(graph.output),
            b.images(graph.output),
            b.flat(graph.output),
            graph.outputs,
            y,
        );
    }

    /// Formula: nn.backward. From the gradient `dy` of the last forward pass's output: adds the
    /// gradients of the parameters to `g`, and writes that of the input where it is wanted.
    /// `turned` is [`Graph::turn`]'s. Panics on slices of other lengths.
    pub fn backward(&mut self, p: &[T], turned: &[T], dy: &[T], g: &mut [T], dx: Option<&mut [T]>) {
        self.backward_with(p, turned, dy, (g, true), dx, &mut |_| ());
    }

    /// [`backward`](Self::backward), and `after` is told the number of each layer when it is done.
    /// Where the gradients' second part is false they are written, not added: what was there does
    /// not matter.
    pub fn backward_with(
        &mut self,
        p: &[T],
        turned: &[T],
        dy: &[T],
        g: (&mut [T], bool),
        dx: Option<&mut [T]>,
        after: &mut dyn FnMut(usize),
    ) {
        let mut g = Gradients { all: g.0, add: g.1 };
        let (b, graph) = (&mut self.buffers, &self.graph);
        let [from, to] = [graph.inputs, graph.outputs].map(|s| s.iter().product::<usize>());
        let len = graph.layout.len();
        assert!(
            p.len() == len && turned.len() == len && g.all.len() == len,
            "parameters of the network"
        );
        assert!(
            dy.len().is_multiple_of(to) && dy.len() / to <= b.n,
            "rows of the network"
        );
        assert!(
            dx.as_ref()
                .is_none_or(|d| d.len() / from == dy.len() / to && d.len().is_multiple_of(from)),
            "rows of the network"
        );
        for (g, v) in b.gradients.iter_mut().zip(&b.values) {
            g.resize(v.len(), T::default());
        }
        b.want_input = dx.is_some();
        let (images, flat) = (b.images(graph.output), b.flat(graph.output));
        b.with_gradient(graph.output, |_, d| {
            scatter(dy, graph.outputs, images, flat, d)
        });
        for (i, layer) in graph.layers.iter().enumerate().rev() {
            layer.backward(p, turned, b, &mut self.own[i], &graph.first[i], &mut g);
            after(i);
        }
        if let Some(dx) = dx {
            gather(
                b.gradient(graph.input),
                b.images(graph.input),
                b.flat(graph.input),
                graph.inputs,
                dx,
            );
        }
    }
}

/// Where number (channel, y, x) of row `n` is; in a tensor without pixels the rows are the pixels.
fn place(s: Images, flat: bool, n: usize, c: usize, y: usize, x: usize) -> usize {
    if flat {
        s.at(0, c, 0, n)
    } else {
        s.at(n, c, y, x)
    }
}

/// Rows (channel, y, x) into blocks; rows that are missing and channels that fill blocks become 0.
fn scatter<T: Real>(
    x: &[T],
    [channels, height, width]: [usize; 3],
    to: Images,
    flat: bool,
    y: &mut [T],
) {
    let per_row = channels * height * width;
    for n in 0..if flat { to.width } else { to.n } {
        for c in 0..to.channels {
            for (py, px) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let inside = c < channels && (n + 1) * per_row <= x.len();
                y[place(to, flat, n, c, py, px)] = if inside {
                    x[n * per_row + (c * height + py) * width + px]
                } else {
                    T::default()
                };
            }
        }
    }
}

/// Back into rows, as many as `y` has room for.
fn gather<T: Real>(
    x: &[T],
    from: Images,
    flat: bool,
    [channels, height, width]: [usize; 3],
    y: &mut [T],
) {
    for (n, row) in y.chunks_exact_mut(channels * height * width).enumerate() {
        for (i, y) in row.iter_mut().enumerate() {
            *y = x[place(
                from,
                flat,
                n,
                i / (height * width),
                i / width % height,
                i % width,
            )];
        }
    }
}

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
        self.layers.push(Box::new(embed::Up { x, y }));
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
        self.layers.push(Box::new(embed::Crop { x, y }));
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
