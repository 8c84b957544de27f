//! Constants: what the polynomials and tables of `special` leave of the functions they stand for, in
//! exact arithmetic.

use super::interval::{Iv, ONE, up};
use super::number::{Cert, State, UNIT, with};
use crate::small::Scalar;
use crate::special::{exp_pieces, p3_g_pieces, s4};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::ops::{Add, Div, Mul, Neg, Sub};

pub(super) fn rational(x: f64) -> BigRational {
    BigRational::from_float(x).expect("finite")
}

/// An upper bound of |x|, for x far from the ends of the range.
pub(super) fn above(x: &BigRational) -> f64 {
    if *x.numer() == BigInt::from(0) {
        return 0.0;
    }
    // 64 leading bits, rounded up
    let abs = if *x < rational(0.0) {
        -x.clone()
    } else {
        x.clone()
    };
    let shift = 64 + abs.denom().bits() as i64 - abs.numer().bits() as i64;
    assert!(shift.abs() < 1000, "out of range");
    let scaled = if shift >= 0 {
        abs * BigRational::from_integer(BigInt::from(1) << shift)
    } else {
        abs / BigRational::from_integer(BigInt::from(1) << -shift)
    };
    let digits = scaled
        .ceil()
        .to_integer()
        .to_string()
        .parse::<f64>()
        .expect("digits");
    up(up(digits) * 2f64.powi(-shift as i32))
}

/// The coefficients of the polynomial that stands for S4: the code's own, on exact numbers.
pub(super) fn s4_coefficients() -> Vec<BigRational> {
    s4(Poly::variable()).0.to_vec()
}

/// The most by which the polynomial with these coefficients leaves S4, relative to S4 >= 1, for y
/// in [0, 2.5 + 1/64].
///
/// The difference is a polynomial with rational coefficients, and a tail. About the middle of each
/// of 161 pieces it is developed exactly, so that nothing but its own variation over 1/128 is lost.
pub(super) fn series(coefficients: &[BigRational]) -> f64 {
    const TERMS: usize = 26;
    let mut factorial = BigInt::from(24);
    let mut difference = Vec::new();
    for j in 0..TERMS {
        if j > 0 {
            factorial *= BigInt::from(j + 4);
        }
        let exact = BigRational::new(BigInt::from(24), factorial.clone());
        let have = coefficients.get(j).cloned();
        difference.push(have.unwrap_or_else(|| rational(0.0)) - exact);
    }
    assert!(coefficients.iter().skip(TERMS).all(|c| *c == rational(0.0)));
    // sum over j >= 26 of 24 y^j/(j+4)! for y < 2.52: 3e-20 at the first, ratio below 0.1
    let tail = 1e-19;
    let mut worst: f64 = 0.0;
    for piece in 0..161 {
        let middle = BigRational::new(BigInt::from(2 * piece + 1), BigInt::from(128));
        // Horner's shift
        let mut d = difference.clone();
        for i in 0..d.len() {
            for j in (i..d.len() - 1).rev() {
                let add = &d[j + 1] * &middle;
                d[j] += add;
            }
        }
        let mut sum = tail;
        for (k, c) in d.iter().enumerate() {
            sum = up(sum + up(above(c) * 2f64.powi(-7 * k as i32)));
        }
        // S4(y) >= 1 + y/5
        worst = worst.max(up(sum / (1.0 + f64::from(piece) / 64.0 / 5.0).next_down()));
    }
    worst
}

/// The relative error of the exponentials before the last rounding of `e^-z`, and that of `e^-2z`
/// as a sum; the sum's low word relative to its high one.
pub(super) struct Exponential {
    pub single: f64,
    pub pair: f64,
    pub low: f64,
}

/// A polynomial in r, the lowest power first; leaked, because [`Scalar`]s of closed forms are
/// `Copy`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poly(&'static [BigRational]);

impl Poly {
    fn new(v: Vec<BigRational>) -> Poly {
        Poly(v.leak())
    }

    pub fn variable() -> Poly {
        Poly::new(vec![rational(0.0), rational(1.0)])
    }

