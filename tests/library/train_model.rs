//! Training steps and networks as scores: against plain computations in f64, and against closed
//! forms on Gaussian data.

use cld_sgm::Diffusion;
use cld_sgm::data::{Component, Mixture};
use cld_sgm::internal::evaluate::hardness::Output;
use cld_sgm::internal::simd::Real;
use cld_sgm::internal::simd::normal::{normals, threefry};
use cld_sgm::internal::worst::{largest, worse};
use cld_sgm::kernel::{KernelValues, Objective, kernel_values};
use cld_sgm::likelihood::{Divergence, Likelihood, Terminal, Trace};
use cld_sgm::loss::{Form, Loss, Times, Weighting};
use cld_sgm::metrics::Estimate;
use cld_sgm::nn::adam::Adam;
use cld_sgm::nn::{Graph, Layout, Mlp, Session, UNet};
use cld_sgm::process::{Cld, Psld, Vp};
use cld_sgm::schedule::Schedule;
use cld_sgm::score::{Parametrisation, Score};
use cld_sgm::train::model::{Model, Net, Probed, Probes};
use cld_sgm::train::source::Toy;
use cld_sgm::train::step::StepPlan;
use cld_sgm::train::{Source, State, Trainer};
use std::sync::{Arc, Mutex};

/// Reproducible numbers in (-1, 1).
fn numbers(n: usize, mut seed: u64) -> Vec<f64> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 * 2f64.powi(-52) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Parameters of which none is 0, of a size that keeps the sizes of what goes through.
fn parameters(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut p = vec![0.0; layout.len()];
    for (i, e) in layout.entries().iter().enumerate() {
        let fan_in: usize = e.shape[1..].iter().product();
        let (middle, spread) = if e.shape.len() > 1 {
            (0.0, (2.0 / fan_in as f64).sqrt())
        } else {
            (if e.name.contains("norm") { 1.0 } else { 0.0 }, 0.3)
        };
        let all: Vec<f32> = numbers(e.count(), seed + i as u64)
            .iter()
            .map(|x| (middle + spread * x) as f32)
            .collect();
        layout.write(&mut p, i, &all).unwrap();
    }
    p
}

/// A diffusion with what is learnt about it.
struct Setup {
    name: &'static str,
    diffusion: Diffusion,
    objective: Objective,
    parametrisation: Parametrisation,
}

fn setups() -> Vec<Setup> {
    let cld = || Diffusion::paper().unwrap();
    let (hsm, dsm) = (Objective::hsm(0.04).unwrap(), Objective::DSM);
    let vp = Diffusion::of(Vp, Schedule::linear(0.1, 19.9).unwrap(), 0.0).unwrap();
    let psld = Diffusion::of(
        Psld::new(0.01, 4.01).unwrap(),
        Schedule::constant(8.0).unwrap(),
        0.04,
    )
    .unwrap();
    let (eps, mixed) = (Parametrisation::Eps, Parametrisation::Mixed);
    [
        ("cld hsm mixed", cld(), hsm, mixed),
        ("cld hsm eps", cld(), hsm, eps),
        ("cld dsm mixed", cld(), dsm, mixed),
        ("cld dsm eps", cld(), dsm, eps),
        ("vp eps", vp, dsm, eps),
        ("psld hsm eps", psld.clone(), hsm, eps),
        ("psld dsm eps", psld, dsm, eps),
    ]
    .map(|(name, diffusion, objective, parametrisation)| Setup {
        name,
        diffusion,
        objective,
        parametrisation,
    })
    .into()
}

impl Setup {
    fn kernel(&self, t: f64) -> KernelValues {
        kernel_values(
            self.diffusion.process(),
            self.diffusion.schedule(),
            self.objective,
            0.0,
            t,
        )
        .unwrap()
    }

    /// Channels, and how many of them have a score.
    fn channels(&self) -> (usize, usize) {
        (self.diffusion.channels(), self.diffusion.noised().len())
    }

    /// A root of the covariance by hand: `[l_xx, l_vx, l_vv]`, of one channel `[l_xx, 0, 0]`.
    fn root(&self, t: f64) -> [f64; 3] {
        let c = self.kernel(t).cov;
        let xx = c[(0, 0)].sqrt();
        if c.k() == 1 {
            [xx, 0.0, 0.0]
        } else {
            [
                xx,
                c[(1, 0)] / xx,
                (c[(1, 1)] - c[(1, 0)] * c[(1, 0)] / c[(0, 0)]).sqrt(),
            ]
        }
    }

    /// The scores from a network's outputs, by hand.
    fn scores(&self, t: f64, v: f64, o: &[f64]) -> Vec<f64> {
        let ([xx, vx, vv], c) = (self.root(t), self.kernel(t).cov);
        match (self.channels(), self.parametrisation) {
            ((1, 1), _) => vec![-o[0] / xx],
            ((2, 1), Parametrisation::Eps) => vec![-o[0] / vv],
            ((2, 1), _) => vec![-v / c[(1, 1)] - o[0] / vv],
            _ => vec![-(o[0] / xx - vx / (xx * vv) * o[1]), -o[1] / vv],
        }
    }

    fn unet<T: Real>(&self, size: [usize; 2]) -> Graph<T> {
        let (k, m) = self.channels();
        UNet {
            inputs: k,
            outputs: m,
            base: 16,
            mult: vec![1, 1],
            blocks: 1,
            embedding: 32,
            ..UNet::small(k, m, size)
        }
        .build()
        .unwrap()
    }

    fn perceptron<T: Real>(&self, dim: usize) -> Graph<T> {
        let (k, m) = self.channels();
        Mlp {
            inputs: k * dim,
            outputs: m * dim,
            width: 16,
            depth: 1,
            residual: false,
        }
        .build()
        .unwrap()
    }

