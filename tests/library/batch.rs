//! Batches of kernels: against single ones, against double words, and the same bits on every set of
//! instructions.

use crate::support::on_every_set;
use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::worst::is_worse;
use cld_sgm::kernel::KernelBatch;
use cld_sgm::{Cld, Kernel, LinearSde, Objective, Schedule, Vp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn log_uniform(rng: &mut StdRng, low: f64, high: f64) -> f64 {
    (rng.random::<f64>() * (high / low).ln() + low.ln())
        .exp()
        .clamp(low, high)
}

fn schedules() -> [Schedule; 2] {
    [
        Schedule::constant(4.0).unwrap(),
        Schedule::linear(0.1, 19.9).unwrap(),
    ]
}

fn objectives() -> [Objective; 2] {
    [Objective::DSM, Objective::hsm(0.04).unwrap()]
}

/// All numbers of one row, in the order mean, covariance, factor, determinant, ell.
fn row(b: &KernelBatch<2>, r: usize) -> [f64; 12] {
    let (m, c, l) = (
        |i, j| b.mean(i, j)[r],
        |i, j| b.cov(i, j)[r],
        |i, j| b.lower(i, j)[r],
    );
    let lower = [l(0, 0), l(1, 0), l(1, 1)];
    [
        m(0, 0),
        m(0, 1),
        m(1, 0),
        m(1, 1),
        c(0, 0),
        c(1, 0),
        c(1, 1),
        lower[0],
        lower[1],
        lower[2],
        b.det()[r],
        b.ell()[r],
    ]
}

fn single(k: &Kernel<2>) -> [f64; 12] {
    let (m, c, l) = (k.mean(), k.cov(), k.lower());
    [
        m[(0, 0)],
        m[(0, 1)],
        m[(1, 0)],
        m[(1, 1)],
        c[(0, 0)],
        c[(1, 0)],
        c[(1, 1)],
        l[(0, 0)],
        l[(1, 0)],
        l[(1, 1)],
        k.det(),
        k.ell(),
    ]
}

/// Catches a column in the wrong place, a vector operation that is not its scalar twin, a wrong end
/// of the loop, a far time (z > 350, here M = 1e-4) that is not mended or mends its neighbours: the
/// bits of [`Kernel::new`] on every set, at lengths around each vector's width, and over a batch of
/// another length that was there before.
#[test]
fn batches_have_the_bits_of_single_kernels_on_every_set() {
    let mut rng = StdRng::seed_from_u64(41);
    for mass in [1e-4, 0.25, 1e4] {
        let cld = Cld::new(mass).unwrap();
        for (s, o) in schedules()
            .iter()
            .flat_map(|s| objectives().map(|o| (s, o)))
        {
            for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100] {
                let t: Vec<f64> = (0..n).map(|_| log_uniform(&mut rng, 1e-5, 1.0)).collect();
                let results = on_every_set(|| {
                    let mut b = KernelBatch::new(&cld, s, o, &[0.5; 21]).unwrap();
                    b.fill(&cld, s, o, &t).unwrap();
                    assert_eq!((b.len(), b.is_empty()), (n, n == 0));
                    let rows: Vec<_> = (0..n).map(|r| row(&b, r).map(f64::to_bits)).collect();
                    let singles: Vec<_> = t
                        .iter()
                        .map(|&t| single(&Kernel::new(&cld, s, o, t).unwrap()).map(f64::to_bits))
                        .collect();
                    (rows, singles)
                });
                let want = results[0].1.1.clone();
                for (set, (rows, singles)) in results {
                    assert_eq!(singles, want, "single kernels, {} M={mass}", set.name());
                    assert_eq!(
                        rows,
                        want,
                        "{} M={mass} {} {} n={n}",
                        set.name(),
                        s.name(),
                        o.name()
                    );
                }
            }
        }
    }
}

