//! Paths: orders of the schemes, the law of what runs, independence of threads, and normals as good
//! as the reference.

use cld_sgm::internal::audit::cases::cases;
use cld_sgm::internal::audit::orders;
use cld_sgm::internal::simd::normal::normals;
use cld_sgm::internal::simulate::multilevel::{Task, multilevel};
use cld_sgm::internal::simulate::streams::Stream;
use cld_sgm::internal::simulate::{Forward, Plan, Scheme, Sde, scheme_law, simulate_any};
use cld_sgm::internal::worst::{Worst, worse};
use cld_sgm::{Cld, CldPosition, Mat, Schedule, SubVp};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use statrs::distribution::{ContinuousCDF, Normal};

/// Weak and strong orders on linear SDEs, noise-free, for every process under a rate that depends
/// on time: a wrong node (a stage evaluated at the wrong time) shows there, a wrong weight
/// anywhere. Seen to fail with 0.5 for 0.75 in SRA1's stage, with l0 for l1 in its noise, with a
/// full kick for the half one.
#[test]
fn orders_are_those_of_theory() {
    let mut measured = 0;
    for case in cases().unwrap() {
        let Some(part) = orders::orders(&case).unwrap() else {
            continue;
        };
        for e in part
            .checks(0)
            .unwrap()
            .iter()
            .map(|c| c.evidence(1, None).unwrap())
        {
            assert!(e.holds(), "{}: {}", e.claim.id, e.claim.statement);
            measured += 1;
        }
    }
    assert!(measured > 150, "{measured}");
}

/// `du = (-1.5 sin(2 u) + t) dt + (1 + t/2) dW`: nonlinear drift, noise that depends on time.
struct Pendulum;

impl Sde<1> for Pendulum {
    fn drift(&self, t: f64, [u]: [f64; 1]) -> [f64; 1] {
        [-1.5 * (2.0 * u).sin() + t]
    }
    fn noise(&self, t: f64) -> Mat<1> {
        Mat([[1.0 + 0.5 * t]])
    }
}

/// SRA1's strong order is 1.5 where the drift is not linear (2 where it is), Euler-Maruyama's 1:
/// differences of coupled paths with n and 2n steps. Catches a scheme that has its order on linear
/// problems alone, and a wrong coupling.
///
/// The slope's standard error: each mean square distance is an average over 20000 paths of a
/// squared quantity with kurtosis below 15, so its logarithm has a standard error below
/// sqrt(14/20000)/ln 2 = 0.04 and the order, half the slope over two octaves, below 0.5 * 0.04 *
/// sqrt 2 / 2 = 0.014; the bias of the next term is O(h). The bound is 5 of these plus 0.05.
#[test]
fn strong_orders_with_a_nonlinear_drift() {
    for (scheme, theory) in [(Scheme::EulerMaruyama, 1.0), (Scheme::Sra1, 1.5)] {
        let distance = |n: usize| {
            let mut rng = rand::rngs::StdRng::seed_from_u64(5);
            let h = 1.0 / (2 * n) as f64;
            let paths = 20_000;
            let sum: f64 = (0..paths)
                .map(|_| {
                    let (mut coarse, mut fine) = ([0.5], [0.5]);
                    for i in 0..n {
                        let mut draw =
                            || [[rng.sample(StandardNormal)], [rng.sample(StandardNormal)]];
                        let (a, b) = (draw(), draw());
                        let t = |k: usize| (2 * i + k) as f64 * h;
                        fine = scheme.step(&Pendulum, t(0), t(1), fine, a);
                        fine = scheme.step(&Pendulum, t(1), t(2), fine, b);
                        coarse = scheme.step(&Pendulum, t(0), t(2), coarse, scheme.combine(a, b));
                    }
                    let d: f64 = coarse[0] - fine[0];
                    d * d
                })
                .sum();
            (sum / paths as f64).sqrt()
        };
        let order = 0.5 * (distance(32) / distance(128)).log2();
        assert!(
            (order - theory).abs() < 0.12,
            "{}: order {order:.3}, theory {theory}",
            scheme.name()
        );
    }
}

