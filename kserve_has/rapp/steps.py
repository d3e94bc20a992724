"""Rows of RaPP's public data put together into training steps of one shape.

All steps of a pass hold equally many operators and queries, filled up with ones that do not count,
so that a GPU can replay one captured step. Queries of one (model, batch, SMs) share a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .core import Vector
from .gnn import Graphs
from .public_data import PublicData

QUOTAS = 10  # of one graph in the public data


@dataclass(frozen=True)
class Step:
    """One step, or all steps of a pass with one more dimension in front.

    Attributes:
        node: row of each operator in the table of operators.
        owner: graph of each operator; the last one owns what fills up.
        first: whether an operator has none before it.
        graph_scalars: log batch and log SM share of each graph.
        which: graph of each query.
        row: place of each query among the rows asked for.
        counts: 1, or 0 for a query that fills up.

    """

    node: torch.Tensor
    owner: torch.Tensor
    first: torch.Tensor
    graph_scalars: torch.Tensor
    which: torch.Tensor
    row: torch.Tensor
    counts: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return all parts."""
        return tuple(self.__dict__.values())

    def on(self, device: torch.device) -> Step:
        """Return the same in another memory."""
        return Step(*(part.to(device) for part in self.tensors()))

    def at(self, index: int) -> Step:
        """Return one step of a pass."""
        return Step(*(part[index] for part in self.tensors()))


class Inputs:
    """Scaled features as tensors on the device of the training."""

    def __init__(self, data: PublicData, train: Vector, device: torch.device | str = "cpu") -> None:
        self.data, self.device = data, torch.device(device)
        kinds = [np.hstack((n[:, :16], np.log1p(n[:, 16:]))) for n in data.nodes]
        known = np.unique(data.model[train])
        every = np.concatenate([kinds[m] for m in known])
        mean, spread = every.mean(axis=0), every.std(axis=0) + 1e-3
        self.lengths = np.array([len(k) for k in kinds])
        self.starts = np.concatenate(([0], np.cumsum(self.lengths)))
        # The last row is for operators that fill up.
        table = np.vstack((*[(k - mean) / spread for k in kinds], np.zeros((1, len(mean)))))
        self.nodes = self._tensor(table)
        graphs = np.log1p(data.graphs)
        scaled = (graphs - graphs[known].mean(axis=0)) / (graphs[known].std(axis=0) + 1e-3)
        batch, sm = np.log(data.batch), np.log(data.sm / 30.0)
        self.graph_scalars = np.stack((batch, sm), axis=1)
        quota = np.log(data.quota / 45.0)
        self.queries = self._tensor(np.column_stack((scaled[data.model], batch, quota)))

    def _tensor(self, values: Vector) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def graphs(self, step: Step) -> Graphs:
        """Return the operator graphs of a step."""
        features = torch.hstack((self.nodes[step.node], step.graph_scalars[step.owner]))
        return Graphs(features, None, step.owner, len(step.graph_scalars), step.first)

    def steps(self, rows: Vector, groups: int, order: np.random.Generator | None) -> Step:
        """Return the steps of a pass over rows, ``groups`` graphs each at most, in the CPU's memory.

        ``order`` shuffles the graphs.
        """
        data = self.data
        key = (data.model[rows] * 16 + data.batch[rows]) * 128 + data.sm[rows]
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        turn = np.arange(len(first)) if order is None else order.permutation(len(first))
        model = data.model[rows[first[turn]]]
        length = self.lengths[model]
        capacity = max(int(1.1 * groups * length.mean()), int(length.max()))
        step, place = _filled(length, groups, capacity)
        count = int(step[-1]) + 1

        graph_scalars = np.zeros((count, groups + 1, 2))
        graph_scalars[step, place] = self.graph_scalars[rows[first[turn]]]
        owner_of_node = np.repeat(np.arange(len(turn)), length)
        within = np.arange(len(owner_of_node)) - np.repeat(np.cumsum(length) - length, length)
        node_step = step[owner_of_node]
        node_place = _places(node_step)
        node = np.full((count, capacity), self.starts[-1])
        node[node_step, node_place] = self.starts[model[owner_of_node]] + within
        owner = np.full((count, capacity), groups)
        owner[node_step, node_place] = place[owner_of_node]
        begins = np.ones((count, capacity), dtype=bool)
        begins[node_step, node_place] = within == 0

        position = np.empty(len(turn), dtype=int)
        position[turn] = np.arange(len(turn))
        graph_of_row = position[inverse]
        by_graph = np.argsort(graph_of_row, kind="stable")
        query_step = step[graph_of_row[by_graph]]
        query_place = _places(query_step)
        # Rows given twice would not fit a step of the usual size.
        width = max(QUOTAS * groups, int(query_place.max()) + 1)
        which = np.full((count, width), groups)
        which[query_step, query_place] = place[graph_of_row[by_graph]]
        row, counts = np.zeros((count, width), dtype=int), np.zeros((count, width))
        row[query_step, query_place] = by_graph
        counts[query_step, query_place] = 1.0
        return Step(
            torch.from_numpy(node),
            torch.from_numpy(owner),
            torch.from_numpy(begins),
            torch.from_numpy(graph_scalars.astype(np.float32)),
            torch.from_numpy(which),
            torch.from_numpy(row),
            torch.from_numpy(counts.astype(np.float32)),
        )


def _filled(length: Vector, groups: int, capacity: int) -> tuple[Vector, Vector]:
    """Return for each graph its step and its place there: as many as fit, in their order."""
    step, place = np.empty(len(length), dtype=int), np.empty(len(length), dtype=int)
    at, held, nodes = 0, 0, 0
    for index, more in enumerate(length.tolist()):
        if held == groups or nodes + more > capacity:
            at, held, nodes = at + 1, 0, 0
        step[index], place[index] = at, held
        held, nodes = held + 1, nodes + more
    return step, place


def _places(step: Vector) -> Vector:
    """Return each element's place within its step; steps ascend."""
    begin: Vector = np.searchsorted(step, np.arange(step[-1] + 1))
    place: Vector = np.arange(len(step)) - begin[step]
    return place
