//! Likelihoods against exact densities of a mixture, written here anew from the kernel's mean and
//! covariance.

use cld_sgm::data::entry;
use cld_sgm::internal::worst::Worst;
use cld_sgm::kernel::KernelValues;
use cld_sgm::likelihood::{
    Divergence, Likelihood, Probe, Terminal, Trace, bits_per_dimension, dequantise,
};
use cld_sgm::score::{Gaussian, MixtureScore, Score};
use cld_sgm::{Cld, Diffusion, Psld, Result, Schedule, Vp};

/// Components of (weight, mean per coordinate, deviation), round ones.
struct Mixture {
    diffusion: Diffusion,
    components: Vec<(f64, Vec<f64>, f64)>,
}

/// Per component: log-density of a row, and its precision.
type Parts = Vec<(f64, Vec<f64>, Vec<f64>)>;

fn most(parts: &Parts) -> f64 {
    parts.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max)
}

impl Mixture {
    fn new(diffusion: &Diffusion, dim: usize) -> Mixture {
        let means = [[0.7, -1.2, 0.3], [-0.5, 0.2, -0.9], [1.1, 0.8, 0.1]];
        let components = [0.2, 0.3, 0.5].iter().zip(means).zip([0.3, 0.5, 0.4]);
        let components = components
            .map(|((w, m), s)| (*w, m[..dim].to_vec(), s))
            .collect();
        Mixture {
            diffusion: diffusion.clone(),
            components,
        }
    }

    fn dim(&self) -> usize {
        self.components[0].1.len()
    }

    /// Channels `only` of a row: per component the weighted log-density, its gradient (channel by
    /// channel), and the precision.
    fn parts(&self, kernel: &KernelValues, only: usize, row: &[Vec<f64>]) -> Parts {
        let d = self.dim();
        let phi: Vec<f64> = (0..only).map(|i| kernel.mean[(i, 0)]).collect();
        let part = |(w, m, s): &(f64, Vec<f64>, f64)| {
            let c = |i: usize, j: usize| kernel.cov[(i, j)] + s * s * phi[i] * phi[j];
            let (p, det) = match only {
                1 => (vec![1.0 / c(0, 0)], c(0, 0)),
                _ => {
                    let det = c(0, 0) * c(1, 1) - c(0, 1) * c(0, 1);
                    (
                        vec![c(1, 1) / det, -c(0, 1) / det, -c(0, 1) / det, c(0, 0) / det],
                        det,
                    )
                }
            };
            let mut log =
                w.ln() - 0.5 * d as f64 * (det.ln() + only as f64 * std::f64::consts::TAU.ln());
            let mut gradient = vec![0.0; only * d];
            for e in 0..d {
                let r: Vec<f64> = (0..only).map(|i| row[i][e] - phi[i] * m[e]).collect();
                for i in 0..only {
                    let pr: f64 = (0..only).map(|j| p[i * only + j] * r[j]).sum();
                    log -= 0.5 * r[i] * pr;
                    gradient[i * d + e] = -pr;
                }
            }
            (log, gradient, p)
        };
        self.components.iter().map(part).collect()
    }

    fn rows(&self, u: &[&[f64]]) -> Vec<Vec<Vec<f64>>> {
        let d = self.dim();
        (0..u[0].len() / d)
            .map(|r| u.iter().map(|c| c[r * d..][..d].to_vec()).collect())
            .collect()
    }

    fn log_density(&self, t: f64, u: &[&[f64]]) -> Vec<f64> {
        let kernel = self.diffusion.kernel(t).unwrap();
        let one = |row: &Vec<Vec<f64>>| {
            let parts = self.parts(&kernel, u.len(), row);
            let most = most(&parts);
            most + parts.iter().map(|p| (p.0 - most).exp()).sum::<f64>().ln()
        };
        self.rows(u).iter().map(one).collect()
    }

    /// Shares of the components, and the score of a row.
    fn mix(&self, parts: &Parts) -> (Vec<f64>, Vec<f64>) {
        let most = most(parts);
        let total: f64 = parts.iter().map(|p| (p.0 - most).exp()).sum();
        let shares: Vec<f64> = parts.iter().map(|p| (p.0 - most).exp() / total).collect();
        let score = (0..parts[0].1.len())
            .map(|i| shares.iter().zip(parts).map(|(r, p)| r * p.1[i]).sum())
            .collect();
        (shares, score)
    }
}

