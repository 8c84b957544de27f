//! Claims by simulation: paths of the SDE against the law they should have.
//!
//! A group is one case under one scheme. Its paths start from `N(m0, Sigma0)` (Sigma0 = 0 for DSM, `gamma M` on the velocities
//! for HSM) and are recorded at [`RECORDS`] times. What they are compared with has no error of its own: for the exact
//! scheme the closed-form kernel, for the others the scheme's exact law. So nothing is left but sampling noise, whose law
//! is known ([`stats`](super::stats)).

use super::cases::{Case, Typed};
use super::claim::{Claim, Evidence, Figure, Method, Plant};
use super::stats::{level, p_normal, shift_caught, z_chi_squared, z_of};
use crate::error::Result;
use crate::kernel::kernel_values;
use crate::process::AnyProcess;
use crate::simulate::streams::Stream;
use crate::simulate::{Forward, Moments, Plan, Scheme, scheme_law};
use crate::small::Mat;
use crate::truth::predict::CHANNELS;
use serde::{Deserialize, Serialize};

/// Times at which a group's paths are recorded.
pub const RECORDS: usize = 6;
/// Steps up to each record, for schemes that step.
const AT: [usize; RECORDS] = [6, 11, 17, 27, 37, 49];

/// Number, mean and co-moments, as plain numbers: what shards write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Number of paths.
    pub n: u64,
    /// Means.
    pub mean: Vec<f64>,
    /// Sums of products of deviations from the means, row-major.
    pub sum: Vec<f64>,
}

impl Sums {
    fn of<const K: usize>(m: &Moments<K>) -> Sums {
        Sums { n: m.n, mean: m.mean.to_vec(), sum: m.sum.0.concat() }
    }

    fn fixed<const K: usize>(&self) -> Moments<K> {
        Moments { n: self.n, mean: std::array::from_fn(|i| self.mean[i]), sum: Mat::build(|i, j| self.sum[i * K + j]) }
    }

    /// Of both; both must be of the same number of channels.
    pub fn merge(&self, o: &Sums) -> Sums {
        match self.mean.len() {
            1 => Sums::of(&self.fixed::<1>().merge(&o.fixed())),
            2 => Sums::of(&self.fixed::<2>().merge(&o.fixed())),
            3 => Sums::of(&self.fixed::<3>().merge(&o.fixed())),
            _ => Sums::of(&self.fixed::<4>().merge(&o.fixed())),
        }
    }

    /// Sum of products of deviations from `center`, row-major.
    fn about(&self, center: &[f64]) -> Vec<f64> {
        let k = center.len();
        let d: Vec<f64> = self.mean.iter().zip(center).map(|(m, c)| m - c).collect();
        (0..k * k).map(|e| self.sum[e] + self.n as f64 * (d[e / k] * d[e % k])).collect()
    }
}

/// The law that a record should have.
struct Expected {
    t: f64,
    mean: Vec<f64>,
    cov: Vec<f64>,
    /// Inverse standard deviation of the last channel given the others; only for the exact scheme.
    ell: Option<f64>,
}

/// One case under one scheme.
pub struct Group {
    /// `case/scheme`.
    pub name: String,
    case: Case,
    scheme: Scheme,
    k: usize,
    expected: Vec<Expected>,
    /// Steps of one path, for reports of the work done.
    pub steps: usize,
    run: Box<dyn Fn(u64, u64) -> Vec<Sums> + Send + Sync>,
}

/// Relaxation rate of a process, roughly: what the clock's length is measured in.
fn rate(process: &dyn AnyProcess) -> f64 {
    process.drift().iter().fold(0.0, |a: f64, x| a.max(x.abs())).max(0.5)
}

/// Times: 17 geometric in the clock, then 32 equal in it. The end is 1, or where the clock has run for 6 relaxation times:
/// after that nothing changes any more. The first is where x's standard deviation is still far above the rounding of
/// its mean: it grows like the clock to the power K - 1/2.
fn grid(case: &Case, process: &dyn AnyProcess) -> Result<Vec<f64>> {
    let clock = |t: f64| case.config.schedule.integral(0.0, t);
    let invert = |b: f64| -> Result<f64> {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let m = 0.5 * (low + high);
            if clock(m)? < b { low = m } else { high = m }
        }
        Ok(high)
    };
    let relaxation = if case.config.entry.name == "ve" { clock(1.0)? / 6.0 } else { 1.0 / rate(process) };
    let end = clock(1.0)?.min(6.0 * relaxation);
    let first = [1e-6, 1e-5, 1e-3, 1e-2][process.channels() - 1] * relaxation;
    let turn = 0.1 * end;
    let mut all = vec![0.0];
    for i in 0..17 {
        all.push(invert(first * (turn / first).powf(f64::from(i) / 16.0))?);
    }
    for i in 1..=32 {
        all.push(invert(turn + (end - turn) * f64::from(i) / 32.0)?);
    }
    Ok(all)
}

