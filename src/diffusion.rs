//! A diffusion as scores, losses and samplers see it: a process under a schedule, with the law of
//! the initial velocities.
//!
//! # Example
//! ```
//! use cld_sgm::{Diffusion, Psld, Schedule};
//!
//! let paper = Diffusion::paper()?; // CLD with M = 1/4, beta = 4, gamma = 0.04
//! assert_eq!((paper.channels(), paper.noised()), (2, &[1][..])); // noise in v alone
//!
//! let psld = Diffusion::of(Psld::new(0.01, 4.01)?, Schedule::constant(8.0)?, 0.04)?;
//! assert_eq!(psld.noised(), &[0, 1]);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

use crate::error::{Result, check};
use crate::kernel::{KernelValues, Objective, kernel_values};
use crate::process::{AnyMoments, AnyProcess, Cld, LinearSde, erase};
use crate::schedule::Schedule;
use crate::small::Square;
use std::sync::Arc;

/// A process, its schedule, and `gamma`: `u_0 = (x_0, v_0)` with `x_0` from the data and
/// `v_0 ~ N(0, gamma M)`.
#[derive(Clone)]
pub struct Diffusion {
    process: Arc<dyn AnyProcess>,
    schedule: Schedule,
    gamma: f64,
    drift: Square,
    noised: Vec<usize>,
}

/// How far the law at t = 1 is from the prior, from which samplers start and likelihoods count.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PriorGap {
    /// What is left of the data's mean: `Phi_i0` of the channel where it is largest in units of the
    /// prior's deviation.
    pub mean: f64,
    /// That channel.
    pub channel: usize,
    /// The prior's deviation of it.
    pub deviation: f64,
    /// Variance given the data over the prior's, of the channel where it is furthest from 1.
    pub variance: f64,
    /// That channel.
    pub variance_channel: usize,
    /// `B(0,1)`, the integral of the rate.
    pub clock: f64,
}

impl PriorGap {
    /// Whether samples of data of deviation 1 can tell: more than a twentieth of the prior's
    /// deviation, or a hundredth of a variance.
    pub fn unmet(&self) -> bool {
        !(self.mean.abs() <= 0.05 * self.deviation && (self.variance - 1.0).abs() <= 0.01)
    }
}

impl std::fmt::Display for PriorGap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channel = |i: usize| ["x", "v", "a", "j"].get(i).copied().unwrap_or("?");
        write!(
            f,
            "the mean of {} at t = 1 is still {:.3} of the data's (the prior's deviation is {:.3}), the variance of {} is {:.3} of the \
             prior's; the schedule's integral is {:.3}",
            channel(self.channel),
            self.mean.abs(),
            self.deviation,
            channel(self.variance_channel),
            self.variance,
            self.clock
        )
    }
}

impl Diffusion {
    /// From its parts; `gamma` is 0 for a process without velocity.
    ///
    /// # Errors
    /// Unless `0 <= gamma <= 1e6`, and 0 where there is no velocity.
    pub fn new(process: Box<dyn AnyProcess>, schedule: Schedule, gamma: f64) -> Result<Diffusion> {
        check(
            "gamma",
            gamma,
            (0.0..=1e6).contains(&gamma),
            "0 <= gamma <= 1e6",
        )?;
        check(
            "gamma",
            gamma,
            gamma == 0.0 || process.channels() > 1,
            "0 (this process has no velocity)",
        )?;
        let (k, noise) = (process.channels(), process.noise_at(f64::MAX));
        let noised = (0..k).filter(|i| noise[(*i, *i)] > 0.0).collect();
        Ok(Diffusion {
            drift: process.drift(),
            process: process.into(),
            schedule,
            gamma,
            noised,
        })
    }

