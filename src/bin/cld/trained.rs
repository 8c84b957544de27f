//! What `cld train` left behind: a checkpoint's model, and the data to hold it against.

use super::Result;
use super::show::short;
use cld_sgm::data::images::{self, Dither, ImageSet};
use cld_sgm::data::{self, Mixture};
use cld_sgm::metrics::{Pairwise, image_frechet, sliced};
use cld_sgm::process::entry;
use cld_sgm::train::Model;
use cld_sgm::train::checkpoint::{self, Checkpoint};
use cld_sgm::train::config::Config;
use cld_sgm::train::model::Net;
use cld_sgm::{Diffusion, Error};
use serde_json::Value;
use std::path::Path;

/// A checkpoint as a score.
pub struct Trained {
    pub config: Config,
    pub model: Model,
    pub about: String,
    /// Grey levels; 0: no images.
    pub levels: u32,
}

impl Trained {
    /// Reads a checkpoint; its averaged weights, or the raw ones.
    pub fn read(file: &Path, raw: bool) -> Result<Trained> {
        let Checkpoint { config, graph, state, .. } = checkpoint::read(file)?;
        let diffusion = config.diffusion()?;
        let objective = config.loss()?.objective();
        let weights = if raw { "weights of" } else { "averaged weights of" };
        let parametrisation = config.parametrisation()?;
        let about = format!(
            "{}: {weights} step {} of {}, {} {} on {}",
            file.display(),
            state.step,
            config.steps,
            objective.name(),
            parametrisation.name(),
            config.data.name
        );
        let net = Net::new(graph, if raw { state.p } else { state.ema })?;
        let model = Model::new(diffusion, objective, parametrisation, net)?;
        Ok(Trained { levels: config.data.levels.unwrap_or(0), config, model, about })
    }

    pub fn diffusion(&self) -> &Diffusion {
        self.model.diffusion()
    }

    /// A line about the process.
    pub fn process(&self) -> String {
        fn line(o: &serde_json::Map<String, Value>) -> String {
            let show = |v: &Value| v.as_object().map_or_else(|| v.to_string(), line);
            let rest: Vec<String> = o.iter().filter(|(k, _)| *k != "kind").map(|(k, v)| format!("{k}={}", show(v))).collect();
            format!("{}({})", o.get("kind").and_then(Value::as_str).unwrap_or_default(), rest.join(", "))
        }
        line(&self.config.process)
    }

    /// Whether there is a velocity with a law of its own at t = 0.
    pub fn velocity(&self) -> Result<bool> {
        Ok(entry(self.diffusion().process().name())?.gamma.is_some() && self.diffusion().gamma() > 0.0)
    }

    /// The data called `spec`, or those it was trained on.
    pub fn data(&self, spec: Option<&str>) -> Result<Data> {
        let d = &self.config.data;
        let data = Data::load(spec.unwrap_or(&d.name), d.held_out, self.config.seed)?;
        let (found, wanted) = (data.shape(), self.model.shape());
        match &data {
            Data::Images { train, .. } if found != wanted || train.levels() != self.levels => Err(Error::parameter(
                "data",
                format!("{found:?} of {} levels", train.levels()),
                format!("{wanted:?} of {} levels, as the checkpoint has it", self.levels),
            )),
            Data::Toy(_) if found != wanted || self.levels != 0 => {
                Err(Error::parameter("data", format!("a toy of {found:?}"), format!("data of {wanted:?} and {} levels", self.levels)))
            }
            _ => Ok(data),
        }
    }
}

/// Data to compare with.
pub enum Data {
    Images { train: ImageSet, held_out: ImageSet },
    Toy(Mixture),
}

/// Most rows that distances are taken over.
pub const COMPARED: usize = 20_000;

/// Blocks of the energy distance: of equal laws a block's value is skewed, and the error of the mean of few of them too small.
const BLOCKS: usize = 40;

/// How far samples are from the data, with the same figure of data to data.
pub struct Distance {
    /// Whether of images (Frechet distance of features), else of points (sliced W2).
    pub images: bool,
    pub value: f64,
    pub floor: f64,
    /// Rows on each side.
    pub rows: usize,
    /// Of toys: the energy distance and its standard error.
    pub energy: Option<(f64, f64)>,
}

