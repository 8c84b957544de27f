//! Orders of convergence of every sampler, from the exact laws of what runs: no noise, so that the
//! order is read off to two digits.

use cld_sgm::data::{Component, Mixture};
use cld_sgm::internal::simd::normal::normals;
use cld_sgm::process::{LinearSde, Psld, erase};
use cld_sgm::sampler::flow::dp5;
use cld_sgm::sampler::law::{RunLaw, run_law};
use cld_sgm::sampler::{Grid, Memory, REGISTRY, SamplerEntry, Stepper, entry};
use cld_sgm::score::mixture::MixtureScore;
use cld_sgm::score::{Counted, Gaussian};
use cld_sgm::{Cld, CldDamped, Diffusion, Schedule, SubVp, Ve, Vp};

/// The end of the runs.
const END: f64 = 0.05;

fn grid(steps: usize) -> Grid {
    Grid::new(
        (0..=steps)
            .map(|i| 1.0 - (1.0 - END) * i as f64 / steps as f64)
            .collect(),
    )
    .unwrap()
}

fn data(d: &Diffusion) -> Gaussian {
    Gaussian::new(d.clone(), 0.7, 0.5).unwrap()
}

/// A rate that changes sixfold.
fn changing() -> Schedule {
    Schedule::linear(1.0, 6.0).unwrap()
}

fn constant() -> Schedule {
    Schedule::constant(3.5).unwrap()
}

fn cases(schedule: Schedule) -> Vec<Diffusion> {
    fn of<const K: usize>(
        p: impl LinearSde<K> + Clone + Send + Sync + 'static,
        schedule: Schedule,
        gamma: f64,
    ) -> Diffusion {
        Diffusion::of(p, schedule, gamma).unwrap()
    }
    vec![
        of(Cld::new(0.25).unwrap(), schedule, 0.04),
        of(CldDamped::new(0.25, 1.4).unwrap(), schedule, 0.04),
        of(Psld::new(0.5, 2.5).unwrap(), schedule, 0.04),
        of(Vp, schedule, 0.0),
    ]
}

fn law(stepper: &dyn Stepper, d: &Diffusion, steps: usize) -> RunLaw {
    run_law(&[(stepper, steps)], d.channels(), &data(d)).unwrap()
}

/// Distance of the run's law at the end from the true one, started from the true one at t = 1: all
/// entries of mean and covariance, in units of the true deviations.
fn error(stepper: &dyn Stepper, d: &Diffusion, steps: usize) -> f64 {
    let (m1, c1) = data(d).law(1.0).unwrap();
    let (m, c) = law(stepper, d, steps).moments(&m1, &c1);
    let (m0, c0) = data(d).law(END).unwrap();
    let k = m.len();
    let scale = |i: usize| c0[(i, i)].sqrt();
    let mean: f64 = (0..k).map(|i| ((m[i] - m0[i]) / scale(i)).powi(2)).sum();
    let cov: f64 = (0..k * k)
        .map(|n| ((c[(n / k, n % k)] - c0[(n / k, n % k)]) / (scale(n / k) * scale(n % k))).powi(2))
        .sum();
    (mean + cov).sqrt()
}

/// Slope of the error at the finest steps whose error is far above rounding.
fn order(entry: &SamplerEntry, d: &Diffusion) -> (f64, Vec<f64>) {
    let mut errors = vec![];
    for n in [64, 128, 256, 512, 1024] {
        let e = error(&*entry.build(d, &grid(n)).unwrap(), d, n);
        if e < 1e-10 && errors.len() >= 2 {
            break;
        }
        errors.push(e);
    }
    let n = errors.len();
    ((errors[n - 2] / errors[n - 1]).log2(), errors)
}

