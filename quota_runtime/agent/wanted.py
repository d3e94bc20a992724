"""What the annotations of a pod ask the agent to enforce. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.errors import AllocationError
from kserve_has.kube import JsonObject
from kserve_has.units import parse_whole

_HEX = re.compile(r"0x[0-9a-fA-F]{1,32}")
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One allocation and the epoch under which the autoscaler wrote it."""

    epoch: int
    allocation: Allocation


def is_placed(annotations: Mapping[str, str]) -> bool:
    """Whether the autoscaler has given the pod a piece of a GPU."""
    return bool(annotations.get(contract.GPU_UUID)) and contract.EPOCH in annotations


def parse_wanted(annotations: Mapping[str, str]) -> Wanted:
    """Return what a placed pod's annotations say.

    Raises:
        ValueError: some are missing or malformed; the message names all of them.
    """
    problems: list[str] = []

    def whole(key: str, lowest: int, highest: int) -> int:
        try:
            return parse_whole(annotations.get(key, ""), lowest, highest)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            return lowest

    bitmap = annotations.get(contract.SM_GROUPS, "")
    if not _HEX.fullmatch(bitmap) or int(bitmap, 16) == 0:
        problems.append(f"{contract.SM_GROUPS}: {bitmap!r} is not a bitmap such as 0x00ff")
        bitmap = "0x1"
    epoch = whole(contract.EPOCH, 0, _LARGEST)
    partition = whole(contract.SM_PARTITION, 1, 1 << 16)
    quota = whole(contract.QUOTA, 1, 100)
    memory = whole(contract.MEMORY_LIMIT, 0, _LARGEST)
    if problems:
        raise ValueError("; ".join(problems))
    try:
        allocation = Allocation(
            annotations[contract.GPU_UUID], int(bitmap, 16), partition, quota, memory
        )
    except AllocationError as error:
        raise ValueError(str(error)) from error
    return Wanted(epoch, allocation)


def acknowledged_epoch(annotations: Mapping[str, str]) -> int | None:
    """Return the epoch of the last acknowledgement, None when there is none that can be read."""
    try:
        found = json.loads(annotations.get(contract.IN_FORCE, ""))["epoch"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def is_exclusive(annotations: Mapping[str, str]) -> bool:
    """Whether the pod must share no fault domain with others."""
    return annotations.get(contract.ISOLATION) == "exclusive"


def may_burst(annotations: Mapping[str, str]) -> bool:
    """Whether the pod may use, beyond its quota, time that no other pod wants."""
    return annotations.get(contract.BURST) == "true"


def finds_leases(pod: JsonObject) -> bool:
    """Whether the webhook has given a pod the folder of the lease files."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(
        variable.get("name") == contract.ENV_LEASES
        for container in containers
        for variable in container.get("env") or ()
    )


def acknowledgement(wanted: Wanted, backend: str, at_s: float) -> str:
    """Return the value of the annotation that says what is in force since ``at_s`` (epoch)."""
    at = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds")
    return json.dumps(
        {
            "epoch": wanted.epoch,
            "sm_groups": f"{wanted.allocation.sm_groups:#06x}",
            "quota": wanted.allocation.quota_percent,
            "backend": backend,
            "at": at.replace("+00:00", "Z"),
        }
    )
