//! What mutants of samplers, losses, likelihoods and scores survived, and no longer do: see
//! `docs/notes/mutation.md`. Each test does in milliseconds what slower ones do thoroughly, or holds
//! a sentence of the docs that nothing else looked at.

use cld_sgm::data::{Component, Mixture};
use cld_sgm::internal::small::{Mat, Square};
use cld_sgm::kernel::Objective;
use cld_sgm::likelihood::{Likelihood, Terminal, Trace};
use cld_sgm::loss::{Form, Loss, Times, Weighting};
use cld_sgm::metrics::Estimate;
use cld_sgm::process::{Custom, LinearSde};
use cld_sgm::sampler::law::{run_law, step_law};
use cld_sgm::sampler::{Denoise, Grid, Memory, PredictorCorrector, REGISTRY, Stepper, entry};
use cld_sgm::schedule::Span;
use cld_sgm::score::complexity::Normal;
use cld_sgm::score::{Counted, Gaussian, MixtureScore, Score};
use cld_sgm::{Cld, Diffusion, Psld, Result, Schedule, Vp};

fn changing() -> Schedule {
    Schedule::linear(1.0, 6.0).unwrap()
}

fn cld() -> Diffusion {
    Diffusion::of(Cld::new(0.25).unwrap(), changing(), 0.04).unwrap()
}

fn psld() -> Diffusion {
    Diffusion::of(Psld::new(0.5, 2.5).unwrap(), changing(), 0.04).unwrap()
}

fn vp() -> Diffusion {
    Diffusion::of(Vp, changing(), 0.0).unwrap()
}

fn views(u: &[Vec<f64>]) -> Vec<&[f64]> {
    u.iter().map(Vec::as_slice).collect()
}

/// The largest difference of a run's mean and covariance from those given, in deviations.
fn off(found: &(Vec<f64>, Vec<f64>), want: &(Vec<f64>, Vec<f64>)) -> f64 {
    let k = found.0.len();
    let scale = |i: usize| want.1[i * k + i].sqrt();
    let means = (0..k).map(|i| (found.0[i] - want.0[i]).abs() / scale(i));
    let covs = (0..k * k).map(|n| (found.1[n] - want.1[n]).abs() / (scale(n / k) * scale(n % k)));
    means
        .chain(covs)
        .fold(0.0, |a, b| if b <= a { a } else { b })
}

