//! One mistake, one cause: what is made from an off quantity stands under it, and only that.
//!
//! All answers are computed here, from the printed solution of the moment equations of critically
//! damped Langevin diffusion:
//!
//! ```text
//! a = B/sqrt(M), w = gamma M (0 under DSM), e = exp(-2 a)
//! S_xx = 1 - e ((1 + a)^2 + a^2 (1 - w/M))
//! S_xv = e (B (1 + a) - B (1 - a)(1 - w/M))
//! S_vv = M - e (B^2 + (1 - a)^2 (M - w))
//! ```

use cld_sgm::check::answers::{Answer, Answers, Entry};
use cld_sgm::check::page::page;
use cld_sgm::check::words::{Look, text};
use cld_sgm::check::{Report, judge, judge_from};
use cld_sgm::internal::files::{Array, Precision};
use cld_sgm::internal::truth::config::Config;
use serde_json::json;
use std::collections::BTreeMap;

const MASS: f64 = 0.25;
const GAMMA: f64 = 0.04;
// from the sixth on the printed formulas lose nothing in f64
const TIMES: &[f64] = &[
    1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0,
];

/// f64 or f32, and how an array of it is held.
trait Real: Copy {
    const PRECISION: Precision;
    fn of(x: f64) -> Self;
    fn f64(self) -> f64;
    fn exp(self) -> Self;
    fn sqrt(self) -> Self;
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
}

macro_rules! real {
    ($t:ident, $p:ident) => {
        impl Real for $t {
            const PRECISION: Precision = Precision::$p;
            fn of(x: f64) -> $t {
                x as $t
            }
            fn f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> $t {
                $t::exp(self)
            }
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            fn add(self, o: $t) -> $t {
                self + o
            }
            fn sub(self, o: $t) -> $t {
                self - o
            }
            fn mul(self, o: $t) -> $t {
                self * o
            }
            fn div(self, o: $t) -> $t {
                self / o
            }
        }
    };
}
real!(f64, F64);
real!(f32, F32);

/// Covariance `[xx, xv, vv]` as printed, with beta = 4.
fn printed<T: Real>(t: f64) -> [T; 3] {
    let one = T::of(1.0);
    let (b, m, left) = (T::of(4.0).mul(T::of(t)), T::of(MASS), T::of(1.0 - GAMMA));
    let a = b.div(m.sqrt());
    let e = T::of(-2.0).mul(a).exp();
    let (up, down) = (one.add(a), one.sub(a));
    let xx = one.sub(e.mul(up.mul(up).add(a.mul(a).mul(left))));
    let xv = e.mul(b.mul(up).sub(b.mul(down).mul(left)));
    let vv = m.sub(e.mul(b.mul(b).add(down.mul(down).mul(m).mul(left))));
    [xx, xv, vv]
}

/// What code answers at one time.
struct At<T> {
    cov: [T; 3],
    /// Lower factor, row-major.
    factor: [T; 4],
    ell: T,
}

/// Factor and ell from a covariance, as code does that has nothing better.
fn from_cov<T: Real>(cov: [T; 3]) -> At<T> {
    let [xx, xv, vv] = cov;
    let l = xx.sqrt();
    let lvx = xv.div(l);
    let lvv = vv.sub(lvx.mul(lvx)).sqrt();
    At {
        cov,
        factor: [l, T::of(0.0), lvx, lvv],
        ell: T::of(1.0).div(lvv),
    }
}

