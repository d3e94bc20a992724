import numpy as np
import pytest

from kserve_has.rapp.conformal import Bound


@pytest.mark.parametrize("start", [0.6, 1.6, 4.0], ids=["too low", "right", "too high"])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda r: r.standard_normal(), id="normal"),
        pytest.param(lambda r: 0.3 * r.standard_t(3), id="narrow with outliers"),
        pytest.param(lambda r: 1.0 + r.standard_normal(), id="biased"),
    ],
)
def test_one_in_twenty_misses_whatever_the_distribution(start, draw):
    random = np.random.default_rng(1)
    bound, misses = Bound(start), 0
    for _ in range(6000):
        surprise = float(draw(random))
        misses += surprise > bound.deviations
        bound = bound.after(surprise)
    assert 0.04 < misses / 6000 < 0.06


def test_a_miss_widens_the_bound_at_once():
    assert Bound(1.6).after(9.0).deviations > 2.0


def test_the_bound_stays_within_reason():
    bound = Bound(1.6)
    for _ in range(1000):
        bound = bound.after(1e9)
    assert bound.deviations <= 8.0


def test_it_covers_again_after_200_observations_of_a_noisier_network():
    random = np.random.default_rng(0)
    misses = 0
    for _ in range(100):
        bound = Bound(1.7)
        for number in range(400):
            surprise = 2.5 * random.standard_normal()
            misses += number >= 200 and surprise > bound.deviations
            bound = bound.after(surprise)
    assert 0.945 < 1.0 - misses / 20_000 < 0.96
