//! The toys, built anew at each call; the registry is in the module above.

use super::{Component, Mixture};
use crate::error::Result;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Five Gaussians of unequal weight, with full covariances of condition 2 to 30.
pub fn mixture() -> Result<Mixture> {
    let c = |weight, mean: [f64; 2], a, b, c| Component {
        weight,
        mean: mean.to_vec(),
        lower: vec![a, 0.0, b, c],
    };
    Mixture::new(vec![
        c(0.1, [1.2, -1.1], 0.2, 0.3, 0.15),
        c(0.3, [0.3, -0.1], 0.25, 0.35, 0.2),
        c(0.25, [-1.1, -1.0], 0.3, 0.0, 0.2),
        c(0.2, [-1.0, 1.2], 0.15, -0.2, 0.1),
        c(0.15, [1.3, 1.1], 0.1, 0.05, 0.25),
    ])
}

/// Modes at (i, j) in {-1, 0, 1}^2 turned by 45 degrees, deviation 0.08.
pub fn diamond() -> Result<Mixture> {
    let at = |n: usize| {
        let (i, j) = ((n / 3) as f64 - 1.0, (n % 3) as f64 - 1.0);
        vec![FRAC_1_SQRT_2 * (i - j), FRAC_1_SQRT_2 * (i + j)]
    };
    Mixture::new(
        (0..9)
            .map(|n| Component::round(1.0 / 9.0, at(n), 0.08))
            .collect(),
    )
}

/// Five rolls, one in the middle and one in each corner; each the spiral r = 0.55 a / (4.5 pi), a
/// from 1.5 pi to 4.5 pi, with Gaussians of deviation 0.02 at steps of equal area swept (equal a^2:
/// nearly equal length).
pub fn swissroll() -> Result<Mixture> {
    const ROLLS: [[f64; 2]; 5] = [
        [0.0, 0.0],
        [1.2, 1.2],
        [-1.2, 1.2],
        [-1.2, -1.2],
        [1.2, -1.2],
    ];
    const EACH: usize = 60;
    let (first, last) = (1.5 * PI, 4.5 * PI);
    let point = |n: usize| {
        let s = (n as f64 + 0.5) / EACH as f64;
        let a = (first * first + s * (last * last - first * first)).sqrt();
        let r = 0.55 * a / last;
        [r * a.cos(), r * a.sin()]
    };
    let weight = 1.0 / (ROLLS.len() * EACH) as f64;
    let all = (0..ROLLS.len() * EACH).map(|n| {
        let (o, p) = (ROLLS[n / EACH], point(n % EACH));
        Component::round(weight, vec![o[0] + p[0], o[1] + p[1]], 0.02)
    });
    Mixture::new(all.collect())
}

/// Modes at 0.9 (i, j), i and j from -2 to 2, deviation 0.05.
pub fn modes25() -> Result<Mixture> {
    let at = |n: usize| vec![0.9 * ((n / 5) as f64 - 2.0), 0.9 * ((n % 5) as f64 - 2.0)];
    Mixture::new(
        (0..25)
            .map(|n| Component::round(0.04, at(n), 0.05))
            .collect(),
    )
}

/// Neal's funnel, x ~ N(0, 0.6^2) and y | x ~ N(0, (0.4 e^(1.5 x))^2), made finite: x is a mixture
/// of Gaussians of deviation 0.09, 0.09 apart from -1.8 to 1.8, and y has in each the deviation of
/// its middle. So y's width goes in steps that overlap, and the mouth and the tip are cut at three
/// deviations of x: a mixture near the funnel, not the funnel.
pub fn funnel() -> Result<Mixture> {
    const STEP: f64 = 0.09;
    let middle = |n: usize| STEP * (n as f64 - 20.0);
    let weight = |n: usize| (-0.5 * middle(n).powi(2) / (0.36 - STEP * STEP)).exp();
    let sum: f64 = (0..41).map(weight).sum();
    let all = (0..41).map(|n| {
        let width = 0.4 * (1.5 * middle(n)).exp();
        Component {
            weight: weight(n) / sum,
            mean: vec![middle(n), 0.0],
            lower: vec![STEP, 0.0, 0.0, width],
        }
    });
    Mixture::new(all.collect())
}
