//! Image sets from files: what is right is read, what is not is refused in one sentence.

use cld_sgm::data::files::{self, load, load_split};
use cld_sgm::data::{Dither, ImageSet, picture};
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

fn be(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// An IDX file: magic number, sizes, bytes.
fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let head: Vec<u8> = [magic].iter().chain(sizes).flat_map(|n| be(*n)).collect();
    [&head, data].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// A PNG of any colour type and depth, with these raw rows.
fn png_of(w: u32, h: u32, colour: png::ColorType, depth: png::BitDepth, raw: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    let mut e = png::Encoder::new(&mut out, w, h);
    e.set_color(colour);
    e.set_depth(depth);
    let mut w = e.write_header().unwrap();
    w.write_image_data(raw).unwrap();
    w.finish().unwrap();
    out
}

fn grey(w: u32, h: u32, raw: &[u8]) -> Vec<u8> {
    png_of(w, h, png::ColorType::Grayscale, png::BitDepth::Eight, raw)
}

fn put(dir: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), files);
    dir
}

fn spec(kind: &str, dir: &tempfile::TempDir) -> String {
    format!("{kind}:{}", dir.path().display())
}

/// CRC-32 as zlib has it, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |c, b| {
        (0..8).fold(c ^ u32::from(*b), |c, _| {
            if c & 1 == 1 {
                c >> 1 ^ 0xedb8_8320
            } else {
                c >> 1
            }
        })
    })
}

/// Catches a fixture that was changed or is read in the wrong order: counts, classes, checksums
/// (those of Python's zlib for the table itself), the sum of all pixels, and the first row of the
/// first image, a zero, as the table has them.
#[test]
fn digits_are_the_1797() {
    let set = load("digits").unwrap();
    assert_eq!(
        (set.len(), set.shape(), set.levels(), set.dim(), set.name()),
        (1797, [1, 8, 8], 17, 64, "digits")
    );
    let labels = set.labels().unwrap();
    let counts: Vec<usize> = (0..10)
        .map(|k| labels.iter().filter(|l| **l == k).count())
        .collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!((crc(set.pixels()), crc(labels)), (0xf3a2_533c, 0xf86f_c929));
    assert_eq!(
        set.pixels().iter().map(|k| u32::from(*k)).sum::<u32>(),
        561_718
    );
    assert_eq!(
        set.image(0).unwrap()[..16],
        [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]
    );
    assert_eq!(labels[..5], [0, 1, 2, 3, 4]);
    let s = load_split("digits", 0.1, 0).unwrap();
    assert_eq!((s.train.len(), s.held_out.len()), (1617, 180));
}

/// Catches a wrong order of bytes or sizes, and names, packing or test files that are passed over.
#[test]
fn idx_as_mnist_has_it() {
    let data: Vec<u8> = (0..12).map(|k| k * 20).collect();
    let (images, labels) = (idx(0x803, &[2, 2, 3], &data), idx(0x801, &[2], &[7, 3]));
    let dir = folder(&[
        ("train-images-idx3-ubyte", &images),
        ("train-labels-idx1-ubyte", &labels),
    ]);
    let set = load(&spec("idx", &dir)).unwrap();
    assert_eq!(
        (set.shape(), set.levels(), set.pixels(), set.labels()),
        ([1, 2, 3], 256, &data[..], Some(&[7, 3][..]))
    );
    assert_eq!(
        load_split(&spec("idx", &dir), 0.1, 1)
            .unwrap()
            .held_out
            .len(),
        1
    );
    put(
        dir.path(),
        &[(
            "t10k-images-idx3-ubyte.gz",
            &gzip(&idx(0x803, &[1, 2, 3], &data[6..])),
        )],
    );
    let s = load_split(&spec("idx", &dir), 0.5, 1).unwrap();
    assert_eq!(
        (s.train, s.held_out.pixels(), s.held_out.labels()),
        (set, &data[6..], None)
    );
    // packed, in two members, with dots, no labels
    let packed = [gzip(&images[..20]), gzip(&images[20..])].concat();
    let dir = folder(&[("train-images.idx3-ubyte.gz", &packed)]);
    let set = load(&spec("idx", &dir)).unwrap();
    assert_eq!((set.pixels(), set.labels()), (&data[..], None));
}

