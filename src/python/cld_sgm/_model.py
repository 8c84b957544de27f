"""Gaussian mixtures with their exact score and density, and likelihoods with any score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from . import _native
from ._arrays import Array, as_numpy, finite, floats, whole
from ._process import Process

__all__ = ["Likelihood", "Mixture", "likelihood"]


class Mixture:
    """A mixture of J Gaussians in d dimensions, and what any process makes of it: exact score and density at every 0 < t <= 1.

    ``weights`` (J,), whose sum is 1; ``means`` (J, d); and one of ``stds`` (J,), or ``cov`` (J, d, d). Further channels start as the process
    has it: v normal with variance gamma M, independent of x.

    >>> data = Mixture([0.5, 0.5], [[-1.0], [1.0]], stds=[0.1, 0.1])
    >>> data.log_prob([[1.0], [0.0]]).round(3)
    array([  0.69 , -48.616])
    >>> from cld_sgm import CLD
    >>> data.score(CLD(), [[0.3, -0.1]], 0.5).shape
    (1, 2)
    """

    def __init__(self, weights: Any, means: Any, stds: Any = None, *, cov: Any = None) -> None:
        shares, centres = floats(weights, "weights"), finite(floats(means, "means"), "means")
        if shares.ndim != 1 or not shares.size:
            raise ValueError(f"array `weights` has shape {shares.shape}; allowed: (J,), one for each Gaussian")
        if centres.ndim != 2 or len(centres) != len(shares) or not centres.shape[1]:
            raise ValueError(f"array `means` has shape {centres.shape}; allowed: ({len(shares)}, d)")
        j, d = centres.shape
        if (stds is None) == (cov is None):
            raise ValueError(f"parameter `stds` is {'missing' if stds is None else 'there, and so is `cov`'}; allowed: one of `stds` and `cov`")
        if cov is None:
            widths = finite(floats(stds, "stds"), "stds")
            if widths.shape not in ((), (j,)):
                raise ValueError(f"array `stds` has shape {widths.shape}; allowed: ({j},), or a number")
            lower = np.broadcast_to(widths, (j,))[:, None, None] * np.eye(d)
        else:
            matrices = finite(floats(cov, "cov"), "cov")
            if matrices.shape != (j, d, d):
                raise ValueError(f"array `cov` has shape {matrices.shape}; allowed: {(j, d, d)}")
            if not np.array_equal(matrices, matrices.transpose(0, 2, 1)):
                raise ValueError("array `cov` is not symmetric; allowed: covariances")
            try:
                lower = np.asarray(np.linalg.cholesky(matrices), np.float64)
            except np.linalg.LinAlgError:
                raise ValueError("array `cov` is not positive definite; allowed: covariances") from None
        self._native = _native.Mixture(shares, centres, np.ascontiguousarray(lower))
        self.weights, self.means, self._lower = shares, centres, lower

    def __repr__(self) -> str:
        return f"Mixture({len(self.weights)} Gaussians in {self.dim} dimensions)"

    @property
    def dim(self) -> int:
        """d."""
        return int(self.means.shape[1])

    def mean(self) -> Array:
        """Mean of the data, ``(d,)``."""
        return np.array(self._native.mean())

    def cov(self) -> Array:
        """Covariance of the data, ``(d, d)``."""
        return np.array(self._native.covariance()).reshape(self.dim, self.dim)

    def sample(self, n: int, seed: int = 0) -> Array:
        """``(n, d)`` independent samples; the same seed gives the same.

        >>> Mixture([1.0], [[0.0, 0.0]], stds=1.0).sample(3).shape
        (3, 2)
        """
        return self._native.sample(whole(n, "n"), whole(seed, "seed")).reshape(-1, self.dim)

    def _rows(self, u: Any, name: str, channels: int) -> tuple[Array, tuple[int, ...]]:
        state = finite(floats(u, name), name)
        if state.ndim < 2 or math.prod(state.shape[1:]) != channels * self.dim or state.shape[1] % channels:
            raise ValueError(f"array `{name}` has shape {state.shape}; allowed: (n, {channels * self.dim})")
        return state, state.shape

    def log_prob(self, x: Any) -> Array:
        """Log-density of the data at ``x`` (n, d), ``(n,)``."""
        state, _ = self._rows(x, "x", 1)
        return self._native.log_density(state.reshape(len(state), -1))

    def _at(self, process: Process, u: Any, t: Any, gradient: bool) -> tuple[Array, tuple[int, ...]]:
        if not isinstance(process, Process):
            raise ValueError(f"parameter `process` is {type(process).__name__}; allowed: a cld_sgm.Process, such as cld_sgm.CLD()")
        state, shape = self._rows(u, "u", process.channels)
        times = process._times(t, state)
        flat = np.ascontiguousarray(process._split(state).reshape(process.channels, -1))
        return self._native.at(process._native, times, flat, gradient), shape

    def log_density(self, process: Process, u: Any, t: Any) -> Array:
        """Log-density of u_t under ``process``, of all channels together, ``(n,)``. ``u`` (n, K d); ``t`` a number or ``(n,)``."""
        return self._at(process, u, t, False)[0][0]

    def score(self, process: Process, u: Any, t: Any) -> Array:
        """Its gradient, in the shape of ``u``: that of every channel, with noise or without.

        A score function for :func:`cld_sgm.sample`: ``lambda u, t: data.score(process, u, t)``.
        """
        out, shape = self._at(process, u, t, True)
        k = process.channels
        return process._join(out.reshape((k, shape[0], shape[1] // k) + shape[2:]))


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihoods in nats, each ``(n,)``, with standard errors.

    Of a process with one channel, or of whole states: log p. Of x alone where there is a velocity: a lower bound, from the velocities drawn.
    """

    #: log p(x), or log p(u); where ``bound``, its lower bound E_q[log p(x, v)] + H(q).
    log_prob: Array
    #: Its standard error: over the probes (nan for a single one, 0 for an exact divergence), or where ``bound`` over the velocities.
    error: Array
    #: Whether it is a lower bound.
    bound: bool
    #: The tighter bound log (1/N sum p(x, v)/q(v)) and its error; None where there is no velocity.
    weighted: Array | None
    weighted_error: Array | None
    #: Numbers in a row of data.
    dim: int

    def bits_per_dim(self, levels: int = 256) -> Array:
        """Bits per dimension, ``(n,)``, of data with so many levels that were dequantised onto [-1, 1]; with a bound, at most so many."""
        return _native.bits(np.ascontiguousarray(self.log_prob), self.dim, whole(levels, "levels"))


