//! Recorded bit patterns of kernels, samplers' runs and losses, of every diffusion: what a change
//! of structure must not move.
//!
//! They are no truth, which is `tests/truth.rs`'s and the oracles' business; they say that a number
//! is the one of before. What the numbers rest on beside the crate is the system's `exp`, `ln` and
//! the like. Their own bits are recorded, too (the row `libm`). Where the system at hand gives the
//! same, every number has to be the same to the bit; else within [`OTHER_LIBM`].
//!
//! After a change that is meant to move numbers: `CLD_WRITE_BITS=1 cargo test --test library bits`,
//! and say in the commit which and why.

use cld_sgm::internal::small::Square;
use cld_sgm::internal::worst::{within, worse};
use cld_sgm::kernel::{AnyKernelBatch, Objective, kernel_values};
use cld_sgm::loss::{Form, Loss, Times, Weighting, exact};
use cld_sgm::process::{AnyLaw, AnyMoments, Params, REGISTRY, custom};
use cld_sgm::sampler::adaptive::{Counter, Tolerance};
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::law::run_law;
use cld_sgm::sampler::{ADAPTIVE, Grid, Memory, REGISTRY as SAMPLERS};
use cld_sgm::score::{Gaussian, Score};
use cld_sgm::{Diffusion, Schedule};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Share of a row's largest number by which another libm, each of whose results is within an ulp,
/// may move it: inverses of covariances multiply a rounding by up to 1e4 at the times below, flows
/// of adaptive steps by as much again.
const OTHER_LIBM: f64 = 1e-7;

/// Rows of numbers by name.
#[derive(Default)]
struct Record(BTreeMap<String, Vec<f64>>);

impl Record {
    fn add(&mut self, name: String, values: impl IntoIterator<Item = f64>) {
        let values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "{name} has no numbers");
        assert!(
            self.0.insert(name.clone(), values).is_none(),
            "{name} comes twice"
        );
    }
}

/// Every process with parameters away from coincidences, its schedule, and gamma.
fn diffusions() -> Vec<(String, Diffusion)> {
    let linear = || Schedule::linear(0.5, 6.0).unwrap();
    let mut all = vec![];
    for e in REGISTRY {
        let examples: &[&[(&str, f64)]] = match e.name {
            "cld" => &[
                &[("mass", 0.25)],
                &[("mass", 0.25), ("Gamma", 0.5)],
                &[("mass", 4.0), ("Gamma", 4.5)],
            ],
            "sscs-analytic" => &[&[("mass", 0.25)], &[("mass", 0.25), ("Gamma", 1.75)]],
            "psld" => &[&[("Gamma", 0.25), ("nu", 4.25)]],
            "cld-position-noise" => &[&[("a", 2.0), ("epsilon", 0.5), ("sigma", 1.4)]],
            "langevin-order-n" => &[&[("order", 2.0)], &[("order", 3.0)], &[("order", 4.0)]],
            _ => &[&[]],
        };
        for (n, example) in examples.iter().enumerate() {
            let params = example
                .iter()
                .fold(Params::default(), |p, (name, x)| p.with(name, *x));
            let schedule = if e.name == "ve" {
                Schedule::geometric(0.01, 5.0).unwrap()
            } else {
                linear()
            };
            let gamma = if e.gamma.is_some() { 0.3 } else { 0.0 };
            all.push((
                format!("{}.{n}", e.name),
                Diffusion::new(e.build(&params).unwrap(), schedule, gamma).unwrap(),
            ));
        }
    }
    // by its matrices, and of more channels than any of these
    let five: Vec<f64> = (0..25)
        .map(|n| {
            if n % 6 == 0 {
                -1.0 - 0.1 * n as f64
            } else {
                0.03 * (n % 7) as f64 - 0.1
            }
        })
        .collect();
    let noise: Vec<f64> = (0..25)
        .map(|n| {
            if n % 6 == 0 {
                1.0 + 0.05 * n as f64
            } else {
                0.0
            }
        })
        .collect();
    let square = |v: &[f64]| Square::from_slice(v).unwrap();
    let three = (
        [-0.5, 1.0, 0.0, -1.0, -1.5, 0.7, 0.0, -0.6, -2.0],
        [0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 4.0],
    );
    all.push((
        "custom.3".into(),
        Diffusion::new(
            custom(&square(&three.0), &square(&three.1), 1.0).unwrap(),
            linear(),
            0.3,
        )
        .unwrap(),
    ));
    all.push((
        "custom.5".into(),
        Diffusion::new(
            custom(&square(&five), &square(&noise), 2.0).unwrap(),
            linear(),
            0.3,
        )
        .unwrap(),
    ));
    all
}

