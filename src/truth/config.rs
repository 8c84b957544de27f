//! What a file says of a process, its schedule and objective, as objects that compute.

use super::cell::CHANNELS;
use super::units::Units;
use crate::error::{Error, Result};
use crate::kernel::Objective;
use crate::process::{AnyProcess, Chain, Example, Given, Params, ProcessEntry, Value, entry};
use crate::schedule::Schedule;
use crate::small::places;
use serde_json::Value as Json;

/// A process with parameters, schedule and objective, as files describe them.
#[derive(Clone)]
pub struct Config {
    /// The registry's entry.
    pub entry: &'static ProcessEntry,
    /// The process's parameters, without HSM's gamma.
    pub params: Params,
    /// The schedule.
    pub schedule: Schedule,
    /// DSM or HSM.
    pub objective: Objective,
    /// The initial velocity's gamma, where the file gives one, even under DSM.
    pub gamma: Option<f64>,
    /// What the user's code says it adds to the variances.
    pub epsilon_added: f64,
    /// Upper factor instead of lower, in the file's own order of channels.
    pub upper: bool,
    /// Velocities stand for momenta: v = p / M.
    pub velocity: bool,
    /// Variances of the stationary law, if they are not the process's own: that of x alone, or one
    /// for each channel.
    pub stationary: Vec<f64>,
    /// VE's variance is counted from sigma_min: it is sigma(t)^2 itself.
    pub from_sigma_min: bool,
    /// How arrays hold the channels.
    pub layout: Layout,
}

/// How arrays of states hold their channels. Ours: x first, then v, each with its d coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The last channel first: v, then x.
    pub reversed: bool,
    /// Channels last: (n, d, K), x1 v1 x2 v2.
    pub channels_last: bool,
}

impl Layout {
    /// Where number `i` of a row of `w` numbers in `k` channels stands in our order.
    pub fn place(self, i: usize, w: usize, k: usize) -> usize {
        let d = w / k;
        let (channel, coordinate) = if self.channels_last {
            (i % k, i / k)
        } else {
            (i / d, i % d)
        };
        (if self.reversed {
            k - 1 - channel
        } else {
            channel
        }) * d
            + coordinate
    }
}

/// Keys of a process object that are not parameters.
const OTHER_KEYS: &[&str] = &[
    "kind",
    "schedule",
    "objective",
    "epsilon_added",
    "decomposition",
    "horizon",
    "m_inv",
    "numerical_eps",
    "v",
    "stationary_variance",
    "variance_from",
    "channels",
    "layout",
];

