"""Critically damped CLD as one would write it, by forms that do not cancel: right in float64 and float32, in numpy, torch and jax.

Independent of the package: nothing here is imported from it. M = 1/4, Gamma = 1, gamma = 0.04, b(t) = 0.1 + 19.9 t.
"""

import math


class Right:
    mass, gamma, b0, b1 = 0.25, 0.04, 0.1, 19.9
    weighting = "reweightedv2"

    def __init__(self, xp):
        self.xp = xp
        self.cat = xp.cat if hasattr(xp, "cat") else xp.concatenate

    def join(self, x, v):
        return self.cat([x, v], 1)

    @staticmethod
    def split(u):
        return u[:, : u.shape[1] // 2], u[:, u.shape[1] // 2 :]

    # schedule

    def beta(self, t):
        return self.b0 + self.b1 * t

    def between(self, s, t):
        return (t - s) * (self.b0 + self.b1 / 2 * (t + s))

    def integral(self, t):
        return self.between(0 * t, t)

    # kernel

    def p3(self, y):
        """1 - exp(-y)(1 + y + y^2/2), by its series of positive terms where that would cancel."""
        small = 1 + 0 * y
        for k in range(30, 0, -1):
            small = 1 + small * y / (k + 3)
        e = self.xp.exp(-y)
        return self.xp.where(y < 3, e * y**3 / 6 * small, 1 - e * (1 + y + y * y / 2))

    def entries(self, tau, sign=1):
        """Mean xx, xv, vx, vv and DSM covariance xx, xv, vv; sign -1: the analytic part of SSCS."""
        m = self.mass
        z = tau / math.sqrt(m)
        e, e2 = self.xp.exp(-z), self.xp.exp(-2 * z)
        p = self.p3(2 * z)
        return (
            (e * (1 + z), sign * e * tau / m, -sign * e * tau, e * (1 - z)),
            (p, sign * math.sqrt(m) * 2 * z * z * e2, m * (p + 4 * z * e2)),
        )

    def initial(self):
        return self.gamma * self.mass

    def cov(self, t):
        (_, fx, _, fv), (xx, xv, vv) = self.entries(self.integral(t))
        g = self.initial()
        return xx + g * fx * fx, xv + g * fx * fv, vv + g * fv * fv

    def det(self, t):
        (_, fx, _, fv), (xx, xv, vv) = self.entries(self.integral(t))
        return (xx * vv - xv * xv) + self.initial() * (vv * fx * fx - 2 * xv * fx * fv + xx * fv * fv)

    def cholesky(self, t):
        xx, xv, _ = self.cov(t)
        return xx**0.5, xv / xx**0.5, (self.det(t) / xx) ** 0.5

    def log_det(self, t):
        return self.xp.log(self.det(t))

    def ell(self, t):
        return 1 / self.cholesky(t)[2]

    def std(self, t):
        xx, _, vv = self.cov(t)
        return xx**0.5, vv**0.5

    def mean(self, x0, t):
        (mxx, _, mvx, _), _ = self.entries(self.integral(t))
        return self.join(mxx[:, None] * x0, mvx[:, None] * x0)

    def perturb(self, x0, noise, t):
        lxx, lvx, lvv = (f[:, None] for f in self.cholesky(t))
        ex, ev = self.split(noise)
        return self.mean(x0, t) + self.join(lxx * ex, lvx * ex + lvv * ev)

    def whiten(self, u, x0, t):
        lxx, lvx, lvv = (f[:, None] for f in self.cholesky(t))
        x, v = self.split(u - self.mean(x0, t))
        return x / lxx, (v - lvx * (x / lxx)) / lvv

    def log_prob(self, u, x0, t):
        a, b = self.whiten(u, x0, t)
        lxx, _, lvv = self.cholesky(t)
        d = x0.shape[1]
        return -0.5 * ((a * a).sum(1) + (b * b).sum(1)) - d * (math.log(2 * math.pi) + self.xp.log(lxx) + self.xp.log(lvv))

    # scores and the loss

    def score_from_eps(self, eps, t):
        return -self.ell(t)[:, None] * eps

    def mixed_score(self, u, net_output, t):
        return -self.split(u)[1] / self.cov(t)[2][:, None] - self.ell(t)[:, None] * net_output

    def weight(self, t):
        return self.beta(t)

    def loss(self, x0, noise, t, net_output, weighting):
        u = self.perturb(x0, noise, t)
        ell = self.ell(t)[:, None]
        inner = self.split(noise)[1] - net_output - self.split(u)[1] / (self.cov(t)[2][:, None] * ell)
        square = (inner * inner).sum(1)
        if weighting == "reweightedv2":
            return square
        return self.weight(t) * square * (self.ell(t) ** 2 if weighting == "likelihood" else 1)

    # the SDE and its samplers

    def drift(self, x, v, t):
        b = self.beta(t)[:, None]
        return b * v / self.mass, -b * (x + 4 * v)

    def prior_logp(self, u):
        x, v = self.split(u)
        return -0.5 * ((x * x).sum(1) + (v * v).sum(1) / self.mass) - x.shape[1] * (math.log(2 * math.pi) + 0.5 * math.log(self.mass))

    def reverse_drift(self, x, v, t, score):
        b = self.beta(t)[:, None]
        return -b * v / self.mass, b * (x + 4 * v + 2 * score)

    def flow_drift(self, x, v, t, score):
        b = self.beta(t)[:, None]
        return -b * v / self.mass, b * (x + 4 * v + score)

    def noise_size(self, t, dt):
        return (2 * self.beta(t) * dt)[:, None] ** 0.5

    def em_step(self, x, v, t, s, score_fn, noise):
        dx, dv = self.reverse_drift(x, v, t, score_fn(x, v, self.score_time(t, s)))
        dt = t - s
        return x + dt[:, None] * dx, v + dt[:, None] * dv + self.noise_size(t, dt) * self.split(noise)[1]

    @staticmethod
    def score_time(t, s):
        return t

    def half(self, x, v, s, t, noise):
        (mxx, mxv, mvx, mvv), (xx, xv, vv) = self.entries(self.between(s, t), -1)
        ex, ev = self.split(noise)
        lxx = xx**0.5
        lvv = ((xx * vv - xv * xv) / xx) ** 0.5
        c = lambda a: a[:, None]  # noqa: E731
        return c(mxx) * x + c(mxv) * v + c(lxx) * ex, c(mvx) * x + c(mvv) * v + c(xv / lxx) * ex + c(lvv) * ev

    def halves(self, t, s):
        return (s + t) / 2, t, s, (s + t) / 2

    def sscs_step(self, x, v, t, s, score_fn, noise_1, noise_2):
        from_1, to_1, from_2, to_2 = self.halves(t, s)
        x, v = self.half(x, v, from_1, to_1, noise_1)
        v = v + (2 * self.beta(t) * (t - s))[:, None] * (score_fn(x, v, t) + v / self.mass)
        return self.half(x, v, from_2, to_2, noise_2)


class MassInverted(Right):
    mass = 4.0


class EpsilonAdded(Right):
    def cov(self, t):
        xx, xv, vv = super().cov(t)
        return xx + 1e-6, xv, vv + 1e-6

    def cholesky(self, t):
        xx, xv, vv = self.cov(t)
        return xx**0.5, xv / xx**0.5, (vv - xv * xv / xx) ** 0.5

    det = log_det = None


class DsmForHsm(Right):
    gamma = 0.0


class GammaNotTimesMass(Right):
    def initial(self):
        return self.gamma

    mixed_score = loss = None


class BetaHalf(Right):
    b0, b1 = 0.05, 9.95


class CouplingReversed(Right):
    def cov(self, t):
        xx, xv, vv = super().cov(t)
        return xx, -xv, vv


class UpperFactor(Right):
    def cholesky(self, t):
        """The upper one, row by row."""
        xx, xv, vv = self.cov(t)
        return (self.det(t) / vv) ** 0.5, xv / vv**0.5, 0 * xv, vv**0.5

    ell = perturb = log_prob = mixed_score = score_from_eps = loss = None


class EllOfMarginal(Right):
    def ell(self, t):
        return self.cov(t)[2] ** -0.5


class HalfKick(Right):
    def reverse_drift(self, x, v, t, score):
        return self.flow_drift(x, v, t, score)


class ForwardDrift(Right):
    def reverse_drift(self, x, v, t, score):
        dx, dv = super().reverse_drift(x, v, t, score)
        return -dx, -dv


class NoiseWithDt(Right):
    def noise_size(self, t, dt):
        return (2 * self.beta(t))[:, None] ** 0.5 * dt[:, None]


class ScoreAtEnd(Right):
    @staticmethod
    def score_time(t, s):
        return s


class FirstHalfTwice(Right):
    def halves(self, t, s):
        middle = (s + t) / 2
        return middle, t, middle, t


class PriorVarianceOne(Right):
    def prior_logp(self, u):
        return -0.5 * (u * u).sum(1) - u.shape[1] / 2 * math.log(2 * math.pi)


class WithoutConstant(Right):
    def log_prob(self, u, x0, t):
        a, b = self.whiten(u, x0, t)
        return -0.5 * ((a * a).sum(1) + (b * b).sum(1))


class LikelihoodWeight(Right):
    def weight(self, t):
        return 2 * self.beta(t)


class ChannelOrder(Right):
    def perturb(self, x0, noise, t):
        x, v = self.split(super().perturb(x0, noise, t))
        return self.join(v, x)


class BetaMaxAsSlope(Right):
    b1 = 20.0


class IntegralWithoutHalf(Right):
    def integral(self, t):
        return self.beta(t) * t


#: Each mistake, what it is meant to be caught as, and what the test of it catches.
PLANTED = [
    (MassInverted, "mass-inverted"),
    (EpsilonAdded, "epsilon-added"),
    (DsmForHsm, "dsm-for-hsm"),
    (GammaNotTimesMass, "gamma-not-times-mass"),
    (BetaHalf, "beta-half"),
    (CouplingReversed, "xv-sign"),
    (UpperFactor, "other-cholesky-factor"),
    (EllOfMarginal, "ell-of-marginal"),
    (HalfKick, "half-kick"),
    (ForwardDrift, "reverse-sign"),
    (NoiseWithDt, "noise-without-sqrt-dt"),
    (ScoreAtEnd, "score-at-end-of-step"),
    (FirstHalfTwice, "second-half-step"),
    (PriorVarianceOne, "prior-variance-one"),
    (WithoutConstant, "density-without-constant"),
    (LikelihoodWeight, "likelihood-weight"),
    (ChannelOrder, "channel-order"),
    (BetaMaxAsSlope, "beta-max-as-slope"),
    (IntegralWithoutHalf, "integral-without-half"),
]
