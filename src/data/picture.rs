//! A grid of images as one PNG.

use super::images;
use crate::error::{Error, Result};

/// Width of the lines between images, in pixels.
const GAP: usize = 2;
/// Most pixels of a grid: 2^26.
const MOST: usize = 1 << 26;

/// The bytes of a PNG with the images (n, channels, height, width) of grey levels 0 to levels - 1,
/// `columns` to a row, each pixel `scale` by `scale`, white lines of 2 pixels between and around;
/// places that are left over are white. Grey for one channel, RGB for three. Level k is drawn as
/// `round(255 k/(levels - 1))`. The same images give the same bytes.
///
/// # Errors
/// Channels other than 1 and 3; no image, or a part of one; levels outside 2 to 256 or a pixel
/// beyond them; no column; scale outside 1 to 64; more than 2^26 pixels.
pub fn grid(
    pixels: &[u8],
    shape: [usize; 3],
    levels: u32,
    columns: usize,
    scale: usize,
) -> Result<Vec<u8>> {
    let n = check(pixels, shape, levels, columns, scale)?;
    let [c, h, w] = shape;
    let columns = columns.min(n);
    let side = |count: usize, size: usize| {
        size.checked_mul(scale)?
            .checked_add(GAP)?
            .checked_mul(count)?
            .checked_add(GAP)
    };
    let size = side(columns, w).zip(side(n.div_ceil(columns), h));
    let Some((width, height)) = size.filter(|(a, b)| a.checked_mul(*b).is_some_and(|p| p <= MOST))
    else {
        return Err(Error::parameter(
            "grid",
            format!("{n} images of {shape:?}, {columns} columns, scale {scale}"),
            "at most 2^26 pixels",
        ));
    };
    let mut out = vec![255; width * height * c];
    for (i, image) in pixels.chunks_exact(c * h * w).enumerate() {
        let (top, left) = (
            GAP + i / columns * (h * scale + GAP),
            GAP + i % columns * (w * scale + GAP),
        );
        for (y, x) in (0..h * scale).flat_map(|y| (0..w * scale).map(move |x| (y, x))) {
            for channel in 0..c {
                let k = u32::from(image[(channel * h + y / scale) * w + x / scale]);
                let grey = (510 * k + levels - 1) / (2 * (levels - 1));
                out[((top + y) * width + left + x) * c + channel] = grey as u8;
            }
        }
    }
    png_of(&out, [width, height], c)
}

/// The number of images; refuses what is no grid of them.
fn check(
    pixels: &[u8],
    shape: [usize; 3],
    levels: u32,
    columns: usize,
    scale: usize,
) -> Result<usize> {
    let [c, h, w] = shape;
    let dim = c
        .checked_mul(h)
        .and_then(|n| n.checked_mul(w))
        .filter(|n| *n > 0 && matches!(c, 1 | 3));
    let Some(dim) = dim.filter(|d| !pixels.is_empty() && pixels.len().is_multiple_of(*d)) else {
        let allowed = format!(
            "(n, channels, height, width) with n >= 1, channels 1 or 3; shape is {shape:?}"
        );
        return Err(Error::shape("pixels", &[pixels.len()], allowed));
    };
    if !(2..=256).contains(&levels) {
        return Err(Error::parameter("levels", levels, "2 to 256"));
    }
    if let Some(k) = pixels.iter().find(|k| u32::from(**k) >= levels) {
        return Err(Error::parameter(
            "pixels",
            k,
            format!("0 to {}", levels - 1),
        ));
    }
    if columns == 0 {
        return Err(Error::parameter("columns", columns, "at least 1"));
    }
    if !(1..=64).contains(&scale) {
        return Err(Error::parameter("scale", scale, "1 to 64"));
    }
    Ok(pixels.len() / dim)
}

/// A PNG of 8 bits, grey for one channel, RGB for three.
fn png_of(pixels: &[u8], [width, height]: [usize; 2], channels: usize) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::Format {
        file: "the grid".into(),
        place: String::new(),
        problem: e.to_string(),
    };
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(if channels == 1 {
        png::ColorType::Grayscale
    } else {
        png::ColorType::Rgb
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer
        .write_image_data(pixels)
        .and_then(|()| writer.finish())
        .map_err(failed)?;
    Ok(bytes)
}

/// [`grid`] of numbers on [-1, 1], drawn by their levels ([`images::levels`]).
///
/// # Errors
/// As [`grid`].
pub fn grid_of_values(
    values: &[f64],
    shape: [usize; 3],
    levels: u32,
    columns: usize,
    scale: usize,
) -> Result<Vec<u8>> {
    grid(
        &images::levels(values, levels)?,
        shape,
        levels,
        columns,
        scale,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::files::png;

    /// Catches images at wrong places, wrong order of channels, wrong grey, wrong lines between;
    /// read back by the reader.
    #[test]
    fn grids_are_read_back() {
        let white = 255;
        // three images of 1 by 2 pixels, two columns, scale 1: two rows of images, lines of 2
        // pixels
        let ([c, h, w], p) = png(
            "grid",
            &grid(&[0, 1, 2, 3, 4, 0], [1, 1, 2], 5, 2, 1).unwrap(),
        )
        .unwrap();
        assert_eq!([c, h, w], [1, 8, 10]);
        for (y, x, grey) in [
            (2, 2, 0),
            (2, 3, 64),
            (2, 6, 128),
            (2, 7, 191),
            (5, 2, 255),
            (5, 3, 0),
            (5, 6, white),
            (3, 2, white),
        ] {
            assert_eq!(p[y * w + x], grey, "{y} {x}");
        }
        assert_eq!(p.iter().filter(|k| **k != white).count(), 5);
        // one RGB pixel, three times as large
        let ([c, h, w], p) =
            png("grid", &grid(&[10, 20, 30], [3, 1, 1], 256, 9, 3).unwrap()).unwrap();
        assert_eq!([c, h, w], [3, 7, 7]);
        for (channel, k) in [(0, 10), (1, 20), (2, 30)] {
            let plane = &p[channel * 49..][..49];
            let drawn: Vec<usize> = (0..49).filter(|i| plane[*i] == k).collect();
            assert_eq!(drawn, [16, 17, 18, 23, 24, 25, 30, 31, 32]);
        }
        assert_eq!(
            grid_of_values(&[-1.0, -0.1, 0.3, 0.99], [1, 2, 2], 2, 1, 2),
            grid(&[0, 0, 1, 1], [1, 2, 2], 2, 1, 2)
        );
    }

    /// Catches a grid of nothing or of more than a memory holds.
    #[test]
    fn refusals() {
        assert!(grid(&[], [1, 1, 1], 2, 1, 1).is_err());
        assert!(grid(&[0; 3], [1, 1, 2], 2, 1, 1).is_err());
        assert!(grid(&[0; 2], [2, 1, 1], 2, 1, 1).is_err());
        assert!(grid(&[0; 2], [1, usize::MAX, 3], 2, 1, 1).is_err());
        assert!(grid(&[2], [1, 1, 1], 2, 1, 1).is_err());
        assert!(grid(&[0], [1, 1, 1], 1, 1, 1).is_err());
        assert!(grid(&[0], [1, 1, 1], 2, 0, 1).is_err());
        assert!(
            grid(&[0], [1, 1, 1], 2, 1, 0).is_err() && grid(&[0], [1, 1, 1], 2, 1, 65).is_err()
        );
        assert!(grid(&vec![0; 1 << 20], [1, 1 << 10, 1 << 10], 2, 1, 9).is_err());
    }
}
