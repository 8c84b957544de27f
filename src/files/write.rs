//! Files written whole or not at all.
//!
//! What is written is a temporary file beside the target, synced, then renamed over it. An existing
//! file keeps its mode and owner, a new one gets what the umask leaves; a symbolic link stays, and
//! its target is written. What is no regular file (a pipe, a device) is written to as it is.
//! Temporary files are called `.cld-XXXXXX.tmp` and are locked while they are in use: those that a
//! killed run left behind are told by having no lock, and [`sweep`] removes them.

use crate::error::{Error, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

const PREFIX: &str = ".cld-";
const SUFFIX: &str = ".tmp";

fn failed(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Io {
        path: path.display().to_string(),
        problem: format!("cannot be written: {problem}"),
    }
}

/// What a path leads to.
pub(super) enum Target {
    /// No file yet; its path behind dangling links.
    New(PathBuf),
    /// A regular file; its path without links.
    Regular(PathBuf, Metadata),
    /// Neither file nor folder: a pipe, a device, an open descriptor.
    Special,
    Folder,
}

impl Target {
    pub(super) fn of(path: &Path) -> io::Result<Target> {
        match std::fs::metadata(path) {
            Ok(m) if m.is_dir() => Ok(Target::Folder),
            // `/dev/stdout` may be a regular file; its name in /proc must not be replaced
            Ok(_)
                if [
                    "/dev/fd",
                    "/dev/stdin",
                    "/dev/stdout",
                    "/dev/stderr",
                    "/proc",
                ]
                .iter()
                .any(|d| path.starts_with(d)) =>
            {
                Ok(Target::Special)
            }
            Ok(m) if m.is_file() => Ok(Target::Regular(path.canonicalize()?, m)),
            Ok(_) => Ok(Target::Special),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut path = path.to_path_buf();
                // as many links as the system itself follows
                for _ in 0..40 {
                    match std::fs::read_link(&path) {
                        Ok(to) => path = folder_of(&path).join(to),
                        Err(_) => return Ok(Target::New(path)),
                    }
                }
                Err(io::Error::other("too many symbolic links"))
            }
            Err(e) => Err(e),
        }
    }
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A temporary file beside `target`, locked; `private` as long as it is not known who may read it.
fn temporary(folder: &Path, private: bool) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    if !private {
        use std::os::unix::fs::PermissionsExt;
        // the umask takes from it what it takes from every new file
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = private;
    loop {
        // its error ends with the temporary file's name, which is nobody's concern
        let plain = |e: io::Error| {
            io::Error::new(
                e.kind(),
                e.to_string()
                    .split(" at path ")
                    .next()
                    .unwrap_or_default()
                    .to_string(),
            )
        };
        let file = builder.tempfile_in(folder).map_err(plain)?;
        // where files cannot be locked, nothing is swept either
        let _ = file.as_file().try_lock();
        // another run may have taken it for a stale one before it was locked
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Gives `file` the owner and the mode of the one it will replace.
#[cfg(unix)]
fn dress(file: &File, as_was: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let now = file.metadata()?;
    let (uid, gid) = (as_was.uid(), as_was.gid());
    if (now.uid(), now.gid()) != (uid, gid) {
        fchown(file, Some(uid), Some(gid)).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("it belongs to another user or group ({e})"),
            )
        })?;
    }
    // after the owner: a change of owner takes bits of the mode away
    file.set_permissions(std::fs::Permissions::from_mode(as_was.mode() & 0o7777))
}

#[cfg(not(unix))]
fn dress(file: &File, as_was: &Metadata) -> io::Result<()> {
    file.set_permissions(as_was.permissions())
}

/// A file that is written, but not yet in its place: dropped, it leaves no trace.
pub struct Staged {
    path: PathBuf,
    /// Where it goes; `None` for what was written to directly.
    ready: Option<(NamedTempFile, PathBuf)>,
}

