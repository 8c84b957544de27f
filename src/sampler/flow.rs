//! The probability flow: fixed Runge-Kutta steps, and Dormand and Prince's pair with steps of its
//! own.
//!
//! ```text
//! du/dt = b (F u - 1/2 G G^T s(u, t))
//! ```
//!
//! Run either way in time: down from the prior it samples, up from the data it gives likelihoods.
//! Formula: sampler.flow. Source: CLD app. on likelihood; Song et al. 2021, sec. 4.3.

use super::combine::{View, add_to, combine};
use super::{Grid, Memory, Stepper, evaluate};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result, check};
use crate::score::Score;
use crate::small::Square;

/// The flow's coefficients at one time.
struct At {
    t: f64,
    /// `b F`.
    drift: Square,
    /// `-b (G G^T)_ii / 2` of each noised channel.
    gain: Vec<f64>,
}

impl At {
    fn new(diffusion: &Diffusion, t: f64) -> At {
        let (b, g) = (diffusion.rate(t), diffusion.noise(t));
        At {
            t,
            drift: diffusion.drift().map(|f| b * f),
            gain: diffusion
                .noised()
                .iter()
                .map(|i| -0.5 * b * g[(*i, *i)])
                .collect(),
        }
    }

    /// `du/dt` at `u`, one slice per channel; `scores` is scratch, one slice per noised channel.
    fn slope(
        &self,
        noised: &[usize],
        u: &[&[f64]],
        score: &dyn Score,
        scores: &mut [Vec<f64>],
        out: &mut [impl AsMut<[f64]>],
    ) -> Result<()> {
        evaluate(score, self.t, u, scores)?;
        let k = u.len();
        for (i, out) in out.iter_mut().enumerate() {
            let mut terms: [(f64, &[f64]); 4] = [(0.0, &[]); 4];
            for (j, term) in terms[..k].iter_mut().enumerate() {
                *term = (self.drift[(i, j)], u[j]);
            }
            combine(out.as_mut(), &terms[..k]);
        }
        for (l, &i) in noised.iter().enumerate() {
            add_to(out[i].as_mut(), self.gain[l], &scores[l]);
        }
        Ok(())
    }
}

/// `du/dt` of the probability flow at time `t`, either way in time. `u` and `out` have one slice
/// per channel, `scores` one vector per noised channel, all of one length; `scores` holds the score
/// afterwards. Formula: sampler.flow.
///
/// # Errors
/// Those of the score.
pub fn slope(
    diffusion: &Diffusion,
    t: f64,
    u: &[&[f64]],
    score: &dyn Score,
    scores: &mut [Vec<f64>],
    out: &mut [&mut [f64]],
) -> Result<()> {
    At::new(diffusion, t).slope(diffusion.noised(), u, score, scores, out)
}

/// An explicit Runge-Kutta method: nodes, one row of weights per stage, and the weights of the
/// step.
struct Tableau {
    nodes: &'static [f64],
    rows: &'static [&'static [f64]],
    weights: &'static [f64],
}

/// Heun's second-order method. Source: Karras et al. 2022, alg. 1.
const HEUN: Tableau = Tableau {
    nodes: &[0.0, 1.0],
    rows: &[&[], &[1.0]],
    weights: &[0.5, 0.5],
};

/// The classical fourth-order method. Source: Hairer, Norsett, Wanner, sec. II.1.
const RK4: Tableau = Tableau {
    nodes: &[0.0, 0.5, 0.5, 1.0],
    rows: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    weights: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
};

/// Fixed steps of the flow by an explicit Runge-Kutta method, rate and score at the stages' own
/// times. No draws. Formula: sampler.flow_heun, sampler.flow_rk4.
struct RungeKutta {
    tableau: &'static Tableau,
    noised: Vec<usize>,
    channels: usize,
    /// Signed length (negative: backward) and the stages.
    steps: Vec<(f64, Vec<At>)>,
}

