//! Steps, grids and likelihoods that `cld check` judges and the crate itself does not have, and the
//! conventions that a manifest can declare: each against its formula as papers print it, written
//! out here in plain f64.

use cld_sgm::check::answers::read_answers;
use cld_sgm::check::judge;
use cld_sgm::internal::files::{Array, Limits};
use cld_sgm::internal::truth::config::Config;
use cld_sgm::internal::truth::predict::{Inputs, Model, made_from, predict};
use serde_json::{Value, json};

/// The values of one output, for inputs given as lists (n numbers, or n rows) and numbers
/// (settings).
fn truth(process: &Value, quantity: &str, inputs: &Value, output: &str) -> Vec<f64> {
    let config = Config::from_answers(process).unwrap();
    let arrays: Vec<(String, Array)> = inputs
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, v)| (name.clone(), array(v)))
        .collect();
    let given: Inputs<'_> = arrays.iter().map(|(name, a)| (name.clone(), a)).collect();
    let (cells, _) = predict(quantity, &Model::new(&config).unwrap(), &given, output)
        .unwrap_or_else(|e| panic!("{quantity}: {e}"));
    cells.iter().map(|c| c.truth.to_f64()).collect()
}

fn array(v: &Value) -> Array {
    let number = |v: &Value| v.as_f64().unwrap();
    match v {
        Value::Array(rows) if rows[0].is_array() => {
            let data: Vec<f64> = rows
                .iter()
                .flat_map(|r| r.as_array().unwrap().iter().map(number))
                .collect();
            Array::new(vec![rows.len(), data.len() / rows.len()], data).unwrap()
        }
        Value::Array(list) => {
            Array::new(vec![list.len()], list.iter().map(number).collect()).unwrap()
        }
        one => Array::new(vec![1], vec![number(one)]).unwrap(),
    }
}

/// Some operations in f64, of numbers that are not badly conditioned here.
#[track_caller]
fn near(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-12 * w.abs(), "{g} is not {w}");
    }
}

fn vp() -> Value {
    json!({"kind": "vp", "schedule": {"kind": "linear", "b0": 0.1, "b1": 19.9}})
}

fn ve(from: &str) -> Value {
    json!({"kind": "ve", "variance_from": from, "schedule": {"kind": "geometric-sigma", "sigma_min": 0.01, "sigma_max": 50.0}})
}

fn cld(mass: f64) -> Value {
    json!({"kind": "cld", "mass": mass, "gamma": 0.04, "objective": "dsm", "schedule": {"kind": "linear", "b0": 0.1, "b1": 19.9}})
}

fn integral(t: f64) -> f64 {
    0.1 * t + 9.95 * t * t
}

const X: [f64; 2] = [0.75, -1.25];
const SCORE: [f64; 2] = [-0.5, 2.0];
const Z: [f64; 2] = [0.25, 1.5];

fn coordinates(f: impl Fn(f64, f64, f64) -> f64) -> Vec<f64> {
    (0..2).map(|c| f(X[c], SCORE[c], Z[c])).collect()
}

/// Catches alpha for alpha_bar, beta for the posterior's variance, and sigma^2 not subtracted in
/// DDIM. Ho et al. 2020, eq. 11 with eq. 7; Song et al. 2021 (DDIM), eq. 12 and 16.
#[test]
fn ddpm_and_ddim_are_those_of_the_papers() {
    let (t, s) = (0.5, 0.4375);
    let (bar_t, bar_s) = ((-integral(t)).exp(), (-integral(s)).exp());
    let (alpha, beta) = (bar_t / bar_s, 1.0 - bar_t / bar_s);
    let eps: Vec<f64> = SCORE.iter().map(|s| -(1.0 - bar_t).sqrt() * s).collect();
    let by_eps = json!({"t": [t], "s": [s], "u": [X], "eps": [eps], "noise": [Z], "option.variance": 0, "option.eta": 0.5});
    let mut given =
        json!({"t": [t], "s": [s], "u": [X], "score": [SCORE], "noise": [Z], "option.eta": 0.5});
    let small = (beta * (1.0 - bar_s) / (1.0 - bar_t)).sqrt();
    for (word, deviation) in [(0, small), (1, beta.sqrt())] {
        given["option.variance"] = word.into();
        let mean = |x: f64, s: f64| {
            (x - beta / (1.0 - bar_t).sqrt() * (-(1.0 - bar_t).sqrt() * s)) / alpha.sqrt()
        };
        near(
            &truth(&vp(), "sampler.step.ddpm", &given, "u_mean"),
            &coordinates(|x, s, _| mean(x, s)),
        );
        near(
            &truth(&vp(), "sampler.step.ddpm", &given, "u_next"),
            &coordinates(|x, s, z| mean(x, s) + deviation * z),
        );
    }
    near(
        &truth(&vp(), "sampler.step.ddpm", &by_eps, "u_next"),
        &coordinates(|x, s, z| (x + beta * s) / alpha.sqrt() + small * z),
    );
    let sigma = 0.5 * ((1.0 - bar_s) / (1.0 - bar_t)).sqrt() * (1.0 - bar_t / bar_s).sqrt();
    let eps = |s: f64| -(1.0 - bar_t).sqrt() * s;
    let x0 = |x: f64, s: f64| (x - (1.0 - bar_t).sqrt() * eps(s)) / bar_t.sqrt();
    near(
        &truth(&vp(), "sampler.step.ddim", &given, "x0"),
        &coordinates(|x, s, _| x0(x, s)),
    );
    let next = |x: f64, s: f64, z: f64| {
        bar_s.sqrt() * x0(x, s) + (1.0 - bar_s - sigma * sigma).sqrt() * eps(s) + sigma * z
    };
    near(
        &truth(&vp(), "sampler.step.ddim", &given, "u_next"),
        &coordinates(next),
    );
    // eta = 1 is DDPM's posterior
    (given["option.eta"], given["option.variance"]) = (1.into(), 0.into());
    near(
        &truth(&vp(), "sampler.step.ddim", &given, "u_next"),
        &truth(&vp(), "sampler.step.ddpm", &given, "u_next"),
    );
}

