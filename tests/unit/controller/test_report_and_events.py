import json

import pytest

from autoscaler.controller.events import Aggregator, event_body
from autoscaler.controller.report import Done, Outcome, log_entry, sentence
from autoscaler.policy.plan import Because, Hold, Place, Reason, Resize, SetScale
from autoscaler.targets import all_targets

WHY = Because(Reason.DEMAND_ROSE, {"demand_rps": 41.23456, "capacity_rps": 30})


@pytest.fixture
def targets(make):
    return {target.name: target for target in all_targets([make.isvc()])}


def scaled(service="default/shop", replicas=2, because=WHY, outcome=Outcome.APPLIED):
    return Done(SetScale(service, replicas, (), because), outcome)


def test_a_line_of_the_decision_log_says_everything_needed_to_check_it(make):
    resize = Resize("default/shop", "a", make.piece(0x00FF, 70), 41.26, WHY)
    place = Place("default/shop", "b", "gpu-node-1", make.piece(), 10.0, WHY)
    done = [Done(resize, Outcome.APPLIED), Done(place, Outcome.FAILED, "no"), scaled()]
    entry = json.loads(json.dumps(log_entry("now", 1.23456, done)))
    assert (entry["at"], entry["decide_ms"]) == ("now", 1.235)
    first, second, third = entry["actions"]
    assert first["numbers"] == {"demand_rps": 41.2346, "capacity_rps": 30}
    assert first["allocation"] == {
        "gpu_uuid": "GPU-a",
        "sm_groups": "0x00ff",
        "sm_partition": 64,
        "quota_percent": 70,
        "memory_bytes": 4 * 2**30,
    }
    assert (first["kind"], first["replica"], first["capacity_rps"]) == ("resize", "a", 41.3)
    assert (second["node"], second["outcome"], second["error"]) == ("gpu-node-1", "failed", "no")
    assert (third["kind"], third["replicas"], third["victims"]) == ("scale", 2, [])


def test_a_sentence_names_what_happened_and_the_numbers_behind_it(make):
    text = sentence(Resize("default/shop", "a", make.piece(0x00FF, 70), 41.26, WHY))
    assert "a resized to 64 SMs at 70 % of GPU-a" in text
    assert "demand_rps=41.23" in text


def test_the_first_event_is_told_and_its_repetitions_are_counted(targets):
    aggregator = Aggregator(interval_s=30, patience_s=10)
    told = [list(aggregator.notes([scaled()], targets, now)) for now in (0, 1, 29, 31)]
    assert [len(notes) for notes in told] == [1, 0, 0, 1]
    assert told[3][0].message.endswith("(and 2 like it before)")


def test_another_reason_or_kind_is_told_at_once(targets, make):
    aggregator = Aggregator(interval_s=30, patience_s=10)
    others = [
        scaled(),
        scaled(because=Because(Reason.BACKLOG)),
        Done(Resize("default/shop", "a", make.piece(), 1.0, WHY), Outcome.APPLIED),
    ]
    assert len(list(aggregator.notes(others, targets, 0.0))) == 3


def test_what_did_not_happen_and_quiet_holds_are_not_told(targets):
    quiet = Done(Hold("default/shop", Because(Reason.WITHIN_BAND)), Outcome.HELD)
    done = [scaled(outcome=Outcome.LOST_RACE), quiet, scaled("default/unknown")]
    assert list(Aggregator(30, 10).notes(done, targets, 0.0)) == []


def test_a_service_that_cannot_be_helped_gets_a_warning(targets):
    stuck = Done(Hold("default/shop", Because(Reason.NO_ROOM)), Outcome.HELD)
    aggregator = Aggregator(30, 10)
    told = [list(aggregator.notes([stuck], targets, now)) for now in (0, 5, 10, 11)]
    assert [len(notes) for notes in told] == [0, 0, 1, 0]
    (note,) = told[2]
    body = event_body(note, "uid-1")
    assert (body["type"], body["reason"]) == ("Warning", "NoRoom")
    assert body["involvedObject"]["uid"] == "uid-1"
    assert body["involvedObject"]["kind"] == "InferenceService"


def test_a_want_that_passes_by_itself_is_not_told(targets):
    stuck = Done(Hold("default/shop", Because(Reason.NO_DATA)), Outcome.HELD)
    aggregator = Aggregator(30, 10)
    ticks = [(0, [stuck]), (6, []), (9, [stuck]), (12, [stuck])]
    assert [list(aggregator.notes(done, targets, now)) for now, done in ticks] == [[]] * 4


def test_a_service_that_is_gone_is_forgotten(targets):
    aggregator = Aggregator(30, 10)
    list(aggregator.notes([scaled()], targets, 0.0))
    aggregator.forget([])
    assert len(list(aggregator.notes([scaled()], targets, 1.0))) == 1