    fn model(&self, graph: Graph<f32>, p: &[f32]) -> Model {
        let net = Net::new(Arc::new(graph), p.to_vec()).unwrap();
        Model::new(
            self.diffusion.clone(),
            self.objective,
            self.parametrisation,
            net,
        )
        .unwrap()
    }

    fn loss(&self) -> Loss {
        Loss::new(&self.diffusion, self.objective, Form::Eps, Weighting::Eps).unwrap()
    }
}

/// The outputs of a network in f64: rows of `u` (one slice per channel) at times of their own.
fn outputs(graph: Graph<f64>, p: &[f32], u: &[Vec<f64>], times: &[f64]) -> Vec<Vec<f64>> {
    let dim = u[0].len() / times.len();
    let m = graph.outputs().iter().product::<usize>() / dim;
    let p: Vec<f64> = p.iter().map(|x| f64::from(*x)).collect();
    let mut y = vec![0.0; m * u[0].len()];
    Session::new(Arc::new(graph), times.len())
        .unwrap()
        .forward(&p, &rows(u, dim), times, &mut y);
    (0..m)
        .map(|c| {
            y.chunks(m * dim)
                .flat_map(|row| row[c * dim..(c + 1) * dim].to_vec())
                .collect()
        })
        .collect()
}

/// Channels side by side in each row.
fn rows(u: &[Vec<f64>], dim: usize) -> Vec<f64> {
    (0..u[0].len() / dim)
        .flat_map(|r| {
            u.iter()
                .flat_map(move |c| c[r * dim..(r + 1) * dim].to_vec())
        })
        .collect()
}

/// States of `n` values in each channel, exact in f32.
fn states(k: usize, n: usize, seed: u64) -> Vec<Vec<f64>> {
    (0..k)
        .map(|c| {
            numbers(n, seed + c as u64)
                .iter()
                .map(|x| f64::from(*x as f32))
                .collect()
        })
        .collect()
}

fn score(model: &impl Score, m: usize, t: f64, u: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut out = vec![vec![0.0; u[0].len()]; m];
    let u: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
    model
        .score(
            t,
            &u,
            &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )
        .unwrap();
    out
}

/// Catches a network that sees channels, rows or times in another order, and a wrong way from its
/// output to the score, such as HSM's ell_t for a network that DSM trained. Tolerance: 1e-5 of the
/// largest score, some hundred roundings of f32 (6e-8 each); the planted kernel is further off by a
/// factor of a hundred at least.
#[test]
fn scores_are_those_of_the_network_in_f64() {
    for s in setups() {
        let ((k, m), dim, n) = (s.channels(), 32, 7);
        let graph = s.unet::<f32>([8, 4]);
        let p = parameters(graph.layout(), 3);
        let model = s.model(graph, &p);
        assert_eq!((model.dim(), model.shape()), (dim, [1, 8, 4]));
        for t in [1e-3, 0.05, 0.4, 1.0] {
            let u = states(k, n * dim, 9);
            let o = outputs(s.unet([8, 4]), &p, &u, &vec![t; n]);
            let got = score(&model, m, t, &u);
            let (mut error, mut size) = (0f64, 0f64);
            for r in 0..n * dim {
                let o: Vec<f64> = o.iter().map(|c| c[r]).collect();
                for (want, got) in s.scores(t, u[k - 1][r], &o).iter().zip(&got) {
                    (error, size) = (worse(error, (want - got[r]).abs()), worse(size, want.abs()));
                }
            }
            assert!(
                error < 1e-5 * size && size > 0.1,
                "{} at {t}: {error:e} of {size}",
                s.name
            );
        }
    }
}

/// Catches rows that depend on their neighbours, on their number, or on the threads: the same bits
/// for all rows at once on one to three threads, and for any stretch of them alone.
#[test]
fn rows_are_alone() {
    for s in setups()
        .into_iter()
        .filter(|s| ["cld hsm mixed", "psld hsm eps"].contains(&s.name))
    {
        let ((k, m), n) = (s.channels(), 150);
        for (model, dim) in [
            (
                s.model(
                    s.unet([8, 4]),
                    &parameters(s.unet::<f32>([8, 4]).layout(), 3),
                ),
                32,
            ),
            (
                s.model(
                    s.perceptron(5),
                    &parameters(s.perceptron::<f32>(5).layout(), 3),
                ),
                5,
            ),
        ] {
            let u = states(k, n * dim, 5);
            let on = |threads: usize, from: usize, to: usize| {
                let u: Vec<Vec<f64>> = u.iter().map(|c| c[from * dim..to * dim].to_vec()).collect();
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap()
                    .install(|| score(&model, m, 0.3, &u))
            };
            let all = on(1, 0, n);
            for (threads, from, to) in [
                (2, 0, n),
                (3, 0, n),
                (1, 7, 8),
                (1, 0, 65),
                (2, 60, 131),
                (3, 149, n),
            ] {
                let part: Vec<&[f64]> = all.iter().map(|c| &c[from * dim..to * dim]).collect();
                assert!(
                    on(threads, from, to) == part,
                    "{}, {dim} coordinates: rows {from} to {to} on {threads} threads",
                    s.name
                );
            }
        }
    }
}

fn divergence(
    model: &Model,
    seed: u64,
    probes: Probes,
    m: usize,
    n: usize,
    t: f64,
    u: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let mut out = vec![vec![0.0; n]; m];
    let u: Vec<&[f64]> = u.iter().map(Vec::as_slice).collect();
    Probed::new(model, seed, probes)
        .unwrap()
        .divergence(
            t,
            &u,
            &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )
        .unwrap();
    out
}

