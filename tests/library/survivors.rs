//! What mutants of the source survived, and no longer do: see `docs/notes/mutation.md`. Each test
//! holds a number or a sentence that the docs promise and nothing else looked at.

use super::properties::Planted;
use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::small::Mat;
use cld_sgm::internal::special::{one_minus_exp_neg, scaled_exp_neg};
use cld_sgm::kernel::{AnyKernelBatch, Kernel, Objective, perturb_batch};
use cld_sgm::process::{
    AnyProcess, Cld, CldDamped, CldPosition, Custom, Langevin, LinearSde, Moments, Params, Psld,
    REGISTRY, Reversed, SubVp, Value, Vp, entry, erase,
};
use cld_sgm::schedule::Span;
use cld_sgm::{Result, Schedule};
use ndarray::Array2;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A range as the docs have it: what is tried, the numbers at its edges, which are allowed, and
/// those just beyond, which are not.
struct Range<'a> {
    what: &'a str,
    try_it: &'a dyn Fn(f64) -> Result<()>,
    allowed: &'a [f64],
    refused: &'a [f64],
}

/// Catches an edge that is moved, left out or let in (`<` for `<=`), in any constructor: ranges as
/// the docs of each have them.
#[test]
fn ranges_end_where_the_docs_say() {
    let (up, down) = (f64::next_up, f64::next_down);
    let mut off = vec![];
    for r in [
        Range {
            what: "constant b",
            try_it: &|b| Schedule::constant(b).map(drop),
            allowed: &[1e12, 1e-300],
            refused: &[0.0, -1.0, up(1e12)],
        },
        Range {
            what: "linear b0",
            try_it: &|b| Schedule::linear(b, 1.0).map(drop),
            allowed: &[0.0, 1e12],
            refused: &[-1e-300, up(1e12)],
        },
        Range {
            what: "linear b1",
            try_it: &|b| Schedule::linear(1e12, b).map(drop),
            allowed: &[-1e12, 1e12],
            refused: &[down(-1e12), up(1e12)],
        },
        Range {
            what: "cosine s0",
            try_it: &|s| Schedule::cosine(s, 0.9).map(drop),
            allowed: &[0.0, 1.0],
            refused: &[-1e-300, up(1.0)],
        },
        Range {
            what: "cosine t_max",
            try_it: &|t| Schedule::cosine(0.008, t).map(drop),
            allowed: &[1e-300, 0.9999],
            refused: &[0.0, up(0.9999)],
        },
        Range {
            what: "geometric sigma_min",
            try_it: &|s| Schedule::geometric(s, 1.0).map(drop),
            allowed: &[1e-100, down(1.0)],
            refused: &[down(1e-100), 1.0],
        },
        Range {
            what: "geometric sigma_max",
            try_it: &|s| Schedule::geometric(1.0, s).map(drop),
            allowed: &[up(1.0), 1e6],
            refused: &[1.0, up(1e6)],
        },
        Range {
            what: "table's last time",
            try_it: &|t| Schedule::table(&[(t, 1.0)]).map(drop),
            allowed: &[1e-300, 1e6],
            refused: &[0.0, -1.0, up(1e6)],
        },
        Range {
            what: "table's integral",
            try_it: &|b| Schedule::table(&[(0.5, 1.0), (1.0, b)]).map(drop),
            allowed: &[1.0, 1e15],
            refused: &[down(1.0), up(1e15)],
        },
        Range {
            what: "betas",
            try_it: &|b| Schedule::betas(&[0.5, b]).map(drop),
            allowed: &[1e-300, down(1.0)],
            refused: &[0.0, 1.0],
        },
        Range {
            what: "horizon",
            try_it: &|t| Schedule::constant(1.0)?.on(t).map(drop),
            allowed: &[1e-300, 1e6],
            refused: &[0.0, -1.0, up(1e6)],
        },
        Range {
            what: "horizon of a rate that falls to 0 at 2",
            try_it: &|t| Schedule::linear(2.0, -1.0)?.on(t).map(drop),
            allowed: &[0.5, 2.0],
            refused: &[up(2.0)],
        },
        Range {
            what: "tau",
            try_it: &|t| Span::from_zero(t).map(drop),
            allowed: &[0.0, 1e15],
            refused: &[-1e-300, up(1e15)],
        },
        Range {
            what: "t of a span",
            try_it: &|t| Schedule::constant(1.0)?.span(0.0, t).map(drop),
            allowed: &[0.0, 1.0],
            refused: &[-1e-300, up(1.0)],
        },
        Range {
            what: "s of a span",
            try_it: &|s| Schedule::constant(1.0)?.span(s, 0.5).map(drop),
            allowed: &[0.0, 0.5],
            refused: &[-1e-300, up(0.5)],
        },
        Range {
            what: "cld mass",
            try_it: &|m| Cld::new(m).map(drop),
            allowed: &[1e-12, 1e12],
            refused: &[down(1e-12), up(1e12)],
        },
        Range {
            what: "damped mass",
            try_it: &|m| CldDamped::new(m, 1.0).map(drop),
            allowed: &[1e-12, 1e12],
            refused: &[down(1e-12), up(1e12)],
        },
        Range {
            what: "damped Gamma",
            try_it: &|g| CldDamped::new(1.0, g).map(drop),
            allowed: &[1e-12, 1e12],
            refused: &[down(1e-12), up(1e12)],
        },
        Range {
            what: "position noise's a",
            try_it: &|a| CldPosition::new(a, 1.0, 1.0).map(drop),
            allowed: &[1e-6, 1e6],
            refused: &[down(1e-6), up(1e6)],
        },
        Range {
            what: "position noise's epsilon",
            try_it: &|e| CldPosition::new(1.0, e, 0.5e-12).map(drop),
            allowed: &[0.5e-12, 1e6],
            refused: &[0.0, 0.4e-12, -1e-300, up(1e6)],
        },
        Range {
            what: "position noise's sigma",
            try_it: &|s| CldPosition::new(1.0, 1.0, s).map(drop),
            allowed: &[0.0, 1e6],
            refused: &[-1e-300, up(1e6)],
        },
        Range {
            what: "psld Gamma",
            try_it: &|g| Psld::new(g, 1.0).map(drop),
            allowed: &[0.0, 1e6],
            refused: &[-1e-300, up(1e6)],
        },
        Range {
            what: "psld nu",
            try_it: &|n| Psld::new(1.0, n).map(drop),
            allowed: &[0.0, 1e6, 1.0 + 1.1e-6, 1.0 - 1.1e-6],
            refused: &[-1e-300, up(1e6), 1.0 + 0.9e-6, 1.0 - 0.9e-6, 1.0],
        },
        Range {
            what: "psld nu - Gamma",
            try_it: &|n| Psld::new(0.0, n).map(drop),
            allowed: &[1e-6],
            refused: &[down(1e-6)],
        },
        Range {
            what: "a chain's couplings",
            try_it: &|g| Langevin::<2>::new(&[g], 1.0).map(drop),
            allowed: &[1e-6, 1e6],
            refused: &[down(1e-6), up(1e6)],
        },
        Range {
            what: "a chain's friction",
            try_it: &|x| Langevin::<2>::new(&[1.0], x).map(drop),
            allowed: &[1e-6, 1e6],
            refused: &[down(1e-6), up(1e6)],
        },
        Range {
            what: "custom mass",
            try_it: &|m| Custom::new(Mat([[-1.0]]), Mat([[1.0]]), m).map(drop),
            allowed: &[1e-300, 1e9],
            refused: &[0.0, -1.0, up(1e9)],
        },
        Range {
            what: "custom drift",
            try_it: &|f| Custom::new(Mat([[f]]), Mat([[1.0]]), 1.0).map(drop),
            allowed: &[-1e9, 1e9],
            refused: &[down(-1e9), up(1e9)],
        },
        Range {
            what: "gamma",
            try_it: &|g| Objective::hsm(g).map(drop),
            allowed: &[0.0, 1e6],
            refused: &[-1e-300, up(1e6)],
        },
    ] {
        for (numbers, ok) in [(r.allowed, true), (r.refused, false)] {
            for &x in numbers {
                if (r.try_it)(x).is_ok() != ok {
                    off.push(format!("{} = {x:e}: allowed is {}", r.what, !ok));
                }
            }
        }
        assert!((r.try_it)(f64::NAN).is_err(), "{} = NaN", r.what);
    }
    assert!(off.is_empty(), "{off:#?}");
}

