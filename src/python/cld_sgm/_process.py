"""Diffusions with exact kernels, vectorised over time."""

from __future__ import annotations

import json
import math
from typing import Any, Sequence

import numpy as np

from . import _native
from ._arrays import Array, finite, floats

Schedule = "float | tuple[float, float] | dict[str, Any]"

_LOG_TAU = math.log(2 * math.pi)


def _schedule(beta: Any) -> Any:
    """A schedule as files have it: a number is constant, a pair the rate at t = 0 and t = 1."""
    if isinstance(beta, dict):
        return beta
    if isinstance(beta, (tuple, list)):
        if len(beta) != 2:
            raise ValueError(f"parameter `beta` is {beta!r}; allowed: a number, a pair (at t = 0, at t = 1), or a schedule as a dict")
        return {"kind": "linear", "beta_min": _number(beta[0], "beta"), "beta_max": _number(beta[1], "beta")}
    return {"kind": "constant", "b": _number(beta, "beta")}


def _number(value: Any, name: str) -> float:
    try:
        number = float(value.detach() if hasattr(value, "detach") else value)
    except Exception:  # what a library raises of an array of its own
        raise ValueError(f"parameter `{name}` is {value!r}; allowed: a number") from None
    if not math.isfinite(number):
        raise ValueError(f"parameter `{name}` is {number}; allowed: a finite number")
    return number


