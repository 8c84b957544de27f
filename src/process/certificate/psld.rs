//! PSLD: the algebra of its covariance, in `z = kappa tau`, gamma and the share `a = Gamma/(Gamma +
//! nu)` of its noise that goes into x.
//!
//! Its numbers are scaled by rates and masses that are anything, so that roundings are bounded
//! relative to the values alone. With rates in units of kappa: `tau = z`, `Gamma = 4 a`,
//! `nu = 4 (1 - a)`, `w = z (1 - 2 a)`. a is at most 0.45 (the paper has 0.0025): beyond 1/2 the
//! coupling changes sign and S_xv cancels.

use super::super::moments::factors;
use super::super::psld::covariance;
use super::*;

pub(super) const NAMES: [&str; 8] = ["S_xx", "S_xv", "S_vv", "det", "L_xx", "L_vx", "L_vv", "ell"];

pub(super) const MOST: f64 = 0.45;

/// The entries for boxes of a and gamma; none where they are too wide to say anything.
pub(super) fn entries(at: &AtZ, a: Iv, gamma: Iv) -> Option<[Cert; NAMES.len()]> {
    assert!(a.0 >= 0.0 && a.1 <= MOST && gamma.0 >= 0.0 && gamma.1 <= 2.0);
    with(|s| s.rewind(at.mark, gamma, a));
    at_scale(Mass::Any, || {
        let four = |x: Iv| Iv(4.0 * x.0, 4.0 * x.1);
        let gx = if a.0 > 0.0 {
            Cert::input(30, Mono { a: 2, ..UNIT }, Iv(4.0, 4.0))
        } else {
            Cert::input(30, UNIT, four(a))
        };
        let rest = ONE.sub(a);
        let nu = Cert::input(31, UNIT, four(rest));
        // sums of two doubles, of which the first is used
        let tau = Cert::input(32, Z, ONE).noisy(None, 1.001 * U).0;
        let w = Cert::input(33, Z, rest.sub(a)).noisy(None, 1.001 * U).0;
        let gamma = Cert::boxed(20, GAMMA, gamma);
        let [xx, xv, vv, det] = covariance(tau, at.z, w, gx, nu, at.e2, at.p3, at.g, gamma);
        let mass = unit(34, 1.001 * U);
        let (vv, det) = (vv * mass, det * mass);
        if ![xx, xv, vv, det].iter().all(|x| x.get().rel) {
            return None;
        }
        let [l, l_vx, l_vv, ell] = factors(xv, xx.sqrt(), det.sqrt());
        Some([xx, xv, vv, det, l, l_vx, l_vv, ell])
    })
}

/// The search over boxes of (a, gamma), as [`Search`](super::Search).
pub(super) struct Search<'a> {
    pub parts: &'a Parts,
    pub targets: [f64; NAMES.len()],
    pub worst: [f64; NAMES.len()],
    pub boxes: usize,
    pub missed: usize,
}

/// `x` in two, where it is wider than `width` in proportion or goes down to zero from above `floor`.
fn split(x: Iv, width: f64, floor: f64) -> Option<[Iv; 2]> {
    let middle = if x.0 > 0.0 {
        if x.1 / x.0 - 1.0 <= width {
            return None;
        }
        (x.0 * x.1).sqrt().clamp(x.0, x.1)
    } else {
        if x.1 <= floor {
            return None;
        }
        x.1 / 16.0
    };
    Some([Iv(x.0, middle), Iv(middle, x.1)])
}

impl Search<'_> {
    pub fn run(&mut self, z: Iv, boxes: Vec<(Iv, Iv)>, depth: u32) {
        let at = at_z(z, self.parts, Plant::None);
        let width = 2.0 * (z.1 / z.0 - 1.0).max(2.0 * (z.1 - z.0)).max(0.01);
        let small = z.0.min(1.0);
        let mut open = boxes;
        let mut failed = vec![];
        while let Some((a, g)) = open.pop() {
            self.boxes += 1;
            let b = at
                .as_ref()
                .and_then(|at| entries(at, a, g))
                .map_or([f64::INFINITY; NAMES.len()], |e| e.map(|x| x.ulp(true)));
            if b.iter().zip(&self.targets).all(|(b, t)| b <= t) {
                self.keep(&b);
                continue;
            }
            let ratio = |x: Iv| if x.0 > 0.0 { x.1 / x.0 } else { f64::INFINITY };
            let halves = [
                split(a, width, 1e-6 * small * small),
                split(g, width, 1e-6 * small),
            ];
            match halves {
                [Some(h), None] => open.extend(h.map(|a| (a, g))),
                [Some(h), Some(_)] if ratio(a) >= ratio(g) => open.extend(h.map(|a| (a, g))),
                [_, Some(h)] => open.extend(h.map(|g| (a, g))),
                [None, None] if depth == 0 => {
                    self.missed += 1;
                    self.keep(&b);
                }
                [None, None] => failed.push((a, g)),
            }
        }
        if !failed.is_empty() {
            let middle = (z.0 * z.1).sqrt().clamp(z.0, z.1);
            self.run(Iv(z.0, middle), failed.clone(), depth - 1);
            self.run(Iv(middle, z.1), failed, depth - 1);
        }
    }

    fn keep(&mut self, b: &[f64; NAMES.len()]) {
        for (w, b) in self.worst.iter_mut().zip(b) {
            assert!(!b.is_nan());
            *w = w.max(*b);
        }
    }
}

/// The whole domain of z, gamma and a, on two threads.
pub(super) fn prove(parts: &Parts, targets: [f64; NAMES.len()], depth: u32) -> Search<'_> {
    let boxes = zs();
    check_cover(&boxes, DOMAIN);
    let half = |half: usize| {
        let mut search = Search {
            parts,
            targets,
            worst: [0.0; NAMES.len()],
            boxes: 0,
            missed: 0,
        };
        for z in boxes.iter().skip(half).step_by(2) {
            search.run(*z, vec![(Iv(0.0, MOST), Iv(0.0, 2.0))], depth);
        }
        search
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        let mut all = half(0);
        let other = other.join().expect("a proof fails by an assertion");
        assert!(all.boxes > 0 && other.boxes > 0, "no boxes");
        all.keep(&other.worst);
        all.boxes += other.boxes;
        all.missed += other.missed;
        all
    })
}