    pub fn is_zero(self) -> bool {
        self.0.iter().all(|c| *c == rational(0.0))
    }

    fn at(self, i: usize) -> BigRational {
        self.0.get(i).cloned().unwrap_or_else(|| rational(0.0))
    }

    fn plus(self, o: Poly, sign: f64) -> Poly {
        let n = self.0.len().max(o.0.len());
        Poly::new(
            (0..n)
                .map(|i| self.at(i) + o.at(i) * rational(sign))
                .collect(),
        )
    }
}

impl Add for Poly {
    type Output = Poly;
    fn add(self, o: Poly) -> Poly {
        self.plus(o, 1.0)
    }
}

impl Sub for Poly {
    type Output = Poly;
    fn sub(self, o: Poly) -> Poly {
        self.plus(o, -1.0)
    }
}

impl Neg for Poly {
    type Output = Poly;
    fn neg(self) -> Poly {
        Poly::new(vec![]).plus(self, -1.0)
    }
}

impl Mul for Poly {
    type Output = Poly;
    fn mul(self, o: Poly) -> Poly {
        let mut out = vec![rational(0.0); (self.0.len() + o.0.len()).max(1) - 1];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in o.0.iter().enumerate() {
                out[i + j] += a * b;
            }
        }
        Poly::new(out)
    }
}

impl Div for Poly {
    type Output = Poly;
    fn div(self, _: Poly) -> Poly {
        unreachable!("the exponential divides nowhere")
    }
}

impl Scalar for Poly {
    fn of(x: f64) -> Poly {
        Poly::new(vec![rational(x)])
    }
}

/// |r| after the reduction; [`reduction`] proves it.
const MOST_R: f64 = 0.00271;

/// How far the polynomials of the exponential, the code's own on exact numbers, are from `e^-r` and
/// `e^-2r` for |r| <= [`MOST_R`], both of which are above 0.99.
fn truncation() -> [f64; 2] {
    let (single, [high, low]) = exp_pieces(Poly::variable(), Poly::of(1.0), Poly::of(0.0));
    [(single, 1), (high + low, 2)].map(|(p, rate)| {
        let mut sum = 0.0;
        let mut exact = rational(1.0); // (-rate)^n / n!
        for n in 0..24 {
            if n > 0 {
                exact = exact * rational(f64::from(-rate)) / rational(n as f64);
            }
            sum = up(sum + up(above(&(p.at(n) - &exact)) * up(MOST_R.powi(n as i32))));
        }
        assert!(p.0.len() <= 24);
        // |2 r|^24/24! and what follows; the ends of e^-2r; roundings of powi, some ulp
        up((sum + 1e-70) / 0.99 * (1.0 + 1e-12))
    })
}

/// What the first step of the exponential rests on: `k A` is exact, the constants are right, |r| is
/// at most [`MOST_R`]. Returns what they leave of r.
///
/// k is the integer next to the exact `hi INV` (one rounding, in the fused step, at a place where
/// the last bit is 1), so |k - hi INV| <= 1/2. `hi - k A` is exact: for k = 0 it is hi, and else
/// hi > 0.0027, a multiple of 2^-61 like k A, and the difference, below 2^-8, has 53 bits.
pub(super) fn reduction([inverse, a, b]: [f64; 3]) -> f64 {
    // ln 2 = sum 1/(n 2^n), to 2^-130
    let ln2 = (1..=130u32).fold(rational(0.0), |s, n| {
        s + BigRational::new(BigInt::from(1), BigInt::from(n) << n)
    });
    let step = ln2 / rational(128.0);
    let most_k = 700.0 * 128.0 / 0.693 + 1.0;
    assert!(most_k < 2f64.powi(17));
    let digits = a * 2f64.powi(41);
    assert!(
        digits.fract() == 0.0 && digits < 2f64.powi(34),
        "k A is not exact"
    );
    assert!(b.abs() < 2f64.powi(-41));
    let off = above(&(rational(a) + rational(b) - &step)) + 2f64.powi(-130);
    assert!(off < 2f64.powi(-94), "ln 2 / 128 is off by {off:e}");
    // hi (1 - INV step) is what an inverse that is off adds to r
    let slope = above(&(rational(inverse) * &step - rational(1.0))) + 2f64.powi(-120);
    // 1e-11: 8 ulp of hi in its low word, and k B's digits
    assert!(above(&step) / 2.0 + 700.0 * slope + 1e-11 < MOST_R);
    // r rounded at its size, below 2^-8; its second part below 2^-23; the constants
    2f64.powi(-62) + 2f64.powi(-76) + up(off * 2f64.powi(17))
}

