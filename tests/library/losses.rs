//! Losses: gradients and expectations by quadrature that is exact for what is asked, closed forms,
//! recorded public numbers, and planted mistakes that must be seen.

use cld_sgm::internal::worst::{Worst, worse};
use cld_sgm::kernel::{Objective, kernel_values};
use cld_sgm::loss::estimator::estimator;
use cld_sgm::loss::exact::{gap, missing, moments};
use cld_sgm::loss::{Form, Loss, LossAt, Times, Weighting};
use cld_sgm::process::{CldDamped, CldPosition, Langevin, Psld, SubVp, Ve, Vp};
use cld_sgm::score::{Gaussian, Score};
use cld_sgm::{Cld, Diffusion, Schedule};
use std::fmt::Write;

const FORMS: [Form; 2] = [Form::Score, Form::Eps];

fn one_channel() -> Vec<Diffusion> {
    let linear = Schedule::linear(0.1, 19.9).unwrap();
    vec![
        Diffusion::of(Vp, linear, 0.0).unwrap(),
        Diffusion::of(SubVp, linear, 0.0).unwrap(),
        Diffusion::of(Ve, Schedule::geometric(0.01, 50.0).unwrap(), 0.0).unwrap(),
    ]
}

/// With velocity: noise on v alone, on x and v, on the third of three channels.
fn with_velocity() -> Vec<Diffusion> {
    let (constant, linear) = (
        Schedule::constant(4.0).unwrap(),
        Schedule::linear(0.1, 19.9).unwrap(),
    );
    vec![
        Diffusion::paper().unwrap(),
        Diffusion::of(Cld::new(1.0).unwrap(), linear, 0.04).unwrap(),
        Diffusion::of(CldDamped::new(0.25, 0.5).unwrap(), constant, 0.04).unwrap(),
        Diffusion::of(CldPosition::new(1.0, 0.5, 1.0).unwrap(), constant, 0.04).unwrap(),
        Diffusion::of(Psld::new(0.01, 4.01).unwrap(), constant, 0.04).unwrap(),
        Diffusion::of(Langevin::<3>::critical().unwrap(), constant, 0.04).unwrap(),
    ]
}

fn hsm(d: &Diffusion) -> Objective {
    Objective::hsm(d.gamma()).unwrap()
}

/// Four nodes and weights for a standard normal: exact for polynomials up to degree 7.
fn hermite() -> [(f64, f64); 4] {
    let of = |s: f64| {
        (
            (3.0 + s * 6f64.sqrt()).sqrt(),
            0.25 / (3.0 + s * 6f64.sqrt()),
        )
    };
    let ((a, p), (b, q)) = (of(1.0), of(-1.0));
    [(-a, p), (-b, q), (b, q), (a, p)]
}

/// Nodes as a batch: weights, channels of u_0, channels of noise. `initial`: variance of the
/// initial velocities (0: none are drawn).
struct Nodes {
    weight: Vec<f64>,
    u0: Vec<Vec<f64>>,
    noise: Vec<Vec<f64>>,
}

/// Data: a mixture, as (weight, mean, deviation).
fn nodes(k: usize, data: &[(f64, f64, f64)], initial: f64) -> Nodes {
    let rule = hermite();
    let velocities = if initial > 0.0 { k - 1 } else { 0 };
    let normals = 1 + velocities + k;
    let mut out = Nodes {
        weight: vec![],
        u0: vec![vec![]; k],
        noise: vec![vec![]; k],
    };
    for &(share, mean, deviation) in data {
        for code in 0..4usize.pow(normals as u32) {
            let at: Vec<_> = (0..normals)
                .map(|i| rule[code / 4usize.pow(i as u32) % 4])
                .collect();
            out.weight
                .push(share * at.iter().map(|a| a.1).product::<f64>());
            out.u0[0].push(mean + deviation * at[0].0);
            for (channel, node) in out.u0[1..].iter_mut().zip(&at[1..]) {
                channel.push(if velocities > 0 {
                    initial.sqrt() * node.0
                } else {
                    0.0
                });
            }
            for j in 0..k {
                out.noise[j].push(at[1 + velocities + j].0);
            }
        }
    }
    out
}

fn views(channels: &[Vec<f64>]) -> Vec<&[f64]> {
    channels.iter().map(|c| &c[..]).collect()
}

fn views_mut(channels: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    channels.iter_mut().map(|c| &mut c[..]).collect()
}

const MIXTURE: [(f64, f64, f64); 3] = [(0.5, -1.3, 0.2), (0.3, 0.4, 0.5), (0.2, 2.1, 0.05)];

/// Monomials of degree at most 3 in the first two channels.
fn features(u: &[Vec<f64>], r: usize) -> Vec<f64> {
    let (x, v) = (u[0][r], u.get(1).map_or(0.0, |v| v[r]));
    let mut f = vec![1.0, x, x * x, x * x * x];
    if u.len() > 1 {
        f.extend([v, x * v, v * v, x * x * v, x * v * v, v * v * v]);
    }
    if u.len() > 2 {
        f.push(u[2][r]);
    }
    f
}

