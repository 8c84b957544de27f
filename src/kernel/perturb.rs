//! Noising batches: `u_t = Phi u_0 + L eps`.

use super::{Kernel, Objective};
use crate::error::{Error, Result};
use crate::process::LinearSde;
use crate::schedule::Schedule;
use crate::simd::{self, normal::normals};
use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngExt};

/// Normals that are drawn at a time: they stay in the first-level cache.
const AT_ONCE: usize = 512;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// f32 or f64: the element types of batches. Arithmetic is in f64 for both; f32 is rounded once, at
/// the end.
pub trait Real: Copy + sealed::Sealed + Send + Sync + 'static {
    /// Widened.
    fn wide(self) -> f64;
    /// Rounded to nearest.
    fn narrow(x: f64) -> Self;
}

impl Real for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(x: f64) -> f64 {
        x
    }
}

impl Real for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(x: f64) -> f32 {
        x as f32
    }
}

impl<const K: usize> Kernel<K> {
    /// Noises a batch that shares this kernel's time, with given noise:
    /// `out[i] = Phi[i][0] x0 + (L noise)[i]`, initial velocities 0 (HSM). Slices of one length,
    /// one per channel. f32: the f64 result rounded once. Formula: kernel.perturb.
    ///
    /// # Errors
    /// Slices of different lengths.
    pub fn perturb<T: Real>(&self, x0: &[T], noise: [&[T]; K], out: [&mut [T]; K]) -> Result<()> {
        let n = x0.len();
        for (name, found) in noise
            .iter()
            .map(|s| ("noise", s.len()))
            .chain(out.iter().map(|s| ("out", s.len())))
        {
            if found != n {
                return Err(Error::shape(
                    name,
                    &[found],
                    format!("[{n}], the length of x0"),
                ));
            }
        }
        // with the widest registers that one-by-one code may use: what the compiler vectorises
        // gains, no bit changes
        simd::single_call(
            #[inline(always)]
            || self.perturb_checked(x0, noise, out),
        );
        Ok(())
    }

    #[inline(always)]
    fn perturb_checked<T: Real>(&self, x0: &[T], noise: [&[T]; K], out: [&mut [T]; K]) {
        let (m, l) = (self.mean(), self.lower());
        for (i, out) in out.into_iter().enumerate() {
            // Two channels, the common case, in one pass per output that the compiler can
            // vectorise.
            match i {
                0 => {
                    let (a, b) = (m[(0, 0)], l[(0, 0)]);
                    for ((o, &x), &e) in out.iter_mut().zip(x0).zip(noise[0]) {
                        *o = T::narrow(a * x.wide() + b * e.wide());
                    }
                }
                1 => {
                    let (a, b, c) = (m[(1, 0)], l[(1, 0)], l[(1, 1)]);
                    for (((o, &x), &e), &f) in out.iter_mut().zip(x0).zip(noise[0]).zip(noise[1]) {
                        *o = T::narrow(a * x.wide() + b * e.wide() + c * f.wide());
                    }
                }
                _ => {
                    for (r, o) in out.iter_mut().enumerate() {
                        let s = (0..=i).map(|j| l[(i, j)] * noise[j][r].wide()).sum::<f64>();
                        *o = T::narrow(m[(i, 0)] * x0[r].wide() + s);
                    }
                }
            }
        }
    }

    /// The same with standard normal noise drawn into `noise` (kept: it is the target of training).
    /// Two words are drawn from `rng`, the key; the noise is a function of the key, the value's
    /// number and the channel (Threefry 2x64 and Box-Muller, many at a time, the same bits on every
    /// machine). Formula: kernel.perturb.
    ///
    /// # Errors
    /// Slices of different lengths.
    pub fn perturb_random<T: Real>(
        &self,
        x0: &[T],
        rng: &mut impl Rng,
        mut noise: [&mut [T]; K],
        out: [&mut [T]; K],
    ) -> Result<()> {
        let key = [rng.random(), rng.random()];
        let (mut a, mut b) = ([0.0; AT_ONCE], [0.0; AT_ONCE]);
        for (pair, channels) in noise.chunks_mut(2).enumerate() {
            let most = channels.iter().map(|c| c.len()).max().unwrap_or(0);
            for first in (0..most).step_by(AT_ONCE) {
                normals(key, first as u64, pair as u64, [&mut a, &mut b]);
                for (channel, drawn) in channels.iter_mut().zip([&a, &b]) {
                    let part = channel.iter_mut().skip(first);
                    part.zip(drawn).for_each(|(e, x)| *e = T::narrow(*x));
                }
            }
        }
        self.perturb(x0, noise.map(|channel| &*channel), out)
    }
}

/// Noises a batch with a time of its own per row: arrays (batch, dim), one per channel.
///
/// `u0` holds x_0 alone (initial velocities 0: HSM), or all K channels (DSM). Formula:
/// kernel.perturb.
///
/// # Errors
/// Times outside (0, 1], arrays of different shapes, a number of arrays that is neither 1 nor K.
pub fn perturb_batch<const K: usize, T: Real>(
    process: &impl LinearSde<K>,
    schedule: &Schedule,
    objective: Objective,
    t: &[f64],
    u0: &[ArrayView2<'_, T>],
    noise: &[ArrayView2<'_, T>; K],
) -> Result<[Array2<T>; K]> {
    if u0.len() != 1 && u0.len() != K {
        return Err(Error::shape(
            "u0",
            &[u0.len()],
            format!("1 array (x_0) or {K} (all channels)"),
        ));
    }
    let shape = u0[0].dim();
    for (name, a) in u0
        .iter()
        .map(|a| ("u0", a))
        .chain(noise.iter().map(|a| ("noise", a)))
    {
        if a.dim() != shape || shape.0 != t.len() {
            return Err(Error::shape(
                name,
                a.shape(),
                format!("({}, dim), the same for all, one row per time", t.len()),
            ));
        }
    }
    let kernels = t
        .iter()
        .map(|&t| Kernel::new(process, schedule, objective, t))
        .collect::<Result<Vec<_>>>()?;
    Ok(std::array::from_fn(|i| {
        Array2::from_shape_fn(shape, |(r, c)| {
            let (m, l) = (kernels[r].mean(), kernels[r].lower());
            let mean: f64 = u0
                .iter()
                .enumerate()
                .map(|(j, a)| m[(i, j)] * a[(r, c)].wide())
                .sum();
            let spread: f64 = (0..=i).map(|j| l[(i, j)] * noise[j][(r, c)].wide()).sum();
            T::narrow(mean + spread)
        })
    }))
}
