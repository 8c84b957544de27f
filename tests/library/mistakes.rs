//! Mistakes that public code has made, planted on purpose: the claims that judge the samplers must
//! say which is off.

use cld_sgm::internal::audit::claims::sampler::{Subject, orders, printed, reversal};
use cld_sgm::sampler::{Memory, Order, Stepper, entry};
use cld_sgm::score::{Gaussian, Score};
use cld_sgm::{Cld, Custom, Diffusion, Mat, Result, Schedule};

fn diffusion(gamma: f64) -> Diffusion {
    Diffusion::of(
        Cld::new(0.25).unwrap(),
        Schedule::linear(0.5, 3.0).unwrap(),
        gamma,
    )
    .unwrap()
}

/// The score at another time, and times a factor.
struct Off<'a>(&'a Gaussian, f64, f64);

impl Score for Off<'_> {
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.0.score(t + self.1, u, out)?;
        out.iter_mut()
            .flat_map(|o| o.iter_mut())
            .for_each(|x| *x *= self.2);
        Ok(())
    }
}

/// A sampler whose noise is multiplied by a factor.
struct Noise(Box<dyn Stepper>, f64);

impl Stepper for Noise {
    fn draws(&self) -> usize {
        self.0.draws()
    }
    fn scratch(&self) -> usize {
        self.0.scratch()
    }
    fn step(
        &self,
        i: usize,
        u: &mut [&mut [f64]],
        noise: &[&[f64]],
        score: &dyn Score,
        memory: &mut Memory,
    ) -> Result<()> {
        let scaled: Vec<Vec<f64>> = noise
            .iter()
            .map(|s| s.iter().map(|x| x * self.1).collect())
            .collect();
        let slices: Vec<&[f64]> = scaled.iter().map(Vec::as_slice).collect();
        self.0.step(i, u, &slices, score, memory)
    }
}

/// What is planted.
enum Mistake {
    None,
    Score(f64, f64),
    Gamma(f64),
    MissingRoot,
    Coupling,
}

/// Ids of the claims about Euler-Maruyama that do not hold with this mistake.
fn off(m: &Mistake) -> Vec<String> {
    let d = diffusion(0.04);
    let data = Gaussian::new(d.clone(), 0.7, 0.5).unwrap();
    let other = Gaussian::new(
        diffusion(if let Mistake::Gamma(g) = m { *g } else { 0.04 }),
        0.7,
        0.5,
    )
    .unwrap();
    let (shift, factor) = if let Mistake::Score(shift, factor) = m {
        (*shift, *factor)
    } else {
        (0.0, 1.0)
    };
    let score = Off(&other, shift, factor);
    let em = entry("em").unwrap();
    let build = |d: &Diffusion, g: &cld_sgm::sampler::Grid| -> Result<Box<dyn Stepper>> {
        match m {
            // h for the root of h
            Mistake::MissingRoot => Ok(Box::new(Noise(
                em.build(d, g)?,
                (g.times()[0] - g.times()[1]).sqrt(),
            ))),
            Mistake::Coupling => {
                let f = d.drift();
                let drift = Mat::<2>::build(|i, j| if i == j { f[(i, i)] } else { -f[(i, j)] });
                let noise = Mat::<2>::build(|i, j| d.noise(1.0)[(i, j)]);
                em.build(
                    &Diffusion::of(Custom::new(drift, noise, 0.25)?, *d.schedule(), 0.04)?,
                    g,
                )
            }
            _ => em.build(d, g),
        }
    };
    let order = Order {
        weak: 1.0,
        strong: Some(1.0),
    };
    let s = Subject {
        case: "sampler.em".into(),
        about: "em".into(),
        diffusion: &d,
        data: &data,
        score: &score,
        build: &build,
        order,
    };
    let mut checks = orders(&s).unwrap();
    checks.extend(printed(&s, "em").unwrap());
    checks.extend(reversal("reversal", "em", &d, &data, &score).unwrap());
    checks
        .iter()
        .map(|c| c.evidence(1, None).unwrap())
        .filter(|e| !e.holds())
        .map(|e| e.claim.id)
        .collect()
}

/// Catches claims that cannot tell these mistakes: each must break the law by the printed formulas
/// and the weak order; those of the score the time reversal, too. Without a mistake nothing is
/// blamed.
#[test]
fn planted_mistakes_are_caught() {
    assert_eq!(off(&Mistake::None), [""; 0]);
    for (name, mistake, of_the_score) in [
        ("score at the wrong time", Mistake::Score(-0.01, 1.0), true),
        ("missing factor 2", Mistake::Score(0.0, 0.5), true),
        (
            "initial variance gamma for gamma M",
            Mistake::Gamma(0.04 / 0.25),
            true,
        ),
        ("missing root of the step", Mistake::MissingRoot, false),
        ("sign of the coupling in reverse", Mistake::Coupling, false),
    ] {
        let ids = off(&mistake);
        println!("{name}: {}", ids.join(" "));
        for (part, method) in [("printed.cov", "/law"), ("/cov", "/order")] {
            assert!(
                ids.iter().any(|i| i.contains(part) && i.ends_with(method)),
                "{name}: no {part} among {ids:?}"
            );
        }
        assert_eq!(
            ids.iter().any(|i| i.starts_with("reversal/marginal.")),
            of_the_score,
            "{name}: {ids:?}"
        );
    }
}
