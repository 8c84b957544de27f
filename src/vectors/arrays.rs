//! Arrays in and out of `.npz` files and JSON, with limits: nothing a file declares is believed before it is read.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// No array larger than this is read (bytes of data).
const LARGEST: u64 = 4 << 30;

/// Where the numbers came from, which decides what accuracy may be expected of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 64-bit floats (and integers).
    F64,
    /// 32-bit floats.
    F32,
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
        if shape.iter().product::<usize>() != data.len() {
            return Err(Error::shape("data", &shape, format!("{} values", data.len())));
        }
        Ok(Array { shape, data, precision: Precision::F64 })
    }
}

fn broken(file: &str, place: &str, problem: impl ToString) -> Error {
    Error::Format { file: file.to_string(), place: place.to_string(), problem: problem.to_string() }
}

/// Reads every array of an `.npz` file.
///
/// # Errors
/// A file that cannot be opened, is not a zip archive or is cut short; two arrays of one name; an array that is not
/// numeric, or whose declared shape does not fit the bytes that are there.
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Array>> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| Error::Io { path: name.clone(), problem: format!("cannot be opened: {e}") })?;
    let mut zip =
        zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| broken(&name, "", format!("not a readable .npz archive: {e}")))?;
    let mut arrays = BTreeMap::new();
    // `by_index` sees duplicates only if the archive's own index keeps them, so count them by name as well.
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|e| broken(&name, &format!("entry {i}"), format!("damaged: {e}")))?;
        let full = entry.name().map_err(|e| broken(&name, &format!("entry {i}"), format!("its name is unreadable: {e}")))?.into_owned();
        let Some(array) = full.strip_suffix(".npy").map(str::to_string) else {
            return Err(broken(&name, &full, "not an .npy entry; an .npz file holds nothing else"));
        };
        let value = read_npy(entry, &name, &array)?;
        if arrays.insert(array.clone(), value).is_some() {
            return Err(broken(&name, &array, "two arrays of this name; names must be unique"));
        }
    }
    let declared = count_entries(path, &name)?;
    if declared != arrays.len() && declared != 0xffff {
        return Err(broken(
            &name,
            "",
            format!("{declared} entries but {} names: an array is there twice; names must be unique", arrays.len()),
        ));
    }
    Ok(arrays)
}

/// Counts the local file headers that the archive's central directory points to: the `zip` crate keeps one entry per
/// name, so a duplicate would pass unseen.
fn count_entries(path: &Path, name: &str) -> Result<usize> {
    let mut file =
        std::fs::File::open(path).map_err(|e| Error::Io { path: name.to_string(), problem: format!("cannot be opened: {e}") })?;
    let length = file.seek(std::io::SeekFrom::End(0)).map_err(|e| broken(name, "", e))?;
    let tail = length.min(66_000);
    file.seek(std::io::SeekFrom::Start(length - tail)).map_err(|e| broken(name, "", e))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| broken(name, "", e))?;
    let at = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(|| broken(name, "", "not a readable .npz archive"))?;
    match bytes.get(at + 10..at + 12) {
        Some(n) => Ok(usize::from(u16::from_le_bytes([n[0], n[1]]))),
        None => Err(broken(name, "", "cut short")),
    }
}

/// The header of an .npy file: magic, version, length, and a Python dictionary as text.
fn header_bytes(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 10];
    reader.read_exact(&mut bytes)?;
    let mut length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    if bytes[6] >= 2 {
        let mut more = [0; 2];
        reader.read_exact(&mut more)?;
        length |= usize::from(u16::from_le_bytes(more)) << 16;
        bytes.extend(more);
    }
    reader.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the product of the declared shape leaves u64. `npyz` multiplies it unchecked, so this comes first.
fn enormous(header: &[u8]) -> bool {
    let text = String::from_utf8_lossy(header);
    let Some(shape) = text.split("'shape'").nth(1).and_then(|s| s.split('(').nth(1)).and_then(|s| s.split(')').next()) else {
        return false; // npyz says what is wrong
    };
    let mut sizes = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
    let product = |n: u64, d: &str| match d.parse::<u64>() {
        Ok(d) => n.checked_mul(d),
        Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => None,
        Err(_) => Some(n), // npyz says what is wrong
    };
    sizes.try_fold(1, product).is_none()
}

