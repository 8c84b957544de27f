//! Several processes that work together: what they have to say to each other, whatever carries it.
//!
//! What is computed in shares is given to rank 0, or to all, by [`Team::collect`] and
//! [`Team::gather`]; gradients travel by [`Team::exchange`] while others are still computed. With
//! MPI: feature `mpi`.

#[cfg(feature = "mpi")]
pub mod mpi;

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

    /// Gives rank 0 what every rank has, in order of ranks; the others get nothing.
    ///
    /// # Errors
    /// A rank that is gone.
    fn collect(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Receives from ranks while `work` goes on, which posts what is sent to ranks, and ends when
    /// all has come and gone. What one rank sends another comes in the order in which it was
    /// posted, and must be as long as it is thought.
    ///
    /// # Errors
    /// A rank that is gone.
    fn exchange<'a>(
        &self,
        receive: Vec<(usize, &'a mut [f32])>,
        work: &mut dyn FnMut(&mut dyn Post<'a>),
    ) -> Result<()>;

    /// What it has cost so far.
    fn traffic(&self) -> Traffic;
}

/// What is on its way while something else is done.
pub trait Post<'a> {
    /// Sends this to a rank.
    fn send(&mut self, to: usize, what: &'a [f32]);

    /// Moves on what is on its way: to be called now and then by who has other work.
    fn poll(&mut self);
}

/// What communication has cost a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes of numbers that it sent to others in exchanges.
    pub sent: u64,
    /// Seconds in which it did nothing else: until others came as far, and on the way.
    pub waiting: f64,
}

/// This process's number and how many there are: 0 and 1 of one that is alone.
pub fn place(team: Option<&dyn Team>) -> (usize, usize) {
    team.map_or((0, 1), |t| (t.rank(), t.size()))
}

/// The stretch of `n` things that is rank `rank`'s of `size`, of whole blocks of `block`.
pub fn share((rank, size): (usize, usize), n: usize, block: usize) -> Range<usize> {
    let end = |r: usize| n.min(n.div_ceil(block) * r / size * block);
    end(rank)..end(rank + 1)
}

/// Goes on with what a process has if every one has something. If not, the first that failed gives
/// its reason, and ends the run; the others wait for that.
///
/// # Errors
/// The process's own; a rank that is gone.
pub fn agreed<T>(team: &dyn Team, own: Result<T>) -> Result<T> {
    let failed = team.gather(&[f64::from(u8::from(own.is_err()))])?;
    let Some(first) = failed.iter().position(|f| f[..] != [0.0]) else {
        return own;
    };
    if first != team.rank() {
        // answered by nobody, unless a rank is gone
        team.gather(&[])?;
        return Err(Error::Io {
            path: format!("process {first}"),
            problem: "has failed".into(),
        });
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(usize, usize);

    impl Team for Number {
        fn rank(&self) -> usize {
            self.0
        }

        fn size(&self) -> usize {
            self.1
        }

        fn broadcast(&self, _: &mut Vec<u8>) -> Result<()> {
            Ok(())
        }

        /// Rank 1 has failed.
        fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
            let of = |r: usize| match own {
                [] => vec![],
                _ => vec![f64::from(u8::from(r == 1))],
            };
            Ok((0..self.1).map(of).collect())
        }

        fn collect(&self, _: &[u8]) -> Result<Vec<Vec<u8>>> {
            Ok(vec![])
        }

        fn exchange<'a>(
            &self,
            _: Vec<(usize, &'a mut [f32])>,
            _: &mut dyn FnMut(&mut dyn Post<'a>),
        ) -> Result<()> {
            Ok(())
        }

        fn traffic(&self) -> Traffic {
            Traffic::default()
        }
    }

    /// Catches things that nobody has or two have, and a block that is cut.
    #[test]
    fn shares_are_all_there_is() {
        for (n, block) in [(0, 1), (1, 1), (7, 1), (8, 3), (100, 7), (3, 10)] {
            assert_eq!(share(place(None), n, block), 0..n);
            for size in 1..6 {
                let all: Vec<_> = (0..size)
                    .map(|r| share(place(Some(&Number(r, size))), n, block))
                    .collect();
                assert_eq!((all[0].start, all[size - 1].end), (0, n));
                for two in all.windows(2) {
                    assert_eq!(two[0].end, two[1].start);
                    let end = two[0].end;
                    assert!(end == n || end % block == 0, "{n} in {block}: {all:?}");
                }
            }
        }
    }

    /// Catches a process that goes on with its own result where another has none, and one that
    /// gives another's reason for its own.
    #[test]
    fn nobody_goes_on_where_one_has_failed() {
        let wrong = || Error::parameter("n", 0, "1");
        let team = |r| Number(r, 3);
        assert_eq!(
            agreed::<()>(&team(1), Err(wrong())).unwrap_err(),
            wrong(),
            "the one that failed"
        );
        let other = agreed(&team(0), Ok(7)).unwrap_err();
        assert!(other.to_string().contains("process 1"), "{other}");
        assert_eq!(agreed(&Number(0, 1), Ok(7)), Ok(7));
    }
}
