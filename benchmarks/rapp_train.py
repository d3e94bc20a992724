"""Train RaPP's published network on the public V100 data and say how well it does.

The published training (width 512, 400 epochs of 45 390 single steps) takes days step by step; on a
GPU a pass over all points takes a fraction of a second here. A broken run is continued by the same
command. Without a GPU take ``--width 128 --groups 16``.

    python -m benchmarks.rapp_train --data ../shared/data/rapp --split random --out build/rapp-gnn

``--split model --folds 10`` trains ten networks for a tenth of the seconds each; every network of
the data is hidden from one of them. Figures go to ``rapp-gnn.json`` under ``--label``, weights to
``--weights``: the data carry no licence, so weights learnt from them stay there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.measuring import card_of, gpu_card
from kserve_has.rapp.gnn import Rapp
from kserve_has.rapp.points import family_of
from kserve_has.rapp.public_data import PublicData, load
from kserve_has.rapp.train import Recipe, Trainer

PUBLISHED_UNSEEN = 0.0529
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def parts(data: PublicData, split: str, seed: int, fold: int = 0, folds: int = 10) -> Parts:
    """Return rows for training, validation (10 %) and test (5 % of rows, or a fold of groups)."""
    draw = np.random.default_rng(seed)
    if split == "random":
        order = draw.permutation(len(data.ms))
        train, validation, test = np.split(order, [int(0.85 * len(order)), int(0.95 * len(order))])
        return train, validation, test
    group = np.array([m if split == "model" else family_of(m) for m in data.models])
    names = draw.permutation(sorted(set(group)))
    hidden = np.isin(group[data.model], np.array_split(names, folds)[fold])
    known = draw.permutation(np.flatnonzero(~hidden))
    cut = int(0.9 * len(known))
    return known[:cut], known[cut:], np.flatnonzero(hidden)


def static_only(data: PublicData) -> PublicData:
    """Return the data without measured features: what is known of a network that never ran."""
    nodes = tuple(np.hstack((n[:, :32], np.zeros_like(n[:, 32:]))) for n in data.nodes)
    graphs = np.hstack((data.graphs[:, :5], np.zeros_like(data.graphs[:, 5:])))
    return replace(data, nodes=nodes, graphs=graphs)


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


def hidden_errors(
    data: PublicData, options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Train, and return the hidden rows, their relative errors and how the training went."""
    folds = range(1 if options.split == "random" else options.folds)
    folds = folds if options.fold is None else range(options.fold, options.fold + 1)
    recipe = Recipe(
        width=options.width,
        epochs=options.epochs,
        rate=options.rate,
        groups=options.groups,
        dropout=options.dropout,
        decay=options.decay,
        raw_ms=False,
        relative=options.relative,
        seed=options.seed,
        seconds=options.seconds / len(folds),
        validate_every=options.validate_every,
    )
    rows, errors, epochs, log = [], [], [], []
    for fold in folds:
        train, validation, test = parts(data, options.split, options.seed, fold, options.folds)
        folder = options.weights / options.label / str(fold)
        trainer = Trainer(data, train, recipe, folder, replay=not options.plain)
        log = trainer.run(validation, quiet=options.quiet)
        rows.append(test)
        errors.append(trainer.predict(test) / data.ms[test] - 1.0)
        epochs.append(trainer.epoch)
        print(
            f"{options.label} fold {fold}: {trainer.epoch} epochs, {trainer.spent_s:.0f} s, "
            f"validation {log[-1]['validation_mape']:.4f}, hidden {np.abs(errors[-1]).mean():.4f}",
            flush=True,
        )
    about = {
        "epochs": epochs,
        "device": str(trainer.device),
        "validation_mape": log[-1]["validation_mape"],
        "course": [[entry["epoch"], round(entry["validation_mape"], 4)] for entry in log[::5]],
    }
    if options.query:
        about["query_us"] = query_us(trainer, data)
    return np.concatenate(rows), np.concatenate(errors), about


def figures(data: PublicData, rows: np.ndarray, errors: np.ndarray) -> dict[str, Any]:
    """Return MAPE, median and p95 of hidden rows, and of every model."""
    size = np.abs(errors)
    models = {
        data.models[m]: float(size[data.model[rows] == m].mean())
        for m in np.unique(data.model[rows])
    }
    found = np.array(list(models.values()))
    lists = np.random.default_rng(0).random((10_000, len(found))).argsort(axis=1)[:, :7]
    return {
        "test_mape": float(size.mean()),
        "test_median": float(np.median(size)),
        "test_p95": float(np.quantile(size, 0.95)),
        "test_points": len(rows),
        "models at most the published unseen error": int((found <= PUBLISHED_UNSEEN).sum()),
        "share of lists of seven models at most it": float(
            (found[lists].mean(axis=1) <= PUBLISHED_UNSEEN).mean()
        ),
        "models": {name: round(value, 4) for name, value in models.items()},
    }


def main() -> None:
    """Train and write figures into ``rapp-gnn.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("random", "model", "family"), default="random")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--fold", type=int, help="only this one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path(tempfile.gettempdir()) / "rapp-gnn")
    parser.add_argument("--label", default="")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--groups", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=100_000, help="seconds usually end first")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--validate-every", type=int, default=20)
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--plain", action="store_true", help="no captured steps on a GPU")
    parser.add_argument("--static", action="store_true", help="nothing measured of a network")
    parser.add_argument("--relative", action="store_true", help="in units of the own profile")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--query", action="store_true", help="time a query too")
    options = parser.parse_args()
    options.label = options.label or options.split
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    data = load(options.data)
    data = static_only(data) if options.static else data
    rows, errors, about = hidden_errors(data, options)
    settings = (
        "split",
        "folds",
        "width",
        "rate",
        "groups",
        "dropout",
        "decay",
        "static",
        "relative",
        "seconds",
        "seed",
    )
    result = {name: getattr(options, name) for name in settings}
    gpu = gpu_card() if torch.cuda.is_available() else {"torch": torch.__version__}
    result |= card_of("rapp_train", gpu) | about | figures(data, rows, errors)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rapp-gnn.json"
    every = json.loads(path.read_text()) if path.is_file() else {}
    every[options.label] = result
    path.write_text(json.dumps(every, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k not in ("models", "course")}, indent=1))


if __name__ == "__main__":
    main()
