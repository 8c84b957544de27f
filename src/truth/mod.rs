//! What each quantity should be: the truth side of every comparison, by the generic route in double words.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | a process as files describe it |
//! | [`reading`] | the conventions by which an implementation may be read |
//! | [`predict`] | kernels, processes, priors, schedules |
//! | [`reverse`] | steps, scores, losses and likelihoods |

pub mod config;
pub mod predict;
pub mod reading;
pub mod reverse;
