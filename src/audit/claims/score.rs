//! Claims about scores of mixtures and about parametrisations, for every kind of process.

use super::likelihood::{Dense, mixture, start, views};
use super::sampler::{Case, cases};
use crate::audit::check::{Check, Near, Part};
use crate::audit::claim::Method;
use crate::error::Result;
use crate::score::{Conversion, MixtureScore, Parametrisation};
use crate::truth::predict::CHANNELS;

/// Times of the claims.
const TIMES: [f64; 3] = [0.02, 0.3, 1.0];

/// Derivative at 0 by Richardson's extrapolation of central differences with steps h, h/2 and h/4: of order 6.
fn derivative(h: f64, f: &dyn Fn(f64) -> Result<f64>) -> Result<f64> {
    let central = |h: f64| -> Result<f64> { Ok((f(h)? - f(-h)?) / (2.0 * h)) };
    let (a, b, c) = (central(h)?, central(0.5 * h)?, central(0.25 * h)?);
    let (d, e) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
    Ok((16.0 * e - d) / 15.0)
}

/// Density, score and divergence of the mixture that runs against a dense law.
fn densities(case: &Case, all: &mut Vec<Check>) -> Result<()> {
    let (d, about, name) = (&case.diffusion, &case.about, format!("score.{}", case.name));
    let (data, dim, k) = (mixture(2)?, 2, case.diffusion.channels());
    let (dense, score) = (Dense { diffusion: d, mixture: &data }, MixtureScore::new(d.clone(), data.clone()));
    let (mut logs, mut slopes, mut traces) = (vec![], vec![vec![]; k], vec![vec![]; d.noised().len()]);
    for t in TIMES {
        let u = start(d, dim);
        let (rows, inverse) = (u[0].len() / dim, d.kernel(t)?.inv);
        let (mut log, mut found, mut trace) = (vec![0.0; rows], u.clone(), vec![vec![0.0; rows]; d.noised().len()]);
        score.log_density(t, &views(&u), &mut log)?;
        score.joint_score(t, &views(&u), &mut found.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
        score.divergence(t, &views(&u), &mut trace.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
        for (found, expected) in log.iter().zip(dense.log_density(t, &views(&u))?) {
            let unit = expected.abs().max(1.0);
            logs.push(Near { at: t, found: *found, expected, tolerance: 1e-11 * unit, unit });
        }
        // below the deviation of a channel given the others and the data no score of a mixture varies
        let step = |c: usize| 0.05 / inverse[c * k + c].sqrt();
        let moved = |c: usize, e: usize, by: f64| {
            let mut u = u.clone();
            u[c][e] += by;
            u
        };
        for c in 0..k {
            for (e, found) in found[c].iter().enumerate() {
                let expected = derivative(step(c), &|by| Ok(dense.log_density(t, &views(&moved(c, e, by)))?[e / dim]))?;
                let unit = expected.abs().max(inverse[c * k + c].sqrt());
                slopes[c].push(Near { at: t, found: *found, expected, tolerance: 1e-8 * unit, unit });
            }
        }
        for (l, &c) in d.noised().iter().enumerate() {
            for (row, found) in trace[l].iter().enumerate() {
                let mut expected = 0.0;
                for e in row * dim..(row + 1) * dim {
                    expected += derivative(step(c), &|by| {
                        let mut out = u.clone();
                        let mut slices: Vec<&mut [f64]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                        score.joint_score(t, &views(&moved(c, e, by)), &mut slices)?;
                        Ok(out[c][e])
                    })?;
                }
                let unit = expected.abs().max(inverse[c * k + c]);
                traces[l].push(Near { at: t, found: *found, expected, tolerance: 1e-8 * unit, unit });
            }
        }
    }
    let says = format!("log-density of a mixture in two dimensions, {about}, is that of a dense law");
    let reason = "1e-11: covariances of condition up to 1e5";
    all.push(Check::near(&format!("{name}/log"), "score.mixture_log_density", Method::Identity, says, reason, logs));
    let reason = "1e-8 of the score's size: differences of order 6 over a twentieth of a deviation";
    for (c, points) in slopes.into_iter().enumerate() {
        let says =
            format!("{} of the score of a mixture in two dimensions, {about}, is the derivative of a dense law's log-density", CHANNELS[c]);
        all.push(Check::near(&format!("{name}/score.{}", CHANNELS[c]), "score.mixture", Method::Identity, says, reason, points));
    }
    for (&c, points) in d.noised().iter().zip(traces) {
        let says = format!("divergence of the score of a mixture in {}, {about}, is the sum of its derivatives", CHANNELS[c]);
        let id = format!("{name}/divergence.{}", CHANNELS[c]);
        all.push(Check::near(&id, "score.mixture_divergence", Method::Identity, says, reason, points));
    }
    Ok(())
}

/// Every output of a known noise stands for one score, that of the kernel; and comes back from it.
fn outputs(case: &Case, all: &mut Vec<Check>) -> Result<()> {
    let (d, about, k) = (&case.diffusion, &case.about, case.diffusion.channels());
    let (m, n) = (d.noised().len(), 5);
    let wave = |seed: f64| (0..n).map(|i| ((i as f64 + 1.0) * seed).sin() * 1.7).collect::<Vec<f64>>();
    for p in Parametrisation::ALL {
        let (mut to, mut back) = (vec![], vec![]);
        for t in TIMES {
            let (kernel, c) = (d.kernel(t)?, Conversion::new(d, t)?);
            let (x, noise) = (wave(1.3), (0..k).map(|c| wave(2.1 + c as f64)).collect::<Vec<_>>());
            let lower = |i: usize, r: usize| (0..=i).map(|j| kernel.chol_lower[i * k + j] * noise[j][r]).sum::<f64>();
            let u: Vec<Vec<f64>> = (0..k).map(|i| (0..n).map(|r| kernel.mean[i * k] * x[r] + lower(i, r)).collect()).collect();
            // the kernel's score from its precision
            let pull = |i: usize, r: usize| -(0..k).map(|j| kernel.inv[i * k + j] * lower(j, r)).sum::<f64>();
            let score: Vec<Vec<f64>> = d.noised().iter().map(|&i| (0..n).map(|r| pull(i, r)).collect()).collect();
            let last = k - 1;
            let output: Vec<Vec<f64>> = match p {
                Parametrisation::Score => score.clone(),
                Parametrisation::Eps => d.noised().iter().map(|&i| noise[i].clone()).collect(),
                Parametrisation::X0 => vec![x.clone()],
                // -ell net = score + v/S_vv, 1/ell the last entry of the factor
                Parametrisation::Mixed => {
                    let rest = |r: usize| -(score[0][r] + u[last][r] / kernel.cov[last * k + last]) * kernel.chol_lower[k * k - 1];
                    vec![(0..n).map(rest).collect()]
                }
            };
            let mut found = vec![vec![0.0; n]; m];
            let mut slices: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
            if c.to_score(p, &views(&u), &views(&output), &mut slices).is_err() {
                break; // not for this process
            }
            let size = |s: &[Vec<f64>]| s.iter().flatten().fold(0.0, |a: f64, x| a.max(x.abs()));
            let near = |all: &mut Vec<Near>, a: &[Vec<f64>], b: &[Vec<f64>]| {
                let unit = size(b);
                let point = |(f, e): (&f64, &f64)| Near { at: t, found: *f, expected: *e, tolerance: 1e-10 * unit, unit };
                all.extend(a.iter().flatten().zip(b.iter().flatten()).map(point));
            };
            near(&mut to, &found, &score);
            let mut again = output.clone();
            let mut slices: Vec<&mut [f64]> = again.iter_mut().map(Vec::as_mut_slice).collect();
            c.from_score(p, &views(&u), &views(&score), &mut slices)?;
            near(&mut back, &again, &output);
        }
        if to.is_empty() {
            continue;
        }
        let (name, reason) = (format!("score.{}/{}", case.name, p.name()), "1e-10 of the largest: kernels of condition up to 1e5");
        let (there, from) = match p {
            Parametrisation::Score => continue, // a copy
            Parametrisation::Eps => ("param.eps", "param.eps_from_score"),
            Parametrisation::Mixed => ("param.mixed", "param.mixed_from_score"),
            Parametrisation::X0 => ("param.x0", "param.x0_from_score"),
        };
        let says = format!("score of the output `{}` of a known noise, {about}, is the kernel's", p.name());
        all.push(Check::near(&format!("{name}.to"), there, Method::Identity, says, reason, to));
        let says = format!("output `{}` of the kernel's score, {about}, is the one that is known", p.name());
        all.push(Check::near(&format!("{name}.from"), from, Method::Identity, says, reason, back));
    }
    Ok(())
}

/// Every process.
///
/// # Errors
/// None in practice.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Case| {
        let name = format!("score.{}", case.name);
        let run = move |_: u64| {
            let mut all = vec![];
            densities(&case, &mut all)?;
            outputs(&case, &mut all)?;
            Ok(all)
        };
        Part { case: name, tests: 0, run: Box::new(run) }
    };
    Ok(cases()?.into_iter().map(part).collect())
}
