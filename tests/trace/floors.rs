//! Floors without cycles, file by file.

use super::sources::Uses;
use std::collections::BTreeSet;

/// Catches two files that use each other, directly or around several corners.
#[test]
fn no_file_is_in_a_circle() {
    let uses = Uses::read();
    let mut words = String::new();
    for circle in uses.circles() {
        for file in &circle {
            let inside: BTreeSet<_> = uses.0[file].intersection(&circle).collect();
            words += &format!("  {file} uses {inside:?}\n");
        }
        words += "\n";
    }
    assert!(words.is_empty(), "circles:\n{words}");
}
