"""The HTTPS server that the API server calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from prometheus_client import generate_latest

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings

from .metrics import WebhookMetrics
from .review import (
    Decide,
    MalformedReview,
    mutate_inference_service,
    mutate_pod,
    read_request,
    respond,
    validate_inference_service,
)

# An object in etcd takes at most 1.5 MiB; an update carries it twice, JSON somewhat larger.
MAX_BODY_BYTES: Final = 8 * 2**20
WEBHOOKS: Final[Mapping[str, Decide]] = {
    contract.WEBHOOK_PATH_ISVC_MUTATE: mutate_inference_service,
    contract.WEBHOOK_PATH_ISVC_VALIDATE: validate_inference_service,
    contract.WEBHOOK_PATH_POD_MUTATE: mutate_pod,
}
_log = logging.getLogger("kserve-has-webhook")


class WebhookServer:
    """Answers admission reviews, ``/livez``, ``/healthz`` and ``/metrics``.

    Attributes:
        trusted: whether the API server can reach us through our registrations; ``/healthz``
            answers 503 until then, ``/livez`` never does.

    """

    def __init__(self, settings: WebhookSettings, metrics: WebhookMetrics) -> None:
        self.trusted = False
        self._settings = settings
        self._metrics = metrics

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for path in WEBHOOKS:
            app.router.add_post(path, self._admit)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics_page)
        return app

    async def _admit(self, http: web.Request) -> web.Response:
        body = await http.read()
        began = time.perf_counter()
        name = http.path.strip("/")
        try:
            request = read_request(body)
            answer = WEBHOOKS[http.path](request, self._settings)
        except MalformedReview as error:
            self._metrics.reviews.labels(name, "failed").inc()
            return web.Response(status=400, text=str(error))
        except Exception:
            self._metrics.reviews.labels(name, "failed").inc()
            _log.exception("%s: the review could not be answered", name)
            raise
        response = web.json_response(respond(request["uid"], answer))
        self._metrics.reviews.labels(name, answer.outcome).inc()
        self._metrics.latency.labels(name).observe(time.perf_counter() - began)
        if answer.problems:
            where = f"{request.get('namespace', '')}/{request.get('name', '')}"
            _log.info("%s: refused %s: %s", name, where, "; ".join(answer.problems))
        return response

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _healthz(self, _: web.Request) -> web.Response:
        if not self.trusted:
            reason = "the registrations do not exist yet or lack our certificate authority"
            return web.Response(status=503, text=reason)
        return web.Response(text="ok")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        page = generate_latest(self._metrics.registry)
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4"})
