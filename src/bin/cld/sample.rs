//! `cld sample`: draws by a sampler, from a trained network, or from data of known law with the
//! exact score.

use super::setting::Setting;
use super::several::{first, together};
use super::show::{Bar, facts, note_prior, print, short, table, threads, write_json};
use super::{Outcome, Result, names};
use cld_sgm::data::files::sources;
use cld_sgm::data::{self, picture};
use cld_sgm::internal::evaluate::data::COMPARED;
use cld_sgm::internal::evaluate::draw::{Budget, Drawn, Job, Task};
use cld_sgm::internal::evaluate::trained::file_of;
use cld_sgm::internal::evaluate::{Data, Distance, Trained};
use cld_sgm::internal::files::{Array, Paths, write_npz, write_whole};
use cld_sgm::internal::plot::pictures::{self, Cloud, Format};
use cld_sgm::internal::truth::predict::CHANNELS;
use cld_sgm::score::{MixtureScore, Score};
use cld_sgm::team::Team;
use cld_sgm::{Diffusion, Error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Draw samples, from a trained network or with the exact score of data of known law, and compare
/// them with fresh data.
///
/// FILE.npz gets one array (n, dim) per channel: x, and v where there is one. A checkpoint of
/// `cld train` has its process; without one the process is cld, and what else is not given has its
/// process's defaults (docs/reference/samplers.md): the paper's, for cld. Several samplers run one
/// after the other, on the same noise as far as they use the same.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of `cld train`, or the folder of its run.
    #[arg(
        value_name = "CHECKPOINT|FOLDER",
        required_unless_present = "data",
        conflicts_with = "data"
    )]
    checkpoint: Option<PathBuf>,
    #[arg(long, help = names::known_law())]
    data: Option<String>,
    /// The checkpoint's weights themselves, not their average.
    #[arg(long, requires = "checkpoint")]
    raw: bool,
    #[arg(long, visible_alias = "sampler", value_name = "NAMES", required = true, value_delimiter = ',', help = names::sampler())]
    samplers: Vec<String>,
    /// Steps from t = 1 to eps; every sampler needs them, or --nfe, but gotta-go-fast.
    #[arg(long)]
    steps: Option<usize>,
    /// In place of steps: evaluations of the score per sample, a denoising step included.
    #[arg(long, conflicts_with = "steps")]
    nfe: Option<usize>,
    /// Relative tolerance of gotta-go-fast, whose absolute one is a tenth of it; 0.01 if absent.
    #[arg(long)]
    tolerance: Option<f64>,
    /// Samples; 10000 if absent, 100 of images.
    #[arg(long)]
    n: Option<usize>,
    #[arg(long, visible_alias = "spacing", value_name = "NAMES", value_delimiter = ',', default_value = "quadratic", help = names::spacings())]
    spacings: Vec<String>,
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
    /// Where to write the samples of one sampler.
    #[arg(long, value_name = "FILE.npz")]
    out: Option<PathBuf>,
    /// Where to write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw points beside the data, a panel for each sampler and spacing: .png or .svg.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Where to draw the points of one sampler at six times of its run: .png or .svg.
    #[arg(long, value_name = "FILE")]
    strip: Option<PathBuf>,
    /// Where to draw images, the first 100 in rows of ten.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    #[command(flatten)]
    setting: Setting,
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
            args.setting
                .refused("absent: a checkpoint has its own process")?;
            let t = Trained::read(file, args.raw)?;
            let rows = vec![
                row("process", t.process()?),
                row("checkpoint", t.about.clone()),
            ];
            let (diffusion, shape, data) = (t.diffusion().clone(), t.model.shape(), t.data(None));
            let sources = sources(&t.config.data.name);
            return Ok(Origin {
                sources,
                diffusion,
                shape,
                levels: t.levels,
                data,
                rows,
                score: Box::new(t.model),
            });
        }
        let toy = data::entry(args.data.as_deref().unwrap_or_default())?;
        let mixture = (toy.build)()?;
        let (diffusion, about) = args.setting.diffusion()?;
        let rows = vec![
            row("process", about),
            row("data", format!("{}: {}", toy.name, toy.about)),
        ];
        let score = Box::new(MixtureScore::new(diffusion.clone(), mixture.clone()));
        Ok(Origin {
            score,
            diffusion,
            shape: [mixture.dim(), 1, 1],
            levels: 0,
            data: Ok(Data::Toy(mixture)),
            sources: vec![],
            rows,
        })
    }
}

