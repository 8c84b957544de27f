//! Every mistake that `cld check` knows is planted in right answers, and the verdict must name it:
//! alone and first.
//!
//! The planted answers come from the closed forms (or, for cancellation, from the formulas as
//! printed in the paper), the hypotheses from the generic route in double words: what judges is not
//! what was planted.

use cld_sgm::check::answers::{Answer, Answers, Entry};
use cld_sgm::check::{Class, Report, judge};
use cld_sgm::internal::files::{Array, Precision};
use cld_sgm::internal::small::Mat;
use cld_sgm::internal::truth::config::Config;
use cld_sgm::kernel::{Kernel, KernelValues, kernel_values};
use cld_sgm::process::{Custom, Params};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TIMES: &[f64] = &[
    1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75,
    0.9, 0.97, 1.0,
];

fn array(shape: Vec<usize>, data: Vec<f64>) -> Array {
    Array::new(shape, data).unwrap()
}

/// What the planted code computes at one time.
struct Wrong {
    mean: [f64; 4],
    cov: [f64; 4],
    factor: [f64; 4],
    ell: f64,
}

impl Wrong {
    fn from(v: &KernelValues) -> Wrong {
        let four = |a: &[f64]| [a[0], a[1], a[2], a[3]];
        Wrong {
            mean: four(v.mean.as_slice()),
            cov: four(v.cov.as_slice()),
            factor: four(v.chol_lower.as_slice()),
            ell: v.ell,
        }
    }

    /// Factor and ell from the covariance, as code does that has nothing better.
    fn refactor(mut self) -> Wrong {
        let [xx, xv, _, vv] = self.cov;
        let l = xx.sqrt();
        self.factor = [l, 0.0, xv / l, (vv - xv * xv / xx).sqrt()];
        self.ell = (xx / (xx * vv - xv * xv)).sqrt();
        self
    }
}

/// Answers of one entry per quantity for `config`, as code with a mistake would give them.
fn answers(config: &Config, times: &[f64], wrong: impl Fn(f64) -> Wrong) -> Answers {
    let n = times.len();
    let values: Vec<Wrong> = times.iter().map(|t| wrong(*t)).collect();
    // inputs that are neither small nor round
    let u0: Vec<f64> = (0..n * 2)
        .map(|i| (1.3 * i as f64 + 0.4).sin() + if i % 2 == 0 { 1.5 } else { -0.7 })
        .collect();
    let u0: Vec<f64> = if config.objective.name() == "hsm" {
        u0.iter()
            .enumerate()
            .map(|(i, x)| if i % 2 == 1 { 0.0 } else { *x })
            .collect()
    } else {
        u0
    };
    let noise: Vec<f64> = (0..n * 2)
        .map(|i| (2.1 * i as f64 + 0.9).cos() * 1.7 + 0.2)
        .collect();
    let apply = |m: &dyn Fn(&Wrong) -> [f64; 4], v: &[f64]| -> Vec<f64> {
        values
            .iter()
            .zip(v.chunks(2))
            .flat_map(|(w, u)| {
                [
                    m(w)[0] * u[0] + m(w)[1] * u[1],
                    m(w)[2] * u[0] + m(w)[3] * u[1],
                ]
            })
            .collect()
    };
    let mean_u = apply(&|w| w.mean, &u0);
    let drawn = apply(&|w| w.factor, &noise);
    let u_t: Vec<f64> = mean_u.iter().zip(&drawn).map(|(a, b)| a + b).collect();
    let column = |f: &dyn Fn(&Wrong) -> f64| array(vec![n], values.iter().map(f).collect());
    let four =
        |f: &dyn Fn(&Wrong) -> [f64; 4]| array(vec![n, 2, 2], values.iter().flat_map(f).collect());
    let mut entries = Vec::new();
    let mut add = |quantity: &str, inputs: &[&str], outputs: Vec<(&str, Array)>| {
        let mut map = BTreeMap::from([("t".to_string(), array(vec![n], times.to_vec()))]);
        for name in inputs {
            map.insert(
                (*name).to_string(),
                array(
                    vec![n, 2],
                    if *name == "u0" {
                        u0.clone()
                    } else {
                        noise.clone()
                    },
                ),
            );
        }
        let outputs = outputs
            .into_iter()
            .map(|(k, v)| (k.to_string(), v))
            .collect();
        entries.push(Entry {
            id: format!("{quantity}/0"),
            quantity: quantity.into(),
            config: config.clone(),
            inputs: map,
            answer: Answer::Given(outputs),
        });
    };
    add(
        "kernel.mean",
        &["u0"],
        vec![
            ("matrix", four(&|w| w.mean)),
            ("mean", array(vec![n, 2], mean_u.clone())),
        ],
    );
    add(
        "kernel.cov",
        &[],
        vec![
            ("xx", column(&|w| w.cov[0])),
            ("xv", column(&|w| w.cov[1])),
            ("vv", column(&|w| w.cov[3])),
        ],
    );
    add("kernel.factor", &[], vec![("factor", four(&|w| w.factor))]);
    add("kernel.ell", &[], vec![("ell", column(&|w| w.ell))]);
    add(
        "kernel.perturb",
        &["u0", "noise"],
        vec![("u_t", array(vec![n, 2], u_t.clone()))],
    );
    Answers {
        file: "planted".into(),
        implementation: String::new(),
        entries,
        unusable: vec![],
        ignored: vec![],
        not_yet: BTreeMap::new(),
    }
}

