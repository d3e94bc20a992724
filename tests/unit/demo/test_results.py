import json
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from kserve_has.cli.fleet import Service
from kserve_has.config.demo import DemoSettings
from kserve_has.demo import results
from kserve_has.demo.chaos import Aftermath
from kserve_has.demo.live import final_rows
from kserve_has.demo.loads import plan_loads
from kserve_has.demo.run import Order, Raw
from kserve_has.demo.timeline import Timeline
from kserve_has.loadgen.plan import Outcome
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

SERVICE = Service("has-demo/resnet50", Slo(100.0), "resnet50", 8, True)
STEP = Trace((0.0,), (5.0,), 20.0)


@pytest.fixture
def raw(replica):
    timeline = Timeline()
    timeline.note(-1.0, replica())
    timeline.note(5.0, replica(quota_percent=80, epoch=2))
    timeline.note(5.1, replica(quota_percent=80, epoch=2, in_force_epoch=2))
    loads = plan_loads([(SERVICE, "resnet50")], STEP, 20.0, DemoSettings(lead_in_s=0), whole=True)
    outcomes = [Outcome(due, due, 20.0 + due, 200) for due in loads[0].due_s]
    return Raw(
        loads=loads,
        outcomes={SERVICE.name: outcomes},
        timeline=timeline,
        aftermath=[Aftermath(5.0, "pod", "model server x", {SERVICE.name: 1.5}, True, 0, 0, 0)],
        measured={"decision (ms)": {"p50": 1.25, "p99": None, "count": 3}},
        decisions=[
            {
                "at": "t",
                "service": SERVICE.name,
                "reason": "DemandRose",
                "message": "<b>",
                "count": 1,
            }
        ],
        problems=[],
    )


def written(raw, folder):
    order = Order(Path("samples"), STEP, "step.csv", True, 20.0, True)
    figures = results.write(folder, raw, order, DemoSettings(), datetime(2026, 1, 1, tzinfo=UTC))
    summary = json.loads((folder / "summary.json").read_text())
    return figures, summary, (folder / "report.html").read_text()


def test_summary_table_and_report_hold_the_same_figures(raw, tmp_path):
    figures, summary, report = written(raw, tmp_path)
    row = summary["services"][0]
    assert row["offered"] == figures[0].offered == len(raw.outcomes[SERVICE.name])
    assert row["gpu_seconds"] == pytest.approx(5 * 0.25 + 15 * 0.4, abs=0.01)
    assert row["resizes"] == 1
    for cell in final_rows(figures)[0]:
        assert f"<td>{cell}</td>" in unescape(report)
    inside = unescape(report[report.index("<pre>") + 5 : report.index("</pre>")])
    assert json.loads(inside) == summary


def test_the_report_needs_nothing_else(raw, tmp_path):
    _, _, report = written(raw, tmp_path)
    assert report.count("<svg") == 4
    for outside in ("src=", "<link", "<script", "@import"):
        assert outside not in report
    assert "&lt;b&gt;" in report


def test_the_summary_says_whether_the_stack_worked(raw, tmp_path):
    assert written(raw, tmp_path)[1]["stack_worked"] is True
    raw.problems.append("webhook does not run any more")
    _, summary, report = written(raw, tmp_path)
    assert summary["stack_worked"] is False
    assert "webhook does not run any more" in report


def test_the_series_show_each_second_of_the_run(raw, tmp_path):
    written(raw, tmp_path)
    (series,) = json.loads((tmp_path / "series.json").read_text())
    assert len(series["arrivals_rps"]) == len(series["gpus"]) == 20
    assert sum(series["arrivals_rps"]) == len(raw.outcomes[SERVICE.name])
    assert series["gpus"][4] == pytest.approx(0.25)
    assert series["gpus"][6] == pytest.approx(0.4)
    assert series["pieces"]["resnet50-a"][6] == [66, 80]
    assert series["capacity_rps"][0] == 20.0
