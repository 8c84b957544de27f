//! `cld nll`: likelihoods of a trained network.

use super::show::{Bar, note_prior, print, short, table, threads};
use super::trained::{Data, Trained};
use super::{Outcome, Result, names};
use cld_sgm::Error;
use cld_sgm::data::images::Dither;
use cld_sgm::likelihood::{Divergence, Likelihood, Terminal, Trace, bits_per_dimension};
use cld_sgm::metrics::Estimate;
use cld_sgm::score::Score;
use cld_sgm::train::model::{Probed, Probes};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Bits per dimension of a trained network, with standard error.
///
/// Pixels get uniform noise within their level, and the flow's density of what comes out bounds the bits of the levels from above. A process
/// with a velocity has one for each draw of v: their mean (Jensen) is a bound, the importance-weighted mean a tighter one; without a
/// velocity the flow's density is what it is. Points have nats, against their own entropy. See docs/evaluation.md.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of `cld train`.
    checkpoint: PathBuf,
    #[arg(long, default_value = "held-out", help = names::of_likelihoods())]
    data: String,
    /// Samples, the first ones; 100 if absent, or as many as there are.
    #[arg(long)]
    n: Option<usize>,
    /// Relative and absolute error of a step of the flow; the network is in f32, so that less than 1e-6 cannot be had.
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// Time where the flow starts.
    #[arg(long, default_value_t = 1e-5)]
    eps: f64,
    /// Draws of the velocity for each sample.
    #[arg(long, default_value_t = 4)]
    draws: usize,
    /// Probes of the divergence: a number, or exact (one backward pass for each coordinate). 1 if absent, exact up to 8 coordinates.
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
}

/// Rows of the flow at once, which share its steps: few, so that the progress is seen.
const ROWS: usize = 128;

/// Counts evaluations of rows.
struct Tally<'a> {
    inner: &'a Probed<'a>,
    calls: AtomicU64,
}

impl Score for Tally<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.score(t, u, out)
    }
}

impl Divergence for Tally<'_> {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.inner.divergence(t, u, out)
    }
}

fn probes(text: Option<&str>, dim: usize) -> Result<Probes> {
    match text {
        None if dim <= 8 => Ok(Probes::Exact),
        None => Ok(Probes::Signs(1)),
        Some("exact") => Ok(Probes::Exact),
        Some(t) => t.parse().map(Probes::Signs).map_err(|_| Error::parameter("probes", format!("`{t}`"), "1 to 65536, or exact")),
    }
}

