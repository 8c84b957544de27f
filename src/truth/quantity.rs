//! What a quantity is: one row says everything about it. The rows themselves are in the families'
//! files.

use super::cell::Cell;
use super::model::{Model, Row};
use super::reader::{CHANNELS, Reader};
use crate::error::Result;

/// A quantity that can be judged.
#[derive(Clone, Copy)]
pub struct Quantity {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The arrays it needs.
    pub inputs: &'static [&'static str],
    /// Further arrays that it reads where they are given.
    pub optional: &'static [&'static str],
    /// Settings that stand beside the inputs, of `SETTINGS`.
    pub settings: &'static [&'static str],
    /// The array whose rows are its rows.
    pub leads: &'static str,
    /// Its outputs, as `cld vectors` writes them.
    pub outputs: Outputs,
    /// The outputs' shapes, in words, and further names that are accepted.
    pub shape: &'static str,
    /// The suites of vectors that it is in, of [`SUITES`].
    pub suites: &'static [&'static str],
    /// The mistakes that its vectors are there to catch.
    pub catches: &'static str,
    /// The quantities that it is made from.
    pub made_from: &'static [&'static str],
    /// The processes that have it.
    pub processes: Processes,
    /// Which law it is of.
    pub law: LawOf,
    /// What its vectors are drawn from.
    pub draws: Draws,
    /// The function that computes it.
    pub(super) truth: Truth,
}

/// Names of outputs.
#[derive(Clone, Copy)]
pub enum Outputs {
    /// These.
    Named(&'static [&'static str]),
    /// One for each channel, by its letter.
    Channels,
    /// One for each pair of channels, by their letters: the upper triangle of a symmetric matrix.
    Pairs,
}

impl Outputs {
    /// The names for `k` channels.
    pub fn names(&self, k: usize) -> Vec<String> {
        match self {
            Outputs::Named(names) => names.iter().map(|n| (*n).to_string()).collect(),
            Outputs::Channels => CHANNELS[..k].iter().map(|c| (*c).to_string()).collect(),
            Outputs::Pairs => (0..k)
                .flat_map(|i| (i..k).map(move |j| format!("{}{}", CHANNELS[i], CHANNELS[j])))
                .collect(),
        }
    }
}

/// Which processes have a quantity: in words, and as a condition.
#[derive(Clone, Copy)]
pub struct Processes {
    /// In words that an error message can end with.
    pub words: &'static str,
    pub(super) fit: fn(&Model) -> bool,
}

/// Every process.
pub(super) const ANY: Processes = Processes {
    words: "any process",
    fit: |_| true,
};

/// Which of the laws of u_t a quantity is of: that decides which objectives get vectors of it.
#[derive(Clone, Copy, PartialEq)]
pub enum LawOf {
    /// None, or one that no objective and no gamma changes.
    None,
    /// None, and no process either.
    Nothing,
    /// That of the objective, DSM or HSM.
    Objective,
    /// That of the objective, and of gamma under DSM, too.
    ObjectiveAndGamma,
    /// That given x_0 alone: HSM's wherever there is a velocity.
    GivenX0,
    /// The same, by way of a mixed score, which needs gamma.
    GivenX0AndGamma,
}

/// What the vectors of a quantity are drawn from.
#[derive(Clone, Copy)]
pub struct Draws {
    /// The times.
    pub times: Times,
    /// Times are left out where the mean of x is below this: nothing but overflow would be left to
    /// check.
    pub mean_above: f64,
    /// Arrays besides the times, in the order in which they are drawn. The kernel's are drawn by
    /// their names.
    pub arrays: &'static [(&'static str, Draw)],
}

/// Times of vectors.
#[derive(Clone, Copy, PartialEq)]
pub enum Times {
    /// Decades down to 1e-12; intervals in the transition suite.
    Decades,
    /// Steps from t back to s.
    Steps,
    /// Those of these steps that do not end at 0.
    LaterSteps,
    /// The times at which these steps begin.
    StartsOfSteps,
    /// Steps so short that the rate times their length is below 1.
    ShortSteps,
    /// Steps from t to 0.
    ToZero,
    /// None.
    None,
}

/// An array of vectors.
#[derive(Clone, Copy)]
pub enum Draw {
    /// Normal, (n, K d).
    Channels,
    /// Normal, of the noised channels alone.
    Noised,
    /// Normal, of one channel: (n, d).
    One,
    /// The same, under DSM alone.
    OneUnderDsm,
    /// Normal, (2, K d): the states at which two runs begin.
    TwoRuns,
    /// Normal, the noise of two runs, with so many draws a step.
    RunNoise(usize),
    /// These numbers, in this shape.
    Fixed(&'static [usize], &'static [f64]),
}

/// One output's cells and the number of columns; `None` for an output that the quantity has not.
pub(super) type Found = Result<Option<(Vec<Cell>, usize)>>;

/// The function that computes a quantity.
#[derive(Clone, Copy)]
pub(super) enum Truth {
    /// Row by row, from the kernel at that row's time.
    Kernel(fn(&At<'_>, &str) -> Found),
    /// All rows at once.
    All(fn(&Model, &Reader<'_>, &str) -> Found),
}

/// The kernel at the time of one row.
pub(super) struct At<'a> {
    pub model: &'a Model,
    pub row: &'a Row,
    pub read: &'a Reader<'a>,
    /// Which row.
    pub r: usize,
    pub t: f64,
    pub k: usize,
}

/// The suites of vectors, in the order in which they are written. `transition` is the kernel over
/// `[s, t]`, s > 0.
pub const SUITES: &[&str] = &[
    "schedule",
    "grid",
    "process",
    "kernel",
    "transition",
    "perturb",
    "density",
    "simulate",
    "conversion",
    "score",
    "loss",
    "step",
    "run",
    "likelihood",
];
