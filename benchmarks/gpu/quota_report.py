"""The report of ``quota_h200.py`` as a short table and as markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = tuple[str, str, str, str]  # what, must, found, met
Report = dict[str, Any]


def figure(value: object, digits: int = 2) -> str:
    """Return a number as text, a dash for none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def met(value: float | None, most: float) -> str:
    """Return yes or no, a dash where nothing was measured."""
    return "-" if value is None else "yes" if value <= most else "no"


def _shares(name: str, must: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        for row in report[name]:
            found = (
                f"{', '.join(figure(g, 3) for g in row['got'])}; error "
                f"{figure(row['error_all_points'])} (1 s: {figure(row['error_1s_points'])}) points"
            )
            granted = "/".join(f"{g * 100:.0f}" for g in row["granted"])
            within = met(row["error_all_points"], 1.0)
            yield (f"{name}, {row['mode']}, {granted}", must, found, within)

    return rows


def _baseline(name: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        row = report[name]
        found = (
            f"{', '.join(figure(g, 3) for g in row['got'])} "
            f"(sum {figure(sum(row['got']), 2)}); error {figure(row['error_all_points'])} points"
        )
        yield (f"{name}, 30/70 wanted", "beside ours", found, "")

    return rows


def _latency(report: Report) -> Iterator[Row]:
    row = report["resize latency"]
    for kind, most in (("sm_first", 5.0), ("sm_again", None), ("quota", 50.0)):
        took = row["in_force_ms"][kind]
        found = f"median {figure(took['median'], 3)} ms, max {figure(took['max'], 3)} ms"
        must = f"<= {most} ms" if most else "reported once drained"
        yield (f"limits in force, {kind}", must, found, met(took["median"], most) if most else "")
    for kind, most in (("sm_first", 5000.0), ("sm_again", 200.0)):
        cost = row["launch_path_us"][kind]
        found = f"median {figure(cost['median'], 1)} us, max {figure(cost['max'], 1)} us"
        yield (f"launch path, {kind}", f"<= {most:.0f} us", found, met(cost["median"], most))


def _resize(mode: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        row = report[f"live resize {mode}"]
        p99 = row["neighbour_p99_ms"]
        more = 100 * (p99["beside_flips"] / p99["steady"] - 1)
        found = (
            f"{row['flips']} changes, {row['wrong_outputs']} wrong of {row['iterations'][0]}, "
            f"{row['resizes']['ungated_launches']} ungated"
        )
        yield (f"live resize, {mode}", "0 errors", found, met(row["wrong_outputs"], 0))
        beside = f"{figure(p99['steady'])} -> {figure(p99['beside_flips'])} ms ({more:+.1f} %)"
        yield (f"neighbour p99, {mode}", "+<= 5 %", beside, met(more, 5.0))

    return rows


def _overhead(report: Report) -> Iterator[Row]:
    for row in report["overhead"]:
        lost = row["lost_percent"]
        names = ("library", "quota 100", "quota 99")
        found = ", ".join(f"{n} {figure(lost[n])} %" for n in names)
        limits = (0.5, 1.0, 1.5)
        good = all(lost[n] <= most for n, most in zip(names, limits, strict=True))
        spread = f"(bare varies {figure(row['spread_percent'], 1)} %)"
        label = f"overhead {row['work']} {row['mode']}, batch 1"
        yield (label, "0.5 / 1 / 1.5 %", f"{found} {spread}", "yes" if good else "no")


def _area(report: Report) -> Iterator[Row]:
    worst: dict[tuple[str, str], float] = {}
    for row in report["area"]:
        off = 100 * abs(row["of_same_sm"] / row["quota"] - 1)
        key = (row["work"], row["mode"])
        worst[key] = max(worst.get(key, 0.0), off)
    for (work, mode), off in worst.items():
        label = f"time law {work} {mode}, batch 32"
        yield (label, "<= 5 %", f"worst {figure(off, 1)} %", met(off, 5.0))
    for row in report["area"]:
        if row["quota"] == 1:
            found = f"{figure(row['of_whole'], 3)} of the whole GPU"
            yield (f"SM share {row['sm']} {row['work']} {row['mode']}", "law stated", found, "")


def _launches(name: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        for kind, row in report[name].items():
            if "failed" in row:
                yield (f"launches {kind}", "hooks = profiler", row["failed"][:60], "-")
                continue
            hooks, seen = row["hooks"], row["profiler"]
            found = (
                f"hooks {hooks['launches']}, profiler {seen['launch_calls']} calls "
                f"{seen['kernels']} kernels, ungated {hooks['ungated_launches']}"
            )
            # A profiler that names no calls of the driver's own interface still sees kernels.
            wanted = seen["launch_calls"] or seen["kernels"]
            good = hooks["launches"] == wanted and not hooks["ungated_launches"]
            yield (f"launches {kind}", "hooks = profiler", found, "yes" if good else "no")

    return rows


def _victim(report: Report) -> Iterator[Row]:
    rows = report["victim"]
    for name, row in rows.items():
        alone = rows[f"{name.split(' beside ')[0]} beside nobody"]
        more = 100 * (row["p99_ms"] / alone["p99_ms"] - 1)
        found = f"p50 {figure(row['p50_ms'])}, p99 {figure(row['p99_ms'])} ms ({more:+.1f} %)"
        yield (f"victim {name}", "+<= 10 % (gemm)", found, met(more, 10.0))


def _memory(report: Report) -> Iterator[Row]:
    row = report["memory"]
    refused = bool(row["limited"]["error"] and row["below_use"]["error"])
    good = refused and row["below_use"]["free"] == 0 and not row["lifted"]["error"]
    yield (
        "memory limit below use",
        "OOM, no failure",
        f"refused {refused}",
        "yes" if good else "no",
    )


def _killed(report: Report) -> Iterator[Row]:
    row = report["kill without MPS"]
    found = f"neighbour did {row['survivor_count']} steps and goes on"
    yield (
        "SIGKILL without MPS",
        "neighbour goes on",
        found,
        met(-row["afterwards_per_second"], -1.0),
    )


SECTIONS: dict[str, Callable[[Report], Iterator[Row]]] = {
    "quota alone": _shares("quota alone", "<= 1 point"),
    "two pods": _shares("two pods", "<= 1 point"),
    "two pods without MPS": _shares("two pods without MPS", "<= 1 point"),
    "plain time slicing": _baseline("plain time slicing"),
    "MPS percentage": _baseline("MPS percentage"),
    "resize latency": _latency,
    "live resize eager": _resize("eager"),
    "live resize graph": _resize("graph"),
    "overhead": _overhead,
    "area": _area,
    "launches": _launches("launches"),
    "launches compiled": _launches("launches compiled"),
    "victim": _victim,
    "memory": _memory,
    "kill without MPS": _killed,
}


def rows_of(report: Report) -> list[Row]:
    """Return the lines of the table; a phase that failed or was skipped says so."""
    rows: list[Row] = []
    for name, section in SECTIONS.items():
        value = report.get(name)
        if isinstance(value, dict) and ("failed" in value or "skipped" in value):
            rows.append((name, "", str(value.get("failed", value.get("skipped")))[:90], "-"))
        elif value:
            try:
                rows += list(section(report))
            except (KeyError, TypeError, ZeroDivisionError) as error:
                rows.append((name, "", f"report incomplete: {error!r}"[:90], "-"))
    return rows


def table(report: Report) -> str:
    """Return the report as lines for a terminal."""
    return "\n".join(" | ".join(row) for row in rows_of(report))


def markdown(report: Report) -> str:
    """Return the report as a markdown table."""
    lines = ["| what | must | found | met |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows_of(report)]
    return "\n".join(lines) + "\n"
