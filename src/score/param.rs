//! Parametrisations: what a network may put out instead of the score, and the exact conversions,
//! both ways.
//!
//! With `u_t = phi x_0 + L eps` the kernel given x_0 (velocities marginalised, HSM),
//! `P = (L L^T)^-1`, `ell = 1 / L_KK`:
//!
//! | name | output | score of the noised channels |
//! |---|---|---|
//! | `score` | the score | itself |
//! | `eps` | the noise; of a score, its expectation given `u_t` | `-L^-T eps`; the last channel's: `-ell eps` |
//! | `mixed` | what the score lacks from a normal's | `-v / S_vv - ell net` |
//! | `x0` | the data; of a score, their expectation given `u_t` (Tweedie) | `-P (u - phi x_0)` |
//!
//! All are affine in the output at given `u_t`, so they hold for expectations as for values.
//! Source: CLD sec. 3.2 and app. B on mixed scores; Vincent 2011; Efron 2011 for Tweedie's formula.

use super::Score;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::KernelValues;

/// What a network puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parametrisation {
    /// The score itself.
    Score,
    /// The noise that made the sample.
    Eps,
    /// The rest beside the score of `N(0, S_vv)`, S_vv the velocity's variance from x_0 = 0.
    Mixed,
    /// The data.
    X0,
}

impl Parametrisation {
    /// All of them.
    pub const ALL: [Parametrisation; 4] = [
        Parametrisation::Score,
        Parametrisation::Eps,
        Parametrisation::Mixed,
        Parametrisation::X0,
    ];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Parametrisation::Score => "score",
            Parametrisation::Eps => "eps",
            Parametrisation::Mixed => "mixed",
            Parametrisation::X0 => "x0",
        }
    }

    /// The one called `name`.
    ///
    /// # Errors
    /// No such parametrisation; the message lists those there are.
    pub fn named(name: &str) -> Result<Parametrisation> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or_else(|| {
                let all: Vec<_> = Self::ALL.iter().map(|p| p.name()).collect();
                Error::parameter("parametrisation", format!("`{name}`"), all.join(", "))
            })
    }

    /// Slices that it has: one per noised channel, or one for the data.
    pub fn outputs(self, diffusion: &Diffusion) -> usize {
        if self == Parametrisation::X0 {
            1
        } else {
            diffusion.noised().len()
        }
    }

    /// Whether it is defined for a diffusion.
    ///
    /// # Errors
    /// `eps` where the noised channels are not the last ones; `mixed` unless noise is in the last
    /// of several channels alone.
    fn fits(self, diffusion: &Diffusion) -> Result<()> {
        let (k, noised) = (diffusion.channels(), diffusion.noised());
        let last = noised.first().is_some_and(|f| noised.len() == k - f);
        let fine = match self {
            Parametrisation::Score | Parametrisation::X0 => true,
            Parametrisation::Eps => last,
            Parametrisation::Mixed => k > 1 && last && noised.len() == 1,
        };
        let needs = match self {
            Parametrisation::Mixed => "a process with noise in the last of several channels alone",
            _ => "a process whose noised channels are the last ones",
        };
        let given = || {
            format!(
                "`{}` for process `{}`",
                self.name(),
                diffusion.process().name()
            )
        };
        if fine {
            Ok(())
        } else {
            Err(Error::parameter("parametrisation", given(), needs))
        }
    }
}

/// The conversions at one time. Slices as in [`Score`]: `u` one per channel, scores one per noised
/// channel, outputs [`outputs`](Parametrisation::outputs) slices; all of one length.
pub struct Conversion {
    noised: Vec<usize>,
    kernel: KernelValues,
    diffusion: Diffusion,
}

impl Conversion {
    /// For `diffusion` at time `t`.
    ///
    /// # Errors
    /// Those of [`Diffusion::kernel`].
    pub fn new(diffusion: &Diffusion, t: f64) -> Result<Conversion> {
        Ok(Conversion::with_kernel(diffusion, diffusion.kernel(t)?))
    }

    /// With the kernel that an output was trained by, which for DSM is not that of
    /// [`Diffusion::kernel`]: for `eps` and `mixed`.
    pub fn with_kernel(diffusion: &Diffusion, kernel: KernelValues) -> Conversion {
        Conversion {
            noised: diffusion.noised().to_vec(),
            kernel,
            diffusion: diffusion.clone(),
        }
    }

