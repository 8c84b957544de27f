//! Every constructor refuses what it cannot use, with an error that names the field, the value and
//! what is allowed; and takes the ends of its ranges. Each row catches a check that is missing,
//! inverted, off at its end, or worded for another field (NaN above all, which passes every
//! comparison written the wrong way round).

use cld_sgm::error::Error;
use cld_sgm::internal::small::Mat;
use cld_sgm::internal::worst::largest;
use cld_sgm::kernel::{Kernel, Objective, kernel_values, perturb_batch};
use cld_sgm::process::{
    Cld, CldDamped, CldPosition, Custom, Langevin, LinearSde, Moments, Params, Psld, Reversed,
    SubVp, Value, Ve, Vp, entry,
};
use cld_sgm::schedule::{Schedule, Span};
use ndarray::Array2;
use std::fmt::{Debug, Display};

const NEVER: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// The error of `r` names the field, shows the value and says what is allowed.
fn refused<T: Debug>(r: Result<T, Error>, field: &str, value: impl Display, allowed: &str) {
    let what = format!("{field} = {value}");
    let e = r.map(|_| ()).expect_err(&what).to_string();
    assert!(
        e.contains(&format!("`{field}`")),
        "{what}: the field is not named: {e}"
    );
    let plain = value.to_string();
    // what would take hundreds of digits is shown with its exponent
    let exponent = plain
        .parse::<f64>()
        .map_or(String::new(), |x| format!("is {x:e};"));
    let long = plain.len() > 24 && e.contains(&exponent);
    assert!(
        long || e.contains(&format!("is {value}")) || e.contains(&format!("shape {value}")),
        "{what}: the value is not shown: {e}"
    );
    let (_, says) = e
        .split_once("allowed: ")
        .unwrap_or_else(|| panic!("{what}: nothing is said to be allowed: {e}"));
    assert!(
        says.contains(allowed),
        "{what}: allowed is `{says}`, not `{allowed}`"
    );
}

/// One number: refused at each of `bad` and at NaN and the infinities, taken at each of `good`.
fn number<T: Debug>(
    field: &str,
    build: impl Fn(f64) -> Result<T, Error>,
    bad: &[f64],
    good: &[f64],
    allowed: &str,
) {
    for &x in bad.iter().chain(&NEVER) {
        refused(build(x), field, x, allowed);
    }
    for &x in good {
        assert!(
            build(x).is_ok(),
            "{field} = {x} should be allowed: {:?}",
            build(x)
        );
    }
}

#[test]
fn processes() {
    let mass = [0.0, -0.0, -1.0, 9.9e-13, 1.1e12];
    let ends = [1e-12, 0.25, 1e12];
    number("mass", Cld::new, &mass, &ends, "1e-12 <= mass <= 1e12");
    number(
        "mass",
        |m| CldDamped::new(m, 1.0),
        &mass,
        &ends,
        "1e-12 <= mass <= 1e12",
    );
    number(
        "Gamma",
        |g| CldDamped::new(1.0, g),
        &mass,
        &ends,
        "1e-12 <= Gamma <= 1e12",
    );
    number(
        "a",
        |a| CldPosition::new(a, 1.0, 1.0),
        &[0.0, -2.0, 9.9e-7, 1.1e6],
        &[1e-6, 1e6],
        "1e-6 <= a <= 1e6",
    );
    number(
        "epsilon",
        |e| CldPosition::new(1.0, e, 1.0),
        &[-1e-300, -1.0, 1.1e6],
        &[0.0, 1e6],
        "0 <= epsilon <= 1e6",
    );
    number(
        "sigma",
        |s| CldPosition::new(1.0, 1.0, s),
        &[-1e-300, -1.0, 1.1e6],
        &[0.0, 1e6],
        "0 <= sigma <= 1e6",
    );
    refused(
        CldPosition::new(1.0, 0.0, 0.0),
        "epsilon + sigma",
        0,
        "1e-12",
    );
    number(
        "Gamma",
        |g| Psld::new(g, 4.0),
        &[-1e-300, -1.0, 1.1e6],
        &[0.0, 1e6],
        "0 <= Gamma <= 1e6",
    );
    number(
        "nu",
        |n| Psld::new(4.0, n),
        &[-1e-300, -1.0, 1.1e6],
        &[0.0, 1e6],
        "0 <= nu <= 1e6",
    );
    // equal frictions leave no mass at critical damping
    refused(Psld::new(4.0, 4.0), "nu - Gamma", 0, "at least 1e-6");
    refused(Psld::new(0.0, 0.0), "nu - Gamma", 0, "at least 1e-6");
    assert!(Psld::new(4.0, 5.0).is_ok() && Psld::new(5.0, 4.0).is_ok());
}

