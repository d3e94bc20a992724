"""RaPP as published (HAS-GPU, arXiv 2505.01968): attention over operators and an MLP over the graph.

Operators carry 38 features: 16 of their kind (one-hot), 12 attributes of a convolution, the 4
sizes of their weights and 6 measured times at 5 to 100 % of the SMs; batch and SM share are
appended. Graphs carry 10: batch of the trace, multiply-adds, three operator counts and 5 measured
latencies at quota 20 to 100 %; batch and quota are appended. The published network has width 512
and 3 052 033 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

NODE_FEATURES = 40
GRAPH_FEATURES = 12
ATTENTION_LAYERS = 4


@dataclass(frozen=True)
class Graphs:
    """Several operator graphs as one, without edges between them.

    Attributes:
        nodes: features of every operator, (nodes, 40).
        edges: pairs (from, to) of operator indices, (2, edges); None: every graph is a chain, as
            all published ones are, in which each operator reads the one before it.
        owner: graph of each operator, ascending, (nodes,).
        count: number of graphs.
        first: of chains, whether an operator has none before it, (nodes,).

    """

    nodes: torch.Tensor
    edges: torch.Tensor | None
    owner: torch.Tensor
    count: int
    first: torch.Tensor | None = None


class GraphAttention(nn.Module):
    """One-headed graph attention with self-loops (Velickovic et al., 2018)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, outputs, bias=False)
        self.from_score = nn.Parameter(torch.empty(outputs))
        self.to_score = nn.Parameter(torch.empty(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.normal_(self.from_score, std=outputs**-0.5)
        nn.init.normal_(self.to_score, std=outputs**-0.5)

    def forward(
        self, nodes: torch.Tensor, edges: torch.Tensor | None, first: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return new features (nodes, outputs); ``edges`` must include the self-loops.

        Without edges the graphs are chains and ``first`` says where each begins.
        """
        if edges is None:
            assert first is not None
            return self._chain(nodes, first)
        sender, receiver = edges
        projected = self.project(nodes)
        score = functional.leaky_relu(
            (projected @ self.from_score)[sender] + (projected @ self.to_score)[receiver], 0.2
        )
        # Softmax over the edges into each node; subtracting each node's own largest score keeps
        # a node's answer apart from other graphs in the step.
        most = score.new_full((len(nodes),), -torch.inf).scatter_reduce(0, receiver, score, "amax")
        weight = (score - most.detach()[receiver]).exp()
        total = score.new_zeros(len(nodes)).index_add(0, receiver, weight)
        share = weight / total[receiver]
        mixed = torch.zeros_like(projected).index_add(
            0, receiver, share[:, None] * projected[sender]
        )
        return mixed + self.bias

    def _chain(self, nodes: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        # Two scores a node, its own and its predecessor's: their softmax is a logistic function.
        projected = self.project(nodes)
        to = projected @ self.to_score
        own_from = projected @ self.from_score
        own = functional.leaky_relu(own_from + to, 0.2)
        before = functional.leaky_relu(own_from.roll(1) + to, 0.2)
        share = torch.sigmoid(before - own).masked_fill(first, 0.0)
        return torch.lerp(projected, projected.roll(1, 0), share[:, None]) + self.bias


class Rapp(nn.Module):
    """The published network; ``width`` smaller than 512 is for machines without time.

    Dropout disturbs a narrow head by tens of per cent and is left out there.
    """

    def __init__(self, width: int = 512, dropout: float = 0.05) -> None:
        super().__init__()
        self.width = width
        sizes = [NODE_FEATURES, *[width] * ATTENTION_LAYERS]
        self.attention = nn.ModuleList(GraphAttention(a, b) for a, b in pairwise(sizes))
        self.graph = _mlp([GRAPH_FEATURES, *[width] * 4], dropout=0.0)
        self.head = _mlp([2 * width, *[width] * 4, width // 2], dropout)
        self.out = nn.Linear(width // 2, 1)

    def embed(self, graphs: Graphs) -> torch.Tensor:
        """Return one vector a graph, the mean over its operators, (graphs, width)."""
        x, edges = graphs.nodes, graphs.edges
        if edges is not None:
            loops = torch.arange(len(x), device=x.device).expand(2, -1)
            edges = torch.cat((edges, loops), dim=1)
        for index, layer in enumerate(self.attention):
            x = layer(x if index == 0 else x.relu(), edges, graphs.first)
        # A product with the owners' one-hot: adding rows one by one is slow, and differs by run.
        owners = x.new_zeros(graphs.count, len(x)).scatter_(0, graphs.owner[None], 1.0)
        return (owners @ x) / owners.sum(dim=1, keepdim=True).clamp(min=1.0)

    def forward(self, embedded: torch.Tensor, graph_features: torch.Tensor) -> torch.Tensor:
        """Return positive latencies of queries: embedding and graph features, one a row."""
        both = torch.cat((embedded, self.graph(graph_features)), dim=1)
        return functional.softplus(self.out(self.head(both)))[:, 0]


def _mlp(sizes: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
