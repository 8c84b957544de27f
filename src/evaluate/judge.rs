//! How far samples are from the data: of a checkpoint, by samplers and steps; of a file of samples.

use super::data::{Data, Distance};
use super::draw::{Budget, Job, Task};
use crate::check::words::short;
use crate::data::samples;
use crate::error::{Error, Result};
use crate::files::{Archive, Array, Limits};
use crate::sampler;
use crate::team::Team;
use std::path::Path;

/// A distance, and how its samples came about.
pub struct Row {
    /// The sampler; `-` of a file.
    pub sampler: String,
    /// Its steps.
    pub steps: Option<usize>,
    /// Evaluations of the score per sample.
    pub nfe: Option<f64>,
    /// Seconds that the sampler took.
    pub seconds: Option<f64>,
    /// To the data.
    pub distance: Distance,
}

/// The samplers of a checkpoint if none is asked for: those of [`sampler::DEFAULT`] that fit it.
pub fn default_samplers(task: Task<'_>) -> Vec<String> {
    let fit = |s: &&&str| task.by(s, Some(Budget::Steps(1)), None).is_ok();
    let mut fitting: Vec<_> = sampler::DEFAULT.iter().filter(fit).collect();
    if fitting.is_empty() {
        fitting.extend(sampler::DEFAULT.last()); // what is wrong with it is said when it is planned
    }
    fitting.into_iter().map(ToString::to_string).collect()
}

/// A run: sampler, steps, and the job.
pub type Planned<'a> = (String, usize, Job<'a>);

/// The runs of every sampler with every number of steps. All that can be refused is refused here.
///
/// # Errors
/// Those of [`Task::by`] and [`Data::distance`].
pub fn plan<'a>(
    task: Task<'a>,
    data: &Data,
    (samplers, steps): (&[String], &[usize]),
) -> Result<Vec<Planned<'a>>> {
    let mut jobs = vec![];
    for sampler in samplers {
        for steps in steps {
            let job = task.by(sampler, Some(Budget::Steps(*steps)), None)?;
            jobs.push((sampler.clone(), *steps, job));
        }
    }
    data.distance(&data.fresh(task.n, task.seed)?, task.seed)?;
    Ok(jobs)
}

/// Those runs; `tell` is told what is being done, from any thread. Several processes share out the
/// samples, and rank 0 has the rows.
///
/// # Errors
/// Those of [`Job::run`] and [`Data::distance`].
pub fn checkpoint(
    task: Task<'_>,
    data: &Data,
    planned: Vec<Planned<'_>>,
    team: Option<&dyn Team>,
    tell: &(dyn Fn(Stage) + Sync),
) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for (sampler, steps, job) in planned {
        let drawn = job.run_by(team, &|done, total| tell(Stage::Sampling(done, total)))?;
        let Some(drawn) = drawn else {
            continue; // rank 0 has them all
        };
        tell(Stage::Comparing);
        let distance = data.distance(&drawn.samples[0], task.seed)?;
        let (nfe, seconds) = (Some(drawn.nfe), Some(drawn.seconds));
        rows.push(Row {
            sampler,
            steps: Some(steps),
            nfe,
            seconds,
            distance,
        });
    }
    Ok(rows)
}

/// What [`checkpoint`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Building samplers.
    Planning,
    /// Drawing: blocks done and in all.
    Sampling(usize, usize),
    /// Taking a distance.
    Comparing,
}

/// The array `x` of a file.
fn array_x(file: &Path, limits: &Limits) -> Result<Array> {
    let archive = Archive::open(file, limits)?;
    if let Some(x) = archive.get("x")? {
        return Ok(x);
    }
    let there: Vec<_> = archive.names().collect();
    let there = if there.is_empty() {
        "none".to_string()
    } else {
        there.join(", ")
    };
    Err(Error::Format {
        file: file.display().to_string(),
        place: String::new(),
        problem: format!(
            "array `x` is missing (there: {there}); `cld sample --out` writes it, numpy by savez(FILE, x=...)"
        ),
    })
}

/// The first `n` samples (all if absent) of the array `x` in `file` against the data called `spec`:
/// lines about it, and the row.
///
/// # Errors
/// A file without an array `x`, samples of another shape than the data's, not finite, out of range;
/// more asked for than there are.
pub fn samples(
    file: &Path,
    spec: &str,
    n: Option<usize>,
    range: Option<[f64; 2]>,
    seed: u64,
    limits: &Limits,
) -> Result<(Vec<String>, Row)> {
    let data = Data::load(spec, 0.1, 0)?;
    let dim: usize = data.shape().iter().product();
    let name = file.display().to_string();
    let bad = |problem: String| Error::Format {
        file: name.clone(),
        place: String::new(),
        problem,
    };
    let x = array_x(file, limits)?;
    let expected = samples::Expected {
        shape: data.shape(),
        images: data.images(),
        data: data.ends(),
        range,
        name: "x",
    };
    let checked = samples::check(&x.shape, &x.data, &expected).map_err(|e| bad(e.to_string()))?;
    let count = checked.values.len() / dim;
    let n = n.unwrap_or(count);
    if !(1..=count).contains(&n) {
        return Err(Error::parameter(
            "n",
            n,
            format!("1 to {count}, the samples there are"),
        ));
    }
    let distance = data.distance(&checked.values[..n * dim], seed)?;
    let mut about = vec![format!("{n} samples of {name} against {spec}")];
    if let Some([low, high]) = range {
        about.push(format!("values from [{low}, {high}] taken to [-1, 1]"));
    }
    if data.images() {
        let all = checked.values.len();
        let percent = short(100.0 * checked.clamped as f64 / all as f64);
        about.push(format!(
            "{} of {all} values clamped to [-1, 1] ({percent} %)",
            checked.clamped
        ));
    }
    Ok((
        about,
        Row {
            sampler: "-".into(),
            steps: None,
            nfe: None,
            seconds: None,
            distance,
        },
    ))
}
