"""A pytest suite that runs against your own code.

From the command line, with an adapter, which is a module (or ``module:attribute``) that has the functions of the protocol::

    pytest --pyargs cld_sgm.conformance --cld-adapter mypkg.adapter

or in a test file of your own::

    from cld_sgm.conformance import CLDConformance

    class TestMine(CLDConformance):
        implementation = my_cld
        dtype = "float32"

One test per function, process and range of times; what is not offered is skipped; the message of a failure is the likely cause. An
adapter may set ``process`` or ``processes`` (one or several of :class:`cld_sgm.Process`), ``implementation`` (else it is the adapter itself), or
``implement(process)``, which makes one for each process, and ``dtype``, ``t_min``, ``framework``, ``layout`` as in :func:`cld_sgm.check`.
"""

from __future__ import annotations

import importlib
import os
import pathlib
from typing import Any

import pytest

from .. import CLD, Process, Report, check
from .._protocol import FUNCTIONS, offered

__all__ = ["CLDConformance", "RANGES"]

#: Ranges of time: name, first and last.
RANGES: tuple[tuple[str, float, float], ...] = (("early", 0.0, 1e-3), ("middle", 1e-3, 0.1), ("late", 0.1, 1.0))

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
    def _report(cls, config: pytest.Config, place: int, start: float, end: float, seed: int) -> Report:
        """The verdict on all functions at once: the causes of a failure are those that explain most."""
        cache: dict[Any, Report] = config.__dict__.setdefault("_cld_reports", {})
        key = (cls, place, start, seed)
        if key not in cache:
            holder = cls._holder(config)
            process = _processes(holder)[place]
            settings = {s: v for s in _SETTINGS if isinstance(v := getattr(holder, s, None), str)}
            t_min = max(start, float(getattr(holder, "t_min", 0.0)))
            cache[key] = check(_implementation(holder, process), process, t_min=t_min, t_max=end, seed=seed, **settings)
        return cache[key]

    def test_formula(self, cld_case: tuple[str, int, str, float, float], request: pytest.FixtureRequest) -> None:
        function, place, _, start, end = cld_case
        holder = type(self)._holder(request.config)
        if float(getattr(holder, "t_min", 0.0)) >= end:
            pytest.skip("before t_min")
        for seed in range(int(request.config.getoption("--cld-max-examples", 3))):
            report = type(self)._report(request.config, place, start, end, seed)
            if function in report.skipped and function not in report.right and function not in report.off:
                pytest.skip(report.skipped[function])
            if function in report.failed:
                pytest.fail(f"{function}: {report.failed[function]}", pytrace=False)
            if function in report.off:
                causes = [c for c in report.causes if any(o.split(".")[0] == function for o in c.outputs + c.follows)] or report.causes
                words = "; ".join(f"{c.text} [{c.id}]: {c.remedy}" for c in causes[:1]) or "no known mistake explains it"
                pytest.fail(f"{words}\n{report.off[function]}", pytrace=False)
            assert function in report.right or function in report.skipped, report


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
