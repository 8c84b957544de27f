//! The law of the velocities at t = 0: one for kernels, losses, training and likelihoods, of every
//! process in the registry.

use super::support::{diagonal, sandwich};
use cld_sgm::kernel::{Objective, kernel_values};
use cld_sgm::likelihood::{Likelihood, Terminal};
use cld_sgm::loss::exact::gap;
use cld_sgm::loss::{Form, Loss, Weighting};
use cld_sgm::process::{Params, REGISTRY};
use cld_sgm::score::{Gaussian, Score};
use cld_sgm::{Diffusion, Schedule};

/// Every process of the registry with parameters that tell masses, frictions and stationary
/// variances apart, each with gamma.
fn every() -> Vec<Diffusion> {
    let linear = || Schedule::linear(0.5, 6.0).unwrap();
    let mut all = vec![];
    for e in REGISTRY {
        let examples: &[&[(&str, f64)]] = match e.name {
            "cld" => &[&[("mass", 0.25)], &[("mass", 4.0), ("Gamma", 1.5)]],
            "sscs-analytic" => &[&[("mass", 0.25)]],
            "psld" => &[&[("Gamma", 0.25), ("nu", 4.25)]],
            "cld-position-noise" => &[
                &[("a", 2.0), ("epsilon", 0.0), ("sigma", 1.0)],
                &[("a", 1.0), ("epsilon", 0.5), ("sigma", 1.0)],
            ],
            "langevin-order-n" => &[&[("order", 2.0)], &[("order", 3.0)], &[("order", 4.0)]],
            "vp" | "sub-vp" | "ve" => &[&[]],
            other => panic!("{other} has no example here"),
        };
        for example in examples {
            let params = example
                .iter()
                .fold(Params::default(), |p, (name, x)| p.with(name, *x));
            let schedule = if e.name == "ve" {
                Schedule::geometric(0.01, 50.0).unwrap()
            } else {
                linear()
            };
            let gamma = if e.gamma.is_some() { 0.3 } else { 0.0 };
            all.push(Diffusion::new(e.build(&params).unwrap(), schedule, gamma).unwrap());
        }
    }
    all
}

fn objectives(d: &Diffusion) -> Vec<Objective> {
    if d.channels() == 1 {
        vec![Objective::DSM]
    } else {
        vec![Objective::DSM, Objective::hsm(d.gamma()).unwrap()]
    }
}

fn views(channels: &[Vec<f64>]) -> Vec<&[f64]> {
    channels.iter().map(Vec::as_slice).collect()
}

fn views_mut(channels: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    channels.iter_mut().map(Vec::as_mut_slice).collect()
}

/// What a trainer began from before there was one law: the prior's variance for M, and no channel
/// beyond v.
fn wrong(d: &Diffusion) -> Vec<f64> {
    let (k, prior) = (d.channels(), d.prior());
    (0..k)
        .map(|i| {
            if i == 1 {
                (d.gamma() * prior[(i, i)]).sqrt()
            } else {
                0.0
            }
        })
        .collect()
}

/// Whether that is wrong for this process.
fn differs(d: &Diffusion) -> bool {
    d.channels() > 2 || d.process().name() == "cld-position-noise"
}

/// Solves `a x = b` for a symmetric positive definite `a`, by elimination.
fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let k = b.len();
    let (mut a, mut x) = (a.to_vec(), b.to_vec());
    for i in 0..k {
        for j in i + 1..k {
            let f = a[j * k + i] / a[i * k + i];
            (i..k).for_each(|c| a[j * k + c] -= f * a[i * k + c]);
            x[j] -= f * x[i];
        }
    }
    for i in (0..k).rev() {
        let rest: f64 = (i + 1..k).map(|c| a[i * k + c] * x[c]).sum();
        x[i] = (x[i] - rest) / a[i * k + i];
    }
    x
}

