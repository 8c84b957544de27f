//! The parts of a batch, by threads and by processes: each with a gradient of its own, summed in
//! order, bit for bit the same for any number of both.
//!
//! Of `n` processes rank `r` has parts `r, r + n, ...`. Every rank owns a stretch of the parameters:
//! it is sent that stretch of every part's gradient, as soon as the part is finished and while the
//! next ones are computed; sums them *in the order of the parts* (as one process does; the order of
//! an all-reduce is open), and sends the sum to all. The weights are everywhere; every rank moves
//! all of them by the same numbers.
//!
//! For P parameters and B parts a rank sends and receives about `4 P (B (n - 1)/n^2 + (n - 1)/n)`
//! bytes a step; of the first term all but the last part's share has time to travel.

use crate::error::{Error, Result};
use crate::team::{Post, Team, place, share as stretch};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Numbers of a stretch of parameters that one thread sums and moves at a time.
pub(super) const STRETCH: usize = 1 << 14;

/// How often a thread that waits for the others looks after what is on its way.
const LOOK: Duration = Duration::from_micros(200);

/// A part of a batch: its gradient and the sum of its losses.
pub(super) struct Part {
    pub rows: Range<usize>,
    pub gradient: Vec<f32>,
    pub loss: Result<f64>,
}

/// The rank that computes a part.
pub(super) fn owner(part: usize, ranks: usize) -> usize {
    part % ranks
}

/// The stretches of `len` parameters of all ranks: of whole blocks, so that sums over blocks are as
/// of one process.
fn stretches(team: &dyn Team, len: usize) -> Vec<Range<usize>> {
    let of = |r: usize| stretch((r, team.size()), len, STRETCH);
    (0..team.size()).map(of).collect()
}

/// Runs `work` on every job: each thread takes the next one when it is free. The order of the jobs
/// must not matter.
pub(super) fn share<J: Send, W: Send>(
    workers: &mut [W],
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(&mut W, J) + Sync,
) {
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().ok().and_then(|mut j| j.next());
    let run = |w: &mut W| {
        while let Some(job) = next() {
            work(w, job);
        }
    };
    // this thread works too: it begins when the others have been sent off
    let Some((here, others)) = workers.split_first_mut() else {
        return;
    };
    std::thread::scope(|s| {
        others.iter_mut().for_each(|w| drop(s.spawn(|| run(w))));
        run(here);
    });
}

/// A slice cut at ends of ranges that are in order: the ranges' parts.
pub(super) fn cut<T>(
    mut all: &mut [T],
    ranges: impl Iterator<Item = Range<usize>>,
) -> Vec<&mut [T]> {
    let mut before = 0;
    ranges
        .map(|r| {
            let (_, rest) = std::mem::take(&mut all).split_at_mut(r.start - before);
            let (part, rest) = rest.split_at_mut(r.len());
            (all, before) = (rest, r.end);
            part
        })
        .collect()
}

/// Computes a part: its loss, and its gradient in place; the last argument is to be called now and
/// then.
pub(super) trait Compute<W>: Fn(&mut W, &mut Part, &mut dyn FnMut()) + Sync {}

impl<W, F: Fn(&mut W, &mut Part, &mut dyn FnMut()) + Sync> Compute<W> for F {}

/// Computes the parts of this process, by all threads, and gives every process its stretch of all
/// parts' gradients, and the losses. Which stretch this one's is.
///
/// # Errors
/// A part's own, or that there is one elsewhere: if one has no loss, none goes on.
pub(super) fn gradients<W: Send>(
    team: Option<&dyn Team>,
    workers: &mut [W],
    parts: &mut [Part],
    step: u64,
    compute: impl Compute<W>,
) -> Result<Range<usize>> {
    let len = parts.first().map_or(0, |p| p.gradient.len());
    let Some(team) = team else {
        share(workers, parts.iter_mut(), |w, part| {
            compute(w, part, &mut || ())
        });
        return Ok(0..len);
    };
    let all = stretches(team, len);
    let me = team.rank();
    let (own, others): (Vec<_>, Vec<_>) = parts
        .iter_mut()
        .enumerate()
        .partition(|(i, _)| owner(*i, team.size()) == me);
    let receive = others
        .into_iter()
        .map(|(i, p)| (owner(i, team.size()), &mut p.gradient[all[me].clone()]))
        .filter(|(_, s)| !s.is_empty())
        .collect();
    let mut own = Some(own.into_iter().map(|(_, p)| p).collect());
    team.exchange(receive, &mut |post| {
        let own = own.take().unwrap_or_default();
        computed(
            workers,
            own,
            &compute,
            &mut |post, part| {
                let others = all.iter().enumerate();
                others
                    .filter(|(r, s)| *r != me && !s.is_empty())
                    .for_each(|(r, s)| post.send(r, &part.gradient[s.clone()]));
            },
            post,
        );
    })?;
    losses(team, parts, step)?;
    Ok(all[me].clone())
}

