//! Conjugate integrators of the probability flow: its linear part, that of the score included, is
//! solved exactly.

use super::combine::{View, combine, update};
use super::flow::{Most, dormand_prince_within};
use super::{Grid, Memory, Stepper, evaluate};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result, check};
use crate::score::Score;
use crate::score::gaussian::precision;
use crate::small::Square;

/// Tolerance of the matrices, which are integrated when the sampler is planned.
const TOLERANCE: f64 = 1e-12;

/// What is split off the score, to be solved exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Linear {
    /// The score for data `N(0, deviation^2)`: `P_t = (deviation^2 phi phi^T + S_t)^-1` with the
    /// kernel's phi and `S_t`. Exact for such data with any number of steps.
    Normal(f64),
    /// None, but `lambda` times the state in the conjugation: `P_t = 0`. With `lambda` 0 this is
    /// the exponential integrator. Source: Pandey and Mandt 2023 (Efficient Integrators),
    /// lambda-DDIM.
    Lambda(f64),
}

/// One step: the times' own numbers, and the matrices of the update.
struct Step {
    t: f64,
    /// Rows of `-P / d` of the noised channels, `m` by `k`.
    rows: Vec<f64>,
    /// `-1/d` of the noised channels.
    scale: Vec<f64>,
    state: Square,
    /// Coefficients of `[eps at t.., the last step's eps..]`, row by row.
    inputs: Vec<f64>,
}

/// With the score written as `s = -P_t u - d_t eps`, `d_i = sqrt((S_t^-1)_ii)` (for CLD `ell_t`),
/// and the change of variables `u^ = A_t u` that removes the linear part, the flow is
///
/// ```text
/// du^/dt = A_t (-lambda b u + 1/2 b G G^T d_t eps),   dA/dt = -A b (F + 1/2 G G^T P_t + lambda)
/// ```
///
/// and a step freezes eps (order 1; and `lambda u^`, Euler), or takes the line through its last two
/// values (order 2). The integral over the step of `A_t G G^T d_t` is done once, when the sampler
/// is planned.
///
/// One evaluation, no draws. Formula: sampler.conjugate. Source: Pandey and Mandt 2023 (Efficient
/// Integrators), sec. on conjugate integrators, for the idea; the normal's linear part and the line
/// are ours.
struct Conjugate {
    order: usize,
    noised: usize,
    steps: Vec<Step>,
}

/// `P_t` (all rows) and `d_t` (noised channels) at one time.
fn parts(diffusion: &Diffusion, linear: Linear, t: f64) -> Result<(Square, Vec<f64>)> {
    let (kernel, k) = (diffusion.kernel(t)?, diffusion.channels());
    let singular = || Error::Degenerate {
        what: "the conjugation".into(),
        why: format!("the covariance of the kernel at t = {t:e} is singular"),
    };
    let inverse = precision(&kernel.cov).ok_or_else(singular)?;
    let d = diffusion
        .noised()
        .iter()
        .map(|i| inverse[(*i, *i)].sqrt())
        .collect();
    let p = match linear {
        Linear::Lambda(_) => Square::zero(k),
        Linear::Normal(deviation) => {
            let phi = |i: usize| deviation * kernel.mean[(i, 0)];
            let cov = Square::build(k, |i, j| kernel.cov[(i, j)] + phi(i) * phi(j));
            precision(&cov).ok_or_else(singular)?
        }
    };
    Ok((p, d))
}

/// The conjugate integrator of order 1 or 2.
///
/// # Errors
/// Another order; a deviation outside [0, 1e6] or a lambda outside [-1e6, 1e6]; a grid that ends
/// where the kernel is singular (at t = 0).
pub fn conjugate(
    diffusion: &Diffusion,
    grid: &Grid,
    linear: Linear,
    order: usize,
) -> Result<Box<dyn Stepper>> {
    if !(1..=2).contains(&order) {
        return Err(Error::parameter("order", order, "1 or 2"));
    }
    let lambda = match linear {
        Linear::Normal(d) => check(
            "deviation",
            d,
            (0.0..=1e6).contains(&d),
            "0 <= deviation <= 1e6",
        )
        .map(|_| 0.0)?,
        Linear::Lambda(l) => check("lambda", l, l.abs() <= 1e6, "-1e6 <= lambda <= 1e6")?,
    };
    if lambda != 0.0 && order == 2 {
        return Err(Error::parameter(
            "lambda",
            lambda,
            "0 with order 2 (the step for lambda is Euler's)",
        ));
    }
    // a step of the plan is cheap beside one with a batch
    let most = Most::of_parts(grid.steps());
    let plan = Plan {
        diffusion,
        linear,
        lambda,
        order,
        most: Most {
            stiff: 5 * most.stiff,
            all: 5 * most.all,
        },
    };
    let mut steps = vec![];
    let mut before = None;
    for (t, s) in grid.intervals() {
        steps.push(plan.step(t, s, before)?);
        before = Some(t);
    }
    Ok(Box::new(Conjugate {
        order,
        noised: diffusion.noised().len(),
        steps,
    }))
}