impl Score for Mixture {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (d, kernel) = (self.dim(), self.diffusion.kernel(t)?);
        for (r, row) in self.rows(u).iter().enumerate() {
            let (_, score) = self.mix(&self.parts(&kernel, u.len(), row));
            for (&c, out) in self.diffusion.noised().iter().zip(out.iter_mut()) {
                out[r * d..][..d].copy_from_slice(&score[c * d..][..d]);
            }
        }
        Ok(())
    }
}

impl Divergence for Mixture {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (d, k, kernel) = (self.dim(), u.len(), self.diffusion.kernel(t)?);
        for (r, row) in self.rows(u).iter().enumerate() {
            let parts = self.parts(&kernel, k, row);
            let (shares, score) = self.mix(&parts);
            for (&c, out) in self.diffusion.noised().iter().zip(out.iter_mut()) {
                let trace = |p: &(f64, Vec<f64>, Vec<f64>)| {
                    let spread: f64 = (c * d..(c + 1) * d)
                        .map(|i| (p.1[i] - score[i]).powi(2))
                        .sum();
                    spread - d as f64 * p.2[c * k + c]
                };
                out[r] = shares.iter().zip(&parts).map(|(s, p)| s * trace(p)).sum();
            }
        }
        Ok(())
    }
}

/// A mistaken score: another, times a factor.
struct Times<'a, S>(&'a S, f64);

impl<S: Score> Score for Times<'_, S> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.0.score(t, u, out)?;
        out.iter_mut()
            .for_each(|o| o.iter_mut().for_each(|x| *x *= self.1));
        Ok(())
    }
}

impl<S: Divergence> Divergence for Times<'_, S> {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.0.divergence(t, u, out)?;
        out.iter_mut()
            .for_each(|o| o.iter_mut().for_each(|x| *x *= self.1));
        Ok(())
    }
}

const EPS: f64 = 1e-3;

/// Three diffusions of two channels or one, rates that change with time among them.
fn diffusions() -> Vec<Diffusion> {
    vec![
        Diffusion::of(
            Cld::new(0.25).unwrap(),
            Schedule::linear(3.0, 2.0).unwrap(),
            0.04,
        )
        .unwrap(),
        Diffusion::of(
            Psld::new(1.0, 0.01).unwrap(),
            Schedule::constant(6.0).unwrap(),
            0.5,
        )
        .unwrap(),
        Diffusion::of(Vp, Schedule::linear(0.1, 12.0).unwrap(), 0.0).unwrap(),
    ]
}

/// Four rows near the data: x, and v of the size it starts with.
fn start(diffusion: &Diffusion, dim: usize) -> Vec<Vec<f64>> {
    let size = (diffusion.gamma() * diffusion.process().mass()).sqrt();
    let wave = |c: usize, i: usize| ((i * (7 + 3 * c) + 2 * c) as f64).sin();
    (0..diffusion.channels())
        .map(|c| {
            (0..4 * dim)
                .map(|i| wave(c, i) * if c == 0 { 1.0 } else { size })
                .collect()
        })
        .collect()
}

fn views(u: &[Vec<f64>]) -> Vec<&[f64]> {
    u.iter().map(Vec::as_slice).collect()
}

/// The largest difference.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .collect::<Worst>()
        .value()
}

/// The likelihood of `start` by the flow of `trace` against the mixture's density at EPS.
fn error(mixture: &Mixture, trace: &Trace, terminal: Terminal) -> f64 {
    let (d, u) = (&mixture.diffusion, start(&mixture.diffusion, mixture.dim()));
    let joint = Likelihood::new(d, mixture.dim(), EPS, 1e-10, terminal)
        .unwrap()
        .log_joint(trace, &views(&u))
        .unwrap();
    let got: Vec<f64> = joint.values.iter().map(|e| e.value).collect();
    apart(&got, &mixture.log_density(EPS, &views(&u)))
}

