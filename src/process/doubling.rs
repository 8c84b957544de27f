//! The generic route from `(F, G G^T)` to the transition: a short Taylor series, then doubling.
//!
//! ```text
//! Phi(2h) = Phi(h)^2,   Q(2h) = Q(h) + Phi(h) Q(h) Phi(h)^T
//! ```
//!
//! The covariance only ever gains positive semidefinite terms. Everything runs in double words: the
//! relative error of each entry stays near `1e-31 * |F| tau`, which after rounding is none at all.
//! One thing is beyond the rule: at late times an off-diagonal entry of the covariance may vanish
//! exponentially, and then it is what is left of a sum of large terms. There
//! [`Law::near_stationary`] takes over, for a process whose stationary law is known.

use super::moments::{Factors, Moments};
use crate::dd::Dd;
use crate::small::Mat;

/// Mean matrix and covariance in double words, with a square root of the covariance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law<const K: usize> {
    /// Mean matrix Phi.
    pub mean: Mat<K, Dd>,
    /// Covariance, `noise_factor noise_factor^T + initial_factor initial_factor^T`.
    pub cov: Mat<K, Dd>,
    /// Cholesky factor of the transition's covariance Q (0 where Q is singular).
    pub noise_factor: Mat<K, Dd>,
    /// Phi times the root of the initial covariance.
    pub initial_factor: Mat<K, Dd>,
    /// A standard deviation added to every channel, independent of all else; 0 unless asked for.
    pub added: Dd,
    /// Log-determinant of the covariance, where the stationary law is near and so gives it without
    /// loss.
    pub log_det: Option<f64>,
}

impl<const K: usize> Law<K> {
    /// The law of `u_t` when `u_s` has the diagonal covariance `initial`: `Phi initial Phi^T + Q`.
    pub fn started_from(&self, initial: &[Dd; K]) -> Law<K> {
        let initial_factor = Mat::build(|i, j| self.mean[(i, j)] * initial[j].sqrt());
        let start = Mat::build(|i, j| if i == j { initial[i] } else { Dd::ZERO });
        Law {
            cov: self.cov.plus(&self.mean.sandwich(&start)),
            initial_factor,
            log_det: None,
            ..*self
        }
    }

    /// The covariance, its off-diagonal entries by the route that cancels less. Random velocities
    /// of one temperature are turned into each other and stay what they were: what friction and
    /// noise leave of their covariances, at tiny times a millionth of a millionth of the terms, is
    /// not what is left of their sum, but with S diagonal and `Sigma0 = gamma S` but for the first
    /// channel
    ///
    /// ```text
    /// Phi Sigma0 Phi^T = gamma (S - Q - S_00 phi phi^T),   phi the first column of Phi
    /// ```
    pub(super) fn with_what_rotation_leaves(
        &self,
        q: &Mat<K, Dd>,
        s: &Mat<K, Dd>,
        initial: &[Dd; K],
    ) -> Mat<K, Dd> {
        let gamma = initial[1] / s[(1, 1)];
        let alike = |i: usize| (initial[i] - gamma * s[(i, i)]).abs().hi <= 1e-30 * initial[i].hi;
        let diagonal = (0..K * K).all(|n| n / K == n % K || s[(n / K, n % K)].hi == 0.0);
        if !(diagonal && (1..K).all(alike)) {
            return self.cov;
        }
        Mat::build(|i, j| {
            let terms = q[(i, j)].hi.abs()
                + (1..K)
                    .map(|l| {
                        (self.mean[(i, l)] * self.mean[(j, l)] * initial[l])
                            .hi
                            .abs()
                    })
                    .sum::<f64>();
            let (noise, data) = (
                (Dd::ONE - gamma) * q[(i, j)],
                gamma * s[(0, 0)] * self.mean[(i, 0)] * self.mean[(j, 0)],
            );
            if i != j && noise.hi.abs() + data.hi.abs() < terms {
                noise - data
            } else {
                self.cov[(i, j)]
            }
        })
    }

    /// The same transition, its covariance as `S - Phi S Phi^T` where Phi has become small: every
    /// entry then keeps its relative accuracy, also one that vanishes exponentially. `S` is the
    /// stationary covariance.
    pub fn near_stationary(self, s: &Mat<K, Dd>) -> Law<K> {
        let back = self.mean.sandwich(s);
        let small = (0..K).all(|i| back[(i, i)].hi <= 0.25 * s[(i, i)].hi);
        if !small {
            return self;
        }
        let cov = Mat::build(|i, j| s[(i, j)] - back[(i, j)]);
        Law {
            cov,
            noise_factor: cov.cholesky().unwrap_or(self.noise_factor),
            ..self
        }
    }

