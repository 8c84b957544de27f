//! `cld completions` and `cld man`: made from the flags, by clap's own crates.

use super::show::{print, print_raw};
use super::{Cli, Outcome, Result};
use clap::CommandFactory;
use cld_sgm::Error;
use cld_sgm::internal::files::write_whole;
use std::path::PathBuf;

/// Print completions for a shell.
///
/// Such as `cld completions bash > ~/.local/share/bash-completion/completions/cld`.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Print the manual page, or write one page for each command to a folder.
///
/// `cld man | man -l -` shows it.
#[derive(clap::Args)]
pub struct Man {
    /// Folder for the pages cld.1, cld-check.1 and so on; made if it is not there.
    folder: Option<PathBuf>,
}

pub fn completions(args: &Completions) -> Result<Outcome> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "cld", &mut text);
    print_raw(&text)?;
    Ok(Outcome::Fine)
}

pub fn man(args: &Man) -> Result<Outcome> {
    let mut all = Cli::command();
    all.build();
    let page = |name: &str, command: clap::Command| {
        let mut text = vec![];
        let made = clap_mangen::Man::new(command.name(&*name.to_string().leak())).render(&mut text);
        made.map(|()| text).map_err(|e| Error::Io {
            path: name.into(),
            problem: e.to_string(),
        })
    };
    let Some(folder) = &args.folder else {
        print_raw(&page("cld", all)?)?;
        return Ok(Outcome::Fine);
    };
    std::fs::create_dir_all(folder).map_err(|e| Error::Io {
        path: folder.display().to_string(),
        problem: e.to_string(),
    })?;
    let mut written = 0;
    for sub in all.get_subcommands().filter(|s| s.get_name() != "help") {
        let name = format!("cld-{}", sub.get_name());
        write_whole(
            &folder.join(format!("{name}.1")),
            &page(&name, sub.clone())?,
        )?;
        written += 1;
    }
    write_whole(&folder.join("cld.1"), &page("cld", all)?)?;
    print(&format!("{}: {} pages\n", folder.display(), written + 1))?;
    Ok(Outcome::Fine)
}
