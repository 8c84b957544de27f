//! Claims without noise: closed forms against doubling, and against an integration of the moment equations.

use super::cases::Case;
use super::claim::{Claim, Evidence, Figure, Method, Plant};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::kernel::kernel_values;
use crate::process::{AnyLaw, AnyProcess};
use crate::schedule::{Schedule, Span};
use crate::truth::predict::CHANNELS;
use ode_solvers::dop853::Dop853;
use ode_solvers::{DVector, OutputType, System};

/// Times at which every case is audited: four per decade from 1e-12 to 1.
pub fn times() -> Vec<f64> {
    let mut t: Vec<f64> = (0..48).map(|i| 10f64.powf(-12.0 + f64::from(i) / 4.0)).collect();
    t.push(1.0);
    t
}

/// A value with what its relative error is measured against.
struct Pair {
    t: f64,
    /// The crate's value.
    found: f64,
    /// The truth, in double words where the method has that many digits.
    truth: Dd,
    /// The size of the terms: the truth's own, or that of its largest terms where they cancel.
    scale: f64,
}

/// An entry of a kernel: its name, formula and pairs.
struct Entry {
    name: String,
    formula: &'static str,
    pairs: Vec<Pair>,
}

/// Adds a pair to the entry of this name.
fn push(entries: &mut Vec<Entry>, name: String, formula: &'static str, pair: Pair) {
    match entries.iter_mut().find(|e| e.name == name) {
        Some(e) => e.pairs.push(pair),
        None => entries.push(Entry { name, formula, pairs: vec![pair] }),
    }
}

/// What was computed for the claims of one case by one method; judged with or without a planted error.
pub struct Prepared {
    case: String,
    about: String,
    entries: Vec<Entry>,
    method: Method,
    tolerance: f64,
    reason: &'static str,
}

impl Prepared {
    /// The claims, judged.
    pub fn evidence(&self, plant: Option<&Plant>) -> Vec<Evidence> {
        self.entries.iter().map(|e| self.judge(e, plant)).collect()
    }

    fn judge(&self, e: &Entry, plant: Option<&Plant>) -> Evidence {
        let (tolerance, method) = (self.tolerance, self.method);
        let id = format!("{}/{}/{}", self.case, e.name, method.name());
        let (mut worst, mut power): (f64, f64) = (0.0, 0.0);
        let mut figures = vec![];
        for p in &e.pairs {
            let found = Plant::apply(plant, &id, p.found, p.found);
            let error = (Dd::from(found) - p.truth).abs().hi;
            let deviation = if error == 0.0 { 0.0 } else { error / (tolerance * p.scale) };
            // NaN must not hide
            worst = if deviation.is_nan() { f64::INFINITY } else { worst.max(deviation) };
            // an error of this size moves the value beyond the tolerance wherever the entry is not about to cross zero
            if p.found.abs() > 1e-3 * p.scale {
                let own = (Dd::from(p.found) - p.truth).abs().hi;
                power = power.max((tolerance * p.scale + own) / p.found.abs());
            }
            figures.push(Figure { at: p.t, found, expected: p.truth.hi, deviation });
        }
        Evidence {
            claim: Claim {
                id,
                formula: e.formula.into(),
                statement: format!("{} of {} at {} times: {}", e.name, self.about, e.pairs.len(), method.about()),
                method,
                tolerance: format!("{tolerance:e} relative: {}", self.reason),
            },
            figures,
            p: vec![],
            worst,
            power,
            holds: worst <= 1.0,
        }
    }
}

fn label(i: usize, j: usize) -> String {
    format!("{}{}", CHANNELS[i], CHANNELS[j])
}

/// The law at one time by doubling, and the sizes of the terms of each entry: the entry itself and how fast it changes
/// with the clock, which is what is left where it crosses zero.
struct Truth {
    law: AnyLaw,
    mean: Vec<f64>,
    cov: Vec<f64>,
}

