"""The suite of cld_sgm.conformance against a right adapter and wrong ones."""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
from implementations import HalfKick, Right, ScoreAtEnd

import cld_sgm
from cld_sgm.conformance import CLDConformance

HERE = pathlib.Path(__file__).parent

ADAPTER = """
import numpy as np
import cld_sgm
import implementations

class Settings:
    process = cld_sgm.CLD(beta=(0.1, 20.0))
    dtype = "float32"
    t_min = 1e-4

    def __init__(self):
        super().__init__(np)

class Fine(Settings, implementations.Right): pass
class Kick(Settings, implementations.HalfKick): pass
class Time(Settings, implementations.ScoreAtEnd): pass
class Mass(Settings, implementations.MassInverted): pass

class Rare(Settings, implementations.Right):
    # wrong where no fixed time is
    def cov(self, t):
        xx, xv, vv = super().cov(t)
        return xx, xv, np.where((t > 0.3001) & (t < 0.399), 1.001 * vv, vv)

class Scaled(Settings):
    # right at the paper's mass alone: the drift has Gamma / M = 4 written out
    dtype = "float64"
    def __init__(self): pass
    def implement(self, process):
        class Code(implementations.Right):
            mass, gamma = process.description["mass"], process.description["gamma"]
            b0, b1 = process.description["schedule"]["b0"], process.description["schedule"]["b1"]
        return Code(np)
"""


def run(folder, *arguments):
    (folder / "mine.py").write_text(ADAPTER)
    path = os.pathsep.join([str(folder), str(HERE), os.environ.get("PYTHONPATH", "")])
    # without the entry point, where the package is not installed
    plugin = [] if any("cld_sgm._pytest" == e.value for e in _entry_points()) else ["-p", "cld_sgm._pytest"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, "--pyargs", "cld_sgm.conformance", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - start


def _entry_points():
    from importlib.metadata import entry_points

    return entry_points(group="pytest11")


def test_a_right_adapter_passes_within_a_minute(tmp_path):
    """Catches a suite that fails right code, skips what is offered, or takes too long to be run by default."""
    code, text, seconds = run(tmp_path, "--cld-adapter", "mine:Fine")
    assert code == 0 and " failed" not in text and " passed" in text, text
    # what is not offered is skipped: one skip each
    assert re.search(r"\d+ skipped", text), text
    assert seconds < 60


@pytest.mark.parametrize(
    ("adapter", "function", "cause"),
    [("Kick", "reverse_drift", "[half-kick]"), ("Time", "em_step", "[score-at-end-of-step]"), ("Mass", "cov", "[mass-inverted]")],
)
def test_wrong_adapters_fail_by_their_cause(tmp_path, adapter, function, cause):
    """Catches a mistake that passes the suite, or a message without the cause."""
    code, text, _ = run(tmp_path, "--cld-adapter", f"mine:{adapter}")
    assert code == 1 and cause in text and f"test_formula[{function}-cld-late]" in text, text
    # a mistake in one place leaves the others right
    assert all(re.search(rf"\d+ {word}", text) for word in ("failed", "passed", "skipped")), text


@pytest.mark.parametrize(
    ("adapter", "test", "words"),
    [("Rare", "cov-cld-late", r"simplest case found: t = 0\.3"), ("Scaled", "drift-cld-late", r"simplest case found: t = .*mass=")],
)
def test_hypothesis_finds_what_the_fixed_inputs_miss(tmp_path, adapter, test, words):
    """Catches random inputs that are not tried, are not shrunk, or are shrunk for minutes: an error between the fixed times, or at other parameters."""
    pytest.importorskip("hypothesis")
    code, text, seconds = run(tmp_path, "--cld-adapter", f"mine:{adapter}", "-k", test.split("-")[0])
    assert seconds < 60
    assert code == 1 and f"test_formula[{test}]" in text and re.search(words, text), text
    assert "and 20 of hypothesis" in text
    fixed, _, _ = run(tmp_path, "--cld-adapter", f"mine:{adapter}", "-k", test.split("-")[0], "--cld-seconds", "0")
    assert fixed == 0


def test_without_hypothesis(tmp_path):
    """Catches a suite that needs hypothesis, or does not say what it goes without."""
    (tmp_path / "hypothesis.py").write_text("raise ImportError('none')")
    code, text, _ = run(tmp_path, "--cld-adapter", "mine:Fine", "-k", "cov", "-p", "no:hypothesispytest")
    assert code == 0 and "fixed inputs alone (random ones need hypothesis" in text, text


def test_expected_failures(tmp_path):
    """Catches a file of expected failures that is not read, or that hides more than it names."""
    (tmp_path / "xfails").write_text("reverse_drift  # known: issue 1\nem_step[cld-late]\n")
    code, text, _ = run(tmp_path, "--cld-adapter", "mine:Kick", "--cld-xfails-file", "xfails")
    assert code == 1 and "reverse_drift" not in text.split("short test summary")[1] and "em_step-cld-middle" in text, text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--cld-adapter (or CLD_ADAPTER) is missing; allowed: a module"),
        (["--cld-adapter", "nowhere.at.all"], "--cld-adapter is nowhere.at.all: No module named 'nowhere'"),
        (["--cld-adapter", "mine:Other"], "--cld-adapter is mine:Other: mine has no Other"),
        (["--cld-adapter", "mine:Fine", "--cld-xfails-file", "gone"], "--cld-xfails-file is gone: No such file"),
    ],
)
def test_bad_options_get_one_sentence(tmp_path, arguments, sentence):
    """Catches a traceback, or a suite that runs nothing and passes."""
    code, text, _ = run(tmp_path, *arguments)
    assert code != 0 and sentence in text, text


class TestInOnesOwnFile(CLDConformance):
    """Catches a suite that cannot be subclassed."""

    implementation = Right(__import__("numpy"))
    process = cld_sgm.CLD(beta=(0.1, 20.0))
    t_min = 1e-4


assert HalfKick and ScoreAtEnd  # the adapter's
