//! The kernels against high-precision tables, and against the double-word route between the tables'
//! points.
//!
//! The tables are in `fixtures/truth/` (36 digits, made from the equations alone; see the README
//! there). How an error is measured, and against what where an entry crosses zero, is said in
//! `vectors::accuracy`.

use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::small::Mat;
use cld_sgm::internal::vectors::accuracy::{Bound, Line, MEASURED, Table, families, largest_terms};
use cld_sgm::internal::worst::{Worst, is_worse, worse};
use cld_sgm::kernel::{Kernel, KernelValues, Objective, kernel_values, perturb_batch};
use cld_sgm::process::{
    AnyProcess, Cld, CldDamped, CldPosition, Langevin, LinearSde, Psld, Reversed, erase,
};
use cld_sgm::schedule::Schedule;
use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/truth")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// All tables.
fn measured() -> Table {
    let mut table = Table::default();
    table.add(&text("kernels.json"), "kernels.json").unwrap();
    table.add(&text("extra.json"), "extra.json").unwrap();
    table
        .add(&text("schedules.json"), "schedules.json")
        .unwrap();
    table
}

/// Critical CLD (and its reversed part), VP, VE, sub-VP, the schedules: 8 ulp, the crate's promise.
/// Catches any cancelling form (1 - z without its low word, a determinant by subtraction), a late
/// rounding of tau, M and 1/M swapped; all of these are off by thousands of ulp somewhere between
/// t = 1e-12 and 1, M = 1e-4 and 1e4.
#[test]
fn closed_forms_are_within_8_ulp_of_the_tables() {
    let table = measured();
    // no row is skipped: every kernel in the tables exists in f64
    assert_eq!(table.refused, 0);
    assert!(
        table.rows > 3600 && table.values() > 74_000,
        "{} {}",
        table.rows,
        table.values()
    );
    let mut seen = 0;
    for line in table
        .lines
        .iter()
        .filter(|l| matches!(l.bound, Bound::Ulp(_)))
    {
        assert!(line.ulp <= 8.0, "{line:?}");
        assert!(line.values > 0, "{line:?}");
        seen += 1;
    }
    // 9 quantities for each of cld and sscs, 8 for vp and ve (no ell), 4 for sub-vp, 2 for
    // schedules
    assert_eq!(seen, 2 * 9 + 2 * 8 + 4 + 2);
}

/// General damping, PSLD, position noise, order n: 1e-13 relative, entry by entry. Catches the same
/// mistakes, and formulas that divide by the distance to critical damping.
#[test]
fn general_processes_are_within_1e_13_of_the_tables() {
    let table = measured();
    let lines: Vec<_> = table
        .lines
        .iter()
        .filter(|l| matches!(l.bound, Bound::Relative(_)))
        .collect();
    for line in &lines {
        assert!(line.relative <= 1e-13, "{line:?}");
    }
    // 9 quantities each; order 3 and 4 have no ell in the tables
    assert_eq!(lines.len(), 5 * 9 - 1);
    assert_eq!(families().len(), 11);
    assert!(table.lines.iter().all(|l| MEASURED.contains(&l.quantity)));
}

