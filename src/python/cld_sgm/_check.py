"""One call from an implementation to a verdict."""

from __future__ import annotations

import html
import inspect
import io
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from . import _native
from ._arrays import FLOATS, Array, one_line, whole
from ._layout import WHOLE, Caller, Convention, frameworks, round_to, rows
from ._process import CLD, Process
from ._protocol import BY_NAME, DEFAULTS, FUNCTIONS, SETTINGS, Function, Slot, bind, offered, others

__all__ = ["Cause", "Report", "check"]

#: The test data whose exact score is handed to steps that call a score function: N(mean, std^2).
_DATA = (0.5, 0.75)
#: The name of the answers in the report's commands.
_FILE = "answers.json"
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
    #: What was judged, in words.
    implementation: str
    #: The whole report of the judge (schema cld-report).
    details: dict[str, Any] = field(repr=False)
    #: Functions of yours whose names say nothing to the protocol.
    unknown: list[str] = field(default_factory=list)
    _judged: _native.Report | None = field(repr=False, default=None)
    _answered: list[dict[str, Any]] = field(repr=False, default_factory=list)

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

    def text(self, width: int | None = None, *, plain: bool = False, full: bool = False, color: bool = False) -> str:
        """In the words of ``cld check``: what is off, how far and where, the causes and what to do, a row of each, what follows.

        ``width``: columns, those of the terminal unless given. ``plain``: ASCII alone. ``full``: a line for each output, also where all is well.
        """
        width = shutil.get_terminal_size((80, 24)).columns if width is None else width
        if isinstance(width, bool) or not isinstance(width, int) or not 40 <= width <= 1000:
            raise ValueError(f"parameter `width` is {width!r}; allowed: whole numbers from 40 to 1000")
        if self._judged is None:
            body, verdict = f"cld_sgm.check ({self.implementation})", "nothing was judged"
        else:
            body, verdict = self._judged.text(width, plain, full, color)
        out = [body]
        for title, rows in self._sections(full):
            out += ["", title]
            for name, text in rows:
                lines = textwrap.wrap(f"{name}: {text}", width - 5, break_long_words=False, break_on_hyphens=False)
                out += [f"     {line}" if i == 0 else f"       {line}" for i, line in enumerate(lines)]
        return "\n".join([*out, "", verdict])

    def _sections(self, full: bool = True) -> list[tuple[str, list[tuple[str, str]]]]:
        """What the judge does not know of: how functions were called, and which were not there."""

        def listed(names: list[str]) -> str:
            return ", ".join(names) if full or len(names) <= 8 else f"{len(names)} functions of the protocol (report.skipped)"

        called = [(how, ", ".join(names)) for how, names in _by_value(self.understood).items()]
        missing = [(why, listed(names)) for why, names in _by_value(self.skipped).items()]
        if self.unknown:
            missing.append(("not known by name", f"{', '.join(self.unknown)} (to judge one, name it: cld_sgm.check({{\"cov\": mine.{self.unknown[0]}}}))"))
        sections = [("How they were called", called), ("Not judged", missing)]
        if any(d["shown"] for d in [*self.details["diagnoses"], *self.details["open"]]):
            sections.append((f"For `cld eval {_FILE}`", [(f'report.save("{_FILE}")', "writes what was asked and answered")]))
        return [(title, rows) for title, rows in sections if rows]

    def to_html(self) -> str:
        """The same as a page, as ``cld check --html`` writes it."""
        sections = ""
        for title, rows in self._sections():
            cells = "".join(f"<tr><td>{html.escape(name)}<td>{html.escape(text)}" for name, text in rows)
            sections += f"<h2>{html.escape(title)}</h2><div class=scroll><table>{cells}</table></div>"
        if self._judged is None:
            return f"<!doctype html><html lang=en><meta charset=utf-8><title>cld check</title><main><h1>nothing was judged</h1>{sections}</main></html>"
        page = self._judged.page()
        return page.replace("</main></html>", f"{sections}</main></html>")

    def __str__(self) -> str:
        # blocks that an output cannot print would be an error of encoding
        encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
        return self.text(plain=not encoding.startswith("utf"))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        height = 640 if self.causes or not self.ok else 420
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:{height}px;border:0" title="cld_sgm.check"></iframe>'

    def save(self, path: Any = "answers.json") -> None:
        """Writes what was asked and answered as ``cld check`` reads it: the manifest ``path``, and its arrays beside it (.npz).

        Then ``cld check answers.json`` gives this report again, anywhere, and ``cld eval answers.json --entry ... --row ...`` one row.
        """
        manifest = pathlib.Path(path)
        if manifest.suffix != ".json":
            raise ValueError(f"parameter `path` is {str(path)!r}; allowed: a name that ends in .json")
        if self.dtype == "bfloat16":
            raise ValueError("parameter `dtype` is bfloat16; allowed where answers are saved: float64, float32, float16 (numpy has no such array)")
        arrays: dict[str, Any] = {}

        def stored(array: Array, dtype: str = "float64") -> str:
            name = f"a{len(arrays)}"
            arrays[name] = array.astype(dtype)
            return name

        entries = []
        for entry in self._answered:
            process = self.process.description | ({"objective": "dsm"} if entry["between"] else {})
            one: dict[str, Any] = {"id": entry["id"], "quantity": entry["quantity"], "process": process}
            one |= {field: int(x) if isinstance(x, float) and x == int(x) else x for field, x in entry["settings"].items()}
            one["inputs"] = {name: stored(a) for name, a in entry["inputs"].items()}
            if entry["raised"] is None:
                one["outputs"] = {name: stored(a, dtype) for name, (a, dtype) in entry["outputs"].items()}
            else:
                one["raised"] = entry["raised"]
            entries.append(one)
        whole = {"schema": "cld-answers/1", "implementation": self.implementation, "arrays": manifest.with_suffix(".npz").name, "entries": entries}
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        _write(manifest.with_suffix(".npz"), packed.getvalue())
        _write(manifest, json.dumps(whole, indent=1).encode())


