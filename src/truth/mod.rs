//! What each quantity should be: the truth side of every comparison, by the generic route in double
//! words.
//!
//! One file per family of quantities, in it one row per quantity ([`quantity::Quantity`]: inputs,
//! outputs, what it is made from, the function) and the functions that compute them.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | a process as files describe it |
//! | [`reading`] | the conventions by which an implementation may be read |
//! | `cell`, `linear` | values with what their error is measured against; small matrices |
//! | `model` | a process under a schedule, and its law at every time |
//! | [`reader`] | what an entry gives: arrays and settings |
//! | [`quantity`] | what a quantity's row says |
//! | `schedule`, `process`, `prior`, `kernel` | the families of one time |
//! | `score`, `loss`, `likelihood` | the families of scores |
//! | [`reverse`], `sampler`, `discrete` | the reverse SDE, samplers of it, and the discrete chains' steps |
//! | `printed` | the law of a whole run by the formulas as printed |
//! | `flow` | the probability flow of a Gaussian law, and gDDIM's coefficients |
//! | `simulate`, `grid` | forward steps, time grids |
//! | [`predict`] | every quantity, and the truth for any of them |

mod cell;
pub mod config;
mod discrete;
mod flow;
mod grid;
pub(crate) mod kernel;
mod likelihood;
pub(crate) mod linear;
mod loss;
mod model;
pub mod predict;
pub(crate) mod printed;
mod prior;
mod process;
pub mod quantity;
pub mod reader;
pub mod reading;
pub mod reverse;
mod sampler;
mod schedule;
mod score;
mod simulate;
mod units;