/// A run, and the distance of its samples to the data.
struct Ran {
    spacing: String,
    drawn: Drawn,
    distance: Result<Distance>,
}

impl Ran {
    /// Above its panel: sampler, evaluations, distance.
    fn title(&self) -> String {
        let how = if self.spacing.is_empty() {
            String::new()
        } else {
            format!(", {}", self.spacing)
        };
        let far = match &self.distance {
            Ok(d) => format!("\nW2 {} (data {})", short(d.value), short(d.floor)),
            Err(_) => String::new(),
        };
        format!(
            "{}{how}, {} evaluations{far}",
            self.drawn.sampler,
            short(self.drawn.nfe)
        )
    }
}

/// Rows of a table about one distance.
fn about(d: &Distance) -> Vec<Vec<String>> {
    let name = if d.images {
        "Frechet distance to data"
    } else {
        "sliced W2 to data"
    };
    let what = if d.images {
        format!(", {} images each", d.rows)
    } else {
        String::new()
    };
    let mut rows = vec![vec![
        name.into(),
        format!(
            "{} (data to data: {}{what})",
            short(d.value),
            short(d.floor)
        ),
    ]];
    if let Some((value, error)) = d.energy {
        rows.push(vec![
            "energy distance to data".into(),
            format!("{} +- {}", short(value), short(error)),
        ]);
    }
    rows
}

/// Rows about the one run.
fn one(ran: &Ran, n: usize) -> Vec<Vec<String>> {
    let Drawn {
        sampler,
        about: what,
        times,
        nfe,
        seconds,
        ..
    } = &ran.drawn;
    let row = |a: &str, b: String| vec![a.to_string(), b];
    let mut rows = vec![
        row("sampler", format!("{sampler}: {what}")),
        row("times", times.clone()),
        row("evaluations per sample", short(*nfe)),
        row(
            "seconds",
            format!(
                "{} ({} samples/s)",
                short(*seconds),
                short(n as f64 / seconds)
            ),
        ),
    ];
    match &ran.distance {
        Ok(distance) => rows.extend(about(distance)),
        Err(e) => rows.push(row("no distance to data", e.to_string())),
    }
    rows
}

/// A run in the file that `--json` names.
fn record(r: &Ran) -> Value {
    let d = r.distance.as_ref().ok();
    json!({
        "sampler": r.drawn.sampler, "times": r.drawn.times, "nfe": r.drawn.nfe, "seconds": r.drawn.seconds,
        "distance": d.map(|d| if d.images { "frechet" } else { "sliced_w2" }), "value": d.map(|d| d.value),
        "data_to_data": d.map(|d| d.floor), "energy": d.and_then(|d| d.energy).map(|e| e.0), "energy_error": d.and_then(|d| d.energy).map(|e| e.1),
    })
}

