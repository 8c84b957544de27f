//! Claims about scores of mixtures and about parametrisations, for every kind of process.

use super::likelihood::{Dense, mixture, start, views, views_mut};
use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Check, Near, Part, Points};
use crate::audit::claim::{Claim, Method};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::kernel::KernelValues;
use crate::score::{Conversion, MixtureScore, Parametrisation};
use crate::small::Square;
use crate::truth::predict::CHANNELS;
use crate::worst::{largest, worse};

/// Times of the claims.
const TIMES: [f64; 3] = [0.02, 0.3, 1.0];

/// Derivative at 0 by Richardson's extrapolation of central differences with steps h, h/2 and h/4:
/// of order 6.
fn derivative(h: f64, f: &dyn Fn(f64) -> Result<f64>) -> Result<f64> {
    let central = |h: f64| -> Result<f64> { Ok((f(h)? - f(-h)?) / (2.0 * h)) };
    let (a, b, c) = (central(h)?, central(0.5 * h)?, central(0.25 * h)?);
    let (d, e) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
    Ok((16.0 * e - d) / 15.0)
}

fn density_claims(case: &Rated) -> Vec<Claim> {
    let (d, about, name) = (&case.diffusion, &case.about, format!("score.{}", case.name));
    let says =
        format!("log-density of a mixture in two dimensions, {about}, is that of a dense law");
    let reason = "1e-11: covariances of condition up to 1e5";
    let mut all = vec![Claim::new(
        &format!("{name}/log"),
        "score.mixture_log_density",
        Method::Identity,
        says,
        reason,
    )];
    let reason = "1e-8 of the score's size: differences of order 6 over a twentieth of a deviation";
    for channel in &CHANNELS[..d.channels()] {
        let says = format!(
            "{channel} of the score of a mixture in two dimensions, {about}, is the derivative of a dense law's log-density"
        );
        all.push(Claim::new(
            &format!("{name}/score.{channel}"),
            "score.mixture",
            Method::Identity,
            says,
            reason,
        ));
    }
    let says = format!(
        "Hessian of the log-density of a mixture in two dimensions, {about}, times a field is the score's derivative along it"
    );
    all.push(Claim::new(
        &format!("{name}/hessian"),
        "score.mixture_hessian",
        Method::Identity,
        says,
        reason,
    ));
    for &c in d.noised() {
        let says = format!(
            "divergence of the score of a mixture in {}, {about}, is the sum of its derivatives",
            CHANNELS[c]
        );
        let name = format!("{name}/divergence.{}", CHANNELS[c]);
        all.push(Claim::new(
            &name,
            "score.mixture_divergence",
            Method::Identity,
            says,
            reason,
        ));
    }
    all
}

/// The score that runs beside a dense law, at one time and at states that all claims share.
struct AtTime<'a> {
    diffusion: &'a Diffusion,
    dense: &'a Dense<'a>,
    score: &'a MixtureScore,
    t: f64,
    /// The states, channel by channel.
    u: Vec<Vec<f64>>,
    /// The kernel's precision.
    inverse: Square<f64>,
}

/// Coordinates of a row.
const DIM: usize = 2;

