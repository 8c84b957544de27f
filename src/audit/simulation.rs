//! Claims by simulation: paths of the SDE against the law they should have.
//!
//! A group is one case under one scheme. Its paths start from `N(m0, Sigma0)` (Sigma0 = 0 for DSM,
//! `gamma M` on the velocities for HSM) and are recorded at [`RECORDS`] times. What they are
//! compared with has no error of its own: for the exact scheme the closed-form kernel, for the
//! others the scheme's exact law. So nothing is left but sampling noise, whose law is known
//! ([`stats`](super::stats)).

use super::cases::{Case, Typed};
use super::claim::{Claim, Compared, Evidence, Figure, Method, Plant, share};
use super::stats::{in_words, level, p_normal, shift_caught, z_chi_squared, z_of};
use crate::error::{Error, Result};
use crate::kernel::kernel_values;
use crate::process::AnyProcess;
use crate::simulate::streams::Stream;
use crate::simulate::{Forward, Moments, Plan, Scheme, scheme_law};
use crate::small::{Mat, by_channels};
use crate::truth::predict::CHANNELS;
use crate::worst::{largest, worse};
use serde::Serialize;

/// Times at which a group's paths are recorded.
pub const RECORDS: usize = 6;
/// Steps up to each record, for schemes that step.
const AT: [usize; RECORDS] = [6, 11, 17, 27, 37, 49];

/// Number, mean and co-moments, as plain numbers: what shards write.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
        Sums {
            n: m.n,
            mean: m.mean.to_vec(),
            sum: m.sum.0.concat(),
        }
    }

    fn fixed<const K: usize>(&self) -> Moments<K> {
        Moments {
            n: self.n,
            mean: std::array::from_fn(|i| self.mean[i]),
            sum: Mat::build(|i, j| self.sum[i * K + j]),
        }
    }

    /// Of both.
    ///
    /// # Errors
    /// Sums of different numbers of channels, or of none, or more than 4.
    pub fn merge(&self, o: &Sums) -> Result<Sums> {
        let k = self.mean.len();
        if [self.sum.len(), o.sum.len()] != [k * k; 2] || o.mean.len() != k {
            let why = format!(
                "{} and {} channels, {} and {} sums",
                k,
                o.mean.len(),
                self.sum.len(),
                o.sum.len()
            );
            return Err(Error::Degenerate {
                what: "the merger of sums".into(),
                why,
            });
        }
        by_channels!(k, K => Ok(Sums::of(&self.fixed::<K>().merge(&o.fixed()))), else Err(Error::parameter("channels", k, "1 to 4")))
    }

    /// What is wrong with these sums of `n` paths of `k` channels, by what any such sums are: the
    /// field, and what is allowed.
    pub(super) fn amiss(&self, n: u64, k: usize) -> Option<(&'static str, String)> {
        let finite = |v: &[f64]| v.iter().all(|x| x.is_finite());
        let s = |i: usize, j: usize| self.sum[i * k + j];
        if self.n != n {
            return Some((
                "n",
                format!(
                    "is {}; allowed: {n}, the number of paths of the portion",
                    self.n
                ),
            ));
        }
        for (field, list, length) in [("mean", &self.mean, k), ("sum", &self.sum, k * k)] {
            if list.len() != length {
                return Some((
                    field,
                    format!("has {} numbers; allowed: {length}", list.len()),
                ));
            }
            if !finite(list) {
                return Some((field, "has a number that is not finite".into()));
            }
        }
        for i in 0..k {
            if s(i, i) < 0.0 {
                return Some((
                    "sum",
                    format!(
                        "has {:e} as entry {i}, {i}; allowed: a sum of squares, 0 or more",
                        s(i, i)
                    ),
                ));
            }
            for j in 0..i {
                if s(i, j) != s(j, i) {
                    return Some(("sum", format!("is not symmetric in entry {i}, {j}")));
                }
                // by Cauchy and Schwarz, up to the rounding of sums
                if s(i, j).abs() > (1.0 + 1e-6) * (s(i, i).sqrt() * s(j, j).sqrt()) {
                    return Some((
                        "sum",
                        format!(
                            "has {:e} as entry {i}, {j}; allowed: at most the root of the squares' product",
                            s(i, j)
                        ),
                    ));
                }
            }
        }
        None
    }

    /// Sum of products of deviations from `center`, row-major.
    fn about(&self, center: &[f64]) -> Vec<f64> {
        let k = center.len();
        let d: Vec<f64> = self.mean.iter().zip(center).map(|(m, c)| m - c).collect();
        (0..k * k)
            .map(|e| self.sum[e] + self.n as f64 * (d[e / k] * d[e % k]))
            .collect()
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

/// What is claimed of one case under one scheme: data, before any path is simulated.
pub struct Planned {
    /// The case.
    pub case: Case,
    /// The scheme.
    pub scheme: Scheme,
    /// The claims, one for each entry.
    pub claims: Vec<Claim>,
}

/// An entry of the law that is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantity {
    Mean(usize),
    Cov(usize, usize),
    Ell,
}