/// The simulated paths are those of the scheme: each path of a plan is the scheme's own step with
/// the plan's draws. Catches a loop whose matrices, draws or records are not the step's.
#[test]
fn plans_run_the_schemes_own_steps() {
    let p = CldPosition::new(2.0, 0.5, 1.4).unwrap();
    let sde = Forward::new(&p, Schedule::linear(0.1, 7.0).unwrap());
    let grid = [0.0, 0.01, 0.05, 0.2, 0.3];
    for scheme in Scheme::ALL {
        let stream = Stream::named(3, scheme.name());
        let plan = Plan::new(
            scheme,
            &sde,
            &grid,
            &[1, 4],
            ([1.0, -0.5], [0.0, 0.3]),
            stream,
        )
        .unwrap();
        let (first, n) = (100, 13);
        let mut u = [vec![0.0; n], vec![0.0; n]];
        let mut records = vec![];
        plan.run(first, &mut u, |r, u| records.push((r, u.clone())));
        assert_eq!(records.len(), 2);
        for i in 0..n {
            let draw = |d: usize| {
                cld_sgm::internal::simd::normal::normal_pair(
                    stream.bits(first + i as u64, d as u64 / 2),
                )[d % 2]
            };
            let mut y = [1.0, -0.5 + 0.3 * draw(1)];
            let mut next = 2;
            for w in grid.windows(2) {
                let mut noise = [[0.0; 2]; 2];
                for part in noise.iter_mut().take(scheme.draws()) {
                    for x in part.iter_mut() {
                        *x = draw(next);
                        next += 1;
                    }
                }
                y = scheme.step(&sde, w[0], w[1], y, noise);
                if w[1] == 0.01 || w[1] == 0.3 {
                    let (_, at) = &records[usize::from(w[1] == 0.3)];
                    for c in 0..2 {
                        // a step has some 20 roundings of numbers below 2
                        assert!(
                            (at[c][i] - y[c]).abs() < 1e-13,
                            "{} path {i}: {} {}",
                            scheme.name(),
                            at[c][i],
                            y[c]
                        );
                    }
                }
            }
        }
    }
}

/// Same seed, same bits, for 1, 2 and 3 threads, and for numbers of paths that are no multiple of a
/// block.
#[test]
fn threads_do_not_change_a_bit() {
    let p = Cld::new(0.25).unwrap();
    let sde = Forward::new(&p, Schedule::constant(4.0).unwrap());
    let plan = Plan::new(
        Scheme::EulerMaruyama,
        &sde,
        &[0.0, 0.1, 0.2],
        &[2],
        ([0.0, 0.0], [1.0, 0.5]),
        Stream::new(1, 2),
    )
    .unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| plan.simulate(100_003))
    };
    let one = on(1);
    assert_eq!(one[0].n, 100_003);
    assert_eq!(on(2), one);
    assert_eq!(on(3), one);
    // the first paths are the same paths however many there are
    assert_eq!(plan.moments(0, 1000), plan.moments(0, 1000));
}

/// Catches a law that forgets the noise's growth with time: sub-VP's noise depends on the clock
/// beyond the rate, and its Euler law must converge to the closed form at order 1: the error halves
/// with the step.
#[test]
fn sub_vp_noise_follows_the_clock() {
    let schedule = Schedule::linear(0.1, 5.0).unwrap();
    let sde = Forward::new(&SubVp, schedule);
    let exact = cld_sgm::Kernel::new(&SubVp, &schedule, cld_sgm::Objective::DSM, 1.0).unwrap();
    let error = |n: usize| {
        let grid: Vec<f64> = (0..=n).map(|i| i as f64 / n as f64).collect();
        scheme_law(Scheme::EulerMaruyama, &sde, &grid)[n].cov[(0, 0)] - exact.cov()[(0, 0)]
    };
    let ratio = error(512) / error(1024);
    assert!((ratio - 2.0).abs() < 0.02, "{ratio}"); // next order: 1/512 relative times a constant of a few
}

/// Refusals: a scheme that is not defined, a grid or records that make no sense.
#[test]
fn plans_refuse_by_name() {
    let sde = Forward::new(&SubVp, Schedule::constant(1.0).unwrap());
    let start = ([0.0], [0.0]);
    let plan = |scheme, grid: &[f64], records: &[usize]| {
        Plan::new(scheme, &sde, grid, records, start, Stream::new(0, 0))
            .unwrap_err()
            .to_string()
    };
    assert!(plan(Scheme::Splitting, &[0.0, 1.0], &[1]).contains("splitting"));
    for grid in [
        &[0.0][..],
        &[0.0, 0.0],
        &[0.0, f64::NAN],
        &[0.5, 0.2],
        &[-0.1, 0.2],
        &[0.0, 1.1],
    ] {
        assert!(
            plan(Scheme::EulerMaruyama, grid, &[1]).contains("grid"),
            "{grid:?}"
        );
    }
    for records in [&[][..], &[0], &[2, 1], &[3]] {
        assert!(
            plan(Scheme::EulerMaruyama, &[0.0, 0.5, 1.0], records).contains("records"),
            "{records:?}"
        );
    }
}

