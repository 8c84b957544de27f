"""Answers cld's test vectors with PyTorch, in float32 throughout: all processes, all quantities.

usage: cld vectors vectors; python torch_cld.py vectors; cld check vectors

An example of careful single precision: all that depends on the inputs is computed in float32 (fixed constants, such as nodes of the quadrature, are
rounded to it once), and what would cancel is written so that it does not:

- the integral of the rate over [s, t] is a product with t - s, and 1 - exp(-x) is expm1;
- a covariance is an integral of positive terms (Gauss-Legendre quadrature) at early times, and the stationary covariance less
  what is forgotten at late ones: S - Phi S Phi^T;
- the Cholesky factor at early times is the R of a QR decomposition of the integral's square root, never that of the covariance;
  an initial variance is added by a rank-one update with positive terms;
- whatever needs a determinant or an inverse takes the factor: det S underflows long before its factor does.

State: (n, K, d), the channels x, v, ... of d coordinates; matrices (n, K, K).
"""
import argparse
import json
import math

import numpy as np
import torch

NODES = 32  # of the quadrature: beyond what float32 can tell from the integral at early times
TINY = torch.finfo(torch.float32).tiny
LOG_TAU = math.log(2 * math.pi)


# The rate b(t) and its integral


class Linear:
    """b(t) = b0 + b1 t, and constant b."""

    def __init__(self, p):
        self.b0 = p["b0"] if "b0" in p else p["b"]
        self.b1 = p.get("b1", 0.0)

    def rate(self, t):
        return self.b0 + self.b1 * t  # a constant rate has the shape of t, too

    def integral(self, s, t):
        return (t - s) * (self.b0 + self.b1 / 2 * (t + s))


class Cosine:
    """Nichol and Dhariwal's schedule in continuous time; a(t) = (pi/2) (t_max t + s0)/(1 + s0)."""

    def __init__(self, p):
        self.s0, self.t_max = p["s0"], p["t_max"]
        self.speed = math.pi / 2 * self.t_max / (1 + self.s0)

    def tangent(self, t):
        """tan a(t); at late times through the distance of a(t) to pi/2, where the cosine would cancel."""
        a = math.pi / 2 * (self.t_max * t + self.s0) / (1 + self.s0)
        rest = math.pi / 2 * ((1 - self.t_max) + self.t_max * (1 - t)) / (1 + self.s0)
        return torch.where(a < rest, torch.tan(a), 1 / torch.tan(rest))

    def rate(self, t):
        return 2 * self.speed * self.tangent(t)

    def integral(self, s, t):
        """2 log(cos a(s) / cos a(t)), with cos a(s) = cos a(t) (cos h + tan a(t) sin h), h = a(t) - a(s)."""
        h = self.speed * (t - s)
        return 2 * torch.log1p(torch.sin(h) * self.tangent(t) - 2 * torch.sin(h / 2) ** 2)


class Geometric:
    """sigma(t) = sigma_min (sigma_max/sigma_min)^t; b = d sigma^2/dt."""

    def __init__(self, p):
        self.low, self.growth = p["sigma_min"], 2 * torch.log(p["sigma_max"] / p["sigma_min"])

    def rate(self, t):
        return self.growth * self.low**2 * torch.exp(self.growth * t)

    def integral(self, s, t):
        return self.low**2 * torch.exp(self.growth * s) * torch.expm1(self.growth * (t - s))


SCHEDULES = {"linear": Linear, "constant": Linear, "cosine": Cosine, "geometric-sigma": Geometric}


# Processes: du = F u b dt + G sqrt(b) dW on K channels


def matrix(rows):
    """A (..., K, K) matrix of entries that are tensors or numbers."""
    one = next(x for row in rows for x in row if torch.is_tensor(x))
    entries = [torch.as_tensor(x, dtype=one.dtype) for row in rows for x in row]
    return torch.stack(torch.broadcast_tensors(*entries), -1).unflatten(-1, (len(rows), len(rows)))


