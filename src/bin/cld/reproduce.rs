//! `cld reproduce`: the paper's experiments, with seeds, error bars and a verdict each.

use super::several::{first, refuse, together};
use super::show::{
    duration, facts, note, print, progress, sentence, shard, short, stopped_by_ctrl_c, table,
    threads, threads_of,
};
use super::{Outcome, Result};
use clap::{Parser, Subcommand};
use cld_sgm::Error;
use cld_sgm::internal::files::machine::Machine;
use cld_sgm::internal::files::{Limits, Paths, write_whole};
use cld_sgm::internal::reproduce::findings::Findings;
use cld_sgm::internal::reproduce::page::{difference, html, markdown, word};
use cld_sgm::internal::reproduce::plan::{Job, Options, Plan};
use cld_sgm::internal::reproduce::record::{PLAN, PlanRecord, Store};
use cld_sgm::internal::reproduce::verdict::Verdict;
use cld_sgm::internal::reproduce::work::{Doing, Shop};
use cld_sgm::team::Team;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The paper's experiments at the size of a CPU: trains, measures, and says which claims hold.
///
/// Without names, all of them: hours on two cores. The folder keeps what is done; Ctrl-C stops
/// between two steps and --resume goes on. On a cluster, one --shard for each job, then `cld
/// reproduce merge FOLDERS...`. Exit code 1: a claim does not hold.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Experiments (--list has their names), or TOML files of your own; all that come with the
    /// program if absent.
    #[arg(value_name = "EXPERIMENT", value_delimiter = ',')]
    experiments: Vec<String>,
    /// Seeds of every experiment; each one's own number if absent.
    #[arg(long, value_name = "N")]
    seeds: Option<usize>,
    /// Minutes that it may take: training and samples are shortened to fit two cores, and no
    /// verdict is given.
    #[arg(long, value_name = "MINUTES")]
    budget: Option<f64>,
    /// Print experiments, claims and jobs, and stop.
    #[arg(long)]
    list: bool,
    /// Go on in a folder that has a run.
    #[arg(long)]
    resume: bool,
    /// Do one N-th of the jobs, in a folder of its own.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Threads; all cores if absent. They change no bit.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder of the run.
    #[arg(long, value_name = "FOLDER", default_value = "cld-reproduce")]
    out: PathBuf,
    #[command(flatten)]
    pages: Pages,
}

#[derive(clap::Args)]
struct Pages {
    /// Where to write the page of HTML; FOLDER/reproduction.html if absent.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where to write the same as Markdown; its plots go to a folder of the same name beside it.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Put folders of shards together into one page
    Merge {
        /// Folders of `cld reproduce --shard I/N --out FOLDER`
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        #[command(flatten)]
        pages: Pages,
    },
}

/// What would be done.
fn list(plan: &Plan) -> Result<Outcome> {
    let mut text = String::new();
    for e in &plan.experiments {
        let jobs: Vec<&Job> = plan.jobs.iter().filter(|j| j.experiment == e.id).collect();
        let time: f64 = jobs.iter().map(|j| j.minutes()).sum();
        text += &sentence(&format!(
            "{} {}: {}. {} jobs, {} on two cores",
            e.number,
            e.id,
            e.title,
            jobs.len(),
            duration(60.0 * time)
        ));
        let rows: Vec<Vec<String>> = e
            .claims
            .iter()
            .map(|c| vec![format!("  {}", c.id), c.text.clone()])
            .collect();
        text += &facts(&rows);
        text.push('\n');
    }
    text += &format!(
        "{} jobs, {} claims, {} on two cores\n",
        plan.jobs.len(),
        plan.claims(),
        duration(60.0 * plan.minutes())
    );
    print(&text)?;
    Ok(Outcome::Fine)
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    together(|team| alone_or_dealt(args, team.as_deref(), limits))
}

