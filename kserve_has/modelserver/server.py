"""KServe's own model server around a network: v1 and v2 protocol, one worker, no gRPC."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kserve
from kserve.errors import InvalidInput
from kserve.model_server import ModelServer

from .network import Network


class LabellingModel(kserve.Model):  # type: ignore[misc]
    """A KServe model whose predictions are labels.

    Each request is one batch: v1 ``instances``, or v2 the first input's leading dimension. The
    network runs on a thread of its own, so that probes are answered while it works.
    """

    def __init__(self, name: str, network: Network, concurrency: int) -> None:
        super().__init__(name)
        self._network = network
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="network")
        self.ready = True

    async def predict(
        self,
        payload: dict[str, Any] | kserve.InferRequest,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's signature
        response_headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> dict[str, Any] | kserve.InferResponse:
        """Return a label for each instance; InvalidInput (400) when there is none."""
        payloads = instances_of(payload)
        loop = asyncio.get_running_loop()
        labels = await loop.run_in_executor(self._threads, self._network.label, payloads)
        if isinstance(payload, kserve.InferRequest):
            output = kserve.InferOutput("labels", [len(labels)], "INT64", data=labels)
            return kserve.InferResponse(payload.id, self.name, [output])
        return {"predictions": labels}


def instances_of(payload: dict[str, Any] | kserve.InferRequest) -> list[Any]:
    """Return the instances of a v1 or v2 request.

    Raises:
        InvalidInput: there is not at least one instance.
    """
    if isinstance(payload, kserve.InferRequest):
        tensor = payload.inputs[0] if payload.inputs else None
        if tensor is None or not tensor.shape or tensor.shape[0] < 1:
            raise InvalidInput("expected one input tensor with a leading batch dimension >= 1")
        rows = tensor.as_numpy().reshape(tensor.shape[0], -1)
        return list(rows.tolist())
    instances = payload.get("instances")
    if not isinstance(instances, list) or not instances:
        raise InvalidInput('expected {"instances": [...]} with at least one instance')
    return instances


class BoundModelServer(ModelServer):  # type: ignore[misc]
    """KServe's server on an address of one's choice; KServe always binds to all addresses."""

    def __init__(self, host: str, http_port: int) -> None:
        super().__init__(
            http_port=http_port,
            enable_grpc=False,
            enable_latency_logging=False,
            workers=1,
            grace_period=20,
        )
        self._host = host

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False
        await super()._serve()
