//! Exact scores, log-densities and second derivatives of a Gaussian mixture under any diffusion.
//!
//! Data of covariance Sigma become, jointly over channels and coordinates, a Gaussian of covariance
//! `phi phi^T (x) Sigma + S_t (x) 1`, phi the first column of the kernel's mean, S_t its
//! covariance. In the eigenvectors of Sigma this falls into one K x K block per eigenvalue,
//!
//! ```text
//! C = lambda phi phi^T + S_t,   its Cholesky factor L from that of S_t by rotations that take in sqrt(lambda) phi
//! ```
//!
//! (Givens; every pivot is a sum of two squares, so nothing cancels: for K = 2 this is det C = det
//! S (1 + lambda phi^T S^-1 phi)). What depends on t alone is computed once per call; the rest goes
//! over the rows in wide registers.

use super::Score;
use crate::data::Mixture;
use crate::diffusion::Diffusion;
use crate::error::{Error, Result};
use crate::simd::{self, Lane, Task};
use crate::special::exp_neg_single;

/// One Gaussian of the data in its own axes.
#[derive(Clone)]
struct Axes {
    log_weight: f64,
    mean: Vec<f64>,
    /// Eigenvectors of the covariance, one per row.
    basis: Vec<f64>,
    /// Square roots of the eigenvalues.
    deviations: Vec<f64>,
}

/// The exact score of a mixture under a diffusion. Rows are points of [`dim`](Self::dim) numbers.
#[derive(Clone)]
pub struct MixtureScore {
    diffusion: Diffusion,
    mixture: Mixture,
    axes: Vec<Axes>,
}

/// Eigenvectors (rows) and roots of the eigenvalues of `L L^T`, by Jacobi's one-sided rotations of
/// the rows of L: they become orthogonal, and small eigenvalues keep their digits.
fn diagonalise(lower: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rows = lower.to_vec();
    let mut basis: Vec<f64> = (0..d * d).map(|n| f64::from(n / d == n % d)).collect();
    let dot =
        |m: &[f64], p: usize, q: usize| (0..d).map(|i| m[p * d + i] * m[q * d + i]).sum::<f64>();
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..d {
            for q in p + 1..d {
                let (a, b, g) = (dot(&rows, p, p), dot(&rows, q, q), dot(&rows, p, q));
                if g.abs() <= f64::EPSILON * a.sqrt() * b.sqrt() {
                    continue;
                }
                turned = true;
                let z = (b - a) / (2.0 * g);
                let tan = z.signum() / (z.abs() + z.hypot(1.0));
                let cos = 1.0 / tan.hypot(1.0);
                for m in [&mut rows, &mut basis] {
                    for i in 0..d {
                        let (x, y) = (m[p * d + i], m[q * d + i]);
                        (m[p * d + i], m[q * d + i]) = (cos * (x - tan * y), cos * (tan * x + y));
                    }
                }
            }
        }
        if !turned {
            break;
        }
    }
    let deviations = (0..d).map(|p| dot(&rows, p, p).sqrt()).collect();
    (basis, deviations)
}

/// Entries of a lower triangle.
const fn triangle(k: usize) -> usize {
    k * (k + 1) / 2
}

/// What a mixture is at one time: per component the log of weight and normalisation, the centres
/// (K, dim), and per axis the eigenvector and the inverse of the factor L, packed by rows.
struct Frame {
    k: usize,
    d: usize,
    data: Vec<f64>,
}

impl Frame {
    fn stride(k: usize, d: usize) -> usize {
        1 + k * d + d * (d + triangle(k))
    }
}