    fn check(
        &self,
        parametrisation: Parametrisation,
        u: &[&[f64]],
        output: &[usize],
        score: &[usize],
    ) -> Result<()> {
        parametrisation.fits(&self.diffusion)?;
        let n = u.first().map_or(0, |c| c.len());
        let lengths: Vec<usize> = u.iter().map(|c| c.len()).collect();
        let counts = [
            self.kernel.k,
            parametrisation.outputs(&self.diffusion),
            self.noised.len(),
        ];
        for ((name, found), count) in [("u", &lengths[..]), ("output", output), ("score", score)]
            .into_iter()
            .zip(counts)
        {
            if found.len() != count || found.iter().any(|l| *l != n) {
                return Err(Error::shape(
                    name,
                    found,
                    format!("{count} slices of one length, that of u"),
                ));
            }
        }
        Ok(())
    }

    /// `sum over j of P_ij (u_j - phi_j x0)`: minus the score of channel i given x_0.
    fn pull(&self, i: usize, u: &[&[f64]], r: usize, x0: f64) -> f64 {
        let k = self.kernel.k;
        (0..k)
            .map(|j| self.kernel.inv[(i, j)] * (u[j][r] - self.kernel.mean[(j, 0)] * x0))
            .sum()
    }

    /// The score from an output. Formula: param.eps, param.mixed, param.x0. Source: CLD sec. 3.2.
    ///
    /// # Errors
    /// A parametrisation that the diffusion has not; slices of other shapes.
    pub fn to_score(
        &self,
        parametrisation: Parametrisation,
        u: &[&[f64]],
        output: &[&[f64]],
        score: &mut [&mut [f64]],
    ) -> Result<()> {
        let lengths = |s: &[&mut [f64]]| s.iter().map(|c| c.len()).collect::<Vec<_>>();
        self.check(
            parametrisation,
            u,
            &output.iter().map(|c| c.len()).collect::<Vec<_>>(),
            &lengths(score),
        )?;
        let last = self.kernel.k - 1;
        match parametrisation {
            Parametrisation::Score => score
                .iter_mut()
                .zip(output)
                .for_each(|(s, o)| s.copy_from_slice(o)),
            Parametrisation::Eps => {
                for (n, s) in score.iter_mut().enumerate() {
                    let row = self.kernel.inverse_transpose_lower.row(self.noised[n]);
                    for (r, s) in s.iter_mut().enumerate() {
                        *s = -(n..output.len())
                            .map(|m| row[self.noised[m]] * output[m][r])
                            .sum::<f64>();
                    }
                }
            }
            Parametrisation::Mixed => {
                let (variance, ell) = (self.kernel.cov[(last, last)], self.kernel.ell);
                for ((s, v), o) in score[0].iter_mut().zip(u[last]).zip(output[0]) {
                    *s = -v / variance - ell * o;
                }
            }
            Parametrisation::X0 => {
                for (&i, s) in self.noised.iter().zip(score) {
                    for (r, s) in s.iter_mut().enumerate() {
                        *s = -self.pull(i, u, r, output[0][r]);
                    }
                }
            }
        }
        Ok(())
    }

