//! Decimal strings with more digits than f64, read as double words.

use crate::dd::Dd;

/// Reads a decimal such as `-1.23456789012345678901234567890123456e-10`; relative error about
/// 1e-30. Numbers that underflow f64 by far come back as 0.
/// `None` if it is not a plain finite decimal number.
pub fn parse(text: &str) -> Option<Dd> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(r) => (true, r),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(i) => (&rest[..i], rest[i + 1..].parse::<i32>().ok()?),
        None => (rest, 0),
    };
    if exponent > 400 {
        return None;
    }
    let (mut digits, mut point, mut seen, mut value) = (0, None, 0, Dd::ZERO);
    for c in mantissa.bytes() {
        match c {
            b'.' if point.is_none() => point = Some(seen),
            b'0'..=b'9' => {
                seen += 1;
                // 40 digits are beyond a double word; the rest only moves the point
                if digits < 40 {
                    value = value * Dd::from(10.0) + Dd::from(f64::from(c - b'0'));
                    digits += 1;
                }
            }
            _ => return None,
        }
    }
    if seen == 0 {
        return None;
    }
    let power = exponent - (digits - point.unwrap_or(seen));
    if power < -400 {
        return Some(Dd::ZERO); // underflows
    }
    let mut scaled = value;
    // powers of ten up to 10^22 are exact in f64
    let mut left = power.abs();
    while left > 0 {
        let step = left.min(22);
        let p = Dd::from(10f64.powi(step));
        scaled = if power < 0 { scaled / p } else { scaled * p };
        left -= step;
    }
    Some(if negative { -scaled } else { scaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a misplaced point or a lost low word: the high word must be what the standard
    /// library reads, and the rest what is left of an exactly representable sum.
    #[test]
    fn reads_what_the_standard_library_reads_and_more() {
        for s in [
            "1",
            "-0.5",
            "3.14159265358979323846264338327950288",
            "6.40000000000802120910918545080932626e-29",
            "1e-300",
            "123456789.125",
            "9.99e+2",
            "1.0e-4",
        ] {
            let d = parse(s).expect(s);
            assert_eq!(d.hi, s.parse::<f64>().unwrap(), "{s}");
        }
        let pi = parse("3.14159265358979323846264338327950288").unwrap();
        assert!((pi.lo - 1.224_646_799_147_353_2e-16).abs() < 1e-31);
        for s in ["", "abc", "1.2.3", "nan", "inf", "1e999", "--1", "."] {
            assert!(parse(s).is_none(), "{s}");
        }
    }
}
