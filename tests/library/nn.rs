//! Networks: gradients against central differences of the same loops in f64. Against PyTorch:
//! `tests/library/nn_torch.rs`.

use cld_sgm::internal::simd::Real;
use cld_sgm::internal::worst::largest;
use cld_sgm::nn::{Graph, Layout, Mlp, Session, UNet};
use std::sync::Arc;

/// Reproducible numbers in (-1, 1).
fn numbers(n: usize, mut seed: u64) -> Vec<f64> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 * 2f64.powi(-52) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Parameters of which none is 0: those that start at 0 would hide the gradients of what is before
/// them. Rounded to f32, so that both types have the same.
fn parameters<T: Real>(layout: &Layout, seed: u64) -> Vec<T> {
    let mut p = vec![T::default(); layout.len()];
    for (i, e) in layout.entries().iter().enumerate() {
        let fan_in: usize = e.shape[1..].iter().product();
        let (middle, spread) = if e.shape.len() > 1 {
            (0.0, (2.0 / fan_in as f64).sqrt())
        } else {
            (if e.name.contains("norm") { 1.0 } else { 0.0 }, 0.3)
        };
        let numbers: Vec<T> = numbers(e.count(), seed + i as u64)
            .iter()
            .map(|x| T::of(f64::from((middle + spread * x) as f32)))
            .collect();
        layout.write(&mut p, i, &numbers).unwrap();
    }
    p
}

/// Models small enough for f64, that have every layer there is.
fn models<T: Real>() -> Vec<(&'static str, Arc<Graph<T>>)> {
    let small = UNet {
        base: 16,
        blocks: 1,
        embedding: 32,
        ..UNet::small(2, 1, [8, 4])
    };
    let perceptron = Mlp {
        inputs: 4,
        outputs: 2,
        width: 32,
        depth: 2,
        residual: false,
    };
    vec![
        ("unet", Arc::new(small.build().unwrap())),
        (
            "unet of colours",
            Arc::new(
                UNet {
                    inputs: 6,
                    outputs: 3,
                    mult: vec![2, 1],
                    size: [6, 6],
                    ..small.clone()
                }
                .build()
                .unwrap(),
            ),
        ),
        (
            "unet of odd size",
            Arc::new(
                UNet {
                    mult: vec![1, 1],
                    size: [5, 3],
                    ..small.clone()
                }
                .build()
                .unwrap(),
            ),
        ),
        // wide enough for Winograd's loops
        (
            "wide unet",
            Arc::new(
                UNet {
                    mult: vec![1],
                    size: [4, 16],
                    ..small.clone()
                }
                .build()
                .unwrap(),
            ),
        ),
        (
            "unet with dropout",
            Arc::new(
                UNet {
                    mult: vec![1],
                    dropout: 0.25,
                    size: [3, 5],
                    ..small
                }
                .build()
                .unwrap(),
            ),
        ),
        ("mlp", Arc::new(perceptron.build().unwrap())),
        (
            "resmlp",
            Arc::new(
                Mlp {
                    residual: true,
                    ..perceptron.clone()
                }
                .build()
                .unwrap(),
            ),
        ),
        (
            "linear",
            Arc::new(
                Mlp {
                    depth: 0,
                    ..perceptron
                }
                .build()
                .unwrap(),
            ),
        ),
    ]
}

const ROWS: usize = 3;
const TIMES: [f64; ROWS] = [0.9, 0.2, 1e-3];