/// Gradient of the expected loss with respect to the coefficients of a polynomial score (for each
/// noised channel), and the sum of its terms' sizes.
fn expected_gradient(at: &LossAt, n: &Nodes, whole: bool) -> (Vec<f64>, Vec<f64>) {
    let (k, rows) = (n.noise.len(), n.weight.len());
    let m = at.quadratic().k();
    let mut u = vec![vec![0.0; rows]; k];
    let start = if whole {
        views(&n.u0)
    } else {
        vec![&n.u0[0][..]]
    };
    at.perturb(&start, &views(&n.noise), &mut views_mut(&mut u))
        .unwrap();
    let mut output = vec![vec![0.0; rows]; m];
    for (i, o) in output.iter_mut().enumerate() {
        for (r, o) in o.iter_mut().enumerate() {
            *o = features(&u, r)
                .iter()
                .enumerate()
                .map(|(j, f)| f * 0.3 * ((3 * i + j) as f64).cos())
                .sum();
        }
    }
    let mut gradient = vec![vec![0.0; rows]; m];
    at.value(
        &views(&n.noise),
        &views(&output),
        &mut views_mut(&mut gradient),
    )
    .unwrap();
    let count = features(&u, 0).len();
    let (mut sum, mut size) = (vec![0.0; count * m], vec![0.0; count * m]);
    for (r, weight) in n.weight.iter().enumerate() {
        for (j, f) in features(&u, r).iter().enumerate() {
            for (i, g) in gradient.iter().enumerate() {
                let term = weight * g[r] * f;
                sum[i * count + j] += term;
                size[i * count + j] += term.abs();
            }
        }
    }
    (sum, size)
}

/// Largest difference of two gradients, relative to the sum of their terms' sizes.
fn distance(a: &(Vec<f64>, Vec<f64>), b: &(Vec<f64>, Vec<f64>)) -> f64 {
    (0..a.0.len())
        .map(|i| (a.0[i] - b.0[i]).abs() / (a.1[i] + b.1[i]))
        .collect::<Worst>()
        .value()
}

const TIMES: [f64; 5] = [1e-5, 1e-3, 0.05, 0.4, 1.0];

/// Claim 2: one minimiser. Between DSM and HSM of a diffusion, with data of a mixture.
fn same_gradient(d: &Diffusion, of_hsm: &Loss, weighting: Weighting, t: f64) -> f64 {
    let k = d.channels();
    let dsm = Loss::new(d, Objective::DSM, Form::Score, weighting).unwrap();
    // one Q for both: eps weightings differ between the kernels by design
    let a = expected_gradient(
        &dsm.at(t).unwrap(),
        &nodes(k, &MIXTURE, d.gamma() * d.process().mass()),
        true,
    );
    let b = expected_gradient(&of_hsm.at(t).unwrap(), &nodes(k, &MIXTURE, 0.0), false);
    distance(&a, &b)
}

/// Catches a wrong target, kernel, initial variance or gradient in either objective: the gradients
/// of DSM and HSM with respect to the coefficients of a cubic score are the same number for mixture
/// data, by quadrature that is exact for them. Tolerance: 1e-10 of the sum of the terms' sizes;
/// sums of up to 2e5 terms, each right to some 1e-15.
#[test]
fn dsm_and_hsm_have_one_gradient() {
    let mut worst = Worst::NONE;
    for d in with_velocity() {
        for weighting in [Weighting::Likelihood, Weighting::Score] {
            let of_hsm = Loss::new(&d, hsm(&d), Form::Score, weighting).unwrap();
            for t in if d.channels() > 2 {
                vec![1e-3, 0.4]
            } else {
                TIMES.to_vec()
            } {
                worst.see(same_gradient(&d, &of_hsm, weighting, t));
            }
        }
    }
    println!("worst {worst:e}");
    assert!(worst.within(1e-10), "{worst:e}");
}

/// Catches a claim that cannot fail: HSM with the initial variance gamma for gamma M, and HSM with
/// DSM's kernel, must both break the equality of gradients, by far more than its tolerance.
#[test]
fn planted_kernels_are_seen() {
    let (d, t) = (Diffusion::paper().unwrap(), 0.05);
    let mass = d.process().mass();
    let wrong = Diffusion::of(Cld::new(0.25).unwrap(), *d.schedule(), d.gamma() / mass).unwrap();
    let of_wrong = Loss::new(&wrong, hsm(&wrong), Form::Score, Weighting::Likelihood).unwrap();
    assert!(same_gradient(&d, &of_wrong, Weighting::Likelihood, t) > 1e-3);
    let with_dsm_kernel =
        Loss::new(&d, Objective::DSM, Form::Score, Weighting::Likelihood).unwrap();
    assert!(same_gradient(&d, &with_dsm_kernel, Weighting::Likelihood, t) > 1e-3);
    // and the library refuses another gamma than the diffusion's
    assert!(Loss::new(&d, hsm(&wrong), Form::Score, Weighting::Likelihood).is_err());
}

