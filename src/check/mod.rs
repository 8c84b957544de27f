//! Cross-checks: other people's numbers against the truth.
//!
//! | file | what |
//! |---|---|
//! | [`answers`] | reading a manifest and its arrays |
//! | [`compare`] | the verdict |
//! | [`mistakes`] | the table of mistakes |
//! | [`diagnose`] | which of them explain the answers |

pub mod answers;
pub mod compare;
pub mod diagnose;
pub mod mistakes;