/// A table of several runs.
fn several(all: &[Ran]) -> String {
    let images = all
        .iter()
        .any(|r| r.distance.as_ref().is_ok_and(|d| d.images));
    let head = [
        "sampler",
        "times",
        "nfe",
        "seconds",
        if images {
            "Frechet distance"
        } else {
            "sliced W2"
        },
        "energy distance",
    ];
    let head = &head[..if images { 5 } else { 6 }];
    let cells = |r: &Ran| {
        let d = r.distance.as_ref();
        let energy = d.ok().and_then(|d| d.energy).map_or_else(
            || "-".into(),
            |(e, error)| format!("{} +- {}", short(e), short(error)),
        );
        let value = d.map_or_else(|_| "-".into(), |d| short(d.value));
        let mut cells = vec![
            r.drawn.sampler.to_string(),
            r.spacing.clone(),
            short(r.drawn.nfe),
            short(r.drawn.seconds),
            value,
            energy,
        ];
        cells.truncate(head.len());
        cells
    };
    let mut text = table(head, &all.iter().map(cells).collect::<Vec<_>>());
    match all.iter().find_map(|r| r.distance.as_ref().err()) {
        Some(e) => text += &format!("no distance to data: {e}\n"),
        None => {
            text += &all
                .first()
                .and_then(|r| r.distance.as_ref().ok())
                .map_or_else(String::new, |d| {
                    format!("data to data: {}\n", short(d.floor))
                })
        }
    }
    text
}

/// Panels of a strip.
const STRIP: usize = 6;

/// A job at six steps of its run, the last one whole.
fn strip<'a>(job: &Job<'a>) -> Result<Vec<Job<'a>>> {
    let steps = job.steps().unwrap_or(0);
    if steps < STRIP {
        return Err(Error::parameter(
            "strip",
            format!("of {steps} steps"),
            format!("of a sampler on a grid, {STRIP} steps or more"),
        ));
    }
    let parts = (1..STRIP)
        .map(|i| job.first(i * steps / STRIP))
        .collect::<Result<Vec<_>>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// Refuses pictures and files that do not fit what is drawn.
fn check(args: &Args, levels: u32, runs: usize) -> Result<()> {
    let refused =
        |name: &'static str, allowed: &'static str| Err(Error::parameter(name, "given", allowed));
    for (name, file) in [("plot", &args.plot), ("strip", &args.strip)] {
        if let Some(file) = file {
            Format::of(name, file)?;
            if levels > 0 {
                return refused(name, "absent for images; --grid draws them");
            }
        }
    }
    if let Some(file) = &args.grid {
        if levels == 0 {
            return refused("grid", "absent for points; --plot draws them");
        }
        if file.extension().is_none_or(|e| e != "png") {
            return Err(Error::parameter(
                "grid",
                format!("`{}`", file.display()),
                "a file's name that ends in .png",
            ));
        }
    }
    for (name, file) in [
        ("out", &args.out),
        ("grid", &args.grid),
        ("strip", &args.strip),
    ] {
        if runs > 1 && file.is_some() {
            return refused(name, "absent where there are several samplers or spacings");
        }
    }
    Ok(())
}

/// Runs a job with a bar; rank 0 of several processes has what is drawn.
fn with_bar(job: &Job<'_>, team: Option<&dyn Team>) -> Result<Option<Drawn>> {
    let bar = Mutex::new(Bar::new("sampling"));
    job.run_by(team, &|done, total| {
        if let Ok(mut bar) = bar.lock() {
            bar.set(done, total);
        }
    })
}

/// Runs, each with its spacing.
type Runs<'a> = Vec<(String, Job<'a>)>;

/// The runs that the flags ask for: one of a sampler that chooses its steps, whatever the spacings.
fn jobs<'a>(
    args: &'a Args,
    budget: Option<Budget>,
    task: impl Fn(&'a str) -> Task<'a>,
) -> Result<Runs<'a>> {
    let mut jobs = vec![];
    for sampler in &args.samplers {
        for spacing in &args.spacings {
            let job = task(spacing).by(sampler, budget, args.tolerance)?;
            if job.steps().is_none() {
                jobs.push((String::new(), job));
                break;
            }
            jobs.push((spacing.clone(), job));
        }
    }
    Ok(jobs)
}

