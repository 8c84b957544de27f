//! Networks as fixed lists of layers over tensors, and the buffers of a run.

use super::params::Layout;
use crate::error::{Error, Result};
use crate::simd::loops::conv::{BLOCK, Images, turned};
use crate::simd::{Real, Set};
use std::ops::Range;
use std::sync::Arc;

/// A tensor of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub(super) usize);

/// What the graph knows of a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    pub(super) channels: usize,
    /// Height and width; none for one row of numbers per row of the batch.
    pub(super) pixels: Option<(usize, usize)>,
    /// The buffer it is in, that buffer's channels, and the first one of this tensor.
    pub(super) buffer: usize,
    pub(super) among: usize,
    pub(super) first: usize,
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

    /// Numbers of the buffer it is in.
    fn buffer_len(&self, n: usize) -> usize {
        let all = Tensor {
            channels: self.among,
            first: 0,
            ..*self
        };
        all.images(n).len()
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
    /// Numbers of the memory that its passes work in, shared by all layers.
    fn scratch(&self, _: &Buffers<T>) -> usize {
        0
    }
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
    /// Whether convolutions are done by the direct loops alone.
    pub direct: bool,
    /// Memory that a loop works in: any layer's, for the time of a call.
    pub scratch: Vec<T>,
    tensors: Arc<[Tensor]>,
    value_places: Places,
    gradient_places: Places,
    values: Vec<Vec<T>>,
    gradients: Vec<Vec<T>>,
}

/// Where buffers are kept: those that are not needed at the same time share memory, which so stays
/// in the cache. Only those of as many pixels do: the zeros of their borders are in one place.
struct Places {
    /// For each buffer, the memory it has.
    of: Vec<usize>,
    /// Numbers of each memory.
    lens: Vec<usize>,
}

impl Places {
    /// For the first and the last time at which each buffer is needed.
    fn shared(tensors: &[Tensor], n: usize, lives: &[(usize, usize)]) -> Places {
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|b| lives[*b]);
        let mut all = Places {
            of: vec![0; lives.len()],
            lens: vec![],
        };
        // pixels and last time of each memory
        let mut taken: Vec<(Option<(usize, usize)>, usize)> = vec![];
        for b in order {
            let Some(t) = tensors.iter().find(|t| t.buffer == b) else {
                continue;
            };
            let (len, (from, to)) = (t.buffer_len(n), lives[b]);
            // of those that are free the one that grows least, then the smallest
            let free = (0..taken.len())
                .filter(|m| taken[*m].0 == t.pixels && taken[*m].1 < from)
                .min_by_key(|m| (len.saturating_sub(all.lens[*m]), all.lens[*m]));
            let place = free.unwrap_or(taken.len());
            if place == taken.len() {
                taken.push((t.pixels, to));
                all.lens.push(0);
            }
            taken[place].1 = to;
            all.lens[place] = all.lens[place].max(len);
            all.of[b] = place;
        }
        all
    }

    /// Every buffer by itself.
    fn apart(tensors: &[Tensor], n: usize, buffers: usize) -> Places {
        Places::shared(tensors, n, &vec![(0, 0); buffers])
    }

    fn memory<T: Real>(&self) -> Vec<Vec<T>> {
        self.lens.iter().map(|n| vec![T::default(); *n]).collect()
    }
}

impl<T: Real> Buffers<T> {
    /// For `n` rows; `backward`: all values are kept for a backward pass.
    fn new(graph: &Graph<T>, n: usize, backward: bool) -> Self {
        let tensors = graph.tensors.clone();
        let [forward, back] = graph.lives();
        let value_places = match backward {
            true => Places::apart(&tensors, n, forward.len()),
            false => Places::shared(&tensors, n, &forward),
        };
        let gradient_places = Places::shared(&tensors, n, &back);
        Buffers {
            n,
            set: Set::current(),
            times: vec![1.0; n],
            dropout: None,
            want_input: false,
            direct: false,
            scratch: vec![],
            values: value_places.memory(),
            gradients: vec![],
            tensors,
            value_places,
            gradient_places,
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
        &self.values[self.value_places.of[t.buffer]][t.offset(self.n)..]
    }

    /// Those of its gradient.
    pub fn gradient(&self, id: Id) -> &[T] {
        let t = &self.tensors[id.0];
        &self.gradients[self.gradient_places.of[t.buffer]][t.offset(self.n)..]
    }

    /// Lends a tensor's numbers for writing while the other tensors' can be read.
    pub fn with_value(&mut self, id: Id, f: impl FnOnce(&Self, &mut [T])) {
        let t = self.tensors[id.0];
        let place = self.value_places.of[t.buffer];
        let mut own = std::mem::take(&mut self.values[place]);
        f(self, &mut own[t.offset(self.n)..]);
        self.values[place] = own;
    }

    /// The same for its gradient.
    pub fn with_gradient(&mut self, id: Id, f: impl FnOnce(&mut Self, &mut [T])) {
        let t = self.tensors[id.0];
        let place = self.gradient_places.of[t.buffer];
        let mut own = std::mem::take(&mut self.gradients[place]);
        f(self, &mut own[t.offset(self.n)..]);
        self.gradients[place] = own;
    }
}

/// A network: its layers in order, its tensors and parameters.
pub struct Graph<T> {
    pub(super) layers: Vec<Box<dyn Layer<T>>>,
    /// For each layer, which of its inputs' gradients it is the first to write.
    pub(super) first: Vec<Vec<bool>>,
    pub(super) tensors: Arc<[Tensor]>,
    pub(super) layout: Layout,
    pub(super) input: Id,
    pub(super) output: Id,
    pub(super) inputs: [usize; 3],
    pub(super) outputs: [usize; 3],
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