/// Normals of many paths and pairs, in one list.
fn sample(n: usize, key: [u64; 2]) -> Vec<f64> {
    let (mut a, mut b) = (vec![0.0; n / 8], vec![0.0; n / 8]);
    let mut all = Vec::with_capacity(n);
    for pair in 0..4 {
        normals(key, 77, pair, [&mut a, &mut b]);
        all.extend_from_slice(&a);
        all.extend_from_slice(&b);
    }
    all
}

/// Moments to order 8, each within 5 standard errors (false alarm 6e-7 each, 8 of them: 5e-6; the
/// seed is fixed). Catches a wrong scale, a missing tail, a bias. The reference generator passes
/// the same test.
#[test]
fn moments_to_order_eight() {
    let n = 1 << 21;
    let mut reference = rand::rngs::StdRng::seed_from_u64(1);
    let drawn: Vec<f64> = (0..n).map(|_| reference.sample(StandardNormal)).collect();
    for (name, x) in [("ours", sample(n, [1, 2])), ("rand_distr", drawn)] {
        for order in 1..=8u32 {
            let factorial2 = |k: u32| (1..=k).rev().step_by(2).map(f64::from).product::<f64>();
            let moment = |k: u32| {
                if k % 2 == 1 {
                    0.0
                } else {
                    factorial2(k.saturating_sub(1))
                }
            };
            let mean = x.iter().map(|v| v.powi(order as i32)).sum::<f64>() / n as f64;
            let error = ((moment(2 * order) - moment(order).powi(2)) / n as f64).sqrt();
            assert!(
                (mean - moment(order)).abs() < 5.0 * error,
                "{name} order {order}: {mean} {}",
                moment(order)
            );
        }
    }
}

/// Kolmogorov-Smirnov and Anderson-Darling on 2^20 values. 5% points are 1.358 and 2.492; the
/// bounds here have false-alarm rates of 1e-6 (Kolmogorov: 2 exp(-2 x^2)) and about 1e-6
/// (Anderson-Darling's upper tail falls by e per unit).
#[test]
fn distribution_is_normal() {
    let n = 1 << 20;
    let mut x = sample(n, [9, 9]);
    x.sort_by(f64::total_cmp);
    let normal = Normal::standard();
    let d = x
        .iter()
        .enumerate()
        .map(|(i, v)| {
            let c = normal.cdf(*v);
            worse(
                (c - i as f64 / n as f64).abs(),
                ((i + 1) as f64 / n as f64 - c).abs(),
            )
        })
        .collect::<Worst>()
        .value();
    assert!(
        d * (n as f64).sqrt() < 2.7,
        "Kolmogorov {}",
        d * (n as f64).sqrt()
    );
    let a2 = -(n as f64)
        - x.iter()
            .enumerate()
            .map(|(i, v)| {
                (2 * i + 1) as f64 / n as f64 * (normal.cdf(*v).ln() + normal.sf(x[n - 1 - i]).ln())
            })
            .sum::<f64>();
    assert!(a2 < 13.0, "Anderson-Darling {a2}");
}

/// Tails: numbers beyond 2, 3, 4 and 5 sigma on each side are binomial; none beyond 8.6 (2^-53 is
/// the smallest uniform), and among 2^25 values some beyond 5. Bound: 5 standard errors, plus 3 for
/// the rarest.
#[test]
fn tails_are_there() {
    let normal = Normal::standard();
    let n = 1 << 25;
    let mut counts = [[0u32; 4]; 2];
    let (mut a, mut b) = (vec![0.0; 1 << 16], vec![0.0; 1 << 16]);
    for pair in 0..(n >> 17) {
        normals([4, 5], 0, pair as u64, [&mut a, &mut b]);
        for x in a.iter().chain(&b) {
            assert!(x.abs() < 8.6);
            for (k, level) in [2.0, 3.0, 4.0, 5.0].into_iter().enumerate() {
                counts[usize::from(*x > 0.0)][k] += u32::from(x.abs() > level);
            }
        }
    }
    for side in counts {
        for (count, level) in side.into_iter().zip([2.0, 3.0, 4.0, 5.0]) {
            let expected = n as f64 * normal.sf(level);
            assert!(
                (f64::from(count) - expected).abs() < 5.0 * expected.sqrt() + 3.0,
                "beyond {level}: {count}, expected {expected}"
            );
        }
    }
}