fn objectives(d: &Diffusion) -> Vec<Objective> {
    if d.channels() == 1 {
        vec![Objective::DSM]
    } else {
        vec![Objective::DSM, Objective::hsm(d.gamma()).unwrap()]
    }
}

/// Numbers without a pattern, of size 1: exact in any arithmetic.
fn numbers(first: u64, n: usize) -> Vec<f64> {
    (0..n as u64)
        .map(|i| (((first + i) * 7919 + 104_729) % 4099) as f64 / 1024.0 - 2.0)
        .collect()
}

fn channels(first: u64, k: usize, n: usize) -> Vec<Vec<f64>> {
    (0..k as u64).map(|i| numbers(first + 100 * i, n)).collect()
}

fn views(a: &[Vec<f64>]) -> Vec<&[f64]> {
    a.iter().map(Vec::as_slice).collect()
}

fn views_mut(a: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    a.iter_mut().map(Vec::as_mut_slice).collect()
}

fn of_moments(m: &AnyMoments) -> Vec<f64> {
    let mut all = [m.mean.as_slice(), m.cov.as_slice()].concat();
    all.extend([m.det, m.log_det]);
    if let Some(f) = &m.factors {
        let squares = [
            &f.lower,
            &f.upper,
            &f.inverse,
            &f.inverse_transpose_lower,
            &f.inverse_transpose_upper,
        ];
        squares.iter().for_each(|a| all.extend(a.as_slice()));
        all.push(f.log_det);
    }
    all
}

fn of_law(l: &AnyLaw) -> Vec<f64> {
    let words = l
        .mean
        .as_slice()
        .iter()
        .chain(l.cov.as_slice())
        .flat_map(|x| [x.hi, x.lo]);
    words.chain(of_moments(&l.moments)).collect()
}

fn libm(record: &mut Record) {
    let x: Vec<f64> = (1..=12)
        .flat_map(|i| [f64::from(i) * 0.37, f64::from(i) * 3e-6])
        .collect();
    let functions: [fn(f64) -> f64; 10] = [
        |x| (-x).exp(),
        |x| (-x).exp_m1(),
        f64::ln,
        f64::ln_1p,
        f64::sin,
        f64::cos,
        f64::sinh,
        f64::cosh,
        |x| x.powf(1.7),
        |x| x.log2(),
    ];
    record.add(
        "libm".into(),
        functions
            .iter()
            .flat_map(|f| x.iter().map(|x| f(std::hint::black_box(*x)))),
    );
}

fn kernels(record: &mut Record, name: &str, d: &Diffusion) {
    let (p, s) = (d.process(), d.schedule());
    record.add(
        format!("{name} drift, noise, prior, initial"),
        [
            d.drift().as_slice(),
            d.noise(0.4).as_slice(),
            d.prior().as_slice(),
            &d.initial(),
        ]
        .concat(),
    );
    if let Some(s) = p.stationary() {
        record.add(format!("{name} stationary"), s.to_vec());
    }
    for objective in objectives(d) {
        let of = objective.name();
        for t in [1e-5, 0.37, 1.0] {
            let v = kernel_values(p, s, objective, 0.0, t).unwrap();
            let matrices = [
                &v.mean,
                &v.cov,
                &v.chol_lower,
                &v.chol_upper,
                &v.inv,
                &v.inverse_transpose_lower,
                &v.inverse_transpose_upper,
            ];
            let numbers = [
                v.det,
                v.logdet,
                v.ell,
                v.snr,
                v.snr_joint,
                v.sigma,
                v.log_snr,
            ];
            let entries = matrices
                .iter()
                .flat_map(|m| m.as_slice())
                .chain(&v.std)
                .copied();
            record.add(format!("{name} {of} kernel {t}"), entries.chain(numbers));
            record.add(
                format!("{name} {of} law {t}"),
                of_law(&p.law(s.span(0.0, t).unwrap(), objective.gamma(), 0.0)),
            );
        }
        if d.channels() <= 4 {
            let mut batch = AnyKernelBatch::default();
            batch
                .fill(p, s, objective, &[1e-4, 0.2, 0.45, 0.9, 0.95])
                .unwrap();
            let lower = |i: usize| (0..=i).map(move |j| (i, j));
            let entries = (0..d.channels()).flat_map(lower);
            let all = entries
                .flat_map(|(i, j)| [batch.mean(j, i), batch.cov(i, j), batch.lower(i, j)].concat());
            record.add(
                format!("{name} {of} batch"),
                all.chain([batch.det(), batch.ell()].concat()),
            );
        }
    }
    record.add(
        format!("{name} transition"),
        of_moments(&d.transition(0.2, 0.6).unwrap()),
    );
    if let Ok(m) = d.reversed(0.2, 0.6) {
        record.add(format!("{name} reversed"), of_moments(&m));
    }
}

