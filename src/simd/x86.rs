//! Lanes of AVX2 with FMA, and of AVX-512 (F and DQ). Thin: one intrinsic per operation.
//!
//! The intrinsics need their instruction set. A lane of these types comes into being only inside
//! `Task::avx2` and `Task::avx512`, which are called only where the set was found: that is the
//! safety argument of every block here.

use super::lane::{Lane, Sealed, lanes};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

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
