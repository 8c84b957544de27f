//! The mistakes that are known: one row each.
//!
//! A row says what is wrong in a sentence, what to do, and how the numbers come about: by another
//! [`Reading`] of the formulas (perhaps with a value that is found from the numbers), by another
//! arrangement of the answered array, by arithmetic that loses digits, or by a pattern of errors
//! over the rows. [`super::diagnose`] holds each against the answers. To add a mistake, add a row
//! (and, where the truth side cannot compute it yet, a field of [`Reading`]).
//!
//! [`Reading`]: crate::truth::reading::Reading

use crate::kernel::Objective;
use crate::process::{Chain, Value};
use crate::schedule::Schedule;
use crate::truth::config::Config;
use crate::truth::predict::Model;
use crate::truth::reading::{Factor, Half, HalfRate, Held, SqrtDt, Steps};

/// A mistake that is known.
#[non_exhaustive]
pub struct Mistake {
    /// Short name, stable across versions.
    pub id: &'static str,
    /// What is wrong.
    pub sentence: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// How the numbers come about.
    pub(super) kind: Kind,
}

/// Changes a model, or says that the mistake cannot be made there (`None`).
pub(super) type Change = fn(&mut Model, &Config) -> Option<()>;

/// One way of making a mistake.
pub(super) struct Variant {
    /// In words, with `{mass}` and the like filled in; empty for the row's sentence.
    pub words: &'static str,
    /// A value to report.
    pub value: Option<f64>,
    /// The change.
    pub change: Change,
}

/// How a mistake's numbers come about.
pub(super) enum Kind {
    /// By other readings of the formulas.
    Reading(&'static [Variant]),
    /// The same with a value to be found: where to look for it, and the change.
    Fitted {
        /// The value with which tests make the mistake.
        planted: f64,
        /// In words, with `{value}` filled in.
        words: &'static str,
        /// From where to where, for this quantity.
        range: fn(&str, &Config) -> Option<(f64, f64)>,
        /// The change.
        change: fn(&mut Model, &Config, f64) -> Option<()>,
    },
    /// By another arrangement of the answered numbers.
    Arranged(&'static [(Arrangement, &'static str)]),
    /// By the arithmetic.
    Arithmetic(Arithmetic),
    /// Seen from the errors alone, where nothing else fits.
    Pattern(Pattern),
}

/// Another order of the numbers of an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arrangement {
    /// Last channel first; of the inputs, too.
    Reversed { inputs: bool },
    /// x1 v1 x2 v2 for x1 x2 v1 v2; of the inputs, too.
    Interleaved { inputs: bool },
    /// Matrices transposed.
    Transposed,
    /// The whole array transposed.
    Columnwise,
    /// Rows moved by this many.
    Shifted(i32),
}

/// Arithmetic that loses digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arithmetic {
    /// Rounded to bfloat16 or float16.
    Half,
    /// Intermediates below the smallest normal number of the array's type.
    Underflow,
    /// Differences of nearly equal numbers as t -> 0.
    Cancellation,
    /// Rounded to float32.
    Single,
    /// Both.
    SingleCancellation,
    /// Growing exponentials multiplied with decaying ones.
    Late,
    /// Both: early cancellation and late, in one array.
    BothEnds,
    /// A part of it in float32.
    SinglePart,
    /// Another factor R with R R^T = cov.
    AnotherFactor,
}

/// What errors look like over the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pattern {
    /// A few rows are off, between others that are right.
    DamagedRows,
    /// All are nearly right.
    Rounding,
    /// All are off by a little, up and down.
    Noise,
}

/// The id of the mistake that `epsilon_added` declares.
pub(super) const EPSILON: &str = "epsilon-added";

/// The paper's gamma, where a DSM file does not say which gamma its code would use.
const PAPER_GAMMA: f64 = 0.04;

/// DDPM's chain.
const PRODUCT: &str = "the values are those of the chain of {steps} steps whose kernel is the product of 1 - beta_i (DDPM's), where the integral of the rate belongs; both agree as the steps get shorter";

/// A Riemann sum with the same grid.
const SUM: &str = "the integral of the rate is the sum of beta_i over {steps} steps";

const SYMMETRIC: &str = "the symmetric square root stands for the Cholesky factor: right as a factor (R R^T = cov), but eps and ell belong to another one";

const fn variant(words: &'static str, change: Change) -> Variant {
    Variant {
        words,
        value: None,
        change,
    }
}

const fn row(
    id: &'static str,
    sentence: &'static str,
    remedy: &'static str,
    kind: Kind,
) -> Mistake {
    Mistake {
        id,
        sentence,
        remedy,
        kind,
    }
}

/// Numbers of intervals of which sums are tried.
const MIDPOINTS: &[Variant] = &[
    midpoints::<1>(Some(1.0)),
    midpoints::<2>(Some(2.0)),
    midpoints::<4>(Some(4.0)),
    midpoints::<5>(Some(5.0)),
    midpoints::<8>(Some(8.0)),
    midpoints::<10>(Some(10.0)),
    midpoints::<16>(Some(16.0)),
    midpoints::<20>(Some(20.0)),
    midpoints::<32>(Some(32.0)),
    midpoints::<50>(Some(50.0)),
    midpoints::<64>(Some(64.0)),
    midpoints::<100>(Some(100.0)),
    midpoints::<128>(Some(128.0)),
    midpoints::<200>(Some(200.0)),
    midpoints::<256>(Some(256.0)),
    midpoints::<500>(Some(500.0)),
    midpoints::<1000>(Some(1000.0)),
];