fn every_loss() -> Vec<Loss> {
    let mut all = vec![];
    for d in one_channel().into_iter().chain(with_velocity()) {
        for weighting in Weighting::ALL {
            for form in FORMS {
                all.push(Loss::new(&d, Objective::DSM, form, weighting).unwrap());
                if d.channels() > 1 {
                    all.push(Loss::new(&d, hsm(&d), form, weighting).unwrap());
                }
            }
        }
    }
    all
}

fn some(n: usize, seed: f64) -> Vec<f64> {
    (0..n)
        .map(|i| ((i as f64 + 1.0) * seed).sin() * 1.7)
        .collect()
}

/// Largest error of the gradient against differences of the value (exact for a quadratic),
/// relative.
fn gradient_error(loss: &Loss, times: &[f64], factor: f64) -> f64 {
    let (rows, dim) = (times.len(), 3);
    let (k, m) = (loss.diffusion().channels(), loss.diffusion().noised().len());
    let plan = loss.plan(times).unwrap();
    let scale: Vec<f64> = (0..rows).map(|i| 0.5 + i as f64).collect();
    let noise: Vec<_> = (0..k).map(|i| some(rows * dim, 1.3 + i as f64)).collect();
    let mut output: Vec<_> = (0..m).map(|i| some(rows * dim, 2.1 + i as f64)).collect();
    let mut gradient = vec![vec![0.0; rows * dim]; m];
    let mut each = vec![0.0; rows];
    plan.value(
        &scale,
        &views(&noise),
        &views(&output),
        &mut each,
        &mut views_mut(&mut gradient),
    )
    .unwrap();
    let mut worst = Worst::NONE;
    for i in 0..m {
        for r in 0..rows * dim {
            let mut at = |shift: f64| {
                let keep = output[i][r];
                output[i][r] += shift;
                plan.value(&scale, &views(&noise), &views(&output), &mut each, &mut [])
                    .unwrap();
                output[i][r] = keep;
                each[r / dim] / rows as f64
            };
            let (above, below) = (at(0.5), at(-0.5));
            worst.see((above - below - factor * gradient[i][r]).abs() / (above + below));
        }
    }
    worst.value()
}

/// Catches a gradient without its factor 2, with a wrong scale per row, of the wrong row or
/// channel, or without the mean over rows: every process, objective, form and weighting against
/// differences of the value itself. Tolerance: a quadratic has no truncation error, so only
/// rounding is left. Half the gradient must fail.
#[test]
fn gradients_are_those_of_the_values() {
    let times = [2e-2, 0.3, 0.9];
    let (mut worst, mut planted) = (Worst::NONE, f64::INFINITY);
    for loss in every_loss() {
        worst.see(gradient_error(&loss, &times, 1.0));
        let half = gradient_error(&loss, &times, 0.5);
        assert!(half > 1e-3, "{half:e}");
        planted = planted.min(half);
    }
    println!("worst {worst:e}, with half the gradient at least {planted:e}");
    assert!(worst.within(1e-13), "{worst:e}");
}

/// Catches eps form without `ell` (or `L^-T`), or with its inverse: an output in eps form and the
/// score it stands for have one loss under every weighting, for every process. `W` is read from the
/// kernel's precision, by `W W^T = (S^-1)` alone where one channel is noised, else from the inverse
/// transpose. Without ell it must fail.
#[test]
fn both_forms_have_one_value() {
    for d in one_channel().into_iter().chain(with_velocity()) {
        let (k, m) = (d.channels(), d.noised().len());
        let objective = if k == 1 { Objective::DSM } else { hsm(&d) };
        for weighting in Weighting::ALL {
            for t in [1e-4, 0.02, 0.7] {
                let kernel = kernel_values(d.process(), d.schedule(), objective, 0.0, t).unwrap();
                let noise: Vec<_> = (0..k).map(|i| some(7, 1.3 + i as f64)).collect();
                let eps: Vec<_> = (0..m).map(|i| some(7, 2.1 + i as f64)).collect();
                let w = |i: usize, j: usize| {
                    let (i, j) = (d.noised()[i], d.noised()[j]);
                    if m == 1 {
                        kernel.inv[(i, i)].sqrt()
                    } else {
                        kernel.inverse_transpose_lower[(i, j)]
                    }
                };
                let score: Vec<Vec<f64>> = (0..m)
                    .map(|i| {
                        (0..7)
                            .map(|r| -(0..m).map(|j| w(i, j) * eps[j][r]).sum::<f64>())
                            .collect()
                    })
                    .collect();
                let bare: Vec<Vec<f64>> =
                    eps.iter().map(|e| e.iter().map(|e| -e).collect()).collect();
                let value = |form: Form, output: &[Vec<f64>]| {
                    let at = Loss::new(&d, objective, form, weighting)
                        .unwrap()
                        .at(t)
                        .unwrap();
                    at.value(&views(&noise), &views(output), &mut []).unwrap()
                };
                let (a, b) = (value(Form::Eps, &eps), value(Form::Score, &score));
                assert!(
                    (a / b - 1.0).abs() < 1e-12,
                    "{} {weighting:?} {t}: {a} {b}",
                    d.process().name()
                );
                let planted = value(Form::Score, &bare);
                assert!(
                    (planted / a - 1.0).abs() > 1e-6,
                    "{} {weighting:?} {t}",
                    d.process().name()
                );
            }
        }
    }
}

