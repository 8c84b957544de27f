//! Unevaluated sums of two doubles: about 106 bits, where one double would not do.
//!
//! Two uses. The argument of an exponential is carried as a sum of two doubles, because one ulp of
//! error in `y` is `y` ulp of error in `e^-y`. And the generic doubling route works in this
//! arithmetic throughout, so that it can serve as an oracle for closed forms written in plain f64.
//!
//! Error bounds (Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building
//! blocks of double-word arithmetic", 2017): sum 3 u^2, product 5 u^2, quotient 10 u^2, with u =
//! 2^-53. Products are split by Veltkamp's method, not by fused multiply-add: without a
//! compile-time FMA target the latter is a library call, and the result would be the same. From
//! 2^996 on, at zero divisors and at infinities the slow paths below take over: a result is NaN
//! only where that of f64 is.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number `hi + lo` with `|lo| <= ulp(hi) / 2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dd {
    /// The sum rounded to nearest.
    pub hi: f64,
    /// What the rounding left over.
    pub lo: f64,
}

/// `a + b` exactly, as rounded sum and error (Knuth; no order of sizes required).
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

/// `a + b` exactly where `|a| >= |b|` or `a = 0` (Dekker).
#[inline(always)]
pub(crate) fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

/// Veltkamp's split into 26 + 27 bits.
#[inline(always)]
fn split(a: f64) -> (f64, f64) {
    let c = 134_217_729.0 * a; // 2^27 + 1
    let hi = c - (c - a);
    (hi, a - hi)
}

/// `a * b` exactly, as rounded product and error (Dekker), away from under- and overflow.
#[inline(always)]
pub(crate) fn two_prod(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    let (ah, al) = split(a);
    let (bh, bl) = split(b);
    (p, al * bl - (((p - ah * bh) - al * bh) - ah * bl))
}

impl Dd {
    /// Zero.
    pub const ZERO: Dd = Dd { hi: 0.0, lo: 0.0 };
    /// One.
    pub const ONE: Dd = Dd { hi: 1.0, lo: 0.0 };

    /// The normalised sum of two doubles of any size.
    #[inline(always)]
    pub fn new(a: f64, b: f64) -> Dd {
        let (hi, lo) = two_sum(a, b);
        Dd { hi, lo }
    }

    /// The exact difference of two doubles.
    #[inline(always)]
    pub fn diff(a: f64, b: f64) -> Dd {
        Dd::new(a, -b)
    }

    /// The exact product of two doubles.
    #[inline(always)]
    pub fn prod(a: f64, b: f64) -> Dd {
        let (hi, lo) = two_prod(a, b);
        Dd { hi, lo }
    }

    /// Rounded to one double.
    #[inline(always)]
    pub fn to_f64(self) -> f64 {
        self.hi + self.lo
    }

    /// Scaled by a power of two (exact).
    #[inline(always)]
    pub fn scale(self, p: f64) -> Dd {
        Dd {
            hi: self.hi * p,
            lo: self.lo * p,
        }
    }

    /// An infinity or NaN, with nothing beside it; a finite number is one that
    /// has no low word here.
    #[cold]
    #[inline]
    fn beyond(hi: f64) -> Dd {
        Dd { hi, lo: 0.0 }
    }

    /// The product where splitting overflows: an infinity, or the same product of scaled operands.
    #[cold]
    #[inline]
    fn mul_beyond(a: Dd, b: Dd) -> Dd {
        let p = a.hi * b.hi;
        if !p.is_finite() || !a.hi.is_finite() || !b.hi.is_finite() {
            return Dd::beyond(p);
        }
        // a finite product with an operand of 2^996 or more: the other one is at most 2^28
        let (big, small) = if a.hi.abs() >= b.hi.abs() {
            (a, b)
        } else {
            (b, a)
        };
        let m = big.scale(2f64.powi(-64)) * small;
        let up = m.scale(2f64.powi(64));
        if up.hi.is_finite() {
            up
        } else {
            Dd::beyond(up.hi)
        }
    }

    /// The quotient where an operand is zero, infinite or so large that splitting overflows.
    #[cold]
    #[inline]
    fn div_beyond(a: Dd, b: Dd) -> Dd {
        let q = a.hi / b.hi;
        let ordinary = |x: f64| x.is_finite() && x != 0.0;
        if !ordinary(q) || !ordinary(a.hi) || !ordinary(b.hi) {
            return Dd::beyond(q);
        }
        // powers of two take both operands near 1 (in two steps: 2^-1074 and below have no
        // reciprocal); the quotient is put back
        let power = |x: f64| -> (f64, f64) {
            let e = x.abs().log2().floor() as i32;
            (2f64.powi(-(e / 2)), 2f64.powi(-(e - e / 2)))
        };
        let ((pa, qa), (pb, qb)) = (power(a.hi), power(b.hi));
        let m = a.scale(pa).scale(qa) / b.scale(pb).scale(qb);
        let up = m.scale(1.0 / pa).scale(pb).scale(1.0 / qa).scale(qb);
        if up.hi.is_finite() {
            up
        } else {
            Dd::beyond(up.hi)
        }
    }

