//! What is asked of an audit, and how its paths are shared out.

use super::claim::Plant;
use super::simulation::Sums;
use serde::Serialize;
use std::collections::BTreeMap;

/// Portions into which each group's paths are cut: what shards and threads share out. Sums are
/// merged in their order.
pub const PORTIONS: u64 = 16;

/// What to audit, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Paths of each group.
    pub paths: u64,
    /// Every scheme on every case; else Euler-Maruyama and the exact one, and splitting and SRA1 by
    /// turns.
    pub full: bool,
    /// Seed.
    pub seed: u64,
    /// Only claims with this in their id, from the start of a word of it on, or of the formula with
    /// this id (of it alone after `formula=`), or of a case (after `case=`).
    pub only: Option<String>,
    /// An error planted on purpose.
    pub plant: Option<Plant>,
}

impl Options {
    /// The default: 2^21 paths, enough to catch an error of 1% in any covariance entry.
    pub fn quick() -> Options {
        Options {
            paths: 1 << 21,
            full: false,
            seed: 0,
            only: None,
            plant: None,
        }
    }

    /// Every scheme on every case, with four times as many paths.
    pub fn full() -> Options {
        Options {
            paths: 1 << 23,
            full: true,
            ..Options::quick()
        }
    }
}

/// The path numbers of a portion.
pub(super) fn portion(paths: u64, p: u64) -> (u64, u64) {
    (paths * p / PORTIONS, paths * (p + 1) / PORTIONS)
}

/// Sums by group and portion.
pub(super) type Portions = BTreeMap<String, BTreeMap<u64, Vec<Sums>>>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a full audit that is none, and portions that leave a path out or take one twice.
    #[test]
    fn full_is_every_scheme_and_portions_are_all_paths() {
        let (quick, full) = (Options::quick(), Options::full());
        assert!(full.full && !quick.full && full.paths == 4 * quick.paths);
        assert_eq!((full.only, full.plant, full.seed), (None, None, quick.seed));
        for paths in [16_000, 50_001, 1 << 40] {
            let all: Vec<(u64, u64)> = (0..PORTIONS).map(|p| portion(paths, p)).collect();
            assert_eq!((all[0].0, all[PORTIONS as usize - 1].1), (0, paths));
            assert!(all.windows(2).all(|w| w[0].1 == w[1].0));
            assert!(
                all.iter()
                    .all(|p| (p.1 - p.0).abs_diff(paths / PORTIONS) <= 1)
            );
        }
    }
}
