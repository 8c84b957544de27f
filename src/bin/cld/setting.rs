//! The flags that name a process, its schedule and objective: the same for every subcommand.

use super::{Result, names};
use cld_sgm::internal::files::parse_json;
use cld_sgm::internal::truth::config::{Config, default_schedule, defaults};
use cld_sgm::process::{default_entry, entry};
use cld_sgm::{Diffusion, Error};
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub struct Setting {
    #[arg(long, help = names::process())]
    pub process: Option<String>,
    /// Mass M.
    #[arg(long)]
    mass: Option<f64>,
    /// Friction Gamma (cld: critical, 2 sqrt(M), if absent; psld: friction of x).
    #[arg(long = "Gamma", alias = "friction")]
    friction: Option<f64>,
    /// Initial velocity's variance in units of M (hsm).
    #[arg(long)]
    gamma: Option<f64>,
    /// Any other parameter of the process, such as nu=4.01 (may be repeated).
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Constant beta.
    #[arg(long, conflicts_with = "schedule")]
    beta: Option<f64>,
    #[arg(long, value_name = "JSON", help = names::schedule())]
    schedule: Option<String>,
}

impl Setting {
    /// The first flag that is given, for commands whose process comes from elsewhere.
    pub fn refused(&self, allowed: &'static str) -> Result<()> {
        let given = [
            ("process", self.process.is_some()),
            ("mass", self.mass.is_some()),
            ("Gamma", self.friction.is_some()),
            ("gamma", self.gamma.is_some()),
            ("param", !self.params.is_empty()),
            ("beta", self.beta.is_some()),
            ("schedule", self.schedule.is_some()),
        ];
        match given.iter().find(|g| g.1) {
            Some((name, _)) => Err(bad(name, "given", allowed)),
            None => Ok(()),
        }
    }

    /// Sets the parameters that are given, of a process whose gamma has the name `gamma`.
    fn parameters(&self, gamma: &str, object: &mut Map<String, Value>) -> Result<()> {
        for (key, name, x) in [
            ("mass", "mass", self.mass),
            ("Gamma", "Gamma", self.friction),
            (gamma, "gamma", self.gamma),
        ] {
            if let Some(x) = x {
                object.insert(key.into(), number(name, x)?);
            }
        }
        for p in &self.params {
            let (key, value) = p
                .split_once('=')
                .ok_or_else(|| bad("param", p, "NAME=VALUE"))?;
            let value = value
                .parse::<f64>()
                .map_or_else(|_| Ok(value.into()), |x| number(key, x))?;
            object.insert(key.into(), value);
        }
        Ok(())
    }

    /// The schedule that is given.
    fn schedule(&self) -> Result<Option<Value>> {
        match (&self.schedule, self.beta) {
            (Some(text), _) => Ok(Some(parse_json(text, "--schedule")?)),
            (None, Some(b)) => Ok(Some(json!({"kind": "constant", "b": number("beta", b)?}))),
            (None, None) => Ok(None),
        }
    }

    /// The process `name` with these flags; hsm if gamma is given and no objective is.
    pub fn config(&self, name: &str, objective: Option<&str>) -> Result<Config> {
        let mut params = Map::new();
        self.parameters(entry(name)?.gamma.unwrap_or("gamma"), &mut params)?;
        let objective = objective.unwrap_or(if self.gamma.is_some() { "hsm" } else { "dsm" });
        let schedule = match self.schedule()? {
            Some(schedule) => schedule,
            None => default_schedule(name)?,
        };
        Config::new(name, &params, &schedule, objective)
    }

    /// Whether any of these flags is there.
    pub fn given(&self) -> bool {
        let numbers = [self.mass, self.friction, self.gamma, self.beta]
            .iter()
            .any(Option::is_some);
        numbers || self.process.is_some() || self.schedule.is_some() || !self.params.is_empty()
    }

    /// Sets what the flags say in a process object ([`Config::from_answers`]); another process
    /// begins from its defaults.
    pub fn apply(&self, process: &mut Map<String, Value>) -> Result<()> {
        let kind = |process: &Map<String, Value>| {
            let kind = process.get("kind").and_then(Value::as_str);
            kind.unwrap_or_default().to_string()
        };
        if let Some(name) = &self.process
            && kind(process) != entry(name)?.name
        {
            *process = defaults(name)?;
        }
        let gamma = entry(&kind(process))?.gamma.unwrap_or("gamma");
        self.parameters(gamma, process)?;
        if let Some(schedule) = self.schedule()? {
            process.insert("schedule".into(), schedule);
        }
        Ok(())
    }

    /// The diffusion to sample from, and a line about it. The process is the paper's if none is
    /// given; what else is not given has the registry's defaults.
    pub fn diffusion(&self) -> Result<(Diffusion, String)> {
        let name = self.process.as_deref().unwrap_or(default_entry().name);
        let mut object = defaults(name)?;
        self.apply(&mut object)?;
        if entry(name)?.gamma.is_some() {
            object.insert("objective".into(), "hsm".into());
        }
        let config = Config::from_answers(&Value::Object(object))?;
        let diffusion = Diffusion::new(
            config.process()?,
            config.schedule,
            config.gamma.unwrap_or(0.0),
        )?;
        Ok((diffusion, config.describe()))
    }
}

/// A flag's number as JSON, which knows no NaN.
fn number(name: &str, x: f64) -> Result<Value> {
    if x.is_finite() {
        Ok(x.into())
    } else {
        Err(bad(name, x, "a finite number"))
    }
}

fn bad(name: &str, value: impl std::fmt::Display, allowed: &'static str) -> Error {
    Error::Parameter {
        name: name.to_string().into(),
        value: value.to_string(),
        allowed: allowed.into(),
    }
}
