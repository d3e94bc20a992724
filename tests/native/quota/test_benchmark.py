"""The arithmetic of the GPU benchmark, and that its report knows every result kept in the tree."""

import json

import pytest

from benchmarks.gpu.quota_report import SECTIONS, rows_of
from benchmarks.gpu.quota_shares import errors

from .building import RUNTIME

RESULTS = RUNTIME.parent / "docs" / "results" / "quota-h200.json"


def test_errors_are_points_of_the_worst():
    results = [
        {"share": 0.28, "each_second": [0.27, 0.30]},
        {"share": 0.71, "each_second": [0.74, 0.70]},
    ]
    found = errors(results, [0.3, 0.7])
    assert found["error_all_points"] == pytest.approx(2)
    assert found["error_1s_points"] == pytest.approx(4)
    assert found["above_1s_points"] == pytest.approx(4)


def test_every_kept_result_has_its_rows():
    report = json.loads(RESULTS.read_text())
    rows = rows_of(report)
    assert not [row for row in rows if "incomplete" in row[2]]
    assert set(SECTIONS) <= set(report)
    assert len(rows) > 60


def test_a_phase_that_failed_says_so():
    assert rows_of({"area": {"failed": "no GPU"}}) == [("area", "", "no GPU", "-")]
