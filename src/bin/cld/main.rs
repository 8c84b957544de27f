//! The command `cld`: parse, call, print; no mathematics here.

mod accuracy;
mod audit;
mod bench;
mod check;
mod compare;
mod eval;
mod judge;
mod names;
mod nll;
mod sample;
mod setting;
mod show;
mod train;
mod trained;
mod vectors;

use clap::{Parser, Subcommand};
use cld_sgm::files::{Limits, limits};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Exact transition kernels of Critically-Damped Langevin Diffusion and its relatives, and the cross-check of other
/// implementations.
///
/// Exit codes: 0 all is well, 1 something is off, 2 unusable input, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(name = "cld", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
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
    Train(Box<train::Args>),
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

type Result<T> = std::result::Result<T, cld_sgm::Error>;

fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// The whole command, from its arguments (the first is its name) to its exit code. The Python package has it, too: nothing in this
/// folder says `crate::`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // help and version are answers, and must have been printed
        Err(e) if !e.use_stderr() => return end(show::print(&e.render().ansi().to_string()).map(|()| Outcome::Fine)),
        Err(e) => e.exit(),
    };
    let limits = Limits { memory: cli.max_memory, text: cli.max_text };
    let outcome = match cli.command {
        Command::Check(args) => check::run(&args, &limits),
        Command::Vectors(args) => vectors::run(&args),
        Command::Eval(args) => eval::run(&args, &limits),
        Command::Accuracy(args) => accuracy::run(&args, &limits),
        Command::Audit(args) => audit::run(&args, &limits),
        Command::Sample(args) => sample::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Nll(args) => nll::run(&args),
        Command::Train(args) => train::run(&args, &limits),
    };
    end(outcome)
}

/// The exit code; an error's sentence on standard error.
fn end(outcome: Result<Outcome>) -> u8 {
    match outcome {
        Ok(Outcome::Fine) => 0,
        Ok(Outcome::Off) => 1,
        Ok(Outcome::Stopped) => 130,
        Err(error) => {
            // one sentence, whatever the words of the operating system or of a library
            let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            // who has closed standard error has the exit code
            let _ = writeln!(std::io::stderr(), "cld: {text}");
            2
        }
    }
}