/// Catches a target that is not the noise's, and a loss that does not vanish there: at the target
/// the loss is 0, and eps-MSE in eps form is the plain square, whatever the process.
#[test]
fn the_target_has_no_loss() {
    for loss in every_loss() {
        let (k, m) = (loss.diffusion().channels(), loss.diffusion().noised().len());
        let at = loss.at(0.3).unwrap();
        let noise: Vec<_> = (0..k).map(|i| some(5, 1.3 + i as f64)).collect();
        let mut target = vec![vec![0.0; 5]; m];
        at.target(&views(&noise), &mut views_mut(&mut target))
            .unwrap();
        assert_eq!(
            at.value(&views(&noise), &views(&target), &mut []).unwrap(),
            0.0
        );
        if (loss.form(), loss.weighting()) == (Form::Eps, Weighting::Eps) {
            let zero = vec![vec![0.0; 5]; m];
            let square: f64 = noise[k - m..].iter().flatten().map(|e| e * e).sum();
            assert!(
                (at.value(&views(&noise), &views(&zero), &mut []).unwrap() / square - 1.0).abs()
                    < 1e-15 * 4.0
            ); // sums of 15 terms
        }
    }
}

/// Catches a wrong constant or variance in the closed forms: mean and variance of the loss that
/// runs, with the exact score for Gaussian data and with an output 0, by quadrature that is exact
/// for them. Tolerance 1e-9: score and target nearly agree, and what is missed is down to 1e-3 of
/// either (measured: 6e-14).
#[test]
fn closed_forms_are_those_of_the_loss_that_runs() {
    let deviation = 0.7;
    let mut worst = Worst::NONE;
    for loss in every_loss() {
        let d = loss.diffusion();
        let (k, m) = (d.channels(), d.noised().len());
        let dsm = k > 1 && loss.objective() == Objective::DSM;
        let n = nodes(
            k,
            &[(1.0, 0.3, deviation)],
            if dsm {
                d.gamma() * d.process().mass()
            } else {
                0.0
            },
        );
        let rows = n.weight.len();
        let score = Gaussian::new(d.clone(), 0.3, deviation).unwrap();
        for t in if k > 2 {
            vec![0.05]
        } else {
            vec![1e-3, 0.05, 0.4]
        } {
            let at = loss.at(t).unwrap();
            let mut u = vec![vec![0.0; rows]; k];
            at.perturb(&views(&n.u0), &views(&n.noise), &mut views_mut(&mut u))
                .unwrap();
            let mut exact = vec![vec![0.0; rows]; m];
            score
                .score(t, &views(&u), &mut views_mut(&mut exact))
                .unwrap();
            if loss.form() == Form::Eps {
                // e = -L^T s on the noised channels
                let lower = kernel_values(d.process(), d.schedule(), loss.objective(), 0.0, t)
                    .unwrap()
                    .chol_lower;
                let s = exact.clone();
                for (i, e) in exact.iter_mut().enumerate() {
                    for (r, e) in e.iter_mut().enumerate() {
                        *e = -(0..m)
                            .map(|j| lower[(d.noised()[j], d.noised()[i])] * s[j][r])
                            .sum::<f64>();
                    }
                }
            }
            for (who, output) in [(Some(deviation), exact), (None, vec![vec![0.0; rows]; m])] {
                let (mut mean, mut square) = (0.0, 0.0);
                for r in 0..rows {
                    let noise: Vec<&[f64]> = n.noise.iter().map(|c| &c[r..=r]).collect();
                    let output: Vec<&[f64]> = output.iter().map(|c| &c[r..=r]).collect();
                    let value = at.value(&noise, &output, &mut []).unwrap();
                    mean += n.weight[r] * value;
                    square += n.weight[r] * value * value;
                }
                let (expected, variance) = moments(&loss, who, t).unwrap();
                let error = worse(
                    (mean / expected - 1.0).abs(),
                    ((square - mean * mean) / variance - 1.0).abs(),
                );
                assert!(
                    error < 1e-9,
                    "{} {:?} {t} {who:?}: {mean} {expected} {square} {variance}",
                    d.process().name(),
                    loss.form()
                );
                worst.see(error);
            }
        }
    }
    println!("worst {worst:e}");
    assert!(worst.within(1e-9), "{worst:e}");
}

