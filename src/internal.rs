//! What the command `cld`, the Python package and the tests need besides the public modules.
//!
//! Nothing here is promised: names and signatures change with any version.

#[cfg(feature = "cli")]
#[path = "audit/mod.rs"]
pub mod audit;
#[path = "dd.rs"]
pub mod dd;
#[cfg(feature = "cli")]
#[path = "evaluate/mod.rs"]
pub mod evaluate;
#[cfg(feature = "cli")]
#[path = "files/mod.rs"]
pub mod files;
#[cfg(feature = "cli")]
#[path = "plot/mod.rs"]
pub mod plot;
#[cfg(feature = "cli")]
#[path = "reproduce/mod.rs"]
pub mod reproduce;
#[path = "simd/mod.rs"]
pub mod simd;
#[cfg(feature = "cli")]
#[path = "simulate/mod.rs"]
pub mod simulate;
#[path = "small.rs"]
pub mod small;
#[path = "special/mod.rs"]
pub mod special;
#[cfg(feature = "cli")]
#[path = "truth/mod.rs"]
pub mod truth;
#[cfg(feature = "cli")]
#[path = "vectors/mod.rs"]
pub mod vectors;
#[path = "worst.rs"]
pub mod worst;
