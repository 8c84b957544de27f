//! Claims without noise: closed forms against doubling, and against an integration of the moment
//! equations.

use super::cases::Case;
use super::check::{Check, Pair, Part, Points};
use super::claim::{Claim, Method};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::kernel::{KernelValues, kernel_values};
use crate::process::{AnyLaw, AnyProcess};
use crate::schedule::{Schedule, Span};
use crate::small::{Square, places};
use crate::truth::predict::CHANNELS;
use crate::worst::worse;
use ode_solvers::dop853::Dop853;
use ode_solvers::{DVector, OutputType, System};

/// Times at which every case is audited: four per decade from 1e-12 to 1.
pub fn times() -> Vec<f64> {
    let mut t: Vec<f64> = (0..48)
        .map(|i| 10f64.powf(-12.0 + f64::from(i) / 4.0))
        .collect();
    t.push(1.0);
    t
}

/// An entry of a kernel: its name, formula and pairs.
struct Entry {
    name: String,
    formula: &'static str,
    pairs: Vec<Pair>,
}

/// Adds a pair to the entry of this name.
///
/// # Errors
/// An entry that is not claimed.
fn push(entries: &mut [Entry], name: &str, pair: Pair) -> Result<()> {
    let known = entries.iter_mut().find(|e| e.name == name);
    let entry = known.ok_or_else(|| Error::Degenerate {
        what: format!("a claim for {name}").into(),
        why: "it is not listed".into(),
    })?;
    entry.pairs.push(pair);
    Ok(())
}

