"""What sampler a step is, of what order, and what is wrong with it: from its exact law, or, where its noise is out of reach, by simulation."""

from __future__ import annotations

import functools
import math
import textwrap
import time
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Callable, Sequence

import numpy as np

from . import _native
from ._arrays import FLOATS, Array, finite, floats
from ._check import _DATA, _exact_score
from ._process import CLD, Process
from ._steps import EPSILON, Foreign, Told

#: Chance that a simulation refutes a step that is right, over all its claims.
FALSE_ALARM = 1e-6
#: Rows of a simulated batch.
_ROWS = 50000
#: Most steps of the runs that orders are read off.
_MOST = 6400

Law = tuple[Array, Array, Array]


@dataclass
class SamplerReport:
    """What a sampler is, read off its steps: prints itself."""

    #: The samplers of the crate whose law is that of the step, to rounding (simulated: that are not refuted); empty: none of them.
    same_as: list[str]
    #: The nearest of them, and how far in relative terms (simulated: in standard errors).
    nearest: str
    distance: float
    #: Measured weak order; None where the errors are rounding, or follow no power, or where it was simulated.
    order: float | None
    #: Measured strong order: two runs on one Brownian path, one with half the steps; None where it has no such path.
    strong: float | None
    #: Whether the last two measurements of weak and strong order agree to 0.05; else the steps were not small enough.
    settled: tuple[bool, bool]
    #: Evaluations of the score in a step.
    evaluations: int
    #: Error (W2 per coordinate to the exact law at the grid's end) by evaluations: its own, and by the names of ours. NaN: not measured.
    errors: dict[int, dict[str, float]]
    #: What is wrong, in sentences.
    findings: list[str]
    #: What is worth knowing, and no mistake.
    notes: list[str]
    #: Judged from random numbers, which is weaker: what that can see. None: judged from the exact law.
    simulated: str | None
    #: How it was called.
    understood: str
    process: Process
    #: Law of the step on each interval of the grid: A, c, C (K, draws); of a run: of the whole.
    laws: list[Law] = field(repr=False)

    @property
    def ok(self) -> bool:
        """It is one of the crate's, or converges to the right law at some order, and nothing is found wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.simulated is not None:
            what = f"not told from {', '.join(self.same_as)}" if self.same_as else f"none of ours; nearest {self.nearest or '-'}"
            what += " (simulated: weaker than from the exact law)"
        elif self.same_as:
            what = f"the law of {', '.join(self.same_as)}"
        else:
            what = f"none of ours; nearest {self.nearest}, off by {self.distance:.2g}" if math.isfinite(self.distance) else "none of ours"
        right = "right" if self.simulated is None or self.same_as else "nothing found wrong"
        verdict = right if self.ok else f"{len(self.findings)} found wrong"
        lines = _wrapped(f"cld_sgm.check_sampler: {verdict}; {what}", "", "  ")
        lines += _wrapped(f"against {self.process!r}, with the exact score of N({_DATA[0]}, {_DATA[1]}^2)", "  ", "    ")
        for title, texts in (("Wrong", self.findings), ("Note", self.notes)):
            if texts:
                lines += ["", title]
                for text in texts:
                    lines += _wrapped(text, "  - ", "    ")
        lines.append("")
        if self.simulated is None:
            weak = "not measurable" if self.order is None else f"{self.order:.2f}" + ("" if self.settled[0] else " (not settled)")
            strong = "not measured" if self.strong is None else f"{self.strong:.2f}" + ("" if self.settled[1] else " (not settled)")
            lines.append(f"Order      weak {weak}, strong {strong}")
        else:
            lines += _wrapped(self.simulated, "Simulated  ", "           ")
        lines.append(f"Score      {self.evaluations} evaluation{'' if self.evaluations == 1 else 's'} a step")
        lines += _wrapped(self.understood, "Called     ", "           ")
        if self.errors:
            names = list(next(iter(self.errors.values())))
            lines += ["", "Error at the end (W2 per coordinate), by evaluations of the score"]
            lines.append("  " + "  ".join(f"{n:<11}" for n in ["evaluations", *names]).rstrip())
            for n, row in self.errors.items():
                cells = [f"{n:<11}"] + ["-".ljust(max(len(k), 11)) if math.isnan(e) else f"{e:.3g}".ljust(max(len(k), 11)) for k, e in row.items()]
                lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, 79, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)


# Laws


def _chain(laws: Sequence[Law]) -> Law:
    """The law of one call after the other."""
    a, c, parts = np.eye(len(laws[0][1])), np.zeros(len(laws[0][1])), []
    suffix = [a]
    for law in reversed(laws[1:]):
        suffix.append(suffix[-1] @ law[0])
    for law, after in zip(laws, reversed(suffix)):
        c = law[0] @ c + law[1]
        parts.append(after @ law[2])
    return suffix[-1] @ laws[0][0], c, np.concatenate(parts, axis=1)


def _moments(law: Law, mean: Array, cov: Array) -> tuple[Array, Array]:
    a, c, noise = law
    return a @ mean + c, a @ cov @ a.T + noise @ noise.T


def _w2(mean: Array, cov: Array, to_mean: Array, to_cov: Array) -> float:
    """Wasserstein distance of the first channel's normals: that of the data."""
    return math.hypot(mean[0] - to_mean[0], math.sqrt(max(cov[0, 0], 0.0)) - math.sqrt(to_cov[0, 0]))


