//! Sets of small images of whole grey levels, and their way to numbers on [-1, 1] and back.
//!
//! ```text
//! x = 2 (k + u)/levels - 1,   k = 0..levels - 1,   u uniform on (0, 1), or 1/2 without noise
//! log p(k) >= E_u log p(x) + dim log(2/levels)      (each level is an interval of width 2/levels)
//! bits per dimension = (nll/dim + log(levels/2))/log 2,   nll = -log p(x) in nats    (`likelihood.bits` has it)
//! ```

use crate::error::{Error, Result};
use crate::simd::normal::threefry;

/// Most pixel bytes a set may have: 1 GiB.
pub const MAX_BYTES: usize = 1 << 30;
/// Most pixels an image may have, channels included: 2^24.
pub const MAX_DIM: usize = 1 << 24;

/// Images of one shape, (n, channels, height, width) row-major, one byte a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    name: String,
    shape: [usize; 3],
    levels: u32,
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
}

/// A set in two: to train on, and to judge by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What is trained on.
    pub train: ImageSet,
    /// What training never sees.
    pub held_out: ImageSet,
}

fn product(shape: [usize; 3]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |a, s| a.checked_mul(*s))
        .filter(|d| (1..=MAX_DIM).contains(d))
}

impl ImageSet {
    /// From its pixels; shape is (channels, height, width), pixels are 0 to levels - 1.
    ///
    /// # Errors
    /// Channels other than 1 and 3; an empty image or one of more than 2^24 numbers; levels outside
    /// 2 to 256; no image, or a part of one; more than 1 GiB; a pixel beyond the levels; labels
    /// that are not one for each image.
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        levels: u32,
        pixels: Vec<u8>,
        labels: Option<Vec<u8>>,
    ) -> Result<ImageSet> {
        let dim = product(shape).filter(|_| matches!(shape[0], 1 | 3));
        let Some(dim) = dim else {
            return Err(Error::shape(
                "image",
                &shape,
                "(channels 1 or 3, height >= 1, width >= 1), at most 2^24 numbers",
            ));
        };
        if !(2..=256).contains(&levels) {
            return Err(Error::parameter("levels", levels, "2 to 256"));
        }
        if pixels.is_empty() || !pixels.len().is_multiple_of(dim) || pixels.len() > MAX_BYTES {
            return Err(Error::shape(
                "pixels",
                &[pixels.len()],
                format!("a multiple of {dim}, at least one, at most 2^30"),
            ));
        }
        if let Some(k) = pixels.iter().find(|k| u32::from(**k) >= levels) {
            return Err(Error::parameter(
                "pixels",
                k,
                format!("0 to {}", levels - 1),
            ));
        }
        let n = pixels.len() / dim;
        match &labels {
            Some(l) if l.len() != n => Err(Error::shape(
                "labels",
                &[l.len()],
                format!("[{n}], one for each image"),
            )),
            _ => Ok(ImageSet {
                name: name.into(),
                shape,
                levels,
                pixels,
                labels,
            }),
        }
    }

    /// What it is called: the text it was loaded by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Numbers in an image: channels times height times width.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Grey levels a pixel can have.
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.dim()
    }

    /// Never: a set has at least one image.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All pixels, (n, channels, height, width).
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of image `i`; `None` unless `i < len`.
    pub fn image(&self, i: usize) -> Option<&[u8]> {
        let dim = self.dim();
        self.pixels.get(i.checked_mul(dim)?..)?.get(..dim)
    }

    /// The class of each image, where it is known.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The images at these places, in this order.
    ///
    /// # Errors
    /// No place; a place that is not below `len`; more than 1 GiB.
    pub fn subset(&self, places: &[usize]) -> Result<ImageSet> {
        if let Some(i) = places.iter().find(|i| **i >= self.len()) {
            return Err(Error::parameter(
                "place",
                i,
                format!("below {}", self.len()),
            ));
        }
        if places.is_empty() || places.len() > MAX_BYTES / self.dim() {
            return Err(Error::parameter(
                "places",
                format!("{} of them", places.len()),
                "at least 1, at most 2^30 bytes of pixels",
            ));
        }
        let pixels = places
            .iter()
            .flat_map(|i| self.image(*i).unwrap_or_default())
            .copied()
            .collect();
        let labels = self
            .labels
            .as_ref()
            .map(|l| places.iter().map(|i| l[*i]).collect());
        Ok(ImageSet {
            name: self.name.clone(),
            shape: self.shape,
            levels: self.levels,
            pixels,
            labels,
        })
    }

    /// Holds out `count` images, drawn without replacement by `seed`: those of the least random
    /// numbers, each a function of seed and place. Both parts keep the order of the whole.
    ///
    /// # Errors
    /// Unless `1 <= count < len`.
    pub fn split(&self, count: usize, seed: u64) -> Result<Split> {
        if count == 0 || count >= self.len() {
            return Err(Error::parameter(
                "held_out",
                count,
                format!("at least 1, below the number of images, {}", self.len()),
            ));
        }
        let key = [seed, u64::from_be_bytes(*b"held out")];
        let mut order: Vec<(u64, usize)> = (0..self.len())
            .map(|i| (threefry([i as u64, 0], key)[0], i))
            .collect();
        order.sort_unstable();
        let [held, kept] = [&order[..count], &order[count..]].map(|part| {
            let mut places: Vec<usize> = part.iter().map(|(_, i)| *i).collect();
            places.sort_unstable();
            places
        });
        Ok(Split {
            train: self.subset(&kept)?,
            held_out: self.subset(&held)?,
        })
    }

    /// Writes image `i < len` as numbers on (-1, 1), the `draw`-th time it is seen:
    /// `x = 2 (k + u)/levels - 1`. Noise and flip are a function of (seed, i, pixel, draw) alone,
    /// not of order or threads; the noise is `u = (m + 1/2) 2^-32`, m a random 32-bit integer, so
    /// that its mean is 1/2 and the level can be read back exactly. A flip moves the pixels; noise
    /// belongs to the place in the output. Formula: data.scale. Source: Theis, van den Oord,
    /// Bethge 2016.
    ///
    /// # Errors
    /// `out` of another length than `dim`; `i` that is not below `len`.
    pub fn write(&self, i: usize, draw: u32, dither: &Dither, out: &mut [f64]) -> Result<()> {
        if out.len() != self.dim() {
            return Err(Error::shape(
                "out",
                &[out.len()],
                format!("[{}], the numbers of an image", self.dim()),
            ));
        }
        let image = self
            .image(i)
            .ok_or_else(|| Error::parameter("place", i, format!("below {}", self.len())))?;
        let width = self.shape[2];
        let flip = dither.flips(i, draw);
        let scale = 2.0 / f64::from(self.levels);
        let mut words = [0u32; 4];
        for (p, x) in out.iter_mut().enumerate() {
            if p % 4 == 0 && dither.noise {
                let [a, b] = dither.bits(i, draw, p as u32 / 4);
                words = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
            }
            let u = if dither.noise {
                (f64::from(words[p % 4]) + 0.5) * 2f64.powi(-32)
            } else {
                0.5
            };
            let from = if flip {
                p / width * width + (width - 1 - p % width)
            } else {
                p
            };
            *x = scale * (f64::from(image[from]) + u) - 1.0;
        }
        Ok(())
    }

    /// Images at these places, one after the other, as [`ImageSet::write`] has them.
    ///
    /// # Errors
    /// A place that is not below `len`; more than 2^30 numbers.
    pub fn rows(&self, places: &[usize], draw: u32, dither: &Dither) -> Result<Vec<f64>> {
        let count = places
            .len()
            .checked_mul(self.dim())
            .filter(|n| *n <= MAX_BYTES);
        let count = count.ok_or_else(|| {
            Error::parameter(
                "places",
                format!("{} of them", places.len()),
                "at most 2^30 numbers",
            )
        })?;
        let mut out = vec![0.0; count];
        for (i, row) in places.iter().zip(out.chunks_exact_mut(self.dim())) {
            self.write(*i, draw, dither, row)?;
        }
        Ok(out)
    }
}

