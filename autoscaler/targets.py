"""What an InferenceService makes us responsible for: its predictor's Deployments.

Shared by the controller and the gateway, so that both mean the same by a service. KServe makes
one Deployment for the predictor and one for each canary; each is scaled by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kserve_has import contract
from kserve_has.kube import JsonObject, annotations_of, labels_of

_APP_LABEL: Final = "app"  # KServe writes "isvc.<Deployment's name>" on every pod
_APP_PREFIX: Final = "isvc."


@dataclass(frozen=True, slots=True)
class Target:
    """One Deployment of an opted-in InferenceService.

    Attributes:
        namespace: of all its objects.
        isvc: name of the InferenceService.
        canary: name of the canary, "" for the predictor itself.
        deployment: name of the Deployment KServe makes for it.
        traffic_percent: share of the service's requests, 0..100.
        predictor: the predictor's spec, a canary's own fields over it.
        annotations: the InferenceService's.

    """

    namespace: str
    isvc: str
    canary: str
    deployment: str
    traffic_percent: int
    predictor: Mapping[str, Any]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """``namespace/isvc`` or ``namespace/isvc/canary``: key in the policy and in metrics."""
        return "/".join(part for part in (self.namespace, self.isvc, self.canary) if part)


def opted_in(isvc: JsonObject) -> bool:
    """Whether an InferenceService has a latency objective and is not on its way out."""
    leaving = "deletionTimestamp" in isvc["metadata"]
    return contract.OBJECTIVE_LATENCY in annotations_of(isvc) and not leaving


def targets(isvc: JsonObject) -> tuple[Target, ...]:
    """Return the predictor first, then its canaries; none when it has not opted in."""
    if not opted_in(isvc):
        return ()
    stable: Mapping[str, Any] = isvc.get("spec", {}).get("predictor") or {}
    canaries: list[JsonObject] = isvc.get("spec", {}).get("canary") or []
    to_canaries = sum(_percent(canary) for canary in canaries)
    return (
        _target(isvc, "", stable.get("name") or "", max(0, 100 - to_canaries), stable),
        *(_canary_target(isvc, canary, stable) for canary in canaries),
    )


def all_targets(isvcs: Iterable[JsonObject]) -> tuple[Target, ...]:
    """Return the targets of many InferenceServices, sorted by name."""
    found = [target for isvc in isvcs for target in targets(isvc)]
    return tuple(sorted(found, key=lambda target: target.name))


def deployment_of(pod: JsonObject) -> tuple[str, str]:
    """Return (namespace, Deployment) of a predictor pod; the name is "" for any other pod."""
    app = labels_of(pod).get(_APP_LABEL, "")
    name = app.removeprefix(_APP_PREFIX) if app.startswith(_APP_PREFIX) else ""
    return pod["metadata"].get("namespace", ""), name


def pods_by_deployment(pods: Iterable[JsonObject]) -> dict[tuple[str, str], list[JsonObject]]:
    """Return predictor pods grouped by (namespace, Deployment), each group sorted by name."""
    groups: dict[tuple[str, str], list[JsonObject]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        groups.setdefault(deployment_of(pod), []).append(pod)
    return groups


def is_ready(pod: JsonObject) -> bool:
    """Whether kubelet says a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def is_terminating(pod: JsonObject) -> bool:
    """Whether a pod has been told to end."""
    return "deletionTimestamp" in pod["metadata"]


def is_finished(pod: JsonObject) -> bool:
    """Whether a pod has ended for good and holds nothing any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _canary_target(isvc: JsonObject, canary: JsonObject, stable: Mapping[str, Any]) -> Target:
    own: Mapping[str, Any] = canary.get("predictor") or {}
    name = str(own.get("name", ""))
    return _target(isvc, name, name, _percent(canary), {**stable, **own})


def _target(
    isvc: JsonObject, canary: str, suffix: str, percent: int, predictor: Mapping[str, Any]
) -> Target:
    metadata = isvc["metadata"]
    base = f"{metadata['name']}-{suffix}" if suffix else metadata["name"]
    return Target(
        namespace=metadata["namespace"],
        isvc=metadata["name"],
        canary=canary,
        deployment=contract.predictor_name(base),
        traffic_percent=percent,
        predictor=predictor,
        annotations=annotations_of(isvc),
    )


def _percent(canary: JsonObject) -> int:
    return int(canary.get("trafficPercent", 0))