fn config(v: Value) -> Config {
    Config::from_answers(&v).unwrap()
}

fn constant() -> Value {
    json!({"kind": "linear", "b0": 4.0, "b1": 0.0})
}

fn linear() -> Value {
    json!({"kind": "linear", "b0": 0.1, "b1": 19.9})
}

/// The configurations in which mistakes are planted: process object without objective.
fn processes() -> Vec<Value> {
    vec![
        json!({"kind": "cld", "mass": 0.25, "damping": "critical", "gamma": 0.04, "schedule": constant()}),
        json!({"kind": "cld", "mass": 0.25, "damping": "critical", "gamma": 0.04, "schedule": linear()}),
        json!({"kind": "cld", "mass": 4.0, "damping": "critical", "gamma": 0.3, "schedule": constant()}),
        json!({"kind": "psld", "Gamma": 0.25, "nu": 4.25, "gamma": 0.04, "schedule": {"kind": "linear", "b0": 8.0, "b1": 0.0}}),
    ]
}

fn with(mut v: Value, key: &str, x: impl Into<Value>) -> Value {
    v[key] = x.into();
    v
}

/// The closed forms' values for a process object at t.
fn closed(c: &Config, t: f64) -> KernelValues {
    kernel_values(&*c.process().unwrap(), &c.schedule, c.objective, 0.0, t).unwrap()
}

fn report(a: &Answers) -> Report {
    judge(a, &[], &mut |_, _| {}).unwrap()
}

/// Judges answers in which `id` was planted: it must be the only diagnosis, and leave nothing
/// unexplained.
fn assert_alone(id: &str, what: &Config, a: &Answers) -> Option<f64> {
    let r = report(a);
    let found: Vec<String> = r
        .diagnoses
        .iter()
        .map(|d| format!("{} x{} {:?} {:?}", d.id, d.explains, d.value, d.outputs))
        .collect();
    assert!(!r.ok, "{id} planted in {}: not noticed", what.describe());
    assert!(
        r.diagnoses.len() == 1 && r.diagnoses[0].id == id && r.unexplained.is_empty(),
        "{id} planted in {}: {found:#?}, unexplained {:?}",
        what.describe(),
        r.unexplained
    );
    r.diagnoses[0].value
}

fn objectives(v: &Value) -> [Config; 2] {
    ["dsm", "hsm"].map(|o| config(with(v.clone(), "objective", o)))
}

/// The test of the test: right answers, from the closed forms, are found right in f64 and nothing
/// is diagnosed; catches a judge that sees mistakes where there are none.
#[test]
fn right_answers_pass() {
    for v in processes() {
        for c in objectives(&v) {
            let r = report(&answers(&c, TIMES, |t| Wrong::from(&closed(&c, t))));
            assert!(
                r.ok && r.diagnoses.is_empty(),
                "{}: {:?}",
                c.describe(),
                r.diagnoses
            );
            assert!(
                r.lines
                    .iter()
                    .all(|l| l.class == Class::F64 && l.worst.relative < 1e-13),
                "{}: {:#?}",
                c.describe(),
                r.lines
            );
        }
    }
}

/// Variances with an added constant: named with its value, declared or not; 1e-9 as published, and
/// an odd value.
#[test]
fn epsilon_added() {
    for v in processes() {
        for c in objectives(&v) {
            for e in [1e-9, 3.7e-7, 1e-4] {
                for declared in [false, true] {
                    let mut c = c.clone();
                    c.epsilon_added = if declared { e } else { 0.0 };
                    let a = answers(&c, TIMES, |t| {
                        let mut w = Wrong::from(&closed(&c, t));
                        w.cov[0] += e;
                        w.cov[3] += e;
                        w.refactor()
                    });
                    let value = assert_alone("epsilon-added", &c, &a).unwrap();
                    assert!((value / e - 1.0).abs() < 1e-6, "{value:e} for {e:e}");
                    let accepted = judge(&a, &[Class::Eps], &mut |_, _| {}).unwrap();
                    assert_eq!(
                        accepted.ok, declared,
                        "--accept eps is for declared constants"
                    );
                }
            }
        }
    }
}

/// Right values, computed with f32 rounding and stored as f64.
#[test]
fn single_precision() {
    for v in processes() {
        for c in objectives(&v) {
            // to 1e-7: below, products of f32 entries such as S_xx leave the normal range of f32
            let a = answers(&c, &TIMES[2..], |t| Wrong::from(&closed(&c, t)));
            let mut stored = a.clone();
            let round = |stored: &mut Answers, precision: Precision| {
                for e in &mut stored.entries {
                    if let Answer::Given(outputs) = &mut e.answer {
                        for o in outputs.values_mut() {
                            o.data.iter_mut().for_each(|x| *x = f64::from(*x as f32));
                            o.precision = precision;
                        }
                    }
                }
            };
            round(&mut stored, Precision::F64);
            assert_alone("single-precision", &c, &stored);
            // stored as f32 the same values are what they should be
            round(&mut stored, Precision::F32);
            assert!(report(&stored).ok);
        }
    }
}

