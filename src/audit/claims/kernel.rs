//! Claims about processes, schedules, transitions and what is read off a kernel: densities, scores,
//! noise, ratios. All without noise.

use crate::audit::cases::{Rated, rated};
use crate::audit::check::Part;
use crate::audit::table::{Row, Tally, table};
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Objective};
use crate::loss::{Form, Loss, Weighting};
use crate::process::AnyLaw;
use crate::schedule::{Schedule, Span};
use crate::small::{Mat, Square, by_channels, places};
use crate::worst::{largest, worse};

/// Times of the claims.
const TIMES: [f64; 3] = [0.02, 0.3, 1.0];

/// Why numbers that start from a difference of state and mean lose digits.
const DIFFERENCE: &str = "state less mean cancels by up to 1e5 at the first time";
/// Why what is read off a kernel is right to this.
const ENTRIES: &str = "some entries right to 1e-13 each";

/// What is read off a kernel, against the law by doubling in 106-bit arithmetic.
#[rustfmt::skip]
static KERNEL: [Row; 16] = [
    Row::still("log_density", "kernel.log_density", "log-density of a state given its data is that by the law in 106-bit arithmetic", 1e-9, DIFFERENCE),
    Row::still("score", "kernel.score", "score of a state given its data is that by the precision in 106-bit arithmetic", 1e-9, DIFFERENCE),
    Row::still("score_from_eps", "kernel.score_from_eps", "score of a known noise is that by the precision in 106-bit arithmetic", 1e-10, "kernels of condition up to 1e5"),
    Row::still("eps_from_score", "kernel.eps_from_score", "noise of the score of a known noise is that noise", 1e-10, "kernels of condition up to 1e5"),
    Row::still("eps_from_x0", "kernel.eps_from_x0", "noise between data and state is that by the factor in 106-bit arithmetic", 1e-9, DIFFERENCE),
    Row::still("x0_from_eps", "kernel.x0_from_eps", "data of a state and its noise are those by the law in 106-bit arithmetic", 1e-11, ENTRIES),
    Row::still("perturb", "kernel.perturb", "noised data are the mean and the factor's noise in 106-bit arithmetic", 1e-12, ENTRIES),
    Row::still("perturb.single", "kernel.perturb", "noised data in f32 are the mean and the factor's noise, rounded once", 6e-8, "half a unit of f32, 5.96e-8"),
    Row::still("inverse_transpose", "kernel.inverse_transpose", "inverse transpose of the factor is that in 106-bit arithmetic", 1e-11, ENTRIES),
    Row::still("snr", "kernel.snr", "signal-to-noise ratio of x is that in 106-bit arithmetic", 1e-12, ENTRIES),
    Row::still("snr_joint", "kernel.snr_joint", "signal-to-noise ratio of all channels is that in 106-bit arithmetic", 1e-10, "kernels of condition up to 1e5"),
    Row::still("std", "kernel.std", "standard deviations of all channels are those in 106-bit arithmetic", 1e-12, ENTRIES),
    Row::still("sigma", "kernel.sigma", "noise level of x is that in 106-bit arithmetic", 1e-12, ENTRIES),
    Row::still("loss.target", "loss.target", "target of a loss in the form of the score is the kernel's score of the noise by the factor in 106-bit arithmetic", 1e-10, "kernels of condition up to 1e5"),
    Row::still("loss.value", "loss.value", "loss of an output 0 with likelihood weighting is half the rate and the noise matrix times the squares of that score", 1e-10, "kernels of condition up to 1e5"),
    Row::still("log_snr", "kernel.logsnr", "log-signal-to-noise ratio of x is that in 106-bit arithmetic", 1e-12, ENTRIES),
];