/// The measure itself: a table with one value wrong in its 15th digit is off in that line alone,
/// and so is one with noise where an entry vanishes (what a table made with too few digits has at
/// late times). Catches a comparison that compares nothing, one that takes what is small for
/// nothing, and a table that is kept by having no rows, no values, values of a field that nobody
/// reads, or of no time.
#[test]
fn the_measure_sees_a_wrong_value() {
    let whole = text("kernels.json");
    // the ell of the first row, 7.0710678118796...e5
    let wrong = whole.replacen("\"7.07106781187961745", "\"7.07106781187962745", 1);
    assert_ne!(whole, wrong);
    let off = |text: &str| {
        let mut t = Table::default();
        t.add(text, "table").unwrap();
        t.lines
            .iter()
            .filter(|l| !l.kept())
            .map(|l| format!("{}: {}", l.family, l.quantity))
            .collect::<Vec<_>>()
    };
    assert_eq!(off(&whole), Vec::<String>::new());
    assert_eq!(off(&wrong), ["cld, critical: ell"]);
    // S_xv and factor of M = 1e-4 at t = 1, right: 1e-344
    let noise = whole.replace(
        "\"1.17371986693688237885986351790757494e-344\"",
        "\"1.17371986693688237885986351790757494e-65\"",
    );
    assert_ne!(noise, whole);
    assert_eq!(
        off(&noise),
        ["cov", "chol_lower"].map(|q| format!("cld, critical: {q}"))
    );
    for bad in [
        "{}",
        "[]",
        "",
        "{\"schema\": \"cld-truth/2\"}",
        "{\"schema\": \"cld-truth/1\", \"cases\": [{}]}",
    ] {
        assert!(Table::default().add(bad, "bad").is_err());
    }
    assert!(!Table::default().kept(), "nothing was measured");
    assert!(
        Table::default()
            .add(&wrong.replacen("\"7.07106781187962745", "\"NaN", 1), "bad")
            .is_err()
    );
    let json: serde_json::Value = serde_json::from_str(&text("schedules.json")).unwrap();
    let kernels: serde_json::Value = serde_json::from_str(&whole).unwrap();
    for (table, path, value, named) in [
        (&kernels, "/cases", serde_json::json!([]), "cases"),
        (&kernels, "/cases/0/rows", serde_json::json!([]), "rows"),
        (
            &kernels,
            "/cases/0/rows/0/ell",
            serde_json::json!([]),
            "ell",
        ),
        (
            &kernels,
            "/cases/0/rows/0/cov",
            serde_json::json!([["1.0"]]),
            "cov",
        ),
        (&kernels, "/cases/0/rows/0/t", serde_json::json!(0.0), "t"),
        (&kernels, "/cases/0/rows/0/t", serde_json::json!(2.0), "t"),
        (&kernels, "/cases/0/rows/0/t", serde_json::json!("NaN"), "t"),
        (&json, "/cases", serde_json::json!([]), "cases"),
        (&json, "/cases/0/rows", serde_json::json!([]), "rows"),
    ] {
        let mut bad = table.clone();
        *bad.pointer_mut(path).unwrap() = value;
        let said = Table::default()
            .add(&bad.to_string(), "bad")
            .expect_err(path)
            .to_string();
        assert!(said.contains(named), "{path}: {said}");
    }
    let mut unknown = kernels.clone();
    unknown
        .pointer_mut("/cases/0/rows/0")
        .unwrap()
        .as_object_mut()
        .unwrap()
        .insert("covariance".into(), serde_json::json!("NaN"));
    assert!(
        Table::default()
            .add(&unknown.to_string(), "bad")
            .unwrap_err()
            .to_string()
            .contains("covariance")
    );
}

/// Catches a promise that is kept by no values, by NaN or by an infinite bound.
#[test]
fn no_promise_is_kept_by_nothing() {
    let line = |bound: Bound, error: f64, values: usize| {
        let (family, quantity, left_out, at) = ("vp", "cov", 0, String::new());
        Line {
            family,
            quantity,
            bound,
            values,
            left_out,
            ulp: error,
            relative: error,
            own: error,
            at,
        }
        .kept()
    };
    for bound in [Bound::Ulp(8.0), Bound::Relative(8.0)] {
        assert!(line(bound, 8.0, 1) && !line(bound, 8.1, 1) && !line(bound, 0.0, 0));
        assert!(!line(bound, f64::NAN, 1) && !line(bound, f64::INFINITY, 1));
    }
    assert!(!line(Bound::Ulp(f64::INFINITY), 0.0, 1) && !line(Bound::Relative(f64::NAN), 0.0, 1));
}

/// A number whose logarithm is uniform.
fn log_uniform(rng: &mut StdRng, low: f64, high: f64) -> f64 {
    (rng.random::<f64>() * (high / low).ln() + low.ln())
        .exp()
        .clamp(low, high)
}

