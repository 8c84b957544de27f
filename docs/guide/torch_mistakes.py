"""torch_cld.py with one mistake planted, or naive: what `cld check` is there to find.

usage: cld vectors vectors; python torch_mistakes.py vectors --plant NAME; cld check vectors
       python torch_mistakes.py vectors --naive; python torch_mistakes.py --list
"""
import argparse

import torch
import torch_cld as cld

PLANTS = {}


def plant(function):
    """Registers a mistake: a function that changes torch_cld, or that returns a change of the entries."""
    PLANTS[function.__name__.replace("_", "-")] = function
    return function


def wrap(owner, name, change):
    """Replaces a method by change(original, *its arguments)."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: change(original, *args, **options))


def after_kernel(change):
    """Calls change(kernel) on every kernel when it is made."""

    def init(original, kernel, *args):
        original(kernel, *args)
        change(kernel)

    wrap(cld.Kernel, "__init__", init)


def after_model(change):
    def init(original, model, *args):
        original(model, *args)
        change(model)

    wrap(cld.Model, "__init__", init)


def with_parameters(**changes):
    def change(entry):
        p = dict(entry["process"])
        p.update({k: f(p) for k, f in changes.items() if "mass" in p and k in {**p, "Gamma": 0}})
        return {**entry, "process": p}

    return change


@plant
def mass_inverted():
    return with_parameters(mass=lambda p: 1 / p["mass"])


@plant
def friction_twice_the_mass():
    """Gamma = 2 M, for 2 sqrt(M)."""
    return with_parameters(Gamma=lambda p: 2 * p["mass"])


@plant
def integral_without_half():
    cld.Linear.integral = lambda self, s, t: (t - s) * (self.b0 + self.b1 * (t + s))


@plant
def rate_for_integral():
    cld.Linear.integral = lambda self, s, t: (t - s) * self.rate(t)


@plant
def one_minus_t():
    wrap(cld.Linear, "integral", lambda f, self, s, t: f(self, 1 - t, 1 - s) if bool((s > 0).any()) else f(self, s, 1 - t))


@plant
def dsm_for_hsm():
    wrap(cld.Model, "kernel", lambda f, m, t, s=None, hsm=None: f(m, t, s, False))


@plant
def hsm_for_dsm():
    wrap(cld.Model, "kernel", lambda f, m, t, s=None, hsm=None: f(m, t, s, True))


@plant
def gamma_not_times_mass():
    after_model(lambda m: setattr(m, "initial", m.process.gamma))


@plant
def standard_deviation_for_variance():
    def change(k):
        k.cov = torch.where(torch.eye(k.cov.shape[-1], dtype=torch.bool), k.cov.abs().sqrt(), k.cov)

    after_kernel(change)


@plant
def variance_for_standard_deviation():
    after_kernel(lambda k: setattr(k, "lower", torch.tril(k.cov)))


@plant
def upper_cholesky():
    """U U^T = cov, U upper: the factor with the channels in the other order."""
    after_kernel(lambda k: setattr(k, "lower", torch.linalg.cholesky_ex(k.cov.flip(1, 2)).L.flip(1, 2)))


@plant
def xv_sign():
    def change(f, self, tau):
        phi = f(self, tau)
        return phi * (2 * torch.eye(2, dtype=phi.dtype) - 1)

    wrap(cld.Cld, "phi", change)


@plant
def xv_sign_of_the_covariance():
    after_kernel(lambda k: setattr(k, "cov", k.cov * (2 * torch.eye(k.cov.shape[-1], dtype=k.cov.dtype) - 1)))


@plant
def prior_variance_one():
    cld.Process.prior = lambda self, horizon: torch.eye(self.channels, dtype=horizon.dtype)


@plant
def epsilon_added():
    def change(k):
        k.cov = k.cov + 1e-6 * torch.eye(k.cov.shape[-1], dtype=k.cov.dtype)
        k.lower = torch.linalg.cholesky(k.cov)

    after_kernel(change)


@plant
def ell_of_the_velocity_alone():
    """1/sqrt(S_vv), for sqrt(S_xx/det)."""
    cld.Kernel.ell = property(lambda k: 1 / k.cov[:, -1, -1].sqrt())


@plant
def logdet_halved():
    cld.Kernel.logdet = property(lambda k: k.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1))


@plant
def inverse_not_transposed():
    cld.solve_transposed = cld.solve


@plant
def mixed_score_with_dsm():
    wrap(cld.Model, "kernel", lambda f, m, t, s=None, hsm=None: f(m, t, s, False if hsm else hsm))


@plant
def noise_without_sqrt_dt():
    def change(f, m, t, s, u, score, noise=None):
        drift, _ = m.reverse(t, u, score, t - s)
        return u + drift if noise is None else u + drift + m.drift(t, u)[1] * noise

    wrap(cld.Model, "em", change)


@plant
def half_the_score():
    wrap(cld.Model, "reverse", lambda f, m, t, u, score, length=1.0, weight=1.0: f(m, t, u, score, length, weight / 2))


@plant
def forward_drift():
    """+F u in the reverse SDE."""
    wrap(cld.Model, "reverse", lambda f, m, t, u, score, length=1.0, weight=1.0: f(m, t, -u, score, length, weight))


@plant
def second_half_step():
    """SSCS's second half step over the first one's interval."""
    wrap(cld.Model, "sscs", lambda f, m, t, s, u, score, noises, twice=False: f(m, t, s, u, score, noises, True))


@plant
def forward_analytic_part():
    """SSCS's analytic part is the forward process."""
    cld.Process.reversed = lambda self: self


