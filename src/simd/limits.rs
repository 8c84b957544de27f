//! What the machine can do at the most: a yardstick for the loops.

use super::{Lane, Set, Task, wide_on};

struct MultiplyAdds(usize, f32, f32);

/// Chains that hide the latency of a multiply-add on the machines there are: 4 cycles, two a cycle.
const CHAINS: usize = 12;

impl Task for MultiplyAdds {
    type Out = (f32, usize);
    #[inline(always)]
    fn run<D: Lane<Item = f64, Word = u64>, S: Lane<Item = f32, Word = u32>>(self) -> (f32, usize) {
        let (a, b) = (S::splat(self.1), S::splat(self.2));
        let mut x = [b; CHAINS];
        for _ in 0..self.0 {
            for x in &mut x {
                *x = x.mul_add(a, b);
            }
        }
        let mut out = [0.0; 64];
        let mut sum = 0.0;
        for x in x {
            x.store(&mut out);
            sum += out[..S::WIDTH].iter().sum::<f32>();
        }
        (sum, 2 * CHAINS * S::WIDTH * self.0)
    }
}

/// Runs `n` rounds of independent fused multiply-adds of f32 that touch registers alone: a number
/// that depends on all of them, and how many floating-point operations they were. `a` and `b`
/// should be unknown to the compiler, and `|a| < 1`.
pub fn multiply_adds(set: Set, n: usize, a: f32, b: f32) -> (f32, usize) {
    wide_on(set, MultiplyAdds(n, a, b))
}
