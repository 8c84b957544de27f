//! UBU: halves of free underdamped Langevin motion around a kick.

use super::kick::{Kick, Kicks, Predictor};
use super::splitting::linear_part;
use super::sscs::{Exact, exact};
use super::{Grid, Memory, Stepper};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::process::{Custom, erase};
use crate::score::Score;
use crate::small::Mat;

struct Step {
    halves: [Exact; 2],
    kick: Kick,
}

/// With the reverse process's linear part `F' = S F^T S^-1` (that of the stationary law's score):
///
/// ```text
/// U: dx = (F'_xx x + F'_xv v) b dt + noise,  dv = F'_vv v b dt + sqrt(b) G dW       exact, position and velocity jointly
/// B: v + tau (F'_vx x + G G^T (s(u, t) + S^-1 u))                                    t the step's middle, tau = B(s,t)
/// step: U over the first half, B, U over the second
/// ```
///
/// For a force that depends on x alone B is exact and UBU has order 2. Here the score depends on v,
/// so that B as it stands is Euler's step and the weak order is 1 (`ubu`; measured); `ubu2` takes
/// the force at B's middle, predicted with the last step's ([`Predictor::Lagged`]), and has order 2
/// again, at one evaluation too.
///
/// Draws: for each half one per channel, multiplied by the Cholesky factor of U's covariance: the
/// papers' pair (the Brownian increment, its time integral), weighted by the decay, has this joint
/// law. Formula: sampler.ubu. Source: Alamo Zapatero 2017 and Sanz-Serna and Zygalakis 2021, for
/// Langevin dynamics; its use in reverse is ours.
struct Ubu {
    kicks: Kicks,
    steps: Vec<Step>,
}

fn plan(
    name: &str,
    predictor: Predictor,
    diffusion: &Diffusion,
    grid: &Grid,
) -> Result<Box<dyn Stepper>> {
    let (f, precision) = linear_part(name, diffusion)?;
    let (g, mass) = (diffusion.noise(1.0), diffusion.process().mass());
    let free = erase(Custom::<2>::new(
        Mat([[f[(0, 0)], f[(0, 1)]], [0.0, f[(1, 1)]]]),
        Mat([[g[(0, 0)], 0.0], [0.0, g[(1, 1)]]]),
        mass,
    )?)?;
    let kicks = Kicks::new(
        diffusion,
        predictor,
        Mat([[0.0, 0.0], [f[(1, 0)], 0.0]]).into(),
        precision,
        None,
    );
    let mut steps = vec![];
    for (t, s) in grid.intervals() {
        let middle = 0.5 * (t + s);
        let over = |s, t| {
            diffusion
                .schedule()
                .span(s, t)
                .map(|on| exact(&free.moments(on, 0.0)))
        };
        steps.push(Step {
            halves: [over(middle, t)?, over(s, middle)?],
            kick: kicks.kick(diffusion, t, s, middle, 1.0)?,
        });
    }
    Ok(Box::new(Ubu { kicks, steps }))
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan("ubu", Predictor::Start, diffusion, grid)
}

pub(super) fn build2(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan("ubu2", Predictor::Lagged, diffusion, grid)
}

impl Stepper for Ubu {
    fn draws(&self) -> usize {
        4
    }

    fn kept(&self) -> usize {
        self.kicks.kept()
    }

    fn scratch(&self) -> usize {
        self.kicks.scratch()
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let at = &self.steps[i];
        at.halves[0].apply(u, &noise[..2]);
        self.kicks.apply(&at.kick, i == 0, u, score, memory)?;
        at.halves[1].apply(u, &noise[2..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry;
    use super::super::plan::tests::{cld, grid, others, weak_order};

    /// Catches noise of the wrong joint law, a half over the wrong interval, a kick at the wrong
    /// time, and an order that is claimed but not there: 1 as published, 2 with the force at the
    /// kick's middle. Slopes are within 0.15 of the limit at 256 steps.
    #[test]
    fn orders() {
        for (name, order) in [("ubu", 1.0), ("ubu2", 2.0)] {
            let measured = weak_order(name, &cld(), 256);
            assert!((measured - order).abs() < 0.15, "{name}: {measured}");
        }
    }

    /// Catches a process without velocity that is let in, or refused without its name.
    #[test]
    fn refusals() {
        for name in ["ubu", "ubu2", "quicsort"] {
            for d in others().iter().filter(|d| d.channels() == 1) {
                let e = entry(name)
                    .unwrap()
                    .build(d, &grid(2))
                    .err()
                    .unwrap()
                    .to_string();
                assert!(
                    e.contains(name) && e.contains(d.process().name()) && e.contains("velocity"),
                    "{e}"
                );
            }
        }
    }
}