impl Truth {
    fn new(process: &dyn AnyProcess, on: Span, gamma: f64) -> Truth {
        let law = process.law(on, gamma, 0.0);
        let k = process.channels();
        let (f, g, tau) = (process.drift(), process.noise_at(on.tau.hi), on.tau.hi);
        let m = |i: usize, j: usize| law.mean[i * k + j].hi;
        let change = |i: usize, j: usize| (0..k).map(|l| (f[i * k + l] * m(l, j)).abs()).sum::<f64>();
        let mean = (0..k * k).map(|n| law.mean[n].hi.abs() + tau * change(n / k, n % k)).collect();
        // the initial variance's part, Phi Sigma0 Phi^T, by the size of its terms
        let variance = gamma * process.mass();
        let initial = |a: usize, b: usize| (1..k).map(|l| (m(a, l) * m(b, l)).abs() * variance).sum::<f64>();
        let cov = (0..k * k).map(|n| {
            let (i, j) = (n / k, n % k);
            let noise: f64 = (0..k * k).map(|e| (m(i, e / k) * g[e] * m(j, e % k)).abs()).sum();
            let start: f64 = (0..k).map(|l| (f[i * k + l] * initial(l, j)).abs() + (f[j * k + l] * initial(l, i)).abs()).sum();
            law.cov[n].hi.abs() + if i == j { 0.0 } else { tau * (noise + start) }
        });
        let cov = cov.collect();
        Truth { law, mean, cov }
    }
}

/// Closed form against doubling: 1e-13 on every entry of mean, covariance, factors, inverse, determinant and `ell`.
///
/// # Errors
/// None for the registry's own cases.
pub fn doubling(case: &Case) -> Result<Prepared> {
    let process = case.config.process()?;
    let k = process.channels();
    let gamma = case.config.objective.gamma();
    let mut entries: Vec<Entry> = vec![];
    let mut add = |name: String, formula: &'static str, pair: Pair| push(&mut entries, name, formula, pair);
    for t in times() {
        let Ok(values) = kernel_values(&*process, &case.config.schedule, case.config.objective, 0.0, t) else { continue };
        let on = case.config.schedule.span(0.0, t)?;
        let truth = Truth::new(&*process, on, gamma);
        let law = &truth.law;
        for i in 0..k {
            for j in 0..k {
                let n = i * k + j;
                let mean = Pair { t, found: values.mean[n], truth: law.mean[n], scale: truth.mean[n] };
                add(format!("mean.{}", label(i, j)), "kernel.mean", mean);
                if j >= i {
                    let cov = Pair { t, found: values.cov[n], truth: law.cov[n], scale: truth.cov[n] };
                    add(format!("cov.{}", label(i, j)), "kernel.cov", cov);
                }
            }
        }
        let Some((factors, log_det)) = &law.moments.factors else { continue };
        let rounded = |x: f64| Dd::from(x);
        for (name, formula, found, truth) in [
            ("chol_lower", "kernel.chol_lower", &values.chol_lower, &factors[0]),
            ("chol_upper", "kernel.chol_upper", &values.chol_upper, &factors[1]),
            ("inverse", "kernel.inverse", &values.inv, &factors[2]),
        ] {
            for i in 0..k {
                for j in 0..k {
                    let n = i * k + j;
                    if truth[n] == 0.0 || (name == "inverse" && j < i) {
                        continue;
                    }
                    // off-diagonal entries inherit the covariance's crossing of zero; relative to their row's diagonal there
                    let s =
                        if i == j { truth[n].abs() } else { truth[n].abs().max(1e-3 * (truth[i * k + i] * truth[j * k + j]).abs().sqrt()) };
                    add(format!("{name}.{}", label(i, j)), formula, Pair { t, found: found[n], truth: rounded(truth[n]), scale: s });
                }
            }
        }
        let ell = 1.0 / factors[0][k * k - 1];
        add("ell".into(), "kernel.ell", Pair { t, found: values.ell, truth: rounded(ell), scale: ell });
        add("det".into(), "kernel.det", Pair { t, found: values.det, truth: rounded(law.moments.det), scale: law.moments.det });
        add("logdet".into(), "kernel.logdet", Pair { t, found: values.logdet, truth: rounded(*log_det), scale: log_det.abs().max(1.0) });
    }
    let reason = "what general damping and higher orders are built to; critical CLD is held to 8 ulp by tests/truth.rs";
    Ok(Prepared { case: case.name.clone(), about: case.config.describe(), entries, method: Method::Doubling, tolerance: 1e-13, reason })
}

/// The moment equations in time `t = h s`, s in [0, 1]: mean matrix, covariance, and the integral of b.
struct MomentEquations<'a> {
    process: &'a dyn AnyProcess,
    schedule: &'a Schedule,
    k: usize,
    start: f64,
    length: f64,
    drift: Vec<f64>,
    /// Each unknown is divided by its size at the end, so that the step control sees entries of order t^7 as it does those
    /// of order 1.
    size: Vec<f64>,
}

