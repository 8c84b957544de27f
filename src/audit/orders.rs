//! Convergence orders of the schemes, from their exact laws: no noise, so the order is read off to three digits.
//!
//! On a linear SDE a scheme's law is a recursion of matrices ([`scheme_law`]), and its distance from the closed form is the
//! discretisation error itself. Weak order: the error of mean and covariance at the end. Strong order: the root mean
//! square of the difference between a path with steps h and one with steps h/2 on the same Brownian path; both are
//! affine in the same noise, so this, too, is a recursion.

use super::cases::{Case, Typed};
use super::claim::{Claim, Evidence, Figure, Method, Plant};
use crate::error::Result;
use crate::simulate::{Forward, Scheme, SchemeLaw, Sde, affine_step, scheme_law};
use crate::small::Mat;
use crate::truth::predict::CHANNELS;

/// The interval over which orders are measured: away from 0, so that every entry of the law is of the size of 1, and away
/// from the stationary law, so that none has forgotten its past.
pub(super) const FROM: f64 = 0.05;

/// Numbers of steps: the order is the slope from the last but one to the last.
const STEPS: [usize; 3] = [256, 512, 1024];

/// How far a measured order may be from the theoretical one.
pub(super) const TOLERANCE: f64 = 0.1;

fn grid(to: f64, n: usize) -> Vec<f64> {
    (0..=n).map(|i| FROM + (to - FROM) * i as f64 / n as f64).collect()
}

/// The end of the interval: where the clock has run for 1.5 relaxation times, or 0.6.
fn end(case: &Case) -> Result<f64> {
    let process = case.config.process()?;
    let rate = process.drift().iter().fold(0.0, |a: f64, x| a.max(x.abs())).max(0.5);
    let mut t = 0.6;
    while t > 0.1 && case.config.schedule.integral(FROM, t)? * rate > 3.0 {
        t -= 0.05;
    }
    Ok(t)
}

/// Root mean square distance of paths with n and 2n steps on the same Brownian path, by exact recursion of the joint law.
fn strong_distance<const K: usize>(scheme: Scheme, sde: &impl Sde<K>, to: f64, n: usize) -> f64 {
    let fine = grid(to, 2 * n);
    // (coarse, fine) are affine in the fine noise; the covariance of the pair as three blocks: cc, cf, ff
    let (mut cc, mut cf, mut ff) = (Mat::<K>::ZERO, Mat::<K>::ZERO, Mat::<K>::ZERO);
    for i in 0..n {
        let coarse = affine_step(scheme, sde, fine[2 * i], fine[2 * i + 2]);
        let (one, two) =
            (affine_step(scheme, sde, fine[2 * i], fine[2 * i + 1]), affine_step(scheme, sde, fine[2 * i + 1], fine[2 * i + 2]));
        let a = two.state.matmul(&one.state);
        cc = coarse.state.sandwich(&cc);
        cf = coarse.state.matmul(&cf).matmul(&a.transpose());
        ff = a.sandwich(&ff);
        // each fine draw: (first or second step, which of the two draws, channel)
        for half in 0..2 {
            for draw in 0..2 {
                for j in 0..K {
                    let mut noise = [[[0.0; K]; 2]; 2];
                    noise[half][draw][j] = 1.0;
                    let combined = scheme.combine(noise[0], noise[1]);
                    let c: [f64; K] = std::array::from_fn(|i| {
                        (0..2).map(|d| (0..K).map(|l| coarse.noise[d][(i, l)] * combined[d][l]).sum::<f64>()).sum()
                    });
                    let f: [f64; K] = std::array::from_fn(|i| match half {
                        0 => (0..K).map(|l| two.state[(i, l)] * one.noise[draw][(l, j)]).sum(),
                        _ => two.noise[draw][(i, j)],
                    });
                    cc = cc.plus(&Mat::build(|i, l| c[i] * c[l]));
                    cf = cf.plus(&Mat::build(|i, l| c[i] * f[l]));
                    ff = ff.plus(&Mat::build(|i, l| f[i] * f[l]));
                }
            }
        }
    }
    // coarse - fine; the differences of nearly equal covariances are far above rounding at these step numbers
    (0..K).map(|i| cc[(i, i)] - 2.0 * cf[(i, i)] + ff[(i, i)]).sum::<f64>().max(0.0).sqrt()
}

/// One order: errors by number of steps, the theoretical order, and the claim's words.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Name of the case.
    pub case: String,
    /// The case in words.
    pub about: String,
    /// The claim's second name.
    pub name: String,
    /// Numbers of steps, each twice the one before.
    pub steps: Vec<usize>,
    /// Errors, one for each number of steps; at least two.
    pub errors: Vec<f64>,
    /// Size of the quantity whose error it is.
    pub size: f64,
    /// The order that theory gives.
    pub theory: f64,
    /// The formula's id.
    pub formula: &'static str,
    /// What is measured.
    pub what: String,
}

impl Measured {
    /// Id of the claim.
    pub fn id(&self) -> String {
        format!("{}/{}/order", self.case, self.name)
    }
}

