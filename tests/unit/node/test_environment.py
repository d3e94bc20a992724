import pytest

from kserve_has.localstack.node.environment import (
    ContainerConfigError,
    NodeRuntime,
    command_line,
    container_environment,
    expand,
    references,
)
from kserve_has.localstack.node.spec import ContainerSpec

POD = {
    "metadata": {
        "uid": "u",
        "name": "p",
        "namespace": "n",
        "annotations": {"a/b": "note"},
        "labels": {"l": "label"},
    },
    "spec": {"serviceAccountName": "sa"},
}
RUNTIME = NodeRuntime("node-0", "10.0.0.1", "/driver", "/gpus", "/lib.so", {"PATH": "/bin"})


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def keyed(kind, optional=False):
    source = {"name": "o", "key": "k", "optional": optional}
    return {"name": "X", "valueFrom": {kind: source}}


def environment(*entries, name="main", sources=None):
    container = ContainerSpec(name, "i", env=entries)
    return container_environment(container, POD, "10.0.0.2", RUNTIME, sources)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.annotations['a/b']", "note"),
        ("metadata.annotations['missing']", ""),
        ("metadata.labels['l']", "label"),
        ("metadata.uid", "u"),
        ("spec.nodeName", "node-0"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "10.0.0.2"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_the_downward_api_is_resolved_at_container_start(path, value):
    assert value == environment(field("X", path))["X"]


def test_an_unknown_field_or_source_is_named():
    with pytest.raises(ContainerConfigError, match=r"spec\.other"):
        environment(field("X", "spec.other"))
    with pytest.raises(ContainerConfigError, match="resourceFieldRef"):
        environment({"name": "X", "valueFrom": {"resourceFieldRef": {}}})


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("configMapKeyRef", ("ConfigMap", "o")), ("secretKeyRef", ("Secret", "o"))],
)
def test_values_come_from_config_maps_and_secrets(kind, reference):
    entry = keyed(kind)
    assert {reference} == references(ContainerSpec("c", "i", env=(entry,)))
    assert "v" == environment(entry, sources={reference: {"k": "v"}})["X"]
    with pytest.raises(ContainerConfigError, match="no key 'k'"):
        environment(entry, sources={reference: None})
    assert "X" not in environment(keyed(kind, optional=True), sources={reference: None})


def test_later_variables_and_arguments_may_name_earlier_ones():
    container = ContainerSpec(
        "main",
        "i",
        args=("--ip=$(IP)", "$$(IP)", "$(NOWHERE)"),
        env=(field("IP", "status.podIP"), {"name": "URL", "value": "http://$(IP)"}),
    )
    found = container_environment(container, POD, "10.0.0.2", RUNTIME)
    assert "http://10.0.0.2" == found["URL"]
    line = command_line(("run",), container, found)
    assert ("run", "--ip=10.0.0.2", "$(IP)", "$(NOWHERE)") == line


def test_a_single_dollar_is_left_alone():
    assert "$HOME costs $5" == expand("$HOME costs $5", {"HOME": "/"})


def test_only_a_container_that_names_its_devices_gets_the_driver():
    devices = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "GPU-1"}
    path = {"name": "LD_LIBRARY_PATH", "value": "/own"}
    found = environment(path, devices)
    assert ("/driver:/own", "/gpus") == (
        found["LD_LIBRARY_PATH"],
        found["KSERVE_HAS_EMULATED_GPUS"],
    )
    assert "KSERVE_HAS_EMULATED_GPUS" not in environment()
    assert "KSERVE_HAS_EMULATED_GPUS" not in environment({**devices, "value": ""})


def test_only_the_sidecar_carries_the_library():
    assert "/lib.so" == environment(name="kserve-has-quota")["KSERVE_HAS_LIBRARY"]
    assert "KSERVE_HAS_LIBRARY" not in environment()


def test_a_container_knows_its_address_and_where_programs_are():
    found = environment()
    assert ("10.0.0.2", "/bin", "p") == (
        found["KSERVE_HAS_BIND_ADDRESS"],
        found["PATH"],
        found["HOSTNAME"],
    )
