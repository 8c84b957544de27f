//! Arrays and the precision they were stored in; the `.npy` format, and `.npz` files written.

use super::broken;
use super::limits::Limits;
use super::write::{Staged, stage};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

/// Where the numbers came from, which decides what accuracy may be expected of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// 64-bit floats; integers and truth values, which are exact.
    F64,
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754: 11 bits, exponents -14 to 15.
    F16,
    /// bfloat16: 8 bits, exponents of f32.
    BF16,
}

impl Precision {
    /// Unit roundoff u: a number rounded to the type is off by at most u, relative, in its normal
    /// range.
    pub fn unit(self) -> f64 {
        2f64.powi(match self {
            Precision::F64 => -53,
            Precision::F32 => -24,
            Precision::F16 => -11,
            Precision::BF16 => -8,
        })
    }

    /// The smallest normal number.
    pub fn smallest(self) -> f64 {
        2f64.powi(match self {
            Precision::F64 => -1022,
            Precision::F32 | Precision::BF16 => -126,
            Precision::F16 => -14,
        })
    }

    /// The largest finite number.
    pub fn largest(self) -> f64 {
        match self {
            Precision::F64 => f64::MAX,
            Precision::F32 => f64::from(f32::MAX),
            Precision::F16 => 65504.0,
            Precision::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
        }
    }

    /// `f64`, `f32`, `f16`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::BF16 => "bf16",
        }
    }
}

/// An array of any shape, row-major, widened to f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: Vec<f64>,
    /// What they were stored as.
    pub precision: Precision,
}

impl Array {
    /// f64 data of a given shape.
    ///
    /// # Errors
    /// A shape that does not fit the data.
    pub fn new(shape: Vec<usize>, data: Vec<f64>) -> Result<Array> {
        if product(&shape) != Some(data.len()) {
            return Err(Error::shape(
                "data",
                &shape,
                format!("{} values", data.len()),
            ));
        }
        Ok(Array {
            shape,
            data,
            precision: Precision::F64,
        })
    }

    /// Some rows, in this order. The array must have rows, and these.
    pub fn rows(&self, rows: &[usize]) -> Array {
        let width = self.data.len() / self.shape[0].max(1);
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        let data = rows
            .iter()
            .flat_map(|r| self.data[r * width..(r + 1) * width].iter().copied())
            .collect();
        Array {
            shape,
            data,
            precision: self.precision,
        }
    }
}

fn product(shape: &[usize]) -> Option<usize> {
    // a zero anywhere makes the product 0, however large the rest
    if shape.contains(&0) {
        Some(0)
    } else {
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }
}

/// The longest header that is read; numpy's own reader stops at 10 000 bytes.
const LONGEST_HEADER: u64 = 1 << 16;

/// What numpy's magic number is.
const MAGIC: &[u8] = b"\x93NUMPY";

/// How an array lies in its bytes.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// The header of an .npy file: magic, version, length, and a Python dictionary as text. Also how
/// long it is.
fn header(reader: &mut impl Read) -> std::result::Result<(Header, u64), String> {
    let cut = |e: std::io::Error| format!("its .npy header is cut short or damaged: {e}");
    let mut start = [0; 8];
    let mut have = 0;
    while have < 8 {
        match reader.read(&mut start[have..]).map_err(cut)? {
            0 => break,
            n => have += n,
        }
    }
    if have < MAGIC.len() || &start[..MAGIC.len()] != MAGIC {
        return Err(
            "is not an array (it does not start as .npy does); allowed: arrays saved by numpy"
                .into(),
        );
    }
    let mut length = [0; 4];
    let size = match start[6] {
        _ if have < 8 => return Err("its .npy header is cut short".into()),
        1 => 2,
        2 | 3 => 4,
        v => return Err(format!("is .npy version {v}; allowed: 1, 2, 3")),
    };
    reader.read_exact(&mut length[..size]).map_err(cut)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > LONGEST_HEADER {
        return Err(format!(
            "declares an .npy header of {length} bytes; allowed: at most {LONGEST_HEADER}"
        ));
    }
    let mut text = Vec::new();
    reader.take(length).read_to_end(&mut text).map_err(cut)?;
    if (text.len() as u64) < length {
        return Err("its .npy header is cut short".into());
    }
    let header = dictionary(&String::from_utf8_lossy(&text))
        .map_err(|e| format!("its .npy header is damaged: {e}"))?;
    Ok((header, length))
}

