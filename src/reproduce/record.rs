//! What a job found, on disk: a JSON file for each, written whole or not at all.
//!
//! | in the folder | what |
//! |---|---|
//! | `plan.json` | the run: experiments, seeds, budget, size |
//! | `records/EXPERIMENT.DATA.ARM.SEED.json` | what the job found, measure by measure |
//! | `runs/` | folders of `cld train` |
//!
//! A record counts only for the configuration and the measures that it says it is of.

use super::measure::{Kind, Measure, VARIANCE};
use crate::error::{Error, Result};
use crate::files::{Limits, read_text, write_json};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Schema of records.
pub const RECORD: &str = "cld-reproduce-record/1";
/// Schema of plans.
pub const PLAN: &str = "cld-reproduce-plan/1";

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Second part of its name; may be empty.
    pub row: String,
    /// Third part.
    pub column: String,
    /// The number; absent where there is none, such as the distance of samples that left the
    /// finite numbers.
    pub value: Option<f64>,
    /// Its standard error within this seed, where that is known.
    pub error: Option<f64>,
    /// Why there is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A measure that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// First part of its figures' names.
    pub name: String,
    /// What was measured.
    pub kind: Kind,
    /// What came of it.
    pub figures: Vec<Figure>,
    /// How long it took.
    pub seconds: f64,
}

/// What a job found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD`].
    pub schema: String,
    /// The experiment.
    pub experiment: String,
    /// The set of data.
    pub on: String,
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// How it was trained, as TOML; of an exact score, the data and the process.
    pub config: String,
    /// Steps done, if trained.
    pub steps: u64,
    /// Seconds of training.
    pub training: f64,
    /// What was measured so far.
    pub measures: Vec<Measured>,
    /// The program that measured last.
    pub version: String,
    /// And the machine.
    pub cpu: String,
}

/// A run, as far as it can be told apart from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    /// [`PLAN`].
    pub schema: String,
    /// Experiments, in order.
    pub experiments: Vec<String>,
    /// Seeds, where not the experiments' own.
    pub seeds: Option<usize>,
    /// Minutes.
    pub budget: Option<f64>,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Reads JSON of one schema.
fn read<T: for<'a> Deserialize<'a>>(path: &Path, limits: &Limits) -> Result<T> {
    serde_json::from_str(&read_text(path, limits)?).map_err(|e| Error::Format {
        file: path.display().to_string(),
        place: format!("line {}", e.line()),
        // the place is said already
        problem: e.to_string().split(" at line ").next().unwrap_or("").into(),
    })
}

fn schema(found: &str, wanted: &str, path: &Path) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Format {
        file: path.display().to_string(),
        place: "schema".into(),
        problem: format!("`{}`; allowed: {wanted}", crate::error::shown(found)),
    })
}

impl Store {
    /// That folder; nothing is read or written.
    pub fn new(folder: &Path) -> Store {
        Store {
            folder: folder.into(),
        }
    }

    /// Where training lives.
    pub fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn plan_file(&self) -> PathBuf {
        self.folder.join("plan.json")
    }

    /// The plan that the folder has; none in another folder.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn plan(&self, limits: &Limits) -> Result<Option<PlanRecord>> {
        let file = self.plan_file();
        if file.symlink_metadata().is_err() {
            return Ok(None);
        }
        let plan: PlanRecord = read(&file, limits)?;
        schema(&plan.schema, PLAN, &file)?;
        Ok(Some(plan))
    }

    /// Makes the folder, with this plan.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn begin(&self, plan: &PlanRecord) -> Result<()> {
        for folder in [self.folder.join("records"), self.runs()] {
            std::fs::create_dir_all(&folder).map_err(|e| Error::Io {
                path: folder.display().to_string(),
                problem: format!("cannot be created: {e}"),
            })?;
        }
        write_json(&self.plan_file(), plan)
    }

    /// Every file that it has but those of training: what a page must not be written over.
    pub fn files(&self) -> Vec<PathBuf> {
        let records = std::fs::read_dir(self.folder.join("records"));
        let records = records.into_iter().flatten().flatten().map(|f| f.path());
        std::iter::once(self.plan_file()).chain(records).collect()
    }

    fn file(&self, experiment: &str, on: &str, arm: &str, seed: u64) -> PathBuf {
        // names have no dots: no two jobs share a file
        let name = format!("{experiment}.{on}.{arm}.{seed}.json");
        self.folder.join("records").join(name)
    }

    /// The record of a job, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn record(
        &self,
        [experiment, on, arm]: [&str; 3],
        seed: u64,
        limits: &Limits,
    ) -> Result<Option<Record>> {
        let file = self.file(experiment, on, arm, seed);
        if file.symlink_metadata().is_err() {
            return Ok(None);
        }
        let record: Record = read(&file, limits)?;
        schema(&record.schema, RECORD, &file)?;
        let named = [&record.experiment, &record.on, &record.arm];
        if named != [experiment, on, arm] || record.seed != seed {
            return Err(Error::Format {
                file: file.display().to_string(),
                place: String::new(),
                problem: "is not of the job that its name says".into(),
            });
        }
        Ok(Some(record))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn keep(&self, r: &Record) -> Result<()> {
        write_json(&self.file(&r.experiment, &r.on, &r.arm, r.seed), r)
    }
}

impl Record {
    /// Whether this measure was taken, just so, and all of it.
    pub fn has(&self, m: &Measure) -> bool {
        let same = |r: &&Measured| r.name == m.name && r.kind == m.kind;
        self.measures.iter().find(same).is_some_and(Measured::whole)
    }
}

impl Measured {
    /// Whether all of its figures are there: the gradient's come one after the other.
    fn whole(&self) -> bool {
        match &self.kind {
            Kind::Gradient(g) => {
                let times = self.figures.iter().filter(|f| f.row == VARIANCE);
                times.count() >= g.at.len()
            }
            _ => true,
        }
    }
}
