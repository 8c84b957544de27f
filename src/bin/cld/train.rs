//! `cld train`: trains a network; a run lives in a folder and can be stopped and taken up at any
//! time.

use super::setting::Setting;
use super::several::together;
use super::show::{
    duration, facts, note_prior, print, progress, quiet, short, stopped_by_ctrl_c, threads_of,
};
use super::{Outcome, Result, names};
use cld_sgm::Error;
use cld_sgm::internal::files::{Limits, Paths, read_text};
use cld_sgm::team::Team;
use cld_sgm::train::config::ModelSpec;
use cld_sgm::train::run::{CHECKPOINT, CONFIG, CURVE, End, METRICS};
use cld_sgm::train::{Config, TrainingRun, follow};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Train a network by score matching.
///
/// Without options: a U-Net on the built-in 8x8 digits, CLD, HSM. A TOML file can say everything
/// (docs/guide/training.md); flags override it. The folder gets checkpoint.safetensors,
/// metrics.jsonl, loss.svg and config.toml. Ctrl-C saves a checkpoint and stops.
#[derive(clap::Args)]
pub struct Args {
    /// What to train, as TOML.
    #[arg(value_name = "CONFIG.toml", conflicts_with = "resume")]
    config: Option<PathBuf>,
    #[arg(long, help = names::of_training())]
    data: Option<String>,
    /// Share of the images that training does not see, where the set has no test files.
    #[arg(long, value_name = "SHARE")]
    held_out: Option<f64>,
    /// Flip images left to right, half of the times.
    #[arg(long)]
    flip: bool,
    /// hsm or dsm; hsm where there is a velocity, if absent.
    #[arg(long)]
    objective: Option<String>,
    /// What the network puts out: mixed or eps; mixed for cld with hsm, if absent.
    #[arg(long)]
    parametrisation: Option<String>,
    #[arg(long, help = names::weighting())]
    weighting: Option<String>,
    /// Law of the times: uniform, importance.
    #[arg(long)]
    times: Option<String>,
    /// Smallest time.
    #[arg(long)]
    eps: Option<f64>,
    /// Network: unet, resmlp, mlp; unet for images, resmlp for toys, if absent.
    #[arg(long)]
    model: Option<String>,
    /// unet: channels at full size.
    #[arg(long)]
    base: Option<usize>,
    /// unet: channels of each level in units of base, such as 1,2,2.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    mult: Option<Vec<usize>>,
    /// unet: residual blocks of a level.
    #[arg(long)]
    blocks: Option<usize>,
    /// unet: width of the time's embedding.
    #[arg(long)]
    embedding: Option<usize>,
    /// unet: groups of the norms.
    #[arg(long)]
    groups: Option<usize>,
    /// unet: rate of dropout.
    #[arg(long)]
    dropout: Option<f64>,
    /// mlp, resmlp: width of the hidden layers.
    #[arg(long)]
    width: Option<usize>,
    /// mlp, resmlp: hidden layers, or residual blocks.
    #[arg(long)]
    depth: Option<usize>,
    /// Steps in all.
    #[arg(long)]
    steps: Option<u64>,
    /// Rows of a batch.
    #[arg(long)]
    batch: Option<usize>,
    /// Learning rate of Adam.
    #[arg(long)]
    rate: Option<f64>,
    /// Steps over which the rate grows from 0.
    #[arg(long, value_name = "STEPS")]
    warm_up: Option<u64>,
    /// Last steps over which the rate falls towards 0; with --resume and --steps, those before the
    /// new end.
    #[arg(long, value_name = "STEPS")]
    cool_down: Option<u64>,
    /// Largest norm of a gradient.
    #[arg(long)]
    clip: Option<f64>,
    /// Weight decay.
    #[arg(long)]
    decay: Option<f64>,
    /// Decay of the average of weights.
    #[arg(long)]
    average: Option<f64>,
    /// Seed of all that is random; the same seed gives the same bits, whatever the number of
    /// threads.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "STEPS")]
    save_every: Option<u64>,
    /// Steps between lines of the metrics.
    #[arg(long, value_name = "STEPS")]
    log_every: Option<u64>,
    /// Threads; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder of the run; cld-train if absent.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Take up a run: its folder, or a checkpoint. Only steps, save-every, log-every, threads and
    /// out may be given besides.
    #[arg(long, value_name = "FOLDER|CHECKPOINT")]
    resume: Option<PathBuf>,
    /// Begin anew in a folder that has a run, which is removed.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    setting: Setting,
}

/// Sets a field where its flag is there.
fn set<T: Clone>(field: &mut T, flag: &Option<T>) {
    if let Some(x) = flag {
        *field = x.clone();
    }
}

/// The same for a field that may be absent.
fn set_some<T: Clone>(field: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        field.clone_from(flag);
    }
}

