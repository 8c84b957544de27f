//! Arrays of an `.npz` file, each read when it is asked for: members that nobody asks for may be
//! anything.

use super::arrays::{Array, read_npy};
use super::broken;
use super::limits::Limits;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Deflate makes no byte of its input into more than this many (1032, the format's own limit).
const DEFLATE: u64 = 1032;

/// An `.npz` file, open for reading.
pub struct Archive {
    file: String,
    limits: Limits,
    /// Names of the members as they stand in the file.
    members: BTreeSet<String>,
    inside: Mutex<Inside>,
}

struct Inside {
    zip: zip::ZipArchive<BufReader<File>>,
    /// Bytes that the arrays given out hold, with their headers.
    held: u64,
}

impl Archive {
    /// Opens an `.npz` file and lists its members; none is read yet.
    ///
    /// # Errors
    /// A file that cannot be opened, is not a zip archive or is cut short; two members of one name.
    pub fn open(path: &Path, limits: &Limits) -> Result<Archive> {
        let name = path.display().to_string();
        let io = |e: std::io::Error| Error::Io {
            path: name.clone(),
            problem: format!("cannot be opened: {e}"),
        };
        // a pipe cannot be read twice, and would be waited for
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::Io {
                path: name,
                problem: "is not a regular file; allowed: an .npz archive".into(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let zip = zip::ZipArchive::new(BufReader::new(file))
            .map_err(|e| broken(&name, "", format!("not a readable .npz archive: {e}")))?;
        let members: zip::result::ZipResult<BTreeSet<String>> = zip
            .file_names()
            .map(|n| n.map(|n| n.into_owned()))
            .collect();
        let members = members
            .map_err(|e| broken(&name, "", format!("a member's name is unreadable: {e}")))?;
        if zip.has_duplicate_names() || members.len() != zip.len() {
            return Err(broken(
                &name,
                "",
                "a member is there twice; names must be unique",
            ));
        }
        Ok(Archive {
            file: name,
            limits: *limits,
            members,
            inside: Mutex::new(Inside { zip, held: 0 }),
        })
    }

    /// The path, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Names of the members as numpy has them: without `.npy`. Not all need be arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members
            .iter()
            .map(|m| m.strip_suffix(".npy").unwrap_or(m))
    }

    /// Reads the array of this name, which the file has with `.npy` or without. `None` if there is
    /// none. What it holds in memory counts towards the limit each time.
    ///
    /// # Errors
    /// A member that is not an array of real numbers, whose declared shape does not fit the bytes
    /// that are there, that is damaged, or that needs more memory than is allowed, with those given
    /// out before; two members of this name, with and without `.npy`.
    pub fn get(&self, name: &str) -> Result<Option<Array>> {
        let long = format!("{name}.npy");
        let member = match (self.members.get(name), self.members.get(&long)) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(broken(
                    &self.file,
                    name,
                    format!("both `{name}` and `{long}` are there; names must be unique"),
                ));
            }
            (Some(m), None) | (None, Some(m)) => m,
        };
        let damaged = |e: zip::result::ZipError| broken(&self.file, name, format!("damaged: {e}"));
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { zip, held } = &mut *inside;
        let entry = zip.by_name(member).map_err(damaged)?;
        let most = match entry.compression() {
            zip::CompressionMethod::Stored => entry.compressed_size(),
            _ => entry.compressed_size().saturating_mul(DEFLATE),
        };
        read_npy(entry, most, &self.limits, held, &self.file, name).map(Some)
    }
}

/// Reads every member of an `.npz` file, all of which must be arrays, within the default
/// [`Limits`].
///
/// # Errors
/// As [`Archive::open`] and [`Archive::get`].
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Array>> {
    let archive = Archive::open(path, &Limits::default())?;
    let read = |name: &str| Ok(archive.get(name)?.map(|a| (name.to_string(), a)));
    archive
        .names()
        .filter_map(|n| read(n).transpose())
        .collect()
}
