//! Claims about losses: every objective, form and weighting on every process that it is defined
//! for.
//!
//! Data and noise are Gaussian, outputs affine: all expectations are of polynomials of degree 4 at
//! most, which three nodes for each normal give exactly. So the loss that runs is held against
//! closed forms without noise.

use super::likelihood::{views, views_mut};
use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Bound, Check, Near, Part, Points};
use crate::audit::claim::{Claim, Method};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::kernel::{Objective, kernel_values};
use crate::loss::estimator::estimator;
use crate::loss::exact::{gap, moments};
use crate::loss::{Form, Loss, Times, Weighting};
use crate::score::{Gaussian, Score};
use crate::truth::predict::CHANNELS;

/// Mean and standard deviation of the data.
const DATA: (f64, f64) = (0.7, 0.5);

/// Times of the claims.
const TIMES: [f64; 4] = [1e-3, 0.05, 0.4, 1.0];

/// Where random times begin.
const EPS: f64 = 1e-4;

/// Nodes and weights for a standard normal: -sqrt 3, 0, sqrt 3.
const RULE: [(f64, f64); 3] = [
    (-1.732_050_807_568_877_2, 1.0 / 6.0),
    (0.0, 2.0 / 3.0),
    (1.732_050_807_568_877_2, 1.0 / 6.0),
];

/// Data, velocities and noise as a batch of nodes.
struct Nodes {
    weight: Vec<f64>,
    u0: Vec<Vec<f64>>,
    noise: Vec<Vec<f64>>,
}

/// The nodes of an objective: DSM starts from velocities of variance gamma M, HSM from none.
fn nodes(d: &Diffusion, objective: Objective) -> Nodes {
    let k = d.channels();
    let initial = (d.gamma() * d.process().mass()).sqrt();
    let velocities = if objective == Objective::DSM && initial > 0.0 {
        k - 1
    } else {
        0
    };
    let normals = 1 + velocities + k;
    let mut out = Nodes {
        weight: vec![],
        u0: vec![vec![]; 1 + velocities],
        noise: vec![vec![]; k],
    };
    for code in 0..3usize.pow(normals as u32) {
        let at: Vec<_> = (0..normals)
            .map(|i| RULE[code / 3usize.pow(i as u32) % 3])
            .collect();
        out.weight.push(at.iter().map(|a| a.1).product());
        out.u0.iter_mut().enumerate().for_each(|(c, u)| {
            u.push(if c == 0 {
                DATA.0 + DATA.1 * at[0].0
            } else {
                initial * at[c].0
            })
        });
        out.noise
            .iter_mut()
            .enumerate()
            .for_each(|(c, n)| n.push(at[1 + velocities + c].0));
    }
    out
}

/// The noised batch.
fn noised(loss: &Loss, t: f64, n: &Nodes) -> Result<Vec<Vec<f64>>> {
    let mut u = vec![vec![0.0; n.weight.len()]; loss.diffusion().channels()];
    loss.at(t)?
        .perturb(&views(&n.u0), &views(&n.noise), &mut views_mut(&mut u))?;
    Ok(u)
}

/// A coefficient of the affine score that gradients are taken at.
fn coefficient(i: usize, j: usize) -> f64 {
    0.3 * ((3 * i + j) as f64).cos()
}

/// Gradient of the expected loss with respect to the coefficients of an affine score,
/// `s_i = sum_j A_ij u_j + A_iK`, row by row, and the size of its terms.
fn gradient(loss: &Loss, t: f64) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = nodes(loss.diffusion(), loss.objective());
    let mut u = noised(loss, t, &n)?;
    u.push(vec![1.0; n.weight.len()]);
    let m = loss.diffusion().noised().len();
    let of = |i: usize, r: usize| {
        u.iter()
            .enumerate()
            .map(|(j, u)| coefficient(i, j) * u[r])
            .sum()
    };
    let output: Vec<Vec<f64>> = (0..m)
        .map(|i| (0..n.weight.len()).map(|r| of(i, r)).collect())
        .collect();
    let mut g = output.clone();
    loss.at(t)?
        .value(&views(&n.noise), &views(&output), &mut views_mut(&mut g))?;
    let (mut sum, mut size) = (vec![], vec![]);
    for g in &g {
        for u in &u {
            let term = |r: usize| n.weight[r] * g[r] * u[r];
            sum.push((0..u.len()).map(term).sum());
            size.push((0..u.len()).map(|r| term(r).abs()).sum());
        }
    }
    Ok((sum, size))
}

