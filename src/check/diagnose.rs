//! Which mistake explains the answers: each hypothesis is computed from the truth side and held against them.
//!
//! An output is *explained* by a hypothesis if every value agrees with what that mistake would give: tightly (to the
//! tolerance of the array's type), or with the declared `epsilon_added` and the cancellation of the printed formulas
//! on top. Mistakes with a free value (the constant added, the factor of beta, the friction) are fitted to one value
//! of one output and must then reproduce all the others. The answer is a short list: the hypothesis that explains
//! most outputs first, then the one that explains most of the rest. Tight explanations come before loose ones.

use super::compare::{CANCELLATION, Class, Unit, distance, size, some_rows, tolerance};
use crate::files::Precision;
use crate::kernel::Objective;
use crate::process::{AnyProcess, Custom, Value, erase};
use crate::small::Mat;
use crate::truth::config::Config;
use crate::truth::predict::{Cell, Inputs, Model, predict};
use crate::truth::reading::SqrtDt;
use crate::truth::reverse::covers;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A likely mistake, and what it explains.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Short name, stable across versions; the list is in `docs/cross-check.md`.
    pub id: &'static str,
    /// In words.
    pub text: String,
    /// The fitted or declared value, where the mistake has one.
    pub value: Option<f64>,
    /// Number of outputs explained.
    pub explains: usize,
    /// Outputs explained, by `quantity.output`, with their number.
    pub outputs: BTreeMap<String, usize>,
    /// The entries.
    pub entries: Vec<String>,
    /// Whether some of them agree only after allowing for cancellation.
    pub cancellation: bool,
}

/// The mistakes known. The order decides between hypotheses that explain equally many outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    /// The constant that was added to the variances.
    Epsilon(f64),
    /// How M and 1/M were swapped: whether the friction, and the initial variance, were left right.
    InverseMass {
        friction_kept: bool,
        initial_kept: bool,
    },
    DsmForHsm,
    HsmForDsm,
    GammaNotTimesMass,
    FlipAll,
    FlipCov,
    FlipMean,
    OtherFactor,
    VarianceForFactor,
    DeviationForVariance,
    OneMinusT,
    /// The score at the end of a step.
    ScoreAtEnd,
    /// Half of the kick.
    HalfKick,
    /// Noise without its square root of dt, or with dt.
    NoiseOf(SqrtDt),
    PriorOne,
    DenoiseNoise,
    SecondHalf,
    /// Some part in single precision.
    SinglePart,
    /// Factor of beta and its integral.
    Rate(f64),
    /// The friction.
    Friction(f64),
    Cancellation,
    SinglePrecision,
    SingleCancellation,
}

use Mistake::*;

/// The mistakes without a free value, in the order of preference.
const FIXED: &[Mistake] = &[
    InverseMass { friction_kept: false, initial_kept: false },
    InverseMass { friction_kept: false, initial_kept: true },
    InverseMass { friction_kept: true, initial_kept: false },
    InverseMass { friction_kept: true, initial_kept: true },
    DsmForHsm,
    HsmForDsm,
    GammaNotTimesMass,
    FlipAll,
    FlipCov,
    FlipMean,
    OtherFactor,
    VarianceForFactor,
    DeviationForVariance,
    OneMinusT,
    ScoreAtEnd,
    HalfKick,
    NoiseOf(SqrtDt::Missing),
    NoiseOf(SqrtDt::Dt),
    PriorOne,
    DenoiseNoise,
    SecondHalf,
    SinglePart,
    Cancellation,
    SinglePrecision,
    SingleCancellation,
];