const fn midpoints<const N: u32>(value: Option<f64>) -> Variant {
    Variant {
        words: "the integral of the rate over [0, t] is a midpoint sum of {value} intervals",
        value,
        change: midpoint_sum::<N>,
    }
}

fn half(m: &mut Model, held: Held, brain: bool) -> Option<()> {
    m.reading.half = Some(Half { held, brain });
    Some(())
}

fn midpoint_sum<const N: u32>(m: &mut Model, c: &Config) -> Option<()> {
    // of a linear rate it is the integral itself, and of a table there is no rate
    when(c.schedule.as_linear().is_none() && c.schedule.points().is_none())?;
    m.reading.midpoints = N;
    Some(())
}

/// `Some` if the condition holds.
fn when(condition: bool) -> Option<()> {
    condition.then_some(())
}

fn hsm(c: &Config) -> bool {
    c.objective.name() == "hsm" && c.objective.gamma() > 0.0
}

fn linear(c: &Config) -> Option<(f64, f64)> {
    c.schedule.as_linear().filter(|(_, b1)| *b1 != 0.0)
}

fn kernel_like(quantity: &str) -> bool {
    quantity != "prior.log_density"
        && quantity != "schedule.rate"
        && quantity != "process.drift_diffusion"
}

/// Every mistake that is known. The order decides between hypotheses that explain equally much.
pub const MISTAKES: &[Mistake] = &[
    row(
        EPSILON,
        "a constant is added to every variance",
        "compute the variances by forms with positive terms only, or declare the constant as `epsilon_added`",
        Kind::Fitted {
            planted: 1e-4,
            words: "{value} is added to every variance{declared}",
            range: |q, _| {
                when(kernel_like(q) && !q.starts_with("schedule.")).map(|()| (1e-15, 0.1))
            },
            change: |m, _, e| {
                m.reading.epsilon = e;
                Some(())
            },
        },
    ),
    row(
        "ve-from-sigma-min",
        "VE's variance is counted from sigma_min: sigma(t)^2, where sigma(t)^2 - sigma_min^2 is that of the kernel from t = 0; the prior's is sigma_max^2",
        "nothing, if that is your convention (that of the score SDE code): it is the kernel of data with variance sigma_min^2; else subtract sigma_min^2",
        Kind::Reading(&[variant("", |m, c| {
            let min = c
                .schedule
                .params()
                .iter()
                .find(|(n, _)| *n == "sigma_min")?
                .1;
            when(c.entry.chain == Some(Chain::Smld))?;
            m.reading.start_variance = min * min;
            Some(())
        })]),
    ),
    row(
        "mass-inverted",
        "M and 1/M are swapped",
        "hand over M, the variance of the prior's velocity, not its inverse",
        Kind::Reading(&[
            variant(
                "M and 1/M are swapped: the values are those of mass {1/mass}",
                |m, c| inverted(m, c, false, false),
            ),
            variant(
                "M and 1/M are swapped: the values are those of mass {1/mass} (the initial variance gamma M was left right)",
                |m, c| inverted(m, c, false, true),
            ),
            variant(
                "M and 1/M are swapped: the values are those of mass {1/mass} (Gamma was left right)",
                |m, c| inverted(m, c, true, false),
            ),
            variant(
                "M and 1/M are swapped: the values are those of mass {1/mass} (Gamma and the initial variance gamma M were left right)",
                |m, c| inverted(m, c, true, true),
            ),
        ]),
    ),
    row(
        "velocity-for-momentum",
        "velocities stand where momenta are meant: v is M times the answered one",
        "multiply velocities by M (their variances by M^2, scores by 1/M), or choose the mass so that both are the same",
        Kind::Reading(&[
            variant("", |m, c| other_unit_of_velocity(m, c, false)),
            variant(
                "momenta stand where velocities are declared: v is the answered one over M",
                |m, c| other_unit_of_velocity(m, c, true),
            ),
        ]),
    ),
    row(
        "dsm-for-hsm",
        "these are DSM values, where HSM was asked for: the initial velocity's variance gamma M is missing",
        "add gamma M times the square of the mean's v column, or ask for dsm",
        Kind::Reading(&[
            variant("", |m, c| {
                when(hsm(c))?;
                m.gamma = 0.0;
                Some(())
            }),
            // the mixed score's S_vv is DSM's as well
            variant("", |m, c| {
                when(hsm(c))?;
                m.set_gamma(0.0);
                Some(())
            }),
        ]),
    ),
    row(
        "hsm-for-dsm",
        "these are HSM values, where DSM was asked for",
        "leave out the initial velocity's variance, or ask for hsm",
        Kind::Reading(&[variant(
            "these are HSM values (gamma = {gamma}), where DSM was asked for",
            |m, c| {
                when(c.objective.name() != "hsm" && m.channels() > 1)?;
                m.gamma = Objective::hsm(c.gamma.unwrap_or(PAPER_GAMMA)).ok()?.gamma();
                Some(())
            },
        )]),
    ),
    row(
        "gamma-not-times-mass",
        "the initial velocity has variance gamma, where it should be gamma M",
        "multiply gamma by M",
        Kind::Reading(&[variant("", |m, c| initial(m, c, |gamma, _| gamma))]),
    ),
    row(
        "initial-variance-squared",
        "the initial velocity's variance gamma M is squared, or its root is taken",
        "use gamma M as the variance: the deviation is its root",
        Kind::Reading(&[
            variant(
                "the initial velocity's variance gamma M is squared",
                |m, c| initial(m, c, |_, v| v * v),
            ),
            variant(
                "the initial velocity's deviation stands for its variance gamma M",
                |m, c| initial(m, c, |_, v| v.sqrt()),
            ),
        ]),
    ),
    row(
        "initial-variance-twice",
        "the initial velocity's variance gamma M is counted twice: drawn, and added to the kernel",
        "with HSM draw no initial velocity (v0 = 0), or with DSM do not add its variance",
        Kind::Reading(&[variant("", |m, c| initial(m, c, |_, v| 2.0 * v))]),
    ),
    row(
        "xv-sign",
        "the sign of the coupling of x and v is reversed: forward for reverse, or v for -v",
        "dx = v/M, dv = -x - (Gamma/M) v forward; the signs of both couplings change in reverse",
        Kind::Reading(&[
            variant(
                "the sign of the coupling of x and v is reversed (forward for reverse, or v for -v), in mean and covariance",
                |m, _| flipped(m, true, true),
            ),
            variant("the sign of the xv covariance is reversed", |m, _| {
                flipped(m, false, true)
            }),
            variant(
                "the sign of the coupling of x and v is reversed in the mean (or in the drift)",
                |m, _| flipped(m, true, false),
            ),
        ]),
    ),
    row(
        "other-cholesky-factor",
        "the upper Cholesky factor is used for the lower one, or the lower for the upper",
        "declare `decomposition`, or take the other factor: noise must enter by the one that the score's eps belongs to",
        Kind::Reading(&[
            variant(
                "the {other} Cholesky factor is used, where the {this} one is expected",
                |m, _| {
                    when(m.channels() > 1)?;
                    m.reading.upper = !m.reading.upper;
                    Some(())
                },
            ),
            variant(
                "the {other} Cholesky factor is used, where the {this} one is expected (ell is right)",
                |m, _| factor_alone(m, Factor::Other),
            ),
        ]),
    ),
    row(
        "ell-of-marginal",
        "ell is that of v alone, 1/sqrt(S_vv), where that of v given x belongs",
        "use sqrt(S_xx/det): the score of v given x",
        Kind::Reading(&[variant("", |m, _| {
            when(m.channels() > 1)?;
            m.reading.ell_marginal = true;
            Some(())
        })]),
    ),
    row(
        "diagonal-factor",
        "the covariance of x and v is dropped: a diagonal stands for the Cholesky factor",
        "use L with L_vx = S_xv/L_xx and L_vv = sqrt(S_vv - L_vx^2)",
        Kind::Reading(&[
            variant(
                "the covariance of x and v is dropped: the factor is the diagonal of standard deviations",
                |m, _| factor(m, Factor::Diagonal),
            ),
            variant(
                "the covariance of x and v is dropped, and variances stand for standard deviations",
                |m, _| factor(m, Factor::DiagonalVariances),
            ),
            variant(
                "the covariance of x and v is dropped: the factor is the diagonal of standard deviations (ell is right)",
                |m, _| factor_alone(m, Factor::Diagonal),
            ),
            variant(
                "the covariance of x and v is dropped, and variances stand for standard deviations (ell is right)",
                |m, _| factor_alone(m, Factor::DiagonalVariances),
            ),
        ]),
    ),
    row(
        "another-factor",
        "another factor R with R R^T = cov stands for the Cholesky factor: right as a factor, but eps and ell belong to another one",
        "use the Cholesky factor, or let score and eps go by your own: eps = -R^T score",
        Kind::Reading(&[
            variant(SYMMETRIC, |m, _| factor(m, Factor::Symmetric)),
            variant(SYMMETRIC, |m, _| factor_alone(m, Factor::Symmetric)),
        ]),
    ),
    row(
        "another-factor",
        "another factor R with R R^T = cov stands for the Cholesky factor: right as a factor, but eps and ell belong to another one",
        "use the Cholesky factor, or let score and eps go by your own: eps = -R^T score",
        Kind::Arithmetic(Arithmetic::AnotherFactor),
    ),
    row(
        "variance-for-standard-deviation",
        "variances stand where standard deviations (the Cholesky factor) belong",
        "take the root, or the Cholesky factor",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.variance_for_factor = true;
            Some(())
        })]),
    ),
    row(
        "standard-deviation-for-variance",
        "standard deviations stand where variances belong",
        "square them",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.deviation_for_variance = true;
            Some(())
        })]),
    ),
    row(
        "sigma-for-standard-deviation",
        "sigma = std/mean (the noise level of x/mean, as EDM has it) stands where the standard deviation belongs",
        "multiply by the mean, sqrt(1/(1 + sigma^2))",
        Kind::Reading(&[variant("", |m, c| {
            when(m.channels() == 1 && c.entry.chain != Some(Chain::Smld))?;
            m.reading.sigma_over_mean = true;
            Some(())
        })]),
    ),
    row(
        "standard-deviation-for-sigma",
        "the standard deviation stands where sigma = std/mean (the noise level of x/mean) belongs",
        "divide by the mean's factor",
        Kind::Reading(&[variant("", |m, c| {
            when(c.entry.chain != Some(Chain::Smld))?;
            m.reading.sigma_without_mean = true;
            Some(())
        })]),
    ),
    row(
        "one-minus-t",
        "the values are those of time 1 - t: the clock runs backward",
        "t = 0 is the data, t = 1 the prior",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.one_minus_t = true;
            Some(())
        })]),
    ),
    row(
        "beta-max-as-slope",
        "b1 is taken for beta_max, where it is the slope beta_max - beta_min (or the other way round)",
        "b0 = beta_min, b1 = beta_max - beta_min, as in b(t) = b0 + b1 t",
        Kind::Reading(&[
            Variant {
                words: "the values are those of b1 = {b1-b0}: the file's b1 = {b1} is beta_max, and b1 is beta_max - beta_min",
                value: None,
                change: |m, c| slope(m, c, |b0, b1| b1 - b0),
            },
            Variant {
                words: "the values are those of b1 = {b1+b0}: your code's slope is beta_max, where it is beta_max - beta_min = {b1}",
                value: None,
                change: |m, c| slope(m, c, |b0, b1| b1 + b0),
            },
        ]),
    ),
    row(
        "integral-without-half",
        "the integral of the linear rate is without its 1/2 (b0 t + b1 t^2: the rate times t)",
        "B(t) = b0 t + b1 t^2/2",
        Kind::Reading(&[variant("", |m, c| {
            linear(c)?;
            m.reading.slope = 2.0;
            Some(())
        })]),
    ),
    row(
        "rate-times-t",
        "the rate times t stands for its integral",
        "integrate the rate from 0 to t",
        Kind::Reading(&[variant("", |m, c| {
            when(c.schedule.as_linear().is_none())?;
            m.reading.rate_times_t = true;
            Some(())
        })]),
    ),
    row(
        "discrete-steps",
        "a sum over the steps of a grid stands for the integral of the rate: DDPM's product of 1 - beta_i",
        "nothing, if the chain of steps is what you train; for the continuous process the mean's factor is exp(-B(t)/2), the variance -expm1(-B(t))",
        Kind::Reading(&[
            Variant {
                words: PRODUCT,
                value: Some(1000.0),
                change: steps::<1000, true>,
            },
            Variant {
                words: PRODUCT,
                value: Some(100.0),
                change: steps::<100, true>,
            },
            Variant {
                words: PRODUCT,
                value: Some(250.0),
                change: steps::<250, true>,
            },
            Variant {
                words: PRODUCT,
                value: Some(500.0),
                change: steps::<500, true>,
            },
            Variant {
                words: PRODUCT,
                value: Some(2000.0),
                change: steps::<2000, true>,
            },
            Variant {
                words: PRODUCT,
                value: Some(4000.0),
                change: steps::<4000, true>,
            },
            Variant {
                words: SUM,
                value: Some(1000.0),
                change: steps::<1000, false>,
            },
        ]),
    ),
    row(
        "integral-by-midpoints",
        "a midpoint sum over a few intervals of [0, t] stands for the integral of a rate that is not linear",
        "use the integral in closed form, or so many intervals that the last digit no longer moves",
        Kind::Reading(MIDPOINTS),
    ),
    row(
        "time-on-grid",
        "the step reads a table at a whole number of steps, floor(t (N - 1)) of N, and not at t",
        "nothing, if the chain of N steps is what you train; for the continuous process use t itself",
        Kind::Reading(&[variant("", |m, c| {
            when(c.entry.chain.is_some())?;
            m.reading.time_on_grid = true;
            Some(())
        })]),
    ),
    row(
        "sub-vp-exponent",
        "the exponent of sub-VP's variance is off by 2: its deviation is 1 - e^(-B), with B the whole integral of beta",
        "std = 1 - e^(-B) (1 - e^(-2B) is the factor of g^2)",
        Kind::Reading(&[
            variant(
                "sub-VP's deviation is 1 - e^(-2B), where it is 1 - e^(-B): the exponent is off by 2",
                |m, _| exponent(m, 2.0),
            ),
            variant(
                "sub-VP's deviation is 1 - e^(-B/2), where it is 1 - e^(-B): the exponent is off by 2",
                |m, _| exponent(m, 0.5),
            ),
        ]),
    ),
    row(
        "score-at-end-of-step",
        "the score is taken at the end of the step, where it belongs to the start",
        "evaluate the score at the time from which the step goes",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.score_at_end = true;
            Some(())
        })]),
    ),
    row(
        "half-kick",
        "a factor 2 is missing: half of G G^T multiplies the score",
        "the reverse SDE has all of G G^T, the probability flow half of it",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.half_kick = true;
            Some(())
        })]),
    ),
    row(
        "reverse-sign",
        "a sign of the reverse drift is wrong (it is that of the other clock, or forward for reverse)",
        "on the clock that runs backward the drift is b (-F u + G G^T s)",
        Kind::Reading(&[
            variant(
                "the reverse drift has the other clock's sign: dt < 0 is meant, where the step's length is positive",
                |m, _| signs(m, -1.0, -1.0),
            ),
            variant(
                "the sign of the forward drift is wrong in the reverse one: b F u, where -b F u belongs",
                |m, _| signs(m, -1.0, 1.0),
            ),
            variant(
                "the sign of the score is wrong in the reverse drift",
                |m, _| signs(m, 1.0, -1.0),
            ),
        ]),
    ),
    row(
        "likelihood-weight",
        "the likelihood weight is g^2, where g^2/2 belongs: the weight's convention",
        "nothing, if you train with it: a constant factor; to compare losses or bounds, halve it",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.weight = 2.0;
            Some(())
        })]),
    ),
    row(
        "loss-weighting",
        "the loss has another weighting than the one asked for",
        "with D = score + ell noise_v: likelihood g b/2 D^2, reweightedv1 g b/2 (D/ell)^2, reweightedv2 (D/ell)^2",
        Kind::Reading(&[
            variant(
                "the loss has the likelihood weighting (with ell^2)",
                |m, _| weighting(m, 0),
            ),
            variant(
                "the loss has the weighting reweightedv1 (without ell^2)",
                |m, _| weighting(m, 1),
            ),
            variant(
                "the loss has the weighting reweightedv2 (no weight)",
                |m, _| weighting(m, 2),
            ),
        ]),
    ),
    row(
        "noise-without-sqrt-dt",
        "the noise of a step is without sqrt(dt), or grows with dt",
        "multiply the noise by sqrt(dt)",
        Kind::Reading(&[
            variant("the noise of a step is without sqrt(dt)", |m, _| {
                m.reading.sqrt_dt = SqrtDt::Missing;
                Some(())
            }),
            variant(
                "the noise of a step grows with dt, where sqrt(dt) belongs",
                |m, _| {
                    m.reading.sqrt_dt = SqrtDt::Dt;
                    Some(())
                },
            ),
        ]),
    ),
    row(
        "noise-without-beta",
        "the noise of a step is without sqrt(beta)",
        "the noise of a step is sqrt(beta(t) dt) G z",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.rate_in_noise = false;
            Some(())
        })]),
    ),
    row(
        "one-noise-for-all-channels",
        "the same noise is used for every channel",
        "draw independent noise for x and v",
        Kind::Reading(&[
            variant("x's noise is used for every channel", |m, _| shared(m, 0)),
            variant("v's noise is used for every channel", |m, _| shared(m, 1)),
        ]),
    ),
    row(
        "density-without-constant",
        "the log-density is without its constant",
        "add -(K d/2) ln(2 pi) - (d/2) ln det",
        Kind::Reading(&[
            variant("the log-density is without -(K d/2) ln(2 pi)", |m, _| {
                constant(m, false, true)
            }),
            variant("the log-density is without the determinant", |m, _| {
                constant(m, true, false)
            }),
            variant(
                "the log-density is without ln(2 pi) and the determinant",
                |m, _| constant(m, false, false),
            ),
        ]),
    ),
    row(
        "prior-variance-one",
        "the velocity's stationary variance is taken as 1, where it is M",
        "the prior is x ~ N(0, 1), v ~ N(0, M)",
        Kind::Reading(&[variant("", |m, _| {
            when(m.process().mass() != 1.0)?;
            m.reading.prior_one = true;
            Some(())
        })]),
    ),
    row(
        "denoise-with-noise",
        "the denoising step adds noise",
        "the last step is the mean alone",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.denoise_noise = true;
            Some(())
        })]),
    ),
    row(
        "second-half-step",
        "the second analytic half step of SSCS has the other one's interval (it repeats the first, or should): the same only while beta is constant",
        "the halves are [t - h/2, t] and [t - h, t - h/2]",
        Kind::Reading(&[variant("", |m, _| {
            m.reading.other_half = true;
            Some(())
        })]),
    ),
    row(
        "half-step-rate",
        "SSCS's analytic half step has the rate times h/2, where the integral of the rate belongs: the same only while beta is constant",
        "integrate beta over the half step",
        Kind::Reading(&[
            variant(
                "SSCS's half steps have beta(t) h/2 for the integral of beta",
                |m, c| half_rate(m, c, HalfRate::AtStep),
            ),
            variant(
                "SSCS's half steps have beta at their own start, times h/2, for the integral of beta",
                |m, c| half_rate(m, c, HalfRate::AtHalf),
            ),
        ]),
    ),
    row(
        "channel-order",
        "the channels are in the order v, x, where x comes first",
        "put the d coordinates of x first, then those of v",
        Kind::Arranged(&[
            (
                Arrangement::Reversed { inputs: false },
                "the answer's channels are in the order v, x, where x comes first",
            ),
            (
                Arrangement::Reversed { inputs: true },
                "inputs and answer are read in the channel order v, x, where x comes first",
            ),
        ]),
    ),
    row(
        "interleaved",
        "the channels are interleaved: x1 v1 x2 v2 (shape (n, d, 2)), where all of x comes first",
        "move the channel axis before the coordinates: (n, 2, d), flattened",
        Kind::Arranged(&[
            (
                Arrangement::Interleaved { inputs: false },
                "the answer's channels are interleaved: x1 v1 x2 v2 (shape (n, d, 2)), where all of x comes first",
            ),
            (
                Arrangement::Interleaved { inputs: true },
                "inputs and answer are read interleaved: x1 v1 x2 v2 (shape (n, d, 2)), where all of x comes first",
            ),
        ]),
    ),
    row(
        "transposed",
        "the matrices are transposed",
        "rows are the channels that come out, columns those that go in",
        Kind::Arranged(&[
            (Arrangement::Transposed, ""),
            (
                Arrangement::Columnwise,
                "the array is written by columns: (columns, rows), where rows come first",
            ),
        ]),
    ),
    row(
        "rows-shifted",
        "the rows are shifted by one",
        "row i of the answer belongs to row i of the inputs",
        Kind::Arranged(&[
            (
                Arrangement::Shifted(1),
                "the rows are shifted by one: each holds what belongs to the next",
            ),
            (
                Arrangement::Shifted(-1),
                "the rows are shifted by one: each holds what belongs to the one before",
            ),
        ]),
    ),
    row(
        "beta-half",
        "beta, and its integral, are off by 2 or 1/2: the beta/2 convention (an SDE written with beta/2, or without it) was mixed up",
        "the SDE here is du = F u beta dt + G sqrt(beta) dW, with VP's F = -1/2",
        Kind::Reading(&[
            Variant {
                words: "beta is 0.5 times what the schedule says: the beta/2 convention (an SDE written with beta/2, or without it) was mixed up",
                value: Some(0.5),
                change: |m, _| rate(m, 0.5),
            },
            Variant {
                words: "beta is 2 times what the schedule says: the beta/2 convention (an SDE written with beta/2, or without it) was mixed up",
                value: Some(2.0),
                change: |m, _| rate(m, 2.0),
            },
        ]),
    ),
    row(
        "beta-factor",
        "beta, and its integral, are off by a factor",
        "compare the schedule in the file with the one in the code, and the unit of time (t in [0, 1])",
        Kind::Fitted {
            planted: 0.73,
            words: "beta, and its integral, are {value} times what the schedule says",
            range: |q, _| when(q != "prior.log_density").map(|()| (0.05, 20.5)),
            change: |m, _, x| rate(m, x),
        },
    ),
    row(
        "friction",
        "the friction is not critical, or not the one declared",
        "critical damping is Gamma = 2 sqrt(M)",
        Kind::Fitted {
            planted: 1.37,
            words: "the friction is Gamma = {value}, where {friction}",
            range: |q, c| {
                when(
                    c.entry.params.contains(&"damping")
                        && c.entry.params.contains(&"Gamma")
                        && q != "prior.log_density",
                )?;
                let critical = 2.0 * c.entry.build(&c.params).ok()?.mass().sqrt();
                Some((critical / 20.0, critical * 20.0))
            },
            change: |m, c, g| {
                let mut params = c.params.clone();
                params.0.remove("damping");
                m.replace(
                    c.in_units(c.entry.build(&params.with("Gamma", g)).ok()?)
                        .ok()?,
                );
                Some(())
            },
        },
    ),
    row(
        "initial-variance",
        "the initial velocity has another variance than gamma M",
        "compare gamma and M in the file with the code's",
        Kind::Fitted {
            planted: 0.037,
            words: "the initial velocity has variance {value}, where gamma M is {initial}",
            range: |q, c| {
                let mixed = matches!(
                    q,
                    "score.mixed" | "score.net_from_score" | "loss.per_sample"
                );
                when(kernel_like(q) && q != "schedule.integral" && (hsm(c) || mixed))?;
                let v = c.gamma.filter(|g| *g > 0.0)? * c.process().ok()?.mass();
                Some((1e-3 * v, 1e3 * v))
            },
            change: |m, _, v| {
                let mass = m.process().mass();
                m.set_gamma(v / mass);
                Some(())
            },
        },
    ),
    row(
        "epsilon-in-initial-variance",
        "a constant is on the diagonal of the initial covariance, and carried on by the mean",
        "start from the data themselves: variance 0 in x, gamma M in v",
        Kind::Fitted {
            planted: 1e-4,
            words: "{value} is on the diagonal of the initial covariance, and carried on by the mean",
            range: |q, c| {
                when(
                    kernel_like(q)
                        && !q.starts_with("schedule.")
                        && c.entry.chain != Some(Chain::Smld),
                )
                .map(|()| (1e-12, 0.1))
            },
            change: |m, _, e| {
                m.reading.initial_epsilon = e;
                Some(())
            },
        },
    ),
    row(
        "integral-by-sum",
        "a sum over steps stands for the integral of the rate",
        "B(t) = b0 t + b1 t^2/2 exactly",
        Kind::Fitted {
            planted: 0.73,
            words: "the integral of the rate is b0 t + {value} b1 t^2/2: a sum over steps for the integral",
            range: |q, c| {
                linear(c)?;
                when(kernel_like(q) && !q.starts_with("sampler.step.em")).map(|()| (0.25, 3.0))
            },
            change: |m, _, x| {
                m.reading.slope = x;
                Some(())
            },
        },
    ),
    row(
        "t-clamped",
        "times below some t are taken to be that one",
        "do not clamp t, or do not ask for earlier times",
        Kind::Fitted {
            planted: 0.02,
            words: "times below {value} are taken to be {value}",
            range: |q, _| {
                when(!q.starts_with("sampler.") && q != "prior.log_density").map(|()| (1e-7, 0.3))
            },
            change: |m, _, t| {
                m.reading.t_min = t;
                Some(())
            },
        },
    ),
    row(
        "loss-factor",
        "the loss is off by a constant factor",
        "the loss here is a sum over coordinates, not a mean, with its 1/2 in the weight",
        Kind::Fitted {
            planted: 0.73,
            words: "the loss is {value} times what it should be (a mean over coordinates for their sum, a factor 2)",
            range: |q, _| when(q == "loss.per_sample").map(|()| (1e-3, 1e3)),
            change: |m, _, x| {
                m.reading.loss = x;
                Some(())
            },
        },
    ),
    row(
        "half-precision",
        "rounded to half precision (bfloat16 or float16)",
        "compute in float32 at least, and keep it when saving",
        Kind::Arithmetic(Arithmetic::Half),
    ),
    row(
        "half-precision-part",
        "a part of it (the rate, its integral, or the time) is held in half precision (bfloat16 or float16)",
        "hold times and schedules in float32 at least: keep them out of autocast",
        Kind::Reading(&[
            variant("the rate is held in bfloat16", |m, _| {
                half(m, Held::Rate, true)
            }),
            variant("the rate is held in float16", |m, _| {
                half(m, Held::Rate, false)
            }),
            variant(
                "the rate is computed in bfloat16, from a time in bfloat16",
                |m, _| half(m, Held::RateByStep, true),
            ),
            variant(
                "the rate is computed in float16, from a time in float16",
                |m, _| half(m, Held::RateByStep, false),
            ),
            variant("the integral of the rate is held in bfloat16", |m, _| {
                half(m, Held::Integral, true)
            }),
            variant("the integral of the rate is held in float16", |m, _| {
                half(m, Held::Integral, false)
            }),
            variant("the time is held in bfloat16", |m, _| {
                half(m, Held::Time, true)
            }),
            variant("the time is held in float16", |m, _| {
                half(m, Held::Time, false)
            }),
        ]),
    ),
    row(
        "underflow",
        "an intermediate (the determinant, a variance, or a product of two) is below the smallest normal number of the array's type",
        "divide before multiplying, or work with logarithms: S_vv - S_xv^2/S_xx for det/S_xx",
        Kind::Arithmetic(Arithmetic::Underflow),
    ),
    row(
        "cancellation",
        "cancellation: the printed formulas subtract nearly equal numbers, and the digits are lost as t -> 0",
        "use forms with positive terms only (expm1, and P(3, y) as a series)",
        Kind::Arithmetic(Arithmetic::Cancellation),
    ),
    row(
        "single-precision",
        "computed in single precision (f32), though stored as f64",
        "compute in float64, or store float32 and be held to that",
        Kind::Arithmetic(Arithmetic::Single),
    ),
    row(
        "single-precision-cancellation",
        "computed in single precision (f32) with formulas that cancel: the digits are lost as t -> 0",
        "use forms with positive terms only (expm1, and P(3, y) as a series), which are right in float32, too",
        Kind::Arithmetic(Arithmetic::SingleCancellation),
    ),
    row(
        "late-cancellation",
        "cancellation at late times: growing exponentials are multiplied with decaying ones (a block matrix exponential), and the digits of what decays are lost",
        "use the closed form, or doubling from a short step, for the covariance",
        Kind::Arithmetic(Arithmetic::Late),
    ),
    row(
        "cancellation-at-both-ends",
        "cancellation at both ends: digits are lost as t -> 0, where nearly equal numbers are subtracted, and at late times, where growing exponentials are multiplied with decaying ones",
        "use the closed form with positive terms only (expm1, and P(3, y) as a series)",
        Kind::Arithmetic(Arithmetic::BothEnds),
    ),
    row(
        "single-precision-part",
        "right to single precision: some part (a network, a rate, a coefficient) was computed in f32",
        "hold coefficients and times in float64",
        Kind::Arithmetic(Arithmetic::SinglePart),
    ),
    row(
        "dt-in-single-precision",
        "the root of dt is held in float32, in a step that is float64 otherwise",
        "take the root of a float64 number: a tensor made of one number has the default type",
        Kind::Reading(&[variant("", |m, _| {
            when(m.noise_changes())?;
            m.reading.root_dt_single = true;
            Some(())
        })]),
    ),
    row(
        "damaged-rows",
        "single rows are off, between others that are right: damaged values, not a formula",
        "look at these rows: a NaN, a digit or a bit that was flipped on the way",
        Kind::Pattern(Pattern::DamagedRows),
    ),
    row(
        "rounding",
        "nearly right, but not to the last units of its type: rounding errors that add up, or grow (a matrix exponential, many steps, a constant with few digits)",
        "nothing, if that is enough; else compute the exponent exactly (an error of one unit in y is y units in e^-y)",
        Kind::Pattern(Pattern::Rounding),
    ),
    row(
        "noise",
        "right to a few digits, with errors like noise: an integrator, a table, or lower precision somewhere",
        "compare with the closed form at that point",
        Kind::Pattern(Pattern::Noise),
    ),
];

