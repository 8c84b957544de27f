//! A process under a schedule, read by some conventions, and its law at every time in double words.
//!
//! Nothing here uses the closed forms: a user's answers, and our own closed forms too, are judged
//! by [`doubling`](crate::process::doubling) from drift and noise alone, which the high-precision
//! tables hold to account.

use super::cell::Cell;
use super::config::Config;
use super::linear;
use super::reading::{Factor, Half, Held, Reading, Steps};
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::process::{AnyFactors, AnyLaw, AnyProcess, custom};
use crate::schedule::{Schedule, Span};
use crate::small::{Square, places};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A process with what a hypothesis changes about it.
pub struct Model {
    process: Arc<dyn AnyProcess>,
    schedule: Schedule,
    /// Initial variance in units of the mass.
    pub gamma: f64,
    /// By which conventions.
    pub reading: Reading,
    /// The gamma that the file gives, under DSM, too.
    pub(super) declared_gamma: Option<f64>,
    /// Whether the objective is HSM.
    pub(super) hsm: bool,
    /// The process was replaced by matrices that do not tell its prior.
    pub(super) without_prior: bool,
    /// The file has the last channel first.
    pub(super) reversed_channels: bool,
    rows: Mutex<HashMap<[u64; 4], Arc<Row>>>,
    reversed: OnceLock<Box<Model>>,
    /// What other models of the same process have computed.
    laws: Arc<Laws>,
    /// Mean matrices and covariances that stand for this model's, by the bits of s and t.
    given: HashMap<(u64, u64), Given>,
}

/// What is remembered, whatever became of a thread that held it: each value is written whole.
fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Laws that are remembered: beyond that number the memory would grow with the file.
const REMEMBERED: usize = 16_384;

/// Laws of a process by the bits of what they depend on (interval, gamma, epsilon), and those of
/// SSCS's analytic part.
#[derive(Default)]
pub(crate) struct Laws {
    own: Mutex<HashMap<[u64; 6], AnyLaw>>,
    reversed: OnceLock<Arc<Laws>>,
}

/// Someone's own mean matrix and covariance at a time; what is left out is the model's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub mean: Option<Square<Dd>>,
    pub cov: Option<Square<Dd>>,
}

pub(super) struct Row {
    pub law: AnyLaw,
    pub mean_scale: Square,
    pub cov_scale: Square,
    /// 2^-53 times the stationary size of each covariance entry.
    pub rounding: Square,
    /// No time has passed: the law is the initial one, and what has a limit there is judged by it.
    pub at_start: bool,
}

impl Row {
    pub fn factors(&self) -> Result<&AnyFactors> {
        self.law
            .moments
            .factors
            .as_deref()
            .ok_or_else(|| Error::Degenerate {
                what: "the kernel's factor".into(),
                why: self.why_singular().into(),
            })
    }