    /// Absolute value.
    #[inline]
    pub fn abs(self) -> Dd {
        if self.hi < 0.0 { -self } else { self }
    }

    /// Square root, for arguments >= 0; 0 gives 0.
    #[inline]
    pub fn sqrt(self) -> Dd {
        if self.hi <= 0.0 {
            return Dd::ZERO;
        }
        if self.hi == f64::INFINITY {
            return self;
        }
        let r = self.hi.sqrt();
        let rest = self - Dd::prod(r, r);
        Dd::new(r, rest.to_f64() / (2.0 * r))
    }

    /// `1 / self`.
    #[inline]
    pub fn recip(self) -> Dd {
        Dd::ONE / self
    }

    /// Natural logarithm for arguments >= 0, with -infinity at 0: one Newton step on
    /// [`exp`](Dd::exp), relative error about 1e-30.
    #[inline]
    pub fn ln(self) -> Dd {
        if self.hi == 0.0 || self.hi == f64::INFINITY {
            return Dd::beyond(self.hi.ln());
        }
        let l0 = Dd::from(self.hi.ln());
        // ln v = l0 + ln(v e^-l0), and v e^-l0 - 1 = d is of the order of 1e-16: ln(1 + d) = d -
        // d^2/2.
        let d = self * (-l0).exp() - Dd::ONE;
        l0 + d - (d * d).scale(0.5)
    }

    /// `e^self`; relative error about 1e-30.
    #[inline]
    pub fn exp(self) -> Dd {
        if self.hi.abs() > 700.0 {
            return Dd::from(self.hi.exp()); // no double word fits at the ends of the range
        }
        if self.hi < 0.0 {
            return (-self).exp().recip(); // for x < 0, e^x - 1 tends to -1 and the squarings would cancel
        }
        self.exp_m1() + Dd::ONE
    }

    /// `e^self - 1` for `0 <= self <= 700`: Taylor's series at `self / 2^10`, then ten doublings
    /// `2 m + m^2`, all terms positive; relative error about 1e-30.
    #[inline]
    pub fn exp_m1(self) -> Dd {
        let x = self.scale(1.0 / 1024.0);
        let mut term = x;
        let mut m1 = x;
        for n in 2..24 {
            term = term * x / Dd::from(n as f64);
            m1 = m1 + term;
        }
        for _ in 0..10 {
            m1 = m1.scale(2.0) + m1 * m1;
        }
        m1
    }

    /// Sine and cosine for `|self| <= pi / 2` (a few rounding errors of 1e-32, absolute), by the
    /// series after halving.
    pub(crate) fn sin_cos(self) -> (Dd, Dd) {
        // 1 - cos and sin at x / 16, then four doublings: vers(2x) = 4 vers - 2 vers^2 keeps small
        // angles accurate.
        let x = self.scale(1.0 / 16.0);
        let x2 = x * x;
        let (mut s, mut v) = (x, x2.scale(0.5));
        let (mut ts, mut tv) = (x, x2.scale(0.5));
        for n in 1..14 {
            let n = n as f64;
            ts = -(ts * x2) / Dd::from(2.0 * n * (2.0 * n + 1.0));
            tv = -(tv * x2) / Dd::from((2.0 * n + 1.0) * (2.0 * n + 2.0));
            s = s + ts;
            v = v + tv;
        }
        for _ in 0..4 {
            s = (s * (Dd::ONE - v)).scale(2.0);
            v = v.scale(4.0) - (v * v).scale(2.0);
        }
        (s, Dd::ONE - v)
    }
}

impl From<f64> for Dd {
    #[inline(always)]
    fn from(a: f64) -> Dd {
        Dd { hi: a, lo: 0.0 }
    }
}

