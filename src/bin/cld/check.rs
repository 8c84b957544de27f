//! `cld check`: the verdict on someone else's numbers.

use crate::show::{BAD, BOLD, Bar, GOOD, WARN, print, short, styled, table};
use crate::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::check::answers::read_answers;
use cld_sgm::check::compare::{Class, Line, Report, UNITS, judge, time};
use cld_sgm::error::{escaped, shown};
use cld_sgm::files::Limits;
use std::fmt::Write;
use std::path::PathBuf;

/// Judge answers: what is right, what is off, where, and the likely mistake.
///
/// ANSWERS is a folder that `cld vectors` wrote, with your answers.npz in it; or a manifest of your own (schema
/// cld-answers/1, see docs/cross-check.md), with or without its .json ending.
#[derive(clap::Args)]
pub struct Args {
    /// Folder or manifest.
    #[arg(required_unless_present = "list_mistakes")]
    answers_path: Option<PathBuf>,
    /// Print the mistakes that can be named, and what to do about each.
    #[arg(long)]
    list_mistakes: bool,
    /// Your answers to vectors, if not FOLDER/answers.npz.
    #[arg(long, value_name = "FILE.npz")]
    answers: Option<PathBuf>,
    /// Also accept this class: f32 (errors up to 1e-5 in f64 arrays), eps (right once the declared epsilon_added is
    /// on the variances). Arrays stored in f32 are always held to f32.
    #[arg(long, value_name = "CLASS", value_parser = ["f64", "f32", "eps"])]
    accept: Vec<String>,
    /// Fail (exit 1) if entries of the vectors have no answer.
    #[arg(long)]
    require_all: bool,
    /// Every output and process on a line of its own, also where all is well.
    #[arg(long)]
    full: bool,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    if args.list_mistakes {
        print(&cld_sgm::check::mistakes::table())?;
        return Ok(Outcome::Fine);
    }
    let path = args.answers_path.as_deref().unwrap_or(std::path::Path::new("."));
    let answers = read_answers(path, args.answers.as_deref(), limits)?;
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
    let report = judge(&answers, &accept, &mut |done, total| bar.set(done, total))?;
    drop(bar);
    if report.judged == 0 && report.raised.is_empty() {
        let found =
            if report.unanswered.is_empty() { format!("quantities not yet covered: {}", list(&report)) } else { "no answers".into() };
        return Err(Error::Format { file: report.file, place: "entries".into(), problem: format!("nothing to judge ({found})") });
    }
    if args.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|e| Error::Io { path: "standard output".into(), problem: e.to_string() })?;
        print(&(text + "\n"))?;
    } else {
        print(&text(&report, args.full))?;
    }
    let complete = !args.require_all || report.unanswered.is_empty();
    Ok(if report.ok && complete { Outcome::Fine } else { Outcome::Off })
}

fn list(report: &Report) -> String {
    report.not_yet.iter().map(|(q, n)| format!("{q} ({n})")).collect::<Vec<_>>().join(", ")
}

fn verdict(l: &Line) -> String {
    match (l.class, l.accepted) {
        (Class::Off, _) => styled(BAD, "OFF"),
        (class, true) => styled(GOOD, &format!("ok {}", class.name())),
        (Class::Eps, false) => styled(WARN, "OFF: right only with the declared epsilon"),
        (_, false) => styled(WARN, "OFF: right only to f32"),
    }
}

/// The lines to show: what is accepted is folded into one line per quantity, unless `full`.
fn fold(lines: &[Line], full: bool) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    for l in lines {
        let known = out.iter_mut().find(|o| !full && l.accepted && o.accepted && o.quantity == l.quantity && o.class == l.class);
        let Some(o) = known else {
            out.push(l.clone());
            continue;
        };
        if !o.output.split(',').any(|x| x == l.output) {
            o.output = format!("{},{}", o.output, l.output);
        }
        if !o.process.split(", ").any(|x| x == l.process) {
            o.process = format!("{}, {}", o.process, l.process);
        }
        o.entries += l.entries;
        o.values += l.values;
        if l.worst.relative > o.worst.relative {
            o.worst = l.worst.clone();
            o.trend = l.trend;
        }
    }
    for o in &mut out {
        let outputs = o.output.split(',').count();
        if outputs > 3 {
            o.output = format!("({outputs} outputs)");
        }
        let processes = o.process.split(", ").count();
        if processes > 2 {
            o.process = format!("{processes} processes");
        }
    }
    out
}

