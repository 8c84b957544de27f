//! What steps, scores, losses and likelihoods should be: the printed formulas in double words, from F, `G G^T` and the generic
//! route alone. Nothing here calls the samplers, scores or losses of the crate: those are judged by it, too.
//!
//! `s` is the score of the noised channels, `tau = h b(t)`, S the stationary covariance, `L L^T` the kernel's covariance.

use super::predict::{CHANNELS, Cell, Model, Reader, Row};
use super::reading::{HalfRate, SqrtDt};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::files::Array;
use crate::process::AnyMoments;

/// Settings of an entry that are not arrays: field, and the words it may have (empty: a number; `true`, `false` otherwise).
pub const OPTIONS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("t", &[]),
    ("dt", &[]),
    ("n_steps", &[]),
    ("eps", &[]),
    ("striding", &["linear", "quadratic"]),
    ("denoise", &["false", "true"]),
    ("probability_flow", &["false", "true"]),
    ("weighting", &["likelihood", "reweightedv1", "reweightedv2"]),
];

/// The name under which a setting travels among the inputs; a word is its index.
pub fn option_key(field: &str) -> String {
    format!("option.{field}")
}

/// The settings that a quantity takes.
pub fn options_of(quantity: &str) -> &'static [&'static str] {
    match quantity {
        "sampler.reverse_drift" => &["probability_flow"],
        "loss.per_sample" => &["weighting"],
        q if q.starts_with("sampler.run.") => &["n_steps", "striding", "eps", "denoise"],
        q if q.starts_with("sampler.step.") => &["clock", "t", "dt"],
        _ => &[],
    }
}

/// Inputs that have no row per sample.
pub(crate) fn whole_array(name: &str) -> bool {
    name.starts_with("option.") || matches!(name, "score_v_matrix" | "net_W" | "data" | "weights" | "means" | "stds")
}

/// Whether a quantity is one of this file's.
pub(crate) fn covers(quantity: &str) -> bool {
    ["sampler.", "score.", "loss.", "likelihood."].iter().any(|p| quantity.starts_with(p))
}

/// Channels that carry noise.
pub(crate) fn noised(model: &Model) -> Vec<usize> {
    let (k, g) = (model.channels(), model.process().noise_at(f64::MAX));
    (0..k).filter(|i| g[i * k + i] > 0.0).collect()
}

/// Whether a process has what the quantity needs.
///
/// # Errors
/// What is missing.
pub(crate) fn fits(quantity: &str, model: &Model) -> Result<()> {
    let (k, m) = (model.channels(), noised(model).len());
    let refuse =
        |needs: &'static str| Err(Error::parameter("quantity", format!("`{quantity}` for process `{}`", model.process().name()), needs));
    if quantity.contains(".sscs")
        && (model.process().stationary().is_none() || model.process().noise_at(0.0) != model.process().noise_at(1.0))
    {
        return refuse("a process with a stationary law and constant noise");
    }
    match quantity {
        "score.mixed" | "score.net_from_score" if k < 2 || m != 1 => refuse("a process with velocity, and noise in its last channel alone"),
        "loss.per_sample" if k != 2 || m != 1 => refuse("a process of x and v with noise in v alone"),
        "score.x0_from_eps" if k > 2 || m != 1 => refuse("a process of one or two channels with noise in the last one alone"),
        "score.eps_from_score" | "score.score_from_eps" | "loss.weight.likelihood" if m != 1 => {
            refuse("a process with noise in one channel")
        }
        "likelihood.mixture" if k > 2 => refuse("a process of one or two channels"),
        _ => Ok(()),
    }
}

fn exact(x: f64, t: f64) -> Cell {
    number(Dd::from(x), t)
}

fn number(x: Dd, t: f64) -> Cell {
    Cell { truth: x, scale: x.hi.abs(), cancellation: 0.0, t }
}

fn times(a: Cell, b: Cell) -> Cell {
    Cell { truth: a.truth * b.truth, scale: a.scale * b.scale, cancellation: a.cancellation * b.scale + a.scale * b.cancellation, t: a.t }
}

fn plus(a: Cell, b: Cell) -> Cell {
    Cell { truth: a.truth + b.truth, scale: a.scale + b.scale, cancellation: a.cancellation + b.cancellation, t: a.t }
}

/// A matrix of `rows` by `v.len() / d` cells times the channels of `v`.
fn apply(matrix: &[Cell], v: &[Cell], d: usize) -> Vec<Cell> {
    let b = v.len() / d;
    let zero = number(Dd::ZERO, v[0].t);
    (0..matrix.len() / b * d).map(|n| (0..b).fold(zero, |s, j| plus(s, times(matrix[n / d * b + j], v[j * d + n % d])))).collect()
}

fn add(a: Vec<Cell>, b: &[Cell]) -> Vec<Cell> {
    a.into_iter().zip(b).map(|(a, b)| plus(a, *b)).collect()
}