/// What is random about an image on its way to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dither {
    key: [u64; 2],
    noise: bool,
    flip: bool,
}

impl Dither {
    /// Nothing random: the middle of each level.
    pub fn none() -> Dither {
        Dither {
            key: [0; 2],
            noise: false,
            flip: false,
        }
    }

    /// Uniform noise within the level; and, where asked for, a flip left to right with probability
    /// 1/2.
    pub fn new(seed: u64, flip: bool) -> Dither {
        Dither {
            key: [seed, u64::from_be_bytes(*b"dithered")],
            noise: true,
            flip,
        }
    }

    fn bits(&self, i: usize, draw: u32, block: u32) -> [u64; 2] {
        threefry(
            [i as u64, u64::from(draw) << 32 | u64::from(block)],
            self.key,
        )
    }

    /// Whether image `i` is flipped at this draw. Its bit is in block 2^32 - 1, beyond the 2^22
    /// blocks of an image's pixels.
    pub fn flips(&self, i: usize, draw: u32) -> bool {
        self.flip && self.bits(i, draw, u32::MAX)[0] & 1 == 1
    }
}

/// The level of a number on [-1, 1]: `floor((x + 1) levels/2)`, clamped to 0 to levels - 1; NaN is
/// level 0. It undoes [`ImageSet::write`] exactly. Formula: data.level.
///
/// # Errors
/// Levels outside 2 to 256.
pub fn levels(values: &[f64], levels: u32) -> Result<Vec<u8>> {
    if !(2..=256).contains(&levels) {
        return Err(Error::parameter("levels", levels, "2 to 256"));
    }
    // a cast saturates, and makes 0 of NaN
    let top = (levels - 1) as u8;
    Ok(values
        .iter()
        .map(|x| (((x + 1.0) * f64::from(levels) / 2.0) as u8).min(top))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_levels(levels: u32) -> ImageSet {
        let pixels: Vec<u8> = (0..levels).map(|k| k as u8).collect();
        ImageSet::new("all", [1, 1, levels as usize], levels, pixels, None).unwrap()
    }

    /// Catches a wrong width of levels, noise that leaves its level, values outside (-1, 1), and a
    /// way back that is off by one, for 2, 17 and 256 levels: exact, whatever the noise.
    #[test]
    fn scaling_and_back() {
        for n in [2, 17, 256] {
            let set = all_levels(n);
            for draw in 0..200 {
                let x = set.rows(&[0], draw, &Dither::new(7, false)).unwrap();
                assert!(x.iter().all(|x| x.abs() < 1.0));
                assert_eq!(levels(&x, n).unwrap(), set.pixels());
            }
            let x = set.rows(&[0], 0, &Dither::none()).unwrap();
            for (k, x) in x.iter().enumerate() {
                let exact = (2.0 * k as f64 + 1.0 - f64::from(n)) / f64::from(n);
                assert!((x - exact).abs() < 3e-16, "{n} {k}"); // two roundings below 2
            }
        }
        let edges = [
            -1.0,
            1.0,
            -7.0,
            7.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
        ];
        assert_eq!(
            levels(&edges, 256).unwrap(),
            [0, 255, 0, 255, 0, 255, 0, 128]
        );
        assert!(levels(&edges, 1).is_err() && levels(&edges, 257).is_err());
    }

    /// Catches noise that is not uniform, or not independent over pixels, images and draws: mean
    /// 1/2, variance 1/12 and correlations 0 of 2^16 numbers, each within 4.5 standard errors
    /// (deviations sqrt(1/12), sqrt(1/180), 1/12 over 2^8).
    #[test]
    fn noise_is_uniform_and_independent() {
        let set = ImageSet::new("zero", [1, 16, 16], 2, vec![0; 64 * 256], None).unwrap();
        let dither = Dither::new(3, false);
        let places: Vec<usize> = (0..64).collect();
        // u of level 0 of 2: x + 1
        let rows: Vec<Vec<f64>> = (0..5)
            .map(|d| set.rows(&places, d, &dither).unwrap())
            .collect();
        let u: Vec<f64> = rows[..4].iter().flatten().map(|x| x + 1.0).collect();
        let n = u.len() as f64;
        let mean = u.iter().sum::<f64>() / n;
        let moment = |v: &[f64], w: &[f64]| {
            v.iter()
                .zip(w)
                .map(|(a, b)| (a - 0.5) * (b - 0.5))
                .sum::<f64>()
                / v.len() as f64
        };
        assert!((mean - 0.5).abs() < 4.5 * (1.0 / 12.0 / n).sqrt());
        assert!((moment(&u, &u) - 1.0 / 12.0).abs() < 4.5 * (1.0 / 180.0 / n).sqrt());
        // neighbouring pixels, blocks, images, draws
        for lag in [1, 2, 3, 4, 256, 64 * 256] {
            let m = u.len() - lag;
            assert!(
                moment(&u[..m], &u[lag..]).abs() < 4.5 / 12.0 / (m as f64).sqrt(),
                "lag {lag}"
            );
        }
        assert_ne!(
            rows[0],
            set.rows(&places, 0, &Dither::new(4, false)).unwrap()
        );
        // whatever the order
        assert_eq!(
            set.rows(&[5, 2], 1, &dither).unwrap()[..256],
            rows[1][5 * 256..6 * 256]
        );
    }

    /// Catches a flip of the wrong axis or of the channels, one that is not half the time, and one
    /// that moves the noise away from (image, place, draw).
    #[test]
    fn flips_turn_left_to_right_half_the_time() {
        let set = ImageSet::new("rgb", [3, 2, 3], 256, (0..36).collect(), None).unwrap();
        let dither = Dither::new(1, true);
        let mut flipped = 0;
        for draw in 0..4096 {
            let back = levels(&set.rows(&[1], draw, &dither).unwrap(), 256).unwrap();
            if dither.flips(1, draw) {
                flipped += 1;
                assert_eq!(
                    back,
                    [
                        20, 19, 18, 23, 22, 21, 26, 25, 24, 29, 28, 27, 32, 31, 30, 35, 34, 33
                    ]
                );
            } else {
                assert_eq!(back, set.image(1).unwrap());
            }
        }
        assert!((flipped - 2048i32).abs() < 4 * 32, "{flipped}"); // four standard errors
        assert!((0..99).all(|d| !Dither::new(1, false).flips(1, d)));
    }

    /// Catches parts that overlap, lose images, or depend on anything but the seed; labels that
    /// part from their images.
    #[test]
    fn splits_are_partitions() {
        let pixels: Vec<u8> = (0..100).collect();
        let set = ImageSet::new("hundred", [1, 1, 1], 256, pixels.clone(), Some(pixels)).unwrap();
        let Split { train, held_out } = set.split(30, 5).unwrap();
        assert_eq!((train.len(), held_out.len()), (70, 30));
        let mut both = [train.pixels(), held_out.pixels()].concat();
        both.sort_unstable();
        assert_eq!(both, set.pixels());
        assert!(train.pixels().is_sorted() && held_out.pixels().is_sorted());
        assert_eq!(
            (train.labels(), held_out.labels()),
            (Some(train.pixels()), Some(held_out.pixels()))
        );
        assert_eq!(set.split(30, 5).unwrap().train, train);
        assert_ne!(set.split(30, 6).unwrap().train, train);
        assert!(set.split(0, 5).is_err() && set.split(100, 5).is_err());
        // every image is held out equally often: 1000 splits, 300 +- 14.5 each, the largest of 100
        // within 5 deviations
        let mut counts = [0i32; 100];
        for seed in 0..1000 {
            set.split(30, seed)
                .unwrap()
                .held_out
                .pixels()
                .iter()
                .for_each(|i| counts[usize::from(*i)] += 1);
        }
        assert!(counts.iter().all(|c| (c - 300).abs() < 73), "{counts:?}");
    }

    /// Catches a set that is not what it says.
    #[test]
    fn refusals() {
        let set = |shape, levels, pixels: usize, labels: Option<usize>| {
            ImageSet::new(
                "x",
                shape,
                levels,
                vec![1; pixels],
                labels.map(|n| vec![0; n]),
            )
        };
        assert!(set([1, 2, 2], 2, 8, Some(2)).is_ok() && set([3, 1, 1], 256, 3, None).is_ok());
        for bad in [
            set([2, 2, 2], 2, 8, None),
            set([1, 0, 2], 2, 8, None),
            set([1, usize::MAX, 2], 2, 8, None),
            set([1, 4096, 4097], 2, 4096 * 4097, None),
            set([1, 2, 2], 1, 8, None),
            set([1, 2, 2], 257, 8, None),
            set([1, 2, 2], 2, 7, None),
            set([1, 2, 2], 2, 0, None),
            set([1, 2, 2], 2, 8, Some(3)),
        ] {
            assert!(bad.unwrap_err().to_string().contains("allowed: "));
        }
        let e = ImageSet::new("x", [1, 1, 2], 17, vec![16, 17], None)
            .unwrap_err()
            .to_string();
        assert!(e.contains("17") && e.contains("0 to 16"), "{e}");
        let s = all_levels(2);
        assert!(
            s.subset(&[]).is_err()
                && s.subset(&[1]).is_err()
                && s.subset(&[0, 0]).unwrap().len() == 2
        );
    }
}
