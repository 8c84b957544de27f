//! Claims about likelihoods: the flow against exact densities of a mixture, probes, bounds on
//! velocities, entropies and bits.

use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Check, Law, Near, Part, Points, Sampled};
use crate::audit::claim::{Claim, Method};
use crate::data::mixture::{Component, Mixture};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::kernel::Objective;
use crate::likelihood::{
    Divergence, Likelihood, Probe, Terminal, Trace, bits_per_dimension, dequantise,
};
use crate::score::{Gaussian, MixtureScore, Score};
use crate::truth::predict::CHANNELS;
use crate::worst::{distances, largest};

/// Where velocities have the law they start with.
const NEAR: f64 = 1e-9;

/// Where flows begin.
const EPS: f64 = 1e-2;

/// Deviation of Gaussian data.
const DEVIATION: f64 = 0.5;

/// Rows that likelihoods are found for.
const ROWS: usize = 4;

/// Probes of the claims by sampling.
const PROBES: usize = 512;

/// Velocities of the claims by sampling.
const VELOCITIES: usize = 2048;

/// Three components; one with correlations, for `dim` above 1.
pub(super) fn mixture(dim: usize) -> Result<Mixture> {
    let means = [[0.7, -1.2], [-0.5, 0.2], [1.1, 0.8]];
    let mut all: Vec<Component> = [0.2, 0.3, 0.5]
        .iter()
        .zip(means)
        .zip([0.3, 0.5, 0.4])
        .map(|((w, m), s)| Component::round(*w, m[..dim].to_vec(), s))
        .collect();
    if dim > 1 {
        all[1].lower = vec![0.5, 0.0, -0.3, 0.4];
    }
    Mixture::new(all)
}

/// Log-densities of a mixture's first channels by one dense matrix for each component,
/// `phi phi^T (x) Sigma + S (x) 1`.
pub(super) struct Dense<'a> {
    pub diffusion: &'a Diffusion,
    pub mixture: &'a Mixture,
}

impl Dense<'_> {
    pub fn log_density(&self, t: f64, u: &[&[f64]]) -> Result<Vec<f64>> {
        let kernel = self.diffusion.process().law(
            self.diffusion.schedule().span(0.0, t)?,
            self.gamma()?,
            0.0,
        );
        let d = self.mixture.dim();
        let n = u.len() * d;
        let phi: Vec<f64> = (0..u.len()).map(|i| kernel.mean[(i, 0)].to_f64()).collect();
        let mut parts = vec![vec![]; u[0].len() / d];
        for c in self.mixture.components() {
            let sigma = |e: usize, f: usize| {
                (0..d)
                    .map(|l| c.lower[e * d + l] * c.lower[f * d + l])
                    .sum::<f64>()
            };
            let mut l = vec![0.0; n * n];
            let mut log = c.weight.ln() - 0.5 * n as f64 * std::f64::consts::TAU.ln();
            for i in 0..n {
                for j in 0..=i {
                    let same = if i % d == j % d {
                        kernel.cov[(i / d, j / d)].to_f64()
                    } else {
                        0.0
                    };
                    let entry = phi[i / d] * phi[j / d] * sigma(i % d, j % d) + same;
                    let rest = entry - (0..j).map(|m| l[i * n + m] * l[j * n + m]).sum::<f64>();
                    l[i * n + j] = if i == j {
                        rest.sqrt()
                    } else {
                        rest / l[j * n + j]
                    };
                }
                log -= l[i * n + i].ln();
            }
            for (r, parts) in parts.iter_mut().enumerate() {
                let (mut w, mut value) = (vec![0.0; n], log);
                for i in 0..n {
                    let missed = u[i / d][r * d + i % d] - phi[i / d] * c.mean[i % d];
                    w[i] =
                        (missed - (0..i).map(|m| l[i * n + m] * w[m]).sum::<f64>()) / l[i * n + i];
                    value -= 0.5 * w[i] * w[i];
                }
                parts.push(value);
            }
        }
        let sum = |p: &Vec<f64>| {
            let most = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            most + p.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
        };
        Ok(parts.iter().map(sum).collect())
    }

    fn gamma(&self) -> Result<f64> {
        Ok(if self.diffusion.channels() == 1 {
            0.0
        } else {
            Objective::hsm(self.diffusion.gamma())?.gamma()
        })
    }
}

