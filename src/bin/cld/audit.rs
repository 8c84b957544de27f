//! `cld audit`: independent evidence for every formula.

use super::several::{first, refuse, together};
use super::show::{self, BAD, BOLD, Bar, GOOD, print, short, styled, table, threads};
use super::{Outcome, Result};
use clap::{Parser, Subcommand};
use cld_sgm::Error;
use cld_sgm::internal::audit::Options;
use cld_sgm::internal::audit::plants::{Cell, Planted, Plants};
use cld_sgm::internal::audit::run::{Audit, audit, audit_and_plant, list, merge, shard};
use cld_sgm::internal::audit::{Made, Plant, Shard, report};
use cld_sgm::internal::files::{Limits, Paths, read_text, write_whole};
use cld_sgm::team::Team;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

/// Check every formula against independent evidence, with error bars, a controlled false-alarm rate
/// and known power.
///
/// Needs no input. Prints a line per family of claims and writes a page of HTML (cld-audit.html, or
/// --html). With --shard, a part of the simulation is written instead; `cld audit merge` puts the
/// parts together.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// 2^21 paths per simulation, the default: at most a minute on 2 cores
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every scheme on every case, 2^23 paths
    #[arg(long)]
    full: bool,
    /// Paths per simulation
    #[arg(long, value_name = "N")]
    paths: Option<u64>,
    /// Only claims with this in their id, from the start of a word of it on, or of the formula with
    /// this id (of it alone: formula=ID), or of a case (case=vp)
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Seed; the same seed gives the same result, whatever the number of threads
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads; all cores if absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Plant a relative error in the quantity of one claim: the audit must catch it
    #[arg(long, value_name = "ID:SIZE")]
    plant: Option<String>,
    /// Plant an error in every claim, one after the other: which are caught, by which method, and
    /// whether each can fail
    #[arg(long, conflicts_with_all = ["plant", "shard", "list"])]
    plant_all: bool,
    /// Relative size of the error in every claim; each claim's own power, with a margin, if absent.
    /// A claim of an order may truly miss a large one: errors against a wrong limit shrink at
    /// another rate, but for an unlucky size, at which it is the rate of theory
    #[arg(
        long,
        value_name = "X",
        requires = "plant_all",
        allow_negative_numbers = true
    )]
    size: Option<f64>,
    /// Print the ids of the claims, and stop
    #[arg(long)]
    list: bool,
    /// Work off one N-th of the simulation and write its sums to --json
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Parser)]
struct Output {
    /// Also write the evidence as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the page
    #[arg(long, value_name = "FILE", default_value = "cld-audit.html")]
    html: PathBuf,
    /// Print a line for every process and method
    #[arg(long)]
    full_table: bool,
}