fn schedules() -> [Schedule; 3] {
    [
        Schedule::constant(4.0).unwrap(),
        Schedule::linear(0.1, 19.9).unwrap(),
        Schedule::cosine(0.008, 0.9946).unwrap(),
    ]
}

/// Distance in ulp of f64.
fn ulps(got: f64, truth: Dd, term: f64) -> f64 {
    let size = worse(truth.hi.abs(), term);
    (Dd::from(got) - truth).to_f64().abs() / (size.next_up() - size)
}

/// The tables hold few masses and times; here 20,000 of them, against the generic route from drift
/// and noise (doubling in double words, which the tables hold to 1 ulp for orders 3 and 4, and
/// which shares no formula with the closed form). Catches an error between the tables' points: at
/// the switch of P3's two forms (y = 2.5), at z = 1, at z = 350. Largest term of xv, as in the
/// closed form: that of `gamma z`, `2 z^2`, `gamma z^2`. The mean is held to 8 ulp of itself even
/// where `1 - z` crosses zero: z is a double word, and dropping its low word costs `1/|1 - z|` ulp.
#[test]
fn critical_cld_agrees_with_doubling_everywhere() {
    let mut rng = StdRng::seed_from_u64(20_211_207);
    let (mut compared, mut worst, mut crossed) = (0, (0.0, String::new()), 0);
    for n in 0..20_000 {
        let mass = log_uniform(&mut rng, 1e-4, 1e4);
        // half of the times log-uniform, half uniform: the late ones are where entries cross zero
        let t = if n % 2 == 0 {
            log_uniform(&mut rng, 1e-12, 1.0)
        } else {
            rng.random_range(1e-3..=1.0)
        };
        let gamma = if n % 3 == 0 {
            0.0
        } else {
            log_uniform(&mut rng, 1e-6, 4.0)
        };
        let schedule = &schedules()[n % 3];
        let process = Cld::new(mass).unwrap();
        let objective = if gamma == 0.0 {
            Objective::DSM
        } else {
            Objective::hsm(gamma).unwrap()
        };
        let kernel = Kernel::new(&process, schedule, objective, t).unwrap();
        let span = schedule.span(0.0, t).unwrap();
        let law = process.law(span, gamma);
        // det by Cauchy and Binet from the roots of both parts, everything else from it, in double
        // words
        let column = |m: &cld_sgm::internal::small::Mat<2, Dd>, j: usize| [m[(0, j)], m[(1, j)]];
        let roots = [
            column(&law.noise_factor, 0),
            column(&law.noise_factor, 1),
            column(&law.initial_factor, 1),
        ];
        let minor = |i: usize, j: usize| roots[i][0] * roots[j][1] - roots[i][1] * roots[j][0];
        let det = [minor(0, 1), minor(0, 2), minor(1, 2)]
            .iter()
            .fold(Dd::ZERO, |s, m| s + *m * *m);
        let (xx, xv, vv) = (law.cov[(0, 0)], law.cov[(0, 1)], law.cov[(1, 1)]);
        let (low, up, root_det) = (xx.sqrt(), vv.sqrt(), det.sqrt());
        let z = span.tau.hi / mass.sqrt();
        let (e, root) = ((-z).exp(), mass.sqrt());
        let xv_term = root * e * e * z * worse(worse(gamma, 2.0 * z), gamma * z);
        let mut check = |what: &str, got: f64, truth: Dd, term: f64| {
            assert!(got.is_finite(), "{what} t={t:e} M={mass:e}");
            // below 1e-300 the low words of the oracle underflow; the tables hold what is there
            if truth.hi.abs() < 1e-300 {
                assert!(
                    got.abs() < 1.1e-300,
                    "{what} t={t:e} M={mass:e} gamma={gamma} {got:e} {truth:?}"
                );
                return;
            }
            compared += 1;
            crossed += usize::from(term > 4.0 * truth.hi.abs());
            let u = ulps(got, truth, term);
            if is_worse(u, worst.0) {
                worst = (
                    u,
                    format!(
                        "{what} t={t:e} M={mass:e} gamma={gamma} {} {got:e} {truth:?}",
                        schedule.name()
                    ),
                );
            }
        };
        for (i, j, what) in [
            (0, 0, "mean xx"),
            (0, 1, "mean xv"),
            (1, 0, "mean vx"),
            (1, 1, "mean vv"),
        ] {
            check(what, kernel.mean()[(i, j)], law.mean[(i, j)], 0.0);
        }
        for (i, j, what) in [(0, 0, "cov xx"), (0, 1, "cov xv"), (1, 1, "cov vv")] {
            check(
                what,
                kernel.cov()[(i, j)],
                law.cov[(i, j)],
                if i != j { xv_term } else { 0.0 },
            );
        }
        check("lower xx", kernel.lower()[(0, 0)], low, 0.0);
        check(
            "lower vx",
            kernel.lower()[(1, 0)],
            xv / low,
            xv_term / low.hi,
        );
        check("lower vv", kernel.lower()[(1, 1)], root_det / low, 0.0);
        check("upper xx", kernel.upper()[(0, 0)], root_det / up, 0.0);
        check("upper xv", kernel.upper()[(0, 1)], xv / up, xv_term / up.hi);
        check("upper vv", kernel.upper()[(1, 1)], up, 0.0);
        check("inverse xx", kernel.inverse()[(0, 0)], vv / det, 0.0);
        check(
            "inverse xv",
            kernel.inverse()[(0, 1)],
            -xv / det,
            xv_term / det.hi,
        );
        check("inverse vv", kernel.inverse()[(1, 1)], xx / det, 0.0);
        check("det", kernel.det(), det, 0.0);
        check("ell", kernel.ell(), low / root_det, 0.0);
        check("logdet", kernel.log_det(), det.ln(), 1.0);
    }
    println!(
        "{:.2} ulp: {}; {compared} values, {crossed} near a zero",
        worst.0, worst.1
    );
    assert!(worst.0 <= 8.0, "{} ulp: {}", worst.0, worst.1);
    assert!(compared > 300_000 && crossed > 100, "{compared} {crossed}");
}