impl Args {
    /// What may change while a run lasts.
    fn change(&self, c: &mut Config) {
        set(&mut c.steps, &self.steps);
        set(&mut c.save_every, &self.save_every);
        set(&mut c.log_every, &self.log_every);
        set(&mut c.adam.cool_down, &self.cool_down);
    }

    /// The file's configuration, or the default one, with the flags over it.
    fn config(&self, limits: &Limits) -> Result<Config> {
        let mut c = match &self.config {
            Some(path) => {
                Config::from_toml(&read_text(path, limits)?, &path.display().to_string())?
            }
            None => Config::default(),
        };
        if self.data.is_some() || self.held_out.is_some() || self.seed.is_some() {
            // the file may have those of other data, or of another split of them
            (c.data.shape, c.data.levels, c.data.crc32) = (None, None, None);
        }
        self.change(&mut c);
        set(&mut c.seed, &self.seed);
        set(&mut c.batch, &self.batch);
        set(&mut c.data.name, &self.data);
        set(&mut c.data.held_out, &self.held_out);
        c.data.flip |= self.flip;
        self.setting.apply(&mut c.process)?;
        if self.setting.process.is_some() {
            // what the file says is of its own process
            (c.loss.objective, c.loss.parametrisation) = (None, None);
        }
        set_some(&mut c.loss.objective, &self.objective);
        set_some(&mut c.loss.parametrisation, &self.parametrisation);
        set(&mut c.loss.weighting, &self.weighting);
        set(&mut c.loss.times, &self.times);
        set(&mut c.loss.eps, &self.eps);
        if self.model.is_some() && self.model != c.model.kind {
            c.model = ModelSpec {
                kind: self.model.clone(),
                ..ModelSpec::default()
            };
        }
        let m = &mut c.model;
        for (field, flag) in [
            (&mut m.base, self.base),
            (&mut m.blocks, self.blocks),
            (&mut m.embedding, self.embedding),
            (&mut m.groups, self.groups),
            (&mut m.width, self.width),
            (&mut m.depth, self.depth),
        ] {
            set_some(field, &flag);
        }
        set_some(&mut m.mult, &self.mult);
        set_some(&mut m.dropout, &self.dropout);
        let a = &mut c.adam;
        for (field, flag) in [
            (&mut a.rate, self.rate),
            (&mut a.clip, self.clip),
            (&mut a.decay, self.decay),
            (&mut a.average, self.average),
        ] {
            set(field, &flag);
        }
        set(&mut a.warm_up, &self.warm_up);
        Ok(c)
    }

    /// Flags that a run which is taken up has answered already.
    fn fixed(&self) -> Option<&'static str> {
        let f = [
            ("data", self.data.is_some()),
            ("held-out", self.held_out.is_some()),
            ("flip", self.flip),
            ("objective", self.objective.is_some()),
            ("parametrisation", self.parametrisation.is_some()),
            ("weighting", self.weighting.is_some()),
            ("times", self.times.is_some()),
            ("eps", self.eps.is_some()),
            ("model", self.model.is_some()),
            ("base", self.base.is_some()),
            ("mult", self.mult.is_some()),
            ("blocks", self.blocks.is_some()),
            ("embedding", self.embedding.is_some()),
            ("groups", self.groups.is_some()),
            ("dropout", self.dropout.is_some()),
            ("width", self.width.is_some()),
            ("depth", self.depth.is_some()),
            ("batch", self.batch.is_some()),
            ("rate", self.rate.is_some()),
            ("warm-up", self.warm_up.is_some()),
            ("clip", self.clip.is_some()),
            ("decay", self.decay.is_some()),
            ("average", self.average.is_some()),
            ("seed", self.seed.is_some()),
            ("a flag of the process", self.setting.given()),
        ];
        f.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }
}

/// What one would type next.
fn next(folder: &str, images: bool) -> String {
    let picture = if images {
        "--grid samples.png"
    } else {
        "--plot samples.png"
    };
    format!(
        "\nnext:\n  cld sample {folder} --sampler sscs --steps 100 --denoise {picture}\n  cld nll {folder}\n  cld eval {folder}\n"
    )
}

/// Alone, or as one of the processes that `mpirun` started: rank 0 leads.
pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    together(|team| match team {
        Some(team) if team.rank() > 0 => {
            follow(team, threads_of(args.threads)).map(|()| Outcome::Fine)
        }
        team => lead(args, limits, team),
    })
}

/// The run that the flags begin, or take up.
fn begin(args: &Args, limits: &Limits) -> Result<TrainingRun> {
    let threads = threads_of(args.threads);
    let Some(from) = &args.resume else {
        let folder = args.out.as_deref().unwrap_or("cld-train".as_ref());
        let files = [CHECKPOINT, METRICS, CONFIG, CURVE].map(|f| folder.join(f));
        Paths::default()
            .inputs("CONFIG.toml", &args.config)
            .outputs("out", files)
            .apart()?;
        return TrainingRun::start(args.config(limits)?, folder, threads, args.force);
    };
    if let Some(name) = args.fixed() {
        return Err(Error::parameter(
            name,
            "given",
            "absent with --resume: a run goes on as it began",
        ));
    }
    TrainingRun::resume(
        from,
        |c| args.change(c),
        threads,
        args.out.as_deref(),
        args.force,
        limits,
    )
}