/// What a process says of itself, and its transitions.
#[rustfmt::skip]
static PROCESS: [Row; 7] = [
    Row::still("drift", "process.drift", "drift matrix is the derivative of the transition's mean at its start", 1e-9, "one-sided differences extrapolated to order 6; rounding of the step"),
    Row::still("noise", "process.noise", "noise matrix is the derivative of the transition's covariance at its start", 1e-9, "one-sided differences extrapolated to order 6; rounding of the step"),
    Row::still("stationary", "process.stationary", "drift takes from the stationary covariance what noise gives to it", 1e-14, "products of two numbers"),
    Row::still("initial", "kernel.initial", "variances at t = 0 are 0 of x, and gamma M of the others", 1e-15, "one product"),
    Row::still("prior", "process.prior", "prior is the law that was gathered, by doubling in 106-bit arithmetic: at the end (VE), after 400 units of the clock (the others)", 1e-12, "entries right to 1e-13"),
    Row::still("transition.mean", "transition.mean", "mean of a transition after that from 0 is the mean from 0, in 106-bit arithmetic", 1e-12, "entries right to 1e-13"),
    Row::still("transition.cov", "transition.cov", "covariance of a transition and what it makes of that from 0 are the covariance from 0, in 106-bit arithmetic", 1e-12, "entries right to 1e-13"),
];

/// Rates.
static RATE: Row = Row::still(
    "rate",
    "schedule.rate",
    "rate is the derivative of its integral",
    1e-11,
    "differences of order 6 over 4e-4; rounding of the step",
);

/// A degenerate law: none of the registry's.
fn singular(t: f64) -> Error {
    Error::Degenerate {
        what: "the law".into(),
        why: format!("its covariance at t = {t:e} has no factor"),
    }
}

/// What a kernel is held against: mean, factor and precision in double words.
struct Truth<const K: usize> {
    mean: Mat<K, Dd>,
    cov: Mat<K, Dd>,
    lower: Mat<K, Dd>,
    /// L^-1.
    inverse: Mat<K, Dd>,
}

impl<const K: usize> Truth<K> {
    fn new(law: &AnyLaw, t: f64) -> Result<Truth<K>> {
        let (mean, cov) = (law.mean.fixed::<K>(), law.cov.fixed::<K>());
        let lower = cov.cholesky().ok_or_else(|| singular(t))?;
        let inverse = lower.lower_inverse();
        Ok(Truth {
            mean,
            cov,
            lower,
            inverse,
        })
    }

    /// `A v`, rows summed in double words.
    fn times(a: &Mat<K, Dd>, v: &[Dd; K]) -> [Dd; K] {
        std::array::from_fn(|i| (0..K).fold(Dd::ZERO, |s, j| s + a[(i, j)] * v[j]))
    }

    /// `-L^-T w`.
    fn score(&self, w: &[Dd; K]) -> [Dd; K] {
        Self::times(&self.inverse.transpose(), w).map(|s| -s)
    }

    /// `log N(u; mean, cov)` for `w = L^-1 (u - mean)`.
    fn log_density(&self, w: &[Dd; K]) -> f64 {
        let log_det = 2.0
            * (0..K)
                .map(|c| self.lower[(c, c)].ln().to_f64())
                .sum::<f64>();
        -0.5 * (K as f64 * std::f64::consts::TAU.ln() + log_det + squares(w).to_f64())
    }
}

fn words<const K: usize>(v: &[f64; K]) -> [Dd; K] {
    v.map(Dd::from)
}

fn rounded<const K: usize>(v: &[Dd; K]) -> [f64; K] {
    v.map(Dd::to_f64)
}

fn squares(w: &[Dd]) -> Dd {
    w.iter().fold(Dd::ZERO, |s, x| s + *x * *x)
}

/// Numbers of no order and no sign.
fn wave(seed: usize, i: usize) -> f64 {
    1.7 * ((i as f64 + 1.3) * (0.9 + 0.7 * seed as f64)).sin()
}

