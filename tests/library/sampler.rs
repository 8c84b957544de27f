//! Samplers: the exact laws of what runs against tables of 36 digits.

use cld_sgm::internal::small::Square;
use cld_sgm::internal::worst::{Worst, worse};
use cld_sgm::sampler::law::run_law;
use cld_sgm::sampler::{Denoise, Grid, Stepper, entry};
use cld_sgm::score::Gaussian;
use cld_sgm::{Cld, Diffusion, Schedule};
use serde_json::Value as Json;

fn number(v: &Json) -> f64 {
    v.as_f64()
        .or_else(|| v.as_str()?.parse().ok())
        .expect("a number")
}

/// Mistakes of public code about the two ends of a run.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    /// The last step, which should have none, gets noise.
    NoisyDenoise,
    /// The prior velocity's variance is 1 for M.
    UnitPrior,
}

/// The largest error of the table's laws that `choose` chooses, relative to the law's size, and how
/// many these are.
fn worst(mistake: Mistake, choose: impl Fn(&Json) -> bool) -> (Worst, usize) {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/truth/sampler_laws.json"
    ))
    .unwrap();
    let table: Json = serde_json::from_str(&text).unwrap();
    let eps = 1e-3;
    let (mut worst, mut count) = (Worst::NONE, 0);
    for law in table["laws"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| choose(l))
    {
        count += 1;
        let (b0, b1) = (
            number(&law["schedule"]["b0"]),
            number(&law["schedule"]["b1"]),
        );
        let (mass, gamma) = (
            number(&table["params"]["mass"]),
            number(&table["params"]["gamma"]),
        );
        let d = Diffusion::of(
            Cld::new(mass).unwrap(),
            Schedule::linear(b0, b1).unwrap(),
            gamma,
        )
        .unwrap();
        let score = Gaussian::new(
            d.clone(),
            number(&law["data"]["mean"]),
            number(&law["data"]["std"]),
        )
        .unwrap();
        let denoise = law["denoise"].as_bool().unwrap();
        let n = law["n_steps"].as_u64().unwrap() as usize - usize::from(denoise);
        let r = |i: usize| (n - i) as f64 / n as f64;
        let times = match law["striding"].as_str().unwrap() {
            "linear" => (0..=n).map(|i| eps + (1.0 - eps) * r(i)).collect(),
            _ => (0..=n).map(|i| eps + (1.0 - eps) * r(i) * r(i)).collect(),
        };
        let grid = Grid::new(times).unwrap();
        let stepper = entry(law["sampler"].as_str().unwrap())
            .unwrap()
            .build(&d, &grid)
            .unwrap();
        let last: Box<dyn Stepper> = match mistake {
            Mistake::NoisyDenoise => entry("em")
                .unwrap()
                .build(&d, &Grid::new(vec![eps, 0.0]).unwrap())
                .unwrap(),
            _ => Box::new(Denoise::new(&d, eps).unwrap()),
        };
        let mut runs: Vec<(&dyn Stepper, usize)> = vec![(&*stepper, n)];
        if denoise {
            runs.push((&*last, 1));
        }
        let variance = if mistake == Mistake::UnitPrior {
            1.0
        } else {
            mass
        };
        let (mean, cov) = run_law(&runs, 2, &score)
            .unwrap()
            .moments(&[0.0, 0.0], &Square::diagonal(&[1.0, variance]));
        let size = (0..4)
            .map(|i| number(&law["cov"][i / 2][i % 2]).abs())
            .fold(1.0, worse);
        for i in 0..2 {
            worst.see((mean[i] - number(&law["mean"][i])).abs() / size.sqrt());
            for j in 0..2 {
                worst.see((cov[(i, j)] - number(&law["cov"][i][j])).abs() / size);
            }
        }
    }
    (worst, count)
}

/// Catches score or rate at the wrong end of a step, a factor in drift, kick or noise, a half step
/// over the wrong interval: every law in the table (three samplers, two schedules, two grids) to
/// 1e-11 of its size. The tolerance: a thousand steps whose matrices are right to 1e-15, and laws
/// that grow at most tenfold.
#[test]
fn laws_are_those_of_the_table() {
    let (worst, count) = worst(Mistake::None, |_| true);
    println!("worst {worst:e}");
    assert_eq!(count, 240);
    assert!(worst.within(1e-11), "{worst:e}");
}

/// Catches a check that could not see a denoising step with noise, or a prior velocity of variance
/// 1 for M: each planted, each far beyond the tolerance.
#[test]
fn mistakes_at_the_ends_break_the_table() {
    let (noisy, count) = worst(Mistake::NoisyDenoise, |l| l["denoise"] == true);
    assert!(count == 120 && noisy.value() > 1e-5, "{count} {noisy:e}");
    let (unit, _) = worst(Mistake::UnitPrior, |l| l["n_steps"] == 10);
    assert!(unit.value() > 1e-5, "{unit:e}");
}
