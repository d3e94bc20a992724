"""How well the labels can be predicted at all: what is left when nearly everything is known.

Of each table: a monotone curve through all labels of one (network, batch), which has seen them;
every label from both its neighbours in SMs; every label from all the other labels of its network
(a Gaussian process, one left out); and our own model told 24 points instead of 4 or 6. The first
tells how rough labels are where more SMs should never be slower, the others how much of that
roughness nothing nearby foretells.

    python -m benchmarks.rapp_label_floor --public ../shared/data/rapp --out docs/results
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from benchmarks.rapp_compare import tables
from kserve_has.rapp.dense import DenseNetwork
from kserve_has.rapp.evaluate import Task, evaluate
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.points import Table

MORE = (24,)
"""Points told to our own model, of about 80 on the V100 and 48 on the H200."""


def monotone(points: Points) -> np.ndarray:
    """Return log milliseconds of the falling curve over SMs that fits each batch's labels best."""
    value = np.zeros(len(points))
    for batch in np.unique(points.batch):
        at = points.batch == batch
        fit = IsotonicRegression(increasing=False)
        value[at] = fit.fit_transform(points.sm[at], points.log_ms[at])
    return value


def neighbours(points: Points) -> np.ndarray:
    """Return log milliseconds between the next fewer and the next more SMs; NaN at either end."""
    value = np.full(len(points), np.nan)
    for batch in np.unique(points.batch):
        at = np.flatnonzero(points.batch == batch)
        at = at[np.argsort(points.sm[at])]
        x, y = np.log(points.sm[at]), points.log_ms[at]
        for i in range(1, len(at) - 1):
            value[at[i]] = np.interp(x[i], x[[i - 1, i + 1]], y[[i - 1, i + 1]])
    return value


def left_over(table: Table, predict: Callable[[Points], np.ndarray]) -> dict[str, float]:
    """Return the figures of a way of predicting labels, over all points it can predict."""
    gaps = np.concatenate([predict(p) - p.log_ms for p in table.networks.values()])
    errors = np.abs(np.exp(gaps[~np.isnan(gaps)]) - 1.0)
    return {
        "points": len(errors),
        "mape": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
    }


def main() -> None:
    """Write ``rapp-label-floor.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, check=True, capture_output=True, text=True)
    results: dict[str, Any] = {
        "command": "python -m benchmarks.rapp_label_floor --public ../shared/data/rapp --out DIR",
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }
    for name, table in tables(options.public):
        found: dict[str, Any] = {
            "repeats differ by": table.noise_floor,
            "monotone curve through all labels": left_over(table, monotone),
            "from both neighbours": left_over(table, neighbours),
            "from all other labels": left_over(table, lambda p: DenseNetwork(p).left_out()),
        }
        for count in MORE:
            ours = evaluate(table, Task("model", count))
            figures = {k: ours[k] for k in ("points", "mape", "median", "p95")}
            found[f"ours from {count} points"] = figures
        results[name] = found
        print(name, json.dumps(found), flush=True)
        path = options.out / "rapp-label-floor.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