    /// The output from the score: `eps = -L^T s` for the noised channels,
    /// `net = -(s + v / S_vv) / ell`, `x_0 = ((P u)_K + s_K) / (P phi)_K` from the last noised
    /// channel. For VP the last is `(x + S s) / phi`, and with `s = -eps / sqrt(S)` it is
    /// `(x - sqrt(S) eps) / phi`: the standard deviation stands there, not the variance that public
    /// code for VP has been seen to use. Formula: param.eps_from_score, param.mixed_from_score,
    /// param.x0_from_score.
    ///
    /// # Errors
    /// As [`to_score`](Self::to_score); x_0 where `(P phi)_K` is below 1e-290 in size: the data are
    /// forgotten, or this channel never knew them.
    pub fn from_score(
        &self,
        parametrisation: Parametrisation,
        u: &[&[f64]],
        score: &[&[f64]],
        output: &mut [&mut [f64]],
    ) -> Result<()> {
        let lengths: Vec<usize> = output.iter().map(|c| c.len()).collect();
        self.check(
            parametrisation,
            u,
            &lengths,
            &score.iter().map(|c| c.len()).collect::<Vec<_>>(),
        )?;
        let (k, last) = (self.kernel.k, self.kernel.k - 1);
        match parametrisation {
            Parametrisation::Score => output
                .iter_mut()
                .zip(score)
                .for_each(|(o, s)| o.copy_from_slice(s)),
            Parametrisation::Eps => {
                for (n, o) in output.iter_mut().enumerate() {
                    let i = self.noised[n];
                    for (r, o) in o.iter_mut().enumerate() {
                        *o = -(n..score.len())
                            .map(|m| self.kernel.chol_lower[(self.noised[m], i)] * score[m][r])
                            .sum::<f64>();
                    }
                }
            }
            Parametrisation::Mixed => {
                let (variance, ell) = (self.kernel.cov[(last, last)], self.kernel.ell);
                for ((o, v), s) in output[0].iter_mut().zip(u[last]).zip(score[0]) {
                    *o = -(s + v / variance) / ell;
                }
            }
            Parametrisation::X0 => {
                let (n, i) = (self.noised.len() - 1, self.noised[self.noised.len() - 1]);
                let weight: f64 = (0..k)
                    .map(|j| self.kernel.inv[(i, j)] * self.kernel.mean[(j, 0)])
                    .sum();
                if !(weight.abs() >= 1e-290) {
                    let why = format!(
                        "the last noised channel's score depends on x_0 with the factor {weight:e}"
                    );
                    return Err(Error::Degenerate {
                        what: "x_0 from the score".into(),
                        why,
                    });
                }
                for (r, o) in output[0].iter_mut().enumerate() {
                    *o = (self.pull(i, u, r, 0.0) + score[n][r]) / weight;
                }
            }
        }
        Ok(())
    }
}

/// Something that puts out values for a batch at a time: a network, a table, a closure. Shapes as
/// in [`Conversion`].
pub trait Network: Sync {
    /// Writes the output at time `t` for the batch `u`.
    ///
    /// # Errors
    /// Of its own.
    fn output(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()>;
}

impl<F: Fn(f64, &[&[f64]], &mut [&mut [f64]]) -> Result<()> + Sync> Network for F {
    fn output(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self(t, u, out)
    }
}

/// A network as a [`Score`].
pub struct Parametrised<N> {
    diffusion: Diffusion,
    parametrisation: Parametrisation,
    network: N,
}

impl<N: Network> Parametrised<N> {
    /// Of a network whose output is in this parametrisation.
    ///
    /// # Errors
    /// `eps` for a process whose noised channels are not the last ones; `mixed` unless noise is in
    /// the last of several channels alone (CLD, Langevin chains).
    pub fn new(diffusion: Diffusion, parametrisation: Parametrisation, network: N) -> Result<Self> {
        parametrisation.fits(&diffusion)?;
        Ok(Parametrised {
            diffusion,
            parametrisation,
            network,
        })
    }
}

impl<N: Network> Score for Parametrised<N> {
    /// The network's output through [`Conversion::to_score`].
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        if self.parametrisation == Parametrisation::Score {
            return self.network.output(t, u, out);
        }
        let n = u.first().map_or(0, |c| c.len());
        let mut output = vec![vec![0.0; n]; self.parametrisation.outputs(&self.diffusion)];
        self.network.output(
            t,
            u,
            &mut output.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )?;
        let output: Vec<&[f64]> = output.iter().map(Vec::as_slice).collect();
        Conversion::new(&self.diffusion, t)?.to_score(self.parametrisation, u, &output, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Kernel, Objective};
    use crate::process::{Cld, CldPosition, Langevin, Psld, SubVp, Ve, Vp, entry};
    use crate::schedule::Schedule;
    use crate::score::Gaussian;

    fn diffusions() -> Vec<Diffusion> {
        let s = || Schedule::linear(0.5, 6.0).unwrap();
        vec![
            Diffusion::paper().unwrap(),
            Diffusion::of(Vp, s(), 0.0).unwrap(),
            Diffusion::of(Ve, Schedule::geometric(0.01, 5.0).unwrap(), 0.0).unwrap(),
            Diffusion::of(SubVp, s(), 0.0).unwrap(),
            Diffusion::of(Langevin::<3>::critical().unwrap(), s(), 0.04).unwrap(),
            Diffusion::of(Psld::new(0.3, 4.3).unwrap(), s(), 0.04).unwrap(),
            Diffusion::of(CldPosition::new(2.0, 0.5, 1.0).unwrap(), s(), 0.1).unwrap(),
        ]
    }