/// Catches betas off by one index, an integral interpolated between the points of a table, and a
/// rate made up for it.
#[test]
fn discrete_betas_are_a_schedule() {
    let betas: Vec<f64> = (0..8).map(|i| 0.01 + 0.02 * f64::from(i)).collect();
    let process = json!({"kind": "vp", "schedule": {"kind": "betas", "betas": betas}});
    let bar = |i: usize| betas[..i].iter().map(|b| 1.0 - b).product::<f64>();
    let t = json!({"t": [0.125, 0.5, 1.0]});
    near(
        &truth(&process, "kernel.mean", &t, "xx"),
        &[bar(1).sqrt(), bar(4).sqrt(), bar(8).sqrt()],
    );
    near(
        &truth(&process, "kernel.cov", &t, "xx"),
        &[1.0 - bar(1), 1.0 - bar(4), 1.0 - bar(8)],
    );
    // the step of beta_4, from 4/8 to 3/8
    let given = json!({"t": [0.5], "s": [0.375], "u": [X], "score": [SCORE], "noise": [Z], "option.variance": 1});
    let step =
        |x: f64, s: f64, z: f64| (x + betas[3] * s) / (1.0 - betas[3]).sqrt() + betas[3].sqrt() * z;
    near(
        &truth(&process, "sampler.step.ddpm", &given, "u_next"),
        &coordinates(step),
    );
    let points: Vec<f64> = (1..9).map(|i| -bar(i).ln()).collect();
    let times: Vec<f64> = (1..9).map(|i| f64::from(i) / 8.0).collect();
    let table =
        json!({"kind": "vp", "schedule": {"kind": "table", "t": times, "integral": points}});
    near(
        &truth(&table, "kernel.cov", &t, "xx"),
        &truth(&process, "kernel.cov", &t, "xx"),
    );
    let config = Config::from_answers(&table).unwrap();
    assert_eq!(
        Config::from_answers(&config.to_answers()).unwrap().schedule,
        config.schedule
    );
    let model = Model::new(&config).unwrap();
    let between = array(&json!([0.3]));
    let e = predict(
        "kernel.cov",
        &model,
        &[("t".to_string(), &between)].into(),
        "xx",
    )
    .unwrap_err()
    .to_string();
    assert!(
        e.contains("0.3") && e.contains("between 0.25 and 0.375"),
        "{e}"
    );
    let at = array(&json!([0.5]));
    let (rate, _) = predict(
        "schedule.rate",
        &model,
        &[("t".to_string(), &at)].into(),
        "rate",
    )
    .unwrap();
    assert!(rate[0].truth.to_f64().is_nan());
    for (schedule, word) in [
        (
            json!({"kind": "table", "t": [0.5, 0.25], "integral": [1.0, 2.0]}),
            "times that rise",
        ),
        (
            json!({"kind": "table", "t": [0.5, 1.0], "integral": [2.0, 1.0]}),
            "never falls",
        ),
        (
            json!({"kind": "table", "t": [0.5], "integral": [2.0, 1.0]}),
            "1, as in t",
        ),
        (
            json!({"kind": "betas", "betas": [0.5, 1.0]}),
            "0 < beta < 1",
        ),
        (json!({"kind": "betas", "betas": []}), "1 to 100000"),
        (
            json!({"kind": "betas", "betas": "linear"}),
            "a list of numbers",
        ),
    ] {
        let e = Config::from_answers(&json!({"kind": "vp", "schedule": schedule}))
            .err()
            .unwrap()
            .to_string();
        assert!(e.contains(word), "{e}");
    }
}

/// Catches beta without its 1/N, 1/sqrt(1 - beta) for 2 - sqrt(1 - beta), SMLD's noise without
/// sigma_s/sigma_t, and a sigma that begins at 0. Song et al. 2021, app. E and F; in N steps
/// beta_i = b(t_i)/N.
#[test]
fn discrete_steps_are_those_of_the_score_sde() {
    let (t, n) = (0.5, 256.0);
    let s = t - 1.0 / n;
    let given = json!({"t": [t], "s": [s], "u": [X], "score": [SCORE], "noise": [Z]});
    let beta = (0.1 + 19.9 * t) / n;
    let mean = |x: f64, s: f64| (x + beta * s) / (1.0 - beta).sqrt();
    near(
        &truth(&vp(), "sampler.step.ancestral", &given, "u_mean"),
        &coordinates(|x, s, _| mean(x, s)),
    );
    near(
        &truth(&vp(), "sampler.step.ancestral", &given, "u_next"),
        &coordinates(|x, s, z| mean(x, s) + beta.sqrt() * z),
    );
    // x - f + g^2 s with f = sqrt(1 - beta) x - x
    let mean = |x: f64, s: f64| x - ((1.0 - beta).sqrt() * x - x) + beta * s;
    near(
        &truth(&vp(), "sampler.step.reverse-diffusion", &given, "u_mean"),
        &coordinates(|x, s, _| mean(x, s)),
    );
    near(
        &truth(&vp(), "sampler.step.reverse-diffusion", &given, "u_next"),
        &coordinates(|x, s, z| mean(x, s) + beta.sqrt() * z),
    );
    let sigma = |t: f64| 0.01 * 5000f64.powf(t);
    let more = sigma(t).powi(2) - sigma(s).powi(2);
    for from in ["zero", "sigma_min"] {
        let noise = (sigma(s).powi(2) * more / sigma(t).powi(2)).sqrt();
        near(
            &truth(&ve(from), "sampler.step.ancestral", &given, "u_next"),
            &coordinates(|x, s, z| x + more * s + noise * z),
        );
        near(
            &truth(
                &ve(from),
                "sampler.step.reverse-diffusion",
                &given,
                "u_next",
            ),
            &coordinates(|x, s, z| x + more * s + more.sqrt() * z),
        );
    }
}

/// P(3, y), for y not small.
fn p3(y: f64) -> f64 {
    1.0 - (-y).exp() * (1.0 + y + 0.5 * y * y)
}