/// Bounds for `exp_neg`: every entry of the table, |r| <= [`MOST_R`] in 16 pieces.
pub(super) fn exponential(table: &[(f64, f64); 128], r_off: f64) -> Exponential {
    let mut worst = Exponential {
        single: 0.0,
        pair: 0.0,
        low: 0.0,
    };
    let truncated = truncation();
    // e^-r to 2^-59 or the constants of the polynomial are wrong
    assert!(truncated[1] < 2f64.powi(-58), "{truncated:?}");
    for (i, &(h, l)) in table.iter().enumerate() {
        // (h + l)^128 2^i = 1 + 128 delta
        let mut power = rational(h) + rational(l);
        for _ in 0..7 {
            power = &power * &power;
        }
        let off = above(&(power * BigRational::from_integer(BigInt::from(1) << i) - rational(1.0)));
        assert!(
            off < 128.0 * 2f64.powi(-102),
            "entry {i} of the table is off by {off:e}"
        );
        for piece in 0..16 {
            let at = |n: i32| MOST_R / 8.0 * f64::from(n - 8);
            with(|s| {
                *s = State::new(ONE);
                s.plain = true;
            });
            let x = Cert::input(0, UNIT, Iv(at(piece), at(piece + 1)))
                .absolute()
                .noisy(None, r_off)
                .0;
            let (e, [square, second]) = exp_pieces(x, Cert::of(h), Cert::of(l));
            let table = 2f64.powi(-101);
            worst.single = worst
                .single
                .max(up(up(e.get().size_before() + truncated[0]) + table));
            worst.pair = worst
                .pair
                .max(up(up(square.unrounded(second) + truncated[1]) + 2.0 * table));
            let (q, w) = (square.get(), second.get().absolute());
            worst.low = worst
                .low
                .max(up(up(w.iv.mag() + w.size()) / (q.iv.0 * (1.0 - 1e-9))));
        }
    }
    // products of small errors, and e^-700 = 1e-304: parts of the pair are subnormal there, a few
    // times 2^-1075 of 2^-1010
    worst.single += 2f64.powi(-62);
    worst.pair += 2f64.powi(-62);
    worst
}

/// That the pieces of `p3_g` are in real arithmetic what they are named after, as polynomials in z,
/// up to a relative 1e-31 that 4/3 leaves: `e2 4 z^3/3`, half of z times that times S4's polynomial,
/// and `1 - e2 (1 + 2 z + 2 z^2)`, for `e2` as a sum of two numbers (the code is linear in them; two
/// of each are enough).
pub(super) fn pieces() {
    let z = Poly::variable();
    let at_most = |p: Poly, most: f64| {
        let off = p.0.iter().map(above).fold(0.0, f64::max);
        assert!(off <= most, "{off:e}");
    };
    for (high, rest) in [(1.0, 0.0), (0.75, 0.0), (0.75, 0.25), (1.0, 1.0)] {
        let [h, r] = [high, rest].map(Poly::of);
        let (t, near, p3) = p3_g_pieces([z, Poly::of(0.0)], [h, r]);
        let third = BigRational::new(BigInt::from(4), BigInt::from(3));
        let exact = (h + r) * z * z * z * Poly::new(vec![third]);
        // the low word of 4/3 is not multiplied by the rest
        at_most(t - exact, 1e-31 + 7.5e-17 * rest);
        at_most(near - t * Poly::of(0.5) * z * s4(z + z), 0.0);
        let q = Poly::of(1.0) + z * Poly::of(2.0) + z * z * Poly::of(2.0);
        at_most(p3 - (Poly::of(1.0) - (h + r) * q), 0.0);
    }
}
