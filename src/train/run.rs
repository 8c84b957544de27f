//! A run of training in a folder: checkpoints, metrics, the curve of the loss; begun, stopped,
//! taken up again.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | the configuration, every field |
//! | `checkpoint.safetensors` | the last [`checkpoint`] |
//! | `metrics.jsonl` | one JSON object for every `log_every` steps |
//! | `loss.svg` | the loss by steps, as of the last checkpoint |
//!
//! A run that is taken up goes on as if it had never stopped: the same weights bit for bit, the
//! same metrics but for the seconds.

use super::checkpoint::{self, SoFar};
use super::config::Config;
use super::follow;
use super::step::{GradientNoise, State, StepReport, Trainer};
use crate::error::{Error, Result};
use crate::files::write::{Staged, stage, sweep, writable, write_whole};
use crate::files::{Limits, Lock, read_text};
use crate::plot::pictures::{Curve, Format, Panel, curves};
use crate::team::Team;
use serde_json::{Value as Json, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Name of the checkpoint in the run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the metrics.
pub const METRICS: &str = "metrics.jsonl";
/// Name of the configuration.
pub const CONFIG: &str = "config.toml";
/// Name of the curve of the loss.
pub const CURVE: &str = "loss.svg";

/// What a run consists of.
const FILES: [&str; 4] = [CHECKPOINT, METRICS, CONFIG, CURVE];

/// Most points of the curve: more than these are averaged.
const POINTS: usize = 200;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// All steps are done.
    Done,
    /// It was asked to stop; a checkpoint is there.
    Stopped,
}

/// A line of the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogLine {
    /// The step it ends with.
    pub step: u64,
    /// Mean loss per coordinate, over the steps since the last line.
    pub loss: f64,
    /// Mean norm of the gradient before clipping.
    pub gradient: f64,
    /// Learning rate of the step.
    pub rate: f64,
    /// Seconds of training in all.
    pub seconds: f64,
    /// Samples per second since the last line.
    pub per_second: f64,
}

impl LogLine {
    fn json(&self) -> String {
        let [seconds, per_second] =
            [self.seconds, self.per_second].map(|x| (x * 1e3).round() / 1e3);
        let LogLine {
            step,
            loss,
            gradient,
            rate,
            ..
        } = self;
        json!({"step": step, "loss": loss, "gradient": gradient, "rate": rate, "seconds": seconds, "per_second": per_second}).to_string()
            + "\n"
    }

    fn parse(text: &str) -> Option<LogLine> {
        let v: Json = serde_json::from_str(text).ok()?;
        let number = |key: &str| v.get(key)?.as_f64();
        Some(LogLine {
            step: v.get("step")?.as_u64()?,
            loss: number("loss")?,
            gradient: number("gradient")?,
            rate: number("rate")?,
            seconds: number("seconds")?,
            per_second: number("per_second")?,
        })
    }
}

/// A run and its folder.
pub struct TrainingRun {
    config: Config,
    trainer: Trainer,
    so_far: SoFar,
    /// Open once the run has its place in the folder.
    metrics: Option<File>,
    lines: Vec<LogLine>,
    saved: Option<u64>,
    // last: what the fields before hold is closed when the folder is given back
    folder: Claim,
}

fn io(path: &Path, what: &str, e: &std::io::Error) -> Error {
    Error::Io {
        path: path.display().to_string(),
        problem: format!("cannot be {what}: {e}"),
    }
}

/// A folder of this run alone. Until the run has its place in it, nothing there is changed; what
/// was made for it goes again.
struct Claim {
    path: PathBuf,
    lock: Option<Lock>,
    /// The folders that were made, outermost first; empty once they are to stay.
    made: Vec<PathBuf>,
}

impl Claim {
    /// # Errors
    /// A folder that cannot be made or written to, that another run has, or that has files of a run
    /// in it unless `taken` says that this is meant.
    fn new(folder: &Path, taken: bool) -> Result<Claim> {
        let mut made: Vec<PathBuf> = folder
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists())
            .map(Into::into)
            .collect();
        made.reverse();
        std::fs::create_dir_all(folder).map_err(|e| io(folder, "created", &e))?;
        let mut claim = Claim {
            path: folder.into(),
            lock: None,
            made,
        };
        claim.lock = Some(Lock::new(folder)?);
        if let Some(f) = FILES
            .iter()
            .find(|f| !taken && folder.join(f).symlink_metadata().is_ok())
        {
            let problem = format!(
                "has a run in it ({f}); --resume takes it up, --force begins anew, --out chooses another folder"
            );
            return Err(Error::Io {
                path: folder.display().to_string(),
                problem,
            });
        }
        // hours later it would be too late
        FILES.iter().try_for_each(|f| writable(&folder.join(f)))?;
        sweep(folder);
        Ok(claim)
    }

    fn join(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.lock = None;
        // only those that are empty
        self.made
            .iter()
            .rev()
            .for_each(|p| drop(std::fs::remove_dir(p)));
    }
}