/// The transform itself reaches beyond 6 sigma: the words of bits that give the largest values, put
/// in by hand. Catches a uniform that stops short (a 32-bit one would end at 6.66, a float one at
/// 5.7).
#[test]
fn six_sigma_is_reached() {
    let far = cld_sgm::internal::simd::normal::normal_pair([0, 1 << 63]);
    assert!(far[0] > 8.5 && far[0] < 8.6, "{far:?}");
    // of 2^33 draws nobody waits for: the law of the radius beyond 6, exact by construction: P(R >
    // r) = exp(-r^2/2)
    let bits = ((-18f64).exp() * 2f64.powi(52)) as u64;
    let [x, y] = cld_sgm::internal::simd::normal::normal_pair([bits << 12, 0]);
    assert!((x.hypot(y) - 6.0).abs() < 1e-7, "{}", x.hypot(y));
}

/// Correlations: between a pair's two normals, successive pairs, neighbouring paths, streams and
/// seeds, of values and of their squares. Each is within 5/sqrt(n). Catches words of bits used
/// twice.
#[test]
fn no_correlations() {
    let n = 1 << 18;
    let draw = |key: [u64; 2], first: u64, pair: u64| {
        let (mut a, mut b) = (vec![0.0; n], vec![0.0; n]);
        normals(key, first, pair, [&mut a, &mut b]);
        [a, b]
    };
    let [a, b] = draw([1, 1], 0, 0);
    let others = [
        ("pair", b),
        ("next pair", draw([1, 1], 0, 1)[0].clone()),
        ("next path", draw([1, 1], 1, 0)[0].clone()),
        ("next stream", draw([1, 2], 0, 0)[0].clone()),
        ("next seed", draw([2, 1], 0, 0)[0].clone()),
        ("far path", draw([1, 1], 1 << 40, 0)[1].clone()),
    ];
    for (name, other) in &others {
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            a.iter().zip(other).map(|(x, y)| f(*x, *y)).sum::<f64>() / n as f64
        };
        let bound = 5.0 / (n as f64).sqrt();
        assert!(mean(&|x, y| x * y).abs() < bound, "{name}");
        assert!(
            mean(&|x, y| (x * x - 1.0) * (y * y - 1.0)).abs() < 2.0 * bound,
            "{name}, squares"
        );
        assert!(
            mean(&|x, y| x * (y * y - 1.0)).abs() < 2f64.sqrt() * bound,
            "{name}, value and square"
        );
    }
}

/// The first values of a stream, for good: a change of the generator or of the transform must be
/// meant.
#[test]
fn golden_values() {
    let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
    normals([0, 0], 0, 0, [&mut a, &mut b]);
    // threefry2x64-20 of (0, 0) under key 0 is c2b6e3a8c2c69865 6f81ed42f350084d (Random123); the
    // rest by hand, in 30 digits
    let u = f64::from_bits(0x3ff0_0000_0000_0000 | (0xc2b6_e3a8_c2c6_9865u64 >> 12))
        - (1.0 - f64::EPSILON / 2.0);
    let angle = (f64::from_bits(0x3ff0_0000_0000_0000 | (0x6f81_ed42_f350_084du64 >> 12)) - 1.5)
        * std::f64::consts::FRAC_PI_2;
    let r = (-2.0 * u.ln()).sqrt(); // last bits 01: swapped, sign kept
    assert!(
        (a[0] - r * angle.sin()).abs() < 1e-14 && (b[0] - r * angle.cos()).abs() < 1e-14,
        "{a:?} {b:?}"
    );
}

