//! Experiments, as their TOML files have them.
//!
//! ```toml
//! number = 2
//! id = "objectives"
//! title = "Hybrid against denoising score matching"
//! question = "..."                # what is to be found out, and how
//! seeds = 3
//!
//! [train]                          # as `cld train` has it; [[on]] and [[arm]] change it
//! steps = 4000
//!
//! [[on]]                           # sets of data; every arm is run on every one
//! name = "digits"
//! minutes = 4.0                    # of training, on two cores, at full size
//! measuring = 1.0                  # of measuring
//! train = { data = { name = "digits" } }
//!
//! [[arm]]
//! name = "hsm"
//! train = { loss = { objective = "hsm" } }
//!
//! [[arm]]
//! name = "exact"
//! exact = true                     # the exact score of a toy: nothing is trained
//!
//! [[measure]]                      # one of bits, distance, gradient, hardness
//! bits = { n = 100, tolerance = 1e-3 }
//!
//! [[claim]]
//! id = "bits"
//! text = "HSM's bound of the bits is the lower one"
//! source = "..."
//! a = "hsm:bits"                   # ARM:FIGURE, or a number
//! b = "dsm:bits"
//! # within = 0.02                  # instead of a < b: a and b differ by less
//! # ratio = true                   # of logarithms
//! # each = ["20", "50"]            # one claim for each word, in place of {} in id, text, a and b
//! # on = ["digits"]                # all if absent
//! ```

use super::measure::{Measure, Spec};
use super::verdict::Relation;
use crate::error::{Error, Result};
use crate::files::parse_toml;
use crate::process::default_entry;
use crate::train::Config;
use crate::truth::config::defaults;
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// The experiments that come with the crate, in the order of their numbers.
#[rustfmt::skip]
const FILES: &[(&str, &str)] = &[
    ("processes.toml", include_str!("../../docs/experiments/processes.toml")),
    ("objectives.toml", include_str!("../../docs/experiments/objectives.toml")),
    ("parameters.toml", include_str!("../../docs/experiments/parameters.toml")),
    ("samplers.toml", include_str!("../../docs/experiments/samplers.toml")),
    ("hardness.toml", include_str!("../../docs/experiments/hardness.toml")),
    ("toys.toml", include_str!("../../docs/experiments/toys.toml")),
    ("overdamped.toml", include_str!("../../docs/experiments/overdamped.toml")),
    ("likelihood.toml", include_str!("../../docs/experiments/likelihood.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    number: u32,
    id: String,
    title: String,
    question: String,
    seeds: usize,
    #[serde(default)]
    train: Table,
    on: Vec<On>,
    arm: Vec<Arm>,
    measure: Vec<Spec>,
    #[serde(default)]
    claim: Vec<Claimed>,
}

/// A set of data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct On {
    /// Its name.
    pub name: String,
    /// Minutes of training, on two cores, at full size: what a budget is shared out by.
    pub minutes: f64,
    /// Minutes of measuring.
    pub measuring: f64,
    /// Seeds of a full run on them; the experiment's if absent.
    #[serde(default)]
    pub seeds: Option<usize>,
    /// Where the data are to be had, if they do not come with the crate.
    #[serde(default)]
    pub needs: Option<String>,
    /// What it changes of the training.
    #[serde(default)]
    train: Table,
}

/// What is compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// Whether it has the exact score of the data: nothing is trained.
    #[serde(default)]
    pub exact: bool,
    /// The sets of data it is run on; all if empty.
    #[serde(default)]
    pub on: Vec<String>,
    /// What it changes of the training.
    #[serde(default)]
    train: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claimed {
    id: String,
    text: String,
    source: String,
    a: Value,
    b: Value,
    within: Option<f64>,
    #[serde(default)]
    ratio: bool,
    #[serde(default)]
    each: Vec<String>,
    #[serde(default)]
    on: Vec<String>,
}

/// One side of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// A figure of an arm: its measure, row and column joined by dots.
    Figure {
        /// The arm.
        arm: String,
        /// The figure.
        figure: String,
    },
    /// A number.
    Number(f64),
}

/// A claim on one set of data.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// EXPERIMENT.CLAIM, with @DATA where the experiment has several.
    pub id: String,
    /// In words.
    pub text: String,
    /// Who says so, or why one would think so.
    pub source: String,
    /// The set of data.
    pub on: String,
    /// The first side.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// What is said of a - b.
    pub relation: Relation,
    /// Whether logarithms are compared.
    pub ratio: bool,
}

