//! The network, its layers and its optimiser against numbers recorded from PyTorch in f64
//! (`fixtures/nn`).

use cld_sgm::internal::simd::loops::matrix;
use cld_sgm::internal::simd::loops::pointwise::{AdamStep, adam, sum_of_squares};
use cld_sgm::internal::simd::{Real, Set};
use cld_sgm::internal::worst::{Worst, is_worse, largest, worse};
use cld_sgm::nn::With;
use cld_sgm::nn::adam::Adam;
use cld_sgm::nn::graph::Id;
use cld_sgm::nn::{Builder, Graph, Session, UNet};
use std::collections::HashMap;
use std::sync::Arc;

struct Recorded {
    config: serde_json::Value,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Recorded {
    fn open(name: &str) -> Recorded {
        let bytes = std::fs::read(format!(
            "{}/fixtures/nn/{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        let (head, rest) = bytes.split_at(8);
        let (head, data) = rest.split_at(u64::from_le_bytes(head.try_into().unwrap()) as usize);
        let head: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(head).unwrap();
        let mut tensors = HashMap::new();
        for (name, entry) in head.iter().filter(|e| e.0 != "__metadata__") {
            let numbers = |key: &str| {
                entry[key]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_u64().unwrap() as usize)
                    .collect::<Vec<_>>()
            };
            let (shape, at) = (numbers("shape"), numbers("data_offsets"));
            let data = &data[at[0]..at[1]];
            let values = match entry["dtype"].as_str().unwrap() {
                "F64" => data
                    .chunks_exact(8)
                    .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                "F32" => data
                    .chunks_exact(4)
                    .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                    .collect(),
                "BF16" => data
                    .chunks_exact(2)
                    .map(|b| {
                        f64::from(f32::from_bits(
                            u32::from(u16::from_le_bytes([b[0], b[1]])) << 16,
                        ))
                    })
                    .collect(),
                other => panic!("{name}: {other}"),
            };
            tensors.insert(name.clone(), (shape, values));
        }
        Recorded {
            config: serde_json::from_str(head["__metadata__"]["config"].as_str().unwrap()).unwrap(),
            tensors,
        }
    }

    fn of<T: Real>(&self, name: &str) -> Vec<T> {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not recorded"))
            .1
            .iter()
            .map(|x| T::of(*x))
            .collect()
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].0
    }
}

/// The largest difference over the largest number.
fn off<T: Real>(got: &[T], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let worst: Worst = got
        .iter()
        .zip(want)
        .map(|(g, w)| (g.f64() - w).abs())
        .collect();
    worst.value() / largest(want)
}

/// A graph against a record: parameters are called `own` in the graph and `{case}param.`,
/// `{case}grad.` in the record. Returns how far the output and the farthest of all gradients are
/// off, and which one that is.
fn compare<T: Real>(
    graph: Graph<T>,
    record: &Recorded,
    case: &str,
    own: &str,
    input: &str,
    times: &[f64],
) -> (f64, f64, String) {
    let (graph, x) = (Arc::new(graph), record.of::<T>(&format!("{case}{input}")));
    let layout = graph.layout().clone();
    let (mut p, mut turned, mut g) = (
        vec![T::default(); layout.len()],
        vec![T::default(); layout.len()],
        vec![T::default(); layout.len()],
    );
    let names: Vec<String> = layout
        .entries()
        .iter()
        .map(|e| e.name.strip_prefix(own).unwrap().to_string())
        .collect();
    for (i, name) in names.iter().enumerate() {
        let name = format!("{case}param.{name}");
        let e = &layout.entries()[i];
        assert_eq!(e.shape, record.shape(&name), "{name}");
        layout.write(&mut p, i, &record.of::<T>(&name)).unwrap();
    }
    let recorded = record
        .tensors
        .keys()
        .filter(|k| k.starts_with(&format!("{case}param.")))
        .count();
    assert_eq!(recorded, names.len(), "{case}: parameters");
    let mut session = Session::new(graph.clone(), times.len()).unwrap();
    let dy = record.of::<T>(&format!("{case}dy"));
    let (mut y, mut dx) = (vec![T::default(); dy.len()], vec![T::default(); x.len()]);
    session.forward(&p, &x, times, &mut y);
    graph.turn(&p, &mut turned);
    session.backward(&p, &turned, &dy, &mut g, Some(&mut dx));
    let mut worst = (
        off(&dx, &record.of::<f64>(&format!("{case}grad.{input}"))),
        input.to_string(),
    );
    for (i, name) in names.iter().enumerate() {
        let got = layout.read(&g, i);
        let d = match record.tensors.get(&format!("{case}grad.{name}")) {
            Some(whole) => off(&got, &whole.1),
            // of the larger ones every fifth number is recorded
            None => off(
                &got.into_iter().step_by(5).collect::<Vec<_>>(),
                &record.of::<f64>(&format!("{case}grad5.{name}")),
            ),
        };
        if is_worse(d, worst.0) {
            worst = (d, name.clone());
        }
    }
    (
        off(&y, &record.of::<f64>(&format!("{case}y"))),
        worst.0,
        worst.1,
    )
}

fn unet<T: Real>(name: &str) -> (f64, f64, String) {
    let record = Recorded::open(name);
    let number = |key: &str| record.config[key].as_u64().unwrap() as usize;
    let mult = record.config["mult"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_u64().unwrap() as usize)
        .collect();
    let (c, size) = (number("channels"), number("size"));
    let net = UNet {
        base: number("base"),
        mult,
        blocks: number("blocks"),
        embedding: number("emb"),
        ..UNet::small(2 * c, c, [size, size])
    };
    compare(
        net.build::<T>().unwrap(),
        &record,
        "",
        "",
        "u",
        &record.of::<f64>("t"),
    )
}

/// Catches any difference of the network from the one of PyTorch that it is to be, such as another
/// place of the time's embedding, order of channels beside each other, scale of attention, epsilon
/// of a norm, or name of a parameter: output, gradient of the input and of every parameter. In f64
/// the output agrees to 1.3e-13; gradients of parameters are recorded in f32, half a unit of which
/// is 6e-8 of a number.
#[test]
fn unets_in_f64_are_those_of_pytorch() {
    for name in ["unet", "unet_rgb"] {
        let (output, gradient, which) = unet::<f64>(name);
        println!("{name}: output {output:.1e}, gradients {gradient:.1e} ({which})");
        assert!(output <= 1e-12, "{name}: output is off by {output:e}");
        assert!(
            gradient <= 1e-7,
            "{name}: gradient of {which} is off by {gradient:e}"
        );
    }
}

/// Catches a loop that loses digits in f32 only. Bounds: those of the project, 1e-5 for the output
/// and 1e-4 for gradients; PyTorch in f32 has 1e-5 and 2e-4, because it computes the angles of the
/// time's features in f32, which reach 6900.
#[test]
fn unets_in_f32_are_those_of_pytorch() {
    for name in ["unet", "unet_rgb"] {
        let (output, gradient, which) = unet::<f32>(name);
        println!("{name}: output {output:.1e}, gradients {gradient:.1e} ({which})");
        assert!(output <= 1e-5, "{name}: output is off by {output:e}");
        assert!(
            gradient <= 1e-4,
            "{name}: gradient of {which} is off by {gradient:e}"
        );
    }
}

/// From an input, its channels and those of the output.
type Build<'a, T> = dyn Fn(&mut Builder<T>, Id, usize, usize) -> Id + 'a;

/// Each layer alone: how far output and gradients are off.
fn layers<T: Real>() -> Vec<(&'static str, f64, f64, String)> {
    let record = Recorded::open("layers");
    let mut out = vec![];
    let mut layer = |case: &'static str, own: &str, build: &Build<'_, T>| {
        let name = |part: &str| record.shape(&format!("{case}.{part}")).to_vec();
        let (x, y) = (name("x"), name("y"));
        let (flat, outputs) = (x.len() == 2, y[1]);
        let inputs = if flat {
            [x[1], 1, 1]
        } else {
            [x[1], x[2], x[3]]
        };
        let (mut b, id) = Builder::<T>::new(inputs, flat);
        let id = build(&mut b, id, x[1], outputs);
        let (o, g, which) = compare(
            b.finish(id, outputs),
            &record,
            &format!("{case}."),
            own,
            "x",
            &vec![1.0; x[0]],
        );
        out.push((case, o, g, which));
    };
    let three = With {
        three: true,
        ..With::default()
    };
    for case in [
        "conv3_s1",
        "conv3_s1_wide",
        "conv3_first",
        "conv3_last",
        "conv3_one_pixel",
    ] {
        layer(case, "a.", &|b, x, i, o| b.conv("a", x, i, o, three));
    }
    for case in ["conv3_s2_even", "conv3_s2_odd"] {
        layer(case, "a.", &|b, x, i, o| {
            b.conv(
                "a",
                x,
                i,
                o,
                With {
                    half: true,
                    ..three
                },
            )
        });
    }
    for case in ["conv1", "linear"] {
        layer(case, "a.", &|b, x, i, o| {
            b.conv("a", x, i, o, With::default())
        });
    }
    for (case, silu) in [("norm48", false), ("norm32", false), ("norm_silu48", true)] {
        layer(case, "a.", &|b, x, _, _| b.norm("a", x, 8, silu));
    }
    layer("upsample", "", &|b, x, _, _| b.up(x));
    layer("attention", "a.", &|b, x, c, _| {
        let y = b.norm("a.norm", x, 8, false);
        let y = b.conv("a.qkv", y, c, 3 * c, With::default());
        let y = b.attention(y);
        b.conv(
            "a.out",
            y,
            c,
            c,
            With {
                residual: Some(x),
                ..With::default()
            },
        )
    });
    out
}

/// Catches a mistake in one layer that the rest of a network would hide or shift elsewhere: padding
/// and stride at odd and even sizes, one pixel, few channels in or out, groups across blocks of 16
/// channels, a variance taken as a difference of large numbers. In f64 all is within a few hundred
/// roundoffs; in f32 bounds as for PyTorch itself, whose worst are 5e-7 and 1e-6
/// (`fixtures/nn/README.md`), times four.
#[test]
fn layers_are_those_of_pytorch() {
    for (case, output, gradient, which) in layers::<f64>() {
        assert!(
            output <= 1e-13 && gradient <= 1e-13,
            "{case} in f64: output {output:e}, gradient of {which} {gradient:e}"
        );
    }
    for (case, output, gradient, which) in layers::<f32>() {
        println!("{case} in f32: output {output:.1e}, gradients {gradient:.1e} ({which})");
        assert!(
            output <= 2e-6 && gradient <= 4e-6,
            "{case} in f32: output {output:e}, gradient of {which} {gradient:e}"
        );
    }
}

/// Catches frequencies of the time's features in another order or ratio, or a logarithm of another
/// base; in f64 the angles reach 11500 (at t = 1e-5), where one roundoff is 1e-12.
#[test]
fn time_features_are_those_of_pytorch() {
    let record = Recorded::open("layers");
    let times = record.of::<f64>("features.t");
    let (mut b, _) = Builder::<f64>::new([16, 1, 1], true);
    let id = b.fourier();
    let mut session = Session::new(Arc::new(b.finish(id, 64)), times.len()).unwrap();
    let mut y = vec![0.0; 64 * times.len()];
    session.forward(&[], &vec![0.0; 16 * times.len()], &times, &mut y);
    let d = off(&y, &record.of::<f64>("features.y"));
    assert!(d <= 1e-11, "{d:e}");
}

/// Catches an exponential that overflows, or a row that is divided by another's sum: rows of logits
/// near 500, one of -300, and equal ones. SiLU likewise at 200 and beyond the range of exp. The
/// loops' exponential is within 2 units in the last place.
#[test]
fn softmax_and_silu_are_those_of_pytorch() {
    fn run<T: Real>(bound: f64) {
        let record = Recorded::open("layers");
        let (set, of) = (Set::current(), |name: &str| record.of::<T>(name));
        let [rows, n] = *record.shape("softmax.x") else {
            panic!("shape")
        };
        // the loops go along columns, sixteen at a time
        let turn = |x: Vec<T>| {
            let mut y = vec![T::default(); 16 * n];
            (0..rows * n).for_each(|i| y[i % n * 16 + i / n] = x[i]);
            y
        };
        let back = |x: &[T]| {
            (0..rows * n)
                .map(|i| x[i % n * 16 + i / n])
                .collect::<Vec<_>>()
        };
        let mut s = turn(of("softmax.x"));
        matrix::softmax(set, &mut s, n, 16);
        let d = off(&back(&s), &record.of("softmax.y"));
        assert!(d <= bound, "softmax: {d:e}");
        let mut g = turn(of("softmax.dy"));
        matrix::softmax_back(set, &s, &mut g, n, 16);
        let d = off(&back(&g), &record.of("softmax.grad.x"));
        assert!(d <= bound, "softmax's gradient: {d:e}");
        let x = of("silu.x");
        let (mut y, mut dx) = (x.clone(), vec![T::default(); x.len()]);
        cld_sgm::internal::simd::loops::pointwise::silu(set, &x, &mut y);
        cld_sgm::internal::simd::loops::pointwise::silu_back(set, &x, &of("silu.dy"), &mut dx);
        for (got, name) in [(y, "silu.y"), (dx, "silu.grad.x")] {
            let want = record.of::<f64>(name);
            // each number for itself: the largest is 200
            let d = got
                .iter()
                .zip(&want)
                .map(|(g, w)| (g.f64() - w).abs() / worse(w.abs(), 1.0))
                .collect::<Worst>()
                .value();
            assert!(d <= bound, "{name}: {d:e}");
        }
    }
    run::<f64>(1e-14);
    run::<f32>(2e-6);
}

/// Catches a bias correction of another step, an epsilon inside the root, decay that is coupled to
/// the gradient, a warm-up that begins at another step, clipping of each tensor for itself: five
/// steps of PyTorch's Adam and AdamW, with gradients of norms from 4e-4 to 1e2. PyTorch clips by 1
/// / (norm + 1e-6), which is 1e-6 off where the norm is 1; moments of the last step remember it.
/// The second moment is 1.3e-5 off, since 1 - 0.999 in f32 is.
#[test]
fn adam_is_that_of_pytorch() {
    let record = Recorded::open("adam");
    let number = |key: &str| record.config[key].as_f64().unwrap();
    let set = Set::current();
    for (case, decay) in [("adam", 0.0), ("adamw", number("decay"))] {
        let rule = Adam {
            rate: number("lr"),
            beta1: number("beta1"),
            beta2: number("beta2"),
            eps: number("eps"),
            warm_up: number("warmup") as u64,
            clip: number("clip"),
            cool_down: 0,
            end: 0,
            decay,
            average: 0.5,
        };
        let both = |name: &str| -> Vec<f32> {
            ["a", "b"]
                .iter()
                .flat_map(|t| record.of::<f32>(&format!("{t}.{name}")))
                .collect()
        };
        let mut p = both("start");
        let (mut m, mut v, mut ema) = (vec![0.0; p.len()], vec![0.0; p.len()], p.clone());
        for step in 0..number("steps") as usize {
            let row = |name: &str| -> Vec<f64> {
                let part = |tensor: &str| {
                    let all = record.of::<f64>(&if name == "grads" {
                        format!("{tensor}.{name}")
                    } else {
                        format!("{case}.{tensor}.{name}")
                    });
                    let n = all.len() / number("steps") as usize;
                    all[step * n..(step + 1) * n].to_vec()
                };
                [part("a"), part("b")].concat()
            };
            let g: Vec<f32> = row("grads").iter().map(|x| *x as f32).collect();
            let norm = sum_of_squares(set, &g).sqrt();
            let want = record.of::<f64>(&format!("{case}.norm"))[step];
            assert!(
                (norm - want).abs() <= 1e-6 * want,
                "{case}, step {step}: norm {norm}, not {want}"
            );
            assert!(
                (rule.rate_at(step as u64 + 1) - record.of::<f64>("lr")[step]).abs() <= 1e-15,
                "rate of step {step}"
            );
            // PyTorch's average moves by the same share at every step
            let now = AdamStep {
                average: number("ema") as f32,
                ..rule.step(step as u64 + 1, norm)
            };
            adam(set, now, &g, &mut p, &mut m, &mut v, &mut ema);
            for (name, got) in [("value", &p), ("m", &m), ("v", &v), ("ema", &ema)] {
                let (d, bound) = (off(got, &row(name)), if name == "v" { 2e-5 } else { 4e-6 });
                println!("{case}, step {step}, {name}: {d:.1e}");
                assert!(d <= bound, "{case}, step {step}, {name}: {d:e}");
            }
        }
    }
}
