//! Files in and out: nothing a file declares is believed before it is read, and nothing is written
//! by halves.
//!
//! | file | what |
//! |---|---|
//! | [`limits`] | how much may be held in memory; texts |
//! | [`archive`] | arrays of an `.npz` file, each read when it is asked for |
//! | [`arrays`] | arrays and their precision; `.npy` in and out |
//! | [`json`] | JSON without names given twice, in and out |
//! | [`toml_text`] | TOML, refusals with their line |
//! | [`decimal`] | decimal strings to double words: high-precision tables |
//! | [`write`](mod@write) | files written whole or not at all |
//! | [`paths`] | a command's inputs and outputs: none takes another's place |
//! | [`lock`] | one run at a time in a folder |
//! | [`machine`] | the machine at hand, for records |

pub mod archive;
pub mod arrays;
pub mod decimal;
pub mod json;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod paths;
pub mod toml_text;
pub mod write;

pub use archive::{Archive, read_npz};
pub use arrays::{Array, Precision, write_npz};
pub use json::{parse_json, write_json};
pub use limits::{Limits, read_text};
pub use lock::Lock;
pub use paths::Paths;
pub use toml_text::parse_toml;
pub use write::write_whole;

use crate::error::Error;

fn broken(file: &str, place: &str, problem: impl ToString) -> Error {
    Error::Format {
        file: file.to_string(),
        place: place.to_string(),
        problem: problem.to_string(),
    }
}
