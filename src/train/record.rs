//! A benchmark as a record: machine, limits, versions and figures with their spread; and two of
//! them side by side.

use super::profile::{LayerTime, MachineLimits, Timing, convolution, layers, peak_memory, steps};
use super::step::PARTS;
use crate::error::{Error, Result};
use crate::files::machine::Machine;
use crate::nn::UNet;
use crate::worst::{within, worse};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The schema of records.
pub const SCHEMA: &str = "cld-bench/1";

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchOptions {
    /// Height and width of the images.
    pub size: usize,
    /// Rows of a step.
    pub batch: usize,
    /// Channels at full size.
    pub base: usize,
    /// Threads of the whole steps, beside one.
    pub threads: usize,
    /// Passes of which the fastest counts, and steps of which the median does.
    pub rounds: usize,
    /// Whether layers and single convolutions are measured, too.
    pub layers: bool,
}

/// Whole steps on so many threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTimes {
    /// Threads.
    pub threads: usize,
    /// A step of training.
    pub train: Timing,
    /// An evaluation of the batch.
    pub evaluate: Timing,
    /// Floating-point operations of an evaluation as direct loops make them; a step of training
    /// makes three times as many.
    pub flop: f64,
    /// Most operations per second of these threads.
    pub limit: f64,
}

/// A 3x3 convolution, batch 16.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convolution {
    /// Channels in and out.
    pub channels: usize,
    /// Height and width.
    pub size: usize,
    /// Threads.
    pub threads: usize,
    /// Operations per second, forward.
    pub forward: f64,
    /// The same with both gradients.
    pub both: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the crate, commit and compiler, as `cld --version` prints them.
    pub version: String,
    /// Where.
    pub machine: Machine,
    /// What.
    pub options: BenchOptions,
    /// Before the first figure.
    pub limits: MachineLimits,
    /// After the last one.
    pub limits_after: MachineLimits,
    /// Whole steps.
    pub steps: Vec<StepTimes>,
    /// Single convolutions, if asked for.
    pub convolutions: Vec<Convolution>,
    /// Layers, if asked for.
    pub layers: Vec<LayerTime>,
    /// Most memory of the process, MiB.
    pub peak_mib: Option<f64>,
}

/// A limit that moved by more than this part between the start and the end: the machine was not
/// quiet.
pub const MOVED: f64 = 0.1;

impl Record {
    /// Measures; `version` is for the record.
    ///
    /// # Errors
    /// BenchOptions out of range.
    pub fn measure(o: BenchOptions, version: &str) -> Result<Record> {
        for (name, n, most) in [
            ("threads", o.threads, 1024),
            ("rounds", o.rounds, 100_000),
            ("batch", o.batch, 65536),
        ] {
            if !(1..=most).contains(&n) {
                return Err(Error::parameter(name, n, format!("1 to {most}")));
            }
        }
        let graph = Arc::new(
            UNet {
                base: o.base,
                ..UNet::small(2, 1, [o.size, o.size])
            }
            .build::<f32>()?,
        );
        let limits = MachineLimits::measure(o.threads);
        let threads = if o.threads == 1 {
            vec![1]
        } else {
            vec![1, o.threads]
        };
        let flop = graph.layers().iter().map(|l| l.1).sum::<f64>() * o.batch as f64;
        let mut found = vec![];
        for &threads in &threads {
            let (train, evaluate) = steps(&graph, (o.batch, PARTS), threads, o.rounds)?;
            let limit = limits.of(threads);
            found.push(StepTimes {
                threads,
                train,
                evaluate,
                flop,
                limit,
            });
        }
        let (mut convolutions, mut lines) = (vec![], vec![]);
        if o.layers {
            for (channels, size) in [(32, 28), (64, 28), (64, 14), (128, 14)] {
                for &threads in &threads {
                    let (forward, both) = convolution(channels, size, threads, o.rounds)?;
                    convolutions.push(Convolution {
                        channels,
                        size,
                        threads,
                        forward,
                        both,
                    });
                }
            }
            lines = layers(&graph, o.rounds)?;
        }
        Ok(Record {
            schema: SCHEMA.into(),
            version: version.into(),
            machine: Machine::here(),
            options: o,
            limits,
            limits_after: MachineLimits::measure(o.threads),
            steps: found,
            convolutions,
            layers: lines,
            peak_mib: peak_memory(),
        })
    }

    /// By how much of itself the limit moved while the figures were taken, if that is more than
    /// [`MOVED`].
    pub fn restless(&self) -> Option<f64> {
        let moved = |a: f64, b: f64| (b / a - 1.0).abs();
        let (a, b) = (self.limits, self.limits_after);
        // what is no number has moved, too
        Some(worse(moved(a.one, b.one), moved(a.all, b.all))).filter(|m| !within(*m, MOVED))
    }

    /// A record from its text; `file` is for messages.
    ///
    /// # Errors
    /// Text that is no record; times or limits that are not positive and finite.
    pub fn parse(text: &str, file: &str) -> Result<Record> {
        let bad = |place: &str, problem: String| Error::Format {
            file: file.into(),
            place: place.into(),
            problem,
        };
        let r: Record = serde_json::from_str(text)
            .map_err(|e| bad("", format!("is no record of `cld bench --json`: {e}")))?;
        if r.schema != SCHEMA {
            return Err(bad(
                "schema",
                format!("`{}` is not {SCHEMA}", crate::error::shown(&r.schema)),
            ));
        }
        let times = r
            .steps
            .iter()
            .flat_map(|s| [s.train, s.evaluate])
            .flat_map(|t| [t.median, t.low, t.high]);
        let limits = [r.limits, r.limits_after]
            .into_iter()
            .flat_map(|l| [l.one, l.all]);
        match times.chain(limits).find(|x| !(x.is_finite() && *x > 0.0)) {
            Some(x) => Err(bad(
                "steps",
                format!("{x} is no time or speed: a positive number"),
            )),
            None if r
                .steps
                .iter()
                .flat_map(|s| [s.train, s.evaluate])
                .any(|t| !(t.low <= t.median && t.median <= t.high)) =>
            {
                Err(bad("steps", "a median is not between its quartiles".into()))
            }
            None if r.steps.is_empty() => {
                Err(bad("steps", "there are none: nothing to compare".into()))
            }
            None => Ok(r),
        }
    }
}