/// The same by Stein's identity, `E score(u) f(u) = -E grad f(u)`: of the law of `u_t` alone.
fn by_stein(loss: &Loss, t: f64) -> Result<Vec<f64>> {
    let d = loss.diffusion();
    let (mut mean, cov) = Gaussian::new(d.clone(), DATA.0, DATA.1)?.law(t)?;
    let (k, m, q) = (
        d.channels(),
        d.noised().len(),
        loss.at(t)?.quadratic().to_vec(),
    );
    mean.push(1.0);
    let second =
        |l: usize, j: usize| mean[l] * mean[j] + if l < k && j < k { cov[(l, j)] } else { 0.0 };
    let missed = |i: usize, j: usize| {
        (0..=k)
            .map(|l| coefficient(i, l) * second(l, j))
            .sum::<f64>()
            + if d.noised()[i] == j { 1.0 } else { 0.0 }
    };
    Ok((0..m * (k + 1))
        .map(|n| {
            (0..m)
                .map(|l| 2.0 * q[n / (k + 1) * m + l] * missed(l, n % (k + 1)))
                .sum()
        })
        .collect())
}

/// A claim of an identity about one case; `name` is its entry.
fn identity(case: &Rated, name: &str, formula: &str, says: String, reason: &str) -> Claim {
    Claim::new(
        &format!("loss.{}/{name}", case.name),
        formula,
        Method::Identity,
        says,
        reason,
    )
}

fn gradient_claims(case: &Rated) -> Vec<Claim> {
    let (d, k) = (&case.diffusion, case.diffusion.channels());
    let mut all = vec![];
    for e in 0..d.noised().len() * (k + 1) {
        let (i, j) = (
            CHANNELS[d.noised()[e / (k + 1)]],
            if e % (k + 1) == k {
                "1"
            } else {
                CHANNELS[e % (k + 1)]
            },
        );
        let reason = "1e-10 of the sum of the terms' sizes: quadrature that is exact, sums of up to 729 terms";
        let says = |a: &str, b: &str| {
            format!(
                "gradient of the expected {a} with respect to the coefficient of {j} in an affine score of {i}, {}, is {b}",
                case.about
            )
        };
        if k > 1 {
            all.push(identity(
                case,
                &format!("dsm-hsm.{i}{j}"),
                "loss.gradient",
                says("DSM", "HSM's"),
                reason,
            ));
        }
        let who = if k > 1 { "HSM" } else { "DSM" };
        all.push(identity(
            case,
            &format!("stein.{i}{j}"),
            "loss.gradient",
            says(who, "that of Stein's identity"),
            reason,
        ));
    }
    all
}

/// Gradients of DSM and HSM with respect to an affine score: one number, that of explicit score
/// matching.
fn one_gradient(case: &Rated) -> Result<Vec<Check>> {
    let (d, k) = (&case.diffusion, case.diffusion.channels());
    let of = |o: Objective| Loss::new(d, o, Form::Score, Weighting::Likelihood);
    let mut table = vec![];
    for t in TIMES {
        let dsm = gradient(&of(Objective::DSM)?, t)?;
        let hsm = if k > 1 {
            gradient(&of(Objective::hsm(d.gamma())?)?, t)?
        } else {
            dsm.clone()
        };
        table.push((t, dsm, hsm, by_stein(&of(Objective::DSM)?, t)?));
    }
    let near = |t: f64, found: f64, expected: f64, unit: f64| {
        Near::relative(t, found, expected, 1e-10, unit)
    };
    let mut all = vec![];
    for e in 0..d.noised().len() * (k + 1) {
        if k > 1 {
            all.push(
                table
                    .iter()
                    .map(|(t, a, b, _)| near(*t, a.0[e], b.0[e], a.1[e]))
                    .collect(),
            );
        }
        all.push(
            table
                .iter()
                .map(|(t, _, b, s)| near(*t, b.0[e], s[e], b.1[e]))
                .collect(),
        );
    }
    Check::all(
        gradient_claims(case),
        all.into_iter().map(Points::Near).collect(),
    )
}

