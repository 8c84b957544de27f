//! A small U-Net in the manner of DDPM++ and NCSN++: residual blocks of group norm, SiLU and 3x3
//! convolutions with the time added, attention in the middle, skips beside what comes up.
//!
//! A size that is odd at some level comes up one larger than it went down, and is cut. The names of
//! its parameters are those of `benches/peers/unet_torch.py`, which defines the same network in
//! PyTorch.

use super::builder::{Builder, With};
use super::graph::{Graph, Id};
use crate::error::{Error, Result};
use crate::simd::Real;

/// Its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct UNet {
    /// Channels that go in: the data's times those of the process, `[x, v]`.
    pub inputs: usize,
    /// Channels that come out.
    pub outputs: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Channels at full size, a multiple of 16.
    pub base: usize,
    /// Channels of each level in units of `base`.
    pub mult: Vec<usize>,
    /// Residual blocks of each level on the way down; one more on the way up.
    pub blocks: usize,
    /// Width of the time's embedding, a multiple of 16.
    pub embedding: usize,
    /// Groups of the norms.
    pub groups: usize,
    /// Rate of dropout before each block's second convolution.
    pub dropout: f64,
}

impl UNet {
    /// The benchmark's: base 32, levels 1, 2, 2, two blocks each, embedding 128, 8 groups, no
    /// dropout.
    pub fn small(inputs: usize, outputs: usize, size: [usize; 2]) -> UNet {
        UNet {
            inputs,
            outputs,
            size,
            base: 32,
            mult: vec![1, 2, 2],
            blocks: 2,
            embedding: 128,
            groups: 8,
            dropout: 0.0,
        }
    }

    fn check(&self) -> Result<()> {
        let channels = |name: &'static str, n: usize| {
            if (1..=64).contains(&n) {
                Ok(())
            } else {
                Err(Error::parameter(name, n, "1 to 64"))
            }
        };
        channels("inputs", self.inputs)?;
        channels("outputs", self.outputs)?;
        if !((16..=512).contains(&self.base) && self.base.is_multiple_of(16)) {
            return Err(Error::parameter(
                "base",
                self.base,
                "a multiple of 16, 16 to 512",
            ));
        }
        if !(1..=5).contains(&self.mult.len())
            || !self
                .mult
                .iter()
                .all(|m| (1..=8).contains(m) && m * self.base <= 512)
        {
            return Err(Error::parameter(
                "mult",
                format!("{:?}", self.mult),
                "one to five numbers, each 1 to 8 and at most 512 channels",
            ));
        }
        if !(1..=8).contains(&self.blocks) {
            return Err(Error::parameter("blocks", self.blocks, "1 to 8"));
        }
        if !((16..=1024).contains(&self.embedding) && self.embedding.is_multiple_of(16)) {
            return Err(Error::parameter(
                "embedding",
                self.embedding,
                "a multiple of 16, 16 to 1024",
            ));
        }
        if self.groups == 0 || !self.base.is_multiple_of(self.groups) {
            return Err(Error::parameter(
                "groups",
                self.groups,
                format!("a divisor of base, {}", self.base),
            ));
        }
        if !(0.0..0.95).contains(&self.dropout) {
            return Err(Error::parameter(
                "dropout",
                self.dropout,
                "0 <= dropout < 0.95",
            ));
        }
        if !self.size.iter().all(|s| (1..=256).contains(s)) {
            return Err(Error::parameter(
                "size",
                format!("{:?}", self.size),
                "1 to 256 each",
            ));
        }
        Ok(())
    }

    /// The network.
    ///
    /// # Errors
    /// A field out of its range; the message names it.
    pub fn build<T: Real>(&self) -> Result<Graph<T>> {
        self.check()?;
        let (mut b, x) = Builder::new([self.inputs, self.size[0], self.size[1]], false);
        let features = b.fourier();
        let width = self.embedding;
        let e = b.conv("emb.0", features, 64, width, With::default());
        let e = b.silu(e);
        let e = b.conv("emb.2", e, width, width, With::default());
        let e = b.silu(e);
        let three = With {
            three: true,
            ..With::default()
        };
        let mut h = b.conv("inp", x, self.inputs, self.base, three);
        let (mut skips, mut number) = (vec![h], 0);
        let mut name = |way: &str| {
            number += 1;
            format!("{way}.{}", number - 1)
        };
        for (i, m) in self.mult.iter().enumerate() {
            for _ in 0..self.blocks {
                h = self.block(&mut b, &name("down"), h, e, m * self.base);
                skips.push(h);
            }
            if i + 1 < self.mult.len() {
                let c = b.channels(h);
                h = b.conv(
                    &name("down"),
                    h,
                    c,
                    c,
                    With {
                        half: true,
                        ..three
                    },
                );
                skips.push(h);
            }
        }
        let c = b.channels(h);
        h = self.block(&mut b, "mid.0", h, e, c);
        let y = b.norm("mid.1.norm", h, self.groups, false);
        let y = b.conv("mid.1.qkv", y, c, 3 * c, With::default());
        let y = b.attention(y);
        h = b.conv(
            "mid.1.out",
            y,
            c,
            c,
            With {
                residual: Some(h),
                ..With::default()
            },
        );
        h = self.block(&mut b, "mid.2", h, e, c);
        number = 0;
        let mut name = || {
            number += 1;
            format!("up.{}", number - 1)
        };
        for (i, m) in self.mult.iter().enumerate().rev() {
            for _ in 0..=self.blocks {
                let both = match skips.pop() {
                    Some(s) => {
                        let h = b.crop(h, s);
                        b.cat(h, s)
                    }
                    None => h,
                };
                h = self.block(&mut b, &name(), both, e, m * self.base);
            }
            if i > 0 {
                let c = b.channels(h);
                h = b.up(h);
                h = b.conv(&name(), h, c, c, three);
            }
        }
        let c = b.channels(h);
        h = b.norm("norm", h, self.groups, true);
        let y = b.conv(
            "out",
            h,
            c,
            self.outputs,
            With {
                zero: true,
                ..three
            },
        );
        Ok(b.finish(y, self.outputs))
    }

    /// `(skip h + conv2(dropout(silu(norm2(conv1(silu(norm1(h))) + time(e)))))) / sqrt 2`. Formula:
    /// nn.block. Source: Ho, Jain, Abbeel 2020; Song et al. 2021, app. H.
    fn block<T: Real>(&self, b: &mut Builder<T>, name: &str, h: Id, e: Id, output: usize) -> Id {
        let (input, part) = (b.channels(h), |p: &str| format!("{name}.{p}"));
        let time = b.conv(&part("time"), e, self.embedding, output, With::default());
        let skip = if input == output {
            h
        } else {
            b.conv(&part("skip"), h, input, output, With::default())
        };
        let y = b.norm(&part("norm1"), h, self.groups, true);
        let y = b.conv(
            &part("conv1"),
            y,
            input,
            output,
            With {
                three: true,
                per_image: Some(time),
                ..With::default()
            },
        );
        let mut y = b.norm(&part("norm2"), y, self.groups, true);
        if self.dropout > 0.0 {
            y = b.dropout(y, self.dropout);
        }
        b.conv(
            &part("conv2"),
            y,
            output,
            output,
            With {
                three: true,
                residual: Some(skip),
                ..With::default()
            },
        )
    }
}
