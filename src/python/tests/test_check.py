"""check(): right code passes in every library and type, each planted mistake is named first, and bad input gets one sentence."""

import importlib
import json
import math
import pathlib
import re

import numpy as np
import pytest
from implementations import PLANTED, Right

import cld_sgm

PROCESS = cld_sgm.CLD(mass=0.25, gamma=0.04, beta=(0.1, 20.0))
#: before it the determinant leaves float32
T_MIN = 1e-9


def library(name, dtype):
    """Array module; float64 in jax has to be asked for."""
    module = pytest.importorskip({"jax": "jax.numpy"}.get(name, name))
    if name == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", dtype == "float64")
    return module


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_right_code_passes(name, dtype):
    """Catches a right implementation called with a wrong layout, or held to the precision of another type."""
    report = cld_sgm.check(Right(library(name, dtype)), PROCESS, t_min=T_MIN, dtype=dtype)
    assert report.ok and not report.causes, report
    assert len(report.right) == 21 and sum(report.right.values()) > 900, report
    # `where` of torch and jax takes no arrays of numpy: had the library not been found, this would not have run
    assert all(how.startswith(name) for how in report.understood.values()), report


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(("planted", "cause"), PLANTED, ids=[cause for _, cause in PLANTED])
def test_planted_mistakes_are_named_first(planted, cause, name):
    """Catches a mistake that passes, or that goes by another name through this door, in float32."""
    report = cld_sgm.check(planted(library(name, "float32")), PROCESS, t_min=T_MIN, dtype="float32")
    assert not report.ok and report.off, report
    assert report.causes and report.causes[0].id == cause, report
    assert report.causes[0].text in " ".join(str(report).split()) and report.causes[0].id in report._repr_html_()


class Printed:
    """The printed formulas, in natural style."""

    def cov(self, t):
        b, m, g = 4.0 * t, 0.25, 0.04
        e = np.exp(-4 * b)
        xx = 1 - e * (1 + 4 * b + 8 * b * b) + 16 * b * b * e * g * m
        xv = 4 * b * b * e + 4 * b * (1 - 2 * b) * e * g * m
        vv = m * (1 - e * (1 - 4 * b + 8 * b * b)) + (1 - 2 * b) ** 2 * e * g * m
        return xx, xv, vv


def test_the_printed_formulas():
    """Catches cancellation that goes unseen, a list of causes where there is one, or formulas called wrong where they are right."""
    for dtype, late in (("float64", 0.1), ("float32", 0.1)):
        report = cld_sgm.check(Printed(), dtype=dtype)
        assert not report.ok and [c.id for c in report.causes] in (["cancellation"], ["single-precision-cancellation"]), report
        assert "t <= " in report.off["cov"]
        assert cld_sgm.check(Printed(), dtype=dtype, t_min=late).ok


@pytest.mark.parametrize("style", ["stack", "pair", "images", "column", "scalar", "keywords", "matrix"])
def test_layouts_are_found(style):
    """Catches a layout of states, times or matrices that is not tried, or is taken for another."""
    p = cld_sgm.CLD()
    if style == "stack":  # (n, K, d)
        code = {"drift": lambda u, t: np.stack(np.split(p.drift(u[:, 0:2].reshape(len(u), -1), t), 2, axis=1), 1)}
        assert "(n, K, d)" in cld_sgm.check(code, p, layout="stack").understood["drift"]
    elif style == "pair":
        code = {"drift": lambda u, t: np.split(p.drift(np.concatenate([u[0], u[1]], 1), t), 2, axis=1)}
    elif style == "images":
        code = {"prior_logp": lambda z: -0.5 * (z[:, :2, :, :] ** 2 + 4 * z[:, 2:, :, :] ** 2).sum((1, 2, 3)) - 2 * math.log(math.pi)}
    elif style == "column":
        code = {"drift": lambda x, v, t: (16 * v * t**0, 4 * (-x - 4 * v) * t**0)}
    elif style == "scalar":
        code = {"beta": lambda t: 4.0 if math.isfinite(t) else 0.0, "ell": lambda t: p.ell(t).item()}
    elif style == "keywords":
        code = {"drift": lambda *, time, state: p.drift(state, time)}
    else:
        code = {"cov": lambda t: p.cov(t), "cholesky": p.cholesky, "mean": lambda t: p.mean(t)}
    report = cld_sgm.check(code, p)
    assert report.ok and set(report.right) == set(code), report


