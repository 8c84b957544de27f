//! `cld sample`: draws from data of known law, by a sampler with the exact score.

use crate::setting::Setting;
use crate::show::{Bar, print, short, table, threads, writable};
use crate::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::data;
use cld_sgm::metrics::{Pairwise, sliced};
use cld_sgm::sampler::adaptive::Tolerance;
use cld_sgm::sampler::driver::{AdaptiveRun, Run};
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::{ADAPTIVE, Grid, entry};
use cld_sgm::score::{Counted, MixtureScore};
use cld_sgm::vectors::arrays::{Array, write_npz, write_whole};
use cld_sgm::vectors::plot::{Cloud, Format, clouds};
use cld_sgm::vectors::predict::CHANNELS;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

/// Draw samples with the exact score, and compare them with fresh data.
///
/// FILE.npz gets one array (n, dim) per channel: x, and v where there is one. The process is the paper's (cld, M = 1/4, gamma = 0.04,
/// beta = 4) unless flags say otherwise.
#[derive(clap::Args)]
pub struct Args {
    /// Data: mixture, diamond, swissroll, modes25, funnel.
    #[arg(long)]
    data: String,
    /// Sampler: em, sscs, ...; an unknown name lists them all. gotta-go-fast chooses its own steps.
    #[arg(long)]
    sampler: String,
    /// Steps of the grid, from t = 1 to eps; every sampler needs them but gotta-go-fast.
    #[arg(long)]
    steps: Option<usize>,
    /// Relative tolerance of gotta-go-fast, whose absolute one is a tenth of it; 0.01 if absent.
    #[arg(long)]
    tolerance: Option<f64>,
    /// Samples.
    #[arg(long, default_value_t = 10_000)]
    n: usize,
    /// Spacing of the times: linear, quadratic, power:P, log-snr.
    #[arg(long, default_value = "quadratic")]
    grid: String,
    /// Last time of the grid.
    #[arg(long, default_value_t = 1e-3)]
    eps: f64,
    /// End with a noise-free Euler step from eps to 0.
    #[arg(long)]
    denoise: bool,
    /// Seed; the same seed gives the same samples, whatever the number of threads.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to write the samples.
    #[arg(long, value_name = "FILE.npz")]
    out: Option<PathBuf>,
    /// Where to draw them beside the data: .png or .svg.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    setting: Setting,
}

/// A grid's spacing by its name on the command line.
pub fn spacing(text: &str) -> Result<Spacing> {
    let bad = || Error::parameter("grid", format!("`{text}`"), "linear, quadratic, power:P with 0.1 <= P <= 100, log-snr");
    match text {
        "linear" => Ok(Spacing::Linear),
        "quadratic" => Ok(Spacing::Quadratic),
        "log-snr" => Ok(Spacing::LogSnr),
        _ => text.strip_prefix("power:").and_then(|p| p.parse().ok()).map(Spacing::Power).ok_or_else(bad),
    }
}

/// Most points that distances are taken over.
const COMPARED: usize = 20_000;

/// Blocks of the energy distance: of equal laws a block's value is skewed, and the error of the mean of few of them too small.
const BLOCKS: usize = 40;

