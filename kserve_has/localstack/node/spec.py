"""What the stand-in reads of a pod: containers, probes, mounts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...kube import JsonObject

# What the images of this project run when a container names no command.
IMAGE_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "kserve-has/agent": ("kserve-has-agent",),
    "kserve-has/autoscaler": ("kserve-has-autoscaler",),
    "kserve-has/gateway": ("kserve-has-gateway",),
    "kserve-has/model-server": ("kserve-has-model-server",),
    "kserve-has/sidecar": ("kserve-has-sidecar",),
    "kserve-has/webhook": ("kserve-has-webhook",),
}


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container; times in seconds.

    Attributes:
        http_path: path of an HTTP probe, None for another kind.
        port: of an HTTP or TCP probe.
        command: of an exec probe.
    """

    http_path: str | None = None
    scheme: str = "http"
    port: int = 0
    command: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume seen by a container."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """One container, init container or native sidecar of a pod."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[JsonObject, ...] = ()
    mounts: tuple[Mount, ...] = ()
    working_dir: str = ""
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    pre_stop_command: tuple[str, ...] = ()
    pre_stop_sleep_s: float = 0.0
    is_init: bool = False
    is_sidecar: bool = False

    def probes(self) -> dict[str, Probe]:
        """Return the probes that exist, by kind."""
        kinds = {"startup": self.startup, "readiness": self.readiness, "liveness": self.liveness}
        return {kind: probe for kind, probe in kinds.items() if probe is not None}


@dataclass(frozen=True)
class PodSpec:
    """The parts of a pod that decide what runs."""

    uid: str
    init: tuple[ContainerSpec, ...]
    main: tuple[ContainerSpec, ...]
    restart_policy: str = "Always"
    grace_s: float = 30.0
    volumes: Mapping[str, JsonObject] = field(default_factory=dict)

    @property
    def sidecars(self) -> tuple[ContainerSpec, ...]:
        """Native sidecars, in order of start."""
        return tuple(c for c in self.init if c.is_sidecar)

    @property
    def containers(self) -> tuple[ContainerSpec, ...]:
        """Every container, init containers first."""
        return self.init + self.main


def parse_pod(pod: JsonObject) -> PodSpec:
    """Return the spec of a pod as the API server stores it."""
    spec = pod["spec"]
    return PodSpec(
        uid=pod["metadata"]["uid"],
        init=tuple(_container(c, is_init=True) for c in spec.get("initContainers") or ()),
        main=tuple(_container(c, is_init=False) for c in spec["containers"]),
        restart_policy=spec.get("restartPolicy", "Always"),
        grace_s=float(spec.get("terminationGracePeriodSeconds", 30)),
        volumes={volume["name"]: volume for volume in spec.get("volumes") or ()},
    )


def program_of(container: ContainerSpec) -> tuple[str, ...] | None:
    """Return what a container executes before its args, None when its image is unknown."""
    if container.command:
        return container.command
    repository = container.image.rsplit("@", 1)[0]
    if ":" in repository.rsplit("/", 1)[-1]:
        repository = repository.rsplit(":", 1)[0]
    return IMAGE_PROGRAMS.get(repository)


def _container(raw: JsonObject, *, is_init: bool) -> ContainerSpec:
    ports = {p.get("name", ""): p["containerPort"] for p in raw.get("ports") or ()}
    pre_stop = (raw.get("lifecycle") or {}).get("preStop") or {}
    return ContainerSpec(
        name=raw["name"],
        image=raw.get("image", ""),
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        env=tuple(raw.get("env") or ()),
        mounts=tuple(_mount(mount) for mount in raw.get("volumeMounts") or ()),
        working_dir=raw.get("workingDir", ""),
        startup=_probe(raw.get("startupProbe"), ports),
        readiness=_probe(raw.get("readinessProbe"), ports),
        liveness=_probe(raw.get("livenessProbe"), ports),
        pre_stop_command=tuple((pre_stop.get("exec") or {}).get("command") or ()),
        pre_stop_sleep_s=float((pre_stop.get("sleep") or {}).get("seconds", 0)),
        is_init=is_init,
        is_sidecar=is_init and raw.get("restartPolicy") == "Always",
    )


def _mount(raw: JsonObject) -> Mount:
    return Mount(
        raw["name"], raw["mountPath"], raw.get("subPath", ""), bool(raw.get("readOnly", False))
    )


def _probe(raw: JsonObject | None, ports: Mapping[str, int]) -> Probe | None:
    if not raw:
        return None
    http: dict[str, Any] = raw.get("httpGet") or {}
    tcp: dict[str, Any] = raw.get("tcpSocket") or {}
    command = tuple((raw.get("exec") or {}).get("command") or ())
    if not (http or tcp or command):
        return None  # gRPC probes: nothing here serves gRPC
    port = (http or tcp).get("port", 0)
    return Probe(
        http_path=http.get("path", "/") if http else None,
        scheme=http.get("scheme", "HTTP").lower(),
        port=ports.get(port, 0) if isinstance(port, str) else port,
        command=command,
        headers=tuple((h["name"], h["value"]) for h in http.get("httpHeaders") or ()),
        initial_delay_s=float(raw.get("initialDelaySeconds", 0)),
        period_s=float(raw.get("periodSeconds", 10)),
        timeout_s=float(raw.get("timeoutSeconds", 1)),
        success_threshold=int(raw.get("successThreshold", 1)),
        failure_threshold=int(raw.get("failureThreshold", 3)),
    )
