//! Log-determinants where the determinant rounds to 1, and covariances that are next to nothing
//! beside their terms.

use cld_sgm::kernel::{Kernel, Objective, kernel_values};
use cld_sgm::process::{
    AnyProcess, Cld, CldDamped, CldPosition, Langevin, LinearSde, Psld, Reversed, SubVp, Ve, Vp,
    erase,
};
use cld_sgm::{Mat, Schedule};

/// The log-determinant near a stationary law of determinant 1, to first order in what is missing:
/// `-tr S^-1 Phi (S - Sigma0) Phi^T`; by hand from the mean matrix, S diagonal. Beyond it is the
/// square of that, below 1e-17 of it here.
fn first_order(p: &dyn AnyProcess, mean: &[f64], gamma: f64) -> f64 {
    let (k, s) = (p.channels(), p.stationary().unwrap());
    let start = |j: usize| s[(j, j)] - if j > 0 { gamma * p.mass() } else { 0.0 };
    -(0..k)
        .map(|i| {
            (0..k)
                .map(|j| mean[i * k + j].powi(2) * start(j))
                .sum::<f64>()
                / s[(i, i)]
        })
        .sum::<f64>()
}

/// Catches the logarithm of a determinant that has rounded to 1: 0 for -9e-29, and no correct digit
/// for -1e-14. Every process whose stationary determinant is 1, both objectives, by the kernel and
/// by the object-safe face; the logarithm of the determinant, planted, must be far off. Tolerance:
/// 1e-12, the mean's few ulp and the second order.
#[test]
fn log_determinants_keep_their_digits() {
    fn check<const K: usize>(
        p: impl LinearSde<K> + Clone + Send + Sync + 'static,
        stops: &[f64],
    ) -> usize {
        let any = erase(p.clone()).unwrap();
        let mut seen = 0;
        for gamma in [None, Some(0.04), Some(1.0), Some(3.0)] {
            if K == 1 && gamma.is_some() {
                continue;
            }
            let objective = gamma.map_or(Objective::DSM, |g| Objective::hsm(g).unwrap());
            for &b in stops {
                let schedule = Schedule::constant(b).unwrap();
                let kernel = Kernel::new(&p, &schedule, objective, 1.0).unwrap();
                let values = kernel_values(&*any, &schedule, objective, 0.0, 1.0).unwrap();
                let mean: Vec<f64> = kernel.mean().0.concat();
                // sub-VP's noise is not constant in its clock: (1 - e^-B)^2
                let want = if any.name() == "sub-vp" {
                    -2.0 * (-b).exp()
                } else {
                    first_order(&*any, &mean, gamma.unwrap_or(0.0))
                };
                for got in [kernel.log_det(), values.logdet] {
                    assert!(
                        (got / want - 1.0).abs() < 1e-12,
                        "{} {gamma:?} at {b}: {got:e} for {want:e}",
                        any.name()
                    );
                }
                assert!(
                    !((kernel.det().ln() / want - 1.0).abs() < 1e-3),
                    "{} {gamma:?} at {b}: planted",
                    any.name()
                );
                seen += 1;
            }
        }
        seen
    }
    let (early, late) = ([45.0, 60.0, 100.0, 300.0], [20.0, 40.0, 100.0]);
    let seen = check(Vp, &early)
        + check(SubVp, &early)
        + check(Cld::new(1.0).unwrap(), &[30.0, 60.0, 340.0])
        + check(CldDamped::new(1.0, 1.0).unwrap(), &[60.0, 100.0])
        + check(CldDamped::new(1.0, 2.5).unwrap(), &[60.0, 100.0])
        + check(
            Reversed::new(Cld::new(1.0).unwrap()).unwrap(),
            &[30.0, 60.0],
        )
        + check(Psld::new(1.0, 3.0).unwrap(), &[40.0, 80.0])
        + check(CldPosition::new(1.0, 0.0, 2.0).unwrap(), &[30.0, 60.0])
        + check(Langevin::<2>::critical().unwrap(), &[30.0, 60.0])
        + check(Langevin::<3>::critical().unwrap(), &late)
        + check(Langevin::<4>::critical().unwrap(), &late);
    assert_eq!(seen, 4 + 4 + 4 * (3 + 2 + 2 + 2 + 2 + 2 + 2 + 3 + 3));
    // elsewhere it is the determinant's own logarithm
    for (mass, t) in [(0.25, 0.5), (4.0, 0.5), (1.0, 0.1)] {
        let kernel = Kernel::new(
            &Cld::new(mass).unwrap(),
            &Schedule::constant(4.0).unwrap(),
            Objective::DSM,
            t,
        )
        .unwrap();
        assert_eq!(kernel.log_det(), kernel.det().ln());
    }
    let ve = Kernel::new(
        &Ve,
        &Schedule::geometric(0.01, 1.0).unwrap(),
        Objective::DSM,
        1.0,
    )
    .unwrap();
    assert!((ve.log_det() - (-1e-4f64).ln_1p()).abs() < 1e-15);
}

