//! The reverse SDE: where its score comes from, its drift, and single steps of it, as printed and
//! in double words, from F, `G G^T` and the generic route alone. Nothing here calls the samplers or
//! scores of the crate: those are judged by it, too.
//!
//! `s` is the score of the noised channels, `tau = h b(t)`, S the stationary covariance, `L L^T`
//! the kernel's covariance.

use super::cell::{Cell, add, apply, exact, number, plus, times};
use super::model::{Model, Row};
use super::reader::{Reader, setting};
use super::reading::{HalfRate, SqrtDt};
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::{Square, places};
use std::sync::Arc;

pub use super::reader::whole_array;

/// Whether a quantity is of a step, a score, a loss or a likelihood, and not of the kernel alone.
pub fn covers(quantity: &str) -> bool {
    !["schedule.", "process.", "prior.", "kernel."]
        .iter()
        .any(|p| quantity.starts_with(p))
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

/// A step of a sampler: of which row, from t back to s, its length, and the time at which the score
/// is taken.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub row: usize,
    pub t: f64,
    pub s: f64,
    pub h: Dd,
    pub when: f64,
}

/// What a sampler is given.
pub(super) struct Sampler<'a> {
    pub model: &'a Model,
    pub noised: Vec<usize>,
    pub k: usize,
    pub d: usize,
    source: Source<'a>,
}

impl<'a> Sampler<'a> {
    pub fn new(model: &'a Model, read: &'a Reader<'_>, d: usize) -> Result<Self> {
        let (k, noised) = (model.channels(), model.noised());
        let sampler = |source| Sampler {
            model,
            noised: model.noised(),
            k,
            d,
            source,
        };
        let source = if let Some(a) = read.inputs.get("score_v_matrix") {
            if a.data.len() != k || noised.len() != 1 {
                return Err(Error::shape(
                    "score_v_matrix",
                    &a.shape,
                    format!("({k},), for a process with noise in one channel"),
                ));
            }
            Source::Matrix(&a.data)
        } else if let Some([mean, std]) = read.data()? {
            Source::Gaussian(mean, std)
        } else {
            let a = read.get("score")?;
            let width = if a.shape.len() == 2 {
                a.shape[1] / d
            } else {
                0
            };
            if a.shape.len() != 2
                || a.shape[0] != read.n
                || a.shape[1] != width * d
                || (width != k && width != noised.len())
            {
                return Err(Error::shape(
                    "score",
                    &a.shape,
                    format!(
                        "({}, {}): the noised channels, or all",
                        read.n,
                        noised.len() * d
                    ),
                ));
            }
            Source::Values(&a.data, width)
        };
        Ok(sampler(source))
    }

    /// With the exact score of data `N(mean, std^2)`, of one coordinate.
    pub fn gaussian(model: &'a Model, (mean, std): (f64, f64)) -> Self {
        Sampler {
            model,
            noised: model.noised(),
            k: model.channels(),
            d: 1,
            source: Source::Gaussian(mean, std),
        }
    }

    /// The step of row `row` from t to s, whose length `h` a file may give.
    pub fn step(&self, row: usize, (t, s): (f64, f64), h: Dd) -> Step {
        let when = if self.model.reading.score_at_end {
            s
        } else {
            t
        };
        Step { row, t, s, h, when }
    }

    /// The noise-free Euler step of row `row` from t to 0.
    pub fn denoise(&self, row: usize, t: f64) -> Step {
        let h = Dd::from(t);
        Step {
            row,
            t,
            s: 0.0,
            h,
            when: t,
        }
    }