fn runge_kutta(
    tableau: &'static Tableau,
    diffusion: &Diffusion,
    grid: &Grid,
) -> Result<Box<dyn Stepper>> {
    let steps = grid
        .intervals()
        .map(|(t, s)| {
            // the last node is s itself, not t + (s - t)
            let time = |c: f64| if c == 1.0 { s } else { t + c * (s - t) };
            (
                s - t,
                tableau
                    .nodes
                    .iter()
                    .map(|&c| At::new(diffusion, time(c)))
                    .collect(),
            )
        })
        .collect();
    Ok(Box::new(RungeKutta {
        tableau,
        noised: diffusion.noised().to_vec(),
        channels: diffusion.channels(),
        steps,
    }))
}

pub(super) fn build_heun(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    runge_kutta(&HEUN, diffusion, grid)
}

pub(super) fn build_rk4(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    runge_kutta(&RK4, diffusion, grid)
}

impl Stepper for RungeKutta {
    fn draws(&self) -> usize {
        0
    }

    /// The scores, the state of a stage, the slopes of the stages.
    fn scratch(&self) -> usize {
        self.noised.len() + self.channels * (1 + self.tableau.nodes.len())
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        _: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (k, (h, stages)) = (self.channels, &self.steps[i]);
        let (scores, rest) = memory.scratch.split_at_mut(self.noised.len());
        let (state, slopes) = rest.split_at_mut(k);
        for (stage, at) in stages.iter().enumerate() {
            let (done, new) = slopes.split_at_mut(k * stage);
            let new = &mut new[..k];
            if stage == 0 {
                at.slope(&self.noised, &View::of(u), score, scores, new)?;
                continue;
            }
            for c in 0..k {
                state[c].copy_from_slice(u[c]);
                for (j, a) in self.tableau.rows[stage].iter().enumerate() {
                    add_to(&mut state[c], h * a, &done[j * k + c]);
                }
            }
            at.slope(&self.noised, &View::of_vecs(state), score, scores, new)?;
        }
        for (c, u) in u.iter_mut().enumerate() {
            for (j, w) in self.tableau.weights.iter().enumerate() {
                add_to(u, h * w, &slopes[j * k + c]);
            }
        }
        Ok(())
    }
}

/// What an adaptive integration took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Steps taken.
    pub accepted: usize,
    /// Steps tried in vain.
    pub rejected: usize,
    /// Evaluations of the right-hand side.
    pub evaluations: usize,
}

/// Dormand and Prince's nodes.
const NODES: [f64; 7] = [0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0];

/// Their weights; the last row is that of the step of order 5, so that the last slope is the next
/// step's first.
const ROWS: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[
        19372.0 / 6561.0,
        -25360.0 / 2187.0,
        64448.0 / 6561.0,
        -212.0 / 729.0,
    ],
    &[
        9017.0 / 3168.0,
        -355.0 / 33.0,
        46732.0 / 5247.0,
        49.0 / 176.0,
        -5103.0 / 18656.0,
    ],
    &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
    ],
];

/// The step of order 5 less that of order 4.
const ERROR: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];

/// Steps that an integration may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Most {
    /// Where stability limits them: an explicit method is the wrong one then.
    pub stiff: usize,
    /// Where the tolerance does.
    pub all: usize,
}

impl Most {
    /// Of one integration.
    pub const ALONE: Most = Most {
        stiff: 20_000,
        all: 200_000,
    };

    /// Of each of `parts` integrations, one after the other.
    pub fn of_parts(parts: usize) -> Most {
        let share = |n: usize, least: usize| (n / parts.max(1)).max(least);
        Most {
            stiff: share(Most::ALONE.stiff, 400),
            all: share(Most::ALONE.all, 4000),
        }
    }
}

/// Accepted steps between two looks at how far an integration has come.
const LOOK: usize = 50;

/// Where the boundary of the method's stability is on the negative axis, a little inside of it.
/// Source: Hairer and Wanner, sec. IV.2.
const STABLE: f64 = 3.25;

/// Watches an integration: whether it is stiff, and whether it will end. Source: Hairer and Wanner,
/// sec. IV.2 (for the first).
struct Watch {
    most: Most,
    /// Steps beyond [`STABLE`], and steps within it since.
    beyond: usize,
    within: usize,
    /// Where the last look was, and the way between the last two.
    seen: f64,
    way: f64,
}