/// Catches a wrong record, order of batches, or a test batch that is trained on.
#[test]
fn cifar_as_its_binary_version_has_it() {
    let record = |class: u8, first: u8| -> Vec<u8> {
        std::iter::once(class)
            .chain((0..3072).map(|i| first ^ (i % 251) as u8))
            .collect()
    };
    let two = [record(9, 3), record(0, 4)].concat();
    let dir = folder(&[
        ("data_batch_2.bin", &record(5, 1)),
        ("data_batch_1.bin", &two),
        ("test_batch.bin", &record(2, 8)),
        ("readme", b""),
    ]);
    let s = load_split(&spec("cifar", &dir), 0.1, 0).unwrap();
    assert_eq!(
        (s.train.shape(), s.train.levels(), s.train.labels()),
        ([3, 32, 32], 256, Some(&[9, 0, 5][..]))
    );
    assert_eq!(
        (s.train.image(2).unwrap(), s.held_out.pixels()),
        (&record(5, 1)[1..], &record(2, 8)[1..])
    );
}

/// A chunk of a PNG: length, type, data and checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&be(data.len() as u32)[..], &body, &be(crc(&body))].concat()
}

/// A PNG with a chunk tRNS after its header (33 bytes from the start on).
fn with_trns(png: &[u8], colour: &[u8]) -> Vec<u8> {
    [&png[..33], &chunk(b"tRNS", colour), &png[33..]].concat()
}

/// A grey PNG made one with a palette of two colours, perhaps with an alpha of each.
fn palette(grey: &[u8], alpha: Option<&[u8]>) -> Vec<u8> {
    let mut header = grey[16..29].to_vec();
    header[9] = 3;
    let transparent = alpha.map_or_else(Vec::new, |a| chunk(b"tRNS", a));
    [
        &grey[..8],
        &chunk(b"IHDR", &header),
        &chunk(b"PLTE", &[1, 2, 3, 4, 5, 6]),
        &transparent,
        &grey[33..],
    ]
    .concat()
}

/// Catches hidden files that are read as pictures (macOS leaves ._x.png beside x.png), a folder
/// that has nothing else, a single picture that cannot be held out of itself and is refused without
/// a word of that, and a folder without pictures.
#[test]
fn what_a_folder_has_beside_pictures() {
    let (a, b) = (grey(2, 2, &[1, 2, 3, 4]), grey(2, 2, &[5, 6, 7, 8]));
    let dir = folder(&[
        ("a.png", &a),
        ("._a.png", b"\0\x05\x16\x07"),
        (".png", b"no picture"),
        (".hidden.PNG", &b),
        ("b.png", &b),
        (".DS_Store", b"x"),
    ]);
    assert_eq!(
        load(&spec("png", &dir)).unwrap().pixels(),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    let s = load_split(&spec("png", &dir), 0.5, 1).unwrap();
    assert_eq!((s.train.len(), s.held_out.len()), (1, 1));
    let one = folder(&[("a.png", &a), ("._a.png", &b)]);
    assert_eq!(load(&spec("png", &one)).unwrap().len(), 1);
    let e = load_split(&spec("png", &one), 0.1, 1)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("single image") && e.contains("at least 2"),
        "{e}"
    );
    for files in [&[("._a.png", &a[..])][..], &[("notes.txt", b"x")], &[]] {
        let e = load(&spec("png", &folder(files))).unwrap_err().to_string();
        assert!(e.contains("no file *.png"), "{e}");
    }
}

/// Catches a panic for a place that is none, and an image cut at the wrong place.
#[test]
fn places_that_are_none() {
    let set = cld_sgm::data::files::digits().unwrap();
    let n = set.len();
    assert_eq!(set.image(n - 1).unwrap(), &set.pixels()[64 * (n - 1)..]);
    let mut out = vec![0.0; 64];
    for place in [n, n + 1, usize::MAX, usize::MAX / 64, usize::MAX / 64 + 1] {
        assert!(set.image(place).is_none(), "{place}");
        assert!(
            set.write(place, 0, &Dither::none(), &mut out)
                .unwrap_err()
                .to_string()
                .contains("`place`"),
            "{place}"
        );
        assert!(
            set.rows(&[0, place], 0, &Dither::none()).is_err() && set.subset(&[place]).is_err()
        );
    }
    assert!(
        set.write(0, 0, &Dither::none(), &mut out[1..])
            .unwrap_err()
            .to_string()
            .contains("`out`")
    );
}

