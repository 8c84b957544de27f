//! A network as a score: rows shared out among the threads, and its divergence by Hutchinson's
//! probes and exact derivatives.

use super::step::{pack, rows_at_once, unpack};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::kernel::{KernelValues, Objective, kernel_values};
use crate::likelihood::Divergence;
use crate::nn::{Graph, Session};
use crate::score::{Conversion, Network, Parametrisation, Score};
use crate::simd::normal::threefry;
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// A network with weights.
pub struct Net {
    graph: Arc<Graph<f32>>,
    p: Vec<f32>,
    turned: Vec<f32>,
    rows: usize,
    idle: Mutex<Vec<Session<f32>>>,
}

impl Net {
    /// From a network and its weights.
    ///
    /// # Errors
    /// Weights of another network.
    pub fn new(graph: Arc<Graph<f32>>, p: Vec<f32>) -> Result<Net> {
        let len = graph.layout().len();
        if p.len() != len {
            return Err(Error::shape("weights", &[p.len()], format!("[{len}]")));
        }
        let mut turned = vec![0.0; len];
        graph.turn(&p, &mut turned);
        let rows = rows_at_once(graph.inputs());
        Ok(Net {
            graph,
            p,
            turned,
            rows,
            idle: Mutex::new(vec![]),
        })
    }

    /// The network.
    pub fn graph(&self) -> &Arc<Graph<f32>> {
        &self.graph
    }

    /// Lends a session for `rows` rows, with or without a backward pass: one that another has given
    /// back, or a new one. A session computes all its rows, wanted or not.
    fn with<R>(
        &self,
        rows: usize,
        backward: bool,
        f: impl FnOnce(&mut Session<f32>) -> Result<R>,
    ) -> Result<R> {
        let idle = || {
            self.idle
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let waiting = {
            let mut all = idle();
            let fits = |s: &Session<f32>| (s.rows(), s.has_backward()) == (rows, backward);
            let place = all.iter().position(fits);
            place.map(|i| all.swap_remove(i))
        };
        let mut session = match waiting {
            Some(s) => s,
            None if backward => Session::new(self.graph.clone(), rows)?,
            None => Session::forward_only(self.graph.clone(), rows)?,
        };
        let result = f(&mut session);
        let mut all = idle();
        // batches of many sizes must not pile up sessions
        if all.len() >= 4 * rayon::current_num_threads() {
            all.remove(0);
        }
        all.push(session);
        result
    }

    /// Coordinates of a row, from the channels of the state.
    fn dim(&self, k: usize) -> usize {
        self.graph.inputs().iter().product::<usize>() / k
    }

    fn check(&self, u: &[&[f64]], out: usize) -> Result<usize> {
        let (inputs, n) = (
            self.graph.inputs().iter().product::<usize>(),
            u.first().map_or(0, |c| c.len()),
        );
        let dim = inputs / u.len().max(1);
        if u.is_empty()
            || !inputs.is_multiple_of(u.len())
            || !n.is_multiple_of(dim)
            || u.iter().any(|c| c.len() != n)
        {
            return Err(Error::shape(
                "u",
                &[u.len(), n],
                format!("channels of whole rows; {inputs} numbers a row in all"),
            ));
        }
        let outputs = self.graph.outputs().iter().product::<usize>();
        if out * dim != outputs {
            Err(Error::shape(
                "out",
                &[out],
                format!("{} slices", outputs / dim),
            ))
        } else {
            Ok(dim)
        }
    }

    /// Runs `f` on batches of few rows, as many to each thread: rows of a session, first row, their
    /// number, and the outputs' part of these rows (one slice per output channel).
    fn batches(
        &self,
        out: &mut [&mut [f64]],
        width: usize,
        f: impl Fn(usize, usize, usize, &mut [&mut [f64]]) -> Result<()> + Sync,
    ) -> Result<()> {
        let n = out.first().map_or(0, |o| o.len()) / width;
        let count = n
            .div_ceil(self.rows)
            .next_multiple_of(rayon::current_num_threads());
        let size = n.div_ceil(count).max(1);
        let mut parts: Vec<(usize, Vec<&mut [f64]>)> =
            (0..n).step_by(size).map(|r| (r, vec![])).collect();
        for o in out.iter_mut() {
            for (part, o) in parts.iter_mut().zip(o.chunks_mut(size * width)) {
                part.1.push(o);
            }
        }
        parts
            .into_par_iter()
            .try_for_each(|(r, mut out)| f(size, r, size.min(n - r), &mut out))
    }
}

impl Network for Net {
    /// The network's output for every row at time `t`. Rows are independent: the same bits for any
    /// number of threads and any batch.
    fn output(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let dim = self.check(u, out.len())?;
        let (k, m) = (u.len(), out.len());
        self.batches(out, dim, |rows, first, n, out| {
            let u: Vec<&[f64]> = u
                .iter()
                .map(|c| &c[first * dim..(first + n) * dim])
                .collect();
            let (mut x, mut y) = (vec![0.0; n * k * dim], vec![0.0; n * m * dim]);
            pack(&u, dim, &mut x);
            self.with(rows, false, |s| {
                s.forward(&self.p, &x, &vec![t; n], &mut y);
                Ok(())
            })?;
            unpack(&y, dim, out);
            Ok(())
        })
    }
}

/// A network as the score of a diffusion.
pub struct Model {
    diffusion: Diffusion,
    objective: Objective,
    parametrisation: Parametrisation,
    net: Net,
}

impl Model {
    /// From its parts. The objective is the one it was trained by: the noise that the network tells
    /// is that of its kernel (CLD: the score is `-ell_t eps`, and DSM's `ell_t` is not HSM's).
    ///
    /// # Errors
    /// A network of other channels; a parametrisation that the diffusion has not, or that is not
    /// `eps` or `mixed`; HSM without a velocity.
    pub fn new(
        diffusion: Diffusion,
        objective: Objective,
        parametrisation: Parametrisation,
        net: Net,
    ) -> Result<Model> {
        let (k, m) = (diffusion.channels(), diffusion.noised().len());
        let ([i, ..], [o, ..]) = (net.graph.inputs(), net.graph.outputs());
        if !i.is_multiple_of(k) || o != i / k * m {
            return Err(Error::shape(
                "network",
                &[i, o],
                format!("{k} channels in and {m} out for each of the data's"),
            ));
        }
        match parametrisation {
            Parametrisation::Eps => (),
            Parametrisation::Mixed if k > 1 && m == 1 => (),
            p => {
                return Err(Error::parameter(
                    "parametrisation",
                    p.name(),
                    "eps, or mixed for noise in the last of several channels",
                ));
            }
        }
        if k == 1 && objective.name() == "hsm" {
            return Err(Error::parameter(
                "objective",
                "hsm",
                "dsm for a process without velocity",
            ));
        }
        Ok(Model {
            diffusion,
            objective,
            parametrisation,
            net,
        })
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }

