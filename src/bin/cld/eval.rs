//! `cld eval`: the calculator of kernels; of checkpoints and samples, how far they are from the
//! data.

use super::judge::{Judge, Kind};
use super::setting::Setting;
use super::several::{first, together};
use super::show::{facts, print, table};
use super::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::check::answers::read_answers;
use cld_sgm::check::row;
use cld_sgm::error::{escaped, shown};
use cld_sgm::internal::files::json::parse_json_within;
use cld_sgm::internal::files::limits::{Limits, read_text, text_of};
use cld_sgm::internal::truth::predict::CHANNELS;
use cld_sgm::internal::vectors::eval::{evaluate, reply_row};
use cld_sgm::kernel::{KernelValues, kernel_values};
use cld_sgm::team::Team;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The kernel of a process at given times: for a request file, or for one point by flags. Of a
/// checkpoint or samples: how far they are from the data.
///
/// FILE is told by its first bytes. A checkpoint of `cld train` is sampled from, and Frechet
/// distance (images), sliced W2 and energy distance (points) are taken to its data; samples (.npz
/// of `cld sample`) are held against `--data`. A request has cases[] with process, params,
/// schedule, objective and rows[] with t; the reply on standard output has the same cases and rows
/// with mean, cov, chol_lower, chol_upper, det, logdet, inv and ell.
#[derive(clap::Args)]
#[command(mut_arg("process", |a| a.requires("t")))]
pub struct Args {
    /// Request (JSON; `-` reads standard input), checkpoint or samples (.npz).
    #[arg(value_name = "FILE")]
    #[arg(required_unless_present = "process", conflicts_with = "process")]
    request: Option<PathBuf>,
    #[command(flatten)]
    setting: Setting,
    /// dsm or hsm; hsm if gamma is given.
    #[arg(long)]
    objective: Option<String>,
    /// Start of the interval, for the transition over `[s, t]`.
    #[arg(long)]
    s: Option<f64>,
    /// Time in (0, 1].
    #[arg(long, requires = "process")]
    t: Option<f64>,
    /// One point as JSON.
    #[arg(long, requires = "process")]
    json: bool,
    /// FILE is what `cld check` judged: print inputs, answers and what is right of one row of this
    /// entry.
    #[arg(long, value_name = "ID", requires = "request", requires = "row")]
    entry: Option<String>,
    /// The row, counted from 0.
    #[arg(long, value_name = "N", requires = "entry")]
    row: Option<usize>,
    #[command(flatten, next_help_heading = "For a checkpoint or samples")]
    judge: Judge,
}

/// One row of an answer file, with what is right there.
fn one_row(path: &Path, id: &str, number: usize, limits: &Limits) -> Result<Outcome> {
    let answers = read_answers(path, None, limits)?;
    let e = row::entry(&answers, id)?;
    let row = row::row(e, number)?;
    let mut text = format!(
        "{} row {number}: {}\n{}\n\n",
        shown(id),
        e.quantity,
        escaped(&e.config.describe())
    );
    let list = |x: &[f64]| x.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, a) in &row.inputs {
        for (i, x) in list(&a.data).into_iter().enumerate() {
            rows.push(vec![once(name, i), x]);
        }
    }
    text += &table(&["input", "value"], &rows);
    text.push('\n');
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row::Output {
        name,
        answered,
        right,
    } in &row.outputs
    {
        let right = match right {
            Ok(x) => list(x),
            Err(e) => vec![e.to_string()],
        };
        let got = answered.as_deref().map(list).unwrap_or_default();
        for i in 0..right.len().max(got.len()) {
            let cell = |x: &[String]| x.get(i).cloned().unwrap_or_default();
            rows.push(vec![once(name, i), cell(&right), cell(&got)]);
        }
    }
    text += &table(&["output", "right", "answered"], &rows);
    print(&text)?;
    Ok(Outcome::Fine)
}

/// The name in the first of its rows.
fn once(name: &str, row: usize) -> String {
    if row == 0 {
        shown(name).to_string()
    } else {
        String::new()
    }
}

