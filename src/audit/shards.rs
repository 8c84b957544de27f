//! Shards of the simulation: written, read back whole or not at all, and put together.
//!
//! A file is JSON: `schema`, `version`, `options`, `shard`, `of`, `sums` (by group, portion and
//! record), and since schema 2 `digest`, so that a digit lost on the way is no other evidence. What
//! is read is held against what it must be: every field and no other, the groups that the options
//! ask for, the portions of this shard, a record for each time, of as many paths as the portion
//! has.

use super::claim::Plant;
use super::options::{Options, PORTIONS, Portions, portion};
use super::simulation::{Group, RECORDS, Sums};
use crate::error::{self, Error, Result};
use crate::files::Limits;
use crate::files::json::parse_json_within;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Schema of shards.
pub const SHARD_SCHEMA: &str = "cld-audit-shard/2";
/// The schema before, without a digest.
const WITHOUT_DIGEST: &str = "cld-audit-shard/1";

/// Part of the simulation, for merging.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shard {
    schema: String,
    version: String,
    options: Options,
    shard: u64,
    of: u64,
    sums: Portions,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Where it was read.
    #[serde(skip)]
    file: String,
}

/// A word of a file in a message.
fn shown(text: &str) -> String {
    format!("`{}`", error::shown(text))
}

/// A value of a file in a message.
fn value(v: &Json) -> String {
    match v {
        Json::String(s) => shown(s),
        Json::Array(a) => format!("a list of {}", a.len()),
        Json::Object(_) => "an object".into(),
        other => other.to_string(),
    }
}

/// Reads one file: what is wrong is said with the place.
struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn bad(&self, place: &str, problem: impl Into<String>) -> Error {
        Error::Format {
            file: self.file.into(),
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// An object with these fields and no other.
    fn fields<'v>(
        &self,
        v: &'v Json,
        place: &str,
        names: &[&str],
    ) -> Result<&'v Map<String, Json>> {
        let o = self.object(v, place)?;
        let at = |name: &str| {
            if place.is_empty() {
                name.to_string()
            } else {
                format!("{place}.{name}")
            }
        };
        if let Some(unknown) = o.keys().find(|k| !names.contains(&k.as_str())) {
            return Err(self.bad(
                &at(unknown),
                format!("unknown field; allowed: {}", names.join(", ")),
            ));
        }
        match names.iter().find(|n| !o.contains_key(**n)) {
            Some(missing) => Err(self.bad(&at(missing), "is missing")),
            None => Ok(o),
        }
    }

    /// The schema: this one, or that without a digest.
    fn schema<'v>(&self, json: &'v Json) -> Result<&'v str> {
        let allowed = format!("allowed: {SHARD_SCHEMA}, a file that `cld audit --shard` wrote");
        let Some(schema) = json.get("schema") else {
            return Err(self.bad("schema", format!("is missing; {allowed}")));
        };
        match self.word(schema, "schema")? {
            known @ (SHARD_SCHEMA | WITHOUT_DIGEST) => Ok(known),
            other => Err(self.bad("schema", format!("is {}; {allowed}", shown(other)))),
        }
    }

    /// The sums of a shard, whose portions are those whose number leaves `shard - 1` when divided by
    /// `of`.
    fn portions(&self, v: &Json, shard: u64, of: u64) -> Result<Portions> {
        let mine = |p: &u64| p % of == shard - 1;
        let mut sums = Portions::new();
        for (group, portions) in self.object(v, "sums")? {
            let at = format!("group {}", shown(group));
            let own = sums.entry(group.clone()).or_default();
            for (key, records) in self.object(portions, &at)? {
                let number = key.parse::<u64>().ok();
                let number = number.filter(|p| p.to_string() == *key && *p < PORTIONS && mine(p));
                let p = number.ok_or_else(|| {
                    let all: Vec<String> =
                        (0..PORTIONS).filter(mine).map(|p| p.to_string()).collect();
                    self.bad(
                        &at,
                        format!(
                            "has a portion {}; allowed: {}, those of shard {shard} of {of}",
                            shown(key),
                            all.join(", ")
                        ),
                    )
                })?;
                let at = place(group, p);
                let records = self.list(records, &at)?.iter().enumerate();
                let read = records.map(|(i, v)| self.record(v, &format!("{at}, record {i}")));
                own.insert(p, read.collect::<Result<_>>()?);
            }
        }
        Ok(sums)
    }

    fn object<'v>(&self, v: &'v Json, place: &str) -> Result<&'v Map<String, Json>> {
        v.as_object()
            .ok_or_else(|| self.bad(place, format!("is {}; allowed: an object", value(v))))
    }

    fn word<'v>(&self, v: &'v Json, place: &str) -> Result<&'v str> {
        v.as_str()
            .ok_or_else(|| self.bad(place, format!("is {}; allowed: a string", value(v))))
    }

    fn whole(&self, v: &Json, place: &str) -> Result<u64> {
        v.as_u64().ok_or_else(|| {
            self.bad(
                place,
                format!("is {}; allowed: a whole number, 0 to 2^64 - 1", value(v)),
            )
        })
    }

    fn number(&self, v: &Json, place: &str) -> Result<f64> {
        let finite = v.as_f64().filter(|x| x.is_finite());
        finite.ok_or_else(|| self.bad(place, format!("is {}; allowed: a finite number", value(v))))
    }

    fn list<'v>(&self, v: &'v Json, place: &str) -> Result<&'v [Json]> {
        let list = v
            .as_array()
            .ok_or_else(|| self.bad(place, format!("is {}; allowed: a list", value(v))))?;
        Ok(list)
    }

    fn numbers(&self, v: &Json, place: &str) -> Result<Vec<f64>> {
        self.list(v, place)?
            .iter()
            .enumerate()
            .map(|(i, x)| self.number(x, &format!("{place}[{i}]")))
            .collect()
    }

    fn options(&self, v: &Json) -> Result<Options> {
        let o = self.fields(v, "options", &["paths", "full", "seed", "only", "plant"])?;
        let full = o["full"].as_bool().ok_or_else(|| {
            self.bad(
                "options.full",
                format!("is {}; allowed: true or false", value(&o["full"])),
            )
        })?;
        let only = if o["only"].is_null() {
            None
        } else {
            Some(self.word(&o["only"], "options.only")?.to_string())
        };
        let plant = if o["plant"].is_null() {
            None
        } else {
            let p = self.fields(&o["plant"], "options.plant", &["id", "size"])?;
            let id = self.word(&p["id"], "options.plant.id")?.to_string();
            Some(Plant {
                id,
                size: self.number(&p["size"], "options.plant.size")?,
            })
        };
        let (paths, seed) = (
            self.whole(&o["paths"], "options.paths")?,
            self.whole(&o["seed"], "options.seed")?,
        );
        Ok(Options {
            paths,
            full,
            seed,
            only,
            plant,
        })
    }

    fn record(&self, v: &Json, place: &str) -> Result<Sums> {
        let o = self.fields(v, place, &["n", "mean", "sum"])?;
        Ok(Sums {
            n: self.whole(&o["n"], &format!("{place}.n"))?,
            mean: self.numbers(&o["mean"], &format!("{place}.mean"))?,
            sum: self.numbers(&o["sum"], &format!("{place}.sum"))?,
        })
    }
}

