//! Diffusions: each is a small linear SDE per data coordinate under a change of time,
//! `du = F u b(t) dt + G sqrt(b(t)) dW`, with an exact Gaussian transition.
//!
//! One file per diffusion, with its entry in the registry. A file that gives only `drift`, `noise`
//! and `stationary` works at once: the transition then comes from [`doubling`]. A closed form,
//! where there is one, is an optimisation that the same doubling checks.
//!
//! | file | what |
//! |---|---|
//! | `moments` | mean, covariance, factors: what is known of a transition |
//! | `doubling` | the generic route, in double words |
//! | `linear` | [`LinearSde`]: what a diffusion says, and what follows from it |
//! | `reversed` | the part of SSCS that needs no network |
//! | `any`, `entry` | a process chosen at run time; what a diffusion says of itself |
//! | `cld`, `cld_damped`, `sscs`, ... | one diffusion each |
//! | `registry` | their list |
//!
//! # Example
//! ```
//! use cld_sgm::{Cld, CldDamped, LinearSde, Span};
//!
//! // mean matrix and covariance over an interval of the clock, however short
//! let over = Span::from_zero(1e-9)?;
//! let m = Cld::new(0.25)?.moments(over, 0.0);
//! assert!((m.cov[(1, 1)] / 2e-9 - 1.0).abs() < 1e-8); // 2 Gamma tau, Gamma = 1
//!
//! // critical damping is Gamma^2 = 4 M: the two files agree there
//! let damped = CldDamped::new(0.25, 1.0)?.moments(over, 0.0);
//! assert!((damped.cov[(0, 0)] / m.cov[(0, 0)] - 1.0).abs() < 1e-14);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

mod any;
#[cfg(test)]
mod certificate;
mod cld;
mod cld_damped;
mod cld_position;
mod custom;
mod doubling;
mod entry;
mod langevin;
mod linear;
mod moments;
#[cfg(test)]
mod proof;
mod psld;
mod registry;
mod reversed;
mod sscs;
mod sub_vp;
mod ve;
mod vp;

pub use any::{AnyLaw, AnyMoments, AnyProcess, erase};
pub use cld::Cld;
pub use cld_damped::CldDamped;
pub use cld_position::CldPosition;
pub use custom::{Custom, custom};
pub use doubling::{Law, doubling};
pub use entry::{
    Accuracy, Audited, Bound, Chain, Example, Given, Params, ProcessEntry, Rate, Under, Value,
    Vectors,
};
pub use langevin::Langevin;
pub(crate) use linear::Fast;
pub use linear::LinearSde;
pub(crate) use moments::near_one;
pub use moments::{AnyFactors, Factors, Moments};
pub use psld::Psld;
pub use registry::{CUSTOM, REGISTRY, default_entry, entry};
pub use reversed::Reversed;
pub use sub_vp::SubVp;
pub use ve::Ve;
pub use vp::Vp;
