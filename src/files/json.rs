//! JSON without names given twice, of no more values than memory is allowed for.

use super::broken;
use super::limits::Limits;
use super::write::write_whole;
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use std::cell::Cell;
use std::fmt;
use std::path::Path;

/// Text to JSON, refusing an object that has a key twice (the last would win in silence). No more
/// values than the default [`Limits`] have memory for.
///
/// # Errors
/// Not JSON (the message says line and column), a key twice, too many values.
pub fn parse_json(text: &str, file: &str) -> Result<Json> {
    parse_json_within(text, file, &Limits::default())
}

/// The same within other limits.
///
/// # Errors
/// As [`parse_json`].
pub fn parse_json_within(text: &str, file: &str, limits: &Limits) -> Result<Json> {
    let left = Cell::new(limits.memory);
    let mut from = serde_json::Deserializer::from_str(text);
    let read = Unique {
        left: &left,
        limits,
    }
    .deserialize(&mut from)
    .and_then(|v| from.end().map(|()| v));
    read.map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        // the word at the place, which the parser may be some letters into
        let line = text.lines().nth(e.line().saturating_sub(1)).unwrap_or("").as_bytes();
        let at = e.column().saturating_sub(1).min(line.len());
        let start = at - line[..at].iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
        let word: Vec<u8> = line[start..].iter().take_while(|b| b.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
        let remedy = if [&b"nan"[..], b"inf", b"infinity"].contains(&&word[..]) {
            "; numbers that are not finite are written as the strings \"NaN\", \"Infinity\", \"-Infinity\""
        } else {
            ""
        };
        // the place is said already
        let problem = e.to_string();
        let problem = problem.split(" at line ").next().unwrap_or("");
        broken(file, &place, format!("{problem}{remedy}"))
    })
}

/// Writes JSON to `file`, whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write_json(file: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Io {
        path: file.display().to_string(),
        problem: e.to_string(),
    })?;
    write_whole(file, (text + "\n").as_bytes())
}

/// Reads JSON whose objects have no key twice, and counts what it holds.
#[derive(Clone, Copy)]
struct Unique<'a> {
    left: &'a Cell<u64>,
    limits: &'a Limits,
}

impl Unique<'_> {
    /// Takes what a value and a text of this length hold from what is left.
    fn hold<E: serde::de::Error>(&self, text: usize) -> std::result::Result<(), E> {
        let needed = (size_of::<Json>() + text) as u64;
        match self.left.get().checked_sub(needed) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom(format!(
                "its values need {}",
                self.limits
                    .too_much(self.limits.memory.saturating_add(needed))
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<Json, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Json;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: serde::de::Error>(self, v: bool) -> std::result::Result<Json, E> {
        self.hold(0).map(|()| v.into())
    }
    fn visit_i64<E: serde::de::Error>(self, v: i64) -> std::result::Result<Json, E> {
        self.hold(0).map(|()| v.into())
    }
    fn visit_u64<E: serde::de::Error>(self, v: u64) -> std::result::Result<Json, E> {
        self.hold(0).map(|()| v.into())
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> std::result::Result<Json, E> {
        self.hold(0).map(|()| v.into())
    }
    fn visit_str<E: serde::de::Error>(self, v: &str) -> std::result::Result<Json, E> {
        self.hold(v.len()).map(|()| v.into())
    }
    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Json, E> {
        self.hold(0).map(|()| Json::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> std::result::Result<Json, A::Error> {
        self.hold(0)?;
        let mut list = Vec::new();
        while let Some(v) = a.next_element_seed(self)? {
            list.push(v);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> std::result::Result<Json, A::Error> {
        self.hold(0)?;
        let mut map = Map::new();
        while let Some(key) = a.next_key::<String>()? {
            self.hold(key.len())?;
            let v = a.next_value_seed(self)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the name `{key}` twice in one object; names must be unique"
                )));
            }
            map.insert(key, v);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a limit that counts the text and not what becomes of it: many small values are many
    /// times their text.
    #[test]
    fn values_are_counted() {
        let text = format!("[{}0]", "[],".repeat(10_000));
        let limits = |memory| Limits {
            memory,
            ..Limits::default()
        };
        assert!(parse_json_within(&text, "a", &limits(1 << 24)).is_ok());
        let e = parse_json_within(&text, "a", &limits(100_000))
            .unwrap_err()
            .to_string();
        assert!(e.contains("--max-memory"), "{e}");
        assert!(parse_json(&"[".repeat(100_000), "a").is_err());
    }

    /// Catches a refusal of NaN that does not say how to write it.
    #[test]
    fn bare_nan_has_a_remedy() {
        for text in [
            "[1.0, NaN]",
            "{\"a\":\n [Infinity]}",
            "[-Infinity]",
            "[nan]",
        ] {
            let e = parse_json(text, "a").unwrap_err().to_string();
            assert!(e.contains("\"NaN\""), "{text}: {e}");
        }
        assert!(
            !parse_json("[1.0, ]", "a")
                .unwrap_err()
                .to_string()
                .contains("NaN")
        );
    }
}