/// The kernel that runs and what it is held against, at one time.
struct AtTime<'a, const K: usize> {
    diffusion: &'a Diffusion,
    t: f64,
    kernel: Kernel<K>,
    truth: Truth<K>,
}

impl<const K: usize> AtTime<'_, K> {
    /// All that is said of one row: data `u0` and the noise that moves them.
    fn row(&self, u0: [f64; K], eps: [f64; K], tally: &mut Tally<'_>) -> Result<()> {
        let (t, k, truth) = (self.t, &self.kernel, &self.truth);
        let exact = Truth::<K>::times(&truth.mean, &words(&u0));
        let spread = Truth::<K>::times(&truth.lower, &words(&eps));
        let state: [f64; K] = std::array::from_fn(|c| (exact[c] + spread[c]).to_f64());
        let missed: [Dd; K] = std::array::from_fn(|c| Dd::from(state[c]) - exact[c]);
        let w = Truth::<K>::times(&truth.inverse, &missed);
        let log = truth.log_density(&w);
        let found = k.log_density(state, u0);
        tally.near("log_density", t, found, log, worse(log.abs(), 1.0))?;
        tally.all("score", t, &k.score(state, u0), &rounded(&truth.score(&w)))?;
        let score = rounded(&truth.score(&words(&eps)));
        tally.all("score_from_eps", t, &k.score_from_eps(eps), &score)?;
        target(self.diffusion, t, &eps, &score, tally)?;
        tally.all("eps_from_score", t, &k.eps_from_score(score), &eps)?;
        tally.all("eps_from_x0", t, &k.eps_from_x0(state, u0), &rounded(&w))?;
        let moved = truth.lower[(0, 0)] * Dd::from(eps[0]);
        let data = ((Dd::from(state[0]) - moved) / truth.mean[(0, 0)]).to_f64();
        // the difference's terms, in units of x0
        let terms = worse(
            state[0].abs(),
            (truth.lower[(0, 0)].to_f64() * eps[0]).abs(),
        );
        let unit = terms / truth.mean[(0, 0)].to_f64().abs();
        tally.near("x0_from_eps", t, k.x0_from_eps(state, eps), data, unit)
    }

    /// Many rows at once.
    fn perturbed(&self, x0: &[f64], noise: &[Vec<f64>], tally: &mut Tally<'_>) -> Result<()> {
        let truth = &self.truth;
        let exact = |c: usize, r: usize| {
            let eps: [f64; K] = std::array::from_fn(|j| noise[j][r]);
            let spread = Truth::<K>::times(&truth.lower, &words(&eps))[c];
            (truth.mean[(c, 0)] * Dd::from(x0[r]) + spread).to_f64()
        };
        let mut out = vec![vec![0.0; x0.len()]; K];
        let noise = std::array::from_fn(|c| noise[c].as_slice());
        self.kernel.perturb(x0, noise, channels(&mut out))?;
        for (c, found) in out.iter().enumerate() {
            let expected: Vec<f64> = (0..x0.len()).map(|r| exact(c, r)).collect();
            tally.all("perturb", self.t, found, &expected)?;
        }
        Ok(())
    }

    /// What belongs to no row: the factor's inverse, deviations, ratios of signal to noise.
    fn figures(&self, tally: &mut Tally<'_>) -> Result<()> {
        let (t, k, truth) = (self.t, &self.kernel, &self.truth);
        let (inverse, found) = (truth.inverse.transpose(), k.inverse_transpose_lower());
        for i in 0..K {
            let expected: [f64; K] = std::array::from_fn(|j| inverse[(i, j)].to_f64());
            let row: [f64; K] = std::array::from_fn(|j| found[(i, j)]);
            tally.all("inverse_transpose", t, &row, &expected)?;
        }
        let (phi, xx) = (truth.mean[(0, 0)], truth.cov[(0, 0)]);
        let snr = (phi * phi / xx).to_f64();
        tally.near("snr", t, k.snr(), snr, snr)?;
        let column: [Dd; K] = std::array::from_fn(|i| truth.mean[(i, 0)]);
        let w = Truth::<K>::times(&truth.inverse, &column);
        let joint = squares(&w).to_f64();
        tally.near("snr_joint", t, k.snr_joint(), joint, joint)?;
        for i in 0..K {
            let std = truth.cov[(i, i)].sqrt().to_f64();
            tally.near("std", t, k.std(i), std, std)?;
        }
        let sigma = (xx.sqrt() / phi).to_f64();
        tally.near("sigma", t, k.sigma(), sigma, sigma.abs())?;
        let log = ((phi * phi).ln() - xx.ln()).to_f64();
        tally.near("log_snr", t, k.log_snr(), log, worse(log.abs(), 1.0))
    }
}

