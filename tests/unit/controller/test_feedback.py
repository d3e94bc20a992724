"""From rows of Prometheus to a latency model that knows better, over virtual minutes."""

import json

import pytest

from autoscaler.controller.feedback import Feedback
from autoscaler.controller.meters import (
    ACTIVE,
    ANSWERED,
    BEGUN,
    GPU_TIME,
    OBSERVED,
    STATUS,
    meters_of,
    observed_before,
)
from autoscaler.controller.metrics import Metrics
from autoscaler.controller.observe import Objects, observe
from autoscaler.policy.observation import Traffic
from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.errors import ClusterError
from kserve_has.latency.table import load_table
from kserve_has.rapp.online import Observed
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, ProfilePoint

SETTINGS = ControllerSettings()
SERVICE, POD, ADDRESS = "default/shop", ("default/shop", "p"), "10.0.0.7"
PLACE = ("resnet50", "NVIDIA H200")
NODE_GPU = {
    "uuid": "GPU-a",
    "product": "NVIDIA H200",
    "sm_count": 132,
    "sm_group_size": 8,
    "memory_bytes": 141 * 10**9,
    "backend": "A",
}


@pytest.fixture
def world(make):
    def build(epoch=3, **notes):
        conditions = [{"type": "Ready", "status": "True"}]
        gpus = {contract.NODE_GPUS: json.dumps([NODE_GPU])}
        node = {
            "metadata": {"name": "n", "annotations": gpus},
            "status": {"conditions": conditions},
        }
        held = make.notes(make.piece(0b11, 50), epoch, json.dumps({"epoch": epoch}))
        pod = make.pod("p", {**held, **notes}, ready=True)
        pod["status"]["podIP"] = ADDRESS
        objects = Objects([make.isvc()], [make.deployment()], [pod], [node])
        return observe(objects, lambda *_: Traffic(0.0), SETTINGS, 0.0, 1767225660.0)

    return build


def series(name, rate, *, begin=0.0, now=100.0, offset=0.0, **labels):
    """Return a counter that grows by ``rate`` a second, sampled every second until ``now``."""
    times = [now - offset - back for back in range(4, -1, -1)]
    values = [[at, str(begin + rate * at)] for at in times]
    return {"metric": {"__name__": name, **labels}, "values": values}


def endpoint(name, rate, *, address=ADDRESS, instance="e1", **more):
    labels = {"envoy_cluster_name": SERVICE, "envoy_endpoint_address": f"{address}:8080"}
    return series(name, rate, instance=instance, **labels, **more)


def gpu_time(rate, *, namespace="default", pod="p", **more):
    return series(GPU_TIME, rate, namespace=namespace, pod=pod, **more)


def rows(gpu_share=0.3, rps=50.0, now=100.0):
    return [
        gpu_time(gpu_share, now=now, offset=0.7),
        endpoint(ANSWERED, rps, now=now),
        endpoint(BEGUN, rps, begin=1.0, now=now),
        endpoint(ACTIVE, 0.0, begin=1.0, now=now),
    ]


def test_counters_scraped_at_different_moments_are_read_at_the_same(world):
    meter = meters_of(rows(), world(), 100.0)[POD]
    assert (meter.at_s, meter.epoch, meter.sources) == (98.0, 3, ("e1",))
    assert (meter.gpu_s, meter.answered) == (pytest.approx(0.3 * 98), pytest.approx(50 * 98))
    assert not meter.borrowing


def test_requests_of_all_gateways_count_and_other_replicas_do_not(world):
    more = [
        endpoint(ANSWERED, 10.0, instance="e2"),
        endpoint(ANSWERED, 99.0, address="10.0.0.8"),
        gpu_time(9.0, pod="q"),
        gpu_time(9.0, namespace="another"),
    ]
    meter = meters_of([*rows(), *more], world(), 100.0)[POD]
    assert meter.sources == ("e1", "e2")
    assert (meter.gpu_s, meter.answered) == (pytest.approx(0.3 * 98), pytest.approx(60 * 98))


