//! `cld check`: the verdict on someone else's numbers.

use super::show::{Bar, print, width};
use super::{Outcome, Result, names};
use cld_sgm::Error;
use cld_sgm::check::answers::{Answers, read_answers_and_files};
use cld_sgm::check::page::page;
use cld_sgm::check::words;
use cld_sgm::check::words::{Look, text};
use cld_sgm::check::{Class, Report, judge_from};
use cld_sgm::internal::files::{Limits, Paths, write_whole};
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// Judge answers: what is right, what is off, where, and the likely mistake.
///
/// ANSWERS is a folder that `cld vectors` wrote, with your answers.npz in it; or a manifest of your
/// own (schema cld-answers/1, see docs/guide/cross-check.md), with or without its .json ending.
#[derive(clap::Args)]
pub struct Args {
    /// Folder or manifest.
    #[arg(required_unless_present = "list_mistakes")]
    answers_path: Option<PathBuf>,
    /// Print the mistakes that can be named, and what to do about each.
    #[arg(long)]
    list_mistakes: bool,
    /// That list as the table of the documentation, also on a terminal; a pipe always gets it.
    #[arg(long, requires = "list_mistakes")]
    markdown: bool,
    /// Your answers to vectors, if not FOLDER/answers.npz.
    #[arg(long, value_name = "FILE.npz")]
    answers: Option<PathBuf>,
    /// Also accept this class: f32 (errors up to 1e-5 in f64 arrays), eps (right once the declared
    /// epsilon_added is on the variances). Arrays stored in f32 are always held to f32.
    #[arg(long, value_name = "CLASS", value_parser = ["f64", "f32", "eps"])]
    accept: Vec<String>,
    /// Judge only quantities whose name has this in it; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    #[arg(long, help = names::process())]
    process: Option<String>,
    /// Judge only rows whose time is this or later.
    #[arg(long, value_name = "T")]
    t_min: Option<f64>,
    /// Fail (exit 1) if entries of the vectors have no answer.
    #[arg(long)]
    require_all: bool,
    /// Every output and process on a line of its own, also where all is well.
    #[arg(long)]
    full: bool,
    /// The report as JSON.
    #[arg(long, conflicts_with = "plain")]
    json: bool,
    /// No colour, and nothing but ASCII: for logs.
    #[arg(long)]
    plain: bool,
    /// Write the report as one page, to be attached to an issue.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Keeps the entries that were asked for.
fn asked(answers: &mut Answers, only: &[String], process: Option<&str>) -> Result<()> {
    if only.is_empty() && process.is_none() {
        return Ok(());
    }
    if let Some(name) = process {
        cld_sgm::process::entry(name)?;
    }
    // hyphens and underscores in names of quantities are the same
    let quantity = |q: &str| {
        only.is_empty()
            || only
                .iter()
                .any(|p| q.replace('-', "_").contains(&p.replace('-', "_")))
    };
    answers
        .entries
        .retain(|e| quantity(&e.quantity) && process.is_none_or(|p| e.config.entry.name == p));
    answers.unusable.retain(|u| quantity(&u.quantity));
    answers.not_yet.retain(|q, _| quantity(q));
    if answers.entries.is_empty() {
        let (field, value) = if only.is_empty() {
            ("process", process.unwrap_or("").to_string())
        } else {
            ("only", only.join(", "))
        };
        return Err(Error::parameter(
            field,
            value,
            "what some entry of the answers has: nothing is left to judge",
        ));
    }
    Ok(())
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    if args.list_mistakes {
        let table = args.markdown || !std::io::stdout().is_terminal();
        print(&if table {
            cld_sgm::check::mistakes::table()
        } else {
            words::mistakes(width())
        })?;
        return Ok(Outcome::Fine);
    }
    let path = args
        .answers_path
        .as_deref()
        .unwrap_or(std::path::Path::new("."));
    let (mut answers, files) = read_answers_and_files(path, args.answers.as_deref(), limits)?;
    Paths::default()
        .inputs("answers", files)
        .outputs("html", &args.html)
        .check()?;
    asked(&mut answers, &args.only, args.process.as_deref())?;
    let accept: Vec<Class> = args
        .accept
        .iter()
        .map(|c| match c.as_str() {
            "f32" => Class::F32,
            "eps" => Class::Eps,
            _ => Class::F64,
        })
        .collect();
    let mut bar = Bar::new("judging");
    let report = judge_from(
        &answers,
        &accept,
        args.t_min.unwrap_or(0.0),
        &mut |done, total| bar.set(done, total),
    )?;
    drop(bar);
    if report.judged == 0 && report.raised.is_empty() {
        return Err(nothing_judged(report));
    }
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|e| Error::Io {
            path: "standard output".into(),
            problem: e.to_string(),
        })?;
        print(&(text + "\n"))?;
    } else {
        print(&text(
            &report,
            Look {
                width: width(),
                plain: args.plain,
                full: args.full,
            },
        ))?;
    }
    if let Some(file) = &args.html {
        write_whole(file, page(&report).as_bytes())?;
    }
    let complete =
        !args.require_all || (report.unanswered.is_empty() && report.not_begun.is_empty());
    Ok(if report.ok && complete {
        Outcome::Fine
    } else {
        Outcome::Off
    })
}

/// Why a report is about nothing.
fn nothing_judged(report: Report) -> Error {
    if let Some(t) = report.t_min {
        return Error::parameter(
            "t-min",
            t,
            "a time that some row has or comes before: no row is left to judge",
        );
    }
    let found = if report.unanswered.is_empty() && report.not_begun.is_empty() {
        match list(&report).as_str() {
            "" => "the list is empty".into(),
            some => format!("quantities not yet covered: {some}"),
        }
    } else {
        "no answers".into()
    };
    Error::Format {
        file: report.file,
        place: "entries".into(),
        problem: format!("nothing to judge ({found})"),
    }
}

fn list(report: &Report) -> String {
    report
        .not_yet
        .iter()
        .map(|(q, n)| format!("{q} ({n})"))
        .collect::<Vec<_>>()
        .join(", ")
}
