//! Schedules: the rate `b(t)` (`beta` in the papers) and its integral, accurate also over tiny
//! intervals.
//!
//! The integral is the only thing a transition needs to know of a schedule. It is computed in
//! double words ([`Dd`]), because one ulp of error in it is `y` ulp of error in `e^-y`.
//!
//! # Example
//! ```
//! use cld_sgm::Schedule;
//!
//! let vp = Schedule::linear(0.5, 19.5)?; // b(t) = 0.5 + 19.5 t
//! assert_eq!(vp.rate(0.5), 10.25);
//! assert_eq!(vp.integral(0.0, 1.0)?, 10.25);
//! // over tiny intervals, too: nothing cancels
//! let tiny = vp.integral(0.5, 0.5 + f64::EPSILON)?;
//! assert!((tiny / (10.25 * f64::EPSILON) - 1.0).abs() < 1e-15);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

use crate::dd::{Dd, fast_two_sum};
use crate::error::{Error, Result, check};
use crate::simd::Lane;
use std::sync::Mutex;

/// `pi / 2` as a double word.
const HALF_PI: Dd = Dd {
    hi: std::f64::consts::FRAC_PI_2,
    lo: 6.123_233_995_736_766e-17,
};

/// The part of a schedule between two times: `B(0,s)` and `tau = B(s,t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// `B(0,s)`, the integral of b from 0 to the start.
    pub start: Dd,
    /// `tau = B(s,t)`, the integral of b over the interval.
    pub tau: Dd,
}

impl Span {
    /// From time 0 to `t`, which must be in [0, 1].
    #[inline(always)]
    pub(crate) fn to(schedule: &Schedule, t: f64) -> Span {
        Span {
            start: Dd::ZERO,
            tau: schedule.integral_from_zero(t),
        }
    }

