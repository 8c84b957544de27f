//! `cld nll`: likelihoods of a trained network.

use super::several::{first, together};
use super::show::{Bar, facts, note_prior, print, short, threads, write_json};
use super::{Outcome, Result, names};
use cld_sgm::Error;
use cld_sgm::data::files::sources;
use cld_sgm::internal::evaluate::bits::{Bits, Job, Part, Task};
use cld_sgm::internal::evaluate::trained::{Trained, file_of};
use cld_sgm::internal::files::Paths;
use cld_sgm::metrics::Estimate;
use cld_sgm::team::Team;
use cld_sgm::train::model::Probes;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Bits per dimension of a trained network, with standard error.
///
/// Pixels get uniform noise within their level, and the flow's density of what comes out bounds the
/// bits of the levels from above. A process with a velocity has one for each draw of v: their mean
/// (Jensen) is a bound, the importance-weighted mean a tighter one; without a velocity the flow's
/// density is what it is. Points have nats, against their own entropy. See
/// docs/guide/evaluation.md.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of `cld train`, or the folder of its run.
    #[arg(value_name = "CHECKPOINT|FOLDER")]
    checkpoint: PathBuf,
    #[arg(long, default_value = "held-out", help = names::of_likelihoods())]
    data: String,
    /// Samples, the first ones; 100 if absent, or as many as there are.
    #[arg(long)]
    n: Option<usize>,
    /// Relative and absolute error of a step of the flow; the network is in f32, so that less than
    /// 1e-6 cannot be had.
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// Time where the flow starts.
    #[arg(long, default_value_t = 1e-5)]
    eps: f64,
    /// Draws of the velocity for each sample.
    #[arg(long, default_value_t = 4)]
    draws: usize,
    /// Probes of the divergence: a number, or exact (one backward pass for each coordinate). 1 if
    /// absent, exact up to 8 coordinates.
    #[arg(long)]
    probes: Option<String>,
    /// The weights themselves, not their average.
    #[arg(long)]
    raw: bool,
    /// Seed of noise within levels, velocities and probes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads; all cores if absent. They change no bit.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn probes(text: Option<&str>, dim: usize) -> Result<Probes> {
    match text {
        None if dim <= 8 => Ok(Probes::Exact),
        None => Ok(Probes::Signs(1)),
        Some("exact") => Ok(Probes::Exact),
        Some(t) => t
            .parse()
            .map(Probes::Signs)
            .map_err(|_| Error::parameter("probes", format!("`{t}`"), "1 to 65536, or exact")),
    }
}

fn row(a: String, b: String) -> Vec<String> {
    vec![a, b]
}

/// The figures in this unit: of the bound, plain and weighted, or of the flow; and of the data's own
/// law.
fn estimates(
    args: &Args,
    trained: &Trained,
    (bits, unit): (&Bits, &str),
    probes: Probes,
) -> Vec<Vec<String>> {
    let figure = |e: &Estimate| format!("{:.4} +- {:.4}", e.value, e.error);
    let plain = figure(&bits.plain);
    let mut rows = vec![];
    if let Some(weighted) = &bits.weighted {
        let how = format!("upper bound: Jensen over {} velocities each", args.draws);
        rows.push(row(unit.into(), format!("{plain} ({how})")));
        let what = match probes {
            Probes::Exact => "upper bound in expectation",
            Probes::Signs(_) => "estimate: probes make it too low by half their variance",
        };
        rows.push(row(
            format!("{unit}, weighted"),
            format!("{} ({what})", figure(weighted)),
        ));
    } else {
        let what = if trained.levels > 0 {
            "the flow's, an upper bound of the levels'"
        } else {
            "the flow's"
        };
        rows.push(row(unit.into(), format!("{plain} ({what})")));
    }
    if let Some(own) = &bits.own {
        rows.push(row(format!("{unit}, of the data's own law"), figure(own)));
    }
    rows
}

