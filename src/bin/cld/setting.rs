//! The flags that name a process, its schedule and objective: the same for every subcommand.

use crate::Result;
use cld_sgm::files::parse_json;
use cld_sgm::process::entry;
use cld_sgm::truth::config::Config;
use cld_sgm::{Diffusion, Error};
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub struct Setting {
    /// Process: cld, sscs-analytic, psld, cld-position-noise, langevin-order-n, vp, ve, sub-vp.
    #[arg(long)]
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
    /// Constant beta; the paper's 4 if no schedule is given.
    #[arg(long, conflicts_with = "schedule")]
    beta: Option<f64>,
    /// Schedule as JSON, such as '{"kind":"linear","b0":0.1,"b1":19.9}'.
    #[arg(long, value_name = "JSON")]
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

    /// The process `name` with these flags; hsm if gamma is given and no objective is.
    pub fn config(&self, name: &str, objective: Option<&str>) -> Result<Config> {
        self.with(name, objective, self.mass, self.gamma)
    }

    fn with(&self, name: &str, objective: Option<&str>, mass: Option<f64>, gamma: Option<f64>) -> Result<Config> {
        let known = entry(name)?;
        let mut params = Map::new();
        let mut give = |key: &str, value: Value| params.insert(key.to_string(), value);
        if let Some(m) = mass {
            give("mass", number("mass", m)?);
        }
        if let Some(g) = self.friction {
            give("Gamma", number("Gamma", g)?);
        }
        if let Some(g) = gamma {
            give(known.gamma.unwrap_or("gamma"), number("gamma", g)?);
        }
        for p in &self.params {
            let (key, value) = p.split_once('=').ok_or_else(|| bad("param", p, "NAME=VALUE"))?;
            match value.parse::<f64>() {
                Ok(x) => give(key, number(key, x)?),
                Err(_) => give(key, value.into()),
            };
        }
        let objective = objective.unwrap_or(if gamma.is_some() { "hsm" } else { "dsm" });
        let schedule = match &self.schedule {
            Some(text) => parse_json(text, "--schedule")?,
            None if name == "ve" && self.beta.is_none() => json!({"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}),
            None => json!({"kind": "constant", "b": number("beta", self.beta.unwrap_or(4.0))?}),
        };
        Config::new(name, &params, &schedule, objective)
    }

    /// Whether any of these flags is there.
    pub fn given(&self) -> bool {
        let numbers = [self.mass, self.friction, self.gamma, self.beta].iter().any(Option::is_some);
        numbers || self.process.is_some() || self.schedule.is_some() || !self.params.is_empty()
    }

    /// Sets what the flags say in a process object ([`Config::from_answers`]); another process begins from its defaults.
    pub fn apply(&self, process: &mut Map<String, Value>) -> Result<()> {
        if let Some(name) = &self.process
            && process.get("kind").and_then(Value::as_str) != Some(entry(name)?.name)
        {
            *process = cld_sgm::train::config::process(name);
        }
        let known = entry(process.get("kind").and_then(Value::as_str).unwrap_or_default())?;
        let gamma = known.gamma.unwrap_or("gamma");
        for (key, name, x) in [("mass", "mass", self.mass), ("Gamma", "Gamma", self.friction), (gamma, "gamma", self.gamma)] {
            if let Some(x) = x {
                process.insert(key.into(), number(name, x)?);
            }
        }
        for p in &self.params {
            let (key, value) = p.split_once('=').ok_or_else(|| bad("param", p, "NAME=VALUE"))?;
            process.insert(key.into(), value.parse::<f64>().map_or_else(|_| Ok(value.into()), |x| number(key, x))?);
        }
        if let Some(text) = &self.schedule {
            process.insert("schedule".into(), parse_json(text, "--schedule")?);
        } else if let Some(b) = self.beta {
            process.insert("schedule".into(), json!({"kind": "constant", "b": number("beta", b)?}));
        }
        Ok(())
    }

    /// The diffusion to sample from, and a line about it. What is not given is the paper's: cld, M = 1/4, gamma = 0.04, beta = 4.
    pub fn diffusion(&self) -> Result<(Diffusion, String)> {
        let name = self.process.as_deref().unwrap_or("cld");
        let known = entry(name)?;
        let mass = self.mass.or_else(|| (name == "cld").then_some(0.25));
        let given = self.params.iter().any(|p| p.split_once('=').is_some_and(|(key, _)| Some(key) == known.gamma));
        let gamma = self.gamma.or_else(|| (known.gamma.is_some() && !given).then_some(0.04));
        let config = self.with(name, known.gamma.map(|_| "hsm"), mass, gamma)?;
        let diffusion = Diffusion::new(config.process()?, config.schedule, config.gamma.unwrap_or(0.0))?;
        Ok((diffusion, config.describe()))
    }
}

/// A flag's number as JSON, which knows no NaN.
fn number(name: &str, x: f64) -> Result<Value> {
    if x.is_finite() { Ok(x.into()) } else { Err(bad(name, x, "a finite number")) }
}

fn bad(name: &str, value: impl std::fmt::Display, allowed: &'static str) -> Error {
    Error::Parameter { name: name.to_string().into(), value: value.to_string(), allowed: allowed.into() }
}