/// Catches a chain's integral that is not `-sum ln(1 - beta_i)`, at `i/N`, a time of a table that
/// is not found, and one that is taken for a neighbour: against `ln_1p`, whose error is an ulp.
#[test]
fn tables_are_what_they_were_made_of() {
    let betas = [0.3, 0.02, 1e-9, 0.6, 0.25, 0.999];
    let s = Schedule::betas(&betas).unwrap();
    assert_eq!((s.name(), s.horizon()), ("table", 1.0));
    assert!(s.params().is_empty() && s.rate(0.5).is_nan());
    let mut sum = 0.0;
    let points = s.points().unwrap();
    assert_eq!(points.len(), betas.len());
    let mut before = (0.0, 0.0);
    for (i, b) in betas.iter().enumerate() {
        sum -= f64::ln_1p(-b);
        let t = (i + 1) as f64 / 6.0;
        assert_eq!(points[i].0, t);
        // an ulp of each logarithm and of each sum
        let near = |got: f64, want: f64| (got - want).abs() <= 16.0 * f64::EPSILON * sum;
        assert!(near(points[i].1, sum), "{i}: {} and {sum}", points[i].1);
        // float32's time is the same one; between two there is none
        for time in [t, f64::from(t as f32), t - 0.9e-6, t + 0.9e-6] {
            if time <= 1.0 {
                assert!(near(s.integral(0.0, time).unwrap(), sum), "{time}");
            }
        }
        assert!(near(s.integral(before.0, t).unwrap(), sum - before.1));
        assert_eq!(s.integral(t, t).unwrap(), 0.0);
        for time in [t - 1.1e-6, t - 0.1] {
            let e = s.integral(0.0, time).unwrap_err().to_string();
            assert!(
                e.contains(&format!("between {} and {}", before.0, t)),
                "{e}"
            );
        }
        before = (t, sum);
    }
    let e = s.integral(0.1, 1.0).unwrap_err().to_string();
    assert!(e.contains("`s`") && e.contains("between 0 and"), "{e}");

    let s = Schedule::table(&[(0.5, 1.0), (3.0, 1.5)]).unwrap();
    assert_eq!(s.points(), Some(vec![(0.5, 1.0), (3.0, 1.5)]));
    assert!(s.integral(0.0, 0.5 + 2.9e-6).is_ok() && s.integral(0.0, 0.5 + 3.1e-6).is_err());
    assert_eq!((s.horizon(), s.integral(0.5, 3.0).unwrap()), (3.0, 0.5));
    assert!(s.allowed().contains("0 <= t <= 3, the horizon"));
    assert!(s.on(3.0).is_ok() && s.on(1.0).is_err());
    assert!(Schedule::constant(1.0).unwrap().points().is_none());
}

