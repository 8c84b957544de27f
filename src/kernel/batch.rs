//! Kernels at many times at once, as a structure of arrays.

use super::{Objective, degenerate, no_velocity, regular};
use crate::error::{Error, Result};
use crate::process::LinearSde;
use crate::schedule::Schedule;

/// Perturbation kernels at many times: one plain slice per quantity.
///
/// For CLD at critical damping under a constant or linear rate the work is vectorised (see [`crate::simd`]); other
/// processes and rates go time by time. Accuracy as that of [`Kernel`](super::Kernel). Formula: kernel.*.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelBatch<const K: usize> {
    len: usize,
    stride: usize,
    /// Columns in the order of `LinearSde::columns_at`.
    data: Vec<f64>,
}

/// Entries of a lower triangle.
const fn triangle(k: usize) -> usize {
    k * (k + 1) / 2
}

impl<const K: usize> KernelBatch<K> {
    const COLUMNS: usize = K * K + 2 * triangle(K) + 2;

    /// The kernels of `process` under `schedule` at the times `t`.
    ///
    /// # Errors
    /// As [`Kernel::new`](super::Kernel::new), for the first time that is refused.
    pub fn new(process: &impl LinearSde<K>, schedule: &Schedule, objective: Objective, t: &[f64]) -> Result<Self> {
        let mut batch = KernelBatch { len: 0, stride: 0, data: Vec::new() };
        batch.fill(process, schedule, objective, t)?;
        Ok(batch)
    }

    /// The same into this batch, whose memory is used again.
    ///
    /// # Errors
    /// As [`new`](Self::new); the batch is then empty.
    pub fn fill(&mut self, process: &impl LinearSde<K>, schedule: &Schedule, objective: Objective, t: &[f64]) -> Result<()> {
        self.len = 0;
        if let Some(&t) = t.iter().find(|&&t| !(t > 0.0 && t <= 1.0)) {
            return Err(Error::time("t", t, "0 < t <= 1 (at t = 0 the kernel is a point)"));
        }
        if K == 1 && objective.name() == "hsm" {
            return Err(no_velocity(process.name()));
        }
        // A cache line more than needed, lest all columns fall into the same few sets of the cache.
        self.stride = t.len().next_multiple_of(8) + 8;
        self.data.resize(self.stride * Self::COLUMNS, 0.0);
        let mut columns: Vec<&mut [f64]> = self.data.chunks_mut(self.stride).map(|c| &mut c[..t.len()]).collect();
        process.columns_at(schedule, objective.gamma(), t, &mut columns);
        let (last, det) = (&columns[K * K + triangle(K) - 1], &columns[Self::COLUMNS - 2]);
        if let Some((_, &d)) = last.iter().zip(det.iter()).find(|&(&v, &d)| !regular(v, d)) {
            return Err(degenerate(d));
        }
        self.len = t.len();
        Ok(())
    }

    /// Number of times.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn column(&self, c: usize) -> &[f64] {
        &self.data[c * self.stride..][..self.len]
    }

    /// Entry (i, j) of the mean matrix. Panics unless i, j < K, as all accessors of entries do.
    pub fn mean(&self, i: usize, j: usize) -> &[f64] {
        assert!(i < K && j < K, "entry ({i}, {j}) of a {K} x {K} matrix");
        self.column(K * i + j)
    }

    /// Entry (i, j) of the covariance.
    pub fn cov(&self, i: usize, j: usize) -> &[f64] {
        assert!(i < K && j < K, "entry ({i}, {j}) of a {K} x {K} matrix");
        self.column(K * K + triangle(i.max(j)) + i.min(j))
    }

    /// Entry (i, j), j <= i, of the lower Cholesky factor; the others are 0.
    pub fn lower(&self, i: usize, j: usize) -> &[f64] {
        assert!(i < K && j <= i, "entry ({i}, {j}) of a lower {K} x {K} matrix");
        self.column(K * K + triangle(K) + triangle(i) + j)
    }

    /// Determinants of the covariances.
    pub fn det(&self) -> &[f64] {
        self.column(Self::COLUMNS - 2)
    }

    /// `ell_t`.
    pub fn ell(&self) -> &[f64] {
        self.column(Self::COLUMNS - 1)
    }
}