/// The linear map of the state to the output that minimises the loss, and the one of the exact
/// score: their largest difference, relative. Data N(0, 0.8^2); no sampling: what runs is linear in
/// the normals, so its matrices are read off unit vectors, and the normal equations
/// `W E u u^T = E y u^T` have their expectations in closed form.
fn optimum_is_off(loss: &Loss, t: f64, deviations: &[f64]) -> f64 {
    let d = loss.diffusion();
    let (k, m, size) = (d.channels(), d.noised().len(), 0.8);
    // unit vectors: x_0, the velocities' normals, the noise
    let all = 2 * k;
    let unit = |i: usize| -> Vec<f64> { (0..all).map(|r| f64::from(r == i)).collect() };
    let u0: Vec<Vec<f64>> = (0..k)
        .map(|i| {
            unit(i)
                .iter()
                .map(|e| e * if i == 0 { size } else { deviations[i] })
                .collect()
        })
        .collect();
    let noise: Vec<Vec<f64>> = (0..k).map(|i| unit(k + i)).collect();
    let start = if loss.objective() == Objective::DSM {
        views(&u0)
    } else {
        vec![&u0[0][..]]
    };
    let at = loss.at(t).unwrap();
    let (mut u, mut target) = (vec![vec![0.0; all]; k], vec![vec![0.0; all]; m]);
    at.perturb(&start, &views(&noise), &mut views_mut(&mut u))
        .unwrap();
    at.target(&views(&noise), &mut views_mut(&mut target))
        .unwrap();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let second: Vec<f64> = (0..k * k).map(|n| product(&u[n / k], &u[n % k])).collect();
    let trained: Vec<Vec<f64>> = target
        .iter()
        .map(|y| {
            solve(
                &second,
                &(0..k).map(|j| product(y, &u[j])).collect::<Vec<_>>(),
            )
        })
        .collect();
    // the exact score of unit states, as noise: e = -L^T s on the noised channels
    let states: Vec<Vec<f64>> = (0..k)
        .map(|i| (0..k).map(|r| f64::from(r == i)).collect())
        .collect();
    let mut score = vec![vec![0.0; k]; m];
    Gaussian::new(d.clone(), 0.0, size)
        .unwrap()
        .score(t, &views(&states), &mut views_mut(&mut score))
        .unwrap();
    let lower = kernel_values(d.process(), d.schedule(), loss.objective(), 0.0, t)
        .unwrap()
        .chol_lower;
    let mut off: f64 = 0.0;
    for (i, row) in trained.iter().enumerate() {
        let exact: Vec<f64> = (0..k)
            .map(|r| {
                -(0..m)
                    .map(|j| lower[(d.noised()[j], d.noised()[i])] * score[j][r])
                    .sum::<f64>()
            })
            .collect();
        let largest = cld_sgm::internal::worst::largest(&exact);
        for (a, b) in row.iter().zip(&exact) {
            let e = (a - b).abs() / largest;
            off = if e.is_nan() { f64::NAN } else { off.max(e) };
        }
    }
    off
}

/// Catches an objective that draws its velocities from another law than the kernel has (the prior's
/// variance for `gamma M`, nothing for a third or fourth channel), so that training converges to
/// the score of another process: for every process, DSM and HSM, the trained optimum of a linear
/// network is the closed form. Tolerance: 1e-9, the condition of the second moments (up to 1e5)
/// times rounding. The law of old, planted, must be seen wherever it differs.
#[test]
fn the_trained_optimum_is_the_exact_score() {
    let (mut seen, mut planted) = (0, 0);
    for d in every() {
        let name = d.process().name();
        for objective in objectives(&d) {
            let loss = Loss::new(&d, objective, Form::Eps, Weighting::Eps).unwrap();
            for t in [0.05, 0.3, 1.0] {
                let off = optimum_is_off(&loss, t, &loss.deviations());
                assert!(
                    off < 1e-9,
                    "{name} of {} channels, {} at {t}: {off:e}",
                    d.channels(),
                    objective.name()
                );
                seen += 1;
            }
            if objective == Objective::DSM && differs(&d) {
                let off = optimum_is_off(&loss, 0.3, &wrong(&d));
                assert!(
                    off > 1e-3,
                    "{name} of {} channels: planted, and only {off:e} off",
                    d.channels()
                );
                planted += 1;
            }
        }
    }
    assert_eq!((seen, planted), (3 * (2 * 9 + 3), 4));
}

