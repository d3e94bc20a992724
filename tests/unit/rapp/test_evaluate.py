import csv
import json

import numpy as np
import pytest

from kserve_has.cli.__main__ import main
from kserve_has.errors import LatencyModelError
from kserve_has.latency.duty import alone_mean_ms
from kserve_has.rapp.evaluate import Task, evaluate
from kserve_has.rapp.metrics import Answers, summary
from kserve_has.rapp.points import family_of, read_table

COLUMNS = ("model", "batch", "sm", "quota", "latency_ms")


def write_rows(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def table(tmp_path, made_up_network):
    rows = []
    for seed in range(6):
        points = made_up_network(seed)
        name = f"{'ab'[seed % 2]}{seed}"
        for b, s, y in zip(points.batch, points.sm, points.log_ms, strict=True):
            rows.append((name, int(b), int(s), 100, float(np.exp(y))))
    return write_rows(tmp_path / "points.csv", rows)


@pytest.mark.parametrize("split", ["random", "configuration", "model", "family"])
def test_anyone_can_check_a_claim_on_data_of_their_own(table, split, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["rapp", "evaluate", "--points", str(table), "--split", split]
    assert 0 == main([*command, "--measured", "5", "--out", str(out)])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["mape"] < 0.2
    assert 0.0 <= metrics["coverage"] <= 1.0
    assert metrics["inflation"] > 0.9
    assert {"mape", "p95", "coverage", "inflation"} <= set(next(iter(metrics["models"].values())))
    assert "MAPE" in capsys.readouterr().out


def test_errors_coverage_and_inflation_are_what_they_say():
    measured = np.array([10.0, 10.0, 10.0, 20.0])
    answers = Answers(measured, np.array([11.0, 10.0, 10.0, 18.0]), np.array([12, 9, 10, 25.0]))
    figures = summary(answers)
    assert pytest.approx(0.05) == figures["mape"]
    assert pytest.approx(0.75) == figures["coverage"]
    assert pytest.approx((1.2 + 0.9 + 1.0 + 1.25) / 4) == figures["inflation"]
    assert pytest.approx(0.1) == figures["max"]


def test_repeats_are_one_point_and_tell_the_noise(tmp_path):
    rows = [("a", 1, 8, 100, 10.0), ("a", 1, 8, 100, 11.0), ("a", 1, 16, 100, 6.0)]
    table = read_table(write_rows(tmp_path / "p.csv", rows))
    assert 2 == len(table.networks["a"])
    assert pytest.approx(0.1) == table.noise_floor
    assert pytest.approx(10.5) == float(np.exp(table.networks["a"].log_ms[0]))


def test_a_network_without_a_point_left_teaches_but_is_not_asked(table, tmp_path):
    with table.open(newline="") as stream:
        rows = list(csv.reader(stream))
    rows += [("small", 1, s, 100, 4.0) for s in (8, 16, 32)]
    figures = evaluate(read_table(write_rows(tmp_path / "more.csv", rows[1:])), Task("model", 3))
    assert "small" not in figures["models"]
    assert 6 == len(figures["models"])
    with pytest.raises(LatencyModelError, match="more than the 999 points"):
        evaluate(read_table(table), Task("model", 999))


def test_disturbed_noise_is_that_of_the_repeats_that_differ_most(tmp_path):
    gaps = (0.001, 0.002, 0.003, 0.1, 0.2)
    rows = [("a", 1, 8 + i, 100, ms) for i, gap in enumerate(gaps) for ms in (10.0, 10 + 10 * gap)]
    calm, disturbed = read_table(write_rows(tmp_path / "p.csv", rows)).least_noise
    one = np.sqrt(np.pi) / 2
    assert pytest.approx(0.003 * one) == calm
    assert pytest.approx((0.003 + 0.1 + 0.2) / 3 * one) == disturbed


def test_without_repeats_next_to_no_noise_is_known(table):
    assert (1e-3, 1e-3) == read_table(table).least_noise


def test_every_bad_row_is_named(tmp_path):
    rows = [("a", 0, 8, 100, 1.0), ("a", 1, 8, 101, 1.0), ("a", 1, 8, 50, "nan"), ("a", 1, 8, 9, 2)]
    with pytest.raises(LatencyModelError) as caught:
        read_table(write_rows(tmp_path / "p.csv", rows))
    for words in ("line 2: batch 0", "line 3: quota 101", "line 4: latency_ms nan"):
        assert words in str(caught.value)


def test_missing_columns_are_named(tmp_path):
    path = write_rows(tmp_path / "p.csv", [("a", 1)], columns=("model", "batch"))
    with pytest.raises(LatencyModelError, match="no column sm; found batch, model"):
        read_table(path)


def test_rows_are_chosen_by_how_networks_ran(tmp_path):
    columns = (*COLUMNS, "mode")
    rows = [("a", 1, 8, 100, 10.0, "eager"), ("a", 1, 8, 100, 2.0, "graph")]
    path = write_rows(tmp_path / "p.csv", rows, columns)
    assert pytest.approx(np.log(2.0)) == read_table(path, mode="graph").networks["a"].log_ms[0]
    with pytest.raises(LatencyModelError, match="no rows"):
        read_table(path, mode="other")


def test_families_come_from_names():
    names = ("resnet50", "wide_resnet50_2", "efficientnet_b4")
    assert ["resnet", "wide_resnet", "efficientnet"] == [family_of(n) for n in names]


QUOTA_COLUMNS = (
    *("model", "family", "dtype", "mode", "batch", "sm", "quota", "repeat", "runs"),
    *("latency_ms", "least_ms", "most_ms", "metered_ms", "phases_ms", "walls_ms"),
)


def quota_row(name, batch, sm, quota, gpu_ms):
    head = (name, name[0], "bf16", "graph", int(batch), int(sm), quota, 0, 6)
    wall = alone_mean_ms(gpu_ms, quota, 50.0)
    return (*head, wall, gpu_ms, wall, gpu_ms, "1.00 9.33", "2.000 2.100")


@pytest.fixture
def quota_table(tmp_path, made_up_network):
    rows = []
    for seed in range(6):
        points = made_up_network(seed)
        for b, s, y in zip(points.batch, points.sm, points.log_ms, strict=True):
            for quota in (100, 50, 15):
                rows.append(quota_row(f"{'ab'[seed % 2]}{seed}", b, s, quota, float(np.exp(y))))
    return write_rows(tmp_path / "quotas.csv", rows, QUOTA_COLUMNS)


def evaluated(table, out, split, *options):
    command = ["rapp", "evaluate", "--points", str(table), "--split", split, "--measured", "5"]
    assert 0 == main([*command, "--mode", "graph", "--out", str(out), *options])
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize("split", ["configuration", "model", "family"])
def test_the_law_of_the_window_tells_what_quotas_do(quota_table, split, tmp_path):
    by_law = evaluated(quota_table, tmp_path, split, "--quota-window-ms", "50")
    # Five of nine pieces are fitted at full quota; the others and all throttled rows are predicted.
    assert 6 * (4 + 2 * 9) == by_law["points"]
    assert 50.0 == by_law["quota_window_ms"]
    assert by_law["mape"] < 0.05
    learnt = evaluated(quota_table, tmp_path, split)
    assert 6 * (3 * 9 - 5) == learnt["points"]
    assert by_law["mape"] < learnt["mape"]


def test_nothing_pauses_networks_of_one_launch(quota_table, tmp_path):
    by_law = evaluated(quota_table, tmp_path, "family", "--quota-window-ms", "50", "--one-launch")
    assert by_law["one_launch"]
    assert by_law["coverage"] < 0.9  # the table was made with pauses, which this law does not have


def test_the_law_needs_points_at_full_quota(tmp_path):
    rows = [quota_row("a1", 1, 8, 50, 3.0), quota_row("b1", 1, 8, 100, 3.0)]
    table = read_table(write_rows(tmp_path / "q.csv", rows, QUOTA_COLUMNS))
    with pytest.raises(LatencyModelError, match="no points at quota 100 of a1"):
        evaluate(table, Task("model", 5, quota_window_ms=50.0))


def test_a_random_split_learns_quotas(quota_table):
    with pytest.raises(LatencyModelError, match="leave the quota window out"):
        evaluate(read_table(quota_table), Task("random", quota_window_ms=50.0))