#[test]
fn chains() {
    refused(Langevin::<0>::critical(), "order", 0, "2, 3 or 4");
    refused(Langevin::<1>::critical(), "order", 1, "2, 3 or 4");
    refused(Langevin::<5>::critical(), "order", 5, "2, 3 or 4");
    refused(Langevin::<1>::new(&[], 1.0), "order", 1, "2, 3 or 4");
    refused(Langevin::<5>::new(&[1.0; 4], 1.0), "order", 5, "2, 3 or 4");
    refused(Langevin::<3>::new(&[1.0], 1.0), "couplings", "[1]", "[2]");
    refused(
        Langevin::<3>::new(&[1.0; 3], 1.0),
        "couplings",
        "[3]",
        "[2]",
    );
    let field = "couplings and friction";
    number(
        field,
        |g| Langevin::<3>::new(&[1.0, g], 1.0),
        &[0.0, -1.0, 9e-7, 1.1e6],
        &[1e-6, 1e6],
        "1e-6 to 1e6",
    );
    number(
        field,
        |x| Langevin::<3>::new(&[1.0, 1.0], x),
        &[0.0, -1.0, 9e-7, 1.1e6],
        &[1e-6, 1e6],
        "1e-6 to 1e6",
    );
    assert!(
        Langevin::<2>::critical().is_ok()
            && Langevin::<3>::critical().is_ok()
            && Langevin::<4>::critical().is_ok()
    );
}

#[test]
fn custom_matrices() {
    let one = Mat::<2>::identity();
    let drift = |x: f64| Custom::new(Mat([[-1.0, x], [0.0, -1.0]]), one, 1.0);
    number(
        "drift",
        drift,
        &[1.1e9, -1.1e9],
        &[0.0, -1e9, 1e9],
        "finite entries of at most 1e9",
    );
    let noise = |x: f64| Custom::new(one, Mat([[x, 0.0], [0.0, 1.0]]), 1.0);
    number(
        "noise",
        noise,
        &[1.1e9],
        &[0.0, 1e9],
        "finite entries of at most 1e9",
    );
    refused(
        noise(-1.0),
        "noise",
        "[[-1.0, 0.0], [0.0, 1.0]]",
        "positive semidefinite",
    );
    let off = |x: f64, y: f64| Custom::new(one, Mat([[1.0, x], [y, 1.0]]), 1.0);
    refused(
        off(0.5, 0.4),
        "noise",
        "[[1.0, 0.5], [0.4, 1.0]]",
        "symmetric",
    );
    refused(
        off(1.1, 1.1),
        "noise",
        "[[1.0, 1.1], [1.1, 1.0]]",
        "positive semidefinite",
    );
    assert!(off(1.0, 1.0).is_ok(), "a noise of rank one is a noise");
    number(
        "mass",
        |m| Custom::new(one, one, m),
        &[0.0, -1.0, 1.1e9],
        &[1e-300, 1e9],
        "0 < mass <= 1e9",
    );
    refused(
        Custom::<0>::new(Mat([]), Mat([]), 1.0),
        "channels",
        0,
        "1 to 6",
    );
    refused(
        Custom::<7>::new(Mat::identity(), Mat::identity(), 1.0),
        "channels",
        7,
        "1 to 6",
    );
    assert!(Custom::<6>::new(Mat::identity(), Mat::identity(), 1.0).is_ok());
}

