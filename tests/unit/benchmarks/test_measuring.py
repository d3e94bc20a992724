import pytest

from benchmarks.gpu.measuring import MeasuredRows, family_first

COLUMNS = ("model", "mode", "repeat", "p50_ms")
KEY = ("model", "mode", "repeat")


def point(model, repeat, ms):
    return {"model": model, "mode": "graph", "repeat": repeat, "p50_ms": ms}


def test_an_ended_run_is_continued_in_the_same_file(tmp_path):
    with MeasuredRows(tmp_path / "rows.csv", COLUMNS, KEY) as rows:
        rows.write(point("a", 0, 2.0))
    with MeasuredRows(tmp_path / "rows.csv", COLUMNS, KEY) as rows:
        assert rows.has(point("a", 0, 9.0))
        assert not rows.has(point("a", 1, 2.0))
        rows.write(point("a", 1, 2.1))
        assert rows.count == 2
    assert (tmp_path / "rows.csv").read_text().count("model") == 1


def test_noise_is_the_difference_of_two_measurements_of_one_point(tmp_path):
    with MeasuredRows(tmp_path / "rows.csv", COLUMNS, KEY) as rows:
        for model, repeat, ms in (("a", 0, 2.0), ("a", 1, 2.2), ("b", 0, 5.0), ("b", 2, 5.0)):
            rows.write(point(model, repeat, ms))
        noise = rows.noise("p50_ms")
    assert noise["graph"]["pairs"] == 1
    assert noise["graph"]["mean"] == pytest.approx(0.1)


def test_every_family_comes_before_any_comes_twice():
    assert family_first({"a1": "a", "a2": "a", "b1": "b"}) == ["a1", "b1", "a2"]