/// The Jacobian block `d s_i / d u_i` of one row in each noised channel i, by central differences
/// in f64: truncation and rounding are both near 1e-9 of its size.
fn jacobian(
    s: &Setup,
    graph: &dyn Fn() -> Graph<f64>,
    p: &[f32],
    t: f64,
    u: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let ((k, m), dim, h) = (s.channels(), u[0].len(), 1e-5);
    let scores = |u: &[Vec<f64>], n: usize| -> Vec<Vec<f64>> {
        let o = outputs(graph(), p, u, &vec![t; n]);
        let all: Vec<Vec<f64>> = (0..n * dim)
            .map(|r| s.scores(t, u[k - 1][r], &o.iter().map(|c| c[r]).collect::<Vec<_>>()))
            .collect();
        (0..m).map(|c| all.iter().map(|x| x[c]).collect()).collect()
    };
    s.diffusion
        .noised()
        .iter()
        .enumerate()
        .map(|(c, &i)| {
            let moved = |h: f64| {
                let mut u: Vec<Vec<f64>> = u.iter().map(|c| c.repeat(dim)).collect();
                (0..dim).for_each(|j| u[i][j * dim + j] += h);
                scores(&u, dim).swap_remove(c)
            };
            // row j: all scores' slopes along coordinate j
            moved(h)
                .iter()
                .zip(moved(-h))
                .map(|(a, b)| (a - b) / (2.0 * h))
                .collect()
        })
        .collect()
}

/// Catches a divergence that forgets a term of the parametrisation, takes the gradient in the wrong
/// channel or with the wrong sign. In one dimension one probe is exact; in two the probes e give
/// the trace +- the sum off the diagonal, whose mean is the trace: no sampling noise in either.
/// Tolerance: roundings of f32 as above.
#[test]
fn probes_are_exact_in_few_dimensions() {
    for s in setups() {
        let ((k, m), t) = (s.channels(), 0.3);
        for dim in [1, 2] {
            let graph = || s.perceptron::<f64>(dim);
            let p = parameters(graph().layout(), 4);
            let model = s.model(s.perceptron(dim), &p);
            let u = states(k, dim, 17);
            let found: Vec<Vec<Vec<f64>>> = (0..24)
                .map(|seed| divergence(&model, seed, Probes::Signs(1), m, 1, t, &u))
                .collect();
            let exact = divergence(&model, 0, Probes::Exact, m, 1, t, &u);
            for (c, j) in jacobian(&s, &graph, &p, t, &u).iter().enumerate() {
                let trace: f64 = (0..dim).map(|i| j[i * dim + i]).sum();
                let off = if dim == 2 { j[1] + j[2] } else { 0.0 };
                let size = 1.0 + j.iter().map(|x| x.abs()).sum::<f64>();
                let all: Vec<f64> = found.iter().map(|f| f[c][0]).collect();
                let (least, most) = (
                    all.iter().copied().fold(f64::MAX, f64::min),
                    all.iter().copied().fold(f64::MIN, f64::max),
                );
                for (got, want) in [
                    (least, trace - off.abs()),
                    (most, trace + off.abs()),
                    (exact[c][0], trace),
                ] {
                    assert!(
                        (got - want).abs() < 1e-5 * size,
                        "{}, {dim} coordinates, score {c}: {got} is not {want}",
                        s.name
                    );
                }
            }
        }
    }
}

/// Catches signs that are not fair or not independent over the coordinates (144 of them need three
/// words of bits), rows that share signs or change them along the flow: the mean of 400 probes is
/// the trace within 4.5 standard errors (false alarm 7e-6), and their variance is
/// `sum over i < j of (J_ij + J_ji)^2` within 4.5 of its own (a variance of 400 values, of a law of
/// kurtosis below 6: sqrt(5/400)).
#[test]
fn probes_average_to_the_trace() {
    let s = setups()
        .into_iter()
        .find(|s| s.name == "cld hsm mixed")
        .unwrap();
    let ((k, m), t, dim, probes) = (s.channels(), 0.3, 144, 400);
    let graph = || s.perceptron::<f64>(dim);
    let p = parameters(graph().layout(), 4);
    let model = s.model(s.perceptron(dim), &p);
    let u = states(k, dim, 17);
    let j = jacobian(&s, &graph, &p, t, &u).swap_remove(0);
    let trace: f64 = (0..dim).map(|i| j[i * dim + i]).sum();
    let variance: f64 = (0..dim)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| (j[a * dim + b] + j[b * dim + a]).powi(2))
        .sum();
    let many: Vec<Vec<f64>> = u.iter().map(|c| c.repeat(probes)).collect();
    let all = divergence(&model, 1, Probes::Signs(1), m, probes, t, &many).swap_remove(0);
    assert_eq!(
        all,
        divergence(&model, 1, Probes::Signs(1), m, probes, t, &many)[0]
    );
    let exact = divergence(&model, 1, Probes::Exact, m, 1, t, &u)[0][0];
    assert!(
        (exact - trace).abs() < 1e-5 * largest(&j) * dim as f64,
        "{exact} is not {trace}"
    );
    // the second probe of a row is another one: the mean of both has half the variance
    let two = divergence(&model, 1, Probes::Signs(2), m, probes, t, &many).swap_remove(0);
    let apart: f64 = two
        .iter()
        .zip(&all)
        .map(|(two, one)| (2.0 * two - 2.0 * one) * (one - trace))
        .sum::<f64>()
        / probes as f64;
    // 2 (mean - first) = second - first: its product with the first's error is -variance, +-
    // sqrt(6)/20 of it at most
    assert!((apart / variance + 1.0).abs() < 0.5, "{apart} {variance}");
    let n = probes as f64;
    let mean = all.iter().sum::<f64>() / n;
    let found = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let (z, ratio) = ((mean - trace) / (variance / n).sqrt(), found / variance);
    println!("mean {mean}, trace {trace}, z {z}; variance {found}, should be {variance}");
    assert!(
        z.abs() < 4.5 && (ratio - 1.0).abs() < 4.5 * (5.0 / n).sqrt(),
        "{z} {ratio}"
    );
}

