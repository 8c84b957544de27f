//! Test vectors: inputs and expected outputs, and our own accuracy against high-precision tables.
//!
//! | file | what |
//! |---|---|
//! | [`generate`] | inputs and expected outputs |
//! | [`eval`] | the calculator |
//! | [`accuracy`] | our own values against high-precision tables |

pub mod accuracy;
pub mod eval;
pub mod generate;
