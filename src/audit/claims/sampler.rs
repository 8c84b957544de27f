//! Claims about samplers, on Gaussian data with the exact score: every sampler of the registry on
//! every process that it is defined for.
//!
//! A run is then affine in its start and its draws, so that its law is a recursion of matrices. The
//! matrices are read off the steps that run: what is claimed is claimed of the code itself.

use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Check, Near, Part, Points, Sampled, moments};
use crate::audit::claim::{Claim, Method};
use crate::audit::slopes::{self, Measured};
use crate::dd::Dd;
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::process::custom;
use crate::sampler::driver::Run;
use crate::sampler::law::run_law;
use crate::sampler::{Denoise, Grid, Memory, Order, REGISTRY, Stepper};
use crate::schedule::Schedule;
use crate::score::{Gaussian, Score};
use crate::small::Square;
use crate::truth::predict::CHANNELS;
use crate::worst::{Worst, largest, worse};

/// The interval over which laws are followed: from where the data is all but forgotten down to
/// where it shows.
const FROM: f64 = 0.7;
const TO: f64 = 0.1;

/// Numbers of steps for orders.
const STEPS: [usize; 5] = [32, 64, 128, 256, 512];

/// Errors below this share of the law's size are rounding.
const ROUNDING: f64 = 1e-10;

/// Mean and standard deviation of the data.
const DATA: (f64, f64) = (0.7, 0.5);

/// Values that the driver samples for each claim.
const SAMPLES: (usize, usize) = (16_384, 2);

/// Steps of the driver's run.
const RUN_STEPS: usize = 16;

/// A mean and a covariance, row-major.
pub type Moments = (Vec<f64>, Vec<f64>);

/// The data's law at a time.
fn law_at(data: &Gaussian, t: f64) -> Result<Moments> {
    data.law(t).map(|(mean, cov)| (mean, cov.to_vec()))
}

/// The law at the end of runs.
fn run_moments(
    runs: &[(&dyn Stepper, usize)],
    score: &dyn Score,
    mean: &[f64],
    cov: &Square,
) -> Result<Moments> {
    let (mean, cov) = run_law(runs, mean.len(), score)?.moments(mean, cov);
    Ok((mean, cov.to_vec()))
}

/// Plans a sampler for a grid.
pub type Build<'a> = &'a (dyn Fn(&Diffusion, &Grid) -> Result<Box<dyn Stepper>> + Sync);

/// A sampler under audit.
pub struct Subject<'a> {
    /// The case: the first part of its claims' ids.
    pub case: String,
    /// The case in words.
    pub about: String,
    /// The diffusion.
    pub diffusion: &'a Diffusion,
    /// The data, whose law at any time is exact.
    pub data: &'a Gaussian,
    /// The score that the sampler is given.
    pub score: &'a dyn Score,
    /// The sampler.
    pub build: Build<'a>,
    /// Its orders.
    pub order: Order,
}

/// `steps` equal steps from `FROM` to `TO`.
fn equal(steps: usize) -> Result<Grid> {
    Grid::new(
        (0..=steps)
            .map(|i| FROM + (TO - FROM) * i as f64 / steps as f64)
            .collect(),
    )
}

/// One step as matrices: `z' = state z + constant + noise xi`, where z is the state followed by
/// what the sampler keeps from step to step. Row-major.
struct Affine {
    size: usize,
    draws: usize,
    state: Vec<f64>,
    constant: Vec<f64>,
    noise: Vec<f64>,
}

/// Step `i` by calling it on zero and unit vectors.
fn affine(stepper: &dyn Stepper, i: usize, channels: usize, score: &dyn Score) -> Result<Affine> {
    let (size, draws) = (channels + stepper.kept(), stepper.draws());
    let rows = 1 + size + draws;
    let mut u = vec![vec![0.0; rows]; channels];
    let mut memory = Memory::new(stepper, rows);
    for (c, slice) in u.iter_mut().chain(&mut memory.kept).enumerate() {
        slice[1 + c] = 1.0;
    }
    memory.scratch.iter_mut().for_each(|s| s.fill(f64::NAN));
    let mut noise = vec![vec![0.0; rows]; draws];
    noise
        .iter_mut()
        .enumerate()
        .for_each(|(d, s)| s[1 + size + d] = 1.0);
    let slices: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
    let mut state: Vec<&mut [f64]> = u.iter_mut().map(Vec::as_mut_slice).collect();
    stepper.step(i, &mut state, &slices, score, &mut memory)?;
    let all: Vec<&Vec<f64>> = u.iter().chain(&memory.kept).collect();
    let entry = |i: usize, row: usize| all[i][row] - all[i][0];
    Ok(Affine {
        size,
        draws,
        state: (0..size * size)
            .map(|n| entry(n / size, 1 + n % size))
            .collect(),
        constant: all.iter().map(|s| s[0]).collect(),
        noise: (0..size * draws)
            .map(|n| entry(n / draws, 1 + size + n % draws))
            .collect(),
    })
}