/// Whether kernels come from a closed form, and so are cheap.
fn closed(name: &str) -> bool {
    !(name.starts_with("langevin") || name.starts_with("custom"))
}

fn samplers(record: &mut Record, name: &str, d: &Diffusion) {
    let (k, n) = (d.channels(), 3);
    let score = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
    record.add(format!("{name} score"), {
        let (u, mut out) = (channels(1, k, n), vec![vec![0.0; n]; d.noised().len()]);
        score
            .score(0.3, &views(&u), &mut views_mut(&mut out))
            .unwrap();
        let (mean, cov) = score.law(0.3).unwrap();
        [out.concat(), mean, cov.to_vec()].concat()
    });
    let grid = Grid::spaced(Spacing::Quadratic, d, 5, 0.01).unwrap();
    for e in SAMPLERS {
        // planned or run by hundreds of kernels: of closed forms alone
        if !closed(name) && (e.name.starts_with("conjugate") || e.name == "flow-dp5") {
            continue;
        }
        let Ok(stepper) = e.build(d, &grid) else {
            continue;
        };
        let (mut u, mut memory) = (channels(5, k, n), Memory::new(&*stepper, n));
        for i in 0..grid.steps() {
            let noise = channels(1000 * i as u64, stepper.draws(), n);
            stepper
                .step(
                    i,
                    &mut views_mut(&mut u),
                    &views(&noise),
                    &score,
                    &mut memory,
                )
                .unwrap();
        }
        record.add(format!("{name} {}", e.name), u.concat());
        if e.evaluations > 0 && e.name != "pc" {
            let law = run_law(&[(&*stepper, grid.steps())], k, &score).unwrap();
            let (mean, cov) = score.law(1.0).unwrap();
            let (mean, cov) = law.moments(&mean, &cov);
            record.add(
                format!("{name} {} law", e.name),
                [mean, cov.to_vec()].concat(),
            );
        }
    }
    for e in ADAPTIVE {
        let (mut u, mut noise) = (channels(5, k, n), Counter::new([3, 4], 0));
        let tolerance = Tolerance::new(0.05, 0.005).unwrap();
        if (e.run)(
            d,
            &score,
            &mut views_mut(&mut u),
            (1.0, 0.01),
            &tolerance,
            &mut noise,
        )
        .is_ok()
        {
            record.add(format!("{name} {}", e.name), u.concat());
        }
    }
    #[cfg(feature = "cli")]
    {
        use cld_sgm::sampler::driver::{AdaptiveRun, Run};
        let em = cld_sgm::sampler::entry("em")
            .unwrap()
            .build(d, &grid)
            .unwrap();
        let run = Run {
            diffusion: d,
            stepper: &*em,
            grid: &grid,
            denoise: true,
            score: &score,
            n: 2,
            dim: 2,
            seed: 9,
        };
        record.add(
            format!("{name} run"),
            run.sample(&|_, _| ()).unwrap().concat(),
        );
        let tolerance = Tolerance::new(0.05, 0.005).unwrap();
        let run = AdaptiveRun {
            diffusion: d,
            sampler: &ADAPTIVE[0],
            tolerance,
            eps: 0.01,
            denoise: true,
            score: &score,
            n: 2,
            dim: 2,
            seed: 9,
        };
        if let Ok((u, _)) = run.sample(&|_, _| ()) {
            record.add(format!("{name} adaptive run"), u.concat());
        }
    }
}