    /// With `epsilon` added to every variance, as some published code does.
    pub fn with_variance_added(&self, epsilon: f64) -> Law<K> {
        let cov = Mat::build(|i, j| {
            if i == j {
                self.cov[(i, j)] + Dd::from(epsilon)
            } else {
                self.cov[(i, j)]
            }
        });
        Law {
            cov,
            added: Dd::from(epsilon).sqrt(),
            log_det: self.log_det.filter(|_| epsilon == 0.0),
            ..*self
        }
    }

    /// Rounded, with factors and determinant (`det = 0` and no factors where the covariance is
    /// singular).
    pub fn moments(&self) -> Moments<K> {
        let added = Mat::build(|i, j| if i == j { self.added } else { Dd::ZERO });
        let columns: Vec<[Dd; K]> = [&self.noise_factor, &self.initial_factor, &added]
            .into_iter()
            .flat_map(|m| (0..K).map(|j| std::array::from_fn(|i| m[(i, j)])))
            .filter(|c: &[Dd; K]| c.iter().any(|x| x.hi != 0.0))
            .collect();
        let (det, factors) = match (Minors { columns: &columns }).factors() {
            Some((det, f)) => (
                det,
                Some(Box::new(Factors {
                    log_det: self.log_det.unwrap_or(f.log_det),
                    ..f
                })),
            ),
            None => (0.0, None),
        };
        Moments {
            mean: self.mean.round(),
            cov: self.cov.round(),
            det,
            factors,
        }
    }
}

/// Minors of `B B^T` from the columns of B, by the Cauchy-Binet formula.
///
/// ```text
/// det (B B^T)[I, J] = sum over column sets S of det B[I, S] det B[J, S]
/// ```
///
/// Factoring the covariance itself would square the condition number: at t = 1e-12 a chain of order
/// 4 with random initial velocities then needs some 60 digits. From the root B, whose small entries
/// are all accurate, double words are enough: the sums for principal minors have positive terms
/// only.
struct Minors<'a, const K: usize> {
    columns: &'a [[Dd; K]],
}