/// Points under their titles, panel by panel.
fn panels(
    format: Format,
    title: &str,
    panels: &[(String, Vec<f64>)],
    dim: usize,
) -> Result<Vec<u8>> {
    let clouds: Vec<Cloud<'_>> = panels
        .iter()
        .map(|(title, points)| Cloud { title, points })
        .collect();
    pictures::clouds(format, title, &clouds, dim)
}

/// What pictures are drawn of.
struct Scene<'a> {
    args: &'a Args,
    data: &'a Result<Data>,
    /// The first run at earlier ends, for a strip: the times, and the samples.
    before: &'a [(f64, Vec<f64>)],
    jobs: &'a [(String, Job<'a>)],
    all: &'a [Ran],
    shape: [usize; 3],
    levels: u32,
    /// Samples of each run.
    n: usize,
    title: String,
}

impl Scene<'_> {
    fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers of a panel's points.
    fn shown(&self) -> usize {
        self.n.min(COMPARED) * self.dim()
    }

    /// Data and runs side by side.
    fn plot(&self, file: &Path) -> Result<Vec<u8>> {
        let data = self.data.as_ref().map_err(Clone::clone)?;
        let fresh = data.fresh(self.n.min(COMPARED), self.args.seed)?;
        let points = |r: &'_ Ran| (r.title(), r.drawn.samples[0][..self.shown()].to_vec());
        let data = ("data".to_string(), fresh);
        let all: Vec<_> = std::iter::once(data)
            .chain(self.all.iter().map(points))
            .collect();
        panels(Format::of("plot", file)?, &self.title, &all, self.dim())
    }

    /// The first run at six times.
    fn strip(&self, file: &Path) -> Result<Vec<u8>> {
        let at = |t: f64| format!("t = {}", short(t));
        let part = |x: &[f64]| x[..self.shown()].to_vec();
        let before = self.before.iter().map(|(t, x)| (at(*t), part(x)));
        let last = &self.all[0].drawn.samples[0];
        let last = (at(self.jobs[0].1.end()), part(last));
        let all: Vec<_> = before.chain([last]).collect();
        let title = format!("{}, {}", self.args.samplers[0], self.title);
        panels(Format::of("strip", file)?, &title, &all, self.dim())
    }

    /// Images of the first run in rows.
    fn grid(&self) -> Result<Vec<u8>> {
        let shown = self.n.min(COLUMNS * COLUMNS) * self.dim();
        let x = &self.all[0].drawn.samples[0][..shown];
        picture::grid_of_values(x, self.shape, self.levels, COLUMNS, scale(self.shape))
    }

    /// The pictures that are asked for: flag, file, bytes.
    fn pictures(&self) -> Result<Vec<(&'static str, &PathBuf, Vec<u8>)>> {
        let mut all = vec![];
        if let Some(file) = &self.args.plot {
            all.push(("plot", file, self.plot(file)?));
        }
        if let Some(file) = &self.args.strip {
            all.push(("strip", file, self.strip(file)?));
        }
        if let Some(file) = &self.args.grid {
            all.push(("grid", file, self.grid()?));
        }
        Ok(all)
    }
}

