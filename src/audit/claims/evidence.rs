//! Claims about the evidence bound, for scores of which every part of the estimate is known without
//! noise: none, one that no state changes, and one along the noise itself.
//!
//! The estimate of a row of d coordinates is, with r stratified on [0, 1], `t = eps + (1 - eps) r^2`
//! and `w = L^-T xi` with both signs,
//!
//! ```text
//! d tr F B(eps, 1) + mean of log p_1(u_1) - mean over r of 2 r (1 - eps) b(t) g (|s|^2/2 + s . w)
//! ```
//!
//! so that `|s|^2 = 1/(b r)` and `s . w = 1/(b r)` leave the same at every r, and an affine
//! `log p_1` is its value at the mean.

use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Law, Part, Sampled};
use crate::audit::table::{Row, Tally, table};
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::likelihood::{Likelihood, Terminal};
use crate::process::AnyLaw;
use crate::score::Score;
use crate::truth::linear::inverse;
use crate::worst::worse;

/// Where bounds count from.
const EPS: f64 = 1e-2;

/// Coordinates of a row, rows, strata and draws.
const DIM: usize = 8;
const ROWS: usize = 3;
const STRATA: usize = 8;
const DRAWS: usize = 4;

/// Velocities of a row.
const VELOCITIES: usize = 512;

/// Why the parts of an estimate are right to this.
const SUMS: &str = "sums of some hundred terms that cancel in pairs";

#[rustfmt::skip]
static ROWS_OF_TABLE: [Row; 4] = [
    Row::still("evidence.mean", "likelihood.evidence", "evidence without a score, of an affine log-density at t = 1, is that log-density of the mean and the drift's trace", 1e-10, SUMS),
    Row::still("evidence.square", "likelihood.evidence", "evidence loses half the square of a score that no state changes", 1e-10, SUMS),
    Row::still("evidence.cross", "likelihood.evidence", "evidence loses the product of the score and the noise, known where the score is along the noise (half the difference of both signs)", 1e-6, "noise from state less mean, which cancels by up to 1e9 near the start"),
    Row::drawn("evidence.velocities", "likelihood.evidence_bound", "variance of the velocities that are drawn, read off the bound without a score, is gamma M"),
];

/// How far r is along its stratification, from t.
fn along(t: f64) -> f64 {
    ((t - EPS) / (1.0 - EPS)).sqrt()
}

/// `size_c / sqrt(b r)` in each noised channel.
struct Flat<'a> {
    diffusion: &'a Diffusion,
    size: f64,
}

impl Flat<'_> {
    fn part(&self, c: usize) -> f64 {
        self.size * (1.0 + 0.3 * c as f64)
    }
}

impl Score for Flat<'_> {
    fn score(&self, t: f64, _: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let weight = (self.diffusion.rate(t) * along(t)).sqrt();
        for (&c, out) in self.diffusion.noised().iter().zip(out) {
            out.fill(self.part(c) / weight);
        }
        Ok(())
    }
}

/// `size w d/(|w|^2 b r)` in each noised channel, `w` that channel of the kernel's `L^-T xi`, which
/// is `P (u - Phi u_0)`: its product with w is `size d/(b r)`.
struct Along<'a> {
    diffusion: &'a Diffusion,
    start: &'a [Vec<f64>],
    size: f64,
}

impl Score for Along<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let law = from_eps(self.diffusion, t)?;
        let (precision, _) = inverse(&law.cov)?;
        let weight = self.diffusion.rate(t) * along(t);
        let k = u.len();
        for (&c, out) in self.diffusion.noised().iter().zip(out) {
            let pulled = |e: usize| {
                let missed = |j: usize| {
                    let mean = (0..k).fold(Dd::ZERO, |s, l| {
                        s + law.mean[(j, l)] * Dd::from(self.start[l][e])
                    });
                    Dd::from(u[j][e]) - mean
                };
                (0..k)
                    .fold(Dd::ZERO, |s, j| s + precision[(c, j)] * missed(j))
                    .to_f64()
            };
            let w: Vec<f64> = (0..out.len()).map(pulled).collect();
            for (out, w) in out.chunks_exact_mut(DIM).zip(w.chunks_exact(DIM)) {
                let square: f64 = w.iter().map(|x| x * x).sum();
                let size = self.size * DIM as f64 / (square * weight);
                out.iter_mut().zip(w).for_each(|(o, w)| *o = size * w);
            }
        }
        Ok(())
    }
}

/// The transition from `EPS`, by doubling.
fn from_eps(d: &Diffusion, t: f64) -> Result<AnyLaw> {
    Ok(d.process().law(d.schedule().span(EPS, t)?, 0.0, 0.0))
}

/// The drift's part of a row's log-density: `d tr F B(eps, 1)`.
fn stretched(d: &Diffusion) -> Result<f64> {
    let trace: f64 = (0..d.channels()).map(|i| d.drift()[(i, i)]).sum();
    Ok(DIM as f64 * trace * d.schedule().integral(EPS, 1.0)?)
}

