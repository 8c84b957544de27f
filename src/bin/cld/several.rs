//! One command by all processes that `mpirun` started (feature `mpi`).

use super::{Outcome, Result};
use cld_sgm::Error;
use cld_sgm::team::Team;

/// Does the work alone, or as one of several processes: then all of them get here. What fails in one
/// of them ends all, with its sentence.
#[cfg(feature = "mpi")]
pub fn together(work: impl FnOnce(Option<Box<dyn Team>>) -> Result<Outcome>) -> Result<Outcome> {
    use cld_sgm::team::mpi::{World, start};
    if super::team().is_none() {
        return work(None);
    }
    let (_universe, world) = start()?;
    // rank 0 has the terminal
    if world.rank() > 0 {
        super::show::set_quiet(true);
    }
    let done = work(Some(Box::new(world)));
    if let Err(e) = done {
        // the others may be waiting: they are ended with this one
        super::end(Err(e));
        World::abort();
    }
    done
}

#[cfg(not(feature = "mpi"))]
pub fn together(work: impl FnOnce(Option<Box<dyn Team>>) -> Result<Outcome>) -> Result<Outcome> {
    work(None)
}

/// What rank 0 checks for all: the others wait until it has.
pub fn first<T>(team: Option<&dyn Team>, check: impl Fn() -> Result<T>) -> Result<T> {
    let Some(team) = team else { return check() };
    if team.rank() == 0 {
        let checked = check()?;
        team.broadcast(&mut vec![1])?;
        return Ok(checked);
    }
    team.broadcast(&mut vec![])?;
    check()
}

/// Refuses what is not shared out among processes.
pub fn refuse(team: Option<&dyn Team>, given: &[(&'static str, bool)]) -> Result<()> {
    match given.iter().find(|(_, given)| *given) {
        Some(&(name, _)) if team.is_some() => Err(Error::parameter(
            name,
            "given",
            "absent where several processes work together",
        )),
        _ => Ok(()),
    }
}