    /// For each buffer, the first and the last layer that needs it: its values in the forward pass,
    /// its gradient in the backward pass, counted from the end. What goes in and comes out is
    /// needed before all layers or after them.
    fn lives(&self) -> [Vec<(usize, usize)>; 2] {
        let count = self.tensors.iter().map(|t| t.buffer + 1).max().unwrap_or(0);
        let mut forward = vec![(usize::MAX, 0); count];
        let mut back = forward.clone();
        let last = self.layers.len() + 1;
        let mut needed = |id: Id, at: usize| {
            let b = self.tensors[id.0].buffer;
            for (lives, at) in [(&mut forward, at), (&mut back, last - at)] {
                lives[b] = (lives[b].0.min(at), lives[b].1.max(at));
            }
        };
        needed(self.input, 0);
        needed(self.output, last);
        for (i, layer) in self.layers.iter().enumerate() {
            needed(layer.output(), i + 1);
            layer.inputs().into_iter().for_each(|id| needed(id, i + 1));
        }
        [forward, back]
    }

    /// Names of the layers, in order, and their floating-point operations per row in the forward
    /// pass.
    pub fn layers(&self) -> Vec<(String, f64)> {
        let b = Buffers::new(self, 1, false);
        self.layers.iter().map(|l| (l.name(), l.flop(&b))).collect()
    }
}

/// Runs a network over at most a fixed number of rows at a time, on one thread. All its memory is
/// its own and is there from the start (that of gradients: from the first backward pass).
pub struct Session<T> {
    graph: Arc<Graph<T>>,
    buffers: Buffers<T>,
    own: Vec<Vec<Vec<T>>>,
    /// Whether values are kept for a backward pass.
    backward: bool,
}

impl<T: Real> Session<T> {
    /// For at most `rows` rows at a time.
    ///
    /// # Errors
    /// No rows.
    pub fn new(graph: Arc<Graph<T>>, rows: usize) -> Result<Session<T>> {
        Session::with(graph, rows, true)
    }

    /// The same for forward passes alone: values that no later layer reads are not kept, which
    /// takes less memory and time. [`backward`](Self::backward) panics.
    ///
    /// # Errors
    /// No rows.
    pub fn forward_only(graph: Arc<Graph<T>>, rows: usize) -> Result<Session<T>> {
        Session::with(graph, rows, false)
    }

    fn with(graph: Arc<Graph<T>>, rows: usize, backward: bool) -> Result<Session<T>> {
        if rows == 0 {
            return Err(Error::parameter("rows", rows, "at least 1"));
        }
        let mut buffers = Buffers::new(&graph, rows, backward);
        let scratch = graph.layers.iter().map(|l| l.scratch(&buffers)).max();
        buffers.scratch = vec![T::default(); scratch.unwrap_or(0)];
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
            backward,
        })
    }

    /// The network.
    pub fn graph(&self) -> &Arc<Graph<T>> {
        &self.graph
    }

    /// Whether there can be backward passes.
    pub fn has_backward(&self) -> bool {
        self.backward
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
            .chain([&b.scratch])
            .map(Vec::len)
            .sum();
        numbers * size_of::<T>()
    }

    /// Whether 3x3 convolutions are done by the direct loops alone. At the start they are not: those
    /// of larger images go Winograd's way, which is faster and has other roundings
    /// ([`winograd`](crate::simd::loops::winograd)).
    pub fn direct(&mut self, only: bool) {
        self.buffers.direct = only;
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
        assert!(self.backward, "a session for forward passes alone");
        if b.gradients.is_empty() {
            b.gradients = b.gradient_places.memory();
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
