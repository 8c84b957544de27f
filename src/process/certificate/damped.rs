//! CLD at any damping, at short times: where X comes from its series, `(a + |sqrt delta|) tau < 1`.
//!
//! Two dimensions, with tau for the unit of time: `theta = tau / sqrt(M)` and the damping ratio
//! `zeta = Gamma / (2 sqrt(M))`, so that `a tau = zeta theta` and `delta tau^2 = theta^2 (zeta^2 - 1)`;
//! gamma needs no boxes, being a factor of what is added. C, S and `C - a S` are inputs: the errors of
//! the system's functions (assumed within 1 ulp) and of the steps from them are added up by hand in
//! [`Primitives`], for both signs of delta. X, covariance, determinant and what is made of them are the
//! code's own.

use super::super::cld_damped::{early, entries};
use super::page::{Compared, Draws, block, pinned};
use super::tests::{POINTS, all_entries, made as made_of};
use super::vp::largest;
use super::*;
use crate::dd::Dd;
use crate::process::{CldDamped, LinearSde};
use crate::schedule::Span;

const THETA_LEAST: f64 = 1e-12;
const ZETA: Iv = Iv(0.015625, 64.0);
/// From here on `C - a S` is computed from its two modes: d >= a/2.
const MODES: f64 = 1.154_700_538_379_251_5;

/// Relative errors of `e^(-x)` by `exp_neg`, and of C and S with it.
#[derive(Clone, Copy)]
struct Primitives {
    e: f64,
    c: f64,
    s: f64,
}

impl Primitives {
    /// `m` for that of `1 - e^-x`. Overdamped: `c = 1 - m/2`, m at most c, one rounding; `s = m / 2d`,
    /// two. Underdamped: the system's sine and cosine, 1 ulp and a rounding each, and two more in s
    /// (its argument at most 1). Then times e.
    fn new(parts: &Parts) -> Primitives {
        let e = up(parts.exponential.single + 2.0 * OFF + 1.001 * U);
        let m = largest();
        let more = up(e + 1.001 * U);
        Primitives {
            e,
            c: up((m + U).max(3.01 * U) + more) * 1.0001,
            s: up((m + 2.0 * U).max(5.01 * U) + more) * 1.0001,
        }
    }

    /// The absolute error of `(C - a S) e^(-a tau)`, from the enclosures of C, a S and the result.
    fn w(&self, zeta: Iv, c: Iv, a_s: Iv, w: Iv) -> f64 {
        // difference and product; the low words of a and of S in the product
        let plain = up(c.1 * self.c) + up(a_s.1 * up(self.s + 2.0 * U));
        // (e^(-2 d tau) (a + d) - (a - d)) / 2d, the terms at most 3/2 and 1/2
        let modes = 1.5 * (self.e + 3.0 * U) + 2.5 * U;
        let first = match (zeta.0 < MODES * 1.0001, zeta.1 > MODES * 0.9999) {
            (true, true) => plain.max(modes),
            (true, false) => plain,
            _ => modes,
        };
        up(first + up(w.mag() * (self.e + 5.0 * U))) * 1.0001
    }
}

/// `sum x^n / (2n + odd)!` for x in [-1.1, 1.1], at a point; grows with x there.
fn even_series(x: f64, odd: u32) -> Iv {
    let (mut term, mut sum) = (ONE, ONE);
    for n in 1..14 {
        let k = 2 * n + odd;
        let by = Iv::point(f64::from(k * (k - 1))).recip();
        term = term.mul(Iv::point(x)).mul(by);
        sum = sum.add(term);
    }
    sum.add(Iv(-1e-25, 1e-25))
}

fn falling_exp(x: Iv) -> Iv {
    growing(exp, x).recip()
}

/// The enclosures of `delta tau^2`, and of C, S and C - a S with `e^(-a tau)`.
struct Values {
    k: Iv,
    z: Iv,
    c: Iv,
    s: Iv,
    w: Iv,
}

