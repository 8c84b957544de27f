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

pub use any::{AnyFactors, AnyLaw, AnyMoments, AnyProcess, erase};
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
pub use linear::LinearSde;
pub(crate) use moments::near_one;
pub use moments::{Factors, Moments};
pub use psld::Psld;
pub use registry::{CUSTOM, REGISTRY, default_entry, entry};
pub use reversed::Reversed;
pub use sub_vp::SubVp;
pub use ve::Ve;
pub use vp::Vp;
