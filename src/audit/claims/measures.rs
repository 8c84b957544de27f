//! Claims about data, grids, measures of a score and distances between samples, each against its
//! definition or a closed form.

use super::likelihood::mixture;
use crate::audit::check::{Law, Part, Sampled, moments};
use crate::audit::table::{Row, Tally, table};
use crate::data::images::levels;
use crate::data::mixture::{Component, Mixture};
use crate::data::{Dither, ImageSet};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::likelihood::dequantise;
use crate::loss::Times;
use crate::loss::time::stratify;
use crate::metrics::{FEATURES, Modes, Pairwise, bures, features, image_frechet, sliced, w1, w2};
use crate::nn::adam::Adam;
use crate::process::Vp;
use crate::sampler::Grid;
use crate::sampler::grid::Spacing;
use crate::schedule::Schedule;
use crate::score::complexity::Normal;
use crate::score::{Gaussian, MixtureScore, Score};
use crate::simd::Set;
use crate::simd::loops::pointwise::adam as step_of;
use crate::truth::predict::CHANNELS;
use crate::worst::worse;

const fn drawn(name: &'static str, says: &'static str) -> Row {
    Row::drawn(name, "data.mixture_sample", says)
}

const GRID: &str = "sums over a grid of 0.05 deviations to 9: as good as exact";
const SUMS: &str = "sums of some hundred terms";
const GAUSSIAN: &str = "32768 samples of one component with correlations";

#[rustfmt::skip]
static DATA: [Row; 13] = [
    Row::still("mass", "data.mixture_log_density", "the density of a mixture of three components in the plane has integral 1", 1e-10, GRID),
    Row::still("moments", "data.mixture_moments", "mean and covariance of a mixture are the integrals over its density", 1e-9, GRID),
    drawn("mean.x", GAUSSIAN), drawn("cov.xx", GAUSSIAN), drawn("mean.v", GAUSSIAN), drawn("cov.xv", GAUSSIAN), drawn("cov.vv", GAUSSIAN),
    drawn("shares", "share of 32768 samples from one of two far components of equal weight is a half"),
    Row::still("scale", "data.scale", "a pixel k without noise is 2 (k + 1/2)/levels - 1", 1e-15, "two roundings"),
    Row::still("scale.noise", "data.scale", "a pixel k with noise, in levels, is between k and k + 1", 0.5, "half a level, about its middle"),
    Row::still("level", "data.level", "level of a pixel's number is the pixel, with noise and without", 0.5, "levels are whole numbers"),
    Row::still("dequantise", "likelihood.dequantise", "a number k with noise, in levels, is between k and k + 1", 0.5, "half a level, about its middle"),
    Row::still("spacing", "grid.spacing", "linear and quadratic times, those by a power, and those of equal steps of log SNR are as their formulas have them", 1e-9, "powers, and a root that is found to 1e-12"),
];

#[rustfmt::skip]
static MEASURES: [Row; 2] = [
    Row::still("gaussian", "complexity.gaussian", "distance to the prior's score and size of the Jacobian, for normal data, are those by quadrature that is exact, and by differences", 1e-8, "condition up to 1e5; differences of an affine function"),
    Row::still("mixture", "complexity.mixture", "size of the Jacobian for a mixture of one component is that for normal data", 1e-9, "condition up to 1e5"),
];

