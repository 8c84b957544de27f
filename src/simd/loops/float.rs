//! Loops that are written once for f32 and f64: networks run in f32, and their gradients are held
//! against central differences of the very same loops in f64.

use crate::simd::Lane;
use crate::simd::lane::Sealed;
pub(super) use crate::simd::lane::each;

/// f32 or f64.
pub trait Float:
    Sealed + Copy + Default + PartialEq + PartialOrd + std::fmt::Debug + Send + Sync + 'static
{
    /// The lanes of this type among those of an instruction set.
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>: Lane<Item = Self>;
    /// Unit roundoff: 2^-24 or 2^-53.
    const ROUNDOFF: f64;
    /// The nearest number.
    fn of(x: f64) -> Self;
    /// The same number.
    fn f64(self) -> f64;
    /// `e^x` within 2 units in the last place, for x at most 88 (f32) or 709 (f64); below -87 and
    /// -708 the value there, which is below 1e-37. NaN stays NaN.
    fn exp<L: Lane<Item = Self>>(x: L) -> L;
}

/// The loops of a file for f32 and f64, each a function that runs a task on a given instruction
/// set. They are compiled in that file, once for each type, and not again in every crate that uses
/// a network. `compiled!(trait, its function, above what, { name: task, ... })`.
macro_rules! compiled {
    ($t:ident, $f:ident, $above:path, { $($name:ident: $task:ty $(=> $out:ty)?),* $(,)? }) => {
        /// What this file's loops are called through: f32 and f64 have them.
        #[doc(hidden)]
        pub trait $t: $above {
            /// The loops.
            fn $f() -> &'static Loops<Self>;
        }
        /// The loops of one type.
        #[doc(hidden)]
        pub struct Loops<T> {
            $(#[allow(clippy::type_complexity)] $name: for<'a> fn(Set, $task) $(-> $out)?),*
        }
        impl $t for f32 {
            fn $f() -> &'static Loops<f32> {
                static ALL: Loops<f32> = Loops { $($name: |set, task| crate::simd::wide_on(set, task)),* };
                &ALL
            }
        }
        // what gradients are held against, not what trains: one set beside the scalar one is half
        // the code to compile
        impl $t for f64 {
            fn $f() -> &'static Loops<f64> {
                static ALL: Loops<f64> = Loops { $($name: |set, task| crate::simd::up_to_avx2_on(set, task)),* };
                &ALL
            }
        }
    };
}
pub(super) use compiled;

/// `x = k ln 2 + r`, `e^x = 2^k e^r` with Taylor's series; k is found by adding 1.5 2^(mantissa
/// bits), where a unit is the last bit.
macro_rules! exp {
    ($t:ident, $least:expr, $most:expr, $round:expr, $high:expr, $low:expr, $shift:literal, [$($c:expr),*]) => {
        #[inline(always)]
        fn exp<L: Lane<Item = $t>>(x: L) -> L {
            let (least, most) = (L::splat($least), L::splat($most));
            let x = L::select(x.lt(least), least, x);
            let x = L::select(most.lt(x), most, x);
            let k = x.mul_add(L::splat(std::$t::consts::LOG2_E), L::splat($round));
            let n = k - L::splat($round);
            let r = n.mul_add(L::splat(-$high), x);
            let r = n.mul_add(L::splat(-$low), r);
            let mut p = L::splat(0.0);
            $(p = p.mul_add(r, L::splat((1.0 / $c as f64) as $t));)*
            let p = p.mul_add(r, L::splat(1.0));
            let p = p.mul_add(r, L::splat(1.0));
            L::from_bits(L::add_bits(p.bits(), L::shl::<$shift>(k.bits())))
        }
    };
}

impl Float for f32 {
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>> = S;
    const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
    // 355/512 = 0.693359375 has nine bits: its product with k is exact. Remainder r^8/8! < 6e-9.
    exp!(
        f32,
        -87.0,
        88.0,
        12_582_912.0,
        355.0 / 512.0,
        -2.121_944_4e-4,
        23,
        [5040, 720, 120, 24, 6, 2]
    );
}

