//! Proved bounds of rounding errors: the code of critical CLD, run on a number that carries an
//! enclosure and its error.
//!
//! A [`Cert`] stands for one computed number at every point of a box of z and gamma. It has a
//! monomial in z, `e^-z` and gamma, an interval that holds the value of real arithmetic over that
//! monomial, and the error of f64 relative to the value as a sum of noise terms `c_i eps_i,
//! |eps_i| <= 1`, one for each rounding, with an interval for each `c_i`, and a remainder for
//! products of errors. Products and quotients add and subtract relative errors, whatever the width of
//! the box; sums weigh them by each term's share, for which the ratio of the two terms has to be
//! enclosed and nothing else. Numbers that are zero in real arithmetic (low words), or may be, have
//! absolute errors in units of their monomial; that a low word is zero is seen from the expression
//! ([`State`]), not from intervals.
//!
//! A rounding's own `c` is the least of: u; half the last place of the largest number that can be
//! rounded there; for sums, the smaller term (the other one is a double, and nearest is no farther
//! away); nothing where a power of two is multiplied, a number doubled, or two numbers within a
//! factor of two are subtracted (Sterbenz). Underflow is added where it can happen. It is the same
//! constant wherever that error comes back: `fma(z, z, -z*z)` has the error of `z*z` with the
//! opposite sign, and the low words work.
//!
//! Where the code leaves the truth, what it leaves is added: the exponential's reduction, table and
//! polynomial and S4's coefficients, all in exact arithmetic (`constants`).
//!
//! | file | what |
//! |---|---|
//! | `interval` | intervals with outward rounding; `e^x` and P(n, y) in them |
//! | `number` | [`Cert`] |
//! | `constants` | tables and polynomials of `special`, in rational arithmetic |
//! | `cover`, `page` | boxes of two more parameters; random points, and the page that proofs are written to |
//! | `far`, `psld`, `position`, `damped`, `vp` | z > 350, and the other processes, each with its tests |
//! | `tests` | the proof for critical CLD, its enclosures and bounds against double words and tables, plants |
//!
//! Assumed are IEEE 754 arithmetic in round-to-nearest with a correctly rounded fused multiply-add
//! and root, and what `docs/reference/certificate.md` names.

mod constants;
mod cover;
mod damped;
mod far;
mod interval;
mod number;
mod page;
mod position;
mod psld;
mod tests;
mod vp;

use super::cld::{covariance, mean, reduce};
use super::moments::factors;
use crate::small::Scalar;
use crate::special::{NEAR, REDUCTION, TABLE, p3_g_pieces, p3_g_sums};
use constants::{Exponential, exponential, pieces, reduction, s4_coefficients, series};
use interval::{Iv, ONE, exp, gamma_p, growing, up};
use number::{Cert, Mark, Mono, State, U, UNIT, with};
use std::sync::OnceLock;

const ENTRIES: [&str; 19] = [
    "mean xx",
    "mean xv",
    "mean vx",
    "mean vv",
    "S_xx",
    "S_xv",
    "S_vv",
    "det",
    "L_xx",
    "L_vx",
    "L_vv",
    "ell",
    "U_xx",
    "U_xv",
    "U_vv",
    "inverse xx",
    "inverse xv",
    "inverse vv",
    "log det",
];
/// The first entries are the mean's, the last one is the logarithm.
const MEANS: usize = 4;
const LOG: usize = ENTRIES.len() - 1;
const DET: usize = 7;
type Bounds = [f64; ENTRIES.len()];
type Entries = [[Cert; LOG - MEANS]; 2];

/// Masses: with any, entries are multiplied by rounded roots of it and stand anywhere between powers
/// of two; with a power of 4 (1/4 is the paper's) all of that is exact.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mass {
    PowerOf4,
    Any,
}

const MASSES: [Mass; 2] = [Mass::PowerOf4, Mass::Any];

const Z: Mono = Mono { z: 2, ..UNIT };
const E1: Mono = Mono { e: 2, ..UNIT };
const E2: Mono = Mono { e: 4, ..UNIT };
const T: Mono = Mono { z: 6, e: 4, ..UNIT };
const GAMMA: Mono = Mono { g: 2, ..UNIT };

/// What of the code may be planted with a fault.
#[derive(Clone, Copy, PartialEq)]
enum Plant {
    None,
    /// z's low word is dropped.
    LowWord,
}

/// What is the same for all boxes.
struct Parts {
    exponential: Exponential,
    series: f64,
}

fn parts() -> Parts {
    pieces();
    Parts {
        exponential: exponential(TABLE, reduction(REDUCTION)),
        series: series(&s4_coefficients()),
    }
}

fn the_parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(parts)
}

