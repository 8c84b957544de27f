//! Steps of the discrete chains of VP and VE, as widely used code has them: DDPM, DDIM, SMLD's
//! ancestral step, and the reverse-diffusion step of the score SDE.
//!
//! With m and v the kernel's mean factor and variance of x (`alpha_bar = m^2`, `1 - alpha_bar = v`
//! for VP), a and q those of the transition over `[s, t]` (`alpha = a^2`, `beta = q` for VP), eps =
//! -sqrt(v_t) score:
//!
//! | step | u_mean | variance of the noise |
//! |---|---|---|
//! | DDPM (Ho et al. 2020, eq. 11) | (x - q eps / sqrt(v_t)) / a | q v_s / v_t (`small`), or q (`large`) |
//! | DDIM (Song et al. 2021, eq. 12) | m_s x_0 + sqrt(v_s - sigma^2) eps, x_0 = (x - sqrt(v_t) eps) / m_t | sigma^2 = eta^2 q v_s / v_t |
//! | ancestral, VP (Song et al. 2021, app. F) | (x + beta score) / sqrt(1 - beta), beta = b(t) (t - s) | beta |
//! | ancestral, VE (the same; SMLD) | x + (sigma_t^2 - sigma_s^2) score | (sigma_t^2 - sigma_s^2) sigma_s^2 / sigma_t^2 |
//! | reverse diffusion, VP (app. E) | (2 - sqrt(1 - beta)) x + beta score | beta |
//! | reverse diffusion, VE (app. E) | x + (sigma_t^2 - sigma_s^2) score | sigma_t^2 - sigma_s^2 |
//!
//! sigma(t) of VE is the schedule's: sigma_min at t = 0.
//!
//! Formula: sampler.ddpm, sampler.ddim, sampler.ancestral, sampler.reverse_diffusion.

use super::cell::{Cell, exact, number, plus, times};
use super::model::{Model, Row};
use super::quantity::{Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{Reader, plain, row_of, setting};
use super::reverse::{Sampler, steps};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::process::{Chain, entry};

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["u", "noise"],
    optional: &["t", "s", "eps", "score", "score_v_matrix", "data"],
    settings: &["clock", "t", "dt"],
    leads: "u",
    outputs: Outputs::Named(&["u_next", "u_mean"]),
    shape: "(n, d) each",
    suites: &["step"],
    catches: "",
    made_from: &["kernel.mean", "kernel.cov"],
    processes: Processes {
        words: "a process of one channel",
        fit: |m| m.channels() == 1,
    },
    law: LawOf::None,
    draws: Draws {
        times: Times::ShortSteps,
        mean_above: 0.0,
        arrays: &[
            ("u", Draw::Channels),
            ("score", Draw::Noised),
            ("noise", Draw::Channels),
        ],
    },
    truth: Truth::All(ddpm),
};

/// The chain of which the model's process is the limit.
fn chain(m: &Model) -> Option<Chain> {
    entry(m.process().name()).ok()?.chain
}

/// The processes that have the score SDE's discrete steps.
const VP_OR_VE: Processes = Processes {
    words: "vp or ve",
    fit: |m| chain(m).is_some(),
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "sampler.step.ddpm",
        about: "one step of DDPM from t to s: the posterior's mean at the predicted eps, and noise",
        settings: &["clock", "t", "dt", "variance"],
        catches: "the posterior's variance for beta, or the other way round; alpha for alpha_bar; eps without its 1/sqrt(1 - alpha_bar)",
        ..BASE
    },
    Quantity {
        name: "sampler.step.ddim",
        about: "one step of DDIM from t to s, with eta",
        settings: &["clock", "t", "dt", "eta"],
        outputs: Outputs::Named(&["u_next", "x0"]),
        catches: "eps multiplied by sqrt(1 - alpha_bar_s), without sigma^2 subtracted; eta squared, or left out; alpha for alpha_bar",
        truth: Truth::All(ddim),
        ..BASE
    },
    Quantity {
        name: "sampler.step.ancestral",
        about: "one ancestral step of the score SDE: beta = b(t) (t - s) for VP, sigma(t) for VE (SMLD)",
        catches: "beta not divided by the number of steps; SMLD's noise without sigma_s / sigma_t; the rate at the step's end",
        made_from: &["schedule.rate", "schedule.integral"],
        processes: VP_OR_VE,
        truth: Truth::All(ancestral),
        ..BASE
    },
    Quantity {
        name: "sampler.step.reverse-diffusion",
        about: "one reverse-diffusion step of the score SDE, with the forward chain's own coefficients; for sub-VP those of Euler and Maruyama",
        catches: "x / sqrt(1 - beta) for (2 - sqrt(1 - beta)) x; beta not divided by the number of steps; the rate at the step's end",
        made_from: &["schedule.rate", "schedule.integral"],
        processes: Processes {
            words: "vp, ve or sub-vp",
            fit: |m| chain(m).is_some() || m.noise_changes(),
        },
        truth: Truth::All(reverse_diffusion),
        ..BASE
    },
];

