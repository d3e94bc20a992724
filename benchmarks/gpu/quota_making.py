"""What the first use of an SM partition costs, step by step, and when it was made ahead.

On a machine with a GPU, under an MPS daemon that it starts itself::

    make -C quota_runtime OUT=build
    python3 benchmarks/gpu/quota_making.py --out DIR

Partitions are asked for by a write of the limits while a process works: such that nobody has heard
of, such that the limits named before as likely to come, and such as were used already.
``--check`` runs the same on the CPU without the library, to find mistakes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_parts import CHECK, LIBRARY, Child, Pod, difference
from benchmarks.gpu.quota_processes import Processes
from quota_runtime.region import Limits

EACH = 14  # new partitions and as many announced ones: a process keeps at most 32
AGAIN = 20
AT_ONCE = 2  # announced together
REST_S = 0.03
CONTEXTS = ("idle", "neighbour at work", "busy")
KINDS = ("new", "announced", "again")
STEPS = ("notice", "make_start", "make_split", "make_context", "make_streams")
WORKS: dict[str, dict[str, Any]] = {
    "gemm eager": {"do": "run", "work": "gemm", "batch": 2, "mode": "eager"},
    "resnet50 graph": {"do": "run", "work": "resnet50", "batch": 8, "mode": "graph"},
}
PROCESSES = {"gemm eager": ("a", "new"), "resnet50 graph": ("b", "limited-0")}
Facts = dict[str, Any]


def bitmaps(pod: Pod) -> list[int]:
    """Return different partitions of all sizes, in an order that is the same in every run."""
    chosen = random.Random(7)
    found = {pod.all}
    while len(found) < 2 * EACH + 1:
        size = chosen.randrange(1, pod.count)
        found.add(sum(1 << group for group in chosen.sample(range(pod.count), size)))
    order = sorted(found - {pod.all})
    chosen.shuffle(order)
    return order


def changed(pod: Pod, groups: int, **limits: Any) -> Facts:
    """Ask for a partition; return ms until work goes there and until it is in force, and steps."""
    before = pod.counters()
    written = pod.set(groups=groups, **limits)
    moved = _until(pod, written, "resizes", before.get("resizes", 0) + 1)
    forced = pod.wait(written, 0.5)
    time.sleep(REST_S)
    after = pod.counters()
    grew = difference(after, before, "partitions", *(f"{step}_ns" for step in STEPS))
    steps = {f"{step}_ms": grew[f"{step}_ns"] / 1e6 for step in STEPS}
    return {
        "groups": groups.bit_count(),
        "moved_ms": moved,
        "in_force_ms": forced,
        "made": grew["partitions"],
        **steps,
        "launch_path_us": after.get("resize_last_ns", 0) / 1e3,
    }


def _until(pod: Pod, written: Limits, counter: str, value: int) -> float | None:
    """Return ms from a write until a counter has come to a value; None: never."""
    end = time.monotonic() + (0.01 if CHECK else 1.0)
    while time.monotonic() < end:
        if pod.counters().get(counter, 0) >= value:
            return (time.monotonic_ns() - written.written_at_ns) / 1e6
    return None


def announced(pod: Pod, present: int, groups: list[int]) -> Facts:
    """Name partitions that may come, let them be made, ask for each."""
    before, began = pod.counters(), time.monotonic()
    written = pod.set(groups=present, next_groups=tuple(groups))
    ready = _until(pod, written, "partitions", before.get("partitions", 0) + len(groups))
    span = (began, time.monotonic())
    time.sleep(REST_S)
    rows = [changed(pod, one, next_groups=tuple(groups)) for one in groups]
    return {"ready_ms": ready, "rows": rows, "span": span}


def first_uses(pod: Pod, child: Child, request: Facts) -> Facts:
    """Change the partition of a process at work: new, announced, used before."""
    groups = bitmaps(pod)
    new, likely = groups[:EACH], groups[EACH:]
    seconds = 1 + 0.06 * (len(groups) + AGAIN) + 0.15 * EACH / AT_ONCE
    child.ask(**request, count=5)
    child.start(**request, seconds=0.2 if CHECK else seconds, series=True)
    time.sleep(0.3)
    found: Facts = {"new": [], "announced": [], "ready_ms": []}
    spans: list[tuple[float, float]] = []
    present = new[-1]
    for index in range(0, EACH, AT_ONCE):
        found["new"] += [changed(pod, one) for one in new[index : index + AT_ONCE]]
        present = new[min(index + AT_ONCE, EACH) - 1]
        ahead = announced(pod, present, likely[index : index + AT_ONCE])
        found["announced"] += ahead["rows"]
        found["ready_ms"].append(ahead["ready_ms"])
        spans.append(ahead["span"])
    found["again"] = [changed(pod, groups[i % len(groups)]) for i in range(AGAIN)]
    pod.set()
    ran = child.finish(60)
    return found | {"steps": slowed(ran, spans)}


def slowed(ran: Facts, spans: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Return the program's steps in units of the median just before partitions were made ahead."""
    result: dict[str, list[float]] = {"before": [], "meanwhile": []}
    pairs = list(zip(ran["ends"], ran["took"], strict=True))
    for begin, end in spans:
        before = [took for at, took in pairs if begin - REST_S <= at < begin]
        if not before:
            continue
        usual = statistics.median(before)
        result["before"] += [took / usual for took in before]
        result["meanwhile"] += [took / usual for at, took in pairs if begin <= at <= end]
    return result


