"""Samplers: runs with any score of one's own. What someone else's step is: see _check_sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from . import _native
from ._arrays import Array, as_numpy, finite, floats
from ._check_sampler import SamplerReport, check_sampler
from ._process import Process

__all__ = ["Sampler", "SamplerReport", "check_sampler", "draws", "sample", "samplers", "step"]


@dataclass(frozen=True)
class Sampler:
    """A sampler of the crate."""

    name: str
    about: str
    #: Order of the error of an expectation in the step size.
    weak: float
    #: Order against the same Brownian path; None where the noise is not made of its increments.
    strong: float | None
    #: Evaluations of the score in a step; 0 where the sampler chooses.
    evaluations: int
    adaptive: bool


def samplers() -> list[Sampler]:
    """Every sampler on fixed grids.

    >>> "sscs" in [s.name for s in samplers()]
    True
    """
    return [Sampler(*row) for row in _native.samplers()]


def _grid(times: Any) -> list[float]:
    return [float(t) for t in finite(floats(times, "times"), "times").reshape(-1)]


def draws(process: Process, sampler: str, times: Any) -> int:
    """Slices of standard normals that each step takes, each in the shape of a channel."""
    return _native.draws(process._native, sampler, _grid(times))


def step(
    process: Process,
    sampler: str,
    u: Any,
    times: Any,
    score: Callable[[Any, float], Any],
    *,
    noise: Any = None,
    seed: int | None = None,
    denoise: bool = False,
) -> Array:
    """Runs ``sampler`` from ``u`` (n, K d, ...) over ``times``, which decrease (two of them: one step); returns the state at the end.

    ``score(u, t)``: of the noised channels, (n, m d, ...), or of all, in the shape of ``u``. ``noise``: (steps * draws, n, d, ...), in order;
    else drawn with ``seed``. With ``denoise`` a last step without noise goes to 0. What the score raises comes through.

    >>> import numpy as np
    >>> from cld_sgm import CLD
    >>> p = CLD()
    >>> exact = lambda u, t: p.score(u, np.zeros((len(u), 1)), t)[:, 1:]  # of data that are all 0
    >>> step(p, "sscs", np.ones((3, 2)), [1.0, 0.9], exact, seed=0).shape
    (3, 2)
    """
    state = process._state(u, "u")
    parts = process._split(state)
    k, shape = process.channels, parts.shape[1:]
    grid = _grid(times)
    wanted = draws(process, sampler, grid) * (len(grid) - 1)
    if noise is None:
        xi = np.random.default_rng(seed).normal(size=(wanted, *shape))
    else:
        xi = finite(floats(noise, "noise"), "noise")
        if xi.shape != (wanted, *shape):
            raise ValueError(f"array `noise` has shape {xi.shape}; allowed: {(wanted, *shape)}: one slice per draw, step by step")
    noised = process.noised

    def call(t: float, channels: Array) -> Array:
        value = as_numpy(score(process._join(channels.reshape(k, *shape)), t), "score").astype(np.float64)
        if not np.isfinite(value).all():
            raise ValueError(f"array `score` at t = {t} holds {value[~np.isfinite(value)].flat[0]}; allowed: finite numbers")
        if value.shape == state.shape and len(noised) < k:
            value = process._join(process._split(value)[noised])
        if value.shape != (shape[0], len(noised) * shape[1], *shape[2:]):
            raise ValueError(f"array `score` has shape {value.shape}; allowed: {(shape[0], len(noised) * shape[1], *shape[2:])}, or {state.shape}")
        split = np.moveaxis(value.reshape(shape[0], len(noised), *shape[1:]), 1, 0)
        return np.ascontiguousarray(split.reshape(len(noised), -1))

    flat = (np.ascontiguousarray(parts.reshape(k, -1)), np.ascontiguousarray(xi.reshape(wanted, math.prod(shape))))
    end = _native.run(process._native, sampler, grid, flat, call, denoise)
    return process._join(end.reshape(k, *shape))


def sample(
    process: Process,
    score: Callable[[Any, float], Any],
    shape: Sequence[int],
    *,
    sampler: str = "sscs2",
    steps: int = 100,
    eps: float = 1e-3,
    denoise: bool = True,
    seed: int | None = None,
) -> Array:
    """Samples of x, (n, d, ...) = ``shape``, from the prior by ``steps`` equal steps down to ``eps``, with any score as in :func:`step`."""
    n, d, *rest = (int(x) for x in shape)
    rng = np.random.default_rng(seed)
    start = process.prior_sample(rng.normal(size=(n, process.channels * d, *rest)))
    end = step(process, sampler, start, np.linspace(1.0, eps, steps + 1), score, seed=int(rng.integers(2**63)), denoise=denoise)
    return end[:, :d]