/// A figure in two records.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What.
    pub what: String,
    /// Seconds in the first.
    pub a: Timing,
    /// Seconds in the second.
    pub b: Timing,
}

impl Pair {
    /// How many times as fast the second is.
    pub fn faster(&self) -> f64 {
        self.a.median / self.b.median
    }

    /// Whether the quartiles overlap: a difference that this pair cannot show.
    pub fn overlap(&self) -> bool {
        !(self.a.low > self.b.high || self.b.low > self.a.high)
    }
}

/// The figures that two records of the same network and batch share.
///
/// # Errors
/// Records of different networks or batches, or without a number of threads in common.
pub fn compare(a: &Record, b: &Record) -> Result<Vec<Pair>> {
    let same = |o: &BenchOptions| (o.size, o.batch, o.base);
    if same(&a.options) != same(&b.options) {
        let [x, y] = [a, b].map(|r| {
            format!(
                "{} x {0}, batch {}, {} channels",
                r.options.size, r.options.batch, r.options.base
            )
        });
        return Err(Error::parameter(
            "compare",
            format!("{x}; and {y}"),
            "two records of the same size, batch and channels",
        ));
    }
    let mut pairs = vec![];
    for x in &a.steps {
        if let Some(y) = b.steps.iter().find(|y| y.threads == x.threads) {
            let pair = |what: &str, a, b| Pair {
                what: format!("{what}, {} thread(s)", x.threads),
                a,
                b,
            };
            pairs.push(pair("training", x.train, y.train));
            pairs.push(pair("evaluation", x.evaluate, y.evaluate));
        }
    }
    if pairs.is_empty() {
        return Err(Error::parameter(
            "compare",
            "no number of threads that both have",
            "records with one in common",
        ));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(train: f64, spread: f64) -> Record {
        let t = |x: f64| Timing {
            median: x,
            low: x * (1.0 - spread),
            high: x * (1.0 + spread),
        };
        let limits = MachineLimits {
            one: 1e11,
            all: 2e11,
            copy: 1e10,
        };
        Record {
            schema: SCHEMA.into(),
            version: "test".into(),
            machine: Machine::here(),
            options: BenchOptions {
                size: 8,
                batch: 4,
                base: 16,
                threads: 1,
                rounds: 3,
                layers: false,
            },
            limits,
            limits_after: limits,
            steps: vec![StepTimes {
                threads: 1,
                train: t(train),
                evaluate: t(1e-3),
                flop: 1e6,
                limit: 1e11,
            }],
            convolutions: vec![],
            layers: vec![],
            peak_mib: None,
        }
    }

    /// Catches a judge of speed that cannot refuse: a ratio turned upside down, a difference within
    /// the spread that is called one, records of other networks set side by side, and a time that
    /// is no number.
    #[test]
    fn two_records_are_compared_or_refused() {
        let (slow, fast) = (record(0.2, 0.01), record(0.1, 0.01));
        let pairs = compare(&slow, &fast).unwrap();
        assert_eq!(pairs.len(), 2);
        assert!(
            (pairs[0].faster() - 2.0).abs() < 1e-12 && !pairs[0].overlap(),
            "{:?}",
            pairs[0]
        );
        assert!(pairs[1].overlap());
        assert!(compare(&record(0.2, 0.5), &record(0.1, 0.5)).unwrap()[0].overlap());
        let mut other = fast.clone();
        other.options.batch = 8;
        assert!(compare(&slow, &other).is_err());
        other = fast.clone();
        other.steps[0].threads = 7;
        assert!(compare(&slow, &other).is_err());
        let text = serde_json::to_string(&fast).unwrap();
        assert_eq!(Record::parse(&text, "f").unwrap(), fast);
        for (from, to) in [
            (SCHEMA, "cld-bench/9"),
            ("\"low\":0.099", "\"low\":-1.0"),
            ("\"low\":0.099", "\"low\":9.0"),
            ("\"steps\":[{", "\"steps\":[],\"x\":[{"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Record::parse(&text.replace(from, to), "f").is_err(), "{to}");
        }
        assert!(Record::parse("{}", "f").is_err());
    }

    /// Catches a warning that does not come: limits that moved, or are no number.
    #[test]
    fn a_limit_that_moved_is_seen() {
        let mut r = record(0.1, 0.0);
        assert_eq!(r.restless(), None);
        r.limits_after.one *= 0.95;
        assert_eq!(r.restless(), None);
        r.limits_after.all *= 0.8;
        assert!(r.restless().is_some_and(|m| (m - 0.2).abs() < 1e-12));
        r.limits_after.one = f64::NAN;
        assert!(r.restless().is_some());
        // alone, too: the larger of a NaN and a number is the number
        r.limits_after = MachineLimits {
            one: f64::NAN,
            ..r.limits
        };
        assert!(r.restless().is_some());
        r.limits_after = MachineLimits {
            all: f64::INFINITY,
            ..r.limits
        };
        assert!(r.restless().is_some());
    }
}
