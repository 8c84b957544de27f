//! One step of training: `(1 / (batch dim)) sum of the losses`, its gradient, clipping, Adam, and
//! the average of weights. Formula: train.batch.
//!
//! A batch is cut into parts ([`PARTS`] if nothing else is said), each with a gradient of its own,
//! summed in order: the threads take parts as they come, and the bits are the same for any number
//! of them. Noise, times and data of sample number n are functions of the seed and n.

use super::parts::{Part, STRETCH, cut, gradients, share, sums};
use super::source::{Source, bits};
use crate::error::{Error, Result};
use crate::kernel::kernel_values;
use crate::loss::{Form, Loss, Times};
use crate::metrics::Estimate;
use crate::nn::adam::Adam;
use crate::nn::{Graph, Session};
use crate::score::Parametrisation;
use crate::simd::Set;
use crate::simd::loops::conv::turned;
use crate::simd::loops::pointwise::{adam, add_scaled, sum_of_squares};
use crate::simd::normal::normals;
use crate::team::Team;
use std::ops::Range;
use std::sync::Arc;

/// Parts of a batch where the configuration does not say: at most as many threads have work.
pub const PARTS: usize = 8;

/// Samples from this number on are never trained on: the gradient's noise is measured with them.
const APART: u64 = 1 << 40;

/// Each batch of a measurement has as many numbers to itself: with fewer images than these, an
/// epoch of its own, so that batches are independent.
const EACH: u64 = 1 << 26;

/// Rows that a network sees at once in training: enough to make few passes over the weights'
/// gradients, few enough for the caches.
pub(super) fn rows_of_a_pass(shape: [usize; 3]) -> usize {
    rows(shape, 4096, 4)
}

/// Rows that a network sees at once in evaluation: few enough for the second-level cache, many
/// enough to fill the loops' registers.
pub fn rows_at_once(shape: [usize; 3]) -> usize {
    rows(shape, 3136, 1)
}

/// As many rows, a power of two from `least` to 64, as have so many pixels.
fn rows(shape: [usize; 3], pixels: usize, least: usize) -> usize {
    1 << (pixels / (shape[1] * shape[2])).clamp(least, 64).ilog2()
}

/// Everything that changes in training, in the order of the network's
/// [`Layout`](crate::nn::Layout).
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Weights.
    pub p: Vec<f32>,
    /// Adam's average of gradients.
    pub m: Vec<f32>,
    /// Adam's average of their squares.
    pub v: Vec<f32>,
    /// The average of weights: what one samples with.
    pub ema: Vec<f32>,
}

impl State {
    /// The start.
    pub fn new(graph: &Graph<f32>, seed: u64) -> State {
        let p = graph.layout().start::<f32>(seed);
        State {
            step: 0,
            m: vec![0.0; p.len()],
            v: vec![0.0; p.len()],
            ema: p.clone(),
            p,
        }
    }
}

/// What is fixed in training.
#[derive(Clone)]
pub struct StepPlan {
    /// The network.
    pub graph: Arc<Graph<f32>>,
    /// The loss, in eps form.
    pub loss: Loss,
    /// What the network puts out: [`Parametrisation::Eps`] or [`Parametrisation::Mixed`].
    pub parametrisation: Parametrisation,
    /// Law of the times.
    pub times: Times,
    /// Whether a batch's times are stratified.
    pub stratified: bool,
    /// The optimiser.
    pub adam: Adam,
    /// Rows of a batch.
    pub batch: usize,
    /// Parts of a batch, each with a gradient of its own.
    pub parts: usize,
    /// Seed of all that is random.
    pub seed: u64,
    /// The data.
    pub source: Arc<dyn Source>,
}

/// What a step reports.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// Number of the step, from 1 on.
    pub step: u64,
    /// Mean loss per coordinate.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// Learning rate.
    pub rate: f64,
}

/// How much a batch's gradient scatters, at fixed weights. The ratio `variance / squared_norm` is
/// free of the loss's scale: what two losses or parametrisations are compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientNoise {
    /// Trace of the covariance of one batch's gradient.
    pub variance: Estimate,
    /// Squared norm of the mean gradient: unbiased, so perhaps negative where it is small.
    pub squared_norm: Estimate,
    /// Batches that it was measured with.
    pub batches: usize,
}