/// Packed inverse of the lower factor of `L L^T + v v^T`, and the logarithm of that factor's
/// determinant.
fn updated(lower: &[f64], mut v: Vec<f64>, out: &mut Vec<f64>) -> f64 {
    let k = v.len();
    let mut l = lower.to_vec();
    let mut log = 0.0;
    for j in 0..k {
        let r = l[j * k + j].hypot(v[j]);
        let (cos, sin) = (l[j * k + j] / r, v[j] / r);
        log += r.ln();
        for i in j..k {
            let (a, b) = (l[i * k + j], v[i]);
            l[i * k + j] = cos * a + sin * b;
            v[i] = cos * b - sin * a;
        }
        l[j * k + j] = r;
    }
    let start = out.len();
    for i in 0..k {
        for j in 0..=i {
            let w = if i == j {
                1.0 / l[i * k + i]
            } else {
                -(j..i)
                    .map(|m| l[i * k + m] * out[start + triangle(m) + j])
                    .sum::<f64>()
                    / l[i * k + i]
            };
            out.push(w);
        }
    }
    log
}

/// `w = L^-1 (u - centre)` in the axes of a component, and `|w|^2`.
#[inline(always)]
fn whiten<L: Lane<Item = f64>>(c: &[f64], (k, d): (usize, usize), u: &[L], w: &mut [L]) -> L {
    let mut square = L::splat(0.0);
    for j in 0..d {
        let axis = &c[1 + k * d + j * (d + triangle(k))..][..d + triangle(k)];
        for n in 0..k {
            let mut y = L::splat(axis[0]) * (u[n * d] - L::splat(c[1 + n * d]));
            for i in 1..d {
                y = L::splat(axis[i]).mul_add(u[n * d + i] - L::splat(c[1 + n * d + i]), y);
            }
            w[n * d + j] = y;
        }
        for n in (0..k).rev() {
            let row = &axis[d + triangle(n)..];
            let mut s = L::splat(row[0]) * w[j];
            for m in 1..=n {
                s = L::splat(row[m]).mul_add(w[m * d + j], s);
            }
            w[n * d + j] = s;
            square = s.mul_add(s, square);
        }
    }
    square
}

/// Channel n of `-L^-T w`, turned back from the axes, into `g`.
#[inline(always)]
fn gradient<L: Lane<Item = f64>>(
    c: &[f64],
    (k, d): (usize, usize),
    w: &[L],
    n: usize,
    g: &mut [L],
) {
    for j in 0..d {
        let axis = &c[1 + k * d + j * (d + triangle(k))..][..d + triangle(k)];
        let mut z = L::splat(-axis[d + triangle(n) + n]) * w[n * d + j];
        for i in n + 1..k {
            z = L::splat(-axis[d + triangle(i) + n]).mul_add(w[i * d + j], z);
        }
        for i in 0..d {
            g[i] = if j == 0 {
                L::splat(axis[i]) * z
            } else {
                L::splat(axis[i]).mul_add(z, g[i])
            };
        }
    }
}

/// Sum over components of `e^q` and of `e^q` times the gradient, as running maximum, sum and
/// accumulated gradient; the gradient of channels from `from` on. One exponential per component
/// after the first: of the two scales one is 1.
#[inline(always)]
fn sum<L: Lane<Item = f64>>(
    frame: &Frame,
    (k, d, from): (usize, usize, usize),
    u: &[L],
    w: &mut [L],
    g: &mut [L],
    acc: &mut [L],
) -> [L; 2] {
    let one = L::splat(1.0);
    let (mut most, mut total) = (L::splat(0.0), one);
    for (n, c) in frame.data.chunks_exact(Frame::stride(k, d)).enumerate() {
        let q = L::splat(-0.5).mul_add(whiten(c, (k, d), u, w), L::splat(c[0]));
        if n == 0 {
            most = q;
            for a in from..k {
                gradient(c, (k, d), w, a, g);
                for i in 0..d {
                    acc[a * d + i] = g[i];
                }
            }
            continue;
        }
        let less = most.lt(q);
        let e = exp_neg_single(L::select(less, q - most, most - q));
        let (old, new) = (L::select(less, e, one), L::select(less, one, e));
        most = L::select(less, q, most);
        total = total.mul_add(old, new);
        for a in from..k {
            gradient(c, (k, d), w, a, g);
            for i in 0..d {
                acc[a * d + i] = acc[a * d + i].mul_add(old, new * g[i]);
            }
        }
    }
    [most, total]
}

