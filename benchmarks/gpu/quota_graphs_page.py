"""The page about graphs from what ``quota_graphs.py`` found: ``... JSON [COMMIT] > PAGE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

Facts = dict[str, Any]


def ms(value: float | None) -> str:
    """Return a time with as many digits as mean something."""
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def compared(report: Facts) -> Iterator[str]:
    """Yield a row for each work and partition."""
    for name in report:
        if not name.startswith("moved") or not isinstance(report[name], list):
            continue
        rows = report[name]
        for row in rows[1:-1]:
            yield (
                f"| {row['work']} | {row['sms']} | {ms(row['moved_ms'])} "
                f"| {ms(row['captured_there_ms'])} | {row['ratio']:.3f} "
                f"| {'equal' if row['equal_bits'] else 'DIFFERENT'} |"
            )
        yield (
            f"| {rows[0]['work']} | 132, before and after | {ms(rows[0]['moved_ms'])} "
            f"| {ms(rows[-1]['back_ms'])} | {rows[-1]['back_ms'] / rows[0]['moved_ms']:.3f} | |"
        )


def soon(report: Facts) -> Iterator[str]:
    """Yield a row for each work, first use and later; only where the change is seen in the time."""
    rows = report["how soon"]
    for work in dict.fromkeys(row["work"] for row in rows):
        for kind in ("first", "named", "again"):
            found = [r for r in rows if r["work"] == work and r["kind"] == kind]
            if not found:
                continue
            seen = [r["swap_ms"] for r in found if r.get("replays_before")]
            forced = [r["in_force_ms"] for r in found if r["in_force_ms"] is not None]
            swap = f"{ms(median(seen))} (most {ms(max(seen))})" if seen else "-"
            most = f"{ms(median(forced))} (most {ms(max(forced))})" if forced else "-"
            yield f"| {work} | {kind} | {most} | {swap} |"


def page(report: Facts, commit: str) -> Iterator[str]:
    """Yield the lines of the page."""
    about = report["start"]["processes"]["a"]
    yield "# CUDA graphs under partitions that change\n"
    yield f"`python3 {report['command']}`, commit {commit}, {about['device']}, driver"
    yield f"{report.get('driver', 'not noted')}, torch {about['torch']}, under MPS, {report['began']};"
    yield "one run. All figures: [quota-graphs.json](quota-graphs.json).\n"
    yield "## As fast as if captured there\n"
    yield "A graph captured on all SMs that the library made anew for a partition, beside one captured"
    yield "on that partition, by turns; milliseconds of the median replay, and the outputs' bits."
    yield '`compiled` is `torch.compile(mode="reduce-overhead")`.\n'
    yield "| graph | SMs | made anew | captured there | ratio | bits |"
    yield "|---|---|---|---|---|---|"
    yield from compared(report)
    yield "\n## How soon\n"
    yield "Milliseconds from the write of the limits, under replays one after the other, until the"
    yield "library reported them in force and until the first replay that took what it takes there."
    yield "First: for a graph not yet made for the partition; of the first network the partition is"
    yield "new as well. Named: the partition was made ahead, the graph was not.\n"
    yield "| graph | use | in force | replayed there |"
    yield "|---|---|---|---|"
    yield from soon(report)
    many = report["many"]
    yield f"\n{many['graphs']} graphs of ResNet-50 (354 nodes each) replayed by turns, new partition:"
    yield f"in force after {ms(many['in_force_ms'])} ms, all replayed there after"
    yield f"{ms(many['swap_ms'])} ms."
    yield "\n## Right, and what a neighbour feels\n"
    yield "| SMs and quota change every 100 ms | changes | outputs | different | ungated |"
    yield "|---|---|---|---|---|"
    for row in report["flips"]:
        yield (
            f"| {row['work']} | {row['flips']} | {row['outputs']} | {row['wrong']} "
            f"| {row['ungated_launches']} |"
        )
    yield "\n| a neighbour's replays on the other half, beside a pod that replays 16 graphs | p50 ms | p99 ms |"
    yield "|---|---|---|"
    for name, row in report["neighbour"].items():
        yield f"| {name} | {ms(row['p50_ms'])} | {ms(row['p99_ms'])} |"
    if "making" in report and "rows" in report["making"]:
        rows = report["making"]["rows"]
        streams = [s for row in rows for s in row["stream_ms"]]
        contexts = ", ".join(ms(row["context_ms"]) for row in rows)
        yield f"\nGreen contexts made one after the other in such a process: {contexts} ms; a stream on"
        yield f"one: median {median(streams):.3f}, most {max(streams):.3f} ms."


def main() -> None:
    """Print the page."""
    report = json.loads(Path(sys.argv[1]).read_text())
    print("\n".join(page(report, sys.argv[2] if len(sys.argv) > 2 else "unknown")))


if __name__ == "__main__":
    main()
