//! Claims about scores of mixtures and about parametrisations, for every kind of process.

use super::likelihood::{Dense, mixture, start, views};
use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Check, Near, Part, Points};
use crate::audit::claim::{Claim, Method};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::score::{Conversion, MixtureScore, Parametrisation};
use crate::truth::predict::CHANNELS;
use crate::worst::{largest, worse};

/// Times of the claims.
const TIMES: [f64; 3] = [0.02, 0.3, 1.0];

/// Derivative at 0 by Richardson's extrapolation of central differences with steps h, h/2 and h/4:
/// of order 6.
fn derivative(h: f64, f: &dyn Fn(f64) -> Result<f64>) -> Result<f64> {
    let central = |h: f64| -> Result<f64> { Ok((f(h)? - f(-h)?) / (2.0 * h)) };
    let (a, b, c) = (central(h)?, central(0.5 * h)?, central(0.25 * h)?);
    let (d, e) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
    Ok((16.0 * e - d) / 15.0)
}

fn density_claims(case: &Rated) -> Vec<Claim> {
    let (d, about, name) = (&case.diffusion, &case.about, format!("score.{}", case.name));
    let says =
        format!("log-density of a mixture in two dimensions, {about}, is that of a dense law");
    let reason = "1e-11: covariances of condition up to 1e5";
    let mut all = vec![Claim::new(
        &format!("{name}/log"),
        "score.mixture_log_density",
        Method::Identity,
        says,
        reason,
    )];
    let reason = "1e-8 of the score's size: differences of order 6 over a twentieth of a deviation";
    for channel in &CHANNELS[..d.channels()] {
        let says = format!(
            "{channel} of the score of a mixture in two dimensions, {about}, is the derivative of a dense law's log-density"
        );
        all.push(Claim::new(
            &format!("{name}/score.{channel}"),
            "score.mixture",
            Method::Identity,
            says,
            reason,
        ));
    }
    let says = format!(
        "Hessian of the log-density of a mixture in two dimensions, {about}, times a field is the score's derivative along it"
    );
    all.push(Claim::new(
        &format!("{name}/hessian"),
        "score.mixture_hessian",
        Method::Identity,
        says,
        reason,
    ));
    for &c in d.noised() {
        let says = format!(
            "divergence of the score of a mixture in {}, {about}, is the sum of its derivatives",
            CHANNELS[c]
        );
        let name = format!("{name}/divergence.{}", CHANNELS[c]);
        all.push(Claim::new(
            &name,
            "score.mixture_divergence",
            Method::Identity,
            says,
            reason,
        ));
    }
    all
}

