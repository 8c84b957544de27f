//! TOML texts.

use super::broken;
use crate::error::Result;
use serde::de::DeserializeOwned;

/// What a text says; `file` is for messages.
///
/// # Errors
/// What is no TOML; a field that is unknown or of another type: the message has the line.
pub fn parse_toml<T: DeserializeOwned>(text: &str, file: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let line = e
            .span()
            .and_then(|s| text.as_bytes().get(..s.start))
            .map(|t| t.iter().filter(|b| **b == b'\n').count() + 1);
        let place = line.map(|l| format!("line {l}")).unwrap_or_default();
        broken(file, &place, e.message().trim_end())
    })
}
