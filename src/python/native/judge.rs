//! Test inputs for a process, and the verdict on what a user's code made of them, without a file.

use crate::process::Process;
use crate::{look_for_signals, refused, without_lock};
use cld_sgm::check::Class;
use cld_sgm::check::answers::{Answer, Answers, Entry};
use cld_sgm::check::page::page;
use cld_sgm::check::words::{Look, sum, text};
use cld_sgm::internal::files::{Array, Precision};
use cld_sgm::internal::truth::config::Config;
use cld_sgm::internal::truth::reader::{InVectors, SETTINGS, Setting, setting_key};
use cld_sgm::internal::vectors::generate;
use cld_sgm::{Error, Objective};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;

/// Id, suite, quantity, settings, inputs.
type Question<'py> = (
    String,
    &'static str,
    &'static str,
    Bound<'py, PyDict>,
    Bound<'py, PyDict>,
);

/// How many numbers of a configuration go through all that this question's settings are given in
/// vectors.
fn variants(q: &generate::Question) -> usize {
    let turns = |s: &Setting| match s.written {
        InVectors::ByTurns => s.words.len(),
        InVectors::Turns(values) => values.len(),
        InVectors::No | InVectors::Always(_) => 1,
    };
    SETTINGS
        .iter()
        .filter(|s| q.inputs.contains_key(&setting_key(s.name)))
        .map(turns)
        .max()
        .unwrap_or(1)
}

/// As kernels over [s, t] have it: without initial variance.
fn between(config: &Config) -> Config {
    Config {
        objective: Objective::DSM,
        ..config.clone()
    }
}

/// The questions that `cld vectors` asks, for this process.
#[pyfunction]
pub fn questions<'py>(
    py: Python<'py>,
    process: &Process,
    seed: u64,
) -> PyResult<Vec<Question<'py>>> {
    let config = &process.config;
    let all = without_lock(py, || {
        let mut all = Vec::new();
        for number in 0..3 {
            let mut list = generate::questions(config, &[], seed, number).map_err(refused)?;
            if config.objective != Objective::DSM {
                list.extend(
                    generate::questions(&between(config), &["transition".into()], seed, number)
                        .map_err(refused)?,
                );
            }
            all.extend(list.into_iter().filter(|q| number < variants(q)));
        }
        Ok(all)
    })?;
    all.into_iter()
        .map(|q| {
            let (settings, inputs) = (PyDict::new(py), PyDict::new(py));
            for (name, a) in &q.inputs {
                match SETTINGS
                    .iter()
                    .find(|s| setting_key(s.name) == *name)
                    .map(|s| (s.name, s.words))
                {
                    Some((field, [])) => settings.set_item(field, a.data[0])?,
                    Some((field, ["false", "true"])) => {
                        settings.set_item(field, a.data[0] == 1.0)?
                    }
                    Some((field, words)) => settings.set_item(field, words[a.data[0] as usize])?,
                    None => inputs.set_item(
                        name,
                        PyArray1::from_slice(py, &a.data).reshape(a.shape.clone())?,
                    )?,
                }
            }
            Ok((q.id, q.suite, q.quantity, settings, inputs))
        })
        .collect()
}

/// A setting's value as Python has it.
#[derive(FromPyObject)]
pub enum Value {
    Flag(bool),
    Number(f64),
    Word(String),
}

impl Value {
    /// As the judge has it: a word is its index among those that `field` may have.
    fn number(&self, field: &str) -> PyResult<f64> {
        let words = SETTINGS
            .iter()
            .find(|s| s.name == field)
            .map_or(&[][..], |s| s.words);
        match self {
            Value::Flag(b) => Ok(f64::from(u8::from(*b))),
            Value::Number(x) => Ok(*x),
            Value::Word(w) => words
                .iter()
                .position(|x| x == w)
                .map(|i| i as f64)
                .ok_or_else(|| {
                    refused(Error::parameter(
                        field.to_string(),
                        format!("`{w}`"),
                        words.join(", "),
                    ))
                }),
        }
    }
}