/// Rows that are turned into columns at once.
const BLOCK: usize = 64;

/// Columns of a block of rows, the last row repeated to fill it.
#[inline(always)]
fn columns(u: &[&[f64]], first: usize, rows: usize, d: usize, out: &mut [f64]) {
    for (n, channel) in u.iter().enumerate() {
        let rest = &channel[first * d..(first + rows) * d];
        for j in 0..d {
            let column = &mut out[(n * d + j) * BLOCK..][..BLOCK];
            for (o, x) in column.iter_mut().zip(rest[j..].iter().step_by(d)) {
                *o = *x;
            }
            let last = column[rows - 1];
            column[rows..].fill(last);
        }
    }
}

/// Score of some channels, and the log-density of each row.
struct First<'a, 'b> {
    frame: &'a Frame,
    u: &'a [&'a [f64]],
    channels: &'a [usize],
    out: &'a mut [&'b mut [f64]],
    log: Option<&'a mut [f64]>,
}

impl First<'_, '_> {
    /// With K, dim and the first channel wanted known at compile time, or all three from the frame
    /// where K is 0.
    #[inline(always)]
    fn go<L: Lane<Item = f64>, const K: usize, const D: usize, const FROM: usize>(mut self) {
        if K > 0 {
            let zero = L::splat(0.0);
            self.over((K, D, FROM), [zero; 4], [zero; 4], [zero; 2], [zero; 4]);
        } else {
            let (k, d) = (self.frame.k, self.frame.d);
            let zeros = vec![L::splat(0.0); k * d];
            self.over(
                (k, d, self.channels.first().copied().unwrap_or(k)),
                zeros.clone(),
                zeros.clone(),
                zeros.clone(),
                zeros,
            );
        }
    }

    #[inline(always)]
    fn over<L: Lane<Item = f64>>(
        &mut self,
        (k, d, from): (usize, usize, usize),
        mut u: impl AsMut<[L]>,
        mut w: impl AsMut<[L]>,
        mut g: impl AsMut<[L]>,
        mut acc: impl AsMut<[L]>,
    ) {
        let (u, w, g, acc) = (u.as_mut(), w.as_mut(), g.as_mut(), acc.as_mut());
        let rows = self.u[0].len() / d;
        let (mut columns_in, mut columns_out) =
            (vec![0.0; k * d * BLOCK], vec![0.0; (k * d + 2) * BLOCK]);
        for first in (0..rows).step_by(BLOCK) {
            let n = BLOCK.min(rows - first);
            columns(self.u, first, n, d, &mut columns_in);
            for at in (0..n).step_by(L::WIDTH) {
                for (i, x) in u[..k * d].iter_mut().enumerate() {
                    *x = L::load(&columns_in[i * BLOCK + at..]);
                }
                let [most, total] = sum(self.frame, (k, d, from), u, w, g, acc);
                let inverse = L::splat(1.0) / total;
                for i in from * d..k * d {
                    (acc[i] * inverse).store(&mut columns_out[i * BLOCK + at..]);
                }
                if self.log.is_some() {
                    most.store(&mut columns_out[k * d * BLOCK + at..]);
                    total.store(&mut columns_out[(k * d + 1) * BLOCK + at..]);
                }
            }
            for (&c, out) in self.channels.iter().zip(self.out.iter_mut()) {
                let rest = &mut out[first * d..(first + n) * d];
                for j in 0..d {
                    let column = &columns_out[(c * d + j) * BLOCK..][..n];
                    for (o, x) in rest[j..].iter_mut().step_by(d).zip(column) {
                        *o = *x;
                    }
                }
            }
            if let Some(log) = &mut self.log {
                for (i, o) in log[first..first + n].iter_mut().enumerate() {
                    let most = columns_out[k * d * BLOCK + i];
                    // so far away that the squares have overflowed: no density is left
                    *o = if most == f64::NEG_INFINITY {
                        most
                    } else {
                        most + columns_out[(k * d + 1) * BLOCK + i].ln()
                    };
                }
            }
        }
    }
}

