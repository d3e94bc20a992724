"""The law of the quota window against every lone request measured on the H200, and what it misses.

Reads the committed ``h200_quota_grid.csv``: captured graphs, each one launch, all at rest, also at
full quota. A piece's latency is that of its rows at full quota. Then the whole prediction: networks
held out one by one, a few points of requests that followed each other, what a request takes more
after idleness (one constant), and the law.

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
QUOTAS = files("kserve_has.latency") / "data" / "h200_quota_grid.csv"
CLASSES = ("fits the budget", "up to two budgets", "longer")
SHARED = "shared"
FEW, SEVERAL = 4, 6


@dataclass(frozen=True)
class Throttled:
    """A row under a quota.

    Attributes:
        row: as measured.
        gpu_ms: latency of its piece at full quota, the pod at rest too.

    """

    row: Mapping[str, str]
    gpu_ms: float

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
        phases = [float(v) for v in self.row["phases_ms"].split()]
        paused = [alone_ms(self.gpu_ms, self.quota, WINDOW_MS, p % WINDOW_MS) for p in phases]
        laws = {
            "one launch": np.full(len(walls), self.gpu_ms),
            "many launches": np.array(paused),
            "g / q": np.full(len(walls), stream_mean_ms(self.gpu_ms, self.quota)),
        }
        return {
            name: float(np.mean(np.abs(expected / walls - 1))) for name, expected in laws.items()
        }


def measured() -> list[dict[str, str]]:
    """Return the rows that were measured as most were."""
    with QUOTAS.open(encoding="utf-8") as stream:
        return [r for r in csv.DictReader(stream) if r["way"] == SHARED]


def whole_ms(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, ...], float]:
    """Return the latency of every piece at full quota."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["quota"] == "100":
            found[piece_of(row)].append(float(row["latency_ms"]))
    return {piece: float(np.median(ms)) for piece, ms in found.items()}


def throttled(rows: Iterable[Mapping[str, str]]) -> list[Throttled]:
    """Return the rows under a quota."""
    rows = list(rows)
    whole = whole_ms(rows)
    return [
        Throttled(row, whole[piece_of(row)])
        for row in rows
        if row["quota"] != "100" and piece_of(row) in whole
    ]


def piece_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return which network, batch and partition a row is of."""
    return row["model"], row["batch"], row["sm"]


def wake_ms(whole: Mapping[tuple[str, ...], float]) -> float:
    """Return what a request takes more after idleness than right after another, at full quota."""
    full = read_table(SOURCE, dtype="bf16", mode="graph")
    following = {
        (name, f"{batch:g}", f"{sm:g}"): float(np.exp(log_ms))
        for name, p in full.networks.items()
        for batch, sm, log_ms in zip(p.batch, p.sm, p.log_ms, strict=True)
    }
    # Of short requests: of long ones the difference of two sittings is more than that.
    more = [ms - following[piece] for piece, ms in whole.items() if following.get(piece, 9.9) < 5]
    return float(np.median(more))


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


def predicted(rows: Iterable[Throttled], count: int, wake: float) -> dict[str, Any]:
    """Return figures of held-out networks: a few points at full quota, then the law.

    The points followed each other, so what idleness adds comes on top.
    """
    full = read_table(SOURCE, dtype="bf16", mode="graph")
    asked: dict[str, list[Throttled]] = defaultdict(list)
    for row in rows:
        asked[row.row["model"]].append(row)
    assumption = Assumption(least_noise=full.least_noise)
    found: dict[str, Answers] = {}
    for prior, names in held_out_priors(full, basis_for(full), str, assumption):
        for name in set(names) & set(asked):
            fitted, _ = fitted_to_few(prior, full, name, count, 1.7)
            columns = [[float(r.row[k]) for r in asked[name]] for k in ("batch", "sm", "quota")]
            ms = np.array([float(r.row["latency_ms"]) for r in asked[name]])
            points = Points(*(np.array(c) for c in columns), np.log(ms))
            answers = under_law(fitted, points, 1.7, WINDOW_MS, one_launch=True)
            found[name] = Answers(ms, answers.mean + wake, answers.upper + wake)
    return report(found, full.family)


def between_sittings(whole: Mapping[tuple[str, ...], float], wake: float) -> float:
    """Return by how much pieces at full quota differ from the table that points come from."""
    full = read_table(SOURCE, dtype="bf16", mode="graph")
    gaps = []
    for name, p in full.networks.items():
        for batch, sm, log_ms in zip(p.batch, p.sm, p.log_ms, strict=True):
            ms = whole.get((name, f"{batch:g}", f"{sm:g}"))
            gaps += [] if ms is None else [abs((float(np.exp(log_ms)) + wake) / ms - 1)]
    return float(np.mean(gaps))


def tables(rows: list[Throttled]) -> dict[str, Any]:
    """Return the errors of the three laws by what a row is of."""
    return {
        "class": table_by(rows, lambda r: r.kind),
        "family": table_by(rows, lambda r: r.row["family"]),
        "quota": table_by(rows, lambda r: f"{r.quota} %"),
        "batch": table_by(rows, lambda r: f"batch {r.row['batch']}"),
        "partition": table_by(rows, lambda r: f"{r.row['sm']} SMs"),
        "all": table_by(rows, lambda _: "all"),
    }


def main() -> None:
    """Write ``rapp-quota-law.json`` and print its main part as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    graphs = measured()
    whole = whole_ms(graphs)
    wake, rows = wake_ms(whole), throttled(graphs)
    result: dict[str, Any] = {"command": "python -m benchmarks.rapp_quota_law --out DIR"}
    result |= {"wake_ms": wake, "rows": len(graphs), **tables(rows)}
    result["full quota, differs from the table of points by"] = between_sittings(whole, wake)
    result["held-out networks"] = {
        f"{count} points": predicted(rows, count, wake) for count in (FEW, SEVERAL)
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "rapp-quota-law.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"after idleness {1e3 * wake:.0f} us more")
    for name in ("class", "all", "family", "quota", "batch", "partition"):
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
