import pytest

from autoscaler.gateway.endpoints import endpoint, routes
from autoscaler.gateway.envoy_config import Endpoint
from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings

SETTINGS = GatewaySettings()


def isvc(name="shop", canary=None, **annotations):
    notes = {contract.OBJECTIVE_LATENCY: "100ms", **annotations}
    spec = {"predictor": {}}
    if canary:
        spec["canary"] = canary
    return {"metadata": {"name": name, "namespace": "default", "annotations": notes}, "spec": spec}


def pod(address, capacity="40.0", *, ready=True, service="shop", leaving=False, in_force=True):
    notes = {contract.IN_FORCE: "{}"} if in_force else {}
    if capacity is not None:
        notes[contract.CAPACITY_RPS] = capacity
    metadata = {
        "name": f"{service}-{address}",
        "namespace": "default",
        "labels": {"app": f"isvc.{service}-predictor"},
        "annotations": notes,
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


def endpoints_of(*pods):
    ((route,)) = routes([isvc()], pods, SETTINGS)
    return route.backends[0].endpoints


def test_a_ready_pod_gets_requests_by_its_capacity():
    assert endpoint(pod("10.244.1.2")) == Endpoint("10.244.1.2", 40.0)


@pytest.mark.parametrize("state", [{"ready": False}, {"leaving": True}, {"in_force": False}])
def test_a_pod_that_cannot_answer_in_time_gets_none(state):
    assert endpoint(pod("10.244.1.2", **state)) is None


def test_a_pod_without_an_address_gets_none():
    assert endpoint(pod("")) is None


@pytest.mark.parametrize("capacity", [None, "much", "nan", "inf", "-inf", "-1"])
def test_a_pod_of_unknown_capacity_gets_some(capacity):
    assert endpoint(pod("10.244.1.2", capacity)) == Endpoint("10.244.1.2", None)


def test_a_pod_that_serves_nothing_in_time_gets_requests_only_when_no_other_is_there():
    parked, useful = pod("10.244.1.2", "0.0"), pod("10.244.1.3")
    assert [e.address for e in endpoints_of(parked, useful)] == ["10.244.1.3"]
    assert [e.address for e in endpoints_of(parked)] == ["10.244.1.2"]


def test_a_service_is_reached_by_name_and_namespace_with_its_own_pods():
    found = routes([isvc("b"), isvc("a")], [pod("10.244.1.2", service="a")], SETTINGS)
    assert [route.host for route in found] == ["a.default", "b.default"]
    assert [len(route.backends[0].endpoints) for route in found] == [1, 0]


def test_a_service_without_an_objective_is_not_routed():
    plain = isvc()
    del plain["metadata"]["annotations"][contract.OBJECTIVE_LATENCY]
    assert routes([plain], [], SETTINGS) == ()


def test_a_canary_gets_its_share_of_the_requests():
    canary = [{"trafficPercent": 20, "predictor": {"name": "next"}}]
    ((route,)) = routes([isvc(canary=canary)], [pod("10.1.1.1", service="shop-next")], SETTINGS)
    stable, new = route.backends
    assert (stable.name, stable.traffic_percent) == ("default/shop", 80)
    assert (new.name, new.traffic_percent) == ("default/shop/next", 20)
    assert [e.address for e in new.endpoints] == ["10.1.1.1"]


def test_concurrency_and_timeout_come_from_the_service():
    of_service = isvc(**{contract.CONCURRENCY: "4"})
    of_service["spec"]["predictor"]["timeout"] = 7
    ((route,)) = routes([of_service], [], SETTINGS)
    assert (route.timeout_s, route.backends[0].concurrency) == (7.0, 4)
    ((route,)) = routes([isvc(**{contract.CONCURRENCY: "many"})], [], SETTINGS)
    assert (route.timeout_s, route.backends[0].concurrency) == (SETTINGS.request_timeout_s, 1)


@pytest.mark.parametrize(
    ("timeout", "taken_s"),
    [(0, 60.0), (-5, 60.0), (-(10**18), 60.0), (1, 1.0), (3600, 3600.0), (10**16, 3600.0)],
)
def test_no_timeout_of_one_service_makes_routes_that_envoy_refuses(timeout, taken_s):
    of_service = isvc()
    of_service["spec"]["predictor"]["timeout"] = timeout
    ((route,)) = routes([of_service], [], SETTINGS)
    assert route.timeout_s == taken_s


@pytest.mark.parametrize(
    ("containers", "port"),
    [
        ([], 8080),
        ([{"name": "kserve-container"}], 8080),
        ([{"name": "kserve-container", "ports": [{"containerPort": 8000}]}], 8000),
        (
            [
                {"name": "logger", "ports": [{"containerPort": 9081}]},
                {
                    "name": "kserve-container",
                    "ports": [{"containerPort": 8000}, {"containerPort": 8001}],
                },
            ],
            8000,
        ),
    ],
)
def test_requests_go_to_the_first_port_of_the_models_container(containers, port):
    replica = {**pod("10.244.1.2"), "spec": {"containers": containers}}
    assert endpoint(replica).port == port