impl Task for First<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        match (self.frame.k, self.frame.d, self.channels.first()) {
            (1, 2, Some(0)) => self.go::<L, 1, 2, 0>(),
            (2, 2, Some(0)) => self.go::<L, 2, 2, 0>(),
            (2, 2, Some(1)) => self.go::<L, 2, 2, 1>(),
            _ => self.go::<L, 0, 0, 0>(),
        }
    }
}

/// What [`Second`] is asked for.
enum Ask<'a> {
    /// The Hessian times these directions, one slice per channel.
    Product(&'a [&'a [f64]]),
    /// The traces of the Hessian's diagonal blocks of these channels.
    Traces(&'a [usize]),
}

/// Second derivatives: `H = sum r (-P + (g_c - g)(g_c - g)^T)`, r the components' shares, P their
/// precisions, g_c their gradients, g the score: differences of gradients, never of their squares.
struct Second<'a, 'b> {
    frame: &'a Frame,
    u: &'a [&'a [f64]],
    ask: Ask<'a>,
    out: &'a mut [&'b mut [f64]],
}

/// What is known of a register's worth of rows.
struct Rows<L> {
    /// K and dim.
    size: (usize, usize),
    u: Vec<L>,
    /// The direction, for a product.
    along: Vec<L>,
    w: Vec<L>,
    g: Vec<L>,
    score: Vec<L>,
    /// `g_c - g`.
    turned: Vec<L>,
    out: Vec<L>,
}

impl<L: Lane<Item = f64>> Rows<L> {
    #[inline(always)]
    fn new(k: usize, d: usize) -> Self {
        let zeros = vec![L::splat(0.0); k * d];
        Self {
            size: (k, d),
            u: zeros.clone(),
            along: zeros.clone(),
            w: zeros.clone(),
            g: zeros.clone(),
            score: zeros.clone(),
            turned: zeros.clone(),
            out: zeros,
        }
    }

    /// Rows from `at` on of a block's columns.
    #[inline(always)]
    fn load(&mut self, columns_u: &[f64], columns_x: &[f64], at: usize) {
        for i in 0..self.u.len() {
            self.u[i] = L::load(&columns_u[i * BLOCK + at..]);
            self.along[i] = L::load(&columns_x[i * BLOCK + at..]);
            self.out[i] = L::splat(0.0);
        }
    }

    /// Component `c`, which `w` is for: its share of the Hessian times the direction.
    #[inline(always)]
    fn add_product(&mut self, c: &[f64], share: L) {
        let (k, d) = self.size;
        let mut dot = L::splat(0.0);
        // (g_c - g) . x first, then -P x, which is the gradient at w = L^-1 x in the axes
        for a in 0..k {
            gradient(c, (k, d), &self.w, a, &mut self.g);
            for i in 0..d {
                self.turned[a * d + i] = self.g[i] - self.score[a * d + i];
                dot = self.turned[a * d + i].mul_add(self.along[a * d + i], dot);
            }
        }
        whiten_direction(c, (k, d), &self.along, &mut self.w);
        for a in 0..k {
            gradient(c, (k, d), &self.w, a, &mut self.g);
            for i in 0..d {
                let term = self.turned[a * d + i].mul_add(dot, self.g[i]);
                self.out[a * d + i] = share.mul_add(term, self.out[a * d + i]);
            }
        }
    }

