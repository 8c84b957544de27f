//! Strips of transformed tiles, and the matrix products over channels of each of their elements.
//!
//! A strip has some tiles, each with [`ELEMENTS`] numbers a channel. Tiles stand in groups of 14, 8
//! or 4, as many as the product's loop has in registers: `(group, channel / 16, element, tile of
//! the group, channel % 16)`. So what a transform writes of a block of channels, or reads, is one
//! stretch of 32 kB: with one stretch for each element there would be 36 pages to write to at a
//! time, more than the processor looks up at once.
//!
//! ```text
//! y_e[tile][o] = sum over i of x_e[tile][i] u_e[i][o]           forward, and gradients of images
//! s_e[i][o] = sum over tiles of x_e[tile][i] y_e[tile][o]       gradients of weights
//! ```

use super::conv::BLOCK;
use super::float::{Float, blocks};
use crate::simd::{Lane, Task};

/// Elements of a transformed tile.
pub(super) const ELEMENTS: usize = 36;

/// Tiles of a full group: with two blocks of outputs 28 accumulators, 2 weights and what is
/// multiplied fill the 32 registers of AVX-512.
pub(super) const GROUP: usize = 14;

/// Tiles that stand in one group: the first, how many there are, and for how many there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub first: usize,
    pub tiles: usize,
    pub room: usize,
    /// Room of the groups before.
    before: usize,
}

/// The shape of a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    pub tiles: usize,
    pub channels: usize,
}

impl Strip {
    /// Its groups in order: of 14, at the end of 8 and 4 where that leaves less room empty. All
    /// together have no more room than the next multiple of 14.
    #[inline(always)]
    pub fn groups(self) -> impl Iterator<Item = Group> {
        let (mut first, mut before) = (0, 0);
        std::iter::from_fn(move || {
            let room = match self.tiles - first {
                0 => return None,
                15 | 16 => 8,
                13.. => GROUP,
                5.. => 8,
                _ => 4,
            };
            let group = Group {
                first,
                tiles: room.min(self.tiles - first),
                room,
                before,
            };
            first += group.tiles;
            before += room;
            Some(group)
        })
    }

    /// Numbers that it takes.
    pub fn len(self) -> usize {
        self.groups().map(|g| g.room).sum::<usize>() * ELEMENTS * self.channels
    }

    /// Where a group's numbers of a block of channels begin: element e of tile t of the group is
    /// `(e room + t) BLOCK` further on.
    #[inline(always)]
    pub fn at(self, g: Group, block: usize) -> usize {
        ELEMENTS * (g.before * self.channels + block * g.room * BLOCK)
    }
}

/// Numbers of an element's weights from a block of inputs to a block of outputs, and how far one
/// element's are from the next one's: a line more, or all 36 would share a few sets of the cache.
pub(super) const SQUARE: usize = BLOCK * BLOCK;
pub(super) const APART: usize = SQUARE + BLOCK;

/// Numbers of the weights of all elements: `(out / 16, in / 16, element, in % 16, out % 16)`.
pub(super) fn weights(inputs: usize, outputs: usize) -> usize {
    inputs / BLOCK * (outputs / BLOCK) * ELEMENTS * APART
}

/// `y_e = x_e u_e` for every element.
pub(super) struct Products<'a, T> {
    pub from: Strip,
    pub to: Strip,
    pub x: &'a [T],
    pub u: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Float> Products<'_, T> {
    /// Panics unless the slices have the strips' lengths: the loops leave out the checks.
    fn check(&self) {
        let (from, to) = (self.from, self.to);
        assert!(
            from.tiles == to.tiles
                && from.channels.is_multiple_of(BLOCK)
                && to.channels.is_multiple_of(BLOCK),
            "shapes of strips"
        );
        assert!(
            self.x.len() >= from.len()
                && self.y.len() >= to.len()
                && self.u.len() == weights(from.channels, to.channels),
            "shapes of strips"
        );
    }
}

