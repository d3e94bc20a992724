"""What ``h200_quota_dataset.py`` measures, in which process, and in which order.

Every process has networks of its own. Of its visits those come first whose loss would matter most,
and the first of them leave time for the ones that say how far the figures can be trusted.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

QUOTAS = (100, 75, 50, 30, 15)
BATCHES = (8, 1, 32)
PARTITIONS = (132, 64, 24, 8, 96, 32, 16, 48)
EAGER_PIECES = ((8, 24), (8, 64))
EAGER_NETWORKS = 2  # of each process
ALONE, THERE = 5, 3  # visits of each process that hold the figures against another way
BESIDE = 2  # the repeat of a row measured the usual way right after another way
FIRST_REPEATS = 24
GRID_UNTIL = 0.8  # of the time, if it is not done earlier
USUAL_MS = 500.0  # weight of a network that no table knows
WAYS = {"graph": "bf16", "eager": "fp32"}
SHARED, ALONE_WAY, THERE_WAY = "shared", "alone", "captured there"


@dataclass(frozen=True)
class Visit:
    """One network run one way at one batch on one partition, under some quotas.

    Attributes:
        way: shared: other processes' requests come between; alone: nobody else's; captured there:
            a graph captured on the partition instead of made anew for it.
        until: share of the time after which it is not begun.

    """

    model: str
    family: str
    mode: str
    batch: int
    sm: int
    quotas: tuple[int, ...] = QUOTAS
    repeat: int = 0
    way: str = SHARED
    until: float = 1.0

    def place(self) -> dict[str, Any]:
        """Return the columns that all rows of the visit have."""
        names = ("model", "family", "mode", "batch", "sm", "repeat", "way")
        return {name: getattr(self, name) for name in names} | {"dtype": WAYS[self.mode]}


def weights() -> dict[str, float]:
    """Return by network how much time it needs: its table's latencies together, in ms."""
    table = files("kserve_has.latency") / "data" / "h200_networks.csv"
    found: dict[str, float] = defaultdict(float)
    with table.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["mode"] == "graph" and int(row["batch"]) in BATCHES:
                found[row["model"]] += float(row["p50_ms"])
    return found


def assigned(names: Sequence[str], processes: int, weight: Mapping[str, float]) -> list[list[str]]:
    """Return each process's networks, in the order given, about the same amount of work each."""
    loads, chosen = [0.0] * processes, [set[str]() for _ in range(processes)]
    for name in sorted(names, key=lambda n: -weight.get(n, USUAL_MS)):
        least = min(range(processes), key=lambda at: (len(chosen[at]), loads[at]))
        chosen[least].add(name)
        loads[least] += weight.get(name, USUAL_MS)
    return [[n for n in names if n in own] for own in chosen if own]


def visits(
    names: Sequence[str], family: Mapping[str, str], seed: int, batches: Sequence[int] = BATCHES
) -> list[Visit]:
    """Return what one process does, in order."""
    chance = random.Random(seed)
    pieces = [(batch, sm) for batch in batches for sm in PARTITIONS]
    grid = [
        Visit(name, family[name], "graph", *piece, until=GRID_UNTIL)
        for piece in pieces
        for name in names
    ]
    again = [
        replace(visit, quotas=(chance.choice(QUOTAS),), until=1.0)
        for visit in chance.sample(grid, len(grid))
    ]
    repeats = [replace(visit, repeat=1) for visit in again]
    others = [(visit, ALONE_WAY) for visit in again[-ALONE:]]
    others += [(replace(v, quotas=(100,)), THERE_WAY) for v in again[-ALONE - THERE : -ALONE]]
    controls = [
        held for v, way in others for held in (replace(v, way=way), replace(v, repeat=BESIDE))
    ]
    eager = [
        Visit(name, family[name], "eager", *piece)
        for piece in EAGER_PIECES
        for name in names[:EAGER_NETWORKS]
    ]
    eager += [replace(v, quotas=(chance.choice(QUOTAS),), repeat=1) for v in eager]
    return [*grid, *controls, *repeats[:FIRST_REPEATS], *eager, *repeats[FIRST_REPEATS:]]
