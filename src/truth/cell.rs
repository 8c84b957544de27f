//! A value with what its error is measured against, and the arithmetic that carries it along.

use crate::dd::Dd;

/// The channels' letters, in order.
pub const CHANNELS: [&str; 6] = ["x", "v", "a", "j", "s", "c"];

/// One value to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What it should be.
    pub truth: Dd,
    /// The size of its largest term: what an error is measured against where the value crosses
    /// zero.
    pub scale: f64,
    /// How much the value moves if every covariance entry moves by 2^-53 of its stationary size:
    /// what cancellation in the printed formulas does.
    pub cancellation: f64,
    /// The row's time.
    pub t: f64,
}

pub(super) fn exact(x: f64, t: f64) -> Cell {
    number(Dd::from(x), t)
}

pub(super) fn number(x: Dd, t: f64) -> Cell {
    Cell {
        truth: x,
        scale: x.hi.abs(),
        cancellation: 0.0,
        t,
    }
}

pub(super) fn times(a: Cell, b: Cell) -> Cell {
    Cell {
        truth: a.truth * b.truth,
        scale: a.scale * b.scale,
        cancellation: a.cancellation * b.scale + a.scale * b.cancellation,
        t: a.t,
    }
}

pub(super) fn plus(a: Cell, b: Cell) -> Cell {
    Cell {
        truth: a.truth + b.truth,
        scale: a.scale + b.scale,
        cancellation: a.cancellation + b.cancellation,
        t: a.t,
    }
}

/// A matrix of cells, row by row and with as many columns as `v` has channels, times these.
pub(super) fn apply(matrix: &[Cell], v: &[Cell], d: usize) -> Vec<Cell> {
    let b = v.len() / d;
    let zero = number(Dd::ZERO, v[0].t);
    (0..matrix.len() / b * d)
        .map(|n| {
            (0..b).fold(zero, |s, j| {
                plus(s, times(matrix[n / d * b + j], v[j * d + n % d]))
            })
        })
        .collect()
}

pub(super) fn add(a: Vec<Cell>, b: &[Cell]) -> Vec<Cell> {
    a.into_iter().zip(b).map(|(a, b)| plus(a, *b)).collect()
}

/// A matrix of cells times the vectors of row `r`, one per coordinate.
pub(super) fn product(
    matrix: &dyn Fn(usize, usize) -> Cell,
    v: &[f64],
    r: usize,
    k: usize,
    d: usize,
) -> Vec<Cell> {
    let mut out = Vec::with_capacity(k * d);
    for i in 0..k {
        for c in 0..d {
            let zero = Cell {
                truth: Dd::ZERO,
                scale: 0.0,
                cancellation: 0.0,
                t: matrix(0, 0).t,
            };
            out.push((0..k).fold(zero, |s, j| {
                let (m, x) = (matrix(i, j), v[r * k * d + j * d + c]);
                Cell {
                    truth: s.truth + m.truth * Dd::from(x),
                    scale: s.scale + m.scale * x.abs(),
                    cancellation: s.cancellation + m.cancellation * x.abs(),
                    t: s.t,
                }
            }));
        }
    }
    out
}
