"""CUDA graphs under partitions that change: right, as fast as if captured there, and how soon.

On a machine with a GPU, under an MPS daemon that it starts itself::

    make -C quota_runtime OUT=build
    python3 benchmarks/gpu/quota_graphs.py --out DIR

``--check`` runs the same on the CPU without the library, to find mistakes. Each phase is on its own:
one that fails is noted and the next begins.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_parts import CHECK, GROUP_SIZE, LIBRARY, Child, Pod, difference
from benchmarks.gpu.quota_processes import Processes

WORKS = (("resnet50", 8), ("bert", 8), ("decoder", 1), ("compiled", 4096))
PARTS = (64, 32)
ROUNDS = 5
NEAR = 0.15  # of the steady time: the replay ran on the new partition
MANY = 16
Facts = dict[str, Any]


def groups_of(pod: Pod, sms: int) -> int:
    """Return the first groups with so many SMs; all of them from 128 on."""
    return pod.all if sms >= 128 else (1 << sms // GROUP_SIZE) - 1


def in_force(pod: Pod, sms: int, **limits: int) -> tuple[float, float | None]:
    """Put a partition in force; return when it was written and ms until it was reported."""
    written = pod.set(groups=groups_of(pod, sms), **limits)
    return written.written_at_ns / 1e9, pod.wait(written)


def asked(work: str, batch: int, **more: Any) -> Facts:
    """Return a request for replays; what is compiled captures by itself."""
    mode = "eager" if work == "compiled" else "graph"
    return {"do": "run", "work": work, "batch": batch, "mode": mode, **more}


def prepare(child: Child, work: str, batch: int, label: str = "") -> None:
    """Have a graph captured on the partition in force."""
    mode = "eager" if work == "compiled" else "graph"
    child.ask(200, do="prepare", steps=[[work, mode, batch]], label=label)


# --- as fast as if captured there, and the same bits ----------------------------------------------


def moved(pod: Pod, child: Child, work: str, batch: int, count: int) -> list[Facts]:
    """Compare a graph captured on all SMs with one captured on each partition, by turns."""
    in_force(pod, 132)
    prepare(child, work, batch)
    whole = child.ask(**asked(work, batch, count=count))
    rows = [{"work": work, "sms": 132, "moved_ms": whole["p50_ms"], "digest": whole["digest"]}]
    for sms in PARTS:
        in_force(pod, sms)
        child.ask(**asked(work, batch, count=count))  # time to be made anew
        prepare(child, work, batch, str(sms))
        times: dict[str, list[float]] = {"": [], str(sms): []}
        digests = set()
        for _ in range(ROUNDS):
            for label, found in times.items():
                ran = child.ask(**asked(work, batch, count=count, label=label, check=True))
                found.append(ran["p50_ms"])
                digests |= {ran["digest"], "wrong"} if ran["wrong"] else {ran["digest"]}
        here, there = statistics.median(times[""]), statistics.median(times[str(sms)])
        rows.append(
            {
                "work": work,
                "sms": sms,
                "moved_ms": here,
                "captured_there_ms": there,
                "ratio": here / there,
                "spread": (max(times[""]) - min(times[""])) / here,
                "equal_bits": digests == {whole["digest"]},
            }
        )
    in_force(pod, 132)
    back = child.ask(**asked(work, batch, count=count))
    return [*rows, {"work": work, "sms": 132, "back_ms": back["p50_ms"]}]


# --- how soon -------------------------------------------------------------------------------------


def until_steady(written: float, until: float, ran: Facts, cycle: int = 1) -> Facts:
    """Say when replays after a write of limits took what they took at the end of the interval.

    Args:
        written: by the machine's clock, in seconds.
        until: when the next limits were written.
        ran: the child's answer, with the series of replays.
        cycle: graphs that were replayed by turns: all of them must be there.

    """
    steps = [
        (end, took)
        for end, took in zip(ran["ends"], ran["took"], strict=True)
        if written < end <= until
    ]
    if len(steps) < 8:
        return {"steps": len(steps)}
    took = [took for _, took in steps]
    steady = statistics.median(took[-max(4, len(took) // 4) :])
    near = [abs(t - steady) < NEAR * steady for t in took]
    # Single replays are late now and then.
    runs = (i for i in range(len(near) - 5) if near[i] and sum(near[i : i + 6]) >= 5)
    arrived = next(runs, len(steps))
    first = steps[min(arrived, len(steps) - 1)]
    return {
        "steady_ms": 1e3 * steady,
        "swap_ms": 1e3 * (first[0] - first[1] - written),
        "replays_before": arrived,
        "rounds_before": arrived / cycle,
    }


def how_soon(pod: Pod, child: Child, scale: float) -> list[Facts]:
    """Change the partition under replays: from the write of the limits until a replay is there."""
    every, rows = max(0.3, 0.8 * scale), []
    for work, batch in WORKS[:3]:
        in_force(pod, 132)
        prepare(child, work, batch)
        sizes = [(n, "first") for n in (96, 80, 48, 24)] + [(n, "again") for n in (96, 48, 80, 24)]
        sizes += [(n, "named") for n in (72, 56, 40)]
        child.start(**asked(work, batch, seconds=every * (len(sizes) + 4), series=True))
        time.sleep(every)
        marks, present = [], 132
        for sms, kind in sizes:
            if kind == "named":
                pod.set(groups=groups_of(pod, present), next_groups=(groups_of(pod, sms),))
                time.sleep(every / 2)
            present = sms
            at, reported = in_force(pod, sms)
            marks.append((sms, kind, at, reported))
            time.sleep(max(0.0, at + every - time.monotonic()))
        end = time.monotonic()
        ran = child.finish(60)
        stops = [at for _, _, at, _ in marks[1:]] + [end]
        for (sms, kind, at, reported), stop in zip(marks, stops, strict=True):
            row = {"work": work, "sms": sms, "kind": kind, "in_force_ms": reported}
            rows.append(row | until_steady(at, stop, ran))
    in_force(pod, 132)
    return rows


def many(pod: Pod, child: Child, scale: float) -> Facts:
    """Change the partition under many graphs that are replayed by turns."""
    labels = [f"graph {i}" for i in range(MANY)]
    in_force(pod, 132)
    for label in labels:
        prepare(child, "resnet50", 4, label)
    every = max(0.5, 2 * scale)
    child.start(**asked("resnet50", 4, seconds=3 * every, series=True, labels=labels))
    time.sleep(every)
    at, reported = in_force(pod, 40)
    time.sleep(every)
    stop = time.monotonic()
    ran = child.finish(60)
    in_force(pod, 132)
    return {"graphs": MANY, "in_force_ms": reported, **until_steady(at, stop, ran, MANY)}


# --- right while they change, and what a neighbour feels -------------------------------------------


def flips(pod: Pod, child: Child, scale: float) -> list[Facts]:
    """Change partition and quota every 100 ms; every output is compared with the first."""
    rows = []
    for work, batch in WORKS:
        in_force(pod, 132)
        prepare(child, work, batch)
        before, seconds = pod.counters(), max(1.0, 8 * scale)
        child.start(**asked(work, batch, seconds=seconds, check=True))
        end, count = time.monotonic() + seconds - 0.2, 0
        while time.monotonic() < end:
            sms, quota = (64, 132, 32, 16)[count % 4], (1000, 700)[count % 3 == 0]
            in_force(pod, sms, quota=quota)
            count += 1
            time.sleep(0.1)
        ran = child.finish(60)
        grew = difference(pod.counters(), before, "resizes", "faults", "ungated_launches")
        row = {"work": work, "flips": count, "outputs": ran["count"], "wrong": ran["wrong"]}
        rows.append(row | grew)
    in_force(pod, 132)
    return rows


def neighbour(pods: list[Pod], children: list[Child], scale: float) -> Facts:
    """Replay beside a pod that replays too; at first its limits stay, then its graphs are made."""
    seconds = max(1.0, 6 * scale)
    labels = [f"graph {i}" for i in range(MANY)]
    first, second = pods
    second.put(groups=second.groups(0.5, last=True))
    in_force(first, 64)
    for label in labels:
        prepare(children[0], "resnet50", 4, label)
    prepare(children[1], "resnet50", 8)
    facts: Facts = {}
    sizes = (56, 72, 40, 8)  # none of them had yet
    for name, changes in (("steady", ()), ("graphs and partitions made", sizes), ("again", sizes)):
        children[0].start(**asked("resnet50", 4, seconds=seconds + 0.5, labels=labels))
        children[1].start(**asked("resnet50", 8, seconds=seconds))
        for sms in changes:
            in_force(first, min(sms, 64) if sms != 72 else 48)
            time.sleep(seconds / (len(changes) + 1))
        children[0].finish(60)
        ran = children[1].finish(60)
        facts[name] = {"p50_ms": ran["p50_ms"], "p99_ms": ran["p99_ms"], "count": ran["count"]}
        in_force(first, 64)
    return facts


# --- all of it ------------------------------------------------------------------------------------


def run(processes: Processes, scale: float, keep: Callable[[str, Any], None]) -> None:
    """Run each phase, whatever becomes of the others."""
    keep("start", processes.start(["a", "b"]))
    pods, children = processes.pods_of("a", "b"), processes.of("a", "b")
    pod, child, count = pods[0], children[0], max(5, int(40 * scale))
    phases: dict[str, Callable[[], Any]] = {
        **{f"moved {w}": lambda w=w, b=b: moved(pod, child, w, b, count) for w, b in WORKS},
        "making": lambda: child.ask(do="green"),
        "how soon": lambda: how_soon(pod, child, scale),
        "many": lambda: many(pod, child, scale),
        "flips": lambda: flips(pod, child, scale),
        "neighbour": lambda: neighbour(pods, children, scale),
    }
    for name, phase in phases.items():
        began = time.monotonic()
        try:
            found = phase()
        except Exception as error:  # noqa: BLE001 - one phase fails, the others run
            found = {
                "failed": f"{type(error).__name__}: {error}",
                "at": traceback.format_exc()[-700:],
            }
        keep(name, found)
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    keep("counters", {name: p.counters() for name, p in processes.pods.items()})


def main() -> None:
    """Start the processes, run the phases, write what was found after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="of the time of each phase")
    parser.add_argument("--sm-count", type=int, default=132)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="a dry run on the CPU")
    args = parser.parse_args()
    args.hami = None
    args.scale = min(args.scale, 0.02) if CHECK else args.scale
    args.out.mkdir(parents=True, exist_ok=True)
    report: Facts = {"began": time.strftime("%FT%TZ", time.gmtime())}
    report["command"] = " ".join(sys.argv).replace(str(args.out), "OUT")
    if not CHECK:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        listed = subprocess.run(asked, capture_output=True, text=True, check=False)
        report["driver"] = listed.stdout.split("\n")[0]

    def keep(name: str, found: Any) -> None:
        report[name] = found
        (args.out / "quota-graphs.json").write_text(json.dumps(report, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(args, Path(folder))
        try:
            run(processes, args.scale, keep)
        finally:
            processes.stop()
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
