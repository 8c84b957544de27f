//! Families of claims about kernels, scores, losses, samplers, likelihoods, data and networks: a
//! file each, and a line in [`parts`].

pub mod adaptive;
pub mod evidence;
pub mod kernel;
pub mod likelihood;
pub mod limits;
pub mod loss;
pub mod measures;
pub mod nn;
pub mod recorded;
pub mod sampler;
pub mod score;

use super::check::Part;
use super::claim::Claim;
use super::formulas;
use crate::error::Result;

/// Every family.
const FAMILIES: &[fn() -> Result<Vec<Part>>] = &[
    sampler::parts,
    loss::parts,
    likelihood::parts,
    limits::parts,
    score::parts,
    nn::parts,
    kernel::parts,
    evidence::parts,
    adaptive::parts,
    measures::parts,
    recorded::parts,
];

/// Every part of every family.
///
/// # Errors
/// Passed on from the builders; the lists are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut all = vec![];
    for family in FAMILIES {
        all.extend(family()?.into_iter().map(of_its_sampler));
    }
    Ok(all)
}

/// The formula of a sampler, by its name: that of the same name, or of the name without its variant
/// (`gddim2`, `conjugate-lambda`).
fn formula_of_sampler(name: &str) -> Option<&'static str> {
    let root = name.split('-').next().unwrap_or(name);
    [
        name,
        name.trim_end_matches(|c: char| c.is_ascii_digit()),
        root,
    ]
    .iter()
    .find_map(|n| formulas::of(&format!("sampler.{}", n.replace('-', "_"))))
    .map(|f| f.id)
}

/// Orders and samples of a sampler are about its own formula, and not about the reading of its law.
fn of_its_sampler(mut part: Part) -> Part {
    let name = part.case.strip_prefix("sampler.");
    let Some(formula) = name.and_then(|n| formula_of_sampler(n.split('.').next()?)) else {
        return part;
    };
    let set = move |c: &mut Claim| {
        let entry = c.id.split('/').nth(1).unwrap_or("");
        if c.formula == "sampler.law" && !entry.starts_with("run.") {
            c.formula = formula.into();
        }
    };
    part.claims.iter_mut().for_each(set);
    let run = part.run;
    part.run = Box::new(move |seed| {
        let mut checks = run(seed)?;
        checks.iter_mut().for_each(|c| set(c.claim_mut()));
        Ok(checks)
    });
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a sampler whose orders are about no formula, or about another sampler's.
    #[test]
    fn samplers_have_their_formulas() {
        for e in crate::sampler::REGISTRY {
            let formula = formula_of_sampler(e.name);
            assert!(formula.is_some(), "{}", e.name);
        }
        for (name, formula) in [
            ("gddim3", "sampler.gddim"),
            ("conjugate-lambda", "sampler.conjugate"),
            ("sscs2", "sampler.sscs2"),
            ("sscs2-exponential", "sampler.sscs2_exponential"),
            ("ubu2", "sampler.ubu"),
        ] {
            assert_eq!(formula_of_sampler(name), Some(formula));
        }
    }
}
