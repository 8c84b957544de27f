"""How arrays are handed to a user's functions, and what comes back is read."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from ._arrays import Array, as_numpy, dtype_name
from ._protocol import SETTINGS, Function, Slot

CHANNELS = "xvaj"
STATES = ("u", "start", "noise", "noise_1", "noise_2", "noises", "score_state", "eps_state")
#: Inputs that have no row per sample.
WHOLE = ("data", "weights", "means", "stds")
#: Arguments that are blocks of d coordinates, by the input that they are.
BLOCKS = {"eps": "eps", "x0": "x0", "v0": "v0", "v_noise": "v_noise", "score_value": "score", "values": "values", "uniform": "uniform"}


def rows(inputs: dict[str, Array]) -> int:
    """Rows of a question."""
    leads = next(name for name in ("t", "u", "noise", *inputs) if name in inputs and name not in WHOLE)
    return len(inputs[leads])



class Unreadable(ValueError):
    """What a function returned is not what was asked for."""


@dataclass(frozen=True)
class Convention:
    """One way to hand over arrays."""

    framework: str = "numpy"
    #: "(n, d)" or "(n, c, h, w)"
    images: bool = False
    #: "(n,)", "(n, 1)" or one row at a time, with t a number
    times: str = "rows"
    #: of states that come whole: "concat": (n, K d); "stack": (n, K, d); "pair": a tuple
    layout: str = "concat"
    #: the score has all channels, those without noise 0
    score_all: bool = False
    #: a score or network is a function of (u, t)
    score_call: bool = False
    #: the noise has the noised channels alone
    noise_noised: bool = False
    #: u_0 is x_0 alone
    start_x: bool = False

    def words(self, slots: Sequence[Slot]) -> str:
        arguments = [s.argument for s in slots]
        d = "d, 1, 1" if self.images else "d"
        state = {"concat": f"(n, K {d})", "stack": f"(n, K, {d})", "pair": f"a tuple of (n, {d})"}
        out = [self.framework]
        if "t" in arguments:
            out.append({"rows": "t (n,)", "column": "t (n, 1, 1, 1)" if self.images else "t (n, 1)", "scalar": "t a number"}[self.times])
        if any(s.part is not None for s in slots):
            out.append(f"x and v apart (n, {d})")
        if any(s.part is None and s.argument in STATES and not (s.argument == "start" and self.start_x) for s in slots):
            out.append("states " + state[self.layout])
        if "start" in arguments and self.start_x:
            out.append("x_0 alone")
        if "score" in arguments or "net_output" in arguments:
            out.append("the score a function" if self.score_call else "the score an array" + (" of all channels" if self.score_all else ""))
        if "noise" in arguments and self.noise_noised:
            out.append("noise of the noised channels")
        return ", ".join(out)


def frameworks(call: Callable[..., Any], owner: Any) -> list[str]:
    """The libraries to try, the likeliest first: those that the function's module has imported, or that its object holds."""

    def is_of(value: Any, library: str) -> bool:
        name = getattr(value, "__name__", "") if isinstance(value, ModuleType) else type(value).__module__
        return str(name).split(".")[0] in (library, library + "lib")

    things: list[Any] = []
    for thing in (call, getattr(call, "__wrapped__", None)):
        plain = getattr(thing, "__func__", thing)
        things += list(getattr(plain, "__globals__", {}).values())
        things += [cell.cell_contents for cell in getattr(plain, "__closure__", None) or () if _filled(cell)]
    for holder in (owner, getattr(call, "__self__", None), call):
        if not isinstance(holder, ModuleType):
            things += list(getattr(holder, "__dict__", {}).values())
    loaded = [name for name in ("torch", "jax") if name in sys.modules]
    bases = [base.__module__.split(".")[0] for base in type(owner).__mro__]
    found = [name for name in loaded if name in bases or any(is_of(thing, name) for thing in things)]
    return found + ["numpy"] + [name for name in loaded if name not in found]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def round_to(values: Array, dtype: str) -> Array:
    """The nearest numbers that ``dtype`` holds, as float64."""
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "bfloat16":
            bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
            nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000  # of two as near, the even one
            return nearest.astype(np.uint32).view(np.float32).astype(np.float64)
        return values.astype(dtype).astype(np.float64)


