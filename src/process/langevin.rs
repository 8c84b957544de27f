//! Langevin diffusion of order n: x, v, and further auxiliary variables, noise in the last alone.

use super::any::{AnyProcess, erase};
use super::entry::Given::Number;
use super::entry::{
    Accuracy, Audited, Bound, Example, Given, Params, ProcessEntry, Rate, Under, Vectors,
};
use super::linear::LinearSde;
use crate::dd::Dd;
use crate::error::{Error, Result};
use crate::small::Mat;

/// Order-K Langevin diffusion: a chain of K variables, each coupled to the next, friction and noise
/// on the last.
///
/// ```text
/// du_j = (g_j u_(j+1) - g_(j-1) u_(j-1)) b dt,                        j < K
/// du_K = (-g_(K-1) u_(K-1) - xi u_K) b dt + sqrt(2 xi b) dW,          prior N(0, I)
/// ```
///
/// At the critically damped choice all K eigenvalues of the drift are `-lambda`. With `g_1 = 1`
/// this fixes
///
/// ```text
/// lambda^2 = 2K - 3,   xi = K lambda,   g_(K-k)^2 = (2K - 3)(K^2 - k^2) / (4k^2 - 1),   k = 1 .. K-1
/// ```
///
/// (the Schwarz matrix of (s + lambda)^K; test `characteristic_polynomial`). K = 2 is CLD with
/// M = 1. HSM's initial variance `gamma` holds for v and every further variable. Moments come from
/// `doubling`.
///
/// Formula: langevin.drift. Source: higher-order Langevin dynamics (Shi and Liu 2024) for K >= 3;
/// the general parameters are ours. Accuracy: correctly rounded but for a few cases in a million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Langevin<const K: usize> {
    /// g_1 .. g_(K-1); the last place is unused.
    couplings: [Dd; K],
    friction: Dd,
}

impl<const K: usize> Langevin<K> {
    /// The critically damped chain.
    ///
    /// # Errors
    /// Unless K is 2, 3 or 4.
    pub fn critical() -> Result<Self> {
        if !(2..=4).contains(&K) {
            return Err(Error::parameter("order", K, "2, 3 or 4"));
        }
        let n = K as f64;
        let mut couplings = [Dd::ZERO; K];
        for k in 1..K {
            let kf = k as f64;
            couplings[K - k - 1] = (Dd::from((2.0 * n - 3.0) * (n * n - kf * kf))
                / Dd::from(4.0 * kf * kf - 1.0))
            .sqrt();
        }
        Ok(Langevin {
            couplings,
            friction: Dd::from(2.0 * n - 3.0).sqrt() * Dd::from(n),
        })
    }

    /// Any couplings `g_1 .. g_(K-1)` and friction `xi`.
    ///
    /// # Errors
    /// Unless K is 2, 3 or 4, there are K - 1 couplings, and all are within [1e-6, 1e6].
    pub fn new(couplings: &[f64], friction: f64) -> Result<Self> {
        if !(2..=4).contains(&K) {
            return Err(Error::parameter("order", K, "2, 3 or 4"));
        }
        if couplings.len() != K - 1 {
            return Err(Error::shape(
                "couplings",
                &[couplings.len()],
                format!("[{}]", K - 1),
            ));
        }
        let range = 1e-6..=1e6;
        for &g in couplings.iter().chain([&friction]) {
            if !range.contains(&g) {
                return Err(Error::parameter("couplings and friction", g, "1e-6 to 1e6"));
            }
        }
        let couplings =
            std::array::from_fn(|j| couplings.get(j).map_or(Dd::ZERO, |&g| Dd::from(g)));
        Ok(Langevin {
            couplings,
            friction: Dd::from(friction),
        })
    }
}

impl<const K: usize> LinearSde<K> for Langevin<K> {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn drift(&self) -> Mat<K> {
        self.drift_dd().round()
    }

    fn noise(&self) -> Mat<K> {
        self.noise_dd().round()
    }

