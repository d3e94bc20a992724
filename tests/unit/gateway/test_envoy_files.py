import json
import re
from itertools import pairwise

import pytest
import yaml

from autoscaler.controller.samples import ARRIVAL_TERMS
from autoscaler.gateway import envoy_config
from autoscaler.gateway.__main__ import main
from autoscaler.gateway.envoy_config import Backend, Endpoint, Route
from autoscaler.gateway.files import XdsFiles
from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings

SETTINGS = GatewaySettings()
ENDPOINTS = (Endpoint("10.244.1.3", 12.34), Endpoint("10.244.1.2", None))


def route(name="shop", endpoints=ENDPOINTS, percent=100):
    return Route(f"{name}.default", 5.0, (Backend(f"default/{name}", percent, 2, endpoints),))


@pytest.fixture
def files(tmp_path):
    return XdsFiles(tmp_path, SETTINGS)


def read(tmp_path, name):
    return json.loads((tmp_path / name).read_text())["resources"]


def test_weights_are_capacities_in_tenths_of_a_request_and_at_least_one():
    weights = [envoy_config.weight(rps, SETTINGS) for rps in (12.34, 0.01, 0.0, None)]
    assert weights == [123, 1, 1, 1]


def test_weights_of_any_capacity_add_up_within_what_envoy_takes():
    assert 1000 * envoy_config.weight(1e300, SETTINGS) < 2**32


def test_a_replica_is_reached_at_its_own_port():
    backend = Backend("default/shop", 100, 1, (Endpoint("10.244.1.2", None, 8000),))
    (assignment,) = envoy_config.endpoints(backend, SETTINGS)["resources"]
    (member,) = assignment["endpoints"][0]["lb_endpoints"]
    assert member["endpoint"]["address"]["socket_address"]["port_value"] == 8000


def test_endpoints_are_sorted_so_that_equal_sets_make_equal_files():
    backend = route().backends[0]
    (assignment,) = envoy_config.endpoints(backend, SETTINGS)["resources"]
    members = assignment["endpoints"][0]["lb_endpoints"]
    found = [
        (m["endpoint"]["address"]["socket_address"]["address"], m["load_balancing_weight"])
        for m in members
    ]
    assert found == [("10.244.1.2", 1), ("10.244.1.3", 123)]


def test_a_replica_is_sent_what_it_works_on_and_one_more():
    (cluster,) = envoy_config.clusters([route()], SETTINGS, "/x")["resources"]
    limits = cluster["circuit_breakers"]["per_host_thresholds"]
    assert limits == [{"max_connections": 2 + SETTINGS.queue_per_replica}]


def test_only_attempts_that_no_replica_began_are_repeated():
    (table,) = envoy_config.route_table([route()], SETTINGS)["resources"]
    action = table["virtual_hosts"][0]["routes"][0]["route"]
    allowed = {"connect-failure", "refused-stream", "reset-before-request"}
    assert set(action["retry_policy"]["retry_on"].split(",")) == allowed
    assert action["timeout"] == "5.0s"


def test_requests_are_shared_between_a_service_and_its_canary():
    backends = (Backend("default/shop", 80, 1, ()), Backend("default/shop/next", 20, 1, ()))
    shared = Route("shop.default", 5.0, backends)
    (table,) = envoy_config.route_table([shared], SETTINGS)["resources"]
    action = table["virtual_hosts"][0]["routes"][0]["route"]
    assert action["weighted_clusters"]["clusters"] == [
        {"name": "default/shop", "weight": 80},
        {"name": "default/shop/next", "weight": 20},
    ]


def test_buckets_are_fine_where_objectives_are():
    edges = [edge for edge in envoy_config.LATENCY_BUCKETS_MS if 20 <= edge <= 1000]
    assert all(high / low < 1.21 for low, high in pairwise(edges))


def test_what_the_controller_reads_is_kept_and_the_rest_is_not():
    bootstrap = envoy_config.bootstrap(SETTINGS, "/x")
    kept = bootstrap["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    pattern = re.compile(kept[0]["safe_regex"]["regex"])
    for metric in ARRIVAL_TERMS:
        assert pattern.match(metric.replace("envoy_cluster_", "cluster.default/shop."))
    assert not pattern.match("cluster.default/shop.lb_healthy_panic")
    assert not pattern.match("cluster.default/shop.external.upstream_rq_time")


def test_envoy_listens_where_the_contract_says():
    bootstrap = envoy_config.bootstrap(SETTINGS, "/x")
    listener = bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]
    admin = bootstrap["admin"]["address"]["socket_address"]
    assert listener["port_value"] == contract.GATEWAY_PORT
    assert admin == {"address": "127.0.0.1", "port_value": contract.GATEWAY_ADMIN_PORT}


def test_only_what_changed_is_written(files):
    assert files.write((route(),)) == 3
    assert files.write((route(),)) == 0
    assert files.write((route(endpoints=()),)) == 1


def test_what_a_former_process_left_is_taken_over(files, tmp_path):
    files.write((route(), route("cart")))
    assert XdsFiles(tmp_path, SETTINGS).write((route(), route("cart"))) == 0


def test_the_endpoints_of_a_service_that_is_gone_are_removed(files, tmp_path):
    files.write((route(), route("cart")))
    files.write((route("cart"),))
    assert [path.name for path in (tmp_path / "eds").iterdir()] == [
        envoy_config.endpoint_file("default/cart")
    ]
    assert [c["name"] for c in read(tmp_path, "cds.json")] == ["default/cart"]


def test_two_services_never_share_a_file():
    assert envoy_config.endpoint_file("a/b_c") != envoy_config.endpoint_file("a_b/c")


def test_no_half_written_file_is_left_where_envoy_looks(files, tmp_path):
    files.write((route(),))
    files.write_bootstrap()
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".new")] == []
    assert yaml.safe_load((tmp_path / "bootstrap.yaml").read_text())["admin"]


def test_wrong_settings_end_the_process_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text("retries: -1\n")
    assert main(["--xds-dir", str(tmp_path), "--config", str(path)]) == 1
    assert "retries: -1 is outside" in capsys.readouterr().err
