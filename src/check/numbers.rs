//! Numbers in sentences and tables.

/// A small number in few characters: `1.2e-16`, `0.35`, `0`.
pub fn short(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return x.to_string();
    }
    if (0.01..1e4).contains(&x.abs()) {
        format!("{x:.3}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_string()
    } else {
        format!("{x:.1e}")
    }
}

/// A time in few characters: as it is if that is short, else with four digits.
pub fn time(t: f64) -> String {
    let (plain, exponent) = (format!("{t}"), format!("{t:e}"));
    let shorter = if plain.len() <= exponent.len() {
        plain
    } else {
        exponent
    };
    if shorter.len() <= 7 {
        shorter
    } else {
        format!("{t:.3e}")
    }
}

/// A number with all its digits, in the shorter of the two notations.
pub(super) fn digits(x: f64) -> String {
    let (plain, exponent) = (format!("{x:?}"), format!("{x:e}"));
    if plain.len() <= exponent.len() + 2 {
        plain
    } else {
        exponent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a number whose digits are cut, or told in the longer notation.
    #[test]
    fn numbers_in_few_characters() {
        for (x, words) in [
            (0.0, "0"),
            (0.35, "0.35"),
            (2.0, "2"),
            (1.2e-16, "1.2e-16"),
            (0.01, "0.01"),
            (0.009, "9.0e-3"),
            (12_345.0, "1.2e4"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(short(x), words);
        }
        for (t, words) in [(0.25, "0.25"), (1e-6, "1e-6"), (0.123_456_789, "1.235e-1")] {
            assert_eq!(time(t), words);
        }
        let third = "0.3333333333333333";
        for (x, words) in [
            (1.0 / 3.0, third),
            (1e-9, "1e-9"),
            (1.5, "1.5"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-5"),
            (1e5, "1e5"),
            (100.0, "100.0"),
        ] {
            assert_eq!(digits(x), words);
        }
    }
}
