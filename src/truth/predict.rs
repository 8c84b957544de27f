//! What each quantity should be: the truth side of every comparison, by the generic route in double words.
//!
//! Nothing here uses the closed forms: a user's answers, and our own closed forms too, are judged by
//! [`doubling`](crate::process::doubling) from drift and noise alone, which the high-precision tables hold to account.

use super::config::Config;
use super::reading::{Factor, Reading, Steps};
use super::reverse;
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::files::Array;
use crate::process::{AnyLaw, AnyProcess, custom};
use crate::schedule::{Schedule, Span};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The channels' letters, in order.
pub const CHANNELS: [&str; 4] = ["x", "v", "a", "j"];

/// A quantity that can be judged.
pub struct Quantity {
    /// Its name.
    pub name: &'static str,
    /// The arrays it needs.
    pub inputs: &'static [&'static str],
    /// Further arrays that it reads where they are given.
    pub optional: &'static [&'static str],
    /// What it is.
    pub about: &'static str,
}

const fn q(name: &'static str, inputs: &'static [&'static str], optional: &'static [&'static str], about: &'static str) -> Quantity {
    Quantity { name, inputs, optional, about }
}

/// Where the score of a sampler comes from.
const SCORE: &[&str] = &["t", "score", "score_v_matrix", "data"];
const STEP: &[&str] = &["t", "s", "score", "score_v_matrix", "data"];
const STEP_NOISE: &[&str] = &["t", "s", "score", "score_v_matrix", "data", "noise", "noise_x", "noise_v"];

/// The quantity called `name`.
pub fn quantity(name: &str) -> Option<&'static Quantity> {
    QUANTITIES.iter().find(|q| q.name == name)
}

/// Every quantity that can be judged. `s`, where given, makes a kernel the transition over `[s, t]`.
pub const QUANTITIES: &[Quantity] = &[
    q("schedule.rate", &["t"], &[], "rate b(t)"),
    q("schedule.integral", &["t"], &["s"], "integral of b over [0,t], or [s,t]"),
    q("process.drift_diffusion", &["t", "u"], &[], "drift b F u and diffusion sqrt(b G G^T), diagonal"),
    q("prior.log_density", &["u"], &[], "log-density of the prior, per channel and in all"),
    q("prior.sample", &["noise"], &[], "a draw from the prior: its Cholesky factor times the noise"),
    q("kernel.mean", &["t"], &["s", "u0"], "mean matrix Phi, and Phi u0"),
    q("kernel.cov", &["t"], &["s"], "covariance"),
    q("kernel.factor", &["t"], &["s"], "Cholesky factor, lower or upper"),
    q("kernel.inverse_transpose_factor", &["t"], &["s"], "inverse transpose of the factor"),
    q("kernel.inverse", &["t"], &["s"], "inverse covariance"),
    q("kernel.det", &["t"], &["s"], "determinant"),
    q("kernel.logdet", &["t"], &["s"], "log-determinant"),
    q("kernel.ell", &["t"], &["s"], "ell_t, inverse standard deviation of v given x"),
    q("kernel.snr", &["t"], &["s"], "signal-to-noise ratio of x"),
    q("kernel.snr_joint", &["t"], &["s"], "signal-to-noise ratio of all channels"),
    q("kernel.std", &["t"], &["s"], "standard deviation of each channel"),
    q("kernel.sigma", &["t"], &["s"], "noise level of x: its standard deviation over the mean's factor"),
    q("kernel.logsnr", &["t"], &["s"], "logarithm of the signal-to-noise ratio of x"),
    q("kernel.perturb", &["t", "u0", "noise"], &["s"], "Phi u0 + L noise"),
    q("kernel.log_density", &["t", "u", "u0"], &["s"], "log-density of u given u0"),
    q("kernel.score", &["t", "u", "u0"], &["s"], "gradient of the log-density"),
    q("kernel.score_from_eps", &["t", "eps"], &["s"], "-L^-T eps"),
    q("kernel.eps_from_score", &["t", "score"], &["s"], "-L^T score"),
    q("kernel.x0_from_eps", &["t", "u", "eps"], &["s"], "(x - L_xx eps_x) / Phi_xx"),
    q("score.score_from_eps", &["t", "eps"], &[], "score of the noised channel from its eps: -ell eps"),
    q("score.eps_from_score", &["t", "score"], &[], "its inverse: -score / ell"),
    q("score.mixed", &["t", "u", "net_output"], &[], "-v / S_vv - ell net, S_vv of HSM"),
    q("score.net_from_score", &["t", "u", "score"], &[], "its inverse: -(score + v / S_vv) / ell"),
    q("score.x0_from_eps", &["t", "u", "score"], &[], "x_0 from the state and the score of the noised channel, by way of its eps"),
    q("loss.weight.likelihood", &["t"], &[], "weight of the likelihood weighting, (G G^T)_vv b / 2"),
    q(
        "loss.per_sample",
        &["x0", "noise"],
        &["t", "uniform", "v_noise", "net_output", "net_W"],
        "denoising score matching of one sample with the mixed score",
    ),
    q(
        "sampler.reverse_drift",
        &["u"],
        &["t", "clock", "score", "score_v_matrix", "data"],
        "drift and diffusion of the reverse SDE, or the probability flow",
    ),
    q("sampler.step.em", &["u"], STEP_NOISE, "one Euler-Maruyama step"),
    q("sampler.step.denoise", &["u"], STEP_NOISE, "the last step, without noise"),
    q("sampler.step.sscs", &["u", "noise_1", "noise_2"], STEP, "one SSCS step"),
    q("sampler.step.sscs-first-half-twice", &["u", "noise_1", "noise_2"], STEP, "one SSCS step whose second half repeats the first"),
    q("sampler.run.em", &["u", "noise"], SCORE, "a whole run of Euler-Maruyama"),
    q("sampler.run.sscs", &["u", "noise"], SCORE, "a whole run of SSCS"),
    q("likelihood.mixture", &["t", "u", "weights", "means", "stds"], &[], "log-density of a mixture of normals at t"),
];

/// Further quantities of these kinds, which later versions will judge: named in reports, never silently skipped.
pub const NOT_YET: &[&str] = &["sampler.", "loss.", "score.", "likelihood."];

/// A process with what a hypothesis changes about it.
pub struct Model {
    process: Box<dyn AnyProcess>,
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
    without_prior: bool,
    rows: RefCell<HashMap<(u64, u64, u64), Rc<Row>>>,
    reversed: OnceCell<Box<Model>>,
}

/// One value to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What it should be.
    pub truth: Dd,
    /// The size of its largest term: what an error is measured against where the value crosses zero.
    pub scale: f64,
    /// How much the value moves if every covariance entry moves by 2^-53 of its stationary size: what cancellation in
    /// the printed formulas does.
    pub cancellation: f64,
    /// The row's time.
    pub t: f64,
}

