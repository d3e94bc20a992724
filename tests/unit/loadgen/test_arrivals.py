import itertools

import pytest

from kserve_has.loadgen.arrivals import arrivals
from kserve_has.loadgen.trace import Trace

STEP = Trace((0.0, 100.0), (2.0, 20.0), 200.0)


def test_deterministic_arrivals_are_even_within_a_step():
    due = arrivals(Trace((0.0,), (4.0,), 1.0), process="deterministic")
    assert due == pytest.approx((0.125, 0.375, 0.625, 0.875))


def test_deterministic_arrivals_carry_the_fraction_over_a_step_of_rate_zero():
    due = arrivals(Trace((0.0, 1.0, 2.0), (0.25, 0.0, 1.0), 4.0), process="deterministic")
    assert due == pytest.approx((2.25, 3.25))


def test_poisson_arrivals_follow_the_rate_of_each_step():
    due = arrivals(STEP, process="poisson", seed=1)
    early = sum(t < 100 for t in due)
    assert early == pytest.approx(200, rel=0.2)
    assert len(due) - early == pytest.approx(2000, rel=0.07)


def test_poisson_gaps_vary_as_much_as_they_last():
    due = arrivals(Trace((0.0,), (50.0,), 100.0), process="poisson", seed=3)
    gaps = [b - a for a, b in itertools.pairwise(due)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((g - mean) ** 2 for g in gaps) / len(gaps)) ** 0.5
    assert spread / mean == pytest.approx(1.0, abs=0.1)


def test_the_seed_alone_decides():
    assert arrivals(STEP, process="poisson", seed=5) == arrivals(STEP, process="poisson", seed=5)
    assert arrivals(STEP, process="poisson", seed=5) != arrivals(STEP, process="poisson", seed=6)


def test_arrivals_ascend_and_stay_inside_the_trace():
    due = arrivals(STEP, process="poisson", seed=2)
    assert list(due) == sorted(due)
    assert due[0] >= 0
    assert due[-1] < 200
