"""What the quota library does on a real GPU: shares, resizes, overhead, counts. Five minutes.

Every phase is short, bounded and on its own: one that fails is noted and the next begins. Results
are written after each::

    make -C quota_runtime OUT=build
    python benchmarks/gpu/quota_h200.py --library quota_runtime/build/libhas_quota.so --out DIR

``--check`` runs the same phases on the CPU without the library, to find mistakes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu import quota_changes as changes
from benchmarks.gpu import quota_shares as shares
from benchmarks.gpu.quota_parts import Child, PhaseError, Pod
from benchmarks.gpu.quota_report import markdown, table

CONTROL = "nvidia-cuda-mps-control"
PREPARED = [(work, mode, 1) for work in shares.NETWORKS for mode in ("eager", "graph")]
START_SECONDS = 90.0


class Bench:
    """The processes, the pods, and the report that grows."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.began = time.monotonic()
        self.report: dict[str, Any] = {"began": time.strftime("%FT%TZ", time.gmtime())}
        self.children: dict[str, Child] = {}
        self.pods: dict[str, Pod] = {}
        self.mps: dict[str, str] = {}

    def left(self) -> float:
        """Return seconds left of the whole budget."""
        return float(self.args.seconds) - (time.monotonic() - self.began)

    def keep(self, name: str, value: object) -> None:
        """Put a result into the report and write it out."""
        self.report[name] = value
        self.report["seconds"] = round(time.monotonic() - self.began, 1)
        (self.args.out / "quota-h200.json").write_text(json.dumps(self.report, indent=1) + "\n")

    def phase(self, name: str, needs_s: float, work: Callable[[], Any]) -> None:
        """Run one phase if it is wanted and fits, and note what came of it."""
        if self.args.only and name not in self.args.only:
            return
        if self.left() < needs_s:
            self.keep(name, {"skipped": f"{self.left():.0f} s left, {needs_s} needed"})
            return
        at = time.monotonic()
        try:
            value = work()
        except Exception as error:  # noqa: BLE001 - one phase fails, the others run
            trace = "" if isinstance(error, PhaseError) else traceback.format_exc()[-800:]
            value = {"failed": f"{type(error).__name__}: {error}", "trace": trace}
        self.keep(name, value)
        print(f"{name}: {time.monotonic() - at:.1f} s", flush=True)

    def start_mps(self) -> None:
        """Start a control daemon of our own, without a percentage."""
        self.mps = {
            "CUDA_MPS_PIPE_DIRECTORY": str(self.folder / "pipe"),
            "CUDA_MPS_LOG_DIRECTORY": str(self.folder / "log"),
        }
        for path in self.mps.values():
            Path(path).mkdir()
        subprocess.run([CONTROL, "-d"], env={**os.environ, **self.mps}, check=True, timeout=20)

    def stop_mps(self) -> None:
        """End the daemon."""
        if self.mps and not self.args.check:
            environment = {**os.environ, **self.mps}
            command = [CONTROL]
            subprocess.run(
                command, input="quit -t 5\n", text=True, env=environment, timeout=30, check=False
            )

    def add(
        self, name: str, *, mps: bool, library: bool = False, pod: str = "", **more: str
    ) -> None:
        """Start a process; with the library, in a pod, under MPS, as asked."""
        environment = {"QUOTA_CHECK": "1" if self.args.check else "0", **more}
        if mps:
            environment |= self.mps
        if library and not self.args.check:
            environment["LD_PRELOAD"] = str(self.args.library.resolve())
        if pod:
            self.pods[pod] = Pod(self.folder / pod, self.args.sm_count)
            environment["KSERVE_HAS_DIR"] = str(self.pods[pod].folder)
        self.children[name] = Child(name, environment, self.args.out / "stderr.txt")

    def of(self, *names: str) -> list[Child]:
        """Return processes by name."""
        return [self.children[name] for name in names]


