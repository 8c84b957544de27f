//! Gaussian mixtures with their exact scores, losses of training, and likelihoods by the flow with
//! any score.

use crate::process::{Process, columns};
use crate::sampler::Callback;
use crate::{look_for_signals, refused, without_lock};
use cld_sgm::data::mixture::{self, Component};
use cld_sgm::kernel::kernel_values;
use cld_sgm::likelihood::{Divergence, Likelihood, Probe, Terminal, Trace, bits_per_dimension};
use cld_sgm::loss::{Form, Loss, Weighting};
use cld_sgm::metrics::Estimate;
use cld_sgm::score::{Conversion, MixtureScore, Parametrisation, Score};
use cld_sgm::{Diffusion, Error, Result};
use numpy::{
    PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use std::collections::BTreeMap;

/// Numbers that are worked on between two looks for Ctrl-C.
const LOOK: usize = 1 << 16;

/// `count` slices of one length.
fn slices<'a>(a: &'a PyReadonlyArray2<'_, f64>) -> PyResult<Vec<&'a [f64]>> {
    let n = a.shape()[1];
    Ok(if n == 0 {
        vec![&[][..]; a.shape()[0]]
    } else {
        a.as_slice()?.chunks(n).collect()
    })
}

fn rows_of(t: &[f64], width: usize, dim: usize) -> Result<()> {
    if dim == 0 || width != t.len() * dim {
        return Err(Error::parameter(
            "u",
            format!("{width} long"),
            format!("{} rows of {dim}", t.len()),
        ));
    }
    Ok(())
}

fn slice_rows<'a>(list: &[&'a [f64]], range: std::ops::Range<usize>) -> Vec<&'a [f64]> {
    list.iter().map(|c| &c[range.clone()]).collect()
}

/// Rows by their time, each list short enough that Ctrl-C is seen between two of them.
fn by_time(t: &[f64], dim: usize) -> Vec<(f64, Vec<usize>)> {
    let mut rows: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    t.iter()
        .enumerate()
        .for_each(|(r, t)| rows.entry(t.to_bits()).or_default().push(r));
    let most = (LOOK / dim.max(1)).max(1);
    rows.iter()
        .flat_map(|(t, rows)| rows.chunks(most).map(|r| (f64::from_bits(*t), r.to_vec())))
        .collect()
}

#[pyclass(frozen, module = "cld_sgm._native")]
pub struct Mixture(mixture::Mixture);

#[pymethods]
impl Mixture {
    #[new]
    fn new(
        weights: PyReadonlyArray1<'_, f64>,
        means: PyReadonlyArray2<'_, f64>,
        lowers: PyReadonlyArray3<'_, f64>,
    ) -> PyResult<Self> {
        let dim = means.shape()[1];
        let components = weights
            .as_slice()?
            .iter()
            .zip(means.as_slice()?.chunks(dim.max(1)))
            .zip(lowers.as_slice()?.chunks((dim * dim).max(1)))
            .map(|((weight, mean), lower)| Component {
                weight: *weight,
                mean: mean.to_vec(),
                lower: lower.to_vec(),
            });
        mixture::Mixture::new(components.collect())
            .map(Mixture)
            .map_err(refused)
    }

    fn mean(&self) -> Vec<f64> {
        self.0.mean()
    }

    /// Row-major.
    fn covariance(&self) -> Vec<f64> {
        self.0.covariance()
    }