/// All jobs, or those that are dealt to this process.
fn alone_or_dealt(args: &Args, team: Option<&dyn Team>, limits: &Limits) -> Result<Outcome> {
    let alone = [
        ("merge", args.command.is_some()),
        ("list", args.list),
        ("shard", args.shard.is_some()),
    ];
    first(team, || refuse(team, &alone))?;
    let (machine, version) = (Machine::here(), super::version());
    let here = (limits, &version[..], &machine.cpu[..]);
    if let Some(Command::Merge { folders, pages }) = &args.command {
        let stores: Vec<Store> = folders.iter().map(|f| Store::new(f)).collect();
        pages.check(&[], &stores.iter().collect::<Vec<_>>())?;
        let plan = merged(&stores, limits)?;
        let shops: Vec<Shop<'_>> = stores.iter().map(|s| shop(args, s, here)).collect();
        let found = Findings::of(plan, &shops)?;
        pages.write(&found, None)?;
        return show(&found, false);
    }
    let options = Options {
        experiments: args.experiments.clone(),
        seeds: args.seeds,
        budget: args.budget,
    };
    let whole = first(team, || Plan::new(&options, limits))?;
    let mut plan = whole.clone();
    if let Some(text) = &args.shard {
        let (i, n) = shard(text)?;
        plan.shard(i, n)?;
    }
    if args.list {
        return list(&plan);
    }
    let store = Store::new(&args.out);
    first(team, || {
        threads(args.threads)?;
        match team {
            Some(team) if team.rank() > 0 => Ok(()),
            _ => begin(args, &store, limits),
        }
    })?;
    if let Some(team) = team {
        plan.shard(team.rank() + 1, team.size())?;
    }
    let mut stopped = work(&plan, &shop(args, &store, here), args.budget)?;
    if let Some(team) = team {
        let all = team.collect(&[u8::from(stopped)])?;
        if team.rank() > 0 {
            return Ok(Outcome::Fine);
        }
        stopped = all.concat().contains(&1);
    }
    let found = Findings::of(
        if args.shard.is_some() { plan } else { whole },
        &[shop(args, &store, here)],
    )?;
    args.pages.write(&found, Some(&args.out))?;
    let outcome = show(&found, args.shard.is_some())?;
    Ok(if stopped { Outcome::Stopped } else { outcome })
}

/// Where jobs are done: limits, version and processor are of this program and machine.
fn shop<'a>(
    args: &Args,
    store: &'a Store,
    (limits, version, cpu): (&'a Limits, &'a str, &'a str),
) -> Shop<'a> {
    Shop {
        store,
        threads: threads_of(args.threads),
        limits,
        version,
        cpu,
    }
}

/// Refuses a folder that has a run, unless that is taken up; says in it what was asked for.
fn begin(args: &Args, store: &Store, limits: &Limits) -> Result<()> {
    if store.plan(limits)?.is_some() && !args.resume {
        return Err(Error::Io {
            path: args.out.display().to_string(),
            problem: "has a run in it; --resume goes on with it, --out chooses another folder"
                .into(),
        });
    }
    args.pages.check(&args.experiments, &[store])?;
    store.begin(&PlanRecord {
        schema: PLAN.into(),
        experiments: args.experiments.clone(),
        seeds: args.seeds,
        budget: args.budget,
    })
}

/// The plan that all folders have.
fn merged(stores: &[Store], limits: &Limits) -> Result<Plan> {
    let mut first: Option<PlanRecord> = None;
    for store in stores {
        let path = store.folder().display().to_string();
        let Some(plan) = store.plan(limits)? else {
            let problem = "has no run of `cld reproduce` in it".into();
            return Err(Error::Io { path, problem });
        };
        if first.get_or_insert_with(|| plan.clone()) != &plan {
            let problem = "is of another run: experiments, seeds or budget differ".into();
            return Err(Error::Io { path, problem });
        }
    }
    let Some(p) = first else {
        return Err(Error::parameter("FOLDER", "none", "at least one"));
    };
    let options = Options {
        experiments: p.experiments,
        seeds: p.seeds,
        budget: p.budget,
    };
    Plan::new(&options, limits)
}