/// A mixture's score whose divergence is what one probe of signs finds, `e^T J e` with e = (1,
/// sign, 1, sign, ..), for one noised channel.
struct Signs<'a>(&'a MixtureScore, f64);

impl Score for Signs<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.0.score(t, u, out)
    }
}

impl Divergence for Signs<'_> {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (dim, channel) = (self.0.dim(), self.0.diffusion().noised()[0]);
        let probe = |e: usize| if e % dim % 2 == 1 { self.1 } else { 1.0 };
        let mut w: Vec<Vec<f64>> = u.iter().map(|c| vec![0.0; c.len()]).collect();
        w[channel]
            .iter_mut()
            .enumerate()
            .for_each(|(e, w)| *w = probe(e));
        let mut product = w.clone();
        self.0
            .hessian_vector(t, u, &views(&w), &mut views_mut(&mut product))?;
        let rows = product[channel].chunks(dim);
        out[0]
            .iter_mut()
            .zip(rows)
            .for_each(|(o, row)| *o = row.iter().enumerate().map(|(e, p)| probe(e) * p).sum());
        Ok(())
    }
}

pub(super) fn views(channels: &[Vec<f64>]) -> Vec<&[f64]> {
    channels.iter().map(Vec::as_slice).collect()
}

pub(super) fn views_mut(channels: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    channels.iter_mut().map(Vec::as_mut_slice).collect()
}

/// Rows near the data: x, and velocities of the size they start with.
pub(super) fn start(d: &Diffusion, dim: usize) -> Vec<Vec<f64>> {
    let size = (d.gamma() * d.process().mass()).sqrt();
    let wave = |c: usize, i: usize| ((i * (7 + 3 * c) + 2 * c) as f64).sin();
    (0..d.channels())
        .map(|c| {
            (0..ROWS * dim)
                .map(|i| wave(c, i) * if c == 0 { 1.0 } else { size })
                .collect()
        })
        .collect()
}

/// A row for each number, held against another absolutely: in nats.
fn nats(found: &[f64], expected: &[f64], tolerance: f64) -> Vec<Near> {
    assert_eq!(found.len(), expected.len(), "rows");
    let near = |(i, (f, e)): (usize, (&f64, &f64))| Near {
        at: i as f64,
        found: *f,
        expected: *e,
        tolerance,
        unit: 1.0,
    };
    found.iter().zip(expected).enumerate().map(near).collect()
}

/// Values of the flow's likelihood.
fn flow(
    d: &Diffusion,
    dim: usize,
    tolerance: f64,
    data: &Dense<'_>,
    trace: &Trace,
    u: &[Vec<f64>],
) -> Result<Vec<f64>> {
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&data.log_density(1.0, u)?);
        Ok(())
    };
    let joint = Likelihood::new(d, dim, EPS, tolerance, Terminal::Law(&law))?
        .log_joint(trace, &views(u))?;
    Ok(joint.values.iter().map(|e| e.value).collect())
}

/// A claim of an identity about one case; `name` is its entry.
fn identity(case: &Rated, name: &str, formula: &str, says: String, reason: &str) -> Claim {
    Claim::new(
        &format!("likelihood.{}/{name}", case.name),
        formula,
        Method::Identity,
        says,
        reason,
    )
}

/// A claim by sampling about one case.
fn sampled(case: &Rated, name: &str, formula: &str, says: String) -> Claim {
    Claim::new(
        &format!("likelihood.{}/{name}", case.name),
        formula,
        Method::Sampled,
        says,
        "",
    )
}

fn flow_claims(case: &Rated) -> Vec<Claim> {
    let about = &case.about;
    let reason = "1e-6: 1e-10 a step, some hundreds of steps, and what a flow makes of it";
    let says = |what: &str| {
        format!(
            "log-density of rows of a {what} in two dimensions by the flow, {about}, is the exact one of a dense law"
        )
    };
    let mut all = vec![
        identity(case, "joint", "likelihood.joint", says("mixture"), reason),
        identity(
            case,
            "gaussian",
            "likelihood.gaussian_divergence",
            says("Gaussian"),
            reason,
        ),
    ];
    for channel in &CHANNELS[..case.diffusion.channels()] {
        let says =
            format!("{channel} of the flow from {EPS} to 1 and back, {about}, is where it was");
        let reason = "1e-7: 1e-11 a step, and the growth of errors on the way back";
        all.push(identity(
            case,
            &format!("back.{channel}"),
            "likelihood.flow",
            says,
            reason,
        ));
    }
    all
}