impl GradientNoise {
    /// From `B` gradients by their sum's square, their own squares and their products with the sum:
    ///
    /// ```text
    /// variance = (sum |g_j|^2 - |S|^2/B) / (B - 1)      squared norm = (|S|^2 - sum |g_j|^2) / (B (B - 1))
    /// ```
    ///
    /// both unbiased. Standard errors by the jackknife, which leaves out one batch after the other.
    fn of(sum: f64, own: &[f64], with_sum: &[f64]) -> GradientNoise {
        let count = own.len() as f64;
        let both = |n: f64, sum: f64, squares: f64| {
            [
                (squares - sum / n) / (n - 1.0),
                (sum - squares) / (n * (n - 1.0)),
            ]
        };
        let squares: f64 = own.iter().sum();
        let without: Vec<[f64; 2]> = own
            .iter()
            .zip(with_sum)
            .map(|(g, p)| both(count - 1.0, sum - 2.0 * p + g, squares - g))
            .collect();
        let value = both(count, sum, squares);
        let estimate = |i: usize| {
            let mean = without.iter().map(|w| w[i]).sum::<f64>() / count;
            let spread: f64 = without.iter().map(|w| (w[i] - mean).powi(2)).sum();
            Estimate {
                value: value[i],
                error: (spread * (count - 1.0) / count).sqrt(),
            }
        };
        GradientNoise {
            variance: estimate(0),
            squared_norm: estimate(1),
            batches: own.len(),
        }
    }
}

/// A thread's own memory.
struct Worker {
    session: Session<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
    start: Vec<Vec<f64>>,
    noise: Vec<Vec<f64>>,
    u: Vec<Vec<f64>>,
    output: Vec<Vec<f64>>,
    gradient: Vec<Vec<f64>>,
}

/// What all parts of a step share: the plan, the weights and these turned, the number of the
/// batch's first sample.
#[derive(Clone, Copy)]
struct Pass<'a> {
    plan: &'a StepPlan,
    p: &'a [f32],
    turned: &'a [f32],
    first: u64,
}

/// Trains a network.
pub struct Trainer {
    plan: StepPlan,
    state: State,
    turned: Vec<f32>,
    workers: Vec<Worker>,
    parts: Vec<Part>,
    team: Option<Box<dyn Team>>,
}

impl Trainer {
    /// From its plan and where it stands, for a number of threads (which changes no bit).
    ///
    /// # Errors
    /// Shapes of network, diffusion and data that do not fit; a state of another network; a loss
    /// that is not in eps form, a parametrisation that is not `eps` or `mixed`; no threads; a batch
    /// of no rows or no parts.
    pub fn new(plan: StepPlan, state: State, threads: usize) -> Result<Trainer> {
        let d = plan.loss.diffusion();
        let [c, h, w] = plan.source.shape();
        let (k, m) = (d.channels(), d.noised().len());
        for (name, found, allowed) in [
            ("network's inputs", plan.graph.inputs(), [k * c, h, w]),
            ("network's outputs", plan.graph.outputs(), [m * c, h, w]),
        ] {
            if found != allowed {
                return Err(Error::shape(name, &found, format!("{allowed:?}")));
            }
        }
        let fits = plan.loss.form() == Form::Eps
            && match plan.parametrisation {
                Parametrisation::Eps => true,
                Parametrisation::Mixed => m == 1 && k > 1,
                _ => false,
            };
        if !fits {
            return Err(Error::parameter(
                "parametrisation",
                plan.parametrisation.name(),
                "eps, or mixed for noise in the last of several channels; with a loss in eps form",
            ));
        }
        if !(1..=1 << 20).contains(&plan.batch) {
            return Err(Error::parameter("batch", plan.batch, "1 to 1048576"));
        }
        if !(1..=1024).contains(&threads) {
            return Err(Error::parameter("threads", threads, "1 to 1024"));
        }
        plan.adam.checked()?;
        let len = plan.graph.layout().len();
        for (name, v) in [
            ("p", &state.p),
            ("m", &state.m),
            ("v", &state.v),
            ("ema", &state.ema),
        ] {
            if v.len() != len {
                return Err(Error::shape(name, &[v.len()], format!("[{len}]")));
            }
        }
        if !(1..=1024).contains(&plan.parts) {
            return Err(Error::parameter("parts", plan.parts, "1 to 1024"));
        }
        let size = plan.batch.div_ceil(plan.parts);
        let parts = (0..plan.batch)
            .step_by(size)
            .map(|r| Part {
                rows: r..plan.batch.min(r + size),
                gradient: vec![0.0; len],
                loss: Ok(0.0),
            })
            .collect::<Vec<_>>();
        let (rows, dim) = (rows_of_a_pass(plan.source.shape()).min(size), c * h * w);
        let worker = || {
            let channels = |n: usize| vec![vec![0.0; rows * dim]; n];
            Ok(Worker {
                session: Session::new(plan.graph.clone(), rows)?,
                x: vec![0.0; rows * k * dim],
                y: vec![0.0; rows * m * dim],
                dy: vec![0.0; rows * m * dim],
                start: channels(k),
                noise: channels(2 * k),
                u: channels(k),
                output: channels(m),
                gradient: channels(m),
            })
        };
        let workers = (0..threads.min(parts.len()))
            .map(|_| worker())
            .collect::<Result<Vec<_>>>()?;
        Ok(Trainer {
            turned: vec![0.0; len],
            plan,
            state,
            workers,
            parts,
            team: None,
        })
    }

