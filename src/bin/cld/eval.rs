//! `cld eval`: the calculator.

use crate::show::{print, table};
use crate::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::kernel::kernel_values;
use cld_sgm::process::entry;
use cld_sgm::vectors::answers::parse_json;
use cld_sgm::vectors::arrays::read_text;
use cld_sgm::vectors::config::Config;
use cld_sgm::vectors::eval::{evaluate, reply_row};
use cld_sgm::vectors::predict::CHANNELS;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// The kernel of a process at given times: for a request file, or for one point by flags.
///
/// A request has cases[] with process, params, schedule, objective and rows[] with t; the reply on standard output has
/// the same cases and rows with mean, cov, chol_lower, chol_upper, det, logdet, inv and ell.
#[derive(clap::Args)]
pub struct Args {
    /// Request file (JSON); `-` reads standard input.
    #[arg(required_unless_present = "process", conflicts_with = "process")]
    request: Option<PathBuf>,
    /// Process: cld, sscs-analytic, psld, cld-position-noise, langevin-order-n, vp, ve, sub-vp.
    #[arg(long, requires = "t")]
    process: Option<String>,
    /// Mass M.
    #[arg(long)]
    mass: Option<f64>,
    /// Friction Gamma (cld: critical, 2 sqrt(M), if absent; psld: friction of x).
    #[arg(long = "Gamma", alias = "friction")]
    friction: Option<f64>,
    /// Initial velocity's variance in units of M (hsm).
    #[arg(long)]
    gamma: Option<f64>,
    /// Any other parameter of the process, such as nu=4.01 (may be repeated).
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// dsm or hsm; hsm if gamma is given.
    #[arg(long)]
    objective: Option<String>,
    /// Constant beta; the paper's 4 if no schedule is given.
    #[arg(long, conflicts_with = "schedule")]
    beta: Option<f64>,
    /// Schedule as JSON, such as '{"kind":"linear","b0":0.1,"b1":19.9}'.
    #[arg(long, value_name = "JSON")]
    schedule: Option<String>,
    /// Start of the interval, for the transition over `[s, t]`.
    #[arg(long)]
    s: Option<f64>,
    /// Time in (0, 1].
    #[arg(long, requires = "process")]
    t: Option<f64>,
    /// One point as JSON.
    #[arg(long, requires = "process")]
    json: bool,
}

fn pretty(v: &Value) -> Result<String> {
    serde_json::to_string_pretty(v).map(|s| s + "\n").map_err(|e| Error::Io { path: "standard output".into(), problem: e.to_string() })
}

pub fn run(args: &Args) -> Result<Outcome> {
    let Some(name) = &args.process else {
        let path = args.request.as_deref().unwrap_or_else(|| std::path::Path::new("-"));
        let (text, file) = if path.as_os_str() == "-" {
            let text = std::io::read_to_string(std::io::stdin())
                .map_err(|e| Error::Io { path: "standard input".into(), problem: format!("cannot be read: {e}") })?;
            (text, "standard input".to_string())
        } else {
            (read_text(path)?, path.display().to_string())
        };
        print(&pretty(&evaluate(&parse_json(&text, &file)?, &file)?)?)?;
        return Ok(Outcome::Fine);
    };
    let known = entry(name)?;
    let mut params = Map::new();
    let mut give = |key: &str, value: Value| params.insert(key.to_string(), value);
    if let Some(m) = args.mass {
        give("mass", number("mass", m)?);
    }
    if let Some(g) = args.friction {
        give("Gamma", number("Gamma", g)?);
    }
    if let Some(g) = args.gamma {
        give(known.gamma.unwrap_or("gamma"), number("gamma", g)?);
    }
    for p in &args.params {
        let (key, value) = p.split_once('=').ok_or_else(|| bad("param", p, "NAME=VALUE"))?;
        match value.parse::<f64>() {
            Ok(x) => give(key, number(key, x)?),
            Err(_) => give(key, value.into()),
        };
    }
    let objective = args.objective.clone().unwrap_or_else(|| if args.gamma.is_some() { "hsm".into() } else { "dsm".into() });
    let schedule = match &args.schedule {
        Some(text) => parse_json(text, "--schedule")?,
        None if name == "ve" && args.beta.is_none() => json!({"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}),
        None => json!({"kind": "constant", "b": number("beta", args.beta.unwrap_or(4.0))?}),
    };
    let config = Config::new(name, &params, &schedule, &objective)?;
    let (s, t) = (args.s.unwrap_or(0.0), args.t.unwrap_or(1.0));
    let v = kernel_values(&*config.process()?, &config.schedule, config.objective, s, t)?;
    if args.json {
        let mut o = Map::new();
        o.insert("t".into(), t.into());
        o.append(&mut reply_row(&v));
        print(&pretty(&Value::Object(o))?)?;
        return Ok(Outcome::Fine);
    }
    let interval = if args.s.is_some() { format!("over [{s:e}, {t:e}]") } else { format!("at t = {t:e}") };
    let tau = config.schedule.integral(s, t)?;
    let mut text = format!("{} {interval}, B = {tau:e}\n\n", config.describe());
    let head: Vec<String> = std::iter::once(String::new()).chain(CHANNELS[..v.k].iter().map(|c| (*c).to_string())).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    for (what, m) in [("mean", &v.mean), ("cov", &v.cov), ("chol_lower", &v.chol_lower), ("chol_upper", &v.chol_upper), ("inv", &v.inv)] {
        let rows: Vec<Vec<String>> = (0..v.k)
            .map(|i| {
                std::iter::once(format!("{what} {}", CHANNELS[i]))
                    .chain(m[i * v.k..(i + 1) * v.k].iter().map(|x| format!("{x:?}")))
                    .collect()
            })
            .collect();
        text += &table(&head, &rows);
    }
    let rows: Vec<Vec<String>> = [("det", v.det), ("logdet", v.logdet), ("ell", v.ell), ("snr", v.snr), ("snr_joint", v.snr_joint)]
        .iter()
        .map(|(n, x)| vec![(*n).to_string(), format!("{x:?}")])
        .collect();
    text += &table(&["", ""], &rows);
    print(&text)?;
    Ok(Outcome::Fine)
}

/// A flag's number as JSON, which knows no NaN.
fn number(name: &str, x: f64) -> Result<Value> {
    if x.is_finite() { Ok(x.into()) } else { Err(bad(name, x, "a finite number")) }
}

fn bad(name: &str, value: impl std::fmt::Display, allowed: &'static str) -> Error {
    Error::Parameter { name: name.to_string().into(), value: value.to_string(), allowed: allowed.into() }
}
