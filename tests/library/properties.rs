//! Properties of every process of the registry, of chains with any couplings and of `Custom`:
//! random parameters, schedules and times from fixed seeds (the stream of a property is fixed by
//! its name).
//!
//! What each property sees. Every row of `PLANTED` is planted anew in each run
//! (`each_property_reports_the_mistakes_it_names`) and has to be reported; below are examples, with
//! the assertion that reports them.
//!
//! | property | planted mistake | reported by |
//! |---|---|---|
//! | chapman-kolmogorov | sign of S_xv; any entry of Phi or S off by 1e-6; sub-VP started from 0, or composed in the wrong order | mean, covariance of the composition |
//! | factors | S_22 of a chain, a determinant, an inverse factor off by 1e-6; 15 mistakes in single factors (`wrong_factors_are_reported`) | lower factor times its transpose, and the others |
//! | stationary | noise Gamma for 2 Gamma; gamma for gamma M; Phi transposed | Lyapunov equation; S - Phi (S - Sigma0) Phi^T |
//! | limit | noise Gamma for 2 Gamma; S_xx off by 1e-6; NaN for late times | mean, covariance at infinity |
//! | small-time | 1e-9 added to the variances; VP in half its clock; sub-VP with VP's noise | leading term, order of the entry |
//! | scaling-in-mass | S_xv without sqrt(M); Phi_xv without 1/M | covariance, mean against mass 1 |
//! | smooth-at-critical | a jump of 1e-6 above critical; abs(delta) for delta | just above critical; a kink at critical |
//! | reduces-to-cld | PSLD at full speed; sigma for sigma^2 | mean, covariance against CLD |
//! | hsm-is-dsm-plus-initial | gamma over x as well; the first column of Phi; gamma for gamma M | HSM covariance |
//! | reversed | forward signs in the reversed part; S_xv alone with its forward sign; Phi^T for S Phi^T S^-1 | reversed mean; reversed covariance by doubling |
//! | closed-form-is-doubling | S_xx, Phi_xv, Phi_vv off by 1e-6; 1e-9 added to the variances | covariance, mean by doubling |
//! | conversions | determinant without M; an inverse that is not its factor's | score against the inverse |
//!
//! What Chapman-Kolmogorov cannot see: a factor on the whole covariance, and another but consistent
//! start (gamma for gamma M). The others do.
//!
//! Planted once each in the source, and seen to fail in this file and in
//! `tests/library/oracles.rs`:
//!
//! | mistake | properties that failed | oracles that failed |
//! |---|---|---|
//! | cld: minus S_xv | chapman-kolmogorov, stationary, small-time, hsm-is-dsm-plus-initial, smooth-at-critical, reduces-to-cld, reversed | doubling, moment equations |
//! | cld: gamma along the first column of Phi in S_xx | small-time, factors, hsm-is-dsm-plus-initial, stationary, conversions and four more | doubling, moment equations |
//! | cld: Phi transposed | chapman-kolmogorov, stationary, scaling-in-mass, hsm-is-dsm-plus-initial, reversed, smooth-at-critical, reduces-to-cld | doubling, moment equations, late times |
//! | cld: S_xv times M for sqrt(M) | scaling-in-mass, small-time, factors and eight more | doubling, moment equations, late times |
//! | cld, any damping: noise Gamma for 2 Gamma | Lyapunov equation, small-time, reversed | doubling, moment equations, late times |
//! | cld, any damping: abs(delta) in the series | a kink at critical, chapman-kolmogorov, stationary, reversed, reduces-to-cld | doubling, moment equations |
//! | psld: Phi_vx at full speed | chapman-kolmogorov, stationary, reduces-to-cld, reversed | doubling, moment equations, late times |
//! | position noise: epsilon for epsilon^2 | small-time, stationary, limit | doubling, moment equations, late times |
//! | doubling: Phi^T for Phi at the start's covariance | chapman-kolmogorov, factors, small-time, hsm-is-dsm-plus-initial and four more | doubling, moment equations, late times |
//! | doubling composed in the wrong order, Q + Phi^T Q Phi | chapman-kolmogorov, stationary, reversed, reduces-to-cld | doubling, moment equations, late times |
//! | reversed part with the forward signs | reversed, small-time | doubling, moment equations, late times |
//! | sub-VP started from 0 | chapman-kolmogorov | doubling, moment equations |
//! | ell from the marginal variance | factors, conversions | - |
//! | score by L for L^-T | conversions: eps from score | - |
//! | integral of the linear schedule without its half | chapman-kolmogorov | moment equations |
//! | couplings of a chain swapped | Lyapunov equation, chapman-kolmogorov, small-time, reversed | moment equations |
//! | log-density with the whole log-determinant | conversions: mode | - |

use crate::support::{
    abs, add, close, diagonal, keeps_sign, mean_scale, mul, rate, sandwich, spread, transpose,
};
use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::small::{Mat, Square};
use cld_sgm::internal::worst::worse;
use cld_sgm::kernel::{Kernel, KernelValues, Objective, kernel_values};
use cld_sgm::process::{
    AnyLaw, AnyMoments, AnyProcess, Cld, CldDamped, CldPosition, Custom, Langevin, Params, Psld,
    REGISTRY, Reversed, Vp, doubling, entry, erase,
};
use cld_sgm::schedule::{Schedule, Span};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::Cell;

const ULP: f64 = f64::EPSILON;

// ---------------------------------------------------------------------------------------------------------------
// Cases: a process, its parameters, a schedule, three times.

/// A spoiler turns right moments into those of a mistaken implementation.
pub(super) type Spoil = fn(&dyn AnyProcess, Span, f64) -> AnyMoments;

#[derive(Clone, Debug)]
struct Case {
    name: &'static str,
    /// By name, as the registry reads them (`custom` and `chain` have their numbers in `raw`).
    params: Vec<(&'static str, f64)>,
    raw: Vec<f64>,
    schedule: Schedule,
    /// `r < s < t`
    times: [f64; 3],
    gamma: f64,
    /// Standard normal-ish numbers for states and noise.
    z: [f64; 8],
    spoil: Option<Spoil>,
}

/// A process with other moments, and no way of its own to write columns.
pub(super) struct Planted(pub(super) Box<dyn AnyProcess>, pub(super) Spoil);

impl AnyProcess for Planted {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn channels(&self) -> usize {
        self.0.channels()
    }
    fn drift(&self) -> Square {
        self.0.drift()
    }
    fn noise_at(&self, start: f64) -> Square {
        self.0.noise_at(start)
    }
    fn stationary(&self) -> Option<Square> {
        self.0.stationary()
    }
    fn prior(&self, horizon: f64) -> Square {
        self.0.prior(horizon)
    }
    fn mass(&self) -> f64 {
        self.0.mass()
    }
    fn initial(&self, gamma: f64) -> Vec<f64> {
        self.0.initial(gamma)
    }
    fn moments(&self, on: Span, gamma: f64) -> AnyMoments {
        (self.1)(&*self.0, on, gamma)
    }
    fn law(&self, on: Span, gamma: f64, epsilon: f64) -> AnyLaw {
        self.0.law(on, gamma, epsilon)
    }
    fn reversed_moments(&self, on: Span) -> cld_sgm::Result<AnyMoments> {
        self.0.reversed_moments(on)
    }
}

impl Case {
    fn get(&self, name: &str) -> Option<f64> {
        self.params.iter().find(|p| p.0 == name).map(|p| p.1)
    }

    fn wrap(&self, p: Box<dyn AnyProcess>) -> Box<dyn AnyProcess> {
        match self.spoil {
            Some(s) => Box::new(Planted(p, s)),
            None => p,
        }
    }

    fn process(&self) -> Box<dyn AnyProcess> {
        let p = match self.name {
            "custom" => match self.raw.len() {
                2 => custom::<1>(&self.raw),
                8 => custom::<2>(&self.raw),
                18 => custom::<3>(&self.raw),
                _ => custom::<4>(&self.raw),
            },
            "chain" => match self.raw.len() {
                2 => erase(Langevin::<2>::new(&self.raw[1..], self.raw[0]).unwrap()).unwrap(),
                3 => erase(Langevin::<3>::new(&self.raw[1..], self.raw[0]).unwrap()).unwrap(),
                _ => erase(Langevin::<4>::new(&self.raw[1..], self.raw[0]).unwrap()).unwrap(),
            },
            name => {
                let params = self
                    .params
                    .iter()
                    .fold(Params::default(), |p, (n, x)| p.with(n, *x));
                entry(name).unwrap().build(&params).unwrap()
            }
        };
        self.wrap(p)
    }

    fn span(&self, i: usize, j: usize) -> Span {
        self.schedule.span(self.times[i], self.times[j]).unwrap()
    }

    /// The integral of the rate from `start` to the last time.
    fn span_from(&self, start: f64) -> f64 {
        self.schedule.integral(start, self.times[2]).unwrap()
    }

