//! Families of claims about scores, losses, samplers, likelihoods and networks: a file each, and a
//! line in [`parts`].

pub mod likelihood;
pub mod limits;
pub mod loss;
pub mod nn;
pub mod sampler;
pub mod score;

use super::check::Part;
use crate::error::Result;

/// Every family.
const FAMILIES: &[fn() -> Result<Vec<Part>>] = &[
    sampler::parts,
    loss::parts,
    likelihood::parts,
    limits::parts,
    score::parts,
    nn::parts,
];

/// Every part of every family.
///
/// # Errors
/// Passed on from the builders; the lists are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut all = vec![];
    for family in FAMILIES {
        all.extend(family()?);
    }
    Ok(all)
}