/// P(3, y) as printed: `1 - e^-y (1 + y + y^2/2)`, no digit left at small t.
#[test]
fn cancellation() {
    for v in &processes()[..3] {
        for c in objectives(v) {
            let (m, b) = (c.process().unwrap().mass(), &c.schedule);
            let g = c.objective.gamma();
            let a = answers(&c, TIMES, |t| {
                // Dockhorn et al. 2022, App. B.1, multiplied out: e^-y times (e^y minus a
                // polynomial)
                let tau = b.integral(0.0, t).unwrap();
                let z = tau / m.sqrt();
                let (y, e) = (2.0 * z, (-2.0 * z).exp());
                let xx = e * ((y.exp() - 1.0) - y - 0.5 * y * y + g * z * z);
                let xv = m.sqrt() * e * (2.0 * z * z + g * z * (1.0 - z));
                let vv = m * e * ((y.exp() - 1.0) + y - 0.5 * y * y + g * (1.0 - z) * (1.0 - z));
                let mut w = Wrong::from(&closed(&c, t));
                w.cov = [xx, xv, xv, vv];
                w
            });
            assert_alone("cancellation", &c, &a);
        }
    }
}

/// The same in f32, as most training code does it.
#[test]
fn single_precision_cancellation() {
    for v in &processes()[..3] {
        for c in objectives(v) {
            let (m, g, b) = (
                c.process().unwrap().mass() as f32,
                c.objective.gamma() as f32,
                &c.schedule,
            );
            let a = answers(&c, TIMES, |t| {
                let z = b.integral(0.0, t).unwrap() as f32 / m.sqrt();
                let (y, e) = (2.0 * z, (-2.0 * z).exp());
                let xx = e * ((y.exp() - 1.0) - y - 0.5 * y * y + g * z * z);
                let xv = m.sqrt() * e * (2.0 * z * z + g * z * (1.0 - z));
                let vv = m * e * ((y.exp() - 1.0) + y - 0.5 * y * y + g * (1.0 - z) * (1.0 - z));
                let mut w = Wrong::from(&closed(&c, t));
                w.cov = [f64::from(xx), f64::from(xv), f64::from(xv), f64::from(vv)];
                w
            });
            let r = report(&a);
            // what f32 does to the other entries of the covariance (plain rounding) is named as
            // that
            assert!(
                !r.diagnoses.is_empty() && r.unexplained.is_empty(),
                "{}: {:?}",
                c.describe(),
                r.unexplained
            );
            assert!(
                r.diagnoses
                    .iter()
                    .all(|d| d.id.starts_with("single-precision")),
                "{}: {:?}",
                c.describe(),
                r.diagnoses
            );
            assert!(
                r.diagnoses
                    .iter()
                    .any(|d| d.id == "single-precision-cancellation"),
                "{:?}",
                r.diagnoses
            );
        }
    }
}

/// M and 1/M swapped: in the whole SDE, and with the friction left right.
#[test]
fn mass_inverted() {
    for v in &processes()[..3] {
        let mass = v["mass"].as_f64().unwrap();
        for c in objectives(v) {
            let wrong = config(with(c.to_answers(), "mass", 1.0 / mass));
            assert_alone(
                "mass-inverted",
                &c,
                &answers(&c, TIMES, |t| Wrong::from(&closed(&wrong, t))),
            );
            let mut kept = with(c.to_answers(), "mass", 1.0 / mass);
            kept["Gamma"] = (2.0 * mass.sqrt()).into();
            kept.as_object_mut().unwrap().remove("damping");
            let wrong = config(kept);
            assert_alone(
                "mass-inverted",
                &c,
                &answers(&c, TIMES, |t| Wrong::from(&closed(&wrong, t))),
            );
        }
    }
    // PSLD's mass follows from its frictions, so the wrong SDE is written out: dx = (b/2)(M v -
    // Gamma x) dt + ...
    let (g, nu, m) = (0.25, 4.25, 0.25);
    for c in objectives(&processes()[3]) {
        let wrong = Custom::new(
            Mat([[-0.5 * g, 0.5 * m], [-0.5, -0.5 * nu]]),
            Mat([[g, 0.0], [0.0, nu / m]]),
            1.0 / m,
        )
        .unwrap();
        let a = answers(&c, TIMES, |t| {
            let kernel = Kernel::new(&wrong, &c.schedule, c.objective, t).unwrap();
            Wrong {
                mean: four(kernel.mean()),
                cov: four(kernel.cov()),
                factor: four(kernel.lower()),
                ell: kernel.ell(),
            }
        });
        assert_alone("mass-inverted", &c, &a);
    }
}

fn four(m: &Mat<2>) -> [f64; 4] {
    [m[(0, 0)], m[(0, 1)], m[(1, 0)], m[(1, 1)]]
}

/// Friction that is not critical: the value is found.
#[test]
fn friction() {
    for v in &processes()[..3] {
        let critical = 2.0 * v["mass"].as_f64().unwrap().sqrt();
        for c in objectives(v) {
            for factor in [0.5, 0.93, 2.0] {
                let mut wrong = with(c.to_answers(), "Gamma", critical * factor);
                wrong.as_object_mut().unwrap().remove("damping");
                let wrong = config(wrong);
                let value = assert_alone(
                    "friction",
                    &c,
                    &answers(&c, TIMES, |t| Wrong::from(&closed(&wrong, t))),
                )
                .unwrap();
                assert!(
                    (value / (critical * factor) - 1.0).abs() < 1e-9,
                    "{value} for {}",
                    critical * factor
                );
            }
        }
    }
}

