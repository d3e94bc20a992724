"""The rule by itself: which late answers accuse the pieces, and what follows."""

from dataclasses import replace

import pytest

from autoscaler.policy.slowness import (
    LATENCY_WINDOW_S,
    TRUST,
    Look,
    Slowness,
    busy_share,
    is_slow,
    is_suspect,
    learn,
    taken_over,
)
from kserve_has.slo import Slo

from .worlds import SETTINGS, steady

SLO = Slo(100.0, 95)
NOW = 1000.0


def look(latency_ms=110.0, *, late=1.0, rps=5.0, replicas=2, slowest_ms=90.0, **fields):
    return Look(steady(rps, late=late, latency_ms=latency_ms, **fields), SLO, replicas, slowest_ms)


def after(slow, late, seconds, begin_s=NOW):
    """Return what is known when the same is seen every second for a while."""
    for second in range(seconds + 1):
        slow = learn(slow, late, SLO, begin_s + second, SETTINGS)
    return slow


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param({}, True, id="late answers"),
        pytest.param({"latency_ms": None}, False, id="no answers"),
        pytest.param({"latency_ms": 100.0}, False, id="only failed ones"),
        pytest.param({"late": 0.05}, False, id="no more than allowed"),
        pytest.param({"rps": 0.2}, False, id="two requests in ten seconds"),
    ],
)
def test_only_what_breaks_the_objective_is_looked_at(seen, expected):
    found = look(**seen)
    assert expected is is_suspect(found.traffic, found.slo)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param({}, True, id="all are late and hardly any has waited"),
        pytest.param({"rps": 30.0}, False, id="all may have waited"),
        pytest.param({"rps": 5.0, "late": 0.32}, False, id="those that waited and those allowed"),
        pytest.param({"rps": 5.0, "late": 0.33}, True, id="one per cent more"),
        pytest.param({"rps": 5.0, "late": 0.32, "replicas": 3}, True, id="at three replicas"),
        pytest.param({"latency_ms": 136.0}, False, id="so long that they must have waited"),
        pytest.param({"slowest_ms": 100.0}, False, id="as slow as predicted"),
        pytest.param({"median_ms": 90.0}, False, id="half were as fast as predicted"),
        pytest.param({"median_ms": 90.1}, True, id="more than half were not"),
    ],
)
def test_late_answers_accuse_the_piece_only_where_waiting_cannot_explain_them(seen, expected):
    assert expected is is_slow(look(**seen), TRUST, SETTINGS)


def test_the_busiest_second_of_the_window_counts():
    calm = steady(5.0, latency_ms=110.0)
    burst = replace(calm, arrivals_rps=(*calm.arrivals_rps[:-3], (2.5, 9.0), (1.5, 5.0)))
    past = replace(calm, arrivals_rps=((LATENCY_WINDOW_S + 1.0, 90.0), *calm.arrivals_rps[-5:]))
    shares = [busy_share(Look(seen, SLO, 2, 90.0)) for seen in (calm, burst, past)]
    assert [0.275, 0.495, 0.275] == pytest.approx(shares)
    assert busy_share(look(rps=500.0)) == 1.0


def test_larger_pieces_that_are_as_slow_as_the_first_go_on_being_judged():
    tried = Slowness(1.2, NOW, None, look())
    assert is_slow(look(slowest_ms=60.0), tried, SETTINGS)
    assert not is_slow(look(slowest_ms=60.0), TRUST, SETTINGS)


def test_an_odd_second_moves_nothing():
    assert after(TRUST, look(), 3).factor == 1.0
    broken = learn(after(TRUST, look(), 3), None, SLO, NOW + 4, SETTINGS)
    assert after(broken, look(), 3, NOW + 5).factor == 1.0
    assert after(TRUST, look(), 4).factor > 1.0


