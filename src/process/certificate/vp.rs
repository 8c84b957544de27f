//! VP and sub-VP: their algebra on the system's `exp` and `expm1`, which are assumed within 1 ulp.
//!
//! One dimension, `h = 2 z`, the high word of tau. The low word is an input of its own, as `1 - e^-l`
//! for l: then `e^-h (1 - l)` and `(1 - e^-h) + l e^-h` are exact, and what the code leaves out, l^2/2,
//! is an error of the low word's.

use super::super::vp::decayed;
use super::page::{Compared, Draws, block, pinned};
use super::*;
use crate::dd::Dd;
use crate::process::{LinearSde, SubVp, Vp};
use crate::schedule::Span;
use crate::special::one_minus_exp_neg_pieces;

const VP: [&str; 8] = [
    "mean",
    "cov = det",
    "std = L = U",
    "ell = L^-T = U^-T",
    "inverse",
    "log det",
    "snr",
    "sigma",
];
const SUB_VP: [&str; 9] = [
    "mean",
    "cov = det, from 0",
    "std = L = U, from 0",
    "ell = L^-T = U^-T, from 0",
    "inverse, from 0",
    "log det, from 0",
    "cov = det, any interval",
    "std = L = U, any interval",
    "inverse, any interval",
];
/// What is to be reached: a bound counts the worst place between powers of two for each rounding.
const VP_TARGETS: [f64; VP.len()] = [3.1, 3.1, 2.6, 3.6, 4.1, 2.6, 9.7, 5.6];
const SUB_VP_TARGETS: [f64; SUB_VP.len()] = [3.1, 7.1, 4.6, 5.6, 8.1, 4.6, 7.1, 4.6, 8.1];

/// tau: the kernel is refused where its variance is no normal number. At the far end the mean is
/// 1e-304.
const TAU: Iv = Iv(1e-290, 1400.0);
/// Sub-VP's variance is of second order.
const SUB_VP_FROM: f64 = 1e-145;
/// Above this tau snr and sigma are not looked at: the mean's square is soon no normal number.
const RATIOS: f64 = 600.0;

/// The low word of tau is at most 2 ulp of the high one.
const LOW: f64 = 4.0 * U;

/// A fault in the code that is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The low word of tau is dropped.
    NoLow,
    /// The system's functions are within 2 ulp.
    System,
}

/// The low word of `share` times tau, in units of z.
fn low_word(name: u32, share: f64, z: Iv) -> Cert {
    let l = share * LOW * 1.001;
    // l^2 / 2 of the truncation, twice, and tau's own error of 2 ulp of its low word
    let off = up(up(l * l * z.1) + 128.0 * U * U);
    Cert::input(name, Z, Iv(-l, l))
        .absolute()
        .noisy(None, off)
        .0
}

/// Mean and variance of VP for `h/2` in a box.
fn at(z: Iv, fault: Fault) -> [Cert; 2] {
    with(|s| *s = State::new(z));
    let n = if fault == Fault::System { 2.0 } else { 1.0 };
    let low = |name, share| match fault {
        // (the truth has it)
        Fault::NoLow => low_word(name, share, z).noisy(None, share * LOW).0,
        _ => low_word(name, share, z),
    };
    let e = Cert::input(0, E1, ONE).within_ulp(n);
    let mean = decayed(e, low(1, 1.0));
    let e2 = Cert::input(2, E2, ONE).within_ulp(n);
    // (1 - e^-2z) / z falls
    let part = |z: f64| {
        if z < 300.0 {
            gamma_p(1, 2.0 * z)
        } else {
            Iv(ONE.0.next_down(), 1.0) // to 1e-260
        }
    };
    let (m, iv) = if z.1 <= 1.0 {
        let by = |z: f64| part(z).mul(Iv::point(z).recip());
        (Z, Iv::checked(by(z.1).0, by(z.0).1))
    } else {
        (UNIT, growing(part, z))
    };
    let q = Cert::input(3, m, iv).within_ulp(n);
    [mean, one_minus_exp_neg_pieces(-q, low(4, 2.0), e2)]
}

