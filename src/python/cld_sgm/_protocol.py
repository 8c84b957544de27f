"""The protocol: which functions of a user's code can be judged, under which names, and how their arguments are recognised."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable, Mapping


@dataclass(frozen=True)
class Function:
    """A function of the protocol: the quantity it answers, its arguments in order, what it returns."""

    name: str
    quantity: str
    arguments: tuple[str, ...]
    returns: str
    about: str
    also: tuple[str, ...] = ()


def _f(name: str, quantity: str, arguments: str, returns: str, about: str, also: str = "") -> Function:
    return Function(name, quantity, tuple(arguments.split()), returns, about, tuple(also.split()))


#: Every function that can be judged. ``returns``: what :mod:`cld_sgm._layout` reads.
FUNCTIONS: tuple[Function, ...] = (
    _f("beta", "schedule.rate", "t", "rate", "rate b(t)"),
    _f("integral", "schedule.integral", "t", "integral", "integral of b over [0, t]", "beta_int int_beta beta_integral"),
    _f("mean", "kernel.mean", "start t", "mean", "mean of u_t given u_0; or of t alone: the matrix Phi"),
    _f("cov", "kernel.cov", "t", "cov", "covariance: (n, K, K), or xx, xv, vv", "var variance covariance"),
    _f("cholesky", "kernel.factor", "t", "factor", "its lower Cholesky factor: (n, K, K), or l11, l21, l22", "chol factor"),
    _f("inverse", "kernel.inverse", "t", "inverse", "its inverse: (n, K, K), or xx, xv, vv"),
    _f("det", "kernel.det", "t", "det", "its determinant"),
    _f("log_det", "kernel.logdet", "t", "logdet", "its log-determinant", "logdet"),
    _f("ell", "kernel.ell", "t", "ell", "inverse deviation of v given x"),
    _f("std", "kernel.std", "t", "std", "standard deviation of each channel"),
    _f("sigma", "kernel.sigma", "t", "sigma", "deviation of x over the mean's factor"),
    _f("snr", "kernel.snr", "t", "snr", "signal-to-noise ratio of x"),
    _f("log_snr", "kernel.logsnr", "t", "logsnr", "its logarithm", "logsnr"),
    _f("perturb", "kernel.perturb", "start noise t", "u_t", "u_t = Phi u_0 + L noise", "perturb_data"),
    _f("log_prob", "kernel.log_density", "u start t", "log_density", "log-density of u_t given u_0", "logp"),
    _f("score", "kernel.score", "u start t", "score_all", "its gradient"),
    _f("score_from_eps", "score.score_from_eps", "eps t", "score", "-ell eps"),
    _f("mixed_score", "score.mixed", "u net_output t", "score", "-v / S_vv - ell net"),
    _f("drift", "process.drift_diffusion", "u t", "drift", "forward drift b F u"),
    _f("diffusion", "process.drift_diffusion", "u t", "diffusion", "forward diffusion sqrt(b) G, diagonal, in the shape of u"),
    _f("prior_logp", "prior.log_density", "u", "log_density", "log-density of the prior", "prior_log_prob"),
    _f("prior_sample", "prior.sample", "noise", "u", "a draw from the prior, from its noise"),
    _f("weight", "loss.weight.likelihood", "t", "weight", "weight of the likelihood weighting, g^2 / 2"),
    _f("loss", "loss.per_sample", "x0 noise t net_output", "loss", "score matching per sample, with the mixed score"),
    _f("reverse_drift", "sampler.reverse_drift", "u t score", "drift", "drift of the reverse SDE, b (-F u + G G^T s)"),
    _f("flow_drift", "sampler.reverse_drift", "u t score", "drift", "drift of the probability flow"),
    _f("em_step", "sampler.step.em", "u t dt score noise", "u_next", "an Euler-Maruyama step from t to t - dt"),
    _f("sscs_step", "sampler.step.sscs", "u t dt score noise_1 noise_2", "u_next", "an SSCS step from t to t - dt"),
    _f("denoise", "sampler.step.denoise", "u t score", "u_next", "the last step, from t to 0, without noise"),
)

BY_NAME: dict[str, Function] = {name: f for f in FUNCTIONS for name in (f.name, *f.also)}

#: Names that arguments go by. `start` is u_0, of which code for HSM takes x_0 alone.
ALIASES: dict[str, tuple[str, ...]] = {
    "t": ("t", "time", "times", "ts", "timestep", "tt"),
    "s": ("s", "t_next", "next_t", "t_end", "t_prev"),
    "dt": ("dt", "h", "delta", "step", "step_size", "delta_t"),
    "u": ("u", "z", "state", "ut", "zt", "u_t", "z_t", "xv", "x", "x_t", "xt"),
    "start": ("u0", "u_0", "z0", "z_0", "x0", "x_0", "data", "batch", "x_start", "start", "u", "z", "x"),
    "x0": ("x0", "x_0", "data", "batch", "x_start", "x"),
    "noise": ("noise", "eps", "epsilon", "xi", "e", "z", "noise_v", "eps_v"),
    "noise_1": ("noise_1", "noise1", "eps1", "eps_1", "xi1", "xi_1", "z1", "z_1"),
    "noise_2": ("noise_2", "noise2", "eps2", "eps_2", "xi2", "xi_2", "z2", "z_2"),
    "eps": ("eps", "epsilon", "noise", "net_output", "eps_v"),
    "score": ("score", "score_v", "s_v", "s_theta", "grad", "score_fn", "score_function", "score_model", "model"),
    "net_output": ("net_output", "net", "output", "out", "eps_theta", "network", "prediction", "model", "net_fn"),
    "weighting": ("weighting",),
}

#: Parts of a state that come as arguments of their own.
PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "u": (("x", "x_t", "xt", "q"), ("v", "v_t", "vt", "p", "m", "r")),
    "start": (("x0", "x_0", "x"), ("v0", "v_0", "v")),
    "noise": (("noise_x", "eps_x", "xi_x", "e_x"), ("noise_v", "eps_v", "xi_v", "e_v")),
}

CALLABLE = ("score_fn", "score_function", "score_model", "model", "net_fn", "network")


@dataclass(frozen=True)
class Slot:
    """An argument of the user's function: which of the protocol's, which part of it (None: the whole), its own name."""

    argument: str
    part: int | None
    name: str
    keyword: bool
    surely_callable: bool = False


def _match(names: list[str], function: Function, channels: int) -> dict[str, tuple[str, int | None]]:
    """What each of these names stands for, where all that can be told by name is told."""
    wanted = list(function.arguments) + ["s", "weighting"]
    found: dict[str, tuple[str, int | None]] = {}
    if channels == 2:
        for argument in ("u", "start", "noise"):
            if argument not in wanted:
                continue
            first, second = (next((n for n in names if n in part and n not in found), None) for part in PARTS[argument])
            if first is not None and second is not None:
                found[first], found[second] = (argument, 0), (argument, 1)
    taken = {argument for argument, _ in found.values()}
    # the more telling names first: of ("x", "x0") it is x0 that is the start
    for argument in sorted(wanted, key=lambda a: a in ("u",)):
        if argument in taken:
            continue
        for alias in ALIASES[argument]:
            if alias in names and alias not in found:
                found[alias] = (argument, None)
                break
    return found


def bind(call: Callable[..., Any], function: Function, channels: int) -> list[list[Slot]]:
    """Ways to call a user's function, the likeliest first. Empty: it takes another number of arguments than any of them."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return [[Slot(a, None, a, False) for a in function.arguments]]
    parameters = list(signature.parameters.values())
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p for p in named if p.default is p.empty]
    found = _match([p.name for p in named], function, channels)
    ways: list[list[Slot]] = []
    if all(p.name in found for p in required) and (required or found):
        slots = []
        skipped = False
        for p in named:
            if p.name not in found:
                skipped = True
                continue
            argument, part = found[p.name]
            sure = p.name in CALLABLE or "Callable" in str(p.annotation)
            slots.append(Slot(argument, part, p.name, skipped or p.kind is p.KEYWORD_ONLY, sure))
        ways.append(slots)
    alternatives = [function.arguments]
    if "start" in function.arguments and function.name == "mean":
        alternatives.append(("t",))
    if function.name == "diffusion":
        alternatives.append(("t",))
    for arguments in alternatives:
        if len(required) == len(arguments) or (many and len(required) <= len(arguments)):
            positional = [p for p in named if p.kind is not p.KEYWORD_ONLY]
            names = [p.name for p in positional] + list(arguments)[len(positional) :]
            way = [Slot(a, None, n, False) for a, n in zip(arguments, names)]
            if [s.argument for s in way] not in [[s.argument for s in w] for w in ways]:
                ways.append(way)
    return ways


def offered(implementation: Any) -> dict[str, Callable[..., Any]]:
    """The functions of an object, a module, a class's instance or a mapping, by the protocol's names."""
    if isinstance(implementation, Mapping):
        for key, value in implementation.items():
            if key not in BY_NAME:
                raise ValueError(f"function `{key}` is unknown; allowed: {', '.join(f.name for f in FUNCTIONS)}")
            if not callable(value):
                raise ValueError(f"function `{key}` is {type(value).__name__}; allowed: something that can be called")
        pairs = [(BY_NAME[key].name, value) for key, value in implementation.items()]
    else:
        pairs = []
        for name, function in BY_NAME.items():
            value = getattr(implementation, name, None)
            if callable(value):
                pairs.append((function.name, value))
    chosen: dict[str, Callable[..., Any]] = {}
    for name, value in pairs:
        chosen.setdefault(name, value)
    if not chosen:
        what = type(implementation).__name__
        raise ValueError(f"implementation ({what}) offers none of the functions; allowed: any of {', '.join(f.name for f in FUNCTIONS)}")
    return chosen