/// Catches a bound on a table's length or on the distance of its times that is moved, and a
/// schedule that another clock does not fit.
#[test]
fn tables_and_clocks_that_are_refused() {
    let evenly = |n: usize| {
        let times: Vec<(f64, f64)> = (1..=n).map(|i| (i as f64 / n as f64, 1.0)).collect();
        Schedule::table(&times)
    };
    assert!(evenly(1).is_ok() && evenly(100_000).is_ok());
    for (n, s) in [(0, evenly(0)), (100_001, evenly(100_001))] {
        let e = s.unwrap_err().to_string();
        assert!(e.contains(&format!("{n} points")), "{e}");
    }
    for (gap, ok) in [(1e-5, true), (0.8e-5, false), (-0.1, false)] {
        let s = Schedule::table(&[(2.0 - 2.0 * gap, 1.0), (2.0, 1.0)]);
        assert_eq!(s.is_ok(), ok, "{gap}");
    }
    assert!(Schedule::table(&[(-0.5, 1.0), (1.0, 1.0)]).is_err());
    assert!(Schedule::table(&[(1.0, -1.0)]).is_err());

    let linear = Schedule::linear(0.5, 6.0).unwrap();
    let longer = linear.on(2.0).unwrap();
    assert_eq!((linear.horizon(), longer.horizon()), (1.0, 2.0));
    assert_eq!(longer.integral(0.0, 2.0).unwrap(), 13.0);
    assert!(linear.integral(0.0, 2.0).is_err() && longer.integral(0.0, 2.1).is_err());
    assert!(linear.allowed().starts_with("0 <= t <= 1 "));
    for s in [
        Schedule::cosine(0.008, 0.99).unwrap(),
        Schedule::geometric(0.01, 50.0).unwrap(),
    ] {
        assert!(s.on(1.0).is_ok());
        let e = s.on(2.0).unwrap_err().to_string();
        assert!(e.contains(s.name()), "{e}");
    }
    for (s, name, params) in [
        (
            Schedule::constant(4.0),
            "constant",
            vec![("b0", 4.0), ("b1", 0.0)],
        ),
        (
            Schedule::linear(1.0, 2.0),
            "linear",
            vec![("b0", 1.0), ("b1", 2.0)],
        ),
        (
            Schedule::cosine(0.1, 0.9),
            "cosine",
            vec![("s0", 0.1), ("t_max", 0.9)],
        ),
        (
            Schedule::geometric(0.1, 2.0),
            "geometric-sigma",
            vec![("sigma_min", 0.1), ("sigma_max", 2.0)],
        ),
    ] {
        let s = s.unwrap();
        assert_eq!((s.name(), s.params()), (name, params));
    }
}

/// Catches a mistake of 1/M for M that is another one: the process of the registry's hypothesis is
/// that of mass 1/M, with its own friction or with the right one.
#[test]
fn the_inverted_mass_is_that() {
    let (mass, tau) = (0.16, 0.7);
    let on = Span::from_zero(tau).unwrap();
    for (name, own, friction) in [("cld", 2.0 * f64::sqrt(1.0 / mass), 0.8), ("cld", 1.1, 1.1)] {
        let e = entry(name).unwrap();
        let mut params = Params::default().with("mass", mass);
        if own == friction {
            params = params.with("Gamma", friction);
        }
        let right = e.build(&params).unwrap();
        for (kept, gamma) in [(false, own), (true, friction)] {
            let found = (e.mass_inverted)(&params, &*right, kept).unwrap();
            let want = CldDamped::new(1.0 / mass, gamma).unwrap().moments(on, 0.1);
            let got = found.moments(on, 0.1).fixed::<2>();
            for (g, w) in [(got.mean, want.mean), (got.cov, want.cov)] {
                for n in 0..4 {
                    let (g, w) = (g[(n / 2, n % 2)], w[(n / 2, n % 2)]);
                    // two closed forms of 1e-13 each
                    assert!((g - w).abs() <= 1e-12 * w.abs(), "{name} {kept}: {g} {w}");
                }
            }
        }
    }
    // PSLD: position friction 0 is CLD at half speed, mass 4/nu^2, friction nu M in CLD's own
    // units
    let e = entry("psld").unwrap();
    let params = Params::default().with("Gamma", 0.0).with("nu", 5.0);
    let right = e.build(&params).unwrap();
    assert!((right.mass() - mass).abs() < 1e-15);
    for (kept, noise) in [(true, 5.0 * mass), (false, 5.0 / mass)] {
        let found = (e.mass_inverted)(&params, &*right, kept).unwrap();
        assert!((found.mass() * mass - 1.0).abs() < 1e-14);
        let (f, g) = (found.drift(), found.noise_at(0.0));
        let want = [0.0, 0.5 * mass, -0.5, -2.5];
        for n in 0..4 {
            assert!((f[(n / 2, n % 2)] - want[n]).abs() < 1e-14, "{n}");
        }
        assert!((g[(1, 1)] / noise - 1.0).abs() < 1e-14, "{kept}");
        assert_eq!((g[(0, 0)], g[(0, 1)], g[(1, 0)]), (0.0, 0.0, 0.0));
    }
    // position noise: a for 1/a, where the friction goes with it
    let e = entry("cld-position-noise").unwrap();
    let params = Params::default()
        .with("a", 4.0)
        .with("epsilon", 0.5)
        .with("sigma", 1.0);
    let right = e.build(&params).unwrap();
    assert!((e.mass_inverted)(&params, &*right, true).is_none());
    let found = (e.mass_inverted)(&params, &*right, false).unwrap();
    assert_eq!(found.drift()[(0, 1)], 0.0625);
}

