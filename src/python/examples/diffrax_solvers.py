"""diffrax's solvers on the reverse SDE of CLD, judged by their exact law.

usage: pip install diffrax; python diffrax_solvers.py

A solver of diffrax is stepped by hand, with the Brownian path replaced by one whose increments (and, for ShARK and its like, space-time
Levy areas) are the normals that `check_sampler` hands over. So its law on the reverse diffusion is read off to the last digit.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

import cld_sgm

jax.config.update("jax_enable_x64", True)

MASS, B0, B1 = 0.25, 0.1, 19.9


class Path(diffrax.AbstractBrownianPath):
    """A Brownian path over one step, given by normals (n, 1): of its increment, and of its space-time area."""

    w: jax.Array
    e: jax.Array
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    @property
    def t0(self):
        return None

    @property
    def t1(self):
        return None

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        h = t1 - t0
        # of (x, v) v alone has noise
        both = lambda a: jnp.concatenate([jnp.zeros_like(a), a], 1)  # noqa: E731
        w = both(jnp.sqrt(h) * self.w)
        if not use_levy:
            return w
        if self.levy_area is diffrax.BrownianIncrement:
            return diffrax.BrownianIncrement(dt=h, W=w)
        return diffrax.SpaceTimeLevyArea(dt=h, W=w, H=both(jnp.sqrt(h / 12) * self.e))


def step_of(solver, space_time):
    """A step as `check_sampler` calls it: from t down to s, that is, from 1 - t to 1 - s on diffrax's clock."""

    @eqx.filter_jit
    def compiled(u, t, s, score, w, e):
        def drift(tau, y, args):
            t = 1 - tau
            b, x, v = B0 + B1 * t, y[:, :1], y[:, 1:]
            return b * jnp.concatenate([-v / MASS, x + 4 * v + 2 * score(y, t)], 1)

        def diffusion(tau, y, args):
            size = jnp.sqrt(2 * (B0 + B1 * (1 - tau)))
            return lx.DiagonalLinearOperator(jnp.broadcast_to(size, y.shape))

        kind = diffrax.SpaceTimeLevyArea if space_time else diffrax.BrownianIncrement
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, Path(w, e, kind)))
        state = solver.init(terms, 1 - t, 1 - s, u, None)
        return solver.step(terms, 1 - t, 1 - s, u, None, state, made_jump=False)[0]

    def step(u, t, s, score, normal):
        w = jnp.asarray(normal((len(u), 1)))
        e = jnp.asarray(normal((len(u), 1))) if space_time else jnp.zeros_like(w)
        return compiled(jnp.asarray(u), jnp.asarray(t), jnp.asarray(s), score, w, e)

    return step


SOLVERS = {
    # name: solver, takes space-time areas
    "Euler": (diffrax.Euler(), False),
    "ShARK": (diffrax.ShARK(), True),
    "SEA": (diffrax.SEA(), True),
}


def judge(name, seconds=30.0):
    solver, space_time = SOLVERS[name]
    process = cld_sgm.CLD(mass=MASS, gamma=0.04, beta=(B0, B0 + B1))
    path = "space-time" if space_time else "increments"
    return cld_sgm.check_sampler(step_of(solver, space_time), process, framework="jax", path=path, seconds=seconds)


if __name__ == "__main__":
    for name in SOLVERS:
        print(f"diffrax.{name}\n{judge(name)}\n")