fn values(theta: Iv, zeta: Iv) -> Values {
    let z = theta.mul(zeta);
    let over = zeta.square().sub(ONE);
    let k = theta.square().mul(over);
    assert!(k.mag() < 1.1, "delta tau^2 in {k:?}");
    let e = falling_exp(z);
    let c = growing(|x| even_series(x, 0), k);
    let s = growing(|x| even_series(x, 1), k);
    let w = c.sub(z.mul(s));
    Values {
        k: over,
        z,
        c: c.mul(e),
        s: s.mul(e),
        w: w.mul(e),
    }
}

/// Bounds in ulp, of any scale; `mean vv` in units of u C.
fn bounds(theta: Iv, zeta: Iv, primitives: Primitives) -> Bounds {
    bounds_here(theta, zeta, primitives).unwrap_or([f64::INFINITY; ENTRIES.len()])
}

fn bounds_here(theta: Iv, zeta: Iv, errors: Primitives) -> Option<Bounds> {
    with(|s| {
        *s = State::new(theta);
        let mark = s.mark();
        s.rewind(mark, ONE, zeta);
    });
    let v = values(theta, zeta);
    at_scale(Mass::Any, || {
        let noisy = |c: Cert, n: f64| c.noisy(None, n).0;
        let rounded = 1.001 * U;
        let a = noisy(Cert::input(60, Mono { z: 2, a: 2, ..UNIT }, ONE), rounded);
        let t = noisy(Cert::input(61, UNIT, ONE), rounded);
        let m = Cert::input(62, Mono { z: -4, ..UNIT }, ONE);
        let delta = Cert::input(63, Mono { z: 4, ..UNIT }, v.k).times_known(unit(64, rounded));
        let e2 = falling_exp(Iv(2.0 * v.z.0, 2.0 * v.z.1));
        let e2 = noisy(Cert::input(65, UNIT, e2), errors.e);
        // the series' rest, and factorials that are no doubles, both below 1e-20 of the sum
        let x = noisy(early(a, t, delta, e2, m), 1e-20);
        let c = noisy(Cert::input(66, UNIT, v.c), errors.c);
        let s = noisy(Cert::input(67, UNIT, v.s), errors.s);
        let off = errors.w(zeta, v.c, v.z.mul(v.s), v.w);
        let w = Cert::input(68, UNIT, v.w);
        let w = if v.w.0 > 0.01 {
            noisy(w, up(off / v.w.0))
        } else {
            noisy(w.absolute(), off)
        };
        let gamma = Cert::input(20, UNIT, Iv(0.0, 2.0));
        let [mxx, mxv, mvx, mvv, xx, xv, vv, det] = entries(a, [c, s, w], x, m, gamma);
        if ![xx, xv, vv, det].iter().all(|x| x.get().rel) {
            return None;
        }
        let (l, root, last) = (xx.sqrt(), det.sqrt(), vv.sqrt());
        let [l, l_vx, l_vv, ell] = factors(xv, l, root);
        Some([
            mxx.ulp(true),
            mxv.ulp(true),
            mvx.ulp(true),
            up(mvv.error_in(UNIT) / (v.c.0 * U)),
            xx.ulp(true),
            xv.ulp(true),
            vv.ulp(true),
            det.ulp(true),
            l.ulp(true),
            l_vx.ulp(true),
            l_vv.ulp(true),
            ell.ulp(true),
            (root / last).ulp(true),
            (xv / last).ulp(true),
            last.ulp(true),
            (vv / det).ulp(true),
            (xv / det).ulp(true),
            (xx / det).ulp(true),
            up(det.get().size() / (2.0 * U) * 1.0002) + 1.0,
        ])
    })
}

/// Between `lo` and `hi`, `ratio` wide in proportion.
fn geometric(lo: f64, hi: f64, ratio: f64) -> Vec<Iv> {
    let mut all = vec![];
    let mut at = lo;
    while at < hi {
        let next = (at * ratio).min(hi);
        all.push(Iv(at, next));
        at = next;
    }
    all
}

