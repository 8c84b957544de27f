"""The protocol: which functions of a user's code can be judged, under which names, and how their arguments are recognised."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
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
    #: The suite of questions, where the quantity is in several.
    suite: str | None = None
    #: Arguments that it may have, too; where it does not take one, it is asked with this value alone (the first of its words).
    may: tuple[str, ...] = ()


def _f(name: str, quantity: str, arguments: str, returns: str, about: str, also: str = "", suite: str | None = None, may: str = "") -> Function:
    return Function(name, quantity, tuple(arguments.split()), returns, about, tuple(also.split()), suite, tuple(may.split()))


#: Every function that can be judged. ``returns``: what :mod:`cld_sgm._layout` reads.
FUNCTIONS: tuple[Function, ...] = (
    _f("beta", "schedule.rate", "t", "rate", "rate b(t)"),
    _f("integral", "schedule.integral", "t", "integral", "integral of b over [0, t]", "beta_int int_beta beta_integral", "schedule"),
    _f("mean", "kernel.mean", "start t", "mean", "mean of u_t given u_0; or of t alone: the matrix Phi", "", "kernel"),
    _f("cov", "kernel.cov", "t", "cov", "covariance: (n, K, K), or xx, xv, vv", "var variance covariance", "kernel"),
    _f("cholesky", "kernel.factor", "t", "factor", "its lower Cholesky factor: (n, K, K), or l11, l21, l22", "chol factor", "kernel"),
    _f("inverse_transpose", "kernel.inverse_transpose_factor", "t", "whole", "that factor's inverse, transposed: (n, K, K)"),
    _f("inverse", "kernel.inverse", "t", "inverse", "its inverse: (n, K, K), or xx, xv, vv"),
    _f("det", "kernel.det", "t", "det", "its determinant"),
    _f("log_det", "kernel.logdet", "t", "logdet", "its log-determinant", "logdet"),
    _f("ell", "kernel.ell", "t", "ell", "inverse deviation of v given x"),
    _f("std", "kernel.std", "t", "std", "standard deviation of each channel"),
    _f("sigma", "kernel.sigma", "t", "sigma", "deviation of x over the mean's factor"),
    _f("snr", "kernel.snr", "t", "snr", "signal-to-noise ratio of x"),
    _f("log_snr", "kernel.logsnr", "t", "logsnr", "its logarithm", "logsnr"),
    _f("snr_joint", "kernel.snr_joint", "t", "snr_joint", "signal-to-noise ratio of all channels together"),
    _f("integral_between", "schedule.integral", "s t", "integral", "integral of b over [s, t]", "", "transition"),
    _f("mean_between", "kernel.mean", "s t", "matrix", "Phi of the transition from s to t: (n, K, K)", "transition_mean", "transition"),
    _f("cov_between", "kernel.cov", "s t", "cov", "covariance of u_t given all of u_s", "transition_cov", "transition"),
    _f("cholesky_between", "kernel.factor", "s t", "factor", "its lower Cholesky factor", "transition_cholesky", "transition"),
    _f("forward_em_step", "simulate.step.em", "u s t noise", "u_next", "a step of the forward SDE from s on to t: Euler-Maruyama"),
    _f("forward_step", "simulate.step.exact", "u s t noise", "u_next", "the same, exact: Phi u + L noise of the transition"),
    _f("perturb", "kernel.perturb", "start noise t", "u_t", "u_t = Phi u_0 + L noise", "perturb_data"),
    _f("log_prob", "kernel.log_density", "u start t", "log_density", "log-density of u_t given u_0", "logp"),
    _f("score", "kernel.score", "u start t", "score_all", "its gradient"),
    _f("score_from_eps", "score.score_from_eps", "eps t", "score", "-ell eps"),
    _f("mixed_score", "score.mixed", "u net_output t", "score", "-v / S_vv - ell net"),
    _f("eps_from_score", "score.eps_from_score", "score_value t", "eps", "-score / ell"),
    _f("net_from_score", "score.net_from_score", "u score_value t", "net_output", "the net output whose mixed score this is"),
    _f("x0_from_score", "score.x0_from_eps", "u score_value t", "x0", "the data that this score expects (Tweedie)"),
    _f("joint_score_from_eps", "kernel.score_from_eps", "eps_state t", "score_all", "-L^-T eps, of all channels"),
    _f("joint_eps_from_score", "kernel.eps_from_score", "score_state t", "eps_all", "-L^T score, of all channels"),
    _f("x0_from_eps", "kernel.x0_from_eps", "u eps_state t", "x0", "the data that u and the noise of all channels come from"),
    _f("mixture_score", "score.mixture", "u t weights means stds", "score_all", "score of a mixture of normals, noised"),
    _f("mixture_log_prob", "likelihood.mixture", "u t weights means stds", "log_density", "its log-density"),
    _f("drift", "process.drift_diffusion", "u t", "drift", "forward drift b F u"),
    _f("diffusion", "process.drift_diffusion", "u t", "diffusion", "forward diffusion sqrt(b) G, diagonal, in the shape of u"),
    _f("sde", "process.drift_diffusion", "u t", "sde", "both, as a tuple"),
    _f("prior_logp", "prior.log_density", "u", "log_density", "log-density of the prior", "prior_log_prob"),
    _f("prior_sample", "prior.sample", "noise", "u", "a draw from the prior, from its noise"),
    _f("weight", "loss.weight.likelihood", "t", "weight", "weight of the likelihood weighting, g^2 / 2"),
    _f("loss", "loss.per_sample", "x0 noise t net_output", "loss", "score matching per sample, with the mixed score", may="weighting"),
    _f("reverse_drift", "sampler.reverse_drift", "u t score", "drift", "drift of the reverse SDE, b (-F u + G G^T s)"),
    _f("flow_drift", "sampler.reverse_drift", "u t score", "drift", "drift of the probability flow"),
    _f("em_step", "sampler.step.em", "u t dt score noise", "u_next", "an Euler-Maruyama step from t to t - dt"),
    _f("sscs_step", "sampler.step.sscs", "u t dt score noise_1 noise_2", "u_next", "an SSCS step from t to t - dt"),
    _f("denoise", "sampler.step.denoise", "u t score", "u_next", "the last step, from t to 0, without noise"),
    _f("ddpm_step", "sampler.step.ddpm", "u t dt score noise", "u_next", "a step of DDPM; one channel", may="variance"),
    _f("ddim_step", "sampler.step.ddim", "u t dt score noise", "u_next", "a step of DDIM; one channel", may="eta"),
    _f("ancestral_step", "sampler.step.ancestral", "u t dt score noise", "u_next", "an ancestral step; VP and VE"),
    _f("reverse_diffusion_step", "sampler.step.reverse-diffusion", "u t dt score noise", "u_next", "a reverse-diffusion step; VP and VE"),
    _f("em_run", "sampler.run.em", "u score noises n_steps eps_end", "run", "Euler-Maruyama from 1 to eps in n_steps", may="striding"),
    _f("sscs_run", "sampler.run.sscs", "u score noises n_steps eps_end", "run", "SSCS from 1 to eps in n_steps, two slices of noise a step", may="striding"),
    _f("grid_linear", "grid.linear", "n_steps eps_end", "grid", "n_steps + 1 times from 1 to eps, equal steps"),
    _f("grid_quadratic", "grid.quadratic", "n_steps eps_end", "grid", "the same, quadratic: eps + (1 - eps) r^2"),
    _f("grid_power", "grid.power", "n_steps eps_end power", "grid", "equal steps of t^(1/power)"),
    _f("grid_logsnr", "grid.logsnr", "n_steps eps_end", "grid", "equal steps of log-SNR; one channel"),
    _f("grid_karras", "grid.karras", "n_steps sigma_min sigma_max rho", "grid", "n_steps noise levels of Karras et al.", "karras_sigmas"),
    _f("bits_per_dim", "likelihood.bits", "log_density dim levels", "bits", "bits per dimension of data on [-1, 1)"),
    _f("dequantise", "likelihood.dequantise", "values uniform levels", "x", "2 (values + uniform) / levels - 1", "dequantize"),
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
    "v0": ("v0", "v_0"),
    "v_noise": ("v_noise", "noise_v0", "eps_v0"),
    "score_value": ("score", "score_v", "s_v", "s"),
    "score_state": ("score", "s"),
    "eps_state": ("eps", "epsilon", "noise", "e"),
    "noises": ("noise", "noises", "eps", "xi", "z"),
    "weights": ("weights", "weight", "w", "pi"),
    "means": ("means", "mean", "mu"),
    "stds": ("stds", "std", "sigmas", "sigma"),
    "n_steps": ("n_steps", "steps", "num_steps", "n", "N"),
    "eps_end": ("eps", "eps_end", "t_min", "t_end", "epsilon", "end"),
    "power": ("power", "p", "rho"),
    "sigma_min": ("sigma_min",),
    "sigma_max": ("sigma_max",),
    "rho": ("rho",),
    "striding": ("striding",),
    "variance": ("variance",),
    "eta": ("eta",),
    "log_density": ("log_density", "log_prob", "logp", "ll"),
    "dim": ("dim", "d", "n_dims", "ndim"),
    "levels": ("levels", "n_levels", "bins"),
    "values": ("values", "x", "pixels"),
    "uniform": ("uniform", "u", "noise"),
}

#: Arguments that are settings of a question, by their names there.
SETTINGS: dict[str, str] = {
    "weighting": "weighting",
    "n_steps": "n_steps",
    "eps_end": "eps",
    "power": "power",
    "sigma_min": "sigma_min",
    "sigma_max": "sigma_max",
    "rho": "rho",
    "striding": "striding",
    "variance": "variance",
    "eta": "eta",
    "dim": "dim",
    "levels": "levels",
}

#: What is asked of a function that does not take the argument.
DEFAULTS: dict[str, Any] = {"striding": "linear", "variance": "small", "eta": 0.0}

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
    other_end = {"t": "dt", "dt": "s", "s": "dt"}
    wanted = [*function.arguments, *function.may, *(("v0", "v_noise") if function.name == "loss" else ())]
    wanted += [other_end[a] for a in function.arguments if a in ("dt", "s") and other_end[a] not in wanted]
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
        names = others(implementation)
        has = f" (it has {', '.join(names)}: hand them over by name, as in {{\"cov\": mine.{names[0]}}})" if names else ""
        raise ValueError(f"implementation ({what}) offers none of the functions{has}; allowed: any of {', '.join(f.name for f in FUNCTIONS)}")
    return chosen


def others(implementation: Any) -> list[str]:
    """Functions of an object or a module of the user's own whose names say nothing to us, a dozen at most."""
    if isinstance(implementation, Mapping):
        return []
    if isinstance(implementation, ModuleType):
        own = [name for name, value in vars(implementation).items() if getattr(value, "__module__", None) == implementation.__name__]
    else:
        libraries = ("builtins", "torch", "jax", "flax", "equinox", "haiku", "numpy", "abc", "typing", "cld_sgm", "dataclasses")
        classes = [c for c in type(implementation).__mro__ if c.__module__.split(".")[0] not in libraries]
        own = [*(name for c in classes for name in vars(c)), *getattr(implementation, "__dict__", {})]
    functions = [n for n in dict.fromkeys(own) if not n.startswith("_") and n not in BY_NAME and isinstance(getattr(implementation, n, None), (FunctionType, MethodType))]
    return functions[:12]


def table() -> str:
    """The protocol as a table in Markdown: what the documentation shows."""
    words = {
        "start": "u_0 (or x_0)",
        "score_value": "score",
        "score_state": "score",
        "eps_state": "eps",
        "noises": "noise",
        "eps_end": "eps",
    }
    rows = ["| function | arguments | returns |", "|---|---|---|"]
    for f in FUNCTIONS:
        arguments = [words.get(a, a) for a in f.arguments] + [f"[{a}]" for a in f.may]
        names = ", ".join(f"`{name}`" for name in (f.name, *f.also))
        rows.append(f"| {names} | {', '.join(arguments)} | {f.about} |")
    return "\n".join(rows) + "\n"