fn pretty(v: &Value) -> Result<String> {
    serde_json::to_string_pretty(v)
        .map(|s| s + "\n")
        .map_err(|e| Error::Io {
            path: "standard output".into(),
            problem: e.to_string(),
        })
}

/// Answers the request in a file or on standard input.
fn answer(request: Option<&Path>, limits: &Limits) -> Result<Outcome> {
    let (text, file) = match request.filter(|p| p.as_os_str() != "-") {
        Some(path) => (read_text(path, limits)?, path.display().to_string()),
        None => {
            let name = "standard input";
            (text_of(std::io::stdin(), name, limits)?, name.to_string())
        }
    };
    let request = parse_json_within(&text, &file, limits)?;
    print(&pretty(&evaluate(&request, &file)?)?)?;
    Ok(Outcome::Fine)
}

/// A kernel's matrices with the channels named, then its numbers.
fn tables(v: &KernelValues) -> String {
    let head: Vec<&str> = std::iter::once("")
        .chain(CHANNELS[..v.k].iter().copied())
        .collect();
    let mut text = String::new();
    for (what, m) in [
        ("mean", &v.mean),
        ("cov", &v.cov),
        ("chol_lower", &v.chol_lower),
        ("chol_upper", &v.chol_upper),
        ("inv", &v.inv),
    ] {
        let rows: Vec<Vec<String>> = (0..v.k)
            .map(|i| {
                std::iter::once(format!("{what} {}", CHANNELS[i]))
                    .chain(m.row(i).iter().map(|x| format!("{x:?}")))
                    .collect()
            })
            .collect();
        text += &table(&head, &rows);
    }
    let rows: Vec<Vec<String>> = [
        ("det", v.det),
        ("logdet", v.logdet),
        ("ell", v.ell),
        ("snr", v.snr),
        ("snr_joint", v.snr_joint),
    ]
    .iter()
    .map(|(n, x)| vec![(*n).to_string(), format!("{x:?}")])
    .collect();
    text + &facts(&rows)
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    together(|team| work(args, team.as_deref(), limits))
}

/// Several processes share out the samples of a checkpoint, and nothing else.
fn alone(args: &Args, team: Option<&dyn Team>) -> Result<()> {
    let sampled = args.request.as_deref().map(Kind::of) == Some(Kind::Checkpoint);
    match team {
        Some(team) if !sampled => Err(Error::parameter(
            "processes",
            team.size(),
            "1, but for a checkpoint: there is nothing to share out",
        )),
        _ => Ok(()),
    }
}

fn work(args: &Args, team: Option<&dyn Team>, limits: &Limits) -> Result<Outcome> {
    first(team, || alone(args, team))?;
    if let (Some(file), Some(id), Some(row)) = (&args.request, &args.entry, args.row) {
        args.setting.refused("absent for a row of answers")?;
        return one_row(file, id, row, limits);
    }
    if let Some(file) = &args.request {
        let kind = Kind::of(file);
        if kind != Kind::Request {
            args.setting.refused("absent for a checkpoint or samples")?;
            return args.judge.run(file, kind, team, limits);
        }
    }
    args.judge.refused()?;
    let Some(name) = &args.setting.process else {
        return answer(args.request.as_deref(), limits);
    };
    let config = args.setting.config(name, args.objective.as_deref())?;
    let (s, t) = (args.s.unwrap_or(0.0), args.t.unwrap_or(1.0));
    let v = kernel_values(
        &*config.process()?,
        &config.schedule,
        config.objective,
        s,
        t,
    )?;
    if args.json {
        let mut o = Map::new();
        o.insert("t".into(), t.into());
        o.append(&mut reply_row(&v));
        print(&pretty(&Value::Object(o))?)?;
        return Ok(Outcome::Fine);
    }
    let interval = if args.s.is_some() {
        format!("over [{s:e}, {t:e}]")
    } else {
        format!("at t = {t:e}")
    };
    let tau = config.schedule.integral(s, t)?;
    let about = config.describe();
    print(&format!(
        "{about} {interval}, B = {tau:e}\n\n{}",
        tables(&v)
    ))?;
    Ok(Outcome::Fine)
}