#[test]
fn reversals() {
    refused(Reversed::new(Ve), "process", "ve", "stationary law");
    refused(
        Reversed::new(SubVp),
        "process",
        "sub-vp",
        "noise constant in its clock",
    );
    refused(
        Reversed::new(Custom::new(Mat([[-1.0]]), Mat([[1.0]]), 1.0).unwrap()),
        "process",
        "custom",
        "stationary law",
    );
    assert!(Reversed::new(Vp).is_ok() && Reversed::new(Cld::new(0.25).unwrap()).is_ok());
}

#[test]
fn schedules() {
    number(
        "b",
        Schedule::constant,
        &[0.0, -1.0, 1.1e12],
        &[1e-300, 4.0, 1e12],
        "0 < b <= 1e12",
    );
    number(
        "b0",
        |b| Schedule::linear(b, 1.0),
        &[-1e-300, -1.0, 1.1e12],
        &[0.0, 1e12],
        "0 <= b0 <= 1e12",
    );
    number(
        "b1",
        |b| Schedule::linear(1e12, b),
        &[1.1e12, -1.1e12],
        &[-1e12, 0.0, 1e12],
        "-1e12 <= b1 <= 1e12",
    );
    refused(Schedule::linear(1.0, -1.5), "b0 + b1", -0.5, ">= 0");
    refused(Schedule::linear(0.0, 0.0), "b0 + b1/2", 0, "> 0");
    assert!(Schedule::linear(1.0, -1.0).is_ok());
    number(
        "s0",
        |s| Schedule::cosine(s, 0.9),
        &[-1e-300, -1.0, 1.1],
        &[0.0, 1.0],
        "0 <= s0 <= 1",
    );
    number(
        "t_max",
        |t| Schedule::cosine(0.008, t),
        &[0.0, -1.0, 1.0, 0.99991],
        &[1e-6, 0.9999],
        "0 < t_max <= 0.9999",
    );
    number(
        "sigma_min",
        |s| Schedule::geometric(s, 50.0),
        &[0.0, -1.0, 1e-101],
        &[1e-100, 49.0],
        "sigma_min >= 1e-100",
    );
    number(
        "sigma_max",
        |s| Schedule::geometric(0.01, s),
        &[0.0, 0.01, 0.001, -1.0, 1.1e6],
        &[0.02, 1e6],
        "sigma_min < sigma_max <= 1e6",
    );
    number(
        "tau",
        Span::from_zero,
        &[-1e-300, -1.0, 1.1e15],
        &[0.0, 1e-300, 1e15],
        "0 <= tau <= 1e15",
    );
}