pub(super) struct Row {
    pub law: AnyLaw,
    pub mean_scale: Vec<f64>,
    pub cov_scale: Vec<f64>,
    /// 2^-53 times the stationary size of each covariance entry.
    pub rounding: Vec<f64>,
    /// No time has passed: the law is the initial one, and what has a limit there is judged by it.
    pub at_start: bool,
}

impl Row {
    pub fn factors(&self) -> Result<&([Vec<f64>; 5], f64)> {
        self.law
            .moments
            .factors
            .as_ref()
            .ok_or_else(|| Error::Degenerate { what: "the kernel's factor".into(), why: self.why_singular().into() })
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
        self.at_start && self.law.cov.iter().all(|c| c.hi == 0.0)
    }

    /// A limit for t -> 0, where there is no factor to compute it from.
    pub fn limit(&self, value: f64, t: f64) -> Option<Cell> {
        (self.at_start && self.law.moments.factors.is_none()).then(|| Cell { truth: Dd::from(value), scale: 0.0, cancellation: 0.0, t })
    }

    /// A relative change of the determinant by rounding of the covariance's entries, for two channels.
    pub fn det_moves(&self, k: usize) -> f64 {
        let (cov, det) = (&self.law.cov, self.law.moments.det);
        if k == 2 {
            (self.rounding[0] * cov[3].hi + self.rounding[3] * cov[0].hi + 2.0 * self.rounding[1] * cov[1].hi.abs()) / det
        } else {
            self.rounding[0] / cov[0].hi
        }
    }

    /// Entry `i` of the factor that `model` uses.
    pub fn lower(&self, model: &Model, i: usize, t: f64) -> Result<Cell> {
        let (k, cov) = (model.channels(), &self.law.cov);
        if self.certain() {
            return Ok(Cell { truth: Dd::ZERO, scale: 0.0, cancellation: 0.0, t });
        }
        let (f, _) = self.factors()?;
        let (a, b) = (i / k, i % k);
        let cell = |truth: Dd, scale: f64, cancellation: f64| Cell { truth, scale: scale.abs().max(truth.hi.abs()), cancellation, t };
        if model.reading.variance_for_factor {
            return Ok(cell(cov[i], self.cov_scale[i], self.rounding[i]));
        }
        let l = &f[usize::from(model.reading.upper)];
        let lead = l[b * k + b];
        let off = a != b && l[i] != 0.0;
        let scale = if off { self.cov_scale[i] / lead } else { l[i] };
        let first = b == if model.reading.upper { k - 1 } else { 0 };
        let moves = if first { self.rounding[b * k + b] / cov[b * k + b].hi } else { self.det_moves(k) };
        Ok(cell(Dd::from(l[i]), scale, l[i].abs() * moves + if off { self.rounding[i] / lead } else { 0.0 }))
    }
}

impl Model {
    /// The model a file describes.
    ///
    /// # Errors
    /// As the process's constructor.
    pub fn new(c: &Config) -> Result<Model> {
        Ok(Model {
            process: c.process()?,
            schedule: c.schedule,
            gamma: c.objective.gamma(),
            reading: Reading { upper: c.upper, ..Reading::RIGHT },
            declared_gamma: c.gamma,
            hsm: c.objective.name() == "hsm",
            without_prior: false,
            rows: RefCell::default(),
            reversed: OnceCell::new(),
        })
    }

    /// The models with one coefficient of drift or noise multiplied by `factor`, one for each that is not 0.
    pub fn coefficients_changed(c: &Config, factor: f64) -> Vec<Model> {
        let Ok(p) = c.process() else { return vec![] };
        let (k, f, g) = (p.channels(), p.drift(), p.noise_at(0.0));
        let changed = |m: &[f64], i: usize| {
            let mut m = m.to_vec();
            m[i] *= factor;
            if i % k != i / k && m[i % k * k + i / k] != 0.0 {
                m[i % k * k + i / k] = m[i];
            }
            m
        };
        let drifts = (0..k * k).filter(|i| f[*i] != 0.0).map(|i| {
            let mut f = f.clone();
            f[i] *= factor;
            (f, g.clone())
        });
        let noises = (0..k * k).filter(|i| g[*i] != 0.0).map(|i| (f.clone(), changed(&g, i)));
        drifts
            .chain(noises)
            .filter_map(|(f, g)| {
                let mut model = Model::new(c).ok()?;
                model.replace(custom(&f, &g, k, p.mass()).ok()?);
                Some(model)
            })
            .collect()
    }

    /// Another process in its place.
    pub fn replace(&mut self, process: Box<dyn AnyProcess>) {
        self.without_prior = process.stationary().is_none() && self.process.stationary().is_some();
        self.process = process;
    }

    /// Another schedule in its place.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Another variance of the initial velocity, in units of the mass: in the kernel under HSM, and in the mixed score.
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

    /// The process.
    pub fn process(&self) -> &dyn AnyProcess {
        &*self.process
    }

    /// Refuses a time that the schedule has not.
    pub(crate) fn check_time(&self, t: f64) -> Result<()> {
        if (0.0..=self.schedule.horizon()).contains(&t) { Ok(()) } else { Err(Error::time("t", t, self.schedule.allowed())) }
    }

