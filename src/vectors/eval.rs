//! The calculator: kernels for a list of cases and times, as JSON in and out.

use crate::error::{Error, Result};
use crate::kernel::{KernelValues, kernel_values};
use crate::small::Square;
use crate::truth::config::Config;
use serde_json::{Map, Value as Json, json};

/// A matrix as nested lists.
fn nested(m: &Square) -> Json {
    Json::from(m.rows().map(|r| Json::from(r.to_vec())).collect::<Vec<_>>())
}

/// The kernel's values under the names of the reply: `mean`, `cov`, `chol_lower`, `chol_upper`,
/// `inv` (K x K), `det`, `logdet`, `ell`.
pub fn reply_row(v: &KernelValues) -> Map<String, Json> {
    let mut o = Map::new();
    for (name, m) in [
        ("mean", &v.mean),
        ("cov", &v.cov),
        ("chol_lower", &v.chol_lower),
        ("chol_upper", &v.chol_upper),
    ] {
        o.insert(name.into(), nested(m));
    }
    o.insert("det".into(), v.det.into());
    o.insert("logdet".into(), v.logdet.into());
    o.insert("inv".into(), nested(&v.inv));
    o.insert("ell".into(), v.ell.into());
    o
}

/// A place in a request that cannot be answered.
fn bad(file: &str, place: String, problem: impl Into<String>) -> Error {
    Error::Format {
        file: file.to_string(),
        place,
        problem: problem.into(),
    }
}

/// Answers a request: `cases[]` with `process`, `params`, `schedule`, `objective` and `rows[]` with
/// `t` (and `s`, for the transition over `[s, t]`). Other fields are ignored. The reply has the
/// same cases and rows, with the values of [`reply_row`] as JSON numbers that read back to the same
/// f64.
///
/// # Errors
/// Anything missing, unknown or out of range; the message names case, row and field.
pub fn evaluate(request: &Json, file: &str) -> Result<Json> {
    let Some(cases) = request.get("cases").and_then(Json::as_array) else {
        return Err(bad(
            file,
            "cases".into(),
            "missing; allowed: a list of cases",
        ));
    };
    let one = |(c, case): (usize, &Json)| reply_case(case, &format!("cases[{c}]"), file);
    let done: Vec<Json> = cases.iter().enumerate().map(one).collect::<Result<_>>()?;
    Ok(json!({"schema": "cld-values/1", "cases": done}))
}

/// The reply to the case at `place`.
fn reply_case(case: &Json, place: &str, file: &str) -> Result<Json> {
    let here = |what: &str| format!("{place}{what}");
    let text = |key: &str| {
        let word = case.get(key).and_then(Json::as_str);
        word.ok_or_else(|| bad(file, here(&format!(".{key}")), "missing; allowed: a string"))
    };
    let empty = Map::new();
    let params = match case.get("params") {
        None => &empty,
        Some(Json::Object(o)) => o,
        Some(other) => {
            return Err(bad(
                file,
                here(".params"),
                format!("is {other}; allowed: an object"),
            ));
        }
    };
    let schedule = case.get("schedule").ok_or_else(|| {
        bad(
            file,
            here(".schedule"),
            "missing; allowed: an object with `kind`",
        )
    })?;
    let config = Config::new(text("process")?, params, schedule, text("objective")?)
        .map_err(|e| bad(file, here(""), e.to_string()))?;
    let process = config.process()?;
    let Some(rows) = case.get("rows").and_then(Json::as_array) else {
        return Err(bad(
            file,
            here(".rows"),
            "missing; allowed: a list of rows with `t`",
        ));
    };
    let mut out = Vec::with_capacity(rows.len());
    for (r, row) in rows.iter().enumerate() {
        let here = here(&format!(".rows[{r}]"));
        let (s, t) = (time(row, "s", &here, file)?, time(row, "t", &here, file)?);
        let values = kernel_values(&*process, &config.schedule, config.objective, s, t)
            .map_err(|e| bad(file, here, e.to_string()))?;
        let mut o = Map::new();
        if row.get("s").is_some() {
            o.insert("s".into(), s.into());
        }
        o.insert("t".into(), t.into());
        o.append(&mut reply_row(&values));
        out.push(Json::Object(o));
    }
    Ok(json!({
        "process": case["process"], "params": params, "schedule": schedule, "objective": case["objective"], "rows": out,
    }))
}

/// A time of the row at `place`; `s` is 0 where it is not given.
fn time(row: &Json, key: &str, place: &str, file: &str) -> Result<f64> {
    match row.get(key) {
        Some(Json::Number(n)) => Ok(n.as_f64().unwrap_or(f64::NAN)),
        Some(other) => Err(bad(
            file,
            format!("{place}.{key}"),
            format!("is {other}; allowed: a number"),
        )),
        None if key == "s" => Ok(0.0),
        None => Err(bad(
            file,
            format!("{place}.{key}"),
            "missing; allowed: a number in (0, 1]",
        )),
    }
}
