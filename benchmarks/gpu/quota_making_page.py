"""The page about new SM partitions from what ``quota_making.py`` found.

``... JSON COMMIT [JSON COMMIT] > PAGE``; the second pair is an earlier run to compare with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

Facts = dict[str, Any]
KINDS = {
    "new": "nobody had named it",
    "announced": "named by the limits before",
    "again": "used before",
}
STEPS = {
    "notice_ms": "until the limits were read",
    "make_start_ms": "until a thread made the partition",
    "make_split_ms": "splitting the GPU (once in a process)",
    "make_context_ms": "the green context",
    "make_streams_ms": "streams on it",
}
CONTEXTS = {
    "idle": "the GPU at rest",
    "neighbour at work": "another process under MPS at work",
    "busy": "the process's own queue full of long kernels",
}
NOW, MUST_MS = "moved_ms", 5.0


def works(report: Facts) -> list[str]:
    """Return the names of the kinds of work that were measured."""
    return [name for name, row in report.items() if isinstance(row, dict) and "announced" in row]


def cell(values: list[float] | None) -> str:
    """Return median, 95th percentile and maximum."""
    return "-" if not values else " / ".join(f"{value:.2f}" for value in values)


def first_uses(report: Facts) -> Iterator[str]:
    """Yield a row for each work and kind of partition."""
    for work in works(report):
        for kind, words in KINDS.items():
            row = report[work][kind]
            met = "" if kind == "again" else "yes" if row[NOW][1] <= MUST_MS else "**no**"
            yield (
                f"| {work} | {words} | {row['repeats']} | {cell(row[NOW])} "
                f"| {cell(row.get('in_force_ms'))} | {met} |"
            )


def steps(report: Facts) -> Iterator[str]:
    """Yield what the making of a partition that nobody had named consists of."""
    for key, words in STEPS.items():
        yield (
            f"| {words} | "
            + " | ".join(cell(report[work]["new"][key]) for work in works(report))
            + " |"
        )


def by_hand(report: Facts) -> Iterator[str]:
    """Yield what contexts took that the program made itself."""
    for name, words in CONTEXTS.items():
        rows = report.get(f"green contexts, {name}", {}).get("rows")
        if rows:
            contexts = ", ".join(f"{row['context_ms']:.1f}" for row in rows)
            streams = [ms for row in rows for ms in row["stream_ms"]]
            yield (
                f"- {words}: contexts {contexts} ms; a stream on one "
                f"{median(streams):.3f} ms in the median, {max(streams):.3f} at most."
            )


def page(report: Facts, commit: str) -> Iterator[str]:
    """Yield the lines of the page."""
    about = next(iter(report["start"]["processes"].values()))
    yield "# The first use of an SM partition\n"
    yield f"`python3 {report['command']}`, commit {commit}, {about['device']}, driver"
    yield f"{report['start']['driver']}, torch {about['torch']}, under MPS, {report['began']}; one run."
    yield "All figures: [quota-partitions.json](quota-partitions.json). A process at work (matrix"
    yield "products of 4096 x 4096, two a step; a graph of ResNet-50 at batch 8) is given other SM"
    yield "groups. Milliseconds from the write of the limits: median / 95th percentile / most.\n"
    yield "| work | partition | changes | until the next launch goes there | in force, old work drained | 5 ms |"
    yield "|---|---|---|---|---|---|"
    yield from first_uses(report)
    yield "\nNobody waits for a graph that moves to more SMs; one that moves to fewer is made anew before"
    yield f"the limits are in force. {report.get('note', '')}\n"
    yield "What the first use of a partition that nobody had named consists of:\n"
    yield "| ms | " + " | ".join(works(report)) + " |"
    yield "|---|" + "---|" * len(works(report))
    yield from steps(report)
    yield "\nContexts made one after the other in such a process, without the library:\n"
    yield from by_hand(report)
    ready = [ms for work in works(report) for ms in report[work].get("ready_ms", []) if ms]
    if ready:
        yield (
            f"\nTwo partitions named together were ready after {median(ready):.0f} ms in the median, "
            f"{max(ready):.0f} at most."
        )
    for work in works(report):
        slowed = report[work].get("steps")
        if slowed and slowed["meanwhile"]["steps"]:
            before, then = slowed["before"], slowed["meanwhile"]
            yield (
                f"Steps of {work} meanwhile, in units of the median just before: 95th and 99th "
                f"percentile {then['p95']:.2f} and {then['p99']:.2f} of {then['steps']} (before: "
                f"{before['p95']:.2f} and {before['p99']:.2f} of {before['steps']})."
            )


def before(report: Facts, commit: str, name: str) -> Iterator[str]:
    """Yield the lines about an earlier run."""
    about = next(iter(report["start"]["processes"].values()))
    yield "\n## Before launches rested meanwhile\n"
    yield "The driver waits for the process's own work while it makes a context: the first one above,"
    yield "made behind a second of queued kernels, took until these had ended, while a neighbour's work"
    yield "makes no difference. So launches rest for up to 5 ms while a partition that nobody named is"
    yield f"made. Without that, commit {commit}, one {about['device']}, {report['began']}"
    yield f"([figures]({name})):\n"
    yield "| work | partition | changes | until the next launch goes there | in force, old work drained | 5 ms |"
    yield "|---|---|---|---|---|---|"
    yield from first_uses(report)
    yield "\nIn that run limits did not wait for graphs to be in force."


def main() -> None:
    """Print the page."""
    path, commit, *earlier = sys.argv[1:]
    lines = list(page(json.loads(Path(path).read_text()), commit))
    if earlier:
        lines += before(json.loads(Path(earlier[0]).read_text()), earlier[1], Path(earlier[0]).name)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