    /// The interval of the process's clock for `[s, t]`.
    pub(super) fn span(&self, s: f64, t: f64) -> Result<Span> {
        let (s, t) = (s, if s == 0.0 { t.max(self.reading.t_min) } else { t });
        let (s, t) = if self.reading.one_minus_t && s == 0.0 { (0.0, 1.0 - t) } else { (s, t) };
        let mut on = self.schedule.span(s, t)?;
        if self.reading.rate_times_t {
            on.tau = Dd::diff(t, s) * Dd::from(self.schedule.rate(t));
        }
        if let (true, Some((_, b1))) = (self.reading.slope != 1.0, self.schedule.as_linear()) {
            let more = |t: f64| Dd::prod(t, t) * Dd::from(0.5 * b1 * (self.reading.slope - 1.0));
            on = Span { start: on.start + more(s), tau: on.tau + more(t) - more(s) };
        }
        if let Some(steps) = self.reading.steps {
            on = Span { start: self.sum_over(steps, s)?, tau: self.sum_over(steps, t)? - self.sum_over(steps, s)? };
        }
        let c = Dd::from(self.reading.rate_factor);
        Ok(Span { start: on.start * c, tau: on.tau * c })
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
            return Err(Error::parameter("steps", n, "more than the rate: 1 - beta_i is positive"));
        }
        let term = |i: u32| if steps.product { -(-beta(i)).ln_1p() } else { beta(i) };
        Ok((0..k as u32).fold(Dd::ZERO, |s, i| s + Dd::from(term(i))))
    }

    /// The rate `b(t)`.
    pub(super) fn rate(&self, t: f64) -> Dd {
        let t = t.max(self.reading.t_min);
        Dd::from(self.schedule.rate(if self.reading.one_minus_t { 1.0 - t } else { t })) * Dd::from(self.reading.rate_factor)
    }

    /// Inverse of the stationary covariance, row-major.
    pub(super) fn stationary_precision(&self) -> Result<Vec<Dd>> {
        let k = self.channels();
        let s = self.process.stationary().ok_or_else(|| Error::parameter("process", self.process.name(), "one with a stationary law"))?;
        let one = |n: usize| if self.reading.prior_one && n.is_multiple_of(k + 1) { 1.0 } else { s[n] };
        Ok(reverse::inverse(&(0..k * k).map(|n| Dd::from(one(n))).collect::<Vec<_>>(), k)?.0)
    }

    /// The model of SSCS's analytic part: drift `S F^T S^-1`, the same noise, no initial variance.
    pub(super) fn reversed(&self) -> Result<&Model> {
        if let Some(m) = self.reversed.get() {
            return Ok(m);
        }
        let k = self.channels();
        let s = self.process.stationary().ok_or_else(|| Error::parameter("process", self.process.name(), "one with a stationary law"))?;
        let inverse = reverse::inverse(&s.iter().map(|x| Dd::from(*x)).collect::<Vec<_>>(), k)?.0;
        let (f, g) = (self.process.drift(), self.process.noise_at(0.0));
        let entry = |i: usize, j: usize| {
            let terms = (0..k * k).map(|n| Dd::prod(s[i * k + n / k], f[n % k * k + n / k]) * inverse[n % k * k + j]);
            terms.fold(Dd::ZERO, |a, x| a + x).to_f64()
        };
        let drift: Vec<f64> = (0..k * k).map(|n| entry(n / k, n % k)).collect();
        let process = custom(&drift, &g, k, 1.0)?;
        let model = Model {
            process,
            schedule: self.schedule,
            gamma: 0.0,
            rows: RefCell::default(),
            reversed: OnceCell::new(),
            without_prior: false,
            // the clock of a step is that of its ends
            // and no initial state stands behind it
            reading: Reading { one_minus_t: false, upper: false, initial_epsilon: 0.0, start_variance: 0.0, cov_rate: 1.0, ..self.reading },
            declared_gamma: self.declared_gamma,
            hsm: self.hsm,
        };
        Ok(self.reversed.get_or_init(|| Box::new(model)))
    }

    /// The covariance and its factors under conventions that change these alone.
    fn change_covariance(&self, on: Span, gamma: f64, epsilon: f64, law: &mut AnyLaw) -> Result<()> {
        let (k, reading) = (self.channels(), &self.reading);
        if reading.cov_rate != 1.0 {
            let c = Dd::from(reading.cov_rate);
            let other = self.process.law(Span { start: on.start * c, tau: on.tau * c }, gamma, epsilon);
            law.cov = other.cov;
            law.moments = other.moments;
        }
        let mut changed = false;
        if reading.initial_epsilon != 0.0 {
            changed = true;
            for n in 0..k * k {
                let sum = (0..k).fold(Dd::ZERO, |s, l| s + law.mean[n / k * k + l] * law.mean[n % k * k + l]);
                law.cov[n] = law.cov[n] + sum * Dd::from(reading.initial_epsilon);
            }
        }
        if reading.sigma_over_mean && k == 1 {
            changed = true;
            law.cov[0] = law.cov[0] / (law.mean[0] * law.mean[0]);
        }
        if changed {
            law.moments = reverse::moments(&law.cov, k);
        }
        if let Some((f, _)) = law.moments.factors.as_mut().filter(|_| reading.factor != Factor::Cholesky && k > 1) {
            let r: Vec<f64> = match reading.factor {
                Factor::Symmetric if k == 2 => {
                    // S^(1/2) = (S + sqrt(det) I) / sqrt(trace + 2 sqrt(det))
                    let root = Dd::from(law.moments.det).sqrt();
                    let size = (law.cov[0] + law.cov[3] + root.scale(2.0)).sqrt();
                    (0..4).map(|n| ((law.cov[n] + if n % 3 == 0 { root } else { Dd::ZERO }) / size).to_f64()).collect()
                }
                Factor::Symmetric => return Err(Error::parameter("factor", "symmetric", "two channels")),
                _ => (0..k * k)
                    .map(|n| match (n % (k + 1) == 0, reading.factor == Factor::Diagonal) {
                        (false, _) => 0.0,
                        (true, true) => law.cov[n].sqrt().to_f64(),
                        (true, false) => law.cov[n].to_f64(),
                    })
                    .collect(),
            };
            let inverse: Vec<f64> = if k == 2 {
                let det = r[0] * r[3] - r[1] * r[2];
                vec![r[3] / det, -r[2] / det, -r[1] / det, r[0] / det]
            } else {
                r.iter().map(|x| if *x == 0.0 { 0.0 } else { 1.0 / x }).collect()
            };
            *f = [r.clone(), r, f[2].clone(), inverse.clone(), inverse];
        }
        Ok(())
    }

    pub(super) fn row(&self, s: f64, t: f64) -> Result<Rc<Row>> {
        self.row_of(s, t, self.gamma)
    }

    /// The law over `[s, t]` for this gamma.
    pub(super) fn row_of(&self, s: f64, t: f64, gamma: f64) -> Result<Rc<Row>> {
        self.row_on(self.span(s, t)?, s, t, gamma)
    }

    /// The law over `[s, t]`, `tau` standing for the integral of the rate.
    pub(super) fn row_over(&self, s: f64, t: f64, tau: Dd) -> Result<Rc<Row>> {
        self.row_on(Span { tau, ..self.span(s, t)? }, s, t, self.gamma)
    }

    fn row_on(&self, on: Span, s: f64, t: f64, gamma: f64) -> Result<Rc<Row>> {
        let key = (s.to_bits(), t.to_bits(), gamma.to_bits());
        if let Some(row) = self.rows.borrow().get(&key) {
            return Ok(row.clone());
        }
        let k = self.channels();
        let epsilon = self.reading.epsilon + if s == 0.0 { self.reading.start_variance } else { 0.0 };
        let mut law = self.process.law(on, gamma, epsilon);
        self.change_covariance(on, gamma, epsilon, &mut law)?;
        let odd = |i: usize| (i / k + i % k) % 2 == 1;
        let flip = |v: &mut Vec<Dd>| v.iter_mut().enumerate().filter(|(i, _)| odd(*i)).for_each(|(_, x)| *x = -*x);
        let flip64 = |v: &mut Vec<f64>| v.iter_mut().enumerate().filter(|(i, _)| odd(*i)).for_each(|(_, x)| *x = -*x);
        if self.reading.flip_mean {
            flip(&mut law.mean);
        }
        if self.reading.flip_cov {
            flip(&mut law.cov);
            if let Some((f, _)) = &mut law.moments.factors {
                f.iter_mut().for_each(flip64);
            }
        }
        // Largest term of an entry: its size and its change under a relative change of tau, |tau d/dtau|, by the
        // moment equations. Where an entry crosses zero, the second is the size of the terms that cancel.
        let (f, g) = (self.process.drift(), self.process.noise_at((on.start + on.tau).to_f64()));
        let tau = on.tau.hi;
        let at = |v: &[Dd], i: usize, j: usize| v[i * k + j].hi;
        let product = |v: &[Dd], i: usize, j: usize| (0..k).map(|l| f[i * k + l] * at(v, l, j)).sum::<f64>();
        let grid = |h: &dyn Fn(usize, usize) -> f64| -> Vec<f64> { (0..k * k).map(|n| h(n / k, n % k)).collect() };
        let mean_scale = grid(&|i, j| at(&law.mean, i, j).abs() + (tau * product(&law.mean, i, j)).abs());
        // dQ/dtau = Phi G G^T Phi^T has no cancellation, nor has F C + C F^T for C = Phi Sigma0 Phi^T.
        let variance = gamma * self.process.mass();
        let initial: Vec<Dd> = (0..k * k)
            .map(|n| (1..k).fold(Dd::ZERO, |s, l| s + law.mean[n / k * k + l] * law.mean[n % k * k + l] * Dd::from(variance)))
            .collect();
        let cov_scale = grid(&|i, j| {
            let noise: f64 = (0..k * k).map(|n| at(&law.mean, i, n / k) * g[n] * at(&law.mean, j, n % k)).sum();
            let change = if k == 1 {
                2.0 * product(&law.cov, i, j) + g[0] // holds also where G depends on the clock (sub-VP)
            } else {
                noise + product(&initial, i, j) + product(&initial, j, i)
            };
            at(&law.cov, i, j).abs() + (tau * change).abs()
        });
        let size = self.process.stationary().map_or(vec![1.0; k * k], |s| s);
        let sd: Vec<f64> = (0..k).map(|i| size[i * k + i].max(law.cov[i * k + i].hi).sqrt()).collect();
        let rounding = grid(&|i, j| 2f64.powi(-53) * sd[i] * sd[j]);
        let row = Rc::new(Row { law, mean_scale, cov_scale, rounding, at_start: on.tau.hi == 0.0 });
        self.rows.borrow_mut().insert(key, row.clone());
        Ok(row)
    }
}

