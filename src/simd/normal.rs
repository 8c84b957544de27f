//! Random bits and standard normals, many at a time.
//!
//! Bits: Threefry2x64 with 20 rounds, a counter-based generator: 128 bits from a counter (path, pair) and a key.
//! Normals: Box and Muller's transform, two normals per 128 bits,
//!
//! ```text
//! R = sqrt(-2 ln U),  U uniform on the odd multiples of 2^-53 in (0, 1)  (so that |normal| < 8.6)
//! (R cos A, R sin A) turned by a random multiple of a right angle,  A uniform on [-pi/4, pi/4]
//! ```
//!
//! `ln` by `2 atanh(s)`, s = (m - 1)/(m + 1), m in [0.7, 1.41]: series to s^21, remainder 2e-17; sine and cosine by Taylor's
//! series to x^15 and x^16, remainder 5e-17 and 4e-18. Errors of a few ulp, 1e-9 of what any test of 1e12 draws could see.

use super::{Lane, Set, Task};

const ROTATIONS: [u32; 8] = [16, 42, 12, 31, 16, 32, 24, 21];
const PARITY: u64 = 0x1BD1_1BDA_A9FC_1A22;

/// Threefry2x64 with 20 rounds, readable: the twin of the vector code.
pub fn threefry(counter: [u64; 2], key: [u64; 2]) -> [u64; 2] {
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for round in 0..20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        if round % 4 == 3 {
            let n = round / 4 + 1;
            x[0] = x[0].wrapping_add(keys[n % 3]);
            x[1] = x[1].wrapping_add(keys[(n + 1) % 3]).wrapping_add(n as u64);
        }
    }
    x
}

/// Two normals from 128 bits, with the standard library's functions: the readable twin of the vector code.
pub fn normal_pair(bits: [u64; 2]) -> [f64; 2] {
    let fraction = |b: u64| (b >> 12) as f64 * 2f64.powi(-52); // in [0, 1)
    let u = fraction(bits[0]) + 2f64.powi(-53);
    let angle = (fraction(bits[1]) - 0.5) * std::f64::consts::FRAC_PI_2;
    let r = (-2.0 * u.ln()).sqrt() * if bits[1] & 2 == 0 { 1.0 } else { -1.0 };
    let (sin, cos) = angle.sin_cos();
    if bits[1] & 1 == 0 { [r * cos, r * sin] } else { [r * sin, r * cos] }
}

/// The vector form of [`threefry`].
#[inline(always)]
pub(super) fn threefry_lanes<L: Lane<Item = f64, Word = u64>>(path: L::Bits, pair: u64, key: [u64; 2]) -> [L::Bits; 2] {
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut a = L::add_bits(path, L::splat_bits(keys[0]));
    let mut b = L::splat_bits(pair.wrapping_add(keys[1]));
    macro_rules! four {
        ($n:expr, $r:expr, $s:expr, $t:expr, $u:expr) => {
            a = L::add_bits(a, b);
            b = L::xor(L::rotate::<$r, { 64 - $r }>(b), a);
            a = L::add_bits(a, b);
            b = L::xor(L::rotate::<$s, { 64 - $s }>(b), a);
            a = L::add_bits(a, b);
            b = L::xor(L::rotate::<$t, { 64 - $t }>(b), a);
            a = L::add_bits(a, b);
            b = L::xor(L::rotate::<$u, { 64 - $u }>(b), a);
            a = L::add_bits(a, L::splat_bits(keys[$n % 3]));
            b = L::add_bits(b, L::splat_bits(keys[($n + 1) % 3].wrapping_add($n)));
        };
    }
    four!(1, 16, 42, 12, 31);
    four!(2, 16, 32, 24, 21);
    four!(3, 16, 42, 12, 31);
    four!(4, 16, 32, 24, 21);
    four!(5, 16, 42, 12, 31);
    [a, b]
}

const ONE: u64 = 0x3FF0_0000_0000_0000;
const MANTISSA: u64 = 0x000F_FFFF_FFFF_FFFF;
/// Bits of sqrt(1/2), rounded down.
const ROOT_HALF: u64 = 0x3FE6_A09E_667F_3BCC;
/// 2^52, whose last mantissa bit is worth 1.
const TWO_52: u64 = 0x4330_0000_0000_0000;

