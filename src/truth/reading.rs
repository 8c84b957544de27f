//! The conventions by which an implementation may be read: all right by default, one field changed
//! by each mistake.

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

/// What stands where the Cholesky factor belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor {
    /// It does.
    Cholesky,
    /// Standard deviations alone: the covariance of x and v is dropped.
    Diagonal,
    /// Variances alone.
    DiagonalVariances,
    /// The symmetric square root (two channels), a factor too.
    Symmetric,
    /// The upper one for the lower, and the lower for the upper (two channels).
    Other,
}

/// The rate that stands for its integral in SSCS's half steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HalfRate {
    /// None: the integral itself.
    Right,
    /// The rate at the start of the step, for both halves.
    AtStep,
    /// The rate at the start of each half.
    AtHalf,
}

/// What is held in half precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    /// The rate, once it is computed.
    Rate,
    /// The rate, and every step towards a linear one: the time, the product and the sum.
    RateByStep,
    /// The integral of the rate.
    Integral,
    /// The time.
    Time,
}

/// A part in half precision, bfloat16 or float16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Half {
    /// Which part.
    pub held: Held,
    /// bfloat16, not float16.
    pub brain: bool,
}

impl Half {
    /// A number rounded to the type, to nearest and even.
    pub fn round(self, x: f64) -> f64 {
        // bits of the significand, and the exponent of the last bit of the smallest numbers
        let (bits, least) = if self.brain { (8, -133) } else { (11, -24) };
        if x == 0.0 || !x.is_finite() {
            return x;
        }
        let exponent = (((x.to_bits() >> 52) & 0x7FF) as i32 - 1023 - (bits - 1)).max(least);
        let unit = 2f64.powi(exponent);
        (x / unit).round_ties_even() * unit
    }
}

/// A sum over the steps of a grid where the integral of a linear rate belongs: step i of N has
/// `b(i/(N-1))/N`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// How many steps [0, 1] has.
    pub number: u32,
    /// `-ln(1 - beta_i)`, as the product of `1 - beta_i` has it, for `beta_i`.
    pub product: bool,
}

/// The set of conventions. [`Reading::RIGHT`] is this crate's; the truth side computes under any
/// other as well, which is how a mistake is recognised.
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
    /// Half of `G G^T` where all of it belongs, in kick and drift.
    pub half_kick: bool,
    /// How a step's noise depends on its length.
    pub sqrt_dt: SqrtDt,
    /// Variance 1 for the prior's velocity.
    pub prior_one: bool,
    /// The denoising step with noise.
    pub denoise_noise: bool,
    /// The other one of SSCS's two second half steps.
    pub other_half: bool,
    /// Multiplies the quadratic part of a linear rate's integral: 2 is the 1/2 forgotten.
    pub slope: f64,
    /// The rate times the time for the integral.
    pub rate_times_t: bool,
    /// Earlier times are taken to be this one.
    pub t_min: f64,
    /// Added to every variance of the initial state, and carried on by the mean.
    pub initial_epsilon: f64,
    /// Multiplies the integral in the covariance alone.
    pub cov_rate: f64,
    /// Variance at t = 0 (VE counted from `sigma_min`): in every variance from 0, and in the
    /// prior's.
    pub start_variance: f64,
    /// `sigma = std / mean` where the standard deviation belongs (one channel).
    pub sigma_over_mean: bool,
    /// The standard deviation where `sigma = std / mean` belongs.
    pub sigma_without_mean: bool,
    /// What stands for the Cholesky factor.
    pub factor: Factor,
    /// `ell` is the right one whatever stands for the factor (two channels).
    pub ell_from_cov: bool,
    /// `ell` is that of v alone, not of v given x.
    pub ell_marginal: bool,
    /// This channel's noise for every channel.
    pub one_noise: Option<usize>,
    /// Densities have the factor `(2 pi)^(-1/2)` per coordinate.
    pub density_tau: bool,
    /// Densities have the determinant.
    pub density_det: bool,
    /// A step's noise has the root of the rate.
    pub rate_in_noise: bool,
    /// Sign of `-F u` in the reverse drift.
    pub drift_sign: f64,
    /// Sign of the score there.
    pub score_sign: f64,
    /// Multiplies the likelihood weighting.
    pub weight: f64,
    /// The loss has this weighting instead of the one asked for.
    pub weighting: Option<usize>,
    /// Multiplies the loss.
    pub loss: f64,
    /// The rate for its integral in SSCS's halves.
    pub half_rate: HalfRate,
    /// A sum over steps for the integral.
    pub steps: Option<Steps>,
    /// Steps of the discrete chains read their tables at `floor(t (N - 1))/(N - 1)`.
    pub time_on_grid: bool,
    /// The integral of the rate is the midpoint sum of so many intervals over `[0, t]`; 0: the
    /// integral itself.
    pub midpoints: u32,
    /// A part in half precision.
    pub half: Option<Half>,
    /// The root of dt in a reverse-diffusion step is float32's.
    pub root_dt_single: bool,
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
        slope: 1.0,
        rate_times_t: false,
        t_min: 0.0,
        initial_epsilon: 0.0,
        cov_rate: 1.0,
        start_variance: 0.0,
        sigma_over_mean: false,
        sigma_without_mean: false,
        factor: Factor::Cholesky,
        ell_from_cov: false,
        ell_marginal: false,
        one_noise: None,
        density_tau: true,
        density_det: true,
        rate_in_noise: true,
        drift_sign: 1.0,
        score_sign: 1.0,
        weight: 1.0,
        weighting: None,
        loss: 1.0,
        half_rate: HalfRate::Right,
        steps: None,
        time_on_grid: false,
        midpoints: 0,
        half: None,
        root_dt_single: false,
    };
}

impl Default for Reading {
    fn default() -> Self {
        Reading::RIGHT
    }
}
