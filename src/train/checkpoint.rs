//! Checkpoints: one file in the safetensors format that has all of a run in it, written whole or
//! not at all.
//!
//! | tensor | what |
//! |---|---|
//! | `NAME` | averaged weights: what one samples with |
//! | `raw/NAME` | the weights themselves |
//! | `adam.m/NAME`, `adam.v/NAME` | averages of gradients and of their squares |
//!
//! All are float32, in PyTorch's names and shapes. Metadata (texts): `format` is `pt`,
//! `cld_sgm_checkpoint` the version 1, `crate` who wrote it, `config` the configuration as TOML,
//! `step`; `loss_sum` and `norm_sum` since step `since`, the last one in the metrics; `crc32`. The
//! random state is seed and step. The same state gives the same bytes.
//!
//! The checksum is CRC-32 (zlib's) over the tensors by name: name, then data; then over the other
//! metadata by key: key, `=`, value.
//!
//! Nothing in a file is believed: its length must be what its configuration makes of it before more
//! than the header is read.

use super::config::Config;
use super::model::{Model, Net};
use super::step::State;
use crate::error::{Error, Result};
use crate::files::{self, write::Staged};
use crate::nn::Graph;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The version of the format.
pub const VERSION: &str = "1";

/// Most bytes of a header: the largest network's has some 300 KiB.
const LONGEST_HEADER: u64 = 1 << 24;

/// What is not an average of weights.
const PREFIXES: [&str; 4] = ["", "raw/", "adam.m/", "adam.v/"];

/// What a line of the metrics will be the mean of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoFar {
    /// Sum of the losses since.
    pub loss: f64,
    /// Sum of the gradients' norms since.
    pub norm: f64,
    /// The last step that is in a line.
    pub since: u64,
}

/// A run at the end of a step.
pub struct Checkpoint {
    /// What the run is.
    pub config: Config,
    /// The network.
    pub graph: Arc<Graph<f32>>,
    /// Where it stands.
    pub state: State,
    /// What the metrics have not yet.
    pub so_far: SoFar,
}

impl Checkpoint {
    /// The network with its averaged weights, as a score.
    ///
    /// # Errors
    /// None for a configuration that trained.
    pub fn model(&self) -> Result<Model> {
        let net = Net::new(self.graph.clone(), self.state.ema.clone())?;
        Model::new(
            self.config.diffusion()?,
            self.config.loss()?.objective(),
            self.config.parametrisation()?,
            net,
        )
    }
}

fn parts(s: &State) -> [&[f32]; 4] {
    [&s.ema, &s.p, &s.m, &s.v]
}

/// The checksum; tensors in any order.
fn checksum<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
    metadata: &BTreeMap<String, String>,
) -> String {
    let mut crc = flate2::Crc::new();
    for (name, data) in tensors.collect::<BTreeMap<_, _>>() {
        crc.update(name.as_bytes());
        crc.update(data);
    }
    for (key, value) in metadata.iter().filter(|(k, _)| *k != "crc32") {
        crc.update(format!("{key}={value}").as_bytes());
    }
    format!("{:08x}", crc.sum())
}

/// Writes a checkpoint whole or not at all: a temporary file in the same folder, synced, then
/// renamed.
///
/// # Errors
/// A folder that cannot be written to, a full disk, weights that are not finite: what was there
/// before is untouched.
pub fn write(
    path: &Path,
    config: &Config,
    graph: &Graph<f32>,
    state: &State,
    so_far: SoFar,
) -> Result<()> {
    stage(path, config, graph, state, so_far)?.commit()
}

