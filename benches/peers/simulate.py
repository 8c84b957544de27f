"""Path-steps per second of CLD under Euler-Maruyama, in PyTorch, JAX, torchsde and diffrax: the same work as
`cargo bench --bench simulate`, to be run beside it. The two libraries get fewer paths: they are slower.

usage: pip install -r benches/peers/requirements.txt; python3 benches/peers/simulate.py
"""
import os
import time

PATHS, STEPS = 1 << 18, 256
H, MASS, FRICTION, BETA = 1.0 / STEPS, 0.25, 1.0, 4.0
NOISE = (2 * FRICTION * BETA * H) ** 0.5


def best(run, paths=PATHS):
    run()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return paths * STEPS / min(times) / 1e6


def torch_rows():
    import torch

    for dtype in (torch.float64, torch.float32):
        for threads in (1, 2):
            torch.set_num_threads(threads)

            def run():
                x = torch.randn(PATHS, dtype=dtype)
                v = 0.1 * torch.randn(PATHS, dtype=dtype)
                xi = torch.empty_like(x)
                for _ in range(STEPS):
                    xi.normal_()
                    force = -x - FRICTION / MASS * v
                    x.add_(v, alpha=BETA * H / MASS)
                    v.add_(force, alpha=BETA * H).add_(xi, alpha=NOISE)

            with torch.no_grad():
                print(f"torch {torch.__version__} {dtype} {threads} threads: {best(run):.0f} million path-steps/s", flush=True)


def jax_rows():
    import jax
    import jax.numpy as jnp

    for dtype in ("float64", "float32"):
        jax.config.update("jax_enable_x64", dtype == "float64")

        def step(carry, key):
            x, v = carry
            xi = jax.random.normal(key, x.shape, dtype)
            return (x + BETA * H / MASS * v, v + BETA * H * (-x - FRICTION / MASS * v) + NOISE * xi), None

        @jax.jit
        def paths(key):
            start = (jax.random.normal(key, (PATHS,), dtype), 0.1 * jax.random.normal(key, (PATHS,), dtype))
            return jax.lax.scan(step, start, jax.random.split(key, STEPS))[0]

        rate = best(lambda: jax.block_until_ready(paths(jax.random.PRNGKey(0))))
        print(f"jax {jax.__version__} {dtype} all cores: {rate:.0f} million path-steps/s", flush=True)


def torchsde_rows():
    import torch
    import torchsde

    class Cld(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, u):
            x, v = u[:, :1], u[:, 1:]
            return BETA * torch.cat([v / MASS, -x - FRICTION / MASS * v], 1)

        def g(self, t, u):
            return torch.cat([torch.zeros_like(u[:, :1]), torch.full_like(u[:, 1:], (2 * FRICTION * BETA) ** 0.5)], 1)

    paths = PATHS // 8
    start = torch.zeros(paths, 2, dtype=torch.float64)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        rate = best(lambda: torchsde.sdeint(Cld(), start, times, method="euler", dt=H), paths)
    print(f"torchsde {torchsde.__version__} float64 all cores: {rate:.0f} million path-steps/s", flush=True)


def diffrax_rows():
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def drift(t, u, args):
        x, v = u
        return BETA * jnp.stack([v / MASS, -x - FRICTION / MASS * v])

    def noise(t, u, args):
        return jnp.array([[0.0], [(2 * FRICTION * BETA) ** 0.5]])

    def one(key):
        path = diffrax.UnsafeBrownianPath(shape=(1,), key=key)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(noise, path))
        steps = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, 1.0, H, jnp.zeros(2), max_steps=STEPS + 1, adjoint=diffrax.DirectAdjoint())
        return steps.ys

    paths = PATHS // 16
    run = jax.jit(jax.vmap(one))
    keys = jax.random.split(jax.random.PRNGKey(0), paths)
    rate = best(lambda: jax.block_until_ready(run(keys)), paths)
    print(f"diffrax {diffrax.__version__} float64 all cores: {rate:.1f} million path-steps/s", flush=True)


print(f"{os.cpu_count()} cores")
for rows in (torch_rows, jax_rows, torchsde_rows, diffrax_rows):
    try:
        rows()
    except ImportError as e:
        print(f"not installed: {e.name}")