/// Slope of the affine log-density at t = 1 in each channel.
fn slope(c: usize) -> f64 {
    [0.4, -0.7, 0.3, 0.9][c % 4]
}

fn affine(u: &[&[f64]], out: &mut [f64]) -> Result<()> {
    for (r, o) in out.iter_mut().enumerate() {
        let sum = |c: &[f64]| c[r * DIM..][..DIM].iter().sum::<f64>();
        *o = 0.2
            + u.iter()
                .enumerate()
                .map(|(i, c)| slope(i) * sum(c))
                .sum::<f64>();
    }
    Ok(())
}

fn bounds(d: &Diffusion, seed: u64, tally: &mut Tally<'_>) -> Result<()> {
    let k = d.channels();
    let start: Vec<Vec<f64>> = (0..k)
        .map(|c| {
            let wave = |i: usize| ((i as f64 + 0.7) * (1.1 + c as f64)).sin();
            (0..ROWS * DIM).map(wave).collect()
        })
        .collect();
    let views: Vec<&[f64]> = start.iter().map(Vec::as_slice).collect();
    let l = Likelihood::new(d, DIM, EPS, 1e-6, Terminal::Law(&affine))?;
    let values = |score: &dyn Score| -> Result<Vec<f64>> {
        let found = l.evidence(score, &views, STRATA, DRAWS, seed)?;
        Ok(found.iter().map(|e| e.value).collect())
    };
    let flat = |size: f64| Flat { diffusion: d, size };
    let (none, some) = (values(&flat(0.0))?, values(&flat(0.8))?);
    let pulled = |size: f64| Along {
        diffusion: d,
        start: &start,
        size,
    };
    let size = 1e-3;
    let (up, down) = (values(&pulled(size))?, values(&pulled(-size))?);
    let drift = stretched(d)?;
    let mean = from_eps(d, 1.0)?.mean.map(Dd::to_f64);
    let gain = |c: usize| d.noise(1.0)[(c, c)];
    let square: f64 = d
        .noised()
        .iter()
        .map(|&c| gain(c) * flat(0.8).part(c).powi(2))
        .sum();
    let cross: f64 = d.noised().iter().map(|&c| gain(c)).sum();
    let both = DIM as f64 * (1.0 - EPS);
    for r in 0..ROWS {
        let sum = |l: usize| start[l][r * DIM..][..DIM].iter().sum::<f64>();
        let end = |c: usize| (0..k).map(|l| mean[(c, l)] * sum(l)).sum::<f64>();
        let expected = drift + 0.2 + (0..k).map(|c| slope(c) * end(c)).sum::<f64>();
        let (at, unit) = (r as f64, worse(drift.abs(), 1.0));
        tally.near("evidence.mean", at, none[r], expected, unit)?;
        let unit = both * square;
        tally.near("evidence.square", at, some[r] - none[r], -unit, unit)?;
        let slope = (up[r] - down[r]) / (2.0 * size);
        let unit = 2.0 * both * cross;
        tally.near("evidence.cross", at, slope, -unit, unit)?;
    }
    Ok(())
}

/// The bound without a score and with no log-density at t = 1 is the drift's part less
/// `log q(v)`, a chi-squared.
fn velocities(d: &Diffusion, seed: u64, tally: &mut Tally<'_>) -> Result<()> {
    let nothing = |_: &[&[f64]], out: &mut [f64]| {
        out.fill(0.0);
        Ok(())
    };
    let (k, variance) = (d.channels(), d.gamma() * d.process().mass());
    let l = Likelihood::new(d, DIM, EPS, 1e-6, Terminal::Law(&nothing))?;
    let none = Flat {
        diffusion: d,
        size: 0.0,
    };
    let found = l.evidence_bound(&none, &[0.3; DIM], 1, VELOCITIES, seed)?;
    let drift = stretched(d)?;
    // -log q(v) = 1/2 (sum v^2/variance + n log 2 pi variance)
    let n = (DIM * (k - 1)) as f64;
    let square = 2.0 * (found[0].value - drift) / n - (std::f64::consts::TAU * variance).ln();
    tally.sampled(
        "evidence.velocities",
        Sampled {
            at: EPS,
            found: square * variance,
            expected: variance,
            law: Law::ChiSquared(n * VELOCITIES as f64),
            unit: variance,
        },
    )
}

/// Every process that likelihoods are claimed of.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Rated| {
        let (d, name) = (case.diffusion, format!("evidence.{}", case.name));
        let drawn = d.gamma() > 0.0;
        let rows = ROWS_OF_TABLE
            .iter()
            .filter(|r| r.tests == 0 || drawn)
            .collect();
        let run = move |seed: u64, tally: &mut Tally<'_>| {
            bounds(&d, seed, tally)?;
            if drawn {
                velocities(&d, seed, tally)?;
            }
            Ok(())
        };
        table(name, &case.about, rows, run)
    };
    Ok(rated()?
        .into_iter()
        .filter(|c| c.likelihood)
        .map(part)
        .collect())
}
