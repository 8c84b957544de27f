//! A network as a score: rows shared out among the threads, and its divergence by Hutchinson's probes and exact derivatives.

use super::step::{pack, rows_at_once, unpack};
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
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
        Ok(Net { graph, p, turned, rows, idle: Mutex::new(vec![]) })
    }

    /// The network.
    pub fn graph(&self) -> &Arc<Graph<f32>> {
        &self.graph
    }

    /// Lends a session: those that others have given back, or a new one.
    fn with<R>(&self, f: impl FnOnce(&mut Session<f32>) -> Result<R>) -> Result<R> {
        let idle = || self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waiting = idle().pop();
        let mut session = match waiting {
            Some(s) => s,
            None => Session::new(self.graph.clone(), self.rows)?,
        };
        let result = f(&mut session);
        idle().push(session);
        result
    }

    /// Coordinates of a row, from the channels of the state.
    fn dim(&self, k: usize) -> usize {
        self.graph.inputs().iter().product::<usize>() / k
    }

    fn check(&self, u: &[&[f64]], out: usize) -> Result<usize> {
        let (inputs, n) = (self.graph.inputs().iter().product::<usize>(), u.first().map_or(0, |c| c.len()));
        let dim = inputs / u.len().max(1);
        if u.is_empty() || !inputs.is_multiple_of(u.len()) || !n.is_multiple_of(dim) || u.iter().any(|c| c.len() != n) {
            return Err(Error::shape("u", &[u.len(), n], format!("channels of whole rows; {inputs} numbers a row in all")));
        }
        let outputs = self.graph.outputs().iter().product::<usize>();
        if out * dim != outputs { Err(Error::shape("out", &[out], format!("{} slices", outputs / dim))) } else { Ok(dim) }
    }

    /// Runs `f` on batches of few rows: first row, their number, and the outputs' part of these rows (one slice per output channel).
    fn batches(
        &self,
        out: &mut [&mut [f64]],
        width: usize,
        f: impl Fn(usize, usize, &mut [&mut [f64]]) -> Result<()> + Sync,
    ) -> Result<()> {
        let n = out.first().map_or(0, |o| o.len()) / width;
        let mut parts: Vec<(usize, Vec<&mut [f64]>)> = (0..n).step_by(self.rows).map(|r| (r, vec![])).collect();
        for o in out.iter_mut() {
            for (part, o) in parts.iter_mut().zip(o.chunks_mut(self.rows * width)) {
                part.1.push(o);
            }
        }
        parts.into_par_iter().try_for_each(|(r, mut out)| f(r, self.rows.min(n - r), &mut out))
    }
}

