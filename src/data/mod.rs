//! Data whose law is known: Gaussian mixtures with full covariances, and toys made of them. Images
//! of whole grey levels.
//!
//! | file | what |
//! |---|---|
//! | [`mixture`] | the mixture: density, moments, samples from a seed |
//! | `toys` | the toys by name: [`REGISTRY`] |
//! | [`samples`] | samples from elsewhere: shape, finiteness and range |
//! | [`images`] | sets of images, their split, scaling and dequantisation |
//! | `files` | the built-in digits, IDX, CIFAR-10, folders of PNG (feature `cli`) |
//! | `picture` | a grid of images as PNG (feature `cli`) |
//!
//! # Example
//! ```
//! use cld_sgm::data::entry;
//!
//! let rolls = (entry("swissroll")?.build)()?; // a Gaussian mixture in the plane
//! let x = rolls.sample(0, 1000)?; // seed 0; row-major (1000, 2)
//! assert_eq!(x.len(), 2000);
//! assert!(rolls.log_density(&x[..2])? > -10.0);
//! # Ok::<(), cld_sgm::Error>(())
//! ```

#[cfg(feature = "cli")]
pub mod files;
pub mod images;
pub mod mixture;
#[cfg(feature = "cli")]
pub mod picture;
pub mod samples;
mod toys;

#[cfg(feature = "cli")]
pub use files::{load, load_split};
pub use images::{Dither, ImageSet, Split};
pub use mixture::{Component, Mixture};

use crate::error::{Error, Result};

/// A toy in the registry.
#[non_exhaustive]
pub struct DataEntry {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Builds it.
    ///
    /// # Errors
    /// None; the type is that of [`Mixture::new`].
    pub build: fn() -> Result<Mixture>,
}

/// Every toy. All are two-dimensional and lie within about [-2, 2].
#[rustfmt::skip]
pub const REGISTRY: &[DataEntry] = &[
    DataEntry { name: "mixture", about: "five Gaussians with full covariances", build: toys::mixture },
    DataEntry { name: "diamond", about: "nine narrow modes, a square lattice on its tip (as in Dockhorn et al. 2022)", build: toys::diamond },
    DataEntry { name: "swissroll", about: "five Swiss rolls, each of sixty narrow Gaussians (as in Dockhorn et al. 2022)", build: toys::swissroll },
    DataEntry { name: "modes25", about: "a lattice of 5 by 5 narrow modes", build: toys::modes25 },
    DataEntry { name: "funnel", about: "Neal's funnel in two dimensions, as a mixture of 41 Gaussians", build: toys::funnel },
];

/// The registry's entry called `name`.
///
/// # Errors
/// No such toy; the message lists those there are.
pub fn entry(name: &str) -> Result<&'static DataEntry> {
    REGISTRY.iter().find(|e| e.name == name).ok_or_else(|| {
        let all: Vec<_> = REGISTRY.iter().map(|e| e.name).collect();
        Error::parameter("data", format!("`{name}`"), all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a toy that does not build, leaves the region, or is not what its line says: modes,
    /// region and moments.
    #[test]
    fn toys_are_what_they_say() {
        let count = |name: &str| (entry(name).unwrap().build)().unwrap().components().len();
        assert_eq!(
            ["mixture", "diamond", "swissroll", "modes25", "funnel"].map(count),
            [5, 9, 300, 25, 41]
        );
        for e in REGISTRY {
            let m = (e.build)().unwrap();
            assert_eq!(m.dim(), 2, "{}", e.name);
            assert!(
                m.components()
                    .iter()
                    .all(|c| c.mean.iter().all(|x| x.abs() <= 2.0)),
                "{}",
                e.name
            );
        }
        // the diamond's modes are a lattice of spacing 1, turned by 45 degrees: the extreme ones
        // lie on the axes
        let m = entry("diamond").unwrap().build;
        let far = m()
            .unwrap()
            .components()
            .iter()
            .map(|c| c.mean[0])
            .fold(0.0, f64::max);
        assert!((far - 2f64.sqrt()).abs() < 1e-15);
        let refusal = entry("moons").err().unwrap().to_string();
        assert!(
            refusal.contains("data")
                && refusal.contains("`moons`")
                && refusal.contains("swissroll"),
            "{refusal}"
        );
    }

    /// Catches wrong widths or weights along the funnel: the law of y given x is N(0, (0.4 e^(1.5
    /// x))^2) up to the mixture's step in x. Mean of y^2 over the mixture against the integral over
    /// x, E (0.4 e^(1.5 x))^2 = 0.16 e^(4.5 (0.36 - 0.0081)), less the tails beyond 1.8: within 3
    /// per cent.
    #[test]
    fn the_funnel_has_neals_moments() {
        let m = (entry("funnel").unwrap().build)().unwrap();
        let c = m.covariance();
        assert!((c[0] - 0.36).abs() < 0.01, "{c:?}");
        assert!(
            (c[3] / (0.16 * (4.5f64 * (0.36 - 0.0081)).exp()) - 1.0).abs() < 0.1,
            "{c:?}"
        );
        assert!(c[1].abs() < 1e-15);
    }
}