impl Quantity {
    /// Those of `k` channels; `ell` for the closed form alone.
    fn all(k: usize, scheme: Scheme) -> Vec<Quantity> {
        let mut all: Vec<Quantity> = (0..k).map(Quantity::Mean).collect();
        all.extend((0..k).flat_map(|i| (i..k).map(move |j| Quantity::Cov(i, j))));
        if scheme == Scheme::Exact && k > 1 {
            all.push(Quantity::Ell);
        }
        all
    }

    fn name(self) -> String {
        match self {
            Quantity::Mean(i) => format!("mean.{}", CHANNELS[i]),
            Quantity::Cov(i, j) => format!("cov.{}{}", CHANNELS[i], CHANNELS[j]),
            Quantity::Ell => "ell".into(),
        }
    }

    fn formula(self) -> &'static str {
        match self {
            Quantity::Mean(_) => "kernel.mean",
            Quantity::Cov(..) => "kernel.cov",
            Quantity::Ell => "kernel.ell",
        }
    }
}

fn fits<const K: usize>(case: &Case, process: &dyn AnyProcess, scheme: Scheme) -> bool {
    scheme
        .check(&Forward::new(&Typed::<K>(process), case.config.schedule))
        .is_ok()
}

impl Planned {
    /// What is claimed of `case` under `scheme`; `None` where the scheme is not defined.
    ///
    /// # Errors
    /// None for the registry's own cases.
    pub fn new(case: &Case, scheme: Scheme) -> Result<Option<Planned>> {
        let process = case.config.process()?;
        let k = process.channels();
        if !by_channels!(k, K => fits::<K>(case, &*process, scheme), else false) {
            return Ok(None);
        }
        let claim = |q: Quantity| {
            let about = case.config.describe();
            let how = match scheme {
                Scheme::Exact => "chained exact transitions".to_string(),
                s => format!("as {} discretises it", s.name()),
            };
            let says = format!(
                "{} of {about}, {how}, at {RECORDS} times, is that of simulated paths",
                q.name()
            );
            let mut claim = Claim::new(
                &format!("{}/{}", case.name, q.name()),
                q.formula(),
                Method::Simulation,
                says,
                "",
            );
            claim.id += &format!(".{}", scheme.name());
            claim
        };
        let claims = Quantity::all(k, scheme).into_iter().map(claim).collect();
        Ok(Some(Planned {
            case: case.clone(),
            scheme,
            claims,
        }))
    }

    /// `case/scheme`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.case.name, self.scheme.name())
    }

    /// Number of tests that the claims make.
    pub fn tests(&self) -> usize {
        RECORDS * self.claims.len()
    }

    /// Ready to simulate, its noise from `seed`.
    ///
    /// # Errors
    /// None for the registry's own cases.
    pub fn group(&self, seed: u64) -> Result<Group> {
        let k = self.case.config.process()?.channels();
        by_channels!(k, K => self.typed::<K>(seed), else Err(Error::parameter("channels", k, "1 to 4")))
    }

    fn typed<const K: usize>(&self, seed: u64) -> Result<Group> {
        let (case, scheme) = (&self.case, self.scheme);
        let process = case.config.process()?;
        let typed = Typed::<K>(&*process);
        let sde = Forward::new(&typed, case.config.schedule);
        let name = self.name();
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
        let m0: [f64; K] = std::array::from_fn(|i| start[i] * size[(i, i)].sqrt());
        let initial: [f64; K] =
            std::array::from_fn(|i| if i > 0 { gamma * process.mass() } else { 0.0 });
        let laws = scheme_law(scheme, &sde, &grid);
        let law = |r: usize| -> Result<Expected> {
            let t = grid[r];
            let (mean, cov, ell) = if scheme == Scheme::Exact {
                let (schedule, objective) = (&case.config.schedule, case.config.objective);
                let v = kernel_values(&*process, schedule, objective, 0.0, t)?;
                (v.mean.fixed(), v.cov.to_vec(), (K > 1).then_some(v.ell))
            } else {
                (laws[r].mean, laws[r].started_from(initial).0.concat(), None)
            };
            let mean = (0..K)
                .map(|i| (0..K).map(|j| mean[(i, j)] * m0[j]).sum())
                .collect();
            Ok(Expected { t, mean, cov, ell })
        };
        let expected = records
            .iter()
            .map(|r| law(*r))
            .collect::<Result<Vec<_>>>()?;
        let plan = Plan::new(
            scheme,
            &sde,
            &grid,
            &records,
            (m0, initial.map(f64::sqrt)),
            Stream::named(seed, &name),
        )?;
        let steps = plan.steps();
        let run = Box::new(move |from: u64, to: u64| {
            plan.moments(from, to).iter().map(Sums::of).collect()
        });
        let claims = Quantity::all(K, scheme)
            .into_iter()
            .zip(self.claims.iter().cloned())
            .collect();
        Ok(Group {
            name,
            case: case.name.clone(),
            claims,
            k: K,
            expected,
            steps,
            run,
        })
    }
}