/// Catches a kernel, a loss, a gap or an entropy with a law of its own: each against `gamma M` for
/// v and every further channel, by hand. Tolerance: roundings of a few products, in units of the
/// largest entry.
#[test]
fn everyone_has_the_same_law() {
    for d in every() {
        let (k, name) = (d.channels(), d.process().name());
        let want: Vec<f64> = (0..k)
            .map(|i| {
                if i == 0 {
                    0.0
                } else {
                    d.gamma() * d.process().mass()
                }
            })
            .collect();
        let near = |a: &[f64], b: &[f64], scale: f64, what: &str| {
            assert_eq!(a.len(), b.len());
            assert!(
                a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * scale),
                "{name}, {what}: {a:?} {b:?}"
            );
        };
        near(&d.initial(), &want, 1.0, "diffusion");
        let loss = Loss::new(&d, Objective::DSM, Form::Eps, Weighting::Eps).unwrap();
        near(
            &loss.deviations().iter().map(|x| x * x).collect::<Vec<_>>(),
            &want,
            1.0,
            "loss",
        );
        if k == 1 {
            continue;
        }
        let hybrid = Loss::new(
            &d,
            Objective::hsm(d.gamma()).unwrap(),
            Form::Eps,
            Weighting::Eps,
        )
        .unwrap();
        assert_eq!(hybrid.deviations(), vec![0.0; k]);
        let of = |o: Objective| kernel_values(d.process(), d.schedule(), o, 0.0, 0.4).unwrap();
        let (dsm, hsm) = (of(Objective::DSM), of(hybrid.objective()));
        let added: Vec<f64> = hsm
            .cov
            .as_slice()
            .iter()
            .zip(dsm.cov.as_slice())
            .map(|(a, b)| a - b)
            .collect();
        near(
            &added,
            &sandwich(dsm.mean.as_slice(), &diagonal(&want), k),
            1.0,
            "kernel",
        );
        let lost: Vec<f64> = dsm
            .inv
            .as_slice()
            .iter()
            .zip(hsm.inv.as_slice())
            .map(|(a, b)| a - b)
            .collect();
        let scale = cld_sgm::internal::worst::largest(dsm.inv.as_slice());
        near(
            gap(&loss, 0.4).unwrap().as_slice(),
            &lost,
            10.0 * scale,
            "gap",
        );
        let likelihood = Likelihood::new(&d, 3, 1e-3, 1e-6, Terminal::Prior).unwrap();
        let entropy: f64 = want[1..]
            .iter()
            .map(|v| 1.5 * (std::f64::consts::TAU * std::f64::consts::E * v).ln())
            .sum();
        near(
            &[likelihood.velocity_entropy().unwrap()],
            &[entropy],
            entropy.abs(),
            "likelihood",
        );
    }
}