    fn stationary(&self) -> Option<Mat<K>> {
        Some(Mat::identity())
    }

    fn drift_dd(&self) -> Mat<K, Dd> {
        Mat::build(|i, j| {
            if j == i + 1 {
                self.couplings[i]
            } else if i == j + 1 {
                -self.couplings[j]
            } else if i == j && i == K - 1 {
                -self.friction
            } else {
                Dd::ZERO
            }
        })
    }

    fn noise_dd(&self) -> Mat<K, Dd> {
        Mat::build(|i, j| {
            if i == j && i == K - 1 {
                self.friction.scale(2.0)
            } else {
                Dd::ZERO
            }
        })
    }

    fn parity(&self) -> Option<[f64; K]> {
        Some(std::array::from_fn(|i| if i % 2 == 0 { 1.0 } else { -1.0 }))
    }
}

fn build(p: &Params) -> Result<Box<dyn AnyProcess>> {
    if let Some(w) = p.word("damping")?.filter(|&w| w != "critical") {
        return Err(Error::parameter("damping", format!("`{w}`"), "critical"));
    }
    match p.number("order")? {
        2.0 => erase(Langevin::<2>::critical()?),
        3.0 => erase(Langevin::<3>::critical()?),
        4.0 => erase(Langevin::<4>::critical()?),
        n => Err(Error::parameter("order", n, "2, 3 or 4")),
    }
}

const fn vectors(params: Example) -> Vectors {
    Vectors {
        params,
        rate: Rate::Linear(0.1, 19.9),
        under: Under::Both,
        flags: &["HigherOrder", "TimeDependentBeta"],
    }
}

const CRITICAL: (&str, Given) = ("damping", Given::Word("critical"));

/// The chains in the registry.
pub(super) const ENTRY: ProcessEntry = ProcessEntry {
    name: "langevin-order-n",
    about: "Langevin chain of order 2, 3 or 4, critically damped",
    params: &["order", "damping", "velocity_var"],
    gamma: Some("velocity_var"),
    defaults: &[("order", 3.0), ("velocity_var", 0.04)],
    rate: Rate::Constant(8.0),
    parametrisation: "mixed",
    accuracy: &[Accuracy {
        family: "langevin-order-n",
        bound: Bound::Relative(1e-13),
        of: |_| true,
    }],
    vectors: &[
        vectors(&[
            ("order", Number(3.0)),
            CRITICAL,
            ("velocity_var", Number(0.04)),
        ]),
        vectors(&[
            ("order", Number(4.0)),
            CRITICAL,
            ("velocity_var", Number(0.04)),
        ]),
    ],
    audit: &[
        Audited {
            samplers: true,
            likelihood: true,
            ..Audited::kernels(
                "order-3",
                &[("order", Number(3.0)), ("velocity_var", Number(0.04))],
            )
        },
        Audited {
            drawn: true,
            ..Audited::kernels(
                "order-4",
                &[("order", Number(4.0)), ("velocity_var", Number(0.04))],
            )
        },
    ],
    own_coefficients: true,
    build,
    ..ProcessEntry::BASE
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a wrong coupling or friction: (F + lambda I)^K = 0 if and only if every eigenvalue
    /// is -lambda.
    #[test]
    fn characteristic_polynomial() {
        fn check<const K: usize>() {
            let p = Langevin::<K>::critical().unwrap();
            let lambda = Dd::from(2.0 * K as f64 - 3.0).sqrt();
            let n = p
                .drift_dd()
                .plus(&Mat::<K>::identity().to_dd().times(lambda));
            let mut power = n;
            for _ in 1..K {
                power = power.matmul(&n);
            }
            for x in power.round().0.concat() {
                assert!(x.abs() < 1e-27, "order {K}: {x:e}"); // entries up to 10^K, double-word rounding 1e-32 each
            }
        }
        check::<2>();
        check::<3>();
        check::<4>();
        assert!(Langevin::<1>::critical().is_err() && Langevin::<5>::critical().is_err());
    }
}
