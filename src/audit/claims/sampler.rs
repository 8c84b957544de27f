//! Claims about samplers, on Gaussian data with the exact score: every sampler of the registry on
//! every process that it is defined for.
//!
//! A run is then affine in its start and its draws, so that its law is a recursion of matrices. The
//! matrices are read off the steps that run: what is claimed is claimed of the code itself.

use crate::audit::cases::{Rated, rated};
use crate::audit::check::{Check, Near, Part, Points, Sampled, moments};
use crate::audit::claim::{Claim, Method};
use crate::audit::slopes::{self, Measured};
use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::sampler::driver::Run;
use crate::sampler::law::{StepLaw, run_law, step_law};
use crate::sampler::{Denoise, Grid, Order, REGISTRY, Stepper};
use crate::score::{Gaussian, Score};
use crate::small::{Square, places};
use crate::truth::predict::CHANNELS;
use crate::truth::printed::{self, Printed};
use crate::worst::{Worst, largest, worse};
use ndarray::Array2;

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

/// A mean and a covariance.
pub type Moments = (Vec<f64>, Square);

/// The law at the end of runs.
fn run_moments(
    runs: &[(&dyn Stepper, usize)],
    score: &dyn Score,
    mean: &[f64],
    cov: &Square,
) -> Result<Moments> {
    Ok(run_law(runs, mean.len(), score)?.moments(mean, cov))
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

/// `a b`; sums go from the first term on.
fn product(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
        (0..a.ncols()).map(|l| a[(i, l)] * b[(l, j)]).sum()
    })
}

/// `a b a^T`.
fn sandwich(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    product(&product(a, b), &a.t().to_owned())
}

/// The law of a state and of what is carried with it.
struct Joint {
    mean: Vec<f64>,
    cov: Array2<f64>,
}

impl Joint {
    /// With the law of the state, all else being 0.
    fn new(state: &Moments, size: usize) -> Joint {
        let k = state.0.len();
        let mut mean = state.0.clone();
        mean.resize(size, 0.0);
        let cov =
            Array2::from_shape_fn(
                (size, size),
                |at @ (i, j)| {
                    if i < k && j < k { state.1[at] } else { 0.0 }
                },
            );
        Joint { mean, cov }
    }

    fn after(&self, step: &StepLaw) -> Joint {
        let rows = step.state.rows().into_iter().zip(&step.constant);
        let moved =
            rows.map(|(a, c)| a.iter().zip(&self.mean).map(|(a, m)| a * m).sum::<f64>() + c);
        let noise = product(&step.noise, &step.noise.t().to_owned());
        Joint {
            mean: moved.collect(),
            cov: sandwich(&step.state, &self.cov) + noise,
        }
    }

    /// The state's own law.
    fn state(&self, k: usize) -> Moments {
        let cov = Square::build(k, |i, j| self.cov[(i, j)]);
        (self.mean[..k].to_vec(), cov)
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
    let mut law = Joint::new(start, k + stepper.kept());
    let mut all = vec![start.clone()];
    for i in 0..steps {
        law = law.after(&step_law(stepper, i, k, score)?);
        all.push(law.state(k));
    }
    Ok(all)
}

/// A place in a mean or a covariance.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Mean(usize),
    Cov(usize, usize),
}

impl Place {
    fn is_cov(self) -> bool {
        matches!(self, Place::Cov(..))
    }

    fn of(self, law: &Moments) -> f64 {
        match self {
            Place::Mean(i) => law.0[i],
            Place::Cov(i, j) => law.1[(i, j)],
        }
    }
}

