//! One kernel evaluation beside one `exp`, many at once, and `perturb` beside the machine's memory bandwidth.
//!
//! `cargo bench --bench kernel` runs criterion's groups and then prints the summary; `-- --summary` prints the
//! summary alone (some seconds). What each line means: benches/README.md.

use cld_sgm::kernel::{Kernel, KernelBatch, Objective};
use cld_sgm::process::{Cld, CldDamped, CldPosition, Langevin, LinearSde, Psld, Reversed, SubVp, Ve, Vp};
use cld_sgm::schedule::Schedule;
use cld_sgm::simd::Set;
use std::hint::black_box;
use std::time::Instant;

const N: usize = 1024;

/// Times, log-uniform in [1e-5, 1], shuffled: no branch can learn their order.
fn times() -> Vec<f64> {
    let mut state = 1u64;
    (0..N)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            10f64.powf(-5.0 * ((state >> 11) as f64 / (1u64 << 53) as f64))
        })
        .collect()
}

/// Nanoseconds per call: the fastest of many short rounds.
fn fastest(calls: usize, mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let until = Instant::now() + std::time::Duration::from_millis(400);
    while Instant::now() < until {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / calls as f64);
    }
    best
}

fn throughput<const K: usize>(p: &impl LinearSde<K>, s: &Schedule, o: Objective, ts: &[f64]) -> f64 {
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

fn main() {
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
    println!("exp {exp:.2} ns, latency {exp_latency:.2} ns");
    let constant = Schedule::constant(4.0).expect("valid");
    let linear = Schedule::linear(0.1, 19.9).expect("valid");
    let hsm = Objective::hsm(0.04).expect("valid");
    let cld = Cld::new(0.25).expect("valid");
    for (name, s) in [("constant", &constant), ("linear", &linear)] {
        for o in [Objective::DSM, hsm] {
            let (a, b) = (throughput(&cld, s, o, &ts), latency(&cld, s, o, &ts));
            println!("cld {name} {}: {a:.2} ns = {:.2} exp; latency {b:.2} ns = {:.2} exp", o.name(), a / exp, b / exp_latency);
        }
    }
    let mut batch = KernelBatch::new(&cld, &constant, hsm, &ts).expect("valid");
    for set in Set::ALL.into_iter().filter(|l| l.available()) {
        set.force().expect("available");
        for (name, s) in [("constant", &constant), ("linear", &linear)] {
            let ns = fastest(N, || batch.fill(&cld, black_box(s), hsm, black_box(&ts)).expect("valid"));
            println!("batch {name} {}: {ns:.2} ns = {:.2} exp", set.name(), ns / exp);
        }
    }
    let d = Objective::DSM;
    let show = |name: &str, ns: f64| println!("{name}: {ns:.1} ns = {:.2} exp", ns / exp);
    show("cld general damping", throughput(&CldDamped::new(0.25, 0.5).expect("valid"), &constant, hsm, &ts));
    show("psld", throughput(&Psld::new(0.01, 4.01).expect("valid"), &constant, hsm, &ts));
    show("cld position noise", throughput(&CldPosition::new(2.0, 0.5, 2.0).expect("valid"), &constant, hsm, &ts));
    show("sscs", throughput(&Reversed::new(cld).expect("valid"), &constant, d, &ts));
    show("vp", throughput(&Vp, &linear, d, &ts));
    show("sub-vp", throughput(&SubVp, &linear, d, &ts));
    show("ve", throughput(&Ve, &Schedule::geometric(0.01, 50.0).expect("valid"), d, &ts[..64]));
    show("langevin 3", throughput(&Langevin::<3>::critical().expect("valid"), &constant, d, &ts[..16]));
}