/// The claims of one case by one method.
fn part(
    case: &Case,
    method: Method,
    (tolerance, reason): (f64, &str),
    times: usize,
    names: Vec<(String, &'static str)>,
    compute: fn(&Case, &mut [Entry]) -> Result<()>,
) -> Part {
    let about = case.config.describe();
    let claim = |(name, formula): &(String, &'static str)| {
        let says = format!("{name} of {about} at {times} times: {}", method.about());
        Claim::new(
            &format!("{}/{name}", case.name),
            formula,
            method,
            says,
            &format!("{tolerance:e} relative: {reason}"),
        )
    };
    let claims: Vec<Claim> = names.iter().map(claim).collect();
    let (own, case) = (claims.clone(), case.clone());
    let name = case.name.clone();
    let run = move |_: u64| {
        let mut entries: Vec<Entry> = names
            .iter()
            .map(|(name, formula)| Entry {
                name: name.clone(),
                formula,
                pairs: vec![],
            })
            .collect();
        compute(&case, &mut entries)?;
        if let Some(e) = entries.iter().find(|e| e.pairs.len() != times) {
            let why = format!("{} of {times} times were compared", e.pairs.len());
            return Err(Error::Degenerate {
                what: format!(
                    "evidence for {}, {} ({}) by {}",
                    case.name,
                    e.name,
                    e.formula,
                    method.name()
                )
                .into(),
                why,
            });
        }
        Check::all(
            own.clone(),
            entries
                .into_iter()
                .map(|e| Points::Pairs(e.pairs, tolerance))
                .collect(),
        )
    };
    Part {
        case: name,
        claims,
        tests: 0,
        run: Box::new(run),
    }
}

/// Names and formulas of the entries of mean and covariance.
fn moment_names(k: usize) -> Vec<(String, &'static str)> {
    let means = places(k).map(|at| (named("mean", at), "kernel.mean"));
    let covs = triangle(k, true).map(|at| (named("cov", at), "kernel.cov"));
    means.chain(covs).collect()
}

/// The name of an entry of a matrix.
fn named(matrix: &str, (i, j): (usize, usize)) -> String {
    format!("{matrix}.{}{}", CHANNELS[i], CHANNELS[j])
}

/// The law at one time by doubling, and the sizes of the terms of each entry: the entry itself and
/// how fast it changes with the clock, which is what is left where it crosses zero.
struct Truth {
    law: AnyLaw,
    mean: Square,
    cov: Square,
}

impl Truth {
    fn new(process: &dyn AnyProcess, on: Span, gamma: f64) -> Truth {
        let law = process.law(on, gamma, 0.0);
        let k = process.channels();
        let (f, g, tau) = (process.drift(), process.noise_at(on.tau.hi), on.tau.hi);
        let m = |i: usize, j: usize| law.mean[(i, j)].hi;
        let change = |i: usize, j: usize| (0..k).map(|l| (f[(i, l)] * m(l, j)).abs()).sum::<f64>();
        let mean = Square::build(k, |i, j| m(i, j).abs() + tau * change(i, j));
        // the initial variance's part, Phi Sigma0 Phi^T, by the size of its terms
        let variance = gamma * process.mass();
        let initial = |a: usize, b: usize| {
            (1..k)
                .map(|l| (m(a, l) * m(b, l)).abs() * variance)
                .sum::<f64>()
        };
        let cov = Square::build(k, |i, j| {
            let noise: f64 = places(k)
                .map(|(a, b)| (m(i, a) * g[(a, b)] * m(j, b)).abs())
                .sum();
            let start: f64 = (0..k)
                .map(|l| (f[(i, l)] * initial(l, j)).abs() + (f[(j, l)] * initial(l, i)).abs())
                .sum();
            law.cov[(i, j)].hi.abs() + if i == j { 0.0 } else { tau * (noise + start) }
        });
        Truth { law, mean, cov }
    }

    /// Adds the entries of mean and covariance at a time: those of the closed form against others,
    /// relative to the sizes of these.
    fn compare(
        &self,
        at: f64,
        found: &KernelValues,
        (mean, cov): (&Square<Dd>, &Square<Dd>),
        entries: &mut [Entry],
    ) -> Result<()> {
        let k = mean.k();
        let pair = |found: &Square, truth: &Square<Dd>, scale: &Square, place| Pair {
            at,
            found: found[place],
            truth: truth[place],
            scale: scale[place],
        };
        for place in places(k) {
            let mean = pair(&found.mean, mean, &self.mean, place);
            push(entries, &named("mean", place), mean)?;
        }
        for place in triangle(k, true) {
            let cov = pair(&found.cov, cov, &self.cov, place);
            push(entries, &named("cov", place), cov)?;
        }
        Ok(())
    }
}

/// Entries of a triangular or symmetric matrix: those on and above the diagonal, or below it.
fn triangle(k: usize, upper: bool) -> impl Iterator<Item = (usize, usize)> {
    places(k).filter(move |(i, j)| if upper { j >= i } else { j <= i })
}

/// The three matrices that follow from the covariance: name, formula, which triangle is compared.
const FACTORS: [(&str, &str, bool); 3] = [
    ("chol_lower", "kernel.chol_lower", false),
    ("chol_upper", "kernel.chol_upper", true),
    ("inverse", "kernel.inverse", true),
];

/// Closed form against doubling: 1e-13 on every entry of mean, covariance, factors, inverse,
/// determinant and `ell`.
///
/// # Errors
/// None for the registry's own cases.
pub fn doubling(case: &Case) -> Result<Part> {
    let k = case.config.process()?.channels();
    let mut names = moment_names(k);
    for (name, formula, upper) in FACTORS {
        names.extend(triangle(k, upper).map(|at| (named(name, at), formula)));
    }
    names.extend(
        [
            ("ell", "kernel.ell"),
            ("det", "kernel.det"),
            ("logdet", "kernel.logdet"),
        ]
        .map(|(n, f)| (n.to_string(), f)),
    );
    let tolerance = (
        1e-13,
        "what general damping and higher orders are built to; critical CLD is held to 8 ulp by tests/truth.rs",
    );
    Ok(part(
        case,
        Method::Doubling,
        tolerance,
        times().len(),
        names,
        by_doubling,
    ))
}

fn by_doubling(case: &Case, entries: &mut [Entry]) -> Result<()> {
    let process = case.config.process()?;
    let k = process.channels();
    let gamma = case.config.objective.gamma();
    for at in times() {
        let values = closed_form(case, &*process, at)?;
        let on = case.config.schedule.span(0.0, at)?;
        let truth = Truth::new(&*process, on, gamma);
        let law = &truth.law;
        truth.compare(at, &values, (&law.mean, &law.cov), entries)?;
        let singular = || Error::Degenerate {
            what: format!("the factor of {} by doubling", case.name).into(),
            why: format!("at t = {at}"),
        };
        let factors = law.moments.factors.as_ref().ok_or_else(singular)?;
        let mut add = |name: &str, found: f64, truth: f64, scale: f64| {
            let pair = Pair {
                at,
                found,
                truth: Dd::from(truth),
                scale,
            };
            push(entries, name, pair)
        };
        let found = [&values.chol_lower, &values.chol_upper, &values.inv];
        let truths = [&factors.lower, &factors.upper, &factors.inverse];
        for (((name, _, upper), found), truth) in FACTORS.into_iter().zip(found).zip(truths) {
            for (i, j) in triangle(k, upper) {
                let own = truth[(i, j)].abs();
                // off-diagonal entries inherit the covariance's crossing of zero; relative to their
                // row's diagonal there
                let scale = if i == j {
                    own
                } else {
                    worse(own, 1e-3 * (truth[(i, i)] * truth[(j, j)]).abs().sqrt())
                };
                add(&named(name, (i, j)), found[(i, j)], truth[(i, j)], scale)?;
            }
        }
        let (ell, det) = (1.0 / factors.lower[(k - 1, k - 1)], law.moments.det);
        add("ell", values.ell, ell, ell)?;
        add("det", values.det, det, det)?;
        let size = worse(factors.log_det.abs(), 1.0);
        add("logdet", values.logdet, factors.log_det, size)?;
    }
    Ok(())
}

/// The kernel of a case by its closed form.
fn closed_form(case: &Case, process: &dyn AnyProcess, at: f64) -> Result<KernelValues> {
    let (schedule, objective) = (&case.config.schedule, case.config.objective);
    kernel_values(process, schedule, objective, 0.0, at)
}

/// The moment equations in time `t = h s`, s in [0, 1]: mean matrix, covariance, and the integral
/// of b.
struct MomentEquations<'a> {
    process: &'a dyn AnyProcess,
    schedule: &'a Schedule,
    k: usize,
    start: f64,
    length: f64,
    drift: Square,
    /// Each unknown is divided by its size at the end, so that the step control sees entries of
    /// order t^7 as it does those of order 1.
    size: Vec<f64>,
}

