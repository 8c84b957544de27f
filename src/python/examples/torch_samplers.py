"""Two samplers in PyTorch in natural style, judged by their exact law: the first is right, the second forgets a term.

usage: python torch_samplers.py
"""

import math

import torch

import cld_sgm

M = 0.25


def beta(t):
    return 0.1 + 19.9 * t


def em_step(u, t, dt, score_fn):
    """Euler-Maruyama from t to t - dt; the noise is drawn inside."""
    x, v = u.chunk(2, dim=1)
    b = beta(t)
    dv = b * (x + v / M + 2 * score_fn(u, t))
    return torch.cat([x - dt * b * v / M, v + dt * dv + (2 * b * dt) ** 0.5 * torch.randn_like(v)], dim=1)


def half(x, v, s, t):
    """The analytic half step of SSCS from t to s."""
    tau = (t - s) * (0.1 + 19.9 / 2 * (t + s))
    z = tau / math.sqrt(M)
    e, e2 = math.exp(-z), math.exp(-2 * z)
    xx = 1 - e2 * (1 + 2 * z + 2 * z * z)
    xv = -math.sqrt(M) * 2 * z * z * e2
    vv = M * (xx + 4 * z * e2)
    ex, ev = torch.randn_like(x), torch.randn_like(v)
    mx = e * (1 + z) * x - e * tau / M * v
    mv = e * tau * x + e * (1 - z) * v
    return mx + xx**0.5 * ex, mv + xv / xx**0.5 * ex + (vv - xv * xv / xx) ** 0.5 * ev


def sscs_step(x, v, t, s, score_fn):
    """SSCS, but the kick is the whole score: + v / M is missing."""
    middle = (t + s) / 2
    x, v = half(x, v, middle, t)
    v = v + 2 * beta(t) * (t - s) * score_fn(x, v, t)
    return half(x, v, s, middle)


process = cld_sgm.CLD(mass=M, gamma=0.04, beta=(0.1, 20.0))
right = cld_sgm.check_sampler(em_step, process)
# its order settles late
wrong = cld_sgm.check_sampler(sscs_step, process, seconds=100)
print(right, wrong, sep="\n\n")
assert right.ok and right.same_as == ["em"]
assert not wrong.ok and "the term + v / M" in wrong.findings[0]
