"""The results of ``quota_h200.py`` as rows: what must be, what was found, whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.quota_cells import Row, between, figure, met, ranged
from benchmarks.gpu.quota_share_rows import share_rows

Report = dict[str, Any]
Section = Callable[[str, Any], Iterator[Row]]
LOST = {"no limit": 0.5, "quota 100": 1.0, "quota 99": 1.5}  # percent


def _latency(_name: str, row: Any) -> Iterator[Row]:
    moved = {"sm first": 5.0, "sm announced": 5.0, "sm again": None}
    in_force = {"sm first": None, "sm announced": None, "sm again": None, "quota": 50.0}
    on_path = {"sm first": 5000.0, "sm again": 200.0}
    for label, unit, part, bounds in (
        ("next launch goes there", "ms", row["next_launch_ms"], moved),
        ("in force, old work drained", "ms", row["in_force_ms"], in_force),
        ("launching thread", "us", row["launch_path_us"], on_path),
    ):
        for kind, most in bounds.items():
            if (t := part.get(kind)) is None:
                continue
            found = f"median {figure(t['median'], 3)}, p95 {figure(t['p95'], 3)}, "
            found += f"max {figure(t['max'], 3)} {unit} of {t['repeats']}"
            verdict = met(t["p95"], most) if most else ""
            yield (f"{kind}, {label}", f"{most} {unit}" if most else "told", found, verdict)


def _resize(name: str, row: Any) -> Iterator[Row]:
    counters = row["library"]
    found = f"{row['flips']} changes in {row['seconds']:.0f} s, {row['wrong_outputs']} wrong of "
    found += f"{sum(row['iterations'])}, ungated {[c['ungated_launches'] for c in counters]}, "
    found += f"equal to before {row['equal_to_before']}, never in force {row['never_in_force']}"
    good = not (row["wrong_outputs"] or row["never_in_force"]) and all(row["equal_to_before"])
    yield (name, "0 errors", found, "yes" if good else "no")
    for key, how in (
        ("neighbour_p99_more_percent", "as the host sees it"),
        ("neighbour_gpu_p99_more_percent", "by the GPU's stamps"),
    ):
        if more := row.get(key):
            p99 = f"{figure(more['quiet_p99_ms'])} -> {figure(more['busy_p99_ms'])} ms, "
            p99 += f"{ranged(more)}; p50 {figure(more.get('quiet_p50_ms'))} -> "
            p99 += f"{figure(more.get('busy_p50_ms'))} ms"
            yield (f"- neighbour's p99, {how}", "+5 %", p99, between(more, 5.0))


def _overhead(name: str, rows: Any) -> Iterator[Row]:
    for row in rows:
        for measure in ("throughput", "undisturbed rounds", "undisturbed step"):
            if not (part := row.get(measure)):
                continue
            found = f"bare processes differ by {figure(part['bare_spread_percent'])} %"
            yield (f"{name}, {row['work']}, {row['mode']}, {measure}", "", found, "")
            if noise := part.get("noise_percent"):
                yield ("- one bare process against the others", "told", ranged(noise, 2), "")
            for kind, lost in part["lost_percent"].items():
                most = LOST.get(kind)
                verdict = between(lost, most) if most else ""
                yield (f"- {kind}", f"{most} %" if most else "told", ranged(lost, 2), verdict)
            for kind, lost in part["lost_in_one_process_percent"].items():
                yield (f"- {kind} against no limit in one process", "told", ranged(lost, 2), "")


def _area(name: str, rows: Any) -> Iterator[Row]:
    for work in dict.fromkeys(row["work"] for row in rows):
        mine = [row for row in rows if row["work"] == work]
        for beside in ("itself", "nobody"):
            off = [
                100 * (r["of_same_sm"] / r["quota"] - 1)
                for r in mine
                if r["quota"] < 1 and r["beside"] == beside
            ]
            if not off:
                continue
            found = f"{figure(min(off), 1)} to {figure(max(off), 1)} %"
            verdict = met(max(abs(o) for o in off), 5.0)
            yield (f"{name}, {work}, beside {beside}", "quota within 5 %", found, verdict)
        for beside in ("nobody", "captured on all"):
            full = [r for r in mine if r["quota"] == 1 and r["beside"] == beside]
            shares = ", ".join(f"{r['sm']}: {figure(r['of_whole'], 3)}" for r in full)
            if shares:
                yield (f"- of the whole, by SM share, {beside}", "told", shares, "")


def _launches(name: str, rows: Any) -> Iterator[Row]:
    for kind, row in rows.items():
        if "failed" in row:
            yield (f"{name} {kind}", "hooks = profiler", row["failed"][:60], "-")
            continue
        hooks, seen = row["hooks"], row["profiler"]
        found = f"hooks {hooks['launches']}, profiler {seen['launch_calls']} calls "
        found += f"{seen['kernels']} kernels, ungated {hooks['ungated_launches']}"
        # A profiler that names no calls of the driver's own interface still sees kernels.
        wanted = seen["launch_calls"] or seen["kernels"]
        good = hooks["launches"] == wanted and not hooks["ungated_launches"]
        yield (f"{name} {kind}", "hooks = profiler", found, "yes" if good else "no")


def _victim(name: str, rows: Any) -> Iterator[Row]:
    for row in rows:
        for aggressor in ("quiet", "gemm", "copy"):
            clocks = _clocks(row[aggressor])
            for reading, how in (("p99_more_percent", ""), ("gpu_p99_more_percent", " by stamps")):
                if not (more := row[aggressor].get(reading)):
                    continue
                p99 = f"{figure(more['quiet_p99_ms'])} -> {figure(more['busy_p99_ms'])} ms"
                p50 = f"{clocks}p50 {figure(more['quiet_p50_ms'])} -> {figure(more['busy_p50_ms'])}"
                most = 10.0 if aggressor == "quiet" else None
                verdict = between(more, most) if most else ""
                label = f"{name}, {row['work']} beside {aggressor}{how}"
                found = f"{p99}, {ranged(more)}; {p50}"
                yield (label, "p99 +10 %" if most else "told", found, verdict)


def _clocks(row: dict[str, Any]) -> str:
    seen = [facts.get("mhz") for facts in row.get("clock", {}).values()]
    seen = seen or list(row.get("clock_mhz", {}).values())
    return " -> ".join(f"{mhz:.0f}" for mhz in seen) + " MHz, " if seen and all(seen) else ""


def _borrowing(name: str, row: Any) -> Iterator[Row]:
    for kind in ("limit", "burst"):
        wakes = row[kind]["neighbour"]
        found = f"{figure(100 * row[kind]['share'], 1)} % of the GPU; the idle neighbour's lone request "
        found += f"p50 {figure(wakes['p50_ms'])}, worst {figure(wakes['worst_ms'])} ms, alone "
        found += f"p50 {figure(row['latency alone']['p50_ms'])}"
        yield (f"{name}, 30 % as a {kind}", "told", found, "")


def _memory(_name: str, row: Any) -> Iterator[Row]:
    refused = bool(row["limited"]["error"] and row["below_use"]["error"])
    good = refused and row["below_use"]["free"] == 0 and not row["lifted"]["error"]
    yield ("memory limit below use", "OOM, no failure", f"refused {refused}", met(not good, 0))


def _gap(name: str, row: Any) -> Iterator[Row]:
    for label, value in ({"": row} if "survivor" in row else row).items():
        s = value["survivor"]
        found = f"{figure(s['before_per_second'], 0)} -> {figure(s['after_per_second'], 0)} "
        found += f"steps/s, longest gap {figure(s['longest_gap_ms'], 1)} ms, "
        found += f"equal outputs {value['equal']}"
        yield (f"{name} {label}".strip(), "neighbour goes on", found, met(not value["equal"], 0))


def _kill_beside(name: str, row: Any) -> Iterator[Row]:
    right = [one for one in row["tries"] if one.get("right")]
    if error := row["survivor_error"]:
        found = f"the neighbour ends: {error[:80]} (after {figure(row['survivor_told_ms'], 0)} ms)"
        yield (name, "told", found, "")
    else:
        yield from _gap(name, row)
    found = f"{figure(row['new_pod_right_ms'], 0)} ms, {len(row['tries'])} tries"
    yield ("- until a new pod is right", "told", found if right else "never", "")


def _fork(name: str, value: Any) -> Iterator[Row]:
    for where, row in value.items():
        good = not row["hung"] and row.get("plain_work") and row["parent_equal"]
        refused = row.get("torch_refused"), row.get("driver_refused")
        found = f"child works on {row.get('plain_work')}, CUDA refused to it {refused}, "
        found += f"parent equal {row['parent_equal']}, {row['parent_wrong']} wrong"
        yield (f"{name}, {where}", "no hang", found, met(not good, 0))


def _starts(name: str, row: Any) -> Iterator[Row]:
    beside = row["neighbour"]
    rates = beside["steps_per_second"]
    found = f"{row['right']} of {row['started']} right, {figure(row['start_seconds'])} s each; "
    found += f"neighbour {beside['wrong']} wrong of {beside['steps']}, equal {beside['equal']}"
    good = row["right"] == row["started"] and not beside["wrong"] and beside["equal"]
    yield (name, "neighbour goes on", found, met(not good, 0))
    more = beside["p99_more_percent"]
    p99 = f"{figure(more['quiet_p99_ms'])} -> {figure(more['busy_p99_ms'])} ms, {ranged(more)}; "
    p99 += f"{figure(rates['quiet'], 1)} -> {figure(rates['busy'], 1)} steps/s"
    yield ("- neighbour's p99 and speed", "told", p99, "")


SECTIONS: dict[str, Section] = {
    "two pods": share_rows,
    "in turns": share_rows,
    "borrowing": _borrowing,
    "quota alone": share_rows,
    "plain time slicing": share_rows,
    "MPS percentage": share_rows,
    "HAMi-core shares": share_rows,
    "HAMi-core overhead": _overhead,
    "fork": _fork,
    "50 pod starts": _starts,
    "resize latency": _latency,
    "live resize": _resize,
    "overhead": _overhead,
    "area": _area,
    "launches": _launches,
    "victim": _victim,
    "memory": _memory,
    "stop": _gap,
    "kill under MPS": _kill_beside,
    "kill": _gap,
}


def rows_of(report: Report) -> list[Row]:
    """Return the lines of the table; a phase that failed or was skipped says so."""
    return [row for name, value in report.items() for row in _rows(name, value)]


def _rows(name: str, value: Any) -> list[Row]:
    section = next((s for key, s in SECTIONS.items() if name.startswith(key)), None)
    if section is None or not value:
        return []
    if isinstance(value, dict) and ("failed" in value or "skipped" in value):
        return [(name, "", str(value.get("failed", value.get("skipped")))[:90], "-")]
    try:
        return list(section(name, value))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        return [(name, "", f"report incomplete: {error!r}"[:90], "-")]


def table(report: Report) -> str:
    """Return the report as lines for a terminal."""
    return "\n".join(" | ".join(row) for row in rows_of(report))


def markdown(report: Report) -> str:
    """Return the report as markdown: a heading and a table for each phase, in a fixed order."""
    lines: list[str] = []
    order = list(SECTIONS)
    names = [name for name in report if any(name.startswith(key) for key in order)]
    rank = {name: next(i for i, key in enumerate(order) if name.startswith(key)) for name in names}
    for name in sorted(names, key=lambda name: rank[name]):
        if rows := _rows(name, report[name]):
            card = report.get("cards", {}).get(name)
            lines += [
                f"### {name}, {card}" if card else f"### {name}",
                "",
                "| what | must | found | met |",
                "|---|---|---|---|",
            ]
            lines += [f"| {' | '.join(row)} |" for row in rows]
            lines.append("")
    return "\n".join(lines)
