"""The latency model beside interpolation and boosting, networks and families held out.

Reads the committed H200 points and, where it is present, the public V100 data; writes one JSON
file. The V100 table is reduced to quota 100 % here: its quotas gated launches, not GPU time.

    python -m benchmarks.rapp_compare --public ../shared/data/rapp --out docs/results
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rapp_methods import AnchoredBoosting, interpolated, spread_out
from benchmarks.rapp_prior import SOURCE
from kserve_has.rapp.choose import choose
from kserve_has.rapp.evaluate import Task, basis_for, evaluate
from kserve_has.rapp.grid import Grid
from kserve_has.rapp.heldout import folds_of, held_out_priors
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.learn import Assumption
from kserve_has.rapp.metrics import Answers, report
from kserve_has.rapp.network import FittedNetwork
from kserve_has.rapp.points import Table, read_table
from kserve_has.rapp.priors import packaged

COUNTS = (4, 6)
STREAM = 200


def tables(public: Path | None) -> Iterator[tuple[str, Table]]:
    """Yield the tables with names."""
    yield "H200 bf16 graph", read_table(SOURCE, dtype="bf16", mode="graph")
    yield "H200 fp32 eager", read_table(SOURCE, dtype="fp32", mode="eager")
    if public is not None and (public / "rapp_latency.csv").is_file():
        every = read_table(public / "rapp_latency.csv")
        whole = {n: p.take(p.quota == 100) for n, p in every.networks.items()}
        yield "V100 fp32 eager, quota 100", Table(whole, every.family, ())


def others(table: Table, split: str, count: int) -> dict[str, Any]:
    """Return the figures of interpolation and of boosting."""
    group = {n: n if split == "model" else table.family[n] for n in table.networks}
    names = sorted(set(group.values()))
    found: dict[str, dict[str, Answers]] = {"interpolation": {}, "boosting": {}}
    order = np.random.default_rng(0).permutation(len(names))
    for part in np.array_split(order, folds_of(len(names))):
        out = {names[i] for i in part}
        rest = [p for n, p in table.networks.items() if group[n] not in out]
        boosting = AnchoredBoosting(rest, count)
        for name, points in table.networks.items():
            if group[name] not in out:
                continue
            chosen = spread_out(points, count)
            hidden = np.setdiff1d(np.arange(len(points)), chosen)
            for method, values in (
                ("interpolation", interpolated(points, chosen)),
                ("boosting", boosting.predict(points)),
            ):
                mean = np.exp(values[hidden])
                found[method][name] = Answers(np.exp(points.log_ms[hidden]), mean, mean)
    return {method: _short(report(a, table.family)) for method, a in found.items()}


def disturbances(path: Path, mode: str, fits: Mapping[str, FittedNetwork]) -> dict[bool, Any]:
    """Return what one measurement is off by, log, where launches decide (True) and where work does.

    Two measurements of one configuration in one sitting differ by the square root of two times
    that; repeats 0 and 1 are of one sitting, 2 and 3 of another.
    """
    times: dict[tuple[str, float, float, int], list[float]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["mode"] == mode:
                sitting = int(row["repeat"]) // 2
                place = (row["model"], float(row["batch"]), float(row["sm"]), sitting)
                times.setdefault(place, []).append(float(row["p50_ms"]))
    found: dict[bool, list[float]] = {True: [], False: []}
    for (model, batch, sm, _), ms in times.items():
        if len(ms) > 1:
            waits = bool(_launches_decide(fits[model], np.array([batch]), np.array([sm]))[0])
            gap = float(np.log(ms[1] / ms[0])) / 2**0.5
            found[waits] += [gap, -gap]
    return {waits: np.array(gaps) for waits, gaps in found.items()}


def _launches_decide(network: FittedNetwork, batch: Any, sm: Any) -> Any:
    points = Points(batch, sm, 0 * batch + 100.0, 0 * batch)
    _, slope = network.prior.evaluate(network.belief.z, points, network.prior.design(points))
    return slope[:, 0] > 0.5


def online(table: Table, mode: str, count: int) -> dict[str, Any]:
    """Return coverage and inflation before, during and after 200 observations a network.

    An observation is off by what a repeat of the same kind was off by, drawn at random.
    """
    draw = np.random.default_rng(3)
    assumption = Assumption(least_noise=table.least_noise)
    priors = list(held_out_priors(table, basis_for(table), str, assumption))
    fits = {n: FittedNetwork.fit(p, table.networks[n], 1.7) for p, names in priors for n in names}
    gaps = disturbances(SOURCE, mode, fits)
    phases: dict[str, dict[str, Answers]] = {"first 200": {}, "next 200": {}}
    for name, whole in fits.items():
        points = table.networks[name]
        waits = _launches_decide(whole, points.batch, points.sm)
        chosen = choose(whole.prior, points, count)
        fitted = FittedNetwork.fit(whole.prior, points.take(chosen), 1.7)
        for phase in phases.values():
            rows = []
            for index in draw.integers(len(points), size=STREAM):
                place = points.take(np.array([index]))
                mean, upper, _ = fitted.surface(place.batch, place.sm)
                ms = float(np.exp(place.log_ms[0] + draw.choice(gaps[bool(waits[index])])))
                rows.append((ms, float(mean[0]), float(upper[0])))
                fitted = fitted.observed(int(place.batch[0]), int(place.sm[0]), ms)
            phase[name] = Answers(*np.array(rows).T)
    mean = {("launches" if k else "work"): float(np.abs(g).mean()) for k, g in gaps.items()}
    results: dict[str, Any] = {
        "off_by": mean,
        "least_inflation": _least_inflation(table, fits, gaps),
    }
    for phase_name, by_model in phases.items():
        figures = report(by_model, table.family)
        coverages = [f["coverage"] for f in figures["models"].values()]
        results[phase_name] = {**_short(figures), "least_coverage_of_a_model": min(coverages)}
    return results


def _least_inflation(
    table: Table, fits: Mapping[str, FittedNetwork], gaps: Mapping[bool, Any]
) -> float:
    """Return the inflation of a bound that knows every latency and how much it scatters."""
    waits = [_launches_decide(fits[n], p.batch, p.sm) for n, p in table.networks.items()]
    share = float(np.mean(np.concatenate(waits)))
    bounds = {w: float(np.exp(np.quantile(g, 0.95)) * np.mean(np.exp(-g))) for w, g in gaps.items()}
    return share * bounds[True] + (1.0 - share) * bounds[False]


def speed() -> dict[str, float]:
    """Return microseconds of CPU for an 800-configuration grid: first and later queries."""
    learnt = packaged()["bf16-graph"]
    points = read_table(SOURCE, mode="graph").networks["resnet50"]
    chosen: Points = points.take(spread_out(points, 6))
    network = FittedNetwork.fit(learnt.prior, chosen, 1.6)
    sms = (*range(8, 128, 8), 132, *range(12, 44, 8))
    grid = Grid.product((1, 2, 4, 8), sms, range(10, 101, 10))
    later, first = [], []
    for _ in range(9):
        began = time.process_time()
        for _ in range(1000):
            network.predict(grid)
        later.append(1e3 * (time.process_time() - began))
    for _ in range(9):
        began = time.process_time()
        for _ in range(100):
            grid.under_quota(*network.surface(grid.batch, grid.sm))
        first.append(1e4 * (time.process_time() - began))
    return {
        "configurations": len(grid),
        "warm": min(later),
        "warm_median": float(np.median(later)),
        "after_an_observation": float(np.median(first)),
    }


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    worst = max(figures["families"].items(), key=lambda item: item[1])
    kept = ("points", "mape", "median", "p95", "coverage", "inflation", "mape_of_models")
    return {k: figures[k] for k in kept} | {"worst_family": worst}


def main() -> None:
    """Compare and write ``rapp-accuracy.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="tables whose name begins so; others stay")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rapp-accuracy.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, check=True, capture_output=True, text=True)
    results: dict[str, Any] = before | {
        "command": "python -m benchmarks.rapp_compare --public ../shared/data/rapp --out DIR",
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "speed_us": speed(),
    }
    for name, table in tables(options.public):
        if not name.startswith(options.only):
            continue
        figures: dict[str, Any] = {
            "networks": len(table.networks),
            "noise_floor": table.noise_floor,
        }
        for split in ("model", "family"):
            for count in COUNTS:
                ours = evaluate(table, Task(split, count))
                compared = {"ours": _short(ours), **others(table, split, count)}
                figures[f"unseen {split}, {count} points"] = compared
                print(
                    name,
                    split,
                    count,
                    json.dumps({k: round(v["mape"], 4) for k, v in compared.items()}),
                    flush=True,
                )
        if name.startswith("H200"):
            figures["online"] = online(table, "graph" if "graph" in name else "eager", 4)
            print(name, json.dumps(figures["online"]), flush=True)
        results[name] = figures
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if (
        "V100 random".startswith(options.only)
        and options.public is not None
        and (options.public / "rapp_latency.csv").is_file()
    ):
        every = read_table(options.public / "rapp_latency.csv")
        results["V100 random"] = _short(evaluate(every, Task("random", seed=123)))
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print("random", json.dumps(results["V100 random"]))


if __name__ == "__main__":
    main()