/// As many channels as there are vectors.
fn channels<T, const K: usize>(out: &mut [Vec<T>]) -> [&mut [T]; K] {
    let mut out = out.iter_mut();
    std::array::from_fn(|_| out.next().map(Vec::as_mut_slice).unwrap_or_default())
}

fn kernel<const K: usize>(d: &Diffusion, tally: &mut Tally<'_>) -> Result<()> {
    let gamma = if K == 1 { 0.0 } else { d.gamma() };
    for t in TIMES {
        let on = d.schedule().span(0.0, t)?;
        let at = AtTime {
            diffusion: d,
            t,
            kernel: Kernel::<K>::from_moments(d.process().moments(on, gamma).fixed())?,
            truth: Truth::<K>::new(&d.process().law(on, gamma, 0.0), t)?,
        };
        let rows = 0..5;
        let x0: Vec<f64> = rows.clone().map(|r| wave(0, r)).collect();
        let noise: Vec<Vec<f64>> = (0..K)
            .map(|c| rows.clone().map(|r| wave(1 + c, r)).collect())
            .collect();
        for r in rows {
            let u0 = std::array::from_fn(|c| if c == 0 { x0[r] } else { 0.0 });
            at.row(u0, std::array::from_fn(|c| noise[c][r]), tally)?;
        }
        at.perturbed(&x0, &noise, tally)?;
        single(&at.kernel, t, &x0, &noise, &at.truth, tally)?;
        at.figures(tally)?;
    }
    Ok(())
}

/// The loss of one value of noise whose kernel's score is known.
fn target(d: &Diffusion, t: f64, eps: &[f64], score: &[f64], tally: &mut Tally<'_>) -> Result<()> {
    let objective = match d.channels() {
        1 => Objective::DSM,
        _ => Objective::hsm(d.gamma())?,
    };
    let loss = Loss::new(d, objective, Form::Score, Weighting::Likelihood)?.at(t)?;
    let noise: Vec<&[f64]> = eps.iter().map(std::slice::from_ref).collect();
    let m = d.noised().len();
    let (mut found, nothing, mut gradient) = (vec![0.0; m], vec![0.0; m], vec![0.0; m]);
    let mut slices: Vec<&mut [f64]> = found.iter_mut().map(std::slice::from_mut).collect();
    loss.target(&noise, &mut slices)?;
    let expected: Vec<f64> = d.noised().iter().map(|&c| score[c]).collect();
    tally.all("loss.target", t, &found, &expected)?;
    let outputs: Vec<&[f64]> = nothing.iter().map(std::slice::from_ref).collect();
    let mut slices: Vec<&mut [f64]> = gradient.iter_mut().map(std::slice::from_mut).collect();
    let value = loss.value(&noise, &outputs, &mut slices)?;
    let g = d.noise(t);
    let weighted = |&c: &usize| 0.5 * d.rate(t) * g[(c, c)] * score[c] * score[c];
    let expected: f64 = d.noised().iter().map(weighted).sum();
    tally.near("loss.value", t, value, expected, expected)
}