/// Worst relative error of a kernel against doubling in double words, entries against their largest
/// terms. Below 1e-306 the double words themselves have no 13 digits left.
fn compare<P: LinearSde<2> + Copy + Send + Sync + 'static>(
    p: P,
    gamma: f64,
    schedule: &Schedule,
    t: f64,
    say: &str,
) -> (f64, String) {
    let objective = if gamma == 0.0 {
        Objective::DSM
    } else {
        Objective::hsm(gamma).unwrap()
    };
    let kernel = Kernel::new(&p, schedule, objective, t).unwrap();
    let span = schedule.span(0.0, t).unwrap();
    let law = p.law(span, gamma);
    let m = law.moments();
    let f = m.factors.unwrap();
    let v = Dd::from(gamma) * p.mass_dd();
    let initial = Mat([[Dd::ZERO, Dd::ZERO], [Dd::ZERO, v]]);
    let matrices = [p.drift_dd(), p.noise_dd(), initial];
    let (mean, cov) = largest_terms(&matrices, p.stationary().as_ref(), span.tau);
    let mut worst = (0.0, String::new());
    let mut check = |what: &str, got: f64, truth: Dd, term: f64| {
        assert!(got.is_finite(), "{what} t={t:e} {say}");
        if truth.hi.abs() < 1e-306 {
            return;
        }
        let relative = (Dd::from(got) - truth).to_f64().abs() / worse(truth.hi.abs(), term);
        if is_worse(relative, worst.0) {
            worst = (
                relative,
                format!(
                    "{what} t={t:e} {say} gamma={gamma} {} {got:e} {truth:?}",
                    schedule.name()
                ),
            );
        }
    };
    for i in 0..4 {
        let (r, c) = (i / 2, i % 2);
        let off = r != c;
        check(
            ["mean xx", "mean xv", "mean vx", "mean vv"][i],
            kernel.mean()[(r, c)],
            law.mean[(r, c)],
            mean[(r, c)],
        );
        check(
            ["cov xx", "cov xv", "cov vx", "cov vv"][i],
            kernel.cov()[(r, c)],
            law.cov[(r, c)],
            if off { cov[(r, c)] } else { 0.0 },
        );
        let term = |divisor: f64| if off { cov[(r, c)] / divisor } else { 0.0 };
        let (l, u) = (Dd::from(f.lower[(r, c)]), Dd::from(f.upper[(r, c)]));
        check(
            "lower",
            kernel.lower()[(r, c)],
            l,
            if r > c { term(f.lower[(0, 0)]) } else { 0.0 },
        );
        check(
            "upper",
            kernel.upper()[(r, c)],
            u,
            if c > r { term(f.upper[(1, 1)]) } else { 0.0 },
        );
        check(
            "inverse",
            kernel.inverse()[(r, c)],
            Dd::from(f.inverse[(r, c)]),
            term(m.det),
        );
    }
    check("det", kernel.det(), Dd::from(m.det), 0.0);
    check("ell", kernel.ell(), Dd::from(1.0 / f.lower[(1, 1)]), 0.0);
    check("logdet", kernel.log_det(), Dd::from(f.log_det), 1.0);
    worst
}