    fn batch(k: usize) -> Vec<Vec<f64>> {
        (0..k)
            .map(|a| {
                (0..5)
                    .map(|n| (1.3 * n as f64 + 0.9 * a as f64).sin())
                    .collect()
            })
            .collect()
    }

    fn refs(u: &[Vec<f64>]) -> Vec<&[f64]> {
        u.iter().map(Vec::as_slice).collect()
    }

    /// Catches a sign, a transposed factor or a missing term in one direction: every output comes
    /// back from its score, to the rounding of a small triangular system of condition below 100;
    /// and where a parametrisation is not defined it is refused.
    #[test]
    fn outputs_come_back_from_their_scores() {
        let mut refused = vec![];
        for d in diffusions() {
            for p in Parametrisation::ALL {
                assert_eq!(Parametrisation::named(p.name()).unwrap(), p);
                if let Err(e) = p.fits(&d) {
                    assert!(e.to_string().contains(p.name()), "{e}");
                    refused.push((d.process().name(), p.name()));
                    continue;
                }
                for t in [0.1, 0.5, 0.9] {
                    let (c, u) = (Conversion::new(&d, t).unwrap(), batch(d.channels()));
                    let given = batch(p.outputs(&d));
                    let mut score = vec![vec![0.0; 5]; d.noised().len()];
                    let mut back = vec![vec![0.0; 5]; given.len()];
                    c.to_score(
                        p,
                        &refs(&u),
                        &refs(&given),
                        &mut score.iter_mut().map(|s| &mut s[..]).collect::<Vec<_>>(),
                    )
                    .unwrap();
                    c.from_score(
                        p,
                        &refs(&u),
                        &refs(&score),
                        &mut back.iter_mut().map(|s| &mut s[..]).collect::<Vec<_>>(),
                    )
                    .unwrap();
                    let size = score.concat().iter().fold(1.0, |m: f64, x| m.max(x.abs()));
                    for (x, y) in given.concat().iter().zip(back.concat()) {
                        assert!(
                            (x - y).abs() < 1e-13 * size,
                            "{} {} t = {t}: {x} came back as {y}",
                            d.process().name(),
                            p.name()
                        );
                    }
                }
            }
        }
        let mixed = Parametrisation::Mixed.name();
        let eps = |n: &str| entry(n).unwrap().parametrisation != mixed;
        assert!(
            refused.len() == 5 && refused.iter().all(|(n, p)| eps(n) && *p == mixed),
            "{refused:?}"
        );
        assert!(
            Parametrisation::named("v")
                .unwrap_err()
                .to_string()
                .contains("score, eps, mixed, x0")
        );
    }

    /// Catches a wrong kernel behind a parametrisation (DSM for HSM), a score of the wrong channel,
    /// `ell` inverted: the noise and the data that made a sample give the kernel's own score of v,
    /// and VP's data come back with the deviation, not the variance.
    #[test]
    fn noise_and_data_give_the_kernels_score() {
        let (d, t) = (Diffusion::paper().unwrap(), 0.35);
        let kernel = Kernel::new(
            &Cld::new(0.25).unwrap(),
            d.schedule(),
            Objective::hsm(0.04).unwrap(),
            t,
        )
        .unwrap();
        let (x0, eps) = (0.8, [0.4, -1.1]);
        let (m, l) = (kernel.mean(), kernel.lower());
        let u = [
            m[(0, 0)] * x0 + l[(0, 0)] * eps[0],
            m[(1, 0)] * x0 + l[(1, 0)] * eps[0] + l[(1, 1)] * eps[1],
        ];
        let want = kernel.score(u, [x0, 0.0])[1];
        for (p, output) in [(Parametrisation::Eps, eps[1]), (Parametrisation::X0, x0)] {
            let net = move |_: f64, _: &[&[f64]], out: &mut [&mut [f64]]| {
                out[0][0] = output;
                Ok(())
            };
            let mut got = [0.0];
            Parametrised::new(d.clone(), p, net)
                .unwrap()
                .score(t, &[&[u[0]], &[u[1]]], &mut [&mut got])
                .unwrap();
            // the sample itself is rounded at 1e-16, and its residual is amplified by 1 / L_vv,
            // about 4
            assert!(
                (got[0] - want).abs() < 2e-14,
                "{}: {} {want}",
                p.name(),
                got[0]
            );
        }
        // VP: x = phi x0 + sqrt(1 - phi^2) eps, phi = e^(-B/2)
        let vp = Diffusion::of(Vp, Schedule::constant(4.0).unwrap(), 0.0).unwrap();
        let (phi, s) = ((-2.0 * t).exp(), (1.0 - (-4.0 * t).exp()).sqrt());
        let mut got = [0.0];
        let c = Conversion::new(&vp, t).unwrap();
        c.from_score(
            Parametrisation::X0,
            &[&[phi * x0 + s * eps[0]]],
            &[&[-eps[0] / s]],
            &mut [&mut got],
        )
        .unwrap();
        assert!((got[0] - x0).abs() < 1e-14, "{}", got[0]);
    }

