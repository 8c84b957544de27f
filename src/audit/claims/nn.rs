//! Claims about networks: gradients of whole networks against differences of their outputs, in f64,
//! by the loops that train in f32; these in f32 against the same in f64.

use crate::audit::check::{Check, Near, Part, Points};
use crate::audit::claim::{Claim, Method};
use crate::error::Result;
use crate::nn::{Graph, Mlp, Session, UNet};
use crate::simd::Real;
use crate::simd::normal::threefry;
use crate::worst::largest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const TIMES: [f64; 2] = [0.7, 0.02];

/// Uniform on (-1, 1).
fn number(seed: u64, i: usize) -> f64 {
    ((threefry([i as u64, 0], [seed, u64::from_be_bytes(*b"networks")])[0] >> 11) as f64 + 0.5)
        * 2f64.powi(-52)
        - 1.0
}

fn numbers<T: Real>(seed: u64, n: usize) -> Vec<T> {
    // numbers of f32, so that both types start from the same
    (0..n)
        .map(|i| T::of(f64::from(number(seed, i) as f32)))
        .collect()
}

/// A network at random weights, none of which is 0, on random rows.
struct Case<T> {
    session: Session<T>,
    p: Vec<T>,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Real> Case<T> {
    fn new(graph: Graph<T>, seed: u64) -> Result<Case<T>> {
        let (layout, size) = (graph.layout().clone(), |s: [usize; 3]| {
            s.iter().product::<usize>() * TIMES.len()
        });
        let mut p = vec![T::default(); layout.len()];
        for (i, e) in layout.entries().iter().enumerate() {
            let fan_in: usize = e.shape[1..].iter().product();
            let (middle, spread) = match (
                e.shape.len(),
                e.name.contains("norm") && e.name.ends_with("weight"),
            ) {
                (1, true) => (1.0, 0.3),
                (1, false) => (0.0, 0.3),
                _ => (0.0, (2.0 / fan_in as f64).sqrt()),
            };
            let at = |j| {
                T::of(f64::from(
                    (middle + spread * number(seed.wrapping_add(1 + i as u64), j)) as f32,
                ))
            };
            layout.write(&mut p, i, &(0..e.count()).map(at).collect::<Vec<_>>())?;
        }
        let (x, dy) = (
            numbers(seed, size(graph.inputs())),
            numbers(seed ^ 1 << 32, size(graph.outputs())),
        );
        Ok(Case {
            session: Session::new(Arc::new(graph), TIMES.len())?,
            p,
            x,
            dy,
        })
    }

    /// `sum of dy y`.
    fn value(&mut self) -> f64 {
        let mut y = vec![T::default(); self.dy.len()];
        self.session.forward(&self.p, &self.x, &TIMES, &mut y);
        y.iter().zip(&self.dy).map(|(y, d)| y.f64() * d.f64()).sum()
    }

    fn gradient(&mut self) -> Vec<T> {
        self.value();
        let (mut turned, mut g) = (
            vec![T::default(); self.p.len()],
            vec![T::default(); self.p.len()],
        );
        self.session.graph().turn(&self.p, &mut turned);
        self.session
            .backward(&self.p, &turned, &self.dy, &mut g, None);
        g
    }
}

/// What a parameter belongs to.
fn kind(name: &str, shape: &[usize]) -> &'static str {
    match (shape.len(), name.contains("norm"), name.ends_with("weight")) {
        (4, ..) if name.contains("qkv") => "attention.weight",
        (4, ..) if shape[2] == 3 => "conv3.weight",
        (4, ..) => "conv1.weight",
        (2, ..) => "linear.weight",
        (_, true, true) => "norm.weight",
        (_, true, false) => "norm.bias",
        _ => "bias",
    }
}