/// Density, score and divergence of the mixture that runs against a dense law.
fn densities(case: &Rated) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let (data, dim, k) = (mixture(2)?, 2, case.diffusion.channels());
    let (dense, score) = (
        Dense {
            diffusion: d,
            mixture: &data,
        },
        MixtureScore::new(d.clone(), data.clone()),
    );
    let (mut logs, mut slopes, mut traces) =
        (vec![], vec![vec![]; k], vec![vec![]; d.noised().len()]);
    let mut hessian = vec![];
    for t in TIMES {
        let u = start(d, dim);
        let (rows, inverse) = (u[0].len() / dim, d.kernel(t)?.inv);
        let (mut log, mut found, mut trace) = (
            vec![0.0; rows],
            u.clone(),
            vec![vec![0.0; rows]; d.noised().len()],
        );
        score.log_density(t, &views(&u), &mut log)?;
        score.joint_score(
            t,
            &views(&u),
            &mut found.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )?;
        score.divergence(
            t,
            &views(&u),
            &mut trace.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )?;
        for (found, expected) in log.iter().zip(dense.log_density(t, &views(&u))?) {
            let unit = worse(expected.abs(), 1.0);
            logs.push(Near {
                at: t,
                found: *found,
                expected,
                tolerance: 1e-11 * unit,
                unit,
            });
        }
        // below the deviation of a channel given the others and the data no score of a mixture
        // varies
        let step = |c: usize| 0.05 / inverse[(c, c)].sqrt();
        let moved = |c: usize, e: usize, by: f64| {
            let mut u = u.clone();
            u[c][e] += by;
            u
        };
        for c in 0..k {
            for (e, found) in found[c].iter().enumerate() {
                let expected = derivative(step(c), &|by| {
                    Ok(dense.log_density(t, &views(&moved(c, e, by)))?[e / dim])
                })?;
                let unit = worse(expected.abs(), inverse[(c, c)].sqrt());
                slopes[c].push(Near {
                    at: t,
                    found: *found,
                    expected,
                    tolerance: 1e-8 * unit,
                    unit,
                });
            }
        }
        // a field of a twentieth of a deviation in every channel
        let field: Vec<Vec<f64>> = (0..k)
            .map(|c| {
                let wave = |i: usize| step(c) * ((i as f64 + 0.4) * (1.9 + c as f64)).cos();
                (0..u[0].len()).map(wave).collect()
            })
            .collect();
        let mut product = u.clone();
        score.hessian_vector(
            t,
            &views(&u),
            &views(&field),
            &mut product
                .iter_mut()
                .map(Vec::as_mut_slice)
                .collect::<Vec<_>>(),
        )?;
        for c in 0..k {
            for (e, found) in product[c].iter().enumerate() {
                let expected = derivative(1.0, &|by| {
                    let along = |(u, w): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
                        u.iter().zip(w).map(|(u, w)| u + by * w).collect()
                    };
                    let moved: Vec<Vec<f64>> = u.iter().zip(&field).map(along).collect();
                    let mut out = u.clone();
                    let mut slices: Vec<&mut [f64]> =
                        out.iter_mut().map(Vec::as_mut_slice).collect();
                    score.joint_score(t, &views(&moved), &mut slices)?;
                    Ok(out[c][e])
                })?;
                let unit = worse(expected.abs(), 0.05 * inverse[(c, c)].sqrt());
                hessian.push(Near {
                    at: t,
                    found: *found,
                    expected,
                    tolerance: 1e-8 * unit,
                    unit,
                });
            }
        }
        for (l, &c) in d.noised().iter().enumerate() {
            for (row, found) in trace[l].iter().enumerate() {
                let mut expected = 0.0;
                for e in row * dim..(row + 1) * dim {
                    expected += derivative(step(c), &|by| {
                        let mut out = u.clone();
                        let mut slices: Vec<&mut [f64]> =
                            out.iter_mut().map(Vec::as_mut_slice).collect();
                        score.joint_score(t, &views(&moved(c, e, by)), &mut slices)?;
                        Ok(out[c][e])
                    })?;
                }
                let unit = worse(expected.abs(), inverse[(c, c)]);
                traces[l].push(Near {
                    at: t,
                    found: *found,
                    expected,
                    tolerance: 1e-8 * unit,
                    unit,
                });
            }
        }
    }
    let points = std::iter::once(logs)
        .chain(slopes)
        .chain([hessian])
        .chain(traces)
        .map(Points::Near)
        .collect();
    Check::all(density_claims(case), points)
}

/// Whether a parametrisation is defined for the process.
fn fits(d: &Diffusion, p: Parametrisation) -> Result<bool> {
    let (u, output) = (
        vec![vec![0.0]; d.channels()],
        vec![
            vec![0.0];
            if p == Parametrisation::X0 {
                1
            } else {
                d.noised().len()
            }
        ],
    );
    let mut out = vec![vec![0.0]; d.noised().len()];
    let mut slices: Vec<&mut [f64]> = out.iter_mut().map(Vec::as_mut_slice).collect();
    Ok(Conversion::new(d, TIMES[0])?
        .to_score(p, &views(&u), &views(&output), &mut slices)
        .is_ok())
}

/// The outputs that are claimed: all but the score itself, which is a copy.
fn parametrisations(d: &Diffusion) -> Result<Vec<Parametrisation>> {
    let mut all = vec![];
    for p in Parametrisation::ALL
        .into_iter()
        .filter(|p| *p != Parametrisation::Score)
    {
        if fits(d, p)? {
            all.push(p);
        }
    }
    Ok(all)
}

