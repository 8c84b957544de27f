"""Arrays and callbacks that cannot be used: one sentence each, at every door."""

import importlib

import numpy as np
import pytest

import cld_sgm


class Odd:
    def __array__(self, *_, **__):
        raise RuntimeError("two\nlines")


def torch():
    return pytest.importorskip("torch")


#: Name: (a bad array, what the sentence says of it).
BAD = {
    "None": (lambda: None, "is None; allowed: an array of numbers"),
    "object": (lambda: np.array([None, 1.0]), "has dtype object; allowed: floats or integers"),
    "word": (lambda: "soon", "has dtype <U4; allowed: floats or integers"),
    "function": (lambda: abs, "has dtype object; allowed: floats or integers"),
    "dict": (lambda: {"xx": 1.0}, "has dtype object; allowed: floats or integers"),
    "truth values": (lambda: np.array([True]), "has dtype bool; allowed: floats or integers"),
    "complex": (lambda: np.array([1j]), "has dtype complex128; allowed: floats or integers"),
    "dates": (lambda: np.array(["2020-01-01"], "datetime64[D]"), "has dtype datetime64[D]; allowed: floats or integers"),
    "ragged": (lambda: [[1.0], [1.0, 2.0]], "cannot be read (ValueError: setting an array element with a sequence."),
    "masked": (lambda: np.ma.array([0.1, 0.2], mask=[0, 1]), "is masked in places; allowed: an array without a mask"),
    "raises": (Odd, "cannot be read (RuntimeError: two lines); allowed: an array of numbers"),
    "meta": (lambda: torch().zeros(3, device="meta"), "is on the device meta, which holds no numbers; allowed: an array that has them"),
    "sparse": (lambda: torch().eye(3).to_sparse(), "cannot be read (TypeError: can't convert Sparse layout tensor to numpy."),
    "float8": (lambda: torch().ones(3).to(torch().float8_e4m3fn), "cannot be read (TypeError: "),
    "torch complex": (lambda: torch().zeros(3, dtype=torch().complex64), "has dtype complex64; allowed: floats or integers"),
    "jax traced": (lambda: pytest.importorskip("jax") and Traced(), "cannot be read (TracerArrayConversionError: "),
}


class Traced:
    """Stands for an array inside `jax.jit`."""

    def __array__(self, *_, **__):
        jax = importlib.import_module("jax")
        jax.jit(lambda t: np.asarray(t))(1.0)


@pytest.mark.parametrize("name", BAD)
def test_arrays_at_every_door(name):
    """Catches a traceback of a library, several lines, or a message that does not name the array."""
    make, sentence = BAD[name]
    bad = make()
    p, good = cld_sgm.CLD(), np.ones((3, 2))
    doors = {
        "t": lambda: p.cov(bad),
        "x0": lambda: p.perturb(bad, good, 0.5),
        "noise": lambda: p.perturb(good[:, :1], bad, 0.5),
        "u": lambda: p.drift(bad, 0.5),
        "score": lambda: p.reverse_drift(good, 0.5, bad),
        "output": lambda: p.loss(good[:, :1], good, 0.5, bad),
        "means": lambda: cld_sgm.Mixture([1.0], bad, stds=1.0),
        "x": lambda: cld_sgm.likelihood(cld_sgm.VP(), lambda u, t: -u, bad),
    }
    for field, call in doors.items():
        with pytest.raises(ValueError) as caught:
            call()
        text = str(caught.value)
        assert text.startswith(f"array `{field}` {sentence}") and "; allowed: " in text and "\n" not in text and len(text) < 500, text


@pytest.mark.parametrize("name", BAD)
def test_what_a_function_returns(name):
    """Catches a judged function's bad answer that ends the call, passes, or is described in another way than at the other doors."""
    make, sentence = BAD[name]
    bad = make()
    report = cld_sgm.check({"ell": lambda t: bad, "cov": cld_sgm.CLD().cov}, framework="numpy")
    assert not report.ok and set(report.failed) == {"ell"} and "cov" in report.right, report
    wanted = "returned None; allowed: an array" if name == "None" else f"array `ell` {sentence}"
    if name != "masked":  # which is too short, besides
        assert report.failed["ell"].startswith(wanted) and "\n" not in report.failed["ell"], report.failed
    assert "Raised an error instead of an answer" in str(report) and "1 entry raised an error" in str(report), report


@pytest.mark.parametrize("name", BAD)
def test_what_a_score_returns(name):
    """Catches a score callback's bad answer that is used, or is described by a traceback."""
    make, sentence = BAD[name]
    bad = make()
    for call in (
        lambda: cld_sgm.likelihood(cld_sgm.CLD(), lambda u, t: bad, [[1.0]]),
        lambda: cld_sgm.sample(cld_sgm.CLD(), lambda u, t: bad, (2, 1), steps=1),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value).startswith(f"array `score` {sentence}") and "\n" not in str(caught.value), caught.value


def raises(error):
    def function(t):
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (raises(RuntimeError("a\nb")), "RuntimeError: a b (tried ell(t) with numpy, t (n,), float64; and "),
        (raises(AssertionError()), "AssertionError (tried "),
        (raises(ValueError("x" * 1000)), "ValueError: xxx"),
        (lambda t: t[:3], "returned ell of shape (3,); allowed: (33,): one value for each row (tried "),
        (lambda t: np.concatenate([t, t]), "returned ell of shape (66,); allowed: (33,): one value for each row (tried "),
        (lambda t: np.stack([t, t], 1), "returned ell of shape (33, 2); allowed: (33,): one value for each row (tried "),
        (lambda t, u, v: t, "takes (t, u, v); allowed: (t)"),
    ],
)
def test_functions_that_cannot_be_judged(function, sentence):
    """Catches an error that is lost or shown whole, an answer of another length that is cut, or another number of arguments."""
    report = cld_sgm.check({"ell": function}, framework="numpy")
    assert not report.ok and report.failed["ell"].startswith(sentence) and len(report.failed["ell"]) < 500, report.failed


def test_tensors_with_gradients():
    """Catches tensors that require grad, refused or with a warning: parameters, answers, scores, and numbers of a process."""
    t = torch()
    scale = t.nn.Parameter(t.ones(()))
    right = cld_sgm.CLD()
    code = {"ell": lambda x: t.from_numpy(right.ell(x.detach())).to(x.dtype) * scale}
    report = cld_sgm.check(code, framework="torch", dtype="float64")
    assert report.ok and report.right["ell"] == 33, report
    out = cld_sgm.sample(right, lambda u, time: -t.from_numpy(u[:, 1:]) * scale, (4, 1), steps=3, seed=0)
    assert np.isfinite(out).all()
    assert cld_sgm.CLD(mass=0.25 * scale).description["mass"] == 0.25
    with pytest.raises(ValueError, match=r"parameter `mass` is tensor\(.*; allowed: a number"):
        cld_sgm.CLD(mass=t.zeros((), device="meta"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_ends_the_run(bad: float) -> None:
    """Catches samples of NaN that pass without a word."""
    score = lambda u, t: np.full((2, 1), bad if t < 0.5 else 0.0)  # noqa: E731
    with pytest.raises(ValueError, match=rf"array `score` at t = 0\.\d+ holds {bad}; allowed: finite numbers"):
        cld_sgm.sample(cld_sgm.CLD(), score, (2, 1), steps=10)