/// The same but for the last step, the renaming.
pub(super) fn stage(
    path: &Path,
    config: &Config,
    graph: &Graph<f32>,
    state: &State,
    so_far: SoFar,
) -> Result<Staged> {
    // what could not be read again must not take the place of what can
    if parts(state)
        .iter()
        .any(|part| part.iter().any(|x| !x.is_finite()))
    {
        return Err(Error::NonFinite {
            step: state.step as usize,
            t: 0.0,
        });
    }
    let layout = graph.layout();
    let mut tensors: Vec<(String, &[usize], Vec<u8>)> = vec![];
    for (prefix, numbers) in PREFIXES.iter().zip(parts(state)) {
        for (i, e) in layout.entries().iter().enumerate() {
            let data = layout
                .read(numbers, i)
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect();
            tensors.push((format!("{prefix}{}", e.name), &e.shape, data));
        }
    }
    let mut metadata: BTreeMap<String, String> = [
        ("format", "pt".to_string()),
        ("cld_sgm_checkpoint", VERSION.into()),
        (
            "crate",
            concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
        ),
        ("config", config.to_toml()?),
        ("step", state.step.to_string()),
        ("loss_sum", so_far.loss.to_string()),
        ("norm_sum", so_far.norm.to_string()),
        ("since", so_far.since.to_string()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_string(), v))
    .collect();
    metadata.insert(
        "crc32".into(),
        checksum(
            tensors.iter().map(|(n, _, d)| (n.as_str(), &d[..])),
            &metadata,
        ),
    );
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!(metadata));
    let mut at = 0;
    for (name, shape, data) in &tensors {
        header.insert(name.clone(), serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, at + data.len()]}));
        at += data.len();
    }
    let mut header = serde_json::Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    files::write::stage(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors
            .iter()
            .try_for_each(|(.., data)| file.write_all(data))
    })
}

/// What is wrong with a checkpoint.
fn bad(file: &str, place: &str, problem: String) -> Error {
    Error::Format {
        file: file.into(),
        place: place.into(),
        problem,
    }
}

/// The part of a header that is read first.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    /// The file, for messages.
    #[serde(skip)]
    file: String,
}

impl Header {
    /// The header at the start of `length` bytes, and the bytes that it takes, its length included.
    fn read(from: &mut impl Read, length: u64, name: &str) -> Result<(Header, Vec<u8>)> {
        let short = |e| cut_short(name, e);
        let mut start = [0; 8];
        if length < 8 {
            let problem = format!("{length} bytes; a safetensors file has at least 8");
            return Err(bad(name, "", problem));
        }
        from.read_exact(&mut start).map_err(short)?;
        let n = u64::from_le_bytes(start);
        if n > LONGEST_HEADER || n > length - 8 {
            let problem = format!(
                "declares {n} bytes; allowed: at most {} (no safetensors file?)",
                LONGEST_HEADER.min(length - 8)
            );
            return Err(bad(name, "header", problem));
        }
        let mut bytes = start.to_vec();
        bytes.resize(8 + n as usize, 0);
        from.read_exact(&mut bytes[8..]).map_err(short)?;
        let mut header: Header = serde_json::from_slice(&bytes[8..]).map_err(|e| {
            let problem = format!("not the JSON of a safetensors file: {e}");
            bad(name, "header", problem)
        })?;
        header.file = name.into();
        Ok((header, bytes))
    }

    fn text(&self, key: &str) -> Result<&String> {
        self.metadata.get(key).ok_or_else(|| {
            let problem = format!("`{key}` is missing; `cld train` writes it");
            bad(&self.file, "metadata", problem)
        })
    }

    /// What a text says, or else what is allowed.
    fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>, allowed: &str) -> Result<T> {
        let t = self.text(key)?;
        parse(t).ok_or_else(|| {
            let problem = format!("`{key}` is `{t}`; allowed: {allowed}");
            bad(&self.file, "metadata", problem)
        })
    }

    fn count(&self, key: &str) -> Result<u64> {
        let parse = |t: &str| t.parse::<u64>().ok().filter(|n| *n < 1 << 53);
        self.parsed(key, parse, "a count below 2^53")
    }

    fn sum(&self, key: &str) -> Result<f64> {
        let parse = |t: &str| t.parse::<f64>().ok().filter(|x| x.is_finite());
        self.parsed(key, parse, "a finite number")
    }

    /// The step, and the sums since the last line of metrics.
    fn so_far(&self) -> Result<(u64, SoFar)> {
        let (step, since) = (self.count("step")?, self.count("since")?);
        if since > step {
            let problem = format!("`since` is {since}; allowed: at most the step, {step}");
            return Err(bad(&self.file, "metadata", problem));
        }
        let so_far = SoFar {
            loss: self.sum("loss_sum")?,
            norm: self.sum("norm_sum")?,
            since,
        };
        Ok((step, so_far))
    }
}

fn cut_short(file: &str, e: std::io::Error) -> Error {
    bad(file, "", format!("cut short or unreadable: {e}"))
}