impl Watch {
    /// After an accepted step to `t`: `lambda` is an estimate of `|h lambda|`.
    fn check(
        &mut self,
        counts: &Counts,
        lambda: f64,
        (t, to, h): (f64, f64, f64),
        tolerance: f64,
    ) -> Result<()> {
        if lambda > STABLE {
            (self.beyond, self.within) = (self.beyond + 1, 0);
        } else {
            self.within += 1;
            if self.within >= 6 {
                self.beyond = 0;
            }
        }
        if !counts.accepted.is_multiple_of(LOOK) {
            return Ok(());
        }
        let (way, before) = ((t - self.seen).abs(), self.way);
        (self.seen, self.way) = (t, way);
        let stiff = self.beyond >= 15;
        let most = if stiff {
            self.most.stiff
        } else {
            self.most.all
        };
        // steps that grow are not held against what is left
        let left = if way <= 1.1 * before {
            (to - t).abs() / way * LOOK as f64
        } else {
            0.0
        };
        let needed = (counts.accepted + counts.rejected) as f64 + left;
        if needed <= most as f64 {
            return Ok(());
        }
        let cause = match stiff {
            true => format!(
                "it is stiff there: stability, not the tolerance {tolerance:e}, holds its steps to {:.1e}",
                h.abs()
            ),
            false => format!(
                "the tolerance {tolerance:e} holds its steps to {:.1e}",
                h.abs()
            ),
        };
        let why = format!("{cause}, so that {needed:.1e} of them would be needed; allowed: {most}");
        Err(Error::Unfinished {
            what: "the adaptive integration".into(),
            t,
            why,
        })
    }
}

/// `f(t, y, out)` writes the slope `dy/dt` at t.
pub type RightHandSide<'a> = dyn FnMut(f64, &[f64], &mut [f64]) -> Result<()> + 'a;

/// # Errors
/// Unless `1e-14 <= tolerance <= 1`.
pub(crate) fn check_tolerance(tolerance: f64) -> Result<f64> {
    let fits = (1e-14..=1.0).contains(&tolerance);
    check("tolerance", tolerance, fits, "1e-14 to 1")
}

/// Integrates `dy/dt = f(t, y)` from `from` to `to`, either way, by the pair of order 5(4) of
/// Dormand and Prince with local extrapolation.
///
/// The error of a step is the root mean square over the values of
/// `error / (tolerance (1 + max(|y|, |y_new|)))`; a step is taken where it is at most 1, and the
/// next is `0.9 error^(-1/5)` times as long, within 1/5 and 10. The evaluation points never leave
/// the interval. Formula: sampler.dormand_prince. Source: Dormand and Prince 1980; Hairer, Norsett,
/// Wanner, sec. II.4.
///
/// # Errors
/// Those of `f`; a tolerance outside [1e-14, 1]; times that are not finite; steps that shrink to
/// nothing (a slope that is not finite or not smooth), or more of them than [`Most::ALONE`] allows.
pub fn dormand_prince(
    f: &mut RightHandSide,
    y: &mut [f64],
    from: f64,
    to: f64,
    tolerance: f64,
) -> Result<Counts> {
    dormand_prince_within(f, y, (from, to), tolerance, Most::ALONE)
}

/// The root of the mean of so many squares.
fn rms(sum: f64, n: usize) -> f64 {
    (sum / n as f64).sqrt()
}

/// A first step over which y, whose slope is `k`, changes by a twentieth.
fn first_step(y: &[f64], k: &[f64], span: f64, tolerance: f64) -> f64 {
    let scale = |y: f64| tolerance * (1.0 + y.abs());
    let size = rms(y.iter().map(|y| (y / scale(*y)).powi(2)).sum(), y.len());
    let slopes = y.iter().zip(k);
    let speed = rms(slopes.map(|(y, k)| (k / scale(*y)).powi(2)).sum(), y.len());
    // a state of zeros is taken for one of size 1
    let guess = 0.05 * size.max(1e-2 / tolerance) / speed;
    if guess < span.abs() {
        guess.copysign(span)
    } else {
        span
    }
}

/// The error of a step from `y` to `end` in units of the tolerance.
fn error_of(k: &[Vec<f64>; 7], y: &[f64], end: &[f64], h: f64, tolerance: f64) -> f64 {
    let one = |i: usize| {
        let e: f64 = ERROR.iter().zip(k).map(|(e, k)| e * k[i]).sum();
        (h * e / (tolerance * (1.0 + y[i].abs().max(end[i].abs())))).powi(2)
    };
    rms((0..y.len()).map(one).sum(), y.len())
}