/// Catches a coefficient, a time or a rate that is wrong in any sampler, in the few steps in which
/// that shows: the error against the exact Gaussian law over `[0.4, 0.5]` falls by `2^order` from 8
/// steps to 16, and is small. At these steps the next term of the expansion moves the slope by at
/// most 0.2 (the start of the multistep methods most); a mistake makes it one less or 0.
#[test]
fn orders_show_in_a_few_steps() {
    let mut wrong = vec![];
    for d in [cld(), psld(), vp()] {
        let data = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
        let law = |t: f64| {
            let (m, c) = data.law(t).unwrap();
            (m, c)
        };
        let error = |name: &str, n: usize| -> Result<f64> {
            let times = (0..=n).map(|i| 0.5 - 0.1 * i as f64 / n as f64).collect();
            let grid = Grid::new(times)?;
            let stepper = entry(name)?.build(&d, &grid)?;
            let run = run_law(&[(&*stepper, n)], d.channels(), &data)?;
            let (m, c) = law(0.5);
            let (m, c) = run.moments(&m, &c);
            let (wm, wc) = law(0.4);
            Ok(off(
                &(m, c.as_slice().to_vec()),
                &(wm, wc.as_slice().to_vec()),
            ))
        };
        for e in REGISTRY.iter().filter(|e| !e.adaptive) {
            let Ok(coarse) = error(e.name, 8) else {
                continue;
            };
            let fine = error(e.name, 16).unwrap();
            let order = (coarse / fine).log2();
            let line = format!("{} {} {order:.3} {coarse:.1e}", e.name, d.process().name());
            println!("{line}");
            if !((order - e.order.weak).abs() < 0.25 && coarse < 0.3) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A score that makes the force of CLD's reverse process one of x alone: what depends on v is the
/// stationary law's, which the samplers solve exactly.
struct OfPosition {
    mass: f64,
    pull: f64,
}

impl Score for OfPosition {
    fn score(&self, _: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        for ((o, x), v) in out[0].iter_mut().zip(u[0]).zip(u[1]) {
            *o = 0.3 - self.pull * x - v / self.mass;
        }
        Ok(())
    }
}

/// Catches a wrong node, area or weight of QUICSORT and UBU, whose published orders (3 and 2) hold
/// for a force of x alone and show nowhere else: against the exact law of the linear SDE, whose
/// constant force is a third channel that stays 1.
#[test]
fn published_orders_hold_for_forces_of_position() {
    let (mass, pull) = (0.25, 0.4);
    let d = Diffusion::of(
        Cld::new(mass).unwrap(),
        Schedule::constant(1.0).unwrap(),
        0.04,
    )
    .unwrap();
    // du/dtau = -F u + G G^T s
    let (f, g) = (d.drift(), d.noise(1.0)[(1, 1)]);
    let drift = Mat([
        [-f[(0, 0)], -f[(0, 1)], 0.0],
        [-f[(1, 0)] - g * pull, -f[(1, 1)] - g / mass, 0.3 * g],
        [0.0, 0.0, 0.0],
    ]);
    let noise = Mat([[0.0; 3], [0.0, g, 0.0], [0.0; 3]]);
    let exact = Custom::new(drift, noise, 1.0)
        .unwrap()
        .moments(Span::from_zero(0.4).unwrap(), 0.0);
    let start = [0.8, -0.3, 1.0];
    let mean: Vec<f64> = (0..2)
        .map(|i| (0..3).map(|j| exact.mean[(i, j)] * start[j]).sum())
        .collect();
    let cov: Vec<f64> = (0..4).map(|n| exact.cov[(n / 2, n % 2)]).collect();
    let score = OfPosition { mass, pull };
    let error = |name: &str, n: usize| {
        let times = (0..=n).map(|i| 0.9 - 0.4 * i as f64 / n as f64).collect();
        let grid = Grid::new(times).unwrap();
        let stepper = entry(name).unwrap().build(&d, &grid).unwrap();
        let run = run_law(&[(&*stepper, n)], 2, &score).unwrap();
        let none = Square::zero(2);
        let (m, c) = run.moments(&start[..2], &none);
        off(&(m, c.as_slice().to_vec()), &(mean.clone(), cov.clone()))
    };
    for (name, order) in [("quicsort", 3.0), ("ubu", 2.0), ("aoboa", 2.0)] {
        let (a, b) = (error(name, 32), error(name, 64));
        let found = (a / b).log2();
        println!("{name}: {a:e} {b:e} {found}");
        // at 64 steps the next term of the expansion is worth 0.01
        assert!((found - order).abs() < 0.05, "{name}: {a:e} {b:e} {found}");
    }
}

/// Catches a step's matrices of the wrong size or place, and a denoising step with another
/// coefficient: Euler's step and the denoising step by hand, from drift, noise and the inverse
/// covariance. A few roundings.
#[test]
fn a_step_is_its_matrices() {
    for d in [cld(), psld()] {
        let data = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
        let (t, s) = (0.6, 0.55);
        for denoise in [false, true] {
            let (stepper, at, length): (Box<dyn Stepper>, f64, f64) = if denoise {
                (Box::new(Denoise::new(&d, s).unwrap()), s, s)
            } else {
                let grid = Grid::new(vec![t, s]).unwrap();
                (entry("em").unwrap().build(&d, &grid).unwrap(), t, t - s)
            };
            let (mean, cov) = data.law(at).unwrap();
            let det = cov[(0, 0)] * cov[(1, 1)] - cov[(0, 1)] * cov[(1, 0)];
            let p = [
                [cov[(1, 1)] / det, -cov[(0, 1)] / det],
                [-cov[(1, 0)] / det, cov[(0, 0)] / det],
            ];
            let (tau, f, g) = (length * d.rate(at), d.drift(), d.noise(at));
            let law = step_law(&*stepper, 0, 2, &data).unwrap();
            let noised = d.noised();
            let draws = if denoise { 0 } else { noised.len() };
            assert_eq!(law.constant.len(), 2);
            assert_eq!(law.state.dim(), (2, 2));
            assert_eq!(law.noise.dim(), (2, draws));
            assert_eq!((stepper.draws(), stepper.kept()), (draws, 0));
            let near = |got: f64, want: f64| {
                assert!((got - want).abs() < 1e-12, "{denoise}: {got} {want}");
            };
            for i in 0..2 {
                let pm: f64 = (0..2).map(|j| p[i][j] * mean[j]).sum();
                near(law.constant[i], tau * g[(i, i)] * pm);
                for j in 0..2 {
                    let one = if i == j { 1.0 } else { 0.0 };
                    let a = -f[(i, j)] - g[(i, i)] * p[i][j];
                    near(law.state[(i, j)], one + tau * a);
                }
                for (l, &c) in noised.iter().enumerate().take(draws) {
                    let root = if c == i {
                        (tau * g[(i, i)]).sqrt()
                    } else {
                        0.0
                    };
                    near(law.noise[(i, l)], root);
                }
            }
        }
    }
}

/// Catches memory that is kept beyond what a method needs, an evaluation more than is said, and
/// matrices of a step that leave out what is kept: gDDIM keeps `order` scores, the conjugate
/// integrator of order 2 one; gDDIM of order 3 evaluates once more, unless its only step ends at 0.
#[test]
fn what_is_kept_and_evaluated_is_what_is_said() {
    for d in [cld(), psld()] {
        let (m, k) = (d.noised().len(), d.channels());
        let data = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
        let grid = Grid::new(vec![0.9, 0.8, 0.7, 0.6]).unwrap();
        for (name, kept, evaluations) in [
            ("em", 0, 3),
            ("conjugate", 0, 3),
            ("conjugate2", m, 3),
            ("gddim1", m, 3),
            ("gddim2", 2 * m, 3),
            ("gddim3", 3 * m, 4),
        ] {
            let stepper = entry(name).unwrap().build(&d, &grid).unwrap();
            assert_eq!(stepper.kept(), kept, "{name}");
            let law = step_law(&*stepper, 1, k, &data).unwrap();
            assert_eq!(law.state.dim(), (k + kept, k + kept), "{name}");
            let counted = Counted::new(&data as &dyn Score);
            run_law(&[(&*stepper, 3)], k, &counted).unwrap();
            let rows = (1 + k + 3 * stepper.draws()) as u64;
            assert_eq!(counted.values(), evaluations * rows, "{name}");
        }
    }
    let d = cld();
    let to_zero = Grid::new(vec![0.1, 0.0]).unwrap();
    assert!(entry("gddim3").unwrap().build(&d, &to_zero).is_ok());
}

/// Catches a division by the norm of a score that is 0: the corrector of the published rule then
/// takes no step, as at a row's mode.
#[test]
fn a_score_of_zero_moves_nothing() {
    struct None;
    impl Score for None {
        fn score(&self, _: f64, _: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
            out.iter_mut().for_each(|o| o.fill(0.0));
            Ok(())
        }
    }
    let d = vp();
    let grid = Grid::new(vec![0.5, 0.4]).unwrap();
    let pc = PredictorCorrector::norm_scaled(&d, &grid, 0.16, 2).unwrap();
    let em = entry("em").unwrap().build(&d, &grid).unwrap();
    let noise = [[0.3, -0.2, 1.0, 0.1], [0.7, 0.6, -2.0, 0.4]];
    let run = |stepper: &dyn Stepper, noise: &[&[f64]]| {
        let mut x = vec![1.0, -2.0, 0.5, 0.25];
        let mut memory = Memory::new(stepper, 4);
        stepper
            .step(0, &mut [&mut x], noise, &None, &mut memory)
            .unwrap();
        x
    };
    assert_eq!(run(&pc, &[&noise[0], &noise[1]]), run(&*em, &[&noise[0]]));
}

/// The last time: larger than one takes, so that few draws tell.
const EPS: f64 = 0.02;

/// CLD whose velocities start near their stationary law: few draws tell, again.
fn calm() -> Diffusion {
    Diffusion::of(Cld::new(0.25).unwrap(), changing(), 0.5).unwrap()
}

/// The log-density of rows of `dim` under the Gaussian law at `t`, of all channels or of x.
fn exact(data: &Gaussian, t: f64, dim: usize, u: &[&[f64]]) -> Vec<f64> {
    let (m, c) = data.law(t).unwrap();
    let one = |r: usize| -> f64 {
        let at = |e: usize| {
            let x = u[0][e] - m[0];
            if u.len() == 1 {
                return -0.5 * (x * x / c[(0, 0)] + (std::f64::consts::TAU * c[(0, 0)]).ln());
            }
            let v = u[1][e] - m[1];
            let det = c[(0, 0)] * c[(1, 1)] - c[(0, 1)] * c[(0, 1)];
            let square = c[(1, 1)] * x * x - 2.0 * c[(0, 1)] * x * v + c[(0, 0)] * v * v;
            -0.5 * (square / det + det.ln()) - std::f64::consts::TAU.ln()
        };
        (r * dim..(r + 1) * dim).map(at).sum()
    };
    (0..u[0].len() / dim).map(one).collect()
}

fn within(estimates: &[Estimate], exact: &[f64], most: f64) {
    for (e, x) in estimates.iter().zip(exact) {
        println!("{e:?} {x}");
        // four standard errors, fixed seeds
        assert!(
            (e.value - x).abs() < 4.0 * e.error && e.error < most,
            "{e:?} {x}"
        );
    }
    assert_eq!(estimates.len(), exact.len());
}

/// Catches a wrong sign, factor or number of dimensions in the bound through the SDE, as
/// `likelihood::the_evidence_is_exact_for_exact_scores` does in seconds: for the exact score and
/// the exact law at t = 1 it is the density. The drift's part is 32 for CLD, what makes up for it as
/// much, beside an error of 1 at most. Two draws are enough, one is not.
#[test]
fn the_evidence_is_the_density_of_gaussians() {
    for d in [calm(), vp()] {
        let data = Gaussian::new(d.clone(), 0.4, 0.6).unwrap();
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&exact(&data, 1.0, 2, u));
            Ok(())
        };
        let l = Likelihood::new(&d, 2, EPS, 1e-6, Terminal::Law(&law)).unwrap();
        let mut u = vec![vec![0.2, 0.9, -0.7, 0.5], vec![0.3, -0.6, 0.1, 0.7]];
        u.truncate(d.channels());
        let found = l.evidence(&data, &views(&u), 60, 60, 3).unwrap();
        within(&found, &exact(&data, EPS, 2, &views(&u)), 1.0);
        assert!(l.evidence(&data, &views(&u), 1, 2, 3).is_ok());
        assert!(l.evidence(&data, &views(&u), 1, 1, 3).is_err());
    }
}

/// Catches velocities that are not drawn from their law, or whose log-density is added for taken
/// off: the weighted bound is the density of x, the plain one and that through the SDE lie below it
/// by `KL(q, p(v | x))`, of two normals here.
#[test]
fn velocity_bounds_of_gaussians() {
    let d = calm();
    let data = Gaussian::new(d.clone(), 0.4, 0.6).unwrap();
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&exact(&data, 1.0, 2, u));
        Ok(())
    };
    let l = Likelihood::new(&d, 2, EPS, 1e-4, Terminal::Law(&law)).unwrap();
    let x = [0.2, 0.9];
    let density = exact(&data, EPS, 2, &[&x]);
    let (m, c) = data.law(EPS).unwrap();
    let (slope, variance) = (c[(0, 1)] / c[(0, 0)], 0.5 * 0.25);
    let rest = c[(1, 1)] - slope * c[(0, 1)];
    let gap = |x: f64| {
        let mean = m[1] + slope * (x - m[0]);
        0.5 * ((variance + mean * mean) / rest - 1.0 - (variance / rest).ln())
    };
    let below = [density[0] - x.iter().map(|x| gap(*x)).sum::<f64>()];
    println!("{density:?} {below:?}");
    let found = l.velocity_bound(&Trace::Exact(&data), &x, 80, 3).unwrap();
    within(&[found[0].weighted], &density, 0.3);
    within(&[found[0].plain], &below, 0.3);
    within(
        &l.evidence_bound(&data, &x, 60, 80, 3).unwrap(),
        &below,
        1.0,
    );
}