impl Group {
    /// The group of `case` under `scheme`, its noise from `seed`; `None` where the scheme is not defined.
    ///
    /// # Errors
    /// None for the registry's own cases.
    pub fn new(case: &Case, scheme: Scheme, seed: u64) -> Result<Option<Group>> {
        match case.config.process()?.channels() {
            1 => Self::typed::<1>(case, scheme, seed),
            2 => Self::typed::<2>(case, scheme, seed),
            3 => Self::typed::<3>(case, scheme, seed),
            _ => Self::typed::<4>(case, scheme, seed),
        }
    }

    fn typed<const K: usize>(case: &Case, scheme: Scheme, seed: u64) -> Result<Option<Group>> {
        let process = case.config.process()?;
        let typed = Typed::<K>(&*process);
        let sde = Forward::new(&typed, case.config.schedule);
        if scheme.check(&sde).is_err() {
            return Ok(None);
        }
        let name = format!("{}/{}", case.name, scheme.name());
        let fine = grid(case, &*process)?;
        // the exact scheme needs no steps between the records
        let (grid, records) = if scheme == Scheme::Exact {
            let mut g = vec![0.0];
            g.extend(AT.map(|n| fine[n]));
            (g, (1..=RECORDS).collect::<Vec<_>>())
        } else {
            (fine, AT.to_vec())
        };
        let gamma = case.config.objective.gamma();
        let size = process.prior(case.config.schedule.integral(0.0, 1.0)?);
        let start = [1.5, -1.0, 0.7, -1.2];
        let m0: [f64; K] = std::array::from_fn(|i| start[i] * size[i * K + i].sqrt());
        let initial: [f64; K] = std::array::from_fn(|i| if i > 0 { gamma * process.mass() } else { 0.0 });
        let laws = scheme_law(scheme, &sde, &grid);
        let mut expected = vec![];
        for &r in &records {
            let t = grid[r];
            let (mean, cov, ell) = if scheme == Scheme::Exact {
                let v = kernel_values(&*process, &case.config.schedule, case.config.objective, 0.0, t)?;
                (crate::audit::cases::matrix::<K>(&v.mean), v.cov.clone(), (K > 1).then_some(v.ell))
            } else {
                (laws[r].mean, laws[r].started_from(initial).0.concat(), None)
            };
            let mean = (0..K).map(|i| (0..K).map(|j| mean[(i, j)] * m0[j]).sum()).collect();
            expected.push(Expected { t, mean, cov, ell });
        }
        let plan = Plan::new(scheme, &sde, &grid, &records, (m0, initial.map(f64::sqrt)), Stream::named(seed, &name))?;
        let steps = plan.steps();
        let run = Box::new(move |from: u64, to: u64| plan.moments(from, to).iter().map(Sums::of).collect());
        Ok(Some(Group { name, case: case.clone(), scheme, k: K, expected, steps, run }))
    }

    /// Name of the case.
    pub fn case(&self) -> &str {
        &self.case.name
    }

    /// Sums at every record of the paths `from .. to`. One thread.
    pub fn sums(&self, from: u64, to: u64) -> Vec<Sums> {
        (self.run)(from, to)
    }

    /// Number of tests that [`evidence`](Self::evidence) makes.
    pub fn tests(&self) -> usize {
        self.expected.iter().map(|e| self.k + self.k * (self.k + 1) / 2 + usize::from(e.ell.is_some())).sum()
    }

