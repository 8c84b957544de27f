//! `cld bench`: where a network's time goes, beside the machine's limits.

use super::show::{BOLD, Bar, note, print, short, styled, table, write_json};
use super::{Outcome, Result, version};
use cld_sgm::internal::files::{Limits, Paths, read_text};
use cld_sgm::train::profile::{LayerTime, Timing};
use cld_sgm::train::record::{BenchOptions, MOVED, Record, StepTimes, compare};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Time of whole steps of the U-Net of `cld train`, and their share of the machine's limit; with
/// --layers where it goes.
///
/// The limit is measured in the same run, before and after. Operations are counted as the direct
/// loops make them: where Winograd's makes fewer, the share of the limit can be above 100 %. Run it
/// on a quiet machine.
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
    /// Single convolutions and every layer, too.
    #[arg(long)]
    layers: bool,
    /// Where to write the record: machine, limits, versions, figures with their spread.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure nothing; set two records side by side.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["size", "batch", "base", "rounds", "json", "layers", "threads"])]
    compare: Option<Vec<PathBuf>>,
}

fn giga(x: f64) -> String {
    format!("{:.0}", x / 1e9)
}

fn share(x: f64) -> String {
    format!("{:.0} %", 100.0 * x)
}

/// Milliseconds and the quartiles around them, in three digits: more than runs agree in.
fn ms(t: &Timing) -> String {
    let three = |seconds: f64| match 1e3 * seconds {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => short(x),
    };
    format!(
        "{} ({} to {})",
        three(t.median),
        three(t.low),
        three(t.high)
    )
}

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    if let Some([a, b]) = args.compare.as_deref() {
        return side_by_side(a, b, limits);
    }
    Paths::default().outputs("json", &args.json).check()?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let Args {
        size,
        batch,
        base,
        rounds,
        layers,
        ..
    } = *args;
    let options = BenchOptions {
        size,
        batch,
        base,
        threads: args.threads.unwrap_or(cores),
        rounds,
        layers,
    };
    let bar = Bar::new("measuring");
    let r = Record::measure(options, &version())?;
    drop(bar);
    let mut text = format!(
        "{}, {} core(s), {}\n",
        r.machine.cpu, r.machine.cores, r.machine.set
    );
    let limit = |threads: usize, x: f64| format!("{} GFLOP/s on {threads} thread(s)", giga(x));
    text += &format!("limit, f32 multiply-adds: {}", limit(1, r.limits.one));
    if options.threads > 1 {
        text += &format!(", {}", limit(options.threads, r.limits.all));
    }
    text += &format!("; a copy: {:.1} GB/s\n\n", r.limits.copy / 1e9);
    text += &steps(&r);
    if layers {
        text += &format!("\n{}\n{}", convolutions(&r), by_layer(&r));
    }
    if let Some(mib) = r.peak_mib {
        text += &format!("most memory of this process: {mib:.0} MiB\n");
    }
    if let Some(file) = &args.json {
        write_json(file, &r)?;
        text += &format!("record: {}\n", file.display());
    }
    print(&text)?;
    if let Some(moved) = r.restless() {
        let most = share(MOVED);
        note(&format!(
            "the machine's limit moved by {} during the run (more than {most}): it was not quiet, run it again",
            share(moved)
        ));
    }
    Ok(Outcome::Fine)
}

/// Whole steps.
fn steps(r: &Record) -> String {
    let row = |s: &StepTimes| {
        let of = |t: &Timing, passes: f64| share(passes * s.flop / t.median / s.limit);
        vec![
            s.threads.to_string(),
            ms(&s.train),
            of(&s.train, 3.0),
            ms(&s.evaluate),
            of(&s.evaluate, 1.0),
        ]
    };
    let head = [
        "threads",
        "training, ms",
        "of limit",
        "evaluation, ms",
        "of limit",
    ];
    let BenchOptions {
        size, batch, base, ..
    } = r.options;
    let what = format!("whole steps, {size} x {size}, batch {batch}, {base} channels");
    format!(
        "{}: median (quartiles)\n{}",
        styled(BOLD, &what),
        table(&head, &r.steps.iter().map(row).collect::<Vec<_>>())
    )
}

