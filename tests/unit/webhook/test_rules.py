"""The alerts ask for series that the agent exports, and the operator's page answers each."""

import re
from pathlib import Path

import yaml

from kserve_has.config.agent import AgentSettings
from quota_runtime.agent.trouble import KINDS
from quota_runtime.exposition import COUNTERS, GAUGES

from .test_dashboard import _SUFFIX, exported

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/operate.md").read_text()
RULE = yaml.safe_load((ROOT / "manifests/components/prometheus/rules.yaml").read_text())
ALERTS = [rule for group in RULE["spec"]["groups"] for rule in group["rules"]]


def test_every_series_of_an_alert_is_exported():
    names = {name for rule in ALERTS for name in re.findall(r"\bkserve_has_\w+", rule["expr"])}
    known = {name.removesuffix("_total") for name in exported()}
    assert set() == {_SUFFIX.sub("", name) for name in names} - known
    assert len(names) > 6


def test_every_alert_and_every_event_has_its_paragraph():
    headings = set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))
    missing = {rule["alert"] for rule in ALERTS} | set(KINDS)
    for heading in headings:
        missing -= set(re.findall(r"\w+", heading))
    assert set() == missing


def test_alert_and_event_warn_of_ungated_launches_from_the_same_share_on():
    (expression,) = [r["expr"] for r in ALERTS if r["alert"] == "KserveHasUngatedLaunches"]
    assert expression.endswith(f"> {AgentSettings().ungated_warning_ratio}")


def test_every_metric_of_the_agent_is_explained():
    text = (ROOT / "quota_runtime/agent/metrics.py").read_text()
    names = set(re.findall(r'^ {4,8}"([a-z_]+)": \($', text, re.MULTILINE))
    names |= {name for name, _, _ in (*COUNTERS.values(), *GAUGES.values())}
    missing = {name for name in names if f"`{name}`" not in PAGE}
    assert set() == missing
    assert len(names) > 15