    /// The process's own claim, relative to an entry or its largest term: 8 ulp for critical CLD,
    /// one rounding for the generic route (asked: 2), 1e-13 for the rest.
    fn accuracy(&self) -> f64 {
        match self.name {
            "cld" | "sscs-analytic" if self.get("Gamma").is_none() => 8.0 * ULP,
            "custom" | "chain" | "langevin-order-n" => 2.0 * ULP,
            "vp" | "ve" | "sub-vp" => 4.0 * ULP,
            _ => 1e-13,
        }
    }
}

fn custom<const K: usize>(raw: &[f64]) -> Box<dyn AnyProcess> {
    let drift = Mat::<K>::build(|i, j| raw[i * K + j]);
    let root = Mat::<K>::build(|i, j| raw[K * K + i * K + j]);
    erase(Custom::new(drift, root.matmul(&root.transpose()), 1.5).unwrap()).unwrap()
}

fn log_uniform(a: f64, b: f64) -> impl Strategy<Value = f64> {
    (a.log10()..b.log10()).prop_map(|e| 10f64.powf(e))
}

fn zero_or(s: impl Strategy<Value = f64> + 'static) -> BoxedStrategy<f64> {
    prop_oneof![1 => Just(0.0), 2 => s].boxed()
}

/// Gamma / (2 sqrt M): absent (critical), near 1 by 1e-15 to 1e-3 on either side, under, over.
fn damping() -> BoxedStrategy<Option<f64>> {
    prop_oneof![
        2 => Just(None),
        1 => ((-15.0..-3.0), any::<bool>()).prop_map(|(e, up)| Some(1.0 + if up { 1.0 } else { -1.0 } * 10f64.powf(e))),
        1 => log_uniform(1e-3, 1.0).prop_map(Some),
        1 => log_uniform(1.0, 1e3).prop_map(Some),
    ]
    .boxed()
}

type Parameters = (Vec<(&'static str, f64)>, Vec<f64>);

fn parameters(name: &'static str) -> BoxedStrategy<Parameters> {
    let mass = || log_uniform(1e-4, 1e4);
    match name {
        "cld" | "sscs-analytic" => (mass(), damping())
            .prop_map(|(m, ratio)| {
                let mut p = vec![("mass", m)];
                p.extend(ratio.map(|r| ("Gamma", 2.0 * m.sqrt() * r)));
                (p, vec![])
            })
            .boxed(),
        "psld" => (mass(), zero_or(log_uniform(1e-3, 1e2)), any::<bool>())
            .prop_map(|(m, low, swap)| {
                let high = low + 2.0 / m.sqrt();
                let (g, nu) = if swap { (high, low) } else { (low, high) };
                (vec![("Gamma", g), ("nu", nu)], vec![])
            })
            .boxed(),
        "cld-position-noise" => (
            mass(),
            zero_or(log_uniform(1e-3, 1e2)),
            zero_or(log_uniform(1e-3, 1e2)),
        )
            .prop_map(|(m, e, s)| {
                let sigma = if e == 0.0 && s == 0.0 {
                    2.0 * m.sqrt().sqrt()
                } else {
                    s
                };
                (
                    vec![("a", 1.0 / m.sqrt()), ("epsilon", e), ("sigma", sigma)],
                    vec![],
                )
            })
            .boxed(),
        "langevin-order-n" => (2..5)
            .prop_map(|n| (vec![("order", f64::from(n))], vec![]))
            .boxed(),
        "chain" => (2usize..5)
            .prop_flat_map(|n| prop::collection::vec(log_uniform(0.3, 3.0), n))
            .prop_map(|raw| (vec![], raw))
            .boxed(),
        "custom" => (1usize..5)
            .prop_flat_map(|k| prop::collection::vec(-2.0..2.0, 2 * k * k))
            .prop_map(|raw| (vec![], raw))
            .boxed(),
        _ => Just((vec![], vec![])).boxed(),
    }
}

fn schedule() -> BoxedStrategy<Schedule> {
    prop_oneof![
        log_uniform(0.1, 20.0).prop_map(|b| Schedule::constant(b).unwrap()),
        (0.0..5.0, 0.1..20.0).prop_map(|(a, b)| Schedule::linear(a, b).unwrap()),
        (0.001..0.1, 0.5..0.9946).prop_map(|(s0, t)| Schedule::cosine(s0, t).unwrap()),
        (0.001..0.1, 1.0..5.0).prop_map(|(a, b)| Schedule::geometric(a, b).unwrap()),
    ]
    .boxed()
}

/// An earlier time: a fraction, close by (to 1e-14 relative), or far below.
fn earlier() -> BoxedStrategy<f64> {
    prop_oneof![
        0.01..0.99,
        (-14.0..0.0).prop_map(|e: f64| 1.0 - 10f64.powf(e)),
        (-6.0..0.0).prop_map(|e: f64| 10f64.powf(e))
    ]
    .boxed()
}

fn cases(names: Vec<&'static str>, spoil: Option<Spoil>) -> BoxedStrategy<Case> {
    let gamma = prop_oneof![log_uniform(1e-3, 2.0), Just(0.04), log_uniform(2.0, 50.0)];
    let times = (
        log_uniform(1e-12, 1.0),
        earlier(),
        prop_oneof![3 => earlier(), 1 => Just(0.0)],
    )
        .prop_map(|(t, a, b)| {
            let s = (t * a).min(t.next_down());
            [(s * b).min(s.next_down()), s, t]
        });
    let pick =
        prop::sample::select(names).prop_flat_map(|n| parameters(n).prop_map(move |p| (n, p)));
    (
        pick,
        schedule(),
        times,
        gamma,
        prop::array::uniform8(-3.0..3.0),
    )
        .prop_map(
            move |((name, (params, raw)), schedule, times, gamma, z)| Case {
                name,
                params,
                raw,
                schedule,
                times,
                gamma,
                z,
                spoil,
            },
        )
        .boxed()
}

fn all_names() -> Vec<&'static str> {
    REGISTRY
        .iter()
        .map(|e| e.name)
        .chain(["chain", "custom"])
        .collect()
}

/// Ok(true) checked, Ok(false) the property says nothing of this case.
type Check = Result<bool, String>;

// ---------------------------------------------------------------------------------------------------------------
// The properties.

/// Chapman-Kolmogorov. Catches: an entry wrong by more than rounding (sign of xv, one entry scaled,
/// Phi transposed), a transition that depends on `s` where it must not or does not where it must
/// (sub-VP), initial variance misplaced.
fn chapman_kolmogorov(p: &dyn AnyProcess, c: &Case) -> Check {
    let k = p.channels();
    let (rs, st, rt) = (c.span(0, 1), c.span(1, 2), c.span(0, 2));
    // three roundings-to-claim enter (two factors and the whole), the products add a few ulp
    let tolerance = 3.0 * c.accuracy() + 8.0 * ULP;
    let second = p.moments(st, 0.0);
    let phi_scale = mean_scale(p, &second.mean, st.tau.to_f64());
    for gamma in [0.0, c.gamma] {
        let (first, whole) = (p.moments(rs, gamma), p.moments(rt, gamma));
        let scale = add(
            &mul(&phi_scale, &mean_scale(p, &first.mean, rs.tau.to_f64()), k),
            &mean_scale(p, &whole.mean, rt.tau.to_f64()),
        );
        close(
            "mean of the composition",
            &mul(&second.mean, &first.mean, k),
            &whole.mean,
            &scale,
            tolerance,
        )?;
        let scale = add(
            &add(
                &sandwich(&phi_scale, &spread(&first.cov, k), k),
                &spread(&second.cov, k),
            ),
            &spread(&whole.cov, k),
        );
        let cov = add(&sandwich(&second.mean, &first.cov, k), &second.cov);
        close(
            "covariance of the composition",
            &cov,
            &whole.cov,
            &scale,
            tolerance,
        )?;
    }
    Ok(true)
}

/// Everything read off a covariance, given as numbers. Catches: lower taken for upper, a transposed
/// inverse factor, variance for standard deviation, a determinant or `ell` of another formula.
fn factors_of(v: &KernelValues, accuracy: f64) -> Check {
    let k = v.k;
    for e in 0..k * k {
        let (i, j) = (e / k, e % k);
        if v.cov[(e / k, e % k)] != v.cov[(j, i)] {
            return Err(format!("covariance is not symmetric: {:?}", v.cov));
        }
        let zero = |m: &Square, place: bool| !place || m[(i, j)] == 0.0;
        if !(zero(&v.chol_lower, j > i) && zero(&v.chol_upper, j < i)) {
            return Err("a factor is not triangular".into());
        }
        if !(zero(&v.inverse_transpose_lower, j < i) && zero(&v.inverse_transpose_upper, j > i)) {
            return Err("an inverse transpose is not triangular the other way".into());
        }
        if i == j
            && !(v.cov[(e / k, e % k)] > 0.0
                && v.chol_lower[(e / k, e % k)] > 0.0
                && v.chol_upper[(e / k, e % k)] > 0.0
                && v.inv[(e / k, e % k)] > 0.0)
        {
            return Err(format!("not positive definite: {v:?}"));
        }
    }
    // Two factors, each as accurate as the covariance claims, and k products. Where the claim
    // allows an entry its error relative to sqrt(S_ii S_jj), factors of the Schur complement are
    // off by its inverse correlation: at most 16 for two channels (1 - r^2 >= 1/4, DESIGN 2); the
    // generic route works in double words.
    let tolerance = 16.0 * accuracy + 8.0 * ULP;
    // An entry in which equal terms cancel (chains with equal initial variances) is good to double
    // words of those terms: 1e-28 of the entry's natural size, which is sqrt(S_ii S_jj) for S and
    // its inverse, 1 between noises.
    let product = |what: &str, a: &Square, b: &Square, want: &Square, size: &[f64]| {
        let terms = add(&mul(&abs(a), &abs(b), k), &abs(want));
        close(
            what,
            &mul(a, b, k),
            want,
            &add(
                &terms,
                &size
                    .iter()
                    .map(|x| 1e-28 / tolerance * x)
                    .collect::<Vec<_>>(),
            ),
            tolerance,
        )
    };
    let (one, ones) = (Square::identity(k), vec![1.0; k * k]);
    let t = Square::transpose;
    let (s, i) = (spread(&v.cov, k), spread(&v.inv, k));
    let mixed: Vec<f64> = (0..k * k)
        .map(|e| (v.inv[(e / k, e / k)].sqrt()) * v.cov[(e % k, e % k)].sqrt())
        .collect();
    product(
        "lower factor times its transpose",
        &v.chol_lower,
        &t(&v.chol_lower),
        &v.cov,
        &s,
    )?;
    product(
        "upper factor times its transpose",
        &v.chol_upper,
        &t(&v.chol_upper),
        &v.cov,
        &s,
    )?;
    product(
        "lower factor and its inverse transpose",
        &t(&v.chol_lower),
        &v.inverse_transpose_lower,
        &one,
        &ones,
    )?;
    product(
        "upper factor and its inverse transpose",
        &t(&v.chol_upper),
        &v.inverse_transpose_upper,
        &one,
        &ones,
    )?;
    product(
        "inverse from the lower factor",
        &v.inverse_transpose_lower,
        &t(&v.inverse_transpose_lower),
        &v.inv,
        &i,
    )?;
    product(
        "inverse from the upper factor",
        &v.inverse_transpose_upper,
        &t(&v.inverse_transpose_upper),
        &v.inv,
        &i,
    )?;
    product("inverse times covariance", &v.inv, &v.cov, &one, &mixed)?;
    let squares = |l: &Square| (0..k).map(|i| l[(i, i)] * l[(i, i)]).product::<f64>();
    close(
        "determinant",
        &[squares(&v.chol_lower), squares(&v.chol_upper)],
        &[v.det; 2],
        &[v.det; 2],
        2.0 * k as f64 * tolerance,
    )?;
    close(
        "log-determinant",
        &[v.logdet],
        &[v.det.ln()],
        &[worse(v.logdet.abs(), 1.0)],
        8.0 * ULP,
    )?;
    let last = k * k - 1;
    close(
        "ell",
        &[v.ell],
        &[v.inverse_transpose_lower[(last / k, last % k)]],
        &[v.ell],
        tolerance,
    )?;
    close(
        "ell is the precision's root",
        &[v.ell * v.ell],
        &[v.inv[(last / k, last % k)]],
        &[v.inv[(last / k, last % k)]],
        tolerance,
    )?;
    close(
        "snr",
        &[v.snr],
        &[v.mean[(0, 0)] * v.mean[(0, 0)] / v.cov[(0, 0)]],
        &[v.snr],
        4.0 * ULP,
    )?;
    let joint = |a: &dyn Fn(f64) -> f64| {
        (0..k * k)
            .map(|e| a(v.mean[(e / k, 0)]) * a(v.inv[(e / k, e % k)]) * a(v.mean[(e % k, 0)]))
            .sum::<f64>()
    };
    // w = L^-1 phi by forward substitution: off by k ulp of |L^-1| |L| |w|, and w^2 by twice that
    let inverse = abs(&t(&v.inverse_transpose_lower));
    let w: Vec<f64> = (0..k)
        .map(|i| {
            (0..k)
                .map(|j| v.inverse_transpose_lower[(j, i)] * v.mean[(j, 0)])
                .sum::<f64>()
                .abs()
        })
        .collect();
    let moves = mul(&inverse, &abs(&v.chol_lower), k);
    let substitution: f64 = (0..k * k)
        .map(|e| 2.0 * w[e / k] * moves[e] * w[e % k])
        .sum();
    close(
        "joint snr",
        &[v.snr_joint],
        &[joint(&|x| x)],
        &[joint(&f64::abs) + substitution],
        tolerance,
    )?;
    Ok(true)
}

/// The kernel over [0,t] and the transition over [s,t], both objectives; see [`factors_of`].
fn factors(p: &dyn AnyProcess, c: &Case) -> Check {
    let hsm = Objective::hsm(c.gamma).unwrap();
    for o in [Objective::DSM, hsm] {
        if o == hsm && p.channels() == 1 {
            continue;
        }
        for start in [0.0, c.times[1]] {
            match kernel_values(p, &c.schedule, o, start, c.times[2]) {
                Ok(v) => {
                    // Drawn drifts may grow: late on, S is nearly singular and its root, from a
                    // Cholesky factor in double words, is off by 1e-31 times the condition
                    let k = v.k;
                    let condition = (0..k)
                        .map(|i| v.cov[(i, i)] * v.inv[(i, i)])
                        .fold(0.0, worse);
                    let grown = if c.name == "custom" {
                        1e-31 * condition
                    } else {
                        0.0
                    };
                    factors_of(&v, c.accuracy() + grown)?
                }
                // noise in the last of k channels: det is of order tau^(k^2), which for a chain of
                // four leaves f64
                Err(e)
                    if e.to_string().contains("not a normal f64")
                        && c.span_from(start)
                            .powi((p.channels() * p.channels()) as i32)
                            < 1e-250 =>
                {
                    true
                }
                Err(e) => return Err(e.to_string()),
            };
        }
    }
    Ok(true)
}

/// `F S + S F^T + G G^T = 0`, and `cov = S - Phi (S - Sigma0) Phi^T` at every time (what is lost to
/// friction is what noise brings). Catches: noise Gamma for 2 Gamma, a wrong power of M in one
/// entry, gamma for gamma M.
fn stationary(p: &dyn AnyProcess, c: &Case) -> Check {
    let Some(s) = p.stationary() else {
        return Ok(false);
    };
    let (k, f) = (p.channels(), p.drift());
    // sub-VP's noise reaches its limit late
    let noise = p.noise_at(1e3);
    let fs = mul(&f, &s, k);
    let lyapunov = add(&fs, &transpose(&fs, k));
    let scale = mul(&abs(&f), &abs(&s), k);
    let scale = add(&add(&scale, &transpose(&scale, k)), &abs(&noise));
    // each entry of F, S, noise rounded once
    close(
        "Lyapunov equation",
        &lyapunov,
        &noise.as_slice().iter().map(|x| -x).collect::<Vec<_>>(),
        &scale,
        4.0 * ULP,
    )?;
    close("prior", &p.prior(7.0), &s, &spread(&s, k), 0.0)?;
    if c.name == "sub-vp" {
        return Ok(true);
    }
    let on = c.span(1, 2);
    for gamma in [0.0, c.gamma] {
        let m = p.moments(on, gamma);
        let start: Vec<f64> = (0..k)
            .map(|i| if i == 0 { 0.0 } else { gamma * p.mass() })
            .collect();
        let rest: Vec<f64> = s
            .as_slice()
            .iter()
            .zip(diagonal(&start))
            .map(|(a, b)| b - a)
            .collect();
        let phi = mean_scale(p, &m.mean, on.tau.to_f64());
        let spreads = spread(&s, k);
        let scale = add(
            &spreads,
            &sandwich(&phi, &add(&spreads, &diagonal(&start)), k),
        );
        let want = add(&s, &sandwich(&m.mean, &rest, k));
        close(
            "S - Phi (S - Sigma0) Phi^T",
            &m.cov,
            &want,
            &scale,
            3.0 * c.accuracy() + 8.0 * ULP,
        )?;
    }
    Ok(true)
}

/// Late on the clock: mean 0, covariance S, whatever gamma. Catches: a limit that was never reached
/// (a factor on the noise), NaN or infinity from overflowing terms of large tau.
fn limit(p: &dyn AnyProcess, c: &Case) -> Check {
    let Some(s) = p.stationary() else {
        return Ok(false);
    };
    // the slowest rate here is that of overdamped CLD, 1/Gamma > 1/(2e5), or PSLD's (Gamma +
    // nu)/4 > 5e-3; e^-1000 is 0
    let on = Span {
        start: c.span(0, 1).start,
        tau: Dd::from(2e8),
    };
    let k = p.channels();
    for gamma in [0.0, c.gamma] {
        let m = p.moments(on, gamma);
        close(
            "mean at infinity",
            &m.mean,
            &vec![0.0; k * k],
            &vec![1.0; k * k],
            1e-200,
        )?;
        close(
            "covariance at infinity",
            &m.cov,
            &s,
            &spread(&s, k),
            c.accuracy(),
        )?;
    }
    Ok(true)
}

/// Coefficients of tau^0 .. tau^11 of each entry of the covariance, from the series in F and GG^T
/// alone: `sum tau^n/n! L^n(Sigma0) + sum tau^(n+1)/(n+1)! L^n(GG^T)`, `L(D) = F D + D F^T`.
fn series(p: &dyn AnyProcess, gamma: f64) -> Vec<Vec<f64>> {
    let (k, f) = (p.channels(), p.drift());
    let mut a = diagonal(
        &(0..k)
            .map(|i| if i == 0 { 0.0 } else { gamma * p.mass() })
            .collect::<Vec<_>>(),
    );
    let mut b = vec![0.0; k * k];
    let mut out = vec![];
    for n in 0..12 {
        out.push(add(&a, &b));
        let next = |m: &[f64]| {
            let fm = mul(&f, m, k);
            add(&fm, &transpose(&fm, k))
                .iter()
                .map(|x| x / f64::from(n + 1))
                .collect::<Vec<_>>()
        };
        a = next(&a);
        b = if n == 0 {
            p.noise_at(0.0).to_vec()
        } else {
            next(&b)
        };
    }
    out
}

/// Each entry's leading power and coefficient as tau -> 0, and by name for the diffusions of the
/// papers. Catches: a variance with a constant added, Gamma for 2 Gamma, a coupling with a wrong
/// power of M, gamma applied to x.
fn small_time(p: &dyn AnyProcess, c: &Case) -> Check {
    let k = p.channels();
    let tau = 1e-9 / worse(rate(p), 1.0);
    let at = |tau: f64, gamma| p.moments(Span::from_zero(tau).unwrap(), gamma);
    for gamma in [0.0, c.gamma] {
        let table = match c.name {
            "sub-vp" => vec![vec![0.0], vec![0.0], vec![1.0], vec![-1.0]],
            _ => series(p, if k > 1 { gamma } else { 0.0 }),
        };
        let (one, two) = (at(tau, gamma), at(2.0 * tau, gamma));
        let mut powers = vec![0; k * k];
        for e in 0..k * k {
            // a coefficient is zero where its terms cancel to rounding
            let terms =
                |n: usize| spread(&table[n].iter().map(|x| x.abs()).collect::<Vec<_>>(), k)[e];
            let Some(power) = (0..table.len()).find(|&n| table[n][e].abs() > 1e-13 * terms(n))
            else {
                continue;
            };
            powers[e] = power;
            let leading = table[power][e] * tau.powi(power as i32);
            // the next terms, at 2 tau, over the leading one
            let rest: f64 = (power + 1..table.len())
                .map(|n| (table[n][e] * (2.0 * tau).powi(n as i32)).abs())
                .sum();
            let rest = rest / (leading * 2f64.powi(power as i32)).abs();
            if rest > 1e-3 {
                continue; // drawn so that the next term leads until still earlier
            }
            // the claim, and the coefficient's own rounding
            let tolerance = 1.01 * rest + 2.0 * c.accuracy() + 64.0 * ULP;
            close(
                &format!("leading term of entry {e}, tau^{power}"),
                &[one.cov[(e / k, e % k)]],
                &[leading],
                &[leading.abs()],
                tolerance,
            )?;
            let slope = (two.cov[(e / k, e % k)] / one.cov[(e / k, e % k)]).log2();
            close(
                &format!("order of entry {e}"),
                &[slope],
                &[power as f64],
                &[1.0],
                3.0 * tolerance,
            )?;
        }
        // the powers that the papers' tables and our diagnoses rely on
        let hsm = gamma > 0.0;
        let known: Option<Vec<usize>> = match (c.name, k) {
            ("cld" | "sscs-analytic", _) => Some(if hsm {
                vec![2, 1, 1, 0]
            } else {
                vec![3, 2, 2, 1]
            }),
            ("langevin-order-n" | "chain", _) if !hsm => {
                Some((0..k * k).map(|e| 2 * k - 1 - e / k - e % k).collect())
            }
            ("psld", _) if !hsm && c.get("Gamma") > Some(0.0) && c.get("nu") > Some(0.0) => {
                Some(vec![1, 2, 2, 1])
            }
            ("vp" | "ve", _) => Some(vec![1]),
            _ => None,
        };
        if known.as_ref().is_some_and(|w| *w != powers) {
            return Err(format!("powers {powers:?}, known {known:?}"));
        }
    }
    Ok(true)
}

/// CLD with mass M is CLD with mass 1 after v -> v / sqrt(M), tau -> tau / sqrt(M), Gamma -> Gamma
/// / sqrt(M). Catches: a wrong power of the mass anywhere.
fn scaling_in_mass(p: &dyn AnyProcess, c: &Case) -> Check {
    if !matches!(c.name, "cld" | "sscs-analytic") {
        return Ok(false);
    }
    let m = c.get("mass").unwrap();
    let root = Dd::from(m).sqrt();
    let mut unit = Case {
        params: vec![("mass", 1.0)],
        ..c.clone()
    };
    unit.params.extend(
        c.get("Gamma")
            .map(|g| ("Gamma", (Dd::from(g) / root).to_f64())),
    );
    let one = unit.process();
    let on = c.span(1, 2);
    let scaled = Span {
        start: on.start / root,
        tau: on.tau / root,
    };
    // Gamma / sqrt(M) is rounded: one ulp in the friction is (1 + tau)^2 ulp in the worst entry
    // (second order in frequency times time), of the entry's scale
    let x = rate(&*one) * scaled.tau.to_f64();
    if c.get("Gamma").is_some() && x > 100.0 {
        return Ok(false);
    }
    let tolerance = 2.0 * c.accuracy()
        + if c.get("Gamma").is_some() {
            ULP * (1.0 + x) * (1.0 + x)
        } else {
            0.0
        };
    let d = [1.0, root.to_f64()];
    for gamma in [0.0, c.gamma] {
        let (a, b) = (p.moments(on, gamma), one.moments(scaled, gamma));
        let mean: Vec<f64> = (0..4)
            .map(|e| b.mean[(e / 2, e % 2)] * d[e / 2] / d[e % 2])
            .collect();
        let cov: Vec<f64> = (0..4)
            .map(|e| b.cov[(e / 2, e % 2)] * d[e / 2] * d[e % 2])
            .collect();
        close(
            "mean against mass 1",
            &a.mean,
            &mean,
            &mean_scale(p, &mean, on.tau.to_f64()),
            tolerance,
        )?;
        close(
            "covariance against mass 1",
            &a.cov,
            &cov,
            &spread(&cov, 2),
            tolerance,
        )?;
        close(
            "determinant against mass 1",
            &[a.det],
            &[b.det * m],
            &[a.cov[(0, 0)] * a.cov[(1, 1)]],
            tolerance,
        )?;
    }
    Ok(true)
}

/// Through the critical point: general damping at Gamma = 2 sqrt(M) (1 +- e) differs from critical
/// CLD by O(e), and the two differences cancel to O(e^2). Catches: a branch at delta = 0 that jumps
/// or has a kink, a + b for a - b in a root.
fn smooth_at_critical(p: &dyn AnyProcess, c: &Case) -> Check {
    if c.name != "cld" || c.get("Gamma").is_some() {
        return Ok(false);
    }
    let m = c.get("mass").unwrap();
    let e = 10f64.powf(-15.0 + 12.0 * (c.z[0] + 3.0) / 6.0);
    let near = |sign: f64| {
        c.wrap(erase(CldDamped::new(m, 2.0 * m.sqrt() * (1.0 + sign * e)).unwrap()).unwrap())
    };
    let (above, below) = (near(1.0), near(-1.0));
    let on = c.span(1, 2);
    let z = on.tau.to_f64() / m.sqrt();
    if z > 20.0 {
        return Ok(false);
    }
    // d/dGamma of e^(-a tau), S, C: a tau = z (1 + e), (sqrt(delta) tau)^2 = 2 e z^2. So first
    // derivatives are at most 2 (1 + z + z^2), and covariances have twice that and their factor a;
    // second ones the square of it.
    let first = 4.0 * (1.0 + z + z * z);
    let floor = 3e-13 + 2.0 * ULP * first; // claims of both, rounding of Gamma
    for gamma in [0.0, c.gamma] {
        let (b, h, l) = (
            p.moments(on, gamma),
            above.moments(on, gamma),
            below.moments(on, gamma),
        );
        let parts = [
            (
                "mean",
                &b.mean,
                &h.mean,
                &l.mean,
                mean_scale(p, &b.mean, on.tau.to_f64()),
            ),
            ("covariance", &b.cov, &h.cov, &l.cov, spread(&b.cov, 2)),
        ];
        for (what, b, h, l, scale) in parts {
            close(
                &format!("{what} just above critical"),
                h,
                b,
                &scale,
                first * e + floor,
            )?;
            close(
                &format!("{what} just below critical"),
                l,
                b,
                &scale,
                first * e + floor,
            )?;
            let middle: Vec<f64> = h
                .as_slice()
                .iter()
                .zip(l.as_slice())
                .map(|(x, y)| 0.5 * (x + y))
                .collect();
            close(
                &format!("{what} has a kink at critical"),
                &middle,
                b,
                &scale,
                first * first * e * e + floor,
            )?;
        }
    }
    Ok(true)
}

/// PSLD without position friction, position noise 0, chains of two: each is CLD. Catches: half
/// speed forgotten, M and 1/M swapped, gamma counted in other units, sigma for sigma^2.
fn reduces_to_cld(p: &dyn AnyProcess, c: &Case) -> Check {
    // (mass, Gamma if general, clock factor, factor on v (standard deviations), factor on gamma)
    let (mass, friction, clock, unit, gamma) = match (c.name, p.channels()) {
        // dx = (b/2) v/M: CLD with M = 4/nu^2 at half speed
        ("psld", _) if c.get("Gamma") == Some(0.0) => (p.mass(), None, 0.5, 1.0, c.gamma),
        // dx = a^2 v b dt + ..., sigma^2 = 2 Gamma = 4/a with M = 1/a^2; any other sigma is a
        // factor on the noise
        ("cld-position-noise", _) if c.get("epsilon") == Some(0.0) => {
            (1.0 / c.get("a").unwrap().powi(2), None, 1.0, 1.0, c.gamma)
        }
        ("langevin-order-n", 2) => (1.0, None, 1.0, 1.0, c.gamma),
        // dx = g v, dv = -g x - xi v: mass 1 and Gamma = xi/g in the clock g tau
        ("chain", 2) => (1.0, Some(c.raw[0] / c.raw[1]), c.raw[1], 1.0, c.gamma),
        _ => return Ok(false),
    };
    let cld = match friction {
        Some(g) => erase(CldDamped::new(mass, g).unwrap()).unwrap(),
        None => erase(Cld::new(mass).unwrap()).unwrap(),
    };
    let on = c.span(1, 2);
    let there = Span {
        start: on.start * Dd::from(clock),
        tau: on.tau * Dd::from(clock),
    };
    let x = rate(&*cld) * there.tau.to_f64();
    if x > 100.0 {
        return Ok(false); // the rounding of the mass would be all one sees
    }
    // the mass (or friction) is rounded twice, clocks once: (1 + x)^2 ulp each, of the entry's
    // scale
    let tolerance = c.accuracy() + 1e-13 + 4.0 * ULP * (1.0 + x) * (1.0 + x);
    let (own, noise) = if c.name == "cld-position-noise" {
        // its v0 variance is gamma itself
        (
            gamma * mass,
            c.get("sigma").unwrap().powi(2) / (4.0 * mass.sqrt()),
        )
    } else {
        (gamma, 1.0)
    };
    for (g_here, g_cld) in [(0.0, 0.0), (own, gamma)] {
        let (a, b, q) = (
            p.moments(on, g_here),
            cld.moments(there, g_cld),
            cld.moments(there, 0.0),
        );
        let cov: Vec<f64> = (0..4)
            .map(|e| {
                (b.cov[(e / 2, e % 2)] - q.cov[(e / 2, e % 2)]) + q.cov[(e / 2, e % 2)] * noise
            })
            .collect();
        let scale = add(&spread(&b.cov, 2), &spread(&cov, 2));
        close(
            "mean against CLD",
            &a.mean,
            &b.mean,
            &mean_scale(&*cld, &b.mean, there.tau.to_f64()),
            tolerance * unit,
        )?;
        close(
            "covariance against CLD",
            &a.cov,
            &cov,
            &scale,
            2.0 * tolerance,
        )?;
    }
    Ok(true)
}

/// HSM = DSM + Phi diag(0, gamma M, ...) Phi^T, the mean unchanged. Catches: gamma for gamma M,
/// gamma applied to xx of the start, the first column of Phi for the second, Phi transposed.
fn hsm_is_dsm_plus_initial(p: &dyn AnyProcess, c: &Case) -> Check {
    let k = p.channels();
    if k == 1 {
        return Ok(false);
    }
    let on = c.span(1, 2);
    let (d, h) = (p.moments(on, 0.0), p.moments(on, c.gamma));
    let start = diagonal(
        &(0..k)
            .map(|i| if i == 0 { 0.0 } else { c.gamma * p.mass() })
            .collect::<Vec<_>>(),
    );
    let phi = mean_scale(p, &d.mean, on.tau.to_f64());
    let scale = add(&spread(&d.cov, k), &sandwich(&phi, &start, k));
    close("mean", &h.mean, &d.mean, &abs(&d.mean), 0.0)?;
    let want = add(&d.cov, &sandwich(&d.mean, &start, k));
    close(
        "HSM covariance",
        &h.cov,
        &want,
        &scale,
        3.0 * c.accuracy() + 8.0 * ULP,
    )?;
    Ok(true)
}

/// The reversed process of each forward one with a stationary law.
fn reversal(c: &Case) -> Option<Box<dyn AnyProcess>> {
    let g = |n: &str| c.get(n).unwrap();
    Some(match (c.name, c.raw.len()) {
        ("cld", _) => match c.get("Gamma") {
            Some(f) => {
                erase(Reversed::new(CldDamped::new(g("mass"), f).unwrap()).unwrap()).unwrap()
            }
            None => erase(Reversed::new(Cld::new(g("mass")).unwrap()).unwrap()).unwrap(),
        },
        ("psld", _) => {
            erase(Reversed::new(Psld::new(g("Gamma"), g("nu")).unwrap()).unwrap()).unwrap()
        }
        ("cld-position-noise", _) => erase(
            Reversed::new(CldPosition::new(g("a"), g("epsilon"), g("sigma")).unwrap()).unwrap(),
        )
        .unwrap(),
        ("chain", 2) => {
            erase(Reversed::new(Langevin::<2>::new(&c.raw[1..], c.raw[0]).unwrap()).unwrap())
                .unwrap()
        }
        ("chain", 3) => {
            erase(Reversed::new(Langevin::<3>::new(&c.raw[1..], c.raw[0]).unwrap()).unwrap())
                .unwrap()
        }
        ("chain", _) => {
            erase(Reversed::new(Langevin::<4>::new(&c.raw[1..], c.raw[0]).unwrap()).unwrap())
                .unwrap()
        }
        ("vp", _) => erase(Reversed::new(Vp).unwrap()).unwrap(),
        _ => return None,
    })
}

fn invert_small(s: &(impl AsRef<[f64]> + ?Sized), k: usize) -> Vec<f64> {
    let s = s.as_ref();
    if k == 2 {
        let d = s[0] * s[3] - s[1] * s[2];
        return vec![s[3] / d, -s[1] / d, -s[2] / d, s[0] / d];
    }
    diagonal(&(0..k).map(|i| 1.0 / s[i * (k + 1)]).collect::<Vec<_>>()) // diagonal for all but position noise
}

/// SSCS's analytic part runs the stationary process backward: its mean matrix is S Phi^T S^-1
/// (Bayes' rule on the joint stationary law), and its drift S F^T S^-1 doubled gives the same law.
/// Catches: the forward part used in reverse (the sign of xv and vx), friction reversed too, a
/// transposed Phi without S.
fn reversed_is_backward_in_time(p: &dyn AnyProcess, c: &Case) -> Check {
    let Some(back) = reversal(c) else {
        return Ok(false);
    };
    let back = c.wrap(back);
    // the forward side is never spoiled: the mistake is planted in the reversed part
    let forward = Case {
        spoil: None,
        ..c.clone()
    }
    .process();
    let (k, s, on) = (p.channels(), p.stationary().unwrap(), c.span(1, 2));
    let inverse = invert_small(&s, k);
    let tau = on.tau.to_f64();
    let (f, b) = (forward.moments(on, 0.0), back.moments(on, 0.0));
    let phi = mean_scale(p, &f.mean, tau);
    let through = |m: &Square| mul(&mul(&s, &transpose(m, k), k), &inverse, k);
    let scale = mul(&mul(&abs(&s), &transpose(&phi, k), k), &abs(&inverse), k);
    // position noise: S is correlated by at most sqrt(1/5), its inverse rounded accordingly
    let tolerance = 2.0 * c.accuracy() + 16.0 * ULP;
    close(
        "reversed mean",
        &b.mean,
        &through(&f.mean),
        &scale,
        tolerance,
    )?;
    let x = rate(p) * tau;
    if x > 100.0 {
        return Ok(true);
    }
    // F' rounded in each entry: x ulp in its exponential
    let drift = through(&p.drift());
    let noise = p.noise_at(0.0);
    let law = match k {
        1 => direct::<1>(&drift, noise.as_slice(), on.tau),
        2 => direct::<2>(&drift, noise.as_slice(), on.tau),
        3 => direct::<3>(&drift, noise.as_slice(), on.tau),
        _ => direct::<4>(&drift, noise.as_slice(), on.tau),
    };
    let tolerance = tolerance + 8.0 * ULP * (1.0 + x) * (1.0 + x);
    close(
        "reversed mean by doubling",
        &b.mean,
        &law.0,
        &add(&scale, &phi),
        tolerance,
    )?;
    close(
        "reversed covariance by doubling",
        &b.cov,
        &law.1,
        &spread(&law.1, k),
        tolerance,
    )?;
    Ok(true)
}

fn direct<const K: usize>(drift: &[f64], noise: &[f64], tau: Dd) -> (Vec<f64>, Vec<f64>) {
    let m = |v: &[f64]| Mat::<K, Dd>::build(|i, j| Dd::from(v[i * K + j]));
    let law = doubling(&m(drift), &m(noise), tau);
    let f = |m: Mat<K, Dd>| m.0.concat().into_iter().map(Dd::to_f64).collect();
    (f(law.mean), f(law.cov))
}

/// Noise, score and data tell the same story; the score is the gradient of the log-density; the
/// density has mass 1. Catches: L for L^-T, a missing minus, ell of the wrong channel, half a
/// log-determinant.
fn conversions(p: &dyn AnyProcess, c: &Case) -> Check {
    let gamma = if p.channels() > 1 && c.z[7] > 0.0 {
        c.gamma
    } else {
        0.0
    };
    let m = p.moments(c.schedule.span(0.0, c.times[2]).unwrap(), gamma);
    match p.channels() {
        1 => conversions_of::<1>(&m, c),
        2 => conversions_of::<2>(&m, c),
        3 => conversions_of::<3>(&m, c),
        _ => conversions_of::<4>(&m, c),
    }
}

fn conversions_of<const K: usize>(m: &AnyMoments, c: &Case) -> Check {
    let Ok(kernel) = Kernel::<K>::from_moments(m.fixed()) else {
        return Ok(false);
    };
    if kernel.mean()[(0, 0)].abs() < 1e-6 {
        return Ok(false); // nothing of x0 is left to be found again
    }
    let u0: [f64; K] = std::array::from_fn(|i| if i == 0 { c.z[0] } else { 0.0 });
    let eps: [f64; K] = std::array::from_fn(|i| c.z[1 + i]);
    let (l, mean, cov) = (kernel.lower(), kernel.mean(), kernel.cov());
    let u: [f64; K] = std::array::from_fn(|i| {
        mean[(i, 0)] * u0[0] + (0..=i).map(|j| l[(i, j)] * eps[j]).sum::<f64>()
    });
    // forming u and taking its mean off again loses |Phi u0| / L_ii, and the triangular solves
    // multiply that by |L^-1||L|
    let loss = (0..K).map(|i| {
        (mean[(i, 0)] * u0[0]).abs() / l[(i, i)]
            + (0..=i)
                .map(|j| (l[(i, j)] / l[(i, i)]).abs() * 3.0)
                .sum::<f64>()
    });
    let loss = loss.fold(1.0, worse);
    let amplify = (0..K)
        .map(|i| (0..=i).map(|j| (l[(i, j)] / l[(i, i)]).abs()).sum::<f64>())
        .product::<f64>();
    let back = kernel.eps_from_x0(u, u0);
    close(
        "eps from x0",
        &back,
        &eps,
        &[1.0; K],
        16.0 * ULP * loss * amplify,
    )?;
    let score = kernel.score_from_eps(eps);
    let again = kernel.eps_from_score(score);
    let size: Vec<f64> = (0..K)
        .map(|i| (i..K).map(|j| (l[(j, i)] * score[j]).abs()).sum::<f64>() + 1.0)
        .collect();
    close("eps from score", &again, &eps, &size, 16.0 * ULP)?;
    close(
        "last score is -ell eps",
        &[score[K - 1]],
        &[-kernel.ell() * eps[K - 1]],
        &[score[K - 1].abs()],
        8.0 * ULP,
    )?;
    // -cov^-1 (u - mean) with L eps for the residual: the very definition, through the inverse
    let inverse = kernel.inverse();
    let residual: [f64; K] = std::array::from_fn(|i| (0..=i).map(|j| l[(i, j)] * eps[j]).sum());
    let by_inverse: Vec<f64> = (0..K)
        .map(|i| -(0..K).map(|j| inverse[(i, j)] * residual[j]).sum::<f64>())
        .collect();
    let scale: Vec<f64> = (0..K)
        .map(|i| {
            (0..K)
                .map(|j| {
                    inverse[(i, j)].abs() * (0..=j).map(|a| (l[(j, a)] * eps[a]).abs()).sum::<f64>()
                })
                .sum()
        })
        .collect();
    close(
        "score against the inverse",
        &score,
        &by_inverse,
        &scale,
        16.0 * c.accuracy() + 16.0 * ULP,
    )?;
    let x0 = kernel.x0_from_eps(u, eps);
    let most = (u[0].abs() + (l[(0, 0)] * eps[0]).abs()) / mean[(0, 0)].abs();
    close("x0 from eps", &[x0], &[u0[0]], &[most], 8.0 * ULP)?;

    // At data 0 (no residual to round): the log-density is a quadratic, so a central difference of
    // any step is exact, but for its rounding: |log p| ulp / h.
    let zero = [0.0; K];
    let score = kernel.score(residual, zero);
    for i in 0..K {
        let h = 1.0 / inverse[(i, i)].sqrt();
        let at = |s: f64| {
            let mut v = residual;
            v[i] += s * h;
            kernel.log_density(v, zero)
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * h);
        let size = (at(1.0).abs() + at(-1.0).abs() + 1.0) / h;
        close(
            "gradient of the log-density",
            &[slope],
            &[score[i]],
            &[size + scale[i]],
            64.0 * ULP * amplify,
        )?;
    }
    // mode: -(K log 2 pi + log det)/2 with the determinant of the covariance by elimination in
    // plain f64
    let r2 = if K == 2 {
        cov[(0, K - 1)] * cov[(0, K - 1)] / (cov[(0, 0)] * cov[(K - 1, K - 1)])
    } else {
        0.0
    };
    let slack = 1.0 / (1.0 - r2); // what the subtraction loses; early in HSM, x and v are one variable, and it loses all
    if K <= 2 && r2 < 0.999 {
        let det = if K == 1 {
            cov[(0, 0)]
        } else {
            cov[(0, 0)] * cov[(K - 1, K - 1)] - cov[(0, K - 1)] * cov[(K - 1, 0)]
        };
        let want = -0.5 * (K as f64 * std::f64::consts::TAU.ln() + det.ln());
        close(
            "mode",
            &[kernel.log_density(zero, zero)],
            &[want],
            &[worse(want.abs(), 1.0) + slack],
            8.0 * c.accuracy() + 16.0 * ULP,
        )?;
        // the trapezoidal rule on a Gaussian, step 1/2 and reach 9 deviations: error e^-(2 pi^2 /
        // h^2) = 1e-34
        let (sx, b) = (cov[(0, 0)].sqrt(), cov[(0, K - 1)] / cov[(0, 0)]);
        let sv = if K == 1 {
            1.0
        } else {
            (det / cov[(0, 0)]).sqrt()
        };
        let mut mass = 0.0;
        for i in -18..=18 {
            for j in if K == 1 { 0..=0 } else { -18..=18 } {
                let x = f64::from(i) * 0.5 * sx;
                let point: [f64; K] = std::array::from_fn(|a| {
                    if a == 0 {
                        x
                    } else {
                        b * x + f64::from(j) * 0.5 * sv
                    }
                });
                mass += kernel.log_density(point, zero).exp()
                    * 0.5
                    * sx
                    * if K == 1 { 1.0 } else { 0.5 * sv };
            }
        }
        // log-densities near 100 are rounded to 100 ulp; the covariance's claim enters through sx
        // and sv
        close(
            "total mass",
            &[mass],
            &[1.0],
            &[1.0],
            (16.0 * c.accuracy() + 256.0 * ULP) * slack,
        )?;
    }
    Ok(true)
}

/// The closed form is what doubling makes of F and GG^T alone. Catches: any wrong entry at any
/// parameters; entries that never cross zero are held to themselves.
fn closed_form_is_doubling(p: &dyn AnyProcess, c: &Case) -> Check {
    if matches!(c.name, "custom" | "chain" | "langevin-order-n" | "sub-vp") {
        return Ok(false); // there doubling (sub-VP: the closed form) is all there is
    }
    let (k, on) = (p.channels(), c.span(1, 2));
    for gamma in [0.0, c.gamma] {
        let (m, law) = (p.moments(on, gamma), p.law(on, gamma, 0.0));
        let f = |v: &[Dd]| v.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
        let (mean, cov) = (f(law.mean.as_slice()), f(law.cov.as_slice()));
        close(
            "mean by doubling",
            &m.mean,
            &mean,
            &mean_scale(p, &mean, on.tau.to_f64()),
            c.accuracy(),
        )?;
        close(
            "covariance by doubling",
            &m.cov,
            &cov,
            &spread(&cov, k),
            c.accuracy(),
        )?;
        if k == 2 {
            let (phi, s) = keeps_sign(p, gamma);
            for e in 0..4 {
                for (what, keeps, got, want) in [
                    ("mean", phi, &m.mean, &mean),
                    ("covariance", s, &m.cov, &cov),
                ] {
                    // below 1e-290 relative accuracy ends
                    if keeps[e] && want[e].abs() > 1e-270 {
                        close(
                            &format!("{what} by doubling, relative to itself, entry {e}"),
                            &[got[(e / k, e % k)]],
                            &[want[e]],
                            &[want[e].abs()],
                            c.accuracy(),
                        )?;
                    }
                }
            }
        }
    }
    Ok(true)
}

// ---------------------------------------------------------------------------------------------------------------
// Running them.

type Property = (&'static str, fn(&dyn AnyProcess, &Case) -> Check);

const PROPERTIES: &[Property] = &[
    ("chapman-kolmogorov", chapman_kolmogorov),
    ("factors", factors),
    ("stationary", stationary),
    ("limit", limit),
    ("small-time", small_time),
    ("scaling-in-mass", scaling_in_mass),
    ("smooth-at-critical", smooth_at_critical),
    ("reduces-to-cld", reduces_to_cld),
    ("hsm-is-dsm-plus-initial", hsm_is_dsm_plus_initial),
    ("reversed", reversed_is_backward_in_time),
    ("conversions", conversions),
    ("closed-form-is-doubling", closed_form_is_doubling),
];

/// Runs a property on `count` cases, the stream fixed by the property's name. The first failure, if
/// any.
fn sweep(
    (name, property): Property,
    names: Vec<&'static str>,
    count: u32,
    spoil: Option<Spoil>,
) -> Result<u32, String> {
    let mut seed = [0u8; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    let config = Config {
        cases: count,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let applied = Cell::new(0);
    let run = runner.run(&cases(names, spoil), |c| {
        match property(&*c.process(), &c) {
            Ok(done) => {
                applied.set(applied.get() + u32::from(done));
                Ok(())
            }
            Err(e) => Err(TestCaseError::fail(e)),
        }
    });
    match run {
        Ok(()) => Ok(applied.get()),
        Err(TestError::Fail(why, case)) => Err(format!("{name}: {why}\n  in {case:?}")),
        Err(e) => Err(e.to_string()),
    }
}

/// Cases for each property: a second or two.
const COUNT: u32 = 10_000;

/// A property on every process: holds everywhere, and had something to say about enough of the
/// cases.
fn holds(name: &str, least: u32) {
    let property = *PROPERTIES.iter().find(|p| p.0 == name).unwrap();
    let applied = sweep(property, all_names(), COUNT, None).unwrap_or_else(|e| panic!("{e}"));
    println!("{name}: {applied} of {COUNT} cases");
    assert!(
        applied >= least,
        "{name} said something of {applied} cases only"
    );
}

#[test]
fn transitions_compose() {
    holds("chapman-kolmogorov", 10000);
}

#[test]
fn factors_agree_with_the_covariance() {
    holds("factors", 10000);
}

#[test]
fn noise_replaces_what_friction_takes() {
    holds("stationary", 7000);
}

#[test]
fn prior_is_the_limit() {
    holds("limit", 7000);
}

#[test]
fn entries_start_with_their_order() {
    holds("small-time", 10000);
}

#[test]
fn mass_is_a_unit() {
    holds("scaling-in-mass", 1000);
}

#[test]
fn critical_damping_is_not_special() {
    holds("smooth-at-critical", 250);
}

#[test]
fn other_diffusions_contain_cld() {
    holds("reduces-to-cld", 500);
}

#[test]
fn hybrid_kernel_is_the_plain_one_plus_initial_velocity() {
    holds("hsm-is-dsm-plus-initial", 6000);
}

#[test]
fn analytic_part_of_sscs_runs_backward() {
    holds("reversed", 4500);
}

#[test]
fn closed_forms_are_doubling() {
    holds("closed-form-is-doubling", 5000);
}

#[test]
fn noise_score_data_and_density_agree() {
    holds("conversions", 7000);
}

// ---------------------------------------------------------------------------------------------------------------
// Each property seen to fail.

/// Multiplies the entries `(i, j)` and `(j, i)` of the covariance.
fn scale_cov(mut m: AnyMoments, i: usize, j: usize, by: f64) -> AnyMoments {
    m.cov[(i, j)] *= by;
    if i != j {
        m.cov[(j, i)] *= by;
    }
    m
}

fn scale_mean(mut m: AnyMoments, e: usize, by: f64) -> AnyMoments {
    let k = m.mean.k();
    m.mean[(e / k, e % k)] *= by;
    m
}

fn add_cov(mut m: AnyMoments, by: &(impl AsRef<[f64]> + ?Sized)) -> AnyMoments {
    m.cov = square(add(&m.cov, by));
    m
}

/// A matrix from its entries, row by row.
fn square(entries: Vec<f64>) -> Square {
    Square::from_slice(&entries).unwrap()
}

const NUDGE: f64 = 1.0 + 1e-6;

/// (mistake, process it is planted in, how, properties that must report it).
type Row = (&'static str, &'static str, Spoil, &'static [&'static str]);

#[rustfmt::skip]
const PLANTED: &[Row] = &[
    ("sign of S_xv", "cld", |p, on, g| scale_cov(p.moments(on, g), 0, 1, -1.0), &["chapman-kolmogorov", "stationary", "small-time", "hsm-is-dsm-plus-initial"]),
    ("S_xx off by 1e-6", "cld", |p, on, g| scale_cov(p.moments(on, g), 0, 0, NUDGE), &["closed-form-is-doubling", "chapman-kolmogorov", "factors", "stationary", "limit", "small-time"]),
    ("S_xv off by 1e-6", "cld", |p, on, g| scale_cov(p.moments(on, g), 0, 1, NUDGE), &["chapman-kolmogorov", "factors", "stationary", "small-time"]),
    ("S_vv off by 1e-6", "cld", |p, on, g| scale_cov(p.moments(on, g), 1, 1, NUDGE), &["chapman-kolmogorov", "factors", "stationary", "limit", "small-time"]),
    ("S_22 of a chain off by 1e-6", "langevin-order-n", |p, on, g| scale_cov(p.moments(on, g), 1, 1, NUDGE), &["chapman-kolmogorov", "factors", "small-time"]),
    ("S_xv of PSLD off by 1e-6", "psld", |p, on, g| scale_cov(p.moments(on, g), 0, 1, NUDGE), &["closed-form-is-doubling", "chapman-kolmogorov", "factors", "stationary", "small-time", "reduces-to-cld"]),
    ("S_xv of position noise off by 1e-6", "cld-position-noise", |p, on, g| scale_cov(p.moments(on, g), 0, 1, NUDGE), &["closed-form-is-doubling", "chapman-kolmogorov", "factors", "stationary", "limit", "small-time"]),
    ("Phi_xx off by 1e-6", "cld", |p, on, g| scale_mean(p.moments(on, g), 0, NUDGE), &["chapman-kolmogorov", "stationary", "reversed"]),
    ("Phi_xv off by 1e-6", "cld", |p, on, g| scale_mean(p.moments(on, g), 1, NUDGE), &["closed-form-is-doubling", "chapman-kolmogorov", "stationary", "reversed", "hsm-is-dsm-plus-initial"]),
    ("Phi_vx off by 1e-6", "cld", |p, on, g| scale_mean(p.moments(on, g), 2, NUDGE), &["chapman-kolmogorov", "stationary", "reversed"]),
    ("Phi_vv off by 1e-6", "cld", |p, on, g| scale_mean(p.moments(on, g), 3, NUDGE), &["closed-form-is-doubling", "chapman-kolmogorov", "stationary", "reversed", "hsm-is-dsm-plus-initial"]),
    ("Phi of PSLD at full speed", "psld", |p, on, g| AnyMoments { mean: p.moments(Span { tau: on.tau.scale(2.0), ..on }, g).mean, ..p.moments(on, g) }, &["chapman-kolmogorov", "stationary", "reduces-to-cld"]),
    ("the whole of PSLD at full speed", "psld", |p, on, g| p.moments(Span { tau: on.tau.scale(2.0), ..on }, g), &["small-time", "reduces-to-cld", "reversed"]),
    ("Phi transposed", "cld", |p, on, g| { let m = p.moments(on, g); AnyMoments { mean: m.mean.transpose(), ..m } }, &["chapman-kolmogorov", "stationary", "hsm-is-dsm-plus-initial", "scaling-in-mass"]),
    ("noise Gamma for 2 Gamma", "cld", |p, on, g| {
        let (m, q) = (p.moments(on, g), p.moments(on, 0.0).cov);
        add_cov(m, &q.as_slice().iter().map(|x| -0.5 * x).collect::<Vec<_>>())
    }, &["stationary", "limit", "small-time", "factors"]),
    ("gamma for gamma M", "cld", |p, on, g| p.moments(on, g / p.mass()), &["stationary", "small-time", "scaling-in-mass", "hsm-is-dsm-plus-initial"]),
    ("gamma spread over x as well", "cld", |p, on, g| {
        let m = p.moments(on, g);
        let by = sandwich(&m.mean, &[g, 0.0, 0.0, 0.0], 2);
        add_cov(m, &by)
    }, &["small-time", "hsm-is-dsm-plus-initial", "stationary"]),
    ("gamma along the first column of Phi", "cld", |p, on, g| {
        let (q, m) = (p.moments(on, 0.0), p.moments(on, g));
        AnyMoments { cov: square(add(&q.cov, &sandwich(&q.mean, &[g * p.mass(), 0.0, 0.0, 0.0], 2))), ..m }
    }, &["small-time", "hsm-is-dsm-plus-initial", "stationary"]),
    ("mean of HSM keeps a share of v0", "cld", |p, on, g| scale_mean(p.moments(on, g), 1, 1.0 + 1e-9 * g), &["hsm-is-dsm-plus-initial", "chapman-kolmogorov"]),
    ("S_xv lacks sqrt(M)", "cld", |p, on, g| scale_cov(p.moments(on, g), 0, 1, 1.0 / p.mass().sqrt()), &["scaling-in-mass", "chapman-kolmogorov", "stationary", "small-time"]),
    ("Phi_xv without 1/M", "cld", |p, on, g| scale_mean(p.moments(on, g), 1, p.mass()), &["scaling-in-mass", "chapman-kolmogorov", "stationary"]),
    ("1e-9 added to the variances", "cld", |p, on, g| add_cov(p.moments(on, g), &[1e-9, 0.0, 0.0, 1e-9]), &["closed-form-is-doubling", "small-time", "chapman-kolmogorov", "factors", "scaling-in-mass"]),
    ("started from 0 whatever s", "sub-vp", |p, on, g| p.moments(Span { start: Dd::ZERO, ..on }, g), &["chapman-kolmogorov"]),
    ("sub-VP with the noise of VP", "sub-vp", |_, on, g| erase(Vp).unwrap().moments(on, g), &["small-time"]),
    ("composition in the wrong order", "sub-vp", |p, on, g| p.moments(Span { start: on.start + on.tau, ..on }, g), &["chapman-kolmogorov"]),
    ("VP in half its clock", "vp", |p, on, g| p.moments(Span { tau: on.tau.scale(0.5), ..on }, g), &["small-time"]),
    ("VP's mean e^-tau", "vp", |p, on, g| { let m = p.moments(on, g); scale_mean(m.clone(), 0, m.mean[(0, 0)]) }, &["stationary", "reversed"]),
    ("VE's variance to the power 1.000001", "ve", |p, on, g| { let m = p.moments(on, g); AnyMoments { cov: square(vec![m.cov[(0, 0)].powf(NUDGE)]), ..m } }, &["closed-form-is-doubling", "chapman-kolmogorov", "small-time"]),
    ("a jump of 1e-6 above critical damping", "cld", |p, on, g| {
        let m = p.moments(on, g);
        let over = p.drift()[(1, 1)].powi(2) > 4.0 * p.drift()[(0, 1)] * (1.0 + 1e-12);
        scale_cov(m, 0, 0, if over { NUDGE } else { 1.0 })
    }, &["smooth-at-critical"]),
    ("a kink: |delta| for delta in Phi", "cld", |p, on, g| {
        let m = p.moments(on, g);
        // a^2 - 1/M in units of 1/M
        let delta = 0.25 * p.drift()[(1, 1)].powi(2) / p.drift()[(0, 1)] - 1.0;
        scale_mean(m, 0, 1.0 + delta.abs())
    }, &["smooth-at-critical"]),
    ("sigma for sigma^2", "cld-position-noise", |p, on, g| {
        let (m, q) = (p.moments(on, g), p.moments(on, 0.0).cov);
        let sigma = p.noise_at(0.0)[(1, 1)].sqrt();
        let f = if sigma > 0.0 { 1.0 / sigma - 1.0 } else { 0.0 };
        add_cov(m, &q.as_slice().iter().map(|x| x * f).collect::<Vec<_>>())
    }, &["reduces-to-cld", "small-time", "stationary", "limit"]),
    ("forward signs in the reversed part", "cld", |p, on, g| {
        let m = p.moments(on, g);
        AnyMoments { mean: m.mean.with_odd_signs_flipped(), cov: m.cov.with_odd_signs_flipped(), ..m }
    }, &["reversed", "small-time"]),
    ("only S_xv keeps its forward sign", "psld", |p, on, g| scale_cov(p.moments(on, g), 0, 1, -1.0), &["reversed"]),
    ("reversed chain with the forward mean", "chain", |p, on, g| { let m = p.moments(on, g); AnyMoments { mean: m.mean.transpose(), ..m } }, &["reversed"]),
    ("reversed position noise with the transpose alone", "cld-position-noise", |p, on, g| {
        let (m, s) = (p.moments(on, g), p.stationary().unwrap());
        // S^-1 R S = Phi^T for the right R = S Phi^T S^-1
        AnyMoments { mean: square(mul(&mul(&invert_small(&s, 2), &m.mean, 2), &s, 2)), ..m }
    }, &["reversed"]),
    ("determinant off by 1e-6", "cld", |p, on, g| { let m = p.moments(on, g); AnyMoments { det: m.det * NUDGE, ..m } }, &["factors", "conversions"]),
    ("determinant without M", "cld", |p, on, g| { let m = p.moments(on, g); AnyMoments { det: m.det / p.mass(), ..m } }, &["factors", "conversions", "scaling-in-mass"]),
    ("a mean that overflows late", "psld", |p, on, g| scale_mean(p.moments(on, g), 0, if on.tau.hi > 1e6 { f64::NAN } else { 1.0 }), &["limit"]),
    ("an inverse factor of Custom off by 1e-6", "custom", |p, on, g| { let mut m = p.moments(on, g); if let Some(f) = &mut m.factors { f.inverse_transpose_lower = f.inverse_transpose_lower.map(|x| x * NUDGE); } m }, &["factors"]),
    ("log-determinant of a chain off by 1e-6", "langevin-order-n", |p, on, g| { let mut m = p.moments(on, g); if let Some(f) = &mut m.factors { f.log_det *= NUDGE; } m }, &["factors"]),
    ("inverse of a chain not that of its factor", "langevin-order-n", |p, on, g| { let mut m = p.moments(on, g); if let Some(f) = &mut m.factors { f.inverse[(0, 0)] *= NUDGE; } m }, &["factors", "conversions"]),
];

/// Each planted mistake is reported by each property named beside it, and each property is named
/// somewhere. Catches: a property that cannot fail, or whose tolerance hides a part in a million.
#[test]
fn each_property_reports_the_mistakes_it_names() {
    let mut missed = vec![];
    let mut named = vec![];
    for (mistake, process, spoil, by) in PLANTED {
        for name in *by {
            named.push(*name);
            let property = *PROPERTIES
                .iter()
                .find(|p| p.0 == *name)
                .unwrap_or_else(|| panic!("{name}"));
            match sweep(property, vec![process], 600, Some(*spoil)) {
                Ok(_) => missed.push(format!("{mistake}: not seen by {name}")),
                Err(e) => println!("{mistake} -> {}", e.lines().next().unwrap_or_default()),
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for (name, _) in PROPERTIES {
        assert!(named.contains(name), "{name} has never been seen to fail");
    }
}

/// Mistakes in what is read off a covariance: [`factors_of`] reports each. Catches: a check of
/// factors that compares a quantity with itself.
#[test]
fn wrong_factors_are_reported() {
    let build = |n: &str, p: Params| entry(n).unwrap().build(&p).unwrap();
    let at = |p: &dyn AnyProcess| {
        kernel_values(
            p,
            &Schedule::constant(4.0).unwrap(),
            Objective::hsm(0.04).unwrap(),
            0.0,
            0.3,
        )
        .unwrap()
    };
    let two = at(&*build("cld", Params::default().with("mass", 0.25)));
    let three = at(&*build(
        "langevin-order-n",
        Params::default().with("order", 3.0),
    ));
    type Break = fn(&mut KernelValues);
    #[rustfmt::skip]
    let planted: &[(&str, Break, &str)] = &[
        ("upper for lower", |v| std::mem::swap(&mut v.chol_lower, &mut v.chol_upper), "a factor is not triangular"),
        ("lower transposed for upper", |v| v.chol_upper = v.chol_lower.transpose(), "upper factor times its transpose"),
        ("inverse for inverse transpose", |v| v.inverse_transpose_lower = v.inverse_transpose_lower.transpose(), "transpose is not triangular"),
        ("upper's inverse transpose scaled", |v| v.inverse_transpose_upper[(0, 0)] *= NUDGE, "upper factor and its inverse transpose"),
        ("lower off in its last entry", |v| v.chol_lower[(v.k - 1, v.k - 1)] *= NUDGE, "lower factor times its transpose"),
        ("variance for standard deviation", |v| v.chol_lower[(0, 0)] *= v.chol_lower[(0, 0)], "lower factor times its transpose"),
        ("negative root", |v| v.chol_lower = v.chol_lower.map(|x| -x), "not positive definite"),
        ("one triangle of the covariance off", |v| v.cov[(0, 1)] *= NUDGE, "not symmetric"),
        ("inverse without the minus", |v| { v.inv[(0, 1)] = -v.inv[(0, 1)]; v.inv[(1, 0)] = -v.inv[(1, 0)] }, "inverse from the lower factor"),
        ("determinant of the factor", |v| v.det = v.det.sqrt(), "determinant"),
        ("half the log-determinant", |v| v.logdet *= 0.5, "log-determinant"),
        ("ell from the marginal variance", |v| v.ell = 1.0 / v.cov[(v.k - 1, v.k - 1)].sqrt(), "ell"),
        ("ell for x", |v| v.ell = 1.0 / v.chol_lower[(0, 0)], "ell"),
        ("snr without the square", |v| v.snr = v.mean[(0, 0)] / v.cov[(0, 0)], "snr"),
        ("joint snr of x alone", |v| v.snr_joint = v.snr, "joint snr"),
    ];
    for right in [&two, &three] {
        assert_eq!(factors_of(right, 8.0 * ULP), Ok(true));
        for (mistake, spoil, says) in planted {
            let mut v = right.clone();
            spoil(&mut v);
            let said = factors_of(&v, 8.0 * ULP).expect_err(mistake);
            assert!(said.contains(says), "{mistake}: {said}");
        }
    }
}
