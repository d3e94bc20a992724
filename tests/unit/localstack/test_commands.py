"""Every process is told what the others rely on."""

import sys
from pathlib import Path

import yaml

from kserve_has import contract
from kserve_has.localstack import components, goparts, monitoring

CONFIG = Path("/c/kubeconfig")


def option(command, name):
    return command.argv[command.argv.index(name) + 1]


def machine(index):
    return components.machine(index, Path("/n"), Path("/driver"), Path("/lib/libhas_quota.so"))


def test_nodes_have_disjoint_addresses_and_folders():
    first, second = machine(0), machine(1)
    assert ("gpu-node-0", "10.244.1.1", "10.244.1.0/24") == (
        first.name,
        first.address,
        first.pod_cidr,
    )
    assert "10.244.2.1:9401" == second.agent
    assert first.root != second.root


def test_a_node_gives_its_pods_gpus_driver_and_library():
    command = components.node(machine(0), CONFIG)
    assert "/n/gpu-node-0/gpus" == option(command, "--emulated-gpus")
    assert "/driver" == option(command, "--driver-dir")
    assert "/lib/libhas_quota.so" == option(command, "--library")
    assert str(Path(sys.executable).parent) == command.env["PATH"].split(":")[0]


def test_an_agent_sees_the_gpus_of_its_own_node_only():
    command = components.agent(machine(1), CONFIG)
    assert "/n/gpu-node-1/gpus" == command.env[contract.ENV_EMULATOR_DIR]
    assert "/driver" == command.env["LD_LIBRARY_PATH"]
    assert option(components.node(machine(1), CONFIG), "--root") == option(
        command, "--kubelet-root"
    )


def test_pods_and_agents_meet_at_the_same_lease_files():
    folder = option(components.agent(machine(1), CONFIG), "--leases")
    assert folder == option(components.webhook(CONFIG, machine(0).leases), "--leases")
    assert "/n/leases" == folder


def test_the_same_node_gets_the_same_gpus():
    assert ("--count", "2", "--seed", "gpu-node-0") == components.make_gpus(machine(0), 2)[-4:]


def test_prometheus_scrapes_each_component_every_interval():
    content = monitoring.configuration(CONFIG, ["10.244.1.1:9401"], 1)
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    assert {"gateway", "autoscaler", "webhook", "agent", "sidecar"} == set(jobs)
    assert "1s" == content["global"]["scrape_interval"] == content["global"]["scrape_timeout"]
    assert "/stats/prometheus" == jobs["gateway"]["metrics_path"]
    assert [{"targets": ["127.0.0.1:9403"]}] == jobs["gateway"]["static_configs"]
    assert [{"targets": ["10.244.1.1:9401"]}] == jobs["agent"]["static_configs"]
    discovery = jobs["sidecar"]["kubernetes_sd_configs"]
    assert [{"role": "pod", "kubeconfig_file": str(CONFIG)}] == discovery


def test_prometheus_may_read_pods_and_nothing_else():
    role = next(item for item in monitoring.objects() if item["kind"] == "ClusterRole")
    assert [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}] == role[
        "rules"
    ]


def test_prometheus_finds_its_configuration(tmp_path):
    command = monitoring.server(goparts.locate(tmp_path), tmp_path / "p", {"global": {}})
    path = next(a.split("=", 1)[1] for a in command.argv if a.startswith("--config.file="))
    assert {"global": {}} == yaml.safe_load(Path(path).read_text())