/// The same for the other closed forms, at 1e-13: damping from 1e-3 to 1e3 times critical,
/// frictions and noises of all sizes. Catches a loss of digits between the tables' points, as in
/// the slow mode of overdamped means, where a difference `1 - (1 - e^-2dt)` once cost five digits.
#[test]
fn other_closed_forms_agree_with_doubling_everywhere() {
    let mut rng = StdRng::seed_from_u64(20_230_303);
    let mut worst: Vec<(f64, String)> = vec![(0.0, String::new()); 4];
    for n in 0..6_000 {
        let t = if n % 2 == 0 {
            log_uniform(&mut rng, 1e-12, 1.0)
        } else {
            rng.random_range(1e-3..=1.0)
        };
        let gamma = if n % 3 == 0 {
            0.0
        } else {
            log_uniform(&mut rng, 1e-6, 4.0)
        };
        let schedule = &schedules()[n % 3];
        let mass = log_uniform(&mut rng, 1e-4, 1e4);
        let friction = 2.0 * mass.sqrt() * log_uniform(&mut rng, 1e-3, 1e3);
        let damped = CldDamped::new(mass, friction).unwrap();
        // PSLD: the mass is 4 / (nu - Gamma)^2
        let (nu, x) = (
            log_uniform(&mut rng, 1e-1, 1e2),
            log_uniform(&mut rng, 1e-4, 1e1),
        );
        let position = (
            log_uniform(&mut rng, 1e-1, 3e1),
            log_uniform(&mut rng, 1e-6, 1e1),
            log_uniform(&mut rng, 1e-1, 1e1),
        );
        let found = [
            compare(
                damped,
                gamma,
                schedule,
                t,
                &format!("M={mass:e} Gamma={friction:e}"),
            ),
            compare(
                Reversed::new(damped).unwrap(),
                0.0,
                schedule,
                t,
                &format!("reversed, M={mass:e} Gamma={friction:e}"),
            ),
            compare(
                Psld::new(x, nu).unwrap(),
                gamma,
                schedule,
                t,
                &format!("Gamma={x:e} nu={nu:e}"),
            ),
            compare(
                CldPosition::new(position.0, position.1, position.2).unwrap(),
                gamma,
                schedule,
                t,
                &format!("{position:?}"),
            ),
        ];
        for (w, f) in worst.iter_mut().zip(found) {
            if is_worse(f.0, w.0) {
                *w = f;
            }
        }
    }
    println!("{worst:#?}");
    assert!(worst.iter().all(|w| w.0 <= 1e-13), "{worst:#?}");
}