/// Inverse of a symmetric positive definite matrix, row-major, by elimination, and its determinant.
pub(super) fn inverse(cov: &[Dd], k: usize) -> Result<(Vec<Dd>, Dd)> {
    let (mut a, mut b) = (cov.to_vec(), (0..k * k).map(|n| Dd::from(f64::from(u8::from(n % (k + 1) == 0)))).collect::<Vec<_>>());
    let mut det = Dd::from(1.0);
    for p in 0..k {
        let pivot = a[p * k + p];
        if !(pivot.hi > 0.0) {
            return Err(Error::Degenerate { what: "the score".into(), why: "the covariance is singular".into() });
        }
        det = det * pivot;
        for j in 0..k {
            a[p * k + j] = a[p * k + j] / pivot;
            b[p * k + j] = b[p * k + j] / pivot;
        }
        for i in (0..k).filter(|i| *i != p) {
            let c = a[i * k + p];
            for j in 0..k {
                a[i * k + j] = a[i * k + j] - c * a[p * k + j];
                b[i * k + j] = b[i * k + j] - c * b[p * k + j];
            }
        }
    }
    Ok((b, det))
}

/// Where the score of a sampler comes from.
enum Source<'a> {
    /// Its values, at the place where the step evaluates it.
    Values(&'a [f64], usize),
    /// The score of the noised channel is `a x + b v`.
    Matrix(&'a [f64]),
    /// The exact score of data `N(mean, std^2)`.
    Gaussian(f64, f64),
}

/// What a sampler is given.
struct Sampler<'a> {
    model: &'a Model,
    noised: Vec<usize>,
    k: usize,
    d: usize,
    source: Source<'a>,
}

impl<'a> Sampler<'a> {
    fn new(model: &'a Model, read: &'a Reader<'_>, d: usize) -> Result<Self> {
        let (k, noised) = (model.channels(), noised(model));
        let source = if let Some(a) = read.inputs.get("score_v_matrix") {
            if a.data.len() != k || noised.len() != 1 {
                return Err(Error::shape("score_v_matrix", &a.shape, format!("({k},), for a process with noise in one channel")));
            }
            Source::Matrix(&a.data)
        } else if let Some(a) = read.inputs.get("data") {
            let [mean, std] = a.data[..] else { return Err(Error::shape("data", &a.shape, "(2,): mean and standard deviation")) };
            Source::Gaussian(mean, std)
        } else {
            let a = read.get("score")?;
            let width = if a.shape.len() == 2 { a.shape[1] / d } else { 0 };
            if a.shape.len() != 2 || a.shape[0] != read.n || a.shape[1] != width * d || (width != k && width != noised.len()) {
                return Err(Error::shape("score", &a.shape, format!("({}, {}): the noised channels, or all", read.n, noised.len() * d)));
            }
            Source::Values(&a.data, width)
        };
        Ok(Sampler { model, noised, k, d, source })
    }

    /// The score of the noised channels in state `u` of row `r` at time `t`.
    fn score(&self, r: usize, t: f64, u: &[Cell]) -> Result<Vec<Cell>> {
        let (k, d) = (self.k, self.d);
        match &self.source {
            Source::Values(s, width) => Ok((0..self.noised.len() * d)
                .map(|n| {
                    let channel = if *width == k { self.noised[n / d] } else { n / d };
                    exact(s[r * width * d + channel * d + n % d], t)
                })
                .collect()),
            Source::Matrix(a) => Ok(apply(&a.iter().map(|x| exact(*x, t)).collect::<Vec<_>>(), u, d)),
            Source::Gaussian(mean, std) => {
                let row = self.model.row(0.0, t)?;
                let (_, inv, _) = marginal(&row, k, *std)?;
                let minus: Vec<Cell> =
                    self.noised.iter().flat_map(|i| (0..k).map(|j| number(-inv[i * k + j], t)).collect::<Vec<_>>()).collect();
                let centred: Vec<Cell> =
                    u.iter().enumerate().map(|(n, x)| plus(*x, number(-(row.law.mean[n / d * k] * Dd::from(*mean)), t))).collect();
                Ok(apply(&minus, &centred, d))
            }
        }
    }

    /// `(-F, G G^T)` at `t`, and the rate there.
    fn sde(&self, t: f64) -> Result<(Vec<f64>, Vec<f64>, Dd)> {
        let (m, k) = (self.model, self.k);
        let span = m.span(0.0, t)?;
        let g = m.process().noise_at((span.start + span.tau).to_f64());
        let flip = |n: usize| if m.reading.flip_mean && (n / k + n % k) % 2 == 1 { 1.0 } else { -1.0 };
        let f = m.process().drift().iter().enumerate().map(|(n, f)| flip(n) * m.reading.drift_sign * f).collect();
        Ok((f, g, m.rate(t)))
    }

