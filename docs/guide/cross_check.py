"""Answers cld's test vectors with plain numpy: critically-damped CLD, mean, covariance, ell, perturb, EM steps,
reverse drift and mixed scores.

usage: cld vectors vectors; python cross_check.py vectors; cld check vectors
Replace the function `kernel` by a call of your own code.
"""
import json
import sys

import numpy as np


def p3(y):
    """P(3, y) = 1 - exp(-y) (1 + y + y^2/2); for small y its series of positive terms, because that would cancel."""
    series = sum(y**k / np.prod(np.arange(4.0, k + 4.0)) for k in range(30))
    return np.where(y < 3, np.exp(-y) * y**3 / 6 * series, 1 - np.exp(-y) * (1 + y + y * y / 2))


def kernel(t, mass, gamma, schedule):
    """Entries of the mean matrix (xx, xv, vx, vv), covariance (xx, xv, vv) and its determinant; gamma = 0 for DSM."""
    tau = schedule["b0"] * t + 0.5 * schedule["b1"] * t * t  # integral of beta
    z = tau / np.sqrt(mass)
    e, e2 = np.exp(-z), np.exp(-2 * z)
    mean = e * (1 + z), e * tau / mass, -e * tau, e * (1 - z)
    p = p3(2 * z)
    xx, xv, vv = p, np.sqrt(mass) * 2 * z * z * e2, mass * (p + 4 * z * e2)  # DSM
    fx, fv = mean[1], mean[3]  # HSM adds the variance gamma M of the initial velocity
    var = gamma * mass
    det = (xx * vv - xv * xv) + var * (vv * fx * fx - 2 * xv * fx * fv + xx * fv * fv)
    return mean, (xx + var * fx * fx, xv + var * fx * fv, vv + var * fv * fv), det


def reverse_sde(u, score, t, process):
    """Drift of the reverse SDE and the variance of its noise in v, per unit of time; columns x1, x2, v1, v2."""
    mass, schedule = process["mass"], process["schedule"]
    beta = (schedule["b0"] + schedule["b1"] * t)[:, None]
    friction = 2 * np.sqrt(mass)  # critical damping
    x, v = u[:, :2], u[:, 2:]
    drift = np.hstack([-beta * v / mass, beta * (x + friction / mass * v + 2 * friction * score)])
    return drift, 2 * friction * beta


def main(folder):
    manifest = json.load(open(f"{folder}/manifest.json"))
    inputs = np.load(f"{folder}/inputs.npz")
    answers = {}
    for entry in manifest["entries"]:
        process, outputs = entry["process"], entry["outputs"]
        if process["kind"] != "cld" or "Gamma" in process or process["schedule"]["kind"] != "linear":
            continue
        given = {name: inputs[array] for name, array in entry["inputs"].items()}
        if entry["quantity"] == "sampler.reverse_drift" and not entry["probability_flow"]:
            drift, variance = reverse_sde(given["u"], given["score"], given["t"], process)
            answers[outputs["drift"]] = drift
            answers[outputs["diffusion"]] = np.hstack([np.zeros_like(drift[:, 2:]), np.sqrt(variance) + np.zeros_like(drift[:, 2:])])
        elif entry["quantity"] == "sampler.step.em":
            drift, variance = reverse_sde(given["u"], given["score"], given["t"], process)
            h = (given["t"] - given["s"])[:, None]
            mean = given["u"] + h * drift
            answers[outputs["u_mean"]] = mean
            answers[outputs["u_next"]] = np.hstack([mean[:, :2], mean[:, 2:] + np.sqrt(h * variance) * given["noise"][:, 2:]])
        if "s" in given:
            continue
        if "t" not in given:
            continue
        gamma = process["gamma"] if process["objective"] == "hsm" else 0.0
        (mxx, mxv, mvx, mvv), (xx, xv, vv), det = kernel(given["t"], process["mass"], gamma, process["schedule"])

        def times_mean(u):  # the columns are x1, x2, v1, v2
            x, v = u[:, :2], u[:, 2:]
            return np.hstack([mxx[:, None] * x + mxv[:, None] * v, mvx[:, None] * x + mvv[:, None] * v])

        if entry["quantity"] == "kernel.mean":
            answers[outputs["matrix"]] = np.stack([mxx, mxv, mvx, mvv], -1).reshape(-1, 2, 2)
            answers[outputs["mean"]] = times_mean(given["u0"])
        elif entry["quantity"] == "kernel.cov":
            answers[outputs["xx"]], answers[outputs["xv"]], answers[outputs["vv"]] = xx, xv, vv
        elif entry["quantity"] == "kernel.ell":
            answers[outputs["ell"]] = np.sqrt(xx / det)
        elif entry["quantity"] == "score.mixed":
            v, net = given["u"][:, 2:], given["net_output"]
            answers[outputs["score"]] = -v / vv[:, None] - np.sqrt(xx / det)[:, None] * net
        elif entry["quantity"] == "kernel.perturb":
            lxx = np.sqrt(xx)
            lvx, lvv = xv / lxx, np.sqrt(det / xx)
            e_x, e_v = given["noise"][:, :2], given["noise"][:, 2:]
            noise = np.hstack([lxx[:, None] * e_x, lvx[:, None] * e_x + lvv[:, None] * e_v])
            answers[outputs["u_t"]] = times_mean(given["u0"]) + noise
    np.savez(f"{folder}/answers.npz", **answers)
    print(f"{len(answers)} arrays written to {folder}/answers.npz")


main(sys.argv[1])
