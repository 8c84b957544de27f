//! Lanes of AVX2 with FMA, and of AVX-512 (F and DQ). Thin: one intrinsic per operation.
//!
//! The intrinsics need their instruction set. A lane of these types comes into being only inside [`avx2`] and
//! [`avx512`], which are called only where the set was found: that is the safety argument of every block here.

use super::Task;
use super::lane::{Lane, Sealed};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Runs a task with lanes of 256 bits.
#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2<T: Task>(task: T) -> T::Out {
    task.run::<F64x4, F32x8>()
}

/// Runs a task with lanes of 512 bits.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub(super) fn avx512<T: Task>(task: T) -> T::Out {
    task.run::<F64x8, F32x16>()
}

/// Runs a task with lanes of one float, multiply-add in hardware.
#[target_feature(enable = "avx2,fma")]
pub(super) fn fma<T: Task>(task: T) -> T::Out {
    task.run::<f64, f32>()
}

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
                // SAFETY: module comment; the slice has the elements that are read, no alignment is asked for.
                unsafe { $name($load(s.as_ptr())) }
            }
            #[inline(always)]
            fn store(self, s: &mut [$item]) {
                let s = &mut s[..$width];
                // SAFETY: module comment; the slice has the elements that are written, no alignment is asked for.
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

lanes!(
    F64x4, __m256d, f64, 4, __m256d,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd,
    _mm256_fmadd_pd, _mm256_sqrt_pd,
    __m256i, u64, _mm256_castpd_si256, _mm256_castsi256_pd, _mm256_set1_epi64x, _mm256_add_epi64, _mm256_sub_epi64, _mm256_and_si256,
    _mm256_or_si256, _mm256_xor_si256,
    |a, b, m, t| lt _mm256_cmp_pd::<_CMP_LT_OQ>(a, b),
    select _mm256_blendv_pd(b, a, m),
    any _mm256_movemask_pd(m) != 0,
    lookup _mm256_i64gather_pd::<8>(t, _mm256_and_si256(_mm256_castpd_si256(a), _mm256_set1_epi64x(127))),
    iota _mm256_set_epi64x(3, 2, 1, 0),
    shl _mm256_slli_epi64::<C>(a),
    shr _mm256_srli_epi64::<C>(a),
    rotate Self::or(Self::shl::<C>(a), Self::shr::<D>(a)),
    top _mm256_castsi256_pd(a)
);
lanes!(
    F32x8, __m256, f32, 8, __m256,
    _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_fmadd_ps, _mm256_sqrt_ps,
    __m256i, u32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_set1_epi32, _mm256_add_epi32, _mm256_sub_epi32, _mm256_and_si256,
    _mm256_or_si256, _mm256_xor_si256,
    |a, b, m, t| lt _mm256_cmp_ps::<_CMP_LT_OQ>(a, b),
    select _mm256_blendv_ps(b, a, m),
    any _mm256_movemask_ps(m) != 0,
    lookup _mm256_i32gather_ps::<4>(t, _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(127))),
    iota _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0),
    shl _mm256_slli_epi32::<C>(a),
    shr _mm256_srli_epi32::<C>(a),
    rotate Self::or(Self::shl::<C>(a), Self::shr::<D>(a)),
    top _mm256_castsi256_ps(a)
);
lanes!(
    F64x8, __m512d, f64, 8, __mmask8,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd,
    _mm512_fmadd_pd, _mm512_sqrt_pd,
    __m512i, u64, _mm512_castpd_si512, _mm512_castsi512_pd, _mm512_set1_epi64, _mm512_add_epi64, _mm512_sub_epi64, _mm512_and_si512,
    _mm512_or_si512, _mm512_xor_si512,
    |a, b, m, t| lt _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b),
    select _mm512_mask_blend_pd(m, b, a),
    any m != 0,
    lookup _mm512_i64gather_pd::<8>(_mm512_and_si512(_mm512_castpd_si512(a), _mm512_set1_epi64(127)), t),
    iota _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
    shl _mm512_sll_epi64(a, _mm_cvtsi64_si128(i64::from(C))),
    shr _mm512_srl_epi64(a, _mm_cvtsi64_si128(i64::from(C))),
    rotate _mm512_rol_epi64::<C>(a),
    top _mm512_movepi64_mask(a)
);
lanes!(
    F32x16, __m512, f32, 16, __mmask16,
    _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_fmadd_ps, _mm512_sqrt_ps,
    __m512i, u32, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_set1_epi32, _mm512_add_epi32, _mm512_sub_epi32, _mm512_and_si512,
    _mm512_or_si512, _mm512_xor_si512,
    |a, b, m, t| lt _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b),
    select _mm512_mask_blend_ps(m, b, a),
    any m != 0,
    lookup _mm512_i32gather_ps::<4>(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(127)), t),
    iota _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
    shl _mm512_sll_epi32(a, _mm_cvtsi64_si128(i64::from(C))),
    shr _mm512_srl_epi32(a, _mm_cvtsi64_si128(i64::from(C))),
    rotate _mm512_rol_epi32::<C>(a),
    top _mm512_movepi32_mask(a)
);
