"""What ``h200_quota_dataset.py`` measures: catalogue networks on the GPU, or pretended ones."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, Protocol

Request = Callable[[], None]


class Workload(Protocol):
    """Networks that can be asked one request at a time."""

    def build(self, name: str, dtypes: list[str]) -> None:
        """Put a network on the GPU, once for each way of computing."""
        ...

    def request(self, name: str, mode: str, batch: int, label: str = "") -> Request:
        """Return a function that runs one request to its end.

        A graph is captured when it is first asked for, once for each label.
        """
        ...

    def about(self) -> dict[str, Any]:
        """Return the GPU and its software."""
        ...


class TorchWorkload:
    """The real ones; what is captured runs where the library puts it."""

    def __init__(self) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.set_num_threads(1)
        self._modules: dict[tuple[str, str], Any] = {}
        self._requests: dict[tuple[str, str, int, str], Request] = {}

    def build(self, name: str, dtypes: list[str]) -> None:
        """Put a network on the GPU, once for each way of computing."""
        import torch

        from kserve_has.profiler.networks import network

        torch.manual_seed(0)
        with torch.device("cuda"):  # random weights come much faster from the GPU
            module = network(name).build().eval()
        for dtype in dtypes:
            own = copy.deepcopy(module) if dtype != dtypes[-1] else module
            self._modules[name, dtype] = own.to(_dtype(dtype))

    def request(self, name: str, mode: str, batch: int, label: str = "") -> Request:
        """Return a function that runs one request to its end."""
        key = name, mode, batch, label
        if key not in self._requests:
            make = self._eager if mode == "eager" else self._graph
            self._requests[key] = make(name, batch)
        return self._requests[key]

    def _warmed(self, name: str, batch: int, dtype: str) -> tuple[Any, Any, Any]:
        import torch

        from kserve_has.profiler.networks import network

        inputs = network(name).inputs(batch, "cuda", _dtype(dtype))
        stream, module = torch.cuda.Stream(), self._modules[name, dtype]
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):
                module(inputs)
        stream.synchronize()
        return module, inputs, stream

    def _eager(self, name: str, batch: int) -> Request:
        import torch

        module, inputs, stream = self._warmed(name, batch, "fp32")

        def eager() -> None:
            with torch.inference_mode(), torch.cuda.stream(stream):
                module(inputs)
            stream.synchronize()

        return eager

    def _graph(self, name: str, batch: int) -> Request:
        import torch

        module, inputs, stream = self._warmed(name, batch, "bf16")
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, stream=stream):
            module(inputs)

        # The graph reads its inputs where they are: they must stay there as long as it does.
        def replay(_kept: Any = inputs) -> None:
            with torch.cuda.stream(stream):
                graph.replay()
            stream.synchronize()

        return replay

    def about(self) -> dict[str, Any]:
        """Return the GPU and its software."""
        from benchmarks.gpu.measuring import gpu_card

        return gpu_card()


def _dtype(name: str) -> Any:
    import torch

    return torch.bfloat16 if name == "bf16" else torch.float32


class PretendWorkload:
    """For a dry run: every request sleeps a few milliseconds."""

    def build(self, name: str, dtypes: list[str]) -> None:
        """Keep nothing."""

    def request(self, name: str, mode: str, batch: int, label: str = "") -> Request:
        """Return a sleep; a graph's is shorter."""
        del name, label
        seconds = 1e-4 * (1 + batch) * (1 if mode == "graph" else 4)
        return lambda: time.sleep(seconds)

    def about(self) -> dict[str, Any]:
        """Say that nothing was measured."""
        return {"gpu": "none (dry run)"}