/// One case under one scheme, ready to simulate.
pub struct Group {
    /// `case/scheme`.
    pub name: String,
    case: String,
    claims: Vec<(Quantity, Claim)>,
    k: usize,
    expected: Vec<Expected>,
    /// Steps of one path, for reports of the work done.
    pub steps: usize,
    run: Box<dyn Fn(u64, u64) -> Vec<Sums> + Send + Sync>,
}

/// Relaxation rate of a process, roughly: what the clock's length is measured in.
fn rate(process: &dyn AnyProcess) -> f64 {
    worse(largest(process.drift().as_slice()), 0.5)
}

/// Times: 17 geometric in the clock, then 32 equal in it. The end is 1, or where the clock has run
/// for 6 relaxation times: after that nothing changes any more. The first is where x's standard
/// deviation is still far above the rounding of its mean: it grows like the clock to the power K -
/// 1/2.
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
    let relaxation = if process.stationary().is_none() {
        clock(1.0)? / 6.0
    } else {
        1.0 / rate(process)
    };
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
    /// The group of `case` under `scheme`, its noise from `seed`; `None` where the scheme is not
    /// defined.
    ///
    /// # Errors
    /// None for the registry's own cases.
    pub fn new(case: &Case, scheme: Scheme, seed: u64) -> Result<Option<Group>> {
        Planned::new(case, scheme)?
            .map(|p| p.group(seed))
            .transpose()
    }

    /// Name of the case.
    pub fn case(&self) -> &str {
        &self.case
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.k
    }

    /// Sums at every record of the paths `from .. to`. One thread.
    pub fn sums(&self, from: u64, to: u64) -> Vec<Sums> {
        (self.run)(from, to)
    }

    /// The claims, judged by the sums of all paths; `tests` is the number of tests of the whole
    /// audit.
    ///
    /// # Errors
    /// Sums that are not those of every record: another number of them, of paths or of channels, or
    /// what no sums can be.
    pub fn evidence(
        &self,
        sums: &[Sums],
        tests: usize,
        plant: Option<&Plant>,
    ) -> Result<Vec<Evidence>> {
        self.check(sums)?;
        self.claims
            .iter()
            .map(|(q, claim)| self.claim(*q, claim, sums, tests, plant))
            .collect()
    }

    /// What is claimed.
    pub(super) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().map(|(_, claim)| claim)
    }

    /// Evidence for one claim alone.
    ///
    /// # Errors
    /// As [`evidence`](Self::evidence); a claim that is not this group's.
    pub(super) fn one(
        &self,
        id: &str,
        sums: &[Sums],
        tests: usize,
        plant: Option<&Plant>,
    ) -> Result<Evidence> {
        self.check(sums)?;
        let none = || Error::Degenerate {
            what: format!("evidence for the claim {id}").into(),
            why: format!("{} has none", self.name),
        };
        let (q, claim) = self
            .claims
            .iter()
            .find(|(_, c)| c.id == id)
            .ok_or_else(none)?;
        self.claim(*q, claim, sums, tests, plant)
    }

    fn check(&self, sums: &[Sums]) -> Result<()> {
        let lacking = |why: String| Error::Degenerate {
            what: format!("evidence for {}", self.name).into(),
            why,
        };
        if sums.len() != self.expected.len() {
            return Err(lacking(format!(
                "sums of {} records; there are {}",
                sums.len(),
                self.expected.len()
            )));
        }
        for (r, s) in sums.iter().enumerate() {
            if s.n == 0 || s.n != sums[0].n {
                return Err(lacking(format!(
                    "record {r} has {} paths, record 0 has {}",
                    s.n, sums[0].n
                )));
            }
            if let Some((field, problem)) = s.amiss(s.n, self.k) {
                return Err(lacking(format!("`{field}` of record {r} {problem}")));
            }
        }
        Ok(())
    }

    fn claim(
        &self,
        quantity: Quantity,
        claim: &Claim,
        sums: &[Sums],
        tests: usize,
        plant: Option<&Plant>,
    ) -> Result<Evidence> {
        let alpha = level(tests);
        let (critical, caught) = (z_of(alpha), shift_caught(alpha));
        let mut compared = vec![];
        for (x, s) in self.expected.iter().zip(sums) {
            let plant = |value: f64, unit: f64| Plant::apply(plant, &claim.id, value, unit);
            let found = x.compare(quantity, s, self.k, &plant);
            compared.push(Compared {
                figure: Figure {
                    at: x.t,
                    found: found.found,
                    expected: found.expected,
                    deviation: found.z,
                    bounds: None,
                },
                share: share(found.z, found.expected, critical),
                power: Some(caught / found.shift),
                p: Some(p_normal(found.z)),
            });
        }
        Evidence::new(
            Claim {
                tolerance: in_words(tests),
                ..claim.clone()
            },
            compared,
        )
    }
}

