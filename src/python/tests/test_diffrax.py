"""diffrax's solvers on the reverse SDE of CLD, through the example: a foreign case whose code is none of ours."""

import pathlib
import sys

import pytest

pytest.importorskip("diffrax")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))


@pytest.mark.parametrize(("solver", "same", "strong"), [("Euler", ["em"], 1.0), ("SEA", [], 1.0), ("ShARK", [], 2.0)])
def test_diffrax_on_the_reverse_sde(solver, same, strong):
    """Catches draws, clocks or areas that are coupled wrongly, and a right foreign sampler that is called wrong. diffrax gives 1.5 for
    ShARK under additive noise; an affine drift, as here, gains half an order. 0.1: orders agree with each other to 0.05 before; the
    time allowed is ample, lest a busy machine cut it short."""
    import diffrax_solvers

    report = diffrax_solvers.judge(solver, seconds=120.0)
    assert report.ok and report.same_as == same, report
    assert report.settled[1] and abs(report.strong - strong) < 0.1, report
    # of ours it is that one to the last digit
    assert not same or report.distance < 1e-12, report
