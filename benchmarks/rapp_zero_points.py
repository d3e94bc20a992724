"""How far a first estimate from operators alone is off, whole families held out. Needs torch.

The constants are learnt without the family; their number, their start and the form of the estimate
were chosen on the same table.

python -m benchmarks.rapp_zero_points --out docs/results
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rapp_prior import SOURCE
from kserve_has.profiler.networks import Network, network
from kserve_has.rapp.kernels import Kernels, kernels_of
from kserve_has.rapp.metrics import Answers, report
from kserve_has.rapp.operators import BYTES, WAYS, Workload, learn_constants, log_ms
from kserve_has.rapp.points import Table, read_table

LEARNT_FROM = 16
"""Points of a network that the constants are learnt from; more tell little more."""


def kernels(known: Network) -> Kernels:
    """Return a catalogue network's kernels without computing anything."""
    return kernels_of(_on_meta(known), known.inputs(1, "meta", torch.float32))


def held_out(table: Table, known: Mapping[str, Kernels], way: str) -> dict[str, Answers]:
    """Return estimates of every network with constants that its family did not teach."""
    size = BYTES[way.split("-")[0]]
    members = Counter(table.family.values())
    rows = {}
    for name, points in table.networks.items():
        some = np.random.default_rng(len(points)).permutation(len(points))[:LEARNT_FROM]
        p = points.take(some)
        weight = members[table.family[name]] ** -0.5
        rows[name] = (Workload.of(known[name], p.batch, p.sm, size), p.log_ms, weight)
    found = {}
    for family in sorted(members):
        constants = learn_constants([r for n, r in rows.items() if table.family[n] != family], way)
        for name, p in table.networks.items():
            if table.family[name] == family:
                work = Workload.of(known[name], p.batch, p.sm, size)
                mean = np.exp(log_ms(constants, work))
                found[name] = Answers(np.exp(p.log_ms), mean, mean)
    return found


def _on_meta(known: Network) -> nn.Module:
    try:
        with torch.device("meta"):
            return known.build()
    except NotImplementedError:  # RegNets compute their widths with tensors
        return known.build().to("meta")


def main() -> None:
    """Hold every family out in turn and write ``rapp-zero-points.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    known: dict[str, Kernels] = {}
    results: dict[str, Any] = {"command": "python -m benchmarks.rapp_zero_points --out DIR"}
    results["date"] = time.strftime("%Y-%m-%d")
    for way in reversed(WAYS):
        dtype, mode = way.split("-")
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        known |= {n: kernels(network(n)) for n in table.networks if n not in known}
        began = time.process_time()
        figures = report(held_out(table, known, way), table.family)
        print(f"{time.process_time() - began:.0f} s of CPU")
        models = {name: f["mape"] for name, f in figures["models"].items()}
        kept = ("points", "mape", "median", "p95", "mape_of_models", "families")
        results[way] = {k: figures[k] for k in kept} | {"models": models}
        print(way, json.dumps(results[way]), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "rapp-zero-points.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
