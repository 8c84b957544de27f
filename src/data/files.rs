//! Image sets from files: the digits that are built in, IDX (MNIST, Fashion-MNIST), CIFAR-10's
//! binary batches, folders of PNG.
//!
//! Nothing here trusts a file: sizes in a header are held against the bytes that are there before
//! anything is allocated, a packed file is unpacked no further than its header says, and every
//! refusal names the file, what was found and what is allowed.

use super::images::{ImageSet, MAX_BYTES, MAX_DIM, Split};
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// What a text that names a set may be.
pub const SPECS: &str = "digits, idx:DIR, cifar:DIR, png:DIR";
/// Deflate makes no byte of its input into more than this many (1032, the format's own limit).
const DEFLATE: usize = 1032;

fn bad(file: &str, problem: impl Into<String>) -> Error {
    Error::Format {
        file: file.into(),
        place: String::new(),
        problem: problem.into(),
    }
}

fn refused(path: &Path, what: &str, e: &std::io::Error) -> Error {
    Error::Io {
        path: path.display().to_string(),
        problem: format!("cannot {what}: {e}"),
    }
}

/// The 1797 digits of 8 by 8 pixels and 17 levels that are built in (`fixtures/digits`).
///
/// # Errors
/// None: the bytes are part of the program.
pub fn digits() -> Result<ImageSet> {
    let images = include_bytes!("../../fixtures/digits/digits-images.idx3-ubyte");
    let labels = include_bytes!("../../fixtures/digits/digits-labels.idx1-ubyte");
    let ([h, w], pixels) = idx_images("digits", images)?;
    ImageSet::new(
        "digits",
        [1, h, w],
        17,
        pixels,
        Some(idx_labels("digits", labels)?),
    )
}

/// The set that `spec` names: `digits`; `idx:DIR`, the files `train-images-idx3-ubyte` and
/// `train-labels-idx1-ubyte` (a dot for the second hyphen will do, as will `.gz` after it; labels
/// may be missing); `cifar:DIR`, all `data_batch_*.bin`; `png:DIR`, all `*.png` of a folder by name
/// (hidden files are not looked at), grey or RGB of 8 bits without transparency, of one size.
///
/// # Errors
/// Another text; a folder or file that cannot be read, or is not what it should be.
pub fn load(spec: &str) -> Result<ImageSet> {
    Ok(read(spec, false)?.0)
}

/// As [`load`], with what is held out: the set's own test files (`t10k-*` beside IDX,
/// `test_batch.bin` beside CIFAR-10), and where there are none, `fraction` of the images, rounded,
/// at least one, drawn by `seed` ([`ImageSet::split`]).
///
/// # Errors
/// As [`load`]; unless `0 < fraction < 1`; a single image; test images of another shape.
pub fn load_split(spec: &str, fraction: f64, seed: u64) -> Result<Split> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::parameter("held_out", fraction, "above 0, below 1"));
    }
    match read(spec, true)? {
        (train, Some(held_out)) if train.shape() == held_out.shape() => {
            Ok(Split { train, held_out })
        }
        (train, Some(held_out)) => Err(bad(
            spec,
            format!(
                "test images are {:?}, training images {:?}; one shape is allowed",
                held_out.shape(),
                train.shape()
            ),
        )),
        (all, None) if all.len() < 2 => Err(bad(
            spec,
            "has a single image; at least 2 are needed, one to train on and one that is held out",
        )),
        (all, None) => all.split(
            ((all.len() as f64 * fraction).round() as usize).max(1),
            seed,
        ),
    }
}

