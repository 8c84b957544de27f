"""A pytest suite that runs against your own code.

From the command line, with an adapter, which is a module (or ``module:attribute``) that has the functions of the protocol::

    pytest --pyargs cld_sgm.conformance --cld-adapter mypkg.adapter

or in a test file of your own::

    from cld_sgm.conformance import CLDConformance

    class TestMine(CLDConformance):
        implementation = my_cld
        dtype = "float32"

One test per function, process and range of times; what is not offered is skipped; the message of a failure is the likely cause. Each
function gets the fixed inputs of ``cld vectors``, all at once, and then, where hypothesis is installed, ``--cld-max-examples`` random ones: times
log-uniform over the range, states, and, for an adapter that has ``implement(process)``, mass, gamma and rates. What fails is shrunk to a simple
case. The same inputs come in each run (derandomize). An
adapter may set ``process`` or ``processes`` (one or several of :class:`cld_sgm.Process`), ``implementation`` (else it is the adapter itself), or
``implement(process)``, which makes one for each process, and ``dtype``, ``t_min``, ``framework``, ``layout`` as in :func:`cld_sgm.check`.
"""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from .. import _native
from .._check import Report, check
from .._process import CLD, Process
from .._protocol import BY_NAME, FUNCTIONS, offered

_hypothesis: ModuleType | None
try:
    import hypothesis as _hypothesis
except ImportError:
    _hypothesis = None

__all__ = ["CLDConformance", "RANGES"]

#: Ranges of time: name, first and last.
RANGES: tuple[tuple[str, float, float], ...] = (("early", 0.0, 1e-3), ("middle", 1e-3, 0.1), ("late", 0.1, 1.0))

#: Seconds for which a failure is shrunk: a wrong adapter, which fails many tests, must not take longer than a right one.
_SHRINKING = 2.0

_SETTINGS = ("dtype", "framework", "layout", "weighting")


def _adapter(config: pytest.Config) -> Any:
    name = config.getoption("--cld-adapter", None) or os.environ.get("CLD_ADAPTER")
    if not name:
        raise pytest.UsageError("--cld-adapter (or CLD_ADAPTER) is missing; allowed: a module, or module:attribute, with the functions of cld_sgm.FUNCTIONS")
    module, _, attribute = str(name).partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise pytest.UsageError(f"--cld-adapter is {name}: {error}; allowed: a module that can be imported (PYTHONPATH)") from None
    for part in attribute.split(".") if attribute else ():
        if not hasattr(found, part):
            raise pytest.UsageError(f"--cld-adapter is {name}: {module} has no {attribute}")
        found = getattr(found, part)
    return found() if isinstance(found, type) else found


def _processes(holder: Any) -> list[Process]:
    several = getattr(holder, "processes", None)
    one = getattr(holder, "process", None)
    return list(several) if several else [one if isinstance(one, Process) else CLD()]


def _implementation(holder: Any, process: Process) -> Any:
    make = getattr(holder, "implement", None)
    if callable(make):
        return make(process)
    own = getattr(holder, "implementation", None)
    return holder if own is None else own


def _expected_failures(path: str | None) -> dict[str, str]:
    """Lines ``function[process-range]  # reason``; the brackets may be left out."""
    out: dict[str, str] = {}
    if path:
        try:
            text = pathlib.Path(path).read_text()
        except OSError as error:
            raise pytest.UsageError(f"--cld-xfails-file is {path}: {error.strerror}") from None
        for line in text.splitlines():
            name, _, reason = line.partition("#")
            if name.strip():
                out[name.strip()] = reason.strip() or "expected"
    return out


class CLDConformance:
    """The suite; a subclass says what is judged. The attributes are those of an adapter."""

    implementation: Any = None

    @classmethod
    def _holder(cls, config: pytest.Config) -> Any:
        if cls.implementation is not None or hasattr(cls, "implement"):
            return cls
        return _adapter(config)

    @classmethod
    def _report(cls, config: pytest.Config, place: int, start: float, end: float) -> Report:
        """The verdict on all functions at once: the causes of a failure are those that explain most."""
        cache: dict[Any, Report] = config.__dict__.setdefault("_cld_reports", {})
        key = (cls, place, start)
        if key not in cache:
            holder = cls._holder(config)
            process = _processes(holder)[place]
            t_min = max(start, float(getattr(holder, "t_min", 0.0)))
            cache[key] = check(_implementation(holder, process), process, t_min=t_min, t_max=end, **_settings(holder))
        return cache[key]

    def test_formula(self, cld_case: tuple[str, int, str, float, float], request: pytest.FixtureRequest) -> None:
        function, place, _, start, end = cld_case
        config = request.config
        began = config.__dict__.setdefault("_cld_began", time.perf_counter())
        holder = type(self)._holder(config)
        start = max(start, float(getattr(holder, "t_min", 0.0)))
        if start >= end:
            pytest.skip("before t_min")
        report = type(self)._report(config, place, start, end)
        if function in report.skipped and function not in report.right and function not in report.off:
            pytest.skip(report.skipped[function])
        _fail_by_cause(function, report)
        assert function in report.right or function in report.skipped, report
        if _hypothesis is None:
            return
        if time.perf_counter() - began > float(config.getoption("--cld-seconds", 40.0)):
            config.__dict__["_cld_late"] = config.__dict__.get("_cld_late", 0) + 1
            return
        _explore(function, holder, _processes(holder)[place], (start, end), int(config.getoption("--cld-max-examples", 20)))


def _settings(holder: Any) -> dict[str, Any]:
    return {s: v for s in _SETTINGS if isinstance(v := getattr(holder, s, None), str)}