/// Catches the rate at the step's end, x moved with the new v, and the transition from 0 for that
/// from s. Critical damping: Phi and Q over tau as printed.
#[test]
fn forward_steps_are_those_of_the_sde() {
    let (s, t, mass) = (0.25, 0.75, 0.25f64);
    let given = json!({"s": [s], "t": [t], "u": [[0.5, -2.0, 1.0, 0.25]], "noise": [[1.0, -0.5, 2.0, 0.75]]});
    let b = (0.1 + 19.9 * s) * (t - s);
    let friction = 2.0 * mass.sqrt();
    let (x, v, z) = ([0.5, -2.0], [1.0, 0.25], [2.0, 0.75]);
    let em: Vec<f64> = (0..2)
        .map(|c| x[c] + b * v[c] / mass)
        .chain((0..2).map(|c| {
            v[c] - b * (x[c] + friction / mass * v[c]) + (2.0 * friction * b).sqrt() * z[c]
        }))
        .collect();
    near(
        &truth(&cld(mass), "simulate.step.em", &given, "u_next"),
        &em,
    );
    let tau = integral(t) - integral(s);
    let y = 4.0 * tau / friction;
    let e = (-0.5 * y).exp();
    let (xx, xv, vv) = (
        p3(y),
        0.25 * friction * y * y * (-y).exp(),
        mass * (p3(y) + 2.0 * y * (-y).exp()),
    );
    let (lxx, lvx) = (xx.sqrt(), xv / xx.sqrt());
    let lvv = (vv - lvx * lvx).sqrt();
    let exact: Vec<f64> = (0..2)
        .map(|c| e * ((1.0 + 0.5 * y) * x[c] + tau / mass * v[c]) + lxx * [1.0, -0.5][c])
        .chain((0..2).map(|c| {
            e * (-tau * x[c] + (1.0 - 0.5 * y) * v[c]) + lvx * [1.0, -0.5][c] + lvv * z[c]
        }))
        .collect();
    near(
        &truth(&cld(mass), "simulate.step.exact", &given, "u_next"),
        &exact,
    );
    // the initial velocity's variance is no part of a step, even of one from 0
    let mut hsm = cld(mass);
    hsm["objective"] = "hsm".into();
    let from_0 = json!({"s": [0.0], "t": [t], "u": [[0.5, -2.0, 1.0, 0.25]], "noise": [[1.0, -0.5, 2.0, 0.75]]});
    near(
        &truth(&hsm, "simulate.step.exact", &from_0, "u_next"),
        &truth(&cld(mass), "simulate.step.exact", &from_0, "u_next"),
    );
}

/// Catches a grid that ends at the wrong time, r^p for the power of the roots, N for N - 1, and
/// equal steps of something else than the log-SNR.
#[test]
fn grids_are_those_of_their_formulas() {
    let eps = 0.0009765625f64;
    let given = json!({"index": [0, 1, 2, 3, 4], "option.n_steps": 4, "option.eps": eps, "option.power": 3});
    let r = [1.0, 0.75, 0.5, 0.25, 0.0];
    let of = |f: &dyn Fn(f64) -> f64| r.iter().map(|r| f(*r)).collect::<Vec<f64>>();
    near(
        &truth(&vp(), "grid.linear", &given, "t"),
        &of(&|r| eps + (1.0 - eps) * r),
    );
    near(
        &truth(&vp(), "grid.quadratic", &given, "t"),
        &of(&|r| eps + (1.0 - eps) * r * r),
    );
    let low = eps.cbrt();
    near(
        &truth(&vp(), "grid.power", &given, "t"),
        &of(&|r| (low + (1.0 - low) * r).powi(3)),
    );
    let times = truth(&vp(), "grid.logsnr", &given, "t");
    assert_eq!((times[0], times[4]), (1.0, eps));
    let ratio: Vec<f64> = times.iter().map(|t| -integral(*t).exp_m1().ln()).collect();
    let step = (ratio[4] - ratio[0]) / 4.0;
    near(
        &ratio.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>(),
        &[step; 4],
    );
    let karras = json!({"index": [0, 1, 2], "option.n_steps": 3, "option.sigma_min": 0.002, "option.sigma_max": 80, "option.rho": 7});
    let middle = (0.5 * (80f64.powf(1.0 / 7.0) + 0.002f64.powf(1.0 / 7.0))).powi(7);
    near(
        &truth(&ve("zero"), "grid.karras", &karras, "sigma"),
        &[80.0, middle, 0.002],
    );
}

/// Catches the sign, a component's share taken before it was pushed through the process, and a mean
/// over the components' scores.
#[test]
fn the_mixtures_score_is_its_gradient() {
    let t = 0.25;
    let u = [[0.5, -0.25]];
    let given = json!({"t": [t], "u": u, "weights": [0.25, 0.75], "means": [[1.0, -0.5], [-1.0, 0.25]], "stds": [0.5, 0.125]});
    let m = (-0.5 * integral(t)).exp();
    let density = |x: [f64; 2]| -> f64 {
        let one = |w: f64, mean: [f64; 2], std: f64| {
            let var = m * m * std * std + 1.0 - m * m;
            let square = (x[0] - m * mean[0]).powi(2) + (x[1] - m * mean[1]).powi(2);
            w / (std::f64::consts::TAU * var) * (-0.5 * square / var).exp()
        };
        one(0.25, [1.0, -0.5], 0.5) + one(0.75, [-1.0, 0.25], 0.125)
    };
    let h = 1e-5;
    let got = truth(&vp(), "score.mixture", &given, "score");
    for c in 0..2 {
        let moved = |h: f64| {
            let mut x = u[0];
            x[c] += h;
            density(x).ln()
        };
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        // h^2 of a third derivative of some 10, and 2^-53/h
        assert!(
            (got[c] - slope).abs() < 1e-8 * (1.0 + slope.abs()),
            "{} is not {slope}",
            got[c]
        );
    }
}