/// The arrays a quantity reads.
pub type Inputs<'a> = BTreeMap<String, &'a Array>;

pub(super) struct Reader<'a> {
    pub inputs: &'a Inputs<'a>,
    pub n: usize,
}

impl Reader<'_> {
    pub fn get(&self, name: &'static str) -> Result<&Array> {
        self.inputs.get(name).copied().ok_or_else(|| Error::parameter(name, "missing", "an input array; this quantity needs it"))
    }

    pub fn times(&self, name: &'static str) -> Result<Vec<f64>> {
        let a = self.get(name)?;
        if a.data.len() != self.n {
            return Err(Error::shape(name, &a.shape, format!("({},)", self.n)));
        }
        Ok(a.data.clone())
    }

    /// A (n, K d) array, all finite, and d.
    pub fn block(&self, name: &'static str, k: usize) -> Result<(&[f64], usize)> {
        let a = self.get(name)?;
        if a.shape.len() != 2 || a.shape[0] != self.n || a.shape[1] == 0 || a.shape[1] % k != 0 {
            return Err(Error::shape(name, &a.shape, format!("({}, {k} d): the d coordinates of each of the {k} channels", self.n)));
        }
        finite(name, &a.data)?;
        Ok((&a.data, a.shape[1] / k))
    }
}