/// Catches a batch's loss, its gradient or the times' scale by a wrong factor, and a time that is
/// not kept: two rows of two values by hand, in eps form with weight 1.
#[test]
fn a_batch_of_two_by_hand() {
    let loss = Loss::new(&vp(), Objective::DSM, Form::Eps, Weighting::Eps).unwrap();
    let plan = loss.plan(&[0.3, 0.8]).unwrap();
    assert_eq!((plan.rows()[0].t(), plan.rows()[1].t()), (0.3, 0.8));
    let noise = [0.25, -0.5, 1.0, 2.0];
    let output = [0.75, 0.5, 3.0, 2.0]; // off by 1/2, 1, 2, 0
    let (mut each, mut gradient) = ([0.0; 2], [0.0; 4]);
    let value = plan
        .value(
            &[0.5, 3.0],
            &[&noise],
            &[&output],
            &mut each,
            &mut [&mut gradient],
        )
        .unwrap();
    assert_eq!((value, each), (6.3125, [0.625, 12.0]));
    assert_eq!(gradient, [0.25, 0.5, 6.0, 0.0]);

    let (mut times, mut scale) = ([0.0; 2], [0.0; 2]);
    let uniform = Times::uniform(0.5).unwrap();
    uniform.fill(&[0.0, 0.5], &mut times, &mut scale).unwrap();
    assert_eq!((times, scale), ([0.5, 0.75], [0.5, 0.5]));
}

