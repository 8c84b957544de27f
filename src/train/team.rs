//! Training by several processes at once, bit for bit as by one.
//!
//! The parts of a batch ([`PARTS`](super::step::PARTS)) are dealt out in turn: rank `r` of `n` has parts
//! `r, r + n, ...`. Then every rank owns a stretch of the parameters: it is sent that stretch of every
//! part's gradient, sums them *in the order of the parts* (as one process does; the order of an
//! all-reduce is open), and sends the sum to all. The weights are everywhere; every rank moves all
//! of them by the same numbers. So the bits do not depend on the number of ranks, nor on how many
//! threads each has.
//!
//! For P parameters and B parts a rank sends and receives about `4 P (B (n - 1)/n^2 + (n - 1)/n)`
//! bytes a step.
//!
//! Rank 0 leads: it has the folder, the checkpoints and the terminal, and says before each step
//! whether there is one. The others [`follow`].

use super::config::Config;
use super::step::{State, Trainer};
use crate::error::{Error, Result};
use std::ops::Range;

/// Processes that work together. All methods are called by all ranks in the same order.
pub trait Team {
    /// This one's number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Gives all others what rank 0 has.
    ///
    /// # Errors
    /// A rank that is gone.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()>;

    /// What every rank has, in order of ranks; as many numbers of each.
    ///
    /// # Errors
    /// A rank that is gone.
    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>>;

    /// Sends to ranks and receives from ranks, all at once. What one rank sends another comes in
    /// the order in which it was sent, and must be as long as it is thought.
    ///
    /// # Errors
    /// A rank that is gone.
    fn exchange(&self, send: &[(usize, &[f32])], receive: &mut [(usize, &mut [f32])])
    -> Result<()>;
}

/// The rank that computes a part.
pub(super) fn owner(part: usize, ranks: usize) -> usize {
    part % ranks
}

/// Stretches of `len` parameters, one for each rank: of whole blocks of `block`, so that sums over
/// blocks are as of one process.
pub(super) fn stretches(len: usize, block: usize, ranks: usize) -> Vec<Range<usize>> {
    let blocks = len.div_ceil(block);
    let end = |r: usize| len.min(blocks * r / ranks * block);
    (0..ranks).map(|r| end(r)..end(r + 1)).collect()
}

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
