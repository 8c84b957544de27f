//! Counter-based random numbers: Threefry2x64-20 (Salmon, Moraes, Dror, Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", 2011).
//!
//! Every draw is a function of (seed, stream, path, number), so a path's noise does not depend on
//! which thread runs it, in which order, on how many paths there are, or on the width of the
//! vectors.

use crate::simd::normal::threefry;

/// A family of random numbers: a seed, and a stream within it (one per simulation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u64; 2],
}

impl Stream {
    /// Stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Stream {
        Stream {
            key: [seed, stream],
        }
    }

    /// The stream of `seed` that belongs to a name: a claim's own numbers, whatever else runs
    /// (FNV-1a of the name).
    pub fn named(seed: u64, name: &str) -> Stream {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Stream::new(seed, hash)
    }

    /// Key of the generator.
    pub fn key(&self) -> [u64; 2] {
        self.key
    }

    /// Key of the generator of single-precision normals.
    pub fn key_f32(&self) -> [u32; 4] {
        let [a, b] = self.key;
        [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
    }

    /// 128 bits: those of pair number `pair` of `path`.
    pub fn bits(&self, path: u64, pair: u64) -> [u64; 2] {
        threefry([path, pair], self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::normal::threefry4;

    /// Catches a wrong constant, round count or word order: the known answers that Random123
    /// publishes for threefry2x64-20 and threefry4x32-20 (checked also against the Python package
    /// `randomgen`).
    #[test]
    fn known_answers() {
        let pi = (
            [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344],
            [0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89],
        );
        for (counter, key, answer) in [
            (
                [0; 2],
                [0; 2],
                [0xc2b6_e3a8_c2c6_9865, 0x6f81_ed42_f350_084d],
            ),
            (
                [u64::MAX; 2],
                [u64::MAX; 2],
                [0xe02c_b7c4_d95d_277a, 0xd066_33d0_893b_8b68],
            ),
            (pi.0, pi.1, [0x263c_7d30_bb0f_0af1, 0x56be_8361_d331_1526]),
        ] {
            assert_eq!(threefry(counter, key), answer);
        }
        let pi = (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89],
        );
        for (counter, key, answer) in [
            (
                [0; 4],
                [0; 4],
                [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 4],
                [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732],
            ),
            (
                pi.0,
                pi.1,
                [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84],
            ),
        ] {
            assert_eq!(threefry4(counter, key), answer);
        }
    }
}