fn read(spec: &str, tests: bool) -> Result<(ImageSet, Option<ImageSet>)> {
    let (kind, dir) = spec.split_once(':').map_or((spec, None), |(k, d)| {
        (k, Some(Path::new(d)).filter(|_| !d.is_empty()))
    });
    match (kind, dir) {
        ("digits", None) if spec == "digits" => Ok((digits()?, None)),
        ("idx", Some(dir)) => {
            let train = idx_folder(spec, dir, "train")?;
            let Some(train) = train else {
                let path = dir.join("train-images-idx3-ubyte").display().to_string();
                let problem =
                    "there is no such file, with or without .gz; idx:DIR needs it in DIR".into();
                return Err(Error::Io { path, problem });
            };
            Ok((
                train,
                if tests {
                    idx_folder(spec, dir, "t10k")?
                } else {
                    None
                },
            ))
        }
        ("cifar", Some(dir)) => {
            let batches = list(dir, |name| {
                name.starts_with("data_batch_") && name.ends_with(".bin")
            })?;
            if batches.is_empty() {
                return Err(bad(
                    &dir.display().to_string(),
                    "no file data_batch_*.bin; cifar:DIR needs at least one in DIR",
                ));
            }
            let test = dir.join("test_batch.bin");
            let test = if tests && test.exists() {
                Some(cifar_files(spec, &[test])?)
            } else {
                None
            };
            Ok((cifar_files(spec, &batches)?, test))
        }
        ("png", Some(dir)) => Ok((png_folder(spec, dir)?, None)),
        _ => Err(Error::parameter("data", format!("`{spec}`"), SPECS)),
    }
}

/// Files of a folder whose (perhaps mended) name is wanted, by name.
fn list(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).map_err(|e| refused(dir, "list the folder", &e))? {
        let entry = entry.map_err(|e| refused(dir, "list the folder", &e))?;
        let name = entry.file_name();
        // hidden files are not data: macOS leaves ._x.png beside x.png
        if !name.as_encoded_bytes().starts_with(b".") && wanted(&name.to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The files that [`load_split`] reads for `spec`, so far as they are there: what must not be
/// written over.
pub fn sources(spec: &str) -> Vec<PathBuf> {
    let Some((kind, dir)) = spec.split_once(':') else {
        return vec![];
    };
    let wanted = |name: &str| match kind {
        "idx" => name.contains("ubyte"),
        "cifar" => name.ends_with(".bin"),
        "png" => name.ends_with(".png"),
        _ => false,
    };
    list(Path::new(dir), wanted).unwrap_or_default()
}

/// A whole regular file of at most 1 GiB and its header.
fn slurp(path: &Path) -> Result<Vec<u8>> {
    let most = MAX_BYTES as u64 + (1 << 20);
    let meta = std::fs::metadata(path).map_err(|e| refused(path, "read", &e))?;
    let name = path.display().to_string();
    if !meta.is_file() {
        return Err(bad(&name, "not a regular file; only those are read"));
    }
    let mut bytes = vec![];
    let file = std::fs::File::open(path).map_err(|e| refused(path, "open", &e))?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| refused(path, "read", &e))?;
    match bytes.len() as u64 <= most {
        true => Ok(bytes),
        false => Err(bad(
            &name,
            format!("longer than {most} bytes, the most that is allowed"),
        )),
    }
}

/// A file that ends too early, or whose gzip is damaged.
fn cut_short(file: &str, e: &std::io::Error) -> Error {
    bad(
        file,
        format!("damaged or cut short ({e}); a whole IDX file is allowed, with or without gzip"),
    )
}

/// The sizes in the header of an IDX file of unsigned bytes.
fn idx_sizes<const RANK: usize>(file: &str, source: &mut dyn Read) -> Result<[usize; RANK]> {
    let mut word = || {
        let mut w = [0; 4];
        source
            .read_exact(&mut w)
            .map_err(|e| cut_short(file, &e))
            .map(|()| u32::from_be_bytes(w))
    };
    let (magic, want) = (word()?, 0x800 + RANK as u32);
    if magic != want {
        return Err(bad(
            file,
            format!(
                "starts with {magic:08x}; allowed: {want:08x}, IDX of unsigned bytes with {RANK} size(s)"
            ),
        ));
    }
    let mut sizes = [0; RANK];
    for s in &mut sizes {
        *s = word()? as usize;
    }
    Ok(sizes)
}

/// An IDX file of unsigned bytes with RANK sizes, perhaps packed by gzip: its sizes and its bytes.
fn idx<const RANK: usize>(file: &str, bytes: &[u8]) -> Result<([usize; RANK], Vec<u8>)> {
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    let mut source: Box<dyn Read + '_> = if packed {
        Box::new(MultiGzDecoder::new(bytes))
    } else {
        Box::new(bytes)
    };
    let sizes = idx_sizes::<RANK>(file, &mut source)?;
    let header = 4 + 4 * RANK;
    let holds = if packed {
        bytes.len().saturating_mul(DEFLATE)
    } else {
        bytes.len() - header
    };
    let says = sizes
        .iter()
        .try_fold(1usize, |a, s| a.checked_mul(*s))
        .filter(|n| (1..=MAX_BYTES.min(holds)).contains(n));
    let Some(says) = says else {
        let problem = format!(
            "the header says sizes {sizes:?}; allowed: at least 1 each, at most 2^30 bytes, and no more than the file can hold ({holds})"
        );
        return Err(bad(file, problem));
    };
    let mut data = vec![];
    source
        .take(says as u64 + 1)
        .read_to_end(&mut data)
        .map_err(|e| cut_short(file, &e))?;
    match data.len().cmp(&says) {
        std::cmp::Ordering::Equal => Ok((sizes, data)),
        std::cmp::Ordering::Less => Err(bad(
            file,
            format!(
                "holds {} bytes after the header; {says} are needed for sizes {sizes:?}",
                data.len()
            ),
        )),
        std::cmp::Ordering::Greater => Err(bad(
            file,
            format!("goes on after the {says} bytes of sizes {sizes:?}; exactly those are allowed"),
        )),
    }
}