impl System<f64, DVector<f64>> for MomentEquations<'_> {
    // Time is an unknown, too: this integrator's stages see y at other times than they are told
    // (ode_solvers 0.6.1)
    fn system(&self, _: f64, y: &DVector<f64>, dy: &mut DVector<f64>) {
        let k = self.k;
        let t = (self.start + self.length * y[2 * k * k + 1]).clamp(0.0, 1.0);
        let b = self.schedule.rate(t) * self.length;
        let y: Vec<f64> = y.iter().zip(&self.size).map(|(y, s)| y * s).collect();
        let (mean, cov, clock) = (&y[..k * k], &y[k * k..2 * k * k], y[2 * k * k]);
        let g = self.process.noise_at(clock);
        for i in 0..k {
            for j in 0..k {
                let f = &self.drift;
                dy[i * k + j] = b * (0..k).map(|l| f[(i, l)] * mean[l * k + j]).sum::<f64>();
                let half =
                    |i: usize, j: usize| (0..k).map(|l| f[(i, l)] * cov[l * k + j]).sum::<f64>();
                dy[k * k + i * k + j] = b * (half(i, j) + half(j, i) + g[(i, j)]);
            }
        }
        dy[2 * k * k] = b;
        dy[2 * k * k + 1] = 1.0;
        dy.iter_mut().zip(&self.size).for_each(|(d, s)| *d /= s);
    }
}

impl MomentEquations<'_> {
    /// The unknowns at the end, from those at the start; or why there are none.
    fn end(self, start: DVector<f64>) -> std::result::Result<DVector<f64>, String> {
        let (safety, beta, least, most, longest, first) = (0.9, 0.0, 0.2, 8.0, 1.0, 0.25);
        let out = OutputType::Sparse;
        let mut stepper = Dop853::from_param(
            self,
            0.0,
            1.0,
            1.0,
            start,
            1e-13,
            1e-13,
            safety,
            beta,
            least,
            most,
            longest,
            first,
            100_000,
            u32::MAX,
            out,
        );
        stepper.integrate().map_err(|e| format!("{e:?}"))?;
        let end = stepper.y_out().last().cloned();
        end.ok_or_else(|| "no result".into())
    }
}