impl<const K: usize> Minors<'_, K> {
    /// The minor with rows `rows` and columns `cols` (of equal number) of `B B^T`.
    fn of(&self, rows: &[usize], cols: &[usize]) -> Dd {
        let (n, k) = (self.columns.len(), rows.len());
        if k == 0 {
            return Dd::ONE;
        }
        if k > n {
            return Dd::ZERO;
        }
        let mut set: Vec<usize> = (0..k).collect();
        let mut sum = Dd::ZERO;
        loop {
            let a = self.det(rows, &set);
            let b = if rows == cols {
                a
            } else {
                self.det(cols, &set)
            };
            sum = sum + a * b;
            // next subset in lexicographic order
            let Some(i) = (0..k).rev().find(|&i| set[i] < n - k + i) else {
                return sum;
            };
            set[i] += 1;
            for j in i + 1..k {
                set[j] = set[j - 1] + 1;
            }
        }
    }

    /// `det B[rows, set]` by expansion along the first row: sums of products of accurate entries.
    fn det(&self, rows: &[usize], set: &[usize]) -> Dd {
        match rows {
            [r] => self.columns[set[0]][*r],
            [first, rest @ ..] => {
                let mut sum = Dd::ZERO;
                for (p, &c) in set.iter().enumerate() {
                    let entry = self.columns[c][*first];
                    if entry.hi == 0.0 {
                        continue;
                    }
                    let mut others = set.to_vec();
                    others.remove(p);
                    let term = entry * self.det(rest, &others);
                    sum = if p % 2 == 0 { sum + term } else { sum - term };
                }
                sum
            }
            [] => Dd::ONE,
        }
    }

    /// Lower factor and its inverse transpose, with the channels taken in the given order:
    /// `L_jk = m({1..k-1, j}, {1..k}) / sqrt(D_k D_(k-1))`,
    /// `(L^-1)_kj = +- m({1..k} - j, {1..k-1}) / sqrt(...)`.
    fn triangular(&self, order: &[usize]) -> Option<(Mat<K, Dd>, Mat<K, Dd>)> {
        let zero = Mat::<K>::ZERO.to_dd();
        let (mut l, mut inverse_transpose) = (zero, zero);
        let mut before = Dd::ONE;
        for k in 0..K {
            let lead = &order[..=k];
            let d = self.of(lead, lead);
            let norm = d.sqrt() * before.sqrt();
            // double words need 106 bits above the smallest normal number
            if !(norm.hi > 1e-270) {
                return None;
            }
            for j in k..K {
                let mut rows = order[..k].to_vec();
                rows.push(order[j]);
                l[(order[j], order[k])] = self.of(&rows, lead) / norm;
            }
            for j in 0..=k {
                let rows: Vec<usize> = (0..=k).filter(|&i| i != j).map(|i| order[i]).collect();
                let m = self.of(&rows, &order[..k]) / norm;
                inverse_transpose[(order[j], order[k])] = if (j + k) % 2 == 0 { m } else { -m };
            }
            before = d;
        }
        Some((l, inverse_transpose))
    }

    /// The same by making the rows of B orthogonal, one after the other and each twice. For five
    /// channels and more, whose minors are too many: the rows' own scales cancel, and what
    /// condition is left costs double words a few digits of their thirty-two.
    fn orthogonal(&self, order: &[usize]) -> Option<(Mat<K, Dd>, Mat<K, Dd>)> {
        let zero = Mat::<K>::ZERO.to_dd();
        let (mut l, mut inverse_transpose) = (zero, zero);
        let dot = |a: &[Dd], b: &[Dd]| a.iter().zip(b).fold(Dd::ZERO, |s, (x, y)| s + *x * *y);
        let mut directions: Vec<Vec<Dd>> = Vec::with_capacity(K);
        for (k, &channel) in order.iter().enumerate() {
            let mut row: Vec<Dd> = self.columns.iter().map(|c| c[channel]).collect();
            let before = dot(&row, &row).sqrt();
            for _ in 0..2 {
                for (j, q) in directions.iter().enumerate() {
                    let part = dot(&row, q);
                    l[(channel, order[j])] = l[(channel, order[j])] + part;
                    row.iter_mut().zip(q).for_each(|(x, y)| *x = *x - part * *y);
                }
            }
            let norm = dot(&row, &row).sqrt();
            // a row that is left with fewer digits than an f64 has is one of the others
            if !(norm.hi > 1e-140 && norm.hi > 1e-14 * before.hi) {
                return None;
            }
            l[(channel, channel)] = norm;
            directions.push(row.iter().map(|x| *x / norm).collect());
            // row k of L^-1, by substitution
            for j in 0..=k {
                let own = if j == k { Dd::ONE } else { Dd::ZERO };
                let rest = (j..k).fold(own, |s, i| {
                    s - l[(channel, order[i])] * inverse_transpose[(order[j], order[i])]
                });
                inverse_transpose[(order[j], channel)] = rest / norm;
            }
        }
        Some((l, inverse_transpose))
    }

    /// Determinant and factors of five channels and more.
    fn many(&self) -> Option<(f64, Factors<K>)> {
        let forward: Vec<usize> = (0..K).collect();
        let backward: Vec<usize> = (0..K).rev().collect();
        let (lower, inverse_transpose_lower) = self.orthogonal(&forward)?;
        let (upper, inverse_transpose_upper) = self.orthogonal(&backward)?;
        let det = (0..K).fold(Dd::ONE, |d, k| d * lower[(k, k)] * lower[(k, k)]);
        let log_det = (0..K)
            .fold(Dd::ZERO, |s, k| s + lower[(k, k)].ln())
            .scale(2.0)
            .to_f64();
        let factors = Factors {
            lower: lower.round(),
            upper: upper.round(),
            inverse: inverse_transpose_lower
                .matmul(&inverse_transpose_lower.transpose())
                .round(),
            inverse_transpose_lower: inverse_transpose_lower.round(),
            inverse_transpose_upper: inverse_transpose_upper.round(),
            log_det,
        };
        Some((det.to_f64(), factors))
    }

    /// Determinant and factors; `None` where the covariance is singular.
    fn factors(&self) -> Option<(f64, Factors<K>)> {
        if K > 4 {
            return self.many();
        }
        let forward: Vec<usize> = (0..K).collect();
        let backward: Vec<usize> = (0..K).rev().collect();
        let (lower, inverse_transpose_lower) = self.triangular(&forward)?;
        let (upper, inverse_transpose_upper) = self.triangular(&backward)?;
        let det = self.of(&forward, &forward);
        let inverse = Mat::build(|i, j| {
            let but = |x: usize| {
                forward
                    .iter()
                    .copied()
                    .filter(|&r| r != x)
                    .collect::<Vec<_>>()
            };
            let m = self.of(&but(i), &but(j)) / det;
            if (i + j) % 2 == 0 { m } else { -m }
        });
        let factors = Factors {
            lower: lower.round(),
            upper: upper.round(),
            inverse: inverse.round(),
            inverse_transpose_lower: inverse_transpose_lower.round(),
            inverse_transpose_upper: inverse_transpose_upper.round(),
            log_det: det.hi.ln() + det.lo / det.hi,
        };
        Some((det.to_f64(), factors))
    }
}

