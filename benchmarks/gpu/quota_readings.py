"""Two more readings of the same shares, from what pods did in each whole second.

Against the fastest that any process was alone in the run: a host that stalls only makes it slower.
Of the work both did: without any reference, but blind to what both lose.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.quota_stats import Figures, spread

Windows = dict[str, Figures | None]


def alone_speeds(row: dict[str, Any]) -> list[float]:
    """Return every steps a second measured alone beside a row."""
    alone = row.get("alone_per_second", 0.0)
    return [speed for pair in alone for speed in pair] if isinstance(alone, list) else [alone]


def seconds_done(row: dict[str, Any]) -> list[list[float]]:
    """Return the steps each pod did in each second; the last one, which may be cut short, is not."""
    whole = [sum(pair) / 2 for pair in zip(*row["alone_per_second"], strict=True)]
    shortest = min(map(len, row["each_second"])) - 1
    return [
        [share * speed for share in series[:shortest]]
        for series, speed in zip(row["each_second"], whole, strict=True)
    ]


def _windows(shares: list[list[float]], granted: list[float]) -> Windows:
    result: Windows = {}
    for length in (10, 1):
        errors = [
            100 * (sum(series[at : at + length]) / length - share)
            for series, share in zip(shares, granted, strict=True)
            for at in range(len(series) - length + 1)
        ]
        result[f"{length} s"] = spread(errors)
    return result


def against(row: dict[str, Any], fastest: float) -> Windows:
    """Return the errors in points where `fastest` steps a second are the whole GPU."""
    shares = [[steps / fastest for steps in series] for series in seconds_done(row)]
    return _windows(shares, row["granted"])


def of_both(row: dict[str, Any]) -> Windows:
    """Return the errors in points of each pod's part of what the pods did together."""
    done = seconds_done(row)
    totals = [sum(each) for each in zip(*done, strict=True)]
    shares = [
        [steps / (total or 1.0) for steps, total in zip(series, totals, strict=True)]
        for series in done
    ]
    return _windows(shares, row["granted"])
