//! The command as a user runs it: what it prints, its exit codes, and what it does with bad input.

use super::run::{cld, path, refused, text};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A numeric array, row-major, as the bytes of an .npy file: written here by hand, after numpy's
/// format description, so that the reader is not tested against our own writer.
fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let shape = if shape.len() == 1 {
        format!("({},)", dims[0])
    } else {
        format!("({})", dims.join(", "))
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn f64s(shape: &[usize], data: &[f64]) -> Vec<u8> {
    npy(
        "<f8",
        shape,
        &data
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

fn npz(file: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(file).unwrap());
    for (name, bytes) in arrays {
        zip.start_file(
            format!("{name}.npy"),
            zip::write::SimpleFileOptions::default(),
        )
        .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// A small answers manifest: VP with constant rate 1, where the right numbers are elementary.
fn manifest() -> Value {
    json!({
        "schema": "cld-answers/1", "implementation": "by hand", "arrays": "a.npz",
        "entries": [{
            "id": "one", "quantity": "kernel.cov",
            "process": {"kind": "vp", "schedule": {"kind": "constant", "b": 1.0}},
            "inputs": {"t": "t"}, "outputs": {"xx": "xx"}
        }]
    })
}

const T: [f64; 4] = [1e-9, 1e-3, 0.5, 1.0];

fn right() -> Vec<f64> {
    T.iter().map(|t| -(-t).exp_m1()).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(manifest: &Value) -> Folder {
        let f = Folder(tempfile::tempdir().unwrap());
        std::fs::write(f.file("m.json"), manifest.to_string()).unwrap();
        npz(
            &f.file("a.npz"),
            &[("t", f64s(&[4], &T)), ("xx", f64s(&[4], &right()))],
        );
        f
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn check(&self) -> Output {
        cld(&["check", path(&self.file("m.json"))])
    }
    fn refused(&self, words: &[&str]) {
        refused(&["check", path(&self.file("m.json"))], words);
    }
}

fn edited(f: impl Fn(&mut Value)) -> Folder {
    let mut m = manifest();
    f(&mut m);
    Folder::new(&m)
}

/// Exit codes 0 and 1, and no colour in a pipe. Catches a verdict that does not reach the shell.
#[test]
fn check_exit_codes() {
    let f = Folder::new(&manifest());
    let out = f.check();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(
        text(&out.stdout).contains("all within tolerance") && !text(&out.stdout).contains('\x1b')
    );
    let mut wrong = right();
    wrong[3] += 1e-9;
    npz(
        &f.file("a.npz"),
        &[("t", f64s(&[4], &T)), ("xx", f64s(&[4], &wrong))],
    );
    let out = f.check();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout).contains("OFF") && text(&out.stdout).contains("t=1"),
        "{}",
        text(&out.stdout)
    );
    // within f32, if that is asked for
    let out = cld(&["check", path(&f.file("m.json")), "--accept", "f32"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    // the folder and the name without .json mean the same file
    for p in [f.0.path().to_path_buf(), f.file("m")] {
        assert_eq!(cld(&["check", path(&p)]).status.code(), Some(1));
    }
}

/// Catches a page that is written over what was read: the manifest under its short name, its
/// arrays, the answers to vectors.
#[test]
fn check_keeps_its_inputs() {
    let f = Folder::new(&manifest());
    for (given, html) in [("m", "m.json"), ("m.json", "m.json"), ("m", "a.npz")] {
        let before = std::fs::read(f.file(html)).unwrap();
        refused(
            &["check", path(&f.file(given)), "--html", path(&f.file(html))],
            &["html", html, "would be lost"],
        );
        assert_eq!(std::fs::read(f.file(html)).unwrap(), before);
    }
    let page = f.file("page.html");
    assert_eq!(
        cld(&["check", path(&f.file("m")), "--html", path(&page)])
            .status
            .code(),
        Some(0)
    );
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .contains("all within tolerance")
    );
}

/// `--json` is one JSON document with the same verdict. Catches text mixed into it.
#[test]
fn check_json() {
    let out = cld(&["check", "fixtures/peers/psld", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let v: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(v["schema"], "cld-report/3");
    assert_eq!(v["ok"], false);
    assert_eq!(v["diagnoses"][0]["id"], "epsilon-added");
    assert_eq!(v["diagnoses"][0]["value"], 1e-9);
}

/// Arrays as numpy stores them: float32, float16, big-endian, Fortran order, integers; numbers
/// inline. Catches a reader that takes bytes for what they are not.
#[test]
fn arrays_of_all_kinds() {
    let f = Folder::new(&manifest());
    let single: Vec<u8> = right()
        .iter()
        .flat_map(|x| (*x as f32).to_le_bytes())
        .collect();
    let big: Vec<u8> = T.iter().flat_map(|x| x.to_be_bytes()).collect();
    npz(
        &f.file("a.npz"),
        &[
            ("t", npy(">f8", &[4], &big)),
            ("xx", npy("<f4", &[4], &single)),
        ],
    );
    let out = f.check();
    // f32 arrays are held to f32
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    assert!(text(&out.stdout).contains("ok f32"));
    npz(
        &f.file("a.npz"),
        &[
            ("t", npy("<i8", &[1], &1i64.to_le_bytes())),
            ("xx", f64s(&[1], &right()[3..])),
        ],
    );
    assert_eq!(f.check().status.code(), Some(0));
    let f = edited(|m| {
        m["entries"][0]["inputs"]["t"] = json!(T);
        m["entries"][0]["outputs"]["xx"] = json!(right());
        m.as_object_mut().unwrap().remove("arrays");
    });
    assert_eq!(f.check().status.code(), Some(0));
}

/// Answers that are not finite get a verdict, also as strings in JSON, where there is no NaN.
#[test]
fn not_a_number_is_a_verdict() {
    let f = edited(|m| {
        m["entries"][0]["inputs"]["t"] = json!(T);
        m["entries"][0]["outputs"]["xx"] = json!([1e-9, "NaN", "Infinity", "-Infinity"]);
    });
    let out = f.check();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("OFF"));
}

/// Every kind of unusable input is refused in one sentence that names the place.
#[test]
fn bad_manifests() {
    type Edit = fn(&mut Value);
    let cases: &[(Edit, &[&str])] = &[
        (
            |m| m["schema"] = json!("cld-answers/9"),
            &["schema", "cld-answers/9", "cld-answers/1"],
        ),
        (
            |m| m["entries"][0]["process"]["kind"] = json!("cdl"),
            &["entry one", "cdl", "cld, sscs-analytic"],
        ),
        (
            |m| m["entries"][0]["process"]["mass"] = json!(0.25),
            &["entry one", "mass", "unknown"],
        ),
        (
            |m| m["entries"][0]["quantity"] = json!("kernel.variance"),
            &["kernel.variance", "kernel.cov"],
        ),
        (
            |m| m["entries"][0]["extra"] = json!(1),
            &["entry one", "extra", "unknown field"],
        ),
        (|m| m["unit"] = json!("s"), &["unit", "unknown field"]),
        (
            |m| m["entries"][0]["outputs"] = json!({"xx": "yy"}),
            &["outputs.xx", "yy", "missing"],
        ),
        (
            |m| m["entries"][0]["outputs"] = json!({"ww": "xx"}),
            &["ww", "unknown", "xx"],
        ),
        (
            |m| m["entries"][0]["outputs"] = json!({}),
            &["outputs", "empty"],
        ),
        (
            |m| m["entries"][0]["inputs"] = json!({}),
            &["inputs", "`t` is missing"],
        ),
        (
            |m| m["entries"][0]["inputs"]["t"] = json!(["NaN", "NaN", "NaN", "NaN"]),
            &["NaN", "0 <= t <= 1"],
        ),
        (
            |m| m["entries"][0]["inputs"]["t"] = json!([1.5, 2.0, 3.0, 1.5]),
            &["1.5", "0 <= t <= 1"],
        ),
        (
            |m| m["entries"][0]["inputs"]["t"] = json!([[0.1, 0.2], [0.3]]),
            &["inputs.t", "ragged"],
        ),
        (
            |m| m["entries"][0]["inputs"]["t"] = json!([0.1, null, 0.3, 0.4]),
            &["inputs.t", "null", "NaN"],
        ),
        (
            |m| m["entries"][0]["inputs"]["t"] = json!([0.1, 0.2]),
            &["entry one", "outputs.xx", "[4]", "(2,)"],
        ),
        (
            |m| m["entries"][0]["process"]["schedule"] = json!({"kind": "sigmoid"}),
            &["schedule.kind", "sigmoid", "constant, linear"],
        ),
        (
            |m| m["entries"][0]["process"]["schedule"] = json!({"kind": "constant", "b": -1.0}),
            &["entry one", "`b`", "-1"],
        ),
        (
            |m| m["entries"][0]["process"]["objective"] = json!("hsm"),
            &["objective", "hsm", "no velocity"],
        ),
        (
            |m| m["entries"][0]["process"]["epsilon_added"] = json!(-1e-9),
            &["epsilon_added", "-0.000000001", "0 to 1"],
        ),
        (
            |m| m["arrays"] = json!("../a.npz"),
            &["arrays", "../a.npz", "beside the manifest"],
        ),
        (
            |m| m["arrays"] = json!("b.npz"),
            &["b.npz", "cannot be opened"],
        ),
        (|m| m["entries"] = json!([]), &["nothing to judge"]),
        (|m| m["entries"] = json!({}), &["entries", "missing"]),
        (
            |m| {
                let e = m["entries"][0].clone();
                m["entries"].as_array_mut().unwrap().push(e);
            },
            &["entry one", "two entries of this id"],
        ),
    ];
    for (edit, words) in cases {
        edited(edit).refused(words);
    }
}

/// Damaged text: not JSON, a name twice, not UTF-8, cut short.
#[test]
fn bad_json_text() {
    let f = Folder::new(&manifest());
    let m = f.file("m.json");
    let whole = manifest().to_string();
    for (bytes, words) in [
        (b"{".to_vec(), vec!["line 1, column 1"]),
        (whole[..whole.len() / 2].into(), vec!["line 1, column"]),
        (
            whole
                .replace("\"id\":\"one\"", "\"id\":\"one\",\"id\":\"two\"")
                .into(),
            vec!["the name `id` twice"],
        ),
        ([whole.as_bytes(), b"\xff"].concat(), vec!["not UTF-8"]),
        (
            whole
                .replace("by hand", "\u{fffd}")
                .replace('\u{fffd}', "\\ud800")
                .into(),
            vec!["m.json"],
        ),
    ] {
        std::fs::write(&m, bytes).unwrap();
        f.refused(&words);
    }
}

/// Damaged arrays: cut short at any point, not a zip, wrong kind, a shape that claims more than is
/// there or more than memory holds, a name twice.
#[test]
fn bad_arrays() {
    let f = Folder::new(&manifest());
    let a = f.file("a.npz");
    let whole = std::fs::read(&a).unwrap();
    for cut in [
        0,
        1,
        whole.len() / 4,
        whole.len() / 2,
        whole.len() - 30,
        whole.len() - 1,
    ] {
        std::fs::write(&a, &whole[..cut]).unwrap();
        f.refused(&["a.npz"]);
    }
    std::fs::write(
        &a,
        b"not a zip archive at all, but long enough to be one .....................",
    )
    .unwrap();
    f.refused(&["a.npz", "not a readable .npz archive"]);
    let t = || ("t", f64s(&[4], &T));
    for (bytes, words) in [
        (
            npy("<f8", &[1 << 40], &[0; 32]),
            vec!["xx", "declares the shape [1099511627776]", "GiB"],
        ),
        (
            npy("<f8", &[usize::MAX, usize::MAX], &[0; 32]),
            vec!["xx", "GiB"],
        ),
        (
            npy("<f8", &[1 << 20], &[0; 32]),
            vec!["xx", "declares the shape [1048576]", "holds 32"],
        ),
        (
            npy("<f8", &[2], &[0; 32]),
            vec!["xx", "declares the shape [2]", "holds more"],
        ),
        (
            npy("<c16", &[2], &[0; 32]),
            vec!["xx", "c16", "real numbers"],
        ),
        (npy("|O", &[4], &[0; 32]), vec!["xx"]),
        (
            f64s(&[2, 2], &right()),
            vec!["outputs.xx", "[2, 2]", "(4,)"],
        ),
        (b"\x93NUMPY".to_vec(), vec!["xx"]),
        (b"hello".to_vec(), vec!["xx"]),
    ] {
        npz(&a, &[t(), ("xx", bytes)]);
        f.refused(&words);
    }
    // Two entries of one name: the writer refuses to make them, so rename one in the bytes (local
    // and central header).
    npz(
        &a,
        &[
            t(),
            ("xx", f64s(&[4], &right())),
            ("xy", f64s(&[4], &right())),
        ],
    );
    let mut bytes = std::fs::read(&a).unwrap();
    for i in 0..bytes.len() - 6 {
        if &bytes[i..i + 6] == b"xy.npy" {
            bytes[i + 1] = b'x';
        }
    }
    std::fs::write(&a, bytes).unwrap();
    f.refused(&["a.npz", "twice"]);
}

/// A damaged byte anywhere is refused or changes nothing: never a crash, never a verdict about
/// other numbers than those stored. Catches a panic in a reader.
#[test]
fn flipped_bytes() {
    let f = Folder::new(&manifest());
    let a = f.file("a.npz");
    let whole = std::fs::read(&a).unwrap();
    for i in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[i] ^= 0x55;
        std::fs::write(&a, bytes).unwrap();
        let out = f.check();
        let code = out.status.code();
        assert!(
            matches!(code, Some(0) | Some(2)),
            "byte {i}: {code:?} {} {}",
            text(&out.stdout),
            text(&out.stderr)
        );
    }
}

/// A path that is not there, a folder without a manifest, and one with too many.
#[test]
fn bad_paths() {
    refused(
        &["check", "no/such/file"],
        &["no/such/file", "no such file"],
    );
    let f = Folder(tempfile::tempdir().unwrap());
    refused(&["check", path(f.0.path())], &["without manifest.json"]);
    std::fs::write(f.file("a.json"), "{}").unwrap();
    std::fs::write(f.file("b.json"), "{}").unwrap();
    refused(&["check", path(f.0.path())], &["several .json files"]);
}

/// `cld vectors`, answered with its own expected values, passes; without answers it is refused; a
/// partial answer is judged, and fails only if all were asked for. Catches names that do not match,
/// and files that are not whole.
#[test]
fn vectors_round_trip() {
    let f = Folder(tempfile::tempdir().unwrap());
    let dir = f.file("v");
    let out = cld(&[
        "vectors",
        path(&dir),
        "--process",
        "psld",
        "--suite",
        "kernel",
        "--suite",
        "transition",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["expected.npz", "inputs.npz", "manifest.json"]);
    refused(&["check", path(&dir)], &["answers.npz", "no such file"]);
    std::fs::copy(dir.join("expected.npz"), dir.join("answers.npz")).unwrap();
    let out = cld(&["check", path(&dir), "--require-all"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    // the same seed gives the same bytes, another seed others
    let before = std::fs::read(dir.join("inputs.npz")).unwrap();
    let again = |seed: &str| {
        cld(&[
            "vectors",
            path(&dir),
            "--process",
            "psld",
            "--suite",
            "kernel",
            "--suite",
            "transition",
            "--seed",
            seed,
        ])
    };
    assert_eq!(again("0").status.code(), Some(0));
    assert_eq!(std::fs::read(dir.join("inputs.npz")).unwrap(), before);
    assert_eq!(again("1").status.code(), Some(0));
    assert_ne!(std::fs::read(dir.join("inputs.npz")).unwrap(), before);
    assert_eq!(again("0").status.code(), Some(0));
    // one entry answered, the others not
    let m: Value =
        serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let entry = m["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["quantity"] == "kernel.det")
        .unwrap();
    let name = entry["outputs"]["det"].as_str().unwrap();
    let expected = cld_sgm::internal::files::read_npz(&dir.join("expected.npz")).unwrap();
    let det = &expected[name];
    npz(
        &dir.join("answers.npz"),
        &[(name, f64s(&det.shape, &det.data))],
    );
    let out = cld(&["check", path(&dir)]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("Not answered:"));
    assert_eq!(
        cld(&["check", path(&dir), "--require-all"]).status.code(),
        Some(1)
    );
    // a misspelt name is no silent omission
    npz(
        &dir.join("answers.npz"),
        &[
            (name, f64s(&det.shape, &det.data)),
            ("kernel.dett", f64s(&det.shape, &det.data)),
        ],
    );
    let out = cld(&["check", path(&dir)]);
    assert!(
        text(&out.stdout).contains("kernel.dett: no entry"),
        "{}",
        text(&out.stdout)
    );
}

/// Catches frozen vectors that ignore an option, a refusal that leaves a file behind, and an edited
/// adapter that is overwritten.
#[test]
fn frozen_vectors_for_pytest() {
    let f = Folder::new(&manifest());
    let file = f.file("test_vectors.py");
    let out = cld(&[
        "vectors",
        "--pytest",
        path(&file),
        "--only",
        "kernel.cov",
        "--process",
        "vp",
        "--t-min",
        "0.1",
    ]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let vectors = text.split_once("VECTORS = [").unwrap().1;
    assert!(
        vectors.contains("kernel.cov/")
            && !vectors.contains("kernel.ell/")
            && !vectors.contains("\"cld\"")
    );
    let times = vectors
        .split_once("\"t\": [")
        .unwrap()
        .1
        .split_once(']')
        .unwrap()
        .0;
    assert!(
        times.split(", ").all(|t| t.parse::<f64>().unwrap() >= 0.1),
        "{times}"
    );
    // an adapter that was edited is never lost
    refused(
        &["vectors", "--pytest", path(&file), "--only", "kernel.cov"],
        &["is there already", "allowed: a new file"],
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let other = f.file("other.py");
    refused(
        &["vectors", "--pytest", path(&other), "--process", "cdl"],
        &["process", "cdl", "cld"],
    );
    refused(
        &["vectors", "--pytest", path(&other), "--only", "nonsense"],
        &["only", "nonsense", "kernel.cov"],
    );
    refused(
        &["vectors", "--pytest", path(&other), "--suite", "kernels"],
        &["suite", "kernels", "kernel"],
    );
    refused(
        &["vectors", "--pytest", path(&other), "--t-min", "1"],
        &["t-min", "0 <= t-min < 1"],
    );
    refused(
        &[
            "vectors",
            "--pytest",
            path(&other),
            "--only",
            "schedule.rate",
            "--suite",
            "kernel",
        ],
        &["no entries"],
    );
    let err = refused(
        &[
            "vectors",
            "--pytest",
            path(&f.file("none").join("x.py")),
            "--only",
            "schedule.rate",
        ],
        &["none"],
    );
    assert!(
        !err.contains("/.cld-"),
        "a temporary file's name is nobody's concern: {err}"
    );
    assert!(!other.exists());
}

/// Folders that must not be written to stay as they were.
#[test]
fn vectors_refuse() {
    let f = Folder(tempfile::tempdir().unwrap());
    let dir = path(f.0.path());
    refused(
        &["vectors", dir, "--process", "cdl"],
        &["process", "cdl", "cld"],
    );
    refused(
        &["vectors", dir, "--suite", "kernels"],
        &["suite", "kernels", "kernel"],
    );
    assert_eq!(std::fs::read_dir(f.0.path()).unwrap().count(), 0);
    std::fs::write(f.file("manifest.json"), "mine").unwrap();
    refused(
        &["vectors", dir, "--process", "vp"],
        &["another manifest.json"],
    );
    assert_eq!(std::fs::read(f.file("manifest.json")).unwrap(), b"mine");
    std::fs::write(f.file("file"), "").unwrap();
    refused(
        &[
            "vectors",
            path(&f.file("file").join("sub")),
            "--process",
            "vp",
        ],
        &["cannot be made"],
    );
    // a folder that nobody, not even root, can write to
    if Path::new("/proc/self").exists() {
        refused(
            &["vectors", "/proc/self/vectors", "--process", "vp"],
            &["/proc/self/vectors", "cannot be made"],
        );
    }
}

/// The calculator: a request like the truth tables', with numbers that read back to the same f64.
#[test]
fn eval_request() {
    let request = json!({"comment": "ignored", "cases": [
        {"process": "cld", "params": {"mass": 0.25, "damping": "critical", "gamma": 0.04}, "objective": "hsm",
         "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}, "F": "ignored", "rows": [{"t": 1e-12}, {"t": 0.3, "cov": "ignored"}]},
        {"process": "vp", "params": {}, "objective": "dsm", "schedule": {"kind": "constant", "b": 1.0}, "rows": [{"s": 0.25, "t": 1.0}]}
    ]});
    let mut child = Command::new(env!("CARGO_BIN_EXE_cld"))
        .args(["eval", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(request.to_string().as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    let v: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(v["cases"].as_array().unwrap().len(), 2);
    assert_eq!(v["cases"][0]["process"], "cld");
    let row = &v["cases"][0]["rows"][1];
    let process = cld_sgm::process::Cld::new(0.25).unwrap();
    let schedule = cld_sgm::schedule::Schedule::constant(4.0).unwrap();
    let kernel = cld_sgm::kernel::Kernel::new(
        &process,
        &schedule,
        cld_sgm::kernel::Objective::hsm(0.04).unwrap(),
        0.3,
    )
    .unwrap();
    let at = |name: &str, i: usize, j: usize| row[name][i][j].as_f64().unwrap().to_bits();
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        assert_eq!(at("mean", i, j), kernel.mean()[(i, j)].to_bits());
        assert_eq!(at("cov", i, j), kernel.cov()[(i, j)].to_bits());
        assert_eq!(at("chol_lower", i, j), kernel.lower()[(i, j)].to_bits());
        assert_eq!(at("chol_upper", i, j), kernel.upper()[(i, j)].to_bits());
        assert_eq!(at("inv", i, j), kernel.inverse()[(i, j)].to_bits());
    }
    for (name, x) in [
        ("det", kernel.det()),
        ("logdet", kernel.log_det()),
        ("ell", kernel.ell()),
    ] {
        assert_eq!(row[name].as_f64().unwrap().to_bits(), x.to_bits(), "{name}");
    }
    let vp = &v["cases"][1]["rows"][0];
    assert!((vp["cov"][0][0].as_f64().unwrap() + (-0.75f64).exp_m1()).abs() < 1e-15);
}

/// One point by flags, and what is refused.
#[test]
fn eval_point() {
    let base = [
        "eval",
        "--process",
        "cld",
        "--mass",
        "0.25",
        "--objective",
        "hsm",
        "--gamma",
        "0.04",
    ];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    let out = cld(&with(&["--t", "1e-5"]));
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let printed = text(&out.stdout);
    for what in [
        "mean x",
        "cov v",
        "chol_lower x",
        "inv v",
        "logdet",
        "ell",
        "t = 1e-5",
    ] {
        assert!(printed.contains(what), "{what}: {printed}");
    }
    let out = cld(&with(&["--t", "1e-5", "--json"]));
    let v: Value = serde_json::from_slice(&out.stdout).unwrap();
    // against the table of the paper's setting (fixtures/truth), to 1e-15
    assert!((v["ell"].as_f64().unwrap() / 193.717_454_314_018_4 - 1.0).abs() < 1e-15);
    refused(&with(&["--t", "0"]), &["`t`", "0", "0 < t <= 1"]);
    refused(&with(&["--t", "NaN"]), &["`t`", "NaN"]);
    refused(&with(&["--t", "1.5"]), &["`t`", "1.5"]);
    refused(&with(&["--t", "0.5", "--s", "0.6"]), &["0.6"]);
    refused(
        &["eval", "--process", "cld", "--mass=-1", "--t", "0.5"],
        &["mass", "-1"],
    );
    refused(
        &["eval", "--process", "cld", "--mass", "inf", "--t", "0.5"],
        &["mass", "inf"],
    );
    refused(
        &["eval", "--process", "cdl", "--t", "0.5"],
        &["cdl", "cld, sscs-analytic"],
    );
    refused(
        &["eval", "--process", "cld", "--t", "0.5"],
        &["mass", "missing"],
    );
    refused(
        &["eval", "--process", "vp", "--gamma", "0.04", "--t", "0.5"],
        &["hsm", "no velocity"],
    );
    refused(
        &[
            "eval",
            "--process",
            "langevin-order-n",
            "--param",
            "order=5",
            "--t",
            "0.5",
        ],
        &["order", "5", "2, 3 or 4"],
    );
    refused(&["eval", "no-such-request.json"], &["no-such-request.json"]);
    assert_eq!(cld(&["eval"]).status.code(), Some(2));
}

/// A closed pipe is no error, a full disk is one.
#[test]
fn output_that_cannot_be_written() {
    if Path::new("/dev/full").exists() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_cld"))
            .args(["check", "fixtures/peers/psld"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2));
        assert!(
            text(&out.stderr).contains("standard output"),
            "{}",
            text(&out.stderr)
        );
    }
}

/// The audit's exit codes, files and words. Catches a planted error that does not reach the shell,
/// a report that is not written or written in part, and shards that do not merge to the same bytes.
#[test]
fn audit_reports_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let (html, json) = (file("a.html"), file("a.json"));
    let small = ["audit", "--paths", "16000", "--only", "ve.geometric/"];
    let run = |more: &[&str]| cld(&[&small[..], more].concat());
    let out = run(&[
        "--html",
        path(&html),
        "--json",
        path(&json),
        "--threads",
        "1",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("All is well"));
    assert!(std::fs::read_to_string(&html).unwrap().contains("</html>"));
    // shards, merged in the other order, give the same bytes
    for i in ["1/2", "2/2"] {
        let shard = file(&format!("s{}.json", &i[..1]));
        assert_eq!(
            run(&["--shard", i, "--json", path(&shard)]).status.code(),
            Some(0)
        );
    }
    let merged = file("m.json");
    let (one, two) = (file("s1.json"), file("s2.json"));
    let out = cld(&[
        "audit",
        "merge",
        path(&two),
        path(&one),
        "--html",
        path(&file("m.html")),
        "--json",
        path(&merged),
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    // but for how each was made: its command, its date, its seconds
    let evidence = |file: &Path| {
        let mut all: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let made = all.as_object_mut().unwrap().remove("made").unwrap();
        assert!(
            made["command"].as_str().unwrap().starts_with("cld audit "),
            "{made}"
        );
        all.to_string()
    };
    assert_eq!(evidence(&merged), evidence(&json));
    // a planted error: exit code 1, and the claim is named
    let out = run(&[
        "--html",
        path(&html),
        "--plant",
        "ve.geometric/cov.xx/doubling:1e-9",
    ]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stdout);
    assert!(
        said.contains("1 OFF")
            && said.contains("ve.geometric/cov.xx/doubling")
            && said.contains("Something is off"),
        "{said}"
    );
}

/// An error in every claim: exit codes, words, and what the files say. Catches a miss that is
/// called a success, a size below every power that counts against the claims, a size that is no
/// error, an empty selection.
#[test]
fn audit_plants_in_every_claim() {
    let dir = tempfile::tempdir().unwrap();
    let (html, json) = (dir.path().join("a.html"), dir.path().join("a.json"));
    let run = |more: &[&str]| {
        let files = ["--html", path(&html), "--json", path(&json)];
        let small = ["audit", "--paths", "16000", "--plant-all"];
        cld(&[&small[..], &files, more].concat())
    };
    let planted = || -> Value {
        let all: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        all["planted"].clone()
    };
    let out = run(&["--only", "ve.geometric/"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let n = planted()["claims"].as_array().unwrap().len();
    assert!(n > 10 && said.contains(&format!("all {n}/{n}.")), "{said}");
    assert!(planted()["sound"] == true && planted()["off"] == json!([]));
    assert!(
        std::fs::read_to_string(&html)
            .unwrap()
            .contains(&format!("{n} of {n} caught"))
    );
    // far below what any claim sees: all are missed, and none is to blame
    let out = run(&["--only", "ve.geometric/", "--size", "1e-300"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!("all 0/{n}.")) && said.contains("smaller than its power"),
        "{said}"
    );
    assert_eq!(planted()["cannot_fail"], json!([]));
    let wide = said.lines().find(|l| l.chars().count() > 80);
    assert!(wide.is_none(), "{wide:?}");
    std::fs::remove_file(&html).unwrap();
    for (more, words) in [
        (&["--size", "NaN"][..], &["`size`", "NaN"][..]),
        (&["--size", "inf"], &["`size`"]),
        (&["--size", "0"], &["`size`"]),
        (&["--size", "-0.1"], &["`size`"]),
        (&["--only", "nonsense"], &["`nonsense`"]),
        (&["--only", ""], &["`only`"]),
    ] {
        let all = [&["audit", "--plant-all", "--html", path(&html)], more].concat();
        refused(&all, words);
    }
    for clash in [&["--plant-all", "--plant", "x:1"][..], &["--size", "0.1"]] {
        let out = cld(&[&["audit", "--html", path(&html)], clash].concat());
        assert_eq!(out.status.code(), Some(2), "{clash:?}");
        assert!(text(&out.stderr).contains("--plant-all"), "{clash:?}");
    }
    assert!(!html.exists());
}

/// Unusable input to the audit: one sentence, exit code 2, nothing written.
#[test]
fn audit_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let (torn, page) = (dir.path().join("torn.json"), dir.path().join("page.html"));
    std::fs::write(&torn, "{\"schema\": \"cld-audit-shard/1\", ").unwrap();
    let empty = dir.path().join("empty.json");
    std::fs::write(&empty, "{}").unwrap();
    let html = ["--html", path(&page)];
    for (args, words) in [
        (vec!["--paths", "10"], vec!["`paths`", "10", "16000"]),
        (vec!["--only", "nonsense"], vec!["`only`", "nonsense"]),
        (vec!["--only", ""], vec!["`only`", "``"]),
        (
            vec!["--list", "--only", "nothing"],
            vec!["`only`", "nothing"],
        ),
        (
            vec!["--only", "nothing", "--shard", "1/2"],
            vec!["`only`", "nothing"],
        ),
        (
            vec!["--only", "cov.xx/doubling", "--shard", "1/2"],
            vec!["`only`", "cov.xx/doubling", "simulation"],
        ),
        (
            vec!["--plant", "ve.geometric/cov.xx/doubling:NaN"],
            vec!["`plant`", "NaN"],
        ),
        (vec!["--plant", "nonsense"], vec!["`plant`", "ID:SIZE"]),
        (vec!["--plant", "a/b/c:inf"], vec!["`plant`", "ID:SIZE"]),
        (
            vec![
                "--only",
                "ve.geometric/",
                "--paths",
                "16000",
                "--plant",
                "a/b/c:1",
            ],
            vec!["`plant`", "a/b/c"],
        ),
        (vec!["--threads", "0"], vec!["`threads`", "0"]),
        (vec!["--shard", "3"], vec!["`shard`", "I/N"]),
        (vec!["--shard", "3/2"], vec!["`shard`", "3/2"]),
        (vec!["merge", path(&torn)], vec!["torn.json", "line 1"]),
        (
            vec!["merge", path(&empty)],
            vec!["empty.json", "schema", "missing"],
        ),
        (
            vec!["merge", "no-such-file.json"],
            vec!["no-such-file.json", "cannot be read"],
        ),
    ] {
        let merge = args[0] == "merge";
        let all: Vec<&str> = if merge {
            [&["audit"], &args[..], &html].concat()
        } else {
            [&["audit"], &html[..], &args].concat()
        };
        refused(&all, &words);
    }
    refused(
        &["audit", "--html", "/no/such/folder/a.html"],
        &["/no/such/folder/a.html", "cannot be written"],
    );
    refused(&["audit", "--html", path(dir.path())], &["is a folder"]);
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Shards without evidence (`fixtures/cases/shards`): a portion without records whose group then
/// "held" with every mean off by 1000; means and sums of another length, which panicked. Each is
/// refused by file, group and field, and nothing is written.
#[test]
fn audit_merges_no_torn_shards() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let case = |name: &str| {
        format!(
            "{}/fixtures/cases/shards/{name}",
            env!("CARGO_MANIFEST_DIR")
        )
    };
    for (a, b, words) in [
        (
            "wrong1e.json",
            "wrong2.json",
            ["wrong1e.json", "portion 0", "incomplete"],
        ),
        (
            "mean.json",
            "shard-2-of-2.json",
            ["mean.json", "record 0", "mean"],
        ),
        (
            "sum.json",
            "shard-2-of-2.json",
            ["sum.json", "record 0", "sum"],
        ),
        (
            "shard-2-of-2.json",
            "shard-2-of-2.json",
            ["shard-2-of-2.json", "shard", "twice"],
        ),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            let words = if words[2] == "twice" {
                words.to_vec()
            } else {
                [&words[..], &["cld-heavy.dsm.constant/exact"]].concat()
            };
            refused(
                &["audit", "merge", &case(a), &case(b), "--html", path(&page)],
                &words,
            );
        }
    }
    refused(
        &[
            "audit",
            "merge",
            &case("shard-2-of-2.json"),
            "--html",
            path(&page),
        ],
        &["shard 1 of 2", "missing"],
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Catches a list that computes what it lists (44 seconds once): all ids, in a time in which
/// nothing could be computed.
#[test]
fn audit_lists_at_once() {
    let started = std::time::Instant::now();
    let out = cld(&["audit", "--list"]);
    let took = started.elapsed();
    let ids = text(&out.stdout);
    assert!(
        out.status.code() == Some(0) && ids.lines().count() > 3000,
        "{}",
        ids.lines().count()
    );
    println!("{took:?}");
    // half a second of one core with little optimisation; other tests run beside this one
    assert!(took.as_secs_f64() < 10.0, "{took:?}");
    let mut sorted: Vec<&str> = ids.lines().collect();
    sorted.dedup();
    assert!(
        sorted.is_sorted() && sorted.len() == ids.lines().count(),
        "ids in order, each once"
    );
}

/// Interrupted, the audit leaves nothing behind: no report, no half of one, no temporary file. (By
/// SIGTERM: what runs in the background of a script has Ctrl-C's SIGINT ignored, and so have its
/// children.)
#[test]
#[cfg(unix)]
fn audit_interrupted_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("a.html");
    // far more paths than the test waits for
    let mut child = Command::new(env!("CARGO_BIN_EXE_cld"))
        .args([
            "audit",
            "--paths",
            "10000000000",
            "--only",
            "vp.linear/",
            "--html",
            path(&page),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "still at work");
    assert!(
        Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(!child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Samples, plots and the summary. Catches samples that depend on the number of threads, arrays of
/// the wrong name or shape, a plot of the wrong kind, and a file left half written.
#[test]
fn sample_writes_the_same_bits_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let (one, two) = (file("1.npz"), file("2.npz"));
    let small = [
        "sample",
        "--data",
        "mixture",
        "--sampler",
        "sscs",
        "--steps",
        "20",
        "--n",
        "2500",
        "--denoise",
        "--seed",
        "3",
    ];
    let run = |more: &[&str]| cld(&[&small[..], more].concat());
    let out = run(&[
        "--threads",
        "1",
        "--out",
        path(&one),
        "--plot",
        path(&file("a.png")),
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    // 20 steps and the last one
    assert!(
        said.contains("evaluations per sample   21\n") && said.contains("sliced W2"),
        "{said}"
    );
    let out = run(&[
        "--threads",
        "2",
        "--out",
        path(&two),
        "--plot",
        path(&file("a.svg")),
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    let arrays = cld_sgm::internal::files::read_npz(&one).unwrap();
    assert_eq!(
        arrays
            .iter()
            .map(|(name, a)| (name.as_str(), a.shape.clone()))
            .collect::<Vec<_>>(),
        [("v", vec![2500, 2]), ("x", vec![2500, 2])]
    );
    assert!(arrays["x"].data.iter().all(|x| x.abs() < 10.0));
    assert!(
        std::fs::read(file("a.png"))
            .unwrap()
            .starts_with(b"\x89PNG\r\n")
    );
    assert!(
        std::fs::read_to_string(file("a.svg"))
            .unwrap()
            .trim_end()
            .ends_with("</svg>")
    );
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        4,
        "no temporary file left"
    );
    // another process, without velocity, by flags
    let vp = [
        "sample",
        "--data",
        "diamond",
        "--sampler",
        "em",
        "--steps",
        "5",
        "--n",
        "10",
        "--process",
        "vp",
        "--spacing",
        "power:3",
    ];
    let out = cld(&[
        &vp[..],
        &[
            "--schedule",
            r#"{"kind":"linear","b0":0.1,"b1":19.9}"#,
            "--out",
            path(&one),
        ],
    ]
    .concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(
        cld_sgm::internal::files::read_npz(&one)
            .unwrap()
            .into_keys()
            .collect::<Vec<_>>(),
        ["x"]
    );
}

/// Unusable input to `cld sample` and `cld compare`: one sentence, exit code 2, nothing written.
#[test]
fn samplers_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let (npz, svg) = (dir.path().join("a.npz"), dir.path().join("a.svg"));
    let base = [
        ("--data", "mixture"),
        ("--sampler", "sscs"),
        ("--steps", "10"),
    ];
    let with = |name: &str, value: &str| -> Vec<String> {
        let mut all: Vec<String> = vec![
            "sample".into(),
            "--out".into(),
            path(&npz).into(),
            "--plot".into(),
            path(&svg).into(),
        ];
        let rest = base
            .iter()
            .filter(|(n, _)| *n != name)
            .copied()
            .chain([(name, value)]);
        all.extend(rest.flat_map(|(n, v)| [n.to_string(), v.to_string()]));
        all
    };
    for (name, value, words) in [
        ("--data", "moons", vec!["`data`", "moons", "swissroll"]),
        ("--sampler", "magic", vec!["`sampler`", "magic", "sscs"]),
        ("--steps", "0", vec!["`steps` is 0"]),
        ("--n", "0", vec!["`n` is 0"]),
        ("--spacing", "cubic", vec!["`spacing`", "cubic", "log-snr"]),
        ("--spacing", "power:0", vec!["`power` is 0"]),
        ("--eps", "1.5", vec!["`eps` is 1.5"]),
        ("--eps", "0", vec!["`eps` is 0"]),
        ("--process", "ve", vec!["ve", "stationary"]),
        ("--process", "cars", vec!["cars"]),
        ("--gamma", "-1", vec!["gamma", "-1"]),
        ("--threads", "0", vec!["`threads`", "0"]),
    ] {
        let args = with(name, value)
            .into_iter()
            .map(|a| if a == "-1" { "--gamma=-1".into() } else { a })
            .collect::<Vec<String>>();
        let args: Vec<&str> = args
            .iter()
            .map(String::as_str)
            .filter(|a| *a != "--gamma")
            .collect();
        refused(&args, &words);
    }
    let plain: Vec<&str> = ["sample"]
        .into_iter()
        .chain(base.iter().flat_map(|(n, v)| [*n, *v]))
        .collect();
    refused(
        &[&plain[..], &["--plot", "a.jpg"]].concat(),
        &["`plot`", "a.jpg", ".png"],
    );
    refused(
        &[&plain[..], &["--out", "/no/such/folder/a.npz"]].concat(),
        &["/no/such/folder/a.npz", "cannot be written"],
    );
    for (more, words) in [
        (["--nfe", "0"], vec!["`nfe` is 0"]),
        (["--samplers", "magic"], vec!["`sampler`", "magic"]),
        (["--spacings", "cubic"], vec!["`spacing`", "cubic"]),
        (["--n", "10"], vec!["`n` is 10"]),
        (["--data", "moons"], vec!["`data`", "moons"]),
        (["--plot", "a.gif"], vec!["`plot`", "a.gif"]),
    ] {
        refused(
            &[&["compare", "--csv", path(&npz)], &more[..]].concat(),
            &words,
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The comparison's table, files and plots. Catches budgets that count steps, a CSV whose rows are
/// not those of the JSON, and figures that depend on the number of threads.
#[test]
fn compare_writes_table_and_plots() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let small = [
        "compare",
        "--samplers",
        "em,sscs,flow-heun",
        "--nfe",
        "10,40",
        "--n",
        "1024",
    ];
    let run = |threads: &str| {
        let out = cld(&[
            &small[..],
            &[
                "--threads",
                threads,
                "--csv",
                path(&file("a.csv")),
                "--json",
                path(&file("a.json")),
            ],
            &[
                "--plot",
                path(&file("a.svg")),
                "--plot",
                path(&file("a.png")),
            ],
        ]
        .concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        (text(&out.stdout), std::fs::read(file("a.json")).unwrap())
    };
    let one = run("1");
    assert_eq!(one, run("2"));
    assert!(
        one.0.contains("sliced W2")
            && one.0.contains("energy distance")
            && one.0.contains("least W2"),
        "{}",
        one.0
    );
    let v: Value = serde_json::from_slice(&one.1).unwrap();
    let rows = v["rows"].as_array().unwrap();
    // three samplers, two grids, two budgets
    assert_eq!(rows.len(), 12);
    assert!(
        rows.iter()
            .all(|r| r["nfe"].as_f64() == r["budget"].as_f64())
    );
    assert!(
        rows.iter()
            .filter(|r| r["sampler"] == "flow-heun")
            .all(|r| 2.0 * r["steps"].as_f64().unwrap() == r["nfe"].as_f64().unwrap())
    );
    assert_eq!(
        std::fs::read_to_string(file("a.csv"))
            .unwrap()
            .lines()
            .count(),
        13
    );
    assert!(
        std::fs::read(file("a.png"))
            .unwrap()
            .starts_with(b"\x89PNG\r\n")
    );
    assert!(
        std::fs::read_to_string(file("a.svg"))
            .unwrap()
            .contains("flow-heun")
    );
    let out = cld(&[
        "compare",
        "--data",
        "gaussian",
        "--samplers",
        "em,sscs",
        "--nfe",
        "10,100",
    ]);
    assert!(
        text(&out.stdout).contains("W2, exact"),
        "{}",
        text(&out.stderr)
    );
}

/// Catches several processes that `mpirun` started and that write over each other's files: refused
/// in one sentence by the first, silently by the others; one process is no team. (A build with MPI
/// would train together.)
#[test]
#[cfg(not(feature = "mpi"))]
fn several_processes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let with = |env: &[(&str, &str)], args: &[&str]| {
        let mut c = Command::new(env!("CARGO_BIN_EXE_cld"));
        c.args(args);
        c.envs(env.iter().copied()).output().unwrap()
    };
    let train = [
        "train",
        "--data",
        "swissroll",
        "--steps",
        "1",
        "--out",
        path(&out),
    ];
    for [size, rank] in [
        ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
        ["PMI_SIZE", "PMI_RANK"],
        ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
    ] {
        let first = with(&[(size, "4"), (rank, "0")], &train);
        let said = text(&first.stderr);
        assert_eq!(first.status.code(), Some(2));
        assert!(said.contains("`4`") || said.contains("is 4"), "{said}");
        assert!(
            said.contains("no MPI") && said.lines().count() == 1,
            "{said}"
        );
        let other = with(&[(size, "4"), (rank, "3")], &train);
        assert_eq!((other.status.code(), other.stderr.len()), (Some(2), 0));
        assert!(!out.exists());
        let audit = with(&[(size, "2")], &["audit", "--list"]);
        assert!(text(&audit.stderr).contains("--shard"));
        let one = with(
            &[(size, "1"), (rank, "0")],
            &["audit", "--only", "vp.", "--list"],
        );
        assert_eq!(one.status.code(), Some(0), "{}", text(&one.stderr));
    }
}
