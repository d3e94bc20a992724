"""The law of the quota window against every lone request measured on the H200, and what it misses.

Reads the committed ``h200_quota_networks.csv``: captured graphs, each one launch. A piece's latency at full
quota is the GPU time of its rows; what a request takes more after idleness is one constant, found
from the rows that fit their budget. Then the whole prediction: networks held out one by one, a few
points at full quota, the law.

    python -m benchmarks.rapp_quota_law --out docs/results     # rapp-quota-law.json
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rapp_prior import SOURCE
from kserve_has.latency.duty import alone_ms, stream_mean_ms
from kserve_has.rapp.evaluate import basis_for
from kserve_has.rapp.heldout import fitted_to_few, held_out_priors
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.learn import Assumption
from kserve_has.rapp.metrics import Answers, report
from kserve_has.rapp.points import read_table
from kserve_has.rapp.quotas import under_law

WINDOW_MS = 50.0
QUOTAS = files("kserve_has.latency") / "data" / "h200_quota_networks.csv"
CLASSES = ("fits the budget", "longer, at rest", "longer than two budgets")


@dataclass(frozen=True)
class Throttled:
    """A row under a quota.

    Attributes:
        row: as measured.
        gpu_ms: latency of its piece at full quota.
        wake_ms: what a request takes more after idleness.

    """

    row: Mapping[str, str]
    gpu_ms: float
    wake_ms: float

    @property
    def quota(self) -> int:
        """Per cent."""
        return int(self.row["quota"])

    @property
    def kind(self) -> str:
        """Which of the three classes it is in."""
        budgets = self.gpu_ms / (self.quota / 100 * WINDOW_MS)
        return CLASSES[0 if budgets <= 1 else 1 if budgets <= 2 else 2]

    def errors(self) -> dict[str, float]:
        """Return the mean relative errors of the requests under three laws."""
        walls = np.array([float(v) for v in self.row["walls_ms"].split()])
        phases = [float(v) + self.wake_ms for v in self.row["phases_ms"].split()]
        paused = [alone_ms(self.gpu_ms, self.quota, WINDOW_MS, p % WINDOW_MS) for p in phases]
        laws = {
            "one launch": np.full(len(walls), self.gpu_ms),
            "many launches": np.array(paused),
            "g / q": np.full(len(walls), stream_mean_ms(self.gpu_ms, self.quota)),
        }
        return {
            name: float(np.mean(np.abs((expected + self.wake_ms) / walls - 1)))
            for name, expected in laws.items()
        }


def throttled() -> list[Throttled]:
    """Return the rows under a quota."""
    with QUOTAS.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    whole: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["quota"] == "100":
            whole[_piece(row)].append(float(row["latency_ms"]))
    known = [
        (row, float(np.median(whole[_piece(row)])))
        for row in rows
        if row["quota"] != "100" and _piece(row) in whole
    ]
    fitting = [
        float(row["latency_ms"]) - gpu_ms
        for row, gpu_ms in known
        if gpu_ms < 0.8 * int(row["quota"]) / 100 * WINDOW_MS
    ]
    wake_ms = float(np.median(fitting))
    return [Throttled(row, gpu_ms, wake_ms) for row, gpu_ms in known]


def _piece(row: Mapping[str, str]) -> tuple[str, ...]:
    return row["model"], row["batch"], row["sm"]


def table_by(
    rows: Iterable[Throttled], key: Callable[[Throttled], str]
) -> dict[str, dict[str, float]]:
    """Return row counts and mean errors by what ``key`` says of a row."""
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row.errors())
    return {
        name: {"rows": len(found)}
        | {law: round(float(np.mean([e[law] for e in found])), 5) for law in found[0]}
        for name, found in sorted(groups.items())
    }


def predicted(rows: Iterable[Throttled], measured: int) -> dict[str, Any]:
    """Return figures of held-out networks: a few points at full quota, then the law.

    The points followed each other, so what idleness adds is taken off the latencies compared.
    """
    full = read_table(SOURCE, dtype="bf16", mode="graph")
    asked: dict[str, list[Throttled]] = defaultdict(list)
    for row in rows:
        if row.kind != CLASSES[2]:
            asked[row.row["model"]].append(row)
    assumption = Assumption(least_noise=full.least_noise)
    found: dict[str, Answers] = {}
    for prior, names in held_out_priors(full, basis_for(full), str, assumption):
        for name in set(names) & set(asked):
            fitted, _ = fitted_to_few(prior, full, name, measured, 1.7)
            columns = [[float(r.row[k]) for r in asked[name]] for k in ("batch", "sm", "quota")]
            alone = [float(r.row["latency_ms"]) - r.wake_ms for r in asked[name]]
            points = Points(*(np.array(c) for c in columns), np.log(alone))
            found[name] = under_law(fitted, points, 1.7, WINDOW_MS, one_launch=True)
    return report(found, full.family)


def main() -> None:
    """Write ``rapp-quota-law.json`` and print its main part as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = throttled()
    at_rest = [r for r in rows if r.kind != CLASSES[2]]
    result: dict[str, Any] = {
        "wake_ms": rows[0].wake_ms,
        "class": table_by(rows, lambda r: r.kind),
        "family, at rest": table_by(at_rest, lambda r: r.row["family"]),
        "quota, at rest": table_by(at_rest, lambda r: f"{r.quota} %"),
        "partition, at rest": table_by(at_rest, lambda r: f"{r.row['sm']} SMs"),
        "all at rest": table_by(at_rest, lambda _: "all"),
        "held-out networks": {f"{n} points": predicted(rows, n) for n in (4, 6)},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "rapp-quota-law.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"after idleness {1e3 * rows[0].wake_ms:.0f} us more")
    for name in ("class", "all at rest", "family, at rest", "quota, at rest", "partition, at rest"):
        print(f"\n| {name} | rows | one launch | many launches | g / q |\n|---|---|---|---|---|")
        for each, found in result[name].items():
            shares = [f"{100 * v:.1f} %" for k, v in found.items() if k != "rows"]
            print(f"| {each} | {found['rows']} | {' | '.join(shares)} |")
    for name, found in result["held-out networks"].items():
        print(f"{name}: {found['points']} rows, MAPE {100 * found['mape']:.2f} %, ", end="")
        print(f"of models {100 * found['mape_of_models']:.2f} %, p95 {100 * found['p95']:.1f} %")
        print({k: round(100 * v, 1) for k, v in found["families"].items()})


if __name__ == "__main__":
    main()