/// Late times, where entries vanish exponentially but are still normal numbers: `e^-2z` down to
/// 1e-306 at z = 340 to 352, and `e^-z` at z = 690 to 710. Catches a closed form that puts 0 there
/// because `e^-y` alone would underflow.
#[test]
fn entries_that_vanish_stay_right() {
    let (mut all, mut worst) = (0, (0.0, String::new()));
    for z in (0..30)
        .map(|i| 340.0 + 0.41 * f64::from(i))
        .chain((0..40).map(|i| 690.0 + 0.5 * f64::from(i)))
    {
        for gamma in [0.0, 0.04, 3.0] {
            let at = |rate: f64| Schedule::constant(z / rate).unwrap();
            let (cld, under, over) = (
                Cld::new(0.25).unwrap(),
                CldDamped::new(0.25, 0.5).unwrap(),
                CldDamped::new(0.25, 2.0).unwrap(),
            );
            // slowest rates: 1/sqrt(M); Gamma/2M; Gamma/2M - sqrt((Gamma/2M)^2 - 1/M); (Gamma +
            // nu)/4; a
            let found = [
                compare(cld, gamma, &at(2.0), 1.0, "critical"),
                compare(under, gamma, &at(1.0), 1.0, "under"),
                compare(over, gamma, &at(4.0 - 12f64.sqrt()), 1.0, "over"),
                compare(Psld::new(0.5, 3.5).unwrap(), gamma, &at(1.0), 1.0, "psld"),
                compare(
                    CldPosition::new(2.0, 0.0, 1.5).unwrap(),
                    gamma,
                    &at(2.0),
                    1.0,
                    "position, no noise in x",
                ),
                compare(
                    CldPosition::new(2.0, 0.3, 1.5).unwrap(),
                    gamma,
                    &at(2.0),
                    1.0,
                    "position",
                ),
            ];
            for f in found {
                all += 1;
                if is_worse(f.0, worst.0) {
                    worst = f;
                }
            }
        }
    }
    println!("{worst:?}");
    assert!(worst.0 <= 1e-13 && all == 70 * 3 * 6, "{all} {worst:?}");
}

/// Wherever a kernel is built, all of its values are finite, for parameters far outside the
/// promised range as well. Catches overflow in an intermediate (0 * inf at late times, 1 /
/// underflow at early ones) and a constructor that lets through what it cannot hold.
#[test]
fn every_kernel_that_exists_is_finite() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut built, mut refused) = (0, 0);
    for n in 0..20_000 {
        let mut draw = |low: f64, high: f64| log_uniform(&mut rng, low, high);
        let (mass, t, gamma) = (draw(1e-12, 1e12), draw(1e-12, 1.0), draw(1e-6, 1e3));
        let schedule = match n % 4 {
            0 => Schedule::constant(draw(1e-90, 1e6)),
            1 => Schedule::linear(0.1, draw(1e-3, 1e6)),
            2 => Schedule::cosine(0.008, 0.9999),
            _ => Schedule::linear(20.0, -20.0),
        };
        let process: Box<dyn AnyProcess> = match n % 7 {
            0..3 => erase(Cld::new(mass).unwrap()),
            3 => erase(CldDamped::new(mass, draw(1e-12, 1e12)).unwrap()),
            4 => erase(Psld::new(draw(1e-6, 1e3), 1e3 + draw(1e-6, 1e3)).unwrap()),
            5 => {
                erase(CldPosition::new(draw(1e-6, 1e6), draw(1e-6, 1e6), draw(1e-6, 1e6)).unwrap())
            }
            _ => erase(Langevin::<3>::critical().unwrap()),
        }
        .unwrap();
        let objective = if n % 2 == 0 {
            Objective::DSM
        } else {
            Objective::hsm(gamma).unwrap()
        };
        let Ok(v) = kernel_values(&*process, &schedule.unwrap(), objective, 0.0, t) else {
            refused += 1;
            continue;
        };
        built += 1;
        let KernelValues {
            mean,
            cov,
            chol_lower,
            chol_upper,
            inv,
            inverse_transpose_lower,
            inverse_transpose_upper,
            ..
        } = &v;
        let all = [
            mean,
            cov,
            chol_lower,
            chol_upper,
            inv,
            inverse_transpose_lower,
            inverse_transpose_upper,
        ];
        let scalars = [v.det, v.logdet, v.ell, v.snr, v.snr_joint];
        assert!(
            all.iter()
                .flat_map(|m| m.as_slice())
                .chain(&scalars)
                .all(|x| x.is_finite()),
            "{} M={mass:e} t={t:e} {v:?}",
            process.name()
        );
        assert!(
            v.det > 0.0 && (0..v.k).all(|i| chol_lower[(i, i)] > 0.0 && chol_upper[(i, i)] > 0.0),
            "{v:?}"
        );
    }
    println!("{built} built, {refused} refused");
    // one in four has rates down to 1e-90, of which the lower third has no determinant in f64
    assert!(built > 15_000 && refused > 500, "{built} {refused}");
}

