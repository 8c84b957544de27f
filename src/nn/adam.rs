//! Adam with warm-up, clipping and decoupled weight decay; exponential averages of the weights.

use crate::error::{Error, Result};
use crate::simd::Real;
use crate::simd::pointwise::AdamStep;

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
    /// Gradients of a larger norm are scaled to this one; infinity: none are.
    pub clip: f64,
    /// Weights shrink by `rate * decay` a step.
    pub decay: f64,
    /// Decay of the average of weights.
    pub average: f64,
}

impl Default for Adam {
    fn default() -> Adam {
        Adam { rate: 2e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, warm_up: 0, clip: 1.0, decay: 0.0, average: 0.9999 }
    }
}

impl Adam {
    /// Itself, if every field is in its range.
    ///
    /// # Errors
    /// A field that is not; the message names it.
    pub fn checked(self) -> Result<Adam> {
        let field =
            |name: &'static str, x: f64, ok: bool, allowed: &'static str| if ok { Ok(()) } else { Err(Error::parameter(name, x, allowed)) };
        field("rate", self.rate, self.rate > 0.0 && self.rate <= 1.0, "0 < rate <= 1")?;
        field("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "0 <= beta1 < 1")?;
        field("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "0 <= beta2 < 1")?;
        field("eps", self.eps, self.eps > 0.0 && self.eps <= 1.0, "0 < eps <= 1")?;
        field("clip", self.clip, self.clip > 0.0, "clip > 0")?;
        field("decay", self.decay, self.decay >= 0.0 && self.decay * self.rate < 1.0, "0 <= decay < 1 / rate")?;
        field("average", self.average, (0.0..1.0).contains(&self.average), "0 <= average < 1")?;
        Ok(self)
    }

    /// The learning rate of step `step`, from 1 on: `rate min(1, step / warm_up)`.
    pub fn rate_at(&self, step: u64) -> f64 {
        if step < self.warm_up { self.rate * step as f64 / self.warm_up as f64 } else { self.rate }
    }

    /// The numbers of step `step`, from 1 on, for a gradient whose norm is `norm`: with `m`, `v` the averages,
    /// `p <- p (1 - rate decay) - rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)`. The average of weights moves with
    /// `1 - min(average, (1 + step) / (10 + step))`, so that it forgets the start. Formula: nn.adam. Source: Kingma and Ba 2015; Loshchilov and Hutter 2019.
    pub fn step<T: Real>(&self, step: u64, norm: f64) -> AdamStep<T> {
        let (rate, s) = (self.rate_at(step), step as f64);
        let clip = if norm > self.clip { self.clip / norm } else { 1.0 };
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
