//! How much of a file may be held in memory, and the reading of texts within it.

use super::broken;
use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;

/// The most that is held in memory of what a file says. They count what is held, not what is on the
/// disk: 1 MB of packed zeros can be 8 GiB of f64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of numbers (8 for each, as f64), of headers and of JSON values, over all that is read
    /// of a file.
    pub memory: u64,
    /// Bytes of a text (JSON, TOML).
    pub text: u64,
}

impl Default for Limits {
    /// 4 GiB of numbers, 256 MiB of text.
    fn default() -> Limits {
        Limits {
            memory: 4 << 30,
            text: 256 << 20,
        }
    }
}

/// Factors of sizes, the longest names first.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// A size in words, such as `4GiB`, `1.5 GB` or plain bytes.
///
/// # Errors
/// Anything else, and sizes that are 0 or beyond 2^63.
pub fn bytes(text: &str) -> Result<u64> {
    let bad = || {
        Error::parameter(
            "size",
            format!("`{text}`"),
            "a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 4GiB",
        )
    };
    let low = text.trim().to_ascii_lowercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((low.strip_suffix(name)?, *unit)))
        .unwrap_or((&low, 1));
    let number = number.trim_end();
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let size = number.parse::<f64>().map_err(|_| bad())? * unit as f64;
    if size >= 1.0 && size < 2f64.powi(63) {
        Ok(size as u64)
    } else {
        Err(bad())
    }
}

/// A size in words: `4 GiB`, `1.5 MiB`, `12 bytes`.
pub fn words(bytes: u64) -> String {
    let (name, unit) = [
        ("TiB", 1u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ]
    .into_iter()
    .find(|(_, unit)| bytes >= *unit)
    .unwrap_or(("bytes", 1));
    let size = format!("{:.2}", bytes as f64 / unit as f64);
    format!(
        "{} {name}",
        size.trim_end_matches('0').trim_end_matches('.')
    )
}

impl Limits {
    /// The sentence for numbers that are too many; `needed` are the bytes with what is held
    /// already.
    pub(super) fn too_much(&self, needed: u64) -> String {
        format!(
            "{} of memory in all; --max-memory allows {}",
            words(needed),
            words(self.memory)
        )
    }
}

/// Reads a text file as UTF-8; a byte order mark at its start is skipped.
///
/// # Errors
/// A file that cannot be read, that is longer than the limit, or is not UTF-8 (the message says at
/// which byte).
pub fn read_text(path: &Path, limits: &Limits) -> Result<String> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| Error::Io {
        path: name.clone(),
        problem: format!("cannot be read: {e}"),
    })?;
    text_of(file, &name, limits)
}

/// The same from standard input or anything else that can be read; `name` is for messages.
///
/// # Errors
/// As [`read_text`].
pub fn text_of(from: impl Read, name: &str, limits: &Limits) -> Result<String> {
    let mut bytes = Vec::new();
    let read = from
        .take(limits.text.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|e| Error::Io {
        path: name.into(),
        problem: format!("cannot be read: {e}"),
    })?;
    if bytes.len() as u64 > limits.text {
        let problem = format!(
            "is a text of more than the {} that --max-text allows",
            words(limits.text)
        );
        return Err(broken(name, "", problem));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    String::from_utf8(bytes).map_err(|e| {
        let at = format!("byte {}", e.utf8_error().valid_up_to());
        broken(
            name,
            &at,
            if utf16 {
                "UTF-16; allowed: UTF-8 text"
            } else {
                "not UTF-8 text"
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a unit with another factor, and sizes that mean nothing.
    #[test]
    fn sizes() {
        for (text, size) in [
            ("4GiB", 4 << 30),
            ("4 gib", 4 << 30),
            ("1.5KiB", 1536),
            ("2MB", 2_000_000),
            ("12", 12),
            ("7b", 7),
            ("1e3", 1000),
        ] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1",
            "0",
            "nan",
            "inf",
            "1e300",
            "4 apples",
            "+1",
            "0x10",
            "16777216TiB",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(
            [words(4 << 30), words(1536), words(5)],
            ["4 GiB", "1.5 KiB", "5 bytes"]
        );
    }

    /// Catches a byte order mark that reaches a parser, a limit that is off by one, and a device
    /// without an end that is read to it.
    #[test]
    fn texts() {
        let limits = Limits {
            text: 5,
            ..Limits::default()
        };
        assert_eq!(text_of(&b"\xef\xbb\xbfab"[..], "a", &limits).unwrap(), "ab");
        assert_eq!(text_of(&b"abcde"[..], "a", &limits).unwrap(), "abcde");
        let refused = |bytes: &[u8]| text_of(bytes, "a", &limits).unwrap_err().to_string();
        assert!(refused(b"abcdef").contains("--max-text"));
        assert!(refused(b"ab\xff").contains("byte 2"));
        assert!(refused(b"\xff\xfea\0").contains("UTF-16"));
        assert!(text_of(std::io::repeat(b' '), "a", &limits).is_err());
    }
}