impl AtTime<'_> {
    /// Below the deviation of a channel given the others and the data no score of a mixture varies.
    fn step(&self, c: usize) -> f64 {
        0.05 / self.inverse[(c, c)].sqrt()
    }

    /// The states with one number moved.
    fn moved(&self, c: usize, e: usize, by: f64) -> Vec<Vec<f64>> {
        let mut u = self.u.clone();
        u[c][e] += by;
        u
    }

    fn score_at(&self, u: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let mut out = self.u.clone();
        self.score
            .joint_score(self.t, &views(u), &mut views_mut(&mut out))?;
        Ok(out)
    }

    fn log_densities(&self) -> Result<Vec<Near>> {
        let u = views(&self.u);
        let mut log = vec![0.0; self.u[0].len() / DIM];
        self.score.log_density(self.t, &u, &mut log)?;
        let near = |(found, expected): (&f64, f64)| {
            let unit = worse(expected.abs(), 1.0);
            Near::relative(self.t, *found, expected, 1e-11, unit)
        };
        let expected = self.dense.log_density(self.t, &u)?;
        Ok(log.iter().zip(expected).map(near).collect())
    }

    /// A channel of the score as the derivative of the dense law's log-density.
    fn slopes(&self, c: usize) -> Result<Vec<Near>> {
        let found = self.score_at(&self.u)?;
        let mut all = vec![];
        for (e, found) in found[c].iter().enumerate() {
            let log = |by: f64| {
                let u = self.moved(c, e, by);
                Ok(self.dense.log_density(self.t, &views(&u))?[e / DIM])
            };
            let expected = derivative(self.step(c), &log)?;
            let unit = worse(expected.abs(), self.inverse[(c, c)].sqrt());
            all.push(Near::relative(self.t, *found, expected, 1e-8, unit));
        }
        Ok(all)
    }

    /// The Hessian times a field of a twentieth of a deviation in every channel, as the score's
    /// derivative along it.
    fn hessian(&self) -> Result<Vec<Near>> {
        let u = &self.u;
        let field: Vec<Vec<f64>> = (0..u.len())
            .map(|c| {
                let wave = |i: usize| self.step(c) * ((i as f64 + 0.4) * (1.9 + c as f64)).cos();
                (0..u[0].len()).map(wave).collect()
            })
            .collect();
        let mut product = u.clone();
        self.score.hessian_vector(
            self.t,
            &views(u),
            &views(&field),
            &mut views_mut(&mut product),
        )?;
        let mut all = vec![];
        for c in 0..u.len() {
            for (e, found) in product[c].iter().enumerate() {
                let along = |by: f64| {
                    let sum = |(u, w): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
                        u.iter().zip(w).map(|(u, w)| u + by * w).collect()
                    };
                    let moved: Vec<Vec<f64>> = u.iter().zip(&field).map(sum).collect();
                    Ok(self.score_at(&moved)?[c][e])
                };
                let expected = derivative(1.0, &along)?;
                let unit = worse(expected.abs(), 0.05 * self.inverse[(c, c)].sqrt());
                all.push(Near::relative(self.t, *found, expected, 1e-8, unit));
            }
        }
        Ok(all)
    }

    /// The divergence over each noised channel as the sum of the score's derivatives.
    fn divergences(&self) -> Result<Vec<Vec<Near>>> {
        let noised = self.diffusion.noised();
        let mut trace = vec![vec![0.0; self.u[0].len() / DIM]; noised.len()];
        self.score
            .divergence(self.t, &views(&self.u), &mut views_mut(&mut trace))?;
        let mut all = vec![];
        for (trace, &c) in trace.iter().zip(noised) {
            let mut points = vec![];
            for (row, found) in trace.iter().enumerate() {
                let mut expected = 0.0;
                for e in row * DIM..(row + 1) * DIM {
                    let own = |by: f64| Ok(self.score_at(&self.moved(c, e, by))?[c][e]);
                    expected += derivative(self.step(c), &own)?;
                }
                let unit = worse(expected.abs(), self.inverse[(c, c)]);
                points.push(Near::relative(self.t, *found, expected, 1e-8, unit));
            }
            all.push(points);
        }
        Ok(all)
    }
}

/// Density, score and divergence of the mixture that runs against a dense law.
fn densities(case: &Rated) -> Result<Vec<Check>> {
    let (d, data) = (&case.diffusion, mixture(DIM)?);
    let dense = Dense {
        diffusion: d,
        mixture: &data,
    };
    let score = MixtureScore::new(d.clone(), data.clone());
    let (mut logs, mut hessian) = (vec![], vec![]);
    let mut slopes = vec![vec![]; d.channels()];
    let mut traces = vec![vec![]; d.noised().len()];
    for t in TIMES {
        let at = AtTime {
            diffusion: d,
            dense: &dense,
            score: &score,
            t,
            u: start(d, DIM),
            inverse: d.kernel(t)?.inv,
        };
        logs.extend(at.log_densities()?);
        for (c, points) in slopes.iter_mut().enumerate() {
            points.extend(at.slopes(c)?);
        }
        hessian.extend(at.hessian()?);
        for (points, found) in traces.iter_mut().zip(at.divergences()?) {
            points.extend(found);
        }
    }
    let points = std::iter::once(logs)
        .chain(slopes)
        .chain([hessian])
        .chain(traces)
        .map(Points::Near)
        .collect();
    Check::all(density_claims(case), points)
}

/// Whether a parametrisation is defined for the process.
fn fits(d: &Diffusion, p: Parametrisation) -> Result<bool> {
    let (u, output) = (
        vec![vec![0.0]; d.channels()],
        vec![
            vec![0.0];
            if p == Parametrisation::X0 {
                1
            } else {
                d.noised().len()
            }
        ],
    );
    let mut out = vec![vec![0.0]; d.noised().len()];
    Ok(Conversion::new(d, TIMES[0])?
        .to_score(p, &views(&u), &views(&output), &mut views_mut(&mut out))
        .is_ok())
}

/// The outputs that are claimed: all but the score itself, which is a copy.
fn parametrisations(d: &Diffusion) -> Result<Vec<Parametrisation>> {
    let mut all = vec![];
    for p in Parametrisation::ALL
        .into_iter()
        .filter(|p| *p != Parametrisation::Score)
    {
        if fits(d, p)? {
            all.push(p);
        }
    }
    Ok(all)
}

