//! Splittings into steps that are exact one by one: shears, Ornstein-Uhlenbeck, kick. For the SDE
//! and for the flow.
//!
//! The linear part of the reverse process, `F' = S F^T S^-1` (SDE) or `-F - G G^T S^-1 / 2` (flow),
//! is cut into its diagonal, which is an Ornstein-Uhlenbeck process with the noise (O; nothing for
//! the flow), x's coupling to v (A, a shear), and v's coupling to x, which goes with the score's
//! rest into the kick (B). Source: Pandey and Mandt 2023 (Efficient Integrators for Diffusion
//! Generative Models) for the idea; Leimkuhler and Matthews 2013 for the letters.

use super::combine::{add_to, update};
use super::kick::{Kick, Kicks, Predictor};
use super::sscs::stationary_precision;
use super::{Grid, Memory, Stepper, unfit};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::score::Score;
use crate::small::{Mat, Square};

/// One Ornstein-Uhlenbeck step of the diagonal: matrices for [`update`].
struct Damp {
    decay: Square,
    noise: Vec<f64>,
}

struct Step {
    /// Gain of x from v over the first and the second half.
    shear: [f64; 2],
    damp: [Damp; 2],
    kick: Kick,
}

/// The letters, in their order.
#[derive(Clone, Copy, PartialEq)]
enum Pattern {
    /// O, B, A, each over the whole step; score at the step's start, Euler's kick.
    Oba,
    /// A, O, B, O, A, halves around the kick at the middle.
    Aoboa,
    /// A, B, A without noise.
    Leapfrog,
}

/// `oba` (order 1; one draw per noised channel), `aoboa` (order 2; two), `leapfrog` (the flow;
/// order 2; none), each with one evaluation. B's midpoint is that of [`Predictor::Lagged`] in the
/// latter two. Formula: sampler.oba, sampler.aoboa, sampler.leapfrog.
struct Splitting {
    pattern: Pattern,
    kicks: Kicks,
    steps: Vec<Step>,
}

/// `F' = -F - G G^T S^-1` of the reverse SDE, and `S^-1`, for a process with position and velocity.
pub(super) fn linear_part(name: &str, diffusion: &Diffusion) -> Result<(Square, Square)> {
    weighted_part(name, diffusion, 1.0)
}

/// The same for the SDE (`weight` 1) or the flow (1/2).
fn weighted_part(name: &str, diffusion: &Diffusion, weight: f64) -> Result<(Square, Square)> {
    let refuse = || {
        unfit(
            name,
            diffusion,
            "with position and velocity, a stationary law, and noise constant in its clock",
        )
    };
    let precision = stationary_precision(diffusion).ok_or_else(refuse)?;
    let g = diffusion.noise(1.0);
    if diffusion.channels() != 2 || g != diffusion.noise(0.0) || g[(0, 1)] != 0.0 {
        return Err(refuse());
    }
    let pull = g.matmul(&precision);
    let f = Square::build(2, |i, j| -diffusion.drift()[(i, j)] - weight * pull[(i, j)]);
    Ok((f, precision))
}

/// Each channel's own linear part, with its noise, over a length of the clock.
fn damping(f: &Square, g: &Square, noised: &[usize], tau: f64) -> Damp {
    let (mut decay, mut noise) = (Square::zero(2), vec![0.0; 2 * noised.len()]);
    for i in 0..2 {
        decay[(i, i)] = (f[(i, i)] * tau).exp();
    }
    for (l, &i) in noised.iter().enumerate() {
        let r = 2.0 * f[(i, i)];
        let variance = g[(i, i)]
            * if r == 0.0 {
                tau
            } else {
                (r * tau).exp_m1() / r
            };
        noise[i * noised.len() + l] = variance.sqrt();
    }
    Damp { decay, noise }
}

fn plan(
    name: &str,
    pattern: Pattern,
    diffusion: &Diffusion,
    grid: &Grid,
) -> Result<Box<dyn Stepper>> {
    let weight = if pattern == Pattern::Leapfrog {
        0.5
    } else {
        1.0
    };
    let (f, precision) = weighted_part(name, diffusion, weight)?;
    let g = diffusion.noise(1.0);
    // the flow's linear part conserves the stationary law; a diagonal left over is rounding for a
    // diagonal law
    let size = f.as_slice().iter().fold(0.0, |a: f64, x| a.max(x.abs()));
    if pattern == Pattern::Leapfrog
        && (f[(0, 0)].abs() > 1e-12 * size || f[(1, 1)].abs() > 1e-12 * size)
    {
        return Err(unfit(
            name,
            diffusion,
            "whose flow in the stationary law is Hamiltonian",
        ));
    }
    let predictor = if pattern == Pattern::Oba {
        Predictor::Start
    } else {
        Predictor::Lagged
    };
    let kicks = Kicks::new(
        diffusion,
        predictor,
        Mat([[0.0, 0.0], [f[(1, 0)], 0.0]]).into(),
        precision,
        None,
    );
    let damp = |tau: f64| damping(&f, &g, &kicks.noised, tau);
    let mut steps = vec![];
    for (t, s) in grid.intervals() {
        let middle = 0.5 * (t + s);
        let tau = |s, t| diffusion.schedule().integral(s, t);
        let (first, second, at) = match pattern {
            Pattern::Oba => (tau(s, t)?, 0.0, t),
            _ => (tau(middle, t)?, tau(s, middle)?, middle),
        };
        let kick = kicks.kick(diffusion, t, s, at, weight)?;
        steps.push(Step {
            shear: [first * f[(0, 1)], second * f[(0, 1)]],
            damp: [damp(first), damp(second)],
            kick,
        });
    }
    Ok(Box::new(Splitting {
        pattern,
        kicks,
        steps,
    }))
}

pub(super) fn build_oba(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan("oba", Pattern::Oba, diffusion, grid)
}

pub(super) fn build_aoboa(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan("aoboa", Pattern::Aoboa, diffusion, grid)
}

pub(super) fn build_leapfrog(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan("leapfrog", Pattern::Leapfrog, diffusion, grid)
}

fn shear(u: &mut [&mut [f64]], gain: f64) {
    if let [x, v] = u {
        add_to(x, gain, v);
    }
}

impl Stepper for Splitting {
    fn draws(&self) -> usize {
        let noised = self.kicks.noised.len();
        match self.pattern {
            Pattern::Oba => noised,
            Pattern::Aoboa => 2 * noised,
            Pattern::Leapfrog => 0,
        }
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
        let m = self.kicks.noised.len();
        let damp = |half: usize, u: &mut [&mut [f64]]| {
            if self.pattern != Pattern::Leapfrog {
                update(
                    u,
                    &at.damp[half].decay,
                    &noise[half * m..][..m],
                    &at.damp[half].noise,
                );
            }
        };
        if self.pattern != Pattern::Oba {
            shear(u, at.shear[0]);
        }
        damp(0, u);
        self.kicks.apply(&at.kick, i == 0, u, score, memory)?;
        match self.pattern {
            Pattern::Oba => shear(u, at.shear[0]),
            _ => {
                damp(1, u);
                shear(u, at.shear[1]);
            }
        }
        Ok(())
    }
}
