"""What wrong predictions cost: the cheapest piece chosen by them against the measured truth.

A stand-in for the simulator: for every network, batch and objective the cheapest (SMs x quota)
whose upper bound meets the objective is chosen among the measured partitions, once from the truth
(the measured time under the quota law) and once from a model that never saw the network.

    python -m benchmarks.rapp_regret --out docs/results
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rapp_prior import SOURCE
from kserve_has.rapp.choose import choose
from kserve_has.rapp.evaluate import basis_for
from kserve_has.rapp.grid import Grid
from kserve_has.rapp.heldout import held_out_priors
from kserve_has.rapp.hierarchy import Points, Prior
from kserve_has.rapp.learn import Assumption
from kserve_has.rapp.network import FittedNetwork
from kserve_has.rapp.points import read_table
from kserve_has.rapp.priors import packaged

QUOTAS = range(5, 101, 5)
OBJECTIVES = (1.5, 2.0, 3.0, 5.0, 8.0)
"""Multiples of the time on the whole GPU."""
OBSERVATIONS = 200

Upper = Callable[[Grid], np.ndarray]


def decisions(points: Points, upper: Upper) -> list[tuple[float, bool, float]]:
    """Return (area paid, objective broken, area of the truth's choice) of every decision."""
    found = []
    for batch in np.unique(points.batch):
        here = points.take(points.batch == batch)
        if len(here) < 4:
            continue
        sms = [int(s) for s in here.sm]
        grid = Grid.product((int(batch),), sms, QUOTAS)
        measured = dict(zip(sms, np.exp(here.log_ms), strict=True))
        exact = np.array([measured[int(s)] for s in grid.sm])
        _, truth, _ = grid.under_quota(exact, exact, exact)
        area = grid.sm[grid.piece] * grid.quota
        predicted = upper(grid)
        for multiple in OBJECTIVES:
            limit = multiple * min(measured.values())
            best = _cheapest(area, truth <= limit)
            chosen = _cheapest(area, predicted <= limit)
            chosen = int(np.argmax(area)) if chosen is None else chosen
            if best is not None:
                found.append((float(area[chosen]), bool(truth[chosen] > limit), float(area[best])))
    return found


def _cheapest(area: np.ndarray, allowed: np.ndarray) -> int | None:
    if not allowed.any():
        return None
    return int(np.argmin(np.where(allowed, area, np.inf)))


def figures(found: list[tuple[float, bool, float]]) -> dict[str, float]:
    """Return extra cost over all decisions, and the share that broke the objective."""
    paid, broken, best = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    return {
        "decisions": len(found),
        "extra_cost": float(paid.sum() / best.sum() - 1.0),
        "median_extra_cost": float(np.median(paid / best - 1.0)),
        "violations": float(broken.mean()),
    }


def fitted(
    prior: Prior, points: Points, count: int, deviations: float, seen: int, noise: float
) -> FittedNetwork:
    """Return a network after its profile and, if wanted, observations of a calm production."""
    network = FittedNetwork.fit(prior, points.take(choose(prior, points, count)), deviations)
    draw = np.random.default_rng(5)
    for index in draw.integers(len(points), size=seen):
        ms = float(np.exp(points.log_ms[index] + noise * draw.standard_normal()))
        network = network.observed(int(points.batch[index]), int(points.sm[index]), ms)
    return network


def main() -> None:
    """Decide with and without observations and write ``rapp-regret.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results: dict[str, Any] = {"command": "python -m benchmarks.rapp_regret --out DIR"}
    results["date"] = time.strftime("%Y-%m-%d")
    for dtype, mode in (("bf16", "graph"), ("fp32", "eager")):
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        assumption = Assumption(least_noise=table.least_noise)
        reach = packaged()[f"{dtype}-{mode}"].deviations
        cases: dict[str, list[tuple[float, bool, float]]] = {}
        for prior, names in held_out_priors(table, basis_for(table), str, assumption):
            for name in names:
                points = table.networks[name]
                for count, seen in ((4, 0), (6, 0), (6, OBSERVATIONS)):
                    deviations = reach[count]
                    network = fitted(prior, points, count, deviations, seen, table.least_noise[0])
                    key = f"{count} points, {seen} observations"
                    upper: Upper = lambda grid, n=network: n.predict(grid)[1]
                    cases.setdefault(key, []).extend(decisions(points, upper))
        results[f"{dtype} {mode}"] = {key: figures(found) for key, found in cases.items()}
        print(dtype, mode, json.dumps(results[f"{dtype} {mode}"]), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "rapp-regret.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
