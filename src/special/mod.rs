//! Functions that must not cancel: `e^-x` of a double-word argument, and the incomplete gammas of
//! critical damping.
//!
//! | function | domain | accuracy | method |
//! |---|---|---|---|
//! | [`exp_neg`] | 0 <= x <= 700 | 0.54 ulp | table of 2^(-i/128) in double words, degree-5 polynomial |
//! | [`scaled_exp_neg`] | x >= 0 | 2 ulp, while the product is a normal number | square of `exp_neg(x/2)` |
//! | [`exp_neg_single`] | x >= 0 | 1 ulp to x = 700, e^-700 beyond | polynomial of degree 13, no table |
//! | [`p3_g`] | y >= 0 | 4 ulp (P3 and G) | y < 2.5: e^-y times an all-positive series; else 1 - e^-y(...) |
//! | [`one_minus_exp_neg`] | x >= 0 | 1 ulp | `expm1` with first-order correction for the low word |

mod tables;

use crate::dd::Dd;
use crate::simd::Lane;
use crate::small::Scalar;
use tables::{INV_LN2_128, LN2_128_A, LN2_128_B, POW2, S4};

/// The table of the exponential, for the certificate.
#[cfg(test)]
pub(crate) const TABLE: &[(f64, f64); 128] = &POW2;

/// The constants of the reduction in [`exp_neg`], for the certificate.
#[cfg(test)]
pub(crate) const REDUCTION: [f64; 3] = [INV_LN2_128, LN2_128_A, LN2_128_B];

pub(crate) const FOUR_THIRDS: f64 = 4.0 / 3.0;
/// What the division left: 4/3 - 1.333... = 1/3 of the last bit's worth.
pub(crate) const FOUR_THIRDS_LOW: f64 = f64::EPSILON / 3.0;

static POW2_HI: [f64; 128] = column(true);
static POW2_LO: [f64; 128] = column(false);

const fn column(high: bool) -> [f64; 128] {
    let mut c = [0.0; 128];
    let mut i = 0;
    while i < 128 {
        c[i] = if high { POW2[i].0 } else { POW2[i].1 };
        i += 1;
    }
    c
}

/// `e^-x` within 1 ulp, and `e^-2x` to 2^-58 as a sum of two doubles, the second below 2^-7 of the
/// first, for `x = hi + lo` in [0, 350]; to 700 the first alone. `lo` may be some ulp of `hi`.
///
/// Method: k = round(128 x / ln 2), r = x - k ln2/128 (the leading part of ln2/128 has 34 bits, so
/// that its product with k is exact); e^-x = 2^(-k/128) e^-r with 2^(-i/128) from a table of double
/// words and e^-r - 1 by Taylor's polynomial of degree 5 (|r| < 0.0028: remainder below 2^-60). r
/// and e^-r - 1 are rounded at the size of r, 2^-62 each, so that before its last rounding either
/// result is good to 2^-58. Where a fused multiply-add is a library call this is slow: call it
/// inside [`crate::simd::single`].
#[inline(always)]
pub fn exp_neg<L: Lane<Item = f64>>(hi: L, lo: L) -> (L, [L; 2]) {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: adding it rounds to an integer in the low bits
    let c = L::splat;
    let shifted = hi.mul_add(c(INV_LN2_128), c(SHIFT));
    let k = shifted - c(SHIFT);
    let r = k.mul_add(c(-LN2_128_A), hi) + k.mul_add(c(-LN2_128_B), lo); // the first is exact
    // 2^-(k div 128): k >= 0 stands in the low bits, and only 12 of those above the lowest 7
    // survive the shift
    let p = L::from_bits(L::sub_bits(
        c(1.0).bits(),
        L::shl::<52>(L::shr::<7>(shifted.bits())),
    ));
    let (th, tl) = (shifted.lookup(&POW2_HI) * p, shifted.lookup(&POW2_LO) * p);
    exp_pieces(r, th, tl)
}

