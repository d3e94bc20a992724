"""Rows of the table for shares of the GPU's time: three readings, the control, and what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.quota_cells import Row, figure, met
from benchmarks.gpu.quota_readings import against, alone_speeds, of_both


def share_rows(name: str, rows: Any) -> Iterator[Row]:
    """Yield what two processes got, how far that was off by each reading, and why."""
    rows = rows if isinstance(rows, list) else [rows]
    fastest = max(f for row in rows for f in alone_speeds(row))
    for row in rows:
        label = f"{name}, {row['mode']}" if row["mode"] not in name else name
        granted = "/".join(f"{g * 100:.0f}" for g in row["granted"])
        got = "/".join(figure(g * 100, 2) for g in row["got"])
        if "got_at_one_clock" in row:
            got += f", at one clock {figure(row['got_at_one_clock'] * 100, 2)}"
        yield (f"{label}, {granted}", "", f"got {got}", "")
        yield ("- error over all", "1 point", figure(row["error_all_points"]), "")
        if "both without limits" in row:
            control = figure(100 * row["both without limits"], 1)
            alone = [one for both in row.get("alone", []) for one in both if "busy" in one]
            if alone:
                busy = sum(one["busy"] for one in alone) / len(alone)
                of_busy = figure(100 * row["both without limits"] * busy, 1)
                control += f" % of one alone, {of_busy} % of the time that one has the GPU busy"
            else:
                control += " % of one alone"
            yield ("- both without limits, together", "told", control, "")
        if found := _alone(row):
            yield ("- alone before and after", "told", found, "")
        if found := _lost(row.get("where time went") or {}):
            yield ("- where time went", "told", found, "")
        if (host := row.get("host")) and all(host):
            found = "; ".join(
                f"core busy {figure(h['core_busy_s'], 3)} s, stolen {figure(h['stolen_s'])} s"
                for h in host
            )
            yield ("- the launching threads were held up", "told", found, "")
        if found := _library(row.get("library") or []):
            yield ("- the library's counters", "told", found, "")
        seen = [("", row["windows"])]
        if len(row["got"]) > 1 and isinstance(row["alone_per_second"], list):
            seen += [("against the fastest alone", against(row, fastest))]
            seen += [("of the work both did", of_both(row))]
        for reading, windows in seen:
            for window, most in (("10 s", 1.0), ("1 s", 2.0)):
                if spread := windows.get(window):
                    found = ", ".join(f"{k} {figure(v)}" for k, v in spread.items() if k != "p99")
                    label = f"- error over {window} {reading}".rstrip()
                    yield (label, f"{most:.0f} point(s)", found, met(spread["max"], most))


def _alone(row: dict[str, Any]) -> str:
    """Return the spread of what the processes did alone, how busy they kept the GPU, and clocks."""
    found = [one for both in row.get("alone", []) for one in both]
    if not found:
        return ""
    spreads = []
    for index in range(len(row["alone"][0])):
        speeds = [both[index]["per_second"] for both in row["alone"]]
        spreads.append(100 * (max(speeds) / min(speeds) - 1))
    text = "spread " + ", ".join(f"{figure(s)} %" for s in spreads)
    if all("busy" in one for one in found):
        text += f"; GPU busy {figure(100 * min(one['busy'] for one in found))} %"
    seen = [("alone", one) for one in found] + [("meanwhile", row.get("clock") or {})]
    clocks = [f"{where} {one['mhz']:.0f}" for where, one in seen if "mhz" in one]
    if clocks:
        watts = (row.get("clock") or {}).get("watts")
        text += f"; MHz {', '.join(dict.fromkeys(clocks))}; {figure(watts, 0)} W"
    return text


def _lost(lost: dict[str, Any]) -> str:
    """Return how the GPU spent the time of a row, in percent of it."""
    if not lost:
        return ""
    over, slower = lost["hand_over_us"], ", ".join(figure(s) for s in lost["launches_slower"])
    return (
        f"held {' + '.join(figure(h) for h in lost['held_percent'])} %, idle: between launches "
        f"{figure(lost['idle_between_launches'])}, at hand-overs {figure(lost['idle_at_hand_overs'])}"
        f", in turns {figure(lost['idle_in_turns'])}, both at once {figure(lost['both_at_once'])}; "
        f"launches slower by {slower} %; {figure(lost['hand_overs_per_s'], 0)} hand-overs a second, "
        f"gap p50 {figure(over['p50'], 0)}, p95 {figure(over['p95'], 0)}, "
        f"max {figure(over['max'], 0)} us"
    )


def _library(counters: list[dict[str, int]]) -> str:
    """Return what the pods' own counters say, in seconds and counts."""
    shown = []
    for pod in counters:
        seconds = ", ".join(
            f"{name.removesuffix('_ns')} {figure(pod[name] / 1e9)} s"
            for name in ("gpu_time_ns", "lease_wait_ns", "throttled_ns", "overrun_ns")
            if name in pod
        )
        shown.append(f"{seconds}, {pod.get('leases', 0)} leases, {pod['ungated_launches']} ungated")
    return "; ".join(shown)
