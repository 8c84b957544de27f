"""The further functions of the protocol: each by an implementation of its definition, right and with a mistake planted; the table of the docs."""

import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from implementations import Right

import cld_sgm
from cld_sgm import _protocol

CLD = cld_sgm.CLD(mass=0.25, gamma=0.04, beta=(0.1, 20.0))
VP = cld_sgm.VP(0.1, 20.0)
c = lambda a: a[:, None]  # noqa: E731


class Further(Right):
    """On top of :class:`Right`: kernels over [s, t], forward steps, conversions, runs."""

    def __init__(self):
        super().__init__(np)

    def integral_between(self, s, t):
        return self.between(s, t)

    def mean_between(self, s, t):
        (xx, xv, vx, vv), _ = self.entries(self.between(s, t))
        return np.stack([np.stack([xx, xv], 1), np.stack([vx, vv], 1)], 1)

    def cov_between(self, s, t):
        return self.entries(self.between(s, t))[1]

    def cholesky_between(self, s, t):
        xx, xv, vv = self.cov_between(s, t)
        return xx**0.5, xv / xx**0.5, ((xx * vv - xv * xv) / xx) ** 0.5

    def inverse_transpose(self, t):
        a, b, d = self.cholesky(t)
        return np.stack([np.stack([1 / a, -b / (a * d)], 1), np.stack([0 * a, 1 / d], 1)], 1)

    def snr_joint(self, t):
        (px, _, pv, _), _ = self.entries(self.integral(t))
        a, b, d = self.cholesky(t)
        return (px / a) ** 2 + ((pv - b * px / a) / d) ** 2

    def forward_em_step(self, x, v, s, t, noise):
        h = c(t - s)
        dx, dv = self.drift(x, v, s)
        return x + h * dx, v + h * dv + (2 * c(self.beta(s)) * h) ** 0.5 * self.split(noise)[1]

    def forward_step(self, u, s, t, noise):
        m, (a, b, d) = self.mean_between(s, t), self.cholesky_between(s, t)
        (x, v), (e, f) = self.split(u), self.split(noise)
        return self.join(c(m[:, 0, 0]) * x + c(m[:, 0, 1]) * v + c(a) * e, c(m[:, 1, 0]) * x + c(m[:, 1, 1]) * v + c(b) * e + c(d) * f)

    def eps_from_score(self, score, t):
        return -score / c(self.ell(t))

    def net_from_score(self, u, score, t):
        return -(score + self.split(u)[1] / c(self.cov(t)[2])) / c(self.ell(t))

    def precision(self, t):
        xx, xv, vv = self.cov(t)
        det = self.det(t)
        return vv / det, -xv / det, xx / det

    def x0_from_score(self, u, score, t):
        (px, _, pv, _), _ = self.entries(self.integral(t))
        _, b, d = self.precision(t)
        x, v = self.split(u)
        return (c(b) * x + c(d) * v + score) / c(b * px + d * pv)

    def joint_score_from_eps(self, eps, t):
        w = self.inverse_transpose(t)
        e, f = self.split(eps)
        return -self.join(c(w[:, 0, 0]) * e + c(w[:, 0, 1]) * f, c(w[:, 1, 1]) * f)

    def joint_eps_from_score(self, score, t):
        a, b, d = self.cholesky(t)
        x, v = self.split(score)
        return -self.join(c(a) * x + c(b) * v, c(d) * v)

    def x0_from_eps(self, u, eps, t):
        px = self.entries(self.integral(t))[0][0]
        return (self.split(u)[0] - c(self.cholesky(t)[0]) * self.split(eps)[0]) / c(px)

    def mixture(self, u, t, weights, means, stds):
        (px, _, pv, _), _ = self.entries(self.integral(t))
        x, v = self.split(u)
        logs, slopes = [], []
        for w, m, s in zip(weights, means, stds):
            xx, xv, vv = self.cov(t)
            xx, xv, vv = xx + s * s * px * px, xv + s * s * px * pv, vv + s * s * pv * pv
            det = xx * vv - xv * xv
            a, b = x - c(px) * m, v - c(pv) * m
            sx, sv = -(c(vv / det) * a - c(xv / det) * b), -(c(xx / det) * b - c(xv / det) * a)
            logs.append(math.log(w) - 2 * math.log(2 * math.pi) - np.log(det) + 0.5 * (a * sx + b * sv).sum(1))
            slopes.append(self.join(sx, sv))
        return np.stack(logs), np.stack(slopes)

    def mixture_log_prob(self, u, t, weights, means, stds):
        return np.logaddexp.reduce(self.mixture(u, t, weights, means, stds)[0])

    def mixture_score(self, u, t, weights, means, stds):
        logs, slopes = self.mixture(u, t, weights, means, stds)
        share = np.exp(logs - np.logaddexp.reduce(logs))
        return (share[:, :, None] * slopes).sum(0)

    def times(self, n_steps, eps, striding):
        r = 1 - np.arange(n_steps + 1) / n_steps
        return eps + (1 - eps) * (r if striding == "linear" else r**2)

    def em_run(self, u, score_fn, noise, n_steps, eps, striding):
        x, v = self.split(u)
        t = self.times(n_steps, eps, striding)
        for i in range(n_steps):
            now, later = np.full(len(u), t[i]), np.full(len(u), t[i + 1])
            x, v = self.em_step(x, v, now, later, lambda x, v, t: score_fn(self.join(x, v), t), noise[i])
        return self.join(x, v)

    def sscs_run(self, u, score_fn, noise, n_steps, eps, striding):
        x, v = self.split(u)
        t = self.times(n_steps, eps, striding)
        for i in range(n_steps):
            now, later = np.full(len(u), t[i]), np.full(len(u), t[i + 1])
            x, v = self.sscs_step(x, v, now, later, lambda x, v, t: score_fn(self.join(x, v), t), noise[2 * i], noise[2 * i + 1])
        return self.join(x, v)


