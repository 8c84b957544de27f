//! Kernels at many times at once, as a structure of arrays.

use super::{Objective, degenerate, no_velocity, regular};
use crate::error::{Error, Result};
use crate::process::{AnyProcess, Fast, LinearSde};
use crate::schedule::Schedule;

/// Entries of a lower triangle.
const fn triangle(k: usize) -> usize {
    k * (k + 1) / 2
}

/// Number of columns for k channels.
const fn width(k: usize) -> usize {
    k * k + 2 * triangle(k) + 2
}

/// The columns, in the order of `LinearSde::columns_at`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Columns {
    len: usize,
    stride: usize,
    data: Vec<f64>,
}

impl Columns {
    /// As [`KernelBatch::fill`], for the process `name` of `k` channels whose columns `write`
    /// computes.
    fn fill(
        &mut self,
        (name, k): (&'static str, usize),
        objective: Objective,
        t: &[f64],
        write: impl FnOnce(&mut [&mut [f64]]),
    ) -> Result<()> {
        self.len = 0;
        if let Some(&t) = t.iter().find(|&&t| !(t > 0.0 && t <= 1.0)) {
            return Err(Error::time(
                "t",
                t,
                "0 < t <= 1 (at t = 0 the kernel is a point)",
            ));
        }
        if k == 1 && objective.name() == "hsm" {
            return Err(no_velocity(name));
        }
        // One cache line more than needed: otherwise all columns share a few sets of the cache.
        self.stride = t.len().next_multiple_of(8) + 8;
        self.data.resize(self.stride * width(k), 0.0);
        let mut columns: Vec<&mut [f64]> = self
            .data
            .chunks_mut(self.stride)
            .take(width(k))
            .map(|c| &mut c[..t.len()])
            .collect();
        write(&mut columns);
        let (last, det) = (&columns[k * k + triangle(k) - 1], &columns[width(k) - 2]);
        if let Some((_, &d)) = last.iter().zip(det.iter()).find(|&(&v, &d)| !regular(v, d)) {
            return Err(degenerate(d));
        }
        self.len = t.len();
        Ok(())
    }

    fn column(&self, c: usize) -> &[f64] {
        &self.data[c * self.stride..][..self.len]
    }

    fn mean(&self, k: usize, i: usize, j: usize) -> &[f64] {
        assert!(i < k && j < k, "entry ({i}, {j}) of a {k} x {k} matrix");
        self.column(k * i + j)
    }

    fn cov(&self, k: usize, i: usize, j: usize) -> &[f64] {
        assert!(i < k && j < k, "entry ({i}, {j}) of a {k} x {k} matrix");
        self.column(k * k + triangle(i.max(j)) + i.min(j))
    }

    fn lower(&self, k: usize, i: usize, j: usize) -> &[f64] {
        assert!(
            i < k && j <= i,
            "entry ({i}, {j}) of a lower {k} x {k} matrix"
        );
        self.column(k * k + triangle(k) + triangle(i) + j)
    }
}

/// Perturbation kernels at many times: one plain slice per quantity.
///
/// For CLD at critical damping under a constant or linear rate the work is vectorised (see
/// [`crate::simd`]); other processes and rates go time by time. Accuracy as that of
/// [`Kernel`](super::Kernel). Formula: kernel.*.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelBatch<const K: usize>(Columns);

impl<const K: usize> KernelBatch<K> {
    /// The kernels of `process` under `schedule` at the times `t`.
    ///
    /// # Errors
    /// As [`Kernel::new`](super::Kernel::new), for the first time that is refused.
    pub fn new(
        process: &impl LinearSde<K>,
        schedule: &Schedule,
        objective: Objective,
        t: &[f64],
    ) -> Result<Self> {
        let mut batch = KernelBatch(Columns::default());
        batch.fill(process, schedule, objective, t)?;
        Ok(batch)
    }

    /// The same into this batch, whose memory is used again.
    ///
    /// # Errors
    /// As [`new`](Self::new); the batch is then empty.
    pub fn fill(
        &mut self,
        process: &impl LinearSde<K>,
        schedule: &Schedule,
        objective: Objective,
        t: &[f64],
    ) -> Result<()> {
        let write = |columns: &mut [&mut [f64]]| {
            process.columns_at(schedule, objective.gamma(), t, columns, Fast)
        };
        self.0.fill((process.name(), K), objective, t, write)
    }

    /// Number of times.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Entry (i, j) of the mean matrix. Panics unless i, j < K, as all accessors of entries do.
    pub fn mean(&self, i: usize, j: usize) -> &[f64] {
        self.0.mean(K, i, j)
    }

    /// Entry (i, j) of the covariance.
    pub fn cov(&self, i: usize, j: usize) -> &[f64] {
        self.0.cov(K, i, j)
    }

    /// Entry (i, j), j <= i, of the lower Cholesky factor; the others are 0.
    pub fn lower(&self, i: usize, j: usize) -> &[f64] {
        self.0.lower(K, i, j)
    }

    /// Determinants of the covariances.
    pub fn det(&self) -> &[f64] {
        self.0.column(width(K) - 2)
    }

    /// `ell_t`.
    pub fn ell(&self) -> &[f64] {
        self.0.column(width(K) - 1)
    }
}

/// [`KernelBatch`] for a process chosen at run time, whose memory is used again from one batch to
/// the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnyKernelBatch {
    k: usize,
    columns: Columns,
}

impl AnyKernelBatch {
    /// The kernels of `process` under `schedule` at the times `t`, in place of what was here.
    ///
    /// # Errors
    /// As [`KernelBatch::new`]; the batch is then empty.
    pub fn fill(
        &mut self,
        process: &dyn AnyProcess,
        schedule: &Schedule,
        objective: Objective,
        t: &[f64],
    ) -> Result<()> {
        self.k = process.channels();
        let write = |columns: &mut [&mut [f64]]| {
            process.columns_at(schedule, objective.gamma(), t, columns)
        };
        self.columns
            .fill((process.name(), self.k), objective, t, write)
    }

    /// Entry (i, j) of the mean matrix. Panics unless i, j < K, as all accessors of entries do.
    pub fn mean(&self, i: usize, j: usize) -> &[f64] {
        self.columns.mean(self.k, i, j)
    }

    /// Entry (i, j) of the covariance.
    pub fn cov(&self, i: usize, j: usize) -> &[f64] {
        self.columns.cov(self.k, i, j)
    }

    /// Entry (i, j), j <= i, of the lower Cholesky factor; the others are 0.
    pub fn lower(&self, i: usize, j: usize) -> &[f64] {
        self.columns.lower(self.k, i, j)
    }

    /// Determinants of the covariances.
    pub fn det(&self) -> &[f64] {
        self.columns.column(width(self.k) - 2)
    }

    /// `ell_t`.
    pub fn ell(&self) -> &[f64] {
        self.columns.column(width(self.k) - 1)
    }
}
