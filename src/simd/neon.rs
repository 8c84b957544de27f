//! Lanes of NEON, which every 64-bit ARM processor has. Thin: one intrinsic per operation.
//!
//! The intrinsics need NEON, and this file is compiled where the target has it: that is the safety
//! argument of every block here.
#![allow(unused_unsafe)]

use super::lane::{Lane, Sealed, lanes};
use std::arch::aarch64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `a b + c`.
#[inline(always)]
fn fma_f64(a: float64x2_t, b: float64x2_t, c: float64x2_t) -> float64x2_t {
    // SAFETY: module comment.
    unsafe { vfmaq_f64(c, a, b) }
}

/// `a b + c`.
#[inline(always)]
fn fma_f32(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    // SAFETY: module comment.
    unsafe { vfmaq_f32(c, a, b) }
}

/// The macro's words are signed, as those of x86 are.
#[inline(always)]
fn splat_u64(x: i64) -> uint64x2_t {
    // SAFETY: module comment.
    unsafe { vdupq_n_u64(x.cast_unsigned()) }
}

/// The same for 32 bits.
#[inline(always)]
fn splat_u32(x: i32) -> uint32x4_t {
    // SAFETY: module comment.
    unsafe { vdupq_n_u32(x.cast_unsigned()) }
}

/// Elements of a table of 128, at the lowest seven bits of the words. `t` must point to it.
#[inline(always)]
unsafe fn gather_f64(t: *const f64, i: uint64x2_t) -> float64x2_t {
    // SAFETY: the indices are masked to 0..128, the length of the table.
    unsafe {
        let i = vandq_u64(i, vdupq_n_u64(127));
        let all = [
            *t.add(vgetq_lane_u64::<0>(i) as usize),
            *t.add(vgetq_lane_u64::<1>(i) as usize),
        ];
        vld1q_f64(all.as_ptr())
    }
}

/// The same for f32.
#[inline(always)]
unsafe fn gather_f32(t: *const f32, i: uint32x4_t) -> float32x4_t {
    // SAFETY: the indices are masked to 0..128, the length of the table.
    unsafe {
        let i = vandq_u32(i, vdupq_n_u32(127));
        let at = [
            vgetq_lane_u32::<0>(i),
            vgetq_lane_u32::<1>(i),
            vgetq_lane_u32::<2>(i),
            vgetq_lane_u32::<3>(i),
        ];
        let all = at.map(|i| *t.add(i as usize));
        vld1q_f32(all.as_ptr())
    }
}

lanes!(
    F64x2, float64x2_t, f64, 2, uint64x2_t,
    vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vdupq_n_f64, vld1q_f64, vst1q_f64, fma_f64, vsqrtq_f64,
    uint64x2_t, u64, vreinterpretq_u64_f64, vreinterpretq_f64_u64, splat_u64, vaddq_u64, vsubq_u64, vandq_u64, vorrq_u64, veorq_u64,
    |a, b, m, t| lt vcltq_f64(a, b),
    select vbslq_f64(m, a, b),
    any vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0,
    lookup gather_f64(t, vreinterpretq_u64_f64(a)),
    iota vld1q_u64([0, 1].as_ptr()),
    shl vshlq_n_u64::<C>(a),
    shr vshrq_n_u64::<C>(a),
    rotate Self::or(Self::shl::<C>(a), Self::shr::<D>(a)),
    top vcltzq_s64(vreinterpretq_s64_u64(a))
);
lanes!(
    F32x4, float32x4_t, f32, 4, uint32x4_t,
    vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vdupq_n_f32, vld1q_f32, vst1q_f32, fma_f32, vsqrtq_f32,
    uint32x4_t, u32, vreinterpretq_u32_f32, vreinterpretq_f32_u32, splat_u32, vaddq_u32, vsubq_u32, vandq_u32, vorrq_u32, veorq_u32,
    |a, b, m, t| lt vcltq_f32(a, b),
    select vbslq_f32(m, a, b),
    any vmaxvq_u32(m) != 0,
    lookup gather_f32(t, vreinterpretq_u32_f32(a)),
    iota vld1q_u32([0, 1, 2, 3].as_ptr()),
    shl vshlq_n_u32::<C>(a),
    shr vshrq_n_u32::<C>(a),
    rotate Self::or(Self::shl::<C>(a), Self::shr::<D>(a)),
    top vcltzq_s32(vreinterpretq_s32_u32(a))
);
