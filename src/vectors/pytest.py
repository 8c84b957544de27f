"""Frozen test vectors for Critically-Damped Langevin Diffusion, written by `cld vectors --pytest` (cld-sgm @VERSION@).

Self-contained: needs pytest and your code. Edit the block below, then run pytest on this file.

The truth is that of 32 digits, rounded once. An answer y is right within

    |y - y*| <= @UNITS@ u (|y*| + condition),

with u the unit roundoff of PRECISION and `condition` the sum of |x_i dy*/dx_i| over inputs and parameters: it is the exact answer, up to a few
units, for inputs that are off by as many. NaN is never right, and a file in which nothing is answered fails.
"""

from math import inf, nan

import pytest

# ---- Edit this block: your code. ----------------------------------------------------------------------------------------------------------

PRECISION = "float64"  # what your code computes in: float64, float32, float16 or bfloat16


def answer(quantity, process, inputs, settings):
    """Your values by output name, {"xx": [...], ...}, as lists or arrays of any library, one row per row of the inputs; None: not offered.

    process: such as {"kind": "cld", "mass": 0.25, "gamma": 0.04, "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}, "objective": "hsm"},
    with the rate b0 + b1 t. inputs: lists by name; a state (n, K d) holds the coordinates of x first. For example:

        if process["kind"] != "cld" or process["schedule"]["kind"] != "linear":
            return None
        code = MyCLD(**process)
        if quantity == "kernel.cov":
            xx, xv, vv = code.cov(torch.tensor(inputs["t"]))
            return {"xx": xx, "xv": xv, "vv": vv}
    """
    return None


# ---- The vectors and the rule: leave as they are. -----------------------------------------------------------------------------------------

UNIT, LARGEST, SMALLEST = {
    "float64": (2.0**-53, 2.0**1023 * (2 - 2.0**-52), 2.0**-1022),
    "float32": (2.0**-24, 2.0**127 * (2 - 2.0**-23), 2.0**-126),
    "float16": (2.0**-11, 65504.0, 16 * 2.0**-11 * 2.0**-14),
    "bfloat16": (2.0**-8, 2.0**127 * (2 - 2.0**-7), 16 * 2.0**-8 * 2.0**-126),
}[PRECISION]


def flat(value):
    """Numbers of nested lists, or of an array of any library, row by row."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    value = value.tolist() if hasattr(value, "tolist") else value
    return [x for part in value for x in flat(part)] if isinstance(value, (list, tuple)) else [float(value)]


def within(got, truth, condition):
    """Whether `got` is right by the rule."""
    if got != got or truth != truth:
        return False
    bound = @UNITS@ * UNIT * (abs(truth) + condition)
    # beyond the type's range an infinity of the right sign is as good as any number
    if abs(got) == inf or abs(truth) > LARGEST:
        return got == truth or (abs(truth) + bound > LARGEST and abs(got) >= LARGEST and (got > 0) == (truth > 0))
    return abs(got - truth) <= max(bound, SMALLEST)


def pick(values, rows, count):
    width = len(values) // count if count else 0
    return [x for row in rows for x in values[row * width : (row + 1) * width]]


answered = []

VECTORS = [
@VECTORS@
]


@pytest.mark.parametrize("index", range(len(VECTORS)), ids=lambda i: VECTORS[i]["id"])
def test_vector(index):
    vector = VECTORS[index]
    values = answer(vector["quantity"], vector["process"], vector["inputs"], vector["settings"])
    if values is None:
        pytest.skip("not offered")
    count = max(len(a) for a in vector["inputs"].values())
    compared, wrong = 0, []
    for name, output in vector["outputs"].items():
        if name not in values:
            continue
        right = flat(output["values"])
        got = flat(values[name])
        rows = output.get("rows")
        if rows is not None and len(got) != len(right):
            got = pick(got, rows, count)
        rows = rows if rows is not None else range(len(output["values"]))
        assert len(got) == len(right), f"{vector['id']}: {name} has {len(got)} numbers; allowed: {len(right)}"
        width = len(right) // len(output["values"])
        for i, (g, y, c) in enumerate(zip(got, right, output["condition"])):
            compared += 1
            if not within(g, y, c):
                row = list(rows)[i // width]
                at = f" at t = {vector['inputs']['t'][row]}" if "t" in vector["inputs"] else ""
                units = abs(g - y) / (UNIT * (abs(y) + c)) if abs(y) + c > 0 else inf
                wrong.append(f"{name}[{i}] is {g!r} where {y!r} is right{at} ({units:.3g} units of {PRECISION} off, @UNITS@ allowed)")
    assert compared, f"{vector['id']}: none of its outputs ({', '.join(vector['outputs'])}) is among {', '.join(map(str, values))}"
    answered.append(vector["id"])
    if wrong:
        pytest.fail(f"{vector['id']}: {len(wrong)} of {compared} values are off\n  " + "\n  ".join(wrong[:5]), pytrace=False)


def test_something_was_answered():
    """A file whose adapter answers nothing must not pass; run on its own, it asks for the first answer."""
    if not answered:
        assert any(answer(v["quantity"], v["process"], v["inputs"], v["settings"]) is not None for v in VECTORS), (
            "`answer` offers nothing: edit the block at the top of this file"
        )
