"""The dashboard asks for series that somebody exports."""

import json
import re
from pathlib import Path

from autoscaler.controller.metrics import Metrics
from autoscaler.gateway.envoy_config import CLUSTER_STATS
from quota_runtime.exposition import COUNTERS, GAUGES, PREFIX
from webhook.metrics import WebhookMetrics

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "manifests/components/grafana/dashboard.json").read_text())
_SUFFIX = re.compile(r"_(total|bucket|count|sum)$")


def exported():
    for registry in (Metrics().registry, WebhookMetrics().registry):
        yield from (family.name for family in registry.collect())
    yield from (PREFIX + name for name, _, _ in (*COUNTERS.values(), *GAUGES.values()))
    agent = (ROOT / "quota_runtime/agent/metrics.py").read_text()
    yield from (PREFIX + name for name in re.findall(r'"([a-z_]+)"', agent))
    yield from (f"envoy_cluster_{stat}" for stat in CLUSTER_STATS)
    # Envoy folds the classes of answers into one series with a label.
    yield "envoy_cluster_upstream_rq_xx"


def asked():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield from re.findall(r"\b(?:kserve_has|envoy_cluster_upstream)_\w+", target["expr"])


def test_every_series_of_the_dashboard_is_exported():
    known = set(exported())
    names = {_SUFFIX.sub("", name) for name in asked()}
    assert len(names) > 20
    assert set() == names - known


def test_panels_say_what_they_show_and_do_not_overlap():
    places = set()
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            assert panel["description"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places
        places |= cells
