//! The network: convolutions beside the machine's peak, a training step and an evaluation of the
//! U-Net that `benches/peers/unet_torch.py` defines. `cargo bench --bench nn`; `-- --summary`
//! leaves Criterion out. What each line means: benches/README.md. Beside PyTorch, candle and burn:
//! `python3 benches/peers/nn.py`. By layer: `cld bench`.

use cld_sgm::data::images::Dither;
use cld_sgm::internal::evaluate::{Data, Trained};
use cld_sgm::internal::simd::Real;
use cld_sgm::internal::simd::normal::normals;
use cld_sgm::kernel::{Objective, kernel_values};
use cld_sgm::nn::{Graph, Session, UNet};
use cld_sgm::train::checkpoint;
use cld_sgm::train::profile::{MachineLimits, convolution, peak_memory, steps};
use cld_sgm::train::step::PARTS;
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
fn case(size: usize, (batch, parts): (usize, usize), threads: usize) {
    let (train, evaluate) =
        steps(&graph(size), (batch, parts), threads, 10).expect("the benchmark's shapes");
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

/// Output and gradient of the parameters, in a type of numbers.
fn passes<T: Real + Into<f64>>(
    graph: &Arc<Graph<T>>,
    direct: bool,
    (p, x, times, dy): (&[f64], &[f64], &[f64], &[f64]),
) -> [Vec<f64>; 2] {
    let of = |v: &[f64]| v.iter().map(|x| T::of(*x)).collect::<Vec<T>>();
    let back = |v: Vec<T>| v.into_iter().map(Into::into).collect::<Vec<f64>>();
    let mut session = Session::new(graph.clone(), times.len()).expect("rows");
    session.direct(direct);
    let (p, mut y) = (of(p), of(dy));
    let (mut turned, mut g) = (vec![T::of(0.0); p.len()], vec![T::of(0.0); p.len()]);
    session.forward(&p, &of(x), times, &mut y);
    session.graph().turn(&p, &mut turned);
    session.backward(&p, &turned, &of(dy), &mut g, None);
    [back(y), back(g)]
}

/// Errors in f32 of the direct loops and of Winograd's on a trained network: held-out images,
/// noised by CLD's kernel at times of all sizes, against the same network in f64.
fn error(folder: &str) {
    let trained = Trained::read(folder.as_ref(), false).expect("a run of `cld train`");
    let Ok(Data::Images { held_out, .. }) = trained.data(None) else {
        panic!("images: others have no convolutions");
    };
    let ck = checkpoint::read(&std::path::Path::new(folder).join("checkpoint.safetensors"))
        .expect("a checkpoint");
    let [c, h, w] = ck.graph.outputs();
    assert_eq!((c, ck.graph.inputs()[0]), (1, 2), "grey images under CLD");
    let exact = UNet::small(2, 1, [h, w]).build::<f64>();
    let exact = Arc::new(exact.expect("the net"));
    let (n, dim) = (32, h * w);
    let rows: Vec<usize> = (0..n).collect();
    let data = held_out
        .rows(&rows, 0, &Dither::new(0, false))
        .expect("images");
    let times: Vec<f64> = (0..n)
        .map(|i| 10f64.powf(-3.0 * i as f64 / (n - 1) as f64))
        .collect();
    let objective = Objective::hsm(0.04).expect("the paper's");
    let d = trained.diffusion();
    let (mut x, mut noise) = (vec![], vec![]);
    for (r, t) in times.iter().enumerate() {
        let k = kernel_values(d.process(), d.schedule(), objective, 0.0, *t).expect("a time");
        let mut e = [vec![0.0; dim], vec![0.0; dim]];
        let [a, b] = &mut e;
        normals([1, 2], (r * dim) as u64, 0, [a, b]);
        for channel in 0..2 {
            let l = k.chol_lower.row(channel);
            let at = |i: usize| {
                k.mean[(channel, 0)] * data[r * dim + i] + l[0] * e[0][i] + l[1] * e[1][i]
            };
            x.extend((0..dim).map(at));
        }
        noise.extend_from_slice(&e[1]);
    }
    let p: Vec<f64> = ck.state.ema.iter().map(|p| f64::from(*p)).collect();
    // what goes back: the output less the noise, as the loss has it
    let given = (&p[..], &x[..], &times[..]);
    let y = passes(&exact, true, (given.0, given.1, given.2, &noise))[0].clone();
    let dy: Vec<f64> = y
        .iter()
        .zip(&noise)
        .map(|(y, e)| (y - e) / noise.len() as f64)
        .collect();
    let given = (given.0, given.1, given.2, &dy[..]);
    let right = passes(&exact, true, given);
    println!(
        "relative errors (root of mean square, largest over largest number) in f32, {h} x {w}"
    );
    let mut all = vec![];
    for direct in [true, false] {
        let found = passes(&ck.graph, direct, given);
        for (what, (found, right)) in ["output", "gradient"].iter().zip(found.iter().zip(&right)) {
            let difference = || found.iter().zip(right).map(|(a, b)| (a - b).abs());
            let size = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let mean = difference().map(|d| d * d).sum::<f64>().sqrt() / size(right);
            let largest = difference().fold(0.0, f64::max)
                / right.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            all.push(mean);
            let way = if direct { "direct" } else { "Winograd's" };
            println!("{way}, {what}: {mean:.2e}, {largest:.2e}");
        }
    }
    println!(
        "ratios: output {:.2}, gradient {:.2}",
        all[2] / all[0],
        all[3] / all[1]
    );
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
        match numbers[..] {
            [size, batch, threads] => case(size, (batch, PARTS), threads),
            [size, batch, threads, parts] => case(size, (batch, parts), threads),
            _ => println!("--case SIZE BATCH THREADS [PARTS]"),
        }
        return;
    }
    if let Some(at) = arguments.iter().position(|a| a == "--error") {
        return error(arguments.get(at + 1).expect("--error FOLDER"));
    }
    if !arguments.iter().any(|a| a == "--summary") {
        criterion();
    }
    summary();
}
