//! Samples from elsewhere, before they are held against data: their shape, finiteness and range are
//! checked, never reinterpreted.
//!
//! Wrong axes, bytes for numbers on [-1, 1] and the like give distances that look like distances.
//! What shows is refused with the remedy:
//!
//! | refused | because |
//! |---|---|
//! | no rows; a value that is not finite | there is nothing to compare |
//! | neither (n, d) nor (n, channels, height, width) | the order of the numbers would be guessed |
//! | whole numbers alone | levels or bytes, not numbers on [-1, 1] |
//! | no value below 0, of data that have such | the range is [0, 1] or [0, 255] |
//! | all within 0.6 of the data's range | a range of [-1/2, 1/2] |
//! | one value in twenty exactly at the smallest, and that 0.04 above the data's | the background of pictures in another range |
//! | half of the values outside [-1, 1] | the same |
//!
//! The last five are of images, and of a range that is not stated.

use crate::error::{Error, Result};

/// What samples are held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Channels, height, width; points have their coordinates as channels.
    pub shape: [usize; 3],
    /// Whether of images, on [-1, 1].
    pub images: bool,
    /// The least and largest value of the data; looked at of images alone.
    pub data: [f64; 2],
    /// The range that the samples are said to have, which is taken to [-1, 1].
    pub range: Option<[f64; 2]>,
    /// The array's name, for messages.
    pub name: &'a str,
}

/// Samples that are what they should be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Rows of samples, each channels, height, width.
    pub values: Vec<f64>,
    /// Of images: how many of the values lie outside [-1, 1], and are taken for the end they are
    /// beyond.
    pub clamped: usize,
}

/// Two numbers of one range, such as `0,255`.
///
/// # Errors
/// Another text; numbers that are not finite, or not in order.
pub fn range(text: &str) -> Result<[f64; 2]> {
    let two = text
        .split_once(',')
        .and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    let fine = |[a, b]: &[f64; 2]| a.is_finite() && b.is_finite() && a < b && (b - a).is_finite();
    two.filter(fine).ok_or_else(|| {
        Error::parameter(
            "range",
            format!("`{text}`"),
            "LOW,HIGH, two finite numbers in order, such as 0,255",
        )
    })
}

/// Checks an array of samples, row-major; with a stated range its values are taken from there to
/// [-1, 1].
///
/// # Errors
/// What the table above says; a range for points.
pub fn check(shape: &[usize], data: &[f64], e: &Expected) -> Result<Checked> {
    if e.range.is_some() && !e.images {
        return Err(Error::parameter(
            "range",
            "given",
            "absent for points, which are compared as they are",
        ));
    }
    let rows = rows(shape, e)?;
    let dim: usize = e.shape.iter().product();
    if rows.checked_mul(dim) != Some(data.len()) {
        return Err(Error::shape(
            e.name.to_string(),
            shape,
            format!(
                "as many numbers as the shape says; there are {}",
                data.len()
            ),
        ));
    }
    if let Some(i) = data.iter().position(|x| !x.is_finite()) {
        let at = format!("`{}`, row {}, value {} of it", e.name, i / dim, i % dim);
        return Err(Error::parameter(at, data[i], "finite numbers"));
    }
    if !e.images {
        return whole(data).map_or(
            Ok(Checked {
                values: data.to_vec(),
                clamped: 0,
            }),
            |found| {
                Err(Error::parameter(
                    e.name.to_string(),
                    found,
                    "samples of a continuous law",
                ))
            },
        );
    }
    let values: Vec<f64> = match e.range {
        Some([low, high]) => data
            .iter()
            .map(|x| 2.0 * ((x - low) / (high - low)) - 1.0)
            .collect(),
        None => match misread(data, e.data) {
            Some((found, remedy)) => {
                return Err(Error::parameter(
                    e.name.to_string(),
                    found,
                    format!("images on [-1, 1]; {remedy}"),
                ));
            }
            None => data.to_vec(),
        },
    };
    let clamped = values.iter().filter(|x| x.abs() > 1.0).count();
    Ok(Checked { values, clamped })
}