    /// `c (-F u + w G G^T s)`: the reverse drift, with c in place of b.
    fn drift(&self, t: f64, c: Dd, weight: f64, u: &[Cell], s: &[Cell]) -> Result<Vec<Cell>> {
        let (f, g, _) = self.sde(t)?;
        let (k, d) = (self.k, self.d);
        let mut out = apply(&f.iter().map(|x| number(Dd::from(*x) * c, t)).collect::<Vec<_>>(), u, d);
        for (l, &i) in self.noised.iter().enumerate() {
            let gain = number(Dd::from(weight * self.model.reading.score_sign * g[i * k + i]) * c, t);
            (0..d).for_each(|x| out[i * d + x] = plus(out[i * d + x], times(gain, s[l * d + x])));
        }
        Ok(out)
    }

    /// `u + tau (-F u + G G^T s) + sqrt(tau) G z`: an Euler-Maruyama step of length `h` from `t`, score taken at `when`.
    fn euler(&self, r: usize, t: f64, h: Dd, when: f64, u: &[Cell], z: Option<&[Cell]>) -> Result<Vec<Cell>> {
        let (k, d) = (self.k, self.d);
        let (_, g, rate) = self.sde(t)?;
        let s = self.score(r, when, u)?;
        let mut out = add(self.drift(t, h * rate, if self.model.reading.half_kick { 0.5 } else { 1.0 }, u, &s)?, u);
        if let Some(z) = z {
            let z = &self.shared(z);
            for &i in &self.noised {
                let root = match self.model.reading.sqrt_dt {
                    SqrtDt::Right => h.sqrt(),
                    SqrtDt::Missing => Dd::from(1.0),
                    SqrtDt::Dt => h,
                };
                let rate = if self.model.reading.rate_in_noise { rate } else { Dd::ONE };
                let size = number((rate * Dd::from(g[i * k + i])).sqrt() * root, t);
                (0..d).for_each(|x| out[i * d + x] = plus(out[i * d + x], times(size, z[i * d + x])));
            }
        }
        Ok(out)
    }

    /// The noise, with that of one channel in all of them where the reading says so.
    fn shared(&self, z: &[Cell]) -> Vec<Cell> {
        let from = |n: usize| self.model.reading.one_noise.filter(|i| *i < self.k).map_or(n, |i| i * self.d + n % self.d);
        (0..z.len()).map(|n| z[from(n)]).collect()
    }

    /// The exact transition of `S F^T S^-1`, `G G^T` over `[s, t]`, run backward: `Phi u + L z`.
    fn half(&self, t: f64, s: f64, start: f64, u: &[Cell], z: &[Cell]) -> Result<Vec<Cell>> {
        let reversed = self.model.reversed()?;
        let row = match self.model.reading.half_rate {
            HalfRate::Right => reversed.row(s, t)?,
            HalfRate::AtStep => reversed.row_over(s, t, Dd::diff(t, s) * self.model.rate(start))?,
            HalfRate::AtHalf => reversed.row_over(s, t, Dd::diff(t, s) * self.model.rate(t))?,
        };
        let z = &self.shared(z);
        let k = self.k;
        let mean: Vec<Cell> = (0..k * k).map(|n| Cell { truth: row.law.mean[n], scale: row.mean_scale[n], cancellation: 0.0, t }).collect();
        let lower = (0..k * k).map(|n| row.lower(reversed, n, t)).collect::<Result<Vec<_>>>()?;
        Ok(add(apply(&mean, u, self.d), &apply(&lower, z, self.d)))
    }

    /// Half step, `v + tau G G^T (s + S^-1 u)`, half step.
    fn sscs(&self, r: usize, (t, s): (f64, f64), h: Dd, first_half_twice: bool, u: &[Cell], z: [&[Cell]; 2]) -> Result<Vec<Cell>> {
        let (k, d) = (self.k, self.d);
        let middle = 0.5 * (t + s);
        let mut u = self.half(t, middle, t, u, z[0])?;
        let (_, g, rate) = self.sde(t)?;
        let score = self.score(r, if self.model.reading.score_at_end { s } else { t }, &u)?;
        let p = self.model.stationary_precision()?;
        let before = u.clone();
        for (l, &i) in self.noised.iter().enumerate() {
            let gain = number(h * rate * Dd::from(g[i * k + i] * if self.model.reading.half_kick { 0.5 } else { 1.0 }), t);
            for x in 0..d {
                let pull = (0..k).fold(times(number(Dd::from(self.model.reading.score_sign), t), score[l * d + x]), |a, j| {
                    plus(a, times(number(p[i * k + j], t), before[j * d + x]))
                });
                u[i * d + x] = plus(u[i * d + x], times(gain, pull));
            }
        }
        if first_half_twice != self.model.reading.other_half {
            self.half(t, middle, t, &u, z[1])
        } else {
            self.half(middle, s, t, &u, z[1])
        }
    }
}

/// `sqrt(b g)`. Where G depends on the clock (sub-VP), g = 1 - e^(-2 B) may have been computed by subtraction.
pub(super) fn diffusion(model: &Model, clock: f64, g: f64, rate: Dd, t: f64) -> Cell {
    let moves = if model.process().name() == "sub-vp" && clock < 1.0 { 0.5 * 2f64.powi(-53) / g } else { 0.0 };
    let root = (rate * Dd::from(g)).sqrt();
    Cell { cancellation: if g > 0.0 { root.hi * moves } else { 0.0 }, ..number(root, t) }
}