@plant
def score_at_the_end_of_the_step():
    def change(f, m, t, u, mean, std):
        return f(m, (t - 0.1).clamp(min=1e-3), u, mean, std)

    wrap(cld.Model, "data_score", change)


@plant
def denoise_with_noise():
    def change(f, entry, g, dtype):
        if entry["quantity"] == "sampler.step.denoise":
            entry = {**entry, "quantity": "sampler.step.em"}
        return f(entry, g, dtype)

    wrap(cld, "answer", change)


@plant
def loss_without_ell_squared():
    wrap(cld, "loss", lambda f, m, g, weighting: f(m, g, "reweightedv1" if weighting == "likelihood" else weighting))


@plant
def variance_in_x0():
    """x0 = (x - S_xx eps)/Phi_xx."""

    def change(f, name, m, g):
        if name == "x0_from_eps":
            k = m.kernel(g["t"])
            return {"x0": (g["u"][:, 0] - k.cov[:, 0, 0, None] * g["eps"][:, 0]) / k.phi[:, 0, 0, None]}
        return f(name, m, g)

    wrap(cld, "kernel_answers", change)


@plant
def weights_not_in_the_logarithm():
    """Mixture: the mean of the components' log-densities."""

    def change(f, m, g):
        k = m.kernel(g["t"])
        logs = [k.with_data(s).log_density(g["u"] - k.phi[:, :, :1] * mean) for mean, s in zip(g["means"], g["stds"])]
        return sum(w * x for w, x in zip(g["weights"], logs))

    wrap(cld, "mixture", change)


@plant
def float16_intermediate():
    """The integral of the rate goes through float16."""
    wrap(cld.Linear, "integral", lambda f, self, s, t: f(self, s, t).half().to(t.dtype))


def naive():
    """CLD's formulas as they are printed: integrals by subtraction, exp(y) - 1 - y - ..., and det = S_xx S_vv - S_xv^2."""
    cld.Linear.integral = lambda self, s, t: (self.b0 * t + self.b1 / 2 * t**2) - (self.b0 * s + self.b1 / 2 * s**2)
    cld.Geometric.integral = lambda self, s, t: self.low**2 * torch.exp(self.growth * t) - self.low**2 * torch.exp(self.growth * s)
    cld.Scalar.deviation = lambda self, tau: torch.sqrt(1 - torch.exp(-tau))
    cld.Ve.deviation = lambda self, tau: tau.sqrt()

    def transition(f, self, tau):
        if self.delta != 0:
            return f(self, tau)
        m = self.mass
        y = 4 * tau / self.friction
        xx = (torch.exp(y) - 1 - y - y**2 / 2) * torch.exp(-y)
        xv = self.friction / 4 * y**2 * torch.exp(-y)
        vv = m * (torch.exp(y) - 1 + y - y**2 / 2) * torch.exp(-y)
        lower = cld.matrix([[xx.sqrt(), 0.0], [xv / xx.sqrt(), ((xx * vv - xv**2) / xx).sqrt()]])
        return self.phi(tau), cld.matrix([[xx, xv], [xv, vv]]), lower

    def add(self, column):
        self.cov = self.cov + column[:, :, None] * column[:, None, :]
        self.lower = torch.linalg.cholesky_ex(self.cov).L

    wrap(cld.Cld, "transition", transition)
    cld.Kernel.add = add


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", help="where `cld vectors` wrote")
    parser.add_argument("--plant", choices=sorted(PLANTS), metavar="NAME")
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--list", action="store_true", help="the names, one a line")
    parser.add_argument("--dtype", choices=["float32", "float64", "float16"], default="float32")
    args = parser.parse_args()
    if args.list:
        return print("\n".join(sorted(PLANTS)))
    if args.folder is None or (args.plant is None) != args.naive:
        parser.error("FOLDER, and one of --plant and --naive")
    change = (naive if args.naive else PLANTS[args.plant])()
    dtype = torch.float64 if args.dtype == "float64" else torch.float32
    cld.save(args.folder, cld.answers(args.folder, dtype, change or (lambda entry: entry)), args.dtype)


if __name__ == "__main__":
    main()
