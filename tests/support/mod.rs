//! What tests share: row-major matrices as vectors, the scales in which errors of kernels are
//! counted, and what is one for a whole program.
#![allow(dead_code)] // each program uses its part

use cld_sgm::internal::simd::Set;
use cld_sgm::internal::worst::{within, worse};
use cld_sgm::process::AnyProcess;
use std::sync::{Mutex, PoisonError};

/// The set in use is one for the whole program: tests that force one take turns. (Those beside them
/// see another set, and the same bits.)
static SET: Mutex<()> = Mutex::new(());

/// What `f` gives on each available set.
pub fn on_every_set<T>(f: impl Fn() -> T) -> Vec<(Set, T)> {
    let _turn = SET.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Set::current();
    let sets: Vec<Set> = Set::ALL.into_iter().filter(|s| s.available()).collect();
    println!(
        "sets of instructions reached: {} of {}",
        sets.len(),
        Set::ALL.len()
    );
    let results = sets.into_iter().map(|set| {
        set.force().unwrap();
        let result = f();
        assert_eq!(Set::current(), set, "forced by two at a time");
        (set, result)
    });
    let results = results.collect();
    before.force().unwrap();
    results
}

/// Matrix product.
pub fn mul(
    a: &(impl AsRef<[f64]> + ?Sized),
    b: &(impl AsRef<[f64]> + ?Sized),
    k: usize,
) -> Vec<f64> {
    let (a, b) = (a.as_ref(), b.as_ref());
    (0..k * k)
        .map(|e| (0..k).map(|l| a[e / k * k + l] * b[l * k + e % k]).sum())
        .collect()
}

pub fn transpose(a: &(impl AsRef<[f64]> + ?Sized), k: usize) -> Vec<f64> {
    let a = a.as_ref();
    (0..k * k).map(|e| a[e % k * k + e / k]).collect()
}

pub fn abs(a: &(impl AsRef<[f64]> + ?Sized)) -> Vec<f64> {
    let a = a.as_ref();
    a.iter().map(|x| x.abs()).collect()
}

pub fn add(a: &(impl AsRef<[f64]> + ?Sized), b: &(impl AsRef<[f64]> + ?Sized)) -> Vec<f64> {
    let (a, b) = (a.as_ref(), b.as_ref());
    a.iter().zip(b).map(|(x, y)| x + y).collect()
}

/// `A S A^T`.
pub fn sandwich(
    a: &(impl AsRef<[f64]> + ?Sized),
    s: &(impl AsRef<[f64]> + ?Sized),
    k: usize,
) -> Vec<f64> {
    let (a, s) = (a.as_ref(), s.as_ref());
    mul(&mul(a, s, k), &transpose(a, k), k)
}

pub fn diagonal(d: &(impl AsRef<[f64]> + ?Sized)) -> Vec<f64> {
    let d = d.as_ref();
    let k = d.len();
    (0..k * k)
        .map(|e| if e / k == e % k { d[e / k] } else { 0.0 })
        .collect()
}

/// `sqrt(S_ii S_jj)`: bounds the entry, and has its order in t as t -> 0.
pub fn spread(s: &(impl AsRef<[f64]> + ?Sized), k: usize) -> Vec<f64> {
    let s = s.as_ref();
    (0..k * k)
        .map(|e| s[e / k * (k + 1)].sqrt() * s[e % k * (k + 1)].sqrt())
        .collect()
}

/// Largest row sum of the drift in units of the stationary deviations: the fastest rate, within a
/// factor.
pub fn rate(p: &dyn AnyProcess) -> f64 {
    let (k, f) = (p.channels(), p.drift());
    let d = deviations(p);
    (0..k)
        .map(|i| (0..k).map(|j| f[(i, j)].abs() * d[j] / d[i]).sum::<f64>())
        .fold(0.0, worse)
}

/// Stationary standard deviations; ones where there is no stationary law.
pub fn deviations(p: &dyn AnyProcess) -> Vec<f64> {
    let k = p.channels();
    p.stationary()
        .map_or(vec![1.0; k], |s| (0..k).map(|i| s[(i, i)].sqrt()).collect())
}

/// The size of the largest term of each entry of Phi: the entry, or, where that crosses zero, the
/// size of its neighbours in units of the stationary deviations, times (rate tau)^|i-j| while that
/// is below 1.
pub fn mean_scale(p: &dyn AnyProcess, phi: &(impl AsRef<[f64]> + ?Sized), tau: f64) -> Vec<f64> {
    let phi = phi.as_ref();
    let (k, d, x) = (p.channels(), deviations(p), (rate(p) * tau).min(1.0));
    let unit = |e: usize| d[e / k] / d[e % k];
    let most = (0..k * k).map(|e| phi[e].abs() / unit(e)).fold(0.0, worse);
    (0..k * k)
        .map(|e| {
            worse(
                phi[e].abs(),
                most * x.powi((e / k).abs_diff(e % k) as i32) * unit(e),
            )
        })
        .collect()
}

/// `got` = `want` to `tolerance`, entry by entry, in units of `scale`. The floor is where products
/// underflow.
pub fn close(
    what: &str,
    got: &(impl AsRef<[f64]> + ?Sized),
    want: &(impl AsRef<[f64]> + ?Sized),
    scale: &(impl AsRef<[f64]> + ?Sized),
    tolerance: f64,
) -> Result<(), String> {
    let (got, want, scale) = (got.as_ref(), want.as_ref(), scale.as_ref());
    if got.is_empty() || got.len() != want.len() || got.len() != scale.len() {
        return Err(format!(
            "{what}: {} numbers for {}, scales of {}",
            got.len(),
            want.len(),
            scale.len()
        ));
    }
    for (i, ((g, w), s)) in got.iter().zip(want).zip(scale).enumerate() {
        if !within((g - w).abs(), tolerance * s + 1e-290) {
            return Err(format!(
                "{what}: entry {i}: {g:e} for {w:e}, off by {:.2e} of {s:e}, allowed {tolerance:.2e}",
                (g - w).abs() / s
            ));
        }
    }
    Ok(())
}

/// Entries of Phi and S that never cross zero, as flags: for these "relative" means relative to the
/// entry itself. Two channels, real eigenvalues: Phi_xv, Phi_vx, Phi_xx (but for PSLD with Gamma >
/// nu, where it is 1 - |c| tau/2) and the variances; S_xv of a transition where noise is in v alone
/// or friction balances it.
pub fn keeps_sign(p: &dyn AnyProcess, gamma: f64) -> ([bool; 4], [bool; 4]) {
    let f = p.drift();
    let overdamped =
        (f[(0, 0)] - f[(1, 1)]).powi(2) >= -4.0 * f[(0, 1)] * f[(1, 0)] * (1.0 - 1e-14);
    let cov = gamma == 0.0 && overdamped && matches!(p.name(), "cld" | "sscs-analytic");
    (
        [
            overdamped && f[(0, 0)] >= f[(1, 1)],
            overdamped,
            overdamped,
            false,
        ],
        [true, cov, cov, true],
    )
}