pub fn run(args: &Args) -> Result<Outcome> {
    let trained = Trained::read(&args.checkpoint, args.raw)?;
    if !(1e-6..=1.0).contains(&args.tolerance) {
        return Err(Error::parameter("tolerance", args.tolerance, "1e-6 to 1 (the network is in f32)"));
    }
    let dim = trained.model.dim();
    let model = &trained.model;
    // each block of rows has probes of its own
    let probes = probes(args.probes.as_deref(), dim)?;
    Probed::new(model, 0, probes)?;
    let likelihood = Likelihood::new(trained.diffusion(), dim, args.eps, args.tolerance, Terminal::Prior)?;
    let velocity = trained.velocity()?;
    if velocity && !(2..=10_000).contains(&args.draws) {
        return Err(Error::parameter("draws", args.draws, "2 to 10000"));
    }
    let of_training = ["held-out", "train"].contains(&args.data.as_str());
    let data = trained.data((!of_training).then_some(args.data.as_str()))?;
    let (x, own) = match &data {
        Data::Images { train, held_out } => {
            let set = match args.data.as_str() {
                "held-out" => held_out,
                _ => train,
            };
            let n = args.n.unwrap_or(100.min(set.len()));
            if !(1..=set.len()).contains(&n) {
                return Err(Error::parameter("n", n, format!("1 to {}, the images there are", set.len())));
            }
            (set.rows(&(0..n).collect::<Vec<_>>(), 0, &Dither::new(args.seed, false))?, None)
        }
        Data::Toy(mixture) => {
            let n = args.n.unwrap_or(1000);
            if !(1..=1_000_000).contains(&n) {
                return Err(Error::parameter("n", n, "1 to 1000000"));
            }
            let x = mixture.sample(args.seed.wrapping_add(3 << 32), n)?;
            let own = x.chunks(dim).map(|x| mixture.log_density(x)).collect::<Result<Vec<f64>>>()?;
            (x, Some(own))
        }
    };
    threads(args.threads)?;
    let per = if velocity { (ROWS / args.draws).max(1) } else { ROWS };
    let (mut plain, mut weighted, mut calls) = (vec![], vec![], 0);
    let blocks: Vec<&[f64]> = x.chunks(per * dim).collect();
    note_prior(trained.diffusion());
    let mut bar = Bar::new("likelihoods");
    let start = Instant::now();
    for (i, block) in blocks.iter().enumerate() {
        let seed = args.seed.wrapping_add((i as u64) << 32);
        let probed = Probed::new(model, seed, probes)?;
        let tally = Tally { inner: &probed, calls: AtomicU64::new(0) };
        if velocity {
            let bounds = likelihood.velocity_bound(&Trace::Exact(&tally), block, args.draws, seed)?;
            plain.extend(bounds.iter().map(|b| b.plain.value));
            weighted.extend(bounds.iter().map(|b| b.weighted.value));
        } else {
            let joint = likelihood.log_joint(&Trace::Exact(&tally), &[block])?;
            plain.extend(joint.values.iter().map(|e| e.value));
        }
        calls += tally.calls.into_inner() as usize * block.len();
        bar.set(i + 1, blocks.len());
    }
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();

    let n = plain.len();
    let figure = |logs: &[f64]| -> Result<String> {
        let each = |l: &f64| match trained.levels {
            0 => Ok(-l),
            levels => bits_per_dimension(*l, dim, levels),
        };
        let e = Estimate::of(&logs.iter().map(each).collect::<Result<Vec<_>>>()?);
        Ok(format!("{:.4} +- {:.4}", e.value, e.error))
    };
    let unit = if trained.levels > 0 { "bits per dimension" } else { "nats per point" };
    let row = |a: String, b: String| vec![a, b];
    let mut rows = vec![
        row("process".into(), trained.process()),
        row("checkpoint".into(), trained.about.clone()),
        row("data".into(), format!("{} of {}, {n} samples of {dim} dimensions", args.data, trained.config.data.name)),
    ];
    if velocity {
        rows.push(row(unit.into(), format!("{} (upper bound: Jensen over {} velocities each)", figure(&plain)?, args.draws)));
        let what = match probes {
            Probes::Exact => "upper bound in expectation",
            Probes::Signs(_) => "estimate: probes make it too low by half their variance",
        };
        rows.push(row(format!("{unit}, weighted"), format!("{} ({what})", figure(&weighted)?)));
    } else {
        let what = if trained.levels > 0 { "the flow's, an upper bound of the levels'" } else { "the flow's" };
        rows.push(row(unit.into(), format!("{} ({what})", figure(&plain)?)));
    }
    if let Some(own) = own {
        rows.push(row(format!("{unit}, of the data's own law"), figure(&own)?));
    }
    let probing = match probes {
        Probes::Exact => "exact divergence".to_string(),
        Probes::Signs(p) => format!("{p} probe(s)"),
    };
    rows.push(row("flow".into(), format!("from {:e} to 1, tolerance {:e}, {probing}", args.eps, args.tolerance)));
    rows.push(row("evaluations per sample and draw".into(), short(calls as f64 / x.len() as f64)));
    rows.push(row("seconds".into(), short(seconds)));
    print(&table(&["", ""], &rows))?;
    Ok(Outcome::Fine)
}
