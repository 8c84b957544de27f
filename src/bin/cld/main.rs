//! The command `cld`: parse, call, print; no mathematics here.

mod accuracy;
mod audit;
mod bench;
mod check;
mod compare;
mod eval;
mod judge;
mod manual;
mod names;
mod nll;
mod reproduce;
mod sample;
mod setting;
mod several;
mod show;
mod train;
mod vectors;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cld_sgm::Error;
use cld_sgm::internal::files::machine::Machine;
use cld_sgm::internal::files::{Limits, limits};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Exact transition kernels of Critically-Damped Langevin Diffusion and its relatives, and the
/// cross-check of other implementations.
///
/// Exit codes: 0 all is well, 1 something is off, 2 unusable input, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(name = "cld", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No notes and no progress bars.
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Messages"
    )]
    quiet: bool,
    /// Say on standard error which program, machine and instruction set this is, and how long it
    /// took.
    #[arg(long, short, global = true, help_heading = "Messages")]
    verbose: bool,
    /// Most memory for the numbers of a file that is read.
    #[arg(long, global = true, value_name = "SIZE", default_value = "4GiB", value_parser = limits::bytes, help_heading = "Limits")]
    max_memory: u64,
    /// Longest text (JSON, TOML) that is read.
    #[arg(long, global = true, value_name = "SIZE", default_value = "256MiB", value_parser = limits::bytes, help_heading = "Limits")]
    max_text: u64,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Vectors(vectors::Args),
    Eval(eval::Args),
    Accuracy(accuracy::Args),
    Audit(audit::Args),
    Sample(sample::Args),
    Compare(compare::Args),
    Bench(bench::Args),
    Nll(nll::Args),
    Reproduce(reproduce::Args),
    Train(Box<train::Args>),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// What a subcommand found.
enum Outcome {
    /// All is well: exit code 0.
    Fine,
    /// Something is off: exit code 1.
    Off,
    /// Asked to stop, and did, with nothing lost: exit code 130, as shells have it for Ctrl-C.
    Stopped,
}

type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// The whole command, from its arguments (the first is its name) to its exit code. The Python
/// package has it, too: nothing in this folder says `crate::`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = Cli::command();
    // the machine is looked at for those alone who ask
    if args.iter().any(|a| a == "--version") {
        command = command.long_version(long_version());
    }
    let parsed = command
        .try_get_matches_from(args)
        .and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        // help and version are answers, and must have been printed
        Err(e) if !e.use_stderr() => {
            return end(show::print(&e.render().ansi().to_string()).map(|()| Outcome::Fine));
        }
        Err(e) => e.exit(),
    };
    show::set_quiet(cli.quiet);
    if cli.verbose {
        show::note(&format!("cld {}", long_version().replace('\n', "; ")));
    }
    if let Some((ranks, rank)) = team()
        && let Some(allowed) = alone(&cli.command)
    {
        let e = Error::parameter("processes", ranks, allowed);
        // one sentence, not one for each
        return if rank == 0 { end(Err(e)) } else { 2 };
    }
    let start = std::time::Instant::now();
    let limits = Limits {
        memory: cli.max_memory,
        text: cli.max_text,
    };
    let outcome = match cli.command {
        Command::Check(args) => check::run(&args, &limits),
        Command::Vectors(args) => vectors::run(&args),
        Command::Eval(args) => eval::run(&args, &limits),
        Command::Accuracy(args) => accuracy::run(&args, &limits),
        Command::Audit(args) => audit::run(&args, &limits),
        Command::Sample(args) => sample::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Bench(args) => bench::run(&args, &limits),
        Command::Nll(args) => nll::run(&args),
        Command::Reproduce(args) => reproduce::run(&args, &limits),
        Command::Train(args) => train::run(&args, &limits),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    };
    if cli.verbose {
        show::note(&format!("{:.3} s", start.elapsed().as_secs_f64()));
    }
    end(outcome)
}

/// How many processes `mpirun` or `srun` started, and which one this is, if there are several.
fn team() -> Option<(usize, usize)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    // Open MPI; MPICH and Intel MPI; MVAPICH; Slurm
    [
        ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
        ["PMI_SIZE", "PMI_RANK"],
        ["MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"],
        ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
    ]
    .iter()
    .find_map(|[size, rank]| Some((number(size)?, number(rank).unwrap_or(0))))
    .filter(|(size, _)| *size > 1)
}

/// What a command is that cannot be run by several processes at once: each would do the whole, over
/// the others' files.
fn alone(command: &Command) -> Option<&'static str> {
    let shared = match command {
        Command::Completions(_) | Command::Man(_) => return None,
        Command::Audit(_) | Command::Reproduce(_) => {
            "1: this build has no MPI (cargo build --release --features mpi), and each would do the whole; --shard I/N shares it out"
        }
        Command::Train(_)
        | Command::Sample(_)
        | Command::Nll(_)
        | Command::Eval(_)
        | Command::Compare(_) => {
            "1: this build has no MPI (cargo build --release --features mpi), and each would do the whole, over the others' files"
        }
        _ => return Some("1: each would do the whole, over the others' files"),
    };
    (!cfg!(feature = "mpi")).then_some(shared)
}

/// Version, commit and compiler, as far as they are known.
fn version() -> String {
    let known = |name: &str, value: Option<&str>| {
        value
            .filter(|v| !v.is_empty())
            .map(|v| format!("{name}{v}"))
    };
    let origin = [
        known("commit ", option_env!("CLD_COMMIT")),
        known("", option_env!("CLD_RUSTC")),
    ];
    let origin = origin.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let version = env!("CARGO_PKG_VERSION");
    if origin.is_empty() {
        version.into()
    } else {
        format!("{version} ({origin})")
    }
}

/// That, and the machine: made once in a run.
fn long_version() -> &'static str {
    let Machine {
        cpu,
        cores,
        set,
        system,
    } = Machine::here();
    format!(
        "{}\ninstruction set {set}; {cpu}, {cores} core(s), {system}",
        version()
    )
    .leak()
}

/// The name closest to an unknown one among those that its refusal lists.
fn meant(error: &Error) -> Option<String> {
    let Error::Parameter { value, allowed, .. } = error else {
        return None;
    };
    let given = value.strip_prefix('`')?.strip_suffix('`')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let names = allowed
        .split([',', ';', ' ', '(', ')', '`'])
        .filter(|n| n.len() > 1 && n.chars().all(plain));
    let close = names
        .map(|n| (strsim::jaro_winkler(given, n), n))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    // as clap has it for its own names
    (close.0 > 0.8 && close.1 != given).then(|| close.1.to_string())
}

/// The exit code; an error's sentence on standard error.
fn end(outcome: Result<Outcome>) -> u8 {
    match outcome {
        Ok(Outcome::Fine) => 0,
        Ok(Outcome::Off) => 1,
        Ok(Outcome::Stopped) => 130,
        Err(error) => {
            // one sentence, whatever the words of the operating system or of a library
            let mut text = error
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            if let Some(name) = meant(&error) {
                text += &format!("; did you mean `{name}`?");
            }
            // who has closed standard error has the exit code
            let _ = writeln!(std::io::stderr(), "cld: {text}");
            2
        }
    }
}
