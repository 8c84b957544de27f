//! The one error type of the crate: each variant names the field, the value and what is allowed.

use std::borrow::Cow;
use std::fmt;

/// Everything that can go wrong. Constructors and file readers return it; arithmetic after them
/// does not fail.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A parameter outside its range.
    Parameter {
        /// Name of the parameter, as the caller spelled it.
        name: Cow<'static, str>,
        /// The value that was given.
        value: String,
        /// What would have been allowed.
        allowed: Cow<'static, str>,
    },
    /// An array of the wrong shape.
    Shape {
        /// Name of the array.
        name: Cow<'static, str>,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that was needed.
        allowed: String,
    },
    /// A time, or a pair of times, outside what the operation is defined for.
    Time {
        /// Name of the time.
        name: Cow<'static, str>,
        /// The value that was given.
        value: f64,
        /// What would have been allowed.
        allowed: Cow<'static, str>,
    },
    /// A file that does not say what it should.
    Format {
        /// The file, or the part of the input.
        file: String,
        /// Where in it.
        place: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The covariance has no inverse in f64 (it underflows), so the object that needs it cannot be
    /// built.
    Degenerate {
        /// What was to be built.
        what: Cow<'static, str>,
        /// The reason, with figures.
        why: String,
    },
    /// A computation reached a value that is not finite.
    NonFinite {
        /// Step of the run.
        step: usize,
        /// Time of the step.
        t: f64,
    },
    /// A computation that would take longer than is allowed, given up.
    Unfinished {
        /// What was computed.
        what: Cow<'static, str>,
        /// The time that it had reached.
        t: f64,
        /// The reason, with figures.
        why: String,
    },
    /// The operating system refused a file operation.
    Io {
        /// The path.
        path: String,
        /// What was attempted, and the system's own words.
        problem: String,
    },
}

/// Short for `std::result::Result<T, cld_sgm::Error>`.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    #[cold]
    /// A parameter that is refused: its name, its value, and what is allowed.
    pub fn parameter(
        name: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        let plain = value.to_string();
        // a number of hundreds of digits is read better with its exponent
        let value = match plain.parse::<f64>() {
            Ok(x) if plain.len() > 24 => format!("{x:e}"),
            _ => plain,
        };
        Error::Parameter {
            name: name.into(),
            value,
            allowed: allowed.into(),
        }
    }

    #[cold]
    pub(crate) fn time(
        name: impl Into<Cow<'static, str>>,
        value: f64,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Error::Time {
            name: name.into(),
            value,
            allowed: allowed.into(),
        }
    }

    #[cold]
    pub(crate) fn shape(
        name: impl Into<Cow<'static, str>>,
        found: &[usize],
        allowed: impl Into<String>,
    ) -> Self {
        Error::Shape {
            name: name.into(),
            found: found.to_vec(),
            allowed: allowed.into(),
        }
    }
}

/// Longest value from a file that a message shows whole, in characters.
const VALUE: usize = 60;
/// Longest place, and longest sentence: a second net for values that are in them.
const PLACE: usize = 200;
const SENTENCE: usize = 1500;

/// `text` from a file or a command line, as it may stand on a terminal: control characters, escape
/// sequences and invisible or reordering ones are shown escaped, such as `\u{1b}`.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // quotes and backslashes do no harm
    for piece in text.split_inclusive(['\'', '"', '\\']) {
        let plain = piece.strip_suffix(['\'', '"', '\\']).unwrap_or(piece);
        out.extend(plain.escape_debug());
        out.push_str(&piece[plain.len()..]);
    }
    out
}

/// As [`escaped`], and no longer than a message can hold: of more than 60 characters the first are
/// shown, and how many there are.
pub fn shown(text: &str) -> String {
    escaped(&cut(text))
}

/// `text`, or its first 60 characters with an ellipsis and its length.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    shortened(text, VALUE)
}

