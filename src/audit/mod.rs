//! The audit: claims, each with independent evidence, a tolerance with its reason, and known power.
//!
//! | file | what |
//! |---|---|
//! | [`claim`] | a claim, its method, its evidence |
//! | [`cases`] | every process, schedule, damping and objective |
//! | [`stats`] | laws of the statistics, Bonferroni's bound, power |
//! | [`noise_free`] | claims by doubling, and by integrating the moment equations |
//! | [`orders`] | convergence orders of the schemes, from their exact laws |
//! | [`simulation`] | claims by simulating the SDE |
//! | [`check`] | claims with their evidence at hand, judged by differences or standard errors |
//! | [`claims`] | families of claims: samplers, scores, losses, likelihoods |
//! | [`run`] | runs claims, whole or in shards |
//! | [`report`] | text, JSON, HTML |

pub mod cases;
pub mod check;
pub mod claim;
pub mod claims;
pub mod noise_free;
pub mod orders;
pub mod report;
pub mod run;
pub mod simulation;
pub mod stats;

pub use claim::{Claim, Evidence, Method, Plant};
pub use run::{Audit, Options, Shard};