/// The largest eigenvalue, times a step's length: the last two stages are at one time, and their
/// slopes differ as their states do, times it.
fn stiffness(k: &[Vec<f64>; 7]) -> f64 {
    let (mut slopes, mut states) = (0.0, 0.0);
    for i in 0..k[0].len() {
        slopes += (k[6][i] - k[5][i]).powi(2);
        states += (0..6)
            .map(|j| (ROWS[6][j] - ROWS[5].get(j).unwrap_or(&0.0)) * k[j][i])
            .sum::<f64>()
            .powi(2);
    }
    if states > 0.0 {
        (slopes / states).sqrt()
    } else {
        0.0
    }
}

/// The slopes of a step of length h after the first, at the times of their nodes; `stage` ends as
/// the state of the last.
fn stages(
    f: &mut RightHandSide,
    y: &[f64],
    at: &dyn Fn(f64) -> f64,
    h: f64,
    k: &mut [Vec<f64>; 7],
    stage: &mut [f64],
) -> Result<()> {
    for s in 1..7 {
        let (done, new) = k.split_at_mut(s);
        stage.copy_from_slice(y);
        for (a, k) in ROWS[s].iter().zip(done) {
            add_to(stage, h * a, k);
        }
        f(at(NODES[s]), stage, &mut new[0])?;
    }
    Ok(())
}

/// The same within a number of steps. An integration that will not end is given up as soon as that
/// shows: where the way of 50 steps no longer grows, and what is left would take too many of them.
///
/// # Errors
/// As [`dormand_prince`].
pub fn dormand_prince_within(
    f: &mut RightHandSide,
    y: &mut [f64],
    (from, to): (f64, f64),
    tolerance: f64,
    most: Most,
) -> Result<Counts> {
    check_tolerance(tolerance)?;
    check("from", from, true, "a finite number")?;
    check("to", to, true, "a finite number")?;
    let (n, span) = (y.len(), to - from);
    let mut counts = Counts::default();
    if n == 0 || span == 0.0 {
        return Ok(counts);
    }
    let mut k: [Vec<f64>; 7] = std::array::from_fn(|_| vec![0.0; n]);
    let mut stage = vec![0.0; n];
    f(from, y, &mut k[0])?;
    counts.evaluations += 1;
    let mut h = first_step(y, &k[0], span, tolerance);
    let mut t = from;
    let mut watch = Watch {
        most,
        beyond: 0,
        within: 0,
        seen: from,
        way: 0.0,
    };
    loop {
        let last = (to - t).abs() <= h.abs() * (1.0 + 1e-9);
        if last {
            h = to - t;
        }
        let at = |node: f64| {
            if last && node == 1.0 {
                to
            } else {
                t + node * h
            }
        };
        stages(f, y, &at, h, &mut k, &mut stage)?;
        counts.evaluations += 6;
        // the last stage's state is the step of order 5
        let error = error_of(&k, y, &stage, h, tolerance);
        if error <= 1.0 {
            counts.accepted += 1;
            let lambda = stiffness(&k);
            y.copy_from_slice(&stage);
            if last {
                return Ok(counts);
            }
            t += h;
            k.swap(0, 6);
            watch.check(&counts, lambda, (t, to, h), tolerance)?;
        } else {
            counts.rejected += 1;
        }
        // NaN: the slope overflowed or is not defined there, so nearer
        h *= if error.is_nan() {
            0.2
        } else {
            (0.9 * error.powf(-0.2)).clamp(0.2, 10.0)
        };
        if t + 1e-3 * h == t || counts.rejected > 2 * most.all {
            let why = format!(
                "steps of {h:e}, after {} steps, do not reach the tolerance {tolerance:e}",
                counts.accepted
            );
            return Err(Error::Unfinished {
                what: "the adaptive integration".into(),
                t,
                why,
            });
        }
    }
}

/// Each interval of the grid by [`dormand_prince`], for the whole batch at once. No draws. A step
/// allocates.
struct Dp5 {
    diffusion: Diffusion,
    tolerance: f64,
    intervals: Vec<(f64, f64)>,
}

