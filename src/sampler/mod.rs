//! Samplers: steppers that take the prior at t = 1 backward to the data, each with its order, and
//! the exact law of what runs.
//!
//! The reverse SDE, over `dt` of backward time with `s` the score of the noised channels at t
//! (Source: CLD sec. 3.1; Anderson 1982):
//!
//! ```text
//! du = (-F u + G G^T s(u, t)) b dt + sqrt(b) G dW        probability flow: half the score, no noise
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`grid`] | time grids, from the prior down to the data |
//! | [`combine`] | the one elementwise loop that every stepper is made of |
//! | [`adaptive`] | steps that the solver chooses; no grid, its own registry |
//! | [`law`] | the exact law of a run, read off the steppers' own steps |
//! | `compare` | error against evaluations of the score, every sampler (feature `cli`) |
//! | `driver` | batches on all cores, the same bits for any number of threads (feature `cli`) |
//! | [`denoise`] | the last step without noise |
//! | `stepper` | what a stepper is: [`Stepper`], [`Order`], [`Memory`] |
//! | the others | one stepper each; a new one is a file and a line in `registry.rs` |
//!
//! # Example
//! ```
//! use cld_sgm::Diffusion;
//! use cld_sgm::sampler::{Grid, grid::Spacing, entry, law::run_law};
//! use cld_sgm::score::Gaussian;
//!
//! let d = Diffusion::paper()?;
//! let grid = Grid::spaced(Spacing::Quadratic, &d, 50, 1e-3)?;
//! let sscs = entry("sscs")?.build(&d, &grid)?;
//!
//! // exact score of data N(0, 1): the law of 50 steps in closed form, nothing is drawn
//! let score = Gaussian::new(d.clone(), 0.0, 1.0)?;
//! let law = run_law(&[(&*sscs, grid.steps())], d.channels(), &score)?;
//! let (mean, cov) = law.moments(&[0.0; 2], &d.prior());
//! assert_eq!(mean[0], 0.0);
//! assert!((cov[(0, 0)] - 1.0).abs() < 0.05, "{}", cov[(0, 0)]);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod adaptive;
pub mod combine;
#[cfg(feature = "cli")]
pub mod compare;
pub mod conjugate;
pub mod denoise;
#[cfg(feature = "cli")]
pub mod driver;
mod em;
pub mod flow;
mod gddim;
pub mod grid;
mod kick;
pub mod law;
mod pc;
mod plan;
mod quicsort;
mod registry;
mod splitting;
mod sscs;
pub mod sscs2;
mod stepper;
mod ubu;

pub use combine::View;
pub use denoise::Denoise;
pub use grid::Grid;
pub use pc::PredictorCorrector;
pub use registry::{ADAPTIVE, AdaptiveEntry, DEFAULT, REGISTRY, SamplerEntry, entry};
pub use stepper::{Memory, Order, Stepper};
pub(crate) use stepper::{evaluate, unfit};
