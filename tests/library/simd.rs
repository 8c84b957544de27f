//! Every available vector loop against the scalar one (same bits), and that against readable
//! definitions.

use cld_sgm::internal::simd::normal::{normal_pair, normals_on, threefry};
use cld_sgm::internal::simd::{Set, Steps, sde};
use cld_sgm::internal::small::Mat;
use cld_sgm::internal::worst::Worst;

fn sets() -> Vec<Set> {
    let all: Vec<Set> = Set::ALL.into_iter().filter(|s| s.available()).collect();
    println!(
        "sets of instructions reached: {} of {}",
        all.len(),
        Set::ALL.len()
    );
    all
}

/// Catches a vector operation that is not its scalar twin, and a loop's end that is handled
/// wrongly: the same bits on every set, at lengths around each vector's width.
#[test]
fn normals_have_the_same_bits_on_every_set() {
    for n in [0, 1, 3, 4, 5, 7, 8, 9, 31, 1000] {
        let draw = |set| {
            let (mut a, mut b) = (vec![0.0; n], vec![0.0; n]);
            normals_on(set, [7, 1 << 60], u64::MAX - 3, 12, [&mut a, &mut b]); // the path's number wraps around
            a.into_iter().chain(b).map(f64::to_bits).collect::<Vec<_>>()
        };
        let scalar = draw(Set::Scalar);
        for set in sets() {
            assert_eq!(draw(set), scalar, "{} at {n}", set.name());
        }
    }
}

/// Catches a wrong coefficient, a wrong use of bits, a lost sign: against the standard library's
/// ln, sin and cos.
#[test]
fn normals_are_box_and_mullers() {
    let (key, n) = ([3, 5], 200_000);
    let (mut a, mut b) = (vec![0.0; n], vec![0.0; n]);
    normals_on(Set::current(), key, 0, 9, [&mut a, &mut b]);
    let mut worst = Worst::NONE;
    for i in 0..n {
        let want = normal_pair(threefry([i as u64, 9], key));
        for (got, want) in [(a[i], want[0]), (b[i], want[1])] {
            worst.see(((got - want) / want).abs());
        }
    }
    // ln: s rounded 3 times, series 2; square root halves it; sine: 4 roundings; product 1. The
    // angle near 0 is exact in both.
    assert!(
        worst.within(12.0 * f64::EPSILON / 2.0),
        "worst relative error {worst:e}"
    );
}

/// Catches a wrong matrix product, draw number or pair: against a loop over plain numbers, for 1, 2
/// and 3 draws per step, an odd first draw, and lengths that are no multiple of a vector.
#[test]
fn affine_paths_are_plain_recursions() {
    let a = |k: usize| Mat([[0.9, 0.1 + 0.01 * k as f64], [-0.2, 0.8]]);
    let noises = [
        [Mat([[0.0, 0.0], [0.0, 0.3]]), Mat::ZERO],
        [Mat([[0.1, 0.0], [0.05, 0.3]]), Mat::ZERO],
        [
            Mat([[0.1, 0.0], [0.05, 0.3]]),
            Mat([[0.0, 0.2], [0.0, 0.7]]),
        ],
    ];
    let (key, first) = ([11, 22], 1000);
    for (draws, noise) in noises.iter().enumerate().map(|(i, n)| (i + 1, n)) {
        for start in [2, 3] {
            let steps = Steps::new((0..5).map(|k| (a(k).0, noise.map(|m| m.0))), start);
            assert_eq!(steps.draws(), 5 * draws);
            let n = 21;
            let begin = |i: usize, c: f64| 0.1 * i as f64 - c;
            let run = |set| {
                let mut u: [Vec<f64>; 2] = [
                    (0..n).map(|i| begin(i, 1.0)).collect(),
                    (0..n).map(|i| begin(i, 0.3)).collect(),
                ];
                let [x, v] = &mut u;
                sde::affine_paths_on(set, &steps, key, first, [x, v]);
                u
            };
            let scalar = run(Set::Scalar);
            for set in sets() {
                assert_eq!(run(set), scalar, "{}", set.name());
            }
            for i in 0..n {
                let mut u = [begin(i, 1.0), begin(i, 0.3)];
                let mut draw = start;
                for k in 0..5 {
                    let m = a(k);
                    let mut y = [
                        m[(0, 0)] * u[0] + m[(0, 1)] * u[1],
                        m[(1, 0)] * u[0] + m[(1, 1)] * u[1],
                    ];
                    for c in noise {
                        for j in 0..2 {
                            if c[(0, j)] == 0.0 && c[(1, j)] == 0.0 {
                                continue;
                            }
                            let xi =
                                normal_pair(threefry([first + i as u64, draw as u64 / 2], key))
                                    [draw % 2];
                            y[0] += c[(0, j)] * xi;
                            y[1] += c[(1, j)] * xi;
                            draw += 1;
                        }
                    }
                    u = y;
                }
                for c in 0..2 {
                    // 5 steps of 4 fused operations on numbers below 4, each within an ulp or two
                    assert!(
                        (scalar[c][i] - u[c]).abs() < 1e-14,
                        "{draws} draws, path {i}: {} {}",
                        scalar[c][i],
                        u[c]
                    );
                }
            }
        }
    }
}