def test_failures_are_the_replica_s_own_and_refusals_its_service_s(world):
    more = [
        endpoint(BEGUN, 11.0, instance="e2"),
        endpoint(ANSWERED, 10.0, instance="e2"),
        series(STATUS, 2.0, envoy_cluster_name=SERVICE, envoy_response_code_class="4"),
    ]
    meter = meters_of(
        [*rows(), *more, endpoint(ANSWERED, 30.0, address="10.0.0.8")], world(), 100.0
    )
    assert meter[POD].failed == pytest.approx(1 * 98)
    assert meter[POD].refused == pytest.approx(2 * 98)
    assert meter[POD].of_service == pytest.approx(90 * 98)
    assert meter[POD].replicas == 2


@pytest.mark.parametrize(
    "present",
    [
        pytest.param([endpoint(ANSWERED, 1.0)], id="no GPU time"),
        pytest.param([gpu_time(0.3)], id="no requests"),
        pytest.param([gpu_time(0.3, now=97.5), endpoint(ANSWERED, 1.0)], id="old GPU time"),
        pytest.param([gpu_time(0.3, now=103.0), endpoint(ANSWERED, 1.0)], id="new GPU time"),
    ],
)
def test_what_was_not_counted_on_both_sides_is_no_meter(world, present):
    assert meters_of(present, world(), 100.0) == {}


def test_a_replica_that_may_borrow_time_is_known_by_its_annotation(world):
    lent = world(**{contract.BURST: "true"})
    assert meters_of(rows(), lent, 100.0)[POD].borrowing


def test_the_past_is_read_off_the_changes_of_our_own_metric():
    labels = {"served_model": "m", "gpu": "g", "batch": "4", "sm": "8"}
    past = [
        {"metric": labels, "values": [[10, "2.0"], [40, "2.0"], [70, "3.0"]]},
        {"metric": {**labels, "sm": "16"}, "values": [[40, "1.0"]]},
    ]
    assert observed_before(past) == [
        Observed("m", "g", 4, 8, 2.0),
        Observed("m", "g", 4, 16, 1.0),
        Observed("m", "g", 4, 8, 3.0),
    ]


def test_what_is_no_number_is_no_meter_and_no_observation(world):
    unknown = gpu_time(0.3, begin=float("nan"))
    assert meters_of([unknown, endpoint(ANSWERED, 1.0)], world(), 100.0) == {}
    labels = {"served_model": "m", "gpu": "g", "batch": "4", "sm": "8"}
    assert observed_before([{"metric": labels, "values": [[10, "NaN"], [40, "NaN"]]}]) == []


def test_requests_are_told_by_gateway_too(world):
    meter = meters_of([*rows(), endpoint(ANSWERED, 10.0, instance="e0")], world(), 100.0)[POD]
    assert meter.sources == ("e0", "e1")
    assert meter.by_source == (pytest.approx(10 * 98), pytest.approx(50 * 98))


class Counters:
    """Prometheus as the test wants it."""

    def __init__(self):
        self.now, self.past_rows, self.broken, self.asked = 100.0, [], 0, []

    async def rows(self, query):
        self.asked.append(query)
        return rows(now=self.now)

    async def past(self, query, now, span_s, step_s):
        self.asked.append(query)
        if self.broken:
            self.broken -= 1
            raise ClusterError("Prometheus did not answer")
        return self.past_rows


@pytest.fixture
def model():
    card = {"gpu": "NVIDIA H200", "sm_count": 132, "driver": "0"}
    points = [ProfilePoint(1, sm, 100, 9, ms, ms, ms) for sm, ms in ((8, 8.0), (132, 2.0))]
    return from_profiles([Profile("resnet50", "bf16", "graph", card, tuple(points))])


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def feedback(model, counters, metrics):
    return Feedback(model, counters, metrics.observations, SETTINGS)


async def looks(feedback, counters, world, count):
    for _ in range(count):
        feedback.step(counters.now)
        await feedback.look(world, counters.now)
        counters.now += SETTINGS.observe_every_s
    return feedback.step(counters.now)


