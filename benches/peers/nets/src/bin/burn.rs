//! The bench's U-Net in burn, on the backend `--backend`: `flex` (pure Rust, burn's own advice for
//! CPUs), `ndarray` (deprecated in 0.22).
//!
//! What burn has not is written here: clipping by global norm (burn clips each parameter alone),
//! with one read of the norm a step, and EMA.
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};
use peer_nets::{Args, Config, Draw, Recorded, judge, truth};
use std::collections::HashMap;

fn upsample(h: Tensor<4>) -> Tensor<4> {
    interpolate(
        h,
        InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]),
    )
}

/// Builds layers, with the recorded weights if there are any.
struct Build<'a> {
    device: &'a Device,
    weights: Option<&'a HashMap<String, Recorded>>,
}

impl Build<'_> {
    fn set<const N: usize>(&self, name: &str, to: &mut Param<Tensor<N>>, transpose: bool) {
        if let Some(w) = self.weights {
            let (shape, values) = &w[&format!("param.{name}")];
            let t =
                Tensor::<N>::from_data(TensorData::new(values.clone(), shape.clone()), self.device);
            let t = if transpose { t.swap_dims(0, 1) } else { t };
            *to = Param::from_data(t.into_data(), self.device);
        }
    }

    fn conv(&self, cin: usize, cout: usize, k: usize, stride: usize, name: &str) -> Conv2d {
        let padding = PaddingConfig2d::Explicit(k / 2, k / 2, k / 2, k / 2);
        let mut c = Conv2dConfig::new([cin, cout], [k, k])
            .with_stride([stride, stride])
            .with_padding(padding)
            .init(self.device);
        self.set(&format!("{name}.weight"), &mut c.weight, false);
        self.set(&format!("{name}.bias"), c.bias.as_mut().unwrap(), false);
        c
    }

    fn norm(&self, c: usize, name: &str) -> GroupNorm {
        let mut n = GroupNormConfig::new(8, c).init(self.device);
        self.set(&format!("{name}.weight"), n.gamma.as_mut().unwrap(), false);
        self.set(&format!("{name}.bias"), n.beta.as_mut().unwrap(), false);
        n
    }

    fn linear(&self, cin: usize, cout: usize, name: &str) -> Linear {
        let mut l = LinearConfig::new(cin, cout).init(self.device);
        self.set(&format!("{name}.weight"), &mut l.weight, true);
        self.set(&format!("{name}.bias"), l.bias.as_mut().unwrap(), false);
        l
    }

    fn block(&self, cin: usize, cout: usize, emb: usize, name: &str) -> Block {
        Block {
            norm1: self.norm(cin, &format!("{name}.norm1")),
            conv1: self.conv(cin, cout, 3, 1, &format!("{name}.conv1")),
            time: self.linear(emb, cout, &format!("{name}.time")),
            norm2: self.norm(cout, &format!("{name}.norm2")),
            conv2: self.conv(cout, cout, 3, 1, &format!("{name}.conv2")),
            skip: (cin != cout).then(|| self.conv(cin, cout, 1, 1, &format!("{name}.skip"))),
        }
    }

    fn unet(&self, c: &Config) -> UNet {
        let (mut widths, mut w, mut down, mut up) = (vec![c.base], c.base, Vec::new(), Vec::new());
        for (i, m) in c.mult.iter().enumerate() {
            for _ in 0..c.blocks {
                let name = format!("down.{}", down.len());
                down.push(Stage {
                    block: Some(self.block(w, c.base * m, c.emb, &name)),
                    conv: None,
                });
                w = c.base * m;
                widths.push(w);
            }
            if i + 1 < c.mult.len() {
                let name = format!("down.{}", down.len());
                down.push(Stage {
                    block: None,
                    conv: Some(self.conv(w, w, 3, 2, &name)),
                });
                widths.push(w);
            }
        }
        let attention = Attention {
            norm: self.norm(w, "mid.1.norm"),
            qkv: self.conv(w, 3 * w, 1, 1, "mid.1.qkv"),
            out: self.conv(w, w, 1, 1, "mid.1.out"),
        };
        let (mid0, mid2) = (
            self.block(w, w, c.emb, "mid.0"),
            self.block(w, w, c.emb, "mid.2"),
        );
        for (i, m) in c.mult.iter().enumerate().rev() {
            for _ in 0..c.blocks + 1 {
                let name = format!("up.{}", up.len());
                up.push(Stage {
                    block: Some(self.block(w + widths.pop().unwrap(), c.base * m, c.emb, &name)),
                    conv: None,
                });
                w = c.base * m;
            }
            if i > 0 {
                let name = format!("up.{}", up.len());
                up.push(Stage {
                    block: None,
                    conv: Some(self.conv(w, w, 3, 1, &name)),
                });
            }
        }
        UNet {
            emb0: self.linear(64, c.emb, "emb.0"),
            emb2: self.linear(c.emb, c.emb, "emb.2"),
            inp: self.conv(2 * c.channels, c.base, 3, 1, "inp"),
            down,
            mid0,
            attention,
            mid2,
            up,
            norm: self.norm(w, "norm"),
            out: self.conv(w, c.channels, 3, 1, "out"),
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    skip: Option<Conv2d>,
}

impl Block {
    fn forward(&self, h: Tensor<4>, e: Tensor<2>) -> Tensor<4> {
        let time = self.time.forward(e).unsqueeze_dims(&[2, 3]);
        let y = self.conv1.forward(silu(self.norm1.forward(h.clone()))) + time;
        let y = self.conv2.forward(silu(self.norm2.forward(y)));
        let h = match &self.skip {
            Some(skip) => skip.forward(h),
            None => h,
        };
        (h + y) * 0.5f64.sqrt()
    }
}

#[derive(Module, Debug)]
struct Attention {
    norm: GroupNorm,
    qkv: Conv2d,
    out: Conv2d,
}

impl Attention {
    fn forward(&self, h: Tensor<4>) -> Tensor<4> {
        let [b, c, y, x] = h.dims();
        let qkv: Tensor<4> =
            self.qkv
                .forward(self.norm.forward(h.clone()))
                .reshape([b, 3, c, y * x]);
        let [q, k, v]: [Tensor<3>; 3] = qkv
            .chunk(3, 1)
            .into_iter()
            .map(|p| p.squeeze_dim(1))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let a = softmax(q.swap_dims(1, 2).matmul(k) * (c as f64).powf(-0.5), 2);
        (h + self
            .out
            .forward(v.matmul(a.swap_dims(1, 2)).reshape([b, c, y, x])))
            * 0.5f64.sqrt()
    }
}

/// One of the two.
#[derive(Module, Debug)]
struct Stage {
    block: Option<Block>,
    conv: Option<Conv2d>,
}

#[derive(Module, Debug)]
struct UNet {
    emb0: Linear,
    emb2: Linear,
    inp: Conv2d,
    down: Vec<Stage>,
    mid0: Block,
    attention: Attention,
    mid2: Block,
    up: Vec<Stage>,
    norm: GroupNorm,
    out: Conv2d,
}

impl UNet {
    fn forward(&self, u: Tensor<4>, t: Tensor<1>) -> Tensor<4> {
        let freq: Vec<f32> = (0..32)
            .map(|k| (k as f64 / 31.0 * 1000f64.ln()).exp() as f32)
            .collect();
        let freq = Tensor::<2>::from_data(TensorData::new(freq, [1, 32]), &t.device());
        let a = t.log().unsqueeze_dim::<2>(1) * freq;
        let e = silu(
            self.emb0
                .forward(Tensor::cat(vec![a.clone().sin(), a.cos()], 1)),
        );
        // every block starts with the same SiLU of the embedding
        let e = silu(self.emb2.forward(e));
        let mut h = self.inp.forward(u);
        let mut hs = vec![h.clone()];
        for stage in &self.down {
            h = match (&stage.block, &stage.conv) {
                (Some(b), _) => b.forward(h, e.clone()),
                (_, c) => c.as_ref().unwrap().forward(h),
            };
            hs.push(h.clone());
        }
        h = self.mid2.forward(
            self.attention.forward(self.mid0.forward(h, e.clone())),
            e.clone(),
        );
        for stage in &self.up {
            h = match (&stage.block, &stage.conv) {
                (Some(b), _) => {
                    let s = hs.pop().unwrap();
                    let [_, _, y, x] = s.dims();
                    if h.dims()[2] != y || h.dims()[3] != x {
                        h = h.narrow(2, 0, y).narrow(3, 0, x);
                    }
                    b.forward(Tensor::cat(vec![h, s], 1), e.clone())
                }
                (_, c) => c.as_ref().unwrap().forward(upsample(h)),
            };
        }
        self.out.forward(silu(self.norm.forward(h)))
    }
}

/// Sum of squares of all gradients.
struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const N: usize>(&mut self, p: &Param<Tensor<N>>) {
        if let Some(g) = self.0.get::<N>(p.id) {
            self.1.push(g.square().sum());
        }
    }
}