/// What steps are planned from.
struct Plan<'a> {
    diffusion: &'a Diffusion,
    linear: Linear,
    lambda: f64,
    order: usize,
    /// Evaluations that a step may take.
    most: Most,
}

impl Plan<'_> {
    /// Columns of the matrix that is integrated: the state's k, then those of eps at t, then of eps
    /// before.
    fn width(&self) -> usize {
        self.diffusion.channels() + self.order * self.diffusion.noised().len()
    }

    /// `dy/dr` of that matrix, row-major, for a step from `t` whose last step was from `before`.
    fn slope(
        &self,
        (t, before): (f64, Option<f64>),
        r: f64,
        y: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        let (diffusion, width) = (self.diffusion, self.width());
        let (k, m) = (diffusion.channels(), diffusion.noised().len());
        let (b, g) = (diffusion.rate(r), diffusion.noise(r));
        let (p, d) = parts(diffusion, self.linear, r)?;
        for i in 0..k {
            for c in 0..width {
                let term = |j: usize| {
                    let own = if i == j { self.lambda } else { 0.0 };
                    (diffusion.drift()[(i, j)] + 0.5 * g[(i, i)] * p[(i, j)] + own)
                        * y[j * width + c]
                };
                out[i * width + c] = b * (0..k).map(term).sum::<f64>();
            }
        }
        for (l, &i) in diffusion.noised().iter().enumerate() {
            let gain = 0.5 * b * g[(i, i)] * d[l];
            // the line through the last two values, in t
            let old = before
                .filter(|_| self.order == 2)
                .map_or(0.0, |q: f64| (r - t) / (q - t));
            out[i * width + k + l] += gain * (1.0 - old);
            if self.order == 2 {
                out[i * width + k + m + l] += gain * old;
            }
        }
        Ok(())
    }

    /// The step from `t` to `s`.
    fn step(&self, t: f64, s: f64, before: Option<f64>) -> Result<Step> {
        let (diffusion, k, width) = (self.diffusion, self.diffusion.channels(), self.width());
        let mut y: Vec<f64> = (0..k * width)
            .map(|n| if n / width == n % width { 1.0 } else { 0.0 })
            .collect();
        let mut f = |r: f64, y: &[f64], out: &mut [f64]| self.slope((t, before), r, y, out);
        dormand_prince_within(&mut f, &mut y, (t, s), TOLERANCE, self.most)?;
        let euler = 1.0 + self.lambda * diffusion.schedule().integral(s, t)?;
        let state = Square::build(k, |i, j| euler * y[i * width + j]);
        let inputs = (0..k)
            .flat_map(|i| y[i * width + k..(i + 1) * width].to_vec())
            .collect();
        let (p, d) = parts(diffusion, self.linear, t)?;
        let rows = diffusion
            .noised()
            .iter()
            .zip(&d)
            .flat_map(|(i, d)| p.row(*i).iter().map(move |p| -p / d))
            .collect();
        Ok(Step {
            t,
            rows,
            scale: d.iter().map(|d| -1.0 / d).collect(),
            state,
            inputs,
        })
    }
}

pub(super) fn build(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    conjugate(diffusion, grid, Linear::Normal(1.0), 1)
}

pub(super) fn build2(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    conjugate(diffusion, grid, Linear::Normal(1.0), 2)
}

pub(super) fn build_lambda(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    conjugate(diffusion, grid, Linear::Lambda(0.1), 1)
}

impl Stepper for Conjugate {
    fn draws(&self) -> usize {
        0
    }

    /// The last step's eps.
    fn kept(&self) -> usize {
        (self.order - 1) * self.noised
    }