fn output_claims(case: &Rated) -> Result<Vec<Claim>> {
    let about = &case.about;
    let mut all = vec![];
    for p in parametrisations(&case.diffusion)? {
        let (name, reason) = (
            format!("score.{}/{}", case.name, p.name()),
            "1e-10 of the largest: kernels of condition up to 1e5",
        );
        let (there, from) = match p {
            Parametrisation::Score => continue,
            Parametrisation::Eps => ("param.eps", "param.eps_from_score"),
            Parametrisation::Mixed => ("param.mixed", "param.mixed_from_score"),
            Parametrisation::X0 => ("param.x0", "param.x0_from_score"),
        };
        let says = format!(
            "score of the output `{}` of a known noise, {about}, is the kernel's",
            p.name()
        );
        all.push(Claim::new(
            &format!("{name}.to"),
            there,
            Method::Identity,
            says,
            reason,
        ));
        let says = format!(
            "output `{}` of the kernel's score, {about}, is the one that is known",
            p.name()
        );
        all.push(Claim::new(
            &format!("{name}.from"),
            from,
            Method::Identity,
            says,
            reason,
        ));
    }
    Ok(all)
}

/// Numbers of no order.
fn wave(seed: f64) -> Vec<f64> {
    let one = |i: usize| ((i as f64 + 1.0) * seed).sin() * 1.7;
    (0..5).map(one).collect()
}

/// Room for as many numbers, so that what is not written is seen.
fn zeros(like: &[Vec<f64>]) -> Vec<Vec<f64>> {
    like.iter().map(|c| vec![0.0; c.len()]).collect()
}

/// Data and noise, the state that a kernel makes of them, and its score.
struct Known {
    x: Vec<f64>,
    noise: Vec<Vec<f64>>,
    u: Vec<Vec<f64>>,
    score: Vec<Vec<f64>>,
}

impl Known {
    fn new(d: &Diffusion, kernel: &KernelValues) -> Known {
        let k = d.channels();
        let (x, noise) = (
            wave(1.3),
            (0..k).map(|c| wave(2.1 + c as f64)).collect::<Vec<_>>(),
        );
        let rows = 0..x.len();
        let lower = |i: usize, r: usize| {
            (0..=i)
                .map(|j| kernel.chol_lower[(i, j)] * noise[j][r])
                .sum::<f64>()
        };
        let state = |i: usize, r: usize| kernel.mean[(i, 0)] * x[r] + lower(i, r);
        let u = (0..k).map(|i| rows.clone().map(|r| state(i, r)).collect());
        let u = u.collect();
        // the kernel's score from its precision
        let pull = |i: usize, r: usize| {
            -(0..k)
                .map(|j| kernel.inv[(i, j)] * lower(j, r))
                .sum::<f64>()
        };
        let score = d.noised().iter();
        let score = score.map(|&i| rows.clone().map(|r| pull(i, r)).collect());
        let score = score.collect();
        Known { x, noise, u, score }
    }

    /// The output of a network that knows all of it.
    fn output(&self, d: &Diffusion, kernel: &KernelValues, p: Parametrisation) -> Vec<Vec<f64>> {
        let last = d.channels() - 1;
        match p {
            Parametrisation::Score => self.score.clone(),
            Parametrisation::Eps => d.noised().iter().map(|&i| self.noise[i].clone()).collect(),
            Parametrisation::X0 => vec![self.x.clone()],
            // -ell net = score + v/S_vv, 1/ell the last entry of the factor
            Parametrisation::Mixed => {
                let rest = |r: usize| {
                    -(self.score[0][r] + self.u[last][r] / kernel.cov[(last, last)])
                        * kernel.chol_lower[(last, last)]
                };
                vec![(0..self.x.len()).map(rest).collect()]
            }
        }
    }
}

/// Every output of a known noise stands for one score, that of the kernel; and comes back from it.
fn outputs(case: &Rated) -> Result<Vec<Check>> {
    let d = &case.diffusion;
    let near = |all: &mut Vec<Near>, t: f64, a: &[Vec<f64>], b: &[Vec<f64>]| {
        let unit = largest(b.iter().flatten());
        let point = |(f, e): (&f64, &f64)| Near::relative(t, *f, *e, 1e-10, unit);
        all.extend(a.iter().flatten().zip(b.iter().flatten()).map(point));
    };
    let mut all = vec![];
    for p in parametrisations(d)? {
        let (mut to, mut back) = (vec![], vec![]);
        for t in TIMES {
            let (kernel, c) = (d.kernel(t)?, Conversion::new(d, t)?);
            let known = Known::new(d, &kernel);
            let (u, output) = (views(&known.u), known.output(d, &kernel, p));
            let mut found = zeros(&known.score);
            c.to_score(p, &u, &views(&output), &mut views_mut(&mut found))?;
            near(&mut to, t, &found, &known.score);
            let mut again = zeros(&output);
            c.from_score(p, &u, &views(&known.score), &mut views_mut(&mut again))?;
            near(&mut back, t, &again, &output);
        }
        all.extend([to, back].map(Points::Near));
    }
    Check::all(output_claims(case)?, all)
}

/// Every process.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let part = |case: Rated| {
        let name = format!("score.{}", case.name);
        let mut claims = density_claims(&case);
        claims.extend(output_claims(&case)?);
        let run = move |_: u64| {
            let mut all = densities(&case)?;
            all.extend(outputs(&case)?);
            Ok(all)
        };
        Ok(Part {
            case: name,
            claims,
            tests: 0,
            run: Box::new(run),
        })
    };
    rated()?.into_iter().map(part).collect()
}