    fn why_singular(&self) -> &'static str {
        if self.at_start {
            "at t = 0 the covariance is singular, and this has no limit there"
        } else {
            "the covariance is singular, or too small for double words"
        }
    }

    /// Whether nothing is random: every variance is 0.
    fn certain(&self) -> bool {
        self.at_start && self.law.cov.as_slice().iter().all(|c| c.hi == 0.0)
    }

    /// A limit for t -> 0, where there is no factor to compute it from.
    pub fn limit(&self, value: f64, t: f64) -> Option<Cell> {
        (self.at_start && self.law.moments.factors.is_none()).then(|| Cell {
            truth: Dd::from(value),
            scale: 0.0,
            cancellation: 0.0,
            t,
        })
    }

    /// ell without the factor, for two channels: the inverse deviation of v given x, or of x given
    /// v.
    pub fn ell_from_cov(&self, upper: bool) -> f64 {
        (self.law.cov[if upper { (1, 1) } else { (0, 0) }] / Dd::from(self.law.moments.det))
            .sqrt()
            .to_f64()
    }

    /// A relative change of the determinant by rounding of the covariance's entries, for two
    /// channels.
    pub fn det_moves(&self, k: usize) -> f64 {
        let (cov, det) = (&self.law.cov, self.law.moments.det);
        if k == 2 {
            (self.rounding[(0, 0)] * cov[(1, 1)].hi
                + self.rounding[(1, 1)] * cov[(0, 0)].hi
                + 2.0 * self.rounding[(0, 1)] * cov[(0, 1)].hi.abs())
                / det
        } else {
            self.rounding[(0, 0)] / cov[(0, 0)].hi
        }
    }

    /// Covariance of `u_t` for data of deviation `std`, its inverse and determinant.
    pub fn marginal(&self, std: f64) -> Result<(Square<Dd>, Square<Dd>, Dd)> {
        let var = Dd::prod(std, std);
        let (mean, cov) = (&self.law.mean, &self.law.cov);
        let cov = Square::build(cov.k(), |i, j| {
            cov[(i, j)] + var * mean[(i, 0)] * mean[(j, 0)]
        });
        let (inv, det) = linear::inverse(&cov)?;
        Ok((cov, inv, det))
    }

    /// Entry `(i, j)` of the mean matrix.
    pub fn phi(&self, (i, j): (usize, usize), t: f64) -> Cell {
        Cell {
            truth: self.law.mean[(i, j)],
            scale: self.mean_scale[(i, j)],
            cancellation: 0.0,
            t,
        }
    }

    /// The factor that `model` uses, row by row.
    pub fn factor(&self, model: &Model, t: f64) -> Result<Vec<Cell>> {
        let entry = |at| self.lower(model, at, t);
        places(model.channels()).map(entry).collect()
    }

    /// Entry `(a, b)` of the factor that `model` uses.
    fn lower(&self, model: &Model, (a, b): (usize, usize), t: f64) -> Result<Cell> {
        let (k, cov) = (model.channels(), &self.law.cov);
        if self.certain() {
            return Ok(Cell {
                truth: Dd::ZERO,
                scale: 0.0,
                cancellation: 0.0,
                t,
            });
        }
        let f = self.factors()?;
        let cell = |truth: Dd, scale: f64, cancellation: f64| Cell {
            truth,
            scale: scale.abs().max(truth.hi.abs()),
            cancellation,
            t,
        };
        if model.reading.variance_for_factor {
            let (scale, rounding) = (self.cov_scale[(a, b)], self.rounding[(a, b)]);
            return Ok(cell(cov[(a, b)], scale, rounding));
        }
        let l = f.triangle(model.reading.upper);
        let lead = l[(b, b)];
        let off = a != b && l[(a, b)] != 0.0;
        let scale = if off {
            self.cov_scale[(a, b)] / lead
        } else {
            l[(a, b)]
        };
        let first = b == if model.reading.upper { k - 1 } else { 0 };
        let moves = if first {
            self.rounding[(b, b)] / cov[(b, b)].hi
        } else {
            self.det_moves(k)
        };
        let rounding = if off {
            self.rounding[(a, b)] / lead
        } else {
            0.0
        };
        Ok(cell(
            Dd::from(l[(a, b)]),
            scale,
            l[(a, b)].abs() * moves + rounding,
        ))
    }
}

impl Model {
    /// The model a file describes.
    ///
    /// # Errors
    /// As the process's constructor.
    pub fn new(c: &Config) -> Result<Model> {
        Ok(Model {
            gamma: c.objective.gamma(),
            reading: Reading {
                // with the channels in the other order, their lower factor is our upper one
                upper: c.upper != c.layout.reversed,
                start_variance: c
                    .sigma_min()
                    .filter(|_| c.from_sigma_min)
                    .map_or(0.0, |s| s * s),
                ..Reading::RIGHT
            },
            reversed_channels: c.layout.reversed,
            declared_gamma: c.gamma,
            hsm: c.objective.name() == "hsm",
            ..Model::right(c.process()?.into(), c.schedule)
        })
    }

    /// The model of a diffusion.
    pub(super) fn of(d: &Diffusion) -> Model {
        Model {
            gamma: d.gamma(),
            ..Model::right(d.shared_process(), *d.schedule())
        }
    }

    /// By the right conventions, without initial variance.
    fn right(process: Arc<dyn AnyProcess>, schedule: Schedule) -> Model {
        Model {
            process,
            schedule,
            gamma: 0.0,
            reading: Reading::RIGHT,
            reversed_channels: false,
            declared_gamma: None,
            hsm: false,
            without_prior: false,
            rows: Mutex::default(),
            reversed: OnceLock::new(),
            laws: Arc::default(),
            given: HashMap::new(),
        }
    }