/// The multilevel estimate of E[x v] against the exact law of the finest grid's scheme: no bias is
/// left, so 5 standard errors (false alarm 6e-7) are all that is allowed; and the variances of the
/// levels fall by 4 per level (strong order 1) for Euler-Maruyama, by 16 for SRA1 (2 on linear
/// SDEs). Catches levels that are not coupled, or whose coarse path has another law.
#[test]
fn multilevel_is_unbiased() {
    let p = Cld::new(0.25).unwrap();
    let sde = Forward::new(&p, Schedule::linear(1.0, 3.0).unwrap());
    let start = [1.0, 0.5];
    for (scheme, fall) in [(Scheme::EulerMaruyama, 4.0), (Scheme::Sra1, 16.0)] {
        let task = Task {
            start,
            from: 0.0,
            to: 0.5,
            steps: 8,
            levels: 5,
            standard_error: 1e-3,
            most_paths: 1 << 20,
        };
        let e = multilevel(scheme, &sde, &task, 3, |u| u[0] * u[1]).unwrap();
        let n = 8 << 4;
        let grid: Vec<f64> = (0..=n).map(|i| 0.5 * i as f64 / n as f64).collect();
        let law = scheme_law(scheme, &sde, &grid)[n];
        let m: [f64; 2] =
            std::array::from_fn(|i| law.mean[(i, 0)] * start[0] + law.mean[(i, 1)] * start[1]);
        let exact = law.cov[(0, 1)] + m[0] * m[1];
        assert!(
            (e.value - exact).abs() < 5.0 * e.standard_error,
            "{}: {} {exact} +- {}",
            scheme.name(),
            e.value,
            e.standard_error
        );
        assert!(e.standard_error < 1.2e-3, "{}", e.standard_error);
        // variances from at least 1000 paths: 20% each (kurtosis 10), and the rate is only
        // asymptotic
        let ratio = e.levels[2].variance / e.levels[3].variance;
        assert!(
            ratio > 0.6 * fall && ratio < 1.7 * fall,
            "{}: variance falls by {ratio}",
            scheme.name()
        );
        // fewer paths on finer levels is the point of it
        assert!(e.levels[0].paths > 10 * e.levels[4].paths, "{:?}", e.levels);
    }
    let task = Task {
        start,
        from: 0.5,
        to: 0.2,
        steps: 8,
        levels: 5,
        standard_error: 1e-3,
        most_paths: 1 << 20,
    };
    let refused = |scheme, task: &Task<2>| {
        multilevel(scheme, &sde, task, 0, |u| u[0])
            .unwrap_err()
            .to_string()
    };
    assert!(refused(Scheme::EulerMaruyama, &task).contains("from, to"));
    assert!(refused(Scheme::Exact, &task).contains("scheme"));
    assert!(
        refused(
            Scheme::Sra1,
            &Task {
                from: 0.0,
                to: 1.0,
                levels: 0,
                ..task
            }
        )
        .contains("levels")
    );
}

/// Single precision: moments of the normals to order 8, and simulated moments against the scheme's
/// exact law, whose own error from rounding the matrices to f32 (1e-7) is far below a standard
/// error. 5 standard errors each (6e-7), 11 of them.
#[test]
fn single_precision_has_the_same_law() {
    let n = 1 << 19;
    let mut four: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; n]);
    cld_sgm::internal::simd::normal::normals_f32(
        [3, 1, 4, 1],
        0,
        5,
        four.each_mut().map(Vec::as_mut_slice),
    );
    let x: Vec<f64> = four.iter().flatten().map(|v| f64::from(*v)).collect();
    for order in 1..=8u32 {
        let factorial2 = |k: u32| (1..=k).rev().step_by(2).map(f64::from).product::<f64>();
        let moment = |k: u32| {
            if k % 2 == 1 {
                0.0
            } else {
                factorial2(k.saturating_sub(1))
            }
        };
        let mean = x.iter().map(|v| v.powi(order as i32)).sum::<f64>() / x.len() as f64;
        let error = ((moment(2 * order) - moment(order).powi(2)) / x.len() as f64).sqrt();
        assert!(
            (mean - moment(order)).abs() < 5.0 * error,
            "order {order}: {mean} {}",
            moment(order)
        );
    }
    let p = Cld::new(0.25).unwrap();
    let sde = Forward::new(&p, Schedule::constant(4.0).unwrap());
    let grid: Vec<f64> = (0..=33).map(|i| f64::from(i) / 100.0).collect();
    let plan = Plan::new(
        Scheme::EulerMaruyama,
        &sde,
        &grid,
        &[7, 33],
        ([0.0, 0.0], [0.0, 0.2]),
        Stream::new(8, 8),
    )
    .unwrap();
    let (law, m) = (
        scheme_law(Scheme::EulerMaruyama, &sde, &grid)[33],
        plan.simulate_f32(1 << 20)[1],
    );
    let cov = law.started_from([0.0, 0.04]);
    for (i, j) in [(0, 0), (0, 1), (1, 1)] {
        let found = m.about([0.0; 2])[(i, j)] / m.n as f64;
        let error = ((cov[(i, i)] * cov[(j, j)] + cov[(i, j)].powi(2)) / m.n as f64).sqrt();
        assert!(
            (found - cov[(i, j)]).abs() < 5.0 * error,
            "{i}{j}: {found} {}",
            cov[(i, j)]
        );
    }
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(
        one.install(|| plan.simulate_f32(70_001)),
        plan.simulate_f32(70_001)
    );
}