def test_a_request_at_work_has_not_failed_and_one_whose_client_hung_up_has(world):
    busy = [(96.0, "1"), (97.0, "0"), (98.0, "1"), (99.0, "0")]
    ended = [(96.0, "10"), (97.0, "11"), (98.0, "11"), (99.0, "12")]
    begun = [(96.0, "14"), (97.0, "14"), (98.0, "15"), (99.0, "15")]
    seen = [gpu_time(0.3)]
    for name, values in ((ACTIVE, busy), (ANSWERED, ended), (BEGUN, begun)):
        seen.append({**endpoint(name, 0.0), "values": values})
    assert meters_of(seen, world(), 100.0)[POD].failed == 3.0


async def test_the_model_follows_what_the_counters_say(feedback, counters, metrics, model, world):
    assert feedback.model.predict(*PLACE, 1, 16, 100).mean_ms < 5.5
    await looks(feedback, counters, world(), 20)
    # 0.3 s of GPU time a second for 50 requests.
    assert feedback.model.predict(*PLACE, 1, 16, 100).mean_ms == pytest.approx(6.0, rel=0.02)
    assert feedback.model is not model
    value = metrics.registry.get_sample_value
    of_model = {"served_model": "resnet50", "gpu": "NVIDIA H200"}
    of_piece = {**of_model, "batch": "1", "sm": "16"}
    assert value("kserve_has_observed_gpu_ms", of_piece) == pytest.approx(6.0)
    assert value("kserve_has_predicted_gpu_ms", of_piece) == pytest.approx(6.0, rel=0.02)
    assert value("kserve_has_bound_gpu_ms", of_piece) > 6.0
    assert value("kserve_has_model_observations", of_model) == 17
    assert 0 < value("kserve_has_model_coverage", of_model) <= 1.0
    assert 1.0 < value("kserve_has_model_bound_width", of_model) < 1.2
    assert value("kserve_has_observation_looks_total", {"verdict": "taken"}) == 18
    assert value("kserve_has_observation_looks_total", {"verdict": "settling"}) == 2


async def test_a_new_term_learns_the_past_anew(feedback, counters, metrics, model, world):
    await looks(feedback, counters, world(), 6)
    assert feedback.model is not model
    feedback.end()
    assert feedback.model is model
    assert b"observed_gpu_ms{" not in metrics.text()
    labels = {"served_model": "resnet50", "gpu": "NVIDIA H200", "batch": "1", "sm": "16"}
    samples = [[30.0 * i, str(6.0 + 0.001 * i)] for i in range(50)]
    counters.past_rows = [{"metric": labels, "values": samples}]
    await looks(feedback, counters, world(), 1)
    for tick in range(60):
        feedback.step(1000.0 + 30.0 * tick)
    assert feedback.model.predict(*PLACE, 1, 16, 100).mean_ms == pytest.approx(6.0, rel=0.02)
    assert counters.asked.count(OBSERVED) == 2  # once a term


async def test_a_term_that_ends_while_its_past_is_read_leaves_the_next_term_its_own(
    feedback, counters, world
):
    feedback.step(0.0)
    answer = counters.past

    async def slow(*query):
        feedback.end()
        return await answer(*query)

    counters.past = slow
    await feedback.look(world(), counters.now)
    counters.past = answer
    await looks(feedback, counters, world(), 1)
    assert counters.asked.count(OBSERVED) == 2


async def test_a_past_that_cannot_be_had_is_given_up(feedback, counters, world):
    counters.broken = 3
    feedback.step(0.0)
    for _ in range(3):
        with pytest.raises(ClusterError):
            await feedback.look(world(), counters.now)
    await feedback.look(world(), counters.now)
    assert counters.asked.count(OBSERVED) == 3


async def test_a_model_that_is_no_profile_is_asked_nothing(counters, metrics, world):
    table = load_table()
    feedback = Feedback(table, counters, metrics.observations, SETTINGS)
    assert not await looks(feedback, counters, world(), 3)
    assert (feedback.model, counters.asked) == (table, [])


async def test_a_term_that_ends_while_prometheus_answers_teaches_nothing(
    feedback, counters, metrics, world
):
    feedback.step(0.0)
    answer = counters.rows

    async def slow(query):
        feedback.end()
        return await answer(query)

    counters.rows = slow
    await feedback.look(world(), counters.now)
    assert metrics.registry.get_sample_value(
        "kserve_has_observation_looks_total", {"verdict": "settling"}
    ) in (None, 0.0)