    /// (n dim,)
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let out = without_lock(py, || self.0.sample(seed, n).map_err(refused))?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// Log-density of the data, (n,), at x, (n, dim).
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = slices(&x)?;
        let out = without_lock(py, || {
            let one = |(i, x): (usize, &&[f64])| {
                if i % 4096 == 4095 {
                    look_for_signals();
                }
                self.0.log_density(x).map_err(refused)
            };
            x.iter().enumerate().map(one).collect::<PyResult<Vec<_>>>()
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// Of the noised mixture at u, (K, n dim), each row at its time: the log-density, (1, n), or
    /// its gradient, (K, n dim).
    fn at<'py>(
        &self,
        py: Python<'py>,
        process: &Process,
        t: PyReadonlyArray1<'py, f64>,
        u: PyReadonlyArray2<'py, f64>,
        gradient: bool,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (diffusion, dim) = (process.diffusion()?, self.0.dim());
        let (t, u) = (t.as_slice()?, slices(&u)?);
        rows_of(t, u.first().map_or(0, |c| c.len()), dim).map_err(refused)?;
        let k = diffusion.channels();
        let (count, wide) = if gradient { (k, dim) } else { (1, 1) };
        let out = without_lock(py, || {
            let score = MixtureScore::new(diffusion, self.0.clone());
            let mut out = vec![0.0; count * t.len() * wide];
            for (time, rows) in by_time(t, dim) {
                look_for_signals();
                let taken: Vec<Vec<f64>> = u
                    .iter()
                    .map(|c| {
                        rows.iter()
                            .flat_map(|r| c[r * dim..][..dim].iter().copied())
                            .collect()
                    })
                    .collect();
                let taken: Vec<&[f64]> = taken.iter().map(Vec::as_slice).collect();
                let mut found = vec![vec![0.0; rows.len() * wide]; count];
                let mut views: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
                if gradient {
                    score
                        .joint_score(time, &taken, &mut views)
                        .map_err(refused)?;
                } else {
                    score.log_density(time, &taken, views[0]).map_err(refused)?;
                }
                for (out, found) in out.chunks_mut(t.len() * wide).zip(&found) {
                    rows.iter()
                        .zip(found.chunks(wide))
                        .for_each(|(r, row)| out[r * wide..][..wide].copy_from_slice(row));
                }
            }
            Ok(out)
        })?;
        columns(py, out, count)
    }
}

/// What the output of a network is, noised or not: (form of the loss, whether it has to be
/// converted first).
fn form(output_is: &str) -> Result<(Form, bool)> {
    match output_is {
        "eps" => Ok((Form::Eps, false)),
        "score" => Ok((Form::Score, false)),
        "mixed" => Ok((Form::Eps, true)),
        other => Err(Error::parameter(
            "output_is",
            format!("`{other}`"),
            "eps, score, mixed",
        )),
    }
}

/// One per row, and the gradients with respect to the output.
type Losses<'py> = (Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray2<f64>>>);

/// Losses, (n,), and with `gradient` their gradients, (m, n dim), with respect to the output, (m, n
/// dim). `noise`: (K, n dim); `u0`: x_0 or all channels, of which the mixed form alone has a use.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // the arguments are Python's
pub fn loss<'py>(
    py: Python<'py>,
    process: &Process,
    t: PyReadonlyArray1<'py, f64>,
    u0: PyReadonlyArray2<'py, f64>,
    noise: PyReadonlyArray2<'py, f64>,
    output: PyReadonlyArray2<'py, f64>,
    output_is: &str,
    weighting: &str,
    gradient: bool,
) -> PyResult<Losses<'py>> {
    let diffusion = process.diffusion()?;
    let (form, mixed) = form(output_is).map_err(refused)?;
    let names = || Weighting::ALL.map(Weighting::name).join(", ");
    let weighting = Weighting::ALL.into_iter().find(|w| w.name() == weighting);
    let weighting =
        weighting.ok_or_else(|| refused(Error::parameter("weighting", "unknown", names())))?;
    let (t, u0, noise, output) = (
        t.as_slice()?,
        slices(&u0)?,
        slices(&noise)?,
        slices(&output)?,
    );
    let n = noise.first().map_or(0, |c| c.len());
    let dim = n / t.len().max(1);
    rows_of(t, n, dim).map_err(refused)?;
    let m = diffusion.noised().len();
    let (out, slopes) = without_lock(py, || {
        let loss =
            Loss::new(&diffusion, process.config.objective, form, weighting).map_err(refused)?;
        let (mut out, mut slopes) = (
            vec![0.0; t.len()],
            vec![0.0; if gradient { m * n } else { 0 }],
        );
        for (i, (time, rows)) in by_time(t, dim).into_iter().enumerate() {
            if i % 64 == 0 {
                look_for_signals();
            }
            let kernel = kernel_values(
                diffusion.process(),
                diffusion.schedule(),
                process.config.objective,
                0.0,
                time,
            )
            .map_err(refused)?;
            let at = loss.with_kernel(time, &kernel).map_err(refused)?;
            // the velocity's part of a mixed score is that of HSM, also under DSM
            let pull = mixed
                .then(|| Conversion::new(&diffusion, time))
                .transpose()
                .map_err(refused)?;
            let conversion = pull.map(|pull| (pull, Conversion::with_kernel(&diffusion, kernel)));
            for r in rows {
                let row = |list| slice_rows(list, r * dim..(r + 1) * dim);
                let mut own = [vec![vec![0.0; dim]; m], vec![vec![0.0; dim]; m]];
                let noise = row(&noise);
                let value = |output: &[&[f64]], own: &mut [Vec<f64>]| {
                    let mut views: Vec<&mut [f64]> =
                        own.iter_mut().map(Vec::as_mut_slice).collect();
                    at.value(&noise, output, &mut views)
                };
                let [slope, eps] = &mut own;
                out[r] = match &conversion {
                    None => value(&row(&output), slope),
                    // eps = -score/ell = v/(S_vv ell) + net: the gradient is the same
                    Some((pull, to_eps)) => {
                        let mut u = vec![vec![0.0; dim]; noise.len()];
                        at.perturb(
                            &row(&u0),
                            &noise,
                            &mut u.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
                        )
                        .map_err(refused)?;
                        let u: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
                        let nothing = vec![0.0; dim];
                        let mut score = vec![vec![0.0; dim]; m];
                        let mut views: Vec<&mut [f64]> =
                            score.iter_mut().map(Vec::as_mut_slice).collect();
                        pull.to_score(
                            Parametrisation::Mixed,
                            &u,
                            &vec![&nothing[..]; m],
                            &mut views,
                        )
                        .map_err(refused)?;
                        let score: Vec<&[f64]> = score.iter().map(Vec::as_slice).collect();
                        let mut views: Vec<&mut [f64]> =
                            eps.iter_mut().map(Vec::as_mut_slice).collect();
                        to_eps
                            .from_score(Parametrisation::Eps, &u, &score, &mut views)
                            .map_err(refused)?;
                        eps.iter_mut()
                            .zip(row(&output))
                            .for_each(|(e, o)| e.iter_mut().zip(o).for_each(|(e, o)| *e += o));
                        value(&eps.iter().map(Vec::as_slice).collect::<Vec<_>>(), slope)
                    }
                }
                .map_err(refused)?;
                for (out, slope) in slopes.chunks_mut(n.max(1)).zip(slope.iter()) {
                    out[r * dim..][..dim].copy_from_slice(slope);
                }
            }
        }
        Ok((out, slopes))
    })?;
    let slopes = if gradient {
        Some(columns(py, slopes, m)?)
    } else {
        None
    };
    Ok((PyArray1::from_vec(py, out), slopes))
}