def test_a_network_that_is_called():
    """Catches a loss whose network is a function, and not an array, taken for one that cannot be called."""
    right = Right(np)
    code = {"loss": lambda x0, noise, t, model: right.loss(x0, noise, t, model(None, t), "reweightedv2")}
    assert cld_sgm.check(code, PROCESS, t_min=T_MIN).ok


def test_what_cannot_be_called_says_what_was_tried():
    """Catches a failure that is skipped and so passes, or a message that does not say how the function was called."""

    def broken(t):
        raise RuntimeError("no kernel")

    report = cld_sgm.check({"cov": broken, "ell": cld_sgm.CLD().ell})
    assert not report.ok and set(report.failed) == {"cov"} and "ell" in report.right
    assert report.failed["cov"].startswith("RuntimeError: no kernel (tried cov(t) with numpy, t (n,), float64; and ")
    report = cld_sgm.check({"perturb": lambda a, b, c, d: a})
    assert "takes (a, b, c, d); allowed: (start, noise, t)" in report.failed["perturb"]
    for wrong in (lambda t: None, lambda t: t[:3], lambda t: "x", lambda t: np.array([object()] * len(t))):
        report = cld_sgm.check({"cov": wrong}, cld_sgm.VP())
        assert not report.ok and set(report.failed) == {"cov"}, report


def test_nan_is_off():
    """Catches NaN that passes."""
    report = cld_sgm.check({"ell": lambda t: np.where(t < 1e-3, np.nan, cld_sgm.CLD().ell(t))})
    assert not report.ok and "ell" in report.off, report


def test_what_is_not_offered_is_listed():
    """Catches a function that is left out without a word."""
    report = cld_sgm.check({"ell": cld_sgm.CLD().ell})
    assert report.ok and report.skipped["cov"] == "not offered" and "not offered" in str(report)
    assert cld_sgm.check({"sscs_step": lambda *a: a}, cld_sgm.VE()).skipped["sscs_step"] == "not defined for this process"


def test_functions_by_other_names_are_shown():
    """Catches methods that are passed over without a word because their names are others."""

    class Mine:
        def variance_at(self, t):
            return cld_sgm.CLD().cov(t)

        def ell(self, t):
            return cld_sgm.CLD().ell(t)

    report = cld_sgm.check(Mine())
    assert report.ok and report.unknown == ["variance_at"]
    assert 'not known by name: variance_at (to judge one, name it: cld_sgm.check({"cov": mine.variance_at}))' in " ".join(str(report).split())
    Mine.ell = None
    with pytest.raises(ValueError, match=r"offers none of the functions \(it has variance_at: hand them over by name, as in .*; allowed: any of beta"):
        cld_sgm.check(Mine())


@pytest.mark.parametrize("process", [cld_sgm.CLD(), cld_sgm.VP()], ids=["cld", "vp"])
def test_drift_and_diffusion_as_one(process):
    """Catches the two parts of `sde` swapped, or a diffusion per row that is read as a state."""
    noise = lambda t: np.sqrt(np.diagonal(process.noise(t), axis1=-2, axis2=-1))  # noqa: E731
    diffusion = lambda u, t: np.repeat(noise(t), 2, axis=1) if process.channels == 2 else noise(t)[:, 0]  # noqa: E731
    report = cld_sgm.check({"sde": lambda u, t: (process.drift(u, t), diffusion(u, t))}, process)
    assert report.ok and report.right["sde"] > 60, report
    report = cld_sgm.check({"sde": lambda u, t: (process.drift(u, t), diffusion(u, t) ** 2)}, process)
    assert set(report.off) == {"sde"}, report
    assert "allowed: (drift, diffusion)" in cld_sgm.check({"sde": process.drift}, process).failed["sde"]


