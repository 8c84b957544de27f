//! Path simulation: path-steps per second of CLD under Euler-Maruyama, normals alone, and cost
//! against paths, steps and channels. Criterion measures; then a summary is printed.
//! `cargo bench --bench simulate`.
//!
//! A path-step is one step of one path of one coordinate (x, v): one normal draw, one drift, one
//! update. The limit is the draws: normals alone, by the same code, are measured in the same run.
//! Python peers: benches/peers/simulate.py.

use cld_sgm::internal::simd::normal::{normals, normals_f32};
use cld_sgm::internal::simulate::streams::Stream;
use cld_sgm::internal::simulate::{Forward, Plan, Scheme};
use cld_sgm::{Cld, Langevin, Schedule};
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::Instant;

const STEPS: usize = 256;

fn plan(process: &Cld, scheme: Scheme, steps: usize) -> Plan<2> {
    let sde = Forward::new(process, Schedule::constant(4.0).expect("valid"));
    let grid: Vec<f64> = (0..=steps).map(|i| i as f64 / steps as f64).collect();
    Plan::new(
        scheme,
        &sde,
        &grid,
        &[steps],
        ([0.0, 0.0], [1.0, 0.1]),
        Stream::new(1, 2),
    )
    .expect("valid")
}

fn on(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads")
}

/// Million path-steps per second: the best of several runs.
fn rate(plan: &Plan<2>, paths: u64, threads: usize, single: bool) -> f64 {
    let pool = on(threads);
    (0..5)
        .map(|_| {
            let start = Instant::now();
            black_box(pool.install(|| {
                if single {
                    plan.simulate_f32(paths)
                } else {
                    plan.simulate(paths)
                }
            }));
            paths as f64 * plan.steps() as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .fold(0.0, f64::max)
}

fn main() {
    let process = Cld::new(0.25).expect("valid");
    let mut c = Criterion::default()
        .sample_size(10)
        .without_plots()
        .configure_from_args();
    let paths = 1u64 << 16;
    let mut group = c.benchmark_group("path-steps");
    group.throughput(Throughput::Elements(paths * STEPS as u64));
    for scheme in Scheme::ALL {
        let plan = plan(&process, scheme, STEPS);
        for threads in [1, 2] {
            let pool = on(threads);
            group.bench_function(format!("{}/{threads} threads", scheme.name()), |b| {
                b.iter(|| pool.install(|| plan.simulate(paths)))
            });
        }
    }
    group.finish();
    let (mut a, mut b) = (vec![0.0; 2048], vec![0.0; 2048]);
    let mut group = c.benchmark_group("normals");
    group.throughput(Throughput::Elements(4096));
    group.bench_function("f64", |bench| {
        bench.iter(|| normals([1, 2], 0, 3, [black_box(&mut a), black_box(&mut b)]))
    });
    group.finish();
    c.final_summary();

    println!(
        "\nsummary (best of 5 runs), instruction set {}",
        cld_sgm::internal::simd::Set::current().name()
    );
    let em = plan(&process, Scheme::EulerMaruyama, STEPS);
    let mut first = 0.0;
    for (name, single) in [("f64", false), ("f32", true)] {
        let (one, two) = (rate(&em, 1 << 19, 1, single), rate(&em, 1 << 19, 2, single));
        println!(
            "CLD Euler-Maruyama, {name}: {one:.0} million path-steps/s on 1 thread, {two:.0} on 2 ({:.2} times)",
            two / one
        );
        first = if single { first } else { one };
    }
    let start = Instant::now();
    for k in 0..20_000u64 {
        normals([1, 2], 0, k, [&mut a, &mut b]);
    }
    let draws = 20_000.0 * 4096.0 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "normals alone, f64: {draws:.0} million/s on 1 thread; Euler-Maruyama runs at {:.0}% of that",
        100.0 * first / draws
    );
    let mut four: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; 2048]);
    let start = Instant::now();
    for k in 0..10_000u32 {
        normals_f32([1, 2, 3, 4], 0, k, four.each_mut().map(Vec::as_mut_slice));
    }
    let draws = 10_000.0 * 8192.0 / start.elapsed().as_secs_f64() / 1e6;
    println!("normals alone, f32: {draws:.0} million/s on 1 thread");
    println!("\npaths      seconds   million path-steps/s   (64 steps, 2 threads)");
    let short = plan(&process, Scheme::EulerMaruyama, 64);
    for exponent in 3..=8 {
        let n = 10u64.pow(exponent);
        let start = Instant::now();
        black_box(on(2).install(|| short.simulate(n)));
        let s = start.elapsed().as_secs_f64();
        println!(
            "1e{exponent}        {s:8.4}  {:8.0}",
            n as f64 * 64.0 / s / 1e6
        );
    }
    println!("\nsteps      seconds   million path-steps/s   (1e6 paths, 2 threads)");
    for steps in [16, 64, 256, 1024] {
        let plan = plan(&process, Scheme::EulerMaruyama, steps);
        let start = Instant::now();
        black_box(on(2).install(|| plan.simulate(1_000_000)));
        let s = start.elapsed().as_secs_f64();
        println!("{steps:<9} {s:8.4}  {:8.0}", 1e6 * steps as f64 / s / 1e6);
    }
    println!(
        "\nchannels   million path-steps/s   draws per step   (exact transitions and Euler-Maruyama, chain of order K, 2 threads)"
    );
    channels(&Langevin::<2>::critical().expect("valid"));
    channels(&Langevin::<3>::critical().expect("valid"));
    channels(&Langevin::<4>::critical().expect("valid"));
}

/// Cost by number of channels: K draws per exact step, one per Euler-Maruyama step.
fn channels<const K: usize>(process: &Langevin<K>) {
    let sde = Forward::new(process, Schedule::constant(4.0).expect("valid"));
    let grid: Vec<f64> = (0..=64).map(|i| f64::from(i) / 64.0).collect();
    for scheme in [Scheme::Exact, Scheme::EulerMaruyama] {
        let plan = Plan::new(
            scheme,
            &sde,
            &grid,
            &[64],
            ([0.0; K], [0.0; K]),
            Stream::new(1, 3),
        )
        .expect("valid");
        let start = Instant::now();
        black_box(on(2).install(|| plan.simulate(1_000_000)));
        let rate = 64.0 / start.elapsed().as_secs_f64();
        println!(
            "{K}          {rate:8.0}               {}   {}",
            (plan.draws() - K) / 64,
            scheme.name()
        );
    }
}