/// `{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }`: the three keys in any order, once
/// each.
fn dictionary(text: &str) -> std::result::Result<Header, String> {
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .ok_or("not a dictionary")?;
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or("a key that is not a text")?;
        let after = after
            .trim_start()
            .strip_prefix(':')
            .ok_or("a key without a value")?
            .trim_start();
        let end = value_end(after);
        let value = after[..end].trim();
        let twice = match key {
            "descr" => descr
                .replace(
                    quoted(value)
                        .filter(|(_, more)| more.is_empty())
                        .map_or(value, |(t, _)| t)
                        .to_string(),
                )
                .is_some(),
            "fortran_order" => {
                let v = match value {
                    "True" => true,
                    "False" => false,
                    _ => return Err("`fortran_order` is neither True nor False".into()),
                };
                fortran.replace(v).is_some()
            }
            "shape" => shape.replace(tuple(value)?).is_some(),
            other => {
                return Err(format!(
                    "a key `{other}`; allowed: descr, fortran_order, shape"
                ));
            }
        };
        if twice {
            return Err(format!("the key `{key}` twice"));
        }
        rest = after[end..]
            .strip_prefix(',')
            .unwrap_or(&after[end..])
            .trim_start();
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) => Ok(Header {
            descr,
            fortran,
            shape,
        }),
        _ => Err("one of descr, fortran_order, shape is missing".into()),
    }
}

/// A text in quotes at the start, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// Where the value at the start ends: at a comma outside of brackets and quotes.
fn value_end(text: &str) -> usize {
    let (mut depth, mut quote) = (0usize, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => (),
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => return i,
            _ => (),
        }
    }
    text.len()
}

/// A tuple of sizes; Python 2 wrote `3L` for 3.
fn tuple(text: &str) -> std::result::Result<Vec<usize>, String> {
    let bad = || "`shape` is not a tuple of sizes".to_string();
    let inner = text
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .ok_or_else(bad)?;
    let inner = inner.trim();
    if inner.is_empty() {
        return Ok(vec![]);
    }
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    let size = |d: &str| {
        let d = d.trim().trim_end_matches('L');
        // what no machine can hold is refused for its size, not as a text
        if !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()) {
            Ok(d.parse().unwrap_or(usize::MAX))
        } else {
            Err(bad())
        }
    };
    inner.split(',').map(size).collect()
}

/// The numbers that an `.npy` file holds.
struct Kind<'a> {
    /// Letter and size, as in `f8`.
    code: &'a str,
    /// Bytes of a number.
    size: usize,
    precision: Precision,
    /// The first byte is the highest.
    big: bool,
}