def _truth(process: Process, t: float) -> tuple[Array, Array]:
    """The exact law of all channels at time t."""
    if t == 0:
        first = np.eye(process.channels)[0]
        return _DATA[0] * first, np.diag(process._native.initial()) + _DATA[1] ** 2 * np.outer(first, first)
    phi = process.mean(t)[:, 0]
    return _DATA[0] * phi, process.cov(t) + _DATA[1] ** 2 * np.outer(phi, phi)


def _ours(process: Process, name: str, times: Sequence[float], denoise: bool = False) -> Law:
    c, a, noise = _native.law(process._native, name, [float(t) for t in times], _DATA, denoise)
    k = process.channels
    return np.array(a).reshape(k, k), np.array(c), noise


def _apart(mine: Law, ours: Law) -> float:
    """Relative distance of two laws; of the noise only its covariance counts."""
    one, two = (np.concatenate([a.reshape(-1), c, (n @ n.T).reshape(-1)]) for a, c, n in (mine, ours))
    return float(np.abs(one - two).max() / np.abs(two).max())


def _expm(a: Array) -> Array:
    """exp(a) of a small matrix: halved until its series is short, then squared."""
    halvings = max(0, int(np.ceil(np.log2(max(np.abs(a).sum(axis=1).max(), 1e-300)))) + 4)
    x = a / 2.0**halvings
    out = term = np.eye(len(a))
    for i in range(1, 20):
        term = term @ x / i
        out = out + term
    for _ in range(halvings):
        out = out @ out
    return out


@dataclass(frozen=True)
class _Mistake:
    """A step with one thing wrong, for which a foreign one may be told to be it."""

    text: str
    law: Callable[[float, float], Law]

    @property
    def base(self) -> str:
        """The sampler of ours that it was meant to be."""
        return "sscs" if "SSCS" in self.text else "em"