/// `a b` for row-major matrices with `m` columns and rows between them.
fn product(a: &[f64], b: &[f64], m: usize) -> Vec<f64> {
    let (rows, columns) = (a.len() / m.max(1), b.len() / m.max(1));
    (0..rows * columns)
        .map(|n| {
            (0..m)
                .map(|l| a[n / columns * m + l] * b[l * columns + n % columns])
                .sum()
        })
        .collect()
}

fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    let rows = a.len() / columns.max(1);
    (0..a.len())
        .map(|n| a[n % rows * columns + n / rows])
        .collect()
}

impl Affine {
    fn apply(&self, (mean, cov): &Moments) -> Moments {
        let m = product(&self.state, mean, self.size)
            .iter()
            .zip(&self.constant)
            .map(|(a, c)| a + c)
            .collect();
        let back = product(
            &product(&self.state, cov, self.size),
            &transposed(&self.state, self.size),
            self.size,
        );
        let noise = product(
            &self.noise,
            &transposed(&self.noise, self.draws),
            self.draws,
        );
        let c = back
            .iter()
            .enumerate()
            .map(|(n, b)| b + noise.get(n).unwrap_or(&0.0))
            .collect();
        (m, c)
    }
}

/// The law after every step, the start included, by recursion over the steps' matrices.
fn laws(
    stepper: &dyn Stepper,
    steps: usize,
    score: &dyn Score,
    start: &Moments,
) -> Result<Vec<Moments>> {
    let k = start.0.len();
    let size = k + stepper.kept();
    let extended = |n: usize| {
        if n / size < k && n % size < k {
            start.1[n / size * k + n % size]
        } else {
            0.0
        }
    };
    let mut law: Moments = (
        (0..size)
            .map(|i| start.0.get(i).copied().unwrap_or(0.0))
            .collect(),
        (0..size * size).map(extended).collect(),
    );
    let mut all = vec![start.clone()];
    for i in 0..steps {
        law = affine(stepper, i, k, score)?.apply(&law);
        all.push((
            law.0[..k].to_vec(),
            (0..k * k).map(|n| law.1[n / k * size + n % k]).collect(),
        ));
    }
    Ok(all)
}

/// Entries of means and covariances: name, row and column of the moments' vectors.
fn entries(k: usize) -> Vec<(String, bool, usize)> {
    let means = (0..k).map(|i| (format!("mean.{}", CHANNELS[i]), false, i));
    let covs = (0..k).flat_map(|i| {
        (i..k).map(move |j| {
            (
                format!("cov.{}{}", CHANNELS[i], CHANNELS[j]),
                true,
                i * k + j,
            )
        })
    });
    means.chain(covs).collect()
}

/// Entry of a law, and the size of its kind.
fn pick(law: &Moments, cov: bool, n: usize) -> f64 {
    if cov { law.1[n] } else { law.0[n] }
}

/// What is claimed of one case: what stands in all its claims.
#[derive(Clone)]
struct About {
    case: String,
    about: String,
    channels: usize,
}

impl Subject<'_> {
    fn about(&self) -> About {
        About {
            case: self.case.clone(),
            about: self.about.clone(),
            channels: self.diffusion.channels(),
        }
    }
}

/// That laws agree: `what` names the claims, the rest says what and why.
#[derive(Clone, Copy)]
struct Agreement {
    what: &'static str,
    formula: &'static str,
    says: &'static str,
    reason: &'static str,
    tolerance: f64,
}

impl Agreement {
    /// One claim for each entry.
    fn claims(&self, a: &About) -> Vec<Claim> {
        let reason = format!("{:e} of the largest entry: {}", self.tolerance, self.reason);
        let claim = |(entry, ..): (String, bool, usize)| {
            let says = format!("{entry} of {}, {}", a.about, self.says);
            Claim::new(
                &format!("{}/{}.{entry}", a.case, self.what),
                self.formula,
                Method::Law,
                says,
                &reason,
            )
        };
        entries(a.channels).into_iter().map(claim).collect()
    }