class Process:
    """A linear SDE with a stationary law: `drift` F, `noise` (the diagonal of G G^T), `stationary` S, the `slow` rate at which
    it forgets, and `phi`, exp(F tau). HSM's initial velocity has the variance gamma mass."""

    channels, mass, gamma = 2, 1.0, None

    def noise_at(self, start):
        return self.noise

    def roots(self, tau):
        """(n, rows, K): the matrix A with A^T A = integral of Phi G G^T Phi^T over [0, tau]."""
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        nodes = torch.as_tensor((nodes + 1) / 2, dtype=tau.dtype)
        weights = torch.as_tensor(np.sqrt(weights / 2), dtype=tau.dtype)
        phi = self.phi(tau[:, None] * nodes) * (weights * tau.sqrt()[:, None])[..., None, None]
        columns = phi * self.noise.sqrt()  # G is diagonal
        noised = [i for i in range(self.channels) if self.noise[i] > 0]
        return columns[..., noised].transpose(-1, -2).flatten(1, 2)

    def transition(self, tau):
        """Mean matrix, covariance and its Cholesky factor."""
        phi = self.phi(tau)
        last = self.channels / self.slow  # early until then; with more channels S - Phi S Phi^T is near singular for longer
        late = (tau > last)[:, None, None]
        a = self.roots(torch.minimum(tau, last))
        size = a.abs().amax(1, keepdim=True).clamp(min=TINY)  # squares of what is as small as t^1.5 would underflow
        r = torch.linalg.qr(a / size, mode="r").R
        lower = (r * r.diagonal(dim1=-2, dim2=-1).sign()[..., None] * size).transpose(-1, -2)
        rest = self.stationary - phi @ self.stationary @ phi.transpose(-1, -2)
        rest = torch.where(late, rest, self.stationary)
        cov, lower = torch.where(late, rest, a.transpose(-1, -2) @ a), torch.where(late, torch.linalg.cholesky(rest), lower)
        return phi, cov, lower

    def reversed(self):
        """The analytic part of SSCS: drift S F^T S^-1, the same noise and stationary law."""
        return Reversed(self)

    def prior(self, horizon):
        return self.stationary


class Reversed(Process):
    """S F^T S^-1."""

    def __init__(self, forward):
        self.forward, self.channels, self.mass = forward, forward.channels, forward.mass
        self.noise, self.stationary, self.slow = forward.noise, forward.stationary, forward.slow
        self.precision = torch.linalg.inv(self.stationary)
        self.drift = self.stationary @ forward.drift.T @ self.precision

    def phi(self, tau):
        return self.stationary @ self.forward.phi(tau).transpose(-1, -2) @ self.precision


class Cld(Process):
    """dx = v/M b dt, dv = (-x - Gamma/M v) b dt + sqrt(2 Gamma b) dW; critical unless `Gamma` is given."""

    def __init__(self, p):
        m = self.mass = p["mass"]
        self.gamma = p.get("gamma")
        self.friction = p["Gamma"] if "Gamma" in p else 2 * m.sqrt()
        self.rate = self.friction / (2 * m)
        if "Gamma" in p:
            self.delta = (self.friction - 2 * m.sqrt()) * (self.friction + 2 * m.sqrt()) / (4 * m * m)
        else:
            self.delta = torch.zeros_like(m)
        fast = self.rate + self.delta.clamp(min=0).sqrt()
        self.slow = 1 / (m * fast) if self.delta > 0 else self.rate
        self.drift = matrix([[0.0, 1 / m], [-1.0, -self.friction / m]])
        self.noise = torch.stack([torch.zeros_like(m), 2 * self.friction])
        self.stationary = matrix([[1.0, 0.0], [0.0, m]])

    def phi(self, tau):
        """e^(-a tau) [[C + a S, S/M], [-S, C - a S]], C = cosh(d tau), S = sinh(d tau)/d, d^2 = delta of either sign."""
        a, d = self.rate, self.delta.abs().sqrt()
        z = d * tau
        e = torch.exp(-self.slow * tau)
        if self.delta > 0:
            gone = torch.expm1(-2 * z)
            c, s = e * (1 + gone / 2), -e * gone / (2 * d)
        else:
            c, s = e * torch.cos(z), e * tau * torch.sinc(z / math.pi)
        last = c - a * s
        if d > 0.1 * a and self.delta > 0:  # this cancels late: C - a S = e^(-slow tau) (d - a)/(2d) + e^(-fast tau) (d + a)/(2d)
            last = e * ((1 + gone) * (a + d) - self.slow) / (2 * d)
        return matrix([[c + a * s, s / self.mass], [-s, last]])

    def transition(self, tau):
        phi, cov, lower = super().transition(tau)
        xv = 2 * self.rate * phi[:, 1, 0] ** 2  # positive, and exact where its double zeros are
        cov[:, 0, 1] = cov[:, 1, 0] = xv
        lower[:, 1, 0] = xv / lower[:, 0, 0].clamp(min=TINY)
        return phi, cov, lower


