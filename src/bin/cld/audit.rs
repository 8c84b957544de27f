//! `cld audit`: independent evidence for every formula.

use super::show::{BAD, BOLD, Bar, GOOD, print, short, styled, table, threads};
use super::{Outcome, Result};
use clap::{Parser, Subcommand};
use cld_sgm::Error;
use cld_sgm::audit::run::{Audit, Options, audit, list, merge, shard};
use cld_sgm::audit::{Plant, Shard, report};
use cld_sgm::files::{Limits, Paths, read_text, write_whole};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Check every formula against independent evidence, with error bars, a controlled false-alarm rate and known power.
///
/// Needs no input. Prints a line per family of claims and writes a page of HTML (cld-audit.html, or --html). With --shard,
/// a part of the simulation is written instead; `cld audit merge` puts the parts together.
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
    /// Only claims whose id contains this
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
}

impl Output {
    fn paths(&self) -> Paths {
        Paths::default().outputs("html", [&self.html]).outputs("json", &self.json)
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
    let mut o = if args.full { Options::full() } else { Options::quick() };
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
        o.plant = Some(Plant { id: id.to_string(), size });
    }
    Ok(o)
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map(|s| s + "\n").map_err(|e| Error::Format {
        file: "the report".into(),
        place: String::new(),
        problem: e.to_string(),
    })
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    if let Some(Command::Merge { files, output }) = &args.command {
        output.paths().inputs("FILES", files).check()?;
        let shards = files.iter().map(|f| read_shard(f, limits)).collect::<Result<Vec<_>>>()?;
        let bar = Mutex::new(Bar::at_once("auditing"));
        let found = merge(&shards, &|done, total| advance(&bar, done, total))?;
        drop(bar);
        return show(&found, output);
    }
    threads(args.threads)?;
    let o = options(args)?;
    if args.list {
        print(&list(&o)?.iter().map(|c| format!("{}\n", c.id)).collect::<String>())?;
        return Ok(Outcome::Fine);
    }
    let bar = Mutex::new(Bar::at_once("auditing"));
    let progress = |done: u64, total: u64| advance(&bar, done, total);
    if let Some(text) = &args.shard {
        let bad = || Error::parameter("shard", format!("`{text}`"), "I/N, such as 1/4");
        let (i, n) = text.split_once('/').ok_or_else(bad)?;
        let (i, n) = (i.parse().map_err(|_| bad())?, n.parse().map_err(|_| bad())?);
        let file = args.output.json.clone().unwrap_or_else(|| PathBuf::from(format!("cld-audit-shard-{i}-of-{n}.json")));
        Paths::default().outputs("json", [&file]).check()?;
        let part = shard(&o, i, n, &progress)?;
        write_whole(&file, to_json(&part)?.as_bytes())?;
        print(&format!("{}: shard {i} of {n}. With all of them: cld audit merge FILES...\n", file.display()))?;
        return Ok(Outcome::Fine);
    }
    args.output.paths().check()?;
    let found = audit(&o, &progress)?;
    drop(bar);
    show(&found, &args.output)
}

/// Moves the bar, whose unit is a million steps of paths.
fn advance(bar: &Mutex<Bar>, done: u64, total: u64) {
    const UNIT: u64 = 1_000_000;
    if let Ok(mut bar) = bar.lock() {
        bar.set((done / UNIT) as usize, (total / UNIT).max(1) as usize);
    }
}

fn read_shard(path: &Path, limits: &Limits) -> Result<Shard> {
    Shard::parse_within(&read_text(path, limits)?, &path.display().to_string(), limits)
}

fn show(a: &Audit, output: &Output) -> Result<Outcome> {
    let rows: Vec<Vec<String>> = report::families(a)
        .into_iter()
        .map(|f| {
            let verdict = if f.off.is_empty() { styled(GOOD, "holds") } else { styled(BAD, &format!("{} OFF", f.off.len())) };
            vec![f.process, f.method, f.claims.to_string(), short(f.worst), short(f.power), verdict]
        })
        .collect();
    let mut text = table(&["process", "method", "claims", "worst", "power", "verdict"], &rows);
    text += "\nworst: the largest deviation in units of its tolerance. power: the relative error that is caught (in simulations with probability 0.999;\nmeans apart).\n";
    for e in a.evidence.iter().filter(|e| !e.holds()) {
        text += &format!(
            "\n{} {}: {} times its tolerance\n     {}\n     tolerance {}\n",
            styled(BAD, "OFF"),
            styled(BOLD, &e.claim.id),
            short(e.worst()),
            e.claim.statement,
            e.claim.tolerance
        );
    }
    if let Some(p) = a.uniform {
        text += &format!(
            "\nAll {} p-values of the simulations against the uniform law: p = {}.\n",
            a.evidence.iter().map(|e| e.p().len()).sum::<usize>(),
            short(p)
        );
    }
    if let Some(file) = &output.json {
        write_whole(file, to_json(a)?.as_bytes())?;
    }
    write_whole(&output.html, report::html(a).as_bytes())?;
    let off = a.evidence.iter().filter(|e| !e.holds()).count();
    text += &format!("\nReport: {}\n", output.html.display());
    text += &if off == 0 {
        format!("{}: {} claims hold (false-alarm probability of the run: 1e-6)\n", styled(GOOD, "All is well"), a.evidence.len())
    } else {
        format!("{}: {off} of {} claims do not hold\n", styled(BAD, "Something is off"), a.evidence.len())
    };
    print(&text)?;
    Ok(if off == 0 { Outcome::Fine } else { Outcome::Off })
}