/// Writes a file, but for its name. `fill` writes the bytes.
///
/// # Errors
/// A folder that cannot be written to, a full disk, a path that is a folder, a file that may not be
/// written to or whose owner cannot be kept.
pub fn stage(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged> {
    let failed = |e: io::Error| failed(path, e);
    let start = |folder: &Path, private| temporary(folder, private);
    let (mut file, target) = match Target::of(path).map_err(failed)? {
        Target::Folder => return Err(is_folder(path)),
        Target::Special => {
            let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
            fill(&mut file)
                .and_then(|()| file.flush())
                .map_err(failed)?;
            return Ok(Staged {
                path: path.into(),
                ready: None,
            });
        }
        Target::New(target) => (start(folder_of(&target), false).map_err(failed)?, target),
        Target::Regular(target, was) => {
            // a rename asks only for the folder's permission
            OpenOptions::new()
                .write(true)
                .open(&target)
                .map_err(failed)?;
            let file = start(folder_of(&target), true).map_err(failed)?;
            dress(file.as_file(), &was).map_err(failed)?;
            (file, target)
        }
    };
    fill(file.as_file_mut())
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    Ok(Staged {
        path: path.into(),
        ready: Some((file, target)),
    })
}

fn is_folder(path: &Path) -> Error {
    Error::Io {
        path: path.display().to_string(),
        problem: "is a folder; allowed: a file's name".into(),
    }
}

impl Staged {
    /// Puts the file in its place.
    ///
    /// # Errors
    /// A folder that cannot be written to (any more); what was there is as it was.
    pub fn commit(self) -> Result<()> {
        if let Some((file, target)) = self.ready {
            file.persist(&target)
                .map_err(|e| failed(&self.path, e.error))?;
            // the new name, too, must outlive a power cut; where folders cannot be synced, there is
            // nothing to be done
            let _ = File::open(folder_of(&target)).and_then(|f| f.sync_all());
        }
        Ok(())
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// As [`stage`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    stage(path, |f| f.write_all(bytes))?.commit()
}

/// Refuses now what could not be written an hour later. Nothing is changed, and a pipe is not
/// waited for.
///
/// # Errors
/// As [`stage`].
pub fn writable(path: &Path) -> Result<()> {
    match Target::of(path).map_err(|e| failed(path, e))? {
        Target::Special => Ok(()),
        _ => stage(path, |_| Ok(())).map(drop),
    }
}

/// Removes the temporary files that killed runs left in a folder. Those of a run that goes on are
/// locked, and stay.
pub fn sweep(folder: &Path) {
    let Ok(list) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in list.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| {
            n.len() == PREFIX.len() + 6 + SUFFIX.len()
                && n.starts_with(PREFIX)
                && n.ends_with(SUFFIX)
        });
        if !ours || !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        let path = entry.path();
        if OpenOptions::new()
            .write(true)
            .open(&path)
            .is_ok_and(|f| f.try_lock().is_ok())
        {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    /// Catches a file that is left half written, or a trace of the attempt, where filling it fails.
    #[test]
    fn what_fails_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_whole(&path, b"old").unwrap();
        let fill = |f: &mut dyn Write| f.write_all(b"half").and(Err(io::Error::other("full")));
        assert!(stage(&path, fill).is_err() && stage(&dir.path().join("b"), fill).is_err());
        drop(stage(&path, |f| f.write_all(b"new")).unwrap());
        writable(&path).unwrap();
        writable(&dir.path().join("c")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a"]);
        for folder in [dir.path(), Path::new("/"), Path::new("..")] {
            assert!(
                write_whole(folder, b"")
                    .unwrap_err()
                    .to_string()
                    .contains("is a folder")
            );
        }
    }

    /// Catches temporary files of killed runs that stay, and those of others, or of a run that goes
    /// on, that are removed.
    #[test]
    fn stale_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            ".cld-abc123.tmp",
            ".cld-abc.tmp",
            ".tmpabc123",
            "cld-abc123.tmp",
            ".cld-run.lock",
        ] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let going_on = temporary(dir.path(), true).unwrap();
        sweep(dir.path());
        let own = going_on
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_string();
        let mut right = [
            ".cld-abc.tmp",
            ".tmpabc123",
            "cld-abc123.tmp",
            ".cld-run.lock",
            &own,
        ];
        right.sort_unstable();
        assert_eq!(names(dir.path()), right);
    }

    /// Catches a mode that is lost, a private file that others may read for a while, a new file
    /// that ignores the umask (told by a file that the standard library makes), and a link that is
    /// replaced by a file.
    #[test]
    #[cfg(unix)]
    fn modes_and_links_stay() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let file = |n: &str| dir.path().join(n);
        let mode = |p: &Path| std::fs::metadata(p).unwrap().mode() & 0o7777;
        std::fs::write(file("plain"), b"").unwrap();
        write_whole(&file("new"), b"").unwrap();
        assert_eq!(mode(&file("new")), mode(&file("plain")));
        for bits in [0o600, 0o640, 0o664, 0o755, 0o444] {
            let a = file("a");
            std::fs::write(&a, b"old").unwrap();
            std::fs::set_permissions(&a, std::fs::Permissions::from_mode(bits)).unwrap();
            let staged = stage(&a, |f| f.write_all(b"new"));
            // who is not root may not write to what is read-only
            if let Ok(staged) = staged {
                assert_eq!(mode(staged.ready.as_ref().unwrap().0.path()), bits);
                staged.commit().unwrap();
                assert_eq!(
                    (mode(&a), std::fs::read(&a).unwrap()),
                    (bits, b"new".to_vec())
                );
            }
            std::fs::remove_file(&a).unwrap();
        }
        symlink("plain", file("link")).unwrap();
        symlink(file("link"), file("chain")).unwrap();
        symlink("nowhere", file("dangling")).unwrap();
        symlink("loop", file("loop")).unwrap();
        write_whole(&file("chain"), b"1").unwrap();
        write_whole(&file("dangling"), b"2").unwrap();
        assert!(write_whole(&file("loop"), b"3").is_err());
        assert_eq!(
            (
                std::fs::read(file("plain")).unwrap(),
                std::fs::read(file("nowhere")).unwrap()
            ),
            (b"1".to_vec(), b"2".to_vec())
        );
        for link in ["link", "chain", "dangling"] {
            assert!(
                std::fs::symlink_metadata(file(link)).unwrap().is_symlink(),
                "{link}"
            );
        }
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