/// Mean and variance of the loss of one value by quadrature, for the exact score or an output 0.
fn found(loss: &Loss, t: f64, exact: bool) -> Result<(f64, f64)> {
    let d = loss.diffusion();
    let n = nodes(d, loss.objective());
    let (m, rows, at) = (d.noised().len(), n.weight.len(), loss.at(t)?);
    let mut output = vec![vec![0.0; rows]; m];
    if exact {
        Gaussian::new(d.clone(), DATA.0, DATA.1)?.score(
            t,
            &views(&noised(loss, t, &n)?),
            &mut views_mut(&mut output),
        )?;
        if loss.form() == Form::Eps {
            let (s, lower) = (
                output.clone(),
                kernel_values(d.process(), d.schedule(), loss.objective(), 0.0, t)?.chol_lower,
            );
            let eps = |i: usize, r: usize| {
                -(0..m)
                    .map(|j| lower[(d.noised()[j], d.noised()[i])] * s[j][r])
                    .sum::<f64>()
            };
            output
                .iter_mut()
                .enumerate()
                .for_each(|(i, o)| o.iter_mut().enumerate().for_each(|(r, o)| *o = eps(i, r)));
        }
    }
    let mut values = vec![];
    for r in 0..rows {
        let one = |c: &'_ [Vec<f64>]| c.iter().map(|c| [c[r]]).collect::<Vec<_>>();
        let (noise, output) = (one(&n.noise), one(&output));
        let noise: Vec<&[f64]> = noise.iter().map(|c| &c[..]).collect();
        let output: Vec<&[f64]> = output.iter().map(|c| &c[..]).collect();
        values.push(at.value(&noise, &output, &mut [])?);
    }
    let mean = n
        .weight
        .iter()
        .zip(&values)
        .map(|(w, v)| w * v)
        .sum::<f64>();
    Ok((
        mean,
        n.weight
            .iter()
            .zip(&values)
            .map(|(w, v)| w * (v - mean) * (v - mean))
            .sum(),
    ))
}

/// Who answers, and with what.
const ANSWERS: [(&str, &str, Option<f64>); 2] = [
    ("exact", "the exact score", Some(DATA.1)),
    ("zero", "an output 0", None),
];

fn value_claims(case: &Rated, loss: &Loss) -> Vec<Claim> {
    let (form, weighting) = (
        if loss.form() == Form::Eps {
            "eps"
        } else {
            "score"
        },
        loss.weighting().name(),
    );
    let name = format!("{}.{form}.{weighting}", loss.objective().name());
    let about = format!(
        "{} in {form} form, weighting `{weighting}`, {}",
        loss.objective().name(),
        case.about
    );
    let mut all = vec![];
    for (who, output, _) in ANSWERS {
        for what in ["mean", "variance"] {
            let says = format!(
                "{what} of the loss of one value for {output}, {about}: what runs, by exact quadrature, against the closed form"
            );
            let reason = "1e-9 relative: score and target nearly agree, what is missed is down to 1e-3 of either";
            all.push(identity(
                case,
                &format!("{name}.{who}.{what}"),
                "loss.constant",
                says,
                reason,
            ));
        }
    }
    let says = format!(
        "gradient of a batch with a time for each row, {about}, is the central difference of its value"
    );
    let reason = "1e-12 of the values: a quadratic has no truncation error";
    all.push(identity(
        case,
        &format!("{name}.gradient"),
        "loss.batch",
        says,
        reason,
    ));
    all
}

/// Gradient of a batch with a time for each row against differences of its value.
fn batch_gradient(loss: &Loss) -> Result<Vec<Near>> {
    let (k, m, dim) = (
        loss.diffusion().channels(),
        loss.diffusion().noised().len(),
        2,
    );
    let wave = |seed: f64| -> Vec<f64> {
        (0..TIMES.len() * dim)
            .map(|i| ((i as f64 + 1.0) * seed).sin() * 1.7)
            .collect()
    };
    let of = |slices: usize, seed: f64| {
        (0..slices)
            .map(|c| wave(seed + c as f64))
            .collect::<Vec<_>>()
    };
    let (plan, noise, mut output) = (loss.plan(&TIMES)?, of(k, 1.3), of(m, 2.1));
    let scale: Vec<f64> = (0..TIMES.len()).map(|i| 0.5 + i as f64).collect();
    let (mut g, mut each) = (output.clone(), vec![0.0; TIMES.len()]);
    plan.value(
        &scale,
        &views(&noise),
        &views(&output),
        &mut each,
        &mut views_mut(&mut g),
    )?;
    let mut points = vec![];
    for i in 0..m {
        for (r, at) in TIMES.iter().enumerate() {
            let mut shifted = |by: f64| -> Result<f64> {
                let keep = output[i][r * dim + 1];
                output[i][r * dim + 1] = keep + by;
                plan.value(&scale, &views(&noise), &views(&output), &mut each, &mut [])?;
                output[i][r * dim + 1] = keep;
                Ok(each[r] / TIMES.len() as f64)
            };
            // differences of a quadratic: no truncation
            let (above, below) = (shifted(0.5)?, shifted(-0.5)?);
            points.push(Near::relative(
                *at,
                g[i][r * dim + 1],
                above - below,
                1e-12,
                above + below,
            ));
        }
    }
    Ok(points)
}