/// The place of a portion in a message.
fn place(group: &str, portion: u64) -> String {
    format!("group {}, portion {portion}", shown(group))
}

impl Shard {
    pub(super) fn new(options: Options, shard: u64, of: u64, sums: Portions) -> Result<Shard> {
        let (schema, version) = (
            SHARD_SCHEMA.to_string(),
            env!("CARGO_PKG_VERSION").to_string(),
        );
        let mut new = Shard {
            schema,
            version,
            options,
            shard,
            of,
            sums,
            digest: None,
            file: format!("shard {shard} of {of}"),
        };
        new.digest = Some(new.digest()?);
        Ok(new)
    }

    /// FNV-1a of the contents as they are written, without the digest: 64 bits, which no slip of a
    /// copy meets by chance.
    fn digest(&self) -> Result<String> {
        let bare = Shard {
            digest: None,
            ..self.clone()
        };
        let text = serde_json::to_string(&bare).map_err(|e| self.bad("", e.to_string()))?;
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        Ok(format!("{hash:016x}"))
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// Text that is not JSON, another schema or version of the program; a field that is missing,
    /// unknown or of another type; a number of a shard that does not exist; portions that are not
    /// this shard's; contents that do not have the digest.
    pub fn parse(text: &str, file: &str) -> Result<Shard> {
        Shard::parse_within(text, file, &Limits::default())
    }

    /// The same within other limits.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_within(text: &str, file: &str, limits: &Limits) -> Result<Shard> {
        let json = parse_json_within(text, file, limits)?;
        let r = Reader { file };
        let schema = r.schema(&json)?;
        let mut names = vec!["schema", "version", "options", "shard", "of", "sums"];
        if schema == SHARD_SCHEMA {
            names.push("digest");
        }
        let o = r.fields(&json, "", &names)?;
        let (version, own) = (r.word(&o["version"], "version")?, env!("CARGO_PKG_VERSION"));
        if version != own {
            return Err(r.bad(
                "version",
                format!(
                    "is {}; allowed: {own}, that of this program",
                    shown(version)
                ),
            ));
        }
        let options = r.options(&o["options"])?;
        let (shard, of) = (r.whole(&o["shard"], "shard")?, r.whole(&o["of"], "of")?);
        if !(1..=PORTIONS).contains(&of) {
            return Err(r.bad("of", format!("is {of}; allowed: 1 to {PORTIONS}")));
        }
        if !(1..=of).contains(&shard) {
            return Err(r.bad("shard", format!("is {shard}; allowed: 1 to {of}")));
        }
        let sums = r.portions(&o["sums"], shard, of)?;
        let digest = o
            .get("digest")
            .map(|d| r.word(d, "digest").map(str::to_string))
            .transpose()?;
        Ok(Shard {
            schema: schema.into(),
            version: version.into(),
            options,
            shard,
            of,
            sums,
            digest,
            file: file.into(),
        })
    }

