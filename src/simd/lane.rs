//! The trait of a vector of floats, and its definition: one f64, one f32.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

mod sealed {
    pub trait Sealed {}
}
pub(super) use sealed::Sealed;

/// `WIDTH` floats that one instruction works on. All operations are correctly rounded, element by element.
pub trait Lane:
    Copy + Debug + Sealed + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// f64 or f32.
    type Item: Copy + 'static;
    /// One truth value per element.
    type Mask: Copy;
    /// Number of elements.
    const WIDTH: usize;
    /// All elements `x`.
    fn splat(x: Self::Item) -> Self;
    /// The first `WIDTH` elements of `s`, which must have them.
    fn load(s: &[Self::Item]) -> Self;
    /// Into the first `WIDTH` elements of `s`, which must have them.
    fn store(self, s: &mut [Self::Item]);
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `self < o`.
    fn lt(self, o: Self) -> Self::Mask;
    /// `a` where the mask is true, else `b`.
    fn select(m: Self::Mask, a: Self, b: Self) -> Self;
    /// Whether the mask is true anywhere.
    fn any(m: Self::Mask) -> bool;
    /// The bit pattern shifted left.
    fn shl_bits<const N: u32>(self) -> Self;
    /// The bit pattern shifted right, zeros coming in.
    fn shr_bits<const N: u32>(self) -> Self;
    /// Difference of the bit patterns, as integers that wrap.
    fn sub_bits(self, o: Self) -> Self;
    /// The table's entry at the lowest seven bits of the pattern.
    fn lookup(self, table: &[Self::Item; 128]) -> Self;
}

macro_rules! one {
    ($t:ident, $bits:ident) => {
        impl Sealed for $t {}
        impl Lane for $t {
            type Item = $t;
            type Mask = bool;
            const WIDTH: usize = 1;
            #[inline(always)]
            fn splat(x: $t) -> $t {
                x
            }
            #[inline(always)]
            fn load(s: &[$t]) -> $t {
                s[0]
            }
            #[inline(always)]
            fn store(self, s: &mut [$t]) {
                s[0] = self;
            }
            #[inline(always)]
            fn mul_add(self, a: $t, b: $t) -> $t {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn lt(self, o: $t) -> bool {
                self < o
            }
            #[inline(always)]
            fn select(m: bool, a: $t, b: $t) -> $t {
                if m { a } else { b }
            }
            #[inline(always)]
            fn any(m: bool) -> bool {
                m
            }
            #[inline(always)]
            fn shl_bits<const N: u32>(self) -> $t {
                $t::from_bits(self.to_bits() << N)
            }
            #[inline(always)]
            fn shr_bits<const N: u32>(self) -> $t {
                $t::from_bits(self.to_bits() >> N)
            }
            #[inline(always)]
            fn sub_bits(self, o: $t) -> $t {
                $t::from_bits(self.to_bits().wrapping_sub(o.to_bits()))
            }
            #[inline(always)]
            fn lookup(self, table: &[$t; 128]) -> $t {
                table[(self.to_bits() & 127) as usize]
            }
        }
    };
}

one!(f64, u64);
one!(f32, u32);