/// What the moment equations give at a time, with the sizes of the terms.
struct Integrated {
    at: f64,
    mean: Square<Dd>,
    cov: Square<Dd>,
    /// The integral of b.
    clock: f64,
    truth: Truth,
}

/// Mean matrix, covariance and integral of b at the given times (increasing), by integrating from
/// 0.
fn integrate(case: &Case, times: &[f64]) -> Result<Vec<Integrated>> {
    let process = case.config.process()?;
    let k = process.channels();
    let mut y = vec![0.0; 2 * k * k + 2];
    for i in 0..k {
        y[i * k + i] = 1.0;
        if i > 0 {
            y[k * k + i * k + i] = case.config.objective.gamma() * process.mass();
        }
    }
    let mut start = 0.0;
    let mut all = vec![];
    for &t in times {
        let on = case.config.schedule.span(0.0, t)?;
        let mut truth = Truth::new(&*process, on, case.config.objective.gamma());
        // the derivative of a covariance that vanishes is a difference of variances: rounding
        // allows no more
        for (i, j) in places(k) {
            let sd = |i: usize| truth.law.cov[(i, i)].hi.sqrt();
            truth.cov[(i, j)] = worse(truth.cov[(i, j)], 1e-2 * sd(i) * sd(j));
        }
        let mut size = [truth.mean.as_slice(), truth.cov.as_slice()].concat();
        size.extend([on.tau.hi, 1.0]);
        size.iter_mut()
            .for_each(|s| *s = worse(*s, f64::MIN_POSITIVE));
        y[2 * k * k + 1] = 0.0;
        let scaled = DVector::from_iterator(y.len(), y.iter().zip(&size).map(|(y, s)| y / s));
        let system = MomentEquations {
            process: &*process,
            schedule: &case.config.schedule,
            k,
            start,
            length: t - start,
            drift: process.drift(),
            size: size.clone(),
        };
        let end = system.end(scaled).map_err(|what| Error::Degenerate {
            what: "the moment equations".into(),
            why: format!("{}: {what}", case.name),
        })?;
        y = end.iter().zip(&size).map(|(y, s)| y * s).collect();
        start = t;
        let matrix = |first: usize| Square::build(k, |i, j| Dd::from(y[first + i * k + j]));
        all.push(Integrated {
            at: t,
            mean: matrix(0),
            cov: matrix(k * k),
            clock: y[2 * k * k],
            truth,
        });
    }
    Ok(all)
}

/// Times at which the moment equations are compared.
fn moment_times() -> Vec<f64> {
    times().into_iter().step_by(2).collect()
}

/// Closed form against an integration of the moment equations: 1e-11 on mean, covariance and the
/// integral of the rate.
///
/// # Errors
/// None for the registry's own cases.
pub fn moments(case: &Case) -> Result<Part> {
    let mut names = moment_names(case.config.process()?.channels());
    names.push(("integral".into(), "schedule.integral"));
    let tolerance = (
        1e-11,
        "the integrator's 1e-13 per step, over some hundred steps, relative to the size of the entry's terms",
    );
    Ok(part(
        case,
        Method::Moments,
        tolerance,
        moment_times().len(),
        names,
        by_moments,
    ))
}

fn by_moments(case: &Case, entries: &mut [Entry]) -> Result<()> {
    let process = case.config.process()?;
    for found in integrate(case, &moment_times())? {
        let at = found.at;
        let values = closed_form(case, &*process, at)?;
        let laws = (&found.mean, &found.cov);
        found.truth.compare(at, &values, laws, entries)?;
        let b = case.config.schedule.integral(0.0, at)?;
        let integral = Pair {
            at,
            found: b,
            truth: Dd::from(found.clock),
            scale: b,
        };
        push(entries, "integral", integral)?;
    }
    Ok(())
}
