//! The figures of docs/reference/paper-checked.md.

use cld_sgm::{Cld, CldDamped, Kernel, Objective, Schedule, Vp};

const MASS: f64 = 0.25;
const BETA: f64 = 4.0;

fn paper(t: f64, objective: Objective) -> Kernel<2> {
    Kernel::new(
        &Cld::new(MASS).unwrap(),
        &Schedule::constant(BETA).unwrap(),
        objective,
        t,
    )
    .unwrap()
}

/// Catches an `ell_t` of HSM that levels off (an added constant, or a variance of v in place of the
/// one given x), and one whose limit depends on gamma or has another constant. The next term is of
/// relative size tau/(gamma ...): at t = 1e-9 below 1e-7 for all gammas here.
#[test]
fn ell_diverges_for_either_objective() {
    for gamma in [0.04, 0.25, 1.0] {
        for (t, within) in [(1e-6, 1e-4), (1e-9, 1e-7)] {
            let found =
                paper(t, Objective::hsm(gamma).unwrap()).ell().powi(2) * 2.0 * (BETA * t) / 3.0;
            assert!(
                (found - 1.0).abs() < within,
                "gamma {gamma}, t {t}: {found}"
            );
        }
    }
    // without an initial velocity: four times HSM's 1/2, for Gamma = 1
    let found = paper(1e-9, Objective::DSM).ell().powi(2) * (BETA * 1e-9) / 2.0;
    assert!((found - 1.0).abs() < 1e-6, "{found}");
}

/// Catches a page that says otherwise of the constant than what it does: `ell` with eps on both
/// variances, and the time from which on it rules.
#[test]
fn an_added_constant_takes_over() {
    for (eps, t, change) in [
        (1e-9, 1e-5, -0.94),
        (1e-9, 1e-4, -0.36),
        (1e-6, 1e-4, -0.84),
        (1e-6, 1e-3, -0.36),
        (1e-6, 1e-2, -0.0016),
    ] {
        let k = paper(t, Objective::hsm(0.04).unwrap());
        let c = k.cov();
        let (xx, xv, vv) = (c[(0, 0)] + eps, c[(0, 1)], c[(1, 1)] + eps);
        let found = (xx / (xx * vv - xv * xv)).sqrt() / k.ell() - 1.0;
        // the page has two digits
        assert!(
            (found / change - 1.0).abs() < 0.02,
            "eps {eps}, t {t}: {found}, the page says {change}"
        );
    }
    for eps in [1e-9, 1e-6] {
        let tau = (3.0 * eps * MASS * MASS / 2.0f64).cbrt();
        let alone = paper(tau / BETA, Objective::hsm(1e-12).unwrap()).cov()[(0, 0)];
        // the next term of S_xx is of relative size tau Gamma/M, 2 % at most here
        assert!((alone / eps - 1.0).abs() < 0.02, "eps {eps}: {alone}");
    }
}

/// Catches another friction than the critical one being called the fastest: the largest entry of
/// the mean at t = 1, in units in which the prior is the identity.
#[test]
fn critical_damping_decays_fastest() {
    let largest = |friction: f64| {
        let process = CldDamped::new(MASS, friction).unwrap();
        let k = Kernel::new(
            &process,
            &Schedule::constant(BETA).unwrap(),
            Objective::hsm(0.04).unwrap(),
            1.0,
        )
        .unwrap();
        let (m, root) = (k.mean(), MASS.sqrt());
        [m[(0, 0)], m[(0, 1)] * root, m[(1, 0)] / root, m[(1, 1)]]
            .into_iter()
            .fold(0.0f64, |a, x| a.max(x.abs()))
    };
    let found = [0.5, 1.0, 2.0].map(largest);
    println!("{found:?}");
    assert!(
        found[1] < 0.25 * found[0] && found[1] < 0.1 * found[2],
        "{found:?}"
    );
}

/// Catches a wrong rate of the limit (beta/Gamma or 4 beta/Gamma would leave an error of order 0),
/// and another order than 2: each doubling of the friction divides the difference to VP by 4, to
/// the next term's 4 M/Gamma^2 or so.
#[test]
fn strong_friction_is_vp() {
    let vp = Kernel::new(&Vp, &Schedule::constant(4.0).unwrap(), Objective::DSM, 1.0).unwrap();
    let differences = |friction: f64| {
        let process = CldDamped::new(MASS, friction).unwrap();
        let k = Kernel::new(
            &process,
            &Schedule::constant(2.0 * friction).unwrap(),
            Objective::hsm(1.0).unwrap(),
            1.0,
        )
        .unwrap();
        [
            k.mean()[(0, 0)] - vp.mean()[(0, 0)],
            k.cov()[(0, 0)] - vp.cov()[(0, 0)],
        ]
    };
    for friction in [16.0, 64.0, 256.0] {
        let (one, two) = (differences(friction), differences(2.0 * friction));
        for i in 0..2 {
            let order = (one[i] / two[i]).log2();
            assert!(
                (order - 2.0).abs() < 0.01,
                "Gamma {friction}: order {order}, {one:?}, {two:?}"
            );
        }
    }
    assert!((differences(4.0)[0] + 2.1e-3).abs() < 1e-4);
}

/// Catches a page that says other digits of the printed formula than it has:
/// `S_xx = (e^y - 1 - y - y^2/2) e^-y` in f64 and in f32. What is left of numbers near 1 is
/// `y^3/6`, so the error is a unit of rounding over it: four of them for the four roundings; and
/// where that is above one there is no digit, in f32 at t = 1e-4.
#[test]
fn printed_formulas_lose_digits() {
    for (t, relative) in [
        (1e-1, 6e-16),
        (1e-2, 6e-14),
        (1e-3, 1e-10),
        (1e-4, 1e-7),
        (1e-5, 3e-5),
    ] {
        let right = paper(t, Objective::DSM).cov()[(0, 0)];
        let y = 4.0 * BETA * t;
        let printed = (y.exp() - 1.0 - y - y * y / 2.0) * (-y).exp();
        let f = y as f32;
        let single = f64::from((f.exp() - 1.0 - f - f * f / 2.0) * (-f).exp());
        let [double, single] = [printed, single].map(|x| (x / right - 1.0).abs());
        let rounding = |u: f64| 4.0 * u * (1.0 + 6.0 / (y * y * y));
        assert!(double <= rounding(f64::EPSILON / 2.0), "t {t}: {double}");
        assert!(
            single <= 2.0 * rounding(f64::from(f32::EPSILON) / 2.0),
            "t {t}: {single}"
        );
        // the page has the power of ten; the last bits of exp are the system's
        assert!(
            double < 10.0 * relative && (t > 2e-3 || double > 0.03 * relative),
            "t {t}: {double}, the page says {relative}"
        );
        assert!((single > 1.0) == (t < 5e-4), "t {t}: {single}");
    }
}