/// Catches 8 bits for 7, nats for bits, the reverse clock's sign, and a flow whose end has another
/// variance than the prior.
#[test]
fn likelihoods_are_those_of_their_formulas() {
    let bits = truth(
        &vp(),
        "likelihood.bits",
        &json!({"log_density": [-7000.0], "option.dim": 3072, "option.levels": 256}),
        "bits",
    );
    near(&bits, &[7000.0 / (3072.0 * 2f64.ln()) + 7.0]);
    let x = truth(
        &vp(),
        "likelihood.dequantise",
        &json!({"values": [[0, 255]], "uniform": [[0.5, 0.75]], "option.levels": 256}),
        "x",
    );
    near(&x, &[1.0 / 256.0 - 1.0, 255.75 / 128.0 - 1.0]);
    let (t, std, mean) = (0.25, 0.75, 0.5);
    let at = |t: f64| {
        let m = (-0.5 * integral(t)).exp();
        (m * mean, m * m * std * std + 1.0 - m * m)
    };
    let rate = |t: f64| 0.1 + 19.9 * t;
    let given = json!({"t": [t], "probe": [[1.0, -1.0]], "data": [mean, std]});
    near(
        &truth(&vp(), "likelihood.hutchinson", &given, "divergence"),
        &[rate(t) * 2.0 * (-0.5 + 0.5 / at(t).1)],
    );
    // the flow by Runge-Kutta: 4000 steps of an equation of moderate slopes, 1e-10 at most
    let slope = |t: f64, x: f64| rate(t) * (-0.5 * x + 0.5 * (x - at(t).0) / at(t).1);
    let divergence = |t: f64| rate(t) * (-0.5 + 0.5 / at(t).1);
    let n = 4000;
    let h = (1.0 - t) / f64::from(n);
    let mut state = X;
    let mut gathered = 0.0;
    for i in 0..n {
        let t = t + h * f64::from(i);
        gathered += h / 6.0 * (divergence(t) + 4.0 * divergence(t + 0.5 * h) + divergence(t + h));
        for x in &mut state {
            let a = slope(t, *x);
            let b = slope(t + 0.5 * h, *x + 0.5 * h * a);
            let c = slope(t + 0.5 * h, *x + 0.5 * h * b);
            let d = slope(t + h, *x + h * c);
            *x += h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
        }
    }
    let prior: f64 = state
        .iter()
        .map(|x| -0.5 * x * x - 0.5 * std::f64::consts::TAU.ln())
        .sum();
    let got = truth(
        &vp(),
        "likelihood.flow",
        &json!({"t": [t], "u": [X], "data": [mean, std]}),
        "log_density",
    );
    assert!(
        (got[0] - (prior + 2.0 * gathered)).abs() < 1e-9,
        "{} is not {}",
        got[0],
        prior + 2.0 * gathered
    );
}

/// Catches a declared convention that changes nothing, or too much. VE from sigma_min has the
/// variance sigma(t)^2; velocities are momenta over M.
#[test]
fn declared_conventions_are_what_they_say() {
    let t = json!({"t": [0.5, 1.0]});
    let sigma = |t: f64| 0.01 * 5000f64.powf(t);
    near(
        &truth(&ve("sigma_min"), "kernel.cov", &t, "xx"),
        &[sigma(0.5).powi(2), 2500.0],
    );
    near(
        &truth(&ve("zero"), "kernel.cov", &t, "xx"),
        &[sigma(0.5).powi(2) - 1e-4, 2500.0 - 1e-4],
    );
    near(
        &truth(&ve("sigma_min"), "kernel.std", &t, "x"),
        &[sigma(0.5), 50.0],
    );
    let mass = 0.3f64;
    let mut velocity = cld(mass);
    (velocity["v"], velocity["objective"]) = ("velocity".into(), "hsm".into());
    let time = 0.5;
    let t = json!({"t": [time], "u": [[0.5, 0.25]], "noise": [[0.0, 1.0]]});
    let (tau, friction) = (integral(time), 2.0 * mass.sqrt());
    let y = 4.0 * tau / friction;
    let e = (-0.5 * y).exp();
    // dx = v b dt, dv = -(x/M + (Gamma/M) v) b dt: v is momentum/M
    near(&truth(&velocity, "kernel.mean", &t, "xv"), &[e * tau]);
    near(
        &truth(&velocity, "kernel.mean", &t, "vx"),
        &[-e * tau / mass],
    );
    let started = 0.04 * mass;
    let (fx, fv) = (e * tau / mass, e * (1.0 - 0.5 * y));
    let vv = mass * (p3(y) + 2.0 * y * (-y).exp()) + started * fv * fv;
    let xv = 0.25 * friction * y * y * (-y).exp() + started * fx * fv;
    let xx = p3(y) + started * fx * fx;
    near(
        &truth(&velocity, "kernel.cov", &t, "vv"),
        &[vv / (mass * mass)],
    );
    near(&truth(&velocity, "kernel.cov", &t, "xv"), &[xv / mass]);
    near(&truth(&velocity, "kernel.cov", &t, "xx"), &[xx]);
    near(
        &truth(&velocity, "kernel.ell", &t, "ell"),
        &[mass * (xx / (xx * vv - xv * xv)).sqrt()],
    );
    near(
        &truth(&velocity, "prior.sample", &t, "u"),
        &[0.0, 1.0 / mass.sqrt()],
    );
    let drift = truth(&velocity, "process.drift_diffusion", &t, "drift");
    let b = 0.1 + 19.9 * time;
    near(&drift, &[b * 0.25, -b * (0.5 + friction * 0.25) / mass]);
}

/// Catches a stationary variance that scales the mean, or the covariance's entries by each other's
/// unit: VP in units of sigma is dx = -b/2 x dt + sigma sqrt(b) dW (the OU process of denoising
/// diffusion samplers), CLD of variance [p, q] has x' = sqrt(p) x, v' = sqrt(q/M) v.
#[test]
fn stationary_variances_are_units() {
    let t = json!({"t": [0.5], "u": [[0.75]], "noise": [[1.0]]});
    let mut scaled = vp();
    scaled["stationary_variance"] = 2.25.into();
    let e = (-integral(0.5)).exp();
    near(&truth(&scaled, "kernel.mean", &t, "xx"), &[e.sqrt()]);
    near(&truth(&scaled, "kernel.cov", &t, "xx"), &[2.25 * (1.0 - e)]);
    near(&truth(&scaled, "prior.sample", &t, "u"), &[1.5]);
    near(
        &truth(&scaled, "process.drift_diffusion", &t, "diffusion"),
        &[1.5 * (0.1 + 19.9 * 0.5f64).sqrt()],
    );
    let (mass, p, q) = (0.3f64, 2.0f64, 5.0f64);
    let mut own = cld(mass);
    own["objective"] = "hsm".into();
    let t = json!({"t": [0.5], "u": [[0.5, 0.25]], "noise": [[1.0, 1.0]]});
    for (declared, (dx, dv)) in [
        (json!([p, q]), (p.sqrt(), (q / mass).sqrt())),
        (json!(p), (p.sqrt(), p.sqrt())),
    ] {
        let mut scaled = own.clone();
        scaled["stationary_variance"] = declared;
        for (output, factor) in [("xx", dx * dx), ("xv", dx * dv), ("vv", dv * dv)] {
            near(
                &truth(&scaled, "kernel.cov", &t, output),
                &[factor * truth(&own, "kernel.cov", &t, output)[0]],
            );
        }
        for (output, factor) in [("xx", 1.0), ("xv", dx / dv), ("vx", dv / dx), ("vv", 1.0)] {
            near(
                &truth(&scaled, "kernel.mean", &t, output),
                &[factor * truth(&own, "kernel.mean", &t, output)[0]],
            );
        }
        near(
            &truth(&scaled, "kernel.ell", &t, "ell"),
            &[truth(&own, "kernel.ell", &t, "ell")[0] / dv],
        );
        near(
            &truth(&scaled, "prior.sample", &t, "u"),
            &[dx, dv * mass.sqrt()],
        );
        let (b, friction) = (0.1 + 19.9 * 0.5, 2.0 * mass.sqrt());
        let drift = [
            b * dx / dv * 0.25 / mass,
            -b * (dv / dx * 0.5 + friction / mass * 0.25),
        ];
        near(
            &truth(&scaled, "process.drift_diffusion", &t, "drift"),
            &drift,
        );
        let written = Config::from_answers(&scaled).unwrap().to_answers();
        assert_eq!(
            written["stationary_variance"],
            scaled["stationary_variance"]
        );
    }
}

