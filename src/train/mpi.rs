//! A [`Team`] of MPI processes (feature `mpi`).
//!
//! A process that is gone ends them all: MPI's own handler kills what is left, and `mpirun` says so.
//! Checkpoints are whole at every moment, so the last one is what the run is taken up from.

use super::team::Team;
use crate::error::{Error, Result};
use mpi::environment::Universe;
use mpi::request::WaitGuard;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};

/// Starts MPI, which ends when the universe is dropped: after everything that communicates.
///
/// # Errors
/// It was started before.
pub fn start() -> Result<(Universe, World)> {
    let universe = mpi::initialize().ok_or_else(|| Error::Io {
        path: "MPI".into(),
        problem: "was started before".into(),
    })?;
    let world = World(universe.world());
    Ok((universe, world))
}

/// All processes that `mpirun` started.
pub struct World(SimpleCommunicator);

impl World {
    /// Ends all processes, with exit code 2: the others may be waiting for this one.
    pub fn abort() -> ! {
        SimpleCommunicator::world().abort(2)
    }
}

fn rank(r: usize) -> i32 {
    i32::try_from(r).unwrap_or(i32::MAX)
}

impl Team for World {
    fn rank(&self) -> usize {
        self.0.rank().unsigned_abs() as usize
    }

    fn size(&self) -> usize {
        self.0.size().unsigned_abs() as usize
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let root = self.0.process_at_rank(0);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        root.broadcast_into(&mut bytes[..]);
        Ok(())
    }

    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
        let mut all = vec![0.0; own.len() * self.size()];
        self.0.all_gather_into(own, &mut all[..]);
        Ok(all.chunks(own.len().max(1)).map(<[f64]>::to_vec).collect())
    }

    fn collect(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        if self.rank() > 0 {
            self.0.process_at_rank(0).send(own);
            return Ok(vec![]);
        }
        let others = (1..self.size()).map(|r| self.0.process_at_rank(rank(r)).receive_vec().0);
        Ok(std::iter::once(own.to_vec()).chain(others).collect())
    }

    fn exchange(
        &self,
        send: &[(usize, &[f32])],
        receive: &mut [(usize, &mut [f32])],
    ) -> Result<()> {
        mpi::request::scope(|scope| {
            let coming: Vec<WaitGuard<'_, _, _>> = receive
                .iter_mut()
                .map(|(from, to)| {
                    let source = self.0.process_at_rank(rank(*from));
                    WaitGuard::from(source.immediate_receive_into(scope, &mut **to))
                })
                .collect();
            let going: Vec<WaitGuard<'_, _, _>> = send
                .iter()
                .map(|(to, what)| {
                    let target = self.0.process_at_rank(rank(*to));
                    WaitGuard::from(target.immediate_send(scope, *what))
                })
                .collect();
            // dropped, they have waited
            drop((coming, going));
        });
        Ok(())
    }
}