    /// The kernel of the objective at time `t`.
    fn kernel(&self, t: f64) -> Result<KernelValues> {
        kernel_values(
            self.diffusion.process(),
            self.diffusion.schedule(),
            self.objective,
            0.0,
            t,
        )
    }

    /// Coordinates of a sample.
    pub fn dim(&self) -> usize {
        self.net.dim(self.diffusion.channels())
    }

    /// Channels, height and width of a sample.
    pub fn shape(&self) -> [usize; 3] {
        let [c, h, w] = self.net.graph.inputs();
        [c / self.diffusion.channels(), h, w]
    }

    /// `J^T w`, J the Jacobian of the scores with respect to all channels, by a backward pass: `w`
    /// has one slice per noised channel, `out` one per channel. With `s = -L^-T eps` (mixed:
    /// `-v / S_vv - ell net`) the network's outputs are given `-L^-1 w`. Formula: model.pull.
    ///
    /// # Errors
    /// Slices of other shapes.
    pub fn pull(&self, t: f64, u: &[&[f64]], w: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (net, noised) = (&self.net, self.diffusion.noised());
        let dim = net.check(u, w.len())?;
        let (k, m, length) = (u.len(), w.len(), u[0].len());
        if out.len() != k || w.iter().any(|w| w.len() != length) {
            let allowed = format!("{k} slices, {m} of w, of {length} numbers");
            return Err(Error::shape("out", &[out.len(), length], allowed));
        }
        let kernel = self.kernel(t)?;
        let root = &kernel.inverse_transpose_lower;
        net.batches(out, dim, |rows, first, n, out| {
            let here = |c: &[f64]| c[first * dim..(first + n) * dim].to_vec();
            let u: Vec<Vec<f64>> = u.iter().map(|c| here(c)).collect();
            let w: Vec<Vec<f64>> = w.iter().map(|c| here(c)).collect();
            let given: Vec<Vec<f64>> = (0..m)
                .map(|b| {
                    let value = |r: usize| {
                        let terms = (0..=b).map(|a| root[(noised[a], noised[b])] * w[a][r]);
                        -terms.sum::<f64>()
                    };
                    (0..n * dim).map(value).collect()
                })
                .collect();
            let (mut x, mut y) = (vec![0.0; n * k * dim], vec![0.0; n * m * dim]);
            let (mut dx, mut dy) = (x.clone(), y.clone());
            pack(&u, dim, &mut x);
            pack(&given, dim, &mut dy);
            // the gradients of the parameters are not wanted, but made
            let mut unused = vec![0.0; net.p.len()];
            net.with(rows, true, |s| {
                s.forward(&net.p, &x, &vec![t; n], &mut y);
                s.backward(&net.p, &net.turned, &dy, &mut unused, Some(&mut dx));
                Ok(())
            })?;
            unpack(&dx, dim, out);
            if self.parametrisation == Parametrisation::Mixed {
                let variance = kernel.cov[(k - 1, k - 1)];
                let pairs = out[k - 1].iter_mut().zip(&w[0]);
                pairs.for_each(|(o, w)| *o -= w / variance);
            }
            Ok(())
        })
    }
}

impl Score for Model {
    /// The network's output through [`Conversion::to_score`].
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let n = u.first().map_or(0, |c| c.len());
        let mut output = vec![vec![0.0; n]; out.len()];
        self.net.output(
            t,
            u,
            &mut output.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )?;
        let output: Vec<&[f64]> = output.iter().map(Vec::as_slice).collect();
        Conversion::with_kernel(&self.diffusion, self.kernel(t)?).to_score(
            self.parametrisation,
            u,
            &output,
            out,
        )
    }
}