class _Mistakes:
    """Euler-Maruyama and SSCS with one thing wrong each, as laws of single steps: written here from the formulas, apart from ours."""

    def __init__(self, process: Process, score: Callable[[float], tuple[Array, Array]]) -> None:
        self.process, self.score = process, score
        self.f = process._drift_matrix()
        prior = process.prior_cov()
        self.inverse = np.linalg.inv(prior)
        self.prior = prior

    def _score(self, t: float) -> tuple[Array, Array]:
        """As matrices on all channels: S u + c."""
        k, noised = self.process.channels, self.process.noised
        matrix, constant = self.score(min(max(t, 0.0), 1.0))
        full, shift = np.zeros((k, k)), np.zeros(k)
        full[noised], shift[noised] = matrix.T, constant
        return full, shift

    def em(self, score_at: float = 0.0, rate_at: float = 0.0, kick: float = 1.0, noise: str = "root", sign: float = 1.0) -> Callable[[float, float], Law]:
        """``score_at``, ``rate_at``: 0 the start of the step, 1 its end; -1: 1 - t."""

        def law(t: float, s: float) -> Law:
            h = t - s
            when = lambda w: 1 - t if w < 0 else t + w * (s - t)  # noqa: E731
            b = float(self.process.beta(when(rate_at)))
            g = self.process.noise(0.5) / float(self.process.beta(0.5))
            matrix, constant = self._score(when(score_at))
            size = {"root": b * h, "whole": b * h * h, "half": b * h / 2, "twice": 2 * b * h, "none": 0.0, "b": b * b * h}[noise]
            a = np.eye(len(g)) + h * b * (-sign * self.f + kick * g @ matrix)
            return a, h * b * kick * g @ constant, _root(size * g)

        return law

    def sscs(
        self,
        score_at: float = 0.0,
        kick: float = 1.0,
        residual: float = 1.0,
        prior: Array | None = None,
        halves: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.5), (0.5, 1.0)),
        shared: bool = False,
        noise: float = 1.0,
        second: bool = True,
    ) -> Callable[[float, float], Law]:
        """``halves``: the intervals of the half steps, from 0, the start, to 1. ``residual``: of the term + S^-1 u in the kick."""
        inverse = self.inverse if prior is None else np.linalg.inv(prior)

        def half(t: float, s: float) -> tuple[Array, Array]:
            g = self.process.noise(0.5) / float(self.process.beta(0.5))
            tau = float(self.process.integral(t)) - (float(self.process.integral(s)) if s > 0 else 0.0)
            drift = -self.f - g @ inverse
            k = len(g)
            block = _expm(tau * np.block([[-drift, g], [np.zeros((k, k)), drift.T]]))
            mean = block[k:, k:].T
            return mean, mean @ block[:k, k:]

        def law(t: float, s: float) -> Law:
            h, k = t - s, self.process.channels
            at = lambda w: t + w * (s - t)  # noqa: E731
            g = self.process.noise(t)
            (m1, q1), (m2, q2) = (half(at(a), at(b)) for a, b in halves)
            matrix, constant = self._score(at(score_at))
            middle = np.eye(k) + h * kick * g @ (matrix + residual * inverse)
            shift = h * kick * g @ constant
            # lower factors, as those who hand the same noise to both will have them
            n1, n2 = noise * np.linalg.cholesky(q1), noise * np.linalg.cholesky(q2)
            if not second:
                m2, n2 = np.eye(k), 0 * n2
            first = m2 @ middle @ n1
            noises = first + n2 if shared else np.concatenate([first, n2], axis=1)
            return m2 @ middle @ m1, m2 @ shift, noises

        return law

    def all(self) -> list[_Mistake]:
        end = "the score is evaluated at the step's end, s, where the step goes from t"
        one = np.eye(self.process.channels)
        out = [
            _Mistake("Euler's method on the probability flow: no mistake, but no noise either", self.em(kick=0.5, noise="none")),
            _Mistake(f"an Euler-Maruyama step, but {end}", self.em(score_at=1.0)),
            _Mistake("an Euler-Maruyama step, but score and rate are taken at the step's end, s, where the step goes from t", self.em(1.0, 1.0)),
            _Mistake("an Euler-Maruyama step, but the rate b is taken at the step's end, s", self.em(rate_at=1.0)),
            _Mistake("an Euler-Maruyama step, but the score is evaluated at 1 - t: its clock runs the other way", self.em(score_at=-1.0)),
            _Mistake("an Euler-Maruyama step, but score and rate are taken at 1 - t: its clock runs the other way", self.em(-1.0, -1.0)),
            _Mistake("an Euler-Maruyama step, but its noise is multiplied by dt where the square root of dt belongs", self.em(noise="whole")),
            _Mistake("an Euler-Maruyama step, but its noise is multiplied by b where the square root of b belongs", self.em(noise="b")),
            _Mistake("an Euler-Maruyama step, but the noise lacks a factor sqrt(2)", self.em(noise="half")),
            _Mistake("an Euler-Maruyama step, but the noise is too large by sqrt(2)", self.em(noise="twice")),
            _Mistake("an Euler-Maruyama step of the reverse SDE without its noise (the probability flow has half the score)", self.em(noise="none")),
            _Mistake("an Euler-Maruyama step, but half of G G^T multiplies the score (that is the probability flow's)", self.em(kick=0.5)),
            _Mistake("an Euler-Maruyama step, but twice G G^T multiplies the score", self.em(kick=2.0)),
            _Mistake("an Euler-Maruyama step, but the forward drift is not reversed in time", self.em(sign=-1.0)),
            _Mistake("an Euler-Maruyama step, but the score is subtracted where it belongs added", self.em(kick=-1.0)),
            _Mistake("an Euler-Maruyama step, but the whole drift has the wrong sign", self.em(sign=-1.0, kick=-1.0)),
        ]
        if self.process.channels == 1 or not np.linalg.eigvals(self.prior).min() > 0:
            return out
        halves = "the second half step repeats the interval of the first"
        out += [
            _Mistake(f"an SSCS step, but {halves}", self.sscs(halves=((0.0, 0.5), (0.0, 0.5)))),
            _Mistake("an SSCS step, but its half steps are taken in the wrong order: the later interval first", self.sscs(halves=((0.5, 1.0), (0.0, 0.5)))),
            _Mistake("an SSCS step, but its half steps are as long as the whole", self.sscs(halves=((0.0, 1.0), (0.0, 1.0)))),
            _Mistake("an SSCS step without its second half step", self.sscs(second=False)),
            _Mistake(f"an SSCS step, but {end}", self.sscs(score_at=1.0)),
            _Mistake("an SSCS step, but both half steps take the same noise", self.sscs(shared=True)),
            _Mistake("an SSCS step, but its half steps have no noise", self.sscs(noise=0.0)),
            _Mistake("an SSCS step, but half of G G^T multiplies the score", self.sscs(kick=0.5)),
            _Mistake("an SSCS step, but the kick is the whole score: the term + v / M, which the half steps have, is missing", self.sscs(residual=0.0)),
            _Mistake("an SSCS step, but the kick has the term - v / M where + v / M belongs", self.sscs(residual=-1.0)),
        ]
        if not np.allclose(self.prior, one):
            out.append(_Mistake("an SSCS step, but the prior's variance is 1 in all channels, where that of v is M", self.sscs(prior=one)))
            out.append(
                _Mistake("an SSCS step, but the kick takes the prior's variance of v to be 1 (+ v where + v / M belongs)", _mixed(self, np.asarray(self.inverse, np.float64), one))
            )
        return out


def _mixed(mistakes: _Mistakes, inverse: Array, other: Array) -> Callable[[float, float], Law]:
    """SSCS whose kick has S^-1 replaced, and whose half steps are right."""
    right = mistakes.sscs()
    plain = mistakes.sscs(residual=0.0)

    def law(t: float, s: float) -> Law:
        # the law is affine in the kick's residual: A = A_0 + (A_1 - A_0) with S^-1, here with the other matrix in the noised channels
        one, none = right(t, s), plain(t, s)
        noised = mistakes.process.noised
        ratio = float(other[noised[0], noised[0]] / inverse[noised[0], noised[0]])
        return none[0] + ratio * (one[0] - none[0]), one[1], none[2] + ratio * (one[2] - none[2])

    return law


def _root(cov: Array) -> Array:
    """A matrix whose square is ``cov``, which may be singular."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0.0))


# Orders


def _coarse(noise: Array, per_step: int, space_time: bool) -> Array:
    """The matrix of a run's draws as one of a run with twice the steps, on the same path: what it makes of the fine draws."""
    k, total = noise.shape
    steps = total // per_step
    parts = noise.reshape(k, steps, per_step)
    fine = np.zeros((k, steps, 2, per_step))
    if not space_time:
        fine[:, :, 0] = fine[:, :, 1] = parts / math.sqrt(2)
    else:
        # increments w sqrt(h) and space-time areas e sqrt(h / 12): those of the whole are (w1 + w2) / sqrt(2) and
        # (e1 + e2) / sqrt(8) + sqrt(3 / 8) (w1 - w2)
        half = per_step // 2
        w, e = parts[:, :, :half], parts[:, :, half:]
        fine[:, :, 0, :half] = w / math.sqrt(2) + e * math.sqrt(3 / 8)
        fine[:, :, 1, :half] = w / math.sqrt(2) - e * math.sqrt(3 / 8)
        fine[:, :, 0, half:] = fine[:, :, 1, half:] = e / math.sqrt(8)
    return fine.reshape(k, 2 * total)


