"""Make the figures of a run and write its folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config.demo import DemoSettings
from .figures import ServiceFigures, as_json, service_figures
from .report import html
from .run import Order, Raw
from .series import service_series

SUMMARY = "summary.json"
SERIES = "series.json"
REPORT = "report.html"


def figures_of(raw: Raw, seconds: float) -> list[ServiceFigures]:
    """Return the figures of every service."""
    return [
        service_figures(
            load.service.name,
            load.service.slo,
            raw.outcomes[load.service.name],
            raw.timeline,
            seconds,
        )
        for load in raw.loads
    ]


def summary_of(
    raw: Raw, figures: list[ServiceFigures], order: Order, settings: DemoSettings, started: datetime
) -> dict[str, Any]:
    """Return what summary.json holds."""
    services = [
        {
            **as_json(one),
            "load": {
                "source": order.source_name,
                "from_s": load.from_s,
                "factor": load.factor,
                "speed": load.speed,
                "mean_rps": round(load.trace.mean_rps(), 3),
            },
        }
        for one, load in zip(figures, raw.loads, strict=True)
    ]
    return {
        "stack_worked": not raw.problems,
        "problems": raw.problems,
        "run": {
            "started_at": started.astimezone(UTC).isoformat(timespec="seconds"),
            "version": importlib.metadata.version("kserve-has"),
            "seconds": order.seconds,
            "lead_in_s": settings.lead_in_s,
            "seed": settings.seed,
            "cpus": os.cpu_count(),
        },
        "services": services,
        "chaos": [one.as_json() for one in raw.aftermath],
        "measured": raw.measured,
        "decisions": raw.decisions,
    }


def write(
    folder: Path,
    raw: Raw,
    order: Order,
    settings: DemoSettings,
    started: datetime,
) -> list[ServiceFigures]:
    """Write summary.json, series.json and report.html; return the figures they hold."""
    figures = figures_of(raw, order.seconds)
    summary = summary_of(raw, figures, order, settings, started)
    series = [
        service_series(
            load.service.name,
            load.service.slo,
            load.due_s,
            raw.outcomes[load.service.name],
            raw.timeline,
            int(order.seconds),
        )
        for load in raw.loads
    ]
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    rows = [one.as_json() for one in series]
    (folder / SERIES).write_text(json.dumps(rows) + "\n", encoding="utf-8")
    (folder / REPORT).write_text(html(summary, figures, series), encoding="utf-8")
    return figures
