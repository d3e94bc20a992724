"""Plots of a run as SVG text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..gpu import H200
from .series import LATENCY_BIN_S, ServiceSeries

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e")


def arrivals(series: ServiceSeries, kills: Sequence[float]) -> str:
    """Return arrivals per second against what the replicas are expected to serve."""
    figure, axes = _axes(kills)
    seconds = range(len(series.arrivals_rps))
    axes.plot(seconds, series.arrivals_rps, color=COLOURS[0], lw=1, label="arrivals")
    axes.step(seconds, series.capacity_rps, color=COLOURS[2], where="post", label="capacity")
    axes.set_ylabel("requests/s")
    axes.set_ylim(bottom=0)
    _legend(axes)
    return _svg(figure)


def latency(series: ServiceSeries, kills: Sequence[float]) -> str:
    """Return latency at the objective's percentile, per five seconds, against its bound."""
    figure, axes = _axes(kills)
    middles = [(i + 0.5) * LATENCY_BIN_S for i in range(len(series.latency_ms))]
    values = [float("nan") if v is None else v for v in series.latency_ms]
    label = f"p{series.objective_percentile} of {LATENCY_BIN_S} s"
    axes.plot(middles, values, color=COLOURS[0], marker=".", label=label)
    axes.axhline(series.objective_ms, color=COLOURS[2], ls="--", label="objective")
    axes.set_yscale("log")
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(lambda ms, _: f"{ms:g}")
    axes.set_ylabel("ms from due time")
    _legend(axes)
    return _svg(figure)


def allocations(series: ServiceSeries, kills: Sequence[float]) -> str:
    """Return the share of a GPU (SM x quota) that each replica held, stacked."""
    figure, axes = _axes(kills)
    seconds = range(len(series.gpus))
    layers = [
        [p[0] * p[1] / H200.sm_count if p else 0.0 for p in pieces]
        for pieces in series.pieces.values()
    ]
    if layers:
        axes.stackplot(
            seconds, *layers, labels=list(series.pieces), colors=COLOURS, step="post", alpha=0.85
        )
        _legend(axes, fontsize=7)
    axes.set_ylabel("% of one GPU")
    return _svg(figure)


def gpu_seconds(figures: Sequence[dict[str, Any]]) -> str:
    """Return GPU-seconds held against whole GPUs for the same replicas."""
    figure = Figure(figsize=(7.5, 0.8 + 0.7 * len(figures)), layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(figures):
        held, whole = row["gpu_seconds"], row["whole_gpu_seconds"]
        axes.barh(
            index + 0.2, held, 0.36, color=COLOURS[0], label="SM x quota" if not index else ""
        )
        axes.barh(
            index - 0.2, whole, 0.36, color=COLOURS[1], label="whole GPUs" if not index else ""
        )
    axes.set_yticks(range(len(figures)), [row["service"] for row in figures])
    axes.set_xlabel("GPU-seconds")
    axes.legend(loc="upper right", frameon=False)
    return _svg(figure)


def _axes(kills: Sequence[float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.5, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    for at_s in kills:
        axes.axvline(at_s, color="#666", ls=":", lw=1)
    return figure, axes


def _legend(axes: Axes, fontsize: float | None = None) -> None:
    # Above the plot, where it hides no line.
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0,
        frameon=False,
        ncols=3,
        fontsize=fontsize,
    )


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    # Words as text, not as outlines: smaller, searchable, and the same on every machine.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kserve-has"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
