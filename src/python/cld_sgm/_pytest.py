"""Options of the conformance suite, for pytest: loaded at every start of pytest, so nothing else is imported until a suite is there."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cld_sgm", "conformance of an implementation of Critically-Damped Langevin Diffusion")
    group.addoption("--cld-adapter", metavar="MODULE[:ATTRIBUTE]", help="what is judged; else the environment variable CLD_ADAPTER")
    group.addoption("--cld-xfails-file", metavar="FILE", help="expected failures, one `function[process-range]  # reason` a line")
    group.addoption("--cld-max-examples", type=int, default=3, metavar="N", help="sets of random inputs for each function (3)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cld_case" in metafunc.fixturenames:
        from .conformance import parametrize

        parametrize(metafunc)