/// The same in f32: data and noise are of that type, so that nothing but the result is rounded.
fn single<const K: usize>(
    k: &Kernel<K>,
    t: f64,
    x0: &[f64],
    noise: &[Vec<f64>],
    truth: &Truth<K>,
    tally: &mut Tally<'_>,
) -> Result<()> {
    let narrow = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let (x0, noise): (Vec<f32>, Vec<Vec<f32>>) =
        (narrow(x0), noise.iter().map(|v| narrow(v)).collect());
    let mut out = vec![vec![0f32; x0.len()]; K];
    k.perturb(
        &x0,
        std::array::from_fn(|c| noise[c].as_slice()),
        channels(&mut out),
    )?;
    for (c, out) in out.iter().enumerate() {
        for (r, found) in out.iter().enumerate() {
            let eps: [f64; K] = std::array::from_fn(|j| f64::from(noise[j][r]));
            let mean = truth.mean[(c, 0)] * Dd::from(f64::from(x0[r]));
            let expected = (mean + Truth::<K>::times(&truth.lower, &words(&eps))[c]).to_f64();
            // beside terms that cancel f64's own rounding is nothing
            tally.near(
                "perturb.single",
                t,
                f64::from(*found),
                expected,
                worse(expected.abs(), 1e-6 * mean.to_f64().abs()),
            )?;
        }
    }
    Ok(())
}

/// The limit at 0 of a function that is smooth from there on, from its values at h, h/2, h/4, ...:
/// Richardson's table.
fn limit(values: &[f64]) -> f64 {
    let mut table = values.to_vec();
    let mut power = 1.0;
    while table.len() > 1 {
        power *= 2.0;
        table = table
            .windows(2)
            .map(|w| (power * w[1] - w[0]) / (power - 1.0))
            .collect();
    }
    table[0]
}

/// `A B` in double words.
fn product(a: &Square<Dd>, b: &Square<Dd>) -> Square<Dd> {
    let k = a.k();
    Square::build(k, |i, j| {
        (0..k).fold(Dd::ZERO, |s, l| s + a[(i, l)] * b[(l, j)])
    })
}

fn entries(a: &Square<Dd>) -> Vec<f64> {
    a.map(Dd::to_f64).to_vec()
}

/// Slopes of a transition's mean and covariance at its start, at a place of the process's clock, by
/// one-sided differences in the limit.
fn slopes(d: &Diffusion, start: f64) -> Result<Vec<f64>> {
    let (k, clock) = (d.channels(), Schedule::constant(1.0)?);
    // powers of two, so that start and end are exact
    let h = 2f64.powi(-(largest(d.drift().as_slice()).max(1.0).log2().ceil() as i32) - 3);
    let mut slopes = vec![vec![]; 2 * k * k];
    for level in 0..6 {
        let h = h / f64::from(1 << level);
        let m = d.process().moments(clock.span(start, start + h)?, 0.0);
        for (i, j) in places(k) {
            let moved = m.mean[(i, j)] - f64::from(i == j);
            slopes[i * k + j].push(moved / h);
            slopes[k * k + i * k + j].push(m.cov[(i, j)] / h);
        }
    }
    Ok(slopes.iter().map(|v| limit(v)).collect())
}

