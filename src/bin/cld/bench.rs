//! `cld bench`: where a network's time goes, beside the machine's limits.

use super::show::{print, short, table};
use super::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::nn::UNet;
use cld_sgm::simd::Set;
use cld_sgm::train::profile::{Limits, convolution, layers, peak_memory, steps};
use std::sync::Arc;

/// Time, GFLOP/s and share of the machine's limit of the U-Net, layer by layer, and of whole steps.
///
/// The network is the one of `cld train`; the limit is measured in the same run. Operations are counted as the direct loops make them: where
/// Winograd's makes fewer, the share of the limit can be above 100 %. Run it on a quiet machine.
#[derive(clap::Args)]
pub struct Args {
    /// Height and width of the images.
    #[arg(long, default_value_t = 28)]
    size: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Channels at full size.
    #[arg(long, default_value_t = 32)]
    base: usize,
    /// Threads of the whole steps; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Passes of which the fastest counts, and steps of which the median does.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = args.threads.unwrap_or(cores);
    for (name, n, most) in [("threads", threads, 1024), ("rounds", args.rounds, 100_000), ("batch", args.batch, 65536)] {
        if !(1..=most).contains(&n) {
            return Err(Error::parameter(name, n, format!("1 to {most}")));
        }
    }
    let graph = Arc::new(UNet { base: args.base, ..UNet::small(2, 1, [args.size, args.size]) }.build::<f32>()?);
    let limits = Limits::measure(threads);
    let giga = |x: f64| format!("{:.0}", x / 1e9);
    let share = |x: f64| format!("{:.0} %", 100.0 * x);
    print(&format!(
        "instruction set {}; fused multiply-adds in f32: {} GFLOP/s on one thread, {} on {threads}; a copy: {:.1} GB/s\n\n",
        Set::current().name(),
        giga(limits.one),
        giga(limits.all),
        limits.copy / 1e9
    ))?;
    let mut rows = vec![];
    for (channels, size) in [(32, 28), (64, 28), (64, 14), (128, 14)] {
        for (threads, peak) in [(1, limits.one), (threads, limits.all)] {
            let (forward, both) = convolution(channels, size, threads, args.rounds)?;
            let mut row = vec![format!("{channels} channels, {size} x {size}"), threads.to_string()];
            row.extend([giga(forward), share(forward / peak), giga(both), share(both / peak)]);
            rows.push(row);
        }
    }
    print(&table(&["3x3 convolution, batch 16", "threads", "forward GFLOP/s", "of the limit", "with gradients", "of the limit"], &rows))?;
    let all = layers(&graph, args.rounds)?;
    let (forward, backward): (f64, f64) = all.iter().fold((0.0, 0.0), |s, l| (s.0 + l.forward, s.1 + l.backward));
    let line = |name: String, flop: f64, f: f64, b: f64| {
        let speed = |flop: f64, t: f64| if flop > 0.0 { [giga(flop / t), share(flop / t / limits.one)] } else { ["".into(), "".into()] };
        let ([gf, sf], [gb, sb]) = (speed(flop, f), speed(2.0 * flop, b));
        let part = share((f + b) / (forward + backward));
        vec![name, short(1e6 * f), gf, sf, short(1e6 * b), gb, sb, part]
    };
    let mut rows: Vec<Vec<String>> = all.iter().map(|l| line(l.name.clone(), l.flop, l.forward, l.backward)).collect();
    // the kinds of layers together
    let kind = |name: &str| match name.rsplit('.').next().unwrap_or("") {
        "conv1" | "conv2" | "inp" | "out" if !name.contains("mid.1") => "3x3 convolutions of blocks",
        n if n.starts_with("norm") => "norms with SiLU",
        "time" | "0" | "2" | "silu" | "fourier" if name.contains("time") || name.starts_with("emb") || !name.contains('.') => "time",
        "skip" | "qkv" => "1x1 convolutions",
        "attention" => "attention",
        "upsample" | "crop" | "dropout" => "pixels moved",
        _ => "other convolutions",
    };
    let mut kinds: std::collections::BTreeMap<&str, (f64, f64, f64)> = std::collections::BTreeMap::new();
    for l in &all {
        let of = kinds.entry(kind(&l.name)).or_default();
        *of = (of.0 + l.flop, of.1 + l.forward, of.2 + l.backward);
    }
    rows.extend(kinds.into_iter().map(|(name, (flop, f, b))| line(format!("all: {name}"), flop, f, b)));
    rows.push(line("all".into(), all.iter().map(|l| l.flop).sum(), forward, backward));
    print("\n")?;
    print(&table(
        &["layer, one thread", "forward us/row", "GFLOP/s", "of the limit", "backward", "GFLOP/s", "of the limit", "time"],
        &rows,
    ))?;
    let mut rows = vec![];
    for threads in if threads == 1 { vec![1] } else { vec![1, threads] } {
        let (train, evaluate) = steps(&graph, args.batch, threads, args.rounds)?;
        let flop: f64 = all.iter().map(|l| l.flop).sum::<f64>() * args.batch as f64;
        let peak = if threads == 1 { limits.one } else { limits.all };
        let mut row = vec![threads.to_string(), format!("{:.2}", 1e3 * train), share(3.0 * flop / train / peak)];
        row.extend([format!("{:.2}", 1e3 * evaluate), share(flop / evaluate / peak)]);
        rows.push(row);
    }
    print("\n")?;
    print(&table(&["whole steps: threads", "training ms", "of the limit", "evaluation ms", "of the limit"], &rows))?;
    if let Some(mib) = peak_memory() {
        print(&format!("\nmost memory of this process: {mib:.0} MiB\n"))?;
    }
    Ok(Outcome::Fine)
}