@dataclass
class _Orders:
    weak: float | None
    strong: float | None
    #: the laws of the last two runs
    ends: list[Law]
    #: of the last
    steps: int
    settled: tuple[bool, bool]


def _flat(moments: tuple[Array, Array]) -> Array:
    return np.concatenate([moments[0], moments[1].reshape(-1)])


def _agree(orders: list[float]) -> bool:
    return len(orders) > 1 and abs(orders[-1] - orders[-2]) < 0.05


def _orders(run: Callable[[int], Law], start: tuple[Array, Array], floor: float, most: int, path: bool | None, seconds: float) -> _Orders:
    """From the differences of runs whose steps are halved until two orders in a row agree to 0.05, for which the exact end is not needed."""
    began = time.perf_counter()
    steps, laws = 50, [run(50)]
    gaps: list[Array] = []
    far: list[float] = []
    weak: list[float] = []
    strong: list[float] = []
    if path is None:
        strong_done = True
    else:
        strong_done = False
    # the next run takes twice as long as the last
    while steps < most and (steps < 400 or 3 * (time.perf_counter() - began) < seconds):
        steps *= 2
        laws = [laws[-1], run(steps)]
        gaps.append(np.abs(_flat(_moments(laws[1], *start)) - _flat(_moments(laws[0], *start))))
        if not np.isfinite(gaps[-1]).all():
            break
        if not strong_done:
            total = laws[0][2].shape[1]
            coarse = _coarse(laws[0][2], total * 2 // steps, bool(path))
            if coarse.shape != laws[1][2].shape:
                strong_done = True
            else:
                da, dc, dn = laws[1][0] - laws[0][0], laws[1][1] - laws[0][1], laws[1][2] - coarse
                far.append(math.sqrt(max(float(dc @ dc + np.trace(da @ start[1] @ da.T) + (dn * dn).sum()), 0.0)))
        if len(gaps) > 1:
            # the least order of mean and covariance: a large term of higher order in one of them takes long to vanish
            there = gaps[-1] > floor
            if there.any():
                weak.append(float(np.log2(gaps[-2][there] / gaps[-1][there]).min()))
            if len(far) > 1 and far[-1] > floor:
                strong.append(math.log2(far[-2] / far[-1]))
        small = gaps[-1].max() < floor
        if (small or _agree(weak)) and (strong_done or _agree(strong) or (bool(far) and far[-1] < floor)):
            break
    return _Orders(weak[-1] if weak else None, strong[-1] if strong else None, laws, steps, (_agree(weak), _agree(strong)))


# The call


def _grid(grid: Any) -> list[float]:
    times = [float(t) for t in finite(floats(np.linspace(1.0, 1e-3, 21) if grid is None else grid, "grid"), "grid").reshape(-1)]
    if len(times) < 2 or any(not 0 <= b < a <= 1 for a, b in zip(times, times[1:])):
        raise ValueError("parameter `grid` does not decrease within [0, 1]; allowed: at least two times, from the prior down")
    return times


def check_sampler(
    step: Callable[..., Any],
    process: Process | None = None,
    grid: Any = None,
    *,
    dtype: str | None = None,
    framework: str | None = None,
    path: str | None = None,
    denoise: bool | None = None,
    seconds: float = 8.0,
    seed: int = 0,
) -> SamplerReport:
    """Reads the exact law off your own step or run, and says what sampler it is, of what order, and what is wrong.

    ``step(u, t, s, score, normal)`` goes from time t down to s: ``u`` (n, K), ``score(u, t)`` gives the noised channels' score, (n, m), and
    ``normal(shape)`` stands for your generator (``rng.normal``, ``torch.randn``): it returns (n, 1) or, asked for (n, j), j channels.
    Arguments are told by their names, too: ``dt`` for s, ``x, v`` for u, ``noise`` (``noise_1``, ``noise_2``, ``dw``) in place of ``normal``, a
    ``generator``, or none of them. A whole run is ``run(u, times, score, normal)``, which is needed for methods that keep something between
    steps; without ``u`` it draws its own start. In torch, jax and numpy what the step draws inside is replaced, too.

    The data are normal, so that the exact score is affine and so is every step: a batch of the origin and the unit vectors of state and noise
    has the law to the last digit, and no random number is drawn. A step whose noise cannot be replaced (a generator of its own) is judged by
    simulation, which is weaker, and the report says what it could see.

    ``grid``: times that decrease, for the comparison (default: 20 steps from 1 to 1e-3). ``dtype``: of the arrays that it gets (float64).
    ``path``: what its draws are, for the strong order: "increments" of a Brownian path (the default for as many draws as noised channels), or
    "space-time" (increments, then space-time areas, as many of each). ``denoise``: whether a run is meant to go on from the grid's end to 0 by a
    last step without noise. ``seconds``: after which no longer run is begun to measure orders, which are then marked as not settled.
    ``seed``: of the simulation, as far as the noise is handed over.

    Raises ValueError for a step that cannot be called, raises, or returns another shape or NaN.

    >>> from cld_sgm import CLD
    >>> p = CLD(beta=(0.1, 20.0))
    >>> def euler(u, t, s, score, normal):
    ...     b, x, v = 0.1 + 19.9 * t, u[:, :1], u[:, 1:]
    ...     dv = b * (x + 4 * v + 2 * score(u, t))
    ...     noise = (2 * b * (t - s)) ** 0.5 * normal((len(u), 1))
    ...     return np.concatenate([x - (t - s) * 4 * b * v, v + (t - s) * dv + noise], 1)
    >>> report = check_sampler(euler, p)
    >>> report.same_as, round(report.order, 1), round(report.strong, 1)
    (['em'], 1.0, 1.0)
    """
    process = CLD() if process is None else process
    if not isinstance(process, Process):
        raise ValueError(f"parameter `process` is {type(process).__name__}; allowed: a cld_sgm.Process, such as cld_sgm.CLD()")
    if not callable(step):
        raise ValueError(f"parameter `step` is {type(step).__name__}; allowed: a function of (u, t, s, score, normal)")
    for name, value, allowed in (
        ("dtype", dtype, FLOATS),
        ("framework", framework, ("numpy", "torch", "jax")),
        ("path", path, ("increments", "space-time")),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"parameter `{name}` is {value!r}; allowed: {', '.join(allowed)}")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ValueError(f"parameter `seconds` is {seconds!r}; allowed: a positive number")
    times = _grid(grid)
    foreign = Foreign(step, process, _exact_score(process), dtype, framework)
    ends = times[:2] if foreign.form == "step" else times
    foreign.settle(ends)
    repeat = foreign.deterministic(ends)
    if repeat == "fixed":
        judge = _Judge(foreign, process, times, path, denoise, seconds, seed)
        judge.findings.append(f"the {foreign.form} draws the same noise in every call, from a fixed seed: the noise of its steps is not independent")
        return judge.simulate("its noise comes from a generator that cannot be replaced")
    if repeat == "memory":
        raise ValueError(f"the {foreign.form} keeps something from call to call; allowed: a whole run (u, times, score, normal), which starts afresh")
    return _Judge(foreign, process, times, path, denoise, seconds, seed).report(hidden=repeat == "noise")


class _Judge:
    def __init__(self, foreign: Foreign, process: Process, times: list[float], path: str | None, denoise: bool | None, seconds: float, seed: int) -> None:
        self.foreign, self.process, self.times, self.path, self.denoise = foreign, process, times, path, denoise
        self.seconds, self.seed = seconds, seed
        self.findings: list[str] = []
        self.notes: list[str] = []
        self.bent = 0.0
        #: what of ours a known mistake was found in
        self.meant = ""
        self.step = foreign.form == "step"
        self.evaluations = 0
        self.seen: list[tuple[float, float, list[float]]] = []
        self.unit = EPSILON[foreign.precision]

    def law(self, times: Sequence[float]) -> Law:
        """Of a run over these times, all calls in one."""
        laws = []
        for t, s in zip(times, times[1:]) if self.step else [(times[0], times[-1])]:
            a, c, noise, bent = self.foreign.law([t, s] if self.step else times)
            self.bent = max(self.bent, bent)
            laws.append((a, c, noise))
            if len(self.seen) < 2000:
                self.seen.append((t, s, self.foreign.evaluated))
        self.last = laws
        return _chain(laws)

    def even(self, steps: int) -> list[float]:
        return [float(t) for t in np.linspace(1.0, self.times[-1], steps + 1)]

    def report(self, hidden: bool) -> SamplerReport:
        if hidden:
            return self.simulate("its noise comes from a generator that cannot be replaced")
        process, times = self.process, self.times
        whole = self.law(times)
        laws = self.last
        counts = {len(e) for _, _, e in self.seen}
        self.evaluations = max(counts) if self.step else round(max(counts) / (len(times) - 1))
        rough = 1e4 * self.unit
        if self.bent > rough:
            return self.simulate(
                f"it is not affine though the score is (off by {self.bent:.1g}): it clips, scales by a norm, or mixes the rows of a batch"
            )
        # to rounding; in single precision the forms of half steps cancel somewhat
        close = 1e-11 if self.unit < 1e-10 else 100 * self.unit
        start = _truth(process, 1.0) if foreign_start(self.foreign) else (np.zeros(process.channels), np.zeros((process.channels, process.channels)))
        # the start of a sampler that draws its own is forgotten by the end
        self.short = [1.0, 0.975, 0.95]
        self.opening = whole if foreign_start(self.foreign) else self.law(self.short)
        distances = self.distances(laws, whole)
        nearest = min(distances, key=lambda name: distances[name]) if distances else ""
        same = [name for name, d in distances.items() if d < close]
        base, denoised = (nearest.removesuffix(" + denoise"), nearest.endswith(" + denoise"))
        if not same and distances and distances[nearest] < 1e-5 and self.unit < 1e-10:
            same = [name for name, d in distances.items() if d < 1e-5]
            self.notes.append(f"the same as {same[0]} to {distances[same[0]]:.1g} only: some of it is computed in single precision")
        if not same:
            self.name_mistake(laws, whole, close)
        if "sscs-first-half-twice" in same and "sscs" not in same:
            self.findings.append("the second half step repeats the interval of the first, as some public code does: it is (s, (s + t) / 2)")
        if self.denoise is not None and not self.step and same:
            if self.denoise and not denoised:
                self.findings.append(f"the last step without noise, from {times[-1]:.3g} to 0, is missing: what it returns still has the noise of that time")
            if not self.denoise and denoised:
                self.findings.append("it goes on to 0 by a last step without noise, which it was not meant to have")
        if not same and not self.findings:
            self.score_times()
        if self.meant:
            nearest = base = self.meant
        # convergence
        per_step = self.evaluations or 1
        drawn = max((law[2].shape[1] for law in laws), default=0)
        if not self.step:
            drawn //= len(times) - 1
        used = int((np.abs(np.concatenate([law[2] for law in laws], 0)).max(0) > 0).sum()) if laws and len({law[2].shape for law in laws}) == 1 else 10**6
        if not self.step:
            used //= len(times) - 1
        space_time: bool | None = self.path == "space-time"
        if self.path is None and not (0 < used <= len(process.noised)) or not drawn or not foreign_start(self.foreign):
            space_time = None
        if self.path == "space-time" and drawn % 2:
            raise ValueError(f"parameter `path` is 'space-time' for {drawn} draws a step; allowed: an even number, increments and then areas")
        most = _MOST if self.step else 800
        run = lambda n: self.law(self.even(n))  # noqa: E731
        floor = 1e-12 if self.unit < 1e-10 else 200 * self.unit
        orders = _orders(run, start, floor, most, space_time, self.seconds)
        goal = _truth(process, 0.0 if denoised else times[-1])
        if not denoised:
            self.limit(orders, start, goal)
        names = [n for n in dict.fromkeys([base, "sscs2"]) if n]
        return SamplerReport(
            same,
            nearest,
            distances.get(nearest, math.nan),
            orders.weak,
            orders.strong,
            orders.settled,
            self.evaluations,
            self.errors(start, goal, names, per_step, denoised),
            self.findings,
            self.all_notes(),
            None,
            self.foreign.words(f"{drawn} normal{'' if drawn == 1 else 's'} a step" + (", drawn inside and replaced" if drawn and self.foreign.hidden else "")),
            process,
            laws,
        )

    def all_notes(self) -> list[str]:
        if self.foreign.mutates:
            self.notes.append(f"the {self.foreign.form} changes its input in place: the caller's state is lost")
        return self.notes

    def distances(self, laws: list[Law], whole: Law) -> dict[str, float]:
        """To ours: of single steps and of the whole, lest a method with memory be taken for its first step."""
        out: dict[str, float] = {}
        prior = self.process.prior_cov()
        for name, adaptive in ((row[0], row[5]) for row in _native.samplers()):
            if adaptive:
                continue
            try:
                for last in (False, True) if not self.step else (False,):
                    worst = _apart(whole, self.with_start(_ours(self.process, name, self.times, last), prior))
                    if not foreign_start(self.foreign):
                        worst = max(worst, _apart(self.opening, self.with_start(_ours(self.process, name, self.short, last), prior)))
                    if self.step:
                        for (t, s), law in zip(zip(self.times, self.times[1:]), laws):
                            worst = max(worst, _apart(law, _ours(self.process, name, [t, s])))
                    out[name + (" + denoise" if last else "")] = worst
            except ValueError:
                continue  # not defined for this process
        return out

    def with_start(self, law: Law, cov: Array) -> Law:
        """Ours, as a sampler that draws its own start of this covariance."""
        a, c, noise = law
        return law if foreign_start(self.foreign) else (0 * a, c, np.concatenate([a @ _root(cov), noise], axis=1))

    def name_mistake(self, laws: list[Law], whole: Law, close: float) -> None:
        """A known one that has these very numbers."""
        close = max(close, 1e-9)  # what stands for them is written less carefully than ours
        pairs = list(zip(self.times, self.times[1:]))
        if foreign_start(self.foreign):
            for mistake in _Mistakes(self.process, self.matrices).all():
                theirs = [mistake.law(t, s) for t, s in pairs]
                gap = max(_apart(law, it) for law, it in zip(laws, theirs)) if self.step else _apart(whole, _chain(theirs))
                if gap < close:
                    (self.notes if "no mistake" in mistake.text else self.findings).append(f"it is {mistake.text}")
                    self.meant = mistake.base
                    return
            return
        prior = self.process.prior_cov()
        starts = {
            "the prior's variance is 1 in all channels, where that of v is M": np.eye(len(prior)),
            "the prior's variance is taken for its deviation: v starts with deviation M, not sqrt(M)": prior @ prior,
            "the start of v is 0": np.diag(np.eye(len(prior))[0]),
        }
        for text, cov in starts.items():
            for name in (row[0] for row in _native.samplers() if not row[5]):
                for last in (False, True):
                    try:
                        ours = _ours(self.process, name, self.short, last)
                    except ValueError:
                        continue
                    if _apart(self.opening, self.with_start(ours, cov)) < close:
                        self.findings.append(f"it is {name}{' + denoise' if last else ''}, but {text}")
                        self.meant = name
                        return

    def matrices(self, t: float) -> tuple[Array, Array]:
        self.foreign._affine(np.zeros((1, self.process.channels)), t)
        return self.foreign._scores[t]

    def score_times(self) -> None:
        """What the times show at which the score was asked for."""
        slack = 1e-12 + 10 * self.unit
        what = self.foreign.form
        if not any(seen for _, _, seen in self.seen):
            self.findings.append("the score is never evaluated")
            return
        for t, s, seen in self.seen:
            outside = [x for x in seen if not s - slack <= x <= t + slack]
            if outside:
                self.findings.append(f"the score is evaluated at {outside[0]:.4g}, outside the {what} from {t:.4g} to {s:.4g}")
                return
        if self.step and all(seen and abs(seen[0] - s) <= slack for _, s, seen in self.seen):
            t, s, _ = self.seen[0]
            self.findings.append(f"the score is evaluated at the step's end ({s:.4g}), where the step goes from t = {t:.4g}")

    def limit(self, orders: _Orders, start: tuple[Array, Array], goal: tuple[Array, Array]) -> None:
        """Where the law goes as the steps shrink."""
        coarse, fine = (_moments(law, *start) for law in orders.ends)
        if not np.isfinite(_flat(fine)).all() or not np.isfinite(_flat(coarse)).all():
            self.findings.append(f"with {orders.steps} steps the run leaves the numbers: it diverges as the steps shrink")
            return
        gap = np.abs(_flat(fine) - _flat(goal)).max()
        size = np.abs(_flat(goal)).max()
        if orders.weak is not None and orders.weak < 0.5:
            if not self.findings:
                self.findings.append(f"the law does not converge as the steps shrink (order {orders.weak:.2f})")
            return
        step = np.abs(_flat(fine) - _flat(coarse)).max()
        # what is left beyond the fine run, twice over; and what a start from the prior, not from the law at t = 1, adds
        left = 2 * step / (2 ** max(orders.weak or 1.0, 0.5) - 1)
        if not foreign_start(self.foreign):
            left += np.abs(_flat((np.zeros(len(start[0])), self.process.prior_cov())) - _flat(_truth(self.process, 1.0))).max()
        if not gap <= left + 1e-3 * size + 1e4 * self.unit:
            self.findings.append(f"with ever smaller steps the law goes to another one than the data's: mean or covariance off by {gap:.2g}")

    def errors(
        self, start: tuple[Array, Array], goal: tuple[Array, Array], names: list[str], per_step: int, denoised: bool
    ) -> dict[int, dict[str, float]]:
        out: dict[int, dict[str, float]] = {}
        evaluations = {row[0]: row[4] for row in _native.samplers()}
        real = _truth(self.process, 1.0)
        for n in (10, 20, 50, 100):
            row: dict[str, float] = {}
            if n // per_step >= 1:
                row["yours"] = _w2(*_moments(self.law(self.even(n // per_step)), *start), *goal)
            for name in names:
                try:
                    steps = n // max(evaluations[name], 1)
                    row[name] = _w2(*_moments(_ours(self.process, name, self.even(steps), denoised), *real), *goal) if steps else math.nan
                except ValueError:
                    row[name] = math.nan
            out[n] = row
        return out

    # Simulation

    def simulate(self, why: str) -> SamplerReport:
        """Claims on the law of single steps from fixed states, each held at a level such that all of them together raise a false alarm once in a
        million; then the run's error with its standard error."""
        process, foreign, times = self.process, self.foreign, self.times
        k = process.channels
        rng = np.random.default_rng(self.seed)
        if foreign.form == "sample":
            calls = [times]
        elif foreign.form == "run":
            calls = [times]
        else:
            picks = sorted({0, (len(times) - 1) // 4, (len(times) - 1) // 2, 3 * (len(times) - 1) // 4, len(times) - 2})
            calls = [times[i : i + 2] for i in picks]
        states = [np.zeros(k)] if foreign.form == "sample" else [np.zeros(k)] + [np.eye(k)[i] for i in range(k)]
        ends: dict[tuple[int, int], Array] = {}
        counts = []
        for i, call in enumerate(calls):
            for j, state in enumerate(states):
                ends[i, j] = foreign(np.tile(state, (_ROWS, 1)), call, _ROWS, None, rng, replace_drawn=False)
                counts.append(len(foreign.evaluated))
        self.evaluations = max(counts) if self.step else round(max(counts) / (len(times) - 1))
        candidates: dict[str, Callable[[Sequence[float]], Law]] = {
            row[0]: functools.partial(_ours, process, row[0]) for row in _native.samplers() if not row[5]
        }
        pairs = k * (k - 1) // 2
        claims = len(calls) * len(states) * (2 * k + 2 * pairs)
        z = NormalDist().inv_cdf(1 - FALSE_ALARM / claims / 2)
        worst = {name: math.inf for name in candidates}
        prior = _root(process.prior_cov())
        for name, law_of in candidates.items():
            try:
                found = 0.0
                for i, call in enumerate(calls):
                    a, c, noise = law_of(call)
                    if foreign.form == "sample":
                        noise = np.concatenate([a @ prior, noise], axis=1)
                    for j, state in enumerate(states):
                        found = max(found, _strangeness(ends[i, j], a @ state + c, noise @ noise.T, self.unit))
                worst[name] = found
            except ValueError:
                continue
        nearest = min(worst, key=lambda name: worst[name])
        same = [name for name, w in worst.items() if w <= z]
        if not same and self.step:
            for mistake in _Mistakes(process, self.matrices).all():
                found = 0.0
                for i, call in enumerate(calls):
                    a, c, noise = mistake.law(call[0], call[1])
                    for j, state in enumerate(states):
                        found = max(found, _strangeness(ends[i, j], a @ state + c, noise @ noise.T, max(self.unit, 1e-12)))
                if found <= z:
                    self.meant = mistake.base
                    self.findings.append(f"it is {mistake.text} (no other thing was seen)")
                    break
        # the run
        goal = _truth(process, times[-1])
        real = _truth(process, 1.0)
        errors: dict[int, dict[str, float]] = {}
        evaluations = {row[0]: row[4] for row in _native.samplers()}
        nearest = self.meant or nearest
        names = [n for n in dict.fromkeys([nearest, "sscs2"]) if math.isfinite(worst.get(n, math.inf))]
        per_step = self.evaluations or 1

        def end_of(steps: int) -> Array:
            u = real[0] + rng.normal(size=(_ROWS, k)) @ np.linalg.cholesky(real[1]).T
            grid = self.even(steps)
            if not self.step:
                return foreign(u, grid, _ROWS, None, rng, replace_drawn=False)
            for t, s in zip(grid, grid[1:]):
                u = foreign(u, [t, s], _ROWS, None, rng, replace_drawn=False)
            return u

        for n in (10, 20, 50, 100):
            row: dict[str, float] = {"yours": math.nan}
            if n // per_step >= 1:
                u = end_of(n // per_step)
                row["yours"] = _w2(u.mean(0), np.atleast_2d(np.cov(u.T)), *goal)
            for name in names:
                steps = n // max(evaluations[name], 1)
                row[name] = _w2(*_moments(_ours(process, name, self.even(steps)), *real), *goal) if steps else math.nan
            errors[n] = row
        if not same and not self.findings:
            u = end_of(400)
            off = _strangeness(u, goal[0], goal[1], self.unit)
            mean, cov = u.mean(0), np.atleast_2d(np.cov(u.T))
            gap = max(float(np.abs(mean - goal[0]).max()), float(np.abs(cov - goal[1]).max()))
            size = float(np.abs(_flat(goal)).max())
            # an order 1 method with 400 steps is off by some percent; beyond that it is another law
            if off > z and gap > 0.05 * size:
                self.findings.append(f"at 400 steps the law is another one than the data's: mean or covariance off by {gap:.2g} ({off:.0f} standard errors)")
            if not self.findings:
                self.score_times_of(foreign.evaluated, times)
            self.notes.append("its steps are none of ours; what it converges to is not refuted, which is no proof")
        if not self.evaluations:
            self.findings.append("the score is never evaluated")
        power = NormalDist().inv_cdf(0.99)
        mean_seen, var_seen = (z + power) / math.sqrt(_ROWS), (z + power) * math.sqrt(2 / _ROWS)
        seen = (
            f"{why}. From {_ROWS} draws at each of {len(calls) * len(states)} places, {claims} claims, false alarm {FALSE_ALARM:g} for all together: in one "
            f"{foreign.form} a mean off by {100 * mean_seen:.1f}% of the noise's deviation, or a variance off by {100 * var_seen:.0f}%, is found 99 times in 100; "
            f"smaller mistakes pass. Errors below have a standard error of {math.sqrt(goal[1][0, 0] / _ROWS):.1g}; no orders"
        )
        return SamplerReport(
            same, nearest, worst[nearest], None, None, (False, False), self.evaluations, errors, self.findings, self.all_notes(), seen,
            foreign.words(""), process, [],
        )  # fmt: skip

    def score_times_of(self, seen: list[float], times: list[float]) -> None:
        if seen and (max(seen) > times[0] + 1e-6 or min(seen) < times[-1] - 1e-6):
            self.findings.append(f"the score is evaluated between {min(seen):.4g} and {max(seen):.4g}, outside the run from {times[0]:.4g} to {times[-1]:.4g}")


def foreign_start(foreign: Foreign) -> bool:
    """Whether it takes its start, rather than drawing it."""
    return foreign.form != "sample"


def _strangeness(u: Array, mean: Array, cov: Array, unit: float) -> float:
    """The largest of the claims' standard scores for rows of N(mean, cov): means, variances and products of the whitened channels. Infinite
    where a channel without noise is off by more than rounding, or what has noise has none."""
    n, k = u.shape
    lower = np.zeros((k, k))
    rest = cov.copy()
    size = np.abs(cov).max() + np.abs(mean).max() + 1e-300
    for i in range(k):
        if rest[i, i] > 1e-13 * max(cov[i, i], 1e-300) and rest[i, i] > 0:
            lower[i:, i] = rest[i:, i] / math.sqrt(rest[i, i])
            rest = rest - np.outer(lower[:, i], lower[:, i])
    white = np.zeros_like(u)
    left = u - mean
    scores = [0.0]
    noisy = []
    for i in range(k):
        value = left[:, i] - white[:, :i] @ lower[i, :i]
        if lower[i, i] == 0.0:
            if np.abs(value).max() > 1e4 * unit * size:
                return math.inf
            continue
        white[:, i] = value / lower[i, i]
        noisy.append(white[:, i])
    for i, one in enumerate(noisy):
        scores.append(abs(float(one.mean())) * math.sqrt(n))
        scores.append(_chi2_score(float((one * one).sum()), n))
        for two in noisy[:i]:
            # of two independent standard normals the half sum's and half difference's squares are chi-squared, too
            scores.append(_chi2_score(float(((one + two) ** 2).sum() / 2), n))
            scores.append(_chi2_score(float(((one - two) ** 2).sum() / 2), n))
    return max(scores)


def _chi2_score(value: float, n: int) -> float:
    """Wilson and Hilferty's standard score of a chi-squared with many degrees of freedom (1931)."""
    v = 2 / (9 * n)
    return abs((value / n) ** (1 / 3) - (1 - v)) / math.sqrt(v)


__all__ = ["FALSE_ALARM", "SamplerReport", "check_sampler", "Told"]