impl System<f64, DVector<f64>> for MomentEquations<'_> {
    // Time is an unknown, too: this integrator's stages see y at other times than they are told (ode_solvers 0.6.1)
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
                dy[i * k + j] = b * (0..k).map(|l| f[i * k + l] * mean[l * k + j]).sum::<f64>();
                let half = |i: usize, j: usize| (0..k).map(|l| f[i * k + l] * cov[l * k + j]).sum::<f64>();
                dy[k * k + i * k + j] = b * (half(i, j) + half(j, i) + g[i * k + j]);
            }
        }
        dy[2 * k * k] = b;
        dy[2 * k * k + 1] = 1.0;
        dy.iter_mut().zip(&self.size).for_each(|(d, s)| *d /= s);
    }
}

/// Mean matrix, covariance and integral of b at the given times (increasing), by integrating from 0; with the sizes of
/// their terms.
fn integrate(case: &Case, times: &[f64]) -> Result<Vec<(f64, Vec<f64>, Truth)>> {
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
        // the derivative of a covariance that vanishes is a difference of variances: rounding allows no more
        for n in 0..k * k {
            let sd = |i: usize| truth.law.cov[i * k + i].hi.sqrt();
            truth.cov[n] = truth.cov[n].max(1e-2 * sd(n / k) * sd(n % k));
        }
        let mut size: Vec<f64> = truth.mean.iter().chain(&truth.cov).copied().collect();
        size.extend([on.tau.hi, 1.0]);
        size.iter_mut().for_each(|s| *s = s.max(f64::MIN_POSITIVE));
        y[2 * k * k + 1] = 0.0;
        let scaled = DVector::from_iterator(y.len(), y.iter().zip(&size).map(|(y, s)| y / s));
        let (schedule, drift) = (&case.config.schedule, process.drift());
        let system = MomentEquations { process: &*process, schedule, k, start, length: t - start, drift, size: size.clone() };
        let (safety, beta, least, most, longest, first) = (0.9, 0.0, 0.2, 8.0, 1.0, 0.25);
        let out = OutputType::Sparse;
        let mut stepper = Dop853::from_param(
            system,
            0.0,
            1.0,
            1.0,
            scaled,
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
        let failed = |what: String| Error::Degenerate { what: "the moment equations".into(), why: format!("{}: {what}", case.name) };
        stepper.integrate().map_err(|e| failed(format!("{e:?}")))?;
        let end = stepper.y_out().last().ok_or_else(|| failed("no result".into()))?;
        y = end.iter().zip(&size).map(|(y, s)| y * s).collect();
        start = t;
        all.push((t, y.clone(), truth));
    }
    Ok(all)
}

/// Closed form against an integration of the moment equations: 1e-11 on mean, covariance and the integral of the rate.
///
/// # Errors
/// None for the registry's own cases.
pub fn moments(case: &Case) -> Result<Prepared> {
    let process = case.config.process()?;
    let k = process.channels();
    let times: Vec<f64> = times().into_iter().step_by(2).collect();
    let mut entries: Vec<Entry> = vec![];
    let mut add = |name: String, formula: &'static str, pair: Pair| push(&mut entries, name, formula, pair);
    for (t, y, truth) in integrate(case, &times)? {
        let Ok(values) = kernel_values(&*process, &case.config.schedule, case.config.objective, 0.0, t) else { continue };
        let (mean, cov) = (&y[..k * k], &y[k * k..2 * k * k]);
        for i in 0..k {
            for j in 0..k {
                let n = i * k + j;
                let pair = Pair { t, found: values.mean[n], truth: Dd::from(mean[n]), scale: truth.mean[n] };
                add(format!("mean.{}", label(i, j)), "kernel.mean", pair);
                if j >= i {
                    let pair = Pair { t, found: values.cov[n], truth: Dd::from(cov[n]), scale: truth.cov[n] };
                    add(format!("cov.{}", label(i, j)), "kernel.cov", pair);
                }
            }
        }
        let b = case.config.schedule.integral(0.0, t)?;
        add("integral".into(), "schedule.integral", Pair { t, found: b, truth: Dd::from(y[2 * k * k]), scale: b });
    }
    let reason = "the integrator's 1e-13 per step, over some hundred steps, relative to the size of the entry's terms";
    Ok(Prepared { case: case.name.clone(), about: case.config.describe(), entries, method: Method::Moments, tolerance: 1e-11, reason })
}
