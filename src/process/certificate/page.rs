//! What the proofs of the processes share: random points, and the page that they are written to.

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

/// Numbers in [0, 1) that are the same everywhere.
pub(super) struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// With a uniform logarithm.
    pub fn between(&mut self, lo: f64, hi: f64) -> f64 {
        (lo * (hi / lo).powf(self.next())).clamp(lo, hi)
    }
}

/// Which cells of a block of the page are held against it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Compared {
    All,
    /// Not the last one, measured: it depends on the system's functions.
    AllButLast,
}

/// A block of the page, between its two marks; seconds are not compared.
pub(super) fn pinned(name: &str, block: &str, seconds: f64, compared: Compared) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/certificate.md");
    let page = std::fs::read_to_string(&file).expect("the page");
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end {name} -->"));
    let (head, rest) = page.split_once(&open).expect("the block's mark");
    let (kept, tail) = rest.split_once(&close).expect("the block's end");
    if std::env::var_os("CLD_CERTIFICATE").is_some_and(|v| v == "write") {
        let block = block.replace("SECONDS", &format!("{seconds:.0}"));
        std::fs::write(&file, format!("{head}{open}{block}{close}{tail}")).expect("written");
        return;
    }
    let plain = |text: &str| -> Vec<String> {
        text.lines()
            .map(|l| match l.split_once(" boxes, ") {
                Some((boxes, _)) => boxes.to_string(),
                None if compared == Compared::AllButLast => {
                    let cells = l.trim_end_matches('|');
                    cells.rsplit_once('|').map_or(l, |c| c.0).to_string()
                }
                None => l.to_string(),
            })
            .collect()
    };
    for (a, b) in plain(block).iter().zip(plain(kept)) {
        assert_eq!(
            *a, b,
            "proved (left), docs/reference/certificate.md (right); CLD_CERTIFICATE=write makes it anew"
        );
    }
    assert_eq!(block.lines().count(), kept.lines().count());
}

/// Upwards, to two digits.
pub(super) fn digits(x: f64) -> String {
    format!("{:.2}", (x * 100.0).ceil() / 100.0)
}

/// The block of entries with what is proved and what is measured, which has to be less.
pub(super) fn block(title: &str, rows: &[(&str, f64, f64)], boxes: usize) -> String {
    let mut out = format!("| {title} | N proved | measured |\n|---|---:|---:|\n");
    for (name, proved, measured) in rows {
        // NaN is none of these
        assert!(
            *proved > 0.0 && proved.is_finite() && measured <= proved,
            "{name}: proved {proved}, measured {measured}"
        );
        writeln!(
            out,
            "| {name} | {} | {} |",
            digits(*proved),
            digits(*measured)
        )
        .expect("to a string");
    }
    writeln!(out, "\n{boxes} boxes, SECONDS s on two cores.").expect("to a string");
    out
}
