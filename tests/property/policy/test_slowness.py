"""Whatever is seen, the factor on predicted latencies is bounded, slow to move and not kept."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.policy.capacity import ladder
from autoscaler.policy.decide import decide
from autoscaler.policy.plan import Place, Resize
from autoscaler.policy.slowness import TRUST, Look, Slowness, is_slow, learn
from autoscaler.policy.state import Memory, State
from kserve_has.gpu import H200
from kserve_has.slo import Slo

from ...unit.policy.worlds import SETTINGS, TABLE, service, steady
from .cluster import is_sound, obey, over_committed
from .strategies import worlds

SLO = Slo(100.0, 95)
STEPS = tuple(1 + k / 20 for k in range(11))
milliseconds = st.floats(1.0, 500.0)


@st.composite
def looks(draw):
    late = draw(st.floats(0.05, 1.0))
    traffic = steady(draw(st.floats(0.5, 50.0)), late=late, latency_ms=draw(milliseconds))
    return Look(traffic, SLO, draw(st.integers(1, 5)), draw(milliseconds))


@given(st.lists(st.tuples(st.none() | looks(), st.floats(0.2, 60.0)), max_size=200))
def test_the_factor_stays_in_its_steps_and_rises_rarely(seen):
    slow, now_s, rose_s = TRUST, 0.0, -60.0
    for late, pause_s in seen:
        now_s += pause_s
        latest = learn(slow, late, SLO, now_s, SETTINGS)
        assert latest.factor in STEPS
        if latest.factor > slow.factor:
            assert late is not None
            assert now_s >= latest.barred_until_s
            assert now_s - rose_s >= SETTINGS.slow_after_s
            rose_s = now_s
        slow = latest


@given(st.sampled_from(STEPS), looks())
def test_without_late_answers_it_is_forgotten_step_by_step(factor, first):
    slow, now_s, factors = Slowness(factor, 0.0, None, first), 0.0, [factor]
    while slow.factor > 1.0 and now_s < 36_000.0:
        now_s += 60.0
        slow = learn(slow, None, SLO, now_s, SETTINGS)
        factors.append(slow.factor)
    assert factors[-1] == 1.0
    assert sorted(factors, reverse=True) == factors
    assert max(a - b for a, b in zip(factors, [*factors[1:], 1.0], strict=True)) < 0.051


@given(looks(), st.floats(1.0, 3.0))
def test_slower_answers_never_make_a_smaller_factor(late, more):
    slower = replace(late, traffic=replace(late.traffic, latency_ms=late.traffic.latency_ms * more))
    waited = replace(TRUST, late_since_s=0.0)
    one, other = (learn(waited, seen, SLO, 60.0, SETTINGS).factor for seen in (late, slower))
    assert one <= other


@given(looks(), st.floats(1.0, 3.0))
def test_more_traffic_on_the_same_replicas_never_accuses_the_piece(late, more):
    busier = replace(
        late.traffic,
        arrivals_rps=tuple((age, more * rps) for age, rps in late.traffic.arrivals_rps),
    )
    if not is_slow(late, TRUST, SETTINGS):
        assert not is_slow(replace(late, traffic=busier), TRUST, SETTINGS)


@given(st.sampled_from(STEPS), st.sampled_from(STEPS), st.integers(1, 4))
def test_a_larger_factor_never_promises_more_of_a_piece(one, other, pool):
    low, high = sorted((one, other))
    own = service(slo=Slo(8.0, 95))
    trusting, doubting = (ladder(own, H200, SETTINGS, TABLE, pool, f) for f in (low, high))
    for piece in trusting.pieces:
        assert doubting.rps_of(piece.sm, piece.quota) <= trusting.rps_of(piece.sm, piece.quota)


@given(worlds(), st.lists(st.sampled_from(STEPS), min_size=4, max_size=4))
@settings(deadline=None)
def test_plans_are_as_safe_under_any_factors(seen, factors):
    state = State(
        {
            s.name: Memory(slow=Slowness(factor, seen.now_s))
            for s, factor in zip(seen.services, factors, strict=False)
        }
    )
    for _ in range(3):
        decision = decide(state, seen, SETTINGS, TABLE)
        promised = []
        for action in decision.plan.actions:
            if isinstance(action, Place | Resize):
                promised.append((action.service, action.replica, action.allocation))
                assert [] == over_committed(seen, promised)
        assert {s.name for s in seen.services} == {a.service for a in decision.plan.actions}
        state, seen = decision.state, obey(seen, decision.plan, after_s=0.4)
        assert is_sound(seen)