/// Catches a covariance that is what rounding leaves of terms that cancel: chains of order 3 and 4
/// started with random velocities, whose covariance of v and a is of order tau^2 and tau^3 beside
/// terms of order tau. In the limit tau -> 0, by the moment equations, order 3:
/// `(1 - gamma) xi g_2 tau^2` (noise and friction are in a), order 4: `gamma g_1^2 g_2 tau^3 / 2`
/// (x is not random at the start; noise and friction come a power of tau later). Tolerance: 1e4 tau
/// for the next order, and 1e-14.
#[test]
fn covariances_keep_their_signs() {
    fn off<const K: usize>(t: f64, gamma: f64) -> (f64, f64) {
        let p = Langevin::<K>::critical().unwrap();
        let (f, xi) = (p.drift(), p.noise()[(K - 1, K - 1)] / 2.0);
        let any = erase(p).unwrap();
        let v = kernel_values(
            &*any,
            &Schedule::constant(1.0).unwrap(),
            Objective::hsm(gamma).unwrap(),
            0.0,
            t,
        )
        .unwrap();
        let (g1, g2) = (f[(0, 1)], f[(1, 2)]);
        let want = if K == 3 {
            (1.0 - gamma) * xi * g2 * t * t
        } else {
            0.5 * gamma * g1 * g1 * g2 * t.powi(3)
        };
        (v.cov[(1, 2)], want)
    }
    for t in [1e-6, 1e-9, 1e-12, 1e-15, 1e-18, 1e-20] {
        for gamma in [0.04, 0.5, 3.0] {
            for (order, (got, want)) in [(3, off::<3>(t, gamma)), (4, off::<4>(t, gamma))] {
                assert!(
                    (got / want - 1.0).abs() < 1e4 * t + 1e-14,
                    "order {order}, gamma {gamma} at {t:e}: {got:e} for {want:e}"
                );
            }
        }
    }
}

/// Catches a determinant by a wrong sign or minor: against an integer one of each size.
#[test]
fn determinants_of_small_matrices() {
    assert_eq!(Mat([[-3.0]]).det(), -3.0);
    assert_eq!(Mat([[1.0, 2.0], [3.0, 4.0]]).det(), -2.0);
    assert_eq!(
        Mat([[2.0, 0.0, 1.0], [1.0, 3.0, 2.0], [1.0, 1.0, 1.0]]).det(),
        0.0
    );
    assert_eq!(
        Mat([[2.0, 0.0, 1.0], [1.0, 3.0, 2.0], [1.0, 1.0, 4.0]]).det(),
        18.0
    );
    // Pascal's matrix has determinant 1, whatever its size; two rows swapped, -1
    let pascal = [
        [1.0, 1.0, 1.0, 1.0],
        [1.0, 2.0, 3.0, 4.0],
        [1.0, 3.0, 6.0, 10.0],
        [1.0, 4.0, 10.0, 20.0],
    ];
    assert_eq!(Mat(pascal).det(), 1.0);
    assert_eq!(
        Mat([pascal[1], pascal[0], pascal[2], pascal[3]]).det(),
        -1.0
    );
}
