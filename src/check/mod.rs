//! Cross-checks: other people's numbers against the truth.
//!
//! | file | what |
//! |---|---|
//! | [`answers`] | reading a manifest and its arrays |
//! | [`compare`] | the verdict |
//! | [`diagnose`] | the likely mistakes |

pub mod answers;
pub mod compare;
pub mod diagnose;