/// A simulated number beside the law's.
struct Beside {
    found: f64,
    expected: f64,
    /// The deviation in standard errors.
    z: f64,
    /// By how much it shifts for a unit of relative error.
    shift: f64,
}

impl Expected {
    /// A quantity of `k` channels, with what is planted in it (its value, its unit).
    fn compare(
        &self,
        quantity: Quantity,
        s: &Sums,
        k: usize,
        plant: &dyn Fn(f64, f64) -> f64,
    ) -> Beside {
        let n = s.n as f64;
        let cov = |i: usize, j: usize| self.cov[i * k + j];
        let about = s.about(&self.mean);
        match quantity {
            Quantity::Mean(i) => {
                let se = (cov(i, i) / n).sqrt();
                let expected = plant(self.mean[i], self.mean[i]);
                Beside {
                    found: s.mean[i],
                    expected,
                    z: (s.mean[i] - expected) / se,
                    shift: (self.mean[i] / se).abs(),
                }
            }
            Quantity::Cov(i, j) if i == j => {
                let expected = plant(cov(i, i), cov(i, i));
                Beside {
                    found: about[i * k + i] / n,
                    expected,
                    z: z_chi_squared(about[i * k + i] / expected, n),
                    shift: (0.5 * n).sqrt(),
                }
            }
            Quantity::Cov(i, j) => {
                let unit = (cov(i, i) * cov(j, j)).sqrt();
                let expected = plant(cov(i, j), unit);
                // given channel i, the residual of j is Gaussian with this variance; from the
                // unplanted law
                let rest = worse(
                    cov(j, j) - cov(i, j) * cov(i, j) / cov(i, i),
                    f64::MIN_POSITIVE,
                );
                let sum = about[i * k + j] - expected / cov(i, i) * about[i * k + i];
                Beside {
                    found: about[i * k + j] / n,
                    expected,
                    z: sum / (about[i * k + i] * rest).sqrt(),
                    shift: (n * cov(j, j) / rest).sqrt(),
                }
            }
            Quantity::Ell => {
                let ell = self.ell.unwrap_or(f64::NAN);
                let expected = plant(ell, ell);
                let (rest, n) = (residual(&about, k), n - (k - 1) as f64);
                Beside {
                    found: (n / rest).sqrt(),
                    expected,
                    z: z_chi_squared(rest * expected * expected, n),
                    shift: 2.0 * (0.5 * n).sqrt(),
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a statistic of another law: a centre, a regression, degrees of freedom or a shift
    /// other than the table of `stats` has, from the paths themselves, where the code has their sums
    /// alone: six paths of three channels, the residuals by projections.
    #[test]
    fn statistics_are_those_of_the_paths() {
        let paths = [
            [1.0, 0.5, 2.0, -1.0, 0.0, 3.0],
            [0.2, -1.0, 0.7, 1.5, -0.4, 0.1],
            [2.0, 1.0, -1.0, 0.3, 0.6, 1.9],
        ];
        let n = 6.0;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let less = |a: &[f64], c: f64| a.iter().map(|x| x - c).collect::<Vec<f64>>();
        let means: Vec<f64> = paths.iter().map(|p| p.iter().sum::<f64>() / n).collect();
        let own: Vec<Vec<f64>> = (0..3).map(|i| less(&paths[i], means[i])).collect();
        let sums = Sums {
            n: 6,
            mean: means.clone(),
            sum: (0..9).map(|e| dot(&own[e / 3], &own[e % 3])).collect(),
        };
        assert_eq!(sums.amiss(6, 3), None);
        let law = Expected {
            t: 0.5,
            mean: vec![0.5, 0.25, 1.0],
            cov: vec![2.0, 0.5, 0.3, 0.5, 1.0, -0.2, 0.3, -0.2, 1.5],
            ell: Some(0.9),
        };
        let d: Vec<Vec<f64>> = (0..3).map(|i| less(&paths[i], law.mean[i])).collect();
        let cov = |i: usize, j: usize| law.cov[i * 3 + j];
        let near = |what: &str, got: f64, want: f64| {
            assert!(
                (got - want).abs() < 1e-12 * (1.0 + want.abs()),
                "{what}: {got} {want}"
            );
        };
        for size in [0.0, 0.125] {
            let plant = |value: f64, unit: f64| value + size * unit;
            let all = |q: Quantity| law.compare(q, &sums, 3, &plant);
            for i in 0..3 {
                let (found, sd) = (all(Quantity::Mean(i)), cov(i, i).sqrt());
                let m = law.mean[i] * (1.0 + size);
                near("mean", found.found, means[i]);
                near("mean's z", found.z, n.sqrt() * (means[i] - m) / sd);
                near("mean's shift", found.shift, n.sqrt() * law.mean[i] / sd);
                let (found, squares) = (all(Quantity::Cov(i, i)), dot(&d[i], &d[i]));
                let s = cov(i, i) * (1.0 + size);
                near("variance", found.found, squares / n);
                near("variance's z", found.z, z_chi_squared(squares / s, n));
                near("variance's shift", found.shift, 3f64.sqrt());
                for j in i + 1..3 {
                    let found = all(Quantity::Cov(i, j));
                    let planted = cov(i, j) + size * (cov(i, i) * cov(j, j)).sqrt();
                    let slope = planted / cov(i, i);
                    let left: Vec<f64> =
                        d[j].iter().zip(&d[i]).map(|(j, i)| j - slope * i).collect();
                    let rest = cov(j, j) - cov(i, j) * cov(i, j) / cov(i, i);
                    near("covariance", found.found, dot(&d[i], &d[j]) / n);
                    near(
                        "covariance's z",
                        found.z,
                        dot(&d[i], &left) / (squares * rest).sqrt(),
                    );
                    near(
                        "covariance's shift",
                        found.shift,
                        (n * cov(j, j) / rest).sqrt(),
                    );
                }
            }
            // what is left of the last channel when the others are taken off it
            let off = |a: &[f64], b: &[f64]| -> Vec<f64> {
                let share = dot(a, b) / dot(b, b);
                a.iter().zip(b).map(|(a, b)| a - share * b).collect()
            };
            let second = off(&d[1], &d[0]);
            let left = off(&off(&d[2], &d[0]), &second);
            let (found, squares) = (all(Quantity::Ell), dot(&left, &left));
            let ell = 0.9 * (1.0 + size);
            near("ell", found.found, (4.0 / squares).sqrt());
            near("ell's z", found.z, z_chi_squared(squares * ell * ell, 4.0));
            near("ell's shift", found.shift, 2.0 * 2f64.sqrt());
        }
    }

    /// Catches sums that cannot be those of paths and pass, and one that can be and is refused: a
    /// channel that does not move has a sum of squares of 0.
    #[test]
    fn sums_of_a_still_channel_are_sums() {
        let sums = |sum: [f64; 4]| Sums {
            n: 3,
            mean: vec![0.5, -1.0],
            sum: sum.to_vec(),
        };
        for (sum, right) in [
            ([0.0, 0.0, 0.0, 2.0], true),
            ([1.0, 1.0, 1.0, 1.0], true),
            ([-1e-300, 0.0, 0.0, 2.0], false),
            ([1.0, 0.0, 0.0, -1.0], false),
            ([1.0, 1.1, 1.1, 1.0], false),
            ([1.0, 0.5, 0.6, 1.0], false),
            ([f64::NAN, 0.0, 0.0, 1.0], false),
        ] {
            assert_eq!(sums(sum).amiss(3, 2).is_none(), right, "{sum:?}");
        }
        assert!(sums([1.0; 4]).amiss(4, 2).is_some() && sums([1.0; 4]).amiss(3, 3).is_some());
    }
}
