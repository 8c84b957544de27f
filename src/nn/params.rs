//! Parameters: one slice, and the names, shapes and places of what is in it.

use crate::error::{Error, Result};
use crate::simd::Real;
use crate::simd::loops::conv::{BLOCK, weight_at};
use crate::simd::normal::threefry;
use std::ops::Range;

/// Where a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// All of this value.
    Value(f64),
    /// Uniform on `[-bound, bound]`.
    Uniform(f64),
}

/// One parameter: a weight of a convolution, a matrix, or a vector.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name, such as `down.0.conv1.weight`.
    pub name: String,
    /// Its shape as others have it: (out, in, size, size), (out, in), or (n).
    pub shape: Vec<usize>,
    /// Where it is in the slice, rounded up to blocks of 16 channels.
    pub at: Range<usize>,
    /// Its initial values.
    pub start: Start,
}

pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(BLOCK)
}

impl Parameter {
    /// Numbers, without those that only fill blocks.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Place in the slice of number `i`, counted row by row in `shape`.
    fn place(&self, i: usize) -> usize {
        let size = self.shape.get(2).copied().unwrap_or(1);
        self.at.start
            + match self.shape[..] {
                [_] => i,
                [_, input, ..] => {
                    let (taps, rest) = (i % (size * size), i / (size * size));
                    weight_at(
                        padded(input),
                        size,
                        rest / input,
                        rest % input,
                        taps / size,
                        taps % size,
                    )
                }
                [] => 0,
            }
    }
}

/// All parameters of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    entries: Vec<Parameter>,
    len: usize,
}

impl Layout {
    /// Adds a parameter.
    pub(super) fn add(&mut self, name: String, shape: Vec<usize>, start: Start) -> Range<usize> {
        let len = match shape[..] {
            [out, input, ..] => padded(out) * padded(input) * shape.get(2).map_or(1, |s| s * s),
            _ => padded(shape[0]),
        };
        let at = self.len..self.len + len;
        self.len += len;
        self.entries.push(Parameter {
            name,
            shape,
            at: at.clone(),
            start,
        });
        at
    }

    /// The parameters in order.
    pub fn entries(&self) -> &[Parameter] {
        &self.entries
    }

    /// Numbers in the slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Parameters, without those that only fill blocks.
    pub fn count(&self) -> usize {
        self.entries.iter().map(Parameter::count).sum()
    }

    /// Initial values: each parameter's depend on the seed and its name alone.
    pub fn start<T: Real>(&self, seed: u64) -> Vec<T> {
        let mut p = vec![T::default(); self.len];
        for e in &self.entries {
            let key = [
                seed,
                e.name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
                    (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
                }),
            ];
            for i in 0..e.count() {
                p[e.place(i)] = T::of(match e.start {
                    Start::Value(x) => x,
                    // the upper 53 bits, at the middle of their cell
                    Start::Uniform(bound) => {
                        bound
                            * (((threefry([i as u64, 0], key)[0] >> 11) as f64 + 0.5)
                                * 2f64.powi(-52)
                                - 1.0)
                    }
                });
            }
        }
        p
    }

    /// The numbers of entry `i`, row by row in its shape.
    pub fn read<T: Real>(&self, p: &[T], i: usize) -> Vec<T> {
        let e = &self.entries[i];
        (0..e.count()).map(|i| p[e.place(i)]).collect()
    }

    /// Sets entry `i` from numbers row by row in its shape; what fills blocks stays 0.
    ///
    /// # Errors
    /// Another number of numbers.
    pub fn write<T: Real>(&self, p: &mut [T], i: usize, numbers: &[T]) -> Result<()> {
        let e = &self.entries[i];
        if numbers.len() != e.count() {
            return Err(Error::shape(
                e.name.clone(),
                &[numbers.len()],
                format!("{:?}", e.shape),
            ));
        }
        numbers
            .iter()
            .enumerate()
            .for_each(|(j, x)| p[e.place(j)] = *x);
        Ok(())
    }
}
