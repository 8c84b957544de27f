//!
//! | file | what |
//! |---|---|
//! | [`schemes`] | one step of each scheme, with its noise as an argument |
//! | [`law`] | the exact law of a scheme on a linear SDE, read off the step itself |
//! | [`streams`] | counter-based random numbers: any draw of any path, at once |
//! | [`moments`] | mergeable mean and covariance |
//! | [`paths`] | batches of paths on all cores, the same bits for any number of threads |
//! | [`multilevel`] | multilevel Monte Carlo |

pub mod law;
pub mod moments;
pub mod multilevel;
pub mod paths;
pub mod schemes;
pub mod streams;

pub use law::{AffineStep, SchemeLaw, affine_step, scheme_law};
pub use moments::Moments;
pub use paths::{PathFloat, Plan, simulate_any};
pub use schemes::{Forward, Order, Scheme, Sde};
