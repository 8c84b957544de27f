//! Adam with warm-up, cool-down, clipping and decoupled weight decay; exponential averages of the
//! weights.

use crate::error::{Error, Result};
use crate::simd::Real;
use crate::simd::loops::pointwise::AdamStep;

/// How weights are changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate after the warm-up.
    pub rate: f64,
    /// Decay of the average of gradients.
    pub beta1: f64,
    /// Decay of the average of their squares.
    pub beta2: f64,
    /// Added to the root of the latter.
    pub eps: f64,
    /// Steps over which the rate grows from 0 in a straight line; 0: none.
    pub warm_up: u64,
    /// Last steps before `end` over which the rate falls towards 0 in a straight line; 0: none.
    pub cool_down: u64,
    /// Number of the last step; later ones, if there are any after a cool-down, have the last one's
    /// rate.
    pub end: u64,
    /// Gradients of a larger norm are scaled to this one; infinity: none are.
    pub clip: f64,
    /// Weights shrink by `rate * decay` a step.
    pub decay: f64,
    /// Decay of the average of weights.
    pub average: f64,
}

impl Default for Adam {
    fn default() -> Adam {
        Adam {
            rate: 2e-4,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            warm_up: 0,
            cool_down: 0,
            end: 0,
            clip: 1.0,
            decay: 0.0,
            average: 0.9999,
        }
    }
}

impl Adam {
    /// Itself, if every field is in its range.
    ///
    /// # Errors
    /// A field that is not; the message names it.
    pub fn checked(self) -> Result<Adam> {
        let field = |name: &'static str, x: f64, ok: bool, allowed: &'static str| {
            if ok {
                Ok(())
            } else {
                Err(Error::parameter(name, x, allowed))
            }
        };
        field(
            "rate",
            self.rate,
            self.rate > 0.0 && self.rate <= 1.0,
            "0 < rate <= 1",
        )?;
        field(
            "beta1",
            self.beta1,
            (0.0..1.0).contains(&self.beta1),
            "0 <= beta1 < 1",
        )?;
        field(
            "beta2",
            self.beta2,
            (0.0..1.0).contains(&self.beta2),
            "0 <= beta2 < 1",
        )?;
        field(
            "eps",
            self.eps,
            self.eps > 0.0 && self.eps <= 1.0,
            "0 < eps <= 1",
        )?;
        field("clip", self.clip, self.clip > 0.0, "clip > 0")?;
        field(
            "decay",
            self.decay,
            self.decay >= 0.0 && self.decay * self.rate < 1.0,
            "0 <= decay < 1 / rate",
        )?;
        field(
            "average",
            self.average,
            (0.0..1.0).contains(&self.average),
            "0 <= average < 1",
        )?;
        Ok(self)
    }

    /// The learning rate of step `step`, from 1 on:
    /// `rate min(1, step / warm_up, (end + 1 - step) / cool_down)`.
    pub fn rate_at(&self, step: u64) -> f64 {
        let share = |part: u64, of: u64| {
            if part < of {
                part as f64 / of as f64
            } else {
                1.0
            }
        };
        let left = self.end.saturating_sub(step).saturating_add(1);
        self.rate * share(step, self.warm_up).min(share(left, self.cool_down))
    }

    /// The numbers of step `step`, from 1 on, for a gradient whose norm is `norm`: with `m`, `v`
    /// the averages, `p <- p (1 - rate decay) - rate (m / (1 - beta1^step)) / (sqrt(v / (1 -
    /// beta2^step)) + eps)`. The average of weights moves with `1 - min(average, (1 + step) / (10 +
    /// step))`, so that it forgets the start. Formula: nn.adam. Source: Kingma and Ba 2015;
    /// Loshchilov and Hutter 2019.
    pub fn step<T: Real>(&self, step: u64, norm: f64) -> AdamStep<T> {
        let (rate, s) = (self.rate_at(step), step as f64);
        let clip = if norm > self.clip {
            self.clip / norm
        } else {
            1.0
        };
        AdamStep {
            clip: T::of(clip),
            beta1: T::of(self.beta1),
            beta2: T::of(self.beta2),
            rate: T::of(rate / (1.0 - self.beta1.powf(s))),
            unbias2: T::of(1.0 / (1.0 - self.beta2.powf(s))),
            eps: T::of(self.eps),
            keep: T::of(1.0 - rate * self.decay),
            average: T::of(1.0 - self.average.min((1.0 + s) / (10.0 + s))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a cool-down that begins or ends a step off, or that does not meet the warm-up: rates
    /// by hand. The values are exact quotients times the rate, so half an ulp each.
    #[test]
    fn rates() {
        let a = Adam {
            rate: 1.0,
            warm_up: 4,
            cool_down: 5,
            end: 20,
            ..Adam::default()
        };
        let want = [
            (1, 0.25),
            (3, 0.75),
            (4, 1.0),
            (5, 1.0),
            (15, 1.0),
            (16, 1.0),
            (17, 0.8),
            (19, 0.4),
            (20, 0.2),
            (21, 0.2),
        ];
        for (step, rate) in want {
            assert_eq!(a.rate_at(step), rate, "step {step}");
        }
        let short = Adam { end: 6, ..a };
        assert_eq!(
            [1, 2, 3, 4, 5, 6].map(|s| short.rate_at(s)),
            [0.25, 0.5, 0.75, 0.6, 0.4, 0.2]
        );
        let none = Adam { cool_down: 0, ..a };
        assert_eq!([4, 20, u64::MAX].map(|s| none.rate_at(s)), [1.0; 3]);
    }

    /// Catches any other warm-up of the average of weights (1/10 of the first step, or none), a
    /// decay that is not capped, a correction of the wrong power, and a clip that multiplies the
    /// wrong way round: numbers by hand, to two roundings of f64.
    #[test]
    fn a_step_by_hand() {
        let a = Adam {
            rate: 0.5,
            clip: 2.0,
            decay: 0.1,
            average: 0.99,
            ..Adam::default()
        };
        let near = |x: f64, y: f64| {
            assert!(
                (x - y).abs() <= 4.0 * f64::EPSILON * y.abs(),
                "{x} is not {y}"
            )
        };
        // 1 - 2/11, 1 - 11/20, and from (1 + s)/(10 + s) > 0.99 on 1 - 0.99
        for (step, moves) in [
            (1, 9.0 / 11.0),
            (10, 0.45),
            (889, 9.0 / 899.0),
            (891, 0.010_000_000_000_000_009),
            (1_000_000, 0.010_000_000_000_000_009),
        ] {
            near(a.step::<f64>(step, 1.0).average, moves);
        }
        let first = a.step::<f64>(1, 8.0);
        near(first.clip, 0.25);
        near(first.rate, 0.5 / (1.0 - 0.9));
        near(first.unbias2, 1.0 / (1.0 - 0.999));
        near(first.keep, 0.95);
        let second = a.step::<f64>(2, 2.0);
        near(second.clip, 1.0);
        near(second.rate, 0.5 / (1.0 - 0.9 * 0.9));
        near(second.unbias2, 1.0 / (1.0 - 0.999 * 0.999));
    }
}
