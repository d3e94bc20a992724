import itertools
from dataclasses import replace

import numpy as np
import pytest

from kserve_has.rapp.online import AGAIN_S, QUEUED, STEPS, Learner, Observed
from kserve_has.rapp.profiled import from_profiles

PLACE = ("tiny", "NVIDIA H200")
MS = 0.5 + 16.0 / 8  # of batch 1 on 8 SMs, as the profile has it


def seen(gpu_ms, model="tiny", sm=8):
    return Observed(model, "NVIDIA H200", 1, sm, gpu_ms)


@pytest.fixture
def learner(profile):
    return Learner(from_profiles([profile, replace(profile, model="small")]))


def upper(learner, sm=8):
    return learner.model.predict(*PLACE, 1, sm, 100).upper_ms


def slowed(learner, times=3, model="tiny"):
    """Let requests take half as long again; one observation so far off is no proof."""
    learner.recall([seen(1.5 * MS, model)] * times)
    return [learner.step(0.2 * tick) for tick in range(times)]


def test_a_network_that_has_become_slower_is_believed_after_three_observations(learner):
    before = upper(learner)
    assert slowed(learner) == [False, False, True]
    assert upper(learner) > 1.4 * before


def test_a_bound_that_was_too_low_is_published_however_short_ago_the_last_one_was(learner):
    slowed(learner)
    learner.recall([seen(1.2 * upper(learner))] * 3)
    assert any(learner.step(0.8 + 0.2 * tick) for tick in range(3))


def test_what_only_got_surer_is_published_now_and_then(learner):
    before, told = upper(learner, 24), []
    for tick in range(200):
        learner.put([seen(0.98 * learner.model.predict(*PLACE, 1, 24, 100).mean_ms, sm=24)])
        if learner.step(float(tick)):
            told.append(float(tick))
    assert (told[0], len(told) > 3) == (0.0, True)
    assert all(later - earlier >= AGAIN_S for earlier, later in itertools.pairwise(told))
    assert upper(learner, 24) < before


def test_an_answer_that_stays_is_not_published_again(learner):
    for tick in range(300):
        learner.put([seen(MS)])
        learner.step(1000.0 * tick)
    learner.put([seen(MS)])
    assert not learner.step(1e9)


def test_news_of_one_model_leave_the_others_as_they_are(learner):
    other = learner.model.part("small", "NVIDIA H200")
    mine = learner.model.part(*PLACE)
    slowed(learner)
    assert learner.model.part(*PLACE) is not mine
    assert learner.model.part("small", "NVIDIA H200") is other


def test_one_network_a_step_is_published_the_missed_one_first(learner):
    learner.recall([seen(0.7 * MS, "small")] * 3)
    learner.recall([seen(1.5 * MS)] * 3)
    former = learner.model
    assert [learner.step(0.2 * tick) for tick in range(3)] == [False, False, True]
    assert learner.model.part(*PLACE) is not former.part(*PLACE)
    assert learner.model.part("small", "NVIDIA H200") is former.part("small", "NVIDIA H200")
    assert learner.step(0.6)
    assert learner.model.part("small", "NVIDIA H200") is not former.part("small", "NVIDIA H200")


def test_one_observation_of_a_network_a_step_and_no_more_than_so_many_wait(learner):
    learner.recall([seen(MS)] * (QUEUED + 50))
    for _ in range(QUEUED + 10):
        learner.step(0.0)
    assert learner.standings()[PLACE].observed == QUEUED
    learner.recall([seen(MS)] * 3)
    learner.step(0.0)
    assert learner.standings()[PLACE].observed == QUEUED + 1


def test_a_step_is_bounded_and_nobody_starves(profile):
    names = [f"m{i}" for i in range(STEPS + 5)]
    learner = Learner(from_profiles([replace(profile, model=name) for name in names]))
    learner.recall([seen(MS, name) for name in names for _ in range(2)])
    learner.step(0.0)
    assert sum(s.observed for s in learner.standings().values()) == STEPS
    learner.step(0.2)
    assert all(s.observed for s in learner.standings().values())


def test_what_cannot_be_the_profiled_model_teaches_nothing(learner):
    before = upper(learner)
    learner.recall([seen(10 * MS), seen(0.1 * MS), seen(MS, "unknown")])
    for _ in range(3):
        assert not learner.step(0.0)
    (standing,) = learner.standings().values()
    assert (standing.observed, standing.strange) == (0, 2)
    assert upper(learner) == before


def test_coverage_and_width_tell_how_the_bound_did(learner):
    learner.recall([seen(MS)] * 9 + [seen(1.4 * MS)])
    for tick in range(10):
        learner.step(float(tick))
    standing = learner.standings()[PLACE]
    assert standing.coverage == pytest.approx(0.9)
    assert 1.0 < standing.width < 1.5


def test_it_ends_at_what_is_observed(learner):
    truth, draw = 1.2 * MS, np.random.default_rng(3)
    for tick in range(200):
        learner.put([seen(truth * float(np.exp(0.003 * draw.standard_normal())))])
        learner.step(10.0 * tick)
    assert learner.model.predict(*PLACE, 1, 8, 100).mean_ms == pytest.approx(truth, rel=0.01)
    assert truth < upper(learner) < 1.05 * truth


def test_what_still_waits_gives_way_to_what_is_newer_on_the_same_piece(learner):
    learner.put([seen(1.01 * MS), seen(MS, sm=16), seen(MS)])
    for tick in range(5):
        learner.step(float(tick))
    assert learner.standings()[PLACE].observed == 2


@pytest.mark.parametrize("sm", [0, 500])
def test_an_observation_of_a_piece_that_cannot_be_is_left_out(learner, sm):
    learner.recall([seen(MS, sm=sm)])
    learner.put([seen(MS, sm=sm)])
    assert not learner.step(0.0)
    assert not learner.standings()


def test_the_past_does_not_give_way_to_what_is_new(learner):
    learner.recall([seen(MS)] * 5)
    learner.put([seen(MS)])
    for tick in range(10):
        learner.step(float(tick))
    assert learner.standings()[PLACE].observed == 6
