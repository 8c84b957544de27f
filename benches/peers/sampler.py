"""1e5 points of the two-dimensional mixture by 500 SSCS steps with the exact score, in PyTorch: the same work as the last lines of
`cargo bench --bench sampler -- --summary`, to be run beside it. All coefficients are computed before the clock starts.

usage: pip install -r benches/peers/requirements.txt; python3 benches/peers/sampler.py
"""
import os
import time

import torch

N, STEPS, EPS = 100_000, 500, 1e-3
MASS, FRICTION, BETA, GAMMA = 0.25, 1.0, 4.0, 0.04
WEIGHTS = [0.1, 0.3, 0.25, 0.2, 0.15]
MEANS = [[1.2, -1.1], [0.3, -0.1], [-1.1, -1.0], [-1.0, 1.2], [1.3, 1.1]]
FACTORS = [[0.2, 0.3, 0.15], [0.25, 0.35, 0.2], [0.3, 0.0, 0.2], [0.15, -0.2, 0.1], [0.1, 0.05, 0.25]]

wide = torch.float64
w = torch.tensor(WEIGHTS, dtype=wide)
mu = torch.tensor(MEANS, dtype=wide)
low = torch.tensor([[[a, 0.0], [b, c]] for a, b, c in FACTORS], dtype=wide)
sigma = low @ low.transpose(1, 2)
stationary = torch.diag(torch.tensor([1.0, MASS], dtype=wide))
forward = torch.tensor([[0.0, 1 / MASS], [-1.0, -FRICTION / MASS]], dtype=wide)
backward = torch.tensor([[0.0, -1 / MASS], [1.0, -FRICTION / MASS]], dtype=wide)


def transition(drift, tau):
    """Mean and covariance of a linear SDE with this stationary law after tau."""
    phi = torch.matrix_exp(drift * tau)
    phi = phi.contiguous()
    return phi, stationary - phi @ stationary @ phi.T


def plan(dtype):
    r = torch.arange(STEPS, -1, -1, dtype=wide) / STEPS
    times = EPS + (1 - EPS) * r * r
    start = torch.diag(torch.tensor([0.0, GAMMA * MASS], dtype=wide))
    steps = []
    for t, s in zip(times[:-1], times[1:]):
        phi, q = transition(forward, BETA * t)
        # channels outside, coordinates inside: (x1, x2, v1, v2)
        noise = torch.kron(q + phi @ start @ phi.T, torch.eye(2, dtype=wide))
        column = torch.kron(phi[:, :1].contiguous(), torch.eye(2, dtype=wide))
        cov = noise + column @ sigma @ column.T
        inverse = torch.linalg.inv(cov)
        centre = mu @ column.T
        offset = torch.log(w) - 0.5 * torch.logdet(cov)
        half, spread = transition(backward, BETA * (t - s) / 2)
        root = torch.linalg.cholesky(spread)
        full = lambda m: torch.kron(m.contiguous(), torch.eye(2, dtype=wide)).T.contiguous()
        gain = float(2 * FRICTION * BETA * (t - s))
        # whitened: log-density of a component is -|W (u - m)|^2 / 2; W = L^-1
        white = torch.linalg.cholesky(inverse).transpose(1, 2)
        shift = (white @ centre[:, :, None])[:, :, 0].reshape(-1)
        matrices = (full(half), full(root), white.reshape(-1, 4).T.contiguous(), shift, offset, inverse[:, 2:, :].reshape(-1, 4).T.contiguous(),
                    (inverse[:, 2:, :] @ centre[:, :, None])[:, :, 0].reshape(-1))
        steps.append(([m.to(dtype) for m in matrices], gain))
    return steps


def sample(steps, dtype):
    u = torch.randn(N, 4, dtype=dtype) * torch.tensor([1.0, 1.0, MASS**0.5, MASS**0.5], dtype=dtype)
    xi = torch.empty_like(u)
    for (half, root, white, shift, offset, rows, constant), gain in steps:
        u = torch.addmm(u @ half, xi.normal_(), root)
        z = (u @ white - shift).view(N, 5, 4)
        share = torch.softmax(offset - 0.5 * (z * z).sum(2), 1)
        score = -(share[:, :, None] * (u @ rows - constant).view(N, 5, 2)).sum(1)
        u[:, 2:] += gain * (score + u[:, 2:] / MASS)
        u = torch.addmm(u @ half, xi.normal_(), root)
    return u[:, :2]


print(f"{os.cpu_count()} cores, torch {torch.__version__}")
with torch.no_grad():
    for dtype in (torch.float64, torch.float32):
        steps = plan(dtype)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seconds = []
            for _ in range(3):
                begin = time.perf_counter()
                x = sample(steps, dtype)
                seconds.append(time.perf_counter() - begin)
            print(f"{dtype} {threads} threads: {min(seconds):.2f} s", flush=True)
        # the right law: mean and covariance of the mixture
        mean = w @ mu
        cov = (w[:, None, None] * (sigma + mu[:, :, None] * mu[:, None, :])).sum(0) - torch.outer(mean, mean)
        off = max(float((x.to(wide).mean(0) - mean).abs().max()), float((torch.cov(x.to(wide).T) - cov).abs().max()))
        print(f"largest error of mean and covariance: {off:.3f} (scatter of {N} points: about 0.01)", flush=True)
