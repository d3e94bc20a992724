"""The published RaPP measurements (V100, 67 torchvision networks) as arrays; files stay outside.

They carry no licence, so they are read where the user put them and never shipped.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LatencyModelError
from .core import Vector

OPERATOR_KINDS = 16
PROFILED = ("q20", "q40", "q60", "q80", "q100")
FILES = ("rapp_latency.csv", "rapp_node_features.csv.gz", "rapp_model_graph_features.csv")


@dataclass(frozen=True)
class PublicData:
    """Everything RaPP learns from.

    Attributes:
        models: names, in order of index.
        nodes: per model its operators' 38 features, in order of the chain.
        graphs: per model its 10 graph features.
        model, batch, sm, quota, ms: one a labelled point; SMs and quota in per cent.

    """

    models: tuple[str, ...]
    nodes: tuple[Vector, ...]
    graphs: Vector
    model: Vector
    batch: Vector
    sm: Vector
    quota: Vector
    ms: Vector


def load(folder: Path) -> PublicData:
    """Return the labelled points of the models that have features.

    Raises:
        LatencyModelError: a file is missing.

    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise LatencyModelError(
            f"{folder} lacks {', '.join(missing)}; extract them from the public RaPP repository"
        )
    with (folder / FILES[2]).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("batch", "gmac", "n_conv", "n_dense", "n_relu", *PROFILED)
    graphs = np.array([[float(row[c]) for c in columns] for row in rows])
    models = tuple(row["model"] for row in rows)
    index = {name: i for i, name in enumerate(models)}
    with gzip.open(folder / FILES[1], "rt", encoding="utf-8") as stream:
        nodes: list[list[list[float]]] = [[] for _ in models]
        for record in csv.reader(stream):
            if record[0] in index:
                kind = int(record[-1])
                one_hot = [float(kind == k) for k in range(OPERATOR_KINDS)]
                nodes[index[record[0]]].append(one_hot + [float(v) for v in record[2:-1]])
    with (folder / FILES[0]).open(encoding="utf-8") as stream:
        labels = [row for row in csv.DictReader(stream) if row["model"] in index]
    return PublicData(
        models,
        tuple(np.array(n) for n in nodes),
        graphs,
        np.array([index[row["model"]] for row in labels]),
        *(np.array([float(r[c]) for r in labels]) for c in ("batch", "sm", "quota", "latency_ms")),
    )
