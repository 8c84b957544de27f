//! Where a network's time goes, beside the machine's limits, both measured in one run.

use super::source::Source;
use super::step::{State, StepPlan, Trainer, rows_at_once, rows_of_a_pass};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::Objective;
use crate::loss::{Form, Loss, Times, Weighting};
use crate::nn::adam::Adam;
use crate::nn::{Graph, Session};
use crate::score::Parametrisation;
use crate::simd::loops::conv::{Conv, Finish, Images, turned};
use crate::simd::{Set, limits};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Seconds: a median and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The median.
    pub median: f64,
    /// A quarter of the times is below.
    pub low: f64,
    /// A quarter of the times is above.
    pub high: f64,
}

/// Seconds of the fastest of `rounds` calls, after one that does not count.
fn fastest(rounds: usize, mut f: impl FnMut()) -> f64 {
    f();
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// Runs `f` on so many threads at once, from a common start; the seconds until the last one is
/// done.
fn together(threads: usize, f: impl Fn() + Sync) -> f64 {
    let barrier = std::sync::Barrier::new(threads);
    let times = std::thread::scope(|s| {
        let run = || {
            barrier.wait();
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        };
        let all: Vec<_> = (0..threads).map(|_| s.spawn(run)).collect();
        all.into_iter()
            .filter_map(|h| h.join().ok())
            .collect::<Vec<_>>()
    });
    times.into_iter().fold(0.0, f64::max)
}

/// The machine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MachineLimits {
    /// Most fused multiply-adds of f32 in registers, two operations each, per second: one thread.
    pub one: f64,
    /// The same for so many threads together.
    pub all: f64,
    /// Bytes read and written per second by a copy between arrays of 64 MiB on one thread.
    pub copy: f64,
}

impl MachineLimits {
    /// Of one thread, or of all that were measured together.
    pub fn of(&self, threads: usize) -> f64 {
        if threads == 1 { self.one } else { self.all }
    }

    /// Measures them: a second or so.
    pub fn measure(threads: usize) -> MachineLimits {
        let n = 1 << 22;
        let (a, b) = (black_box(0.999), black_box(1e-3));
        let rate = |threads: usize| {
            let flop =
                threads as f64 * limits::multiply_adds(Set::current(), 1, a, b).1 as f64 * n as f64;
            (0..8)
                .map(|_| {
                    flop / together(threads, || {
                        black_box(limits::multiply_adds(Set::current(), n, a, b));
                    })
                })
                .fold(0.0, f64::max)
        };
        let (from, mut to) = (vec![1.0f32; 1 << 24], vec![0.0f32; 1 << 24]);
        let copy = fastest(8, || black_box(&mut to).copy_from_slice(black_box(&from)));
        MachineLimits {
            one: rate(1),
            all: rate(threads),
            copy: 2.0 * 4.0 * (1 << 24) as f64 / copy,
        }
    }
}

