#![deny(unsafe_code)]
pub mod dd;
pub mod error;
pub mod kernel;
pub mod process;
pub mod schedule;
pub mod simd;
pub mod small;
pub mod special;
#[cfg(feature = "cli")]
pub mod vectors;
pub use error::{Error, Result};