    /// The same as one of several processes, all of which have the same plan and state.
    ///
    /// # Errors
    /// More processes than parts.
    pub fn with(mut self, team: Box<dyn Team>) -> Result<Trainer> {
        let (ranks, parts) = (team.size(), self.parts.len());
        if ranks > parts {
            return Err(Error::parameter(
                "processes",
                ranks,
                format!("at most {parts}, the parts of a batch"),
            ));
        }
        self.team = Some(team);
        Ok(self)
    }

    /// The processes that it is one of.
    pub fn team(&self) -> Option<&dyn Team> {
        self.team.as_deref()
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it does.
    pub fn plan(&self) -> &StepPlan {
        &self.plan
    }

    /// One step.
    ///
    /// # Errors
    /// The loss's own; a loss or gradient that is not finite, and then nothing has changed.
    pub fn step(&mut self) -> Result<StepReport> {
        let (loss, square) = self.gradient(self.state.step * self.plan.batch as u64)?;
        let (norm, number) = (square.sqrt(), self.state.step + 1);
        if !(norm.is_finite() && loss.is_finite()) {
            return Err(Error::NonFinite {
                step: number as usize,
                t: f64::NAN,
            });
        }
        let (set, plan) = (Set::current(), &self.plan);
        let (step, gradient) = (plan.adam.step(number, norm), &self.parts[0].gradient);
        let State { p, m, v, ema, .. } = &mut self.state;
        let all = p
            .chunks_mut(STRETCH)
            .zip(m.chunks_mut(STRETCH))
            .zip(v.chunks_mut(STRETCH).zip(ema.chunks_mut(STRETCH)))
            .zip(gradient.chunks(STRETCH));
        share(&mut self.workers, all, |_, (((p, m), (v, ema)), g)| {
            adam(set, step, g, p, m, v, ema)
        });
        self.state.step = number;
        Ok(StepReport {
            step: number,
            loss,
            norm,
            rate: plan.adam.rate_at(number),
        })
    }

    /// The mean loss of the batch that begins with sample `first`, at the present weights, and its
    /// gradient's squared norm; the gradient is in the first part's place.
    fn gradient(&mut self, first: u64) -> Result<(f64, f64)> {
        let (plan, set) = (&self.plan, Set::current());
        let turns = plan.graph.turns();
        let (p, parts) = (&self.state.p, &mut self.parts);
        share(
            &mut self.workers,
            turns
                .iter()
                .zip(cut(&mut self.turned, turns.iter().map(|t| t.0.clone()))),
            |_, ((at, input, output, size), to)| {
                turned(&p[at.clone()], *input, *output, *size, to);
            },
        );
        let pass = Pass {
            plan,
            p,
            turned: &self.turned,
            first,
        };
        let team = self.team.as_deref();
        // of all parameters, or of those that this process sums
        let step = self.state.step;
        let mine = gradients(team, &mut self.workers, parts, step, |w, part, poll| {
            part.loss = w.part(pass, part.rows.clone(), &mut part.gradient, poll)
        })?;
        let mut loss = 0.0;
        for part in &*parts {
            loss += part.loss.clone()?;
        }
        // the gradients' sum, in the first part's place, and its norm, stretch by stretch
        let Some((sum, rest)) = parts.split_first_mut() else {
            unreachable!("a batch has at least one part")
        };
        let mut squares = vec![0.0; sum.gradient.len().div_ceil(STRETCH)];
        let own = sum.gradient[mine.clone()].chunks_mut(STRETCH);
        let own = own.zip(&mut squares[mine.start / STRETCH..]).enumerate();
        share(&mut self.workers, own, |_, (i, (g, square))| {
            for part in &*rest {
                let from = mine.start + i * STRETCH;
                add_scaled(set, &part.gradient[from..][..g.len()], 1.0, g);
            }
            *square = sum_of_squares(set, g);
        });
        if let Some(team) = team {
            sums(team, &mut sum.gradient)?;
            let all = sum.gradient.chunks(STRETCH).zip(&mut squares).enumerate();
            let others = all.filter(|(i, _)| !mine.contains(&(i * STRETCH)));
            share(&mut self.workers, others, |_, (_, (g, square))| {
                *square = sum_of_squares(set, g);
            });
        }
        Ok((loss, squares.iter().sum()))
    }

    /// How much the gradient of a batch scatters at the present weights, by `batches` independent
    /// batches of the plan's size, drawn as in training (data, stratified times, dropout) but with
    /// samples that are never trained on. Training goes on as if this had not been. The same
    /// batches come at the same step with the same seed, whatever the loss: differences between
    /// plans are paired. The standard errors need some ten batches to be worth much.
    ///
    /// Each gradient is computed twice (its product with their sum is wanted, and keeping all would
    /// take too much memory). Formula: train.noise. Source: McCandlish and others 2018, for the
    /// ratio.
    ///
    /// # Errors
    /// Fewer than 3 batches, or more than 4096; the loss's own; a gradient that is not finite.
    pub fn gradient_noise(&mut self, batches: usize) -> Result<GradientNoise> {
        if !(3..=4096).contains(&batches) {
            return Err(Error::parameter("batches", batches, "3 to 4096"));
        }
        let step = self.state.step;
        // another place at each step
        let place = bits(self.plan.seed, b"noise at", [step, 0])[0] % (EACH - (1 << 20));
        let first = |j: usize| APART + j as u64 * EACH + place;
        let mut sum = vec![0f64; self.state.p.len()];
        let mut own = vec![0.0; batches];
        for (j, own) in own.iter_mut().enumerate() {
            *own = self.gradient(first(j))?.1;
            if !own.is_finite() {
                return Err(Error::NonFinite {
                    step: step as usize,
                    t: f64::NAN,
                });
            }
            let stretches = sum
                .chunks_mut(STRETCH)
                .zip(self.parts[0].gradient.chunks(STRETCH));
            share(&mut self.workers, stretches, |_, (sum, g)| {
                sum.iter_mut().zip(g).for_each(|(s, g)| *s += f64::from(*g));
            });
        }
        let mut with_sum = vec![0.0; batches];
        for (j, product) in with_sum.iter_mut().enumerate() {
            self.gradient(first(j))?;
            let mut products = vec![0.0; sum.len().div_ceil(STRETCH)];
            let stretches = sum
                .chunks(STRETCH)
                .zip(self.parts[0].gradient.chunks(STRETCH))
                .zip(&mut products);
            share(&mut self.workers, stretches, |_, ((sum, g), product)| {
                *product = sum.iter().zip(g).map(|(s, g)| s * f64::from(*g)).sum();
            });
            *product = products.iter().sum();
        }
        // the sum's square is the sum of these products
        Ok(GradientNoise::of(with_sum.iter().sum(), &own, &with_sum))
    }
}

impl Worker {
    /// These rows of the batch: their gradient, written to `g`, and their share of the mean loss.
    /// `between` is called after each layer of the way back.
    fn part(
        &mut self,
        pass: Pass,
        rows: Range<usize>,
        g: &mut [f32],
        between: &mut dyn FnMut(),
    ) -> Result<f64> {
        let mut loss = 0.0;
        let most = self.session.rows();
        for from in rows.clone().step_by(most) {
            let g = (&mut *g, from > rows.start);
            loss += self.rows(pass, from..rows.end.min(from + most), g, between)?;
        }
        Ok(loss)
    }

