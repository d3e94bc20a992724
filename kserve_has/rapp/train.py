"""Training RaPP's network: seeds, progress, checkpoints that a broken run continues from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress, TextColumn
from safetensors.torch import load_file, save_file
from torch.nn import functional

from ..errors import LatencyModelError
from .core import Vector
from .gnn import Graphs, Rapp
from .public_data import PublicData


@dataclass(frozen=True)
class Recipe:
    """How to train. The published one: width 512, 200 epochs, rate 2.7542e-5, batch 1, raw ms.

    Attributes:
        width: of every layer.
        epochs: passes over the training points.
        rate: learning rate at its highest; it falls to nothing along a cosine.
        groups: operator graphs in a step; every quota of a graph is a query of that step.
        dropout: in the head; its disturbance grows as the width shrinks.
        raw_ms: Huber loss on milliseconds as published, else on their logarithms.
        seed: of weights, order and dropout.
        seconds: stop after this much CPU time, the rate being timed to end there; 0: no limit.

    """

    width: int = 512
    epochs: int = 200
    rate: float = 2.7542e-5
    groups: int = 1
    dropout: float = 0.05
    raw_ms: bool = True
    seed: int = 123
    seconds: float = 0.0


class Trainer:
    """One training run on chosen rows of the data."""

    def __init__(self, data: PublicData, train: Vector, recipe: Recipe, folder: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder = recipe, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.inputs = Inputs(data, train, self.device)
        self.network = Rapp(recipe.width, recipe.dropout).to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.rate)
        self.train, self.epoch, self.spent_s = train, 0, 0.0
        self.order = np.random.default_rng(recipe.seed)

    def run(self, validation: Vector, *, quiet: bool = False) -> list[dict[str, float]]:
        """Train to the end, continuing from a checkpoint in the folder if there is one."""
        log = self._resume()
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, disable=quiet) as progress:
            task = progress.add_task("training", total=self.recipe.epochs, note="")
            while self.epoch < self.recipe.epochs and not self._late():
                began = time.process_time()
                loss = self._pass()
                self.epoch += 1
                self.spent_s += time.process_time() - began
                mape = self.mape(validation)
                log.append({"epoch": self.epoch, "loss": loss, "validation_mape": mape})
                self._save(log)
                note = f"validation {100 * mape:.2f} %"
                progress.update(task, completed=self.epoch, note=note)
        return log

    def predict(self, rows: Vector) -> Vector:
        """Return predicted milliseconds of rows of the data."""
        self.network.eval()
        answers = np.empty(len(rows))
        with torch.inference_mode():
            for at, graphs, which, features in self.inputs.steps(rows, 64, None):
                answers[at] = self._out(graphs, which, features).cpu().numpy()
        return answers if self.recipe.raw_ms else np.exp(answers - LOG_OFFSET)

    def mape(self, rows: Vector) -> float:
        """Return the mean absolute error over rows, as a share."""
        truth = self.inputs.data.ms[rows]
        return float(np.mean(np.abs(self.predict(rows) / truth - 1.0)))

    def _pass(self) -> float:
        self.network.train()
        losses = []
        truth = torch.tensor(self.inputs.data.ms, dtype=torch.float32, device=self.device)
        if not self.recipe.raw_ms:
            truth = truth.log() + LOG_OFFSET
        for at, graphs, which, features in self.inputs.steps(
            self.train, self.recipe.groups, self.order
        ):
            self._set_rate()
            answer = self._out(graphs, which, features)
            target = truth[self.train[at]]
            delta = 1.0 if self.recipe.raw_ms else 0.05
            loss = functional.huber_loss(answer, target, delta=delta)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _out(self, graphs: Graphs, which: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.network(self.network.embed(graphs)[which], features)
        return answer

    def _set_rate(self) -> None:
        done = self.epoch / self.recipe.epochs
        if self.recipe.seconds:
            done = max(done, self.spent_s / self.recipe.seconds)
        rate = self.recipe.rate * max(0.01, 0.5 * (1.0 + np.cos(np.pi * min(1.0, done))))
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _late(self) -> bool:
        return 0.0 < self.recipe.seconds <= self.spent_s

    def _save(self, log: list[dict[str, float]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in entry.items()}
        state["random"] = torch.get_rng_state()
        card = {
            "recipe": asdict(self.recipe),
            "epoch": self.epoch,
            "spent_s": self.spent_s,
            "order": self.order.bit_generator.state,
            "log": log,
        }
        # The card is in the file itself, so that weights and progress never disagree.
        temporary = self.folder / "checkpoint.tmp"
        contiguous = {k: v.contiguous().cpu() for k, v in state.items()}
        save_file(contiguous, temporary, metadata={"card": json.dumps(card)})
        temporary.replace(self.folder / "checkpoint.safetensors")

    def _resume(self) -> list[dict[str, float]]:
        path = self.folder / "checkpoint.safetensors"
        if not path.is_file():
            return []
        card = read_card(path)
        if card["recipe"] != asdict(self.recipe):
            raise LatencyModelError(
                f"{path} was trained with {card['recipe']}, now asked is {asdict(self.recipe)}; "
                "use another folder or the same recipe"
            )
        tensors = load_file(path)
        weights = {k[8:]: v for k, v in tensors.items() if k.startswith("network.")}
        self.network.load_state_dict(weights)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random"])
        self.order.bit_generator.state = card["order"]
        self.epoch, self.spent_s = card["epoch"], card["spent_s"]
        log: list[dict[str, float]] = card["log"]
        return log


LOG_OFFSET = 3.0
"""Keeps logarithms of milliseconds above 0, where the network's last softplus can reach them."""


