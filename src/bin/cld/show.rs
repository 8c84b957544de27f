//! Printing: tables, colours on a terminal only, a progress bar for what takes longer than a
//! second. Threads, asked for before the work starts.

use super::Result;
pub use cld_sgm::check::words::{BAD, BOLD, GOOD, WIDE, duration, short, styled, table};
use cld_sgm::error::escaped;
pub use cld_sgm::internal::files::write_json;
use cld_sgm::{Diffusion, Error};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Writes to standard output, colours only if that is a terminal.
///
/// # Errors
/// Standard output that cannot be written to, such as a full disk, or a pipe that nobody reads any
/// more.
pub fn print(text: &str) -> Result<()> {
    written(anstream::stdout().lock(), harmless(text).as_bytes())
}

/// Writes text as it is, for formats that have characters of their own: roff, scripts of shells.
///
/// # Errors
/// As [`print()`].
pub fn print_raw(text: &[u8]) -> Result<()> {
    written(std::io::stdout().lock(), text)
}

fn written(mut out: impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| {
            let problem = match e.kind() {
                std::io::ErrorKind::BrokenPipe => "was closed before all was printed".into(),
                _ => format!("cannot be written: {e}"),
            };
            Error::Io {
                path: "standard output".into(),
                problem,
            }
        })
}

/// `text` with everything escaped that could change a terminal, but for line ends and our own
/// styles: a second net for what is printed of files.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let at = rest.find(['\n', '\x1b']).unwrap_or(rest.len());
        out += &escaped(&rest[..at]);
        rest = &rest[at..];
        // a style is `ESC [ numbers m`
        let numbers = |r: &str| {
            r.find(|c: char| !c.is_ascii_digit() && c != ';')
                .filter(|n| r[*n..].starts_with('m'))
        };
        let keep = match (
            rest.chars().next(),
            rest.strip_prefix("\x1b[").and_then(numbers),
        ) {
            (None, _) => return out,
            (_, Some(n)) => &rest[..n + 3],
            (Some('\n'), _) => "\n",
            _ => "",
        };
        out += keep;
        rest = &rest[keep.len()..];
        if keep.is_empty() {
            out += &escaped(&rest[..1]);
            rest = &rest[1..];
        }
    }
}

/// Columns of the terminal, or what COLUMNS says; [`WIDE`] for files and pipes.
pub fn width() -> usize {
    terminal_width().unwrap_or(WIDE)
}

/// Columns of the terminal, or what COLUMNS says; none for files and pipes, where lines need not
/// break.
fn terminal_width() -> Option<usize> {
    let asked = std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .filter(|c| *c >= 40);
    let terminal = || {
        std::io::stdout()
            .is_terminal()
            .then(|| usize::from(console::Term::stdout().size().1))
    };
    asked.or_else(terminal)
}

/// Whether notes and progress bars are left out.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Leaves out notes and progress bars from here on.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether they are left out.
pub fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether standard error is a terminal that may show progress.
pub fn progress() -> bool {
    !quiet() && std::io::stderr().is_terminal()
}

/// Text in lines of at most so many columns. A path does not break: it is copied.
fn lines(text: &str, room: usize) -> Vec<String> {
    let options = textwrap::Options::new(room)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
        .into_iter()
        .map(|l| l.into_owned())
        .collect()
}

/// A sentence, as wide as the terminal.
pub fn sentence(text: &str) -> String {
    lines(text, terminal_width().unwrap_or(usize::MAX))
        .iter()
        .map(|l| format!("{l}\n"))
        .collect()
}

/// Names and what they are, in two columns, as wide as the terminal: a long text goes on below
/// itself.
pub fn facts(rows: &[Vec<String>]) -> String {
    let names = rows
        .iter()
        .filter_map(|r| r.first())
        .map(|n| n.chars().count())
        .max()
        .unwrap_or(0)
        + 2;
    let room = terminal_width()
        .unwrap_or(usize::MAX)
        .saturating_sub(names)
        .max(20);
    let mut text = String::new();
    for row in rows {
        let [name, value] = &row[..] else { continue };
        for (i, line) in lines(value, room).iter().enumerate() {
            text += &format!("{:names$}{line}\n", if i == 0 { name.as_str() } else { "" });
        }
    }
    text
}

/// Says on standard error what should be known, and is no error.
pub fn note(text: &str) {
    if quiet() {
        return;
    }
    // nobody may be reading
    let _ = writeln!(std::io::stderr(), "cld: note: {text}");
}

/// A note where the schedule of a command that starts from the prior, or counts from it, does not
/// meet it.
pub fn note_prior(diffusion: &Diffusion) {
    if let Ok(gap) = diffusion.prior_gap()
        && gap.unmet()
    {
        note(&format!("the prior is not met: {gap}"));
    }
}

/// Progress on standard error, if that is a terminal, of what takes longer than a second: from then
/// on the time runs, whether or not there is a first result to count.
pub struct Bar {
    bar: ProgressBar,
    counted: bool,
    /// Dropped, it ends the thread that waits for the second to pass.
    _waiting: Sender<()>,
}

impl Bar {
    pub fn new(what: &'static str) -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style("{msg} {spinner} {elapsed}"));
        bar.set_message(what);
        let (waiting, over) = channel();
        if progress() {
            let shown = bar.clone();
            std::thread::spawn(move || {
                if over.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    shown.enable_steady_tick(Duration::from_millis(200));
                }
            });
        }
        Bar {
            bar,
            counted: false,
            _waiting: waiting,
        }
    }

    /// One that is there at once, and counts seconds by itself: for what may be silent for long.
    pub fn at_once(what: &'static str) -> Bar {
        let bar = Bar::new(what);
        if progress() {
            bar.bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }

    pub fn set(&mut self, done: usize, total: usize) {
        if !self.counted {
            self.counted = true;
            self.bar
                .set_style(style("{msg} {bar:30} {pos}/{len} {elapsed}"));
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The threads of the run; all cores if not said.
pub fn threads(n: Option<usize>) -> Result<()> {
    if let Some(n) = n {
        if !(1..=1024).contains(&n) {
            return Err(Error::parameter("threads", n, "1 to 1024"));
        }
        // fails only if a pool is there already, and none is
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build_global();
    }
    Ok(())
}

/// Threads of training: all cores if not said.
pub fn threads_of(n: Option<usize>) -> usize {
    n.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(1024)))
}

/// A flag that Ctrl-C sets. Who asks a second time means it, and ends the program at once; one
/// request may come twice, to the process and to its group.
pub fn stopped_by_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    let mut first: Option<Instant> = None;
    let handler = ctrlc::set_handler(move || {
        asked.store(true, Ordering::Relaxed);
        let since = first.get_or_insert_with(Instant::now).elapsed();
        if since.as_secs_f64() > 1.0 {
            std::process::exit(130);
        }
    });
    handler.map_err(|e| Error::Io {
        path: "signals".into(),
        problem: format!("cannot be caught: {e}"),
    })?;
    Ok(stop)
}

/// Part and number of parts, as `--shard` has them.
pub fn shard<T: FromStr>(text: &str) -> Result<(T, T)> {
    let bad = || Error::parameter("shard", format!("`{text}`"), "I/N, such as 1/4");
    let (i, n) = text.split_once('/').ok_or_else(bad)?;
    Ok((i.parse().map_err(|_| bad())?, n.parse().map_err(|_| bad())?))
}
