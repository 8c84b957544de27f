//! Log-density and score of the kernel, and the conversions between noise, score and data
//! prediction.

use super::Kernel;

impl<const K: usize> Kernel<K> {
    /// Log-density of `u` (one coordinate, K channels) given `u0`:
    /// `-(K log 2 pi + log det + |L^-1 (u - Phi u0)|^2) / 2`. For HSM pass v0 = 0. Sum over
    /// coordinates for vectors. Formula: kernel.log_density.
    pub fn log_density(&self, u: [f64; K], u0: [f64; K]) -> f64 {
        let w = self.whiten(self.residual(u, u0));
        let square: f64 = w.iter().map(|x| x * x).sum();
        -0.5 * (K as f64 * std::f64::consts::TAU.ln() + self.log_det() + square)
    }

    /// Score of the kernel, `-cov^-1 (u - Phi u0) = -L^-T L^-1 (u - Phi u0)`. Formula:
    /// kernel.score.
    pub fn score(&self, u: [f64; K], u0: [f64; K]) -> [f64; K] {
        self.score_from_eps(self.whiten(self.residual(u, u0)))
    }

    /// Score from the noise that made the sample, `-L^-T eps`; its last entry is `-ell_t eps_K`.
    /// Formula: kernel.score_from_eps. Source: CLD sec. 3.2.
    pub fn score_from_eps(&self, eps: [f64; K]) -> [f64; K] {
        let l = self.lower();
        let mut s = [0.0; K];
        for i in (0..K).rev() {
            let mut r = -eps[i];
            for j in i + 1..K {
                r -= l[(j, i)] * s[j];
            }
            s[i] = r / l[(i, i)];
        }
        s
    }

    /// Noise from score, `-L^T s`. Formula: kernel.eps_from_score.
    pub fn eps_from_score(&self, score: [f64; K]) -> [f64; K] {
        let l = self.lower();
        std::array::from_fn(|i| -(i..K).map(|j| l[(j, i)] * score[j]).sum::<f64>())
    }

    /// Noise that takes `u0` to `u`: `L^-1 (u - Phi u0)`. Formula: kernel.eps_from_x0.
    pub fn eps_from_x0(&self, u: [f64; K], u0: [f64; K]) -> [f64; K] {
        self.whiten(self.residual(u, u0))
    }

    /// Data from noise, for an initial velocity of mean 0 (HSM): `x0 = (x - L_xx eps_x) / Phi_xx`.
    /// Exact where `eps` is the noise that made `u`. At late times Phi_xx underflows, as the sample
    /// forgets its data: what is beyond f64 then comes back as the largest f64 of its sign, and 0/0
    /// as 0. Formula: kernel.x0_from_eps.
    pub fn x0_from_eps(&self, u: [f64; K], eps: [f64; K]) -> f64 {
        let rest = u[0] - self.lower()[(0, 0)] * eps[0];
        if rest == 0.0 {
            return 0.0;
        }
        (rest / self.mean()[(0, 0)]).clamp(-f64::MAX, f64::MAX)
    }

    /// `u - Phi u0`.
    fn residual(&self, u: [f64; K], u0: [f64; K]) -> [f64; K] {
        let m = self.mean();
        std::array::from_fn(|i| u[i] - (0..K).map(|j| m[(i, j)] * u0[j]).sum::<f64>())
    }
}