impl<T: Float> Task for Products<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        self.check();
        match (
            <T::Of<D, S> as Lane>::WIDTH,
            (self.to.channels / BLOCK).is_multiple_of(2),
        ) {
            (16, true) => self.all::<T::Of<D, S>, 1, 2>(),
            (16, false) => self.all::<T::Of<D, S>, 1, 1>(),
            (8, _) => self.all::<T::Of<D, S>, 2, 1>(),
            (4, _) => self.all::<T::Of<D, S>, 4, 1>(),
            (2, _) => self.all::<T::Of<D, S>, 8, 1>(),
            _ => self.all::<T::Of<D, S>, 16, 1>(),
        }
    }
}

impl<T: Float> Products<'_, T> {
    /// V vectors make a block; B blocks of outputs at a time. An element's weights stay in the
    /// first-level cache for all groups, a group's inputs for all outputs.
    #[inline(always)]
    fn all<L: Lane<Item = T>, const V: usize, const B: usize>(&mut self) {
        for e in 0..ELEMENTS {
            for g in self.from.groups() {
                for o in (0..self.to.channels / BLOCK).step_by(B) {
                    match (V, g.room) {
                        (1, GROUP) => self.tiles::<L, V, B, 14>(e, g, o, 0),
                        (1, 8) => self.tiles::<L, V, B, 8>(e, g, o, 0),
                        (1, _) => self.tiles::<L, V, B, 4>(e, g, o, 0),
                        // 16 registers: six tiles of two vectors
                        (2, GROUP) => {
                            self.tiles::<L, V, B, 6>(e, g, o, 0);
                            self.tiles::<L, V, B, 4>(e, g, o, 6);
                            self.tiles::<L, V, B, 4>(e, g, o, 10);
                        }
                        (2, room) => {
                            for t in (0..room).step_by(4) {
                                self.tiles::<L, V, B, 4>(e, g, o, t);
                            }
                        }
                        (_, room) => {
                            for t in (0..room).step_by(2) {
                                self.tiles::<L, V, B, 2>(e, g, o, t);
                            }
                        }
                    }
                }
            }
        }
    }

    /// P tiles of a group from `t` on, B blocks of outputs from `o` on.
    #[inline(always)]
    fn tiles<L: Lane<Item = T>, const V: usize, const B: usize, const P: usize>(
        &mut self,
        e: usize,
        g: Group,
        o: usize,
        t: usize,
    ) {
        let inputs = self.from.channels / BLOCK;
        let next = inputs * ELEMENTS * APART;
        let place = (e * g.room + t) * BLOCK;
        let mut acc = [[[L::splat(T::default()); V]; B]; P];
        for i in 0..inputs {
            let x = &self.x[self.from.at(g, i) + place..][..P * BLOCK];
            let u = &self.u[((o * inputs + i) * ELEMENTS + e) * APART..];
            assert!(u.len() >= (B - 1) * next + SQUARE);
            for j in 0..BLOCK {
                let mut weights = [[L::splat(T::default()); V]; B];
                for b in 0..B {
                    for v in 0..V {
                        let at = b * next + j * BLOCK + v * L::WIDTH;
                        // SAFETY: j < BLOCK: ends at or before (B-1) next + SQUARE, checked above.
                        weights[b][v] = L::load(unsafe { u.get_unchecked(at..at + L::WIDTH) });
                    }
                }
                for p in 0..P {
                    // SAFETY: p BLOCK + j < P BLOCK, the slice's length.
                    let x = L::splat(unsafe { *x.get_unchecked(p * BLOCK + j) });
                    for b in 0..B {
                        for v in 0..V {
                            acc[p][b][v] = x.mul_add(weights[b][v], acc[p][b][v]);
                        }
                    }
                }
            }
        }
        for b in 0..B {
            let y = &mut self.y[self.to.at(g, o + b) + place..][..P * BLOCK];
            for p in 0..P {
                for v in 0..V {
                    acc[p][b][v].store(&mut y[p * BLOCK + v * L::WIDTH..]);
                }
            }
        }
    }
}