/// Catches a covariance of x and v that vanishes otherwise than it should, where e^-2z is about to
/// leave f64 and the closed forms change over: by itself, not against what stands beside it, as
/// double words by the stationary law have it.
#[test]
fn what_vanishes_is_right_by_itself() {
    fn one<const K: usize>(name: &str, p: &impl LinearSde<K>, rate: f64) {
        for z in [345.0, 350.5, 351.7] {
            let on = Span::from_zero(z / rate).unwrap();
            for gamma in [0.0, 0.04, 1.3] {
                let (m, law) = (p.moments(on, gamma), p.law(on, gamma));
                let det = law.moments().det;
                assert!((m.det / det - 1.0).abs() < 1e-12, "{name} det at {z}"); // 5 times 1e-13
                for i in 0..K {
                    for j in 0..K {
                        let pairs = [
                            ("mean", m.mean[(i, j)], law.mean[(i, j)].to_f64()),
                            ("cov", m.cov[(i, j)], law.cov[(i, j)].to_f64()),
                        ];
                        for (what, got, want) in pairs {
                            // 8 ulp for what is z times an exponential; the forms at any damping
                            // and of position noise promise 1e-13
                            assert!(
                                (got - want).abs() <= 1e-13 * want.abs(),
                                "{name} {what} {i} {j} at z = {z}, gamma {gamma}: {got:e}, {want:e}"
                            );
                        }
                    }
                }
            }
        }
    }
    one("cld", &Cld::new(0.16).unwrap(), 2.5);
    // the slow mode's rate: a - d of M = 0.16, Gamma = 1; a where it oscillates
    one("over", &CldDamped::new(0.16, 1.0).unwrap(), 1.25);
    one("under", &CldDamped::new(0.16, 0.5).unwrap(), 1.5625);
    one("psld", &Psld::new(0.3, 4.3).unwrap(), 1.15);
    one("position", &CldPosition::new(2.0, 0.0, 1.4).unwrap(), 2.0);
    one(
        "noisy position",
        &CldPosition::new(2.0, 0.5, 1.4).unwrap(),
        2.0,
    );
}

/// Catches a density, a score or a conversion that is not that of the law with this mean and
/// covariance: against sums over the inverse and the determinant, which come from other formulas.
#[test]
fn density_and_score_are_those_of_the_law() {
    fn one<const K: usize>(p: &impl LinearSde<K>, schedule: &Schedule, objective: Objective) {
        for t in [0.1, 0.3, 0.9] {
            let kernel = Kernel::new(p, schedule, objective, t).unwrap();
            let u: [f64; K] = std::array::from_fn(|i| [0.7, -0.4, 1.1, 0.2][i]);
            let mut u0 = [0.0; K];
            u0[0] = -0.6;
            let (mean, inverse) = (kernel.mean(), kernel.inverse());
            let r: [f64; K] = std::array::from_fn(|i| u[i] - mean[(i, 0)] * u0[0]);
            let score =
                std::array::from_fn(|i| -(0..K).map(|j| inverse[(i, j)] * r[j]).sum::<f64>());
            let square: f64 = -(0..K).map(|i| r[i] * score[i]).sum::<f64>();
            let constant = K as f64 * (2.0 * std::f64::consts::PI).ln();
            let density = -0.5 * (constant + kernel.det().ln() + square);
            let size = constant + kernel.det().ln().abs() + square;
            // the condition of the covariance, some 1e4 at the first time, times an ulp
            let near = |got: f64, want: f64, size: f64| (got - want).abs() <= 1e-11 * size;
            let name = p.name();
            let got = kernel.log_density(u, u0);
            assert!(near(got, density, size), "{name} {t}: {got} {density}");
            let largest = score.iter().fold(0.0, |m: f64, s: &f64| m.max(s.abs()));
            let eps = kernel.eps_from_x0(u, u0);
            for (what, found) in [
                ("score", kernel.score(u, u0)),
                ("of noise", kernel.score_from_eps(eps)),
                (
                    "there and back",
                    kernel.score_from_eps(kernel.eps_from_score(score)),
                ),
            ] {
                for i in 0..K {
                    assert!(near(found[i], score[i], largest), "{name} {t} {what} {i}");
                }
            }
            // u = Phi u0 + L eps
            for i in 0..K {
                let terms = (0..=i).map(|j| kernel.lower()[(i, j)] * eps[j]);
                let size = u[i].abs() + 1.0 + terms.clone().map(f64::abs).sum::<f64>();
                let noise: f64 = terms.sum();
                assert!(
                    near(mean[(i, 0)] * u0[0] + noise, u[i], size),
                    "{name} {t} noise {i}"
                );
            }
            assert!(
                near(kernel.x0_from_eps(u, eps), u0[0], 10.0),
                "{name} {t} data"
            );
            let (m, v) = (mean[(0, 0)], kernel.cov()[(0, 0)]);
            let last = kernel.lower()[(K - 1, K - 1)];
            assert!(near(kernel.ell() * last, 1.0, 1.0), "{name} {t} ell");
            assert!(near(kernel.std(0), v.sqrt(), v.sqrt()));
            assert!(near(
                kernel.std(K - 1).powi(2),
                kernel.cov()[(K - 1, K - 1)],
                1.0
            ));
            assert!(near(kernel.sigma(), (v / (m * m)).sqrt(), kernel.sigma()));
            assert!(near(kernel.snr(), m * m / v, kernel.snr()));
            assert!(near(kernel.log_snr(), (m * m / v).ln(), 10.0));
        }
    }
    let schedule = Schedule::linear(0.5, 6.0).unwrap();
    let hsm = Objective::hsm(0.04).unwrap();
    one(&Vp, &schedule, Objective::DSM);
    for objective in [Objective::DSM, hsm] {
        one(&Cld::new(0.25).unwrap(), &schedule, objective);
        one(&Langevin::<3>::critical().unwrap(), &schedule, objective);
        one(&Langevin::<4>::critical().unwrap(), &schedule, objective);
    }
    // the sample that forgets: beyond f64 is the largest, and nothing over nothing is nothing
    let late = Schedule::constant(1000.0).unwrap();
    let kernel = Kernel::new(&Cld::new(0.25).unwrap(), &late, hsm, 1.0).unwrap();
    assert_eq!(kernel.x0_from_eps([3.0, 0.0], [1.0, 0.0]), f64::MAX);
    assert_eq!(kernel.x0_from_eps([-3.0, 0.0], [1.0, 0.0]), -f64::MAX);
    assert_eq!(kernel.x0_from_eps([1.0, 0.0], [1.0, 0.0]), 0.0);
}