/// Reads a checkpoint.
///
/// # Errors
/// A file that cannot be read; that is no safetensors file, of another version, damaged (checksum)
/// or cut short; a configuration that does not parse; tensors that are missing, too many, of
/// another shape or type than the configuration's network has, or not finite.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let name = path.display().to_string();
    let io = |what: &str, e: std::io::Error| Error::Io {
        path: name.clone(),
        problem: format!("cannot be {what}: {e}"),
    };
    // a pipe has no length, and would be waited for
    let meta = std::fs::metadata(path).map_err(|e| io("read", e))?;
    if !meta.is_file() {
        return Err(Error::Io {
            path: name,
            problem: "is not a regular file; allowed: a checkpoint".into(),
        });
    }
    let mut file = std::fs::File::open(path).map_err(|e| io("opened", e))?;
    read_from(&mut file, meta.len(), &name)
}

/// The same from anything that gives `length` bytes; `name` is for messages.
///
/// # Errors
/// As [`read`].
pub fn read_from(file: &mut impl Read, length: u64, name: &str) -> Result<Checkpoint> {
    let (header, mut bytes) = Header::read(file, length, name)?;
    let version = header.text("cld_sgm_checkpoint")?;
    if version != VERSION {
        let problem = format!("version `{version}` of the format; this program knows {VERSION}");
        return Err(bad(name, "metadata", problem));
    }
    let (step, so_far) = header.so_far()?;
    let refused = |e: Error| bad(name, "configuration", e.to_string());
    let config = Config::from_toml(header.text("config")?, name).map_err(refused)?;
    let graph = config.graph().map_err(refused)?;

    // only now is there something to hold the file's length against
    let data = 4 * PREFIXES.len() as u64 * graph.layout().count() as u64;
    let there = length - bytes.len() as u64;
    if there != data {
        let problem = format!(
            "{there} bytes of data; its configuration's network has {data} (cut short, or of another network)"
        );
        return Err(bad(name, "", problem));
    }
    bytes.reserve_exact(data as usize);
    let read = file.take(data).read_to_end(&mut bytes);
    read.map_err(|e| cut_short(name, e))?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|e| bad(name, "header", e.to_string()))?;
    let state = state(&tensors, &graph, step, name)?;
    let all = tensors.tensors();
    let found = checksum(
        all.iter().map(|(n, t)| (n.as_str(), t.data())),
        &header.metadata,
    );
    let said = header.text("crc32")?;
    if *said != found {
        let problem = format!("damaged: the checksum is {found}, and should be {said}");
        return Err(bad(name, "", problem));
    }
    Ok(Checkpoint {
        config,
        graph: Arc::new(graph),
        state,
        so_far,
    })
}

/// The state at `step` that the tensors of `file` hold: all that the network has, and no other.
fn state(tensors: &SafeTensors<'_>, graph: &Graph<f32>, step: u64, file: &str) -> Result<State> {
    let layout = graph.layout();
    let zeros = || vec![0.0; layout.len()];
    let mut state = State {
        step,
        p: zeros(),
        m: zeros(),
        v: zeros(),
        ema: zeros(),
    };
    let parts = [&mut state.ema, &mut state.p, &mut state.m, &mut state.v];
    for (prefix, to) in PREFIXES.iter().zip(parts) {
        for (i, e) in layout.entries().iter().enumerate() {
            let name = format!("{prefix}{}", e.name);
            let least = if *prefix == "adam.v/" {
                0.0
            } else {
                f32::NEG_INFINITY
            };
            layout.write(to, i, &numbers(tensors, &name, &e.shape, least, file)?)?;
        }
    }
    let known = PREFIXES.len() * layout.entries().len();
    if tensors.len() != known {
        let problem = format!(
            "{} tensors; its configuration's network has {known}",
            tensors.len()
        );
        return Err(bad(file, "", problem));
    }
    Ok(state)
}