/// Catches a covector that comes back to the wrong channel, with another sign or scale, without the
/// factor's off-diagonal (PSLD) or the mixed score's own slope: `J^T w` against central differences
/// of `w . s` in f64, two rows of three coordinates. Tolerance: roundings of f32 as above.
#[test]
fn covectors_come_back() {
    for s in setups() {
        let ((k, m), t, dim, h) = (s.channels(), 0.3, 3, 1e-5);
        let graph = || s.perceptron::<f64>(dim);
        let p = parameters(graph().layout(), 4);
        let model = s.model(s.perceptron(dim), &p);
        let (u, w) = (states(k, 2 * dim, 17), states(m, 2 * dim, 23));
        let mut found = vec![vec![0.0; 2 * dim]; k];
        model
            .pull(
                t,
                &u.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                &w.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                &mut found.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
            )
            .unwrap();
        let along = |u: &[Vec<f64>]| -> f64 {
            let o = outputs(graph(), &p, u, &[t; 2]);
            (0..2 * dim)
                .map(|r| {
                    let out: Vec<f64> = o.iter().map(|c| c[r]).collect();
                    let scores = s.scores(t, u[k - 1][r], &out);
                    scores.iter().zip(&w).map(|(s, w)| s * w[r]).sum::<f64>()
                })
                .sum()
        };
        let size = largest(&found.concat());
        for c in 0..k {
            for r in 0..2 * dim {
                let moved = |h: f64| {
                    let mut u = u.clone();
                    u[c][r] += h;
                    along(&u)
                };
                let want = (moved(h) - moved(-h)) / (2.0 * h);
                assert!(
                    (found[c][r] - want).abs() < 1e-5 * (1.0 + size),
                    "{} channel {c}, {r}: {} is not {want}",
                    s.name,
                    found[c][r]
                );
            }
        }
    }
}

/// Catches an output's slopes mixed up with the score's, and the slope that mixed scores spare the
/// network taken off twice or not at all: a linear network's Jacobian is its matrix W, at any time
/// and point, and that of the noise it tells is W, for mixed scores with `l_vv / S_vv` added on v's
/// diagonal. Three coordinates, every output's slopes. Tolerance: roundings of f32.
#[test]
fn the_hardness_of_a_linear_network_is_its_matrix() {
    for s in setups() {
        let ((k, m), dim) = (s.channels(), 3);
        let graph = || {
            Mlp {
                inputs: k * dim,
                outputs: m * dim,
                width: 16,
                depth: 0,
                residual: false,
            }
            .build::<f32>()
            .unwrap()
        };
        let p = parameters(graph().layout(), 4);
        let matrix: Vec<f64> = graph()
            .layout()
            .read(&p, 0)
            .into_iter()
            .map(f64::from)
            .collect();
        let model = s.model(graph(), &p);
        let output = Output {
            diffusion: &s.diffusion,
            objective: s.objective,
            parametrisation: s.parametrisation,
            dim,
        };
        let times = [0.02, 0.7];
        let found = output
            .hardness(&model, &numbers(4 * dim, 3), &times, 2, 1)
            .unwrap();
        for (h, t) in found.iter().zip(times) {
            let mut whole = matrix.clone();
            if s.parametrisation == Parametrisation::Mixed {
                let shift = s.root(t)[2] / s.kernel(t).cov[(1, 1)];
                (0..dim).for_each(|i| whole[i * k * dim + dim + i] += shift);
            }
            for (found, matrix) in [(h.output, &matrix), (h.noise, &whole)] {
                let want = matrix.iter().map(|w| w * w).sum::<f64>().sqrt();
                println!("{} {t}: {found:?} {want}", s.name);
                assert!(
                    h.t == t
                        && (found.value / want - 1.0).abs() < 1e-5
                        && found.error < 1e-5 * want,
                    "{} {t}: {found:?}, not {want}",
                    s.name
                );
            }
        }
    }
}

/// Smooth numbers, each sample's its own.
struct Waves([usize; 3]);

impl Source for Waves {
    fn shape(&self) -> [usize; 3] {
        self.0
    }

    fn draw(&self, number: u64, out: &mut [f64]) {
        out.iter_mut()
            .enumerate()
            .for_each(|(i, o)| *o = (0.7 * i as f64 + 1.3 * number as f64).sin());
    }
}

/// Leaves the weights where they are, and the gradient in the state.
fn still() -> Adam {
    Adam {
        rate: 1e-30,
        beta1: 0.0,
        clip: f64::INFINITY,
        ..Adam::default()
    }
}

fn plan(s: &Setup, graph: Graph<f32>, eps: f64, batch: usize, source: Arc<dyn Source>) -> StepPlan {
    StepPlan {
        graph: Arc::new(graph),
        loss: s.loss(),
        parametrisation: s.parametrisation,
        times: Times::uniform(eps).unwrap(),
        stratified: true,
        adam: still(),
        batch,
        parts: 8,
        seed: 11,
        source,
    }
}

/// Standard normals of the values of a batch: slices `2 pair` and `2 pair + 1`.
fn noise(seed: u64, first: u64, n: usize, pairs: u64) -> Vec<Vec<f64>> {
    (0..pairs)
        .flat_map(|pair| {
            let (mut a, mut b) = (vec![0.0; n], vec![0.0; n]);
            normals(
                [seed, u64::from_be_bytes(*b"noise...")],
                first,
                pair,
                [&mut a, &mut b],
            );
            [a, b]
        })
        .collect()
}

