import numpy as np
import pytest

from kserve_has.rapp import core
from kserve_has.rapp.basis import Basis

THETA = np.log([3.0, 8.0, 40.0, 0.4, 0.1])


def at(batch: float, sm: float) -> float:
    return float(np.exp(core.log_ms(THETA, np.array([batch]), np.array([sm]))[0][0]))


def test_a_small_request_on_the_whole_gpu_takes_as_long_as_launching_it():
    assert pytest.approx(3.0, rel=0.02) == at(1, 132)


def test_heavy_work_is_divided_among_the_sms():
    assert pytest.approx(at(32, 8) / 2, rel=0.05) == at(32, 16)


def test_the_derivatives_are_those_of_the_function():
    batch, sm = np.array([1.0, 8.0, 32.0]), np.array([132.0, 24.0, 8.0])
    value, slope = core.log_ms(THETA, batch, sm)
    for index in range(5):
        step = np.zeros(5)
        step[index] = 1e-6
        moved, _ = core.log_ms(THETA + step, batch, sm)
        np.testing.assert_allclose(slope[:, index], (moved - value) / 1e-6, atol=1e-5)


def test_hats_are_one_at_their_knot_and_hold_the_nearest_value_outside():
    basis = Basis(((1, 4), (8, 32)))
    values = basis.at(np.array([1.0, 4.0, 64.0, 2.0]), np.array([8.0, 32.0, 132.0, 8.0]))
    expected = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0.5, 0, 0.5, 0]]
    np.testing.assert_allclose(values, expected)


def test_no_points_have_no_rows():
    assert (0, 4) == Basis(((1, 4), (8, 32))).at(np.array([]), np.array([])).shape
