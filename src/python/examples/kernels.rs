//! What `process.cov(t)` for a million times is measured against: the crate's own call, without
//! Python.
//!
//! `cargo run --release --manifest-path src/python/Cargo.toml --example kernels`

use cld_sgm::kernel::KernelBatch;
use cld_sgm::{Cld, Objective, Schedule};
use std::time::Instant;

fn main() -> cld_sgm::Result<()> {
    let t: Vec<f64> = (0..1_000_000)
        .map(|i| 1e-6 + f64::from(i) / 1_000_001.0)
        .collect();
    let (cld, schedule, objective) = (
        Cld::new(0.25)?,
        Schedule::constant(4.0)?,
        Objective::hsm(0.04)?,
    );
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        let batch = KernelBatch::new(&cld, &schedule, objective, &t)?;
        std::hint::black_box(batch.cov(0, 0));
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "KernelBatch::new, a million times: best {:.1} ms, median {:.1} ms",
        times[0], times[7]
    );
    Ok(())
}