/// Catches an error of the vectorised form that the single one shares: against the generic route
/// (doubling in double words), which shares no formula with either; 8 ulp is the crate's promise.
/// Entries that vanish exponentially (below 1e-290, where the low words of the oracle underflow)
/// are left to tests/truth.rs. The covariance's xv crosses zero for no gamma < 2.
#[test]
fn batches_are_within_8_ulp_of_double_words() {
    let mut rng = StdRng::seed_from_u64(20_211_207);
    let (mut worst, mut compared) = ((0.0, String::new()), 0);
    for n in 0..60 {
        let mass = if n < 2 {
            [1e-4, 1e4][n]
        } else {
            log_uniform(&mut rng, 1e-4, 1e4)
        };
        let cld = Cld::new(mass).unwrap();
        for (s, o) in schedules()
            .iter()
            .flat_map(|s| objectives().map(|o| (s, o)))
        {
            let t: Vec<f64> = (0..37).map(|_| log_uniform(&mut rng, 1e-10, 1.0)).collect();
            let b = KernelBatch::new(&cld, s, o, &t).unwrap();
            for (r, &t) in t.iter().enumerate() {
                let law = cld.law(s.span(0.0, t).unwrap(), o.gamma());
                // det by Cauchy and Binet from the roots of both parts
                let column = |m: &cld_sgm::Mat<2, Dd>, j: usize| [m[(0, j)], m[(1, j)]];
                let roots = [
                    column(&law.noise_factor, 0),
                    column(&law.noise_factor, 1),
                    column(&law.initial_factor, 1),
                ];
                let minor =
                    |i: usize, j: usize| roots[i][0] * roots[j][1] - roots[i][1] * roots[j][0];
                let det = [minor(0, 1), minor(0, 2), minor(1, 2)]
                    .iter()
                    .fold(Dd::ZERO, |s, m| s + *m * *m);
                let (xx, xv, vv) = (law.cov[(0, 0)], law.cov[(0, 1)], law.cov[(1, 1)]);
                let (low, root) = (xx.sqrt(), det.sqrt());
                let m = &law.mean;
                let want = [
                    m[(0, 0)],
                    m[(0, 1)],
                    m[(1, 0)],
                    m[(1, 1)],
                    xx,
                    xv,
                    vv,
                    low,
                    xv / low,
                    root / low,
                    det,
                    low / root,
                ];
                for (c, (got, want)) in row(&b, r).into_iter().zip(want).enumerate() {
                    if want.hi.abs() < 1e-290 {
                        assert!(
                            got.abs() < 1.1e-290,
                            "column {c} M={mass:e} t={t:e}: {got:e}"
                        );
                        continue;
                    }
                    let size = want.hi.abs();
                    let ulp = (Dd::from(got) - want).to_f64().abs() / (size.next_up() - size);
                    compared += 1;
                    if is_worse(ulp, worst.0) {
                        worst = (
                            ulp,
                            format!("column {c} M={mass:e} t={t:e} {} {}", s.name(), o.name()),
                        );
                    }
                }
            }
        }
    }
    println!("{:.2} ulp: {}; {compared} values", worst.0, worst.1);
    assert!(worst.0 <= 8.0, "{} ulp: {}", worst.0, worst.1);
}

/// Catches a schedule or process without a fast way that goes another way in batches, and one
/// channel's columns.
#[test]
fn other_processes_and_rates_are_single_kernels() {
    let t = [1e-5, 0.1, 0.35, 0.9, 1.0];
    let (cosine, cld) = (
        Schedule::cosine(0.008, 0.9946).unwrap(),
        Cld::new(0.25).unwrap(),
    );
    let b = KernelBatch::new(&cld, &cosine, Objective::DSM, &t).unwrap();
    let one = KernelBatch::new(&Vp, &schedules()[1], Objective::DSM, &t).unwrap();
    for (r, &t) in t.iter().enumerate() {
        assert_eq!(
            row(&b, r),
            single(&Kernel::new(&cld, &cosine, Objective::DSM, t).unwrap())
        );
        let k = Kernel::new(&Vp, &schedules()[1], Objective::DSM, t).unwrap();
        let got = [
            one.mean(0, 0)[r],
            one.cov(0, 0)[r],
            one.lower(0, 0)[r],
            one.det()[r],
            one.ell()[r],
        ];
        assert_eq!(
            got,
            [
                k.mean()[(0, 0)],
                k.cov()[(0, 0)],
                k.lower()[(0, 0)],
                k.det(),
                k.ell()
            ]
        );
    }
}

/// Catches a time that is let in, an error that is not that of the single kernel, and rows left
/// over after a refusal.
#[test]
fn refusals_are_those_of_single_kernels() {
    let (cld, [constant, linear]) = (Cld::new(0.25).unwrap(), schedules());
    for bad in [0.0, -0.1, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY] {
        for at in [0, 8, 16] {
            let mut t = [0.5; 17];
            let mut b = KernelBatch::new(&cld, &constant, Objective::DSM, &t).unwrap();
            t[at] = bad;
            let error = b.fill(&cld, &constant, Objective::DSM, &t).unwrap_err();
            assert_eq!(
                error.to_string(),
                Kernel::new(&cld, &constant, Objective::DSM, bad)
                    .unwrap_err()
                    .to_string()
            );
            assert!(b.is_empty() && b.det().is_empty() && b.mean(0, 1).is_empty());
        }
    }
    // a determinant (of order t^4) that is no normal number: the time is allowed, the kernel
    // degenerate
    let tiny = 1e-80;
    let single = Kernel::new(&cld, &linear, Objective::DSM, tiny).unwrap_err();
    let batch = KernelBatch::new(&cld, &linear, Objective::DSM, &[0.5, tiny, 0.5]).unwrap_err();
    assert_eq!(batch.to_string(), single.to_string());
    let hsm = Objective::hsm(0.04).unwrap();
    let single = Kernel::new(&Vp, &linear, hsm, 0.5).unwrap_err();
    assert_eq!(
        KernelBatch::new(&Vp, &linear, hsm, &[0.5])
            .unwrap_err()
            .to_string(),
        single.to_string()
    );
}