/// Catches a flow that is not the same both ways: time that runs wrong, a sign, a rate at the wrong
/// time. The tolerance: a thousand times that of a step, for the backward flow grows errors near
/// the data (deviations from 0.1 to 0.3 against 1).
#[test]
fn the_flow_goes_there_and_back() {
    for d in diffusions() {
        let (mixture, u) = (Mixture::new(&d, 2), start(&d, 2));
        let l = Likelihood::new(&d, 2, EPS, 1e-11, Terminal::Prior).unwrap();
        let (end, _) = l.flow(&mixture, &views(&u), EPS, 1.0).unwrap();
        assert!(apart(&end[0], &u[0]) > 0.1);
        let (back, _) = l.flow(&mixture, &views(&end), 1.0, EPS).unwrap();
        for (b, u) in back.iter().zip(&u) {
            assert!(
                apart(b, u) < 1e-8,
                "{}: {:e}",
                d.process().name(),
                apart(b, u)
            );
        }
    }
}

/// Catches any wrong factor or sign in the divergence, the drift's trace or the flow: the exact law
/// at t = 1 goes to the exact law at EPS, to 1e-6 as promised (about 1e-9 is measured: tolerance
/// 1e-10 a step). Three processes, two dimensions. The Gaussian's own divergence against its
/// density, written out.
#[test]
fn the_flow_gives_the_exact_density() {
    for d in diffusions() {
        let mixture = Mixture::new(&d, 2);
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&mixture.log_density(1.0, u));
            Ok(())
        };
        let e = error(&mixture, &Trace::Exact(&mixture), Terminal::Law(&law));
        println!("{}: {e:e}", d.process().name());
        assert!(e < 1e-6, "{}: {e:e}", d.process().name());

        let gaussian = Gaussian::new(d.clone(), 0.4, 0.6).unwrap();
        let single = Mixture {
            diffusion: d.clone(),
            components: vec![(1.0, vec![0.4, 0.4], 0.6)],
        };
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&single.log_density(1.0, u));
            Ok(())
        };
        let e = error(&single, &Trace::Exact(&gaussian), Terminal::Law(&law));
        println!("{} gaussian: {e:e}", d.process().name());
        assert!(e < 1e-6, "{} gaussian: {e:e}", d.process().name());
    }
}

/// Catches a mixture score, divergence and density that do not belong together: the toy with full
/// covariances and the nine modes of the diamond, under the paper's diffusion, to 1e-6 as promised.
#[test]
fn mixtures_have_their_exact_density() {
    let d = Diffusion::paper().unwrap();
    for data in ["mixture", "diamond"].map(|name| (entry(name).unwrap().build)().unwrap()) {
        let score = MixtureScore::new(d.clone(), data);
        let law = |u: &[&[f64]], out: &mut [f64]| score.log_density(1.0, u, out);
        let mut u = start(&d, 2);
        u[0] = score.mixture().sample(4, 4).unwrap();
        let mut exact = vec![0.0; 4];
        score.log_density(EPS, &views(&u), &mut exact).unwrap();
        let l = Likelihood::new(&d, 2, EPS, 1e-11, Terminal::Law(&law)).unwrap();
        let joint = l.log_joint(&Trace::Exact(&score), &views(&u)).unwrap();
        let got: Vec<f64> = joint.values.iter().map(|e| e.value).collect();
        println!("{:e} {:?}", apart(&got, &exact), joint.counts);
        assert!(apart(&got, &exact) < 1e-6, "{got:?} {exact:?}");
    }
}

