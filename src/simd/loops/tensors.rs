//! What the tests of the loops of networks share: tensors with numbers in their pixels and
//! something else around them, and comparisons.

use super::conv::Images;
use super::float::Float;
use crate::simd::Set;

/// Roundoff of the definitions, which are written in f64.
pub(super) const U64: f64 = f64::EPSILON / 2.0;

/// In the borders and between the images of what is written: must be there afterwards.
pub(super) const KEPT: f64 = 77.5;

/// The sets this machine has. Miri has the scalar one only.
pub(super) fn sets() -> impl Iterator<Item = Set> {
    Set::ALL.into_iter().filter(|s| s.available())
}

/// Small reproducible numbers in (-1, 1), by a linear congruence; 24 bits, so that f32 and f64 are
/// the same.
pub(super) fn numbers<T: Float>(n: usize, mut seed: u64) -> Vec<T> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    };
    (0..n).map(|_| T::of(next())).collect()
}

/// The same batch with `more` numbers between one image and the next.
pub(super) fn apart(s: Images, more: usize) -> Images {
    Images {
        stride: s.stride + more,
        ..s
    }
}

/// Image, channel, row, column of every pixel's numbers.
pub(super) fn places(s: Images) -> impl Iterator<Item = [usize; 4]> {
    let (h, w) = (s.height, s.width);
    (0..s.n * s.channels * h * w).map(move |i| {
        [
            i / w / h / s.channels,
            i / w / h % s.channels,
            i / w % h,
            i % w,
        ]
    })
}

/// A place in a tensor.
pub(super) fn at(s: Images, [n, c, y, x]: [usize; 4]) -> usize {
    s.at(n, c, y, x)
}

/// A batch: `numbers` in the pixels, `border` around them, `gap` between the images. What is
/// written to ([`KEPT`] around) goes on for 40 numbers; what is read ends where its last image
/// does, so that a sanitizer sees a loop that reads on.
pub(super) fn tensor<T: Float>(s: Images, seed: u64, border: f64, gap: f64) -> Vec<T> {
    let mut x = vec![T::of(gap); s.len() + if gap == KEPT { 40 } else { 0 }];
    for n in 0..s.n {
        x[n * s.stride..][..s.image()].fill(T::of(border));
    }
    let pixels = numbers(s.n * s.channels * s.height * s.width, seed);
    places(s).zip(pixels).for_each(|(p, v)| x[at(s, p)] = v);
    x
}

/// Bit patterns (of the same numbers in f64).
pub(super) fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.f64().to_bits()).collect()
}

/// Panics where something that is not a pixel has changed.
pub(super) fn only_pixels<T: Float>(s: Images, before: &[T], after: &[T]) {
    let mut expected = before.to_vec();
    places(s).for_each(|p| expected[at(s, p)] = after[at(s, p)]);
    assert!(
        bits(&expected) == bits(after),
        "written outside the pixels: {s:?}"
    );
}

/// Names and calls.
pub(super) type Calls<'a> = Vec<(&'a str, Box<dyn FnOnce() + 'a>)>;

/// Panics unless every call is refused.
pub(super) fn refused(calls: Calls) {
    for (name, call) in calls {
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err(),
            "{name} is not refused"
        );
    }
}

/// Random shapes per property: `PROPTEST_CASES`, or a few.
pub(super) fn cases() -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if cfg!(miri) { 2 } else { 12 });
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..Default::default()
    }
}