    /// The claims, with laws found and expected at several times.
    fn checks(&self, s: &Subject<'_>, points: &[(f64, Moments, Moments)]) -> Result<Vec<Check>> {
        let k = s.diffusion.channels();
        let whole = |l: &Moments| l.0.len() == k && l.1.len() == k * k;
        assert!(
            points.iter().all(|(_, f, e)| whole(f) && whole(e)),
            "laws of {k} channels"
        );
        let of = |cov: bool, x: &Moments| {
            if cov {
                largest(&x.1)
            } else {
                worse(largest(&x.0), largest(&x.1).sqrt())
            }
        };
        let scale = |cov: bool| {
            points
                .iter()
                .map(|(_, _, x)| of(cov, x))
                .collect::<Worst>()
                .value()
        };
        let near = |(_, cov, n): (String, bool, usize)| {
            let unit = scale(cov);
            let point = |(at, found, expected): &(f64, Moments, Moments)| Near {
                at: *at,
                found: pick(found, cov, n),
                expected: pick(expected, cov, n),
                tolerance: self.tolerance * unit,
                unit,
            };
            Points::Near(points.iter().map(point).collect())
        };
        Check::all(
            self.claims(&s.about()),
            entries(k).into_iter().map(near).collect(),
        )
    }
}

fn order_claims(a: &About, order: Order, strong: bool) -> Vec<Claim> {
    let claim = |part: &str, what: &str, theory: f64| {
        slopes::claim(
            &format!("{}/{part}", a.case),
            "sampler.law",
            what,
            &a.about,
            theory,
        )
    };
    let mut all = ["mean", "cov"]
        .map(|part| {
            claim(
                part,
                &format!("weak order of the sampler ({part})"),
                order.weak,
            )
        })
        .to_vec();
    if let (true, Some(theory)) = (strong, order.strong) {
        let what =
            "strong order of the sampler (root mean square distance of runs with n and 2n steps)";
        all.push(claim("strong", what, theory));
    }
    all
}

/// Weak order, and the strong one where the draws are the increments of a Brownian path: with the
/// exact law at the start and the exact law at the end, what is left is the error of the sampler.
///
/// # Errors
/// Those of the sampler.
pub fn orders(s: &Subject<'_>) -> Result<Vec<Check>> {
    let start = law_at(s.data, FROM)?;
    let marks = [1, 2].map(|m| (m, FROM + (TO - FROM) * f64::from(m) / 2.0));
    let truths = [law_at(s.data, marks[0].1)?, law_at(s.data, marks[1].1)?];
    let mut runs = vec![];
    for n in STEPS {
        let laws = laws(&*(s.build)(s.diffusion, &equal(n)?)?, n, s.score, &start)?;
        runs.push([laws[n / 2].clone(), laws[n].clone()]);
    }
    let mut all = vec![];
    for (part, cov) in [("mean", false), ("cov", true)] {
        // the largest error: a single entry's may cross zero, and then shows the order of the next
        // term; NaN is the largest
        let mut best = (f64::NEG_INFINITY, vec![], 0.0, String::new());
        for (m, truth) in truths.iter().enumerate() {
            let unit = worse(largest(if cov { &truth.1 } else { &truth.0 }), 1e-300);
            for (entry, _, n) in entries(s.diffusion.channels())
                .into_iter()
                .filter(|e| e.1 == cov)
            {
                let errors: Vec<f64> = runs
                    .iter()
                    .map(|r| pick(&r[m], cov, n) - pick(truth, cov, n))
                    .collect();
                let large = errors[2].abs() / unit;
                if best.0 < large || large.is_nan() {
                    best = (large, errors, unit, entry);
                }
            }
        }
        let (_, mut errors, size, entry) = best;
        // the finest steps whose errors are above rounding
        while errors.len() > 2 && errors[errors.len() - 1].abs() <= ROUNDING * size {
            errors.pop();
        }
        let (name, steps, theory) = (
            format!("{}/{part}", s.case),
            STEPS[..errors.len()].to_vec(),
            s.order.weak,
        );
        all.push(Points::Order(Measured {
            name,
            steps,
            errors,
            size,
            rounding: ROUNDING,
            theory,
            entry,
        }));
    }
    let strong = strong_is_measured(s.diffusion, s.build, s.order)?;
    if let (true, Some(theory)) = (strong, s.order.strong) {
        let steps = STEPS[..4].to_vec();
        let errors = steps
            .iter()
            .map(|n| distance(s, *n, &start))
            .collect::<Result<Vec<_>>>()?;
        let (name, size) = (format!("{}/strong", s.case), largest(&start.1).sqrt());
        all.push(Points::Order(Measured {
            name,
            steps,
            errors,
            size,
            rounding: ROUNDING,
            theory,
            entry: String::new(),
        }));
    }
    Check::all(order_claims(&s.about(), s.order, strong), all)
}

