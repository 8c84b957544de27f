//! Vector loops: the one floor with `unsafe`, behind safe functions.
//!
//! Each loop is one body over the small trait [`Lane`], compiled for AVX-512, AVX2 with FMA, and scalar code, and chosen
//! once at start; `CLD_SIMD=scalar|avx2|avx512` forces a set. All sets use the same operations in the same order, fused
//! multiply-adds included, so they give the same bits: `tests/simd.rs` holds each to the scalar one, and that to readable
//! definitions with the standard library's functions.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

pub mod lane;
pub mod normal;
pub mod sde;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub use lane::Lane;
pub use sde::{Steps, affine_paths, initial_paths};

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Set {
    /// No vectors. Fused multiply-adds are a library call where the compiler's target has none: slow, but the same bits.
    Scalar,
    /// AVX2 with FMA: 4 doubles.
    Avx2,
    /// AVX-512F: 8 doubles.
    Avx512,
}

impl Set {
    /// Every set.
    pub const ALL: [Set; 3] = [Set::Scalar, Set::Avx2, Set::Avx512];

    /// Its name, as `CLD_SIMD` has it.
    pub fn name(self) -> &'static str {
        match self {
            Set::Scalar => "scalar",
            Set::Avx2 => "avx2",
            Set::Avx512 => "avx512",
        }
    }

    /// Whether this processor has exactly the instructions that the set's loops are compiled for.
    pub fn available(self) -> bool {
        match self {
            Set::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => std::arch::is_x86_feature_detected!("avx512f") && Set::Avx2.available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The set in use: the one that `CLD_SIMD` names if it is available, else the widest. Chosen once.
    pub fn current() -> Set {
        static CHOICE: OnceLock<Set> = OnceLock::new();
        *CHOICE.get_or_init(|| {
            let wanted = std::env::var("CLD_SIMD").ok();
            let named = Set::ALL.into_iter().find(|s| wanted.as_deref() == Some(s.name()));
            let widest = Set::ALL.into_iter().filter(|s| s.available()).max().unwrap_or(Set::Scalar);
            named.filter(|s| s.available()).unwrap_or(widest)
        })
    }
}

/// A loop: a struct whose one method is generic over the vectors. [`run`] compiles it for every set.
pub(crate) trait Loop {
    fn run<L: Lane>(self);
}

/// Runs a loop on a set, or on the scalar one where that set is not available.
pub(crate) fn run(set: Set, body: impl Loop) {
    match set {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the set is available, so the processor has the instructions that the function is compiled for
        Set::Avx512 if set.available() => unsafe { x86::avx512(body) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above
        Set::Avx2 if set.available() => unsafe { x86::avx2(body) },
        _ => body.run::<lane::Scalar>(),
    }
}