/// How the trace of a Jacobian is found, by backward passes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// The mean of `e^T J e` over this many probes e of random signs: unbiased, one backward pass
    /// each.
    Signs(usize),
    /// Every coordinate's own slope: one backward pass for each coordinate.
    Exact,
}

/// A model with its divergence, by `e^T J e` with the exact `J^T e` of a backward pass. Probes are
/// the same along a flow, and each row has its own: the mean over rows of a likelihood is unbiased,
/// and its standard error over rows has the probes' part in it. Source: Hutchinson 1990; Grathwohl
/// et al. 2019.
pub struct Probed<'a> {
    model: &'a Model,
    seed: u64,
    probes: Probes,
}

impl<'a> Probed<'a> {
    /// Of a model; `seed` is that of the probes.
    ///
    /// # Errors
    /// No probes, or more than 65536.
    pub fn new(model: &'a Model, seed: u64, probes: Probes) -> Result<Probed<'a>> {
        match probes {
            Probes::Signs(n) if !(1..=1 << 16).contains(&n) => {
                Err(Error::parameter("probes", n, "1 to 65536"))
            }
            _ => Ok(Probed {
                model,
                seed,
                probes,
            }),
        }
    }

    /// Coordinate `c` of probe `number` of a row.
    fn sign(&self, row: usize, number: usize, c: usize) -> f32 {
        let word = threefry(
            [row as u64, ((number << 32) | (c / 128)) as u64],
            [self.seed, u64::from_be_bytes(*b"probes..")],
        );
        if word[c / 64 % 2] >> (c % 64) & 1 == 0 {
            1.0
        } else {
            -1.0
        }
    }
}

impl Score for Probed<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.model.score(t, u, out)
    }
}

impl Divergence for Probed<'_> {
    /// One number per row and noised channel i: `e . d(e . s_i)/du_i`, with
    /// `s_i = -sum_m (L^-T)_im eps_m`, and for the mixed parametrisation
    /// `-dim/S_vv - ell e . d(e . net)/dv`. Formula: likelihood.probe.
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (model, net) = (self.model, &self.model.net);
        let noised = model.diffusion.noised();
        let dim = net.check(u, noised.len())?;
        let (k, m) = (u.len(), noised.len());
        let kernel = model.kernel(t)?;
        let offset = match model.parametrisation {
            Parametrisation::Mixed => -(dim as f64) / kernel.cov[(k - 1, k - 1)],
            _ => 0.0,
        };
        let (count, part) = match self.probes {
            Probes::Signs(n) => (n, 1.0 / n as f64),
            Probes::Exact => (dim, 1.0),
        };
        net.batches(out, 1, |rows, first, n, out| {
            let u: Vec<&[f64]> = u
                .iter()
                .map(|c| &c[first * dim..(first + n) * dim])
                .collect();
            let (mut x, mut y, mut dx) = (
                vec![0.0; n * k * dim],
                vec![0.0; n * m * dim],
                vec![0.0; n * k * dim],
            );
            pack(&u, dim, &mut x);
            let (mut probe, mut dy) = (vec![0f32; n * dim], vec![0f32; n * m * dim]);
            // the gradients of the parameters are not wanted, but made
            let mut unused = vec![0.0; net.p.len()];
            out.iter_mut().for_each(|o| o.fill(offset));
            net.with(rows, true, |s| {
                s.forward(&net.p, &x, &vec![t; n], &mut y);
                for number in 0..count {
                    for (i, e) in probe.iter_mut().enumerate() {
                        *e = match self.probes {
                            Probes::Signs(_) => self.sign(first + i / dim, number, i % dim),
                            Probes::Exact => f32::from(i % dim == number),
                        };
                    }
                    for (a, (&i, out)) in noised.iter().zip(out.iter_mut()).enumerate() {
                        let row = kernel.inverse_transpose_lower.row(i);
                        dy.fill(0.0);
                        for r in 0..n {
                            for (b, &j) in noised.iter().enumerate().skip(a) {
                                for c in 0..dim {
                                    dy[(r * m + b) * dim + c] =
                                        (-row[j]) as f32 * probe[r * dim + c];
                                }
                            }
                        }
                        s.backward(&net.p, &net.turned, &dy, &mut unused, Some(&mut dx));
                        for (r, o) in out.iter_mut().enumerate() {
                            let slopes = &dx[(r * k + i) * dim..][..dim];
                            *o += part
                                * slopes
                                    .iter()
                                    .zip(&probe[r * dim..])
                                    .map(|(d, e)| f64::from(*d) * f64::from(*e))
                                    .sum::<f64>();
                        }
                    }
                }
                Ok(())
            })
        })
    }
}
