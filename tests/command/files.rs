//! What the command does with files: inputs that are never lost, outputs that are whole, limits,
//! and texts that do no harm.

use super::run::{cld, command, path, refused, said, text};
use cld_sgm::train::checkpoint::{self, SoFar, write};
use cld_sgm::train::run::{CHECKPOINT, CONFIG, METRICS};
use cld_sgm::train::{Config, State};
use serde_json::json;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.file(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// Names and contents of all files.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = vec![];
        let mut todo = vec![self.0.path().to_path_buf()];
        while let Some(dir) = todo.pop() {
            for e in std::fs::read_dir(dir).unwrap() {
                let path = e.unwrap().path();
                if path.is_dir() {
                    todo.push(path)
                } else {
                    found.push((path.clone(), std::fs::read(path).unwrap_or_default()))
                }
            }
        }
        found.sort();
        found
    }
}

/// An untrained checkpoint of the smallest network for some data.
fn untrained(file: &Path, data: &str) {
    let mut config = Config {
        batch: 4,
        steps: 2,
        ..Config::default()
    };
    config.data.name = data.into();
    if data == "mixture" {
        (config.model.kind, config.model.width, config.model.depth) =
            (Some("resmlp".into()), Some(16), Some(1));
    } else {
        (
            config.model.base,
            config.model.embedding,
            config.model.mult,
            config.model.blocks,
        ) = (Some(16), Some(32), Some(vec![1, 1]), Some(1));
    }
    let loaded = config.load().unwrap();
    let config = config.filled(&loaded).unwrap();
    let graph = config.graph().unwrap();
    write(
        file,
        &config,
        &graph,
        &State::new(&graph, 1),
        SoFar::default(),
    )
    .unwrap();
}

/// An .npy file: the header as text, then the data.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy(
        &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"),
        data,
    )
}