/// A mixture's score, which looks for Ctrl-C.
struct Exact(MixtureScore);

impl Score for Exact {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        look_for_signals();
        self.0.score(t, u, out)
    }
}

impl Divergence for Exact {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.0.divergence(t, u, out)
    }
}

/// A Python score with a Python divergence.
struct Pair {
    score: Callback,
    divergence: Option<Callback>,
}

impl Score for Pair {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.score.score(t, u, out)
    }
}

impl Divergence for Pair {
    fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        match &self.divergence {
            Some(divergence) => divergence.score(t, u, out),
            None => Err(Error::parameter(
                "divergence",
                "missing",
                "a function, or Hutchinson's probes",
            )),
        }
    }
}

#[derive(FromPyObject)]
pub enum Model<'py> {
    Mixture(PyRef<'py, Mixture>),
    Functions(Py<PyAny>, Option<Py<PyAny>>),
}

/// How the divergence is found: None is by the score itself; else probes, their law and seed.
type Probes<'a> = Option<(usize, &'a str, u64)>;

fn trace<'a>(score: &'a dyn Divergence, probes: Probes<'_>) -> Result<Trace<'a>> {
    let Some((probes, law, seed)) = probes else {
        return Ok(Trace::Exact(score));
    };
    let law = match law {
        "rademacher" => Probe::Rademacher,
        "gaussian" => Probe::Gaussian,
        other => {
            return Err(Error::parameter(
                "probe",
                format!("`{other}`"),
                "rademacher, gaussian",
            ));
        }
    };
    Ok(Trace::Hutchinson {
        score,
        probes,
        law,
        seed,
    })
}

