//! A diffusion as a linear SDE: what a file of its own says, and what follows from it.

use super::doubling::{Law, doubling};
use super::moments::{Moments, near_one, write_column};
use crate::dd::Dd;
use crate::schedule::{Schedule, Span};
use crate::simd;
use crate::small::Mat;

/// `log det (S - Phi (S - Sigma0) Phi^T)` where `Phi` has become small, from the difference itself;
/// `None` where it has not.
fn log_det_near<const K: usize>(
    mean: &Mat<K, Dd>,
    s: &Mat<K, Dd>,
    initial: [Dd; K],
) -> Option<f64> {
    let back = mean.sandwich(&Mat::build(|i, j| {
        if i == j {
            s[(i, i)] - initial[i]
        } else {
            s[(i, j)]
        }
    }));
    if (0..K).any(|i| !(back[(i, i)].hi.abs() <= 0.25 * s[(i, i)].hi)) {
        return None;
    }
    // a determinant is linear in each column: det (S - back) - det S is the sum over the sets of
    // columns taken from -back but the empty one
    let mut missing = Dd::ZERO;
    for set in 1..1 << K {
        missing = missing
            + Mat::<K, Dd>::build(|i, j| {
                if set >> j & 1 == 1 {
                    -back[(i, j)]
                } else {
                    s[(i, j)]
                }
            })
            .det();
    }
    let whole = s.det();
    let off = whole - Dd::ONE;
    let log = if off.hi.abs() < 0.5 {
        off.to_f64().ln_1p()
    } else {
        whole.ln().to_f64()
    };
    Some(log + (missing / whole).to_f64().ln_1p())
}

mod sealed {
    /// Seals the fast paths of [`LinearSde`](super::LinearSde): who cannot name it can neither call
    /// nor override them, so they may change with any version.
    #[derive(Clone, Copy, Debug)]
    pub struct Fast;
}
pub(crate) use sealed::Fast;

/// A linear SDE `du = F u b dt + G sqrt(b) dW` on K channels, in the clock `tau = integral of b`.
///
/// Channels come in the order x, v (then further auxiliary ones). Four methods are asked for; all
/// else follows from them by the generic route. A closed form, where there is one, overrides
/// [`moments`](Self::moments); entries that f64 cannot hold override the methods in double words.
pub trait LinearSde<const K: usize> {
    /// Name in files and on the command line.
    fn name(&self) -> &'static str;

    /// The drift matrix F. Formula: process.drift.
    fn drift(&self) -> Mat<K>;

    /// The noise matrix `G G^T`. Formula: process.noise.
    fn noise(&self) -> Mat<K>;

    /// The stationary covariance, solution of `F S + S F^T + G G^T = 0`; `None` where there is none
    /// (VE). Formula: process.stationary.
    fn stationary(&self) -> Option<Mat<K>>;

    /// Covariance of the prior, the law from which sampling starts; `horizon` is `B(0,1)`.
    /// The stationary one where it exists, else the noise gathered over `[0, 1]`. Formula:
    /// process.prior.
    fn prior(&self, horizon: f64) -> Mat<K> {
        self.stationary()
            .unwrap_or_else(|| self.noise().times(horizon))
    }

    /// The mass M: HSM's initial velocity variance is `gamma M`. One where a process has no mass.
    fn mass(&self) -> f64 {
        1.0
    }

    /// The drift in double words. The default takes the entries of [`drift`](Self::drift) as exact;
    /// a process whose entries are irrational gives more digits here.
    fn drift_dd(&self) -> Mat<K, Dd> {
        self.drift().to_dd()
    }

    /// The noise in double words; see [`drift_dd`](Self::drift_dd).
    fn noise_dd(&self) -> Mat<K, Dd> {
        self.noise().to_dd()
    }

    /// The stationary covariance in double words; see [`drift_dd`](Self::drift_dd).
    fn stationary_dd(&self) -> Option<Mat<K, Dd>> {
        self.stationary().map(Mat::to_dd)
    }

    /// The mass in double words; see [`drift_dd`](Self::drift_dd).
    fn mass_dd(&self) -> Dd {
        Dd::from(self.mass())
    }

    /// The noise `G G^T` at `B(0,t) = start`, for the one process (sub-VP) whose noise is not
    /// constant in its clock.
    fn noise_at(&self, start: f64) -> Mat<K> {
        let _ = start;
        self.noise()
    }

