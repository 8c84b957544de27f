"""A CLD in jax, float32, judged by one call, and its sampler by its exact law.

usage: python jax_check.py
"""

import jax
import jax.numpy as jnp

import cld_sgm

M, G = 0.25, 0.04


@jax.jit
def cov(t):
    """The printed formulas: their digits cancel as t goes to 0."""
    b, e = 4 * t, jnp.exp(-16 * t)
    xx = 1 - e * (1 + 4 * b + 8 * b**2) + 16 * b**2 * e * G * M
    xv = 4 * b**2 * e + 4 * b * (1 - 2 * b) * e * G * M
    vv = M * (1 - e * (1 - 4 * b + 8 * b**2)) + (1 - 2 * b) ** 2 * e * G * M
    return xx, xv, vv


@jax.jit
def reverse_drift(x, v, t, score):
    return -4 * v / M, 4 * (x + v / M + 2 * score)


def em_step(key, u, t, dt, score_fn):
    x, v = jnp.split(u, 2, axis=1)
    dx, dv = reverse_drift(x, v, t, score_fn(u, t))
    return jnp.concatenate([x + dt * dx, v + dt * dv + jnp.sqrt(8 * dt) * jax.random.normal(key, v.shape)], axis=1)


process = cld_sgm.CLD(mass=M, gamma=G, beta=4.0)
report = cld_sgm.check({"cov": cov, "reverse_drift": reverse_drift}, process, dtype="float32")
print(report)
assert [c.id for c in report.causes] == ["single-precision-cancellation"] and "reverse_drift" in report.right
sampler = cld_sgm.check_sampler(em_step, process, framework="jax")
print(sampler)
assert sampler.ok and sampler.same_as == ["em"]
