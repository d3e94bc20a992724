"""The shipped quota data: what they cover, how far they can be trusted, what they say of the law."""

import csv
import json
import statistics
from collections import defaultdict
from importlib.resources import files

import pytest

from kserve_has.latency.duty import alone_ms, elapsed_upper_ms

DATA = files("kserve_has.latency") / "data"
WINDOW_MS = 50.0
QUOTAS = {"15", "30", "50", "75", "100"}
POINT = ("model", "mode", "batch", "sm", "quota")


def rows(mode="graph", way="shared"):
    with (DATA / "h200_quota_grid.csv").open(encoding="utf-8") as stream:
        return [r for r in csv.DictReader(stream) if (r["mode"], r["way"]) == (mode, way)]


def point(row):
    return tuple(row[name] for name in POINT)


def under_quota(mode="graph"):
    alone = {
        (r["model"], r["batch"], r["sm"]): float(r["latency_ms"])
        for r in rows(mode)
        if (r["quota"], r["repeat"]) == ("100", "0")
    }
    for row in rows(mode):
        gpu_ms = alone.get((row["model"], row["batch"], row["sm"]))
        if row["quota"] != "100" and gpu_ms is not None:
            yield row, gpu_ms, int(row["quota"]) / 100 * WINDOW_MS


def whole_networks(batch):
    """Return by (network, family) the partitions that all five quotas were measured on."""
    quotas = defaultdict(set)
    for row in rows():
        if row["batch"] == batch:
            quotas[row["model"], row["family"], row["sm"]].add(row["quota"])
    partitions = defaultdict(set)
    for (model, family, sm), found in quotas.items():
        if found == QUOTAS:
            partitions[model, family].add(sm)
    return partitions


@pytest.mark.parametrize("batch", ["1", "8"])
def test_eight_partitions_by_five_quotas_of_most_networks(batch):
    whole = [place for place, sms in whole_networks(batch).items() if len(sms) >= 8]
    assert len(whole) >= 24
    assert len({family for _, family in whole}) >= 8


def test_a_large_batch_by_five_quotas_of_many_networks():
    whole = whole_networks("32")
    assert len(whole) >= 20
    assert len({family for _, family in whole}) >= 8


def test_every_row_ran_on_its_partition():
    seen = [r for r in rows() if r["metered_sm"]]  # empty: the meter had not read it yet
    assert len(seen) > 0.99 * len(rows())
    assert all(r["metered_sm"] == r["sm"] for r in seen)


def test_the_card_states_the_noise_floor_that_the_rows_have():
    first = {point(r): float(r["latency_ms"]) for r in rows() if r["repeat"] == "0"}
    off = [
        abs(float(r["latency_ms"]) / first[point(r)] - 1)
        for r in rows()
        if r["repeat"] == "1" and point(r) in first
    ]
    stated = json.loads((DATA / "h200_quota_grid.card.json").read_text())["repeats"]["graph"]
    assert len(off) == stated["pairs"] >= 80
    assert statistics.fmean(off) == pytest.approx(stated["mean"], abs=1e-4)
    assert statistics.fmean(off) < 0.03


@pytest.mark.parametrize("way", ["alone", "captured there"])
def test_other_ways_of_measuring_say_the_same(way):
    beside = {point(r): float(r["latency_ms"]) for r in rows() if r["repeat"] == "2"}
    off = [
        float(r["latency_ms"]) / beside[point(r)] - 1 for r in rows(way=way) if point(r) in beside
    ]
    assert len(off) >= 15
    assert abs(statistics.median(off)) < 0.02


def test_nothing_pauses_a_graph_that_started():
    walls, paused = [], []
    for row, gpu_ms, budget_ms in under_quota():
        if gpu_ms > budget_ms:
            for phase, wall in zip(row["phases_ms"].split(), row["walls_ms"].split(), strict=True):
                walls.append(abs(gpu_ms / float(wall) - 1))
                law = alone_ms(gpu_ms, int(row["quota"]), WINDOW_MS, float(phase))
                paused.append(abs(law / float(wall) - 1))
    assert len(walls) >= 400
    assert statistics.fmean(walls) < 0.03
    assert statistics.fmean(paused) > 0.5  # what the law of many launches would have


def test_no_request_took_longer_than_the_upper_bound():
    late = [
        point(row)
        for row, gpu_ms, _ in under_quota()
        if float(row["most_ms"])
        > elapsed_upper_ms(1.05 * gpu_ms + 0.3, int(row["quota"]), WINDOW_MS)
    ]
    assert late == []


def test_what_fits_the_budget_never_pauses():
    off = [
        abs(float(row["latency_ms"]) / gpu_ms - 1)
        for row, gpu_ms, budget_ms in under_quota()
        if gpu_ms < 0.8 * budget_ms
    ]
    assert len(off) >= 1000
    assert statistics.fmean(off) < 0.03
