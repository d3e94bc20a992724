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
_KEY_SOURCES: Final = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}
_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


Reference = tuple[str, str]  # ("ConfigMap" or "Secret", name)
Sources = Mapping[Reference, Mapping[str, str] | None]  # None: the object does not exist


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


def references(container: ContainerSpec) -> set[Reference]:
    """Return the ConfigMaps and Secrets that a container's variables come from."""
    found: set[Reference] = set()
    for entry in container.env:
        for kind, key in _KEY_SOURCES.items():
            if key in (entry.get("valueFrom") or {}):
                found.add((kind, entry["valueFrom"][key]["name"]))
    return found


def container_environment(
    container: ContainerSpec,
    pod: JsonObject,
    pod_ip: str,
    runtime: NodeRuntime,
    sources: Sources | None = None,
) -> dict[str, str]:
    """Return all variables of a container; ``sources`` holds what ``references`` asked for.

    Raises:
        ContainerConfigError: a variable comes from a source the stand-in does not know.
    """
    variables = dict(runtime.base or {})
    variables["HOSTNAME"] = pod["metadata"]["name"]
    variables[ENV_BIND_ADDRESS] = pod_ip
    if runtime.library and container.name == contract.SIDECAR_CONTAINER:
        variables[ENV_LIBRARY] = runtime.library
    for entry in container.env:
        source = entry.get("valueFrom") or {}
        value: str | None
        if "fieldRef" in source:
            value = field_value(pod, source["fieldRef"]["fieldPath"], pod_ip, runtime)
        elif source:
            value = _keyed_value(entry["name"], source, sources or {})
        else:
            value = expand(entry.get("value", ""), variables)
        if value is not None:
            variables[entry["name"]] = value
    if variables.get(contract.ENV_VISIBLE_DEVICES) and runtime.driver_dir:
        _give_driver(variables, runtime)
    return variables


def command_line(
    program: Sequence[str], container: ContainerSpec, variables: Mapping[str, str]
) -> tuple[str, ...]:
    """Return program and arguments with their references expanded."""
    return tuple(expand(part, variables) for part in (*program, *container.args))


def _keyed_value(name: str, source: JsonObject, sources: Sources) -> str | None:
    for kind, field in _KEY_SOURCES.items():
        if field not in source:
            continue
        wanted = source[field]
        value = (sources.get((kind, wanted["name"])) or {}).get(wanted["key"])
        if value is None and not wanted.get("optional", False):
            raise ContainerConfigError(
                f"{name}: no key {wanted['key']!r} in {kind} {wanted['name']!r}"
            )
        return value
    raise ContainerConfigError(f"{name}: {', '.join(source)} is not supported")


def _give_driver(variables: dict[str, str], runtime: NodeRuntime) -> None:
    # What the NVIDIA container runtime does for a container that names its devices.
    paths = [runtime.driver_dir, variables.get("LD_LIBRARY_PATH", "")]
    variables["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    variables.setdefault(contract.ENV_EMULATOR_DIR, runtime.emulated_gpus)