/// Catches times whose density is not the one returned, in either law: the density's integral is 1
/// up to each time that is drawn (Simpson's rule, an own sum; 2e4 intervals of ln t, whose knots do
/// not meet the table's, hence 1e-7), stratified uniforms stay in their strata, and what is
/// returned is the likelihood weight's shape to 1e-4.
#[test]
fn times_have_the_density_that_is_returned() {
    let (d, eps) = (Diffusion::paper().unwrap(), 1e-5f64);
    for objective in [Objective::DSM, hsm(&d)] {
        let loss = Loss::new(&d, objective, Form::Score, Weighting::Likelihood).unwrap();
        for times in [
            Times::uniform(eps).unwrap(),
            Times::importance(&loss, eps).unwrap(),
        ] {
            for u in [0.0, 1e-6, 0.1, 0.37, 0.5, 0.9, 0.999_999, 1.0] {
                let (t, density) = times.draw(u);
                assert!(
                    (eps..=1.0).contains(&t) && (density / times.density(t) - 1.0).abs() < 1e-9,
                    "{u} {t} {density}"
                );
                let n = 20_000;
                let h = (t / eps).ln() / f64::from(n);
                let of = |i: i32| {
                    let t = (eps.ln() + h * f64::from(i)).exp().min(1.0);
                    t * times.density(t)
                };
                let sum = (0..n)
                    .map(|i| {
                        if i == 0 {
                            of(0) + of(n)
                        } else {
                            of(i) * f64::from(2 + 2 * (i % 2))
                        }
                    })
                    .sum::<f64>()
                    * h
                    / 3.0;
                assert!((sum - u).abs() < 1e-7, "{} {u}: {sum}", objective.name());
            }
        }
        let times = Times::importance(&loss, eps).unwrap();
        let ratio = |t: f64| {
            loss.at(t).unwrap().quadratic()[(0, 0)] * d_ell(&d, objective, t).powi(2)
                / times.density(t)
        };
        for t in [1.3e-5, 2e-4, 0.0123, 0.2, 0.77] {
            assert!((ratio(t) / ratio(0.5) - 1.0).abs() < 1e-4, "{t}");
        }
    }
    let mut uniforms = vec![0.0, 0.25, 0.5, 0.999];
    cld_sgm::loss::time::stratify(&mut uniforms);
    assert_eq!(uniforms, [0.0, 0.3125, 0.625, 0.99975]);
    assert!(Times::uniform(0.0).is_err() && Times::uniform(1.0).is_err());
    let (mut t, mut s) = ([0.0; 2], [0.0; 2]);
    assert!(
        Times::uniform(eps)
            .unwrap()
            .fill(&[0.5, 1.5], &mut t, &mut s)
            .is_err()
    );
}

fn d_ell(d: &Diffusion, objective: Objective, t: f64) -> f64 {
    kernel_values(d.process(), d.schedule(), objective, 0.0, t)
        .unwrap()
        .ell
}

/// Catches an importance law that is not the weight's, a wrong density in the estimator, and a
/// stratified variance of the wrong scale. With an output 0, loss/density is the integral I times a
/// chi-square of one degree: variance 2 I^2 exactly, stratified or not (1e-6: the table's lines
/// miss the weight by 1e-5, the variance by its square). Uniform times vary more, and less if
/// stratified.
#[test]
fn importance_leaves_the_noise_alone() {
    let (d, eps) = (Diffusion::paper().unwrap(), 1e-5);
    for objective in [Objective::DSM, hsm(&d)] {
        let loss = Loss::new(&d, objective, Form::Score, Weighting::Likelihood).unwrap();
        let (uniform, importance) = (
            Times::uniform(eps).unwrap(),
            Times::importance(&loss, eps).unwrap(),
        );
        let (mean, variance) = estimator(&loss, None, &importance, 1).unwrap();
        assert!(
            (variance / (2.0 * mean * mean) - 1.0).abs() < 1e-6,
            "{mean} {variance}"
        );
        let (stratified, less) = estimator(&loss, None, &importance, 16).unwrap();
        assert!((stratified / mean - 1.0).abs() < 1e-9 && (less / variance - 1.0).abs() < 1e-6);
        let (same, more) = estimator(&loss, None, &uniform, 1).unwrap();
        assert!((same / mean - 1.0).abs() < 1e-9 && more > 1.1 * variance);
        let (same, between) = estimator(&loss, None, &uniform, 16).unwrap();
        assert!((same / mean - 1.0).abs() < 1e-9 && between < more && between > variance);
    }
}

const TABLE_TIMES: [f64; 9] = [1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.5, 1.0];

