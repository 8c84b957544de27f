//! Functions that must not cancel: `e^-x` of a double-word argument, and the incomplete gammas of critical damping.
//!
//! | function | domain | accuracy | method |
//! |---|---|---|---|
//! | [`exp_neg`] | 0 <= x <= 700 | 2^-58 relative | table of 2^(-i/64) in double words, degree-6 polynomial |
//! | [`scaled_exp_neg`] | x >= 0 | 2 ulp, while the product is a normal number | square of `exp_neg(x/2)` |
//! | [`p3_g`] | y >= 0 | 4 ulp (P3 and G) | y < 2.5: e^-y times an all-positive series; else 1 - e^-y(...) |
//! | [`one_minus_exp_neg`] | x >= 0 | 1 ulp | `expm1` with first-order correction for the low word |

mod tables;

use crate::dd::{Dd, fast_two_sum, two_prod, two_sum};
use tables::{INV_LN2_64, LN2_64_A, LN2_64_B, POW2, S4};

/// `e^-x` for a double-word `x` in [0, 700], as a double word with relative error below 2^-58.
///
/// Method: k = round(64 x / ln 2), r = x - k ln2/64 in two doubles (the leading part of ln2/64 has 34 bits, so that
/// its product with k is exact); e^-x = 2^(-k/64) e^-r with 2^(-i/64) from a table of double words and e^-r - 1 by
/// Taylor's polynomial of degree 6 (|r| < 0.0055: remainder below 2^-65). The low word is rounded three times at
/// the size of r, 2^-61 each.
#[inline(always)]
pub fn exp_neg(x: Dd) -> Dd {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: adding it rounds to an integer in the low bits
    let shifted = x.hi * INV_LN2_64 + SHIFT;
    let k = shifted - SHIFT;
    let ki = shifted.to_bits() as i64; // low bits hold k (two's complement)
    let a = x.hi - k * LN2_64_A; // exact
    let (rh, rl) = two_sum(a, x.lo - k * LN2_64_B);
    // e^-r - 1 = -rh + q
    let r = rh;
    let q = r * r * (0.5 - r * (1.0 / 6.0 - r * (1.0 / 24.0 - r * (1.0 / 120.0 - r * (1.0 / 720.0))))) - rl;
    let i = (ki & 63) as usize;
    let (th, tl) = POW2[i];
    let (hi, lo) = fast_two_sum(th, tl + th * (q - rh));
    // 2^-(k div 64), k >= 0 and at most 1010
    let p = f64::from_bits(((1023 - ((ki << 13) >> 19)) << 52) as u64);
    Dd { hi: hi * p, lo: lo * p }
}

/// `c e^-x` for a double-word `x >= 0`, also where `e^-x` has underflowed and the product has not; 2 ulp.
pub fn scaled_exp_neg(c: f64, x: Dd) -> f64 {
    if x.hi >= 1400.0 {
        return 0.0;
    }
    let half = exp_neg(x.scale(0.5));
    (c * half.hi) * (half.hi + 2.0 * half.lo) // half.hi (half.hi + 2 half.lo) = e^-x to first order
}

/// `1 - e^-x` for a double-word `x >= 0`, without cancellation; error below 1.5 ulp.
///
/// The variance of the variance-preserving process.
#[inline]
pub fn one_minus_exp_neg(x: Dd) -> f64 {
    -(-x.hi).exp_m1() + x.lo * (-x.hi).exp()
}

/// `S4(y) = sum over j of 24 y^j / (j+4)!` for y in [0, 3], relative error below 1 ulp (all terms are positive).
#[inline(always)]
fn s4(y: f64) -> f64 {
    // Estrin's scheme: short dependency chains; the largest term is the constant 1.
    let y2 = y * y;
    let y4 = y2 * y2;
    let a = (S4[1] + y * S4[2]) + y2 * (S4[3] + y * S4[4]);
    let b = (S4[5] + y * S4[6]) + y2 * (S4[7] + y * S4[8]);
    let c = (S4[9] + y * S4[10]) + y2 * (S4[11] + y * S4[12]) + y4 * ((S4[13] + y * S4[14]) + y2 * S4[15]);
    1.0 + y * (a + y4 * (b + y4 * c))
}

