//! The reader of the audit's shards, on the bytes after the first, and the merge; the first says
//! beside what: nothing, or the other half of a run.
#![no_main]

use cld_sgm::internal::audit::Shard;
use cld_sgm::internal::audit::run::merge;
use libfuzzer_sys::fuzz_target;

/// A right half: so that a left one that is right, too, gets as far as a verdict.
const OTHER: &str = include_str!("../../../fixtures/cases/shards/shard-2-of-2.json");

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let result = Shard::parse(text, "f").and_then(|shard| {
        let mut shards = vec![shard];
        if which % 2 == 1 {
            shards.push(Shard::parse(OTHER, "other").expect("a right shard"));
        }
        merge(&shards, &|_, _| {})
    });
    match result {
        Ok(audit) => assert!(audit.evidence.iter().all(|e| !e.figures().is_empty())),
        Err(e) => assert!(!e.to_string().contains('\n'), "{e}"),
    }
});
