//! The samplers there are, by name.

use super::{
    Grid, Order, Stepper, adaptive, conjugate, em, flow, gddim, pc, quicsort, splitting, sscs,
    sscs2, ubu,
};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};

/// A sampler in the registry.
#[non_exhaustive]
pub struct SamplerEntry {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// One line about it, with its source.
    pub about: &'static str,
    /// Orders, for smooth scores and rates that change with time.
    pub order: Order,
    /// Evaluations of the score in a step; 0 where the stepper chooses how many.
    pub evaluations: usize,
    /// Takes steps of its own within each interval of the grid: its error follows its tolerance,
    /// not the grid.
    pub adaptive: bool,
    build: fn(&Diffusion, &Grid) -> Result<Box<dyn Stepper>>,
}

impl SamplerEntry {
    /// The most steps that so many evaluations of the score allow, where a denoising step takes one
    /// of them. None allow any step of a sampler that chooses its own evaluations.
    pub fn steps_within(&self, evaluations: usize, denoise: bool) -> usize {
        evaluations
            .saturating_sub(usize::from(denoise))
            .checked_div(self.evaluations)
            .unwrap_or(0)
    }

    /// Plans the sampler for a diffusion and a grid.
    ///
    /// # Errors
    /// A diffusion for which the sampler is not defined.
    pub fn build(&self, diffusion: &Diffusion, grid: &Grid) -> Result<Box<dyn Stepper>> {
        (self.build)(diffusion, grid)
    }
}

/// Every sampler.
#[rustfmt::skip]
pub const REGISTRY: &[SamplerEntry] = &[
    SamplerEntry { name: "em", about: "Euler-Maruyama (Kloeden and Platen 1992)", order: Order { weak: 1.0, strong: Some(1.0) }, evaluations: 1, adaptive: false, build: em::build },
    SamplerEntry { name: "sscs", about: "symmetric splitting, score and beta frozen at the step's start (Dockhorn et al. 2022)", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: sscs::build },
    SamplerEntry { name: "sscs-first-half-twice", about: "sscs whose second analytic half step repeats the first one's interval, as some public code does", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: sscs::build_first_half_twice },
    SamplerEntry { name: "sscs-centred", about: "sscs with score and rate at the step's middle", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: sscs2::build_centred },
    SamplerEntry { name: "sscs2", about: "sscs of order 2: the kick at a middle predicted with the last kick", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: sscs2::build },
    SamplerEntry { name: "sscs2-exponential", about: "sscs2 with the score's slope for normal data of deviation 0.1 solved exactly: stable at long steps", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: sscs2::build_exponential },
    SamplerEntry { name: "sscs2-midpoint", about: "sscs of order 2: the kick by the explicit midpoint rule", order: Order { weak: 2.0, strong: None }, evaluations: 2, adaptive: false, build: sscs2::build_midpoint },
    SamplerEntry { name: "oba", about: "Ornstein-Uhlenbeck, kick, shear (after Pandey and Mandt 2023)", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: splitting::build_oba },
    SamplerEntry { name: "aoboa", about: "symmetric splitting into shears, Ornstein-Uhlenbeck and kick (after Pandey and Mandt 2023)", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: splitting::build_aoboa },
    SamplerEntry { name: "leapfrog", about: "probability flow, shear, kick, shear (leapfrog in the stationary law's Hamiltonian)", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: splitting::build_leapfrog },
    SamplerEntry { name: "conjugate", about: "probability flow, exact for standard normal data (conjugate integrator, after Pandey and Mandt 2023)", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: conjugate::build },
    SamplerEntry { name: "conjugate2", about: "conjugate with the line through the last two values", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: conjugate::build2 },
    SamplerEntry { name: "conjugate-lambda", about: "lambda-DDIM with lambda = 0.1 (Pandey and Mandt 2023)", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: conjugate::build_lambda },
    SamplerEntry { name: "flow-heun", about: "probability flow, Heun's method (Karras et al. 2022)", order: Order { weak: 2.0, strong: None }, evaluations: 2, adaptive: false, build: flow::build_heun },
    SamplerEntry { name: "flow-rk4", about: "probability flow, the classical Runge-Kutta method", order: Order { weak: 4.0, strong: None }, evaluations: 4, adaptive: false, build: flow::build_rk4 },
    SamplerEntry { name: "flow-dp5", about: "probability flow, adaptive steps to 1e-6 (Dormand and Prince 1980)", order: Order { weak: 5.0, strong: None }, evaluations: 0, adaptive: true, build: flow::build_dp5 },
    SamplerEntry { name: "gddim1", about: "probability flow, exponential multistep (Zhang, Tao, Chen 2022); DDIM for vp", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: gddim::build1 },
    SamplerEntry { name: "gddim2", about: "gddim1 with the last two scores", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: gddim::build2 },
    SamplerEntry { name: "gddim3", about: "gddim1 with the last three scores; the first step evaluates twice", order: Order { weak: 3.0, strong: None }, evaluations: 1, adaptive: false, build: gddim::build3 },
    SamplerEntry { name: "pc", about: "predictor-corrector: Euler-Maruyama, then a Langevin step (Song et al. 2021)", order: Order { weak: 1.0, strong: None }, evaluations: 2, adaptive: false, build: pc::build },
    SamplerEntry { name: "ubu", about: "UBU in reverse (Sanz-Serna and Zygalakis 2021); order 1, as the force depends on v", order: Order { weak: 1.0, strong: None }, evaluations: 1, adaptive: false, build: ubu::build },
    SamplerEntry { name: "ubu2", about: "ubu of order 2: the kick at a middle predicted with the last kick", order: Order { weak: 2.0, strong: None }, evaluations: 1, adaptive: false, build: ubu::build2 },
    SamplerEntry { name: "quicsort", about: "QUICSORT in reverse (Foster and others 2024); order 1, as the force depends on v", order: Order { weak: 1.0, strong: None }, evaluations: 2, adaptive: false, build: quicsort::build },
    SamplerEntry { name: "shifted-rk3", about: "Runge-Kutta on the shifted ODE (after Foster and others 2021): order 3 for affine scores, 2 for others", order: Order { weak: 3.0, strong: None }, evaluations: 3, adaptive: false, build: quicsort::build_shifted },
];

/// What samples are judged by where nobody asks for others: SSCS where it is defined, and
/// Euler-Maruyama, which always is.
pub const DEFAULT: [&str; 2] = ["sscs", "em"];

/// A sampler that chooses its steps and takes as many normals as it needs.
#[non_exhaustive]
pub struct AdaptiveEntry {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// One line about it, with its source.
    pub about: &'static str,
    /// Takes a batch from one time down to another; see [`adaptive::run`].
    pub run: adaptive::Solver,
}

/// Every sampler without a grid.
#[rustfmt::skip]
pub const ADAPTIVE: &[AdaptiveEntry] = &[
    AdaptiveEntry { name: "gotta-go-fast", about: "stochastic improved Euler, adaptive steps (Jolicoeur-Martineau and others 2021)", run: adaptive::run },
];

/// The registry's entry called `name`.
///
/// # Errors
/// No such sampler; the message lists those there are.
pub fn entry(name: &str) -> Result<&'static SamplerEntry> {
    REGISTRY.iter().find(|e| e.name == name).ok_or_else(|| {
        let all: Vec<_> = REGISTRY.iter().map(|e| e.name).collect();
        Error::parameter("sampler", format!("`{name}`"), all.join(", "))
    })
}