/// The schedule scaled by `factor`.
fn scaled(c: &Config, factor: f64) -> Config {
    let mut v = c.to_answers();
    for key in ["b0", "b1"] {
        v["schedule"][key] = (v["schedule"][key].as_f64().unwrap() * factor).into();
    }
    config(v)
}

/// beta's integral off by a factor: the factor is found; 1/2 and 2 are named as the beta/2
/// convention.
#[test]
fn beta_factor() {
    for v in processes() {
        for c in objectives(&v) {
            for (factor, id) in [
                (0.5, "beta-half"),
                (2.0, "beta-half"),
                (1.1, "beta-factor"),
                (0.731, "beta-factor"),
            ] {
                let wrong = scaled(&c, factor);
                let value = assert_alone(
                    id,
                    &c,
                    &answers(&c, TIMES, |t| Wrong::from(&closed(&wrong, t))),
                )
                .unwrap();
                assert!((value / factor - 1.0).abs() < 1e-9, "{value} for {factor}");
            }
        }
    }
}

/// DSM values where HSM was asked for, and the other way round.
#[test]
fn dsm_and_hsm_swapped() {
    for v in processes() {
        let [dsm, hsm] = objectives(&v);
        assert_alone(
            "dsm-for-hsm",
            &hsm,
            &answers(&hsm, TIMES, |t| Wrong::from(&closed(&dsm, t))),
        );
        assert_alone(
            "hsm-for-dsm",
            &dsm,
            &answers(&dsm, TIMES, |t| Wrong::from(&closed(&hsm, t))),
        );
    }
}

/// The initial velocity's variance is gamma instead of gamma M.
#[test]
fn gamma_not_times_mass() {
    for v in processes() {
        let [_, hsm] = objectives(&v);
        let (gamma, mass) = (hsm.objective.gamma(), hsm.process().unwrap().mass());
        let wrong = config(with(hsm.to_answers(), "gamma", gamma / mass));
        assert_alone(
            "gamma-not-times-mass",
            &hsm,
            &answers(&hsm, TIMES, |t| Wrong::from(&closed(&wrong, t))),
        );
    }
}

/// Variances where the Cholesky factor belongs: ell and perturb follow.
#[test]
fn variance_for_standard_deviation() {
    for v in processes() {
        for c in objectives(&v) {
            let a = answers(&c, TIMES, |t| {
                let mut w = Wrong::from(&closed(&c, t));
                w.factor = w.cov;
                w.ell *= w.ell;
                w
            });
            assert_alone("variance-for-standard-deviation", &c, &a);
        }
    }
}

/// Standard deviations where variances belong.
#[test]
fn standard_deviation_for_variance() {
    for v in processes() {
        for c in objectives(&v) {
            let a = answers(&c, TIMES, |t| {
                let mut w = Wrong::from(&closed(&c, t));
                (w.cov[0], w.cov[3]) = (w.cov[0].sqrt(), w.cov[3].sqrt());
                w
            });
            assert_alone("standard-deviation-for-variance", &c, &a);
        }
    }
}

/// The upper Cholesky factor where the lower is expected, and the other way round.
#[test]
fn other_cholesky_factor() {
    for v in processes() {
        for c in objectives(&v) {
            let upper = |t: f64| {
                let k = closed(&c, t);
                let mut w = Wrong::from(&k);
                w.factor = [
                    k.chol_upper[(0, 0)],
                    k.chol_upper[(0, 1)],
                    k.chol_upper[(1, 0)],
                    k.chol_upper[(1, 1)],
                ];
                w.ell = 1.0 / k.chol_upper[(0, 0)];
                w
            };
            assert_alone("other-cholesky-factor", &c, &answers(&c, TIMES, upper));
            let mut declared = c.clone();
            declared.upper = true;
            let a = answers(&declared, TIMES, |t| Wrong::from(&closed(&c, t)));
            assert_alone("other-cholesky-factor", &declared, &a);
            assert!(
                report(&answers(&declared, TIMES, upper)).ok,
                "declared upper factors are right"
            );
        }
    }
}

/// The sign of xv: of the covariance alone, and of mean and covariance (forward for reverse).
#[test]
fn xv_sign() {
    for v in processes() {
        for c in objectives(&v) {
            let flip = |mean: f64| {
                let c = c.clone();
                move |t: f64| {
                    let mut w = Wrong::from(&closed(&c, t));
                    w.cov[1] *= -1.0;
                    w.cov[2] *= -1.0;
                    w.factor[2] *= -1.0;
                    w.mean[1] *= mean;
                    w.mean[2] *= mean;
                    w
                }
            };
            assert_alone("xv-sign", &c, &answers(&c, TIMES, flip(1.0)));
            assert_alone("xv-sign", &c, &answers(&c, TIMES, flip(-1.0)));
        }
    }
}

/// A clock that runs backward.
#[test]
fn one_minus_t() {
    for v in processes() {
        for c in objectives(&v) {
            // t = 1 would ask for the kernel at 0
            let a = answers(&c, &TIMES[..TIMES.len() - 1], |t| {
                Wrong::from(&closed(&c, 1.0 - t))
            });
            assert_alone("one-minus-t", &c, &a);
        }
    }
}

