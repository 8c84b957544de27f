//! Samplers: the reverse drift, single steps and whole runs.

use super::cell::Cell;
use super::model::Model;
use super::process::diffusion;
use super::quantity::{ANY, Draw, Draws, Found, LawOf, Outputs, Processes, Quantity, Times, Truth};
use super::reader::{CHANNELS, Reader, finite, plain, row_of, setting};
use super::reverse::{Sampler, Step, steps};
use crate::dd::Dd;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// Where the score of a sampler comes from.
const SCORE: &[&str] = &["t", "score", "score_v_matrix", "data"];
const STEP: &[&str] = &["t", "s", "score", "score_v_matrix", "data"];
const STEP_NOISE: &[&str] = &[
    "t",
    "s",
    "score",
    "score_v_matrix",
    "data",
    "noise",
    "noise_x",
    "noise_v",
];

/// Settings that give the interval of a step, where `t` and `s` do not.
const INTERVAL: &[&str] = &["clock", "t", "dt"];
const RUN_SETTINGS: &[&str] = &["n_steps", "striding", "eps", "denoise"];

const BASE: Quantity = Quantity {
    name: "",
    about: "",
    inputs: &["u"],
    optional: STEP_NOISE,
    settings: INTERVAL,
    leads: "u",
    outputs: Outputs::Named(&["u_next"]),
    shape: "(n, K d)",
    suites: &["step"],
    catches: "",
    made_from: &["sampler.reverse_drift"],
    processes: ANY,
    law: LawOf::None,
    draws: Draws {
        times: Times::Steps,
        mean_above: 0.0,
        arrays: WITH_NOISE,
    },
    truth: Truth::All(step_em),
};

const WITH_NOISE: &[(&str, Draw)] = &[
    ("u", Draw::Channels),
    ("score", Draw::Noised),
    ("noise", Draw::Channels),
];

/// The sizes that a run starts from, for normal data.
const DATA: (&str, Draw) = ("data", Draw::Fixed(&[2], &[0.5, 0.75]));

/// What SSCS needs.
const SPLITS: Processes = Processes {
    words: "a process with a stationary law and constant noise",
    fit: |m| {
        m.process().stationary().is_some() && m.process().noise_at(0.0) == m.process().noise_at(1.0)
    },
};

const SSCS: Quantity = Quantity {
    inputs: &["u", "noise_1", "noise_2"],
    optional: STEP,
    made_from: &[
        "kernel.mean",
        "kernel.cov",
        "schedule.integral",
        "schedule.rate",
    ],
    processes: SPLITS,
    draws: Draws {
        times: Times::Steps,
        mean_above: 0.0,
        arrays: &[
            ("u", Draw::Channels),
            ("score", Draw::Noised),
            ("noise_1", Draw::Channels),
            ("noise_2", Draw::Channels),
        ],
    },
    ..BASE
};

const RUNS: Quantity = Quantity {
    inputs: &["u", "noise"],
    optional: SCORE,
    settings: RUN_SETTINGS,
    outputs: Outputs::Channels,
    shape: "(n, d) each; all of them (n, K d) as u; noise is (draws, n, K d)",
    suites: &["run"],
    catches: "a step too many or too few; the striding; draws in another order",
    ..BASE
};