/// Mean matrix and covariance of CLD as the CLD paper prints them, from data of variance `data` and
/// a velocity of variance `start`.
fn printed(mass: f64, tau: f64, data: f64, start: f64) -> ([f64; 4], [f64; 3]) {
    let friction = 2.0 * mass.sqrt();
    let y = 4.0 * tau / friction;
    let e = (-0.5 * y).exp();
    let m = [
        e * (1.0 + 0.5 * y),
        e * tau / mass,
        -e * tau,
        e * (1.0 - 0.5 * y),
    ];
    let own = [
        p3(y),
        0.25 * friction * y * y * (-y).exp(),
        mass * (p3(y) + 2.0 * y * (-y).exp()),
    ];
    let more =
        |i: usize, j: usize| data * m[2 * i] * m[2 * j] + start * m[2 * i + 1] * m[2 * j + 1];
    (
        m,
        [
            own[0] + more(0, 0),
            own[1] + more(0, 1),
            own[2] + more(1, 1),
        ],
    )
}

/// Catches data whose variance is left out of the kernel, or carried on without the mean matrix.
#[test]
fn kernels_with_data_are_marginal() {
    let (mass, (centre, std)) = (0.3, (0.5, 0.75));
    let mut hsm = cld(mass);
    hsm["objective"] = "hsm".into();
    let t = json!({"t": [0.25], "data": [centre, std]});
    let (m, [xx, xv, vv]) = printed(mass, integral(0.25), std * std, 0.04 * mass);
    let det = xx * vv - xv * xv;
    for (quantity, output, want) in [
        ("kernel.cov", "xx", xx),
        ("kernel.cov", "xv", xv),
        ("kernel.cov", "vv", vv),
        ("kernel.factor", "l21", xv / xx.sqrt()),
        ("kernel.factor", "l22", (det / xx).sqrt()),
        ("kernel.inverse", "xv", -xv / det),
        ("kernel.ell", "ell", (xx / det).sqrt()),
        ("kernel.std", "v", vv.sqrt()),
        ("kernel.logdet", "logdet", det.ln()),
    ] {
        near(&truth(&hsm, quantity, &t, output), &[want]);
    }
    near(
        &truth(&hsm, "kernel.mean", &t, "mean"),
        &[m[0] * centre, m[2] * centre],
    );
}

/// `R' = (F + G G^T C^-1 / 2) R` on the process's clock from a to b, by 40000 steps of Runge and
/// Kutta's fourth order on the logarithm's grid.
fn carried(mass: f64, (a, b): (f64, f64), law: impl Fn(f64) -> [f64; 3], r: [f64; 4]) -> [f64; 4] {
    let friction = 2.0 * mass.sqrt();
    let slope = |tau: f64, r: [f64; 4]| -> [f64; 4] {
        let [xx, xv, vv] = law(tau);
        let det = xx * vv - xv * xv;
        let k = [
            0.0,
            1.0 / mass,
            -1.0 - friction * xv / det,
            -friction / mass + friction * xx / det,
        ];
        std::array::from_fn(|n| k[n / 2 * 2] * r[n % 2] + k[n / 2 * 2 + 1] * r[2 + n % 2])
    };
    let mut r = r;
    let at = |i: usize| a * (b / a).powf(i as f64 / 40000.0);
    for i in 0..40_000 {
        let (tau, h) = (at(i), at(i + 1) - at(i));
        let moved = |k: &[f64; 4], c: f64| -> [f64; 4] { std::array::from_fn(|n| r[n] + c * k[n]) };
        let k1 = slope(tau, r);
        let k2 = slope(tau + 0.5 * h, moved(&k1, 0.5 * h));
        let k3 = slope(tau + 0.5 * h, moved(&k2, 0.5 * h));
        let k4 = slope(tau + h, moved(&k3, h));
        r = std::array::from_fn(|n| r[n] + h / 6.0 * (k1[n] + 2.0 * k2[n] + 2.0 * k3[n] + k4[n]));
    }
    r
}