def read_card(path: Path) -> dict[str, Any]:
    """Return the card that was written with the weights."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        card: dict[str, Any] = json.loads(file.metadata()["card"])
    return card


Step = tuple[Vector, Graphs, torch.Tensor, torch.Tensor]


class Inputs:
    """Scaled features as tensors, and rows of the data put together into steps."""

    def __init__(self, data: PublicData, train: Vector, device: torch.device | str = "cpu") -> None:
        self.data, self.device = data, torch.device(device)
        kinds = [np.hstack((n[:, :16], np.log1p(n[:, 16:]))) for n in data.nodes]
        every = np.concatenate([kinds[m] for m in np.unique(data.model[train])])
        mean, spread = every.mean(axis=0), every.std(axis=0) + 1e-3
        self.nodes = [self._tensor((k - mean) / spread) for k in kinds]
        graphs = np.log1p(data.graphs)
        known = graphs[np.unique(data.model[train])]
        scaled = (graphs - known.mean(axis=0)) / (known.std(axis=0) + 1e-3)
        self.graphs = self._tensor(scaled)
        columns = (np.log(data.batch), np.log(data.sm / 30.0), np.log(data.quota / 45.0))
        self.scalars = self._tensor(np.stack(columns, axis=1))

    def _tensor(self, values: Vector) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def steps(self, rows: Vector, groups: int, order: np.random.Generator | None) -> Iterator[Step]:
        """Yield (places in rows, graphs, graph of each query, graph features) of steps.

        Queries of one (model, batch, SMs) share a graph; ``order`` shuffles the graphs.
        """
        data = self.data
        key = (data.model[rows] * 16 + data.batch[rows]) * 128 + data.sm[rows]
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        by_graph = np.split(
            np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1]
        )
        turn = np.arange(len(first)) if order is None else order.permutation(len(first))
        for begin in range(0, len(turn), groups):
            chosen = turn[begin : begin + groups]
            at = np.concatenate([by_graph[g] for g in chosen])
            which = np.repeat(np.arange(len(chosen)), [len(by_graph[g]) for g in chosen])
            features = torch.hstack(
                (
                    self.graphs[data.model[rows[at]]],
                    self.scalars[rows[at]][:, [0, 2]],
                )
            )
            yield (
                at,
                self._joined(rows[first[chosen]]),
                torch.tensor(which, device=self.device),
                features,
            )

    def _joined(self, rows: Vector) -> Graphs:
        parts, edges, owners, start = [], [], [], 0
        for index, row in enumerate(rows):
            nodes = self.nodes[self.data.model[row]]
            scalars = self.scalars[row, :2].expand(len(nodes), 2)
            parts.append(torch.hstack((nodes, scalars)))
            chain = np.arange(start, start + len(nodes) - 1)
            edges.append(np.stack((chain, chain + 1)))
            owners.append(np.full(len(nodes), index))
            start += len(nodes)
        links = torch.tensor(np.concatenate(edges, axis=1), device=self.device)
        owner = torch.tensor(np.concatenate(owners), device=self.device)
        return Graphs(torch.cat(parts), links, owner, len(rows))
