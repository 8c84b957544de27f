"""The reference for Critically-Damped Langevin Diffusion (CLD), from Python.

Two things:

- **right numbers**: a process object such as :func:`CLD` gives kernels, scores and densities that do not cancel, at any time;
- **a verdict on yours**: :func:`check` calls your own functions and says what is right, what is off, and why.

>>> import cld_sgm
>>> process = cld_sgm.CLD(mass=0.25, gamma=0.04, beta=4.0)
>>> float(process.cov(1e-5)[0, 0])  # printed formulas have no correct digit here
2.566416280285346e-10

Conventions: time t in [0, 1], 0 is data, 1 the prior. A state has K channels x, v, ...; as an array (n, K d) the d coordinates of x
come first. ``mass`` is M; the initial velocity has variance ``gamma`` M (HSM), or is given (DSM).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._check import Cause, Report, check
    from ._model import Likelihood, Mixture, likelihood
    from ._process import CLD, PSLD, SSCSAnalytic, VE, VP, CLDPositionNoise, Custom, HigherOrderLangevin, Process, SubVP
    from ._protocol import FUNCTIONS
    from ._sampler import Sampler, SamplerReport, check_sampler, sample, samplers, step

#: The crate's version, and the commit where it is known.
__version__: str

#: Where each name is from. They are imported at first use: pytest loads the plugin of this package at every start, and has no use for numpy.
_FROM = {
    "_check": ("Cause", "Report", "check"),
    "_model": ("Likelihood", "Mixture", "likelihood"),
    "_process": ("CLD", "CLDPositionNoise", "Custom", "HigherOrderLangevin", "PSLD", "Process", "SSCSAnalytic", "SubVP", "VE", "VP"),
    "_protocol": ("FUNCTIONS",),
    "_sampler": ("Sampler", "SamplerReport", "check_sampler", "sample", "samplers", "step"),
}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        number, commit = import_module("._native", __name__).version()
        value = number + ("+" + commit.replace("-", ".") if commit else "")
    else:
        module = next((module for module, names in _FROM.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module("." + module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def list_mistakes() -> str:
    """The mistakes that :func:`check` can name, as a table in Markdown: id, the mistake, what to do.

    >>> "mass-inverted" in list_mistakes()
    True
    """
    from ._native import mistakes

    return mistakes()


__all__ = [
    "CLD",
    "CLDPositionNoise",
    "Cause",
    "Custom",
    "FUNCTIONS",
    "HigherOrderLangevin",
    "Likelihood",
    "Mixture",
    "PSLD",
    "Process",
    "Report",
    "SSCSAnalytic",
    "Sampler",
    "SamplerReport",
    "SubVP",
    "VE",
    "VP",
    "__version__",
    "check",
    "check_sampler",
    "likelihood",
    "list_mistakes",
    "sample",
    "samplers",
    "step",
]