/// Catches a trainer that draws its velocities in another way than its loss has them: the loss of
/// one step of training by DSM, for every process, recomputed one row after the other in f64 from
/// the normals of the step. Tolerance: 2e-6, roundings of f32 in a small network (measured: 2e-7).
/// The law of old, planted, must be seen wherever it differs.
#[cfg(feature = "cli")]
#[test]
fn the_trainer_begins_from_it() {
    use cld_sgm::internal::simd::Real;
    use cld_sgm::internal::simd::normal::{normals, threefry};
    use cld_sgm::loss::Times;
    use cld_sgm::nn::adam::Adam;
    use cld_sgm::nn::{Graph, Mlp, Session};
    use cld_sgm::score::Parametrisation;
    use cld_sgm::train::step::StepPlan;
    use cld_sgm::train::{Source, State, Trainer};
    use std::sync::Arc;

    /// Points on a curve.
    struct Curve;
    impl Source for Curve {
        fn shape(&self) -> [usize; 3] {
            [2, 1, 1]
        }
        fn draw(&self, number: u64, out: &mut [f64]) {
            let a = number as f64 * 0.7;
            (out[0], out[1]) = (a.sin(), 0.5 * (2.0 * a).cos());
        }
    }
    fn net<T: Real>(k: usize, m: usize) -> Graph<T> {
        Mlp {
            inputs: 2 * k,
            outputs: 2 * m,
            width: 16,
            depth: 1,
            residual: false,
        }
        .build()
        .unwrap()
    }
    let (seed, batch, dim, eps) = (11u64, 40usize, 2usize, 1e-2);
    let mut planted = 0;
    for d in every() {
        let (k, m) = (d.channels(), d.noised().len());
        let loss = Loss::new(&d, Objective::DSM, Form::Eps, Weighting::Eps).unwrap();
        let graph = Arc::new(net::<f32>(k, m));
        let p: Vec<f32> = (0..graph.layout().len())
            .map(|i| 1.5 * (i as f32 * 1.3 + 0.2).sin())
            .collect();
        let zeros = vec![0.0; p.len()];
        let adam = Adam {
            rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            warm_up: 0,
            cool_down: 0,
            end: 10,
            clip: f64::INFINITY,
            decay: 0.0,
            average: 0.0,
        };
        let plan = StepPlan {
            graph,
            loss: loss.clone(),
            parametrisation: Parametrisation::Eps,
            times: Times::uniform(eps).unwrap(),
            stratified: true,
            adam,
            batch,
            parts: 8,
            seed,
            source: Arc::new(Curve),
        };
        let state = State {
            step: 0,
            p: p.clone(),
            m: zeros.clone(),
            v: zeros.clone(),
            ema: zeros,
        };
        let report = Trainer::new(plan, state, 1).unwrap().step().unwrap();

        let again = |deviations: &[f64]| {
            let wide: Vec<f64> = p.iter().map(|x| f64::from(*x)).collect();
            let mut xi = vec![vec![0.0; batch * dim]; 2 * k];
            for (pair, two) in xi.chunks_mut(2).enumerate() {
                let [a, b] = two else { unreachable!() };
                normals(
                    [seed, u64::from_be_bytes(*b"noise...")],
                    0,
                    pair as u64,
                    [a, b],
                );
            }
            let mut total = 0.0;
            for r in 0..batch {
                let word = threefry([r as u64, 0], [seed, u64::from_be_bytes(*b"times...")])[0];
                let t = eps
                    + (1.0 - eps) * (r as f64 + (word >> 11) as f64 * 2f64.powi(-53))
                        / batch as f64;
                let kernel =
                    kernel_values(d.process(), d.schedule(), Objective::DSM, 0.0, t).unwrap();
                let mut x0 = vec![0.0; dim];
                Curve.draw(r as u64, &mut x0);
                let value = |c: usize, i: usize| {
                    let at = r * dim + i;
                    let start = |j: usize| {
                        if j == 0 {
                            x0[i]
                        } else {
                            deviations[j] * xi[k + j][at]
                        }
                    };
                    let mean: f64 = (0..k).map(|j| kernel.mean[(c, j)] * start(j)).sum();
                    mean + (0..=c)
                        .map(|j| kernel.chol_lower[(c, j)] * xi[j][at])
                        .sum::<f64>()
                };
                let u: Vec<f64> = (0..k)
                    .flat_map(|c| (0..dim).map(move |i| (c, i)))
                    .map(|(c, i)| value(c, i))
                    .collect();
                let mut y = vec![0.0; m * dim];
                Session::new(Arc::new(net::<f64>(k, m)), 1)
                    .unwrap()
                    .forward(&wide, &u, &[t], &mut y);
                for c in 0..m {
                    total += (0..dim)
                        .map(|i| (y[c * dim + i] - xi[k - m + c][r * dim + i]).powi(2))
                        .sum::<f64>();
                }
            }
            (1.0 - eps) * total / (batch * dim) as f64
        };
        let (want, name) = (again(&loss.deviations()), d.process().name());
        assert!(
            (report.loss / want - 1.0).abs() < 2e-6,
            "{name} of {k} channels: {} is not {want}",
            report.loss
        );
        if differs(&d) {
            let off = (again(&wrong(&d)) / want - 1.0).abs();
            assert!(
                off > 1e-3,
                "{name} of {k} channels: planted, and only {off:e} off"
            );
            planted += 1;
        }
    }
    assert_eq!(planted, 4);
}
