//! Test vectors and cross-checks: other people's numbers against ours.

pub mod arrays;
pub mod config;
pub mod decimal;
pub mod predict;