def likelihood(
    process: Process,
    score: Mixture | Callable[[Array, float], Any],
    x: Any,
    *,
    joint: bool = False,
    divergence: Callable[[Array, float], Any] | str = "hutchinson",
    probes: int = 8,
    probe: str = "rademacher",
    velocities: int = 16,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Likelihood:
    """Log-likelihoods of the data ``x`` (n, d, ...) by the probability flow, with any score.

    ``score(u, t)``: of the noised channels, (n, m d, ...), or of all, in the shape of ``u`` (n, K d, ...), t a number; or a :class:`Mixture`.
    ``joint``: ``x`` is the whole state (n, K d, ...), and log p(u) is returned. Else, where there is a velocity, ``velocities`` are drawn for each row,
    and a lower bound on log p(x) is returned.

    ``divergence``: "hutchinson", by ``probes`` of the law ``probe`` ("rademacher", "gaussian") and central differences of the score;
    "exact", for a Mixture; or a function (u, t) that returns for each noised channel the trace over the coordinates of ds/du, (n, m).
    The flow goes from ``eps`` to 1, to ``tolerance`` a step, and the prior counts there.

    >>> from cld_sgm import VP
    >>> data = Mixture([1.0], [[0.0, 0.0]], stds=1.0)
    >>> found = likelihood(VP(), data, [[0.5, -1.0]], divergence="exact")
    >>> bool(abs(found.log_prob - data.log_prob([[0.5, -1.0]]))[0] < 1e-4), found.bound
    (True, False)
    """
    if not isinstance(process, Process):
        raise ValueError(f"parameter `process` is {type(process).__name__}; allowed: a cld_sgm.Process, such as cld_sgm.CLD()")
    mixture = isinstance(score, Mixture)
    if not mixture and not callable(score):
        raise ValueError(f"parameter `score` is {type(score).__name__}; allowed: a function of (u, t), or a cld_sgm.Mixture")
    if not callable(divergence) and divergence not in ("hutchinson", "exact"):
        raise ValueError(f"parameter `divergence` is {divergence!r}; allowed: hutchinson, exact, or a function of (u, t)")
    if divergence == "exact" and not mixture:
        raise ValueError("parameter `divergence` is 'exact'; allowed where the score is a function: hutchinson, or a function of (u, t)")
    if callable(divergence) and mixture:
        raise ValueError("parameter `divergence` is a function; allowed where the score is a Mixture: hutchinson, exact")
    for name, number in (("eps", eps), ("tolerance", tolerance)):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"parameter `{name}` is {number!r}; allowed: a number")
    k, noised = process.channels, process.noised
    if joint:
        state = process._state(x, "x")
        parts = process._split(state)
    else:
        state = finite(floats(x, "x"), "x")
        if state.ndim < 2:
            raise ValueError(f"array `x` has shape {state.shape}; allowed: (n, d, ...)")
        parts = state[None]
    if not state.size:
        raise ValueError(f"array `x` has shape {state.shape}; allowed: at least one row of at least one number")
    tail = parts.shape[2:]
    dim = math.prod(tail)
    if isinstance(score, Mixture) and score.dim != dim:
        raise ValueError(f"array `x` has rows of {dim} numbers; allowed: {score.dim}, the Mixture's dimension")

    def state_of(channels: Array) -> Array:
        return process._join(channels.reshape((k, -1) + tail))

    def call(t: float, channels: Array) -> Array:
        u = state_of(channels)
        assert callable(score)
        value = finite(as_numpy(score(u, t), "score").astype(np.float64), "score")
        wanted = (len(u), len(noised) * tail[0]) + tail[1:]
        if value.shape == u.shape and len(noised) < k:
            value = process._join(process._split(value)[noised])
        if value.shape != wanted:
            raise ValueError(f"array `score` has shape {value.shape}; allowed: {wanted}, or {u.shape}")
        return np.ascontiguousarray(np.moveaxis(value.reshape((len(u), len(noised)) + tail), 1, 0).reshape(len(noised), -1))

    def traces(t: float, channels: Array) -> Array:
        u = state_of(channels)
        assert callable(divergence)
        value = finite(as_numpy(divergence(u, t), "divergence").astype(np.float64), "divergence")
        if value.shape == (len(u),) and len(noised) == 1:
            value = value[:, None]
        if value.shape != (len(u), len(noised)):
            raise ValueError(f"array `divergence` has shape {value.shape}; allowed: {(len(u), len(noised))}")
        return np.ascontiguousarray(value.T)

    drawn = None if divergence == "exact" or callable(divergence) else (whole(probes, "probes"), str(probe), whole(seed, "seed"))
    bound = None if joint or k == 1 else (whole(velocities, "velocities"), whole(seed, "seed"))
    model = score._native if isinstance(score, Mixture) else (call, traces if callable(divergence) else None)
    flat = np.ascontiguousarray(parts.reshape(len(parts), -1))
    found = _native.likelihood(process._native, (dim, float(eps), float(tolerance)), flat, model, drawn, bound)
    weighted, error = (found[2], found[3]) if bound else (None, None)
    return Likelihood(found[0], found[1], bound is not None, weighted, error, dim)