#[rustfmt::skip]
static METRICS: [Row; 9] = [
    Row::still("w1", "metric.w1", "W1 of samples of 12 and of 18 numbers is the mean distance of the quantiles of 36", 1e-13, SUMS),
    Row::still("w2", "metric.w2", "W2 of samples of 12 and of 18 numbers is the root mean square distance of the quantiles of 36", 1e-13, SUMS),
    Row::still("sliced", "metric.sliced", "sliced distances in one dimension are W1 and W2", 1e-13, SUMS),
    Row::still("bures", "metric.bures", "distance of Gaussians in the plane is that by traces and determinants, W^2 = |m|^2 + tr A + tr B - 2 sqrt(tr AB + 2 sqrt(det A det B))", 1e-7, "the closed form loses half of the digits"),
    Row::still("energy", "metric.energy", "energy distance of 9 and 7 points is that of its definition, pair by pair", 1e-12, SUMS),
    Row::still("mmd", "metric.mmd", "MMD^2 of 9 and 7 points is that of its definition, pair by pair", 1e-12, SUMS),
    Row::still("blocks", "metric.blocks", "in blocks of 4 both are the means over blocks of the whole", 1e-12, SUMS),
    Row::still("modes", "metric.modes", "chi-squared of samples at the centres, 5, 3 and 4 of 12 for weights of 1/2, 1/4 and 1/4, is 1/2", 1e-13, SUMS),
    Row::still("image_frechet", "metric.image_frechet", "distance of images is that of Gaussians with the mean and covariance of their features", 1e-6, "roots of covariances of rank 19 of 64: half of the digits"),
];

#[rustfmt::skip]
static TRAINING: [Row; 3] = [
    Row::still("times.uniform", "loss.time.uniform", "a uniform time is eps + (1 - eps) u, of density 1/(1 - eps)", 1e-14, "a sum and a product"),
    Row::still("times.stratified", "loss.time.stratified", "the i-th of n stratified numbers is (i + u)/n", 1e-14, "a sum and a quotient"),
    Row::still("adam", "nn.adam", "weights, moments and average after 40 steps of Adam with warm-up, clipping, decay and average, in f64, are those of its definition", 1e-12, "sums of 40 terms"),
];

/// Sums of f, x f and x x f over a grid, f a density in the plane.
fn integrals(m: &Mixture) -> Result<(f64, Vec<f64>, Vec<f64>)> {
    // three deviations are 0.3 to 0.64 wide, means within 1.3
    let (h, n) = (0.02, 320);
    let (mut mass, mut first, mut second) = (0.0, vec![0.0; 2], vec![0.0; 4]);
    for i in -n..=n {
        for j in -n..=n {
            let x = [h * f64::from(i), h * f64::from(j)];
            let f = m.log_density(&x)?.exp() * h * h;
            mass += f;
            for a in 0..2 {
                first[a] += f * x[a];
                (0..2).for_each(|b| second[2 * a + b] += f * x[a] * x[b]);
            }
        }
    }
    Ok((mass, first, second))
}

fn data(seed: u64, tally: &mut Tally<'_>) -> Result<()> {
    let m = mixture(2)?;
    let (mass, first, second) = integrals(&m)?;
    tally.near("mass", 0.0, mass, 1.0, 1.0)?;
    let cov: Vec<f64> = (0..4)
        .map(|n| second[n] - first[n / 2] * first[n % 2])
        .collect();
    tally.all("moments", 1.0, &m.mean(), &first)?;
    tally.all("moments", 2.0, &m.covariance(), &cov)?;

    let n = 32_768;
    let (mean, lower) = (vec![0.3, -0.8], vec![0.7, 0.0, -0.4, 0.5]);
    let one = Mixture::new(vec![Component {
        weight: 1.0,
        mean: mean.clone(),
        lower,
    }])?;
    let x = one.sample(seed, n)?;
    let channels: Vec<Vec<f64>> = (0..2)
        .map(|c| x.iter().skip(c).step_by(2).copied().collect())
        .collect();
    // L L^T
    let cov = [0.49, -0.28, -0.28, 0.41];
    for (name, point) in moments(0.0, &channels, &mean, &cov, &CHANNELS) {
        tally.sampled(&name, point)?;
    }
    let far = Mixture::new(vec![
        Component::round(0.5, vec![-50.0], 1.0),
        Component::round(0.5, vec![50.0], 1.0),
    ])?;
    let right = far.sample(seed, n)?.iter().filter(|x| **x > 0.0).count();
    tally.sampled(
        "shares",
        Sampled {
            at: 0.0,
            found: right as f64 / n as f64,
            expected: 0.5,
            // a fair coin's tails are below the normal law's (Hoeffding)
            law: Law::Normal(0.5 / (n as f64).sqrt()),
            unit: 0.5,
        },
    )?;
    images(seed, tally)
}

