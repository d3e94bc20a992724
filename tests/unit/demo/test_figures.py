import math
from collections.abc import Sequence

import pytest

from kserve_has.demo.figures import first_reaction_s, percentile, service_figures
from kserve_has.demo.live import FINAL_COLUMNS, final_rows
from kserve_has.demo.timeline import Change, Timeline
from kserve_has.loadgen.plan import NO_ANSWER, NOT_SENT, Outcome
from kserve_has.slo import Slo

SLO = Slo(100.0, 95)


def outcome(due=1.0, latency=10.0, status=200):
    return Outcome(due, due, latency if status > 0 else math.inf, status)


def figures(outcomes, timeline=None):
    return service_figures("has-demo/resnet50", SLO, outcomes, timeline or Timeline(), 10)


def test_every_offered_request_is_late_failed_or_good():
    found = figures(
        [outcome()] * 6
        + [outcome(latency=150.0), outcome(status=503)]
        + [outcome(status=NO_ANSWER), outcome(status=NOT_SENT)]
    )
    assert (found.offered, found.answered, found.late, found.failed) == (10, 7, 1, 3)
    assert (found.never_answered, found.not_sent) == (1, 1)
    assert found.violation_rate == pytest.approx(0.4)
    assert not found.objective_met


def test_the_lead_in_and_what_follows_the_run_are_not_counted():
    late = 500.0
    found = figures([outcome(-0.1, late), outcome(10.0, late), outcome(0.0), outcome(9.99)])
    assert (found.offered, found.late) == (2, 0)


def test_exactly_the_allowed_share_of_violations_meets_the_objective():
    assert figures([outcome()] * 19 + [outcome(latency=101.0)]).objective_met
    assert not figures([outcome()] * 18 + [outcome(latency=101.0)]).objective_met


def test_a_failed_request_counts_as_infinitely_late_in_percentiles():
    found = figures([outcome()] * 9 + [outcome(latency=5.0, status=503)])
    assert (found.p50_ms, found.p95_ms) == (10.0, None)


def test_nothing_offered_meets_nothing():
    found = figures([])
    assert not found.objective_met
    assert found.p50_ms is None
    assert final_rows([found])[0][FINAL_COLUMNS.index("violations")] == "-"


def test_what_is_held_is_counted_inside_the_run_only(replica):
    timeline = Timeline()
    timeline.note(-5.0, replica())
    found = figures([outcome()], timeline)
    assert (found.gpu_seconds, found.whole_gpu_seconds) == (2.5, 10.0)


@pytest.mark.parametrize(("share", "value"), [(50, 2), (75, 3), (95, 4), (1, 1)])
def test_a_percentile_is_a_value_that_occurred(share, value):
    assert percentile([4, 1, 3, 2], share) == value


def test_the_generators_own_lag_is_reported():
    lagging = Outcome(1.0, 1.25, 300.0, 200)
    assert figures([lagging]).send_lag_p99_ms == pytest.approx(250)


def change(at, before, after):
    return Change("s", "p", at, before, after, 10.0)


def test_the_reaction_to_a_surge_is_the_first_growth_in_force_after_it():
    due = [t / 2 for t in range(40)] + [20 + t / 20 for t in range(200)]
    changes = [change(19, 10, 20), change(20.5, 20, 10), change(21.5, 10, 30), change(23, 30, 40)]
    assert first_reaction_s(due, changes, 30) == [1.5]


def test_a_steady_load_has_no_surge_to_react_to():
    due = [t / 10 for t in range(300)]
    assert first_reaction_s(due, [change(15, 10, 20)], 30) == []


class Counted(Sequence):
    """Due times, a hundred a second, that count how often one is looked at."""

    looks = 0

    def __len__(self):
        return 60_000

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        self.looks += 1
        return index / 100


def test_reactions_to_a_long_run_are_found_without_reading_it_once_a_second():
    due = Counted()
    assert first_reaction_s(due, [], 600) == []
    assert due.looks < len(due)
