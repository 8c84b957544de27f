//! What is right in one row of an entry: the number that a verdict was about.

use super::answers::{Answer, Answers, Entry};
use super::compare::{as_rows, some_rows};
use crate::error::{Error, Result, shown};
use crate::files::Array;
use crate::truth::predict::{Inputs, Model, outputs, predict, rows};
use std::collections::BTreeMap;

/// One row of an entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The row's inputs.
    pub inputs: BTreeMap<String, Array>,
    /// The row's outputs.
    pub outputs: Vec<Output>,
}

/// One output in one row.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What was answered, where it was.
    pub answered: Option<Vec<f64>>,
    /// What is right, or why that cannot be said.
    pub right: Result<Vec<f64>>,
}

/// The entry called `id`.
///
/// # Errors
/// There is none.
pub fn entry<'a>(answers: &'a Answers, id: &str) -> Result<&'a Entry> {
    answers.entries.iter().find(|e| e.id == id).ok_or_else(|| {
        let some: Vec<String> = answers
            .entries
            .iter()
            .take(3)
            .map(|e| shown(&e.id).to_string())
            .collect();
        Error::parameter(
            "entry",
            shown(id),
            format!(
                "the id of an entry of this file, such as {}",
                some.join(", ")
            ),
        )
    })
}

/// Row number `row` of an entry: answers and truth of its outputs, or of all outputs that the
/// quantity has where none was given.
///
/// # Errors
/// No such row; a process that cannot be built.
pub fn row(e: &Entry, row: usize) -> Result<Row> {
    let e = as_rows(e);
    let n = rows(
        &e.quantity,
        &e.inputs.iter().map(|(k, v)| (k.clone(), v)).collect(),
    );
    if row >= n {
        return Err(Error::parameter(
            "row",
            row,
            format!("less than {n}, the number of rows of {}", shown(&e.id)),
        ));
    }
    let model = Model::new(&e.config)?;
    let inputs = some_rows(&e, &[row]);
    let given: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    let answered = |name: &str| match &e.answer {
        Answer::Given(all) => all.get(name).map(|a| {
            let width = a.data.len() / n;
            a.data
                .get(row * width..(row + 1) * width)
                .unwrap_or(&[])
                .to_vec()
        }),
        _ => None,
    };
    let names: Vec<String> = match &e.answer {
        Answer::Given(all) => all.keys().cloned().collect(),
        _ => outputs(&e.quantity, model.channels()),
    };
    // in the file's own order of channels
    let turned = |name: &str, ours: Vec<f64>| {
        let mut own = ours.clone();
        ours.iter()
            .enumerate()
            .for_each(|(c, x)| own[e.own_column(name, c, ours.len())] = *x);
        own
    };
    let outputs = names
        .into_iter()
        .map(|name| {
            let right = predict(&e.quantity, &model, &given, &name)
                .map(|(cells, _)| cells.iter().map(|c| c.truth.to_f64()).collect());
            let right = right.map(|x: Vec<f64>| turned(&name, x));
            Output {
                answered: answered(&name).map(|x| turned(&name, x)),
                name: e.own_output(&name),
                right,
            }
        })
        .collect();
    Ok(Row {
        inputs: e.own_row(inputs),
        outputs,
    })
}