    /// Scores, eps.
    fn scratch(&self) -> usize {
        2 * self.noised
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        _: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (at, k, m) = (&self.steps[i], u.len(), self.noised);
        let (scores, eps) = memory.scratch.split_at_mut(m);
        evaluate(score, at.t, &View::of(u), scores)?;
        for l in 0..m {
            let mut terms: [(f64, &[f64]); 5] = [(at.scale[l], &scores[l]); 5];
            for j in 0..k {
                terms[1 + j] = (at.rows[l * k + j], &*u[j]);
            }
            combine(&mut eps[l], &terms[..=k]);
        }
        // the first step's coefficients of the eps before are 0
        let mut inputs: [&[f64]; 8] = [&[]; 8];
        for (slot, s) in inputs.iter_mut().zip(eps.iter().chain(&memory.kept)) {
            *slot = s;
        }
        update(u, &at.state, &inputs[..self.order * m], &at.inputs);
        for (kept, eps) in memory.kept.iter_mut().zip(eps) {
            std::mem::swap(kept, eps);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cld, Psld, Vp};
    use crate::sampler::law::run_law;
    use crate::schedule::Schedule;
    use crate::score::Gaussian;

    /// Catches a linear part that is not the normal's, or not solved exactly: for normal data of
    /// the stated deviation one long step is exact. The tolerance is that of the planned matrices,
    /// over a few steps of theirs.
    #[test]
    fn normal_data_take_one_step() {
        let schedule = Schedule::linear(1.0, 6.0).unwrap();
        for d in [
            Diffusion::of(Cld::new(0.25).unwrap(), schedule, 0.04).unwrap(),
            Diffusion::of(Psld::new(0.5, 2.5).unwrap(), schedule, 0.04).unwrap(),
            Diffusion::of(Vp, schedule, 0.0).unwrap(),
        ] {
            let score = Gaussian::new(d.clone(), 0.0, 0.5).unwrap();
            let grid = Grid::new(vec![1.0, 0.02]).unwrap();
            for order in [1, 2] {
                let stepper = conjugate(&d, &grid, Linear::Normal(0.5), order).unwrap();
                let (m1, c1) = score.law(1.0).unwrap();
                let (_, c) = run_law(&[(&*stepper, 1)], d.channels(), &score)
                    .unwrap()
                    .moments(&m1, &c1);
                let (_, c0) = score.law(0.02).unwrap();
                for (a, b) in c.as_slice().iter().zip(c0.as_slice()) {
                    assert!((a - b).abs() < 1e-10, "{a} {b}");
                }
            }
        }
    }

    /// Catches the conjugation's inverse for the conjugation, and a lambda that is not undone:
    /// without a score a step is `e^(-lambda tau) (1 + lambda tau)` times the inverse of the
    /// forward transition. Tolerance: the planned matrices'.
    #[test]
    fn lambda_is_undone() {
        struct Zero;
        impl Score for Zero {
            fn score(&self, _: f64, _: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
                out.iter_mut().for_each(|o| o.fill(0.0));
                Ok(())
            }
        }
        let d = Diffusion::paper().unwrap();
        let grid = Grid::new(vec![0.6, 0.5]).unwrap();
        let phi = d.transition(0.5, 0.6).unwrap().mean;
        for lambda in [0.0, 1.0, -2.0] {
            let s = conjugate(&d, &grid, Linear::Lambda(lambda), 1).unwrap();
            let state = run_law(&[(&*s, 1)], 2, &Zero).unwrap().state;
            let z = 0.4 * lambda; // tau = 4 (0.6 - 0.5)
            let product = phi.matmul(&state);
            for n in 0..4 {
                let product = product[(n / 2, n % 2)];
                let expected = if n % 3 == 0 {
                    (-z).exp() * (1.0 + z)
                } else {
                    0.0
                };
                assert!(
                    (product - expected).abs() < 1e-11,
                    "{lambda}: {product} {expected}"
                );
            }
        }
    }

    /// Catches orders, deviations and grids that are let in.
    #[test]
    fn refusals_name_the_field() {
        let d = Diffusion::paper().unwrap();
        let grid = Grid::new(vec![0.6, 0.5]).unwrap();
        for (linear, order, word) in [
            (Linear::Normal(1.0), 3, "`order` is 3"),
            (Linear::Normal(-1.0), 1, "`deviation` is -1"),
            (Linear::Lambda(f64::NAN), 1, "`lambda` is NaN"),
            (Linear::Lambda(1.0), 2, "`lambda` is 1"),
        ] {
            let e = conjugate(&d, &grid, linear, order)
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(e.contains(word), "{e}");
        }
        assert!(
            conjugate(
                &d,
                &Grid::new(vec![0.6, 0.0]).unwrap(),
                Linear::Normal(1.0),
                1
            )
            .is_err()
        );
    }
}