impl Mistake {
    fn id(self) -> &'static str {
        match self {
            Epsilon(_) => "epsilon-added",
            InverseMass { .. } => "mass-inverted",
            DsmForHsm => "dsm-for-hsm",
            HsmForDsm => "hsm-for-dsm",
            GammaNotTimesMass => "gamma-not-times-mass",
            FlipAll | FlipCov | FlipMean => "xv-sign",
            OtherFactor => "other-cholesky-factor",
            VarianceForFactor => "variance-for-standard-deviation",
            DeviationForVariance => "standard-deviation-for-variance",
            OneMinusT => "one-minus-t",
            ScoreAtEnd => "score-at-end-of-step",
            HalfKick => "half-kick",
            NoiseOf(_) => "noise-without-sqrt-dt",
            PriorOne => "prior-variance-one",
            DenoiseNoise => "denoise-with-noise",
            SecondHalf => "second-half-step",
            SinglePart => "single-precision-part",
            Rate(c) if is_half(c) => "beta-half",
            Rate(_) => "beta-factor",
            Friction(_) => "friction",
            Cancellation => "cancellation",
            SinglePrecision => "single-precision",
            SingleCancellation => "single-precision-cancellation",
        }
    }

    /// Whether the hypothesis is about the formulas, not about the arithmetic.
    fn changes_the_model(self) -> bool {
        !matches!(self, SinglePart | Cancellation | SinglePrecision | SingleCancellation)
    }

    fn value(self) -> Option<f64> {
        match self {
            Epsilon(x) | Rate(x) | Friction(x) => Some(x),
            _ => None,
        }
    }

    /// In words; `c` is the configuration of one of the entries.
    fn text(self, c: &Config) -> String {
        let mass = c.process().map_or(1.0, |p| p.mass());
        match self {
            Epsilon(e) if c.epsilon_added == e => format!("{e:e} is added to every variance, as declared"),
            Epsilon(e) if c.epsilon_added > 0.0 => format!("{e:e} is added to every variance (declared: {:e})", c.epsilon_added),
            Epsilon(e) => format!("{e:e} is added to every variance; without it the values would be right"),
            InverseMass { friction_kept, initial_kept } => {
                let kept = match (friction_kept, initial_kept && c.objective.gamma() > 0.0) {
                    (false, false) => "",
                    (true, false) => " (Gamma was left right)",
                    (false, true) => " (the initial variance gamma M was left right)",
                    (true, true) => " (Gamma and the initial variance gamma M were left right)",
                };
                format!("M and 1/M are swapped: the values are those of mass {}{kept}", 1.0 / mass)
            }
            DsmForHsm => "these are DSM values, where HSM was asked for: the initial velocity's variance gamma M is missing".into(),
            HsmForDsm => format!("these are HSM values (gamma = {}), where DSM was asked for", c.gamma.unwrap_or(PAPER_GAMMA)),
            GammaNotTimesMass => "the initial velocity has variance gamma, where it should be gamma M".into(),
            FlipAll => "the sign of the coupling of x and v is reversed (forward for reverse, or v for -v), in mean and covariance".into(),
            FlipCov => "the sign of the xv covariance is reversed".into(),
            FlipMean => "the sign of the coupling of x and v is reversed in the mean (or in the drift)".into(),
            OtherFactor if c.upper => "the lower Cholesky factor is used, where the upper one was declared".into(),
            OtherFactor => "the upper Cholesky factor is used, where the lower one is expected".into(),
            VarianceForFactor => "variances stand where standard deviations (the Cholesky factor) belong".into(),
            DeviationForVariance => "standard deviations stand where variances belong".into(),
            OneMinusT => "the values are those of time 1 - t: the clock runs backward".into(),
            ScoreAtEnd => "the score is taken at the end of the step, where it belongs to the start".into(),
            HalfKick => "a factor 2 is missing: half of G G^T multiplies the score (or all of it, where half belongs)".into(),
            NoiseOf(SqrtDt::Dt) => "the noise of a step grows with dt, where sqrt(dt) belongs".into(),
            NoiseOf(_) => "the noise of a step is without sqrt(dt)".into(),
            PriorOne => "the velocity's stationary variance is taken as 1, where it is M".into(),
            DenoiseNoise => "the denoising step adds noise".into(),
            SecondHalf => "the second analytic half step of SSCS has the other one's interval (it repeats the first, or should): the same only while beta is constant".into(),
            SinglePart => "right to single precision: some part (a network, a rate) was computed in f32".into(),
            Rate(x) if is_half(x) => format!("beta is {x} times what the schedule says: the beta/2 convention (an SDE written with beta/2, or without it) was mixed up"),
            Rate(x) => format!("beta, and its integral, are {x} times what the schedule says"),
            Friction(g) => {
                let critical = 2.0 * mass.sqrt();
                let asked = match c.params.0.get("Gamma") {
                    Some(Value::Number(x)) => format!("{x} was declared"),
                    _ => format!("critical damping is {critical}"),
                };
                format!("the friction is Gamma = {g}, where {asked}")
            }
            Cancellation => "cancellation: the printed formulas subtract nearly equal numbers, and the digits are lost as t -> 0 (use forms with positive terms only)".into(),
            SinglePrecision => "computed in single precision (f32), though stored as f64".into(),
            SingleCancellation => "computed in single precision (f32) with formulas that cancel: the digits are lost as t -> 0".into(),
        }
    }

    /// The process, objective and schedule with this mistake; `None` where the mistake cannot be made, or changes nothing.
    fn model(self, c: &Config, epsilon: f64) -> Option<Model> {
        let mut m = Model::new(c).ok()?;
        m.reading.epsilon = epsilon;
        let k = m.channels();
        let hsm = c.objective.name() == "hsm";
        let mass = m.process().mass();
        match self {
            Epsilon(e) => m.reading.epsilon = e,
            InverseMass { friction_kept, initial_kept } => {
                if mass == 1.0 || k != 2 || (initial_kept && !hsm) {
                    return None;
                }
                m.replace(inverse_mass(c, m.process(), friction_kept)?);
                // the initial variance is gamma times the process's own mass, now 1/M
                if initial_kept {
                    m.gamma = c.objective.gamma() * mass * mass;
                }
            }
            DsmForHsm if hsm && m.gamma > 0.0 => m.gamma = 0.0,
            HsmForDsm if !hsm && k > 1 => m.gamma = Objective::hsm(c.gamma.unwrap_or(PAPER_GAMMA)).ok()?.gamma(),
            GammaNotTimesMass if hsm && m.gamma > 0.0 && mass != 1.0 => m.gamma /= mass,
            FlipAll if k > 1 => (m.reading.flip_mean, m.reading.flip_cov) = (true, true),
            FlipCov if k > 1 => m.reading.flip_cov = true,
            FlipMean if k > 1 => m.reading.flip_mean = true,
            OtherFactor if k > 1 => m.reading.upper = !m.reading.upper,
            VarianceForFactor => m.reading.variance_for_factor = true,
            DeviationForVariance => m.reading.deviation_for_variance = true,
            OneMinusT => m.reading.one_minus_t = true,
            ScoreAtEnd => m.reading.score_at_end = true,
            HalfKick => m.reading.half_kick = true,
            NoiseOf(how) => m.reading.sqrt_dt = how,
            PriorOne if mass != 1.0 => m.reading.prior_one = true,
            DenoiseNoise => m.reading.denoise_noise = true,
            SecondHalf => m.reading.other_half = true,
            Rate(x) => m.reading.rate_factor = x,
            Friction(g) => {
                let mut params = c.params.clone();
                params.0.remove("damping");
                let allowed = c.entry.params.contains(&"damping") && c.entry.params.contains(&"Gamma");
                m.replace(c.entry.build(&allowed.then(|| params.with("Gamma", g))?).ok()?);
            }
            SinglePart | Cancellation | SinglePrecision | SingleCancellation => {}
            _ => return None,
        }
        Some(m)
    }
}