/// Two mistakes at once in different quantities: both are named, each for what it explains.
#[test]
fn two_mistakes() {
    let c = config(with(processes()[0].clone(), "objective", "hsm"));
    let half = scaled(&c, 0.5);
    let a = answers(&c, TIMES, |t| {
        let mut w = Wrong::from(&closed(&c, t));
        w.mean = Wrong::from(&closed(&half, t)).mean;
        w.cov[0] += 1e-9;
        w.cov[3] += 1e-9;
        w
    });
    let r = report(&a);
    let ids: Vec<&str> = r.diagnoses.iter().map(|d| d.id).collect();
    // the mean is in kernel.mean (two outputs), the constant in two variances; perturb has a wrong
    // mean and a right factor, and follows
    assert!(
        ids.contains(&"beta-half") && ids.contains(&"epsilon-added") && ids.len() == 2,
        "{ids:?}"
    );
    let follows = r.diagnoses.iter().flat_map(|d| {
        d.follows
            .iter()
            .map(|f| (d.id, f.output.as_str(), f.from, f.tested))
    });
    assert_eq!(
        follows.collect::<Vec<_>>(),
        [("beta-half", "kernel.perturb.u_t", "kernel.mean", true)]
    );
    assert!(r.unexplained.is_empty(), "{:?}", r.unexplained);
}

/// A mistake on top of a declared constant is still named, as the mistake; with cancellation, too.
#[test]
fn mistake_on_top_of_epsilon() {
    for v in processes() {
        for mut c in objectives(&v) {
            c.epsilon_added = 1e-9;
            let wrong = scaled(&c, 0.5);
            let a = answers(&c, TIMES, |t| {
                let mut w = Wrong::from(&closed(&wrong, t));
                w.cov[0] += 1e-9;
                w.cov[3] += 1e-9;
                w.refactor()
            });
            assert_alone("beta-half", &c, &a);
        }
    }
}

/// Numbers that are not finite get a verdict, and a single row that fits nothing is named as
/// damaged; catches a judge that lets NaN compare as right, or a hypothesis that explains anything.
#[test]
fn nonsense_is_off_and_its_row_is_named() {
    let c = config(with(processes()[1].clone(), "objective", "hsm"));
    for (what, bad) in [
        ("NaN", f64::NAN),
        ("infinity", f64::INFINITY),
        ("zero", 0.0),
        ("negative", -1.0),
    ] {
        let a = answers(&c, TIMES, |t| {
            let mut w = Wrong::from(&closed(&c, t));
            if t == 0.3 {
                w.cov[0] = bad;
            }
            w
        });
        let r = report(&a);
        let named: Vec<_> = r
            .diagnoses
            .iter()
            .map(|d| (d.id, d.text.contains("row 12 (t = 0.3")))
            .collect();
        assert!(
            !r.ok && named == [("damaged-rows", true)],
            "{what}: {:?}",
            r.diagnoses
        );
        assert!(r.unexplained.is_empty(), "{what}: {:?}", r.unexplained);
        let line = r.lines.iter().find(|l| l.class == Class::Off).unwrap();
        assert_eq!(line.off_at.as_str(), "1 of 19 times, t <= 0.3", "{what}");
        // a value that is not finite is named, and does not hide the worst of those that are
        let at = line.not_finite_at.as_ref().map_or(line.worst.t, |at| at.t);
        assert_eq!(
            (at, line.not_finite),
            (Some(0.3), usize::from(!bad.is_finite())),
            "{what}"
        );
    }
    // one wrong value in the sixth digit
    let a = answers(&c, TIMES, |t| {
        let mut w = Wrong::from(&closed(&c, t));
        w.ell *= 1.0 + if t == 0.01 { 1e-6 } else { 0.0 };
        w
    });
    let r = report(&a);
    assert!(
        !r.ok
            && r.lines
                .iter()
                .any(|l| l.quantity == "kernel.ell" && l.class == Class::F32),
        "{:?}",
        r.lines
    );
}

/// The classes' edges: at t = 1 the variance of v is stationary, M, and its condition is 1 (M
/// itself) and a little that the rate still does: 16 units of 2 M and the little. 30 units of M
/// pass in f64, 80 do not; the same in f32.
#[test]
fn tolerance_edges() {
    let c = config(with(processes()[0].clone(), "objective", "dsm"));
    let (u, s) = (2f64.powi(-53), 2f64.powi(-24));
    for (error, class) in [
        (30.0 * u, Class::F64),
        (80.0 * u, Class::F32),
        (30.0 * s, Class::F32),
        (80.0 * s, Class::Off),
    ] {
        let a = answers(&c, TIMES, |t| {
            let mut w = Wrong::from(&closed(&c, t));
            w.cov[3] *= 1.0 + if t == 1.0 { error } else { 0.0 };
            w
        });
        let r = report(&a);
        let worst = r
            .lines
            .iter()
            .filter(|l| l.output == "vv")
            .map(|l| l.class)
            .max()
            .unwrap();
        assert_eq!(worst, class, "{error:e}");
    }
}

/// Parameters that no longer parse would make every test above vacuous.
#[test]
fn configurations_are_what_they_say() {
    assert_eq!(processes().len(), 4);
    let c = config(with(processes()[0].clone(), "objective", "hsm"));
    assert_eq!(
        (c.objective.gamma(), c.process().unwrap().mass()),
        (0.04, 0.25)
    );
    assert!(Params::default().number("mass").is_err());
}