/// `(a + |sqrt delta|) tau` at theta = 1.
fn reach(zeta: f64) -> f64 {
    zeta + (zeta * zeta - 1.0).abs().sqrt()
}

/// Boxes of theta for zeta in a box, to where the series ends, and a little on.
fn thetas(zeta: Iv) -> Vec<Iv> {
    // the root falls to zeta = 1 and grows from there: the least is at an end, or at 1
    let ends = [zeta.0, zeta.1, 1f64.clamp(zeta.0, zeta.1)];
    let end = 1.001 / ends.map(reach).into_iter().fold(f64::INFINITY, f64::min);
    let middle = 0.02 * end;
    let mut all = geometric(THETA_LEAST, middle, 2.0);
    all.extend(geometric(middle, end, 1.04));
    check_cover(&all, Iv(THETA_LEAST, end));
    all
}

/// What is to be reached.
const TARGET: f64 = 450.0;

/// The whole domain, on two threads: boxes in which something is infinite are split.
fn prove(parts: &Parts) -> (Bounds, usize) {
    let zetas = geometric(ZETA.0, ZETA.1, 1.03);
    check_cover(&zetas, ZETA);
    let primitives = Primitives::new(parts);
    let half = |half: usize| {
        let (mut worst, mut n) = ([0.0f64; ENTRIES.len()], 0);
        for zeta in zetas.iter().skip(half).step_by(2) {
            let mut open: Vec<(Iv, Iv, u32)> =
                thetas(*zeta).into_iter().map(|t| (t, *zeta, 0)).collect();
            while let Some((t, z, depth)) = open.pop() {
                n += 1;
                let b = bounds(t, z, primitives);
                if depth < 8 && !b.iter().all(|b| *b <= TARGET) {
                    let middle = |x: Iv| (x.0 * x.1).sqrt().clamp(x.0, x.1);
                    let (tm, zm) = (middle(t), middle(z));
                    for t in [Iv(t.0, tm), Iv(tm, t.1)] {
                        open.extend([Iv(z.0, zm), Iv(zm, z.1)].map(|z| (t, z, depth + 1)));
                    }
                    continue;
                }
                for (w, b) in worst.iter_mut().zip(b) {
                    assert!(!b.is_nan());
                    *w = w.max(b);
                }
            }
        }
        (worst, n)
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        let (mut worst, n) = half(0);
        let (more, m) = other.join().expect("a proof fails by an assertion");
        for (w, b) in worst.iter_mut().zip(more) {
            *w = w.max(b);
        }
        (worst, n + m)
    })
}

/// The entries in double words: C and S by their series in `delta tau^2`, X by its definition, the rest
/// by the algebra that `process::proof` proves. And C, against which `mean vv` is measured.
fn truth(mass: f64, friction: f64, tau: Dd, gamma: f64) -> ([Dd; ENTRIES.len()], Dd) {
    let m = Dd::from(mass);
    let a = Dd::from(friction) / m.scale(2.0);
    let delta = (Dd::prod(friction, friction) - m.scale(4.0)) / (m * m).scale(4.0);
    let k = delta * tau * tau;
    let series = |odd: f64| {
        let (mut term, mut sum) = (Dd::ONE, Dd::ONE);
        for n in 1..16 {
            let j = 2.0 * f64::from(n) + odd;
            term = term * k / Dd::from(j * (j - 1.0));
            sum = sum + term;
        }
        sum
    };
    let (e, e2) = ((-(a * tau)).exp(), (-(a * tau)).scale(2.0).exp());
    let (c, s) = (e * series(0.0), e * tau * series(1.0));
    // by its definition, where that leaves 18 digits; else by the code's own series
    let x = Dd::ONE - e2 - (a * s).scale(2.0) * (c + a * s);
    let x = if x.hi > 1e-12 {
        x
    } else {
        early(a, tau, delta, e2, m)
    };
    let [mxx, mxv, mvx, mvv, xx, xv, vv, det] =
        entries(a, [c, s, c - a * s], x, m, Dd::from(gamma));
    let all = all_entries([mxx, mxv, mvx, mvv], [xx, xv, vv, det]);
    (all, c)
}