GRIDS = {
    "grid_linear": lambda n_steps, eps: 1 + (eps - 1) * np.arange(n_steps + 1) / n_steps,
    "grid_quadratic": lambda n_steps, eps: eps + (1 - eps) * (1 - np.arange(n_steps + 1) / n_steps) ** 2,
    "grid_power": lambda n_steps, eps, power: (1 + (eps ** (1 / power) - 1) * np.arange(n_steps + 1) / n_steps) ** power,
    "grid_karras": lambda n_steps, sigma_min, sigma_max, rho: (
        (sigma_max ** (1 / rho) + np.arange(n_steps) / (n_steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    ),
    "bits_per_dim": lambda log_density, dim, levels: -log_density / (dim * math.log(2)) + math.log2(levels) - 1,
    "dequantise": lambda values, uniform, levels: 2 * (values + uniform) / levels - 1,
}


class Chains:
    """DDPM, DDIM and the score SDE's steps, from their papers, for VP."""

    @staticmethod
    def tau(s, t):
        return (t - s) * (0.1 + 9.95 * (t + s))

    def parts(self, t, s):
        return np.exp(-self.tau(0 * s, t) / 2), -np.expm1(-self.tau(0 * s, t)), np.exp(-self.tau(0 * s, s) / 2), -np.expm1(-self.tau(0 * s, s)), -np.expm1(-self.tau(s, t))

    def ddpm_step(self, x, t, s, score, noise, variance):
        _, vt, _, vs, q = self.parts(t, s)
        mean = (x + c(q) * score) / c(np.exp(-self.tau(s, t) / 2))
        return mean + c(q * vs / vt if variance == "small" else q) ** 0.5 * noise

    def ddim_step(self, x, t, s, score, noise, eta):
        mt, vt, ms, vs, q = self.parts(t, s)
        eps = -c(vt**0.5) * score
        x0 = (x - c(vt**0.5) * eps) / c(mt)
        sigma2 = eta**2 * q * vs / vt
        return c(ms) * x0 + c(vs - sigma2) ** 0.5 * eps + c(sigma2) ** 0.5 * noise

    def ancestral_step(self, x, t, s, score, noise):
        beta = c((0.1 + 19.9 * t) * (t - s))
        return (x + beta * score) / (1 - beta) ** 0.5 + beta**0.5 * noise

    def reverse_diffusion_step(self, x, t, s, score, noise):
        beta = c((0.1 + 19.9 * t) * (t - s))
        return (2 - (1 - beta) ** 0.5) * x + beta * score + beta**0.5 * noise

    def grid_logsnr(self, n_steps, eps):
        log_snr = lambda t: -self.tau(0, t) - math.log(-math.expm1(-self.tau(0, t)))  # noqa: E731
        out = []
        for level in np.linspace(log_snr(1.0), log_snr(eps), n_steps + 1):
            tau = math.log1p(math.exp(-level))
            out.append(2 * tau / (0.1 + math.sqrt(0.01 + 4 * 9.95 * tau)))
        return np.array(out)


OWN = [name for name in vars(Further) if name in _protocol.BY_NAME]


def test_right_ones_pass():
    """Catches an argument, an order, a setting or an output of a further function that is handed over or read as another."""
    report = cld_sgm.check(Further(), CLD, t_min=1e-4)
    assert report.ok and {*OWN} <= {*report.right}, report
    report = cld_sgm.check(GRIDS, CLD)
    assert report.ok and {*GRIDS} == {*report.right}, report
    report = cld_sgm.check(Chains(), VP, t_min=1e-3)
    assert report.ok and len(report.right) == 5, report


@pytest.mark.parametrize("name", [*OWN, *GRIDS, *(n for n in vars(Chains) if n in _protocol.BY_NAME)])
def test_a_wrong_one_is_off(name):
    """Catches a further function that passes whatever it returns: each is a thousandth too large."""
    right, process = (GRIDS[name], CLD) if name in GRIDS else (getattr(Further(), name), CLD) if name in OWN else (getattr(Chains(), name), VP)

    def larger(value):
        return tuple(1.001 * v for v in value) if isinstance(value, tuple) else 1.001 * value

    def wrong(*arguments, **named):
        return larger(right(*arguments, **named))

    wrong.__signature__ = __import__("inspect").signature(right)
    report = cld_sgm.check({name: wrong}, process, t_min=1e-3)
    assert not report.ok and name in report.off, report


def test_every_function_is_tried_here_or_there():
    """Catches a function of the protocol that no test answers."""
    elsewhere = {f.name for f in _protocol.FUNCTIONS if hasattr(Right, f.name)} | {"inverse", "sigma", "snr", "log_snr", "score", "diffusion", "sde", "prior_sample", "denoise"}
    assert {f.name for f in _protocol.FUNCTIONS} == elsewhere | {*OWN} | {*GRIDS} | {n for n in vars(Chains) if n in _protocol.BY_NAME}


def test_steps_forward_may_have_a_length():
    """Catches a forward step over dt that is handed its end for its start."""
    right = Further()
    code = {"forward_step": lambda u, t, dt, noise: right.forward_step(u, t, t + dt, noise)}
    report = cld_sgm.check(code, CLD, t_min=1e-2)
    assert report.ok and set(report.right) == {"forward_step"}, report


def test_the_table_of_the_docs():
    """Catches a table that is not the protocol: a function missing, or of another argument."""
    page = (pathlib.Path(__file__).parents[3] / "docs" / "guide" / "cross-check.md").read_text()
    assert _protocol.table() in page, "write cld_sgm._protocol.table() into docs/guide/cross-check.md"


def test_what_is_saved_is_judged_the_same(tmp_path):
    """Catches answers that are lost or changed when they are written, and a command of the report that does not run."""
    naive = {"cov": lambda t: 1 - np.exp(-(0.1 * t + 9.95 * t**2)), "ell": VP.ell}
    report = cld_sgm.check(naive, VP, dtype="float32")
    report.save(tmp_path / "answers.json")
    command = lambda *a: subprocess.run([sys.executable, "-m", "cld_sgm._command", *a], cwd=tmp_path, capture_output=True, text=True)  # noqa: E731
    again = command("check", "answers.json", "--plain")
    assert again.returncode == 1 and not again.stderr, again
    # but for the title
    assert again.stdout.split("\n")[1:-3] == report.text(80, plain=True).split("\nHow they were called")[0].split("\n")[1 : len(again.stdout.split("\n")) - 3]
    see = report.details["diagnoses"][0]["shown"]["see"]
    shown = command(*see.split()[1:])
    assert shown.returncode == 0 and "right" in shown.stdout, shown
    with pytest.raises(ValueError, match="parameter `path` is 'a.txt'; allowed: a name that ends in .json"):
        report.save("a.txt")