/// Catches channels that stay mixed, an order that is not by name, files that are no PNG but are
/// read; interlaced ones, made by hand: Adam7 of 1 by 1 pixel has the one row of the first pass.
#[test]
fn png_folders() {
    let rgb = |k: u8| {
        png_of(
            2,
            1,
            png::ColorType::Rgb,
            png::BitDepth::Eight,
            &[k, 1, 2, 3, 4, 5],
        )
    };
    let dir = folder(&[
        ("b.PNG", &rgb(20)),
        ("a.png", &rgb(10)),
        ("notes.txt", b"no picture"),
    ]);
    let set = load(&spec("png", &dir)).unwrap();
    assert_eq!(
        (set.shape(), set.levels(), set.labels()),
        ([3, 1, 2], 256, None)
    );
    assert_eq!(set.pixels(), [10, 3, 1, 4, 2, 5, 20, 3, 1, 4, 2, 5]);
    let mut one = grey(1, 1, &[77]);
    one[28] = 1; // interlaced
    let sum = crc(&one[12..29]);
    one[29..33].copy_from_slice(&be(sum));
    assert_eq!(files::png("one", &one).unwrap(), ([1, 1, 1], vec![77]));
    // what the crate draws, it reads
    let digits = load("digits").unwrap();
    let grid = picture::grid(&digits.pixels()[..64 * 30], [1, 8, 8], 17, 10, 3).unwrap();
    assert_eq!(
        files::png("grid", &grid).unwrap().0,
        [1, 3 * 26 + 2, 10 * 26 + 2]
    );
}

/// A name that is not UTF-8 is a name like any other, in the set and in a refusal.
#[test]
#[cfg(target_os = "linux")]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder(&[("a.png", &grey(1, 1, &[1]))]);
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"b\xff.png"));
    std::fs::write(&odd, grey(1, 1, &[2])).unwrap();
    assert_eq!(load(&spec("png", &dir)).unwrap().pixels(), [1, 2]);
    std::fs::write(&odd, b"").unwrap();
    assert!(
        load(&spec("png", &dir))
            .unwrap_err()
            .to_string()
            .contains("b\u{fffd}.png")
    );
}