#[test]
fn times() {
    let b = Schedule::constant(4.0).unwrap();
    let cld = Cld::new(0.25).unwrap();
    for &t in [-1e-300, -1.0, 1.0 + f64::EPSILON, 2.0]
        .iter()
        .chain(&NEVER)
    {
        refused(b.span(0.0, t), "t", t, "0 <= t <= 1");
        refused(b.integral(0.0, t), "t", t, "0 <= t <= 1");
    }
    for &s in [-1e-300, -1.0, 0.5 + 1e-12, 1.0].iter().chain(&NEVER) {
        refused(b.span(s, 0.5), "s", s, "0 <= s <= t = 0.5");
        refused(b.integral(s, 0.5), "s", s, "0 <= s <= t = 0.5");
    }
    assert!(b.span(0.0, 0.0).is_ok() && b.span(0.5, 0.5).is_ok() && b.span(1.0, 1.0).is_ok());
    // a kernel at t = 0 is a point
    let all = [0.0, -0.0, -1e-300, -1.0, 1.0 + f64::EPSILON, 2.0];
    number(
        "t",
        |t| Kernel::new(&cld, &b, Objective::DSM, t),
        &all,
        &[1e-12, 1.0],
        "0 < t <= 1",
    );
    let any = entry("cld")
        .unwrap()
        .build(&Params::default().with("mass", 0.25))
        .unwrap();
    number(
        "t",
        |t| kernel_values(&*any, &b, Objective::DSM, 0.0, t),
        &all,
        &[1e-12, 1.0],
        "0 < t <= 1",
    );
    number(
        "s",
        |s| kernel_values(&*any, &b, Objective::DSM, s, 0.5),
        &[-1.0, 0.51, 1.0],
        &[0.0, 0.49],
        "0 <= s <= t = 0.5",
    );
    assert!(
        kernel_values(&*any, &b, Objective::DSM, 0.5, 0.5)
            .unwrap_err()
            .to_string()
            .contains("not a normal f64")
    );
    let x = Array2::from_elem((1, 3), 1.0);
    let batch = |t: f64| {
        perturb_batch(
            &cld,
            &b,
            Objective::DSM,
            &[t],
            &[x.view()],
            &[x.view(), x.view()],
        )
    };
    number("t", batch, &all, &[1e-12, 1.0], "0 < t <= 1");
}

#[test]
fn objectives_and_kernels() {
    number(
        "gamma",
        Objective::hsm,
        &[-1e-300, -1.0, 1.1e6],
        &[0.0, 0.04, 1e6],
        "0 <= gamma <= 1e6",
    );
    let b = Schedule::constant(4.0).unwrap();
    let hsm = Objective::hsm(0.04).unwrap();
    refused(
        Kernel::new(&Vp, &b, hsm, 0.5),
        "objective",
        "hsm for process `vp`",
        "dsm",
    );
    refused(
        Kernel::new(&Ve, &b, hsm, 0.5),
        "objective",
        "hsm for process `ve`",
        "dsm",
    );
    refused(
        Kernel::new(&SubVp, &b, hsm, 0.5),
        "objective",
        "hsm for process `sub-vp`",
        "dsm",
    );

    // no kernel from a covariance that has no inverse in f64, whatever put it there
    let moments = |cov: [[f64; 2]; 2], det: f64| Moments {
        mean: Mat::identity(),
        cov: Mat(cov),
        det,
        factors: None,
    };
    for (cov, det) in [
        ([[0.0, 0.0], [0.0, 1.0]], 0.0),
        ([[1.0, 2.0], [2.0, 1.0]], -3.0),
        ([[1e-200, 0.0], [0.0, 1e-200]], 1e-400),
        ([[f64::NAN, 0.0], [0.0, 1.0]], f64::NAN),
    ] {
        let e = Kernel::from_moments(moments(cov, det)).unwrap_err();
        assert!(
            matches!(e, Error::Degenerate { .. }) && e.to_string().contains("determinant"),
            "{e}"
        );
    }
    let tiny = Schedule::constant(1e-90).unwrap();
    let e = Kernel::new(&Cld::new(0.25).unwrap(), &tiny, Objective::DSM, 1e-12)
        .unwrap_err()
        .to_string();
    assert!(e.contains("rate is too small"), "{e}");
}

