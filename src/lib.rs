//! The reference for **Critically-Damped Langevin Diffusion** (CLD; Dockhorn, Vahdat, Kreis, ICLR
//! 2022, arXiv 2112.07068) and its relatives: exact transition kernels that do not cancel, test
//! vectors, and cross-checks of other implementations.
//!
//! # One idea
//! Every diffusion here acts on each data coordinate alone, as a small linear SDE under a scalar
//! change of time,
//!
//! ```text
//! du = F u b(t) dt + G sqrt(b(t)) dW,   u in R^K,   B(s,t) = integral of b over `[s, t]`
//! u_t | u_s ~ N(Phi(tau) u_s, Q(tau)),  tau = B(s,t)
//! ```
//!
//! K = 1 for VP, VE and sub-VP, 2 for CLD and PSLD, n for order-n Langevin. `Phi` and `Q` are
//! written once per process, as accurately as f64 allows; kernels, Cholesky factors, `ell_t`,
//! densities, scores and SSCS's analytic step are read off them.
//!
//! ```
//! use cld_sgm::{Cld, Kernel, Objective, Schedule};
//!
//! // the paper's setting at t = 1e-5, where the printed formulas have no correct digit
//! let kernel = Kernel::new(&Cld::new(0.25)?, &Schedule::constant(4.0)?, Objective::hsm(0.04)?, 1e-5)?;
//! assert_eq!(kernel.cov()[(0, 0)], 2.566416280285346e-10);
//! let score = kernel.score([0.3, -0.1], [0.3, 0.0]); // of u_t = (x, v), given x_0
//! assert!(score.iter().all(|s| s.is_finite()));
//! # Ok::<(), cld_sgm::Error>(())
//! ```
//!
//! # Conventions
//! | what | here |
//! |---|---|
//! | time | t = 0 data, t = 1 prior; samplers run backward |
//! | channels | x, v, then further ones; v is the momentum-like variable: `dx = v/M b dt`, prior `v ~ N(0, M)` |
//! | names | `mass` M, `friction` Gamma, `gamma` (initial velocity variance is `gamma M`), `beta` is `b`, `tau` an integral of it |
//! | paper's defaults | M = 1/4, Gamma = 1, beta = 4, gamma = 0.04 |
//! | score | gradient of the log-density; eps-prediction: score = -`ell_t` eps |
//! | arrays | row-major (batch, dim), one per channel; in files (batch, K dim) |
//!
//! # Floors
//! A file imports only from floors above its own line (`tests/trace` checks it).
//!
//! | floor | what |
//! |---|---|
//! | [`error`] | the one error type: field, value, what is allowed |
//! | `worst` | the worst of errors: NaN is worse than any number, nothing is no pass |
//! | [`team`] | several processes that work together (feature `cli`) |
//! | `simd` | vectors of floats, instruction sets, normals and paths many at a time |
//! | `nn` | networks: layers, U-Net, perceptrons, Adam (feature `nn`) |
//! | `dd` | double-word arithmetic, 106 bits |
//! | `small` | matrices on the stack, up to 6 by 6 |
//! | `special` | `e^-x`, incomplete gammas, without cancellation |
//! | [`schedule`] | rates b(t) and their integrals |
//! | [`process`] | one file per diffusion; the generic route by doubling |
//! | [`kernel`] | perturbation kernels, densities, scores, batches |
//! | [`diffusion`] | a process under a schedule, as scores and samplers see it |
//! | `simulate` | schemes, their exact laws, paths on all cores (feature `cli`) |
//! | [`data`] | Gaussian mixtures, toys, sets of images |
//! | [`metrics`] | Wasserstein, Bures, energy, MMD, modes: distances with standard errors |
//! | [`score`] | exact scores, parametrisations |
//! | [`loss`] | denoising and hybrid score matching, weightings, random times |
//! | [`sampler`] | time grids, steppers, their exact laws, the driver |
//! | [`likelihood`] | by the flow, its bounds, bits per dimension |
//! | `files` | arrays, JSON and texts with limits; files written whole or not at all (feature `cli`) |
//! | `plot` | pictures of samples, plots of pages (feature `cli`) |
//! | `truth` | what each quantity should be, by the generic route in double words (feature `cli`) |
//! | `check` | answers, verdicts, diagnoses (feature `cli`) |
//! | `vectors` | test vectors, accuracy tables (feature `cli`) |
//! | `train` | training of networks, and these as scores (feature `cli`) |
//! | `evaluate` | trained networks and samples against the data (feature `cli`) |
//! | `reproduce` | the paper's experiments, and which claims hold (feature `cli`) |
//! | `audit` | claims and their evidence (feature `cli`) |
//!
//! `docs/reference/formulas.md` traces each equation to its function and tests;
//! `docs/reference/accuracy.md` has the measured errors.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod check;
pub mod data;
pub mod diffusion;
pub mod error;
#[doc(hidden)]
pub mod internal;
pub mod kernel;
pub mod likelihood;
pub mod loss;
pub mod metrics;
#[cfg(feature = "nn")]
pub mod nn;
pub mod process;
pub mod sampler;
pub mod schedule;
pub mod score;
#[cfg(feature = "cli")]
pub mod team;
#[cfg(feature = "cli")]
pub mod train;

#[cfg(feature = "cli")]
use internal::{audit, evaluate, files, plot, simulate, truth};
use internal::{dd, simd, small, special, worst};

pub use diffusion::Diffusion;
pub use error::{Error, Result};
pub use kernel::{Kernel, Objective, perturb_batch};
pub use process::{
    Cld, CldDamped, CldPosition, Custom, Langevin, LinearSde, Moments, Psld, Reversed, SubVp, Ve,
    Vp,
};
pub use schedule::{Schedule, Span};
pub use small::{Mat, Square};

/// The examples of the README and of `docs/`, compiled and run as tests.
#[cfg(doctest)]
mod examples {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/guide/extending.md")]
    mod extending {}
    #[doc = include_str!("../docs/guide/cross-check.md")]
    mod cross_check {}
}