impl Output {
    fn paths(&self) -> Paths {
        Paths::default()
            .outputs("html", [&self.html])
            .outputs("json", &self.json)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Put shards together: the result is that of the whole run, bit for bit
    Merge {
        /// Files that `cld audit --shard I/N --json FILE` wrote
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

fn options(args: &Args) -> Result<Options> {
    let mut o = if args.full {
        Options::full()
    } else {
        Options::quick()
    };
    o.paths = args.paths.unwrap_or(o.paths);
    o.seed = args.seed;
    o.only.clone_from(&args.only);
    if let Some(text) = &args.plant {
        let bad = || {
            Error::parameter(
                "plant",
                format!("`{text}`"),
                "ID:SIZE with a claim's id and a relative size, such as cld.hsm.linear/cov.xx/doubling:1e-9",
            )
        };
        let (id, size) = text.rsplit_once(':').ok_or_else(bad)?;
        let size: f64 = size.parse().map_err(|_| bad())?;
        if !size.is_finite() {
            return Err(bad());
        }
        o.plant = Some(Plant {
            id: id.to_string(),
            size,
        });
    }
    Ok(o)
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map(|s| s + "\n")
        .map_err(|e| Error::Format {
            file: "the report".into(),
            place: String::new(),
            problem: e.to_string(),
        })
}

/// One audit of the shards in these files.
fn merge_files(files: &[PathBuf], output: &Output, limits: &Limits) -> Result<Outcome> {
    let (date, clock) = (SystemTime::now(), Instant::now());
    output.paths().inputs("FILES", files).check()?;
    let shards = files
        .iter()
        .map(|f| read_shard(f, limits))
        .collect::<Result<Vec<_>>>()?;
    let bar = Mutex::new(Bar::at_once("auditing"));
    let mut found = merge(&shards, &|done, total| advance(&bar, done, total))?;
    drop(bar);
    let (version, took) = (super::version(), clock.elapsed());
    found.made = Some(Made::new(&found.options, "", &version, date, took));
    show(&found, output)
}

/// A shard of an audit, as `text` numbers it, into a file.
fn one_shard(args: &Args, o: &Options, text: &str) -> Result<Outcome> {
    let bar = Mutex::new(Bar::at_once("auditing"));
    let (i, n) = show::shard(text)?;
    let file = args
        .output
        .json
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("cld-audit-shard-{i}-of-{n}.json")));
    Paths::default().outputs("json", [&file]).check()?;
    let part = shard(o, i, n, &|done, total| advance(&bar, done, total))?;
    write_whole(&file, to_json(&part)?.as_bytes())?;
    print(&format!(
        "{}: shard {i} of {n}. With all of them: cld audit merge FILES...\n",
        file.display()
    ))?;
    Ok(Outcome::Fine)
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    together(|team| work(args, team.as_deref(), limits))
}

/// The audit of this machine, or this process's share of it.
fn work(args: &Args, team: Option<&dyn Team>, limits: &Limits) -> Result<Outcome> {
    let (date, clock) = (SystemTime::now(), Instant::now());
    let alone = [
        ("merge", args.command.is_some()),
        ("list", args.list),
        ("shard", args.shard.is_some()),
        ("plant-all", args.plant_all),
    ];
    first(team, || refuse(team, &alone))?;
    if let Some(Command::Merge { files, output }) = &args.command {
        return merge_files(files, output, limits);
    }
    let o = first(team, || {
        threads(args.threads)?;
        options(args)
    })?;
    if args.list {
        print(
            &list(&o)?
                .iter()
                .map(|c| format!("{}\n", c.id))
                .collect::<String>(),
        )?;
        return Ok(Outcome::Fine);
    }
    if let Some(text) = &args.shard {
        return one_shard(args, &o, text);
    }
    first(team, || args.output.paths().check())?;
    let bar = Mutex::new(Bar::at_once("auditing"));
    let progress = |done: u64, total: u64| advance(&bar, done, total);
    let mut found = match team {
        Some(team) => match shares(&o, team, limits, &progress)? {
            Some(shards) => merge(&shards, &progress)?,
            None => return Ok(Outcome::Fine),
        },
        None if args.plant_all => audit_and_plant(&o, args.size, &progress)?,
        None => audit(&o, &progress)?,
    };
    drop(bar);
    let size = args
        .size
        .map_or(String::new(), |x| format!(" --size {x:e}"));
    let more = if args.plant_all {
        format!(" --plant-all{size}")
    } else {
        String::new()
    };
    found.made = Some(Made::new(
        &o,
        &more,
        &super::version(),
        date,
        clock.elapsed(),
    ));
    show(&found, &args.output)
}

/// This process's share of the simulation; all of them, for rank 0.
fn shares(
    o: &Options,
    team: &dyn Team,
    limits: &Limits,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Option<Vec<Shard>>> {
    let own = shard(o, team.rank() as u64 + 1, team.size() as u64, progress)?;
    let all = team.collect(to_json(&own)?.as_bytes())?;
    if team.rank() > 0 {
        return Ok(None);
    }
    let shards = all.iter().enumerate().map(|(rank, bytes)| {
        let name = format!("what rank {rank} sent");
        Shard::parse_within(&String::from_utf8_lossy(bytes), &name, limits)
    });
    shards.collect::<Result<_>>().map(Some)
}

/// Moves the bar, whose unit is a million steps of paths.
fn advance(bar: &Mutex<Bar>, done: u64, total: u64) {
    const UNIT: u64 = 1_000_000;
    if let Ok(mut bar) = bar.lock() {
        bar.set((done / UNIT) as usize, (total / UNIT).max(1) as usize);
    }
}

fn read_shard(path: &Path, limits: &Limits) -> Result<Shard> {
    Shard::parse_within(
        &read_text(path, limits)?,
        &path.display().to_string(),
        limits,
    )
}

/// Columns of the terminal's text.
const WIDTH: usize = 80;

/// `text` in lines of at most [`WIDTH`] columns, the second and all others indented. What has no
/// space is not broken.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let n = word.chars().count();
        if column > 0 && column + 1 + n > WIDTH {
            out += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += n;
    }
    out + "\n"
}

fn verdict(off: usize) -> String {
    if off == 0 {
        styled(GOOD, "holds")
    } else {
        styled(BAD, &format!("{off} OFF"))
    }
}

/// Families as a table: a line for every method, or for every process and method.
fn families(a: &Audit, full: bool) -> String {
    let all = if full {
        report::families(a)
    } else {
        report::methods(a)
    };
    let row = |f: report::Family| {
        let figures = vec![
            f.method,
            f.claims.to_string(),
            short(f.worst),
            short(f.power),
            verdict(f.off.len()),
        ];
        if full {
            [vec![f.process], figures].concat()
        } else {
            figures
        }
    };
    let head = ["process", "method", "claims", "worst", "power", "verdict"];
    table(
        &head[usize::from(!full)..],
        &all.into_iter().map(row).collect::<Vec<_>>(),
    )
}

/// Names of misses that are printed; all are on the page and in the JSON.
const NAMED: usize = 100;

/// Errors that were caught, by formula and method, and by method alone.
fn caught(p: &Plants) -> String {
    let (by_method, all) = p.by_method();
    let columns: Vec<&str> = by_method.keys().copied().collect();
    let cells = |formula: &String, method: &String, c: &Cell| {
        let count = format!("{}/{}", c.caught, c.planted);
        let count = if c.caught == c.planted {
            count
        } else {
            styled(BAD, &count)
        };
        vec![formula.clone(), method.clone(), count]
    };
    let mut rows: Vec<Vec<String>> = vec![];
    for (formula, found) in &p.matrix {
        rows.extend(found.iter().map(|(method, c)| cells(formula, method, c)));
    }
    let of = |c: &str| format!("{c} {}/{}", by_method[c].caught, by_method[c].planted);
    let sentence = format!(
        "By method: {}; all {}/{}.",
        columns.into_iter().map(of).collect::<Vec<_>>().join(", "),
        all.caught,
        all.planted
    );
    table(&["formula", "method", "caught"], &rows) + &wrapped(&sentence, 2)
}

/// Errors that no one saw: first those that their claims must see.
fn missed(p: &Plants) -> String {
    let mut missed: Vec<&Planted> = p.missed().collect();
    missed.sort_by_key(|m| !m.is_defect());
    let mut text = String::new();
    for m in missed.iter().take(NAMED) {
        let power = m.power.map_or("none".into(), short);
        let style = if m.is_defect() {
            styled(BAD, "MISSED")
        } else {
            "missed".into()
        };
        text += &format!("{style} {}\n       {}; power {power}", m.id, m.reason());
        text += &match m.caught_at {
            Some(s) => format!(", caught at {}\n", short(s)),
            None => "\n".into(),
        };
    }
    if missed.len() > NAMED {
        text += &format!(
            "and {} more: on the page, and with --json FILE\n",
            missed.len() - NAMED
        );
    }
    text
}

/// The errors that were planted in every claim: what is missed, by name.
fn planted(p: &Plants) -> String {
    let at = p
        .size
        .map_or("at the size that each claim says it catches".into(), |s| {
            format!("of relative size {}", short(s))
        });
    let mut text = format!(
        "\n{}\n",
        styled(BOLD, &format!("An error {at}, planted in every claim"))
    );
    text += &caught(p);
    text += &missed(p);
    if !p.off.is_empty() {
        let why = format!(
            "{} claims are off with nothing planted: nothing was planted in them.",
            p.off.len()
        );
        text += &wrapped(&why, 2);
    }
    if p.by_chance > 0 {
        let why = format!(
            "{} missed by chance; by sampling at most {:.1} are expected to.",
            p.by_chance, p.by_chance_expected
        );
        text += &wrapped(&why, 2);
    }
    text
}

/// The claims that do not hold, each with its statement and tolerance.
fn claims_off(a: &Audit) -> String {
    let mut text = String::new();
    for e in a.evidence.iter().filter(|e| !e.holds()) {
        let how = if e.is_blind() {
            "no error could break it".to_string()
        } else {
            format!("{} times its tolerance", short(e.worst()))
        };
        text += &format!(
            "{} {}: {how}\n",
            styled(BAD, "OFF"),
            styled(BOLD, &e.claim.id)
        );
        text += &wrapped(&format!("    {}", e.claim.statement), 4);
        text += &(wrapped(&format!("tolerance {}", e.claim.tolerance), 4) + "\n");
    }
    text
}

fn show(a: &Audit, output: &Output) -> Result<Outcome> {
    let mut text = claims_off(a);
    text += &families(a, output.full_table);
    text += "\nworst: the largest deviation in units of its tolerance. power: the relative\nerror that is caught (by sampling with probability 0.999; means apart).\n";
    if !output.full_table {
        text += "--full-table prints every process.\n";
    }
    if let Some(p) = a.uniform {
        let n = a.evidence.iter().map(|e| e.p().len()).sum::<usize>();
        text += &format!(
            "\nAll {n} p-values against the uniform law: p = {}.\n",
            short(p)
        );
    }
    if let Some(p) = &a.planted {
        text += &planted(p);
    }
    if let Some(file) = &output.json {
        write_whole(file, to_json(a)?.as_bytes())?;
    }
    write_whole(&output.html, report::html(a).as_bytes())?;
    let off = a.evidence.iter().filter(|e| !e.holds()).count();
    if let Some(made) = &a.made {
        text += &format!("\n{}", wrapped(&format!("Made by: {made}"), 2));
    }
    text += &format!("\nReport: {}\n", output.html.display());
    let defects = a
        .planted
        .as_ref()
        .map_or(0, |p| p.claims.iter().filter(|p| p.is_defect()).count());
    text += &match (off, defects) {
        (0, 0) => {
            let n = a.evidence.len();
            format!(
                "{}: {n} claims hold (false-alarm probability of the run: 1e-6)\n",
                styled(GOOD, "All is well")
            )
        }
        (0, n) => format!(
            "{}: {n} claims miss an error that they must catch\n",
            styled(BAD, "Something is off")
        ),
        _ => format!(
            "{}: {off} of {} claims do not hold\n",
            styled(BAD, "Something is off"),
            a.evidence.len()
        ),
    };
    print(&text)?;
    Ok(if off == 0 && defects == 0 {
        Outcome::Fine
    } else {
        Outcome::Off
    })
}
