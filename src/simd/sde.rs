//! Paths of a linear SDE: `u' = A u + C xi`, the same matrices for all paths, noise drawn on the
//! way.

use super::lane::each;
use super::normal::{normal_lanes, quad_lanes, threefry_lanes};
use super::{Lane, Set, Task, wide, wide_on};

/// A matrix, row by row.
type Rows<const K: usize> = [[f64; K]; K];

/// A step with only those columns of C that are not zero: each is one draw.
#[derive(Clone, Copy, Debug)]
struct Step<const K: usize> {
    state: Rows<K>,
    columns: [[f64; K]; 8],
}

/// Steps between two records.
#[derive(Clone, Debug)]
pub struct Steps<const K: usize> {
    steps: Vec<Step<K>>,
    /// Draws per step.
    per_step: usize,
    /// Number of the first draw.
    first: usize,
}

impl<const K: usize> Steps<K> {
    /// From the matrices A and C (one C per draw of every channel, at most two). Columns that are
    /// zero in all steps cost no draw. `first` is the number of the first draw.
    pub fn new(steps: impl Iterator<Item = (Rows<K>, [Rows<K>; 2])>, first: usize) -> Self {
        let all: Vec<(Rows<K>, [Rows<K>; 2])> = steps.collect();
        let used: Vec<(usize, usize)> = (0..2)
            .flat_map(|d| (0..K).map(move |j| (d, j)))
            .filter(|&(d, j)| all.iter().any(|(_, c)| (0..K).any(|i| c[d][i][j] != 0.0)))
            .collect();
        let steps = all.iter().map(|(state, c)| {
            let mut columns = [[0.0; K]; 8];
            used.iter()
                .zip(&mut columns)
                .for_each(|(&(d, j), column)| *column = std::array::from_fn(|i| c[d][i][j]));
            Step {
                state: *state,
                columns,
            }
        });
        Steps {
            steps: steps.collect(),
            per_step: used.len(),
            first,
        }
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Number of draws per path.
    pub fn draws(&self) -> usize {
        self.steps.len() * self.per_step
    }
}

struct Affine<'a, const K: usize> {
    steps: &'a Steps<K>,
    key: [u64; 2],
    first: u64,
    u: [&'a mut [f64]; K],
}

/// One group of paths through all steps; R draws per step, known to the compiler for the common 1
/// and 2.
#[inline(always)]
fn group<L: Lane<Item = f64, Word = u64>, const K: usize, const R: usize>(
    steps: &Steps<K>,
    key: [u64; 2],
    path: L::Bits,
    u: &mut [L; K],
) {
    let per_step = if R == 0 { steps.per_step } else { R };
    let mut draw = steps.first;
    // a pair's second normal waits here
    let mut spare = L::splat(0.0);
    if draw % 2 == 1 && per_step > 0 {
        spare = normal_lanes::<L>(threefry_lanes::<L>(path, (draw / 2) as u64, key))[1];
    }
    for s in &steps.steps {
        let mut next: [L; K] = *u;
        for (i, y) in next.iter_mut().enumerate() {
            let mut sum = L::splat(s.state[i][0]) * u[0];
            for j in 1..K {
                sum = L::splat(s.state[i][j]).mul_add(u[j], sum);
            }
            *y = sum;
        }
        for column in &s.columns[..per_step] {
            let xi = if draw.is_multiple_of(2) {
                let [a, b] = normal_lanes::<L>(threefry_lanes::<L>(path, (draw / 2) as u64, key));
                spare = b;
                a
            } else {
                spare
            };
            draw += 1;
            for i in 0..K {
                next[i] = L::splat(column[i]).mul_add(xi, next[i]);
            }
        }
        *u = next;
    }
}

impl<const K: usize> Task for Affine<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        let n = self.u.iter().map(|s| s.len()).min().unwrap_or(0);
        let whole = n / L::WIDTH * L::WIDTH;
        let [mut path, stride] = [
            L::add_bits(L::iota(), L::splat_bits(self.first)),
            L::splat_bits(L::WIDTH as u64),
        ];
        let mut slices = self.u;
        for at in (0..whole).step_by(L::WIDTH) {
            let mut u: [L; K] = each(|i| L::load(&slices[i][at..]));
            match self.steps.per_step {
                1 => group::<L, K, 1>(self.steps, self.key, path, &mut u),
                2 => group::<L, K, 2>(self.steps, self.key, path, &mut u),
                _ => group::<L, K, 0>(self.steps, self.key, path, &mut u),
            }
            for (x, s) in u.into_iter().zip(&mut slices) {
                x.store(&mut s[at..]);
            }
            path = L::add_bits(path, stride);
        }
        if whole < n {
            let u = slices.map(|s| &mut s[whole..n]);
            Affine {
                steps: self.steps,
                key: self.key,
                first: self.first.wrapping_add(whole as u64),
                u,
            }
            .run::<f64, f32>();
        }
    }
}

/// Moves the paths `first ..` (slices of equal length, one per channel) through all steps.
pub fn affine_paths<const K: usize>(
    steps: &Steps<K>,
    key: [u64; 2],
    first: u64,
    u: [&mut [f64]; K],
) {
    wide(Affine {
        steps,
        key,
        first,
        u,
    });
}

