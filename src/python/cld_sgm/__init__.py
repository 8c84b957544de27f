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

from ._native import mistakes as _mistakes
from ._native import version as _version
from ._check import Cause, Report, check
from ._protocol import FUNCTIONS
from ._process import CLD, PSLD, SSCSAnalytic, VE, VP, CLDPositionNoise, Custom, HigherOrderLangevin, Process, SubVP
from ._sampler import Sampler, SamplerReport, check_sampler, sample, samplers, step

__version__: str = _version()[0] + ("+" + _version()[1].replace("-", ".") if _version()[1] else "")


def list_mistakes() -> str:
    """The mistakes that :func:`check` can name, as a table in Markdown: id, the mistake, what to do.

    >>> "mass-inverted" in list_mistakes()
    True
    """
    return _mistakes()


__all__ = [
    "CLD",
    "CLDPositionNoise",
    "Cause",
    "Custom",
    "FUNCTIONS",
    "HigherOrderLangevin",
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
    "list_mistakes",
    "sample",
    "samplers",
    "step",
]
