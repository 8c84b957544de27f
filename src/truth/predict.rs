//! Every quantity, and the truth for any of them: what each should be, by the generic route in
//! double words.

use super::quantity::{At, Quantity, Truth};
use super::reader::Reader;
use super::{
    discrete, flow, grid, kernel, likelihood, loss, prior, process, sampler, schedule, score,
    simulate,
};
use crate::error::{Error, Result};

pub use super::cell::Cell;
pub use super::model::Model;
pub(crate) use super::model::{Given, Laws};
pub use super::reader::{CHANNELS, Inputs, SETTINGS, Setting, setting_key};
pub(crate) use super::reader::{digits, pair};

/// The families, in the order of reports.
const FAMILIES: &[&[Quantity]] = &[
    schedule::ROWS,
    grid::ROWS,
    process::ROWS,
    prior::ROWS,
    kernel::ROWS,
    simulate::ROWS,
    score::ROWS,
    loss::ROWS,
    sampler::ROWS,
    discrete::ROWS,
    flow::ROWS,
    likelihood::ROWS,
];

const COUNT: usize = {
    let (mut n, mut i) = (0, 0);
    while i < FAMILIES.len() {
        n += FAMILIES[i].len();
        i += 1;
    }
    n
};

const JOINED: [Quantity; COUNT] = {
    let mut all = [FAMILIES[0][0]; COUNT];
    let (mut n, mut i) = (0, 0);
    while i < FAMILIES.len() {
        let mut j = 0;
        while j < FAMILIES[i].len() {
            all[n] = FAMILIES[i][j];
            n += 1;
            j += 1;
        }
        i += 1;
    }
    all
};

/// Every quantity that can be judged. `s`, where given, makes a kernel the transition over
/// `[s, t]`.
pub static QUANTITIES: &[Quantity] = &JOINED;

/// Further quantities of these kinds, which later versions will judge: named in reports, never
/// silently skipped.
pub const NOT_YET: &[&str] = &["sampler.", "loss.", "score.", "likelihood."];

/// The quantity called `name`. In names hyphens and underscores are the same.
pub fn quantity(name: &str) -> Option<&'static Quantity> {
    let found = QUANTITIES.iter().find(|q| q.name == name);
    found.or_else(|| QUANTITIES.iter().find(|q| spelt_alike(q.name, name)))
}

/// Whether two names of quantities, or parts of them, differ in hyphens and underscores alone.
pub fn spelt_alike(a: &str, b: &str) -> bool {
    let plain = |c: char| if c == '-' { '_' } else { c };
    a.chars().map(plain).eq(b.chars().map(plain))
}

/// The quantities that `name` is made from; empty for one that is not known.
pub fn made_from(name: &str) -> &'static [&'static str] {
    quantity(name).map_or(&[], |q| q.made_from)
}

/// Standard names of a quantity's outputs for `k` channels, as `cld vectors` writes them.
pub fn outputs(name: &str, k: usize) -> Vec<String> {
    quantity(name).map_or(vec![], |q| q.outputs.names(k))
}

/// The array whose rows are the rows of a quantity.
pub fn leading(name: &str) -> &'static str {
    quantity(name).map_or("t", |q| q.leads)
}

/// Number of rows that these inputs have for a quantity.
pub fn rows(name: &str, inputs: &Inputs<'_>) -> usize {
    inputs
        .get(leading(name))
        .map_or(0, |a| a.shape.first().copied().unwrap_or(a.data.len()))
}

/// Whether a process has what the quantity needs.
///
/// # Errors
/// What is missing.
pub fn fits(q: &Quantity, model: &Model) -> Result<()> {
    if (q.processes.fit)(model) {
        return Ok(());
    }
    Err(Error::parameter(
        "quantity",
        format!("`{}` for process `{}`", q.name, model.process().name()),
        q.processes.words,
    ))
}

/// The truth for one output of a quantity, row-major over (rows, columns), and the number of
/// columns.
///
/// # Errors
/// A quantity that is not known, or that the process has not; inputs missing, of the wrong shape or
/// not finite; times outside `[0, 1]`; an output the quantity has not.
pub fn predict(
    name: &str,
    model: &Model,
    inputs: &Inputs<'_>,
    output: &str,
) -> Result<(Vec<Cell>, usize)> {
    let q = quantity(name).ok_or_else(|| {
        let all: Vec<_> = QUANTITIES.iter().map(|q| q.name).collect();
        Error::parameter("quantity", format!("`{name}`"), all.join(", "))
    })?;
    let k = model.channels();
    let unknown = || {
        Error::parameter(
            format!("outputs.{output}"),
            "unknown",
            format!("outputs of {name}: {}", outputs(name, k).join(", ")),
        )
    };
    fits(q, model)?;
    let read = Reader {
        inputs,
        n: rows(name, inputs),
    };
    let each = match q.truth {
        Truth::All(all) => return all(model, &read, output)?.ok_or_else(unknown),
        Truth::Kernel(each) => each,
    };
    let (t, s) = read.interval(model)?;
    let std = read
        .data()?
        .filter(|_| q.optional.contains(&"data"))
        .map(|[_, std]| std);
    let (mut cells, mut columns) = (Vec::new(), 1);
    for (r, (&t, &s)) in t.iter().zip(&s).enumerate() {
        let row = std.map_or_else(|| model.row(s, t), |std| model.row_of_data(s, t, std))?;
        let (more, width) = each(
            &At {
                model,
                row: &row,
                read: &read,
                r,
                t,
                k,
            },
            output,
        )?
        .ok_or_else(unknown)?;
        columns = width;
        cells.extend(more);
    }
    Ok((cells, columns))
}
