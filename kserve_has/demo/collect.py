"""Collect what a run's own processes say about themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from .. import contract
from ..config.localstack import LocalStackSettings
from ..localstack.layout import LOOPBACK, node_address
from .figures import first_reaction_s, percentile
from .loads import Load
from .measures import Buckets, add_up, histograms, quantile
from .timeline import Timeline

DECISION: Final = "kserve_has_decision_seconds"
TICK: Final = "kserve_has_tick_seconds"
ADMISSION: Final = "kserve_has_webhook_admission_seconds"
TO_IN_FORCE: Final = "kserve_has_agent_resize_seconds"


def metrics_urls() -> dict[str, list[str]]:
    """Return part -> the metrics pages of its processes."""
    nodes = range(LocalStackSettings().nodes)
    return {
        "autoscaler": [f"http://{LOOPBACK}:{contract.AUTOSCALER_PORT}/metrics"],
        "webhook": [f"https://{LOOPBACK}:{contract.WEBHOOK_PORT}/metrics"],
        "agent": [f"http://{node_address(i)}:{contract.AGENT_PORT}/metrics" for i in nodes],
    }


def measured(
    pages: Iterable[str],
    timeline: Timeline,
    loads: Sequence[Load],
    seconds: float,
    memory: Mapping[str, int],
) -> dict[str, Any]:
    """Return what stands under ``measured`` in summary.json.

    Args:
        pages: metrics pages, one per life of a process.
        timeline: replicas over time.
        loads: what was offered.
        seconds: length of the run.
        memory: process -> highest resident memory seen, bytes.

    """
    found = add_up(histograms(page) for page in pages)
    changes = {load.service.name: timeline.changes(load.service.name, 0, seconds) for load in loads}
    watched = [c.took_ms for own in changes.values() for c in own if c.before]
    reactions = [
        reaction
        for load in loads
        for reaction in first_reaction_s(load.due_s, changes[load.service.name], seconds)
    ]
    return {
        "annotation seen to in force seen, by a watch (ms)": _spread(watched),
        "annotation to in force, by the agents (ms)": _histogram_ms(found.get(TO_IN_FORCE)),
        "arrival surge to first larger piece in force (s)": _spread(reactions),
        "decision (ms)": _histogram_ms(found.get(DECISION)),
        "tick: observe, decide, apply (ms)": _histogram_ms(found.get(TICK)),
        "webhook admission (ms)": _histogram_ms(found.get(ADMISSION)),
        "highest resident memory (MiB)": {
            name: round(size / 2**20, 1) for name, size in sorted(memory.items())
        },
    }


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "p50": _rounded(percentile(values, 50)),
        "p99": _rounded(percentile(values, 99)),
        "count": len(values),
    }


def _histogram_ms(buckets: Buckets | None) -> dict[str, float | int | None]:
    if not buckets:
        return {"p50": None, "p99": None, "count": 0}
    return {
        "p50": _rounded(quantile(buckets, 0.5), 1000),
        "p99": _rounded(quantile(buckets, 0.99), 1000),
        "count": int(buckets.get(math.inf, 0)),
    }


def _rounded(value: float | None, factor: float = 1.0) -> float | None:
    return None if value is None else round(value * factor, 3)