    /// The score of the noised channels in state `u` of row `r` at time `t`.
    pub fn score(&self, r: usize, t: f64, u: &[Cell]) -> Result<Vec<Cell>> {
        let (k, d) = (self.k, self.d);
        match &self.source {
            Source::Values(s, width) => Ok((0..self.noised.len() * d)
                .map(|n| {
                    let channel = if *width == k {
                        self.noised[n / d]
                    } else {
                        n / d
                    };
                    exact(s[r * width * d + channel * d + n % d], t)
                })
                .collect()),
            Source::Matrix(a) => Ok(apply(
                &a.iter().map(|x| exact(*x, t)).collect::<Vec<_>>(),
                u,
                d,
            )),
            Source::Gaussian(mean, std) => {
                let row = self.model.row(0.0, t)?;
                let (_, inv, _) = row.marginal(*std)?;
                let rows = self.noised.iter().flat_map(|i| inv.row(*i));
                let minus: Vec<Cell> = rows.map(|x| number(-*x, t)).collect();
                let centred: Vec<Cell> = u
                    .iter()
                    .enumerate()
                    .map(|(n, x)| {
                        plus(*x, number(-(row.law.mean[(n / d, 0)] * Dd::from(*mean)), t))
                    })
                    .collect();
                Ok(apply(&minus, &centred, d))
            }
        }
    }

    /// `(-F, G G^T)` at `t`, and the rate there.
    pub fn sde(&self, t: f64) -> Result<(Square, Square, Dd)> {
        let m = self.model;
        let span = m.span(0.0, t)?;
        let g = m.process().noise_at((span.start + span.tau).to_f64());
        let backward = m.process().drift().map(|f| -m.reading.drift_sign * f);
        let f = if m.reading.flip_mean {
            backward.with_odd_signs_flipped()
        } else {
            backward
        };
        Ok((f, g, m.rate(t)))
    }

    /// `c (-F u + w G G^T s)`: the reverse drift, with c in place of b.
    pub fn drift(&self, t: f64, c: Dd, weight: f64, u: &[Cell], s: &[Cell]) -> Result<Vec<Cell>> {
        let (f, g, _) = self.sde(t)?;
        let d = self.d;
        let entries = f.as_slice().iter();
        let scaled: Vec<Cell> = entries.map(|x| number(Dd::from(*x) * c, t)).collect();
        let mut out = apply(&scaled, u, d);
        for (l, &i) in self.noised.iter().enumerate() {
            let gain = number(
                Dd::from(weight * self.model.reading.score_sign * g[(i, i)]) * c,
                t,
            );
            (0..d).for_each(|x| out[i * d + x] = plus(out[i * d + x], times(gain, s[l * d + x])));
        }
        Ok(out)
    }

    /// The share of the score's part that is taken.
    fn kick_weight(&self) -> f64 {
        if self.model.reading.half_kick {
            0.5
        } else {
            1.0
        }
    }

    /// `u + tau (-F u + G G^T s) + sqrt(tau) G z`: a step of Euler-Maruyama.
    pub fn euler(&self, step: Step, u: &[Cell], z: Option<&[Cell]>) -> Result<Vec<Cell>> {
        let (d, Step { t, h, .. }) = (self.d, step);
        let (_, g, rate) = self.sde(t)?;
        let s = self.score(step.row, step.when, u)?;
        let mut out = add(self.drift(t, h * rate, self.kick_weight(), u, &s)?, u);
        if let Some(z) = z {
            let z = &self.shared(z);
            for &i in &self.noised {
                let root = match self.model.reading.sqrt_dt {
                    SqrtDt::Right => h.sqrt(),
                    SqrtDt::Missing => Dd::from(1.0),
                    SqrtDt::Dt => h,
                };
                let rate = if self.model.reading.rate_in_noise {
                    rate
                } else {
                    Dd::ONE
                };
                let size = number((rate * Dd::from(g[(i, i)])).sqrt() * root, t);
                (0..d)
                    .for_each(|x| out[i * d + x] = plus(out[i * d + x], times(size, z[i * d + x])));
            }
        }
        Ok(out)
    }

    /// The noise, with that of one channel in all of them where the reading says so.
    pub fn shared(&self, z: &[Cell]) -> Vec<Cell> {
        let from = |n: usize| {
            self.model
                .reading
                .one_noise
                .filter(|i| *i < self.k)
                .map_or(n, |i| i * self.d + n % self.d)
        };
        (0..z.len()).map(|n| z[from(n)]).collect()
    }

    /// The two intervals over which SSCS's exact halves go.
    pub fn halves(&self, step: Step, first_half_twice: bool) -> [(f64, f64); 2] {
        let middle = 0.5 * (step.t + step.s);
        let first = (step.t, middle);
        if first_half_twice != self.model.reading.other_half {
            [first, first]
        } else {
            [first, (middle, step.s)]
        }
    }

