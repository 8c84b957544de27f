//! `cld accuracy`: the measured accuracy of the crate itself.

use super::show::{BAD, print, styled, table};
use super::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::internal::files::{Limits, read_text};
use cld_sgm::internal::vectors::accuracy::{Bound, Table};
use std::path::{Path, PathBuf};

/// Measure this program's own kernels and schedules against high-precision tables.
///
/// Tables are files of schema cld-truth/1. Without FILE: those in fixtures/truth of the current
/// folder, as in a clone of the repository.
#[derive(clap::Args)]
pub struct Args {
    /// Tables.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The page docs/reference/accuracy.md.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// The tables of the repository.
const DEFAULT: [&str; 3] = ["kernels.json", "extra.json", "schedules.json"];

pub fn run(args: &Args, limits: &Limits) -> Result<Outcome> {
    let mut files = args.files.clone();
    if files.is_empty() {
        let folder = Path::new("fixtures").join("truth");
        files = DEFAULT.iter().map(|f| folder.join(f)).collect();
        if !files[0].is_file() {
            return Err(Error::Parameter {
                name: "FILE".into(),
                value: "missing, and the current folder has no fixtures/truth/kernels.json".into(),
                allowed: "tables of schema cld-truth/1, or none in a clone of the repository"
                    .into(),
            });
        }
    }
    let mut measured = Table::default();
    for path in &files {
        measured.add(&read_text(path, limits)?, &path.display().to_string())?;
    }
    let text = if args.markdown {
        measured.to_markdown()
    } else if args.json {
        serde_json::to_string_pretty(&measured).map_err(|e| Error::Io {
            path: "standard output".into(),
            problem: e.to_string(),
        })? + "\n"
    } else {
        readable(&measured)
    };
    print(&text)?;
    Ok(if measured.kept() {
        Outcome::Fine
    } else {
        Outcome::Off
    })
}

fn readable(t: &Table) -> String {
    let rows: Vec<Vec<String>> = t
        .lines
        .iter()
        .map(|l| {
            let bound = match l.bound {
                Bound::Ulp(b) => format!("{b} ulp"),
                Bound::Relative(b) => format!("{b:e}"),
            };
            let figures = format!("{:.2}", l.ulp);
            vec![
                l.family.into(),
                l.quantity.into(),
                bound,
                l.values.to_string(),
                l.left_out.to_string(),
                if l.kept() {
                    figures
                } else {
                    styled(BAD, &figures)
                },
                format!("{:.1e}", l.relative),
                l.at.clone(),
            ]
        })
        .collect();
    let mut text = table(
        &[
            "family",
            "quantity",
            "promised",
            "values",
            "left out",
            "worst ulp",
            "relative",
            "where",
        ],
        &rows,
    );
    let off = t.lines.iter().filter(|l| !l.kept()).count();
    text += &format!(
        "\n{} rows, {} values compared, {} kernels refused. {}\n",
        t.rows,
        t.values(),
        t.refused,
        if off == 0 {
            "Every promise is kept.".into()
        } else {
            styled(BAD, &format!("{off} lines are off."))
        }
    );
    text
}