impl Network for Net {
    /// The network's output for every row at time `t`. Rows are independent: the same bits for any number of threads and any batch.
    fn output(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let dim = self.check(u, out.len())?;
        let (k, m) = (u.len(), out.len());
        self.batches(out, dim, |first, n, out| {
            let u: Vec<&[f64]> = u.iter().map(|c| &c[first * dim..(first + n) * dim]).collect();
            let (mut x, mut y) = (vec![0.0; n * k * dim], vec![0.0; n * m * dim]);
            pack(&u, dim, &mut x);
            self.with(|s| {
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
    parametrisation: Parametrisation,
    net: Net,
}

impl Model {
    /// From its parts.
    ///
    /// # Errors
    /// A network of other channels; a parametrisation that the diffusion has not, or that is not `eps` or `mixed`.
    pub fn new(diffusion: Diffusion, parametrisation: Parametrisation, net: Net) -> Result<Model> {
        let (k, m) = (diffusion.channels(), diffusion.noised().len());
        let ([i, ..], [o, ..]) = (net.graph.inputs(), net.graph.outputs());
        if !i.is_multiple_of(k) || o != i / k * m {
            return Err(Error::shape("network", &[i, o], format!("{k} channels in and {m} out for each of the data's")));
        }
        match parametrisation {
            Parametrisation::Eps => (),
            Parametrisation::Mixed if k > 1 && m == 1 => (),
            p => return Err(Error::parameter("parametrisation", p.name(), "eps, or mixed for noise in the last of several channels")),
        }
        Ok(Model { diffusion, parametrisation, net })
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
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
}

impl Score for Model {
    /// The network's output through [`Conversion::to_score`].
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let n = u.first().map_or(0, |c| c.len());
        let mut output = vec![vec![0.0; n]; out.len()];
        self.net.output(t, u, &mut output.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
        let output: Vec<&[f64]> = output.iter().map(Vec::as_slice).collect();
        Conversion::new(&self.diffusion, t)?.to_score(self.parametrisation, u, &output, out)
    }
}

/// A model with the divergence that one probe of signs per row gives, the same along a flow: `e^T J e` with the exact `J^T e` of a
/// backward pass. The mean over rows of a likelihood is unbiased, and its standard error over rows has the probes' part in it.
/// Source: Hutchinson 1990; Grathwohl et al. 2019.
pub struct Probed<'a> {
    /// The model.
    pub model: &'a Model,
    /// Seed of the probes.
    pub seed: u64,
}

impl Score for Probed<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.model.score(t, u, out)
    }
}

impl Divergence for Probed<'_> {
    /// One number per row and noised channel i: `e . d(e . s_i)/du_i`, with `s_i = -sum_m (L^-T)_im eps_m`, and for the mixed
    /// parametrisation `-dim/S_vv - ell e . d(e . net)/dv`. Formula: likelihood.probe.
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let (model, net) = (self.model, &self.model.net);
        let noised = model.diffusion.noised();
        let dim = net.check(u, noised.len())?;
        let (k, m) = (u.len(), noised.len());
        let kernel = model.diffusion.kernel(t)?;
        let offset = match model.parametrisation {
            Parametrisation::Mixed => -(dim as f64) / kernel.cov[k * k - 1],
            _ => 0.0,
        };
        net.batches(out, 1, |first, n, out| {
            let u: Vec<&[f64]> = u.iter().map(|c| &c[first * dim..(first + n) * dim]).collect();
            let (mut x, mut y, mut dx) = (vec![0.0; n * k * dim], vec![0.0; n * m * dim], vec![0.0; n * k * dim]);
            pack(&u, dim, &mut x);
            let signs: Vec<f32> = (0..n * dim)
                .map(|i| {
                    let word = threefry([(first + i / dim) as u64, (i % dim / 128) as u64], [self.seed, u64::from_be_bytes(*b"probes..")]);
                    if word[i % dim / 64 % 2] >> (i % dim % 64) & 1 == 0 { 1.0 } else { -1.0 }
                })
                .collect();
            net.with(|s| {
                s.forward(&net.p, &x, &vec![t; n], &mut y);
                // the gradients of the parameters are not wanted: their place is a session's, made once
                let mut unused = vec![0.0; net.p.len()];
                for (a, (&i, out)) in noised.iter().zip(out.iter_mut()).enumerate() {
                    let row = &kernel.inverse_transpose_lower[i * k..][..k];
                    let mut dy = vec![0.0; y.len()];
                    for r in 0..n {
                        for (b, &j) in noised.iter().enumerate().skip(a) {
                            for c in 0..dim {
                                dy[(r * m + b) * dim + c] = (-row[j]) as f32 * signs[r * dim + c];
                            }
                        }
                    }
                    s.backward(&net.p, &net.turned, &dy, &mut unused, Some(&mut dx));
                    for (r, o) in out.iter_mut().enumerate() {
                        let at = (r * k + i) * dim;
                        *o = offset
                            + dx[at..at + dim].iter().zip(&signs[r * dim..]).map(|(d, e)| f64::from(*d) * f64::from(*e)).sum::<f64>();
                    }
                }
                Ok(())
            })
        })
    }
}
