"""Samplers: runs with any score, the exact law of a foreign step, and what sampler it is."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import numpy as np

from . import _native
from ._arrays import Array, as_numpy, finite, floats
from ._check import _DATA, _exact_score
from ._process import CLD, Process



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


# The law of someone else's step


@dataclass
class SamplerReport:
    """What a sampler is, read off its steps: prints itself."""

    #: The samplers of the crate whose law is that of the step, to rounding; empty: none of them.
    same_as: list[str]
    #: The nearest of them, and how far in relative terms.
    nearest: str
    distance: float
    #: Measured weak order; None where the errors are rounding, or follow no power.
    order: float | None
    #: Evaluations of the score in a step.
    evaluations: int
    #: Error (W2 per coordinate to the data's exact law at the grid's end) by evaluations, and that of the nearest sampler.
    errors: dict[int, tuple[float, float]]
    #: What is wrong, in sentences.
    findings: list[str]
    process: Process
    #: The step's own law on the grid, per step: A, c, C (K, draws).
    laws: list[tuple[Array, Array, Array]] = field(repr=False)

    @property
    def ok(self) -> bool:
        """The step is one of the crate's, or converges to the right law at some order, and nothing is found wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        what = f"the law of {', '.join(self.same_as)}" if self.same_as else f"none of ours; nearest {self.nearest}, off by {self.distance:.2g}"
        lines = [f"cld_sgm.check_sampler: {what}", f"  against {self.process!r}, exact score of N({_DATA[0]}, {_DATA[1]}^2)"]
        lines.append(f"  weak order {'not measurable' if self.order is None else f'{self.order:.2f}'}, {self.evaluations} evaluations of the score per step")
        lines += [f"  {finding}" for finding in self.findings]
        lines += ["", f"  evaluations  error       {self.nearest}"]
        lines += [f"  {n:<11}  {mine:<10.3g}  {ours:.3g}" for n, (mine, ours) in self.errors.items()]
        return "\n".join(lines)


class _Probe:
    """Calls a foreign step on a batch whose rows are the origin and the unit vectors of state and noise."""

    def __init__(self, call: Callable[..., Any], process: Process, width: int) -> None:
        self.call, self.process, self.width = call, process, width
        self.k = process.channels
        self.evaluated: list[float] = []
        self.exact = _exact_score(process)
        #: by time: the affine score's matrix and constant
        self.scores: dict[float, tuple[Array, Array]] = {}

    def score(self, u: Any, t: Any) -> Array:
        state = as_numpy(u, "u").astype(np.float64)
        times = as_numpy(t, "t").astype(np.float64)
        times = np.full(len(state), float(times.reshape(-1)[0])) if times.size == 1 else times.reshape(-1)
        self.evaluated.append(float(times[0]))
        if state.shape[1:] != (self.k,):
            raise ValueError(f"the score was called with a state of shape {state.shape}; allowed: (n, {self.k})")
        if not ((times >= 0) & (times <= 1)).all():
            raise ValueError(f"the score was called at t = {times[0]}; allowed: 0 <= t <= 1 (0 is the data; is the clock reversed?)")
        if (times != times[0]).any():
            return self.exact(state, times)
        t = float(times[0])
        if t not in self.scores:
            basis = self.exact(np.concatenate([np.zeros((1, self.k)), np.eye(self.k)]), np.full(1 + self.k, t))
            self.scores[t] = basis[1:] - basis[0], basis[0]
        matrix, constant = self.scores[t]
        return state @ matrix + constant

    def law(self, t: float, s: float) -> tuple[Array, Array, Array]:
        """A, c, C of the step from t to s."""
        k, m = self.k, self.width
        rows = 1 + k + m
        u = np.zeros((rows, k))
        u[1 : 1 + k] = np.eye(k)
        noise = np.zeros((m, rows, 1))
        noise[np.arange(m), 1 + k + np.arange(m), 0] = 1.0
        taken = [0]

        def normal(*_: Any, **__: Any) -> Array:
            """The next draws: one channel, or all, by what is asked for."""
            shape = next((a for a in _ if isinstance(a, (tuple, list))), None)
            shape = __.get("size", __.get("shape", shape))
            count = 1 if shape is None or len(shape) < 2 else int(shape[1])
            if taken[0] + count > m:
                raise _MoreNoise(taken[0] + count)
            out = np.concatenate(list(noise[taken[0] : taken[0] + count]), axis=1)
            taken[0] += count
            return out

        self.evaluated = []
        end = self.call(u, t, s, self.score, normal)
        if isinstance(end, (tuple, list)):
            end = end[0]
        end = as_numpy(end, "u_next").astype(np.float64)
        if end.shape != (rows, k):
            raise ValueError(f"the step returned an array of shape {end.shape}; allowed: ({rows}, {k}), the shape of u")
        self.used = taken[0]
        return (end[1 : 1 + k] - end[0]).T, end[0], (end[1 + k :] - end[0]).T


