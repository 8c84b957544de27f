//! Claims about SSCS against recorded runs of the paper's public code (`fixtures/peers`): with its
//! constant on the variances of the half steps they are those of the published steps where the rate
//! is constant, and where it is not those of `sscs-first-half-twice`.
//!
//! `recorded.json` has two rows of six of those runs, which a test holds against the recording.

use crate::audit::check::Part;
use crate::audit::table::{Row, Tally, table};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::process::Cld;
use crate::sampler::grid::Spacing;
use crate::sampler::{Grid, Memory, entry};
use crate::schedule::Schedule;
use crate::score::Score;
use crate::small::Square;
use serde::Deserialize;

/// The runs.
const RUNS: &str = include_str!("recorded.json");

/// Steps of each, where it ends, and what it adds to the variances.
const STEPS: usize = 5;
const EPS: f64 = 1e-3;
const ADDED: f64 = 1e-9;

/// Its score of the velocity: `a x + b v`.
const SCORE: [f64; 2] = [0.5, -3.0];

/// Coordinates of a row.
const DIM: usize = 2;

/// Why runs are right to this.
const VARIANCES: &str = "its variances, of 1e-9 and more, are right to 1e-16";

#[rustfmt::skip]
static ROWS: [Row; 2] = [
    Row::still("sscs", "sampler.sscs", "recorded runs of the paper's public code at a constant rate, with its constant 1e-9 on the variances of half steps, are those of the steps as published", 1e-9, VARIANCES),
    Row::still("sscs-first-half-twice", "sampler.sscs_first_half_twice", "recorded runs of the paper's public code at a rate that grows, with its constant 1e-9 on the variances of half steps, are those of steps whose second half repeats the first", 1e-9, VARIANCES),
];

/// A run: inputs and results of some rows, x before v in each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    id: String,
    mass: f64,
    b0: f64,
    b1: f64,
    striding: String,
    u: Vec<Vec<f64>>,
    noise: Vec<Vec<Vec<f64>>>,
    x: Vec<Vec<f64>>,
    v: Vec<Vec<f64>>,
}

struct Linear;

impl Score for Linear {
    fn score(&self, _: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        for (r, o) in out[0].iter_mut().enumerate() {
            *o = SCORE[0] * u[0][r] + SCORE[1] * u[1][r];
        }
        Ok(())
    }
}

/// `L^-1 L_e`: what noise must be for a factor L to make of it what `L_e` makes of the recorded
/// one; `L_e` is the lower factor with the constant on the variances.
fn added(d: &Diffusion, s: f64, t: f64) -> Result<Square> {
    let m = d.reversed(s, t)?;
    let a = (m.cov[(0, 0)] + ADDED).sqrt();
    let b = m.cov[(1, 0)] / a;
    let c = (m.cov[(1, 1)] + ADDED - b * b).sqrt();
    let kernel = Kernel::<2>::from_moments(m.fixed())?;
    let l = kernel.lower();
    let first = a / l[(0, 0)];
    let of_first = (b - l[(1, 0)] * first) / l[(1, 1)];
    Ok(Square::build(2, |i, j| match (i, j) {
        (0, 0) => first,
        (1, 0) => of_first,
        (1, 1) => c / l[(1, 1)],
        _ => 0.0,
    }))
}

/// Channels of rows that have x before v.
fn channels(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..2)
        .map(|c| {
            rows.iter()
                .flat_map(|r| r.iter().skip(c * DIM).take(DIM).copied())
                .collect()
        })
        .collect()
}