/// Whether a sampler's draws are the increments of a Brownian path and nothing more, so that runs
/// can share one.
fn strong_is_measured(d: &Diffusion, build: Build<'_>, order: Order) -> Result<bool> {
    if order.strong.is_none() {
        return Ok(false);
    }
    let stepper = build(d, &equal(1)?)?;
    Ok(stepper.kept() == 0 && stepper.draws() == d.noised().len())
}

/// Root mean square distance of runs with n and 2n steps on the same Brownian path: a recursion of
/// the joint law of the finer run and the difference, in which nothing cancels.
fn distance(s: &Subject<'_>, n: usize, start: &Moments) -> Result<f64> {
    let k = s.diffusion.channels();
    let (coarse, fine) = (
        (s.build)(s.diffusion, &equal(n)?)?,
        (s.build)(s.diffusion, &equal(2 * n)?)?,
    );
    let mut joint: Moments = (vec![0.0; 2 * k], vec![0.0; 4 * k * k]);
    joint.0[..k].copy_from_slice(&start.0);
    (0..k * k).for_each(|e| joint.1[e / k * 2 * k + e % k] = start.1[e]);
    for i in 0..n {
        let c = affine(&*coarse, i, k, s.score)?;
        let (a, b) = (
            affine(&*fine, 2 * i, k, s.score)?,
            affine(&*fine, 2 * i + 1, k, s.score)?,
        );
        let d = c.draws;
        let two = product(&b.state, &a.state, k);
        let first = product(&b.state, &a.noise, k);
        let moved = product(&b.state, &a.constant, k);
        let mut joined = Affine {
            size: 2 * k,
            draws: 2 * d,
            state: vec![0.0; 4 * k * k],
            constant: vec![0.0; 2 * k],
            noise: vec![0.0; 4 * k * d],
        };
        for (r, (from, constant)) in moved.iter().zip(&b.constant).enumerate() {
            for l in 0..k {
                joined.state[r * 2 * k + l] = two[r * k + l];
                joined.state[(k + r) * 2 * k + l] = c.state[r * k + l] - two[r * k + l];
                joined.state[(k + r) * 2 * k + k + l] = c.state[r * k + l];
            }
            let end = from + constant;
            (joined.constant[r], joined.constant[k + r]) = (end, c.constant[r] - end);
            for l in 0..d {
                // the draw of the long step is the sum of the short ones' over the root of 2
                let long = c.noise[r * d + l] * std::f64::consts::FRAC_1_SQRT_2;
                for (half, short) in [(0, first[r * d + l]), (d, b.noise[r * d + l])] {
                    joined.noise[r * 2 * d + half + l] = short;
                    joined.noise[(k + r) * 2 * d + half + l] = long - short;
                }
            }
        }
        joint = joined.apply(&joint);
    }
    Ok((k..2 * k)
        .map(|i| joint.1[i * 2 * k + i] + joint.0[i] * joint.0[i])
        .sum::<f64>()
        .sqrt())
}

const RUN: Agreement = Agreement {
    what: "run",
    formula: "sampler.law",
    says: "from the run as a whole, is that of its steps' matrices one after the other",
    reason: "rounding of some tens of steps",
    tolerance: 1e-12,
};

/// The run as a whole against its steps one after the other: no step depends on what it should not,
/// and the run's law is read off rightly.
///
/// # Errors
/// Those of the sampler.
pub fn whole_run(s: &Subject<'_>) -> Result<Vec<Check>> {
    let (start, n) = (s.data.law(FROM)?, 32);
    let stepper = (s.build)(s.diffusion, &equal(n)?)?;
    let steps = laws(&*stepper, n, s.score, &law_at(s.data, FROM)?)?;
    let mut points = vec![];
    for m in [1, n / 2, n] {
        let whole = run_moments(&[(&*stepper, m)], s.score, &start.0, &start.1)?;
        points.push((
            FROM + (TO - FROM) * m as f64 / n as f64,
            whole,
            steps[m].clone(),
        ));
    }
    RUN.checks(s, &points)
}