/// Catches a check that would not see a mistake: a flow without the factor 1/2 (twice the score),
/// and a prior whose velocity has variance 1 for M, are off by far more than the prior's true
/// distance from the law at t = 1.
#[test]
fn mistakes_in_the_flow_are_seen() {
    let d = Diffusion::paper().unwrap();
    let mixture = Mixture::new(&d, 2);
    let exact = Trace::Exact(&mixture);
    let prior = error(&mixture, &exact, Terminal::Prior);
    println!("prior for law: {prior:e}");
    // e^-16 times polynomials of B: the means at t = 1 are 1e-3 of those of the data
    assert!(prior < 0.02, "{prior:e}");
    // a law near the stationary one: elsewhere the doubled flow is soon far off
    let calm = Diffusion::of(
        Cld::new(0.25).unwrap(),
        Schedule::constant(1.0).unwrap(),
        1.0,
    )
    .unwrap();
    let single = Mixture {
        diffusion: calm,
        components: vec![(1.0, vec![0.1, 0.1], 0.9)],
    };
    let twice = Times(&single, 2.0);
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&single.log_density(1.0, u));
        Ok(())
    };
    assert!(error(&single, &Trace::Exact(&single), Terminal::Law(&law)) < 1e-6);
    let whole = error(&single, &Trace::Exact(&twice), Terminal::Law(&law));
    let wide = |u: &[&[f64]], out: &mut [f64]| {
        for (r, o) in out.iter_mut().enumerate() {
            *o = (2 * r..2 * r + 2)
                .map(|i| -std::f64::consts::TAU.ln() - 0.5 * (u[0][i].powi(2) + u[1][i].powi(2)))
                .sum();
        }
        Ok(())
    };
    let variance = error(&mixture, &exact, Terminal::Law(&wide));
    println!("no half: {whole}, velocity variance 1: {variance}");
    assert!(whole > 0.5 && variance > 0.5, "{whole} {variance}");
}

/// Catches a wrong step or scale of the differences, without noise: in one dimension with one
/// noised channel signs give the trace itself, so the likelihood is that of the exact divergence to
/// 1e-6.
#[test]
fn probes_give_the_exact_trace_in_one_dimension() {
    for d in [&diffusions()[0], &diffusions()[2]] {
        let mixture = Mixture::new(d, 1);
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&mixture.log_density(1.0, u));
            Ok(())
        };
        let trace = Trace::Hutchinson {
            score: &mixture,
            probes: 1,
            law: Probe::Rademacher,
            seed: 1,
        };
        // differences are rough at 1e-10: steps to 1e-9 do not chase that
        let u = start(d, 1);
        let l = Likelihood::new(d, 1, EPS, 1e-9, Terminal::Law(&law)).unwrap();
        let joint = l.log_joint(&trace, &views(&u)).unwrap();
        let got: Vec<f64> = joint.values.iter().map(|e| e.value).collect();
        let e = apart(&got, &mixture.log_density(EPS, &views(&u)));
        println!("{}: {e:e} {:?}", d.process().name(), joint.counts);
        assert!(e < 1e-6 && joint.values[0].error.is_nan(), "{e:e}");
    }
}

/// Catches a probe that is not of variance 1, a mean over the wrong number, a standard error that
/// is not one: three dimensions, both laws, all rows and processes within 4.5 standard errors (24
/// checks on 24 probes each: Student's tail with 23 degrees is 1.6e-4, one seed in 260), and the
/// sum of squares of these scores within what 24 give.
#[test]
fn probes_agree_within_their_error() {
    let mut scores = vec![];
    for d in diffusions() {
        let mixture = Mixture::new(&d, 3);
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&mixture.log_density(1.0, u));
            Ok(())
        };
        let u = start(&d, 3);
        let exact = mixture.log_density(EPS, &views(&u));
        for probe in [Probe::Rademacher, Probe::Gaussian] {
            let trace = Trace::Hutchinson {
                score: &mixture,
                probes: 24,
                law: probe,
                seed: 5,
            };
            let l = Likelihood::new(&d, 3, EPS, 1e-6, Terminal::Law(&law)).unwrap();
            for (e, x) in l
                .log_joint(&trace, &views(&u))
                .unwrap()
                .values
                .iter()
                .zip(&exact)
            {
                // normals have 50 times the error of signs under CLD: their variance has the
                // Jacobian's diagonal
                let most = if probe == Probe::Rademacher {
                    0.5
                } else {
                    20.0
                };
                assert!(e.error > 1e-3 && e.error < most, "{e:?}");
                scores.push((e.value - x) / e.error);
            }
        }
    }
    println!("{scores:.2?}");
    assert!(scores.iter().all(|z| z.abs() < 4.5), "{scores:?}");
    let sum: f64 = scores.iter().map(|z| z * z).sum();
    // chi-square with 24 degrees, spread by Student's tails: 26 on average; below 7 and above 60
    // are past 1e-4 (scores of a process share their probes, and its rows are alike in them)
    assert!((7.0..60.0).contains(&sum), "{sum}");
}

