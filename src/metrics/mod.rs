//! Distances between samples and laws, with standard errors: what tells one sampler's output from
//! another's.
//!
//! | file | what |
//! |---|---|
//! | [`wasserstein`] | exact in one dimension, sliced in more |
//! | [`mod@bures`] | exact W2 between Gaussians |
//! | [`energy`] | energy distance and MMD, quadratic or in blocks |
//! | [`modes`] | coverage of modes |
//! | [`mod@features`] | 64 fixed features of small images, and their Frechet distance |
//!
//! Samples are row-major (n, dim). Everything is deterministic: what is random takes a seed.
//! Nothing is parallel.
//!
//! # Example
//! ```
//! use cld_sgm::data::entry;
//! use cld_sgm::metrics::{energy::Pairwise, sliced};
//!
//! let data = (entry("modes25")?.build)()?;
//! let (a, b) = (data.sample(0, 500)?, data.sample(1, 500)?); // two samples of one law
//! let energy = Pairwise::Energy.all_pairs(&a, &b, 2)?;
//! assert!(energy.value.abs() < 4.0 * energy.error); // 0 within its standard error
//! let w2 = sliced(&a, &b, 2, 2, 100, 0)?; // 100 directions, seed 0
//! assert!(w2.value > 0.0 && w2.error > 0.0);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

pub mod bures;
pub mod energy;
pub mod features;
pub mod modes;
pub mod wasserstein;

pub use bures::{bures, frechet, moments};
pub use energy::{Pairwise, median_distance};
pub use features::{FEATURES, features, image_frechet};
pub use modes::{Coverage, Modes};
pub use wasserstein::{sliced, w1, w2};

use crate::error::{Error, Result};

/// An estimate and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error; of what, each function says.
    pub error: f64,
}

impl Estimate {
    /// Mean of independent values, and its standard error (0 for a single value: there is nothing
    /// to tell it from).
    pub fn of(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        Estimate {
            value: mean,
            error: if n > 1.0 {
                (variance(values) / n).sqrt()
            } else {
                0.0
            },
        }
    }
}

/// Unbiased variance.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)
}

/// Rows of a sample of at least `least` rows, all finite.
fn rows(name: &'static str, a: &[f64], dim: usize, least: usize) -> Result<usize> {
    if dim == 0 || !a.len().is_multiple_of(dim) || a.len() / dim < least {
        let allowed = format!("(n, {dim}) row-major, dim >= 1, n >= {least}");
        return Err(Error::shape(name, &[a.len()], allowed));
    }
    match a.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(Error::parameter(name, x, "finite values")),
        None => Ok(a.len() / dim),
    }
}