/// What of a computation depends on z alone.
struct AtZ {
    z: Cert,
    one_minus_z: Cert,
    e: Cert,
    e2: Cert,
    p3: Cert,
    g: Cert,
    /// The least of `max(1, z)`.
    largest_z: f64,
    mark: Mark,
    means: [[Cert; MEANS]; 2],
    /// The mean's bounds, by mass.
    mean_bounds: [[f64; MEANS]; 2],
}

/// A factor that is 1 in units of the mass, with a relative error.
fn unit(name: u32, error: f64) -> Cert {
    Cert::input(name, UNIT, ONE).noisy(None, error).0
}

/// `f` with roundings bounded at every scale, or where the numbers are.
fn at_scale<T>(mass: Mass, f: impl FnOnce() -> T) -> T {
    with(|s| s.scaled = mass == Mass::Any);
    let all = f();
    with(|s| s.scaled = false);
    all
}

/// How far an argument's sum of two doubles may be from it, in proportion.
const OFF: f64 = 64.0 * U * U;

/// `e^-z`, `e^-2z` as a sum of two numbers, and that sum rounded.
fn exponentials(z: Iv, parts: &Parts, off: f64) -> (Cert, [Cert; 2], Cert) {
    let x = &parts.exponential;
    let moved = up(1.01 * z.1 * off);
    let e = Cert::input(1, E1, ONE)
        .noisy(None, up(x.single + moved))
        .0
        .round();
    let pair = up(x.pair + 2.0 * moved);
    // x.low is relative to the sum's first term, not to e^-2z
    let low = 1.01 * x.low;
    assert!(low > up(x.low / (1.0 - x.low)));
    let high = Cert::input(2, E2, Iv(1.0 - low, 1.0 + low));
    let rest = Cert::input(3, E2, Iv(-low, low))
        .absolute()
        .noisy(None, pair)
        .0;
    let e2 = Cert::input(4, E2, ONE).noisy(None, pair).0.round();
    (e, [high, rest], e2)
}

/// z in a box on one side of [`NEAR`]; none where the box is too wide to say anything.
fn at_z(z: Iv, parts: &Parts, plant: Plant) -> Option<AtZ> {
    let near = z.1 <= NEAR;
    assert!(
        z.0 > 0.0 && z.1 <= 350.0 && (near || z.0 >= NEAR - MARGIN),
        "outside the domain, or not a number: {z:?}"
    );
    with(|s| *s = State::new(z));
    // z as a sum of two doubles: 2 ulp for the low word of tau, one for that of 1/sqrt(M), one
    // rounding
    let exact = Cert::input(0, Z, ONE);
    let (p, symbol) = exact.noisy(None, 7.0 * U);
    let off = OFF;
    let q = Cert::nothing(Z)
        .noisy(Some(symbol), -7.0 * U)
        .0
        .noisy(None, off)
        .0;
    let [zh, zl, one_minus_z] = reduce(p, q);
    let zl = if plant == Plant::LowWord {
        Cert::of(0.0)
    } else {
        zl
    };
    let (e, [high, rest], e2) = exponentials(z, parts, off);
    let (t, p4_near, p3_far) = p3_g_pieces([zh, zl], [high, rest]);
    if !t.get().rel || !near && !p3_far.get().rel || near && !p4_near.get().rel {
        return None;
    }
    // the code leaves out the rest times the low word of 4/3 (`pieces`), also in P4's series
    let left_out = up(1.01 * parts.exponential.low * 7.6e-17);
    let t = t
        .known(T, Iv::out(4.0 / 3.0, 4.0 / 3.0))
        .noisy(None, left_out)
        .0;
    let p4 = if near {
        let v = p4_near.get();
        p4_near
            .known(v.m, Iv::out(v.iv.0 * (1.0 - 1e-15), v.iv.1 * (1.0 + 1e-15)))
            .noisy(None, up(up(1.001 * parts.series) + left_out))
            .0
    } else {
        let [p3, p4] = [3, 4].map(|n| growing(|x| gamma_p(n, 2.0 * x), z));
        let less = p3_far.known(UNIT, p3) - t;
        if !less.get().rel {
            return None;
        }
        less.known(UNIT, p4)
    };
    let (p3, g) = p3_g_sums(t, p4);
    let means = MASSES.map(|mass| {
        // the rounded tau and 1/sqrt(M), sums of two doubles; xx and vv have no mass in them
        let [xx, _, _, vv] = mean(zh, one_minus_z, exact, e, Cert::of(1.0));
        at_scale(mass, || {
            let (tau, root) = match mass {
                Mass::PowerOf4 => (exact.noisy(None, 8.0 * U * U).0.round(), Cert::of(1.0)),
                Mass::Any => (exact * unit(10, 8.0 * U * U), unit(11, 1.001 * U)),
            };
            let [_, xv, vx, _] = mean(zh, one_minus_z, tau, e, root);
            [xx, xv, vx, vv]
        })
    });
    let mean_bounds = [0, 1].map(|i| {
        let [xx, xv, vx, vv] = means[i];
        let any = MASSES[i] == Mass::Any;
        // against e^-z max(1, z), where 1 - z crosses zero
        let v = vv.get();
        let largest = with(|s| s.ratio_of(v.m, E1, z.0.max(1.0)));
        let vv = up(up(v.error() * largest) / U);
        [xx.ulp(false), xv.ulp(any), vx.ulp(any), vv]
    });
    Some(AtZ {
        z: zh,
        one_minus_z,
        e,
        e2,
        p3,
        g,
        largest_z: z.0.max(1.0),
        mark: with(|s| s.mark()),
        means,
        mean_bounds,
    })
}