/// Another initial variance, of gamma and the right one: in the kernel under HSM, and in the mixed
/// score under DSM, too.
fn initial(m: &mut Model, c: &Config, of: fn(f64, f64) -> f64) -> Option<()> {
    let (gamma, mass) = (c.gamma.filter(|g| *g > 0.0)?, m.process().mass());
    let variance = of(gamma, gamma * mass);
    when(variance != gamma * mass)?;
    m.set_gamma(variance / mass);
    Some(())
}

fn flipped(m: &mut Model, mean: bool, cov: bool) -> Option<()> {
    when(m.channels() > 1)?;
    (m.reading.flip_mean, m.reading.flip_cov) = (mean, cov);
    Some(())
}

fn factor(m: &mut Model, f: Factor) -> Option<()> {
    when(m.channels() == 2 || m.channels() > 1 && !matches!(f, Factor::Symmetric | Factor::Other))?;
    m.reading.factor = f;
    Some(())
}

/// Another factor in code that has ell from the covariance, not from its factor.
fn factor_alone(m: &mut Model, f: Factor) -> Option<()> {
    when(m.channels() == 2)?;
    m.reading.ell_from_cov = true;
    factor(m, f)
}

fn slope(m: &mut Model, c: &Config, of: fn(f64, f64) -> f64) -> Option<()> {
    let (b0, b1) = linear(c)?;
    when(b0 != 0.0)?;
    m.set_schedule(Schedule::linear(b0, of(b0, b1)).ok()?);
    Some(())
}