class Psld(Process):
    """dx = (b/2)(v/M - Gamma x) dt + sqrt(b Gamma) dW, dv = (b/2)(-x - nu v) dt + sqrt(b M nu) dW, 1/M = (Gamma - nu)^2/4."""

    def __init__(self, p):
        g, nu = p["Gamma"], p["nu"]
        self.c = (nu - g) / 2
        self.mass, self.gamma, self.slow = 1 / self.c**2, p.get("gamma"), (nu + g) / 4
        self.drift = matrix([[-g, self.c**2], [-1.0, -nu]]) / 2
        self.noise = torch.stack([g, self.mass * nu])
        self.stationary = matrix([[1.0, 0.0], [0.0, self.mass]])

    def phi(self, tau):
        e, w = torch.exp(-self.slow * tau), self.c * tau / 2
        return matrix([[e * (1 + w), e * self.c * w], [-e * tau / 2, e * (1 - w)]])


class PositionNoise(Process):
    """dx = a^2 v b dt + epsilon sqrt(b) dW, dv = (-x - 2 a v) b dt + sigma sqrt(b) dW."""

    def __init__(self, p):
        a, e, sigma = p["a"], p["epsilon"] ** 2, p["sigma"] ** 2
        self.a = self.slow = a
        self.gamma = p.get("v0_var")
        self.drift = matrix([[0.0, a * a], [-1.0, -2 * a]])
        self.noise = torch.stack([e, sigma])
        xv = -e / (2 * a * a)
        self.stationary = matrix([[(5 * e + a * a * sigma) / (4 * a), xv], [xv, (e + a * a * sigma) / (4 * a**3)]])

    def phi(self, tau):
        e, z = torch.exp(-self.a * tau), self.a * tau
        return matrix([[e * (1 + z), e * self.a * z], [-e * tau, e * (1 - z)]])


class Chain(Process):
    """Critically damped Langevin diffusion of order K: each variable coupled to the next, noise in the last; stationary N(0, I)."""

    def __init__(self, p, one):
        k = self.channels = int(p["order"])
        self.gamma = p.get("velocity_var")
        slow = math.sqrt(2 * k - 3)
        f = np.zeros((k, k))  # numbers without parameters: exact to the last digit before they are rounded once
        for j in range(1, k):
            f[k - j - 1, k - j] = math.sqrt((2 * k - 3) * (k * k - j * j) / (4 * j * j - 1))
            f[k - j, k - j - 1] = -f[k - j - 1, k - j]
        f[k - 1, k - 1] = -k * slow
        nilpotent = f + slow * np.eye(k)
        powers = [np.linalg.matrix_power(nilpotent, j) / math.factorial(j) for j in range(k)]
        self.powers = [torch.as_tensor(np.where(abs(x) < 1e-12, 0, x), dtype=one.dtype) for x in powers]
        self.slow = torch.full_like(one, slow)
        self.drift = torch.as_tensor(f, dtype=one.dtype)
        self.noise = torch.zeros(k, dtype=one.dtype)
        self.noise[-1] = 2 * k * slow
        self.stationary = torch.eye(k, dtype=one.dtype)

    def phi(self, tau):
        t = tau[..., None, None]
        return torch.exp(-self.slow * t) * sum(p * t**j for j, p in enumerate(self.powers))