/// The vector form of [`normal_pair`].
#[inline(always)]
pub(super) fn normal_lanes<L: Lane<Item = f64, Word = u64>>(bits: [L::Bits; 2]) -> [L; 2] {
    let one = L::splat(1.0);
    let fraction = |b: L::Bits| L::from_bits(L::or(L::shr::<12>(b), L::splat_bits(ONE))); // in [1, 2)
    let u = fraction(bits[0]) - L::splat(1.0 - f64::EPSILON / 2.0); // exact: an odd multiple of 2^-53
    // u = 2^e m, m in [sqrt(1/2), sqrt(2)); e + 1023 as an integer is turned into a double by way of 2^52
    let shifted = L::add_bits(u.bits(), L::splat_bits(ONE - ROOT_HALF));
    let e = L::from_bits(L::or(L::shr::<52>(shifted), L::splat_bits(TWO_52))) - L::splat(4_503_599_627_370_496.0 + 1023.0);
    let m = L::from_bits(L::add_bits(L::and(shifted, L::splat_bits(MANTISSA)), L::splat_bits(ROOT_HALF)));
    let s = (m - one) / (m + one);
    let z = s * s;
    // ln m = 2 s (1 + z/3 + z^2/5 + ...); -2 ln u = -4 s (...) - 2 e ln 2
    let mut p = L::splat(1.0 / 21.0);
    for k in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        p = p.mul_add(z, L::splat(1.0 / k));
    }
    let p = p.mul_add(z, one);
    let square = (s * L::splat(-4.0)).mul_add(p, e * L::splat(-2.0 * std::f64::consts::LN_2));
    let r = square.sqrt();
    // the second random bit is the sign
    let r = L::from_bits(L::or(r.bits(), L::shl::<63>(L::shr::<1>(bits[1]))));
    let x = (fraction(bits[1]) - L::splat(1.5)) * L::splat(std::f64::consts::FRAC_PI_2);
    let y = x * x;
    let mut sin = L::splat(-1.0 / 1_307_674_368_000.0); // 15!
    for c in [6_227_020_800.0, -39_916_800.0, 362_880.0, -5040.0, 120.0, -6.0] {
        sin = sin.mul_add(y, L::splat(1.0 / c));
    }
    let sin = (sin * y).mul_add(x, x);
    let mut cos = L::splat(1.0 / 20_922_789_888_000.0); // 16!
    for c in [-87_178_291_200.0, 479_001_600.0, -3_628_800.0, 40_320.0, -720.0, 24.0, -2.0] {
        cos = cos.mul_add(y, L::splat(1.0 / c));
    }
    let cos = cos.mul_add(y, one);
    let swap = L::top(L::shl::<63>(bits[1]));
    [r * L::select(swap, sin, cos), r * L::select(swap, cos, sin)]
}

struct Fill<'a> {
    key: [u64; 2],
    first: u64,
    pair: u64,
    out: [&'a mut [f64]; 2],
}

impl Task for Fill<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lane<Item = f64, Word = u64>, S: Lane<Item = f32>>(self) {
        let [a, b] = self.out;
        let n = a.len().min(b.len());
        let whole = n / L::WIDTH * L::WIDTH;
        let mut path = L::add_bits(L::iota(), L::splat_bits(self.first));
        for at in (0..whole).step_by(L::WIDTH) {
            let [x, y] = normal_lanes::<L>(threefry_lanes::<L>(path, self.pair, self.key));
            x.store(&mut a[at..]);
            y.store(&mut b[at..]);
            path = L::add_bits(path, L::splat_bits(L::WIDTH as u64));
        }
        if whole < n {
            let rest = Fill {
                key: self.key,
                first: self.first.wrapping_add(whole as u64),
                pair: self.pair,
                out: [&mut a[whole..n], &mut b[whole..n]],
            };
            rest.run::<f64, f32>();
        }
    }
}

/// Normals of pair `pair` for the paths `first ..`: the pair's two draws in two slices of equal length.
pub fn normals(key: [u64; 2], first: u64, pair: u64, out: [&mut [f64]; 2]) {
    super::wide(Fill { key, first, pair, out });
}

/// [`normals`] on a given set: for tests.
pub fn normals_on(set: Set, key: [u64; 2], first: u64, pair: u64, out: [&mut [f64]; 2]) {
    super::wide_on(set, Fill { key, first, pair, out });
}