/// A user's own drift. The double well `du = (u - u^3) dt + sqrt(2) dW` from its stationary law
/// keeps it: E[u^2] (by quadrature of exp(u^2/2 - u^4/4)) is reached from a wide start; and on a
/// linear SDE the general path agrees with the scheme's exact law. 5 standard errors (6e-7) each,
/// plus the scheme's bias of order h^2.
#[test]
fn any_drift_can_be_simulated() {
    let p = CldPosition::new(2.0, 0.5, 1.4).unwrap();
    let sde = Forward::new(&p, Schedule::linear(0.1, 7.0).unwrap());
    let grid: Vec<f64> = (0..=20).map(|i| f64::from(i) / 40.0).collect();
    let m = simulate_any(
        Scheme::Sra1,
        &sde,
        &grid,
        &[10, 20],
        ([0.5, 0.0], [0.0, 0.3]),
        Stream::new(1, 1),
        50_001,
    )
    .unwrap();
    let law = scheme_law(Scheme::Sra1, &sde, &grid)[20];
    let cov = law.started_from([0.0, 0.09]);
    let center = [law.mean[(0, 0)] * 0.5, law.mean[(1, 0)] * 0.5];
    assert_eq!(m[1].n, 50_001);
    for (i, j) in [(0, 0), (0, 1), (1, 1)] {
        let found = m[1].about(center)[(i, j)] / m[1].n as f64;
        let error = ((cov[(i, i)] * cov[(j, j)] + cov[(i, j)].powi(2)) / m[1].n as f64).sqrt();
        assert!(
            (found - cov[(i, j)]).abs() < 5.0 * error,
            "{i}{j}: {found} {}",
            cov[(i, j)]
        );
    }

    struct Well;
    const SPEED: f64 = 12.0; // the unit interval is 12 units of time: relaxed to e^-12 or so
    impl Sde<1> for Well {
        fn drift(&self, _: f64, [u]: [f64; 1]) -> [f64; 1] {
            [SPEED * (u - u * u * u)]
        }
        fn noise(&self, _: f64) -> Mat<1> {
            Mat([[(2.0 * SPEED).sqrt()]])
        }
    }
    let density = |u: f64| (u * u / 2.0 - u.powi(4) / 4.0).exp();
    let integral = |f: &dyn Fn(f64) -> f64| {
        (-6000..=6000)
            .map(|i| f(f64::from(i) * 1e-3) * density(f64::from(i) * 1e-3))
            .sum::<f64>()
    };
    let (second, fourth) = (
        integral(&|u| u * u) / integral(&|_| 1.0),
        integral(&|u| u.powi(4)) / integral(&|_| 1.0),
    );
    let grid: Vec<f64> = (0..=600).map(|i| f64::from(i) / 600.0).collect();
    let n = 20_000;
    let m = simulate_any(
        Scheme::Sra1,
        &Well,
        &grid,
        &[600],
        ([0.0], [1.5]),
        Stream::new(2, 2),
        n,
    )
    .unwrap();
    let found = m[0].about([0.0])[(0, 0)] / n as f64;
    let error = ((fourth - second * second) / n as f64).sqrt();
    // h = 0.02 units of time: h^2 times a constant of a few is below 2e-3
    assert!(
        (found - second).abs() < 5.0 * error + 2e-3,
        "{found} {second} +- {error}"
    );
    assert!(
        simulate_any(
            Scheme::Exact,
            &Well,
            &grid,
            &[1],
            ([0.0], [1.0]),
            Stream::new(0, 0),
            10
        )
        .is_err()
    );
}