/// Catches a score or a rate taken at the wrong time of a step or stage, a wrong coefficient, an
/// order that is stated too high or too low: every sampler of the registry, for every process that
/// it accepts, with a rate that changes and with a constant one. The tolerance is the next term of
/// the expansion at 1024 steps.
#[test]
fn orders_are_those_stated() {
    let mut wrong = vec![];
    for (name, schedule) in [("changing", changing()), ("constant", constant())] {
        for d in cases(schedule) {
            for entry in REGISTRY.iter().filter(|e| !e.adaptive) {
                if entry.build(&d, &grid(2)).is_err() {
                    continue;
                }
                let (order, errors) = order(entry, &d);
                let line = format!(
                    "{:22} {:12} {name:8} {order:6.3}",
                    entry.name,
                    d.process().name()
                ) + &errors
                    .iter()
                    .map(|e| format!(" {e:.1e}"))
                    .collect::<String>();
                println!("{line}");
                if !((order - entry.order.weak).abs() < 0.1) {
                    wrong.push(format!("{line} stated {}", entry.order.weak));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Catches a stated number of evaluations that is not what runs (an extra one at a run's start is
/// allowed), and a step that reads memory of another run.
#[test]
fn evaluations_are_those_stated() {
    for d in cases(changing()) {
        for entry in REGISTRY.iter().filter(|e| !e.adaptive) {
            let Ok(stepper) = entry.build(&d, &grid(8)) else {
                continue;
            };
            let score = Counted::new(data(&d));
            run_law(&[(&*stepper, 8)], d.channels(), &score).unwrap();
            let rows = (1 + d.channels() + 8 * stepper.draws()) as u64;
            let extra = score.values() - 8 * rows * entry.evaluations as u64;
            assert!(
                extra == 0 || extra == rows,
                "{}: {extra} values too many for {rows} rows",
                entry.name
            );
        }
    }
}

/// Catches a sampler that is let near a process for which it is not defined, or refused without a
/// word why.
#[test]
fn unfit_processes_are_refused() {
    let of = |p: Box<dyn cld_sgm::process::AnyProcess>| Diffusion::new(p, changing(), 0.0).unwrap();
    let (ve, sub_vp, vp) = (
        of(erase(Ve).unwrap()),
        of(erase(SubVp).unwrap()),
        of(erase(Vp).unwrap()),
    );
    for name in [
        "sscs",
        "sscs-centred",
        "sscs2",
        "sscs2-midpoint",
        "oba",
        "aoboa",
        "leapfrog",
    ] {
        for d in [&ve, &sub_vp] {
            let e = entry(name)
                .unwrap()
                .build(d, &grid(2))
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(e.contains("stationary"), "{name}: {e}");
        }
    }
    for name in ["oba", "aoboa", "leapfrog", "ubu", "ubu2", "quicsort"] {
        let e = entry(name)
            .unwrap()
            .build(&vp, &grid(2))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(e.contains(name) && e.contains("velocity"), "{name}: {e}");
    }
}

/// Catches an adaptive sampler whose error does not follow its tolerance: within 100 tolerances of
/// the truth, over 10 intervals.
#[test]
fn adaptive_steps_reach_their_tolerance() {
    for d in cases(changing()) {
        for tolerance in [1e-5, 1e-7, 1e-9] {
            let e = error(&*dp5(&d, &grid(10), tolerance).unwrap(), &d, 10);
            println!("{} {tolerance:e}: {e:e}", d.process().name());
            assert!(
                e < 100.0 * tolerance,
                "{} {tolerance:e}: {e:e}",
                d.process().name()
            );
        }
    }
    assert!(
        REGISTRY
            .iter()
            .filter(|e| e.adaptive)
            .all(|e| e.order.weak >= 1.0)
    );
}

/// Root mean square distance of runs with n and 2n steps on the same Brownian path: a coarse draw
/// is the sum of two fine ones over the root of 2. Exact, from the two runs' laws.
fn strong_distance(e: &SamplerEntry, d: &Diffusion, n: usize) -> f64 {
    let (m, cov) = data(d).law(1.0).unwrap();
    let (coarse, fine) = (
        law(&*e.build(d, &grid(n)).unwrap(), d, n),
        law(&*e.build(d, &grid(2 * n)).unwrap(), d, 2 * n),
    );
    let (k, draws) = (m.len(), e.build(d, &grid(n)).unwrap().draws());
    let mut sum = 0.0;
    for i in 0..k {
        let a: Vec<f64> = (0..k)
            .map(|j| coarse.state[(i, j)] - fine.state[(i, j)])
            .collect();
        let mean = coarse.constant[i] - fine.constant[i] + (0..k).map(|j| a[j] * m[j]).sum::<f64>();
        sum += mean * mean
            + (0..k * k)
                .map(|n| a[n / k] * cov[(n / k, n % k)] * a[n % k])
                .sum::<f64>();
        for (l, f) in fine.noise[i].iter().enumerate() {
            let (step, draw) = (l / draws / 2, l % draws);
            sum += (coarse.noise[i][step * draws + draw] / 2f64.sqrt() - f).powi(2);
        }
    }
    sum.sqrt()
}

/// Catches noise that is not the increment of one Brownian path, and a strong order that is stated
/// wrong.
#[test]
fn strong_orders_are_those_stated() {
    let e = entry("em").unwrap();
    for d in cases(changing()) {
        let order = (strong_distance(e, &d, 256) / strong_distance(e, &d, 512)).log2();
        println!("{} {order}", d.process().name());
        assert!(
            (order - e.order.strong.unwrap()).abs() < 0.1,
            "{}: {order}",
            d.process().name()
        );
    }
}

/// Mean and standard error of `g(n steps) - g(2n steps)` of a splitting sampler of CLD whose draws
/// are those of the analytic part over the halves of a step, on a mixture: the coarse draws are
/// made of the fine ones, over the same interval of the same linear SDE.
fn coupled(
    e: &SamplerEntry,
    d: &Diffusion,
    score: &MixtureScore,
    n: usize,
    blocks: u64,
    g: fn(f64, f64) -> f64,
) -> (f64, f64) {
    const BLOCK: usize = 4000;
    let lower = |c: &[f64]| {
        [
            c[0].sqrt(),
            c[2] / c[0].sqrt(),
            (c[3] - c[2] * c[2] / c[0]).sqrt(),
        ]
    };
    let (on_coarse, on_fine) = (grid(n), grid(2 * n));
    let (coarse, fine) = (
        e.build(d, &on_coarse).unwrap(),
        e.build(d, &on_fine).unwrap(),
    );
    let maps: Vec<_> = on_fine
        .intervals()
        .map(|(t, s)| {
            let middle = 0.5 * (t + s);
            let (early, late) = (
                d.reversed(middle, t).unwrap(),
                d.reversed(s, middle).unwrap(),
            );
            (
                lower(early.cov.as_slice()),
                late.mean,
                lower(late.cov.as_slice()),
                lower(d.reversed(s, t).unwrap().cov.as_slice()),
            )
        })
        .collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    for block in 0..blocks {
        let mut pair = 0;
        let mut draw = || {
            let (mut a, mut b) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
            normals([7, 11 + block], 0, pair, [&mut a, &mut b]);
            pair += 1;
            [a, b]
        };
        let [x, mut v] = draw();
        v.iter_mut().for_each(|v| *v *= 0.5);
        let (mut uc, mut uf) = ([x.clone(), v.clone()], [x, v]);
        let (mut mc, mut mf) = (Memory::new(&*coarse, BLOCK), Memory::new(&*fine, BLOCK));
        for i in 0..n {
            let mut draws = vec![];
            for j in [2 * i, 2 * i + 1] {
                let ([p, q], [r, s]) = (draw(), draw());
                let [x, v] = &mut uf;
                fine.step(j, &mut [x, v], &[&p, &q, &r, &s], score, &mut mf)
                    .unwrap();
                let (a, phi, b, whole) = &maps[j];
                let (mut first, mut second) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
                for n in 0..BLOCK {
                    let (x, v) = (a[0] * p[n], a[1] * p[n] + a[2] * q[n]);
                    let (x, v) = (
                        phi[(0, 0)] * x + phi[(0, 1)] * v + b[0] * r[n],
                        phi[(1, 0)] * x + phi[(1, 1)] * v + b[1] * r[n] + b[2] * s[n],
                    );
                    first[n] = x / whole[0];
                    second[n] = (v - whole[1] * first[n]) / whole[2];
                }
                draws.push(first);
                draws.push(second);
            }
            let [x, v] = &mut uc;
            coarse
                .step(
                    i,
                    &mut [x, v],
                    &[&draws[0], &draws[1], &draws[2], &draws[3]],
                    score,
                    &mut mc,
                )
                .unwrap();
        }
        for n in 0..BLOCK {
            let z = g(uc[0][n], uc[1][n]) - g(uf[0][n], uf[1][n]);
            sum += z;
            squares += z * z;
        }
    }
    let total = blocks as f64 * BLOCK as f64;
    (
        sum / total,
        ((squares / total - (sum / total).powi(2)) / total).sqrt(),
    )
}

/// Catches an order that holds for affine scores only: SSCS as published and two of order 2 on a
/// mixture of two normals, by coupled runs. The tolerance: 0.25 for 32 to 128 steps being few
/// (400000 samples and 256 steps give 1.88 and 1.89), and three standard errors.
#[test]
fn orders_hold_for_a_mixture() {
    let d = Diffusion::of(Cld::new(0.25).unwrap(), changing(), 0.04).unwrap();
    let mixture = Mixture::new(vec![
        Component::round(0.3, vec![-1.0], 0.3),
        Component::round(0.7, vec![0.8], 0.4),
    ])
    .unwrap();
    let score = MixtureScore::new(d.clone(), mixture);
    type Observable = fn(f64, f64) -> f64;
    // those whose differences stand out most from the noise
    let (xx, xv, vv): (Observable, Observable, Observable) =
        (|x, _| x * x, |x, v| x * v, |_, v| v * v);
    for (name, g, theory) in [
        ("sscs", xv, 1.0),
        ("sscs2-exponential", xx, 2.0),
        ("sscs2-midpoint", vv, 2.0),
    ] {
        let e = entry(name).unwrap();
        let ((a, ea), (b, eb)) = (
            coupled(e, &d, &score, 32, 25, g),
            coupled(e, &d, &score, 64, 25, g),
        );
        let (order, error) = ((a / b).log2(), (ea / a).hypot(eb / b) / 2f64.ln());
        println!("{name}: {order:.3} +- {error:.3} ({a:e} {b:e})");
        assert!(
            (order - theory).abs() < 0.25 + 3.0 * error && error < 0.1,
            "{name}: {order} +- {error}"
        );
    }
}