    /// The claims, judged by the sums of all paths; `tests` is the number of tests of the whole audit.
    pub fn evidence(&self, sums: &[Sums], tests: usize, plant: Option<&Plant>) -> Vec<Evidence> {
        let k = self.k;
        let mut names: Vec<(String, &'static str)> = vec![];
        for i in 0..k {
            names.push((format!("mean.{}", CHANNELS[i]), "kernel.mean"));
        }
        for i in 0..k {
            for j in i..k {
                names.push((format!("cov.{}{}", CHANNELS[i], CHANNELS[j]), "kernel.cov"));
            }
        }
        if self.expected.iter().any(|e| e.ell.is_some()) {
            names.push(("ell".into(), "kernel.ell"));
        }
        names.into_iter().map(|(entry, formula)| self.claim(&entry, formula, sums, tests, plant)).collect()
    }

    fn claim(&self, entry: &str, formula: &str, sums: &[Sums], tests: usize, plant: Option<&Plant>) -> Evidence {
        let id = format!("{}/{entry}/simulation.{}", self.case.name, self.scheme.name());
        let (k, alpha) = (self.k, level(tests));
        let (critical, caught) = (z_of(alpha), shift_caught(alpha));
        let mut e = Evidence {
            claim: Claim {
                id: id.clone(),
                formula: formula.into(),
                statement: format!(
                    "{entry} of {}, {}, at {} times, is that of simulated paths",
                    self.case.config.describe(),
                    if self.scheme == Scheme::Exact {
                        "chained exact transitions".to_string()
                    } else {
                        format!("as {} discretises it", self.scheme.name())
                    },
                    self.expected.len()
                ),
                method: Method::Simulation,
                tolerance: format!(
                    "{critical:.2} standard errors: probability {alpha:.1e} of a false alarm, 1e-6 for all {tests} tests together"
                ),
            },
            figures: vec![],
            p: vec![],
            worst: 0.0,
            power: 0.0,
            holds: true,
        };
        for (x, s) in self.expected.iter().zip(sums) {
            let n = s.n as f64;
            let cov = |i: usize, j: usize| x.cov[i * k + j];
            let channel = |c: char| CHANNELS.iter().position(|l| l.starts_with(c)).unwrap_or(0);
            let about = s.about(&x.mean);
            let letters: Vec<char> = entry.rsplit('.').next().unwrap_or("").chars().collect();
            // (found, expected, deviation in standard errors, shift of it per unit of relative error)
            let (found, expected, z, shift) = match (entry.split('.').next(), letters.as_slice()) {
                (Some("mean"), [c]) => {
                    let i = channel(*c);
                    let se = (cov(i, i) / n).sqrt();
                    let m = Plant::apply(plant, &id, x.mean[i], x.mean[i]);
                    (s.mean[i], m, (s.mean[i] - m) / se, (x.mean[i] / se).abs())
                }
                (Some("cov"), [c, d]) if c == d => {
                    let i = channel(*c);
                    let v = Plant::apply(plant, &id, cov(i, i), cov(i, i));
                    (about[i * k + i] / n, v, z_chi_squared(about[i * k + i] / v, n), (0.5 * n).sqrt())
                }
                (Some("cov"), [c, d]) => {
                    let (i, j) = (channel(*c), channel(*d));
                    let unit = (cov(i, i) * cov(j, j)).sqrt();
                    let v = Plant::apply(plant, &id, cov(i, j), unit);
                    // given channel i, the residual of j is Gaussian with this variance; from the unplanted law
                    let rest = (cov(j, j) - cov(i, j) * cov(i, j) / cov(i, i)).max(f64::MIN_POSITIVE);
                    let sum = about[i * k + j] - v / cov(i, i) * about[i * k + i];
                    (about[i * k + j] / n, v, sum / (about[i * k + i] * rest).sqrt(), (n * cov(j, j) / rest).sqrt())
                }
                _ => {
                    let ell = x.ell.unwrap_or(f64::NAN);
                    let planted = Plant::apply(plant, &id, ell, ell);
                    let (rest, n) = (residual(&about, k), n - (k - 1) as f64);
                    ((n / rest).sqrt(), planted, z_chi_squared(rest * planted * planted, n), 2.0 * (0.5 * n).sqrt())
                }
            };
            e.figures.push(Figure { at: x.t, found, expected, deviation: z });
            e.p.push(p_normal(z));
            e.worst = if z.is_nan() { f64::INFINITY } else { e.worst.max(z.abs() / critical) };
            e.power = e.power.max(caught / shift);
        }
        e.holds = e.worst <= 1.0;
        e
    }
}

/// Sum of squares of the last channel's residuals given the others: the last pivot of elimination.
fn residual(about: &[f64], k: usize) -> f64 {
    let mut a = about.to_vec();
    for p in 0..k - 1 {
        for i in p + 1..k {
            let f = a[i * k + p] / a[p * k + p];
            for j in p..k {
                a[i * k + j] -= f * a[p * k + j];
            }
        }
    }
    a[k * k - 1]
}
