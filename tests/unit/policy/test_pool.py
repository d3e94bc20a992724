from dataclasses import replace

import pytest

from autoscaler.policy.decide import decide
from autoscaler.policy.demand import surge_of
from autoscaler.policy.desk import Desk, View, sort_replicas
from autoscaler.policy.ledger import open_books
from autoscaler.policy.plan import Reason, Resize, SetScale
from autoscaler.policy.pool import cheapest_split, pool_count, remember, usual_surge, working
from autoscaler.policy.state import Memory, State
from kserve_has.gpu import H200

from .worlds import SETTINGS, TABLE, gpus, piece, replica, service, steady, world

PARKED = SETTINGS.parked_quota


def seen(own, memory=None, settings=SETTINGS):
    desk = Desk(1000.0, settings, TABLE, open_books(world([own], gpus(4)), {}))
    view = View(own, memory or Memory(), H200)
    sort_replicas(view, desk.rooms.gpus, ())
    return desk, view


def test_the_cheapest_split_serves_the_rate_and_no_other_is_cheaper():
    desk, view = seen(service())
    for rps in (5.0, 50.0, 150.0, 600.0):
        best = cheapest_split(desk, view, rps, 4)
        assert best.piece.rps * best.working >= rps
        for count in (1, 2, 3, 4):
            one = view.ladder(desk, count).cheapest(rps / count)
            spare = (4 - count) * 187
            assert one is None or best.cost <= count * one.area + spare + 1


def test_what_nobody_can_serve_has_no_piece():
    desk, view = seen(service())
    assert cheapest_split(desk, view, 1e6, 4).piece is None


def test_parked_replicas_do_not_work_unless_all_are_parked():
    idle = replica("idle", piece(0b10, PARKED))
    busy = replica("busy", piece(0b1, 100))
    desk, view = seen(service(replicas=[busy, idle]))
    assert ["busy"] == [r.name for r in working(desk, view)]
    other = replica("other", piece(0b100, PARKED))
    desk, view = seen(service(replicas=[idle, other]))
    assert ["idle", "other"] == [r.name for r in working(desk, view)]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param([10.0] * 40, 1.0, id="steady"),
        pytest.param([100.0] * 38 + [10.0, 10.0], 1.0, id="falling"),
        pytest.param([100.0] * 38 + [400.0, 400.0], 3.65, id="four times, less the noise"),
        pytest.param([10.0] * 10, 1.0, id="too few to tell"),
    ],
)
def test_a_surge_is_what_noise_does_not_explain(rates, expected):
    assert expected == pytest.approx(surge_of(rates, 1.0, 12.0, 2.5), abs=0.01)


def test_the_highest_surge_of_each_minute_is_remembered_for_an_hour():
    memory = Memory()
    for now_s, surge in ((0.0, 1.5), (30.0, 4.0), (59.0, 2.0), (60.0, 1.1), (3599.0, 1.2)):
        memory = remember(memory, now_s, surge)
    assert ((0, 4.0), (1, 1.1), (59, 1.2)) == memory.surges
    assert ((1, 1.1), (59, 1.2), (60, 1.0)) == remember(memory, 3600.0, 1.0).surges


def test_the_usual_surge_is_a_quantile_and_never_below_the_prior():
    desk, _ = seen(service())
    assert usual_surge(desk, Memory()) == SETTINGS.pool_surge
    calm = tuple((minute, 1.1) for minute in range(60))
    assert usual_surge(desk, Memory(surges=calm)) == SETTINGS.pool_surge
    beginning = ((0, 30.0), (1, 1.0))
    assert usual_surge(desk, Memory(surges=beginning)) == SETTINGS.pool_surge
    rare = (*calm[:57], (57, 9.0), (58, 8.0), (59, 7.0))
    assert usual_surge(desk, Memory(surges=rare)) == 7.0


def test_there_are_spares_for_a_surge_but_not_for_more_than_their_worth():
    free = replace(SETTINGS, pool_overhead=2.0)
    desk, view = seen(service(max_replicas=20), settings=free)
    full = view.ladder(desk, 4).sturdy_rps
    assert pool_count(desk, view, full, 4) >= 3
    tight = replace(SETTINGS, pool_overhead=0.0)
    desk, view = seen(
        service(max_replicas=20), Memory(surges=tuple((m, 20.0) for m in range(10))), tight
    )
    working_ = cheapest_split(desk, view, full, 4).working
    assert pool_count(desk, view, full, 4) == working_ + 1


def test_no_spare_is_kept_where_one_replica_could_stretch_that_far():
    desk, view = seen(service())
    assert pool_count(desk, view, 20.0, 1) == 1


def decided(own, memory=None, now_s=1000.0):
    state = State() if memory is None else State({own.name: memory})
    return decide(state, world([own], gpus(4), now_s), SETTINGS, TABLE).plan.actions


def test_a_service_that_could_not_meet_a_surge_gets_a_warm_spare():
    own = service(replicas=[replica("a", piece(0b11, 100))], traffic=steady(75.0))
    (asked,) = [a for a in decided(own) if isinstance(a, SetScale)]
    assert (2, Reason.WARM_POOL) == (asked.replicas, asked.because.reason)


def test_a_surge_wakes_what_is_parked_at_once():
    held = [replica("a", piece(0b11, 100)), replica("b", piece(0b1, PARKED, "GPU-1"))]
    own = service(replicas=held, traffic=steady(190.0))
    woken = {a.replica: a for a in decided(own) if isinstance(a, Resize)}
    assert woken["b"].allocation.quota_percent > PARKED


def test_what_the_working_ones_can_take_wakes_nobody():
    held = [replica("a", piece(0b1, 100)), replica("b", piece(0b1, PARKED, "GPU-1"))]
    own = service(replicas=held, traffic=steady(100.0), max_replicas=2)
    assert {"a"} == {a.replica for a in decided(own) if isinstance(a, Resize)}


def test_spares_are_parked_after_the_surge_and_the_largest_goes_on_working():
    held = [replica("a", piece(0b1, 100)), replica("b", piece(0b1111, 100, "GPU-1"))]
    own = service(replicas=held, traffic=steady(100.0), max_replicas=2)
    moved = {
        a.replica: a for a in decided(own, Memory(shrink_since_s=0.0)) if isinstance(a, Resize)
    }
    assert moved["a"].because.reason is Reason.PARKED
    assert moved["b"].because.reason is Reason.DEMAND_FELL


def test_a_parked_spare_is_kept_longer_than_a_working_replica():
    held = [replica("a", piece(0b1, 100)), replica("b", piece(0b1, PARKED, "GPU-1"))]
    own = service(replicas=held, traffic=steady(10.0))
    just = Memory(fewer_since_s=1000.0 - SETTINGS.scale_in_after_s)
    assert [] == [a for a in decided(own, just) if isinstance(a, SetScale)]
    long = Memory(fewer_since_s=1000.0 - SETTINGS.pool_keep_s)
    (asked,) = [a for a in decided(own, long) if isinstance(a, SetScale)]
    assert ("b",) == asked.victims