fn process(d: &Diffusion, tally: &mut Tally<'_>) -> Result<()> {
    let (p, k, start) = (d.process(), d.channels(), 0.5);
    let (f, g) = (d.drift(), p.noise_at(start));
    let slopes = slopes(d, start)?;
    let unit = worse(largest(f.as_slice()), largest(g.as_slice()));
    for (name, found, expected) in [
        ("drift", f, &slopes[..k * k]),
        ("noise", &g, &slopes[k * k..]),
    ] {
        for (found, expected) in found.as_slice().iter().zip(expected) {
            tally.near(name, start, *found, *expected, unit)?;
        }
    }
    if let Some(s) = p.stationary() {
        let (fs, g) = (f.matmul(&s), p.noise_at(1e6));
        for i in 0..k {
            for j in 0..k {
                tally.near("stationary", 1.0, fs[(i, j)] + fs[(j, i)], -g[(i, j)], unit)?;
            }
        }
    }
    if d.gamma() > 0.0 {
        let mut expected = vec![d.gamma() * p.mass(); k];
        expected[0] = 0.0;
        tally.all("initial", 0.0, &d.initial(), &expected)?;
    }
    let gathered = if p.stationary().is_some() {
        Span::from_zero(400.0)?
    } else {
        d.schedule().span(0.0, 1.0)?
    };
    let gathered = p.law(gathered, 0.0, 0.0);
    tally.all("prior", 1.0, d.prior().as_slice(), &entries(&gathered.cov))?;
    for (s, t) in [(0.02, 0.03), (0.1, 0.5), (0.5, 1.0)] {
        let from = |t: f64| -> Result<AnyLaw> { Ok(p.law(d.schedule().span(0.0, t)?, 0.0, 0.0)) };
        let (before, after, step) = (from(s)?, from(t)?, d.transition(s, t)?);
        let (mean, cov) = (step.mean.map(Dd::from), step.cov.map(Dd::from));
        let found = product(&mean, &before.mean);
        tally.all(
            "transition.mean",
            t,
            &entries(&found),
            &entries(&after.mean),
        )?;
        let kept = product(&product(&mean, &before.cov), &mean.transpose());
        let found = Square::build(k, |i, j| kept[(i, j)] + cov[(i, j)]);
        tally.all("transition.cov", t, &entries(&found), &entries(&after.cov))?;
    }
    Ok(())
}

/// The schedules whose rates are claimed.
fn schedules() -> Result<Vec<(&'static str, Schedule)>> {
    Ok(vec![
        ("constant", Schedule::constant(4.0)?),
        ("linear", Schedule::linear(0.1, 19.9)?),
        ("cosine", Schedule::cosine(0.008, 0.9946)?),
        ("geometric", Schedule::geometric(0.01, 50.0)?),
    ])
}

fn rates(schedule: &Schedule, tally: &mut Tally<'_>) -> Result<()> {
    for t in [0.05, 0.15, 0.45, 0.7, 0.8, 0.95] {
        let central =
            |h: f64| -> Result<f64> { Ok(schedule.integral(t - h, t + h)? / ((t + h) - (t - h))) };
        let (a, b, c) = (central(4e-4)?, central(2e-4)?, central(1e-4)?);
        let (d, e) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
        let expected = (16.0 * e - d) / 15.0;
        tally.near("rate", t, schedule.rate(t), expected, expected)?;
    }
    Ok(())
}

/// Every kind of process, and every schedule.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut all = vec![];
    for (name, schedule) in schedules()? {
        let run = move |_: u64, tally: &mut Tally<'_>| rates(&schedule, tally);
        all.push(table(
            format!("schedule.{name}"),
            &format!("the schedule `{name}`"),
            vec![&RATE],
            run,
        ));
    }
    for case in rated()? {
        let Rated {
            name,
            about,
            diffusion,
            ..
        } = case;
        let d = diffusion.clone();
        let run = move |_: u64, tally: &mut Tally<'_>| by_channels!(d.channels(), K => kernel::<K>(&d, tally), else Ok(()));
        all.push(table(
            format!("kernel.{name}"),
            &about,
            KERNEL.iter().collect(),
            run,
        ));
        let stationary = diffusion.process().stationary().is_some();
        let rows = PROCESS
            .iter()
            .filter(|r| r.name != "stationary" || stationary)
            .filter(|r| r.name != "initial" || diffusion.gamma() > 0.0)
            .collect();
        let run = move |_: u64, tally: &mut Tally<'_>| process(&diffusion, tally);
        all.push(table(format!("process.{name}"), &about, rows, run));
    }
    Ok(all)
}