/// The claim, judged with or without a planted error.
pub fn evidence(m: &Measured, plant: Option<&Plant>) -> Evidence {
    let id = m.id();
    let slope = |shift: f64| {
        let e: Vec<f64> = m.errors.iter().map(|e| (e + shift).abs()).collect();
        (e[e.len() - 2] / e[e.len() - 1]).log2()
    };
    // a plant is an error of the limit (the closed form): it does not shrink with the step
    let planted = plant.filter(|p| p.id == id).map_or(0.0, |p| p.size * m.size);
    let order = slope(planted);
    // an order above the theoretical one is no defect of a scheme, but here the theory says exactly which it is
    let deviation = (order - m.theory).abs() / TOLERANCE;
    // the smallest shift of the limit that moves the slope out of the tolerance, from either side, by bisection
    let breaks = |shift: f64| (slope(shift) - m.theory).abs() > TOLERANCE;
    let limit = |sign: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if breaks(sign * middle * m.errors[m.errors.len() - 1].abs()) { high = middle } else { low = middle }
        }
        high * m.errors[m.errors.len() - 1].abs() / m.size
    };
    let figures = m
        .steps
        .iter()
        .zip(&m.errors)
        .map(|(&n, e)| Figure { at: n as f64, found: (e + planted).abs() / m.size, expected: 0.0, deviation })
        .collect();
    Evidence {
        claim: Claim {
            id,
            formula: m.formula.into(),
            statement: format!("{} for {}: order {:.3}, theory {}", m.what, m.about, order, m.theory),
            method: Method::Order,
            tolerance: format!("{TOLERANCE}: the next term of the expansion, h^(order + 1), at {} steps", m.steps[m.steps.len() - 1]),
        },
        figures,
        p: vec![],
        worst: if deviation.is_nan() { f64::INFINITY } else { deviation },
        power: limit(1.0).max(limit(-1.0)),
        holds: deviation <= 1.0,
    }
}

fn measure<const K: usize>(case: &Case) -> Result<Vec<Measured>> {
    let process = case.config.process()?;
    let typed = Typed::<K>(&*process);
    let sde = Forward::new(&typed, case.config.schedule);
    let last = end(case)?;
    let law = |to: f64| -> Result<SchemeLaw<K>> {
        let m = process.moments(case.config.schedule.span(FROM, to)?, 0.0).fixed::<K>();
        Ok(SchemeLaw { mean: m.mean, cov: m.cov })
    };
    let mut all = vec![];
    for scheme in [Scheme::EulerMaruyama, Scheme::Splitting, Scheme::Sra1] {
        if scheme.check(&sde).is_err() {
            continue;
        }
        let laws = |to: f64| -> Vec<SchemeLaw<K>> {
            STEPS.iter().map(|&n| *scheme_law(scheme, &sde, &grid(to, n)).last().unwrap_or(&SchemeLaw::START)).collect()
        };
        let weak = scheme.order().weak;
        // two ends of the interval, and the largest error among the entries: a single error may cross zero, and then
        // shows the order of the next term
        let ends = [last, FROM + 0.6 * (last - FROM)];
        let candidates = ends.map(|to| law(to).map(|exact| (exact, laws(to))));
        let candidates = candidates.into_iter().collect::<Result<Vec<_>>>()?;
        let largest = |part: &dyn Fn(&SchemeLaw<K>) -> Mat<K>| {
            let mut best = ((0, 0), vec![0.0f64; STEPS.len()], 1.0f64);
            for (exact, laws) in &candidates {
                let truth = part(exact);
                let size: f64 = truth.0.iter().flatten().fold(0.0, |a: f64, x| a.max(x.abs()));
                for i in 0..K {
                    for j in 0..K {
                        let errors: Vec<f64> = laws.iter().map(|l| part(l)[(i, j)] - truth[(i, j)]).collect();
                        if errors[2].abs() / size > best.1[2].abs() / best.2 {
                            best = ((i, j), errors, size);
                        }
                    }
                }
            }
            best
        };
        for (part, formula, f) in [
            ("mean", "scheme.law", &(|l: &SchemeLaw<K>| l.mean) as &dyn Fn(&SchemeLaw<K>) -> Mat<K>),
            ("cov", "scheme.law", &|l: &SchemeLaw<K>| l.cov),
        ] {
            let ((i, j), errors, size) = largest(f);
            if errors[2].abs() < 1e-13 * size {
                continue; // no error to measure (VE's mean)
            }
            all.push(Measured {
                case: case.name.clone(),
                about: case.config.describe(),
                name: format!("{part}.{}", scheme.name()),
                steps: STEPS.to_vec(),
                errors,
                size,
                theory: weak,
                formula,
                what: format!("weak order of {} ({part}, entry {}{})", scheme.name(), CHANNELS[i], CHANNELS[j]),
            });
        }
        let strong: Vec<f64> = STEPS.iter().map(|&n| strong_distance(scheme, &sde, last, n / 4)).collect();
        let size = (0..K).map(|i| candidates[0].0.cov[(i, i)]).sum::<f64>().sqrt();
        all.push(Measured {
            case: case.name.clone(),
            about: case.config.describe(),
            name: format!("strong.{}", scheme.name()),
            steps: STEPS.to_vec(),
            errors: strong,
            size,
            theory: scheme.strong_order_linear(),
            formula: "scheme.law",
            what: format!("strong order of {} (root mean square distance of paths with n/4 and n/2 steps)", scheme.name()),
        });
    }
    Ok(all)
}

/// Weak and strong orders of every scheme on a case. Orders do not depend on the objective: only DSM cases are measured.
///
/// # Errors
/// None for the registry's own cases.
pub fn orders(case: &Case) -> Result<Vec<Measured>> {
    if case.config.objective.name() == "hsm" {
        return Ok(vec![]);
    }
    match case.config.process()?.channels() {
        1 => measure::<1>(case),
        2 => measure::<2>(case),
        3 => measure::<3>(case),
        _ => measure::<4>(case),
    }
}