fn driven_claims(a: &About) -> Vec<Claim> {
    let n = SAMPLES.0 * SAMPLES.1;
    let claim = |(entry, ..): (String, bool, usize)| {
        let says = format!(
            "{entry} of {}: {n} samples of {RUN_STEPS} steps and a denoising one against the run's exact law",
            a.about
        );
        Claim::new(
            &format!("{}/{entry}", a.case),
            "sampler.law",
            Method::Sampled,
            says,
            "",
        )
    };
    entries(a.channels).into_iter().map(claim).collect()
}

/// Samples of the driver against the exact law of its run, prior and denoising step included.
///
/// # Errors
/// Those of the sampler.
pub fn driven(s: &Subject<'_>, seed: u64) -> Result<Vec<Check>> {
    let grid = Grid::spaced(
        crate::sampler::grid::Spacing::Quadratic,
        s.diffusion,
        RUN_STEPS,
        1e-2,
    )?;
    let stepper = (s.build)(s.diffusion, &grid)?;
    let (n, dim) = SAMPLES;
    let run = Run {
        diffusion: s.diffusion,
        stepper: &*stepper,
        grid: &grid,
        denoise: true,
        score: s.score,
        n,
        dim,
        seed,
    };
    let samples = run.sample(&|_, _| {})?;
    let last = Denoise::new(s.diffusion, grid.times()[RUN_STEPS])?;
    let k = s.diffusion.channels();
    let (mean, cov) = run_moments(
        &[(&*stepper, RUN_STEPS), (&last, 1)],
        s.score,
        &vec![0.0; k],
        &s.diffusion.prior(),
    )?;
    // by their names: variances and covariances come in another order
    let mut found: std::collections::BTreeMap<String, Sampled> =
        moments(0.0, &samples, &mean, &cov, &CHANNELS)
            .into_iter()
            .collect();
    let points: Vec<Points> = entries(k)
        .iter()
        .filter_map(|(entry, ..)| found.remove(entry))
        .map(|p| Points::Sampled(vec![p]))
        .collect();
    Check::all(driven_claims(&s.about()), points)
}

const END: Agreement = Agreement {
    what: "end",
    formula: "sampler.law",
    says: "at the end of adaptive steps, is the exact one",
    reason: "some tens of steps to 1e-6",
    tolerance: 1e-4,
};

/// An adaptive probability flow, which follows its tolerance and not the grid: the law at the end
/// is the exact one. Its error control is 1e-6 per step; the tolerance allows for some tens of
/// steps and for growth between them.
///
/// # Errors
/// Those of the sampler.
pub fn adaptive(s: &Subject<'_>) -> Result<Vec<Check>> {
    let ((mean, cov), n) = (s.data.law(FROM)?, 2);
    let stepper = (s.build)(s.diffusion, &equal(n)?)?;
    let found = run_moments(&[(&*stepper, n)], s.score, &mean, &cov)?;
    let points = [(TO, found, law_at(s.data, TO)?)];
    END.checks(s, &points)
}

/// Claims of one entry of the registry on one process; `None` where it is not defined.
fn part(case: &Rated, entry: &'static crate::sampler::SamplerEntry) -> Result<Option<Part>> {
    let Ok(stepper) = entry.build(&case.diffusion, &equal(1)?) else {
        return Ok(None);
    };
    let (name, diffusion) = (
        format!("sampler.{}.{}", entry.name, case.name),
        case.diffusion.clone(),
    );
    let k = diffusion.channels();
    let about = About {
        case: name.clone(),
        about: format!("`{}` for {}", entry.name, case.about),
        channels: k,
    };
    let build = |d: &Diffusion, g: &Grid| entry.build(d, g);
    let mut claims = vec![];
    if entry.adaptive {
        if stepper.draws() > 0 {
            return Ok(None); // its steps depend on the noise: no law to compute
        }
        claims.extend(END.claims(&about));
    } else {
        claims.extend(order_claims(
            &about,
            entry.order,
            strong_is_measured(&diffusion, &build, entry.order)?,
        ));
        claims.extend(RUN.claims(&about));
        claims.extend(driven_claims(&about));
        claims.extend(
            agreement(&diffusion, entry.name)
                .iter()
                .flat_map(|a| a.claims(&about)),
        );
    }
    let run = Box::new(move |seed: u64| {
        let data = Gaussian::new(diffusion.clone(), DATA.0, DATA.1)?;
        let s = Subject {
            case: about.case.clone(),
            about: about.about.clone(),
            diffusion: &diffusion,
            data: &data,
            score: &data,
            build: &|d: &Diffusion, g: &Grid| entry.build(d, g),
            order: entry.order,
        };
        if entry.adaptive {
            return adaptive(&s);
        }
        let mut all = orders(&s)?;
        all.extend(whole_run(&s)?);
        all.extend(driven(&s, seed)?);
        all.extend(printed(&s, entry.name)?);
        Ok(all)
    });
    let tests = if entry.adaptive {
        0
    } else {
        k + k * (k + 1) / 2
    };
    Ok(Some(Part {
        case: name,
        claims,
        tests,
        run,
    }))
}

