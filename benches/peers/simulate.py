"""Path-steps per second of CLD under Euler-Maruyama, in PyTorch and JAX, on 1 and 2 threads: the same work as
`cargo bench --bench simulate`, to be run beside it.

usage: pip install -r benches/peers/requirements.txt; python3 benches/peers/simulate.py
"""
import os
import time

PATHS, STEPS = 1 << 18, 256
H, MASS, FRICTION, BETA = 1.0 / STEPS, 0.25, 1.0, 4.0
NOISE = (2 * FRICTION * BETA * H) ** 0.5


def best(run):
    run()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return PATHS * STEPS / min(times) / 1e6


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


print(f"{os.cpu_count()} cores")
for rows in (torch_rows, jax_rows):
    try:
        rows()
    except ImportError as e:
        print(f"not installed: {e.name}")