struct Scale<'a>(&'a mut GradientsParams, f32);

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const N: usize>(&mut self, p: &Param<Tensor<N>>) {
        if let Some(g) = self.0.remove::<N>(p.id) {
            self.0.register(p.id, g * self.1);
        }
    }
}

/// The mean of the parameters, by their id.
struct Ema<'a>(&'a mut GradientsParams);

impl ModuleVisitor for Ema<'_> {
    fn visit_float<const N: usize>(&mut self, p: &Param<Tensor<N>>) {
        let value = p.val().inner();
        let mean = match self.0.remove::<N>(p.id) {
            Some(e) => e.clone() + (value - e) * 1e-4,
            None => value,
        };
        self.0.register(p.id, mean);
    }
}

/// Gradients by the names of the recorded truth.
struct Named<'a> {
    grads: &'a GradientsParams,
    path: Vec<String>,
    linear: bool,
    out: HashMap<String, Vec<f32>>,
}

impl ModuleVisitor for Named<'_> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.linear |= kind == "Struct:Linear";
        self.path.push(name.to_string());
    }
    fn exit_module(&mut self, _: &str, kind: &str) {
        self.linear &= kind != "Struct:Linear";
        self.path.pop();
    }
    fn visit_float<const N: usize>(&mut self, p: &Param<Tensor<N>>) {
        let names = [
            ("emb0", "emb.0"),
            ("emb2", "emb.2"),
            ("mid0", "mid.0"),
            ("mid2", "mid.2"),
            ("attention", "mid.1"),
            ("gamma", "weight"),
            ("beta", "bias"),
        ];
        let parts = self
            .path
            .iter()
            .filter(|p| !["block", "conv"].contains(&p.as_str()));
        let parts: Vec<_> = parts
            .map(|p| names.iter().find(|n| n.0 == p).map_or(p.as_str(), |n| n.1))
            .collect();
        let mut g = self.grads.get::<N>(p.id).expect("gradient");
        if self.linear && N == 2 {
            g = g.swap_dims(0, 1);
        }
        self.out
            .insert(parts.join("."), g.into_data().iter::<f32>().collect());
    }
}

