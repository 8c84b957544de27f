"""Calls a step or a run that someone else wrote, with the exact score, and normals of our choice in place of its generator."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sys
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from ._arrays import Array, as_numpy, dtype_name
from ._layout import frameworks, hand_over
from ._process import Process
from ._protocol import ALIASES, PARTS

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

#: Names of arguments, by what they stand for; for those of states and times see the protocol.
_NAMES: dict[str, tuple[str, ...]] = {
    "times": ("times", "ts", "grid", "timesteps", "time_grid", "t_grid", "t_steps", "time_steps"),
    "t": ("t", "time", "timestep", "tt", "t0", "t_cur", "t_now"),
    "s": (*ALIASES["s"], "t1", "to"),
    "dt": ALIASES["dt"],
    "score": (*ALIASES["score"], "net"),
    "normal": ("normal", "normals", "randn", "randn_like", "draw", "gauss", "gaussian", "noise_fn", "noise_sampler"),
    "generator": ("generator", "gen", "rng", "key", "prng_key", "rng_key"),
    "dw": ("dw", "dW", "dw_v", "brownian_increment", "increment"),
    "noise": ("noise", "eps", "epsilon", "xi", "noise_v", "eps_v", "noise_1", "noise1", "eps1", "eps_1", "xi1", "xi_1", "z1", "z_1"),
    "noise_2": ALIASES["noise_2"],
    "shape": ("shape", "size", "n", "batch_size", "num_samples", "n_samples", "samples"),
}
ALLOWED = "(u, t, s, score, normal)"


class Told(ValueError):
    """What is wrong with a step, in a sentence."""


class Closed(BaseException):
    """A draw that cannot be answered; no `except Exception` of the step's may swallow it."""


def roles(call: Callable[..., Any], name: str = "step") -> list[tuple[str, str, bool]]:
    """What each argument stands for: role, its own name, whether it goes by name."""
    try:
        # of a module of torch its own
        signature = inspect.signature(getattr(call, "forward", call))
    except (TypeError, ValueError):
        return [(role, role, False) for role in ("u", "t", "s", "score", "normal")]
    named = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [p.name for p in named]
    found: dict[str, str] = {}
    x, v = (next((n for n in names if n in part), None) for part in PARTS["u"])
    if x is not None and v is not None:
        found[x], found[v] = "x", "v"
    for role, aliases in _NAMES.items():
        first = next((n for n in names if n in aliases and n not in found), None)
        if first is not None and not (role == "t" and "times" in found.values()):
            found[first] = role
    if "x" not in found.values():
        first = next((n for n in names if n in ALIASES["u"] and n not in found), None)
        if first is not None:
            found[first] = "u"
    # a z beside a state is noise
    for n in names:
        if n == "z" and n not in found:
            found[n] = "noise" if "noise" not in found.values() else "noise_2"
    has = set(found.values())
    required = [p for p in named if p.default is p.empty]
    enough = "score" in has and ("times" in has or ({"t"} < has and bool(has & {"s", "dt"}) and bool(has & {"u", "x"})))
    if enough and all(p.name in found for p in required):
        out, by_name = [], False
        for p in named:
            if p.name not in found:
                by_name = True
                continue
            out.append((found[p.name], p.name, by_name or p.kind is p.KEYWORD_ONLY))
        return out
    many = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    for wanted in (("u", "t", "s", "score", "normal"), ("u", "t", "s", "score")):
        if len(required) == len(wanted) or (many and len(required) <= len(wanted)):
            positional = [p.name for p in named if p.kind is not p.KEYWORD_ONLY]
            if len(positional) >= len(required):
                return [(role, (positional + list(wanted)[len(positional) :])[i], False) for i, role in enumerate(wanted)]
    raise Told(
        f"parameter `{name}` takes {signature}; allowed: {ALLOWED}, a whole run (u, times, score, normal), or arguments by these names, with dt for s, "
        "and noise, a generator, or none of them for normal"
    )


