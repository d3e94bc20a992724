import pytest

from benchmarks.gpu.quota_musts import lines_of
from benchmarks.gpu.quota_page import BEGIN, BEGIN_OTHERS, END, lost_table, put_into
from benchmarks.gpu.quota_pages import merged
from benchmarks.gpu.quota_shares import errors


def share_row(first, counts, mode="graph"):
    granted = [first, 1 - first]
    found = errors(counts, [1000.0, 1000.0], granted)
    return {"mode": mode, "alone_per_second": [[1000.0] * 2] * 2, **found}


def report(name, value, card="NVIDIA H200"):
    return {name: value, "command": "run", "start": {"processes": {"a": {"device": card}}}}


def test_a_share_is_met_where_the_worst_window_of_all_ratios_is():
    good = share_row(0.5, [[25.0] * 300, [25.0] * 300])
    # One second of fifteen with a tenth less: 0.5 points over 10 s, 5 over 1 s.
    bad = share_row(0.5, [[25.0] * 140 + [22.5] * 20 + [25.0] * 140, [25.0] * 300])
    lines = lines_of(merged([report("two pods graph", [good, bad])]))
    assert [(line[0].split("over ")[1], line[-1]) for line in lines] == [
        ("10 s, points", "**yes in 20 of 60 s**"),
        ("1 s, points", "**no**"),
    ]
    assert lines[0][3] == "H200, 1"


def interval(low, median, high):
    return {"low": low, "median": median, "high": high}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (interval(-1, 2, 4), "yes"),
        (interval(6, 8, 9), "**no**"),
        (interval(2, 4, 8), "**median yes, interval undecided**"),
    ],
)
def test_an_interval_decides_only_where_it_lies_on_one_side(more, said):
    value = [{"work": "decoder", "quiet": {"gpu_p99_more_percent": more}} for _ in range(2)]
    bound = 5.0 / 10.0
    for row in value:
        row["quiet"]["gpu_p99_more_percent"] = {k: v / bound for k, v in more.items()}
    [line] = lines_of(merged([report("victim eager", value)]))
    assert line[-1] == said


def test_a_later_run_counts_unless_it_failed_and_numbers_stay():
    first = merged([report("fork", {"MPS": {}}), report("memory", {"used": 1}, "NVIDIA H100")])
    later = merged(
        [first, {**report("memory", {"failed": "x"})}, report("fork", {"MPS": {"a": 1}})]
    )
    assert later["memory"] == {"used": 1}
    assert later["fork"] == {"MPS": {"a": 1}}
    assert later["from"] == {"memory": 2, "fork": 4}
    assert later["cards"]["memory"] == "NVIDIA H100"
    assert len(later["runs"]) == 4


def test_tables_are_put_between_their_marks_and_the_rest_of_the_page_stays():
    rows = [share_row(0.3, [[15.0] * 300, [35.0] * 300])]
    page = f"# Title\n{BEGIN}\nold\n{END}\nmiddle\n{BEGIN_OTHERS}\nold\n{END}\nlast\n"
    written = put_into(page, merged([report("two pods graph", rows)]))
    assert "old" not in written
    assert written.startswith("# Title\n")
    assert written.endswith("last\n")
    assert "\nmiddle\n" in written
    assert "| our leases, MPS, graph | 30 / 70 | 30.0 / 70.0 | 0.0 | H200, 1 |" in written
    assert put_into(written, merged([report("two pods graph", rows)])) == written


def test_where_time_went_is_told_with_the_core_that_was_stolen_most():
    row = share_row(0.5, [[25.0] * 400, [25.0] * 400])
    row["where time went"] = {
        "idle_at_hand_overs": 0.25,
        "idle_in_turns": 0.5,
        "both_at_once": 0.0,
        "hand_overs_per_s": 41.0,
        "hand_over_us": {"p50": 52.0, "p95": 78.0, "max": 1905.0},
    }
    row["host"] = [{"stolen_s": 0.1, "core_busy_s": 0.0}, {"stolen_s": 0.4, "core_busy_s": 0.0}]
    text = lost_table(merged([report("two pods eager, turns of 8 ms", [row])]))
    assert text.splitlines()[-1] == (
        "| eager, turns of 8 ms | 50 / 50 | 50.00 / 50.00 | 0.25 | 0.50 | 0.00 | 41 "
        "| 52, 78, 1905 | 2.0 | 1 |"
    )