def figures(rows: list[Facts]) -> Facts:
    """Return median, 95th percentile and maximum of each time."""
    result: Facts = {"repeats": len(rows), "made": sum(row["made"] for row in rows)}
    for name in rows[0] if rows else ():
        values = sorted(row[name] for row in rows if row[name] is not None)
        if name not in ("groups", "made") and values:
            p95 = values[int(len(values) * 0.95)]
            result[name] = [round(v, 3) for v in (values[len(values) // 2], p95, values[-1])]
    return result


def by_hand(key: str, child: Child, neighbour: Child) -> Facts:
    """Have a process make contexts itself, while nobody, it or another process is at work."""
    if key == "neighbour at work":
        neighbour.start(**WORKS["resnet50 graph"], seconds=0.2 if CHECK else 2)
        time.sleep(0.2)
    found = child.ask(do="green", busy=key == "busy")
    if key == "neighbour at work":
        neighbour.finish(60)
    return found


def of_steps(ratios: list[float]) -> Facts:
    """Return how long the program's own steps took, in units of their usual time."""
    ordered = sorted(ratios) or [0.0]
    last = len(ordered) - 1
    points = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1))
    return {"steps": len(ratios)} | {n: round(ordered[int(last * p)], 3) for n, p in points}


def main() -> None:
    """Start two processes, ask for partitions in each, write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sm-count", type=int, default=132)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="a dry run on the CPU")
    args = parser.parse_args()
    args.hami = None
    args.out.mkdir(parents=True, exist_ok=True)
    report: Facts = {"began": time.strftime("%FT%TZ", time.gmtime())}
    report["command"] = " ".join(sys.argv).replace(str(args.out), "OUT")
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(args, Path(folder))
        try:
            report["start"] = processes.start([p for names in PROCESSES.values() for p in names])
            for work, names in PROCESSES.items():
                runs = [
                    first_uses(*processes.pods_of(name), *processes.of(name), WORKS[work])
                    for name in names
                ]
                kinds = {kind: [row for run in runs for row in run[kind]] for kind in KINDS}
                summary = {kind: figures(rows) for kind, rows in kinds.items()}
                summary["steps"] = {
                    name: of_steps([ms for run in runs for ms in run["steps"][name]])
                    for name in runs[0]["steps"]
                }
                summary["ready_ms"] = [ms for run in runs for ms in run["ready_ms"]]
                report[work] = summary | {"rows": kinds}
                print(json.dumps({work: summary}), flush=True)
            for key in CONTEXTS:
                report[f"green contexts, {key}"] = by_hand(key, *processes.of("a", "b"))
        finally:
            processes.stop()
            text = json.dumps(report, indent=1) + "\n"
            (args.out / "quota-making.json").write_text(text)


if __name__ == "__main__":
    main()
