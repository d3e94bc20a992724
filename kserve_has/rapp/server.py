"""The latency model over HTTP: ``POST /v1/predict``, ``GET /v1/models``, ``GET /healthz``."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from .profiled import ProfiledLatency
from .query import QueryError, answer

LARGEST_BODY_BYTES: Final = 2 * 2**20
MODEL: Final = web.AppKey("latency", ProfiledLatency)


def application(model: ProfiledLatency) -> web.Application:
    """Return the application that answers from one latency model."""
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    app[MODEL] = model
    app.add_routes(
        [
            web.post("/v1/predict", _predict),
            web.get("/v1/models", _models),
            web.get("/healthz", _healthy),
        ]
    )
    return app


async def _predict(request: web.Request) -> web.Response:
    model = request.app[MODEL]
    try:
        document = json.loads(await request.read())
    except ValueError as error:
        return _refused(model, [f"the body is no JSON: {error}"])
    try:
        return web.json_response({"predictions": answer(model, document)})
    except QueryError as error:
        return _refused(model, error.problems)


def _refused(model: ProfiledLatency, problems: list[str] | tuple[str, ...]) -> web.Response:
    return web.json_response({"problems": list(problems), "known": _known(model)}, status=400)


async def _models(request: web.Request) -> web.Response:
    return web.json_response({"models": _known(request.app[MODEL])})


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _known(model: ProfiledLatency) -> list[dict[str, object]]:
    return [
        {"model": name, "gpu": gpu, "sm_count": model.served(name, gpu).sm_count}
        for name, gpu in model.known
    ]