    /// The same of the traces of these channels' blocks.
    #[inline(always)]
    fn add_traces(&mut self, c: &[f64], share: L, channels: &[usize]) {
        let (k, d) = self.size;
        for (n, &a) in channels.iter().enumerate() {
            gradient(c, (k, d), &self.w, a, &mut self.g);
            let mut trace = L::splat(-precision_trace(c, (k, d), a));
            for i in 0..d {
                let x = self.g[i] - self.score[a * d + i];
                trace = x.mul_add(x, trace);
            }
            self.out[n] = share.mul_add(trace, self.out[n]);
        }
    }
}

impl Second<'_, '_> {
    /// All components' shares, for the rows that are loaded.
    #[inline(always)]
    fn over_components<L: Lane<Item = f64>>(&self, rows: &mut Rows<L>) {
        let (k, d) = rows.size;
        let (u, w, g) = (&rows.u, &mut rows.w, &mut rows.g);
        let [most, total] = sum(self.frame, (k, d, 0), u, w, g, &mut rows.score);
        let inverse = L::splat(1.0) / total;
        rows.score.iter_mut().for_each(|s| *s = *s * inverse);
        for c in self.frame.data.chunks_exact(Frame::stride(k, d)) {
            let square = whiten(c, (k, d), &rows.u, &mut rows.w);
            let q = L::splat(-0.5).mul_add(square, L::splat(c[0]));
            let share = exp_neg_single(most - q) * inverse;
            match &self.ask {
                Ask::Product(_) => rows.add_product(c, share),
                Ask::Traces(channels) => rows.add_traces(c, share, channels),
            }
        }
    }

    /// `n` rows from `first` on, from a block's columns.
    fn write(&mut self, first: usize, n: usize, columns: &[f64]) {
        let d = self.frame.d;
        for (c, out) in self.out.iter_mut().enumerate() {
            match &self.ask {
                Ask::Product(_) => {
                    for (i, o) in out[first * d..(first + n) * d].iter_mut().enumerate() {
                        *o = columns[(c * d + i % d) * BLOCK + i / d];
                    }
                }
                Ask::Traces(_) => out[first..first + n].copy_from_slice(&columns[c * BLOCK..][..n]),
            }
        }
    }
}

impl Task for Second<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(mut self) {
        let (k, d) = (self.frame.k, self.frame.d);
        let (rows, kd) = (self.u[0].len() / d, k * d);
        let mut own = Rows::<L>::new(k, d);
        let [mut columns_u, mut columns_x, mut columns_out] =
            std::array::from_fn(|_| vec![0.0; kd * BLOCK]);
        for first in (0..rows).step_by(BLOCK) {
            let n = BLOCK.min(rows - first);
            columns(self.u, first, n, d, &mut columns_u);
            if let Ask::Product(x) = &self.ask {
                columns(x, first, n, d, &mut columns_x);
            }
            for at in (0..n).step_by(L::WIDTH) {
                own.load(&columns_u, &columns_x, at);
                self.over_components(&mut own);
                for i in 0..kd {
                    own.out[i].store(&mut columns_out[i * BLOCK + at..]);
                }
            }
            self.write(first, n, &columns_out);
        }
    }
}

/// [`whiten`] of a direction: without the centre.
#[inline(always)]
fn whiten_direction<L: Lane<Item = f64>>(c: &[f64], (k, d): (usize, usize), x: &[L], w: &mut [L]) {
    for j in 0..d {
        let axis = &c[1 + k * d + j * (d + triangle(k))..][..d + triangle(k)];
        for n in 0..k {
            let mut s = L::splat(0.0);
            for m in 0..=n {
                for i in 0..d {
                    s = L::splat(axis[d + triangle(n) + m] * axis[i]).mul_add(x[m * d + i], s);
                }
            }
            w[n * d + j] = s;
        }
    }
}

/// Trace over coordinates of channel a's block of the precision: the axes' `sum of (L^-1)_ia^2`.
#[inline(always)]
fn precision_trace(c: &[f64], (k, d): (usize, usize), a: usize) -> f64 {
    let mut trace = 0.0;
    for j in 0..d {
        let axis = &c[1 + k * d + j * (d + triangle(k))..][..d + triangle(k)];
        for i in a..k {
            trace += axis[d + triangle(i) + a] * axis[d + triangle(i) + a];
        }
    }
    trace
}