/// `text`, or its begin and end with an ellipsis between them and its length.
fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most || text.chars().nth(most).is_none() {
        return text.into();
    }
    let count = text.chars().count();
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(i, _)| i);
    // the end of a sentence says what is allowed, that of a value says little
    let end = if most > PLACE { most / 3 } else { 0 };
    format!(
        "{}... ({count} characters){}",
        &text[..at(most - end)],
        &text[at(count - end)..]
    )
    .into()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| {
            escaped(
                &shortened(text, SENTENCE)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        let place = |text: &str| escaped(&shortened(text, PLACE));
        match self {
            Error::Parameter {
                name,
                value,
                allowed,
            } => {
                let value = match value.strip_prefix('`').and_then(|v| v.strip_suffix('`')) {
                    Some(v) => format!("`{}`", shown(v)),
                    None => escaped(&shortened(value, PLACE)),
                };
                write!(
                    f,
                    "parameter `{}` is {value}; allowed: {}",
                    place(name),
                    line(allowed)
                )
            }
            Error::Shape {
                name,
                found,
                allowed,
            } => {
                write!(
                    f,
                    "array `{}` has shape {}; allowed: {}",
                    place(name),
                    cut(&format!("{found:?}")),
                    line(allowed)
                )
            }
            Error::Time {
                name,
                value,
                allowed,
            } => write!(f, "time `{name}` is {value}; allowed: {allowed}"),
            Error::Format {
                file,
                place: at,
                problem,
            } if at.is_empty() => write!(f, "{}: {}", escaped(file), line(problem)),
            Error::Format {
                file,
                place: at,
                problem,
            } => write!(f, "{}: {}: {}", escaped(file), place(at), line(problem)),
            Error::Degenerate { what, why } => {
                write!(f, "{} does not exist in f64: {}", place(what), line(why))
            }
            Error::NonFinite { step, t } => {
                write!(f, "a value that is not finite at step {step}, time {t}")
            }
            Error::Unfinished { what, t, why } => write!(
                f,
                "{} is given up at t = {t:e}: {}",
                escaped(what),
                line(why)
            ),
            Error::Io { path, problem } => write!(f, "{}: {}", escaped(path), line(problem)),
        }
    }
}

impl std::error::Error for Error {}

/// Checks that `value` is finite and satisfies `ok`; else an [`Error::Parameter`] that names it.
pub(crate) fn check(
    name: &'static str,
    value: f64,
    ok: bool,
    allowed: &'static str,
) -> Result<f64> {
    if value.is_finite() && ok {
        Ok(value)
    } else {
        Err(Error::parameter(name, value, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches escape sequences, reordering and invisible characters that reach a terminal, a long
    /// value that buries its message, and plain text of any language that is spoilt.
    #[test]
    fn what_files_say_does_no_harm() {
        for plain in ["a 'b' \"c\" \\d", "Müller, 山田, Ψ", "e\u{301}"] {
            assert_eq!(escaped(plain), plain);
        }
        for harm in [
            "\u{1b}[31m",
            "a\r",
            "b\n",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{9b}",
            "\u{7}",
            "\u{feff}",
            "\u{2028}",
            "\u{e0041}",
        ] {
            for text in [
                escaped(harm),
                Error::parameter(harm.to_string(), harm, harm.to_string()).to_string(),
            ] {
                assert!(
                    text.is_ascii() && !text.contains(char::is_control),
                    "{text:?}"
                );
            }
        }
        let long = "é".repeat(100_000);
        assert_eq!(
            shown(&long),
            format!("{}... (100000 characters)", "é".repeat(60))
        );
        for e in [
            Error::parameter("x", format!("`{long}`"), "a number"),
            Error::parameter("x", &long, "a number"),
            Error::Format {
                file: "a".into(),
                place: long.clone(),
                problem: format!("holds {long}; allowed: a number"),
            },
        ] {
            let text = e.to_string();
            assert!(
                text.chars().count() < 2000 && text.ends_with("allowed: a number"),
                "{text}"
            );
        }
    }
}