fn read_npy(mut reader: impl Read, file: &str, array: &str) -> Result<Array> {
    let damaged = |e: std::io::Error| broken(file, array, format!("its .npy header is cut short or damaged: {e}"));
    let bytes = header_bytes(&mut reader).map_err(damaged)?;
    if enormous(&bytes) {
        return Err(broken(file, array, format!("declares an enormous shape, more than {} GiB; allowed: less", LARGEST >> 30)));
    }
    let header = npyz::NpyHeader::from_reader(&mut bytes.as_slice()).map_err(damaged)?;
    let kind = header.dtype().descr();
    let kind = kind.trim_matches('\'').to_string();
    let (order, code) = kind.split_at(kind.len().min(1));
    let size: u64 = match code {
        "f8" | "i8" | "u8" => 8,
        "f4" | "i4" | "u4" => 4,
        "f2" | "i2" | "u2" => 2,
        "i1" | "u1" | "b1" => 1,
        _ => return Err(broken(file, array, format!("holds {kind}; allowed: real numbers (float64, float32, float16, integers)"))),
    };
    let shape = header.shape().to_vec();
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).and_then(|n| n.checked_mul(size)).filter(|&n| n <= LARGEST);
    let Some(bytes) = count else {
        return Err(broken(file, array, format!("declares the shape {shape:?}, more than {} GiB; allowed: less", LARGEST >> 30)));
    };
    // Reads what is there, up to one byte more than what was declared; memory grows with the data, not with the claim.
    let mut raw = Vec::new();
    reader.take(bytes + 1).read_to_end(&mut raw).map_err(|e| broken(file, array, format!("its data are damaged: {e}")))?;
    if raw.len() as u64 != bytes {
        let there = if raw.len() as u64 > bytes { "more".to_string() } else { raw.len().to_string() };
        return Err(broken(file, array, format!("declares the shape {shape:?} ({bytes} bytes) but holds {there}")));
    }
    let big = order == ">";
    let chunk = size as usize;
    let word = |b: &[u8]| -> f64 {
        let mut le = [0u8; 8];
        for (i, &x) in b.iter().enumerate() {
            le[if big { chunk - 1 - i } else { i }] = x;
        }
        let bits = u64::from_le_bytes(le);
        match code {
            "f8" => f64::from_bits(bits),
            "f4" => f64::from(f32::from_bits(bits as u32)),
            "f2" => half(bits as u16),
            "i8" => bits as i64 as f64,
            "i4" => f64::from(bits as u32 as i32),
            "i2" => f64::from(bits as u16 as i16),
            "i1" => f64::from(bits as u8 as i8),
            _ => bits as f64,
        }
    };
    let mut data: Vec<f64> = raw.chunks_exact(chunk).map(word).collect();
    let shape: Vec<usize> = shape.into_iter().map(|d| d as usize).collect();
    if header.order() == npyz::Order::Fortran && shape.len() > 1 {
        data = to_row_major(&shape, &data);
    }
    let precision = if matches!(code, "f4" | "f2") { Precision::F32 } else { Precision::F64 };
    Ok(Array { shape, data, precision })
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
            let at = shape.iter().zip(&index).rev().fold(0, |at, (&d, &i)| at * d + i);
            data[at]
        })
        .collect()
}

/// Writes arrays to an `.npz` file, whole or not at all (temporary file beside it, then rename).
///
/// # Errors
/// A folder that cannot be written to, a full disk.
pub fn write_npz(path: &Path, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let failed = |e: &dyn std::fmt::Display| Error::Io { path: path.display().to_string(), problem: format!("cannot be written: {e}") };
    {
        let mut zip = zip::ZipWriter::new(&mut bytes);
        // A fixed date: same arrays, same bytes.
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default());
        for (name, array) in arrays {
            zip.start_file(format!("{name}.npy"), options).map_err(|e| failed(&e))?;
            let mut npy = Vec::new();
            let shape: Vec<u64> = array.shape.iter().map(|&d| d as u64).collect();
            write_npy(&mut npy, &shape, array).map_err(|e| failed(&e))?;
            zip.write_all(&npy).map_err(|e| failed(&e))?;
        }
        zip.finish().map_err(|e| failed(&e))?;
    }
    write_whole(path, bytes.get_ref())
}

fn write_npy(out: &mut Vec<u8>, shape: &[u64], array: &Array) -> std::io::Result<()> {
    use npyz::WriterBuilder;
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(out);
    let mut w = options.begin_nd()?;
    w.extend(array.data.iter().copied())?;
    w.finish()
}

/// Writes a file whole or not at all.
///
/// # Errors
/// A folder that cannot be written to, a full disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::Io { path: path.display().to_string(), problem: format!("cannot be written: {e}") };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|e| failed(&e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // a temporary file is private; a result is not
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(|e| failed(&e))?;
    }
    file.persist(path).map_err(|e| failed(&e.error))?;
    Ok(())
}

/// Reads a text file as UTF-8.
///
/// # Errors
/// A file that cannot be read, or is not UTF-8 (the message says at which byte).
pub fn read_text(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Error::Io { path: name.clone(), problem: format!("cannot be read: {e}") })?;
    String::from_utf8(bytes).map_err(|e| broken(&name, &format!("byte {}", e.utf8_error().valid_up_to()), "not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong bias, sign or subnormal of float16: values from the IEEE 754 tables.
    #[test]
    fn half_precision() {
        for (bits, x) in [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_953_125), (0x0001, 2f64.powi(-24)), (0x7bff, 65504.0)] {
            assert_eq!(half(bits), x);
        }
        assert!(half(0x7e00).is_nan() && half(0x7c00).is_infinite());
    }

    /// Catches transposed data: numpy's Fortran order of [[0, 1, 2], [3, 4, 5]].
    #[test]
    fn fortran_order() {
        assert_eq!(to_row_major(&[2, 3], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    /// Catches an array that does not come back as it went out.
    #[test]
    fn npz_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let mut arrays = BTreeMap::new();
        arrays.insert("x".to_string(), Array::new(vec![2, 3], vec![1.0, f64::NAN, 1e-300, -0.0, f64::INFINITY, 0.1]).unwrap());
        arrays.insert("s".to_string(), Array::new(vec![], vec![2.5]).unwrap());
        write_npz(&path, &arrays).unwrap();
        let back = read_npz(&path).unwrap();
        assert_eq!(back["x"].shape, [2, 3]);
        assert!(back["x"].data.iter().zip(&arrays["x"].data).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(back["s"].data, [2.5]);
        let first = std::fs::read(&path).unwrap();
        write_npz(&path, &arrays).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap(), "same arrays, same bytes");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file left");
    }
}