/// A run by this crate's sampler of that name.
fn again(run: &Recorded, name: &str) -> Result<Vec<Vec<f64>>> {
    let d = Diffusion::of(Cld::new(run.mass)?, Schedule::linear(run.b0, run.b1)?, 0.04)?;
    let spacing = match run.striding.as_str() {
        "quadratic" => Spacing::Quadratic,
        _ => Spacing::Linear,
    };
    let grid = Grid::spaced(spacing, &d, STEPS, EPS)?;
    let stepper = entry(name)?.build(&d, &grid)?;
    let mut u = channels(&run.u);
    let mut memory = Memory::new(&*stepper, u[0].len());
    if run.noise.len() != 2 * STEPS {
        let allowed = format!("two slices a step, in {}", run.id);
        return Err(Error::shape("noise", &[run.noise.len()], allowed));
    }
    for (i, (t, s)) in grid.intervals().enumerate() {
        let middle = 0.5 * (t + s);
        let second = if name == "sscs" {
            (s, middle)
        } else {
            (middle, t)
        };
        let mut noise = vec![];
        for (half, (s, t)) in [(middle, t), second].into_iter().enumerate() {
            let (change, z) = (added(&d, s, t)?, channels(&run.noise[2 * i + half]));
            for c in 0..2 {
                let one = |r: usize| change[(c, 0)] * z[0][r] + change[(c, 1)] * z[1][r];
                noise.push((0..z[0].len()).map(one).collect::<Vec<f64>>());
            }
        }
        let views: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
        let mut slices: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
        stepper.step(i, &mut slices, &views, &Linear, &mut memory)?;
    }
    Ok(u)
}

fn runs(_: u64, tally: &mut Tally<'_>) -> Result<()> {
    let all: Vec<Recorded> = serde_json::from_str(RUNS).map_err(|e| Error::Degenerate {
        what: "the recorded runs".into(),
        why: e.to_string(),
    })?;
    for (at, run) in all.iter().enumerate() {
        let name = ROWS[usize::from(run.b1 > 0.0)].name;
        let found = again(run, name)?;
        let expected: Vec<f64> = run.x.iter().chain(&run.v).flatten().copied().collect();
        tally.all(name, at as f64, &found.concat(), &expected)?;
    }
    Ok(())
}

/// The two variants.
///
/// # Errors
/// None: the runs are fixed.
pub fn parts() -> Result<Vec<Part>> {
    Ok(vec![table(
        "recorded".into(),
        "",
        ROWS.iter().collect(),
        runs,
    )])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::answers::{Answer, read_answers};
    use crate::files::Limits;
    use crate::files::arrays::Array;

    /// Rows of the recording that were taken.
    const TAKEN: [usize; 2] = [0, 17];

    /// Catches rows that are not those of the recording, and a variant that is taken for the other:
    /// the published steps are off by 1e-3 at least where the rate grows.
    #[test]
    fn rows_are_those_of_the_recording() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/peers/cld-sgm");
        let whole = read_answers(path.as_ref(), None, &Limits::default()).unwrap();
        let all: Vec<Recorded> = serde_json::from_str(RUNS).unwrap();
        assert_eq!(all.len(), 6);
        for run in &all {
            let entry = whole.entries.iter().find(|e| e.id == run.id).unwrap();
            let Answer::Given(outputs) = &entry.answer else {
                panic!("{}: no outputs", run.id);
            };
            let recorded = |a: &Array, slice: usize| -> Vec<Vec<f64>> {
                let (n, width) = (a.shape[a.shape.len() - 2], a.shape[a.shape.len() - 1]);
                let row = |r: usize| a.data[(slice * n + r) * width..][..width].to_vec();
                TAKEN.map(row).to_vec()
            };
            assert_eq!(run.u, recorded(&entry.inputs["u"], 0), "{}", run.id);
            for (i, noise) in run.noise.iter().enumerate() {
                assert_eq!(*noise, recorded(&entry.inputs["noise"], i), "{}", run.id);
            }
            assert_eq!(entry.inputs["score_v_matrix"].data, SCORE, "{}", run.id);
            assert_eq!(run.x, recorded(&outputs["x"], 0), "{}", run.id);
            assert_eq!(run.v, recorded(&outputs["v"], 0), "{}", run.id);
            if run.b1 > 0.0 {
                let found = again(run, "sscs").unwrap().concat();
                let expected: Vec<f64> = run.x.iter().chain(&run.v).flatten().copied().collect();
                let far = crate::worst::distances(&found, &expected)
                    .collect::<crate::worst::Worst>()
                    .value();
                assert!(far > 1e-3, "{}: {far}", run.id);
            }
        }
    }
}