/// The same for tau above [`TAU`]: `e^-tau` is next to nothing, and so is the low word times it.
fn far() -> Cert {
    with(|s| *s = State::new(ONE));
    let least = 1e-300;
    let q = Cert::input(0, UNIT, Iv(1.0 - U, 1.0)).within_ulp(1.0);
    let e2 = Cert::input(1, UNIT, Iv(0.0, least)).within_ulp(1.0);
    one_minus_exp_neg_pieces(-q, Cert::input(2, UNIT, Iv(-1.0, 1.0)), e2)
}

/// `|ln|` of a number with this error, in ulp of at least 2 u, and one for the system's logarithm.
fn log_ulp(x: Cert) -> f64 {
    up(x.get().size() / (2.0 * U) * 1.0002) + 1.0
}

/// What both processes make of a variance: itself, its root, the root's inverse, its inverse, the
/// logarithm.
fn made(cov: Cert) -> [f64; 5] {
    let (l, one) = (cov.sqrt(), Cert::of(1.0));
    [
        cov.ulp(false),
        l.ulp(false),
        (one / l).ulp(false),
        (one / cov).ulp(false),
        log_ulp(cov),
    ]
}

/// Bounds of VP for `h/2` in a box.
fn vp(z: Iv, fault: Fault) -> [f64; VP.len()] {
    let [mean, cov] = at(z, fault);
    let [c, l, ell, inverse, log] = made(cov);
    let ratios = if 2.0 * z.1 <= RATIOS {
        let (l, snr) = (cov.sqrt(), mean * mean / cov);
        [snr.ulp(false), (l / mean).ulp(false)]
    } else {
        [0.0; 2]
    };
    [
        mean.ulp(false),
        c,
        l,
        ell,
        inverse,
        log,
        ratios[0],
        ratios[1],
    ]
}

/// The largest relative error of `1 - e^-x` over all x there are.
pub(super) fn largest() -> f64 {
    let near = boxes(TAU.0).into_iter().map(|z| at(z, Fault::None)[1]);
    let size = |x: Cert| {
        assert!(x.get().rel, "a variance that may be zero");
        x.get().size()
    };
    near.map(size).fold(size(far()), f64::max)
}

/// Bounds of sub-VP for `h/2` in a box: the second factor is the first one again (from time 0), or
/// `1 - e^-x` for any other x, of which nothing but its error is known.
fn sub_vp(z: Iv, other: f64) -> [f64; SUB_VP.len()] {
    let [mean, cov] = at(z, Fault::None);
    let [c, l, ell, inverse, log] = made(cov * cov);
    let (any, root, back) = at_scale(Mass::Any, || {
        let any = cov * unit(10, other);
        (any, any.sqrt(), Cert::of(1.0) / any)
    });
    [
        mean.ulp(false),
        c,
        l,
        ell,
        inverse,
        log,
        any.ulp(true),
        root.ulp(true),
        back.ulp(true),
    ]
}

/// Boxes of h/2, with ends at powers of two: from 1 on 1/16 wide, below as wide in proportion, and
/// where `1 - e^-h` is h but for its last digits, half as wide as they lie high.
fn boxes(from: f64) -> Vec<Iv> {
    let mut all = vec![];
    let (mut at, end) = (0.5 * from, 0.5 * TAU.1);
    while at < end {
        let power = 2f64.powi(at.log2().floor() as i32);
        let step = (if at < 1e-9 { 0.5 } else { 0.0625 }) * power.min(1.0);
        let next = (((at / step).floor() + 1.0) * step).min(end);
        all.push(Iv(at, next));
        at = next;
    }
    all
}

/// The worst of all boxes, on two threads.
fn prove<const N: usize>(from: f64, of: impl Fn(Iv) -> [f64; N] + Sync) -> ([f64; N], usize) {
    let boxes = boxes(from);
    check_cover(&boxes, Iv(0.5 * from, 0.5 * TAU.1));
    let half = |half: usize| {
        let mut worst = [0.0; N];
        for z in boxes.iter().skip(half).step_by(2) {
            keep(&mut worst, &of(*z));
        }
        worst
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        let mut worst = half(0);
        keep(
            &mut worst,
            &other.join().expect("a proof fails by an assertion"),
        );
        (worst, boxes.len())
    })
}

