//! `cld eval` of a trained network or of samples: how far they are from the data.

use super::several::first;
use super::show::{Bar, note_prior, print, sentence, short, table, threads, write_json};
use super::{Outcome, Result, names};
use cld_sgm::Error;
use cld_sgm::data::files::sources;
use cld_sgm::data::samples;
use cld_sgm::internal::evaluate::Data;
use cld_sgm::internal::evaluate::draw::Task;
use cld_sgm::internal::evaluate::judge::{self, Row, Stage};
use cld_sgm::internal::evaluate::trained::{Trained, file_of};
use cld_sgm::internal::files::{Limits, Paths};
use cld_sgm::team::Team;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(clap::Args)]
pub struct Judge {
    #[arg(long, help = names::to_compare_with())]
    data: Option<String>,
    #[arg(long, visible_alias = "sampler", value_name = "NAMES", value_delimiter = ',', help = names::judged_samplers())]
    samplers: Vec<String>,
    /// Their steps; 20, 50, 100 and 500 if absent.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    steps: Vec<usize>,
    /// Samples for each; 1000 if absent, 10000 of points.
    #[arg(long)]
    n: Option<usize>,
    #[arg(long, help = names::spacing_of_judge())]
    spacing: Option<String>,
    /// Last time; 1e-3 if absent.
    #[arg(long)]
    eps: Option<f64>,
    /// The range that samples of images have, such as 0,255, if it is not -1,1.
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    range: Option<String>,
    /// End with a noise-free Euler step from eps to 0.
    #[arg(long)]
    denoise: bool,
    /// The checkpoint's weights themselves, not their average.
    #[arg(long)]
    raw: bool,
    /// Seed; 0 if absent.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to write the rows as JSON.
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON, or what will be refused as none.
    Request,
    Checkpoint,
    Samples,
}

impl Kind {
    pub fn of(file: &Path) -> Kind {
        // the folder of a run stands for its checkpoint
        let file = &file_of(file);
        let mut start = vec![];
        let regular = std::fs::metadata(file).is_ok_and(|m| m.is_file());
        let read = regular
            && std::fs::File::open(file)
                .and_then(|f| f.take(16).read_to_end(&mut start))
                .is_ok();
        match &start[..] {
            _ if !read => Kind::Request,
            [b'P', b'K', 3 | 5, ..] => Kind::Samples,
            // a length of less than 2^32, and JSON
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Kind::Checkpoint,
            _ => Kind::Request,
        }
    }
}

impl Judge {
    /// Refuses flags that a request has no use for.
    pub fn refused(&self) -> Result<()> {
        let given = [
            ("data", self.data.is_some()),
            ("samplers", !self.samplers.is_empty()),
            ("steps", !self.steps.is_empty()),
            ("n", self.n.is_some()),
            ("range", self.range.is_some()),
            ("spacing", self.spacing.is_some()),
            ("eps", self.eps.is_some()),
            ("denoise", self.denoise),
            ("raw", self.raw),
            ("seed", self.seed.is_some()),
            ("threads", self.threads.is_some()),
            ("out", self.out.is_some()),
        ];
        match given.iter().find(|g| g.1) {
            Some((name, _)) => Err(Error::parameter(
                *name,
                "given",
                "absent, but for a checkpoint or samples",
            )),
            None => Ok(()),
        }
    }

    pub fn run(
        &self,
        file: &Path,
        kind: Kind,
        team: Option<&dyn Team>,
        limits: &Limits,
    ) -> Result<Outcome> {
        first(team, || {
            let data = self.data.as_deref().map(sources).unwrap_or_default();
            Paths::default()
                .inputs("FILE", [file_of(file)])
                .inputs("data", data)
                .outputs("out", &self.out)
                .check()?;
            threads(self.threads)
        })?;
        let seed = self.seed.unwrap_or(0);
        let (about, rows) = if kind == Kind::Checkpoint {
            self.checkpoint(file, seed, team)?
        } else {
            self.samples(file, seed, limits)?
        };
        if team.is_some_and(|t| t.rank() > 0) {
            return Ok(Outcome::Fine);
        }
        let last = rows
            .last()
            .ok_or_else(|| Error::parameter("steps", "none", "at least one"))?;
        let (images, floor, count) = (
            last.distance.images,
            last.distance.floor,
            last.distance.rows,
        );
        let mut said = about.iter().map(|l| sentence(l)).collect::<String>() + "\n";
        said += &distances(&rows, images);
        said += &format!("data to data, {count} rows each: {}\n", short(floor));
        if let Some(out) = &self.out {
            let rows: Vec<Value> = rows.iter().map(to_json).collect();
            let name = if images { "frechet" } else { "sliced_w2" };
            let all = json!({
                "schema": "cld-eval-samples/1", "about": about, "seed": seed, "distance": name, "data_to_data": floor,
                "rows_each": count, "rows": rows,
            });
            write_json(out, &all)?;
        }
        print(&said)?;
        Ok(Outcome::Fine)
    }