fn claims(name: &str, graph: &Graph<f64>) -> Vec<Claim> {
    let kinds: BTreeSet<&str> = graph
        .layout()
        .entries()
        .iter()
        .map(|e| kind(&e.name, &e.shape))
        .collect();
    let mut all = vec![];
    for of in &kinds {
        let says = format!(
            "gradient of the {of} of {name}, in f64, is a difference of its outputs (two numbers of every parameter)"
        );
        let reason =
            "1e-7 of the parameter's largest gradient: differences of order 4 with a step of 2e-4";
        all.push(Claim::new(
            &format!("nn.{name}/gradient.{of}"),
            "nn.backward",
            Method::Identity,
            says,
            reason,
        ));
    }
    for of in &kinds {
        let says = format!("gradient of the {of} of {name}, in f32, is that in f64");
        let reason =
            "1e-4 of the parameter's largest gradient: what is demanded of f32; PyTorch keeps 3e-6";
        all.push(Claim::new(
            &format!("nn.{name}/single.{of}"),
            "nn.backward",
            Method::Identity,
            says,
            reason,
        ));
    }
    all
}

fn checks(name: &str, wide: Graph<f64>, narrow: Graph<f32>, seed: u64) -> Result<Vec<Check>> {
    let claims = claims(name, &wide);
    let (mut case, mut single) = (Case::new(wide, seed)?, Case::new(narrow, seed)?);
    let layout = case.session.graph().layout().clone();
    let (g, g32) = (case.gradient(), single.gradient());
    let h = 2e-4;
    let (mut slopes, mut rounded) = (
        BTreeMap::<&str, Vec<Near>>::new(),
        BTreeMap::<&str, Vec<Near>>::new(),
    );
    for (i, e) in layout.entries().iter().enumerate() {
        let (values, grads, grads32) = (
            layout.read(&case.p, i),
            layout.read(&g, i),
            layout.read(&g32, i),
        );
        let unit = largest(&grads);
        for j in [e.count() / 3, e.count() - 1] {
            let mut at = |d: f64| -> Result<f64> {
                let mut moved = values.clone();
                moved[j] += d;
                layout.write(&mut case.p, i, &moved)?;
                Ok(case.value())
            };
            let expected = (8.0 * (at(h)? - at(-h)?) - (at(2.0 * h)? - at(-2.0 * h)?)) / (12.0 * h);
            at(0.0)?;
            let of = kind(&e.name, &e.shape);
            slopes.entry(of).or_default().push(Near {
                at: i as f64,
                found: grads[j],
                expected,
                tolerance: 1e-7 * unit,
                unit,
            });
            let found = f64::from(grads32[j]);
            rounded.entry(of).or_default().push(Near {
                at: i as f64,
                found,
                expected: grads[j],
                tolerance: 1e-4 * unit,
                unit,
            });
        }
    }
    Check::all(
        claims,
        slopes
            .into_values()
            .chain(rounded.into_values())
            .map(Points::Near)
            .collect(),
    )
}

/// Every kind of network.
///
/// # Errors
/// Passed on from the builders; the cases are fixed, and a test builds all of them.
pub fn parts() -> Result<Vec<Part>> {
    let unet = UNet {
        base: 16,
        mult: vec![1, 2],
        blocks: 1,
        embedding: 32,
        ..UNet::small(2, 1, [6, 5])
    };
    let mlp = |residual| Mlp {
        inputs: 4,
        outputs: 2,
        width: 32,
        depth: 2,
        residual,
    };
    fn part<M: Clone + Send + Sync + 'static>(
        name: &'static str,
        net: M,
        wide: fn(&M) -> Result<Graph<f64>>,
        narrow: fn(&M) -> Result<Graph<f32>>,
    ) -> Result<Part> {
        let claims = claims(name, &wide(&net)?);
        let run = move |seed: u64| checks(name, wide(&net)?, narrow(&net)?, seed);
        Ok(Part {
            case: format!("nn.{name}"),
            claims,
            tests: 0,
            run: Box::new(run),
        })
    }
    Ok(vec![
        part("unet", unet, UNet::build, UNet::build)?,
        part("mlp", mlp(false), Mlp::build, Mlp::build)?,
        part("resmlp", mlp(true), Mlp::build, Mlp::build)?,
    ])
}