/// The larger of each pair; NaN is refused.
fn keep(worst: &mut [f64], b: &[f64]) {
    for (w, b) in worst.iter_mut().zip(b) {
        assert!(!b.is_nan());
        *w = w.max(*b);
    }
}

/// `1 - e^-x` in double words.
fn one_minus_exp(x: Dd) -> Dd {
    if x.hi > 600.0 {
        return Dd::ONE; // to 1e-260
    }
    let m = x.exp_m1();
    m / (m + Dd::ONE)
}

/// A tau at random.
fn draw(d: &mut Draws) -> Dd {
    let tau = match (d.next() * 3.0) as u32 {
        0 => d.between(1e-280, 1.0),
        1 => d.between(1e-3, 60.0),
        _ => d.between(1.0, 1398.0),
    };
    Dd::new(tau, tau * U * (2.0 * d.next() - 1.0))
}

/// In ulp of the truth; 0 where that is no normal number.
fn off(got: f64, truth: Dd) -> f64 {
    let x = truth.to_f64().abs();
    if !(1e-290..1e290).contains(&x) {
        return 0.0;
    }
    (Dd::from(got) - truth).abs().to_f64() / (x.next_up() - x)
}

/// Of the logarithm, in ulp of `max(1, |log|)`; 0 near 1, where another route is taken, and where
/// there is no normal number.
fn log_off(of: f64, truth: Dd) -> f64 {
    if (truth.to_f64() - 1.0).abs() < 1.0 / 64.0 || truth.to_f64() < 1e-290 {
        return 0.0;
    }
    let truth = truth.ln();
    let x = truth.to_f64().abs().max(1.0);
    (Dd::from(of.ln()) - truth).abs().to_f64() / (x.next_up() - x)
}

/// The errors of what is made of a variance, as in [`made`].
fn made_off(got: f64, truth: Dd) -> [f64; 5] {
    [
        off(got, truth),
        off(got.sqrt(), truth.sqrt()),
        off(1.0 / got.sqrt(), truth.sqrt().recip()),
        off(1.0 / got, truth.recip()),
        log_off(got, truth),
    ]
}

/// The errors of VP's own results at a tau.
fn vp_off(tau: Dd) -> [f64; VP.len()] {
    let m = Vp.moments(
        Span {
            start: Dd::ZERO,
            tau,
        },
        0.0,
    );
    let (mean, cov) = (m.mean.0[0][0], m.cov.0[0][0]);
    assert_eq!(m.det, cov);
    let q = one_minus_exp(tau);
    let [c, l, ell, inverse, log] = made_off(cov, q);
    let phi = (-tau.scale(0.5)).exp();
    let ratios = if tau.hi <= RATIOS {
        [
            off(mean * mean / cov, phi * phi / q),
            off(cov.sqrt() / mean, q.sqrt() / phi),
        ]
    } else {
        [0.0; 2]
    };
    [
        off(mean, phi),
        c,
        l,
        ell,
        inverse,
        log,
        ratios[0],
        ratios[1],
    ]
}

/// The errors of sub-VP's own results at a tau, with a start.
fn sub_vp_off(tau: Dd, start: Dd) -> [f64; SUB_VP.len()] {
    let run = |start| {
        let m = SubVp.moments(Span { start, tau }, 0.0);
        (m.mean.0[0][0], m.cov.0[0][0])
    };
    let ((mean, zero), (_, any)) = (run(Dd::ZERO), run(start));
    let q = one_minus_exp(tau);
    let [c, l, ell, inverse, log] = made_off(zero, q * q);
    let other = made_off(any, q * one_minus_exp(start + start + tau));
    let mean = off(mean, (-tau.scale(0.5)).exp());
    [mean, c, l, ell, inverse, log, other[0], other[1], other[3]]
}

const POINTS: usize = 100_000;

