"""Learn the packaged prior from the measured networks and say how far its bound must reach.

python -m benchmarks.rapp_prior --out kserve_has/rapp/data/h200_prior.safetensors
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from kserve_has.rapp.basis import Basis
from kserve_has.rapp.heldout import held_out_priors, surprises
from kserve_has.rapp.learn import Assumption, learn
from kserve_has.rapp.points import read_table
from kserve_has.rapp.priors import LearntPrior, save

SOURCE = Path(__file__).parents[1] / "kserve_has" / "latency" / "data" / "h200_networks.csv"
BASIS = Basis(((1, 2, 4, 8, 16, 32), (8, 16, 24, 32, 48, 64, 96, 132)))
COUNTS = (4, 6)


def main() -> None:
    """Learn one prior for each way of running networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    priors = {}
    for dtype, mode in (("fp32", "eager"), ("bf16", "graph")):
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        assumption = Assumption(least_noise=table.least_noise)
        above: dict[int, list[np.ndarray]] = {count: [] for count in COUNTS}
        for prior, names in held_out_priors(table, BASIS, str, assumption):
            for count in COUNTS:
                above[count].append(surprises(prior, table, names, count))
        deviations = {c: float(np.quantile(np.concatenate(v), 0.95)) for c, v in above.items()}
        print(dtype, mode, deviations)
        learnt = learn(list(table.networks.values()), BASIS, assumption=assumption)
        priors[f"{dtype}-{mode}"] = LearntPrior(learnt, deviations)
    card = {
        "gpu": "NVIDIA H200",
        "points": SOURCE.name,
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.rapp_prior",
    }
    save(options.out, priors, card)


if __name__ == "__main__":
    main()