/// The two functions that critical damping needs, at `y = 2 z`, given `e2 = e^-y`:
///
/// ```text
/// P3(y) = 1 - e^-y (1 + y + y^2/2)              the regularised lower incomplete gamma P(3, y)
/// G(y)  = 2 P3(y) - e^-y y^3/4                  ( = 2 P(4, y) + e^-y y^3/12 )
/// ```
///
/// G is what is left of the determinant after its cancelling parts are taken out (see `process::cld`).
/// For y < 2.5 the equal forms `P4 = e^-y (y^4/24) S4(y)`, `P3 = P4 + e^-y y^3/6` and `G = 2 P4 + e^-y y^3/12`, which
/// only add positive terms. From y = 2.5 on, P3 > 0.45, G > 0.59, and the printed forms lose little more than 1 bit.
///
/// `e^-y` comes with its low word, and the powers of z with theirs: the determinant is of second order in P3 and G,
/// and what is lost here counts twice there.
#[inline(always)]
pub fn p3_g(z: Dd, e2: Dd) -> (f64, f64) {
    // z^3 in double words; c = e^-y y^3 / 6 within 1.5 ulp
    let (sq, err) = two_prod(z.hi, z.hi);
    let (cube, err3) = two_prod(sq, z.hi);
    let rest = err3 + (err * z.hi + 3.0 * (sq * z.lo));
    let third = cube * 4.0 / 3.0; // the division does not wait for e^-y
    let (lead, more) = (e2.hi * third, e2.lo * third + e2.hi * (rest * (4.0 / 3.0)));
    let c = lead + more;
    if z.hi < 1.25 {
        let p4 = c * (0.5 * z.hi) * s4(2.0 * z.hi);
        (lead + (p4 + more), 0.5 * lead + (2.0 * p4 + 0.5 * more)) // one rounding less than from c
    } else {
        // 1 + y + y^2/2 = 1 + 2 (z + z^2) as q + low; z > 1, so that every sum is of sizes in order
        let (h, l) = fast_two_sum(sq, z.hi);
        let (q, l1) = fast_two_sum(2.0 * h, 1.0);
        let low = l1 + 2.0 * (l + (err + z.lo * (1.0 + 2.0 * z.hi)));
        let p3 = 1.0 - e2.hi * q - (e2.lo * q + e2.hi * low);
        (p3, 2.0 * p3 - 1.5 * c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong table entry, a bad reduction or a lost low word: against e^-x in 106-bit arithmetic.
    #[test]
    fn exp_neg_against_double_word_taylor() {
        let mut worst: f64 = 0.0;
        let mut x = 1e-17;
        while x < 700.0 {
            let v = Dd::new(x, x * 7.3e-17 * (x * 1e3).sin());
            let truth = (-v).exp(); // relative error about 2^10 u^2 * 100
            let got = exp_neg(v);
            worst = worst.max(((got - truth) / truth).hi.abs());
            x *= 1.01;
        }
        for k in 0..2000 {
            let v = Dd::from(k as f64 * 0.010_830_424_696 * 0.5); // edges of the reduction
            let truth = (-v).exp();
            worst = worst.max(((exp_neg(v) - truth) / truth).hi.abs());
        }
        assert!(worst < 2f64.powi(-58), "worst {worst:e} = 2^{}", worst.log2());
    }

    /// Catches cancellation and a gap at the switch y = 2.5: against the series in 106-bit arithmetic.
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
            let (p3, g) = p3_g(Dd::from(z), e2);
            let ulp = |got: f64, t: Dd| ((Dd::from(got) - t).to_f64() / (t.hi.next_up() - t.hi)).abs();
            w3 = w3.max(ulp(p3, tail(3)));
            let c = e2 * y * y * y / Dd::from(12.0);
            wg = wg.max(ulp(g, tail(4).scale(2.0) + c));
            z *= 1.003;
        }
        assert!(w3 < 4.0 && wg < 4.0, "P3 {w3} ulp, G {wg} ulp"); // bound: 3 roundings in z^3, 4 in products, 1 bit lost at the switch
    }
}