/// Catches a bound that is none, and a certificate of other code than what runs: the processes' own
/// results at random points, against double words and below the bounds of boxes round the points.
/// And the assumption, at the same points: the system's functions within 1 ulp.
#[test]
fn errors_of_vp_and_sub_vp_are_below_the_bounds() {
    let other = largest();
    let mut d = Draws(3);
    for _ in 0..3000 {
        let tau = draw(&mut d);
        let z = 0.5 * tau.hi;
        let zb = Iv(z * (1.0 - 1e-3), z * (1.0 + 1e-3));
        let start = if d.next() < 0.5 {
            Dd::from(tau.hi * d.between(1e-9, 1e3))
        } else {
            Dd::ZERO
        };
        let (more, most) = if tau.hi >= 1.1 * SUB_VP_FROM {
            (sub_vp_off(tau, start), sub_vp(zb, other))
        } else {
            ([0.0; SUB_VP.len()], [0.0; SUB_VP.len()])
        };
        let errors = vp_off(tau).into_iter().chain(more);
        let bounds = vp(zb, Fault::None).into_iter().chain(most);
        let names = VP.iter().chain(&SUB_VP);
        for ((off, bound), name) in errors.zip(bounds).zip(names) {
            assert!(off <= bound, "{name} at {tau:?}: {off} ulp, bound {bound}");
        }
        let x = Dd::from(tau.hi);
        let system = [
            off((-tau.hi).exp(), (-x).exp()),
            off(-(-tau.hi).exp_m1(), one_minus_exp(x)),
        ];
        if tau.hi < 600.0 {
            assert!(system.iter().all(|e| *e <= 1.0), "{system:?} at {tau:?}");
        }
    }
}

/// Catches a bound of VP or sub-VP on the page that is no longer proved. The variance beyond the
/// boxes included.
#[test]
fn every_entry_of_vp_and_sub_vp_is_bounded() {
    let start = std::time::Instant::now();
    let far = far().ulp(false);
    assert!(far < VP_TARGETS[1], "{far}");
    let (proved, boxes) = prove(TAU.0, |z| vp(z, Fault::None));
    let other = largest();
    let (sub, more) = prove(SUB_VP_FROM, |z| sub_vp(z, other));
    let seconds = start.elapsed().as_secs_f64();
    let (mut seen, mut sub_seen) = ([0.0; VP.len()], [0.0; SUB_VP.len()]);
    let mut d = Draws(13);
    for _ in 0..POINTS {
        let tau = draw(&mut d);
        keep(&mut seen, &vp_off(tau));
        let start = Dd::from(tau.hi * d.between(1e-9, 1e3));
        if tau.hi > SUB_VP_FROM {
            keep(&mut sub_seen, &sub_vp_off(tau, start));
        }
    }
    let rows = |names: &[&'static str], a: &[f64], b: &[f64]| -> Vec<(&str, f64, f64)> {
        (0..names.len()).map(|i| (names[i], a[i], b[i])).collect()
    };
    let page = block("entry of VP", &rows(&VP, &proved, &seen), boxes);
    pinned("vp", &page, seconds, Compared::AllButLast);
    let page = block("entry of sub-VP", &rows(&SUB_VP, &sub, &sub_seen), more);
    pinned("sub-vp", &page, seconds, Compared::AllButLast);
    for (b, t) in proved
        .iter()
        .zip(&VP_TARGETS)
        .chain(sub.iter().zip(&SUB_VP_TARGETS))
    {
        assert!(b <= t, "{b} is not within {t}");
    }
}

/// Catches a certificate that cannot fail: a low word dropped, and a system whose functions are
/// half as good as assumed.
#[test]
fn faults_of_vp_are_seen() {
    let z = Iv(10.0, 10.05);
    let [good, low, system] = [Fault::None, Fault::NoLow, Fault::System].map(|f| vp(z, f));
    // e^-10 without its low word is off by 40 u
    assert!(low[0] > good[0] + 20.0, "{good:?} {low:?}");
    assert!(
        system[0] > good[0] + 0.9 && system[1] > good[1] + 0.9,
        "{good:?} {system:?}"
    );
}
