//! Gaussian mixtures with full covariances, each given by its lower Cholesky factor.

use crate::error::{Error, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Most numbers that are drawn at once.
const MOST: usize = 1 << 30;

/// One Gaussian of a mixture: `weight N(mean, L L^T)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its share, in [0, 1].
    pub weight: f64,
    /// Its mean, dim numbers.
    pub mean: Vec<f64>,
    /// Lower Cholesky factor L of its covariance, row-major (dim, dim).
    pub lower: Vec<f64>,
}

impl Component {
    /// With covariance `deviation^2` times the identity.
    pub fn round(weight: f64, mean: Vec<f64>, deviation: f64) -> Component {
        let d = mean.len();
        let lower = (0..d * d)
            .map(|n| if n / d == n % d { deviation } else { 0.0 })
            .collect();
        Component {
            weight,
            mean,
            lower,
        }
    }
}

/// A mixture of Gaussians in R^dim.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    components: Vec<Component>,
    dim: usize,
}

impl Component {
    /// Refuses what is no Gaussian of `dim` dimensions with a share; `n` is its number.
    fn check(&self, n: usize, dim: usize) -> Result<()> {
        if self.mean.len() != dim {
            return Err(Error::shape(
                format!("mean of component {n}"),
                &[self.mean.len()],
                format!("[{dim}]"),
            ));
        }
        if self.lower.len() != dim * dim {
            return Err(Error::shape(
                format!("lower of component {n}"),
                &[self.lower.len()],
                format!("[{}], {dim} x {dim}", dim * dim),
            ));
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(Error::parameter(
                format!("weight of component {n}"),
                self.weight,
                "0 <= weight <= 1",
            ));
        }
        if let Some(m) = self.mean.iter().find(|m| !m.is_finite()) {
            return Err(Error::parameter(
                format!("mean of component {n}"),
                m,
                "finite numbers",
            ));
        }
        for (e, l) in self.lower.iter().enumerate() {
            let (i, j) = (e / dim, e % dim);
            let fine = match i.cmp(&j) {
                std::cmp::Ordering::Less => *l == 0.0,
                std::cmp::Ordering::Equal => (1e-100..=1e100).contains(l),
                std::cmp::Ordering::Greater => l.abs() <= 1e100,
            };
            if !fine {
                return Err(Error::parameter(
                    format!("lower of component {n} at ({i}, {j})"),
                    l,
                    "lower triangular, diagonal in [1e-100, 1e100]",
                ));
            }
        }
        Ok(())
    }
}

impl Mixture {
    /// From its components.
    ///
    /// # Errors
    /// No component; components of different dimensions; a weight not in [0, 1], or weights whose
    /// sum is not 1 within 1e-12; a mean that is not finite; a factor that is not lower triangular
    /// with diagonal in [1e-100, 1e100].
    pub fn new(components: Vec<Component>) -> Result<Mixture> {
        let dim = components.first().map_or(0, |c| c.mean.len());
        if dim == 0 {
            return Err(Error::parameter(
                "components",
                "empty",
                "at least one, of dimension at least 1",
            ));
        }
        for (n, c) in components.iter().enumerate() {
            c.check(n, dim)?;
        }
        let sum: f64 = components.iter().map(|c| c.weight).sum();
        if !((sum - 1.0).abs() <= 1e-12) {
            return Err(Error::parameter("sum of weights", sum, "1, within 1e-12"));
        }
        Ok(Mixture { components, dim })
    }