    fn bad(&self, place: &str, problem: impl Into<String>) -> Error {
        Reader { file: &self.file }.bad(place, problem)
    }

    /// The options of the run that these are the shards of: each once, none missing.
    pub(super) fn options_of_all(shards: &[Shard]) -> Result<&Options> {
        let Some(first) = shards.first() else {
            return Err(Error::parameter("shards", "none", "at least one file"));
        };
        for (i, s) in shards.iter().enumerate() {
            let (a, b) = (&s.options, &first.options);
            let differs = [
                ("options.paths", a.paths == b.paths),
                ("options.full", a.full == b.full),
                ("options.seed", a.seed == b.seed),
                ("options.only", a.only == b.only),
                ("options.plant", a.plant == b.plant),
                ("of", s.of == first.of),
            ];
            if let Some((field, _)) = differs.iter().find(|(_, same)| !same) {
                return Err(s.bad(
                    field,
                    format!(
                        "is another than in {}; allowed: shards of one run",
                        first.file
                    ),
                ));
            }
            if let Some(twin) = shards[..i].iter().find(|t| t.shard == s.shard) {
                return Err(s.bad(
                    "shard",
                    format!(
                        "is {}, twice: {} is, too; allowed: each shard once",
                        s.shard, twin.file
                    ),
                ));
            }
        }
        match (1..=first.of).find(|i| shards.iter().all(|s| s.shard != *i)) {
            Some(missing) => Err(Error::parameter(
                "shards",
                format!("without shard {missing} of {}, which is missing", first.of),
                "all of the run",
            )),
            None => Ok(&first.options),
        }
    }

    /// Whether the sums are those of this shard's portions of these groups, and of nothing else.
    fn check(&self, groups: &[Group]) -> Result<()> {
        if let Some(unknown) = self
            .sums
            .keys()
            .find(|name| groups.iter().all(|g| g.name != **name))
        {
            return Err(self.bad(
                "sums",
                format!(
                    "has a group {}, which the options do not ask for",
                    shown(unknown)
                ),
            ));
        }
        for g in groups {
            let Some(portions) = self.sums.get(&g.name) else {
                return Err(self.bad(
                    "sums",
                    format!("is incomplete: there is no group {}", shown(&g.name)),
                ));
            };
            for p in (0..PORTIONS).filter(|p| p % self.of == self.shard - 1) {
                let at = place(&g.name, p);
                let records = portions
                    .get(&p)
                    .ok_or_else(|| self.bad(&at, "is missing: the group is incomplete"))?;
                if records.len() != RECORDS {
                    return Err(self.bad(
                        &at,
                        format!(
                            "is incomplete: {} records; allowed: {RECORDS}",
                            records.len()
                        ),
                    ));
                }
                let (from, to) = portion(self.options.paths, p);
                for (i, s) in records.iter().enumerate() {
                    if let Some((field, problem)) = s.amiss(to - from, g.channels()) {
                        return Err(self.bad(&format!("{at}, record {i}.{field}"), problem));
                    }
                }
            }
        }
        let own = self.digest()?;
        match &self.digest {
            Some(d) if *d != own => {
                Err(self
                    .bad("digest", format!("is {}, that of the contents is `{own}`: they were changed after they were written", shown(d))))
            }
            _ => Ok(()),
        }
    }
}

/// Sums of every group: every portion, every record.
pub(super) struct Whole(BTreeMap<String, Vec<Vec<Sums>>>);

impl Whole {
    /// Those of all groups, each whole.
    ///
    /// # Errors
    /// A portion or a record that is missing, or is not what it must be.
    pub fn new(sums: Portions, groups: &[Group], o: &Options) -> Result<Whole> {
        Whole::of_shards(&[Shard::new(o.clone(), 1, 1, sums)?], groups)
    }

    /// Those of all shards.
    ///
    /// # Errors
    /// As [`new`](Self::new), with the file's name.
    pub fn of_shards(shards: &[Shard], groups: &[Group]) -> Result<Whole> {
        shards.iter().try_for_each(|s| s.check(groups))?;
        let mut all: BTreeMap<String, BTreeMap<u64, Vec<Sums>>> = BTreeMap::new();
        for s in shards {
            for (name, portions) in &s.sums {
                all.entry(name.clone())
                    .or_default()
                    .extend(portions.iter().map(|(p, v)| (*p, v.clone())));
            }
        }
        let incomplete = |name: &str| Error::Degenerate {
            what: format!("the sums of {name}").into(),
            why: "portions are missing".into(),
        };
        let one = |g: &Group| {
            let portions: Vec<Vec<Sums>> = all
                .remove(&g.name)
                .unwrap_or_default()
                .into_values()
                .collect();
            if portions.len() as u64 == PORTIONS {
                Ok((g.name.clone(), portions))
            } else {
                Err(incomplete(&g.name))
            }
        };
        Ok(Whole(groups.iter().map(one).collect::<Result<_>>()?))
    }

    pub fn groups(&self) -> &BTreeMap<String, Vec<Vec<Sums>>> {
        &self.0
    }
}