/// Catches a bound that does not bound (the velocity's entropy missing, or with gamma for gamma M)
/// or one that is far too low: for the paper's diffusion at EPS, where the velocity given x has
/// nearly the law it started with.
#[test]
fn velocity_bounds_bound() {
    let d = Diffusion::paper().unwrap();
    let mixture = Mixture::new(&d, 2);
    let law = |u: &[&[f64]], out: &mut [f64]| {
        out.copy_from_slice(&mixture.log_density(1.0, u));
        Ok(())
    };
    let u = start(&d, 2);
    let exact = mixture.log_density(EPS, &[&u[0]]);
    let l = Likelihood::new(&d, 2, EPS, 1e-8, Terminal::Law(&law)).unwrap();
    let entropy = l.velocity_entropy().unwrap();
    assert!((entropy - (std::f64::consts::TAU * std::f64::consts::E * 0.01).ln()).abs() < 1e-14);
    let (mut below, mut without, mut wrong, mut loose) = (true, false, false, vec![]);
    for (b, x) in l
        .velocity_bound(&Trace::Exact(&mixture), &u[0], 400, 3)
        .unwrap()
        .iter()
        .zip(&exact)
    {
        println!("{b:?} {x}");
        let over = |bound: f64, error: f64| bound > x + 4.0 * error;
        below &= !over(b.plain.value, b.plain.error) && !over(b.weighted.value, b.weighted.error);
        without |= over(b.plain.value - entropy, b.plain.error);
        // gamma for gamma M: 2 dimensions, half the logarithm of 1/M each
        wrong |= over(b.plain.value + 4f64.ln(), b.plain.error);
        loose.push((x - b.plain.value, x - b.weighted.value, *b));
    }
    // through the SDE, the same bound within its error, by an exact score
    for (e, x) in l
        .evidence_bound(&mixture, &u[0], 200, 100, 3)
        .unwrap()
        .iter()
        .zip(&exact)
    {
        println!("{e:?} {x}");
        assert!(
            e.error < 0.5 && e.value < x + 4.0 * e.error && e.value > x - 0.3 - 4.0 * e.error,
            "{e:?} {x}"
        );
    }
    assert!(below && without && wrong);
    for (plain, weighted, b) in loose {
        // the gap is KL(q, p(v | x)): over EPS the velocity's variance grows by 2 Gamma beta EPS =
        // 8e-3 on 0.01, which makes 0.14
        assert!(
            (0.02..0.3).contains(&plain) && weighted.abs() < 4.0 * b.weighted.error,
            "{plain} {weighted} {b:?}"
        );
    }
}

/// Catches a wrong sign, factor or time in the bound through the SDE: with the exact score and the
/// exact law at t = 1 the bound is the density itself, here within 4 standard errors (12 checks:
/// one seed in 1300); with a wrong score it is below, clearly.
#[test]
fn the_evidence_is_exact_for_exact_scores() {
    for d in diffusions() {
        let mixture = Mixture::new(&d, 2);
        let law = |u: &[&[f64]], out: &mut [f64]| {
            out.copy_from_slice(&mixture.log_density(1.0, u));
            Ok(())
        };
        let u = start(&d, 2);
        let exact = mixture.log_density(EPS, &views(&u));
        let l = Likelihood::new(&d, 2, EPS, 1e-8, Terminal::Law(&law)).unwrap();
        for (e, x) in l
            .evidence(&mixture, &views(&u), 200, 100, 9)
            .unwrap()
            .iter()
            .zip(&exact)
        {
            println!("{} {e:?} {x}", d.process().name());
            assert!(
                (e.value - x).abs() < 4.0 * e.error && e.error < 0.5,
                "{}: {e:?} {x}",
                d.process().name()
            );
        }
        for factor in [0.0, 2.0] {
            for (e, x) in l
                .evidence(&Times(&mixture, factor), &views(&u), 200, 40, 9)
                .unwrap()
                .iter()
                .zip(&exact)
            {
                assert!(
                    e.value < x - 4.0 * e.error,
                    "{} {factor}: {e:?} {x}",
                    d.process().name()
                );
            }
        }
    }
}