/// `s_e = x_e^T y_e` for every element, added to what is there if `add`; `s_e` stand as weights do.
pub(super) struct Correlations<'a, T> {
    pub from: Strip,
    pub to: Strip,
    pub x: &'a [T],
    pub y: &'a [T],
    pub sums: &'a mut [T],
    pub add: bool,
}

impl<T: Float> Task for Correlations<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        let (from, to) = (self.from, self.to);
        assert!(
            from.tiles == to.tiles
                && from.channels.is_multiple_of(BLOCK)
                && to.channels.is_multiple_of(BLOCK),
            "shapes of strips"
        );
        assert!(
            self.x.len() >= from.len()
                && self.y.len() >= to.len()
                && self.sums.len() == weights(from.channels, to.channels),
            "shapes of strips"
        );
        blocks!(T::Of<D, S>, correlations(self));
    }
}

#[inline(always)]
fn correlations<T: Float, L: Lane<Item = T>, const V: usize>(mut f: Correlations<T>) {
    let even = (f.to.channels / BLOCK).is_multiple_of(2);
    match (V, even) {
        (1, true) => f.all::<L, V, 8, 2>(),
        (1, false) => f.all::<L, V, 16, 1>(),
        (2, _) => f.all::<L, V, 4, 1>(),
        (4, _) => f.all::<L, V, 2, 1>(),
        _ => f.all::<L, V, 1, 1>(),
    }
}

impl<T: Float> Correlations<'_, T> {
    /// C input channels and B blocks of outputs at a time, over all tiles.
    #[inline(always)]
    fn all<L: Lane<Item = T>, const V: usize, const C: usize, const B: usize>(&mut self) {
        let (from, to) = (self.from, self.to);
        let inputs = from.channels / BLOCK;
        for e in 0..ELEMENTS {
            for o in (0..to.channels / BLOCK).step_by(B) {
                for i in 0..inputs {
                    for c in (0..BLOCK).step_by(C) {
                        let mut acc = [[[L::splat(T::default()); V]; B]; C];
                        for g in from.groups() {
                            let place = e * g.room * BLOCK;
                            let apart = to.at(g, 1) - to.at(g, 0);
                            let x = &self.x[from.at(g, i) + place + c..];
                            let y = &self.y[to.at(g, o) + place..];
                            assert!(x.len() >= (g.tiles - 1) * BLOCK + C);
                            assert!(y.len() >= (B - 1) * apart + g.tiles * BLOCK);
                            for p in 0..g.tiles {
                                let mut d = [[L::splat(T::default()); V]; B];
                                for b in 0..B {
                                    for v in 0..V {
                                        let at = b * apart + p * BLOCK + v * L::WIDTH;
                                        // SAFETY: p < tiles: ends at or before (B-1) apart + tiles
                                        // BLOCK, checked above.
                                        d[b][v] =
                                            L::load(unsafe { y.get_unchecked(at..at + L::WIDTH) });
                                    }
                                }
                                for k in 0..C {
                                    // SAFETY: p BLOCK + k < (tiles-1) BLOCK + C, checked above.
                                    let x = L::splat(unsafe { *x.get_unchecked(p * BLOCK + k) });
                                    for b in 0..B {
                                        for v in 0..V {
                                            acc[k][b][v] = x.mul_add(d[b][v], acc[k][b][v]);
                                        }
                                    }
                                }
                            }
                        }
                        for b in 0..B {
                            let at = (((o + b) * inputs + i) * ELEMENTS + e) * APART + c * BLOCK;
                            let sums = &mut self.sums[at..][..C * BLOCK];
                            for k in 0..C {
                                for v in 0..V {
                                    let s = &mut sums[k * BLOCK + v * L::WIDTH..];
                                    let sum = if self.add {
                                        L::load(s) + acc[k][b][v]
                                    } else {
                                        acc[k][b][v]
                                    };
                                    sum.store(s);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