/// Means and variances of the loss that runs, and its gradient against differences of its value.
fn values(case: &Rated, loss: &Loss) -> Result<Vec<Check>> {
    let mut all = vec![];
    for (_, _, deviation) in ANSWERS {
        let mut points = [vec![], vec![]];
        for t in TIMES {
            let (f, e) = (
                found(loss, t, deviation.is_some())?,
                moments(loss, deviation, t)?,
            );
            for (p, (found, expected)) in points.iter_mut().zip([(f.0, e.0), (f.1, e.1)]) {
                p.push(Near::relative(t, found, expected, 1e-9, expected));
            }
        }
        all.extend(points);
    }
    all.push(batch_gradient(loss)?);
    Check::all(
        value_claims(case, loss),
        all.into_iter().map(Points::Near).collect(),
    )
}

fn gap_claims(case: &Rated) -> Vec<Claim> {
    let says = format!(
        "DSM's expected loss less HSM's for the exact score, {}, is the trace of the gap of their inverse covariances",
        case.about
    );
    let reason = "1e-9 of DSM's expected loss: what two quadratures leave";
    let gap = identity(case, "gap", "loss.gap", says, reason);
    let says = format!(
        "variance of HSM's loss of one value over DSM's for the exact score, {}, is between 0 and 1",
        case.about
    );
    vec![
        gap,
        identity(case, "ratio", "loss.gap", says, "from 0 to 1"),
    ]
}

/// HSM's constant is below DSM's by the gap, and its estimator varies less.
fn gaps(case: &Rated) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let of = |o: Objective| Loss::new(d, o, Form::Score, Weighting::Score);
    let (dsm, hsm) = (of(Objective::DSM)?, of(Objective::hsm(d.gamma())?)?);
    let (mut gaps, mut ratios) = (vec![], vec![]);
    for t in TIMES {
        let (a, b, g) = (found(&dsm, t, true)?, found(&hsm, t, true)?, gap(&hsm, t)?);
        let expected = d.noised().iter().map(|i| g[(*i, *i)]).sum();
        gaps.push(Near::relative(t, a.0 - b.0, expected, 1e-9, a.0));
        ratios.push(Bound {
            at: t,
            found: b.1 / a.1,
            low: 0.0,
            high: 1.0,
            unit: 1.0,
        });
    }
    Check::all(
        gap_claims(case),
        vec![Points::Near(gaps), Points::Bounds(ratios)],
    )
}

fn time_claims(case: &Rated, objective: Objective) -> Vec<Claim> {
    let name = format!("times.{}", objective.name());
    let about = format!(
        "times by importance for {} with the likelihood weighting, {}",
        objective.name(),
        case.about
    );
    let says = format!("density of {about}, is the weight over its integral");
    let reason = "1e-4 relative: straight lines between 1025 knots";
    let mut all = vec![identity(
        case,
        &format!("{name}.density"),
        "loss.time.importance",
        says,
        reason,
    )];
    let says = format!(
        "{about}: integral of the density up to the time drawn is the uniform it was drawn by; it is the density returned"
    );
    let reason = "1e-10: sums of up to 1024 cells, logarithms of times";
    all.push(identity(
        case,
        &format!("{name}.draw"),
        "loss.time.importance",
        says,
        reason,
    ));
    if case.diffusion.noised().len() == 1 {
        let says = format!(
            "{about}: the estimator of the integral for an output 0 has the integral as mean (0) and twice its square as variance (1)"
        );
        let reason =
            "1e-7 and 1e-6: the lines miss the weight by up to 1e-4, the variance by its square";
        all.push(identity(
            case,
            &format!("{name}.estimator"),
            "loss.time.variance",
            says,
            reason,
        ));
    }
    all
}

/// Knots of the density of times by importance, in ln t.
fn knot(part: f64) -> f64 {
    if part == 1.0 {
        1.0
    } else {
        EPS.powf(1.0 - part)
    }
}

/// What times by importance are to have as density, but for its integral.
fn weight(d: &Diffusion, objective: Objective, t: f64) -> Result<f64> {
    let inverse = kernel_values(d.process(), d.schedule(), objective, 0.0, t)?.inv;
    let noise = d.noise(t);
    let terms = d.noised().iter();
    let terms = terms.map(|i| noise[(*i, *i)] * inverse[(*i, *i)]);
    Ok(0.5 * d.rate(t) * terms.sum::<f64>())
}

