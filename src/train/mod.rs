//! Training of networks by score matching, and what they are as scores.
//!
//! | file | what |
//! |---|---|
//! | [`step`](mod@step) | one step of training: rows shared out among threads, the same bits for any number of them |
//! | [`source`] | where training data come from, sample by sample |
//! | [`profile`] | the machine's limits, and where the time goes |
//! | [`record`] | benchmarks as records, two side by side |
//! | [`model`] | a trained network as a score with a divergence |
//! | [`config`] | all that a run is made of, as a TOML file |
//! | [`checkpoint`] | a run in a file |
//! | `parts` | the parts of a batch, by threads and by processes |
//! | [`follow`](mod@follow) | those that work for the first |
//! | [`run`](mod@run) | a run in a folder: begun, stopped, taken up |
//!
//! # Example
//! ```
//! use cld_sgm::train::{Config, TrainingRun};
//! use std::sync::atomic::AtomicBool;
//!
//! // a Swiss roll, a small net, five steps; what is absent has its default
//! let toml = "seed = 0\nsteps = 5\n[data]\nname = \"swissroll\"\n[model]\nkind = \"mlp\"\nwidth = 32";
//! let config = Config::from_toml(toml, "inline")?;
//! let folder = tempfile::tempdir().unwrap();
//! let mut run = TrainingRun::start(config, &folder.path().join("run"), 1, false)?;
//! run.go(&AtomicBool::new(false), &mut |step, _| assert!(step.loss.is_finite()))?;
//! assert_eq!(run.state().step, 5);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod checkpoint;
pub mod config;
pub mod follow;
pub mod model;
mod parts;
#[doc(hidden)]
pub mod profile;
#[doc(hidden)]
pub mod record;
pub mod run;
pub mod source;
pub mod step;

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use follow::follow;
pub use model::Model;
pub use run::TrainingRun;
pub use source::Source;
pub use step::{GradientNoise, State, StepReport, Trainer};
