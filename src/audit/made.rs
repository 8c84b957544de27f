//! How an audit was made, so that it can be made again.

use super::options::Options;
use crate::files::machine::Machine;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The line of reproduction. Date and duration are another's in every run: evidence is the same bit
/// for bit, this is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Made {
    /// The command, without the files that it writes.
    pub command: String,
    /// Version of the program, with commit and compiler where known.
    pub version: String,
    /// When it began: UTC, as ISO 8601 has it.
    pub date: String,
    /// Processor, instruction set and system.
    pub machine: Machine,
    /// Threads.
    pub threads: usize,
    /// Seed.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Made {
    /// For a run with these options that began at `from` and took `took`; `more` is what else the
    /// command said.
    pub fn new(o: &Options, more: &str, version: &str, from: SystemTime, took: Duration) -> Made {
        Made {
            command: command(o, more),
            version: version.into(),
            date: utc(from),
            machine: Machine::here(),
            threads: rayon::current_num_threads(),
            seed: o.seed,
            // a tenth of a second is all that two runs have in common
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.machine;
        let threads = if self.threads == 1 {
            "1 thread".into()
        } else {
            format!("{} threads", self.threads)
        };
        write!(
            f,
            "{}; cld {}; {}; {}, {}, {}; {threads}; seed {}; {:.1} s",
            self.command, self.version, self.date, m.cpu, m.set, m.system, self.seed, self.seconds
        )
    }
}

/// The command that makes a run with these options; `more` is what else it says.
pub(super) fn command(o: &Options, more: &str) -> String {
    let usual = if o.full {
        Options::full()
    } else {
        Options::quick()
    };
    let mut command = "cld audit".to_string();
    if o.full {
        command += " --full";
    }
    if o.paths != usual.paths {
        command += &format!(" --paths {}", o.paths);
    }
    if let Some(only) = &o.only {
        command += &format!(" --only {}", quoted(only));
    }
    if let Some(p) = &o.plant {
        command += &format!(" --plant {}", quoted(&format!("{}:{:e}", p.id, p.size)));
    }
    command += more;
    command + &format!(" --seed {}", o.seed)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The time in UTC, to the second.
fn utc(at: SystemTime) -> String {
    // a clock before 1970 is not set
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    format!(
        "{year}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        day + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a day too many or too few about leap days and the turn of the year. Seconds are
    /// those that `date -u -d DATE +%s` says.
    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
    }

    /// Catches a command that makes another run, or that a shell takes apart.
    #[test]
    fn the_command_is_whole() {
        let o = Options {
            paths: 16_000,
            seed: 3,
            only: Some("it's $HOME".into()),
            ..Options::full()
        };
        let m = Made::new(
            &o,
            " --plant-all",
            "1.0",
            UNIX_EPOCH,
            Duration::from_millis(1234),
        );
        assert_eq!(
            m.command,
            r"cld audit --full --paths 16000 --only 'it'\''s $HOME' --plant-all --seed 3"
        );
        assert_eq!((m.seconds, m.seed), (1.2, 3));
        let line = m.to_string();
        for part in [
            m.command.as_str(),
            "cld 1.0;",
            "1970-01-01T00:00:00Z",
            &m.machine.cpu,
            &m.machine.set,
            "seed 3",
            "1.2 s",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!(
            Made::new(&Options::quick(), "", "1", UNIX_EPOCH, Duration::ZERO).command,
            "cld audit --seed 0"
        );
    }
}
