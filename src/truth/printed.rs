//! The law of a whole run by a sampler's formulas as they are printed, in double words: the steps
//! are those of [`reverse`](super::reverse), which judges single steps, too.

use super::cell::{Cell, exact};
use super::model::Model;
use super::reverse::Sampler;
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::small::Square;

/// A sampler whose formulas are printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Printed {
    /// Euler-Maruyama.
    Em,
    /// SSCS.
    Sscs,
    /// SSCS with the first half's interval in both.
    SscsFirstHalfTwice,
}

/// Mean and covariance, rounded.
pub(crate) type Rounded = (Vec<f64>, Square);

/// A normal law.
struct Law {
    mean: Vec<Dd>,
    cov: Square<Dd>,
}

impl Law {
    /// After `u' = A u + c + noise of covariance Q`.
    fn after(&self, a: &Square<Dd>, c: &[Dd], q: &Square<Dd>) -> Law {
        let mean = a.apply(&self.mean);
        Law {
            mean: mean.iter().zip(c).map(|(m, c)| *m + *c).collect(),
            cov: a.matmul(&self.cov).matmul(&a.transpose()).plus(q),
        }
    }

    /// After a map of the state and of K draws, which is affine: its matrices are read off the
    /// origin and the unit vectors.
    fn after_map(&self, t: f64, f: impl Fn(&[Cell], &[Cell]) -> Result<Vec<Cell>>) -> Result<Law> {
        let k = self.mean.len();
        let unit = |at: Option<usize>| -> Vec<Cell> {
            let entry = |i| exact(if at == Some(i) { 1.0 } else { 0.0 }, t);
            (0..k).map(entry).collect()
        };
        let truths = |cells: Vec<Cell>| cells.into_iter().map(|c| c.truth).collect::<Vec<Dd>>();
        let origin = truths(f(&unit(None), &unit(None))?);
        let matrix = |of_draws: bool| -> Result<Square<Dd>> {
            let mut m = Square::zero(k);
            for j in 0..k {
                let (none, one) = (unit(None), unit(Some(j)));
                let column = truths(if of_draws {
                    f(&none, &one)?
                } else {
                    f(&one, &none)?
                });
                (0..k).for_each(|i| m[(i, j)] = column[i] - origin[i]);
            }
            Ok(m)
        };
        let noise = matrix(true)?;
        Ok(self.after(&matrix(false)?, &origin, &noise.matmul(&noise.transpose())))
    }

    fn rounded(&self) -> Rounded {
        let mean = self.mean.iter().map(|x| x.to_f64()).collect();
        (mean, self.cov.map(Dd::to_f64))
    }
}

/// The law at the end of a run from the prior over `times`, with the exact score of data
/// `N(mean, std^2)`; and that after a denoising step from there.
///
/// # Errors
/// SSCS without a stationary law; a law that is singular.
pub(crate) fn laws(
    diffusion: &Diffusion,
    data: (f64, f64),
    printed: Printed,
    times: &[f64],
) -> Result<[Rounded; 2]> {
    let model = Model::of(diffusion);
    let sampler = Sampler::gaussian(&model, data);
    let k = diffusion.channels();
    let mut law = Law {
        mean: vec![Dd::ZERO; k],
        cov: diffusion.prior().map(Dd::from),
    };
    for w in times.windows(2) {
        let step = sampler.step(0, (w[0], w[1]), Dd::diff(w[0], w[1]));
        if printed == Printed::Em {
            law = law.after_map(step.t, |u, z| sampler.euler(step, u, Some(z)))?;
            continue;
        }
        let [first, second] = sampler.halves(step, printed == Printed::SscsFirstHalfTwice);
        let half = |law: &Law, on| -> Result<Law> {
            let exact = &sampler.half_law(on, step.t)?.law;
            Ok(law.after(&exact.mean, &vec![Dd::ZERO; k], &exact.cov))
        };
        law = half(&law, first)?;
        law = law.after_map(step.t, |u, _| sampler.kick(step, u.to_vec()))?;
        law = half(&law, second)?;
    }
    let last = sampler.denoise(0, times[times.len() - 1]);
    let after = law.after_map(last.t, |u, _| sampler.euler(last, u, None))?;
    Ok([law.rounded(), after.rounded()])
}
