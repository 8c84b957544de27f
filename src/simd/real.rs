//! Loops that are written once for f32 and f64: networks run in f32, and their gradients are held against central differences of the very
//! same loops in f64.

use super::Lane;
use super::lane::Sealed;

/// f32 or f64.
pub trait Real: Sealed + Copy + Default + PartialEq + PartialOrd + std::fmt::Debug + Send + Sync + 'static {
    /// The lanes of this type among those of an instruction set.
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>: Lane<Item = Self>;
    /// Unit roundoff: 2^-24 or 2^-53.
    const ROUNDOFF: f64;
    /// The nearest number.
    fn of(x: f64) -> Self;
    /// The same number.
    fn f64(self) -> f64;
    /// `e^x` within 2 units in the last place, for x at most 88 (f32) or 709 (f64); below -87 and -708 the value there, which is below
    /// 1e-37. NaN stays NaN.
    fn exp<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(x: Self::Of<D, S>) -> Self::Of<D, S>;
}

/// `x = k ln 2 + r`, `e^x = 2^k e^r` with Taylor's series; k is found by adding 1.5 2^(mantissa bits), where a unit is the last bit.
macro_rules! exp {
    ($t:ident, $word:ident, $lane:ident, $least:expr, $most:expr, $round:expr, $high:expr, $low:expr, $shift:literal, [$($c:expr),*]) => {
        #[inline(always)]
        fn exp<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(x: Self::Of<D, S>) -> Self::Of<D, S> {
            #[inline(always)]
            fn body<L: Lane<Item = $t, Word = $word>>(x: L) -> L {
                let (least, most) = (L::splat($least), L::splat($most));
                let x = L::select(x.lt(least), least, x);
                let x = L::select(most.lt(x), most, x);
                let k = x.mul_add(L::splat(std::$t::consts::LOG2_E), L::splat($round));
                let n = k - L::splat($round);
                let r = n.mul_add(L::splat(-$high), x);
                let r = n.mul_add(L::splat(-$low), r);
                let mut p = L::splat(0.0);
                $(p = p.mul_add(r, L::splat((1.0 / $c as f64) as $t));)*
                let p = p.mul_add(r, L::splat(1.0));
                let p = p.mul_add(r, L::splat(1.0));
                L::from_bits(L::add_bits(p.bits(), L::shl::<$shift>(k.bits())))
            }
            body(x)
        }
    };
}

impl Real for f32 {
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>> = S;
    const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
    // 0.693359375 = 355/512 has nine bits: its product with k is exact. Remainder r^8/8! < 6e-9.
    exp!(f32, u32, S, -87.0, 88.0, 12_582_912.0, 0.693_359_375, -2.121_944_4e-4, 23, [5040, 720, 120, 24, 6, 2]);
}

impl Real for f64 {
    type Of<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>> = D;
    const ROUNDOFF: f64 = f64::EPSILON / 2.0;
    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
    // ln 2 rounded to 40 bits, and the rest. Remainder r^14/14! < 5e-18.
    exp!(
        f64,
        u64,
        D,
        -708.0,
        709.0,
        6_755_399_441_055_744.0,
        0.693_147_180_560_117_7,
        -1.723_944_452_561_483_5e-13,
        52,
        [6_227_020_800u64, 479_001_600, 39_916_800, 3_628_800, 362_880, 40_320, 5040, 720, 120, 24, 6, 2]
    );
}