/// The first table of docs/reference/loss.md: the paper's setting, data N(0, 1), exact score,
/// likelihood weighting, one value.
fn table_of_objectives() -> String {
    let d = Diffusion::paper().unwrap();
    let loss = |o| Loss::new(&d, o, Form::Score, Weighting::Likelihood).unwrap();
    let (a, b) = (loss(Objective::DSM), loss(hsm(&d)));
    let mut out = String::from(
        "| t | constant, DSM | constant, HSM | gradient's variance, HSM/DSM | loss's variance, HSM/DSM |\n|---|---|---|---|---|\n",
    );
    for t in TABLE_TIMES {
        let (dsm, hsm) = (
            moments(&a, Some(1.0), t).unwrap(),
            moments(&b, Some(1.0), t).unwrap(),
        );
        let gradient =
            missing(&b, Some(1.0), t).unwrap()[(0, 0)] / missing(&a, Some(1.0), t).unwrap()[(0, 0)];
        writeln!(
            out,
            "| {t} | {:.3e} | {:.3e} | {gradient:.3e} | {:.3e} |",
            dsm.0,
            hsm.0,
            hsm.1 / dsm.1
        )
        .unwrap();
    }
    out
}

/// The second table of docs/reference/loss.md: the paper's setting, likelihood weighting, standard
/// deviation over mean of the time-averaged loss from one value, or n times as many in n strata
/// (then times sqrt(n)).
fn table_of_times() -> String {
    let (d, eps) = (Diffusion::paper().unwrap(), 1e-5);
    let mut out = String::from(
        "| objective | output | times | integral | independent | 16 strata | 128 strata |\n|---|---|---|---|---|---|---|\n",
    );
    for objective in [Objective::DSM, hsm(&d)] {
        let loss = Loss::new(&d, objective, Form::Score, Weighting::Likelihood).unwrap();
        for (output, who) in [("0", None), ("exact score", Some(1.0))] {
            for (name, times) in [
                ("uniform", Times::uniform(eps).unwrap()),
                ("importance", Times::importance(&loss, eps).unwrap()),
            ] {
                let of = |n| estimator(&loss, who, &times, n).unwrap();
                let mean = of(1).0;
                let [a, b, c] = [1, 16, 128].map(|n| of(n).1.sqrt() / mean);
                writeln!(
                    out,
                    "| {} | {output} | {name} | {mean:.4} | {a:.3} | {b:.3} | {c:.3} |",
                    objective.name()
                )
                .unwrap();
            }
        }
    }
    out
}

/// Catches HSM's estimator varying no less than DSM's, a gap that depends on the data, and figures
/// in docs/reference/loss.md that are not those of the code: the tables there are these, letter by
/// letter.
#[test]
fn hybrid_matching_varies_less() {
    for d in with_velocity() {
        let (k, noised) = (d.channels(), d.noised().to_vec());
        let loss = |o| Loss::new(&d, o, Form::Score, Weighting::Score).unwrap();
        let (a, b) = (loss(Objective::DSM), loss(hsm(&d)));
        for t in TABLE_TIMES {
            let gap = gap(&b, t).unwrap();
            for deviation in [Some(0.2), Some(1.0)] {
                let (dsm, hsm) = (
                    moments(&a, deviation, t).unwrap(),
                    moments(&b, deviation, t).unwrap(),
                );
                assert!(
                    hsm.0 < dsm.0 && hsm.1 < dsm.1,
                    "{} {t}: {hsm:?} {dsm:?}",
                    d.process().name()
                );
                let trace: f64 = noised.iter().map(|i| gap[(*i, *i)]).sum();
                assert!(
                    ((dsm.0 - hsm.0) / trace - 1.0).abs() < 1e-6 || trace < 1e-9 * dsm.0,
                    "{} {t}",
                    d.process().name()
                );
            }
            // by the inverses themselves, where subtracting them leaves digits
            let of = |o| {
                kernel_values(d.process(), d.schedule(), o, 0.0, t)
                    .unwrap()
                    .inv
            };
            let (s, h) = (of(Objective::DSM), of(hsm(&d)));
            for &i in &noised {
                let n = i * k + i;
                assert!(
                    (s[(n / k, n % k)] - h[(n / k, n % k)] - gap[(n / k, n % k)]).abs()
                        < 1e-12 * s[(n / k, n % k)],
                    "{} {t}: {} {}",
                    d.process().name(),
                    s[(n / k, n % k)] - h[(n / k, n % k)],
                    gap[(n / k, n % k)]
                );
            }
        }
    }
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/reference/loss.md"
    ))
    .unwrap_or_default();
    let tables = [table_of_objectives(), table_of_times()];
    assert!(
        tables.iter().all(|t| page.contains(t)),
        "docs/reference/loss.md should have\n{}",
        tables.join("\n")
    );
}

/// The paper's public code as recorded in fixtures/peers, entry by entry: its kernels have 1e-9
/// added to both variances, so the formulas are compared with kernels that have it, too.
#[cfg(feature = "cli")]
mod recorded {
    use super::*;
    use cld_sgm::Kernel;
    use cld_sgm::internal::files::read_npz;
    use cld_sgm::kernel::KernelValues;
    use cld_sgm::process::erase;
    use serde_json::Value as Json;
    use std::collections::BTreeMap;
    use std::path::Path;

    type Arrays = BTreeMap<String, Vec<f64>>;