@dataclass(frozen=True)
class Way:
    """One way to hand over what a step takes."""

    framework: str
    dtype: str
    #: "number", "scalar" (an array without axes), "rows" (n,), "column" (n, 1)
    times: str = "number"
    #: noise has all channels, or the noised ones
    noise_all: bool = True
    #: the score has all channels, or the noised ones
    score_all: bool = False
    #: dt is t - s, or s - t
    dt_positive: bool = True

    def words(self, taken: Sequence[tuple[str, str, bool]], drawn: str) -> str:
        has = [role for role, _, _ in taken]
        out = [f"({', '.join(name for _, name, _ in taken)}) in {self.framework}, {self.dtype}"]
        out.append({"number": "times as numbers", "scalar": "times as arrays without axes", "rows": "times (n,)", "column": "times (n, 1)"}[self.times])
        if "dt" in has:
            out.append("dt = t-s" if self.dt_positive else "dt = s-t < 0")
        out.append("the score of all channels" if self.score_all else "the score of the noised channels")
        if "noise" in has or "dw" in has:
            out.append("noise of all channels" if self.noise_all else "noise of the noised channels")
        return "; ".join(out) + (f"; {drawn}" if drawn else "")


class Normals:
    """Stands for a generator: hands out the columns of a given matrix, row by row of the batch, in the order in which they are asked for."""

    def __init__(self, noise: Array | None, rows: int, way: Way, rng: np.random.Generator | None = None) -> None:
        self._noise, self._rows, self._way, self._rng = noise, rows, way, rng
        #: how many columns were asked for
        self.taken = 0

    def columns(self, shape: Sequence[int]) -> Array:
        shape = tuple(int(k) for k in shape)
        if not shape or shape[0] != self._rows:
            raise Closed(
                f"the step asked for normals of shape {shape} for a batch of {self._rows}; allowed: ({self._rows}, ...): noise that is shared by the "
                "rows of a batch is not independent"
            )
        count = int(np.prod(shape[1:], dtype=np.int64))
        if self._rng is not None:
            return self._rng.normal(size=shape)
        out = np.zeros((self._rows, count))
        if self._noise is not None:
            there = self._noise[:, self.taken : self.taken + count]
            out[:, : there.shape[1]] = there
        self.taken += count
        return out.reshape(shape)

    def _give(self, shape: Any, more: Sequence[Any] = ()) -> Any:
        if hasattr(shape, "shape"):
            shape = shape.shape
        elif isinstance(shape, (int, np.integer)):
            shape = (shape, *(k for k in more if isinstance(k, (int, np.integer))))
        if shape is None:
            shape = (self._rows, 1)
        return hand_over(self.columns(shape), self._way.framework, self._way.dtype)

    def __call__(self, *given: Any, **named: Any) -> Any:
        shapes = [a for a in given if isinstance(a, (tuple, list)) or hasattr(a, "shape") and getattr(a, "ndim", 1) != 0]
        if named.get("size", named.get("shape")) is not None:
            return self._give(named.get("size", named.get("shape")))
        if shapes:
            return self._give(shapes[0])
        return self._give(given[0], given[1:]) if given else self._give(None)

    randn = randn_like = standard_normal = __call__

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        if isinstance(loc, (tuple, list)):
            return self._give(loc)
        return loc + scale * self._give(size)


