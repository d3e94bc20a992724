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
