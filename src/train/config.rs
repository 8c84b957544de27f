//! All that a run of training is made of, as a TOML file has it.
//!
//! ```toml
//! seed = 0              # of weights, data, noise, times: the run is a function of this file
//! steps = 8000
//! batch = 64
//! parts = 8             # of a batch: the most threads and processes that have work
//! save_every = 500      # steps between checkpoints
//! log_every = 20        # steps that a line of metrics.jsonl is the mean of
//!
//! [data]
//! name = "digits"       # digits, a toy (swissroll, ...), idx:DIR, cifar:DIR, png:DIR
//! held_out = 0.1        # share of the images that training never sees, where the set has no test files
//! flip = false          # left and right, of images
//!
//! [process]
//! kind = "cld"          # and its parameters
//! mass = 0.25
//! gamma = 0.04
//! schedule = { kind = "constant", b = 4.0 }
//!
//! [loss]
//! objective = "hsm"
//! parametrisation = "mixed"
//! weighting = "eps"
//! times = "uniform"
//! stratified = true
//! eps = 1e-5
//!
//! [model]
//! kind = "unet"
//! base = 32
//!
//! [adam]
//! rate = 1e-3
//! ```
//!
//! What is absent has a default; what is unknown is refused. `docs/guide/training.md` has every
//! field.

use super::source::{Pictures, Source, Toy};
use super::step::{PARTS, StepPlan};
use crate::data::{self, ImageSet};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::files::parse_toml;
use crate::loss::{Form, Loss, Times, Weighting};
use crate::nn::adam::Adam;
use crate::nn::{Graph, Mlp, UNet};
use crate::process::{default_entry, entry};
use crate::score::Parametrisation;
use crate::truth::config::{Config as Process, defaults};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Most parameters that a network may have.
pub const MOST_PARAMETERS: usize = 1 << 27;

/// Most bytes of a configuration's text.
pub const LONGEST: usize = 1 << 20;

/// A run of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seed of all that is random.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Rows of a batch.
    pub batch: usize,
    /// Parts of a batch, each with a gradient of its own, summed in order: at most as many threads
    /// and processes have work. Another number is another order of roundings.
    pub parts: usize,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Steps that a line of the metrics is the mean of.
    pub log_every: u64,
    /// What is learnt.
    pub data: DataSpec,
    /// The process, as answers files have it ([`Process::from_answers`]), without the objective.
    pub process: Map<String, Json>,
    /// What is minimised.
    pub loss: LossSpec,
    /// The network.
    pub model: ModelSpec,
    /// The optimiser.
    pub adam: AdamSpec,
}

/// What is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSpec {
    /// A toy's name or a set of images: `digits`, `idx:DIR`, `cifar:DIR`, `png:DIR`.
    pub name: String,
    /// Share of the images that training does not see, where the set has no test files.
    pub held_out: f64,
    /// Whether images are flipped left to right, half of the times.
    pub flip: bool,
    /// Channels, height and width of a sample; read off the data if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 3]>,
    /// Grey levels of a pixel; 0 for a toy; read off the data if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<u32>,
    /// CRC-32 of the training images, so that a run is not taken up on others; read off the data if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
}

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSpec {
    /// `hsm` or `dsm`; if absent hsm where there is a velocity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// `eps` or `mixed`; if absent mixed for hsm where noise is in the last of several channels
    /// alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parametrisation: Option<String>,
    /// A [`Weighting`]'s name.
    pub weighting: String,
    /// `uniform` or `importance`.
    pub times: String,
    /// Whether the times of a batch are stratified.
    pub stratified: bool,
    /// The smallest time.
    pub eps: f64,
}

/// The network. Fields of another kind than `kind` must be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSpec {
    /// `unet`, `mlp` or `resmlp`; if absent unet for images, resmlp for toys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// unet: channels at full size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<usize>,
    /// unet: channels of each level in units of base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mult: Option<Vec<usize>>,
    /// unet: residual blocks of a level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// unet: width of the time's embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,
    /// unet: groups of the norms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// unet: rate of dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// mlp, resmlp: width of the hidden layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// mlp, resmlp: hidden layers, or residual blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
}

