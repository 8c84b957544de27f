//! Cross-checks: other people's numbers against the truth.
//!
//! | file | what |
//! |---|---|
//! | [`answers`] | reading a manifest and its arrays |
//! | [`compare`] | every output against the truth |
//! | [`judge`](mod@judge) | the verdict on a file, with the causes |
//! | [`mistakes`] | the table of mistakes |
//! | [`diagnose`] | which of them explain the answers |
//! | [`consequence`] | what is off because something else is |
//! | [`words`] | the report for a terminal |
//! | [`page`] | the report as a page |
//! | [`row`] | what is right in one row |
//!
//! # Example
//! ```
//! use cld_sgm::check::{Class, Limits, judge, read_answers};
//! use std::path::Path;
//!
//! // recorded outputs of public code, beside the manifest that says what they are
//! # std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
//! let file = Path::new("fixtures/peers/diffrax.json");
//! let answers = read_answers(file, None, &Limits::default())?;
//! let report = judge(&answers, &[Class::F32], &mut |_done, _total| ())?;
//! for line in &report.lines {
//!     println!("{} {}: {}", line.quantity, line.output, line.class.name());
//! }
//! assert!(!report.lines.is_empty());
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod answers;
pub mod compare;
pub mod consequence;
pub mod diagnose;
pub mod judge;
pub mod mistakes;
mod numbers;
#[doc(hidden)]
pub mod page;
#[doc(hidden)]
pub mod row;
#[doc(hidden)]
pub mod words;

pub use crate::files::{Array, Limits, Precision};
pub use crate::truth::config::Config;
pub use answers::{Answers, read_answers};
pub use compare::Class;
pub use judge::{Line, Report, judge, judge_from};
