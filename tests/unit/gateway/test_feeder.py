import asyncio
import contextlib
import json

import pytest

from autoscaler.gateway import __main__ as program
from autoscaler.gateway.feeder import feed
from autoscaler.gateway.files import XdsFiles
from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings
from kserve_has.kube.resources import INFERENCE_SERVICES, PODS

SETTINGS = GatewaySettings()
SERVICE = {
    "metadata": {
        "name": "shop",
        "namespace": "default",
        "uid": "1",
        "resourceVersion": "1",
        "annotations": {contract.OBJECTIVE_LATENCY: "100ms"},
    },
    "spec": {"predictor": {}},
}


class Api:
    """An API server that keeps one list back until it is reachable."""

    def __init__(self, kept_back):
        self.reachable = asyncio.Event()
        self._kept_back = kept_back

    async def list(self, resource, *_, **__):
        if resource == self._kept_back:
            await self.reachable.wait()
        return ([SERVICE] if resource == INFERENCE_SERVICES else []), "1"

    async def watch(self, *_, **__):
        await asyncio.Event().wait()
        yield

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None


async def settle():
    for _ in range(50):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(work):
    task = asyncio.create_task(work)
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("late", [INFERENCE_SERVICES, PODS], ids=["services", "pods"])
async def test_envoy_starts_with_the_routes_of_the_cluster_and_never_before(tmp_path, late):
    api = Api(late)
    async with running(feed(api, XdsFiles(tmp_path, SETTINGS), SETTINGS)):
        await settle()
        assert [path.name for path in tmp_path.iterdir()] == ["eds"]
        api.reachable.set()
        await settle()
        (table,) = json.loads((tmp_path / "rds.json").read_text())["resources"]
        assert [host["name"] for host in table["virtual_hosts"]] == ["shop.default"]
        assert (tmp_path / "bootstrap.yaml").exists()


@pytest.mark.parametrize("former", [False, True])
async def test_without_an_api_server_only_what_a_former_process_left_is_served(
    tmp_path, monkeypatch, former
):
    if former:
        XdsFiles(tmp_path, SETTINGS).write(())
    monkeypatch.setattr(program, "KubeClient", lambda *_, **__: Api(PODS))
    async with running(program._run(None, tmp_path, SETTINGS)):
        await settle()
        assert (tmp_path / "bootstrap.yaml").exists() == former
        assert (tmp_path / "rds.json").exists() == former
