//! The bench's U-Net in candle, on its CPU device.
//!
//! What candle has not is given in its favour: clipping by global norm is written here with one
//! read of the norm a step; upsampling is a broadcast, since the gradient of `upsample_nearest2d`
//! runs one convolution a channel.
use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{Conv2d, Conv2dConfig, GroupNorm, Linear, Module, Optimizer, VarBuilder, VarMap};
use peer_nets::{Args, Config, Draw, judge, truth};
use std::collections::HashMap;

fn conv(cin: usize, cout: usize, k: usize, stride: usize, vb: VarBuilder) -> Result<Conv2d> {
    candle_nn::conv2d(
        cin,
        cout,
        k,
        Conv2dConfig {
            padding: k / 2,
            stride,
            ..Default::default()
        },
        vb,
    )
}

struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    skip: Option<Conv2d>,
}

impl Block {
    fn new(cin: usize, cout: usize, emb: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            norm1: candle_nn::group_norm(8, cin, 1e-5, vb.pp("norm1"))?,
            conv1: conv(cin, cout, 3, 1, vb.pp("conv1"))?,
            time: candle_nn::linear(emb, cout, vb.pp("time"))?,
            norm2: candle_nn::group_norm(8, cout, 1e-5, vb.pp("norm2"))?,
            conv2: conv(cout, cout, 3, 1, vb.pp("conv2"))?,
            skip: if cin == cout {
                None
            } else {
                Some(conv(cin, cout, 1, 1, vb.pp("skip"))?)
            },
        })
    }

    fn forward(&self, h: &Tensor, e: &Tensor) -> Result<Tensor> {
        let time = self.time.forward(e)?.unsqueeze(2)?.unsqueeze(3)?;
        let y = self
            .conv1
            .forward(&self.norm1.forward(h)?.silu()?)?
            .broadcast_add(&time)?;
        let y = self.conv2.forward(&self.norm2.forward(&y)?.silu()?)?;
        let y = match &self.skip {
            Some(skip) => (skip.forward(h)? + y)?,
            None => (h + y)?,
        };
        y * 0.5f64.sqrt()
    }
}

struct Attention {
    norm: GroupNorm,
    qkv: Conv2d,
    out: Conv2d,
}

impl Attention {
    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        let (b, c, y, x) = h.dims4()?;
        let qkv = self
            .qkv
            .forward(&self.norm.forward(h)?)?
            .reshape((b, 3, c, y * x))?;
        let part = |i| qkv.narrow(1, i, 1)?.squeeze(1)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let a = candle_nn::ops::softmax(&(q.t()?.matmul(&k)? * (c as f64).powf(-0.5))?, D::Minus1)?;
        let o = self
            .out
            .forward(&v.matmul(&a.t()?)?.reshape((b, c, y, x))?)?;
        (h + o)? * 0.5f64.sqrt()
    }
}

enum Stage {
    Block(Block),
    Conv(Conv2d),
}

struct UNet {
    freq: Tensor,
    emb: (Linear, Linear),
    inp: Conv2d,
    down: Vec<Stage>,
    mid: (Block, Attention, Block),
    up: Vec<Stage>,
    norm: GroupNorm,
    out: Conv2d,
}

impl UNet {
    fn new(c: &Config, vb: VarBuilder) -> Result<Self> {
        let freq: Vec<f32> = (0..32)
            .map(|k| (k as f64 / 31.0 * 1000f64.ln()).exp() as f32)
            .collect();
        let (mut widths, mut w, mut down, mut up) = (vec![c.base], c.base, Vec::new(), Vec::new());
        for (i, m) in c.mult.iter().enumerate() {
            for _ in 0..c.blocks {
                let at = vb.pp("down").pp(down.len());
                down.push(Stage::Block(Block::new(w, c.base * m, c.emb, at)?));
                w = c.base * m;
                widths.push(w);
            }
            if i + 1 < c.mult.len() {
                let at = vb.pp("down").pp(down.len());
                down.push(Stage::Conv(conv(w, w, 3, 2, at)?));
                widths.push(w);
            }
        }
        let at = vb.pp("mid").pp(1);
        let attention = Attention {
            norm: candle_nn::group_norm(8, w, 1e-5, at.pp("norm"))?,
            qkv: conv(w, 3 * w, 1, 1, at.pp("qkv"))?,
            out: conv(w, w, 1, 1, at.pp("out"))?,
        };
        let mid = (
            Block::new(w, w, c.emb, vb.pp("mid").pp(0))?,
            attention,
            Block::new(w, w, c.emb, vb.pp("mid").pp(2))?,
        );
        for (i, m) in c.mult.iter().enumerate().rev() {
            for _ in 0..c.blocks + 1 {
                let at = vb.pp("up").pp(up.len());
                up.push(Stage::Block(Block::new(
                    w + widths.pop().unwrap(),
                    c.base * m,
                    c.emb,
                    at,
                )?));
                w = c.base * m;
            }
            if i > 0 {
                let at = vb.pp("up").pp(up.len());
                up.push(Stage::Conv(conv(w, w, 3, 1, at)?));
            }
        }
        Ok(Self {
            freq: Tensor::from_vec(freq, (1, 32), vb.device())?,
            emb: (
                candle_nn::linear(64, c.emb, vb.pp("emb").pp(0))?,
                candle_nn::linear(c.emb, c.emb, vb.pp("emb").pp(2))?,
            ),
            inp: conv(2 * c.channels, c.base, 3, 1, vb.pp("inp"))?,
            down,
            mid,
            up,
            norm: candle_nn::group_norm(8, w, 1e-5, vb.pp("norm"))?,
            out: conv(w, c.channels, 3, 1, vb.pp("out"))?,
        })
    }