/// Distance in ulp of f32.
fn ulps32(got: f32, truth: f64) -> f64 {
    let size = (truth.abs() as f32).max(f32::MIN_POSITIVE);
    (f64::from(got) - truth).abs() / f64::from(size.next_up() - size)
}

/// f32 batches: within 4 ulp of f32 of the double-word result for the same inputs. The crate
/// computes in f64 and rounds once, which is 0.5 ulp; what cancels between mean and noise is lost
/// in f64 already, at most 8 ulp of f64 of the largest of three terms. Catches arithmetic in f32 (a
/// sum that cancels is then off by any number of ulp), a kernel built from a time rounded to f32,
/// rows that get another row's time, the upper factor.
#[test]
fn f32_batches_are_within_4_ulp_of_f32() {
    let mut rng = StdRng::seed_from_u64(4);
    let (rows, dim) = (60, 40);
    let mut worst = Worst::NONE;
    for mass in [1e-4, 0.25, 1.0, 1e4] {
        for (objective, gamma) in [(Objective::DSM, 0.0), (Objective::hsm(0.04).unwrap(), 0.04)] {
            for schedule in &schedules() {
                let process = Cld::new(mass).unwrap();
                let mut t: Vec<f64> = (0..rows - 2)
                    .map(|_| log_uniform(&mut rng, 1e-12, 1.0))
                    .collect();
                t.extend([1e-12, 1.0]);
                let mut normals =
                    || Array2::from_shape_fn((rows, dim), |_| rng.sample::<f32, _>(StandardNormal));
                let (x0, v0, noise) = (normals(), normals(), [normals(), normals()]);
                // HSM: data only; DSM: all channels
                let u0 = if gamma > 0.0 {
                    vec![x0.view()]
                } else {
                    vec![x0.view(), v0.view()]
                };
                let batch = perturb_batch(
                    &process,
                    schedule,
                    objective,
                    &t,
                    &u0,
                    &[noise[0].view(), noise[1].view()],
                )
                .unwrap();
                for r in 0..rows {
                    let law = process.law(schedule.span(0.0, t[r]).unwrap(), gamma);
                    let lower = law.moments().factors.unwrap().lower;
                    let kernel = Kernel::new(&process, schedule, objective, t[r]).unwrap();
                    let row = |a: &Array2<f32>| a.row(r).to_vec();
                    let (x, e) = (row(&x0), [row(&noise[0]), row(&noise[1])]);
                    let mut out = [vec![0.0f32; dim], vec![0.0f32; dim]];
                    let [a, b] = &mut out;
                    kernel.perturb(&x, [&e[0], &e[1]], [a, b]).unwrap();
                    for c in 0..dim {
                        let data = [f64::from(x[c]), f64::from(v0[(r, c)])];
                        for i in 0..2 {
                            let terms = |columns: usize| -> Vec<Dd> {
                                let mean =
                                    (0..columns).map(|j| law.mean[(i, j)] * Dd::from(data[j]));
                                mean.chain(
                                    (0..=i).map(|j| Dd::prod(lower[(i, j)], f64::from(e[j][c]))),
                                )
                                .collect()
                            };
                            let mut check = |got: f32, terms: Vec<Dd>| {
                                let truth = terms.iter().fold(Dd::ZERO, |s, x| s + *x).to_f64();
                                let largest =
                                    terms.iter().fold(0.0, |s: f64, x| worse(s, x.hi.abs()));
                                let f64_share = 3.0 * 8.0 * f64::EPSILON * largest;
                                let size = (truth.abs() as f32).max(f32::MIN_POSITIVE);
                                let u = ulps32(got, truth);
                                assert!(
                                    u <= 4.0 + f64_share / f64::from(size.next_up() - size),
                                    "{u}: {i} t={:e} M={mass:e} {got} {truth}",
                                    t[r]
                                );
                                worst.see(u);
                            };
                            check(batch[i][(r, c)], terms(u0.len()));
                            check(out[i][c], terms(1));
                        }
                    }
                }
            }
        }
    }
    // the same inputs in f64 are rounded nowhere: f32's result is its rounding, and the worst is
    // near one half
    println!("{:.3} ulp of f32", worst.value());
    assert!(worst.value() > 0.4 && worst.within(1.0), "{worst}");
}

