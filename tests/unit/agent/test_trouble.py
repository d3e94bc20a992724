import pytest

from kserve_has.kube.resources import EVENTS
from quota_runtime.agent.events import EventWriter, Note, event_body
from quota_runtime.agent.replica import Identity
from quota_runtime.agent.trouble import (
    KINDS,
    MPS_FAULT,
    OUTSIDE_MPS,
    OVER_MEMORY,
    REFUSED,
    UNGATED,
    Signs,
    Teller,
    Trouble,
    UngatedShare,
    troubles,
)

NS = 1_000_000_000


def test_every_sign_has_its_trouble_and_a_sound_pod_has_none():
    assert () == troubles(Signs(memory_bytes=5, memory_limit_bytes=5, ungated_ratio=0.03), 0.03)
    signs = Signs("quota: 0", 0.031, 6, 5, outside_mps=True)
    found = troubles(signs, 0.03)
    assert [REFUSED, UNGATED, OUTSIDE_MPS, OVER_MEMORY] == [trouble.kind for trouble in found]
    assert set(KINDS) == {trouble.kind for trouble in found} | {MPS_FAULT}
    assert "quota: 0" in found[0].message
    assert "3.1% of the launches" in found[1].message


def test_a_pod_whose_limits_are_not_known_has_no_memory_trouble():
    assert () == troubles(Signs(memory_bytes=6), 0.03)


def test_the_ungated_share_is_that_of_the_last_seconds():
    share = UngatedShare(10 * NS)
    share.take(0, 0, 0)
    assert 0.0 == share.ratio
    share.take(5 * NS, 900, 100)
    assert share.ratio == pytest.approx(0.1)
    share.take(15 * NS, 1900, 100)
    share.take(16 * NS, 2000, 100)
    assert 0.0 == share.ratio


def test_a_share_of_a_few_launches_is_no_news():
    share = UngatedShare(10 * NS)
    share.take(0, 0, 0)
    share.take(NS, 0, 99)
    assert 0.0 == share.ratio
    share.take(2 * NS, 0, 100)
    assert 1.0 == share.ratio


def test_a_trouble_is_told_when_it_is_new_and_again_after_the_interval():
    teller = Teller(300.0, patience_s=0.0)
    old = {"a": (Trouble(UNGATED, "3 %"),)}
    assert [("a", Trouble(UNGATED, "3 %"))] == teller.news(old, 0.0)
    assert [] == teller.news({"a": (Trouble(UNGATED, "4 %"),)}, 299.0)
    assert [] == teller.news({}, 299.5)
    assert [] == teller.news(old, 299.9)
    assert 1 == len(teller.news(old, 300.0))
    assert 1 == len(teller.news({"b": old["a"]}, 300.0))


def test_what_is_over_before_anybody_could_look_is_not_told():
    teller = Teller(300.0, patience_s=3.0)
    trouble = {"a": (Trouble(REFUSED, "groups 3 are taken"),)}
    assert [] == teller.news(trouble, 0.0)
    assert [] == teller.news(trouble, 2.9)
    assert [] == teller.news({}, 2.95)
    assert [] == teller.news(trouble, 3.0)
    assert 1 == len(teller.news(trouble, 6.0))


def test_another_reason_to_refuse_is_news():
    teller = Teller(300.0, patience_s=0.0)
    teller.news({"a": (Trouble(REFUSED, "one"),)}, 0.0)
    assert 1 == len(teller.news({"a": (Trouble(REFUSED, "two"),)}, 1.0))


def test_what_is_remembered_is_forgotten_after_the_interval():
    teller = Teller(10.0, patience_s=0.0)
    for second in range(1000):
        teller.news({f"pod-{second}": (Trouble(UNGATED, "x"),)}, float(second))
    assert len(teller._told) + len(teller._since) <= 11


def test_the_ungated_share_of_a_pod_is_taken_from_its_usage(bench):
    bench.put("a")
    bench.step()
    bench.follow("a", 1, launches=50, ungated_launches=0)
    bench.step(after_s=1.0)
    bench.follow("a", 1, launches=900, ungated_launches=100)
    bench.step(after_s=1.0)
    assert bench.keeper.replicas["a"].signs().ungated_ratio == pytest.approx(0.1)
    assert bench.keeper.replicas["a"].is_at_work()


NOTE = Note(Identity("ns", "p" * 253, "resnet"), "uid-1", Trouble(UNGATED, "x" * 2000))


def test_an_event_names_its_pod_and_fits_what_the_api_server_takes():
    body = event_body(NOTE, "node-1")
    about = body["involvedObject"]
    assert ("Pod", "uid-1", "p" * 253, "ns") == tuple(
        about[key] for key in ("kind", "uid", "name", "namespace")
    )
    assert ("Warning", UNGATED, "node-1") == (body["type"], body["reason"], body["source"]["host"])
    assert len(body["metadata"]["name"]) <= 253
    assert len(body["message"]) == 1024


class Client:
    def __init__(self):
        self.created = []

    async def create(self, resource, body, namespace):
        self.created.append((resource, body["reason"], namespace))
        if len(self.created) == 300:
            raise KeyboardInterrupt


async def test_events_that_cannot_be_written_in_time_are_dropped(caplog):
    writer = EventWriter(Client(), "node-1")
    for _ in range(300):
        writer.put(NOTE)
    assert 44 == sum("was dropped" in record.message for record in caplog.records)
    assert (EVENTS, 256) == (EVENTS, writer._queue.qsize())
