//! Vectors of floats, the one place where the instruction set is chosen, and the loops that know no
//! mathematics of the crate: random normals ([`normal`]) and paths of linear SDEs ([`sde`]). The
//! kernels' loops are with the kernels.
//!
//! A loop is written once, generic over [`Lane`], as a [`Task`]; [`wide`] runs it with the widest
//! vectors the machine has, [`single`] with vectors of one. Every operation of a lane is correctly
//! rounded (the multiply-add is fused on all of them), so all instruction sets give the same bits.
//!
//! The choice is made once, at the first call. The environment variable `CLD_SIMD` (`scalar`,
//! `avx2`, `avx512`, `neon`) overrides it; a set that the machine lacks is refused with one line on
//! standard error, and the best it has is taken.
//!
//! This module holds the crate's only `unsafe`: loads, stores, intrinsics, and the calls at
//! dispatch.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod lane;
pub mod limits;
#[cfg(feature = "nn")]
pub mod loops;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod normal;
pub mod sde;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use lane::Lane;
#[cfg(feature = "nn")]
pub use loops::Real;
pub use sde::{Steps, affine_paths, affine_paths_f32, initial_paths, initial_paths_f32};

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum Set {
    /// Whatever the crate was compiled for, one value at a time: the definition that the others are
    /// held against. Without a fused multiply-add in that target each one is a library call.
    Scalar = 1,
    /// x86-64 with AVX2 and FMA: four doubles.
    Avx2 = 2,
    /// x86-64 with AVX-512 F and DQ as well: eight doubles.
    Avx512 = 3,
    /// 64-bit ARM: two doubles.
    Neon = 4,
}

/// 0: not chosen yet; else a `Set`.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

impl Set {
    /// All sets, narrowest first.
    pub const ALL: [Set; 4] = [Set::Scalar, Set::Neon, Set::Avx2, Set::Avx512];

    /// Its name, as `CLD_SIMD` has it.
    pub fn name(self) -> &'static str {
        match self {
            Set::Scalar => "scalar",
            Set::Avx2 => "avx2",
            Set::Avx512 => "avx512",
            Set::Neon => "neon",
        }
    }

    /// Whether this machine has it.
    pub fn available(self) -> bool {
        match self {
            Set::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => {
                Set::Avx2.available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(target_arch = "aarch64")]
            Set::Neon => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The set in use.
    #[inline(always)]
    pub fn current() -> Set {
        match CHOSEN.load(Ordering::Relaxed) {
            4 => Set::Neon,
            3 => Set::Avx512,
            2 => Set::Avx2,
            1 => Set::Scalar,
            _ => choose(),
        }
    }

    /// Uses this set from now on, in the whole program. For tests and benches: results are the same
    /// on all of them.
    ///
    /// # Errors
    /// The machine does not have it.
    pub fn force(self) -> Result<()> {
        if !self.available() {
            return Err(Error::parameter(
                "CLD_SIMD",
                self.name(),
                "an instruction set of this machine",
            ));
        }
        CHOSEN.store(self as u8, Ordering::Relaxed);
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn choose() -> Set {
    let mut set = Set::ALL
        .into_iter()
        .rev()
        .find(|s| s.available())
        .unwrap_or(Set::Scalar);
    if let Ok(name) = std::env::var("CLD_SIMD") {
        match Set::ALL
            .into_iter()
            .find(|s| s.name() == name && s.available())
        {
            Some(forced) => set = forced,
            None => eprintln!(
                "CLD_SIMD={name} is not an instruction set of this machine; using {}",
                set.name()
            ),
        }
    }
    CHOSEN.store(set as u8, Ordering::Relaxed);
    set
}

/// A computation written once for lanes of any width. `run` must be `#[inline(always)]`, and so
/// must what it calls in its loop: only then is it compiled for the instruction set of the lanes.
pub trait Task {
    /// What it returns.
    type Out;
    /// Runs with lanes `D` of doubles and `S` of singles, of one instruction set.
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) -> Self::Out;

    // The loop for each set. As methods they are compiled with the module of their task, so that
    // all cores have some; functions of this module or of `x86` would all be with it, on one core.

    /// With lanes of one float.
    #[doc(hidden)]
    #[inline(never)]
    fn scalar(self) -> Self::Out
    where
        Self: Sized,
    {
        self.run::<f64, f32>()
    }

    /// With lanes of 128 bits, which every such machine has.
    #[doc(hidden)]
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn neon(self) -> Self::Out
    where
        Self: Sized,
    {
        self.run::<neon::F64x2, neon::F32x4>()
    }

    /// With lanes of 256 bits.
    ///
    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[doc(hidden)]
    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) -> Self::Out
    where
        Self: Sized,
    {
        self.run::<x86::F64x4, x86::F32x8>()
    }

    /// With lanes of 512 bits.
    ///
    /// # Safety
    /// The machine must have AVX-512 F and DQ, AVX2 and FMA.
    #[doc(hidden)]
    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
    unsafe fn avx512(self) -> Self::Out
    where
        Self: Sized,
    {
        self.run::<x86::F64x8, x86::F32x16>()
    }
}

/// Runs a task with the widest vectors.
#[inline(always)]
pub fn wide<T: Task>(task: T) -> T::Out {
    match Set::current() {
        // SAFETY: `current` is a set that `available` has found on this machine.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { task.avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { task.avx2() },
        #[cfg(target_arch = "aarch64")]
        Set::Neon => task.neon(),
        _ => task.scalar(),
    }
}

/// Runs a task with the vectors of a given set, or with the scalar one where the machine lacks
/// that set: for tests.
pub fn wide_on<T: Task>(set: Set, task: T) -> T::Out {
    match set {
        // SAFETY: the machine has it.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 if set.available() => unsafe { task.avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 if set.available() => unsafe { task.avx2() },
        #[cfg(target_arch = "aarch64")]
        Set::Neon => task.neon(),
        _ => task.scalar(),
    }
}

/// [`wide_on`] with AVX2 for AVX-512, which is then not compiled for this task.
#[cfg(feature = "nn")]
fn up_to_avx2_on<T: Task>(set: Set, task: T) -> T::Out {
    match set {
        // SAFETY: the machine has it: with AVX-512 there is AVX2.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 | Set::Avx2 if set.available() => unsafe { task.avx2() },
        #[cfg(target_arch = "aarch64")]
        Set::Neon => task.neon(),
        _ => task.scalar(),
    }
}

#[cfg(target_arch = "x86_64")]
/// Runs a task with lanes of one float, multiply-add in hardware.
#[target_feature(enable = "avx2,fma")]
fn fma<T: Task>(task: T) -> T::Out {
    task.run::<f64, f32>()
}

/// Runs a task with vectors of one, and a fused multiply-add in hardware where there is one.
#[inline(always)]
pub fn single<T: Task>(task: T) -> T::Out {
    #[cfg(target_arch = "x86_64")]
    if Set::current() >= Set::Avx2 {
        // SAFETY: `current` is a set that `available` has found on this machine.
        return unsafe { fma(task) };
    }
    task.scalar() // out of line: the way here is a load, a comparison and a call
}

struct Call<F>(F);

impl<R, F: FnOnce() -> R> Task for Call<F> {
    type Out = R;
    #[inline(always)]
    fn run<D: Lane<Item = f64>, S: Lane<Item = f32, Word = u32>>(self) -> R {
        (self.0)()
    }
}

/// [`single`] for a closure: its `f64::mul_add` is an instruction where the machine has one.
#[inline(always)]
pub fn single_call<R>(f: impl FnOnce() -> R) -> R {
    single(Call(f))
}