/// Catches the Cholesky factor for gDDIM's R (which turns), and a flow of two channels that turns
/// the wrong way or not at all: against the differential equation of the paper (Zhang, Tao and Chen
/// 2022, eq. 17), solved here. The error of the steps is below 1e-10, also for the light mass,
/// whose R turns more than once.
#[test]
fn gddim_and_the_flow_of_two_channels_are_those_of_the_equation() {
    let close = |got: &[f64], want: &[f64]| {
        let size = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        got.iter()
            .zip(want)
            .for_each(|(g, w)| assert!((g - w).abs() < 1e-9 * size, "{got:?} is not {want:?}"));
    };
    let (t, s, eps) = (0.5, 0.375, 0.125);
    for (objective, mass) in [("dsm", 0.3), ("hsm", 0.3), ("dsm", 0.02), ("hsm", 0.02)] {
        let start = if objective == "hsm" { 0.04 * mass } else { 0.0 };
        let mut process = cld(mass);
        process["objective"] = objective.into();
        let law = |tau: f64| printed(mass, tau, 0.0, start).1;
        let cholesky =
            |[xx, xv, vv]: [f64; 3]| [xx.sqrt(), 0.0, xv / xx.sqrt(), (vv - xv * xv / xx).sqrt()];
        let r = |t: f64| {
            carried(
                mass,
                (integral(eps), integral(t)),
                law,
                cholesky(law(integral(eps))),
            )
        };
        let m = printed(mass, integral(t) - integral(s), 0.0, 0.0).0;
        let det = m[0] * m[3] - m[1] * m[2];
        let psi = [m[3] / det, -m[1] / det, -m[2] / det, m[0] / det];
        let (now, next) = (r(t), r(s));
        let moved: [f64; 4] = std::array::from_fn(|n| {
            psi[n / 2 * 2] * now[n % 2] + psi[n / 2 * 2 + 1] * now[2 + n % 2]
        });
        let coef: [f64; 4] = std::array::from_fn(|n| next[n] - moved[n]);
        let given = json!({"t": [t], "s": [s], "option.eps": eps});
        close(
            &truth(&process, "sampler.gddim_coefficients", &given, "psi"),
            &psi,
        );
        close(
            &truth(&process, "sampler.gddim_coefficients", &given, "r"),
            &now,
        );
        close(
            &truth(&process, "sampler.gddim_coefficients", &given, "eps_coef"),
            &coef,
        );
        // score = -R^-T eps: the coefficient of the score is -coef R^T
        let of_score: [f64; 4] = std::array::from_fn(|n| {
            let (i, j) = (n / 2, n % 2);
            -(coef[2 * i] * now[2 * j] + coef[2 * i + 1] * now[2 * j + 1])
        });
        close(
            &truth(&process, "sampler.gddim_coefficients", &given, "score_coef"),
            &of_score,
        );

        let (centre, std) = (0.5, 0.75);
        let full = |tau: f64| printed(mass, tau, std * std, start).1;
        let a = carried(
            mass,
            (integral(t), integral(1.0)),
            full,
            [1.0, 0.0, 0.0, 1.0],
        );
        let (at, end) = (
            printed(mass, integral(t), 0.0, 0.0).0,
            printed(mass, integral(1.0), 0.0, 0.0).0,
        );
        let u = [0.75, -0.4];
        let delta = [u[0] - at[0] * centre, u[1] - at[2] * centre];
        let last = [
            end[0] * centre + a[0] * delta[0] + a[1] * delta[1],
            end[2] * centre + a[2] * delta[0] + a[3] * delta[1],
        ];
        let grown = (a[0] * a[3] - a[1] * a[2]).ln();
        let want = -0.5 * (last[0].powi(2) + last[1].powi(2) / mass + mass.ln())
            - std::f64::consts::TAU.ln()
            + grown;
        let given = json!({"t": [t], "u": [u], "data": [centre, std]});
        close(
            &truth(&process, "likelihood.flow", &given, "log_density"),
            &[want],
        );
    }
    // one channel: R is the deviation, and one step is DDIM's
    let given = json!({"t": [t], "s": [s], "option.eps": eps});
    let (e, d) = ((-integral(t)).exp(), (-integral(s)).exp());
    near(
        &truth(&vp(), "sampler.gddim_coefficients", &given, "r"),
        &[(1.0 - e).sqrt()],
    );
    near(
        &truth(&vp(), "sampler.gddim_coefficients", &given, "psi"),
        &[(d / e).sqrt()],
    );
    near(
        &truth(&vp(), "sampler.gddim_coefficients", &given, "eps_coef"),
        &[(1.0 - d).sqrt() - (d / e * (1.0 - e)).sqrt()],
    );
}

/// The verdict on one entry of critically damped CLD.
fn passes(more: &Value, quantity: &str, inputs: &Value, outputs: &Value) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut process = cld(0.25);
    more.as_object()
        .unwrap()
        .iter()
        .for_each(|(k, v)| process[k] = v.clone());
    let entry = json!({"id": "one", "quantity": quantity, "process": process, "inputs": inputs, "outputs": outputs});
    let file = dir.path().join("answers.json");
    std::fs::write(
        &file,
        json!({"schema": "cld-answers/1", "entries": [entry]}).to_string(),
    )
    .unwrap();
    let answers = read_answers(&file, None, &Limits::default()).unwrap();
    assert!(answers.unusable.is_empty(), "{:?}", answers.unusable);
    judge(&answers, &[], &mut |_, _| {}).unwrap().ok
}

/// Catches a layout that is read and not applied, to inputs or to outputs, and lower for upper
/// where v comes first.
#[test]
fn arrays_may_hold_their_channels_in_another_order() {
    let t = 0.5f64;
    let tau = integral(t);
    let y = 4.0 * tau;
    let e = (-2.0 * tau).exp();
    let (xx, xv, vv) = (
        p3(y),
        0.25 * y * y * (-y).exp(),
        0.25 * (p3(y) + 2.0 * y * (-y).exp()),
    );
    let (mxx, mxv, mvx, mvv) = (
        e * (1.0 + 2.0 * tau),
        4.0 * e * tau,
        -e * tau,
        e * (1.0 - 2.0 * tau),
    );
    let (x, v, zx, zv) = ([0.5, -2.0], [1.0, 0.25], [1.0, -0.5], [2.0, 0.75]);
    // v first: its own factor, then x given v
    let (lvv, lxv) = (vv.sqrt(), xv / vv.sqrt());
    let lxx = (xx - lxv * lxv).sqrt();
    let moved = |c: usize| {
        (
            mxx * x[c] + mxv * v[c] + lxv * zv[c] + lxx * zx[c],
            mvx * x[c] + mvv * v[c] + lvv * zv[c],
        )
    };
    let ((x0, v0), (x1, v1)) = (moved(0), moved(1));
    let v_first = json!({"channels": ["v", "x"]});
    let inputs = json!({"t": [t], "u0": [[v, x]], "noise": [[zv, zx]]});
    assert!(passes(
        &v_first,
        "kernel.perturb",
        &inputs,
        &json!({"u_t": [[[v0, v1], [x0, x1]]]})
    ));
    assert!(!passes(
        &v_first,
        "kernel.perturb",
        &inputs,
        &json!({"u_t": [[[x0, x1], [v0, v1]]]})
    ));
    let factor = json!({"factor": [[[lvv, 0.0], [lxv, lxx]]], "l21": [lxv]});
    assert!(passes(
        &v_first,
        "kernel.factor",
        &json!({"t": [t]}),
        &factor
    ));
    assert!(passes(
        &v_first,
        "kernel.mean",
        &json!({"t": [t]}),
        &json!({"matrix": [[[mvv, mvx], [mxv, mxx]]], "xv": [mxv]})
    ));
    let ell = (xx / (xx * vv - xv * xv)).sqrt();
    assert!(passes(
        &v_first,
        "kernel.ell",
        &json!({"t": [t]}),
        &json!({"ell": [ell]})
    ));
    // channels last, x first: the usual factor
    let (lxx, lvx) = (xx.sqrt(), xv / xx.sqrt());
    let lvv = (vv - lvx * lvx).sqrt();
    let moved = |c: usize| {
        [
            mxx * x[c] + mxv * v[c] + lxx * zx[c],
            mvx * x[c] + mvv * v[c] + lvx * zx[c] + lvv * zv[c],
        ]
    };
    let pairs = |a: [f64; 2], b: [f64; 2]| [[a[0], b[0]], [a[1], b[1]]];
    let inputs = json!({"t": [t], "u0": [pairs(x, v)], "noise": [pairs(zx, zv)]});
    let last = json!({"layout": "channels-last"});
    assert!(passes(
        &last,
        "kernel.perturb",
        &inputs,
        &json!({"u_t": [[moved(0), moved(1)]]})
    ));
    assert!(!passes(
        &json!({}),
        "kernel.perturb",
        &inputs,
        &json!({"u_t": [[moved(0), moved(1)]]})
    ));
}

