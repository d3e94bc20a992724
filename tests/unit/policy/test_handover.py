from dataclasses import replace

import pytest

from autoscaler.policy import capacity, handover
from autoscaler.policy.decide import decide
from autoscaler.policy.handover import handed_over
from autoscaler.policy.slowness import Look, Slowness
from autoscaler.policy.state import Memory, State
from kserve_has.latency.table import load_table

from .worlds import SETTINGS, TABLE, piece, replica, service, steady, world

FASTER, SLOWER = load_table(), load_table()
FASTER.margin, SLOWER.margin = TABLE.margin / 1.1, TABLE.margin * 1.1


def factor_after(factor, latest, **fields):
    own = service(replicas=[replica("a", piece(0b11, 100))], **fields)
    state = State({own.name: Memory(feedback=factor)})
    return handed_over(state, world([own]), SETTINGS, TABLE, latest).services[own.name].feedback


@pytest.mark.parametrize(
    ("factor", "latest", "expected"),
    [
        pytest.param(0.7, FASTER, (0.75, 0.95), id="caution that is gone is not made up for twice"),
        pytest.param(0.97, FASTER, (1.0, 1.0), id="and no further than to 1"),
        pytest.param(1.5, SLOWER, (1.2, 1.4), id="nor boldness"),
        pytest.param(1.03, SLOWER, (1.0, 1.0), id="and no further than to 1 from above"),
        pytest.param(0.8, SLOWER, (0.8, 0.8), id="new caution leaves a low factor alone"),
        pytest.param(1.2, FASTER, (1.2, 1.2), id="new boldness leaves a high factor alone"),
        pytest.param(0.8, TABLE, (0.8, 0.8), id="the same model changes nothing"),
    ],
)
def test_the_factor_moves_towards_one_by_what_the_model_learnt(factor, latest, expected):
    low, high = expected
    assert low <= factor_after(factor, latest) <= high


def test_it_moves_by_just_as_much_as_the_capacity():
    own = service(replicas=[replica("a", piece(0b11, 100))])
    room = [m.part("resnet50", "NVIDIA H200").predict(1, 16, 100).upper_ms for m in (TABLE, FASTER)]
    grown = factor_after(0.7, FASTER) / 0.7
    assert grown > room[0] / room[1]  # shorter services leave more room to wait, too
    assert handed_over(State(), world([own]), SETTINGS, TABLE, FASTER) == State()


def test_without_pieces_or_knowledge_nothing_moves():
    assert factor_after(0.8, FASTER, served_model="secret") == 0.8
    bare = service(replicas=[replica("a")])
    state = State({bare.name: Memory(feedback=0.8)})
    assert handed_over(state, world([bare]), SETTINGS, TABLE, FASTER) == state


def memory_after(memory, latest, **fields):
    own = service(replicas=[replica("a", piece(0b11, 100))], **fields)
    state = State({own.name: memory})
    return handed_over(state, world([own]), SETTINGS, TABLE, latest).services[own.name]


def test_predictions_that_rose_are_no_longer_multiplied():
    first = Look(steady(5.0), service().slo, 1, 5.0)
    slow = Memory(slow=Slowness(1.2, 7.0, None, first))
    assert memory_after(slow, SLOWER).slow == replace(slow.slow, factor=1.1)
    assert memory_after(slow, FASTER) == slow
    known = Memory(slow=Slowness(1.1, 7.0, None, first))
    assert memory_after(known, SLOWER).slow == Slowness(1.0, 7.0)


def test_one_that_takes_the_place_of_the_other_leaves_the_demand_alone():
    """The model says what the factor had said: the capacity is what it was."""
    slow = Memory(feedback=1.4, slow=Slowness(1.1))
    assert memory_after(slow, SLOWER) == replace(slow, slow=Slowness(1.0))
    assert memory_after(Memory(feedback=1.4), SLOWER).feedback < 1.4


def test_what_remains_of_the_one_counts_in_the_capacity_for_the_other():
    slow = Memory(feedback=1.4, slow=Slowness(1.3))
    after = memory_after(slow, SLOWER)
    assert after.slow.factor == 1.2  # 1.32 times what it was, after 1.3 times
    assert 1.3 < after.feedback < 1.4


def test_the_factor_goes_by_the_piece_whose_prediction_rose_least():
    held = [replica("a", piece(0b11, 100)), replica("b", piece(0b111100, 100))]

    class Uneven:
        """Slower on the smaller piece only."""

        def knows(self, *asked):
            return TABLE.knows(*asked)

        def part(self, *_):
            return self

        def predict(self, batch, sm, quota):
            found = TABLE.predict("resnet50", "NVIDIA H200", batch, sm, quota)
            return replace(found, upper_ms=found.upper_ms * (1.2 if sm == 16 else 1.0))

    own = service(replicas=held)
    state = State({own.name: Memory(slow=Slowness(1.2))})
    after = handed_over(state, world([own]), SETTINGS, TABLE, Uneven())
    assert after.services[own.name].slow.factor == 1.2


def test_all_else_is_kept():
    own = service(replicas=[replica("a", piece(0b11, 100))])
    memory = Memory(feedback=0.7, idle_since_s=3.0, cold_start_s=9.0)
    after = handed_over(State({own.name: memory}), world([own]), SETTINGS, TABLE, FASTER)
    assert replace(after.services[own.name], feedback=0.7) == memory


def test_services_of_other_networks_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(handover, "ladder", None)

    class Elsewhere:
        """Knows something new, but not of the model that is served."""

        def knows(self, *_):
            return True

        def part(self, model, product):
            return TABLE.part(model, product)

    assert factor_after(0.7, Elsewhere()) == 0.7


def test_ladders_of_what_is_no_longer_believed_are_dropped():
    own = service(replicas=[replica("a", piece(0b11, 100))])
    state, former = State({own.name: Memory(feedback=0.9)}), load_table()
    seen = world([own])
    decide(state, seen, SETTINGS, former)
    sizes = []
    for _ in range(5):
        latest = load_table()
        state = handed_over(state, seen, SETTINGS, former, latest)
        decide(state, seen, SETTINGS, latest)
        sizes.append(len(capacity._ladders))
        former = latest
    assert len(set(sizes)) == 1