    /// Entries of a quantity: the entry, its process, the arrays it names.
    fn entries(quantity: &str) -> Vec<(Json, Diffusion, Arrays)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers");
        let all = read_npz(&folder.join("cld-sgm.npz")).unwrap();
        let file: Json =
            serde_json::from_str(&std::fs::read_to_string(folder.join("cld-sgm.json")).unwrap())
                .unwrap();
        let chosen = file["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["quantity"] == quantity);
        chosen
            .map(|e| {
                let p = &e["process"];
                let number = |v: &Json| v.as_f64().unwrap();
                let schedule =
                    Schedule::linear(number(&p["schedule"]["b0"]), number(&p["schedule"]["b1"]))
                        .unwrap();
                let d = match p["kind"].as_str().unwrap() {
                    "vp" => Diffusion::of(Vp, schedule, 0.0),
                    _ => Diffusion::of(
                        Cld::new(number(&p["mass"])).unwrap(),
                        schedule,
                        number(&p["gamma"]),
                    ),
                };
                let named = [&e["inputs"], &e["outputs"]]
                    .into_iter()
                    .flat_map(|o| o.as_object().unwrap());
                let arrays = named
                    .map(|(k, v)| (k.clone(), all[v.as_str().unwrap()].data.clone()))
                    .collect();
                (e.clone(), d.unwrap(), arrays)
            })
            .collect()
    }

    /// The kernel with `epsilon` added to both variances.
    fn stabilised(d: &Diffusion, objective: Objective, t: f64, epsilon: f64) -> KernelValues {
        let process = erase(Cld::new(d.process().mass()).unwrap()).unwrap();
        let law = process.law(
            d.schedule().span(0.0, t).unwrap(),
            objective.gamma(),
            epsilon,
        );
        let kernel = Kernel::<2>::from_moments(law.moments.fixed()).unwrap();
        let mut values = kernel_values(d.process(), d.schedule(), objective, 0.0, t).unwrap();
        values.cov = (*kernel.cov()).into();
        values.chol_lower = (*kernel.lower()).into();
        values.inverse_transpose_lower = kernel.inverse_transpose_lower().into();
        values.ell = kernel.ell();
        values
    }

    fn objective(e: &Json, d: &Diffusion) -> Objective {
        if e["process"]["objective"] == "dsm" {
            Objective::DSM
        } else {
            hsm(d)
        }
    }

    /// Catches a loss, weight or kernel other than the recorded: 24 losses of 29 samples, DSM and
    /// HSM, three weightings. Their network is tanh(u W) on top of the mixed score, whose variance
    /// of v is HSM's for DSM, too. Their `likelihood` is [`Weighting::Likelihood`], `reweightedv1`
    /// is [`Weighting::RatedEps`], `reweightedv2` is [`Weighting::Eps`]. Tolerance: their
    /// arithmetic is f32; the unit is what a relative error of 2^-24 in the terms of score and
    /// target makes of the loss, plus 2^-24 of the loss.
    #[test]
    fn recorded_losses_are_met() {
        let all = entries("loss.per_sample");
        assert_eq!(all.len(), 24);
        let mut worst = Worst::NONE;
        for (e, d, a) in all {
            let objective = objective(&e, &d);
            let weighting = match e["weighting"].as_str().unwrap() {
                "likelihood" => Weighting::Likelihood,
                "reweightedv1" => Weighting::RatedEps,
                _ => Weighting::Eps,
            };
            let loss = Loss::new(&d, objective, Form::Score, weighting).unwrap();
            let initial = if objective == Objective::DSM {
                (d.gamma() * d.process().mass()).sqrt()
            } else {
                0.0
            };
            for (i, uniform) in a["uniform"].iter().enumerate() {
                let t = uniform * (1.0 - 1e-5) + 1e-5;
                let kernel = stabilised(&d, objective, t, 1e-9);
                let at = loss.with_kernel(t, &kernel).unwrap();
                let row =
                    |name: &str, width: usize, first: usize| &a[name][i * width + first..][..2];
                let v0: Vec<f64> = row("v_noise", 2, 0).iter().map(|v| v * initial).collect();
                let noise = [row("noise", 4, 0), row("noise", 4, 2)];
                let mut u = vec![vec![0.0; 2]; 2];
                at.perturb(&[row("x0", 2, 0), &v0], &noise, &mut views_mut(&mut u))
                    .unwrap();
                let variance = stabilised(&d, hsm(&d), t, 1e-9).cov[(1, 1)];
                let net = |c: usize| {
                    (0..4)
                        .map(|j| u[j / 2][j % 2] * a["net_W"][j * 2 + c])
                        .sum::<f64>()
                        .tanh()
                };
                let score: Vec<f64> = (0..2)
                    .map(|c| -u[1][c] / variance - kernel.ell * net(c))
                    .collect();
                let (value, recorded) =
                    (at.value(&noise, &[&score], &mut []).unwrap(), a["loss"][i]);
                let size: f64 = (0..2)
                    .map(|c| (u[1][c] / variance).powi(2) + (kernel.ell * noise[1][c]).powi(2))
                    .sum();
                let q = at.quadratic()[(0, 0)];
                let unit = (2.0 * q * (size * value / q).sqrt() + value) * 2f64.powi(-24);
                worst.see((value - recorded).abs() / unit);
            }
        }
        println!("worst {worst} units");
        assert!(worst.within(4.0), "{worst}");
    }