/// Speed of a 3x3 convolution of as many channels in as out, batch 16, in operations per second
/// over all threads: forward, and forward with both gradients. Threads share out the images.
pub fn convolution(
    channels: usize,
    size: usize,
    threads: usize,
    rounds: usize,
) -> Result<(f64, f64)> {
    let rows = 16usize.div_ceil(threads);
    let s = Images::new(rows, channels, size, size);
    let conv = Conv::new(s, channels, 3, 1)
        .ok_or_else(|| Error::parameter("channels", channels, "a multiple of 16"))?;
    let numbers = |n: usize| {
        (0..n)
            .map(|i| ((i * 7919 % 1009) as f32) / 504.5 - 1.0)
            .collect::<Vec<_>>()
    };
    let (x, w, bias) = (
        numbers(s.len()),
        numbers(conv.weights()),
        vec![0.0; channels],
    );
    let mut back = w.clone();
    turned(&w, channels, channels, 3, &mut back);
    let flop = conv.flop() * threads as f64;
    let run = |backward: bool| {
        let each = || {
            let (mut y, mut dx, mut dw) =
                (vec![0.0; s.len()], vec![0.0; s.len()], vec![0.0; w.len()]);
            let mut best = f64::INFINITY;
            for _ in 0..=rounds {
                let start = Instant::now();
                conv.forward(black_box(&x), &w, &bias, &mut y);
                if backward {
                    conv.weight_gradient(&x, &y, &mut dw, false);
                    conv.fused(&y, &back, &bias, None, Finish::Write, &mut dx);
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            black_box((y, dx, dw));
            best
        };
        // the slowest thread's fastest round: what a step that waits for all of them gets
        let all = std::thread::scope(|s| {
            let all: Vec<_> = (0..threads).map(|_| s.spawn(each)).collect();
            all.into_iter()
                .filter_map(|h| h.join().ok())
                .fold(0.0, f64::max)
        });
        flop * if backward { 3.0 } else { 1.0 } / all
    };
    Ok((run(false), run(true)))
}

/// What a layer takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerTime {
    /// Its name.
    pub name: String,
    /// Floating-point operations a row, forward, as the direct loops make them: Winograd's make
    /// fewer.
    pub flop: f64,
    /// Seconds a row, forward.
    pub forward: f64,
    /// Seconds a row, backward.
    pub backward: f64,
}

/// Every layer's time on one thread, the least of `rounds` passes over as many rows as training
/// takes at once; gradients of the input not among them.
pub fn layers(graph: &Arc<Graph<f32>>, rounds: usize) -> Result<Vec<LayerTime>> {
    let rows = rows_of_a_pass(graph.inputs());
    let mut session = Session::new(graph.clone(), rows)?;
    let p = graph.layout().start::<f32>(1);
    let mut turned = vec![0.0; p.len()];
    graph.turn(&p, &mut turned);
    let numbers = |n: usize| {
        (0..rows * n)
            .map(|i| ((i * 7919 % 1009) as f32) / 504.5 - 1.0)
            .collect::<Vec<_>>()
    };
    let (x, dy) = (
        numbers(graph.inputs().iter().product()),
        numbers(graph.outputs().iter().product()),
    );
    let (times, mut y, mut g) = (vec![0.5; rows], dy.clone(), vec![0.0; p.len()]);
    let mut lines: Vec<LayerTime> = graph
        .layers()
        .into_iter()
        .map(|(name, flop)| LayerTime {
            name,
            flop,
            forward: f64::INFINITY,
            backward: f64::INFINITY,
        })
        .collect();
    for _ in 0..=rounds {
        let mut last = Instant::now();
        let mut lap = |to: &mut f64| {
            let now = Instant::now();
            *to = to.min((now - last).as_secs_f64() / rows as f64);
            last = now;
        };
        session.forward_with(&p, &x, &times, &mut y, &mut |i| lap(&mut lines[i].forward));
        session.backward_with(&p, &turned, &dy, (&mut g, false), None, &mut |i| {
            lap(&mut lines[i].backward)
        });
    }
    Ok(lines)
}

/// Data that cost nothing.
struct Ramp([usize; 3]);

impl Source for Ramp {
    fn shape(&self) -> [usize; 3] {
        self.0
    }

    fn draw(&self, number: u64, out: &mut [f64]) {
        out.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = ((number as usize + i) * 37 % 101) as f64 / 50.0 - 1.0);
    }
}

/// A whole step of training by HSM under the paper's diffusion (noise, times, forward, backward,
/// clipping, Adam, average) in so many parts, and an evaluation of the batch: of `steps` each, after two that do not
/// count.
///
/// # Errors
/// A batch that is too small for the threads, or a network that does not fit.
pub fn steps(
    graph: &Arc<Graph<f32>>,
    (batch, parts): (usize, usize),
    threads: usize,
    steps: usize,
) -> Result<(Timing, Timing)> {
    let d = Diffusion::paper()?;
    let [c, h, w] = graph.outputs();
    let plan = StepPlan {
        graph: graph.clone(),
        loss: Loss::new(&d, Objective::hsm(d.gamma())?, Form::Eps, Weighting::Eps)?,
        parametrisation: Parametrisation::Eps,
        times: Times::uniform(1e-5)?,
        stratified: true,
        adam: Adam::default(),
        batch,
        parts,
        seed: 1,
        source: Arc::new(Ramp([c, h, w])),
    };
    let mut trainer = Trainer::new(plan, State::new(graph, 1), threads)?;
    let timing = |f: &mut dyn FnMut() -> Result<()>| -> Result<Timing> {
        let mut all = vec![];
        for i in 0..steps + 2 {
            let start = Instant::now();
            f()?;
            if i > 1 {
                all.push(start.elapsed().as_secs_f64());
            }
        }
        all.sort_by(f64::total_cmp);
        let n = all.len();
        Ok(Timing {
            median: all[n / 2],
            low: all[n / 4],
            high: all[n - 1 - n / 4],
        })
    };
    let train = timing(&mut || trainer.step().map(drop))?;
    let p = trainer.state().p.clone();
    drop(trainer);
    // an evaluation: the batch's rows in equal shares
    let rows = rows_at_once(graph.inputs()).min(batch.div_ceil(threads));
    let shares = batch.div_ceil(rows);
    let [from, to] = [graph.inputs(), graph.outputs()].map(|s| s.iter().product::<usize>());
    let (x, times, mut y) = (
        vec![0.1f32; batch * from],
        vec![0.5; batch],
        vec![0.0f32; batch * to],
    );
    let mut sessions = (0..threads.min(shares))
        .map(|_| Session::forward_only(graph.clone(), rows))
        .collect::<Result<Vec<_>>>()?;
    let evaluate = timing(&mut || {
        let jobs = x
            .chunks(rows * from)
            .zip(times.chunks(rows))
            .zip(y.chunks_mut(rows * to));
        super::parts::share(&mut sessions, jobs, |s, ((x, t), y)| s.forward(&p, x, t, y));
        Ok(())
    })?;
    Ok((train, evaluate))
}

/// Most memory the process has had, in MiB; none where the system does not say.
pub fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<f64>()
        .ok()
        .map(|k| k / 1024.0)
}
