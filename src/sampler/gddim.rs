//! gDDIM: the probability flow by exponential multistep of order 1, 2 or 3, one evaluation per
//! step.

use super::combine::{View, update};
use super::plan::{exponential, gauss, score_scale};
use super::{Grid, Memory, Stepper};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::score::Score;
use crate::small::Square;

/// Points of the quadrature over a step: with r below as variable the integrand is smooth and they
/// leave rounding alone.
const POINTS: usize = 12;

struct Step {
    t: f64,
    end: f64,
    /// `e^(-F B(s,t))`.
    state: Square,
    /// Coefficients of the kept scores, slot by slot.
    inputs: Vec<f64>,
    /// Coefficients of the correction after a second evaluation, at the step's end.
    correction: Option<Vec<f64>>,
}

/// The probability flow from t to s, exact but for a polynomial through the last values of eps:
///
/// ```text
/// u_s = e^(-F B(s,t)) u_t + sum_j W_j score(t_j),     W_j = int_s^t e^(-F B(s,r)) 1/2 G G^T d(r) l_j(r) b(r) dr d(t_j)^-1
/// ```
///
/// `score = -d(t) eps`, `d(t)_i = sqrt((S_t^-1)_ii)` from the kernel, and `l_j` are Lagrange's
/// polynomials on the last `order` times of any spacing. The weights come from Gauss-Legendre
/// quadrature, in the variable sqrt(r), in which the scale of a process without initial velocity
/// (`r^(-1/2)`) is smooth at 0.
///
/// Zhang, Tao and Chen write `score = -K_t^-T eps` and take for K_t a root R_t of the kernel's
/// covariance that solves an equation of its own, so that eps is constant for data in one point.
/// R_t mixes the channels: for CLD it needs the score of x too, which no network has. The row of v
/// in `L_t^-T` (Cholesky) has one entry, `ell_t`, and any smooth scale keeps the order; the
/// diagonal d is `ell_t` for CLD and `1/sigma_t` for VP (where order 1 is DDIM), and is defined for
/// every process.
///
/// Start: step 0 has order 1, step 1 at most order 2, which keeps orders 1 and 2 as they are. Order
/// 3 needs a better step 0: it evaluates once more, at its end, and interpolates between the two
/// (one evaluation more per run).
///
/// No draws. Formula: sampler.gddim. Source: Zhang, Tao and Chen 2022 (gDDIM), sec. on multistep;
/// the scale is ours.
struct Gddim {
    order: usize,
    noised: usize,
    steps: Vec<Step>,
}

/// Lagrange's polynomial number `j` on `nodes` at `r`.
fn lagrange(nodes: &[f64], j: usize, r: f64) -> f64 {
    nodes
        .iter()
        .enumerate()
        .filter(|(l, _)| *l != j)
        .map(|(_, x)| (r - x) / (nodes[j] - x))
        .product()
}

/// The weights `W_j` of `nodes` over `[s, t]`: for each node, k rows by noised channels.
fn weights(
    diffusion: &Diffusion,
    rule: &[(f64, f64)],
    (t, s): (f64, f64),
    nodes: &[f64],
) -> Result<Vec<Vec<f64>>> {
    let (k, noised) = (diffusion.channels(), diffusion.noised());
    let m = noised.len();
    let (low, high) = (s.sqrt(), t.sqrt());
    let mut all = vec![vec![0.0; k * m]; nodes.len()];
    for (x, w) in rule {
        let root = low + (high - low) * x;
        let r = root * root;
        let (e, g) = (
            exponential(diffusion.drift(), -diffusion.schedule().integral(s, r)?),
            diffusion.noise(r),
        );
        let (d, dr) = (
            score_scale(diffusion, r)?,
            2.0 * root * (high - low) * w * diffusion.rate(r),
        );
        for (j, weight) in all.iter_mut().enumerate() {
            let share = 0.5 * dr * lagrange(nodes, j, r);
            for (l, &c) in noised.iter().enumerate() {
                (0..k).for_each(|i| weight[i * m + l] += share * e[(i, c)] * g[(c, c)] * d[l]);
            }
        }
    }
    for (weight, node) in all.iter_mut().zip(nodes) {
        let d = score_scale(diffusion, *node)?;
        weight
            .iter_mut()
            .enumerate()
            .for_each(|(n, x)| *x /= d[n % m]);
    }
    Ok(all)
}