/// The rows of this family.
pub(super) const ROWS: &[Quantity] = &[
    Quantity {
        name: "sampler.reverse_drift",
        about: "drift and diffusion of the reverse SDE, or the probability flow",
        optional: &["t", "clock", "score", "score_v_matrix", "data"],
        settings: &["probability_flow"],
        outputs: Outputs::Named(&["drift", "diffusion"]),
        shape: "(n, K d) each",
        catches: "the forward sign; half of the score, or all of it in the probability flow",
        made_from: &["process.drift_diffusion"],
        draws: Draws {
            times: Times::StartsOfSteps,
            mean_above: 0.0,
            arrays: &[("u", Draw::Channels), ("score", Draw::Noised)],
        },
        truth: Truth::All(reverse_drift),
        ..BASE
    },
    Quantity {
        name: "sampler.step.em",
        about: "one Euler-Maruyama step",
        outputs: Outputs::Named(&["u_next", "u_mean"]),
        shape: "(n, K d) each",
        catches: "half of the kick; dt for sqrt(dt); score or rate at the step's end",
        ..BASE
    },
    Quantity {
        name: "sampler.step.denoise",
        about: "the last step, without noise",
        catches: "noise in the last step; a step of another length than t",
        draws: Draws {
            times: Times::ToZero,
            mean_above: 0.0,
            arrays: WITH_NOISE,
        },
        truth: Truth::All(step_denoise),
        ..BASE
    },
    Quantity {
        name: "sampler.step.sscs",
        about: "one SSCS step",
        catches: "the forward sign of the coupling; score at the step's end; the first half's interval twice; a prior of variance 1",
        truth: Truth::All(step_sscs),
        ..SSCS
    },
    Quantity {
        name: "sampler.step.sscs-first-half-twice",
        about: "one SSCS step whose second half repeats the first",
        catches: "the second half's own interval; the forward sign of the coupling",
        truth: Truth::All(step_sscs_twice),
        ..SSCS
    },
    Quantity {
        name: "sampler.run.em",
        about: "a whole run of Euler-Maruyama",
        made_from: &["sampler.step.em"],
        draws: Draws {
            times: Times::None,
            mean_above: 0.0,
            arrays: &[("u", Draw::TwoRuns), ("noise", Draw::RunNoise(1)), DATA],
        },
        truth: Truth::All(run_em),
        ..RUNS
    },
    Quantity {
        name: "sampler.run.sscs",
        about: "a whole run of SSCS",
        made_from: &["sampler.step.sscs"],
        processes: SPLITS,
        draws: Draws {
            times: Times::None,
            mean_above: 0.0,
            arrays: &[("u", Draw::TwoRuns), ("noise", Draw::RunNoise(2)), DATA],
        },
        truth: Truth::All(run_sscs),
        ..RUNS
    },
];

fn reverse_drift(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let t = if read.inputs.contains_key("clock") {
        read.times("clock")?.iter().map(|c| 1.0 - c).collect()
    } else {
        read.times("t")?
    };
    let flow = setting(read, "probability_flow") == Some(1.0);
    let sampler = Sampler::new(model, read, d)?;
    let mut cells = Vec::new();
    for (r, &t) in t.iter().enumerate() {
        model.check_time(t)?;
        let (_, g, rate) = sampler.sde(t)?;
        match output {
            "drift" => {
                let u = row_of(u, r, k * d, t);
                let weight =
                    if flow { 0.5 } else { 1.0 } * if model.reading.half_kick { 0.5 } else { 1.0 };
                cells.extend(sampler.drift(t, rate, weight, &u, &sampler.score(r, t, &u)?)?);
            }
            "diffusion" => cells.extend((0..k * d).map(|n| {
                let g = if flow { 0.0 } else { g[(n / d, n / d)] };
                diffusion(
                    model,
                    model
                        .span(0.0, t)
                        .map_or(0.0, |s| (s.start + s.tau).to_f64()),
                    g,
                    rate,
                    t,
                )
            })),
            _ => return Ok(None),
        }
    }
    Ok(Some((cells, k * d)))
}

/// The noise of a step, and its width: `noise` of all channels, or `noise_x` and `noise_v`.
fn noise<'a>(model: &Model, read: &'a Reader<'_>) -> Result<(Cow<'a, [f64]>, usize)> {
    let k = model.channels();
    let (_, d) = read.block("u", k)?;
    if read.inputs.contains_key("noise") {
        return Ok((plain(read, "noise", k * d)?.into(), k * d));
    }
    let (x, v) = (plain(read, "noise_x", d)?, plain(read, "noise_v", d)?);
    Ok((
        x.chunks(d)
            .zip(v.chunks(d))
            .flat_map(|(x, v)| [x, v].concat())
            .collect(),
        k * d,
    ))
}

