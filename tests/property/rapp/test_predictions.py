"""Whatever was measured, predictions stay possible."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_has.rapp.conformal import Bound
from kserve_has.rapp.grid import Grid
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.network import FittedNetwork
from kserve_has.rapp.priors import packaged

PLACES = st.tuples(st.integers(1, 64), st.integers(1, 132), st.floats(0.05, 2000.0))
GRID = Grid.product((1, 3, 8, 40), (2, 8, 48, 132), (1, 10, 50, 99, 100))
SHAPE = (4, 4, 5)


@st.composite
def networks(draw):
    places = draw(st.lists(PLACES, max_size=8))
    batch, sm, ms = np.array(places, dtype=float).reshape(-1, 3).T
    points = Points(batch, sm, np.full(len(batch), 100.0), np.log(ms))
    return FittedNetwork.fit(packaged()["bf16-graph"].prior, points, 1.6)


@settings(max_examples=40, deadline=None)
@given(networks())
def test_bounds_enclose_the_mean_and_more_quota_is_never_slower(network):
    mean, upper, lower = (side.reshape(SHAPE) for side in network.predict(GRID))
    assert np.isfinite(upper).all()
    assert (lower > 0).all()
    assert (lower <= mean * (1 + 1e-9)).all()
    assert (mean <= upper * (1 + 1e-9)).all()
    assert (np.diff(mean, axis=2) <= 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(networks(), st.lists(PLACES, min_size=1, max_size=10))
def test_observations_never_make_a_network_less_sure_or_impossible(network, seen):
    for batch, sm, ms in seen:
        later = network.observed(batch, sm, ms)
        assert np.trace(later.belief.covariance) <= np.trace(network.belief.covariance) + 1e-9
        network = later
    assert all(np.isfinite(side).all() for side in network.predict(GRID))


@given(st.floats(0.5, 8.0), st.lists(st.floats(-50, 50), max_size=50))
def test_a_bound_moves_up_after_a_miss_and_down_after_a_hit(start, surprises):
    bound = Bound(start)
    for surprise in surprises:
        later = bound.after(surprise)
        if surprise > bound.deviations:
            assert later.deviations >= bound.deviations
        else:
            assert later.deviations <= bound.deviations
        bound = later
