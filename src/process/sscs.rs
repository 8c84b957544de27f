//! The analytic part of SSCS in the registry, as a process of its own.

use super::any::{AnyProcess, erase};
use super::cld::Cld;
use super::cld_damped::{CldDamped, damped, friction, mass_inverted};
use super::entry::Given::{Number, Word};
use super::entry::{Accuracy, Audited, Bound, Params, ProcessEntry, Rate, Under, Vectors};
use super::reversed::{NAME, Reversed};
use crate::error::Result;

fn build(p: &Params) -> Result<Box<dyn AnyProcess>> {
    let mass = p.number("mass")?;
    match friction(p)? {
        Some(g) => erase(Reversed::new(CldDamped::new(mass, g)?)?),
        None => erase(Reversed::new(Cld::new(mass)?)?),
    }
}

/// CLD's reversed part, at any damping.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: NAME,
    about: "reversed analytic part of SSCS (Dockhorn et al. 2022)",
    params: &["mass", "Gamma", "damping", "gamma"],
    gamma: Some("gamma"),
    defaults: &[("gamma", 0.04)],
    rate: Rate::Constant(4.0),
    parametrisation: "mixed",
    accuracy: &[
        Accuracy {
            family: "sscs-analytic, critical",
            bound: Bound::Ulp(8.0),
            of: |p| !damped(p),
        },
        Accuracy {
            family: "sscs-analytic, any damping",
            bound: Bound::Relative(1e-13),
            of: damped,
        },
    ],
    vectors: &[Vectors {
        params: &[("mass", Number(0.25)), ("damping", Word("critical"))],
        rate: Rate::Linear(0.1, 19.9),
        under: Under::Only("dsm"),
        flags: &["ReversedPart", "TimeDependentBeta"],
    }],
    audit: &[Audited::kernels(
        "sscs",
        &[("mass", Number(0.25)), ("gamma", Number(0.04))],
    )],
    mass_inverted: |p, process, kept| ENTRY.build(&mass_inverted(p, process.mass(), kept)).ok(),
    build,
    ..ProcessEntry::BASE
};
