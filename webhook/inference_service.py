"""What happens to an InferenceService at admission: defaults and checks. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kserve_has import contract
from kserve_has.kube import JsonObject, annotations_of

from .annotations import check_annotations, ours
from .gpu_requests import gpu_problems, gpu_warnings
from .mps import service_problems

AUTOSCALER_CLASS: Final = "external"
STANDARD: Final = "Standard"
# KServe still accepts the name that Standard had before 0.16 and rewrites it.
STANDARD_NAMES: Final = (STANDARD, "RawDeployment")
# KServe's components before and beside the predictor.
_HELPERS: Final = ("transformer", "explainer")
_IGNORED: Final = ("scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: problems refuse the object, warnings are shown to the user."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def default_inference_service(service: JsonObject) -> JsonObject:
    """Return an opted-in service with what kserve-has needs of KServe; others unchanged.

    Values that the user wrote stay, wrong ones too: refusing them is the validation's part.
    """
    if contract.OBJECTIVE_LATENCY not in annotations_of(service):
        return service
    result = copy.deepcopy(service)
    annotations = result["metadata"]["annotations"]
    annotations.setdefault(contract.KSERVE_AUTOSCALER_CLASS, AUTOSCALER_CLASS)
    annotations.setdefault(contract.KSERVE_DEPLOYMENT_MODE, STANDARD)
    return result


def check_inference_service(service: JsonObject, old: JsonObject | None = None) -> Verdict:
    """Return everything that is wrong with a service of ours, all at once.

    Args:
        service: the object as it would be stored.
        old: the stored object on an update. An update that touches neither annotations nor spec
            passes: KServe must be able to remove its finalizer from whatever is there.

    """
    if "deletionTimestamp" in service["metadata"] or (old and _unchanged(old, service)):
        return Verdict()
    predictors = tuple(_predictors(service))
    misplaced = [
        f"{path}.annotations has {key}; write it in the InferenceService's metadata.annotations"
        for path, predictor in predictors
        for key in ours(predictor.get("annotations") or {})
    ]
    annotations = annotations_of(service)
    if not ours(annotations):
        return Verdict(tuple(misplaced))
    problems = [*check_annotations(annotations), *misplaced, *_mode(service), *_helpers(service)]
    warnings: list[str] = []
    for path, predictor in predictors:
        problems += [*_replicas(path, predictor), *_timeout(path, predictor)]
        problems += gpu_problems(path, predictor)
        problems += service_problems(path, predictor, annotations)
        warnings += [*_ignored(path, predictor), *gpu_warnings(path, predictor)]
    return Verdict(tuple(problems), tuple(warnings))


def _unchanged(old: JsonObject, new: JsonObject) -> bool:
    return annotations_of(old) == annotations_of(new) and old.get("spec") == new.get("spec")


def _predictors(service: JsonObject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = service.get("spec") or {}
    yield "spec.predictor", spec.get("predictor") or {}
    for index, canary in enumerate(spec.get("canary") or ()):
        yield f"spec.canary[{index}].predictor", canary.get("predictor") or {}


def _mode(service: JsonObject) -> Iterator[str]:
    annotations = annotations_of(service)
    chosen = annotations.get(contract.KSERVE_AUTOSCALER_CLASS, AUTOSCALER_CLASS)
    if chosen != AUTOSCALER_CLASS:
        yield (
            f"{contract.KSERVE_AUTOSCALER_CLASS} is {chosen!r}; kserve-has sets the replicas "
            f"itself and takes {AUTOSCALER_CLASS} only; remove the annotation"
        )
    mode = annotations.get(contract.KSERVE_DEPLOYMENT_MODE, STANDARD)
    running = (service.get("status") or {}).get("deploymentMode") or STANDARD
    if mode not in STANDARD_NAMES:
        yield (
            f"{contract.KSERVE_DEPLOYMENT_MODE} is {mode!r}; kserve-has takes {STANDARD} only; "
            "remove the annotation"
        )
    elif running not in STANDARD_NAMES:
        yield (
            f"status.deploymentMode is {running!r} and KServe never changes it; delete the "
            f"InferenceService and create it again to run it in mode {STANDARD}"
        )


def _replicas(path: str, predictor: Mapping[str, Any]) -> Iterator[str]:
    low, high = predictor.get("minReplicas"), predictor.get("maxReplicas")
    if isinstance(low, int) and low < 0:
        yield f"{path}.minReplicas is {low}; it takes a whole number from 0, for example 1"
    # KServe reads a maximum of 0 as none.
    elif isinstance(high, int) and high != 0 and high < (1 if low is None else low):
        yield (
            f"{path}.maxReplicas is {high}, below minReplicas {1 if low is None else low}; "
            f"it takes a whole number from {max(1, low or 0)}, or nothing for no bound"
        )


def _timeout(path: str, predictor: Mapping[str, Any]) -> Iterator[str]:
    found = predictor.get("timeout")
    if found is not None and not 1 <= found <= contract.LONGEST_TIMEOUT_S:
        yield (
            f"{path}.timeout is {found}; it takes whole seconds in "
            f"1..{contract.LONGEST_TIMEOUT_S}, for example 60"
        )


def _helpers(service: JsonObject) -> Iterator[str]:
    for field in _HELPERS:
        if (service.get("spec") or {}).get(field):
            yield (
                f"spec.{field} would get no requests: the gateway of kserve-has sends them to the "
                "predictor's replicas; remove it and do its work in the predictor or the client"
            )


def _ignored(path: str, predictor: Mapping[str, Any]) -> Iterator[str]:
    for field in _IGNORED:
        if field in predictor:
            yield f"{path}.{field} has no effect: {contract.OBJECTIVE_LATENCY} decides"
