"""The demo asks for series that the components export."""

from pathlib import Path

import pytest

from autoscaler.controller.metrics import Metrics
from kserve_has.demo import collect
from quota_runtime.exposition import PREFIX
from webhook.metrics import WebhookMetrics

AGENT = Path(__file__).parents[3] / "quota_runtime" / "agent" / "metrics.py"


def exported():
    for registry in (Metrics().registry, WebhookMetrics().registry):
        yield from (family.name for family in registry.collect())
    yield PREFIX + "agent_resize_seconds" if '"agent_resize_seconds"' in AGENT.read_text() else ""


@pytest.mark.parametrize(
    "name", [collect.DECISION, collect.TICK, collect.ADMISSION, collect.TO_IN_FORCE]
)
def test_what_the_report_reads_is_exported(name):
    assert name in set(exported())