impl Float for f64 {
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>> = D;
    const ROUNDOFF: f64 = f64::EPSILON / 2.0;
    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
    // ln 2 rounded to 40 bits, and the rest. Remainder r^14/14! < 5e-18.
    exp!(
        f64,
        -708.0,
        709.0,
        6_755_399_441_055_744.0,
        0.693_147_180_560_117_7,
        -1.723_944_452_561_483_5e-13,
        52,
        [
            6_227_020_800u64,
            479_001_600,
            39_916_800,
            3_628_800,
            362_880,
            40_320,
            5040,
            720,
            120,
            24,
            6,
            2
        ]
    );
}

/// Runs a function with V, the number of vectors of a block of 16, known to the compiler:
/// `blocks!(S's lane, function(arguments))` calls `function::<T, L, V>(arguments)`.
macro_rules! blocks {
    ($l:ty, $f:ident($($arg:expr),*)) => {
        match <$l as $crate::simd::Lane>::WIDTH {
            16 => $f::<T, $l, 1>($($arg),*),
            8 => $f::<T, $l, 2>($($arg),*),
            4 => $f::<T, $l, 4>($($arg),*),
            2 => $f::<T, $l, 8>($($arg),*),
            _ => $f::<T, $l, 16>($($arg),*),
        }
    };
}
pub(super) use blocks;

/// A block of 16 numbers as V vectors.
#[inline(always)]
pub(super) fn load<L: Lane, const V: usize>(from: &[L::Item]) -> [L; V] {
    each(|v| L::load(&from[v * L::WIDTH..]))
}

/// Into a block of 16 numbers.
#[inline(always)]
pub(super) fn store<L: Lane, const V: usize>(from: [L; V], to: &mut [L::Item]) {
    for v in 0..V {
        from[v].store(&mut to[v * L::WIDTH..]);
    }
}

/// `1/(1 + e^-z)`.
#[inline(always)]
pub(super) fn sigmoid<T: Float, L: Lane<Item = T>>(z: L) -> L {
    let one = L::splat(T::of(1.0));
    one / (one + T::exp(-z))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Set, Task, wide_on};

    struct Exp<'a, T>(&'a [T], &'a mut [T]);

    impl<T: Float> Task for Exp<'_, T> {
        type Out = ();
        #[inline(always)]
        fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
            for at in (0..self.0.len()).step_by(<T::Of<D, S> as Lane>::WIDTH) {
                T::exp(<T::Of<D, S> as Lane>::load(&self.0[at..])).store(&mut self.1[at..]);
            }
        }
    }

    /// Worst error in units of the last place against the standard library in f64, over the range.
    fn worst<T: Float>(least: f64, most: f64, ulp: f64) -> f64 {
        let n = if cfg!(miri) { 1 << 9 } else { 1 << 16 };
        let x: Vec<T> = (0..n)
            .map(|i| T::of(least + (most - least) * f64::from(i) / f64::from(n - 1)))
            .collect();
        let mut first: Option<Vec<T>> = None;
        let mut worst = 0f64;
        for set in Set::ALL.into_iter().filter(|s| s.available()) {
            let mut y = vec![T::default(); x.len()];
            wide_on(set, Exp(&x, &mut y));
            for (x, y) in x.iter().zip(&y) {
                worst = worst.max((y.f64() / x.f64().exp() - 1.0).abs() / ulp);
            }
            assert!(first.as_ref().is_none_or(|f| *f == y), "{}", set.name());
            first = Some(y);
        }
        worst
    }

    /// Catches a wrong coefficient, reduction or power of two: 2 ulp against the standard library
    /// (itself within 1 in f64), and the same bits on all sets; beyond the range the value at its
    /// end; NaN stays.
    #[test]
    fn exponentials() {
        let (f32s, f64s) = (
            worst::<f32>(-87.0, 88.0, f64::from(f32::EPSILON)),
            worst::<f64>(-708.0, 709.0, f64::EPSILON),
        );
        assert!(f32s <= 2.0 && f64s <= 2.0, "{f32s} {f64s}");
        assert!(
            <f32 as Float>::exp(-1e30f32) == <f32 as Float>::exp(-87.0f32)
                && <f64 as Float>::exp(f64::INFINITY).is_finite()
        );
        assert!(<f32 as Float>::exp(f32::NAN).is_nan() && <f64 as Float>::exp(f64::NAN).is_nan());
        assert_eq!(<f64 as Float>::exp(0.0f64), 1.0);
    }
}
