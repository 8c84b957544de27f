//! The search over boxes of two parameters for every box of z, until bounds are within targets.

use super::*;

/// Bounds in one box of the two parameters; infinite where nothing can be said.
pub(super) trait Bounded<const N: usize>: Sync {
    fn bounds(&self, at: &AtZ, a: Iv, gamma: Iv) -> [f64; N];
}

impl<const N: usize, F: Fn(&AtZ, Iv, Iv) -> [f64; N] + Sync> Bounded<N> for F {
    fn bounds(&self, at: &AtZ, a: Iv, gamma: Iv) -> [f64; N] {
        self(at, a, gamma)
    }
}

pub(super) struct Search<'a, const N: usize> {
    parts: &'a Parts,
    /// Boxes that are less wide in proportion are not split.
    least: f64,
    targets: [f64; N],
    pub worst: [f64; N],
    pub boxes: usize,
    /// Boxes in which a target is missed.
    pub missed: usize,
}

/// `x` in two, where it is wider than `width` in proportion or goes down to zero from above `floor`.
fn split(x: Iv, width: f64, floor: f64) -> Option<[Iv; 2]> {
    let middle = if x.0 > 0.0 {
        if x.1 / x.0 - 1.0 <= width {
            return None;
        }
        (x.0 * x.1).sqrt().clamp(x.0, x.1)
    } else {
        if x.1 <= floor {
            return None;
        }
        x.1 / 16.0
    };
    Some([Iv(x.0, middle), Iv(middle, x.1)])
}

impl<const N: usize> Search<'_, N> {
    fn new(parts: &Parts, least: f64, targets: [f64; N]) -> Search<'_, N> {
        Search {
            parts,
            least,
            targets,
            worst: [0.0; N],
            boxes: 0,
            missed: 0,
        }
    }

    fn run(&mut self, of: &impl Bounded<N>, z: Iv, boxes: Vec<(Iv, Iv)>, depth: u32) {
        let at = at_z(z, self.parts, Plant::None);
        let width = (2.0 * (z.1 / z.0 - 1.0).max(2.0 * (z.1 - z.0))).max(self.least);
        let small = z.0.min(1.0);
        let mut open = boxes;
        let mut failed = vec![];
        while let Some((a, g)) = open.pop() {
            self.boxes += 1;
            let b = at
                .as_ref()
                .map_or([f64::INFINITY; N], |at| of.bounds(at, a, g));
            if b.iter().zip(&self.targets).all(|(b, t)| b <= t) {
                self.keep(&b);
                continue;
            }
            let ratio = |x: Iv| if x.0 > 0.0 { x.1 / x.0 } else { f64::INFINITY };
            let halves = [
                split(a, width, 1e-6 * small * small),
                split(g, width, 1e-6 * small),
            ];
            match halves {
                [Some(h), None] => open.extend(h.map(|a| (a, g))),
                [Some(h), Some(_)] if ratio(a) >= ratio(g) => open.extend(h.map(|a| (a, g))),
                [_, Some(h)] => open.extend(h.map(|g| (a, g))),
                [None, None] if depth == 0 => {
                    self.missed += 1;
                    self.keep(&b);
                }
                [None, None] => failed.push((a, g)),
            }
        }
        if !failed.is_empty() {
            let middle = (z.0 * z.1).sqrt().clamp(z.0, z.1);
            self.run(of, Iv(z.0, middle), failed.clone(), depth - 1);
            self.run(of, Iv(middle, z.1), failed, depth - 1);
        }
    }

    fn keep(&mut self, b: &[f64; N]) {
        for (w, b) in self.worst.iter_mut().zip(b) {
            assert!(!b.is_nan());
            *w = w.max(*b);
        }
    }
}

/// These boxes of z, and all of `a` and `gamma`, on two threads.
pub(super) fn prove<'a, const N: usize>(
    parts: &'a Parts,
    of: impl Bounded<N>,
    boxes: &[Iv],
    (a, gamma): (Iv, Iv),
    least: f64,
    targets: [f64; N],
    depth: u32,
) -> Search<'a, N> {
    let half = |half: usize| {
        let mut search = Search::new(parts, least, targets);
        for z in boxes.iter().skip(half).step_by(2) {
            search.run(&of, *z, vec![(a, gamma)], depth);
        }
        search
    };
    std::thread::scope(|s| {
        let other = s.spawn(|| half(1));
        let mut all = half(0);
        let other = other.join().expect("a proof fails by an assertion");
        assert!(all.boxes > 0 && other.boxes > 0, "no boxes");
        all.keep(&other.worst);
        all.boxes += other.boxes;
        all.missed += other.missed;
        all
    })
}
