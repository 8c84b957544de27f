//! Convergence orders of the schemes, from their exact laws: no noise, so the order is read off to
//! three digits.
//!
//! On a linear SDE a scheme's law is a recursion of matrices ([`scheme_law`]), and its distance
//! from the closed form is the discretisation error itself. Weak order: the error of mean and
//! covariance at the end. Strong order: the root mean square of the difference between a path with
//! steps h and one with steps h/2 on the same Brownian path; both are affine in the same noise, so
//! this, too, is a recursion.

use super::cases::{Case, Typed};
use super::check::{Check, Part, Points};
use super::claim::Claim;
use super::slopes::{FROM, Measured, claim};
use crate::error::Result;
use crate::simulate::{AffineStep, Forward, Scheme, SchemeLaw, Sde, affine_step, scheme_law};
use crate::small::{Mat, by_channels, places};
use crate::truth::predict::CHANNELS;
use crate::worst::{largest, worse};

/// Numbers of steps: the order is the slope from the last but one to the last.
const STEPS: [usize; 3] = [256, 512, 1024];

fn grid(to: f64, n: usize) -> Vec<f64> {
    (0..=n)
        .map(|i| FROM + (to - FROM) * i as f64 / n as f64)
        .collect()
}

/// The end of the interval: where the clock has run for 1.5 relaxation times, or 0.6.
fn end(case: &Case) -> Result<f64> {
    let process = case.config.process()?;
    let rate = worse(largest(process.drift().as_slice()), 0.5);
    let mut t = 0.6;
    while t > 0.1 && case.config.schedule.integral(FROM, t)? * rate > 3.0 {
        t -= 0.05;
    }
    Ok(t)
}

/// What one draw of a fine step adds to the coarse step's state: the draws of both halves combined
/// as the scheme has it.
fn coarse_noise<const K: usize>(
    scheme: Scheme,
    coarse: &AffineStep<K>,
    half: usize,
    draw: usize,
    j: usize,
) -> [f64; K] {
    let mut noise = [[[0.0; K]; 2]; 2];
    noise[half][draw][j] = 1.0;
    let combined = scheme.combine(noise[0], noise[1]);
    let of = |d: usize, i: usize| {
        (0..K)
            .map(|l| coarse.noise[d][(i, l)] * combined[d][l])
            .sum::<f64>()
    };
    std::array::from_fn(|i| (0..2).map(|d| of(d, i)).sum())
}

/// Root mean square distance of paths with n and 2n steps on the same Brownian path, by exact
/// recursion of the joint law.
fn strong_distance<const K: usize>(scheme: Scheme, sde: &impl Sde<K>, to: f64, n: usize) -> f64 {
    let fine = grid(to, 2 * n);
    // (coarse, fine) are affine in the fine noise; the covariance of the pair as three blocks: cc,
    // cf, ff
    let (mut cc, mut cf, mut ff) = (Mat::<K>::ZERO, Mat::<K>::ZERO, Mat::<K>::ZERO);
    for i in 0..n {
        let coarse = affine_step(scheme, sde, fine[2 * i], fine[2 * i + 2]);
        let (one, two) = (
            affine_step(scheme, sde, fine[2 * i], fine[2 * i + 1]),
            affine_step(scheme, sde, fine[2 * i + 1], fine[2 * i + 2]),
        );
        let a = two.state.matmul(&one.state);
        cc = coarse.state.sandwich(&cc);
        cf = coarse.state.matmul(&cf).matmul(&a.transpose());
        ff = a.sandwich(&ff);
        let noise_of = |half: usize, draw: usize, j: usize| {
            let c = coarse_noise(scheme, &coarse, half, draw, j);
            let f: [f64; K] = std::array::from_fn(|i| match half {
                0 => (0..K)
                    .map(|l| two.state[(i, l)] * one.noise[draw][(l, j)])
                    .sum(),
                _ => two.noise[draw][(i, j)],
            });
            (c, f)
        };
        // each fine draw: (first or second step, which of the two draws, channel)
        for half_and_draw in 0..4 {
            for j in 0..K {
                let (c, f) = noise_of(half_and_draw / 2, half_and_draw % 2, j);
                cc = cc.plus(&Mat::build(|i, l| c[i] * c[l]));
                cf = cf.plus(&Mat::build(|i, l| c[i] * f[l]));
                ff = ff.plus(&Mat::build(|i, l| f[i] * f[l]));
            }
        }
    }
    // coarse - fine; the differences of nearly equal covariances are far above rounding at these
    // step numbers
    worse(
        (0..K)
            .map(|i| cc[(i, i)] - 2.0 * cf[(i, i)] + ff[(i, i)])
            .sum::<f64>(),
        0.0,
    )
    .sqrt()
}

/// Schemes whose orders are measured.
const SCHEMES: [Scheme; 3] = [Scheme::EulerMaruyama, Scheme::Splitting, Scheme::Sra1];

/// A part of a law: its mean or its covariance.
type PartOf<const K: usize> = dyn Fn(&SchemeLaw<K>) -> Mat<K>;

/// The entry of a part whose error is largest, with its errors and its size.
struct Worst {
    entry: (usize, usize),
    errors: Vec<f64>,
    size: f64,
}