/// Images of an IDX file (magic 00000803), perhaps packed by gzip: (height, width) and the pixels.
/// `file` is for messages.
///
/// # Errors
/// Another magic number; sizes that are 0, that the bytes cannot hold, or beyond 1 GiB; bytes
/// missing, damaged or left over.
pub fn idx_images(file: &str, bytes: &[u8]) -> Result<([usize; 2], Vec<u8>)> {
    let ([_, h, w], pixels) = idx::<3>(file, bytes)?;
    Ok(([h, w], pixels))
}

/// Labels of an IDX file (magic 00000801), perhaps packed by gzip.
///
/// # Errors
/// As [`idx_images`].
pub fn idx_labels(file: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(idx::<1>(file, bytes)?.1)
}

fn idx_folder(spec: &str, dir: &Path, part: &str) -> Result<Option<ImageSet>> {
    let find = |what: &str| {
        let names = [
            format!("{part}-{what}-ubyte"),
            format!("{part}-{}-ubyte", what.replace('-', ".")),
        ];
        let all = names.iter().flat_map(|n| [n.clone(), format!("{n}.gz")]);
        all.map(|n| dir.join(n)).find(|p| p.exists())
    };
    let Some(path) = find("images-idx3") else {
        return Ok(None);
    };
    let name = path.display().to_string();
    let ([h, w], pixels) = idx_images(&name, &slurp(&path)?)?;
    let labels = find("labels-idx1")
        .map(|p| idx_labels(&p.display().to_string(), &slurp(&p)?))
        .transpose()?;
    ImageSet::new(spec, [1, h, w], 256, pixels, labels)
        .map_err(|e| bad(&name, e.to_string()))
        .map(Some)
}