/// Determinant and factors of a covariance.
pub(super) fn moments(cov: &[Dd], k: usize) -> AnyMoments {
    let round = |v: &[Dd]| v.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let Ok((inv, det)) = inverse(cov, k) else {
        return AnyMoments { mean: vec![], cov: round(cov), det: 0.0, factors: None, log_det: f64::NEG_INFINITY };
    };
    let lower = |cov: &[Dd]| -> Vec<Dd> {
        let mut l = vec![Dd::ZERO; k * k];
        for j in 0..k {
            for i in j..k {
                let rest = (0..j).fold(cov[i * k + j], |s, n| s - l[i * k + n] * l[j * k + n]);
                l[i * k + j] = if i == j { rest.sqrt() } else { rest / l[j * k + j] };
            }
        }
        l
    };
    let back = |v: &[Dd]| -> Vec<Dd> { (0..k * k).map(|n| v[k * k - 1 - n]).collect() };
    let l = lower(cov);
    let u = back(&lower(&back(cov)));
    // L^-T = S^-1 L
    let transposed = |l: &[Dd]| -> Vec<f64> {
        (0..k * k).map(|n| (0..k).fold(Dd::ZERO, |s, m| s + inv[n / k * k + m] * l[m * k + n % k]).to_f64()).collect()
    };
    let log_det = det.ln().to_f64();
    let factors = Some(([round(&l), round(&u), round(&inv), transposed(&l), transposed(&u)], log_det));
    AnyMoments { mean: vec![], cov: round(cov), det: det.to_f64(), factors, log_det }
}

/// Covariance of `u_t` for data of deviation `std`, its inverse and determinant.
fn marginal(row: &Row, k: usize, std: f64) -> Result<(Vec<Dd>, Vec<Dd>, Dd)> {
    let var = Dd::prod(std, std);
    let cov: Vec<Dd> = (0..k * k).map(|n| row.law.cov[n] + var * row.law.mean[n / k * k] * row.law.mean[n % k * k]).collect();
    let (inv, det) = inverse(&cov, k)?;
    Ok((cov, inv, det))
}

/// Row `r` of a block, as cells.
fn row_of(a: &[f64], r: usize, width: usize, t: f64) -> Vec<Cell> {
    a[r * width..(r + 1) * width].iter().map(|x| exact(*x, t)).collect()
}

fn setting(read: &Reader<'_>, field: &str) -> Option<f64> {
    read.inputs.get(&option_key(field)).map(|a| a.data[0])
}

/// A block of (n, width) numbers.
fn plain<'a>(read: &'a Reader<'_>, name: &'static str, width: usize) -> Result<&'a [f64]> {
    let a = read.get(name)?;
    if a.shape != [read.n, width] {
        return Err(Error::shape(name, &a.shape, format!("({}, {width})", read.n)));
    }
    super::predict::finite(name, &a.data)?;
    Ok(&a.data)
}

/// Start, end and length of the step of each row: `t` and `s`, or the settings `clock` (1 - t) or `t`, and `dt`.
fn steps(model: &Model, read: &Reader<'_>) -> Result<Vec<(f64, f64, Dd)>> {
    if let Some(dt) = setting(read, "dt") {
        let t = match (setting(read, "t"), setting(read, "clock")) {
            (Some(t), _) => t,
            (None, Some(c)) => 1.0 - c,
            _ => return Err(Error::parameter("clock", "missing", "`t`, or `clock` (1 - t), beside `dt`")),
        };
        return check(model, vec![(t, (t - dt).max(0.0), Dd::from(dt)); read.n]);
    }
    let (t, s) = (read.times("t")?, read.times("s")?);
    check(model, t.into_iter().zip(s).map(|(t, s)| (t, s, Dd::diff(t, s))).collect())
}

fn check(model: &Model, steps: Vec<(f64, f64, Dd)>) -> Result<Vec<(f64, f64, Dd)>> {
    for (t, s, h) in &steps {
        model.check_time(*t)?;
        if !(*s >= 0.0 && s < t && h.hi > 0.0) {
            return Err(Error::time("s", *s, "0 <= s < t: a step goes from t back to s"));
        }
    }
    Ok(steps)
}

/// Times of a run: `n_steps` steps from 1 to `eps`; with `denoise` the last one goes on to 0.
fn grid(read: &Reader<'_>) -> Result<(Vec<f64>, bool)> {
    let need = |f: &'static str| setting(read, f).ok_or_else(|| Error::parameter(f, "missing", "n_steps, striding and eps"));
    let (n, eps, denoise) = (need("n_steps")?, need("eps")?, setting(read, "denoise").unwrap_or(0.0) == 1.0);
    if !((1.0..=1000.0).contains(&n) && n.fract() == 0.0) {
        return Err(Error::parameter("n_steps", n, "1 to 1000"));
    }
    if !(eps > 0.0 && eps < 1.0) {
        return Err(Error::parameter("eps", eps, "0 < eps < 1"));
    }
    let n = n as usize - usize::from(denoise);
    let quadratic = need("striding")? == 1.0;
    let at = |i: usize| {
        let r = (n - i) as f64 / n as f64;
        if i == 0 { 1.0 } else { eps + (1.0 - eps) * if quadratic { r * r } else { r } }
    };
    Ok(((0..=n).map(at).collect(), denoise))
}