/// Trains, and tells how far it is: by a bar, or by lines where nobody watches.
fn go(run: &mut TrainingRun, stop: &AtomicBool) -> Result<End> {
    let (total, begun) = (run.config().steps, run.state().step);
    let bar = progress().then(|| {
        let bar = ProgressBar::new(total).with_position(begun);
        let style =
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta();
        bar
    });
    let (start, mut speed, mut last) = (Instant::now(), None, Instant::now());
    let mut loss = None;
    let end = run.go(stop, &mut |report, line| {
        let now = Instant::now();
        let fresh = 1.0 / (now - last).as_secs_f64().max(1e-9);
        last = now;
        let per_second = *speed.insert(speed.map_or(fresh, |s: f64| s + 0.05 * (fresh - s)));
        if let Some(l) = line {
            loss = Some(l.loss);
        }
        let about = format!(
            "loss {}, {per_second:.1} steps/s",
            short(loss.unwrap_or(report.loss))
        );
        match (&bar, line) {
            (Some(bar), _) => {
                bar.set_message(about);
                bar.set_position(report.step);
            }
            (None, Some(l)) if !quiet() => {
                let each = start.elapsed().as_secs_f64() / (l.step - begun) as f64;
                let left = duration((total - l.step) as f64 * each);
                // nobody may be reading
                let _ = writeln!(
                    std::io::stderr(),
                    "step {} of {total}: {about}, gradient {}, {left} left",
                    l.step,
                    short(l.gradient)
                );
            }
            _ => (),
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    end
}

/// What it cost this process that it is one of several.
fn shared(team: &dyn Team, steps: u64, seconds: f64) -> String {
    let traffic = team.traffic();
    format!(
        "{}; the first one sent {} MB a step and waited for the others {} % of the time",
        team.size(),
        short(traffic.sent as f64 / 1e6 / steps.max(1) as f64),
        short(100.0 * traffic.waiting / seconds.max(1e-9))
    )
}

/// What was trained, for how many `steps` in `seconds`.
fn summary(run: &TrainingRun, steps: u64, seconds: f64) -> Vec<Vec<String>> {
    let c = run.config();
    let [kind, objective, parametrisation, process] = [
        c.model.kind.as_deref(),
        c.loss.objective.as_deref(),
        c.loss.parametrisation.as_deref(),
        c.process.get("kind").and_then(|k| k.as_str()),
    ]
    .map(|s| s.unwrap_or_default().to_string());
    let about = format!(
        "{process}, {objective}, {parametrisation}, weighting {}",
        c.loss.weighting
    );
    let (step, total, batch) = (run.state().step, c.steps, c.batch);
    let speed = steps as f64 * batch as f64 / seconds.max(1e-9);
    let row = |name: &str, what: String| vec![name.into(), what];
    let mut rows = vec![
        row("data", c.data.name.clone()),
        row("process", about),
        row(
            "network",
            format!("{kind}, {} parameters", run.parameters()),
        ),
        row("steps", format!("{step} of {total}, {batch} samples each")),
        row(
            "seconds",
            format!("{} ({speed:.0} samples/s)", short(seconds)),
        ),
    ];
    if let Some(l) = run.lines().last() {
        let (loss, steps) = (short(l.loss), c.log_every);
        let loss = format!("{loss} per coordinate, mean of the last {steps} steps");
        rows.push(row("loss", loss));
    }
    if let Some(team) = run.team() {
        rows.push(row("processes", shared(team, steps, seconds)));
    }
    let checkpoint = run.folder().join(CHECKPOINT);
    rows.push(row("checkpoint", checkpoint.display().to_string()));
    rows
}

fn lead(args: &Args, limits: &Limits, team: Option<Box<dyn Team>>) -> Result<Outcome> {
    let mut run = begin(args, limits)?;
    if let Some(team) = team {
        run = run.lead(team)?;
    }
    if let Ok(diffusion) = run.config().diffusion() {
        note_prior(&diffusion);
    }
    let stop = stopped_by_ctrl_c()?;
    let (start, begun) = (Instant::now(), run.state().step);
    let end = go(&mut run, &stop)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut rows = summary(&run, run.state().step - begun, seconds);
    let folder = run.folder().display().to_string();
    if end == End::Stopped {
        let how = format!("`cld train --resume {folder}` goes on from here");
        rows.push(vec!["stopped".into(), how]);
        print(&facts(&rows))?;
        return Ok(Outcome::Stopped);
    }
    let images = run.config().data.levels.unwrap_or(0) > 0;
    print(&(facts(&rows) + &next(&folder, images)))?;
    Ok(Outcome::Fine)
}
