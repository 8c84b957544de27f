//! Where training data come from: each sample is a function of its number, so that a run can be
//! taken up anywhere.

use crate::data::Mixture;
use crate::data::images::{Dither, ImageSet};
use crate::error::{Error, Result};
use crate::simd::normal::threefry;

/// Training data without end.
pub trait Source: Send + Sync {
    /// Channels, height and width of a sample; data without pixels have their coordinates as
    /// channels.
    fn shape(&self) -> [usize; 3];
    /// Writes sample number `number`.
    fn draw(&self, number: u64, out: &mut [f64]);
}

/// Bits of a 64-bit number that belong to a name, a seed and a counter.
pub(super) fn bits(seed: u64, name: &[u8; 8], counter: [u64; 2]) -> [u64; 2] {
    threefry(counter, [seed, u64::from_be_bytes(*name)])
}

/// Independent samples of a mixture.
pub struct Toy {
    mixture: Mixture,
    seed: u64,
}

impl Toy {
    /// Of this mixture.
    pub fn new(mixture: Mixture, seed: u64) -> Toy {
        Toy { mixture, seed }
    }
}

impl Source for Toy {
    fn shape(&self) -> [usize; 3] {
        [self.mixture.dim(), 1, 1]
    }

    fn draw(&self, number: u64, out: &mut [f64]) {
        // one sample is never too many
        let sample = self
            .mixture
            .sample(bits(self.seed, b"toy data", [number, 0])[0], 1)
            .unwrap_or_default();
        out.copy_from_slice(&sample);
    }
}

/// Images, each once an epoch, in an order of the epoch's own; noise between the levels and flips
/// new each time.
pub struct Pictures {
    images: ImageSet,
    dither: Dither,
    seed: u64,
}

impl Pictures {
    /// Of these images.
    ///
    /// # Errors
    /// No images, or 2^32 of them.
    pub fn new(images: ImageSet, flip: bool, seed: u64) -> Result<Pictures> {
        if images.is_empty() || u32::try_from(images.len()).is_err() {
            return Err(Error::parameter("images", images.len(), "1 to 4294967295"));
        }
        Ok(Pictures {
            images,
            dither: Dither::new(seed, flip),
            seed,
        })
    }
}

/// Place `i` of a permutation of `0 .. n` that belongs to `key`: a Feistel network on the next
/// power of 4, walked until it is inside. Source: Black and Rogaway 2002, on ciphers with arbitrary
/// domains.
fn permuted(i: u64, n: u64, seed: u64, key: u64) -> u64 {
    let half = (64 - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1 << half) - 1;
    let mut x = i;
    loop {
        let (mut left, mut right) = (x >> half, x & mask);
        for round in 0..4 {
            (left, right) = (
                right,
                left ^ (bits(seed, b"permuted", [key, right << 8 | round])[0] & mask),
            );
        }
        x = left << half | right;
        if x < n {
            return x;
        }
    }
}

impl Source for Pictures {
    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn draw(&self, number: u64, out: &mut [f64]) {
        let n = self.images.len() as u64;
        let epoch = number / n;
        let i = permuted(number % n, n, self.seed, epoch);
        if let Err(e) = self
            .images
            .write(i as usize, epoch as u32, &self.dither, out)
        {
            unreachable!("an image's place and length are right: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches an order that leaves images out or shows some twice in an epoch, or is the same in
    /// all epochs.
    #[test]
    fn every_image_once_an_epoch() {
        for n in [1, 2, 3, 16, 17, 1797] {
            let order = |epoch| (0..n).map(|i| permuted(i, n, 7, epoch)).collect::<Vec<_>>();
            let mut sorted = order(3);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "{n}");
            // the chance that 16 or more come out in the same order is below 1e-13
            assert!(n < 16 || order(3) != order(4));
        }
        // an order that is random moves the first image anywhere: over 1000 epochs its mean place
        // is 8 +- 0.15 of 0 ..= 16
        let mean = (0..1000).map(|e| permuted(0, 17, 7, e)).sum::<u64>() as f64 / 1000.0;
        assert!((mean - 8.0).abs() < 5.0 * 0.155, "{mean}");
    }
}