/// Records of CIFAR-10's binary version, 3073 bytes each: a class 0 to 9, then 32 by 32 pixels of
/// red, green, blue. Appends to pixels and labels.
///
/// # Errors
/// No whole number of records, or none; a class beyond 9; more than 1 GiB in all.
pub fn cifar(file: &str, bytes: &[u8], pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<()> {
    const RECORD: usize = 3073;
    if bytes.is_empty()
        || !bytes.len().is_multiple_of(RECORD)
        || pixels.len() + bytes.len() > MAX_BYTES
    {
        return Err(bad(
            file,
            format!(
                "{} bytes; allowed: a multiple of {RECORD}, at least one, at most 2^30 in all",
                bytes.len()
            ),
        ));
    }
    for (n, record) in bytes.chunks_exact(RECORD).enumerate() {
        if record[0] > 9 {
            return Err(bad(
                file,
                format!("record {n} has class {}; allowed: 0 to 9", record[0]),
            ));
        }
        labels.push(record[0]);
        pixels.extend(&record[1..]);
    }
    Ok(())
}

fn cifar_files(spec: &str, paths: &[PathBuf]) -> Result<ImageSet> {
    let (mut pixels, mut labels) = (vec![], vec![]);
    for path in paths {
        cifar(
            &path.display().to_string(),
            &slurp(path)?,
            &mut pixels,
            &mut labels,
        )?;
    }
    ImageSet::new(spec, [3, 32, 32], 256, pixels, Some(labels))
}

/// One PNG, grey or RGB of 8 bits: (channels, height, width) and its pixels in that order.
///
/// # Errors
/// Another colour type or depth; a size of 0, of more than 2^24 numbers, or that the bytes cannot
/// hold; an animation's part; damaged or missing bytes.
pub fn png(file: &str, bytes: &[u8]) -> Result<([usize; 3], Vec<u8>)> {
    let broken = |e: png::DecodingError| {
        bad(
            file,
            format!("no whole PNG ({e}); a grey or RGB one of 8 bits is allowed"),
        )
    };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let info = decoder.read_header_info().map_err(broken)?;
    let (w, h, depth) = (info.width as usize, info.height as usize, info.bit_depth);
    const ALLOWED: &str = "allowed: grey or RGB of 8 bits, without transparency";
    let channels = match (info.color_type, depth) {
        (png::ColorType::Grayscale, png::BitDepth::Eight) => 1,
        (png::ColorType::Rgb, png::BitDepth::Eight) => 3,
        (c, d) => {
            return Err(bad(
                file,
                format!("is {c:?} of {} bits; {ALLOWED}", d as u8),
            ));
        }
    };
    let most = MAX_DIM.min(bytes.len().saturating_mul(DEFLATE));
    let size = w
        .checked_mul(h)
        .and_then(|n| n.checked_mul(channels))
        .filter(|n| (1..=most).contains(n));
    let Some(size) = size else {
        return Err(bad(
            file,
            format!(
                "says {w} by {h} pixels; allowed: at least 1, and no more than {most} numbers in a file of its length"
            ),
        ));
    };
    let mut reader = decoder.read_info().map_err(broken)?;
    let mut mixed = vec![0; size];
    let frame = reader.next_frame(&mut mixed).map_err(broken)?;
    if (frame.width as usize, frame.height as usize) != (w, h) {
        return Err(bad(
            file,
            "its first frame is only a part of it; allowed: a whole image",
        ));
    }
    reader.finish().map_err(broken)?;
    if reader.info().trns.is_some() {
        return Err(bad(
            file,
            format!("names a colour that is transparent (tRNS); {ALLOWED}"),
        ));
    }
    let mut planes = vec![0; size];
    for (p, pixel) in mixed.chunks_exact(channels).enumerate() {
        for (c, k) in pixel.iter().enumerate() {
            planes[c * w * h + p] = *k;
        }
    }
    Ok(([channels, h, w], planes))
}

fn png_folder(spec: &str, dir: &Path) -> Result<ImageSet> {
    let files = list(dir, |name| name.to_ascii_lowercase().ends_with(".png"))?;
    let (mut first, mut pixels) = (None, vec![]);
    for path in &files {
        let name = path.display().to_string();
        let (shape, planes) = png(&name, &slurp(path)?)?;
        let (same, of) = first.get_or_insert_with(|| (shape, name.clone()));
        if *same != shape {
            return Err(bad(
                &name,
                format!(
                    "(channels, height, width) is {shape:?}; allowed: {same:?}, as {of} has it"
                ),
            ));
        }
        if pixels.len() + planes.len() > MAX_BYTES {
            return Err(bad(
                &name,
                "with it the folder has more than 2^30 bytes of pixels, the most that is allowed",
            ));
        }
        pixels.extend(planes);
    }
    match first {
        Some((shape, _)) => ImageSet::new(spec, shape, 256, pixels, None),
        None => Err(bad(
            &dir.display().to_string(),
            "no file *.png; png:DIR needs at least one in DIR",
        )),
    }
}
