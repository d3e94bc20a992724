"""The status of a pod as the API server should show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from ...kube import JsonObject
from .lifecycle import ContainerState, Exit, PodState, finished, will_restart
from .spec import ContainerSpec, PodSpec

CONDITIONS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "ContainersReady",
    "Ready",
)


def timestamp(seconds: float) -> str:
    """Return a time in the API's format, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(
    pod: JsonObject,
    earlier: JsonObject,
    spec: PodSpec,
    state: PodState,
    addresses: tuple[str, str],
    now: float,
) -> JsonObject:
    """Return the status to publish.

    Args:
        pod: as last seen; its status may hold the conditions that readiness gates name.
        earlier: the status published before, whose transition times are kept.
        spec: what the pod consists of.
        state: what runs.
        addresses: of the pod and of the node.
        now: seconds since the epoch.
    """
    pod_ip, host_ip = addresses
    ready = _ready(spec, state)
    truths = {
        "PodReadyToStartContainers": True,
        "Initialized": state.initialized,
        "ContainersReady": ready,
        "Ready": ready and _gates_open(pod),
    }
    return {
        "phase": _phase(spec, state),
        "conditions": _conditions(earlier.get("conditions") or (), truths, spec, state, now),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": earlier.get("startTime") or timestamp(now),
        "initContainerStatuses": [_container(c, spec, state) for c in spec.init],
        "containerStatuses": [_container(c, spec, state) for c in spec.main],
    }


def ended(pod: JsonObject) -> bool:
    """Whether a pod has ended for good: nothing of it may be started again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _ready(spec: PodSpec, state: PodState) -> bool:
    watched = (*spec.sidecars, *spec.main)
    return state.stop_deadline is None and all(state.of(c).ready for c in watched)


def _gates_open(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    truths = {c["type"]: c["status"] for c in conditions}
    gates = pod["spec"].get("readinessGates") or ()
    return all(truths.get(gate["conditionType"]) == "True" for gate in gates)


def _phase(spec: PodSpec, state: PodState) -> str:
    if finished(spec, state) and not any(state.of(c).running for c in spec.containers):
        exits = (state.of(c).last for c in spec.main)
        good = state.initialized and all(e is not None and e.code == 0 for e in exits)
        return "Succeeded" if good else "Failed"
    started = any(state.of(c).running or state.of(c).last is not None for c in spec.main)
    return "Running" if started else "Pending"


def _conditions(
    earlier: Iterable[JsonObject],
    truths: dict[str, bool],
    spec: PodSpec,
    state: PodState,
    now: float,
) -> list[JsonObject]:
    held = {condition["type"]: condition for condition in earlier}
    result = []
    for kind in CONDITIONS:
        status = "True" if truths[kind] else "False"
        condition: JsonObject = {"type": kind, "status": status}
        same = held.get(kind, {}).get("status") == status
        condition["lastTransitionTime"] = (
            held[kind]["lastTransitionTime"] if same else timestamp(now)
        )
        if not truths[kind]:
            condition["reason"], condition["message"] = _why(kind, spec, state)
        result.append(condition)
    return result


def _why(kind: str, spec: PodSpec, state: PodState) -> tuple[str, str]:
    if kind == "Initialized":
        waiting = [c.name for c in spec.init if not _done(c, state.of(c))]
        return "ContainersNotInitialized", f"containers with incomplete status: {waiting}"
    if finished(spec, state):
        return "PodCompleted", ""
    waiting = [c.name for c in (*spec.sidecars, *spec.main) if not state.of(c).ready]
    return "ContainersNotReady", f"containers with unready status: {waiting}"


def _done(container: ContainerSpec, held: ContainerState) -> bool:
    if container.is_sidecar:
        return held.started
    return held.last is not None and held.last.code == 0 and not held.running


def _container(container: ContainerSpec, spec: PodSpec, state: PodState) -> JsonObject:
    held = state.of(container)
    again = will_restart(spec, state, container)
    is_done_init = container.is_init and not container.is_sidecar and _done(container, held)
    status: JsonObject = {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": held.ready or is_done_init,
        "started": held.started,
        "restartCount": held.restarts,
        "state": _state(held, initialized=state.initialized, again=again),
    }
    if held.running or held.last is not None:
        status["containerID"] = f"process://{container.name}/{held.restarts}"
    if held.last is not None and (held.running or again):
        status["lastState"] = {"terminated": _terminated(held.last)}
    return status


def _state(held: ContainerState, *, initialized: bool, again: bool) -> JsonObject:
    if held.started_at is not None:
        return {"running": {"startedAt": timestamp(held.started_at)}}
    if held.refusal is not None:
        return {"waiting": {"reason": held.refusal[0], "message": held.refusal[1]}}
    if again:
        message = f"back-off {held.backoff_s:g}s restarting failed container"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    if held.last is not None:
        return {"terminated": _terminated(held.last)}
    return {"waiting": {"reason": "ContainerCreating" if initialized else "PodInitializing"}}


def _terminated(end: Exit) -> JsonObject:
    return {
        "exitCode": end.code if end.code >= 0 else 128 - end.code,
        "reason": end.reason,
        "message": end.message,
        "startedAt": timestamp(end.started_at),
        "finishedAt": timestamp(end.finished_at),
    }
