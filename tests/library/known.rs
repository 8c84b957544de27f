//! Mistakes that people make, made here in an implementation of its own: CLD, VP, sub-VP and VE
//! written down once more, with each mistake where a programmer makes it, and nothing of `truth` or
//! of its readings. The verdict must name it: first and alone.
//!
//! [`BUGS`] is the list; `docs/reference/mistakes.md` is the table of what was named, in float64
//! and in float32.

use cld_sgm::check::answers::{Answer, Answers, Entry};
use cld_sgm::check::mistakes::MISTAKES;
use cld_sgm::check::{Report, judge};
use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::files::{Array, Precision};
use cld_sgm::internal::truth::config::Config;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

const N: usize = 12;
const D: usize = 2;
const MASS: f64 = 0.25;
const GAMMA: f64 = 0.04;
const B0: f64 = 0.5;
const B1: f64 = 7.9;
const VP_B1: f64 = 15.7;
const SIGMA: (f64, f64) = (0.25, 8.0);
/// Mean and deviation of the data, where a step is given these for a score.
const DATA: (f64, f64) = (0.25, 0.75);

/// What is planted (in words), the id that must be named, and the value that must be found.
type Bug = (&'static str, &'static str, Option<f64>);

/// The list.
const BUGS: &[Bug] = &[
    ("1e-4 added to every variance", "epsilon-added", Some(1e-4)),
    (
        "1e-4 on the diagonal of the initial covariance",
        "epsilon-in-initial-variance",
        Some(1e-4),
    ),
    (
        "the printed formulas: differences of nearly equal numbers",
        "cancellation",
        None,
    ),
    (
        "a block matrix exponential at late times",
        "late-cancellation",
        None,
    ),
    (
        "variance of x: printed formula early, block exponential late",
        "cancellation-at-both-ends",
        None,
    ),
    (
        "a matrix exponential: errors of some hundred units",
        "rounding",
        None,
    ),
    (
        "everything in float32, stored as float64",
        "single-precision",
        None,
    ),
    ("the rate alone in float32", "single-precision-part", None),
    ("everything in bfloat16", "half-precision", None),
    ("the rate alone in bfloat16", "half-precision-part", None),
    ("the rate alone in float16", "half-precision-part", None),
    (
        "the integral alone in bfloat16",
        "half-precision-part",
        None,
    ),
    ("the time in bfloat16", "half-precision-part", None),
    ("the time in float16", "half-precision-part", None),
    (
        "DDPM's 1 - cumprod(1 - beta), as it is written",
        "cancellation",
        None,
    ),
    (
        "midpoint sum of 20 intervals for the cosine's integral",
        "integral-by-midpoints",
        Some(20.0),
    ),
    (
        "a step's table read at floor(t (N - 1))",
        "time-on-grid",
        None,
    ),
    ("the root of dt in float32", "dt-in-single-precision", None),
    ("an integrator: errors like noise of 1e-4", "noise", None),
    ("bits flipped in two rows", "damaged-rows", None),
    ("M and 1/M swapped", "mass-inverted", None),
    ("velocity for momentum", "velocity-for-momentum", None),
    (
        "friction 1.37, where critical damping is 1",
        "friction",
        Some(1.37),
    ),
    ("DSM for HSM", "dsm-for-hsm", None),
    ("HSM for DSM", "hsm-for-dsm", None),
    (
        "initial variance gamma for gamma M",
        "gamma-not-times-mass",
        None,
    ),
    ("initial variance squared", "initial-variance-squared", None),
    (
        "initial deviation for the variance",
        "initial-variance-squared",
        None,
    ),
    (
        "initial variance counted twice",
        "initial-variance-twice",
        None,
    ),
    ("initial variance 0.037", "initial-variance", Some(0.037)),
    (
        "forward for reverse: both couplings' signs",
        "xv-sign",
        None,
    ),
    ("sign of the xv covariance", "xv-sign", None),
    (
        "upper Cholesky factor for the lower",
        "other-cholesky-factor",
        None,
    ),
    (
        "lower Cholesky factor for the upper",
        "other-cholesky-factor",
        None,
    ),
    (
        "diagonal Cholesky factor: covariance dropped",
        "diagonal-factor",
        None,
    ),
    (
        "diagonal of variances for the factor",
        "diagonal-factor",
        None,
    ),
    (
        "symmetric square root for the factor",
        "another-factor",
        None,
    ),
    (
        "the Cholesky factor turned, where it is shown",
        "another-factor",
        None,
    ),
    ("marginal ell", "ell-of-marginal", None),
    (
        "variance for the standard deviation",
        "variance-for-standard-deviation",
        None,
    ),
    (
        "standard deviation for the variance",
        "standard-deviation-for-variance",
        None,
    ),
    (
        "sigma = std/mean for the standard deviation",
        "sigma-for-standard-deviation",
        None,
    ),
    (
        "standard deviation for sigma = std/mean",
        "standard-deviation-for-sigma",
        None,
    ),
    ("1 - t for t", "one-minus-t", None),
    ("t clamped below 0.02", "t-clamped", Some(0.02)),
    ("beta/2: the rate halved", "beta-half", Some(0.5)),
    ("beta/2: the rate doubled", "beta-half", Some(2.0)),
    ("the rate times 0.73", "beta-factor", Some(0.73)),
    ("the slope given as beta_max", "beta-max-as-slope", None),
    (
        "beta_max - beta_min subtracted twice",
        "beta-max-as-slope",
        None,
    ),
    ("integral without 1/2", "integral-without-half", None),
    ("the rate times t for the integral", "rate-times-t", None),
    (
        "Riemann sum of 200 steps for the integral",
        "integral-by-sum",
        Some(0.995),
    ),
    (
        "DDPM's product of 1000 steps for the integral",
        "discrete-steps",
        Some(1000.0),
    ),
    ("sub-VP's exponent twice as large", "sub-vp-exponent", None),
    ("sub-VP's exponent halved", "sub-vp-exponent", None),
    ("VE counted from sigma_min", "ve-from-sigma-min", None),
    ("density without 2 pi", "density-without-constant", None),
    (
        "density without the determinant",
        "density-without-constant",
        None,
    ),
    ("prior with velocity variance 1", "prior-variance-one", None),
    ("likelihood weight g^2 for g^2/2", "likelihood-weight", None),
    ("loss without ell^2", "loss-weighting", None),
    ("loss a mean over coordinates", "loss-factor", Some(0.5)),
    (
        "one noise for both channels (x's)",
        "one-noise-for-all-channels",
        None,
    ),
    (
        "one noise for both channels (v's)",
        "one-noise-for-all-channels",
        None,
    ),
    ("half of G G^T in the reverse SDE", "half-kick", None),
    (
        "reverse drift: sign of the forward part",
        "reverse-sign",
        None,
    ),
    ("reverse drift: sign of the score", "reverse-sign", None),
    ("reverse drift: both signs", "reverse-sign", None),
    (
        "noise of a step without the root of dt",
        "noise-without-sqrt-dt",
        None,
    ),
    (
        "noise of a step with dt for its root",
        "noise-without-sqrt-dt",
        None,
    ),
    ("noise of a step without beta", "noise-without-beta", None),
    ("score at the end of the step", "score-at-end-of-step", None),
    ("noise in the denoising step", "denoise-with-noise", None),
    (
        "SSCS: second half repeats the first",
        "second-half-step",
        None,
    ),
    ("SSCS: b(t) h/2 for the integral", "half-step-rate", None),
    ("channels exchanged: v, x", "channel-order", None),
    (
        "channels exchanged, of the inputs, too",
        "channel-order",
        None,
    ),
    ("channels interleaved: (n, d, 2)", "interleaved", None),
    (
        "channels interleaved, of the inputs, too",
        "interleaved",
        None,
    ),
    ("matrices transposed", "transposed", None),
    ("rows shifted by one", "rows-shifted", None),
];

/// Times that float32 holds.
fn times() -> Vec<f64> {
    [
        1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9f32,
    ]
    .map(f64::from)
    .to_vec()
}

/// Times of a grid of 1000 steps, rounded to float32.
fn grid() -> Vec<f64> {
    [
        1.0, 2.0, 5.0, 11.0, 40.0, 101.0, 250.0, 333.0, 501.0, 700.0, 850.0, 999.0f64,
    ]
    .map(|k| f64::from((k / 1000.0) as f32))
    .to_vec()
}

