//! One kernel evaluation beside one `exp`, many at once, and `perturb` beside the machine's memory
//! bandwidth.
//!
//! `cargo bench --bench kernel` runs criterion's groups and then prints the summary; `-- --summary`
//! prints the summary alone (some seconds). What each line means: benches/README.md.

use cld_sgm::internal::simd::{self, Set, Steps};
use cld_sgm::kernel::{Kernel, KernelBatch, Objective, Real};
use cld_sgm::process::{
    Cld, CldDamped, CldPosition, Langevin, LinearSde, Psld, Reversed, SubVp, Ve, Vp,
};
use cld_sgm::schedule::Schedule;
use criterion::{BatchSize, Criterion, Throughput};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::hint::black_box;
use std::time::Instant;

const N: usize = 1024;

/// Times, log-uniform in [1e-5, 1], shuffled: no branch can learn their order.
fn times() -> Vec<f64> {
    let mut state = 1u64;
    (0..N)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            10f64.powf(-5.0 * ((state >> 11) as f64 / (1u64 << 53) as f64))
        })
        .collect()
}

/// Nanoseconds per call: the fastest of many short rounds.
fn fastest(calls: usize, mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let until = Instant::now() + std::time::Duration::from_millis(300);
    while Instant::now() < until {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / calls as f64);
    }
    best
}

fn throughput<const K: usize>(
    p: &impl LinearSde<K>,
    s: &Schedule,
    o: Objective,
    ts: &[f64],
) -> f64 {
    fastest(ts.len(), || {
        for &t in ts {
            let k = Kernel::new(p, black_box(s), o, black_box(t));
            black_box(&k);
            assert!(k.is_ok());
        }
    })
}

fn latency<const K: usize>(p: &impl LinearSde<K>, s: &Schedule, o: Objective, ts: &[f64]) -> f64 {
    fastest(ts.len(), || {
        let mut carry = 0.0;
        for &t in ts {
            let k = Kernel::new(p, s, o, t + carry).expect("valid");
            carry = k.ell() * 0.0;
        }
        black_box(carry);
    })
}

/// Gigabytes per second of `a = b` and `a = b + 3 c` over vectors of so many bytes together; the
/// reading of a line that is only written is not counted, as is usual.
fn bandwidth(bytes: usize) -> (f64, f64) {
    let n = bytes / 24;
    let (mut a, b, c) = (vec![0.0f64; n], vec![1.0; n], vec![2.0; n]);
    let triad = fastest(n, || {
        black_box(&mut a[..])
            .iter_mut()
            .zip(black_box(&b))
            .zip(black_box(&c))
            .for_each(|((a, b), c)| *a = b + 3.0 * c)
    });
    let n = bytes / 16;
    let (mut a, b) = (vec![0.0f64; n], vec![1.0; n]);
    let copy = fastest(n, || black_box(&mut a[..]).copy_from_slice(black_box(&b)));
    (16.0 / copy, 24.0 / triad)
}

/// Nanoseconds per value (pair x, v) of `perturb` on 10^6 values: with given noise, and with the
/// normals drawn.
fn perturb<T: Real>() -> (f64, f64) {
    let n = 1_000_000;
    let kernel = Kernel::new(
        &Cld::new(0.25).expect("valid"),
        &Schedule::constant(4.0).expect("valid"),
        Objective::DSM,
        0.3,
    )
    .expect("valid");
    let filled = |x: f64| {
        (0..n)
            .map(|i| T::narrow(x * (i % 17) as f64))
            .collect::<Vec<T>>()
    };
    let (x0, mut e, mut f, mut x, mut v) = (
        filled(0.1),
        filled(0.2),
        filled(-0.1),
        filled(0.0),
        filled(0.0),
    );
    let given = fastest(n, || {
        kernel
            .perturb(black_box(&x0), [&e, &f], [&mut x, &mut v])
            .expect("same lengths")
    });
    let mut rng = StdRng::seed_from_u64(1);
    let drawn = fastest(n, || {
        kernel
            .perturb_random(black_box(&x0), &mut rng, [&mut e, &mut f], [&mut x, &mut v])
            .expect("same lengths")
    });
    (given, drawn)
}

/// Millions of path-steps per second on one thread: CLD's two channels, one draw per step.
fn paths(set: Set) -> f64 {
    let steps = Steps::new(
        (0..64).map(|_| {
            (
                [[1.0, 0.01], [-0.01, 0.96]],
                [[[0.0, 0.0], [0.0, 0.1]], [[0.0; 2]; 2]],
            )
        }),
        2,
    );
    let n = 4096;
    let (mut x, mut v) = (vec![0.1; n], vec![0.2; n]);
    1e3 / fastest(64 * n, || {
        simd::sde::affine_paths_on(set, &steps, [1, 2], 0, [&mut x, &mut v])
    })
}

fn available() -> impl Iterator<Item = Set> {
    Set::ALL.into_iter().filter(|s| s.available())
}