fn exponent(m: &mut Model, factor: f64) -> Option<()> {
    when(m.noise_changes())?;
    m.reading.cov_rate = factor;
    Some(())
}

fn signs(m: &mut Model, drift: f64, score: f64) -> Option<()> {
    (m.reading.drift_sign, m.reading.score_sign) = (drift, score);
    Some(())
}

fn weighting(m: &mut Model, index: usize) -> Option<()> {
    m.reading.weighting = Some(index);
    Some(())
}

fn shared(m: &mut Model, channel: usize) -> Option<()> {
    when(m.channels() > channel.max(1))?;
    m.reading.one_noise = Some(channel);
    Some(())
}

fn constant(m: &mut Model, tau: bool, det: bool) -> Option<()> {
    (m.reading.density_tau, m.reading.density_det) = (tau, det);
    Some(())
}

fn steps<const N: u32, const PRODUCT: bool>(m: &mut Model, c: &Config) -> Option<()> {
    linear(c)?;
    m.reading.steps = Some(Steps {
        number: N,
        product: PRODUCT,
    });
    Some(())
}

fn half_rate(m: &mut Model, c: &Config, how: HalfRate) -> Option<()> {
    when(c.schedule.name() != "constant")?;
    m.reading.half_rate = how;
    Some(())
}

