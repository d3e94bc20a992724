import numpy as np
import pytest

from kserve_has.rapp.graph import Operator
from kserve_has.rapp.operators import CONSTANTS, START, learn_constants, log_ms, shapes_of


def conv(channels: int, size: int) -> Operator:
    flops = 2.0 * channels * channels * 9 * size * size
    area = 4.0 * channels * size * size
    shape, output = (channels, channels, 3, 3), (1, channels, size, size)
    return Operator("conv", flops, area, area, shape, output, {"groups": (1,)}, ())


def relu(channels: int, size: int) -> Operator:
    area = 4.0 * channels * size * size
    return Operator("elementwise", 0.0, area, area, (), (1, channels, size, size), {}, ())


HEAVY = shapes_of([conv(256, 56), relu(256, 56)] * 4)
SMALL = shapes_of([conv(32, 7), relu(32, 7)] * 30)
WAY = "bf16-graph"
TRUE = np.log(START[WAY])


def ms(shapes, batch, sm):
    return float(np.exp(log_ms(TRUE, shapes, np.array([batch]), np.array([sm]), 2.0))[0])


def test_heavy_work_is_divided_among_sms_and_grows_with_the_batch():
    assert pytest.approx(ms(HEAVY, 16.0, 16.0) / 4, rel=0.15) == ms(HEAVY, 16.0, 64.0)
    assert pytest.approx(8 * ms(HEAVY, 4.0, 16.0), rel=0.15) == ms(HEAVY, 32.0, 16.0)


def test_small_kernels_gain_nothing_from_more_sms():
    assert ms(SMALL, 1.0, 132.0) > 0.8 * ms(SMALL, 1.0, 32.0)


def test_a_wave_that_is_begun_is_paid():
    times = [ms(HEAVY, 1.0, float(s)) for s in (50, 51, 52)]
    assert sorted(times, reverse=True) == times


def test_constants_are_found_again_from_what_they_made():
    batch, sm = np.array([1.0, 4, 16, 1, 4, 16]), np.array([8.0, 8, 8, 132, 132, 132])
    moved = TRUE.copy()
    moved[CONSTANTS.index("conv")] -= 0.7
    moved[CONSTANTS.index("kernel")] += 0.5
    rows = [(s, batch, sm, log_ms(moved, s, batch, sm, 2.0)) for s in (HEAVY, SMALL)]
    found = learn_constants(rows, WAY)
    for shapes, b, s, y in rows:
        assert np.abs(log_ms(found, shapes, b, s, 2.0) - y).mean() < 0.06