/// The probability flow by Dormand and Prince's adaptive pair, to `tolerance` per step of its own
/// within each interval of the grid. Formula: sampler.flow_dp5. Source: Dormand and Prince 1980.
///
/// # Errors
/// Unless `1e-14 <= tolerance <= 1`.
pub fn dp5(diffusion: &Diffusion, grid: &Grid, tolerance: f64) -> Result<Box<dyn Stepper>> {
    check_tolerance(tolerance)?;
    Ok(Box::new(Dp5 {
        diffusion: diffusion.clone(),
        tolerance,
        intervals: grid.intervals().collect(),
    }))
}

pub(super) fn build_dp5(diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
    dp5(diffusion, grid, 1e-6)
}

impl Stepper for Dp5 {
    fn draws(&self) -> usize {
        0
    }

    fn scratch(&self) -> usize {
        self.diffusion.noised().len()
    }

    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        _: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let (from, to) = self.intervals[i];
        let n = u.first().map_or(0, |c| c.len());
        if n == 0 {
            return Ok(());
        }
        let mut y = u.concat();
        let mut f = |t: f64, y: &[f64], out: &mut [f64]| {
            let channels: Vec<&[f64]> = y.chunks(n).collect();
            let mut out: Vec<&mut [f64]> = out.chunks_mut(n).collect();
            slope(
                &self.diffusion,
                t,
                &channels,
                score,
                &mut memory.scratch,
                &mut out,
            )
        };
        dormand_prince_within(
            &mut f,
            &mut y,
            (from, to),
            self.tolerance,
            Most::of_parts(self.intervals.len()),
        )?;
        u.iter_mut()
            .zip(y.chunks(n))
            .for_each(|(u, y)| u.copy_from_slice(y));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmonic(t: f64, y: &[f64], out: &mut [f64]) {
        // y' = 2 t (y2, -y1): the circle at angle t^2
        out[0] = 2.0 * t * y[1];
        out[1] = -2.0 * t * y[0];
    }

    /// Catches a wrong coefficient of the pair: the error falls with the tolerance, and a step of
    /// order 5 that is taken for one of order 4 would need far more steps. Forward, then backward
    /// to the start.
    #[test]
    fn circles_close() {
        let mut steps = vec![];
        for tolerance in [1e-6, 1e-11] {
            let mut y = [1.0, 0.0];
            let mut f = |t: f64, y: &[f64], out: &mut [f64]| {
                assert!((0.0..=2.0).contains(&t));
                harmonic(t, y, out);
                Ok(())
            };
            let there = dormand_prince(&mut f, &mut y, 0.0, 2.0, tolerance).unwrap();
            // local errors of at most the tolerance each; they do not grow on a circle
            let allowed = tolerance * there.accepted as f64 * 3.0;
            assert!(
                (y[0] - 4f64.cos()).abs() < allowed && (y[1] + 4f64.sin()).abs() < allowed,
                "{y:?} {there:?}"
            );
            let back = dormand_prince(&mut f, &mut y, 2.0, 0.0, tolerance).unwrap();
            assert!(
                (y[0] - 1.0).abs() < 2.0 * allowed && y[1].abs() < 2.0 * allowed,
                "{y:?} {back:?}"
            );
            assert_eq!(there.evaluations, 1 + 6 * (there.accepted + there.rejected));
            steps.push(there.accepted as f64);
        }
        // 1e5 times the tolerance: 10 times the steps at local order 5, and 17.8 at local order 4
        assert!((8.0..14.0).contains(&(steps[1] / steps[0])), "{steps:?}");
    }

