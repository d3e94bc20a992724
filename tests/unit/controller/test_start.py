import pytest

from autoscaler.__main__ import main, read_settings
from autoscaler.controller.metrics import Metrics
from autoscaler.controller.observe import Objects, observe
from autoscaler.controller.report import Done, Outcome
from autoscaler.policy.observation import Traffic
from autoscaler.policy.plan import Because, Hold, Reason, SetScale
from kserve_has.config.controller import ControllerSettings
from kserve_has.config.policy import PolicySettings
from kserve_has.errors import SettingsError


def test_settings_come_in_two_sections(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("controller: {tick_s: 0.5}\npolicy: {min_quota: 30}\n")
    controller, policy = read_settings(path)
    assert (controller.tick_s, policy.min_quota) == (0.5, 30)


@pytest.mark.parametrize("text", ["", "{}", "controller:\npolicy:\n"])
def test_an_empty_file_means_the_defaults(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert read_settings(path) == (ControllerSettings(), PolicySettings())
    assert read_settings(None) == (ControllerSettings(), PolicySettings())


def test_everything_wrong_in_any_section_is_told_at_once(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("controller: {tick_s: 99}\npolicy: {quota: 1}\nother: {}\n")
    with pytest.raises(SettingsError) as told:
        read_settings(path)
    for problem in ("tick_s: 99", "quota: no such setting", "other: no such section"):
        assert problem in str(told.value)


def test_wrong_settings_end_the_process_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text("- 1\n")
    assert main(["--prometheus-url", "http://127.0.0.1:1", "--config", str(path)]) == 1
    assert "expected a mapping" in capsys.readouterr().err


def seen(make, *names):
    isvcs = [make.isvc(name) for name in names]
    pods = [make.pod("p", make.notes(make.piece(0x00FF, 50), 1), ready=True)]
    deployments = [make.deployment(name, 2) for name in names]
    objects = Objects(isvcs, deployments, pods, [])
    traffic = Traffic(0.5, ((1.0, 5.0), (0.0, 7.0)), 3.0, 81.0, 7.0, 0.1)
    return observe(objects, lambda *_: traffic, ControllerSettings(), 0.0, 2e9).observation.services


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"kserve_has_{name}", labels)


def test_metrics_show_what_was_seen_of_each_service(make):
    metrics = Metrics()
    metrics.saw(seen(make, "shop"))
    of_shop = {"service": "default/shop"}
    assert value(metrics, "arrivals_rps", **of_shop) == 7.0
    assert value(metrics, "in_flight", **of_shop) == 3.0
    assert value(metrics, "latency_ms", **of_shop) == 81.0
    assert value(metrics, "late_share", **of_shop) == 0.1
    assert value(metrics, "objective_latency_ms", **of_shop) == 100.0
    assert value(metrics, "desired_area", **of_shop) == 64 * 50
    assert value(metrics, "desired_replicas", **of_shop) == 2
    assert value(metrics, "replicas", phase="ready", **of_shop) == 1
    assert value(metrics, "replicas", phase="gated", **of_shop) == 0


def test_the_series_of_a_service_that_is_gone_disappear(make):
    metrics = Metrics()
    metrics.saw(seen(make, "shop", "cart"))
    metrics.saw(seen(make, "cart"))
    assert b'service="default/shop"' not in metrics.text()
    assert b'service="default/cart"' in metrics.text()


def test_actions_are_counted_by_kind_reason_and_outcome_and_holds_are_not():
    metrics = Metrics()
    why = Because(Reason.BACKLOG)
    metrics.did([Done(SetScale("s", 2, (), why), Outcome.APPLIED)])
    metrics.did([Done(Hold("s", why), Outcome.HELD)])
    labels = {"reason": "Backlog", "outcome": "applied"}
    assert value(metrics, "actions_total", kind="scale", **labels) == 1
    assert b'kind="hold"' not in metrics.text()
