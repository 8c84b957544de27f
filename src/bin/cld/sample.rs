//! `cld sample`: draws by a sampler, from a trained network, or from data of known law with the exact score.

use super::setting::Setting;
use super::show::{Bar, note_prior, print, short, table, threads};
use super::trained::{COMPARED, Data, Trained};
use super::{Outcome, Result, names};
use cld_sgm::data::files::sources;
use cld_sgm::data::{self, picture};
use cld_sgm::files::{Array, Paths, write_npz, write_whole};
use cld_sgm::plot::pictures::{Cloud, Format, clouds};
use cld_sgm::sampler::adaptive::Tolerance;
use cld_sgm::sampler::driver::{AdaptiveRun, Run};
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::{ADAPTIVE, Grid};
use cld_sgm::score::{Counted, MixtureScore, Score};
use cld_sgm::truth::predict::CHANNELS;
use cld_sgm::{Diffusion, Error};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

/// Draw samples, from a trained network or with the exact score of data of known law, and compare them with fresh data.
///
/// FILE.npz gets one array (n, dim) per channel: x, and v where there is one. A checkpoint of `cld train` has its process; without one
/// the process is cld, and what else is not given has its process's defaults (docs/samplers.md): the paper's, for cld.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of `cld train`.
    #[arg(required_unless_present = "data", conflicts_with = "data")]
    checkpoint: Option<PathBuf>,
    #[arg(long, help = names::known_law())]
    data: Option<String>,
    /// The checkpoint's weights themselves, not their average.
    #[arg(long, requires = "checkpoint")]
    raw: bool,
    #[arg(long, help = names::sampler())]
    sampler: String,
    /// Steps from t = 1 to eps; every sampler needs them but gotta-go-fast.
    #[arg(long)]
    steps: Option<usize>,
    /// Relative tolerance of gotta-go-fast, whose absolute one is a tenth of it; 0.01 if absent.
    #[arg(long)]
    tolerance: Option<f64>,
    /// Samples; 10000 if absent, 100 of images.
    #[arg(long)]
    n: Option<usize>,
    #[arg(long, default_value = "quadratic", help = names::spacing())]
    spacing: String,
    /// Last time.
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
    /// Where to draw points beside the data: .png or .svg.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Where to draw images, the first 100 in rows of ten.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    #[command(flatten)]
    setting: Setting,
}

/// A spacing of times by its name on the command line.
pub fn spacing(text: &str) -> Result<Spacing> {
    let bad = || Error::parameter("spacing", format!("`{text}`"), names::SPACINGS);
    match text {
        "linear" => Ok(Spacing::Linear),
        "quadratic" => Ok(Spacing::Quadratic),
        "log-snr" => Ok(Spacing::LogSnr),
        _ => text.strip_prefix("power:").and_then(|p| p.parse().ok()).map(Spacing::Power).ok_or_else(bad),
    }
}

/// What is the same for all samplers.
pub struct Task<'a> {
    pub diffusion: &'a Diffusion,
    pub score: &'a dyn Score,
    pub spacing: &'a str,
    pub eps: f64,
    pub denoise: bool,
    pub n: usize,
    pub dim: usize,
    pub seed: u64,
}

/// What came of it.
pub struct Drawn {
    pub samples: Vec<Vec<f64>>,
    pub name: String,
    pub about: &'static str,
    pub times: String,
    /// Evaluations of the score per sample.
    pub nfe: f64,
    pub seconds: f64,
}

/// A task for one sampler, everything checked.
pub struct Job<'a> {
    task: Task<'a>,
    sampler: String,
    tolerance: Tolerance,
    fixed: Option<(&'static cld_sgm::sampler::Entry, Box<dyn cld_sgm::sampler::Stepper>, Grid)>,
}