/// Catches slices of a wrong number or length that go through, and a refusal that does not name
/// them.
#[test]
fn losses_refuse_other_shapes() {
    let loss = Loss::new(&cld(), Objective::DSM, Form::Score, Weighting::Eps).unwrap();
    let (at, plan) = (loss.at(0.4).unwrap(), loss.plan(&[0.4, 0.6]).unwrap());
    let (four, three) = ([0.5; 4], [0.5; 3]);
    let out = || ([0.0; 4], [0.0; 4]);
    let named = |found: Result<()>, name: &str| {
        let e = found.unwrap_err().to_string();
        assert!(e.contains(name), "{name}: {e}");
    };
    for (u0, noise, name) in [
        (vec![&four[..], &four, &four], vec![&four[..], &four], "u0"),
        (vec![&four[..], &three], vec![&four[..], &four], "u0"),
        (vec![&four[..]], vec![&four[..]], "noise"),
        (vec![&four[..]], vec![&four[..], &three], "noise"),
    ] {
        let (mut a, mut b) = out();
        named(at.perturb(&u0, &noise, &mut [&mut a, &mut b]), name);
        named(plan.perturb(&u0, &noise, &mut [&mut a, &mut b]), name);
    }
    let (mut a, mut b) = out();
    let both = [&four[..], &four];
    named(at.perturb(&[&four], &both, &mut [&mut a]), "out");
    named(
        at.perturb(&[&four], &both, &mut [&mut a, &mut b[..3]]),
        "out",
    );
    named(
        plan.perturb(&[&four], &both, &mut [&mut a, &mut b[..3]]),
        "out",
    );
    named(at.target(&both, &mut [&mut a, &mut b]), "out");
    named(at.target(&[&four], &mut [&mut a]), "noise");
    let whole = |output: &[&[f64]], gradient: &mut [&mut [f64]], name: &str| {
        named(at.value(&both, output, gradient).map(drop), name);
        let mut each = [0.0; 2];
        let batch = plan.value(&[1.0; 2], &both, output, &mut each, gradient);
        named(batch.map(drop), name);
    };
    whole(&[&four, &four], &mut [], "output");
    whole(&[&three], &mut [], "output");
    whole(&[&four], &mut [&mut a[..3]], "gradient");
    whole(&[&four], &mut [&mut a, &mut b], "gradient");
    // rows of a batch: all of one size, and not empty
    for n in [0, 3] {
        let u = [&four[..n], &four[..n]];
        named(
            plan.perturb(&u[..1], &u, &mut [&mut a[..n], &mut b[..n]]),
            "u0",
        );
        let mut each = [0.0; 2];
        let found = plan.value(&[1.0; 2], &u, &[&four[..n]], &mut each, &mut []);
        named(found.map(drop), "noise");
    }
    let mut each = [0.0; 2];
    let found = plan.value(&[1.0], &both, &[&four], &mut each, &mut []);
    named(found.map(drop), "scale");
    let found = plan.value(&[1.0; 2], &both, &[&four], &mut each[..1], &mut []);
    named(found.map(drop), "per_sample");
}

