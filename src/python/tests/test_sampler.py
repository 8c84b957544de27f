"""Samplers: exact laws of independent steps through the callback, orders, mistakes, and runs with a score of one's own."""

import numpy as np
import pytest
from implementations import FirstHalfTwice, ForwardDrift, HalfKick, NoiseWithDt, Right, ScoreAtEnd

import cld_sgm

PROCESS = cld_sgm.CLD(mass=0.25, gamma=0.04, beta=(0.1, 20.0))


def of(cls, kind):
    """The implementation's step, as check_sampler calls it."""
    code = cls(np)

    def step(u, t, s, score, normal):
        n = len(u)
        x, v, t, s = u[:, :1], u[:, 1:], np.full(n, t), np.full(n, s)
        exact = lambda x, v, t: score(np.concatenate([x, v], 1), t)  # noqa: E731
        if kind == "em":
            noise = np.concatenate([np.zeros((n, 1)), normal((n, 1))], 1)
            return np.concatenate(code.em_step(x, v, t, s, exact, noise), 1)
        return np.concatenate(code.sscs_step(x, v, t, s, exact, normal((n, 2)), normal((n, 2))), 1)

    return step


def heun(u, t, s, score, normal):
    f = np.array([[0.0, 4.0], [-1.0, -4.0]])

    def slope(u, t):
        b = 0.1 + 19.9 * t
        out = -b * u @ f.T
        out[:, 1:] += b * score(u, t)
        return out

    one = slope(u, t)
    return u + (t - s) / 2 * (one + slope(u + (t - s) * one, s))


@pytest.mark.parametrize(
    ("step", "name", "order", "strong"),
    [(of(Right, "em"), "em", 1, 1), (of(Right, "sscs"), "sscs", 1, None), (heun, "flow-heun", 2, None)],
    ids=["em", "sscs", "heun"],
)
def test_exact_laws_of_independent_steps(step, name, order, strong):
    """Catches a law read off wrongly (rows, draws, the score's place), a step of ours that is off, and an order that is not that of the
    method. 1e-12: some ten roundings in entries of size 1 to 10; 0.1: the orders agree with each other to 0.05 before."""
    report = cld_sgm.check_sampler(step, PROCESS)
    assert report.same_as[0] == name and report.ok, report
    assert report.distance < 1e-12, report
    assert abs(report.order - order) < 0.1, report
    assert report.strong is None if strong is None else abs(report.strong - strong) < 0.1, report
    assert all(abs(row["yours"] / row[name] - 1) < 1e-6 for row in report.errors.values()), report
    assert list(report.errors) == [10, 20, 50, 100]
    assert max(len(line) for line in str(report).splitlines()) <= 80


@pytest.mark.parametrize("name", [s.name for s in cld_sgm.samplers() if not s.adaptive])
def test_every_sampler_of_the_registry_is_recognised(name):
    """Catches a sampler that is taken for another, such as a multistep method for its first step. The runs go through `step` with the
    draws that the check hands over. 1e-11: what the check itself asks for."""
    process = PROCESS

    def run(u, times, score, normal):
        width = cld_sgm._sampler.draws(process, name, times)
        noise = np.concatenate([normal((len(u), width)).T for _ in times[1:]])[:, :, None]
        return cld_sgm.step(process, name, u, times, score, noise=noise)

    judge = cld_sgm._check_sampler._Judge(
        cld_sgm._check_sampler.Foreign(run, process, cld_sgm._check._exact_score(process), None, None), process, list(np.linspace(1.0, 1e-3, 9)), None, None, 8.0, 0
    )
    judge.foreign.settle(judge.times)
    distances = judge.distances([], judge.law(judge.times))
    assert [n for n, d in distances.items() if d < 1e-11] == [name], sorted(distances.items(), key=lambda x: x[1])[:3]