/// The flow against densities; there and back.
fn flows(case: &Rated) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let data = mixture(2)?;
    let (dense, score, u) = (
        Dense {
            diffusion: d,
            mixture: &data,
        },
        MixtureScore::new(d.clone(), data.clone()),
        start(d, 2),
    );
    let exact = dense.log_density(EPS, &views(&u))?;
    let found = flow(d, 2, 1e-10, &dense, &Trace::Exact(&score), &u)?;
    let mut all = vec![nats(&found, &exact, 1e-6)];

    let single = Mixture::new(vec![Component::round(1.0, vec![0.4, 0.4], DEVIATION)])?;
    let (dense, gaussian) = (
        Dense {
            diffusion: d,
            mixture: &single,
        },
        Gaussian::new(d.clone(), 0.4, DEVIATION)?,
    );
    let found = flow(d, 2, 1e-10, &dense, &Trace::Exact(&gaussian), &u)?;
    all.push(nats(&found, &dense.log_density(EPS, &views(&u))?, 1e-6));

    let l = Likelihood::new(d, 2, EPS, 1e-11, Terminal::Prior)?;
    let (end, _) = l.flow(&score, &views(&u), EPS, 1.0)?;
    let (back, _) = l.flow(&score, &views(&end), 1.0, EPS)?;
    for (b, u) in back.iter().zip(&u) {
        let unit = largest(u);
        let near = |(b, u): (&f64, &f64)| Near::relative(EPS, *b, *u, 1e-7, unit);
        all.push(b.iter().zip(u).map(near).collect());
    }
    Check::all(
        flow_claims(case),
        all.into_iter().map(Points::Near).collect(),
    )
}

/// Whether one channel is noised, for which what a probe of signs finds is known.
fn one_noised(case: &Rated) -> bool {
    case.diffusion.noised().len() == 1
}

fn probe_claims(case: &Rated) -> Vec<Claim> {
    let (about, formula) = (&case.about, "likelihood.hutchinson");
    let reason = "1e-6: differences right to 1e-10, steps to 1e-9";
    let one = format!(
        "log-density by one probe of signs in one dimension, where it is exact, {about}, is that of a dense law"
    );
    let two = format!(
        "error of one probe of signs in two dimensions, {about}, is the cross term of the Hessian along the flow"
    );
    let mut all = vec![
        identity(case, "probe.1", formula, one, reason),
        identity(case, "probe.2", formula, two, reason),
    ];
    for i in 0..ROWS {
        let says = format!(
            "log-density of row {i} by {PROBES} probes of signs in two dimensions, {about}, against a dense law"
        );
        all.push(sampled(case, &format!("probes.{i}"), formula, says));
    }
    all
}

/// Probes of signs: exact in one dimension; in two, off by the cross term, one sign or the other,
/// so that the mean of many is a binomial of known standard error, with tails below the normal
/// law's.
fn probes(case: &Rated, seed: u64) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let (one, u) = (mixture(1)?, start(d, 1));
    let (dense, score) = (
        Dense {
            diffusion: d,
            mixture: &one,
        },
        MixtureScore::new(d.clone(), one.clone()),
    );
    let signs = |score, probes| Trace::Hutchinson {
        score,
        probes,
        law: Probe::Rademacher,
        seed,
    };
    let found = flow(d, 1, 1e-9, &dense, &signs(&score, 1), &u)?;
    let mut all = vec![Points::Near(nats(
        &found,
        &dense.log_density(EPS, &views(&u))?,
        1e-6,
    ))];

    let (two, u) = (mixture(2)?, start(d, 2));
    let (dense, score) = (
        Dense {
            diffusion: d,
            mixture: &two,
        },
        MixtureScore::new(d.clone(), two.clone()),
    );
    let exact = dense.log_density(EPS, &views(&u))?;
    let cross = flow(d, 2, 1e-9, &dense, &Trace::Exact(&Signs(&score, 1.0)), &u)?;
    let cross: Vec<f64> = distances(&cross, &exact).collect();
    let found = flow(d, 2, 1e-9, &dense, &signs(&score, 1), &u)?;
    let found: Vec<f64> = distances(&found, &exact).collect();
    all.push(Points::Near(nats(&found, &cross, 1e-6)));

    let found = flow(d, 2, 1e-6, &dense, &signs(&score, PROBES), &u)?;
    for (i, ((found, expected), cross)) in found.iter().zip(&exact).zip(&cross).enumerate() {
        let law = Law::Normal(cross / (PROBES as f64).sqrt());
        let p = Sampled {
            at: i as f64,
            found: *found,
            expected: *expected,
            law,
            unit: 1.0,
        };
        all.push(Points::Sampled(vec![p]));
    }
    Check::all(probe_claims(case), all)
}