fn images(seed: u64, tally: &mut Tally<'_>) -> Result<()> {
    for count in [2u32, 5, 256] {
        let pixels: Vec<u8> = (0..count).map(|k| k as u8).collect();
        let set = ImageSet::new("all", [1, 1, count as usize], count, pixels.clone(), None)?;
        let (still, noisy) = (
            set.rows(&[0], 0, &Dither::none())?,
            set.rows(&[0], 0, &Dither::new(seed, false))?,
        );
        let numbers: Vec<u32> = (0..count).collect();
        let drawn = dequantise(&numbers, count, seed)?;
        let at = f64::from(count);
        let level = |x: f64| (x + 1.0) * at / 2.0;
        for (k, pixel) in pixels.iter().enumerate() {
            let from = f64::from(*pixel);
            let expected = 2.0 * (from + 0.5) / at - 1.0;
            tally.near("scale", at, still[k], expected, 1.0)?;
            let bounds = [from, from + 1.0];
            tally.between("scale.noise", at, level(noisy[k]), bounds)?;
            tally.between("dequantise", at, level(drawn[k]), bounds)?;
        }
        for values in [&still, &noisy] {
            for (found, pixel) in levels(values, count)?.iter().zip(&pixels) {
                tally.near("level", at, f64::from(*found), f64::from(*pixel), 1.0)?;
            }
        }
    }
    let (d, steps, eps) = (Diffusion::paper()?, 10, 1e-3);
    let r = |i: usize| 1.0 - i as f64 / steps as f64;
    type Times<'a> = &'a dyn Fn(f64) -> f64;
    let power = |r: f64| {
        let low = f64::powf(eps, 1.0 / 7.0);
        (low + (1.0 - low) * r).powi(7)
    };
    let kinds: [(Spacing, Times<'_>); 3] = [
        (Spacing::Linear, &|r| eps + (1.0 - eps) * r),
        (Spacing::Quadratic, &|r| eps + (1.0 - eps) * r * r),
        (Spacing::Power(7.0), &power),
    ];
    for (spacing, time) in kinds {
        let grid = Grid::spaced(spacing, &d, steps, eps)?;
        let expected: Vec<f64> = (0..=steps).map(|i| time(r(i))).collect();
        tally.all("spacing", steps as f64, grid.times(), &expected)?;
    }
    let grid = Grid::spaced(Spacing::LogSnr, &d, steps, eps)?;
    let snr = |t: f64| -> Result<f64> { Ok(d.kernel(t)?.log_snr) };
    let (from, to) = (snr(1.0)?, snr(eps)?);
    for (i, t) in grid.times().iter().enumerate() {
        let expected = from + (to - from) * i as f64 / steps as f64;
        tally.near("spacing", *t, snr(*t)?, expected, to.abs())?;
    }
    Ok(())
}

/// Nodes of a standard normal that are exact for cubics: both with weight 1/2.
const NODES: [f64; 2] = [-1.0, 1.0];

fn measures(_: u64, tally: &mut Tally<'_>) -> Result<()> {
    let vp = Diffusion::of(Vp, Schedule::linear(0.1, 19.9)?, 0.0)?;
    for d in [Diffusion::paper()?, vp] {
        let (k, data) = (d.channels(), Gaussian::new(d.clone(), 0.4, 0.6)?);
        let single = Mixture::new(vec![Component::round(1.0, vec![0.4], 0.6)])?;
        let prior = d.prior();
        for t in [0.02, 0.3, 1.0] {
            let (mean, cov) = data.law(t)?;
            let rest = |u: &[f64]| -> Result<Vec<f64>> {
                let views: Vec<&[f64]> = u.iter().map(std::slice::from_ref).collect();
                let mut out = vec![vec![0.0]; d.noised().len()];
                let mut slices: Vec<&mut [f64]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                data.score(t, &views, &mut slices)?;
                let missed = |(s, &c): (&Vec<f64>, &usize)| s[0] + u[c] / prior[(c, c)];
                Ok(out.iter().zip(d.noised()).map(missed).collect())
            };
            let a = cov[(0, 0)].sqrt();
            let state = |z: &[f64]| -> Vec<f64> {
                let x = mean[0] + a * z[0];
                if k == 1 {
                    return vec![x];
                }
                let b = cov[(0, 1)] / a;
                let c = (cov[(1, 1)] - b * b).sqrt();
                vec![x, mean[1] + b * z[0] + c * z[1]]
            };
            let mut difference = 0.0;
            for code in 0..1usize << k {
                let z: Vec<f64> = (0..k).map(|i| NODES[code >> i & 1]).collect();
                let square: f64 = rest(&state(&z))?.iter().map(|x| x * x).sum();
                difference += square / f64::from(1u32 << k);
            }
            let mut square = 0.0;
            for i in 0..k {
                let moved = |by: f64| {
                    let mut u = mean.clone();
                    u[i] += by;
                    rest(&u)
                };
                let (up, down) = (moved(1.0)?, moved(-1.0)?);
                square += up
                    .iter()
                    .zip(&down)
                    .map(|(u, d)| (0.5 * (u - d)).powi(2))
                    .sum::<f64>();
            }
            let found = data.complexity(Normal::Prior, t)?;
            tally.near("gaussian", t, found.difference, difference, difference)?;
            tally.near("gaussian", t, found.jacobian, square.sqrt(), square.sqrt())?;
            let of_mixture = MixtureScore::new(d.clone(), single.clone());
            let of_mixture = of_mixture.complexity(Normal::Prior, t, 1, 2)?.jacobian;
            tally.near("mixture", t, of_mixture, found.jacobian, found.jacobian)?;
        }
    }
    Ok(())
}

/// Numbers of no order.
fn wave(seed: f64, n: usize) -> Vec<f64> {
    (0..n)
        .map(|i| ((i as f64 + 0.6) * seed).sin() * 1.5)
        .collect()
}

/// Distances on the line: of samples of 12 and of 18 numbers, by the quantiles of 36.
fn on_the_line(tally: &mut Tally<'_>) -> Result<()> {
    let (a, b) = (wave(1.7, 12), wave(2.9, 18));
    let many = |x: &[f64], times: usize| {
        let mut all: Vec<f64> = x.iter().flat_map(|x| vec![*x; times]).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let pairs: Vec<f64> = many(&a, 3)
        .iter()
        .zip(many(&b, 2))
        .map(|(x, y)| x - y)
        .collect();
    let first = pairs.iter().map(|d| d.abs()).sum::<f64>() / 36.0;
    let second = (pairs.iter().map(|d| d * d).sum::<f64>() / 36.0).sqrt();
    tally.near("w1", 1.0, w1(&a, &b)?, first, first)?;
    tally.near("w2", 2.0, w2(&a, &b)?, second, second)?;
    for (order, expected) in [(1, first), (2, second)] {
        let found = sliced(&a, &b, 1, order, 8, 3)?.value;
        tally.near("sliced", f64::from(order), found, expected, expected)?;
    }
    Ok(())
}

/// Distances of Gaussians in the plane, by traces and determinants.
fn of_gaussians(tally: &mut Tally<'_>) -> Result<()> {
    for (m, n) in [([0.0, 0.0], [0.0, 0.0]), ([0.3, -1.0], [1.2, 0.4])] {
        let (p, q) = ([1.3, 0.4, 0.4, 0.7], [0.5, -0.2, -0.2, 0.9]);
        let det = |c: &[f64; 4]| c[0] * c[3] - c[1] * c[2];
        let both = p[0] * q[0] + p[1] * q[2] + p[2] * q[1] + p[3] * q[3];
        let root = (both + 2.0 * (det(&p) * det(&q)).sqrt()).sqrt();
        let moved: f64 = m
            .iter()
            .zip(&n)
            .map(|(x, y): (&f64, &f64)| (x - y) * (x - y))
            .sum();
        let expected = (moved + p[0] + p[3] + q[0] + q[3] - 2.0 * root).sqrt();
        tally.near("bures", moved, bures(&m, &p, &n, &q)?, expected, expected)?;
    }
    Ok(())
}

/// Energy distance or MMD^2 of points in the plane by the definition, `k` of every pair.
fn pair_by_pair(a: &[f64], b: &[f64], k: impl Fn(&[f64], &[f64]) -> f64) -> f64 {
    let mean = |a: &[f64], b: &[f64], own: bool| {
        let (mut sum, mut n) = (0.0, 0.0);
        for (i, x) in a.chunks_exact(2).enumerate() {
            for (j, y) in b.chunks_exact(2).enumerate() {
                if !own || i != j {
                    sum += k(x, y);
                    n += 1.0;
                }
            }
        }
        sum / n
    };
    mean(a, a, true) + mean(b, b, true) - 2.0 * mean(a, b, false)
}

/// Energy distance and MMD, of all pairs and in blocks.
fn of_pairs(tally: &mut Tally<'_>) -> Result<()> {
    let (a, b) = (wave(1.1, 18), wave(2.3, 14));
    let (c, d) = (wave(3.1, 24), wave(0.9, 24));
    let mmd = Pairwise::Mmd { bandwidth: 0.8 };
    for (name, pairwise) in [("energy", Pairwise::Energy), ("mmd", mmd)] {
        let k = |x: &[f64], y: &[f64]| {
            let square: f64 = x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum();
            if name == "energy" {
                -square.sqrt()
            } else {
                (-square / (2.0 * 0.64)).exp()
            }
        };
        let found = pairwise.all_pairs(&a, &b, 2)?.value;
        tally.near(name, 0.0, found, pair_by_pair(&a, &b, k), 1.0)?;
        let blocks = c.chunks_exact(8).zip(d.chunks_exact(8));
        let expected = blocks.map(|(c, d)| pair_by_pair(c, d, k)).sum::<f64>() / 3.0;
        let found = pairwise.blocks(&c, &d, 2, 4)?.value;
        tally.near("blocks", 0.0, found, expected, 1.0)?;
    }
    Ok(())
}

/// Mean and covariance of the features of twenty images.
fn law_of_features(x: &[f64], shape: [usize; 3]) -> Result<(Vec<f64>, Vec<f64>)> {
    let f = features(x, shape)?;
    let n = 20.0;
    let mean: Vec<f64> = (0..FEATURES)
        .map(|i| f.chunks_exact(FEATURES).map(|r| r[i]).sum::<f64>() / n)
        .collect();
    let cov = (0..FEATURES * FEATURES)
        .map(|e| {
            let (i, j) = (e / FEATURES, e % FEATURES);
            let part = |r: &[f64]| (r[i] - mean[i]) * (r[j] - mean[j]);
            f.chunks_exact(FEATURES).map(part).sum::<f64>() / (n - 1.0)
        })
        .collect();
    Ok((mean, cov))
}

fn metrics(_: u64, tally: &mut Tally<'_>) -> Result<()> {
    on_the_line(tally)?;
    of_gaussians(tally)?;
    of_pairs(tally)?;

    let centres = [0.0, 10.0, 20.0];
    let samples: Vec<f64> = [vec![0.0; 5], vec![10.1; 3], vec![19.9; 4]].concat();
    let modes = Modes::new(&centres, 1, &[2.0, 1.0, 1.0], 0.5)?;
    // (5 - 6)^2/6 + 0 + (4 - 3)^2/3 = 1/2
    let found = modes.cover(&samples, 2.0)?.chi_square;
    tally.near("modes", 0.0, found, 0.5, 0.5)?;

    let shape = [1, 8, 8];
    let (a, b) = (wave(0.31, 20 * 64), wave(0.47, 20 * 64));
    let ((m, p), (n, q)) = (law_of_features(&a, shape)?, law_of_features(&b, shape)?);
    let expected = bures(&m, &p, &n, &q)?;
    let found = image_frechet(&a, &b, shape)?;
    tally.near("image_frechet", 0.0, found, expected, worse(expected, 1e-3))
}

fn training(_: u64, tally: &mut Tally<'_>) -> Result<()> {
    let (eps, n) = (1e-3, 9);
    let times = Times::uniform(eps)?;
    let mut uniforms: Vec<f64> = (0..n).map(|i| i as f64 / (n - 1) as f64).collect();
    let expected: Vec<f64> = (0..n)
        .map(|i| (i as f64 + uniforms[i]) / n as f64)
        .collect();
    for u in &uniforms {
        let (t, density) = times.draw(*u);
        tally.near("times.uniform", *u, t, eps + (1.0 - eps) * u, 1.0)?;
        tally.near("times.uniform", *u, density, 1.0 / (1.0 - eps), 1.0)?;
    }
    stratify(&mut uniforms);
    tally.all("times.stratified", n as f64, &uniforms, &expected)?;
    adam_by_definition(tally)
}

/// Forty steps of Adam beside its definition.
fn adam_by_definition(tally: &mut Tally<'_>) -> Result<()> {
    let adam = Adam {
        rate: 0.02,
        warm_up: 10,
        clip: 1.5,
        decay: 0.3,
        average: 0.7,
        ..Adam::default()
    };
    let start = wave(0.7, 5);
    let (mut p, mut m, mut v) = (start.clone(), vec![0.0; 5], vec![0.0; 5]);
    let mut mean = start;
    let all = [&p, &m, &v, &mean].map(Clone::clone);
    let [mut q, mut first, mut second, mut kept] = all;
    for step in 1..=40u64 {
        let g = wave(1.1 + 0.1 * step as f64, 5);
        let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        let numbers = adam.step::<f64>(step, norm);
        step_of(
            Set::current(),
            numbers,
            &g,
            &mut q,
            &mut first,
            &mut second,
            &mut kept,
        );
        let s = step as f64;
        let rate = 0.02 * (s / 10.0).min(1.0);
        let share = 0.7f64.min((1.0 + s) / (10.0 + s));
        for i in 0..5 {
            let g = g[i] * (1.5 / norm).min(1.0);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let (m, v) = (
                m[i] / (1.0 - 0.9f64.powi(step as i32)),
                v[i] / (1.0 - 0.999f64.powi(step as i32)),
            );
            p[i] -= rate * 0.3 * p[i] + rate * m / (v.sqrt() + 1e-8);
            mean[i] = share * mean[i] + (1.0 - share) * p[i];
        }
    }
    for (found, expected) in [(&q, &p), (&first, &m), (&second, &v), (&kept, &mean)] {
        tally.all("adam", 40.0, found, expected)?;
    }
    Ok(())
}

/// Data, measures of a score, metrics, and training.
///
/// # Errors
/// None: the cases are fixed.
pub fn parts() -> Result<Vec<Part>> {
    Ok(vec![
        table("data".into(), "", DATA.iter().collect(), data),
        table("complexity".into(), "", MEASURES.iter().collect(), measures),
        table("metrics".into(), "", METRICS.iter().collect(), metrics),
        table("training".into(), "", TRAINING.iter().collect(), training),
    ])
}
