//! Weightings of the loss over time and channels.

use crate::diffusion::Diffusion;

/// How what the output misses is weighed. With `r` the missing score and `e` the missing noise
/// (`r = -W e`; CLD: `-ell_t e`) on the noised channels i, and `g_i^2 = (G G^T)_ii` (CLD:
/// `2 Gamma`):
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weighting {
    /// Maximum likelihood: `b(t)/2 sum g_i^2 r_i^2`; CLD: `Gamma beta |r|^2`. Its integral over
    /// time bounds the divergence of the model from the data up to a constant. Source: Song et al.
    /// 2021 (maximum likelihood training); CLD sec. 3.2.
    Likelihood,
    /// `sum r_i^2`: the plain distance of scores.
    Score,
    /// `sum e_i^2`, the paper's reweighted objective: CLD `ell_t^-2 |r|^2`. Source: CLD sec. 3.2.
    Eps,
    /// `b(t)/2 sum g_i^2 e_i^2`: CLD `Gamma beta ell_t^-2 |r|^2`. Source: public code beside the
    /// paper, which has it as a second reweighting.
    RatedEps,
}

impl Weighting {
    /// Every weighting.
    pub const ALL: [Weighting; 4] = [
        Weighting::Likelihood,
        Weighting::Score,
        Weighting::Eps,
        Weighting::RatedEps,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Weighting::Likelihood => "likelihood",
            Weighting::Score => "score",
            Weighting::Eps => "eps",
            Weighting::RatedEps => "rated-eps",
        }
    }

    /// Whether it weighs the missing noise; else the missing score.
    pub fn of_eps(self) -> bool {
        matches!(self, Weighting::Eps | Weighting::RatedEps)
    }

    /// The weights of the noised channels at `t`, of the score or of eps. Formula: loss.weight.
    pub fn diagonal(self, diffusion: &Diffusion, t: f64) -> Vec<f64> {
        let rated = matches!(self, Weighting::Likelihood | Weighting::RatedEps);
        let (noise, rate) = (diffusion.noise(t), diffusion.rate(t));
        diffusion
            .noised()
            .iter()
            .map(|i| {
                if rated {
                    0.5 * rate * noise[(*i, *i)]
                } else {
                    1.0
                }
            })
            .collect()
    }
}
