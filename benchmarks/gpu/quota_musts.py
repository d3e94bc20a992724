"""The lines of the page: what must be, against what the results of all runs say, met or missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.quota_cells import between, figure, met, ranged

Report = dict[str, Any]
Line = tuple[str, str, str, str]  # what, must, found, met
MODES = ("graph", "eager")
PRODUCTS = {"no limit": 0.5, "quota 100": 1.0, "quota 99": 1.5}  # percent
WORSE = ("yes", "median yes, interval undecided", "median no, interval undecided", "no")
DECIDES = {"graph": "throughput", "eager": "undisturbed rounds"}


def _worst(rows: list[dict[str, Any]], window: str) -> str:
    shown = [
        f"{figure(100 * row['granted'][0], 0)}/{figure(100 * row['granted'][1], 0)}: median "
        f"{figure(row['windows'][window]['p50'])}, worst {figure(row['windows'][window]['max'])}"
        for row in rows
        if row["windows"].get(window)
    ]
    return "; ".join(shown)


LONG_S = 60  # that a ratio of two pods is asked for


def _shares(rows: list[dict[str, Any]], mode: str) -> Iterator[Line]:
    seconds = min(len(row["each_second"][0]) for row in rows)
    short = "" if seconds >= 0.9 * LONG_S else f" in {round(seconds, -1) or seconds} of {LONG_S} s"
    for window, most in (("10 s", 1.0), ("1 s", 2.0)):
        worst = [row["windows"][window]["max"] for row in rows if row["windows"].get(window)]
        what = f"time share, two pods, {mode}, {round(seconds, -1) or seconds} s a ratio: error over {window}, points"
        if worst:
            verdict = met(max(worst), most)
            verdict += short if verdict == "yes" else ""
            yield (what, f"{most:.0f}", _worst(rows, window), verdict)


def _area(rows: list[dict[str, Any]], mode: str) -> Iterator[Line]:
    for beside, how in (("nobody", "alone"), ("itself", "beside the same work")):
        off: dict[str, list[float]] = {}
        for row in rows:
            if row["quota"] < 1 and row["beside"] == beside:
                error = 100 * (row["of_same_sm"] / row["quota"] - 1)
                off.setdefault(row["work"], []).append(error)
        if off:
            found = ", ".join(f"{w} {min(e):+.1f} to {max(e):+.1f}" for w, e in off.items())
            what = f"throughput by area, {mode}, {how}: SM 25, 50, 100 % x quota 25 to 100 %"
            worst = max(abs(e) for errors in off.values() for e in errors)
            yield (what, "5 %", f"{found} %", met(worst, 5.0))


def _live(row: dict[str, Any], mode: str) -> Iterator[Line]:
    wrong, all_outputs = row["wrong_outputs"], sum(row["iterations"])
    ungated = sum(counters["ungated_launches"] for counters in row["library"])
    found = f"{row['flips']} changes in {row['seconds']:.0f} s, {wrong} of {all_outputs} outputs "
    found += f"wrong, {ungated} ungated, {row['never_in_force']} never in force"
    good = not (wrong or ungated or row["never_in_force"]) and all(row["equal_to_before"])
    yield (
        f"live resize every 500 ms for 4 s of every 6 under load, {mode}",
        "0 errors, equal bits",
        found,
        met(not good, 0),
    )
    readings = (
        ("neighbour_gpu_p99_more_percent", "by the GPU's stamps"),
        ("neighbour_p99_more_percent", "as the host sees it"),
    )
    for key, how in readings:
        if more := row.get(key):
            verdict = between(more, 5.0)
            yield (f"neighbour's p99 beside that, {mode}, {how}", "+5 %", ranged(more), verdict)


def _latency(row: dict[str, Any], _mode: str) -> Iterator[Line]:
    again, quota = row["launch_path_us"]["sm again"], row["in_force_ms"]["quota"]
    for kind, how in (("sm announced", "named by the agent before"), ("sm first", "not named")):
        if first := row["next_launch_ms"].get(kind):
            found = f"median {figure(first['median'], 1)}, p95 {figure(first['p95'], 1)}, "
            found += f"most {figure(first['max'], 1)} ms of {first['repeats']}"
            what = f"SM partition, first use, {how}: until the next launch goes there"
            yield (what, "5 ms", found, met(first["p95"], 5.0))
    yield (
        "used before: launching thread, between kernels",
        "0.2 ms",
        f"p95 {figure(again['p95'] / 1e3, 3)} ms of {again['repeats']}",
        met(again["p95"], 200.0),
    )
    yield (
        "quota: in force",
        "50 ms",
        f"median {figure(quota['median'])}, most {figure(quota['max'])} ms of {quota['repeats']}",
        met(quota["max"], 50.0),
    )


def _overhead(rows: list[dict[str, Any]], mode: str) -> Iterator[Line]:
    measure = DECIDES[mode]
    if not all(measure in row for row in rows):
        return
    for kind, most in PRODUCTS.items():
        lost = {row["work"]: row[measure]["lost_percent"][kind] for row in rows}
        verdicts = {between(one, most) for one in lost.values()}
        found = ", ".join(f"{work} {ranged(one, 2)}" for work, one in lost.items())
        verdict = max(verdicts, key=WORSE.index)
        yield (f"overhead at batch 1, {mode}, {measure}: {kind}", f"{most} %", found, verdict)


def _victim(rows: list[dict[str, Any]], mode: str) -> Iterator[Line]:
    for key, how in (
        ("gpu_p99_more_percent", "by the GPU's stamps"),
        ("p99_more_percent", "as the host sees it"),
    ):
        more = {row["work"]: row["quiet"][key] for row in rows if key in row["quiet"]}
        if more:
            verdicts = {between(one, 10.0) for one in more.values()}
            found = ", ".join(f"{work} {ranged(one)}" for work, one in more.items())
            verdict = max(verdicts, key=WORSE.index)
            what = f"victim's p99 beside arithmetic on the other half of the SMs, {mode}, {how}"
            yield (what, "+10 %", found, verdict)


def _launches(kinds: dict[str, Any], _mode: str) -> Iterator[Line]:
    good = 0
    for row in kinds.values():
        if "hooks" in row:
            seen = row["profiler"]["launch_calls"] or row["profiler"]["kernels"]
            good += row["hooks"]["launches"] == seen and not row["hooks"]["ungated_launches"]
    found = f"equal and none ungated in {good} of {len(kinds)} kinds ({', '.join(kinds)})"
    yield (
        "launches: hooks against the profiler",
        "equal, 0 ungated",
        found,
        met(-good, -len(kinds)),
    )


def _gap(what: str) -> Callable[[dict[str, Any], str], Iterator[Line]]:
    def lines(value: dict[str, Any], _mode: str) -> Iterator[Line]:
        for where, row in ({"": value} if "survivor" in value else value).items():
            s = row["survivor"]
            found = (
                f"{s['before_per_second']:.0f} -> {s['after_per_second']:.0f} steps/s, longest gap "
            )
            found += f"{s['longest_gap_ms']:.0f} ms, outputs equal: {row['equal']}"
            goes_on = row["equal"] and s["after_per_second"] > 0
            name = f"{what}, {where}".removesuffix(", ")
            yield (name, "neighbour goes on", found, met(not goes_on, 0))

    return lines


def _kill_beside(row: dict[str, Any], _mode: str) -> Iterator[Line]:
    what = "SIGKILL of a lease's holder in mid-kernel under MPS"
    told = f"a new pod is right after {row['new_pod_right_ms'] / 1e3:.1f} s"
    if error := row["survivor_error"]:
        found = f"the neighbour ends too ({error[:60].splitlines()[0]}); {told}"
        yield (what, "told", found, "no")
    else:
        for _, must, found, verdict in _gap(what)(row, ""):
            yield (what, must, f"{found}; {told}", verdict)


def _starts(row: dict[str, Any], _mode: str) -> Iterator[Line]:
    beside = row["neighbour"]
    rates = beside["steps_per_second"]
    found = (
        f"{row['right']} of {row['started']} right, {row['start_seconds']:.2f} s each; neighbour "
    )
    found += f"{beside['wrong']} of {beside['steps']} wrong, {rates['quiet']:.0f} -> "
    found += f"{rates['busy']:.0f} steps/s"
    good = row["right"] == row["started"] and not beside["wrong"] and beside["equal"]
    yield ("50 pod starts beside a pod at work", "neighbour goes on", found, met(not good, 0))


def _fork(value: dict[str, Any], _mode: str) -> Iterator[Line]:
    good = all(
        not row["hung"] and row.get("plain_work") and row["parent_equal"] for row in value.values()
    )
    found = "child works, CUDA refused to it, parent's outputs equal" if good else "see the tables"
    yield (f"fork after the start, {' and '.join(value)}", "no hang", found, met(not good, 0))


def _memory(row: dict[str, Any], _mode: str) -> Iterator[Line]:
    refused = bool(row["limited"]["error"] and row["below_use"]["error"])
    good = refused and row["below_use"]["free"] == 0 and not row["lifted"]["error"]
    found = "refused, 0 free, works on" if good else "see the tables"
    yield ("memory limit below use", "CUDA's own error", found, met(not good, 0))


Lines = Callable[[Any, str], Iterator[Line]]
PHASES: list[tuple[str, Lines]] = [
    *((f"two pods {mode}", _shares) for mode in MODES),
    *((f"area {mode}", _area) for mode in MODES),
    *((f"live resize {mode}", _live) for mode in MODES),
    ("resize latency", _latency),
    *((f"overhead {mode}", _overhead) for mode in MODES),
    ("launches", _launches),
    *((f"victim {mode}", _victim) for mode in MODES),
    ("kill without MPS", _gap("SIGKILL in mid-kernel, no MPS")),
    ("kill under MPS", _kill_beside),
    ("stop", _gap("SIGSTOP of a pod in its turn")),
    ("fork", _fork),
    ("50 pod starts", _starts),
    ("memory", _memory),
]


def card_and_run(report: Report, name: str) -> str:
    """Return on which card and in which run a phase was measured."""
    card = report.get("cards", {}).get(name, "?").removeprefix("NVIDIA ")
    return f"{card}, {report.get('from', {}).get(name, '?')}"


def _value_of(report: Report, name: str) -> tuple[Any, str]:
    """Return a phase's result and where it is from; of an area, each network from its last run."""
    whole = report.get(name)
    if not name.startswith("area"):
        poor = isinstance(whole, dict) and {"failed", "skipped"} & set(whole)
        return (None if poor else whole), card_and_run(report, name)
    works = list(dict.fromkeys(row["work"] for row in whole or []))
    found = {work: [row for row in whole or [] if row["work"] == work] for work in works}
    wheres = dict.fromkeys(works, card_and_run(report, name))
    for part, value in report.items():
        if part.startswith(f"{name} ") and isinstance(value, list):
            work = part.removeprefix(f"{name} ")
            found[work], wheres[work] = value, card_and_run(report, part)
    places = sorted(set(wheres.values()))
    return [row for work in found for row in found[work]], " and ".join(places)


def lines_of(report: Report) -> list[list[str]]:
    """Return the lines of the page: what, must, found, card and run, met."""
    result = []
    for name, lines in PHASES:
        value, where = _value_of(report, name)
        if not value:
            continue
        for what, must, found, verdict in lines(value, name.rsplit(" ", 1)[-1]):
            shown = f"**{verdict}**" if verdict != "yes" else verdict
            result.append([what, must, found, where, shown])
    return result


def page_table(report: Report) -> str:
    """Return the table of the page."""
    head = ["| what | must | found | card, run | met |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines_of(report))])