struct Run<T> {
    session: Session<T>,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Real> Run<T> {
    fn new(graph: &Arc<Graph<T>>) -> Run<T> {
        let mut session = Session::new(graph.clone(), ROWS).unwrap();
        session.dropout(Some(([1, 2], 3)));
        let of = |n: usize, seed| {
            numbers(n * ROWS, seed)
                .into_iter()
                .map(|x| T::of(f64::from(x as f32)))
                .collect()
        };
        Run {
            session,
            x: of(graph.inputs().iter().product(), 11),
            dy: of(graph.outputs().iter().product(), 12),
        }
    }

    fn output(&mut self, p: &[T]) -> Vec<T> {
        let mut y = vec![T::default(); self.dy.len()];
        self.session.forward(p, &self.x, &TIMES, &mut y);
        y
    }

    /// `sum of dy y`.
    fn value(&mut self, p: &[T]) -> f64 {
        self.output(p)
            .iter()
            .zip(&self.dy)
            .map(|(y, d)| y.f64() * d.f64())
            .sum()
    }

    /// Gradients of [`value`](Self::value) with respect to parameters and input.
    fn gradients(&mut self, p: &[T]) -> (Vec<T>, Vec<T>) {
        self.output(p);
        let (mut turned, mut g, mut dx) = (
            vec![T::default(); p.len()],
            vec![T::default(); p.len()],
            vec![T::default(); self.x.len()],
        );
        self.session.graph().turn(p, &mut turned);
        self.session
            .backward(p, &turned, &self.dy.clone(), &mut g, Some(&mut dx));
        (g, dx)
    }
}

/// Catches a wrong or missing term in any layer's backward pass, for parameters one by one: five
/// numbers of every parameter and ten of the input, in f64, against central differences by
/// Richardson, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h, whose error is of order h^4 times a
/// fifth derivative; with h = 2e-4, measured at most 2e-9 of the gradient's largest number in the
/// parameter. Bound: 1e-7.
#[test]
fn gradients_are_central_differences() {
    for (name, graph) in models::<f64>() {
        let mut p = parameters::<f64>(graph.layout(), 5);
        let mut run = Run::new(&graph);
        let (g, dx) = run.gradients(&p);
        let h = 2e-4;
        let layout = graph.layout().clone();
        for (i, e) in layout.entries().iter().enumerate() {
            let (numbers, grads) = (layout.read(&p, i), layout.read(&g, i));
            let size = largest(&grads);
            assert!(size > 0.0, "{name}: {} has no gradient", e.name);
            for j in (0..5).map(|j| j * e.count() / 5) {
                let mut at = |d: f64| {
                    let mut changed = numbers.clone();
                    changed[j] += d;
                    layout.write(&mut p, i, &changed).unwrap();
                    run.value(&p)
                };
                let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                at(0.0);
                assert!(
                    (grads[j] - want).abs() <= 1e-7 * size,
                    "{name}: {} [{j}]: {} and {want}",
                    e.name,
                    grads[j]
                );
            }
        }
        let size = largest(&dx);
        for j in (0..10).map(|j| j * dx.len() / 10) {
            let x = run.x[j];
            let mut at = |d: f64| {
                run.x[j] = x + d;
                run.value(&p)
            };
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            run.x[j] = x;
            assert!(
                (dx[j] - want).abs() <= 1e-7 * size,
                "{name}: input [{j}]: {} and {want}",
                dx[j]
            );
        }
    }
}

/// Catches what only f32 does, such as a loop chosen for its width alone: along random directions
/// the derivative of the whole network in f32 is that of the same network in f64 by central
/// differences, whose error is 1e-9. Bound: 1e-5 of the gradient's norm (the direction has norm 1);
/// measured 1e-6.
#[test]
fn directional_derivatives_of_whole_networks() {
    for ((name, wide), (_, narrow)) in models::<f64>().into_iter().zip(models::<f32>()) {
        let (mut p, layout) = (parameters::<f64>(wide.layout(), 5), wide.layout().clone());
        let p32 = parameters::<f32>(&layout, 5);
        let (g, _) = Run::new(&narrow).gradients(&p32);
        let norm = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let mut run = Run::new(&wide);
        for seed in 0..5 {
            let mut d = parameters::<f64>(&layout, 100 + seed);
            let length = d.iter().map(|d| d * d).sum::<f64>().sqrt();
            d.iter_mut().for_each(|d| *d /= length);
            let want: f64 = g.iter().zip(&d).map(|(g, d)| f64::from(*g) * d).sum();
            let start = p.clone();
            let mut at = |h: f64| {
                p.iter_mut()
                    .zip(&start)
                    .zip(&d)
                    .for_each(|((p, s), d)| *p = s + h * d);
                run.value(&p)
            };
            let h = 1e-3;
            let got = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            p = start;
            assert!(
                (got - want).abs() <= 1e-5 * norm,
                "{name}: {got} and {want}, of {norm}"
            );
        }
    }
}

/// Catches memory that is given away while it is still needed, and numbers that stay in it: a
/// session for forward passes alone gives the bits of one that keeps all values, also after a pass
/// that left NaN everywhere; and it takes less memory. So do gradients after a pass of NaN.
#[test]
fn shared_memory_keeps_nothing() {
    for (name, graph) in models::<f32>() {
        let p = parameters::<f32>(graph.layout(), 5);
        let mut whole = Run::new(&graph);
        let (y, g) = (whole.output(&p), whole.gradients(&p));
        let mut forward = Run::new(&graph);
        forward.session = Session::forward_only(graph.clone(), ROWS).unwrap();
        forward.session.dropout(Some(([1, 2], 3)));
        assert!(!forward.session.has_backward() && whole.session.has_backward());
        if name.contains("unet") {
            assert!(forward.session.bytes() < whole.session.bytes(), "{name}");
        }
        let nan = vec![f32::NAN; p.len()];
        assert!(forward.output(&nan).iter().all(|y| y.is_nan()), "{name}");
        whole.gradients(&nan);
        assert!(forward.output(&p) == y && whole.output(&p) == y, "{name}");
        assert!(whole.gradients(&p) == g, "{name}");
    }
}

/// Catches rows that see each other, buffers that keep something of the rows before, and an output
/// that depends on how many rows a session has: the bits of a row's output are the same alone,
/// among others, and in a session that did something else before.
#[test]
fn rows_are_independent() {
    for (name, graph) in models::<f32>() {
        let p = parameters::<f32>(graph.layout(), 5);
        let mut run = Run::new(&graph);
        let all = run.output(&p);
        let (per_row, per_output) = (run.x.len() / ROWS, run.dy.len() / ROWS);
        let mut single = Session::new(graph.clone(), 1).unwrap();
        let mut y = vec![0.0; per_output];
        for row in [2, 0, 1] {
            single.dropout(Some(([1, 2], 3 + row as u64)));
            single.forward(
                &p,
                &run.x[row * per_row..][..per_row],
                &TIMES[row..=row],
                &mut y,
            );
            assert!(
                y == all[row * per_output..][..per_output],
                "{name}: row {row}"
            );
        }
        // fewer rows than the session has room for
        let mut two = vec![0.0; 2 * per_output];
        run.session
            .forward(&p, &run.x[..2 * per_row], &TIMES[..2], &mut two);
        assert!(two == all[..2 * per_output], "{name}");
    }
}

/// Catches a field that is not checked: every refusal names the field and the value.
#[test]
fn shapes_are_refused_when_a_network_is_built() {
    let good = UNet::small(2, 1, [8, 8]);
    let refused = |net: UNet, name: &str| {
        let text = net.build::<f32>().err().unwrap().to_string();
        assert!(
            text.contains(&format!("`{name}`")) && text.contains("allowed"),
            "{text}"
        );
    };
    refused(
        UNet {
            inputs: 0,
            ..good.clone()
        },
        "inputs",
    );
    refused(
        UNet {
            outputs: 65,
            ..good.clone()
        },
        "outputs",
    );
    refused(
        UNet {
            base: 24,
            ..good.clone()
        },
        "base",
    );
    refused(
        UNet {
            mult: vec![],
            ..good.clone()
        },
        "mult",
    );
    refused(
        UNet {
            mult: vec![1, 99],
            ..good.clone()
        },
        "mult",
    );
    refused(
        UNet {
            blocks: 0,
            ..good.clone()
        },
        "blocks",
    );
    refused(
        UNet {
            embedding: 100,
            ..good.clone()
        },
        "embedding",
    );
    refused(
        UNet {
            groups: 5,
            ..good.clone()
        },
        "groups",
    );
    refused(
        UNet {
            dropout: f64::NAN,
            ..good.clone()
        },
        "dropout",
    );
    refused(
        UNet {
            size: [0, 8],
            ..good.clone()
        },
        "size",
    );
    let text = Mlp {
        inputs: 4,
        outputs: 2,
        width: 20,
        depth: 1,
        residual: true,
    }
    .build::<f32>()
    .err()
    .unwrap()
    .to_string();
    assert!(text.contains("`width` is 20"), "{text}");
    assert!(Session::new(Arc::new(good.build::<f32>().unwrap()), 0).is_err());
    assert!(Session::forward_only(Arc::new(good.build::<f32>().unwrap()), 0).is_err());
}

/// Catches weights transformed for the wrong pass, memory of one pass that another relies on, and a
/// loop that is not the same convolution: a session gives outputs and gradients of the direct
/// loops, in f64 to 1e-12 of the largest number; with `direct` their very bits, which networks
/// without large images have in either way.
#[test]
fn winograds_way_is_the_direct_one() {
    for (name, graph) in models::<f64>() {
        let p = parameters::<f64>(graph.layout(), 5);
        let mut run = Run::new(&graph);
        run.session.direct(true);
        let (y, (g, dx)) = (run.output(&p), run.gradients(&p));
        run.session.direct(false);
        // for other weights first
        run.output(&parameters::<f64>(graph.layout(), 6));
        let (y2, (g2, dx2)) = (run.output(&p), run.gradients(&p));
        for (a, b) in [(&y, &y2), (&g, &g2), (&dx, &dx2)] {
            let size = largest(a);
            assert!(
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * size),
                "{name}"
            );
        }
        let large = ["unet", "unet of colours", "unet of odd size", "wide unet"].contains(&name);
        assert_eq!(y == y2, !large, "{name}");
        run.session.direct(true);
        assert!(
            run.output(&p) == y && run.gradients(&p) == (g, dx),
            "{name}"
        );
    }
}
