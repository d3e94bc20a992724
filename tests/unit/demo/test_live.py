import io

import pytest
from rich.console import Console

from kserve_has.cli.fleet import Decision, Service
from kserve_has.demo.display import Display
from kserve_has.demo.live import Frame, recent
from kserve_has.loadgen.plan import Outcome
from kserve_has.slo import Slo

SERVICE = Service("has-demo/resnet50", Slo(100.0), "resnet50", 8, True)
DECISION = Decision("2026-01-01T10:11:12Z", SERVICE.name, "DemandRose", "32 to 64 SMs", 2)


@pytest.fixture
def frame(replica):
    def make(now_s, latency=20.0, notice=""):
        due = [now_s - 5 + t / 10 for t in range(40)]
        outcomes = [Outcome(t, t, latency, 200) for t in due]
        shown = recent(SERVICE, due, outcomes, now_s, 10.0)
        return Frame(now_s, 60.0, [shown], [replica()], [DECISION], notice)

    return make


def shown(frames, **options):
    text = io.StringIO()
    console = Console(file=text, width=160)
    with Display(console, **{"live": False, "plain_every_s": 10.0, **options}) as display:
        for one in frames:
            display.show(one)
    return text.getvalue()


def test_recent_figures_judge_the_objective_on_the_last_seconds(frame):
    good, bad = frame(30.0).services[0], frame(30.0, latency=120.0).services[0]
    assert (good.arrivals_rps, good.p95_ms, good.met) == (4.0, 20.0, True)
    assert (bad.violation_rate, bad.met) == (1.0, False)
    assert recent(SERVICE, [], [], 0.0, 10.0).met is None


def test_without_a_terminal_a_line_appears_now_and_then(frame):
    lines = shown([frame(0.0), frame(5.0), frame(11.0, notice="killed webhook")]).splitlines()
    assert len(lines) == 2
    assert lines[0] == "0/60 s: resnet50 4/s p95 20.0 ms met 66SM*50%"
    assert lines[1].endswith("; killed webhook")


def test_the_lead_in_is_named(frame):
    assert shown([frame(-3.0)]).startswith("lead-in: ")


def test_the_live_view_shows_services_pieces_and_reasons(frame):
    text = shown([frame(30.0, latency=120.0)], live=True)
    for word in ("p95 <= 100 ms", "4.0/s", "MISSED", "66", "50 %", "gpu-node-0", "32 to 64 SMs"):
        assert word in text
    assert "30 of 60 s" in text
    assert "10:11:12" in text
    assert "DemandRose (x2)" in text