/// Numbers that float32 holds, neither small nor round.
fn wave(width: usize, a: f64, b: f64) -> Vec<f64> {
    (0..N * width)
        .map(|i| f64::from(((a * i as f64 + b).sin() * 1.4 + 0.3) as f32))
        .collect()
}

/// One quantity: its inputs and what the code answers.
struct Answered {
    quantity: &'static str,
    process: Value,
    inputs: Vec<(&'static str, Vec<usize>, Vec<f64>)>,
    outputs: Vec<(&'static str, Vec<usize>, Vec<f64>)>,
}

/// The code, with its mistake.
#[derive(Clone, Copy)]
struct Code {
    bug: &'static str,
    hsm: bool,
}

/// dx = F u b dt + sqrt(g b) dW in v: F, g, the stationary variance of v, and the variance of v at
/// t = 0.
struct System {
    f: [f64; 4],
    g: f64,
    stationary: f64,
    start: f64,
}

/// The kernel at a time.
struct Kernel {
    mean: [f64; 4],
    /// xx, xv, vv
    cov: [f64; 3],
    factor: [f64; 4],
    det: f64,
    ell: f64,
}

fn dd(x: f64) -> Dd {
    Dd::from(x)
}

fn cosh_sinh(x: Dd) -> (Dd, Dd) {
    let (a, b) = (x.exp(), (-x).exp());
    ((a + b).scale(0.5), (a - b).scale(0.5))
}

/// exp(F b) by its characteristic roots, and S - exp(F b) S exp(F b)^T + exp(F b) diag(0, start)
/// exp(F b)^T, in double words.
fn law(y: &System, b: Dd, start: f64) -> ([Dd; 4], [Dd; 3]) {
    let s = 0.5 * (y.f[0] + y.f[3]);
    let square = Dd::prod(s, s) - (Dd::prod(y.f[0], y.f[3]) - Dd::prod(y.f[1], y.f[2]));
    let (c, z) = if square.abs().to_f64() < 1e-20 {
        (Dd::ONE, b)
    } else {
        let w = square.sqrt();
        let (c, sh) = cosh_sinh(w * b);
        (c, sh / w)
    };
    let e = (dd(s) * b).exp();
    let entry = |i: usize| {
        let diagonal = i == 0 || i == 3;
        e * ((if diagonal { c } else { Dd::ZERO })
            + z * (dd(y.f[i]) - if diagonal { dd(s) } else { Dd::ZERO }))
    };
    let p: [Dd; 4] = std::array::from_fn(entry);
    let v = dd(y.stationary);
    let carried =
        |i: usize, j: usize| p[2 * i] * p[2 * j] + (v - dd(start)) * p[2 * i + 1] * p[2 * j + 1];
    (
        p,
        [Dd::ONE - carried(0, 0), -carried(0, 1), v - carried(1, 1)],
    )
}

impl Code {
    fn has(&self, bug: &str) -> bool {
        self.bug == bug
    }

    fn slope(&self, b0: f64, b1: f64) -> f64 {
        if self.has("the slope given as beta_max") {
            b1 + b0
        } else if self.has("beta_max - beta_min subtracted twice") {
            b1 - b0
        } else {
            b1
        }
    }

    fn factor_of_rate(&self) -> f64 {
        match self.bug {
            "beta/2: the rate halved" => 0.5,
            "beta/2: the rate doubled" => 2.0,
            "the rate times 0.73" => 0.73,
            _ => 1.0,
        }
    }

    fn clock(&self, t: f64) -> f64 {
        match self.bug {
            "1 - t for t" => 1.0 - t,
            "t clamped below 0.02" => t.max(0.02),
            "the time in bfloat16" => bfloat16(t),
            "the time in float16" => float16(t),
            _ => t,
        }
    }

    /// The time as a step holds it.
    fn held(&self, t: f64) -> f64 {
        if self.bug.starts_with("the time in") {
            self.clock(t)
        } else {
            t
        }
    }

    fn rate(&self, b1: f64, t: f64) -> f64 {
        let b = (B0 + self.slope(B0, b1) * t) * self.factor_of_rate();
        let b = match self.bug {
            "the rate alone in bfloat16" => bfloat16(b),
            "the rate alone in float16" => float16(b),
            _ => b,
        };
        if self.has("the rate alone in float32") {
            f64::from((B0 as f32) + (b1 as f32) * t as f32)
        } else {
            b
        }
    }

    fn integral(&self, b1: f64, t: f64) -> Dd {
        let square = Dd::prod(t, t) * dd(0.5 * self.slope(B0, b1));
        let square = match self.bug {
            "integral without 1/2" => square.scale(2.0),
            "Riemann sum of 200 steps for the integral" => square * dd(0.995),
            _ => square,
        };
        let sum = (Dd::prod(B0, t) + square) * dd(self.factor_of_rate());
        if self.has("the integral alone in bfloat16") {
            dd(bfloat16(sum.to_f64()))
        } else {
            sum
        }
    }

    fn system(&self) -> System {
        let mass = if self.has("M and 1/M swapped") {
            1.0 / MASS
        } else {
            MASS
        };
        let friction = if self.has("friction 1.37, where critical damping is 1") {
            1.37
        } else {
            2.0 * mass.sqrt()
        };
        let variance = GAMMA * mass;
        let start = match self.bug {
            "DSM for HSM" => 0.0,
            "HSM for DSM" => variance,
            "initial variance gamma for gamma M" if self.hsm => GAMMA,
            "initial variance squared" if self.hsm => variance * variance,
            "initial deviation for the variance" if self.hsm => variance.sqrt(),
            "initial variance counted twice" if self.hsm => 2.0 * variance,
            "initial variance 0.037" if self.hsm => 0.037,
            _ if self.hsm => variance,
            _ => 0.0,
        };
        let sign = if self.has("forward for reverse: both couplings' signs") {
            -1.0
        } else {
            1.0
        };
        if self.has("velocity for momentum") {
            return System {
                f: [0.0, 1.0, -1.0 / mass, -friction / mass],
                g: 2.0 * friction / (mass * mass),
                stationary: 1.0 / mass,
                start: start / (mass * mass),
            };
        }
        System {
            f: [0.0, sign / mass, -sign, -friction / mass],
            g: 2.0 * friction,
            stationary: mass,
            start,
        }
    }

    /// What stands for the factor of this covariance.
    fn factor(&self, upper: bool, [xx, xv, vv]: [Dd; 3]) -> [f64; 4] {
        let lower = {
            let l = xx.sqrt();
            [l, Dd::ZERO, xv / l, (vv - xv * xv / xx).sqrt()]
        };
        let other = {
            let l = vv.sqrt();
            [(xx - xv * xv / vv).sqrt(), xv / l, Dd::ZERO, l]
        };
        let f = match self.bug {
            "diagonal Cholesky factor: covariance dropped" => {
                [xx.sqrt(), Dd::ZERO, Dd::ZERO, vv.sqrt()]
            }
            "diagonal of variances for the factor" => [xx, Dd::ZERO, Dd::ZERO, vv],
            "upper Cholesky factor for the lower" if !upper => other,
            "lower Cholesky factor for the upper" if upper => lower,
            "symmetric square root for the factor" => {
                let root = (xx * vv - xv * xv).sqrt();
                let size = (xx + vv + root.scale(2.0)).sqrt();
                [(xx + root) / size, xv / size, xv / size, (vv + root) / size]
            }
            _ if upper => other,
            _ => lower,
        };
        f.map(Dd::to_f64)
    }

    fn kernel(&self, upper: bool, t: f64) -> Kernel {
        let y = self.system();
        let (p, mut cov) = law(&y, self.integral(B1, self.clock(t)), y.start);
        match self.bug {
            "1e-4 added to every variance" => {
                cov[0] = cov[0] + dd(1e-4);
                cov[2] = cov[2] + dd(1e-4);
            }
            "1e-4 on the diagonal of the initial covariance" => {
                let more = |i: usize, j: usize| {
                    (p[2 * i] * p[2 * j] + p[2 * i + 1] * p[2 * j + 1]) * dd(1e-4)
                };
                cov = [
                    cov[0] + more(0, 0),
                    cov[1] + more(0, 1),
                    cov[2] + more(1, 1),
                ];
            }
            "sign of the xv covariance" => cov[1] = -cov[1],
            _ => {}
        }
        let det = cov[0] * cov[2] - cov[1] * cov[1];
        let ell = if self.has("marginal ell") {
            cov[2].sqrt().recip()
        } else {
            (cov[0] / det).sqrt()
        };
        Kernel {
            mean: p.map(Dd::to_f64),
            cov: cov.map(Dd::to_f64),
            factor: self.factor(upper, cov),
            det: det.to_f64(),
            ell: if upper {
                1.0 / (cov[0] - cov[1] * cov[1] / cov[2]).sqrt().to_f64()
            } else {
                ell.to_f64()
            },
        }
    }

    /// The factor as it is shown.
    fn shown(&self, upper: bool, t: f64) -> Vec<f64> {
        let f = self.kernel(upper, t).factor;
        if !self.has("the Cholesky factor turned, where it is shown") {
            return f.to_vec();
        }
        // by two thirds of a right angle
        let (c, s) = (0.5, 0.75f64.sqrt());
        vec![
            f[0] * c - f[1] * s,
            f[0] * s + f[1] * c,
            f[2] * c - f[3] * s,
            f[2] * s + f[3] * c,
        ]
    }

    /// The noise as it is used.
    fn drawn(&self, z: &[f64]) -> Vec<f64> {
        match self.bug {
            "one noise for both channels (x's)" => [&z[..D], &z[..D]].concat(),
            "one noise for both channels (v's)" => [&z[D..], &z[D..]].concat(),
            _ => z.to_vec(),
        }
    }

    /// The drift of the reverse SDE per unit of the rate.
    fn reverse(&self, y: &System, u: &[f64], score: &[f64]) -> Vec<f64> {
        let (mut forward, mut pull) = (
            -1.0,
            if self.has("half of G G^T in the reverse SDE") {
                0.5
            } else {
                1.0
            },
        );
        match self.bug {
            "reverse drift: sign of the forward part" => forward = 1.0,
            "reverse drift: sign of the score" => pull = -1.0,
            "reverse drift: both signs" => (forward, pull) = (1.0, -1.0),
            _ => {}
        }
        let x = |c: usize| forward * (y.f[0] * u[c] + y.f[1] * u[D + c]);
        let v = |c: usize| forward * (y.f[2] * u[c] + y.f[3] * u[D + c]) + pull * y.g * score[c];
        (0..D).map(x).chain((0..D).map(v)).collect()
    }

    /// The score of v for normal data, exactly.
    fn exact_score(&self, t: f64, u: &[f64]) -> Vec<f64> {
        let y = self.system();
        let (p, cov) = law(&y, self.integral(B1, self.held(t)), y.start);
        let var = dd(DATA.1) * dd(DATA.1);
        let s = [
            cov[0] + var * p[0] * p[0],
            cov[1] + var * p[0] * p[2],
            cov[2] + var * p[2] * p[2],
        ];
        let det = s[0] * s[2] - s[1] * s[1];
        let of = |c: usize| {
            let (a, b) = (
                dd(u[c]) - p[0] * dd(DATA.0),
                dd(u[D + c]) - p[2] * dd(DATA.0),
            );
            (-(s[0] * b - s[1] * a) / det).to_f64()
        };
        (0..D).map(of).collect()
    }

    /// A step of Euler-Maruyama: the mean, and the state.
    fn em(&self, t: f64, s: f64, u: &[f64], score: &[f64], z: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (y, h, b) = (self.system(), t - s, self.rate(B1, self.held(t)));
        let mean: Vec<f64> = u
            .iter()
            .zip(self.reverse(&y, u, score))
            .map(|(u, d)| u + h * b * d)
            .collect();
        let root = match self.bug {
            "noise of a step without the root of dt" => 1.0,
            "noise of a step with dt for its root" => h,
            _ => h.sqrt(),
        };
        let size = (y.g
            * if self.has("noise of a step without beta") {
                1.0
            } else {
                b
            })
        .sqrt()
            * root;
        let z = self.drawn(z);
        let next = (0..2 * D)
            .map(|i| mean[i] + if i < D { 0.0 } else { size * z[i] })
            .collect();
        (mean, next)
    }

    /// The analytic half step of SSCS from t to s: the couplings' signs are reversed.
    fn half(&self, start: f64, t: f64, s: f64, u: &[f64], z: &[f64]) -> Vec<f64> {
        let y = self.system();
        let y = System {
            f: [y.f[0], -y.f[1], -y.f[2], y.f[3]],
            ..y
        };
        let over = match self.bug {
            "SSCS: b(t) h/2 for the integral" => Dd::diff(t, s) * dd(self.rate(B1, start)),
            _ => self.integral(B1, self.held(t)) - self.integral(B1, self.held(s)),
        };
        let (p, mut cov) = law(&y, over, 0.0);
        if self.has("1e-4 added to every variance") {
            (cov[0], cov[2]) = (cov[0] + dd(1e-4), cov[2] + dd(1e-4));
        }
        let l = self.factor(false, cov);
        let z = self.drawn(z);
        let out = |i: usize| {
            let (r, c) = (i / D, i % D);
            p[2 * r].to_f64() * u[c]
                + p[2 * r + 1].to_f64() * u[D + c]
                + l[2 * r] * z[c]
                + l[2 * r + 1] * z[D + c]
        };
        (0..2 * D).map(out).collect()
    }

    fn sscs(&self, t: f64, s: f64, u: &[f64], score: &[f64], z: [&[f64]; 2]) -> Vec<f64> {
        let y = self.system();
        let middle = 0.5 * (t + s);
        let mut u = self.half(t, t, middle, u, z[0]);
        let k = (t - s) * self.rate(B1, self.held(t)) * y.g;
        (0..D).for_each(|c| u[D + c] += k * (score[c] + u[D + c] / y.stationary));
        let (a, b) = if self.has("SSCS: second half repeats the first") {
            (t, middle)
        } else {
            (middle, s)
        };
        self.half(t, a, b, &u, z[1])
    }

    /// log N(u; m, [[xx, xv], [xv, vv]] x I_d)
    fn log_density(&self, k: &Kernel, delta: &[f64]) -> f64 {
        let [xx, xv, vv] = k.cov;
        let square: f64 = (0..D)
            .map(|c| {
                (vv * delta[c] - 2.0 * xv * delta[D + c]) * delta[c]
                    + xx * delta[D + c] * delta[D + c]
            })
            .sum();
        let constant = if self.has("density without 2 pi") {
            0.0
        } else {
            D as f64 * TAU.ln()
        };
        let size = if self.has("density without the determinant") {
            0.0
        } else {
            0.5 * D as f64 * k.det.ln()
        };
        -0.5 * square / k.det - constant - size
    }

    fn loss(&self, weighting: usize, t: f64, x0: &[f64], z: &[f64], net: &[f64]) -> f64 {
        let (k, y) = (self.kernel(false, t), self.system());
        let z = self.drawn(z);
        let v = |c: usize| k.mean[2] * x0[c] + k.factor[2] * z[c] + k.factor[3] * z[D + c];
        let svv = if self.hsm {
            k.cov[2]
        } else {
            Code { hsm: true, ..*self }.kernel(false, t).cov[2]
        };
        let sum: f64 = (0..D)
            .map(|c| z[D + c] - net[c] - v(c) / (svv * k.ell))
            .map(|e| e * e)
            .sum();
        let half = if self.has("likelihood weight g^2 for g^2/2") {
            1.0
        } else {
            0.5
        };
        let g = half * y.g * self.rate(B1, self.clock(t));
        let weighting = if self.has("loss without ell^2") && weighting == 0 {
            1
        } else {
            weighting
        };
        let mean = if self.has("loss a mean over coordinates") {
            1.0 / D as f64
        } else {
            1.0
        };
        mean * sum * [g * k.ell * k.ell, g, 1.0][weighting]
    }

    /// Everything that the code answers for CLD.
    fn cld(&self, all: &mut Vec<Answered>) {
        let t = times();
        let s: Vec<f64> = t.iter().map(|t| f64::from((0.75 * t) as f32)).collect();
        let (u, u0, z, z2) = (
            wave(4, 1.7, 0.3),
            wave(4, 1.3, 0.4),
            wave(4, 2.9, 1.1),
            wave(4, 3.1, 0.8),
        );
        // what is given, and what the code takes it for
        let given = [u, u0, z, z2];
        let [u, u0, z, z2] = given.clone().map(|v| {
            if self.bug.ends_with("of the inputs, too") {
                permuted(self.bug, &v)
            } else {
                v
            }
        });
        let (score, x0, net) = (wave(2, 0.7, 0.2), wave(2, 0.9, 0.1), wave(2, 1.1, 0.6));
        let linear = json!({"kind": "linear", "b0": B0, "b1": B1});
        let name = if self.hsm { "hsm" } else { "dsm" };
        let process = json!({"kind": "cld", "mass": MASS, "gamma": GAMMA, "objective": name, "schedule": linear});
        let upper = {
            let mut p = process.clone();
            p["decomposition"] = "upper".into();
            p
        };
        let block = |v: &[f64], r: usize| v[r * 2 * D..(r + 1) * 2 * D].to_vec();
        let half = |v: &[f64], r: usize| v[r * D..(r + 1) * D].to_vec();
        let kernels: Vec<Kernel> = t.iter().map(|t| self.kernel(false, *t)).collect();
        let line = |f: &dyn Fn(&Kernel) -> f64| kernels.iter().map(f).collect::<Vec<f64>>();
        let rows = |f: &dyn Fn(usize) -> Vec<f64>| (0..N).flat_map(f).collect::<Vec<f64>>();
        let apply = |m: &[f64; 4], v: &[f64]| -> Vec<f64> {
            (0..2 * D)
                .map(|i| m[i / D * 2] * v[i % D] + m[i / D * 2 + 1] * v[D + i % D])
                .collect()
        };
        let sum = |a: Vec<f64>, b: Vec<f64>| -> Vec<f64> {
            a.iter().zip(&b).map(|(a, b)| a + b).collect()
        };
        let shape = |width: usize| if width == 0 { vec![N] } else { vec![N, width] };
        let matrix = vec![N, 2, 2];
        let of = |name: &'static str, v: &[f64]| {
            (
                name,
                shape(if v.len() == N { 0 } else { v.len() / N }),
                v.to_vec(),
            )
        };
        let at_t = || of("t", &t);
        let mut add = |quantity, process: &Value, inputs, outputs| {
            all.push(Answered {
                quantity,
                process: process.clone(),
                inputs,
                outputs,
            });
        };

        let matrices = rows(&|r| kernels[r].mean.to_vec());
        let means = rows(&|r| apply(&kernels[r].mean, &block(&u0, r)));
        let mean_signs: Vec<f64> = matrices.clone();
        add(
            "kernel.mean",
            &process,
            vec![at_t(), of("u0", &given[1])],
            vec![("matrix", matrix.clone(), mean_signs), of("mean", &means)],
        );
        let [xx, xv, vv] = [0, 1, 2].map(|i| line(&|k| k.cov[i]));
        let deviation = |v: Vec<f64>| {
            if self.has("standard deviation for the variance") {
                v.iter().map(|x| x.sqrt()).collect()
            } else {
                v
            }
        };
        add(
            "kernel.cov",
            &process,
            vec![at_t()],
            vec![
                of("xx", &deviation(xx)),
                of("xv", &xv),
                of("vv", &deviation(vv)),
            ],
        );
        add(
            "kernel.factor",
            &process,
            vec![at_t()],
            vec![("factor", matrix.clone(), rows(&|r| self.shown(false, t[r])))],
        );
        add(
            "kernel.factor",
            &upper,
            vec![at_t()],
            vec![("factor", matrix, rows(&|r| self.shown(true, t[r])))],
        );
        add(
            "kernel.ell",
            &process,
            vec![at_t()],
            vec![of("ell", &line(&|k| k.ell))],
        );
        let perturbed = rows(&|r| {
            sum(
                apply(&kernels[r].mean, &block(&u0, r)),
                apply(&kernels[r].factor, &self.drawn(&block(&z, r))),
            )
        });
        add(
            "kernel.perturb",
            &process,
            vec![at_t(), of("u0", &given[1]), of("noise", &given[2])],
            vec![of("u_t", &perturbed)],
        );
        let density = rows(&|r| {
            let m = apply(&kernels[r].mean, &block(&u0, r));
            let delta: Vec<f64> = block(&u, r).iter().zip(&m).map(|(u, m)| u - m).collect();
            vec![self.log_density(&kernels[r], &delta)]
        });
        add(
            "kernel.log_density",
            &process,
            vec![at_t(), of("u0", &given[1]), of("u", &given[0])],
            vec![of("log_density", &density)],
        );
        if !self.hsm {
            return;
        }

        let y = self.system();
        let rate = |t: f64| self.rate(B1, self.clock(t));
        add(
            "schedule.rate",
            &process,
            vec![at_t()],
            vec![of("rate", &t.iter().map(|t| rate(*t)).collect::<Vec<_>>())],
        );
        let integrals: Vec<f64> = t
            .iter()
            .map(|t| self.integral(B1, self.clock(*t)).to_f64())
            .collect();
        add(
            "schedule.integral",
            &process,
            vec![at_t()],
            vec![of("integral", &integrals)],
        );
        let size = |r: usize| -> Vec<f64> {
            (0..2 * D)
                .map(|i| {
                    if i < D {
                        0.0
                    } else {
                        (y.g * rate(t[r])).sqrt()
                    }
                })
                .collect()
        };
        let drift = rows(&|r| {
            apply(&y.f, &block(&u, r))
                .iter()
                .map(|x| rate(t[r]) * x)
                .collect()
        });
        let inputs = vec![at_t(), of("u", &given[0])];
        add(
            "process.drift_diffusion",
            &process,
            inputs,
            vec![of("drift", &drift), of("diffusion", &rows(&size))],
        );
        let prior = rows(&|r| {
            let variance = if self.has("prior with velocity variance 1") {
                1.0
            } else {
                y.stationary
            };
            let k = Kernel {
                mean: [0.0; 4],
                cov: [1.0, 0.0, variance],
                factor: [0.0; 4],
                det: variance,
                ell: 0.0,
            };
            vec![self.log_density(&k, &block(&u, r))]
        });
        add(
            "prior.log_density",
            &process,
            vec![of("u", &given[0])],
            vec![of("log_density", &prior)],
        );
        let half_weight = if self.has("likelihood weight g^2 for g^2/2") {
            1.0
        } else {
            0.5
        };
        let weights: Vec<f64> = t.iter().map(|t| half_weight * y.g * rate(*t)).collect();
        add(
            "loss.weight.likelihood",
            &process,
            vec![at_t()],
            vec![of("weight", &weights)],
        );
        for weighting in 0..3 {
            let option = ("option.weighting", vec![1], vec![weighting as f64]);
            let inputs = vec![
                at_t(),
                of("x0", &x0),
                of("noise", &given[2]),
                of("net_output", &net),
                option,
            ];
            let loss = rows(&|r| {
                vec![self.loss(
                    weighting,
                    t[r],
                    &half(&x0, r),
                    &block(&z, r),
                    &half(&net, r),
                )]
            });
            add("loss.per_sample", &process, inputs, vec![of("loss", &loss)]);
        }

        let rate = |t: f64| {
            self.rate(
                B1,
                if self.has("1 - t for t") || self.has("t clamped below 0.02") {
                    self.clock(t)
                } else {
                    self.held(t)
                },
            )
        };
        let reverse = rows(&|r| {
            self.reverse(&y, &block(&u, r), &half(&score, r))
                .iter()
                .map(|x| rate(t[r]) * x)
                .collect()
        });
        let inputs = vec![at_t(), of("u", &given[0]), of("score", &score)];
        add(
            "sampler.reverse_drift",
            &process,
            inputs,
            vec![of("drift", &reverse), of("diffusion", &rows(&size))],
        );
        let step = || {
            vec![
                at_t(),
                of("s", &s),
                of("u", &given[0]),
                of("noise", &given[2]),
            ]
        };
        let em = |r: usize, score: &[f64]| self.em(t[r], s[r], &block(&u, r), score, &block(&z, r));
        let (mean, next) = (
            rows(&|r| em(r, &half(&score, r)).0),
            rows(&|r| em(r, &half(&score, r)).1),
        );
        let with_score = |mut v: Vec<_>| {
            v.push(of("score", &score));
            v
        };
        add(
            "sampler.step.em",
            &process,
            with_score(step()),
            vec![of("u_mean", &mean), of("u_next", &next)],
        );
        let last = if self.has("noise in the denoising step") {
            next
        } else {
            mean
        };
        add(
            "sampler.step.denoise",
            &process,
            with_score(step()),
            vec![of("u_next", &last)],
        );
        let when = |r: usize| {
            if self.has("score at the end of the step") {
                s[r]
            } else {
                t[r]
            }
        };
        let exact = rows(&|r| em(r, &self.exact_score(when(r), &block(&u, r))).1);
        let mut inputs = step();
        inputs.push(("data", vec![2], vec![DATA.0, DATA.1]));
        add(
            "sampler.step.em",
            &process,
            inputs,
            vec![of("u_next", &exact)],
        );
        let inputs = vec![
            at_t(),
            of("s", &s),
            of("u", &given[0]),
            of("score", &score),
            of("noise_1", &given[2]),
            of("noise_2", &given[3]),
        ];
        let sscs = rows(&|r| {
            self.sscs(
                t[r],
                s[r],
                &block(&u, r),
                &half(&score, r),
                [&block(&z, r), &block(&z2, r)],
            )
        });
        add(
            "sampler.step.sscs",
            &process,
            inputs,
            vec![of("u_next", &sscs)],
        );
    }

    /// Mean's factor and variance of a process of one channel.
    fn one(&self, kind: &str, t: f64) -> (f64, f64) {
        let t = self.clock(t);
        let epsilon = if self.has("1e-4 added to every variance") {
            1e-4
        } else {
            0.0
        };
        let (low, high) = SIGMA;
        let growth = (high / low).ln();
        let start = if self.has("1e-4 on the diagonal of the initial covariance") {
            dd(1e-4)
        } else {
            Dd::ZERO
        };
        if kind == "ve" {
            let variance = dd(low * low) * (dd(2.0 * t) * dd(high / low).ln()).exp_m1();
            let variance = match self.bug {
                "VE counted from sigma_min" => variance + dd(low * low),
                "the rate times t for the integral" => {
                    dd(2.0 * growth * low * low * t) * (dd(2.0 * t) * dd(high / low).ln()).exp()
                }
                _ => variance * dd(self.factor_of_rate()),
            };
            return (1.0, variance.to_f64() + epsilon);
        }
        let b = if self.has("DDPM's product of 1000 steps for the integral") {
            let beta = |i: usize| (B0 + VP_B1 * i as f64 / 999.0) / 1000.0;
            (0..(t * 1000.0).round() as usize)
                .fold(Dd::ZERO, |b, i| b - (Dd::ONE - dd(beta(i))).ln())
        } else {
            self.integral(VP_B1, t)
        };
        let mean = (-b.scale(0.5)).exp();
        let exponent = match self.bug {
            _ if kind == "vp" => b,
            "sub-VP's exponent twice as large" => b.scale(2.0),
            "sub-VP's exponent halved" => b.scale(0.5),
            _ => b,
        };
        let noise = -(-exponent).exp_m1();
        let variance = (if kind == "vp" { noise } else { noise * noise }) + start * mean * mean;
        (mean.to_f64(), variance.to_f64() + epsilon)
    }

    /// Everything that the code answers for a process of one channel.
    fn scalar(&self, kind: &'static str, t: &[f64], all: &mut Vec<Answered>) {
        let schedule = match kind {
            "ve" => json!({"kind": "geometric-sigma", "sigma_min": SIGMA.0, "sigma_max": SIGMA.1}),
            _ => json!({"kind": "linear", "b0": B0, "b1": VP_B1}),
        };
        let process = json!({"kind": kind, "schedule": schedule});
        let (u, u0, z) = (wave(D, 1.7, 0.3), wave(D, 1.3, 0.4), wave(D, 2.9, 1.1));
        let at = |r: usize| self.one(kind, t[r]);
        let deviation = |r: usize| {
            let (mean, variance) = at(r);
            match self.bug {
                "variance for the standard deviation" => variance,
                "sigma = std/mean for the standard deviation" => variance.sqrt() / mean,
                _ => variance.sqrt(),
            }
        };
        let line = |f: &dyn Fn(usize) -> f64| (0..N).map(f).collect::<Vec<f64>>();
        let at_t = || ("t", vec![N], t.to_vec());
        let mut add = |quantity, inputs, outputs| {
            all.push(Answered {
                quantity,
                process: process.clone(),
                inputs,
                outputs,
            })
        };
        add(
            "kernel.mean",
            vec![at_t()],
            vec![("xx", vec![N], line(&|r| at(r).0))],
        );
        let shown = |r: usize| {
            if self.has("standard deviation for the variance") {
                at(r).1.sqrt()
            } else {
                at(r).1
            }
        };
        add(
            "kernel.cov",
            vec![at_t()],
            vec![("xx", vec![N], line(&shown))],
        );
        add(
            "kernel.factor",
            vec![at_t()],
            vec![("l11", vec![N], line(&deviation))],
        );
        let perturbed = (0..N * D)
            .map(|i| at(i / D).0 * u0[i] + deviation(i / D) * z[i])
            .collect();
        let inputs = vec![
            at_t(),
            ("u0", vec![N, D], u0.clone()),
            ("noise", vec![N, D], z.clone()),
        ];
        add(
            "kernel.perturb",
            inputs,
            vec![("u_t", vec![N, D], perturbed)],
        );
        let variance = match kind {
            "ve" if self.has("VE counted from sigma_min") => SIGMA.1 * SIGMA.1,
            "ve" => (SIGMA.1 * SIGMA.1 - SIGMA.0 * SIGMA.0) * self.factor_of_rate(),
            _ => 1.0,
        };
        let constant = if self.has("density without 2 pi") {
            0.0
        } else {
            TAU.ln()
        };
        let size = if self.has("density without the determinant") {
            0.0
        } else {
            variance.ln()
        };
        let prior = |r: usize| {
            (0..D)
                .map(|c| -0.5 * (u[r * D + c] * u[r * D + c] / variance + constant + size))
                .sum()
        };
        add(
            "prior.log_density",
            vec![("u", vec![N, D], u.clone())],
            vec![("log_density", vec![N], line(&prior))],
        );
    }

    /// VP under a cosine schedule, alpha_bar = cos((s + t a)/(1 + s) pi/2)^2 / cos(s/(1 + s)
    /// pi/2)^2.
    fn cosine(&self, all: &mut Vec<Answered>) {
        let (s0, end) = (0.008, 0.99);
        let process = json!({"kind": "vp", "schedule": {"kind": "cosine", "s0": s0, "t_max": end}});
        let t = times();
        let angle = |t: f64| (s0 + t * end) / (1.0 + s0) * std::f64::consts::FRAC_PI_2;
        let rate = |t: f64| angle(t).tan() * std::f64::consts::PI * end / (1.0 + s0);
        // ln(cos a / cos b) = ln(1 - 2 sin((a+b)/2) sin((a-b)/2) / cos b), without a difference
        let integral = |t: f64| {
            let (a, b) = (angle(t), angle(0.0));
            let less = 2.0
                * (0.5 * (a + b)).sin()
                * (0.5 * t * end / (1.0 + s0) * std::f64::consts::FRAC_PI_2).sin()
                / b.cos();
            -2.0 * (-less).ln_1p()
        };
        let integral = |t: f64| match self.bug {
            "midpoint sum of 20 intervals for the cosine's integral" => (0..20)
                .map(|i| rate((f64::from(i) + 0.5) * t / 20.0) * t / 20.0)
                .sum(),
            _ => integral(t),
        };
        let line = |f: &dyn Fn(f64) -> f64| t.iter().map(|t| f(*t)).collect::<Vec<f64>>();
        let mut add = |quantity, name, values: Vec<f64>| {
            let (inputs, outputs) = (
                vec![("t", vec![N], t.clone())],
                vec![(name, vec![N], values)],
            );
            all.push(Answered {
                quantity,
                process: process.clone(),
                inputs,
                outputs,
            });
        };
        add("schedule.integral", "integral", line(&integral));
        add("kernel.mean", "xx", line(&|t| (-0.5 * integral(t)).exp()));
        add("kernel.cov", "xx", line(&|t| -(-integral(t)).exp_m1()));
    }

    /// Steps of the score SDE's chain of N = 100: reverse diffusion for VP, with the table of beta
    /// read at the time, and for sub-VP.
    fn chain(&self, kind: &'static str, all: &mut Vec<Answered>) {
        let process = json!({"kind": kind, "schedule": {"kind": "linear", "b0": B0, "b1": VP_B1}});
        let t: Vec<f64> = (0..N)
            .map(|i| f64::from(((7.0 * i as f64 + 20.8) / 99.0) as f32))
            .collect();
        let (u, score, z) = (wave(D, 1.7, 0.3), wave(D, 0.7, 0.2), wave(D, 2.9, 1.1));
        let h = 0.01;
        // what x is multiplied by, and the noise's variance
        let coefficients = |t: f64| {
            let read = if self.has("a step's table read at floor(t (N - 1))") {
                (t * 99.0).floor() / 99.0
            } else {
                t
            };
            let beta = self.rate(VP_B1, read) * h;
            if kind == "vp" {
                return (2.0 - (1.0 - beta).sqrt(), beta);
            }
            let root = if self.has("the root of dt in float32") {
                f64::from((h as f32).sqrt())
            } else {
                h.sqrt()
            };
            let noise = -(-2.0 * self.integral(VP_B1, t).to_f64()).exp_m1();
            (
                1.0 + 0.5 * beta,
                self.rate(VP_B1, read) * root * root * noise,
            )
        };
        // one entry a row: the length of a step is a setting
        for r in 0..N {
            let row = |v: &[f64]| v[r * D..(r + 1) * D].to_vec();
            let one = |name, v: Vec<f64>| (name, vec![1, D], v);
            let (grow, variance) = coefficients(t[r]);
            let mean: Vec<f64> = row(&u)
                .iter()
                .zip(row(&score))
                .map(|(u, s)| grow * u + variance * s)
                .collect();
            let state = mean
                .iter()
                .zip(row(&z))
                .map(|(m, z)| m + variance.sqrt() * z)
                .collect();
            let inputs = vec![
                one("u", row(&u)),
                one("score", row(&score)),
                one("noise", row(&z)),
                ("option.t", vec![1], vec![t[r]]),
                ("option.dt", vec![1], vec![h]),
            ];
            let outputs = vec![one("u_mean", mean), one("u_next", state)];
            all.push(Answered {
                quantity: "sampler.step.reverse-diffusion",
                process: process.clone(),
                inputs,
                outputs,
            });
        }
    }

    /// VP's noise level, up to times at which something is left of the mean.
    fn level(&self, all: &mut Vec<Answered>) {
        let process = json!({"kind": "vp", "schedule": {"kind": "linear", "b0": B0, "b1": VP_B1}});
        let of = |t: &f64| {
            let (mean, variance) = self.one("vp", *t);
            if self.has("standard deviation for sigma = std/mean") {
                variance.sqrt()
            } else {
                variance.sqrt() / mean
            }
        };
        let t = times();
        let outputs = vec![("sigma", vec![N], t.iter().map(of).collect())];
        all.push(Answered {
            quantity: "kernel.sigma",
            process,
            inputs: vec![("t", vec![N], t)],
            outputs,
        });
    }

    fn all(&self) -> Vec<Answered> {
        let mut all = Vec::new();
        match self.bug {
            "standard deviation for sigma = std/mean" => self.level(&mut all),
            "midpoint sum of 20 intervals for the cosine's integral" => self.cosine(&mut all),
            "a step's table read at floor(t (N - 1))" => self.chain("vp", &mut all),
            "the root of dt in float32" => self.chain("sub-vp", &mut all),
            "" => {
                self.cosine(&mut all);
                self.level(&mut all);
                self.chain("vp", &mut all);
                self.chain("sub-vp", &mut all);
            }
            _ => {}
        }
        let discrete = self.bug.starts_with("DDPM's");
        if !discrete {
            Code { hsm: true, ..*self }.cld(&mut all);
            Code {
                hsm: false,
                ..*self
            }
            .cld(&mut all);
            self.scalar("sub-vp", &times(), &mut all);
            self.scalar("ve", &times(), &mut all);
        }
        self.scalar("vp", &if discrete { grid() } else { times() }, &mut all);
        all
    }
}

/// x1 x2 v1 v2 in another order.
fn permuted(bug: &str, v: &[f64]) -> Vec<f64> {
    let order = if bug.starts_with("channels exchanged") {
        [2, 3, 0, 1]
    } else if bug.starts_with("channels interleaved") {
        [0, 2, 1, 3]
    } else {
        return v.to_vec();
    };
    v.chunks(2 * D).flat_map(|r| order.map(|i| r[i])).collect()
}

/// 1 - exp(-b) and the covariance of CLD as printed, in this type.
macro_rules! printed {
    ($name:ident, $t:ty) => {
        fn $name(b: f64, start: f64) -> ([f64; 3], f64) {
            let (b, m, v0) = (b as $t, MASS as $t, start as $t);
            let z = b / m.sqrt();
            let (e, e2) = ((-z).exp(), (-2.0 * z).exp());
            let (fx, fv) = (e * b / m, e * (1.0 - z));
            let grown = (2.0 * z).exp();
            let xx = e2 * (grown - 1.0 - 2.0 * z - 2.0 * z * z) + v0 * fx * fx;
            let xv = m.sqrt() * 2.0 * z * z * e2 + v0 * fx * fv;
            let vv = m * e2 * (grown - 1.0 + 2.0 * z - 2.0 * z * z) + v0 * fv * fv;
            ([xx, xv, vv].map(f64::from), f64::from(1.0 - (-b).exp()))
        }
    };
}
printed!(printed_f64, f64);
printed!(printed_f32, f32);

/// The covariance from the exponential of the block matrix (F, G G^T; 0, -F^T), by scaling, a
/// series and squaring, in this type.
macro_rules! block {
    ($name:ident, $t:ty) => {
        fn $name(y: &System, b: f64) -> [f64; 3] {
            let f: [$t; 4] = y.f.map(|x| (x * b) as $t);
            let g = (y.g * b) as $t;
            let product = |a: &[[$t; 4]; 4], c: &[[$t; 4]; 4]| -> [[$t; 4]; 4] {
                std::array::from_fn(|i| {
                    std::array::from_fn(|j| (0..4).map(|k| a[i][k] * c[k][j]).sum())
                })
            };
            let z = 0.0 as $t;
            let a = [
                [f[0], f[1], z, z],
                [f[2], f[3], z, g],
                [z, z, -f[0], -f[2]],
                [z, z, -f[1], -f[3]],
            ];
            let size = a
                .iter()
                .map(|r| r.iter().map(|x| x.abs()).sum::<$t>())
                .fold(z, <$t>::max);
            let halvings = size.log2().ceil().max(0.0) as i32;
            let a = a.map(|r| r.map(|x| x / (2.0 as $t).powi(halvings)));
            let mut e: [[$t; 4]; 4] =
                std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }));
            let mut term = e;
            for n in 1..20 {
                term = product(&term, &a).map(|r| r.map(|x| x / n as $t));
                e = std::array::from_fn(|i| std::array::from_fn(|j| e[i][j] + term[i][j]));
            }
            (0..halvings).for_each(|_| e = product(&e, &e));
            let at =
                |i: usize, j: usize| f64::from((0..2).map(|k| e[i][2 + k] * e[j][k]).sum::<$t>());
            let start = |i: usize, j: usize| f64::from(e[i][1] * e[j][1] * y.start as $t);
            [(0, 0), (0, 1), (1, 1)].map(|(i, j)| at(i, j) + start(i, j))
        }
    };
}
block!(block_f64, f64);
block!(block_f32, f32);

