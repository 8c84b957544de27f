//! Data to hold samples against, and how far they are from it.

use crate::data::images::{self, Dither, ImageSet};
use crate::data::{self, Mixture};
use crate::error::{Error, Result};
use crate::metrics::{Pairwise, image_frechet, sliced};

/// Data to compare with.
pub enum Data {
    /// Images, and those that training does not see.
    Images {
        /// What training sees.
        train: ImageSet,
        /// What it does not.
        held_out: ImageSet,
    },
    /// Points of known law.
    Toy(Mixture),
}

/// Most rows that distances are taken over.
pub const COMPARED: usize = 20_000;

/// Blocks of the energy distance: of equal laws a block's value is skewed, and the error of the
/// mean of few of them too small.
const BLOCKS: usize = 40;

/// How far samples are from the data, with the same figure of data to data.
pub struct Distance {
    /// Whether of images (Frechet distance of features), else of points (sliced W2).
    pub images: bool,
    /// Of the samples to the data.
    pub value: f64,
    /// Of data to data.
    pub floor: f64,
    /// Rows on each side.
    pub rows: usize,
    /// Of toys: the energy distance and its standard error.
    pub energy: Option<(f64, f64)>,
}

impl Data {
    /// A toy or a set of images; `held_out` and `seed` are for sets without test files.
    ///
    /// # Errors
    /// A name that is none of these; files that cannot be read.
    pub fn load(spec: &str, held_out: f64, seed: u64) -> Result<Data> {
        if let Some(toy) = data::REGISTRY.iter().find(|e| e.name == spec) {
            return Ok(Data::Toy((toy.build)()?));
        }
        if spec != "digits" && !spec.contains(':') {
            let toys: Vec<_> = data::REGISTRY.iter().map(|e| e.name).collect();
            return Err(Error::parameter(
                "data",
                format!("`{spec}`"),
                format!("{}, {}", data::files::SPECS, toys.join(", ")),
            ));
        }
        let split = data::load_split(spec, held_out, seed)?;
        Ok(Data::Images {
            train: split.train,
            held_out: split.held_out,
        })
    }

    /// Channels, height, width; of points their dimension, 1, 1.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Data::Images { train, .. } => train.shape(),
            Data::Toy(mixture) => [mixture.dim(), 1, 1],
        }
    }

    /// Whether of images, on [-1, 1].
    pub fn images(&self) -> bool {
        matches!(self, Data::Images { .. })
    }

    /// The least and largest number of images, each pixel the middle of its level; all numbers of
    /// points.
    pub fn ends(&self) -> [f64; 2] {
        match self {
            Data::Images { train, .. } => {
                let middle = |k: u8| 2.0 * (f64::from(k) + 0.5) / f64::from(train.levels()) - 1.0;
                let ends = train
                    .pixels()
                    .iter()
                    .fold((u8::MAX, 0), |(a, b), k| (a.min(*k), b.max(*k)));
                [middle(ends.0), middle(ends.1)]
            }
            Data::Toy(_) => [f64::NEG_INFINITY, f64::INFINITY],
        }
    }

    /// Two sets of fresh data, at most `n` rows each: the first is what samples are held against.
    /// Of images, two disjoint parts of the training data, each pixel the middle of its level.
    fn two(&self, n: usize, seed: u64) -> Result<[Vec<f64>; 2]> {
        match self {
            Data::Images { train, .. } => {
                let n = n.min(train.len() / 2);
                let mixed = train.split(n.max(1), seed)?;
                let part =
                    |set: &ImageSet| set.rows(&(0..n).collect::<Vec<_>>(), 0, &Dither::none());
                // the other part keeps the order of the files: it is drawn once more
                let other = if mixed.train.len() > n {
                    mixed.train.split(n, seed ^ 1)?.held_out
                } else {
                    mixed.train
                };
                Ok([part(&mixed.held_out)?, part(&other)?])
            }
            // another stream than a run's noise
            Data::Toy(mixture) => {
                let one = |i: u64| mixture.sample(seed.wrapping_add(i << 32), n);
                Ok([one(1)?, one(2)?])
            }
        }
    }

    /// At most `n` rows of fresh data: what [`Data::distance`] holds samples against.
    ///
    /// # Errors
    /// As `distance`.
    pub fn fresh(&self, n: usize, seed: u64) -> Result<Vec<f64>> {
        self.two(n, seed).map(|[a, _]| a)
    }

    /// Of samples `x` (n, dim), as pictures show them: at their levels.
    ///
    /// # Errors
    /// Samples that are not finite, or too few of them.
    pub fn distance(&self, x: &[f64], seed: u64) -> Result<Distance> {
        let shape = self.shape();
        let dim: usize = shape.iter().product();
        let n = (x.len() / dim).min(COMPARED);
        let [fresh, again] = self.two(n, seed)?;
        let x = &x[..fresh.len()];
        let rows = fresh.len() / dim;
        match self {
            Data::Images { train, .. } => {
                let scale = 2.0 / f64::from(train.levels());
                let x: Vec<f64> = images::levels(x, train.levels())?
                    .iter()
                    .map(|k| scale * (f64::from(*k) + 0.5) - 1.0)
                    .collect();
                let (value, floor) = (
                    image_frechet(&x, &fresh, shape)?,
                    image_frechet(&again, &fresh, shape)?,
                );
                Ok(Distance {
                    images: true,
                    value,
                    floor,
                    rows,
                    energy: None,
                })
            }
            Data::Toy(_) => {
                let w2 = |a: &[f64]| sliced(a, &fresh, dim, 2, 64, seed).map(|e| e.value);
                let energy = if rows >= 10 * BLOCKS {
                    let e = Pairwise::Energy.blocks(x, &fresh, dim, rows / BLOCKS)?;
                    Some((e.value, e.error))
                } else {
                    None
                };
                Ok(Distance {
                    images: false,
                    value: w2(x)?,
                    floor: w2(&again)?,
                    rows,
                    energy,
                })
            }
        }
    }
}
