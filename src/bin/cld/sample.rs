//! `cld sample`: draws from data of known law, by a sampler with the exact score.

use crate::setting::Setting;
use crate::show::{Bar, print, short, table, threads, writable};
use crate::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::data;
use cld_sgm::metrics::{Pairwise, sliced};
use cld_sgm::sampler::driver::Run;
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::{Grid, entry};
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
    /// Sampler: em, sscs, ...; an unknown name lists them all.
    #[arg(long)]
    sampler: String,
    /// Steps of the grid, from t = 1 to eps.
    #[arg(long)]
    steps: usize,
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

/// Points per block of the energy distance.
const BLOCK: usize = 500;

pub fn run(args: &Args) -> Result<Outcome> {
    let toy = data::entry(&args.data)?;
    let mixture = (toy.build)()?;
    let sampler = entry(&args.sampler)?;
    let (diffusion, about) = args.setting.diffusion()?;
    let grid = Grid::spaced(spacing(&args.grid)?, &diffusion, args.steps, args.eps)?;
    let stepper = sampler.build(&diffusion, &grid)?;
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
    let run = Run {
        diffusion: &diffusion,
        stepper: &*stepper,
        grid: &grid,
        denoise: args.denoise,
        score: &score,
        n: args.n,
        dim,
        seed: args.seed,
    };
    let bar = Mutex::new(Bar::new("sampling"));
    let start = Instant::now();
    let samples = run.sample(&|done, total| {
        if let Ok(mut bar) = bar.lock() {
            bar.set(done, total);
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    drop(bar);

    // fresh data, from another stream than the run's noise, and once more for the distance of data to data
    let shown = args.n.min(COMPARED);
    let fresh = |i: u64| mixture.sample(args.seed.wrapping_add(i << 32), shown);
    let (fresh, again) = (fresh(1), fresh(2));
    let mut rows = vec![
        vec!["process".into(), about],
        vec!["data".into(), format!("{}: {}", toy.name, toy.about)],
        vec!["sampler".into(), format!("{}: {}", sampler.name, sampler.about)],
        vec!["grid".into(), format!("{}, {} steps from 1 to {:e}", args.grid, args.steps, args.eps)],
        vec!["evaluations per sample".into(), short(score.values() as f64 / (args.n * dim) as f64)],
        vec!["seconds".into(), format!("{} ({:.0} samples/s)", short(seconds), args.n as f64 / seconds)],
    ];
    let x = &samples[0][..shown * dim];
    let w2 = |a: &[f64], b: &[f64]| sliced(a, b, dim, 2, 64, args.seed).map(|e| e.value);
    rows.push(vec!["sliced W2 to data".into(), format!("{} (data to data: {})", short(w2(x, &fresh)?), short(w2(&again, &fresh)?))]);
    if shown >= 2 * BLOCK {
        let e = Pairwise::Energy.blocks(x, &fresh, dim, BLOCK)?;
        rows.push(vec!["energy distance to data".into(), format!("{} +- {}", short(e.value), short(e.error))]);
    }
    let picture = match format {
        Some(f) => {
            let title = format!("{}, {} steps", sampler.name, args.steps);
            let data = Cloud { title: "data", points: &fresh };
            Some(clouds(f, &[data, Cloud { title: &title, points: x }], dim)?)
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
