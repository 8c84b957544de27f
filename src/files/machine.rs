//! The machine at hand, for records and reports.

use crate::simd::Set;
use serde::{Deserialize, Serialize};

/// What figures of speed depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as the system names it; the architecture where it does not.
    pub cpu: String,
    /// Threads that it runs at once.
    pub cores: usize,
    /// The instruction set whose loops are used.
    pub set: String,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Machine {
            cpu: cpu().unwrap_or_else(|| arch.into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            set: Set::current().name().into(),
            system: format!("{os} {arch}"),
        }
    }
}

/// The model's name in /proc/cpuinfo.
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    // whatever is in that file, one short line of it is printed
    let name = line
        .split_once(':')?
        .1
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    (!name.is_empty()).then(|| name.chars().filter(|c| !c.is_control()).take(80).collect())
}