/// The transition over a stretch `tau` of the process's own clock, from its drift and noise alone.
///
/// Formula: transition.mean = exp(F tau), transition.cov = integral of exp(F s) G G^T exp(F s)^T
/// over [0, tau]. Accuracy: each entry within 1 ulp of f64 after rounding, for |F| tau up to 1e8.
pub fn doubling<const K: usize>(drift: &Mat<K, Dd>, noise: &Mat<K, Dd>, tau: Dd) -> Law<K> {
    let zero = Mat::<K>::ZERO.to_dd();
    let size = (0..K)
        .map(|i| (0..K).map(|j| drift[(i, j)].hi.abs()).sum::<f64>())
        .fold(0.0, f64::max)
        * tau.hi;
    // |F| h <= 1/4: then 30 terms of either series are below 1e-33 of the first that is not zero.
    let steps = if size > 0.25 {
        (size * 4.0).log2().ceil() as i32
    } else {
        0
    };
    let h = tau.scale(2f64.powi(-steps));
    // Fewer for a shorter step: an entry's first term that is not zero is the (2 K)th at the
    // latest, and what follows falls by |F| h each time.
    let x = size * 2f64.powi(-steps);
    let enough = if x > 0.0 {
        2 * K + 2 + (34.0 / -x.log10()).ceil() as usize
    } else {
        2 * K + 2
    };

    let mut phi = Mat::<K>::identity().to_dd();
    let mut term = drift.times(h);
    for n in 2..enough.clamp(2, 32) {
        phi = phi.plus(&term);
        term = term.matmul(drift).times(h / Dd::from(n as f64));
    }
    // Q = sum over n >= 1 of h^n/n! L^(n-1)(G G^T), L(D) = F D + D F^T
    let mut q = zero;
    let mut term = noise.times(h);
    for n in 2..enough.clamp(2, 38) {
        q = q.plus(&term);
        let fd = drift.matmul(&term);
        term = fd.plus(&fd.transpose()).times(h / Dd::from(n as f64));
    }
    for _ in 0..steps {
        q = q.plus(&phi.sandwich(&q));
        phi = phi.matmul(&phi);
    }
    Law {
        mean: phi,
        cov: q,
        noise_factor: q.cholesky().unwrap_or(zero),
        initial_factor: zero,
        added: Dd::ZERO,
        log_det: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches an error in either route to the factors: minors, and rows made orthogonal, of a
    /// chain of four at times at which the covariance's entries differ by forty orders of
    /// magnitude.
    #[test]
    fn both_routes_to_the_factors_agree() {
        let drift = Mat::<4>::build(|i, j| if j == i + 1 { 1.0 } else { 0.0 } - if i == 3 { [1.0, 2.0, 3.0, 4.0][j] } else { 0.0 }).to_dd();
        let noise = Mat::<4>::build(|i, j| if i == 3 && j == 3 { 2.0 } else { 0.0 }).to_dd();
        for tau in [1e-6, 1e-3, 0.5, 8.0] {
            let law = doubling(&drift, &noise, Dd::from(tau));
            let columns: Vec<[Dd; 4]> = (0..4)
                .map(|j| std::array::from_fn(|i| law.noise_factor[(i, j)]))
                .collect();
            let minors = Minors { columns: &columns };
            let ((det, a), (other, b)) = (
                minors.factors().expect("regular"),
                minors.many().expect("regular"),
            );
            let pairs = [
                (a.lower, b.lower),
                (a.upper, b.upper),
                (a.inverse, b.inverse),
                (a.inverse_transpose_lower, b.inverse_transpose_lower),
                (a.inverse_transpose_upper, b.inverse_transpose_upper),
            ];
            // one rounding each; the inverse's entries are sums that cancel less than a digit of
            // thirty-two
            let near = |x: f64, y: f64| (x - y).abs() <= 2.0 * f64::EPSILON * x.abs();
            for (a, b) in pairs {
                assert!(
                    (0..16).all(|n| near(a[(n / 4, n % 4)], b[(n / 4, n % 4)])),
                    "at {tau}: {a:?} is not {b:?}"
                );
            }
            assert!(near(det, other) && near(a.log_det, b.log_det), "at {tau}");
        }
    }
}
