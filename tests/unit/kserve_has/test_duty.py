"""The law of the quota window: against windows counted one by one, and against a real GPU."""

import csv
from importlib.resources import files

import pytest

from kserve_has.latency.duty import alone_mean_ms, alone_ms, elapsed_upper_ms, stream_mean_ms

WINDOW_MS = 50.0


@pytest.mark.parametrize("quota", [5, 10, 33, 60, 96, 99, 100])
@pytest.mark.parametrize("gpu_ms", [0.5, 2.6, 7.0, 12.0, 24.9, 51.0, 140.0])
@pytest.mark.parametrize("spare_ms", [0.0, 2.0])
def test_the_mean_is_that_of_windows_counted_over_all_phases(quota, gpu_ms, spare_ms):
    phases = [(i + 0.5) * WINDOW_MS / 4000 for i in range(4000)]
    walls = [alone_ms(gpu_ms, quota, WINDOW_MS, phase, spare_ms) for phase in phases]
    found = alone_mean_ms(gpu_ms, quota, WINDOW_MS, spare_ms)
    assert found == pytest.approx(sum(walls) / len(walls), rel=2e-3)
    assert max(walls) <= elapsed_upper_ms(gpu_ms, quota, WINDOW_MS) + 1e-9


def test_alone_never_takes_longer_than_in_a_stream_for_long():
    for gpu_ms in (1.0, 10.0, 300.0):
        assert alone_mean_ms(gpu_ms, 20, WINDOW_MS) <= stream_mean_ms(gpu_ms, 20) + 1e-9


def measured():
    with (files("kserve_has.latency") / "data" / "h200_quota.csv").open(encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def test_a_real_gpu_keeps_the_law():
    rows = measured()
    alone = {
        (r["model"], r["mode"], r["sm"]): float(r["p50_ms"])
        for r in rows
        if (r["quota"], r["repeat"]) == ("100", "0")
    }
    law, stream = [], []
    for row in rows:
        key = (row["model"], row["mode"], row["sm"])
        # On all SMs eager work waits for the host, whose speed changed from row to row.
        if row["quota"] == "100" or key not in alone or key[1:] == ("eager", "132"):
            continue
        found = float(row["mean_ms"])
        law.append(abs(alone_mean_ms(alone[key], int(row["quota"]), WINDOW_MS) / found - 1))
        stream.append(abs(stream_mean_ms(alone[key], int(row["quota"])) / found - 1))
    assert len(law) >= 60
    assert sum(law) / len(law) < 0.05
    assert sum(stream) / len(stream) > 0.5  # what the law is not


def graphs_under_quota():
    with (files("kserve_has.latency") / "data" / "h200_quota_networks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    place = ("model", "batch", "sm")
    alone = {
        tuple(r[k] for k in place): float(r["latency_ms"])
        for r in rows
        if (r["quota"], r["repeat"]) == ("100", "0")
    }
    for row in rows:
        gpu_ms = alone.get(tuple(row[k] for k in place))
        if row["quota"] != "100" and gpu_ms is not None:
            yield row, gpu_ms, int(row["quota"]) / 100 * WINDOW_MS


def test_the_quota_data_cover_what_was_promised():
    rows = [row for row, *_ in graphs_under_quota()]
    assert len({r["model"] for r in rows}) >= 24
    assert len({r["family"] for r in rows}) >= 8
    assert {"15", "30", "50", "75"} == {r["quota"] for r in rows}
    assert {"24", "64", "132"} == {r["sm"] for r in rows}


def test_nothing_pauses_a_graph_that_started():
    walls, paused = [], []
    for row, gpu_ms, budget_ms in graphs_under_quota():
        # Longer than two budgets, the one before had left a debt.
        if budget_ms < gpu_ms <= 2 * budget_ms:
            for phase, wall in zip(row["phases_ms"].split(), row["walls_ms"].split(), strict=True):
                walls.append(abs(gpu_ms / float(wall) - 1))
                law = alone_ms(gpu_ms, int(row["quota"]), WINDOW_MS, float(phase))
                paused.append(abs(law / float(wall) - 1))
    assert len(walls) >= 100
    assert sum(walls) / len(walls) < 0.03
    assert sum(paused) / len(paused) > 0.5  # what the law of many launches would have


def test_no_request_took_longer_than_the_upper_bound():
    for row, gpu_ms, _ in graphs_under_quota():
        bound = elapsed_upper_ms(1.05 * gpu_ms + 0.3, int(row["quota"]), WINDOW_MS)
        assert float(row["most_ms"]) <= bound


def test_what_fits_the_budget_never_pauses():
    off = [
        float(row["latency_ms"]) - gpu_ms
        for row, gpu_ms, budget_ms in graphs_under_quota()
        if gpu_ms < 0.8 * budget_ms
    ]
    assert sorted(off)[len(off) // 2] < 0.3  # a wake-up after idleness, no pause
