"""What a decision makes of late answers that have not waited."""

from dataclasses import replace

import pytest

from autoscaler.policy.decide import decide
from autoscaler.policy.plan import Hold, Reason, Resize
from autoscaler.policy.slowness import LATENCY_WINDOW_S, Look, Slowness
from autoscaler.policy.state import Memory, State
from kserve_has.gpu import H200
from kserve_has.slo import Slo

from .worlds import SETTINGS, TABLE, gpus, piece, replica, service, steady, world

NAME = "ns/a"
SLO = Slo(6.0, 95)  # a request alone takes at most 4.9 ms on 16 SMs, 4.1 ms on 24
LATE = steady(3.0, latency_ms=6.4, late=1.0)  # a third more than that
LONG = {"grown_at_s": 0.0, "smallest": 1600}
FIRST = Look(LATE, SLO, 1, 4.9)


def slow_service(*pieces, **fields):
    held = [replica(f"r{i}", p) for i, p in enumerate(pieces or (piece(0b11, 100),))]
    return service(NAME, held, **{"slo": SLO, "traffic": LATE, "max_replicas": 4} | fields)


def memory(**fields):
    return State({NAME: Memory(**{**LONG, **fields})})


def told(own, state=None, seconds=0, now_s=1000.0, pool=None):
    """Return (actions of the last decision, memory) after deciding once a second."""
    state = memory() if state is None else state
    for second in range(seconds + 1):
        found = decide(state, world([own], pool, now_s + second), SETTINGS, TABLE)
        state = found.state
    return found.plan.actions, state.services[NAME]


def resizes(actions):
    return [a for a in actions if isinstance(a, Resize)]


def test_a_piece_that_is_too_slow_is_made_larger_and_the_plan_says_why():
    actions, after = told(slow_service(), seconds=4)
    (grown,) = resizes(actions)
    assert grown.because.reason is Reason.TOO_SLOW
    assert grown.because.numbers["slowness"] == after.slow.factor == 1.25
    assert grown.allocation.sm_partition == 24


def test_meanwhile_nothing_moves():
    actions, after = told(slow_service(), seconds=3)
    assert [] == resizes(actions)
    assert after.slow.factor == 1.0


def test_what_was_asked_for_is_kept_where_answers_are_on_time_again():
    _, after = told(slow_service(), seconds=4)
    good = steady(3.0, latency_ms=5.3)
    larger = slow_service(piece(0b111, 100), traffic=good)
    actions, later = told(larger, State({NAME: after}), 60, now_s=1005.0)
    assert [] == resizes(actions)
    assert later.slow.factor == 1.25


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(slow_service(traffic=replace(LATE, latency_ms=5.9)), id="failed, not late"),
        pytest.param(slow_service(traffic=replace(LATE, in_flight=9.0)), id="a queue"),
        pytest.param(slow_service(traffic=replace(LATE, latency_ms=60.0)), id="ten times too late"),
        pytest.param(
            slow_service(
                piece(0b11, 100),
                piece(0b1100, 100),
                traffic=steady(150.0, latency_ms=6.4, late=0.5),
            ),
            id="half are late and half have waited",
        ),
        pytest.param(slow_service(traffic=replace(LATE, sample_age_s=60.0)), id="old figures"),
    ],
)
def test_lateness_that_a_larger_piece_does_not_cure_changes_no_prediction(own):
    assert told(own, seconds=40)[1].slow.factor == 1.0


def test_pieces_that_were_short_or_are_new_or_not_in_force_prove_nothing():
    soon = 1004.0 - LATENCY_WINDOW_S + 1.0
    for state in (memory(short_at_s=soon), memory(grown_at_s=soon), memory(smallest=1599)):
        assert told(slow_service(), state, 4)[1].slow.factor == 1.0
    pending = slow_service()
    pending = replace(pending, replicas=(replace(pending.replicas[0], in_force=False),))
    assert told(pending, seconds=40)[1].slow.factor == 1.0


def test_no_sooner_than_a_window_after_the_last_change():
    just = Slowness(1.05, 1004.0 - LATENCY_WINDOW_S + 1.0, None, FIRST)
    assert told(slow_service(), memory(slow=just), 4)[1].slow.factor == 1.05
    assert told(slow_service(), memory(slow=just), 5)[1].slow.factor == 1.05
    assert told(slow_service(), memory(slow=just), 9)[1].slow.factor > 1.05