class Process:
    """A diffusion ``du = F u b dt + G sqrt(b) dW`` on K channels, under a schedule ``b(t)`` and an objective (HSM or DSM).

    Made by :func:`CLD`, :func:`VP` and their like, or from a description as in the files of ``cld``:

    >>> Process({"kind": "vp", "schedule": {"kind": "linear", "b0": 0.1, "b1": 19.9}})
    Process(vp dsm [] linear(b0=0.1, b1=19.9))

    Times may be a number or an array of any shape ``(...)``; results have the times' shape first. Exact to a few units of float64 at
    every 0 < t <= 1; other times raise ValueError. Arrays of torch and jax are taken, too; what comes back is numpy, float64.
    """

    def __init__(self, description: dict[str, Any]) -> None:
        try:
            text = json.dumps(description, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"process: {error}; allowed: numbers, words and matrices as lists") from None
        self._native = _native.Process(text)

    def __repr__(self) -> str:
        return f"Process({self._native.describe()})"

    def __reduce__(self) -> Any:
        return Process, (self.description,)

    @property
    def description(self) -> dict[str, Any]:
        """As the files of ``cld`` have it (the ``process`` object of cld-answers/1)."""
        described: dict[str, Any] = json.loads(self._native.json())
        return described

    @property
    def name(self) -> str:
        """The registry's name, such as ``"cld"``."""
        return self._native.name

    @property
    def channels(self) -> int:
        """K: 1 for VP, VE and sub-VP, 2 for CLD and PSLD, the order for higher-order Langevin."""
        return self._native.channels

    @property
    def objective(self) -> str:
        """``"hsm"`` (velocities marginalised) or ``"dsm"``."""
        return self._native.objective

    @property
    def _initial_variance(self) -> float:
        """gamma M, which v starts with, also under DSM."""
        described = self.description
        return float(described.get("gamma", 0.0)) * float(described.get("mass", 1.0))

    # Kernels

    def _columns(self, what: str, t: Any, method: str = "kernel") -> tuple[Array, tuple[int, ...]]:
        times = floats(t, "t")
        return getattr(self._native, method)(times.reshape(-1), what), times.shape

    def _matrix(self, what: str, t: Any, method: str = "kernel") -> Array:
        columns, shape = self._columns(what, t, method)
        k = self.channels
        # the columns as they lie: a view with the times first
        return np.moveaxis(columns.reshape((k, k) + shape), (0, 1), (-2, -1))

    def _scalar(self, what: str, t: Any, method: str = "kernel") -> Array:
        columns, shape = self._columns(what, t, method)
        return columns[0].reshape(shape)

    def mean(self, t: Any) -> Array:
        """Mean matrix Phi: the mean of u_t is Phi u_0. ``(..., K, K)``; under HSM its first column times x_0.

        >>> CLD().mean(0.5).round(3)
        array([[ 0.092,  0.147],
               [-0.037, -0.055]])
        """
        return self._matrix("mean", t)

    def cov(self, t: Any) -> Array:
        """Covariance, ``(..., K, K)``.

        >>> CLD().cov([0.1, 1.0]).shape
        (2, 2, 2)
        """
        return self._matrix("cov", t)

    def cholesky(self, t: Any) -> Array:
        """Lower Cholesky factor of the covariance, ``(..., K, K)``."""
        return self._matrix("cholesky", t)

    def inverse(self, t: Any) -> Array:
        """Inverse covariance, ``(..., K, K)``."""
        return self._matrix("inverse", t, "value")

    def ell(self, t: Any) -> Array:
        """ell_t, ``(...)``: the inverse deviation of the last channel given the others. The score of v is ``-ell eps_v``."""
        return self._scalar("ell", t)

    def det(self, t: Any) -> Array:
        """Determinant of the covariance, ``(...)``, from a form that does not cancel."""
        return self._scalar("det", t)

    def log_det(self, t: Any) -> Array:
        """Its logarithm, ``(...)``."""
        return self._scalar("log_det", t, "value")

    def std(self, t: Any) -> Array:
        """Standard deviation of each channel, ``(..., K)``."""
        return np.sqrt(np.diagonal(self.cov(t), axis1=-2, axis2=-1))

    def snr(self, t: Any) -> Array:
        """Signal-to-noise ratio of x for data of variance 1, Phi_xx^2 / S_xx, ``(...)``."""
        return self._scalar("snr", t, "value")

    def log_snr(self, t: Any) -> Array:
        """Its logarithm, ``(...)``."""
        return self._scalar("log_snr", t, "value")

    def beta(self, t: Any) -> Array:
        """The rate b(t), ``(...)``."""
        times = floats(t, "t")
        return self._native.schedule(times.reshape(-1))[0].reshape(times.shape)

    def integral(self, t: Any) -> Array:
        """The integral of b over [0, t], ``(...)``."""
        times = floats(t, "t")
        return self._native.schedule(times.reshape(-1))[1].reshape(times.shape)

    # States: (n, K d, ...), channels one after the other along axis 1

    def _state(self, u: Any, name: str) -> Array:
        array = finite(floats(u, name), name)
        if array.ndim < 2 or array.shape[1] % self.channels:
            raise ValueError(f"array `{name}` has shape {array.shape}; allowed: (n, {self.channels} d, ...), the channels along axis 1")
        return array

    def _split(self, u: Array) -> Array:
        """(n, K d, ...) as (K, n, d, ...): a view."""
        n, width = u.shape[:2]
        return np.moveaxis(u.reshape((n, self.channels, width // self.channels) + u.shape[2:]), 1, 0)

    def _join(self, parts: Array) -> Array:
        return np.concatenate(list(parts), axis=1)

    def _times(self, t: Any, u: Array) -> Array:
        times = floats(t, "t")
        if times.ndim == 0:
            times = np.full(u.shape[0], times)
        if times.shape != u.shape[:1]:
            raise ValueError(f"array `t` has shape {times.shape}; allowed: a number, or ({u.shape[0]},): one time for each row")
        return times

    @staticmethod
    def _apply(matrix: Array, parts: Array) -> Array:
        """(n, K, K) or (K, K) times (K, n, d, ...)."""
        k = len(parts)
        matrix = np.broadcast_to(matrix, (parts.shape[1],) + matrix.shape[-2:])
        entry = lambda i, j: matrix[:, i, j].reshape((-1,) + (1,) * (parts.ndim - 2))  # noqa: E731
        rows: list[Any] = [sum(entry(i, j) * parts[j] for j in range(k)) for i in range(k)]
        return np.stack(rows)

    def _start(self, x0: Any, like: Array) -> Array:
        """Phi is applied to this: (K, n, d, ...), from x_0 alone or the whole of u_0. ``like``: a state of as many rows."""
        array = finite(floats(x0, "x0"), "x0")
        k, (n, width), rest = self.channels, like.shape[:2], like.shape[2:]
        if array.shape not in ((n, width // k) + rest, like.shape):
            raise ValueError(f"array `x0` has shape {array.shape}; allowed: {(n, width // k) + rest}, or with all channels {like.shape}")
        if k > 1 and array.shape[1] == width:
            return self._split(array)
        return np.stack([array] + [np.zeros_like(array)] * (k - 1))

    def perturb(self, x0: Any, noise: Any, t: Any) -> Array:
        """``u_t = Phi u_0 + L noise``. ``x0`` (n, d, ...), or u_0 with all channels; ``noise`` (n, K d, ...); the result as ``noise``.

        >>> CLD().perturb([[1.0]], [[0.0, 0.0]], 0.5).round(3)
        array([[ 0.092, -0.037]])
        """
        z = self._state(noise, "noise")
        times = self._times(t, z)
        start = self._start(x0, z)
        return self._join(self._apply(self.mean(times), start) + self._apply(self.cholesky(times), self._split(z)))

    def _whitened(self, u: Any, x0: Any, t: Any) -> tuple[Array, Array, Array]:
        state = self._state(u, "u")
        times = self._times(t, state)
        rest = self._split(state) - self._apply(self.mean(times), self._start(x0, state))
        lower = self.cholesky(times)
        entry = lambda i, j: lower[:, i, j].reshape((-1,) + (1,) * (rest.ndim - 2))  # noqa: E731
        white: list[Array] = []
        for i in range(self.channels):
            white.append((rest[i] - sum((entry(i, j) * white[j] for j in range(i)), np.zeros(()))) / entry(i, i))
        return np.stack(white), lower, times

    def log_prob(self, u: Any, x0: Any, t: Any) -> Array:
        """Log-density of ``u`` (n, K d, ...) given x_0 (or u_0), ``(n,)``."""
        white, _, times = self._whitened(u, x0, t)
        d = white[0, 0].size
        square = (white**2).sum(axis=tuple(i for i in range(white.ndim) if i != 1))
        return -0.5 * (square + d * (self.channels * _LOG_TAU + self.log_det(times)))

    def score(self, u: Any, x0: Any, t: Any) -> Array:
        """Its gradient, in the shape of ``u``: ``-S^-1 (u - Phi u_0)``."""
        white, lower, _ = self._whitened(u, x0, t)
        k = self.channels
        entry = lambda i, j: lower[:, i, j].reshape((-1,) + (1,) * (white.ndim - 2))  # noqa: E731
        out: list[Any] = [None] * k
        for i in reversed(range(k)):
            out[i] = (-white[i] - sum((entry(j, i) * out[j] for j in range(i + 1, k)), np.zeros(()))) / entry(i, i)
        return self._join(np.stack(out))

    # The SDE

    @property
    def noised(self) -> list[int]:
        """The channels with noise, whose score a sampler needs: [1] for CLD, [0, 1] for PSLD with noise in both, [0] for VP."""
        g = self._native.noise(np.array([0.5]))[:, 0]
        return [i for i in range(self.channels) if g[i * (self.channels + 1)] > 0]

    def _drift_matrix(self) -> Array:
        return np.array(self._native.drift()).reshape(self.channels, self.channels)

    def noise(self, t: Any) -> Array:
        """``b G G^T``, the noise's covariance per unit of time, ``(..., K, K)``."""
        times = floats(t, "t")
        k = self.channels
        g = self._native.noise(times.reshape(-1)).reshape((k, k) + times.shape)
        return np.moveaxis(g * self.beta(times), (0, 1), (-2, -1))

    def drift(self, u: Any, t: Any) -> Array:
        """Forward drift ``b F u``, in the shape of ``u`` (n, K d, ...)."""
        state = self._state(u, "u")
        times = self._times(t, state)
        return self._join(self._apply(self.beta(times)[:, None, None] * self._drift_matrix(), self._split(state)))

    def reverse_drift(self, u: Any, t: Any, score: Any, *, probability_flow: bool = False) -> Array:
        """Drift on the clock that runs backward, ``b (-F u + G G^T s)``, with half the score in the probability flow.

        ``score``: that of the noised channels, (n, m d, ...), or of all, in the shape of ``u``.
        """
        state = self._state(u, "u")
        times = self._times(t, state)
        given = finite(floats(score, "score"), "score")
        k, noised = self.channels, self.noised
        d = state.shape[1] // k
        if given.shape == state.shape:
            parts = self._split(given)
        elif given.shape == (state.shape[0], len(noised) * d) + state.shape[2:]:
            parts = np.zeros((k,) + (state.shape[0], d) + state.shape[2:])
            for slot, i in enumerate(noised):
                parts[i] = given[:, slot * d : (slot + 1) * d]
        else:
            allowed = f"{(state.shape[0], len(noised) * d) + state.shape[2:]}, or {state.shape}"
            raise ValueError(f"array `score` has shape {given.shape}; allowed: {allowed}")
        pull = self._apply(self.noise(times) * (0.5 if probability_flow else 1.0), parts)
        return self._join(pull) - self.drift(state, times)

    # Training

    def loss(
        self, x0: Any, noise: Any, t: Any, output: Any, *, output_is: str | None = None, weighting: str = "eps", gradient: bool = False
    ) -> Any:
        """Score matching per sample, ``(n,)``, a sum over coordinates: what ``output`` misses at ``u_t = Phi u_0 + L noise``.

        ``x0`` (n, d, ...), or u_0 with all channels; ``noise`` (n, K d, ...); ``output`` (n, m d, ...), one block for each noised channel. ``output_is``:
        "eps", "score", or "mixed" (the score is ``-v / S_vv - ell output``), which it is unless given where noise is in the last of several
        channels alone, else "eps". HSM or DSM as the process has it.

        ``weighting``, with r the missing score and e the missing noise (``r = -ell e``): "likelihood" ``b/2 g^2 r^2``, "score" ``r^2``, "eps" ``e^2``
        (the paper's reweighting, ``reweightedv2`` in :func:`cld_sgm.check`), "rated-eps" ``b/2 g^2 e^2`` (``reweightedv1``).
        With ``gradient`` also the gradient of each row's loss with respect to ``output``, in its shape.

        >>> p = CLD()
        >>> p.loss([[1.0]], [[0.5, -0.5]], 0.3, [[-0.5]], output_is="eps")  # the noise itself: nothing is missing
        array([0.])
        >>> p.loss([[1.0]], [[0.5, -0.5]], 0.3, [[0.0]], output_is="eps", gradient=True)
        (array([0.25]), array([[1.]]))
        """
        names = {"likelihood": "likelihood", "score": "score", "eps": "eps", "rated-eps": "rated-eps", "reweightedv2": "eps", "reweightedv1": "rated-eps"}
        if weighting not in names:
            raise ValueError(f"parameter `weighting` is {weighting!r}; allowed: {', '.join(names)}")
        z = self._state(noise, "noise")
        times = self._times(t, z)
        start = self._start(x0, z)
        given = finite(floats(output, "output"), "output")
        m, d = len(self.noised), z.shape[1] // self.channels
        if output_is is None:
            output_is = "mixed" if self.channels > 1 and self.noised == [self.channels - 1] else "eps"
        wanted = (len(z), m * d) + z.shape[2:]
        if given.shape != wanted:
            raise ValueError(f"array `output` has shape {given.shape}; allowed: {wanted}")
        flat = lambda a: np.ascontiguousarray(a.reshape(len(a), -1))  # noqa: E731
        split = np.moveaxis(given.reshape((len(z), m, d) + z.shape[2:]), 1, 0)
        arrays = (times, flat(start), flat(self._split(z)), flat(split))
        value, slope = _native.loss(self._native, *arrays, str(output_is), names[weighting], bool(gradient))
        if slope is None:
            return value
        return value, self._join(slope.reshape((m, len(z), d) + z.shape[2:]))

    # The prior

    def prior_cov(self) -> Array:
        """Covariance of the prior per coordinate, ``(K, K)``: diag(1, M) for CLD."""
        return np.array(self._native.prior()).reshape(self.channels, self.channels)

    def prior_logp(self, u: Any) -> Array:
        """Log-density of the prior at ``u`` (n, K d, ...), ``(n,)``.

        >>> CLD(mass=0.25).prior_logp([[0.0, 0.0]]).round(4)
        array([-1.1447])
        """
        parts = self._split(self._state(u, "u"))
        cov = self.prior_cov()
        weighted = self._apply(np.asarray(np.linalg.inv(cov), np.float64), parts)
        square = (weighted * parts).sum(axis=tuple(i for i in range(parts.ndim) if i != 1))
        return -0.5 * (square + parts[0, 0].size * (self.channels * _LOG_TAU + np.linalg.slogdet(cov)[1]))

    def prior_sample(self, noise: Any) -> Array:
        """A draw from the prior: its Cholesky factor times ``noise`` (n, K d, ...)."""
        z = self._state(noise, "noise")
        return self._join(self._apply(np.asarray(np.linalg.cholesky(self.prior_cov()), np.float64), self._split(z)))


def _process(kind: str, beta: Any, objective: str | None, **params: Any) -> Process:
    described: dict[str, Any] = {"kind": kind}
    described.update({name: value if isinstance(value, list) else _number(value, name) for name, value in params.items() if value is not None})
    described["schedule"] = _schedule(beta)
    if objective is not None:
        if not isinstance(objective, str):
            raise ValueError(f"parameter `objective` is {objective!r}; allowed: dsm, hsm")
        described["objective"] = objective
    return Process(described)


def CLD(
    mass: float = 0.25,
    gamma: float = 0.04,
    beta: float | tuple[float, float] | dict[str, Any] = 4.0,
    *,
    friction: float | None = None,
    objective: str = "hsm",
) -> Process:
    """Critically-damped Langevin diffusion (Dockhorn, Vahdat, Kreis 2022); the paper's setting where nothing is given.

    ``dx = v/M b dt``, ``dv = (-x - Gamma/M v) b dt + sqrt(2 Gamma b) dW``; ``friction`` Gamma is 2 sqrt(M) (critical) unless given.
    ``beta``: a number, a pair (at t = 0, at t = 1) that is joined by a line, or a schedule as a dict.

    >>> CLD(mass=0.25, gamma=0.04, beta=4.0)
    Process(cld hsm [mass=0.25, gamma=0.04] constant(b0=4, b1=0))
    >>> CLD(mass=-1)
    Traceback (most recent call last):
        ...
    ValueError: parameter `mass` is -1; allowed: 1e-12 <= mass <= 1e12
    """
    return _process("cld", beta, objective, mass=mass, gamma=gamma, Gamma=friction)


def SSCSAnalytic(mass: float = 0.25, beta: float | tuple[float, float] | dict[str, Any] = 4.0) -> Process:
    """The analytic half step of SSCS as a process of its own: CLD with the coupling reversed."""
    return _process("sscs-analytic", beta, "dsm", mass=mass)


def PSLD(
    Gamma: float = 0.01,
    nu: float = 4.01,
    gamma: float = 0.04,
    beta: float | tuple[float, float] | dict[str, Any] = 8.0,
    *,
    objective: str = "hsm",
) -> Process:
    """Phase-space Langevin diffusion (Pandey and Mandt 2023): noise in x, too, for Gamma > 0."""
    return _process("psld", beta, objective, Gamma=Gamma, nu=nu, gamma=gamma)


def CLDPositionNoise(
    a: float,
    epsilon: float,
    sigma: float,
    v0_var: float = 0.04,
    beta: float | tuple[float, float] | dict[str, Any] = 4.0,
    *,
    objective: str = "hsm",
) -> Process:
    """CLD with noise in the position, too (Strasman et al. 2025)."""
    return _process("cld-position-noise", beta, objective, a=a, epsilon=epsilon, sigma=sigma, v0_var=v0_var)


def HigherOrderLangevin(
    order: int = 3,
    velocity_var: float = 0.04,
    beta: float | tuple[float, float] | dict[str, Any] = 8.0,
    *,
    objective: str = "hsm",
) -> Process:
    """Langevin chain of order 2, 3 or 4, critically damped."""
    return _process("langevin-order-n", beta, objective, order=order, velocity_var=velocity_var)


def VP(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """Variance preserving (Song et al. 2021), ``dx = -b x/2 dt + sqrt(b) dW``, b from ``beta_min`` to ``beta_max``.

    >>> float(VP().cov(1.0)[0, 0].round(6))
    0.999957
    """
    return _process("vp", (beta_min, beta_max), None)


def SubVP(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """Sub-variance preserving (Song et al. 2021)."""
    return _process("sub-vp", (beta_min, beta_max), None)


def VE(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Process:
    """Variance exploding (Song et al. 2021): the variance from t = 0 is ``sigma(t)^2 - sigma_min^2``."""
    lower, upper = _number(sigma_min, "sigma_min"), _number(sigma_max, "sigma_max")
    return _process("ve", {"kind": "geometric-sigma", "sigma_min": lower, "sigma_max": upper}, None)


def Custom(
    F: Sequence[Sequence[float]],
    GGt: Sequence[Sequence[float]],
    beta: float | tuple[float, float] | dict[str, Any] = 1.0,
    *,
    mass: float | None = None,
    gamma: float | None = None,
    objective: str = "dsm",
) -> Process:
    """Any linear SDE ``du = F u b dt + G sqrt(b) dW`` of 1 to 4 channels, by its matrices.

    >>> ou = Custom([[-0.5]], [[1.0]], beta=(0.1, 20.0))
    >>> bool(abs(ou.cov(0.3) / VP().cov(0.3) - 1) < 1e-15)
    True
    """
    matrix = lambda m, name: finite(floats(m, name), name).tolist()  # noqa: E731
    return _process("custom", beta, objective, F=matrix(F, "F"), GGt=matrix(GGt, "GGt"), mass=mass, gamma=gamma)
