//! Random bits and standard normals, many at a time.
//!
//! Bits: Threefry2x64 with 20 rounds, a counter-based generator: 128 bits from a counter (path,
//! pair) and a key. Normals: Box and Muller's transform, two normals per 128 bits,
//!
//! ```text
//! R = sqrt(-2 ln U),  U uniform on the odd multiples of 2^-53 in (0, 1)  (so that |normal| < 8.6)
//! (R cos A, R sin A) turned by a random multiple of a right angle,  A uniform on [-pi/4, pi/4]
//! ```
//!
//! `ln` by `2 atanh(s)`, s = (m - 1)/(m + 1), m in [0.7, 1.41]: series to s^21, remainder 2e-17;
//! sine and cosine by Taylor's series to x^15 and x^16, remainder 5e-17 and 4e-18. Errors of a few
//! ulp, 1e-9 of what any test of 1e12 draws could see.

use super::{Lane, Set, Task};

const ROTATIONS: [u32; 8] = [16, 42, 12, 31, 16, 32, 24, 21];
const PARITY: u64 = 0x1BD1_1BDA_A9FC_1A22;

/// Threefry2x64 with 20 rounds, readable: the twin of the vector code.
pub fn threefry(counter: [u64; 2], key: [u64; 2]) -> [u64; 2] {
    let keys = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x = [
        counter[0].wrapping_add(keys[0]),
        counter[1].wrapping_add(keys[1]),
    ];
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

/// Two normals from 128 bits, with the standard library's functions: the readable twin of the
/// vector code.
pub fn normal_pair(bits: [u64; 2]) -> [f64; 2] {
    let fraction = |b: u64| (b >> 12) as f64 * 2f64.powi(-52); // in [0, 1)
    let u = fraction(bits[0]) + 2f64.powi(-53);
    let angle = (fraction(bits[1]) - 0.5) * std::f64::consts::FRAC_PI_2;
    let r = (-2.0 * u.ln()).sqrt() * if bits[1] & 2 == 0 { 1.0 } else { -1.0 };
    let (sin, cos) = angle.sin_cos();
    if bits[1] & 1 == 0 {
        [r * cos, r * sin]
    } else {
        [r * sin, r * cos]
    }
}

/// The vector form of [`threefry`].
#[inline(always)]
pub(super) fn threefry_lanes<L: Lane<Item = f64, Word = u64>>(
    path: L::Bits,
    pair: u64,
    key: [u64; 2],
) -> [L::Bits; 2] {
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
    // u = 2^e m, m in [sqrt(1/2), sqrt(2)); e + 1023 as an integer is turned into a double by way
    // of 2^52
    let shifted = L::add_bits(u.bits(), L::splat_bits(ONE - ROOT_HALF));
    let e = L::from_bits(L::or(L::shr::<52>(shifted), L::splat_bits(TWO_52)))
        - L::splat(4_503_599_627_370_496.0 + 1023.0);
    let m = L::from_bits(L::add_bits(
        L::and(shifted, L::splat_bits(MANTISSA)),
        L::splat_bits(ROOT_HALF),
    ));
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
    for c in [
        6_227_020_800.0,
        -39_916_800.0,
        362_880.0,
        -5040.0,
        120.0,
        -6.0,
    ] {
        sin = sin.mul_add(y, L::splat(1.0 / c));
    }
    let sin = (sin * y).mul_add(x, x);
    let mut cos = L::splat(1.0 / 20_922_789_888_000.0); // 16!
    for c in [
        -87_178_291_200.0,
        479_001_600.0,
        -3_628_800.0,
        40_320.0,
        -720.0,
        24.0,
        -2.0,
    ] {
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
    fn run<L: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
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

/// Normals of pair `pair` for the paths `first ..`: the pair's two draws in two slices of equal
/// length.
pub fn normals(key: [u64; 2], first: u64, pair: u64, out: [&mut [f64]; 2]) {
    super::wide(Fill {
        key,
        first,
        pair,
        out,
    });
}

/// [`normals`] on a given set: for tests.
pub fn normals_on(set: Set, key: [u64; 2], first: u64, pair: u64, out: [&mut [f64]; 2]) {
    super::wide_on(
        set,
        Fill {
            key,
            first,
            pair,
            out,
        },
    );
}

const ROTATIONS_4: [[u32; 2]; 8] = [
    [10, 26],
    [11, 21],
    [13, 27],
    [23, 5],
    [6, 20],
    [17, 11],
    [25, 10],
    [18, 20],
];
const PARITY_4: u32 = 0x1BD1_1BDA;

/// Threefry4x32 with 20 rounds, readable: the bits of single-precision normals, four words at a
/// time.
pub fn threefry4(counter: [u32; 4], key: [u32; 4]) -> [u32; 4] {
    let keys = [
        key[0],
        key[1],
        key[2],
        key[3],
        PARITY_4 ^ key[0] ^ key[1] ^ key[2] ^ key[3],
    ];
    let mut x: [u32; 4] = std::array::from_fn(|i| counter[i].wrapping_add(keys[i]));
    for round in 0..20 {
        // even rounds mix words 0 with 1 and 2 with 3, odd ones 0 with 3 and 2 with 1
        let (a, b) = if round % 2 == 0 { (1, 3) } else { (3, 1) };
        x[0] = x[0].wrapping_add(x[a]);
        x[a] = x[a].rotate_left(ROTATIONS_4[round % 8][0]) ^ x[0];
        x[2] = x[2].wrapping_add(x[b]);
        x[b] = x[b].rotate_left(ROTATIONS_4[round % 8][1]) ^ x[2];
        if round % 4 == 3 {
            let n = round / 4 + 1;
            x = std::array::from_fn(|i| x[i].wrapping_add(keys[(n + i) % 5]));
            x[3] = x[3].wrapping_add(n as u32);
        }
    }
    x
}

/// Two normals in single precision from two words: the readable twin, computed in f64. The uniform
/// has 32 bits, so that
/// |normal| < 6.8.
pub fn normal_pair_f32(bits: [u32; 2]) -> [f32; 2] {
    let u = (f64::from(bits[0]) + 0.5) * 2f64.powi(-32);
    let angle = (f64::from(bits[1] >> 9) * 2f64.powi(-23) - 0.5) * std::f64::consts::FRAC_PI_2;
    let r = (-2.0 * u.ln()).sqrt() * if bits[1] & 2 == 0 { 1.0 } else { -1.0 };
    let (sin, cos) = angle.sin_cos();
    let [a, b] = if bits[1] & 1 == 0 {
        [r * cos, r * sin]
    } else {
        [r * sin, r * cos]
    };
    [a as f32, b as f32]
}

/// The vector form of [`threefry4`], of paths whose numbers share the upper half `high`.
#[inline(always)]
pub(super) fn threefry4_lanes<S: Lane<Item = f32, Word = u32>>(
    low: S::Bits,
    high: u32,
    quad: u32,
    key: [u32; 4],
) -> [S::Bits; 4] {
    let keys = [
        key[0],
        key[1],
        key[2],
        key[3],
        PARITY_4 ^ key[0] ^ key[1] ^ key[2] ^ key[3],
    ];
    let constant = |counter: u32, key: u32| S::splat_bits(counter.wrapping_add(key));
    let mut x = [
        S::add_bits(low, S::splat_bits(keys[0])),
        constant(high, keys[1]),
        constant(quad, keys[2]),
        constant(0, keys[3]),
    ];
    macro_rules! round {
        ($a:expr, $b:expr, $r:expr, $s:expr) => {
            x[0] = S::add_bits(x[0], x[$a]);
            x[$a] = S::xor(S::rotate::<$r, { 32 - $r }>(x[$a]), x[0]);
            x[2] = S::add_bits(x[2], x[$b]);
            x[$b] = S::xor(S::rotate::<$s, { 32 - $s }>(x[$b]), x[2]);
        };
    }
    macro_rules! inject {
        ($n:expr) => {
            x[0] = S::add_bits(x[0], S::splat_bits(keys[$n % 5]));
            x[1] = S::add_bits(x[1], S::splat_bits(keys[($n + 1) % 5]));
            x[2] = S::add_bits(x[2], S::splat_bits(keys[($n + 2) % 5]));
            x[3] = S::add_bits(x[3], S::splat_bits(keys[($n + 3) % 5].wrapping_add($n)));
        };
    }
    macro_rules! odd_four {
        ($n:expr) => {
            round!(1, 3, 10, 26);
            round!(3, 1, 11, 21);
            round!(1, 3, 13, 27);
            round!(3, 1, 23, 5);
            inject!($n);
        };
    }
    macro_rules! even_four {
        ($n:expr) => {
            round!(1, 3, 6, 20);
            round!(3, 1, 17, 11);
            round!(1, 3, 25, 10);
            round!(3, 1, 18, 20);
            inject!($n);
        };
    }
    odd_four!(1);
    even_four!(2);
    odd_four!(3);
    even_four!(4);
    odd_four!(5);
    x
}

const ONE_F32: u32 = 0x3F80_0000;
const MANTISSA_F32: u32 = 0x007F_FFFF;
/// Bits of sqrt(1/2), rounded down.
const ROOT_HALF_F32: u32 = 0x3F35_04F3;
/// 2^23, whose last mantissa bit is worth 1.
const TWO_23: u32 = 0x4B00_0000;

/// The vector form of [`normal_pair_f32`]: as [`normal_lanes`], with shorter series (remainders
/// 2e-9).
#[inline(always)]
pub(super) fn normal_lanes_f32<S: Lane<Item = f32, Word = u32>>(bits: [S::Bits; 2]) -> [S; 2] {
    let one = S::splat(1.0);
    let integer =
        |b: S::Bits| S::from_bits(S::or(b, S::splat_bits(TWO_23))) - S::splat(8_388_608.0); // below 2^23: exact
    let (high, low) = (
        integer(S::shr::<16>(bits[0])),
        integer(S::and(bits[0], S::splat_bits(0xFFFF))) + S::splat(0.5),
    );
    let u = high.mul_add(S::splat(2f32.powi(-16)), low * S::splat(2f32.powi(-32)));
    let shifted = S::add_bits(u.bits(), S::splat_bits(ONE_F32 - ROOT_HALF_F32));
    let e = integer(S::shr::<23>(shifted)) - S::splat(127.0);
    let m = S::from_bits(S::add_bits(
        S::and(shifted, S::splat_bits(MANTISSA_F32)),
        S::splat_bits(ROOT_HALF_F32),
    ));
    let s = (m - one) / (m + one);
    let z = s * s;
    let mut p = S::splat(1.0 / 9.0);
    for k in [7.0, 5.0, 3.0] {
        p = p.mul_add(z, S::splat(1.0 / k));
    }
    let p = p.mul_add(z, one);
    let square = (s * S::splat(-4.0)).mul_add(p, e * S::splat(-2.0 * std::f32::consts::LN_2));
    let r = S::from_bits(S::or(
        square.sqrt().bits(),
        S::shl::<31>(S::shr::<1>(bits[1])),
    ));
    let fraction = S::from_bits(S::or(S::shr::<9>(bits[1]), S::splat_bits(ONE_F32)));
    let x = (fraction - S::splat(1.5)) * S::splat(std::f32::consts::FRAC_PI_2);
    let y = x * x;
    let mut sin = S::splat(1.0 / 362_880.0); // 9!
    for c in [-5040.0, 120.0, -6.0] {
        sin = sin.mul_add(y, S::splat(1.0 / c));
    }
    let sin = (sin * y).mul_add(x, x);
    let mut cos = S::splat(-1.0 / 3_628_800.0); // 10!
    for c in [40_320.0, -720.0, 24.0, -2.0] {
        cos = cos.mul_add(y, S::splat(1.0 / c));
    }
    let cos = cos.mul_add(y, one);
    let swap = S::top(S::shl::<31>(bits[1]));
    [r * S::select(swap, sin, cos), r * S::select(swap, cos, sin)]
}

/// Four normals per path from one quad.
#[inline(always)]
pub(super) fn quad_lanes<S: Lane<Item = f32, Word = u32>>(
    low: S::Bits,
    high: u32,
    quad: u32,
    key: [u32; 4],
) -> [S; 4] {
    let [a, b, c, d] = threefry4_lanes::<S>(low, high, quad, key);
    let ([x, y], [z, w]) = (normal_lanes_f32::<S>([a, b]), normal_lanes_f32::<S>([c, d]));
    [x, y, z, w]
}

struct FillF32<'a> {
    key: [u32; 4],
    first: u64,
    quad: u32,
    out: [&'a mut [f32]; 4],
}

impl Task for FillF32<'_> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        let n = self.out.iter().map(|s| s.len()).min().unwrap_or(0);
        let mut out = self.out;
        let mut at = 0;
        while at < n {
            let path = self.first.wrapping_add(at as u64);
            let (low, high) = (path as u32, (path >> 32) as u32);
            if at + S::WIDTH <= n && low.checked_add(S::WIDTH as u32).is_some() {
                let all = quad_lanes::<S>(
                    S::add_bits(S::iota(), S::splat_bits(low)),
                    high,
                    self.quad,
                    self.key,
                );
                for (x, s) in all.into_iter().zip(&mut out) {
                    x.store(&mut s[at..]);
                }
                at += S::WIDTH;
            } else {
                let all = quad_lanes::<f32>(low, high, self.quad, self.key);
                all.into_iter().zip(&mut out).for_each(|(x, s)| s[at] = x);
                at += 1;
            }
        }
    }
}

/// Normals in single precision of quad `quad` for the paths `first ..`: its four draws in four
/// slices of equal length.
pub fn normals_f32(key: [u32; 4], first: u64, quad: u32, out: [&mut [f32]; 4]) {
    super::wide(FillF32 {
        key,
        first,
        quad,
        out,
    });
}

/// [`normals_f32`] on a given set: for tests.
pub fn normals_f32_on(set: Set, key: [u32; 4], first: u64, quad: u32, out: [&mut [f32]; 4]) {
    super::wide_on(
        set,
        FillF32 {
            key,
            first,
            quad,
            out,
        },
    );
}
