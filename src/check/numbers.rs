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
