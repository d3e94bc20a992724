"""Leader election by a Lease: at most one controller writes, another follows within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kserve_has import contract
from kserve_has.config.controller import ControllerSettings
from kserve_has.kube import ApiError, JsonObject, KubeClient
from kserve_has.kube.resources import LEASES

log = logging.getLogger(__name__)


class Leadership:
    """Holds, or waits for, the Lease.

    Clocks of two machines are never compared: a foreign lease has run out when *we* have not
    seen it change for its duration. Our own counts from before the request that renewed it, so
    we stop before anybody else may start.
    """

    def __init__(
        self,
        client: KubeClient,
        identity: str,
        settings: ControllerSettings,
        *,
        namespace: str = contract.NAMESPACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._identity = identity
        self._settings = settings
        self._namespace = namespace
        self._clock = clock
        self._until = 0.0
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0

    def held(self) -> bool:
        """Whether we may write now."""
        return self._clock() < self._until

    async def run(self) -> None:
        """Take the lease when it is free and renew it, until cancelled."""
        while True:
            was = self.held()
            try:
                # An answer that takes longer would come too late for the next attempts.
                async with asyncio.timeout(self._settings.lease_duration_s / 4):
                    await self.attempt()
            except (ApiError, TimeoutError) as error:
                log.warning("lease: %s", error or "no answer in time")
            if self.held() != was:
                log.info("%s is %s", self._identity, "leading" if self.held() else "following")
            await asyncio.sleep(self._settings.lease_renew_s)

    async def attempt(self) -> bool:
        """Try once to take or renew; return whether we lead.

        Raises:
            ApiError: the API server did not answer as expected; a lost race is no error.

        """
        began = self._clock()
        try:
            lease = await self._client.get(LEASES, contract.LEASE_NAME, self._namespace)
        except ApiError as error:
            if error.status != 404:
                raise
            return await self._write(began, None)
        spec = lease["spec"]
        ours = spec.get("holderIdentity") == self._identity
        if ours or self._free(spec, began):
            return await self._write(began, lease)
        self._until = 0.0
        return False

    async def release(self) -> None:
        """Give the lease up, so that the next one need not wait for it to run out."""
        if not self.held():
            return
        self._until = 0.0
        with contextlib.suppress(ApiError):
            lease = await self._client.get(LEASES, contract.LEASE_NAME, self._namespace)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(LEASES, lease)

    def _free(self, spec: JsonObject, now: float) -> bool:
        if not spec.get("holderIdentity"):
            return True
        seen = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = float(spec.get("leaseDurationSeconds") or self._settings.lease_duration_s)
        return now - self._seen_at > duration

    async def _write(self, began: float, lease: JsonObject | None) -> bool:
        try:
            if lease is None:
                await self._client.create(LEASES, self._body({}), self._namespace)
            else:
                spec = self._body(lease["spec"])["spec"]
                await self._client.replace(LEASES, {**lease, "spec": spec})
        except ApiError as error:
            if error.status != 409:
                raise
            self._until = 0.0  # somebody else was faster
            return False
        # A tenth less: this process may be paused between the check and the write it allows.
        self._until = began + 0.9 * self._settings.lease_duration_s
        return True

    def _body(self, former: JsonObject) -> JsonObject:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        ours = former.get("holderIdentity") == self._identity
        transitions = int(former.get("leaseTransitions") or 0)
        return {
            "apiVersion": LEASES.api,
            "kind": "Lease",
            "metadata": {"name": contract.LEASE_NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._settings.lease_duration_s,
                "acquireTime": former.get("acquireTime", now) if ours else now,
                "renewTime": now,
                "leaseTransitions": transitions if ours else transitions + 1,
            },
        }
