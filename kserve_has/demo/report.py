"""The HTML report of a run: one file that needs no other and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import plots
from .figures import ServiceFigures
from .live import FINAL_COLUMNS, final_rows
from .series import ServiceSeries

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums;font-size:13px}
td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:right}
td:first-child,th:first-child{text-align:left}
th{background:#f3f3f3}figure{margin:1rem 0}figcaption{color:#555}svg{max-width:100%;height:auto}
summary{cursor:pointer}pre{overflow:auto;font-size:12px;background:#f7f7f7;padding:1rem}
"""

HOW_COUNTED = (
    "Latency runs from the time a request was due to the last byte of its answer. Percentiles and "
    "violations are over all offered requests; late, failed, never answered and never sent ones "
    "are violations."
)


def html(
    summary: Mapping[str, Any],
    figures: Sequence[ServiceFigures],
    series: Sequence[ServiceSeries],
) -> str:
    """Return the report; every figure in it comes from ``summary``."""
    kills = [float(kill["at_s"]) for kill in summary["chaos"]]
    verdict = "The stack worked." if summary["stack_worked"] else "The stack did not work."
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>kserve-has demo</title><style>{STYLE}</style>",
        "<h1>kserve-has demo</h1>",
        f"<p><b>{verdict}</b> {escape('; '.join(summary['problems']))}</p>",
        f"<p>{escape(_about(summary))}</p>",
        table(FINAL_COLUMNS, final_rows(figures)),
        f"<p>{HOW_COUNTED}</p>",
        _figure(
            plots.gpu_seconds(summary["services"]),
            "GPU-seconds held, and what the same replicas cost at a whole GPU each",
        ),
    ]
    for one in series:
        parts += [
            f"<h2>{escape(one.service)}</h2>",
            _figure(plots.arrivals(one, kills), "Arrivals and expected capacity"),
            _figure(plots.latency(one, kills), "Latency and objective"),
            _figure(plots.allocations(one, kills), "What each replica held (SM x quota)"),
        ]
    if summary["chaos"]:
        parts += ["<h2>Killed in mid-run</h2>", _chaos(summary["chaos"])]
    parts += ["<h2>Measured</h2>", _measured(summary["measured"])]
    parts += ["<h2>Decisions</h2>", _decisions(summary["decisions"])]
    parts.append(
        "<details><summary>summary.json</summary><pre>"
        f"{escape(json.dumps(summary, indent=2))}</pre></details></html>"
    )
    return "\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an HTML table."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _about(summary: Mapping[str, Any]) -> str:
    run = summary["run"]
    loads = "; ".join(
        f"{s['service']}: {s['load']['source']} from second {s['load']['from_s']:.0f}, "
        f"played {s['load']['speed']:g} times as fast, rates times {s['load']['factor']:g}, mean {s['load']['mean_rps']:.1f}/s"
        for s in summary["services"]
    )
    return (
        f"{run['started_at']}, version {run['version']}, {run['seconds']:.0f} s measured after "
        f"{run['lead_in_s']:.0f} s of lead-in, {run['cpus']} CPUs, emulated H200s. Load: {loads}."
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _chaos(kills: Sequence[Mapping[str, Any]]) -> str:
    head = ("killed", "at", "recovery", "recovered", "lost", "duplicate", "overcommitted GPUs")
    rows = [
        (
            kill["process"],
            f"{kill['at_s']:.0f} s",
            ", ".join(f"{name} {value:.1f} s" for name, value in kill["recovery_s"].items()),
            "yes" if kill["recovered"] else "no",
            kill["lost_replicas"],
            kill["duplicate_replicas"],
            kill["overcommitted_gpus"],
        )
        for kill in kills
    ]
    return table(head, rows)


def _measured(measured: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    for name, value in measured.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {key}", _text(inner)) for key, inner in value.items()]
        else:
            rows.append((name, _text(value)))
    return table(("what", "value"), rows)


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> str:
    rows = [(d["at"], d["service"], d["reason"], d["message"], d["count"]) for d in decisions]
    return table(("at (UTC)", "service", "decision", "because", "times"), rows)


def _text(value: object) -> str:
    if value is None:
        return "not measured"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