/// What follows the reduction in [`exp_neg`]: from r and the table's double word. Generic for the
/// certificate.
#[inline(always)]
pub(crate) fn exp_pieces<T: Scalar + Copy>(r: T, th: T, tl: T) -> (T, [T; 2]) {
    let c = T::of;
    let square = th * th;
    let error = (th + th).fma(tl, th.fma(th, -square));
    let r2 = r * r;
    let q = r.fma(c(-1.0 / 120.0), c(1.0 / 24.0));
    let q = r2.fma(q, r.fma(c(-1.0 / 6.0), c(0.5)));
    let m1 = r2.fma(q, -r); // e^-r - 1
    // e^-2r - 1 = m1 (2 + m1)
    (
        th + th.fma(m1, tl),
        [square, square.fma(m1.fma(m1, m1 + m1), error)],
    )
}

/// `e^-x` for `x >= 0` in one double, within 1 ulp up to x = 700; beyond, `e^-700`. NaN stays NaN.
///
/// Method: k = round(x / ln 2), r = k ln 2 - x in two fused steps (the first rounds once, ln 2's
/// low word follows), |r| < 0.347; e^r by Taylor's polynomial of degree 13 (remainder 5e-18). No
/// table: a gather costs more than the longer polynomial.
#[inline(always)]
pub fn exp_neg_single<L: Lane<Item = f64>>(x: L) -> L {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const INVERSE_FACTORIALS: [f64; 12] = inverse_factorials();
    let c = L::splat;
    let x = L::select(c(700.0).lt(x), c(700.0), x);
    let shifted = x.mul_add(c(std::f64::consts::LOG2_E), c(SHIFT));
    let k = shifted - c(SHIFT);
    let r = k.mul_add(c(LN_2_LOW), k.mul_add(c(std::f64::consts::LN_2), -x));
    let p = L::from_bits(L::sub_bits(c(1.0).bits(), L::shl::<52>(shifted.bits())));
    // Estrin's scheme on sum r^n / (n + 2)!
    let r2 = r * r;
    let r4 = r2 * r2;
    // loops, not closures: these would be functions without the vector features of the loop around
    // them
    let mut pair = [r; 6];
    for i in 0..6 {
        pair[i] = r.mul_add(
            c(INVERSE_FACTORIALS[2 * i + 1]),
            c(INVERSE_FACTORIALS[2 * i]),
        );
    }
    let mut four = [r; 3];
    for i in 0..3 {
        four[i] = r2.mul_add(pair[2 * i + 1], pair[2 * i]);
    }
    let q = r4.mul_add(r4.mul_add(four[2], four[1]), four[0]);
    p * (r2.mul_add(q, r) + c(1.0))
}

/// ln 2 less its double.
const LN_2_LOW: f64 = 2.319_046_813_846_299_6e-17;

/// 1/2!, 1/3!, ..., 1/13!.
const fn inverse_factorials() -> [f64; 12] {
    let (mut all, mut factorial, mut n) = ([0.0; 12], 1.0, 0);
    while n < 12 {
        factorial *= (n + 2) as f64;
        all[n] = 1.0 / factorial;
        n += 1;
    }
    all
}

/// `c e^-x` for a double-word `x >= 0`, also where `e^-x` has underflowed and the product has not;
/// 2 ulp.
pub fn scaled_exp_neg(c: f64, x: Dd) -> f64 {
    if x.hi >= 1400.0 {
        return 0.0;
    }
    // e^(-x/2), the square of which is wanted
    scaled_exp_neg_pieces(c, exp_neg(0.25 * x.hi, 0.25 * x.lo).1)
}

/// `c (a + b)^2`. Generic for the certificate.
#[inline(always)]
pub(crate) fn scaled_exp_neg_pieces<T: Scalar + Copy>(c: T, [a, b]: [T; 2]) -> T {
    let h = a + b;
    let l = b - (h - a);
    (c * h) * (h + T::of(2.0) * l) // h (h + 2 l) = (h + l)^2 to first order
}

/// `1 - e^-x` for a double-word `x >= 0`, without cancellation; error below 1.5 ulp.
///
/// The variance of the variance-preserving process.
#[inline]
pub fn one_minus_exp_neg(x: Dd) -> f64 {
    one_minus_exp_neg_pieces((-x.hi).exp_m1(), x.lo, (-x.hi).exp())
}