def test_the_demand_does_not_rise_for_what_more_of_the_same_cannot_cure():
    assert told(slow_service(), seconds=3)[1].feedback < 1.03
    queued = replace(LATE, latency_ms=60.0)
    assert told(slow_service(traffic=queued), seconds=3)[1].feedback > 1.1


def test_what_the_demand_rose_for_is_handed_over():
    _, after = told(slow_service(), memory(feedback=1.1), 4)
    assert after.feedback == 1.0
    _, low = told(slow_service(), memory(feedback=0.7), 4)
    assert low.feedback == pytest.approx(0.7, abs=0.03)


def test_given_up_is_told_and_the_demand_may_rise_again():
    tried = Slowness(SETTINGS.slow_limit, 900.0, 900.0, FIRST)
    larger = slow_service(piece(0b1111, 100), piece(0b11110000, 100))
    actions, after = told(larger, memory(slow=tried, smallest=3200))
    assert (after.slow.factor, after.slow.barred_until_s) == (1.0, 1000.0 + SETTINGS.slow_retry_s)
    (hold,) = [a for a in actions if isinstance(a, Hold)]
    assert hold.because.reason is Reason.TOO_SLOW
    assert hold.because.numbers == {"late_share": 1.0}
    barred = memory(slow=Slowness(1.0, 900.0, None, None, 2000.0))
    actions, after = told(slow_service(), barred, 8)
    assert after.feedback > 1.1
    assert Reason.TOO_SLOW in {a.because.reason for a in actions if isinstance(a, Hold)}


def test_late_at_the_limit_is_told_although_it_helped():
    tried = Slowness(SETTINGS.slow_limit, 900.0, 999.0, FIRST)
    pieces = (piece(0b1111, 100), piece(0b11110000, 100))
    larger = slow_service(*pieces, traffic=replace(LATE, late_share=0.4))
    actions, after = told(larger, memory(slow=tried, smallest=3200))
    assert after.slow.factor == SETTINGS.slow_limit
    assert Reason.TOO_SLOW in {a.because.reason for a in actions if isinstance(a, Hold)}
    actions, _ = told(larger, memory(slow=replace(tried, factor=1.2), smallest=3200))
    assert Reason.TOO_SLOW not in {a.because.reason for a in actions if isinstance(a, Hold)}


def test_a_slow_piece_beside_one_that_serves_all_is_parked():
    slow = Slowness(1.25, 900.0, None, FIRST)
    own = slow_service(piece(0b11, 100), piece(0b111111100, 100), traffic=steady(3.0))
    (parked,) = resizes(told(own, memory(slow=slow))[0])
    assert (parked.replica, parked.because.reason) == ("r0", Reason.TOO_SLOW)
    assert parked.capacity_rps == 0.0
    assert [] == resizes(told(own)[0])  # as long as the predictions are trusted


def test_growth_for_demand_says_so_whatever_the_predictions_are_multiplied_by():
    slow = memory(slow=Slowness(1.25, 900.0, None, FIRST))
    parked = piece(0b1, 10)
    for held in ((piece(0b111, 100),), (parked,)):
        own = slow_service(*held, traffic=steady(100.0))
        assert {Reason.DEMAND_ROSE} == {a.because.reason for a in resizes(told(own, slow)[0])}


def test_it_is_not_parked_before_the_others_are_in_force():
    slow = Slowness(1.25, 900.0, None, FIRST)
    own = slow_service(piece(0b11, 100), piece(0b111111100, 100), traffic=steady(3.0))
    first, second = own.replicas
    own = replace(own, replicas=(first, replace(second, in_force=False)))
    assert [] == resizes(told(own, memory(slow=slow))[0])


def test_neighbours_are_decided_on_as_before():
    other = service("ns/b", [replica("b", piece(0b11000000, 100))], slo=SLO, traffic=steady(3.0))
    state = memory(slow=Slowness(1.25, 900.0, None, FIRST))
    seen = world([slow_service(traffic=steady(3.0)), other], gpus(1, H200))
    found = decide(state, seen, SETTINGS, TABLE)
    assert {NAME} == {a.service for a in resizes(found.plan.actions)}


def test_late_answers_of_replicas_that_are_gone_accuse_none():
    silent = steady(0.0, answered=5.0, late=1.0, latency_ms=6.4)
    own = service(NAME, (), slo=SLO, traffic=silent, min_replicas=0, scale=0)
    assert told(own, memory(smallest=0), seconds=9)[1].slow.factor == 1.0
