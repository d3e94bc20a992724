"""The feeder's loop: whatever changes in the cluster is in Envoy's files milliseconds later."""

from __future__ import annotations

import asyncio
import logging

from kserve_has import contract
from kserve_has.config.gateway import GatewaySettings
from kserve_has.kube import Informer, KubeClient
from kserve_has.kube.resources import INFERENCE_SERVICES, PODS

from .endpoints import routes
from .files import XdsFiles

log = logging.getLogger(__name__)


async def feed(client: KubeClient, files: XdsFiles, settings: GatewaySettings) -> None:
    """Keep Envoy's files in line with the cluster until cancelled."""
    changed = asyncio.Event()

    async def notice(*_: object) -> None:
        changed.set()

    isvcs = Informer(client, INFERENCE_SERVICES, on_event=notice)
    pods = Informer(client, PODS, label_selector=contract.KSERVE_ISVC_LABEL, on_event=notice)
    async with asyncio.TaskGroup() as group:
        group.create_task(isvcs.run())
        group.create_task(pods.run())
        # Half a picture would take away endpoints that a former process had written.
        await isvcs.synced()
        await pods.synced()
        started = False
        while True:
            changed.clear()
            found = routes(isvcs.objects.values(), pods.objects.values(), settings)
            written = files.write(found)
            if not started:
                files.write_bootstrap()
                started = True
            if written:
                log.info("wrote %d files for %d services", written, len(found))
            await changed.wait()
