"""What ``h200_quota_dataset.py`` measures: a catalogue network on the GPU, or a pretended one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, Protocol

Request = Callable[[], None]


class Workload(Protocol):
    """A network that can be asked one request at a time."""

    def build(self, name: str, dtype: str) -> None:
        """Put a network on the GPU in place of the one before."""
        ...

    def prepare(self, batch: int, mode: str) -> Request:
        """Return a function that runs one request to its end on the partition now in force."""
        ...

    def touch(self) -> None:
        """Launch something small: new limits may wait for a launch."""
        ...

    def about(self) -> dict[str, Any]:
        """Return the GPU and its software."""
        ...


class TorchWorkload:
    """The real one; the partition in force when a graph is captured is the one it runs on."""

    def build(self, name: str, dtype: str) -> None:
        """Put a network on the GPU in place of the one before."""
        import torch

        from kserve_has.profiler.networks import network

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.module: Any = None
        self.request: Request | None = None
        gc.collect()
        torch.cuda.empty_cache()
        self.dtype = torch.bfloat16 if dtype == "bf16" else torch.float32
        self.known = network(name)
        torch.manual_seed(0)
        with torch.device("cuda"):  # random weights come much faster from the GPU
            self.module = self.known.build().eval().to(self.dtype)

    def prepare(self, batch: int, mode: str) -> Request:
        """Return a function that runs one request to its end on the partition now in force."""
        import torch

        inputs = self.known.inputs(batch, "cuda", self.dtype)
        stream = torch.cuda.Stream()
        module = self.module
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):
                module(inputs)
        stream.synchronize()
        if mode == "eager":

            def eager() -> None:
                with torch.inference_mode(), torch.cuda.stream(stream):
                    module(inputs)
                stream.synchronize()

            return eager
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, stream=stream):
            module(inputs)

        def replay() -> None:
            with torch.cuda.stream(stream):
                graph.replay()
            stream.synchronize()

        return replay

    def touch(self) -> None:
        """Launch something small: new limits may wait for a launch."""
        import torch

        torch.ones(1024, device="cuda").add_(1.0)
        torch.cuda.synchronize()

    def about(self) -> dict[str, Any]:
        """Return the GPU and its software."""
        from benchmarks.gpu.measuring import gpu_card

        return gpu_card()


class PretendWorkload:
    """For a dry run: every request sleeps a few milliseconds."""

    def build(self, name: str, dtype: str) -> None:
        """Remember nothing but the dtype."""
        del name
        self.slow = 2.0 if dtype == "fp32" else 1.0

    def prepare(self, batch: int, mode: str) -> Request:
        """Return a sleep; a graph's is shorter."""
        seconds = 1e-4 * self.slow * (1 + batch) * (1 if mode == "graph" else 2)
        return lambda: time.sleep(seconds)

    def touch(self) -> None:
        """Do nothing."""

    def about(self) -> dict[str, Any]:
        """Say that nothing was measured."""
        return {"gpu": "none (dry run)"}