pub(super) fn finite(name: &str, data: &[f64]) -> Result<()> {
    match data.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::parameter(name.to_string(), data[i], format!("finite inputs (at flat index {i})"))),
        None => Ok(()),
    }
}

/// A pair of channel letters as a flat index.
fn pair(name: &str, k: usize) -> Option<usize> {
    let find = |c: &str| CHANNELS[..k].iter().position(|x| *x == c);
    if name.len() != 2 {
        return None;
    }
    Some(find(&name[..1])? * k + find(&name[1..])?)
}

/// `l21` and the like as a flat index.
fn digits(name: &str, k: usize) -> Option<usize> {
    let b = name.strip_prefix('l')?.as_bytes();
    if b.len() != 2 {
        return None;
    }
    let (i, j) = ((b[0] as usize).wrapping_sub(b'1' as usize), (b[1] as usize).wrapping_sub(b'1' as usize));
    (i < k && j < k).then_some(i * k + j)
}

/// Standard names of a quantity's outputs for `k` channels, as `cld vectors` writes them.
pub fn outputs(quantity: &str, k: usize) -> Vec<String> {
    let pairs = || (0..k).flat_map(|i| (i..k).map(move |j| format!("{}{}", CHANNELS[i], CHANNELS[j]))).collect();
    let one = |s: &str| vec![s.to_string()];
    match quantity {
        "kernel.cov" | "kernel.inverse" => pairs(),
        "kernel.std" => CHANNELS[..k].iter().map(|c| (*c).to_string()).collect(),
        "prior.sample" => one("u"),
        "kernel.factor" | "kernel.inverse_transpose_factor" => one("factor"),
        "kernel.mean" => vec!["matrix".into(), "mean".into()],
        "kernel.perturb" => one("u_t"),
        "kernel.score" | "kernel.score_from_eps" => one("score"),
        "kernel.eps_from_score" => one("eps"),
        "kernel.x0_from_eps" => one("x0"),
        "process.drift_diffusion" => vec!["drift".into(), "diffusion".into()],
        "prior.log_density" => one("log_density"),
        "score.mixed" | "score.score_from_eps" => one("score"),
        "score.eps_from_score" => one("eps"),
        "score.net_from_score" => one("net_output"),
        "score.x0_from_eps" => one("x0"),
        "loss.per_sample" => one("loss"),
        "loss.weight.likelihood" => one("weight"),
        "likelihood.mixture" => one("log_density"),
        "sampler.reverse_drift" => vec!["drift".into(), "diffusion".into()],
        "sampler.step.em" => vec!["u_next".into(), "u_mean".into()],
        q if q.starts_with("sampler.step.") => one("u_next"),
        q if q.starts_with("sampler.run.") => CHANNELS[..k].iter().map(|c| (*c).to_string()).collect(),
        other => one(other.rsplit('.').next().unwrap_or(other)),
    }
}

/// The array whose rows are the rows of a quantity.
pub fn leading(quantity: &str) -> &'static str {
    match quantity {
        "loss.per_sample" => "x0",
        "prior.sample" => "noise",
        q if q == "prior.log_density" || q.starts_with("sampler.") => "u",
        _ => "t",
    }
}

/// Number of rows that these inputs have for a quantity.
pub fn rows(quantity: &str, inputs: &Inputs<'_>) -> usize {
    inputs.get(leading(quantity)).map_or(0, |a| a.shape.first().copied().unwrap_or(a.data.len()))
}

/// The truth for one output of a quantity, row-major over (rows, columns), and the number of columns.
///
/// # Errors
/// Inputs missing, of the wrong shape or not finite; times outside `[0, 1]`; an output the quantity has not.
pub fn predict(quantity: &str, model: &Model, inputs: &Inputs<'_>, output: &str) -> Result<(Vec<Cell>, usize)> {
    let k = model.channels();
    let n = rows(quantity, inputs);
    let read = Reader { inputs, n };
    let unknown =
        || Error::parameter(format!("outputs.{output}"), "unknown", format!("outputs of {quantity}: {}", outputs(quantity, k).join(", ")));
    if quantity.starts_with("prior.") && model.without_prior {
        return Err(Error::parameter("process", model.process.name(), "one whose prior is known"));
    }
    if quantity == "prior.log_density" {
        let (u, d) = read.block("u", k)?;
        return Ok((prior(model, u, n, d, output).ok_or_else(unknown)??, 1));
    }
    if quantity == "prior.sample" {
        let (z, d) = read.block("noise", k)?;
        if output != "u" {
            return Err(unknown());
        }
        return Ok((prior_sample(model, z, n, d)?, k * d));
    }
    if reverse::covers(quantity) {
        return reverse::predict(quantity, model, &read, output)?.ok_or_else(unknown);
    }
    let t = read.times("t")?;
    let s = if inputs.contains_key("s") { read.times("s")? } else { vec![0.0; n] };
    for (name, list) in [("t", &t), ("s", &s)] {
        if let Some(bad) = list.iter().find(|x| !(0.0..=model.schedule.horizon()).contains(*x)) {
            return Err(Error::time(name, *bad, model.schedule.allowed()));
        }
    }
    match quantity {
        "schedule.rate" | "schedule.integral" => {
            let cells = (0..n).map(|r| {
                let v = if quantity == "schedule.rate" { model.rate(t[r]) } else { model.span(s[r], t[r])?.tau };
                Ok(Cell { truth: v, scale: v.hi.abs(), cancellation: 0.0, t: t[r] })
            });
            if output != quantity.rsplit('.').next().unwrap_or("") {
                return Err(unknown());
            }
            return Ok((cells.collect::<Result<_>>()?, 1));
        }
        "process.drift_diffusion" => {
            let (u, d) = read.block("u", k)?;
            let mut f = model.process.drift();
            if model.reading.flip_mean {
                f.iter_mut().enumerate().filter(|(i, _)| (i / k + i % k) % 2 == 1).for_each(|(_, x)| *x = -*x);
            }
            let mut cells = Vec::with_capacity(u.len());
            for r in 0..n {
                let b = model.rate(t[r]).to_f64();
                let start = model.span(0.0, t[r])?.start.to_f64() + model.span(0.0, t[r])?.tau.to_f64();
                let g = model.process.noise_at(start);
                for i in 0..k {
                    for c in 0..d {
                        let terms = (0..k).map(|j| Dd::prod(f[i * k + j], u[r * k * d + j * d + c]) * Dd::from(b));
                        let (sum, scale) = terms.fold((Dd::ZERO, 0.0), |(a, m), x| (a + x, m + x.hi.abs()));
                        cells.push(match output {
                            "drift" => Cell { truth: sum, scale, cancellation: 0.0, t: t[r] },
                            "diffusion" => reverse::diffusion(model, start, g[i * k + i], Dd::from(b), t[r]),
                            _ => return Err(unknown()),
                        });
                    }
                }
            }
            return Ok((cells, k * d));
        }
        _ => {}
    }
    let mut cells = Vec::new();
    let mut columns = 1;
    for r in 0..n {
        let row = model.row(s[r], t[r])?;
        let (more, width) = kernel_row(quantity, model, &row, &read, r, t[r], output)?.ok_or_else(unknown)?;
        columns = width;
        cells.extend(more);
    }
    Ok((cells, columns))
}