impl TrainingRun {
    /// Begins a run. Nothing is written, and nothing of an old run removed, before the first step
    /// has turned out well ([`TrainingRun::go`]).
    ///
    /// # Errors
    /// Anything of the configuration; data that cannot be loaded; a folder that cannot be written
    /// to, that another run is going on in, or that has a run in it already, unless `force`, which
    /// replaces that one.
    pub fn start(
        config: Config,
        folder: &Path,
        threads: usize,
        force: bool,
    ) -> Result<TrainingRun> {
        let data = config.load()?;
        let config = config.filled(&data)?;
        let plan = config.plan(data.source)?;
        let state = State::new(&plan.graph, config.seed);
        let trainer = Trainer::new(plan, state, threads)?;
        let folder = Claim::new(folder, force)?;
        Ok(TrainingRun {
            config,
            trainer,
            so_far: SoFar::default(),
            metrics: None,
            lines: vec![],
            saved: None,
            folder,
        })
    }

    /// Takes up a run from its folder or one of its checkpoints. `change` may set another number of
    /// steps, or how often there are checkpoints and lines. `out`: another folder to go on in; the
    /// old one stays as it is.
    ///
    /// # Errors
    /// No checkpoint, or one that cannot be used; data that are gone or have another shape; no more
    /// steps to do; metrics beyond the limits; a folder that cannot be written to or that another
    /// run is going on in, or `out` with a run in it, unless `force`.
    pub fn resume(
        from: &Path,
        change: impl FnOnce(&mut Config),
        threads: usize,
        out: Option<&Path>,
        force: bool,
        limits: &Limits,
    ) -> Result<TrainingRun> {
        let file = if from.is_dir() {
            from.join(CHECKPOINT)
        } else {
            from.to_path_buf()
        };
        let old = file
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
            .to_path_buf();
        let here = out.is_none();
        // before the checkpoint is read: it must not change any more
        let own = if here && file.is_file() {
            Some(Claim::new(&old, true)?)
        } else {
            None
        };
        let checkpoint::Checkpoint {
            mut config,
            state,
            so_far,
            ..
        } = checkpoint::read(&file)?;
        change(&mut config);
        let step = state.step;
        if config.steps <= step {
            return Err(Error::parameter(
                "steps",
                config.steps,
                format!("more than the {step} that are done"),
            ));
        }
        let data = config.load()?;
        let plan = config.plan(data.source)?;
        let trainer = Trainer::new(plan, state, threads)?;
        let path = old.join(METRICS);
        let text = if path.exists() {
            read_text(&path, limits)?
        } else {
            String::new()
        };
        // a line that was cut short, and those after the checkpoint, will be written again
        let lines: Vec<LogLine> = text
            .lines()
            .map_while(LogLine::parse)
            .take_while(|l| l.step <= so_far.since)
            .collect();
        if here
            && file.file_name().is_some_and(|n| n != CHECKPOINT)
            && old.join(CHECKPOINT).exists()
        {
            let problem = format!(
                "the run would go on into {CHECKPOINT} beside it, which is there; --out chooses another folder"
            );
            return Err(Error::Io {
                path: file.display().to_string(),
                problem,
            });
        }
        let folder = match own {
            Some(claim) => claim,
            None => Claim::new(out.unwrap_or(&old), force)?,
        };
        Ok(TrainingRun {
            config,
            trainer,
            so_far,
            metrics: None,
            lines,
            saved: here.then_some(step),
            folder,
        })
    }