/// Runs all jobs, and compares what each drew with the data; rank 0 of several processes has all.
fn draw(
    jobs: &[(String, Job<'_>)],
    data: &Result<Data>,
    seed: u64,
    team: Option<&dyn Team>,
) -> Result<Vec<Ran>> {
    let mut all = vec![];
    for (spacing, job) in jobs {
        let Some(drawn) = with_bar(job, team)? else {
            continue;
        };
        let _comparing = Bar::new("comparing");
        let distance = data
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|d| d.distance(&drawn.samples[0], seed));
        all.push(Ran {
            spacing: spacing.clone(),
            drawn,
            distance,
        });
    }
    Ok(all)
}

/// Refuses files that are each other, or cannot be written.
fn check_paths(args: &Args, sources: &[PathBuf]) -> Result<()> {
    Paths::default()
        .inputs("checkpoint", args.checkpoint.as_deref().map(file_of))
        .inputs("data", sources)
        .outputs("out", &args.out)
        .outputs("plot", &args.plot)
        .outputs("strip", &args.strip)
        .outputs("grid", &args.grid)
        .outputs("json", &args.json)
        .check()
}

/// The file that `--out` names: an array for each channel.
fn write_samples(file: &Path, drawn: Drawn, shape: [usize; 2]) -> Result<()> {
    let arrays = CHANNELS
        .iter()
        .zip(drawn.samples)
        .map(|(name, data)| Ok(((*name).to_string(), Array::new(shape.to_vec(), data)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    write_npz(file, &arrays)
}

pub fn run(args: &Args) -> Result<Outcome> {
    together(|team| work(args, team.as_deref()))
}

/// The runs that the flags ask for, and the first one's earlier ends for a strip, everything
/// checked.
fn plan<'a>(args: &'a Args, origin: &'a Origin, n: usize) -> Result<(Runs<'a>, Vec<Job<'a>>)> {
    let budget = args
        .nfe
        .map(Budget::Evaluations)
        .or(args.steps.map(Budget::Steps));
    let _planning = Bar::new("planning");
    let jobs = jobs(args, budget, |spacing| Task {
        diffusion: &origin.diffusion,
        score: &*origin.score,
        spacing,
        eps: args.eps,
        denoise: args.denoise,
        n,
        dim: origin.shape.iter().product(),
        seed: args.seed,
    })?;
    check(args, origin.levels, jobs.len())?;
    let before = if args.strip.is_some() {
        strip(&jobs[0].1)?
    } else {
        vec![]
    };
    check_paths(args, &origin.sources)?;
    threads(args.threads)?;
    Ok((jobs, before))
}

fn work(args: &Args, team: Option<&dyn Team>) -> Result<Outcome> {
    let origin = first(team, || Origin::new(args))?;
    let (levels, shape, data) = (origin.levels, origin.shape, &origin.data);
    let dim = shape.iter().product();
    let mut rows = origin.rows.clone();
    let process = rows[0][1].clone();
    let n = args.n.unwrap_or(if levels > 0 { 100 } else { 10_000 });
    let Args {
        eps, denoise, seed, ..
    } = *args;
    let (jobs, earlier) = first(team, || plan(args, &origin, n))?;
    note_prior(&origin.diffusion);
    let mut all = draw(&jobs, data, seed, team)?;
    let mut before = vec![];
    for job in &earlier {
        if let Some(mut drawn) = with_bar(job, team)? {
            before.push((job.end(), drawn.samples.swap_remove(0)));
        }
    }
    if team.is_some_and(|t| t.rank() > 0) {
        return Ok(Outcome::Fine);
    }
    let scene = Scene {
        args,
        data,
        before: &before,
        jobs: &jobs,
        all: &all,
        shape,
        levels,
        n,
        title: format!("{process}, N = {n}"),
    };
    let pictures = scene.pictures()?;
    let runs = match &all[..] {
        [ran] => {
            rows.extend(one(ran, n));
            String::new()
        }
        _ => {
            rows.push(vec!["samples".into(), format!("{n} by each sampler")]);
            several(&all)
        }
    };
    for (name, file, bytes) in pictures {
        write_whole(file, &bytes)?;
        rows.push(vec![name.into(), file.display().to_string()]);
    }
    if let Some(file) = &args.json {
        write_json(
            file,
            &json!({"schema": "cld-sample/1", "process": process, "n": n, "eps": eps, "denoise": denoise, "seed": seed,
            "runs": all.iter().map(record).collect::<Vec<_>>()}),
        )?;
        rows.push(vec!["record".into(), file.display().to_string()]);
    }
    if let (Some(file), Some(ran)) = (&args.out, all.pop()) {
        write_samples(file, ran.drawn, [n, dim])?;
        rows.push(vec!["samples".into(), file.display().to_string()]);
    }
    print(&(facts(&rows) + &runs))?;
    Ok(Outcome::Fine)
}
