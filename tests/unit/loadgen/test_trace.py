import pytest

from kserve_has.errors import TraceError
from kserve_has.loadgen.trace import Trace, bundled, parse, read

STEPS = Trace((0.0, 1.0, 2.0), (1.0, 2.0, 4.0), 3.0)


def test_a_trace_is_read_with_its_last_step_as_long_as_the_one_before():
    assert parse(["t_s,rps", "0,1", "5,2.5"], "x.csv") == Trace((0.0, 5.0), (1.0, 2.5), 10.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "x.csv, line 1: expected the header t_s,rps, found nothing"),
        (["time,rate", "0,1"], r"x.csv, line 1: expected the header"),
        (["t_s,rps", "0,1", "1,x"], "x.csv, line 3: rps is not a number: 'x'"),
        (["t_s,rps", "0,1,2"], "x.csv, line 2: expected two columns t_s,rps, found 3"),
        (["t_s,rps", "0,-1"], "x.csv, line 2: rps must be a finite number >= 0, was -1"),
        (["t_s,rps", "0,nan"], "x.csv, line 2: rps must be a finite number"),
        (["t_s,rps", "0,inf"], "x.csv, line 2: rps must be a finite number"),
        (["t_s,rps", "0,1", "0,2"], "x.csv, line 3: t_s 0 is not after 0"),
        (["t_s,rps", "1,1"], "x.csv, line 2: the first t_s must be 0, was 1"),
        (["t_s,rps", "0,1e9"], "x.csv, line 2: rps 1e.09 is above 100000"),
        (["t_s,rps", "0,1", "0.00001,1"], r"x.csv, line 3: the step before .* lasts 1e-05 s"),
        (["t_s,rps", "0,1", "1" * 200_000 + ",1"], r"x.csv, line 3: field larger than"),
        (["1" * 200_000], r"x.csv, line 1: field larger than"),
        (["t_s,rps", "0,0"], "x.csv: holds no step with a rate above 0"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_reason(lines, message):
    with pytest.raises(TraceError, match=message):
        parse(lines, "x.csv")


def test_a_missing_file_is_a_trace_error_that_names_it(tmp_path):
    with pytest.raises(TraceError, match=r"none.csv: cannot be read"):
        read(tmp_path / "none.csv")


def test_the_mark_that_spreadsheets_put_first_is_no_part_of_the_header(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbft_s,rps\r\n0,5\r\n")
    assert read(path) == Trace((0.0,), (5.0,), 1.0)


def test_steps_of_a_millisecond_are_long_enough():
    lines = ["t_s,rps", *(f"{i / 1000:.3f},5" for i in range(2000))]
    assert len(parse(lines, "x.csv").starts_s) == 2000


def test_a_cut_begins_at_zero_and_in_the_middle_of_a_step():
    assert STEPS.cut(0.5, 1.0) == Trace((0.0, 0.5), (1.0, 2.0), 1.0)


def test_a_cut_longer_than_the_trace_repeats_it():
    cut = STEPS.cut(2.0, 4.0)
    assert cut.rates_rps == (4.0, 1.0, 2.0, 4.0)
    assert cut.end_s == 4.0


def test_scaling_multiplies_rates_and_leaves_time():
    assert STEPS.scaled(3.0) == Trace((0.0, 1.0, 2.0), (3.0, 6.0, 12.0), 3.0)


def test_a_lead_in_rises_to_the_first_rate_and_shifts_the_rest():
    led = Trace((0.0,), (10.0,), 5.0).led_in(2.0)
    assert led == Trace((0.0, 1.0, 2.0), (2.5, 7.5, 10.0), 7.0)
    assert STEPS.led_in(0.0) is STEPS


def test_the_mean_weighs_steps_by_their_length():
    assert Trace((0.0, 1.0), (4.0, 1.0), 4.0).mean_rps() == pytest.approx(7 / 4)


def test_the_liveliest_cut_holds_the_hill_and_can_be_kept_off_a_span():
    rates = (1.0,) * 60 + (9.0,) * 60 + (1.0,) * 60 + (3.0,) * 60 + (1.0,) * 60
    trace = Trace(tuple(float(t) for t in range(300)), rates, 300.0)
    start = trace.liveliest_start(100)
    assert start < 60
    assert start + 100 >= 120
    other = trace.liveliest_start(100, avoid=[(start, start + 100)])
    assert start + 100 <= other < 180
    assert other + 100 >= 240


def test_the_bundled_trace_is_an_hour_of_whole_seconds():
    trace = bundled()
    assert trace.end_s == 3502
    assert trace.mean_rps() == pytest.approx(5.53, abs=0.01)


def test_hastening_shortens_time_and_leaves_rates():
    assert STEPS.hastened(2.0) == Trace((0.0, 0.5, 1.0), (1.0, 2.0, 4.0), 1.5)


def test_the_liveliest_cut_looks_at_all_of_every_second():
    # Every second begins alike; the hill is in what follows.
    rates = (5.0, 5.0) * 60 + (5.0, 45.0) * 20 + (5.0, 5.0) * 60
    trace = Trace(tuple(0.5 * t for t in range(280)), rates, 140.0)
    assert 20 < trace.liveliest_start(60) < 60