    /// The configuration, every field set.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the run stands.
    pub fn state(&self) -> &State {
        self.trainer.state()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// The lines of the metrics so far.
    pub fn lines(&self) -> &[LogLine] {
        &self.lines
    }

    /// Parameters of the network.
    pub fn parameters(&self) -> usize {
        self.trainer.plan().graph.layout().count()
    }

    /// How much a batch's gradient scatters at the present weights; the run goes on as if this had
    /// not been. See [`Trainer::gradient_noise`].
    ///
    /// # Errors
    /// Fewer than 3 batches, or more than 4096; a gradient that is not finite.
    pub fn gradient_noise(&mut self, batches: usize) -> Result<GradientNoise> {
        self.trainer.gradient_noise(batches)
    }

    /// Trains until all steps are done or `stop` is set; `each` is told of every step, and of the
    /// line that ended with it.
    ///
    /// # Errors
    /// A loss that is not finite; a file that cannot be written. The last checkpoint is whole in
    /// either case, and the message says which step it is of.
    pub fn go(
        &mut self,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&StepReport, Option<&LogLine>),
    ) -> Result<End> {
        let (start, before) = (Instant::now(), self.lines.last().map_or(0.0, |l| l.seconds));
        let mut last = (self.so_far.since.max(self.state().step), 0.0);
        while self.state().step < self.config.steps {
            if stop.load(Ordering::Relaxed) && self.metrics.is_some() {
                self.save()?;
                self.say(false)?;
                return Ok(End::Stopped);
            }
            self.say(true)?;
            let report = self.trainer.step().map_err(|e| self.explain(e))?;
            let step = report.step;
            self.so_far.loss += report.loss;
            self.so_far.norm += report.norm;
            let mut line = None;
            if step.is_multiple_of(self.config.log_every) {
                let (n, now) = (
                    (step - self.so_far.since) as f64,
                    start.elapsed().as_secs_f64(),
                );
                let samples = ((step - last.0) * self.config.batch as u64) as f64;
                let new = LogLine {
                    step,
                    loss: self.so_far.loss / n,
                    gradient: self.so_far.norm / n,
                    rate: report.rate,
                    seconds: before + now,
                    per_second: samples / (now - last.1).max(1e-9),
                };
                if let Some(Err(e)) = self
                    .metrics
                    .as_mut()
                    .map(|m| m.write_all(new.json().as_bytes()))
                {
                    return Err(self.explain(io(&self.folder.join(METRICS), "written", &e)));
                }
                self.so_far = SoFar {
                    since: step,
                    ..SoFar::default()
                };
                last = (step, now);
                self.lines.push(new);
                line = Some(new);
            }
            if self.metrics.is_none() {
                self.settle()?;
            }
            if step.is_multiple_of(self.config.save_every) || step == self.config.steps {
                self.save()?;
            }
            each(&report, line.as_ref());
        }
        self.say(false)?;
        Ok(End::Done)
    }

    /// The processes that work for it, if it leads any.
    pub fn team(&self) -> Option<&dyn Team> {
        self.trainer.team()
    }

    /// Trains as rank 0 of several processes, the others of which [`follow`](fn@follow::follow).
    ///
    /// # Errors
    /// More processes than parts of a batch; a process that is gone.
    pub fn lead(mut self, team: Box<dyn Team>) -> Result<TrainingRun> {
        // what is refused is refused before the others have anything to do
        self.trainer = self.trainer.with(team)?;
        if let Some(team) = self.trainer.team() {
            follow::send(team, &self.config, self.trainer.state())?;
        }
        Ok(self)
    }

    /// Says to the others whether a step comes.
    fn say(&self, step: bool) -> Result<()> {
        self.trainer
            .team()
            .map_or(Ok(()), |team| follow::say(team, step))
    }

