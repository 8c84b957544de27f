//! What a trained network and its samples are worth.
//!
//! | file | what |
//! |---|---|
//! | [`data`] | data to hold samples against, and distances to them |
//! | [`trained`] | a checkpoint as a score |
//! | [`draw`] | samples by any sampler |
//! | [`judge`] | distances by samplers and steps; of samples in a file |
//! | [`bits`] | likelihoods |
//! | [`hardness`] | slopes of what a network puts out, and how far its score is from a normal's |

pub mod bits;
pub mod data;
pub mod draw;
pub mod hardness;
pub mod judge;
pub mod trained;

pub use data::{Data, Distance};
pub use trained::Trained;