impl<'a> Task<'a> {
    /// Refuses what cannot be done, before it takes time.
    pub fn by(self, sampler: &str, steps: Option<usize>, tolerance: Option<f64>) -> Result<Job<'a>> {
        let fixed = match ADAPTIVE.iter().find(|e| e.name == sampler) {
            Some(_) if steps.is_some() => return Err(Error::parameter("steps", "given", "absent: this sampler chooses its steps")),
            Some(_) => None,
            None => {
                let sampler = names::on_grid(sampler)?;
                if let Some(t) = tolerance {
                    return Err(Error::parameter("tolerance", t, "absent, but for gotta-go-fast"));
                }
                let steps = steps.ok_or_else(|| Error::parameter("steps", "missing", "1 to 10000000; this sampler needs it"))?;
                let grid = Grid::spaced(spacing(self.spacing)?, self.diffusion, steps, self.eps)?;
                Some((sampler, sampler.build(self.diffusion, &grid)?, grid))
            }
        };
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return Err(Error::parameter("eps", self.eps, "0 < eps < 1"));
        }
        if !(1..=100_000_000).contains(&self.n) {
            return Err(Error::parameter("n", self.n, "1 to 100000000"));
        }
        let relative = tolerance.unwrap_or(0.01);
        Ok(Job { task: self, sampler: sampler.into(), tolerance: Tolerance::new(relative, 0.1 * relative)?, fixed })
    }
}

impl Job<'_> {
    pub fn run(&self) -> Result<Drawn> {
        let Task { diffusion, score, spacing, eps, denoise, n, dim, seed } = self.task;
        let score = Counted::new(score);
        let bar = Mutex::new(Bar::new("sampling"));
        let progress = |done, total| {
            if let Ok(mut bar) = bar.lock() {
                bar.set(done, total);
            }
        };
        let start = Instant::now();
        let (samples, name, about, times) = match (&self.fixed, ADAPTIVE.iter().find(|e| e.name == self.sampler)) {
            (Some((sampler, stepper, grid)), _) => {
                let run = Run { diffusion, stepper: &**stepper, grid, denoise, score: &score, n, dim, seed };
                let times = format!("{spacing}, {} steps from 1 to {eps:e}", grid.steps());
                (run.sample(&progress)?, format!("{}, {} steps", sampler.name, grid.steps()), sampler.about, times)
            }
            (None, Some(sampler)) => {
                let run = AdaptiveRun { diffusion, sampler, tolerance: self.tolerance, eps, denoise, score: &score, n, dim, seed };
                let (samples, counts) = run.sample(&progress)?;
                let (accepted, rejected) = counts.iter().fold((0, 0), |a, c| (a.0 + c.accepted, a.1 + c.rejected));
                let mean = |n: usize| short(n as f64 / counts.len() as f64);
                let times = format!("{} steps taken and {} rejected per block, from 1 to {eps:e}", mean(accepted), mean(rejected));
                (samples, sampler.name.to_string(), sampler.about, times)
            }
            (None, None) => return Err(Error::parameter("sampler", &self.sampler, "a sampler")),
        };
        let nfe = score.values() as f64 / (n * dim) as f64;
        Ok(Drawn { samples, name, about, times, nfe, seconds: start.elapsed().as_secs_f64() })
    }
}

/// Images to a row of a picture, and at most so many rows.
const COLUMNS: usize = 10;

/// Pixels of a picture for one of an image, so that small images can be seen.
pub fn scale(shape: [usize; 3]) -> usize {
    (48 / shape[1].max(shape[2]).max(1)).max(1)
}

/// Where samples come from.
struct Origin {
    score: Box<dyn Score>,
    diffusion: Diffusion,
    shape: [usize; 3],
    /// Grey levels; 0: no images.
    levels: u32,
    /// What to compare with; a checkpoint's data may be gone.
    data: Result<Data>,
    /// The files of the data.
    sources: Vec<PathBuf>,
    rows: Vec<Vec<String>>,
}

impl Origin {
    fn new(args: &Args) -> Result<Origin> {
        let row = |a: &str, b: String| vec![a.to_string(), b];
        if let Some(file) = &args.checkpoint {
            args.setting.refused("absent: a checkpoint has its own process")?;
            let t = Trained::read(file, args.raw)?;
            let rows = vec![row("process", t.process()), row("checkpoint", t.about.clone())];
            let (diffusion, shape, data) = (t.diffusion().clone(), t.model.shape(), t.data(None));
            let sources = sources(&t.config.data.name);
            return Ok(Origin { sources, diffusion, shape, levels: t.levels, data, rows, score: Box::new(t.model) });
        }
        let toy = data::entry(args.data.as_deref().unwrap_or_default())?;
        let mixture = (toy.build)()?;
        let (diffusion, about) = args.setting.diffusion()?;
        let rows = vec![row("process", about), row("data", format!("{}: {}", toy.name, toy.about))];
        let score = Box::new(MixtureScore::new(diffusion.clone(), mixture.clone()));
        Ok(Origin { score, diffusion, shape: [mixture.dim(), 1, 1], levels: 0, data: Ok(Data::Toy(mixture)), sources: vec![], rows })
    }
}