    /// Catches a first step that is not what its line says, which costs steps and no digits: a
    /// state of 1 with slope 4 changes by a twentieth in 1/80, in units of `tolerance (1 + |y|)`;
    /// a state of 0 is taken for one whose size is 1/100; never beyond the end.
    #[test]
    fn first_steps_change_the_state_by_a_twentieth() {
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-14, "{got} {want}");
        for tolerance in [1e-3, 1e-9] {
            near(
                first_step(&[1.0, 1.0], &[4.0, -4.0], 1.0, tolerance),
                1.0 / 80.0,
            );
            near(first_step(&[1.0], &[4.0], -1.0, tolerance), -1.0 / 80.0);
            near(first_step(&[1.0], &[4.0], 0.01, tolerance), 0.01);
            near(
                first_step(&[0.0], &[4.0], 1.0, tolerance),
                0.05 * 0.01 / 4.0,
            );
            // units: 3/4 and 4/5 of them against slopes of 2/4 and 10/5
            let size = (0.75f64.powi(2) + 0.8f64.powi(2)).sqrt();
            let speed = (0.5f64.powi(2) + 2.0f64.powi(2)).sqrt();
            let step = first_step(&[3.0, 4.0], &[2.0, 10.0], 1.0, tolerance);
            near(step, 0.05 * size / speed);
        }
    }

    /// Catches minutes of silence: a stiff equation, an oscillation, and a singularity within, each
    /// given up after few evaluations, with the time and the reason; and a stiffness that is none:
    /// a decay whose rate falls as 1/t, over nine decades either way, and a fast transient before a
    /// slow solution.
    #[test]
    fn what_will_not_end_is_given_up() {
        type Plain<'a> = &'a dyn Fn(f64, &[f64], &mut [f64]);
        let run = |slope: Plain<'_>, from: f64, to: f64, tolerance: f64| {
            let (mut y, mut calls) = (vec![1.0, 0.5], 0);
            let mut f = |t: f64, y: &[f64], out: &mut [f64]| {
                calls += 1;
                slope(t, y, out);
                Ok(())
            };
            let found = dormand_prince(&mut f, &mut y, from, to, tolerance);
            (found, calls)
        };
        let stiff = |rate: f64| {
            move |t: f64, y: &[f64], out: &mut [f64]| {
                out[0] = -rate * (y[0] - t.cos());
                out[1] = -y[1];
            }
        };
        for rate in [1e6, 1e9] {
            let (found, calls) = run(&stiff(rate), 0.0, 1.0, 1e-6);
            let said = found.unwrap_err().to_string();
            assert!(
                said.contains("stiff")
                    && said.contains("given up at t = ")
                    && said.contains("allowed: 20000"),
                "{said}"
            );
            assert!(calls < 5000, "{calls}");
        }
        // as many steps as a stable one must have, 1e4 / 3.3, and no more than twice that
        let (found, _) = run(&stiff(1e4), 0.0, 1.0, 1e-6);
        assert!((2500..7000).contains(&found.unwrap().accepted));
        let circle = |t: f64, y: &[f64], out: &mut [f64]| {
            let rate = 1e6 * (1.0 + 0.1 * t);
            (out[0], out[1]) = (rate * y[1], -rate * y[0]);
        };
        let (found, calls) = run(&circle, 0.0, 1.0, 1e-9);
        let said = found.unwrap_err().to_string();
        assert!(
            said.contains("the tolerance 1e-9 holds its steps")
                && !said.contains("stiff")
                && calls < 5000,
            "{said} {calls}"
        );
        let falling = |t: f64, y: &[f64], out: &mut [f64]| {
            out[0] = -300.0 * y[0] / t + 1.0;
            out[1] = 0.0;
        };
        for (from, to) in [(1e-9, 1.0), (1.0, 1e-9)] {
            let rising = |t: f64, y: &[f64], out: &mut [f64]| {
                falling(t, y, out);
                // backward the same decay
                out[0] = if to < from {
                    300.0 * y[0] / t - 1.0
                } else {
                    out[0]
                };
            };
            let (found, _) = run(&rising, from, to, 1e-6);
            assert!(found.is_ok(), "{found:?}");
        }
    }

    /// Catches a tolerance that is let in, and a singularity that is stepped over.
    #[test]
    fn refusals_name_the_reason() {
        let mut pole = |t: f64, _: &[f64], out: &mut [f64]| {
            out[0] = 1.0 / (t - 0.3).powi(2);
            Ok(())
        };
        let e = dormand_prince(&mut pole, &mut [0.0], 0.0, 1.0, 1e-9)
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("given up at t = 2.9") || e.contains("given up at t = 3.0"),
            "{e}"
        );
        let e = dormand_prince(&mut pole, &mut [0.0], 0.0, 1.0, 0.0)
            .unwrap_err()
            .to_string();
        assert!(e.contains("`tolerance` is 0"), "{e}");
    }
}
