//! Intervals with outward rounding, and the functions of one variable whose values they enclose.

/// A closed interval; no operation makes one with an end that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Iv(pub f64, pub f64);

pub(super) const ZERO: Iv = Iv(0.0, 0.0);
pub(super) const ONE: Iv = Iv(1.0, 1.0);

/// The sum rounded down and rounded up: as it is where nothing was lost (Knuth's two-sum).
fn sums(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    let lost = (a - (s - t)) + (b - t);
    (
        if lost < 0.0 { s.next_down() } else { s },
        if lost > 0.0 { s.next_up() } else { s },
    )
}

impl Iv {
    pub fn point(x: f64) -> Iv {
        Iv::checked(x, x)
    }

    #[inline]
    pub fn checked(lo: f64, hi: f64) -> Iv {
        assert!(
            lo.is_finite() && hi.is_finite() && lo <= hi,
            "no interval: [{lo}, {hi}]"
        );
        Iv(lo, hi)
    }

    #[inline]
    pub fn out(lo: f64, hi: f64) -> Iv {
        Iv::checked(lo.next_down(), hi.next_up())
    }

    /// The largest absolute value.
    #[inline]
    pub fn mag(self) -> f64 {
        self.0.abs().max(self.1.abs())
    }

    /// The smallest absolute value.
    #[inline]
    pub fn mig(self) -> f64 {
        if self.0 > 0.0 || self.1 < 0.0 {
            self.0.abs().min(self.1.abs())
        } else {
            0.0
        }
    }

    #[inline]
    pub fn add(self, o: Iv) -> Iv {
        Iv::checked(sums(self.0, o.0).0, sums(self.1, o.1).1)
    }

    #[inline]
    pub fn sub(self, o: Iv) -> Iv {
        self.add(o.neg())
    }

    #[inline]
    pub fn neg(self) -> Iv {
        Iv(-self.1, -self.0)
    }

    #[inline]
    pub fn mul(self, o: Iv) -> Iv {
        if self == ZERO || o == ZERO {
            return ZERO;
        }
        if self == ONE {
            return o;
        }
        if o == ONE {
            return self;
        }
        if o == Iv(-1.0, -1.0) {
            return self.neg();
        }
        if self.0 >= 0.0 && o.0 >= 0.0 {
            let (lo, hi) = (self.0 * o.0, self.1 * o.1);
            return Iv::checked(lo.next_down().max(0.0), hi.next_up());
        }
        let p = [self.0 * o.0, self.0 * o.1, self.1 * o.0, self.1 * o.1];
        Iv::out(
            p[0].min(p[1]).min(p[2].min(p[3])),
            p[0].max(p[1]).max(p[2].max(p[3])),
        )
    }

    /// The product of a number with itself.
    pub fn square(self) -> Iv {
        if self == ONE {
            return ONE;
        }
        let (lo, hi) = (self.mig(), self.mag());
        Iv::checked((lo * lo).next_down().max(0.0), (hi * hi).next_up())
    }

    #[inline]
    pub fn recip(self) -> Iv {
        assert!(
            self.0 > 0.0 || self.1 < 0.0,
            "division by an interval with zero in it: {self:?}"
        );
        if self == ONE {
            return ONE;
        }
        Iv::out(1.0 / self.1, 1.0 / self.0)
    }

    pub fn sqrt(self) -> Iv {
        assert!(self.0 > 0.0, "root of {self:?}");
        if self == ONE {
            return ONE;
        }
        Iv::out(self.0.sqrt(), self.1.sqrt())
    }

    /// What is in both; that nothing is means that one of them is wrong.
    pub fn meet(self, o: Iv) -> Iv {
        let (lo, hi) = (self.0.max(o.0), self.1.min(o.1));
        assert!(
            lo <= hi,
            "the enclosures {self:?} and {o:?} have no point in common"
        );
        Iv(lo, hi)
    }
}

/// An upper bound of the sum, product or quotient of numbers that are not negative.
#[inline]
pub(super) fn up(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.next_up() }
}

/// e^x for x in [0, 700]: Taylor's series at x / 1024 with its remainder, squared ten times, all in
/// intervals.
pub(super) fn exp(x: f64) -> Iv {
    assert!((0.0..=700.5).contains(&x), "exp of {x}");
    let x = Iv::point(x / 1024.0); // exact, or subnormal, where the result is 1 + 0 anyway
    let (mut sum, mut term) = (ONE, ONE);
    for n in 1..30 {
        term = term.mul(x).mul(Iv::point(f64::from(n)).recip());
        sum = sum.add(term);
        if term.1 < 1e-25 {
            break;
        }
    }
    // x < 0.69: the rest is less than three times the next term
    sum = sum.add(Iv(0.0, up(3.0 * term.mag())));
    for _ in 0..10 {
        sum = sum.mul(sum);
    }
    sum
}

/// `e^-y y^n/n! (1 + y/(n+1) + ...)`, the regularised P(n, y), at a point.
pub(super) fn gamma_p(n: u32, y: f64) -> Iv {
    let (y_, e) = (Iv::point(y), exp(y).recip());
    let step = |t: Iv, j: u32| t.mul(y_).mul(Iv::point(f64::from(j)).recip());
    if y >= 8.0 {
        // what is left of 1: few digits are lost
        let (mut term, mut sum) = (e, e);
        for j in 1..n {
            term = step(term, j);
            sum = sum.add(term);
        }
        return ONE.sub(sum);
    }
    let mut term = (1..=n).fold(e, step);
    let mut sum = term;
    for j in n + 1..n + 60 {
        term = step(term, j);
        sum = sum.add(term);
        if y < 0.5 * f64::from(j) && term.1 < 1e-20 * sum.0 {
            break;
        }
    }
    sum.add(Iv(0.0, term.mag())) // ratio below 1/2 by then
}

/// From a function that grows with its argument.
pub(super) fn growing(f: impl Fn(f64) -> Iv, x: Iv) -> Iv {
    Iv::checked(f(x.0).0, f(x.1).1)
}
