//! Test vectors: inputs and expected outputs, and our own accuracy against high-precision tables.
//!
//! | file | what |
//! |---|---|
//! | [`generate`] | inputs and expected outputs |
//! | [`pytest`] | a Python test file with frozen vectors |
//! | [`eval`] | the calculator |
//! | [`accuracy`] | our own values against high-precision tables |

pub mod accuracy;
pub mod eval;
pub mod generate;
pub mod pytest;