fn answers<T: Real>(times: &[f64], at: impl Fn(f64) -> At<T>) -> Answers {
    let config = json!({"kind": "cld", "mass": MASS, "schedule": {"kind": "constant", "b": 4.0}, "objective": "hsm", "gamma": GAMMA});
    let config = Config::from_answers(&config).unwrap();
    let n = times.len();
    // the times that the code itself works with
    let times: Vec<f64> = times.iter().map(|t| T::of(*t).f64()).collect();
    let all: Vec<At<T>> = times.iter().map(|t| at(*t)).collect();
    let array = |shape: Vec<usize>, data: Vec<f64>| {
        let mut a = Array::new(shape, data).unwrap();
        a.precision = T::PRECISION;
        a
    };
    let column = |f: &dyn Fn(&At<T>) -> T| array(vec![n], all.iter().map(|a| f(a).f64()).collect());
    let x0: Vec<f64> = (0..n)
        .map(|i| T::of((1.3 * i as f64 + 0.4).sin() + 1.5).f64())
        .collect();
    let noise: Vec<f64> = (0..2 * n)
        .map(|i| T::of((2.1 * i as f64 + 0.9).cos() * 1.7 + 0.2).f64())
        .collect();
    let drawn: Vec<f64> = (0..n)
        .flat_map(|i| {
            let (b, m, x) = (T::of(4.0).mul(T::of(times[i])), T::of(MASS), T::of(x0[i]));
            let a = b.div(m.sqrt());
            let decay = T::of(-1.0).mul(a).exp();
            let [x, v] = [
                decay.mul(T::of(1.0).add(a)).mul(x),
                T::of(-1.0).mul(decay.mul(b)).mul(x),
            ];
            let [z, w] = [T::of(noise[2 * i]), T::of(noise[2 * i + 1])];
            let l = &all[i].factor;
            [
                x.add(l[0].mul(z)).add(l[1].mul(w)),
                v.add(l[2].mul(z)).add(l[3].mul(w)),
            ]
        })
        .map(T::f64)
        .collect();
    let mut entries = Vec::new();
    let mut add = |quantity: &str, more: Vec<(&str, Array)>, outputs: Vec<(&str, Array)>| {
        let named = |list: Vec<(&str, Array)>| {
            list.into_iter()
                .map(|(k, v)| (k.to_string(), v))
                .collect::<BTreeMap<_, _>>()
        };
        let mut inputs = named(more);
        inputs.insert("t".into(), array(vec![n], times.clone()));
        let answer = Answer::Given(named(outputs));
        entries.push(Entry {
            id: format!("{quantity}/0"),
            quantity: quantity.into(),
            config: config.clone(),
            inputs,
            answer,
        });
    };
    add(
        "kernel.cov",
        vec![],
        vec![
            ("xx", column(&|a| a.cov[0])),
            ("xv", column(&|a| a.cov[1])),
            ("vv", column(&|a| a.cov[2])),
        ],
    );
    add(
        "kernel.factor",
        vec![],
        vec![(
            "factor",
            array(
                vec![n, 4],
                all.iter().flat_map(|a| a.factor.map(T::f64)).collect(),
            ),
        )],
    );
    add("kernel.ell", vec![], vec![("ell", column(&|a| a.ell))]);
    let u0: Vec<f64> = x0.iter().flat_map(|x| [*x, 0.0]).collect();
    add(
        "kernel.perturb",
        vec![
            ("u0", array(vec![n, 2], u0)),
            ("noise", array(vec![n, 2], noise.clone())),
        ],
        vec![("u_t", array(vec![n, 2], drawn))],
    );
    Answers {
        file: "m.json".into(),
        implementation: "test".into(),
        entries,
        unusable: vec![],
        ignored: vec![],
        not_yet: BTreeMap::new(),
    }
}

fn verdict(a: &Answers) -> Report {
    judge(a, &[], &mut |_, _| {}).unwrap()
}

/// `output from tested -> count` of everything that follows.
fn follows(r: &Report) -> BTreeMap<String, usize> {
    let all = r
        .diagnoses
        .iter()
        .flat_map(|d| &d.follows)
        .chain(r.open.iter().flat_map(|o| &o.follows));
    all.map(|f| (format!("{} {} {}", f.output, f.from, f.tested), f.count))
        .collect()
}

/// Catches consequences that are listed as causes: a covariance off by a factor that no mistake has
/// (1 + t/50), and factor, ell and noised state made from it. One cause, everything else tested and
/// under it.
#[test]
fn an_unknown_mistake_in_the_covariance_is_one_cause() {
    let r = verdict(&answers::<f64>(&TIMES[5..], |t| {
        let [xx, xv, vv] = printed::<f64>(t);
        from_cov([xx, xv, vv * (1.0 + t / 50.0)])
    }));
    assert_eq!(r.diagnoses.len(), 0, "{:?}", r.diagnoses);
    assert_eq!(r.unexplained, ["kernel.cov/0 vv"]);
    let found = follows(&r);
    let expected = [
        ("kernel.ell.ell kernel.cov true", 1),
        ("kernel.factor.factor kernel.cov true", 1),
    ];
    for (what, n) in expected {
        assert_eq!(found.get(what), Some(&n), "{found:?}");
    }
    // by way of the factor or of the covariance: both are theirs
    assert!(
        found
            .keys()
            .any(|k| k.starts_with("kernel.perturb.u_t") && k.ends_with("true")),
        "{found:?}"
    );
    assert_eq!(found.len(), 3);
    let shown = r.open[0].shown.as_ref().unwrap();
    assert_eq!(
        (shown.output.as_str(), shown.row, shown.got != shown.truth),
        ("kernel.cov.vv", TIMES.len() - 6, true)
    );
    assert_eq!(shown.see, "cld eval m.json --entry kernel.cov/0 --row 7");
}

/// Catches a test that lets every off quantity pass for a consequence: the covariance is off by 1 +
/// t/50, and the factor by a factor of its own.
#[test]
fn a_second_mistake_is_no_consequence() {
    let r = verdict(&answers::<f64>(&TIMES[5..], |t| {
        let [xx, xv, vv] = printed::<f64>(t);
        let mut at = from_cov([xx, xv, vv * (1.0 + t / 50.0)]);
        at.factor[3] *= 1.0 + t * t / 30.0;
        at
    }));
    assert!(
        r.unexplained
            .contains(&"kernel.factor/0 factor".to_string()),
        "{:?} {:?}",
        r.unexplained,
        follows(&r)
    );
    assert!(
        !follows(&r).keys().any(|k| k.starts_with("kernel.factor")),
        "{:?}",
        follows(&r)
    );
}