/// The truth for one output; `None` for an output that the quantity has not.
pub(super) fn predict(quantity: &str, model: &Model, read: &Reader<'_>, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    fits(quantity, model)?;
    let k = model.channels();
    match quantity {
        "sampler.reverse_drift" => reverse_drift(model, read, output),
        q if q.starts_with("sampler.step.") => step(&q["sampler.step.".len()..], model, read, output),
        q if q.starts_with("sampler.run.") => run(&q["sampler.run.".len()..], model, read, output),
        "likelihood.mixture" => {
            let (u, d) = read.block("u", k)?;
            mixture(model, read, u, d, output)
        }
        "loss.per_sample" if output == "loss" => loss(model, read),
        _ => score(quantity, model, read, output),
    }
}

fn reverse_drift(model: &Model, read: &Reader<'_>, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let t = if read.inputs.contains_key("clock") { read.times("clock")?.iter().map(|c| 1.0 - c).collect() } else { read.times("t")? };
    let flow = setting(read, "probability_flow") == Some(1.0);
    let sampler = Sampler::new(model, read, d)?;
    let mut cells = Vec::new();
    for (r, &t) in t.iter().enumerate() {
        model.check_time(t)?;
        let (_, g, rate) = sampler.sde(t)?;
        match output {
            "drift" => {
                let u = row_of(u, r, k * d, t);
                let weight = if flow { 0.5 } else { 1.0 } * if model.reading.half_kick { 0.5 } else { 1.0 };
                cells.extend(sampler.drift(t, rate, weight, &u, &sampler.score(r, t, &u)?)?);
            }
            "diffusion" => cells.extend((0..k * d).map(|n| {
                let g = if flow { 0.0 } else { g[n / d * (k + 1)] };
                diffusion(model, model.span(0.0, t).map_or(0.0, |s| (s.start + s.tau).to_f64()), g, rate, t)
            })),
            _ => return Ok(None),
        }
    }
    Ok(Some((cells, k * d)))
}

fn step(name: &str, model: &Model, read: &Reader<'_>, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let sampler = Sampler::new(model, read, d)?;
    if output != "u_next" && !(output == "u_mean" && name == "em") {
        return Ok(None);
    }
    let halves = ["noise_1", "noise_2"];
    let mut cells = Vec::new();
    let wide: Vec<f64>;
    let noise = if name.starts_with("sscs") {
        &[]
    } else if read.inputs.contains_key("noise") {
        plain(read, "noise", k * d)?
    } else {
        let (x, v) = (plain(read, "noise_x", d)?, plain(read, "noise_v", d)?);
        wide = x.chunks(d).zip(v.chunks(d)).flat_map(|(x, v)| [x, v].concat()).collect();
        &wide
    };
    for (r, (t, s, h)) in steps(model, read)?.into_iter().enumerate() {
        let u = row_of(u, r, k * d, t);
        let when = if model.reading.score_at_end { s } else { t };
        let next = match name {
            "em" => {
                let z = row_of(noise, r, k * d, t);
                sampler.euler(r, t, h, when, &u, (output == "u_next").then_some(&z))?
            }
            "denoise" => {
                let z = row_of(noise, r, k * d, t);
                sampler.euler(r, t, h, when, &u, model.reading.denoise_noise.then_some(&z))?
            }
            _ => {
                let z = halves.map(|h| plain(read, h, k * d).map(|z| row_of(z, r, k * d, t)));
                let [a, b] = z;
                sampler.sscs(r, (t, s), h, name == "sscs-first-half-twice", &u, [&a?, &b?])?
            }
        };
        cells.extend(next);
    }
    Ok(Some((cells, k * d)))
}

