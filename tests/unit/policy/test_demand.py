import pytest

from autoscaler.policy import demand
from autoscaler.policy.demand import learn, level, quantile_of_requests
from autoscaler.policy.state import Memory

from .worlds import SETTINGS, service, steady, traffic

NOW = 1000.0


def demand_of(rates, memory=None, **more):
    found, _ = demand.estimate(
        service(traffic=traffic(rates, **more)), memory or Memory(), NOW, SETTINGS
    )
    return found


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [
        pytest.param(0.0, 30.0, id="nothing may be lost: the peak"),
        pytest.param(0.249, 30.0, id="the peak second holds a quarter of all requests"),
        pytest.param(0.25, 10.0, id="which may be lost"),
        pytest.param(1.0, 0.0, id="everything may be lost"),
    ],
)
def test_the_quantile_counts_requests_and_not_seconds(beyond, expected):
    assert expected == quantile_of_requests([10.0] * 9 + [30.0], beyond)


def test_no_arrivals_are_no_demand():
    found = demand_of((0.0,) * 50)
    assert (0.0, 0.0) == (found.rps, found.soon_rps)


def test_poisson_noise_alone_adds_only_the_doubt_about_the_mean():
    """Spread as wide as Poisson's own is no burst: the queue's formula holds it already."""
    calm = [90.0, 110.0] * 25  # variance 100 = mean / 1 s
    doubt = (100.0 / 50) ** 0.5
    strict = type(SETTINGS)(spread_sigma=0.0)
    assert 100.0 + doubt == pytest.approx(level(calm, 1.0, 0.01, strict))


def test_bursts_beyond_noise_raise_the_level_towards_the_peak():
    bursty = ([10.0] * 9 + [100.0]) * 5
    found = level(bursty, 1.0, 0.01, SETTINGS)
    assert 80.0 < found <= 101.0


def test_a_larger_budget_of_violations_needs_less():
    bursty = ([10.0] * 19 + [100.0]) * 3
    strict, loose = (level(bursty, 1.0, beyond, SETTINGS) for beyond in (0.01, 0.5))
    assert loose < strict


def test_a_sudden_rise_is_believed_at_once_and_continued_by_half():
    found = demand_of((20.0,) * 48 + (60.0, 60.0))
    assert 60.0 + 0.5 * 40.0 == pytest.approx(found.rps)


def test_a_rise_within_noise_is_no_surge():
    risen = demand_of((20.0,) * 48 + (24.0, 24.0))
    assert risen.rps < 26.0


def test_a_steady_climb_is_continued_to_the_end_of_a_cold_start():
    """The number of replicas looks a cold start ahead; the sizes of pieces do not."""
    rates = [20.0 + 2.0 * i for i in range(45)]
    quick, slow = (demand_of(rates, Memory(cold_start_s=s)) for s in (5.0, 20.0))
    assert quick.rps == slow.rps
    # Two requests/s more every second, less what noise may explain.
    assert 15 * 1.5 < slow.soon_rps - quick.soon_rps <= 15 * 2.0


def test_a_fall_is_no_climb():
    found = demand_of([100.0 - 2.0 * i for i in range(45)])
    assert found.soon_rps <= found.rps


def test_queued_requests_add_the_rate_that_drains_them():
    calm, queued = demand_of((20.0,) * 50), demand_of((20.0,) * 50, in_flight=32.0)
    # No replica yet counts as one: it holds one request in work and one behind it.
    assert 32.0 - 2.0 == pytest.approx(queued.backlog_rps)
    assert calm.rps + 30.0 == pytest.approx(queued.rps)


def test_the_feedback_multiplies_the_demand():
    once, more = demand_of((20.0,) * 50), demand_of((20.0,) * 50, Memory(feedback=1.5))
    assert 1.5 * once.rps == pytest.approx(more.rps)


def test_figures_of_a_sample_hold_until_the_next_one():
    """Between two scrapes nothing new is known, so nothing changes but the clock."""
    before = service(traffic=steady(20.0, age_s=0.5))
    _, rates = demand.estimate(before, Memory(), NOW, SETTINGS)
    later = service(traffic=steady(99.0, age_s=0.7))  # same newest sample, 0.2 s later
    _, kept = demand.estimate(later, Memory(rates=rates), NOW + 0.2, SETTINGS)
    assert rates is kept
    newer = service(traffic=steady(99.0, age_s=0.5))
    _, read = demand.estimate(newer, Memory(rates=rates), NOW + 1.0, SETTINGS)
    assert read.recent_rps == 99.0


@pytest.mark.parametrize(
    ("age_s", "rates", "known"),
    [(0.5, (1.0,), True), (10.0, (1.0,), True), (10.1, (1.0,), False), (0.5, (), False)],
)
def test_traffic_is_known_while_it_is_fresh(age_s, rates, known):
    assert known is demand.is_known(traffic(rates, age_s=age_s), SETTINGS)


def next_factor(late, *, feedback=1.0, blameless=False, answered=100.0, span_s=1.0, bursts=False):
    seen = traffic((100.0,), late=late, answered=answered)
    return learn(seen, 0.01, feedback, blameless, span_s, SETTINGS, bursts=bursts)


def test_clear_misses_with_the_capacity_in_force_raise_the_demand_fast():
    assert next_factor(0.02) == pytest.approx(1.0 + SETTINGS.correction_gain)


def test_misses_while_the_replicas_were_short_prove_nothing_about_the_model():
    assert next_factor(0.02, blameless=True) < 1.005


def test_a_single_late_answer_is_no_clear_miss():
    assert next_factor(0.02, answered=10.0) < 1.005


def test_a_quiet_hour_uses_the_whole_range_downward_and_no_more():
    factor = 1.0
    for _ in range(3600):
        factor = next_factor(0.0, feedback=factor)
    assert SETTINGS.feedback_floor == factor


def test_borrowed_time_never_lowers_the_demand_and_misses_still_raise_it():
    assert next_factor(0.0, bursts=True) == 1.0
    assert next_factor(0.0, feedback=1.2, bursts=True) < 1.2
    assert next_factor(0.5, bursts=True) == next_factor(0.5) > 1.0


def test_the_feedback_is_bounded_above_and_unmoved_without_answers():
    assert SETTINGS.feedback_limit == next_factor(1.0, feedback=SETTINGS.feedback_limit)
    assert next_factor(0.0, feedback=1.2, answered=0.0) == 1.2


def test_a_long_pause_between_decisions_counts_as_five_seconds_at_most():
    assert next_factor(0.0, span_s=5.0) == next_factor(0.0, span_s=500.0)
