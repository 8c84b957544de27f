//! A Python test file with frozen vectors, for repositories that cannot take a dependency: it needs
//! pytest and the code under test alone.
//!
//! Every value comes with its condition, so that the file judges by the rule of `cld check`:
//! `|y - y*| <= 16 u (|y*| + condition)`.

use super::generate::{Request, configurations, questions};
use crate::check::answers::{Answer, Entry};
use crate::check::compare::{UNITS, right};
use crate::error::{Error, Result};
use crate::files::write::stage;
use crate::files::{Array, Lock, Precision};
use crate::truth::config::Config;
use crate::truth::predict::{Model, quantity};
use crate::truth::quantity::LawOf;
use crate::truth::reader::{SETTINGS, setting_key};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// What an implementation of CLD has: written unless suites, or quantities, are asked for.
const SUITES: &[&str] = &[
    "schedule", "process", "kernel", "perturb", "density", "score", "loss", "step",
];
/// Rows of an entry at most, from the earliest time to the latest: enough for every range of time,
/// and a file that can be read.
const ROWS: usize = 6;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Number of entries, each a test.
    pub entries: usize,
    /// Number of expected values.
    pub values: usize,
    /// Size of the file.
    pub bytes: usize,
}

/// Writes the test file. `request` as for [`generate`](super::generate::generate), but for
/// processes and suites that are not named: then it is cld, with the suites that an implementation
/// of it has. Rows at times before `t_min` are left out.
///
/// # Errors
/// A process, a suite or a pattern that does not exist, or together ask for nothing; a file that is
/// there already (its adapter may be someone's work), or cannot be written. Then nothing is
/// written.
pub fn write(
    file: &Path,
    request: &Request,
    t_min: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Written> {
    if !(0.0..1.0).contains(&t_min) {
        return Err(Error::parameter(
            "t-min",
            t_min.to_string(),
            "0 <= t-min < 1",
        ));
    }
    request.check()?;
    free(file)?;
    let (text, mut written) = vectors(request, t_min, progress)?;
    if written.entries == 0 {
        return Err(Error::parameter(
            "process, suite, only and t-min",
            "no entries",
            "a combination that exists",
        ));
    }
    let whole = TEMPLATE
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@UNITS@", &format!("{UNITS}"))
        .replace("@VECTORS@", text.trim_end());
    written.bytes = whole.len();
    let staged = stage(file, |f| f.write_all(whole.as_bytes()))?;
    let folder = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let _lock = Lock::new(folder)?;
    free(file)?;
    staged.commit()?;
    Ok(written)
}

/// Refuses a file that is there already.
fn free(file: &Path) -> Result<()> {
    if file.exists() {
        return Err(Error::Io {
            path: file.display().to_string(),
            problem: "is there already, and its adapter may have been edited; allowed: a new file"
                .into(),
        });
    }
    Ok(())
}

/// The vectors as Python's source, and how many they are.
fn vectors(
    request: &Request,
    t_min: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(String, Written)> {
    let process = request
        .process
        .as_deref()
        .unwrap_or(crate::process::default_entry().name);
    let suites: Vec<String> = match (request.suites.is_empty(), request.only.is_empty()) {
        (false, _) => request.suites.clone(),
        (_, true) => SUITES.iter().map(|s| s.to_string()).collect(),
        _ => vec![],
    };
    let list: Vec<Json> = configurations()
        .into_iter()
        .map(|(object, _)| object)
        .collect();
    let (mut text, mut written) = (
        String::new(),
        Written {
            entries: 0,
            values: 0,
            bytes: 0,
        },
    );
    let mut said = BTreeSet::new();
    for (i, object) in list.iter().enumerate() {
        progress(i, list.len());
        let config = Config::from_answers(object)?;
        if config.entry.name != process {
            continue;
        }
        for question in questions(&config, &suites, request.seed, i)?
            .into_iter()
            .filter(|q| request.selects(q.quantity))
        {
            if !depends(question.quantity) && !said.insert(law(question.quantity, &config)) {
                continue;
            }
            let inputs = some(question.quantity, question.inputs, t_min);
            let entry = Entry {
                id: question.id,
                quantity: question.quantity.into(),
                config: config.clone(),
                inputs,
                answer: Answer::Missing,
            };
            if let Some(values) = vector(&entry, object, &mut text)? {
                written.entries += 1;
                written.values += values;
            }
        }
    }
    progress(list.len(), list.len());
    Ok((text, written))
}

/// Whether a quantity depends on objective or gamma; one that does not comes once.
fn depends(name: &str) -> bool {
    let law = quantity(name).map(|q| q.law);
    !matches!(law, Some(LawOf::None | LawOf::Nothing))
}

/// A quantity of a process under a schedule, whatever the objective.
fn law(quantity: &str, config: &Config) -> String {
    format!("{quantity} {:?} {:?}", config.params, config.schedule)
}

/// Rows at `t_min` or later, [`ROWS`] of them at most, from end to end.
fn some(quantity: &str, inputs: BTreeMap<String, Array>, t_min: f64) -> BTreeMap<String, Array> {
    let lead = crate::truth::predict::leading(quantity);
    let Some(n) = inputs.get(lead).and_then(|a| a.shape.first().copied()) else {
        return inputs;
    };
    // runs and the like have rows of several kinds: those stay whole
    let by_row = |name: &str| {
        !crate::truth::reverse::whole_array(name)
            && !SETTINGS.iter().any(|s| setting_key(s.name) == name)
    };
    if inputs
        .iter()
        .any(|(name, a)| by_row(name) && a.shape.first() != Some(&n))
    {
        return inputs;
    }
    let late: Vec<usize> = (0..n)
        .filter(|i| inputs.get("t").is_none_or(|t| t.data[*i] >= t_min))
        .collect();
    let count = late.len().min(ROWS);
    let rows: Vec<usize> = (0..count)
        .map(|i| {
            late[if count > 1 {
                i * (late.len() - 1) / (count - 1)
            } else {
                0
            }]
        })
        .collect();
    inputs
        .iter()
        .map(|(name, a)| {
            (
                name.clone(),
                if by_row(name) {
                    a.rows(&rows)
                } else {
                    a.clone()
                },
            )
        })
        .collect()
}

/// Appends one vector, unless it has no rows; the number of its values.
fn vector(entry: &Entry, object: &Json, out: &mut String) -> Result<Option<usize>> {
    let lead = crate::truth::predict::leading(&entry.quantity);
    if entry.inputs.get(lead).is_some_and(|a| a.data.is_empty()) {
        return Ok(None);
    }
    let (outputs, values) = outputs_of(entry)?;
    if values == 0 {
        return Ok(None);
    }
    let _ = writeln!(out, "    {{\n        \"id\": {},", quoted(&entry.id));
    let _ = writeln!(
        out,
        "        \"quantity\": {},\n        \"process\": {},",
        quoted(&entry.quantity),
        python(object)
    );
    let mut settings = serde_json::Map::new();
    out.push_str("        \"inputs\": {\n");
    for (name, a) in &entry.inputs {
        if let Some(s) = SETTINGS.iter().find(|s| setting_key(s.name) == *name) {
            let value = a.data[0];
            let said = match s.words {
                [] => json!(value),
                ["false", "true"] => json!(value == 1.0),
                words => json!(words[value as usize]),
            };
            settings.insert(s.name.to_string(), said);
        } else {
            let _ = writeln!(
                out,
                "            {}: {},",
                quoted(name),
                nested(&a.data, &a.shape)
            );
        }
    }
    let _ = writeln!(
        out,
        "        }},\n        \"settings\": {},\n        \"outputs\": {{\n{outputs}        }},\n    }},",
        python(&settings.into())
    );
    Ok(Some(values))
}

/// The expected outputs as Python's source, and the number of their values.
fn outputs_of(entry: &Entry) -> Result<(String, usize)> {
    let channels = Model::new(&entry.config)?.channels();
    let (mut out, mut values) = (String::new(), 0);
    let Some(q) = quantity(&entry.quantity) else {
        return Ok((out, 0));
    };
    for name in q.outputs.names(channels) {
        // one table of tolerances for both types: the wider condition
        let found = right(entry, &name, Precision::F32)?;
        let Some(last) = found.rows.last() else {
            continue;
        };
        values += found.values.len();
        let _ = writeln!(out, "            {}: {{", quoted(&name));
        if found.rows.len() != last + 1 || found.rows.first() != Some(&0) {
            let _ = writeln!(out, "                \"rows\": {:?},", found.rows);
        }
        let shape = [found.rows.len(), found.columns];
        let _ = writeln!(
            out,
            "                \"values\": {},",
            nested(&found.values, &shape)
        );
        // a few digits will do for what is multiplied by units of roundoff: rounded up, as it
        // allows
        let short: Vec<String> = found.condition.iter().map(|c| number(*c, true)).collect();
        let _ = writeln!(
            out,
            "                \"condition\": [{}],",
            short.join(", ")
        );
        out.push_str("            },\n");
    }
    Ok((out, values))
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// JSON as Python writes it.
fn python(value: &Json) -> String {
    match value {
        Json::Null => "None".into(),
        Json::Bool(b) => if *b { "True" } else { "False" }.into(),
        Json::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{}: {}", quoted(k), python(v)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Json::Array(list) => format!(
            "[{}]",
            list.iter().map(python).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}

/// The shortest digits that read back the same; or three, rounded up.
fn number(x: f64, short: bool) -> String {
    if x.is_nan() {
        "nan".into()
    } else if x.is_infinite() {
        if x > 0.0 { "inf" } else { "-inf" }.into()
    } else if short {
        format!("{:.2e}", x * 1.005)
    } else if x == 0.0 || (1e-4..1e6).contains(&x.abs()) {
        format!("{x:?}")
    } else {
        format!("{x:e}")
    }
}

/// Rows as nested lists.
fn nested(data: &[f64], shape: &[usize]) -> String {
    match shape {
        [] => data.first().map_or("0.0".into(), |x| number(*x, false)),
        [_] | [_, 1] => format!(
            "[{}]",
            data.iter()
                .map(|x| number(*x, false))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        [n, rest @ ..] => {
            let width = data.len() / (*n).max(1);
            format!(
                "[{}]",
                data.chunks(width.max(1))
                    .map(|row| nested(row, rest))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

const TEMPLATE: &str = include_str!("pytest.py");