#[test]
fn batches() {
    let b = Schedule::constant(4.0).unwrap();
    let cld = Cld::new(0.25).unwrap();
    let kernel = Kernel::new(&cld, &b, Objective::DSM, 0.5).unwrap();
    let (x, short) = ([1.0; 4], [1.0; 3]);
    let (mut p, mut q, mut less) = ([0.0; 4], [0.0; 4], [0.0; 3]);
    refused(
        kernel.perturb(&x, [&x, &short], [&mut p, &mut q]),
        "noise",
        "[3]",
        "[4], the length of x0",
    );
    refused(
        kernel.perturb(&x, [&x, &x], [&mut p, &mut less]),
        "out",
        "[3]",
        "[4], the length of x0",
    );
    refused(
        kernel.perturb(&short, [&x, &x], [&mut p, &mut q]),
        "noise",
        "[4]",
        "[3], the length of x0",
    );
    assert!(kernel.perturb(&x, [&x, &x], [&mut p, &mut q]).is_ok());

    let a = |r, c| Array2::from_elem((r, c), 1.0);
    let (right, wide, long) = (a(2, 3), a(2, 4), a(3, 3));
    let run = |t: &[f64], u0: &[&Array2<f64>], noise: [&Array2<f64>; 2]| {
        let u0: Vec<_> = u0.iter().map(|a| a.view()).collect();
        perturb_batch(&cld, &b, Objective::DSM, t, &u0, &noise.map(|a| a.view()))
    };
    let t = [0.1, 0.2];
    refused(
        run(&t, &[], [&right, &right]),
        "u0",
        "[0]",
        "1 array (x_0) or 2",
    );
    refused(
        run(&t, &[&right; 3], [&right, &right]),
        "u0",
        "[3]",
        "1 array (x_0) or 2",
    );
    refused(
        run(&t, &[&right, &wide], [&right, &right]),
        "u0",
        "[2, 4]",
        "(2, dim)",
    );
    refused(
        run(&t, &[&right], [&right, &wide]),
        "noise",
        "[2, 4]",
        "(2, dim)",
    );
    refused(
        run(&t, &[&right], [&long, &right]),
        "noise",
        "[3, 3]",
        "(2, dim)",
    );
    refused(
        run(&[0.1], &[&right], [&right, &right]),
        "u0",
        "[2, 3]",
        "(1, dim)",
    );
    refused(
        run(&[0.1, f64::NAN], &[&right], [&right, &right]),
        "t",
        f64::NAN,
        "0 < t <= 1",
    );
    assert!(
        run(&t, &[&right], [&right, &right]).is_ok()
            && run(&t, &[&right; 2], [&right, &right]).is_ok()
    );
}

#[test]
fn registry() {
    let none = Params::default();
    let build = |name: &str, p: &Params| entry(name)?.build(p).map(|_| ());
    refused(
        build("cdl", &none),
        "process",
        "`cdl`",
        "cld, sscs-analytic, psld",
    );
    refused(build("cld", &none), "mass", "missing", "a number");
    refused(
        build("cld", &none.clone().with("Mass", 1.0)),
        "Mass",
        "unknown",
        "mass, Gamma",
    );
    refused(
        build("vp", &none.clone().with("mass", 1.0)),
        "mass",
        "unknown",
        "parameters of vp: none",
    );
    let word = |n: &str, w: &str| {
        none.clone()
            .with("mass", 0.25)
            .with_value(n, Value::Word(w.into()))
    };
    refused(
        build("cld", &word("mass", "quarter")),
        "mass",
        "`quarter`",
        "a number",
    );
    for name in ["cld", "sscs-analytic"] {
        number(
            "mass",
            |m| build(name, &none.clone().with("mass", m)),
            &[0.0, -1.0],
            &[0.25],
            "1e-12",
        );
        let damped = |g: f64| build(name, &none.clone().with("mass", 1.0).with("Gamma", g));
        number("Gamma", damped, &[0.0, -1.0], &[1.0, 2.0, 3.0], "1e-12");
        refused(
            build(name, &word("damping", "heavy")),
            "damping",
            "`heavy`",
            "critical or general",
        );
        refused(
            build(name, &word("damping", "general")),
            "Gamma",
            "missing",
            "a number",
        );
        refused(
            build(name, &word("damping", "critical").with("Gamma", 3.0)),
            "Gamma",
            3,
            "absent with critical damping",
        );
        assert!(build(name, &word("damping", "general").with("Gamma", 3.0)).is_ok());
    }
    let order = |n: f64| build("langevin-order-n", &none.clone().with("order", n));
    number(
        "order",
        order,
        &[0.0, 1.0, 2.5, 5.0, -3.0],
        &[2.0, 3.0, 4.0],
        "2, 3 or 4",
    );
    let damping = none
        .clone()
        .with("order", 3.0)
        .with_value("damping", Value::Word("general".into()));
    refused(
        build("langevin-order-n", &damping),
        "damping",
        "`general`",
        "critical",
    );
    for (name, p) in [
        ("cld", "mass"),
        ("sscs-analytic", "mass"),
        ("langevin-order-n", "order"),
    ] {
        refused(
            build(name, &none.clone().with(p, 3.0).with("damping", 1.0)),
            "damping",
            1,
            "a word",
        );
    }
    let psld = |g: f64| build("psld", &none.clone().with("Gamma", g).with("nu", 4.0));
    number("Gamma", psld, &[-1.0], &[0.0, 1.0], "0 <= Gamma <= 1e6");
    refused(psld(4.0), "nu - Gamma", 0, "at least 1e-6");
    let position = |a: f64| {
        build(
            "cld-position-noise",
            &none
                .clone()
                .with("a", a)
                .with("epsilon", 1.0)
                .with("sigma", 1.0),
        )
    };
    number("a", position, &[0.0, -1.0], &[2.0], "1e-6 <= a <= 1e6");
}