/// As the two tests above, in single precision: the same bits on every set, also where a group
/// would straddle 2^32, and within the stated error of the readable twin.
#[test]
fn single_precision_normals() {
    use cld_sgm::internal::simd::normal::{normal_pair_f32, normals_f32_on, threefry4};
    let key = [1, 2, 3, 4];
    let draw = |set, first: u64, n: usize| {
        let mut out: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; n]);
        normals_f32_on(set, key, first, 7, out.each_mut().map(Vec::as_mut_slice));
        out
    };
    for n in [0, 1, 7, 8, 9, 15, 16, 17, 33, 1000] {
        for first in [0, (1 << 32) - 21, u64::MAX - 5] {
            let scalar = draw(Set::Scalar, first, n);
            for set in sets() {
                assert_eq!(
                    draw(set, first, n),
                    scalar,
                    "{} at {n} from {first}",
                    set.name()
                );
            }
        }
    }
    let (first, n) = ((1 << 32) - 1000, 100_000);
    let all = draw(Set::current(), first, n);
    let mut worst = Worst::NONE;
    for i in 0..n {
        let path = first + i as u64;
        let [a, b, c, d] = threefry4([path as u32, (path >> 32) as u32, 7, 0], key);
        for (pair, words) in [[a, b], [c, d]].into_iter().enumerate() {
            let want = normal_pair_f32(words);
            let square = f64::from(want[0]).powi(2) + f64::from(want[1]).powi(2);
            for (j, w) in want.iter().enumerate() {
                // u is rounded to 24 bits, an error of up to 2^-25 in u; near 1 that is one of
                // 2^-24 in R^2 = -2 ln u, relative to R half of 2^-24/R^2. The rest: some ten
                // roundings of 6e-8.
                let allowed = f64::from(w.abs()) * (1e-6 + 6e-8 / square);
                worst.see(f64::from((all[2 * pair + j][i] - w).abs()) / allowed);
            }
        }
    }
    assert!(worst.within(1.0), "worst error {worst} of what is allowed");
}

/// Single-precision paths are the plain recursion: against numbers in f64, for 1 and 2 draws per
/// step and odd first draws.
#[test]
fn single_precision_paths_are_plain_recursions() {
    use cld_sgm::internal::simd::normal::{normal_pair_f32, threefry4};
    let a = |k: usize| [[0.9, 0.1 + 0.01 * k as f64], [-0.2, 0.8]];
    let noises = [
        [[[0.0, 0.0], [0.0, 0.3]], [[0.0; 2]; 2]],
        [[[0.1, 0.0], [0.05, 0.3]], [[0.0; 2]; 2]],
    ];
    let (key, first, n) = ([9, 8, 7, 6], 5000u64, 37);
    for (draws, noise) in noises.iter().enumerate().map(|(i, x)| (i + 1, x)) {
        for start in [2, 3, 5] {
            let steps = Steps::new((0..7).map(|k| (a(k), *noise)), start);
            let run = |set| {
                let mut u: [Vec<f32>; 2] = [vec![0.7; n], vec![-0.2; n]];
                let [x, v] = &mut u;
                sde::affine_paths_f32_on(set, &steps, key, first, [x, v]);
                u
            };
            let scalar = run(Set::Scalar);
            for set in sets() {
                assert_eq!(run(set), scalar, "{}", set.name());
            }
            for i in 0..n {
                let normal = |draw: usize| {
                    let w = threefry4([(first + i as u64) as u32, 0, (draw / 4) as u32, 0], key);
                    let pair = if draw % 4 < 2 {
                        [w[0], w[1]]
                    } else {
                        [w[2], w[3]]
                    };
                    f64::from(normal_pair_f32(pair)[draw % 2])
                };
                let (mut u, mut draw) = ([f64::from(0.7f32), f64::from(-0.2f32)], start);
                for k in 0..7 {
                    let m = a(k);
                    let mut y = [
                        m[0][0] * u[0] + m[0][1] * u[1],
                        m[1][0] * u[0] + m[1][1] * u[1],
                    ];
                    for j in if draws == 1 { 1..2 } else { 0..2 } {
                        let xi = normal(draw);
                        y = [y[0] + noise[0][0][j] * xi, y[1] + noise[0][1][j] * xi];
                        draw += 1;
                    }
                    u = y;
                }
                for c in 0..2 {
                    // 7 steps of 4 roundings of 6e-8 on numbers below 3, and the draws' own error
                    assert!(
                        (f64::from(scalar[c][i]) - u[c]).abs() < 1e-5,
                        "{draws} draws, path {i}: {} {}",
                        scalar[c][i],
                        u[c]
                    );
                }
            }
        }
    }
}
