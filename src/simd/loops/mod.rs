//! The network's loops, each written once for f32 and f64 and for every instruction set.
//!
//! | file | what |
//! |---|---|
//! | `float` | f32 and f64 alike: `e^x`, blocks of 16, how a file's loops are compiled |
//! | [`conv`] | convolutions and their gradients |
//! | [`winograd`] | the 3 x 3 ones by Winograd's way |
//! | `strip` | its matrix products |
//! | [`norm`] | group norms with SiLU |
//! | [`matrix`] | products and softmax, for attention |
//! | [`pointwise`] | SiLU, sums, scales, Adam, up- and downsampling |

pub mod conv;
mod float;
pub mod matrix;
pub mod norm;
pub mod pointwise;
mod strip;
#[cfg(test)]
mod tensors;
pub mod winograd;

pub use float::Float;

/// f32 or f64, with all loops of a network.
pub trait Real:
    conv::Convolutions
    + strip::Strips
    + winograd::Winograds
    + norm::Norms
    + matrix::Products
    + pointwise::Pointwise
{
}

impl Real for f32 {}
impl Real for f64 {}