    /// Catches a likelihood weight other than the recorded `Gamma beta` (8 entries, f64): half of
    /// `b G G^T`. The objective plays no part.
    #[test]
    fn recorded_likelihood_weights_are_met() {
        let all = entries("loss.weight.likelihood");
        assert_eq!(all.len(), 8);
        for (e, d, a) in all {
            for (t, weight) in a["t"].iter().zip(&a["weight"]) {
                let own = Weighting::Likelihood.diagonal(&d, *t);
                assert!(
                    (own[0] / weight - 1.0).abs() < 4e-16 * 2.0,
                    "{} {t}: {own:?} {weight}",
                    e["id"]
                ); // two products in either
            }
        }
    }

    /// Catches another mixed score: `-v/S_vv - ell net` with S_vv of HSM's kernel whatever the
    /// objective (8 entries, network and sum in f32: 1e-6 of the larger term). With DSM's own S_vv
    /// it must fail.
    #[test]
    fn recorded_mixed_scores_are_met() {
        let all = entries("score.mixed");
        assert_eq!(all.len(), 8);
        for (e, d, a) in all {
            let mut planted: f64 = 0.0;
            for (i, t) in a["t"].iter().enumerate() {
                let (own, variance) = (
                    stabilised(&d, objective(&e, &d), *t, 1e-9),
                    stabilised(&d, hsm(&d), *t, 1e-9).cov[(1, 1)],
                );
                for c in 0..2 {
                    let (v, net, score) = (
                        a["u"][i * 4 + 2 + c],
                        a["net_output"][i * 2 + c],
                        a["score"][i * 2 + c],
                    );
                    let (normal, rest) = (-v / variance, -own.ell * net);
                    let size = worse(normal.abs(), rest.abs());
                    assert!(
                        (normal + rest - score).abs() < 1e-6 * size,
                        "{} {t}: {} {score}",
                        e["id"],
                        normal + rest
                    );
                    planted = planted.max((-v / own.cov[(1, 1)] + rest - score).abs() / size);
                }
            }
            assert!(
                planted > 0.01 || e["process"]["objective"] == "hsm",
                "{}: {planted}",
                e["id"]
            );
        }
    }

    /// Catches another prediction of x_0. CLD (4 entries): noise of v from the score, noise of x
    /// eliminated from the two equations of the kernel; their noise of v is f32: 2^-23 of its term,
    /// and 1e-3 of that of the rest. VP (1 entry): recorded is `(x + S^(3/2) s)/Phi`, the noise
    /// taken as `-S s`, the variance in place of the deviation; the right one is `(x + S s)/Phi`,
    /// which the record must not meet.
    #[test]
    fn recorded_predictions_of_the_data_are_met_but_for_vp() {
        let all = entries("score.x0_from_eps");
        assert_eq!(all.len(), 5);
        let mut worst = Worst::NONE;
        for (e, d, a) in all {
            for (i, t) in a["t"].iter().enumerate() {
                for c in 0..2 {
                    let recorded = a["x0"][i * 2 + c];
                    let score = a["score"][i * 2 + c];
                    if d.channels() == 1 {
                        let kernel = d.kernel(*t).unwrap();
                        let (x, s) = (a["u"][i * 2 + c], kernel.cov[(0, 0)]);
                        let of = |power: f64| (x + s.powf(power) * score) / kernel.mean[(0, 0)];
                        let size = x.abs() / kernel.mean[(0, 0)];
                        assert!(
                            (of(1.5) - recorded).abs() < 1e-6 * size,
                            "{t}: {} {recorded}",
                            of(1.5)
                        );
                        assert!(
                            (of(1.0) - recorded).abs() > 1e-6 * size,
                            "{t}: {} {recorded}",
                            of(1.0)
                        );
                        continue;
                    }
                    let k = stabilised(&d, objective(&e, &d), *t, 1e-9);
                    let (x, v, l) = (a["u"][i * 4 + c], a["u"][i * 4 + 2 + c], &k.chol_lower);
                    let det = k.mean[(0, 0)] * l[(1, 0)] - k.mean[(1, 0)] * l[(0, 0)];
                    let known = v + l[(1, 1)] * score / k.ell;
                    let own = (x * l[(1, 0)] - known * l[(0, 0)]) / det;
                    let size =
                        (l[(1, 1)] * score / k.ell * l[(0, 0)] / det).abs() + own.abs() * 1e-3;
                    worst.see((own - recorded).abs() / size);
                }
            }
        }
        println!("worst {worst:e}");
        assert!(worst.within(2f64.powi(-23)), "{worst:e}");
    }
}
