"""Options of the conformance suite, for pytest: loaded at every start of pytest, so nothing else is imported until a suite is there."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cld_sgm", "conformance of an implementation of Critically-Damped Langevin Diffusion")
    group.addoption("--cld-adapter", metavar="MODULE[:ATTRIBUTE]", help="what is judged; else the environment variable CLD_ADAPTER")
    group.addoption("--cld-xfails-file", metavar="FILE", help="expected failures, one `function[process-range]  # reason` a line")
    group.addoption("--cld-max-examples", type=int, default=20, metavar="N", help="random inputs for each function, process and range (20; needs hypothesis)")
    group.addoption("--cld-seconds", type=float, default=40.0, metavar="S", help="after so many seconds the fixed inputs alone are tried (40)")


def pytest_report_header(config: pytest.Config) -> str | None:
    import os

    if not (config.getoption("--cld-adapter", None) or os.environ.get("CLD_ADAPTER")):
        return None
    from .conformance import inputs_in_words

    return f"cld_sgm.conformance: {inputs_in_words(config)}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cld_case" in metafunc.fixturenames:
        from .conformance import parametrize

        parametrize(metafunc)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    late = config.__dict__.get("_cld_late", 0)
    if late:
        terminalreporter.write_line(f"cld_sgm.conformance: {late} tests had the fixed inputs alone, for want of time (--cld-seconds)")
