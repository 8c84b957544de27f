//! The conventions by which an implementation may be read: all right by default, one field changed by each mistake.

/// How a step's noise depends on its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SqrtDt {
    /// By its square root.
    Right,
    /// Not at all.
    Missing,
    /// In proportion.
    Dt,
}

/// The set of conventions. [`Reading::RIGHT`] is this crate's; the truth side computes under any other as well, which is how
/// a mistake is recognised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Added to every variance.
    pub epsilon: f64,
    /// Multiplies every integral and rate.
    pub rate_factor: f64,
    /// 1 - t for t.
    pub one_minus_t: bool,
    /// Sign of every covariance entry between an even and an odd channel.
    pub flip_cov: bool,
    /// The same for the mean matrix and the drift.
    pub flip_mean: bool,
    /// Upper Cholesky factor.
    pub upper: bool,
    /// The covariance where its Cholesky factor belongs.
    pub variance_for_factor: bool,
    /// The square root of a variance where the variance belongs.
    pub deviation_for_variance: bool,
    /// The score taken at the end of the step.
    pub score_at_end: bool,
    /// Half of `G G^T` where all of it belongs, in kick and drift (and all for half in the likelihood weighting).
    pub half_kick: bool,
    /// How a step's noise depends on its length.
    pub sqrt_dt: SqrtDt,
    /// Variance 1 for the prior's velocity.
    pub prior_one: bool,
    /// The denoising step with noise.
    pub denoise_noise: bool,
    /// The other one of SSCS's two second half steps.
    pub other_half: bool,
}

impl Reading {
    /// The conventions of this crate.
    pub const RIGHT: Reading = Reading {
        epsilon: 0.0,
        rate_factor: 1.0,
        one_minus_t: false,
        flip_cov: false,
        flip_mean: false,
        upper: false,
        variance_for_factor: false,
        deviation_for_variance: false,
        score_at_end: false,
        half_kick: false,
        sqrt_dt: SqrtDt::Right,
        prior_one: false,
        denoise_noise: false,
        other_half: false,
    };
}

impl Default for Reading {
    fn default() -> Self {
        Reading::RIGHT
    }
}