impl<'a> Kind<'a> {
    /// By the file's description, such as `<f8`; none for what are no real numbers.
    fn of(descr: &'a str) -> Option<Kind<'a>> {
        let (order, code) = match descr.as_bytes().first() {
            Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
            _ => ("", descr),
        };
        let (size, precision) = match code {
            "f8" => (8, Precision::F64),
            "f4" => (4, Precision::F32),
            "f2" => (2, Precision::F16),
            "V2" if order != ">" => (2, Precision::BF16),
            "i8" | "u8" => (8, Precision::F64),
            "i4" | "u4" => (4, Precision::F64),
            "i2" | "u2" => (2, Precision::F64),
            "i1" | "u1" | "b1" => (1, Precision::F64),
            _ => return None,
        };
        Some(Kind {
            code,
            size,
            precision,
            big: order == ">",
        })
    }

    /// The number that these bytes are.
    fn number(&self, b: &[u8]) -> f64 {
        let mut le = [0u8; 8];
        for (i, &x) in b.iter().enumerate() {
            le[if self.big { self.size - 1 - i } else { i }] = x;
        }
        let bits = u64::from_le_bytes(le);
        match self.code {
            "f8" => f64::from_bits(bits),
            "f4" => f64::from(f32::from_bits(bits as u32)),
            "f2" => half(bits as u16),
            "V2" => f64::from(f32::from_bits((bits as u32) << 16)),
            "i8" => bits as i64 as f64,
            "i4" => f64::from(bits as u32 as i32),
            "i2" => f64::from(bits as u16 as i16),
            "i1" => f64::from(bits as u8 as i8),
            _ => bits as f64,
        }
    }
}

/// Reads an array from the bytes of an `.npy` file. `packed`: no more bytes than these can come,
/// whatever is declared. `held`: bytes of memory that are in use already; grows by those of this
/// one.
///
/// bfloat16 has no name of its own in the format: `ml_dtypes` (JAX, TensorFlow) writes it as raw
/// bytes, `V2`. Nothing else in use is two raw bytes wide, so `V2` is read as bfloat16.
pub(super) fn read_npy(
    mut reader: impl Read,
    packed: u64,
    limits: &Limits,
    held: &mut u64,
    file: &str,
    array: &str,
) -> Result<Array> {
    let bad = |problem: String| broken(file, array, problem);
    let (
        Header {
            descr,
            fortran,
            shape,
        },
        length,
    ) = header(&mut reader).map_err(bad)?;
    *held = held.saturating_add(length);
    let kind = Kind::of(&descr).ok_or_else(|| {
        let allowed = "real numbers (float64, float32, float16, bfloat16, integers)";
        let what = crate::error::shown(&descr);
        bad(format!("holds {what}; allowed: {allowed}"))
    })?;
    let size = kind.size;
    let declares = format!(
        "declares the shape {}",
        crate::error::cut(&format!("{shape:?}"))
    );
    let count = product(&shape).unwrap_or(usize::MAX);
    let needed = held.saturating_add((count as u64).saturating_mul(8));
    if needed > limits.memory || count > usize::MAX / 8 {
        return Err(bad(format!(
            "{declares}, which needs {}",
            limits.too_much(needed)
        )));
    }
    // no more than can come out of the bytes that are there
    let room = count.min((packed / size as u64).try_into().unwrap_or(usize::MAX));
    let mut data: Vec<f64> = Vec::new();
    data.try_reserve_exact(room)
        .map_err(|_| bad(format!("{declares}, and there is no memory for it")))?;
    read_numbers(reader, &kind, (count * size) as u64, &mut data)
        .map_err(|problem| bad(problem.of(&declares)))?;
    if fortran && shape.len() > 1 {
        data = to_row_major(&shape, &data);
    }
    *held = needed;
    Ok(Array {
        shape,
        data,
        precision: kind.precision,
    })
}

/// Why numbers could not be read.
enum Unread {
    Damaged(std::io::Error),
    /// Bytes that were declared, and what is there in their place.
    Length(u64, String),
}

impl Unread {
    fn of(self, declares: &str) -> String {
        match self {
            Unread::Damaged(e) => format!("its data are damaged: {e}"),
            Unread::Length(bytes, there) => format!("{declares} ({bytes} bytes) but holds {there}"),
        }
    }
}

/// Reads the numbers in so many bytes, which must be all there are, a piece at a time: only the
/// numbers themselves are held.
fn read_numbers(
    mut reader: impl Read,
    kind: &Kind<'_>,
    bytes: u64,
    data: &mut Vec<f64>,
) -> std::result::Result<(), Unread> {
    let mut piece = Vec::with_capacity(1 << 16);
    let mut left = bytes;
    while left > 0 {
        piece.clear();
        reader
            .by_ref()
            .take(left.min(1 << 16))
            .read_to_end(&mut piece)
            .map_err(Unread::Damaged)?;
        if piece.is_empty() || !piece.len().is_multiple_of(kind.size) {
            let there = bytes - left + piece.len() as u64;
            return Err(Unread::Length(bytes, there.to_string()));
        }
        left -= piece.len() as u64;
        data.extend(piece.chunks_exact(kind.size).map(|b| kind.number(b)));
    }
    // to the end, where the archive's checksum is compared
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Unread::Length(bytes, "more".into())),
        Err(e) => Err(Unread::Damaged(e)),
    }
}

/// IEEE half precision.
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(e) - 15),
    };
    if sign == 1 { -size } else { size }
}

fn to_row_major(shape: &[usize], data: &[f64]) -> Vec<f64> {
    (0..data.len())
        .map(|mut flat| {
            let mut index = vec![0; shape.len()];
            for (i, &d) in shape.iter().enumerate().rev() {
                index[i] = flat % d;
                flat /= d;
            }
            let at = shape
                .iter()
                .zip(&index)
                .rev()
                .fold(0, |at, (&d, &i)| at * d + i);
            data[at]
        })
        .collect()
}

/// Writes arrays to an `.npz` file as f64, whole or not at all.
///
/// # Errors
/// A folder that cannot be written to, a full disk.
pub fn write_npz(path: &Path, arrays: &BTreeMap<String, Array>) -> Result<()> {
    stage_npz(path, arrays)?.commit()
}

/// The same but for the last step, the renaming.
pub(crate) fn stage_npz(path: &Path, arrays: &BTreeMap<String, Array>) -> Result<Staged> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let failed = |e: &dyn std::fmt::Display| Error::Io {
        path: path.display().to_string(),
        problem: format!("cannot be written: {e}"),
    };
    {
        let mut zip = zip::ZipWriter::new(&mut bytes);
        // A fixed date: same arrays, same bytes.
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default());
        for (name, array) in arrays {
            zip.start_file(format!("{name}.npy"), options)
                .map_err(|e| failed(&e))?;
            zip.write_all(&npy(array)).map_err(|e| failed(&e))?;
        }
        zip.finish().map_err(|e| failed(&e))?;
    }
    stage(path, |f| f.write_all(bytes.get_ref()))
}

