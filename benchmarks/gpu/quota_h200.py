"""What the quota library does on a real GPU: shares, resizes, overhead, counts, neighbours.

Every phase is bounded and on its own: one that fails is noted and the next begins. Results are
written after each. ``quota_run.sh`` does them all, in parts, on one GPU or two at once::

    make -C quota_runtime OUT=build
    bash benchmarks/gpu/quota_run.sh two-1 DIR && bash benchmarks/gpu/quota_run.sh two-2 DIR
    python benchmarks/gpu/quota_pages.py DIR/*.json --out docs/results

``--plan`` names the phases with their seconds. ``--check`` runs the same phases on the CPU without
the library, to find mistakes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_parts import LIBRARY, PhaseError
from benchmarks.gpu.quota_phases import PHASES, Phase
from benchmarks.gpu.quota_processes import Processes
from benchmarks.gpu.quota_report import table


class Bench:
    """The processes, and the report that grows."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args = args
        self.processes = Processes(args, folder)
        self.began = time.monotonic()
        self.report: dict[str, Any] = {"began": time.strftime("%FT%TZ", time.gmtime())}
        self.file = args.out / f"quota-h200-{args.name}.json"

    def left(self) -> float:
        """Return seconds left of the whole budget."""
        return float(self.args.seconds) - (time.monotonic() - self.began)

    def keep(self, name: str, value: object) -> None:
        """Put a result into the report and write it out."""
        self.report[name] = value
        self.report["seconds"] = round(time.monotonic() - self.began, 1)
        self.file.write_text(json.dumps(self.report) + "\n")

    def run(self, phase: Phase) -> None:
        """Run one phase if it fits, and note what came of it and how long it took."""
        scale = self.args.scales.get(phase.name, self.args.scale)
        planned = phase.seconds(scale)
        if self.left() < planned:
            self.keep(phase.name, {"skipped": f"{self.left():.0f} s left, {planned:.0f} needed"})
            return
        at = time.monotonic()
        try:
            value = phase.work(self.processes, scale)
        except Exception as error:  # noqa: BLE001 - one phase fails, the others run
            trace = "" if isinstance(error, PhaseError) else traceback.format_exc()[-800:]
            value = {"failed": f"{type(error).__name__}: {error}", "trace": trace}
        self.keep(phase.name, value)
        took = time.monotonic() - at
        self.report["phase_seconds"] = {
            **self.report.get("phase_seconds", {}),
            phase.name: round(took, 1),
        }
        print(f"{phase.name}: {took:.1f} s of {planned:.0f}", flush=True)

    def run_all(self, phases: list[Phase]) -> None:
        """Start what the phases need, run them, and end each process after its last one."""
        self.keep("command", " ".join(sys.argv).replace(str(self.args.out), "OUT"))
        needed = list(dict.fromkeys(name for phase in phases for name in phase.needs))
        self.keep("start", self.processes.start(needed))
        for index, phase in enumerate(phases):
            self.run(phase)
            later = {name for other in phases[index + 1 :] for name in other.needs}
            self.processes.end(set(phase.needs) - later)
        self.keep("left", self.processes.last_counters())


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--hami", type=Path, help="HAMi-core's library, to compare with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", help="of the file: quota-h200-NAME.json")
    parser.add_argument("--seconds", type=float, default=580, help="for everything together")
    parser.add_argument("--scale", type=float, default=1.0, help="of the time of each phase")
    parser.add_argument("--sm-count", type=int, default=132)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="how phases begin, with =SCALE")
    parser.add_argument("--plan", action="store_true", help="name phases and seconds, run nothing")
    parser.add_argument("--check", action="store_true", help="a dry run on the CPU")
    args = parser.parse_args()
    args.name = args.name or f"{args.gpu}"
    if args.check:
        args.scale = min(args.scale, 0.02)
    return args


def chosen(args: argparse.Namespace) -> list[Phase]:
    """Return the phases that are asked for, in the order asked; note a scale of their own."""
    phases = list(PHASES)
    args.scales = {}
    if args.only is None:
        return phases
    result: list[Phase] = []
    for wanted in args.only:
        begin, _, scale = wanted.partition("=")
        found = [p for p in phases if p.name.startswith(begin) and p not in result]
        if not found:
            names = ", ".join(p.name for p in phases)
            raise SystemExit(f"--only {begin}: expected the beginning of one of {names}")
        if scale and not args.check:
            args.scales |= {p.name: float(scale) for p in found}
        result += found
    return result


def without_others(phases: list[Phase], args: argparse.Namespace) -> list[Phase]:
    """Leave out the phases of a library that is not there."""
    return [p for p in phases if args.hami or args.check or "HAMi" not in p.name]


def main() -> None:
    """Run everything and write JSON."""
    args = arguments()
    phases = without_others(chosen(args), args)
    if args.plan:
        planned = {p: p.seconds(args.scales.get(p.name, args.scale)) for p in phases}
        for phase, seconds in planned.items():
            print(f"{phase.name:30} {seconds:6.0f} s")
        print(f"{sum(planned.values()):.0f} s and the start")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as text:
        bench = Bench(args, Path(text))
        try:
            bench.run_all(phases)
        finally:
            bench.processes.stop()
    print(table(bench.report))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
