//! `cld eval SAMPLES.npz` and folders of pictures: what is not what it should be is refused with
//! the remedy, never reinterpreted.

use super::run::{path, refused, said};
use cld_sgm::data::files::digits;
use cld_sgm::data::{Dither, images};
use cld_sgm::internal::files::{Array, write_npz};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file with an array of this name, of type `descr`, after numpy's format description.
fn file(to: &Path, name: &str, descr: &str, shape: &[usize], bytes: &[u8]) {
    let dims: String = shape.iter().map(|d| format!("{d},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut zip = zip::ZipWriter::new(std::fs::File::create(to).unwrap());
    zip.start_file(
        format!("{name}.npy"),
        zip::write::SimpleFileOptions::default(),
    )
    .unwrap();
    zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
    zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap();
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Some of the digits, each pixel the middle of its level; and their levels.
fn some(n: usize) -> (Vec<f64>, Vec<u8>) {
    let set = digits().unwrap();
    let x = set
        .rows(&(0..n).collect::<Vec<_>>(), 0, &Dither::none())
        .unwrap();
    let levels = images::levels(&x, 17).unwrap();
    (x, levels)
}

/// The last column of the table's one row.
fn distance(said: &str) -> f64 {
    let row = said
        .lines()
        .find(|l| l.starts_with("-  "))
        .unwrap_or_else(|| panic!("{said}"));
    row.split_whitespace().last().unwrap().parse().unwrap()
}

/// Catches samples that are taken for something else and still get a plausible distance: other
/// axes, bytes, levels, [0, 1], standardised and centred values, values that are not finite, no
/// rows, an array of another name. And what is right but refused.
#[test]
fn samples_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("s.npz");
    let (x, levels) = some(60);
    let eval = |more: &[&str]| said(&[&["eval", path(&at), "--data", "digits"], more].concat());
    let refuse = |words: &[&str]| {
        refused(
            &["eval", path(&at), "--data", "digits"],
            &[&["s.npz"], words].concat(),
        )
    };

    file(&at, "x", "<f8", &[60, 64], &doubles(&x));
    let right = eval(&[]);
    assert!(
        right.contains("0 of 3840 values clamped") && right.contains("60 samples of"),
        "{right}"
    );
    file(&at, "x", "<f8", &[60, 1, 8, 8], &doubles(&x));
    assert_eq!(distance(&eval(&[])), distance(&right));
    file(
        &at,
        "x",
        "<f4",
        &[60, 1, 8, 8],
        &x.iter()
            .flat_map(|x| (*x as f32).to_le_bytes())
            .collect::<Vec<_>>(),
    );
    assert_eq!(distance(&eval(&[])), distance(&right));

    for (shape, words) in [
        (
            &[60, 8, 8, 1][..],
            &[
                "[60, 8, 8, 1]",
                "(n, height, width, channels)",
                "transpose(0, 3, 1, 2)",
            ][..],
        ),
        (&[60, 8, 8], &["[60, 8, 8]", "[:, None]"]),
        (&[1, 60, 8, 8], &["(channels, n, height, width)"]),
        (&[64, 60], &["(n, 64)"]),
        (&[3840], &["(n, 1, 8, 8) or (n, 64)"]),
        (&[30, 128], &["(n, 64)"]),
        (&[60, 4, 16], &["(n, 64)"]),
        (&[60, 1, 4, 16], &["(n, 64)"]),
    ] {
        file(&at, "x", "<f8", shape, &doubles(&x));
        refuse(words);
    }
    for shape in [&[0, 64][..], &[0, 1, 8, 8]] {
        file(&at, "x", "<f8", shape, &[]);
        refuse(&["`x`", "at least one row"]);
    }
    for (bad, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let mut x = x.clone();
        x[17 * 64 + 5] = bad;
        file(&at, "x", "<f8", &[60, 64], &doubles(&x));
        refuse(&["row 17, value 5", word, "finite"]);
    }
    file(&at, "arr_0", "<f8", &[60, 64], &doubles(&x));
    refuse(&["`x` is missing", "arr_0", "savez"]);

    let bytes: Vec<u8> = levels
        .iter()
        .map(|k| (f64::from(*k) / 16.0 * 255.0).round() as u8)
        .collect();
    file(&at, "x", "|u1", &[60, 64], &levels);
    refuse(&["whole numbers", "--range=0,16", "[-1, 1]"]);
    file(
        &at,
        "x",
        "<i8",
        &[60, 64],
        &levels
            .iter()
            .flat_map(|k| i64::from(*k).to_le_bytes())
            .collect::<Vec<_>>(),
    );
    refuse(&["whole numbers"]);
    file(&at, "x", "|u1", &[60, 64], &bytes);
    refuse(&["whole numbers", "--range=0,255"]);
    // the levels' middles differ from the ends of the range by half a level: the same picture but
    // for that
    let close = |said: &str| {
        assert!(
            (distance(said) - distance(&right)).abs() < 0.05,
            "{said}\n{right}"
        )
    };
    let taken = eval(&["--range", "0,255"]);
    assert!(
        taken.contains("[0, 255] taken to [-1, 1]") && taken.contains("0 of 3840 values clamped"),
        "{taken}"
    );
    close(&taken);
    for (low, high) in [(0.0, 1.0), (-0.5, 0.5), (-0.4242, 2.8215), (0.0, 255.5)] {
        let scaled: Vec<f64> = x
            .iter()
            .map(|x| low + (high - low) * (x + 1.0) / 2.0)
            .collect();
        file(&at, "x", "<f8", &[60, 64], &doubles(&scaled));
        refuse(&["`x`", "--range="]);
        let taken = eval(&["--range", &format!("{low},{high}")]);
        assert!(
            (distance(&taken) - distance(&right)).abs() < 1e-3 * distance(&right),
            "{low} {high}: {taken}"
        );
    }
    // a little beyond the range: counted
    let mut over = x.clone();
    (0..7).for_each(|i| over[100 * i] = 1.25);
    file(&at, "x", "<f8", &[60, 64], &doubles(&over));
    assert!(eval(&[]).contains("7 of 3840 values clamped"));
    for (more, words) in [
        (["--range", "1,0"], ["`range`", "LOW,HIGH"]),
        (["--range", "0"], ["`range`", "LOW,HIGH"]),
        (["--n", "61"], ["`n` is 61", "60"]),
    ] {
        refused(
            &[&["eval", path(&at), "--data", "digits"], &more[..]].concat(),
            &words,
        );
    }
    // points have no range, and are not whole numbers
    file(&at, "x", "<f8", &[1920, 2], &doubles(&x));
    assert!(said(&["eval", path(&at), "--data", "mixture"]).contains("sliced W2"));
    refused(
        &["eval", path(&at), "--data", "mixture", "--range", "0,1"],
        &["range", "points"],
    );
    file(&at, "x", "|u1", &[1920, 2], &levels);
    refused(
        &["eval", path(&at), "--data", "mixture"],
        &["whole numbers"],
    );
    file(&at, "x", "<f8", &[2, 1920], &doubles(&x));
    refused(
        &["eval", path(&at), "--data", "mixture"],
        &["[2, 1920]", "(n, 2)"],
    );
}

/// Catches colour pictures whose channels come last and are read as if they came first: the
/// distance is as small for nonsense as for what is right.
#[test]
fn colours_are_not_reordered() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("p");
    std::fs::create_dir(&folder).unwrap();
    let pixel = |n: usize, c: usize, p: usize| ((n * 31 + c * 80 + p * 5 + p * p % 7) % 256) as u8;
    for n in 0..20 {
        let mixed: Vec<u8> = (0..35)
            .flat_map(|p| (0..3).map(move |c| pixel(n, c, p)))
            .collect();
        let mut encoder = png::Encoder::new(
            std::fs::File::create(folder.join(format!("{n:02}.png"))).unwrap(),
            7,
            5,
        );
        encoder.set_color(png::ColorType::Rgb);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&mixed)
            .unwrap();
    }
    let value = |n, c, p| 2.0 * (f64::from(pixel(n, c, p)) + 0.5) / 256.0 - 1.0;
    let planes: Vec<f64> = (0..20)
        .flat_map(|n| (0..105).map(move |i| value(n, i / 35, i % 35)))
        .collect();
    let mixed: Vec<f64> = (0..20)
        .flat_map(|n| (0..105).map(move |i| value(n, i % 3, i / 3)))
        .collect();
    let at = dir.path().join("s.npz");
    let data = format!("png:{}", folder.display());
    let write = |shape: &[usize], x: &[f64]| {
        let array = Array::new(shape.to_vec(), x.to_vec()).unwrap();
        write_npz(&at, &BTreeMap::from([("x".to_string(), array)])).unwrap();
    };
    write(&[20, 3, 5, 7], &planes);
    assert!(said(&["eval", path(&at), "--data", &data]).contains("Frechet distance"));
    write(&[20, 5, 7, 3], &mixed);
    refused(
        &["eval", path(&at), "--data", &data],
        &[
            "[20, 5, 7, 3]",
            "(n, height, width, channels)",
            "transpose(0, 3, 1, 2)",
        ],
    );
    write(&[20, 3, 7, 5], &planes);
    refused(
        &["eval", path(&at), "--data", &data],
        &["(n, channels, width, height)"],
    );
}

fn case(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/cases/pictures")
        .join(name);
    format!("png:{}", folder.display())
}

/// Catches a hidden file that is read as a picture, a transparent colour that is ignored, and a
/// single picture that is refused in words about a share.
#[test]
fn folders_of_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let small = [
        "--base",
        "16",
        "--mult",
        "1",
        "--blocks",
        "1",
        "--embedding",
        "32",
        "--batch",
        "4",
        "--steps",
        "1",
        "--save-every",
        "1",
    ];
    let train = |data: &str| -> Vec<String> {
        ["train", "--data", data, "--out", path(&out)]
            .iter()
            .chain(&small)
            .map(|s| (*s).to_string())
            .collect()
    };
    let refuse = |data: &str, words: &[&str]| {
        let args = train(data);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), words);
        assert!(!out.exists(), "{data}: something is left");
    };
    refuse(
        &case("22-one-image"),
        &["22-one-image", "single image", "at least 2"],
    );
    refuse(
        &case("27-trns"),
        &["000.png", "transparent", "grey or RGB of 8 bits"],
    );
    let args = train(&case("23-appledouble"));
    said(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(out.join("checkpoint.safetensors").is_file());
}