/// The prior's covariance, row-major.
fn prior_cov(model: &Model) -> Vec<f64> {
    let k = model.channels();
    let horizon = model.span(0.0, model.schedule.horizon()).map(|s| s.tau.to_f64()).unwrap_or(1.0);
    let mut cov = model.process.prior(horizon);
    if model.reading.prior_one {
        (1..k).for_each(|i| cov[i * k + i] = 1.0);
    }
    (0..k).for_each(|i| cov[i * k + i] += model.reading.start_variance);
    cov
}

/// `L z`, with `L L^T` the prior's covariance.
fn prior_sample(model: &Model, z: &[f64], n: usize, d: usize) -> Result<Vec<Cell>> {
    let k = model.channels();
    let cov: Vec<Dd> = prior_cov(model).into_iter().map(Dd::from).collect();
    let mut l = vec![Dd::ZERO; k * k];
    for i in 0..k {
        for j in 0..=i {
            let rest = (0..j).fold(cov[i * k + j], |s, m| s - l[i * k + m] * l[j * k + m]);
            l[i * k + j] = if i == j { rest.sqrt() } else { rest / l[j * k + j] };
        }
    }
    let lower = |i: usize| Cell { truth: l[i], scale: l[i].hi.abs(), cancellation: 0.0, t: f64::NAN };
    Ok((0..n).flat_map(|r| product(&lower, z, r, k, d)).collect())
}

/// Log-density of the prior, per channel (`log_density_x`) or in all; `None` for an unknown output.
fn prior(model: &Model, u: &[f64], n: usize, d: usize, output: &str) -> Option<Result<Vec<Cell>>> {
    let k = model.channels();
    let cov = prior_cov(model);
    let (with_det, with_tau) = (f64::from(u8::from(model.reading.density_det)), f64::from(u8::from(model.reading.density_tau)));
    let diagonal = (0..k * k).all(|i| i / k == i % k || cov[i] == 0.0);
    let channel = match output {
        "log_density" => None,
        name => Some(CHANNELS[..k].iter().position(|c| name.strip_prefix("log_density_") == Some(c))?),
    };
    let half_log_tau = 0.5 * std::f64::consts::TAU.ln();
    let cells = (0..n).map(|r| {
        let at = |i: usize, c: usize| u[r * k * d + i * d + c];
        let (mut sum, mut scale) = (Dd::ZERO, 0.0);
        let mut add = |x: Dd| {
            sum = sum + x;
            scale += x.hi.abs();
        };
        if diagonal {
            for i in (0..k).filter(|i| channel.is_none_or(|c| c == *i)) {
                let var = Dd::from(cov[i * k + i]);
                add((var.ln().scale(-0.5 * with_det) - Dd::from(half_log_tau * with_tau)) * Dd::from(d as f64));
                (0..d).for_each(|c| add((Dd::prod(at(i, c), at(i, c)) / var).scale(-0.5)));
            }
        } else if channel.is_none() && k == 2 {
            let det = Dd::prod(cov[0], cov[3]) - Dd::prod(cov[1], cov[1]);
            add((det.ln().scale(-0.5 * with_det) - Dd::from(2.0 * half_log_tau * with_tau)) * Dd::from(d as f64));
            for c in 0..d {
                let (x, v) = (at(0, c), at(1, c));
                let square =
                    Dd::from(cov[3]) * Dd::prod(x, x) - Dd::from(2.0 * cov[1]) * Dd::prod(x, v) + Dd::from(cov[0]) * Dd::prod(v, v);
                add((square / det).scale(-0.5));
            }
        } else {
            return Err(Error::parameter(format!("outputs.{output}"), "undefined", "log_density (the prior's channels are correlated)"));
        }
        Ok(Cell { truth: sum, scale, cancellation: 0.0, t: f64::NAN })
    });
    Some(cells.collect())
}

