//! All paths of a command: no output takes an input's place, or another output's.

use super::write::{Target, folder_of, sweep, writable};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The files that a command reads and writes, told apart by what they are and not by how they are
/// spelled.
#[derive(Default)]
pub struct Paths {
    inputs: Vec<Known>,
    outputs: Vec<Known>,
}

struct Known {
    /// The flag or argument.
    what: String,
    path: PathBuf,
    id: Identity,
}

/// What a file is.
struct Identity {
    /// Its path without links; that of its folder, and its name, where it is not there yet.
    place: PathBuf,
    /// Device and number: the same for every name of a file.
    number: Option<(u64, u64)>,
    /// A pipe or a device, which may be given twice.
    special: bool,
}

impl Identity {
    fn of(path: &Path) -> Identity {
        match Target::of(path) {
            Ok(Target::Special) => Identity {
                place: path.into(),
                number: None,
                special: true,
            },
            Ok(Target::Regular(place, meta)) => Identity {
                place,
                number: number(&meta),
                special: false,
            },
            Ok(Target::New(new)) => Identity {
                place: place(&new),
                number: None,
                special: false,
            },
            // what cannot be looked at will be refused by whoever reads or writes it
            Ok(Target::Folder) | Err(_) => Identity {
                place: place(path),
                number: None,
                special: false,
            },
        }
    }

    fn is(&self, other: &Identity) -> bool {
        !self.special
            && !other.special
            && (self.place == other.place || (self.number.is_some() && self.number == other.number))
    }
}

#[cfg(unix)]
fn number(m: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((m.dev(), m.ino()))
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// The path without links, as far as it is there.
fn place(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.file_name()) {
        (Ok(p), _) => p,
        (Err(_), Some(name)) if folder_of(path) != path => place(folder_of(path)).join(name),
        _ => path.to_path_buf(),
    }
}

/// Whether two paths are of one file or folder.
pub fn same(a: &Path, b: &Path) -> bool {
    Identity::of(a).is(&Identity::of(b))
}

impl Paths {
    /// Files that are read; `what` is the flag or argument that names them.
    #[must_use]
    pub fn inputs<P: AsRef<Path>>(
        mut self,
        what: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Paths {
        self.inputs.extend(paths.into_iter().map(|p| Known {
            what: what.into(),
            path: p.as_ref().into(),
            id: Identity::of(p.as_ref()),
        }));
        self
    }

    /// Files that will be written.
    #[must_use]
    pub fn outputs<P: AsRef<Path>>(
        mut self,
        what: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Paths {
        self.outputs.extend(paths.into_iter().map(|p| Known {
            what: what.into(),
            path: p.as_ref().into(),
            id: Identity::of(p.as_ref()),
        }));
        self
    }

    /// Refuses outputs that are inputs, that are one file, or that cannot be written; to be called
    /// before any work. What killed runs left beside the outputs is removed.
    ///
    /// # Errors
    /// The output that is refused, by its flag, and why.
    pub fn check(&self) -> Result<()> {
        self.apart()?;
        for o in &self.outputs {
            writable(&o.path)?;
            if !o.id.special {
                sweep(folder_of(&o.id.place));
            }
        }
        Ok(())
    }

    /// The same where the outputs' folder may not be there yet: whether they can be written is not
    /// tried.
    ///
    /// # Errors
    /// As [`Paths::check`].
    pub fn apart(&self) -> Result<()> {
        for (n, o) in self.outputs.iter().enumerate() {
            let value = format!("`{}`", o.path.display());
            if let Some(i) = self.inputs.iter().find(|i| i.id.is(&o.id)) {
                let allowed = format!(
                    "another file than `{}` ({}), which is read and would be lost",
                    i.path.display(),
                    i.what
                );
                return Err(Error::parameter(o.what.clone(), value, allowed));
            }
            if let Some(other) = self.outputs[..n].iter().find(|p| p.id.is(&o.id)) {
                let allowed = format!(
                    "another file than `{}` ({}): one of the two would be lost",
                    other.path.display(),
                    other.what
                );
                return Err(Error::parameter(o.what.clone(), value, allowed));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches files that are told apart by their spelling: dots, links to files and folders, hard
    /// links, names that are not there yet.
    #[test]
    #[cfg(unix)]
    fn one_file_has_many_names() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let file = |n: &str| dir.path().join(n);
        std::fs::write(file("a"), b"kept").unwrap();
        std::fs::create_dir(file("sub")).unwrap();
        symlink("a", file("link")).unwrap();
        symlink("sub", file("folder")).unwrap();
        symlink("sub/new", file("dangling")).unwrap();
        std::fs::hard_link(file("a"), file("hard")).unwrap();
        for (a, b) in [
            ("a", "./a"),
            ("a", "sub/../a"),
            ("a", "link"),
            ("a", "hard"),
            ("link", "hard"),
            ("sub/new", "folder/new"),
            ("sub/new", "dangling"),
            ("no/folder/yet", "no/./folder/yet"),
        ] {
            for (a, b) in [(file(a), file(b)), (file(b), file(a))] {
                let lost = |p: Paths| p.apart().unwrap_err().to_string();
                let text = lost(Paths::default().inputs("FILE", [&a]).outputs("out", [&b]));
                assert!(
                    text.contains("`out`")
                        && text.contains("FILE")
                        && text.contains("is read and would be lost"),
                    "{text}"
                );
                lost(Paths::default().outputs("plot", [&a]).outputs("csv", [&b]));
                lost(Paths::default().outputs("plot", [&a, &b]));
            }
        }
        for (a, b) in [("a", "b"), ("a", "sub"), ("sub/new", "new"), ("a", "sub/a")] {
            Paths::default()
                .inputs("FILE", [file(a)])
                .outputs("out", [file(b)])
                .apart()
                .unwrap();
        }
        // what is no file may be given as often as one likes
        Paths::default()
            .outputs("plot", ["/dev/null"])
            .outputs("csv", ["/dev/null"])
            .check()
            .unwrap();
        // inputs may be one file
        Paths::default()
            .inputs("A", [file("a")])
            .inputs("B", [file("a")])
            .outputs("out", [file("b")])
            .check()
            .unwrap();
        assert!(
            Paths::default()
                .outputs("out", [file("sub")])
                .check()
                .is_err()
        );
        assert_eq!(std::fs::read(file("a")).unwrap(), b"kept");
    }
}
