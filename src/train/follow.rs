//! Processes that work for rank 0 of a [`Team`], and what it tells them: the configuration and the
//! state once, and before each step whether there is one.

use super::config::Config;
use super::step::{State, Trainer};
use crate::error::{Error, Result};
use crate::team::Team;

/// What rank 0 says before each step.
const STEP: u8 = 1;
const END: u8 = 0;

/// Says whether another step comes.
pub(super) fn say(team: &dyn Team, step: bool) -> Result<()> {
    team.broadcast(&mut vec![if step { STEP } else { END }])
}

fn damaged(what: &str) -> Error {
    Error::Format {
        file: "what rank 0 sent".into(),
        place: what.into(),
        problem: "cannot be read: another version of the program?".into(),
    }
}

/// Sends the configuration and where training stands.
pub(super) fn send(team: &dyn Team, config: &Config, state: &State) -> Result<()> {
    team.broadcast(&mut config.to_toml()?.into_bytes())?;
    team.broadcast(&mut state.step.to_le_bytes().to_vec())?;
    for v in [&state.p, &state.m, &state.v, &state.ema] {
        team.broadcast(&mut v.iter().flat_map(|x| x.to_le_bytes()).collect())?;
    }
    Ok(())
}

fn received(team: &dyn Team) -> Result<(Config, State)> {
    let next = || {
        let mut bytes = vec![];
        team.broadcast(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8(next()?).map_err(|_| damaged("configuration"))?;
    let config = Config::from_toml(&text, "what rank 0 sent")?;
    let step = next()?.try_into().map_err(|_| damaged("step"))?;
    let numbers = || {
        let bytes = next()?;
        let (four, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(damaged("weights"));
        }
        Ok(four.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    let state = State {
        step: u64::from_le_bytes(step),
        p: numbers()?,
        m: numbers()?,
        v: numbers()?,
        ema: numbers()?,
    };
    Ok((config, state))
}

/// Works for rank 0 until it says that there is no more.
///
/// # Errors
/// Data that this process cannot load, or that differ from rank 0's; a loss that is not finite.
pub fn follow(team: Box<dyn Team>, threads: usize) -> Result<()> {
    let (config, state) = received(&*team)?;
    let data = config.load()?;
    let mut trainer = Trainer::new(config.plan(data.source)?, state, threads)?.with(team)?;
    loop {
        let mut word = vec![];
        match trainer.team() {
            Some(team) => team.broadcast(&mut word)?,
            None => return Ok(()),
        }
        if word != [STEP] {
            return Ok(());
        }
        trainer.step()?;
    }
}