/// One row of a kernel quantity; `None` for an unknown output.
fn kernel_row(
    quantity: &str,
    model: &Model,
    row: &Row,
    read: &Reader<'_>,
    r: usize,
    t: f64,
    output: &str,
) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let (mean, cov) = (&row.law.mean, &row.law.cov);
    let cell = |truth: Dd, scale: f64, cancellation: f64| Cell { truth, scale: scale.abs().max(truth.hi.abs()), cancellation, t };
    let whole = |f: &dyn Fn(usize) -> Cell| Some(((0..k * k).map(f).collect::<Vec<_>>(), k * k));
    let single = |c: Cell| Some((vec![c], 1));
    let entry = |index: Option<usize>, f: &dyn Fn(usize) -> Cell| index.and_then(|i| single(f(i)));
    let det = row.law.moments.det;
    let det_moves = row.det_moves(k);
    let diag_moves = |i: usize| row.rounding[i * k + i] / cov[i * k + i].hi;
    let lower_cell = |i: usize| row.lower(model, i, t);
    Ok(match quantity {
        "kernel.mean" => {
            let m = |i: usize| cell(mean[i], row.mean_scale[i], 0.0);
            match output {
                "matrix" => whole(&m),
                "mean" => {
                    let (u0, d) = read.block("u0", k)?;
                    Some((product(&m, u0, r, k, d), k * d))
                }
                name => entry(pair(name, k), &m),
            }
        }
        "kernel.cov" => {
            let c = |i: usize| {
                if model.reading.deviation_for_variance && i / k == i % k {
                    let root = cov[i].sqrt();
                    return cell(root, 0.5 * row.cov_scale[i] / root.hi, row.rounding[i] / root.hi);
                }
                cell(cov[i], row.cov_scale[i], row.rounding[i])
            };
            if output == "cov" { whole(&c) } else { entry(pair(output, k), &c) }
        }
        "kernel.factor" => {
            let cells = (0..k * k).map(lower_cell).collect::<Result<Vec<_>>>()?;
            if output == "factor" { whole(&|i| cells[i]) } else { entry(digits(output, k), &|i| cells[i]) }
        }
        "kernel.inverse_transpose_factor" => {
            let (f, _) = row.factors()?;
            let (l, it) = (&f[usize::from(model.reading.upper)], &f[3 + usize::from(model.reading.upper)]);
            let c = |i: usize| {
                let (a, b) = (i / k, i % k);
                let scale = if a != b && it[i] != 0.0 { row.cov_scale[b * k + a] / (l[a * k + a].powi(2) * l[b * k + b]) } else { it[i] };
                cell(Dd::from(it[i]), scale, it[i].abs() * (det_moves + diag_moves(0)))
            };
            if output == "factor" { whole(&c) } else { entry(digits(output, k), &c) }
        }
        "kernel.inverse" => {
            let (f, _) = row.factors()?;
            let c = |i: usize| {
                let scale = if k == 2 && i / k != i % k { row.cov_scale[i] / det } else { f[2][i] };
                cell(Dd::from(f[2][i]), scale, f[2][i].abs() * det_moves)
            };
            if output == "inverse" { whole(&c) } else { entry(pair(output, k), &c) }
        }
        "kernel.det" if output == "det" => match row.limit(0.0, t) {
            Some(limit) => single(limit),
            None => {
                row.factors()?;
                single(cell(Dd::from(det), det, det * det_moves))
            }
        },
        "kernel.logdet" if output == "logdet" => match row.limit(f64::NEG_INFINITY, t) {
            Some(limit) => single(limit),
            None => {
                let (_, l) = row.factors()?;
                single(cell(Dd::from(*l), l.abs().max(1.0), det_moves))
            }
        },
        "kernel.ell" => {
            if let Some(limit) = row.limit(f64::INFINITY, t) {
                return Ok(match output {
                    "ell" => single(limit),
                    "minus_ell" => single(Cell { truth: -limit.truth, ..limit }),
                    _ => None,
                });
            }
            let (f, _) = row.factors()?;
            let mut ell = 1.0 / f[0][k * k - 1];
            if model.reading.upper {
                ell = 1.0 / f[1][0];
            }
            if model.reading.ell_marginal {
                ell = 1.0 / cov[k * k - 1].sqrt().to_f64();
            }
            if model.reading.variance_for_factor {
                ell *= ell;
            }
            let c = cell(Dd::from(ell), ell, ell * (det_moves + diag_moves(0)));
            match output {
                "ell" => single(c),
                "minus_ell" => single(Cell { truth: -c.truth, ..c }),
                _ => None,
            }
        }
        "kernel.snr" if output == "snr" => {
            let v = mean[0] * mean[0] / cov[0];
            single(cell(v, v.hi + 2.0 * row.mean_scale[0] * mean[0].hi.abs() / cov[0].hi, v.hi * diag_moves(0)))
        }
        "kernel.std" => {
            let channel = CHANNELS[..k].iter().position(|c| *c == output).or((k == 1 && output == "std").then_some(0));
            channel.and_then(|i| {
                let root = cov[i * k + i].sqrt();
                let part = |x: f64| if root.hi == 0.0 { 0.0 } else { 0.5 * x / root.hi };
                single(cell(root, part(row.cov_scale[i * k + i]), part(row.rounding[i * k + i])))
            })
        }
        "kernel.sigma" if output == "sigma" => {
            let root = cov[0].sqrt();
            let v = root / mean[0];
            let size = v.hi.abs() * (1.0 + row.mean_scale[0] / mean[0].hi.abs());
            single(cell(v, size, 0.5 * v.hi.abs() * diag_moves(0)))
        }
        "kernel.logsnr" if output == "logsnr" => {
            let v = (mean[0] * mean[0] / cov[0]).ln();
            single(cell(v, v.hi.abs() + 1.0 + 2.0 * row.mean_scale[0] / mean[0].hi.abs(), diag_moves(0)))
        }
        "kernel.snr_joint" if output == "snr_joint" => {
            if let Some(limit) = row.limit(f64::INFINITY, t) {
                return Ok(single(limit));
            }
            let (f, _) = row.factors()?;
            let inv = &f[2];
            let pairs = (0..k * k).map(|i| mean[i / k * k] * mean[i % k * k] * Dd::from(inv[i]));
            let (v, scale) = pairs.fold((Dd::ZERO, 0.0), |(a, m), x| (a + x, m + x.hi.abs()));
            single(cell(v, scale, scale * det_moves))
        }
        "kernel.perturb" if output == "u_t" => {
            let (u0, d) = read.block("u0", k)?;
            let (noise, e) = read.block("noise", k)?;
            if e != d {
                return Err(Error::shape("noise", &[read.n, k * e], format!("({}, {}), as u0", read.n, k * d)));
            }
            let m = |i: usize| cell(mean[i], row.mean_scale[i], 0.0);
            let l = (0..k * k).map(lower_cell).collect::<Result<Vec<_>>>()?;
            let shared = model.reading.one_noise.filter(|i| *i < k).map(|i| {
                let copy = |n: usize| noise[r * k * d + i * d + n % d];
                let all = (0..noise.len()).map(|n| if n / (k * d) == r { copy(n % (k * d)) } else { noise[n] });
                all.collect::<Vec<f64>>()
            });
            let drawn = product(&|i| l[i], shared.as_deref().unwrap_or(noise), r, k, d);
            let cells = product(&m, u0, r, k, d).into_iter().zip(drawn);
            let sum = |(a, b): (Cell, Cell)| Cell {
                truth: a.truth + b.truth,
                scale: a.scale + b.scale,
                cancellation: a.cancellation + b.cancellation,
                t,
            };
            Some((cells.map(sum).collect(), k * d))
        }
        "kernel.score_from_eps" | "kernel.eps_from_score"
            if output == if quantity == "kernel.eps_from_score" { "eps" } else { "score" } =>
        {
            let (f, _) = row.factors()?;
            let back = quantity == "kernel.eps_from_score";
            let (v, d) = read.block(if back { "score" } else { "eps" }, k)?;
            let a = &f[(if back { 0 } else { 3 }) + usize::from(model.reading.upper)];
            let m = |i: usize| {
                let x = if back { a[i % k * k + i / k] } else { a[i] };
                cell(Dd::from(-x), x, x.abs() * det_moves)
            };
            Some((product(&m, v, r, k, d), k * d))
        }
        "kernel.x0_from_eps" if output == "x0" => {
            let (u, d) = read.block("u", k)?;
            let (eps, _) = read.block("eps", k)?;
            let (f, _) = row.factors()?;
            let at = |v: &[f64], c: usize| v[r * k * d + c];
            let cells = (0..d).map(|c| {
                let rest = Dd::from(at(u, c)) - Dd::prod(f[0][0], at(eps, c));
                // at late times Phi_xx underflows, and x0 is beyond f64: infinite, which is judged by nothing
                let x = rest / mean[0];
                let x = if x.to_f64().is_finite() { x } else { Dd::from(f64::INFINITY.copysign(rest.hi)) };
                cell(x, (at(u, c).abs() + f[0][0] * at(eps, c).abs()) / mean[0].hi.abs(), f[0][0] * diag_moves(0) * at(eps, c).abs())
            });
            Some((cells.collect(), d))
        }
        "kernel.log_density" | "kernel.score" => {
            let (u, d) = read.block("u", k)?;
            let (u0, _) = read.block("u0", k)?;
            let (f, logdet) = row.factors()?;
            let it = &f[3];
            let m = |i: usize| cell(mean[i], row.mean_scale[i], 0.0);
            let centre = product(&m, u0, r, k, d);
            let residual: Vec<(Dd, f64)> =
                (0..k * d).map(|c| (Dd::from(u[r * k * d + c]) - centre[c].truth, u[r * k * d + c].abs() + centre[c].scale)).collect();
            // w = L^-1 r, and the size of its terms
            let w: Vec<(Dd, f64)> = (0..k * d)
                .map(|n| {
                    let (i, c) = (n / d, n % d);
                    (0..=i).fold((Dd::ZERO, 0.0), |(s, m), j| {
                        let (a, (x, size)) = (it[j * k + i], residual[j * d + c]);
                        (s + Dd::from(a) * x, m + a.abs() * size)
                    })
                })
                .collect();
            match (quantity, output) {
                ("kernel.log_density", "log_density") => {
                    let (tau, det) = (model.reading.density_tau, model.reading.density_det);
                    let ln_tau = if tau { k as f64 * std::f64::consts::TAU.ln() } else { 0.0 };
                    let constant = Dd::from(-0.5 * d as f64) * (Dd::from(ln_tau) + Dd::from(if det { *logdet } else { 0.0 }));
                    let (sum, scale) =
                        w.iter().fold((constant, constant.hi.abs()), |(s, m), (x, size)| (s - (*x * *x).scale(0.5), m + x.hi.abs() * size));
                    single(cell(sum, scale, scale * det_moves))
                }
                ("kernel.score", "score") => {
                    let cells = (0..k * d).map(|n| {
                        let (i, c) = (n / d, n % d);
                        let (s, m) = (i..k).fold((Dd::ZERO, 0.0), |(s, m), j| {
                            let (a, (x, size)) = (it[i * k + j], w[j * d + c]);
                            (s - Dd::from(a) * x, m + a.abs() * size)
                        });
                        cell(s, m, m * det_moves)
                    });
                    Some((cells.collect(), k * d))
                }
                _ => None,
            }
        }
        _ => None,
    })
}

/// A matrix of cells times the vectors of row `r`, one per coordinate.
fn product(matrix: &dyn Fn(usize) -> Cell, v: &[f64], r: usize, k: usize, d: usize) -> Vec<Cell> {
    let mut out = Vec::with_capacity(k * d);
    for i in 0..k {
        for c in 0..d {
            let zero = Cell { truth: Dd::ZERO, scale: 0.0, cancellation: 0.0, t: matrix(0).t };
            out.push((0..k).fold(zero, |s, j| {
                let (m, x) = (matrix(i * k + j), v[r * k * d + j * d + c]);
                Cell {
                    truth: s.truth + m.truth * Dd::from(x),
                    scale: s.scale + m.scale * x.abs(),
                    cancellation: s.cancellation + m.cancellation * x.abs(),
                    t: s.t,
                }
            }));
        }
    }
    out
}