/// An answered question: id, quantity, settings, inputs, and outputs by name, each with the type
/// that it was computed in; or the words of the error that came instead.
#[derive(FromPyObject)]
pub struct Answered<'py> {
    id: String,
    quantity: String,
    settings: BTreeMap<String, Value>,
    inputs: BTreeMap<String, PyReadonlyArrayDyn<'py, f64>>,
    outputs: BTreeMap<String, (PyReadonlyArrayDyn<'py, f64>, String)>,
    raised: Option<String>,
    /// Of a kernel over [s, t].
    between: bool,
}

fn array(a: &PyReadonlyArrayDyn<'_, f64>, precision: Precision) -> PyResult<Array> {
    Ok(Array {
        shape: a.shape().to_vec(),
        data: a.as_slice()?.to_vec(),
        precision,
    })
}

fn precision(name: &str) -> PyResult<Precision> {
    Ok(match name {
        "float64" => Precision::F64,
        "float32" => Precision::F32,
        "float16" => Precision::F16,
        "bfloat16" => Precision::BF16,
        other => {
            return Err(refused(Error::parameter(
                "dtype",
                format!("`{other}`"),
                "float64, float32, float16, bfloat16",
            )));
        }
    })
}

/// The verdict on answers, in the words of `cld check`.
#[pyclass(frozen, module = "cld_sgm._native")]
pub struct Report(cld_sgm::check::Report);

#[pymethods]
impl Report {
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0)
            .map_err(|e| pyo3::exceptions::PyRuntimeError::new_err(e.to_string()))
    }

    /// The report and its last line, which is the verdict.
    fn text(&self, width: usize, plain: bool, full: bool, color: bool) -> (String, String) {
        let keep = |s: String| {
            if color && !plain {
                s
            } else {
                anstream::adapter::strip_str(&s).to_string()
            }
        };
        let (whole, verdict) = (
            keep(text(&self.0, Look { width, plain, full })),
            keep(sum(&self.0)),
        );
        let body = whole
            .trim_end()
            .strip_suffix(verdict.as_str())
            .unwrap_or(&whole)
            .trim_end()
            .to_string();
        (body, verdict)
    }

    fn page(&self) -> String {
        page(&self.0)
    }
}

/// The report on these answers. `title` is what stands above it, `file` what its commands name.
#[pyfunction]
pub fn judge(
    py: Python<'_>,
    process: &Process,
    implementation: String,
    names: (String, String),
    answered: Vec<Answered<'_>>,
    accept: Vec<String>,
) -> PyResult<Report> {
    let accept = accept
        .iter()
        .map(|c| match c.as_str() {
            "f64" => Ok(Class::F64),
            "f32" => Ok(Class::F32),
            "eps" => Ok(Class::Eps),
            other => Err(refused(Error::parameter(
                "accept",
                format!("`{other}`"),
                "f64, f32, eps",
            ))),
        })
        .collect::<PyResult<Vec<_>>>()?;
    let mut entries = Vec::with_capacity(answered.len());
    for a in answered {
        let mut inputs = BTreeMap::new();
        for (name, x) in &a.inputs {
            inputs.insert(name.clone(), array(x, Precision::F64)?);
        }
        for (field, x) in &a.settings {
            inputs.insert(
                setting_key(field),
                Array::new(vec![1], vec![x.number(field)?]).map_err(refused)?,
            );
        }
        let answer = match a.raised {
            Some(words) => Answer::Raised(words),
            None => {
                let outputs = a
                    .outputs
                    .iter()
                    .map(|(name, (x, p))| Ok((name.clone(), array(x, precision(p)?)?)));
                Answer::Given(outputs.collect::<PyResult<_>>()?)
            }
        };
        let config = if a.between {
            between(&process.config)
        } else {
            process.config.clone()
        };
        entries.push(Entry {
            id: a.id,
            quantity: a.quantity,
            config,
            inputs,
            answer,
        });
    }
    let (title, file) = names;
    let answers = Answers {
        file: file.into(),
        implementation,
        entries,
        unusable: Vec::new(),
        ignored: Vec::new(),
        not_yet: BTreeMap::new(),
    };
    without_lock(py, || {
        let report = cld_sgm::check::judge(&answers, &accept, &mut |_, _| look_for_signals())
            .map_err(refused)?;
        Ok(Report(cld_sgm::check::Report {
            file: title,
            ..report
        }))
    })
}

/// The table of mistakes that can be named.
#[pyfunction]
pub fn mistakes() -> String {
    cld_sgm::check::mistakes::table()
}