class Scalar(Process):
    """One channel: dx = -x/2 b dt + sqrt(b) dW."""

    channels = 1

    def __init__(self, one):
        self.slow = one / 2
        self.drift, self.noise, self.stationary = -one.reshape(1, 1) / 2, one.reshape(1), one.reshape(1, 1)

    def phi(self, tau):
        return torch.exp(-tau / 2)[:, None, None]

    def deviation(self, tau):
        return torch.sqrt(-torch.expm1(-tau))

    def reversed(self):
        return self

    def transition(self, tau):
        l = self.deviation(tau)[:, None, None]
        return self.phi(tau), l * l, l


class SubVp(Scalar):
    """VP with the noise b (1 - exp(-2 B(0,t)))."""

    def noise_at(self, start):
        return -torch.expm1(-2 * start)[:, None]

    def transition(self, tau, start=0.0):
        var = (torch.expm1(-tau) * torch.expm1(-(tau + 2 * start)))[:, None, None]
        return self.phi(tau), var, var.sqrt()


class Ve(Scalar):
    """dx = sqrt(b) dW."""

    def __init__(self, one):
        super().__init__(one)
        self.drift = torch.zeros_like(self.drift)

    def phi(self, tau):
        return torch.ones_like(tau)[:, None, None]

    def deviation(self, tau):
        return tau.sqrt()

    def prior(self, horizon):
        return horizon.reshape(1, 1)


def build(p, one):
    kind = p["kind"]
    if kind in ("vp", "sub-vp", "ve"):
        return {"vp": Scalar, "sub-vp": SubVp, "ve": Ve}[kind](one)
    if kind == "langevin-order-n":
        return Chain(p, one)
    return {"cld": Cld, "sscs-analytic": Cld, "psld": Psld, "cld-position-noise": PositionNoise}[kind](p)


# The perturbation kernel


def rank_one(lower, column):
    """Cholesky factor of L L^T + c c^T: L times that of I + w w^T, w = L^-1 c, whose entries are products of w's."""
    w = solve(lower, column[..., None])[..., 0]
    r = [torch.ones_like(w[:, 0])]
    for i in range(w.shape[1]):
        r.append(torch.hypot(r[-1], w[:, i]))
    r = torch.stack(r, -1)
    inner = torch.tril(w[:, :, None] * (w / (r[:, 1:] * r[:, :-1]))[:, None, :], -1)
    return lower @ (inner + torch.diag_embed(r[:, 1:] / r[:, :-1]))


def solve(lower, b):
    return torch.linalg.solve_triangular(lower, b, upper=False)


def solve_transposed(lower, b):
    return torch.linalg.solve_triangular(lower.transpose(-1, -2), b, upper=True)


