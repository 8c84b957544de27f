//! Test vectors and cross-checks: other people's numbers against ours.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | a process as files describe it |
//! | [`predict`] | what each quantity should be, by the generic route |
//! | [`reverse`] | the same for steps, scores, losses and likelihoods |
//! | [`answers`] | reading a manifest and its arrays |
//! | [`compare`] | the verdict, by tolerance class |
//! | [`diagnose`] | the likely mistakes |
//! | [`generate`] | inputs and expected outputs |
//! | [`eval`] | the calculator |
//! | [`plot`] | plots as SVG or PNG |
//! | [`accuracy`] | our own values against high-precision tables |

pub mod accuracy;
pub mod answers;
pub mod compare;
pub mod config;
pub mod diagnose;
pub mod eval;
pub mod generate;
pub mod plot;
pub mod predict;
pub mod reverse;