fn plan(diffusion: &Diffusion, grid: &Grid, order: usize) -> Result<Box<dyn Stepper>> {
    let (k, m, rule, times) = (
        diffusion.channels(),
        diffusion.noised().len(),
        gauss(POINTS),
        grid.times(),
    );
    // puts weights of nodes into the columns of their slots
    let spread = |weights: &[Vec<f64>], slots: &[usize]| {
        let mut all = vec![0.0; k * order * m];
        for (weight, slot) in weights.iter().zip(slots) {
            (0..k * m).for_each(|n| all[n / m * order * m + slot * m + n % m] = weight[n]);
        }
        all
    };
    let mut steps = vec![];
    for (i, (t, s)) in grid.intervals().enumerate() {
        let used = order.min(i + 1);
        let nodes: Vec<f64> = (0..used).map(|j| times[i - j]).collect();
        let slots: Vec<usize> = (0..used).map(|j| (i - j) % order).collect();
        let w = weights(diffusion, &rule, (t, s), &nodes)?;
        let correction = if order > 2 && i == 0 && s > 0.0 {
            let mut both = weights(diffusion, &rule, (t, s), &[t, s])?;
            both[0]
                .iter_mut()
                .zip(&w[0])
                .for_each(|(new, old)| *new -= old);
            Some(spread(&both, &[0, 1]))
        } else {
            None
        };
        let state = exponential(diffusion.drift(), -diffusion.schedule().integral(s, t)?);
        steps.push(Step {
            t,
            end: s,
            state,
            inputs: spread(&w, &slots),
            correction,
        });
    }
    Ok(Box::new(Gddim {
        order,
        noised: m,
        steps,
    }))
}

pub(super) fn build1(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, 1)
}

pub(super) fn build2(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, 2)
}

pub(super) fn build3(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    plan(diffusion, grid, 3)
}

impl Gddim {
    /// The score into slot `slot`, then `u <- state u + inputs (all slots)`.
    fn evaluate(
        &self,
        (t, slot): (f64, usize),
        u: &mut [&mut [f64]],
        (state, inputs): (&Square, &[f64]),
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let mut new: Vec<&mut [f64]> = memory.kept[slot * self.noised..][..self.noised]
            .iter_mut()
            .map(Vec::as_mut_slice)
            .collect();
        score.score(t, &View::of(u), &mut new)?;
        let kept: Vec<&[f64]> = memory.kept.iter().map(Vec::as_slice).collect();
        update(u, state, &kept, inputs);
        Ok(())
    }
}

impl Stepper for Gddim {
    fn draws(&self) -> usize {
        0
    }

    fn kept(&self) -> usize {
        self.order * self.noised
    }

    fn scratch(&self) -> usize {
        0
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        _: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let at = &self.steps[i];
        self.evaluate(
            (at.t, i % self.order),
            u,
            (&at.state, &at.inputs),
            score,
            memory,
        )?;
        if let Some(correction) = &at.correction {
            let identity = Square::identity(u.len());
            self.evaluate((at.end, 1), u, (&identity, correction), score, memory)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry;
    use super::super::plan::tests::{cld, others, weak_error, weak_order};
    use super::*;
    use crate::diffusion::Diffusion;
    use crate::process::Vp;
    use crate::schedule::Schedule;

    /// Catches a rate or scale at the wrong time, a weight in the wrong slot of the history, a
    /// start of too low an order: the error of mean and covariance falls with the order, rate
    /// growing tenfold. Slopes at finite steps are within 0.15 of the limit.
    #[test]
    fn orders() {
        for (name, order, n) in [
            ("gddim1", 1.0, 1024),
            ("gddim2", 2.0, 512),
            ("gddim3", 3.0, 256),
        ] {
            for d in others().iter().chain([&cld()]) {
                let measured = weak_order(name, d, n);
                assert!(
                    (measured - order).abs() < 0.15,
                    "{name} {}: {measured}",
                    d.process().name()
                );
            }
        }
    }

    /// Catches a wrong scale or weight: for VP order 1 is DDIM,
    /// `u_s = a_s (u_t / a_t) + a_s (sigma_s / a_s - sigma_t / a_t) eps`, in one step over
    /// [1e-3, 1], to the quadrature's error.
    #[test]
    fn order_one_is_ddim() {
        let d = Diffusion::of(Vp, Schedule::linear(0.1, 20.0).unwrap(), 0.0).unwrap();
        for (t, s) in [(1.0, 0.9), (0.5, 0.3), (0.1, 1e-3)] {
            let w = weights(&d, &gauss(POINTS), (t, s), &[t]).unwrap()[0][0];
            let at = |t: f64| {
                let k = d.kernel(t).unwrap();
                (k.mean[(0, 0)], k.cov[(0, 0)].sqrt())
            };
            let ((a, sigma), (b, rho)) = (at(t), at(s));
            let ddim = -(rho - sigma * b / a) * sigma; // eps = -sigma score
            println!("{t} {s}: {}", w / ddim - 1.0);
            assert!((w / ddim - 1.0).abs() < 1e-10, "{t} {s}: {w} {ddim}"); // 12 points
        }
    }

    /// Catches a history that depends on equal steps: order 3 on a quadratic grid, error against
    /// that of order 2.
    #[test]
    fn unequal_steps() {
        let d = cld();
        let error = |name: &str, n: usize| {
            let grid = Grid::new(
                (0..=n)
                    .map(|i| 0.1 + 0.9 * (1.0 - i as f64 / n as f64).powi(2))
                    .collect(),
            )
            .unwrap();
            weak_error(&*entry(name).unwrap().build(&d, &grid).unwrap(), &d, &grid)
        };
        let order = (error("gddim3", 512) / error("gddim3", 1024)).log2();
        assert!((order - 3.0).abs() < 0.2, "{order}");
    }
}