    fn forward(&self, u: &Tensor, t: &Tensor) -> Result<Tensor> {
        let a = t.log()?.unsqueeze(1)?.broadcast_mul(&self.freq)?;
        let e = self
            .emb
            .0
            .forward(&Tensor::cat(&[a.sin()?, a.cos()?], 1)?)?
            .silu()?;
        // every block starts with the same SiLU of the embedding
        let e = self.emb.1.forward(&e)?.silu()?;
        let mut h = self.inp.forward(u)?;
        let mut hs = vec![h.clone()];
        for stage in &self.down {
            h = match stage {
                Stage::Block(b) => b.forward(&h, &e)?,
                Stage::Conv(c) => c.forward(&h)?,
            };
            hs.push(h.clone());
        }
        h = self
            .mid
            .2
            .forward(&self.mid.1.forward(&self.mid.0.forward(&h, &e)?)?, &e)?;
        for stage in &self.up {
            h = match stage {
                Stage::Block(b) => {
                    let s = hs.pop().unwrap();
                    let (_, _, y, x) = s.dims4()?;
                    if h.dim(2)? != y {
                        h = h.narrow(2, 0, y)?;
                    }
                    if h.dim(3)? != x {
                        h = h.narrow(3, 0, x)?;
                    }
                    b.forward(&Tensor::cat(&[&h, &s], 1)?, &e)?
                }
                Stage::Conv(c) => {
                    let (n, k, y, x) = h.dims4()?;
                    let wide = h
                        .contiguous()?
                        .reshape((n, k, y, 1, x, 1))?
                        .broadcast_as((n, k, y, 2, x, 2))?
                        .reshape((n, k, 2 * y, 2 * x))?;
                    c.forward(&wide)?
                }
            };
        }
        self.out.forward(&self.norm.forward(&h)?.silu()?)
    }
}

fn main() -> Result<()> {
    let args = Args::read(&["cpu"]);
    let device = Device::Cpu;
    let mut map = VarMap::new();
    let build =
        |map: &VarMap, c: &Config| UNet::new(c, VarBuilder::from_varmap(map, DType::F32, &device));
    if let Some(path) = &args.verify {
        let (config, truth) = truth(path);
        let net = build(&map, &config)?;
        let tensor =
            |name: &str| Tensor::from_slice(&truth[name].1, truth[name].0.as_slice(), &device);
        let names: Vec<String> = map.data().lock().unwrap().keys().cloned().collect();
        for name in &names {
            map.set_one(name, tensor(&format!("param.{name}"))?)?;
        }
        let u = Var::from_tensor(&tensor("u")?)?;
        let y = net.forward(&u, &tensor("t")?)?;
        let grads = (&y * tensor("dy")?)?.sum_all()?.backward()?;
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let mut all: HashMap<String, Vec<f32>> = HashMap::new();
        for (name, var) in map.data().lock().unwrap().iter() {
            all.insert(name.clone(), flat(grads.get(var).expect("gradient"))?);
        }
        all.insert("u".into(), flat(grads.get(&u).expect("gradient"))?);
        judge(&truth, &flat(&y)?, &all);
        return Ok(());
    }
    let net = build(&map, &Config::default())?;
    let mut draw = Draw(1);
    let (b, s) = (args.batch, args.size);
    let u = Tensor::from_vec(draw.normal(b * 2 * s * s, 1.0), (b, 2, s, s), &device)?;
    let t = Tensor::from_vec(draw.times(b), b, &device)?;
    let eps = Tensor::from_vec(draw.normal(b * s * s, 1.0), (b, 1, s, s), &device)?;
    // as in PyTorch's file the last layer starts at zero
    for name in ["out.weight", "out.bias"] {
        let shape = map.data().lock().unwrap()[name].shape().clone();
        map.set_one(name, Tensor::zeros(shape, DType::F32, &device)?)?;
    }
    let vars = map.all_vars();
    let ema = vars
        .iter()
        .map(|v| Var::from_tensor(&v.as_detached_tensor()))
        .collect::<Result<Vec<_>>>()?;
    let config = candle_nn::ParamsAdamW {
        lr: 2e-4,
        weight_decay: 0.0,
        ..Default::default()
    };
    let mut opt = candle_nn::AdamW::new(vars.clone(), config)?;
    args.time("train", || {
        let mut step = || -> Result<()> {
            let loss = ((net.forward(&u, &t)? - &eps)?.sqr()?.sum_all()? / b as f64)?;
            let mut grads = loss.backward()?;
            let mut squares = Vec::new();
            for v in &vars {
                if let Some(g) = grads.get(v) {
                    squares.push(g.sqr()?.sum_all()?);
                }
            }
            let norm = Tensor::stack(&squares, 0)?
                .sum_all()?
                .to_scalar::<f32>()?
                .sqrt();
            if norm > 1.0 {
                for v in &vars {
                    if let Some(g) = grads.get(v) {
                        let g = (g * (1.0 / norm as f64))?;
                        grads.insert(v, g);
                    }
                }
            }
            opt.step(&grads)?;
            for (e, v) in ema.iter().zip(&vars) {
                let (p, q) = (v.as_detached_tensor(), e.as_detached_tensor());
                e.set(&(&q + ((p - &q)? * 1e-4)?)?)?;
            }
            Ok(())
        };
        step().expect("step");
    });
    // no gradient: candle records none if nothing is a variable
    let fixed: HashMap<String, Tensor> = map
        .data()
        .lock()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), v.as_detached_tensor()))
        .collect();
    let net = UNet::new(
        &Config::default(),
        VarBuilder::from_tensors(fixed, DType::F32, &device),
    )?;
    args.time("eval", || drop(net.forward(&u, &t).expect("forward")));
    args.report(vars.iter().map(|v| v.elem_count()).sum(), "candle 0.11.1");
    Ok(())
}
