"""The demo on the full stack: real control plane, real KServe, real processes."""

import json
import signal
from html import unescape

import pytest

from kserve_has.demo.live import FINAL_COLUMNS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]

STEP = "t_s,rps\n0,6\n14,20\n26,5\n40,5\n"


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory):
    load = tmp_path_factory.mktemp("load") / "step.csv"
    load.write_text(STEP)
    run = demo("--seconds", "40", "--load", str(load), "--set", "lead_in_s=5")
    run.status = run.wait(240)
    return run


def test_the_stack_worked_and_says_so(finished):
    assert finished.status == 0, finished.printed()
    summary = finished.summary()
    assert (summary["stack_worked"], summary["problems"]) == (True, [])


def test_a_step_in_the_load_resizes_running_replicas(finished):
    rows = {row["service"]: row for row in finished.summary()["services"]}
    assert set(rows) == {"has-demo/bert", "has-demo/resnet50"}
    assert sum(row["resizes"] for row in rows.values()) >= 1
    reasons = {decision["reason"] for decision in finished.summary()["decisions"]}
    assert "DemandRose" in reasons


def test_no_request_fails(finished):
    for row in finished.summary()["services"]:
        assert row["offered"] > 250
        assert (row["failed"], row["answered"]) == (0, row["offered"])


def test_a_piece_costs_less_than_the_gpu_it_is_cut_from(finished):
    for row in finished.summary()["services"]:
        assert 0 < row["gpu_seconds"] < row["whole_gpu_seconds"]
        assert row["whole_gpu_seconds"] >= 39


def test_table_summary_and_report_agree_and_the_folder_comes_last(finished):
    printed, summary = finished.printed(), finished.summary()
    report = unescape((finished.out / "report.html").read_text())
    inside = report[report.index("<pre>") + 5 : report.index("</pre>")]
    assert json.loads(inside) == summary
    for row in summary["services"]:
        for value in (row["offered"], row["late"], row["resizes"], f"{row['gpu_seconds']:.1f}"):
            assert f"<td>{value}</td>" in report
            assert str(value) in printed
    assert all(f"<th>{column}</th>" in report for column in FINAL_COLUMNS)
    assert printed.splitlines()[-1] == str(finished.out)


def test_what_was_measured_is_there(finished):
    measured = finished.summary()["measured"]
    names = (
        "decision (ms)",
        "webhook admission (ms)",
        "annotation to in force, by the agents (ms)",
    )
    for name in names:
        assert measured[name]["count"] > 0
        assert measured[name]["p50"] is not None
    memory = measured["highest resident memory (MiB)"]
    assert all(memory[part] > 5 for part in ("autoscaler", "webhook", "gateway"))


def test_nothing_is_left_behind(finished):
    assert finished.left_behind() == []


def test_ctrl_c_stops_everything(demo):
    run = demo("--seconds", "60")
    run.wait_for("local stack:", 60)
    run.process.send_signal(signal.SIGINT)
    assert run.wait(40) == 130
    assert run.left_behind() == []
