//! Samplers: one step of each without the score beside the machine's memory bandwidth, and whole
//! runs with the exact score. Criterion measures; then a summary is printed (`-- --summary` prints
//! it alone). `cargo bench --bench sampler`.
//!
//! What each line means: benches/README.md. The same run in PyTorch: benches/peers/sampler.py.

use cld_sgm::sampler::driver::Run;
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::{Grid, Memory, REGISTRY, SamplerEntry, Stepper, entry};
use cld_sgm::score::{MixtureScore, Score};
use cld_sgm::{Diffusion, Result, data};
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};

const STEPS: usize = 64;

/// What a model costs at the least: its output is written.
struct Zero;

impl Score for Zero {
    fn score(&self, _: f64, _: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        out.iter_mut().for_each(|o| o.fill(0.0));
        Ok(())
    }
}

/// A stepper and all that it works on.
struct Bench {
    stepper: Box<dyn Stepper>,
    start: Vec<Vec<f64>>,
    u: Vec<Vec<f64>>,
    noise: Vec<Vec<f64>>,
    memory: Memory,
}

impl Bench {
    fn new(d: &Diffusion, e: &SamplerEntry, n: usize) -> Option<Bench> {
        let grid = Grid::spaced(Spacing::Quadratic, d, STEPS, 1e-3).ok()?;
        let stepper = e.build(d, &grid).ok()?;
        let filled = |x: f64| {
            (0..n)
                .map(|i| x * ((i % 17) as f64 - 8.0))
                .collect::<Vec<f64>>()
        };
        let start: Vec<Vec<f64>> = (0..d.channels())
            .map(|i| filled(0.1 + 0.1 * i as f64))
            .collect();
        let noise = (0..stepper.draws())
            .map(|i| filled(0.2 - 0.05 * i as f64))
            .collect();
        let memory = Memory::new(&*stepper, n);
        Some(Bench {
            stepper,
            u: start.clone(),
            start,
            noise,
            memory,
        })
    }

    fn reset(&mut self) {
        self.u
            .iter_mut()
            .zip(&self.start)
            .for_each(|(u, s)| u.copy_from_slice(s));
    }

    fn step(&mut self, i: usize) {
        let mut u: Vec<&mut [f64]> = self.u.iter_mut().map(Vec::as_mut_slice).collect();
        let noise: Vec<&[f64]> = self.noise.iter().map(Vec::as_slice).collect();
        self.stepper
            .step(i, &mut u, &noise, &Zero, &mut self.memory)
            .expect("a score without errors");
    }

    /// Nanoseconds per value and step: the fastest of many rounds of `steps` steps, each from the
    /// same start, which is not timed.
    fn fastest(&mut self, steps: usize) -> f64 {
        let (mut best, until) = (f64::INFINITY, Instant::now() + Duration::from_millis(200));
        while Instant::now() < until {
            self.reset();
            let start = Instant::now();
            (0..steps).for_each(|i| self.step(i));
            best = best
                .min(start.elapsed().as_secs_f64() * 1e9 / (steps * self.start[0].len()) as f64);
            black_box(&self.u);
        }
        best
    }
}

/// Bytes that a step must move per value: the state in and out, its draws in, each score out and in
/// again.
fn bytes(d: &Diffusion, e: &SamplerEntry, stepper: &dyn Stepper) -> usize {
    8 * (2 * d.channels() + stepper.draws() + 2 * d.noised().len() * e.evaluations)
}

/// Gigabytes per second of a copy over vectors of so many bytes together.
fn bandwidth(bytes: usize) -> f64 {
    let n = bytes / 16;
    let (mut a, b) = (vec![0.0f64; n], vec![1.0; n]);
    let (mut best, until) = (f64::INFINITY, Instant::now() + Duration::from_millis(300));
    while Instant::now() < until {
        let start = Instant::now();
        black_box(&mut a[..]).copy_from_slice(black_box(&b));
        best = best.min(start.elapsed().as_secs_f64());
    }
    16.0 * n as f64 / best / 1e9
}

/// Seconds to sample `n` points of the two-dimensional mixture with the exact score.
fn sample(d: &Diffusion, n: usize, steps: usize, threads: usize) -> f64 {
    let mixture = (data::entry("mixture").expect("a toy").build)().expect("valid");
    let score = MixtureScore::new(d.clone(), mixture);
    let grid = Grid::spaced(Spacing::Quadratic, d, steps, 1e-3).expect("valid");
    let stepper = entry("sscs")
        .expect("a sampler")
        .build(d, &grid)
        .expect("it fits");
    let run = Run {
        diffusion: d,
        stepper: &*stepper,
        grid: &grid,
        denoise: false,
        score: &score,
        n,
        dim: 2,
        seed: 1,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads");
    let start = Instant::now();
    black_box(pool.install(|| run.sample(&|_, _| ())).expect("finite"));
    start.elapsed().as_secs_f64()
}

fn summary(d: &Diffusion) {
    println!(
        "\nsummary (fastest rounds), instruction set {}",
        cld_sgm::internal::simd::Set::current().name()
    );
    const LARGE: usize = 1_000_000;
    println!(
        "\nsampler                 in cache          10^6 values       bytes per value   share of a copy's bandwidth at as many bytes"
    );
    for e in REGISTRY.iter().filter(|e| !e.adaptive) {
        let Some(mut small) = Bench::new(d, e, 2048) else {
            println!("{:<23} not for {}", e.name, d.process().name());
            continue;
        };
        let inside = small.fastest(STEPS);
        let moved = bytes(d, e, &*small.stepper);
        drop(small);
        let Some(mut large) = Bench::new(d, e, LARGE) else {
            continue;
        };
        let outside = large.fastest(2);
        drop(large);
        let share = moved as f64 / outside / bandwidth(moved * LARGE);
        println!(
            "{:<23} {inside:6.2} ns/value   {outside:6.2} ns/value   {moved:4}              {:3.0} %",
            e.name,
            100.0 * share
        );
    }
    println!("\n1e5 points of the mixture, 500 steps of sscs, exact score (best of 3)");
    let best = |threads| {
        (0..3)
            .map(|_| sample(d, 100_000, 500, threads))
            .fold(f64::INFINITY, f64::min)
    };
    let (one, two) = (best(1), best(2));
    println!(
        "1 thread {one:.2} s, 2 threads {two:.2} s ({:.2} times)",
        one / two
    );
}

fn main() {
    let d = Diffusion::paper().expect("valid");
    if !std::env::args().any(|a| a == "--summary") {
        let mut c = Criterion::default()
            .sample_size(10)
            .without_plots()
            .configure_from_args();
        let mut group = c.benchmark_group("step");
        group.throughput(Throughput::Elements((2048 * STEPS) as u64));
        for e in REGISTRY.iter().filter(|e| !e.adaptive) {
            if let Some(mut bench) = Bench::new(&d, e, 2048) {
                group.bench_function(e.name, |b| {
                    b.iter(|| {
                        bench.reset();
                        (0..STEPS).for_each(|i| bench.step(i));
                    });
                });
            }
        }
        group.finish();
        let mut group = c.benchmark_group("sample");
        group.throughput(Throughput::Elements(10_000));
        for threads in [1, 2] {
            group.bench_function(format!("mixture, 100 steps/{threads} threads"), |b| {
                b.iter(|| sample(&d, 10_000, 100, threads))
            });
        }
        group.finish();
        c.final_summary();
    }
    summary(&d);
}
