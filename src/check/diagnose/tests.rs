//! The search for causes by hand: small tables and outputs whose answer is seen at once.
//! `tests/library/diagnosis.rs` and `named.rs` plant whole mistakes.

use super::*;
use crate::check::answers::{Answer, Entry};
use crate::files::Array;
use std::borrow::Cow;

/// Output `output` of `quantity` at these times, answered with `got`; errors and units are those of
/// the rule for f64.
fn unit_of(
    process: serde_json::Value,
    (quantity, output): (&str, &'static str),
    times: &[f64],
    wrong: impl Fn(usize, f64, f64) -> f64,
) -> Unit<'static> {
    let config = Config::from_answers(&process).unwrap();
    let t = Array {
        shape: vec![times.len()],
        data: times.to_vec(),
        precision: Precision::F64,
    };
    let inputs = BTreeMap::from([("t".to_string(), t)]);
    let model = Model::new(&config).unwrap();
    let refs: Inputs<'_> = inputs.iter().map(|(k, v)| (k.clone(), v)).collect();
    let (cells, columns) = predict(quantity, &model, &refs, output).unwrap();
    let got: Vec<f64> = (0..cells.len())
        .map(|i| wrong(i, cells[i].t, cells[i].truth.to_f64()))
        .collect();
    let off = |i: usize| distance(got[i], cells[i].truth, Precision::F64);
    let errors: Vec<f64> = (0..got.len()).map(|i| off(i) / size(&cells[i])).collect();
    let units = errors.iter().map(|e| e / Precision::F64.unit()).collect();
    Unit {
        entry: Cow::Owned(Entry {
            id: format!("{quantity}/0"),
            quantity: quantity.into(),
            config,
            inputs,
            answer: Answer::Missing,
        }),
        output,
        condition: vec![0.0; got.len()],
        got: Cow::Owned(Array {
            shape: vec![times.len()],
            data: got,
            precision: Precision::F64,
        }),
        rows: (0..times.len()).collect(),
        columns,
        class: Class::Off,
        errors,
        units,
        cells,
    }
}