/// Catches a file that is trusted: each is refused in one line that names it, says what was found
/// and what is allowed.
#[test]
fn hostile_files_are_refused() {
    let train = "train-images-idx3-ubyte";
    let whole = idx(0x803, &[2, 2, 3], &[9; 12]);
    let bomb = idx(0x803, &[1 << 14, 256, 256], &vec![0; 1 << 22]); // says 1 GiB, is 4 MiB, packed 4 KiB
    let endless = idx(0x803, &[1, 2, 3], &vec![0; 1 << 22]); // says 6 bytes, goes on
    let mut flipped = gzip(&whole);
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    let idx_cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "cut short"),
        ("half a header", whole[..10].to_vec(), "cut short"),
        (
            "labels' magic",
            idx(0x801, &[2, 2, 3], &[9; 12]),
            "allowed: 00000803",
        ),
        (
            "floats",
            idx(0xd03, &[2, 2, 3], &[9; 48]),
            "starts with 00000d03",
        ),
        ("truncated", whole[..27].to_vec(), "the file can hold (11)"),
        (
            "too long",
            [&whole[..], &[1]].concat(),
            "goes on after the 12 bytes",
        ),
        ("no images", idx(0x803, &[0, 2, 3], &[]), "at least 1 each"),
        ("no pixels", idx(0x803, &[2, 0, 3], &[]), "at least 1 each"),
        (
            "overflow",
            idx(0x803, &[u32::MAX; 3], &[9; 12]),
            "the header says sizes",
        ),
        (
            "wraps to 0",
            idx(0x803, &[1 << 31, 1 << 31, 4], &[9; 12]),
            "the header says sizes",
        ),
        (
            "4 GiB",
            idx(0x803, &[1, 1 << 16, 1 << 16], &[9; 12]),
            "the header says sizes",
        ),
        (
            "gzip: 4 GiB",
            gzip(&idx(0x803, &[1, 1 << 16, 1 << 16], &[9; 12])),
            "the header says sizes",
        ),
        ("gzip: bomb", gzip(&bomb), "the file can hold"),
        ("gzip: goes on", gzip(&endless), "goes on after the 6 bytes"),
        ("gzip: truncated", gzip(&whole)[..25].to_vec(), "cut short"),
        (
            "gzip: no trailer",
            {
                let g = gzip(&whole);
                g[..g.len() - 8].to_vec()
            },
            "cut short",
        ),
        ("gzip: wrong sum", flipped, "damaged"),
        ("gzip: head only", vec![0x1f, 0x8b], "cut short"),
    ];
    for (what, bytes, says) in &idx_cases {
        let dir = folder(&[(train, bytes)]);
        let e = load(&spec("idx", &dir)).expect_err(what).to_string();
        assert!(
            e.contains(train) && e.contains(says) && !e.contains('\n') && e.len() < 400,
            "{what}: {e}"
        );
    }
    let refused = |spec: &str, named: &str, says: &str| {
        let e = load(spec).expect_err(says).to_string();
        assert!(
            e.contains(named) && e.contains(says) && !e.contains('\n'),
            "{says}: {e}"
        );
    };
    // labels
    for (labels, says) in [
        (idx(0x801, &[3], &[1; 3]), "one for each image"),
        (idx(0x803, &[2, 1, 1], &[1; 2]), "allowed: 00000801"),
    ] {
        let dir = folder(&[(train, &whole), ("train-labels-idx1-ubyte", &labels)]);
        refused(&spec("idx", &dir), "ubyte", says);
    }
    // an image of more numbers than any net here takes
    let dir = folder(&[(
        train,
        &gzip(&idx(
            0x803,
            &[1, 1 << 13, (1 << 11) + 1],
            &vec![0; (1 << 24) + (1 << 13)],
        )),
    )]);
    refused(&spec("idx", &dir), train, "at most 2^24 numbers");
    // test images of another shape
    let dir = folder(&[
        (train, &whole),
        ("t10k-images-idx3-ubyte", &idx(0x803, &[2, 3, 2], &[9; 12])),
    ]);
    assert!(
        load_split(&spec("idx", &dir), 0.1, 0)
            .unwrap_err()
            .to_string()
            .contains("one shape is allowed")
    );
    for fraction in [0.0, 1.0, f64::NAN, -1.0] {
        assert!(
            load_split("digits", fraction, 0)
                .unwrap_err()
                .to_string()
                .contains("held_out")
        );
    }
    // CIFAR-10
    for (bytes, says) in [
        (vec![], "0 bytes"),
        (vec![0; 3072], "multiple of 3073"),
        (vec![10; 3073], "class 10; allowed: 0 to 9"),
    ] {
        let dir = folder(&[("data_batch_1.bin", &bytes)]);
        refused(&spec("cifar", &dir), "data_batch_1.bin", says);
    }
    // PNG
    use png::{BitDepth as D, ColorType as C};
    let mut huge = grey(1, 1, &[7]);
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut wide = huge.clone();
    wide[16..24].copy_from_slice(&[0, 0x80, 0, 0, 0, 0, 0, 1]);
    for bytes in [&mut huge, &mut wide] {
        let sum = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&be(sum));
    }
    let bomb = grey(1 << 13, 1 << 12, &vec![0; 1 << 25]);
    let fine = grey(2, 2, &[1, 2, 3, 4]);
    let coloured = png_of(2, 2, C::Rgb, D::Eight, &[1; 12]);
    let png_cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "no whole PNG"),
        ("text", b"not a picture".to_vec(), "no whole PNG"),
        ("truncated", fine[..50].to_vec(), "no whole PNG"),
        ("no end", fine[..fine.len() - 12].to_vec(), "no whole PNG"),
        (
            "alpha",
            png_of(1, 1, C::Rgba, D::Eight, &[1; 4]),
            "is Rgba of 8 bits; allowed: grey or RGB",
        ),
        (
            "palette or bits",
            png_of(8, 1, C::Grayscale, D::One, &[1]),
            "is Grayscale of 1 bits",
        ),
        (
            "deep",
            png_of(1, 1, C::Rgb, D::Sixteen, &[1; 6]),
            "is Rgb of 16 bits",
        ),
        (
            "grey with a transparent colour",
            with_trns(&fine, &[0, 1]),
            "transparent (tRNS); allowed: grey or RGB of 8 bits",
        ),
        (
            "RGB with a transparent colour",
            with_trns(&coloured, &[0, 1, 0, 1, 0, 1]),
            "transparent (tRNS)",
        ),
        (
            "grey and alpha",
            png_of(1, 1, C::GrayscaleAlpha, D::Eight, &[1; 2]),
            "is GrayscaleAlpha of 8 bits",
        ),
        ("palette", palette(&fine, None), "is Indexed of 8 bits"),
        (
            "palette with alpha",
            palette(&fine, Some(&[0, 255])),
            "is Indexed of 8 bits",
        ),
        (
            "grey of 16 bits",
            png_of(1, 1, C::Grayscale, D::Sixteen, &[1; 2]),
            "is Grayscale of 16 bits",
        ),
        (
            "JPEG by its bytes",
            b"\xff\xd8\xff\xe0\x00\x10JFIF\x00".to_vec(),
            "no whole PNG",
        ),
        (
            "says 2^62 pixels",
            huge,
            "says 2147483647 by 2147483647 pixels",
        ),
        ("says 2^23 pixels", wide, "says 8388608 by 1 pixels"),
        ("32 MiB of nothing", bomb, "no more than"),
        (
            "another size",
            grey(1, 2, &[1, 2]),
            "allowed: [1, 2, 2], as",
        ),
        (
            "another colour",
            png_of(2, 2, C::Rgb, D::Eight, &[1; 12]),
            "(channels, height, width) is [3, 2, 2]",
        ),
    ];
    for (what, bytes, says) in &png_cases {
        let dir = folder(&[("a.png", &fine), ("b.png", bytes)]);
        let e = load(&spec("png", &dir)).expect_err(what).to_string();
        assert!(
            e.contains("b.png") && e.contains(says) && !e.contains('\n'),
            "{what}: {e}"
        );
    }
    // folders and texts
    let empty = folder(&[]);
    std::fs::create_dir(empty.path().join("x.png")).unwrap();
    refused(&spec("png", &empty), "x.png", "not a regular file");
    let empty = folder(&[]);
    for kind in ["png", "cifar", "idx"] {
        refused(
            &spec(kind, &empty),
            &empty.path().display().to_string(),
            &format!("{kind}:DIR needs"),
        );
        refused(&format!("{kind}:/nowhere/at/all"), "/nowhere/at/all", "");
        refused(
            &format!("{kind}:"),
            kind,
            "digits, idx:DIR, cifar:DIR, png:DIR",
        );
    }
    for text in ["", "mnist", "digits:", "digits:x", "idx", ":", "IDX:/tmp"] {
        refused(text, &format!("`{text}`"), "allowed: digits");
    }
}

