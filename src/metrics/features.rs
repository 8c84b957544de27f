//! Features of small images, fixed by this page: nothing is downloaded and nothing is learned.
//!
//! An image has C channels (1 or 3) of H by W numbers on [-1, 1], H and W at least 4. Its 64
//! features are
//!
//! ```text
//! 0..16    means over channels g(y, x), their 4 by 4 lowest cosines:
//!          f[4 a + b] = s_a s_b / (H W) sum_(y, x) g(y, x) cos(pi a (y + 1/2)/H) cos(pi b (x + 1/2)/W),  s_0 = 1, else sqrt(2)
//! 16..40   24 maps p_k = max(0, c_k), c_k the convolution of the image with filter k of layer 1; f[16 + k] is the mean of p_k
//! 40..64   p_k averaged over blocks of 2 by 2 (a last odd row or column is left out), 24 maps q_k = max(0, d_k), d_k the
//!          convolution of all p with filter k of layer 2; f[40 + k] is the mean of q_k
//! ```
//!
//! Convolutions are correlations with 3 by 3 filters, of the size of their input; beyond the edge
//! its nearest pixel goes on. Filter k of layer l (1 or 2) over n input maps: m = 0..9 n counts
//! map, row, column, the last fastest. Numbers are `r_m = 2^-52 floor(word/2^11) - 1`, uniform on
//! [-1, 1), word the first of Threefry2x64-20 at counter (k, m) and key (l, 0x6665_6174_7572_6573)
//! ("features"). Their mean is taken off, and they are scaled to a sum of squares of 9 in layer 1
//! and of 1 in layer 2: constant images have no features there. Only +, -, x, /, sqrt and the two
//! cosines are used.

use super::bures::frechet;
use crate::error::{Error, Result};
use crate::simd::normal::threefry;

/// Features of an image.
pub const FEATURES: usize = 64;
const FILTERS: usize = 24;
const COSINES: usize = 4;

/// Filters of a layer over `maps` inputs, (FILTERS, maps, 3, 3).
fn filters(layer: u64, maps: usize, squares: f64) -> Vec<f64> {
    let size = 9 * maps;
    let key = [layer, u64::from_be_bytes(*b"features")];
    let mut all = vec![0.0; FILTERS * size];
    for (k, f) in all.chunks_exact_mut(size).enumerate() {
        for (m, r) in f.iter_mut().enumerate() {
            *r = (threefry([k as u64, m as u64], key)[0] >> 11) as f64 * 2f64.powi(-52) - 1.0;
        }
        let mean = f.iter().sum::<f64>() / size as f64;
        f.iter_mut().for_each(|r| *r -= mean);
        let scale = (squares / f.iter().map(|r| r * r).sum::<f64>()).sqrt();
        f.iter_mut().for_each(|r| *r *= scale);
    }
    all
}

/// Maps (n, h, w) with their edges repeated once, (n, h + 2, w + 2).
fn pad(maps: &[f64], h: usize, w: usize, out: &mut Vec<f64>) {
    out.clear();
    for map in maps.chunks_exact(h * w) {
        for y in 0..h + 2 {
            let row = &map[y.saturating_sub(1).min(h - 1) * w..][..w];
            out.push(row[0]);
            out.extend(row);
            out.push(row[w - 1]);
        }
    }
}

/// `max(0, filter * maps)` of padded maps, for one filter.
fn respond(padded: &[f64], h: usize, w: usize, filter: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for (map, f) in padded
        .chunks_exact((h + 2) * (w + 2))
        .zip(filter.chunks_exact(9))
    {
        for (tap, weight) in f.iter().enumerate() {
            for y in 0..h {
                let from = &map[(y + tap / 3) * (w + 2) + tap % 3..][..w];
                out[y * w..(y + 1) * w]
                    .iter_mut()
                    .zip(from)
                    .for_each(|(o, x)| *o += weight * x);
            }
        }
    }
    // not `max`, which makes 0 of NaN
    out.iter_mut()
        .for_each(|o| *o = if *o < 0.0 { 0.0 } else { *o });
}