/// The paper's gamma, where a DSM file does not say which gamma its code would use.
const PAPER_GAMMA: f64 = 0.04;

fn is_half(c: f64) -> bool {
    c == 0.5 || c == 2.0
}

/// The process with 1/M for M, and the friction recomputed from it or kept.
fn inverse_mass(c: &Config, p: &dyn AnyProcess, friction_kept: bool) -> Option<Box<dyn AnyProcess>> {
    let mass = p.mass();
    let number = |name: &str| c.params.number(name).ok();
    match c.entry.name {
        "cld" | "sscs-analytic" => {
            let swapped = c.params.clone().with("mass", 1.0 / mass);
            if !friction_kept || number("Gamma").is_some() {
                return c.entry.build(&swapped).ok();
            }
            let mut general = swapped;
            general.0.remove("damping");
            c.entry.build(&general.with("Gamma", 2.0 * mass.sqrt())).ok()
        }
        "cld-position-noise" if !friction_kept => c.entry.build(&c.params.clone().with("a", 1.0 / number("a")?)).ok(),
        "psld" => {
            let (f, g) = (p.drift(), p.noise_at(0.0));
            let noise = if friction_kept { g[3] } else { g[3] / (mass * mass) };
            erase(Custom::<2>::new(Mat([[f[0], f[1] * mass * mass], [f[2], f[3]]]), Mat([[g[0], 0.0], [0.0, noise]]), 1.0 / mass).ok()?)
                .ok()
        }
        _ => None,
    }
}