@pytest.mark.parametrize(
    ("seen", "factor"),
    [
        pytest.param({"latency_ms": 98.0, "slowest_ms": 95.0}, 1.05, id="up to the next step"),
        pytest.param({"latency_ms": 101.0, "slowest_ms": 95.0}, 1.1, id="what was observed"),
        pytest.param({"latency_ms": 130.0, "slowest_ms": 95.0}, 1.1, id="in parts"),
        pytest.param({"latency_ms": 130.0, "slowest_ms": 70.0}, 1.45, id="the piece is left out"),
        pytest.param({"latency_ms": 200.0, "slowest_ms": 50.0}, 1.5, id="never past the limit"),
    ],
)
def test_a_rise_follows_what_was_observed(seen, factor):
    assert factor == after(TRUST, look(**seen), 4).factor


def test_a_rise_is_one_step_at_least():
    first = look()
    assert after(Slowness(1.3, 0.0, None, first), look(101.0), 4).factor == 1.35


def test_the_factor_falls_by_a_step_as_rarely_as_the_objective_can_bear():
    keep_s = (LATENCY_WINDOW_S + SETTINGS.slow_after_s) / (SETTINGS.violation_aim * 0.05)
    slow = Slowness(1.1, NOW, None, look())
    assert slow is learn(slow, None, SLO, NOW + keep_s - 1, SETTINGS)
    lower = learn(slow, None, SLO, NOW + keep_s, SETTINGS)
    assert replace(slow, factor=1.05, set_s=NOW + keep_s) == lower
    gone = learn(lower, None, SLO, NOW + 2 * keep_s, SETTINGS)
    assert (gone.factor, gone.first) == (1.0, None)
    strict = Slo(100.0, 99)
    assert learn(slow, None, strict, NOW + 4 * keep_s, SETTINGS) is slow


def test_what_brings_nothing_is_given_up_for_a_while():
    first = look(slowest_ms=90.0)
    tried = Slowness(1.2, NOW - 20, None, first)
    same = look(slowest_ms=70.0)  # a fifth faster by prediction, by observation not at all
    given_up = after(tried, same, 4)
    assert (given_up.factor, given_up.first) == (1.0, None)
    assert given_up.barred_until_s == NOW + 4 + SETTINGS.slow_retry_s
    assert after(given_up, same, 800, NOW + 4).factor == 1.0
    assert after(given_up, same, 1, given_up.barred_until_s).factor > 1.0


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"slowest_ms": 70.0, "late": 0.5}, id="half as many are late"),
        pytest.param({"slowest_ms": 70.0, "latency_ms": 101.0}, id="latency fell with the piece"),
        pytest.param({"slowest_ms": 75.0}, id="the pieces are not yet much larger"),
    ],
)
def test_what_helps_or_may_yet_is_continued(seen):
    tried = Slowness(1.2, NOW - 20, None, look(115.0, slowest_ms=90.0))
    assert after(tried, look(**{"latency_ms": 115.0} | seen), 4).factor > 1.2


def test_at_the_limit_only_fewer_late_answers_are_help():
    tried = Slowness(SETTINGS.slow_limit, NOW - 20, None, look(130.0, slowest_ms=90.0))
    assert after(tried, look(101.0, slowest_ms=70.0), 4).factor == 1.0
    helped = after(tried, look(101.0, slowest_ms=70.0, late=0.4), 40)
    assert helped.factor == SETTINGS.slow_limit


def test_a_limit_of_one_trusts_the_predictions_whatever_is_seen():
    never = replace(SETTINGS, slow_limit=1.0)
    slow = TRUST
    for second in range(60):
        slow = learn(slow, look(), SLO, NOW + second, never)
    assert slow.factor == 1.0
    assert not is_slow(look(), TRUST, never)


@pytest.mark.parametrize(
    ("rise", "factor"),
    [(1.0, 1.2), (0.8, 1.2), (1.01, 1.2), (1.1, 1.1), (1.3, 1.0)],
)
def test_what_the_model_has_learnt_is_taken_out(rise, factor):
    slow = Slowness(1.2, NOW, None, look())
    left = taken_over(slow, rise)
    assert factor == left.factor
    assert (left.first is None) is (factor == 1.0)
    assert TRUST is taken_over(TRUST, rise)
