//! Multilayer perceptrons for data without pixels: rows of `[x, v]`, the time's features added to
//! every hidden layer.

use super::builder::{Builder, With};
use super::graph::Graph;
use crate::error::{Error, Result};
use crate::simd::Real;

/// Its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Numbers that go in: the data's times the channels of the process.
    pub inputs: usize,
    /// Numbers that come out.
    pub outputs: usize,
    /// Width of the hidden layers, a multiple of 16.
    pub width: usize,
    /// Hidden layers, or residual blocks of two; 0: a linear map, that sees no time.
    pub depth: usize,
    /// Residual blocks.
    pub residual: bool,
}

impl Mlp {
    /// The network.
    ///
    /// # Errors
    /// A field out of its range; the message names it.
    pub fn build<T: Real>(&self) -> Result<Graph<T>> {
        for (name, n) in [("inputs", self.inputs), ("outputs", self.outputs)] {
            if !(1..=512).contains(&n) {
                return Err(Error::parameter(name, n, "1 to 512"));
            }
        }
        if !((16..=1024).contains(&self.width) && self.width.is_multiple_of(16)) {
            return Err(Error::parameter(
                "width",
                self.width,
                "a multiple of 16, 16 to 1024",
            ));
        }
        if self.depth > 64 {
            return Err(Error::parameter("depth", self.depth, "0 to 64"));
        }
        let (mut b, x) = Builder::new([self.inputs, 1, 1], true);
        let plain = With::default();
        if self.depth == 0 {
            let y = b.conv("out", x, self.inputs, self.outputs, plain);
            return Ok(b.finish(y, self.outputs));
        }
        let w = self.width;
        let features = b.fourier();
        let e = b.conv("emb", features, 64, w, plain);
        let e = b.silu(e);
        let mut h = b.conv("inp", x, self.inputs, w, plain);
        for i in 0..self.depth {
            let y = b.silu(h);
            let time = b.conv(&format!("layers.{i}.time"), e, w, w, plain);
            // the sum of a linear layer and the time's row, over sqrt 2: a residual of the batch's
            // own shape
            let y = b.conv(
                &format!("layers.{i}.linear1"),
                y,
                w,
                w,
                With {
                    residual: Some(time),
                    ..plain
                },
            );
            h = if self.residual {
                let y = b.silu(y);
                b.conv(
                    &format!("layers.{i}.linear2"),
                    y,
                    w,
                    w,
                    With {
                        residual: Some(h),
                        ..plain
                    },
                )
            } else {
                y
            };
        }
        let y = b.silu(h);
        let y = b.conv(
            "out",
            y,
            w,
            self.outputs,
            With {
                zero: true,
                ..plain
            },
        );
        Ok(b.finish(y, self.outputs))
    }
}