class Kernel:
    """u_t given u_0, or u_s: N(phi u, cov), cov = lower lower^T."""

    def __init__(self, process, schedule, t, s=None, variance=None):
        start = torch.zeros_like(t) if s is None else s
        tau = schedule.integral(start, t)
        if isinstance(process, SubVp):
            self.phi, self.cov, self.lower = process.transition(tau, schedule.integral(torch.zeros_like(t), start))
        else:
            self.phi, self.cov, self.lower = process.transition(tau)
        if variance is not None:
            for i in range(1, process.channels):
                self.add(self.phi[:, :, i] * variance.sqrt())

    def add(self, column):
        """Adds c c^T to the covariance."""
        self.cov = self.cov + column[:, :, None] * column[:, None, :]
        lower = rank_one(self.lower, column)
        lower[:, 1:, 0] = self.cov[:, 1:, 0] / lower[:, :1, 0]  # a product of large and small numbers in the update
        self.lower = lower

    @property
    def ell(self):
        """sqrt(S_xx/det): one over the last channel's deviation given the others."""
        return 1 / self.lower[:, -1, -1]

    @property
    def logdet(self):
        return 2 * self.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_density(self, centred):
        k, d = centred.shape[1:]
        return -d / 2 * (k * LOG_TAU + self.logdet) - (solve(self.lower, centred) ** 2).sum((1, 2)) / 2

    def score(self, centred):
        return -solve_transposed(self.lower, solve(self.lower, centred))

    def with_data(self, std):
        """The law of u_t for data N(., std^2)."""
        other = object.__new__(Kernel)
        other.phi, other.cov, other.lower = self.phi, self.cov, self.lower
        other.add(self.phi[:, :, 0] * std)
        return other


# The model of one entry, and its answers


class Model:
    def __init__(self, entry, dtype):
        def tensors(o):
            return {k: torch.tensor(v, dtype=dtype) if isinstance(v, (int, float)) and k != "order" else v for k, v in o.items()}

        p = tensors(entry["process"])
        self.schedule = SCHEDULES[p["schedule"]["kind"]](tensors(p["schedule"]))
        self.process = build(p, torch.ones((), dtype=dtype))
        self.initial = None if self.process.gamma is None else self.process.gamma * self.process.mass
        self.hsm = p["objective"] == "hsm"
        self.is_reversed = p["kind"] == "sscs-analytic"
        if self.is_reversed:
            self.process = self.process.reversed()
        self.k = self.process.channels
        self.noised = [i for i in range(self.k) if self.process.noise[i] > 0]

    def kernel(self, t, s=None, hsm=None):
        hybrid = self.hsm if hsm is None else hsm
        return Kernel(self.process, self.schedule, t, s, self.initial if hybrid else None)

    def noise(self, t):
        return self.process.noise_at(self.schedule.integral(torch.zeros_like(t), t))

    def drift(self, t, u, length=1.0):
        """Drift and the noise's deviation per channel, each over `length` of time."""
        b = self.schedule.rate(t) * length
        deviation = (self.noise(t) * b[:, None]).sqrt()[:, :, None] * torch.ones_like(u)
        return b[:, None, None] * (self.process.drift @ u), deviation

    def reverse(self, t, u, score, length=1.0, weight=1.0):
        """-F u + weight G G^T s, and the deviation."""
        forward, deviation = self.drift(t, u, length)
        b = self.schedule.rate(t) * length
        return weight * (self.noise(t) * b[:, None])[:, :, None] * self.spread(score) - forward, deviation

    def spread(self, score):
        """The score of the noised channels as that of all."""
        if score.shape[1] == self.k:
            return score
        out = score.new_zeros(score.shape[0], self.k, score.shape[2])
        out[:, self.noised] = score
        return out

    def em(self, t, s, u, score, noise=None):
        drift, deviation = self.reverse(t, u, score, t - s)
        return u + drift if noise is None else u + drift + deviation * noise

    def sscs(self, t, s, u, score, noises, twice=False):
        """Half a step of the analytic part, a kick by what the score has beyond the stationary law, half a step."""
        middle = (t + s) / 2
        reverse, precision = self.process.reversed(), torch.linalg.inv(self.process.stationary)

        def half(a, b, u, z):
            k = Kernel(reverse, self.schedule, b, a)
            return k.phi @ u + k.lower @ z

        u = half(middle, t, u, noises[0])
        kick = ((t - s) * self.schedule.rate(t))[:, None, None] * self.noise(t)[..., None]
        u = u + kick * (self.spread(score(u)) + precision @ u)
        return half(middle, t, u, noises[1]) if twice else half(s, middle, u, noises[1])

    def data_score(self, t, u, mean, std):
        """The exact score of normal data, in the noised channels."""
        k = self.kernel(t).with_data(std)
        return k.score(u - (k.phi[:, :, 0] * mean)[..., None])[:, self.noised]