/// An experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// Seeds of a full run.
    pub seeds: usize,
    /// Sets of data.
    pub on: Vec<On>,
    /// What is compared.
    pub arms: Vec<Arm>,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// What is claimed.
    pub claims: Vec<Claim>,
    train: Table,
}

/// `over` laid over `base`: tables are merged, all else replaced. A process of a named kind is
/// another process: it replaces the whole table.
fn merged(base: &Table, over: &Table) -> Table {
    let mut out = base.clone();
    for (key, value) in over {
        let new = match (out.get(key), value) {
            (Some(Value::Table(_)), Value::Table(b))
                if key == "process" && b.contains_key("kind") =>
            {
                Value::Table(b.clone())
            }
            (Some(Value::Table(a)), Value::Table(b)) => Value::Table(merged(a, b)),
            _ => value.clone(),
        };
        out.insert(key.clone(), new);
    }
    out
}

fn known(names: &[String], all: &[&str], field: &str) -> Result<()> {
    match names.iter().find(|n| !all.contains(&n.as_str())) {
        Some(n) => Err(Error::parameter(
            field.to_string(),
            format!("`{n}`"),
            all.join(", "),
        )),
        None => Ok(()),
    }
}

/// Names that are given, each once, and fit in file names.
fn names<'a>(names: impl Iterator<Item = &'a str>, field: &str) -> Result<Vec<&'a str>> {
    let all: Vec<&str> = names.collect();
    let plain = |n: &str| {
        !n.is_empty()
            && n.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    let distinct: BTreeSet<&str> = all.iter().copied().collect();
    if let Some(bad) = all.iter().find(|n| !plain(n)) {
        return Err(Error::parameter(
            field.to_string(),
            format!("`{bad}`"),
            "letters, digits, - and _",
        ));
    }
    if all.is_empty() || distinct.len() < all.len() {
        return Err(Error::parameter(
            field.to_string(),
            all.join(", "),
            "at least one, each once",
        ));
    }
    Ok(all)
}

impl Experiment {
    /// Those that come with the crate.
    ///
    /// # Errors
    /// None: a test reads them all.
    pub fn all() -> Result<Vec<Experiment>> {
        FILES
            .iter()
            .map(|(name, text)| Experiment::parse(text, name))
            .collect()
    }

    /// From a file's text; `file` is for messages.
    ///
    /// # Errors
    /// What is no TOML; unknown fields and names; a claim about a figure that no measure gives.
    pub fn parse(text: &str, file: &str) -> Result<Experiment> {
        let f: File = parse_toml(text, file)?;
        Experiment::of(f).map_err(|e| Error::Format {
            file: file.into(),
            place: String::new(),
            problem: e.to_string(),
        })
    }

    fn of(f: File) -> Result<Experiment> {
        names([f.id.as_str()].into_iter(), "id")?;
        let on = names(f.on.iter().map(|o| o.name.as_str()), "on.name")?;
        let arms = names(f.arm.iter().map(|a| a.name.as_str()), "arm.name")?;
        for a in &f.arm {
            known(&a.on, &on, "arm.on")?;
        }
        if !(1..=1000).contains(&f.seeds) {
            return Err(Error::parameter("seeds", f.seeds, "1 to 1000"));
        }
        if let Some(o) = f.on.iter().find(|o| {
            !(o.minutes > 0.0 && o.measuring > 0.0 && (o.minutes + o.measuring).is_finite())
        }) {
            let given = format!("{} and {}", o.minutes, o.measuring);
            return Err(Error::parameter(
                "on.minutes and on.measuring",
                given,
                "above 0",
            ));
        }
        let mut measures = vec![];
        for spec in f.measure {
            known(&spec.on, &on, "measure.on")?;
            known(&spec.arms, &arms, "measure.arms")?;
            measures.push(spec.measure()?);
        }
        names(
            measures.iter().map(|m: &Measure| m.name.as_str()),
            "measure.name",
        )?;
        let mut e = Experiment {
            number: f.number,
            id: f.id,
            title: f.title,
            question: f.question,
            seeds: f.seeds,
            on: f.on,
            arms: f.arm,
            measures,
            claims: vec![],
            train: f.train,
        };
        for c in &f.claim {
            e.claims.extend(e.claims_of(c)?);
        }
        let ids: BTreeSet<&str> = e.claims.iter().map(|c| c.id.as_str()).collect();
        if ids.len() < e.claims.len() {
            return Err(Error::parameter("claim.id", "given twice", "each once"));
        }
        // what cannot be trained is found before anything is
        for (arm, on) in e.pairs() {
            let config = e.config(arm, on, 0)?;
            config.diffusion()?;
            config.loss()?;
            config.adam()?;
        }
        Ok(e)
    }