/// The entries without mean and logarithm, by mass, for gamma in a box.
fn at_gamma(at: &AtZ, gamma: Iv) -> Option<Entries> {
    assert!(gamma.0 >= 0.0 && gamma.1 <= 2.0, "outside: {gamma:?}");
    with(|s| s.rewind(at.mark, gamma, ONE));
    let gamma = Cert::boxed(20, GAMMA, gamma);
    let [xx, xv, vv, det] = covariance(at.z, at.one_minus_z, at.e2, at.p3, at.g, gamma);
    if ![xx, xv, vv, det].iter().all(|x| x.get().rel) {
        return None;
    }
    let l = xx.sqrt();
    Some(MASSES.map(|mass| {
        at_scale(mass, || {
            let (xv, vv, det) = match mass {
                Mass::PowerOf4 => (xv, vv, det),
                Mass::Any => {
                    let mass = Cert::input(22, UNIT, ONE);
                    (xv * unit(21, 1.001 * U), vv * mass, det * mass)
                }
            };
            let root = det.sqrt();
            let [_, l_vx, l_vv, ell] = factors(xv, l, root);
            let last = vv.sqrt();
            [
                xx,
                xv,
                vv,
                det,
                l,
                l_vx,
                l_vv,
                ell,
                root / last,
                xv / last,
                last,
                vv / det,
                xv / det,
                xx / det,
            ]
        })
    }))
}

/// Whether there is no mass in an entry.
fn own(entry: usize) -> bool {
    ["mean xx", "mean vv", "S_xx", "L_xx"].contains(&ENTRIES[entry])
}

/// Bounds in ulp, by mass.
fn bounds(at: &AtZ, entries: &Entries) -> [Bounds; 2] {
    [0, 1].map(|i| {
        let mut all = [0.0; ENTRIES.len()];
        all[..MEANS].copy_from_slice(&at.mean_bounds[i]);
        for (k, x) in entries[i].iter().enumerate() {
            let k = k + MEANS;
            all[k] = x.ulp(MASSES[i] == Mass::Any && !own(k));
        }
        // |ln(1 + d)| <= 1.0001 |d|, an ulp of at least 2 u, and one for the system's logarithm
        let d = entries[i][DET - MEANS].get();
        all[LOG] = if d.rel {
            up(d.size() / (2.0 * U) * 1.0002) + 1.0
        } else {
            f64::INFINITY
        };
        all
    })
}

/// A proof on boxes that are split until the bounds are within `targets`, or `depth` is reached.
struct Search<'a> {
    parts: &'a Parts,
    targets: [Bounds; 2],
    worst: [Bounds; 2],
    boxes: usize,
    /// Boxes in which a target is missed.
    missed: usize,
}

