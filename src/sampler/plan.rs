//! What steppers need when they are planned: exponentials of the drift, quadrature, the clock's
//! inverse, the score's scale.

use crate::diffusion::Diffusion;
use crate::error::Result;
use crate::small::Square;

/// `e^(c f)`: Taylor series after halving, then squaring.
pub(super) fn exponential(f: &Square, c: f64) -> Square {
    let k = f.k();
    let norm = c.abs()
        * f.rows()
            .map(|r| r.iter().map(|x| x.abs()).sum::<f64>())
            .fold(0.0, f64::max);
    let halvings = (norm.max(0.25) / 0.25).log2().ceil().clamp(0.0, 60.0) as i32;
    let a = f.map(|x| x * c * 0.5f64.powi(halvings));
    let identity = Square::identity(k);
    // Horner; 0.25^13 / 13! is below 1e-17
    let mut e = identity;
    for n in (1..=12).rev() {
        let product = a.matmul(&e);
        e = Square::build(k, |i, j| identity[(i, j)] + product[(i, j)] / f64::from(n));
    }
    (0..halvings).for_each(|_| e = e.matmul(&e));
    e
}

/// Nodes in (0, 1) and weights of the Gauss-Legendre rule with `n` points.
pub(super) fn gauss(n: usize) -> Vec<(f64, f64)> {
    // value and derivative of the Legendre polynomial of degree n
    let legendre = |x: f64| {
        let (mut p, mut before) = (x, 1.0);
        for j in 2..=n {
            let j = j as f64;
            (p, before) = (((2.0 * j - 1.0) * x * p - (j - 1.0) * before) / j, p);
        }
        (p, n as f64 * (x * p - before) / (x * x - 1.0))
    };
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            for _ in 0..8 {
                let (p, slope) = legendre(x);
                x -= p / slope;
            }
            let slope = legendre(x).1;
            (0.5 * (1.0 - x), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// The time in `[s, t]` at which the clock has run a share `r` of `B(s, t)` backward from t.
pub(super) fn time_at(diffusion: &Diffusion, t: f64, s: f64, r: f64) -> Result<f64> {
    let aim = r * diffusion.schedule().integral(s, t)?;
    let (mut low, mut high) = (s, t);
    // halves to the last bit
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if diffusion.schedule().integral(middle, t)? > aim {
            low = middle
        } else {
            high = middle
        }
    }
    Ok(if r == 0.0 { t } else { 0.5 * (low + high) })
}

/// `sqrt((S_t^-1)_ii)` of the kernel for each noised channel i: the root mean square of its score
/// there. For CLD it is `ell_t`.
pub(super) fn score_scale(diffusion: &Diffusion, t: f64) -> Result<Vec<f64>> {
    let kernel = diffusion.kernel(t)?;
    Ok(diffusion
        .noised()
        .iter()
        .map(|i| kernel.inv[(*i, *i)].sqrt())
        .collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::process::{Cld, CldDamped, Psld, Ve, Vp};
    use crate::sampler::law::run_law;
    use crate::sampler::{Grid, Stepper, entry};
    use crate::schedule::Schedule;
    use crate::score::Gaussian;
    use crate::small::Mat;

    /// CLD, with a rate that grows tenfold.
    pub fn cld() -> Diffusion {
        Diffusion::of(
            Cld::new(0.25).unwrap(),
            Schedule::linear(0.5, 4.5).unwrap(),
            0.04,
        )
        .unwrap()
    }

    /// Other processes, for steppers that take any.
    pub fn others() -> Vec<Diffusion> {
        let rate = || Schedule::linear(0.5, 4.5).unwrap();
        vec![
            Diffusion::of(CldDamped::new(0.25, 0.7).unwrap(), rate(), 0.04).unwrap(),
            Diffusion::of(Psld::new(0.28, 4.01).unwrap(), rate(), 0.04).unwrap(),
            Diffusion::of(Vp, rate(), 0.0).unwrap(),
            Diffusion::of(Ve, rate(), 0.0).unwrap(),
        ]
    }

    /// Largest error of mean and covariance at t = 0.1 of a run from the exact law at t = 1, data
    /// N(0.7, 0.5^2).
    pub fn weak_error(stepper: &dyn Stepper, diffusion: &Diffusion, grid: &Grid) -> f64 {
        let (k, end) = (diffusion.channels(), grid.times()[grid.steps()]);
        let score = Gaussian::new(diffusion.clone(), 0.7, 0.5).unwrap();
        let (mean, cov) = score.law(1.0).unwrap();
        let (m, c) = run_law(&[(stepper, grid.steps())], k, &score)
            .unwrap()
            .moments(&mean, &cov);
        let (mean, cov) = score.law(end).unwrap();
        m.iter()
            .zip(&mean)
            .chain(c.as_slice().iter().zip(cov.as_slice()))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max)
    }

    /// Equal steps from 1 to 0.1.
    pub fn grid(steps: usize) -> Grid {
        Grid::new(
            (0..=steps)
                .map(|i| 1.0 - 0.9 * i as f64 / steps as f64)
                .collect(),
        )
        .unwrap()
    }

    /// The slope between `n` and `2 n` steps.
    pub fn weak_order(name: &str, diffusion: &Diffusion, n: usize) -> f64 {
        let error = |n: usize| {
            let grid = grid(n);
            weak_error(
                &*entry(name).unwrap().build(diffusion, &grid).unwrap(),
                diffusion,
                &grid,
            )
        };
        let (a, b) = (error(n), error(2 * n));
        let order = (a / b).log2();
        println!(
            "{name} {}: {a:.3e} {b:.3e} order {order:.3}",
            diffusion.process().name()
        );
        order
    }

    /// Catches a wrong series, squaring or node: a rotation and a nilpotent matrix by their closed
    /// forms, polynomials that the rule integrates exactly, a linear rate's clock by its root. A
    /// few roundings each.
    #[test]
    fn planning_tools() {
        for c in [1e-9, -0.3, 2.0, 40.0f64] {
            let e = exponential(&Mat([[0.0, 1.0], [-1.0, 0.0]]).into(), c);
            for (x, y) in e
                .as_slice()
                .iter()
                .zip([c.cos(), c.sin(), -c.sin(), c.cos()])
            {
                assert!((x - y).abs() < 1e-13, "{c}: {e:?}"); // 8 squarings
            }
            let e = exponential(&Mat([[0.0, 3.0], [0.0, 0.0]]).into(), c);
            assert!((e[(0, 1)] / (3.0 * c) - 1.0).abs() < 1e-14 && e[(0, 0)] == 1.0);
        }
        for n in [1, 2, 5, 12] {
            for power in 0..2 * n as i32 {
                let sum: f64 = gauss(n).iter().map(|(x, w)| w * x.powi(power)).sum();
                assert!(
                    (sum * f64::from(power + 1) - 1.0).abs() < 1e-13,
                    "{n} {power}: {sum}"
                );
            }
        }
        let d = cld();
        // B(0,t) = t/2 + 9 t^2 / 4
        let t = time_at(&d, 1.0, 0.2, 0.3).unwrap();
        let b = |t: f64| 0.5 * t + 2.25 * t * t;
        assert!((b(1.0) - b(t) - 0.3 * (b(1.0) - b(0.2))).abs() < 1e-14);
    }
}