    fn rows(
        &mut self,
        Pass {
            plan,
            p,
            turned,
            first,
        }: Pass,
        rows: Range<usize>,
        g: (&mut [f32], bool),
        between: &mut dyn FnMut(),
    ) -> Result<f64> {
        let d = plan.loss.diffusion();
        let (k, m, n, dim) = (
            d.channels(),
            d.noised().len(),
            rows.len(),
            plan.source.shape().iter().product::<usize>(),
        );
        let (length, number) = (n * dim, first + rows.start as u64);
        // times and data
        let (mut times, mut scale) = (vec![0.0; n], vec![0.0; n]);
        for (i, row) in rows.clone().enumerate() {
            let u = (bits(plan.seed, b"times...", [first + row as u64, 0])[0] >> 11) as f64
                * 2f64.powi(-53);
            let u = if plan.stratified {
                (row as f64 + u) / plan.batch as f64
            } else {
                u
            };
            let (t, density) = plan.times.draw(u);
            (times[i], scale[i]) = (t, 1.0 / density);
            plan.source.draw(
                first + row as u64,
                &mut self.start[0][i * dim..(i + 1) * dim],
            );
        }
        // normals number 0 .. k of each value noise it, the next ones are its velocities under DSM
        for (pair, two) in self.noise.chunks_mut(2).enumerate() {
            let [a, b] = two else {
                unreachable!("an even number of slices")
            };
            normals(
                [plan.seed, u64::from_be_bytes(*b"noise...")],
                number * dim as u64,
                pair as u64,
                [&mut a[..length], &mut b[..length]],
            );
        }
        let hybrid = plan.loss.objective().name() == "hsm" || k == 1;
        if !hybrid {
            let deviation = plan.loss.deviations();
            for i in 1..k {
                self.start[i][..length]
                    .iter_mut()
                    .zip(&self.noise[k + i])
                    .for_each(|(v, xi)| *v = deviation[i] * xi);
            }
        }
        let start: Vec<&[f64]> = self
            .start
            .iter()
            .take(if hybrid { 1 } else { k })
            .map(|s| &s[..length])
            .collect();
        let noise: Vec<&[f64]> = self.noise.iter().take(k).map(|s| &s[..length]).collect();
        let loss = plan.loss.plan(&times)?;
        loss.perturb(
            &start,
            &noise,
            &mut self
                .u
                .iter_mut()
                .map(|u| &mut u[..length])
                .collect::<Vec<_>>(),
        )?;
        // the network
        pack(&self.u, dim, &mut self.x[..n * k * dim]);
        self.session.dropout(Some((
            [plan.seed, u64::from_be_bytes(*b"dropout.")],
            number,
        )));
        self.session.forward(
            p,
            &self.x[..n * k * dim],
            &times,
            &mut self.y[..n * m * dim],
        );
        unpack(&self.y[..n * m * dim], dim, &mut self.output);
        if plan.parametrisation == Parametrisation::Mixed {
            for (i, t) in times.iter().enumerate() {
                let shift = mixed_shift(&plan.loss, *t)?;
                for r in i * dim..(i + 1) * dim {
                    self.output[0][r] += shift * self.u[k - 1][r];
                }
            }
        }
        // the loss, and back
        let output: Vec<&[f64]> = self.output.iter().map(|o| &o[..length]).collect();
        let mut each = vec![0.0; n];
        let mut gradient: Vec<&mut [f64]> =
            self.gradient.iter_mut().map(|o| &mut o[..length]).collect();
        let mean = loss.value(&scale, &noise, &output, &mut each, &mut gradient)?;
        let part = n as f64 / (plan.batch * dim) as f64;
        self.gradient
            .iter_mut()
            .for_each(|g| g[..length].iter_mut().for_each(|g| *g *= part));
        pack(&self.gradient, dim, &mut self.dy[..n * m * dim]);
        // the first rows of a part write what the next ones add to
        self.session
            .backward_with(p, turned, &self.dy[..n * m * dim], g, None, &mut |_| {
                between()
            });
        Ok(mean * part)
    }
}

/// What the mixed parametrisation adds to an output, for each unit of v, to make it the noise:
/// `1/(S_vv ell)`, as `-v / S_vv - ell net = -ell eps`; both of the objective's kernel.
fn mixed_shift(loss: &Loss, t: f64) -> Result<f64> {
    let d = loss.diffusion();
    let kernel = kernel_values(d.process(), d.schedule(), loss.objective(), 0.0, t)?;
    let last = kernel.k - 1;
    Ok(1.0 / (kernel.cov[(last, last)] * kernel.ell))
}

/// Channels (row, dim) each, into rows of all channels.
pub(super) fn pack(u: &[impl AsRef<[f64]>], dim: usize, x: &mut [f32]) {
    for (r, row) in x.chunks_exact_mut(u.len() * dim).enumerate() {
        for (to, from) in row.chunks_exact_mut(dim).zip(u) {
            to.iter_mut()
                .zip(&from.as_ref()[r * dim..])
                .for_each(|(t, f)| *t = *f as f32);
        }
    }
}

/// And back.
pub(super) fn unpack(y: &[f32], dim: usize, out: &mut [impl AsMut<[f64]>]) {
    for (r, row) in y.chunks_exact(out.len() * dim).enumerate() {
        for (from, to) in row.chunks_exact(dim).zip(out.iter_mut()) {
            to.as_mut()[r * dim..]
                .iter_mut()
                .zip(from)
                .for_each(|(t, f)| *t = f64::from(*f));
        }
    }
}
