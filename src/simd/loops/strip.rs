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

use super::conv::{BLOCK, Convolutions};
use super::float::{Float, blocks, compiled};
use crate::simd::{Lane, Set, Task};

compiled!(Strips, strips, Convolutions, {
    products: Products<'a, T>,
    correlations: Correlations<'a, T>,
});

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

/// `y_e = x_e u_e` for every element. Panics unless the slices have the strips' lengths.
pub(super) fn products<T: Strips>(set: Set, task: Products<T>) {
    (T::strips().products)(set, task)
}

/// `s_e = x_e^T y_e` for every element. Panics likewise.
pub(super) fn correlations<T: Strips>(set: Set, task: Correlations<T>) {
    (T::strips().correlations)(set, task)
}

/// What [`products`] works on.
pub(super) struct Products<'a, T> {
    pub from: Strip,
    pub to: Strip,
    pub x: &'a [T],
    pub u: &'a [T],
    pub y: &'a mut [T],
}

/// Panics unless slices of these lengths hold the strips and the weights between them: the loops
/// leave out the checks.
fn check([from, to]: [Strip; 2], [x, y, u]: [usize; 3]) {
    assert!(
        from.tiles == to.tiles
            && from.channels.is_multiple_of(BLOCK)
            && to.channels.is_multiple_of(BLOCK),
        "shapes of strips"
    );
    assert!(
        x >= from.len() && y >= to.len() && u == weights(from.channels, to.channels),
        "shapes of strips"
    );
}

impl<T: Float> Task for Products<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let lens = [self.x.len(), self.y.len(), self.u.len()];
        check([self.from, self.to], lens);
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

/// What [`correlations`] works on: sums are added to what is there if `add`, and stand as weights do.
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
        let lens = [self.x.len(), self.y.len(), self.sums.len()];
        check([self.from, self.to], lens);
        blocks!(T::Of<D, S>, correlate(self));
    }
}

#[inline(always)]
fn correlate<T: Float, L: Lane<Item = T>, const V: usize>(mut f: Correlations<T>) {
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

#[cfg(test)]
mod tests {
    use super::super::tensors::{numbers, sets};
    use super::*;

    /// Catches tiles that are in no group or in two, groups for which no loop is written, and a
    /// last strip that needs more room than its memory has.
    #[test]
    fn groups_hold_every_tile_once() {
        for tiles in 1..=200 {
            let strip = Strip {
                tiles,
                channels: BLOCK,
            };
            let (mut next, mut room) = (0, 0);
            for g in strip.groups() {
                assert!(g.first == next && g.before == room, "{tiles}: {g:?}");
                assert!((1..=g.room).contains(&g.tiles) && [4, 8, 14].contains(&g.room));
                (next, room) = (next + g.tiles, room + g.room);
            }
            assert!(next == tiles && room - tiles <= 3, "{tiles}: {room}");
            assert!(room <= tiles.next_multiple_of(GROUP), "{tiles}: {room}");
            assert_eq!(strip.len(), room * ELEMENTS * BLOCK);
        }
    }

    /// Where element e of a tile's channel is.
    fn place(s: Strip, e: usize, tile: usize, c: usize) -> usize {
        let g = s
            .groups()
            .find(|g| (g.first..g.first + g.tiles).contains(&tile));
        let g = g.unwrap();
        s.at(g, c / BLOCK) + (e * g.room + tile - g.first) * BLOCK + c % BLOCK
    }

    /// Where the weight of element e from channel i to channel o is.
    fn weight(from: Strip, e: usize, i: usize, o: usize) -> usize {
        let pair = o / BLOCK * (from.channels / BLOCK) + i / BLOCK;
        (pair * ELEMENTS + e) * APART + i % BLOCK * BLOCK + o % BLOCK
    }

    /// Catches a wrong tile, block, element or weight, sums that begin or end with what is in
    /// unused room, and sets that differ: both products by their definition. 48 terms and 33 of
    /// numbers below 1: 48 u 48 < 1e-12 in f64.
    #[test]
    fn products_are_the_definition() {
        for (tiles, inputs, outputs) in [(33, 16, 48), (5, 48, 32), (16, 32, 16)] {
            let [from, to] = [inputs, outputs].map(|channels| Strip { tiles, channels });
            // what is in no tile is NaN
            let filled = |s: Strip, seed| {
                let given = numbers::<f64>(tiles * ELEMENTS * s.channels, seed);
                let mut all = vec![f64::NAN; s.len()];
                for (n, x) in given.into_iter().enumerate() {
                    let (tile, e, c) = (n / s.channels / ELEMENTS, n / s.channels, n % s.channels);
                    all[place(s, e % ELEMENTS, tile, c)] = x;
                }
                all
            };
            let (x, dy) = (filled(from, 1), filled(to, 2));
            let u = numbers::<f64>(weights(inputs, outputs), 3);
            let before = numbers::<f64>(u.len(), 4);
            for set in sets() {
                let (mut y, mut sums) = (vec![f64::NAN; to.len()], before.clone());
                let (x, u) = (&x[..], &u[..]);
                products(
                    set,
                    Products {
                        from,
                        to,
                        x,
                        u,
                        y: &mut y,
                    },
                );
                correlations(
                    set,
                    Correlations {
                        from,
                        to,
                        x,
                        y: &dy,
                        sums: &mut sums,
                        add: true,
                    },
                );
                for e in [0, 17, 35] {
                    for o in 0..outputs {
                        for tile in 0..tiles {
                            let terms = (0..inputs)
                                .map(|i| x[place(from, e, tile, i)] * u[weight(from, e, i, o)]);
                            let got = y[place(to, e, tile, o)];
                            assert!((got - terms.sum::<f64>()).abs() < 1e-12, "{e} {o} {tile}");
                        }
                        for i in 0..inputs {
                            let terms = (0..tiles)
                                .map(|t| x[place(from, e, t, i)] * dy[place(to, e, t, o)]);
                            let w = weight(from, e, i, o);
                            let expected = before[w] + terms.sum::<f64>();
                            assert!((sums[w] - expected).abs() < 1e-12, "{e} {i} {o}");
                        }
                    }
                }
            }
        }
    }
}
