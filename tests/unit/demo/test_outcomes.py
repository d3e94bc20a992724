import pytest

from kserve_has.demo.outcomes import Outcomes
from kserve_has.loadgen.plan import Outcome


def test_half_a_line_waits_for_its_rest(tmp_path):
    path = tmp_path / "o.csv"
    tail = Outcomes(path, lead_in_s=10.0)
    tail.read()
    assert tail.all == []
    path.write_text("12.5,12.6,30.0,200\n13.0,13")
    tail.read()
    assert [(o.due_s, o.sent_s) for o in tail.all] == [(2.5, pytest.approx(2.6))]
    path.write_text("12.5,12.6,30.0,200\n13.0,13.0,20.0,503\n")
    tail.read()
    assert [o.status for o in tail.all] == [200, 503]


def test_recent_outcomes_are_those_due_in_the_span(tmp_path):
    tail = Outcomes(tmp_path / "none.csv", 0.0)
    tail.all = [Outcome(float(t), float(t), 1.0, 200) for t in range(100)]
    assert sorted(o.due_s for o in tail.recent(100.0, 3.0)) == [97.0, 98.0, 99.0]