/// How well a hypothesis explains an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    No,
    Loose,
    Tight,
}

/// Models are shared between the outputs of one configuration: their rows are computed once.
#[derive(Default)]
struct Models(HashMap<String, Option<Rc<Model>>>);

impl Models {
    fn get(&mut self, m: Mistake, c: &Config, epsilon: f64) -> Option<Rc<Model>> {
        let key = format!("{m:?} {epsilon} {} {}", c.to_answers(), c.epsilon_added);
        self.0.entry(key).or_insert_with(|| m.model(c, epsilon).map(Rc::new)).clone()
    }
}

/// The rows at which a hypothesis can be tested: all, or all with a positive time for `1 - t`.
fn usable(u: &Unit<'_>, m: Mistake) -> Vec<usize> {
    let n = u.cells.len() / u.columns;
    (0..n).filter(|r| m != OneMinusT || u.cells[r * u.columns].t < 1.0).collect()
}

/// At most `most` of `rows`, spread evenly, the last one among them.
fn spread(rows: &[usize], most: usize) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    (0..most).map(|i| rows[i * (rows.len() - 1) / (most - 1)]).collect()
}

/// What a hypothesis gives for some rows of an output, and what was answered.
fn values(u: &Unit<'_>, model: &Model, rows: &[usize]) -> Option<(Vec<Cell>, Vec<f64>)> {
    let subset = some_rows(&u.entry, rows);
    let inputs: Inputs<'_> = subset.iter().map(|(k, v)| (k.clone(), v)).collect();
    let (cells, _) = predict(&u.entry.quantity, model, &inputs, u.output).ok()?;
    let got: Vec<f64> = rows.iter().flat_map(|r| u.got.data[r * u.columns..(r + 1) * u.columns].iter().copied()).collect();
    (cells.len() == got.len()).then_some((cells, got))
}

/// Whether all values agree within `tolerance` times their size plus `cancellation` allowances.
fn agree(cells: &[Cell], got: &[f64], p: Precision, tolerance: f64, cancellation: f64) -> bool {
    cells.iter().zip(got).all(|(c, g)| distance(*g, c.truth, p) <= tolerance * size(c) + cancellation * c.cancellation)
}

/// f64 rounding, in units of which f32's is this large.
const SINGLE: f64 = 536_870_912.0; // 2^29