/// Catches noising that is not `Phi u0 + L eps`, for any number of channels and both types, and a
/// batch whose columns are another kernel's.
#[test]
fn noising_is_mean_and_root() {
    fn one<const K: usize>(p: &(impl LinearSde<K> + Clone + Send + Sync + 'static)) {
        let schedule = Schedule::linear(0.5, 6.0).unwrap();
        let t = [0.07, 0.4, 0.8];
        let value = |r: usize, i: usize| ((3 * r + 5 * i) % 7) as f64 / 4.0 - 0.7;
        let single: Vec<f32> = (0..3).map(|r| value(r, 9) as f32).collect();
        let x0: Vec<f64> = single.iter().map(|x| f64::from(*x)).collect();
        let eps: [Vec<f64>; K] = std::array::from_fn(|i| (0..3).map(|r| value(r, i)).collect());
        let kernels: Vec<Kernel<K>> = t
            .iter()
            .map(|&t| Kernel::new(p, &schedule, Objective::DSM, t).unwrap())
            .collect();
        let want = |kernel: &Kernel<K>, r: usize, i: usize, all: bool| {
            let start = |j: usize| if j == 0 { x0[r] } else { eps[(j + 1) % K][r] };
            let channels = if all { K } else { 1 };
            let mean: f64 = (0..channels)
                .map(|j| kernel.mean()[(i, j)] * start(j))
                .sum();
            let noise: f64 = (0..=i).map(|j| kernel.lower()[(i, j)] * eps[j][r]).sum();
            mean + noise
        };
        // sums of at most 8 terms of size 1
        let near = |got: f64, want: f64| (got - want).abs() <= 1e-15 * 8.0;
        let mut out: [Vec<f64>; K] = std::array::from_fn(|_| vec![0.0; 3]);
        let mut out32: [Vec<f32>; K] = std::array::from_fn(|_| vec![0.0; 3]);
        let eps32 = eps
            .each_ref()
            .map(|e| e.iter().map(|x| *x as f32).collect::<Vec<_>>());
        for kernel in &kernels {
            let noise = eps.each_ref().map(|e| &e[..]);
            kernel
                .perturb(&x0, noise, out.each_mut().map(|o| &mut o[..]))
                .unwrap();
            let noise = eps32.each_ref().map(|e| &e[..]);
            let outs = out32.each_mut().map(|o| &mut o[..]);
            kernel.perturb(&single, noise, outs).unwrap();
            for i in 0..K {
                for r in 0..3 {
                    let want = want(kernel, r, i, false);
                    assert!(near(out[i][r], want), "{} {i} {r}", p.name());
                    // noise rounded to float32, and the result
                    let off = (f64::from(out32[i][r]) - want).abs();
                    assert!(off <= 4.0 * f64::from(f32::EPSILON), "{} {i} {r}", p.name());
                }
            }
        }
        let column = |v: &[f64]| Array2::from_shape_vec((3, 1), v.to_vec()).unwrap();
        let noise = eps.each_ref().map(|e| column(e));
        for all in [false, true] {
            let start: Vec<Array2<f64>> = (0..if all { K } else { 1 })
                .map(|j| column(if j == 0 { &x0 } else { &eps[(j + 1) % K] }))
                .collect();
            let start: Vec<_> = start.iter().map(|a| a.view()).collect();
            let noise = noise.each_ref().map(|a| a.view());
            let found = perturb_batch(p, &schedule, Objective::DSM, &t, &start, &noise).unwrap();
            for i in 0..K {
                for r in 0..3 {
                    let (got, want) = (found[i][(r, 0)], want(&kernels[r], r, i, all));
                    assert!(near(got, want), "{} {i} {r}: {got} {want}", p.name());
                }
            }
        }
        let mut batch = AnyKernelBatch::default();
        let erased = erase(p.clone()).unwrap();
        batch.fill(&*erased, &schedule, Objective::DSM, &t).unwrap();
        for (r, kernel) in kernels.iter().enumerate() {
            // either route promises 8 ulp, 1e-13 for chains' roots
            let near = |got: f64, want: f64| (got - want).abs() <= 2e-13 * want.abs();
            assert!(near(batch.det()[r], kernel.det()) && near(batch.ell()[r], kernel.ell()));
            for i in 0..K {
                for j in 0..K {
                    assert!(near(batch.mean(i, j)[r], kernel.mean()[(i, j)]));
                    assert!(near(batch.cov(i, j)[r], kernel.cov()[(i, j)]));
                    if j <= i {
                        assert!(near(batch.lower(i, j)[r], kernel.lower()[(i, j)]));
                    }
                }
            }
        }
    }
    one(&Vp);
    one(&Cld::new(0.25).unwrap());
    one(&Langevin::<3>::critical().unwrap());
    one(&Langevin::<4>::critical().unwrap());
}

/// Catches a lost low word of an interval's length, or a carry with the wrong sign: the integral of
/// a linear rate in double words, held to double words made otherwise.
#[test]
fn low_words_of_integrals() {
    for (b0, b1) in [(4.0, 0.0), (0.1, 19.9), (3.0, -2.9), (1e-9, 7.3)] {
        let s = Schedule::linear(b0, b1).unwrap();
        for n in 1..400 {
            let t = n as f64 * 0.002_497;
            let got = s.span(0.0, t).unwrap().tau;
            let x = Dd::from(t);
            let want = x * (Dd::from(b0) + x * Dd::from(0.5 * b1));
            let off = (got - want).hi.abs() / want.hi;
            // some roundings at the size of the low word, which is half an ulp; twice that where
            // the rate falls
            assert!(off <= 2f64.powi(-102), "{b0} {b1} at {t}: {off:e}");
        }
    }
}

/// Catches a low word that is dropped or added with the wrong sign where the variance comes near 1
/// or the mean fades: VP is promised to 2 ulp, sub-VP to 4, here at lengths whose low word is worth
/// 3 ulp of the mean. The truth is the exponential in double words.
#[test]
fn one_channel_in_ulp() {
    let ulp = |got: f64, want: Dd| {
        ((Dd::from(got) - want).to_f64() / (want.hi.next_up() - want.hi)).abs()
    };
    let s = Schedule::linear(0.1, 39.8).unwrap();
    let mut low: f64 = 0.0;
    for n in 1..500 {
        let t = n as f64 * 0.001_999;
        for from in [0.0, 0.37 * t] {
            let on = s.span(from, t).unwrap();
            low = low.max((on.tau.lo / on.tau.hi).abs() * on.tau.hi);
            let mean = (-on.tau.scale(0.5)).exp();
            let one_minus = |x: Dd| Dd::ONE - (-x).exp();
            let both = on.start + on.start + on.tau;
            let (vp, sub) = (Vp.moments(on, 0.0), SubVp.moments(on, 0.0));
            let cov = one_minus(on.tau);
            for (what, got, want, bound) in [
                ("VP's mean", vp.mean[(0, 0)], mean, 2.0),
                ("VP's variance", vp.cov[(0, 0)], cov, 2.0),
                ("sub-VP's mean", sub.mean[(0, 0)], mean, 2.0),
                (
                    "sub-VP's variance",
                    sub.cov[(0, 0)],
                    cov * one_minus(both),
                    4.0,
                ),
            ] {
                let off = ulp(got, want);
                assert!(off <= bound, "{what} over [{from}, {t}]: {off} ulp");
            }
            let log = one_minus(on.tau).ln() + one_minus(both).ln();
            let law = SubVp.law(on, 0.0);
            for got in [SubVp.log_det(on, 0.0, &sub), law.log_det.unwrap()] {
                // the logarithm of a sum of rounded terms, near 0 by itself: 8 ulp
                let off = (Dd::from(got) - log).to_f64().abs() / log.hi.abs();
                assert!(off <= 8.0 * f64::EPSILON, "[{from}, {t}]: {off:e}");
            }
            assert_eq!(law.mean[(0, 0)].hi, mean.hi);
        }
    }
    assert!(
        low > 6.0 * f64::EPSILON,
        "low words are too small to be missed: {low:e}"
    );
    // its drift: what the mean does at once
    let tiny = SubVp.moments(Span::from_zero(1e-6).unwrap(), 0.0);
    let slope = (tiny.mean[(0, 0)] - 1.0) / 1e-6;
    assert!((slope - SubVp.drift()[(0, 0)]).abs() < 1e-6); // 1e-6 / 8 and rounding, 1e-10
}

/// Catches a process that answers to another name than the registry's, a default that is HSM's
/// gamma, and a friction or mass that is not the one given.
#[test]
fn processes_are_who_they_say() {
    for e in REGISTRY {
        let example = e.vectors[0].params.iter();
        let given = example.filter(|(name, _)| Some(*name) != e.gamma);
        let params = given.fold(Params::default(), |p, (name, x)| {
            p.with_value(name, (*x).into())
        });
        let p = e.build(&params).unwrap();
        let names: Vec<String> = e.defaults().0.into_keys().collect();
        let own: Vec<&str> = e.defaults.iter().map(|d| d.0).collect();
        let own: Vec<&str> = own.into_iter().filter(|n| Some(*n) != e.gamma).collect();
        assert!(p.name() == e.name && names.len() == own.len(), "{}", e.name);
        for (name, x) in e.defaults.iter().filter(|d| own.contains(&d.0)) {
            assert_eq!(e.defaults().number(name).unwrap(), *x, "{} {name}", e.name);
        }
    }
    let damped = Params::default().with("mass", 0.25).with("Gamma", 3.0);
    assert_eq!(entry("cld").unwrap().build(&damped).unwrap().name(), "cld");
    let reversed = Reversed::new(Langevin::<3>::critical().unwrap()).unwrap();
    assert_eq!(reversed.name(), "sscs-analytic");
    assert_eq!(Cld::new(0.36).unwrap().friction(), 1.2);
    assert_eq!(CldDamped::new(0.36, 0.7).unwrap().friction(), 0.7);
    let custom = Custom::new(Mat([[-1.0, 0.0], [0.0, -1.0]]), Mat::identity(), 2.5).unwrap();
    assert_eq!((custom.mass(), custom.initial(0.5)[1].hi), (2.5, 1.25));
    assert_eq!(custom.initial(0.5)[0].hi, 0.0);
    for (e, of) in [
        ("cld", "cld, critical"),
        ("sscs-analytic", "sscs-analytic, critical"),
    ] {
        let e = entry(e).unwrap();
        let first = |p: &Params| e.accuracy.iter().find(|a| (a.of)(p)).unwrap().family;
        assert_eq!(first(&Params::default().with("mass", 1.0)), of);
        assert!(first(&damped).ends_with("any damping"));
    }
}

/// Catches a noise matrix that is refused for its rounding, or let in beyond it, and matrices of
/// files that are not square or not of one size.
#[test]
fn noise_is_semidefinite_to_rounding() {
    let drift = Mat([[-1.0, 0.0], [0.0, -1.0]]);
    for (noise, ok) in [
        // a G of one column, its products rounded
        ([[0.01, 0.03], [0.03, 0.09]], true),
        ([[4e-8, 2e-4], [2e-4, 1.0]], true),
        ([[1e8, 1e4], [1e4, 1.0]], true),
        ([[1.0, 1.0], [1.0, 1.0 - 1e-15]], true),
        ([[1.0, 1.0], [1.0, 1.0 - 1e-13]], false),
        ([[1e6, 1e3], [1e3, 1.0 - 1e-13]], false),
        ([[0.0, 0.0], [0.0, 1.0]], true),
        ([[0.0, 1e-16], [1e-16, 1.0]], false),
        ([[-1e-300, 0.0], [0.0, 1.0]], false),
    ] {
        let made = Custom::new(drift, Mat(noise), 1.0);
        assert_eq!(made.is_ok(), ok, "{noise:?}");
    }
    // a rank of one, entries of very different sizes: what elimination leaves is rounding
    for n in 1..50 {
        let v = [
            0.1 / n as f64,
            1_234.567 / (n + 6) as f64,
            9_876.543_21 / (2 * n + 1) as f64,
        ];
        let noise = Mat::build(|i, j| v[i] * v[j]);
        let made = Custom::new(Mat::diagonal([-1.0; 3]), noise, 1.0);
        assert!(made.is_ok(), "{v:?}");
    }
    let matrix = |rows: &[&[f64]]| Value::Matrix(rows.iter().map(|r| r.to_vec()).collect());
    let build = |f: Value, g: Value| {
        let params = Params::default().with_value("F", f).with_value("GGt", g);
        entry("custom")
            .unwrap()
            .build(&params)
            .map(|p| p.channels())
    };
    let (one, two) = (matrix(&[&[-1.0]]), matrix(&[&[-1.0, 0.0], &[0.0, -1.0]]));
    let identity = matrix(&[&[1.0, 0.0], &[0.0, 1.0]]);
    assert_eq!(build(two.clone(), identity.clone()).unwrap(), 2);
    for (f, g, name) in [
        (one.clone(), identity.clone(), "GGt"),
        (matrix(&[&[-1.0, 0.0], &[0.0]]), identity.clone(), "F"),
        (matrix(&[]), identity.clone(), "F"),
        (two.clone(), matrix(&[&[1.0, 0.0]]), "GGt"),
        (Value::Number(1.0), identity.clone(), "F"),
        (
            matrix(&[&[0.0; 7][..]; 7]),
            matrix(&[&[0.0; 7][..]; 7]),
            "F",
        ),
    ] {
        let e = build(f, g).unwrap_err().to_string();
        assert!(e.contains(&format!("`{name}`")), "{e}");
    }
}

/// Catches a kernel whose inverse leaves f64 and which is given all the same, and one that is
/// refused though all is within f64.
#[test]
fn inverses_stay_within_f64() {
    let kernel = |vv: f64, det: f64| {
        Kernel::<2>::from_moments(Moments {
            mean: Mat::identity(),
            cov: Mat([[det / vv, 0.0], [0.0, vv]]),
            det,
            factors: None,
        })
    };
    assert!(kernel(1.0, 1e-290).is_ok() && kernel(1e5, 1e-285).is_ok());
    for (vv, det) in [(1e-3, 9e-291), (1.1e5, 1e-285), (1.0, 0.0), (1.0, f64::NAN)] {
        let e = kernel(vv, det).unwrap_err().to_string();
        assert!(e.contains("perturbation kernel"), "{e}");
    }
}

/// Catches a low word that is dropped or added with the wrong sign in the exponentials: against
/// e^-x in double words, to what the docs of each promise.
#[test]
fn exponentials_use_their_low_words() {
    let ulp = |got: f64, want: Dd| {
        ((Dd::from(got) - want).to_f64() / (want.hi.next_up() - want.hi)).abs()
    };
    let (mut product, mut rest): (f64, f64) = (0.0, 0.0);
    for n in 1..4000 {
        let hi = n as f64 * 0.173_1;
        let x = Dd::new(hi, hi * 1.1e-16 * (7.0 * hi).sin());
        let e = (-x).exp();
        if hi < 650.0 {
            product = product.max(ulp(scaled_exp_neg(1.0, x), e));
        }
        let small = x.scale(2f64.powi(-7));
        rest = rest.max(ulp(one_minus_exp_neg(small), Dd::ONE - (-small).exp()));
    }
    assert!(product <= 2.0 && rest <= 1.5, "{product} {rest}");
}

/// Catches columns that are not written for a process with no way of its own to write them.
#[test]
fn columns_come_from_moments() {
    let schedule = Schedule::linear(0.5, 6.0).unwrap();
    let hsm = Objective::hsm(0.04).unwrap();
    // what it wraps may write columns, itself it has moments alone
    let plain = Planted(
        erase(CldDamped::new(0.25, 0.7).unwrap()).unwrap(),
        |p, on, gamma| p.moments(on, gamma),
    );
    let mut batch = AnyKernelBatch::default();
    batch.fill(&plain, &schedule, hsm, &[0.1, 0.6]).unwrap();
    for (r, t) in [0.1, 0.6].into_iter().enumerate() {
        let m = plain.moments(schedule.span(0.0, t).unwrap(), 0.04);
        assert_eq!(batch.mean(1, 0)[r], m.mean[(1, 0)]);
        assert_eq!(batch.cov(0, 1)[r], m.cov[(0, 1)]);
        assert_eq!(batch.det()[r], m.det);
    }
}

/// Catches variances to which epsilon is not added, or that are factored without it: L L^T, U U^T
/// and the inverse are held to the covariance by products, determinant and logarithm to L.
#[test]
fn added_variances_are_in_every_factor() {
    for (order, p) in [
        (1, erase(Vp).unwrap()),
        (2, erase(Cld::new(0.25).unwrap()).unwrap()),
        (3, erase(Langevin::<3>::critical().unwrap()).unwrap()),
        (4, erase(Langevin::<4>::critical().unwrap()).unwrap()),
    ] {
        for (epsilon, tau) in [(0.0, 0.8), (1e-3, 0.8), (0.0, 30.0), (1e-3, 30.0)] {
            let on = Span::from_zero(tau).unwrap();
            let gamma = if order == 1 { 0.0 } else { 0.04 };
            let (none, law) = (p.law(on, gamma, 0.0), p.law(on, gamma, epsilon));
            let (m, k) = (&law.moments, p.channels());
            let f = m.factors.as_ref().unwrap();
            let (mut det, mut log) = (1.0, 0.0);
            for i in 0..k {
                det *= f.lower[(i, i)] * f.lower[(i, i)];
                log += 2.0 * f.lower[(i, i)].ln();
                for j in 0..k {
                    let unit = if i == j { 1.0 } else { 0.0 };
                    let added = none.moments.cov[(i, j)] + unit * epsilon;
                    let sum = |a: &dyn Fn(usize) -> f64| (0..k).map(a).sum::<f64>();
                    let scale = (m.cov[(i, i)] * m.cov[(j, j)]).sqrt();
                    for (what, got, want, size) in [
                        ("cov", m.cov[(i, j)], added, scale),
                        (
                            "L",
                            sum(&|l| f.lower[(i, l)] * f.lower[(j, l)]),
                            added,
                            scale,
                        ),
                        (
                            "U",
                            sum(&|l| f.upper[(i, l)] * f.upper[(j, l)]),
                            added,
                            scale,
                        ),
                        // the condition is below 1e5 here
                        (
                            "inverse",
                            sum(&|l| f.inverse[(i, l)] * m.cov[(l, j)]),
                            unit,
                            1e5,
                        ),
                    ] {
                        let off = (got - want).abs();
                        assert!(
                            off <= 1e-14 * size,
                            "{order} {epsilon} {what} {i} {j}: {off:e}"
                        );
                    }
                }
            }
            assert!((m.det / det - 1.0).abs() < 1e-13, "{order} {epsilon}");
            assert!((f.log_det - log).abs() < 1e-13 && (m.log_det - log).abs() < 1e-13);
        }
    }
}

/// Catches a slow mode whose digits are lost under strong friction: the velocity's memory is then
/// what is left of two terms ten thousand times its size, and so is the variance of x.
#[test]
fn the_slow_mode_keeps_its_digits() {
    for (mass, friction) in [(0.25, 1e4), (0.25, 100.0), (0.25, 4.0), (1.0, 2.5)] {
        let p = CldDamped::new(mass, friction).unwrap();
        for tau in [0.3, 2.0, 30.0] {
            let on = Span::from_zero(tau).unwrap();
            let (got, law) = (p.moments(on, 0.04), p.law(on, 0.04));
            for n in 0..4 {
                let (i, j) = (n / 2, n % 2);
                for (what, got, want) in [
                    ("mean", got.mean[(i, j)], law.mean[(i, j)].to_f64()),
                    ("cov", got.cov[(i, j)], law.cov[(i, j)].to_f64()),
                ] {
                    let off = (got - want).abs() / want.abs();
                    assert!(
                        off <= 1e-13,
                        "Gamma {friction} {tau}: {what} {i} {j} {off:e}"
                    );
                }
            }
        }
    }
}

/// Catches a logarithm of a chain's determinant that is read off the determinant where that is 1:
/// a chain of two is CLD, whose closed form goes another way.
#[test]
fn a_chain_forgets_as_cld_does() {
    let (chain, cld) = (Langevin::<2>::critical().unwrap(), Cld::new(1.0).unwrap());
    for tau in [5.0, 20.0, 50.0, 80.0] {
        let on = Span::from_zero(tau).unwrap();
        let of_chain = chain.log_det(on, 0.04, &chain.moments(on, 0.04));
        let of_cld = cld.log_det(on, 0.04, &cld.moments(on, 0.04));
        // means to 8 ulp, squared, times what they cancel by: less than 100
        assert!(
            (of_chain / of_cld - 1.0).abs() < 1e-12,
            "{tau}: {of_chain:e} {of_cld:e}"
        );
    }
}

/// Catches a singular covariance of five channels that is factored all the same: one noise for all
/// of them, which relax alike.
#[test]
fn five_channels_of_one_noise_have_no_kernel() {
    let drift = Mat::build(|i, j| if i == j { -0.7 } else { 0.0 });
    let v = [1.0, 1.0 / 3.0, 0.7, 1e-3, 12.0];
    let noise = Mat::build(|i, j| v[i] * v[j]);
    let schedule = Schedule::constant(1.0).unwrap();
    let one = Custom::<5>::new(drift, noise, 1.0).unwrap();
    let made = Kernel::new(&one, &schedule, Objective::DSM, 0.8);
    assert!(made.is_err(), "{made:?}");
    let own = Mat::build(|i, j| noise[(i, j)] + if i == j { 1e-3 } else { 0.0 });
    let five = Custom::<5>::new(drift, own, 1.0).unwrap();
    assert!(Kernel::new(&five, &schedule, Objective::DSM, 0.8).is_ok());
}

/// Catches a message with another number than the one that is refused.
#[test]
fn refusals_name_the_number() {
    let e = Schedule::linear(2.0, -1.0).unwrap().on(3.0).unwrap_err();
    assert!(e.to_string().contains("-1"), "{e}");
    let e = Schedule::linear(1.0, -3.5).unwrap_err();
    assert!(e.to_string().contains("-2.5"), "{e}");
    let e = Schedule::betas(&[0.5, 1.0]).unwrap_err();
    assert!(e.to_string().contains("`betas`"), "{e}");
}

/// Catches noise that is not drawn, not kept, or not the one that was used: `perturb_random` is
/// `perturb` with what it leaves behind, and that is standard normal.
#[test]
fn drawn_noise_is_kept() {
    let schedule = Schedule::constant(4.0).unwrap();
    let kernel = Kernel::new(&Cld::new(0.25).unwrap(), &schedule, Objective::DSM, 0.3).unwrap();
    let n = 4000;
    let x0: Vec<f64> = (0..n).map(|i| (i % 5) as f64).collect();
    let mut noise = [vec![0.0; n], vec![0.0; n]];
    let (mut out, mut again) = (noise.clone(), noise.clone());
    let mut rng = StdRng::seed_from_u64(7);
    let kept = noise.each_mut().map(|v| &mut v[..]);
    let to = out.each_mut().map(|v| &mut v[..]);
    kernel.perturb_random(&x0, &mut rng, kept, to).unwrap();
    let to = again.each_mut().map(|v| &mut v[..]);
    kernel
        .perturb(&x0, noise.each_ref().map(|v| &v[..]), to)
        .unwrap();
    assert_eq!(out, again);
    for channel in &noise {
        let mean = channel.iter().sum::<f64>() / n as f64;
        let square = channel.iter().map(|e| e * e).sum::<f64>() / n as f64;
        // a fixed seed; six standard errors, 1 and the root of 2 over the root of n
        let root = (n as f64).sqrt();
        assert!(mean.abs() < 6.0 / root && (square - 1.0).abs() < 8.5 / root);
    }
    assert!(noise[0] != noise[1]);
}