impl MixtureScore {
    /// Of `mixture` under `diffusion`.
    pub fn new(diffusion: Diffusion, mixture: Mixture) -> MixtureScore {
        let d = mixture.dim();
        // a component without share has no score
        let axes = mixture
            .components()
            .iter()
            .filter(|c| c.weight > 0.0)
            .map(|c| {
                let (basis, deviations) = diagonalise(&c.lower, d);
                Axes {
                    log_weight: c.weight.ln(),
                    mean: c.mean.clone(),
                    basis,
                    deviations,
                }
            });
        MixtureScore {
            axes: axes.collect(),
            diffusion,
            mixture,
        }
    }

    /// The data.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The diffusion.
    pub fn diffusion(&self) -> &Diffusion {
        &self.diffusion
    }

    /// Numbers in a row of each channel.
    pub fn dim(&self) -> usize {
        self.mixture.dim()
    }

    fn frame(&self, t: f64) -> Result<Frame> {
        let kernel = self.diffusion.kernel(t)?;
        let (k, d) = (kernel.k, self.dim());
        let phi = kernel.mean.column(0);
        let mut data = Vec::with_capacity(self.axes.len() * Frame::stride(k, d));
        let constant = 0.5 * (k * d) as f64 * std::f64::consts::TAU.ln();
        for a in &self.axes {
            let head = data.len();
            data.push(a.log_weight - constant);
            data.extend(phi.iter().flat_map(|p| a.mean.iter().map(move |m| p * m)));
            for j in 0..d {
                data.extend_from_slice(&a.basis[j * d..][..d]);
                let v = phi.iter().map(|p| a.deviations[j] * p).collect();
                let log = updated(kernel.chol_lower.as_slice(), v, &mut data);
                data[head] -= log;
            }
        }
        Ok(Frame { k, d, data })
    }

    /// Number of rows of a batch, whose shape is checked: `count` slices of one length.
    fn rows(
        &self,
        name: &'static str,
        slices: impl ExactSizeIterator<Item = usize>,
        count: usize,
        length: Option<usize>,
    ) -> Result<usize> {
        if slices.len() != count {
            return Err(Error::shape(
                name,
                &[slices.len()],
                format!("{count} slices, one per channel that it speaks of"),
            ));
        }
        let mut length = length;
        for found in slices {
            let wanted = *length.get_or_insert(found);
            if found != wanted || !found.is_multiple_of(self.dim()) {
                return Err(Error::shape(
                    name,
                    &[found],
                    format!("slices of one length, a multiple of dim = {}", self.dim()),
                ));
            }
        }
        Ok(length.unwrap_or(0))
    }

    fn first(
        &self,
        t: f64,
        u: &[&[f64]],
        channels: &[usize],
        out: &mut [&mut [f64]],
        log: Option<&mut [f64]>,
    ) -> Result<()> {
        let frame = self.frame(t)?;
        let length = self.rows("u", u.iter().map(|c| c.len()), frame.k, None)?;
        self.rows(
            "out",
            out.iter().map(|c| c.len()),
            channels.len(),
            Some(length),
        )?;
        if let Some(found) = log
            .as_ref()
            .map(|l| l.len())
            .filter(|l| *l != length / frame.d)
        {
            return Err(Error::shape(
                "out",
                &[found],
                format!("[{}], one number per row", length / frame.d),
            ));
        }
        simd::wide(First {
            frame: &frame,
            u,
            channels,
            out,
            log,
        });
        Ok(())
    }

    /// Joint log-density of all channels at time `t`, one number per row:
    /// `log sum w N(u; phi (x) m, phi phi^T (x) Sigma + S_t (x) 1)`. Formula:
    /// score.mixture_log_density.
    ///
    /// # Errors
    /// Those of [`Diffusion::kernel`]; slices of other shapes.
    pub fn log_density(&self, t: f64, u: &[&[f64]], out: &mut [f64]) -> Result<()> {
        self.first(t, u, &[], &mut [], Some(out))
    }

