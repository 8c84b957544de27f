//! Several processes that work together; training by them, bit for bit as by one.
//!
//! The parts of a batch are dealt out in turn: rank `r` of `n` has parts `r, r + n, ...`. Then every
//! rank owns a stretch of the parameters: it is sent that stretch of every part's gradient, sums them *in the order of the parts* (as one process does; the order of an
//! all-reduce is open), and sends the sum to all. The weights are everywhere; every rank moves all
//! of them by the same numbers. So the bits do not depend on the number of ranks, nor on how many
//! threads each has.
//!
//! For P parameters and B parts a rank sends and receives about `4 P (B (n - 1)/n^2 + (n - 1)/n)`
//! bytes a step.
//!
//! Rank 0 leads: it has the folder, the checkpoints and the terminal, and says before each step
//! whether there is one. The others follow ([`super::follow()`]).

use crate::error::Result;
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