fn run(name: &str, model: &Model, read: &Reader<'_>, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let sampler = Sampler::new(model, read, d)?;
    let channel = CHANNELS[..k].iter().position(|c| *c == output);
    if channel.is_none() && output != "u" {
        return Ok(None);
    }
    let (times, denoise) = grid(read)?;
    let n = times.len() - 1;
    let draws = if name == "em" { n } else { 2 * n };
    let noise = read.get("noise")?;
    if noise.shape != [draws, read.n, k * d] {
        return Err(Error::shape("noise", &noise.shape, format!("({draws}, {}, {}): one slice per draw, in order", read.n, k * d)));
    }
    super::predict::finite("noise", &noise.data)?;
    let mut cells = Vec::new();
    for r in 0..read.n {
        let mut state = row_of(u, r, k * d, f64::NAN);
        let z = |draw: usize, t: f64| row_of(&noise.data, draw * read.n + r, k * d, t);
        for i in 0..n {
            let (t, s) = (times[i], times[i + 1]);
            let h = Dd::diff(t, s);
            state = if name == "em" {
                sampler.euler(r, t, h, if model.reading.score_at_end { s } else { t }, &state, Some(&z(i, t)))?
            } else {
                sampler.sscs(r, (t, s), h, name == "sscs-first-half-twice", &state, [&z(2 * i, t), &z(2 * i + 1, t)])?
            };
        }
        if denoise {
            let eps = times[n];
            state = sampler.euler(r, eps, Dd::from(eps), eps, &state, None)?;
        }
        let t = f64::NAN;
        let state = state.into_iter().map(|c| Cell { t, ..c });
        match channel {
            Some(i) => cells.extend(state.skip(i * d).take(d)),
            None => cells.extend(state),
        }
    }
    Ok(Some((cells, if channel.is_some() { d } else { k * d })))
}

/// `ell = sqrt(S_xx/det)` and its like: the inverse deviation of the last channel given the others.
fn ell(model: &Model, row: &Row, t: f64) -> Result<Cell> {
    let k = model.channels();
    let (f, _) = row.factors()?;
    let l = if model.reading.ell_marginal { row.law.cov[k * k - 1].sqrt().recip().to_f64() } else { 1.0 / f[0][k * k - 1] };
    let l = if model.reading.variance_for_factor { l * l } else { l };
    Ok(Cell { truth: Dd::from(l), scale: l, cancellation: l * row.det_moves(k), t })
}

/// The mixed score's Gaussian part: `1 / S_vv` of HSM's kernel.
fn gaussian_part(model: &Model, t: f64) -> Result<Cell> {
    let k = model.channels();
    let gamma =
        model.declared_gamma.ok_or_else(|| Error::parameter("gamma", "missing", "a number >= 0: the mixed score has HSM's S_vv"))?;
    let row = model.row_of(0.0, t, gamma)?;
    let c = row.law.cov[k * k - 1];
    let inv = c.recip();
    Ok(Cell { truth: inv, scale: inv.hi, cancellation: row.rounding[k * k - 1] * inv.hi * inv.hi, t })
}

/// The parametrisations. Formulas: s_v = -ell eps_v; s_v = -v/S_vv - ell net; x_0 from the score of the noised channel.
fn score(quantity: &str, model: &Model, read: &Reader<'_>, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let wanted = match quantity {
        "score.mixed" | "score.score_from_eps" => "score",
        "score.eps_from_score" => "eps",
        "score.net_from_score" => "net_output",
        "score.x0_from_eps" => "x0",
        "loss.weight.likelihood" => "weight",
        _ => return Ok(None),
    };
    if output != wanted {
        return Ok(None);
    }
    let times_ = read.times("t")?;
    times_.iter().try_for_each(|t| model.check_time(*t))?;
    let mut cells = Vec::new();
    let width = |name: &str| read.inputs.get(name).map_or(1, |a| a.data.len() / read.n.max(1));
    let input = match quantity {
        "score.mixed" => "net_output",
        "score.score_from_eps" => "eps",
        "loss.weight.likelihood" => "t",
        _ => "score",
    };
    let d = width(input);
    let noised = noised(model);
    for (r, &t) in times_.iter().enumerate() {
        if quantity == "loss.weight.likelihood" {
            let span = model.span(0.0, t)?;
            let g = model.process().noise_at((span.start + span.tau).to_f64());
            let half = 0.5 * model.reading.weight;
            cells.push(number(model.rate(t) * Dd::from(half * g[noised[0] * (k + 1)]), t));
            continue;
        }
        let row = model.row(0.0, t)?;
        let given = row_of(plain(read, input, d)?, r, d, t);
        let last = |u: &[f64], c: usize| exact(u[r * k * d + (k - 1) * d + c], t);
        let minus = |c: Cell| Cell { truth: -c.truth, ..c };
        let inverse_of = |c: Cell| Cell {
            truth: c.truth.recip(),
            scale: 1.0 / c.truth.hi.abs(),
            cancellation: c.cancellation / (c.truth.hi * c.truth.hi),
            t,
        };
        let l = ell(model, &row, t)?;
        match quantity {
            "score.mixed" => {
                let (u, _) = (plain(read, "u", k * d)?, ());
                let part = gaussian_part(model, t)?;
                cells.extend((0..d).map(|c| minus(plus(times(part, last(u, c)), times(l, given[c])))));
            }
            "score.net_from_score" => {
                let u = plain(read, "u", k * d)?;
                let part = gaussian_part(model, t)?;
                cells.extend((0..d).map(|c| minus(times(inverse_of(l), plus(given[c], times(part, last(u, c)))))));
            }
            "score.score_from_eps" => cells.extend(given.iter().map(|e| minus(times(l, *e)))),
            "score.eps_from_score" => cells.extend(given.iter().map(|s| minus(times(inverse_of(l), *s)))),
            _ => {
                let u = plain(read, "u", k * d)?;
                let (m, q) = (&row.law.mean, &row.law.cov);
                let x = |c: usize| u[r * k * d + c];
                // the variance of the noised channel given the others, by which the score is multiplied
                let deviation = Dd::from(row.factors()?.0[0][k * k - 1]);
                let mut variance = deviation * deviation;
                if model.reading.variance_for_factor {
                    variance = variance * deviation;
                }
                for c in 0..d {
                    let s = given[c].truth;
                    // one channel: (x + S s)/Phi; two: x and v + L22^2 s are what mean and the noise of x alone leave
                    let (terms, over) = if k == 1 {
                        ([Dd::from(x(c)), variance * s, Dd::ZERO], m[0])
                    } else {
                        let v = Dd::from(u[r * k * d + d + c]);
                        ([q[1] * Dd::from(x(c)), -(q[0] * v), -(q[0] * variance * s)], q[1] * m[0] - q[0] * m[2])
                    };
                    let sum = terms[0] + terms[1] + terms[2];
                    let size: f64 = terms.iter().map(|x| x.hi.abs()).sum();
                    let value = sum / over;
                    // with the mean gone at late times, x_0 is beyond f64: infinite, which is judged by nothing
                    let value = if value.to_f64().is_finite() { value } else { Dd::from(f64::INFINITY.copysign(sum.hi)) };
                    let moves = row.det_moves(k) * terms[if k == 1 { 1 } else { 2 }].hi.abs()
                        + if k == 2 { row.rounding[1] * x(c).abs() + row.rounding[0] * u[r * k * d + d + c].abs() } else { 0.0 };
                    let over_moves =
                        if k == 2 { (row.rounding[1] * m[0].hi.abs() + row.rounding[0] * m[2].hi.abs()) / over.hi.abs() } else { 0.0 };
                    cells.push(Cell {
                        truth: value,
                        scale: size / over.hi.abs(),
                        cancellation: moves / over.hi.abs() + over_moves * size / over.hi.abs(),
                        t,
                    });
                }
            }
        }
    }
    Ok(Some((cells, if quantity == "loss.weight.likelihood" { 1 } else { d })))
}

