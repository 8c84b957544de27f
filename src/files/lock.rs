//! One run at a time in a folder.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The lock's name in the folder.
const NAME: &str = ".cld-run.lock";

/// A folder that is this process's until it is dropped. The lock is the system's, on an open file:
/// it ends with the process however that ends, so that a file without a lock is a stale one and is
/// taken over.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks a folder.
    ///
    /// # Errors
    /// Another process has it; a folder that cannot be written to.
    pub fn new(folder: &Path) -> Result<Lock> {
        let path = folder.join(NAME);
        let io = |problem: String| Error::Io {
            path: folder.display().to_string(),
            problem,
        };
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = file.map_err(|e| io(format!("cannot be written: {e}")))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(io("is in use by another run, which is still going; wait for it, or choose another folder".into()));
                }
                // a file system without locks keeps nobody apart, and is no reason not to work
                Err(TryLockError::Error(_)) | Ok(()) => (),
            }
            // whoever had it may have removed the file between the two
            if same(&file, &path) {
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

#[cfg(unix)]
fn same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |m: std::io::Result<std::fs::Metadata>| m.map(|m| (m.dev(), m.ino())).ok();
    id(file.metadata()) == id(std::fs::metadata(path))
}

#[cfg(not(unix))]
fn same(_: &File, _: &Path) -> bool {
    // an open file cannot be removed
    true
}

impl Drop for Lock {
    fn drop(&mut self) {
        // still locked: nobody can have taken it over
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches two runs in one folder, a stale lock that keeps everybody out, and a lock that
    /// stays.
    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), b"stale").unwrap();
        let lock = Lock::new(dir.path()).unwrap();
        assert!(
            Lock::new(dir.path())
                .unwrap_err()
                .to_string()
                .contains("another run")
        );
        drop(lock);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Lock::new(dir.path()).unwrap();
        assert!(Lock::new(Path::new("/nowhere/at/all")).is_err());
    }
}