/// A bar for so many minutes.
fn bar_of(minutes: f64) -> ProgressBar {
    let bar = ProgressBar::new((1000.0 * minutes) as u64);
    let style = ProgressStyle::with_template("{bar:20} {percent} % {elapsed}, {eta} left  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Moves the bar to where a job is, which began after so many minutes.
fn advance(bar: &ProgressBar, before: f64, job: &Job, doing: Doing<'_>) {
    let (done, what) = match doing {
        Doing::Training(step, steps) => {
            let share = step as f64 / steps.max(1) as f64;
            (job.training * share, format!("step {step} of {steps}"))
        }
        Doing::Measuring(name, share) => (job.training + job.measuring * share, name.to_string()),
    };
    bar.set_position((1000.0 * (before + done)) as u64);
    bar.set_message(format!("{}: {what}", job.about()));
}

/// All jobs; whether it was asked to stop.
fn work(plan: &Plan, shop: &Shop<'_>, budget: Option<f64>) -> Result<bool> {
    // asked to, or the budget is used up
    let (asked, stop) = (stopped_by_ctrl_c()?, AtomicBool::new(false));
    let start = Instant::now();
    let over = || budget.is_some_and(|b| start.elapsed().as_secs_f64() > 60.0 * b);
    let mut left = vec![];
    for job in &plan.jobs {
        match &job.needs {
            Some(needs) => note_once(&mut left, job, needs),
            None if shop.done(job)? => (),
            None => left.push(job),
        }
    }
    left.retain(|j| j.needs.is_none());
    let all: f64 = left.iter().map(|j| j.minutes()).sum();
    let bar = progress().then(|| bar_of(all));
    let mut before = 0.0;
    for (i, job) in left.iter().enumerate() {
        if over() {
            note(&format!(
                "the budget is used up: {} of {} jobs are not done",
                left.len() - i,
                left.len()
            ));
            break;
        }
        if bar.is_none() {
            note(&format!("{} of {}: {}", i + 1, left.len(), job.about()));
        }
        let tell = |doing: Doing<'_>| {
            if over() || asked.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
            if let Some(bar) = &bar {
                advance(bar, before, job, doing);
            }
        };
        let whole = shop.work(job, &stop, &tell)?;
        before += job.minutes();
        if asked.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if !whole {
            note("the budget is used up: the last job is not done");
            break;
        }
    }
    Ok(false)
}

/// Says once for each set of data that it is not there.
fn note_once<'a>(seen: &mut Vec<&'a Job>, job: &'a Job, needs: &str) {
    if !seen
        .iter()
        .any(|j| j.needs.is_some() && j.on == job.on && j.experiment == job.experiment)
    {
        note(&format!(
            "{} is left out of {}: {needs}",
            job.on, job.experiment
        ));
        seen.push(job);
    }
}

impl Pages {
    /// Refuses pages in the place of what is read, and plots that have no place, before the work.
    fn check(&self, experiments: &[String], stores: &[&Store]) -> Result<()> {
        let files = experiments.iter().filter(|e| e.ends_with(".toml"));
        Paths::default()
            .inputs("EXPERIMENT", files)
            .inputs("FOLDER", stores.iter().flat_map(|s| s.files()))
            .outputs("html", &self.html)
            .outputs("markdown", &self.markdown)
            .check()?;
        let Some(file) = &self.markdown else {
            return Ok(());
        };
        if file.extension().is_none_or(|e| e != "md") {
            let given = format!("`{}`", file.display());
            return Err(Error::parameter(
                "markdown",
                given,
                "a file name that ends in .md",
            ));
        }
        let plots = file.with_extension("");
        if plots.exists() && !plots.is_dir() {
            return Err(Error::Io {
                path: plots.display().to_string(),
                problem: "is no folder; the plots of --markdown go there".into(),
            });
        }
        Ok(())
    }

    /// Writes the pages; HTML to `folder` if it is asked for nowhere else.
    fn write(&self, found: &Findings, folder: Option<&Path>) -> Result<()> {
        let own = folder.map(|f| f.join("reproduction.html"));
        if let Some(file) = self.html.as_ref().or(own.as_ref()) {
            write_whole(file, html(found)?.as_bytes())?;
        }
        let Some(file) = &self.markdown else {
            return Ok(());
        };
        let plots = file.with_extension("");
        let name = plots
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let (text, pictures) = markdown(found, &name)?;
        if !pictures.is_empty() {
            std::fs::create_dir_all(&plots).map_err(|e| Error::Io {
                path: plots.display().to_string(),
                problem: format!("cannot be created: {e}"),
            })?;
        }
        for (name, svg) in pictures {
            write_whole(&plots.join(name), svg.as_bytes())?;
        }
        write_whole(file, text.as_bytes())
    }
}

fn show(found: &Findings, shard: bool) -> Result<Outcome> {
    let rows: Vec<Vec<String>> = found
        .found
        .iter()
        .map(|c| {
            vec![
                c.claim.id.clone(),
                word(c, found.plan.scale),
                difference(c),
                c.judged.n.to_string(),
            ]
        })
        .collect();
    let mut text = table(&["claim", "verdict", "a - b", "seeds"], &rows);
    text += &format!(
        "{} of {} jobs done, size {} %\n",
        found.done,
        found.plan.jobs.len(),
        short(100.0 * found.plan.scale)
    );
    if shard {
        text = sentence(&format!(
            "{} of {} jobs of this shard done; `cld reproduce merge FOLDERS...` judges the claims",
            found.done,
            found.plan.jobs.len()
        ));
    }
    print(&text)?;
    let off = found
        .found
        .iter()
        .any(|c| c.judged.verdict == Verdict::Fails);
    Ok(if off && !shard {
        Outcome::Off
    } else {
        Outcome::Fine
    })
}
