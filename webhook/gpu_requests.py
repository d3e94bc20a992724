"""Requests for whole GPUs, which a replica under quota must not make. Pure.

A container that asks the device plugin for ``nvidia.com/gpu`` would hold a GPU that the
scheduler counts once, beside the piece that the autoscaler gives it. One GPU asked for by the
model's container is what everybody writes out of habit: it is taken out of the pod with a
warning. Anything else means something kserve-has cannot give, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kserve_has import contract

VENDOR: Final = "nvidia.com/"
WHOLE_GPU: Final = "nvidia.com/gpu"


def gpu_problems(path: str, predictor: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per request that cannot be served, for one predictor spec."""
    if predictor.get("workerSpec"):
        yield f"{path}.workerSpec spans several pods; a replica of kserve-has is one pod on one GPU"
    for where, container in _containers(path, predictor):
        named = container.get("name", contract.KSERVE_CONTAINER)
        for resource, count in requests_of(container).items():
            if resource != WHOLE_GPU:
                yield (
                    f"{where}.resources has {resource}; kserve-has cuts whole GPUs itself; remove "
                    f"it and write {contract.GPU_MEMORY}"
                )
            elif named != contract.KSERVE_CONTAINER:
                yield (
                    f"{where}.resources has {WHOLE_GPU} for container {named!r}; only "
                    f"{contract.KSERVE_CONTAINER} can run on a piece of a GPU; remove it"
                )
            elif count not in ("0", "1"):
                yield (
                    f"{where}.resources has {WHOLE_GPU} {count!r}; a replica holds a piece of one "
                    f"GPU; remove it and write {contract.GPU_MEMORY}"
                )


def gpu_warnings(path: str, predictor: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per request that is taken out of the pods."""
    for where, container in _containers(path, predictor):
        if requests_of(container).get(WHOLE_GPU) == "1":
            yield (
                f"{where}.resources has {WHOLE_GPU}; kserve-has takes it out of the pods, "
                "whose piece of a GPU it chooses itself"
            )


def requests_of(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the GPU resources a container asks for, by name, as written."""
    resources = container.get("resources") or {}
    found: dict[str, str] = {}
    for kind in ("requests", "limits"):
        for name, amount in (resources.get(kind) or {}).items():
            if name.startswith(VENDOR):
                found[name] = str(amount)
    return found


def without_whole_gpu(container: dict[str, Any]) -> None:
    """Take the request for a whole GPU out of a container of a pod, in place."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        (resources.get(kind) or {}).pop(WHOLE_GPU, None)


def _containers(path: str, predictor: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, container in enumerate(predictor.get("containers") or ()):
        yield f"{path}.containers[{index}]", container
    # `model` and the older per-framework fields (`sklearn`, `triton`, …) inline one container.
    for field, value in predictor.items():
        if isinstance(value, dict) and "resources" in value and field != "workerSpec":
            yield f"{path}.{field}", {**value, "name": contract.KSERVE_CONTAINER}