/// Reads a number, or one of the strings that stand for what JSON cannot say.
pub fn number(v: &Json) -> Option<f64> {
    match v {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => match s.as_str() {
            "NaN" | "nan" => Some(f64::NAN),
            "Infinity" | "inf" => Some(f64::INFINITY),
            "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The field `name` of `object` as a finite number.
fn field(object: &Json, name: &'static str) -> Result<f64> {
    match object.get(name) {
        Some(Json::Number(n)) => n
            .as_f64()
            .ok_or_else(|| Error::parameter(name, n, "a number")),
        Some(other) => Err(Error::parameter(name, other, "a number")),
        None => Err(Error::parameter(name, "missing", "a number")),
    }
}

/// Reads a schedule such as `{"kind": "linear", "b0": 0.1, "b1": 19.9}`.
///
/// # Errors
/// An unknown kind or field, a parameter missing or out of range.
pub fn schedule(v: &Json) -> Result<Schedule> {
    let Some(object) = v.as_object() else {
        return Err(Error::parameter(
            "schedule",
            v,
            "an object with `kind` and its parameters",
        ));
    };
    let kind = object.get("kind").and_then(Json::as_str).unwrap_or("");
    let names: &[&str] = match kind {
        "constant" => &["b"],
        "linear" if object.contains_key("beta_min") || object.contains_key("beta_max") => {
            &["beta_min", "beta_max"]
        }
        "linear" => &["b0", "b1"],
        "cosine" => &["s0", "t_max"],
        "geometric-sigma" => &["sigma_min", "sigma_max"],
        "table" => &["t", "integral"],
        "betas" => &["betas"],
        _ => {
            return Err(Error::parameter(
                "schedule.kind",
                format!("`{kind}`"),
                "constant, linear, cosine, geometric-sigma, table, betas",
            ));
        }
    };
    if let Some(extra) = object
        .keys()
        .find(|k| *k != "kind" && !names.contains(&k.as_str()))
    {
        return Err(Error::parameter(
            format!("schedule.{extra}"),
            "unknown",
            format!("kind, {}", names.join(", ")),
        ));
    }
    match kind {
        "constant" => Schedule::constant(field(v, "b")?),
        // the rates at both ends, as score_sde has them: b0 = beta_min, b1 = beta_max - beta_min
        "linear" if names[0] == "beta_min" => {
            let (min, max) = (field(v, "beta_min")?, field(v, "beta_max")?);
            Schedule::linear(min, max - min)
        }
        "linear" => Schedule::linear(field(v, "b0")?, field(v, "b1")?),
        "table" => {
            let (t, b) = (list(v, "t")?, list(v, "integral")?);
            if t.len() != b.len() {
                return Err(Error::parameter(
                    "integral",
                    format!("{} numbers", b.len()),
                    format!("{}, as in t", t.len()),
                ));
            }
            Schedule::table(&t.into_iter().zip(b).collect::<Vec<_>>())
        }
        "betas" => Schedule::betas(&list(v, "betas")?),
        "cosine" => Schedule::cosine(field(v, "s0")?, field(v, "t_max")?),
        _ => Schedule::geometric(field(v, "sigma_min")?, field(v, "sigma_max")?),
    }
}

/// The field `name` of `object` as a list of numbers.
fn list(object: &Json, name: &'static str) -> Result<Vec<f64>> {
    let numbers = object
        .get(name)
        .and_then(Json::as_array)
        .and_then(|l| l.iter().map(Json::as_f64).collect());
    numbers.ok_or_else(|| {
        Error::parameter(
            format!("schedule.{name}"),
            object.get(name).unwrap_or(&Json::Null),
            "a list of numbers",
        )
    })
}

/// A list of rows of numbers.
fn matrix(name: &str, rows: &[Json]) -> Result<Vec<Vec<f64>>> {
    let row = |r: &Json| {
        r.as_array()
            .and_then(|r| r.iter().map(Json::as_f64).collect::<Option<Vec<f64>>>())
    };
    rows.iter().map(row).collect::<Option<_>>().ok_or_else(|| {
        Error::parameter(
            name.to_string(),
            Json::from(rows.to_vec()),
            "a matrix: a list of rows of numbers",
        )
    })
}

/// A schedule as files have it: [`schedule`] reads it back.
fn written(s: &Schedule) -> Json {
    let mut o = serde_json::Map::new();
    o.insert("kind".into(), s.name().into());
    match (s.name(), s.params().first()) {
        ("constant", Some((_, b))) => drop(o.insert("b".into(), (*b).into())),
        _ => s
            .params()
            .iter()
            .for_each(|(k, x)| drop(o.insert((*k).into(), (*x).into()))),
    }
    Json::Object(o)
}

/// The schedule of a process for which none is given, as files have it.
///
/// # Errors
/// No such process.
pub fn default_schedule(name: &str) -> Result<Json> {
    Ok(written(&entry(name)?.schedule()?))
}

/// The process object ([`Config::from_answers`]) of a process of which only the name is known: the
/// registry's defaults. What has none must be added.
///
/// # Errors
/// No such process.
pub fn defaults(name: &str) -> Result<serde_json::Map<String, Json>> {
    let mut o = serde_json::Map::new();
    o.insert("kind".into(), name.into());
    o.extend(
        entry(name)?
            .defaults
            .iter()
            .map(|(k, x)| ((*k).to_string(), Json::from(*x))),
    );
    o.insert("schedule".into(), default_schedule(name)?);
    Ok(o)
}

/// The process object of an example of the registry, but for schedule and objective.
pub fn example(name: &str, params: Example) -> serde_json::Map<String, Json> {
    let value = |g: &Given| match g {
        Given::Number(x) => Json::from(*x),
        Given::Word(w) => Json::from(*w),
    };
    let params = params.iter().map(|(k, g)| ((*k).to_string(), value(g)));
    [("kind".to_string(), Json::from(name))]
        .into_iter()
        .chain(params)
        .collect()
}

/// A word of a process object.
fn word<'a>(
    object: &'a serde_json::Map<String, Json>,
    key: &'static str,
    default: &'static str,
) -> Result<&'a str> {
    match object.get(key) {
        None => Ok(default),
        Some(Json::String(s)) => Ok(s.as_str()),
        Some(other) => Err(Error::parameter(key, other, "a word")),
    }
}

/// The refusal of a word.
fn no_word(key: &'static str, word: &str, allowed: &str) -> Error {
    Error::parameter(key, format!("`{word}`"), allowed.to_string())
}

/// The parameters of a process object, with the names that public code has for the same things.
fn parameters(
    v: &Json,
    object: &serde_json::Map<String, Json>,
) -> Result<serde_json::Map<String, Json>> {
    let own = object
        .iter()
        .filter(|(k, _)| !OTHER_KEYS.contains(&k.as_str()));
    let mut params: serde_json::Map<String, Json> =
        own.map(|(k, v)| (k.clone(), v.clone())).collect();
    if object.contains_key("m_inv") {
        if params.contains_key("mass") {
            return Err(Error::parameter(
                "m_inv",
                &object["m_inv"],
                "absent beside `mass`, which is 1 / m_inv",
            ));
        }
        params.insert("mass".into(), (1.0 / field(v, "m_inv")?).into());
    }
    Ok(params)
}

/// What is added to every variance, under either of its names.
fn epsilon_added(v: &Json, object: &serde_json::Map<String, Json>) -> Result<f64> {
    let names = ["epsilon_added", "numerical_eps"];
    let given: Vec<&str> = names
        .into_iter()
        .filter(|n| object.contains_key(*n))
        .collect();
    if given.len() > 1 {
        return Err(Error::parameter(
            "numerical_eps",
            &object["numerical_eps"],
            "absent beside `epsilon_added`, which is the same",
        ));
    }
    let Some(name) = given.first() else {
        return Ok(0.0);
    };
    let e = field(v, name)?;
    if (0.0..=1.0).contains(&e) {
        return Ok(e);
    }
    Err(Error::parameter(
        *name,
        e,
        "0 to 1 (what your code adds to every variance)",
    ))
}

/// Stationary variances: of all channels, or one for each.
fn variances(given: &Json) -> Result<Vec<f64>> {
    let one = || vec![given.clone()];
    let list = given.as_array().cloned().unwrap_or_else(one);
    let all: Option<Vec<f64>> = list.iter().map(Json::as_f64).collect();
    all.filter(|all| !all.is_empty() && all.iter().all(|x| (1e-100..=1e100).contains(x)))
        .ok_or_else(|| {
            Error::parameter(
                "stationary_variance",
                given,
                "a number above 0, or a list of one for each channel",
            )
        })
}

/// The order of the numbers in arrays of states with so many channels.
fn layout(object: &serde_json::Map<String, Json>, channels: usize) -> Result<Layout> {
    let channels_last = match word(object, "layout", "channels-first")? {
        "channels-first" => false,
        "channels-last" => true,
        other => {
            let allowed = "channels-first (n, K, d) or channels-last (n, d, K)";
            return Err(no_word("layout", other, allowed));
        }
    };
    let mut layout = Layout {
        channels_last,
        ..Layout::default()
    };
    if let Some(order) = object.get("channels") {
        let own: Vec<Json> = CHANNELS[..channels].iter().map(|c| (*c).into()).collect();
        let back: Vec<Json> = own.iter().rev().cloned().collect();
        layout.reversed = match order.as_array() {
            Some(o) if *o == own => false,
            Some(o) if *o == back => true,
            _ => {
                return Err(Error::parameter(
                    "channels",
                    order,
                    format!("{} or {}", Json::from(own), Json::from(back)),
                ));
            }
        };
    }
    Ok(layout)
}

/// A matrix with one entry changed by a factor, for each that is not 0; a symmetric one stays so.
fn entries_changed(m: &[Vec<f64>], factor: f64, symmetric: bool) -> Vec<Value> {
    let entries = places(m.len()).filter(|(i, j)| m[*i][*j] != 0.0);
    let changed = entries.map(|(i, j)| {
        let mut m = m.to_vec();
        m[i][j] *= factor;
        if symmetric && i != j {
            m[j][i] *= factor;
        }
        Value::Matrix(m)
    });
    changed.collect()
}

impl Config {
    /// From its parts: name, parameters (an object of numbers and words), schedule, objective.
    ///
    /// `transition` as objective means: the transition itself, no initial variance.
    ///
    /// # Errors
    /// Anything unknown, missing or out of range, by name.
    pub fn new(
        name: &str,
        params: &serde_json::Map<String, Json>,
        schedule_json: &Json,
        objective: &str,
    ) -> Result<Config> {
        let entry = entry(name)?;
        let mut given = Params::default();
        let mut gamma = None;
        for (key, v) in params {
            let value = match v {
                Json::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
                Json::String(s) => Value::Word(s.clone()),
                Json::Array(rows) => Value::Matrix(matrix(key, rows)?),
                other => return Err(Error::parameter(key.clone(), other, "a number or a word")),
            };
            if Some(key.as_str()) == entry.gamma {
                gamma = Some(Params::default().with_value(key, value).number(key)?);
            } else {
                given = given.with_value(key, value);
            }
        }
        let objective = match objective {
            "dsm" | "transition" => Objective::DSM,
            "hsm" => {
                let name = entry.gamma.ok_or_else(|| {
                    Error::parameter("objective", "hsm", format!("dsm ({name} has no velocity)"))
                })?;
                Objective::hsm(gamma.ok_or_else(|| {
                    Error::parameter(name, "missing", "a number >= 0; hsm needs it")
                })?)?
            }
            other => {
                return Err(Error::parameter(
                    "objective",
                    format!("`{other}`"),
                    "dsm, hsm or transition",
                ));
            }
        };
        let config = Config {
            entry,
            params: given,
            schedule: schedule(schedule_json)?,
            objective,
            gamma,
            epsilon_added: 0.0,
            upper: false,
            velocity: false,
            stationary: vec![],
            from_sigma_min: false,
            layout: Layout::default(),
        };
        config.process()?;
        Ok(config)
    }

    /// From a `process` object of an answers file: kind and parameters side by side.
    ///
    /// # Errors
    /// As [`Config::new`].
    pub fn from_answers(v: &Json) -> Result<Config> {
        let Some(object) = v.as_object() else {
            return Err(Error::parameter(
                "process",
                v,
                "an object with `kind` and parameters",
            ));
        };
        let params = parameters(v, object)?;
        let Some(schedule) = object.get("schedule") else {
            return Err(Error::parameter(
                "schedule",
                "missing",
                "an object with `kind`",
            ));
        };
        let mut config = Config::new(
            word(object, "kind", "")?,
            &params,
            schedule,
            word(object, "objective", "dsm")?,
        )?;
        if object.contains_key("horizon") {
            config.schedule = config.schedule.on(field(v, "horizon")?)?;
        }
        config.epsilon_added = epsilon_added(v, object)?;
        config.upper = match word(object, "decomposition", "lower")? {
            "lower" => false,
            "upper" => true,
            other => return Err(no_word("decomposition", other, "lower or upper")),
        };
        let channels = config.process()?.channels();
        config.velocity = match word(object, "v", "momentum")? {
            "momentum" => false,
            "velocity" if channels > 1 => true,
            "velocity" => {
                let allowed = format!("momentum ({} has no velocity)", config.entry.name);
                return Err(no_word("v", "velocity", &allowed));
            }
            other => {
                let allowed = "momentum or velocity (momentum / mass)";
                return Err(no_word("v", other, allowed));
            }
        };
        if let Some(given) = object.get("stationary_variance") {
            config.stationary = variances(given)?;
            config.process()?;
        }
        let smld = config.entry.chain == Some(Chain::Smld);
        config.from_sigma_min = match word(object, "variance_from", "zero")? {
            "zero" => false,
            "sigma_min" if smld && config.sigma_min().is_some() => true,
            "sigma_min" => {
                let allowed = "zero, but for ve with a geometric-sigma schedule";
                return Err(no_word("variance_from", "sigma_min", allowed));
            }
            other => return Err(no_word("variance_from", other, "zero or sigma_min")),
        };
        config.layout = layout(object, channels)?;
        Ok(config)
    }

    /// The schedule of an answers file.
    fn schedule_to_answers(&self) -> Json {
        let mut s = serde_json::Map::new();
        if let Some(points) = self.schedule.points() {
            let (t, b): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
            s.extend([
                ("t".to_string(), Json::from(t)),
                ("integral".to_string(), Json::from(b)),
            ]);
        }
        let kind = match self.schedule.name() {
            "constant" => "linear",
            other => other,
        };
        s.insert("kind".into(), kind.into());
        for (k, v) in self.schedule.params() {
            s.insert(k.into(), v.into());
        }
        Json::Object(s)
    }

    /// As an answers file has it: the inverse of [`Config::from_answers`].
    pub fn to_answers(&self) -> Json {
        let mut o = serde_json::Map::new();
        o.insert("kind".into(), self.entry.name.into());
        for (k, v) in &self.params.0 {
            let v = match v {
                Value::Number(x) => Json::from(*x),
                Value::Word(w) => Json::from(w.as_str()),
                Value::Matrix(m) => {
                    Json::from(m.iter().map(|r| Json::from(r.clone())).collect::<Vec<_>>())
                }
            };
            o.insert(k.clone(), v);
        }
        if let (Some(name), Some(g)) = (self.entry.gamma, self.gamma) {
            o.insert(name.into(), g.into());
        }
        o.insert("schedule".into(), self.schedule_to_answers());
        if self.schedule.horizon() != 1.0 && self.schedule.points().is_none() {
            o.insert("horizon".into(), self.schedule.horizon().into());
        }
        o.insert("objective".into(), self.objective.name().into());
        match self.stationary[..] {
            [] => {}
            [one] => drop(o.insert("stationary_variance".into(), one.into())),
            _ => drop(o.insert("stationary_variance".into(), self.stationary.clone().into())),
        }
        let words = [
            (self.upper, "decomposition", Json::from("upper")),
            (self.velocity, "v", "velocity".into()),
            (self.from_sigma_min, "variance_from", "sigma_min".into()),
            (self.layout.channels_last, "layout", "channels-last".into()),
        ];
        words
            .into_iter()
            .filter(|(is, ..)| *is)
            .for_each(|(_, name, word)| drop(o.insert(name.into(), word)));
        if self.layout.reversed {
            let k = self.process().map_or(0, |p| p.channels());
            o.insert(
                "channels".into(),
                CHANNELS[..k]
                    .iter()
                    .rev()
                    .copied()
                    .collect::<Vec<_>>()
                    .into(),
            );
        }
        Json::Object(o)
    }

    /// The process itself.
    ///
    /// # Errors
    /// A parameter missing, unknown or out of range.
    pub fn process(&self) -> Result<Box<dyn AnyProcess>> {
        self.in_units(self.entry.build(&self.params)?)
    }

    /// A process in the units that are declared: every process that stands for this one must be in
    /// them, too.
    ///
    /// # Errors
    /// One without a stationary law, where that law's variance is declared.
    pub(crate) fn in_units(&self, process: Box<dyn AnyProcess>) -> Result<Box<dyn AnyProcess>> {
        let process: Box<dyn AnyProcess> = if self.velocity {
            Box::new(Units::velocity(process))
        } else {
            process
        };
        Ok(if self.stationary.is_empty() {
            process
        } else {
            Box::new(Units::stationary(process, &self.stationary)?)
        })
    }

    /// sigma_min of a geometric schedule.
    pub fn sigma_min(&self) -> Option<f64> {
        self.schedule
            .params()
            .iter()
            .find(|(name, _)| *name == "sigma_min")
            .map(|p| p.1)
    }

    /// The same with one number changed by a factor, for every number that it is made of
    /// (parameters, gamma, rate); for a process whose coefficients are not among its parameters,
    /// their matrices changed entry by entry. What a configuration is conditioned by.
    pub fn perturbed(&self, factor: f64) -> Vec<Config> {
        let mut list = Vec::new();
        for (name, value) in &self.params.0 {
            let changed = match value {
                Value::Number(x) if *x != 0.0 && name != "order" => {
                    vec![Value::Number(x * factor)]
                }
                Value::Matrix(m) => entries_changed(m, factor, name == "GGt"),
                _ => vec![],
            };
            list.extend(changed.into_iter().map(|value| Config {
                params: self.params.clone().with_value(name, value),
                ..self.clone()
            }));
        }
        if let Some(g) = self.gamma.filter(|g| *g != 0.0) {
            let objective = if self.objective == Objective::DSM {
                Ok(Objective::DSM)
            } else {
                Objective::hsm(g * factor)
            };
            list.extend(objective.map(|objective| Config {
                objective,
                gamma: Some(g * factor),
                ..self.clone()
            }));
        }
        for i in 0..self.stationary.len() {
            let mut stationary = self.stationary.clone();
            stationary[i] *= factor;
            list.push(Config {
                stationary,
                ..self.clone()
            });
        }
        list.extend(
            self.schedule
                .perturbed(factor)
                .into_iter()
                .map(|schedule| Config {
                    schedule,
                    ..self.clone()
                }),
        );
        list
    }

    /// In one line, for tables.
    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = self
            .params
            .0
            .iter()
            .filter(|(k, _)| *k != "damping")
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        if let (Some(name), true) = (self.entry.gamma, self.objective.name() == "hsm") {
            parts.push(format!("{name}={}", self.objective.gamma()));
        }
        match self.stationary[..] {
            [] => {}
            [one] => parts.push(format!("stationary_variance={one}")),
            _ => parts.push(format!("stationary_variance={:?}", self.stationary)),
        }
        if self.velocity {
            parts.push("v=velocity".into());
        }
        let schedule: Vec<String> = self
            .schedule
            .params()
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        format!(
            "{} {} [{}] {}({})",
            self.entry.name,
            self.objective.name(),
            parts.join(", "),
            self.schedule.name(),
            schedule.join(", ")
        )
    }
}
