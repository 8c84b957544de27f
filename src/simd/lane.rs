//! What a loop may do: the trait of a vector of floats and of the integers of the same width, and
//! its definition: one f64, one f32.

use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::ops::{Add, Div, Mul, Neg, Sub};

mod sealed {
    pub trait Sealed {}
}
pub(super) use sealed::Sealed;

/// `WIDTH` floats that one instruction works on. All operations are correctly rounded, element by
/// element.
pub trait Lane:
    Copy
    + Debug
    + Sealed
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// f64 or f32.
    type Item: Copy + 'static;
    /// One truth value per element.
    type Mask: Copy;
    /// u64 or u32, as wide as an element.
    type Word: Copy;
    /// As many of them.
    type Bits: Copy;
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
    /// Bit patterns.
    fn bits(self) -> Self::Bits;
    /// Floats with these bit patterns.
    fn from_bits(a: Self::Bits) -> Self;
    /// All elements `x`.
    fn splat_bits(x: Self::Word) -> Self::Bits;
    /// 0, 1, ..., `WIDTH` - 1.
    fn iota() -> Self::Bits;
    /// Sum that wraps.
    fn add_bits(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Difference that wraps.
    fn sub_bits(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise and.
    fn and(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise or.
    fn or(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise exclusive or.
    fn xor(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Shift to the left by `C`.
    fn shl<const C: i32>(a: Self::Bits) -> Self::Bits;
    /// Shift to the right by `C`, zeros coming in.
    fn shr<const C: i32>(a: Self::Bits) -> Self::Bits;
    /// Rotation to the left by `C`; `D` must be the word's width less C.
    #[inline(always)]
    fn rotate<const C: i32, const D: i32>(a: Self::Bits) -> Self::Bits {
        Self::or(Self::shl::<C>(a), Self::shr::<D>(a))
    }
    /// Whether the top bit is 1.
    fn top(a: Self::Bits) -> Self::Mask;
    /// The table's entry at the lowest seven bits of the pattern.
    fn lookup(self, table: &[Self::Item; 128]) -> Self;
}

macro_rules! one {
    ($t:ident, $bits:ident) => {
        impl Sealed for $t {}
        impl Lane for $t {
            type Item = $t;
            type Mask = bool;
            type Word = $bits;
            type Bits = $bits;
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
            fn bits(self) -> $bits {
                self.to_bits()
            }
            #[inline(always)]
            fn from_bits(a: $bits) -> $t {
                $t::from_bits(a)
            }
            #[inline(always)]
            fn splat_bits(x: $bits) -> $bits {
                x
            }
            #[inline(always)]
            fn iota() -> $bits {
                0
            }
            #[inline(always)]
            fn add_bits(a: $bits, b: $bits) -> $bits {
                a.wrapping_add(b)
            }
            #[inline(always)]
            fn sub_bits(a: $bits, b: $bits) -> $bits {
                a.wrapping_sub(b)
            }
            #[inline(always)]
            fn and(a: $bits, b: $bits) -> $bits {
                a & b
            }
            #[inline(always)]
            fn or(a: $bits, b: $bits) -> $bits {
                a | b
            }
            #[inline(always)]
            fn xor(a: $bits, b: $bits) -> $bits {
                a ^ b
            }
            #[inline(always)]
            fn shl<const C: i32>(a: $bits) -> $bits {
                a << C
            }
            #[inline(always)]
            fn shr<const C: i32>(a: $bits) -> $bits {
                a >> C
            }
            #[inline(always)]
            fn top(a: $bits) -> bool {
                a.leading_zeros() == 0
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

/// Defines the lanes of an instruction set, one intrinsic per operation. Every `unsafe` block in it
/// calls an intrinsic: the set must be there wherever such a lane comes into being, which is the
/// promise of the module that uses this.
#[allow(unused_macros)]
macro_rules! lanes {
    (
        $name:ident, $vec:ty, $item:ty, $width:literal, $mask:ty,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $sqrt:ident,
        $bits:ty, $word:ident, $ints:ident, $floats:ident, $splat_bits:ident, $add_bits:ident, $sub_bits:ident, $and:ident, $or:ident,
        $xor:ident,
        |$a:ident, $b:ident, $m:ident, $t:ident| lt $lt:expr, select $select:expr, any $any:expr, lookup $lookup:expr,
        iota $iota:expr, shl $shl:expr, shr $shr:expr, rotate $rotate:expr, top $top:expr
    ) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name($vec);

        impl Sealed for $name {}
        impl Add for $name {
            type Output = Self;
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($add(self.0, o.0)) }
            }
        }
        impl Sub for $name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($sub(self.0, o.0)) }
            }
        }
        impl Mul for $name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($mul(self.0, o.0)) }
            }
        }
        impl Div for $name {
            type Output = Self;
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($div(self.0, o.0)) }
            }
        }
        impl Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: module comment. (-0 - x is -x for every x, zeros included.)
                unsafe { $name($sub($splat(-0.0), self.0)) }
            }
        }
        impl Lane for $name {
            type Item = $item;
            type Mask = $mask;
            type Word = $word;
            type Bits = $bits;
            const WIDTH: usize = $width;
            #[inline(always)]
            fn splat(x: $item) -> Self {
                // SAFETY: module comment.
                unsafe { $name($splat(x)) }
            }
            #[inline(always)]
            fn load(s: &[$item]) -> Self {
                let s = &s[..$width];
                // SAFETY: module comment; the slice has the elements that are read, no alignment is
                // asked for.
                unsafe { $name($load(s.as_ptr())) }
            }
            #[inline(always)]
            fn store(self, s: &mut [$item]) {
                let s = &mut s[..$width];
                // SAFETY: module comment; the slice has the elements that are written, no alignment
                // is asked for.
                unsafe { $store(s.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($fma(self.0, a.0, b.0)) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: module comment.
                unsafe { $name($sqrt(self.0)) }
            }
            #[inline(always)]
            fn lt(self, o: Self) -> $mask {
                let ($a, $b) = (self.0, o.0);
                // SAFETY: module comment.
                unsafe { $lt }
            }
            #[inline(always)]
            fn select($m: $mask, a: Self, b: Self) -> Self {
                let ($a, $b) = (a.0, b.0);
                // SAFETY: module comment.
                unsafe { $name($select) }
            }
            #[inline(always)]
            #[allow(unused_unsafe)]
            fn any($m: $mask) -> bool {
                // SAFETY: module comment.
                unsafe { $any }
            }
            #[inline(always)]
            fn bits(self) -> $bits {
                // SAFETY: module comment.
                unsafe { $ints(self.0) }
            }
            #[inline(always)]
            fn from_bits(a: $bits) -> Self {
                // SAFETY: module comment.
                unsafe { $name($floats(a)) }
            }
            #[inline(always)]
            fn splat_bits(x: $word) -> $bits {
                // SAFETY: module comment.
                unsafe { $splat_bits(x.cast_signed()) }
            }
            #[inline(always)]
            fn iota() -> $bits {
                // SAFETY: module comment.
                unsafe { $iota }
            }
            #[inline(always)]
            fn add_bits(a: $bits, b: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $add_bits(a, b) }
            }
            #[inline(always)]
            fn sub_bits(a: $bits, b: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $sub_bits(a, b) }
            }
            #[inline(always)]
            fn and(a: $bits, b: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $and(a, b) }
            }
            #[inline(always)]
            fn or(a: $bits, b: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $or(a, b) }
            }
            #[inline(always)]
            fn xor(a: $bits, b: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $xor(a, b) }
            }
            #[inline(always)]
            fn shl<const C: i32>($a: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $shl }
            }
            #[inline(always)]
            fn shr<const C: i32>($a: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $shr }
            }
            #[inline(always)]
            #[allow(unused_unsafe)]
            fn rotate<const C: i32, const D: i32>($a: $bits) -> $bits {
                // SAFETY: module comment.
                unsafe { $rotate }
            }
            #[inline(always)]
            fn top($a: $bits) -> $mask {
                // SAFETY: module comment.
                unsafe { $top }
            }
            #[inline(always)]
            fn lookup(self, table: &[$item; 128]) -> Self {
                let ($a, $t) = (self.0, table.as_ptr());
                // SAFETY: module comment; the index is masked to 0..128, the length of the table.
                unsafe { $name($lookup) }
            }
        }
    };
}
#[allow(unused_imports)]
pub(super) use lanes;

/// `[f(0), f(1), ...]`. Inlined whatever the compiler thinks of it: `std::array::from_fn` passes
/// through functions of its own, which do not have the vector features of the loop around them;
/// where one of these is left standing, so is a call for every intrinsic in it. `f` is called in
/// one place only, for the same reason: a second one would make it a function of its own.
#[inline(always)]
pub(super) fn each<A: Copy, const N: usize>(f: impl Fn(usize) -> A) -> [A; N] {
    let mut all = [const { MaybeUninit::uninit() }; N];
    for i in 0..N {
        all[i] = MaybeUninit::new(f(i));
    }
    // SAFETY: the loop has written every element, and an array of `MaybeUninit<A>` has the layout
    // of one of `A`.
    unsafe { std::mem::transmute_copy::<[MaybeUninit<A>; N], [A; N]>(&all) }
}