/// The largest error of a part among all entries and both ends: a single error may cross zero, and
/// then shows the order of the next term. Each end has its exact law and those of [`STEPS`].
fn largest_error<const K: usize>(
    ends: &[(SchemeLaw<K>, Vec<SchemeLaw<K>>)],
    part: &PartOf<K>,
) -> Worst {
    let mut best = Worst {
        entry: (0, 0),
        errors: vec![],
        size: 0.0,
    };
    let mut most = f64::NEG_INFINITY;
    for (exact, laws) in ends {
        let truth = part(exact);
        let size = largest(truth.0.iter().flatten());
        for entry in places(K) {
            let error = |l| part(l)[entry] - truth[entry];
            let errors: Vec<f64> = laws.iter().map(error).collect();
            let large = errors[2].abs() / size;
            // NaN is the largest, and stays
            if large.is_nan() || large > most {
                most = large;
                best = Worst {
                    entry,
                    errors,
                    size,
                };
            }
        }
    }
    best
}

fn measure<const K: usize>(case: &Case) -> Result<Vec<Measured>> {
    let process = case.config.process()?;
    let typed = Typed::<K>(&*process);
    let sde = Forward::new(&typed, case.config.schedule);
    let last = end(case)?;
    let law = |to: f64| -> Result<SchemeLaw<K>> {
        let m = process
            .moments(case.config.schedule.span(FROM, to)?, 0.0)
            .fixed::<K>();
        Ok(SchemeLaw {
            mean: m.mean,
            cov: m.cov,
        })
    };
    let mut all = vec![];
    for scheme in SCHEMES {
        if scheme.check(&sde).is_err() {
            continue;
        }
        let laws = |to: f64| -> Vec<SchemeLaw<K>> {
            let last = |n: &usize| {
                let laws = scheme_law(scheme, &sde, &grid(to, *n));
                *laws.last().unwrap_or(&SchemeLaw::START)
            };
            STEPS.iter().map(last).collect()
        };
        let ends = [last, FROM + 0.6 * (last - FROM)];
        let ends = ends.map(|to| law(to).map(|exact| (exact, laws(to))));
        let ends = ends.into_iter().collect::<Result<Vec<_>>>()?;
        let measured = |part: &str, errors, size, theory, entry| Measured {
            name: format!("{}/{part}.{}", case.name, scheme.name()),
            steps: STEPS.to_vec(),
            errors,
            size,
            // VE's mean has no error
            rounding: 1e-13,
            theory,
            entry,
        };
        let parts: [(&str, &PartOf<K>); 2] = [("mean", &|l| l.mean), ("cov", &|l| l.cov)];
        for (part, f) in parts {
            let Worst {
                entry: (i, j),
                errors,
                size,
            } = largest_error(&ends, f);
            let entry = format!("{}{}", CHANNELS[i], CHANNELS[j]);
            all.push(measured(part, errors, size, scheme.order().weak, entry));
        }
        let errors: Vec<f64> = STEPS
            .iter()
            .map(|&n| strong_distance(scheme, &sde, last, n / 4))
            .collect();
        let size = (0..K).map(|i| ends[0].0.cov[(i, i)]).sum::<f64>().sqrt();
        let theory = scheme.strong_order_linear();
        all.push(measured("strong", errors, size, theory, String::new()));
    }
    Ok(all)
}

fn claims<const K: usize>(case: &Case) -> Result<Vec<Claim>> {
    let process = case.config.process()?;
    let typed = Typed::<K>(&*process);
    let sde = Forward::new(&typed, case.config.schedule);
    let mut all = vec![];
    for scheme in SCHEMES.into_iter().filter(|s| s.check(&sde).is_ok()) {
        for (part, what, theory) in [
            (
                "mean",
                format!("weak order of {} (mean)", scheme.name()),
                scheme.order().weak,
            ),
            (
                "cov",
                format!("weak order of {} (cov)", scheme.name()),
                scheme.order().weak,
            ),
            (
                "strong",
                format!(
                    "strong order of {} (root mean square distance of paths with n/4 and n/2 steps)",
                    scheme.name()
                ),
                scheme.strong_order_linear(),
            ),
        ] {
            // laws are read off the scheme; paths are its own
            let formula = match part {
                "strong" => format!("scheme.{}", scheme.name()),
                _ => "scheme.law".into(),
            };
            all.push(claim(
                &format!("{}/{part}.{}", case.name, scheme.name()),
                &formula,
                &what,
                &case.config.describe(),
                theory,
            ));
        }
    }
    Ok(all)
}

/// Weak and strong orders of every scheme on a case. Orders do not depend on the objective: only
/// DSM cases are measured.
///
/// # Errors
/// None for the registry's own cases.
pub fn orders(case: &Case) -> Result<Option<Part>> {
    if case.config.objective.name() == "hsm" {
        return Ok(None);
    }
    type Family = (
        fn(&Case) -> Result<Vec<Claim>>,
        fn(&Case) -> Result<Vec<Measured>>,
    );
    let k = case.config.process()?.channels();
    let (claims, measure): Family =
        by_channels!(k, K => (claims::<K>, measure::<K>), else return Ok(None));
    let (claims, case) = (claims(case)?, case.clone());
    let (own, name) = (claims.clone(), case.name.clone());
    let run = move |_: u64| {
        let measured = measure(&case)?;
        Check::all(
            own.clone(),
            measured.into_iter().map(Points::Order).collect(),
        )
    };
    Ok(Some(Part {
        case: name,
        claims,
        tests: 0,
        run: Box::new(run),
    }))
}
