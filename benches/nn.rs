//! The network: convolutions beside the machine's peak, a training step and an evaluation of the
//! U-Net that `benches/peers/unet_torch.py` defines. `cargo bench --bench nn`; `-- --summary`
//! leaves Criterion out. What each line means: benches/README.md. Beside PyTorch, candle and burn:
//! `python3 benches/peers/nn.py`. By layer: `cld bench`.

use cld_sgm::nn::{Session, UNet};
use cld_sgm::train::profile::{MachineLimits, convolution, peak_memory, steps};
use criterion::Criterion;
use std::process::Command;
use std::sync::Arc;

fn graph(size: usize) -> Arc<cld_sgm::nn::Graph<f32>> {
    Arc::new(
        UNet::small(2, 1, [size, size])
            .build()
            .expect("the benchmark's network"),
    )
}

/// One case in a process of its own, so that the peak of memory is its own.
fn case(size: usize, batch: usize, threads: usize) {
    let (train, evaluate) =
        steps(&graph(size), batch, threads, 10).expect("the benchmark's shapes");
    println!(
        "train {size} {batch} threads {threads}: {:.2} ms",
        1e3 * train.median
    );
    println!(
        "eval {size} {batch} threads {threads}: {:.2} ms",
        1e3 * evaluate.median
    );
    if let Some(mib) = peak_memory() {
        println!("peak {size} {batch} threads {threads}: {mib:.0} MiB");
    }
}

fn summary() {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let limits = MachineLimits::measure(cores);
    println!(
        "peak of fused multiply-adds in f32: {:.0} GFLOP/s on one thread, {:.0} on {cores}",
        limits.one / 1e9,
        limits.all / 1e9
    );
    println!("copy: {:.1} GB/s on one thread\n", limits.copy / 1e9);
    println!("3x3 convolutions at batch 16, GFLOP/s and share of the peak");
    println!("channels size threads    forward       forward + backward");
    for threads in [1, cores] {
        let peak = if threads == 1 { limits.one } else { limits.all };
        for (channels, size) in [(32, 28), (64, 28), (64, 14), (128, 14)] {
            let (forward, both) =
                convolution(channels, size, threads, 40).expect("the benchmark's shapes");
            let show = |rate: f64| format!("{:5.0}  {:5.1} %", rate / 1e9, 100.0 * rate / peak);
            println!(
                "{channels:8} {size:4} {threads:7}  {}  {}",
                show(forward),
                show(both)
            );
        }
    }
    println!("\na training step and an evaluation of the U-Net, medians");
    let me = std::env::current_exe().expect("a program has a path");
    for (size, batch, threads) in [
        (28, 64, 1),
        (28, 64, cores),
        (8, 64, 1),
        (8, 64, cores),
        (28, 128, cores),
        (14, 64, cores),
        (56, 64, cores),
    ] {
        let arguments = [size, batch, threads].map(|n| n.to_string());
        let done = Command::new(&me).arg("--case").args(arguments).status();
        if !done.is_ok_and(|s| s.success()) {
            println!("{size} {batch} threads {threads}: did not run");
        }
    }
}

fn criterion() {
    let mut c = Criterion::default().configure_from_args();
    for size in [8, 28] {
        let graph = graph(size);
        let mut session = Session::new(graph.clone(), 4).expect("rows");
        let p = graph.layout().start::<f32>(1);
        let (x, mut y) = (vec![0.1; 8 * size * size], vec![0.0; 4 * size * size]);
        c.bench_function(&format!("unet {size}x{size}, 4 rows, forward"), |b| {
            b.iter(|| session.forward(&p, &x, &[0.5; 4], &mut y))
        });
    }
    c.final_summary();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--case") {
        let numbers: Vec<usize> = arguments[at + 1..]
            .iter()
            .filter_map(|a| a.parse().ok())
            .collect();
        if let [size, batch, threads] = numbers[..] {
            case(size, batch, threads);
        }
        return;
    }
    if !arguments.iter().any(|a| a == "--summary") {
        criterion();
    }
    summary();
}
