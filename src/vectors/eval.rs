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

/// Answers a request: `cases[]` with `process`, `params`, `schedule`, `objective` and `rows[]` with
/// `t` (and `s`, for the transition over `[s, t]`). Other fields are ignored. The reply has the
/// same cases and rows, with the values of [`reply_row`] as JSON numbers that read back to the same
/// f64.
///
/// # Errors
/// Anything missing, unknown or out of range; the message names case, row and field.
pub fn evaluate(request: &Json, file: &str) -> Result<Json> {
    let bad = |place: String, problem: String| Error::Format {
        file: file.to_string(),
        place,
        problem,
    };
    let Some(cases) = request.get("cases").and_then(Json::as_array) else {
        return Err(bad(
            "cases".into(),
            "missing; allowed: a list of cases".into(),
        ));
    };
    let mut done = Vec::with_capacity(cases.len());
    for (c, case) in cases.iter().enumerate() {
        let here = |what: &str| format!("cases[{c}]{what}");
        let text = |key: &str| {
            case.get(key).and_then(Json::as_str).ok_or_else(|| {
                bad(
                    here(&format!(".{key}")),
                    "missing; allowed: a string".into(),
                )
            })
        };
        let empty = Map::new();
        let params = match case.get("params") {
            None => &empty,
            Some(Json::Object(o)) => o,
            Some(other) => {
                return Err(bad(
                    here(".params"),
                    format!("is {other}; allowed: an object"),
                ));
            }
        };
        let schedule = case.get("schedule").ok_or_else(|| {
            bad(
                here(".schedule"),
                "missing; allowed: an object with `kind`".into(),
            )
        })?;
        let config = Config::new(text("process")?, params, schedule, text("objective")?)
            .map_err(|e| bad(here(""), e.to_string()))?;
        let process = config.process()?;
        let Some(rows) = case.get("rows").and_then(Json::as_array) else {
            return Err(bad(
                here(".rows"),
                "missing; allowed: a list of rows with `t`".into(),
            ));
        };
        let mut out = Vec::with_capacity(rows.len());
        for (r, row) in rows.iter().enumerate() {
            let here = || format!("cases[{c}].rows[{r}]");
            let time = |key: &str| match row.get(key) {
                Some(Json::Number(n)) => Ok(n.as_f64().unwrap_or(f64::NAN)),
                Some(other) => Err(bad(
                    format!("{}.{key}", here()),
                    format!("is {other}; allowed: a number"),
                )),
                None if key == "s" => Ok(0.0),
                None => Err(bad(
                    format!("{}.{key}", here()),
                    "missing; allowed: a number in (0, 1]".into(),
                )),
            };
            let (s, t) = (time("s")?, time("t")?);
            let values = kernel_values(&*process, &config.schedule, config.objective, s, t)
                .map_err(|e| bad(here(), e.to_string()))?;
            let mut o = Map::new();
            if row.get("s").is_some() {
                o.insert("s".into(), s.into());
            }
            o.insert("t".into(), t.into());
            o.append(&mut reply_row(&values));
            out.push(Json::Object(o));
        }
        done.push(json!({
            "process": case["process"], "params": params, "schedule": schedule, "objective": case["objective"], "rows": out,
        }));
    }
    Ok(json!({"schema": "cld-values/1", "cases": done}))
}
