import numpy as np

from kserve_has.latency.duty import alone_mean_ms, elapsed_upper_ms
from kserve_has.rapp.grid import Grid
from kserve_has.rapp.network import FittedNetwork

BATCHES, SMS, QUOTAS = (1, 4, 16), (8, 32, 64, 132), (7, 30, 55, 99, 100)


def test_a_grid_follows_the_quota_law_of_one_configuration(prior, unseen):
    fitted = FittedNetwork.fit(prior, unseen, 1.6)
    grid = Grid.product(BATCHES, SMS, QUOTAS)
    mean, upper, lower = fitted.predict(grid)
    at = 0
    for batch in BATCHES:
        for sm in SMS:
            alone = fitted.surface(np.array([float(batch)]), np.array([float(sm)]))
            gpu_mean, gpu_upper, gpu_lower = (float(a[0]) for a in alone)
            for quota in QUOTAS:
                np.testing.assert_allclose(mean[at], alone_mean_ms(gpu_mean, quota, 50.0))
                np.testing.assert_allclose(upper[at], elapsed_upper_ms(gpu_upper, quota, 50.0))
                assert gpu_lower <= lower[at] <= mean[at] <= upper[at]
                at += 1
    assert at == len(grid)


def test_configurations_may_come_in_any_order(prior, unseen):
    fitted = FittedNetwork.fit(prior, unseen, 1.6)
    one_by_one = Grid.of([16, 1, 16], [8, 132, 8], [50, 100, 25])
    product = Grid.product((1, 16), (8, 132), (25, 50, 100))
    expected = fitted.predict(product)[0][[7, 5, 6]]
    np.testing.assert_allclose(fitted.predict(one_by_one)[0], expected)


def test_an_observation_is_seen_by_a_grid_that_was_asked_before(prior, unseen):
    grid = Grid.product((4,), (32,), (100,))
    fitted = FittedNetwork.fit(prior, unseen, 1.6)
    before = float(fitted.predict(grid)[0][0])
    assert float(fitted.observed(4, 32, 2 * before).predict(grid)[0][0]) > before


def test_nothing_pauses_a_captured_graph(prior, unseen):
    fitted = FittedNetwork.fit(prior, unseen, 1.6)
    grid = Grid.product((16,), (8,), QUOTAS)
    alone, _, lowest = (float(a[0]) for a in fitted.surface(grid.batch, grid.sm))
    mean, upper, lower = fitted.predict(grid, one_launch=True)
    assert alone > 7 / 100 * 50.0  # more than the smallest budget
    np.testing.assert_allclose(mean, alone)
    np.testing.assert_allclose(lower, lowest)
    np.testing.assert_array_equal(upper, fitted.predict(grid)[1])
