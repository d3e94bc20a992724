from dataclasses import replace

import pytest

from autoscaler.observations import Meter, Verdict, look
from autoscaler.policy.observation import ReplicaPhase
from kserve_has.config.controller import ControllerSettings
from kserve_has.gpu import H200
from kserve_has.rapp.online import Observed

from ..policy.worlds import gpus, piece, replica, service, world

SETTINGS = ControllerSettings()
OWNER = ("ns/a", "p")
START = Meter(100.0, 3, ("envoy",), 1000.0, 2.0, 7.0)
LATER = replace(START, at_s=110.0, answered=1500.0, gpu_s=9.0)
HELD = piece(0b11, 50)


def observed(*meters, **fields):
    """Return what the last of several looks at one replica brought."""
    own = service(replicas=[replica("p", HELD)], batch=4)
    seen = world([replace(own, **fields)])
    marks = {}
    for meter in meters:
        found = look(marks, seen, {OWNER: meter}, SETTINGS)
        marks = found.marks
    return found


def settled(meter):
    """Return two looks after which an interval begins at ``meter``."""
    return replace(meter, at_s=meter.at_s - 10.0), meter


def test_gpu_time_over_requests_is_an_observation_of_the_piece():
    found = observed(*settled(START), LATER)
    assert found.observed == (Observed("resnet50", "NVIDIA H200", 4, 16, 4.0),)
    assert found.verdicts == {Verdict.TAKEN: 1}


def test_every_interval_is_counted_once():
    again = replace(LATER, at_s=120.0, answered=1700.0, gpu_s=10.0)
    (one,) = observed(*settled(START), LATER, again).observed
    assert one.gpu_ms == pytest.approx(5.0)


def test_the_first_interval_after_a_start_or_a_change_is_left_out():
    assert observed(START, LATER).verdicts == {Verdict.SETTLING: 1}
    changed = replace(LATER, epoch=4)
    assert observed(*settled(START), changed).verdicts == {Verdict.SETTLING: 1}
    after = replace(changed, at_s=120.0, answered=2000.0, gpu_s=20.0)
    assert observed(*settled(START), changed, after).verdicts == {Verdict.SETTLING: 1}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"sources": ("envoy", "another")}, id="a gateway that came"),
        pytest.param({"answered": 10.0}, id="a gateway that was restarted"),
        pytest.param({"gpu_s": 0.5}, id="a process that was restarted"),
        pytest.param({"failed": 1.0}, id="fewer failures"),
    ],
)
def test_counters_that_are_not_those_of_before_are_no_interval(change):
    assert observed(*settled(START), replace(LATER, **change)).verdicts == {Verdict.SETTLING: 1}


def test_few_requests_are_waited_for_and_given_up_in_the_end():
    few = replace(LATER, answered=1050.0, gpu_s=7.5)
    assert observed(*settled(START), few).verdicts == {Verdict.WAITING: 1}
    enough = replace(few, at_s=120.0, answered=1100.0, gpu_s=8.0)
    (one,) = observed(*settled(START), few, enough).observed
    assert one.gpu_ms == 10.0  # over the whole interval
    late = replace(few, at_s=100.0 + SETTINGS.observe_longest_s)
    assert observed(*settled(START), few, late).verdicts == {Verdict.FEW: 1}


@pytest.mark.parametrize(
    "fallen",
    [
        pytest.param({"gpu_s": 7.1}, id="a sidecar"),
        pytest.param({"answered": 1040.0}, id="a gateway"),
    ],
)
def test_a_counter_that_fell_within_an_interval_began_anew(fallen):
    few = replace(LATER, answered=1050.0, gpu_s=7.2)
    anew = replace(few, at_s=120.0, **fallen)
    found = observed(*settled(START), few, anew)
    assert (found.verdicts, found.marks[OWNER].meter) == ({Verdict.SETTLING: 1}, anew)


def test_one_of_two_gateways_that_was_restarted_is_not_hidden_by_the_other():
    both = replace(START, sources=("e1", "e2"), by_source=(900.0, 100.0))
    later = replace(both, at_s=110.0, answered=1210.0, gpu_s=9.0, by_source=(1200.0, 10.0))
    assert observed(*settled(both), later).verdicts == {Verdict.SETTLING: 1}


def test_requests_without_gpu_time_are_waited_out():
    idle = replace(LATER, gpu_s=START.gpu_s)
    assert observed(*settled(START), idle).verdicts == {Verdict.WAITING: 1}


def test_errors_did_other_work_than_answers():
    failing = replace(LATER, failed=12.0)
    found = observed(*settled(START), failing)
    assert found.verdicts == {Verdict.ERRORS: 1}
    assert found.marks[OWNER].meter == failing


