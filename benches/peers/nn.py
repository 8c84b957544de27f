"""One table: a training step and an evaluation of the same U-Net in this crate, PyTorch, ONNX Runtime and OpenVINO (evaluation), candle and
burn, one after the other.

usage: pip install -r benches/peers/requirements.txt
       python3 benches/peers/nn.py [--sizes 28,8] [--threads 1,2] [--batch 64] [--steps 10] [--rounds 1] [--limit 600] [--only burn,candle] [--no-build]

The net is the one of unet_torch.py; unet_onnx.py exports it, `nets/` holds it in candle and burn. Each figure is the median over the steps of a fresh process,
the least over the rounds; the peak is that of the process. A peer that is not there is skipped with a line saying why.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NETS = HERE / "nets"
# the first of those present is what the ratios refer to
OURS = "this crate"
PEERS = {
    OURS: ["ours"],
    "this crate, parts = 2": ["ours", "2"],
    "PyTorch eager": ["torch"],
    "PyTorch channels-last": ["torch", "--channels-last"],
    "PyTorch compiled": ["torch", "--compile"],
    "PyTorch compiled, channels-last": ["torch", "--compile", "--channels-last"],
    "ONNX Runtime": ["onnx", "--runtime", "onnxruntime"],
    "OpenVINO": ["onnx", "--runtime", "openvino"],
    "candle": ["candle"],
    "burn, flex": ["burn", "--backend", "flex"],
}
WHAT = ("train", "eval", "peak")


def parse_peer(text):
    """What unet_torch.py and the two programs print, as {"train": ms, "eval": ms, "peak": MiB}.

    >>> parse_peer("train step: median 3.5 ms, best 3.2 ms\\neval step: median 1.0 ms, best 0.9 ms\\nparameters 7, peak 99 MiB, x")
    {'train': 3.5, 'eval': 1.0, 'peak': 99.0}
    """
    found = {k: float(v) for k, v in re.findall(r"^(train|eval) step: median ([\d.]+) ms", text, re.M)}
    peak = re.search(r"peak ([\d.]+) MiB", text)
    if peak:
        found["peak"] = float(peak[1])
    return found


def parse_ours(text, size, batch, threads):
    """What `cargo bench --bench nn` prints of one case, likewise.

    >>> parse_ours("train 28 64 threads 2: 123.4 ms\\neval 28 64 threads 2: 40 ms\\npeak 28 64 threads 2: 300 MiB\\neval 8 64 threads 2: 1 ms", 28, 64, 2)
    {'train': 123.4, 'eval': 40.0, 'peak': 300.0}
    """
    lines = re.findall(r"^\s*(train|eval|peak) (\d+) (\d+) threads (\d+): ([\d.]+) (?:ms|MiB)\b", text, re.M)
    return {what: float(value) for what, *case, value in lines if [int(n) for n in case] == [size, batch, threads]}


def reason(stderr):
    lines = [line for line in stderr.splitlines() if line.strip()] or ["no message"]
    return next((line for line in lines if line.startswith("error")), lines[-1])


def run(command, limit=None):
    """Standard output, or None and the last line of what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"takes longer than {limit:g} s"
    except OSError as e:
        return None, str(e)
    if done.returncode:
        return None, reason(done.stderr)
    return done.stdout, ""


def bench():
    """The crate's own bench, built."""
    text, why = run(["cargo", "bench", "--bench", "nn", "--no-run", "--message-format", "json"])
    found = [m["executable"] for m in map(json.loads, (text or "").splitlines()) if m.get("executable") and m["target"]["name"] == "nn"]
    return [found[-1], "--case"] if found else why or "cargo names no program"