/// Every sampler on every process that it is defined for, and the reversal of every process.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let mut all = vec![];
    for case in rated()? {
        for entry in REGISTRY {
            all.extend(part(&case, entry)?);
        }
        let (name, about, diffusion) = (
            format!("reversal.{}", case.name),
            case.about,
            case.diffusion,
        );
        let claims = MARGINAL.claims(&About {
            case: name.clone(),
            about: about.clone(),
            channels: diffusion.channels(),
        });
        let run = Box::new({
            let name = name.clone();
            move |_: u64| {
                let data = Gaussian::new(diffusion.clone(), DATA.0, DATA.1)?;
                reversal(&name, &about, &diffusion, &data, &data)
            }
        });
        all.push(Part {
            case: name,
            claims,
            tests: 0,
            run,
        });
    }
    Ok(all)
}

const MARGINAL: Agreement = Agreement {
    what: "marginal",
    formula: "score.gaussian",
    says: "under the reverse SDE with the exact score, is that of the forward process",
    reason: "what Romberg's extrapolation of Euler-Maruyama leaves",
    tolerance: 1e-6,
};

/// Time reversal: the reverse SDE, started from the exact law, has the forward marginals at all
/// times. The SDE's own law is the limit of Euler-Maruyama's, found by Romberg's extrapolation;
/// what it is held against is the forward kernel alone.
///
/// # Errors
/// Those of the score.
pub fn reversal(
    case: &str,
    about: &str,
    diffusion: &Diffusion,
    data: &Gaussian,
    score: &dyn Score,
) -> Result<Vec<Check>> {
    const MARKS: usize = 6;
    const LEVELS: usize = 6;
    let em = crate::sampler::entry("em")?;
    let build = |d: &Diffusion, g: &Grid| em.build(d, g);
    let s = Subject {
        case: case.into(),
        about: about.into(),
        diffusion,
        data,
        score,
        build: &build,
        order: em.order,
    };
    let start = law_at(data, FROM)?;
    // rows: levels; columns: marks
    let mut table: Vec<Vec<Moments>> = vec![];
    for level in 0..LEVELS {
        let per = 4 << level;
        let n = MARKS * per;
        let all = laws(&*build(diffusion, &equal(n)?)?, n, score, &start)?;
        table.push((1..=MARKS).map(|m| all[m * per].clone()).collect());
    }
    for order in 1..LEVELS {
        let f = f64::from(1u32 << order) - 1.0;
        let better = |c: &[f64], d: &[f64]| {
            c.iter()
                .zip(d)
                .map(|(c, d)| d + (d - c) / f)
                .collect::<Vec<_>>()
        };
        table = table
            .windows(2)
            .map(|w| {
                w[0].iter()
                    .zip(&w[1])
                    .map(|(c, d)| (better(&c.0, &d.0), better(&c.1, &d.1)))
                    .collect()
            })
            .collect();
    }
    let mut points = vec![];
    for (m, found) in table.remove(0).into_iter().enumerate() {
        let t = FROM + (TO - FROM) * (m + 1) as f64 / MARKS as f64;
        points.push((t, found, law_at(data, t)?));
    }
    MARGINAL.checks(&s, &points)
}

/// Row-major matrices of double words, as small as a process.
mod exact {
    use super::Dd;

    pub fn of(v: &[f64]) -> Vec<Dd> {
        v.iter().map(|x| Dd::from(*x)).collect()
    }