/// A point of the domain, and the errors of the crate's own results there; 0 where the truth is no
/// normal number.
fn draw(d: &mut Draws) -> (f64, f64, Bounds) {
    let zeta = match (d.next() * 3.0) as u32 {
        0 => d.between(ZETA.0 * 1.001, ZETA.1 * 0.999),
        1 => d.between(0.5, 2.0),
        _ => 1.0 + 10f64.powf(-15.0 * d.next()) * if d.next() < 0.5 { 0.5 } else { -0.5 },
    };
    let end = 0.9999 / reach(zeta);
    let theta = if d.next() < 0.5 {
        d.between(1.01 * THETA_LEAST, end)
    } else {
        d.between(0.05 * end, end)
    };
    let mass = if d.next() < 0.5 {
        0.25
    } else {
        d.between(1e-4, 1e4)
    };
    let (friction, tau) = (2.0 * mass.sqrt() * zeta, theta * mass.sqrt());
    let gamma = if d.next() < 0.3 {
        0.0
    } else {
        d.between(1e-9, 2.0)
    };
    let process = CldDamped::new(mass, friction).expect("in range");
    let tau = Dd::new(tau, tau * U * (d.next() - 0.5));
    let on = Span {
        start: Dd::ZERO,
        tau,
    };
    let got = made_of(&process.moments(on, gamma));
    let (want, c) = truth(mass, friction, tau, gamma);
    let errors = std::array::from_fn(|i| {
        let off = (Dd::from(got[i]) - want[i]).abs().to_f64();
        let x = want[i].to_f64().abs();
        match ENTRIES[i] {
            "mean vv" => off / (c.hi * U),
            "log det" => {
                let near = (want[DET].hi - 1.0).abs() < 1.0 / 64.0;
                let x = x.max(1.0);
                if near { 0.0 } else { off / (x.next_up() - x) }
            }
            _ if !(1e-290..1e290).contains(&x) => 0.0,
            _ => off / (x.next_up() - x),
        }
    });
    (theta, zeta, errors)
}

/// Catches a bound that is none, and a certificate of other code than what runs: errors at random
/// points, against double words, below the bounds of boxes round the points.
#[test]
fn errors_of_damped_cld_are_below_the_bounds() {
    let primitives = Primitives::new(the_parts());
    let mut d = Draws(31);
    let mut judged = 0;
    for _ in 0..2000 {
        let (theta, zeta, errors) = draw(&mut d);
        let around = |x: f64, w: f64| Iv(x * (1.0 - w), x * (1.0 + w));
        let b = bounds(around(theta, 1e-4), around(zeta, 1e-4), primitives);
        for ((off, bound), name) in errors.iter().zip(b).zip(ENTRIES) {
            assert!(
                *off <= bound,
                "{name} at theta = {theta:e}, zeta = {zeta}: {off} ulp, bound {bound}"
            );
            judged += usize::from(bound.is_finite());
        }
    }
    assert!(judged > 37_000, "{judged}");
}

/// Catches a bound of damped CLD on the page that is no longer proved.
#[test]
fn every_entry_of_damped_cld_is_bounded() {
    let mut d = Draws(37);
    let mut measured = [0.0f64; ENTRIES.len()];
    for _ in 0..POINTS {
        let (_, _, errors) = draw(&mut d);
        for (w, off) in measured.iter_mut().zip(errors) {
            assert!(!off.is_nan());
            *w = w.max(off);
        }
    }
    let start = std::time::Instant::now();
    let (worst, n) = prove(the_parts());
    let seconds = start.elapsed().as_secs_f64();
    let rows: Vec<_> = (0..ENTRIES.len())
        .map(|i| (ENTRIES[i], worst[i], measured[i]))
        .collect();
    let page = block("entry, any damping, short times", &rows, n);
    pinned("damped", &page, seconds, Compared::AllButLast);
    assert!(worst.iter().all(|b| *b <= TARGET), "{worst:.1?}");
}
