"""KServe's own model server around a network: v1 and v2 protocol, one worker, no gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final, Protocol
from uuid import uuid4

import kserve
from kserve.errors import InvalidInput
from kserve.model_server import ModelServer
from kserve.protocol.dataplane import DataPlane

from .network import Network

# A gateway hears by a watch that a pod leaves; on a busy machine that takes this long.
DRAIN_S: Final = 1.0


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
        payload: dict[str, Any] | bytes | kserve.InferRequest,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - KServe's signature
        response_headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> dict[str, Any] | kserve.InferResponse:
        """Return a label for each instance; InvalidInput (400) when there is none."""
        payloads = instances_of(payload)
        loop = asyncio.get_running_loop()
        labels = await loop.run_in_executor(self._threads, self._network.label, payloads)
        if isinstance(payload, kserve.InferRequest):
            output = kserve.InferOutput("labels", [len(labels)], "INT64", data=labels)
            return kserve.InferResponse(payload.id or uuid4().hex, self.name, [output])
        return {"predictions": labels}


def instances_of(payload: dict[str, Any] | bytes | kserve.InferRequest) -> list[Any]:
    """Return the instances of a v1 or v2 request.

    Raises:
        InvalidInput: there is not at least one instance, or KServe did not take it for JSON.
    """
    if isinstance(payload, kserve.InferRequest):
        tensor = payload.inputs[0] if payload.inputs else None
        if tensor is None or not tensor.shape or tensor.shape[0] < 1:
            raise InvalidInput("expected one input tensor with a leading batch dimension >= 1")
        rows = tensor.as_numpy().reshape(tensor.shape[0], -1)
        return list(rows.tolist())
    # Without the header KServe hands the body on as bytes.
    if not isinstance(payload, dict):
        raise InvalidInput("expected JSON; send it with Content-Type: application/json")
    instances = payload.get("instances")
    if not isinstance(instances, list) or not instances:
        raise InvalidInput('expected {"instances": [...]} with at least one instance')
    return instances


class Leaving(Protocol):
    """The part of uvicorn's server that hears signals."""

    handle_exit: Callable[[int, FrameType | None], None]


class DrainingDataPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane that can say "not ready" while it still answers predictions.

    Attributes:
        draining: True from SIGTERM on.
    """

    draining = False

    async def ready(self) -> bool:
        """Return whether the server takes new work; False while it drains."""
        return not self.draining and await super().ready()

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        """Return whether a model takes new work.

        KServe asks with the health check disabled before each prediction and with it enabled for
        probes: only the latter turn negative while draining.
        """
        if self.draining and not disable_predictor_health_check:
            return False
        return bool(await super().model_ready(model_name, disable_predictor_health_check))


class BoundModelServer(ModelServer):  # type: ignore[misc]
    """KServe's server on an address of one's choice, which leaves without losing a request.

    KServe always binds to all addresses and closes its socket the moment it gets SIGTERM, when
    gateways may still route to it. Here SIGTERM first turns readiness off; the socket closes
    ``DRAIN_S`` later, after which requests under way are finished. A second signal ends it sooner.
    """

    def __init__(self, host: str, http_port: int) -> None:
        super().__init__(
            http_port=http_port,
            enable_grpc=False,
            enable_latency_logging=False,
            workers=1,
            grace_period=20,
        )
        self.dataplane = DrainingDataPlane(model_registry=self.registered_models)
        self._host = host

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False
        # Two lines a request, besides the metrics that say the same.
        logging.getLogger("kserve.trace").setLevel(logging.WARNING)
        self._drain_on_signals(self._rest_server._server, asyncio.get_running_loop())
        await super()._serve()

    def _drain_on_signals(self, server: Leaving, loop: asyncio.AbstractEventLoop) -> None:
        leave = server.handle_exit

        def drain(number: int, frame: FrameType | None) -> None:
            if self.dataplane.draining:
                leave(number, frame)
                return
            self.dataplane.draining = True
            loop.call_soon_threadsafe(loop.call_later, DRAIN_S, leave, number, None)

        server.handle_exit = drain