fn f64s(data: &[f64]) -> Vec<u8> {
    array(
        "<f8",
        &format!("({},)", data.len()),
        &data
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

/// A zip archive, packed.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in members {
        let packed = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(*name, packed).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const T: [f64; 4] = [1e-9, 1e-3, 0.5, 1.0];

/// A manifest on VP with rate 1, whose variance is 1 - e^-t; with these arrays.
fn answers(folder: &Folder, members: &[(&str, Vec<u8>)]) -> PathBuf {
    let manifest = json!({
        "schema": "cld-answers/1", "implementation": "by hand", "arrays": "a.npz",
        "entries": [{
            "id": "one", "quantity": "kernel.cov",
            "process": {"kind": "vp", "schedule": {"kind": "constant", "b": 1.0}},
            "inputs": {"t": "t"}, "outputs": {"xx": "xx"}
        }]
    });
    folder.with("a.npz", npz(members));
    folder.with("m.json", manifest.to_string())
}

fn right() -> Vec<u8> {
    f64s(&T.map(|t| -(-t).exp_m1()))
}

/// Catches an input that an output replaces, however it is spelled (dots, symbolic links to it or
/// to its folder, hard links), two outputs of one name, and a picture written over a picture of the
/// data: nothing is changed, and the refusal comes before the work.
#[test]
#[cfg(unix)]
fn outputs_take_no_inputs_place() {
    use std::os::unix::fs::symlink;
    let f = Folder::new();
    untrained(&f.file("ck"), "mixture");
    f.with("r.json", "{}");
    f.with("x.npz", npz(&[("x.npy", f64s(&[0.0, 1.0]))]));
    for (a, b) in [
        ("ck", "link"),
        ("x.npz", "link.npz"),
        ("none.svg", "dangling.svg"),
    ] {
        symlink(a, f.file(b)).unwrap();
    }
    symlink(".", f.file("here")).unwrap();
    std::fs::hard_link(f.file("ck"), f.file("hard")).unwrap();
    let pictures = f.file("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for (n, name) in ["a.png", "b.png"].iter().enumerate() {
        let mut bytes = vec![];
        let mut png = png::Encoder::new(&mut bytes, 8, 8);
        png.set_color(png::ColorType::Grayscale);
        png.write_header()
            .unwrap()
            .write_image_data(&[n as u8 * 100; 64])
            .unwrap();
        std::fs::write(pictures.join(name), bytes).unwrap();
    }
    untrained(&f.file("images"), &format!("png:{}", pictures.display()));
    let before = f.all();
    let p = |name: &str| f.file(name).display().to_string();
    let commands = |words: &str| -> Vec<String> {
        words
            .split(' ')
            .map(|w| w.strip_prefix('@').map_or_else(|| w.to_string(), &p))
            .collect()
    };
    for line in [
        "sample @ck --sampler em --steps 2 --out @ck",
        "sample @ck --sampler em --steps 2 --out @./ck",
        "sample @ck --sampler em --steps 2 --out @link",
        "sample @link --sampler em --steps 2 --out @ck",
        "sample @ck --sampler em --steps 2 --out @hard",
        "sample @here/ck --sampler em --steps 2 --out @ck",
        "sample @images --sampler em --steps 2 --n 4 --grid @pictures/a.png",
        "sample @images --sampler em --steps 2 --n 4 --grid @here/pictures/b.png",
        "eval @ck --steps 2 --out @ck",
        "eval @ck --steps 2 --out @hard",
        "eval @x.npz --data mixture --out @link.npz",
        "eval @images --steps 2 --n 4 --out @pictures/a.png",
        "audit merge @ck @r.json --json @r.json",
        "audit merge @ck @r.json --html @link",
        "train @r.json --out @r.json/..",
    ] {
        let args = commands(line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        if line.starts_with("train") {
            assert_eq!(cld(&args).status.code(), Some(2), "{line}");
        } else {
            refused(&args, &["is read and would be lost"]);
        }
        assert!(f.all() == before, "{line} changed something");
    }
    for line in [
        "sample --data mixture --sampler em --steps 2 --out @new.svg --plot @new.svg",
        "sample --data mixture --sampler em --steps 2 --out @none.svg --plot @dangling.svg",
        "sample --data mixture --sampler em --steps 2 --out @new.svg --plot @here/new.svg",
        "compare --data gaussian --csv @new --json @new",
        "compare --data gaussian --plot @new.svg --plot @./new.svg",
        "audit --html @new --json @new",
        "audit merge @ck --html @new --json @here/new",
    ] {
        let args = commands(line);
        refused(
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            &["one of the two would be lost"],
        );
        assert!(f.all() == before, "{line} changed something");
    }
    // a run's configuration is not what it is begun with
    let run = f.file("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join(CONFIG), "# mine\nsteps = 2\n").unwrap();
    for force in [&[][..], &["--force"]] {
        let args = [
            "train",
            &p("run/config.toml"),
            "--out",
            &p("here/run"),
            "--data",
            "mixture",
        ];
        refused(
            &[&args, force].concat(),
            &["config.toml", "is read and would be lost"],
        );
    }
    assert_eq!(
        std::fs::read_to_string(run.join(CONFIG)).unwrap(),
        "# mine\nsteps = 2\n"
    );
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
}

/// Catches outputs that change a file's mode, ignore the umask, replace a link, a pipe or a device
/// by a file, or leave something beside what they write.
#[test]
#[cfg(unix)]
fn outputs_are_written_where_they_belong() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    let f = Folder::new();
    let compare = |more: &str| {
        let script = format!(
            "{} compare --data gaussian --samplers em --nfe 10 {more}",
            env!("CARGO_BIN_EXE_cld")
        );
        let out = Command::new("sh")
            .arg("-c")
            .arg(script)
            .current_dir(f.0.path())
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    };
    let mode = |name: &str| std::fs::metadata(f.file(name)).unwrap().mode() & 0o7777;
    f.with("old", "old");
    std::fs::set_permissions(f.file("old"), std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("target", f.file("link")).unwrap();
    compare("--csv old --json link");
    assert_eq!(mode("old"), 0o640);
    let csv = std::fs::read(f.file("old")).unwrap();
    assert!(csv.len() > 100 && std::fs::read(f.file("target")).unwrap().len() > 100);
    assert!(
        std::fs::symlink_metadata(f.file("link"))
            .unwrap()
            .is_symlink()
    );
    let strict = format!(
        "--csv strict; cp strict copy; umask 077; {} compare --data gaussian --samplers em --nfe 10 --csv private",
        env!("CARGO_BIN_EXE_cld")
    );
    compare(&strict);
    assert_eq!((mode("strict") & 0o700, mode("private")), (0o600, 0o600));
    assert_eq!(mode("strict"), mode("copy"), "as the shell makes files");
    // a pipe gets the same bytes, and stays a pipe
    assert!(
        Command::new("mkfifo")
            .arg(f.file("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let reader = Command::new("cat")
        .arg(f.file("pipe"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    compare("--csv /dev/null");
    compare("--csv pipe");
    assert!(
        std::fs::symlink_metadata(f.file("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(
        std::fs::symlink_metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert_eq!(reader.wait_with_output().unwrap().stdout, csv);
    let names: Vec<_> = std::fs::read_dir(f.0.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|n| !n.starts_with('.')), "{names:?}");
    // a folder, and a disk that is full
    refused(
        &["compare", "--data", "gaussian", "--csv", path(f.0.path())],
        &["is a folder"],
    );
    if Path::new("/dev/full").exists() {
        let out = cld(&[
            "compare",
            "--data",
            "gaussian",
            "--samplers",
            "em",
            "--nfe",
            "10",
            "--csv",
            "/dev/full",
        ]);
        assert_eq!(out.status.code(), Some(2));
    }
}

/// Catches another owner's file that becomes one's own. Only root can make one.
#[test]
#[cfg(unix)]
fn owners_stay() {
    use std::os::unix::fs::{MetadataExt, chown};
    let f = Folder::new();
    let file = f.with("a", "");
    if chown(&file, Some(12345), Some(23456)).is_err() {
        return;
    }
    said(&[
        "compare",
        "--data",
        "gaussian",
        "--samplers",
        "em",
        "--nfe",
        "10",
        "--csv",
        path(&file),
    ]);
    let m = std::fs::metadata(&file).unwrap();
    assert!(m.len() > 100 && (m.uid(), m.gid()) == (12345, 23456));
}

/// Catches success where nobody read the answer: a pipe that is closed, a disk that is full.
#[test]
#[cfg(unix)]
fn output_that_nobody_gets_is_no_success() {
    for args in [
        &["eval", "--process", "vp", "--beta", "4", "--t", "0.5"][..],
        &["--help"],
        &["audit", "--help"],
        &["--version"],
    ] {
        let script = format!("{} {}", env!("CARGO_BIN_EXE_cld"), args.join(" "));
        let run = |to: &str| {
            Command::new("sh")
                .arg("-c")
                .arg(format!("{script} {to}"))
                .output()
                .unwrap()
        };
        if Path::new("/dev/full").exists() {
            let out = run("> /dev/full");
            assert_eq!(out.status.code(), Some(2), "{args:?}");
            assert!(text(&out.stderr).contains("standard output"), "{args:?}");
        }
        assert_eq!(run("").status.code(), Some(0), "{args:?}");
        // a pipe without a reader
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = command(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(text(&out.stderr).lines().count() <= 1, "{args:?}");
    }
}

/// Catches memory that a small file can ask for: packed zeros, many small arrays, a long header,
/// sizes that lie, texts without an end. The limits are flags, and the refusal names the one.
#[test]
fn limits_are_kept_and_named() {
    let f = Folder::new();
    let bomb = |n: usize| array("|i1", &format!("({n},)"), &vec![0; n]);
    let t = || ("t.npy", f64s(&T));
    // 8 MiB of f64 from some KiB
    let m = answers(&f, &[t(), ("xx.npy", bomb(1 << 20))]);
    refused(
        &["check", path(&m), "--max-memory", "7MiB"],
        &["a.npz", "xx", "8 MiB", "--max-memory"],
    );
    refused(
        &["--max-memory", "7MiB", "check", path(&m)],
        &["--max-memory"],
    );
    // 8 GiB declared, and not there
    let m = answers(
        &f,
        &[t(), ("xx.npy", array("|i1", "(1073741824,)", &[0; 100]))],
    );
    refused(
        &["check", path(&m)],
        &["a.npz", "xx", "8 GiB", "--max-memory"],
    );
    refused(
        &["check", path(&m), "--max-memory", "100GiB"],
        &["a.npz", "xx", "holds 100"],
    );
    // a header of 4 GiB, and sizes whose product is 0 modulo 2^64
    let mut header = b"\x93NUMPY\x02\x00".to_vec();
    header.extend([0xff; 4]);
    header.extend([b' '; 100]);
    for bytes in [
        header,
        array("<f8", "(4294967296, 4294967296)", &[]),
        array("<f8", "(2305843009213693952,)", &[]),
    ] {
        let m = answers(&f, &[t(), ("xx.npy", bytes)]);
        refused(&["check", path(&m)], &["a.npz", "xx"]);
    }
    // samples, one array within the limit and one beyond
    let x = f.with("x.npz", npz(&[("x.npy", bomb(1 << 20))]));
    refused(
        &[
            "eval",
            path(&x),
            "--data",
            "mixture",
            "--max-memory",
            "1MiB",
        ],
        &["x.npz", "--max-memory"],
    );
    // many that are small: all that is held counts
    let names: Vec<String> = (0..9).map(|i| format!("a{i}")).collect();
    let members: Vec<(&str, Vec<u8>)> = names.iter().map(|n| (n.as_str(), bomb(1 << 16))).collect();
    f.with("a.npz", npz(&members));
    let entry = |n: &String| json!({"id": n, "quantity": "kernel.cov", "process": {"kind": "vp", "schedule": {"kind": "constant", "b": 1.0}}, "inputs": {"t": n}, "outputs": {"xx": n}});
    let manifest = json!({"schema": "cld-answers/1", "arrays": "a.npz", "entries": names.iter().map(entry).collect::<Vec<_>>()});
    let m = f.with("m.json", manifest.to_string());
    let out = cld(&["check", path(&m), "--max-memory", "4MiB"]);
    assert!(
        out.status.code() != Some(0)
            && (text(&out.stdout) + &text(&out.stderr)).contains("--max-memory")
    );

    // texts
    let long = f.with("long", " ".repeat(2000) + "{}");
    let long = path(&long);
    for args in [
        &["check", long][..],
        &["eval", long],
        &["accuracy", long],
        &["train", long],
        &["audit", "merge", long],
    ] {
        let here = [args, &["--max-text", "1000"]].concat();
        let out = command(&here).current_dir(f.0.path()).output().unwrap();
        assert!(
            out.status.code() == Some(2) && text(&out.stderr).contains("--max-text"),
            "{args:?}: {}",
            text(&out.stderr)
        );
    }
    let mut child = command(&["eval", "-", "--max-text", "1000"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(&[b' '; 5000]);
    assert!(text(&child.wait_with_output().unwrap().stderr).contains("--max-text"));
    // many small values are many times their text
    let many = f.with(
        "many.json",
        format!("{{\"cases\": [{}0]}}", "[],".repeat(100_000)),
    );
    refused(
        &["eval", path(&many), "--max-memory", "1MiB"],
        &["many.json", "--max-memory"],
    );
    for bad in ["0", "-1", "four", "1e40", ""] {
        assert_eq!(
            cld(&["check", path(&m), &format!("--max-memory={bad}")])
                .status
                .code(),
            Some(2),
            "{bad}"
        );
    }
}

/// Catches members that numpy reads and this does not (names without `.npy`, bfloat16 as ml_dtypes
/// saves it), members that nobody uses and that stop the whole, and two members that would be the
/// same array.
#[test]
fn archives_of_others() {
    let f = Folder::new();
    let t = || ("t.npy", f64s(&T));
    let check = |members: &[(&str, Vec<u8>)]| said(&["check", path(&answers(&f, members))]);
    check(&[("t", f64s(&T)), ("xx", right())]);
    check(&[
        t(),
        ("xx.npy", right()),
        ("README.txt", b"hi".to_vec()),
        ("folder/", vec![]),
        ("note.npy", array("<U2", "()", b"h\0\0\0i\0\0\0")),
        ("object.npy", array("|O", "(1,)", b"\x80\x04N.")),
        ("fft.npy", array("<c16", "(1,)", &[0; 16])),
        (
            "table.npy",
            npy(
                "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n",
                &[0; 8],
            ),
        ),
        ("bomb.npy", array("|i1", "(1073741824,)", &[0; 9])),
        ("torn.npy", b"\x93NUMP".to_vec()),
    ]);
    let e = refused(
        &[
            "check",
            path(&answers(&f, &[t(), ("xx.npy", right()), ("xx", right())])),
        ],
        &["xx", "xx.npy", "unique"],
    );
    assert!(e.contains("a.npz"), "{e}");
    for (kind, bytes) in [
        ("|O", vec![0; 32]),
        ("<c16", vec![0; 64]),
        ("<U1", vec![0; 16]),
        ("|V4", vec![0; 16]),
        ("<M8[ns]", vec![0; 32]),
    ] {
        refused(
            &[
                "check",
                path(&answers(
                    &f,
                    &[t(), ("xx.npy", array(kind, "(4,)", &bytes))],
                )),
            ],
            &["xx", kind, "real numbers"],
        );
    }
    refused(
        &[
            "check",
            path(&answers(&f, &[t(), ("xx.npy", b"hello".to_vec())])),
        ],
        &["xx", "not an array"],
    );
}

/// Catches escape sequences, reordering characters and endless values from files that reach a
/// terminal: in refusals, in tables, in what an implementation says of itself.
#[test]
fn what_files_say_does_no_harm() {
    let f = Folder::new();
    let nasty = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}gnp.exe\u{9b}31m\r\u{200b}";
    let long = "x".repeat(50_000);
    f.with(
        "a.npz",
        npz(&[("t.npy", f64s(&T)), ("xx.npy", f64s(&[1.0; 4]))]),
    );
    let manifest = |id: &str, quantity: &str, implementation: &str, more: serde_json::Value| {
        let mut entry = json!({
            "id": id, "quantity": quantity, "process": {"kind": "vp", "schedule": {"kind": "constant", "b": 1.0}},
            "inputs": {"t": "t"}, "outputs": {"xx": "xx"}
        });
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"schema": "cld-answers/1", "implementation": implementation, "arrays": "a.npz", "entries": [entry]}).to_string()
    };
    let none = json!({});
    for (what, m) in [
        ("id", manifest(nasty, "kernel.cov", "a", none.clone())),
        ("quantity", manifest("a", nasty, "a", none.clone())),
        ("long quantity", manifest("a", &long, "a", none.clone())),
        (
            "implementation",
            manifest("a", "kernel.cov", nasty, none.clone()),
        ),
        (
            "raised",
            manifest("a", "kernel.cov", "a", json!({"raised": nasty})),
        ),
        (
            "raised by id",
            manifest(
                nasty,
                "kernel.cov",
                "a",
                json!({"raised": format!("{nasty}{long}")}),
            ),
        ),
        ("key", manifest("a", "kernel.cov", "a", json!({nasty: 1}))),
        (
            "array",
            manifest("a", "kernel.cov", "a", json!({"inputs": {"t": nasty}})),
        ),
        (
            "long array",
            manifest("a", "kernel.cov", "a", json!({"inputs": {"t": long}})),
        ),
        (
            "process",
            manifest("a", "kernel.cov", "a", json!({"process": {"kind": nasty}})),
        ),
        (
            "number",
            manifest(
                "a",
                "kernel.cov",
                "a",
                json!({"inputs": {"t": [long, 1.0]}}),
            ),
        ),
        ("schema", json!({"schema": nasty}).to_string()),
        (
            "top",
            json!({"schema": "cld-answers/1", nasty: 1}).to_string(),
        ),
    ] {
        let file = f.with("m.json", m);
        for more in [&[][..], &["--full"]] {
            let out = cld(&[&["check", path(&file)], more].concat());
            let said = text(&out.stdout) + &text(&out.stderr);
            assert!(matches!(out.status.code(), Some(1 | 2)), "{what}: {said}");
            let bad = |c: &char| {
                (c.is_control() && *c != '\n') || ['\u{202e}', '\u{200b}', '\u{9b}'].contains(c)
            };
            assert_eq!(said.chars().find(bad), None, "{what}: {said:?}");
            assert!(
                text(&out.stderr).len() < 3000,
                "{what}: {} bytes",
                out.stderr.len()
            );
        }
    }
    // names of files and of fields in TOML, and what is asked for on the command line
    let toml = f.with("a.toml", format!("\"{}\" = 1", "\\u001b[2J".repeat(3)));
    let e = refused(&["train", path(&toml)], &["a.toml"]);
    assert!(!e.contains('\u{1b}'), "{e:?}");
    let e = refused(&["sample", "--data", nasty, "--sampler", "em"], &["`data`"]);
    assert!(!e.contains('\u{1b}') && !e.contains('\u{202e}'), "{e:?}");
}

/// Catches a byte order mark that stops the reading, and a NaN whose refusal does not say how to
/// write it.
#[test]
fn texts_of_other_programs() {
    let f = Folder::new();
    let m = answers(&f, &[("t", f64s(&T)), ("xx", right())]);
    let text = std::fs::read(&m).unwrap();
    std::fs::write(&m, [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    said(&["check", path(&m)]);
    std::fs::write(&m, "{\"schema\": NaN}").unwrap();
    refused(&["check", path(&m)], &["line 1", "\"NaN\""]);
    std::fs::write(&m, text.iter().flat_map(|b| [*b, 0]).collect::<Vec<u8>>()).unwrap();
    refused(&["check", path(&m)], &["m.json"]);
}

const TOY: &str = "
batch = 32
steps = 20
save_every = 5
log_every = 2
[data]
name = 'mixture'
[model]
kind = 'resmlp'
width = 16
depth = 1
";

fn wait(child: &mut Child, until: impl Fn() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(
            start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(),
            "it did not come to that"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Catches an old run that is gone when the new one cannot begin, and files of a refused one that
/// block the next try: a loss that is not finite, a configuration, data or a disk that are
/// unusable.
#[test]
fn a_run_is_replaced_after_the_first_step() {
    let f = Folder::new();
    let toml = f.with("a.toml", TOY);
    let run = f.file("run");
    let broken: [&[&str]; 5] = [
        // the schedule's own numbers are finite, the loss in f32 is not
        &[
            "--schedule",
            r#"{"kind":"constant","b":1e-30}"#,
            "--weighting",
            "score",
        ],
        &["--rate", "nan"],
        &["--data", "png:/nowhere"],
        &["--process", "vp", "--objective", "hsm"],
        &["--batch", "0"],
    ];
    let train = |more: &[&str]| cld(&[&["train", path(&toml), "--out", path(&run)], more].concat());
    for more in broken {
        let out = train(more);
        assert_eq!(
            out.status.code(),
            Some(2),
            "{more:?}: {}",
            text(&out.stderr)
        );
        assert!(
            !run.exists(),
            "{more:?} left {:?}",
            f.all().iter().map(|a| &a.0).collect::<Vec<_>>()
        );
    }
    said(&["train", path(&toml), "--out", path(&run)]);
    let before = f.all();
    for more in broken {
        assert_eq!(
            train(&[more, &["--force"]].concat()).status.code(),
            Some(2),
            "{more:?}"
        );
        assert!(f.all() == before, "{more:?} changed the old run");
    }
    assert_eq!(train(&["--force", "--seed", "9"]).status.code(), Some(0));
    assert_eq!(
        checkpoint::read(&run.join(CHECKPOINT)).unwrap().config.seed,
        9
    );
    assert_eq!(
        std::fs::read_dir(&run).unwrap().count(),
        4,
        "nothing but the run"
    );
    // the first step is in a checkpoint, and it is whole
    assert_eq!(
        train(&["--force", "--steps", "1", "--log-every", "1"])
            .status
            .code(),
        Some(0)
    );
    said(&["train", "--resume", path(&run), "--steps", "4"]);
    let steps = std::fs::read_to_string(run.join(METRICS)).unwrap();
    assert_eq!(steps.lines().count(), 4, "{steps}");
}

/// Catches a moment at which a run that replaces another has destroyed it and is not there itself:
/// killed again and again, the folder has a checkpoint of one of the two, and can be taken up.
#[test]
#[cfg(unix)]
fn killed_while_replacing() {
    let f = Folder::new();
    let toml = f.with("a.toml", TOY.replace("steps = 20", "steps = 1000000"));
    let small = f.with("b.toml", TOY);
    let run = f.file("run");
    said(&["train", path(&small), "--out", path(&run)]);
    let mut replaced = 0;
    for n in 1..=24u64 {
        let before = checkpoint::read(&run.join(CHECKPOINT)).unwrap().config.seed;
        let seed = n.to_string();
        let args = [
            "train",
            path(&toml),
            "--out",
            path(&run),
            "--force",
            "--seed",
            &seed,
        ];
        let mut child = command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // from before anything is there until after the first checkpoints
        std::thread::sleep(Duration::from_millis(n * 4));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = checkpoint::read(&run.join(CHECKPOINT)).unwrap();
        assert!([before, n].contains(&now.config.seed));
        replaced += usize::from(now.config.seed == n);
        let done = (now.state.step + 1).to_string();
        said(&["train", "--resume", path(&run), "--steps", &done]);
        assert_eq!(
            checkpoint::read(&run.join(CHECKPOINT)).unwrap().state.step,
            now.state.step + 1
        );
        let names: Vec<_> = std::fs::read_dir(&run)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            names.len() <= 4 && names.iter().all(|n| !n.starts_with('.')),
            "left behind: {names:?}"
        );
    }
    println!("{replaced} of 24 kills came after the old run was replaced");
}

/// Catches two runs that write into one folder, a lock that outlives its process, and temporary
/// files of killed runs that stay.
#[test]
#[cfg(unix)]
fn one_run_to_a_folder() {
    let f = Folder::new();
    let toml = f.with("a.toml", TOY.replace("steps = 20", "steps = 100000000"));
    let run = f.file("run");
    let args = ["train", path(&toml), "--out", path(&run)];
    let mut child = command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait(&mut child, || run.join(CHECKPOINT).exists());
    for more in [&["--force"][..], &[]] {
        refused(&[&args, more].concat(), &["another run"]);
    }
    refused(&["train", "--resume", path(&run)], &["another run"]);
    // another folder is free, and so is this one for who reads
    said(&[
        "sample",
        path(&run.join(CHECKPOINT)),
        "--sampler",
        "em",
        "--steps",
        "2",
        "--n",
        "10",
    ]);
    child.kill().unwrap();
    child.wait().unwrap();
    f.with("run/.cld-abcdef.tmp", "what a killed run left");
    let step = checkpoint::read(&run.join(CHECKPOINT)).unwrap().state.step + 3;
    said(&[
        "train",
        "--resume",
        path(&run),
        "--steps",
        &step.to_string(),
    ]);
    let names: Vec<_> = std::fs::read_dir(&run)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|n| !n.starts_with('.')), "{names:?}");
    // and beside any other output
    f.with(".cld-abcdef.tmp", "what a killed run left");
    said(&[
        "compare",
        "--data",
        "gaussian",
        "--samplers",
        "em",
        "--nfe",
        "10",
        "--csv",
        path(&f.file("a.csv")),
    ]);
    assert!(!f.file(".cld-abcdef.tmp").exists());
    let mut start = String::new();
    std::fs::File::open(f.file("a.csv"))
        .unwrap()
        .take(20)
        .read_to_string(&mut start)
        .unwrap();
    assert!(start.contains(','), "{start}");
}
