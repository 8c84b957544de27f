"""One call from an implementation to a verdict."""

from __future__ import annotations

import html
import inspect
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

import numpy as np

from . import _native
from ._arrays import FLOATS, Array
from ._layout import Caller, Convention, frameworks, round_to
from ._process import CLD, Process
from ._protocol import BY_NAME, FUNCTIONS, Function, Slot, bind, offered

__all__ = ["Cause", "Report", "check"]

#: The test data whose exact score is handed to steps that call a score function: N(mean, std^2).
_DATA = (0.5, 0.75)
_TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "bfloat16": 2.0**-126, "float16": 2.0**-14}


@dataclass(frozen=True)
class Cause:
    """A mistake that reproduces the numbers."""

    #: Short name, stable across versions (:func:`cld_sgm.list_mistakes`).
    id: str
    #: In a sentence.
    text: str
    #: What to do about it.
    remedy: str
    #: The fitted value, where the mistake has one.
    value: float | None
    #: The outputs that it explains, ``function.output``.
    outputs: tuple[str, ...]
    #: What is off because it is made from these.
    follows: tuple[str, ...] = ()


@dataclass
class Report:
    """The verdict on an implementation: prints itself, also as HTML in a notebook.

    ``report.ok`` is true if something was judged, all of it is right, and nothing that was offered could not be called.
    ``assert report.ok, report`` is a test.
    """

    ok: bool
    causes: list[Cause]
    #: Functions that are off, each with its words.
    off: dict[str, str]
    #: Functions that are right, with the number of values compared.
    right: dict[str, int]
    #: Functions that raised, or returned what could not be read, each with the reason and what was tried.
    failed: dict[str, str]
    #: What is not judged, each with the reason.
    skipped: dict[str, str]
    #: How each function was called.
    understood: dict[str, str]
    process: Process
    dtype: str
    seconds: float
    #: The whole report of the judge (schema cld-report).
    details: dict[str, Any] = field(repr=False)

    def __bool__(self) -> bool:
        return self.ok

    def to_json(self, indent: int | None = None) -> str:
        """Everything, as JSON."""
        out = {
            "ok": self.ok,
            "process": self.process.description,
            "dtype": self.dtype,
            "causes": [vars(c) | {"outputs": list(c.outputs), "follows": list(c.follows)} for c in self.causes],
            "off": self.off,
            "right": self.right,
            "failed": self.failed,
            "skipped": self.skipped,
            "understood": self.understood,
            "details": self.details,
        }
        return json.dumps(out, indent=indent)

    def _verdict(self) -> str:
        count = len(self.right)
        if self.ok:
            return f"all right: {', '.join(self.right)} ({sum(self.right.values())} values, in {self.dtype})"
        parts = []
        if self.off:
            parts.append(f"{len(self.off)} off")
        if self.failed:
            parts.append(f"{len(self.failed)} could not be called")
        if self.details.get("unjudged"):
            parts.append(f"{len(self.details['unjudged'])} not judged")
        return f"{', '.join(parts) or 'nothing was judged'}; {count} right (in {self.dtype})"

    def _sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        causes = []
        for i, c in enumerate(self.causes, 1):
            causes.append((f"{i}.", f"{c.text} [{c.id}]\n{c.remedy}\nexplains {', '.join(c.outputs)}" + (f"\nand so {', '.join(c.follows)}" if c.follows else "")))
        unjudged = [(u["output"], u["why"]) for u in self.details.get("unjudged", [])]
        return [
            ("Likely causes", causes),
            ("Off", list(self.off.items())),
            ("Could not be called", list(self.failed.items())),
            ("Could not be judged", unjudged),
            ("Right", [(name, f"{n} values") for name, n in self.right.items()] if not self.ok else []),
            ("Not judged", [(", ".join(names), why) for why, names in _by_value(self.skipped).items()]),
            ("Called with", [(", ".join(names), how) for how, names in _by_value(self.understood).items()]),
        ]

    def __str__(self) -> str:
        lines = [f"cld_sgm.check: {self._verdict()}", f"  against {self.process!r}"]
        for title, rows in self._sections():
            if not rows:
                continue
            lines += ["", title]
            width = min(max(len(name) for name, _ in rows), 24)
            for name, text in rows:
                first, *rest = text.split("\n")
                lines.append(f"  {name:<{width}}  {first}")
                lines += [" " * (width + 4) + line for line in rest]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        color = "#1a7f37" if self.ok else "#cf222e"
        out = [f'<div><p><b style="color:{color}">{html.escape(self._verdict())}</b><br>against <code>{html.escape(repr(self.process))}</code></p>']
        for title, rows in self._sections():
            if rows:
                cells = "".join(
                    f'<tr><td style="text-align:left;vertical-align:top"><b>{html.escape(name)}</b></td>'
                    f'<td style="text-align:left">{html.escape(text).replace(chr(10), "<br>")}</td></tr>'
                    for name, text in rows
                )
                out.append(f"<details {'' if title in ('Called with', 'Not judged', 'Right') else 'open'}><summary>{title}</summary><table>{cells}</table></details>")
        return "".join(out) + "</div>"