fn rate(m: &mut Model, factor: f64) -> Option<()> {
    m.reading.rate_factor = factor;
    Some(())
}

/// Velocities for momenta, or the other way round.
fn other_unit_of_velocity(m: &mut Model, c: &Config, declared: bool) -> Option<()> {
    when(
        m.channels() > 1
            && c.velocity == declared
            && c.stationary.is_empty()
            && c.process().ok()?.mass() != 1.0,
    )?;
    m.replace(
        Config {
            velocity: !c.velocity,
            ..c.clone()
        }
        .process()
        .ok()?,
    );
    Some(())
}

/// M and 1/M swapped, with the friction, or the initial variance, left right.
fn inverted(m: &mut Model, c: &Config, friction_kept: bool, initial_kept: bool) -> Option<()> {
    let own = c.entry.build(&c.params).ok()?;
    when(own.mass() != 1.0 && own.channels() == 2 && (!initial_kept || hsm(c)))?;
    let right = m.process().mass();
    m.replace(
        c.in_units((c.entry.mass_inverted)(&c.params, &*own, friction_kept)?)
            .ok()?,
    );
    // the initial variance is gamma times the process's own mass, now another one
    if initial_kept {
        m.gamma = c.objective.gamma() * right / m.process().mass();
    }
    Some(())
}

