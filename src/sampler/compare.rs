//! Error against evaluations of the score: every sampler on data of known law with the exact score.

use super::driver::Run;
use super::grid::Spacing;
use super::law::run_law;
use super::{Denoise, Grid, SamplerEntry};
use crate::data::Mixture;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::metrics::{Estimate, Pairwise, bures, sliced};
use crate::score::{Counted, Gaussian, MixtureScore, Score};
use crate::team::{Team, agreed, place};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Intervals of the grid for samplers that choose their own steps.
const ADAPTIVE_STEPS: usize = 10;

/// Random directions of the sliced distance.
const DIRECTIONS: usize = 24;

/// Fresh samples of the data.
const FRESH: u64 = 9;

/// Blocks of the energy distance: of equal laws a block's value is skewed, and the error of the
/// mean of few of them too small.
const ENERGY_BLOCKS: usize = 40;
/// Fewest samples.
const FEWEST: usize = 1024;

/// What to compare.
pub struct Comparison {
    /// Samplers.
    pub samplers: Vec<&'static SamplerEntry>,
    /// Grids, each with its name.
    pub grids: Vec<(String, Spacing)>,
    /// Evaluations of the score that a run may use.
    pub budgets: Vec<usize>,
    /// Points per run, and of the data.
    pub n: usize,
    /// End of the grids.
    pub eps: f64,
    /// Ends each run with a noise-free Euler step to 0: one more evaluation, which counts.
    pub denoise: bool,
    /// Seed of data and noise: all runs of one seed share their draws as far as they use the same.
    pub seed: u64,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ComparisonRow {
    /// The sampler.
    pub sampler: &'static str,
    /// The grid's name.
    pub grid: String,
    /// The budget; `None` for samplers that choose their own number of evaluations.
    pub budget: Option<usize>,
    /// Steps of the grid.
    pub steps: usize,
    /// Evaluations per point, as counted.
    pub nfe: f64,
    /// W2 to the data: sliced, between samples; for Gaussian data exact, without sampling. NaN
    /// where the run left the finite numbers.
    pub w2: f64,
    /// Energy distance (unbiased, so perhaps negative) and its standard error; none for Gaussian
    /// data.
    pub energy: Option<Estimate>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// The runs, ordered as asked: by sampler, grid, budget.
    pub rows: Vec<ComparisonRow>,
    /// W2 of fresh samples of the data to the sample that the runs are held against, the median of
    /// nine: what a perfect sampler would show. 0 for Gaussian data.
    pub floor: f64,
    /// The largest of the nine: a sampler whose W2 is not above it cannot be told from a perfect
    /// one.
    pub ceiling: f64,
    /// Samplers that are not defined for the diffusion, with the reason.
    pub left_out: Vec<(&'static str, String)>,
}

impl Found {
    /// The row of least W2 among those of a budget, and the others that cannot be told from it:
    /// where it is not above [`ceiling`](Self::ceiling), all that are not.
    pub fn best(&self, budget: usize) -> Option<(&ComparisonRow, Vec<&ComparisonRow>)> {
        let of = || {
            self.rows
                .iter()
                .filter(move |r| r.budget == Some(budget) && r.w2.is_finite())
        };
        let best = of().min_by(|a, b| a.w2.total_cmp(&b.w2))?;
        let ties = of()
            .filter(|r| r.w2 <= self.ceiling.max(best.w2) && !std::ptr::eq(*r, best))
            .collect();
        Some((best, ties))
    }
}

/// A planned run.
struct Job {
    entry: &'static SamplerEntry,
    grid: usize,
    budget: Option<usize>,
    steps: usize,
}

/// The figures of a run.
#[derive(Clone, Copy)]
struct Figures {
    w2: f64,
    energy: Option<Estimate>,
    nfe: f64,
}

impl Figures {
    /// As so many numbers they go from process to process.
    const NUMBERS: usize = 5;

    fn numbers(&self) -> [f64; Self::NUMBERS] {
        let energy = self.energy.map_or([0.0; 3], |e| [1.0, e.value, e.error]);
        [self.w2, self.nfe, energy[0], energy[1], energy[2]]
    }

    fn of(numbers: &[f64]) -> Figures {
        Figures {
            w2: numbers[0],
            nfe: numbers[1],
            energy: (numbers[2] != 0.0).then_some(Estimate {
                value: numbers[3],
                error: numbers[4],
            }),
        }
    }
}

/// Samplers that are not defined for a diffusion, with the reason.
type LeftOut = Vec<(&'static str, String)>;

impl Comparison {
    /// The runs for `diffusion`; samplers that do not fit it, with the reason.
    fn jobs(&self, diffusion: &Diffusion) -> Result<(Vec<Job>, LeftOut)> {
        if self.samplers.is_empty() || self.grids.is_empty() || self.budgets.is_empty() {
            return Err(Error::parameter(
                "samplers, grids, budgets",
                "empty",
                "at least one each",
            ));
        }
        if let Some(b) = self.budgets.iter().find(|b| !(1..=1_000_000).contains(*b)) {
            return Err(Error::parameter("nfe", b, "1 to 1000000"));
        }
        // the grids refuse what is wrong with eps or a power before anything runs
        let grids = self
            .grids
            .iter()
            .map(|(_, s)| Grid::spaced(*s, diffusion, 2, self.eps))
            .collect::<Result<Vec<_>>>()?;
        let (mut jobs, mut left_out) = (vec![], vec![]);
        for &entry in &self.samplers {
            if let Err(e) = entry.build(diffusion, &grids[0]) {
                left_out.push((entry.name, e.to_string()));
                continue;
            }
            if entry.evaluations == 0 {
                jobs.push(Job {
                    entry,
                    grid: 0,
                    budget: None,
                    steps: ADAPTIVE_STEPS,
                });
                continue;
            }
            for grid in 0..grids.len() {
                for &budget in &self.budgets {
                    let steps = entry.steps_within(budget, self.denoise);
                    if steps > 0 {
                        jobs.push(Job {
                            entry,
                            grid,
                            budget: Some(budget),
                            steps,
                        });
                    }
                }
            }
        }
        if jobs.is_empty() {
            let why = left_out.first().map_or_else(
                || "budgets too small for one step".into(),
                |(_, e)| e.clone(),
            );
            return Err(Error::parameter(
                "samplers",
                "none that could run",
                format!("at least one ({why})"),
            ));
        }
        Ok((jobs, left_out))
    }

    /// Works off the jobs on all threads, and where there are several processes each its own;
    /// `one` gives the figures of a run.
    fn work(
        &self,
        diffusion: &Diffusion,
        (floor, ceiling): (f64, f64),
        (team, progress): (Option<&dyn Team>, &(dyn Fn(usize, usize) + Sync)),
        one: impl Fn(&Job, &Grid) -> Result<Figures> + Sync,
    ) -> Result<Found> {
        let (jobs, left_out) = self.jobs(diffusion)?;
        // dealt out by length, so that all processes have about as much
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(jobs[*i].steps));
        let ((rank, size), mut owner) = (place(team), vec![0; jobs.len()]);
        order
            .iter()
            .enumerate()
            .for_each(|(n, i)| owner[*i] = n % size);
        let own: Vec<usize> = (0..jobs.len()).filter(|i| owner[*i] == rank).collect();
        let (total, done) = (
            own.iter().map(|i| jobs[*i].steps).sum(),
            AtomicUsize::new(0),
        );
        let figures = own
            .par_iter()
            .map(|i| {
                let j = &jobs[*i];
                let grid = Grid::spaced(self.grids[j.grid].1, diffusion, j.steps, self.eps)?;
                let figures = match one(j, &grid) {
                    // a run that blows up, or would take too long, is a finding, not an error of
                    // the comparison
                    Err(Error::NonFinite { .. } | Error::Unfinished { .. }) => Figures {
                        w2: f64::NAN,
                        energy: None,
                        nfe: j.budget.map_or(f64::NAN, |b| b as f64),
                    },
                    other => other?,
                };
                progress(done.fetch_add(j.steps, Ordering::Relaxed) + j.steps, total);
                Ok(figures)
            })
            .collect::<Result<Vec<_>>>();
        let all = match team {
            None => figures?,
            Some(team) => {
                let mut numbers = vec![0.0; jobs.len() * Figures::NUMBERS];
                for (i, f) in own.iter().zip(agreed(team, figures)?) {
                    numbers[i * Figures::NUMBERS..][..Figures::NUMBERS]
                        .copy_from_slice(&f.numbers());
                }
                let of_each = team.gather(&numbers)?;
                let of =
                    |(i, r): (usize, &usize)| Figures::of(&of_each[*r][i * Figures::NUMBERS..]);
                owner.iter().enumerate().map(of).collect()
            }
        };
        let rows = jobs
            .iter()
            .zip(all)
            .map(|(j, f)| {
                let grid = match j.budget {
                    Some(_) => self.grids[j.grid].0.clone(),
                    None => "adaptive".into(),
                };
                ComparisonRow {
                    sampler: j.entry.name,
                    grid,
                    budget: j.budget,
                    steps: j.steps,
                    nfe: f.nfe,
                    w2: f.w2,
                    energy: f.energy,
                }
            })
            .collect();
        Ok(Found {
            rows,
            floor,
            ceiling,
            left_out,
        })
    }

    /// On a mixture, by sampling: W2 is sliced over 24 directions, the energy distance is taken
    /// over 40 blocks. Several processes share out the runs, and all get all.
    ///
    /// # Errors
    /// Bad options; no sampler that fits; the score's own.
    pub fn on_mixture(
        &self,
        diffusion: &Diffusion,
        mixture: &Mixture,
        team: Option<&dyn Team>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Found> {
        if !(FEWEST..=10_000_000).contains(&self.n) {
            return Err(Error::parameter(
                "n",
                self.n,
                format!("{FEWEST} to 10000000"),
            ));
        }
        self.jobs(diffusion)?;
        let dim = mixture.dim();
        let w2 =
            |a: &[f64], b: &[f64]| sliced(a, b, dim, 2, DIRECTIONS, self.seed).map(|e| e.value);
        let data = mixture.sample(self.seed, self.n)?;
        // against the very data that the runs are held against: its own deviation is in all of them
        // alike
        let mut floors = (1..=FRESH)
            .into_par_iter()
            .map(|i| w2(&data, &mixture.sample(self.seed.wrapping_add(i), self.n)?))
            .collect::<Result<Vec<_>>>()?;
        floors.sort_by(f64::total_cmp);
        let score = MixtureScore::new(diffusion.clone(), mixture.clone());
        let levels = (floors[floors.len() / 2], floors[floors.len() - 1]);
        self.work(diffusion, levels, (team, progress), |job, grid| {
            let stepper = job.entry.build(diffusion, grid)?;
            let counted = Counted::new(&score);
            let run = Run {
                diffusion,
                stepper: &*stepper,
                grid,
                denoise: self.denoise,
                score: &counted,
                n: self.n,
                dim,
                // not the data's stream
                seed: self.seed.wrapping_add(1 << 32),
            };
            let samples = run.sample(&|_, _| ())?;
            let energy =
                Pairwise::Energy.blocks(&samples[0], &data, dim, self.n / ENERGY_BLOCKS)?;
            Ok(Figures {
                w2: w2(&samples[0], &data)?,
                energy: Some(energy),
                nfe: counted.values() as f64 / (self.n * dim) as f64,
            })
        })
    }

    /// On Gaussian data, without sampling: the law of each run is read off its own steps, W2 of x
    /// to the data is exact. Several processes share out the runs, and all get all.
    ///
    /// # Errors
    /// Bad options; no sampler that fits; mean or deviation out of range.
    pub fn on_gaussian(
        &self,
        diffusion: &Diffusion,
        mean: f64,
        deviation: f64,
        team: Option<&dyn Team>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Found> {
        let score = Gaussian::new(diffusion.clone(), mean, deviation)?;
        let k = diffusion.channels();
        self.work(diffusion, (0.0, 0.0), (team, progress), |job, grid| {
            let stepper = job.entry.build(diffusion, grid)?;
            let counted = Counted::new(&score as &dyn Score);
            let last = if self.denoise {
                Some(Denoise::new(diffusion, self.eps)?)
            } else {
                None
            };
            let mut runs = vec![(&*stepper, grid.steps())];
            if let Some(last) = &last {
                runs.push((last, 1));
            }
            let law = run_law(&runs, k, &counted)?;
            let (m, c) = law.moments(&vec![0.0; k], &diffusion.prior());
            if !(m[0].is_finite() && c[(0, 0)].is_finite()) {
                return Err(Error::NonFinite {
                    step: grid.steps(),
                    t: self.eps,
                });
            }
            let rows = 1 + k + runs.iter().map(|(s, n)| s.draws() * n).sum::<usize>();
            let w2 = bures(
                &m[..1],
                &[c[(0, 0)].max(0.0)],
                &[mean],
                &[deviation * deviation],
            )?;
            Ok(Figures {
                w2,
                energy: None,
                nfe: counted.values() as f64 / rows as f64,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::sampler::entry;

    fn small(samplers: &[&str]) -> Comparison {
        Comparison {
            samplers: samplers.iter().map(|s| entry(s).unwrap()).collect(),
            grids: vec![
                ("linear".into(), Spacing::Linear),
                ("quadratic".into(), Spacing::Quadratic),
            ],
            budgets: vec![10, 160],
            n: 1024,
            eps: 1e-3,
            denoise: false,
            seed: 1,
        }
    }

    /// Catches evaluations counted per step instead of per run, rows out of order, and a distance
    /// that does not fall: on Gaussian data Euler-Maruyama is of order 1, so 16 times the steps
    /// leave about a 16th.
    #[test]
    fn gaussian_errors_fall_with_the_budget() {
        let d = Diffusion::paper().unwrap();
        let mut c = small(&["em", "flow-heun"]);
        c.budgets = vec![100, 1600];
        c.grids.truncate(1);
        let found = c.on_gaussian(&d, 0.0, 0.7, None, &|_, _| ()).unwrap();
        assert_eq!(
            found
                .rows
                .iter()
                .map(|r| (r.sampler, r.steps))
                .collect::<Vec<_>>(),
            [
                ("em", 100),
                ("em", 1600),
                ("flow-heun", 50),
                ("flow-heun", 800)
            ]
        );
        assert_eq!(
            found.rows.iter().map(|r| r.nfe).collect::<Vec<_>>(),
            [100.0, 1600.0, 100.0, 1600.0]
        );
        let ratio = found.rows[0].w2 / found.rows[1].w2;
        assert!((8.0..32.0).contains(&ratio), "{ratio}");
        assert_eq!(found.best(100).unwrap().0.sampler, "flow-heun");
    }

    /// Catches samples compared with the wrong channel or the wrong data, and a budget's best that
    /// is not the least: at 160 evaluations the best is near the floor; ten steps of Euler-Maruyama
    /// on the linear grid, each of length 0.4 in the process's clock, are far above all fresh data.
    #[test]
    fn mixture_errors_approach_the_floor() {
        let d = Diffusion::paper().unwrap();
        let m = (data::entry("mixture").unwrap().build)().unwrap();
        let found = small(&["em", "sscs"])
            .on_mixture(&d, &m, None, &|_, _| ())
            .unwrap();
        assert_eq!(found.rows.len(), 8);
        assert!(0.0 < found.floor && found.floor < found.ceiling);
        let (best, _) = found.best(160).unwrap();
        assert!(
            found
                .rows
                .iter()
                .filter(|r| r.budget == Some(160))
                .all(|r| best.w2 <= r.w2)
        );
        assert!(
            best.w2 < 3.0 * found.floor,
            "{} against {}",
            best.w2,
            found.floor
        ); // a sample's own scatter, thrice
        let crude = &found.rows[0];
        assert_eq!(
            (crude.sampler, crude.grid.as_str(), crude.budget),
            ("em", "linear", Some(10))
        );
        assert!(
            crude.w2 > 2.0 * found.ceiling,
            "{} against {}",
            crude.w2,
            found.ceiling
        ); // 0.64 against at most 0.2
    }

    /// Catches a comparison that starts with bad options, or that dies of a sampler that does not
    /// fit.
    #[test]
    fn refusals_name_the_field() {
        let d = Diffusion::paper().unwrap();
        let m = (data::entry("mixture").unwrap().build)().unwrap();
        let refused = |f: &dyn Fn(&mut Comparison), word: &str| {
            let mut c = small(&["em"]);
            f(&mut c);
            let e = c
                .on_mixture(&d, &m, None, &|_, _| ())
                .unwrap_err()
                .to_string();
            assert!(e.contains(word), "{e}");
        };
        refused(&|c| c.budgets = vec![0], "`nfe` is 0");
        refused(&|c| c.eps = 2.0, "`eps` is 2");
        refused(&|c| c.n = 10, "`n` is 10");
        refused(&|c| c.samplers.clear(), "at least one");
        let ve = Diffusion::of(
            crate::process::Ve,
            crate::schedule::Schedule::geometric(0.01, 50.0).unwrap(),
            0.0,
        )
        .unwrap();
        let found = small(&["em", "sscs"])
            .on_gaussian(&ve, 0.0, 0.7, None, &|_, _| ())
            .unwrap();
        assert_eq!(
            found.left_out.iter().map(|l| l.0).collect::<Vec<_>>(),
            ["sscs"]
        );
    }
}
