"""Every policy on every trace, objective and seed; one row a run."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from kserve_has.config.policy import PolicySettings
from kserve_has.config.simulator import SimulatorSettings
from kserve_has.latency.table import load_table
from kserve_has.slo import Slo

from . import contenders
from .physics import Physics
from .scenario import Load, Outcome, Scenario
from .traces import load as load_trace


@dataclass(frozen=True, slots=True)
class Row:
    """One run; the fields are the columns of ``results.csv``."""

    policy: str
    trace: str
    objective: float
    seed: int
    offered: int
    late: int
    failed: int
    violation_rate: float
    cost_gpu_s: float
    cost_with_memory_gpu_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    scale_outs: int
    scale_ins: int
    resizes: int
    cold_starts: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What all runs of a comparison share.

    Attributes:
        model, batch: what one request runs.
        gpus: of the pool.
        percentile: of the objective.
        seconds: length of a run at most; the whole trace when 0.
        settings: of the policy.
        world: of the simulator.
    """

    model: str
    batch: int
    gpus: int
    percentile: int
    seconds: float
    settings: PolicySettings
    world: SimulatorSettings


@dataclass(frozen=True, slots=True)
class Task:
    """One run to be done."""

    policy: str
    trace: str
    objective: float
    seed: int
    workload: Workload


def tasks(
    traces: Iterable[str],
    policies: Iterable[str],
    objectives: Sequence[float],
    seeds: int,
    workload: Workload,
) -> list[Task]:
    """Return every combination, seeds outermost, so that an early stop leaves whole comparisons."""
    policies, traces = list(policies), list(traces)
    return [
        Task(policy, trace, objective, seed, workload)
        for seed in range(seeds)
        for trace in traces
        for objective in objectives
        for policy in policies
    ]


def run_task(task: Task) -> Row:
    """Return the row of one run."""
    name, trace = load_trace(task.trace)
    work = task.workload
    physics = Physics(work.model, work.batch, task.seed, work.world.truth_spread)
    slo = Slo(task.objective * physics.median_ms, work.percentile)
    load = Load("simulated/service", work.model, work.batch, slo, trace, max_replicas=work.gpus * 4)
    seconds = min(trace.end_s, work.seconds or trace.end_s)
    scenario = Scenario((load,), work.gpus, seconds, task.seed, work.world)
    context = contenders.Context(scenario, task.objective, work.settings, load_table())
    outcome = contenders.run(task.policy, context)[load.name]
    return row_of(task, name, outcome)


def row_of(task: Task, trace: str, outcome: Outcome) -> Row:
    """Return an outcome as a row."""
    return Row(
        task.policy,
        trace,
        task.objective,
        task.seed,
        outcome.offered,
        outcome.late,
        outcome.failed,
        outcome.violation_rate,
        outcome.cost_gpu_s,
        outcome.cost_with_memory_gpu_s,
        outcome.p50_ms,
        outcome.p95_ms,
        outcome.p99_ms,
        outcome.scale_outs,
        outcome.scale_ins,
        outcome.resizes,
        outcome.cold_starts,
    )


def run_all(todo: Sequence[Task], jobs: int, done: Callable[[Row, float], None]) -> list[Row]:
    """Return the rows in the order of the tasks; ``done`` is told of each and its seconds."""
    if jobs <= 1:
        rows = []
        for task in todo:
            row, took = _timed(task)
            done(row, took)
            rows.append(row)
        return rows
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        rows = []
        for row, took in pool.imap(_timed, todo):
            done(row, took)
            rows.append(row)
        return rows


def _timed(task: Task) -> tuple[Row, float]:
    began = time.perf_counter()
    return run_task(task), time.perf_counter() - began


class ResultsFile:
    """``results.csv``: a header and one line a run, written at once, so that a stop loses nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow([field.name for field in fields(Row)])

    def add(self, row: Row) -> None:
        """Append a run."""
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow(_cells(row))


def _cells(row: Row) -> Iterator[str]:
    for value in astuple(row):
        yield f"{value:.6g}" if isinstance(value, float) else str(value)