/// Entries of means and covariances, and their names.
fn entries(k: usize) -> Vec<(String, Place)> {
    let means = (0..k).map(|i| (format!("mean.{}", CHANNELS[i]), Place::Mean(i)));
    let upper = places(k).filter(|(i, j)| i <= j);
    let name = |i: usize, j: usize| format!("cov.{}{}", CHANNELS[i], CHANNELS[j]);
    let covs = upper.map(|(i, j)| (name(i, j), Place::Cov(i, j)));
    means.chain(covs).collect()
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
        let claim = |(entry, _): (String, Place)| {
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
        let whole = |l: &Moments| l.0.len() == k && l.1.k() == k;
        assert!(
            points.iter().all(|(_, f, e)| whole(f) && whole(e)),
            "laws of {k} channels"
        );
        let of = |cov: bool, x: &Moments| {
            if cov {
                largest(x.1.as_slice())
            } else {
                worse(largest(&x.0), largest(x.1.as_slice()).sqrt())
            }
        };
        let scale = |cov: bool| {
            points
                .iter()
                .map(|(_, _, x)| of(cov, x))
                .collect::<Worst>()
                .value()
        };
        let near = |(_, place): (String, Place)| {
            let unit = scale(place.is_cov());
            let point = |(at, found, expected): &(f64, Moments, Moments)| {
                let (found, expected) = (place.of(found), place.of(expected));
                Near::relative(*at, found, expected, self.tolerance, unit)
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

/// The errors of mean or covariance (`cov`) whose finest is largest among all entries and both
/// marks, down to the finest steps that are above rounding: a single entry's may cross zero, and
/// then shows the order of the next term; NaN is the largest.
fn weak_errors(s: &Subject<'_>, cov: bool, runs: &[[Moments; 2]], truths: &[Moments]) -> Measured {
    let mut best = (f64::NEG_INFINITY, vec![], 0.0, String::new());
    for (m, truth) in truths.iter().enumerate() {
        let size = if cov {
            largest(truth.1.as_slice())
        } else {
            largest(&truth.0)
        };
        let unit = worse(size, 1e-300);
        for (entry, place) in entries(s.diffusion.channels())
            .into_iter()
            .filter(|e| e.1.is_cov() == cov)
        {
            let errors: Vec<f64> = runs
                .iter()
                .map(|r| place.of(&r[m]) - place.of(truth))
                .collect();
            let large = errors[2].abs() / unit;
            if best.0 < large || large.is_nan() {
                best = (large, errors, unit, entry);
            }
        }
    }
    let (_, mut errors, size, entry) = best;
    while errors.len() > 2 && errors[errors.len() - 1].abs() <= ROUNDING * size {
        errors.pop();
    }
    Measured {
        name: format!("{}/{}", s.case, if cov { "cov" } else { "mean" }),
        steps: STEPS[..errors.len()].to_vec(),
        errors,
        size,
        rounding: ROUNDING,
        theory: s.order.weak,
        entry,
    }
}

/// Weak order, and the strong one where the draws are the increments of a Brownian path: with the
/// exact law at the start and the exact law at the end, what is left is the error of the sampler.
///
/// # Errors
/// Those of the sampler.
pub fn orders(s: &Subject<'_>) -> Result<Vec<Check>> {
    let start = s.data.law(FROM)?;
    let marks = [1, 2].map(|m| (m, FROM + (TO - FROM) * f64::from(m) / 2.0));
    let truths = [s.data.law(marks[0].1)?, s.data.law(marks[1].1)?];
    let mut runs = vec![];
    for n in STEPS {
        let laws = laws(&*(s.build)(s.diffusion, &equal(n)?)?, n, s.score, &start)?;
        runs.push([laws[n / 2].clone(), laws[n].clone()]);
    }
    let weak = |cov| Points::Order(weak_errors(s, cov, &runs, &truths));
    let mut all = vec![weak(false), weak(true)];
    let strong = strong_is_measured(s.diffusion, s.build, s.order)?;
    if let (true, Some(theory)) = (strong, s.order.strong) {
        let steps = STEPS[..4].to_vec();
        let errors = steps
            .iter()
            .map(|n| distance(s, *n, &start))
            .collect::<Result<Vec<_>>>()?;
        all.push(Points::Order(Measured {
            name: format!("{}/strong", s.case),
            steps,
            errors,
            size: largest(start.1.as_slice()).sqrt(),
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
    let mut joint = Joint::new(start, 2 * k);
    for i in 0..n {
        let c = step_law(&*coarse, i, k, s.score)?;
        let (a, b) = (
            step_law(&*fine, 2 * i, k, s.score)?,
            step_law(&*fine, 2 * i + 1, k, s.score)?,
        );
        joint = joint.after(&with_difference(&c, &a, &b));
    }
    Ok((k..2 * k)
        .map(|i| joint.cov[(i, i)] + joint.mean[i] * joint.mean[i])
        .sum::<f64>()
        .sqrt())
}

/// The finer run over its steps `a` and `b`, and with it the difference of the coarser one, whose
/// step is `c`, from it.
fn with_difference(c: &StepLaw, a: &StepLaw, b: &StepLaw) -> StepLaw {
    let (k, d) = (c.constant.len(), c.noise.ncols());
    let (two, first) = (product(&b.state, &a.state), product(&b.state, &a.noise));
    let mut joined = StepLaw {
        state: Array2::zeros((2 * k, 2 * k)),
        constant: vec![0.0; 2 * k],
        noise: Array2::zeros((2 * k, 2 * d)),
    };
    for r in 0..k {
        for l in 0..k {
            joined.state[(r, l)] = two[(r, l)];
            joined.state[(k + r, l)] = c.state[(r, l)] - two[(r, l)];
            joined.state[(k + r, k + l)] = c.state[(r, l)];
        }
        let moved: f64 = (0..k).map(|l| b.state[(r, l)] * a.constant[l]).sum();
        let end = moved + b.constant[r];
        (joined.constant[r], joined.constant[k + r]) = (end, c.constant[r] - end);
        for l in 0..d {
            // the draw of the long step is the sum of the short ones' over the root of 2
            let long = c.noise[(r, l)] * std::f64::consts::FRAC_1_SQRT_2;
            for (column, short) in [(l, first[(r, l)]), (d + l, b.noise[(r, l)])] {
                joined.noise[(r, column)] = short;
                joined.noise[(k + r, column)] = long - short;
            }
        }
    }
    joined
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
    let steps = laws(&*stepper, n, s.score, &s.data.law(FROM)?)?;
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
    let claim = |(entry, _): (String, Place)| {
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
        moments(0.0, &samples, &mean, cov.as_slice(), &CHANNELS)
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
    let points = [(TO, found, s.data.law(TO)?)];
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
                .flat_map(|(_, a)| a.claims(&about)),
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
    let start = data.law(FROM)?;
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
        let extrapolated = |c: f64, d: f64| d + (d - c) / f;
        table = table
            .windows(2)
            .map(|w| {
                w[0].iter()
                    .zip(&w[1])
                    .map(|(c, d)| {
                        let cov = |i, j| extrapolated(c.1[(i, j)], d.1[(i, j)]);
                        let mean = c.0.iter().zip(&d.0).map(|(c, d)| extrapolated(*c, *d));
                        (mean.collect(), Square::build(d.1.k(), cov))
                    })
                    .collect()
            })
            .collect();
    }
    let mut points = vec![];
    for (m, found) in table.remove(0).into_iter().enumerate() {
        let t = FROM + (TO - FROM) * (m + 1) as f64 / MARKS as f64;
        points.push((t, found, data.law(t)?));
    }
    MARGINAL.checks(&s, &points)
}

/// What is claimed by printed formulas; `None` for samplers that have none here.
fn agreement(d: &Diffusion, name: &str) -> Option<(Printed, Agreement)> {
    let (formula, printed) = match name {
        "em" => ("sampler.em", Printed::Em),
        "sscs" => ("sampler.sscs", Printed::Sscs),
        "sscs-first-half-twice" => ("sampler.sscs_first_half_twice", Printed::SscsFirstHalfTwice),
        _ => return None,
    };
    // SSCS splits off the stationary law's part
    let fits = printed == Printed::Em || d.process().stationary().is_some();
    let agreement = Agreement {
        what: "printed",
        formula,
        says: "from the prior to the end, without and with the denoising step, is that of the printed formulas in 106-bit arithmetic",
        reason: "steps whose matrices are right to 1e-15",
        tolerance: 1e-11,
    };
    fits.then_some((printed, agreement))
}

/// The law of Euler-Maruyama and of SSCS by the formulas as they are printed, in double words, with
/// transitions from drift and noise alone; with the denoising step at the end.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn printed(s: &Subject<'_>, name: &str) -> Result<Vec<Check>> {
    let d = s.diffusion;
    let (k, n) = (d.channels(), 24);
    let Some((printed, agreement)) = agreement(d, name) else {
        return Ok(vec![]);
    };
    let grid = Grid::spaced(crate::sampler::grid::Spacing::Quadratic, d, n, TO)?;
    let expected = printed::laws(d, DATA, printed, grid.times())?;
    let (stepper, last) = ((s.build)(d, &grid)?, Denoise::new(d, TO)?);
    let run =
        |runs: &[(&dyn Stepper, usize)]| run_moments(runs, s.score, &vec![0.0; k], &d.prior());
    let found = [run(&[(&*stepper, n)])?, run(&[(&*stepper, n), (&last, 1)])?];
    let times = [TO, 0.0].into_iter();
    let points: Vec<_> = times
        .zip(found)
        .zip(expected)
        .map(|((t, f), e)| (t, f, e))
        .collect();
    agreement.checks(s, &points)
}