/// Catches a limit of four channels, and factors that lose their digits where the entries of a
/// covariance differ by 60 orders of magnitude. Six integrals of white noise: Q_ij = t^(a + b + 1)
/// / (a! b! (a + b + 1)), a = 5 - i, b = 5 - j.
#[test]
fn six_channels_have_a_law() {
    let f: Vec<Vec<f64>> = (0..6)
        .map(|i| (0..6).map(|j| if j == i + 1 { 1.0 } else { 0.0 }).collect())
        .collect();
    let g: Vec<Vec<f64>> = (0..6)
        .map(|i| {
            (0..6)
                .map(|j| if i == 5 && j == 5 { 1.0 } else { 0.0 })
                .collect()
        })
        .collect();
    let process =
        json!({"kind": "custom", "F": f, "GGt": g, "schedule": {"kind": "constant", "b": 1.0}});
    let factorial = |n: i32| (1..=n).map(f64::from).product::<f64>();
    let t = 1e-6f64;
    let q = |i: i32, j: i32| {
        t.powi(11 - i - j) / (factorial(5 - i) * factorial(5 - j) * f64::from(11 - i - j))
    };
    let given = json!({"t": [t]});
    near(
        &truth(&process, "kernel.cov", &given, "cov"),
        &(0..36).map(|n| q(n / 6, n % 6)).collect::<Vec<_>>(),
    );
    // scaled it is the Hilbert matrix of order 6, whose determinant is 1/186313420339200000
    let scales: f64 = (0..6)
        .map(|i| (t.powf(f64::from(5 - i) + 0.5) / factorial(5 - i)).ln())
        .sum();
    near(
        &truth(&process, "kernel.logdet", &given, "logdet"),
        &[2.0 * scales - 186_313_420_339_200_000f64.ln()],
    );
    let factor = truth(&process, "kernel.factor", &given, "factor");
    let product: Vec<f64> = (0..36)
        .map(|n| {
            (0..6)
                .map(|k| factor[n / 6 * 6 + k] * factor[n % 6 * 6 + k])
                .sum()
        })
        .collect();
    near(
        &product,
        &(0..36).map(|n| q(n / 6, n % 6)).collect::<Vec<_>>(),
    );
}

/// Catches DSM taken for granted where gamma is given, and a refusal of what does not depend on it.
#[test]
fn the_objective_is_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = cld(0.25);
    process.as_object_mut().unwrap().remove("objective");
    let entry = |id: &str, quantity: &str, output: &str| json!({"id": id, "quantity": quantity, "process": process, "inputs": {"t": [0.5]}, "outputs": {output: [1.0]}});
    let entries = [
        entry("a", "kernel.cov", "xx"),
        entry("b", "schedule.integral", "integral"),
    ];
    let file = dir.path().join("answers.json");
    std::fs::write(
        &file,
        json!({"schema": "cld-answers/1", "entries": entries}).to_string(),
    )
    .unwrap();
    let answers = read_answers(&file, None, &Limits::default()).unwrap();
    assert_eq!(answers.entries.len(), 1);
    assert!(
        answers.unusable.len() == 1 && answers.unusable[0].why.contains("dsm, hsm or transition"),
        "{:?}",
        answers.unusable
    );
}

