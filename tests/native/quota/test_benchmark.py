"""The arithmetic of the GPU benchmark, and that its report knows every kind of result."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.gpu.quota_graphs import until_steady
from benchmarks.gpu.quota_pages import TITLE, merged
from benchmarks.gpu.quota_phases import PHASES
from benchmarks.gpu.quota_readings import against, of_both
from benchmarks.gpu.quota_report import SECTIONS, markdown, rows_of
from benchmarks.gpu.quota_shares import counted, errors
from benchmarks.gpu.quota_stats import (
    lost_percent,
    more_percent,
    segments,
    spread,
    spread_percent,
    window_errors,
)

from .building import RUNTIME

ROOT = RUNTIME.parent
RESULTS = ROOT / "docs" / "results"


def test_errors_are_points_of_the_worst():
    counts = [[28] * 20 + [32] * 20, [74] * 20 + [70] * 20]
    found = errors(counts, [2000.0, 2000.0], [0.3, 0.7])
    assert found["got"] == pytest.approx([0.3, 0.72])
    assert found["error_all_points"] == pytest.approx(2)
    assert found["windows"]["1 s"]["max"] == pytest.approx(4)
    assert found["windows"]["10 s"] is None
    assert found["each_second"] == [[0.28, 0.32], [0.74, 0.7]]


def test_windows_begin_at_every_bin():
    assert window_errors([0] * 20 + [2] * 20, 40, 0.5, 1)[::20] == pytest.approx([-50, 50])
    assert len(window_errors([1] * 25, 20, 1, 1)) == 6
    assert spread([]) is None


def test_only_windows_in_which_all_were_at_work_count():
    late = {"bins": {"first": 3, "counts": list(range(100, 120))}}
    early = {"bins": {"first": 0, "counts": list(range(20))}}
    assert counted([early, late]) == [[13, 14, 15, 16, 17], [110, 111, 112, 113, 114]]


def test_what_is_lost_is_told_by_process_and_round():
    base = [[100.0, 200.0, 1000.0], [100.0, 200.0, 1000.0]]
    slower = [[99.0, 198.0, 990.0], [97.0, 194.0, 970.0]]
    found = lost_percent(slower, base)
    assert found["median"] == pytest.approx(2.0, abs=0.01)
    assert (found["low"], found["high"]) == pytest.approx((1, 3), abs=0.01)
    assert lost_percent(slower, slower, paired=True)["high"] == pytest.approx(0)
    assert spread_percent(slower) == pytest.approx(100 * 4 / 198)


def test_p99_is_compared_over_the_steps_inside_each_part():
    took = [1.0, 1.0, 3.0, 1.0]
    assert segments([1, 2, 5, 6], took, [(0, 2), (2, 6), (3, 6)]) == [
        [1000, 1000],
        [3000, 1000],
        [1000],
    ]
    assert more_percent([[2.0] * 100], [[1.0] * 100])["median"] == pytest.approx(100)


def test_a_phase_that_failed_says_so_and_gives_way():
    failed = {"area graph": {"failed": "no GPU"}}
    assert rows_of(failed) == [("area graph", "", "no GPU", "-")]
    good = {"area graph": [{"work": "bert"}]}
    assert merged([good, failed])["area graph"] == merged([failed, good])["area graph"]


@pytest.mark.parametrize(
    "part", ["two-1", "two-2", "again", "look", "one-1", "one-2", "one-3", "one-4"]
)
def test_each_part_of_the_run_fits_ten_minutes(part, tmp_path):
    script = ROOT / "benchmarks/gpu/quota_run.sh"
    environment = {**os.environ, "PYTHON": sys.executable, "HAMI": "there", "PYTHONPATH": str(ROOT)}
    command = ["bash", str(script), part, str(tmp_path), "--plan"]
    planned = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    totals = [int(line.split()[0]) for line in planned.splitlines() if "and the start" in line]
    assert len(totals) == (1 if part.startswith("one") else 2)
    assert max(totals) < 588 - 15


def test_phases_have_names_of_their_own():
    assert len({phase.name for phase in PHASES}) == len(PHASES)


def test_a_graph_is_there_once_its_replays_stay_near_what_they_come_to():
    took = [0.01] * 5 + [0.05, 0.01] + [0.02] * 3 + [0.09] + [0.02] * 20
    ends = [10 + sum(took[: i + 1]) for i in range(len(took))]
    found = until_steady(10, 11, {"ends": ends, "took": took})
    assert found["replays_before"] == 7
    assert found["steady_ms"] == pytest.approx(20)
    assert found["swap_ms"] == pytest.approx(1e3 * sum(took[:7]))
    assert until_steady(10, 10.045, {"ends": ends, "took": took}) == {"steps": 4}


def test_every_kept_result_has_its_rows_and_the_page_is_made_of_them():
    report = json.loads((RESULTS / "quota-h200.json").read_text())
    rows = rows_of(report)
    assert not [row for row in rows if "incomplete" in row[2]]
    assert {key for key in SECTIONS if any(name.startswith(key) for name in report)} >= {
        "two pods",
        "HAMi-core shares",
        "area",
        "live resize",
        "overhead",
        "resize latency",
    }
    assert (RESULTS / "quota-h200-tables.md").read_text() == TITLE + markdown(report)


def test_other_readings_of_shares_leave_out_the_second_that_is_cut_short():
    row = {
        "granted": [0.2, 0.8],
        "alone_per_second": [[90.0, 110.0], [110.0, 90.0]],
        "each_second": [[0.2, 0.1, 0.01], [0.8, 0.4, 0.01]],
    }
    fastest, both = against(row, 200.0), of_both(row)
    assert fastest["1 s"]["most_above"] == pytest.approx(-10)
    assert fastest["1 s"]["most_below"] == pytest.approx(-60)
    assert both["1 s"]["max"] == pytest.approx(0)
    assert fastest["10 s"] is None