def test_the_range_where_it_is_right_is_said():
    """Catches a report at 80 columns that does not say from which time on the printed formulas are right."""
    report = cld_sgm.check(Printed(), dtype="float32")
    line = next(x for x in report.details["lines"] if not x["accepted"])
    assert line["right_from"] is not None and "right for t >= " in str(report) and "right for t >= " not in report.text(120), report


def test_nothing_judged_is_no_pass():
    """Catches an empty set that passes."""
    report = cld_sgm.check({"mixed_score": lambda u, net_output, t: u}, cld_sgm.VP())
    assert not report.ok and not report.right


def test_json_reads_back():
    """Catches a report that a machine cannot read: NaN in JSON, or a cause without its id."""
    code = {"ell": lambda t: 0 * t + np.nan, "cov": lambda t: 2 * np.moveaxis(cld_sgm.CLD().cov(t), 0, 0)}
    read = json.loads(cld_sgm.check(code).to_json(), parse_constant=lambda c: pytest.fail(c))
    assert read["ok"] is False and read["off"] and read["details"]["schema"].startswith("cld-report")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cld_sgm.check(3), "implementation (int) offers none of the functions; allowed: any of beta, integral, mean"),
        (lambda: cld_sgm.check({}), "implementation (dict) offers none"),
        (lambda: cld_sgm.check({"covv": abs}), "function `covv` is unknown; allowed: beta, "),
        (lambda: cld_sgm.check({"cov": 3}), "function `cov` is int; allowed: something that can be called"),
        (lambda: cld_sgm.check({"cov": abs}, "cld"), "parameter `process` is str; allowed: a cld_sgm.Process"),
        (lambda: cld_sgm.check({"cov": abs}, t_min=-1), "parameter `t_min` is -1; allowed: 0 <= t_min < 1"),
        (lambda: cld_sgm.check({"cov": abs}, t_min=0.5, t_max=0.5), "parameter `t_max` is 0.5; allowed: t_min < t_max <= 1"),
        (lambda: cld_sgm.check({"cov": abs}, dtype="float8"), "parameter `dtype` is 'float8'; allowed: float64, float32, float16, bfloat16"),
        (lambda: cld_sgm.check({"cov": abs}, layout="apart"), "parameter `layout` is 'apart'; allowed: concat, stack, pair"),
        (lambda: cld_sgm.check({"cov": cld_sgm.CLD().cov}, accept=["f8"]), "parameter `accept` is 'f8'; allowed: f64, f32, eps"),
        (lambda: cld_sgm.check({"cov": cld_sgm.CLD().cov}, accept=[3]), "parameter `accept` is 3; allowed: f64, f32, eps"),
        (lambda: cld_sgm.check({"cov": cld_sgm.CLD().cov}, seed=-1), "parameter `seed` is -1; allowed: whole numbers from 0"),
        (lambda: cld_sgm.check({"cov": cld_sgm.CLD().cov}).text(20), "parameter `width` is 20; allowed: whole numbers from 40 to 1000"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    """Catches a traceback from inside, or a message without field, value and what is allowed."""
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(sentence), caught.value
    assert "\n" not in str(caught.value)


def test_the_example_of_the_docs(capsys, monkeypatch):
    """Catches a page whose example does not run, or prints another report; the digits, which are rounding errors of torch's own, may be others."""
    pytest.importorskip("torch")
    page = (pathlib.Path(__file__).parents[3] / "docs" / "guide" / "cross-check.md").read_text()
    code, printed = page.split("```text\n")[1:3]
    monkeypatch.setenv("COLUMNS", "80")
    exec(code.split("```")[0], {})
    # columns are as wide as their digits
    digits = lambda text: re.sub(r" +", " ", re.sub(r"[-0-9.e▁-█]*[0-9▁-█][-0-9.e▁-█]*", "#", text.strip()))  # noqa: E731
    assert digits(capsys.readouterr().out) == digits(printed.split("```")[0])
