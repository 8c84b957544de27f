//! A checkpoint as a score, with what it was trained on.

use super::data::Data;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::process::entry;
use crate::train::Model;
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::config::Config;
use crate::train::model::Net;
use crate::train::run::CHECKPOINT;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The checkpoint that `path` stands for: itself, or the one in the folder of a run.
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(CHECKPOINT)
    } else {
        path.to_path_buf()
    }
}

/// A checkpoint as a score.
pub struct Trained {
    /// How it was trained.
    pub config: Config,
    /// The network as a score.
    pub model: Model,
    /// A line about it: file, weights, step, data.
    pub about: String,
    /// Grey levels; 0: no images.
    pub levels: u32,
}

impl Trained {
    /// Reads a checkpoint, or the one in the folder of a run; its averaged weights, or the raw
    /// ones.
    ///
    /// # Errors
    /// Those of [`checkpoint::read`]; a folder without a checkpoint.
    pub fn read(path: &Path, raw: bool) -> Result<Trained> {
        let file = &file_of(path);
        let Checkpoint {
            config,
            graph,
            state,
            ..
        } = checkpoint::read(file)?;
        let diffusion = config.diffusion()?;
        let objective = config.loss()?.objective();
        let weights = if raw {
            "weights of"
        } else {
            "averaged weights of"
        };
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
        Ok(Trained {
            levels: config.data.levels.unwrap_or(0),
            config,
            model,
            about,
        })
    }

    /// The process it was trained for.
    pub fn diffusion(&self) -> &Diffusion {
        self.model.diffusion()
    }

    /// A line about the process.
    ///
    /// # Errors
    /// A configuration that cannot be read, which no checkpoint has.
    pub fn process(&self) -> Result<String> {
        let mut object = self.config.process.clone();
        object.insert(
            "objective".into(),
            self.config.loss()?.objective().name().into(),
        );
        crate::truth::config::Config::from_answers(&Value::Object(object)).map(|c| c.describe())
    }

    /// Whether there is a velocity with a law of its own at t = 0.
    ///
    /// # Errors
    /// A process that is not in the registry.
    pub fn velocity(&self) -> Result<bool> {
        Ok(entry(self.diffusion().process().name())?.gamma.is_some()
            && self.diffusion().gamma() > 0.0)
    }

    /// The data called `spec`, or those it was trained on.
    ///
    /// # Errors
    /// Those of [`Data::load`]; data of another shape or number of levels.
    pub fn data(&self, spec: Option<&str>) -> Result<Data> {
        let d = &self.config.data;
        let data = Data::load(spec.unwrap_or(&d.name), d.held_out, self.config.seed)?;
        let (found, wanted) = (data.shape(), self.model.shape());
        match &data {
            Data::Images { train, .. } if found != wanted || train.levels() != self.levels => {
                Err(Error::parameter(
                    "data",
                    format!("{found:?} of {} levels", train.levels()),
                    format!(
                        "{wanted:?} of {} levels, as the checkpoint has it",
                        self.levels
                    ),
                ))
            }
            Data::Toy(_) if found != wanted || self.levels != 0 => Err(Error::parameter(
                "data",
                format!("a toy of {found:?}"),
                format!("data of {wanted:?} and {} levels", self.levels),
            )),
            _ => Ok(data),
        }
    }
}