/// Catches a step whose loss or gradient is not that of its batch: rows left out or counted twice
/// where a batch is cut into parts, a wrong scale, a noise that is not the one in the loss, a lost
/// chain rule of the mixed parametrisation, other numbers on other threads. The same batch in plain
/// f64, one row after the other. Tolerance: 1e-5 of the gradient's norm, roundings of f32 in sums
/// over 13 rows.
#[test]
fn steps_are_those_in_f64() {
    for s in setups() {
        let ((k, m), shape, batch, dim, eps) = (s.channels(), [1, 8, 4], 13, 32, 1e-3);
        let p = parameters(s.unet::<f32>([8, 4]).layout(), 6);
        let run = |threads| {
            let plan = plan(&s, s.unet([8, 4]), eps, batch, Arc::new(Waves(shape)));
            let zeros = vec![0.0; p.len()];
            // step 2: the second batch of 13
            let state = State {
                step: 1,
                p: p.clone(),
                m: zeros.clone(),
                v: zeros.clone(),
                ema: zeros,
            };
            let mut trainer = Trainer::new(plan, state, threads).unwrap();
            let report = trainer.step().unwrap();
            (report, trainer.state().clone())
        };
        let (report, state) = run(1);
        assert_eq!((report, &state), (run(3).0, &run(3).1), "{}", s.name);

        let first = batch as u64;
        let xi = noise(11, first * dim as u64, batch * dim, k as u64);
        let (mut u, mut times) = (vec![vec![0.0; batch * dim]; k], vec![]);
        for r in 0..batch {
            let word = threefry(
                [first + r as u64, 0],
                [11, u64::from_be_bytes(*b"times...")],
            )[0];
            let t = eps
                + (1.0 - eps) * (r as f64 + (word >> 11) as f64 * 2f64.powi(-53)) / batch as f64;
            times.push(t);
            let ([xx, vx, vv], kernel) = (s.root(t), s.kernel(t));
            let mut x0 = vec![0.0; dim];
            Waves(shape).draw(first + r as u64, &mut x0);
            for i in 0..dim {
                let at = r * dim + i;
                if k == 1 {
                    u[0][at] = kernel.mean[(0, 0)] * x0[i] + xx * xi[0][at];
                    continue;
                }
                let v0 = if s.objective == Objective::DSM {
                    (0.04 * s.diffusion.process().mass()).sqrt() * xi[3][at]
                } else {
                    0.0
                };
                u[0][at] = kernel.mean[(0, 0)] * x0[i] + kernel.mean[(0, 1)] * v0 + xx * xi[0][at];
                u[1][at] = kernel.mean[(1, 0)] * x0[i]
                    + kernel.mean[(1, 1)] * v0
                    + vx * xi[0][at]
                    + vv * xi[1][at];
            }
        }
        let graph = Arc::new(s.unet::<f64>([8, 4]));
        let wide: Vec<f64> = p.iter().map(|x| f64::from(*x)).collect();
        let mut session = Session::new(graph.clone(), batch).unwrap();
        let mut y = vec![0.0; m * batch * dim];
        session.forward(&wide, &rows(&u, dim), &times, &mut y);
        let (mut loss, mut dy) = (0.0, vec![0.0; y.len()]);
        for r in 0..batch {
            let ([_, _, vv], cov) = (s.root(times[r]), s.kernel(times[r]).cov);
            for i in 0..dim {
                for c in 0..m {
                    let at = (r * m + c) * dim + i;
                    let shift = if s.parametrisation == Parametrisation::Mixed {
                        vv / cov[(1, 1)] * u[1][r * dim + i]
                    } else {
                        0.0
                    };
                    let missed = y[at] + shift - xi[k - m + c][r * dim + i];
                    let scale = (1.0 - eps) / (batch * dim) as f64;
                    loss += scale * missed * missed;
                    dy[at] = 2.0 * scale * missed;
                }
            }
        }
        let (mut turned, mut g) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        graph.turn(&wide, &mut turned);
        session.backward(&wide, &turned, &dy, &mut g, None);
        let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        let error = g
            .iter()
            .zip(&state.m)
            .map(|(a, b)| (a - f64::from(*b)).powi(2))
            .sum::<f64>()
            .sqrt();
        println!(
            "{}: loss {} and {loss}, gradient {} and {norm}, error {error:e}",
            s.name, report.loss, report.norm
        );
        assert!(
            (report.loss / loss - 1.0).abs() < 1e-5,
            "{}: {} is not {loss}",
            s.name,
            report.loss
        );
        assert!(
            (report.norm / norm - 1.0).abs() < 1e-5 && error < 1e-5 * norm,
            "{}: {error:e} of {norm}",
            s.name
        );
    }
}

/// Keeps the numbers it was asked for.
struct Asked(Toy, Mutex<Vec<u64>>);

impl Source for Asked {
    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn draw(&self, number: u64, out: &mut [f64]) {
        self.1.lock().unwrap().push(number);
        self.0.draw(number, out);
    }
}

/// Weights of no training, none of them 0, as a state.
fn untrained(graph: &Graph<f32>) -> State {
    State {
        p: parameters(graph.layout(), 6),
        ..State::new(graph, 1)
    }
}

/// Catches a measurement that changes what comes after it (weights, counters, what threads keep
/// turned of old weights), that depends on threads, that sees samples of the training or one sample
/// twice, the same batches at every step, or counts that are let in though nothing can be told from
/// them.
#[test]
fn a_measurement_of_noise_leaves_no_trace() {
    let s = &setups()[0];
    let (eps, batch, batches) = (1e-3, 13, 5);
    let source = || {
        Arc::new(Asked(
            Toy::new(gaussian(), 5),
            Mutex::new(Vec::<u64>::new()),
        ))
    };
    let start = |threads, source: &Arc<Asked>| {
        let graph = s.perceptron::<f32>(2);
        let state = untrained(&graph);
        let adam = Adam::default();
        let plan = StepPlan {
            adam,
            ..plan(s, graph, eps, batch, source.clone())
        };
        Trainer::new(plan, state, threads).unwrap()
    };
    let asked = source();
    let (mut plain, mut measured) = (start(1, &source()), start(1, &asked));
    let mut found = vec![];
    for _ in 0..3 {
        plain.step().unwrap();
        measured.step().unwrap();
        asked.1.lock().unwrap().clear();
        let noise = measured.gradient_noise(batches).unwrap();
        let mut numbers = std::mem::take(&mut *asked.1.lock().unwrap());
        // each batch is drawn twice
        numbers.sort_unstable();
        assert!(numbers[0] >= 1 << 40 && numbers.len() == 2 * batch * batches);
        numbers.dedup();
        assert_eq!(numbers.len(), batch * batches);
        assert_eq!(noise, measured.gradient_noise(batches).unwrap());
        found.push(noise);
    }
    assert_eq!(plain.state(), measured.state());
    assert!(found[0] != found[1] && found[1] != found[2], "{found:?}");
    let mut others = start(3, &source());
    others.step().unwrap();
    assert_eq!(others.gradient_noise(batches).unwrap(), found[0]);
    for batches in [0, 2, 4097] {
        let e = others.gradient_noise(batches).unwrap_err().to_string();
        assert!(e.contains("`batches`") && e.contains("3 to 4096"), "{e}");
    }
}