    /// The checkpoint and its data, everything checked.
    fn trained(&self, file: &Path) -> Result<(Trained, Data)> {
        if self.range.is_some() {
            return Err(Error::parameter(
                "range",
                "given",
                "absent, but for samples",
            ));
        }
        let trained = Trained::read(file, self.raw)?;
        Paths::default()
            .inputs("data", sources(&trained.config.data.name))
            .outputs("out", &self.out)
            .apart()?;
        let data = trained.data(self.data.as_deref())?;
        Ok((trained, data))
    }

    fn checkpoint(
        &self,
        file: &Path,
        seed: u64,
        team: Option<&dyn Team>,
    ) -> Result<(Vec<String>, Vec<Row>)> {
        let (trained, data) = first(team, || self.trained(file))?;
        let n = self
            .n
            .unwrap_or(if trained.levels > 0 { 1000 } else { 10_000 });
        let (eps, spacing, denoise) = (
            self.eps.unwrap_or(1e-3),
            self.spacing.as_deref().unwrap_or("quadratic"),
            self.denoise,
        );
        let task = Task {
            diffusion: trained.diffusion(),
            score: &trained.model,
            spacing,
            eps,
            denoise,
            n,
            dim: trained.model.dim(),
            seed,
        };
        let samplers = if self.samplers.is_empty() {
            judge::default_samplers(task)
        } else {
            self.samplers.clone()
        };
        let steps = if self.steps.is_empty() {
            vec![20, 50, 100, 500]
        } else {
            self.steps.clone()
        };
        note_prior(trained.diffusion());
        let what = (&samplers[..], &steps[..]);
        let bar = Mutex::new((Stage::Planning, Bar::new("planning")));
        let planned = first(team, || judge::plan(task, &data, what))?;
        let rows = judge::checkpoint(task, &data, planned, team, &|stage| {
            if let Ok(mut bar) = bar.lock() {
                advance(&mut bar, stage);
            }
        })?;
        drop(bar);
        let end = if self.denoise {
            ", and a denoising step"
        } else {
            ""
        };
        let about = vec![
            trained.process()?,
            trained.about.clone(),
            format!("{n} samples each, {spacing} times from 1 to {eps:e}{end}"),
        ];
        Ok((about, rows))
    }

    fn samples(&self, file: &Path, seed: u64, limits: &Limits) -> Result<(Vec<String>, Vec<Row>)> {
        for (name, given) in [
            ("samplers", !self.samplers.is_empty()),
            ("steps", !self.steps.is_empty()),
            ("spacing", self.spacing.is_some()),
            ("eps", self.eps.is_some()),
            ("denoise", self.denoise),
            ("raw", self.raw),
        ] {
            if given {
                return Err(Error::parameter(
                    name,
                    "given",
                    "absent, but for a checkpoint",
                ));
            }
        }
        let spec = self.data.as_deref().ok_or_else(|| {
            Error::parameter("data", "missing", "what the samples are to be like")
        })?;
        let range = self.range.as_deref().map(samples::range).transpose()?;
        let _bar = Bar::new("comparing");
        let (about, row) = judge::samples(file, spec, self.n, range, seed, limits)?;
        Ok((about, vec![row]))
    }
}

/// Moves the bar of a stage on, or begins that of the next.
fn advance(bar: &mut (Stage, Bar), stage: Stage) {
    if std::mem::discriminant(&bar.0) != std::mem::discriminant(&stage) {
        let name = if stage == Stage::Comparing {
            "comparing"
        } else {
            "sampling"
        };
        *bar = (stage, Bar::new(name));
    }
    if let Stage::Sampling(done, total) = stage {
        bar.1.set(done, total);
    }
}

/// A line for each run: what it took, and its distance to the data.
fn distances(rows: &[Row], images: bool) -> String {
    let mut head = vec![
        "sampler",
        "steps",
        "nfe",
        "seconds",
        if images {
            "Frechet distance"
        } else {
            "sliced W2"
        },
    ];
    if !images {
        head.push("energy distance");
    }
    let cells = |r: &Row| {
        let mut cells = vec![
            r.sampler.clone(),
            r.steps.map_or_else(|| "-".into(), |s| s.to_string()),
        ];
        cells.extend([r.nfe, r.seconds].map(|x| x.map_or_else(|| "-".into(), short)));
        cells.push(short(r.distance.value));
        if !images {
            cells.push(r.distance.energy.map_or_else(
                || "-".into(),
                |(e, error)| format!("{} +- {}", short(e), short(error)),
            ));
        }
        cells
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// A row of the file that `--out` names.
fn to_json(row: &Row) -> Value {
    let Row {
        sampler,
        steps,
        nfe,
        seconds,
        distance,
    } = row;
    let (energy, error) = (distance.energy.map(|e| e.0), distance.energy.map(|e| e.1));
    json!({
        "sampler": sampler, "steps": steps, "nfe": nfe, "seconds": seconds, "distance": distance.value,
        "energy": energy, "energy_error": error,
    })
}