def start(bench: Bench) -> dict[str, Any]:
    """Start every process at once; PyTorch takes its time."""
    if not bench.args.check:
        bench.start_mps()
    for name in ("a", "b"):
        bench.add(name, mps=True, library=True, pod=name)
        bench.add(f"solo-{name}", mps=False, library=True, pod=f"solo-{name}")
        bench.add(f"plain-{name}", mps=False)
    bench.add("bare", mps=True)
    bench.add("library", mps=True, library=True)
    bench.add("percent-a", mps=True, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="30")
    bench.add("percent-b", mps=True, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="70")
    bench.add("compiled", mps=False, library=True, pod="compiled")
    about, failed = {}, {}
    for name, child in bench.children.items():
        try:
            about[name] = child.finish(START_SECONDS)
        except PhaseError as error:
            failed[name] = str(error)
    bench.children["compiled"].start(do="count", what="compiled")
    for name in ("a", "bare", "library"):
        bench.children[name].start(do="prepare", steps=PREPARED)
    prepared = {n: bench.children[n].finish(60) for n in ("a", "bare", "library")}
    return {
        "processes": about,
        "failed": failed,
        "prepared": prepared,
        "pod": bench.pods["a"].counters(),
    }


def measure(bench: Bench) -> None:
    """Run the phases, the most telling first."""
    a, b, solo_a, solo_b, plain_a, plain_b = bench.of(
        "a", "b", "solo-a", "solo-b", "plain-a", "plain-b"
    )
    pods = [bench.pods["a"], bench.pods["b"]]
    solo = [bench.pods["solo-a"], bench.pods["solo-b"]]
    fast = 0.3 if bench.args.check else 1.0
    others = dict(zip(("bare", "library"), bench.of("bare", "library"), strict=True))
    phase = bench.phase
    phase("quota alone", 20, lambda: shares.alone_share(pods[0], a, 2 * fast))
    phase("two pods", 50, lambda: shares.time_shares(pods, [a, b], 6 * fast))
    phase("resize latency", 12, lambda: changes.resize_latency(pods[0], a))
    for mode in ("eager", "graph"):
        phase(
            f"live resize {mode}",
            15,
            lambda mode=mode: changes.live_resize(pods, [a, b], mode, 7 * fast),
        )
    phase("overhead", 50, lambda: changes.overhead(pods[0], others, a, 0.1 * fast, 1))
    phase("area", 40, lambda: shares.area(pods[0], a, 0.7 * fast, 32))
    phase(
        "launches",
        25,
        lambda: changes.counted(solo_a, ("eager", "graph", "triton", "cooperative", "nccl")),
    )
    phase(
        "launches compiled",
        25,
        lambda: changes.counted(bench.children["compiled"], ("compiled",), begun=True),
    )
    phase("victim", 20, lambda: changes.victim(pods, [a, b], 2 * fast))
    phase("memory", 5, lambda: changes.memory(pods[0], a))
    phase("two pods without MPS", 25, lambda: shares.time_shares(solo, [solo_a, solo_b], 2 * fast))
    phase(
        "plain time slicing",
        10,
        lambda: shares.plain_shares([plain_a, plain_b], 4 * fast, [0.3, 0.7]),
    )
    phase(
        "MPS percentage",
        10,
        lambda: shares.plain_shares(
            bench.of("percent-a", "percent-b"), 4 * fast, [0.3, 0.7], others["bare"]
        ),
    )
    phase("kill without MPS", 8, lambda: changes.killed(solo, [solo_a, solo_b]))


def main() -> None:
    """Run everything and write JSON and markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--library", type=Path, default=Path("quota_runtime/build/libhas_quota.so"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="for everything together")
    parser.add_argument("--sm-count", type=int, default=132)
    parser.add_argument("--only", nargs="*", help="names of phases")
    parser.add_argument("--check", action="store_true", help="a dry run on the CPU")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as text:
        bench = Bench(args, Path(text))
        bench.keep("command", " ".join(sys.argv))
        try:
            bench.phase("start", 0, lambda: start(bench))
            if set(bench.children) >= {"a", "b"}:
                measure(bench)
            bench.keep("left", {name: pod.counters() for name, pod in bench.pods.items()})
        finally:
            for child in bench.children.values():
                child.process.kill()
            bench.stop_mps()
    (args.out / "quota-h200.md").write_text(markdown(bench.report))
    print(table(bench.report))


if __name__ == "__main__":
    main()
