"""How far a first estimate from operators alone is off, whole families held out. Needs torch.

python -m benchmarks.rapp_zero_points --out docs/results
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rapp_prior import SOURCE
from kserve_has.profiler.networks import Network, network
from kserve_has.rapp.graph import operators_of
from kserve_has.rapp.metrics import Answers, report
from kserve_has.rapp.operators import BYTES, Shapes, learn_constants, log_ms, shapes_of
from kserve_has.rapp.points import read_table


def shapes(known: Network) -> Shapes:
    """Return a catalogue network's operators without computing anything."""
    return shapes_of(operators_of(_on_meta(known), known.inputs(1, "meta", torch.float32)))


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
    known: dict[str, Shapes] = {}
    results: dict[str, Any] = {"command": "python -m benchmarks.rapp_zero_points --out DIR"}
    results["date"] = time.strftime("%Y-%m-%d")
    for way in ("bf16-graph", "fp32-eager"):
        dtype, mode = way.split("-")
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        for name in table.networks:
            if name not in known:
                known[name] = shapes(network(name))
        rows = {n: (known[n], p.batch, p.sm, p.log_ms) for n, p in table.networks.items()}
        found = {}
        for family in sorted(set(table.family.values())):
            rest = [row for n, row in rows.items() if table.family[n] != family]
            constants = learn_constants(rest, way)
            for name, (shape, batch, sm, y) in rows.items():
                if table.family[name] == family:
                    mean = np.exp(log_ms(constants, shape, batch, sm, BYTES[dtype]))
                    found[name] = Answers(np.exp(y), mean, mean)
        figures = report(found, table.family)
        results[way] = {k: figures[k] for k in ("points", "mape", "median", "p95", "families")}
        print(way, json.dumps(results[way]), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "rapp-zero-points.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