/// Denoising score matching per sample, of `u_t = Phi u_0 + L z` and the mixed score: with D = s + ell z_v, summed over
/// coordinates, `likelihood` g b/2 D^2, `reweightedv1` g b/2 (D/ell)^2, `reweightedv2` (D/ell)^2; g = (G G^T)_vv.
fn loss(model: &Model, read: &Reader<'_>) -> Result<Option<(Vec<Cell>, usize)>> {
    let k = model.channels();
    let x0 = read.get("x0")?;
    let d = if x0.shape.len() == 2 { x0.shape[1] } else { 0 };
    let x0 = plain(read, "x0", d.max(1))?;
    let noise = plain(read, "noise", k * d)?;
    let hsm = model.hsm;
    let v_noise = if hsm { &[][..] } else { plain(read, "v_noise", d)? };
    let net_output = if read.inputs.contains_key("net_output") { Some(plain(read, "net_output", d)?) } else { None };
    let weights: Option<&Array> = if net_output.is_none() { Some(read.get("net_W")?) } else { None };
    if let Some(w) = weights.filter(|w| w.shape != [k * d, d]) {
        return Err(Error::shape("net_W", &w.shape, format!("({}, {d})", k * d)));
    }
    let t = if read.inputs.contains_key("uniform") {
        read.times("uniform")?.iter().map(|u| u * (1.0 - 1e-5) + 1e-5).collect()
    } else {
        read.times("t")?
    };
    let weighting = setting(read, "weighting").ok_or_else(|| Error::parameter("weighting", "missing", OPTIONS[8].1.join(", ")))?;
    let mut cells = Vec::new();
    for (r, &t) in t.iter().enumerate() {
        model.check_time(t)?;
        let row = model.row(0.0, t)?;
        let (f, _) = row.factors()?;
        let l = ell(model, &row, t)?;
        let part = gaussian_part(model, t)?;
        let z = row_of(noise, r, k * d, t);
        let shared = model.reading.one_noise.filter(|i| *i < k);
        let z: Vec<Cell> = (0..k * d).map(|n| z[shared.map_or(n, |i| i * d + n % d)]).collect();
        let deviation = (Dd::from(model.declared_gamma.unwrap_or(0.0)) * Dd::from(model.process().mass())).sqrt();
        let v0 = |c: usize| if hsm { Dd::ZERO } else { deviation * Dd::from(v_noise[r * d + c]) };
        let u0: Vec<Cell> = (0..k * d).map(|n| number(if n < d { Dd::from(x0[r * d + n]) } else { v0(n - d) }, t)).collect();
        let mean: Vec<Cell> = row.law.mean.iter().map(|m| number(*m, t)).collect();
        let lower: Vec<Cell> = f[0].iter().map(|m| exact(*m, t)).collect();
        let u = add(apply(&mean, &u0, d), &apply(&lower, &z, d));
        let net: Vec<Cell> = match (net_output, weights) {
            (Some(net), _) => row_of(net, r, d, t),
            (None, w) => {
                let w = w.map_or(&[][..], |w| &w.data);
                let inner = |c: usize| (0..k * d).fold(Dd::ZERO, |s, n| s + u[n].truth * Dd::from(w[n * d + c]));
                (0..d).map(|c| number(tanh(inner(c)), t)).collect()
            }
        };
        let span = model.span(0.0, t)?;
        let g = model.process().noise_at((span.start + span.tau).to_f64())[k * k - 1];
        let rate = model.rate(t) * Dd::from(0.5 * g * model.reading.weight);
        let mut sum = number(Dd::ZERO, t);
        for c in 0..d {
            // D/ell = z - net - v/(S_vv ell)
            let pull = part.truth * u[d + c].truth / l.truth;
            let e = z[d + c].truth - net[c].truth - pull;
            let size = z[d + c].scale + net[c].scale + pull.hi.abs();
            let moves = pull.hi.abs() * (part.cancellation / part.scale + l.cancellation / l.scale);
            sum = plus(sum, Cell { truth: e * e, scale: e.hi.abs() * size, cancellation: 2.0 * e.hi.abs() * moves, t });
        }
        let weight = match model.reading.weighting.unwrap_or(weighting as usize) {
            0 => times(number(rate, t), times(l, l)),
            1 => number(rate, t),
            _ => exact(1.0, t),
        };
        cells.push(times(times(weight, exact(model.reading.loss, t)), sum));
    }
    Ok(Some((cells, 1)))
}

