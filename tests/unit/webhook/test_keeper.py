import asyncio
import datetime
import ssl

import pytest

from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import ClusterError
from webhook import keeper as module
from webhook.certificates import leaf_expiry, renewed
from webhook.keeper import Keeper, MountedCertificates
from webhook.metrics import WebhookMetrics
from webhook.server import WebhookServer

SETTINGS = WebhookSettings()


@pytest.fixture
def context():
    return ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)


class Script:
    """A refresh that answers what it was told to, then waits for ever."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.finished = asyncio.Event()

    async def refresh(self, context, metrics):
        if not self._answers:
            self.finished.set()
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def keep(script, context, monkeypatch):
    """Run a keeper through its script; return it with its server and metrics."""
    monkeypatch.setattr(module, "_IMPATIENT_S", 0)
    metrics = WebhookMetrics()
    server = WebhookServer(SETTINGS, metrics)
    keeper = Keeper(script.refresh, context, server, metrics, 0)
    task = asyncio.create_task(keeper.run())
    async with asyncio.timeout(5):
        await script.finished.wait()
    task.cancel()
    return keeper, server, metrics


async def test_a_failure_at_the_start_is_tried_again(context, monkeypatch):
    script = Script(ClusterError("away"), True)
    keeper, server, metrics = await keep(script, context, monkeypatch)
    assert keeper.loaded.is_set()
    assert server.trusted
    assert 1.0 == metrics.registry.get_sample_value("kserve_has_webhook_trusted")


async def test_nothing_is_served_before_there_is_a_certificate(context, monkeypatch):
    script = Script(ClusterError("away"))
    keeper, server, _ = await keep(script, context, monkeypatch)
    assert not keeper.loaded.is_set()
    assert not server.trusted


async def test_a_later_failure_leaves_trust_as_it_was(context, monkeypatch):
    script = Script(True, ClusterError("away"))
    _, server, _ = await keep(script, context, monkeypatch)
    assert server.trusted


async def test_registrations_that_went_away_are_noticed(context, monkeypatch):
    _, server, metrics = await keep(Script(True, False), context, monkeypatch)
    assert not server.trusted
    assert 0.0 == metrics.registry.get_sample_value("kserve_has_webhook_trusted")


async def test_a_programming_error_ends_the_keeper(context):
    metrics = WebhookMetrics()
    script = Script(RuntimeError("bug"))
    server = WebhookServer(SETTINGS, metrics)
    with pytest.raises(RuntimeError, match="bug"):
        await Keeper(script.refresh, context, server, metrics, 0).run()


async def test_a_mounted_certificate_is_served_and_its_end_is_shown(tmp_path, context):
    now = datetime.datetime.now(datetime.UTC)
    held = renewed(None, ("localhost",), SETTINGS, now)
    (tmp_path / "tls.crt").write_bytes(held.leaf)
    (tmp_path / "tls.key").write_bytes(held.leaf_key)
    metrics = WebhookMetrics()
    assert await MountedCertificates(tmp_path).refresh(context, metrics)
    name = "kserve_has_webhook_certificate_expiry_timestamp_seconds"
    assert leaf_expiry(held).timestamp() == metrics.registry.get_sample_value(name)