/// The optimiser: [`Adam`]'s fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSpec {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the averages of gradients and of their squares.
    pub betas: [f64; 2],
    /// Added to the root of the latter.
    pub eps: f64,
    /// Steps over which the rate grows from 0.
    pub warm_up: u64,
    /// Last steps over which the rate falls towards 0.
    pub cool_down: u64,
    /// Largest norm of a gradient; `inf`: any.
    pub clip: f64,
    /// Weight decay.
    pub decay: f64,
    /// Decay of the average of weights.
    pub average: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            seed: 0,
            steps: 8000,
            batch: 64,
            parts: PARTS,
            save_every: 500,
            log_every: 20,
            data: DataSpec::default(),
            process: process(default_entry().name),
            loss: LossSpec::default(),
            model: ModelSpec::default(),
            adam: AdamSpec::default(),
        }
    }
}

impl Default for DataSpec {
    fn default() -> DataSpec {
        DataSpec {
            name: "digits".into(),
            held_out: 0.1,
            flip: false,
            shape: None,
            levels: None,
            crc32: None,
        }
    }
}

impl Default for LossSpec {
    fn default() -> LossSpec {
        let (weighting, times) = ("eps".into(), "uniform".into());
        LossSpec {
            objective: None,
            parametrisation: None,
            weighting,
            times,
            stratified: true,
            eps: 1e-5,
        }
    }
}

impl Default for AdamSpec {
    fn default() -> AdamSpec {
        AdamSpec {
            rate: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            warm_up: 200,
            cool_down: 0,
            clip: 1.0,
            decay: 0.0,
            average: 0.999,
        }
    }
}

/// What `[process]` is for a process of which only the name is known: the registry's defaults, such
/// that the prior is met at t = 1. Another name gets itself alone, and is refused for what it is.
pub fn process(kind: &str) -> Map<String, Json> {
    defaults(kind).unwrap_or_else(|_| Map::from_iter([("kind".into(), kind.into())]))
}

/// Training data in memory.
pub struct Loaded {
    /// What training draws from.
    pub source: Arc<dyn Source>,
    /// Of a set of images: those that training does not see.
    pub held_out: Option<ImageSet>,
    /// Channels, height and width of a sample.
    pub shape: [usize; 3],
    /// Grey levels of a pixel; 0 for a toy.
    pub levels: u32,
    /// Of a set of images: CRC-32 of those that training sees.
    pub crc32: Option<u32>,
}

fn refuse<T>(name: &'static str, value: impl std::fmt::Debug, allowed: &'static str) -> Result<T> {
    Err(Error::parameter(name, format!("{value:?}"), allowed))
}

/// Whether noise is in the last of several channels alone.
fn mixed(d: &Diffusion) -> bool {
    d.channels() > 1 && d.noised() == [d.channels() - 1]
}

impl Config {
    /// From a file's text; `file` is for messages. Ranges are checked by [`plan`](Self::plan).
    ///
    /// # Errors
    /// What is no TOML; a field that is unknown or of another type: the message has the line.
    pub fn from_toml(text: &str, file: &str) -> Result<Config> {
        if text.len() > LONGEST {
            return Err(Error::Format {
                file: file.into(),
                place: String::new(),
                problem: format!("{} bytes; allowed: at most {LONGEST}", text.len()),
            });
        }
        parse_toml(text, file)
    }