class _MoreNoise(Exception):
    pass


def _chain(laws: Sequence[tuple[Array, Array, Array]], mean: Array, cov: Array) -> tuple[Array, Array]:
    for a, c, noise in laws:
        mean, cov = a @ mean + c, a @ cov @ a.T + noise @ noise.T
    return mean, cov


def _w2(mean: Array, cov: Array, to_mean: Array, to_cov: Array) -> float:
    """Wasserstein distance of the first channel's normals: that of the data."""
    return math.hypot(mean[0] - to_mean[0], math.sqrt(max(cov[0, 0], 0.0)) - math.sqrt(to_cov[0, 0]))


def _reverse_truth(process: Process, t: float) -> tuple[Array, Array]:
    phi = process.mean(t)[:, 0]
    return _DATA[0] * phi, process.cov(t) + _DATA[1] ** 2 * np.outer(phi, phi)


def check_sampler(
    step: Callable[..., Any],
    process: Process | None = None,
    grid: Any = None,
) -> SamplerReport:
    """Reads the exact law off your own step, and says what sampler it is, of what order, and what is wrong.

    ``step(u, t, s, score, normal)`` goes from time t down to s: ``u`` (n, K), ``score(u, t)`` gives the noised channels' score, (n, m), and
    ``normal(shape)`` stands for your generator (``rng.normal``, ``torch.randn``): it returns (n, 1) or, asked for (n, j), j channels.
    The data are normal, so that the exact score is affine and so is every step: a batch of the origin and the unit vectors of state and noise
    has the law to the last digit, and no random number is drawn. ``grid``: times that decrease, for the comparison (default: 20 steps from 1 to 1e-3).

    >>> p = CLD(beta=(0.1, 20.0))
    >>> def euler(u, t, s, score, normal):
    ...     b, x, v = 0.1 + 19.9 * t, u[:, :1], u[:, 1:]
    ...     dv = b * (x + 4 * v + 2 * score(u, t))
    ...     noise = (2 * b * (t - s)) ** 0.5 * normal((len(u), 1))
    ...     return np.concatenate([x - (t - s) * 4 * b * v, v + (t - s) * dv + noise], 1)
    >>> report = check_sampler(euler, p)
    >>> report.same_as, round(report.order, 1)
    (['em'], 1.0)
    """
    process = CLD() if process is None else process
    if not isinstance(process, Process):
        raise ValueError(f"parameter `process` is {type(process).__name__}; allowed: a cld_sgm.Process, such as cld_sgm.CLD()")
    if not callable(step):
        raise ValueError(f"parameter `step` is {type(step).__name__}; allowed: a function of (u, t, s, score, normal)")
    try:
        inspect.signature(step).bind(*[None] * 5)
    except TypeError:
        raise ValueError(f"parameter `step` takes {inspect.signature(step)}; allowed: (u, t, s, score, normal)") from None
    except ValueError:
        pass
    times = _grid(np.linspace(1.0, 1e-3, 21) if grid is None else grid)
    if len(times) < 2 or any(not 0 <= b < a <= 1 for a, b in zip(times, times[1:])):
        raise ValueError("parameter `grid` does not decrease within [0, 1]; allowed: at least two times, from the prior down")
    probe = _Probe(step, process, 0)
    while True:
        try:
            laws = [probe.law(t, s) for t, s in zip(times, times[1:])]
            break
        except _MoreNoise as more:
            probe.width = int(more.args[0])
            if probe.width > 4096:
                raise ValueError("the step draws more than 4096 normals; allowed: one step at a time") from None
    findings = _findings(probe, process, times)
    evaluations = len(probe.evaluated)

    # which of ours it is: the laws of single steps
    distances: dict[str, float] = {}
    for entry in samplers():
        if entry.adaptive:
            continue
        try:
            worst = 0.0
            for (t, s), (a, c, noise) in zip(zip(times, times[1:]), laws):
                c1, a1, n1 = _native.law(process._native, entry.name, [t, s], _DATA, False)
                mine = np.concatenate([a.reshape(-1), c, (noise @ noise.T).reshape(-1)])
                ours = np.concatenate([np.array(a1), np.array(c1), (n1 @ n1.T).reshape(-1)])
                worst = max(worst, float(np.abs(mine - ours).max() / np.abs(ours).max()))
            distances[entry.name] = worst
        except ValueError:
            continue  # not defined for this process
    nearest = min(distances, key=lambda name: distances[name])
    same = [name for name, d in distances.items() if d < 1e-11]

    # convergence: the law at the end of runs of more and more steps, against the exact one
    start = np.zeros(process.channels), process.prior_cov()
    exact = _reverse_truth(process, times[-1])
    errors: dict[int, tuple[float, float]] = {}
    per_step = max(evaluations, 1)

    def end_of(steps: int) -> tuple[Array, Array]:
        fine = np.linspace(1.0, times[-1], steps + 1)
        return _chain([probe.law(float(t), float(s)) for t, s in zip(fine, fine[1:])], *start)

    def ours_end(steps: int) -> tuple[Array, Array]:
        c, a, noise = _native.law(process._native, nearest, [float(t) for t in np.linspace(1.0, times[-1], steps + 1)], _DATA, False)
        k = process.channels
        return _chain([(np.array(a).reshape(k, k), np.array(c), noise)], *start)

    for n in (10, 20, 50, 100):
        if n // per_step >= 1:
            errors[n] = (_w2(*end_of(n // per_step), *exact), _w2(*ours_end(n // per_step), *exact))
    ends, order = _asymptotic(end_of)
    if order is not None and order < 0.5 and not findings:
        findings.append(f"the law does not converge as the steps shrink (order {order:.2f})")
    limit = _extrapolated(ends, order)
    if order is not None and limit is not None:
        gap = max(float(np.abs(limit[0] - exact[0]).max()), float(np.abs(limit[1] - exact[1]).max()))
        if gap > 0.05 * float(np.abs(exact[1]).max()):
            findings.append(f"with ever smaller steps the law goes to another one than the data's: mean or covariance off by {gap:.2g}")
    return SamplerReport(same, nearest, distances[nearest], order, evaluations, errors, findings, process, laws)


def _flat(law: tuple[Array, Array]) -> Array:
    return np.concatenate([law[0], law[1].reshape(-1)])


#: Most steps of the runs that the order is read off.
_MOST = 6400


def _asymptotic(end_of: Callable[[int], tuple[Array, Array]]) -> tuple[list[tuple[Array, Array]], float | None]:
    """The ends of the last two runs, and the order: from the differences of runs whose steps are halved until two orders in a row agree to
    0.05, for which the exact end is not needed. None where differences are rounding before that."""
    steps, ends, gaps, orders = 100, [end_of(100)], [], []
    while steps < _MOST:
        steps *= 2
        ends.append(end_of(steps))
        gaps.append(np.abs(_flat(ends[-1]) - _flat(ends[-2])))
        if not np.isfinite(gaps[-1]).all() or gaps[-1].max() < 1e-12:
            break
        if len(gaps) > 1:
            # the least order of mean and covariance: a large term of higher order in one of them takes long to vanish
            there = gaps[-1] > 1e-12
            orders.append(float(np.log2(gaps[-2][there] / gaps[-1][there]).min()))
        if len(orders) > 1 and abs(orders[-1] - orders[-2]) < 0.05:
            break
    return ends[-2:], orders[-1] if orders else None


def _extrapolated(ends: list[tuple[Array, Array]], order: float | None) -> tuple[Array, Array] | None:
    if order is None or order < 0.5:
        return None
    w = 1 / (2**order - 1)
    return ends[1][0] + w * (ends[1][0] - ends[0][0]), ends[1][1] + w * (ends[1][1] - ends[0][1])


def _findings(probe: _Probe, process: Process, times: list[float]) -> list[str]:
    """What one step in the middle of the grid shows."""
    out: list[str] = []
    t, s = times[len(times) // 2 - 1], times[len(times) // 2]
    probe.law(t, s)
    seen = probe.evaluated
    if not seen:
        out.append("the score is never evaluated")
    elif seen[0] == s and s != t:
        out.append(f"the score is evaluated at the step's end ({s:.4g}), where the step goes from t = {t:.4g}")
    elif not s - 1e-12 <= seen[0] <= t + 1e-12:
        out.append(f"the score is evaluated at {seen[0]:.4g}, outside the step from {t:.4g} to {s:.4g}")
    return out