/// Its integral by Simpson's rule in ln t.
fn whole_weight(d: &Diffusion, objective: Objective) -> Result<f64> {
    const PANELS: usize = 512;
    let h = -EPS.ln() / (2 * PANELS) as f64;
    let mut total = 0.0;
    for i in 0..=2 * PANELS {
        let share = if i == 0 || i == 2 * PANELS {
            1.0
        } else {
            2.0 + 2.0 * (i % 2) as f64
        };
        let t = knot(i as f64 / (2 * PANELS) as f64);
        total += share * h / 3.0 * t * weight(d, objective, t)?;
    }
    Ok(total)
}

/// Integral of the density of times up to `t`: it is made of straight lines in ln t, so that
/// trapezoids between its knots are exact.
fn share_below(times: &Times, t: f64) -> f64 {
    const CELLS: usize = 1024;
    let mut sum = 0.0;
    let mut last = (EPS, EPS * times.density(EPS));
    for i in 1..=CELLS {
        let next = knot(i as f64 / CELLS as f64).min(t);
        let value = next * times.density(next);
        sum += 0.5 * (last.1 + value) * (next / last.0).ln();
        last = (next, value);
        if next >= t {
            break;
        }
    }
    sum
}

/// Times by importance: their density is the weight's, they have the density that is returned, and
/// with it the estimator varies by the noise alone.
fn times(case: &Rated, objective: Objective) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let loss = Loss::new(d, objective, Form::Score, Weighting::Likelihood)?;
    let times = Times::importance(&loss, EPS)?;
    let total = whole_weight(d, objective)?;
    let mut density = vec![];
    for t in [EPS, 7e-4, 5e-3, 0.03, 0.2, 0.65, 1.0] {
        let expected = weight(d, objective, t)? / total;
        density.push(Near::relative(
            t,
            times.density(t),
            expected,
            1e-4,
            expected,
        ));
    }
    let mut below = vec![];
    for u in [0.013, 0.21, 0.5, 0.77, 0.994] {
        let (t, at) = times.draw(u);
        below.push(Near::relative(t, share_below(&times, t), u, 1e-10, 1.0));
        below.push(Near::relative(t, at / times.density(t), 1.0, 1e-10, 1.0));
    }
    let mut all = vec![density, below];
    if d.noised().len() == 1 {
        // a chi-square of one degree times the integral
        let (mean, variance) = estimator(&loss, None, &times, 1)?;
        all.push(vec![
            Near::relative(0.0, mean, total, 1e-7, total),
            Near {
                at: 1.0,
                found: variance,
                expected: 2.0 * total * total,
                tolerance: 1e-6 * total * total,
                unit: 2.0 * total * total,
            },
        ]);
    }
    Check::all(
        time_claims(case, objective),
        all.into_iter().map(Points::Near).collect(),
    )
}

/// The losses that the process has.
fn losses(d: &Diffusion) -> Result<Vec<(Objective, Vec<Loss>)>> {
    let mut objectives = vec![Objective::DSM];
    if d.channels() > 1 {
        objectives.push(Objective::hsm(d.gamma())?);
    }
    let of = |objective: Objective| {
        let forms = [Form::Score, Form::Eps]
            .into_iter()
            .flat_map(|f| Weighting::ALL.into_iter().map(move |w| (f, w)));
        // some processes have no eps form
        (
            objective,
            forms
                .filter_map(|(form, weighting)| Loss::new(d, objective, form, weighting).ok())
                .collect(),
        )
    };
    Ok(objectives.into_iter().map(of).collect())
}

/// What is claimed of one process.
fn claims(case: &Rated) -> Result<Vec<Claim>> {
    let mut all = if case.diffusion.channels() > 1 {
        gap_claims(case)
    } else {
        vec![]
    };
    all.extend(gradient_claims(case));
    for (objective, losses) in losses(&case.diffusion)? {
        all.extend(losses.iter().flat_map(|loss| value_claims(case, loss)));
        all.extend(time_claims(case, objective));
    }
    Ok(all)
}

/// The same, computed.
fn checks(case: &Rated) -> Result<Vec<Check>> {
    let mut all = if case.diffusion.channels() > 1 {
        gaps(case)?
    } else {
        vec![]
    };
    all.extend(one_gradient(case)?);
    for (objective, losses) in losses(&case.diffusion)? {
        for loss in &losses {
            all.extend(values(case, loss)?);
        }
        all.extend(times(case, objective)?);
    }
    Ok(all)
}

/// Every loss on every process.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Rated| {
        let (claims, name) = (claims(&case)?, format!("loss.{}", case.name));
        Ok(Part {
            case: name,
            claims,
            tests: 0,
            run: Box::new(move |_| checks(&case)),
        })
    };
    rated()?.into_iter().map(part).collect()
}
