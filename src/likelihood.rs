//! Log-likelihoods: by the probability flow, with the velocity's entropy, and from below through
//! the SDE; bits per dimension.
//!
//! ```text
//! du/dt = b (F u - 1/2 G G^T s),   d log p(u_t)/dt = -div,   div = b (dim tr F - 1/2 sum_i (G G^T)_ii div_i s_i)
//! log p_eps(u) = log p_1(u_1) + integral of div from eps to 1
//! ```
//!
//! The flow starts at `eps`, not 0, since scores grow without bound there: what comes out is the
//! density at `eps`. At the other end stands the prior, as a model has it, or any law, such as the
//! exact one at t = 1 ([`Terminal`]).
//!
//! Velocities have no data. With `q = N(0, gamma M)`, the law they start from, Jensen's inequality
//! gives
//!
//! ```text
//! log p(x) = log E_q[p(x, v)/q(v)] >= E_q[log p(x, v)] + H(q)
//! log p(x) >= E log (1/N sum_n p(x, v_n)/q(v_n)),  growing with N
//! ```
//!
//! The first is an equality where v given x has the law q, as it has at t = 0.
//! Source: CLD, part and appendix on likelihood; Song et al. 2021, sec. 4.3; Burda, Grosse,
//! Salakhutdinov 2016.
//!
//! # Example
//! ```
//! use cld_sgm::Diffusion;
//! use cld_sgm::data::{Component, Mixture};
//! use cld_sgm::likelihood::{Likelihood, Terminal, Trace};
//! use cld_sgm::score::MixtureScore;
//!
//! let d = Diffusion::paper()?;
//! let data = Mixture::new(vec![Component::round(1.0, vec![0.5], 1.0)])?; // N(0.5, 1)
//! let score = MixtureScore::new(d.clone(), data);
//! // dimension 1, from t = 1e-5, tolerance 1e-6
//! let likelihood = Likelihood::new(&d, 1, 1e-5, 1e-6, Terminal::Prior)?;
//! let joint = likelihood.log_joint(&Trace::Exact(&score), &[&[0.5], &[0.0]])?;
//! // log N(0.5; 0.5, 1) + log N(0; 0, gamma M), gamma M = 0.01
//! let exact = -0.5 * std::f64::consts::TAU.ln() - 0.5 * (std::f64::consts::TAU * 0.01).ln();
//! assert!((joint.values[0].value - exact).abs() < 0.01);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

use crate::diffusion::Diffusion;
use crate::error::{Error, Result, check};
use crate::kernel::{KernelValues, Objective, kernel_values};
use crate::metrics::Estimate;
use crate::sampler::flow::{Counts, check_tolerance, dormand_prince, slope};
use crate::score::gaussian::precision;
use crate::score::{Gaussian, MixtureScore, Score};
use crate::simd::normal::{normals, threefry};
use crate::small::Square;

/// A score that knows its divergence.
pub trait Divergence: Score {
    /// For each noised channel c the trace over a row's coordinates of `d s_c / d u_c`: one slice
    /// per noised channel, one number per row. `u` as for [`Score::score`].
    ///
    /// # Errors
    /// Of the model's own.
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()>;
}

impl Divergence for Gaussian {
    /// `-dim (C_t^-1)_cc`. Formula: likelihood.gaussian_divergence.
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (_, cov) = self.law(t)?;
        let length = u.first().map_or(0, |c| c.len());
        let inverse = precision(&cov).ok_or_else(|| Error::Degenerate {
            what: "the score".into(),
            why: format!("the covariance at t = {t:e} is singular"),
        })?;
        for (&c, out) in self.diffusion().noised().iter().zip(out) {
            let dim = length as f64 / out.len() as f64;
            out.fill(-dim * inverse[(c, c)]);
        }
        Ok(())
    }
}

impl Divergence for MixtureScore {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        MixtureScore::divergence(self, t, u, out)
    }
}

/// A joint log-density: of a batch, one slice per channel, it writes one number per row.
pub type LogDensity<'a> = dyn Fn(&[&[f64]], &mut [f64]) -> Result<()> + Sync + 'a;

/// The law at t = 1 from which the likelihood counts.
#[derive(Clone, Copy)]
pub enum Terminal<'a> {
    /// The prior, from which samplers start: the model's own likelihood.
    Prior,
    /// Another.
    Law(&'a LogDensity<'a>),
}