/// Tests a hypothesis: on a few rows first, then on all.
fn test(u: &Unit<'_>, m: Mistake, models: &mut Models) -> Match {
    let all = usable(u, m);
    if all.is_empty() {
        return Match::No;
    }
    // what is computed from arrays in f32 is held to f32 here: the verdict is about the numbers, this about their cause
    let single = u.entry.inputs.values().any(|a| a.precision != Precision::F64);
    let p = if single { Precision::F32 } else { u.got.precision };
    let tolerance = tolerance(p);
    let declared = u.entry.config.epsilon_added;
    let mut best = Match::No;
    let epsilons: &[f64] = if declared > 0.0 && !matches!(m, Epsilon(_)) { &[0.0, declared] } else { &[0.0] };
    for &epsilon in epsilons {
        let Some(model) = models.get(m, &u.entry.config, epsilon) else { continue };
        for rows in [spread(&all, 4), all.clone()] {
            let Some((cells, got)) = values(u, &model, &rows) else {
                break;
            };
            if m.changes_the_model() {
                // A mistake that leaves this output as it should be explains nothing about it.
                let epsilon = if epsilon_of(m).is_some() { 0.0 } else { epsilon };
                let plain = models.get(Epsilon(epsilon), &u.entry.config, epsilon).and_then(|plain| values(u, &plain, &rows));
                let same = |(right, _): &(Vec<Cell>, Vec<f64>)| {
                    cells.iter().zip(right).all(|(a, b)| relative_distance(a, b) <= tolerance.max(FIT))
                };
                if plain.as_ref().is_some_and(same) {
                    break;
                }
            }
            let found = match m {
                SinglePrecision => {
                    let single = |x: &f64| *x == f64::from(*x as f32);
                    if p == Precision::F64 && got.iter().all(single) && agree(&cells, &got, p, super::compare::F32_TOLERANCE, 0.0) {
                        Match::Tight
                    } else {
                        Match::No
                    }
                }
                SingleCancellation => {
                    let stored = p != Precision::F64 || got.iter().all(|x| *x == f64::from(*x as f32));
                    if stored && agree(&cells, &got, p, super::compare::F32_TOLERANCE, CANCELLATION * SINGLE) {
                        Match::Loose
                    } else {
                        Match::No
                    }
                }
                SinglePart => {
                    if covers(&u.entry.quantity) && agree(&cells, &got, p, super::compare::F32_TOLERANCE, CANCELLATION) {
                        Match::Loose
                    } else {
                        Match::No
                    }
                }
                // loose by nature, and never on the strength of an epsilon
                Cancellation if epsilon > 0.0 => Match::No,
                Cancellation => {
                    if agree(&cells, &got, p, tolerance, CANCELLATION) {
                        Match::Loose
                    } else {
                        Match::No
                    }
                }
                _ if epsilon == 0.0 && agree(&cells, &got, p, tolerance.max(FIT), 0.0) => Match::Tight,
                _ if agree(&cells, &got, p, tolerance.max(FIT), CANCELLATION) => Match::Loose,
                _ => Match::No,
            };
            if found == Match::No {
                break;
            }
            if rows.len() == all.len() {
                best = best.max_of(found);
                break;
            }
        }
    }
    best
}

/// The constant of a hypothesis that is nothing but an added constant.
fn epsilon_of(m: Mistake) -> Option<f64> {
    if let Epsilon(e) = m { Some(e) } else { None }
}

/// Distance of two predictions, relative to the second.
fn relative_distance(a: &Cell, b: &Cell) -> f64 {
    let d = (a.truth - b.truth).to_f64().abs();
    if d == 0.0 { 0.0 } else { d / size(b) }
}

/// What is allowed where a value was fitted: the fit's own rounding comes on top of the answers'.
const FIT: f64 = 4e-12;

impl Match {
    fn max_of(self, o: Match) -> Match {
        if self as u8 >= o as u8 { self } else { o }
    }
}

/// Values close to which a fitted factor is taken to be meant.
const NICE: &[f64] =
    &[0.5, 2.0, 0.25, 4.0, 0.125, 8.0, 1.0 / 3.0, 3.0, 0.1, 10.0, 1.5, std::f64::consts::FRAC_1_SQRT_2, std::f64::consts::SQRT_2];