fn convolutions(r: &Record) -> String {
    let rows: Vec<Vec<String>> = r
        .convolutions
        .iter()
        .map(|c| {
            let limit = r.limits.of(c.threads);
            let name = format!("{} channels, {} x {1}", c.channels, c.size);
            vec![
                name,
                c.threads.to_string(),
                giga(c.forward),
                share(c.forward / limit),
                giga(c.both),
                share(c.both / limit),
            ]
        })
        .collect();
    let head = [
        "3x3 convolution",
        "threads",
        "forward",
        "of limit",
        "with gradients",
        "of limit",
    ];
    format!(
        "{}, GFLOP/s, batch 16\n{}",
        styled(BOLD, "convolutions"),
        table(&head, &rows)
    )
}

/// What kind of layer a name is of.
fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "conv1" | "conv2" | "inp" | "out" if !name.contains("mid.1") => {
            "3x3 convolutions of blocks"
        }
        n if n.starts_with("norm") => "norms with SiLU",
        "time" | "0" | "2" | "silu" | "fourier"
            if name.contains("time") || name.starts_with("emb") || !name.contains('.') =>
        {
            "time"
        }
        "skip" | "qkv" => "1x1 convolutions",
        "attention" => "attention",
        "upsample" | "crop" | "dropout" => "pixels moved",
        _ => "other convolutions",
    }
}

fn by_layer(r: &Record) -> String {
    let (forward, backward): (f64, f64) = r
        .layers
        .iter()
        .fold((0.0, 0.0), |s, l| (s.0 + l.forward, s.1 + l.backward));
    let line = |name: String, flop: f64, f: f64, b: f64| {
        let speed = |flop: f64, t: f64| {
            if flop > 0.0 {
                share(flop / t / r.limits.one)
            } else {
                String::new()
            }
        };
        let part = share((f + b) / (forward + backward));
        vec![
            name,
            short(1e6 * f),
            speed(flop, f),
            short(1e6 * b),
            speed(2.0 * flop, b),
            part,
        ]
    };
    let of = |l: &LayerTime| line(l.name.clone(), l.flop, l.forward, l.backward);
    let mut rows: Vec<Vec<String>> = r.layers.iter().map(of).collect();
    let mut kinds: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for l in &r.layers {
        let of = kinds.entry(kind(&l.name)).or_default();
        *of = (of.0 + l.flop, of.1 + l.forward, of.2 + l.backward);
    }
    rows.extend(
        kinds
            .into_iter()
            .map(|(name, (flop, f, b))| line(format!("all: {name}"), flop, f, b)),
    );
    rows.push(line(
        "all".into(),
        r.layers.iter().map(|l| l.flop).sum(),
        forward,
        backward,
    ));
    let head = [
        "layer", "forward", "of limit", "backward", "of limit", "time",
    ];
    format!(
        "{}, microseconds a row, one thread\n{}",
        styled(BOLD, "layers"),
        table(&head, &rows)
    )
}

fn side_by_side(a: &Path, b: &Path, limits: &Limits) -> Result<Outcome> {
    let read = |p: &Path| Record::parse(&read_text(p, limits)?, &p.display().to_string());
    let (a, b) = (read(a)?, read(b)?);
    let pairs = compare(&a, &b)?;
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .map(|p| {
            let said = if p.overlap() {
                " (quartiles overlap)"
            } else {
                ""
            };
            vec![
                p.what.clone(),
                ms(&p.a),
                ms(&p.b),
                format!("{:.2}{said}", p.faster()),
            ]
        })
        .collect();
    let mut text = String::new();
    for (name, r) in [("A", &a), ("B", &b)] {
        text += &format!(
            "{name}: {}; {}, {} core(s), {}\n",
            r.version, r.machine.cpu, r.machine.cores, r.machine.set
        );
    }
    if a.machine != b.machine {
        text += "two machines: the figures are of them, too\n";
    }
    text += &format!("\n{}", table(&["", "A, ms", "B, ms", "A/B"], &rows));
    for (name, r) in [("A", &a), ("B", &b)] {
        if let Some(moved) = r.restless() {
            text += &format!(
                "{name}: the machine's limit moved by {} during its run\n",
                share(moved)
            );
        }
    }
    print(&text)?;
    Ok(Outcome::Fine)
}