fn output_claims(case: &Rated) -> Result<Vec<Claim>> {
    let about = &case.about;
    let mut all = vec![];
    for p in parametrisations(&case.diffusion)? {
        let (name, reason) = (
            format!("score.{}/{}", case.name, p.name()),
            "1e-10 of the largest: kernels of condition up to 1e5",
        );
        let (there, from) = match p {
            Parametrisation::Score => continue,
            Parametrisation::Eps => ("param.eps", "param.eps_from_score"),
            Parametrisation::Mixed => ("param.mixed", "param.mixed_from_score"),
            Parametrisation::X0 => ("param.x0", "param.x0_from_score"),
        };
        let says = format!(
            "score of the output `{}` of a known noise, {about}, is the kernel's",
            p.name()
        );
        all.push(Claim::new(
            &format!("{name}.to"),
            there,
            Method::Identity,
            says,
            reason,
        ));
        let says = format!(
            "output `{}` of the kernel's score, {about}, is the one that is known",
            p.name()
        );
        all.push(Claim::new(
            &format!("{name}.from"),
            from,
            Method::Identity,
            says,
            reason,
        ));
    }
    Ok(all)
}

/// Every output of a known noise stands for one score, that of the kernel; and comes back from it.
fn outputs(case: &Rated) -> Result<Vec<Check>> {
    let (d, k) = (&case.diffusion, case.diffusion.channels());
    let (m, n, mut all) = (d.noised().len(), 5, vec![]);
    let wave = |seed: f64| {
        (0..n)
            .map(|i| ((i as f64 + 1.0) * seed).sin() * 1.7)
            .collect::<Vec<f64>>()
    };
    for p in parametrisations(d)? {
        let (mut to, mut back) = (vec![], vec![]);
        for t in TIMES {
            let (kernel, c) = (d.kernel(t)?, Conversion::new(d, t)?);
            let (x, noise) = (
                wave(1.3),
                (0..k).map(|c| wave(2.1 + c as f64)).collect::<Vec<_>>(),
            );
            let lower = |i: usize, r: usize| {
                (0..=i)
                    .map(|j| kernel.chol_lower[(i, j)] * noise[j][r])
                    .sum::<f64>()
            };
            let u: Vec<Vec<f64>> = (0..k)
                .map(|i| {
                    (0..n)
                        .map(|r| kernel.mean[(i, 0)] * x[r] + lower(i, r))
                        .collect()
                })
                .collect();
            // the kernel's score from its precision
            let pull = |i: usize, r: usize| {
                -(0..k)
                    .map(|j| kernel.inv[(i, j)] * lower(j, r))
                    .sum::<f64>()
            };
            let score: Vec<Vec<f64>> = d
                .noised()
                .iter()
                .map(|&i| (0..n).map(|r| pull(i, r)).collect())
                .collect();
            let last = k - 1;
            let output: Vec<Vec<f64>> = match p {
                Parametrisation::Score => score.clone(),
                Parametrisation::Eps => d.noised().iter().map(|&i| noise[i].clone()).collect(),
                Parametrisation::X0 => vec![x.clone()],
                // -ell net = score + v/S_vv, 1/ell the last entry of the factor
                Parametrisation::Mixed => {
                    let rest = |r: usize| {
                        -(score[0][r] + u[last][r] / kernel.cov[(last, last)])
                            * kernel.chol_lower[(k - 1, k - 1)]
                    };
                    vec![(0..n).map(rest).collect()]
                }
            };
            let mut found = vec![vec![0.0; n]; m];
            let mut slices: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
            c.to_score(p, &views(&u), &views(&output), &mut slices)?;
            let near = |all: &mut Vec<Near>, a: &[Vec<f64>], b: &[Vec<f64>]| {
                let unit = largest(b.iter().flatten());
                let point = |(f, e): (&f64, &f64)| Near {
                    at: t,
                    found: *f,
                    expected: *e,
                    tolerance: 1e-10 * unit,
                    unit,
                };
                all.extend(a.iter().flatten().zip(b.iter().flatten()).map(point));
            };
            near(&mut to, &found, &score);
            let mut again = output.clone();
            let mut slices: Vec<&mut [f64]> = again.iter_mut().map(Vec::as_mut_slice).collect();
            c.from_score(p, &views(&u), &views(&score), &mut slices)?;
            near(&mut back, &again, &output);
        }
        all.extend([to, back].map(Points::Near));
    }
    Check::all(output_claims(case)?, all)
}

/// Every process.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Rated| {
        let name = format!("score.{}", case.name);
        let mut claims = density_claims(&case);
        claims.extend(output_claims(&case)?);
        let run = move |_: u64| {
            let mut all = densities(&case)?;
            all.extend(outputs(&case)?);
            Ok(all)
        };
        Ok(Part {
            case: name,
            claims,
            tests: 0,
            run: Box::new(run),
        })
    };
    rated()?.into_iter().map(part).collect()
}
