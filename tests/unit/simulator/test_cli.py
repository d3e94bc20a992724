import argparse
import csv

import pytest

from autoscaler.simulator import compare
from autoscaler.simulator.cli import add_compare, add_simulate
from autoscaler.simulator.contenders import POLICIES
from kserve_has.errors import HasError

COLUMNS = (
    "policy,trace,objective,seed,offered,late,failed,violation_rate,cost_gpu_s,"
    "cost_with_memory_gpu_s,p50_ms,p95_ms,p99_ms,scale_outs,scale_ins,resizes,cold_starts"
)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "waves.csv"
    path.write_text("t_s,rps\n" + "".join(f"{t},{10 + 20 * (t % 10 > 5)}\n" for t in range(20)))
    return str(path)


def run(*words):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    add_simulate(subparsers)
    add_compare(subparsers)
    args = parser.parse_args([str(word) for word in words])
    return args.run(args)


def test_the_names_of_the_policies():
    names = "hybrid kpa kpa-tuned fast has-gpu has-gpu-fixed static clairvoyant"
    assert {*names.split(), "vertical-only", "horizontal-only"} <= set(POLICIES)


def test_compare_writes_one_row_a_run_and_pictures(trace, tmp_path, capsys):
    out = tmp_path / "out"
    policies = ("hybrid", "kpa-tuned", "fast")
    status = run(
        "compare", "--traces", trace, f"{trace}@2", "--policies", *policies,
        "--objectives", "2", "5", "--seeds", "2", "--out", out, "--jobs", "1", "--gpus", "3",
    )  # fmt: skip
    assert status == 0
    with (out / "results.csv").open() as stream:
        assert stream.readline().strip() == COLUMNS
        rows = list(csv.DictReader(stream, COLUMNS.split(",")))
    assert len(rows) == 2 * 3 * 2 * 2
    assert {r["trace"] for r in rows} == {"waves", "waves@2"}
    assert {r["objective"] for r in rows} == {"2", "5"}
    for row in rows:
        bad = (int(row["late"]) + int(row["failed"])) / int(row["offered"])
        assert bad == pytest.approx(float(row["violation_rate"]), rel=1e-4)
    assert (out / "pareto-waves.png").read_bytes()[:4] == b"\x89PNG"
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "against" in (out / "tables.md").read_text()
    assert "against" in capsys.readouterr().out


def test_simulate_takes_many_services_and_prints_a_line_each(trace, capsys):
    assert run("simulate", trace, trace, "--policy", "hybrid", "--gpus", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["waves#0", "waves#1"] == [line.split()[0] for line in lines[-2:]]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--objective", "0"), id="objective"),
        pytest.param(("--objective", "nan"), id="objective that is no number"),
        pytest.param(("--gpus", "0"), id="gpus"),
        pytest.param(("--seconds", "-3"), id="seconds"),
        pytest.param(("--policy", "magic"), id="policy"),
        pytest.param(("--batch", "1.5"), id="batch"),
    ],
)
def test_impossible_arguments_are_refused_by_the_command_line(trace, words, capsys):
    with pytest.raises(SystemExit) as refused:
        run("simulate", trace, *words)
    assert refused.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--percentile", "20"), "percentile"),
        (("--model", "resnet51"), "measured models are"),
        (("--batch", "3"), "batch"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_impossible_worlds_are_refused_before_anything_runs(trace, words, message):
    with pytest.raises(HasError, match=message):
        run("simulate", trace, *words)


def test_settings_come_from_a_file_and_wrong_ones_are_named(trace, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("policy: {shrink_after_s: 1}\nsimulator: {scrape_interval_s: 2}\n")
    assert run("simulate", trace, "--config", config) == 0
    config.write_text("policy: {shrink_after_s: -1}\n")
    with pytest.raises(HasError, match="shrink_after_s"):
        run("simulate", trace, "--config", config)
    config.write_text("politics: {}\n")
    with pytest.raises(HasError, match="sections policy and simulator"):
        run("simulate", trace, "--config", config)


def test_a_bad_trace_leaves_no_half_result(trace, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("t_s,rps\n0,1\n1,-1\n")
    out = tmp_path / "out"
    with pytest.raises(HasError, match=r"bad\.csv, line 3"):
        run("compare", "--traces", trace, bad, "--out", out, "--seeds", "1")
    assert not out.exists()


def test_a_stop_loses_no_run_that_was_done(trace, tmp_path, monkeypatch):
    done = compare.run_task

    def stopped(task):
        if task.policy == "fast":
            raise KeyboardInterrupt
        return done(task)

    monkeypatch.setattr(compare, "run_task", stopped)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run("compare", "--traces", trace, "--policies", "static", "fast", "--seeds", "1",
            "--objectives", "3", "--jobs", "1", "--out", out)  # fmt: skip
    assert [COLUMNS, "static"] == [
        line.split(",")[0] if i else line
        for i, line in enumerate((out / "results.csv").read_text().splitlines())
    ]