CHANNELS = "xvaj"


def channels(a, k):
    return a.unflatten(-1, (k, -1))


def prior_factor(m, n, dtype):
    """Cholesky factor of the prior's covariance, n times."""
    horizon = m.schedule.integral(torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype))
    return torch.linalg.cholesky(m.process.prior(horizon)).expand(n, -1, -1)


def prior(m, u):
    """Log-density in all, and per channel where these are independent."""
    lower = prior_factor(m, len(u), u.dtype)
    each = -(solve(lower, u) ** 2).sum(-1) / 2 - u.shape[2] * (lower.diagonal(dim1=-2, dim2=-1).log() + LOG_TAU / 2)
    return {"log_density": each.sum(-1), **{f"log_density_{c}": each[:, i] for i, c in enumerate(CHANNELS[: m.k])}}


def kernel_answers(name, m, g):
    """Quantities of the kernel; `g` are the given arrays."""
    k = m.kernel(g["t"], g.get("s"))
    if name == "mean":
        return {"matrix": k.phi, "mean": k.phi @ g["u0"] if "u0" in g else None}
    if name == "cov" or name == "inverse":
        a = k.cov if name == "cov" else solve_transposed(k.lower, solve(k.lower, torch.eye(m.k, dtype=k.lower.dtype).expand_as(k.lower)))
        return {name: a, **{CHANNELS[i] + CHANNELS[j]: a[:, i, j] for i in range(m.k) for j in range(i, m.k)}}
    if name == "factor":
        return {"factor": k.lower}
    if name == "inverse_transpose_factor":
        return {"factor": solve_transposed(k.lower, torch.eye(m.k, dtype=k.lower.dtype).expand_as(k.lower))}
    if name == "det":
        return {"det": k.lower.diagonal(dim1=-2, dim2=-1).prod(-1) ** 2}
    if name in ("logdet", "ell"):
        return {name: getattr(k, name)}
    if name == "snr":
        return {"snr": (k.phi[:, 0, 0] / k.lower[:, 0, 0]) ** 2 if m.k == 1 or not m.hsm else k.phi[:, 0, 0] ** 2 / k.cov[:, 0, 0]}
    if name in ("std", "sigma", "logsnr"):
        largest = k.lower.abs().amax(-1, keepdim=True).clamp(min=TINY)  # squares of small numbers underflow, their ratios do not
        std = largest[..., 0] * ((k.lower / largest) ** 2).sum(-1).sqrt()
        if name == "std":
            return {c: std[:, i] for i, c in enumerate(CHANNELS[: m.k])}
        phi = k.phi[:, 0, 0]
        return {"sigma": std[:, 0] / phi, "logsnr": 2 * (phi.abs().log() - std[:, 0].log())}
    if name == "snr_joint":
        return {"snr_joint": (solve(k.lower, k.phi[:, :, :1]) ** 2).sum((1, 2))}
    if name == "perturb":
        return {"u_t": k.phi @ g["u0"] + k.lower @ g["noise"]}
    if name == "log_density":
        return {"log_density": k.log_density(g["u"] - k.phi @ g["u0"])}
    if name == "score":
        return {"score": k.score(g["u"] - k.phi @ g["u0"])}
    if name == "score_from_eps":
        return {"score": -solve_transposed(k.lower, g["eps"])}
    if name == "eps_from_score":
        return {"eps": -k.lower.transpose(-1, -2) @ g["score"]}
    return {"x0": (g["u"][:, 0] - k.lower[:, 0, 0, None] * g["eps"][:, 0]) / k.phi[:, 0, 0, None]}