impl Data {
    /// A toy or a set of images; `held_out` and `seed` are for sets without test files.
    pub fn load(spec: &str, held_out: f64, seed: u64) -> Result<Data> {
        if let Some(toy) = data::REGISTRY.iter().find(|e| e.name == spec) {
            return Ok(Data::Toy((toy.build)()?));
        }
        if spec != "digits" && !spec.contains(':') {
            let toys: Vec<_> = data::REGISTRY.iter().map(|e| e.name).collect();
            return Err(Error::parameter("data", format!("`{spec}`"), format!("{}, {}", data::files::SPECS, toys.join(", "))));
        }
        let split = data::load_split(spec, held_out, seed)?;
        Ok(Data::Images { train: split.train, held_out: split.held_out })
    }

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

    /// The least and largest number of images, each pixel the middle of its level; all numbers of points.
    pub fn ends(&self) -> [f64; 2] {
        match self {
            Data::Images { train, .. } => {
                let middle = |k: u8| 2.0 * (f64::from(k) + 0.5) / f64::from(train.levels()) - 1.0;
                let ends = train.pixels().iter().fold((u8::MAX, 0), |(a, b), k| (a.min(*k), b.max(*k)));
                [middle(ends.0), middle(ends.1)]
            }
            Data::Toy(_) => [f64::NEG_INFINITY, f64::INFINITY],
        }
    }

    /// Two sets of fresh data, at most `n` rows each: the first is what samples are held against. Of images, two disjoint parts of the
    /// training data, each pixel the middle of its level.
    fn two(&self, n: usize, seed: u64) -> Result<[Vec<f64>; 2]> {
        match self {
            Data::Images { train, .. } => {
                let n = n.min(train.len() / 2);
                let mixed = train.split(n.max(1), seed)?;
                let part = |set: &ImageSet| set.rows(&(0..n).collect::<Vec<_>>(), 0, &Dither::none());
                // the other part keeps the order of the files: it is drawn once more
                let other = if mixed.train.len() > n { mixed.train.split(n, seed ^ 1)?.held_out } else { mixed.train };
                Ok([part(&mixed.held_out)?, part(&other)?])
            }
            // another stream than a run's noise
            Data::Toy(mixture) => {
                let one = |i: u64| mixture.sample(seed.wrapping_add(i << 32), n);
                Ok([one(1)?, one(2)?])
            }
        }
    }

    /// The first of the two sets.
    pub fn fresh(&self, n: usize, seed: u64) -> Result<Vec<f64>> {
        self.two(n, seed).map(|[a, _]| a)
    }

    /// Of samples `x` (n, dim), as pictures show them: at their levels.
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
                let x: Vec<f64> = images::levels(x, train.levels())?.iter().map(|k| scale * (f64::from(*k) + 0.5) - 1.0).collect();
                let (value, floor) = (image_frechet(&x, &fresh, shape)?, image_frechet(&again, &fresh, shape)?);
                Ok(Distance { images: true, value, floor, rows, energy: None })
            }
            Data::Toy(_) => {
                let w2 = |a: &[f64]| sliced(a, &fresh, dim, 2, 64, seed).map(|e| e.value);
                let energy = if rows >= 10 * BLOCKS {
                    let e = Pairwise::Energy.blocks(x, &fresh, dim, rows / BLOCKS)?;
                    Some((e.value, e.error))
                } else {
                    None
                };
                Ok(Distance { images: false, value: w2(x)?, floor: w2(&again)?, rows, energy })
            }
        }
    }
}

impl Distance {
    /// Rows of a table about it.
    pub fn lines(&self) -> Vec<Vec<String>> {
        let name = if self.images { "Frechet distance to data" } else { "sliced W2 to data" };
        let what = if self.images { format!(", {} images each", self.rows) } else { String::new() };
        let mut rows = vec![vec![name.into(), format!("{} (data to data: {}{what})", short(self.value), short(self.floor))]];
        if let Some((value, error)) = self.energy {
            rows.push(vec!["energy distance to data".into(), format!("{} +- {}", short(value), short(error))]);
        }
        rows
    }
}
