"""What a decision looks like in the log, in Events and in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from kserve_has.allocation import Allocation

from ..policy.plan import Action, Hold, Place, Reason, Resize, SetScale

# Holding still is worth telling only when the service is worse off for it.
TROUBLES = frozenset({Reason.NO_ROOM, Reason.NO_DATA, Reason.UNKNOWN_MODEL, Reason.AT_BOUND})


class Outcome(StrEnum):
    """How carrying out an action ended."""

    APPLIED = "applied"
    LOST_RACE = "lost-race"  # the object had changed; the next tick plans anew
    FAILED = "failed"  # the API server refused or did not answer
    SKIPPED = "skipped"  # it rests on an action that did not happen
    HELD = "held"  # nothing was to be done


@dataclass(frozen=True, slots=True)
class Done:
    """An action and how it ended."""

    action: Action
    outcome: Outcome
    error: str = ""


def kind_of(action: Action) -> str:
    """Return the action's name in logs and metrics."""
    match action:
        case Hold():
            return "hold"
        case Resize():
            return "resize"
        case Place():
            return "place"
        case SetScale():
            return "scale"


def sentence(action: Action) -> str:
    """Return one sentence for people, with the numbers behind it."""
    match action:
        case Hold():
            return f"left as it is: {action.because}"
        case Resize():
            return f"{action.replica} resized to {_piece(action.allocation)}: {action.because}"
        case Place():
            piece = _piece(action.allocation)
            return f"{action.replica} placed on {action.node} with {piece}: {action.because}"
        case SetScale():
            return f"scaled to {action.replicas} replicas: {action.because}"


def log_entry(at: str, decide_ms: float, done: Iterable[Done]) -> dict[str, Any]:
    """Return one line of the decision log as a mapping."""
    actions = [_entry(one) for one in done]
    return {"at": at, "decide_ms": round(decide_ms, 3), "actions": actions}


def worth_logging(one: Done) -> bool:
    """Whether an action is more than a quiet hold."""
    return not isinstance(one.action, Hold)


def _entry(one: Done) -> dict[str, Any]:
    action = one.action
    entry: dict[str, Any] = {
        "kind": kind_of(action),
        "service": action.service,
        "reason": str(action.because.reason),
        "numbers": {key: round(value, 4) for key, value in action.because.numbers.items()},
        "outcome": str(one.outcome),
    }
    if one.error:
        entry["error"] = one.error
    if isinstance(action, Place):
        entry["node"] = action.node
    if isinstance(action, Resize | Place):
        allocation = asdict(action.allocation)
        allocation["sm_groups"] = f"{action.allocation.sm_groups:#06x}"
        entry |= {
            "replica": action.replica,
            "allocation": allocation,
            "capacity_rps": round(action.capacity_rps, 1),
        }
    if isinstance(action, SetScale):
        entry |= {"replicas": action.replicas, "victims": list(action.victims)}
    return entry


def _piece(allocation: Allocation) -> str:
    return f"{allocation.sm_partition} SMs at {allocation.quota_percent} % of {allocation.gpu_uuid}"