def score_answers(name, m, g):
    """The parametrisations of the noised channel's score."""
    k = m.kernel(g["t"])
    ell = k.ell[:, None]
    if name in ("mixed", "net_from_score"):
        normal = -g["u"][:, -1] / m.kernel(g["t"], hsm=True).cov[:, -1, -1, None]
        if name == "mixed":
            return {"score": normal - ell * g["net_output"][:, 0]}
        return {"net_output": (normal - g["score"][:, 0]) / ell}
    if name == "score_from_eps":
        return {"score": -ell * g["eps"][:, 0]}
    if name == "eps_from_score":
        return {"eps": -g["score"][:, 0] / ell}
    rest, variance = g["u"][:, -1], k.lower[:, -1, -1, None] ** 2
    if m.k == 1:
        return {"x0": (rest + variance * g["score"][:, 0]) / k.phi[:, 0]}
    slope = (k.lower[:, 1, 0] / k.lower[:, 0, 0])[:, None]  # of v on x
    over = slope * k.phi[:, 0, :1] - k.phi[:, 1, :1]
    return {"x0": (slope * g["u"][:, 0] - rest - variance * g["score"][:, 0]) / over}


def loss(m, g, weighting):
    k, t, z = m.kernel(g["t"]), g["t"], g["noise"]
    v0 = torch.zeros_like(g["x0"]) if m.hsm else m.initial.sqrt() * g["v_noise"]
    u = k.phi @ torch.stack([g["x0"][:, 0], v0[:, 0]], 1) + k.lower @ z
    ell, s_vv = k.ell[:, None], m.kernel(t, hsm=True).cov[:, 1, 1, None]
    missed = ((z[:, 1] - g["net_output"][:, 0] - u[:, 1] / (s_vv * ell)) ** 2).sum(-1)
    half = m.schedule.rate(t) * m.noise(t)[..., -1] / 2
    return {"likelihood": half * k.ell**2, "reweightedv1": half, "reweightedv2": 1.0}[weighting] * missed


def run(name, m, g, entry):
    n, eps, u = entry["n_steps"], entry["eps"], g["u"]
    mean, std = g["data"]
    r = torch.arange(n, -1, -1, dtype=u.dtype) / n
    times = eps + (1 - eps) * (r * r if entry["striding"] == "quadratic" else r)
    times[0] = 1.0
    for i in range(n):
        t, s = times[i].expand(len(u)), times[i + 1].expand(len(u))
        if name == "em":
            u = m.em(t, s, u, m.data_score(t, u, mean, std), g["noise"][i])
        else:
            u = m.sscs(t, s, u, lambda u: m.data_score(t, u, mean, std), g["noise"][2 * i : 2 * i + 2])
    return {c: u[:, i] for i, c in enumerate(CHANNELS[: m.k])}


def mixture(m, g):
    k = m.kernel(g["t"])
    logs = []
    for w, mean, std in zip(g["weights"], g["means"], g["stds"]):
        logs.append(w.log() + k.with_data(std).log_density(g["u"] - k.phi[:, :, :1] * mean))
    return torch.logsumexp(torch.stack(logs), 0)


