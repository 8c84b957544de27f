//! Cross-checks: other people's numbers against the truth.
//!
//! | file | what |
//! |---|---|
//! | [`answers`] | reading a manifest and its arrays |
//! | [`compare`] | the verdict |
//! | [`mistakes`] | the table of mistakes |
//! | [`diagnose`] | which of them explain the answers |
//! | [`consequence`] | what is off because something else is |
//! | [`words`] | the report for a terminal |
//! | [`page`] | the report as a page |
//! | [`row`] | what is right in one row |

pub mod answers;
pub mod compare;
pub mod consequence;
pub mod diagnose;
pub mod mistakes;
pub mod page;
pub mod row;
pub mod words;