/// Euler-Maruyama steps with a mistake in each: half of the kick, noise without sqrt(dt) or with
/// dt, the coupling's sign in reverse, noise in the denoising step, the score's time. Catches a
/// hypothesis that does not reproduce its mistake, or that is mistaken for another.
#[test]
fn steps_with_mistakes() {
    let c = config(with(processes()[1].clone(), "objective", "hsm"));
    let (mass, friction, n) = (0.25, 1.0, 6);
    let t = [1.0, 0.8, 0.5, 0.3, 0.1, 0.02];
    let s: Vec<f64> = t.iter().map(|t| 0.9 * t).collect();
    let wave = |a: f64, b: f64| -> Vec<f64> {
        (0..2 * n).map(|i| (a * i as f64 + b).sin() * 1.4).collect()
    };
    let (u, z) = (wave(1.7, 0.3), wave(2.9, 1.1));
    // the exact score of data N(0.3, 0.7^2): -C^-1 (u - m), C = 0.7^2 phi phi^T + S
    let score = |t: f64, x: f64, v: f64| {
        let k = closed(&c, t);
        let (p, q, var) = (k.mean[(0, 0)], k.mean[(1, 0)], 0.49);
        let (xx, xv, vv) = (
            k.cov[(0, 0)] + var * p * p,
            k.cov[(0, 1)] + var * p * q,
            k.cov[(1, 1)] + var * q * q,
        );
        let (x, v) = (x - 0.3 * p, v - 0.3 * q);
        (xv * x - xx * v) / (xx * vv - xv * xv)
    };
    for id in [
        "",
        "half-kick",
        "noise-without-sqrt-dt",
        "with dt",
        "xv-sign",
        "denoise-with-noise",
        "score-at-end-of-step",
    ] {
        let denoise = id == "denoise-with-noise";
        let next: Vec<f64> = (0..n)
            .flat_map(|r| {
                let (x, v, h, b) = (u[2 * r], u[2 * r + 1], t[r] - s[r], 0.1 + 19.9 * t[r]);
                let sv = score(
                    if id == "score-at-end-of-step" {
                        s[r]
                    } else {
                        t[r]
                    },
                    x,
                    v,
                );
                let kick = if id == "half-kick" {
                    friction
                } else {
                    2.0 * friction
                };
                let sign = if id == "xv-sign" { -1.0 } else { 1.0 };
                let root = match id {
                    "noise-without-sqrt-dt" => 1.0,
                    "with dt" => h,
                    _ => h.sqrt(),
                };
                [
                    x - sign * h * b * v / mass,
                    v + h * b * (sign * x + friction / mass * v + kick * sv)
                        + root * (2.0 * friction * b).sqrt() * z[2 * r + 1],
                ]
            })
            .collect();
        let wide = |v: &[f64]| array(vec![n, 2], v.to_vec());
        let mut inputs = BTreeMap::from([
            ("t".to_string(), array(vec![n], t.to_vec())),
            ("s".to_string(), array(vec![n], s.clone())),
            ("u".to_string(), wide(&u)),
            ("noise".to_string(), wide(&z)),
            ("data".to_string(), array(vec![2], vec![0.3, 0.7])),
        ]);
        if id == "xv-sign" {
            // of the step alone: the score of data would have its own kernel's sign
            inputs.remove("data");
            let values = (0..n)
                .map(|r| score(t[r], u[2 * r], u[2 * r + 1]))
                .collect();
            inputs.insert("score".to_string(), array(vec![n, 1], values));
        }
        let quantity = if denoise {
            "sampler.step.denoise"
        } else {
            "sampler.step.em"
        };
        let answer = Answer::Given(BTreeMap::from([("u_next".to_string(), wide(&next))]));
        let entries = vec![Entry {
            id: "step/0".into(),
            quantity: quantity.into(),
            config: c.clone(),
            inputs,
            answer,
        }];
        let a = Answers {
            file: "planted".into(),
            implementation: String::new(),
            entries,
            unusable: vec![],
            ignored: vec![],
            not_yet: BTreeMap::new(),
        };
        if id.is_empty() {
            let r = report(&a);
            assert!(
                r.ok && r.diagnoses.is_empty(),
                "{:?} {:?}",
                r.lines,
                r.diagnoses
            );
        } else {
            assert_alone(
                if id == "with dt" {
                    "noise-without-sqrt-dt"
                } else {
                    id
                },
                &c,
                &a,
            );
        }
    }
}

/// A prior whose velocity has variance 1 where it is M.
#[test]
fn prior_variance_one() {
    let c = config(with(processes()[0].clone(), "objective", "dsm"));
    let u: Vec<f64> = (0..12)
        .map(|i| (1.3 * f64::from(i) + 0.4).sin() * 1.2)
        .collect();
    let log = u
        .chunks(2)
        .map(|u| -0.5 * (u[0] * u[0] + u[1] * u[1]) - std::f64::consts::TAU.ln())
        .collect();
    let entries = vec![Entry {
        id: "prior/0".into(),
        quantity: "prior.log_density".into(),
        config: c.clone(),
        inputs: BTreeMap::from([("u".to_string(), array(vec![6, 2], u))]),
        answer: Answer::Given(BTreeMap::from([(
            "log_density".to_string(),
            array(vec![6], log),
        )])),
    }];
    assert_alone(
        "prior-variance-one",
        &c,
        &Answers {
            file: "planted".into(),
            implementation: String::new(),
            entries,
            unusable: vec![],
            ignored: vec![],
            not_yet: BTreeMap::new(),
        },
    );
}