def test_requests_that_a_bad_client_had_refused_used_no_gpu_time():
    """Of 500 answers 10 % came without the GPU: 2 s are of 450 requests."""
    refused = replace(LATER, refused=60.0, of_service=600.0)
    (one,) = observed(*settled(START), refused).observed
    assert one.gpu_ms == pytest.approx(2000.0 / 450)
    elsewhere = replace(LATER, refused=60.0, of_service=6000.0)
    (one,) = observed(*settled(START), elsewhere).observed
    assert one.gpu_ms == pytest.approx(2000.0 / 495)


def test_a_replica_that_left_took_its_count_of_the_service_along():
    """1000 were answered, of which 900 are gone from the sum: 9 refused are not a tenth."""
    before = replace(START, replicas=3)
    left = replace(LATER, refused=9.0, of_service=100.0, replicas=2)
    assert observed(*settled(before), left).verdicts == {Verdict.ERRORS: 1}
    (one,) = observed(*settled(before), replace(left, of_service=1000.0, replicas=4)).observed
    assert one.gpu_ms == pytest.approx(2000.0 / 495.5)


@pytest.mark.parametrize(
    ("refused", "of_service"),
    [
        pytest.param(61.0, 600.0, id="more than a tenth"),
        pytest.param(900.0, 600.0, id="more than all"),
        pytest.param(1.0, 0.0, id="of an unknown number"),
        pytest.param(1.0, -500.0, id="while a replica left"),
    ],
)
def test_many_refused_requests_tell_nothing_of_the_others(refused, of_service):
    begin = replace(START, of_service=1000.0)
    end = replace(LATER, refused=refused, of_service=1000.0 + of_service)
    assert observed(*settled(begin), end).verdicts == {Verdict.ERRORS: 1}


def test_a_replica_that_left_matters_only_where_some_were_refused():
    begin = replace(START, of_service=1000.0)
    assert observed(*settled(begin), LATER).verdicts == {Verdict.TAKEN: 1}


def test_only_requests_that_worked_make_an_interval_long_enough():
    few = replace(LATER, answered=1105.0, refused=8.0, of_service=105.0)
    assert observed(*settled(START), few).verdicts == {Verdict.WAITING: 1}


def test_refusals_counted_anew_are_a_gateway_that_was_restarted():
    begin = replace(START, refused=5.0)
    assert observed(*settled(begin), LATER).verdicts == {Verdict.SETTLING: 1}


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        pytest.param({"concurrency": 2}, Verdict.CONCURRENT, id="requests overlap"),
        pytest.param(
            {"replicas": (replica("p", HELD), replica("q", piece(0b10, 50)))},
            Verdict.SHARED,
            id="turns on the same SMs",
        ),
        pytest.param(
            {"replicas": (replica("p", HELD), replica("q", piece(0b10, 50, "GPU-1")))},
            Verdict.TAKEN,
            id="the same groups of another GPU",
        ),
    ],
)
def test_what_else_runs_there_is_looked_at(fields, verdict):
    assert observed(*settled(START), LATER, **fields).verdicts[verdict] == 1


def test_borrowed_time_runs_beside_others():
    assert observed(*settled(START), replace(LATER, borrowing=True)).verdicts == {
        Verdict.BORROWED: 1
    }


def test_an_interval_that_was_disturbed_in_between_is_lost():
    disturbed = replace(LATER, borrowing=True)
    after = replace(LATER, at_s=120.0, answered=2000.0)
    assert not observed(*settled(START), disturbed, after).observed


def test_where_area_is_given_as_time_the_sms_are_others():
    own = service(replicas=[replica("p", HELD)])
    pool = gpus(1, replace(H200, partitions=False))
    found = look({}, world([own], pool), {OWNER: START}, SETTINGS)
    assert found.verdicts == {Verdict.NO_PARTITION: 1}


def test_a_replica_nobody_metered_is_said_to_be_so():
    own = service(replicas=[replica("p", HELD)])
    assert look({}, world([own]), {}, SETTINGS).verdicts == {Verdict.NO_METER: 1}


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(replica("p", HELD, ReplicaPhase.STARTING), id="starting"),
        pytest.param(replica("p", HELD, ReplicaPhase.TERMINATING), id="leaving"),
        pytest.param(replica("p", HELD, in_force=False), id="not yet in force"),
        pytest.param(replica("p"), id="without a piece"),
        pytest.param(replica("p", piece(on="GPU-gone")), id="on a GPU that is gone"),
    ],
)
def test_only_ready_replicas_with_a_piece_in_force_are_looked_at(of):
    found = look({}, world([service(replicas=[of])]), {OWNER: START}, SETTINGS)
    assert (found.marks, sum(found.verdicts.values())) == ({}, 0)
