//! A [`Team`] of MPI processes (feature `mpi`).
//!
//! A process that is gone ends them all: MPI's own handler kills what is left, and `mpirun` says so.
//! Checkpoints are whole at every moment, so the last one is what the run is taken up from.

use super::{Post, Team, Traffic};
use crate::error::{Error, Result};
use mpi::environment::Universe;
use mpi::request::{LocalScope, Request};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};
use std::cell::Cell;
use std::time::Instant;

/// Starts MPI, which ends when the universe is dropped: after everything that communicates.
///
/// # Errors
/// It was started before.
pub fn start() -> Result<(Universe, World)> {
    let universe = mpi::initialize().ok_or_else(|| Error::Io {
        path: "MPI".into(),
        problem: "was started before".into(),
    })?;
    let world = World {
        world: universe.world(),
        traffic: Cell::default(),
    };
    Ok((universe, world))
}

/// All processes that `mpirun` started.
pub struct World {
    world: SimpleCommunicator,
    traffic: Cell<Traffic>,
}

impl World {
    /// Ends all processes, with exit code 2: the others may be waiting for this one.
    pub fn abort() -> ! {
        SimpleCommunicator::world().abort(2)
    }

    /// Does what takes the others, and counts the time.
    fn waiting<T>(&self, what: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = what();
        let mut traffic = self.traffic.get();
        traffic.waiting += start.elapsed().as_secs_f64();
        self.traffic.set(traffic);
        done
    }
}

/// Most bytes of a message: MPI counts in `int`.
const PIECE: usize = 1 << 30;

fn rank(r: usize) -> i32 {
    i32::try_from(r).unwrap_or(i32::MAX)
}

/// One message on its way: which way it goes is in the request.
type OnItsWay<'a, 's> = Request<'a, [f32], &'s LocalScope<'a>>;

/// All that is on its way.
struct Sacks<'a, 's> {
    world: &'s SimpleCommunicator,
    scope: &'s LocalScope<'a>,
    on_their_way: Vec<OnItsWay<'a, 's>>,
    sent: u64,
}

impl<'a> Post<'a> for Sacks<'a, '_> {
    fn send(&mut self, to: usize, what: &'a [f32]) {
        let target = self.world.process_at_rank(rank(to));
        let request = target.immediate_send(self.scope, what);
        self.on_their_way.push(request);
        self.sent += size_of_val(what) as u64;
    }

    fn poll(&mut self) {
        // each that is tested moves all on
        let all = std::mem::take(&mut self.on_their_way);
        let left = all.into_iter().filter_map(|r| r.test().err());
        self.on_their_way = left.collect();
    }
}

impl Team for World {
    fn rank(&self) -> usize {
        self.world.rank().unsigned_abs() as usize
    }

    fn size(&self) -> usize {
        self.world.size().unsigned_abs() as usize
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()> {
        self.waiting(|| {
            let root = self.world.process_at_rank(0);
            let mut length = bytes.len() as u64;
            root.broadcast_into(&mut length);
            bytes.resize(length as usize, 0);
            root.broadcast_into(&mut bytes[..]);
        });
        Ok(())
    }

    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
        let mut all = vec![0.0; own.len() * self.size()];
        self.waiting(|| match own {
            // the library has no word for nothing from each
            [] => self.world.barrier(),
            _ => self.world.all_gather_into(own, &mut all[..]),
        });
        Ok(all.chunks(own.len().max(1)).map(<[f64]>::to_vec).collect())
    }

    fn collect(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.waiting(|| {
            if self.rank() > 0 {
                let root = self.world.process_at_rank(0);
                root.send(&(own.len() as u64));
                own.chunks(PIECE).for_each(|piece| root.send(piece));
                return Ok(vec![]);
            }
            let from = |r| {
                let source = self.world.process_at_rank(rank(r));
                let length: u64 = source.receive().0;
                let mut bytes = vec![0; length as usize];
                let pieces = bytes.chunks_mut(PIECE);
                pieces.for_each(|piece| _ = source.receive_into(piece));
                bytes
            };
            let others = (1..self.size()).map(from);
            Ok(std::iter::once(own.to_vec()).chain(others).collect())
        })
    }

    fn exchange<'a>(
        &self,
        receive: Vec<(usize, &'a mut [f32])>,
        work: &mut dyn FnMut(&mut dyn Post<'a>),
    ) -> Result<()> {
        let sent = mpi::request::scope(|scope| {
            let coming = receive.into_iter().map(|(from, to)| {
                let source = self.world.process_at_rank(rank(from));
                source.immediate_receive_into(scope, to)
            });
            let mut sacks = Sacks {
                world: &self.world,
                scope,
                on_their_way: coming.collect(),
                sent: 0,
            };
            work(&mut sacks);
            let Sacks {
                on_their_way, sent, ..
            } = sacks;
            self.waiting(|| on_their_way.into_iter().for_each(|r| _ = r.wait()));
            sent
        });
        let mut traffic = self.traffic.get();
        traffic.sent += sent;
        self.traffic.set(traffic);
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.traffic.get()
    }
}
