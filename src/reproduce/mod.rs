//! The paper's experiments at the size of a CPU: what is trained and measured, and whether each
//! claim holds.
//!
//! An experiment is a TOML file below `docs/experiments`: *arms* (what is compared) on *data*, the
//! same for every seed; *measures* of what was trained; *claims* about the figures. An arm on one
//! set of data with one seed is a [`Job`](plan::Job), which gives one [`Record`](record::Record);
//! claims are judged by the differences between arms of the same seed ([`verdict`]).
//!
//! | file | what |
//! |---|---|
//! | [`verdict`] | paired differences, Student's t, how many seeds would tell |
//! | [`experiment`] | the files |
//! | [`record`] | what a job found, on disk |
//! | [`plan`] | jobs: seeds, sizes, order, shards |
//! | [`measure`] | likelihoods, distances, gradients, how hard the score is |
//! | [`work`] | one job: trains, measures, can be stopped at any time |
//! | [`findings`] | figures and verdicts of all records |
//! | [`page`] | the page: Markdown with plots, or HTML |

pub mod experiment;
pub mod findings;
pub mod measure;
pub mod page;
pub mod plan;
pub mod record;
pub mod verdict;
pub mod work;
