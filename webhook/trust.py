"""Keeps the webhook trusted: its Secret, and its authority in its registrations."""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Sequence
from typing import Final

from kserve_has.config.webhook import WebhookSettings
from kserve_has.kube import ApiError, JsonObject, KubeClient, Resource
from kserve_has.kube.resources import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS

from .certificates import Certificates, renewed

SECRET_NAME: Final = "kserve-has-webhook-tls"
REGISTRATION_NAME: Final = "zz-kserve-has"
_KEYS: Final = ("ca.crt", "ca.key", "tls.crt", "tls.key")
_ATTEMPTS: Final = 5


async def hold_certificates(
    client: KubeClient,
    namespace: str,
    hosts: Sequence[str],
    settings: WebhookSettings,
    now: datetime.datetime,
) -> Certificates:
    """Return the certificates of the Secret, made or renewed there when that is due.

    Several replicas may do this at once: who comes second takes what the first has written.

    Raises:
        ApiError: the API server refuses or is away.

    """
    for attempt in range(_ATTEMPTS):
        secret = await _read(client, namespace)
        held = _certificates(secret)
        wanted = renewed(held, hosts, settings, now)
        if held == wanted:
            return wanted
        try:
            await _write(client, namespace, secret, wanted)
        except ApiError as error:
            if error.status != 409 or attempt == _ATTEMPTS - 1:
                raise
        else:
            return wanted
    raise AssertionError("unreachable: the last attempt returns or raises")


async def trust_authority(client: KubeClient, authorities: bytes) -> bool:
    """Write the authorities into our registrations; return whether all of them exist.

    Raises:
        ApiError: the API server refuses or is away.

    """
    found = [
        await _trust(client, resource, base64.b64encode(authorities).decode())
        for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
    ]
    return all(found)


def bundle_patch(registration: JsonObject, bundle: str) -> list[JsonObject]:
    """Return the JSON patch that lets every webhook of a registration trust ``bundle``.

    Each step first tests the webhook's name, so that a list that changed meanwhile is not hit.
    """
    steps: list[JsonObject] = []
    for index, webhook in enumerate(registration.get("webhooks") or ()):
        if webhook["clientConfig"].get("caBundle") == bundle:
            continue
        path = f"/webhooks/{index}"
        steps.append({"op": "test", "path": f"{path}/name", "value": webhook["name"]})
        steps.append({"op": "add", "path": f"{path}/clientConfig/caBundle", "value": bundle})
    return steps


async def _trust(client: KubeClient, resource: Resource, bundle: str) -> bool:
    try:
        registration = await client.get(resource, REGISTRATION_NAME)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    patch = bundle_patch(registration, bundle)
    if patch:
        await client.patch(resource, REGISTRATION_NAME, patch, kind="json")
    return True


async def _read(client: KubeClient, namespace: str) -> JsonObject | None:
    try:
        return await client.get(SECRETS, SECRET_NAME, namespace)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _certificates(secret: JsonObject | None) -> Certificates | None:
    data = (secret or {}).get("data") or {}
    if any(key not in data for key in _KEYS):
        return None
    try:
        return Certificates(*(base64.b64decode(data[key], validate=True) for key in _KEYS))
    except binascii.Error:
        return None


async def _write(
    client: KubeClient, namespace: str, old: JsonObject | None, held: Certificates
) -> None:
    content = (held.authorities, held.authority_key, held.leaf, held.leaf_key)
    data = {key: base64.b64encode(pem).decode() for key, pem in zip(_KEYS, content, strict=True)}
    if old is None:
        metadata = {"name": SECRET_NAME, "namespace": namespace}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        await client.create(SECRETS, {**secret, "type": "kubernetes.io/tls"}, namespace)
    else:
        # The resourceVersion that was read makes a second writer fail instead of overwrite.
        await client.replace(SECRETS, {**old, "data": data})