    /// Gives the run its place in the folder, after its first step: all files are written under
    /// other names, then renamed. The checkpoint is the run (it has the configuration in it, and
    /// says which lines of the metrics count), so it is first: killed before, a process leaves the
    /// old run whole; killed after, the new one.
    ///
    /// # Errors
    /// A folder that cannot be written to, a full disk: nothing is changed.
    fn settle(&mut self) -> Result<()> {
        let step = self.state().step;
        let (file, graph) = (self.folder.join(CHECKPOINT), &self.trainer.plan().graph);
        let text = |name: &str, text: String| {
            stage(&self.folder.join(name), |f| f.write_all(text.as_bytes()))
        };
        let staged = || {
            let checkpoint = checkpoint::stage(
                &file,
                &self.config,
                graph,
                self.trainer.state(),
                self.so_far,
            )?;
            let lines = self.lines.iter().map(LogLine::json).collect();
            Ok((
                checkpoint,
                [text(CONFIG, self.config.to_toml()?)?, text(METRICS, lines)?],
            ))
        };
        let place = || {
            let (checkpoint, others) = staged()?;
            checkpoint.commit()?;
            let curve = self.folder.join(CURVE);
            match std::fs::remove_file(&curve) {
                // one of this run will be drawn
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(&curve, "removed", &e));
                }
                _ => (),
            }
            others.into_iter().try_for_each(Staged::commit)?;
            let path = self.folder.join(METRICS);
            OpenOptions::new()
                .append(true)
                .open(&path)
                .map_err(|e| io(&path, "opened", &e))
        };
        self.metrics = Some(place().map_err(|e| self.explain(e))?);
        self.saved = Some(step);
        self.folder.made.clear();
        Ok(())
    }

    /// Writes a checkpoint, unless this step has one, and the curve.
    ///
    /// # Errors
    /// A folder that cannot be written to, a full disk.
    fn save(&mut self) -> Result<()> {
        let step = self.state().step;
        // the lines before the checkpoint that says they are there
        if let Some(Err(e)) = self.metrics.as_ref().map(File::sync_data) {
            return Err(self.explain(io(&self.folder.join(METRICS), "written", &e)));
        }
        if self.saved != Some(step) {
            let (file, graph) = (self.folder.join(CHECKPOINT), &self.trainer.plan().graph);
            checkpoint::write(
                &file,
                &self.config,
                graph,
                self.trainer.state(),
                self.so_far,
            )
            .map_err(|e| self.explain(e))?;
            self.saved = Some(step);
        }
        if let Some(picture) = curve(&self.lines)? {
            write_whole(&self.folder.join(CURVE), &picture).map_err(|e| self.explain(e))?;
        }
        Ok(())
    }

    /// What happened, and what is left.
    fn explain(&self, e: Error) -> Error {
        let file = self.folder.join(CHECKPOINT);
        let left = match self.saved {
            Some(step) => format!("the checkpoint of step {step} is whole: {}", file.display()),
            None if file.exists() => {
                format!("the checkpoint that was there is whole: {}", file.display())
            }
            None => "there is no checkpoint yet".into(),
        };
        let at = format!("training stops after step {}; {left}", self.state().step);
        match e {
            Error::Io { path, problem } => Error::Io {
                path,
                problem: format!("{problem}; {at}"),
            },
            Error::NonFinite { step, .. } => Error::Format {
                file: self.folder.path.display().to_string(),
                place: format!("step {step}"),
                problem: format!(
                    "the loss, its gradient or a weight is not finite (a smaller adam.rate or adam.clip may help); {at}"
                ),
            },
            other => other,
        }
    }
}

/// Points of a moving mean.
const AROUND: usize = 9;

/// At each point the mean of those around it, as many on either side, and its standard error: (x,
/// mean, error).
fn moving_mean(points: &[(f64, f64)]) -> Vec<(f64, f64, f64)> {
    let around = |i: usize| {
        let r = (AROUND / 2).min(i).min(points.len() - 1 - i);
        let near = &points[i - r..=i + r];
        let n = near.len() as f64;
        let mean = near.iter().map(|p| p.1).sum::<f64>() / n;
        let squares: f64 = near.iter().map(|p| (p.1 - mean).powi(2)).sum();
        // of a single point nothing is known
        let error = (squares / (n * (n - 1.0)).max(1.0)).sqrt();
        (points[i].0, mean, error)
    };
    (0..points.len()).map(around).collect()
}

/// The curve of the loss; none without lines. Of many lines, those whose steps are alike are
/// averaged.
fn curve(lines: &[LogLine]) -> Result<Option<Vec<u8>>> {
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        return Ok(None);
    };
    let (low, high) = ((first.step as f64).ln(), (last.step as f64).ln());
    let bin = |l: &LogLine| {
        (((l.step as f64).ln() - low) / (high - low).max(1e-9) * POINTS as f64) as usize
    };
    let points = lines.chunk_by(|a, b| bin(a) == bin(b)).map(|c| {
        let n = c.len() as f64;
        (
            c.iter().map(|l| l.step as f64).sum::<f64>() / n,
            c.iter().map(|l| l.loss).sum::<f64>() / n,
        )
    });
    let points: Vec<(f64, f64)> = points.collect();
    let mean = moving_mean(&points);
    let curves_of = vec![
        Curve {
            name: format!("mean of {AROUND}"),
            points: mean.iter().map(|(x, y, _)| (*x, *y)).collect(),
            band: mean
                .iter()
                .map(|(x, y, e)| (*x, y - 2.0 * e, y + 2.0 * e))
                .collect(),
            ..Curve::default()
        },
        Curve {
            name: "loss".into(),
            points,
            pale: true,
            ..Curve::default()
        },
    ];
    let panel = Panel {
        title: "training; shaded: two standard errors".into(),
        x: "step".into(),
        y: "loss per coordinate".into(),
        curves: curves_of,
        floor: None,
    };
    // a loss of 0 has no place on a logarithmic axis, and no plot of its own
    Ok(curves(Format::Svg, &[panel]).ok())
}