/// Catches a wrong scale of the bits: the uniform law on [-1, 1] has log2(levels) bits; a density
/// that is constant on each of four levels has exactly the bits of the integers, wherever in the
/// level the noise falls.
#[test]
fn bits_of_known_laws() {
    let d = 12;
    assert!((bits_per_dimension(-(d as f64) * 2f64.ln(), d, 256).unwrap() - 8.0).abs() < 1e-14);
    let share = [0.5, 0.25, 0.125, 0.125];
    let values = [0, 1, 2, 3, 3, 0, 1];
    let x = dequantise(&values, 4, 6).unwrap();
    // a level is 1/2 wide
    let log: f64 = x
        .iter()
        .map(|x| (share[((x + 1.0) * 2.0) as usize] / 0.5f64).ln())
        .sum();
    let bits = [1.0, 2.0, 3.0, 3.0, 3.0, 1.0, 2.0].iter().sum::<f64>() / 7.0;
    assert!((bits_per_dimension(log, 7, 4).unwrap() - bits).abs() < 1e-14);
    assert!(x.iter().all(|x| (-1.0..1.0).contains(x)));
    assert_eq!(x, dequantise(&values, 4, 6).unwrap());
    assert_ne!(x, dequantise(&values, 4, 7).unwrap());
}

/// Catches bad input that goes through.
#[test]
fn refusals() {
    let d = Diffusion::paper().unwrap();
    let g = Gaussian::new(d.clone(), 0.0, 1.0).unwrap();
    for (dim, eps, tolerance) in [
        (0, 0.1, 1e-6),
        (1, 0.0, 1e-6),
        (1, 1.0, 1e-6),
        (1, f64::NAN, 1e-6),
        (1, 0.1, 0.0),
    ] {
        assert!(Likelihood::new(&d, dim, eps, tolerance, Terminal::Prior).is_err());
    }
    let l = Likelihood::new(&d, 2, 0.1, 1e-6, Terminal::Prior).unwrap();
    let exact = Trace::Exact(&g);
    let x = [0.0; 4];
    assert!(l.log_joint(&exact, &[&x]).is_err());
    assert!(l.log_joint(&exact, &[&x, &x[..2]]).is_err());
    assert!(l.log_joint(&exact, &[&x[..3], &x[..3]]).is_err());
    assert!(l.log_joint(&exact, &[&[f64::NAN, 0.0], &x[..2]]).is_err());
    let none = Trace::Hutchinson {
        score: &g,
        probes: 0,
        law: Probe::Gaussian,
        seed: 0,
    };
    assert!(l.log_joint(&none, &[&x, &x]).is_err());
    assert!(l.velocity_bound(&exact, &x, 1, 0).is_err());
    assert!(l.evidence(&g, &[&x, &x], 0, 2, 0).is_err());
    assert!(l.evidence(&g, &[&x, &x], 1, 1, 0).is_err());
    assert!(
        l.evidence(&Times(&g, f64::NAN), &[&x, &x], 1, 2, 0)
            .is_err()
    );
    assert!(l.evidence_bound(&g, &x, 1, 1, 0).is_err());
    assert!(l.flow(&g, &[&x, &x], 0.1, 1.5).is_err());
    let still = Diffusion::of(
        Cld::new(0.25).unwrap(),
        Schedule::constant(4.0).unwrap(),
        0.0,
    )
    .unwrap();
    let e = Likelihood::new(&still, 1, 0.1, 1e-6, Terminal::Prior)
        .unwrap()
        .velocity_entropy()
        .unwrap_err();
    assert!(e.to_string().contains("gamma"), "{e}");
    assert!(bits_per_dimension(f64::NAN, 1, 256).is_err());
    assert!(bits_per_dimension(0.0, 0, 256).is_err());
    assert!(dequantise(&[4], 4, 0).is_err());
    assert!(dequantise(&[0], 1, 0).is_err());
}