/// Sound files of every kind, to be spoilt.
static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let images = idx(0x803, &[3, 4, 5], &(0..60).collect::<Vec<u8>>());
    let noise: Vec<u8> = (0..600u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    vec![
        gzip(&images),
        images,
        idx(0x801, &[3], &[1, 2, 3]),
        vec![3; 2 * 3073],
        grey(20, 30, &noise),
        png_of(10, 20, png::ColorType::Rgb, png::BitDepth::Eight, &noise),
    ]
});

/// Every reader on the same bytes: an error of one line, or a set that holds what it says. Returns
/// how many took them.
fn read_all(bytes: &[u8]) -> usize {
    let (mut pixels, mut labels) = (vec![], vec![]);
    let sets = [
        files::idx_images("f", bytes)
            .and_then(|([h, w], p)| ImageSet::new("f", [1, h, w], 256, p, None)),
        files::idx_labels("f", bytes)
            .and_then(|l| ImageSet::new("f", [1, 1, 1], 256, l.clone(), Some(l))),
        files::cifar("f", bytes, &mut pixels, &mut labels)
            .and_then(|()| ImageSet::new("f", [3, 32, 32], 256, pixels, Some(labels))),
        files::png("f", bytes).and_then(|(shape, p)| ImageSet::new("f", shape, 256, p, None)),
    ];
    let judge = |set: Result<ImageSet, cld_sgm::Error>| match set {
        Ok(s) => {
            assert!(s.len() * s.dim() == s.pixels().len() && !s.pixels().is_empty());
            assert!(s.pixels().len() <= bytes.len() * 1032);
            1
        }
        Err(e) => {
            let e = e.to_string();
            assert!(!e.contains('\n') && e.len() < 400, "{e}");
            0
        }
    };
    sets.into_iter().map(judge).sum()
}