    /// The diagonal of the initial covariance under HSM: `gamma M` for v and every further channel,
    /// 0 for x. Formula: kernel.initial.
    fn initial(&self, gamma: f64) -> [Dd; K] {
        std::array::from_fn(|i| {
            if i > 0 {
                Dd::from(gamma) * self.mass_dd()
            } else {
                Dd::ZERO
            }
        })
    }

    /// Mean matrix and covariance of u_t over the interval, started from
    /// [`initial`](Self::initial)`(gamma)`. `gamma = 0` gives the transition itself (and the DSM
    /// kernel).
    ///
    /// The default is the [`closed`](Self::closed) form, and where there is none [`doubling`] in
    /// double words: correct to the last bit but slow (microseconds).
    fn moments(&self, on: Span, gamma: f64) -> Moments<K> {
        simd::single_call(|| self.closed(on.tau, gamma, Fast))
            .unwrap_or_else(|| self.law(on, gamma).moments())
    }

    /// [`moments`](Self::moments) in closed form, where there is one in the length `tau` of the
    /// interval alone; the caller has chosen the instruction set (see [`crate::simd::single`]).
    #[doc(hidden)]
    #[inline(always)]
    fn closed(&self, tau: Dd, gamma: f64, _: Fast) -> Option<Moments<K>> {
        let _ = (tau, gamma);
        None
    }

    /// Log-determinant of the covariance in `m`, the [`moments`](Self::moments) over the interval.
    /// Where the stationary law is near and the determinant near 1, its logarithm is that of what
    /// is missing, `log det S + log det (I - S^-1 Phi (S - Sigma0) Phi^T)`: right also where the
    /// determinant rounds to 1. Formula: kernel.logdet.
    fn log_det(&self, on: Span, gamma: f64, m: &Moments<K>) -> f64 {
        let _ = on;
        if let Some(f) = &m.factors {
            return f.log_det;
        }
        let near = near_one(m.det).then(|| self.stationary_dd()).flatten();
        near.and_then(|s| log_det_near(&m.mean.to_dd(), &s, self.initial(gamma)))
            .unwrap_or_else(|| m.det.ln())
    }

    /// [`moments`](Self::moments) from time 0 to `t` in [0, 1]. A process may have a faster way to
    /// it than by way of the integral; the caller has chosen the instruction set (see
    /// [`crate::simd::single`]).
    #[doc(hidden)]
    #[inline(always)]
    fn moments_at(&self, schedule: &Schedule, gamma: f64, t: f64, _: Fast) -> Moments<K> {
        let on = Span::to(schedule, t);
        self.closed(on.tau, gamma, Fast)
            .unwrap_or_else(|| self.moments(on, gamma))
    }

    /// The kernels at many times, into columns of the length of `t`: the mean matrix row by row,
    /// the lower triangles of covariance and lower Cholesky factor row by row, the determinant,
    /// `ell`.
    #[doc(hidden)]
    fn columns_at(
        &self,
        schedule: &Schedule,
        gamma: f64,
        t: &[f64],
        columns: &mut [&mut [f64]],
        _: Fast,
    ) {
        for (r, &t) in t.iter().enumerate() {
            write_column(&self.moments_at(schedule, gamma, t, Fast), r, columns);
        }
    }

    /// The same in double words, by [`doubling`]: the oracle for every closed form.
    fn law(&self, on: Span, gamma: f64) -> Law<K> {
        let law = doubling(&self.drift_dd(), &self.noise_dd(), on.tau);
        let law = match self.stationary_dd() {
            Some(s) => law.near_stationary(&s),
            None => law,
        };
        let (initial, stationary) = (self.initial(gamma), self.stationary_dd());
        let started = law.started_from(&initial);
        let Some(s) = stationary else { return started };
        let cov = if K > 2 {
            started.with_what_rotation_leaves(&law.cov, &s, &initial)
        } else {
            started.cov
        };
        Law {
            cov,
            log_det: log_det_near(&started.mean, &s, initial),
            ..started
        }
    }

    /// Parities under time reversal, if the stationary law is diagonal and reversing time amounts
    /// to flipping the sign of some channels (velocities): then the SSCS part is the forward one
    /// with those signs flipped.
    fn parity(&self) -> Option<[f64; K]> {
        None
    }
}