/// The law of Hutchinson's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Signs: the smaller variance, none for a diagonal Jacobian. Under CLD 30 to 200 times less
    /// error than normals (mixtures in three dimensions).
    Rademacher,
    /// Standard normals.
    Gaussian,
}

/// How the divergence is found.
#[derive(Clone, Copy)]
pub enum Trace<'a> {
    /// By the score itself.
    Exact(&'a dyn Divergence),
    /// `E[e^T J e]` over probes e that stay the same along the flow, J e by central differences.
    /// The step is `6e-6`, the cube root of f64's epsilon, times the deviation of the channel given
    /// the data and the other channels, below which no exact score varies: truncation and rounding
    /// are both near 1e-10 of the trace. Formula: likelihood.hutchinson. Source: Hutchinson 1990;
    /// Grathwohl et al. 2019.
    Hutchinson {
        /// The score.
        score: &'a dyn Score,
        /// Probes for each row, at least 1; the standard error needs 2.
        probes: usize,
        /// Their law.
        law: Probe,
        /// Their seed.
        seed: u64,
    },
}

impl Trace<'_> {
    fn score(&self) -> &dyn Score {
        match self {
            Trace::Exact(s) => s,
            Trace::Hutchinson { score, .. } => score,
        }
    }
}

/// Joint log-likelihoods of a batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Joint {
    /// One per row, in nats. The standard error is that of the probes: 0 for an exact divergence,
    /// NaN for a single probe.
    pub values: Vec<Estimate>,
    /// Where the flow arrives at t = 1, one vector per channel.
    pub end: Vec<Vec<f64>>,
    /// What the integration took.
    pub counts: Counts,
}

/// Lower bounds on log p(x), both with standard errors over the draws of velocities.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct VelocityBound {
    /// `E_q[log p(x, v)] + H(q)`.
    pub plain: Estimate,
    /// `log (1/N sum p(x, v_n)/q(v_n))` with all draws: tighter in expectation; its error by the
    /// delta method.
    pub weighted: Estimate,
}

/// What to compute likelihoods under.
#[derive(Clone, Copy)]
pub struct Likelihood<'a> {
    diffusion: &'a Diffusion,
    dim: usize,
    eps: f64,
    tolerance: f64,
    terminal: Terminal<'a>,
}

/// Log-density of `N(0, cov (x) 1)`, one number per row.
fn normal_log_density(cov: &Square, dim: usize, u: &[&[f64]], out: &mut [f64]) -> Result<()> {
    let k = u.len();
    let mut l = *cov;
    for i in 0..k {
        for j in 0..=i {
            let s: f64 = cov[(i, j)] - (0..j).map(|m| l[(i, m)] * l[(j, m)]).sum::<f64>();
            l[(i, j)] = if i == j { s.sqrt() } else { s / l[(j, j)] };
        }
        if !(l[(i, i)] > 0.0) {
            return Err(Error::Degenerate {
                what: "the prior's density".into(),
                why: format!("its covariance {cov:?} is singular"),
            });
        }
    }
    let log: f64 =
        (0..k).map(|i| l[(i, i)].ln()).sum::<f64>() + 0.5 * k as f64 * std::f64::consts::TAU.ln();
    let mut w = vec![0.0; k];
    for (row, o) in out.iter_mut().enumerate() {
        *o = -log * dim as f64;
        for at in row * dim..(row + 1) * dim {
            for i in 0..k {
                w[i] = (u[i][at] - (0..i).map(|m| l[(i, m)] * w[m]).sum::<f64>()) / l[(i, i)];
                *o -= 0.5 * w[i] * w[i];
            }
        }
    }
    Ok(())
}

/// Standard normals of a stream, `n` to each slice.
fn draw(seed: u64, name: &[u8; 8], slices: usize, n: usize) -> Vec<Vec<f64>> {
    let mut all = vec![vec![0.0; n]; slices + slices % 2];
    for (pair, two) in all.chunks_mut(2).enumerate() {
        if let [a, b] = two {
            normals([seed, u64::from_be_bytes(*name)], 0, pair as u64, [a, b]);
        }
    }
    all.truncate(slices);
    all
}