fn cld(args: &[&str], folder: &Path) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_cld"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
    (
        out.status.code().unwrap(),
        text(out.stdout),
        text(out.stderr),
    )
}

/// A table line as (text columns, figures).
fn columns(line: &str) -> Option<(Vec<String>, Vec<f64>)> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
    let figures = cells
        .get(5..8)?
        .iter()
        .map(|x| x.parse().ok())
        .collect::<Option<Vec<f64>>>()?;
    Some((
        cells[..5].iter().map(|c| (*c).to_string()).collect(),
        figures,
    ))
}

/// `docs/reference/accuracy.md` is what `cld accuracy --markdown` prints. Text, lines and counts
/// must agree exactly; the measured figures, whose last digits depend on the system's mathematical
/// functions, to within 1.5 ulp (3.4e-16 relative) and a factor of two, and their places not at
/// all. Catches a document that has rotted.
#[test]
fn the_document_is_what_the_command_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, printed, errors) = cld(&["accuracy", "--markdown"], root);
    assert_eq!((code, errors.as_str()), (0, ""));
    let written = std::fs::read_to_string(root.join("docs/reference/accuracy.md")).unwrap();
    assert_eq!(printed.lines().count(), written.lines().count());
    let mut figures = 0;
    for (p, w) in printed.lines().zip(written.lines()) {
        match (columns(p), columns(w)) {
            (Some((a, x)), Some((b, y))) => {
                assert_eq!(a, b);
                for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                    let slack = if i == 0 { 1.5 } else { 3.4e-16 };
                    assert!(*x <= 2.0 * y + slack && *y <= 2.0 * x + slack, "{p}\n{w}");
                    figures += 1;
                }
            }
            _ => assert_eq!(p, w),
        }
    }
    assert!(figures > 200, "{figures}");
}

/// The command: files given, one after another; JSON; a clear refusal where there is no table.
/// Catches a default that depends on where the program was built.
#[test]
fn the_command_reads_given_files() {
    let empty = tempfile::tempdir().unwrap();
    let (code, out, errors) = cld(&["accuracy"], empty.path());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        errors.contains("fixtures/truth") && errors.lines().count() == 1,
        "{errors}"
    );
    let files = ["kernels.json", "schedules.json"].map(|f| path(f).display().to_string());
    let (code, out, _) = cld(&["accuracy", "--json", &files[0], &files[1]], empty.path());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        code == 0 && json["rows"].as_u64() > Some(1309),
        "{code} {}",
        json["rows"]
    );
    // a table that disagrees: exit code 1
    let wrong = empty.path().join("wrong.json");
    std::fs::write(
        &wrong,
        text("kernels.json").replacen("\"7.07106781187961745", "\"7.07106781187962745", 1),
    )
    .unwrap();
    assert_eq!(
        cld(&["accuracy", wrong.to_str().unwrap()], empty.path()).0,
        1
    );
    let (code, out, _) = cld(
        &["accuracy", &path("schedules.json").display().to_string()],
        empty.path(),
    );
    assert!(code == 0 && out.contains("Every promise is kept"), "{out}");
}