    /// Dimension of the data.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Its Gaussians.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// `n` independent samples, row-major (n, dim): a component by its weight, then `mean + L xi`.
    /// The same seed gives the same samples. Formula: data.mixture_sample.
    ///
    /// # Errors
    /// More than 2^30 numbers.
    pub fn sample(&self, seed: u64, n: usize) -> Result<Vec<f64>> {
        if n.checked_mul(self.dim).is_none_or(|all| all > MOST) {
            return Err(Error::parameter(
                "n",
                n,
                format!("at most {}, 2^30 numbers", MOST / self.dim),
            ));
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let edges: Vec<f64> = self
            .components
            .iter()
            .scan(0.0, |s, c| {
                *s += c.weight;
                Some(*s)
            })
            .collect();
        // rounding may leave the last edge below 1: what lies beyond belongs to the last component
        // that has a share
        let last = self
            .components
            .iter()
            .rposition(|c| c.weight > 0.0)
            .unwrap_or(0);
        let (mut out, mut xi) = (Vec::with_capacity(n * self.dim), vec![0.0; self.dim]);
        for _ in 0..n {
            let u: f64 = rng.random();
            let c = &self.components[edges.partition_point(|&e| e <= u).min(last)];
            xi.fill_with(|| rng.sample(StandardNormal));
            for i in 0..self.dim {
                let row = &c.lower[i * self.dim..][..=i];
                out.push(c.mean[i] + row.iter().zip(&xi).map(|(l, z)| l * z).sum::<f64>());
            }
        }
        Ok(out)
    }

    /// Log-density at one point `x` of dim numbers: `log sum w N(x; mean, L L^T)`, by forward
    /// substitution, the largest term taken out of the sum; `-inf` where every term is below the
    /// smallest f64's logarithm. Formula: data.mixture_log_density.
    ///
    /// # Errors
    /// A point of another dimension, or that is not finite.
    pub fn log_density(&self, x: &[f64]) -> Result<f64> {
        let d = self.dim;
        if x.len() != d {
            return Err(Error::shape("x", &[x.len()], format!("[{d}]")));
        }
        if let Some(x) = x.iter().find(|x| !x.is_finite()) {
            return Err(Error::parameter("x", x, "finite numbers"));
        }
        let terms = self.components.iter().map(|c| {
            let (mut w, mut log) = (
                vec![0.0; d],
                c.weight.ln() - 0.5 * d as f64 * std::f64::consts::TAU.ln(),
            );
            for i in 0..d {
                let rest: f64 = (0..i).map(|j| c.lower[i * d + j] * w[j]).sum();
                w[i] = (x[i] - c.mean[i] - rest) / c.lower[i * d + i];
                log -= c.lower[i * d + i].ln() + 0.5 * w[i] * w[i];
            }
            // so far away that a term has overflowed: no density is left (NaN is infinity less
            // infinity)
            if log.is_nan() { f64::NEG_INFINITY } else { log }
        });
        let terms: Vec<f64> = terms.collect();
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(if most == f64::NEG_INFINITY {
            most
        } else {
            most + terms.iter().map(|t| (t - most).exp()).sum::<f64>().ln()
        })
    }

    /// Its mean.
    pub fn mean(&self) -> Vec<f64> {
        (0..self.dim)
            .map(|i| self.components.iter().map(|c| c.weight * c.mean[i]).sum())
            .collect()
    }

    /// Its covariance, row-major: `sum w (L L^T + (m - mean)(m - mean)^T)`. Formula:
    /// data.mixture_moments.
    pub fn covariance(&self) -> Vec<f64> {
        let (d, mean) = (self.dim, self.mean());
        let mut cov = vec![0.0; d * d];
        for c in &self.components {
            for (n, out) in cov.iter_mut().enumerate() {
                let (i, j) = (n / d, n % d);
                let own: f64 = (0..=i.min(j))
                    .map(|k| c.lower[i * d + k] * c.lower[j * d + k])
                    .sum();
                *out += c.weight * (own + (c.mean[i] - mean[i]) * (c.mean[j] - mean[j]));
            }
        }
        cov
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Mixture {
        let a = Component {
            weight: 0.25,
            mean: vec![1.0, -0.5],
            lower: vec![0.5, 0.0, 0.3, 0.2],
        };
        let b = Component {
            weight: 0.75,
            mean: vec![-0.5, 0.25],
            lower: vec![0.25, 0.0, -0.1, 0.6],
        };
        Mixture::new(vec![a, b]).unwrap()
    }

    /// Catches a normalisation, a transposed factor or a wrong weight: density, mean and covariance
    /// against the integral over a fine lattice (the trapezoid rule, exact here but for rounding
    /// and tails beyond 8 deviations).
    #[test]
    fn density_integrates_to_its_moments() {
        let m = two();
        let (n, h) = (600i32, 0.02);
        let (mut total, mut mean, mut second) = (0.0, [0.0; 2], [0.0; 4]);
        for i in -n / 2..=n / 2 {
            for j in -n / 2..=n / 2 {
                let x = [f64::from(i) * h, f64::from(j) * h];
                let p = m.log_density(&x).unwrap().exp() * h * h;
                total += p;
                (0..2).for_each(|a| mean[a] += p * x[a]);
                (0..4).for_each(|a| second[a] += p * x[a / 2] * x[a % 2]);
            }
        }
        // 361201 terms, each right to 1e-15
        assert!((total - 1.0).abs() < 1e-11, "{total}");
        for a in 0..4 {
            let cov = second[a] - mean[a / 2] * mean[a % 2];
            assert!((m.mean()[a % 2] - mean[a % 2]).abs() < 1e-11);
            assert!(
                (m.covariance()[a] - cov).abs() < 1e-11,
                "{a}: {} {cov}",
                m.covariance()[a]
            );
        }
    }

    /// Catches samples of another law (weights, factor, order in memory) and a seed that does not
    /// fix them: mean and covariance of 4e4 samples within five standard errors of the exact ones.
    #[test]
    fn samples_have_the_moments() {
        let (m, n) = (two(), 40_000);
        let x = m.sample(7, n).unwrap();
        assert_eq!(x, m.sample(7, n).unwrap());
        assert_ne!(x[..10], m.sample(8, 5).unwrap()[..]);
        let (mean, cov) = (m.mean(), m.covariance());
        for a in 0..4 {
            let (i, j) = (a / 2, a % 2);
            let products: Vec<f64> = x
                .chunks(2)
                .map(|r| (r[i] - mean[i]) * (r[j] - mean[j]))
                .collect();
            let average = products.iter().sum::<f64>() / n as f64;
            let square = products.iter().map(|p| (p - average).powi(2)).sum::<f64>() / n as f64;
            assert!(
                (average - cov[a]).abs() < 5.0 * (square / n as f64).sqrt(),
                "{a}: {average} {}",
                cov[a]
            );
            let first = x.chunks(2).map(|r| r[i]).sum::<f64>() / n as f64;
            assert!((first - mean[i]).abs() < 5.0 * (cov[3 * i] / n as f64).sqrt());
        }
    }

    /// Catches a mixture that is none being let in; each refusal names what is wrong.
    #[test]
    fn what_is_no_mixture_is_refused() {
        let refused = |c: Vec<Component>, part: &str| {
            let e = Mixture::new(c).unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        };
        let c = |w: f64| Component::round(w, vec![0.0, 0.0], 1.0);
        refused(vec![], "components");
        refused(vec![c(0.5)], "sum of weights");
        refused(vec![c(1.5)], "weight of component 0");
        refused(vec![c(1.5), c(-0.5)], "weight of component 0");
        refused(vec![c(0.5), c(-0.5), c(1.0)], "weight of component 1");
        refused(vec![c(0.0), c(0.0)], "sum of weights");
        refused(
            vec![
                c(0.5),
                Component {
                    mean: vec![0.0],
                    ..c(0.5)
                },
            ],
            "mean of component 1",
        );
        refused(
            vec![Component {
                lower: vec![1.0, 0.5, 0.0, 1.0],
                ..c(1.0)
            }],
            "(0, 1)",
        );
        refused(
            vec![Component {
                lower: vec![1.0, 0.0, 0.0, 0.0],
                ..c(1.0)
            }],
            "(1, 1)",
        );
        refused(
            vec![Component {
                mean: vec![f64::NAN, 0.0],
                ..c(1.0)
            }],
            "mean of component 0",
        );
    }

    /// Catches NaN for a point so far away that its squares overflow, a weight of zero that makes
    /// NaN or is drawn, and a panic for points and numbers of samples that are none.
    #[test]
    fn far_points_and_zero_weights() {
        let m = two();
        for far in [1e10, 1e150, 1e160, 1e300, f64::MAX] {
            for x in [[far, 0.0], [0.0, -far], [far, far], [-far, far]] {
                let l = m.log_density(&x).unwrap();
                assert!(l < -1e18, "{x:?}: {l}"); // at least (1e10)^2 / 2 / 0.6^2, and no NaN
            }
        }
        assert_eq!(m.log_density(&[1e200, 0.0]).unwrap(), f64::NEG_INFINITY);
        // a component without share changes nothing, wherever it stands
        let none = Component::round(0.0, vec![50.0, 50.0], 1.0);
        for at in 0..3 {
            let mut all = two().components;
            all.insert(at, none.clone());
            let with = Mixture::new(all).unwrap();
            for x in [[0.3, 0.2], [50.0, 50.0], [-2.0, 1.0]] {
                assert_eq!(with.log_density(&x).unwrap(), m.log_density(&x).unwrap());
            }
            assert_eq!(with.sample(3, 1000).unwrap(), m.sample(3, 1000).unwrap());
            assert_eq!((with.mean(), with.covariance()), (m.mean(), m.covariance()));
        }
        for bad in [
            &[][..],
            &[1.0],
            &[1.0, 2.0, 3.0],
            &[f64::NAN, 0.0],
            &[0.0, f64::INFINITY],
        ] {
            assert!(
                m.log_density(bad).unwrap_err().to_string().contains("`x`"),
                "{bad:?}"
            );
        }
        for n in [usize::MAX, usize::MAX / 2 + 1, 1 << 40] {
            assert!(m.sample(1, n).unwrap_err().to_string().contains("`n`"));
        }
        assert!(m.sample(1, 0).unwrap().is_empty());
    }
}