/// What a step is made of, at one row.
struct Step<'a> {
    model: &'a Model,
    t: f64,
    s: f64,
    h: Dd,
    /// Variance of the kernel at t.
    v_t: Cell,
    /// And at s.
    v_s: Cell,
    /// Variance and mean factor of the transition over `[s, t]`.
    q: Cell,
    a: Cell,
    /// Mean factors at both.
    m_t: Cell,
    m_s: Cell,
    x: Vec<Cell>,
    score: Vec<Cell>,
    noise: Vec<Cell>,
}

fn minus(c: Cell) -> Cell {
    Cell {
        truth: -c.truth,
        ..c
    }
}

fn root(c: Cell) -> Cell {
    let r = c.truth.sqrt();
    let half = |x: f64| if r.hi == 0.0 { 0.0 } else { 0.5 * x / r.hi };
    Cell {
        truth: r,
        scale: half(c.scale).max(r.hi),
        cancellation: half(c.cancellation),
        t: c.t,
    }
}

fn over(a: Cell, b: Cell) -> Cell {
    let size = b.truth.hi.abs();
    let inverse = Cell {
        truth: b.truth.recip(),
        scale: b.scale / (size * size),
        cancellation: b.cancellation / (size * size),
        t: b.t,
    };
    times(a, inverse)
}

/// `x` multiplied by `c` in every coordinate.
fn by(c: Cell, x: &[Cell]) -> Vec<Cell> {
    x.iter().map(|x| times(c, *x)).collect()
}

fn sum(a: &[Cell], b: &[Cell]) -> Vec<Cell> {
    a.iter().zip(b).map(|(a, b)| plus(*a, *b)).collect()
}

/// The variance of one channel as a term of a step at t.
fn variance(row: &Row, t: f64) -> Cell {
    let truth = row.law.cov[(0, 0)];
    Cell {
        truth,
        scale: row.cov_scale[(0, 0)].max(truth.hi.abs()),
        cancellation: row.rounding[(0, 0)],
        t,
    }
}

/// The same of its mean.
fn mean_of(row: &Row, t: f64) -> Cell {
    let truth = row.law.mean[(0, 0)];
    Cell {
        truth,
        scale: row.mean_scale[(0, 0)].max(truth.hi.abs()),
        cancellation: 0.0,
        t,
    }
}

/// Every row of a step: `each` gives the mean and the deviation of the noise.
fn rows(
    model: &Model,
    read: &Reader<'_>,
    each: impl Fn(&Step<'_>) -> Result<(Vec<Cell>, Option<Cell>)>,
) -> Found {
    let (u, d) = read.block("u", 1)?;
    let noise = plain(read, "noise", d)?;
    let eps = if read.inputs.contains_key("eps") {
        Some(plain(read, "eps", d)?)
    } else {
        None
    };
    let sampler = if eps.is_none() {
        Some(Sampler::new(model, read, d)?)
    } else {
        None
    };
    let mut cells = Vec::new();
    for (r, (t, s, h)) in steps(model, read)?.into_iter().enumerate() {
        let (at_t, at_s, over_step) = (
            model.row(0.0, t)?,
            model.row(0.0, s)?,
            model.transition(s, t)?,
        );
        let (x, v_t) = (row_of(u, r, d, t), variance(&at_t, t));
        let score = match (&sampler, eps) {
            (Some(sampler), _) => sampler.score(r, t, &x)?,
            (None, eps) => by(
                minus(over(exact(1.0, t), root(v_t))),
                &row_of(eps.unwrap_or_default(), r, d, t),
            ),
        };
        let step = Step {
            model,
            t,
            s,
            h,
            v_t,
            v_s: variance(&at_s, t),
            q: variance(&over_step, t),
            a: mean_of(&over_step, t),
            m_t: mean_of(&at_t, t),
            m_s: mean_of(&at_s, t),
            x,
            score,
            noise: row_of(noise, r, d, t),
        };
        let (mean, deviation) = each(&step)?;
        cells.extend(deviation.map_or_else(|| mean.clone(), |c| sum(&mean, &by(c, &step.noise))));
    }
    Ok(Some((cells, d)))
}

fn ddpm(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "u_mean") {
        return Ok(None);
    }
    let large = setting(read, "variance")
        .ok_or_else(|| Error::parameter("variance", "missing", "small or large"))?
        == 1.0;
    rows(model, read, |on| {
        let mean = by(
            over(exact(1.0, on.t), on.a),
            &sum(&on.x, &by(on.q, &on.score)),
        );
        let variance = if large {
            on.q
        } else {
            over(times(on.q, on.v_s), on.v_t)
        };
        Ok((mean, (output == "u_next").then(|| root(variance))))
    })
}