/// A row's words, filled in for a configuration.
pub(super) fn fill(words: &str, c: &Config, value: Option<f64>) -> String {
    let mass = c.entry.build(&c.params).map_or(1.0, |p| p.mass());
    let initial = c.gamma.unwrap_or(0.0) * c.process().map_or(1.0, |p| p.mass());
    let (b0, b1) = c.schedule.as_linear().unwrap_or_default();
    let number = |x: f64| {
        let (plain, exponent) = (format!("{x}"), format!("{x:e}"));
        if plain.len() <= exponent.len() {
            plain
        } else {
            exponent
        }
    };
    let declared = match value {
        Some(e) if c.epsilon_added == e => ", as declared".to_string(),
        _ if c.epsilon_added > 0.0 => format!(" (declared: {:e})", c.epsilon_added),
        _ => "; without it the values would be right".to_string(),
    };
    let friction = match c.params.0.get("Gamma") {
        Some(Value::Number(x)) => format!("{x} was declared"),
        _ => format!("critical damping is {}", 2.0 * mass.sqrt()),
    };
    let (this, other) = if c.upper {
        ("upper", "lower")
    } else {
        ("lower", "upper")
    };
    // differences of decimal numbers, as one would write them
    let sum = |x: f64| number((x * 1e12).round() / 1e12);
    let mut out = words.to_string();
    for (name, text) in [
        (
            "{value}",
            value
                .map(|x| {
                    if x < 1e-3 {
                        format!("{x:e}")
                    } else {
                        number(x)
                    }
                })
                .unwrap_or_default(),
        ),
        ("{declared}", declared),
        ("{mass}", number(mass)),
        ("{1/mass}", number(1.0 / mass)),
        ("{gamma}", number(c.gamma.unwrap_or(PAPER_GAMMA))),
        ("{initial}", number(initial)),
        ("{friction}", friction),
        ("{this}", this.into()),
        ("{other}", other.into()),
        ("{steps}", value.map(number).unwrap_or_default()),
        ("{b1}", number(b1)),
        ("{b1-b0}", sum(b1 - b0)),
        ("{b1+b0}", sum(b1 + b0)),
    ] {
        out = out.replace(name, &text);
    }
    out
}

/// The table for `cld check --list-mistakes` and the documentation: id, what is wrong, what to do.
pub fn table() -> String {
    let mut out = String::from("| id | the mistake | what to do |\n|---|---|---|\n");
    for (i, m) in MISTAKES.iter().enumerate() {
        if i == 0 || MISTAKES[i - 1].id != m.id {
            out += &format!("| `{}` | {} | {} |\n", m.id, m.sentence, m.remedy);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches a mistake that is missing from the list, is there twice or under another's words.
    #[test]
    fn every_mistake_is_listed_once() {
        let table = table();
        let ids: BTreeSet<&str> = MISTAKES.iter().map(|m| m.id).collect();
        assert_eq!(table.lines().count(), 2 + ids.len());
        for id in ids {
            let first = MISTAKES.iter().find(|m| m.id == id).unwrap();
            let row = format!("| `{id}` | {} | {} |\n", first.sentence, first.remedy);
            assert_eq!(table.matches(&row).count(), 1, "{id}");
        }
    }
}