/// Catches a verdict that depends on how many threads there are: configurations are judged side by
/// side.
#[test]
fn threads_change_nothing() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers/mdm");
    let answers = cld_sgm::check::answers::read_answers(
        &path,
        None,
        &cld_sgm::internal::files::Limits::default(),
    )
    .unwrap();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            serde_json::to_string(&judge(&answers, &[], &mut |_, _| {}).unwrap()).unwrap()
        })
    };
    let one = with(1);
    assert!(one.len() > 1000);
    assert_eq!(one, with(3));
}

/// Catches M and 1/M swapped, or velocities for momenta, that is no longer recognised once
/// velocities or another stationary variance are declared: what stands for the process must be in
/// its units.
#[test]
fn mistakes_are_made_in_the_units_of_the_file() {
    let t: Vec<f64> = (1..=10).map(|i| 0.1 * f64::from(i)).collect();
    let truth = |v: &Value| closed_of(&config(v.clone()), &t);
    let judged = |declared: &Value, made: &Value| {
        let r = report(&Answers {
            file: "units".into(),
            implementation: String::new(),
            entries: vec![Entry {
                id: "cov".into(),
                quantity: "kernel.cov".into(),
                config: config(declared.clone()),
                inputs: BTreeMap::from([("t".to_string(), array(vec![10], t.clone()))]),
                answer: Answer::Given(truth(made)),
            }],
            unusable: vec![],
            ignored: vec![],
            not_yet: BTreeMap::new(),
        });
        r.diagnoses.iter().map(|d| d.id).collect::<Vec<_>>()
    };
    let own = json!({"kind": "cld", "mass": 0.3, "gamma": 0.04, "objective": "hsm", "schedule": {"kind": "linear", "b0": 0.5, "b1": 3.0}});
    let velocity = with(own.clone(), "v", "velocity");
    let scaled = with(own.clone(), "stationary_variance", 2.0);
    for declared in [&velocity, &scaled] {
        assert_eq!(judged(declared, declared), Vec::<&str>::new());
        assert_eq!(
            judged(declared, &with(declared.clone(), "mass", 1.0 / 0.3)),
            ["mass-inverted"]
        );
        assert_eq!(
            judged(declared, &with(declared.clone(), "gamma", 0.08)),
            ["initial-variance-twice"]
        );
        assert_eq!(
            judged(declared, &with(declared.clone(), "Gamma", 1.37)),
            ["friction"]
        );
    }
    assert_eq!(judged(&velocity, &own), ["velocity-for-momentum"]);
    assert_eq!(judged(&own, &velocity), ["velocity-for-momentum"]);
}

/// The covariance of a configuration.
fn closed_of(c: &Config, t: &[f64]) -> BTreeMap<String, Array> {
    use cld_sgm::internal::truth::predict::{Inputs, Model, predict};
    let times = array(vec![t.len()], t.to_vec());
    let inputs: Inputs<'_> = BTreeMap::from([("t".to_string(), &times)]);
    let model = Model::new(c).unwrap();
    let of = |name: &str| {
        let (cells, _) = predict("kernel.cov", &model, &inputs, name).unwrap();
        (
            name.to_string(),
            array(
                vec![t.len()],
                cells.iter().map(|c| c.truth.to_f64()).collect(),
            ),
        )
    };
    ["xx", "xv", "vv"].into_iter().map(of).collect()
}

/// 1 - e^-y (1 + y + y^2/2) in float32, its series where that cancels.
fn p3(y: f32) -> f32 {
    if y > 3.0 {
        return 1.0 - (-y).exp() * (1.0 + y + 0.5 * y * y);
    }
    let mut term = y * y * y / 6.0;
    let mut sum = term;
    for k in 4..40 {
        term *= y / k as f32;
        sum += term;
    }
    (-y).exp() * sum
}

/// Critically damped CLD of mass 1/4 over the interval tau, forward (1) or as SSCS has it (-1):
/// mean matrix and covariance, in float32.
fn law32(tau: f32, sign: f32) -> ([f32; 4], [f32; 3]) {
    let (z, e) = (2.0 * tau, (-2.0 * tau).exp());
    let y = 2.0 * z;
    let q = (-y).exp();
    (
        [
            e * (1.0 + z),
            sign * 4.0 * e * tau,
            -sign * e * tau,
            e * (1.0 - z),
        ],
        [p3(y), sign * z * z * q, 0.25 * (p3(y) + 2.0 * y * q)],
    )
}