/// Catches a variance for a deviation, a sum for a mean, a norm with the noise still in it, a
/// standard error of another size: against the gradients of 400 first steps with other seeds, as the
/// optimiser is given them, by the plain formulas; within 4.5 standard errors of both together. The
/// stated errors are the scatter of the estimates over 60 seeds, within a factor of 1.4 (the
/// deviation of 60 numbers is known to 9%, here of numbers with somewhat heavier tails).
#[test]
fn noise_is_that_of_the_steps() {
    for s in setups()
        .iter()
        .filter(|s| ["cld hsm mixed", "cld dsm eps", "vp eps"].contains(&s.name))
    {
        let trainer = |seed| {
            let graph = s.perceptron::<f32>(2);
            let state = untrained(&graph);
            let source = Arc::new(Toy::new(gaussian(), seed));
            let plan = StepPlan {
                seed,
                ..plan(s, graph, 1e-3, 16, source)
            };
            Trainer::new(plan, state, 1).unwrap()
        };
        let gradients: Vec<Vec<f64>> = (100..500)
            .map(|seed| {
                let mut t = trainer(seed);
                t.step().unwrap();
                t.state().m.iter().map(|x| f64::from(*x)).collect()
            })
            .collect();
        let n = gradients.len() as f64;
        let mean: Vec<f64> = (0..gradients[0].len())
            .map(|i| gradients.iter().map(|g| g[i]).sum::<f64>() / n)
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let off = |g: &[f64]| g.iter().zip(&mean).map(|(g, m)| g - m).collect::<Vec<_>>();
        let scatter: Vec<f64> = gradients
            .iter()
            .map(|g| dot(&off(g), &off(g)) * n / (n - 1.0))
            .collect();
        let along: Vec<f64> = gradients
            .iter()
            .map(|g| 2.0 * dot(&mean, &off(g)))
            .collect();
        let variance = Estimate::of(&scatter);
        let (square, error) = (
            dot(&mean, &mean) - variance.value / n,
            Estimate::of(&along).error,
        );

        let found: Vec<_> = (0..60)
            .map(|seed| trainer(seed).gradient_noise(24).unwrap())
            .collect();
        for (name, all, want, error) in [
            (
                "variance",
                found.iter().map(|f| f.variance).collect::<Vec<_>>(),
                variance.value,
                variance.error,
            ),
            (
                "squared norm",
                found.iter().map(|f| f.squared_norm).collect(),
                square,
                error,
            ),
        ] {
            let values: Vec<f64> = all.iter().map(|e| e.value).collect();
            let mean = Estimate::of(&values);
            let both = mean.error.hypot(error);
            println!("{} {name}: {mean:?}, should be {want} +- {error}", s.name);
            assert!(
                (mean.value - want).abs() < 4.5 * both && both < 0.1 * want,
                "{} {name}: {mean:?}, not {want} +- {error}",
                s.name
            );
            let stated = (all.iter().map(|e| e.error.powi(2)).sum::<f64>() / 60.0).sqrt();
            let ratio = stated / (mean.error * 60f64.sqrt());
            println!("    stated errors / scatter {ratio:.3}");
            assert!(
                (1.0 / 1.4..1.4).contains(&ratio),
                "{} {name}: {ratio}",
                s.name
            );
        }
    }
}

fn gaussian() -> Mixture {
    Mixture::new(vec![Component {
        weight: 1.0,
        mean: vec![0.5, -0.3],
        lower: vec![0.6, 0.0, 0.15, 0.4],
    }])
    .unwrap()
}

/// Points and weights of the mean over uniform times: midpoints in the root of `t - eps`, since
/// kernels change fastest near 0.
fn times(eps: f64) -> impl Iterator<Item = (f64, f64)> {
    let n = 2000;
    (0..n)
        .map(move |i| (i as f64 + 0.5) / f64::from(n))
        .map(move |r| (eps + (1.0 - eps) * r * r, 2.0 * r / f64::from(n)))
}