/// Catches rows beyond a register's or a block's width whose log-density is another row's: one
/// component, written out, 131 rows.
#[test]
fn every_row_has_its_own_log_density() {
    for d in [vp(), cld()] {
        let k = d.channels();
        let mixture = Mixture::new(vec![Component::round(1.0, vec![0.4, 0.4], 0.6)]).unwrap();
        let score = MixtureScore::new(d.clone(), mixture);
        let data = Gaussian::new(d, 0.4, 0.6).unwrap();
        let rows = 131;
        let u: Vec<Vec<f64>> = (0..k)
            .map(|c| {
                (0..2 * rows)
                    .map(|i| ((i * (7 + c)) as f64).sin())
                    .collect()
            })
            .collect();
        let mut found = vec![0.0; rows];
        score.log_density(0.3, &views(&u), &mut found).unwrap();
        for (r, (f, e)) in found
            .iter()
            .zip(exact(&data, 0.3, 2, &views(&u)))
            .enumerate()
        {
            // the determinant of CLD's covariance cancels, by a factor below 100
            assert!((f - e).abs() < 1e-12 * (1.0 + e.abs()), "{r}: {f} {e}");
        }
    }
}

/// Catches a standard error over n for n - 1: with two samples the mean of its square over 2000
/// seeds is the variance of the estimates (to a tenth each, by their fourth moments), and not half
/// of it.
#[test]
fn complexity_has_the_error_it_states() {
    let mixture = Mixture::new(vec![Component::round(1.0, vec![0.4], 0.6)]).unwrap();
    let score = MixtureScore::new(vp(), mixture);
    let found: Vec<(f64, f64)> = (0..2000)
        .map(|seed| {
            let c = score.complexity(Normal::Prior, 0.1, seed, 2).unwrap();
            (c.difference, c.difference_error)
        })
        .collect();
    let all = Estimate::of(&found.iter().map(|f| f.0).collect::<Vec<_>>());
    let spread = all.error * all.error * 2000.0;
    let stated = found.iter().map(|f| f.1 * f.1).sum::<f64>() / 2000.0;
    println!("{stated} {spread}");
    assert!(
        (0.72..1.39).contains(&(stated / spread)),
        "{stated} {spread}"
    );
}