def inputs_in_words(config: pytest.Config) -> str:
    """What the suite tries, for the header."""
    if _hypothesis is None:
        return "fixed inputs alone (random ones need hypothesis: pip install hypothesis)"
    return f"fixed inputs, and {int(config.getoption('--cld-max-examples', 20))} of hypothesis for each function, the same in each run"


def _fail_by_cause(function: str, report: Report, example: str = "") -> None:
    if function in report.failed:
        pytest.fail(f"{function}: {report.failed[function]}{example}", pytrace=False)
    if function in report.off:
        causes = [c for c in report.causes if any(o.split(".")[0] == function for o in c.outputs + c.follows)] or report.causes
        words = "; ".join(f"{c.text} [{c.id}]: {c.remedy}" for c in causes[:1]) or "no known mistake explains it"
        pytest.fail(f"{words}\n{report.off[function]}{example}", pytrace=False)


def _explore(function: str, holder: Any, process: Process, times: tuple[float, float], examples: int) -> None:
    """Random inputs of hypothesis for one function."""
    assert _hypothesis is not None
    st = _hypothesis.strategies
    quantity = BY_NAME[function].quantity
    asked = [q for q in _native.questions(process._native, 0) if q[2] == quantity]
    # what has arrays of fixed shapes, or no rows, has fixed inputs alone
    if not asked or any("t" not in q[4] or any(len(a) != len(q[4]["t"]) for a in q[4].values()) for q in asked):
        return
    width = {name: a.shape[1] for q in asked for name, a in q[4].items() if a.ndim == 2}
    # down to 0 there is no log-uniform time: 1e-12 is the earliest of the fixed inputs
    low, high = math.log10(max(times[0], 1e-12)), math.log10(times[1])
    number = st.integers(-1024, 1024).map(lambda i: i / 256)
    # simple is late, and 0
    moment = st.floats(0.0, high - low).map(lambda x: float(min(10.0 ** (high - x), times[1])))
    row = st.tuples(moment, st.floats(0.0, 0.96875), *[st.lists(number, min_size=w, max_size=w) for w in width.values()])
    own = callable(getattr(holder, "implement", None)) and process.name == "cld"
    around = st.floats(-1.0, 1.0).map(lambda x: float(2.0**x)) if own else st.just(1.0)

    failures: dict[str, str] = {}
    since: list[float] = []

    # the same inputs in each run, and no files left behind
    @_hypothesis.settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(_hypothesis.HealthCheck))  # type: ignore[untyped-decorator, unused-ignore]
    @_hypothesis.given(rows=st.lists(row, min_size=1, max_size=3), factors=st.tuples(around, around, around))  # type: ignore[untyped-decorator, unused-ignore]
    def examine(rows: list[Any], factors: tuple[float, float, float]) -> None:
        if since and time.perf_counter() - since[0] > _SHRINKING:
            # no further cases: those that failed fail again, and the simplest of them is shown
            if (known := failures.get(repr((rows, factors)))) is not None:
                pytest.fail(known, pytrace=False)
            return
        here = _scaled(process, factors) if own else process
        code = _implementation(holder, here)
        call = offered(code)[function]
        inputs: dict[str, Any] = {"t": np.array([r[0] for r in rows])}
        inputs["s"] = inputs["t"] * np.array([r[1] for r in rows])
        for i, name in enumerate(width):
            inputs[name] = np.array([r[2 + i] for r in rows])
        if "u0" in width and here.objective == "hsm" and here.channels > 1:
            inputs["u0"][:, inputs["u0"].shape[1] // here.channels :] = 0.0  # HSM is given x_0 alone
        if "u0" in width and "u" in width:
            # a point of the kernel itself: others have densities that say little
            inputs["u"] = here.perturb(inputs["u0"], inputs["u"], inputs["t"])
        questions = [(*q[:4], {name: inputs[name] for name in q[4]}) for q in _native.questions(here._native, 0) if q[2] == quantity]
        report = check({function: call}, here, t_min=times[0], t_max=times[1], _questions=questions, **_settings(holder))
        shown = ", ".join(f"{name} = {np.array2string(inputs[name][0], precision=6)}" for name in questions[0][4])
        extra = f", {here!r}" if own else ""
        try:
            _fail_by_cause(function, report, f"\nsimplest case found: {shown}{extra}")
        except pytest.fail.Exception as failure:
            failures[repr((rows, factors))] = str(failure)
            since.append(time.perf_counter())
            raise

    examine()


def _scaled(process: Process, factors: tuple[float, float, float]) -> Process:
    """A CLD with other mass, gamma and rate."""
    described = dict(process.description)
    schedule = dict(described["schedule"])
    for key in ("b0", "b1", "beta_min", "beta_max", "b"):
        if key in schedule:
            schedule[key] *= factors[2]
    described["schedule"] = schedule
    for key, factor in zip(("mass", "gamma"), factors):
        if key in described:
            described[key] *= factor
    return Process(described)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """The cases of a class: every function, whether offered or not, for each process and range."""
    if "cld_case" not in metafunc.fixturenames or metafunc.cls is None or not issubclass(metafunc.cls, CLDConformance):
        return
    holder = metafunc.cls._holder(metafunc.config)
    expected = _expected_failures(metafunc.config.getoption("--cld-xfails-file", None))
    cases = []
    for place, process in enumerate(_processes(holder)):
        there = offered(_implementation(holder, process))
        name = process.name if len(_processes(holder)) == 1 else f"{process.name}{place}"
        for function in (f.name for f in FUNCTIONS):
            # one skip is enough for what is not offered
            for title, start, end in RANGES if function in there else RANGES[-1:]:
                id_ = f"{function}[{name}-{title}]"
                reason = expected.get(id_, expected.get(function))
                marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=False)]
                cases.append(pytest.param((function, place, title, start, end), id=f"{function}-{name}-{title}", marks=marks))
    metafunc.parametrize("cld_case", cases)