/// Fits a mistake's free value to one answered value at a time; keeps those that then reproduce a few rows.
fn fit(u: &Unit<'_>, make: &dyn Fn(f64) -> Mistake, range: (f64, f64), models: &mut Models) -> Vec<Mistake> {
    let config = &u.entry.config;
    let rows = usable(u, make(range.0));
    // One number fits any one-parameter family: ask for more than that.
    let mut distinct: Vec<u64> = u.got.data.iter().filter(|x| x.is_finite() && **x != 0.0).map(|x| x.to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 3 || rows.len() < 2 {
        return vec![];
    }
    let declared = config.epsilon_added;
    let mut found: Vec<Mistake> = Vec::new();
    // The largest error says most; a row in the middle is a second chance where that one saturates.
    let worst = rows.iter().copied().filter(|r| u.errors[r * u.columns].is_finite()).max_by(|a, b| {
        let e = |r: &usize| (0..u.columns).map(|c| u.errors[r * u.columns + c]).filter(|x| x.is_finite()).fold(0.0, f64::max);
        e(a).total_cmp(&e(b))
    });
    let tries: Vec<usize> =
        [worst, Some(rows[rows.len() / 2]), Some(rows[rows.len() - 1 - rows.len() / 8])].into_iter().flatten().collect();
    for row in tries {
        let column = (0..u.columns).max_by(|a, b| u.errors[row * u.columns + a].total_cmp(&u.errors[row * u.columns + b])).unwrap_or(0);
        let got = u.got.data[row * u.columns + column];
        if !got.is_finite() {
            continue;
        }
        let miss = |x: f64| -> Option<f64> {
            let base = if matches!(make(x), Epsilon(_)) { 0.0 } else { declared };
            let model = make(x).model(config, base)?;
            let (cells, _) = values(u, &model, &[row])?;
            let d = (cells[column].truth - crate::dd::Dd::from(got)).to_f64();
            d.is_finite().then_some(d)
        };
        let grid = 48;
        let at = |i: usize| range.0 * (range.1 / range.0).powf(i as f64 / grid as f64);
        let mut before: Option<(f64, f64)> = None;
        for i in 0..=grid {
            let x = at(i);
            let Some(y) = miss(x) else {
                before = None;
                continue;
            };
            if let Some((x0, y0)) = before.filter(|(_, y0)| (*y0 <= 0.0) != (y <= 0.0)) {
                let (mut a, mut b, mut ya) = (x0, x, y0);
                for _ in 0..70 {
                    let mid = (a * b).sqrt();
                    let Some(ym) = miss(mid) else { break };
                    if (ym <= 0.0) == (ya <= 0.0) {
                        (a, ya) = (mid, ym);
                    } else {
                        b = mid;
                    }
                }
                let x = nice(0.5 * (a + b), matches!(make(1.0), Epsilon(_)));
                let h = make(x);
                if !found.contains(&h) && test(u, h, models) != Match::No {
                    found.push(h);
                }
            }
            before = Some((x, y));
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}

/// The nearest round value, if it is so near that it must be meant.
fn nice(x: f64, epsilon: bool) -> f64 {
    if epsilon {
        // cancellation on top of the constant leaves it known to some 1e-16 absolute
        for digits in 1..=3 {
            let scale = 10f64.powi(digits - 1 - x.log10().floor() as i32);
            let round = (x * scale).round() / scale;
            let round: f64 = format!("{round:.2e}").parse().unwrap_or(round);
            if (round - x).abs() <= 1e-14 + 1e-9 * x {
                return round;
            }
        }
        return x;
    }
    NICE.iter().copied().chain((1..=400).map(|i| f64::from(i) / 20.0)).find(|n| (x / n - 1.0).abs() < 1e-10).unwrap_or(x)
}

/// The mistakes that explain `units` (outputs that are not right), and the outputs that none explains.
pub(super) fn diagnose(units: &[&Unit<'_>], progress: &mut dyn FnMut(usize, usize)) -> (Vec<Diagnosis>, Vec<String>) {
    let mut models = Models::default();
    let mut pool: Vec<Mistake> = Vec::new();
    for u in units {
        let declared = Epsilon(u.entry.config.epsilon_added);
        if u.entry.config.epsilon_added > 0.0 && !pool.contains(&declared) {
            pool.push(declared);
        }
    }
    pool.extend_from_slice(FIXED);
    let mut table: Vec<Vec<Match>> = Vec::with_capacity(units.len());
    for (i, u) in units.iter().enumerate() {
        progress(i, units.len());
        if u.class == Class::Eps {
            // settled: right with the constant that the file declares
            let declared = Epsilon(u.entry.config.epsilon_added);
            table.push(pool.iter().map(|m| if *m == declared { Match::Tight } else { Match::No }).collect());
            continue;
        }
        let mut row: Vec<Match> = pool.iter().map(|m| test(u, *m, &mut models)).collect();
        // A tight explanation needs no fit; neither does a loose one of a value that is known.
        let known = row.iter().zip(&pool).any(|(r, m)| {
            *r == Match::Tight
                || (*r == Match::Loose && m.value().is_some())
                || (*r == Match::Loose && matches!(m, Cancellation | SinglePart))
        });
        if !known {
            let critical = 2.0 * u.entry.config.process().map_or(1.0, |p| p.mass()).sqrt();
            let mut new = fit(u, &Epsilon, (1e-15, 0.1), &mut models);
            new.extend(fit(u, &Rate, (0.05, 20.5), &mut models));
            if u.entry.config.entry.params.contains(&"damping") {
                new.extend(fit(u, &Friction, (critical / 20.0, critical * 20.0), &mut models));
            }
            for m in new {
                if !pool.contains(&m) {
                    pool.push(m);
                    row.push(test(u, m, &mut models));
                }
            }
        }
        table.push(row);
    }
    // Hypotheses found late have not met the earlier outputs yet.
    for (u, row) in units.iter().zip(&mut table) {
        for m in pool.iter().skip(row.len()) {
            row.push(if u.class == Class::Eps { Match::No } else { test(u, *m, &mut models) });
        }
        // Where a constant or cancellation alone will do, nothing needs to be loose about a mistake on top of them.
        let plain = |m: &Mistake| epsilon_of(*m).is_some() || *m == Cancellation;
        if row.iter().zip(&pool).any(|(r, m)| plain(m) && *r != Match::No) {
            row.iter_mut().zip(&pool).filter(|(r, m)| **r == Match::Loose && !plain(m)).for_each(|(r, _)| *r = Match::No);
        }
    }
    cover(units, &pool, &table)
}

/// The hypothesis that explains most of what is left, again and again; tight explanations before loose ones.
fn cover(units: &[&Unit<'_>], pool: &[Mistake], table: &[Vec<Match>]) -> (Vec<Diagnosis>, Vec<String>) {
    let mut left: Vec<usize> = (0..units.len()).collect();
    let mut explained: Vec<Vec<usize>> = vec![Vec::new(); pool.len()];
    let mut order: Vec<usize> = Vec::new();
    for least in [Match::Tight, Match::Loose] {
        loop {
            let count = |h: usize| left.iter().filter(|u| table[**u][h] as u8 >= least as u8).count();
            let Some(best) = (0..pool.len()).rev().max_by_key(|h| (count(*h), preference(pool[*h]))).filter(|h| count(*h) > 0) else {
                break;
            };
            let (taken, rest): (Vec<usize>, Vec<usize>) = left.iter().partition(|u| table[**u][best] as u8 >= least as u8);
            left = rest;
            explained[best].extend(taken);
            if !order.contains(&best) {
                order.push(best);
            }
        }
    }
    order.sort_by_key(|h| std::cmp::Reverse(explained[*h].len()));
    let diagnoses = order
        .into_iter()
        .map(|h| {
            let list = &explained[h];
            let (mut outputs, mut entries) = (BTreeMap::new(), Vec::new());
            for &u in list {
                *outputs.entry(format!("{}.{}", units[u].entry.quantity, units[u].output)).or_insert(0) += 1;
                if !entries.contains(&units[u].entry.id) {
                    entries.push(units[u].entry.id.clone());
                }
            }
            Diagnosis {
                id: pool[h].id(),
                text: pool[h].text(&units[list[0]].entry.config),
                value: pool[h].value(),
                explains: list.len(),
                outputs,
                entries,
                cancellation: list.iter().any(|u| table[*u][h] == Match::Loose),
            }
        })
        .collect();
    (diagnoses, left.into_iter().map(|u| format!("{} {}", units[u].entry.id, units[u].output)).collect())
}

/// Between hypotheses that explain equally many outputs, the one listed first; fitted values last.
fn preference(m: Mistake) -> i32 {
    let fixed = FIXED.iter().position(|f| *f == m).map(|i| -(i as i32));
    match m {
        Epsilon(_) => 1,
        Rate(_) => -100,
        Friction(_) => -101,
        SinglePart => -105,
        Cancellation => -102,
        SinglePrecision => -103,
        SingleCancellation => -104,
        _ => fixed.unwrap_or(-99),
    }
}