    pub fn product(a: &[Dd], b: &[Dd], m: usize) -> Vec<Dd> {
        let (rows, columns) = (a.len() / m, b.len() / m);
        (0..rows * columns)
            .map(|n| {
                (0..m).fold(Dd::ZERO, |s, l| {
                    s + a[n / columns * m + l] * b[l * columns + n % columns]
                })
            })
            .collect()
    }

    pub fn sandwich(a: &[Dd], c: &[Dd], k: usize) -> Vec<Dd> {
        let transposed: Vec<Dd> = (0..k * k).map(|n| a[n % k * k + n / k]).collect();
        product(&product(a, c, k), &transposed, k)
    }

    pub fn plus(a: &[Dd], b: &[Dd]) -> Vec<Dd> {
        a.iter().zip(b).map(|(a, b)| *a + *b).collect()
    }

    /// By elimination without pivots: covariances need none.
    pub fn inverse(c: &[Dd], k: usize) -> Vec<Dd> {
        let (mut a, mut b) = (
            c.to_vec(),
            (0..k * k)
                .map(|n| if n % (k + 1) == 0 { Dd::ONE } else { Dd::ZERO })
                .collect::<Vec<_>>(),
        );
        for p in 0..k {
            let pivot = a[p * k + p];
            for j in 0..k {
                (a[p * k + j], b[p * k + j]) = (a[p * k + j] / pivot, b[p * k + j] / pivot);
            }
            for i in (0..k).filter(|i| *i != p) {
                let f = a[i * k + p];
                for j in 0..k {
                    (a[i * k + j], b[i * k + j]) = (
                        a[i * k + j] - f * a[p * k + j],
                        b[i * k + j] - f * b[p * k + j],
                    );
                }
            }
        }
        b
    }
}

/// A law in double words.
struct Precise {
    mean: Vec<Dd>,
    cov: Vec<Dd>,
}

impl Precise {
    /// After `u' = A u + c + noise of covariance Q`.
    fn after(&self, a: &[Dd], c: &[Dd], q: &[Dd]) -> Precise {
        let k = self.mean.len();
        Precise {
            mean: exact::plus(&exact::product(a, &self.mean, k), c),
            cov: exact::plus(&exact::sandwich(a, &self.cov, k), q),
        }
    }
}

/// Mean and inverse covariance of the data's law at `t`, from drift and noise alone.
fn precise_score(d: &Diffusion, t: f64) -> Result<(Vec<Dd>, Vec<Dd>)> {
    let k = d.channels();
    let law = d.process().law(d.schedule().span(0.0, t)?, d.gamma(), 0.0);
    let v = Dd::prod(DATA.1, DATA.1);
    let phi: Vec<Dd> = (0..k).map(|i| law.mean[(i, 0)]).collect();
    let cov: Vec<Dd> = (0..k * k)
        .map(|n| law.cov[(n / k, n % k)] + v * phi[n / k] * phi[n % k])
        .collect();
    Ok((
        phi.iter().map(|p| *p * Dd::from(DATA.0)).collect(),
        exact::inverse(&cov, k),
    ))
}

/// `h b(t)` for the step from t to s.
fn clock(schedule: &Schedule, t: f64, s: f64) -> Dd {
    Dd::diff(t, s) * Dd::from(schedule.rate(t))
}

/// `u + tau (D u - G G^T P (u - m))`, the score's part with `extra` added to minus its matrix:
/// `(A, c)`.
fn kick(
    d: &Diffusion,
    t: f64,
    tau: Dd,
    drift: &[f64],
    extra: &[f64],
) -> Result<(Vec<Dd>, Vec<Dd>)> {
    let k = d.channels();
    let ((mean, precision), g) = (precise_score(d, t)?, d.noise(t));
    let gp = exact::product(&exact::of(g.as_slice()), &precision, k);
    let ge = exact::product(&exact::of(g.as_slice()), &exact::of(extra), k);
    let one = |n: usize| {
        if n.is_multiple_of(k + 1) {
            Dd::ONE
        } else {
            Dd::ZERO
        }
    };
    let a = (0..k * k)
        .map(|n| one(n) + tau * (Dd::from(drift[n]) + ge[n] - gp[n]))
        .collect();
    let c = exact::product(&gp, &mean, k)
        .into_iter()
        .map(|x| tau * x)
        .collect();
    Ok((a, c))
}

