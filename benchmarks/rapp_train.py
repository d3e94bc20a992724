"""Train RaPP's published network on the public V100 data and say how well it does.

The published training (width 512, 400 epochs of 45 390 single steps) takes days on a CPU; the
defaults here fit a quarter of an hour of one core. A broken run is continued by the same command.

    python -m benchmarks.rapp_train --data ../shared/data/rapp --split random --out build/rapp-gnn
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kserve_has.rapp.gnn import Rapp
from kserve_has.rapp.points import family_of
from kserve_has.rapp.public_data import PublicData, load
from kserve_has.rapp.train import Recipe, Trainer


def parts(data: PublicData, split: str, seed: int) -> list[np.ndarray]:
    """Return rows for training, validation (10 %) and test (5 % of rows, or 10 % of groups)."""
    draw = np.random.default_rng(seed)
    if split == "random":
        order = draw.permutation(len(data.ms))
        return np.split(order, [int(0.85 * len(order)), int(0.95 * len(order))])
    group = np.array([m if split == "model" else family_of(m) for m in data.models])
    names = draw.permutation(sorted(set(group)))
    out = set(names[: max(1, round(0.1 * len(names)))])
    hidden = np.isin(group[data.model], list(out))
    known = draw.permutation(np.flatnonzero(~hidden))
    cut = int(0.9 * len(known))
    return [known[:cut], known[cut:], np.flatnonzero(hidden)]


def query_us(trainer: Trainer, data: PublicData, repeats: int = 30) -> dict[str, float]:
    """Return microseconds of one query of the published width, and of a grid of one SM count."""
    wide, own = Rapp(512).eval().to(trainer.device), trainer.network
    rows = np.flatnonzero((data.model == 0) & (data.batch == 4) & (data.sm == 50))
    trainer.network = wide
    times = {}
    for name, chosen in (("one", rows[:1]), ("ten quotas of one piece", rows)):
        took = []
        for _ in range(repeats):
            began = time.process_time()
            trainer.predict(chosen)
            took.append(1e6 * (time.process_time() - began))
        times[name] = float(np.median(took))
    trainer.network = own
    return times


def main() -> None:
    """Train and write ``gnn-SPLIT.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("random", "model", "family"), default="random")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--groups", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=123)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load(options.data)
    train, validation, test = parts(data, options.split, options.seed)
    recipe = Recipe(
        width=options.width,
        epochs=1000,
        rate=options.rate,
        groups=options.groups,
        dropout=options.dropout,
        raw_ms=False,
        seed=options.seed,
        seconds=options.seconds,
    )
    trainer = Trainer(data, train, recipe, options.out / options.split)
    log = trainer.run(validation)
    errors = np.abs(trainer.predict(test) / data.ms[test] - 1.0)
    result: dict[str, Any] = {
        "split": options.split,
        "epochs": len(log),
        "width": options.width,
        "device": str(trainer.device),
        "training_cpu_s": round(trainer.spent_s),
        "validation_mape": log[-1]["validation_mape"],
        "test_mape": float(errors.mean()),
        "test_median": float(np.median(errors)),
        "test_p95": float(np.quantile(errors, 0.95)),
        "test_points": len(test),
        "test_models": sorted({data.models[m] for m in data.model[test]})[:12],
        "query_us": query_us(trainer, data),
    }
    (options.out / f"gnn-{options.split}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