def programs(kinds, build):
    """Where each kind of peer is: kind -> command, or the reason why it is not there."""
    out = {}
    torch = importlib.util.find_spec("torch") is not None
    out["torch"] = [sys.executable, str(HERE / "unet_torch.py")] if torch else "torch is not installed: pip install -r benches/peers/requirements.txt"
    missing = [m for m in ("torch", "onnx", "onnxscript") if importlib.util.find_spec(m) is None]
    out["onnx"] = [sys.executable, str(HERE / "unet_onnx.py")] if not missing else f"{missing[0]} is not installed: pip install -r benches/peers/requirements.txt"
    if "ours" in kinds:
        out["ours"] = bench()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", NETS / "target")).resolve()
    for kind in kinds & {"candle", "burn"}:
        path = target / "release" / kind
        why = "not built, and --no-build was given"
        if build:
            if shutil.which("cargo") is None:
                why = "cargo is not installed"
            else:
                # from its own folder, for its .cargo/config.toml
                command = ["cargo", "build", "--release", "--locked", "--bin", kind]
                done = subprocess.run(command, capture_output=True, text=True, cwd=NETS, env=dict(os.environ, CARGO_TARGET_DIR=str(target)))
                if done.returncode:
                    out[kind] = "does not build: " + reason(done.stderr)
                    continue
        out[kind] = [str(path)] if path.exists() else why
    return out


def table(results, reference):
    """Lines of a Markdown table; ratios are to `reference`, larger than 1 where the peer is slower or takes more."""
    head = ["size", "threads", "who", "training step, ms", "", "evaluation, ms", "", "peak, MiB", ""]
    rows = [head, ["---:", "---:", "---"] + ["---:"] * 6]
    for (size, threads), by_name in results.items():
        for name, got in by_name.items():
            row = [str(size), str(threads), name]
            for what in WHAT:
                value, base = got.get(what), by_name.get(reference, {}).get(what)
                digits = 0 if what == "peak" else 1
                row += ["-" if value is None else f"{value:.{digits}f}", f"x{value / base:.2f}" if value and base else ""]
            rows.append(row)
    return ["| " + " | ".join(r) + " |" for r in rows]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--sizes", default="28,8")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--limit", type=float, default=600, help="seconds for one process of a peer")
    p.add_argument("--only", default="", help="names of peers, or the start of them, with commas")
    p.add_argument("--no-build", action="store_true")
    a = p.parse_args()
    numbers = lambda text: [int(w) for w in text.split(",")]
    wanted = [w.strip().lower() for w in a.only.split(",") if w.strip()]
    chosen = {n: c for n, c in PEERS.items() if not wanted or any(n.lower().startswith(w) for w in wanted)}
    where = programs({c[0] for c in chosen.values()}, not a.no_build)
    skipped = {}
    for name, command in list(chosen.items()):
        if isinstance(where[command[0]], str):
            skipped[name] = where[command[0]]
            del chosen[name]
    cases = [(s, t) for s in numbers(a.sizes) for t in numbers(a.threads)]
    results = {case: {} for case in cases}

    def keep(case, name, got):
        best = results[case].setdefault(name, {})
        for what, value in got.items():
            best[what] = min(value, best.get(what, value))

    def measure():
        for size, threads in cases:
            for name, (kind, *flags) in chosen.items():
                common = {"--size": size, "--threads": threads, "--batch": a.batch, "--steps": a.steps}
                if kind == "ours":
                    text, why = run(where[kind] + [str(n) for n in (size, a.batch, threads)] + flags, a.limit)
                    got = parse_ours(text or "", size, a.batch, threads)
                else:
                    text, why = run(where[kind] + flags + [str(w) for pair in common.items() for w in pair], a.limit)
                    got = parse_peer(text or "")
                if not got:
                    skipped[f"{name}, size {size}, threads {threads}"] = why or "prints no figures"
                    continue
                keep((size, threads), name, got)
                print(f"{name}, size {size}, threads {threads}: " + ", ".join(f"{k} {v:g}" for k, v in got.items()), file=sys.stderr, flush=True)
    try:
        for _ in range(a.rounds):
            measure()
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
    everywhere = [n for n in PEERS if any(n in r for r in results.values())]
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}")
    if everywhere:
        print(f"batch {a.batch}; ratios to {everywhere[0]}")
        print("\n".join(table(results, everywhere[0])))


if __name__ == "__main__":
    main()