fn text(r: &Report, full: bool) -> String {
    let mut out = String::new();
    let name = if r.implementation.is_empty() { String::new() } else { format!(" ({})", r.implementation) };
    let _ = writeln!(out, "{}{name}\n", styled(BOLD, &r.file));
    let rows: Vec<Vec<String>> = fold(&r.lines, full)
        .iter()
        .map(|l| {
            let at = match l.worst.t {
                Some(t) => format!("t={}", time(t)),
                None => format!("row {}", l.worst.row),
            };
            let trend = match l.trend {
                None => "-".into(),
                Some(p) if p.abs() < 0.1 => "flat".into(),
                Some(p) => format!("t^{p:.1}"),
            };
            vec![
                format!("{}.{}", l.quantity, l.output),
                l.process.clone(),
                l.values.to_string(),
                short(l.worst.relative),
                format!("{} {}", short(l.worst.units), l.worst.precision),
                at,
                l.worst.entry.clone(),
                trend,
                if l.off_at.is_empty() { "-".into() } else { l.off_at.clone() },
                verdict(l),
            ]
        })
        .collect();
    out += &table(&["quantity", "process", "values", "worst rel", "units", "at", "in", "t->0", "off at", "verdict"], &rows);
    let _ = writeln!(
        out,
        "
A value is right within {UNITS} units of its type (inputs and parameters may be off by as many); eps: right with the declared
epsilon_added on every variance."
    );
    if !r.diagnoses.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BOLD, "Likely mistakes"));
        for (i, d) in r.diagnoses.iter().enumerate() {
            let _ = writeln!(out, "{:3}. {} [{}]", i + 1, styled(WARN, &d.text), d.id);
            let _ = writeln!(out, "     {}", d.remedy);
            let what: Vec<String> = d.outputs.iter().map(|(q, n)| format!("{q} ({n})")).collect();
            let loose = if d.cancellation && d.id != "cancellation" { "; some only after allowing for cancellation" } else { "" };
            let _ = writeln!(out, "     explains {} outputs in {} entries: {}{loose}", d.explains, d.entries.len(), what.join(", "));
        }
    }
    if !r.unexplained.is_empty() {
        let shown: Vec<&str> = r.unexplained.iter().take(8).map(String::as_str).collect();
        let more =
            if r.unexplained.len() > 8 { format!(" and {} more (--json lists all)", r.unexplained.len() - 8) } else { String::new() };
        let _ = writeln!(out, "\n{} no known mistake explains: {}{more}", styled(BAD, "Unexplained:"), shown.join(", "));
    }
    if !r.raised.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BOLD, "Raised an error instead of an answer"));
        for x in &r.raised {
            let _ = writeln!(out, "     {} x{}: {:?} ({})", x.quantity, x.entries.len(), x.message, x.entries.join(", "));
        }
    }
    if !r.unjudged.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BAD, "Cannot be judged"));
        for u in r.unjudged.iter().take(12) {
            let rows = match u.rows.as_slice() {
                [] => String::new(),
                [one] => format!(", row {one}"),
                [first, ..] => format!(", {} rows from {first} on", u.rows.len()),
            };
            let t = u.t.map_or(String::new(), |t| format!(", t = {}", time(t)));
            let _ = writeln!(out, "     {} {}{rows}{t}: {}", shown(&u.entry), shown(&u.output), escaped(&u.why));
        }
        if r.unjudged.len() > 12 {
            let _ = writeln!(out, "     and {} more (--json lists all)", r.unjudged.len() - 12);
        }
    }
    if !r.ignored.is_empty() {
        let _ = writeln!(out, "\n{}", styled(WARN, "Not used"));
        for line in r.ignored.iter().take(12) {
            let _ = writeln!(out, "     {}", escaped(line));
        }
        if r.ignored.len() > 12 {
            let _ = writeln!(out, "     and {} more (--json lists all)", r.ignored.len() - 12);
        }
    }
    if !r.not_yet.is_empty() {
        let _ = writeln!(out, "\n{} {}", styled(BOLD, "Not yet covered, not judged:"), list(r));
    }
    if !r.unanswered.is_empty() {
        let _ = writeln!(out, "\n{} {} of {} entries", styled(BOLD, "Not answered:"), r.unanswered.len(), r.unanswered.len() + r.judged);
    }
    for l in r.lines.iter().filter(|l| l.not_finite > 0) {
        let _ = writeln!(
            out,
            "\n{} {} of {} values of {}.{} ({}){}",
            styled(BAD, "Not finite:"),
            l.not_finite,
            l.values,
            l.quantity,
            l.output,
            l.process,
            l.not_finite_at.as_ref().map_or(String::new(), |at| {
                let t = at.t.map_or(String::new(), |t| format!(", t = {}", time(t)));
                format!(", first in {} row {}{t}", shown(&at.entry), at.row)
            })
        );
    }
    let lines = r.lines.iter().filter(|l| !l.accepted).count();
    let raised: usize = r.raised.iter().map(|x| x.entries.len()).sum();
    let sum = if r.ok {
        styled(GOOD, &format!("all within tolerance: {} entries, {} outputs", r.judged, r.lines.iter().map(|l| l.entries).sum::<usize>()))
    } else {
        let raised = if raised > 0 { format!(", {raised} entries raised an error") } else { String::new() };
        let unjudged = if r.unjudged.is_empty() { String::new() } else { format!(", {} not judged", r.unjudged.len()) };
        styled(BAD, &format!("{lines} of {} outputs off{raised}{unjudged}", r.lines.len()))
    };
    let _ = writeln!(out, "\n{sum}");
    out
}