impl Neg for Dd {
    type Output = Dd;
    #[inline(always)]
    fn neg(self) -> Dd {
        Dd {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Add for Dd {
    type Output = Dd;
    #[inline(always)]
    fn add(self, o: Dd) -> Dd {
        let (sh, sl) = two_sum(self.hi, o.hi);
        let (th, tl) = two_sum(self.lo, o.lo);
        let (vh, vl) = fast_two_sum(sh, sl + th);
        let (hi, lo) = fast_two_sum(vh, tl + vl);
        if hi.is_nan() {
            return Dd::beyond(self.hi + o.hi);
        }
        Dd { hi, lo }
    }
}

impl Sub for Dd {
    type Output = Dd;
    #[inline(always)]
    fn sub(self, o: Dd) -> Dd {
        self + (-o)
    }
}

impl Mul for Dd {
    type Output = Dd;
    #[inline(always)]
    fn mul(self, o: Dd) -> Dd {
        let (p, e) = two_prod(self.hi, o.hi);
        let (hi, lo) = fast_two_sum(p, e + (self.hi * o.lo + self.lo * o.hi));
        if hi.is_nan() {
            return Dd::mul_beyond(self, o);
        }
        Dd { hi, lo }
    }
}

impl Div for Dd {
    type Output = Dd;
    #[inline(always)]
    fn div(self, o: Dd) -> Dd {
        let q1 = self.hi / o.hi;
        let r = self - o * Dd::from(q1);
        let q2 = r.hi / o.hi;
        let r = r - o * Dd::from(q2);
        let q3 = r.hi / o.hi;
        let q = Dd::new(q1, q2) + Dd::from(q3);
        if q.hi.is_nan() {
            return Dd::div_beyond(self, o);
        }
        q
    }
}

impl PartialOrd for Dd {
    #[inline]
    fn partial_cmp(&self, o: &Dd) -> Option<Ordering> {
        match self.hi.partial_cmp(&o.hi)? {
            Ordering::Equal => self.lo.partial_cmp(&o.lo),
            c => Some(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a dropped error term in product, quotient or root: identities that hold to 1e-31
    /// only if none is.
    #[test]
    fn algebra_holds_to_double_word_precision() {
        let u2 = f64::EPSILON * f64::EPSILON / 4.0; // u^2 = 2^-106
        for i in 1..200 {
            let a = Dd::new(1.0 / i as f64, 1e-18 * (i as f64).sin());
            let b = Dd::new((i as f64).sqrt(), 3e-17 * (i as f64).cos());
            // quotient 10 u^2, product 5 u^2
            assert!(
                ((a / b) * b - a).abs().hi <= 20.0 * u2 * a.hi,
                "quotient at {i}"
            );
            let r = b.sqrt();
            assert!((r * r - b).abs().hi <= 40.0 * u2 * b.hi, "root at {i}");
            let e = a.exp().ln() - a;
            assert!(e.abs().hi <= 2e4 * u2, "exp and ln at {i}: {e:?}"); // ten squarings: 2^10 * few u^2
            let (s, c) = a.sin_cos();
            assert!(
                (s * s + c * c - Dd::ONE).abs().hi <= 100.0 * u2,
                "sin, cos at {i}"
            );
        }
    }

    /// Catches NaN where a double word reaches zero, infinity or the ends of the range (a NaN truth
    /// lets any answer pass): quotients, products and sums there are those of f64, or the
    /// representable number.
    #[test]
    fn ends_of_the_range() {
        let (zero, one, inf) = (Dd::ZERO, Dd::ONE, Dd::from(f64::INFINITY));
        assert_eq!((one / zero).hi, f64::INFINITY);
        assert_eq!((-one / zero).hi, f64::NEG_INFINITY);
        assert_eq!(((one / zero) + one).hi, f64::INFINITY);
        assert_eq!((one / inf).hi, 0.0);
        assert_eq!((inf * one).hi, f64::INFINITY);
        assert!((zero / zero).hi.is_nan() && (inf - inf).hi.is_nan() && (zero * inf).hi.is_nan());
        assert_eq!(zero.ln().hi, f64::NEG_INFINITY);
        assert_eq!((inf.ln().hi, inf.sqrt().hi), (f64::INFINITY, f64::INFINITY));
        // 1 / 1e-301 = 1e301 is representable, but splitting it is not
        let big = one / Dd::from(1e-301);
        assert!(
            (big.to_f64() / 1e301 - 1.0).abs() <= f64::EPSILON,
            "{big:?}"
        );
        let product = Dd::from(1e300) * Dd::from(3.0e5);
        assert!(
            (product.to_f64() / 3.0e305 - 1.0).abs() <= 2.0 * f64::EPSILON,
            "{product:?}"
        );
        assert_eq!((Dd::from(1e300) * Dd::from(1e300)).hi, f64::INFINITY);
        let tiny = Dd::from(5e-324) / Dd::from(1e-300);
        assert!(
            (tiny.to_f64() / (5e-324 / 1e-300) - 1.0).abs() <= f64::EPSILON,
            "{tiny:?}"
        );
        assert_eq!((Dd::from(1.5e308) + Dd::from(1.5e308)).hi, f64::INFINITY);
    }

    /// Catches a wrong series: e and sin 1 to 32 digits, as printed in any table.
    #[test]
    fn known_constants() {
        let e = Dd::ONE.exp();
        // e = 2.718281828459045 + 1.4456468917292502e-16
        assert_eq!(e.hi, std::f64::consts::E);
        assert!((e.lo - 1.445_646_891_729_250_2e-16).abs() < 1e-28);
        let (s, _) = Dd::ONE.sin_cos();
        // sin 1 = 0.84147098480789650665250232163029899962...
        assert!((s - Dd::new(0.841_470_984_807_896_5, 0.0)).to_f64().abs() < 1e-16);
        let ln2 = Dd::from(2.0).ln();
        assert_eq!(ln2.hi, std::f64::consts::LN_2);
        assert!((ln2.lo - 2.319_046_813_846_299_6e-17).abs() < 1e-30);
    }
}