def answer(entry, g, dtype):
    """The outputs of one entry, each (n, ...)."""
    m = Model(entry, dtype)
    suite, name = entry["quantity"].split(".", 1)
    wide = {"u", "u0", "noise", "noise_1", "noise_2"}
    if suite == "kernel":
        wide |= {"eps", "score"}
    narrow = {"score", "eps", "net_output", "x0", "v_noise"} - wide
    noised = len(m.noised) if suite == "sampler" else 1
    g = {n: channels(a, m.k) if n in wide else channels(a, noised) if n in narrow else a for n, a in g.items()}
    t = g.get("t")
    if suite == "schedule":
        start = g.get("s", torch.zeros_like(t))
        return {"rate": m.schedule.rate(t)} if name == "rate" else {"integral": m.schedule.integral(start, t)}
    if suite == "kernel":
        return kernel_answers(name, m, g)
    if suite == "prior":
        return prior(m, g["u"]) if name == "log_density" else {"u": prior_factor(m, len(g["noise"]), dtype) @ g["noise"]}
    if suite == "process":
        return dict(zip(("drift", "diffusion"), m.drift(t, g["u"])))
    if suite == "score":
        return score_answers(name, m, g)
    if name == "weight.likelihood":
        return {"weight": m.schedule.rate(t) * m.noise(t)[..., m.noised[0]] / 2}
    if suite == "loss":
        return {"loss": loss(m, g, entry["weighting"])}
    if suite == "likelihood":
        return {"log_density": mixture(m, g)}
    if name == "reverse_drift":
        flow = entry["probability_flow"]
        drift, deviation = m.reverse(t, g["u"], g["score"], weight=0.5 if flow else 1.0)
        return {"drift": drift, "diffusion": torch.zeros_like(drift) if flow else deviation}
    if name.startswith("run."):
        return run(name[4:], m, g, entry)
    if name == "step.em":
        mean = m.em(t, g["s"], g["u"], g["score"])
        return {"u_mean": mean, "u_next": m.em(t, g["s"], g["u"], g["score"], g["noise"])}
    if name == "step.denoise":
        return {"u_next": m.em(t, g["s"], g["u"], g["score"])}
    twice = name.endswith("first-half-twice")
    return {"u_next": m.sscs(t, g["s"], g["u"], lambda u: g["score"], (g["noise_1"], g["noise_2"]), twice)}


def answers(folder, dtype=torch.float32, change=lambda entry: entry):
    """Answers to all entries, as tensors; `change` sees each entry first."""
    manifest = json.load(open(f"{folder}/manifest.json"))
    inputs = np.load(f"{folder}/inputs.npz")
    out = {}
    for entry in map(change, manifest["entries"]):
        if skipped(entry):
            continue
        given = {name: torch.from_numpy(inputs[array]).to(dtype) for name, array in entry["inputs"].items()}
        for name, value in answer(entry, given, dtype).items():
            if name in entry["outputs"]:
                whole = name in ("matrix", "factor", "cov", "inverse")
                out[entry["outputs"][name]] = value.flatten(1) if value.dim() == 3 and not whole else value
    return out


FAMILIES = ("schedule.", "process.", "prior.", "kernel.", "score.", "loss.", "sampler.run.", "sampler.step.sscs")
SINGLE = ("likelihood.mixture", "sampler.reverse_drift", "sampler.step.em", "sampler.step.denoise")
BEYOND = ("score.mixture",)


def skipped(entry):
    """What this example does not have: grids, forward and discrete steps, flow, bits; and what float32 cannot hold. Beyond two channels the factor's entries reach t^3.5, below what float32 holds, and with an initial variance v and the
    further channels are almost known from x: only mean and covariance are answered down to the earliest times, under DSM."""
    p, quantity = entry["process"], entry["quantity"]
    if quantity in BEYOND or not (quantity.startswith(FAMILIES) or quantity in SINGLE):
        return True
    if p.get("order", 2) <= 2 or not quantity.startswith("kernel."):
        return False
    return p["objective"] == "hsm" or quantity not in ("kernel.mean", "kernel.cov", "kernel.snr")


def save(folder, arrays, dtype="float32"):
    np.savez(f"{folder}/answers.npz", **{name: value.numpy().astype(dtype) for name, value in arrays.items()})
    print(f"{len(arrays)} arrays written to {folder}/answers.npz")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="where `cld vectors` wrote")
    parser.add_argument("--dtype", choices=["float32", "float64", "float16"], default="float32", help="float16: float32's answers, rounded")
    args = parser.parse_args()
    save(args.folder, answers(args.folder, torch.float64 if args.dtype == "float64" else torch.float32), args.dtype)


if __name__ == "__main__":
    main()