/// [`one_minus_exp_neg`] from the system's `expm1` and `exp` at the high word. Generic for the
/// certificate.
#[inline(always)]
pub(crate) fn one_minus_exp_neg_pieces<T: Scalar>(m1: T, low: T, e: T) -> T {
    -m1 + low * e
}

/// `S4(y) = sum over j of 24 y^j / (j+4)!` for y in [0, 3], relative error below 1 ulp (all terms
/// are positive). Generic for the certificate.
#[inline(always)]
pub(crate) fn s4<T: Scalar + Copy>(y: T) -> T {
    // Estrin's scheme: short dependency chains; the largest term is the constant 1.
    let y2 = y * y;
    let y4 = y2 * y2;
    let pair = |i: usize| y.fma(T::of(S4[i + 1]), T::of(S4[i]));
    let four = |i: usize| y2.fma(pair(i + 2), pair(i));
    let c = y4.fma(y2.fma(T::of(S4[15]), pair(13)), four(9));
    let b = y4.fma(c, four(5));
    y.fma(y4.fma(b, four(1)), T::of(1.0))
}

/// The two functions that critical damping needs, at `y = 2 z`, given `e2 = e^-y`:
///
/// ```text
/// P3(y) = 1 - e^-y (1 + y + y^2/2)              the regularised lower incomplete gamma P(3, y)
/// G(y)  = 2 P3(y) - e^-y y^3/4                  ( = 2 P(4, y) + e^-y y^3/12 )
/// ```
///
/// G is what is left of the determinant after its cancelling parts are taken out (see
/// `process::cld`). From `P4 = P(4, y)` both are sums of positive terms, `P3 = P4 + e^-y y^3/6` and
/// `G = 2 P4 + e^-y y^3/12`. For y < 2.5 `P4 = e^-y (y^4/24) S4(y)`; from there on P3 > 0.45, its
/// printed form loses little more than 1 bit, and P4 is what is left. Both are computed and one is
/// selected: times of a batch lie on either side.
///
/// `e^-y` comes as the sum that `exp_neg` makes, and the powers of z with their low words: the
/// determinant is of second order in P3 and G, and what is lost here counts twice there.
#[inline(always)]
pub fn p3_g<L: Lane<Item = f64>>([z, low]: [L; 2], e2: [L; 2]) -> (L, L) {
    let (t, near, p3) = p3_g_pieces([z, low], e2);
    p3_g_sums(t, L::select(z.lt(L::splat(NEAR)), near, p3 - t))
}

/// Below this z, P4 comes from its series.
pub(crate) const NEAR: f64 = 1.25;

/// `e^-y y^3 / 6`, P4 by the series, P3 by its printed form. Generic for the certificate.
#[inline(always)]
pub(crate) fn p3_g_pieces<T: Scalar + Copy>([z, low]: [T; 2], [e2, rest]: [T; 2]) -> (T, T, T) {
    let c = T::of;
    // y^3 / 6 = 4 z^3 / 3 as k + k_low; t = e^-y y^3 / 6 is then rounded once at its own size
    let sq = z * z;
    let err = z.fma(z, -sq);
    let cube = sq * z;
    let cube_low = err.fma(z, (c(3.0) * low).fma(sq, sq.fma(z, -cube)));
    let k = cube * c(FOUR_THIRDS);
    let k_low =
        cube.fma(c(FOUR_THIRDS), -k) + cube.fma(c(FOUR_THIRDS_LOW), cube_low * c(FOUR_THIRDS));
    let t = e2.fma(k, rest.fma(k, e2 * k_low));
    let near = t * (c(0.5) * z * s4(z + z));
    // q + q_low = 1 + y + y^2/2 = 1 + 2 (z + z^2); the low word is right for z > 1, and elsewhere
    // not used
    let h = sq + z;
    let q = (h + h) + c(1.0);
    let h_low = (z - (h - sq)) + low.fma(z + z + c(1.0), err);
    let q_low = (c(1.0) - (q - (h + h))) + (h_low + h_low);
    let p3 = (-e2).fma(q, c(1.0)) - rest.fma(q, e2 * q_low);
    (t, near, p3)
}