/// Catches a loss of another size: that of the first steps, where a network's last layer is 0,
/// against the closed form (eps: 1 for each output; mixed: what `v / (S_vv ell)` misses of the
/// noise, by quadrature), within 4.5 standard errors over 60 batches.
#[test]
fn the_first_loss_is_known() {
    for s in setups() {
        let ((_, m), eps) = (s.channels(), 1e-3);
        let data = gaussian();
        let square =
            0.5 * (0.5f64.powi(2) + 0.3f64.powi(2) + data.covariance()[0] + data.covariance()[3]);
        let mean: f64 = times(eps)
            .map(|(t, w)| {
                if s.parametrisation == Parametrisation::Eps {
                    return w * m as f64;
                }
                let ([_, vx, vv], kernel) = (s.root(t), s.kernel(t));
                let shift = vv / kernel.cov[(1, 1)];
                let v0 = if s.objective == Objective::DSM {
                    0.04 * 0.25
                } else {
                    0.0
                };
                let outside = kernel.mean[(1, 0)].powi(2) * square
                    + kernel.mean[(1, 1)].powi(2) * v0
                    + vx * vx;
                w * (shift * shift * outside + (shift * vv - 1.0).powi(2))
            })
            .sum::<f64>()
            * (1.0 - eps);
        let graph = s.perceptron::<f32>(2);
        let state = State::new(&graph, 1);
        let mut trainer = Trainer::new(
            plan(&s, graph, eps, 64, Arc::new(Toy::new(data, 5))),
            state,
            2,
        )
        .unwrap();
        let losses: Vec<f64> = (0..60).map(|_| trainer.step().unwrap().loss).collect();
        let found = losses.iter().sum::<f64>() / 60.0;
        let error = (losses.iter().map(|l| (l - found).powi(2)).sum::<f64>() / 59.0 / 60.0).sqrt();
        println!("{}: {found} +- {error}, should be {mean}", s.name);
        assert!(
            (found - mean).abs() < 4.5 * error && error < 0.1 * mean,
            "{}: {found} +- {error}, not {mean}",
            s.name
        );
    }
}

/// The optimal linear map of [x, v, 1] to the noise for Gaussian data, least squares over data,
/// noise and times: with c the covariance over all three, `W = c(eps, u) c(u, u)^-1`, `b = -W E u`.
/// Given t, `E u = phi m`, `cov u = phi phi^T (x) C + S (x) 1` and `E eps_v u^T = (0, l_vv)`, S the
/// covariance given the data with v_0 random (HSM's kernel) whatever the objective is, l_vv that of
/// the objective's own kernel. Rows of W, then b.
fn optimum(s: &Setup, eps: f64) -> Vec<f64> {
    let data = gaussian();
    let (mean, cov) = (data.mean(), data.covariance());
    let (mut uu, mut u, mut eu) = ([[0.0; 4]; 4], [0.0; 4], 0.0);
    for (t, w) in times(eps) {
        let marginal = s.diffusion.kernel(t).unwrap();
        let phi = [marginal.mean[(0, 0)], marginal.mean[(1, 0)]];
        eu += w * s.root(t)[2];
        for a in 0..4 {
            u[a] += w * phi[a / 2] * mean[a % 2];
            for b in 0..4 {
                let second = cov[a % 2 * 2 + b % 2] + mean[a % 2] * mean[b % 2];
                let own = if a % 2 == b % 2 {
                    marginal.cov[(a / 2, b / 2)]
                } else {
                    0.0
                };
                uu[a][b] += w * (phi[a / 2] * phi[b / 2] * second + own);
            }
        }
    }
    (0..4).for_each(|a| (0..4).for_each(|b| uu[a][b] -= u[a] * u[b]));
    // Gauss-Jordan on the symmetric matrix, both right sides at once: coordinate j of the noise
    // goes with v_j
    let mut right = [[0.0; 2]; 4];
    (right[2][0], right[3][1]) = (eu, eu);
    for p in 0..4 {
        let pivot = uu[p][p];
        uu[p]
            .iter_mut()
            .chain(&mut right[p])
            .for_each(|x| *x /= pivot);
        for r in (0..4).filter(|r| *r != p) {
            let factor = uu[r][p];
            (0..4).for_each(|c| uu[r][c] -= factor * uu[p][c]);
            (0..2).for_each(|c| right[r][c] -= factor * right[p][c]);
        }
    }
    let w: Vec<f64> = (0..8).map(|i| right[i % 4][i / 4]).collect();
    let b = (0..2).map(|j| -(0..4).map(|a| w[j * 4 + a] * u[a]).sum::<f64>());
    w.iter().copied().chain(b).collect()
}

/// Catches training that does not come to the optimum of its objective: a linear network of [x, v]
/// on Gaussian data, trained from four seeds by Adam with averaged weights, against least squares
/// in closed form: every number within 5 standard errors of the mean over the seeds plus 0.002 for
/// what training has left. The other objective's optimum, which is what a wrong ell_t would lead
/// to, is seen to be wrong: some number is beyond twice that. Velocities start at their stationary
/// law and rates are low, so that the two differ by much.
#[test]
fn a_linear_network_reaches_the_optimum() {
    let eps = 1e-3;
    let diffusion = Diffusion::of(
        Cld::new(0.25).unwrap(),
        Schedule::constant(1.0).unwrap(),
        1.0,
    )
    .unwrap();
    let with = |name, objective| Setup {
        name,
        diffusion: diffusion.clone(),
        objective,
        parametrisation: Parametrisation::Eps,
    };
    let (hsm, dsm) = (
        with("hsm", Objective::hsm(1.0).unwrap()),
        with("dsm", Objective::DSM),
    );
    for (s, other) in [(&hsm, &dsm), (&dsm, &hsm)] {
        let graph = || {
            Mlp {
                inputs: 4,
                outputs: 2,
                width: 16,
                depth: 0,
                residual: false,
            }
            .build::<f32>()
            .unwrap()
        };
        let seeds = 4;
        let found: Vec<Vec<f64>> = (0..seeds)
            .map(|seed| {
                let mut state = State::new(&graph(), seed);
                for (rate, steps) in [(0.02, 200), (0.005, 150), (0.001, 300)] {
                    let adam = Adam {
                        rate,
                        average: 0.99,
                        clip: f64::INFINITY,
                        ..Adam::default()
                    };
                    let source = Arc::new(Toy::new(gaussian(), 100 + seed));
                    let plan = StepPlan {
                        adam,
                        seed: 200 + seed,
                        ..plan(s, graph(), eps, 128, source)
                    };
                    let mut trainer = Trainer::new(plan, state, 2).unwrap();
                    for _ in 0..steps {
                        trainer.step().unwrap();
                    }
                    state = trainer.state().clone();
                }
                (0..2)
                    .flat_map(|i| graph().layout().read(&state.ema, i))
                    .map(f64::from)
                    .collect()
            })
            .collect();
        let (want, wrong) = (optimum(s, eps), optimum(other, eps));
        let mut seen = 0f64;
        for i in 0..10 {
            let values: Vec<f64> = found.iter().map(|f| f[i]).collect();
            let mean = values.iter().sum::<f64>() / seeds as f64;
            let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
                / (seeds * (seeds - 1)) as f64)
                .sqrt();
            println!(
                "{} {i}: {mean:.5} +- {error:.5}, optimum {:.5}, the other's {:.5}",
                s.name, want[i], wrong[i]
            );
            assert!(
                (mean - want[i]).abs() < 5.0 * error + 0.002,
                "{} {i}: {mean} +- {error}, not {}",
                s.name,
                want[i]
            );
            seen = seen.max((mean - wrong[i]).abs() / (5.0 * error + 0.002));
        }
        assert!(
            seen > 2.0,
            "{}: the other objective's optimum passes, {seen}",
            s.name
        );
    }
}