/// The bytes of an `.npy` file: version 1, little-endian f64, row-major.
fn npy(array: &Array) -> Vec<u8> {
    let dims: String = array.shape.iter().map(|d| format!("{d}, ")).collect();
    // `(3,)` needs its comma
    let dims = if array.shape.len() == 1 {
        dims.trim_end()
    } else {
        dims.trim_end_matches(", ")
    };
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({dims}), }}");
    // the data begin at a multiple of 64
    while !(MAGIC.len() + 4 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    array.data.iter().for_each(|x| out.extend(x.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::super::archive::read_npz;
    use super::*;

    /// Catches a wrong bias, sign or subnormal of float16: values from the IEEE 754 tables.
    #[test]
    fn half_precision() {
        for (bits, x) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 2f64.powi(-24)),
            (0x7bff, 65504.0),
        ] {
            assert_eq!(half(bits), x);
        }
        assert!(half(0x7e00).is_nan() && half(0x7c00).is_infinite());
    }

    /// Catches a unit of the wrong type: by the definition, 1 + 2u is the next number after 1, and
    /// 1 + u is halfway.
    #[test]
    fn units() {
        assert_eq!(1.0 + 2.0 * Precision::F64.unit(), 1f64.next_up());
        assert_eq!(1.0 + 2.0 * Precision::F32.unit(), f64::from(1f32.next_up()));
        assert_eq!(1.0 + 2.0 * Precision::F16.unit(), half(0x3c01));
        assert_eq!(
            1.0 + 2.0 * Precision::BF16.unit(),
            f64::from(f32::from_bits(0x3f81_0000))
        );
        assert_eq!(Precision::F64.smallest(), f64::MIN_POSITIVE);
        assert_eq!(Precision::F32.smallest(), f64::from(f32::MIN_POSITIVE));
        assert_eq!(
            (Precision::F16.smallest(), Precision::F16.largest()),
            (half(0x0400), half(0x7bff))
        );
        assert_eq!(Precision::BF16.largest(), 255.0 * 2f64.powi(120));
    }

    /// Catches transposed data: numpy's Fortran order of [[0, 1, 2], [3, 4, 5]].
    #[test]
    fn fortran_order() {
        assert_eq!(
            to_row_major(&[2, 3], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        );
    }

    /// Catches headers that other writers make (order of keys, spaces, double quotes, Python 2's
    /// sizes) and are refused, and damaged ones that pass.
    #[test]
    fn headers() {
        let header = |descr: &str, fortran, shape: &[usize]| Header {
            descr: descr.into(),
            fortran,
            shape: shape.to_vec(),
        };
        for (text, right) in [
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }",
                header("<f8", false, &[8]),
            ),
            (
                "{\"shape\":(2,3),\"fortran_order\":True,\"descr\":\"|V2\"}  \n",
                header("|V2", true, &[2, 3]),
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
                header("<f8", false, &[]),
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 0L)}",
                header("<f8", false, &[2, 0]),
            ),
            (
                "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}",
                header("[('a', '<f8')]", false, &[1]),
            ),
        ] {
            assert_eq!(dictionary(text), Ok(right), "{text}");
        }
        for text in [
            "",
            "{}",
            "[]",
            "{'descr': '<f8'}",
            "{'descr': '<f8', 'fortran_order': 0, 'shape': (8,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': 8}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-8,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (8,), 'shape': (9,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (8,), 'more': 1}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (8,,)}",
            "{'descr",
            "{'descr'}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1.5,)}",
        ] {
            assert!(dictionary(text).is_err(), "{text}");
        }
    }

    /// Catches an array that does not come back as it went out.
    #[test]
    fn npz_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let mut arrays = BTreeMap::new();
        arrays.insert(
            "x".to_string(),
            Array::new(
                vec![2, 3],
                vec![1.0, f64::NAN, 1e-300, -0.0, f64::INFINITY, 0.1],
            )
            .unwrap(),
        );
        arrays.insert("s".to_string(), Array::new(vec![], vec![2.5]).unwrap());
        arrays.insert("none".to_string(), Array::new(vec![0, 7], vec![]).unwrap());
        write_npz(&path, &arrays).unwrap();
        let back = read_npz(&path).unwrap();
        assert_eq!(
            (&back["x"].shape[..], &back["none"].shape[..]),
            (&[2, 3][..], &[0, 7][..])
        );
        assert!(
            back["x"]
                .data
                .iter()
                .zip(&arrays["x"].data)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        assert_eq!(back["s"].data, [2.5]);
        let first = std::fs::read(&path).unwrap();
        write_npz(&path, &arrays).unwrap();
        assert_eq!(
            first,
            std::fs::read(&path).unwrap(),
            "same arrays, same bytes"
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file left"
        );
    }
}
