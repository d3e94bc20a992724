from dataclasses import replace

import numpy as np

from kserve_has.rapp.choose import choose
from kserve_has.rapp.network import FittedNetwork


def error(prior, points, chosen) -> float:
    fitted = FittedNetwork.fit(prior, points.take(chosen), 1.6)
    mean, _, _ = fitted.surface(points.batch, points.sm)
    return float(np.abs(mean / np.exp(points.log_ms) - 1).mean())


def test_four_well_chosen_points_tell_the_others(prior, unseen):
    chosen = choose(prior, unseen, 4)
    assert error(prior, unseen, chosen) < 0.04


def test_well_chosen_points_tell_more_than_the_first_ones(prior, unseen):
    assert error(prior, unseen, choose(prior, unseen, 3)) < error(prior, unseen, np.arange(3))


def test_no_point_is_chosen_twice(prior, unseen):
    assert len(unseen) == len(set(choose(prior, unseen, 20)))


def test_one_wrong_label_pulls_little(prior, unseen):
    chosen = choose(prior, unseen, 9)
    log_ms = unseen.log_ms.copy()
    log_ms[chosen[8]] += np.log(3)
    wrong = replace(unseen, log_ms=log_ms)
    fitted = FittedNetwork.fit(prior, wrong.take(chosen), 1.6)
    mean, _, _ = fitted.surface(unseen.batch, unseen.sm)
    others = np.delete(np.abs(mean / np.exp(unseen.log_ms) - 1), chosen[8])
    assert others.mean() < 0.05


def test_more_points_bring_the_upper_bound_closer(prior, unseen):
    widths = []
    for count in (1, 4, 8):
        fitted = FittedNetwork.fit(prior, unseen.take(choose(prior, unseen, count)), 1.6)
        mean, upper, lower = fitted.surface(unseen.batch, unseen.sm)
        assert (lower < mean).all()
        assert (mean < upper).all()
        widths.append(float((upper / mean).mean()))
    assert sorted(widths, reverse=True) == widths


def test_observations_correct_a_network_that_became_slower(prior, unseen):
    fitted = FittedNetwork.fit(prior, unseen.take(choose(prior, unseen, 6)), 1.6)
    batch, sm = np.array([4.0]), np.array([32.0])
    before = float(fitted.surface(batch, sm)[0][0])
    later = fitted
    for _ in range(60):
        later = later.observed(4, 32, 1.3 * before)
    assert 1.25 * before < float(later.surface(batch, sm)[0][0]) < 1.35 * before
    assert before == float(fitted.surface(batch, sm)[0][0])