/// Numbers between -1 and 1 without a pattern, the same every time.
fn scatter(i: usize) -> f64 {
    let x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x >> 11) as f64 / (1u64 << 52) as f64) - 1.0
}

/// A number rounded to 8 bits.
fn bfloat16(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    f64::from(f32::from_bits(
        (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000,
    ))
}

/// A number rounded to 11 bits, or to whole multiples of 2^-24.
fn float16(x: f64) -> f64 {
    let unit = 2f64.powi((x.abs().log2().floor() as i32 - 10).max(-24));
    (x / unit).round_ties_even() * unit
}

/// What the code answers with this mistake, whatever kind of mistake it is.
fn code(bug: &'static str, p: Precision) -> Vec<Answered> {
    let right = Code { bug, hsm: true };
    let mut all = right.all();
    if bug.starts_with("DDPM's 1 - cumprod") {
        all.retain(|a| a.quantity != "kernel.perturb");
    }
    let single = p == Precision::F32;
    for (n, a) in all.iter_mut().enumerate() {
        let cld = a.process["kind"] == "cld";
        let hsm = a.process["objective"] == "hsm";
        let y = Code { bug: "", hsm }.system();
        let t = a
            .inputs
            .iter()
            .find(|i| i.0 == "t")
            .map(|i| i.2.clone())
            .unwrap_or_default();
        for (name, shape, data) in &mut a.outputs {
            let place = ["xx", "xv", "vv"].iter().position(|x| x == name);
            let integral = |r: usize| right.integral(if cld { B1 } else { VP_B1 }, t[r]).to_f64();
            match bug {
                "the printed formulas: differences of nearly equal numbers" => {
                    let at = |r: usize| {
                        if single {
                            printed_f32(integral(r), y.start)
                        } else {
                            printed_f64(integral(r), y.start)
                        }
                    };
                    match (a.quantity, place) {
                        ("kernel.cov", Some(i)) if cld => (0..N).for_each(|r| data[r] = at(r).0[i]),
                        ("kernel.cov", _) if a.process["kind"] == "vp" => {
                            (0..N).for_each(|r| data[r] = at(r).1)
                        }
                        ("kernel.factor", _) if a.process["kind"] == "vp" => {
                            (0..N).for_each(|r| data[r] = at(r).1.sqrt())
                        }
                        _ => {}
                    }
                }
                "DDPM's 1 - cumprod(1 - beta), as it is written" if a.process["kind"] == "vp" => {
                    // the chain's own betas are what is declared, so that nothing but the
                    // arithmetic is off
                    let betas: Vec<f64> = (0..1000)
                        .map(|i| f64::from(((B0 + VP_B1 * f64::from(i) / 999.0) / 1000.0) as f32))
                        .collect();
                    a.process["schedule"] = json!({"kind": "betas", "betas": betas});
                    let steps = |r: usize| (t[r] * 1000.0).round() as usize;
                    let product = |r: usize| {
                        if single {
                            f64::from(
                                betas[..steps(r)]
                                    .iter()
                                    .fold(1f32, |p, b| p * (1.0 - *b as f32)),
                            )
                        } else {
                            betas[..steps(r)].iter().fold(1f64, |p, b| p * (1.0 - b))
                        }
                    };
                    let less = |r: usize| {
                        if single {
                            f64::from(1.0 - product(r) as f32)
                        } else {
                            1.0 - product(r)
                        }
                    };
                    match a.quantity {
                        "kernel.mean" => (0..N).for_each(|r| data[r] = product(r).sqrt()),
                        "kernel.cov" => (0..N).for_each(|r| data[r] = less(r)),
                        "kernel.factor" => (0..N).for_each(|r| data[r] = less(r).sqrt()),
                        _ => {}
                    }
                }
                "a block matrix exponential at late times" if cld && a.quantity == "kernel.cov" => {
                    let at = |r: usize| {
                        if single {
                            block_f32(&y, integral(r))
                        } else {
                            block_f64(&y, integral(r))
                        }
                    };
                    (0..N).for_each(|r| data[r] = at(r)[place.unwrap()]);
                }
                "variance of x: printed formula early, block exponential late"
                    if cld && a.quantity == "kernel.cov" && place == Some(0) =>
                {
                    let early = |r: usize| {
                        if single {
                            printed_f32(integral(r), y.start)
                        } else {
                            printed_f64(integral(r), y.start)
                        }
                    };
                    let late = |r: usize| {
                        if single {
                            block_f32(&y, integral(r))
                        } else {
                            block_f64(&y, integral(r))
                        }
                    };
                    (0..N).for_each(|r| {
                        data[r] = if t[r] < 0.15 {
                            early(r).0[place.unwrap()]
                        } else {
                            late(r)[place.unwrap()]
                        }
                    });
                }
                "a matrix exponential: errors of some hundred units"
                    if a.quantity == "kernel.mean" =>
                {
                    let size = if single { 5e-6 } else { 5e-14 };
                    data.iter_mut()
                        .enumerate()
                        .for_each(|(i, x)| *x *= 1.0 + size * scatter(89 * n + i));
                }
                "everything in float32, stored as float64" => {
                    data.iter_mut().for_each(|x| *x = f64::from(*x as f32))
                }
                "everything in bfloat16" => data.iter_mut().for_each(|x| *x = bfloat16(*x)),
                "an integrator: errors like noise of 1e-4"
                    if ["kernel.mean", "kernel.cov"].contains(&a.quantity) =>
                {
                    data.iter_mut()
                        .enumerate()
                        .for_each(|(i, x)| *x *= 1.0 + 1e-4 * scatter(97 * n + i));
                }
                "bits flipped in two rows" if a.quantity == "kernel.perturb" && hsm => {
                    // one of the upper bits of the significand
                    [(3, 1), (7, 2)].iter().for_each(|(r, c)| {
                        let x = &mut data[r * 2 * D + c];
                        *x = if single {
                            f64::from(f32::from_bits((*x as f32).to_bits() ^ (1 << 20)))
                        } else {
                            f64::from_bits(x.to_bits() ^ (1 << 49))
                        };
                    });
                }
                "matrices transposed" if shape.len() == 3 => {
                    *data = data
                        .chunks(4)
                        .flat_map(|m| [m[0], m[2], m[1], m[3]])
                        .collect();
                }
                "rows shifted by one" => data.rotate_left(shape[1..].iter().product()),
                _ if cld && shape == &[N, 2 * D] => *data = permuted(bug, data),
                _ => {}
            }
        }
    }
    all
}

fn answers(all: Vec<Answered>, p: Precision) -> Answers {
    let round = |data: Vec<f64>| {
        data.into_iter()
            .map(|x| {
                if p == Precision::F32 {
                    f64::from(x as f32)
                } else {
                    x
                }
            })
            .collect()
    };
    let entry = |(n, a): (usize, Answered)| Entry {
        id: format!("{}/{n}", a.quantity),
        quantity: a.quantity.into(),
        config: Config::from_answers(&a.process).unwrap(),
        inputs: a
            .inputs
            .into_iter()
            .map(|(k, shape, data)| (k.into(), Array::new(shape, data).unwrap()))
            .collect(),
        answer: Answer::Given(
            a.outputs
                .into_iter()
                .map(|(k, shape, data)| {
                    (
                        k.into(),
                        Array {
                            shape,
                            data: round(data),
                            precision: p,
                        },
                    )
                })
                .collect(),
        ),
    };
    Answers {
        file: "known".into(),
        implementation: String::new(),
        entries: all.into_iter().enumerate().map(entry).collect(),
        unusable: Vec::new(),
        ignored: Vec::new(),
        not_yet: BTreeMap::new(),
    }
}

fn judged(all: Vec<Answered>, p: Precision) -> Report {
    judge(&answers(all, p), &[], &mut |_, _| {}).unwrap()
}

fn found(r: &Report) -> Vec<String> {
    r.diagnoses
        .iter()
        .map(|d| format!("{} {:?} {:?} {:?}", d.id, d.value, d.outputs, d.text))
        .collect()
}

/// What must be named in this type; `None` where it is no mistake there.
fn expected(id: &'static str, p: Precision) -> Option<&'static str> {
    match (id, p) {
        (
            "single-precision" | "single-precision-part" | "dt-in-single-precision",
            Precision::F32,
        ) => None,
        ("cancellation", Precision::F32) => Some("single-precision-cancellation"),
        _ => Some(id),
    }
}

/// Catches a test of mistakes whose code is wrong without them, and a judge that sees mistakes in
/// right code.
#[test]
fn without_a_mistake_the_code_is_right() {
    for p in [Precision::F64, Precision::F32] {
        let r = judged(code("", p), p);
        let off: Vec<_> = r
            .lines
            .iter()
            .filter(|l| !l.accepted)
            .map(|l| (&l.quantity, &l.output, &l.worst))
            .collect();
        assert!(
            r.ok,
            "{}: {off:?} {:?} {:?}",
            p.name(),
            r.unjudged,
            found(&r)
        );
    }
}

/// Catches a row of the table of mistakes that nobody makes here.
#[test]
fn every_row_is_made_here() {
    // it needs other times: the test below
    let elsewhere = ["underflow"];
    let made: Vec<&str> = BUGS
        .iter()
        .flat_map(|b| {
            [Precision::F64, Precision::F32]
                .into_iter()
                .filter_map(|p| expected(b.1, p))
        })
        .chain(elsewhere)
        .collect();
    let missing: Vec<&str> = MISTAKES
        .iter()
        .map(|m| m.id)
        .filter(|id| !made.contains(id))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Catches an underflow that is taken for cancellation, or for nothing: ell from a determinant
/// formed in float32, whose products are below the smallest normal number at t <= 1e-9; variances
/// by forms that do not cancel.
#[test]
fn underflow_is_named() {
    let t: Vec<f64> = [
        1e-12, 1e-11, 1e-10, 1e-9, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.6f32,
    ]
    .map(f64::from)
    .to_vec();
    let right = Code {
        bug: "",
        hsm: false,
    };
    let ell = |t: &f64| {
        let z = right.integral(B1, *t).to_f64() / MASS.sqrt();
        let y = 2.0 * z;
        // 1 - e^-y (1 + y + y^2/2) = e^-y (y^3/3! + y^4/4! + ...)
        let series = (3..60).scan(y * y / 2.0, |term, k| {
            *term *= y / f64::from(k);
            Some(*term)
        });
        let p = (-y).exp() * series.sum::<f64>();
        let (xx, xv, vv) = (
            p as f32,
            (MASS.sqrt() * 2.0 * z * z * (-y).exp()) as f32,
            (MASS * (p + 2.0 * y * (-y).exp())) as f32,
        );
        f64::from((xx / (xx * vv - xv * xv)).sqrt())
    };
    let process = json!({"kind": "cld", "mass": MASS, "gamma": GAMMA, "objective": "dsm", "schedule": {"kind": "linear", "b0": B0, "b1": B1}});
    let outputs = vec![("ell", vec![N], t.iter().map(ell).collect())];
    let r = judged(
        vec![Answered {
            quantity: "kernel.ell",
            process,
            inputs: vec![("t", vec![N], t)],
            outputs,
        }],
        Precision::F32,
    );
    assert_eq!(
        r.diagnoses.iter().map(|d| d.id).collect::<Vec<_>>(),
        ["underflow"],
        "{:?} {:?}",
        r.lines,
        r.unexplained
    );
    assert!(r.unexplained.is_empty() && !r.ok);
}

/// Catches a mistake that is not recognised, is taken for another, or has another named beside it,
/// in float64 or float32; and a `docs/reference/mistakes.md` that does not say what is found. The
/// numbers come from the code above, not from the truth side's readings. `CLD_WRITE_DOCS=1` writes
/// the table anew.
#[test]
fn every_known_mistake_is_named_first_and_alone() {
    let mut table = String::from("| planted, alone | float64 | float32 |\n|---|---|---|\n");
    let mut wrong = Vec::new();
    let only = std::env::var("CLD_ONLY").unwrap_or_default();
    for &(bug, id, value) in BUGS.iter().filter(|b| b.0.contains(&only)) {
        let mut row = format!("| {bug} |");
        for p in [Precision::F64, Precision::F32] {
            let Some(id) = expected(id, p) else {
                row += " no mistake in this type |";
                continue;
            };
            let r = judged(code(bug, p), p);
            let first = r.diagnoses.first();
            row += &match first {
                None => " **nothing** |".into(),
                Some(d) => {
                    let value = d.value.map(|x| {
                        format!(
                            " {}",
                            if x < 1e-3 {
                                format!("{x:e}")
                            } else {
                                format!("{}", (x * 1e4).round() / 1e4)
                            }
                        )
                    });
                    format!(" `{}`{} |", d.id, value.unwrap_or_default())
                }
            };
            // a value is found from numbers that are rounded: to 1e-9 of it in f64, to 3e-4 in f32
            let near = |x: f64, y: f64| {
                (x / y - 1.0).abs() <= if p == Precision::F64 { 1e-9 } else { 3e-4 }
            };
            let right = first.is_some_and(|d| {
                d.id == id && value.is_none_or(|v| d.value.is_some_and(|x| near(x, v)))
            });
            // a pattern whose words hold a number is listed once for each
            let alone = r.diagnoses.len() == 1
                || id == "rounding" && r.diagnoses.iter().all(|d| d.id == id);
            if !right || !alone || !r.unexplained.is_empty() {
                wrong.push(format!(
                    "{bug} ({id}) in {}: {:#?}, unexplained {:?}",
                    p.name(),
                    found(&r),
                    r.unexplained
                ));
            }
        }
        println!("{row}");
        table += &row;
        table.push('\n');
    }
    assert!(
        wrong.is_empty(),
        "{} not named first and alone:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    if only.is_empty() {
        hold_docs(&table);
    }
}

/// Compares the table with the one in the documentation, or writes it there.
fn hold_docs(table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/mistakes.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find("| planted, alone |").unwrap();
    let end = start
        + text[start..]
            .find("\n\n")
            .map_or(text.len() - start, |n| n + 1);
    let new = format!("{}{table}{}", &text[..start], &text[end..]);
    if std::env::var_os("CLD_WRITE_DOCS").is_some() {
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(
            text, new,
            "docs/reference/mistakes.md does not say what is found: CLD_WRITE_DOCS=1 cargo test --test library known writes it"
        );
    }
}

/// Numbers that come from no mistake.
fn garbage(kind: &str, quantity: &str, p: Precision) -> Option<Vec<Answered>> {
    let mut all = code("", p);
    let mut changed = false;
    for (n, a) in all
        .iter_mut()
        .enumerate()
        .filter(|(_, a)| a.quantity == quantity)
    {
        let cld = a.process["kind"] == "cld";
        let t = a
            .inputs
            .iter()
            .find(|i| i.0 == "t")
            .map(|i| i.2.clone())
            .unwrap_or_default();
        for (name, shape, data) in &mut a.outputs {
            let width: usize = shape[1..].iter().product();
            changed = true;
            match kind {
                "a random factor" => data
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x *= 1.0 + 0.4 * scatter(31 * n + i)),
                "1.2345 times" => data.iter_mut().for_each(|x| *x *= 1.2345),
                "cubed" => data.iter_mut().for_each(|x| *x = *x * *x * *x),
                "another process" if cld && quantity == "kernel.cov" => {
                    // overdamped, of another mass
                    let y = System {
                        f: [0.0, 1.0 / 0.6, -1.0, -2.1 / 0.6],
                        g: 4.2,
                        stationary: 0.6,
                        start: 0.1,
                    };
                    let i = ["xx", "xv", "vv"].iter().position(|x| x == name).unwrap();
                    let b = |t: f64| Code { bug: "", hsm: true }.integral(B1, t);
                    (0..N).for_each(|r| data[r] = law(&y, b(t[r]), y.start).1[i].to_f64());
                }
                "another process" if !cld && quantity == "kernel.cov" => {
                    (0..N).for_each(|r| {
                        data[r] = law(&Code { bug: "", hsm: true }.system(), dd(3.0 * t[r]), 0.01).1
                            [0]
                        .to_f64()
                    });
                }
                "rows shuffled" => {
                    let rows: Vec<Vec<f64>> = data.chunks(width).map(<[f64]>::to_vec).collect();
                    *data = [4, 9, 0, 7, 2, 11, 5, 1, 10, 3, 8, 6]
                        .iter()
                        .flat_map(|r: &usize| rows[*r].clone())
                        .collect();
                }
                _ => changed = false,
            }
        }
    }
    changed.then_some(all)
}

/// Catches a confident cause for numbers that come from none: a random factor, one quantity scaled
/// by 1.2345, a cubed variance, another process's covariance, rows shuffled, each in one quantity
/// with all the rest right, in float64 and float32.
#[test]
fn garbage_has_no_cause() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for kind in [
        "a random factor",
        "1.2345 times",
        "cubed",
        "another process",
        "rows shuffled",
    ] {
        for quantity in [
            "kernel.mean",
            "kernel.cov",
            "kernel.factor",
            "kernel.ell",
            "kernel.perturb",
            "kernel.log_density",
            "sampler.step.em",
        ] {
            if kind == "cubed" && quantity != "kernel.cov" {
                continue;
            }
            for p in [Precision::F64, Precision::F32] {
                let Some(all) = garbage(kind, quantity, p) else {
                    continue;
                };
                let r = judged(all, p);
                seen += 1;
                if !r.diagnoses.is_empty() || r.unexplained.is_empty() || r.ok {
                    wrong.push(format!(
                        "{kind} {quantity} in {}: {:?}",
                        p.name(),
                        found(&r)
                    ));
                }
            }
        }
    }
    assert!(seen > 40, "{seen}");
    assert!(
        wrong.is_empty(),
        "{} confident causes for garbage:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
