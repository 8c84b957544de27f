//! Networks: layers with explicit forward and backward passes over the loops of
//! [`simd`](crate::simd).
//!
//! A network is a fixed list of layers over tensors ([`Graph`]): no tape. Shapes are checked when
//! it is built; a [`Session`] owns all buffers for a number of rows, and allocates nothing after
//! that. One session runs on one thread; threads share out the rows of a batch. All parameters are
//! one slice, so that optimisers and averages are loops over slices; [`Layout`] knows their names
//! and shapes, which are those of the same network in PyTorch.
//!
//! | file | what |
//! |---|---|
//! | [`params`] | names, shapes and places of parameters; initial values |
//! | [`graph`] | tensors, layers, sessions |
//! | [`builder`] | networks put together |
//! | `conv`, `norm`, `attention`, `embed` | the layers |
//! | [`unet`], [`mlp`] | the models |
//! | [`adam`] | Adam, warm-up, clipping, averages of weights |
//!
//! Everything is generic over f32, in which networks run, and f64, in which their gradients are
//! held against central differences.
//!
//! # Example
//! ```
//! use cld_sgm::nn::{Mlp, Session};
//! use std::sync::Arc;
//!
//! // two numbers in, one out, and the time; f64, as for checks of gradients
//! let net = Mlp { inputs: 2, outputs: 1, width: 32, depth: 2, residual: false };
//! let graph = Arc::new(net.build::<f64>()?);
//! let p = graph.layout().start::<f64>(0); // parameters, seed 0
//! let mut session = Session::new(graph, 3)?; // up to three rows
//! let mut y = [0.0; 3];
//! session.forward(&p, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &[0.1, 0.5, 0.9], &mut y);
//! assert!(y.iter().all(|y| y.is_finite()));
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod adam;
mod attention;
pub mod builder;
mod conv;
mod embed;
pub mod graph;
pub mod mlp;
mod norm;
pub mod params;
pub mod unet;

pub use builder::{Builder, With};
pub use graph::{Graph, Session};
pub use mlp::Mlp;
pub use params::Layout;
pub use unet::UNet;
