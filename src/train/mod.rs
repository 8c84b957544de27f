//! Training of networks by score matching, and what they are as scores.
//!
//! | file | what |
//! |---|---|
//! | [`step`](mod@step) | one step of training: rows shared out among threads, the same bits for any number of them |
//! | [`source`] | where training data come from, sample by sample |
//! | [`model`] | a trained network as a score with a divergence |

pub mod model;
pub mod source;
pub mod step;

pub use model::Model;
pub use source::Source;
pub use step::{Report, State, Trainer};