fn losses(record: &mut Record, name: &str, d: &Diffusion) {
    let (k, m, n) = (d.channels(), d.noised().len(), 3);
    for objective in objectives(d) {
        for form in [Form::Score, Form::Eps] {
            for weighting in [Weighting::Likelihood, Weighting::Eps] {
                let Ok(loss) = Loss::new(d, objective, form, weighting) else {
                    continue;
                };
                let t = 0.37;
                let at = loss.at(t).unwrap();
                let (u0, noise, output) =
                    (channels(11, k, n), channels(12, k, n), channels(13, m, n));
                let (mut u, mut target, mut gradient) =
                    (channels(0, k, n), channels(0, m, n), channels(0, m, n));
                at.perturb(&views(&u0), &views(&noise), &mut views_mut(&mut u))
                    .unwrap();
                at.target(&views(&noise), &mut views_mut(&mut target))
                    .unwrap();
                let value = at
                    .value(
                        &views(&noise),
                        &views(&output),
                        &mut views_mut(&mut gradient),
                    )
                    .unwrap();
                let (mean, variance) = exact::moments(&loss, Some(0.5), t).unwrap();
                let name = format!("{name} {} {form:?} {}", objective.name(), weighting.name());
                let rest = [at.quadratic().as_slice(), &[value, mean, variance]].concat();
                record.add(
                    name.clone(),
                    [u.concat(), target.concat(), gradient.concat(), rest].concat(),
                );
                // a thousand kernels and more: of closed forms alone
                if weighting == Weighting::Likelihood && form == Form::Score && closed(&name) {
                    let times = Times::importance(&loss, 0.01).unwrap();
                    let drawn = [0.1, 0.6, 0.9].map(|x| times.draw(x));
                    let (mean, variance) =
                        cld_sgm::loss::estimator::estimator(&loss, Some(0.5), &times, 2).unwrap();
                    record.add(
                        format!("{name} times"),
                        drawn
                            .into_iter()
                            .flat_map(|(t, w)| [t, w])
                            .chain([mean, variance]),
                    );
                    if k > 1 {
                        record.add(
                            format!("{name} gap"),
                            exact::gap(&loss, t).unwrap().to_vec(),
                        );
                    }
                }
            }
        }
    }
}

fn record() -> Record {
    let mut record = Record::default();
    libm(&mut record);
    for (name, d) in diffusions() {
        kernels(&mut record, &name, &d);
        if d.channels() <= 4 {
            samplers(&mut record, &name, &d);
            losses(&mut record, &name, &d);
        }
    }
    record
}

/// Catches a number that moved in a redesign: kernels, samplers' runs and losses of all diffusions,
/// as they were recorded.
#[test]
fn recorded_bits_are_those_of_today() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bits.txt");
    let found = record().0;
    if std::env::var_os("CLD_WRITE_BITS").is_some() {
        let mut text = String::new();
        for (name, values) in &found {
            let words: Vec<String> = values
                .iter()
                .map(|x| format!("{:016x}", x.to_bits()))
                .collect();
            writeln!(text, "{name}: {}", words.join(" ")).unwrap();
        }
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let row = |line: &str| -> Option<(String, Vec<f64>)> {
        let (name, words) = line.split_once(": ")?;
        let values = words
            .split(' ')
            .map(|w| u64::from_str_radix(w, 16).map(f64::from_bits).ok())
            .collect::<Option<_>>()?;
        Some((name.to_string(), values))
    };
    let recorded: BTreeMap<String, Vec<f64>> = text
        .lines()
        .map(|l| row(l).unwrap_or_else(|| panic!("not a row: {l}")))
        .collect();
    // the light library has no driver
    let here = |name: &&String| cfg!(feature = "cli") || !name.ends_with(" run");
    assert_eq!(
        recorded.keys().filter(here).collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>(),
        "rows recorded, and rows there are"
    );
    let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let exactly = bits(&recorded["libm"]) == bits(&found["libm"]);
    let mut off = vec![];
    for (name, values) in found.iter().filter(|(name, _)| *name != "libm") {
        let before = &recorded[name];
        let same = if exactly {
            bits(before) == bits(values)
        } else {
            let size = before.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let most = before.iter().zip(values).fold(0.0, |w, (a, b)| {
                worse(w, if a == b { 0.0 } else { (a - b).abs() / size })
            });
            before.len() == values.len() && within(most, OTHER_LIBM)
        };
        if !same {
            off.push(format!("{name}: {values:?} was {before:?}"));
        }
    }
    assert!(found.len() > 500, "{} rows", found.len());
    assert!(
        off.is_empty(),
        "{} of {} rows moved (libm the same: {exactly}):\n{}",
        off.len(),
        found.len(),
        off[..off.len().min(5)].join("\n")
    );
}