/// Catches a rule that calls right float32 code off: an SSCS step near t = 1 with the exact score
/// (which is rounded, and then taken away by v/M), and log-densities at t = 1e-6, where the
/// residual is of the size of its inputs' rounding and enters squared.
#[test]
fn right_float32_code_passes() {
    let number = |x: f32| f64::from(x);
    let process = json!({"kind": "cld", "mass": 0.25, "gamma": 0.04, "objective": "dsm", "schedule": {"kind": "linear", "b0": 0.125, "b1": 16.0}});
    let integral = |t: f32| 0.125 * t + 8.0 * t * t;
    let n = 40;
    let wave = |a: f32, b: f32, n: usize| -> Vec<f32> {
        (0..n).map(|i| (a * i as f32 + b).sin() * 1.4).collect()
    };
    let t: Vec<f32> = (0..n).map(|i| 1.0 - 0.01 * i as f32).collect();
    let s: Vec<f32> = t.iter().map(|t| t - 0.03125).collect();
    let (u, z1, z2) = (
        wave(1.7, 0.3, 2 * n),
        wave(2.9, 1.1, 2 * n),
        wave(3.1, 0.8, 2 * n),
    );
    let (mean, std) = (0.5f32, 0.75f32);
    let half = |from: f32, to: f32, u: [f32; 2], z: &[f32]| -> [f32; 2] {
        let (m, [xx, xv, vv]) = law32(integral(from) - integral(to), -1.0);
        let l = xx.sqrt();
        [
            m[0] * u[0] + m[1] * u[1] + l * z[0],
            m[2] * u[0] + m[3] * u[1] + xv / l * z[0] + (vv - xv * xv / xx).sqrt() * z[1],
        ]
    };
    let step = |r: usize| -> [f32; 2] {
        let middle = 0.5 * (t[r] + s[r]);
        let mut v = half(t[r], middle, [u[2 * r], u[2 * r + 1]], &z1[2 * r..]);
        let (m, c) = law32(integral(t[r]), 1.0);
        let (xx, xv, vv) = (
            c[0] + std * std * m[0] * m[0],
            c[1] + std * std * m[0] * m[2],
            c[2] + std * std * m[2] * m[2],
        );
        let (dx, dv) = (v[0] - m[0] * mean, v[1] - m[2] * mean);
        let score = -(xx * dv - xv * dx) / (xx * vv - xv * xv);
        v[1] += (t[r] - s[r]) * (0.125 + 16.0 * t[r]) * 2.0 * (score + 4.0 * v[1]);
        half(middle, s[r], v, &z2[2 * r..])
    };
    let wide = |v: &[f32]| {
        array(
            vec![n, v.len() / n],
            v.iter().copied().map(number).collect(),
        )
    };
    let times = |v: &[f32]| array(vec![n], v.iter().copied().map(number).collect());
    let single = |mut a: Array| {
        a.precision = Precision::F32;
        a
    };
    let entry =
        |id: &str, quantity: &str, inputs: Vec<(&str, Array)>, output: &str, a: Array| Entry {
            id: id.into(),
            quantity: quantity.into(),
            config: config(process.clone()),
            inputs: inputs
                .into_iter()
                .map(|(k, a)| (k.to_string(), a))
                .collect(),
            answer: Answer::Given(BTreeMap::from([(output.to_string(), single(a))])),
        };
    let next: Vec<f32> = (0..n).flat_map(step).collect();
    let inputs = vec![
        ("t", times(&t)),
        ("s", times(&s)),
        ("u", wide(&u)),
        ("noise_1", wide(&z1)),
        ("noise_2", wide(&z2)),
        ("data", array(vec![2], vec![number(mean), number(std)])),
    ];
    let sscs = entry("sscs", "sampler.step.sscs", inputs, "u_next", wide(&next));

    let early: Vec<f32> = (0..n).map(|i| 1e-6 * (1.0 + i as f32)).collect();
    let u0 = wave(1.3, 0.4, 2 * n);
    let (mut states, mut density) = (Vec::new(), Vec::new());
    for r in 0..n {
        let (m, [xx, xv, vv]) = law32(integral(early[r]), 1.0);
        let l = [xx.sqrt(), xv / xx.sqrt(), (vv - xv * xv / xx).sqrt()];
        let centre = [
            m[0] * u0[2 * r] + m[1] * u0[2 * r + 1],
            m[2] * u0[2 * r] + m[3] * u0[2 * r + 1],
        ];
        let state = [
            centre[0] + l[0] * z1[2 * r],
            centre[1] + l[1] * z1[2 * r] + l[2] * z1[2 * r + 1],
        ];
        // whitened, so that nothing is squared that is not of the size of 1
        let a = (state[0] - centre[0]) / l[0];
        let b = ((state[1] - centre[1]) - l[1] * a) / l[2];
        density.push(-0.5 * (a * a + b * b) - std::f32::consts::TAU.ln() - l[0].ln() - l[2].ln());
        states.extend(state);
    }
    let inputs = vec![
        ("t", times(&early)),
        ("u", wide(&states)),
        ("u0", wide(&u0)),
    ];
    let density = entry(
        "density",
        "kernel.log_density",
        inputs,
        "log_density",
        times(&density),
    );
    let r = report(&Answers {
        file: "right".into(),
        implementation: String::new(),
        entries: vec![sscs, density],
        unusable: vec![],
        ignored: vec![],
        not_yet: BTreeMap::new(),
    });
    assert_eq!(r.judged, 2);
    assert!(
        r.ok,
        "{:#?}",
        r.lines
            .iter()
            .filter(|l| !l.accepted)
            .map(|l| (&l.quantity, &l.worst))
            .collect::<Vec<_>>()
    );
}

/// Catches a list of mistakes that wraps on a terminal, or lacks one; and values listed as not
/// finite that are accepted.
#[test]
fn the_list_of_mistakes_fits_a_terminal() {
    use cld_sgm::check::mistakes::MISTAKES;
    let text = anstream::adapter::strip_str(&cld_sgm::check::words::mistakes(80)).to_string();
    assert!(text.lines().all(|l| l.chars().count() <= 80));
    for m in MISTAKES {
        assert_eq!(text.lines().filter(|l| *l == m.id).count(), 1, "{}", m.id);
    }
}