/// The features (n, 64) of images (n, channels, height, width) on [-1, 1], as this module's page
/// defines them. Formula: metric.image_features. Source: this crate; random filters tell textures
/// apart as learned ones do, if less sharply (Jarrett et al. 2009; Saxe et al. 2011).
///
/// # Errors
/// Channels other than 1 and 3, height or width below 4; no image or a part of one; a value that is
/// not finite.
pub fn features(images: &[f64], shape: [usize; 3]) -> Result<Vec<f64>> {
    let [c, h, w] = shape;
    let dim = c
        .checked_mul(h)
        .and_then(|n| n.checked_mul(w))
        .filter(|_| matches!(c, 1 | 3) && h >= 4 && w >= 4);
    let Some(dim) = dim else {
        return Err(Error::shape(
            "image",
            &shape,
            "(channels 1 or 3, height >= 4, width >= 4)",
        ));
    };
    super::rows("images", images, dim, 1)?;
    let size = h * w;
    let wave = |n: usize| -> Vec<f64> {
        let one = |a: usize, y: usize| {
            let s = if a == 0 {
                1.0
            } else {
                std::f64::consts::SQRT_2
            };
            s * (std::f64::consts::PI * a as f64 * (y as f64 + 0.5) / n as f64).cos() / n as f64
        };
        (0..COSINES * n).map(|e| one(e / n, e % n)).collect()
    };
    let (down, across) = (wave(h), wave(w));
    let (first, second) = (filters(1, c, 9.0), filters(2, FILTERS, 1.0));
    let (h2, w2) = (h / 2, w / 2);
    let (mut padded, mut maps, mut small) = (vec![], vec![0.0; size], vec![0.0; FILTERS * h2 * w2]);
    let mut response = vec![0.0; h2 * w2];
    let mut grey = vec![0.0; size];
    let mut out = Vec::with_capacity(images.len() / dim * FEATURES);
    for image in images.chunks_exact(dim) {
        for (p, g) in grey.iter_mut().enumerate() {
            *g = image.iter().skip(p).step_by(size).sum::<f64>() / c as f64;
        }
        for a in 0..COSINES {
            let row: Vec<f64> = (0..w)
                .map(|x| (0..h).map(|y| down[a * h + y] * grey[y * w + x]).sum())
                .collect();
            out.extend(
                (0..COSINES).map(|b| (0..w).map(|x| across[b * w + x] * row[x]).sum::<f64>()),
            );
        }
        pad(image, h, w, &mut padded);
        for (filter, small) in first
            .chunks_exact(9 * c)
            .zip(small.chunks_exact_mut(h2 * w2))
        {
            respond(&padded, h, w, filter, &mut maps);
            out.push(maps.iter().sum::<f64>() / size as f64);
            for (p, s) in small.iter_mut().enumerate() {
                let at = p / w2 * 2 * w + p % w2 * 2;
                *s = (maps[at] + maps[at + 1] + maps[at + w] + maps[at + w + 1]) / 4.0;
            }
        }
        pad(&small, h2, w2, &mut padded);
        for filter in second.chunks_exact(9 * FILTERS) {
            respond(&padded, h2, w2, filter, &mut response);
            out.push(response.iter().sum::<f64>() / response.len() as f64);
        }
    }
    Ok(out)
}

