"""Training RaPP's network: seeds, progress, checkpoints that a broken run continues from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
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
from .gnn import Rapp
from .public_data import PROFILED, PublicData
from .replay import Replayed
from .steps import Inputs, Step


@dataclass(frozen=True)
class Recipe:
    """How to train. The published one: width 512, 200 epochs, rate 2.7542e-5, batch 1, raw ms.

    Attributes:
        width: of every layer.
        epochs: passes over the training points.
        rate: learning rate at its highest; it rises over the first fiftieth and falls to nothing
            along a cosine.
        groups: operator graphs in a step; every quota of a graph is a query of that step.
        dropout: in the head; its disturbance grows as the width shrinks.
        decay: of the weights, decoupled from the rate of change (AdamW).
        raw_ms: Huber loss on milliseconds as published, else on their logarithms.
        relative: learn the logarithm of how many times the network's own profile (one of the
            published features) a latency is; a network never seen then is of a known size.
        seed: of weights, order and dropout.
        seconds: stop after this much time, of the CPU or of a GPU's wall clock, the rate being
            timed to end there; 0: no limit.
        validate_every: epochs between two validations, each with a checkpoint.

    """

    width: int = 512
    epochs: int = 200
    rate: float = 2.7542e-5
    groups: int = 1
    dropout: float = 0.05
    decay: float = 0.0
    raw_ms: bool = True
    relative: bool = False
    seed: int = 123
    seconds: float = 0.0
    validate_every: int = 1


class Trainer:
    """One training run on chosen rows of the data."""

    def __init__(
        self,
        data: PublicData,
        train: Vector,
        recipe: Recipe,
        folder: Path,
        *,
        replay: bool = True,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder = recipe, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = self.device.type == "cuda"
        self.clock = time.monotonic if on_gpu else time.process_time
        self.inputs = Inputs(data, train, self.device)
        self.network = Rapp(recipe.width, recipe.dropout).to(self.device)
        self.rate = torch.tensor(recipe.rate, device=self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.rate if on_gpu else recipe.rate,
            weight_decay=recipe.decay,
            capturable=on_gpu,
            fused=on_gpu,
        )
        self.train, self.epoch, self.spent_s = train, 0, 0.0
        truth = torch.tensor(data.ms, dtype=torch.float32, device=self.device)
        self.unit = profile_ms(data) if recipe.relative else np.ones(len(data.ms))
        unit = torch.tensor(self.unit, dtype=torch.float32, device=self.device)
        self.target = (truth if recipe.raw_ms else (truth / unit).log() + LOG_OFFSET)[
            torch.tensor(train, device=self.device)
        ]
        self.queries = self.inputs.queries[torch.tensor(train, device=self.device)]
        self._planned: tuple[int, Step] | None = None
        self._step: Callable[[Step], torch.Tensor] = (
            Replayed(self._learn) if on_gpu and replay else self._learn
        )

    def run(self, validation: Vector, *, quiet: bool = False) -> list[dict[str, float]]:
        """Train to the end, continuing from a checkpoint in the folder if there is one."""
        log = self._resume()
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, disable=quiet) as progress:
            task = progress.add_task("training", total=self.recipe.epochs, note="")
            while self.epoch < self.recipe.epochs and not self._late():
                began = self.clock()
                losses = self._pass()
                self.epoch += 1
                due = self.epoch % self.recipe.validate_every == 0
                loss = float(torch.stack(losses).mean()) if due else 0.0
                self.spent_s += self.clock() - began
                if due or self._late() or self.epoch == self.recipe.epochs:
                    began = self.clock()
                    mape = self.mape(validation)
                    log.append({"epoch": self.epoch, "loss": loss, "validation_mape": mape})
                    self._save(log)
                    # A GPU's wall clock runs on meanwhile, and the limit is one of wall time there.
                    self.spent_s += self.clock() - began if self.device.type == "cuda" else 0.0
                    note = f"validation {100 * mape:.2f} %"
                    progress.update(task, completed=self.epoch, note=note)
        return log

    def predict(self, rows: Vector) -> Vector:
        """Return predicted milliseconds of rows of the data."""
        self.network.eval()
        answers = np.empty(len(rows))
        queries = self.inputs.queries[torch.tensor(rows, device=self.device)]
        with torch.inference_mode():
            steps = self.inputs.steps(rows, 64, None).on(self.device)
            for index in range(len(steps.node)):
                step = steps.at(index)
                real = step.counts > 0
                found = self._out(step, queries)[real].cpu().numpy()
                answers[step.row[real].cpu().numpy()] = found
        return answers if self.recipe.raw_ms else np.exp(answers - LOG_OFFSET) * self.unit[rows]

    def mape(self, rows: Vector) -> float:
        """Return the mean absolute error over rows, as a share."""
        truth = self.inputs.data.ms[rows]
        return float(np.mean(np.abs(self.predict(rows) / truth - 1.0)))

    def _pass(self) -> list[torch.Tensor]:
        self.network.train()
        planned, self._planned = self._planned, None
        steps = planned[1] if planned and planned[0] == self.epoch else self._plan(self.epoch)
        steps = steps.on(self.device)
        losses = []
        for index in range(len(steps.node)):
            self._set_rate((self.epoch + index / len(steps.node)) / self.recipe.epochs)
            losses.append(self._step(steps.at(index)))
        if self.device.type == "cuda":  # plans the next pass while the GPU is at this one
            self._planned = (self.epoch + 1, self._plan(self.epoch + 1))
        return losses

    def _plan(self, epoch: int) -> Step:
        order = np.random.default_rng((self.recipe.seed, epoch))
        return self.inputs.steps(self.train, self.recipe.groups, order)

    def _learn(self, step: Step) -> torch.Tensor:
        delta = 1.0 if self.recipe.raw_ms else 0.05
        self.optimiser.zero_grad(set_to_none=True)
        each = functional.huber_loss(
            self._out(step, self.queries), self.target[step.row], delta=delta, reduction="none"
        )
        loss = (each * step.counts).sum() / step.counts.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def _out(self, step: Step, queries: torch.Tensor) -> torch.Tensor:
        embedded = self.network.embed(self.inputs.graphs(step))
        answer: torch.Tensor = self.network(embedded.index_select(0, step.which), queries[step.row])
        return answer

    def _set_rate(self, done: float) -> None:
        if self.recipe.seconds:
            done = max(done, self.spent_s / self.recipe.seconds)
        falling = 0.5 * (1.0 + np.cos(np.pi * min(1.0, done)))
        rate = self.recipe.rate * max(0.01, min(falling, done / 0.02))
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
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
        self.epoch, self.spent_s = card["epoch"], card["spent_s"]
        log: list[dict[str, float]] = card["log"]
        return log


LOG_OFFSET = 3.0
"""Keeps logarithms of milliseconds above 0, where the network's last softplus can reach them."""


def profile_ms(data: PublicData) -> Vector:
    """Return for each row its network's profile at the row's quota (batch 4, all SMs), in ms.

    Straight lines of logarithms between the profiled quotas, and on below the lowest.

    Raises:
        LatencyModelError: the profiles were left out.

    """
    at = np.log([float(name[1:]) for name in PROFILED])
    measured = data.graphs[:, -len(PROFILED) :]
    if not (measured > 0).all():
        raise LatencyModelError("networks without a profile have no unit; train without `relative`")
    profiles = np.log(measured)[data.model]
    quota = np.log(data.quota)
    left = np.clip(np.searchsorted(at, quota, side="right") - 1, 0, len(at) - 2)
    rows = np.arange(len(quota))
    share = (quota - at[left]) / (at[left + 1] - at[left])
    found: Vector = np.exp((1 - share) * profiles[rows, left] + share * profiles[rows, left + 1])
    return found


def read_card(path: Path) -> dict[str, Any]:
    """Return the card that was written with the weights."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        card: dict[str, Any] = json.loads(file.metadata()["card"])
    return card
