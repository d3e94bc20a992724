"""``kserve-has simulate`` and ``kserve-has compare``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kserve_has.config.fields import load as load_settings
from kserve_has.config.policy import PolicySettings
from kserve_has.config.simulator import SimulatorSettings
from kserve_has.errors import HasError, SettingsError
from kserve_has.latency.table import load_table
from kserve_has.slo import Slo

from . import compare, contenders, report
from .physics import Physics
from .scenario import Load, Scenario
from .tables import as_text
from .traces import load as load_trace

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_simulate(subparsers: Subparsers) -> None:
    """Add the command that runs one policy."""
    parser = subparsers.add_parser(
        "simulate",
        help="one policy on one or many services in invented time",
        description="Replay request-rate traces (CSV t_s,rps; FILE@FACTOR scales the rates) "
        "through simulated replicas on H200s. Several traces make as many services that share "
        "the GPUs.",
    )
    parser.add_argument("traces", nargs="+", metavar="FILE[@FACTOR]")
    parser.add_argument("--policy", choices=list(contenders.POLICIES), default="hybrid")
    parser.add_argument("--objective", type=_positive, default=3.0, metavar="X")
    parser.add_argument("--seed", type=int, default=0)
    _add_world(parser)
    parser.set_defaults(run=_simulate)


def add_compare(subparsers: Subparsers) -> None:
    """Add the command that runs many policies."""
    parser = subparsers.add_parser(
        "compare",
        help="policies against each other on the same traces and physics",
        description="Write results.csv (one row a run), tables.md, Pareto plots and report.html. "
        "Objectives are multiples of the whole-GPU warm median.",
    )
    parser.add_argument("--traces", nargs="+", required=True, metavar="FILE[@FACTOR]")
    parser.add_argument(
        "--policies",
        nargs="+",
        choices=list(contenders.POLICIES),
        default=["hybrid", "kpa", "kpa-tuned", "fast", "has-gpu", "has-gpu-fixed"],
        metavar="NAME",
        help=", ".join(contenders.POLICIES),
    )
    parser.add_argument("--objectives", nargs="+", type=_positive, default=[2.0, 3.0, 5.0])
    parser.add_argument("--seeds", type=_count, default=5, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N")
    _add_world(parser)
    parser.set_defaults(run=_compare)


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="resnet50", help="measured model that is served")
    parser.add_argument("--batch", type=_count, default=1, help="instances in a request")
    parser.add_argument("--gpus", type=_count, default=32, help="H200s in the pool")
    parser.add_argument("--percentile", type=int, default=99, help="of the objective, 50..99")
    parser.add_argument("--seconds", type=_positive, default=0.0, help="of each trace, at most")
    parser.add_argument("--config", type=Path, help="YAML with sections policy and simulator")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def _settings(path: Path | None) -> tuple[PolicySettings, SimulatorSettings]:
    if path is None:
        return PolicySettings(), SimulatorSettings()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not isinstance(found, dict) or set(found) - {"policy", "simulator"}:
        raise SettingsError(f"{path}: expected the sections policy and simulator")
    policy = load_settings(PolicySettings, found.get("policy") or {})
    return policy, load_settings(SimulatorSettings, found.get("simulator") or {})


def _workload(args: argparse.Namespace) -> compare.Workload:
    if not 50 <= args.percentile <= 99:
        raise HasError(f"--percentile must be in 50..99, was {args.percentile}")
    settings, world = _settings(args.config)
    return compare.Workload(
        args.model, args.batch, args.gpus, args.percentile, args.seconds, settings, world
    )


def _simulate(args: argparse.Namespace) -> int:
    work = _workload(args)
    median_ms = Physics(work.model, work.batch, args.seed, work.world.truth_spread).median_ms
    slo = Slo(args.objective * median_ms, work.percentile)
    found = [load_trace(argument) for argument in args.traces]
    loads = tuple(
        Load(f"{name}#{i}", work.model, work.batch, slo, trace, max_replicas=4 * work.gpus)
        for i, (name, trace) in enumerate(found)
    )
    seconds = min(work.seconds or float("inf"), max(trace.end_s for _, trace in found))
    scenario = Scenario(loads, work.gpus, seconds, args.seed, work.world)
    context = contenders.Context(scenario, args.objective, work.settings, load_table())
    outcomes = contenders.run(args.policy, context)
    head = ["service", "offered", "late", "failed", "violations %", "GPU-s", "with memory"]
    table = [[*head, "p50 ms", "p95 ms", "p99 ms", "out/in", "resizes", "cold starts"]]
    for name, o in outcomes.items():
        table.append(
            [
                name,
                str(o.offered),
                str(o.late),
                str(o.failed),
                f"{100 * o.violation_rate:.3f}",
                f"{o.cost_gpu_s:.1f}",
                f"{o.cost_with_memory_gpu_s:.1f}",
                f"{o.p50_ms:.1f}",
                f"{o.p95_ms:.1f}",
                f"{o.p99_ms:.1f}",
                f"{o.scale_outs}/{o.scale_ins}",
                str(o.resizes),
                str(o.cold_starts),
            ]
        )
    print(f"{args.policy}: objective p{slo.percentile} <= {slo.latency_ms:.1f} ms, {seconds:g} s")
    print(as_text(table))
    return 0


def _compare(args: argparse.Namespace) -> int:
    work = _workload(args)
    for argument in args.traces:  # refuse bad traces before anything runs
        load_trace(argument)
    Physics(work.model, work.batch, 0, work.world.truth_spread)
    args.out.mkdir(parents=True, exist_ok=True)
    results = compare.ResultsFile(args.out / "results.csv")
    todo = compare.tasks(args.traces, args.policies, args.objectives, args.seeds, work)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("runs", total=len(todo))

        def done(row: compare.Row, took_s: float) -> None:
            results.add(row)
            what = f"{row.policy} {row.trace} {row.objective:g}x seed {row.seed}: {took_s:.1f} s"
            progress.update(bar, advance=1, description=what)

        rows = compare.run_all(todo, min(args.jobs, len(todo)), done)
    about = (
        f"{work.model} at batch {work.batch}, objectives at p{work.percentile}, "
        f"{work.gpus} H200s, {args.seeds} seeds."
    )
    print(report.write(rows, args.out, about))
    print(args.out)
    return 0