/// [`affine_paths`] on a given set: for tests.
pub fn affine_paths_on<const K: usize>(
    set: Set,
    steps: &Steps<K>,
    key: [u64; 2],
    first: u64,
    u: [&mut [f64]; K],
) {
    wide_on(
        set,
        Affine {
            steps,
            key,
            first,
            u,
        },
    );
}

/// Independent normal initial values, from draws 0 to K - 1.
pub fn initial_paths<const K: usize>(
    mean: [f64; K],
    deviation: [f64; K],
    key: [u64; 2],
    first: u64,
    mut u: [&mut [f64]; K],
) {
    for (i, s) in u.iter_mut().enumerate() {
        if deviation[i] == 0.0 {
            s.fill(mean[i]);
            continue;
        }
        let mut other = vec![0.0; s.len()];
        if i % 2 == 0 {
            super::normal::normals(key, first, (i / 2) as u64, [s, &mut other]);
        } else {
            super::normal::normals(key, first, (i / 2) as u64, [&mut other, s]);
        }
        s.iter_mut().for_each(|x| *x = mean[i] + deviation[i] * *x);
    }
}

struct AffineF32<'a, const K: usize> {
    steps: &'a Steps<K>,
    key: [u32; 4],
    first: u64,
    u: [&'a mut [f32]; K],
}

/// One group of paths in single precision through all steps: as [`group`], with four draws from
/// each quad of words.
#[inline(always)]
fn group_f32<S: Lane<Item = f32, Word = u32>, const K: usize, const R: usize>(
    steps: &Steps<K>,
    key: [u32; 4],
    (low, high): (S::Bits, u32),
    u: &mut [S; K],
) {
    let per_step = if R == 0 { steps.per_step } else { R };
    let mut draw = steps.first;
    let mut four = [S::splat(0.0); 4];
    if !draw.is_multiple_of(4) && per_step > 0 {
        four = quad_lanes::<S>(low, high, (draw / 4) as u32, key);
    }
    for s in &steps.steps {
        let mut next: [S; K] = *u;
        for (i, y) in next.iter_mut().enumerate() {
            let mut sum = S::splat(s.state[i][0] as f32) * u[0];
            for j in 1..K {
                sum = S::splat(s.state[i][j] as f32).mul_add(u[j], sum);
            }
            *y = sum;
        }
        for column in &s.columns[..per_step] {
            let xi = match draw % 4 {
                0 => {
                    four = quad_lanes::<S>(low, high, (draw / 4) as u32, key);
                    four[0]
                }
                1 => four[1],
                2 => four[2],
                _ => four[3],
            };
            draw += 1;
            for i in 0..K {
                next[i] = S::splat(column[i] as f32).mul_add(xi, next[i]);
            }
        }
        *u = next;
    }
}

impl<const K: usize> Task for AffineF32<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) {
        let n = self.u.iter().map(|s| s.len()).min().unwrap_or(0);
        let (steps, key) = (self.steps, self.key);
        let mut slices = self.u;
        let mut at = 0;
        while at < n {
            let path = self.first.wrapping_add(at as u64);
            let (low, high) = (path as u32, (path >> 32) as u32);
            // a vector's path numbers share their upper half
            if at + S::WIDTH <= n && low.checked_add(S::WIDTH as u32).is_some() {
                let mut u: [S; K] = each(|i| S::load(&slices[i][at..]));
                let number = (S::add_bits(S::iota(), S::splat_bits(low)), high);
                match steps.per_step {
                    1 => group_f32::<S, K, 1>(steps, key, number, &mut u),
                    _ => group_f32::<S, K, 0>(steps, key, number, &mut u),
                }
                for (x, s) in u.into_iter().zip(&mut slices) {
                    x.store(&mut s[at..]);
                }
                at += S::WIDTH;
            } else {
                let mut u: [f32; K] = std::array::from_fn(|i| slices[i][at]);
                group_f32::<f32, K, 0>(steps, key, (low, high), &mut u);
                u.into_iter().zip(&mut slices).for_each(|(x, s)| s[at] = x);
                at += 1;
            }
        }
    }
}

/// [`affine_paths`] in single precision, with noise of its own stream: four draws per quad of
/// words.
pub fn affine_paths_f32<const K: usize>(
    steps: &Steps<K>,
    key: [u32; 4],
    first: u64,
    u: [&mut [f32]; K],
) {
    wide(AffineF32 {
        steps,
        key,
        first,
        u,
    });
}

/// [`affine_paths_f32`] on a given set: for tests.
pub fn affine_paths_f32_on<const K: usize>(
    set: Set,
    steps: &Steps<K>,
    key: [u32; 4],
    first: u64,
    u: [&mut [f32]; K],
) {
    wide_on(
        set,
        AffineF32 {
            steps,
            key,
            first,
            u,
        },
    );
}

/// Independent normal initial values in single precision, from draws 0 to K - 1.
pub fn initial_paths_f32<const K: usize>(
    mean: [f64; K],
    deviation: [f64; K],
    key: [u32; 4],
    first: u64,
    u: [&mut [f32]; K],
) {
    let n = u.iter().map(|s| s.len()).min().unwrap_or(0);
    let mut four: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; n]);
    super::normal::normals_f32(key, first, 0, four.each_mut().map(Vec::as_mut_slice));
    for (i, s) in u.into_iter().enumerate() {
        let (m, d) = (mean[i] as f32, deviation[i] as f32);
        s.iter_mut()
            .zip(&four[i])
            .for_each(|(x, xi)| *x = m + d * xi);
    }
}