/// Catches a sound file that no reader takes, which would make the next test empty.
#[test]
fn sound_files_are_taken() {
    assert!(SOUND.iter().all(|b| read_all(b) == 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Catches a panic, or a set that is not what it says, on spoilt files: bytes changed, cut off,
    /// put in or left out; sums of PNG's header are made good again, so that what lies behind them
    /// is reached.
    #[test]
    fn spoilt_files_never_panic(
        which in 0..6usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        mend in any::<bool>(),
    ) {
        let mut bytes = SOUND[which].clone();
        for (at, value, how) in changes {
            // half of all changes in the first bytes, where the sizes are
            let end = if value & 1 == 0 { bytes.len() } else { bytes.len().min(40) };
            if end == 0 { break }
            let at = at.index(end);
            match how {
                0 => bytes.insert(at, value),
                1 => { bytes.remove(at); }
                2 => bytes[at] ^= 1 << (value >> 5),
                _ => bytes[at] = value,
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        if mend && which >= 4 && bytes.len() > 33 {
            let sum = crc(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&be(sum));
        }
        read_all(&bytes);
    }
}

/// The 60,000 and 10,000 images of Fashion-MNIST as Debian's package `dataset-fashion-mnist`
/// installs them, where it is installed; catches names or packing that differ from the synthetic
/// ones. Ten classes of equal size.
#[test]
fn fashion_mnist_where_it_is_installed() {
    let dir = "/usr/share/datasets/fashion-mnist";
    if !Path::new(dir).exists() {
        return;
    }
    let s = load_split(&format!("idx:{dir}"), 0.1, 0).unwrap();
    assert_eq!(
        (s.train.len(), s.held_out.len(), s.train.shape()),
        (60_000, 10_000, [1, 28, 28])
    );
    for set in [s.train, s.held_out] {
        let labels = set.labels().unwrap();
        assert!((0..10).all(|k| labels.iter().filter(|l| **l == k).count() == set.len() / 10));
    }
}

/// Catches any departure of the features from their page: the same, written anew pixel by pixel in
/// another language (`fixtures/digits/features.py`), for digits and for a colour image of odd
/// sides. Tolerance: 4 epsilons times the 216 terms of the longest sum, of size about 1.
#[test]
fn features_are_those_of_their_page() {
    let text = include_str!("../../fixtures/digits/features.json");
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let bytes = |v: &serde_json::Value| {
        v.as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_u64().unwrap() as u8)
            .collect::<Vec<u8>>()
    };
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let shape: Vec<usize> = bytes(&case["shape"]).into_iter().map(usize::from).collect();
        let shape = [shape[0], shape[1], shape[2]];
        let set = ImageSet::new(
            "case",
            shape,
            case["levels"].as_u64().unwrap() as u32,
            bytes(&case["pixels"]),
            None,
        )
        .unwrap();
        let got = cld_sgm::metrics::features(&set.rows(&[0], 0, &Dither::none()).unwrap(), shape)
            .unwrap();
        let want = case["features"].as_array().unwrap();
        assert_eq!((got.len(), want.len()), (64, 64));
        for (n, (got, want)) in got.iter().zip(want).enumerate() {
            let want = want.as_f64().unwrap();
            assert!(
                (got - want).abs() < 2e-13,
                "{shape:?} feature {n}: {got} {want}"
            );
        }
    }
}