fn velocity_claims(case: &Rated) -> Vec<Claim> {
    let about = &case.about;
    let says = format!(
        "entropy of the velocities of a row of 1, 2 and 5 coordinates, {about}, is the integral of -q log q"
    );
    let reason = "1e-12 per coordinate: trapezoids on a Gaussian over 24 deviations";
    let mut all = vec![identity(
        case,
        "entropy",
        "likelihood.velocity_entropy",
        says,
        reason,
    )];
    for (what, formula) in [
        ("plain", "likelihood.velocity_bound"),
        ("weighted", "likelihood.weighted_bound"),
    ] {
        let says = format!(
            "{what} bound from 8 velocities at t = {NEAR}, where velocities have the law they start with, {about}, is log p(x)"
        );
        let reason =
            "1e-6: the flow, as for the joint density; the gap is of the order of the time";
        all.push(identity(
            case,
            &format!("bound.{what}"),
            formula,
            says,
            reason,
        ));
    }
    if case.diffusion.channels() == 2 {
        let says = format!(
            "variance of {VELOCITIES} velocities of 2 coordinates, read off the plain bound on log p(0) for Gaussian data, {about}, is gamma M"
        );
        all.push(sampled(
            case,
            "bound.drawn",
            "likelihood.velocity_bound",
            says,
        ));
    }
    all
}

/// Entropy of the velocities of a row of 1, 2 and 5 coordinates by quadrature.
fn entropies(d: &Diffusion) -> Result<Vec<Near>> {
    let (k, variance) = (d.channels(), d.gamma() * d.process().mass());
    let mut points = vec![];
    for dim in [1, 2, 5] {
        // trapezoids on a bell: as good as exact
        let (n, s) = (400, variance.sqrt());
        let one = |i: usize| {
            let z = -12.0 + 24.0 * i as f64 / f64::from(n);
            let log = -0.5 * z * z - 0.5 * (std::f64::consts::TAU * variance).ln();
            -log.exp() * log * s * 24.0 / f64::from(n)
        };
        let expected = (dim * (k - 1)) as f64 * (0..=n as usize).map(one).sum::<f64>();
        let found = Likelihood::new(d, dim, EPS, 1e-6, Terminal::Prior)?.velocity_entropy()?;
        let unit = dim as f64;
        points.push(Near::relative(unit, found, expected, 1e-12, unit));
    }
    Ok(points)
}

/// Plain and weighted bounds where velocities have the law they start with: equalities.
fn bounds(d: &Diffusion, seed: u64) -> Result<[Vec<Near>; 2]> {
    let (data, x) = (mixture(2)?, start(d, 2).swap_remove(0));
    let (dense, score) = (
        Dense {
            diffusion: d,
            mixture: &data,
        },
        MixtureScore::new(d.clone(), data.clone()),
    );
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&dense.log_density(1.0, u)?);
        Ok(())
    };
    let bounds = Likelihood::new(d, 2, NEAR, 1e-10, Terminal::Law(&law))?.velocity_bound(
        &Trace::Exact(&score),
        &x,
        8,
        seed,
    )?;
    let exact = dense.log_density(NEAR, &[&x])?;
    let plain: Vec<f64> = bounds.iter().map(|b| b.plain.value).collect();
    let weighted: Vec<f64> = bounds.iter().map(|b| b.weighted.value).collect();
    Ok([plain, weighted].map(|values| nats(&values, &exact, 1e-6)))
}

