//! One step of each scheme. Noise is an argument, never drawn inside: a step can be replayed,
//! probed and coupled.

use crate::error::{Error, Result};
use crate::process::LinearSde;
use crate::schedule::Schedule;
use crate::small::Mat;

/// An SDE with additive noise, `du = f(t, u) dt + L(t) dW`, on K channels of one data coordinate.
///
/// What every scheme needs is the drift and the noise; what only some need has a default that says
/// it is not there.
pub trait Sde<const K: usize>: Sync {
    /// The drift `f(t, u)`.
    fn drift(&self, t: f64, u: [f64; K]) -> [f64; K];

    /// A factor `L` of the noise, `L L^T` per unit of time, lower triangular.
    fn noise(&self, t: f64) -> Mat<K>;

    /// Mean matrix and covariance factor of the exact transition over `[s, t]`, where there is one.
    fn exact(&self, s: f64, t: f64) -> Option<(Mat<K>, Mat<K>)> {
        let _ = (s, t);
        None
    }

    /// For Langevin splittings: `(F, G G^T, tau)` of the linear SDE over `[s, t]`, in its own
    /// clock.
    fn split(&self, s: f64, t: f64) -> Option<(Mat<K>, Mat<K>, f64)> {
        let _ = (s, t);
        None
    }
}

/// A [`LinearSde`] under a schedule: `du = F u b dt + G sqrt(b) dW`.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a, P, const K: usize> {
    process: &'a P,
    schedule: Schedule,
    drift: Mat<K>,
    /// The noise's factor, where it is constant in the process's clock (all but sub-VP).
    noise: Option<Mat<K>>,
}

impl<'a, P: LinearSde<K>, const K: usize> Forward<'a, P, K> {
    /// The SDE of `process` in the time of `schedule`.
    pub fn new(process: &'a P, schedule: Schedule) -> Self {
        let constant = process.noise_at(0.0) == process.noise();
        Forward {
            process,
            schedule,
            drift: process.drift(),
            noise: constant.then(|| root(&process.noise())),
        }
    }
}

/// A lower-triangular root of a covariance that may be singular (a zero pivot gives a zero column).
pub(crate) fn root<const K: usize>(c: &Mat<K>) -> Mat<K> {
    let mut l = Mat::<K>::ZERO;
    for j in 0..K {
        let d = c[(j, j)] - (0..j).map(|k| l[(j, k)] * l[(j, k)]).sum::<f64>();
        if d <= 1e-15 * c[(j, j)] {
            continue;
        }
        l[(j, j)] = d.sqrt();
        for i in j + 1..K {
            l[(i, j)] =
                (c[(i, j)] - (0..j).map(|k| l[(i, k)] * l[(j, k)]).sum::<f64>()) / l[(j, j)];
        }
    }
    l
}

impl<P: LinearSde<K> + Sync, const K: usize> Sde<K> for Forward<'_, P, K> {
    fn drift(&self, t: f64, u: [f64; K]) -> [f64; K] {
        let (f, b) = (&self.drift, self.schedule.rate(t));
        std::array::from_fn(|i| b * (0..K).map(|j| f[(i, j)] * u[j]).sum::<f64>())
    }

    fn noise(&self, t: f64) -> Mat<K> {
        let root = self.noise.unwrap_or_else(|| {
            let clock = self.schedule.span(0.0, t).map_or(0.0, |s| s.tau.hi);
            root(&self.process.noise_at(clock))
        });
        root.times(self.schedule.rate(t).sqrt())
    }

    fn exact(&self, s: f64, t: f64) -> Option<(Mat<K>, Mat<K>)> {
        let m = self.process.moments(self.schedule.span(s, t).ok()?, 0.0);
        // the determinant of the closed forms does not cancel; one read off the covariance would
        let lower = if m.det > 0.0 {
            m.lower().0
        } else {
            root(&m.cov)
        };
        Some((m.mean, lower))
    }

    fn split(&self, s: f64, t: f64) -> Option<(Mat<K>, Mat<K>, f64)> {
        self.noise?;
        let g = self.process.noise();
        let diagonal = (0..K).all(|i| (0..K).all(|j| i == j || g[(i, j)] == 0.0));
        let tau = self.schedule.span(s, t).ok()?.tau.hi;
        (K == 2 && diagonal).then_some((self.drift, g, tau))
    }
}

