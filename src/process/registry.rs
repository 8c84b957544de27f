//! Every diffusion of the crate: one line each. All that others know of one is in its own file's
//! entry.

use super::entry::ProcessEntry;
use super::{cld_damped, cld_position, custom, langevin, psld, sscs, sub_vp, ve, vp};
use crate::error::{Error, Result};

/// Every diffusion of the crate.
pub static REGISTRY: &[ProcessEntry] = &[
    cld_damped::ENTRY,
    sscs::ENTRY,
    psld::ENTRY,
    cld_position::ENTRY,
    langevin::ENTRY,
    vp::ENTRY,
    sub_vp::ENTRY,
    ve::ENTRY,
];

/// Any linear SDE by its matrices: no diffusion of the crate, but one that answers can be about.
pub static CUSTOM: ProcessEntry = custom::ENTRY;

/// The diffusion that is meant where none is named: the paper's.
pub fn default_entry() -> &'static ProcessEntry {
    &REGISTRY[0]
}

/// The registry's entry called `name`.
///
/// # Errors
/// No such process; the message lists those there are.
pub fn entry(name: &str) -> Result<&'static ProcessEntry> {
    REGISTRY
        .iter()
        .chain([&CUSTOM])
        .find(|e| e.name == name)
        .ok_or_else(|| {
            let all: Vec<_> = REGISTRY.iter().chain([&CUSTOM]).map(|e| e.name).collect();
            Error::parameter("process", format!("`{name}`"), all.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches an entry that lacks something: a default schedule that is refused, no example for
    /// the audit or for vectors, no stated accuracy, or one name for two.
    #[test]
    fn entries_are_complete() {
        let mut families = BTreeSet::new();
        for e in REGISTRY {
            assert!(
                !e.name.is_empty() && !e.about.is_empty(),
                "{} {}",
                e.name,
                e.about
            );
            assert!(e.schedule().is_ok(), "{}", e.name);
            assert!(
                !e.audit.is_empty() && !e.vectors.is_empty() && !e.accuracy.is_empty(),
                "{} has no examples",
                e.name
            );
            for params in e
                .audit
                .iter()
                .map(|a| a.params)
                .chain(e.vectors.iter().map(|v| v.params))
            {
                let given = params.iter().filter(|(name, _)| Some(*name) != e.gamma);
                let params = given.fold(super::super::Params::default(), |p, (name, g)| {
                    p.with_value(name, (*g).into())
                });
                assert!(e.build(&params).is_ok(), "{} with {params:?}", e.name);
                assert!(
                    e.accuracy.iter().any(|a| (a.of)(&params)),
                    "{} with {params:?} has no stated accuracy",
                    e.name
                );
            }
            e.accuracy
                .iter()
                .for_each(|a| assert!(families.insert(a.family), "{} comes twice", a.family));
        }
        assert_eq!(
            entry(default_entry().name).unwrap().name,
            default_entry().name
        );
        assert!(
            entry("nothing")
                .err()
                .unwrap()
                .to_string()
                .contains(CUSTOM.name)
        );
    }
}
