//! `cld vectors`: inputs and expected outputs for other implementations.

use super::show::{Bar, print};
use super::{Outcome, Result, names};
use cld_sgm::vectors::generate::{Request, generate};
use std::path::PathBuf;

/// Write test vectors: manifest.json, inputs.npz and expected.npz.
///
/// Put your own results, under the names that the manifest's `outputs` give, into FOLDER/answers.npz, and run
/// `cld check FOLDER`. The schema is docs/cld-vectors-1.schema.json.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write to; made if it is not there.
    folder: PathBuf,
    #[arg(long, help = names::process())]
    process: Option<String>,
    #[arg(long, help = names::suite())]
    suite: Vec<String>,
    /// Only quantities whose name has this in it; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Seed of the random inputs; the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let mut bar = Bar::new("writing");
    let request = Request { process: args.process.clone(), suites: args.suite.clone(), only: args.only.clone(), seed: args.seed };
    let written = generate(&args.folder, &request, &mut |done, total| bar.set(done, total))?;
    drop(bar);
    let folder = args.folder.display();
    let counts = format!("{} entries, {} expected values", written.entries, written.values);
    // a path or a command does not break over lines
    print(&format!(
        "Wrote manifest.json, inputs.npz and expected.npz to {folder}\n({counts}). Next, write your answers to\n  {folder}/answers.npz\nand run\n  cld check {folder}\n"
    ))?;
    Ok(Outcome::Fine)
}
