//! The audit: claims, each with independent evidence, a tolerance with its reason, and known power.
//!
//! | file | what |
//! |---|---|
//! | [`claim`] | a claim, its method, its evidence |
//! | [`cases`] | every process, schedule, damping and objective |
//! | [`stats`] | laws of the statistics, Bonferroni's bound, power |
//! | [`noise_free`] | claims by doubling, and by integrating the moment equations |
//! | [`options`] | what is asked |
//! | [`slopes`] | an order of convergence as a claim |
//! | [`orders`] | convergence orders of the schemes, from their exact laws |
//! | [`simulation`] | claims by simulating the SDE |
//! | [`check`] | claims as data, and what they are judged by: differences or standard errors |
//! | `table` | claims that are the rows of a table |
//! | [`claims`] | families of claims: samplers, scores, losses, likelihoods, kernels, data |
//! | [`run`] | runs claims, whole or in shards |
//! | [`made`] | the line by which a run can be made again |
//! | [`plants`] | an error planted in every claim: what is caught, what is missed |
//! | [`shards`] | shards as files: read whole or refused, put together |
//! | [`formulas`] | every formula: the table that the page and docs/reference/formulas.md are made from |
//! | `cards` | a card for each formula on the page |
//! | [`report`] | text, JSON, HTML |

mod cards;
pub mod cases;
pub mod check;
pub mod claim;
pub mod claims;
pub mod formulas;
pub mod made;
pub mod noise_free;
pub mod options;
pub mod orders;
pub mod plants;
#[cfg(test)]
mod quick;
pub mod report;
pub mod run;
pub mod shards;
pub mod simulation;
pub mod slopes;
pub mod stats;
mod table;

pub use claim::{Claim, Evidence, Method, Plant};
pub use made::Made;
pub use options::Options;
pub use plants::Plants;
pub use run::Audit;
pub use shards::Shard;
