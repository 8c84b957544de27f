//! The library's tests, one program: a module per subject. What they share of the process is only
//! what `support` hands out in turn.

#[path = "../support/mod.rs"]
mod support;

mod batch;
mod bits;
mod initial_law;
mod likelihood;
mod log_det;
mod losses;
mod mixture_orders;
mod oracles;
mod orders;
mod paper;
mod properties;
mod refusals;
mod sampler;
mod sampler_errors;
mod score;
mod simd;
mod survivors;
mod survivors_samplers;

#[cfg(feature = "nn")]
mod nn;
#[cfg(feature = "nn")]
mod nn_torch;

#[cfg(feature = "cli")]
mod audit;
#[cfg(feature = "cli")]
mod cases;
#[cfg(feature = "cli")]
mod consequence;
#[cfg(feature = "cli")]
mod diagnosis;
#[cfg(feature = "cli")]
mod expressed;
#[cfg(feature = "cli")]
mod files;
#[cfg(feature = "cli")]
mod images;
#[cfg(feature = "cli")]
mod known;
#[cfg(feature = "cli")]
mod mistakes;
#[cfg(feature = "cli")]
mod named;
#[cfg(feature = "cli")]
mod peers;
#[cfg(feature = "cli")]
mod reproduce;
#[cfg(feature = "cli")]
mod simulate;
#[cfg(feature = "cli")]
mod team;
#[cfg(feature = "cli")]
mod train_model;
#[cfg(feature = "cli")]
mod vectors;