def _by_value(names: dict[str, str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, text in names.items():
        out.setdefault(text, []).append(name)
    return out


def _exact_score(process: Process) -> Callable[[Array, Array], Array]:
    """The score of the noised channels for data N(mean, std^2), each coordinate alone; (n, K d), (n,) -> (n, m d)."""
    k, noised = process.channels, process.noised
    start = np.diag(process._native.initial())

    def score(u: Array, t: Array) -> Array:
        n = len(u)
        mean, cov = np.broadcast_to(np.eye(k), (n, k, k)).copy(), np.broadcast_to(start, (n, k, k)).copy()
        later = t > 0
        if later.any():
            mean[later], cov[later] = process.mean(t[later]), process.cov(t[later])
        first = mean[:, :, 0]
        cov = cov + _DATA[1] ** 2 * first[:, :, None] * first[:, None, :]
        rest = u.reshape(n, k, -1) - _DATA[0] * first[:, :, None]
        if k == 2:
            det = cov[:, 0, 0] * cov[:, 1, 1] - cov[:, 0, 1] ** 2
            inverse = np.stack([cov[:, 1, 1], -cov[:, 0, 1], -cov[:, 1, 0], cov[:, 0, 0]], -1).reshape(n, 2, 2) / det[:, None, None]
        else:
            inverse = np.linalg.inv(cov)
        out: Array = -np.einsum("nij,njd->nid", inverse, rest)[:, noised].reshape(n, -1)
        return out

    return score


def _wanted(function: Function, settings: dict[str, Any], suite: str, weighting: str, has: set[str]) -> bool:
    if suite == "transition":
        return False  # not in the protocol yet: kernels over [s, t]
    if function.quantity == "sampler.reverse_drift":
        return bool(settings["probability_flow"]) == (function.name == "flow_drift")
    if function.quantity == "loss.per_sample":
        return "weighting" in has or settings["weighting"] == weighting
    return True


def _rows(inputs: dict[str, Array], t_min: float, t_max: float, dtype: str) -> dict[str, Array]:
    """The inputs rounded to the type, without rows outside [t_min, t_max] or too early for the type."""
    rounded = {name: round_to(a, dtype) for name, a in inputs.items()}
    if "t" not in rounded:
        return rounded  # no times, and more rows than that
    keep = (rounded["t"] >= max(t_min, _TINY[dtype])) & (rounded["t"] <= t_max)
    if "s" in rounded:
        keep &= rounded["s"] < rounded["t"]
    # what leaves the type's range says nothing of the code
    for a in rounded.values():
        keep &= np.isfinite(a.reshape(len(a), -1)).all(axis=1)
    kept = {name: a[keep] for name, a in rounded.items()}
    n = int(keep.sum())
    # as many rows as coordinates, or one: a time for each row would fit where it does not belong
    enough = np.arange(max(n, 9)) % n if n else np.arange(0)
    return {name: a[enough] for name, a in kept.items()}


def _default_dtype(library: str, owner: Any) -> str:
    if library == "torch":
        parameters = getattr(owner, "parameters", None)
        if callable(parameters):
            for p in parameters():
                return str(p.dtype).replace("torch.", "")
        return str(sys.modules["torch"].get_default_dtype()).replace("torch.", "")
    if library == "jax":
        return "float64" if sys.modules["jax"].config.jax_enable_x64 else "float32"
    return "float64"


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    name = "" if type(error).__name__ == "Unreadable" else type(error).__name__ + ": "
    return f"{name}{text}"


def check(
    implementation: Any,
    process: Process | None = None,
    *,
    t_min: float = 0.0,
    t_max: float = 1.0,
    dtype: str | None = None,
    framework: str | None = None,
    layout: str | None = None,
    weighting: str = "reweightedv2",
    accept: Iterable[str] = (),
    seed: int = 0,
    _questions: Any = None,
) -> Report:
    """Judges your code: calls your functions with test inputs, and holds what they return against the truth.

    ``implementation``: an object, a module or a dict with any of the functions of the protocol (:data:`cld_sgm.FUNCTIONS`): ``mean``,
    ``cov``, ``cholesky``, ``ell``, ``perturb``, ``drift``, ``reverse_drift``, ``prior_logp``, ``loss``, ``em_step``, ... What is not
    there is skipped and listed. Arrays of numpy, torch or jax, states as (n, K d), (n, K, d), images, or x and v apart: the layout is
    found by calling each function once and is said in the report.

    ``process``: what your code is meant to be (default: the paper's CLD). ``t_min``, ``t_max``: other times are not asked for. ``dtype``: the
    type your code works in (default: float64 with numpy, the default type of torch and jax); answers are held to its precision.
    ``framework`` ("numpy", "torch", "jax") and ``layout`` ("concat", "stack", "pair") where the choice is not to be found by trying.
    ``weighting``: that of ``loss``, unless it takes an argument of this name. ``accept``: further classes of accuracy ("f32").

    >>> import numpy as np, cld_sgm
    >>> vp = cld_sgm.VP(0.1, 20.0)
    >>> report = cld_sgm.check({"cov": lambda t: -np.expm1(-(0.1 * t + 9.95 * t**2))}, process=vp)
    >>> report.ok
    True
    >>> naive = cld_sgm.check({"cov": lambda t: 1 - np.exp(-(0.1 * t + 9.95 * t**2))}, process=vp)
    >>> naive.ok, naive.causes[0].id
    (False, 'cancellation')
    """
    began = time.perf_counter()
    process = CLD() if process is None else process
    if not isinstance(process, Process):
        raise ValueError(f"parameter `process` is {type(process).__name__}; allowed: a cld_sgm.Process, such as cld_sgm.CLD()")
    if isinstance(t_min, bool) or not isinstance(t_min, (int, float)) or not 0 <= t_min < 1:
        raise ValueError(f"parameter `t_min` is {t_min!r}; allowed: 0 <= t_min < 1")
    if isinstance(t_max, bool) or not isinstance(t_max, (int, float)) or not t_min < t_max <= 1:
        raise ValueError(f"parameter `t_max` is {t_max!r}; allowed: t_min < t_max <= 1")
    for name, value, allowed in (
        ("dtype", dtype, FLOATS),
        ("framework", framework, ("numpy", "torch", "jax")),
        ("layout", layout, ("concat", "stack", "pair")),
        ("weighting", weighting, ("likelihood", "reweightedv1", "reweightedv2")),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"parameter `{name}` is {value!r}; allowed: {', '.join(allowed)}")
    calls = offered(implementation)
    fixed = {key: value for key, value in (("framework", framework), ("layout", layout)) if value is not None}
    libraries = {name: [framework] if framework else frameworks(call, implementation) for name, call in calls.items()}
    dtype = dtype or _default_dtype(next(iter(libraries.values()))[0], implementation)
    questions = _native.questions(process._native, seed) if _questions is None else _questions
    exact = _exact_score(process)

    answered: list[dict[str, Any]] = []
    understood: dict[str, str] = {}
    failed: dict[str, str] = {}
    skipped = {f.name: "not offered" for f in FUNCTIONS if f.name not in calls}
    worked: list[Convention] = []
    for name in (f.name for f in FUNCTIONS if f.name in calls):
        function, call = BY_NAME[name], calls[name]
        ways = bind(call, function, process.channels)
        has = {slot.argument for way in ways for slot in way}
        asked = [q for q in questions if q[2] == function.quantity and _wanted(function, q[3], q[1], weighting, has)]
        if not asked:
            skipped[name] = "not defined for this process"
            continue
        caller = Caller(function, call, process.channels, process.noised, dtype, exact)
        chosen: tuple[list[Slot], Convention] | None = None
        for id_, _, quantity, settings, inputs in asked:
            inputs = _rows(inputs, t_min, t_max, dtype)
            if not len(next(iter(inputs.values()))):
                skipped[name] = f"no test times in [{t_min}, {t_max}] in {dtype}"
                continue
            entry: dict[str, Any] = {"id": f"{name}/{id_.rsplit('/', 1)[1]}", "quantity": quantity, "settings": dict(settings), "raised": None}
            first: BaseException | None = None
            tried = 0
            result = None
            candidates = [chosen] if chosen else _candidates(caller, ways, libraries[name], worked, fixed)
            for slots, convention in candidates:
                tried += 1
                try:
                    with np.errstate(all="ignore"):
                        result = caller.run(slots, inputs, settings, convention)
                except (KeyboardInterrupt, SystemExit, MemoryError):
                    raise
                except BaseException as error:  # whatever the user's code raises
                    if first is None:
                        first, first_tried = error, (slots, convention)
                    continue
                chosen = (slots, convention)
                break
            if result is None:
                if first is None:
                    text = f"takes {_signature(call)}; allowed: ({', '.join(function.arguments)})"
                else:
                    slots, convention = first_tried
                    how = convention.words(slots)
                    text = f"{_words(first)} (tried {name}({', '.join(s.name for s in slots)}) with {how}, {dtype}"
                    text += f"; and {tried - 1} other ways)" if tried > 1 else ")"
                failed[name] = text
                break
            outputs, came_in = result
            assert chosen is not None
            slots, convention = chosen
            if convention not in worked:
                worked.append(convention)
            understood[name] = convention.words(slots) + ("" if came_in == dtype else f"; answers in {came_in}, judged as {dtype}")
            entry["inputs"] = _judged_inputs(process, caller, inputs, slots, convention)
            entry["outputs"] = {o: (np.ascontiguousarray(round_to(a, dtype)), dtype) for o, a in outputs.items()}
            answered.append(entry)
    return _report(process, dtype, list(accept), answered, understood, failed, skipped, began)


def _candidates(
    caller: Caller, ways: list[list[Slot]], libraries: list[str], worked: list[Convention], fixed: dict[str, Any]
) -> Iterable[tuple[list[Slot], Convention]]:
    for slots in ways:
        for convention in caller.conventions(slots, libraries, worked, fixed):
            yield slots, convention


def _signature(call: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(call))
    except (TypeError, ValueError):
        return "(...)"


def _judged_inputs(process: Process, caller: Caller, inputs: dict[str, Array], slots: list[Slot], c: Convention) -> dict[str, Array]:
    """The inputs as the judge has them: those that the function read."""
    out = dict(inputs)
    if c.score_call and "score" in out:
        value = _score_taken(process, caller, inputs)
        if value is None:
            out["data"] = np.array(_DATA)
            del out["score"]
        else:
            out["score"] = value
    if caller.function.quantity == "kernel.mean" and not any(s.argument == "start" for s in slots):
        out.pop("u0", None)
    return out


def _score_taken(process: Process, caller: Caller, inputs: dict[str, Array]) -> Array | None:
    """The values that the score function gave, if it was called once, and where it belongs: then the step is judged with these values,
    rounded as they are to the user's type. None if it was not: then by the exact score of the data, which shows the wrong place."""
    if not caller.places:
        return None
    u, t, value = (np.concatenate(parts) for parts in zip(*caller.places))
    wanted = inputs["u"]
    if len(t) != len(inputs["t"]):
        return None
    if caller.function.name == "sscs_step":
        wanted = np.concatenate([_after_half_step(process, inputs, i) for i in range(len(t))])
    # half of the type's digits: what rounding does is far below, another place far above
    close = 2.0 ** {"float64": -26, "float32": -12, "bfloat16": -4, "float16": -6}[caller.dtype]
    near = np.abs(u - wanted).max() <= close * (1 + np.abs(wanted).max()) and np.abs(t - inputs["t"]).max() <= close * inputs["t"].min()
    return value if near else None


def _after_half_step(process: Process, inputs: dict[str, Array], i: int) -> Array:
    """Where SSCS takes the score, as the crate's own step has it."""
    k = process.channels
    row = lambda name: inputs[name][i].reshape(k, -1)  # noqa: E731
    seen: list[Array] = []

    def score(_: float, u: Array) -> Array:
        seen.append(u)
        return np.zeros((len(process.noised), u.shape[1]))

    noise = np.concatenate([row("noise_1"), row("noise_2")])
    _native.run(process._native, "sscs", [float(inputs["t"][i]), float(inputs["s"][i])], (np.ascontiguousarray(row("u")), noise), score, False)
    return seen[0].reshape(1, -1)


class _Answered:
    """An answer, as the judge reads it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.id, self.quantity = entry["id"], entry["quantity"]
        self.settings, self.raised = entry["settings"], entry["raised"]
        self.inputs = {name: np.ascontiguousarray(a) for name, a in entry["inputs"].items()}
        self.outputs = entry["outputs"]


def _report(
    process: Process,
    dtype: str,
    accept: list[str],
    answered: list[dict[str, Any]],
    understood: dict[str, str],
    failed: dict[str, str],
    skipped: dict[str, str],
    began: float,
) -> Report:
    details: dict[str, Any] = {"lines": [], "diagnoses": [], "unexplained": [], "unjudged": [], "ok": False}
    if answered:
        details = json.loads(_native.judge(process._native, "", [_Answered(a) for a in answered], accept))
    # the judge's lines are of quantities; entries' ids begin with the function's name
    off: dict[str, str] = {}
    right: dict[str, int] = {}
    for line in details["lines"]:
        worst = line["worst"]
        name = worst["entry"].split("/")[0]
        if line["accepted"]:
            continue
        at = "" if worst["t"] is None else f" at t = {worst['t']:.6g}"
        text = f"{name}.{line['output']}: {worst['got']} where {worst['truth']:.9g} is right{at}"
        text += f" ({worst['units']:.3g} {worst['precision']} units off, 16 allowed)" if isinstance(worst["units"], float) else ""
        text += f"; off at {line['off_at']}" if line["off_at"] else ""
        off[name] = f"{off[name]}\n{text}" if name in off else text
    # lines are of quantities, which functions may share: then those are off whose entries are named, or follow from others
    refused = {line["quantity"] for line in details["lines"] if not line["accepted"]}
    suspects = {e for d in details["diagnoses"] for e in d["entries"]} | {u.split(" ")[0] for u in details["unexplained"]}
    sharing: dict[str, set[str]] = {}
    for entry in answered:
        sharing.setdefault(entry["quantity"], set()).add(entry["id"].split("/")[0])
    for entry in answered:
        name, quantity = entry["id"].split("/")[0], entry["quantity"]
        if quantity in refused and (entry["id"] in suspects or len(sharing[quantity]) == 1):
            off.setdefault(name, f"{name}: off")
    for entry in answered:
        name = entry["id"].split("/")[0]
        if name not in off and name not in failed:
            right[name] = right.get(name, 0) + sum(a.size for a, _ in entry["outputs"].values())
    causes = [
        Cause(d["id"], d["text"], d["remedy"], d["value"], tuple(_outputs(d, answered)), tuple(_follows(d, answered))) for d in details["diagnoses"]
    ]
    ok = bool(details["ok"]) and not failed and not off
    return Report(ok, causes, off, right, failed, skipped, understood, process, dtype, time.perf_counter() - began, details)


def _follows(diagnosis: dict[str, Any], answered: list[dict[str, Any]]) -> list[str]:
    named = {a["quantity"]: a["id"].split("/")[0] for a in answered}
    out = []
    for follows in diagnosis.get("follows", []):
        quantity, _, output = follows["output"].rpartition(".")
        out.append(f"{named.get(quantity, quantity)}.{output}")
    return sorted(set(out))


def _outputs(diagnosis: dict[str, Any], answered: list[dict[str, Any]]) -> list[str]:
    functions = {id_.split("/")[0] for id_ in diagnosis["entries"]}
    quantities = {a["id"].split("/")[0]: a["quantity"] for a in answered}
    out = []
    for name in sorted(functions):
        prefix = quantities.get(name, "") + "."
        out += [f"{name}.{o[len(prefix):]}" for o in diagnosis["outputs"] if o.startswith(prefix)]
    return out or sorted(functions)