    /// From a process known at compile time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of<const K: usize>(
        process: impl LinearSde<K> + Clone + Send + Sync + 'static,
        schedule: Schedule,
        gamma: f64,
    ) -> Result<Diffusion> {
        Diffusion::new(erase(process)?, schedule, gamma)
    }

    /// The paper's: M = 1/4, Gamma = 1, beta = 4, gamma = 0.04. Source: CLD, experiments.
    ///
    /// # Errors
    /// None.
    pub fn paper() -> Result<Diffusion> {
        Diffusion::of(Cld::new(0.25)?, Schedule::constant(4.0)?, 0.04)
    }

    /// The process.
    pub fn process(&self) -> &dyn AnyProcess {
        &*self.process
    }

    /// The process, for what outlives the diffusion.
    #[cfg(feature = "cli")]
    pub(crate) fn shared_process(&self) -> Arc<dyn AnyProcess> {
        self.process.clone()
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// `gamma`: the initial velocity's variance in units of the mass.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// Variances of the channels at t = 0 given the data: 0 of x, `gamma M` of v and every further
    /// channel. The one law that kernels, training, losses and likelihoods begin from. Formula:
    /// kernel.initial.
    pub fn initial(&self) -> Vec<f64> {
        self.process.initial(self.gamma)
    }

    /// K, the number of channels.
    pub fn channels(&self) -> usize {
        self.process.channels()
    }

    /// The channels that carry noise, in order: those whose score a sampler needs. CLD: `[1]`,
    /// PSLD: `[0, 1]`, VP: `[0]`.
    pub fn noised(&self) -> &[usize] {
        &self.noised
    }

    /// The drift matrix F.
    pub fn drift(&self) -> &Square {
        &self.drift
    }

    /// The noise matrix `G G^T` per unit of the process's clock, at time `t`. Diagonal for every
    /// process of the registry.
    pub fn noise(&self, t: f64) -> Square {
        self.process.noise_at(self.clock(t))
    }

    /// `b(t)`.
    pub fn rate(&self, t: f64) -> f64 {
        self.schedule.rate(t)
    }

    /// `B(0,t)`; `t` must be in [0, 1].
    pub fn clock(&self, t: f64) -> f64 {
        self.schedule.integral_from_zero(t).to_f64()
    }

    /// Covariance of the prior, from which samplers start.
    pub fn prior(&self) -> Square {
        self.process.prior(self.clock(1.0))
    }

    /// How far the law at t = 1 is from the prior.
    ///
    /// # Errors
    /// As [`kernel`](Self::kernel).
    pub fn prior_gap(&self) -> Result<PriorGap> {
        let (kernel, prior, k) = (self.kernel(1.0)?, self.prior(), self.channels());
        let deviation = |i: usize| prior[(i, i)].sqrt();
        let left = |i: &usize| kernel.mean[(*i, 0)].abs() / deviation(*i);
        let ratio = |i: usize| kernel.cov[(i, i)] / prior[(i, i)];
        let most = |size: &dyn Fn(&usize) -> f64| {
            (0..k)
                .max_by(|a, b| size(a).total_cmp(&size(b)))
                .unwrap_or(0)
        };
        let (channel, variance_channel) = (most(&left), most(&|i| (ratio(*i) - 1.0).abs()));
        Ok(PriorGap {
            mean: kernel.mean[(channel, 0)],
            channel,
            deviation: deviation(channel),
            variance: ratio(variance_channel),
            variance_channel,
            clock: self.clock(1.0),
        })
    }

    /// The marginal kernel given `x_0`, velocities marginalised (HSM with this `gamma`): the law
    /// that exact scores need.
    ///
    /// # Errors
    /// `t` outside (0, 1]; a covariance that is not a normal f64.
    pub fn kernel(&self, t: f64) -> Result<KernelValues> {
        let objective = if self.channels() == 1 {
            Objective::DSM
        } else {
            Objective::hsm(self.gamma)?
        };
        kernel_values(&*self.process, &self.schedule, objective, 0.0, t)
    }

    /// The forward transition over `[s, t]`.
    ///
    /// # Errors
    /// Unless `0 <= s <= t <= 1`.
    pub fn transition(&self, s: f64, t: f64) -> Result<AnyMoments> {
        Ok(self.process.moments(self.schedule.span(s, t)?, 0.0))
    }

    /// The transition of SSCS's analytic part over `[s, t]`, run backward: that of
    /// [`Reversed`](crate::process::Reversed).
    ///
    /// # Errors
    /// As [`transition`](Self::transition); a process without a stationary law (VE), or whose noise
    /// is not constant in its clock (sub-VP).
    pub fn reversed(&self, s: f64, t: f64) -> Result<AnyMoments> {
        self.process.reversed_moments(self.schedule.span(s, t)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a gap that is met although one of its two parts is not, an edge on the wrong side,
    /// and a NaN that is met.
    #[test]
    fn a_gap_is_met_by_both_parts() {
        let gap = |mean: f64, variance: f64| PriorGap {
            mean,
            channel: 0,
            deviation: 2.0,
            variance,
            variance_channel: 0,
            clock: 1.0,
        };
        for (mean, variance, unmet) in [
            (0.0, 1.0, false),
            (0.1, 1.009, false),
            (-0.1, 0.991, false),
            (0.11, 1.0, true),
            (-0.11, 1.0, true),
            (0.0, 1.011, true),
            (0.0, 0.989, true),
            (0.2, 2.0, true),
            (f64::NAN, 1.0, true),
            (0.0, f64::NAN, true),
        ] {
            assert_eq!(gap(mean, variance).unmet(), unmet, "{mean} {variance}");
        }
    }
}