/// What is claimed by printed formulas; `None` for samplers that have none here.
fn agreement(d: &Diffusion, name: &str) -> Option<Agreement> {
    let formula = match name {
        "em" => "sampler.em",
        "sscs" => "sampler.sscs",
        "sscs-first-half-twice" => "sampler.sscs_first_half_twice",
        _ => return None,
    };
    // SSCS splits off the stationary law's part
    (name == "em" || d.process().stationary().is_some()).then_some(Agreement {
        what: "printed",
        formula,
        says: "from the prior to the end, without and with the denoising step, is that of the printed formulas in 106-bit arithmetic",
        reason: "steps whose matrices are right to 1e-15",
        tolerance: 1e-11,
    })
}

/// The law of Euler-Maruyama and of SSCS by the formulas as they are printed, in double words, with
/// transitions from drift and noise alone; with the denoising step at the end.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn printed(s: &Subject<'_>, name: &str) -> Result<Vec<Check>> {
    let d = s.diffusion;
    let (k, n) = (d.channels(), 24);
    let Some(agreement) = agreement(d, name) else {
        return Ok(vec![]);
    };
    let grid = Grid::spaced(crate::sampler::grid::Spacing::Quadratic, d, n, TO)?;
    let prior = d.prior();
    let mut law = Precise {
        mean: vec![Dd::ZERO; k],
        cov: exact::of(prior.as_slice()),
    };
    let none = vec![0.0; k * k];
    let backward: Vec<f64> = d.drift().as_slice().iter().map(|f| -f).collect();
    let stationary = d.process().stationary().map(|m| {
        exact::inverse(&exact::of(m.as_slice()), k)
            .iter()
            .map(|x| x.to_f64())
            .collect::<Vec<_>>()
    });
    for (t, end) in grid.intervals() {
        let tau = clock(d.schedule(), t, end);
        if name == "em" {
            let (a, c) = kick(d, t, tau, &backward, &none)?;
            let q: Vec<Dd> = d
                .noise(t)
                .as_slice()
                .iter()
                .map(|g| tau * Dd::from(*g))
                .collect();
            law = law.after(&a, &c, &q);
            continue;
        }
        let Some(precision) = &stationary else {
            return Ok(vec![]);
        };
        let (g, middle) = (d.noise(t), 0.5 * (t + end));
        let gs = exact::product(&exact::of(g.as_slice()), &exact::of(precision), k);
        let drift = Square::build(k, |i, j| {
            (Dd::from(backward[i * k + j]) - gs[i * k + j]).to_f64()
        });
        // its transitions come from Taylor series and doubling
        let analytic = custom(&drift, &g, 1.0)?;
        let half = |from: f64, to: f64| -> Result<(Vec<Dd>, Vec<Dd>)> {
            let l = analytic.law(d.schedule().span(from, to)?, 0.0, 0.0);
            Ok((l.mean.to_vec(), l.cov.to_vec()))
        };
        let zero = vec![Dd::ZERO; k];
        let (phi, q) = half(middle, t)?;
        law = law.after(&phi, &zero, &q);
        let (a, c) = kick(d, t, tau, &none, precision)?;
        law = law.after(&a, &c, &vec![Dd::ZERO; k * k]);
        if name == "sscs" {
            let (phi, q) = half(end, middle)?;
            law = law.after(&phi, &zero, &q);
        } else {
            law = law.after(&phi, &zero, &q);
        }
    }
    let rounded = |l: &Precise| {
        (
            l.mean.iter().map(|x| x.to_f64()).collect(),
            l.cov.iter().map(|x| x.to_f64()).collect(),
        )
    };
    let before: Moments = rounded(&law);
    let (a, c) = kick(d, TO, Dd::prod(TO, d.rate(TO)), &backward, &none)?;
    let after: Moments = rounded(&law.after(&a, &c, &vec![Dd::ZERO; k * k]));
    let (stepper, last) = ((s.build)(d, &grid)?, Denoise::new(d, TO)?);
    let run = |runs: &[(&dyn Stepper, usize)]| run_moments(runs, s.score, &vec![0.0; k], &prior);
    let found: [Result<Moments>; 2] = [run(&[(&*stepper, n)]), run(&[(&*stepper, n), (&last, 1)])];
    let [one, two] = found;
    let points = [(TO, one?, before), (0.0, two?, after)];
    agreement.checks(s, &points)
}
