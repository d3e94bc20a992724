import numpy as np
import pytest

from kserve_has.rapp.dense import DenseNetwork
from kserve_has.rapp.hierarchy import Points


@pytest.fixture(scope="module")
def surface():
    batch, sm, quota = (
        a.ravel().astype(float)
        for a in np.meshgrid((1, 2, 4), (5, 10, 20, 40, 80), (20, 50, 100), indexing="ij")
    )
    return Points(batch, sm, quota, np.log((3 + 50 * batch / sm) * 100 / quota))


def test_a_hidden_point_is_told_by_its_neighbours(surface):
    rest = np.arange(len(surface)) != 22
    value, deviation = DenseNetwork(surface.take(rest)).log_belief(surface.take(~rest))
    assert abs(value[0] - surface.log_ms[22]) < 0.05
    assert deviation[0] < 0.2


def test_left_out_predictions_are_those_of_networks_without_the_point(surface):
    left_out = DenseNetwork(surface).left_out()
    for index in (0, 17, 44):
        rest = np.arange(len(surface)) != index
        value, _ = DenseNetwork(surface.take(rest)).log_belief(surface.take(~rest))
        np.testing.assert_allclose(left_out[index], value[0], atol=0.01)


def test_one_wrong_label_does_not_bend_its_neighbours(surface):
    log_ms = surface.log_ms.copy()
    log_ms[22] += np.log(2)
    wrong = DenseNetwork(Points(surface.batch, surface.sm, surface.quota, log_ms))
    near = np.array([21, 23, 19, 25])
    value, _ = wrong.log_belief(surface.take(near))
    assert np.abs(value - surface.log_ms[near]).max() < 0.15