impl Search<'_> {
    fn new(parts: &Parts, targets: [Bounds; 2]) -> Search<'_> {
        Search {
            parts,
            targets,
            worst: [[0.0; ENTRIES.len()]; 2],
            boxes: 0,
            missed: 0,
        }
    }

    fn within(&self, b: &[Bounds; 2]) -> bool {
        // NaN is not within anything
        b.iter()
            .zip(&self.targets)
            .all(|(b, t)| b.iter().zip(t).all(|(b, t)| b <= t))
    }

    fn keep(&mut self, b: &[Bounds; 2]) {
        for (w, b) in self.worst.iter_mut().flatten().zip(b.iter().flatten()) {
            assert!(!b.is_nan());
            *w = w.max(*b);
        }
    }

    fn keep_in(&self, all: &mut Proof) {
        for (a, b) in all
            .worst
            .iter_mut()
            .flatten()
            .zip(self.worst.iter().flatten())
        {
            *a = a.max(*b);
        }
        all.boxes += self.boxes;
        all.missed += self.missed;
    }

    /// All gammas of these boxes, for z in a box.
    fn run(&mut self, z: Iv, gammas: Vec<Iv>, depth: u32) {
        let Some(at) = at_z(z, self.parts, Plant::None) else {
            assert!(depth > 0, "nothing is known for {z:?}");
            return self.halves(z, gammas, depth);
        };
        let width = (z.1 / z.0 - 1.0).max(2.0 * (z.1 - z.0)).max(1e-3);
        let mut open = gammas;
        let mut failed = vec![];
        while let Some(g) = open.pop() {
            self.boxes += 1;
            let b =
                at_gamma(&at, g).map_or([[f64::INFINITY; ENTRIES.len()]; 2], |e| bounds(&at, &e));
            if self.within(&b) {
                self.keep(&b);
            } else if g.0 == 0.0 && g.1 > 1e-6 * z.0.min(1.0) {
                open.extend([Iv(0.0, g.1 / 4.0), Iv(g.1 / 4.0, g.1)]);
            } else if g.0 > 0.0 && g.1 / g.0 - 1.0 > 2.0 * width {
                let middle = (g.0 * g.1).sqrt().clamp(g.0, g.1);
                open.extend([Iv(g.0, middle), Iv(middle, g.1)]);
            } else if depth == 0 {
                self.missed += 1;
                self.keep(&b);
            } else {
                failed.push(g);
            }
        }
        if !failed.is_empty() {
            self.halves(z, failed, depth);
        }
    }

    fn halves(&mut self, z: Iv, gammas: Vec<Iv>, depth: u32) {
        let middle = (z.0 * z.1).sqrt().clamp(z.0, z.1);
        self.run(Iv(z.0, middle), gammas.clone(), depth - 1);
        self.run(Iv(middle, z.1), gammas, depth - 1);
    }
}

/// Boxes of [0, 2] between powers of two, the last one far below z.
fn gammas(z: Iv) -> Vec<Iv> {
    let mut all = vec![];
    let mut top = 2.0;
    while top > z.0.min(1.0) / 1024.0 {
        all.push(Iv(0.5 * top, top));
        top *= 0.5;
    }
    all.push(Iv(0.0, top));
    all
}

/// Boxes of z between powers of two, and at [`NEAR`].
fn zs() -> Vec<Iv> {
    let mut all = vec![];
    let mut at = DOMAIN.0;
    while at < DOMAIN.1 {
        let next = if at < NEAR {
            // the next power of two
            f64::from_bits(((at.to_bits() >> 52) + 1) << 52).min(NEAR)
        } else {
            at + if at < 8.0 {
                0.0625
            } else if at < 20.0 {
                0.25
            } else {
                1.0
            }
        };
        let next = next.min(DOMAIN.1);
        let from = if at == NEAR { NEAR - MARGIN } else { at };
        all.push(Iv(from, next));
        at = next;
    }
    all
}

/// By how much the boxes on the far side of [`NEAR`] begin below it: a z just below is rounded to it.
const MARGIN: f64 = 1e-9;

const DOMAIN: Iv = Iv(1e-12, 350.0);

/// What was proved.
#[derive(Clone, Copy, Debug)]
struct Proof {
    worst: [Bounds; 2],
    boxes: usize,
    missed: usize,
}

/// The boxes between ends; refuses none, gaps and what does not span the domain.
fn check_cover(boxes: &[Iv], domain: Iv) {
    assert!(!boxes.is_empty(), "an empty cover");
    assert!(boxes.iter().all(|b| b.0 <= b.1), "a box that is none");
    assert!(
        boxes[0].0 <= domain.0 && boxes[boxes.len() - 1].1 >= domain.1,
        "the cover does not reach the ends of {domain:?}"
    );
    assert!(
        boxes.windows(2).all(|w| w[1].0 <= w[0].1),
        "a gap between boxes"
    );
}

/// The whole domain, on two threads.
fn prove(parts: &Parts, targets: [Bounds; 2], depth: u32) -> Proof {
    let boxes = zs();
    check_cover(&boxes, DOMAIN);
    let mut all = Proof {
        worst: [[0.0; ENTRIES.len()]; 2],
        boxes: 0,
        missed: 0,
    };
    let half = |half: usize| {
        let mut search = Search::new(parts, targets);
        for z in boxes.iter().skip(half).step_by(2) {
            let mut gammas = gammas(*z);
            gammas.reverse();
            check_cover(&gammas, Iv(0.0, 2.0));
            search.run(*z, gammas, depth);
        }
        search
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        for search in [
            half(0),
            other.join().expect("a proof fails by an assertion"),
        ] {
            assert!(search.boxes > 0, "no boxes");
            search.keep_in(&mut all);
        }
    });
    all
}