    /// As a file's text; [`from_toml`](Self::from_toml) gives the same configuration back.
    ///
    /// # Errors
    /// What TOML cannot say, such as a null in `process`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| {
            Error::parameter("configuration", e.to_string(), "what a TOML file can say")
        })
    }

    /// Loads the data.
    ///
    /// # Errors
    /// No such data; files that are missing or damaged; data of another shape or checksum than is
    /// given.
    pub fn load(&self) -> Result<Loaded> {
        let d = &self.data;
        let toy = data::REGISTRY.iter().find(|e| e.name == d.name);
        let loaded = if let Some(toy) = toy {
            if d.flip {
                return refuse("data.flip", true, "false for a toy");
            }
            let source = Toy::new((toy.build)()?, self.seed);
            Loaded {
                shape: source.shape(),
                source: Arc::new(source),
                held_out: None,
                levels: 0,
                crc32: None,
            }
        } else if d.name == "digits" || d.name.contains(':') {
            let split = data::load_split(&d.name, d.held_out, self.seed)?;
            let (shape, levels) = (split.train.shape(), split.train.levels());
            let mut crc = flate2::Crc::new();
            crc.update(split.train.pixels());
            let crc32 = Some(crc.sum());
            let source = Arc::new(Pictures::new(split.train, d.flip, self.seed)?);
            Loaded {
                shape,
                source,
                held_out: Some(split.held_out),
                levels,
                crc32,
            }
        } else {
            let toys: Vec<_> = data::REGISTRY.iter().map(|e| e.name).collect();
            return Err(Error::parameter(
                "data.name",
                format!("`{}`", d.name),
                format!("{}, {}", data::files::SPECS, toys.join(", ")),
            ));
        };
        if d.shape.is_some_and(|s| s != loaded.shape)
            || d.levels.is_some_and(|l| l != loaded.levels)
        {
            let given = format!(
                "{:?} of {} levels",
                d.shape.unwrap_or(loaded.shape),
                d.levels.unwrap_or(loaded.levels)
            );
            return Err(Error::parameter(
                "data.shape",
                given,
                format!(
                    "{:?} of {} levels, as the data have it",
                    loaded.shape, loaded.levels
                ),
            ));
        }
        if let (Some(given), Some(found)) = (d.crc32, loaded.crc32)
            && given != found
        {
            return Err(Error::parameter(
                "data.crc32",
                given,
                format!("{found}, as the training images have it: these are other images"),
            ));
        }
        Ok(loaded)
    }

    /// Sets what is absent and depends on the rest: shape and levels of the data, objective,
    /// parametrisation, the network's fields.
    ///
    /// # Errors
    /// An unknown process or model; fields of another kind of model.
    pub fn filled(mut self, data: &Loaded) -> Result<Config> {
        (self.data.shape, self.data.levels, self.data.crc32) =
            (Some(data.shape), Some(data.levels), data.crc32);
        let velocity = entry(self.process_kind()?)?.gamma.is_some();
        self.loss
            .objective
            .get_or_insert_with(|| if velocity { "hsm" } else { "dsm" }.into());
        if self.loss.parametrisation.is_none() {
            // given v_0 the velocity's variance S_vv vanishes at t = 0, and -v/S_vv is no score of
            // v any more: not for dsm
            let hybrid = self.loss.objective.as_deref() == Some("hsm");
            self.loss.parametrisation = Some(
                if hybrid && mixed(&self.diffusion()?) {
                    "mixed"
                } else {
                    "eps"
                }
                .into(),
            );
        }
        let m = &mut self.model;
        let kind = m
            .kind
            .get_or_insert_with(|| if data.levels > 0 { "unet" } else { "resmlp" }.into())
            .clone();
        let perceptron = kind == "mlp" || kind == "resmlp";
        let unet_fields = [m.base, m.blocks, m.embedding, m.groups]
            .iter()
            .any(Option::is_some)
            || m.mult.is_some()
            || m.dropout.is_some();
        if perceptron && unet_fields {
            return refuse(
                "model.kind",
                kind,
                "unet, or none of base, mult, blocks, embedding, groups, dropout",
            );
        }
        if kind == "unet" && (m.width.is_some() || m.depth.is_some()) {
            return refuse("model.kind", kind, "mlp or resmlp, or none of width, depth");
        }
        if perceptron {
            m.width.get_or_insert(128);
            m.depth.get_or_insert(if kind == "mlp" { 4 } else { 3 });
        } else if kind == "unet" {
            let small = UNet::small(1, 1, [8, 8]);
            m.base.get_or_insert(small.base);
            m.mult.get_or_insert(small.mult);
            m.blocks.get_or_insert(small.blocks);
            m.embedding.get_or_insert(small.embedding);
            m.groups.get_or_insert(small.groups);
            m.dropout.get_or_insert(small.dropout);
        }
        Ok(self)
    }

    fn process_kind(&self) -> Result<&str> {
        let kind = self.process.get("kind").unwrap_or(&Json::Null);
        kind.as_str()
            .ok_or_else(|| Error::parameter("process.kind", kind, "a process's name"))
    }

    fn process(&self) -> Result<Process> {
        let mut o = self.process.clone();
        if let Some(key) = ["objective", "epsilon_added", "decomposition"]
            .iter()
            .find(|k| o.contains_key(**k))
        {
            return Err(Error::parameter(
                format!("process.{key}"),
                "given",
                "absent (the objective is in [loss])",
            ));
        }
        self.process_kind()?;
        let objective = match self.loss.objective.as_deref() {
            Some(o @ ("hsm" | "dsm")) => o,
            Some(other) => return refuse("loss.objective", other, "hsm or dsm"),
            None => "dsm",
        };
        o.insert("objective".into(), objective.into());
        Process::from_answers(&Json::Object(o))
    }

    /// The diffusion.
    ///
    /// # Errors
    /// A parameter of the process or its schedule that is missing, unknown or out of range.
    pub fn diffusion(&self) -> Result<Diffusion> {
        let p = self.process()?;
        Diffusion::new(p.process()?, p.schedule, p.gamma.unwrap_or(0.0))
    }

    /// What the network puts out.
    ///
    /// # Errors
    /// Neither `eps` nor `mixed`; `mixed` unless noise is in the last of several channels alone.
    pub fn parametrisation(&self) -> Result<Parametrisation> {
        match self.loss.parametrisation.as_deref() {
            Some("eps") => Ok(Parametrisation::Eps),
            Some("mixed") if mixed(&self.diffusion()?) => Ok(Parametrisation::Mixed),
            Some("mixed") => refuse(
                "loss.parametrisation",
                "mixed",
                "eps for this process (mixed needs noise in the last of several channels alone)",
            ),
            other => refuse(
                "loss.parametrisation",
                other.unwrap_or("missing"),
                "eps or mixed",
            ),
        }
    }

    /// The loss, in eps form.
    ///
    /// # Errors
    /// An unknown objective or weighting; a process of which the noised channels are not the last
    /// ones.
    pub fn loss(&self) -> Result<Loss> {
        let weighting = Weighting::ALL
            .into_iter()
            .find(|w| w.name() == self.loss.weighting);
        let Some(weighting) = weighting else {
            let all: Vec<_> = Weighting::ALL.iter().map(|w| w.name()).collect();
            return Err(Error::parameter(
                "loss.weighting",
                format!("`{}`", self.loss.weighting),
                all.join(", "),
            ));
        };
        Loss::new(
            &self.diffusion()?,
            self.process()?.objective,
            Form::Eps,
            weighting,
        )
    }

    /// The law of times.
    ///
    /// # Errors
    /// An unknown law; unless `0 < eps < 1`.
    pub fn times(&self, loss: &Loss) -> Result<Times> {
        match self.loss.times.as_str() {
            "uniform" => Times::uniform(self.loss.eps),
            "importance" => Times::importance(loss, self.loss.eps),
            other => refuse("loss.times", other, "uniform or importance"),
        }
    }

    /// The network, for [`filled`](Self::filled) configurations.
    ///
    /// # Errors
    /// A field that is missing or out of range; a perceptron for images, a U-Net for a toy; more
    /// than [`MOST_PARAMETERS`] parameters.
    pub fn graph(&self) -> Result<Graph<f32>> {
        let Some(shape @ [c, h, w]) = self.data.shape else {
            return refuse("data.shape", self.data.shape, "channels, height, width");
        };
        if !(shape.iter().all(|s| (1..=1024).contains(s))
            && self.data.levels.is_some_and(|l| l <= 256 && l != 1))
        {
            return refuse(
                "data.shape",
                (shape, self.data.levels),
                "1 to 1024 each, and `levels` 0 or 2 to 256",
            );
        }
        let (d, m) = (self.diffusion()?, &self.model);
        let (inputs, outputs) = (d.channels() * c, d.noised().len() * c);
        let given = |name: &'static str, x: Option<usize>| {
            x.ok_or_else(|| Error::parameter(name, "missing", "a number"))
        };
        let graph = match m.kind.as_deref() {
            Some("unet") if self.data.levels == Some(0) => {
                return refuse("model.kind", "unet", "mlp or resmlp for a toy");
            }
            Some("unet") => {
                let base = given("model.base", m.base)?;
                let (blocks, embedding) = (
                    given("model.blocks", m.blocks)?,
                    given("model.embedding", m.embedding)?,
                );
                let (groups, dropout) =
                    (given("model.groups", m.groups)?, m.dropout.unwrap_or(0.0));
                let mult = m.mult.clone().unwrap_or_default();
                UNet {
                    inputs,
                    outputs,
                    size: [h, w],
                    base,
                    mult,
                    blocks,
                    embedding,
                    groups,
                    dropout,
                }
                .build()?
            }
            Some(kind @ ("mlp" | "resmlp")) => {
                if (h, w) != (1, 1) {
                    return refuse("model.kind", kind, "unet for images");
                }
                let (width, depth) = (
                    given("model.width", m.width)?,
                    given("model.depth", m.depth)?,
                );
                Mlp {
                    inputs,
                    outputs,
                    width,
                    depth,
                    residual: kind == "resmlp",
                }
                .build()?
            }
            other => {
                return refuse(
                    "model.kind",
                    other.unwrap_or("missing"),
                    "unet, mlp or resmlp",
                );
            }
        };
        let count = graph.layout().len();
        if count > MOST_PARAMETERS {
            return Err(Error::parameter(
                "model",
                format!("{count} parameters"),
                format!("at most {MOST_PARAMETERS}"),
            ));
        }
        Ok(graph)
    }

    /// The optimiser.
    ///
    /// # Errors
    /// A field out of its range.
    pub fn adam(&self) -> Result<Adam> {
        let AdamSpec {
            rate,
            betas: [beta1, beta2],
            eps,
            warm_up,
            cool_down,
            clip,
            decay,
            average,
        } = self.adam;
        if warm_up >= 1 << 53 {
            return refuse("adam.warm_up", warm_up, "below 2^53");
        }
        if cool_down > self.steps {
            return Err(Error::parameter(
                "adam.cool_down",
                cool_down,
                format!("at most the {} steps", self.steps),
            ));
        }
        Adam {
            rate,
            beta1,
            beta2,
            eps,
            warm_up,
            cool_down,
            end: self.steps,
            clip,
            decay,
            average,
        }
        .checked()
    }

    /// Everything that does not change in training, every field checked.
    ///
    /// # Errors
    /// The first field that is out of its range, by name.
    pub fn plan(&self, source: Arc<dyn Source>) -> Result<StepPlan> {
        let counts = [
            ("steps", self.steps),
            ("save_every", self.save_every),
            ("log_every", self.log_every),
            ("batch", self.batch as u64),
            ("parts", self.parts as u64),
        ];
        for (name, n) in counts {
            let most = match name {
                "batch" => 1 << 20,
                "parts" => 1024,
                _ => 1_000_000_000,
            };
            if !(1..=most).contains(&n) {
                return Err(Error::parameter(name, n, format!("1 to {most}")));
            }
        }
        if self.seed > i64::MAX as u64 {
            return refuse("seed", self.seed, "below 2^63");
        }
        let loss = self.loss()?;
        Ok(StepPlan {
            graph: Arc::new(self.graph()?),
            parametrisation: self.parametrisation()?,
            times: self.times(&loss)?,
            stratified: self.loss.stratified,
            adam: self.adam()?,
            batch: self.batch,
            parts: self.parts,
            seed: self.seed,
            loss,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::{State, Trainer};
    use super::*;
    use crate::process::REGISTRY;

    fn parsed(text: &str) -> Result<Config> {
        let c = Config::from_toml(text, "a.toml")?;
        let data = c.load()?;
        let c = c.filled(&data)?;
        c.plan(data.source).map(|_| c)
    }

    /// Catches defaults that are not usable, and a file that does not give back what it was written
    /// from: for every process, model and kind of data, before and after filling in.
    #[test]
    fn toml_round_trip() {
        // those whose defaults are all there
        for e in REGISTRY.iter().filter(|e| e.build(&e.defaults()).is_ok()) {
            let (kind, objective) = (e.name, if e.gamma.is_some() { "hsm" } else { "dsm" });
            for (data, model) in [
                ("digits", "unet"),
                ("swissroll", "resmlp"),
                ("diamond", "mlp"),
            ] {
                let mut c = Config {
                    process: process(kind),
                    ..Config::default()
                };
                c.data.name = data.into();
                c.model.kind = Some(model.into());
                let text = c.to_toml().unwrap();
                assert_eq!(Config::from_toml(&text, "").unwrap(), c, "{text}");
                let full = parsed(&text).unwrap_or_else(|e| panic!("{kind} {data}: {e}"));
                assert_eq!(
                    full.loss.parametrisation.as_deref(),
                    Some(e.parametrisation)
                );
                assert_eq!(full.loss.objective.as_deref(), Some(objective));
                let text = full.to_toml().unwrap();
                assert_eq!(parsed(&text).unwrap(), full, "{text}");
            }
        }
        assert_eq!(parsed("").unwrap().model.kind.as_deref(), Some("unet"));
        assert_eq!(
            parsed("[loss]\nobjective = 'dsm'")
                .unwrap()
                .loss
                .parametrisation
                .as_deref(),
            Some("eps")
        );
        // the file in this module's words and the defaults say the same
        let text: String = include_str!("config.rs")
            .lines()
            .filter_map(|l| l.strip_prefix("//! ").or_else(|| l.strip_prefix("//!")))
            .map(|l| format!("{l}\n"))
            .collect();
        let text = text
            .split("```toml")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        assert_eq!(parsed(text).unwrap(), parsed("").unwrap());
    }

    /// Catches a bad field that passes, or is refused without its name.
    #[test]
    fn bad_fields_are_named() {
        for (text, words) in [
            ("stepz = 3", "stepz"),
            ("steps = 0", "`steps`"),
            ("steps = -1", "line 1"),
            ("batch = 0", "`batch`"),
            ("parts = 0", "`parts`"),
            ("parts = 2000", "`parts`"),
            ("batch = 2000000", "`batch`"),
            ("save_every = 0", "`save_every`"),
            ("log_every = 0", "`log_every`"),
            ("seed = 1.5", "line 1"),
            ("seed = 9223372036854775808", "`seed`"),
            ("[data]\nname = 'moons'", "data.name"),
            ("[data]\nname = 'swissroll'\nflip = true", "data.flip"),
            ("[data]\nheld_out = 1.0", "held_out"),
            ("[data]\nshape = [3, 8, 8]", "data.shape"),
            ("[data]\ncrc32 = 1", "other images"),
            ("[data]\nname = 'idx:/nowhere'", "/nowhere"),
            ("[process]\nkind = 'brown'", "brown"),
            ("[process]\nmass = 1.0", "process.kind"),
            (
                "[process]\nkind = 'cld'\nmass = -1\ngamma = 0.04\nschedule = {kind='constant', b=4}",
                "mass",
            ),
            (
                "[process]\nkind = 'cld'\nmass = nan\ngamma = 0.04\nschedule = {kind='constant', b=4}",
                "mass",
            ),
            (
                "[process]\nkind = 'cld'\nmass = 1\ngamma = 0.04\nobjective='hsm'\nschedule = {kind='constant', b=4}",
                "process.objective",
            ),
            (
                "[process]\nkind = 'vp'\nnu = 1\nschedule = {kind='constant', b=4}",
                "nu",
            ),
            (
                "[process]\nkind = 'vp'\nschedule = {kind='constant', c=4}",
                "schedule.c",
            ),
            ("[loss]\nobjective = 'ism'", "loss.objective"),
            (
                "[process]\nkind = 'vp'\nschedule = {kind='constant', b=4}\n[loss]\nobjective = 'hsm'",
                "objective",
            ),
            (
                "[process]\nkind = 'vp'\nschedule = {kind='constant', b=4}\n[loss]\nparametrisation = 'mixed'\n",
                "parametrisation",
            ),
            ("[loss]\nparametrisation = 'x0'", "loss.parametrisation"),
            ("[loss]\nweighting = 'none'", "loss.weighting"),
            ("[loss]\ntimes = 'log'", "loss.times"),
            ("[loss]\neps = 0.0", "`eps`"),
            ("[model]\nkind = 'cnn'", "model.kind"),
            ("[model]\nkind = 'mlp'", "unet for images"),
            ("[model]\nwidth = 16", "width"),
            ("[data]\nname = 'swissroll'\n[model]\nbase = 32", "base"),
            (
                "[data]\nname = 'swissroll'\n[model]\nkind = 'unet'",
                "model.kind",
            ),
            ("[model]\nbase = 33", "`base`"),
            ("[model]\nmult = []", "`mult`"),
            ("[model]\nmult = [1, 1, 1, 1, 1, 1]", "`mult`"),
            ("[model]\ngroups = 5", "`groups`"),
            ("[model]\ndropout = 1.0", "`dropout`"),
            (
                "[model]\nbase = 512\nblocks = 8\nmult = [1, 1, 1, 1]",
                "parameters",
            ),
            ("[adam]\nrate = 0.0", "`rate`"),
            ("[adam]\nbetas = [0.9, 1.0]", "`beta2`"),
            ("[adam]\nbetas = [0.9]", "line 2"),
            ("[adam]\nclip = nan", "`clip`"),
            ("steps = 10\n[adam]\ncool_down = 11", "cool_down"),
            ("[adam]\naverage = 1.0", "`average`"),
            ("[adam", "line 1"),
            ("seed = 1\nseed = 2", "line 2"),
        ] {
            let e = parsed(text).map(|_| ()).expect_err(text).to_string();
            assert!(e.contains(words), "{text}: `{words}` is not in: {e}");
        }
        let nested = format!(
            "[process]\nkind = {}{}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(parsed(&nested).is_err() && parsed(&"#".repeat(LONGEST + 1)).is_err());
    }

    /// Catches a panic, an endless loop, or a refusal of many lines, for any value of any field:
    /// every value of the full files of a U-Net and of a perceptron becomes each of these, one at a
    /// time.
    #[test]
    fn hostile_values() {
        let values = [
            "0",
            "1",
            "-1",
            "3",
            "0.5",
            "1e308",
            "1e-320",
            "-0.0",
            "nan",
            "inf",
            "-inf",
            "9223372036854775807",
            "-9223372036854775808",
            "''",
            "'\\n'",
            "'hsm'",
            "'ve'",
            "'importance'",
            "'likelihood'",
            "'resmlp'",
            "[]",
            "[1, 1]",
            "[[1]]",
            "{}",
            "{ kind = 'linear' }",
            "true",
        ];
        let (mut taken, mut refused) = (0, 0);
        for text in ["", "[data]\nname = 'diamond'"] {
            let full = parsed(text).unwrap().to_toml().unwrap();
            let lines: Vec<&str> = full.lines().collect();
            for (n, line) in lines.iter().enumerate() {
                let Some((name, _)) = line.split_once(" = ") else {
                    continue;
                };
                for value in values {
                    let changed = format!("{name} = {value}");
                    let all: Vec<&str> = lines
                        .iter()
                        .enumerate()
                        .map(|(i, l)| if i == n { changed.as_str() } else { l })
                        .collect();
                    match parsed(&all.join("\n")) {
                        Ok(c) => {
                            taken += 1;
                            if c.data.name == "diamond" {
                                // a step is done, or refused by what a process gives at its times
                                let plan = c.plan(c.load().unwrap().source).unwrap();
                                let state = State::new(&plan.graph, c.seed);
                                let _ = Trainer::new(plan, state, 1).unwrap().step();
                            }
                        }
                        Err(e) => {
                            assert!(!e.to_string().trim().contains('\n'), "{changed}: {e}");
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert!(taken > 100 && refused > 1000, "{taken} {refused}");
    }
}
