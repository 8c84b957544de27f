//! What a loop may do: a vector of doubles, and the unsigned integers of the same width.

/// A vector of [`N`](Lane::N) doubles. Every operation is that of IEEE 754 on each element, so results do not depend on N.
pub trait Lane: Copy {
    /// Number of elements.
    const N: usize;
    /// As many u64.
    type Bits: Copy;

    /// All elements `x`.
    fn splat(x: f64) -> Self;
    /// The first N of a slice that has at least N (checked).
    fn load(x: &[f64]) -> Self;
    /// Into the first N of a slice that has at least N (checked).
    fn store(self, x: &mut [f64]);
    /// Sum.
    fn add(self, o: Self) -> Self;
    /// Difference.
    fn sub(self, o: Self) -> Self;
    /// Product.
    fn mul(self, o: Self) -> Self;
    /// Quotient.
    fn div(self, o: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Bit patterns.
    fn bits(self) -> Self::Bits;

    /// All elements `x`.
    fn splat_bits(x: u64) -> Self::Bits;
    /// 0, 1, ..., N - 1.
    fn iota() -> Self::Bits;
    /// Sum modulo 2^64.
    fn add_bits(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise and.
    fn and(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise or.
    fn or(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bitwise exclusive or.
    fn xor(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Shift to the left by `C`.
    fn shl<const C: i32>(a: Self::Bits) -> Self::Bits;
    /// Shift to the right by `C`, zeros in.
    fn shr<const C: i32>(a: Self::Bits) -> Self::Bits;
    /// Rotation to the left by `C`; `D` must be 64 - C.
    fn rotate<const C: i32, const D: i32>(a: Self::Bits) -> Self::Bits;
    /// Doubles with these bit patterns.
    fn from_bits(a: Self::Bits) -> Self;
    /// Per element: `a` where the top bit of `choose` is 0, else `b`.
    fn select(choose: Self::Bits, a: Self, b: Self) -> Self;
}

/// The scalar set: one element, and the definition of what the others do.
#[derive(Clone, Copy, Debug)]
pub struct Scalar(f64);

impl Lane for Scalar {
    const N: usize = 1;
    type Bits = u64;

    #[inline(always)]
    fn splat(x: f64) -> Self {
        Scalar(x)
    }
    #[inline(always)]
    fn load(x: &[f64]) -> Self {
        Scalar(x[0])
    }
    #[inline(always)]
    fn store(self, x: &mut [f64]) {
        x[0] = self.0;
    }
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Scalar(self.0 + o.0)
    }
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Scalar(self.0 - o.0)
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Scalar(self.0 * o.0)
    }
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        Scalar(self.0 / o.0)
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Scalar(self.0.mul_add(b.0, c.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Scalar(self.0.sqrt())
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        self.0.to_bits()
    }
    #[inline(always)]
    fn splat_bits(x: u64) -> u64 {
        x
    }
    #[inline(always)]
    fn iota() -> u64 {
        0
    }
    #[inline(always)]
    fn add_bits(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn and(a: u64, b: u64) -> u64 {
        a & b
    }
    #[inline(always)]
    fn or(a: u64, b: u64) -> u64 {
        a | b
    }
    #[inline(always)]
    fn xor(a: u64, b: u64) -> u64 {
        a ^ b
    }
    #[inline(always)]
    fn shl<const C: i32>(a: u64) -> u64 {
        a << C
    }
    #[inline(always)]
    fn shr<const C: i32>(a: u64) -> u64 {
        a >> C
    }
    #[inline(always)]
    fn rotate<const C: i32, const D: i32>(a: u64) -> u64 {
        a.rotate_left(C as u32)
    }
    #[inline(always)]
    fn from_bits(a: u64) -> Self {
        Scalar(f64::from_bits(a))
    }
    #[inline(always)]
    fn select(choose: u64, a: Self, b: Self) -> Self {
        if choose >> 63 == 0 { a } else { b }
    }
}