def hand_over(values: Array, framework: str, dtype: str) -> Any:
    """As an array of the library."""
    if framework == "torch":
        import torch

        return torch.from_numpy(np.array(values)).to(getattr(torch, dtype))
    if framework == "jax":
        import jax.numpy as jnp

        array = jnp.asarray(values, dtype=dtype)
        if str(array.dtype) != dtype:
            raise ValueError(f"parameter `dtype` is {dtype}; allowed with jax as it is set: {array.dtype} (jax_enable_x64 allows float64)")
        return array
    if dtype == "bfloat16":
        raise ValueError("parameter `dtype` is bfloat16; allowed with numpy: float64, float32, float16")
    return values.astype(dtype)


@dataclass
class Caller:
    """Calls one function of the user's, and reads what it returns."""

    function: Function
    call: Callable[..., Any]
    channels: int
    noised: list[int]
    dtype: str
    #: the exact score of the test data, a function of (u as (n, K d), t as (n,))
    exact_score: Callable[[Array, Array], Array]
    #: where the score function was called in the last run: state, time, value, row by row
    places: list[tuple[Array, Array, Array]] = field(default_factory=list)

    def conventions(self, slots: list[Slot], libraries: list[str], before: list[Convention], fixed: dict[str, Any]) -> Iterator[Convention]:
        """Those to try, the ones that worked before first."""
        arguments = [s.argument for s in slots]
        apart = any(s.part is not None for s in slots)
        states = bool(set(arguments) & set(STATES))
        blocks = states or bool(set(arguments) & {*BLOCKS, "score", "net_output"})
        scored = "score" in arguments or "net_output" in arguments
        sure = any(s.surely_callable for s in slots)
        options: dict[str, list[Any]] = {
            "framework": libraries,
            "images": [False, True] if blocks else [False],
            "times": ["rows", "column", "scalar"] if "t" in arguments else ["scalar"] if self.function.returns == "grid" else ["rows"],
            "layout": ["concat", "stack", "pair"] if states and self.channels > 1 else ["concat"],
            "score_call": ([True] if sure else [False, True]) if scored else [False],
            "score_all": [False, True] if "score" in arguments and len(self.noised) < self.channels else [False],
            "noise_noised": [False, True] if "noise" in arguments and "score" in arguments and len(self.noised) < self.channels else [False],
            "start_x": [False],
        }
        if "start" in arguments and not apart and self.channels > 1:
            named_x = any(s.argument == "start" and s.name.startswith(("x", "data", "batch")) for s in slots)
            options["start_x"] = [True, False] if named_x else [False, True]
        for key, value in fixed.items():
            options[key] = [value]
        tried = set()
        for last in reversed(before):
            fits = replace(last, **{k: v[0] for k, v in options.items() if getattr(last, k) not in v})
            if fits not in tried:
                tried.add(fits)
                yield fits
        # the outermost varies slowest
        order = ["framework", "images", "layout", "start_x", "times", "noise_noised", "score_all", "score_call"]
        for combination in itertools.product(*(options[k] for k in order)):
            convention = Convention(**dict(zip(order, combination)))
            if convention not in tried:
                tried.add(convention)
                yield convention

    # Handing over

    def _block(self, values: Array, c: Convention) -> Any:
        """(n, d) or (n, K d), the channels one after the other."""
        return hand_over(values.reshape(values.shape + (1, 1)) if c.images else values, c.framework, self.dtype)

    def _state(self, u: Array, c: Convention) -> Any:
        k = self.channels
        if k == 1 or c.layout == "concat" or u.shape[1] % k:
            return self._block(u, c)
        parts = np.split(u, k, axis=1)
        if c.layout == "stack":
            stacked = np.stack(parts, axis=1)
            return hand_over(stacked.reshape(stacked.shape + (1, 1)) if c.images else stacked, c.framework, self.dtype)
        return tuple(self._block(p, c) for p in parts)

    def _time(self, t: Array, c: Convention) -> Any:
        if c.times == "scalar":
            return float(t[0])
        if c.times == "column":
            return hand_over(t.reshape((-1, 1, 1, 1) if c.images else (-1, 1)), c.framework, self.dtype)
        return hand_over(t, c.framework, self.dtype)

    def _noised_part(self, u: Array) -> Array:
        d = u.shape[1] // self.channels
        return np.concatenate([u[:, i * d : (i + 1) * d] for i in self.noised], axis=1)

    def _all_channels(self, score: Array) -> Array:
        d = score.shape[1] // len(self.noised)
        out = np.zeros((score.shape[0], self.channels * d))
        for slot, i in enumerate(self.noised):
            out[:, i * d : (i + 1) * d] = score[:, slot * d : (slot + 1) * d]
        return out

    def _score(self, values: Array, c: Convention) -> Any:
        return self._state(self._all_channels(values), c) if c.score_all else self._block(values, c)

    def _score_function(self, n: int, c: Convention) -> Callable[..., Any]:
        def score(*arguments: Any, **named: Any) -> Any:
            given = list(arguments) + list(named.values())
            if len(given) < 2:
                raise TypeError(f"the score function was called with {len(given)} arguments; allowed: (u, t), or (x, v, t)")
            state, time = (given[:-1], given[-1]) if len(given) > 2 else (given[0], given[1])
            u = self.read_state(state if not isinstance(state, list) else tuple(state), n, c)
            t = as_numpy(time, "t").astype(np.float64)
            t = np.full(n, float(t.reshape(()))) if t.size == 1 else t.reshape(-1)
            value = round_to(self.exact_score(u, t), self.dtype)
            self.places.append((u, t, value))
            return self._score(value, c)

        return score

    def arguments(self, slots: list[Slot], inputs: dict[str, Array], settings: dict[str, Any], c: Convention) -> tuple[list[Any], dict[str, Any]]:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        n = rows(inputs)
        # a step over dt starts at t, whichever way it goes
        forward = "s" in self.function.arguments and any(slot.argument == "dt" for slot in slots)
        for slot in slots:
            a = slot.argument
            value: Any
            if a in ("s", "t"):
                value = self._time(inputs["s" if forward else a], c)
            elif a == "dt":
                value = self._time(round_to(inputs["t"] - inputs["s"], self.dtype), c)
            elif a in SETTINGS:
                value = settings[SETTINGS[a]]
                value = int(value) if a in ("n_steps", "dim", "levels") else value
            elif a in BLOCKS:
                value = self._block(inputs[BLOCKS[a]], c)
            elif a in WHOLE or a == "log_density":
                value = hand_over(inputs[a], c.framework, self.dtype)
            elif a == "noises":
                value = [self._state(slice_, c) for slice_ in inputs["noise"]]
            elif a in ("score_state", "eps_state"):
                value = self._state(inputs[a.removesuffix("_state")], c)
            elif a == "net_output":
                block = self._block(inputs[a], c)
                value = (lambda *_, block=block, **__: block) if c.score_call else block
            elif a == "score":
                value = self._score_function(n, c) if c.score_call else self._score(inputs["score"], c)
            else:
                u = inputs["u0" if a == "start" else a]
                d = u.shape[1] // self.channels
                if a == "start" and c.start_x:
                    value = self._block(u[:, :d], c)
                elif a == "noise" and c.noise_noised:
                    value = self._block(self._noised_part(u), c)
                elif slot.part is not None:
                    value = self._block(u[:, slot.part * d : (slot.part + 1) * d], c)
                else:
                    value = self._state(u, c)
            if slot.keyword:
                named[slot.name] = value
            else:
                positional.append(value)
        return positional, named

    # Reading

    def read_rows(self, value: Any, n: int, what: str) -> Array:
        array = as_numpy(value, what).astype(np.float64)
        if array.size == 1 and what == "rate":
            return np.full(n, float(array.reshape(())))
        if array.size != n or (array.ndim and array.shape[0] not in (n, 1)):
            raise Unreadable(f"returned {what} of shape {array.shape}; allowed: ({n},): one value for each row")
        return array.reshape(n)

    def read_state(self, value: Any, n: int, c: Convention, widths: Sequence[int] = ()) -> Array:
        """(n, K d), or another width that is allowed."""
        k = self.channels
        if isinstance(value, (tuple, list)):
            if len(value) == k and k > 1:
                parts = [as_numpy(v, "part").astype(np.float64) for v in value]
                if all(p.ndim >= 1 and p.shape[0] == n and p.size == parts[0].size for p in parts):
                    return np.concatenate([p.reshape(n, -1) for p in parts], axis=1)
            if value:
                return self.read_state(value[0], n, c, widths)
        array = as_numpy(value, "state").astype(np.float64)
        d = 2
        allowed = [(n, k * d)] + [(n, w) for w in widths]
        shapes: list[tuple[int, ...]] = [s + (1, 1) for s in allowed] if c.images else list(allowed)
        if c.layout == "stack" and k > 1:
            shapes.append((n, k, d, 1, 1) if c.images else (n, k, d))
        if array.shape not in shapes:
            raise Unreadable(f"returned an array of shape {array.shape}; allowed: {shapes[0]}")
        return array.reshape(n, -1)

    def read_block(self, value: Any, n: int, c: Convention) -> Array:
        """(n, d)."""
        array = as_numpy(value, "block").astype(np.float64)
        wanted = (n, 2, 1, 1) if c.images else (n, 2)
        if array.shape != wanted:
            raise Unreadable(f"returned an array of shape {array.shape}; allowed: {wanted}")
        return array.reshape(n, 2)

    def _entries(self, value: Any, n: int, what: str) -> dict[str, Array]:
        """A matrix per row, as its entries by (row, column) in letters."""
        k = self.channels
        pairs = [(i, j) for i in range(k) for j in range(k)]
        upper = [(i, j) for i, j in pairs if i <= j]
        lower = [(i, j) for i, j in pairs if i >= j]
        some = lower if what == "factor" else upper
        names = lambda places: [CHANNELS[i] + CHANNELS[j] for i, j in places]  # noqa: E731
        if isinstance(value, dict):
            return {str(key): self.read_rows(entry, n, str(key)) for key, entry in value.items()}
        if isinstance(value, (tuple, list)) and n > 1 or (isinstance(value, (tuple, list)) and len(value) in (len(some), k * k)):
            places = some if len(value) == len(some) and what != "mean" else pairs if len(value) == k * k else None
            if what == "mean" and len(value) == k and k > 1:
                places = [(i, 0) for i in range(k)]
            if places is not None and not (n == 1 and np.ndim(value[0]) == 2):
                return {name: self.read_rows(v, n, name) for name, v in zip(names(places), value)}
        array = as_numpy(value, what).astype(np.float64)
        if n == 1 and array.shape == (k, k):
            array = array[None]
        if array.shape == (n, k, k):
            return {name: array[:, i, j] for name, (i, j) in zip(names(pairs), pairs)}
        if k == 1 and array.size == n:
            return {"xx": array.reshape(n)}
        if array.shape == (n, len(some)):
            return {name: array[:, column] for column, name in enumerate(names(some))}
        raise Unreadable(f"returned {what} of shape {array.shape}; allowed: ({n}, {k}, {k}), or a tuple of {', '.join(names(some))}")

    def _whole(self, entries: dict[str, Array], n: int) -> Array:
        k = self.channels
        out = np.zeros((n, k, k))
        for name, values in entries.items():
            out[:, CHANNELS.index(name[0]), CHANNELS.index(name[1])] = values
        return out

    def read(self, value: Any, n: int, c: Convention, slots: list[Slot]) -> dict[str, Array]:
        """What was returned, by the names of the quantity's outputs."""
        k, what = self.channels, self.function.returns
        if value is None:
            raise Unreadable("returned None; allowed: an array")
        if what == "mean":
            if any(s.argument == "start" for s in slots):
                return {"mean": self.read_state(value, n, c)}
            entries = self._entries(value, n, "mean")
            return {"matrix": self._whole(entries, n)} if len(entries) == k * k else entries
        if what in ("whole", "matrix"):
            return {"factor" if what == "whole" else what: self._whole(self._entries(value, n, "mean"), n)}
        if what == "grid":
            array = as_numpy(value, what).astype(np.float64)
            if array.size != n:
                raise Unreadable(f"returned a grid of shape {array.shape}; allowed: ({n},), from the first on")
            return {"sigma" if self.function.name == "grid_karras" else "t": array.reshape(n)}
        if what == "run":
            state = self.read_state(value, n, c)
            return {CHANNELS[i]: part for i, part in enumerate(np.split(state, k, axis=1))}
        if what == "sde":
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise Unreadable("returned no tuple of two; allowed: (drift, diffusion)")
            drift, diffusion = self.read_state(value[0], n, c), value[1]
            if k == 1 and np.size(as_numpy(diffusion, "diffusion")) == n:  # the same for all coordinates
                return {"drift": drift, "diffusion": np.repeat(self.read_rows(diffusion, n, "diffusion")[:, None], drift.shape[1], axis=1)}
            return {"drift": drift, "diffusion": self.read_state(diffusion, n, c)}
        if what == "eps_all":
            return {"eps": self.read_state(value, n, c)}
        if what in ("x0", "x"):
            return {what: self.read_block(value, n, c)}
        if what in ("cov", "inverse"):
            entries = self._entries(value, n, what)
            # both triangles, where the whole is given
            return {what: self._whole(entries, n)} if len(entries) == k * k and k > 1 else entries
        if what == "factor":
            return {"factor": self._whole(self._entries(value, n, "factor"), n)}
        if what == "std":
            if k == 1:
                return {"x": self.read_rows(value, n, "x")}
            if not isinstance(value, (tuple, list)):
                array = as_numpy(value, what).astype(np.float64)
                if array.reshape(n, -1).shape != (n, k):
                    raise Unreadable(f"returned std of shape {array.shape}; allowed: ({n}, {k})")
                value = list(array.reshape(n, k).T)
            return {CHANNELS[i]: self.read_rows(v, n, CHANNELS[i]) for i, v in enumerate(value)}
        if what in ("u_t", "u", "u_next", "drift", "diffusion", "score_all"):
            return {"score" if what == "score_all" else what: self.read_state(value, n, c)}
        if what in ("score", "eps", "net_output"):
            width = 2 * len(self.noised)
            array = self.read_state(value, n, c, [width])
            return {what: array if array.shape[1] == width else self._noised_part(array)}
        return {what: self.read_rows(value, n, what)}

    # Calling

    def run(self, slots: list[Slot], inputs: dict[str, Array], settings: dict[str, Any], c: Convention) -> tuple[dict[str, Array], str]:
        """The outputs, and the precision that they came in."""
        n = rows(inputs)
        self.places = []
        if c.times != "scalar" or self.function.returns == "grid":
            positional, named = self.arguments(slots, inputs, settings, c)
            value = self.call(*positional, **named)
            return self.read(value, n, c, slots), _precision(value)
        found = []
        for i in range(n):
            positional, named = self.arguments(slots, {name: a if name in WHOLE else a[i : i + 1] for name, a in inputs.items()}, settings, c)
            value = self.call(*positional, **named)
            found.append(self.read(value, 1, c, slots))
        return {name: np.concatenate([r[name] for r in found]) for name in found[0]}, _precision(value)


def _precision(value: Any) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)) and value:
        return _precision(value[0])
    return dtype_name(value)