    /// The gradient of [`log_density`](Self::log_density) in all K channels, noised or not; `out`
    /// is shaped as `u`. Formula: score.mixture.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn joint_score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let all: Vec<usize> = (0..self.diffusion.channels()).collect();
        self.first(t, u, &all, out, None)
    }

    /// The Hessian of [`log_density`](Self::log_density) at `u` times the field `w`, all K channels
    /// each; all shaped as `u`. `H = sum r (-P + (g_c - g)(g_c - g)^T)`. Formula:
    /// score.mixture_hessian.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn hessian_vector(
        &self,
        t: f64,
        u: &[&[f64]],
        w: &[&[f64]],
        out: &mut [&mut [f64]],
    ) -> Result<()> {
        let frame = self.frame(t)?;
        let length = self.rows("u", u.iter().map(|c| c.len()), frame.k, None)?;
        self.rows("w", w.iter().map(|c| c.len()), frame.k, Some(length))?;
        self.rows("out", out.iter().map(|c| c.len()), frame.k, Some(length))?;
        simd::wide(Second {
            frame: &frame,
            u,
            ask: Ask::Product(w),
            out,
        });
        Ok(())
    }

    /// For each noised channel c and each row, the trace over the coordinates of d score_c / d u_c:
    /// what the divergence of a probability flow needs. `out` has one slice per noised channel, one
    /// number per row. Formula: score.mixture_divergence.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn divergence(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        let frame = self.frame(t)?;
        let rows = self.rows("u", u.iter().map(|c| c.len()), frame.k, None)? / frame.d;
        let channels = self.diffusion.noised();
        if out.len() != channels.len() || out.iter().any(|o| o.len() != rows) {
            let found: Vec<usize> = out.iter().map(|o| o.len()).collect();
            return Err(Error::shape(
                "out",
                &found,
                format!("{} slices of {rows}, one number per row", channels.len()),
            ));
        }
        simd::wide(Second {
            frame: &frame,
            u,
            ask: Ask::Traces(channels),
            out,
        });
        Ok(())
    }
}

impl Score for MixtureScore {
    /// The noised channels of [`joint_score`](MixtureScore::joint_score). Formula: score.mixture.
    fn score(&self, t: f64, u: &[&[f64]], out: &mut [&mut [f64]]) -> Result<()> {
        self.first(t, u, self.diffusion.noised(), out, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a rotation the wrong way or an axis that does not go with its eigenvalue:
    /// `B^T diag(s^2) B = L L^T`, B orthogonal; and a small eigenvalue drowned by a large one, by
    /// the determinant.
    #[test]
    fn axes_rebuild_the_covariance() {
        let lower = [1.0, 0.0, 0.0, -0.7, 1e-7, 0.0, 3.0, 2e-8, 1e-6];
        let (b, s) = diagonalise(&lower, 3);
        for i in 0..3 {
            for j in 0..3 {
                let cov: f64 = (0..3).map(|k| lower[i * 3 + k] * lower[j * 3 + k]).sum();
                let back: f64 = (0..3)
                    .map(|a| b[a * 3 + i] * s[a] * s[a] * b[a * 3 + j])
                    .sum();
                let unit: f64 = (0..3).map(|a| b[i * 3 + a] * b[j * 3 + a]).sum();
                assert!(
                    (cov - back).abs() < 1e-14 && (unit - f64::from(i == j)).abs() < 1e-14,
                    "{i},{j}: {cov} {back} {unit}"
                );
            }
        }
        // the determinant of L is the product of the deviations; three sweeps of rounding
        assert!(
            (s.iter().product::<f64>() / 1e-13 - 1.0).abs() < 1e-12,
            "{s:?}"
        );
    }
}