@contextlib.contextmanager
def _numpy_replaced(normals: Normals) -> Iterator[None]:
    kept = {name: getattr(np.random, name) for name in ("randn", "standard_normal", "normal", "default_rng")}
    new: dict[str, Any] = {
        "randn": lambda *shape: normals(*shape),
        "standard_normal": lambda size=None: normals(size),
        "normal": normals.normal,
        # one that is seeded inside the step draws the same at each: that must show
        "default_rng": lambda seed=None: normals if seed is None else kept["default_rng"](seed),
    }
    try:
        for name, value in new.items():
            setattr(np.random, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(np.random, name, value)


def _torch_replaced(normals: Normals) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Draws(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        """torch's own hook for every operation: all ways to draw normals end in these."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            name = func.name().split(".")[0]
            like = {k: kwargs[k] for k in ("dtype", "device") if kwargs.get(k) is not None}
            if name == "aten::randn":
                return torch.from_numpy(normals.columns(args[0])).to(like.get("dtype") or torch.get_default_dtype())
            if name == "aten::randn_like":
                return torch.from_numpy(normals.columns(args[0].shape)).to(like.get("dtype") or args[0].dtype)
            if name == "aten::normal_":
                mean, std = (list(args[1:]) + [0.0, 1.0][len(args) - 1 :])[:2]
                return args[0].copy_(torch.from_numpy(normals.columns(args[0].shape)).to(args[0].dtype) * kwargs.get("std", std) + kwargs.get("mean", mean))
            if name == "aten::normal":
                mean, std = args[0], args[1] if len(args) > 1 else kwargs.get("std", 1.0)
                shape = args[2] if len(args) > 2 else getattr(mean, "shape", getattr(std, "shape", ()))
                kind = getattr(mean, "dtype", getattr(std, "dtype", torch.get_default_dtype()))
                return mean + std * torch.from_numpy(normals.columns(shape)).to(kind)
            return func(*args, **kwargs)

    stack = contextlib.ExitStack()
    stack.enter_context(torch.no_grad())
    stack.enter_context(Draws())
    return stack


@contextlib.contextmanager
def _jax_replaced(normals: Normals) -> Iterator[None]:
    import jax

    kept = jax.random.normal

    def normal(key: Any, shape: Any = (), dtype: Any = None, **_: Any) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(normals.columns(shape), dtype=dtype or normals._way.dtype)

    jax.random.normal = normal
    try:
        # a compiled step would keep the first normals that it saw
        with jax.disable_jit():
            yield
    finally:
        jax.random.normal = kept


def _traced(values: Sequence[Any]) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and any(isinstance(v, jax.core.Tracer) for v in values)


def _replaced(normals: Normals, framework: str, hidden: bool) -> Any:
    stack = contextlib.ExitStack()
    stack.enter_context(_numpy_replaced(normals))
    if framework == "torch":
        stack.enter_context(_torch_replaced(normals))
    if framework == "jax" and hidden:
        stack.enter_context(_jax_replaced(normals))
    return stack


class Foreign:
    """Someone else's step, run or sampler (a run that draws its own start), and how to call it."""

    def __init__(self, call: Callable[..., Any], process: Process, exact: Callable[[Array, Array], Array], dtype: str | None, framework: str | None) -> None:
        self.call, self.process, self.exact = call, process, exact
        self.k, self.noised = process.channels, process.noised
        self.taken = roles(call)
        has = {role for role, _, _ in self.taken}
        self.form = "step" if "times" not in has else "run" if has & {"u", "x"} else "sample"
        #: times at which the score was asked for in the last call
        self.evaluated: list[float] = []
        #: normals that were asked for in the last call, for each row
        self.drawn = 0
        self.mutates = False
        #: whether the generator was replaced, rather than handed over as an argument
        self.hidden = not has & {"normal", "noise", "dw"}
        self._scores: dict[float, tuple[Array, Array]] = {}
        self._wanted = dtype
        self.libraries = [framework] if framework else frameworks(call, getattr(call, "__self__", call))
        self.way = Way(self.libraries[0], "float64")
        self.precision = "float64"

    def ways(self) -> Iterator[Way]:
        """Those to try, the likeliest first."""
        has = {role for role, _, _ in self.taken}
        for library in self.libraries:
            dtypes = [self._wanted] if self._wanted else ["float64"]
            if library == "jax" and not self._wanted:
                dtypes = ["float64" if sys.modules["jax"].config.jax_enable_x64 else "float32"]
            times = ["number", "rows", "column"] if library == "numpy" else ["number", "scalar", "rows", "column"]
            if "times" in has:
                times = ["rows"]
            arrays = bool(has & {"noise", "dw"}) and len(self.noised) < self.k
            scores = [False, True] if len(self.noised) < self.k else [False]
            for dtype, dt, wide, every, when in itertools.product(
                dtypes, [True, False] if "dt" in has else [True], [True, False] if arrays else [True], scores, times
            ):
                yield Way(library, dtype, when, wide, every, dt)

    def score(self, *given: Any, **named: Any) -> Any:
        """The exact score, as a function of (u, t) or (x, v, t)."""
        values = [*given, *named.values()]
        if len(values) < 2:
            raise Told(f"the score was called with {len(values)} arguments; allowed: (u, t), or (x, v, t)")
        *parts, t = values
        parts = [p for part in parts for p in (part if isinstance(part, (tuple, list)) else [part])]
        if _traced([*parts, t]):
            return self._from_compiled(parts, t)
        value = self._value(parts, t)
        like = parts[0]
        library = type(like).__module__.split(".")[0]
        library = "jax" if library.startswith("jax") else library
        return hand_over(value, library, dtype_name(like)) if library in ("torch", "jax") else value.astype(dtype_name(like))

    def _from_compiled(self, parts: list[Any], t: Any) -> Any:
        """The same where jax only traces: a call back from the compiled code."""
        import jax

        kind = dtype_name(parts[0])
        wide = self.k if self.way.score_all and len(parts) == 1 else len(self.noised)
        shape = jax.ShapeDtypeStruct((parts[0].shape[0], wide), kind)
        host = lambda time, *states: self._value([np.asarray(s) for s in states], np.asarray(time)).astype(kind)  # noqa: E731
        return jax.pure_callback(host, shape, t, *parts)

    def _value(self, parts: list[Any], t: Any) -> Array:
        states = [as_numpy(p, "u").astype(np.float64) for p in parts]
        if any(s.ndim < 2 for s in states):
            raise Told(f"the score was called with a state of shape {states[0].shape}; allowed: (n, {self.k})")
        state = np.concatenate(states, 1)
        times = as_numpy(t, "t").astype(np.float64)
        times = np.full(len(state), float(times.reshape(-1)[0])) if times.size == 1 else times.reshape(-1)
        if state.shape[1:] != (self.k,):
            raise Told(f"the score was called with a state of shape {state.shape}; allowed: (n, {self.k})")
        if len(times) != len(state):
            raise Told(f"the score was called with {len(times)} times for {len(state)} rows; allowed: one, or one a row")
        if np.isnan(state).any() or not ((times >= 0) & (times <= 1)).all():
            if not np.isnan(state).any():
                raise Told(f"the score was called at t = {times[0]:.6g}; allowed: 0 <= t <= 1 (0 is the data; is the clock reversed, or scaled?)")
            raise Told("the score was called with a state that holds nan; allowed: finite numbers")
        self.evaluated.append(float(times[0]))
        value = self.exact(state, times) if (times != times[0]).any() else self._affine(state, float(times[0]))
        if self.way.score_all and len(parts) == 1:
            every = np.zeros((len(state), self.k))
            every[:, self.noised] = value
            value = every
        return value

    def _affine(self, state: Array, t: float) -> Array:
        if t not in self._scores:
            if len(self._scores) > 20000:
                self._scores.clear()
            basis = self.exact(np.concatenate([np.zeros((1, self.k)), np.eye(self.k)]), np.full(1 + self.k, t))
            self._scores[t] = basis[1:] - basis[0], basis[0]
        matrix, constant = self._scores[t]
        value: Array = state @ matrix + constant
        return value

    def _time(self, t: float, rows: int) -> Any:
        if self.way.times == "number":
            return t
        shape = {"scalar": (), "rows": (rows,), "column": (rows, 1)}[self.way.times]
        return hand_over(np.full(shape, t), self.way.framework, self.way.dtype)

    def __call__(self, u: Array | None, times: Sequence[float], rows: int, noise: Array | None, rng: np.random.Generator | None = None, replace_drawn: bool = True) -> Array:
        """The states at the end, (rows, K): of one step with two times, or of a whole run. ``noise``: (rows, m)."""
        way = self.way
        give = lambda a: hand_over(a, way.framework, way.dtype)  # noqa: E731
        normals = Normals(noise, rows, way, rng)
        handed: list[tuple[Any, Array]] = []
        positional: list[Any] = []
        named: dict[str, Any] = {}
        width = self.k if way.noise_all else len(self.noised)
        for role, name, by_name in self.taken:
            if role in ("u", "x", "v"):
                assert u is not None
                part = u if role == "u" else u[:, :1] if role == "x" else u[:, 1:]
                value = give(np.array(part))
                handed.append((value, as_numpy(give(np.array(part)), "u")))
            elif role == "times":
                value = give(np.array(times))
            elif role == "t":
                value = self._time(times[0], rows)
            elif role == "s":
                value = self._time(times[1], rows)
            elif role == "dt":
                value = self._time((times[0] - times[1]) * (1 if way.dt_positive else -1), rows)
            elif role == "score":
                value = self.score
            elif role == "normal":
                value = normals
            elif role == "generator":
                value = self._generator(normals)
            elif role == "shape":
                value = rows if name != "shape" and name != "size" else (rows, 1)
            else:
                drawn = normals.columns((rows, width))
                if role == "dw":
                    drawn = drawn * np.sqrt(times[0] - times[1])
                value = give(drawn)
            if by_name:
                named[name] = value
            else:
                positional.append(value)
        self.evaluated = []
        where = f"from t = {times[0]:.4g} to {times[-1]:.4g}"
        context = _replaced(normals, way.framework, self.hidden) if replace_drawn else contextlib.nullcontext()
        try:
            with np.errstate(all="ignore"), context:
                end = self.call(*positional, **named)
        except Told:
            raise
        except Closed as closed:
            raise Told(str(closed)) from None
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            raise Told(f"the {self.form} raised {type(error).__name__}{': ' + words if words else ''} ({where}); allowed: a state for each row of u") from error
        self.drawn = normals.taken
        for value, before in handed:
            self.mutates |= not np.array_equal(as_numpy(value, "u"), before, equal_nan=True)
        return self._read(end, rows, where)

    def _generator(self, normals: Normals) -> Any:
        if self.way.framework == "torch":
            import torch

            return torch.Generator()
        if self.way.framework == "jax":
            import jax

            return jax.random.key(0)
        return normals

    def words(self, drawn: str) -> str:
        """How it was called."""
        kind = "" if self.precision == self.way.dtype else f"; answers in {self.precision}"
        return self.way.words(self.taken, drawn) + kind

    @staticmethod
    def _numbers(value: Any) -> Array:
        try:
            return as_numpy(value, "u_next").astype(np.float64)
        except ValueError as error:
            raise Told(str(error).replace("array `u_next`", "what the step returned")) from None

    def _read(self, end: Any, rows: int, where: str) -> Array:
        if end is None:
            raise Told(f"the {self.form} returned None; allowed: the next state, ({rows}, {self.k})")
        self.precision = self._precision(end)
        if isinstance(end, (tuple, list)) and len(end):
            parts = [self._numbers(e) for e in end]
            end = np.concatenate(parts, 1) if len(parts) == self.k > 1 and all(p.shape == (rows, 1) for p in parts) else parts[0]
        state = self._numbers(end)
        if state.shape == (rows, self.k, 1):
            state = state[:, :, 0]
        if state.shape != (rows, self.k):
            whole = "" if self.form == "step" else ": all channels, also of a run that ends in x alone"
            raise Told(f"the {self.form} returned an array of shape {state.shape}; allowed: ({rows}, {self.k}), the shape of u{whole}")
        if not np.isfinite(state).all():
            raise Told(f"the {self.form} returned {state[~np.isfinite(state)][0]} {where}; allowed: finite numbers")
        return state

    def _precision(self, value: Any) -> str:
        return self._precision(value[0]) if isinstance(value, (tuple, list)) and len(value) else dtype_name(value)

    def settle(self, times: Sequence[float]) -> None:
        """Finds the way in which it can be called; else raises what the likeliest one met."""
        first: Told | None = None
        rows = 7 + self.k
        for way in self.ways():
            self.way = way
            u = np.linspace(-1.0, 1.0, rows * self.k).reshape(rows, self.k)
            try:
                self(u, times, rows, None)
            except Told as error:
                first = first or error
                continue
            return
        assert first is not None
        raise first

    def deterministic(self, times: Sequence[float]) -> str:
        """ "yes"; "noise" of a generator that was not replaced; "fixed": noise that is the same in each call; "memory" of the call before."""
        rows = 7 + self.k
        u = np.ones((rows, self.k))
        one, two, three = (self(u, times, rows, None) for _ in range(3))
        if np.array_equal(one, two) and np.array_equal(two, three):
            # rows that were the same
            return "yes" if np.ptp(one, axis=0).max() <= 1e3 * EPSILON[self.precision] * np.abs(one).max() else "fixed"
        return "memory" if np.array_equal(two, three) else "noise"

    def law(self, times: Sequence[float]) -> tuple[Array, Array, Array, float]:
        """A, c, C of one call, and how far it is from affine, relative to its values."""
        k, m = self.k, self.drawn
        while True:
            rows = 2 + k + m
            u = np.zeros((rows, k))
            noise = np.zeros((rows, m))
            u[1 : 1 + k] = np.eye(k)
            noise[1 + k : 1 + k + m] = np.eye(m)
            # a row that mixes all, of the size that a sampler meets: what is not affine shows
            u[-1] = 1.7 * (-1.0) ** np.arange(k) + 0.3
            noise[-1] = 0.9 * (-1.0) ** np.arange(m)
            end = self(u, times, rows, noise)
            if self.drawn <= m:
                break
            m = self.drawn
            if m > 50000:
                raise Told(f"the {self.form} draws more than 50000 normals a row; allowed: one step at a time")
        a, c, noises = (end[1 : 1 + k] - end[0]).T, end[0], (end[1 + k : 1 + k + m] - end[0]).T
        wanted = a @ u[-1] + c + noises @ noise[-1]
        return a, c, noises, float(np.abs(wanted - end[-1]).max() / np.abs(end).max()) if np.abs(end).max() else 0.0


__all__ = ["EPSILON", "Foreign", "Normals", "Told", "Way", "replace", "roles"]