/// After construction nothing fails: the ends of every allowed range give finite moments. Catches:
/// a range wider than the formula.
#[test]
fn allowed_ends_give_finite_moments() {
    fn finite<const K: usize>(name: &str, p: &impl LinearSde<K>) {
        for tau in [0.0, 1e-300, 1e-100, 1e-12, 1e-3, 1.0, 1e3, 1e9, 1e15] {
            // doubling is for |F| tau up to 1e8
            let size = largest(p.drift().0.iter().flatten());
            for gamma in [0.0, 1.0, 1e6] {
                let m = p.moments(Span::from_zero(tau).unwrap(), gamma);
                let all = [m.mean.0, m.cov.0].concat().concat();
                assert!(
                    all.iter().all(|x| x.is_finite()) && m.det.is_finite(),
                    "{name}, |F| {size:e}, tau {tau:e}, gamma {gamma}: {m:?}"
                );
                assert!(
                    m.det >= 0.0 && (0..K).all(|i| m.cov[(i, i)] >= 0.0),
                    "{name}, tau {tau:e}, gamma {gamma}: {m:?}"
                );
            }
        }
    }
    for mass in [1e-12, 1.0, 1e12] {
        finite("cld", &Cld::new(mass).unwrap());
        for friction in [1e-12, 1.0, 1e12] {
            finite("cld, any damping", &CldDamped::new(mass, friction).unwrap());
        }
    }
    for a in [1e-6, 1.0, 1e6] {
        for (e, s) in [
            (0.0, 1e-12),
            (1e-12, 0.0),
            (1e6, 0.0),
            (0.0, 1e6),
            (1e6, 1e6),
        ] {
            finite("position noise", &CldPosition::new(a, e, s).unwrap());
        }
    }
    for (g, nu) in [
        (0.0, 1e-6),
        (1e-6, 0.0),
        (0.0, 1e6),
        (1e6, 0.0),
        (1e6, 1e6 - 1.0),
    ] {
        finite("psld", &Psld::new(g, nu).unwrap());
    }
    finite("chain", &Langevin::<4>::critical().unwrap());
    for (g, xi) in [(1e-6, 1e-6), (1e-6, 1e6), (1e6, 1e-6), (1e6, 1e6)] {
        finite("chain", &Langevin::<2>::new(&[g], xi).unwrap());
        finite("chain", &Langevin::<4>::new(&[g; 3], xi).unwrap());
    }
    finite(
        "reversed",
        &Reversed::new(CldPosition::new(1.0, 1e6, 1e6).unwrap()).unwrap(),
    );
    finite("vp", &Vp);
    finite("ve", &Ve);
    finite("sub-vp", &SubVp);
}