/// Catches a cause that is sought in a part that is right: only the factor is off (and the noised
/// state made from it).
#[test]
fn a_right_covariance_is_no_cause() {
    let r = verdict(&answers::<f64>(&TIMES[5..], |t| {
        let mut at = from_cov(printed::<f64>(t));
        at.factor[2] *= 1.0 + t / 40.0;
        at
    }));
    assert_eq!(r.unexplained, ["kernel.factor/0 factor"]);
    assert_eq!(
        follows(&r),
        BTreeMap::from([("kernel.perturb.u_t kernel.factor true".to_string(), 1)])
    );
}

/// Catches a naive float32 implementation that is told of thirty mistakes: the printed formulas,
/// factor and ell from them. One cause, nothing unexplained, and the time from which on it is
/// right; with `t_min` there it passes.
#[test]
fn printed_formulas_in_float32_have_one_cause() {
    let times: Vec<f64> = (0..=50)
        .map(|i| 10f64.powf(-5.0 + f64::from(i) / 10.0))
        .collect();
    let a = answers::<f32>(&times, |t| from_cov(printed::<f32>(t)));
    let r = verdict(&a);
    let causes: Vec<&str> = r.diagnoses.iter().map(|d| d.id).collect();
    assert_eq!(
        causes,
        ["single-precision-cancellation"],
        "{:#?}",
        r.diagnoses
    );
    assert!(r.unexplained.is_empty(), "{:?}", r.unexplained);
    let from = r
        .lines
        .iter()
        .filter_map(|l| l.right_from)
        .fold(0.0, f64::max);
    assert!((0.01..1.0).contains(&from), "right from {from}");
    let late = judge_from(&a, &[], from, &mut |_, _| {}).unwrap();
    assert!(
        late.ok,
        "{:#?}",
        late.lines
            .iter()
            .filter(|l| !l.accepted)
            .map(|l| (&l.quantity, &l.off_at))
            .collect::<Vec<_>>()
    );
    assert!(
        late.lines.iter().all(|l| l.values < times.len() * 4),
        "early rows were judged"
    );
    // and just before it does not
    assert!(!judge_from(&a, &[], from * 0.5, &mut |_, _| {}).unwrap().ok);
}

/// Catches lines that wrap: at 80 and at 120 columns none is longer, and the plain mode is ASCII
/// without escapes. Commands are the exception in the plain mode: a log is for machines, too.
#[test]
fn reports_fit_their_width() {
    let a = answers::<f64>(TIMES, |t| {
        let [xx, xv, vv] = printed::<f64>(t);
        from_cov([xx, xv, vv * (1.0 + t / 50.0)])
    });
    let r = verdict(&a);
    for width in [80, 120] {
        let plain = text(
            &r,
            Look {
                width,
                plain: true,
                full: true,
            },
        );
        assert!(plain.is_ascii() && !plain.contains('\x1b'), "{plain}");
        for line in plain.lines().filter(|l| !l.contains("cld eval")) {
            assert!(line.len() <= width, "{} > {width}: {line}", line.len());
        }
    }
}

/// Catches a page that takes a file's words for markup, and one without cause, numbers or plots.
#[test]
fn pages_are_harmless_and_whole() {
    let mut a = answers::<f64>(TIMES, |t| {
        let [xx, xv, vv] = printed::<f64>(t);
        from_cov([xx, xv, vv * (1.0 + t / 50.0)])
    });
    a.implementation = "<script>alert(1)</script>".into();
    a.entries[0].id = "\"><img src=x>".into();
    let h = page(&verdict(&a));
    assert!(
        !h.contains("<script") && !h.contains("<img"),
        "markup of the file"
    );
    for what in [
        "No known mistake gives these numbers",
        "kernel.cov.vv",
        "<svg",
        "to see it",
        "Follows from it",
    ] {
        assert!(h.contains(what), "no {what}");
    }
}

/// Catches reports that fall over, or call right, what is no number: a NaN, an infinity and a huge
/// value among right float32 rows.
#[test]
fn what_is_no_number_is_off_and_shown() {
    for bad in [f64::NAN, f64::INFINITY, 3e38] {
        let mut a = answers::<f32>(&TIMES[5..], |t| from_cov(printed::<f32>(t)));
        let Answer::Given(outputs) = &mut a.entries[0].answer else {
            panic!("an answer")
        };
        outputs.get_mut("vv").unwrap().data[3] = bad;
        let r = verdict(&a);
        assert!(
            !r.ok && r.lines.iter().any(|l| l.output == "vv" && !l.accepted),
            "{bad} passes"
        );
        assert_eq!(
            r.lines.iter().filter(|l| !l.accepted).count(),
            1,
            "more than the damaged output is off"
        );
        let words = text(
            &r,
            Look {
                width: 80,
                plain: true,
                full: false,
            },
        );
        assert!(
            words.contains("damaged-rows")
                && words.contains(&format!("1 of {} outputs off", r.lines.len())),
            "{words}"
        );
        assert!(page(&r).contains("damaged-rows"));
    }
}