/// Every row of a step.
fn step(
    model: &Model,
    read: &Reader<'_>,
    each: impl Fn(&Sampler<'_>, Step, &[Cell]) -> Result<Vec<Cell>>,
) -> Found {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let sampler = Sampler::new(model, read, d)?;
    let mut cells = Vec::new();
    for (r, (t, s, h)) in steps(model, read)?.into_iter().enumerate() {
        let step = sampler.step(r, (t, s), h);
        cells.extend(each(&sampler, step, &row_of(u, r, k * d, t))?);
    }
    Ok(Some((cells, k * d)))
}

fn step_em(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if !matches!(output, "u_next" | "u_mean") {
        return Ok(None);
    }
    let (noise, width) = noise(model, read)?;
    step(model, read, |sampler, step, u| {
        let z = row_of(&noise, step.row, width, step.t);
        sampler.euler(step, u, (output == "u_next").then_some(&z))
    })
}

fn step_denoise(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    if output != "u_next" {
        return Ok(None);
    }
    let (noise, width) = noise(model, read)?;
    step(model, read, |sampler, step, u| {
        let z = row_of(&noise, step.row, width, step.t);
        sampler.euler(step, u, model.reading.denoise_noise.then_some(&z))
    })
}

fn step_sscs_of(model: &Model, read: &Reader<'_>, output: &str, first_half_twice: bool) -> Found {
    if output != "u_next" {
        return Ok(None);
    }
    let width = model.channels() * read.block("u", model.channels())?.1;
    let (a, b) = (
        plain(read, "noise_1", width)?,
        plain(read, "noise_2", width)?,
    );
    step(model, read, |sampler, step, u| {
        let noise = |z: &[f64]| row_of(z, step.row, width, step.t);
        sampler.sscs(step, first_half_twice, u, [&noise(a), &noise(b)])
    })
}

fn step_sscs(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    step_sscs_of(model, read, output, false)
}

fn step_sscs_twice(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    step_sscs_of(model, read, output, true)
}

fn run_em(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    run(model, read, output, 1, |sampler, step, u, z| {
        sampler.euler(step, u, Some(&z[0]))
    })
}

fn run_sscs(model: &Model, read: &Reader<'_>, output: &str) -> Found {
    run(model, read, output, 2, |sampler, step, u, z| {
        sampler.sscs(step, false, u, [&z[0], &z[1]])
    })
}

/// A whole run, with so many draws a step.
fn run(
    model: &Model,
    read: &Reader<'_>,
    output: &str,
    draws: usize,
    step: impl Fn(&Sampler<'_>, Step, &[Cell], &[Vec<Cell>]) -> Result<Vec<Cell>>,
) -> Found {
    let k = model.channels();
    let (u, d) = read.block("u", k)?;
    let sampler = Sampler::new(model, read, d)?;
    let channel = CHANNELS[..k].iter().position(|c| *c == output);
    if channel.is_none() && output != "u" {
        return Ok(None);
    }
    let (times, denoise) = run_times(read)?;
    let n = times.len() - 1;
    let noise = read.get("noise")?;
    if noise.shape != [draws * n, read.n, k * d] {
        return Err(Error::shape(
            "noise",
            &noise.shape,
            format!(
                "({}, {}, {}): one slice per draw, in order",
                draws * n,
                read.n,
                k * d
            ),
        ));
    }
    finite("noise", &noise.data)?;
    let mut cells = Vec::new();
    for r in 0..read.n {
        let mut state = row_of(u, r, k * d, f64::NAN);
        for i in 0..n {
            let z: Vec<_> = (0..draws)
                .map(|j| row_of(&noise.data, (draws * i + j) * read.n + r, k * d, times[i]))
                .collect();
            let (t, s) = (times[i], times[i + 1]);
            let now = sampler.step(r, (t, s), Dd::diff(t, s));
            state = step(&sampler, now, &state, &z)?;
        }
        if denoise {
            state = sampler.euler(sampler.denoise(r, times[n]), &state, None)?;
        }
        let state = state.into_iter().map(|c| Cell { t: f64::NAN, ..c });
        match channel {
            Some(i) => cells.extend(state.skip(i * d).take(d)),
            None => cells.extend(state),
        }
    }
    Ok(Some((cells, if channel.is_some() { d } else { k * d })))
}

/// Times of a run: `n_steps` steps from 1 to `eps`; with `denoise` the last one goes on to 0.
fn run_times(read: &Reader<'_>) -> Result<(Vec<f64>, bool)> {
    let need = |f: &'static str| {
        setting(read, f).ok_or_else(|| Error::parameter(f, "missing", "n_steps, striding and eps"))
    };
    let (n, eps, denoise) = (
        need("n_steps")?,
        need("eps")?,
        setting(read, "denoise").unwrap_or(0.0) == 1.0,
    );
    if !((1.0..=1000.0).contains(&n) && n.fract() == 0.0) {
        return Err(Error::parameter("n_steps", n, "1 to 1000"));
    }
    if !(eps > 0.0 && eps < 1.0) {
        return Err(Error::parameter("eps", eps, "0 < eps < 1"));
    }
    let n = n as usize - usize::from(denoise);
    let quadratic = need("striding")? == 1.0;
    let at = |i: usize| {
        let r = (n - i) as f64 / n as f64;
        if i == 0 {
            1.0
        } else {
            eps + (1.0 - eps) * if quadratic { r * r } else { r }
        }
    };
    Ok(((0..=n).map(at).collect(), denoise))
}
