//! Group norm, with SiLU.

use super::graph::{Buffers, Gradients, Id, Layer};
use crate::simd::Real;
use crate::simd::loops::norm::Norm as Loop;
use std::ops::Range;

pub(super) struct Norm {
    pub name: String,
    pub x: Id,
    pub y: Id,
    pub groups: usize,
    pub silu: bool,
    pub weight: Range<usize>,
    pub bias: Range<usize>,
}

impl Norm {
    fn norm<T: Real>(&self, b: &Buffers<T>) -> Loop {
        Loop::new(b.images(self.x), b.images(self.y), self.groups, self.silu)
            .expect("shapes are checked when the network is built")
    }
}

impl<T: Real> Layer<T> for Norm {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn inputs(&self) -> Vec<Id> {
        vec![self.x]
    }

    fn output(&self) -> Id {
        self.y
    }

    fn own(&self, b: &Buffers<T>) -> Vec<usize> {
        vec![self.norm(b).saved()]
    }

    fn forward(&self, p: &[T], b: &mut Buffers<T>, own: &mut [Vec<T>]) {
        let norm = self.norm(b);
        b.with_value(self.y, |b, y| {
            norm.forward_on(
                b.set,
                b.value(self.x),
                &p[self.weight.clone()],
                &p[self.bias.clone()],
                &mut own[0],
                y,
            );
        });
    }

    fn backward(
        &self,
        p: &[T],
        _: &[T],
        b: &mut Buffers<T>,
        own: &mut [Vec<T>],
        first: &[bool],
        g: &mut Gradients<T>,
    ) {
        let (norm, set) = (self.norm(b), b.set);
        // weight and bias stand side by side
        let (dweight, dbias) = g
            .of(self.weight.start..self.bias.end)
            .split_at_mut(self.weight.len());
        b.with_gradient(self.y, |b, dy| {
            b.with_gradient(self.x, |b, dx| {
                let x = b.value(self.x);
                norm.backward_on(
                    set,
                    x,
                    &p[self.weight.clone()],
                    &p[self.bias.clone()],
                    &own[0],
                    dy,
                    dx,
                    !first[0],
                    [dweight, dbias],
                );
            });
        });
    }
}
