"""The test file that `cld vectors --pytest` writes, run against a right adapter and wrong ones."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from cld_sgm import _native

HERE = pathlib.Path(__file__).parent

ADAPTER = '''
def answer(quantity, process, inputs, settings):
    import numpy as np
    import implementations

    schedule = process.get("schedule", {})
    if process.get("kind") != "cld" or "Gamma" in process or schedule["kind"] != "linear" or process["objective"] != "hsm":
        return None
    if not 0.1 <= process["mass"] <= 10:
        return None
    code = getattr(implementations, "NAME")(np)
    code.mass = process["mass"] if "NAME" != "MassInverted" else 1 / process["mass"]
    code.gamma, code.b0, code.b1 = process["gamma"], schedule["b0"], schedule["b1"]
    given = {name: np.array(a, PRECISION) for name, a in inputs.items()}
    if quantity == "kernel.cov":
        return dict(zip(("xx", "xv", "vv"), code.cov(given["t"])))
    if quantity == "kernel.ell":
        return {"ell": code.ell(given["t"]).tolist()}
    if quantity == "score.mixed":
        return {"score": code.mixed_score(given["u"], given["net_output"], given["t"])}
    return None
'''


def write(*arguments):
    return _native.cld(["cld", "vectors", "--pytest", *arguments])


def run(folder, name, precision="float64", edit=lambda text: text):
    file = folder / "test_frozen.py"
    assert write(str(file), "--t-min", "1e-6") == 0
    text = file.read_text()
    top, rest = text.split("def answer(", 1)
    rest = rest.split("\n\n\n# ---- The vectors", 1)[1]
    top = top.replace('PRECISION = "float64"', f'PRECISION = "{precision}"')
    file.write_text(edit(top + ADAPTER.replace("NAME", name) + "\n\n# ---- The vectors" + rest))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_right_adapter_passes(tmp_path, precision):
    """Catches vectors or conditions that are wrong, and tolerances that right code in its own precision does not meet: the adapter is the
    independent implementation."""
    code, text = run(tmp_path, "Right", precision)
    assert code == 0, text[-3000:]
    passed, skipped = (int(re.search(rf"(\d+) {word}", text)[1]) for word in ("passed", "skipped"))
    # cov, ell and mixed score of five configurations, and the last test
    assert passed >= 3 * 4 + 1 and skipped > 100, text


@pytest.mark.parametrize(("name", "failing"), [("MassInverted", "kernel.cov"), ("CouplingReversed", "kernel.cov"), ("EllOfMarginal", "kernel.ell")])
def test_wrong_adapters_fail(tmp_path, name, failing):
    """Catches a mistake that passes the frozen vectors."""
    code, text = run(tmp_path, name)
    assert code == 1 and f"test_vector[{failing}/" in text and "where" in text, text[-3000:]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("code.cov(given", "(lambda t: [np.nan * t] * 3)(given"), "is nan where"),
        (lambda text: text.replace('"kernel.cov"', '"nothing"').replace('"kernel.ell"', '"nothing"').replace('"score.mixed"', '"nothing"'), "offers nothing"),
        (lambda text: text.replace('{"ell": code.ell(given["t"]).tolist()}', '{"ell": []}'), "ell has 0 numbers; allowed:"),
        (lambda text: text.replace('{"ell":', '{"l":'), "none of its outputs (ell) is among l"),
    ],
)
def test_nothing_and_nan_never_pass(tmp_path, edit, words):
    """Catches NaN within a tolerance, an answer without numbers, and a file that answers nothing and passes."""

    # the template's own lines hold these words, too: only the adapter is edited
    def inner(text):
        top, rest = text.split("\n# ---- The vectors", 1)
        return edit(top) + "\n# ---- The vectors" + rest

    code, text = run(tmp_path, "Right", edit=inner)
    assert code == 1 and words in text, text[-3000:]


def test_options_and_refusals(tmp_path, capfd):
    """Catches an adapter that is overwritten, and options that are not heeded."""
    file = tmp_path / "test_frozen.py"
    assert write(str(file), "--only", "kernel.cov", "--process", "vp", "--t-min", "0.1") == 0
    text = file.read_text()
    assert '"kind": "vp"' in text and '"kind": "cld"' not in text.split("VECTORS = [")[1] and "kernel.ell" not in text.split("VECTORS = [")[1]
    assert all(float(t) >= 0.1 for row in re.findall(r'"t": \[(.*?)\]', text) for t in row.split(",") if "tensor" not in row)
    compile(text, "test_frozen.py", "exec")
    capfd.readouterr()
    assert write(str(file)) == 2 and "allowed: a new file" in capfd.readouterr().err
    assert file.read_text() == text
    for arguments, words in [
        (["--only", "nonsense"], "parameter `only` is nonsense; allowed:"),
        (["--process", "cdl"], "allowed:"),
        (["--t-min", "2"], "t-min"),
        (["--only", "schedule.rate", "--suite", "kernel"], "no entries"),
    ]:
        assert write(str(tmp_path / "other.py"), *arguments) == 2 and words in capfd.readouterr().err
        assert not (tmp_path / "other.py").exists()
