"""Pieces slower than predicted that are never observed: what does the rule against them bring?

Every load is run three times on the same arrivals and noise: with the shipped policy, with one
that trusts its predictions (``slow_limit`` 1), and with the trusting one whose latency model is
right. The physics are the measured table, all times multiplied. What still misses its objective
in the first ``SECONDS`` is run over the whole trace.

    python -m benchmarks.policy_slow_pieces --traces ../shared/data/traces --out docs/results
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from autoscaler.simulator import contenders
from autoscaler.simulator.contenders import Context
from autoscaler.simulator.physics import Measured, Physics
from autoscaler.simulator.run import simulate
from autoscaler.simulator.scenario import Load, Outcome, Scenario
from autoscaler.simulator.traces import load as load_trace
from kserve_has.config.policy import PolicySettings
from kserve_has.config.simulator import SimulatorSettings
from kserve_has.latency.table import load_table
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

MODELS = ("resnet50", "vit_b_16", "bert_base_384")
TRACES = (
    "twitter_burst_hour_per_s.csv",
    "azure_llm_2023_conv_per_s.csv@10",
    "azure_llm_2023_code_per_s.csv@4",
    "hasgpu_paper_normal_5s_steps.csv",
)
OBJECTIVES, PERCENTILES = (2.0, 3.0, 5.0), (95, 99)
SLOWER = (1.0, 1.1, 1.2, 1.3)
SECONDS, GPUS = 800.0, 32
SMS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 132)
SHIPPED = PolicySettings()
TRUSTING = replace(SHIPPED, slow_limit=1.0)


def points(model: str, slower: float) -> tuple[Measured, ...]:
    """Return the measured law of a model with all times multiplied."""
    physics = Physics(model, 1, 0, 0.0)
    return tuple((sm, slower * physics.law(sm)[0], *physics.law(sm)[1:]) for sm in SMS)


Cell = tuple[str, Trace, float, int]  # model, rates, objective, percentile


def outcome(
    cell: Cell, slower: float, policy: PolicySettings, margin: float, seconds: float = SECONDS
) -> Outcome:
    """Return what the service got; the lead-in of a minute is not counted."""
    model, trace, objective, percentile = cell
    table = load_table()
    table.margin *= margin
    slo = Slo(objective * Physics(model, 1, 0, 0.0).median_ms, percentile)
    load = Load("a/b", model, 1, slo, trace, points=points(model, slower))
    world = SimulatorSettings(truth_spread=0.0)
    scenario = Scenario((load,), GPUS, min(seconds, trace.end_s), 0, world)
    context = Context(scenario, objective, policy, table)
    return simulate(*contenders.POLICIES["hybrid"](context))["a/b"]


Row = tuple[
    float, int, Outcome, Outcome, Outcome
]  # slower by, percentile; shipped, trusting, right


def summary(rows: list[Row]) -> str:
    """Return a table: one line for every slowness and percentile."""
    lines = [
        "| slower by | objective | cells | other decisions | missed, trusting | missed, shipped | "
        + "violations of those, trusting | shipped | worst | cost, shipped / right |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups = defaultdict(list)
    for slower, percentile, *three in rows:
        groups[slower, percentile].append(three)
    for (slower, percentile), runs in groups.items():
        others = [run for run in runs if run[0] != run[1]]
        missed = [
            sum(run[i].violation_rate > 1.0 - percentile / 100.0 for run in runs) for i in (1, 0)
        ]
        line = f"| {slower - 1:+.0%} | p{percentile} | {len(runs)} | {len(others)} "
        line += f"| {missed[0]} | {missed[1]} | "
        if others:
            rates = [100.0 * np.array([run[i].violation_rate for run in others]) for i in (1, 0)]
            costs = [sum(run[i].cost_gpu_s for run in others) for i in (0, 2)]
            line += f"{rates[0].mean():.1f} % | {rates[1].mean():.2f} % | {rates[1].max():.2f} % "
            line += f"| {costs[0] / costs[1]:.2f} |"
        lines.append(line if others else line + "| | | |")
    return "\n".join(lines)


def runs(cell: Cell, slower: float) -> tuple[Outcome, Outcome, Outcome]:
    """Return the shipped policy's outcome, the trusting one's, and that of a right model.

    Where the first two are equal the rule did nothing, and the third is not asked for.
    """
    shipped, trusting = (outcome(cell, slower, policy, 1.0) for policy in (SHIPPED, TRUSTING))
    right = trusting if shipped == trusting else outcome(cell, slower, TRUSTING, slower)
    return shipped, trusting, right


def main() -> None:
    """Run everything, write one line a cell and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the traces")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    began = time.process_time()
    loads = [load_trace(str(options.traces / name)) for name in TRACES]
    rows: list[Row] = []
    missed = []
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "policy-slow-pieces.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        kinds = ("shipped", "trusting", "right")
        columns = [f"{kind}_{head}" for kind in kinds for head in ("violations", "gpu_s")]
        table.writerow(["slower", "percentile", "model", "trace", "objective", *columns])
        for slower, percentile, model in product(SLOWER, PERCENTILES, MODELS):
            for (name, trace), objective in product(loads, OBJECTIVES):
                cell = (model, trace, objective, percentile)
                three = runs(cell, slower)
                if three[0].violation_rate > 1.0 - percentile / 100.0:
                    missed.append((name, cell, slower))
                rows.append((slower, percentile, *three))
                found = [f"{x:.5g}" for o in three for x in (o.violation_rate, o.cost_gpu_s)]
                table.writerow([slower, percentile, model, name, objective, *found])
            print(f"{slower} p{percentile} {model} {time.process_time() - began:.0f} s", flush=True)
    print(summary(rows))
    for name, cell, slower in missed:
        model, trace, objective, percentile = cell
        whole = outcome(cell, slower, SHIPPED, 1.0, trace.end_s)
        print(
            f"{slower} {model} {name} {objective}x p{percentile}, all {trace.end_s:.0f} s: "
            f"{100 * whole.violation_rate:.2f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