def _write(path: pathlib.Path, data: bytes) -> None:
    """The whole file, or nothing."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


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
    if function.suite not in (None, suite):
        return False
    if function.quantity == "sampler.reverse_drift":
        return bool(settings["probability_flow"]) == (function.name == "flow_drift")
    given = DEFAULTS | {"weighting": weighting}
    return all(argument in has or settings[SETTINGS[argument]] == given[argument] for argument in function.may)


def _rows(inputs: dict[str, Array], t_min: float, t_max: float, dtype: str) -> dict[str, Array]:
    """The inputs rounded to the type, without rows outside [t_min, t_max] or too early for the type."""
    rounded = {name: round_to(a, dtype) for name, a in inputs.items()}
    if "t" not in rounded:
        return rounded  # no times, and more rows than that
    whole = {name: rounded.pop(name) for name in WHOLE if name in rounded}
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
    return {name: a[enough] for name, a in kept.items()} | whole


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
    # a sentence of ours needs no name
    ours = isinstance(error, ValueError) and "; allowed: " in str(error)
    return str(error) if ours else one_line(error)


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
    classes = [accept] if isinstance(accept, str) else list(accept)
    for one in classes:
        if one not in ("f64", "f32", "eps"):
            raise ValueError(f"parameter `accept` is {one!r}; allowed: f64, f32, eps")
    seed = whole(seed, "seed")
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
        if "v_noise" in asked[0][4] and not has & {"v0", "v_noise"}:
            skipped[name] = "takes no v0 or v_noise, which DSM needs"
            continue
        caller = Caller(function, call, process.channels, process.noised, dtype, exact)
        chosen: tuple[list[Slot], Convention] | None = None
        for id_, suite, quantity, settings, inputs in asked:
            inputs = _rows(inputs, t_min, t_max, dtype)
            if not rows(inputs):
                skipped[name] = f"no test times in [{t_min}, {t_max}] in {dtype}"
                continue
            handed = inputs
            if "v_noise" in inputs:
                handed = inputs | {"v0": round_to(math.sqrt(process._initial_variance) * inputs["v_noise"], dtype)}
            entry: dict[str, Any] = {"id": f"{name}/{id_.rsplit('/', 1)[1]}", "quantity": quantity, "settings": dict(settings), "raised": None, "between": suite == "transition"}
            first: BaseException | None = None
            tried = 0
            result = None
            candidates = [chosen] if chosen else _candidates(caller, ways, libraries[name], worked, fixed)
            for slots, convention in candidates:
                tried += 1
                try:
                    with np.errstate(all="ignore"):
                        result = caller.run(slots, handed, settings, convention)
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
                entry.update(inputs=inputs, outputs={}, raised=text)
                answered.append(entry)
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
    about = f"{_name(implementation)} in {dtype}"
    report = _report(process, dtype, about, classes, answered, understood, failed, skipped, began)
    report.unknown = others(implementation)
    return report


def _name(implementation: Any) -> str:
    if isinstance(implementation, ModuleType):
        return implementation.__name__
    if isinstance(implementation, Mapping):
        return ", ".join(map(str, implementation))
    return getattr(implementation, "__name__", type(implementation).__name__)


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
        self.settings, self.raised, self.between = entry["settings"], entry["raised"], entry["between"]
        self.inputs = {name: np.ascontiguousarray(a) for name, a in entry["inputs"].items()}
        self.outputs = entry["outputs"]


def _report(
    process: Process,
    dtype: str,
    about: str,
    accept: list[str],
    answered: list[dict[str, Any]],
    understood: dict[str, str],
    failed: dict[str, str],
    skipped: dict[str, str],
    began: float,
) -> Report:
    details: dict[str, Any] = {"lines": [], "diagnoses": [], "open": [], "unexplained": [], "unjudged": [], "ok": False}
    judged = None
    if answered:
        judged = _native.judge(process._native, about, ("cld_sgm.check", _FILE), [_Answered(a) for a in answered], accept)
        details = json.loads(judged.json())
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
        if entry["raised"] is None and name not in off and name not in failed:
            right[name] = right.get(name, 0) + sum(a.size for a, _ in entry["outputs"].values())
    causes = [
        Cause(d["id"], d["text"], d["remedy"], d["value"], tuple(_outputs(d, answered)), tuple(_follows(d, answered))) for d in details["diagnoses"]
    ]
    ok = bool(details["ok"]) and not failed and not off
    return Report(ok, causes, off, right, failed, skipped, understood, process, dtype, time.perf_counter() - began, about, details, [], judged, answered)


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