fn tanh(x: Dd) -> Dd {
    let e = x.abs().scale(2.0).exp_m1();
    let t = e / (e + Dd::from(2.0));
    if x.hi < 0.0 { -t } else { t }
}

/// Log-density of a mixture of isotropic normals, each pushed through the process: weights (J), means (J, d), stds (J).
fn mixture(model: &Model, read: &Reader<'_>, u: &[f64], d: usize, output: &str) -> Result<Option<(Vec<Cell>, usize)>> {
    if output != "log_density" {
        return Ok(None);
    }
    let k = model.channels();
    let (w, m, s) = (read.get("weights")?, read.get("means")?, read.get("stds")?);
    let j = w.data.len();
    if j == 0 || m.shape != [j, d] || s.data.len() != j {
        return Err(Error::shape("means", &m.shape, format!("({j}, {d}), with {j} weights and stds")));
    }
    if let Some(bad) = w.data.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
        return Err(Error::parameter("weights", bad, "finite numbers >= 0, not all of them 0"));
    }
    if w.data.iter().all(|w| *w == 0.0) {
        return Err(Error::parameter("weights", "all 0", "finite numbers >= 0, not all of them 0"));
    }
    if let Some(bad) = s.data.iter().find(|s| !(**s >= 0.0 && s.is_finite())) {
        return Err(Error::parameter("stds", bad, "finite numbers >= 0"));
    }
    super::predict::finite("means", &m.data)?;
    let mut cells = Vec::new();
    for (r, &t) in read.times("t")?.iter().enumerate() {
        model.check_time(t)?;
        let row = model.row(0.0, t)?;
        let mut logs = Vec::new();
        let mut scale = 0.0f64;
        // a component of weight 0 is not there: log 0 = -infinity adds nothing
        for i in (0..j).filter(|i| w.data[*i] > 0.0) {
            let (_, inv, det) = marginal(&row, k, s.data[i])?;
            let ln_tau = Dd::from(if model.reading.density_tau { std::f64::consts::TAU.ln() } else { 0.0 });
            let det = if model.reading.density_det { det } else { Dd::ONE };
            let mut log = Dd::from(w.data[i]).ln() - (det.ln() + ln_tau * Dd::from(k as f64)).scale(0.5) * Dd::from(d as f64);
            let mut size = log.hi.abs() + d as f64;
            for c in 0..d {
                let e: Vec<Dd> =
                    (0..k).map(|a| Dd::from(u[r * k * d + a * d + c]) - row.law.mean[a * k] * Dd::from(m.data[i * d + c])).collect();
                for n in 0..k * k {
                    let term = (e[n / k] * inv[n] * e[n % k]).scale(0.5);
                    log = log - term;
                    size += term.hi.abs();
                }
            }
            logs.push((log, size));
        }
        let top = logs.iter().copied().max_by(|a, b| a.0.hi.total_cmp(&b.0.hi)).map_or(Dd::ZERO, |x| x.0);
        let (mut sum, mut moves) = (Dd::ZERO, 0.0);
        for (log, size) in &logs {
            let weight = (*log - top).exp();
            sum = sum + weight;
            moves += weight.hi * size;
        }
        scale = scale.max(moves / sum.hi);
        cells.push(Cell { truth: top + sum.ln(), scale, cancellation: 0.0, t });
    }
    Ok(Some((cells, 1)))
}