fn vp() -> serde_json::Value {
    serde_json::json!({"kind": "vp", "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}})
}

fn cld() -> serde_json::Value {
    serde_json::json!({
        "kind": "cld", "mass": 0.25, "objective": "dsm",
        "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}
    })
}

/// VP's variance with a relative error for each row; the times are 1/16, 2/16, ..., or 64ths of many.
fn variance(errors: &[f64]) -> Unit<'static> {
    let step = if errors.len() <= 16 { 16.0 } else { 64.0 };
    let times: Vec<f64> = (1..=errors.len()).map(|i| i as f64 / step).collect();
    unit_of(vp(), ("kernel.cov", "xx"), &times, |i, _, y| {
        y * (1.0 + errors[i])
    })
}

fn of_row(id: &str, variant: usize, value: Option<f64>) -> Hypothesis {
    let row = MISTAKES.iter().position(|m| m.id == id).unwrap();
    Hypothesis {
        row,
        variant,
        value,
    }
}

fn by(a: Arithmetic) -> Hypothesis {
    let row = |m: &Mistake| matches!(m.kind, Kind::Arithmetic(other) if other == a);
    let row = MISTAKES.iter().position(row).unwrap();
    Hypothesis {
        row,
        variant: 0,
        value: None,
    }
}

const NO: (Match, usize) = (Match::No, 0);
const LOOSE: (Match, usize) = (Match::Loose, 9);
const TIGHT: (Match, usize) = (Match::Tight, 9);

/// Catches rows that are left out at an end or taken twice.
#[test]
fn rows_are_spread_evenly() {
    let rows: Vec<usize> = (10..20).collect();
    assert_eq!(spread(&rows, 4), [10, 13, 16, 19]);
    assert_eq!(spread(&rows, 10), rows);
    assert_eq!(spread(&rows[..4], 4), rows[..4]);
    assert_eq!(spread(&rows[..3], 4), rows[..3]);
    assert_eq!(spread(&rows, 2), [10, 19]);
}

/// Catches a mantissa of one bit more or less: bfloat16 has 8, float16 11, the first one among them.
#[test]
fn bits_of_a_number() {
    for bits in [8, 11, 53] {
        let last = 2f64.powi(1 - bits);
        for x in [1.0 + last, 2.0 - last, -(1.0 + last) * 2f64.powi(-40)] {
            assert!(has_bits(x, bits as u32), "{x} {bits}");
            assert!(!has_bits(x, bits as u32 - 1), "{x} {bits}");
        }
    }
    assert!(has_bits(0.0, 1) && has_bits(1.0, 1) && has_bits(-0.25, 1));
}

/// Catches a root that is not one, ends that are lost, and a search where nothing moves: the roots
/// are known, to 4 units of f64.
#[test]
fn roots_are_found_between_the_points_of_a_grid() {
    let found = |f: &dyn Fn(f64) -> f64, range| {
        let mut all = vec![];
        roots(&|x| Some(f(x)), range, &mut |x| all.push(x));
        all
    };
    let near = |all: &[f64], wanted: &[f64]| {
        assert_eq!(all.len(), wanted.len(), "{all:?} {wanted:?}");
        for (a, b) in all.iter().zip(wanted) {
            assert!((a / b - 1.0).abs() <= 4.0 * f64::EPSILON, "{a} {b}");
        }
    };
    near(&found(&|x| x - 0.3, (0.01, 10.0)), &[0.3]);
    near(&found(&|x| 0.3 - x, (0.01, 10.0)), &[0.3]);
    near(&found(&|x| x * x * x - 2.0, (1e-3, 1e3)), &[2f64.cbrt()]);
    near(&found(&|x| 1.0 / x - 1e6, (1e-12, 1.0)), &[1e-6]);
    near(
        &found(&|x| (x - 0.2) * (x - 5.0), (0.01, 100.0)),
        &[0.2, 5.0],
    );
    near(&found(&|x| x.ln().tanh(), (1e-3, 1e4)), &[1.0]);
    assert!(found(&|_| 1.0, (0.1, 10.0)).is_empty());
    assert!(found(&|x| 1.0 + x, (0.1, 10.0)).is_empty());
    // nowhere defined beyond 1: no crossing there
    let mut all = vec![];
    let half = |x: f64| (x < 1.0).then_some(x - 2.0);
    roots(&half, (0.1, 10.0), &mut |x| all.push(x));
    assert!(all.is_empty());
    // where nothing moves it is not searched: three values
    let count = std::cell::Cell::new(0);
    let still = |_: f64| {
        count.set(count.get() + 1);
        Some(-1.0)
    };
    roots(&still, (0.1, 10.0), &mut |_| ());
    assert_eq!(count.get(), 3);
    // ends alike, the middle not: it is searched
    near(
        &found(&|x| x.ln() * x.ln() - 1.0, (0.01, 100.0)),
        &[(-1f64).exp(), 1f64.exp()],
    );
}

/// Catches false position that needs as many steps as one end moves: at most 40 evaluations for
/// convex functions, whose far end would stay (false position alone is not there after 60).
#[test]
fn both_ends_of_a_root_move() {
    for f in [
        |x: f64| x.powi(9) - 1e-3,
        |x: f64| 1e-3 - x.powi(9),
        |x: f64| (-8.0 * x).exp() - 0.02,
    ] {
        let count = std::cell::Cell::new(0);
        let counted = |x: f64| {
            count.set(count.get() + 1);
            Some(f(x))
        };
        let root = root_between(&counted, (0.01, f(0.01)), (2.0, f(2.0)));
        assert!(f(root).abs() < 1e-14, "{root} {}", f(root));
        assert!(count.get() <= 40, "{}", count.get());
    }
}

/// Catches digits that are rounded at another place, a value that is called round and is not, and a
/// round one that is near and not taken, by the ranges that are said.
#[test]
fn round_values_are_those_somebody_would_write() {
    for (x, digits, wanted) in [
        (0.12345, 1, 0.1),
        (0.12345, 2, 0.12),
        (0.12345, 3, 0.123),
        (98.76, 2, 99.0),
        (1e-9 * 1.04, 1, 1e-9),
        (3456.0, 3, 3460.0),
    ] {
        assert_eq!(rounded(x, digits), wanted, "{x} {digits}");
    }
    for x in [0.5, 1.0 / 3.0, std::f64::consts::SQRT_2, 0.037, 123.0, 1e-9] {
        assert!(is_round(x), "{x}");
    }
    for x in [0.12345, 1.0 / 7.0, 1234.0, 0.5 + 1e-9] {
        assert!(!is_round(x), "{x}");
    }
    let (double, single) = (Precision::F64, Precision::F32);
    for (x, small, p, wanted) in [
        // 1e-14 and 1e-9 of it
        (1e-9 + 5e-15, true, double, 1e-9),
        (1e-9 + 2e-14, true, double, 1e-9 + 2e-14),
        (1e-4 * (1.0 + 5e-10), true, double, 1e-4),
        (1e-4 * (1.0 + 3e-9), true, double, 1e-4 * (1.0 + 3e-9)),
        (1.23e-4, true, double, 1.23e-4),
        // 1e-3 of it and two digits in f32
        (1.2005e-4, true, single, 1.2e-4),
        (1.23e-4, true, single, 1.23e-4),
        (1.203e-4, true, single, 1.203e-4),
        // 1e-10 and 3e-5 for factors
        (0.5 * (1.0 + 5e-11), false, double, 0.5),
        (0.5 * (1.0 + 2e-10), false, double, 0.5 * (1.0 + 2e-10)),
        (0.5 * (1.0 - 2e-5), false, single, 0.5),
        (0.5 * (1.0 - 4e-5), false, single, 0.5 * (1.0 - 4e-5)),
        (1.0 / 3.0 + 1e-12, false, double, 1.0 / 3.0),
        (17.35 + 1e-12, false, double, 17.35),
        (0.00123 * (1.0 + 1e-12), false, double, 0.00123),
    ] {
        assert_eq!(nice(x, small, p), wanted, "{x} {small} {p:?}");
    }
}

/// Catches two ends that are not: nothing early, nothing late, or nothing right between them.
#[test]
fn two_ends_have_right_times_between() {
    assert!(two_ends(&[0.01, 0.02], &[0.9, 1.0], &[0.3, 0.5]));
    assert!(!two_ends(&[], &[0.9], &[0.3]));
    assert!(!two_ends(&[0.01], &[], &[0.3]));
    assert!(!two_ends(&[0.01], &[0.9], &[]));
    // right at the very end, before all, or at an end itself
    assert!(!two_ends(&[0.01], &[0.9], &[0.3, 1.0]));
    assert!(!two_ends(&[0.01], &[0.9], &[0.001]));
    assert!(two_ends(&[0.01], &[0.9], &[0.001, 0.3]));
    assert!(two_ends(&[0.01, 0.02], &[0.9, 0.5], &[0.4]));
    assert!(!two_ends(&[0.01, 0.02], &[0.9, 0.5], &[0.6]));
}

/// Catches a late error that is an early one, one that gets smaller, or ends before the end.
#[test]
fn late_errors_are_worse_the_later() {
    let u = variance(&[0.0; 10]);
    let worse = |seen: &[(f64, f64)]| worse_the_later(&u, seen);
    let t = |i: usize| u.cells[i].t;
    assert!(worse(&[(t(6), 1e-9), (t(8), 1e-8), (t(9), 1e-7)]));
    assert!(worse(&[(t(5), 1e-9), (t(9), 1e-9)]));
    // less than half of the rows before; the last time right; the last error smaller
    assert!(!worse(&[(t(4), 1e-9), (t(9), 1e-7)]));
    assert!(!worse(&[(t(6), 1e-9), (t(8), 1e-7)]));
    assert!(!worse(&[(t(6), 1e-6), (t(9), 1e-7)]));
    // everything before 0.05 is early, whatever stands before it
    let early = |step: f64| {
        let times: Vec<f64> = (1..=10).map(|i| step * f64::from(i)).collect();
        let u = unit_of(vp(), ("kernel.cov", "xx"), &times, |_, _, y| y);
        worse_the_later(&u, &[(times[8], 1e-9), (times[9], 1e-8)])
    };
    assert!(!early(0.005) && early(0.006));
}

/// Catches rows that are called late and stand in the middle or before half of the others, or too
/// early to be late.
#[test]
fn only_late_rows_are_late() {
    let late = |errors: &[f64]| only_late(&variance(errors));
    assert!(late(&[0.0, 0.0, 1e-3, 1e-3]));
    assert!(late(&[0.0, 0.0, 0.0, 1e-3]));
    assert!(!late(&[0.0, 0.0, 1e-3, 0.0, 1e-3]));
    assert!(late(&[0.0, 0.0, 0.0, 1e-3, 0.0, 1e-3]));
    assert!(!late(&[0.0, 1e-3, 1e-3, 1e-3]));
    assert!(!late(&[0.0, 0.0, 1e-3, 0.0]));
    assert!(!late(&[0.0; 4]));
    let tiny = [0.01, 0.02, 0.03, 0.04];
    let wrong = |i: usize, _: f64, y: f64| if i > 1 { 2.0 * y } else { y };
    assert!(!only_late(&unit_of(
        vp(),
        ("kernel.cov", "xx"),
        &tiny,
        wrong
    )));
}

/// Catches a matrix whose inverse has another size: the determinant of two channels, the largest
/// entry of others.
#[test]
fn sizes_of_inverses_by_hand() {
    let cells = |all: &[f64]| -> Vec<Cell> {
        let cell = |x: &f64| Cell {
            truth: Dd::from(*x),
            scale: x.abs(),
            cancellation: 0.0,
            t: 0.5,
        };
        all.iter().map(cell).collect()
    };
    assert_eq!(inverse_size(&cells(&[2.0, 3.0, 5.0, -4.0])), 5.0 / 23.0);
    assert_eq!(inverse_size(&cells(&[-0.25])), 4.0);
    let nine = [1.0, 0.0, 0.0, -8.0, 1.0, 0.0, 0.0, 2.0, 1.0];
    assert_eq!(inverse_size(&cells(&nine)), 0.125);
}

/// Catches damage that is a formula: too many rows, too few others, rows at an end, errors of a few
/// units; and a row that is named by another's number, or not as what is no number.
#[test]
fn damaged_rows_stand_between_right_ones() {
    let named = |bad: &[(usize, f64)], n: usize| {
        let mut errors = vec![0.0; n];
        bad.iter().for_each(|(i, e)| errors[*i] = *e);
        let mut u = variance(&errors);
        u.rows.iter_mut().for_each(|r| *r += 100);
        damaged_rows(&u)
    };
    let one = "row 102 (t = 0.1875) is off, the others are right: damaged values, not a formula";
    assert_eq!(named(&[(2, 1e-3)], 5).as_deref(), Some(one));
    assert_eq!(named(&[(2, 1e-3)], 4), None);
    assert_eq!(named(&[], 8), None);
    let two = named(&[(2, 1e-3), (5, f64::NAN)], 10).unwrap();
    let wanted = "row 102 (t = 0.1875), row 105 (t = 0.375, not a finite number) are off, ";
    assert!(two.starts_with(wanted), "{two}");
    assert_eq!(named(&[(2, 1e-3), (5, 1e-3)], 9), None);
    let some = |n: usize| -> Vec<(usize, f64)> { (1..=n).map(|i| (2 * i, 0.5)).collect() };
    assert!(named(&some(4), 20).is_some() && named(&some(5), 40).is_none());
    // at an end
    assert_eq!(named(&[(0, 1e-3)], 8), None);
    assert_eq!(named(&[(7, 1e-3)], 8), None);
    assert!(named(&[(6, 1e-3)], 8).is_some() && named(&[(1, 1e-3)], 8).is_some());
    // a few units beyond the rule; 1e-12 is the tolerance for causes
    assert_eq!(named(&[(2, 5e-13)], 8), None);
    assert_eq!(named(&[(2, 5e-13), (4, 1e-3)], 12), None);
    assert!(named(&[(2, 2e-12)], 8).is_some());
    // without times, the rows' numbers do
    let mut u = variance(&[1e-3, 0.0, 0.0, 0.0, 0.0, 0.0]);
    u.cells.iter_mut().for_each(|c| c.t = f64::NAN);
    assert!(damaged_rows(&u).unwrap().starts_with("row 0 is off"));
}

/// Catches a bound that is smaller than the error, or of another decade, and one of errors that are
/// no rounding.
#[test]
fn rounding_is_said_upward() {
    let said = |e: f64| rounding(&variance(&[0.0, e, 0.0]));
    let about = |e: f64| said(e).map(|t| t.split_whitespace().nth(3).unwrap().to_string());
    assert_eq!(about(3.2e-13).as_deref(), Some("4e-13,"));
    assert_eq!(about(7.5e-14).as_deref(), Some("8e-14,"));
    assert_eq!(about(9.5e-13).as_deref(), Some("1e-12,"));
    assert_eq!(said(1.1e-12), None);
    assert_eq!(said(f64::NAN), None);
}

/// Catches noise where errors have one sign, few rows are off, or one is far larger; and its size
/// that is said too small.
#[test]
fn noise_is_of_both_signs_and_flat() {
    let with = |f: &dyn Fn(usize) -> f64| noise(&variance(&(0..20).map(f).collect::<Vec<_>>()));
    let sign = |i: usize, every: usize| if i.is_multiple_of(every) { -1.0 } else { 1.0 };
    let said = with(&|i| 2e-7 * sign(i, 2)).unwrap();
    assert!(
        said.starts_with("right to about 1e-6, with errors like noise"),
        "{said}"
    );
    // one of five has the other sign, and no fewer
    assert!(with(&|i| 2e-7 * sign(i, 5)).is_some());
    assert_eq!(with(&|i| 2e-7 * sign(i, 7)), None);
    assert!(with(&|i| -2e-7 * sign(i, 5)).is_some());
    assert_eq!(with(&|_| 2e-7), None);
    // at half of the rows, eight at least
    let some = |n: usize| with(&|i| if i < n { 2e-7 * sign(i, 2) } else { 0.0 });
    assert!(some(10).is_some() && some(9).is_none());
    let few = |n: usize| {
        noise(&variance(
            &(0..n).map(|i| 2e-7 * sign(i, 2)).collect::<Vec<_>>(),
        ))
    };
    assert!(few(8).is_some() && few(7).is_none());
    // up to 1e-2, and to 300 times the median
    assert!(with(&|i| 9e-3 * sign(i, 2)).is_some() && with(&|i| 1.1e-2 * sign(i, 2)).is_none());
    let peak = |x: f64| with(&|i| 1e-7 * sign(i, 2) * if i == 3 { x } else { 1.0 });
    assert!(peak(290.0).is_some() && peak(310.0).is_none());
    assert_eq!(noise(&variance(&[0.0; 20])), None);
}

/// Catches the error of a row that is another column's or row's, and NaN that is no error.
#[test]
fn errors_of_rows_are_their_largest() {
    let mut u = unit_of(cld(), ("kernel.mean", "matrix"), &[0.1, 0.2], |_, _, y| y);
    assert_eq!((u.columns, row_count(&u)), (4, 2));
    u.errors = vec![0.0, 3.0, 1.0, 2.0, 0.5, 0.0, f64::NAN, 0.25];
    assert_eq!(row_errors(&u), [3.0, f64::INFINITY]);
    u.errors[6] = 0.125;
    assert_eq!(row_errors(&u), [3.0, 0.5]);
}

/// Catches a clock's reversal that is tested where 1 - t is 0, and rows that are no numbers among
/// those that tell of a formula: half must be numbers, four at least.
#[test]
fn rows_that_tell() {
    let (reversed, mass) = (
        of_row("one-minus-t", 0, None),
        of_row("mass-inverted", 0, None),
    );
    let times = [0.25, 0.5, 1.0];
    let u = unit_of(vp(), ("kernel.cov", "xx"), &times, |_, _, y| y);
    assert_eq!(usable(&u, reversed), [0, 1]);
    assert_eq!(usable(&u, mass), [0, 1, 2]);
    let lost = |n: usize, of: usize| {
        let errors: Vec<f64> = (0..of)
            .map(|i| if i < n { f64::NAN } else { 0.0 })
            .collect();
        usable(&variance(&errors), mass)
    };
    assert_eq!(lost(4, 8), [4, 5, 6, 7]);
    assert_eq!(lost(5, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(lost(3, 6), [0, 1, 2, 3, 4, 5]);
    assert_eq!(lost(2, 6), [2, 3, 4, 5]);
    // arithmetic is seen at what is no number, too
    let u = variance(&[f64::NAN, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(usable(&u, by(Arithmetic::Underflow)), [0, 1, 2, 3, 4]);
}

/// Catches a fit that begins where nothing is off, or that has no second chance.
#[test]
fn values_are_fitted_at_the_worst_row_first() {
    let mut errors = vec![1e-6; 16];
    (errors[11], errors[3]) = (1e-2, f64::NAN);
    let rows: Vec<usize> = (0..16).collect();
    assert_eq!(rows_to_fit(&variance(&errors), &rows), [11, 8, 13]);
    assert_eq!(rows_to_fit(&variance(&[f64::NAN; 3]), &[0, 1, 2]), [1, 2]);
}

/// Catches coordinates that go elsewhere: three of two channels, each order by hand.
#[test]
fn coordinates_in_another_order() {
    let places = |a: Arrangement, k: usize, d: usize| -> Vec<usize> {
        (0..k * d).map(|c| place(a, c, k, d)).collect()
    };
    for inputs in [false, true] {
        let reversed = Arrangement::Reversed { inputs };
        assert_eq!(places(reversed, 2, 3), [3, 4, 5, 0, 1, 2]);
        assert_eq!(places(reversed, 3, 2), [4, 5, 2, 3, 0, 1]);
        let interleaved = Arrangement::Interleaved { inputs };
        assert_eq!(places(interleaved, 2, 3), [0, 2, 4, 1, 3, 5]);
        assert_eq!(places(interleaved, 3, 2), [0, 3, 1, 4, 2, 5]);
    }
    assert_eq!(places(Arrangement::Transposed, 2, 2), [0, 1, 2, 3]);
    for (quantity, output, block) in [
        ("kernel.mean", "mean", true),
        ("kernel.mean", "matrix", false),
        ("sampler.step.em", "u_next", true),
        ("process.drift_diffusion", "drift", true),
        ("prior.sample", "u", true),
        ("score.mixed", "score", false),
        ("kernel.ell", "ell", false),
    ] {
        assert_eq!(is_block(quantity, output), block, "{quantity} {output}");
    }
}

/// Catches an arrangement that looks for a number in another place, and one that explains an answer
/// which tells nothing: matrices of CLD, moved by hand.
#[test]
fn arrangements_are_seen_where_numbers_moved() {
    let times = [0.1, 0.2, 0.4, 0.7];
    let right = unit_of(cld(), ("kernel.mean", "matrix"), &times, |_, _, y| y);
    let truth = right.got.data.clone();
    let moved = |to: &dyn Fn(usize) -> usize| {
        unit_of(cld(), ("kernel.mean", "matrix"), &times, |i, _, _| {
            truth[to(i)]
        })
    };
    let as_found = |u: &Unit<'_>, a: Arrangement| arranged(u, a, &mut Models::default());
    let reversed = Arrangement::Reversed { inputs: false };
    let all = [
        (reversed, moved(&|i| i / 4 * 4 + 3 - i % 4)),
        (
            Arrangement::Transposed,
            moved(&|i| i / 4 * 4 + i % 2 * 2 + i % 4 / 2),
        ),
        (Arrangement::Columnwise, moved(&|i| i % 4 * 4 + i / 4)),
        (Arrangement::Shifted(1), moved(&|i| (i + 4) % 16)),
        (Arrangement::Shifted(-1), moved(&|i| (i + 12) % 16)),
    ];
    for (n, (_, u)) in all.iter().enumerate() {
        for (m, (a, _)) in all.iter().enumerate() {
            let wanted = if n == m { Match::Tight } else { Match::No };
            assert_eq!(as_found(u, *a), wanted, "{a:?} of {n}");
        }
    }
    for (a, _) in all {
        assert_eq!(as_found(&right, a), Match::No, "{a:?} of what is right");
    }
    // two rows are too few to say that they are shifted
    let two = unit_of(cld(), ("kernel.mean", "matrix"), &times[..2], |i, _, _| {
        truth[(i + 4) % 8]
    });
    assert_eq!(as_found(&two, Arrangement::Shifted(1)), Match::No);
    // of one column nothing is transposed
    let column = variance(&[0.0; 4]);
    assert_eq!(as_found(&column, Arrangement::Columnwise), Match::No);
    assert_eq!(as_found(&column, Arrangement::Transposed), Match::No);
}

/// Catches a hypothesis whose fitted value explains nine numbers no more than eight, or an odd value
/// that explains one output alone; and a declared constant that is held to that.
#[test]
fn fitted_values_must_reproduce_others() {
    let u = variance(&[1e-3; 4]);
    let off = [&u, &u];
    let round = of_row("beta-factor", 0, Some(0.73));
    let odd = of_row("beta-factor", 0, Some(0.731_234_5));
    let reading = of_row("mass-inverted", 0, None);
    let pool = [epsilon(1e-9), round, odd, reading];
    let kept = |first: [usize; 4], second: [usize; 4]| {
        let row = |counts: [usize; 4]| -> Row {
            let of = |n| if n > 0 { (Match::Tight, n) } else { NO };
            counts.into_iter().map(of).collect()
        };
        let mut table = [row(first), row(second)];
        reproduces(&off, &pool, 1, &mut table);
        let [a, b] = table.map(|r| r.iter().map(|x| x.1).collect::<Vec<_>>());
        (a, b)
    };
    let one = kept([1, 9, 9, 1], [0; 4]);
    assert_eq!(one, (vec![1, 9, 0, 1], vec![0; 4]));
    let few = kept([1, 8, 8, 1], [0; 4]);
    assert_eq!(few, (vec![1, 0, 0, 1], vec![0; 4]));
    // two outputs together
    let both = kept([1, 4, 4, 1], [1, 5, 5, 1]);
    assert_eq!(both, (vec![1, 4, 4, 1], vec![1, 5, 5, 1]));
    let both = kept([1, 4, 4, 1], [1, 4, 4, 1]);
    assert_eq!(both, (vec![1, 0, 0, 1], vec![1, 0, 0, 1]));
}

/// Catches the plainer of two causes that is dropped, and the other one that is kept beside it.
#[test]
fn plainer_causes_rule_others_out() {
    use Arithmetic::{
        BothEnds, Cancellation, Late, Single, SingleCancellation, SinglePart, Underflow,
    };
    let reading = of_row("mass-inverted", 0, None);
    let left = |all: &[(Hypothesis, Match)]| -> Vec<usize> {
        let pool: Vec<Hypothesis> = all.iter().map(|a| a.0).collect();
        let mut row: Row = all.iter().map(|a| (a.1, 9)).collect();
        rule_out(&mut row, &pool);
        (0..row.len()).filter(|i| row[*i].0 != Match::No).collect()
    };
    let (loose, tight, no) = (Match::Loose, Match::Tight, Match::No);
    let ends = [BothEnds, Cancellation, SingleCancellation, SinglePart].map(by);
    assert_eq!(left(&ends.map(|h| (h, loose))), [0]);
    assert_eq!(left(&[(ends[0], no), (ends[3], loose)]), [1]);
    assert_eq!(left(&[(ends[0], loose), (reading, loose)]), [0, 1]);
    for plain in [epsilon(1e-9), by(Cancellation), by(SingleCancellation)] {
        let row = [(plain, loose), (reading, loose), (by(SinglePart), loose)];
        assert_eq!(left(&row), [0], "{}", plain.mistake().id);
        assert_eq!(left(&[(plain, loose), (reading, tight)]), [0, 1]);
        assert_eq!(left(&[(plain, no), (reading, loose)]), [1]);
    }
    let under = [Underflow, SingleCancellation, Late, Single].map(by);
    assert_eq!(left(&under.map(|h| (h, tight))), [0, 3]);
    assert_eq!(left(&[(by(Cancellation), loose), (by(Late), tight)]), [0]);
    assert_eq!(
        left(&[(by(SingleCancellation), loose), (by(Late), tight)]),
        [0]
    );
    assert_eq!(left(&[(by(Late), loose), (by(SinglePart), loose)]), [0]);
    assert_eq!(left(&[(by(Late), no), (by(SinglePart), loose)]), [1]);
}

/// Catches one cause that is told as two: all in float32 where a part of it explains more.
#[test]
fn a_part_in_single_precision_is_one_cause() {
    let pool = [by(Arithmetic::Single), by(Arithmetic::SinglePart)];
    let left = |rows: &[[(Match, usize); 2]]| -> Vec<Vec<usize>> {
        let mut table: Vec<Row> = rows.iter().map(|r| r.to_vec()).collect();
        one_part(&pool, &mut table);
        let matched = |r: &Row| (0..2).filter(|i| r[*i].0 != Match::No).collect();
        table.iter().map(matched).collect()
    };
    assert_eq!(left(&[[TIGHT, LOOSE], [NO, LOOSE]]), [vec![1], vec![1]]);
    assert_eq!(left(&[[TIGHT, LOOSE], [TIGHT, LOOSE]]), [[0, 1], [0, 1]]);
    let mixed = left(&[[TIGHT, NO], [NO, LOOSE]]);
    assert_eq!(mixed, [vec![0], vec![1]]);
    assert_eq!(left(&[[NO, NO], [TIGHT, LOOSE]]), [vec![], vec![0, 1]]);
}

/// Catches an order of causes that is not said: those that explain most first, tight ones before
/// loose ones, between equals the one that contradicts less, then the order of the table.
#[test]
fn what_explains_most_comes_first() {
    let pool = [
        of_row("mass-inverted", 0, None),
        of_row("xv-sign", 0, None),
        of_row("one-minus-t", 0, None),
    ];
    let causes = |table: &[[(Match, usize); 3]], contradicted: [usize; 3]| {
        let table: Vec<Row> = table.iter().map(|r| r.to_vec()).collect();
        let mut left: Vec<usize> = (0..table.len()).collect();
        let found = greedy(&pool, &table, &contradicted, &mut left);
        let of = |c: Cause| {
            let place = pool.iter().position(|h| *h == c.h).unwrap();
            (place, c.explained, c.cancellation)
        };
        (found.into_iter().map(of).collect::<Vec<_>>(), left)
    };
    // the second explains two, the first what is left
    let table = [
        [TIGHT, NO, NO],
        [TIGHT, TIGHT, NO],
        [NO, TIGHT, NO],
        [NO, TIGHT, NO],
    ];
    let wanted = vec![(1, vec![1, 2, 3], false), (0, vec![0], false)];
    assert_eq!(causes(&table, [0; 3]), (wanted, vec![]));
    // tight before loose, though loose explains more
    let table = [[LOOSE, TIGHT, NO], [LOOSE, NO, NO], [NO; 3]];
    let wanted = vec![(1, vec![0], false), (0, vec![1], true)];
    assert_eq!(causes(&table, [0; 3]), (wanted, vec![2]));
    let equal = [[TIGHT; 3], [TIGHT; 3]];
    let first = |contradicted| causes(&equal, contradicted).0[0].0;
    assert_eq!(first([0, 0, 0]), 0);
    assert_eq!(first([1, 0, 0]), 1);
    assert_eq!(first([2, 2, 1]), 2);
    // the one that explains most is told first, found first or not
    let table = [[TIGHT, NO, NO], [NO, LOOSE, NO], [NO, LOOSE, NO]];
    let wanted = vec![(1, vec![1, 2], true), (0, vec![0], false)];
    assert_eq!(causes(&table, [0; 3]), (wanted, vec![]));
}

/// Catches frictions that are two findings, and numbers of what they explain that are not added up;
/// a pattern that is told of what has a cause, and what has none that is not left.
#[test]
fn causes_are_told_with_what_they_explain() {
    let (mut a, mut b) = (variance(&[1e-3; 4]), variance(&[1e-3; 4]));
    let noisy: Vec<f64> = (0..8)
        .map(|i| if i % 2 == 0 { 1e-5 } else { -1e-5 })
        .collect();
    let (c, d) = (variance(&noisy), variance(&[1e-3; 8]));
    Cow::to_mut(&mut a.entry).id = "a".into();
    Cow::to_mut(&mut b.entry).id = "b".into();
    let units = [&a, &b, &c, &d];
    let pool = [
        of_row("friction", 0, Some(0.5)),
        of_row("friction", 0, Some(0.7)),
    ];
    let table: Vec<Row> = vec![vec![TIGHT, NO], vec![NO, LOOSE], vec![NO; 2], vec![NO; 2]];
    let (found, left) = cover(&units, &pool, &table, &[0, 0]);
    assert_eq!(left, [3]);
    let ids: Vec<&str> = found.iter().map(|d| d.id).collect();
    assert_eq!(ids, ["friction", "noise"]);
    let friction = &found[0];
    assert_eq!((friction.explains, friction.cancellation), (2, true));
    assert_eq!(
        (&friction.entries[..], &friction.units[..]),
        (&["a".into(), "b".into()][..], &[0, 1][..])
    );
    assert_eq!(friction.outputs.values().sum::<usize>(), 2);
    assert!(
        friction.text.contains("0.5")
            && friction.text.contains("; ")
            && friction.text.contains("0.7")
    );
    assert_eq!((found[1].explains, &found[1].units[..]), (1, &[2][..]));
}

/// Catches a value that is not looked for where nothing is known, or looked for where it is.
#[test]
fn what_is_known_needs_no_fit() {
    let u = variance(&[1e-3; 4]);
    let mut declared = variance(&[1e-3; 4]);
    Cow::to_mut(&mut declared.entry).config.epsilon_added = 1e-9;
    let known = |u: &Unit<'_>, h: Hypothesis, m: Match| is_known(u, &vec![(m, 9)], &[h]);
    let (loose, tight) = (Match::Loose, Match::Tight);
    let reading = of_row("mass-inverted", 0, None);
    assert!(known(&u, reading, tight) && !known(&u, reading, loose));
    assert!(known(&declared, reading, loose) && !known(&declared, reading, Match::No));
    assert!(known(&u, epsilon(1e-9), loose) && !known(&u, epsilon(1e-9), Match::No));
    for (a, yes) in [
        (Arithmetic::Cancellation, true),
        (Arithmetic::SinglePart, true),
        (Arithmetic::Single, false),
        (Arithmetic::Late, false),
    ] {
        assert_eq!(known(&u, by(a), loose), yes, "{a:?}");
        assert_eq!(known(&declared, by(a), loose), yes, "{a:?}");
    }
    // what is right with the declared constant is that, and nothing else
    declared.class = Class::Eps;
    assert_eq!(settled(&declared, epsilon(1e-9)), Some(Match::Tight));
    assert_eq!(settled(&declared, epsilon(2e-9)), Some(Match::No));
    assert_eq!(settled(&declared, reading), Some(Match::No));
    assert_eq!(settled(&u, reading), None);
}

/// Catches a value that is fitted to too little, or not to what is just enough: three different
/// numbers, two rows.
#[test]
fn fits_need_three_numbers_of_two_rows() {
    let row = of_row("beta-factor", 0, None).row;
    let fitted = |process, (quantity, output), times: &[f64], same: bool| {
        let mut model = Model::new(&Config::from_answers(&process).unwrap()).unwrap();
        model.reading.rate_factor = 0.73;
        let t = Array {
            shape: vec![times.len()],
            data: times.to_vec(),
            precision: Precision::F64,
        };
        let inputs: Inputs<'_> = BTreeMap::from([("t".to_string(), &t)]);
        let (cells, _) = predict(quantity, &model, &inputs, output).unwrap();
        let value = |i: usize| cells[if same { 0 } else { i }].truth.to_f64();
        let u = unit_of(process, (quantity, output), times, |i, _, _| value(i));
        fit(&u, row, &mut Models::default())
            .iter()
            .map(|h| h.value.unwrap())
            .collect::<Vec<f64>>()
    };
    let (xx, matrix) = (("kernel.cov", "xx"), ("kernel.mean", "matrix"));
    assert_eq!(fitted(vp(), xx, &[0.1, 0.2, 0.4], false), [0.73]);
    assert!(fitted(vp(), xx, &[0.1, 0.2], false).is_empty());
    assert!(fitted(vp(), xx, &[0.1, 0.2, 0.4], true).is_empty());
    assert_eq!(fitted(cld(), matrix, &[0.1, 0.2], false), [0.73]);
    assert!(fitted(cld(), matrix, &[0.1], false).is_empty());
}

/// Catches a Cholesky factor that is called another one, a rotated one that is not, and what is no
/// factor at all: three times of CLD, by hand.
#[test]
fn rotated_factors_are_factors() {
    let turned = |angle: f64, scale: f64| {
        let times = [0.1, 0.4, 0.9];
        let right = unit_of(cld(), ("kernel.factor", "factor"), &times, |_, _, y| y);
        let l = right.got.data.clone();
        let (s, c) = angle.sin_cos();
        let value = |i: usize| match i % 2 {
            0 => c * l[i] + s * l[i + 1],
            _ => c * l[i] - s * l[i - 1],
        };
        let u = unit_of(cld(), ("kernel.factor", "factor"), &times, |i, _, _| {
            scale * value(i)
        });
        another_factor(&u, &mut Models::default()).is_some()
    };
    assert!(!turned(0.0, 1.0));
    assert!(turned(0.3, 1.0) && turned(-1.2, 1.0));
    assert!(!turned(0.3, 1.001) && !turned(0.3, 0.999));
}

/// Catches a worst row that is right, where what is off is no number, or one that is no number where
/// a number is off; and a count of consequences that are not each counted.
#[test]
fn the_worst_row_is_off() {
    use super::super::consequence::{Link, follows, worst};
    let row = |errors: &[f64]| worst(&[variance(errors)], &[0], "file").unwrap().row;
    assert_eq!(row(&[1e-16, f64::NAN, 3e-16, 0.0]), 1);
    assert_eq!(row(&[f64::INFINITY, 3e-16, 0.0]), 0);
    assert_eq!(row(&[0.0, f64::NAN, 1e-3, 2e-3, 1e-4]), 3);
    assert!(worst(&[variance(&[1e-3])], &[], "file").is_none());
    let units = [
        variance(&[1e-3; 2]),
        variance(&[1e-3; 2]),
        variance(&[1e-3; 2]),
    ];
    let link = |of, tested| Link { of, tested };
    let list = [(1, link(0, true)), (2, link(0, true)), (2, link(0, false))];
    let found: Vec<_> = follows(&units, &list)
        .into_iter()
        .map(|f| (f.output, f.count, f.from, f.tested))
        .collect();
    let name = || "kernel.cov.xx".to_string();
    assert_eq!(
        found,
        [
            (name(), 2, "kernel.cov", true),
            (name(), 1, "kernel.cov", false)
        ]
    );
}