    /// This model with other numbers for mean and covariance at some `(s, t)`, given by the bits of
    /// both: what a quantity is, made from these.
    pub(crate) fn with_given(mut self, given: HashMap<(u64, u64), Given>) -> Model {
        self.given = given;
        self
    }

    /// This model with the laws that other models of the same process have computed.
    pub(crate) fn sharing(mut self, laws: &Arc<Laws>) -> Model {
        self.laws = laws.clone();
        self
    }

    /// The process's law over an interval.
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        let key = [
            on.start.hi,
            on.start.lo,
            on.tau.hi,
            on.tau.lo,
            gamma,
            epsilon,
        ]
        .map(f64::to_bits);
        if let Some(law) = locked(&self.laws.own).get(&key) {
            return law.clone();
        }
        let law = self.process.law(on, gamma, epsilon);
        let mut laws = locked(&self.laws.own);
        if laws.len() >= REMEMBERED {
            laws.clear();
        }
        laws.insert(key, law.clone());
        drop(laws);
        law
    }

    /// The models with one coefficient of drift or noise multiplied by `factor`, one for each that
    /// is not 0.
    pub fn coefficients_changed(c: &Config, factor: f64) -> Vec<Model> {
        let Ok(p) = c.process() else { return vec![] };
        let (k, f, g) = (p.channels(), p.drift(), p.noise_at(0.0));
        let changed = |m: &Square, (i, j): (usize, usize)| {
            let mut m = *m;
            m[(i, j)] *= factor;
            if i != j && m[(j, i)] != 0.0 {
                m[(j, i)] = m[(i, j)];
            }
            m
        };
        let drifts = places(k).filter(|at| f[*at] != 0.0).map(|at| {
            let mut f = f;
            f[at] *= factor;
            (f, g)
        });
        let noises = places(k)
            .filter(|at| g[*at] != 0.0)
            .map(|at| (f, changed(&g, at)));
        drifts
            .chain(noises)
            .filter_map(|(f, g)| {
                let mut model = Model::new(c).ok()?;
                model.replace(custom(&f, &g, p.mass()).ok()?);
                Some(model)
            })
            .collect()
    }

    /// Another process in its place.
    pub fn replace(&mut self, process: Box<dyn AnyProcess>) {
        self.without_prior = process.stationary().is_none() && self.process.stationary().is_some();
        self.process = process.into();
        self.laws = Arc::default();
    }

    /// Another schedule in its place.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Another variance of the initial velocity, in units of the mass: in the kernel under HSM, and
    /// in the mixed score.
    pub fn set_gamma(&mut self, gamma: f64) {
        if self.hsm {
            self.gamma = gamma;
        }
        self.declared_gamma = self.declared_gamma.map(|_| gamma);
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.process.channels()
    }

    /// Whether G depends on the clock (sub-VP).
    pub(crate) fn noise_changes(&self) -> bool {
        self.process.noise_at(0.0) != self.process.noise_at(f64::MAX)
    }

    /// Channels that carry noise.
    pub fn noised(&self) -> Vec<usize> {
        let (k, g) = (self.channels(), self.process().noise_at(f64::MAX));
        (0..k).filter(|i| g[(*i, *i)] > 0.0).collect()
    }

    /// The process.
    pub fn process(&self) -> &dyn AnyProcess {
        &*self.process
    }

    /// Refuses a time that the schedule has not.
    pub(crate) fn check_time(&self, t: f64) -> Result<()> {
        if (0.0..=self.schedule.horizon()).contains(&t) {
            Ok(())
        } else {
            Err(Error::time("t", t, self.schedule.allowed()))
        }
    }

    /// The interval of the process's clock for `[s, t]`.
    pub(super) fn span(&self, s: f64, t: f64) -> Result<Span> {
        let (s, t) = (
            s,
            if s == 0.0 {
                t.max(self.reading.t_min)
            } else {
                t
            },
        );
        let (s, t) = if self.reading.one_minus_t && s == 0.0 {
            (0.0, 1.0 - t)
        } else {
            (s, t)
        };
        let (s, t) = (self.held(Held::Time, s), self.held(Held::Time, t));
        let mut on = self.schedule.span(s, t)?;
        if self.reading.rate_times_t {
            on.tau = Dd::diff(t, s) * Dd::from(self.schedule.rate(t));
        }
        if let (true, Some((_, b1))) = (self.reading.slope != 1.0, self.schedule.as_linear()) {
            let more = |t: f64| Dd::prod(t, t) * Dd::from(0.5 * b1 * (self.reading.slope - 1.0));
            on = Span {
                start: on.start + more(s),
                tau: on.tau + more(t) - more(s),
            };
        }
        if self.reading.midpoints > 0 {
            on = Span {
                start: self.midpoint_sum(s),
                tau: self.midpoint_sum(t) - self.midpoint_sum(s),
            };
        }
        if let Some(steps) = self.reading.steps {
            on = Span {
                start: self.sum_over(steps, s)?,
                tau: self.sum_over(steps, t)? - self.sum_over(steps, s)?,
            };
        }
        if let Some(half) = self.reading.half.filter(|h| h.held == Held::Integral) {
            let (start, end) = (
                half.round(on.start.to_f64()),
                half.round((on.start + on.tau).to_f64()),
            );
            on = Span {
                start: Dd::from(start),
                tau: Dd::diff(end, start),
            };
        }
        let c = Dd::from(self.reading.rate_factor);
        Ok(Span {
            start: on.start * c,
            tau: on.tau * c,
        })
    }

    /// A number as the reading holds it.
    fn held(&self, what: Held, x: f64) -> f64 {
        self.reading
            .half
            .filter(|h| h.held == what)
            .map_or(x, |h| h.round(x))
    }

    /// The midpoint sum that stands for the integral over `[0, t]`.
    fn midpoint_sum(&self, t: f64) -> Dd {
        let n = self.reading.midpoints;
        let h = Dd::from(t) / Dd::from(f64::from(n));
        // of e^(g t) each panel's sum is the same part of its integral, x / (2 sinh(x/2)) with x =
        // g h
        if let Some(g) = self.schedule.growth().filter(|_| t > 0.0) {
            let x = g * h;
            return self.schedule.integral_from_zero(t) * x * x.scale(0.5).exp() / x.exp_m1();
        }
        (0..n).fold(Dd::ZERO, |sum, i| {
            sum + h * Dd::from(
                self.schedule
                    .rate((h * Dd::from(f64::from(i) + 0.5)).to_f64()),
            )
        })
    }

    /// The sum that stands for the integral up to t, which must be a time of the grid.
    fn sum_over(&self, steps: Steps, t: f64) -> Result<Dd> {
        let n = f64::from(steps.number);
        let k = (t * n).round();
        // times in float32 are known to 6e-8 of them
        if (t * n - k).abs() > 1e-6 * k {
            return Err(Error::time("t", t, format!("a multiple of 1/{n}")));
        }
        let beta = |i: u32| self.schedule.rate(f64::from(i) / (n - 1.0)) / n;
        if !(beta(0).max(beta(steps.number - 1)) < 1.0) {
            return Err(Error::parameter(
                "steps",
                n,
                "more than the rate: 1 - beta_i is positive",
            ));
        }
        let term = |i: u32| {
            if steps.product {
                -(-beta(i)).ln_1p()
            } else {
                beta(i)
            }
        };
        Ok((0..k as u32).fold(Dd::ZERO, |s, i| s + Dd::from(term(i))))
    }

    /// The rate `b(t)`.
    pub(super) fn rate(&self, t: f64) -> Dd {
        let t = self.held(Held::Time, t.max(self.reading.t_min));
        let t = if self.reading.one_minus_t { 1.0 - t } else { t };
        let rate = match (self.reading.half, self.schedule.as_linear()) {
            (
                Some(
                    half @ Half {
                        held: Held::RateByStep,
                        ..
                    },
                ),
                Some((b0, b1)),
            ) => half.round(b0 + half.round(b1 * half.round(t))),
            _ => self.held(Held::Rate, self.schedule.rate(t)),
        };
        Dd::from(rate) * Dd::from(self.reading.rate_factor)
    }

    /// Inverse of the stationary covariance.
    pub(super) fn stationary_precision(&self) -> Result<Square<Dd>> {
        let s = self.process.stationary().ok_or_else(|| {
            Error::parameter("process", self.process.name(), "one with a stationary law")
        })?;
        let read = Square::build(s.k(), |i, j| {
            let one = self.reading.prior_one && i == j;
            Dd::from(if one { 1.0 } else { s[(i, j)] })
        });
        Ok(linear::inverse(&read)?.0)
    }

    /// The model of SSCS's analytic part: drift `S F^T S^-1`, the same noise, no initial variance.
    pub(super) fn reversed(&self) -> Result<&Model> {
        if let Some(m) = self.reversed.get() {
            return Ok(m);
        }
        let k = self.channels();
        let s = self.process.stationary().ok_or_else(|| {
            Error::parameter("process", self.process.name(), "one with a stationary law")
        })?;
        let inverse = linear::inverse(&s.map(Dd::from))?.0;
        let (f, g) = (self.process.drift(), self.process.noise_at(0.0));
        let entry = |i: usize, j: usize| {
            let terms = places(k).map(|(a, b)| Dd::prod(s[(i, a)], f[(b, a)]) * inverse[(b, j)]);
            terms.fold(Dd::ZERO, |a, x| a + x).to_f64()
        };
        let process = custom(&Square::build(k, entry), &g, 1.0)?;
        let model = Model {
            laws: self.laws.reversed.get_or_init(Arc::default).clone(),
            // the clock of a step is that of its ends
            // and no initial state stands behind it
            reading: Reading {
                one_minus_t: false,
                upper: false,
                initial_epsilon: 0.0,
                start_variance: 0.0,
                cov_rate: 1.0,
                ..self.reading
            },
            declared_gamma: self.declared_gamma,
            hsm: self.hsm,
            ..Model::right(process.into(), self.schedule)
        };
        Ok(self.reversed.get_or_init(|| Box::new(model)))
    }

    /// The covariance and its factors under conventions that change these alone.
    fn change_covariance(
        &self,
        on: Span,
        (gamma, epsilon, data): (f64, f64, Dd),
        law: &mut AnyLaw,
    ) -> Result<()> {
        let (k, reading) = (self.channels(), &self.reading);
        if reading.cov_rate != 1.0 {
            let c = Dd::from(reading.cov_rate);
            let other = self.law(
                Span {
                    start: on.start * c,
                    tau: on.tau * c,
                },
                gamma,
                epsilon,
            );
            law.cov = other.cov;
            law.moments = other.moments;
        }
        let mut changed = data.hi != 0.0;
        let mean = law.mean;
        if changed {
            let more = |i: usize, j: usize| data * mean[(i, 0)] * mean[(j, 0)];
            law.cov = law.cov.plus(&Square::build(k, more));
        }
        if reading.initial_epsilon != 0.0 {
            changed = true;
            let (epsilon, sum) = (
                Dd::from(reading.initial_epsilon),
                mean.matmul(&mean.transpose()),
            );
            law.cov = law.cov.plus(&sum.map(|x| x * epsilon));
        }
        if reading.sigma_over_mean && k == 1 {
            changed = true;
            law.cov[(0, 0)] = law.cov[(0, 0)] / (law.mean[(0, 0)] * law.mean[(0, 0)]);
        }
        if changed {
            law.moments = linear::moments(&law.cov);
        }
        self.change_factors(law)
    }

    /// The factors under conventions that change these alone.
    fn change_factors(&self, law: &mut AnyLaw) -> Result<()> {
        let (k, kind, cov) = (self.channels(), self.reading.factor, &law.cov);
        let det = law.moments.det;
        let Some(f) = law.moments.factors.as_mut() else {
            return Ok(());
        };
        if k == 1 {
            return Ok(());
        }
        let root = match kind {
            Factor::Cholesky => return Ok(()),
            Factor::Other => {
                std::mem::swap(&mut f.lower, &mut f.upper);
                std::mem::swap(
                    &mut f.inverse_transpose_lower,
                    &mut f.inverse_transpose_upper,
                );
                return Ok(());
            }
            Factor::Symmetric if k == 2 => {
                // S^(1/2) = (S + sqrt(det) I) / sqrt(trace + 2 sqrt(det))
                let root = Dd::from(det).sqrt();
                let size = (cov[(0, 0)] + cov[(1, 1)] + root.scale(2.0)).sqrt();
                let entry = |i, j| cov[(i, j)] + if i == j { root } else { Dd::ZERO };
                Square::build(k, |i, j| (entry(i, j) / size).to_f64())
            }
            Factor::Symmetric => {
                return Err(Error::parameter("factor", "symmetric", "two channels"));
            }
            Factor::Diagonal | Factor::DiagonalVariances => {
                Square::build(k, |i, j| match (i == j, kind) {
                    (false, _) => 0.0,
                    (true, Factor::Diagonal) => cov[(i, j)].sqrt().to_f64(),
                    (true, _) => cov[(i, j)].to_f64(),
                })
            }
        };
        let inverse = if k == 2 {
            let det = root[(0, 0)] * root[(1, 1)] - root[(0, 1)] * root[(1, 0)];
            // the transpose of the inverse
            Square::build(2, |i, j| {
                let sign = if i == j { 1.0 } else { -1.0 };
                sign * root[(1 - i, 1 - j)] / det
            })
        } else {
            root.map(|x| if x == 0.0 { 0.0 } else { 1.0 / x })
        };
        (f.lower, f.upper) = (root, root);
        (f.inverse_transpose_lower, f.inverse_transpose_upper) = (inverse, inverse);
        Ok(())
    }

    /// The drift matrix, as the mean's signs are read.
    pub(super) fn drift(&self) -> Square {
        let f = self.process.drift();
        if self.reading.flip_mean {
            f.with_odd_signs_flipped()
        } else {
            f
        }
    }

    pub(super) fn row(&self, s: f64, t: f64) -> Result<Arc<Row>> {
        self.row_of(s, t, self.gamma)
    }

    /// The law over `[s, t]` for this gamma.
    pub(super) fn row_of(&self, s: f64, t: f64, gamma: f64) -> Result<Arc<Row>> {
        self.row_on(self.span(s, t)?, s, t, gamma, 0.0)
    }

    /// The law over `[s, t]` from data of this standard deviation in x.
    pub(super) fn row_of_data(&self, s: f64, t: f64, std: f64) -> Result<Arc<Row>> {
        self.row_on(self.span(s, t)?, s, t, self.gamma, std)
    }

    /// The law over `[s, t]`, `tau` standing for the integral of the rate.
    pub(super) fn row_over(&self, s: f64, t: f64, tau: Dd) -> Result<Arc<Row>> {
        self.row_on(
            Span {
                tau,
                ..self.span(s, t)?
            },
            s,
            t,
            self.gamma,
            0.0,
        )
    }

    /// The law at a time of the process's clock, from data of this standard deviation in x.
    pub(super) fn law_at(&self, tau: Dd, std: f64) -> Result<AnyLaw> {
        let on = Span {
            start: Dd::ZERO,
            tau,
        };
        let epsilon = self.reading.epsilon + self.reading.start_variance;
        let mut law = self.law(on, self.gamma, epsilon);
        self.change_covariance(on, (self.gamma, epsilon, Dd::prod(std, std)), &mut law)?;
        Ok(law)
    }

    /// The law of a step from s on to t: no initial variance, also where the step is one from 0.
    pub(super) fn transition(&self, s: f64, t: f64) -> Result<Arc<Row>> {
        // a gamma that no file has tells it apart from the law of the data at rest
        self.row_on(self.span(s, t)?, s, t, -0.0, 0.0)
    }

    fn row_on(&self, on: Span, s: f64, t: f64, gamma: f64, std: f64) -> Result<Arc<Row>> {
        let key = [s, t, gamma, std].map(f64::to_bits);
        if let Some(row) = locked(&self.rows).get(&key) {
            return Ok(row.clone());
        }
        let k = self.channels();
        let from_data = s == 0.0 && gamma.is_sign_positive();
        let epsilon = self.reading.epsilon
            + if from_data {
                self.reading.start_variance
            } else {
                0.0
            };
        let gamma = gamma.abs();
        let mut law = self.law(on, gamma, epsilon);
        self.change_covariance(on, (gamma, epsilon, Dd::prod(std, std)), &mut law)?;
        // the law from 0 is given with its initial variance: not that of a step from 0
        if let Some(given) = self
            .given
            .get(&(s.to_bits(), t.to_bits()))
            .filter(|_| (s > 0.0 || from_data) && std == 0.0)
        {
            law.mean = given.mean.unwrap_or(law.mean);
            if let Some(cov) = given.cov {
                law.cov = cov;
                law.moments = linear::moments(&law.cov);
            }
        }
        if self.reading.flip_mean {
            law.mean = law.mean.with_odd_signs_flipped();
        }
        if self.reading.flip_cov {
            law.cov = law.cov.with_odd_signs_flipped();
            if let Some(f) = &mut law.moments.factors {
                **f = f.map(Square::with_odd_signs_flipped);
            }
        }
        let mut start = self.process.initial(gamma);
        start[0] += std * std;
        let (mean_scale, cov_scale) = self.scales(on, &law, &start);
        let size = self.process.stationary();
        let sd: Vec<f64> = (0..k)
            .map(|i| {
                size.map_or(1.0, |s| s[(i, i)])
                    .max(law.cov[(i, i)].hi)
                    .sqrt()
            })
            .collect();
        let rounding = Square::build(k, |i, j| 2f64.powi(-53) * sd[i] * sd[j]);
        let row = Arc::new(Row {
            law,
            mean_scale,
            cov_scale,
            rounding,
            at_start: on.tau.hi == 0.0,
        });
        let mut rows = locked(&self.rows);
        if rows.len() >= REMEMBERED {
            rows.clear();
        }
        rows.insert(key, row.clone());
        drop(rows);
        Ok(row)
    }

    /// Largest term of each entry of mean and covariance: its size and its change under a relative
    /// change of tau, `|tau d/dtau|`, by the moment equations. Where an entry crosses zero, the
    /// second is the size of the terms that cancel.
    fn scales(&self, on: Span, law: &AnyLaw, start: &[f64]) -> (Square, Square) {
        let k = self.channels();
        let (f, g) = (
            self.process.drift(),
            self.process.noise_at((on.start + on.tau).to_f64()),
        );
        let tau = on.tau.hi;
        let at = |v: &Square<Dd>, i: usize, j: usize| v[(i, j)].hi;
        let product = |v: &Square<Dd>, i: usize, j: usize| {
            (0..k).map(|l| f[(i, l)] * at(v, l, j)).sum::<f64>()
        };
        let mean_scale = Square::build(k, |i, j| {
            at(&law.mean, i, j).abs() + (tau * product(&law.mean, i, j)).abs()
        });
        // dQ/dtau = Phi G G^T Phi^T has no cancellation, nor has F C + C F^T for C = Phi Sigma0
        // Phi^T.
        let initial = Square::build(k, |i, j| {
            (0..k).fold(Dd::ZERO, |s, l| {
                s + law.mean[(i, l)] * law.mean[(j, l)] * Dd::from(start[l])
            })
        });
        let cov_scale = Square::build(k, |i, j| {
            let noise: f64 = places(k)
                .map(|(a, b)| at(&law.mean, i, a) * g[(a, b)] * at(&law.mean, j, b))
                .sum();
            let change = if k == 1 {
                2.0 * product(&law.cov, i, j) + g[(0, 0)] // holds also where G depends on the clock (sub-VP)
            } else {
                noise + product(&initial, i, j) + product(&initial, j, i)
            };
            at(&law.cov, i, j).abs() + (tau * change).abs()
        });
        (mean_scale, cov_scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Catches a wrong closed form of the midpoint sum of a geometric rate: against the sum itself,
    /// whose terms are each rounded to half an ulp.
    #[test]
    fn midpoints_of_a_geometric_rate() {
        let object = json!({"kind": "ve", "schedule": {"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}, "objective": "dsm"});
        let mut model = Model::new(&Config::from_answers(&object).unwrap()).unwrap();
        for n in [1, 2, 7, 100] {
            model.reading.midpoints = n;
            for t in [1e-6, 0.3, 1.0] {
                let h = t / f64::from(n);
                let sum: f64 = (0..n)
                    .map(|i| h * model.schedule.rate(h * (f64::from(i) + 0.5)))
                    .sum();
                let found = model.midpoint_sum(t).to_f64();
                // the times are rounded too, and the rate's logarithm grows by 17 over [0, 1]
                assert!(
                    (found / sum - 1.0).abs() < 100.0 * f64::EPSILON,
                    "{n} panels to {t}: {found}, {sum}"
                );
            }
        }
    }
}