    /// From 0, with a given integral `tau` of the rate.
    ///
    /// # Errors
    /// `tau` negative or not finite.
    pub fn from_zero(tau: f64) -> Result<Span> {
        check("tau", tau, (0.0..=1e15).contains(&tau), "0 <= tau <= 1e15")?;
        Ok(Span {
            start: Dd::ZERO,
            tau: Dd::from(tau),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// b0, and b1 / 2.
    Linear { b0: f64, b1: f64 },
    /// s0, t_max.
    Cosine { s0: f64, t_max: f64 },
    /// sigma_min, sigma_max, 2 ln(sigma_max / sigma_min).
    Geometric { min: f64, max: f64, growth: Dd },
    /// Times and the integral from 0 there, all of it multiplied by `factor`.
    Table {
        points: &'static [(f64, Dd)],
        factor: f64,
    },
}

/// Tables for the life of the program, each once: a schedule is a few numbers, and copied.
static TABLES: Mutex<Vec<&'static [(f64, Dd)]>> = Mutex::new(Vec::new());

/// How near to a point of a table a time must be to be taken for it, relative to the last one: what
/// float32 does to a time.
const POINT: f64 = 1e-6;

/// A rate `b(t)` on [0, 1].
///
/// | kind | rate b(t) | integral over `[s, t]` |
/// |---|---|---|
/// | constant | `b` | `b (t - s)` |
/// | linear | `b0 + b1 t` | `(t - s) (b0 + b1 (s + t) / 2)` |
/// | cosine | `pi t_max/(1+s0) tan a(t)`, `a(t) = (pi/2) (t_max t + s0)/(1 + s0)` | `2 ln(cos a(s) / cos a(t))` |
/// | table | none | the difference of two of its entries |
/// | geometric | `d sigma^2/dt`, `sigma(t) = sigma_min (sigma_max/sigma_min)^t` | `sigma^2(t) - sigma^2(s)` |
///
/// The cosine schedule is Nichol and Dhariwal's (2021) in continuous time; its rate is infinite at
/// the end of their clock, which is why the clock stops at `t_max` (0.9946 is the value of
/// DPM-Solver, Lu et al. 2022). Formula: schedule.rate, schedule.integral. Source: CLD sec. 2
/// (constant, linear), Song et al. 2021 (geometric).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
    /// The last time: 1, unless a file says otherwise.
    horizon: f64,
}

/// `2 atanh(x / (2 + x)) = ln(1 + x)` for x >= 0, in double words without cancellation.
fn ln_1p(x: Dd) -> Dd {
    if x.hi > 0.25 {
        return (Dd::ONE + x).ln();
    }
    let w = x / (Dd::from(2.0) + x);
    let w2 = w * w;
    let (mut power, mut sum) = (w, w);
    for k in 1..18 {
        power = power * w2;
        sum = sum + power / Dd::from((2 * k + 1) as f64);
    }
    sum.scale(2.0)
}

/// `t (b0 + b1 t / 2)` as a sum of two doubles, the second at most 2 ulp of the first.
#[inline(always)]
pub(crate) fn linear_integral<L: Lane<Item = f64>>(b0: f64, b1: f64, t: L) -> (L, L) {
    let c = L::splat;
    if b1 == 0.0 {
        let hi = c(b0) * t;
        return (hi, c(b0).mul_add(t, -hi));
    }
    let p = c(0.5 * b1) * t;
    let e = c(0.5 * b1).mul_add(t, -p);
    // Knuth's sum of b0 and p: either may be the larger
    let h = c(b0) + p;
    let pp = h - c(b0);
    let l = (c(b0) - (h - pp)) + (p - pp);
    let hi = t * h;
    (hi, t.mul_add(l + e, t.mul_add(h, -hi)))
}

impl Schedule {
    /// `b(t) = b`.
    ///
    /// # Errors
    /// Unless `0 < b <= 1e12`.
    pub fn constant(b: f64) -> Result<Schedule> {
        check("b", b, b > 0.0 && b <= 1e12, "0 < b <= 1e12")?;
        Ok(Schedule {
            kind: Kind::Linear { b0: b, b1: 0.0 },
            horizon: 1.0,
        })
    }

    /// `b(t) = b0 + b1 t`.
    ///
    /// # Errors
    /// Unless `b0 >= 0`, `b0 + b1 >= 0`, not both 0, and both at most 1e12 in size.
    pub fn linear(b0: f64, b1: f64) -> Result<Schedule> {
        check("b0", b0, (0.0..=1e12).contains(&b0), "0 <= b0 <= 1e12")?;
        check("b1", b1, b1.abs() <= 1e12, "-1e12 <= b1 <= 1e12")?;
        check(
            "b0 + b1",
            b0 + b1,
            b0 + b1 >= 0.0,
            ">= 0 (the rate at t = 1)",
        )?;
        check(
            "b0 + b1/2",
            b0 + 0.5 * b1,
            b0 + 0.5 * b1 > 0.0,
            "> 0 (the integral over [0,1])",
        )?;
        Ok(Schedule {
            kind: Kind::Linear { b0, b1 },
            horizon: 1.0,
        })
    }

    /// The cosine schedule with offset `s0` (0.008 in the literature), its clock stopped at
    /// `t_max`.
    ///
    /// # Errors
    /// Unless `0 <= s0 <= 1` and `0 < t_max <= 0.9999`.
    pub fn cosine(s0: f64, t_max: f64) -> Result<Schedule> {
        check("s0", s0, (0.0..=1.0).contains(&s0), "0 <= s0 <= 1")?;
        check(
            "t_max",
            t_max,
            t_max > 0.0 && t_max <= 0.9999,
            "0 < t_max <= 0.9999 (the rate is infinite at 1)",
        )?;
        Ok(Schedule {
            kind: Kind::Cosine { s0, t_max },
            horizon: 1.0,
        })
    }

    /// The variance-exploding schedule, `sigma(t) = sigma_min (sigma_max/sigma_min)^t`, rate
    /// `d sigma^2 / dt`.
    ///
    /// # Errors
    /// Unless `1e-100 <= sigma_min < sigma_max <= 1e6`.
    pub fn geometric(sigma_min: f64, sigma_max: f64) -> Result<Schedule> {
        check(
            "sigma_min",
            sigma_min,
            sigma_min >= 1e-100,
            "sigma_min >= 1e-100",
        )?;
        check(
            "sigma_max",
            sigma_max,
            sigma_max > sigma_min && sigma_max <= 1e6,
            "sigma_min < sigma_max <= 1e6",
        )?;
        let growth = (Dd::from(sigma_max) / Dd::from(sigma_min)).ln().scale(2.0);
        Ok(Schedule {
            kind: Kind::Geometric {
                min: sigma_min,
                max: sigma_max,
                growth,
            },
            horizon: 1.0,
        })
    }

    /// A schedule of which only the integral at some times is known: `(t, B(0,t))`, t rising from
    /// above 0 to the horizon. Nothing is interpolated: there is no other time, and no rate (it is
    /// NaN).
    ///
    /// # Errors
    /// No points, or more than 100000; times that do not rise, by at least a hundred-thousandth of
    /// the last; an integral that falls.
    pub fn table(points: &[(f64, f64)]) -> Result<Schedule> {
        Schedule::of_points(points.iter().map(|(t, b)| (*t, Dd::from(*b))).collect())
    }

    /// The schedule of a discrete chain of N steps (DDPM), by its betas:
    /// `B(0, i/N) = -(ln(1 - beta_1) + .. + ln(1 - beta_i))`, so that VP's mean is the root of
    /// alpha_bar. A table.
    ///
    /// # Errors
    /// No betas, or more than 100000; one that is not between 0 and 1.
    pub fn betas(betas: &[f64]) -> Result<Schedule> {
        let n = betas.len() as f64;
        let mut sum = Dd::ZERO;
        let mut points = Vec::with_capacity(betas.len());
        for (i, b) in betas.iter().enumerate() {
            check("betas", *b, *b > 0.0 && *b < 1.0, "0 < beta < 1")?;
            // -ln(1 - b) = ln(1 + b/(1 - b))
            sum = sum + ln_1p(Dd::from(*b) / (Dd::ONE - Dd::from(*b)));
            points.push(((i + 1) as f64 / n, sum));
        }
        Schedule::of_points(points)
    }

    fn of_points(points: Vec<(f64, Dd)>) -> Result<Schedule> {
        if points.is_empty() || points.len() > 100_000 {
            return Err(Error::parameter(
                "schedule",
                format!("{} points", points.len()),
                "1 to 100000 points",
            ));
        }
        let horizon = points[points.len() - 1].0;
        check(
            "t",
            horizon,
            horizon > 0.0 && horizon <= 1e6,
            "0 < t <= 1e6 (the last time of a table)",
        )?;
        let mut before = (0.0, Dd::ZERO);
        for p in &points {
            check(
                "t",
                p.0,
                p.0 - before.0 >= 9.0 * POINT * horizon,
                "times that rise from above 0, by 1e-5 of the last at least",
            )?;
            check(
                "integral",
                p.1.to_f64(),
                p.1.hi <= 1e15 && p.1 >= before.1,
                "an integral that never falls, up to 1e15",
            )?;
            before = *p;
        }
        let mut tables = TABLES
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = tables.iter().find(|t| ***t == points[..]).copied();
        let points = known.unwrap_or_else(|| {
            let kept: &'static [(f64, Dd)] = points.leak();
            tables.push(kept);
            kept
        });
        Ok(Schedule {
            kind: Kind::Table {
                points,
                factor: 1.0,
            },
            horizon,
        })
    }

    /// The points of a table: times, and the integral there.
    pub fn points(&self) -> Option<Vec<(f64, f64)>> {
        match self.kind {
            Kind::Table { points, factor } => Some(
                points
                    .iter()
                    .map(|(t, b)| (*t, (*b * Dd::from(factor)).to_f64()))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The integral at a time of a table.
    fn at_point(&self, t: f64) -> Option<Dd> {
        let Kind::Table { points, factor } = self.kind else {
            return None;
        };
        if t == 0.0 {
            return Some(Dd::ZERO);
        }
        let next = points.partition_point(|p| p.0 < t);
        let near = |p: &&(f64, Dd)| (p.0 - t).abs() <= POINT * self.horizon;
        points[next.saturating_sub(1)..points.len().min(next + 1)]
            .iter()
            .find(near)
            .map(|p| p.1 * Dd::from(factor))
    }

    /// The same rate on [0, T]: for code whose clock ends at another time than 1. Constant and
    /// linear rates only, the others are defined by where their clock ends.
    ///
    /// # Errors
    /// Unless `0 < T <= 1e6`; a rate that is negative at T; another kind with T other than 1.
    pub fn on(self, horizon: f64) -> Result<Schedule> {
        check(
            "horizon",
            horizon,
            horizon > 0.0 && horizon <= 1e6,
            "0 < horizon <= 1e6",
        )?;
        match self.kind {
            Kind::Linear { b0, b1 } => {
                check(
                    "b0 + b1 horizon",
                    b0 + b1 * horizon,
                    b0 + b1 * horizon >= 0.0,
                    ">= 0 (the rate at the horizon)",
                )?;
            }
            _ if horizon != self.horizon => {
                return Err(Error::parameter(
                    "horizon",
                    horizon,
                    format!("{} for the schedule {}", self.horizon, self.name()),
                ));
            }
            _ => {}
        }
        Ok(Schedule { horizon, ..self })
    }

    /// The last time, T: 1 unless [`Schedule::on`] has set another.
    pub fn horizon(&self) -> f64 {
        self.horizon
    }

    /// The times there are, in words.
    pub fn allowed(&self) -> String {
        if self.horizon == 1.0 {
            "0 <= t <= 1 (a process whose clock ends at another time says so by `horizon`)".into()
        } else {
            format!("0 <= t <= {}, the horizon", self.horizon)
        }
    }

    /// The same with each parameter that is not 0 multiplied by `factor`, one at a time; those that
    /// this makes invalid left out.
    #[cfg(feature = "cli")]
    pub(crate) fn perturbed(&self, factor: f64) -> Vec<Schedule> {
        if let Kind::Table {
            points,
            factor: own,
        } = self.kind
        {
            return vec![Schedule {
                kind: Kind::Table {
                    points,
                    factor: own * factor,
                },
                ..*self
            }];
        }
        let made = |p: &[f64]| match self.kind {
            Kind::Linear { .. } => Schedule::linear(p[0], p[1]),
            Kind::Cosine { .. } => Schedule::cosine(p[0], p[1]),
            Kind::Geometric { .. } => Schedule::geometric(p[0], p[1]),
            Kind::Table { .. } => Ok(*self),
        };
        let params: Vec<f64> = self.params().iter().map(|(_, x)| *x).collect();
        let changed = |i: usize| {
            (0..params.len())
                .map(|j| {
                    if i == j {
                        params[j] * factor
                    } else {
                        params[j]
                    }
                })
                .collect::<Vec<_>>()
        };
        let list = (0..params.len()).filter(|i| params[*i] != 0.0);
        list.filter_map(|i| {
            made(&changed(i)).ok().map(|s| Schedule {
                horizon: self.horizon,
                ..s
            })
        })
        .collect()
    }

    /// The kind's name in files and on the command line.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Linear { b1: 0.0, .. } => "constant",
            Kind::Linear { .. } => "linear",
            Kind::Cosine { .. } => "cosine",
            Kind::Geometric { .. } => "geometric-sigma",
            Kind::Table { .. } => "table",
        }
    }

    /// The parameters by name, as files have them.
    pub fn params(&self) -> Vec<(&'static str, f64)> {
        match self.kind {
            Kind::Linear { b0, b1 } => vec![("b0", b0), ("b1", b1)],
            Kind::Cosine { s0, t_max } => vec![("s0", s0), ("t_max", t_max)],
            Kind::Geometric { min, max, .. } => vec![("sigma_min", min), ("sigma_max", max)],
            Kind::Table { .. } => vec![],
        }
    }

    /// The angle `a(t)` of the cosine schedule.
    fn angle(s0: f64, t_max: f64, t: f64) -> Dd {
        (Dd::prod(t_max, t) + Dd::from(s0)) / Dd::new(1.0, s0) * HALF_PI
    }

    /// The rate `b(t)`, within 2 ulp. Total: any `t` in [0, 1] gives a finite value >= 0, but for a
    /// table, which has none (NaN).
    pub fn rate(&self, t: f64) -> f64 {
        match self.kind {
            Kind::Linear { b0, b1 } => (Dd::prod(b1, t) + Dd::from(b0)).to_f64(),
            Kind::Cosine { s0, t_max } => {
                let (s, c) = Self::angle(s0, t_max, t).sin_cos();
                (s / c * HALF_PI.scale(2.0) * Dd::from(t_max) / Dd::new(1.0, s0)).to_f64()
            }
            Kind::Geometric { min, growth, .. } => {
                ((growth * Dd::from(t)).exp() * growth * Dd::prod(min, min)).to_f64()
            }
            Kind::Table { .. } => f64::NAN,
        }
    }

    /// `B(0,t)`: the argument of every kernel. `t` must be in [0, 1].
    #[inline(always)]
    pub(crate) fn integral_from_zero(&self, t: f64) -> Dd {
        match self.kind {
            Kind::Linear { b0, b1 } => {
                let (hi, lo) = linear_integral(b0, b1, t);
                let (hi, lo) = fast_two_sum(hi, lo);
                Dd { hi, lo }
            }
            _ => self.integral_dd(0.0, t),
        }
    }

    /// The same, its low word up to 2 ulp of the high one: whoever adds the two in the end need not
    /// wait for the sum here.
    #[inline(always)]
    pub(crate) fn integral_unnormalised(&self, t: f64) -> Dd {
        match self.kind {
            Kind::Linear { b0, b1 } => {
                let (hi, lo) = linear_integral(b0, b1, t);
                Dd { hi, lo }
            }
            _ => self.integral_dd(0.0, t),
        }
    }

    /// `b0` and `b1` of a linear (or constant) rate.
    #[inline(always)]
    pub(crate) fn as_linear(&self) -> Option<(f64, f64)> {
        match self.kind {
            Kind::Linear { b0, b1 } => Some((b0, b1)),
            _ => None,
        }
    }

    /// The constant `g` of a rate that grows like `e^(g t)`.
    #[cfg(feature = "cli")]
    pub(crate) fn growth(&self) -> Option<Dd> {
        match self.kind {
            Kind::Geometric { growth, .. } => Some(growth),
            _ => None,
        }
    }

    /// `B(s,t)` in double words, for 0 <= s <= t <= 1.
    #[inline(never)]
    fn integral_dd(&self, s: f64, t: f64) -> Dd {
        let d = Dd::diff(t, s);
        match self.kind {
            Kind::Linear { b0, b1 } => d * (Dd::from(b0) + Dd::new(s, t) * Dd::from(0.5 * b1)),
            Kind::Cosine { s0, t_max } => {
                let c = HALF_PI / Dd::new(1.0, s0);
                let (from, to) = (Self::angle(s0, t_max, s), Self::angle(s0, t_max, t));
                // cos a / cos b - 1 = 2 sin((a+b)/2) sin((b-a)/2) / cos b
                let (mid, _) = (from + to).scale(0.5).sin_cos();
                let (half, _) = (c * Dd::from(t_max) * d).scale(0.5).sin_cos();
                let (_, cos) = to.sin_cos();
                ln_1p((mid * half).scale(2.0) / cos).scale(2.0)
            }
            Kind::Geometric { min, growth, .. } => {
                (growth * Dd::from(s)).exp() * (growth * d).exp_m1() * Dd::prod(min, min)
            }
            Kind::Table { .. } => match (self.at_point(s), self.at_point(t)) {
                (Some(from), Some(to)) => to - from,
                _ => Dd::from(f64::NAN),
            },
        }
    }

    /// The interval `[s, t]` in the schedule's own clock.
    ///
    /// # Errors
    /// Unless `0 <= s <= t <= 1` (or the horizon).
    pub fn span(&self, s: f64, t: f64) -> Result<Span> {
        if !(0.0..=self.horizon).contains(&t) {
            return Err(Error::time("t", t, self.allowed()));
        }
        if !(s >= 0.0 && s <= t) {
            return Err(Error::time("s", s, format!("0 <= s <= t = {t}")));
        }
        if let (Kind::Table { points, .. }, Some((name, bad))) = (
            self.kind,
            [("t", t), ("s", s)]
                .into_iter()
                .find(|(_, x)| self.at_point(*x).is_none()),
        ) {
            let i = points.partition_point(|p| p.0 < bad);
            let (low, high) = (
                if i > 0 { points[i - 1].0 } else { 0.0 },
                points[i.min(points.len() - 1)].0,
            );
            return Err(Error::time(
                name,
                bad,
                format!("a time of the table: nothing is known between {low} and {high}"),
            ));
        }
        if s == 0.0 {
            return Ok(Span {
                start: Dd::ZERO,
                tau: self.integral_from_zero(t),
            });
        }
        Ok(Span {
            start: self.integral_from_zero(s),
            tau: self.integral_dd(s, t),
        })
    }

    /// The integral `B(s,t)` of the rate over `[s, t]`, correctly rounded but for about one case in
    /// a million.
    ///
    /// # Errors
    /// Unless `0 <= s <= t <= 1`.
    pub fn integral(&self, s: f64, t: f64) -> Result<f64> {
        Ok(self.span(s, t)?.tau.to_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a rate that is not the derivative of the integral (a factor 2, a sign, beta/2
    /// conventions): B(t-h, t+h) / 2h -> b(t) with error h^2 b''/6.
    #[test]
    fn rate_is_the_derivative_of_the_integral() {
        for s in all() {
            for t in [0.1, 0.35, 0.5, 0.8] {
                let h = 1e-4;
                let mean = s.integral(t - h, t + h).expect("valid") / (2.0 * h);
                // h^2 b''/6 relative to b: for the steepest here (geometric, growth 17) 17^2 * 1e-8
                // / 6 = 5e-7
                assert!((mean / s.rate(t) - 1.0).abs() < 1e-6, "{} at {t}", s.name());
            }
        }
    }

    /// Catches an integral that is not additive, as when s and t are subtracted after rounding.
    #[test]
    fn integral_is_additive_over_tiny_intervals() {
        for s in all() {
            for (a, b, c) in [
                (0.3, 0.3 + 1e-13, 0.3 + 2e-12),
                (0.0, 1e-12, 0.9),
                (0.25, 0.5, 1.0),
            ] {
                let sum = s.integral(a, b).unwrap() + s.integral(b, c).unwrap();
                let whole = s.integral(a, c).unwrap();
                assert!(
                    (sum - whole).abs() <= 2.0 * f64::EPSILON * whole,
                    "{}: {sum} {whole}",
                    s.name()
                ); // two roundings
            }
        }
    }

    /// Catches a constructor or a time check that lets rubbish in.
    #[test]
    fn invalid_schedules_and_times_are_refused_by_name() {
        for (r, name) in [
            (Schedule::constant(0.0), "b"),
            (Schedule::constant(f64::NAN), "b"),
            (Schedule::linear(-1.0, 3.0), "b0"),
            (Schedule::linear(1.0, -3.0), "b0 + b1"),
            (Schedule::linear(0.0, 0.0), "b0 + b1/2"),
            (Schedule::linear(1.0, f64::INFINITY), "b1"),
            (Schedule::cosine(0.008, 1.0), "t_max"),
            (Schedule::cosine(-0.1, 0.9), "s0"),
            (Schedule::geometric(0.0, 1.0), "sigma_min"),
            (Schedule::geometric(2.0, 1.0), "sigma_max"),
        ] {
            let e = r.expect_err(name).to_string();
            assert!(e.contains(&format!("`{name}`")), "{e}");
        }
        let s = Schedule::constant(4.0).unwrap();
        for (a, b) in [
            (0.5, 0.4),
            (-0.1, 0.5),
            (0.0, 1.1),
            (f64::NAN, 0.5),
            (0.0, f64::NAN),
        ] {
            assert!(s.integral(a, b).is_err(), "{a} {b}");
        }
    }

    fn all() -> Vec<Schedule> {
        vec![
            Schedule::constant(4.0).unwrap(),
            Schedule::linear(0.1, 19.9).unwrap(),
            Schedule::linear(3.0, -3.0).unwrap(),
            Schedule::cosine(0.008, 0.9946).unwrap(),
            Schedule::geometric(0.01, 50.0).unwrap(),
        ]
    }
}
