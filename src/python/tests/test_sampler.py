"""Samplers: exact laws of independent steps through the callback, orders, mistakes, and runs with a score of one's own."""

import numpy as np
import pytest
from implementations import FirstHalfTwice, HalfKick, NoiseWithDt, Right, ScoreAtEnd

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
    ("step", "name", "order"),
    [(of(Right, "em"), "em", 1), (of(Right, "sscs"), "sscs", 1), (heun, "flow-heun", 2), (of(FirstHalfTwice, "sscs"), "sscs-first-half-twice", 1)],
    ids=["em", "sscs", "heun", "half twice"],
)
def test_exact_laws_of_independent_steps(step, name, order):
    """Catches a law read off wrongly (rows, draws, the score's place), a step of ours that is off, and an order that is not that of the
    method. 1e-12: some ten roundings in entries of size 1 to 10; 0.1: the orders agree with each other to 0.05 before."""
    report = cld_sgm.check_sampler(step, PROCESS)
    assert report.same_as[0] == name and report.ok, report
    assert report.distance < 1e-12, report
    assert abs(report.order - order) < 0.1, report
    assert all(abs(mine / ours - 1) < 1e-6 for mine, ours in report.errors.values()), report


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (of(ScoreAtEnd, "em"), "the score is evaluated at the step's end"),
        (of(NoiseWithDt, "em"), "another one than the data's"),
        (of(HalfKick, "em"), "another one than the data's"),
        (lambda u, t, s, score, normal: u, "the score is never evaluated"),
        (lambda u, t, s, score, normal: u + 0 * score(u, 1 - t), "outside the step"),
    ],
    ids=["score at end", "noise with dt", "half kick", "no score", "clock reversed"],
)
def test_wrong_steps_are_found(step, words):
    """Catches a wrong step that goes for one of ours, or passes as converging to the data."""
    report = cld_sgm.check_sampler(step, PROCESS)
    assert not report.ok and not report.same_as, report
    assert words in str(report)


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
        (lambda: cld_sgm.check_sampler(lambda u, t, s, score, normal: u[:1]), "the step returned an array of shape (1, 2); allowed: (3, 2)"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    """Catches a panic, a traceback from inside, or a message without what is allowed."""
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(sentence), caught.value