class KickByScore(Right):
    def sscs_step(self, x, v, t, s, score_fn, noise_1, noise_2):
        return super().sscs_step(x, v, t, s, lambda x, v, t: score_fn(x, v, t) - v / self.mass, noise_1, noise_2)


class KickOfUnitPrior(Right):
    def sscs_step(self, x, v, t, s, score_fn, noise_1, noise_2):
        return super().sscs_step(x, v, t, s, lambda x, v, t: score_fn(x, v, t) - v / self.mass + v, noise_1, noise_2)


class SameNoise(Right):
    def sscs_step(self, x, v, t, s, score_fn, noise_1, noise_2):
        return super().sscs_step(x, v, t, s, score_fn, noise_1, noise_1)


class LaterHalfFirst(Right):
    def halves(self, t, s):
        return s, (s + t) / 2, (s + t) / 2, t


class FullHalves(Right):
    def halves(self, t, s):
        return s, t, s, t


class ScoreAtEndOfSscs(Right):
    def sscs_step(self, x, v, t, s, score_fn, noise_1, noise_2):
        return super().sscs_step(x, v, t, s, lambda x, v, t: score_fn(x, v, s), noise_1, noise_2)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (of(ScoreAtEnd, "em"), "it is an Euler-Maruyama step, but the score is evaluated at the step's end"),
        (of(NoiseWithDt, "em"), "its noise is multiplied by dt where the square root of dt belongs"),
        (of(HalfKick, "em"), "half of G G^T multiplies the score"),
        (of(ForwardDrift, "em"), "the whole drift has the wrong sign"),
        (of(FirstHalfTwice, "sscs"), "the second half step repeats the interval of the first"),
        (of(LaterHalfFirst, "sscs"), "its half steps are taken in the wrong order"),
        (of(FullHalves, "sscs"), "its half steps are as long as the whole"),
        (of(KickByScore, "sscs"), "the term + v / M, which the half steps have, is missing"),
        (of(KickOfUnitPrior, "sscs"), "the kick takes the prior's variance of v to be 1"),
        (of(SameNoise, "sscs"), "both half steps take the same noise"),
        (of(ScoreAtEndOfSscs, "sscs"), "it is an SSCS step, but the score is evaluated at the step's end"),
        (lambda u, t, s, score, normal: u, "the score is never evaluated"),
        (lambda u, t, s, score, normal: u + 0 * score(u, 1 - t), "outside the step"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_wrong_steps_are_found_and_named(step, words):
    """Catches a wrong step that goes for one of ours, passes as converging to the data, or is not told what is wrong."""
    report = cld_sgm.check_sampler(step, PROCESS)
    assert not report.ok, report
    assert words in " ".join(str(report).split()), report


def em_run(u, times, score, normal, start=None, last=False):
    step = of(Right, "em")
    for t, s in zip(times, times[1:]):
        u = step(u, float(t), float(s), score, normal)
    return step(u, float(times[-1]), 0.0, score, lambda shape: np.zeros(shape)) if last else u


def test_whole_runs_and_their_last_step():
    """Catches a missing, or an unwanted, last step without noise that passes, or a whole run that is not told for what it is."""
    with_last = lambda u, times, score, normal: em_run(u, times, score, normal, last=True)  # noqa: E731
    plain = lambda u, times, score, normal: em_run(u, times, score, normal)  # noqa: E731
    report = cld_sgm.check_sampler(with_last, PROCESS, denoise=True)
    assert report.ok and report.same_as == ["em + denoise"] and abs(report.order - 1) < 0.1, report
    report = cld_sgm.check_sampler(plain, PROCESS)
    assert report.ok and report.same_as == ["em"] and abs(report.strong - 1) < 0.1, report
    assert "the last step without noise, from 0.001 to 0, is missing" in str(cld_sgm.check_sampler(plain, PROCESS, denoise=True).findings)
    assert "it goes on to 0" in str(cld_sgm.check_sampler(with_last, PROCESS, denoise=False).findings)


@pytest.mark.parametrize(
    ("deviation", "words"), [(0.5, None), (1.0, "the prior's variance is 1 in all channels"), (0.25, "the prior's variance is taken for its deviation")]
)
def test_the_prior_of_a_run_that_draws_its_own_start(deviation, words):
    """Catches a wrong prior, which the end of a run does not show."""

    def sample(n, times, score, normal):
        return em_run(np.concatenate([normal((n, 1)), deviation * normal((n, 1))], 1), times, score, normal)

    report = cld_sgm.check_sampler(sample, PROCESS)
    assert report.ok == (words is None) and (words or "the law of em") in " ".join(str(report).split()), report


def hidden(change=1.0):
    """Euler-Maruyama with a generator of its own that nothing can replace."""
    rng = np.random.Generator(np.random.PCG64(7))

    def step(u, t, s, score):
        return of(Right, "em")(u, t, s, score, lambda shape: change * rng.normal(size=shape))

    return step


def test_a_step_that_draws_inside_is_simulated():
    """Catches noise inside that is taken for none, a right step that is refuted (one in a million by the level; the seed is fixed), a wrong
    one that passes (4% in the deviation is 8% in the variance: 12 standard errors of 50000 draws, 5.8 allowed), or no word that this is weaker."""
    report = cld_sgm.check_sampler(hidden(), PROCESS)
    assert report.ok and report.same_as == ["em"] and report.order is None, report
    words = " ".join(str(report).split())
    assert "weaker" in words and "false alarm 1e-06" in words and "is found 99 times in 100" in words
    # against the exact error: five standard errors, sqrt(3) for mean and deviation together
    assert abs(report.errors[100]["yours"] - report.errors[100]["em"]) < 5 * 0.0034 * 2
    wrong = cld_sgm.check_sampler(hidden(1.04), PROCESS)
    assert "em" not in wrong.same_as, wrong
    rng = np.random.Generator(np.random.PCG64(7))
    code = of(NoiseWithDt, "em")
    report = cld_sgm.check_sampler(lambda u, t, s, score: code(u, t, s, score, lambda shape: rng.normal(size=shape)), PROCESS)
    assert not report.ok and "multiplied by dt" in str(report.findings), report


def test_what_is_not_affine_is_said():
    """Catches a step that clips, and is read as if it were linear."""
    report = cld_sgm.check_sampler(lambda u, t, s, score, normal: np.clip(of(Right, "em")(u, t, s, score, normal), -2, 2), PROCESS)
    assert not report.same_as and "it is not affine though the score is" in " ".join(str(report).split()), report


def test_noise_of_a_fixed_seed_is_found():
    """Catches noise that is the same in each step: every single step has the right law."""
    seeded = lambda u, t, s, score: of(Right, "em")(u, t, s, score, lambda shape: np.random.default_rng(3).normal(size=shape))  # noqa: E731
    report = cld_sgm.check_sampler(seeded, PROCESS)
    assert not report.ok and "draws the same noise in every call" in str(report.findings), report


def test_input_changed_in_place_is_said():
    """Catches a state that is lost to the caller without a word, and a law read off rows that were overwritten."""

    def step(u, t, s, score, normal):
        u += of(Right, "em")(u, t, s, score, normal) - u
        return u

    report = cld_sgm.check_sampler(step, PROCESS)
    assert report.same_as == ["em"] and "changes its input in place" in str(report), report


def test_runs_replay_the_law():
    """Catches noise, channels or steps in another order on the way in: the run of given draws against the law's matrices."""
    times, rng = np.linspace(1.0, 0.1, 8), np.random.default_rng(1)
    for name in ("em", "sscs", "sscs2", "gddim2"):
        c, a, noise = cld_sgm._native.law(PROCESS._native, name, list(times), (0.5, 0.75), False)
        u, xi = rng.normal(size=(3, 2)), rng.normal(size=(noise.shape[1], 3, 1))

        def score(state, t):
            phi = PROCESS.mean(t)[:, 0]
            cov = PROCESS.cov(t) + 0.75**2 * np.outer(phi, phi)
            return -(np.linalg.inv(cov) @ (state - 0.5 * phi).T).T[:, 1:]

        end = cld_sgm.step(PROCESS, name, u, times, score, noise=xi)
        wanted = u @ np.reshape(a, (2, 2)).T + c + np.einsum("kd,dn->nk", noise, xi[:, :, 0])
        assert np.abs(end - wanted).max() < 1e-11 * np.abs(wanted).max(), name


def test_samples_of_normal_data():
    """Catches a sampler run forward, or a wrong prior. 4000 samples: five standard errors are 0.06 of the deviation."""

    def score(u, t):
        phi = PROCESS.mean(t)[:, 0]
        cov = PROCESS.cov(t) + 0.75**2 * np.outer(phi, phi)
        return -(np.linalg.inv(cov) @ (u - 0.5 * phi).T).T

    x = cld_sgm.sample(PROCESS, score, (4000, 1), steps=100, seed=3)
    assert abs(x.mean() - 0.5) < 0.06 and abs(x.std() - 0.75) < 0.06


def test_what_a_score_raises_comes_through():
    """Catches an error of the score that is swallowed, or comes back as another one."""

    def broken(u, t):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        cld_sgm.step(PROCESS, "em", np.ones((3, 2)), [1.0, 0.9], broken, seed=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cld_sgm.step(PROCESS, "em", np.ones((3, 2)), [1.0, 0.9], lambda u, t: None), "array `score` is None; allowed: an array of numbers"),
        (lambda: cld_sgm.step(PROCESS, "em", np.ones((3, 2)), [1.0, 0.9], lambda u, t: u[:2]), "array `score` has shape (2, 2); allowed: (3, 1), or (3, 2)"),
        (lambda: cld_sgm.step(PROCESS, "emm", np.ones((3, 2)), [1.0, 0.9], lambda u, t: u), "parameter `sampler` is `emm`; allowed: em, sscs"),
        (lambda: cld_sgm.step(PROCESS, "em", np.ones((3, 2)), [0.9, 1.0], lambda u, t: u), "parameter `grid` is 1 after 0.9; allowed: "),
        (lambda: cld_sgm.check_sampler(3), "parameter `step` is int; allowed: a function of (u, t, s, score, normal)"),
        (lambda: cld_sgm.check_sampler(lambda u, t: u), "parameter `step` takes (u, t); allowed: (u, t, s, score, normal)"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u[:1]), "the step returned an array of shape (1, 2); allowed: (9, 2)"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: None), "the step returned None; allowed: the next state, (9, 2)"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u * np.nan), "the step returned nan from t = 1 to 0.95; allowed: finite numbers"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u * (np.nan if t < 0.5 else 1)), "the step returned nan from t = 0.4506 to 0.4006"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: {}["weights"]), "the step raised KeyError: 'weights' (from t = 1 to 0.95); allowed: "),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u.astype(complex)), "what the step returned has dtype complex128; allowed: floats"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u + normal((1, 2))), "the step asked for normals of shape (1, 2) for a batch of 9"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u + score(u, 999 * t)), "the score was called at t = 999; allowed: 0 <= t <= 1"),
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u + score(u)), "the score was called with 1 arguments; allowed: (u, t)"),
        (lambda: cld_sgm.check_sampler(of(Right, "em"), PROCESS, [0.1, 1.0]), "parameter `grid` does not decrease within [0, 1]"),
        (lambda: cld_sgm.check_sampler(of(Right, "em"), PROCESS, dtype="f32"), "parameter `dtype` is 'f32'; allowed: float64, float32"),
        (lambda: cld_sgm.check_sampler(of(Right, "em"), PROCESS, path="brownian"), "parameter `path` is 'brownian'; allowed: increments, space-time"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    """Catches a panic, a traceback from inside, or a message without what is allowed."""
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(sentence), caught.value