fn ddim(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "x0") {
        return Ok(None);
    }
    let eta = setting(read, "eta")
        .ok_or_else(|| Error::parameter("eta", "missing", "0 (no noise) to 1 (DDPM's)"))?;
    if !(0.0..=1.0).contains(&eta) {
        return Err(Error::parameter("eta", eta, "0 (no noise) to 1 (DDPM's)"));
    }
    rows(model, read, |on| {
        let t = on.t;
        let x0 = by(
            over(exact(1.0, t), on.m_t),
            &sum(&on.x, &by(on.v_t, &on.score)),
        );
        if output == "x0" {
            return Ok((x0, None));
        }
        // v_s - sigma^2 = v_s (a^2 v_s + (1 - eta^2) q) / v_t, without a difference
        let rest = number(Dd::from(1.0) - Dd::prod(eta, eta), t);
        let kept = over(
            times(
                on.v_s,
                plus(times(times(on.a, on.a), on.v_s), times(rest, on.q)),
            ),
            on.v_t,
        );
        let eps = by(minus(root(on.v_t)), &on.score);
        let mean = sum(&by(on.m_s, &x0), &by(root(kept), &eps));
        Ok((
            mean,
            Some(times(
                exact(eta, t),
                root(over(times(on.q, on.v_s), on.v_t)),
            )),
        ))
    })
}

impl Step<'_> {
    fn is_vp(&self) -> bool {
        chain(self.model) == Some(Chain::Ddpm)
    }

    /// The times at which tables of N = 1/h steps are read instead of t and s: the step's number is
    /// floor(t (N - 1)), and the tables go from 0 to 1 in N - 1 intervals. The second one is none
    /// for step 0.
    fn on_grid(&self) -> Option<(f64, Option<f64>)> {
        let n = self.h.to_f64().recip().round();
        (self.model.reading.time_on_grid && n >= 2.0).then(|| {
            let i = (self.t * (n - 1.0)).floor();
            (i / (n - 1.0), (i >= 1.0).then(|| (i - 1.0) / (n - 1.0)))
        })
    }

    /// The score SDE's beta of this step.
    fn beta(&self) -> Result<Dd> {
        let beta = self.model.rate(self.on_grid().map_or(self.t, |(t, _)| t)) * self.h;
        if beta.hi < 1.0 {
            return Ok(beta);
        }
        Err(Error::parameter(
            "t - s",
            self.h.to_f64(),
            format!("a step with b(t) (t - s) < 1: here it is {}", beta.to_f64()),
        ))
    }

    /// sigma(t)^2 - sigma(s)^2 and sigma(s)^2 / sigma(t)^2 of VE's schedule.
    fn sigmas(&self) -> Result<(Dd, Dd)> {
        let min = self
            .model
            .schedule()
            .params()
            .iter()
            .find(|(name, _)| *name == "sigma_min")
            .map_or(0.0, |p| p.1);
        let least = Dd::prod(min, min);
        let (t, s) = match self.on_grid() {
            Some((t, Some(s))) => (t, s),
            Some((t, None)) => return Ok((least + self.model.span(0.0, t)?.tau, Dd::ZERO)),
            None => (self.t, self.s),
        };
        let to = |t: f64| self.model.span(0.0, t).map(|on| least + on.tau);
        Ok((self.model.span(s, t)?.tau, to(s)? / to(t)?))
    }
}

fn ancestral(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "u_mean") {
        return Ok(None);
    }
    rows(model, read, |on| {
        let t = on.t;
        let (mean, variance) = if on.is_vp() {
            let beta = on.beta()?;
            let grow = (Dd::ONE - beta).sqrt().recip();
            (
                by(
                    number(grow, t),
                    &sum(&on.x, &by(number(beta, t), &on.score)),
                ),
                beta,
            )
        } else {
            let (more, ratio) = on.sigmas()?;
            (sum(&on.x, &by(number(more, t), &on.score)), more * ratio)
        };
        Ok((
            mean,
            (output == "u_next").then(|| number(variance.sqrt(), t)),
        ))
    })
}

fn reverse_diffusion(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "u_mean") {
        return Ok(None);
    }
    rows(model, read, |on| {
        let t = on.t;
        let (grow, variance) = match chain(model) {
            Some(Chain::Ddpm) => on
                .beta()
                .map(|b| (Dd::from(2.0) - (Dd::ONE - b).sqrt(), b))?,
            Some(Chain::Smld) => (Dd::ONE, on.sigmas()?.0),
            _ => {
                let (step, clock) = (model.rate(t) * on.h, model.span(0.0, t)?);
                let noise = model.process().noise_at((clock.start + clock.tau).to_f64())[(0, 0)];
                let h = if model.reading.root_dt_single {
                    let root = f64::from((on.h.to_f64() as f32).sqrt());
                    Dd::prod(root, root)
                } else {
                    on.h
                };
                (
                    Dd::ONE + step.scale(0.5),
                    model.rate(t) * h * Dd::from(noise),
                )
            }
        };
        let mean = sum(
            &by(number(grow, t), &on.x),
            &by(number(variance, t), &on.score),
        );
        Ok((
            mean,
            (output == "u_next").then(|| number(variance.sqrt(), t)),
        ))
    })
}
