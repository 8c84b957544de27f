//! The vectors of x86-64: thin implementations of `Lane`, and the functions that carry the instruction sets.

use super::Loop;
use super::lane::Lane;
use std::arch::x86_64::*;

/// # Safety
/// The processor must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(body: impl Loop) {
    body.run::<Avx2>();
}

/// # Safety
/// The processor must have AVX-512F (and AVX2, FMA).
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn avx512(body: impl Loop) {
    body.run::<Avx512>();
}

/// 4 doubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(__m256d);

impl Lane for Avx2 {
    const N: usize = 4;
    type Bits = __m256i;

    #[inline(always)]
    fn splat(x: f64) -> Self {
        // SAFETY: values of this type exist only in loops that `run` compiled for this set and found available
        unsafe { Avx2(_mm256_set1_pd(x)) }
    }
    #[inline(always)]
    fn load(x: &[f64]) -> Self {
        let x = &x[..4];
        // SAFETY: as in `splat`; the slice has 4 elements, and unaligned loads are asked for
        unsafe { Avx2(_mm256_loadu_pd(x.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f64]) {
        let x = &mut x[..4];
        // SAFETY: as in `load`
        unsafe { _mm256_storeu_pd(x.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_add_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_sub_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_mul_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_div_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_fmadd_pd(self.0, b.0, c.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_sqrt_pd(self.0)) }
    }
    #[inline(always)]
    fn bits(self) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_castpd_si256(self.0) }
    }
    #[inline(always)]
    fn splat_bits(x: u64) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_set1_epi64x(x.cast_signed()) }
    }
    #[inline(always)]
    fn iota() -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_set_epi64x(3, 2, 1, 0) }
    }
    #[inline(always)]
    fn add_bits(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_add_epi64(a, b) }
    }
    #[inline(always)]
    fn and(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn xor(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_xor_si256(a, b) }
    }
    #[inline(always)]
    fn shl<const C: i32>(a: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_slli_epi64::<C>(a) }
    }
    #[inline(always)]
    fn shr<const C: i32>(a: __m256i) -> __m256i {
        // SAFETY: as in `splat`
        unsafe { _mm256_srli_epi64::<C>(a) }
    }
    #[inline(always)]
    fn rotate<const C: i32, const D: i32>(a: __m256i) -> __m256i {
        Self::or(Self::shl::<C>(a), Self::shr::<D>(a))
    }
    #[inline(always)]
    fn from_bits(a: __m256i) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_castsi256_pd(a)) }
    }
    #[inline(always)]
    fn select(choose: __m256i, a: Self, b: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx2(_mm256_blendv_pd(a.0, b.0, _mm256_castsi256_pd(choose))) }
    }
}

/// 8 doubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(__m512d);

impl Lane for Avx512 {
    const N: usize = 8;
    type Bits = __m512i;

    #[inline(always)]
    fn splat(x: f64) -> Self {
        // SAFETY: values of this type exist only in loops that `run` compiled for this set and found available
        unsafe { Avx512(_mm512_set1_pd(x)) }
    }
    #[inline(always)]
    fn load(x: &[f64]) -> Self {
        let x = &x[..8];
        // SAFETY: as in `splat`; the slice has 8 elements, and unaligned loads are asked for
        unsafe { Avx512(_mm512_loadu_pd(x.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f64]) {
        let x = &mut x[..8];
        // SAFETY: as in `load`
        unsafe { _mm512_storeu_pd(x.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_add_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_sub_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_mul_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_div_pd(self.0, o.0)) }
    }
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_fmadd_pd(self.0, b.0, c.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_sqrt_pd(self.0)) }
    }
    #[inline(always)]
    fn bits(self) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_castpd_si512(self.0) }
    }
    #[inline(always)]
    fn splat_bits(x: u64) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_set1_epi64(x.cast_signed()) }
    }
    #[inline(always)]
    fn iota() -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0) }
    }
    #[inline(always)]
    fn add_bits(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_add_epi64(a, b) }
    }
    #[inline(always)]
    fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn xor(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn shl<const C: i32>(a: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_sll_epi64(a, _mm_cvtsi64_si128(i64::from(C))) }
    }
    #[inline(always)]
    fn shr<const C: i32>(a: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_srl_epi64(a, _mm_cvtsi64_si128(i64::from(C))) }
    }
    #[inline(always)]
    fn rotate<const C: i32, const D: i32>(a: __m512i) -> __m512i {
        // SAFETY: as in `splat`
        unsafe { _mm512_rol_epi64::<C>(a) }
    }
    #[inline(always)]
    fn from_bits(a: __m512i) -> Self {
        // SAFETY: as in `splat`
        unsafe { Avx512(_mm512_castsi512_pd(a)) }
    }
    #[inline(always)]
    fn select(choose: __m512i, a: Self, b: Self) -> Self {
        // SAFETY: as in `splat`
        unsafe {
            let negative = _mm512_cmplt_epi64_mask(choose, _mm512_setzero_si512());
            Avx512(_mm512_mask_blend_pd(negative, a.0, b.0))
        }
    }
}
