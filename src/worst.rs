//! The worst of errors, and whether an error is within its bound: a NaN is worse than any number,
//! and nothing is not a pass.
//!
//! `f64::max` skips NaN, so that a fold by it forgets the one value that proves a fault. These do
//! not.

use std::fmt;

/// The larger of two errors; NaN if either is.
pub fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Whether `a` is worse than `b`: larger, or a NaN where `b` is none. For those who also keep where
/// the worst is.
pub fn is_worse(a: f64, b: f64) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

/// The largest size, `|x|`; NaN if any is NaN, 0 of none.
pub fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |size, x| worse(size, x.abs()))
}

/// Whether an error keeps a bound: a NaN on either side does not, nor does any error an infinite
/// bound.
pub fn within(error: f64, bound: f64) -> bool {
    bound.is_finite() && error <= bound
}

/// `|a - b|` of pairs, none of which may be without a partner.
///
/// # Panics
/// Slices of different lengths.
pub fn distances<'a>(a: &'a [f64], b: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    assert_eq!(a.len(), b.len(), "pairs");
    a.iter().zip(b).map(|(a, b)| (a - b).abs())
}

/// The worst of the errors seen so far. A NaN stays; before any is seen there is no verdict, so
/// that an empty set is [`within`](Worst::within) no bound.
///
/// ```
/// use cld_sgm::internal::worst::Worst;
///
/// let worst: Worst = [1e-9, f64::NAN, 1e-12].into_iter().collect();
/// assert!(!worst.within(1e-6));
/// assert!(!Worst::NONE.within(1e-6));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worst(Option<f64>);

impl Worst {
    /// Of no errors.
    pub const NONE: Worst = Worst(None);

    /// Takes an error into account.
    pub fn see(&mut self, error: f64) {
        self.0 = Some(self.0.map_or(error, |w| worse(w, error)));
    }

    /// The worst error; NaN if one is NaN, or none was seen.
    pub fn value(self) -> f64 {
        self.0.unwrap_or(f64::NAN)
    }

    /// Whether there are errors and all keep the bound.
    pub fn within(self, bound: f64) -> bool {
        within(self.value(), bound)
    }
}

impl FromIterator<f64> for Worst {
    fn from_iter<I: IntoIterator<Item = f64>>(errors: I) -> Worst {
        let mut worst = Worst::NONE;
        errors.into_iter().for_each(|e| worst.see(e));
        worst
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some(w) => w.fmt(f),
        }
    }
}

impl fmt::LowerExp for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("nothing"),
            Some(w) => w.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a fold that skips NaN, wherever it stands, a bound that NaN keeps, and an empty set
    /// that passes.
    #[test]
    fn nan_and_nothing_are_never_within() {
        for at in 0..3 {
            let mut errors = [1.0, 2.0, 3.0];
            assert_eq!(errors.into_iter().collect::<Worst>().value(), 3.0);
            assert_eq!(largest(&errors), 3.0);
            errors[at] = f64::NAN;
            let worst: Worst = errors.into_iter().collect();
            assert!(
                worst.value().is_nan() && !worst.within(1e300),
                "NaN at {at}"
            );
            assert!(largest(&errors).is_nan());
        }
        assert!(
            !Worst::NONE.within(1.0)
                && Worst::NONE.value().is_nan()
                && Worst::NONE.to_string() == "nothing"
        );
        for (error, bound) in [
            (f64::NAN, 1.0),
            (0.0, f64::NAN),
            (f64::NAN, f64::NAN),
            (2.0, 1.0),
            (f64::INFINITY, 1.0),
        ] {
            assert!(!within(error, bound), "{error} within {bound}");
        }
        assert!(
            is_worse(2.0, 1.0)
                && is_worse(f64::NAN, 1.0)
                && !is_worse(1.0, f64::NAN)
                && !is_worse(f64::NAN, f64::NAN)
        );
        assert!(!within(0.0, f64::INFINITY) && within(0.0, 0.0) && within(1.0, 1.0));
    }
}