    /// A claim on each of its sets of data, for each of its words.
    fn claims_of(&self, c: &Claimed) -> Result<Vec<Claim>> {
        let on: Vec<&str> = self.on.iter().map(|o| o.name.as_str()).collect();
        known(&c.on, &on, "claim.on")?;
        let words = if c.each.is_empty() {
            vec![String::new()]
        } else {
            c.each.clone()
        };
        let relation = match c.within {
            None => Relation::Less,
            Some(w) if w > 0.0 && w.is_finite() => Relation::Within(w),
            Some(w) => return Err(Error::parameter("claim.within", w, "above 0")),
        };
        let mut claims = vec![];
        for on in on {
            if !c.on.is_empty() && !c.on.iter().any(|o| o == on) {
                continue;
            }
            for word in &words {
                let put = |text: &str| text.replace("{}", word);
                let several = self.on.len() > 1;
                claims.push(Claim {
                    id: format!(
                        "{}.{}{}",
                        self.id,
                        put(&c.id),
                        if several {
                            format!("@{on}")
                        } else {
                            String::new()
                        }
                    ),
                    text: put(&c.text),
                    source: c.source.clone(),
                    on: on.into(),
                    a: self.side(&c.a, on, &put)?,
                    b: self.side(&c.b, on, &put)?,
                    relation,
                    ratio: c.ratio,
                });
            }
        }
        Ok(claims)
    }

    fn side(&self, value: &Value, on: &str, put: &dyn Fn(&str) -> String) -> Result<Side> {
        let bad = |v: String, allowed: String| Err(Error::parameter("claim", v, allowed));
        let text = match value {
            Value::Float(x) if x.is_finite() => return Ok(Side::Number(*x)),
            Value::Integer(i) => return Ok(Side::Number(*i as f64)),
            Value::String(s) => put(s),
            other => return bad(other.to_string(), "ARM:FIGURE or a number".into()),
        };
        let Some((arm, figure)) = text.split_once(':') else {
            return bad(format!("`{text}`"), "ARM:FIGURE or a number".into());
        };
        let Some(found) = self.arms.iter().find(|a| a.name == arm && a.runs_on(on)) else {
            let all: Vec<&str> = self.arms.iter().map(|a| a.name.as_str()).collect();
            return bad(format!("`{text}` on {on}"), all.join(", "));
        };
        let all: Vec<String> = self
            .measures
            .iter()
            .filter(|m| m.of(&found.name, found.exact, on))
            .flat_map(|m| m.figures())
            .collect();
        // figures that depend on the process have no place in a list
        if !all.iter().any(|f| f == figure) {
            return bad(format!("`{text}`"), all.join(", "));
        }
        Ok(Side::Figure {
            arm: arm.into(),
            figure: figure.into(),
        })
    }

    /// Every arm with every set of data that it is run on.
    pub fn pairs(&self) -> Vec<(&Arm, &On)> {
        self.on
            .iter()
            .flat_map(|o| self.arms.iter().map(move |a| (a, o)))
            .filter(|(a, o)| a.runs_on(&o.name))
            .collect()
    }

    /// How an arm is trained on a set of data.
    ///
    /// # Errors
    /// Fields that `cld train` does not know.
    pub fn config(&self, arm: &Arm, on: &On, seed: u64) -> Result<Config> {
        let mut table = merged(&merged(&self.train, &on.train), &arm.train);
        let seed = i64::try_from(seed).map_err(|_| Error::parameter("seed", seed, "below 2^63"))?;
        table.insert("seed".into(), Value::Integer(seed));
        let text = toml::to_string(&table)
            .map_err(|e| Error::parameter("train", e.to_string(), "a table"))?;
        let mut config = Config::from_toml(&text, &format!("{}/{}", self.id, arm.name))?;
        // what is not said of a process has the defaults that all commands share
        let kind = config.process.get("kind").and_then(|k| k.as_str());
        let mut process = defaults(kind.unwrap_or(default_entry().name))?;
        process.extend(std::mem::take(&mut config.process));
        config.process = process;
        Ok(config)
    }
}

impl Arm {
    /// Whether it is run on this set of data.
    pub fn runs_on(&self, on: &str) -> bool {
        self.on.is_empty() || self.on.iter().any(|o| o == on)
    }
}
