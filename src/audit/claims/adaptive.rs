//! Claims about steps of a size that the solver chooses, on Gaussian data: from a known state at
//! t = 1 the reverse SDE with the exact score has the law of the forward one, conditioned on that
//! state.

use super::limits::inverse;
use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Part, moments};
use crate::audit::table::{Row, Tally, table};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::likelihood::{Likelihood, Terminal};
use crate::sampler::adaptive::{Counter, Noise, Tolerance, run};
use crate::score::Gaussian;
use crate::small::Square;
use crate::truth::predict::CHANNELS;
use crate::worst::worse;

/// Where runs end.
const END: f64 = 0.1;

/// Values of a claim by sampling.
const VALUES: usize = 16_384;

const fn drawn(name: &'static str) -> Row {
    Row::drawn(
        name,
        "sampler.gotta_go_fast",
        "16384 values of adaptive steps to 1e-3, all from one state, against the forward law conditioned on it",
    )
}

static STILL: Row = Row::still(
    "still",
    "sampler.gotta_go_fast",
    "adaptive steps to 1e-7 whose noise is 0 lead to the conditional mean of the forward law",
    1e-5,
    "steps of 5e-4, of order 2",
);
static FLOW: Row = Row::still(
    "flow",
    "sampler.dormand_prince",
    "the flow of Gaussian data, adaptive, is the map of deviations",
    1e-8,
    "1e-11 a step, and what the flow makes of it",
);
static DRAWN: [Row; 5] = [
    drawn("mean.x"),
    drawn("cov.xx"),
    drawn("mean.v"),
    drawn("cov.xv"),
    drawn("cov.vv"),
];

/// No noise.
struct Silence;

impl Noise for Silence {
    fn fill(&mut self, out: &mut [f64]) {
        out.fill(0.0);
    }
}

/// Law at `END` given the state at 1: `m_s + G (u - m_1)`, `C_s - G Phi C_s`, `G = C_s Phi^T C_1^-1`.
fn conditional(data: &Gaussian, u: &[f64]) -> Result<(Vec<f64>, Square)> {
    let d = data.diffusion();
    let k = d.channels();
    let ((m, c), (n, e)) = (data.law(END)?, data.law(1.0)?);
    let phi = d.transition(END, 1.0)?.mean;
    let (inverse, _) = inverse(&e);
    let gain = c.matmul(&phi.transpose()).matmul(&inverse);
    let mean = (0..k)
        .map(|i| m[i] + (0..k).map(|j| gain[(i, j)] * (u[j] - n[j])).sum::<f64>())
        .collect();
    let lost = gain.matmul(&phi).matmul(&c);
    Ok((mean, Square::build(k, |i, j| c[(i, j)] - lost[(i, j)])))
}

fn steps(d: &Diffusion, seed: u64, tally: &mut Tally<'_>) -> Result<()> {
    let (data, k) = (Gaussian::new(d.clone(), 0.7, 0.5)?, d.channels());
    let (n, prior) = (data.law(1.0)?.0, d.prior());
    let state: Vec<f64> = (0..k)
        .map(|i| n[i] + [0.9, -0.6][i] * prior[(i, i)].sqrt())
        .collect();
    let (mean, cov) = conditional(&data, &state)?;
    let mut u: Vec<Vec<f64>> = state.iter().map(|x| vec![*x]).collect();
    let mut slices: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
    let tolerance = Tolerance::new(0.0, 1e-7)?;
    run(d, &data, &mut slices, (1.0, END), &tolerance, &mut Silence)?;
    for (i, u) in u.iter().enumerate() {
        let unit = worse(state[i].abs(), mean[i].abs());
        tally.near("still", END, u[0], mean[i], unit)?;
    }

    let mut u: Vec<Vec<f64>> = state.iter().map(|x| vec![*x; VALUES]).collect();
    let mut slices: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
    let mut noise = Counter::new([seed, u64::from_be_bytes(*b"adaptive")], 0);
    run(
        d,
        &data,
        &mut slices,
        (1.0, END),
        &Tolerance::new(0.0, 1e-3)?,
        &mut noise,
    )?;
    for (name, point) in moments(END, &u, &mean, cov.as_slice(), &CHANNELS) {
        tally.sampled(&name, point)?;
    }

    if k == 1 {
        let ((m, c), (n, e)) = (data.law(END)?, data.law(1.0)?);
        let expected = m[0] + (c[(0, 0)] / e[(0, 0)]).sqrt() * (state[0] - n[0]);
        let l = Likelihood::new(d, 1, 1e-2, 1e-11, Terminal::Prior)?;
        let found = l.flow(&data, &[&state], 1.0, END)?.0;
        let found = found
            .first()
            .and_then(|c| c.first())
            .ok_or_else(|| Error::Degenerate {
                what: "the flow".into(),
                why: "it has no channel".into(),
            })?;
        tally.near(
            "flow",
            END,
            *found,
            expected,
            worse(expected.abs(), c[(0, 0)].sqrt()),
        )?;
    }
    Ok(())
}

/// Every kind of process of one channel and of two.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Rated| {
        let d = case.diffusion;
        let mut rows: Vec<&'static Row> = vec![&STILL];
        match d.channels() {
            1 => rows.extend([&FLOW, &DRAWN[0], &DRAWN[1]]),
            _ => rows.extend(&DRAWN),
        }
        let run = move |seed: u64, tally: &mut Tally<'_>| steps(&d, seed, tally);
        table(format!("adaptive.{}", case.name), &case.about, rows, run)
    };
    let few = |c: &Rated| c.diffusion.channels() <= 2;
    Ok(rated()?.into_iter().filter(few).map(part).collect())
}