/// The number of rows of a shape that says what the axes are.
fn rows(shape: &[usize], e: &Expected) -> Result<usize> {
    let [c, h, w] = e.shape;
    let dim = c * h * w;
    let allowed = if e.images {
        format!("(n, {c}, {h}, {w}) or (n, {dim})")
    } else {
        format!("(n, {dim})")
    };
    let refuse = |why: &str| {
        Err(Error::shape(
            e.name.to_string(),
            shape,
            format!("{allowed}{why}"),
        ))
    };
    match *shape {
        [0, ..] => refuse(" with at least one row"),
        [n, d] if d == dim => Ok(n),
        [n, a, b, d] if [a, b, d] == e.shape => Ok(n),
        [_, a, b, d] if e.images && [a, b, d] == [h, w, c] => refuse(
            "; these axes are (n, height, width, channels): write transpose(0, 3, 1, 2) of the array",
        ),
        [_, a, b, d] if e.images && [a, b, d] == [c, w, h] => refuse(
            "; these axes are (n, channels, width, height): write transpose(0, 1, 3, 2) of the array",
        ),
        [a, _, b, d] if e.images && [a, b, d] == e.shape => refuse(
            "; these axes are (channels, n, height, width): write transpose(1, 0, 2, 3) of the array",
        ),
        [_, a, b] if e.images && c == 1 && [a, b] == [h, w] => {
            refuse("; the channels' axis is missing: write array[:, None]")
        }
        [_, a, b] if e.images && [a, b] == [c, h * w] => {
            refuse("; write reshape(n, -1) of the array")
        }
        [a, b, d] if e.images && [a, b, d] == e.shape => {
            refuse("; the axis of the rows is missing: write array[None]")
        }
        _ => refuse(""),
    }
}

/// Where every value is a whole number: between which.
fn whole(data: &[f64]) -> Option<String> {
    let (low, high) = ends(data);
    data.iter()
        .all(|x| x.fract() == 0.0)
        .then(|| format!("whole numbers alone, from {low} to {high}"))
}

fn ends(data: &[f64]) -> (f64, f64) {
    data.iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| {
            (a.min(*x), b.max(*x))
        })
}