fn main() {
    let args = Args::read(&["flex", "ndarray"]);
    #[allow(deprecated)]
    let plain = if args.backend == "flex" {
        Device::flex()
    } else {
        Device::ndarray()
    };
    let device = plain.clone().autodiff();
    if let Some(path) = &args.verify {
        let (config, truth) = truth(path);
        let net = Build {
            device: &device,
            weights: Some(&truth),
        }
        .unet(&config);
        let data = |name: &str| TensorData::new(truth[name].1.clone(), truth[name].0.clone());
        let u = Tensor::<4>::from_data(data("u"), &device).require_grad();
        let y = net.forward(u.clone(), Tensor::from_data(data("t"), &device));
        let mut grads = (y.clone() * Tensor::from_data(data("dy"), &device))
            .sum()
            .backward();
        let du = u.grad_remove(&mut grads).expect("gradient");
        let grads = GradientsParams::from_grads(grads, &net);
        let mut named = Named {
            grads: &grads,
            path: Vec::new(),
            linear: false,
            out: HashMap::new(),
        };
        net.visit(&mut named);
        let mut all = named.out;
        all.insert("u".into(), du.into_data().iter::<f32>().collect());
        return judge(
            &truth,
            &y.into_data().iter::<f32>().collect::<Vec<_>>(),
            &all,
        );
    }
    let mut net = Build {
        device: &device,
        weights: None,
    }
    .unet(&Config::default());
    // as in PyTorch's file the last layer starts at zero
    net.out.weight = Param::from_tensor(Tensor::zeros(net.out.weight.dims(), &device));
    net.out.bias = Some(Param::from_tensor(Tensor::zeros([1], &device)));
    let mut draw = Draw(1);
    let (b, s) = (args.batch, args.size);
    let u = TensorData::new(draw.normal(b * 2 * s * s, 1.0), [b, 2, s, s]);
    let t = TensorData::new(draw.times(b), [b]);
    let eps = Tensor::<4>::from_data(
        TensorData::new(draw.normal(b * s * s, 1.0), [b, 1, s, s]),
        &device,
    );
    let mut opt = AdamConfig::new().with_epsilon(1e-8).init();
    let mut ema = GradientsParams::new();
    net.visit(&mut Ema(&mut ema));
    let parameters = net.num_params();
    let (wide_u, wide_t) = (
        Tensor::<4>::from_data(u.clone(), &device),
        Tensor::<1>::from_data(t.clone(), &device),
    );
    let mut kept = Some(net);
    args.time("train", || {
        let net = kept.take().unwrap();
        let loss = (net.forward(wide_u.clone(), wide_t.clone()) - eps.clone())
            .square()
            .sum()
            / b as f64;
        let mut grads = GradientsParams::from_grads(loss.backward(), &net);
        let mut squares = Squares(&grads, Vec::new());
        net.visit(&mut squares);
        let norm = Tensor::cat(squares.1, 0).sum().into_scalar::<f32>().sqrt();
        if norm > 1.0 {
            net.visit(&mut Scale(&mut grads, 1.0 / norm));
        }
        let net = opt.step(2e-4, net, grads);
        net.visit(&mut Ema(&mut ema));
        kept = Some(net);
    });
    let net = kept.unwrap().valid();
    let (u, t) = (
        Tensor::<4>::from_data(u, &plain),
        Tensor::<1>::from_data(t, &plain),
    );
    args.time("eval", || {
        drop(net.forward(u.clone(), t.clone()).into_data())
    });
    args.report(parameters, "burn 0.22.1");
}