/// Catches a convention that is accepted where it means nothing, and a message that does not name
/// what is allowed.
#[test]
fn conventions_that_mean_nothing_are_refused() {
    let refused = |process: Value, word: &str| {
        let e = Config::from_answers(&process).err().unwrap().to_string();
        assert!(e.contains(word), "{e}");
    };
    let with = |mut p: Value, key: &str, v: Value| {
        p[key] = v;
        p
    };
    refused(with(vp(), "v", "velocity".into()), "vp has no velocity");
    refused(with(cld(0.25), "v", "speed".into()), "momentum or velocity");
    refused(
        with(vp(), "variance_from", "sigma_min".into()),
        "geometric-sigma",
    );
    refused(with(cld(0.25), "channels", json!(["x"])), r#"["v","x"]"#);
    refused(
        with(cld(0.25), "channels", json!(["v", "v"])),
        r#"["x","v"]"#,
    );
    refused(with(cld(0.25), "layout", "nhwc".into()), "channels-last");
    refused(
        with(ve("zero"), "stationary_variance", 2.0.into()),
        "no stationary law",
    );
    refused(
        with(cld(0.25), "stationary_variance", json!([1.0, 2.0, 3.0])),
        "each of the 2 channels",
    );
    refused(
        with(cld(0.25), "stationary_variance", json!(0.0)),
        "above 0",
    );
    // what a file says is what is written back
    for (p, key) in [
        (with(cld(0.25), "v", "velocity".into()), "v"),
        (with(cld(0.25), "channels", json!(["v", "x"])), "channels"),
        (ve("sigma_min"), "variance_from"),
    ] {
        let written = Config::from_answers(&p).unwrap().to_answers();
        assert_eq!(written[key], p[key]);
        assert_eq!(
            Config::from_answers(&written).unwrap().to_answers(),
            written
        );
    }
}

/// Catches a name that is unknown for an underscore in it, and one that is spelt as the file has it
/// in one place and otherwise in another.
#[test]
fn hyphens_and_underscores_are_the_same() {
    use cld_sgm::internal::truth::predict::{QUANTITIES, quantity};
    for q in QUANTITIES {
        for other in [q.name.replace('-', "_"), q.name.replace('_', "-")] {
            assert_eq!(quantity(&other).map(|q| q.name), Some(q.name));
        }
    }
    assert!(quantity("kernel cov").is_none() && quantity("kernel.covs").is_none());
    let (t, b) = (0.25, 0.1 + 19.9 * 0.25);
    let answer = json!({"rate": [b]});
    assert!(passes(
        &json!({"objective": "dsm"}),
        "schedule.rate",
        &json!({"t": [t]}),
        &answer
    ));
}

/// Catches numbers shown in an order that is not the file's: with `channels: ["v", "x"]` the worst
/// row's inputs are v first, and its column and the factor's entries are counted as in the file.
#[test]
fn rows_are_shown_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    let report = |process: &Value, quantity: &str, inputs: &Value, outputs: &Value| {
        let entry = json!({"id": "one", "quantity": quantity, "process": process, "inputs": inputs, "outputs": outputs});
        std::fs::write(
            &file,
            json!({"schema": "cld-answers/1", "entries": [entry]}).to_string(),
        )
        .unwrap();
        let answers = read_answers(&file, None, &Limits::default()).unwrap();
        assert!(answers.unusable.is_empty(), "{:?}", answers.unusable);
        judge(&answers, &[], &mut |_, _| {}).unwrap()
    };
    let mut own = cld(0.25);
    own["channels"] = json!(["v", "x"]);
    // v1 v2 x1 x2: the drift of v's second coordinate is off
    let (u, b) = ([0.25, -0.5, 0.75, 1.5], 0.1 + 19.9 * 0.5);
    let v = |c: usize| -b * (u[2 + c] + 4.0 * u[c]);
    let x = |c: usize| 4.0 * b * u[c];
    let drift = [v(0), 2.0 * v(1), x(0), x(1)];
    let r = report(
        &own,
        "process.drift_diffusion",
        &json!({"t": [0.5], "u": [u]}),
        &json!({"drift": [drift]}),
    );
    let shown = r.open[0]
        .shown
        .as_ref()
        .or(r.diagnoses.first().and_then(|d| d.shown.as_ref()))
        .unwrap();
    assert_eq!(
        (shown.column, &shown.inputs["u"]),
        (1, &u.to_vec()),
        "{shown:?}"
    );
    assert_eq!((shown.got, r.lines[0].worst.column), (drift[1], 1));
    // l11 of their factor belongs to v
    let r = report(
        &own,
        "kernel.factor",
        &json!({"t": [0.5, 0.25]}),
        &json!({"l11": [0.123, 0.234]}),
    );
    assert_eq!(r.lines[0].output, "l11");
    let mut last = cld(0.25);
    last["layout"] = "channels-last".into();
    let r = report(
        &last,
        "process.drift_diffusion",
        &json!({"t": [0.5], "u": [[0.75, 0.25, 1.5, -0.5]]}),
        &json!({"drift": [[x(0), v(0), x(1), 2.0 * v(1)]]}),
    );
    let shown = r.open[0]
        .shown
        .as_ref()
        .or(r.diagnoses.first().and_then(|d| d.shown.as_ref()))
        .unwrap();
    assert_eq!(
        (shown.column, &shown.inputs["u"]),
        (3, &vec![0.75, 0.25, 1.5, -0.5]),
        "{shown:?}"
    );
}

/// Catches a numeric setting that nothing is conditioned by: right float32 code that has it as a
/// float32 number would be off.
#[test]
fn numeric_settings_are_conditions() {
    use cld_sgm::internal::truth::predict::{QUANTITIES, SETTINGS};
    let counts: Vec<&str> = SETTINGS
        .iter()
        .filter(|s| s.counts)
        .map(|s| s.name)
        .collect();
    assert_eq!(
        counts,
        ["n_steps", "dim", "levels"],
        "whole numbers that count something, and no other"
    );
    for q in QUANTITIES {
        assert!(
            q.settings
                .iter()
                .all(|name| SETTINGS.iter().any(|s| s.name == *name)),
            "{}",
            q.name
        );
    }
    // 0.3 in float32, and all that follows from it in float64: right, since eta is a number like
    // any other
    let eta = f64::from(0.3f32 + 2e-7);
    let given = |eta: f64| json!({"t": [0.5], "s": [0.4375], "u": [X], "score": [SCORE], "noise": [Z], "option.eta": eta});
    let (near, far) = (
        truth(&vp(), "sampler.step.ddim", &given(0.3), "u_next"),
        truth(&vp(), "sampler.step.ddim", &given(eta), "u_next"),
    );
    assert!(near != far);
}

/// Catches a quantity made from one that does not exist, from itself, or in a circle: root causes
/// are looked for along these.
#[test]
fn quantities_are_made_from_quantities() {
    use cld_sgm::internal::truth::predict::QUANTITIES;
    fn depth(name: &str, path: &mut Vec<String>) -> usize {
        assert!(
            QUANTITIES.iter().any(|q| q.name == name),
            "{name}, of {path:?}, is no quantity"
        );
        assert!(
            !path.iter().any(|p| p == name),
            "{name} is made from itself: {path:?}"
        );
        path.push(name.to_string());
        let deepest = made_from(name)
            .iter()
            .map(|part| 1 + depth(part, path))
            .max()
            .unwrap_or(0);
        path.pop();
        deepest
    }
    let deepest = QUANTITIES
        .iter()
        .map(|q| depth(q.name, &mut vec![]))
        .max()
        .unwrap();
    assert!(
        deepest >= 4,
        "{deepest}: perturb from factor from cov from integral"
    );
    assert!(
        made_from("kernel.perturb").contains(&"kernel.factor")
            && made_from("no.quantity").is_empty()
    );
}