/// The numbers of a tensor, finite and not below `least`.
fn numbers(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
    least: f32,
    file: &str,
) -> Result<Vec<f32>> {
    let t = tensors
        .tensor(name)
        .map_err(|_| bad(file, name, "is missing".into()))?;
    if t.dtype() != Dtype::F32 || t.shape() != shape {
        let problem = format!(
            "{:?} of shape {:?}; allowed: F32 of {shape:?}",
            t.dtype(),
            t.shape(),
        );
        return Err(bad(file, name, problem));
    }
    let words = t.data().as_chunks().0.iter();
    let numbers: Vec<f32> = words.map(|b| f32::from_le_bytes(*b)).collect();
    match numbers.iter().find(|x| !x.is_finite() || **x < least) {
        Some(x) => {
            let more = if x.is_finite() { " >= 0" } else { "" };
            let problem = format!("holds {x}; allowed: finite numbers{more}");
            Err(bad(file, name, problem))
        }
        None => Ok(numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOML: &str =
        "[data]\nname = 'swissroll'\n[model]\nkind = 'resmlp'\nwidth = 16\ndepth = 1";

    fn config() -> Config {
        let c = Config::from_toml(TOML, "").unwrap();
        let data = c.load().unwrap();
        c.filled(&data).unwrap()
    }

    fn example() -> (Config, Graph<f32>, State, SoFar) {
        let config = config();
        let graph = config.graph().unwrap();
        let mut state = State::new(&graph, 5);
        state.step = 17;
        // all four different, and where blocks are filled 0, as in training
        for (k, part) in [&mut state.ema, &mut state.m, &mut state.v]
            .into_iter()
            .enumerate()
        {
            *part = graph.layout().start(10 + k as u64);
        }
        state.v.iter_mut().for_each(|x| *x = x.abs());
        (
            config,
            graph,
            state,
            SoFar {
                loss: 0.1 + 0.2,
                norm: 1e-300,
                since: 12,
            },
        )
    }

    fn bytes() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let (config, graph, state, so_far) = example();
        write(&path, &config, &graph, &state, so_far).unwrap();
        std::fs::read(path).unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Checkpoint> {
        read_from(&mut &bytes[..], bytes.len() as u64, "a")
    }

    /// Header and data apart, and together again.
    fn split(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        (
            serde_json::from_slice(&bytes[8..8 + n]).unwrap(),
            bytes[8 + n..].to_vec(),
        )
    }

    fn join(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
        let text = header.to_string();
        [
            &(text.len() as u64).to_le_bytes()[..],
            text.as_bytes(),
            data,
        ]
        .concat()
    }

    /// Catches a state that does not come back bit for bit, bytes that differ for the same state,
    /// parts under one another's names, and a file that the format's own crate reads otherwise.
    #[test]
    fn round_trip() {
        let (config, graph, state, so_far) = example();
        let file = bytes();
        assert_eq!(file, bytes(), "same state, same bytes");
        let back = parse(&file).unwrap();
        assert_eq!(
            (&back.config, &back.state, back.so_far),
            (&config, &state, so_far)
        );
        back.model().unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        for (prefix, numbers) in [
            ("", &state.ema),
            ("raw/", &state.p),
            ("adam.m/", &state.m),
            ("adam.v/", &state.v),
        ] {
            let t = tensors
                .tensor(&format!("{prefix}layers.0.linear1.weight"))
                .unwrap();
            assert_eq!(t.shape(), [16, 16]);
            let i = graph
                .layout()
                .entries()
                .iter()
                .position(|e| e.name == "layers.0.linear1.weight")
                .unwrap();
            let there: Vec<f32> = t
                .data()
                .chunks(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            assert_eq!(there, graph.layout().read(numbers, i));
        }
    }

    /// Catches damage that passes, a panic, or an allocation by a number that the file merely
    /// declares: every file with one to four bytes changed, cut, or lengthened is refused, or says
    /// exactly the same (a space of the header that became a tab).
    #[test]
    fn damage_is_noticed() {
        let file = bytes();
        let whole = parse(&file).unwrap();
        let same = |c: Checkpoint| {
            c.config == whole.config && c.state == whole.state && c.so_far == whole.so_far
        };
        let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        // one byte at a time in the header, which has the meaning; every third, for the time it
        // takes
        for at in (0..header).step_by(3) {
            let mut f = file.clone();
            f[at] ^= 1 << (at % 8);
            assert!(parse(&f).map_or(true, same), "byte {at}");
        }
        let edits =
            proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5);
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            ProptestConfig {
                cases: 300,
                failure_persistence: None,
                ..ProptestConfig::default()
            },
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        runner
            .run(
                &(edits, any::<proptest::sample::Index>(), 0..3),
                |(edits, cut, how)| {
                    let mut f = file.clone();
                    match how {
                        0 => edits.iter().for_each(|(i, b)| f[i.index(file.len())] = *b),
                        1 => f.truncate(cut.index(file.len())),
                        _ => f.extend(edits.iter().map(|e| e.1)),
                    }
                    prop_assert!(parse(&f).map_or(true, same));
                    Ok(())
                },
            )
            .unwrap();
    }

    /// Catches a file of another network or another program that is taken, is refused without
    /// saying why, or makes the reader ask for memory that the file has not: each header below
    /// differs from a good one in one thing.
    #[test]
    fn hostile_files() {
        let file = bytes();
        let (header, data) = split(&file);
        let refused = |name: &str, f: &[u8], words: &str| {
            let e = parse(f).map(|_| ()).expect_err(name).to_string();
            assert!(
                e.contains(words) && !e.contains('\n'),
                "{name}: `{words}` is not in: {e}"
            );
        };
        let changed = |name: &str, words: &str, change: &dyn Fn(&mut serde_json::Value)| {
            let mut h = header.clone();
            change(&mut h);
            refused(name, &join(&h, &data), words);
        };
        refused("empty", b"", "0 bytes");
        refused("short", &file[..20], "header");
        refused("no safetensors", &[b'x'; 100], "header");
        refused(
            "enormous header",
            &[&(1u64 << 62).to_le_bytes()[..], &file[8..]].concat(),
            "declares 4611686018427387904",
        );
        refused(
            "deep JSON",
            &join(&serde_json::Value::Null, &[])[..0]
                .iter()
                .copied()
                .chain(100_000u64.to_le_bytes())
                .chain([b'['; 100_000])
                .collect::<Vec<_>>(),
            "header",
        );
        refused(
            "half the data",
            &file[..file.len() - data.len() / 2],
            "bytes of data",
        );
        let one = "out.weight";
        changed("missing", "out.weight: is missing", &|h| {
            let t = h.as_object_mut().unwrap().remove(one).unwrap();
            h["other"] = t;
        });
        changed("one more", "tensors", &|h| {
            h["other"] = serde_json::json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
        });
        changed("turned", "out.weight: F32 of shape [16, 2]", &|h| {
            h[one]["shape"] = serde_json::json!([16, 2])
        });
        changed("integers", "out.weight: I32", &|h| {
            h[one]["dtype"] = "I32".into()
        });
        changed("enormous shape", "header", &|h| {
            h[one]["shape"] = serde_json::json!([1u64 << 40, 1u64 << 40])
        });
        changed("outside", "header", &|h| {
            h[one]["data_offsets"] = serde_json::json!([0, 1u64 << 60])
        });
        changed("no version", "cld_sgm_checkpoint", &|h| {
            h["__metadata__"] = serde_json::json!({"format": "pt"})
        });
        let text = |key: &'static str, value: &'static str, words: &str| {
            changed(key, words, &|h| h["__metadata__"][key] = value.into());
        };
        text("cld_sgm_checkpoint", "2", "version `2`");
        text("step", "-1", "`step` is `-1`");
        text("step", "11", "`since` is 12");
        text("step", "18", "checksum");
        text("loss_sum", "NaN", "`loss_sum`");
        text("crc32", "00000000", "checksum");
        text("config", "[model", "configuration");
        text("config", "", "configuration");
        let whole = config().to_toml().unwrap();
        // networks that would need far more than the file has
        for (from, to, words) in [
            ("width = 16", "width = 1024", "bytes of data"),
            ("width = 16", "width = 1000000", "`width`"),
            ("depth = 1", "depth = 4000000000", "`depth`"),
            (
                "shape = [2, 1, 1]",
                "shape = [4000000000, 1, 1]",
                "data.shape",
            ),
        ] {
            let other = whole.replace(from, to);
            assert_ne!(other, whole, "{from}");
            changed(to, words, &|h| {
                h["__metadata__"]["config"] = other.clone().into()
            });
        }
        for (bits, words) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let mut d = data.clone();
            d[..4].copy_from_slice(&bits.to_le_bytes());
            refused("not finite", &join(&header, &d), words);
        }
        let mut d = data.clone();
        let last = d.len() - 4;
        d[last..].copy_from_slice(&(-1f32).to_le_bytes());
        refused("negative squares", &join(&header, &d), "-1");
        assert!(
            read(Path::new("/nowhere/a.safetensors")).is_err() && read(Path::new("/")).is_err()
        );
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
