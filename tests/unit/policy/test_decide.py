from dataclasses import replace

from autoscaler.policy.decide import decide
from autoscaler.policy.desk import Desk
from autoscaler.policy.ledger import Rooms
from autoscaler.policy.observation import Observation
from autoscaler.policy.plan import Because, Hold, Place, Reason, Resize, SetScale
from autoscaler.policy.state import Drain, Memory, State, changed
from kserve_has.gpu import H200
from kserve_has.slo import Slo

from .worlds import SETTINGS, TABLE, gpu, gpus, piece, replica, service, steady, world

NAME = "ns/a"


def decision(services, state=None, now_s=1000.0, pool=None):
    return decide(state or State(), world(services, pool, now_s), SETTINGS, TABLE)


def test_unknown_data_holds_and_says_how_old_it_is():
    own = service(replicas=[replica("a", piece())], traffic=steady(500.0, age_s=42.0))
    (only,) = decision([own]).plan.actions
    assert Hold(NAME, Because(Reason.NO_DATA, {"sample_age_s": 42.0})) == only


def test_a_model_that_was_never_measured_is_held_and_told():
    own = service(replicas=[replica("a", piece())], served_model="secret")
    (only,) = decision([own]).plan.actions
    assert only.because.reason is Reason.UNKNOWN_MODEL


def test_without_a_healthy_gpu_there_is_no_room():
    own = service(replicas=[replica("a")])
    (only,) = decision([own], pool=(gpu(healthy=False),)).plan.actions
    assert only.because.reason is Reason.NO_ROOM


def test_every_service_is_acted_on_or_told_why_not():
    services = [
        service("ns/a", [replica("a", piece(0b1, 70))], steady(150.0)),
        service("ns/b", [replica("b", piece(0b10, 100))], steady(10.0)),
        service("ns/c", [replica("c")]),
    ]
    assert {"ns/a", "ns/b", "ns/c"} == {a.service for a in decision(services).plan.actions}


def test_shrinking_comes_first_then_growing_then_scaling_then_what_was_held():
    since = Memory(shrink_since_s=0.0)
    services = [
        service("ns/big", [replica("b", piece(0xFF00, 100))], steady(10.0), priority=1),
        service("ns/grow", [replica("g", piece(0b1, 70))], steady(150.0)),
        service("ns/new", [replica("n")], min_replicas=2),
        service("ns/calm", [replica("c", piece(0b100, 100))], steady(10.0)),
    ]
    actions = decision(services, State({"ns/big": since})).plan.actions
    order = [(type(a), a.service) for a in actions]
    assert order.index((Resize, "ns/big")) < order.index((Resize, "ns/grow"))
    assert order.index((Resize, "ns/grow")) < order.index((SetScale, "ns/new"))
    assert order.index((Place, "ns/new")) < order.index((SetScale, "ns/new"))
    assert (Hold, "ns/calm") == order[-1]


def contenders(first, second):
    """Return two services that both want what only one can have."""
    return [
        service(
            name,
            [replica("r", piece(1 << i, 100))],
            steady(160.0),
            priority=priority,
            max_replicas=1,
            min_sm=8,
        )
        for i, (name, priority) in enumerate((("ns/a", first), ("ns/b", second)))
    ]


def test_the_higher_priority_grows_when_not_both_can():
    blocker = service("ns/z", [replica("z", piece(0xFFF0, 100))], steady(200.0), priority=999)
    for first, second, winner in ((900, 100, "ns/a"), (100, 900, "ns/b"), (5, 5, "ns/a")):
        found = decision([*contenders(first, second), blocker], pool=gpus(1)).plan.actions
        grown = [a.service for a in found if isinstance(a, Resize)]
        assert winner == grown[0]


def test_a_former_piece_stays_charged_until_its_node_has_followed():
    own = service(replicas=[replica("a", piece(0b1, 70))], traffic=steady(150.0))
    first = decision([own])
    (grown,) = [a for a in first.plan.actions if isinstance(a, Resize)]
    assert {piece(0b1, 70), grown.allocation} == set(first.state.draining[NAME, "a"].pieces)
    waiting = service(replicas=[replica("a", grown.allocation, in_force=False)])
    later = decision([waiting], first.state, now_s=1005.0)
    assert (NAME, "a") in later.state.draining
    done = service(replicas=[replica("a", grown.allocation)], traffic=steady(150.0))
    assert (NAME, "a") not in decision([done], first.state, now_s=1005.0).state.draining


def test_an_observation_older_than_the_patch_does_not_free_the_new_piece():
    own = service(replicas=[replica("a", piece(0b1, 70))], traffic=steady(150.0))
    first = decision([own])
    soon = decision([own], first.state, now_s=1000.0 + SETTINGS.settle_s / 2)
    assert (NAME, "a") in soon.state.draining


def test_what_drains_ends_with_its_replica():
    state = State(draining={(NAME, "gone"): Drain((piece(),), 999.9)})
    assert {} == dict(decision([service()], state).state.draining)


def test_a_replica_placed_a_moment_ago_is_not_placed_again():
    own = service(replicas=[replica("a")])
    first = decision([own])
    assert any(isinstance(a, Place) for a in first.plan.actions)
    again = decision([own], first.state, now_s=1000.2)
    assert not any(isinstance(a, Place) for a in again.plan.actions)
    lost = decision([own], first.state, now_s=1000.0 + SETTINGS.settle_s)
    assert any(isinstance(a, Place) for a in lost.plan.actions)


def test_memory_of_services_that_are_gone_is_dropped():
    state = State({"ns/gone": Memory(feedback=1.3)})
    assert {NAME} == set(decision([service()], state).state.services)


def test_the_plan_does_not_depend_on_the_order_of_what_is_seen():
    services = [service(f"ns/{n}", [replica(n)], steady(40.0)) for n in "abc"]
    seen = world(services, gpus(3))
    turned = Observation(seen.now_s, seen.services[::-1], seen.gpus[::-1])
    assert decide(State(), seen, SETTINGS, TABLE) == decide(State(), turned, SETTINGS, TABLE)


def test_unchanged_memory_stays_the_same_object():
    memory = Memory(feedback=1.2)
    assert memory is changed(memory, feedback=1.2)
    assert replace(memory, feedback=1.3) == changed(memory, feedback=1.3)


def test_a_reason_prints_its_numbers():
    assert "Backlog(queued=12)" == str(Because(Reason.BACKLOG, {"queued": 12.0}))
    assert "Parked" == str(Because(Reason.PARKED))


def test_on_a_gpu_without_partitions_nothing_is_asked_about_them():
    class WholeOnly:
        def knows(self, *_):
            return True

        def part(self, *_):
            return self

        def predict(self, batch, sm, quota):
            assert sm == 132
            return TABLE.predict("resnet50", "NVIDIA H200", batch, sm, quota)

    turns = replace(H200, partitions=False)
    held = replica("a", piece(0b1111, 100))
    seen = world([service(replicas=[held, replica("b")], scale=2)], gpus(2, turns))
    decision = decide(State(), seen, SETTINGS, WholeOnly())
    assert any(isinstance(action, Place) for action in decision.plan.actions)


def test_a_pool_with_and_without_partitions_has_a_ladder_for_each():
    turns = replace(H200, partitions=False)
    desk = Desk(0.0, SETTINGS, TABLE, Rooms([gpu("GPU-0"), gpu("GPU-1", turns)]))
    own = service(slo=Slo(100.0, 99))
    cut, shared = (desk.work_rps(own, piece(0xFF, 100, on)) for on in ("GPU-0", "GPU-1"))
    assert cut != shared > 0
