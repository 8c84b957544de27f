//! `cld vectors`: inputs and expected outputs for other implementations.

use super::show::{Bar, print};
use super::{Outcome, Result, names};
use cld_sgm::internal::vectors::generate::{Request, generate};
use cld_sgm::internal::vectors::pytest;
use std::path::PathBuf;

/// Write test vectors: manifest.json, inputs.npz and expected.npz; or a Python test file.
///
/// Put your own results, under the names that the manifest's `outputs` give, into
/// FOLDER/answers.npz, and run `cld check FOLDER`. The schema is
/// docs/reference/cld-vectors-1.schema.json.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write to; made if it is not there.
    #[arg(required_unless_present = "pytest")]
    folder: Option<PathBuf>,
    /// Write a Python test file with frozen vectors instead, which needs nothing but pytest and
    /// your code.
    ///
    /// Its top is a short adapter to edit. Without `--process` and `--suite`: cld, and what an
    /// implementation of it has.
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    pytest: Option<PathBuf>,
    /// Leave out rows at earlier times; with --pytest.
    #[arg(long, value_name = "T", default_value_t = 0.0, requires = "pytest")]
    t_min: f64,
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
    let request = Request {
        process: args.process.clone(),
        suites: args.suite.clone(),
        only: args.only.clone(),
        seed: args.seed,
    };
    if let Some(file) = &args.pytest {
        let written = pytest::write(file, &request, args.t_min, &mut |done, total| {
            bar.set(done, total)
        })?;
        drop(bar);
        let file = file.display();
        print(&format!(
            "{file}: {} tests, {} expected values, {} kB.\nEdit `answer` at its top, then: pytest {file}\n",
            written.entries,
            written.values,
            written.bytes.div_ceil(1000)
        ))?;
        return Ok(Outcome::Fine);
    }
    let folder = args.folder.clone().unwrap_or_default();
    let written = generate(&folder, &request, &mut |done, total| bar.set(done, total))?;
    drop(bar);
    let folder = folder.display();
    let counts = format!(
        "{} entries, {} expected values",
        written.entries, written.values
    );
    // a path or a command does not break over lines
    print(&format!(
        "Wrote manifest.json, inputs.npz and expected.npz to {folder}\n({counts}). Next, write your answers to\n  {folder}/answers.npz\nand run\n  cld check {folder}\n"
    ))?;
    Ok(Outcome::Fine)
}