/// P3 and G from `t = e^-y y^3 / 6` and P4.
#[inline(always)]
pub(crate) fn p3_g_sums<T: Scalar + Copy>(t: T, p4: T) -> (T, T) {
    (t + p4, T::of(0.5).fma(t, p4 + p4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of e^-x and e^-2x in ulp of the truth, which double words have as long as 2^-1000 <
    /// e^-x.
    fn exp_ulp(x: Dd) -> f64 {
        let (e, [e2, rest]) = exp_neg(x.hi, x.lo);
        assert!(
            x.hi > 340.0 || rest.abs() <= e2 / 128.0,
            "rest of e^-2x: {rest:e}"
        );
        let e2 = e2 + rest;
        let ulp = |got: f64, x: Dd| {
            let truth = (-x).exp(); // relative error about 2^10 u^2 * 100
            ((Dd::from(got) - truth).to_f64() / (truth.hi.next_up() - truth.hi)).abs()
        };
        ulp(e, x).max(if x.hi <= 340.0 {
            ulp(e2, x.scale(2.0))
        } else {
            0.0
        })
    }

    /// Catches a wrong table entry, a bad reduction or a lost low word: against e^-x in 106-bit
    /// arithmetic.
    #[test]
    fn exp_neg_against_double_word_taylor() {
        let mut worst: f64 = 0.0;
        let mut x = 1e-17;
        while x < 680.0 {
            worst = worst.max(exp_ulp(Dd::new(x, x * 7.3e-17 * (x * 1e3).sin())));
            x *= 1.01;
        }
        for k in 0..2000 {
            worst = worst.max(exp_ulp(Dd::from(k as f64 * 0.010_830_424_696 * 0.5))); // edges of the reduction
        }
        // half an ulp for the last rounding, 2^-58 = 2^-5 ulp before it
        assert!(worst < 0.5 + 1.0 / 32.0, "worst {worst} ulp");
    }

    /// Catches a wrong coefficient, reduction or scale: against e^-x in 106-bit arithmetic; NaN and
    /// the far end.
    #[test]
    fn exp_neg_single_against_double_words() {
        let mut worst: f64 = 0.0;
        for n in 0..40_000 {
            let x = f64::from(n) * 0.017_3 + 1e-3 * f64::from(n % 7);
            let truth = (-Dd::from(x)).exp();
            worst = worst.max(
                ((Dd::from(exp_neg_single(x)) - truth).to_f64() / (truth.hi.next_up() - truth.hi))
                    .abs(),
            );
        }
        // half an ulp for the sum with 1, up to half an ulp of the next power below for the
        // polynomial
        assert!(worst < 1.0, "worst {worst} ulp");
        assert_eq!(exp_neg_single(0.0), 1.0);
        assert!(exp_neg_single(f64::NAN).is_nan() && exp_neg_single(f64::INFINITY) < 1e-300);
    }

    /// Catches cancellation and a gap at the switch y = 2.5: against the series in 106-bit
    /// arithmetic.
    #[test]
    fn p3_and_g_in_ulp() {
        let (mut w3, mut wg): (f64, f64) = (0.0, 0.0);
        let mut z = 1e-15;
        while z < 300.0 {
            let y = Dd::from(2.0 * z);
            let e2 = (-y).exp();
            // e^-y sum_{j >= n} y^j / j!: positive terms
            let tail = |n: usize| {
                let mut term = e2;
                for j in 1..=n {
                    term = term * y / Dd::from(j as f64);
                }
                let (mut s, mut j) = (term, n as f64);
                while term.hi > 1e-34 * s.hi {
                    j += 1.0;
                    term = term * y / Dd::from(j);
                    s = s + term;
                }
                s
            };
            let (p3, g) = p3_g([z, 0.0], [e2.hi, e2.lo]);
            let ulp =
                |got: f64, t: Dd| ((Dd::from(got) - t).to_f64() / (t.hi.next_up() - t.hi)).abs();
            w3 = w3.max(ulp(p3, tail(3)));
            let c = e2 * y * y * y / Dd::from(12.0);
            wg = wg.max(ulp(g, tail(4).scale(2.0) + c));
            z *= 1.003;
        }
        assert!(w3 < 4.0 && wg < 4.0, "P3 {w3} ulp, G {wg} ulp"); // bound: 3 roundings in z^3, 4 in products, 1 bit lost at the switch
    }
}