/// Uniform on [0, 1).
fn uniform(seed: u64, name: &[u8; 8], i: u64, j: u64) -> f64 {
    (threefry([i, j], [seed, u64::from_be_bytes(*name)])[0] >> 11) as f64 * 2f64.powi(-53)
}

impl<'a> Likelihood<'a> {
    /// Rows of `dim` coordinates, from time `eps` on, integrated to `tolerance` a step (as
    /// [`dormand_prince`] has it).
    ///
    /// # Errors
    /// Unless `dim >= 1`, `0 < eps < 1` and the tolerance is in [1e-14, 1].
    pub fn new(
        diffusion: &'a Diffusion,
        dim: usize,
        eps: f64,
        tolerance: f64,
        terminal: Terminal<'a>,
    ) -> Result<Self> {
        if dim == 0 {
            return Err(Error::parameter("dim", dim, "at least 1"));
        }
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::time("eps", eps, "0 < eps < 1"));
        }
        check_tolerance(tolerance)?;
        Ok(Likelihood {
            diffusion,
            dim,
            eps,
            tolerance,
            terminal,
        })
    }

    /// Length of a channel, whose shape and values are checked.
    fn length(&self, name: &'static str, u: &[&[f64]], channels: usize) -> Result<usize> {
        let shape: Vec<usize> = u.iter().map(|c| c.len()).collect();
        let n = shape.first().copied().unwrap_or(0);
        if shape.len() != channels
            || n == 0
            || !n.is_multiple_of(self.dim)
            || shape.iter().any(|m| *m != n)
        {
            let allowed = format!(
                "{channels} slices (channels) of one length, a multiple of dim = {}",
                self.dim
            );
            return Err(Error::shape(name, &shape, allowed));
        }
        match u.iter().flat_map(|c| c.iter()).find(|x| !x.is_finite()) {
            Some(x) => Err(Error::parameter(name, x, "finite values")),
            None => Ok(n),
        }
    }

    fn terminal(&self, u: &[&[f64]], out: &mut [f64]) -> Result<()> {
        match self.terminal {
            Terminal::Prior => normal_log_density(&self.diffusion.prior(), self.dim, u, out),
            Terminal::Law(law) => law(u, out),
        }
    }

    /// The probability flow from one time to another, either way: forward it encodes, backward it
    /// decodes. Formula: likelihood.flow. Source: Song et al. 2021, sec. 4.3.
    ///
    /// # Errors
    /// Shapes; times outside [0, 1]; the score's own; the integrator's.
    pub fn flow(
        &self,
        score: &dyn Score,
        u: &[&[f64]],
        from: f64,
        to: f64,
    ) -> Result<(Vec<Vec<f64>>, Counts)> {
        let n = self.length("u", u, self.diffusion.channels())?;
        for (name, t) in [("from", from), ("to", to)] {
            if !(0.0..=1.0).contains(&t) {
                return Err(Error::time(name, t, "0 <= t <= 1"));
            }
        }
        let mut scores = vec![vec![0.0; n]; self.diffusion.noised().len()];
        let mut y = u.concat();
        let mut f = |t: f64, y: &[f64], out: &mut [f64]| {
            let channels: Vec<&[f64]> = y.chunks(n).collect();
            let mut out: Vec<&mut [f64]> = out.chunks_mut(n).collect();
            slope(self.diffusion, t, &channels, score, &mut scores, &mut out)
        };
        let counts = dormand_prince(&mut f, &mut y, from, to, self.tolerance)?;
        Ok((y.chunks(n).map(<[f64]>::to_vec).collect(), counts))
    }

    /// Probes: for each, one slice per noised channel.
    fn probes(&self, trace: &Trace, n: usize) -> Result<Vec<Vec<Vec<f64>>>> {
        let Trace::Hutchinson {
            probes, law, seed, ..
        } = *trace
        else {
            return Ok(vec![]);
        };
        if probes == 0 {
            return Err(Error::parameter("probes", probes, "at least 1"));
        }
        let noised = self.diffusion.noised().len();
        let mut all = draw(seed, b"hutchins", probes * noised, n);
        if law == Probe::Rademacher {
            // the sign of a normal is a fair one
            all.iter_mut()
                .flatten()
                .for_each(|x| *x = 1f64.copysign(*x));
        }
        Ok(all.chunks(noised).map(<[_]>::to_vec).collect())
    }

    /// `sum_i (G G^T)_ii div_i s_i` at one time: one block of rows for the exact trace, or one per
    /// probe.
    fn trace(
        &self,
        trace: &Trace,
        probes: &[Vec<Vec<f64>>],
        t: f64,
        u: &[&[f64]],
        out: &mut [f64],
    ) -> Result<()> {
        let (noised, n) = (self.diffusion.noised(), u[0].len());
        let noise = self.diffusion.noise(t);
        let rows = n / self.dim;
        out.fill(0.0);
        match trace {
            Trace::Exact(score) => {
                let mut traces = vec![vec![0.0; rows]; noised.len()];
                let mut views: Vec<&mut [f64]> = traces.iter_mut().map(Vec::as_mut_slice).collect();
                score.divergence(t, u, &mut views)?;
                for (&c, trace) in noised.iter().zip(&traces) {
                    out.iter_mut()
                        .zip(trace)
                        .for_each(|(o, d)| *o += noise[(c, c)] * d);
                }
            }
            Trace::Hutchinson { score, .. } => {
                let inverse = self.diffusion.kernel(t)?.inv;
                let step = |c: usize| f64::EPSILON.cbrt() / inverse[(c, c)].sqrt();
                for (probe, out) in probes.iter().zip(out.chunks_mut(rows)) {
                    let plus = score_moved(*score, noised, t, u, probe, &step)?;
                    let minus = score_moved(*score, noised, t, u, probe, &|c| -step(c))?;
                    for (l, &c) in noised.iter().enumerate() {
                        let scale = noise[(c, c)] / (2.0 * step(c));
                        for (i, e) in probe[l].iter().enumerate() {
                            out[i / self.dim] += scale * e * (plus[l][i] - minus[l][i]);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// `log p_eps(u)` of each row, by the flow. Formula: likelihood.joint. Source: Song et al.
    /// 2021, sec. 4.3; Chen et al. 2018.
    ///
    /// # Errors
    /// Shapes; no probe; the score's own; the integrator's; a singular prior.
    pub fn log_joint(&self, trace: &Trace, u: &[&[f64]]) -> Result<Joint> {
        let k = self.diffusion.channels();
        let n = self.length("u", u, k)?;
        let rows = n / self.dim;
        let probes = self.probes(trace, n)?;
        let blocks = probes.len().max(1);
        let drift: f64 =
            (0..k).map(|i| self.diffusion.drift()[(i, i)]).sum::<f64>() * self.dim as f64;
        let mut scores = vec![vec![0.0; n]; self.diffusion.noised().len()];
        let mut y = u.concat();
        y.resize(k * n + blocks * rows, 0.0);
        let mut f = |t: f64, y: &[f64], out: &mut [f64]| {
            let channels: Vec<&[f64]> = y[..k * n].chunks(n).collect();
            let (state, logs) = out.split_at_mut(k * n);
            let mut state: Vec<&mut [f64]> = state.chunks_mut(n).collect();
            slope(
                self.diffusion,
                t,
                &channels,
                trace.score(),
                &mut scores,
                &mut state,
            )?;
            self.trace(trace, &probes, t, &channels, logs)?;
            let b = self.diffusion.rate(t);
            logs.iter_mut().for_each(|o| *o = b * (drift - 0.5 * *o));
            Ok(())
        };
        let counts = dormand_prince(&mut f, &mut y, self.eps, 1.0, self.tolerance)?;
        let end: Vec<Vec<f64>> = y[..k * n].chunks(n).map(<[f64]>::to_vec).collect();
        let slices: Vec<&[f64]> = end.iter().map(Vec::as_slice).collect();
        let mut logs = vec![0.0; rows];
        self.terminal(&slices, &mut logs)?;
        let values = (0..rows).map(|r| {
            let all: Vec<f64> = (0..blocks).map(|b| y[k * n + b * rows + r]).collect();
            let mut e = Estimate::of(&all);
            if probes.len() == 1 {
                e.error = f64::NAN;
            }
            Estimate {
                value: logs[r] + e.value,
                ..e
            }
        });
        Ok(Joint {
            values: values.collect(),
            end,
            counts,
        })
    }

    /// Variances of the velocities (v and every further channel) a process starts with.
    fn velocity_variances(&self) -> Result<Vec<f64>> {
        let variances = self.diffusion.initial().split_off(1);
        if !variances.is_empty() && variances.iter().all(|v| *v > 0.0) {
            Ok(variances)
        } else {
            Err(Error::parameter(
                "gamma",
                self.diffusion.gamma(),
                "above 0, for a process with a velocity",
            ))
        }
    }

    /// Standard normals, one vector for each velocity, as velocities.
    fn velocities(&self, mut normals: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        for (v, variance) in normals.iter_mut().zip(self.velocity_variances()?) {
            v.iter_mut().for_each(|v| *v *= variance.sqrt());
        }
        Ok(normals)
    }

    /// Entropy of the velocities of a row, `dim (K - 1)/2 log(2 pi e gamma M)`. Formula:
    /// likelihood.velocity_entropy. Source: CLD, part on likelihood.
    ///
    /// # Errors
    /// A diffusion without velocity, or with gamma 0.
    pub fn velocity_entropy(&self) -> Result<f64> {
        let log = |v: &f64| (std::f64::consts::TAU * std::f64::consts::E * v).ln();
        Ok(0.5 * self.dim as f64 * self.velocity_variances()?.iter().map(log).sum::<f64>())
    }

    /// `log q(v)` of each row.
    fn velocity_log_density(&self, v: &[&[f64]], out: &mut [f64]) -> Result<()> {
        normal_log_density(
            &Square::diagonal(&self.velocity_variances()?),
            self.dim,
            v,
            out,
        )
    }

    /// Lower bounds on `log p(x)` for rows x, from `draws` velocities each. The entropy is
    /// estimated by the same draws, `-log q(v)` for H(q): the mean is the same, and the error
    /// vanishes with the gap. With Hutchinson's trace the plain bound keeps its mean; the weighted
    /// one is then too high by half the probes' variance. Formula: likelihood.velocity_bound,
    /// likelihood.weighted_bound. Source: CLD, part on likelihood; Burda et al. 2016.
    ///
    /// # Errors
    /// As [`log_joint`](Self::log_joint) and [`velocity_entropy`](Self::velocity_entropy); fewer
    /// than 2 draws.
    pub fn velocity_bound(
        &self,
        trace: &Trace,
        x: &[f64],
        draws: usize,
        seed: u64,
    ) -> Result<Vec<VelocityBound>> {
        let n = self.length("x", &[x], 1)?;
        if draws < 2 {
            return Err(Error::parameter("draws", draws, "at least 2"));
        }
        let u = draw(seed, b"velocity", self.diffusion.channels() - 1, n * draws);
        let mut u = self.velocities(u)?;
        let repeated = x
            .chunks(self.dim)
            .flat_map(|row| row.repeat(draws))
            .collect();
        u.insert(0, repeated);
        let slices: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
        let joint = self.log_joint(trace, &slices)?;
        let mut q = vec![0.0; n / self.dim * draws];
        self.velocity_log_density(&slices[1..], &mut q)?;
        let bounds = joint
            .values
            .chunks(draws)
            .zip(q.chunks(draws))
            .map(|(values, q)| {
                let ratios: Vec<f64> = values.iter().zip(q).map(|(e, q)| e.value - q).collect();
                let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean =
                    Estimate::of(&ratios.iter().map(|r| (r - most).exp()).collect::<Vec<_>>());
                VelocityBound {
                    plain: Estimate::of(&ratios),
                    weighted: Estimate {
                        value: most + mean.value.ln(),
                        error: mean.error / mean.value,
                    },
                }
            });
        Ok(bounds.collect())
    }

    /// Lower bound on `log p_eps(u)` of each row through the SDE,
    ///
    /// ```text
    /// E[log p_1(u_1)] + integral over t of b (dim tr F - E[1/2 s^T G G^T s + s^T G G^T w]),   w = -grad log p(u_t | u) = L^-T xi
    /// ```
    ///
    /// that is `1/2 (|s - grad log p(u_t | u)|^2 - |grad log p(u_t | u)|^2)` under the integral:
    /// denoising score matching. By integration by parts `E[s . w] = E[div s]`, so no divergence is
    /// needed. Times are stratified, one in each of `times` equal parts of r in [0, 1], t = eps +
    /// (1 - eps) r^2, since most of the variance is near the data; noise is antithetic, which keeps
    /// `s . w` bounded as t comes to eps. The standard error is over `draws` independent
    /// repetitions. For the exact score and the exact law at t = 1 the bound is an equality.
    /// Formula: likelihood.evidence. Source: CLD app. on likelihood; Song et al. 2021 (maximum
    /// likelihood training), thm. 3.
    ///
    /// # Errors
    /// Shapes; no time, fewer than 2 draws; the score's own; a singular prior.
    pub fn evidence(
        &self,
        score: &dyn Score,
        u: &[&[f64]],
        times: usize,
        draws: usize,
        seed: u64,
    ) -> Result<Vec<Estimate>> {
        let k = self.diffusion.channels();
        self.length("u", u, k)?;
        let still: Vec<Vec<f64>> = u.iter().map(|c| c.to_vec()).collect();
        let sampling = Sampling { times, draws, seed };
        self.evidence_from(score, &|_| still.clone(), false, sampling)
    }

    /// Lower bound on `log p_eps(x)` of rows x: [`evidence`](Self::evidence) with a velocity drawn
    /// anew for each repetition, less `log q(v)` of that velocity, whose mean is the entropy.
    /// Formula: likelihood.evidence_bound. Source: CLD, part and appendix on likelihood.
    ///
    /// # Errors
    /// As [`evidence`](Self::evidence) and [`velocity_entropy`](Self::velocity_entropy).
    pub fn evidence_bound(
        &self,
        score: &dyn Score,
        x: &[f64],
        times: usize,
        draws: usize,
        seed: u64,
    ) -> Result<Vec<Estimate>> {
        let n = self.length("x", &[x], 1)?;
        self.velocity_variances()?;
        let start = |d: u64| {
            let u = draw(
                seed.wrapping_add(d),
                b"evidvelo",
                self.diffusion.channels() - 1,
                n,
            );
            let mut u = self.velocities(u).unwrap_or_default();
            u.insert(0, x.to_vec());
            u
        };
        self.evidence_from(score, &start, true, Sampling { times, draws, seed })
    }

    /// [`evidence`](Self::evidence), each repetition from its own start, less `log q(v)` where
    /// velocities are drawn.
    fn evidence_from(
        &self,
        score: &dyn Score,
        start: &dyn Fn(u64) -> Vec<Vec<f64>>,
        drawn: bool,
        sampling: Sampling,
    ) -> Result<Vec<Estimate>> {
        let Sampling { times, draws, .. } = sampling;
        if times == 0 || draws < 2 {
            return Err(Error::parameter(
                "times, draws",
                format!("{times}, {draws}"),
                "at least 1 and 2",
            ));
        }
        let k = self.diffusion.channels();
        let trace: f64 =
            (0..k).map(|i| self.diffusion.drift()[(i, i)]).sum::<f64>() * self.dim as f64;
        let drift = trace * self.diffusion.schedule().integral(self.eps, 1.0)?;
        let rows = start(0)[0].len() / self.dim;
        let mut values = vec![vec![0.0; draws]; rows];
        for d in 0..draws {
            let u = start(d as u64);
            let mut bound = vec![0.0; rows];
            if drawn {
                let velocities: Vec<&[f64]> = u[1..].iter().map(Vec::as_slice).collect();
                self.velocity_log_density(&velocities, &mut bound)?;
            }
            bound.iter_mut().for_each(|q| *q = drift - *q);
            self.add_times(score, &u, sampling.of_draw(d), &mut bound)?;
            values.iter_mut().zip(bound).for_each(|(v, b)| v[d] = b);
        }
        let found: Vec<Estimate> = values.iter().map(|v| Estimate::of(v)).collect();
        match found.iter().all(|e| e.value.is_finite()) {
            true => Ok(found),
            false => Err(Error::NonFinite {
                step: times,
                t: 1.0,
            }),
        }
    }

    /// One draw's `log p_1(u_1)` and its integral over t, added to the bound of each row.
    fn add_times(
        &self,
        score: &dyn Score,
        u: &[Vec<f64>],
        sampling: Sampling,
        bound: &mut [f64],
    ) -> Result<()> {
        let mut scores = vec![vec![0.0; u[0].len()]; self.diffusion.noised().len()];
        let mut logs = vec![0.0; bound.len()];
        for i in 0..=sampling.times {
            let at = BoundTime::new(self, sampling, i, u[0].len())?;
            for sign in [1.0, -1.0] {
                let state = at.state(u, sign);
                let state: Vec<&[f64]> = state.iter().map(Vec::as_slice).collect();
                if i == sampling.times {
                    self.terminal(&state, &mut logs)?;
                    bound.iter_mut().zip(&logs).for_each(|(b, l)| *b += 0.5 * l);
                    continue;
                }
                let mut views: Vec<&mut [f64]> = scores.iter_mut().map(Vec::as_mut_slice).collect();
                score.score(at.t, &state, &mut views)?;
                at.subtract(self, sign, &scores, bound);
            }
        }
        Ok(())
    }
}

/// How a bound is sampled.
#[derive(Clone, Copy)]
struct Sampling {
    /// Stratified times of each draw.
    times: usize,
    draws: usize,
    seed: u64,
}

impl Sampling {
    /// With the seed of one draw.
    fn of_draw(self, d: usize) -> Self {
        let own = (d as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            seed: self.seed.wrapping_add(own),
            ..self
        }
    }
}

/// One time of a bound: the kernel from eps, and the noise of all rows.
struct BoundTime {
    t: f64,
    kernel: KernelValues,
    xi: Vec<Vec<f64>>,
    /// The noise matrix, without the rate.
    noise: Square,
    /// What the integrand counts: dt = 2 r (1 - eps) dr, and half for each sign.
    part: f64,
}

impl BoundTime {
    /// The `i`-th of a draw's times, each in its part of r in [0, 1]; the last is 1.
    fn new(l: &Likelihood<'_>, sampling: Sampling, i: usize, n: usize) -> Result<Self> {
        let Sampling { times, seed, .. } = sampling;
        let (d, eps) = (l.diffusion, l.eps);
        let r = if i == times {
            1.0
        } else {
            (i as f64 + uniform(seed, b"evidtime", i as u64, 0)) / times as f64
        };
        // a time too near eps has no kernel in f64
        let t = (eps + (1.0 - eps) * r * r).clamp(eps * (1.0 + 1e-9), 1.0);
        let seed = seed.wrapping_add(1 + i as u64);
        Ok(Self {
            t,
            kernel: kernel_values(d.process(), d.schedule(), Objective::DSM, eps, t)?,
            xi: draw(seed, b"evidence", d.channels(), n),
            noise: d.noise(t),
            part: r * d.rate(t) * (1.0 - eps) / times as f64,
        })
    }

    /// The state that the kernel makes of `u` and the noise, or its mirror image.
    fn state(&self, u: &[Vec<f64>], sign: f64) -> Vec<Vec<f64>> {
        let (k, kernel) = (u.len(), &self.kernel);
        let value = |c: usize, e: usize| {
            let mean: f64 = (0..k).map(|j| kernel.mean[(c, j)] * u[j][e]).sum();
            let spread = (0..=c).map(|j| kernel.chol_lower[(c, j)] * self.xi[j][e]);
            mean + sign * spread.sum::<f64>()
        };
        (0..k)
            .map(|c| (0..u[c].len()).map(|e| value(c, e)).collect())
            .collect()
    }

    /// Takes `1/2 s^T G G^T s + s^T G G^T w` from each row's bound.
    fn subtract(&self, l: &Likelihood<'_>, sign: f64, scores: &[Vec<f64>], bound: &mut [f64]) {
        for (&c, s) in l.diffusion.noised().iter().zip(scores) {
            let weights = self.kernel.inverse_transpose_lower.row(c);
            for (e, s) in s.iter().enumerate() {
                let w = weights.iter().zip(&self.xi).map(|(l, x)| l * x[e]);
                let w = sign * w.sum::<f64>();
                bound[e / l.dim] -= self.part * self.noise[(c, c)] * s * (0.5 * s + w);
            }
        }
    }
}

/// The score where each noised channel is moved along a probe by its own step: the cross terms then
/// have mean 0 in any unit.
fn score_moved(
    score: &dyn Score,
    noised: &[usize],
    t: f64,
    u: &[&[f64]],
    probe: &[Vec<f64>],
    step: &dyn Fn(usize) -> f64,
) -> Result<Vec<Vec<f64>>> {
    let mut moved: Vec<Vec<f64>> = u.iter().map(|c| c.to_vec()).collect();
    for (&c, e) in noised.iter().zip(probe) {
        let h = step(c);
        moved[c].iter_mut().zip(e).for_each(|(x, e)| *x += h * e);
    }
    let moved: Vec<&[f64]> = moved.iter().map(Vec::as_slice).collect();
    let mut out = vec![vec![0.0; u[0].len()]; noised.len()];
    let mut views: Vec<&mut [f64]> = out.iter_mut().map(Vec::as_mut_slice).collect();
    score.score(t, &moved, &mut views)?;
    Ok(out)
}

/// Bits per dimension of integers 0 to levels - 1, from the log-density (nats) of their dequantised
/// values on [-1, 1]: `-log p/(dim log 2) + log2(levels) - 1`, since `2/levels` is the width of a
/// level. Formula: likelihood.bits. Source: Theis, van den Oord, Bethge 2016; Song et al. 2021,
/// app. C (levels = 256: 7 is added).
///
/// # Errors
/// A log-density that is not finite; no dimension; fewer than 2 levels.
pub fn bits_per_dimension(log_density: f64, dim: usize, levels: u32) -> Result<f64> {
    check("log_density", log_density, true, "a finite number")?;
    if dim == 0 || levels < 2 {
        return Err(Error::parameter(
            "dim, levels",
            format!("{dim}, {levels}"),
            "at least 1 and 2",
        ));
    }
    Ok(-log_density / (dim as f64 * std::f64::consts::LN_2) + f64::from(levels).log2() - 1.0)
}

/// Integers 0 to levels - 1 with uniform noise, on
/// [-1, 1): `2 (k + U)/levels - 1`. The bits of what comes out are, on average, at least those of
/// the integers. Formula: likelihood.dequantise. Source: Theis, van den Oord, Bethge 2016.
///
/// # Errors
/// Fewer than 2 levels; an integer beyond them.
pub fn dequantise(values: &[u32], levels: u32, seed: u64) -> Result<Vec<f64>> {
    if levels < 2 {
        return Err(Error::parameter("levels", levels, "at least 2"));
    }
    if let Some(k) = values.iter().find(|k| **k >= levels) {
        return Err(Error::parameter(
            "values",
            k,
            format!("integers below {levels}"),
        ));
    }
    let one = |(i, k): (usize, &u32)| {
        2.0 * (f64::from(*k) + uniform(seed, b"quantise", i as u64, 0)) / f64::from(levels) - 1.0
    };
    Ok(values.iter().enumerate().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong sign or place in the factor of a prior whose channels go together, which no
    /// process of the registry has: three channels, the factor and what it whitens chosen, in round
    /// numbers, so that the density is known.
    #[test]
    fn density_of_a_full_covariance() {
        let l = [[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [-1.0, 2.0, 4.0]];
        let sum = |i: usize, f: &dyn Fn(usize) -> f64| (0..=i).map(f).sum::<f64>();
        let cov = Square::build(3, |i, j| sum(i.min(j), &|m| l[i][m] * l[j][m]));
        // two rows of two values
        let w = [
            [1.0, -2.0, 0.5, 0.0],
            [3.0, 1.0, -1.0, 0.0],
            [-1.0, 2.0, 2.0, 0.0],
        ];
        let u: Vec<Vec<f64>> = (0..3)
            .map(|i| (0..4).map(|e| sum(i, &|m| l[i][m] * w[m][e])).collect())
            .collect();
        let slices: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
        let mut out = [0.0; 2];
        normal_log_density(&cov, 2, &slices, &mut out).unwrap();
        // |w|^2 of the rows: 11 + 9 and 5.25; of each value log det L = ln 24
        let norm = 2.0 * (24f64.ln() + 1.5 * std::f64::consts::TAU.ln());
        for (found, squares) in out.iter().zip([20.0, 5.25]) {
            assert!((found + norm + 0.5 * squares).abs() < 1e-13, "{out:?}");
        }
        let singular = Square::build(2, |_, _| 1.0);
        assert!(normal_log_density(&singular, 2, &slices[..2], &mut out).is_err());
    }
}
