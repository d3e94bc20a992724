"""The environment and command line a container starts with. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ... import contract
from ...kube import JsonObject, annotations_of, labels_of
from .spec import ContainerSpec

ENV_BIND_ADDRESS: Final = "KSERVE_HAS_BIND_ADDRESS"
ENV_LIBRARY: Final = "KSERVE_HAS_LIBRARY"
_FIELD_KEY: Final = re.compile(r"^metadata\.(annotations|labels)\['([^']+)'\]$")
_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


class ContainerConfigError(ValueError):
    """A container asks for something the stand-in cannot give; kubelet's error of that name."""


@dataclass(frozen=True, slots=True)
class NodeRuntime:
    """What the container runtime of this node adds to its containers.

    Attributes:
        driver_dir: folder of the emulated driver, first on the library path of GPU containers.
        emulated_gpus: folder of this node's emulated GPUs.
        library: the preload library that the sidecar's image carries.
        base: variables every container starts from, such as PATH.
    """

    node: str
    host_ip: str
    driver_dir: str = ""
    emulated_gpus: str = ""
    library: str = ""
    base: Mapping[str, str] | None = None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by known variables; ``$$`` stands for one dollar sign."""

    def one(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(one, text)


def field_value(pod: JsonObject, path: str, pod_ip: str, runtime: NodeRuntime) -> str:
    """Return a downward-API field of a pod; a missing annotation or label is empty.

    Raises:
        ContainerConfigError: the stand-in does not know the field.
    """
    keyed = _FIELD_KEY.match(path)
    if keyed:
        values = annotations_of(pod) if keyed.group(1) == "annotations" else labels_of(pod)
        return values.get(keyed.group(2), "")
    metadata = pod["metadata"]
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": runtime.node,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": runtime.host_ip,
    }
    if path not in known:
        raise ContainerConfigError(f"fieldRef {path!r} is not supported")
    return str(known[path])


def container_environment(
    container: ContainerSpec, pod: JsonObject, pod_ip: str, runtime: NodeRuntime
) -> dict[str, str]:
    """Return all variables of a container.

    Raises:
        ContainerConfigError: a variable comes from a source the stand-in does not know.
    """
    variables = dict(runtime.base or {})
    variables["HOSTNAME"] = pod["metadata"]["name"]
    variables[ENV_BIND_ADDRESS] = pod_ip
    if runtime.library and container.name == contract.SIDECAR_CONTAINER:
        variables[ENV_LIBRARY] = runtime.library
    for entry in container.env:
        variables[entry["name"]] = _value(entry, pod, pod_ip, runtime, variables)
    if variables.get(contract.ENV_VISIBLE_DEVICES) and runtime.driver_dir:
        _give_driver(variables, runtime)
    return variables


def command_line(
    program: Sequence[str], container: ContainerSpec, variables: Mapping[str, str]
) -> tuple[str, ...]:
    """Return program and arguments with their references expanded."""
    return tuple(expand(part, variables) for part in (*program, *container.args))


def _value(
    entry: JsonObject,
    pod: JsonObject,
    pod_ip: str,
    runtime: NodeRuntime,
    variables: Mapping[str, str],
) -> str:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), variables)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], pod_ip, runtime)
    raise ContainerConfigError(f"{entry['name']}: {', '.join(source)} is not supported")


def _give_driver(variables: dict[str, str], runtime: NodeRuntime) -> None:
    # What the NVIDIA container runtime does for a container that names its devices.
    paths = [runtime.driver_dir, variables.get("LD_LIBRARY_PATH", "")]
    variables["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    variables.setdefault(contract.ENV_EMULATOR_DIR, runtime.emulated_gpus)