/// The Frechet distance between two sets of images (n, channels, height, width) on [-1, 1]:
/// [`frechet`] of their [`features`], a distance (square it to compare with a "FID"). It is 0 only
/// in the limit: for finite sets of one law it is biased upwards, in proportion to about 1/sqrt(n);
/// compare at equal numbers, and with the distance of data to data (`docs/guide/data.md`). Formula:
/// metric.image_frechet. Source: Heusel et al. 2017 (the form), this crate (the features).
///
/// # Errors
/// As [`features`]; fewer than 2 images on a side.
pub fn image_frechet(a: &[f64], b: &[f64], shape: [usize; 3]) -> Result<f64> {
    frechet(&features(a, shape)?, &features(b, shape)?, FEATURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches cosines of wrong size, filters that see a constant, edges that do: of a constant
    /// image g only feature 0 is not 0 in layer 1, and is g. Tolerance: roundings of sums of 9
    /// terms below 3.
    #[test]
    fn a_constant_has_one_feature() {
        for shape in [[1, 4, 4], [3, 7, 5]] {
            let f = features(&vec![-0.5; shape.iter().product()], shape).unwrap();
            assert!(
                (f[0] + 0.5).abs() < 1e-15 && f[1..40].iter().all(|x| x.abs() < 1e-14),
                "{f:?}"
            );
        }
    }

    /// Catches images that are mixed up with one another, and a distance of a set to itself that is
    /// not 0.
    #[test]
    fn features_are_of_each_image_alone() {
        let images: Vec<f64> = (0..5 * 48).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let all = features(&images, [3, 4, 4]).unwrap();
        for (image, f) in images.chunks_exact(48).zip(all.chunks_exact(FEATURES)) {
            assert_eq!(features(image, [3, 4, 4]).unwrap(), f);
        }
        assert!(image_frechet(&images, &images, [3, 4, 4]).unwrap() < 1e-13);
    }

    /// Catches any number of an image that is not where the page of this module has it: an image of
    /// 3 by 7 by 5, features by the definitions there, pixel by pixel. Sums of up to 216 terms below
    /// 9 in another order: 1e-12.
    #[test]
    fn features_are_those_of_the_page() {
        let [c, h, w] = [3usize, 7, 5];
        let image: Vec<f64> = (0..c * h * w)
            .map(|i| (f64::from(i as u32) * 0.7).sin())
            .collect();
        let filter = |layer: u64, k: usize, maps: usize, squares: f64| -> Vec<f64> {
            let key = [layer, 0x6665_6174_7572_6573];
            let r: Vec<f64> = (0..9 * maps)
                .map(|m| {
                    let word = threefry([k as u64, m as u64], key)[0];
                    (word / 2048) as f64 / 4_503_599_627_370_496.0 - 1.0
                })
                .collect();
            let mean = r.iter().sum::<f64>() / r.len() as f64;
            let square: f64 = r.iter().map(|x| (x - mean) * (x - mean)).sum();
            r.iter()
                .map(|x| (x - mean) * (squares / square).sqrt())
                .collect()
        };
        // a map of (h, w) numbers, filtered at (y, x), its nearest pixel beyond the edge
        let response =
            |maps: &[Vec<f64>], f: &[f64], (h, w): (usize, usize), y: usize, x: usize| {
                let mut sum = 0.0;
                for (n, map) in maps.iter().enumerate() {
                    for dy in 0..3 {
                        for dx in 0..3 {
                            let at = |p: usize, d: usize, n: usize| {
                                (p as i32 + d as i32 - 1).clamp(0, n as i32 - 1) as usize
                            };
                            let pixel = map[at(y, dy, h) * w + at(x, dx, w)];
                            sum += f[(n * 3 + dy) * 3 + dx] * pixel;
                        }
                    }
                }
                if sum > 0.0 { sum } else { 0.0 }
            };
        let layer = |maps: &[Vec<f64>], number: u64, squares: f64, (h, w): (usize, usize)| {
            let one = |k: usize| -> Vec<f64> {
                let f = filter(number, k, maps.len(), squares);
                (0..h * w)
                    .map(|p| response(maps, &f, (h, w), p / w, p % w))
                    .collect()
            };
            (0..24).map(one).collect::<Vec<_>>()
        };
        let mean = |map: &Vec<f64>| map.iter().sum::<f64>() / map.len() as f64;
        let mut want = vec![];
        for a in 0..4 {
            for b in 0..4 {
                let cosine = |k: usize, at: usize, n: usize| {
                    let scale = if k == 0 { 1.0 } else { 2f64.sqrt() };
                    let place = (at as f64 + 0.5) / n as f64;
                    scale * (std::f64::consts::PI * k as f64 * place).cos()
                };
                let term = |i: usize| {
                    let p = i % (h * w);
                    image[i] / 3.0 * cosine(a, p / w, h) * cosine(b, p % w, w)
                };
                want.push((0..c * h * w).map(term).sum::<f64>() / (h * w) as f64);
            }
        }
        let maps: Vec<Vec<f64>> = image.chunks(h * w).map(<[f64]>::to_vec).collect();
        let first = layer(&maps, 1, 9.0, (h, w));
        want.extend(first.iter().map(mean));
        let small: Vec<Vec<f64>> = first
            .iter()
            .map(|map| {
                (0..6)
                    .map(|p| {
                        let (y, x) = (2 * (p / 2), 2 * (p % 2));
                        let row = |y: usize| map[y * w + x] + map[y * w + x + 1];
                        (row(y) + row(y + 1)) / 4.0
                    })
                    .collect()
            })
            .collect();
        want.extend(layer(&small, 2, 1.0, (3, 2)).iter().map(mean));
        let found = features(&image, [c, h, w]).unwrap();
        assert_eq!(found.len(), want.len());
        for (i, (f, w)) in found.iter().zip(&want).enumerate() {
            assert!((f - w).abs() < 1e-12, "feature {i}: {f} {w}");
        }
    }

    /// Catches what would not be images.
    #[test]
    fn refusals() {
        for (n, shape) in [
            (32, [2, 4, 4]),
            (12, [1, 3, 4]),
            (12, [1, 4, 3]),
            (0, [1, 4, 4]),
            (17, [1, 4, 4]),
            (16, [1, usize::MAX, 4]),
        ] {
            assert!(features(&vec![0.0; n], shape).is_err(), "{n} {shape:?}");
        }
        assert!(features(&[f64::NAN; 16], [1, 4, 4]).is_err());
        assert!(image_frechet(&[0.0; 16], &[0.0; 32], [1, 4, 4]).is_err());
    }

    #[cfg(feature = "cli")]
    mod digits {
        use super::*;
        use crate::data::{Dither, ImageSet, files::digits};
        use crate::simd::normal::normal_pair;

        fn numbers(set: &ImageSet) -> Vec<f64> {
            set.rows(
                &(0..set.len()).collect::<Vec<_>>(),
                0,
                &Dither::new(1, false),
            )
            .unwrap()
        }

        /// Catches features that do not tell good from bad: the distance of one half of the digits
        /// to the other against that to the other half spoilt. Each factor is what was measured
        /// (`docs/guide/data.md`), rounded down.
        #[test]
        fn bad_samples_are_far() {
            let set = digits().unwrap();
            let shape = set.shape();
            let split = set.split(898, 1).unwrap();
            let (a, b) = (numbers(&split.train), numbers(&split.held_out));
            let m = split.held_out.len();
            let reference = features(&a, shape).unwrap();
            let d =
                |x: &[f64]| frechet(&reference, &features(x, shape).unwrap(), FEATURES).unwrap();
            let least = d(&b);
            assert!((0.06..0.1).contains(&least), "{least}"); // measured over splits: 0.072 to 0.093
            let normal = |i: usize| normal_pair(threefry([i as u64, 9], [1, 2]))[0];
            let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..b.len()).map(f).collect() };
            // weights 1/4, 1/2, 1/4 both ways, edges repeated
            let blurred = each(&|i| {
                let near = |k: usize, d: usize| (k + d).saturating_sub(1).min(7);
                let (y, x) = (i % 64 / 8, i % 8);
                let weight = [0.25, 0.5, 0.25];
                (0..9)
                    .map(|t| {
                        weight[t / 3]
                            * weight[t % 3]
                            * b[i / 64 * 64 + near(y, t / 3) * 8 + near(x, t % 3)]
                    })
                    .sum()
            });
            // one permutation of the places for all
            let shuffled = each(&|i| b[i / 64 * 64 + i % 64 * 37 % 64]);
            let noisy = each(&|i| (b[i] + 0.5 * normal(i)).clamp(-1.0, 1.0));
            let turned = each(&|i| b[i / 8 * 8 + 7 - i % 8]);
            // each pixel from a digit of its own: every pixel's law, no dependence
            let torn = each(&|i| b[threefry([i as u64, 77], [1, 2])[0] as usize % m * 64 + i % 64]);
            // a Gaussian of the digits' own mean and covariance: random sums of the centred digits
            let mean: Vec<f64> = (0..64)
                .map(|j| b.iter().skip(j).step_by(64).sum::<f64>() / m as f64)
                .collect();
            let mut gauss = vec![0.0; b.len()];
            for (r, row) in gauss.chunks_exact_mut(64).enumerate() {
                row.copy_from_slice(&mean);
                for (i, digit) in b.chunks_exact(64).enumerate() {
                    let z = normal(r * m + i) / (m as f64).sqrt();
                    row.iter_mut()
                        .zip(digit)
                        .zip(&mean)
                        .for_each(|((g, x), mean)| *g += z * (x - mean));
                }
            }
            for (what, samples, factor) in [
                ("blurred", blurred, 15.0),
                ("shuffled", shuffled, 15.0),
                ("noise of 0.5", noisy, 6.0),
                ("left for right", turned, 5.0),
                ("independent pixels", torn, 6.0),
                ("Gaussian", gauss, 3.5),
            ] {
                let far = d(&samples);
                assert!(
                    far > factor * least,
                    "{what}: {far} is not {factor} times {least}"
                );
            }
        }
    }
}