/// Values and errors, each (n,), of the joint log-density, or of both bounds on that of x.
type Values<'py> = Vec<Bound<'py, PyArray1<f64>>>;

/// Log-likelihoods of u, all K channels or x alone: then bounds, from `bound` velocities and their
/// seed. Settings: dim, eps, tolerance.
#[pyfunction]
pub fn likelihood<'py>(
    py: Python<'py>,
    process: &Process,
    settings: (usize, f64, f64),
    u: PyReadonlyArray2<'py, f64>,
    score: Model<'py>,
    probes: Probes<'_>,
    bound: Option<(usize, u64)>,
) -> PyResult<Values<'py>> {
    let diffusion = process.diffusion()?;
    let u = slices(&u)?;
    let work = |trace: &Trace<'_>, diffusion: &Diffusion| -> Result<Vec<Vec<f64>>> {
        let (dim, eps, tolerance) = settings;
        let likelihood = Likelihood::new(diffusion, dim, eps, tolerance, Terminal::Prior)?;
        let split = |list: Vec<Estimate>| {
            [
                list.iter().map(|e| e.value).collect(),
                list.iter().map(|e| e.error).collect::<Vec<f64>>(),
            ]
        };
        Ok(match bound {
            None => split(likelihood.log_joint(trace, &u)?.values).into(),
            Some((draws, seed)) => {
                let found = likelihood.velocity_bound(trace, u[0], draws, seed)?;
                let plain = split(found.iter().map(|b| b.plain).collect());
                [plain, split(found.iter().map(|b| b.weighted).collect())].concat()
            }
        })
    };
    let (outcome, raised) = match score {
        Model::Mixture(mixture) => {
            let data = mixture.0.clone();
            without_lock(py, || {
                let exact = Exact(MixtureScore::new(diffusion.clone(), data));
                Ok((
                    trace(&exact, probes).and_then(|trace| work(&trace, &diffusion)),
                    None,
                ))
            })?
        }
        Model::Functions(score, divergence) => {
            let pair = Pair {
                score: Callback::new(score),
                divergence: divergence.map(Callback::new),
            };
            without_lock(py, || {
                let outcome = trace(&pair, probes).and_then(|trace| work(&trace, &diffusion));
                Ok((
                    outcome,
                    pair.score
                        .raised()
                        .or_else(|| pair.divergence.as_ref().and_then(Callback::raised)),
                ))
            })?
        }
    };
    match raised {
        Some(raised) => Err(raised),
        None => Ok(outcome
            .map_err(refused)?
            .into_iter()
            .map(|v| PyArray1::from_vec(py, v))
            .collect()),
    }
}

/// Bits per dimension of log-densities of dequantised values on [-1, 1].
#[pyfunction]
pub fn bits<'py>(
    py: Python<'py>,
    log_density: PyReadonlyArray1<'py, f64>,
    dim: usize,
    levels: u32,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let one = |x: &f64| bits_per_dimension(*x, dim, levels).map_err(refused);
    Ok(PyArray1::from_vec(
        py,
        log_density
            .as_slice()?
            .iter()
            .map(one)
            .collect::<PyResult<_>>()?,
    ))
}