/// The variance of the velocities that are drawn, from the plain bound for a Gaussian at 0: there it
/// is a constant less a chi-square.
fn drawn_variance(d: &Diffusion, seed: u64) -> Result<Sampled> {
    let (t, dim, variance) = (0.05, 2, d.gamma() * d.process().mass());
    let gaussian = Gaussian::new(d.clone(), 0.0, DEVIATION)?;
    let single = Mixture::new(vec![Component::round(1.0, vec![0.0; dim], DEVIATION)])?;
    let dense = Dense {
        diffusion: d,
        mixture: &single,
    };
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&dense.log_density(1.0, u)?);
        Ok(())
    };
    let l = Likelihood::new(d, dim, t, 1e-9, Terminal::Law(&law))?;
    let bound = l.velocity_bound(&Trace::Exact(&gaussian), &vec![0.0; dim], VELOCITIES, seed)?;
    let (_, c) = gaussian.law(t)?;
    let det = c[(0, 0)] * c[(1, 1)] - c[(0, 1)] * c[(1, 0)];
    // log p(0, v) - log q(v) for each coordinate: constant + slope v^2
    let (constant, slope) = (
        0.5 * (std::f64::consts::TAU * variance).ln() - (std::f64::consts::TAU * det.sqrt()).ln(),
        0.5 / variance - 0.5 * c[(0, 0)] / det,
    );
    Ok(Sampled {
        at: t,
        found: (bound[0].plain.value / dim as f64 - constant) / slope,
        expected: variance,
        law: Law::ChiSquared((VELOCITIES * dim) as f64),
        unit: variance,
    })
}

/// Velocities: their entropy, bounds on log p(x), and their variance.
fn velocities(case: &Rated, seed: u64) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let mut all = vec![Points::Near(entropies(d)?)];
    all.extend(bounds(d, seed)?.map(Points::Near));
    if d.channels() == 2 {
        all.push(Points::Sampled(vec![drawn_variance(d, seed)?]));
    }
    Check::all(velocity_claims(case), all)
}

/// Bits of a density that is constant on each level are those of the integers.
fn bits_claims() -> Vec<Claim> {
    let says = "bits per dimension of 2, 5 and 256 levels, dequantised under a density that is constant on each, are those of the integers";
    vec![Claim::new(
        "likelihood/bits",
        "likelihood.bits",
        Method::Identity,
        says.into(),
        "1e-12: sums of 40 logarithms",
    )]
}

fn bits(seed: u64) -> Result<Vec<Check>> {
    let mut points = vec![];
    for levels in [2u32, 5, 256] {
        let share = |i: u32| 2.0 * f64::from(i + 1) / (f64::from(levels) * f64::from(levels + 1));
        let values: Vec<u32> = (0..40).map(|i| i * 7 % levels).collect();
        let width = 2.0 / f64::from(levels);
        let level = |x: f64| (((x + 1.0) / width) as u32).min(levels - 1);
        let log = dequantise(&values, levels, seed)?
            .iter()
            .map(|x| (share(level(*x)) / width).ln())
            .sum::<f64>();
        let found = bits_per_dimension(log, values.len(), levels)?;
        let expected = values.iter().map(|i| -share(*i).log2()).sum::<f64>() / values.len() as f64;
        points.push(Near::relative(
            f64::from(levels),
            found,
            expected,
            1e-12,
            1.0,
        ));
    }
    Check::all(bits_claims(), vec![Points::Near(points)])
}

/// Every claim.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut all = vec![Part {
        case: "likelihood".into(),
        claims: bits_claims(),
        tests: 0,
        run: Box::new(bits),
    }];
    for case in rated()?.into_iter().filter(|c| c.likelihood) {
        let name = format!("likelihood.{}", case.name);
        let velocity = case.diffusion.gamma() > 0.0;
        let tests = if one_noised(&case) { ROWS } else { 0 }
            + usize::from(velocity && case.diffusion.channels() == 2);
        let mut claims = flow_claims(&case);
        if one_noised(&case) {
            claims.extend(probe_claims(&case));
        }
        if velocity {
            claims.extend(velocity_claims(&case));
        }
        // draws of their own for each process
        let own = all.len() as u64;
        let run = move |seed: u64| -> Result<Vec<Check>> {
            let seed = seed.wrapping_mul(64).wrapping_add(own);
            let mut all = flows(&case)?;
            if one_noised(&case) {
                all.extend(probes(&case, seed)?);
            }
            if velocity {
                all.extend(velocities(&case, seed)?);
            }
            Ok(all)
        };
        all.push(Part {
            case: name,
            claims,
            tests,
            run: Box::new(run),
        });
    }
    Ok(all)
}