/// Computes parts by all threads; `finished` is told of each, in their order, by this thread, which
/// moves on what is on its way between layers.
fn computed<'p, W: Send>(
    workers: &mut [W],
    parts: Vec<&'p mut Part>,
    compute: &impl Compute<W>,
    finished: &mut dyn FnMut(&mut dyn Post<'p>, &'p Part),
    post: &mut dyn Post<'p>,
) {
    let count = parts.len();
    let jobs = Mutex::new(parts.into_iter().enumerate());
    let next = || jobs.lock().ok().and_then(|mut j| j.next());
    let (done, coming) = channel::<(usize, &'p Part)>();
    let mut kept: Vec<Option<&'p Part>> = vec![None; count];
    let mut told = 0;
    let mut tell = |post: &mut dyn Post<'p>, (i, part): (usize, &'p Part)| {
        kept[i] = Some(part);
        while let Some(part) = kept.get(told).copied().flatten() {
            finished(post, part);
            told += 1;
        }
    };
    let Some((here, others)) = workers.split_first_mut() else {
        return;
    };
    std::thread::scope(|s| {
        for w in others {
            let (next, done) = (&next, done.clone());
            s.spawn(move || {
                while let Some((i, part)) = next() {
                    compute(w, part, &mut || ());
                    let _ = done.send((i, part));
                }
            });
        }
        drop(done);
        while let Some((i, part)) = next() {
            compute(here, part, &mut || post.poll());
            tell(post, (i, part));
            coming.try_iter().for_each(|d| tell(post, d));
        }
        loop {
            match coming.recv_timeout(LOOK) {
                Ok(d) => tell(post, d),
                Err(RecvTimeoutError::Timeout) => post.poll(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
}

/// Gives every process the losses of all parts. If one has none, none goes on: each says its own
/// reason, or that there is one elsewhere.
fn losses(team: &dyn Team, parts: &mut [Part], step: u64) -> Result<()> {
    let own: Vec<f64> = parts
        .iter()
        .enumerate()
        .map(|(i, p)| match &p.loss {
            Ok(loss) if owner(i, team.size()) == team.rank() => *loss,
            _ => f64::NAN,
        })
        .collect();
    let all = team.gather(&own)?;
    for (i, part) in parts.iter_mut().enumerate() {
        let rank = owner(i, team.size());
        if rank != team.rank() {
            part.loss = Ok(all[rank][i]);
        }
    }
    let failed = parts.iter().find_map(|p| p.loss.as_ref().err().cloned());
    match failed {
        Some(e) => Err(e),
        None if (0..parts.len()).all(|i| all[owner(i, team.size())][i].is_finite()) => Ok(()),
        None => Err(Error::NonFinite {
            step: step as usize + 1,
            t: f64::NAN,
        }),
    }
}

/// Gives every process the sums of the others' stretches.
pub(super) fn sums(team: &dyn Team, sum: &mut [f32]) -> Result<()> {
    let all = stretches(team, sum.len());
    let (me, size) = place(Some(team));
    let own = sum[all[me].clone()].to_vec();
    let receive = cut(sum, all.into_iter())
        .into_iter()
        .enumerate()
        .filter(|(r, s)| *r != me && !s.is_empty())
        .collect();
    team.exchange(receive, &mut |post| {
        let others = (0..size).filter(|r| *r != me && !own.is_empty());
        others.for_each(|r| post.send(r, &own));
    })
}
