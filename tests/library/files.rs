//! Hostile bytes: whatever a file holds, reading it ends in numbers within the limits or in one
//! sentence.

use cld_sgm::internal::files::json::parse_json_within;
use cld_sgm::internal::files::limits::text_of;
use cld_sgm::internal::files::{Archive, Limits};
use proptest::prelude::*;
use std::io::Write;

const LIMITS: Limits = Limits {
    memory: 1 << 20,
    text: 1 << 16,
};

fn npy(descr: &str, order: &str, shape: &str, data: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend((0..data).map(|i| i as u8));
    out
}

fn zip_of(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    let method = if packed {
        zip::CompressionMethod::Deflated
    } else {
        zip::CompressionMethod::Stored
    };
    for (name, bytes) in members {
        zip.start_file(
            *name,
            zip::write::SimpleFileOptions::default().compression_method(method),
        )
        .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Every kind of array, packed and not.
fn example(packed: bool) -> Vec<u8> {
    let members = [
        ("a.npy", npy("<f8", "False", "(2, 3)", 48)),
        ("b.npy", npy(">f4", "True", "(2, 3)", 24)),
        ("c", npy("<f2", "False", "(5,)", 10)),
        ("d.npy", npy("|V2", "False", "()", 2)),
        ("e.npy", npy("|b1", "False", "(3, 0)", 0)),
        ("f.npy", npy("<i8", "False", "(1,)", 8)),
        ("g.npy", npy("|i1", "False", "(60000,)", 60_000)),
        ("text.txt", b"no array".to_vec()),
    ];
    zip_of(&members, packed)
}

/// Reads all that a file lets be read; how many arrays that are, and what they hold.
fn read(file: &std::path::Path, bytes: &[u8]) -> (usize, u64) {
    std::fs::write(file, bytes).unwrap();
    let (mut count, mut held) = (0, 0);
    let one_sentence = |e: cld_sgm::Error| {
        let text = e.to_string();
        assert!(
            text.len() < 4000 && !text.contains(char::is_control),
            "{text:?}"
        );
    };
    match Archive::open(file, &LIMITS) {
        Ok(archive) => {
            for name in archive.names() {
                match archive.get(name) {
                    Ok(Some(a)) => {
                        assert_eq!(a.shape.iter().product::<usize>(), a.data.len());
                        (count, held) = (count + 1, held + 8 * a.data.len() as u64);
                    }
                    Ok(None) => panic!("`{name}` is listed and not there"),
                    Err(e) => one_sentence(e),
                }
            }
        }
        Err(e) => one_sentence(e),
    }
    assert!(held <= LIMITS.memory, "{held} bytes are held");
    (count, held)
}

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(u16, u8),
    Cut(u16),
    Insert(u16, Vec<u8>),
    Copy(u16, u16, u8),
    Size(u16, u32),
    Words(u16, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let words = [
        "'shape'",
        "(9, 9)",
        "4294967296",
        "'<f8'",
        "|O",
        "True",
        "\x1b[2J",
        "a.npy",
        "PK\x05\x06",
        "18446744073709551616",
        "((((",
        "L",
    ];
    prop_oneof![
        4 => (any::<u16>(), any::<u8>()).prop_map(|(i, b)| Change::Set(i, b)),
        1 => any::<u16>().prop_map(Change::Cut),
        1 => (any::<u16>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(i, b)| Change::Insert(i, b)),
        1 => (any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
        2 => (any::<u16>(), prop_oneof![Just(u32::MAX), Just(1 << 31), any::<u32>(), 0..100u32]).prop_map(|(i, n)| Change::Size(i, n)),
        2 => (any::<u16>(), prop::sample::select(words.to_vec())).prop_map(|(i, w)| Change::Words(i, w)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let at = |i: u16, len: usize| usize::from(i) * len / 65536;
    let over = |bytes: &mut Vec<u8>, i: usize, new: &[u8]| {
        for (to, from) in bytes.iter_mut().skip(i).zip(new) {
            *to = *from;
        }
    };
    let len = bytes.len();
    match change {
        Change::Set(i, b) => over(bytes, at(*i, len), &[*b]),
        Change::Cut(i) => bytes.truncate(at(*i, len)),
        Change::Insert(i, new) => drop(bytes.splice(at(*i, len)..at(*i, len), new.iter().copied())),
        Change::Copy(a, b, n) => {
            let from: Vec<u8> = bytes
                .iter()
                .skip(at(*a, len))
                .take(usize::from(*n))
                .copied()
                .collect();
            over(bytes, at(*b, len), &from);
        }
        Change::Size(i, n) => over(bytes, at(*i, len), &n.to_le_bytes()),
        Change::Words(i, w) => over(bytes, at(*i, len), w.as_bytes()),
    }
}

fn cases(n: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(n);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Catches a panic, a limit that is passed, an endless sentence or one with control characters,
/// whatever the bytes of an archive: 4000 archives of all kinds of arrays, each with up to six
/// changes. Whole ones are read whole.
#[test]
fn archives_of_any_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.npz");
    let wholes = [example(false), example(true)];
    for whole in &wholes {
        assert_eq!(read(&file, whole), (7, 8 * (6 + 6 + 5 + 1 + 1 + 60_000)));
    }
    // the large member aside, so that most changes hit a header
    let small = zip_of(
        &[
            ("a.npy", npy("<f8", "False", "(2, 3)", 48)),
            ("b", npy("<f2", "True", "(2, 2)", 8)),
        ],
        false,
    );
    let mut runner = proptest::test_runner::TestRunner::new(cases(4000));
    let strategy = (0..4usize, prop::collection::vec(change(), 1..6));
    let run = runner.run(&strategy, |(which, changes)| {
        let mut bytes = wholes.get(which).unwrap_or(&small).clone();
        changes.iter().for_each(|c| apply(&mut bytes, c));
        read(&file, &bytes);
        Ok(())
    });
    run.unwrap();
}

/// Catches a panic or a limit that is passed, whatever an array's header says: 4000 headers behind
/// a right checksum, where changed bytes of an archive would be refused for that alone.
#[test]
fn headers_of_any_text() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.npz");
    let mut runner = proptest::test_runner::TestRunner::new(cases(4000));
    let descr = prop_oneof![
        Just("<f8".to_string()),
        Just("|V2".into()),
        Just(">i2".into()),
        Just("|i1".into()),
        ".{0,6}"
    ];
    let size = prop_oneof![
        0..20u64,
        Just(1 << 17),
        Just(1 << 32),
        Just(1 << 61),
        Just(u64::MAX),
        any::<u64>()
    ];
    let shape = prop::collection::vec(size, 0..4);
    let strategy = (
        descr,
        any::<bool>(),
        shape,
        0..2000usize,
        prop::collection::vec(change(), 0..3),
        any::<bool>(),
    );
    let mut read_whole = 0;
    let run = runner.run(
        &strategy,
        |(descr, fortran, shape, data, changes, packed)| {
            let dims: String = shape.iter().map(|d| format!("{d},")).collect();
            let mut member = npy(
                &descr,
                if fortran { "True" } else { "False" },
                &format!("({dims})"),
                data,
            );
            changes.iter().for_each(|c| apply(&mut member, c));
            read(&file, &zip_of(&[("a.npy", member)], packed));
            Ok(())
        },
    );
    run.unwrap();
    for n in [0, 1, 7] {
        let member = npy("<f8", "False", &format!("({n},)"), 8 * n);
        read_whole += read(&file, &zip_of(&[("a.npy", member)], true)).0;
    }
    assert_eq!(read_whole, 3);
}

/// Catches a panic, a stack that overflows or memory beyond the limit, whatever a text holds: 4000
/// texts, of JSON's pieces and of any bytes.
#[test]
fn texts_of_any_bytes() {
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        "\"a\":",
        ",",
        "1e999",
        "NaN",
        "-Infinity",
        "\"\\ud800\"",
        "null",
        "0.1",
        "\u{feff}",
        "\"",
        "\n",
        " ",
    ];
    let pieces = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..200)
        .prop_map(|p| p.concat().into_bytes());
    let strategy = prop_oneof![pieces, prop::collection::vec(any::<u8>(), 0..200)];
    let mut runner = proptest::test_runner::TestRunner::new(cases(4000));
    let run = runner.run(&strategy, |bytes| {
        let read =
            text_of(&bytes[..], "a", &LIMITS).and_then(|t| parse_json_within(&t, "a", &LIMITS));
        if let Err(e) = read {
            let text = e.to_string();
            prop_assert!(
                text.len() < 2000 && !text.contains(char::is_control),
                "{:?}",
                text
            );
        }
        Ok(())
    });
    run.unwrap();
    assert!(parse_json_within(&"[".repeat(60_000), "a", &LIMITS).is_err());
}