    /// Catches `S_vv` of DSM, of the data's own spread, or its root: with an output of 0 the mixed
    /// score is that of the velocity of x_0 = 0, whose variance is here the paper's form in
    /// elementary functions; with 1 it is lower by ell.
    #[test]
    fn mixed_score_is_a_normals_and_a_rest() {
        let (t, v) = (0.2f64, 0.7);
        let (z, gamma, mass) = (4.0 * t / 0.5, 0.04, 0.25);
        let (e, y) = ((-2.0 * z).exp(), 2.0 * z);
        let p3 = 1.0 - e * (1.0 + y + y * y / 2.0);
        let variance = mass * (p3 + 4.0 * z * e + gamma * e * (1.0 - z).powi(2));
        let (sxx, sxv) = (
            p3 + gamma * e * z * z,
            0.5 * e * z * (gamma + (2.0 - gamma) * z),
        );
        let ell = (sxx / (sxx * variance - sxv * sxv)).sqrt();
        for output in [0.0, 1.0] {
            let net = move |_: f64, _: &[&[f64]], out: &mut [&mut [f64]]| {
                out[0].fill(output);
                Ok(())
            };
            let mut got = [0.0];
            let score = Parametrised::new(Diffusion::paper().unwrap(), Parametrisation::Mixed, net)
                .unwrap();
            score.score(t, &[&[0.3], &[v]], &mut [&mut got]).unwrap();
            let want = -v / variance - ell * output;
            // the printed forms lose two digits at this t
            assert!(
                (got[0] - want).abs() < 1e-13 * want.abs(),
                "{} {want}",
                got[0]
            );
        }
    }

    /// Catches a Tweedie formula that is none: for Gaussian data the score's x_0 is the posterior
    /// mean, computed here by adding precisions,
    /// `(m/s^2 + phi^T S^-1 u) / (1/s^2 + phi^T S^-1 phi)`, for every process.
    #[test]
    fn x0_of_a_score_is_the_posterior_mean() {
        let (mean, deviation) = (0.4, 0.7);
        for d in diffusions() {
            for t in [0.1, 0.4, 0.8] {
                let (u, k) = (batch(d.channels()), d.channels());
                let mut score = vec![vec![0.0; 5]; d.noised().len()];
                let exact = Gaussian::new(d.clone(), mean, deviation).unwrap();
                exact
                    .score(
                        t,
                        &refs(&u),
                        &mut score.iter_mut().map(|s| &mut s[..]).collect::<Vec<_>>(),
                    )
                    .unwrap();
                let (c, mut got) = (Conversion::new(&d, t).unwrap(), [0.0; 5]);
                c.from_score(
                    Parametrisation::X0,
                    &refs(&u),
                    &refs(&score),
                    &mut [&mut got],
                )
                .unwrap();
                let kernel = d.kernel(t).unwrap();
                let weight: Vec<f64> = (0..k)
                    .map(|j| {
                        (0..k)
                            .map(|i| kernel.mean[(i, 0)] * kernel.inv[(i, j)])
                            .sum()
                    })
                    .collect();
                let information: f64 = (0..k).map(|j| weight[j] * kernel.mean[(j, 0)]).sum();
                for r in 0..5 {
                    let pull: f64 = (0..k).map(|j| weight[j] * u[j][r]).sum();
                    let want =
                        (mean / deviation.powi(2) + pull) / (deviation.powi(-2) + information);
                    // the score is divided by (P phi)_K, at least 1e-2 of its own terms here
                    assert!(
                        (got[r] - want).abs() < 1e-11 * want.abs().max(1.0),
                        "{} t = {t}: {} {want}",
                        d.process().name(),
                        got[r]
                    );
                }
            }
        }
    }
}
