//! Samplers: the exact laws of what runs against tables of 36 digits.

use cld_sgm::sampler::law::run_law;
use cld_sgm::sampler::{Denoise, Grid, Stepper, entry};
use cld_sgm::score::Gaussian;
use cld_sgm::{Cld, Diffusion, Schedule};
use serde_json::Value as Json;

fn number(v: &Json) -> f64 {
    v.as_f64().or_else(|| v.as_str()?.parse().ok()).expect("a number")
}

/// Catches score or rate at the wrong end of a step, a factor in drift, kick or noise, a half step over the wrong interval, a
/// denoising step with noise: every law in the table (three samplers, two schedules, two grids) to 1e-11 of the table's.
/// The tolerance: a thousand steps whose matrices are right to 1e-15, and laws that grow at most tenfold.
#[test]
fn laws_are_those_of_the_table() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/truth/sampler_laws.json")).unwrap();
    let table: Json = serde_json::from_str(&text).unwrap();
    let eps = 1e-3;
    let mut worst: f64 = 0.0;
    let laws = table["laws"].as_array().unwrap();
    assert_eq!(laws.len(), 240);
    for law in laws {
        let (b0, b1) = (number(&law["schedule"]["b0"]), number(&law["schedule"]["b1"]));
        let (mass, gamma) = (number(&table["params"]["mass"]), number(&table["params"]["gamma"]));
        let d = Diffusion::of(Cld::new(mass).unwrap(), Schedule::linear(b0, b1).unwrap(), gamma).unwrap();
        let score = Gaussian::new(d.clone(), number(&law["data"]["mean"]), number(&law["data"]["std"])).unwrap();
        let denoise = law["denoise"].as_bool().unwrap();
        let n = law["n_steps"].as_u64().unwrap() as usize - usize::from(denoise);
        let r = |i: usize| (n - i) as f64 / n as f64;
        let times = match law["striding"].as_str().unwrap() {
            "linear" => (0..=n).map(|i| eps + (1.0 - eps) * r(i)).collect(),
            _ => (0..=n).map(|i| eps + (1.0 - eps) * r(i) * r(i)).collect(),
        };
        let grid = Grid::new(times).unwrap();
        let stepper = entry(law["sampler"].as_str().unwrap()).unwrap().build(&d, &grid).unwrap();
        let last = Denoise::new(&d, eps).unwrap();
        let mut runs: Vec<(&dyn Stepper, usize)> = vec![(&*stepper, n)];
        if denoise {
            runs.push((&last, 1));
        }
        let (mean, cov) = run_law(&runs, 2, &score).unwrap().moments(&[0.0, 0.0], &[1.0, 0.0, 0.0, mass]);
        let size = (0..4).map(|i| number(&law["cov"][i / 2][i % 2]).abs()).fold(1.0, f64::max);
        for i in 0..2 {
            worst = worst.max((mean[i] - number(&law["mean"][i])).abs() / size.sqrt());
            for j in 0..2 {
                worst = worst.max((cov[2 * i + j] - number(&law["cov"][i][j])).abs() / size);
            }
        }
        assert!(
            worst < 1e-11,
            "{} {} {} n={n} denoise={denoise}: {worst:e}\n{mean:?} {cov:?}\n{} {}",
            law["sampler"],
            law["schedule"],
            law["striding"],
            law["mean"],
            law["cov"]
        );
    }
    println!("worst {worst:e}");
}