    /// The law of the exact transition of `S F^T S^-1`, `G G^T` over `[s, t]`, run backward within a
    /// step from `start` on.
    pub fn half_law(&self, (t, s): (f64, f64), start: f64) -> Result<Arc<Row>> {
        let reversed = self.model.reversed()?;
        match self.model.reading.half_rate {
            HalfRate::Right => reversed.row(s, t),
            HalfRate::AtStep => reversed.row_over(s, t, Dd::diff(t, s) * self.model.rate(start)),
            HalfRate::AtHalf => reversed.row_over(s, t, Dd::diff(t, s) * self.model.rate(t)),
        }
    }

    /// That transition of `u`: `Phi u + L z`.
    fn half(&self, on: (f64, f64), start: f64, u: &[Cell], z: &[Cell]) -> Result<Vec<Cell>> {
        let (row, t, z) = (self.half_law(on, start)?, on.0, &self.shared(z));
        let mean: Vec<Cell> = places(self.k).map(|at| row.phi(at, t)).collect();
        let lower = row.factor(self.model.reversed()?, t)?;
        Ok(add(apply(&mean, u, self.d), &apply(&lower, z, self.d)))
    }

    /// `u + tau G G^T (s + S^-1 u)`: what SSCS does between the halves.
    pub fn kick(&self, step: Step, mut u: Vec<Cell>) -> Result<Vec<Cell>> {
        let (d, Step { t, h, .. }) = (self.d, step);
        let (_, g, rate) = self.sde(t)?;
        let score = self.score(step.row, step.when, &u)?;
        let p = self.model.stationary_precision()?;
        let before = u.clone();
        let sign = number(Dd::from(self.model.reading.score_sign), t);
        for (l, &i) in self.noised.iter().enumerate() {
            let gain = number(h * rate * Dd::from(g[(i, i)] * self.kick_weight()), t);
            for x in 0..d {
                let pull = (0..self.k).fold(times(sign, score[l * d + x]), |a, j| {
                    plus(a, times(number(p[(i, j)], t), before[j * d + x]))
                });
                u[i * d + x] = plus(u[i * d + x], times(gain, pull));
            }
        }
        Ok(u)
    }

    /// Half step, kick, half step.
    pub fn sscs(
        &self,
        step: Step,
        first_half_twice: bool,
        u: &[Cell],
        z: [&[Cell]; 2],
    ) -> Result<Vec<Cell>> {
        let [first, second] = self.halves(step, first_half_twice);
        let u = self.half(first, step.t, u, z[0])?;
        self.half(second, step.t, &self.kick(step, u)?, z[1])
    }
}

/// Start, end and length of the step of each row: `t` and `s`, or the settings `clock` (1 - t) or
/// `t`, and `dt`.
pub(super) fn steps(model: &Model, read: &Reader<'_>) -> Result<Vec<(f64, f64, Dd)>> {
    if let Some(dt) = setting(read, "dt") {
        let t = match (setting(read, "t"), setting(read, "clock")) {
            (Some(t), _) => t,
            (None, Some(c)) => 1.0 - c,
            _ => {
                return Err(Error::parameter(
                    "clock",
                    "missing",
                    "`t`, or `clock` (1 - t), beside `dt`",
                ));
            }
        };
        return check(model, vec![(t, (t - dt).max(0.0), Dd::from(dt)); read.n]);
    }
    let (t, s) = (read.times("t")?, read.times("s")?);
    check(
        model,
        t.into_iter()
            .zip(s)
            .map(|(t, s)| (t, s, Dd::diff(t, s)))
            .collect(),
    )
}

fn check(model: &Model, steps: Vec<(f64, f64, Dd)>) -> Result<Vec<(f64, f64, Dd)>> {
    for (t, s, h) in &steps {
        model.check_time(*t)?;
        if !(*s >= 0.0 && s < t && h.hi > 0.0) {
            return Err(Error::time(
                "s",
                *s,
                "0 <= s < t: a step goes from t back to s",
            ));
        }
    }
    Ok(steps)
}