/// Catches a likelihood whose flow and divergence are not of the same score, or have other signs or
/// rates than the diffusion: log p of two rows under a network, by the crate in f32 with its own
/// steps, against the flow in f64 by 400 classical Runge-Kutta steps with the Jacobian by central
/// differences. Tolerance: 5e-4, for a step's tolerance of 1e-5 and fewer than 100 of them.
#[test]
fn log_likelihoods_are_those_of_the_flow_in_f64() {
    for s in setups()
        .into_iter()
        .filter(|s| ["cld hsm mixed", "cld dsm eps", "vp eps", "psld hsm eps"].contains(&s.name))
    {
        let ((k, m), dim, eps) = (s.channels(), 2, 0.1);
        let graph = s.perceptron::<f32>(dim);
        let mut p: Vec<f32> = parameters(graph.layout(), 8)
            .iter()
            .map(|x| 0.5 * x)
            .collect();
        // without the features of time, whose frequencies of up to 1000 in ln t the fixed steps
        // would not resolve
        p[graph
            .layout()
            .entries()
            .iter()
            .find(|e| e.name == "emb.weight")
            .unwrap()
            .at
            .clone()]
        .fill(0.0);
        let model = s.model(s.perceptron(dim), &p);
        let d = &s.diffusion;
        let slope = |t: f64, u: &[Vec<f64>]| -> (Vec<Vec<f64>>, f64) {
            let o = outputs(s.perceptron(dim), &p, u, &[t]);
            let j = jacobian(&s, &|| s.perceptron(dim), &p, t, u);
            let (f, b, g) = (d.drift(), d.rate(t), d.noise(t));
            let mut du: Vec<Vec<f64>> = (0..k)
                .map(|i| {
                    (0..dim)
                        .map(|c| b * (0..k).map(|l| f[(i, l)] * u[l][c]).sum::<f64>())
                        .collect()
                })
                .collect();
            let mut div: f64 = b * dim as f64 * (0..k).map(|i| f[(i, i)]).sum::<f64>();
            for (n, &i) in d.noised().iter().enumerate() {
                let half = 0.5 * b * g[(i, i)];
                for c in 0..dim {
                    let all: Vec<f64> = o.iter().map(|o| o[c]).collect();
                    du[i][c] -= half * s.scores(t, u[k - 1][c], &all)[n];
                    div -= half * j[n][c * dim + c];
                }
            }
            (du, div)
        };
        let two = states(k, 2 * dim, 23);
        let rows: Vec<&[f64]> = two.iter().map(Vec::as_slice).collect();
        let likelihood = Likelihood::new(d, dim, eps, 1e-5, Terminal::Prior).unwrap();
        let probed = Probed::new(&model, 0, Probes::Exact).unwrap();
        let got = likelihood.log_joint(&Trace::Exact(&probed), &rows).unwrap();
        for r in 0..2 {
            let mut u: Vec<Vec<f64>> = two
                .iter()
                .map(|c| c[r * dim..(r + 1) * dim].to_vec())
                .collect();
            let (n, mut log) = (400, 0.0);
            let h = (1.0 - eps) / f64::from(n);
            for step in 0..n {
                let t = eps + h * f64::from(step);
                let at = |a: f64, du: &[Vec<f64>]| -> Vec<Vec<f64>> {
                    u.iter()
                        .zip(du)
                        .map(|(u, d)| u.iter().zip(d).map(|(u, d)| u + a * d).collect())
                        .collect()
                };
                let (k1, l1) = slope(t, &u);
                let (k2, l2) = slope(t + 0.5 * h, &at(0.5 * h, &k1));
                let (k3, l3) = slope(t + 0.5 * h, &at(0.5 * h, &k2));
                let (k4, l4) = slope((t + h).min(1.0), &at(h, &k3));
                log += h / 6.0 * (l1 + 2.0 * l2 + 2.0 * l3 + l4);
                for i in 0..k {
                    for c in 0..dim {
                        u[i][c] +=
                            h / 6.0 * (k1[i][c] + 2.0 * k2[i][c] + 2.0 * k3[i][c] + k4[i][c]);
                    }
                }
            }
            for i in 0..k {
                let v = d.prior()[(i, i)];
                log -= u[i]
                    .iter()
                    .map(|x| 0.5 * (x * x / v + (std::f64::consts::TAU * v).ln()))
                    .sum::<f64>();
            }
            println!(
                "{}: {} and {log}, {:?}",
                s.name, got.values[r].value, got.counts
            );
            assert!(
                (got.values[r].value - log).abs() < 5e-4,
                "{}: {} is not {log}",
                s.name,
                got.values[r].value
            );
        }
        assert_eq!(m, d.noised().len());
    }
}