pub fn run(args: &Args) -> Result<Outcome> {
    let Origin { score, diffusion, shape, levels, data, sources, mut rows } = Origin::new(args)?;
    let dim = shape.iter().product();
    let n = args.n.unwrap_or(if levels > 0 { 100 } else { 10_000 });
    let task = Task {
        diffusion: &diffusion,
        score: &*score,
        spacing: &args.spacing,
        eps: args.eps,
        denoise: args.denoise,
        n,
        dim,
        seed: args.seed,
    };
    let planning = Bar::new("planning");
    let job = task.by(&args.sampler, args.steps, args.tolerance)?;
    drop(planning);
    let format = args.plot.as_deref().map(Format::of).transpose()?;
    match (&args.plot, &args.grid) {
        (Some(_), _) if levels > 0 => return Err(Error::parameter("plot", "given", "absent for images; --grid draws them")),
        (_, Some(_)) if levels == 0 => return Err(Error::parameter("grid", "given", "absent for points; --plot draws them")),
        (_, Some(file)) if file.extension().is_none_or(|e| e != "png") => {
            return Err(Error::parameter("grid", format!("`{}`", file.display()), "a file's name that ends in .png"));
        }
        _ => (),
    }
    let paths = Paths::default().inputs("checkpoint", &args.checkpoint).inputs("data", sources);
    paths.outputs("out", &args.out).outputs("plot", &args.plot).outputs("grid", &args.grid).check()?;
    threads(args.threads)?;
    note_prior(&diffusion);
    let drawn = job.run()?;

    rows.push(vec!["sampler".into(), format!("{}: {}", args.sampler, drawn.about)]);
    rows.push(vec!["times".into(), drawn.times]);
    rows.push(vec!["evaluations per sample".into(), short(drawn.nfe)]);
    rows.push(vec!["seconds".into(), format!("{} ({} samples/s)", short(drawn.seconds), short(n as f64 / drawn.seconds))]);
    let x = &drawn.samples[0];
    let comparing = Bar::new("comparing");
    match data.as_ref().map_err(Clone::clone).and_then(|d| d.distance(x, args.seed)) {
        Ok(distance) => rows.extend(distance.lines()),
        Err(e) => rows.push(vec!["no distance to data".into(), e.to_string()]),
    }
    drop(comparing);
    let picture = match (format, &data) {
        (Some(f), Ok(data)) => {
            let shown = n.min(COMPARED);
            let fresh = data.fresh(shown, args.seed)?;
            let all = [Cloud { title: "data", points: &fresh }, Cloud { title: &drawn.name, points: &x[..shown * dim] }];
            Some(clouds(f, &all, dim)?)
        }
        (Some(_), Err(e)) => return Err(e.clone()),
        _ => None,
    };
    let grid = match args.grid {
        Some(_) => {
            let shown = n.min(COLUMNS * COLUMNS);
            Some(picture::grid_of_values(&x[..shown * dim], shape, levels, COLUMNS, scale(shape))?)
        }
        None => None,
    };
    for (name, file, bytes) in [("plot", &args.plot, picture), ("grid", &args.grid, grid)] {
        if let (Some(file), Some(bytes)) = (file, bytes) {
            write_whole(file, &bytes)?;
            rows.push(vec![name.into(), file.display().to_string()]);
        }
    }
    if let Some(file) = &args.out {
        let arrays = CHANNELS
            .iter()
            .zip(drawn.samples)
            .map(|(name, data)| Ok(((*name).to_string(), Array::new(vec![n, dim], data)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        write_npz(file, &arrays)?;
        rows.push(vec!["samples".into(), file.display().to_string()]);
    }
    print(&table(&["", ""], &rows))?;
    Ok(Outcome::Fine)
}