/// What was computed of what, and the figures in this unit.
fn figures(
    args: &Args,
    trained: &Trained,
    (bits, unit): (&Bits, &str),
    probes: Probes,
) -> Result<Vec<Vec<String>>> {
    let dim = trained.model.dim();
    let mut rows = vec![
        row("process".into(), trained.process()?),
        row("checkpoint".into(), trained.about.clone()),
        row(
            "data".into(),
            format!(
                "{} of {}, {} samples of {dim} dimensions",
                args.data, trained.config.data.name, bits.n
            ),
        ),
    ];
    rows.extend(estimates(args, trained, (bits, unit), probes));
    let probing = match probes {
        Probes::Exact => "exact divergence".to_string(),
        Probes::Signs(p) => format!("{p} probe(s)"),
    };
    rows.push(row(
        "flow".into(),
        format!(
            "from {:e} to 1, tolerance {:e}, {probing}",
            args.eps, args.tolerance
        ),
    ));
    rows.push(row(
        "evaluations per sample and draw".into(),
        short(bits.nfe),
    ));
    Ok(rows)
}

/// Refuses a record in the place of what is read.
fn check_paths(args: &Args, trained: &Trained) -> Result<()> {
    let data = [&trained.config.data.name, &args.data]
        .into_iter()
        .flat_map(|d| sources(d));
    Paths::default()
        .inputs("checkpoint", [file_of(&args.checkpoint)])
        .inputs("data", data)
        .outputs("json", &args.json)
        .check()
}

pub fn run(args: &Args) -> Result<Outcome> {
    together(|team| work(args, team.as_deref()))
}

/// What to compute, everything checked.
fn job<'a>(args: &'a Args, trained: &'a Trained, probes: Probes) -> Result<Job<'a>> {
    let part = match args.data.as_str() {
        "held-out" => Part::HeldOut,
        "train" => Part::Train,
        other => Part::Other(other),
    };
    let task = Task {
        part,
        n: args.n,
        tolerance: args.tolerance,
        eps: args.eps,
        draws: args.draws,
        probes,
        seed: args.seed,
    };
    let job = Job::new(trained, task)?;
    check_paths(args, trained)?;
    threads(args.threads)?;
    Ok(job)
}

fn work(args: &Args, team: Option<&dyn Team>) -> Result<Outcome> {
    let trained = first(team, || Trained::read(&args.checkpoint, args.raw))?;
    let probes = first(team, || probes(args.probes.as_deref(), trained.model.dim()))?;
    let job = first(team, || job(args, &trained, probes))?;
    note_prior(trained.diffusion());
    let mut bar = Bar::new("likelihoods");
    let start = Instant::now();
    let bits = job.run_by(team, &mut |done, total| bar.set(done, total))?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    if team.is_some_and(|t| t.rank() > 0) {
        return Ok(Outcome::Fine);
    }

    let unit = if trained.levels > 0 {
        "bits per dimension"
    } else {
        "nats per point"
    };
    let mut rows = figures(args, &trained, (&bits, unit), probes)?;
    rows.push(row("seconds".into(), short(seconds)));
    if let Some(file) = &args.json {
        let value = |e: &Estimate| json!({"value": e.value, "error": e.error});
        let all = json!({
            "schema": "cld-nll/1", "process": trained.process()?, "checkpoint": trained.about, "data": args.data, "unit": unit, "n": bits.n,
            "flow": value(&bits.plain), "weighted": bits.weighted.as_ref().map(value), "own": bits.own.as_ref().map(value),
            "draws": if job.velocity() { Some(args.draws) } else { None }, "eps": args.eps, "tolerance": args.tolerance, "seed": args.seed,
            "nfe": bits.nfe, "seconds": seconds,
        });
        write_json(file, &all)?;
        rows.push(row("record".into(), file.display().to_string()));
    }
    print(&facts(&rows))?;
    Ok(Outcome::Fine)
}