/// Orders of convergence, for SDEs with additive noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// Strong: the root mean square error of a path is O(h^strong).
    pub strong: f64,
    /// Weak: the error of an expectation is O(h^weak). Infinite for a scheme without error.
    pub weak: f64,
}

/// The schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `u + h f + sqrt(h) L xi`. Formula: scheme.em. Source: Kloeden and Platen 1992, sec. 10.2.
    EulerMaruyama,
    /// Half kick, half drift, Ornstein-Uhlenbeck, half drift, half kick ("BAOAB"), in the clock of
    /// the process. Formula: scheme.splitting. Source: Leimkuhler and Matthews 2013.
    Splitting,
    /// Stochastic Runge-Kutta for additive noise, strong order 1.5. Formula: scheme.sra1. Source:
    /// Roessler 2010, SRA1.
    Sra1,
    /// The exact transition. Formula: scheme.exact. Source: this crate's kernels.
    Exact,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 4] = [
        Scheme::EulerMaruyama,
        Scheme::Splitting,
        Scheme::Sra1,
        Scheme::Exact,
    ];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::EulerMaruyama => "em",
            Scheme::Splitting => "splitting",
            Scheme::Sra1 => "sra1",
            Scheme::Exact => "exact",
        }
    }

    /// Orders for additive noise: Euler-Maruyama is of strong order 1 there (Milstein's correction
    /// vanishes).
    pub fn order(self) -> Order {
        match self {
            Scheme::EulerMaruyama => Order {
                strong: 1.0,
                weak: 1.0,
            },
            // strong: the noise of a step enters with one Gaussian, which knows the end of its
            // Brownian path only
            Scheme::Splitting => Order {
                strong: 1.0,
                weak: 2.0,
            },
            Scheme::Sra1 => Order {
                strong: 1.5,
                weak: 2.0,
            },
            Scheme::Exact => Order {
                strong: f64::INFINITY,
                weak: f64::INFINITY,
            },
        }
    }

    /// The strong order on linear SDEs, where it may be higher: what keeps SRA1 at 1.5 is the
    /// fluctuation of `f'' W^2`, and a linear drift has none; the next term, of order h^2.5 in a
    /// step and of mean 0, gives 2.
    pub fn strong_order_linear(self) -> f64 {
        if self == Scheme::Sra1 {
            2.0
        } else {
            self.order().strong
        }
    }

    /// Standard normals per channel and step.
    pub fn draws(self) -> usize {
        if self == Scheme::Sra1 { 2 } else { 1 }
    }

    /// Whether the scheme is defined for this SDE.
    ///
    /// # Errors
    /// Splitting needs x and v, noise without correlation, constant in the process's clock; exact
    /// needs a transition.
    pub fn check<const K: usize>(self, sde: &impl Sde<K>) -> Result<()> {
        match self {
            Scheme::Splitting if sde.split(0.0, 0.5).is_none() => Err(Error::parameter(
                "scheme",
                "splitting",
                "em, sra1 or exact for this process (splitting needs channels x and v, and diagonal noise, constant in the process's clock)",
            )),
            Scheme::Exact if sde.exact(0.0, 0.5).is_none() => Err(Error::parameter(
                "scheme",
                "exact",
                "em or sra1 (this SDE has no exact transition)",
            )),
            _ => Ok(()),
        }
    }

    /// One step from `s` to `t`. `noise` holds [`draws`](Self::draws) standard normals per channel.
    /// A scheme that is not defined for the SDE ([`check`](Self::check)) leaves `u` as it is.
    pub fn step<const K: usize>(
        self,
        sde: &impl Sde<K>,
        s: f64,
        t: f64,
        u: [f64; K],
        noise: [[f64; K]; 2],
    ) -> [f64; K] {
        let (h, xi) = (t - s, noise[0]);
        match self {
            Scheme::EulerMaruyama => {
                let (f, l) = (sde.drift(s, u), sde.noise(s));
                let w = apply(&l, xi);
                std::array::from_fn(|i| u[i] + h * f[i] + h.sqrt() * w[i])
            }
            Scheme::Sra1 => {
                // I1 = the increment of W, I10 = its time integral over the step, divided by h
                // below
                let root_h = h.sqrt();
                let i1 = xi.map(|x| root_h * x);
                let i10: [f64; K] =
                    std::array::from_fn(|i| 0.5 * root_h * (xi[i] + noise[1][i] / 3f64.sqrt()));
                let (l0, l1) = (sde.noise(s), sde.noise(t));
                let f1 = sde.drift(s, u);
                let late = apply(&l1, i10);
                let stage = std::array::from_fn(|i| u[i] + 0.75 * h * f1[i] + 1.5 * late[i]);
                let f2 = sde.drift(s + 0.75 * h, stage);
                let (w1, early) = (apply(&l1, i1), apply(&l0, i10));
                std::array::from_fn(|i| {
                    u[i] + h * (f1[i] + 2.0 * f2[i]) / 3.0 + w1[i] + (early[i] - late[i])
                })
            }
            Scheme::Splitting => {
                let Some((f, g, tau)) = sde.split(s, t) else {
                    return u;
                };
                let mut y = u;
                let (x, v) = (0, K - 1);
                y[v] += 0.5 * tau * f[(v, x)] * y[x];
                y[x] += 0.5 * tau * f[(x, v)] * y[v];
                for i in 0..K {
                    // dy = a y dtau + sqrt(g) dW: the variance is g (e^(2 a tau) - 1)/(2a)
                    let a = f[(i, i)];
                    let variance = if a == 0.0 {
                        g[(i, i)] * tau
                    } else {
                        g[(i, i)] * (2.0 * a * tau).exp_m1() / (2.0 * a)
                    };
                    y[i] = (a * tau).exp() * y[i] + variance.sqrt() * xi[i];
                }
                y[x] += 0.5 * tau * f[(x, v)] * y[v];
                y[v] += 0.5 * tau * f[(v, x)] * y[x];
                y
            }
            Scheme::Exact => {
                let Some((mean, l)) = sde.exact(s, t) else {
                    return u;
                };
                let (m, w) = (apply(&mean, u), apply(&l, xi));
                std::array::from_fn(|i| m[i] + w[i])
            }
        }
    }

    /// The noise of one step of length 2h that follows the same Brownian path as two steps of
    /// length h. For the exact scheme and for splittings this couples, but not perfectly: their
    /// Gaussians are not increments of W.
    pub fn combine<const K: usize>(
        self,
        first: [[f64; K]; 2],
        second: [[f64; K]; 2],
    ) -> [[f64; K]; 2] {
        let r = std::f64::consts::FRAC_1_SQRT_2;
        let sum: [f64; K] = std::array::from_fn(|i| r * (first[0][i] + second[0][i]));
        // With W = sqrt(h) a and I10 = h^1.5 (a + c/sqrt 3)/2 over a step h: over 2h, I10 = I10' +
        // I10'' + h W'. Set equal to (2h)^1.5 (A + C/sqrt 3)/2, where A is the sum above, and
        // solved for C.
        let root3 = 3f64.sqrt();
        let other = std::array::from_fn(|i| {
            let [(a, c), (b, d)] = [(first[0][i], first[1][i]), (second[0][i], second[1][i])];
            let integral = 0.5 * (a + c / root3) + 0.5 * (b + d / root3) + a;
            root3 * (2.0 * integral / 8f64.sqrt() - sum[i])
        });
        [sum, other]
    }
}

fn apply<const K: usize>(m: &Mat<K>, x: [f64; K]) -> [f64; K] {
    std::array::from_fn(|i| (0..K).map(|j| m[(i, j)] * x[j]).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong coupling: the combined draws must be standard normals, uncorrelated with
    /// each other. Read off the coefficients of the four fine draws: orthonormal rows.
    #[test]
    fn combined_noise_is_standard() {
        let unit = |k: usize| {
            let mut n = [[0.0; 1]; 4];
            n[k] = [1.0];
            Scheme::Sra1.combine([n[0], n[1]], [n[2], n[3]])
        };
        let rows: Vec<[f64; 2]> = (0..4).map(|k| unit(k).map(|x| x[0])).collect();
        for (i, j, want) in [(0, 0, 1.0), (1, 1, 1.0), (0, 1, 0.0)] {
            let dot: f64 = rows.iter().map(|r| r[i] * r[j]).sum();
            assert!((dot - want).abs() < 1e-15, "{i}{j}: {dot}"); // four products of numbers below 1
        }
    }
}