pub fn run(args: &Args) -> Result<Outcome> {
    let toy = data::entry(&args.data)?;
    let mixture = (toy.build)()?;
    let adaptive = ADAPTIVE.iter().find(|e| e.name == args.sampler);
    let (diffusion, about) = args.setting.diffusion()?;
    let fixed = match adaptive {
        Some(_) if args.steps.is_some() => return Err(Error::parameter("steps", "given", "absent: this sampler chooses its steps")),
        Some(_) => None,
        None => {
            let sampler = entry(&args.sampler)?;
            if let Some(t) = args.tolerance {
                return Err(Error::parameter("tolerance", t, "absent, but for gotta-go-fast"));
            }
            let steps = args.steps.ok_or_else(|| Error::parameter("steps", "missing", "1 to 10000000; this sampler needs it"))?;
            let grid = Grid::spaced(spacing(&args.grid)?, &diffusion, steps, args.eps)?;
            Some((sampler, sampler.build(&diffusion, &grid)?, grid))
        }
    };
    let relative = args.tolerance.unwrap_or(0.01);
    let tolerance = Tolerance::new(relative, 0.1 * relative)?;
    if !(args.eps > 0.0 && args.eps < 1.0) {
        return Err(Error::parameter("eps", args.eps, "0 < eps < 1"));
    }
    if !(1..=100_000_000).contains(&args.n) {
        return Err(Error::parameter("n", args.n, "1 to 100000000"));
    }
    let format = args.plot.as_deref().map(Format::of).transpose()?;
    for file in args.out.iter().chain(&args.plot) {
        writable(file)?;
    }
    threads(args.threads)?;
    let dim = mixture.dim();
    let score = Counted::new(MixtureScore::new(diffusion.clone(), mixture.clone()));
    let bar = Mutex::new(Bar::new("sampling"));
    let start = Instant::now();
    let progress = |done, total| {
        if let Ok(mut bar) = bar.lock() {
            bar.set(done, total);
        }
    };
    let (denoise, n, seed, eps) = (args.denoise, args.n, args.seed, args.eps);
    let (samples, name, description, times) = match (&fixed, adaptive) {
        (Some((sampler, stepper, grid)), _) => {
            let run = Run { diffusion: &diffusion, stepper: &**stepper, grid, denoise, score: &score, n, dim, seed };
            let times = format!("{}, {} steps from 1 to {eps:e}", args.grid, grid.steps());
            (run.sample(&progress)?, format!("{}, {} steps", sampler.name, grid.steps()), sampler.about, times)
        }
        (None, Some(sampler)) => {
            let run = AdaptiveRun { diffusion: &diffusion, sampler, tolerance, eps, denoise, score: &score, n, dim, seed };
            let (samples, counts) = run.sample(&progress)?;
            let (accepted, rejected) = counts.iter().fold((0, 0), |a, c| (a.0 + c.accepted, a.1 + c.rejected));
            let mean = |n: usize| short(n as f64 / counts.len() as f64);
            let times = format!("{} steps taken and {} rejected per block, from 1 to {eps:e}", mean(accepted), mean(rejected));
            (samples, sampler.name.to_string(), sampler.about, times)
        }
        (None, None) => return Err(Error::parameter("sampler", &args.sampler, "a sampler")),
    };
    let seconds = start.elapsed().as_secs_f64();
    drop(bar);

    // fresh data, from another stream than the run's noise, and once more for the distance of data to data
    let shown = args.n.min(COMPARED);
    let fresh = |i: u64| mixture.sample(args.seed.wrapping_add(i << 32), shown);
    let (fresh, again) = (fresh(1), fresh(2));
    let mut rows = vec![
        vec!["process".into(), about],
        vec!["data".into(), format!("{}: {}", toy.name, toy.about)],
        vec!["sampler".into(), format!("{}: {description}", args.sampler)],
        vec!["grid".into(), times],
        vec!["evaluations per sample".into(), short(score.values() as f64 / (args.n * dim) as f64)],
        vec!["seconds".into(), format!("{} ({:.0} samples/s)", short(seconds), args.n as f64 / seconds)],
    ];
    let x = &samples[0][..shown * dim];
    let w2 = |a: &[f64], b: &[f64]| sliced(a, b, dim, 2, 64, args.seed).map(|e| e.value);
    rows.push(vec!["sliced W2 to data".into(), format!("{} (data to data: {})", short(w2(x, &fresh)?), short(w2(&again, &fresh)?))]);
    if shown >= 10 * BLOCKS {
        let e = Pairwise::Energy.blocks(x, &fresh, dim, shown / BLOCKS)?;
        rows.push(vec!["energy distance to data".into(), format!("{} +- {}", short(e.value), short(e.error))]);
    }
    let picture = match format {
        Some(f) => {
            let data = Cloud { title: "data", points: &fresh };
            Some(clouds(f, &[data, Cloud { title: &name, points: x }], dim)?)
        }
        None => None,
    };
    if let Some(file) = &args.out {
        let arrays = CHANNELS
            .iter()
            .zip(samples)
            .map(|(name, data)| Ok(((*name).to_string(), Array::new(vec![args.n, dim], data)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        write_npz(file, &arrays)?;
        rows.push(vec!["samples".into(), file.display().to_string()]);
    }
    if let (Some(file), Some(bytes)) = (&args.plot, picture) {
        write_whole(file, &bytes)?;
        rows.push(vec!["plot".into(), file.display().to_string()]);
    }
    print(&table(&["", ""], &rows))?;
    Ok(Outcome::Fine)
}