fn summary() {
    let ts = times();
    let exp = fastest(N, || {
        for &t in &ts {
            black_box(black_box(-t).exp());
        }
    });
    let exp_latency = fastest(N, || {
        let mut carry = 0.0;
        for &t in &ts {
            carry = (carry - t).exp() * 0.0;
        }
        black_box(carry);
    });
    println!("set in use: {}", Set::current().name());
    println!("exp: {exp:.2} ns, latency {exp_latency:.2} ns");
    let constant = Schedule::constant(4.0).expect("valid");
    let linear = Schedule::linear(0.1, 19.9).expect("valid");
    let hsm = Objective::hsm(0.04).expect("valid");
    let cld = Cld::new(0.25).expect("valid");
    for (name, s) in [("constant", &constant), ("linear", &linear)] {
        for o in [Objective::DSM, hsm] {
            let (a, b) = (throughput(&cld, s, o, &ts), latency(&cld, s, o, &ts));
            println!(
                "one kernel, {name} {}: {a:.2} ns = {:.2} exp, latency {b:.2} ns = {:.2} exp",
                o.name(),
                a / exp,
                b / exp_latency
            );
        }
    }
    let mut batch = KernelBatch::new(&cld, &constant, hsm, &ts).expect("valid");
    let before = Set::current();
    for set in available() {
        set.force().expect("available");
        for (name, s) in [("constant", &constant), ("linear", &linear)] {
            let ns = fastest(N, || {
                batch
                    .fill(&cld, black_box(s), hsm, black_box(&ts))
                    .expect("valid")
            });
            println!(
                "batch, {name} hsm {}: {ns:.2} ns = {:.2} exp",
                set.name(),
                ns / exp
            );
        }
    }
    before.force().expect("available");
    let d = Objective::DSM;
    let show =
        |name: &str, ns: f64| println!("one kernel, {name}: {ns:.1} ns = {:.2} exp", ns / exp);
    show(
        "cld general damping",
        throughput(
            &CldDamped::new(0.25, 0.5).expect("valid"),
            &constant,
            hsm,
            &ts,
        ),
    );
    show(
        "cld position noise",
        throughput(
            &CldPosition::new(2.0, 0.5, 2.0).expect("valid"),
            &constant,
            hsm,
            &ts,
        ),
    );
    show(
        "psld",
        throughput(&Psld::new(0.01, 4.01).expect("valid"), &constant, hsm, &ts),
    );
    show(
        "sscs",
        throughput(&Reversed::new(cld).expect("valid"), &constant, d, &ts),
    );
    show("vp", throughput(&Vp, &linear, d, &ts));
    show("sub-vp", throughput(&SubVp, &linear, d, &ts));
    show(
        "ve (geometric rate)",
        throughput(
            &Ve,
            &Schedule::geometric(0.01, 50.0).expect("valid"),
            d,
            &ts[..64],
        ),
    );
    show(
        "langevin 3",
        throughput(
            &Langevin::<3>::critical().expect("valid"),
            &constant,
            d,
            &ts[..16],
        ),
    );
    let (copy, triad) = bandwidth(400_000_000);
    println!("memory, one thread, 400 MB: copy {copy:.1} GB/s, triad {triad:.1} GB/s");
    for (name, bytes, (given, drawn)) in [
        ("f32", 4.0, perturb::<f32>()),
        ("f64", 8.0, perturb::<f64>()),
    ] {
        // what must move: x0 and two noises in (drawn noise: out), two outputs out; the limit is
        // that of as many bytes
        let (copy, triad) = bandwidth((5e6 * bytes) as usize);
        println!(
            "memory, one thread, {:.0} MB: copy {copy:.1} GB/s, triad {triad:.1} GB/s",
            5.0 * bytes
        );
        for (what, ns) in [("perturb", given), ("perturb_random", drawn)] {
            let rate = 5.0 * bytes / ns;
            println!(
                "{what}, 10^6 {name}: {ns:.2} ns per value, {rate:.1} GB/s = {:.0} % of the bandwidth",
                100.0 * rate / copy.max(triad)
            );
        }
    }
    for set in available() {
        println!(
            "paths, {}: {:.0} million steps per second",
            set.name(),
            paths(set)
        );
    }
}

fn groups(c: &mut Criterion) {
    let ts = times();
    let (constant, cld, hsm) = (
        Schedule::constant(4.0).expect("valid"),
        Cld::new(0.25).expect("valid"),
        Objective::hsm(0.04).expect("valid"),
    );
    let mut g = c.benchmark_group("kernel");
    g.throughput(Throughput::Elements(N as u64));
    g.bench_function("exp", |b| {
        b.iter(|| ts.iter().map(|&t| black_box(-t).exp()).sum::<f64>())
    });
    g.bench_function("one by one", |b| {
        b.iter(|| {
            ts.iter()
                .for_each(|&t| drop(black_box(Kernel::new(&cld, &constant, hsm, black_box(t)))))
        })
    });
    let mut batch = KernelBatch::new(&cld, &constant, hsm, &ts).expect("valid");
    let before = Set::current();
    for set in available() {
        set.force().expect("available");
        g.bench_function(format!("batch {}", set.name()), |b| {
            b.iter(|| batch.fill(&cld, &constant, hsm, black_box(&ts)))
        });
    }
    before.force().expect("available");
    g.finish();
    let mut g = c.benchmark_group("perturb");
    let n = 1_000_000;
    g.throughput(Throughput::Elements(n as u64));
    let kernel = Kernel::new(&cld, &constant, hsm, 0.3).expect("valid");
    let (x0, e, f) = (vec![0.1f32; n], vec![0.2f32; n], vec![0.3f32; n]);
    let out = || (vec![0.0f32; n], vec![0.0f32; n]);
    g.bench_function("f32", |b| {
        b.iter_batched_ref(
            out,
            |(x, v)| kernel.perturb(&x0, [&e, &f], [x, v]),
            BatchSize::LargeInput,
        )
    });
    g.finish();
}

fn main() {
    if !std::env::args().any(|a| a == "--summary") {
        let mut c = Criterion::default().configure_from_args();
        groups(&mut c);
        c.final_summary();
    }
    summary();
}
