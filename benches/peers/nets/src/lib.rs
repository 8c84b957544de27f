//! What both programs share: the command line, the clock, the printed lines and the reader of the
//! recorded truth.
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// The command line, as of `unet_torch.py`.
pub struct Args {
    pub threads: usize,
    pub size: usize,
    pub batch: usize,
    pub steps: usize,
    pub backend: String,
    pub verify: Option<PathBuf>,
}

impl Args {
    /// Reads the command line. Must be the first call of `main`: it sets the number of threads for
    /// rayon and for matrix products.
    pub fn read(backends: &[&str]) -> Self {
        let usage = format!(
            "usage: [--threads 2] [--size 28] [--batch 64] [--steps 10] [--backend {}] [--verify unet.safetensors]",
            backends.join("|")
        );
        let mut out = Self {
            threads: 2,
            size: 28,
            batch: 64,
            steps: 10,
            backend: backends[0].into(),
            verify: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(w) = words.next() {
            let value = words
                .next()
                .unwrap_or_else(|| panic!("{w}: no value; {usage}"));
            let number = || {
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{w} {value}: not a number; {usage}"))
            };
            match w.as_str() {
                "--threads" => out.threads = number(),
                "--size" => out.size = number(),
                "--batch" => out.batch = number(),
                "--steps" => out.steps = number(),
                "--backend" if backends.contains(&value.as_str()) => out.backend = value,
                "--verify" => out.verify = Some(value.into()),
                _ => panic!("{w} {value}: unknown; {usage}"),
            }
        }
        for name in ["RAYON_NUM_THREADS", "MATMUL_NUM_THREADS"] {
            // SAFETY: no other thread runs yet
            unsafe { std::env::set_var(name, out.threads.to_string()) };
        }
        out
    }

    /// Times `step` after two runs that do not count.
    pub fn time(&self, name: &str, mut step: impl FnMut()) {
        (step(), step());
        let mut ms: Vec<f64> = (0..self.steps.max(1))
            .map(|_| {
                let start = Instant::now();
                step();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        ms.sort_by(f64::total_cmp);
        println!(
            "{name} step: median {:.1} ms, best {:.1} ms",
            ms[ms.len() / 2],
            ms[0]
        );
    }

    pub fn report(&self, parameters: usize, framework: &str) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak: f64 = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(f64::NAN);
        println!(
            "parameters {parameters}, size {}, batch {}, threads {}, backend {}, peak {:.0} MiB, {framework}",
            self.size,
            self.batch,
            self.threads,
            self.backend,
            peak / 1024.0
        );
    }
}

/// Normal numbers of a fixed seed (sums of twelve uniform numbers: only their speed matters here).
pub struct Draw(pub u64);

impl Draw {
    pub fn uniform(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn normal(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n)
            .map(|_| scale * ((0..12).map(|_| self.uniform()).sum::<f32>() - 6.0))
            .collect()
    }

    pub fn times(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.uniform() * 0.999 + 1e-3).collect()
    }
}

/// Shape of the net.
#[derive(Clone, Debug)]
pub struct Config {
    pub channels: usize,
    pub base: usize,
    pub mult: Vec<usize>,
    pub blocks: usize,
    pub emb: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            channels: 1,
            base: 32,
            mult: vec![1, 2, 2],
            blocks: 2,
            emb: 128,
        }
    }
}

/// A tensor as recorded: shape and numbers.
pub type Recorded = (Vec<usize>, Vec<f32>);

/// The recorded truth of `fixtures/nn`: the net's shape and all tensors, narrowed to f32.
pub fn truth(path: &PathBuf) -> (Config, HashMap<String, Recorded>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
    let text = &header.metadata().as_ref().expect("metadata")["config"];
    let numbers = |key: &str| -> Vec<usize> {
        let rest = text.split_once(&format!("\"{key}\": ")).expect("config").1;
        let end = if rest.starts_with('[') {
            rest.find(']')
        } else {
            rest.find([',', '}'])
        };
        rest[..end.unwrap()]
            .trim_start_matches('[')
            .split(", ")
            .map(|w| w.parse().unwrap())
            .collect()
    };
    let one = |key| numbers(key)[0];
    let config = Config {
        channels: one("channels"),
        base: one("base"),
        mult: numbers("mult"),
        blocks: one("blocks"),
        emb: one("emb"),
    };
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                safetensors::Dtype::F32 => data
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect(),
                safetensors::Dtype::F64 => data
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|b| f64::from_le_bytes(*b) as f32)
                    .collect(),
                safetensors::Dtype::BF16 => data
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|b| f32::from_bits((u16::from_le_bytes(*b) as u32) << 16))
                    .collect(),
                other => panic!("{name}: {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        })
        .collect();
    (config, tensors)
}

/// Prints the largest differences from the truth, over the largest number of each tensor; fails
/// above 1e-4 (output) and 1e-3 (gradients). All in f32: the phases of the time features alone cost
/// PyTorch itself 1e-5 and 2e-4, see `fixtures/nn/README.md`.
pub fn judge(truth: &HashMap<String, Recorded>, y: &[f32], grads: &HashMap<String, Vec<f32>>) {
    let off = |want: &[f32], got: &mut dyn Iterator<Item = f32>| {
        let size = want.iter().fold(0f32, |a, b| a.max(b.abs()));
        want.iter().fold(0f32, |worst, w| {
            worst.max((w - got.next().expect("too short")).abs())
        }) / size
    };
    let output = off(&truth["y"].1, &mut y.iter().copied());
    let mut worst = (0f32, String::new());
    let mut seen = 0;
    for (name, got) in grads {
        let d = match (
            truth.get(&format!("grad.{name}")),
            truth.get(&format!("grad5.{name}")),
        ) {
            (Some(want), _) => off(&want.1, &mut got.iter().copied()),
            (_, Some(want)) => off(&want.1, &mut got.iter().step_by(5).copied()),
            _ => panic!("{name}: not recorded"),
        };
        seen += 1;
        if d > worst.0 || d.is_nan() {
            worst = (d, name.clone());
        }
    }
    let want = truth.keys().filter(|k| k.starts_with("grad")).count();
    println!(
        "output {output:.1e}, {seen} of {want} gradients {:.1e} ({})",
        worst.0, worst.1
    );
    assert!(
        output <= 1e-4 && worst.0 <= 1e-3 && seen == want,
        "not the same net"
    );
}