/// What shows that images are in another range than [-1, 1], and the remedy.
fn misread(data: &[f64], of_data: [f64; 2]) -> Option<(String, String)> {
    let ((low, high), n) = (ends(data), data.len());
    let state = |low: f64, high: f64| {
        format!(
            "say which range these have, such as --range={low},{high}, or --range=-1,1 if it is that"
        )
    };
    if let Some(found) = whole(data) {
        return Some((
            found,
            state(
                low.min(0.0),
                if high > 17.0 { 255.0 } else { high.max(1.0) },
            ),
        ));
    }
    if low >= 0.0 && of_data[0] < 0.0 {
        return Some((
            format!("from {low} to {high}, with no value below 0"),
            state(0.0, if high > 1.5 { 255.0 } else { 1.0 }),
        ));
    }
    if low > 0.6 * of_data[0] && high < 0.6 * of_data[1] {
        return Some((
            format!(
                "from {low} to {high}, where the data go from {} to {}",
                of_data[0], of_data[1]
            ),
            state(-0.5, 0.5),
        ));
    }
    let least = data.iter().filter(|x| **x == low).count();
    if least >= n.div_ceil(20).max(2) && low > of_data[0] + 0.04 {
        return Some((
            format!(
                "exactly {low}, the least of them, in {least} of {n} values: a background in another range"
            ),
            state(low, high),
        ));
    }
    let outside = data.iter().filter(|x| x.abs() > 1.0).count();
    (2 * outside > n).then(|| {
        (
            format!("outside [-1, 1] in {outside} of {n} values, from {low} to {high}"),
            state(low.floor(), high.ceil()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Expected = Expected {
        shape: [1, 2, 3],
        images: true,
        data: [-0.99, 0.99],
        range: None,
        name: "x",
    };

    fn some(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 1.7 + 0.3).sin()).collect()
    }

    fn refused(shape: &[usize], data: &[f64], e: &Expected) -> String {
        check(shape, data, e).expect_err("refused").to_string()
    }

    /// Catches axes in another order that are flattened as if they were right: every order and
    /// number of axes that holds as many numbers is refused with its remedy or the list of what is
    /// allowed, and only two pass.
    #[test]
    fn axes_are_not_guessed() {
        let e = Expected {
            shape: [3, 4, 5],
            ..GREY
        };
        let fine: [&[usize]; 2] = [&[2, 60], &[2, 3, 4, 5]];
        for shape in fine {
            assert_eq!(check(shape, &some(120), &e).unwrap().values, some(120));
        }
        for (shape, word) in [
            (&[2, 4, 5, 3][..], "transpose(0, 3, 1, 2)"),
            (&[2, 3, 5, 4], "transpose(0, 1, 3, 2)"),
            (&[3, 2, 4, 5], "transpose(1, 0, 2, 3)"),
            (&[2, 3, 20], "reshape"),
            (&[2, 20, 3], "(n, 3, 4, 5)"),
            (&[60, 2], "(n, 60)"),
            (&[120], "(n, 60)"),
            (&[4, 5, 2, 3], "(n, 60)"),
            (&[2, 5, 4, 3], "(n, 60)"),
            (&[], "(n, 60)"),
        ] {
            let said = refused(shape, &some(120), &e);
            assert!(
                said.contains(word) && said.contains("`x`") && said.contains(&format!("{shape:?}")),
                "{shape:?}: {said}"
            );
        }
        assert!(refused(&[7, 2, 3], &some(42), &GREY).contains("[:, None]"));
        assert!(
            refused(&[1, 2, 3], &some(6), &GREY).contains("[None]")
                || refused(&[1, 2, 3], &some(6), &GREY).contains("[:, None]")
        );
        // the shape of three channels that is also one of another order is what it says it is
        assert!(
            check(
                &[5, 3, 3, 3],
                &some(135),
                &Expected {
                    shape: [3, 3, 3],
                    ..GREY
                }
            )
            .is_ok()
        );
        for shape in [&[0, 6][..], &[0, 1, 2, 3]] {
            assert!(refused(shape, &[], &GREY).contains("at least one row"));
        }
        assert!(
            check(&[2, 6], &some(11), &GREY).is_err()
                && check(&[usize::MAX, 6], &some(12), &GREY).is_err()
        );
    }

    /// Catches a value that is not finite and becomes level 0 in silence, and a row that is not
    /// named.
    #[test]
    fn what_is_not_finite_is_named() {
        for (bad, word) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut data = some(24);
            data[15] = bad;
            for e in [
                GREY,
                Expected {
                    images: false,
                    ..GREY
                },
            ] {
                let said = refused(&[4, 6], &data, &e);
                assert!(
                    said.contains("row 2, value 3") && said.contains(word),
                    "{said}"
                );
            }
        }
    }

    /// Catches pictures in another range that pass for numbers on [-1, 1]: bytes, levels, [0, 1],
    /// [-1/2, 1/2], standardised ones; and what is right, refused: noise of deviation 1, a set that
    /// is all grey, a clipped one. With the range stated all give the numbers they stand for.
    #[test]
    fn ranges_are_not_guessed() {
        let n = 600;
        let shape = [n / 6, 6];
        // pictures of 17 levels, a quarter of them background
        let level = |i: usize| {
            if i.is_multiple_of(4) {
                0.0
            } else {
                (i * 7 % 17) as f64
            }
        };
        let levels: Vec<f64> = (0..n).map(level).collect();
        let right: Vec<f64> = levels.iter().map(|k| 2.0 * k / 16.0 - 1.0).collect();
        let scaled = |a: f64, b: f64| -> Vec<f64> {
            levels.iter().map(|k| a + (b - a) * k / 16.0).collect()
        };
        for (low, high) in [
            (0.0, 16.0),
            (0.0, 255.0),
            (0.0, 1.0),
            (0.0, 254.5),
            (-0.5, 0.5),
            (-0.4242, 2.8215),
            (-128.0, 127.0),
            (0.25, 0.75),
        ] {
            let data = scaled(low, high);
            let said = refused(&shape, &data, &GREY);
            assert!(
                said.contains("--range=") && said.contains("[-1, 1]"),
                "{low} {high}: {said}"
            );
            let got = check(
                &shape,
                &data,
                &Expected {
                    range: Some([low, high]),
                    ..GREY
                },
            )
            .unwrap();
            assert!(
                got.values
                    .iter()
                    .zip(&right)
                    .all(|(a, b)| (a - b).abs() < 1e-14)
                    && got.clamped == 0,
                "{low} {high}"
            );
        }
        assert_eq!(
            check(&shape, &scaled(-0.99, 0.99), &GREY).unwrap().clamped,
            0
        );
        // normals: three in ten outside, counted
        let normal: Vec<f64> = (0..n)
            .map(|i| {
                (0..12)
                    .map(|j| ((i * 12 + j) as f64 * 0.754_877_666).fract() - 0.5)
                    .sum::<f64>()
            })
            .collect();
        let found = check(&shape, &normal, &GREY).unwrap();
        assert_eq!(
            (found.clamped, &found.values),
            (normal.iter().filter(|x| x.abs() > 1.0).count(), &normal)
        );
        // clipped to [-1, 1], with many values at the ends
        let clipped: Vec<f64> = some(n).iter().map(|x| (1.5 * x).clamp(-1.0, 1.0)).collect();
        assert_eq!(check(&shape, &clipped, &GREY).unwrap().clamped, 0);
        // bytes beyond the range that is stated are counted
        let over = check(
            &shape,
            &scaled(0.0, 256.0),
            &Expected {
                range: Some([0.0, 255.0]),
                ..GREY
            },
        )
        .unwrap();
        assert_eq!(over.clamped, levels.iter().filter(|k| **k == 16.0).count());
    }

    /// Catches labels taken for points, and a range of points that is silently ignored.
    #[test]
    fn points_are_as_they_are() {
        let e = Expected {
            shape: [2, 1, 1],
            images: false,
            ..GREY
        };
        let far: Vec<f64> = some(10).iter().map(|x| 1e3 * x).collect();
        assert_eq!(
            check(&[5, 2], &far, &e).unwrap(),
            Checked {
                values: far.clone(),
                clamped: 0
            }
        );
        assert!(refused(&[5, 2], &[1.0; 10], &e).contains("whole numbers"));
        assert!(refused(&[2, 5], &far, &e).contains("(n, 2)"));
        assert!(
            refused(
                &[5, 2],
                &far,
                &Expected {
                    range: Some([0.0, 1.0]),
                    ..e
                }
            )
            .contains("range")
        );
    }

    /// Catches a range that is none.
    #[test]
    fn ranges_are_two_numbers_in_order() {
        assert_eq!(range("0,255").unwrap(), [0.0, 255.0]);
        assert_eq!(range("-0.5, 0.5").unwrap(), [-0.5, 0.5]);
        for bad in [
            "",
            "0",
            "255,0",
            "0,0",
            "0,inf",
            "nan,1",
            "a,b",
            "0,1,2",
            "-1e308,1e308",
        ] {
            assert!(
                range(bad).unwrap_err().to_string().contains("`range`"),
                "{bad}"
            );
        }
    }
}
